// SPDX-License-Identifier: MIT
// Strings by code point: counting, cutting, letter case and classes as Python's str has them.
#include "base/utf8.h"
#include "text/jinja_int.h"
#include "text/jinja_case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

uint32_t jj_cp_next(const char *p, size_t len, size_t *pos)
{
    unsigned char c = (unsigned char)p[*pos];
    if (c < 0x80) {
        ++*pos;
        return c;
    }
    uint32_t cp = 0;
    size_t bad = 1, n = tk_utf8_read(p + *pos, len - *pos, &cp, &bad);
    *pos += n ? n : bad;
    return cp;
}

size_t jj_cp_count(jj_str *s)
{
    if (s->n_cp != SIZE_MAX) return s->n_cp;
    size_t n = 0;
    for (size_t i = 0; i < s->len; i++) n += ((unsigned char)s->p[i] & 0xC0) != 0x80;
    return s->n_cp = n;
}

size_t jj_cp_offset(const jj_str *s, size_t i_cp)
{
    if (s->n_cp == s->len) return TK_MIN(i_cp, s->len);
    size_t pos = 0;
    while (i_cp > 0 && pos < s->len) {
        pos++;
        while (pos < s->len && ((unsigned char)s->p[pos] & 0xC0) == 0x80) pos++;
        i_cp--;
    }
    return pos;
}

bool jj_cp_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

static utf8proc_category_t category(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c);
}

