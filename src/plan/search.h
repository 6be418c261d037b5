// SPDX-License-Identifier: MIT
// Every legal layout and batch of a number of accelerators, priced; those within the service level; of them the
// ones no other beats at once in tokens/s of a user, tokens/s of an accelerator, joules and dollars per token.
// Aggregated: equal replicas that read prompts and decode. Disaggregated (search_pools.c): instances of one layout read
// prompts, instances of another decode, and each prompt's cache travels between them.
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
    bool aggregated;   // no separate pools
    double cache_used; // share of the cache that holds tokens: below 1 without paging; 0 = 1
} tk_search_in;

typedef enum tk_kind { TK_KIND_AGGREGATED, TK_KIND_DISAGGREGATED, TK_KIND_COUNT } tk_kind;

typedef struct tk_option {
    tk_kind kind;
    tk_layout at;       // of a replica; disaggregated: of an instance of the decode pool
    int n_replica, mtp; // disaggregated: instances of the decode pool
    double batch;       // sequences of one replica
    tk_layout prefill;  // disaggregated: of an instance of the prefill pool
    int n_prefill;      // and how many
    int n_accel;        // that are paid for: all that were given, idle ones too
    double time_scale;  // of tokens, beyond the cost model's causes; 0 = 1
    tk_serve_out serve; // aggregated: of one replica; disaggregated: of all
    tk_power power;     // mean of those that work
    double tok_s_user, tok_s_accel, joule_per_tok, usd_per_mtok;
    bool within; // the service level
} tk_option;

typedef struct tk_search_out {
    tk_option *front; // within the level, undominated, fastest for a user first; free with tk_free
    int n_front;
    tk_option best; // most tokens/s per accelerator within the level
    bool found;
    tk_option of_kind[TK_KIND_COUNT]; // the same, either way of serving by itself
    bool has_kind[TK_KIND_COUNT];
    tk_option nearest; // without any within: the one whose limits are exceeded least
    long n_tried, n_fit;
    double seconds; // processor time
} tk_search_out;

// TK_NOMEM when the model fits no layout of n_accel accelerators.
tk_status tk_search(const tk_search_in *in, tk_search_out *out, tk_err *err);

// "TP8 EP8 MTP1", "2 x [TP4] prefill, 1 x [DP8 EP8] decode".
enum { TK_OPTION_NAME = 160 };
void tk_option_name(const tk_option *o, char out[TK_OPTION_NAME]);
const char *tk_kind_name(tk_kind k);

// One aggregated layout and batch; false when it does not fit.
bool tk_search_price(const tk_search_in *in, const tk_layout *at, int mtp, double batch,
                     tk_option *out);

#endif
