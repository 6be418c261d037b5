// SPDX-License-Identifier: MIT
// Filters on strings and numbers (jinja2's filters.py).
#include "text/jinja_int.h"

#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

static bool given(jj_val v)
{
    return v.kind != JJ_MISSING;
}

static jj_val markup(jj_val s)
{
    if (s.kind == JJ_STR) s.flag = 1;
    return s;
}

static jj_val f_default(jj *it, jj_val self, const jj_args *a)
{
    jj_val d = jj_arg(a, 0, "default_value"), b = jj_arg(a, 1, "boolean");
    if (!given(d)) d = jj_str_lit(it, "");
    bool use = self.kind == JJ_UNDEF || (jj_truth(it, b) && !jj_truth(it, self));
    return use ? d : self;
}

static jj_val case_filter(jj *it, jj_val self, jj_case how)
{
    self = jj_to_str(it, self);
    return it->st == TK_OK ? jj_case_str(it, self, how) : self;
}

static jj_val f_upper(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return case_filter(it, self, CASE_UPPER);
}
static jj_val f_lower(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return case_filter(it, self, CASE_LOWER);
}
static jj_val f_capitalize(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return case_filter(it, self, CASE_CAPITAL);
}

// A word begins after -, space, (, {, [ or <; unlike str.title.
static jj_val f_title(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    self = jj_to_str(it, self);
    if (it->st != TK_OK || !jj_step(it, self.u.s->len / 4)) return self;
    tk_buf b = jj_buf();
    const jj_str *s = self.u.s;
    size_t word = 0;
    for (size_t i = 0; i <= s->len;) {
        size_t at = i;
        uint32_t c = i < s->len ? jj_cp_next(s->p, s->len, &i) : ' ';
        bool sep = jj_cp_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        if (!sep) continue;
        if (at > word) {
            size_t first = word;
            jj_cp_next(s->p, s->len, &first);
            jj_add_case(&b, s->p + word, first - word, CASE_UPPER);
            jj_add_case(&b, s->p + first, at - first, CASE_LOWER);
        }
        if (at == s->len) break;
        tk_buf_add(&b, s->p + at, i - at);
        word = i;
    }
    return jj_buf_str(it, &b);
}

static jj_val f_trim(jj *it, jj_val self, const jj_args *a)
{
    jj_val chars = jj_arg(a, 0, "chars");
    jj_args one = {.pos = &chars, .n_pos = given(chars)};
    self = jj_to_str(it, self);
    if (it->st != TK_OK) return self;
    jj_val v = jj_invoke(it, jj_str_method("strip", 5), self, &one);
    v.flag = self.flag;
    return v;
}

static jj_val f_string(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return jj_to_str(it, self);
}

static jj_val f_safe(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return markup(jj_to_str(it, self));
}

static jj_val escape(jj *it, jj_val s)
{
    if (it->st != TK_OK || !jj_step(it, s.u.s->len / 16)) return s;
    tk_buf b = jj_buf();
    jj_add_escaped(&b, s.u.s->p, s.u.s->len);
    return markup(jj_buf_str(it, &b));
}

jj_val jj_escape(jj *it, jj_val v)
{
    return v.kind == JJ_STR && v.flag ? v : escape(it, jj_to_str(it, v));
}

static jj_val f_escape(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return jj_escape(it, self);
}

static jj_val f_forceescape(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return escape(it, jj_to_str(it, self));
}

static jj_val f_replace(jj *it, jj_val self, const jj_args *a)
{
    jj_val old = jj_to_str(it, jj_arg(a, 0, "old")), new = jj_to_str(it, jj_arg(a, 1, "new"));
    jj_val count = jj_arg(a, 2, "count");
    self = jj_to_str(it, self);
    int64_t n = given(count) && count.kind != JJ_NONE ? jj_as_int(it, count, "replace") : -1;
    return it->st == TK_OK ? jj_replace(it, self.u.s, old.u.s, new.u.s, n) : self;
}

static jj_val f_center(jj *it, jj_val self, const jj_args *a)
{
    static const jj_str space = {.p = " ", .len = 1, .n_cp = 1};
    jj_val w = jj_arg(a, 0, "width");
    int64_t width = given(w) ? jj_as_int(it, w, "center") : 80;
    self = jj_to_str(it, self);
    if (it->st != TK_OK) return self;
    jj_val v = jj_pad(it, self, width, &space, 0);
    v.flag = self.flag;
    return v;
}

