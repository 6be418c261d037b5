// SPDX-License-Identifier: MIT
// Rows of `bench kernel` as llama-bench prints them (markdown, CSV, JSON, JSON lines), its keys with its
// meanings, and ours after them (docs/benchmarking.md). One thread.
#ifndef TK_BENCH_KERNEL_REPORT_H
#define TK_BENCH_KERNEL_REPORT_H

#include "bench/kernel.h"

#include <jansson.h>
#include <stdio.h>

typedef enum tk_bench_format {
    TK_BENCH_MD,
    TK_BENCH_CSV,
    TK_BENCH_JSON,
    TK_BENCH_JSONL
} tk_bench_format;

// What is the same for every row.
typedef struct tk_bench_about {
    const char *commit;
    int commit_count;
} tk_bench_about;

// A new object. A number that is not known is null.
json_t *tk_bench_row(const tk_bench_about *about, const char *model, tk_engine *e,
                     const tk_bench_result *r, const tk_roof *roof);

// Null when it is not finite: not known.
json_t *tk_bench_number(double v);

typedef struct tk_bench_printer {
    FILE *to;
    tk_bench_format format;
    bool with_batch; // markdown: columns that are left out while every row has the default
    int n_row;
    tk_bench_about about;
} tk_bench_printer;

// Rows are flushed one by one; each call borrows the row.
void tk_bench_print_row(tk_bench_printer *p, const json_t *row);
void tk_bench_print_end(tk_bench_printer *p, const tk_roof *roof);
// One line for people: "read 20.1 GB/s (8 streams a thread), ... AMX unavailable".
void tk_bench_roof_text(const tk_roof *roof, char *out, size_t cap);

#endif
