// SPDX-License-Identifier: MIT
// Every legal layout and batch of a number of accelerators, priced; those within the service level; of them the
// ones no other beats at once in tokens/s of a user, tokens/s of an accelerator, joules and dollars per token.
// One thread; deterministic.
#ifndef TK_PLAN_SEARCH_H
#define TK_PLAN_SEARCH_H

#include "plan/effects.h"
#include "plan/energy.h"

typedef struct tk_qos {
    double ttft_s, tpot_s, latency_s; // limits on means; 0 = none. latency: the whole answer
    double isl, osl, hit;             // tokens, tokens, share of the prompt in the prefix cache
    double power_w;                   // budget of all accelerators at the wall; 0 = none
} tk_qos;

typedef struct tk_search_in {
    const tk_hw *hw;
    const tk_model_entry *model;
    const tk_params *k;
    const tk_effects *fx;  // NULL: none
    const char *precision; // the word of prec, for fx
    tk_backend backend;
    tk_precision prec;
    double year;
    int n_accel;            // to use at most
    double usd_per_accel_h; // 0 = unknown: dollars are left out
    tk_qos qos;
    // what attribution switches off; all false/0 = everything allowed
    bool tp_only; // no data-parallel attention, no expert parallelism
    bool no_drafts;
    double cache_used; // share of the cache that holds tokens: below 1 without paging; 0 = 1
} tk_search_in;

typedef struct tk_option {
    tk_layout at;
    int n_replica, mtp;
    double batch; // sequences of one replica
    tk_serve_out serve;
    tk_power power;
    double tok_s_user, tok_s_accel, joule_per_tok, usd_per_mtok;
    bool within; // the service level
} tk_option;

typedef struct tk_search_out {
    tk_option *front; // within the level, undominated, fastest for a user first; free with tk_free
    int n_front;
    tk_option best; // most tokens/s per accelerator within the level
    bool found;
    tk_option nearest; // without any within: the one whose limits are exceeded least
    long n_tried, n_fit;
    double seconds; // processor time
} tk_search_out;

// TK_NOMEM when the model fits no layout of n_accel accelerators.
tk_status tk_search(const tk_search_in *in, tk_search_out *out, tk_err *err);

// One layout and batch; false when it does not fit.
bool tk_search_price(const tk_search_in *in, const tk_layout *at, int mtp, double batch,
                     tk_option *out);

#endif