static jj_val f_indent(jj *it, jj_val self, const jj_args *a)
{
    jj_val w = jj_arg(a, 0, "width");
    bool first = jj_truth(it, jj_arg(a, 1, "first")), blank = jj_truth(it, jj_arg(a, 2, "blank"));
    if (self.kind != JJ_STR)
        return jj_raise(it, "indent needs a string, not %s", jj_type_name(self));
    if (!given(w)) w = jj_int(4);
    if (w.kind != JJ_STR) w = jj_binary(it, OP_MUL, jj_str_lit(it, " "), w);
    if (it->st != TK_OK || w.kind != JJ_STR) return self;
    jj_val s = jj_concat(it, self, jj_str_lit(it, "\n"));
    jj_list *l = it->st == TK_OK ? jj_splitlines(it, s.u.s, false) : NULL;
    tk_buf b = jj_buf();
    for (size_t i = 0; l && i < l->n && !b.failed; i++) {
        const jj_str *line = l->v[i].u.s;
        if (i) tk_buf_add_char(&b, '\n');
        if (i == 0 ? first : blank || line->len) tk_buf_add(&b, w.u.s->p, w.u.s->len);
        tk_buf_add(&b, line->p, line->len);
        jj_step(it, 1 + w.u.s->len / 64);
    }
    jj_val v = jj_buf_str(it, &b);
    v.flag = self.flag;
    return v;
}

static jj_val f_truncate(jj *it, jj_val self, const jj_args *a)
{
    jj_val len_v = jj_arg(a, 0, "length"), end = jj_arg(a, 2, "end"),
           leeway_v = jj_arg(a, 3, "leeway");
    bool kill = jj_truth(it, jj_arg(a, 1, "killwords"));
    if (!given(end)) end = jj_str_lit(it, "...");
    if (!given(len_v)) len_v = jj_int(255);
    if (!given(leeway_v) || leeway_v.kind == JJ_NONE) leeway_v = jj_int(5);
    if (it->st != TK_OK) return self;
    if (!jj_is_number(len_v) || !jj_is_number(leeway_v))
        return jj_raise(it, "truncate: a length must be a number");
    size_t n_end = jj_len(it, end), n = jj_len(it, self);
    if (it->st != TK_OK) return self;
    if (jj_as_double(len_v) < (double)n_end) return jj_raise(it, "expected length >= %zu", n_end);
    if (jj_as_double(leeway_v) < 0) return jj_raise(it, "expected leeway >= 0");
    if ((double)n <= jj_as_double(len_v) + jj_as_double(leeway_v)) return self;
    int64_t len = jj_as_int(it, len_v, "truncate");
    if (it->st != TK_OK) return self;
    if (self.kind != JJ_STR || end.kind != JJ_STR)
        return jj_raise(it, "truncate needs strings, not %s and %s", jj_type_name(self),
                        jj_type_name(end));
    size_t to = jj_cp_offset(self.u.s, (size_t)len - n_end);
    if (!kill)
        for (size_t i = to; i > 0; i--)
            if (self.u.s->p[i - 1] == ' ') {
                to = i - 1;
                break;
            }
    jj_val head = jj_substr(it, self.u.s, 0, to);
    head.flag = self.flag;
    return it->st == TK_OK ? jj_binary(it, OP_ADD, head, end) : self;
}

static jj_val f_wordcount(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    self = jj_to_str(it, self);
    if (it->st != TK_OK || !jj_step(it, self.u.s->len / 4)) return self;
    int64_t n = 0;
    bool in = false;
    for (size_t i = 0; i < self.u.s->len;) {
        bool word = jj_cp_word(jj_cp_next(self.u.s->p, self.u.s->len, &i));
        n += word && !in;
        in = word;
    }
    return jj_int(n);
}

// ---- numbers ---------------------------------------------------------------------------------------

static jj_val f_abs(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    if (self.kind == JJ_FLOAT) return jj_float(fabs(self.u.f));
    if (!jj_is_number(self))
        return jj_raise(it, "bad operand type for abs(): '%s'", jj_type_name(self));
    int64_t i = jj_as_int(it, self, "abs");
    if (i == INT64_MIN) return jj_raise(it, "an integer does not fit in 64 bits");
    return jj_int(i < 0 ? -i : i);
}

