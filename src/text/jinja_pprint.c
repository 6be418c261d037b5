// SPDX-License-Identifier: MIT
// The filter pprint: Python's pprint.pformat at its defaults (80 columns, sorted keys).
#include "text/jinja_int.h"

#include <string.h>

enum { COLUMNS = 80 };

typedef struct pretty {
    jj *it;
    tk_buf *b;
} pretty;

// Keys in Python's order: by value where they compare, else by the name of their type.
static jj_val *sorted_entries(jj *it, const jj_dict *d)
{
    jj_val *keys = jj_alloc(it, d->n + 1, sizeof *keys),
           *vals = jj_alloc(it, d->n + 1, sizeof *vals);
    for (size_t i = 0; keys && vals && i < d->n && it->st == TK_OK; i++) {
        jj_val key = d->e[i].key;
        int rank = key.kind == JJ_NONE ? 0 : jj_is_number(key) ? 1 : key.kind == JJ_STR ? 2 : 3;
        keys[i] = jj_pair(it, jj_int(rank), key);
        vals[i] = jj_int((int64_t)i);
    }
    return it->st == TK_OK && jj_sort(it, keys, vals, d->n, false) ? vals : NULL;
}

// repr with the keys of dicts in order.
static void flat(jj *it, tk_buf *b, jj_val v)
{
    bool tuple = v.kind == JJ_TUPLE;
    if ((v.kind != JJ_DICT || v.u.d->n == 0) && v.kind != JJ_LIST && !tuple) {
        jj_repr(it, b, v);
        return;
    }
    if (!jj_enter(it) || !jj_step(it, 1) || b->failed) return;
    tk_buf_add_char(b, v.kind == JJ_DICT ? '{' : tuple ? '(' : '[');
    jj_val *order = v.kind == JJ_DICT ? sorted_entries(it, v.u.d) : NULL;
    size_t n = v.kind == JJ_DICT ? v.u.d->n : v.u.l->n;
    for (size_t i = 0; i < n && it->st == TK_OK; i++) {
        const jj_entry *e = v.kind == JJ_DICT ? &v.u.d->e[order[i].u.i] : NULL;
        if (i) tk_buf_add_str(b, ", ");
        if (e) flat(it, b, e->key);
        if (e) tk_buf_add_str(b, ": ");
        flat(it, b, e ? e->val : v.u.l->v[i]);
    }
    if (tuple && n == 1) tk_buf_add_char(b, ',');
    tk_buf_add_char(b, v.kind == JJ_DICT ? '}' : tuple ? ')' : ']');
    jj_leave(it);
}

static jj_str *flat_str(jj *it, jj_val v)
{
    tk_buf b = jj_buf();
    flat(it, &b, v);
    jj_val s = jj_buf_str(it, &b);
    return it->st == TK_OK ? s.u.s : NULL;
}

static void new_line(pretty *x, int64_t indent)
{
    tk_buf_add_char(x->b, '\n');
    for (int64_t i = 0; i < indent && jj_step(x->it, 1); i++) tk_buf_add_char(x->b, ' ');
}

static void put(pretty *x, jj_val v, int64_t indent, int64_t allowance, int level);

static void put_dict(pretty *x, const jj_dict *d, int64_t indent, int64_t allowance, int level)
{
    jj_val *order = sorted_entries(x->it, d);
    tk_buf_add_char(x->b, '{');
    for (size_t i = 0; order && i < d->n && x->it->st == TK_OK; i++) {
        const jj_entry *e = &d->e[order[i].u.i];
        jj_str *key = flat_str(x->it, e->key);
        if (key == NULL) return;
        if (i) tk_buf_add_char(x->b, ','), new_line(x, indent + 1);
        tk_buf_add(x->b, key->p, key->len);
        tk_buf_add_str(x->b, ": ");
        put(x, e->val, indent + 1 + (int64_t)jj_cp_count(key) + 2,
            i + 1 == d->n ? allowance + 1 : 1, level);
    }
    tk_buf_add_char(x->b, '}');
}

