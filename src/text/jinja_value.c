// SPDX-License-Identifier: MIT
// Values: making, comparing, hashing and walking them as Python does. Templates can nest values without end
// ({% set ns.x = [ns.x] %}), so whatever walks into a value counts its depth (jj_enter).
#include "base/mem.h"
#include "text/jinja_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

jj_val jj_fail(jj *it, tk_status st, const char *fmt, ...)
{
    if (it->st == TK_OK) {
        char msg[1000];
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(msg, sizeof msg, fmt, ap);
        va_end(ap);
        it->st = tk_fail(it->err, st, "%s", msg);
    }
    return jj_none();
}

jj_val jj_raise(jj *it, const char *fmt, ...)
{
    char msg[900];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    return jj_fail(it, TK_BAD_INPUT, "line %u: %s", it->line, msg);
}

bool jj_step(jj *it, size_t n)
{
    it->n_step += n;
    if (it->n_step <= TK_LIMIT_TEMPLATE_STEPS) return it->st == TK_OK;
    jj_fail(it, TK_NOMEM, "line %u: the template takes more than %u steps", it->line,
            TK_LIMIT_TEMPLATE_STEPS);
    return false;
}

bool jj_enter(jj *it)
{
    it->depth++;
    if (it->depth <= JJ_MAX_EVAL_DEPTH) return it->st == TK_OK;
    jj_raise(it, "recursion deeper than %d levels", JJ_MAX_EVAL_DEPTH);
    return false;
}

void *jj_alloc(jj *it, size_t n_item, size_t item_bytes)
{
    size_t n;
    void *p = tk_mul_size(n_item, item_bytes, &n) ? tk_arena_alloc(it->a, n) : NULL;
    if (p == NULL)
        jj_fail(it, TK_NOMEM, "line %u: the template needs more than %u bytes of memory", it->line,
                TK_LIMIT_TEMPLATE_MEM_BYTES);
    return p;
}

jj_val jj_str_ref(jj *it, const char *p, size_t len)
{
    jj_str *s = jj_alloc(it, 1, sizeof *s);
    if (s == NULL) return jj_none();
    *s = (jj_str){.p = p, .len = len, .n_cp = SIZE_MAX};
    return (jj_val){.kind = JJ_STR, .u.s = s};
}

jj_val jj_str_new(jj *it, const char *p, size_t len)
{
    char *copy = jj_alloc(it, len + 1, 1);
    if (copy == NULL) return jj_none();
    if (len) memcpy(copy, p, len);
    return jj_str_ref(it, copy, len);
}

jj_val jj_str_lit(jj *it, const char *z)
{
    return jj_str_ref(it, z, strlen(z));
}

jj_val jj_undef(jj *it, const char *fmt, ...)
{
    char msg[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    jj_val v = jj_str_new(it, msg, strlen(msg));
    v.kind = JJ_UNDEF;
    return v;
}

jj_val jj_undef_name(jj *it, const jj_str *name)
{
    return jj_undef(it, "'%.*s' is undefined", (int)TK_MIN(name->len, 200), name->p);
}

// Appending to the string made last costs the new bytes only: it has room behind it, and older strings that
// share its memory see a prefix that no longer changes.
jj_val jj_concat(jj *it, jj_val a, jj_val b)
{
    jj_str *l = a.u.s, *r = b.u.s;
    size_t len = l->len + r->len;
    if (!jj_step(it, r->len / 64)) return jj_none();
    if (r->len == 0) return a;
    if (l->len == 0) return b;
    if (l->grow && l->p == l->grow->data && l->len == l->grow->used &&
        r->len <= l->grow->cap - l->len) {
        memcpy(l->grow->data + l->len, r->p, r->len);
        l->grow->used = len;
        jj_val v = jj_str_ref(it, l->p, len);
        if (it->st == TK_OK) v.u.s->grow = l->grow;
        return v;
    }
    if (!jj_step(it, l->len / 64)) return jj_none();
    size_t cap = len < 128 ? len : len + len / 2;
    char *p = jj_alloc(it, cap, 1);
    jj_grow *g = p && cap > len ? jj_alloc(it, 1, sizeof *g) : NULL;
    if (p == NULL || it->st != TK_OK) return jj_none();
    memcpy(p, l->p, l->len);
    memcpy(p + l->len, r->p, r->len);
    if (g) *g = (jj_grow){.used = len, .cap = cap, .data = p};
    jj_val v = jj_str_ref(it, p, len);
    if (it->st == TK_OK) v.u.s->grow = g;
    return v;
}

// ---- lists -----------------------------------------------------------------------------------------

jj_list *jj_list_new(jj *it, size_t cap)
{
    jj_list *l = jj_alloc(it, 1, sizeof *l);
    if (l == NULL) return NULL;
    if (cap && (l->v = jj_alloc(it, cap, sizeof *l->v)) == NULL) return NULL;
    l->cap = cap;
    return l;
}

bool jj_list_add(jj *it, jj_list *l, jj_val v)
{
    if (it->st != TK_OK) return false;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        jj_val *grown = jj_alloc(it, cap, sizeof *grown);
        if (grown == NULL) return false;
        if (l->n) memcpy(grown, l->v, l->n * sizeof *grown);
        l->v = grown;
        l->cap = cap;
    }
    l->v[l->n++] = v;
    return true;
}