static bool to_int(jj *it, double f, int64_t *out)
{
    if (isnan(f) || isinf(f)) return false;
    if (f >= 0x1p63 || f < -0x1p63) {
        jj_raise(it, "an integer does not fit in 64 bits");
        return false;
    }
    *out = (int64_t)f;
    return true;
}

static jj_val f_int(jj *it, jj_val self, const jj_args *a)
{
    jj_val d = jj_arg(a, 0, "default"), b = jj_arg(a, 1, "base");
    int64_t base = b.kind == JJ_INT ? b.u.i : given(b) ? 1 : 10, i = 0; // 1: none that is valid
    bool overflow = false;
    double f = 0;
    if (!given(d)) d = jj_int(0);
    if (self.kind == JJ_UNDEF) return jj_raise(it, "%.*s", (int)self.u.s->len, self.u.s->p);
    if (self.kind == JJ_INT || self.kind == JJ_BOOL) return jj_int(jj_as_int(it, self, "int"));
    if (self.kind == JJ_FLOAT && isinf(self.u.f))
        return jj_raise(it, "cannot convert float infinity to integer");
    if (self.kind == JJ_FLOAT) return to_int(it, self.u.f, &i) ? jj_int(i) : d;
    if (self.kind != JJ_STR || !jj_step(it, self.u.s->len / 16 + 16)) return d;
    bool base_ok = base == 0 || (base >= 2 && base <= 36);
    if (base_ok && jj_parse_int(self.u.s->p, self.u.s->len, (int)base, &i, &overflow))
        return jj_int(i);
    if (overflow) return jj_raise(it, "an integer does not fit in 64 bits");
    return jj_parse_float(self.u.s->p, self.u.s->len, &f) && to_int(it, f, &i) ? jj_int(i) : d;
}

static jj_val f_float(jj *it, jj_val self, const jj_args *a)
{
    jj_val d = jj_arg(a, 0, "default");
    double f = 0;
    if (self.kind == JJ_UNDEF) return jj_raise(it, "%.*s", (int)self.u.s->len, self.u.s->p);
    if (jj_is_number(self)) return jj_float(jj_as_double(self));
    if (self.kind == JJ_STR && !jj_step(it, self.u.s->len / 16 + 16)) return self;
    if (self.kind == JJ_STR && jj_parse_float(self.u.s->p, self.u.s->len, &f)) return jj_float(f);
    return given(d) ? d : jj_float(0);
}

static bool is_word(jj_val v, const char *z)
{
    return v.kind == JJ_STR && v.u.s->len == strlen(z) && memcmp(v.u.s->p, z, v.u.s->len) == 0;
}

// Python's round(): to the even neighbour, decided on the exact decimal expansion.
static jj_val round_common(jj *it, jj_val v, int64_t digits)
{
    if (v.kind != JJ_FLOAT) {
        int64_t i = jj_as_int(it, v, "round"), p = 1;
        if (it->st != TK_OK || digits >= 0) return jj_int(i);
        if (digits < -18) return jj_int(0);
        for (; digits < 0; digits++) p *= 10;
        int64_t m = ((i % p) + p) % p, down = i - m;
        bool up = m > p - m || (m == p - m && (down / p) % 2 != 0);
        return up ? jj_binary(it, OP_ADD, jj_int(down), jj_int(p)) : jj_int(down);
    }
    double f = v.u.f;
    if (isnan(f) || isinf(f) || digits > 323 || f == 0) return v;
    if (digits < -308) return jj_float(copysign(0, f));
    jj_step(it, 256);
    if (digits <= 0) {
        double p = pow(10, (double)-digits), r = rint(f / p) * p;
        return jj_float(r);
    }
    char s[800];
    snprintf(s, sizeof s, "%.*f", (int)digits, f);
    return jj_float(strtod(s, NULL));
}

