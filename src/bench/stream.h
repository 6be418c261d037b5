// SPDX-License-Identifier: MIT
// Many streamed answers at once on one thread: libcurl's multi interface over epoll and one timer. Every
// event is stamped when its bytes arrive. What counts as what is vLLM's (docs/benchmarking.md):
//   time to first token   from just before sending to the first event that has a choice
//   inter-token latency   between such events, however many tokens one carries
//   latency               to the last such event, or the end when that comes alone
// An event that only names the role, or only ends the answer, is no token. Owner: the thread that made it.
#ifndef TK_BENCH_STREAM_H
#define TK_BENCH_STREAM_H

#include "bench/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_stream_result {
    bool ok;
    char error[256];                        // why not
    uint64_t start_ns, ttft_ns, latency_ns; // start: monotonic clock
    uint64_t *itl_ns;                       // [n_itl], owned
    size_t n_itl, cap_itl;
    int64_t n_prompt, n_out, n_cached; // by the server's usage; -1 = it did not say
    char *text;                        // owned, NUL-terminated; NULL when nothing came
} tk_stream_result;

void tk_stream_result_free(tk_stream_result *r);

typedef struct tk_streams tk_streams;
// The result is the callee's from then on.
typedef void (*tk_stream_done_fn)(void *ctx, int id, const tk_stream_result *r);

tk_status tk_streams_new(const tk_http_target *t, const char *endpoint, tk_stream_done_fn done,
                         void *ctx, tk_streams **out, tk_err *err);
void tk_streams_free(tk_streams *s); // breaks off what runs; NULL is fine
// Sends the request now. body is borrowed until it is done.
tk_status tk_streams_start(tk_streams *s, int id, const char *body, tk_err *err);
int tk_streams_active(const tk_streams *s);
// Handles what happens until something did, or until_ns. done is called from here.
tk_status tk_streams_wait(tk_streams *s, uint64_t until_ns, tk_err *err);

// How late this thread was for its own 10 ms ticks: what it adds to the times it measures.
typedef struct tk_stream_lag {
    double p50_ms, p99_ms, max_ms;
} tk_stream_lag;
void tk_streams_lag_reset(tk_streams *s);
tk_stream_lag tk_streams_lag(tk_streams *s);

#endif
