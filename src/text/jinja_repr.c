// SPDX-License-Identifier: MIT
// Python's str() and repr().
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

tk_buf jj_buf(void)
{
    return tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
}

jj_val jj_buf_str(jj *it, tk_buf *b)
{
    if (b->failed)
        jj_fail(it, TK_NOMEM, "line %u: a string of more than %u bytes", it->line,
                TK_LIMIT_TEMPLATE_OUT_BYTES);
    jj_val v = it->st == TK_OK ? jj_str_new(it, tk_buf_str(b), b->len) : jj_none();
    tk_buf_free(b);
    return v;
}

// Takes the zeros off the end of a mantissa of prec digits; how many digits stay.
static int strip_zeros(char *s, int prec)
{
    char *e = strchr(s, 'e'), *last = e;
    while (prec > 1 && last[-1] == '0') last--, prec--;
    if (last[-1] == '.') last--;
    memmove(last, e, strlen(e) + 1);
    return prec;
}

// The shortest digits that read back as f, in Python's notation.
void jj_add_double(tk_buf *b, double f)
{
    if (isnan(f)) {
        tk_buf_add_str(b, "nan");
        return;
    }
    if (isinf(f)) {
        tk_buf_add_str(b, f < 0 ? "-inf" : "inf");
        return;
    }
    // 15 digits come back from a normal double as they went in, so what needs fewer ends with zeros there.
    char s[40];
    bool normal = fabs(f) >= DBL_MIN;
    int prec = normal ? 15 : 1;
    for (; prec <= 17; prec++) {
        snprintf(s, sizeof s, "%.*e", prec - 1, f);
        if (strtod(s, NULL) == f) break;
    }
    prec = TK_MIN(prec, 17);
    if (normal && prec == 15) prec = strip_zeros(s, prec);
    char *e = strchr(s, 'e');
    int exp = (int)strtol(e + 1, NULL, 10);
    if (exp >= 16 || exp < -4) {
        tk_buf_add(b, s, (size_t)(e - s));
        tk_buf_addf(b, "e%c%02d", exp < 0 ? '-' : '+', abs(exp));
        return;
    }
    int digits = prec - 1 - exp;
    tk_buf_addf(b, "%.*f", digits < 1 ? 1 : digits, f);
}