jj_val jj_wrap_list(jj_kind kind, jj_list *l)
{
    return l ? (jj_val){.kind = (uint8_t)kind, .u.l = l} : jj_none();
}

jj_val jj_pair(jj *it, jj_val a, jj_val b)
{
    jj_list *l = jj_list_new(it, 2);
    if (l == NULL) return jj_none();
    l->v[0] = a;
    l->v[1] = b;
    l->n = 2;
    return jj_wrap_list(JJ_TUPLE, l);
}

// ---- dicts -----------------------------------------------------------------------------------------

static uint64_t mix(uint64_t x)
{
    return XXH3_64bits(&x, sizeof x);
}

// False (and an error) for what Python cannot hash.
static bool hash_of(jj *it, jj_val v, uint64_t *out)
{
    switch (v.kind) {
    case JJ_STR:
        *out = XXH3_64bits(v.u.s->p, v.u.s->len);
        return v.u.s->len < 256 || jj_step(it, v.u.s->len / 256);
    case JJ_NONE: *out = 1; return true;
    case JJ_BOOL: *out = mix(v.u.b); return true;
    case JJ_INT: *out = mix((uint64_t)v.u.i); return true;
    case JJ_FLOAT:
        if (v.u.f >= -0x1p63 && v.u.f < 0x1p63 && v.u.f == floor(v.u.f)) {
            *out = mix((uint64_t)(int64_t)v.u.f); // equal to the integer
        } else {
            uint64_t bits;
            memcpy(&bits, &v.u.f, sizeof bits);
            *out = mix(bits ^ 0x9E3779B97F4A7C15u);
        }
        return true;
    case JJ_TUPLE: {
        if (!jj_enter(it) || !jj_step(it, v.u.l->n / 4 + 1)) return false;
        uint64_t h = 0x51ED27, one = 0;
        for (size_t i = 0; i < v.u.l->n; i++) {
            if (!hash_of(it, v.u.l->v[i], &one)) return false;
            h = mix(h ^ one) + i;
        }
        jj_leave(it);
        *out = h;
        return true;
    }
    case JJ_LIST:
    case JJ_DICT:
    case JJ_VIEW: jj_raise(it, "unhashable type: '%s'", jj_type_name(v)); return false;
    case JJ_UNDEF: *out = 2; return true;
    default: *out = mix((uint64_t)(uintptr_t)v.u.l); return true;
    }
}

jj_dict *jj_dict_new(jj *it)
{
    return jj_alloc(it, 1, sizeof(jj_dict));
}

static jj_entry *find(jj *it, const jj_dict *d, jj_val key, uint64_t hash)
{
    if (d->index == NULL) {
        for (size_t i = 0; i < d->n; i++)
            if (d->e[i].hash == hash && jj_equal(it, d->e[i].key, key)) return &d->e[i];
        return NULL;
    }
    for (size_t i = hash & (d->n_index - 1); d->index[i]; i = (i + 1) & (d->n_index - 1)) {
        jj_entry *e = &d->e[d->index[i] - 1];
        it->n_step++; // chosen keys may all fall on one place
        if (e->hash == hash && jj_equal(it, e->key, key)) return e;
    }
    return NULL;
}

static void index_entry(jj_dict *d, size_t i_entry)
{
    size_t i = d->e[i_entry].hash & (d->n_index - 1);
    while (d->index[i]) i = (i + 1) & (d->n_index - 1);
    d->index[i] = (uint32_t)i_entry + 1;
}

