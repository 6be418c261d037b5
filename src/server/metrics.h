// SPDX-License-Identifier: MIT
// Counters and histograms of what has been served, as Prometheus text; names follow vLLM's with the prefix
// tokamak: (docs/server.md). Owner: the event loop's thread.
#ifndef TK_SERVER_METRICS_H
#define TK_SERVER_METRICS_H

#include "base/buf.h"
#include "engine/service.h"
#include "hw/energy.h"

#include <stdint.h>

enum { TK_METRIC_BUCKETS = 24 };

typedef struct tk_histogram {
    uint64_t count[TK_METRIC_BUCKETS + 1]; // by bound, the last one: above all
    uint64_t n;
    double sum;
} tk_histogram;

typedef struct tk_metrics {
    tk_histogram ttft, itl, tpot, e2e, queue, prefill, decode, inference; // seconds
    tk_histogram prompt_tokens, generation_tokens;                        // tokens of a request
    uint64_t stop, length, aborted, failed; // requests by how they ended
    uint64_t http[6];                       // answers by status / 100
    uint64_t rejected;                      // 429
} tk_metrics;

// A generation has ended.
void tk_metrics_note(tk_metrics *m, const tk_job_result *r);
void tk_metrics_observe_itl(tk_metrics *m, double s);

typedef struct tk_metrics_info { // what the text says besides the counters
    const char *model_name, *version, *commit;
    double load_s;
    int n_connection;
    tk_service *service;       // NULL = not loaded yet
    int32_t n_layer, n_expert; // 0 = dense
    const tk_energy *energy;
} tk_metrics_info;
void tk_metrics_write(const tk_metrics *m, const tk_metrics_info *info, tk_buf *out);

#endif
