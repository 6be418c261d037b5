// SPDX-License-Identifier: MIT
// HTTP requests, pipelined: fed whole and in pieces of seven bytes, both must be read alike.
#include "server/http1.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct seen {
    int n_request, status;
    size_t body_bytes, path_bytes;
    int n_header;
} seen;

static seen read_all(const char *data, size_t size, size_t piece)
{
    seen s = {0};
    tk_http1 h;
    tk_http1_init(&h, 1 << 16);
    for (size_t at = 0; at < size && h.state != TK_HTTP1_FAILED;) {
        size_t n = piece < size - at ? piece : size - at;
        at += tk_http1_feed(&h, data + at, n);
        if (h.state != TK_HTTP1_COMPLETE) continue;
        s.n_request++;
        s.body_bytes += h.body.len;
        s.path_bytes += strlen(h.path);
        s.n_header += h.n_header + (tk_http1_find(&h, "x-a") != NULL);
        tk_http1_reset(&h);
    }
    s.status = h.state == TK_HTTP1_FAILED ? h.status : 0;
    tk_http1_free(&h);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    seen a = read_all((const char *)data, size, size ? size : 1),
         b = read_all((const char *)data, size, 7);
    assert(a.n_request == b.n_request && a.body_bytes == b.body_bytes &&
           a.path_bytes == b.path_bytes && a.n_header == b.n_header);
    // the bound on lines may be met at another byte, so only whether it failed is compared
    assert((a.status == 0) == (b.status == 0));
    return 0;
}