static bool grow_dict(jj *it, jj_dict *d)
{
    size_t cap = d->cap ? d->cap * 2 : 4;
    jj_entry *e = jj_alloc(it, cap, sizeof *e);
    if (e == NULL) return false;
    if (d->n) memcpy(e, d->e, d->n * sizeof *e);
    d->e = e;
    d->cap = cap;
    if (cap < 16) return true;
    d->n_index = cap * 2;
    d->index = jj_alloc(it, d->n_index, sizeof *d->index);
    if (d->index == NULL) return false;
    for (size_t i = 0; i < d->n; i++) index_entry(d, i);
    return true;
}

bool jj_dict_set(jj *it, jj_dict *d, jj_val key, jj_val v)
{
    uint64_t hash;
    if (it->st != TK_OK || !hash_of(it, key, &hash)) return false;
    jj_entry *e = find(it, d, key, hash);
    if (e) {
        e->val = v;
        return true;
    }
    if (d->n == d->cap && !grow_dict(it, d)) return false;
    d->e[d->n++] = (jj_entry){.key = key, .val = v, .hash = hash};
    if (d->index) index_entry(d, d->n - 1);
    return true;
}

bool jj_dict_get(jj *it, const jj_dict *d, jj_val key, jj_val *out)
{
    uint64_t hash;
    if (!hash_of(it, key, &hash)) return false;
    jj_entry *e = find(it, d, key, hash);
    if (e && out) *out = e->val;
    return e != NULL;
}

bool jj_dict_get_z(jj *it, const jj_dict *d, const char *key, size_t len, jj_val *out)
{
    jj_str s = {.p = key, .len = len, .n_cp = SIZE_MAX};
    return jj_dict_get(it, d, (jj_val){.kind = JJ_STR, .u.s = &s}, out);
}

static jj_val from_array(jj *it, const json_t *j)
{
    size_t n = json_array_size(j);
    jj_list *l = jj_list_new(it, n);
    for (size_t i = 0; l && i < n; i++)
        if (!jj_list_add(it, l, jj_from_json(it, json_array_get(j, i)))) return jj_none();
    return jj_wrap_list(JJ_LIST, l);
}

static jj_val from_object(jj *it, const json_t *j)
{
    jj_dict *d = jj_dict_new(it);
    if (d == NULL) return jj_none();
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        jj_val k = jj_str_new(it, key, strlen(key)), val = jj_from_json(it, v);
        if (!jj_dict_set(it, d, k, val)) return jj_none();
    }
    return (jj_val){.kind = JJ_DICT, .u.d = d};
}

jj_val jj_from_json(jj *it, const json_t *j)
{
    jj_val v = jj_none();
    if (!jj_enter(it)) return v;
    switch (json_typeof(j)) {
    case JSON_OBJECT: v = from_object(it, j); break;
    case JSON_ARRAY: v = from_array(it, j); break;
    case JSON_STRING: v = jj_str_new(it, json_string_value(j), json_string_length(j)); break;
    case JSON_INTEGER: v = jj_int(json_integer_value(j)); break;
    case JSON_REAL: v = jj_float(json_real_value(j)); break;
    case JSON_TRUE: v = jj_bool(true); break;
    case JSON_FALSE: v = jj_bool(false); break;
    case JSON_NULL: break;
    }
    jj_leave(it);
    return v;
}

// ---- kinds -----------------------------------------------------------------------------------------

const char *jj_type_name(jj_val v)
{
    static const char *const names[] = {
        [JJ_MISSING] = "missing", [JJ_UNDEF] = "Undefined", [JJ_NONE] = "NoneType",
        [JJ_BOOL] = "bool",       [JJ_INT] = "int",         [JJ_FLOAT] = "float",
        [JJ_STR] = "str",         [JJ_LIST] = "list",       [JJ_TUPLE] = "tuple",
        [JJ_DICT] = "dict",       [JJ_RANGE] = "range",     [JJ_ITER] = "generator",
        [JJ_VIEW] = "dict view",  [JJ_NS] = "Namespace",    [JJ_MACRO] = "Macro",
        [JJ_FUNC] = "function",   [JJ_METHOD] = "method",   [JJ_LOOP] = "LoopContext",
        [JJ_CYCLER] = "Cycler",   [JJ_JOINER] = "Joiner",   [JJ_SELF] = "TemplateReference",
        [JJ_SLICE] = "slice",
    };
    if (v.kind == JJ_VIEW)
        return v.flag == JJ_KEYS ? "dict_keys" : v.flag == JJ_VALUES ? "dict_values" : "dict_items";
    if (v.kind == JJ_STR && v.flag) return "Markup";
    return names[v.kind];
}

