// SPDX-License-Identifier: MIT
// Attributes and items, with the sandbox's rules: names with an underscore and methods that would change a
// list or dict are "unsafe", an undefined value that raises only when it is used.
#include "text/jinja_int.h"

#include <string.h>

static jj_val method(jj *it, jj_val self, const jj_func *f)
{
    jj_method *m = jj_alloc(it, 1, sizeof *m);
    if (m == NULL) return jj_none();
    *m = (jj_method){.self = self, .func = f};
    return (jj_val){.kind = JJ_METHOD, .u.method = m};
}

static jj_val dict_view(jj *it, jj_val self, jj_view_kind kind)
{
    (void)it;
    return (jj_val){.kind = JJ_VIEW, .flag = (uint8_t)kind, .u.d = self.u.d};
}

static jj_val dict_keys(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return dict_view(it, self, JJ_KEYS);
}

static jj_val dict_values(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return dict_view(it, self, JJ_VALUES);
}

static jj_val dict_items(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return dict_view(it, self, JJ_ITEMS);
}

static jj_val dict_get(jj *it, jj_val self, const jj_args *a)
{
    jj_val v = a->n_pos > 1 ? a->pos[1] : jj_none();
    jj_dict_get(it, self.u.d, a->pos[0], &v);
    return v;
}

static jj_val dict_copy(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    jj_dict *d = jj_dict_new(it);
    for (size_t i = 0; d && i < self.u.d->n && jj_step(it, 1); i++)
        if (!jj_dict_set(it, d, self.u.d->e[i].key, self.u.d->e[i].val)) return jj_none();
    return (jj_val){.kind = JJ_DICT, .u.d = d};
}

static jj_val list_index(jj *it, jj_val self, const jj_args *a)
{
    int64_t n = (int64_t)self.u.l->n, from = a->n_pos > 1 ? jj_as_int(it, a->pos[1], "index") : 0;
    int64_t to = a->n_pos > 2 ? jj_as_int(it, a->pos[2], "index") : n;
    if (from < 0) from = from + n < 0 ? 0 : from + n;
    if (to < 0) to += n;
    for (int64_t i = from; i < to && i < n && jj_step(it, 1); i++)
        if (jj_equal(it, self.u.l->v[i], a->pos[0])) return jj_int(i);
    return jj_raise(it, "the value is not in the %s", jj_type_name(self));
}

static jj_val list_count(jj *it, jj_val self, const jj_args *a)
{
    int64_t n = 0;
    for (size_t i = 0; i < self.u.l->n && jj_step(it, 1); i++)
        n += jj_equal(it, self.u.l->v[i], a->pos[0]);
    return jj_int(n);
}

static int64_t find_in_range(jj *it, jj_val self, jj_val v)
{
    jj_cur c = jj_iter(it, self);
    jj_val item;
    for (int64_t i = 0; jj_next(it, &c, &item); i++)
        if (jj_equal(it, item, v)) return i;
    return -1;
}

static jj_val range_index(jj *it, jj_val self, const jj_args *a)
{
    int64_t i = find_in_range(it, self, a->pos[0]);
    return i < 0 ? jj_raise(it, "the value is not in the range") : jj_int(i);
}

static jj_val range_count(jj *it, jj_val self, const jj_args *a)
{
    return jj_int(find_in_range(it, self, a->pos[0]) >= 0);
}

static jj_val list_copy(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return jj_wrap_list(JJ_LIST, jj_to_list(it, self));
}

static jj_val cycler_next(jj *it, jj_val self, const jj_args *a)
{
    (void)it;
    (void)a;
    jj_list *l = self.u.l;
    jj_val v = l->v[l->pos];
    l->pos = (l->pos + 1) % l->n;
    return v;
}

static jj_val cycler_reset(jj *it, jj_val self, const jj_args *a)
{
    (void)it;
    (void)a;
    self.u.l->pos = 0;
    return jj_none();
}

static jj_val float_is_integer(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    jj_val q = jj_binary(it, OP_MOD, self, jj_int(1));
    return jj_bool(it->st == TK_OK && q.kind == JJ_FLOAT && q.u.f == 0);
}

static const jj_func dict_methods[] = {
    {"get", dict_get, "/key,default", 1}, {"items", dict_items, "", 0}, {"keys", dict_keys, "", 0},
    {"values", dict_values, "", 0},       {"copy", dict_copy, "", 0},   {0},
};
static const jj_func list_methods[] = {
    {"index", list_index, "/value,start,stop", 1},
    {"count", list_count, "/value", 1},
    {"copy", list_copy, "", 0},
    {0},
};
static const jj_func tuple_methods[] = {
    {"index", list_index, "/value,start,stop", 1},
    {"count", list_count, "/value", 1},
    {0},
};
static const jj_func range_methods[] = {
    {"index", range_index, "/value", 1}, {"count", range_count, "/value", 1}, {0}};
