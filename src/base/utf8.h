// SPDX-License-Identifier: MIT
// UTF-8 one character at a time, strict (no surrogates, no overlong forms, at most U+10FFFF). Any thread.
#ifndef TK_BASE_UTF8_H
#define TK_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Reads one character at s[0..len): its length in bytes (1..4) and *cp; 0 when invalid or cut short (or len
// is 0), then *cp = 0xFFFD and *bad is how many bytes one U+FFFD replaces (Unicode's "maximal subpart", as
// Python and Rust do). bad may be NULL.
size_t tk_utf8_read(const char *s, size_t len, uint32_t *cp, size_t *bad);
// Writes cp (any value up to 0x10FFFF) to out[4], returns the length.
size_t tk_utf8_write(uint32_t cp, char out[4]);
bool tk_utf8_valid(const char *s, size_t len);
// Number of bytes at the end of s that are the beginning of a character that is not yet complete (0..3).
size_t tk_utf8_tail(const char *s, size_t len);

#endif
