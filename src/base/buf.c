// SPDX-License-Identifier: MIT
#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tk_buf tk_buf_make(size_t max)
{
    return (tk_buf){.max = max};
}

void tk_buf_free(tk_buf *b)
{
    if (b == NULL) return;
    tk_free(b->data);
    *b = tk_buf_make(b->max);
}

void tk_buf_clear(tk_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data) b->data[0] = 0;
}

char *tk_buf_reserve(tk_buf *b, size_t n)
{
    size_t need;
    if (b->failed || !tk_add_size(b->len, n, &need) || need > b->max || need == SIZE_MAX) {
        b->failed = true;
        return NULL;
    }
    if (b->data == NULL || need + 1 > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need + 1) cap = cap > SIZE_MAX / 2 ? need + 1 : cap * 2;
        char *p = realloc(b->data, cap);
        if (p == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = p;
        b->cap = cap;
        b->data[b->len] = 0;
    }
    return b->data + b->len;
}

bool tk_buf_add(tk_buf *b, const void *p, size_t n)
{
    char *at = tk_buf_reserve(b, n);
    if (at == NULL) return false;
    if (n) memcpy(at, p, n);
    b->len += n;
    b->data[b->len] = 0;
    return true;
}

bool tk_buf_add_char(tk_buf *b, char c)
{
    return tk_buf_add(b, &c, 1);
}

bool tk_buf_add_str(tk_buf *b, const char *s)
{
    return tk_buf_add(b, s, strlen(s));
}

bool tk_buf_addf(tk_buf *b, const char *fmt, ...)
{
    va_list ap, ap2;
    va_start(ap, fmt);
    va_copy(ap2, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *at = n < 0 ? NULL : tk_buf_reserve(b, (size_t)n);
    if (at) {
        vsnprintf(at, (size_t)n + 1, fmt, ap2);
        b->len += (size_t)n;
    }
    va_end(ap2);
    return at != NULL;
}

const char *tk_buf_str(const tk_buf *b)
{
    return b->data ? b->data : "";
}

char *tk_buf_take(tk_buf *b)
{
    char *p = b->data ? b->data : tk_strdup("");
    *b = tk_buf_make(b->max);
    return p;
}
