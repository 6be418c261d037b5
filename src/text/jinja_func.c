// SPDX-License-Identifier: MIT
// Calls, and the global functions: range, dict, namespace, cycler, joiner, raise_exception, strftime_now.
#include "text/jinja_int.h"

#include <string.h>
#include <time.h>

const jj_func *jj_find_func(const jj_func *table, const char *name, size_t len)
{
    for (; table->name; table++)
        if (strlen(table->name) == len && memcmp(table->name, name, len) == 0) return table;
    return NULL;
}

jj_val jj_arg(const jj_args *a, size_t i, const char *name)
{
    if (i < a->n_pos) return a->pos[i];
    for (size_t k = 0; k < a->n_kw; k++)
        if (a->kw[k].name->len == strlen(name) &&
            memcmp(a->kw[k].name->p, name, a->kw[k].name->len) == 0)
            return a->kw[k].val;
    return jj_missing();
}

// The index of a keyword in "a,b,c", or -1.
static int param_index(const char *params, const jj_str *name)
{
    int i = 0;
    for (const char *p = params; *p; i++) {
        size_t n = strcspn(p, ",");
        if (n == name->len && memcmp(p, name->p, n) == 0) return i;
        p += n + (p[n] == ',');
    }
    return -1;
}

static size_t param_count(const char *params)
{
    size_t n = *params != 0;
    for (; *params; params++) n += *params == ',';
    return n;
}

static bool check_args(jj *it, const jj_func *f, const jj_args *a)
{
    const char *params = f->params;
    if (*params == '*') return true;
    bool pos_only = *params == '/';
    params += pos_only;
    size_t n = param_count(params), given = a->n_pos;
    if (a->n_pos > n) {
        jj_raise(it, "%s takes at most %zu argument(s), got %zu", f->name, n, a->n_pos);
        return false;
    }
    for (size_t i = 0; i < a->n_kw; i++) {
        int k = pos_only ? -1 : param_index(params, a->kw[i].name);
        if (k < 0 || (size_t)k < a->n_pos) {
            jj_raise(it,
                     k < 0 ? "%s takes no keyword argument '%.*s'" : "%s got two values for '%.*s'",
                     f->name, (int)TK_MIN(a->kw[i].name->len, 100), a->kw[i].name->p);
            return false;
        }
        given += (size_t)k < f->n_min;
    }
    if (given < f->n_min) {
        jj_raise(it, "%s needs %u argument(s), got %zu", f->name, f->n_min, given);
        return false;
    }
    return true;
}

jj_val jj_invoke(jj *it, const jj_func *f, jj_val self, const jj_args *a)
{
    if (it->st != TK_OK || !jj_step(it, 1) || !check_args(it, f, a) || !jj_enter(it))
        return jj_none();
    jj_val v = f->fn(it, self, a);
    jj_leave(it);
    return v;
}

// Methods of Markup give Markup; what they put in (not what they look for) is escaped.
static jj_val call_markup(jj *it, const jj_method *m, const jj_args *a)
{
    static const char *const fills[] = {"replace", "center", "ljust", "rjust"};
    jj_args copy = *a;
    jj_val pos[3];
    for (size_t i = 0; i < TK_COUNT(fills); i++)
        if (strcmp(m->func->name, fills[i]) == 0 && a->n_pos > 1 && a->n_pos <= 3) {
            memcpy(pos, a->pos, a->n_pos * sizeof *pos);
            pos[1] = jj_escape(it, pos[1]);
            copy.pos = pos;
        }
    jj_val v = jj_invoke(it, m->func, m->self, &copy);
    if (it->st != TK_OK) return v;
    if (v.kind == JJ_STR) v.flag = 1;
    for (size_t i = 0; (v.kind == JJ_LIST || v.kind == JJ_TUPLE) && i < v.u.l->n; i++)
        if (v.u.l->v[i].kind == JJ_STR) v.u.l->v[i].flag = 1;
    return v;
}

