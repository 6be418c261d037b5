// SPDX-License-Identifier: MIT
// Serving in steady state: a fixed number of users, each sending its next request when the last is answered
// (closed loop), or as many as a latency limit allows. Mean values; percentiles come from plan/sim.h.
//
//   colocated      TPOT(b) = step(b)/tau + (b/osl) prefill mix,  b = min(users, cache)
//   disaggregated  users = b + X (prefill + transfer),  X = b / (osl TPOT(b)) <= rate of the prefill pool, of the wire
//   transfer       of a prompt's cache to the decode pool: latency + bytes of the busiest rank / its link
//   waiting        by Little's law: users / X - osl TPOT - prefill - transfer
//   queue          of prompts behind others, M/D/c (Sakasegawa): S rho^(sqrt(2 (c + 1)) - 1) / (2 c (1 - rho))
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
    double queue_s; // of ttft_s: behind other prompts (steady state)
    double
        prefill_busy; // share of the time that goes to prompts; of the prefill pool, where it is apart
    double transfer_s, transfer_bytes; // of one prompt's cache to the decode pool; 0 colocated
    bool transfer_near;                // both pools lie in one scale-up domain
    double
        itl_median_s; // of the gaps between tokens: most steps carry no prompt, so it is below TPOT
    double req_per_s, out_tok_per_s; // all replicas
    tk_cost step, prompt;            // of one replica: a decode step, the prefill of one request
    double n_accel;
    const char *limit; // what bounds the rate: "users", "memory", "latency", "prefill",
                       // "transfer"
} tk_serve_out;

// TK_NOMEM when the weights do not fit or not one sequence does.
tk_status tk_serve(const tk_serve_in *in, tk_serve_out *out, tk_err *err);

// One instance of in->prefill: seconds of a prompt that is alone, prompts per second at most. TK_NOMEM when it does not
// hold the weights, a prompt being read and one being sent for each of its attention replicas.
tk_status tk_serve_prefill(const tk_serve_in *in, double *alone_s, double *req_per_s, tk_err *err);

// Mean wait of Poisson arrivals for one of n servers that are busy a share of the time, each serving in s seconds.
double tk_serve_queue(double n, double busy, double s);

// Where a case lies, in octaves, for plan/effects.h: sequences, tokens, ranks of a replica.
void tk_serve_trait(const tk_serve_in *in, tk_stage stage, double at[3]);

#endif
