// SPDX-License-Identifier: MIT
// Serving in steady state: a fixed number of users, each sending its next request when the last is answered
// (closed loop), or as many as a latency limit allows. Mean values; percentiles come from plan/sim.h.
//
//   colocated      TPOT(b) = step(b)/tau + (b/osl) prefill mix,  b = min(users, cache)
//   disaggregated  users = b + X (prefill),  X = b / (osl TPOT(b)) <= rate of the prefill pool
//   waiting        by Little's law: users / X - osl TPOT - prefill
#ifndef TK_PLAN_SERVE_H
#define TK_PLAN_SERVE_H

#include "plan/cost.h"

typedef struct tk_serve_in {
    tk_case decode;  // colocated: does both
    tk_case prefill; // disaggregated only
    bool disagg;
    int n_prefill, n_decode; // replicas; n_prefill 0 = as many as keep up
    double isl, osl;         // tokens, means
    double hit;              // share of the prompt found in the prefix cache, 0..1
    double users;            // over all decode replicas; 0 = as many as fit
    double max_batch;        // sequences of one replica, 0 = no bound but memory
    double tpot_limit_s;     // 0 = none: users are lowered until TPOT is within
    int mtp;                 // draft tokens per step
    double accepted;         // tokens per step with mtp drafts, needed when mtp > 0
    double rounds;     // prompts of each user from a common start, 0 = steady state (plan/rounds.h)
    double time_scale; // multiplies the time per token, 0 = 1 (plan/effects.h)
    double step_scale; // multiplies the step, 0 = 1 (for drafts that a row does not state)
} tk_serve_in;

typedef struct tk_serve_out {
    double running;  // sequences of one decode replica
    double users;    // those and the waiting, all replicas
    double capacity; // sequences that the cache of one replica holds
    double tpot_s, ttft_s, prefill_s, wait_s;
    double
        itl_median_s; // of the gaps between tokens: most steps carry no prompt, so it is below TPOT
    double req_per_s, out_tok_per_s; // all replicas
    tk_cost step, prompt;            // of one replica: a decode step, the prefill of one request
    double n_accel;
    const char *limit; // what bounds the rate: "users", "memory", "latency", "prefill"
} tk_serve_out;

// TK_NOMEM when the weights do not fit or not one sequence does.
tk_status tk_serve(const tk_serve_in *in, tk_serve_out *out, tk_err *err);

// Where a case lies, in octaves, for plan/effects.h: sequences, tokens, ranks of a replica.
void tk_serve_trait(const tk_serve_in *in, tk_stage stage, double at[3]);

#endif
