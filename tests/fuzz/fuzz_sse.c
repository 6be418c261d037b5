// SPDX-License-Identifier: MIT
// Server-sent events: the first byte says into what pieces the rest is cut.
#include "bench/sse.h"

#include "base/compiler.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void look(void *ctx, const char *data, size_t len)
{
    size_t *n = ctx;
    if (data[len] != 0) abort();
    *n += len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 16) return 0;
    size_t piece = (size_t)data[0] + 1, n_data = 0;
    tk_sse s = tk_sse_make(4096);
    for (size_t at = 1; at < size; at += piece)
        if (!tk_sse_feed(&s, (const char *)data + at, TK_MIN(piece, size - at), look, &n_data))
            break;
    if (n_data > size) abort();
    tk_sse_free(&s);
    return 0;
}