bool jj_is_number(jj_val v)
{
    return v.kind == JJ_INT || v.kind == JJ_FLOAT || v.kind == JJ_BOOL;
}

double jj_as_double(jj_val v)
{
    return v.kind == JJ_FLOAT ? v.u.f : v.kind == JJ_BOOL ? v.u.b : (double)v.u.i;
}

int64_t jj_as_int(jj *it, jj_val v, const char *what)
{
    if (v.kind == JJ_INT) return v.u.i;
    if (v.kind == JJ_BOOL) return v.u.b;
    if (v.kind == JJ_UNDEF)
        jj_raise(it, "%.*s", (int)v.u.s->len, v.u.s->p);
    else
        jj_raise(it, "%s: '%s' object cannot be interpreted as an integer", what, jj_type_name(v));
    return 0;
}

bool jj_has_len(jj_val v)
{
    return (v.kind >= JJ_STR && v.kind <= JJ_RANGE) || v.kind == JJ_VIEW || v.kind == JJ_UNDEF ||
           v.kind == JJ_LOOP;
}

size_t jj_len(jj *it, jj_val v)
{
    switch (v.kind) {
    case JJ_UNDEF: return 0;
    case JJ_STR:
        if (v.u.s->n_cp == SIZE_MAX) jj_step(it, v.u.s->len / 64);
        return jj_cp_count(v.u.s);
    case JJ_LIST:
    case JJ_TUPLE: return v.u.l->n;
    case JJ_DICT:
    case JJ_VIEW: return v.u.d->n;
    case JJ_RANGE: return v.u.r->n;
    case JJ_LOOP: {
        static const jj_str length = {.p = "length", .len = 6, .n_cp = 6};
        bool found;
        return (size_t)jj_loop_attr(it, v.u.loop, &length, &found).u.i;
    }
    default: jj_raise(it, "object of type '%s' has no len()", jj_type_name(v)); return 0;
    }
}

bool jj_truth(jj *it, jj_val v)
{
    switch (v.kind) {
    case JJ_MISSING:
    case JJ_UNDEF:
    case JJ_NONE: return false;
    case JJ_BOOL: return v.u.b;
    case JJ_INT: return v.u.i != 0;
    case JJ_FLOAT: return v.u.f != 0;
    case JJ_STR: return v.u.s->len > 0;
    default: return jj_has_len(v) ? jj_len(it, v) > 0 : true;
    }
}

// ---- comparing -------------------------------------------------------------------------------------

bool jj_same(jj_val a, jj_val b)
{
    if (a.kind != b.kind) return false;
    switch (a.kind) {
    case JJ_NONE: return true;
    case JJ_BOOL: return a.u.b == b.u.b;
    // Python shares small integers only; a template that asks for more asks for luck.
    case JJ_INT: return a.u.i == b.u.i && a.u.i >= -5 && a.u.i <= 256;
    case JJ_FLOAT: return false;
    case JJ_STR:
        return a.u.s == b.u.s || (a.u.s->len <= 1 && a.u.s->len == b.u.s->len &&
                                  memcmp(a.u.s->p, b.u.s->p, a.u.s->len) == 0);
    default: return a.u.l == b.u.l;
    }
}

// -1, 0, 1, or 2 when not comparable (nan). Exact between int64 and double.
static int order_numbers(jj_val a, jj_val b)
{
    if (a.kind != JJ_FLOAT && b.kind != JJ_FLOAT) {
        int64_t x = a.kind == JJ_BOOL ? a.u.b : a.u.i, y = b.kind == JJ_BOOL ? b.u.b : b.u.i;
        return (x > y) - (x < y);
    }
    if (a.kind != JJ_FLOAT) {
        int r = order_numbers(b, a);
        return r == 2 ? 2 : -r;
    }
    if (b.kind == JJ_FLOAT)
        return isnan(a.u.f) || isnan(b.u.f) ? 2 : (a.u.f > b.u.f) - (a.u.f < b.u.f);
    if (isnan(a.u.f)) return 2;
    if (a.u.f >= 0x1p63) return 1;
    if (a.u.f < -0x1p63) return -1;
    int64_t y = b.kind == JJ_BOOL ? b.u.b : b.u.i, whole = (int64_t)a.u.f;
    double part = a.u.f - (double)whole;
    if (whole != y) return (whole > y) - (whole < y);
    return (part > 0) - (part < 0);
}