bool jj_cp_printable(uint32_t c)
{
    if (c < 0x7F) return c >= 32;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

bool jj_cp_alpha(uint32_t c)
{
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

bool jj_cp_decimal(uint32_t c)
{
    return c < 128 ? c >= '0' && c <= '9' : category(c) == UTF8PROC_CATEGORY_ND;
}

static bool in_ranges(uint32_t c, const uint32_t (*r)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= r[i][0] && c <= r[i][1]) return true;
    return false;
}

bool jj_cp_digit(uint32_t c)
{
    return jj_cp_decimal(c) || in_ranges(c, jj_digit_ranges, TK_COUNT(jj_digit_ranges));
}

bool jj_cp_numeric(uint32_t c)
{
    return jj_cp_decimal(c) || in_ranges(c, jj_numeric_ranges, TK_COUNT(jj_numeric_ranges));
}

bool jj_cp_upper(uint32_t c)
{
    return c < 128 ? c >= 'A' && c <= 'Z'
                   : utf8proc_isupper((utf8proc_int32_t)c) || (c >= 0x2160 && c <= 0x216F) ||
                         (c >= 0x24B6 && c <= 0x24CF);
}

bool jj_cp_lower(uint32_t c)
{
    return c < 128 ? c >= 'a' && c <= 'z'
                   : utf8proc_islower((utf8proc_int32_t)c) || c == 0xAA || c == 0xBA ||
                         (c >= 0x2170 && c <= 0x217F) || (c >= 0x24D0 && c <= 0x24E9);
}

bool jj_cp_title(uint32_t c)
{
    return category(c) == UTF8PROC_CATEGORY_LT;
}

bool jj_cp_word(uint32_t c)
{
    return c == '_' || jj_cp_alpha(c) || jj_cp_numeric(c);
}

// XID_Start and XID_Continue: what the categories do not say. Characters whose NFKC form would not be a name
// (and U+2E2F) are out; Other_ID_Start and Other_ID_Continue are in.
static const uint32_t no_ident_start[][2] = {
    {0x37A, 0x37A},   {0xE33, 0xE33},   {0xEB3, 0xEB3},   {0x2E2F, 0x2E2F}, {0xFC5E, 0xFC63},
    {0xFDFA, 0xFDFB}, {0xFE70, 0xFE70}, {0xFE72, 0xFE72}, {0xFE74, 0xFE74}, {0xFE76, 0xFE76},
    {0xFE78, 0xFE78}, {0xFE7A, 0xFE7A}, {0xFE7C, 0xFE7C}, {0xFE7E, 0xFE7E}, {0xFF9E, 0xFF9F}};
static const uint32_t more_ident_start[][2] = {
    {0x1885, 0x1886}, {0x2118, 0x2118}, {0x212E, 0x212E}};
static const uint32_t more_ident[][2] = {{0xB7, 0xB7},    {0x387, 0x387},   {0xE33, 0xE33},
                                         {0xEB3, 0xEB3},  {0x1369, 0x1371}, {0x19DA, 0x19DA},
                                         {0xFF9E, 0xFF9F}};

bool jj_cp_ident_start(uint32_t c)
{
    if (c < 128) return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (jj_cp_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL)
        return !in_ranges(c, no_ident_start, TK_COUNT(no_ident_start));
    return in_ranges(c, more_ident_start, TK_COUNT(more_ident_start));
}

bool jj_cp_ident(uint32_t c)
{
    if (jj_cp_ident_start(c) || jj_cp_decimal(c)) return true;
    if (c < 128) return false;
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC ||
           in_ranges(c, more_ident, TK_COUNT(more_ident));
}

void jj_strip(const char **p, size_t *len, bool left, bool right)
{
    while (left && *len) {
        size_t n = 0;
        if (!jj_cp_space(jj_cp_next(*p, *len, &n))) break;
        *p += n;
        *len -= n;
    }
    while (right && *len) {
        size_t at = *len - 1;
        while (at > 0 && ((unsigned char)(*p)[at] & 0xC0) == 0x80) at--;
        size_t n = at;
        if (!jj_cp_space(jj_cp_next(*p, *len, &n))) break;
        *len = at;
    }
}

// ---- letter case -----------------------------------------------------------------------------------

static void add_cp(tk_buf *b, uint32_t c)
{
    char u[4];
    tk_buf_add(b, u, tk_utf8_write(c, u));
}

static int compare_special(const void *key, const void *row)
{
    uint32_t c = *(const uint32_t *)key, r = ((const jj_special *)row)->cp;
    return (c > r) - (c < r);
}

// Upper or title case; some characters become several (SpecialCasing.txt).
static void add_upper(tk_buf *b, uint32_t c, bool title)
{
    if (c < 128) {
        tk_buf_add_char(b, (char)(c >= 'a' && c <= 'z' ? c - 32 : c));
        return;
    }
    const jj_special *s =
        bsearch(&c, jj_specials, TK_COUNT(jj_specials), sizeof jj_specials[0], compare_special);
    if (s)
        tk_buf_add_str(b, title ? s->title : s->upper);
    else
        add_cp(b, (uint32_t)(title ? utf8proc_totitle((utf8proc_int32_t)c)
                                   : utf8proc_toupper((utf8proc_int32_t)c)));
}

static bool cased(uint32_t c)
{
    return jj_cp_upper(c) || jj_cp_lower(c) || jj_cp_title(c);
}

static bool case_ignorable(uint32_t c)
{
    if (c == '\'' || c == '.' || c == ':' || c == '^' || c == '`' || c == 0xB7 || c == 0x2019)
        return true;
    utf8proc_category_t k = c < 128 ? UTF8PROC_CATEGORY_CN : category(c);
    return k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_ME || k == UTF8PROC_CATEGORY_CF ||
           k == UTF8PROC_CATEGORY_LM || k == UTF8PROC_CATEGORY_SK;
}

// A capital sigma at `at` ends a word (Unicode's Final_Sigma).
static bool final_sigma(const char *p, size_t len, size_t at, size_t after)
{
    bool before = false;
    for (size_t i = at; i > 0;) {
        do i--;
        while (i > 0 && ((unsigned char)p[i] & 0xC0) == 0x80);
        size_t n = i;
        uint32_t c = jj_cp_next(p, len, &n);
        if (case_ignorable(c)) continue;
        before = cased(c);
        break;
    }
    if (!before) return false;
    while (after < len) {
        uint32_t c = jj_cp_next(p, len, &after);
        if (!case_ignorable(c)) return !cased(c);
    }
    return true;
}

static void add_lower(tk_buf *b, const char *p, size_t len, size_t at, size_t after, uint32_t c)
{
    if (c < 128)
        tk_buf_add_char(b, (char)(c >= 'A' && c <= 'Z' ? c + 32 : c));
    else if (c == 0x3A3)
        add_cp(b, final_sigma(p, len, at, after) ? 0x3C2 : 0x3C3);
    else if (c == 0x130)
        tk_buf_add_str(b, "i\xCC\x87");
    else
        add_cp(b, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

// Full case folding of one character.
static void add_folded(tk_buf *b, uint32_t c)
{
    utf8proc_int32_t out[8];
    int last = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)c, out, TK_COUNT(out), UTF8PROC_CASEFOLD, &last);
    for (utf8proc_ssize_t i = 0; i < n; i++) add_cp(b, (uint32_t)out[i]);
}

void jj_add_case(tk_buf *b, const char *p, size_t len, jj_case how)
{
    bool in_word = false;
    for (size_t i = 0; i < len;) {
        size_t at = i;
        uint32_t c = jj_cp_next(p, len, &i);
        bool up = how == CASE_UPPER || (how == CASE_SWAP && jj_cp_lower(c));
        bool title = (how == CASE_CAPITAL && at == 0) || (how == CASE_TITLE && !in_word);
        if (how == CASE_SWAP && !jj_cp_lower(c) && !jj_cp_upper(c))
            add_cp(b, c);
        else if (how == CASE_FOLD && c >= 128)
            add_folded(b, c);
        else if (up || title)
            add_upper(b, c, title);
        else
            add_lower(b, p, len, at, i, c);
        in_word = cased(c);
    }
}

jj_val jj_case_str(jj *it, jj_val s, jj_case how)
{
    if (!jj_step(it, s.u.s->len / 8)) return s;
    tk_buf b = jj_buf();
    jj_add_case(&b, s.u.s->p, s.u.s->len, how);
    jj_val v = jj_buf_str(it, &b);
    v.flag = s.flag;
    return v;
}

jj_val jj_substr(jj *it, jj_str *s, size_t from_byte, size_t to_byte)
{
    if (from_byte == 0 && to_byte == s->len) return (jj_val){.kind = JJ_STR, .u.s = s};
    jj_val v = jj_str_ref(it, s->p + from_byte, to_byte - from_byte);
    if (it->st == TK_OK && s->n_cp == s->len) v.u.s->n_cp = v.u.s->len;
    return v;
}

void jj_add_escaped(tk_buf *b, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (p[i]) {
        case '&': tk_buf_add_str(b, "&amp;"); break;
        case '<': tk_buf_add_str(b, "&lt;"); break;
        case '>': tk_buf_add_str(b, "&gt;"); break;
        case '"': tk_buf_add_str(b, "&#34;"); break;
        case '\'': tk_buf_add_str(b, "&#39;"); break;
        default: tk_buf_add_char(b, p[i]); break;
        }
    }
}

