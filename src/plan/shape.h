// SPDX-License-Identifier: MIT
// What a model costs, layer by layer: parameters, KV floats and FLOP coefficients, independent of hardware.
// Read off the program the engine executes (tk_shape_from_program) or, for models the engine cannot run, from
// a description in the catalogue (tk_shape_from_json) that yields the same quantities: a test holds the two
// equal on every model that has both. Plain values, any thread.
#ifndef TK_PLAN_SHAPE_H
#define TK_PLAN_SHAPE_H

#include "base/json.h"
#include "model/program.h"

enum { TK_SHAPE_LAYERS = 16 };

// A run of equal layers. Counts are of parameters and floats, doubles because they multiply far.
typedef struct tk_shape_layer {
    int n;                  // layers like this one
    double attn_sharded;    // attention parameters that tensor parallelism cuts
    double attn_replicated; // and those every rank holds (latent down-projections, indexers)
    double attn_out;        // of attn_sharded, the output projection of latent attention
    double ffn;             // dense MLP and shared experts
    double router;
    int n_expert, n_used;
    int n_route, n_route_used; // groups of experts, of which a token may use so many; 0: any expert
    double expert;             // parameters of one routed expert
    double kv;                 // floats cached per token
    double state;              // floats of recurrent state per sequence (linear attention)
    int kv_heads; // cached heads that tensor parallelism can cut; 1 = the latent, held by every rank
    int n_head;   // query heads, which tensor parallelism must divide
    double ctx_flop;         // attention FLOP per query token and context token, decode form
    double ctx_flop_prefill; // the same when keys and values are expanded once
    int window;              // tokens attended at most, 0 = all
    double ratio;            // context tokens per cached entry (compressed attention), 1 = all kept
    double index;            // floats per token of a sparse index that is read whole
    int n_gemm;              // matrix products of a step, for fixed time
} tk_shape_layer;

typedef struct tk_shape {
    char name[64];
    int n_layer, hidden, vocab, n_mtp;
    bool tied;
    bool mla;
    int n_group;
    tk_shape_layer layer[TK_SHAPE_LAYERS];
} tk_shape;

tk_status tk_shape_from_program(const tk_program *p, const char *name, tk_shape *out, tk_err *err);
tk_status tk_shape_from_config(const tk_config *cfg, const char *name, tk_shape *out, tk_err *err);
tk_status tk_shape_from_json(const json_t *shape, const char *name, const char *where,
                             tk_shape *out, tk_err *err);

typedef struct tk_shape_size {
    double total, active;                         // parameters; active counts one embedding row
    double attention, ffn, expert, router, embed; // of total
    double kv_floats; // cached per token, windows and ratios not applied
    bool moe;
} tk_shape_size;
void tk_shape_measure(const tk_shape *s, tk_shape_size *out);

// Cached floats that a sequence of n_ctx tokens holds (windows, ratios and state applied), all layers.
double tk_shape_kv_floats(const tk_shape *s, double n_ctx);
// Forward FLOP of one token, matrices only, and of attention at n_ctx context tokens.
double tk_shape_linear_flop(const tk_shape *s);
double tk_shape_attention_flop(const tk_shape *s, double n_ctx, bool prefill);

#endif
