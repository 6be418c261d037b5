// SPDX-License-Identifier: MIT
// The numbers of a serving benchmark: vLLM's definitions, JSON keys and console block
// (docs/benchmarking.md). One thread.
#ifndef TK_BENCH_SERVE_REPORT_H
#define TK_BENCH_SERVE_REPORT_H

#include "bench/load.h"

#include <stdio.h>

enum { TK_SERVE_PERCENTILES = 32 };

typedef struct tk_serve_about {
    const char *backend, *label, *model, *tokenizer; // label and tokenizer may be NULL
    const char *const *metadata;                     // [n_metadata] "key=value"
    int n_metadata;
    double request_rate, burstiness;
    int32_t max_concurrency; // 0 = none
    int32_t num_prompts;
    double goodput_ttft_ms, goodput_tpot_ms, goodput_e2el_ms; // NAN = not asked
    double percentiles[TK_SERVE_PERCENTILES];
    int n_percentile;
    const char *shown; // metrics of the console block: "ttft,tpot,itl"
    bool detailed;     // every request's numbers too
} tk_serve_about;

// A new object with every metric.
json_t *tk_serve_report(const tk_serve_about *a, const tk_workload *w, const tk_load_result *r);
void tk_serve_print(const tk_serve_about *a, const json_t *report, FILE *to);

#endif
