// SPDX-License-Identifier: MIT
// What each of several changes contributed to a gain. Exact Shapley values over all 2^n subsets: a change's
// mean contribution over every order in which the changes could be made (Shapley 1953). Applied to the log of
// throughput at a fixed service level, so that a product of gains splits into a sum.
#ifndef TK_PLAN_SHAPLEY_H
#define TK_PLAN_SHAPLEY_H

#include "plan/search.h"

enum { TK_SHAPLEY_MAX = 12 };

// v[2^n] by subset (bit i = change i made). phi sums to v[all] - v[none]. first and last (may be NULL): the
// contribution when made alone first and last of all; their distance is the interaction with the others.
void tk_shapley(int n, const double *v, double *phi, double *first, double *last);

// The changes between an old and a new way of serving. X(id, name, what must be there for it to act)
#define TK_FACTOR_MAP(X)                                                                           \
    X(HARDWARE, "hardware", "-")                                                                   \
    X(NVFP4, "NVFP4 weights", "a part with FP4 (Blackwell)")                                       \
    X(FP8, "FP8 weights", "a part with FP8 (Hopper on); no effect under NVFP4")                    \
    X(FP8_KV, "FP8 KV cache", "a part with FP8")                                                   \
    X(PAGED, "paged KV cache", "-")                                                                \
    X(DRAFTS, "speculation (MTP)", "a model with measured acceptance")                             \
    X(TOPOLOGY, "attention DP and expert parallelism", "more than one accelerator; experts")       \
    X(KERNELS, "kernels and fixed time", "software of 2026 in place of 2024.5")

typedef enum tk_factor {
#define X(id, name, gate) TK_FACTOR_##id,
    TK_FACTOR_MAP(X)
#undef X
        TK_FACTOR_COUNT
} tk_factor;
const char *tk_factor_name(int i);
const char *tk_factor_gate(int i);

typedef struct tk_attribution {
    double rate[1 << TK_FACTOR_COUNT]; // tokens/s per accelerator at the level
    double phi[TK_FACTOR_COUNT], first[TK_FACTOR_COUNT], last[TK_FACTOR_COUNT]; // of log rate
    double path[TK_FACTOR_COUNT + 1]; // rate as the factors are added in their order
    int n_outside; // subsets that no layout serves within the level: penalised by their excess
} tk_attribution;

// `to` is the new way; `from` the old machine. Both get n_accel accelerators of to. TK_NOMEM when neither end fits.
tk_status tk_attribute(const tk_search_in *to, const tk_hw *from, tk_attribution *out, tk_err *err);

#endif
