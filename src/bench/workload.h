// SPDX-License-Identifier: MIT
// What is asked of the server: a list of requests, made before anything is measured. The same options and
// seed give the same list. One thread.
#ifndef TK_BENCH_WORKLOAD_H
#define TK_BENCH_WORKLOAD_H

#include "bench/prompt.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_workload_opts {
    const char *dataset; // random, sharegpt, custom, prefix_repetition, multi-turn
    const char *path;    // of sharegpt and custom
    uint64_t seed;
    int32_t n_request, n_warmup;
    int32_t input_len, output_len, prefix_len; // tokens; output_len 0 with a file: as the file says
    double range_ratio;                        // lengths are uniform in len * (1 -+ this)
    int32_t n_prefix, suffix_len;              // prefix_repetition
    int32_t n_turn;                            // multi-turn: requests of one conversation
} tk_workload_opts;

typedef struct tk_workload_request {
    tk_prompt prompt; // multi-turn: the user's message of this turn
    int32_t n_out;    // tokens asked for
    int32_t turn;     // 0 = starts a conversation (every request of the others does)
    // first tokens that a request before it had too, warm-ups included; of later turns 0: the server's counts say
    int32_t n_shared;
} tk_workload_request;

typedef struct tk_workload {
    tk_workload_request *requests; // n_request, then n_warmup others to warm up with
    int32_t n_request, n_warmup;
    tk_prompt system; // multi-turn: shared by all conversations; text NULL = none
} tk_workload;

// TK_USAGE for options that do not go together, TK_BAD_INPUT for a broken file with its line.
tk_status tk_workload_make(const tk_workload_opts *o, const tk_prompt_source *s, tk_workload *out,
                           tk_err *err);
void tk_workload_free(tk_workload *w); // all zero is fine

#endif
