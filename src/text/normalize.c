// SPDX-License-Identifier: MIT
// Normalizers of tokenizer.json, applied in order to one stretch of text.
#include "text/tokenizer_priv.h"

#include "base/compiler.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

// Hugging Face normalises by Unicode 9. These came later and are marks or have a decomposition or composition:
// there they are ordinary characters, which nothing moves across and StripAccents keeps.
static bool is_newer(uint32_t cp)
{
    static const uint32_t ranges[][2] = {
        {0x7FD, 0x7FD},     {0x898, 0x89F},     {0x8CA, 0x8D3},     {0x9FE, 0x9FE},
        {0xAFA, 0xAFF},     {0xB55, 0xB55},     {0xC04, 0xC04},     {0xC3C, 0xC3C},
        {0xD00, 0xD00},     {0xD3B, 0xD3C},     {0xD81, 0xD81},     {0xEBA, 0xEBA},
        {0x1715, 0x1715},   {0x180F, 0x180F},   {0x1ABF, 0x1ACE},   {0x1CF7, 0x1CF7},
        {0x1DF6, 0x1DFA},   {0x32FF, 0x32FF},   {0xA7F2, 0xA7F4},   {0xA82C, 0xA82C},
        {0xA8FF, 0xA8FF},   {0xAB69, 0xAB69},   {0x10781, 0x10785}, {0x10787, 0x107B0},
        {0x107B2, 0x107BA}, {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50},
        {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110C2, 0x110C2},
        {0x11145, 0x11146}, {0x111C9, 0x111C9}, {0x111CE, 0x111CF}, {0x1133B, 0x1133B},
        {0x1145E, 0x1145E}, {0x1182C, 0x1183A}, {0x11930, 0x11935}, {0x11937, 0x11938},
        {0x1193B, 0x1193E}, {0x11940, 0x11940}, {0x11942, 0x11943}, {0x119D1, 0x119D7},
        {0x119DA, 0x119E0}, {0x119E4, 0x119E4}, {0x11A01, 0x11A0A}, {0x11A33, 0x11A39},
        {0x11A3B, 0x11A3E}, {0x11A47, 0x11A47}, {0x11A51, 0x11A5B}, {0x11A8A, 0x11A99},
        {0x11D31, 0x11D36}, {0x11D3A, 0x11D3A}, {0x11D3C, 0x11D3D}, {0x11D3F, 0x11D45},
        {0x11D47, 0x11D47}, {0x11D8A, 0x11D8E}, {0x11D90, 0x11D91}, {0x11D93, 0x11D97},
        {0x11EF3, 0x11EF6}, {0x16F4F, 0x16F4F}, {0x16F7F, 0x16F87}, {0x16FE4, 0x16FE4},
        {0x16FF0, 0x16FF1}, {0x1CF00, 0x1CF2D}, {0x1CF30, 0x1CF46}, {0x1E130, 0x1E136},
        {0x1E2AE, 0x1E2AE}, {0x1E2EC, 0x1E2EF}, {0x1F16C, 0x1F16C}, {0x1FBF0, 0x1FBF9}};
    size_t lo = 0, hi = TK_COUNT(ranges);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (cp > ranges[mid][1])
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < TK_COUNT(ranges) && cp >= ranges[lo][0];
}

static bool old_form(step_kind kind, const char *s, size_t len, tk_buf *out)
{
    if (len == 0) return true;
    int options = UTF8PROC_STABLE;
    switch (kind) {
    case NORM_NFC: options |= UTF8PROC_COMPOSE; break;
    case NORM_NFD: options |= UTF8PROC_DECOMPOSE; break;
    case NORM_NFKC: options |= UTF8PROC_COMPOSE | UTF8PROC_COMPAT; break;
    default: options |= UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT; break;
    }
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)len, &mapped,
                                      (utf8proc_option_t)options);
    if (n < 0) return tk_buf_add(out, s, len); // cannot happen to valid text; keep it
    bool ok = tk_buf_add(out, mapped, (size_t)n);
    free(mapped);
    return ok;
}

static bool unicode_form(step_kind kind, const char *s, size_t len, tk_buf *out)
{
    size_t from = 0;
    for (size_t at = 0, n; at < len; at += n) {
        uint32_t cp;
        n = tk_utf8_read(s + at, len - at, &cp, NULL);
        if (n == 0) n = 1; // cannot happen to valid text
        if (!is_newer(cp)) continue;
        if (!old_form(kind, s + from, at - from, out) || !tk_buf_add(out, s + at, n)) return false;
        from = at + n;
    }
    return old_form(kind, s + from, len - from, out);
}