void jj_repr_str(tk_buf *b, const char *p, size_t len)
{
    char q = memchr(p, '\'', len) && !memchr(p, '"', len) ? '"' : '\'';
    tk_buf_add_char(b, q);
    for (size_t i = 0; i < len;) {
        size_t from = i;
        uint32_t c = jj_cp_next(p, len, &i);
        if (c == (uint32_t)q || c == '\\')
            tk_buf_addf(b, "\\%c", (char)c);
        else if (c == '\n')
            tk_buf_add_str(b, "\\n");
        else if (c == '\r')
            tk_buf_add_str(b, "\\r");
        else if (c == '\t')
            tk_buf_add_str(b, "\\t");
        else if (jj_cp_printable(c))
            tk_buf_add(b, p + from, i - from);
        else
            tk_buf_addf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    tk_buf_add_char(b, q);
}

static void repr_list(jj *it, tk_buf *b, const jj_list *l, bool is_tuple)
{
    tk_buf_add_char(b, is_tuple ? '(' : '[');
    for (size_t i = 0; i < l->n && it->st == TK_OK; i++) {
        if (i) tk_buf_add_str(b, ", ");
        jj_repr(it, b, l->v[i]);
    }
    if (is_tuple && l->n == 1) tk_buf_add_char(b, ',');
    tk_buf_add_char(b, is_tuple ? ')' : ']');
}

static void repr_dict(jj *it, tk_buf *b, const jj_dict *d)
{
    tk_buf_add_char(b, '{');
    for (size_t i = 0; i < d->n && it->st == TK_OK; i++) {
        if (i) tk_buf_add_str(b, ", ");
        jj_repr(it, b, d->e[i].key);
        tk_buf_add_str(b, ": ");
        jj_repr(it, b, d->e[i].val);
    }
    tk_buf_add_char(b, '}');
}

static void repr_view(jj *it, tk_buf *b, jj_val v)
{
    tk_buf_addf(b, "%s([", jj_type_name(v));
    jj_cur c = jj_iter(it, v);
    jj_val item;
    for (size_t i = 0; jj_next(it, &c, &item); i++) {
        if (i) tk_buf_add_str(b, ", ");
        jj_repr(it, b, item);
    }
    tk_buf_add_str(b, "])");
}

static void repr_range(tk_buf *b, const jj_range *r)
{
    tk_buf_addf(b, "range(%lld, %lld", (long long)r->start, (long long)r->stop);
    if (r->step != 1) tk_buf_addf(b, ", %lld", (long long)r->step);
    tk_buf_add_char(b, ')');
}

static void repr_object(jj *it, tk_buf *b, jj_val v)
{
    switch (v.kind) {
    case JJ_NS:
        // Python prints the class's name; templates that print a namespace are looking for a bug.
        tk_buf_add_str(b, "<Namespace ");
        repr_dict(it, b, v.u.d);
        tk_buf_add_char(b, '>');
        break;
    case JJ_MACRO:
        if (v.u.macro->name) {
            tk_buf_add_str(b, "<Macro ");
            jj_repr_str(b, v.u.macro->name->p, v.u.macro->name->len);
            tk_buf_add_char(b, '>');
        } else {
            tk_buf_add_str(b, "<Macro anonymous>");
        }
        break;
    case JJ_LOOP:
        tk_buf_addf(b, "<LoopContext %lld/%zu>", (long long)v.u.loop->index0 + 1, jj_len(it, v));
        break;
    case JJ_SELF: tk_buf_add_str(b, "<TemplateReference None>"); break;
    // These have an address in Python, which nobody can want.
    default: tk_buf_addf(b, "<%s object>", jj_type_name(v)); break;
    }
}

void jj_repr(jj *it, tk_buf *b, jj_val v)
{
    if (b->failed || !jj_step(it, 1) || !jj_enter(it)) return;
    switch (v.kind) {
    case JJ_MISSING:
    case JJ_UNDEF: tk_buf_add_str(b, "Undefined"); break;
    case JJ_NONE: tk_buf_add_str(b, "None"); break;
    case JJ_BOOL: tk_buf_add_str(b, v.u.b ? "True" : "False"); break;
    case JJ_INT: tk_buf_addf(b, "%lld", (long long)v.u.i); break;
    case JJ_FLOAT:
        jj_step(it, 32);
        jj_add_double(b, v.u.f);
        break;
    case JJ_STR:
        jj_step(it, v.u.s->len / 64);
        if (v.flag) tk_buf_add_str(b, "Markup(");
        jj_repr_str(b, v.u.s->p, v.u.s->len);
        if (v.flag) tk_buf_add_char(b, ')');
        break;
    case JJ_LIST: repr_list(it, b, v.u.l, false); break;
    case JJ_TUPLE: repr_list(it, b, v.u.l, true); break;
    case JJ_DICT: repr_dict(it, b, v.u.d); break;
    case JJ_RANGE: repr_range(b, v.u.r); break;
    case JJ_VIEW: repr_view(it, b, v); break;
    default: repr_object(it, b, v); break;
    }
    jj_leave(it);
}

void jj_to_text(jj *it, tk_buf *b, jj_val v)
{
    if (v.kind == JJ_STR) {
        jj_step(it, v.u.s->len / 256);
        tk_buf_add(b, v.u.s->p, v.u.s->len);
    } else if (v.kind != JJ_UNDEF) {
        jj_repr(it, b, v);
    }
}

jj_val jj_to_str(jj *it, jj_val v)
{
    if (v.kind == JJ_STR) return v;
    tk_buf b = jj_buf();
    jj_to_text(it, &b, v);
    return jj_buf_str(it, &b);
}
