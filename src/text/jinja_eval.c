// SPDX-License-Identifier: MIT
// Expressions. Recursion follows the syntax tree and macro calls; jj_enter bounds it.
#include "text/jinja_int.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static jj_val undef_error(jj *it, jj_val u)
{
    return jj_raise(it, "%.*s", (int)u.u.s->len, u.u.s->p);
}

static jj_val type_error(jj *it, jj_op op, jj_val a, jj_val b)
{
    static const char *const ops[] = {
        [OP_ADD] = "+", [OP_SUB] = "-",       [OP_MUL] = "*",          [OP_DIV] = "/",
        [OP_MOD] = "%", [OP_FLOORDIV] = "//", [OP_POW] = "** or pow()"};
    if (a.kind == JJ_UNDEF) return undef_error(it, a);
    if (b.kind == JJ_UNDEF) return undef_error(it, b);
    if (op == OP_ADD && a.kind == JJ_STR)
        return jj_raise(it, "can only concatenate str (not \"%s\") to str", jj_type_name(b));
    if (op == OP_ADD && a.kind == JJ_LIST)
        return jj_raise(it, "can only concatenate list (not \"%s\") to list", jj_type_name(b));
    return jj_raise(it, "unsupported operand type(s) for %s: '%s' and '%s'", ops[op],
                    jj_type_name(a), jj_type_name(b));
}

static jj_val overflow(jj *it)
{
    return jj_raise(it, "an integer does not fit in 64 bits");
}

static jj_val int_pow(jj *it, int64_t a, int64_t b)
{
    if (b < 0) {
        if (a == 0) return jj_raise(it, "0.0 cannot be raised to a negative power");
        return jj_float(pow((double)a, (double)b));
    }
    int64_t r = 1;
    for (; b > 0; b >>= 1) {
        if (b & 1 && __builtin_mul_overflow(r, a, &r)) return overflow(it);
        if (b > 1 && __builtin_mul_overflow(a, a, &a)) return overflow(it);
    }
    return jj_int(r);
}

static jj_val int_op(jj *it, jj_op op, int64_t a, int64_t b)
{
    int64_t r = 0;
    switch (op) {
    case OP_ADD: return __builtin_add_overflow(a, b, &r) ? overflow(it) : jj_int(r);
    case OP_SUB: return __builtin_sub_overflow(a, b, &r) ? overflow(it) : jj_int(r);
    case OP_MUL: return __builtin_mul_overflow(a, b, &r) ? overflow(it) : jj_int(r);
    case OP_POW: return int_pow(it, a, b);
    case OP_DIV:
        if (b == 0) return jj_raise(it, "division by zero");
        return jj_float((double)((long double)a / (long double)b));
    default: break;
    }
    if (b == 0)
        return jj_raise(it, op == OP_MOD ? "integer modulo by zero"
                                         : "integer division or modulo by zero");
    if (b == -1) return op == OP_MOD ? jj_int(0) : a == INT64_MIN ? overflow(it) : jj_int(-a);
    int64_t q = a / b, m = a % b;
    if (m != 0 && (m < 0) != (b < 0)) { // Python rounds down
        q--;
        m += b;
    }
    return jj_int(op == OP_MOD ? m : q);
}

static double float_mod(double a, double b, double *div)
{
    double m = fmod(a, b);
    *div = (a - m) / b;
    if (m != 0) {
        if ((b < 0) != (m < 0)) {
            m += b;
            *div -= 1;
        }
    } else {
        m = copysign(0, b);
    }
    if (*div != 0) {
        double f = floor(*div);
        *div = *div - f > 0.5 ? f + 1 : f;
    } else {
        *div = copysign(0, a / b);
    }
    return m;
}