static jj_val f_round(jj *it, jj_val self, const jj_args *a)
{
    jj_val p = jj_arg(a, 0, "precision"), method = jj_arg(a, 1, "method");
    int64_t digits = given(p) ? jj_as_int(it, p, "round") : 0;
    bool up = is_word(method, "ceil"), down = is_word(method, "floor");
    if (given(method) && !up && !down && !is_word(method, "common"))
        return jj_raise(it, "method must be common, ceil or floor");
    if (!jj_is_number(self)) {
        if (self.kind == JJ_UNDEF) return jj_raise(it, "%.*s", (int)self.u.s->len, self.u.s->p);
        return jj_raise(it, "type %s doesn't define __round__ method", jj_type_name(self));
    }
    if (it->st != TK_OK || (!up && !down)) return round_common(it, self, digits);
    jj_val scale = jj_binary(it, OP_POW, jj_int(10), jj_int(digits)),
           x = jj_binary(it, OP_MUL, self, scale);
    if (it->st != TK_OK) return x;
    double f = jj_as_double(x);
    int64_t i = 0;
    if (x.kind == JJ_FLOAT && !to_int(it, up ? ceil(f) : floor(f), &i))
        return jj_raise(it, "cannot convert float to integer");
    if (x.kind != JJ_FLOAT) i = jj_as_int(it, x, "round");
    return jj_binary(it, OP_DIV, jj_int(i), scale);
}

static jj_val f_filesizeformat(jj *it, jj_val self, const jj_args *a)
{
    static const char *const unit[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
    bool binary = jj_truth(it, jj_arg(a, 0, "binary"));
    double f = 0, base = binary ? 1024 : 1000;
    char s[64];
    if (jj_is_number(self))
        f = jj_as_double(self);
    else if (self.kind != JJ_STR || !jj_parse_float(self.u.s->p, self.u.s->len, &f))
        return jj_raise(it, "filesizeformat needs a number");
    if (f == 1) return jj_str_lit(it, "1 Byte");
    if (f < base) {
        snprintf(s, sizeof s, "%.0f Bytes", trunc(f) + 0.0);
        return jj_str_new(it, s, strlen(s));
    }
    double u = base * base;
    size_t i = 0;
    for (; i < 7 && f >= u; i++) u *= base;
    snprintf(s, sizeof s, "%.1f %s%s", base * f / u, binary && i == 0 ? "K" : unit[i],
             binary ? "iB" : "B");
    return jj_str_new(it, s, strlen(s));
}

static jj_val f_format(jj *it, jj_val self, const jj_args *a)
{
    if (a->n_pos && a->n_kw)
        return jj_raise(it, "can't handle positional and keyword arguments at the same time");
    self = jj_to_str(it, self);
    if (it->st != TK_OK) return self;
    if (a->n_kw) {
        jj_dict *d = jj_dict_new(it);
        for (size_t i = 0; d && i < a->n_kw; i++)
            jj_dict_set(it, d, jj_str_ref(it, a->kw[i].name->p, a->kw[i].name->len), a->kw[i].val);
        return d ? jj_percent(it, self, (jj_val){.kind = JJ_DICT, .u.d = d}) : self;
    }
    jj_list *l = jj_list_new(it, a->n_pos);
    for (size_t i = 0; l && i < a->n_pos; i++) jj_list_add(it, l, a->pos[i]);
    return l ? jj_percent(it, self, jj_wrap_list(JJ_TUPLE, l)) : self;
}

const jj_func jj_filters_text[] = {
    {"abs", f_abs, "", 0},
    {"capitalize", f_capitalize, "", 0},
    {"center", f_center, "width", 0},
    {"d", f_default, "default_value,boolean", 0},
    {"default", f_default, "default_value,boolean", 0},
    {"e", f_escape, "", 0},
    {"escape", f_escape, "", 0},
    {"filesizeformat", f_filesizeformat, "binary", 0},
    {"float", f_float, "default", 0},
    {"forceescape", f_forceescape, "", 0},
    {"format", f_format, "*", 0},
    {"indent", f_indent, "width,first,blank", 0},
    {"int", f_int, "default,base", 0},
    {"lower", f_lower, "", 0},
    {"replace", f_replace, "old,new,count", 2},
    {"round", f_round, "precision,method", 0},
    {"safe", f_safe, "", 0},
    {"string", f_string, "", 0},
    {"title", f_title, "", 0},
    {"trim", f_trim, "chars", 0},
    {"truncate", f_truncate, "length,killwords,end,leeway", 0},
    {"upper", f_upper, "", 0},
    {"wordcount", f_wordcount, "", 0},
    {0},
};
