// SPDX-License-Identifier: MIT
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(size_t n)
{
    fprintf(stderr, "tokamak: out of memory (%zu bytes asked for)\n", n);
    abort();
}

void *tk_alloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (p == NULL) die(n);
    return p;
}

void *tk_realloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (q == NULL) die(n);
    return q;
}

void *tk_try_alloc(size_t n_item, size_t item_bytes)
{
    size_t n;
    if (!tk_mul_size(n_item, item_bytes, &n)) return NULL;
    return calloc(1, n ? n : 1);
}

char *tk_strndup(const char *s, size_t len)
{
    char *p = tk_alloc(len + 1);
    memcpy(p, s, len);
    return p;
}

char *tk_strdup(const char *s)
{
    return tk_strndup(s, strlen(s));
}

char *tk_asprintf(const char *fmt, ...)
{
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = tk_alloc((size_t)(n < 0 ? 0 : n) + 1);
    vsnprintf(p, (size_t)(n < 0 ? 0 : n) + 1, fmt, ap2);
    va_end(ap2);
    return p;
}

void tk_free(void *p)
{
    free(p);
}
