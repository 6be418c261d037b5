// SPDX-License-Identifier: MIT
// One replica served request by request: arrivals or a closed loop, admission by cache blocks, continuous
// batching with chunked prompts, preemption by recomputation, optionally a separate pool for prompts. What a
// step costs is asked of a function, so that the machine is the cost model's and a test's is a formula.
//
// A step is O(1) and a request O(log n): sequences that grow by one token a step cross block boundaries in
// turn, so counting them by (length - step) mod page tells how many blocks a step needs, and completions wait
// in a heap ordered by step. Deterministic for a seed. One thread.
//
// Invariants (tests/plan/test_sim.c): blocks in use = sum of ceil(length / page) and never exceed the pool;
// every request ends exactly once; M/D/1 and M/M/1 waits are the closed forms'.
#ifndef TK_PLAN_SIM_H
#define TK_PLAN_SIM_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

// Seconds of a step: n_seq sequences decode one token each over n_ctx cached tokens in all, and n_prompt tokens of
// prompts are read.
typedef double (*tk_sim_step_fn)(void *ctx, double n_seq, double n_ctx, double n_prompt);

typedef struct tk_sim_in {
    int64_t n_request;
    uint64_t seed;
    double rate; // requests per second, Poisson; 0: a closed loop of users
    int users;
    double isl, osl;       // tokens, means
    double isl_cv, osl_cv; // coefficient of variation of log-normal lengths; 0 = all equal
    bool exponential;      // lengths of prompts exponential in place of log-normal
    double hit;         // share of a prompt that is in the prefix cache: not read, not stored again
    int max_batch;      // sequences at once
    int chunk;          // tokens of prompts in a step
    bool whole_prompts; // a step reads one whole prompt and nothing else (no chunking)
    int64_t n_block;    // of the cache
    int page;           // tokens of a block
    double tokens_per_step; // of a sequence: 1, or what speculation accepts
    int n_prefill;          // separate servers for prompts; 0 = colocated
    double transfer_s;      // of a prompt's cache to the decode pool, before the first token
    double ttft_limit_s, tpot_limit_s; // for goodput; 0 = none
    tk_sim_step_fn step;
    void *ctx;
} tk_sim_in;

typedef struct tk_sim_stat {
    double mean, p50, p90, p99;
} tk_sim_stat;

typedef struct tk_sim_out {
    tk_sim_stat ttft, tpot, latency;          // seconds
    double req_per_s, out_tok_per_s, goodput; // goodput: share of requests within all limits
    double busy;                              // share of the time in steps
    double batch;                             // mean sequences of a step
    int64_t n_step, n_preempt, peak_block;
    double span_s;  // simulated
    double seconds; // processor time of the simulation
} tk_sim_out;

tk_sim_in tk_sim_default(void);
// TK_BAD_INPUT: limits; TK_NOMEM: a prompt and its answer that the whole cache does not hold.
tk_status tk_sim(const tk_sim_in *in, tk_sim_out *out, tk_err *err);

#endif
