// SPDX-License-Identifier: MIT
// str % values and str.format, for the types templates have.
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 20, MAX_PREC = 500 };

typedef struct spec {
    bool left, sign, plus, space, zero, alt, comma, under;
    uint32_t fill;       // 0: by default
    char align;          // < > ^ = or 0
    bool zero_align;     // '=' came from a zero before the width
    int64_t width, prec; // prec -1: not given
    char type;
} spec;

static void add_fill(tk_buf *b, const spec *s, int64_t n)
{
    char u[4];
    uint32_t c = s->fill ? s->fill : ' ';
    size_t len = 1;
    u[0] = (char)c;
    if (c >= 128) {

        len = tk_utf8_write(c, u);
    }
    for (; n > 0 && !b->failed; n--) tk_buf_add(b, u, len);
}

// body with its sign (sign_len bytes), padded.
static void add_padded(tk_buf *b, const spec *s, const char *body, size_t len, size_t sign_len,
                       char align)
{
    jj_str t = {.p = body, .len = len, .n_cp = SIZE_MAX};
    int64_t pad = s->width - (int64_t)jj_cp_count(&t);
    if (pad < 0) pad = 0;
    if (s->align) align = s->align;
    int64_t left = align == '<' ? 0 : align == '^' ? pad / 2 : pad;
    if (align == '=') {
        tk_buf_add(b, body, sign_len);
        add_fill(b, s, pad);
        tk_buf_add(b, body + sign_len, len - sign_len);
        return;
    }
    add_fill(b, s, left);
    tk_buf_add(b, body, len);
    add_fill(b, s, pad - left);
}

// A number as head (sign, prefix), whole digits and tail; separators between groups of the digits, which a fill
// of zeros continues (Python's InsertThousandsGrouping); then padded.
static void add_number(tk_buf *b, const spec *s, const char *text, size_t head, int every)
{
    size_t len = strlen(text), n_digit = strspn(text + head, "0123456789abcdefABCDEF");
    if (!s->comma && !s->under) {
        add_padded(b, s, text, len, head, '>');
        return;
    }
    if (every == 3) n_digit = strspn(text + head, "0123456789");
    tk_buf r = tk_buf_make(4 * MAX_WIDTH), out = tk_buf_make(4 * MAX_WIDTH); // r: from the right
    const char *digits = text + head;
    int64_t rest = (int64_t)n_digit;
    int64_t min = s->fill == '0' && s->align == '=' ? s->width - (int64_t)(len - n_digit) : 0;
    for (bool first = true; !r.failed && (first || rest > 0 || min > 0); first = false) {
        if (!first) tk_buf_add_char(&r, s->comma ? ',' : '_');
        if (!first) min--;
        int64_t n = TK_MIN((int64_t)every, TK_MAX(TK_MAX(rest, min), 1));
        for (int64_t i = 0; i < n; i++, rest--)
            tk_buf_add_char(&r, rest > 0 ? digits[rest - 1] : '0');
        if (rest < 0) rest = 0;
        min -= n;
    }
    tk_buf_add(&out, text, head);
    for (size_t i = r.len; i > 0; i--) tk_buf_add_char(&out, r.data[i - 1]);
    tk_buf_add(&out, digits + n_digit, len - head - n_digit);
    add_padded(b, s, tk_buf_str(&out), out.len, head, '>');
    tk_buf_free(&r);
    tk_buf_free(&out);
}

static void sign_of(const spec *s, bool neg, char *out)
{
    out[0] = neg ? '-' : s->plus ? '+' : s->space ? ' ' : 0;
    out[1] = 0;
}

