// SPDX-License-Identifier: MIT
#include "base/arena.h"

#include "base/mem.h"

#include <string.h>

enum { ALIGN = 16, FIRST_CHUNK = 4096 };

typedef struct chunk {
    struct chunk *next; // older chunk
    size_t cap, len;
    _Alignas(16) char data[];
} chunk;

struct tk_arena {
    chunk *head; // newest
    size_t max, reserved, used;
};

tk_arena *tk_arena_new(size_t max_bytes)
{
    tk_arena *a = tk_alloc(sizeof *a);
    a->max = max_bytes;
    return a;
}

void tk_arena_free(tk_arena *a)
{
    if (a == NULL) return;
    for (chunk *c = a->head, *next; c; c = next) {
        next = c->next;
        tk_free(c);
    }
    tk_free(a);
}

void tk_arena_reset(tk_arena *a)
{
    while (a->head && a->head->next) {
        chunk *c = a->head;
        a->head = c->next;
        a->reserved -= c->cap;
        tk_free(c);
    }
    if (a->head) {
        memset(a->head->data, 0, a->head->len);
        a->head->len = 0;
    }
    a->used = 0;
}

void *tk_arena_alloc(tk_arena *a, size_t n)
{
    size_t need;
    if (!tk_add_size(n, ALIGN - 1, &need)) return NULL;
    need &= ~(size_t)(ALIGN - 1);
    if (a->head == NULL || a->head->cap - a->head->len < need) {
        size_t cap = a->head ? a->head->cap * 2 : FIRST_CHUNK;
        if (cap > a->max - a->reserved) cap = a->max - a->reserved;
        if (cap < need) cap = need;
        if (cap > a->max - a->reserved) return NULL;
        chunk *c = tk_try_alloc(1, sizeof *c + cap);
        if (c == NULL) return NULL;
        c->cap = cap;
        c->next = a->head;
        a->head = c;
        a->reserved += cap;
    }
    void *p = a->head->data + a->head->len;
    a->head->len += need;
    a->used += need;
    return p;
}

char *tk_arena_strndup(tk_arena *a, const char *s, size_t len)
{
    if (len == SIZE_MAX) return NULL;
    char *p = tk_arena_alloc(a, len + 1);
    if (p) memcpy(p, s, len);
    return p;
}

size_t tk_arena_used(const tk_arena *a)
{
    return a->used;
}
