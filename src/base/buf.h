// SPDX-License-Identifier: MIT
// A growing byte buffer that is created with its maximum, so that no input can grow memory without a named
// limit. One failure sticks (`failed`): a run of appends is checked once at its end. One owner, one thread.
#ifndef TK_BASE_BUF_H
#define TK_BASE_BUF_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct tk_buf {
    char *data; // len bytes and a NUL after them; NULL while empty and never appended to
    size_t len;
    size_t cap;
    size_t max; // len never passes this
    bool
        failed; // an append did not fit (max reached or no memory); contents are what fitted before
} tk_buf;

tk_buf tk_buf_make(size_t max);
void tk_buf_free(tk_buf *b);  // leaves an empty buffer with the same maximum
void tk_buf_clear(tk_buf *b); // len = 0, failed = false, memory kept
// All return false (and set failed) when the bytes do not fit.
bool tk_buf_add(tk_buf *b, const void *p, size_t n);
bool tk_buf_add_char(tk_buf *b, char c);
bool tk_buf_add_str(tk_buf *b, const char *s);
bool tk_buf_addf(tk_buf *b, const char *fmt, ...) TK_PRINTF(2, 3);
// Makes room for n more bytes (for use with data + len); NULL when they do not fit.
char *tk_buf_reserve(tk_buf *b, size_t n);
// The contents as a string ("" when empty); valid until the next append.
const char *tk_buf_str(const tk_buf *b);
// Hands the memory over (NUL-terminated, free with tk_free) and leaves the buffer empty.
char *tk_buf_take(tk_buf *b);

#endif
