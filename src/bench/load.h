// SPDX-License-Identifier: MIT
// Sends a workload: requests leave at their time (open loop: a Poisson or gamma process, or all at once), at
// most so many at once (closed loop). A conversation's next turn leaves when the turn before is answered and
// carries the answers so far. Owner: the thread that calls it.
#ifndef TK_BENCH_LOAD_H
#define TK_BENCH_LOAD_H

#include "bench/stream.h"
#include "bench/workload.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef struct tk_load_opts {
    const char *endpoint, *model;
    double request_rate;     // requests (or conversations) a second; INFINITY = all at once
    double burstiness;       // 1 = Poisson; below: bunched, above: even
    int32_t max_concurrency; // 0 = no bound
    bool ignore_eos;
    const json_t *extra_body; // members added to every request, or NULL
    uint64_t seed;
    const atomic_int *interrupt; // non-zero = TK_INTERRUPTED; NULL = never
} tk_load_opts;

typedef struct tk_load_result {
    int32_t n;
    tk_stream_result *requests; // [n], owned
    uint64_t *queued_ns;        // [n] how long a request waited for its turn under max_concurrency
    double duration_s;
    tk_stream_lag lag;
} tk_load_result;

// Warm-ups first, then the requests. Fails only where the client does: a request that fails is a result.
tk_status tk_load_run(const tk_http_target *t, const tk_workload *w, const tk_load_opts *o,
                      tk_load_result *out, tk_err *err);
void tk_load_result_free(tk_load_result *r); // all zero is fine

// Seconds from the start at which n requests leave: gamma gaps of mean 1 / rate, scaled so that the last one
// leaves at n / rate as vLLM does. rate INFINITY = all at 0.
void tk_load_arrivals(double rate, double burstiness, uint64_t seed, int32_t n, double *out);

#endif