static void format_int(tk_buf *b, const spec *s, int64_t v, char type)
{
    char digits[80], out[200], sign[2];
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
    const char *prefix = "";
    size_t n = sizeof digits;
    int base = type == 'x' || type == 'X' ? 16 : type == 'o' ? 8 : type == 'b' ? 2 : 10;
    digits[--n] = 0;
    do digits[--n] = (type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[u % (unsigned)base];
    while ((u /= (unsigned)base));
    if (s->alt)
        prefix = type == 'x'   ? "0x"
                 : type == 'X' ? "0X"
                 : type == 'o' ? "0o"
                 : type == 'b' ? "0b"
                               : "";
    sign_of(s, v < 0, sign);
    int zeros = s->prec > (int64_t)strlen(digits + n)
                    ? (int)TK_MIN(s->prec - (int64_t)strlen(digits + n), 64)
                    : 0;
    snprintf(out, sizeof out, "%s%s%.*s%s", sign, prefix, zeros,
             "0000000000000000000000000000000000000000000000000000000000000000", digits + n);
    add_number(b, s, out, strlen(sign) + strlen(prefix), base == 10 ? 3 : 4);
}

// A precision and no type: as %g, but a number without exponent keeps a digit behind its point.
static void add_short(tk_buf *b, double x, int prec)
{
    char s[600];
    snprintf(s, sizeof s, "%.*e", prec - 1, x);
    char *e = strchr(s, 'e'), *last = e;
    int exp = (int)strtol(e + 1, NULL, 10);
    if (exp >= -4 && exp < prec - 1) {
        snprintf(s, sizeof s, "%.*f", prec - 1 - exp, x);
        last = s + strlen(s);
        while (last[-1] == '0' && last[-2] != '.') last--;
        tk_buf_add(b, s, (size_t)(last - s));
        return;
    }
    while (memchr(s, '.', (size_t)(last - s)) && (last[-1] == '0' || last[-1] == '.')) last--;
    tk_buf_add(b, s, (size_t)(last - s));
    tk_buf_add_str(b, e);
}

static void format_float(tk_buf *b, const spec *s, double f, char type)
{
    char out[1200], sign[2], fmt[16];
    size_t n_out;
    size_t n = 0;
    bool neg = signbit(f) && !isnan(f);
    sign_of(s, neg, sign);
    n = (size_t)snprintf(out, sizeof out, "%s", sign);
    double x = fabs(f);
    char lower = (char)(type | 0x20);
    if (isnan(f) || isinf(f)) {
        bool up = type >= 'A' && type <= 'Z';
        snprintf(out + n, sizeof out - n, "%s",
                 isnan(f) ? (up ? "NAN" : "nan")
                 : up     ? "INF"
                          : "inf");
    } else if (lower == 'r') {
        tk_buf r = tk_buf_make(1024);
        if (s->prec < 0)
            jj_add_double(&r, x);
        else
            add_short(&r, x, s->prec ? (int)s->prec : 1);
        snprintf(out + n, sizeof out - n, "%s", tk_buf_str(&r));
        tk_buf_free(&r);
    } else {
        int prec = s->prec < 0 ? 6 : (int)s->prec;
        char c = type == '%' ? 'f' : type == 'n' ? 'g' : type;
        snprintf(fmt, sizeof fmt, "%%%s.*%c", s->alt ? "#" : "", c);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(out + n, sizeof out - n, fmt, prec, type == '%' ? x * 100 : x);
#pragma GCC diagnostic pop
        n_out = strlen(out);
        if (type == '%' && n_out + 1 < sizeof out) memcpy(out + n_out, "%", 2);
    }
    add_number(b, s, out, n, 3);
}

static void format_str(tk_buf *b, const spec *s, jj_str *t, char align)
{
    size_t len = s->prec >= 0 ? jj_cp_offset(t, (size_t)s->prec) : t->len;
    add_padded(b, s, t->p, len, 0, align);
}

// Python's ascii().
static void add_ascii(jj *it, tk_buf *b, jj_val v)
{
    tk_buf r = jj_buf();
    jj_repr(it, &r, v);
    for (size_t i = 0; i < r.len && jj_step(it, 1);) {
        uint32_t c = jj_cp_next(r.data, r.len, &i);
        if (c < 128)
            tk_buf_add_char(b, (char)c);
        else
            tk_buf_addf(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    tk_buf_free(&r);
}

// ---- % ---------------------------------------------------------------------------------------------

typedef struct percent {
    jj *it;
    jj_val args;
    size_t i_arg;
    bool is_tuple;
    const char *p, *end;
} percent;

static bool next_arg(percent *x, jj_val *out)
{
    if (x->is_tuple ? x->i_arg < x->args.u.l->n : x->i_arg == 0) {
        *out = x->is_tuple ? x->args.u.l->v[x->i_arg] : x->args;
        x->i_arg++;
        return true;
    }
    jj_raise(x->it, "not enough arguments for format string");
    return false;
}

static int64_t number_or_star(percent *x)
{
    int64_t n = 0;
    if (x->p < x->end && *x->p == '*') {
        jj_val v;
        x->p++;
        n = next_arg(x, &v) ? jj_as_int(x->it, v, "*") : 0;
    } else {
        while (x->p < x->end && *x->p >= '0' && *x->p <= '9' && n <= MAX_WIDTH)
            n = n * 10 + (*x->p++ - '0');
    }
    return n;
}

static bool percent_spec(percent *x, spec *s, jj_val *mapped)
{
    *s = (spec){.prec = -1};
    *mapped = jj_missing();
    if (x->p < x->end && *x->p == '(') {
        const char *close = memchr(x->p, ')', (size_t)(x->end - x->p));
        if (close == NULL || x->args.kind != JJ_DICT) {
            jj_raise(x->it, close ? "format requires a mapping" : "incomplete format key");
            return false;
        }
        if (!jj_dict_get_z(x->it, x->args.u.d, x->p + 1, (size_t)(close - x->p - 1), mapped)) {
            jj_raise(x->it, "format key '%.*s' is not there", (int)TK_MIN(close - x->p - 1, 100),
                     x->p + 1);
            return false;
        }
        x->p = close + 1;
        x->i_arg = 1;
    }
    for (; x->p < x->end && *x->p && strchr("-+ 0#", *x->p); x->p++) {
        s->left |= *x->p == '-';
        s->plus |= *x->p == '+';
        s->space |= *x->p == ' ';
        s->zero |= *x->p == '0';
        s->alt |= *x->p == '#';
    }
    s->width = number_or_star(x);
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    if (x->p < x->end && *x->p == '.') {
        x->p++;
        s->prec = number_or_star(x);
        if (s->prec < 0) s->prec = 0;
    }
    while (x->p < x->end && (*x->p == 'l' || *x->p == 'h' || *x->p == 'L')) x->p++;
    if (x->it->st != TK_OK) return false;
    if (x->p >= x->end) {
        jj_raise(x->it, "incomplete format");
        return false;
    }
    if (s->width > MAX_WIDTH || s->prec > MAX_WIDTH) {
        jj_raise(x->it, "a format width or precision of more than %d", MAX_WIDTH);
        return false;
    }
    s->type = *x->p++;
    return true;
}

static void percent_number(jj *it, tk_buf *b, spec *s, jj_val v)
{
    bool wants_float = strchr("eEfFgG", s->type) != NULL;
    if (!jj_is_number(v) || (v.kind == JJ_FLOAT && strchr("xXo", s->type))) {
        jj_raise(it, "%%%c format: a real number is required, not %s", s->type, jj_type_name(v));
        return;
    }
    if (s->zero && !s->left) {
        s->fill = '0';
        s->align = '=';
    }
    if (s->left) s->align = '<';
    if (s->prec > MAX_PREC) s->prec = MAX_PREC;
    if (wants_float) {
        format_float(b, s, jj_as_double(v), s->type);
    } else {
        if (v.kind == JJ_FLOAT && !(fabs(v.u.f) < 0x1p63)) {
            jj_raise(it, "cannot convert float to a 64-bit integer");
            return;
        }
        format_int(b, s, v.kind == JJ_FLOAT ? (int64_t)v.u.f : jj_as_int(it, v, "%d"),
                   s->type == 'u' || s->type == 'i' ? 'd' : s->type);
    }
}

static bool is_char(int64_t i)
{
    return i >= 0 && i <= 0x10FFFF && !(i >= 0xD800 && i < 0xE000);
}

static void add_char(tk_buf *b, int64_t i)
{
    char u[4];
    tk_buf_add(b, u, tk_utf8_write((uint32_t)i, u));
}

static void percent_text(jj *it, tk_buf *b, spec *s, jj_val v)
{
    tk_buf t = jj_buf();
    if (s->type == 's')
        jj_to_text(it, &t, v);
    else if (s->type == 'c' && v.kind == JJ_STR && jj_cp_count(v.u.s) == 1)
        jj_to_text(it, &t, v);
    else if (s->type == 'c' && v.kind == JJ_BOOL)
        add_char(&t, v.u.b);
    else if (s->type == 'c' && v.kind == JJ_INT && is_char(v.u.i))
        add_char(&t, v.u.i);
    else if (s->type == 'c')
        jj_raise(it, "%%c requires int or char");
    else if (s->type == 'a')
        add_ascii(it, &t, v);
    else
        jj_repr(it, &t, v);
    jj_str str = {.p = tk_buf_str(&t), .len = t.len, .n_cp = SIZE_MAX};
    if (s->left) s->align = '<';
    if (s->type == 'c') s->prec = -1;
    if (it->st == TK_OK) format_str(b, s, &str, '>');
    tk_buf_free(&t);
}

static void percent_all(percent *x, tk_buf *b)
{
    jj *it = x->it;
    while (x->p < x->end && it->st == TK_OK && !b->failed) {
        const char *pc = memchr(x->p, '%', (size_t)(x->end - x->p));
        tk_buf_add(b, x->p, (size_t)((pc ? pc : x->end) - x->p));
        if (pc == NULL) return;
        spec s;
        jj_val v;
        x->p = pc + 1;
        if (x->p < x->end && *x->p == '%') { // with anything between them it is no conversion
            tk_buf_add_char(b, *x->p++);
            continue;
        }
        if (!jj_step(it, 1) || !percent_spec(x, &s, &v)) return;
        if (v.kind == JJ_MISSING && !next_arg(x, &v)) return;
        jj_step(it, 32 + (size_t)s.width / 16);
        if (s.type && strchr("diuoxXeEfFgG", s.type))
            percent_number(it, b, &s, v);
        else if (s.type && strchr("srac", s.type))
            percent_text(it, b, &s, v);
        else
            jj_raise(it, "unsupported format character '%c'", s.type);
    }
}

// What Python's PyMapping_Check says: it need not be used up.
static bool is_mapping(jj_val v)
{
    return v.kind == JJ_DICT || v.kind == JJ_LIST || v.kind == JJ_RANGE || v.kind == JJ_UNDEF;
}

jj_val jj_percent(jj *it, jj_val fmt, jj_val args)
{
    tk_buf b = jj_buf();
    percent x = {.it = it, .args = args, .is_tuple = args.kind == JJ_TUPLE, .p = fmt.u.s->p};
    x.end = x.p + fmt.u.s->len;
    percent_all(&x, &b);
    bool all = x.is_tuple ? x.i_arg >= args.u.l->n : x.i_arg > 0;
    if (it->st == TK_OK && !all && !is_mapping(args))
        jj_raise(it, "not all arguments converted during string formatting");
    return jj_buf_str(it, &b);
}

// ---- str.format ------------------------------------------------------------------------------------

typedef struct braces {
    jj *it;
    const jj_args *a;
    const jj_dict *map;
    int64_t auto_index; // -1 once an explicit index was used
} braces;

static bool parse_format_spec(jj *it, const char *p, const char *end, spec *s)
{
    *s = (spec){.prec = -1};
    size_t pos = 0, len = (size_t)(end - p);
    if (len) {
        uint32_t c = jj_cp_next(p, len, &pos);
        if (pos < len && strchr("<>^=", p[pos]) && p[pos]) {
            s->fill = c;
            s->align = p[pos];
            p += pos + 1;
        } else if (strchr("<>^=", *p) && *p) {
            s->align = *p++;
        }
    }
    if (p < end && (*p == '+' || *p == '-' || *p == ' ')) {
        s->sign = true;
        s->plus = *p == '+';
        s->space = *p++ == ' ';
    }
    if (p < end && *p == '#') s->alt = *p++ == '#';
    if (p < end && *p == '0' && !s->fill) {
        s->zero = true;
        if (!s->fill) s->fill = '0';
        s->zero_align = s->align == 0;
        if (!s->align) s->align = '=';
        p++;
    }
    while (p < end && *p >= '0' && *p <= '9' && s->width <= MAX_WIDTH)
        s->width = s->width * 10 + (*p++ - '0');
    if (p < end && (*p == ',' || *p == '_')) {
        s->comma = *p == ',';
        s->under = *p++ == '_';
    }
    if (p < end && *p == '.') {
        p++;
        if (p >= end || *p < '0' || *p > '9') {
            jj_raise(it, "Format specifier missing precision");
            return false;
        }
        s->prec = 0;
        while (p < end && *p >= '0' && *p <= '9' && s->prec <= MAX_WIDTH)
            s->prec = s->prec * 10 + (*p++ - '0');
    }
    if (p < end) s->type = *p++;
    if (p != end || s->width > MAX_WIDTH || s->prec > MAX_WIDTH) {
        jj_raise(it, "Invalid format specifier");
        return false;
    }
    return true;
}

static void format_char(jj *it, tk_buf *b, const spec *s, jj_val v)
{
    int64_t i = jj_as_int(it, v, "format");
    if (s->sign || s->alt || s->prec >= 0 || !is_char(i)) {
        jj_raise(it, "format code 'c' takes a character and no sign, # or precision");
        return;
    }
    char u[4];
    add_padded(b, s, u, tk_utf8_write((uint32_t)i, u), 0, '>');
}

static void format_value(jj *it, tk_buf *b, jj_val v, const char *p, const char *end)
{
    spec s;
    if (p == end) {
        jj_to_text(it, b, v);
        return;
    }
    if (!parse_format_spec(it, p, end, &s)) return;
    if (!jj_step(it, 32 + (size_t)s.width / 16)) return;
    if (v.kind == JJ_STR) {
        if ((s.type && s.type != 's') || (s.align == '=' && !s.zero_align) || s.sign || s.alt ||
            s.comma || s.under) {
            jj_raise(it, "unknown format code or option for a string");
            return;
        }
        if (s.zero_align) s.align = 0; // a zero before the width does not align strings
        format_str(b, &s, v.u.s, '<');
    } else if (jj_is_number(v)) {
        bool is_float =
            v.kind == JJ_FLOAT || (s.type && strchr("eEfFgG%n", s.type) && s.type != 'n');
        if (v.kind == JJ_BOOL && !s.type) {
            jj_val t = jj_to_str(it, v);
            if (it->st == TK_OK && s.width) format_str(b, &s, t.u.s, '>');
            return;
        }
        bool grouped_badly = (s.comma && s.type && strchr("xXobcn", s.type)) ||
                             (s.under && (s.type == 'c' || s.type == 'n'));
        if (grouped_badly) {
            jj_raise(it, "cannot specify '%c' with '%c'", s.comma ? ',' : '_', s.type);
        } else if (!is_float && s.type == 'c') {
            format_char(it, b, &s, v);
        } else if (!is_float && (!s.type || strchr("dxXobn", s.type)) && s.prec < 0) {
            format_int(b, &s, jj_as_int(it, v, "format"), s.type ? s.type : 'd');
        } else if (is_float && (!s.type || strchr("eEfFgGn%", s.type))) {
            if (s.prec > MAX_PREC) s.prec = MAX_PREC;
            char type = s.type ? s.type : 'r';
            format_float(b, &s, jj_as_double(v), type);
        } else {
            jj_raise(it, "Unknown format code '%c' for object of type '%s'", s.type ? s.type : '.',
                     jj_type_name(v));
        }
    } else if (v.kind == JJ_UNDEF) {
        jj_raise(it, "%.*s", (int)v.u.s->len, v.u.s->p);
    } else {
        jj_raise(it, "unsupported format string passed to %s.__format__", jj_type_name(v));
    }
}

static bool all_digits(const char *p, const char *end)
{
    for (const char *q = p; q < end; q++)
        if (*q < '0' || *q > '9') return false;
    return p < end && end - p < 10;
}

// The value named by "0", "", "name", "name.attr[key]".
static jj_val field_value(braces *x, const char *p, const char *end)
{
    jj *it = x->it;
    const char *q = p;
    while (q < end && *q != '.' && *q != '[') q++;
    jj_val v = jj_missing();
    if (p == end || all_digits(p, q)) {
        int64_t i = 0;
        if (p == end) {
            if (x->auto_index < 0)
                return jj_raise(it, "cannot switch from manual field specification to automatic");
            i = x->auto_index++;
        } else {
            // A number with an attribute or item behind it does not count, as in string.Formatter.
            if (q == end && x->auto_index > 0)
                return jj_raise(it, "cannot switch from automatic field numbering to manual");
            if (q == end) x->auto_index = -1;
            for (const char *d = p; d < q; d++) i = i * 10 + (*d - '0');
        }
        if ((size_t)i >= x->a->n_pos)
            return jj_raise(it, "Replacement index %lld out of range", (long long)i);
        v = x->a->pos[i];
    } else if (x->map) {
        jj_dict_get_z(it, x->map, p, (size_t)(q - p), &v);
    } else {
        for (size_t k = 0; k < x->a->n_kw; k++)
            if (x->a->kw[k].name->len == (size_t)(q - p) &&
                memcmp(x->a->kw[k].name->p, p, (size_t)(q - p)) == 0)
                v = x->a->kw[k].val;
    }
    if (v.kind == JJ_MISSING)
        return jj_raise(it, "no value for '%.*s'", (int)TK_MIN(q - p, 100), p);
    while (q < end && it->st == TK_OK) {
        const char *from = ++q;
        if (q[-1] == '.') {
            while (q < end && *q != '.' && *q != '[') q++;
            jj_val name = jj_str_ref(it, from, (size_t)(q - from));
            if (it->st == TK_OK) v = jj_getattr(it, v, name.u.s);
        } else {
            const char *close = memchr(q, ']', (size_t)(end - q));
            if (close == NULL) return jj_raise(it, "Missing ']' in format string");
            int64_t i = 0;
            for (const char *d = from; d < close && all_digits(from, close); d++)
                i = i * 10 + (*d - '0');
            jj_val key =
                all_digits(from, close) ? jj_int(i) : jj_str_ref(it, from, (size_t)(close - from));
            if (it->st == TK_OK) v = jj_getitem(it, v, key);
            q = close + 1;
            if (q < end && *q != '.' && *q != '[')
                return jj_raise(it, "Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return v;
}

static void replace_field(braces *x, tk_buf *b, const char *p, const char *end)
{
    jj *it = x->it;
    const char *colon = p;
    for (int depth = 0; colon < end && (depth || *colon != ':'); colon++)
        depth += (*colon == '[') - (*colon == ']');
    const char *bang = memchr(p, '!', (size_t)(colon - p)), *name_end = bang ? bang : colon;
    jj_val v = field_value(x, p, name_end);
    if (it->st != TK_OK) return;
    if (bang) {
        char c = colon - bang == 2 ? bang[1] : 0;
        if (c != 'r' && c != 's' && c != 'a') {
            jj_raise(it, "Unknown conversion specifier");
            return;
        }
        tk_buf t = jj_buf();
        if (c == 's')
            jj_to_text(it, &t, v);
        else if (c == 'a')
            add_ascii(it, &t, v);
        else
            jj_repr(it, &t, v);
        v = jj_buf_str(it, &t);
        if (it->st != TK_OK) return;
    }
    const char *sp = colon < end ? colon + 1 : end;
    tk_buf inner = jj_buf();
    // One level of {} inside the format specification.
    while (sp < end && it->st == TK_OK) {
        if (*sp != '{') {
            tk_buf_add_char(&inner, *sp++);
            continue;
        }
        const char *close = memchr(sp, '}', (size_t)(end - sp));
        if (close == NULL) break;
        jj_val w = field_value(x, sp + 1, close);
        if (it->st == TK_OK) jj_to_text(it, &inner, w);
        sp = close + 1;
    }
    const char *text = tk_buf_str(&inner);
    if (it->st == TK_OK) format_value(it, b, v, text, text + inner.len);
    tk_buf_free(&inner);
}

jj_val jj_str_format(jj *it, jj_val fmt, const jj_args *a, const jj_dict *map)
{
    tk_buf b = jj_buf();
    braces x = {.it = it, .a = a, .map = map};
    const char *p = fmt.u.s->p, *end = p + fmt.u.s->len;
    while (p < end && it->st == TK_OK && jj_step(it, 1) && !b.failed) {
        char c = *p;
        if (c != '{' && c != '}') {
            tk_buf_add_char(&b, c);
            p++;
        } else if (p + 1 < end && p[1] == c) {
            tk_buf_add_char(&b, c);
            p += 2;
        } else if (c == '}') {
            jj_raise(it, "Single '}' encountered in format string");
        } else {
            const char *q = ++p;
            int depth = 1;
            while (q < end && depth) depth += (*q == '{') - (*q == '}'), q++;
            if (depth) {
                jj_raise(it, "expected '}' before end of string");
                break;
            }
            replace_field(&x, &b, p, q - 1);
            p = q;
        }
    }
    return jj_buf_str(it, &b);
}
