// SPDX-License-Identifier: MIT
// Memory given back all at once. An arena is created with its maximum; allocation is a bump in the current
// chunk. Reset keeps the first chunk. One owner, one thread.
#ifndef TK_BASE_ARENA_H
#define TK_BASE_ARENA_H

#include <stddef.h>

typedef struct tk_arena tk_arena;

// max_bytes bounds the sum of all live chunks. Never NULL.
tk_arena *tk_arena_new(size_t max_bytes);
void tk_arena_free(tk_arena *a); // NULL is fine
void tk_arena_reset(tk_arena *a);
// Zeroed, 16-byte aligned; NULL when the maximum is reached (or the machine has no memory).
void *tk_arena_alloc(tk_arena *a, size_t n);
char *tk_arena_strndup(tk_arena *a, const char *s, size_t len); // NUL-terminated, or NULL
size_t tk_arena_used(const tk_arena *a);                        // bytes handed out since reset

#endif