static bool replace_text(const step *st, const char *s, size_t len, tk_buf *out)
{
    if (st->text.len == 0) return tk_buf_add(out, s, len);
    for (size_t at = 0; at < len;) {
        const char *hit = memmem(s + at, len - at, st->text.s, st->text.len);
        size_t end = hit ? (size_t)(hit - s) : len;
        tk_buf_add(out, s + at, end - at);
        if (hit) tk_buf_add(out, st->with.s, st->with.len);
        at = end + (hit ? st->text.len : 0);
    }
    return !out->failed;
}

static bool replace_pattern(const step *st, const char *s, size_t len, tk_buf *out)
{
    pcre2_match_data *md = pcre2_match_data_create_from_pattern(st->re, NULL);
    size_t at = 0, copied = 0;
    while (md && at <= len) {
        if (pcre2_match(st->re, (PCRE2_SPTR)s, len, at, 0, md, NULL) < 0) break;
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(md);
        tk_buf_add(out, s + copied, o[0] - copied);
        tk_buf_add(out, st->with.s, st->with.len);
        copied = o[1];
        at = o[1];
        if (o[1] == o[0]) { // an empty match: step over one character
            at++;
            while (at < len && ((unsigned char)s[at] & 0xC0) == 0x80) at++;
        }
    }
    pcre2_match_data_free(md);
    return tk_buf_add(out, s + copied, len - copied);
}

static bool each_character(step_kind kind, const char *s, size_t len, tk_buf *out)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp;
        char c[4];
        size_t n = tk_utf8_read(s + at, len - at, &cp, NULL);
        if (n == 0) break;
        at += n;
        if (kind == NORM_STRIP_ACCENTS) {
            utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
            bool mark = k == UTF8PROC_CATEGORY_MN || k == UTF8PROC_CATEGORY_MC ||
                        k == UTF8PROC_CATEGORY_ME || cp == 0x1CF2 || cp == 0x1CF3; // marks then
            if (mark && !is_newer(cp)) continue;
        } else if (cp == 0x130) { // the one letter whose lower case is two characters
            tk_buf_add(out, "i\xCC\x87", 3);
            continue;
        } else {
            cp = (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
        }
        tk_buf_add(out, c, tk_utf8_write(cp, c));
    }
    return !out->failed;
}

static bool strip(const step *st, const char *s, size_t len, tk_buf *out)
{
    size_t a = 0, b = len;
    uint32_t cp;
    for (size_t n; st->left && a < b && (n = tk_utf8_read(s + a, b - a, &cp, NULL)) > 0;) {
        if (!tok_is_space(cp)) break;
        a += n;
    }
    while (st->right && b > a) {
        size_t at = b - 1;
        while (at > a && ((unsigned char)s[at] & 0xC0) == 0x80) at--;
        if (tk_utf8_read(s + at, b - at, &cp, NULL) == 0 || !tok_is_space(cp)) break;
        b = at;
    }
    return tk_buf_add(out, s + a, b - a);
}

static bool run_step(const step *st, const char *s, size_t len, tk_buf *out)
{
    switch (st->kind) {
    case NORM_LOWERCASE:
    case NORM_STRIP_ACCENTS: return each_character(st->kind, s, len, out);
    case NORM_PREPEND:
        return len == 0 || (tk_buf_add(out, st->with.s, st->with.len) && tk_buf_add(out, s, len));
    case NORM_REPLACE:
        return st->re ? replace_pattern(st, s, len, out) : replace_text(st, s, len, out);
    case NORM_STRIP: return strip(st, s, len, out);
    default: return unicode_form(st->kind, s, len, out);
    }
}

bool tok_normalize(const tk_tokenizer *t, const char *s, size_t len, tk_buf *out)
{
    if (t->n_norm == 0) return tk_buf_add(out, s, len);
    tk_buf a = tk_buf_make(out->max), b = tk_buf_make(out->max);
    bool ok = tk_buf_add(&a, s, len);
    for (int i = 0; i < t->n_norm && ok; i++) {
        tk_buf_clear(&b);
        ok = run_step(&t->norm[i], tk_buf_str(&a), a.len, &b);
        tk_buf swap = a;
        a = b;
        b = swap;
    }
    ok = ok && tk_buf_add(out, tk_buf_str(&a), a.len);
    tk_buf_free(&a);
    tk_buf_free(&b);
    return ok;
}