static const jj_func cycler_methods[] = {
    {"next", cycler_next, "", 0}, {"reset", cycler_reset, "", 0}, {0}};
static const jj_func float_methods[] = {{"is_integer", float_is_integer, "", 0}, {0}};

static bool listed(const char *const *names, const jj_str *name)
{
    for (; *names; names++)
        if (strlen(*names) == name->len && memcmp(*names, name->p, name->len) == 0) return true;
    return false;
}

static bool is_unsafe(jj_val o, const jj_str *name)
{
    static const char *const list[] = {"append", "clear",  "pop",    "reverse", "insert",
                                       "sort",   "extend", "remove", NULL};
    static const char *const dict[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    if (o.kind == JJ_LIST) return listed(list, name);
    return o.kind == JJ_DICT && listed(dict, name);
}

static jj_val unsafe(jj *it, jj_val o, const jj_str *name)
{
    return jj_undef(it, "access to attribute '%.*s' of '%s' object is unsafe.",
                    (int)TK_MIN(name->len, 100), name->p, jj_type_name(o));
}

static const jj_func *methods_of(jj_val o, const jj_str *name)
{
    switch (o.kind) {
    case JJ_STR: return jj_str_method(name->p, name->len);
    case JJ_DICT: return jj_find_func(dict_methods, name->p, name->len);
    case JJ_LIST: return jj_find_func(list_methods, name->p, name->len);
    case JJ_TUPLE: return jj_find_func(tuple_methods, name->p, name->len);
    case JJ_RANGE: return jj_find_func(range_methods, name->p, name->len);
    case JJ_CYCLER: return jj_find_func(cycler_methods, name->p, name->len);
    case JJ_FLOAT: return jj_find_func(float_methods, name->p, name->len);
    default: return NULL;
    }
}

static bool number_attr(jj_val o, const jj_str *name, jj_val *out)
{
    static const char *const real[] = {"real", "numerator", NULL}, *const imag[] = {"imag", NULL},
                             *const denom[] = {"denominator", NULL};
    if (!jj_is_number(o)) return false;
    bool is_float = o.kind == JJ_FLOAT;
    jj_val whole = is_float ? o : jj_int(o.kind == JJ_BOOL ? o.u.b : o.u.i);
    if (listed(real, name) && !(is_float && name->len != 4))
        *out = whole;
    else if (listed(imag, name))
        *out = is_float ? jj_float(0) : jj_int(0);
    else if (listed(denom, name) && !is_float)
        *out = jj_int(1);
    else
        return false;
    return true;
}

// A block as something to call: a macro without parameters that sees what a block sees.
static jj_val block_of(jj *it, const jj_str *name, bool *found)
{
    const jj_node *b = it->blocks;
    while (b && (b->name->len != name->len || memcmp(b->name->p, name->p, name->len) != 0))
        b = b->c;
    *found = b != NULL;
    jj_macro *m = b ? jj_alloc(it, 1, sizeof *m) : NULL;
    if (m) *m = (jj_macro){.node = b};
    return m ? (jj_val){.kind = JJ_MACRO, .u.macro = m} : jj_none();
}

jj_val jj_attr_of(jj *it, jj_val o, const jj_str *name, bool *found)
{
    jj_val v = jj_none();
    *found = true;
    if (o.kind == JJ_NS) {
        *found = jj_dict_get_z(it, o.u.d, name->p, name->len, &v);
        return v;
    }
    static const char *const grouper[] = {"grouper", NULL}, *const list[] = {"list", NULL};
    if (o.kind == JJ_TUPLE && o.flag && listed(grouper, name)) return o.u.l->v[0];
    if (o.kind == JJ_TUPLE && o.flag && listed(list, name)) return o.u.l->v[1];
    if (o.kind == JJ_SELF) return block_of(it, name, found);
    if (o.kind == JJ_LOOP) return jj_loop_attr(it, o.u.loop, name, found);
    if (is_unsafe(o, name)) return unsafe(it, o, name);
    if (number_attr(o, name, &v)) return v;
    if (o.kind == JJ_CYCLER && name->len == 7 && memcmp(name->p, "current", 7) == 0)
        return o.u.l->v[o.u.l->pos];
    if (o.kind == JJ_MACRO && name->len == 4 && memcmp(name->p, "name", 4) == 0 && o.u.macro->name)
        return jj_str_ref(it, o.u.macro->name->p, o.u.macro->name->len);
    const jj_func *f = methods_of(o, name);
    if (f) return method(it, o, f);
    *found = false;
    return v;
}

// "dict object", as jinja2 names what an attribute was asked of.
static jj_val no_attr(jj *it, jj_val o, jj_val key)
{
    const char *type = jj_type_name(o);
    const char *tail = o.kind == JJ_NONE ? "" : " object";
    if (o.kind == JJ_NONE) type = "None";
    if (o.kind == JJ_NS) type = "transformers.utils.chat_template_utils.TemplateNamespace";
    if (key.kind == JJ_STR)
        return jj_undef(it, "'%s%s' has no attribute '%.*s'", type, tail,
                        (int)TK_MIN(key.u.s->len, 150), key.u.s->p);
    tk_buf b = jj_buf();
    jj_repr(it, &b, key);
    jj_val v = jj_undef(it, "%s%s has no element %.150s", type, tail, tk_buf_str(&b));
    tk_buf_free(&b);
    return v;
}

static jj_val undefined_error(jj *it, jj_val o)
{
    return jj_raise(it, "%.*s", (int)o.u.s->len, o.u.s->p);
}

// Python's o[key]; false where it raises TypeError or LookupError.
static bool item_of(jj *it, jj_val o, jj_val key, jj_val *out)
{
    if (o.kind == JJ_DICT) {
        if (key.kind == JJ_LIST || key.kind == JJ_DICT || key.kind == JJ_VIEW)
            return false; // unhashable
        return jj_dict_get(it, o.u.d, key, out);
    }
    if (key.kind != JJ_INT && key.kind != JJ_BOOL) return false;
    int64_t i = key.kind == JJ_INT ? key.u.i : key.u.b;
    if (o.kind != JJ_STR && o.kind != JJ_LIST && o.kind != JJ_TUPLE && o.kind != JJ_RANGE)
        return false;
    int64_t n = (int64_t)jj_len(it, o);
    if (i < 0) i += n;
    if (i < 0 || i >= n) return false;
    if (o.kind == JJ_RANGE) {
        *out = jj_int(o.u.r->start + i * o.u.r->step);
    } else if (o.kind == JJ_STR) {
        jj_step(it, o.u.s->n_cp == o.u.s->len ? 0 : (size_t)i / 16);
        size_t from = jj_cp_offset(o.u.s, (size_t)i), to = from;
        jj_cp_next(o.u.s->p, o.u.s->len, &to);
        *out = jj_substr(it, o.u.s, from, to);
        out->flag = o.flag;
    } else {
        *out = o.u.l->v[i];
    }
    return true;
}

static bool underscored(const jj_str *name)
{
    return name->len && name->p[0] == '_';
}

// Attributes with an underscore that every Python object has: unsafe rather than missing.
static bool dunder(const jj_str *name)
{
    static const char *const every[] = {"__class__",
                                        "__init__",
                                        "__doc__",
                                        "__dict__",
                                        "__module__",
                                        "__repr__",
                                        "__str__",
                                        "__eq__",
                                        "__ne__",
                                        "__hash__",
                                        "__dir__",
                                        "__getattr__",
                                        "__new__",
                                        "__subclasshook__",
                                        "__reduce__",
                                        "__format__",
                                        "__sizeof__",
                                        "__getattribute__",
                                        "__setattr__",
                                        "__delattr__",
                                        "__init_subclass__",
                                        "__reduce_ex__",
                                        NULL};
    return listed(every, name);
}

jj_val jj_getattr(jj *it, jj_val o, const jj_str *name)
{
    if (o.kind == JJ_UNDEF) return dunder(name) ? unsafe(it, o, name) : undefined_error(it, o);
    bool found = false;
    jj_val v = jj_none();
    if (underscored(name) && dunder(name) && o.kind != JJ_NS) return unsafe(it, o, name);
    v = jj_attr_of(it, o, name, &found);
    if (found || it->st != TK_OK) return v;
    jj_str copy = *name;
    jj_val key = {.kind = JJ_STR, .u.s = &copy};
    if (item_of(it, o, key, &v)) return v;
    return no_attr(it, o, key);
}

jj_val jj_getitem(jj *it, jj_val o, jj_val key)
{
    jj_val v = jj_none();
    if (o.kind == JJ_UNDEF) return undefined_error(it, o);
    if (item_of(it, o, key, &v) || it->st != TK_OK) return v;
    if (key.kind == JJ_STR) {
        if (dunder(key.u.s) && o.kind != JJ_NS) return unsafe(it, o, key.u.s);
        bool found = false;
        v = jj_attr_of(it, o, key.u.s, &found);
        if (found || it->st != TK_OK) return v;
    }
    return no_attr(it, o, key);
}

// ---- slices ----------------------------------------------------------------------------------------

// Python's slice.indices; false on failure.
static bool slice_range(jj *it, const jj_list *sl, int64_t n, int64_t *start, int64_t *stop,
                        int64_t *step, size_t *count)
{
    *step = sl->v[2].kind == JJ_NONE ? 1 : jj_as_int(it, sl->v[2], "slice step");
    if (it->st != TK_OK) return false;
    if (*step == 0) {
        jj_raise(it, "slice step cannot be zero");
        return false;
    }
    int64_t end[2], lo = *step < 0 ? -1 : 0, hi = *step < 0 ? n - 1 : n;
    for (int i = 0; i < 2; i++) {
        if (sl->v[i].kind == JJ_NONE) {
            end[i] = (i == 0) == (*step > 0) ? lo : hi;
            continue;
        }
        end[i] = jj_as_int(it, sl->v[i], "slice index");
        if (end[i] < 0) end[i] += n;
        end[i] = end[i] < lo ? lo : end[i] > hi ? hi : end[i];
    }
    if (it->st != TK_OK) return false;
    uint64_t span = *step > 0 ? (end[1] > end[0] ? (uint64_t)(end[1] - end[0]) : 0)
                              : (end[0] > end[1] ? (uint64_t)(end[0] - end[1]) : 0);
    uint64_t by = *step > 0 ? (uint64_t)*step : 0 - (uint64_t)*step;
    *start = end[0];
    *stop = end[1];
    *count = span == 0 ? 0 : (size_t)((span - 1) / by + 1);
    return true;
}

static jj_val slice_str(jj *it, jj_val o, int64_t start, int64_t step, size_t count)
{
    jj_str *s = o.u.s;
    if (count == 0) return jj_str_lit(it, "");
    jj_step(it, s->len / 16);
    if (step == 1) {
        size_t from = jj_cp_offset(s, (size_t)start);
        jj_str rest = {.p = s->p + from,
                       .len = s->len - from,
                       .n_cp = s->n_cp == s->len ? s->len - from : SIZE_MAX};
        return jj_substr(it, s, from, from + jj_cp_offset(&rest, count));
    }
    // Byte offsets of every code point, since a step may go either way.
    size_t n = jj_cp_count(s), pos = 0, len = 0;
    if (!jj_step(it, n / 16)) return o;
    uint32_t *at = jj_alloc(it, n + 1, sizeof *at);
    char *out = jj_alloc(it, s->len + 1, 1);
    if (!at || !out || s->len > UINT32_MAX) return jj_none();
    for (size_t i = 0; i < n; i++) {
        at[i] = (uint32_t)pos;
        jj_cp_next(s->p, s->len, &pos);
    }
    at[n] = (uint32_t)s->len;
    for (size_t k = 0; k < count; k++) {
        size_t i = (size_t)(start + (int64_t)k * step);
        memcpy(out + len, s->p + at[i], at[i + 1] - at[i]);
        len += at[i + 1] - at[i];
    }
    return jj_str_ref(it, out, len);
}

jj_val jj_getslice(jj *it, jj_val o, jj_val slice)
{
    int64_t start, stop, step;
    size_t count;
    if (o.kind == JJ_UNDEF) return undefined_error(it, o);
    // jinja2 compiles o[a:b] to Python's own, whose TypeError is not turned into undefined.
    if (o.kind != JJ_STR && o.kind != JJ_LIST && o.kind != JJ_TUPLE && o.kind != JJ_RANGE)
        return jj_raise(it, "'%s' object cannot be sliced", jj_type_name(o));
    if (!slice_range(it, slice.u.l, (int64_t)jj_len(it, o), &start, &stop, &step, &count)) return o;
    if (o.kind == JJ_STR) {
        jj_val v = slice_str(it, o, start, step, count);
        v.flag = o.flag;
        return v;
    }
    if (!jj_step(it, count / 8)) return o;
    if (o.kind == JJ_RANGE) {
        jj_range *r = jj_alloc(it, 1, sizeof *r);
        if (r == NULL) return o;
        *r = (jj_range){
            .start = o.u.r->start + start * o.u.r->step, .step = o.u.r->step * step, .n = count};
        r->stop = o.u.r->start + stop * o.u.r->step;
        return (jj_val){.kind = JJ_RANGE, .u.r = r};
    }
    jj_list *l = jj_list_new(it, count);
    for (size_t k = 0; l && k < count; k++) jj_list_add(it, l, o.u.l->v[start + (int64_t)k * step]);
    return jj_wrap_list(o.kind, l);
}