static jj_val float_op(jj *it, jj_op op, double a, double b)
{
    double q, m;
    switch (op) {
    case OP_ADD: return jj_float(a + b);
    case OP_SUB: return jj_float(a - b);
    case OP_MUL: return jj_float(a * b);
    case OP_DIV:
        if (b == 0) return jj_raise(it, "float division by zero");
        return jj_float(a / b);
    case OP_POW:
        if (a == 0 && b < 0) return jj_raise(it, "0.0 cannot be raised to a negative power");
        q = pow(a, b);
        if (isinf(q) && isfinite(a) && isfinite(b)) return jj_raise(it, "a power is out of range");
        if (isnan(q) && !isnan(a) && !isnan(b))
            return jj_raise(it, "complex numbers are not supported");
        return jj_float(q);
    default:
        if (b == 0)
            return jj_raise(it,
                            op == OP_MOD ? "float modulo by zero" : "float floor division by zero");
        m = float_mod(a, b, &q);
        return jj_float(op == OP_MOD ? m : q);
    }
}

static jj_val repeat_list(jj *it, jj_val l, int64_t n)
{
    size_t len = l.u.l->n, total;
    if (n <= 0) n = 0;
    if (__builtin_mul_overflow(len, (size_t)n, &total)) total = SIZE_MAX;
    jj_list *out = jj_list_new(it, total);
    if (out == NULL || !jj_step(it, total)) return jj_none();
    for (size_t i = 0; i < total; i++) out->v[i] = l.u.l->v[i % len];
    out->n = total;
    return jj_wrap_list(l.kind, out);
}

static jj_val repeat_str(jj *it, jj_val s, int64_t n)
{
    size_t total, len = s.u.s->len;
    if (n <= 0) n = 0;
    if (__builtin_mul_overflow(len, (size_t)n, &total)) total = SIZE_MAX - 1;
    if (!jj_step(it, TK_MIN(total, (size_t)1 << 40) / 64)) return jj_none();
    char *p = jj_alloc(it, total + 1, 1);
    if (p == NULL) return jj_none();
    for (size_t i = 0; i < (size_t)n && len; i++) memcpy(p + i * len, s.u.s->p, len);
    jj_val v = jj_str_ref(it, p, total);
    v.flag = s.flag;
    return v;
}

static jj_val multiply(jj *it, jj_val a, jj_val b)
{
    if (a.kind == JJ_INT || a.kind == JJ_BOOL) {
        jj_val t = a;
        a = b;
        b = t;
    }
    if (b.kind == JJ_INT || b.kind == JJ_BOOL) {
        int64_t n = jj_as_int(it, b, "*");
        if (a.kind == JJ_STR) return repeat_str(it, a, n);
        if (a.kind == JJ_LIST || a.kind == JJ_TUPLE) return repeat_list(it, a, n);
    }
    if (b.kind == JJ_STR || b.kind == JJ_LIST || b.kind == JJ_TUPLE)
        return a.kind == JJ_UNDEF ? undef_error(it, a)
                                  : jj_raise(it, "can't multiply sequence by non-int of type '%s'",
                                             jj_type_name(a));
    return type_error(it, OP_MUL, a, b);
}

static jj_val escaped(jj *it, jj_val s)
{
    if (s.flag) return s;
    tk_buf b = jj_buf();
    jj_add_escaped(&b, s.u.s->p, s.u.s->len);
    return jj_buf_str(it, &b);
}

static jj_val add(jj *it, jj_val a, jj_val b)
{
    if (a.kind == JJ_STR && b.kind == JJ_STR) {
        if (!a.flag && !b.flag) return jj_concat(it, a, b);
        a = escaped(it, a);
        b = escaped(it, b);
        if (it->st != TK_OK) return a;
        jj_val v = jj_concat(it, a, b);
        v.flag = 1;
        return v;
    }
    if (a.kind == b.kind && (a.kind == JJ_LIST || a.kind == JJ_TUPLE)) {
        jj_list *l = jj_list_new(it, a.u.l->n + b.u.l->n);
        if (l == NULL || !jj_step(it, l->cap)) return jj_none();
        if (a.u.l->n) memcpy(l->v, a.u.l->v, a.u.l->n * sizeof *l->v);
        if (b.u.l->n) memcpy(l->v + a.u.l->n, b.u.l->v, b.u.l->n * sizeof *l->v);
        l->n = l->cap;
        return jj_wrap_list(a.kind, l);
    }
    return type_error(it, OP_ADD, a, b);
}