static void put_list(pretty *x, jj_val v, int64_t indent, int64_t allowance, int level)
{
    const char *end = v.kind == JJ_LIST ? "]" : v.u.l->n == 1 ? ",)" : ")";
    const jj_list *l = v.u.l;
    tk_buf_add_char(x->b, v.kind == JJ_LIST ? '[' : '(');
    for (size_t i = 0; i < l->n && x->it->st == TK_OK; i++) {
        if (i) tk_buf_add_char(x->b, ','), new_line(x, indent + 1);
        put(x, l->v[i], indent + 1, i + 1 == l->n ? allowance + (int64_t)strlen(end) : 1, level);
    }
    tk_buf_add_str(x->b, end);
}

// A word and the space behind it, from *pos.
static size_t next_part(const jj_str *s, size_t pos)
{
    size_t next = pos;
    while (pos < s->len && !jj_cp_space(jj_cp_next(s->p, s->len, &next))) pos = next;
    next = pos;
    while (pos < s->len && jj_cp_space(jj_cp_next(s->p, s->len, &next))) pos = next;
    return pos;
}

static jj_str *repr_part(jj *it, const jj_str *s, size_t from, size_t to)
{
    tk_buf b = jj_buf();
    jj_step(it, (to - from) / 16);
    jj_repr_str(&b, s->p + from, to - from);
    jj_val v = jj_buf_str(it, &b);
    return it->st == TK_OK ? v.u.s : NULL;
}

// One line of a string: whole when it fits, else cut between words.
static void cut_line(jj *it, jj_list *out, const jj_str *s, int64_t width, int64_t last_width)
{
    jj_str *whole = repr_part(it, s, 0, s->len);
    if (whole == NULL) return;
    if ((int64_t)jj_cp_count(whole) <= last_width) {
        jj_list_add(it, out, (jj_val){.kind = JJ_STR, .u.s = whole});
        return;
    }
    size_t from = 0, pos = 0;
    while (pos < s->len && it->st == TK_OK) {
        size_t next = next_part(s, pos);
        jj_str *rep = repr_part(it, s, from, next);
        if (rep && (int64_t)jj_cp_count(rep) > (next == s->len ? last_width : width)) {
            jj_str *done = pos > from ? repr_part(it, s, from, pos) : NULL;
            if (done) jj_list_add(it, out, (jj_val){.kind = JJ_STR, .u.s = done});
            from = pos;
        }
        pos = next;
    }
    jj_str *rest = from < s->len && it->st == TK_OK ? repr_part(it, s, from, s->len) : NULL;
    if (rest) jj_list_add(it, out, (jj_val){.kind = JJ_STR, .u.s = rest});
}

static void put_string(pretty *x, jj_str *s, int64_t indent, int64_t allowance, int level)
{
    jj_list *lines = jj_splitlines(x->it, s, true), *out = jj_list_new(x->it, 4);
    if (level == 1) indent++, allowance++;
    int64_t width = COLUMNS - indent;
    for (size_t i = 0; lines && out && i < lines->n; i++)
        cut_line(x->it, out, lines->v[i].u.s, width, i + 1 == lines->n ? width - allowance : width);
    if (x->it->st != TK_OK || !out) return;
    bool parens = level == 1 && out->n > 1;
    if (parens) tk_buf_add_char(x->b, '(');
    for (size_t i = 0; i < out->n; i++) {
        if (i) new_line(x, indent);
        tk_buf_add(x->b, out->v[i].u.s->p, out->v[i].u.s->len);
    }
    if (parens) tk_buf_add_char(x->b, ')');
}

static void put(pretty *x, jj_val v, int64_t indent, int64_t allowance, int level)
{
    if (!jj_enter(x->it) || x->b->failed) return;
    jj_str *rep = flat_str(x->it, v);
    bool fits = rep && (int64_t)jj_cp_count(rep) <= COLUMNS - indent - allowance;
    if (rep && !fits && v.kind == JJ_DICT && v.u.d->n)
        put_dict(x, v.u.d, indent, allowance, level + 1);
    else if (rep && !fits && (v.kind == JJ_LIST || v.kind == JJ_TUPLE))
        put_list(x, v, indent, allowance, level + 1);
    else if (rep && !fits && v.kind == JJ_STR && !v.flag && v.u.s->len)
        put_string(x, v.u.s, indent, allowance, level + 1);
    else if (rep)
        tk_buf_add(x->b, rep->p, rep->len);
    jj_leave(x->it);
}

jj_val jj_pprint(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    tk_buf b = jj_buf();
    pretty x = {.it = it, .b = &b};
    put(&x, self, 0, 0, 0);
    return jj_buf_str(it, &b);
}