// ---- reading numbers -------------------------------------------------------------------------------

static int digit_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'z' ? c - 'a' + 10
           : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                  : 99;
}

// Python reads the decimal digits of every script, with white space around them; here they become ASCII, and
// what is neither '?'. U+001C to U+001F count as white space to strip() only. False when it does not fit.
static bool plain_digits(const char **p, size_t *len, char *out, size_t cap)
{
    size_t n = 0, keep = 0;
    for (size_t i = 0; i < *len;) {
        uint32_t c = jj_cp_next(*p, *len, &i);
        bool space = jj_cp_space(c) && (c < 28 || c > 31);
        if (space && n == 0) continue;
        if (n == cap) {
            if (space) continue; // may be the end's
            return false;
        }
        if (c >= 128 && jj_cp_decimal(c)) { // decimal digits stand in runs that begin with a zero
            uint32_t zero = c;
            while (jj_cp_decimal(zero - 1)) zero--;
            c = '0' + (c - zero) % 10;
        }
        out[n++] = c < 128 ? (char)c : space ? ' ' : '?';
        if (!space) keep = n;
    }
    *p = out;
    *len = keep;
    return true;
}

bool jj_parse_int(const char *p, size_t len, int base, int64_t *out, bool *overflow)
{
    char plain[512];
    if (!plain_digits(&p, &len, plain, sizeof plain)) return false;
    bool neg = len && *p == '-';
    if (len && (*p == '-' || *p == '+')) p++, len--;
    char x = len >= 2 && p[0] == '0' ? (char)(p[1] | 0x20) : 0;
    int prefix = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
    bool prefixed = prefix && (base == 0 || base == prefix);
    if (prefixed) {
        base = prefix;
        p += 2;
        len -= 2;
        if (len && *p == '_') p++, len--;
    }
    bool zero_only = base == 0 && len > 1 && *p == '0';
    if (base == 0) base = 10;
    if (len == 0 || p[len - 1] == '_' || *p == '_') return false;
    unsigned __int128 n = 0;
    *overflow = false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '_' && p[i - 1] != '_') continue;
        int d = digit_value(p[i]);
        if (d >= base || (zero_only && d)) return false;
        n = n * (unsigned)base + (unsigned)d;
        if (n > (unsigned __int128)INT64_MAX + 1) *overflow = true, n = 0;
    }
    if (n == (unsigned __int128)INT64_MAX + 1 && !neg) *overflow = true;
    if (*overflow) return false;
    *out = neg ? (int64_t)(0 - (uint64_t)n) : (int64_t)n;
    return true;
}

static bool is_word(const char *p, size_t len, const char *z)
{
    return len == strlen(z) && strncasecmp(p, z, len) == 0;
}

bool jj_parse_float(const char *p, size_t len, double *out)
{
    char s[512], plain[512];
    size_t n = 0;
    if (!plain_digits(&p, &len, plain, sizeof plain - 1) || len == 0) return false;
    const char *w = *p == '-' || *p == '+' ? p + 1 : p;
    size_t w_len = len - (size_t)(w - p);
    double sign = *p == '-' ? -1 : 1;
    if (is_word(w, w_len, "inf") || is_word(w, w_len, "infinity")) {
        *out = sign * INFINITY;
        return true;
    }
    if (is_word(w, w_len, "nan")) {
        *out = NAN;
        return true;
    }
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '_') {
            if (i == 0 || i + 1 == len || digit_value(p[i - 1]) > 9 || digit_value(p[i + 1]) > 9)
                return false;
            continue;
        }
        if (p[i] == 0 || !strchr("0123456789+-.eE", p[i])) return false;
        s[n++] = p[i];
    }
    s[n] = 0;
    char *end;
    *out = strtod(s, &end);
    return *end == 0 && end != s;
}