static jj_val call_method(jj *it, const jj_method *m, const jj_args *a)
{
    bool markup = m->self.kind == JJ_STR && m->self.flag;
    return markup ? call_markup(it, m, a) : jj_invoke(it, m->func, m->self, a);
}

jj_val jj_call(jj *it, jj_val f, const jj_args *a)
{
    jj_val none = jj_none();
    switch (f.kind) {
    case JJ_MACRO: return jj_call_macro(it, f.u.macro, a);
    case JJ_FUNC: return jj_invoke(it, f.u.func, none, a);
    case JJ_METHOD: return call_method(it, f.u.method, a);
    case JJ_LOOP:
        if (a->n_pos != 1 || a->n_kw) return jj_raise(it, "loop() takes one argument");
        return jj_loop_call(it, f.u.loop, a->pos[0]);
    case JJ_JOINER:
        if (a->n_pos + a->n_kw) return jj_raise(it, "a joiner takes no arguments");
        if (f.u.l->pos++) return f.u.l->v[0];
        return jj_str_lit(it, "");
    case JJ_UNDEF: return jj_raise(it, "%.*s", (int)f.u.s->len, f.u.s->p);
    default: return jj_raise(it, "'%s' object is not callable", jj_type_name(f));
    }
}

static jj_val fn_range(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    int64_t v[3] = {0, 0, 1};
    for (size_t i = 0; i < a->n_pos; i++)
        v[a->n_pos == 1 ? 1 : i] = jj_as_int(it, a->pos[i], "range()");
    if (it->st != TK_OK) return jj_none();
    if (v[2] == 0) return jj_raise(it, "range() arg 3 must not be zero");
    uint64_t by = v[2] > 0 ? (uint64_t)v[2] : 0 - (uint64_t)v[2];
    uint64_t span = v[2] > 0 ? (v[1] > v[0] ? (uint64_t)v[1] - (uint64_t)v[0] : 0)
                             : (v[0] > v[1] ? (uint64_t)v[0] - (uint64_t)v[1] : 0);
    uint64_t n = span == 0 ? 0 : (span - 1) / by + 1;
    if (n > JJ_MAX_RANGE)
        return jj_raise(it, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                        JJ_MAX_RANGE);
    jj_range *r = jj_alloc(it, 1, sizeof *r);
    if (r == NULL) return jj_none();
    *r = (jj_range){.start = v[0], .stop = v[1], .step = v[2], .n = (size_t)n};
    return (jj_val){.kind = JJ_RANGE, .u.r = r};
}

// Pairs from a dict or an iterable of pairs.
static void fill_dict(jj *it, jj_dict *d, jj_val from)
{
    if (from.kind == JJ_DICT) {
        for (size_t i = 0; i < from.u.d->n && jj_step(it, 1); i++)
            jj_dict_set(it, d, from.u.d->e[i].key, from.u.d->e[i].val);
        return;
    }
    if (from.kind == JJ_UNDEF) jj_raise(it, "%.*s", (int)from.u.s->len, from.u.s->p);
    jj_cur c = jj_iter(it, from);
    jj_val item;
    while (it->st == TK_OK && jj_next(it, &c, &item)) {
        jj_list *pair = jj_to_list(it, item);
        if (pair == NULL) return;
        if (pair->n != 2) {
            jj_raise(it, "dictionary update sequence element has length %zu; 2 is required",
                     pair->n);
            return;
        }
        jj_dict_set(it, d, pair->v[0], pair->v[1]);
    }
}

static jj_dict *dict_of(jj *it, const jj_args *a)
{
    jj_dict *d = jj_dict_new(it);
    if (a->n_pos > 1) jj_raise(it, "dict expected at most 1 argument, got %zu", a->n_pos);
    if (d && a->n_pos == 1 && it->st == TK_OK) fill_dict(it, d, a->pos[0]);
    for (size_t i = 0; d && i < a->n_kw && it->st == TK_OK; i++)
        jj_dict_set(it, d, jj_str_ref(it, a->kw[i].name->p, a->kw[i].name->len), a->kw[i].val);
    return it->st == TK_OK ? d : NULL;
}

