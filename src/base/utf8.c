// SPDX-License-Identifier: MIT
#include "base/utf8.h"

static size_t invalid(uint32_t *cp, size_t *bad, size_t n)
{
    *cp = 0xFFFD;
    if (bad) *bad = n;
    return 0;
}

size_t tk_utf8_read(const char *s, size_t len, uint32_t *cp, size_t *bad)
{
    const unsigned char *u = (const unsigned char *)s;
    if (len == 0) return invalid(cp, bad, 0);
    unsigned c = u[0];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    if (c < 0xC2 || c > 0xF4) return invalid(cp, bad, 1);
    size_t n = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    // the second byte's range excludes overlong forms, surrogates and values past U+10FFFF
    unsigned lo = c == 0xE0 ? 0xA0 : c == 0xF0 ? 0x90 : 0x80;
    unsigned hi = c == 0xED ? 0x9F : c == 0xF4 ? 0x8F : 0xBF;
    uint32_t v = c & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (i >= len || u[i] < lo || u[i] > hi) return invalid(cp, bad, i);
        v = v << 6 | (u[i] & 0x3F);
        lo = 0x80;
        hi = 0xBF;
    }
    *cp = v;
    return n;
}

size_t tk_utf8_write(uint32_t cp, char out[4])
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; cp >>= 6) out[i] = (char)(0x80 | (cp & 0x3F));
    out[0] = (char)((0xF00u >> n) | cp);
    return n;
}

bool tk_utf8_valid(const char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = tk_utf8_read(s + i, len - i, &cp, NULL);
        if (n == 0) return false;
        i += n;
    }
    return true;
}

size_t tk_utf8_tail(const char *s, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)s[len - back];
        if (c < 0x80) return 0;
        if (c < 0xC0) continue; // a continuation: look further back
        uint32_t cp;
        size_t bad = 0;
        return tk_utf8_read(s + len - back, back, &cp, &bad) == 0 && bad == back &&
                       back < (c < 0xE0   ? 2u
                               : c < 0xF0 ? 3u
                                          : 4u) &&
                       c >= 0xC2 && c <= 0xF4
                   ? back
                   : 0;
    }
    return 0;
}
