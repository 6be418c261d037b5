// SPDX-License-Identifier: MIT
// Between search.c (layouts, the service level, the front) and search_pools.c (separate pools).
#ifndef TK_PLAN_SEARCH_PRIV_H
#define TK_PLAN_SEARCH_PRIV_H

#include "plan/search.h"

typedef struct tk_searcher {
    const tk_search_in *in;
    tk_search_out *out;
    tk_effects_field field; // of the kind that is being tried
} tk_searcher;

typedef void (*tk_layout_fn)(tk_searcher *s, const tk_layout *at, void *ctx);
// Every legal layout of a replica of `ranks` accelerators.
void tk_search_each_layout(tk_searcher *s, int ranks, tk_layout_fn fn, void *ctx);
// Drafts worth trying, 0..result.
int tk_search_max_drafts(const tk_search_in *in);

// Batches in quarter octaves, the rate is smooth in them: the one after b.
double tk_search_next_batch(double b);
enum { TK_SEARCH_MAX_BATCH = 16384 };

// A serving case of the search's model, machine and software.
tk_serve_in tk_search_serving(const tk_search_in *in, const tk_layout *at, int mtp);
// What it does beyond the cost model's causes, where it lies.
void tk_search_effects(const tk_searcher *s, tk_serve_in *serve);
// out->serve is known: power, rates over `working` accelerators of out->n_accel, dollars, whether within the level.
void tk_search_judge(const tk_search_in *in, const tk_serve_in *s, int working, tk_option *out);
// To the best, the nearest and the front.
void tk_search_offer(tk_searcher *s, const tk_option *o);

// Every pair of pools.
void tk_search_pools(tk_searcher *s);

#endif
