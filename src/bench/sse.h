// SPDX-License-Identifier: MIT
// Server-sent events as they arrive, cut anywhere (WHATWG HTML, 9.2.6): lines end with LF, CR LF or CR, an
// empty line ends an event, its data lines are joined by LF. Comments and other fields are passed over. One
// owner, one thread.
#ifndef TK_BENCH_SSE_H
#define TK_BENCH_SSE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct tk_sse {
    tk_buf line, data;
    bool has_data, after_cr;
} tk_sse;

// One event's data, NUL after it; valid during the call.
typedef void (*tk_sse_fn)(void *ctx, const char *data, size_t len);

tk_sse tk_sse_make(size_t max_event_bytes);
void tk_sse_free(tk_sse *s);
void tk_sse_reset(tk_sse *s);
// False when an event is longer than allowed: nothing more can be read then.
bool tk_sse_feed(tk_sse *s, const char *bytes, size_t len, tk_sse_fn fn, void *ctx);

#endif