jj_val jj_binary(jj *it, jj_op op, jj_val a, jj_val b)
{
    if (it->st != TK_OK || !jj_step(it, 1)) return jj_none();
    if (jj_is_number(a) && jj_is_number(b)) {
        if (a.kind == JJ_FLOAT || b.kind == JJ_FLOAT)
            return float_op(it, op, jj_as_double(a), jj_as_double(b));
        return int_op(it, op, jj_as_int(it, a, ""), jj_as_int(it, b, ""));
    }
    if (op == OP_ADD) return add(it, a, b);
    if (op == OP_MUL) return multiply(it, a, b);
    if (op == OP_MOD && a.kind == JJ_STR) return jj_percent(it, a, b);
    return type_error(it, op, a, b);
}

// ---- nodes -----------------------------------------------------------------------------------------

static jj_val eval_list(jj *it, const jj_node *n)
{
    jj_list *l = jj_list_new(it, n->list.n);
    for (uint32_t i = 0; l && i < n->list.n; i++)
        if (!jj_list_add(it, l, jj_eval(it, n->list.v[i]))) return jj_none();
    return jj_wrap_list(n->kind == N_LIST ? JJ_LIST : JJ_TUPLE, l);
}

static jj_val eval_dict(jj *it, const jj_node *n)
{
    jj_dict *d = jj_dict_new(it);
    for (uint32_t i = 0; d && i < n->list.n; i++) {
        jj_val k = jj_eval(it, n->list.v[i]->a);
        jj_val v = it->st == TK_OK ? jj_eval(it, n->list.v[i]->b) : k;
        if (!jj_dict_set(it, d, k, v)) return jj_none();
    }
    return d ? (jj_val){.kind = JJ_DICT, .u.d = d} : jj_none();
}

static jj_val eval_slice(jj *it, const jj_node *n)
{
    jj_list *l = jj_list_new(it, 3);
    const jj_node *part[3] = {n->a, n->b, n->c};
    for (int i = 0; l && i < 3; i++)
        if (!jj_list_add(it, l, part[i] ? jj_eval(it, part[i]) : jj_none())) return jj_none();
    return jj_wrap_list(JJ_SLICE, l);
}

static jj_val eval_compare(jj *it, const jj_node *n)
{
    jj_val left = jj_eval(it, n->a);
    bool ok = true;
    for (uint32_t i = 0; ok && i < n->list.n && it->st == TK_OK; i++) {
        jj_val right = jj_eval(it, n->list.v[i]->a);
        if (it->st != TK_OK) break;
        it->line = n->line;
        ok = jj_compare(it, n->list.v[i]->op, left, right);
        left = right;
    }
    return jj_bool(ok);
}

static jj_val eval_concat(jj *it, const jj_node *n)
{
    jj_val s = jj_none();
    for (uint32_t i = 0; i < n->list.n && it->st == TK_OK; i++) {
        jj_val part = jj_eval(it, n->list.v[i]);
        if (it->st == TK_OK) part = jj_to_str(it, part);
        if (it->st == TK_OK) s = i ? jj_concat(it, s, part) : part;
    }
    s.flag = 0;
    return s;
}

static jj_val eval_sign(jj *it, const jj_node *n)
{
    jj_val v = jj_eval(it, n->a);
    if (it->st != TK_OK) return v;
    if (!jj_is_number(v)) {
        if (v.kind == JJ_UNDEF) return undef_error(it, v);
        return jj_raise(it, "bad operand type for unary %c: '%s'", n->kind == N_NEG ? '-' : '+',
                        jj_type_name(v));
    }
    if (v.kind == JJ_FLOAT) return jj_float(n->kind == N_NEG ? -v.u.f : v.u.f);
    int64_t i = jj_as_int(it, v, "");
    if (n->kind == N_POS) return jj_int(i);
    return i == INT64_MIN ? overflow(it) : jj_int(-i);
}

