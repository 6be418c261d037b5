// SPDX-License-Identifier: MIT
// tojson as transformers defines it: json.dumps(x, ensure_ascii=False, indent, separators, sort_keys).
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <math.h>
#include <string.h>

typedef struct dump {
    jj *it;
    tk_buf *b;
    bool ascii, sort, pretty;
    const jj_str *indent, *item_sep, *key_sep;
    int level;
} dump;

static void put_str(dump *d, const jj_str *s)
{
    tk_buf *b = d->b;
    jj_step(d->it, s->len / 8);
    tk_buf_add_char(b, '"');
    for (size_t i = 0; i < s->len;) {
        size_t at = i;
        uint32_t c = jj_cp_next(s->p, s->len, &i);
        static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
        const char *hit = c && c < 128 ? strchr(from, (int)c) : NULL;
        if (hit)
            tk_buf_addf(b, "\\%c", to[hit - from]);
        else if (c < 32 || (d->ascii && c >= 127 && c < 0x10000))
            tk_buf_addf(b, "\\u%04x", c);
        else if (d->ascii && c >= 0x10000)
            tk_buf_addf(b, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                        0xDC00 + ((c - 0x10000) & 0x3FF));
        else
            tk_buf_add(b, s->p + at, i - at);
    }
    tk_buf_add_char(b, '"');
}

static void put_float(dump *d, double f)
{
    jj_step(d->it, 32);
    if (isnan(f))
        tk_buf_add_str(d->b, "NaN");
    else if (isinf(f))
        tk_buf_add_str(d->b, f < 0 ? "-Infinity" : "Infinity");
    else
        jj_add_double(d->b, f);
}

static void new_line(dump *d)
{
    if (!d->pretty) return;
    tk_buf_add_char(d->b, '\n');
    for (int i = 0; i < d->level && !d->b->failed; i++)
        tk_buf_add(d->b, d->indent->p, d->indent->len);
    jj_step(d->it, (size_t)d->level);
}

static void put(dump *d, jj_val v);

static void put_key(dump *d, jj_val k)
{
    if (k.kind == JJ_STR) {
        put_str(d, k.u.s);
    } else if (k.kind == JJ_NONE || jj_is_number(k)) {
        tk_buf_add_char(d->b, '"');
        put(d, k);
        tk_buf_add_char(d->b, '"');
    } else {
        jj_raise(d->it, "keys must be str, int, float, bool or None, not %s", jj_type_name(k));
    }
}

static void put_list(dump *d, const jj_list *l)
{
    if (l->n == 0) {
        tk_buf_add_str(d->b, "[]");
        return;
    }
    tk_buf_add_char(d->b, '[');
    d->level++;
    for (size_t i = 0; i < l->n && d->it->st == TK_OK; i++) {
        if (i) tk_buf_add(d->b, d->item_sep->p, d->item_sep->len);
        new_line(d);
        put(d, l->v[i]);
    }
    d->level--;
    new_line(d);
    tk_buf_add_char(d->b, ']');
}

// Entries sorted by key, in new memory.
static jj_val *sorted(jj *it, const jj_dict *in)
{
    jj_val *keys = jj_alloc(it, in->n, sizeof *keys), *vals = jj_alloc(it, in->n, sizeof *vals);
    if (!keys || !vals) return NULL;
    for (size_t i = 0; i < in->n; i++) {
        keys[i] = in->e[i].key;
        vals[i] = jj_int((int64_t)i);
    }
    return jj_sort(it, keys, vals, in->n, false) ? vals : NULL;
}

static void put_dict(dump *d, const jj_dict *in)
{
    if (in->n == 0) {
        tk_buf_add_str(d->b, "{}");
        return;
    }
    jj_val *order = d->sort ? sorted(d->it, in) : NULL;
    tk_buf_add_char(d->b, '{');
    d->level++;
    for (size_t i = 0; i < in->n && d->it->st == TK_OK; i++) {
        const jj_entry *e = &in->e[order ? (size_t)order[i].u.i : i];
        if (i) tk_buf_add(d->b, d->item_sep->p, d->item_sep->len);
        new_line(d);
        put_key(d, e->key);
        tk_buf_add(d->b, d->key_sep->p, d->key_sep->len);
        put(d, e->val);
    }
    d->level--;
    new_line(d);
    tk_buf_add_char(d->b, '}');
}

static void put(dump *d, jj_val v)
{
    if (d->b->failed || !jj_step(d->it, 1) || !jj_enter(d->it)) return;
    switch (v.kind) {
    case JJ_NONE: tk_buf_add_str(d->b, "null"); break;
    case JJ_BOOL: tk_buf_add_str(d->b, v.u.b ? "true" : "false"); break;
    case JJ_INT: tk_buf_addf(d->b, "%lld", (long long)v.u.i); break;
    case JJ_FLOAT: put_float(d, v.u.f); break;
    case JJ_STR: put_str(d, v.u.s); break;
    case JJ_LIST:
    case JJ_TUPLE: put_list(d, v.u.l); break;
    case JJ_DICT: put_dict(d, v.u.d); break;
    default: jj_raise(d->it, "Object of type %s is not JSON serializable", jj_type_name(v)); break;
    }
    jj_leave(d->it);
}

static bool separators(jj *it, dump *d, jj_val v)
{
    if (v.kind != JJ_LIST && v.kind != JJ_TUPLE) {
        jj_raise(it, "tojson: separators must be a pair of strings");
        return false;
    }
    if (v.u.l->n != 2 || v.u.l->v[0].kind != JJ_STR || v.u.l->v[1].kind != JJ_STR) {
        jj_raise(it, "tojson: separators must be a pair of strings");
        return false;
    }
    d->item_sep = v.u.l->v[0].u.s;
    d->key_sep = v.u.l->v[1].u.s;
    return true;
}

jj_val jj_tojson(jj *it, jj_val self, const jj_args *a)
{
    static const jj_str comma_space = {.p = ", ", .len = 2}, comma = {.p = ",", .len = 1},
                        colon = {.p = ": ", .len = 2};
    jj_val ascii = jj_arg(a, 0, "ensure_ascii"), indent = jj_arg(a, 1, "indent"),
           sep = jj_arg(a, 2, "separators");
    tk_buf b = jj_buf();
    jj_str pad = {0};
    dump d = {.it = it,
              .b = &b,
              .ascii = jj_truth(it, ascii),
              .sort = jj_truth(it, jj_arg(a, 3, "sort_keys"))};
    d.pretty = indent.kind != JJ_MISSING && indent.kind != JJ_NONE;
    d.item_sep = d.pretty ? &comma : &comma_space;
    d.key_sep = &colon;
    d.indent = &pad;
    if (sep.kind != JJ_MISSING && sep.kind != JJ_NONE && !separators(it, &d, sep)) return jj_none();
    if (d.pretty && indent.kind == JJ_STR) {
        d.indent = indent.u.s;
    } else if (d.pretty) {
        static const char spaces[] =
            "                                                                ";
        int64_t n = jj_as_int(it, indent, "indent");
        if (n > (int64_t)sizeof spaces - 1)
            return jj_raise(it, "tojson: an indent of %lld is more than %zu", (long long)n,
                            sizeof spaces - 1);
        pad = (jj_str){.p = spaces, .len = n > 0 ? (size_t)n : 0};
    }
    if (it->st != TK_OK) return jj_none();
    put(&d, self);
    return jj_buf_str(it, &b);
}
