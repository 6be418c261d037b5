// SPDX-License-Identifier: MIT
// How fast the engine's step is, without a server: llama-bench's tests (a prompt, a generation, both, behind
// a context) and llama-batched-bench's (several sequences decoded in the same steps). Token ids are random,
// other ones for each sequence and repetition, since experts are chosen by them. Owner: the engine's thread.
#ifndef TK_BENCH_KERNEL_H
#define TK_BENCH_KERNEL_H

#include "base/status.h"
#include "bench/traffic.h"
#include "engine/engine.h"
#include "kernels/roof.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tk_bench_test {
    int32_t n_prompt;   // tokens of each sequence to prefill, timed
    int32_t n_gen;      // tokens of each sequence to decode one a step, timed
    int32_t n_depth;    // tokens of each sequence before that, not timed
    int32_t n_parallel; // sequences, >= 1
    int32_t n_batch,
        n_ubatch; // a prompt step has at most the smaller of these (and what the engine takes)
} tk_bench_test;

typedef struct tk_bench_opts {
    int n_rep; // >= 1
    bool warmup;
    uint64_t seed;
    bool profile;                // time each operation too
    const atomic_int *interrupt; // looked at between steps; non-zero = TK_INTERRUPTED; NULL = never
} tk_bench_opts;

// The work of one repetition, on average: weights read (each step reads what it uses once: of experts those
// that some token chose) and 2 operations per weight and token. Attention's own products are not counted.
typedef struct tk_bench_work {
    double prompt_bytes, prompt_flop;
    double gen_bytes, gen_flop;
    double n_step;
} tk_bench_work;

typedef struct tk_bench_result {
    tk_bench_test test;
    int32_t n_step_tok; // tokens a prompt step really had
    int n_rep;
    uint64_t *samples_ns; // [n_rep], owned
    tk_bench_work work;
    // with `profile`, [n_op], of all repetitions together, owned; else NULL
    uint64_t *op_ns;
    tk_traffic_sum *op_work;
} tk_bench_result;

// Tokens of KV cache the test needs.
int64_t tk_bench_test_ctx(const tk_bench_test *t);
// The engine must be loaded with that much. Free the result with tk_bench_result_free. TK_NOMEM when the
// sequences are more than a step takes.
tk_status tk_bench_kernel(tk_engine *e, const tk_bench_test *t, const tk_bench_opts *opts,
                          tk_bench_result *out, tk_err *err);
void tk_bench_result_free(tk_bench_result *r); // all zero is fine

#endif