static bool add_kw(jj *it, jj_args *a, const jj_str *name, jj_val v)
{
    for (size_t i = 0; i < a->n_kw; i++)
        if (a->kw[i].name->len == name->len && memcmp(a->kw[i].name->p, name->p, name->len) == 0) {
            jj_raise(it, "got multiple values for keyword argument '%.*s'",
                     (int)TK_MIN(name->len, 100), name->p);
            return false;
        }
    assert(a->kw); // made with room for every keyword of the call
    a->kw[a->n_kw++] = (jj_kw){.name = name, .val = v};
    return true;
}

static bool dyn_kwargs(jj *it, jj_args *out, jj_val v)
{
    if (v.kind != JJ_DICT) {
        jj_raise(it, "argument after ** must be a mapping, not %s", jj_type_name(v));
        return false;
    }
    for (size_t i = 0; i < v.u.d->n; i++) {
        if (v.u.d->e[i].key.kind != JJ_STR) {
            jj_raise(it, "keywords must be strings");
            return false;
        }
        if (!jj_step(it, out->n_kw + 1) || !add_kw(it, out, v.u.d->e[i].key.u.s, v.u.d->e[i].val))
            return false;
    }
    return true;
}

bool jj_eval_args(jj *it, const jj_node *n, jj_args *out, const jj_val *caller)
{
    static const jj_str caller_name = {.p = "caller", .len = 6, .n_cp = 6};
    *out = (jj_args){0};
    if (n->list.n + n->kw.n == 0 && !n->b && !n->c && !caller) return true;
    jj_list pos = {0};
    for (uint32_t i = 0; i < n->list.n; i++)
        if (!jj_list_add(it, &pos, jj_eval(it, n->list.v[i]))) return false;
    jj_list kw = {0};
    for (uint32_t i = 0; i < n->kw.n; i++)
        if (!jj_list_add(it, &kw, jj_eval(it, n->kw.v[i]->a))) return false;
    if (n->b) {
        jj_val v = jj_eval(it, n->b), item;
        if (it->st != TK_OK) return false;
        jj_cur c = jj_iter(it, v);
        while (it->st == TK_OK && jj_next(it, &c, &item))
            if (!jj_list_add(it, &pos, item)) return false;
    }
    jj_val d = n->c ? jj_eval(it, n->c) : jj_none();
    if (it->st != TK_OK) return false;
    size_t n_kw = kw.n + (caller != NULL) + (d.kind == JJ_DICT ? d.u.d->n : 0);
    out->pos = pos.v;
    out->n_pos = pos.n;
    if (n_kw && (out->kw = jj_alloc(it, n_kw, sizeof *out->kw)) == NULL) return false;
    for (size_t i = 0; i < kw.n; i++)
        if (!add_kw(it, out, n->kw.v[i]->name, kw.v[i])) return false;
    if (caller && !add_kw(it, out, &caller_name, *caller)) return false;
    return n->c ? dyn_kwargs(it, out, d) : it->st == TK_OK;
}

static jj_val invoke(jj *it, const jj_node *n, jj_val v, const jj_args *a)
{
    it->line = n->line;
    if (n->func) return jj_invoke(it, n->func, v, a);
    return jj_raise(it, "no %s named '%.*s'", n->kind == N_FILTER ? "filter" : "test",
                    (int)TK_MIN(n->name->len, 100), n->name->p);
}

