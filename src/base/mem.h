// SPDX-License-Identifier: MIT
// Sizes that cannot wrap, and the two ways to get memory: tk_alloc for small control structures (dies with
// a message when the machine has none left), tk_try_alloc for anything sized by a user, a file or a model
// (returns NULL, the caller reports TK_NOMEM). Any thread.
#ifndef TK_BASE_MEM_H
#define TK_BASE_MEM_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// *out = a * b (or a + b); false, and *out untouched, when that does not fit.
TK_INLINE bool tk_mul_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

TK_INLINE bool tk_add_size(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r)) return false;
    *out = r;
    return true;
}

// Zeroed memory of n bytes (n = 0 gives a valid pointer). Never NULL. Free with tk_free.
void *tk_alloc(size_t n) TK_RETURNS_NONNULL;
// Grows p (NULL allowed) to n bytes; new bytes are not zeroed. Never NULL.
void *tk_realloc(void *p, size_t n) TK_RETURNS_NONNULL;
// Zeroed n_item * item_bytes, or NULL when that overflows or is not to be had. Free with tk_free.
void *tk_try_alloc(size_t n_item, size_t item_bytes);
// Copies of a string (NUL-terminated), free with tk_free.
char *tk_strdup(const char *s) TK_RETURNS_NONNULL;
char *tk_strndup(const char *s, size_t len) TK_RETURNS_NONNULL;
// printf into new memory, free with tk_free.
char *tk_asprintf(const char *fmt, ...) TK_PRINTF(1, 2) TK_RETURNS_NONNULL;
void tk_free(void *p); // NULL is fine

#endif
