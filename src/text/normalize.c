// SPDX-License-Identifier: MIT
// Normalizers of tokenizer.json, applied in order to one stretch of text.
#include "text/tokenizer_priv.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool unicode_form(step_kind kind, const char *s, size_t len, tk_buf *out)
{
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
            if (utf8proc_category((utf8proc_int32_t)cp) == UTF8PROC_CATEGORY_MN) continue;
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