jj_val jj_eval_filter(jj *it, const jj_node *n, jj_val self)
{
    // The filters of a filter block are a chain that ends at NULL, where the block's text goes in.
    jj_val v = n->a ? n->a->kind == N_FILTER && self.kind != JJ_MISSING
                          ? jj_eval_filter(it, n->a, self)
                          : jj_eval(it, n->a)
                    : self;
    jj_args a;
    if (it->st != TK_OK || !jj_eval_args(it, n, &a, NULL)) return jj_none();
    return invoke(it, n, v, &a);
}

static jj_val eval_test(jj *it, const jj_node *n)
{
    jj_val v = jj_eval(it, n->a);
    jj_args a;
    if (it->st != TK_OK || !jj_eval_args(it, n, &a, NULL)) return jj_none();
    return invoke(it, n, v, &a);
}

static jj_val eval_call(jj *it, const jj_node *n)
{
    jj_val f = jj_eval(it, n->a);
    jj_args a;
    if (it->st != TK_OK || !jj_eval_args(it, n, &a, NULL)) return jj_none();
    it->line = n->line;
    return jj_call(it, f, &a);
}

static jj_val eval_item(jj *it, const jj_node *n)
{
    jj_val o = jj_eval(it, n->a);
    if (it->st != TK_OK) return o;
    if (n->kind == N_GETATTR) {
        it->line = n->line;
        return jj_getattr(it, o, n->name);
    }
    jj_val key = n->b->kind == N_SLICE ? eval_slice(it, n->b) : jj_eval(it, n->b);
    if (it->st != TK_OK) return o;
    it->line = n->line;
    return key.kind == JJ_SLICE ? jj_getslice(it, o, key) : jj_getitem(it, o, key);
}

static jj_val eval_cond(jj *it, const jj_node *n)
{
    jj_val test = jj_eval(it, n->a);
    if (it->st != TK_OK) return test;
    if (jj_truth(it, test)) return jj_eval(it, n->b);
    if (n->c) return jj_eval(it, n->c);
    return jj_undef(
        it,
        "the inline if-expression on line %u evaluated to false and no else section was defined.",
        n->line);
}

static jj_val eval_logic(jj *it, const jj_node *n)
{
    jj_val a = jj_eval(it, n->a);
    if (it->st != TK_OK) return a;
    if (n->kind == N_NOT) return jj_bool(!jj_truth(it, a));
    return jj_truth(it, a) == (n->kind == N_OR) ? a : jj_eval(it, n->b);
}

static jj_val eval_binary(jj *it, const jj_node *n)
{
    jj_val a = jj_eval(it, n->a);
    jj_val b = it->st == TK_OK ? jj_eval(it, n->b) : a;
    if (it->st != TK_OK) return b;
    it->line = n->line;
    return jj_binary(it, n->op, a, b);
}

jj_val jj_eval(jj *it, const jj_node *n)
{
    jj_val v = jj_none();
    if (!jj_step(it, 1) || !jj_enter(it)) return v;
    switch (n->kind) {
    case N_CONST: v = n->val; break;
    case N_NAME: v = jj_lookup(it, n->name); break;
    case N_TUPLE:
    case N_LIST: v = eval_list(it, n); break;
    case N_DICT: v = eval_dict(it, n); break;
    case N_COND: v = eval_cond(it, n); break;
    case N_AND:
    case N_OR:
    case N_NOT: v = eval_logic(it, n); break;
    case N_COMPARE: v = eval_compare(it, n); break;
    case N_BIN: v = eval_binary(it, n); break;
    case N_NEG:
    case N_POS: v = eval_sign(it, n); break;
    case N_CONCAT: v = eval_concat(it, n); break;
    case N_FILTER: v = jj_eval_filter(it, n, jj_missing()); break;
    case N_TEST: v = eval_test(it, n); break;
    case N_CALL: v = eval_call(it, n); break;
    case N_GETATTR:
    case N_GETITEM: v = eval_item(it, n); break;
    case N_SLICE: v = eval_slice(it, n); break;
    default: jj_raise(it, "this cannot be evaluated"); break;
    }
    jj_leave(it);
    return v;
}