static jj_val fn_dict(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    jj_dict *d = dict_of(it, a);
    return d ? (jj_val){.kind = JJ_DICT, .u.d = d} : jj_none();
}

static jj_val fn_namespace(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    jj_dict *d = dict_of(it, a);
    for (size_t i = 0; d && i < d->n; i++) {
        jj_val k = d->e[i].key;
        if (k.kind == JJ_STR && k.u.s->len && k.u.s->p[0] == '_')
            return jj_raise(
                it, "a namespace stores no attribute that begins with an underscore ('%.*s')",
                (int)TK_MIN(k.u.s->len, 100), k.u.s->p);
    }
    return d ? (jj_val){.kind = JJ_NS, .u.d = d} : jj_none();
}

static jj_val fn_cycler(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    if (a->n_pos == 0 || a->n_kw) return jj_raise(it, "at least one item has to be provided");
    jj_list *l = jj_list_new(it, a->n_pos);
    for (size_t i = 0; l && i < a->n_pos; i++) jj_list_add(it, l, a->pos[i]);
    return jj_wrap_list(JJ_CYCLER, l);
}

static jj_val fn_joiner(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    jj_val sep = jj_arg(a, 0, "sep");
    jj_list *l = jj_list_new(it, 1);
    if (l) jj_list_add(it, l, sep.kind == JJ_MISSING ? jj_str_lit(it, ", ") : sep);
    return jj_wrap_list(JJ_JOINER, l);
}

static jj_val fn_raise(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    jj_val v = jj_arg(a, 0, "message");
    tk_buf b = tk_buf_make(900);
    jj_to_text(it, &b, v);
    jj_fail(it, TK_BAD_INPUT, "%.900s", tk_buf_str(&b));
    tk_buf_free(&b);
    return v;
}

// Python's own part of a format: %f is microseconds, %z and %Z are empty, as datetime.now() knows no zone.
static bool python_format(const jj_str *f, long ns, char *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < f->len; i++) {
        char next = f->p[i] == '%' && i + 1 < f->len ? f->p[i + 1] : 0;
        if (n + 8 > cap) return false;
        if (next == 'f') {
            long us = ns / 1000;
            for (int d = 5; d >= 0; d--, us /= 10) out[n + (size_t)d] = (char)('0' + us % 10);
            n += 6;
        } else if (next != 'z' && next != 'Z') {
            out[n++] = f->p[i];
            if (next) out[n++] = next;
        }
        i += next != 0;
    }
    out[n] = 0;
    return true;
}

static jj_val fn_strftime(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    jj_val f = jj_arg(a, 0, "format");
    if (f.kind != JJ_STR)
        return jj_raise(it, "strftime_now needs a string, not %s", jj_type_name(f));
    char format[4096], out[16384];
    struct tm tm;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &tm);
    tm.tm_zone = "";
    if (memchr(f.u.s->p, 0, f.u.s->len) ||
        !python_format(f.u.s, now.tv_nsec, format, sizeof format))
        return jj_raise(it, "strftime_now: the format is too long or has a NUL");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = strftime(out, sizeof out, format, &tm);
#pragma GCC diagnostic pop
    return jj_str_new(it, out, n);
}

static jj_val fn_lipsum(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    (void)a;
    return jj_fail(it, TK_UNSUPPORTED,
                   "line %u: lipsum() writes random text, which is not supported", it->line);
}

const jj_func *jj_global(const jj_str *name)
{
    static const jj_func globals[] = {
        {"range", fn_range, "/start,stop,step", 1},
        {"dict", fn_dict, "*", 0},
        {"namespace", fn_namespace, "*", 0},
        {"cycler", fn_cycler, "*", 0},
        {"joiner", fn_joiner, "sep", 0},
        {"raise_exception", fn_raise, "message", 1},
        {"strftime_now", fn_strftime, "format", 1},
        {"lipsum", fn_lipsum, "*", 0},
        {0},
    };
    return jj_find_func(globals, name->p, name->len);
}