static bool equal_dicts(jj *it, const jj_dict *a, const jj_dict *b)
{
    if (a->n != b->n || !jj_step(it, a->n / 4 + 1)) return false;
    for (size_t i = 0; i < a->n && it->st == TK_OK; i++) {
        const jj_entry *e = find(it, b, a->e[i].key, a->e[i].hash);
        if (e == NULL || !jj_equal(it, a->e[i].val, e->val)) return false;
    }
    return true;
}

static bool equal_lists(jj *it, const jj_list *a, const jj_list *b)
{
    if (a->n != b->n || !jj_step(it, a->n / 4 + 1)) return false;
    for (size_t i = 0; i < a->n && it->st == TK_OK; i++)
        if (!jj_equal(it, a->v[i], b->v[i])) return false;
    return true;
}

static bool equal_ranges(const jj_range *a, const jj_range *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

bool jj_equal(jj *it, jj_val a, jj_val b)
{
    if (jj_is_number(a) && jj_is_number(b)) return order_numbers(a, b) == 0;
    if (a.kind != b.kind) return false;
    bool r;
    switch (a.kind) {
    case JJ_NONE:
    case JJ_UNDEF: return true;
    case JJ_STR:
        if (a.u.s->len != b.u.s->len) return false;
        jj_step(it, a.u.s->len / 256);
        return memcmp(a.u.s->p, b.u.s->p, a.u.s->len) == 0;
    case JJ_RANGE: return equal_ranges(a.u.r, b.u.r);
    case JJ_LIST:
    case JJ_TUPLE:
    case JJ_DICT:
        if (a.u.l == b.u.l) return true;
        if (!jj_step(it, 1) || !jj_enter(it)) return false;
        r = a.kind == JJ_DICT ? equal_dicts(it, a.u.d, b.u.d) : equal_lists(it, a.u.l, b.u.l);
        jj_leave(it);
        return r;
    default: return a.u.l == b.u.l;
    }
}

static int order_strings(const jj_str *a, const jj_str *b)
{
    // UTF-8 keeps the order of code points.
    int r = memcmp(a->p, b->p, TK_MIN(a->len, b->len));
    return r ? (r > 0) - (r < 0) : (a->len > b->len) - (a->len < b->len);
}

int jj_order(jj *it, jj_val a, jj_val b, jj_op op)
{
    static const char *const ops[] = {[OP_LT] = "<", [OP_LE] = "<=", [OP_GT] = ">", [OP_GE] = ">="};
    if (jj_is_number(a) && jj_is_number(b)) return order_numbers(a, b);
    if (a.kind == JJ_STR && b.kind == JJ_STR) return order_strings(a.u.s, b.u.s);
    if (a.kind == b.kind && (a.kind == JJ_LIST || a.kind == JJ_TUPLE)) {
        if (!jj_enter(it)) return 0;
        size_t n = TK_MIN(a.u.l->n, b.u.l->n), i = 0;
        jj_step(it, n / 4 + 1);
        while (i < n && it->st == TK_OK && jj_equal(it, a.u.l->v[i], b.u.l->v[i])) i++;
        int r = (a.u.l->n > b.u.l->n) - (a.u.l->n < b.u.l->n);
        if (i < n && it->st == TK_OK) r = jj_order(it, a.u.l->v[i], b.u.l->v[i], op);
        jj_leave(it);
        return r;
    }
    if (a.kind == JJ_UNDEF || b.kind == JJ_UNDEF) {
        jj_val u = a.kind == JJ_UNDEF ? a : b;
        jj_raise(it, "%.*s", (int)u.u.s->len, u.u.s->p);
    } else {
        jj_raise(it, "'%s' not supported between instances of '%s' and '%s'", ops[op],
                 jj_type_name(a), jj_type_name(b));
    }
    return 0;
}

bool jj_compare(jj *it, jj_op op, jj_val a, jj_val b)
{
    if (!jj_step(it, 1)) return false;
    if (op == OP_EQ) return jj_equal(it, a, b);
    if (op == OP_NE) return !jj_equal(it, a, b);
    if (op == OP_IN) return jj_contains(it, b, a);
    if (op == OP_NOTIN) return !jj_contains(it, b, a);
    int r = jj_order(it, a, b, op);
    if (r == 2 || it->st != TK_OK) return false;
    return op == OP_LT ? r < 0 : op == OP_LE ? r <= 0 : op == OP_GT ? r > 0 : r >= 0;
}

bool jj_contains(jj *it, jj_val seq, jj_val item)
{
    if (seq.kind == JJ_STR) {
        if (item.kind != JJ_STR) {
            jj_raise(it, "'in <string>' requires string as left operand, not %s",
                     jj_type_name(item));
            return false;
        }
        jj_step(it, seq.u.s->len / 64);
        return memmem(seq.u.s->p, seq.u.s->len, item.u.s->p, item.u.s->len) != NULL;
    }
    if (seq.kind == JJ_DICT || (seq.kind == JJ_VIEW && seq.flag == JJ_KEYS))
        return jj_dict_get(it, seq.u.d, item, NULL);
    if (!jj_iterable(seq)) {
        jj_raise(it, "argument of type '%s' is not iterable", jj_type_name(seq));
        return false;
    }
    jj_cur c = jj_iter(it, seq);
    jj_val v;
    while (jj_next(it, &c, &v))
        if (jj_same(v, item) || jj_equal(it, v, item)) return true;
    return false;
}

// ---- walking ---------------------------------------------------------------------------------------

bool jj_iterable(jj_val v)
{
    return (v.kind >= JJ_STR && v.kind <= JJ_VIEW) || v.kind == JJ_UNDEF || v.kind == JJ_LOOP;
}

jj_cur jj_iter(jj *it, jj_val v)
{
    if (v.kind == JJ_LOOP || !jj_iterable(v))
        jj_raise(it, "'%s' object is not iterable", jj_type_name(v));
    return (jj_cur){.v = v};
}

static jj_val one_char(jj *it, const jj_str *s, size_t *pos)
{
    size_t from = *pos;
    unsigned char c = (unsigned char)s->p[from];
    jj_cp_next(s->p, s->len, pos);
    if (c >= 128) return jj_str_ref(it, s->p + from, *pos - from);
    if (it->ascii[c].kind == JJ_MISSING) it->ascii[c] = jj_str_new(it, s->p + from, 1);
    return it->ascii[c];
}

static jj_val view_item(jj *it, uint8_t view, const jj_entry *e)
{
    return view == JJ_KEYS ? e->key : view == JJ_VALUES ? e->val : jj_pair(it, e->key, e->val);
}

bool jj_next(jj *it, jj_cur *c, jj_val *out)
{
    if (!jj_step(it, 1)) return false;
    switch (c->v.kind) {
    case JJ_STR:
        if (c->pos >= c->v.u.s->len) return false;
        *out = one_char(it, c->v.u.s, &c->pos);
        break;
    case JJ_LIST:
    case JJ_TUPLE:
        if (c->pos >= c->v.u.l->n) return false;
        *out = c->v.u.l->v[c->pos++];
        break;
    case JJ_ITER:
        if (c->v.u.l->pos >= c->v.u.l->n) return jj_gen_next(it, c->v.u.l, out);
        *out = c->v.u.l->v[c->v.u.l->pos++];
        break;
    case JJ_DICT:
    case JJ_VIEW:
        if (c->pos >= c->v.u.d->n) return false;
        *out = view_item(it, c->v.kind == JJ_DICT ? JJ_KEYS : c->v.flag, &c->v.u.d->e[c->pos++]);
        break;
    case JJ_RANGE:
        if (c->pos >= c->v.u.r->n) return false;
        *out = jj_int(c->v.u.r->start + (int64_t)c->pos++ * c->v.u.r->step);
        break;
    default: return false; // undefined is empty
    }
    return it->st == TK_OK;
}

jj_list *jj_to_list(jj *it, jj_val v)
{
    jj_cur c = jj_iter(it, v);
    if (it->st != TK_OK) return NULL;
    jj_list *l = jj_list_new(it, v.kind == JJ_LIST || v.kind == JJ_TUPLE ? v.u.l->n : 0);
    jj_val item;
    while (l && jj_next(it, &c, &item))
        if (!jj_list_add(it, l, item)) return NULL;
    return it->st == TK_OK ? l : NULL;
}
