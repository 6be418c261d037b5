// SPDX-License-Identifier: MIT
// The program: what a model does to T tokens of B sequences, as a flat list of operations over named weights,
// KV views and activation buffers. It is what exec runs, plan prices and inspect prints; nothing else in the
// project knows what a "layer" of a family is made of.
//
// An activation buffer holds `width` floats for each token of the step. A view is a slice of every row.
// Residual stream, norm output and so on are ordinary buffers; operations run in list order.
//
//   embed       out = W[id]
//   rmsnorm     out = in / rms(in) * w, over groups of `n_group_len` values (a head, or the whole row)
//   linear      out = W in (+ b)
//   rope        in place: rotates the last `rope_dims` of each of n_head heads of width d_head
//   kv_write    appends k and v (GQA) or [latent | rope key] (MLA) of each token to the layer's cache
//   attend_gqa  out = softmax(scale q K^T) V over the sequence's cache, causal, optional window
//   attend_mla  the same over the latent cache. Absorbed (decode): q' = W_UK^T q_nope meets the latent
//               directly and W_UV is applied to the mixed latent. Expanded (long prefill): K and V are made
//               from the latent once per step. Equal in exact arithmetic; exec picks by the step's shape.
//   swiglu      out = silu(gate) * up
//   route       scores -> the experts of each token and their weights
//   experts     out = sum over the token's experts of weight * down(swiglu(gate in, up in))
//   add         out += in
//   head        logits = W in, only for the tokens whose logits are asked for
#ifndef TK_MODEL_PROGRAM_H
#define TK_MODEL_PROGRAM_H

#include "model/config.h"
#include "num/matrix.h"
#include "store/checkpoint.h"

#include <stddef.h>
#include <stdint.h>

#define TK_OP_MAP(X)                                                                               \
    X(EMBED, "embed")                                                                              \
    X(RMSNORM, "rmsnorm")                                                                          \
    X(LINEAR, "linear")                                                                            \
    X(ROPE, "rope")                                                                                \
    X(KV_WRITE, "kv_write")                                                                        \
    X(ATTEND_GQA, "attend_gqa")                                                                    \
    X(ATTEND_MLA, "attend_mla")                                                                    \
    X(SWIGLU, "swiglu")                                                                            \
    X(ROUTE, "route")                                                                              \
    X(EXPERTS, "experts")                                                                          \
    X(ADD, "add")                                                                                  \
    X(HEAD, "head")

typedef enum tk_op_kind {
#define X(id, name) TK_OP_##id,
    TK_OP_MAP(X)
#undef X
} tk_op_kind;

typedef struct tk_view {
    int16_t buf; // index of an activation buffer, -1 = none
    int32_t off; // first float in the row
    int32_t n;   // floats
} tk_view;

#define TK_VIEW_NONE ((tk_view){.buf = -1})

typedef struct tk_op {
    tk_op_kind kind;
    int16_t layer; // -1 outside layers
    tk_view in, in2, out;
    int32_t w; // first weight (index into weights), -1 = none
    int32_t w2,
        w3;    // experts: first gate, up, down; mla: kv_b (w2 = its value half when stored apart)
    int32_t b; // bias vector, -1 = none
    int32_t n_head, d_head; // rope, rmsnorm over heads
    int32_t rope_dims;
    int32_t window; // attention reaches this many tokens back, 0 = all
} tk_op;

typedef enum tk_weight_role { // for counting and for what may be quantised
    TK_ROLE_EMBED,
    TK_ROLE_HEAD,
    TK_ROLE_NORM,
    TK_ROLE_ATTENTION,
    TK_ROLE_MLP,
    TK_ROLE_ROUTER,
    TK_ROLE_SHARED_EXPERT,
    TK_ROLE_EXPERT,
    TK_ROLE_MTP,
} tk_weight_role;

typedef struct tk_weight {
    char *name; // owned; as in the checkpoint
    tk_weight_role role;
    bool is_mtp;   // belongs to a multi-token-prediction layer: not read by a plain decode step
    bool is_alias; // same memory as an earlier weight (tied embedding)
    bool is_fine;  // its input is not to be rounded to 8 bits (docs/decisions/0002)
    tk_matrix m;   // vectors are n_out x 1
} tk_weight;

typedef struct tk_program {
    tk_config cfg;
    tk_op *ops; // the whole forward pass, embed .. head
    int n_op;
    tk_op *
        mtp_ops; // one block per MTP layer, same buffers; in: hidden after the final norm and next id
    int n_mtp_op;
    tk_weight *weights;
    int n_weight;
    int32_t *buf_width; // floats per token
    int n_buf;
    int32_t kv_k_width, kv_v_width; // floats per token and layer; MLA: k = latent + rope key, v = 0
    int32_t rope_freq_weight;       // GGUF's rope_freqs.weight divisors, -1 = none
    // private: growth
    int cap_op_, cap_mtp_op_, cap_weight_, cap_buf_;
} tk_program;

// Builds and binds the program of a checkpoint: every weight is found, its shape and type checked against
// the config; nothing is read but headers and scales. Free with tk_program_free.
tk_status tk_program_build(const tk_ckpt *ckpt, tk_program **out, tk_err *err);
// The program of a config without a checkpoint: names, roles and shapes of every weight, m.data NULL. It can
// be listed, not run. cfg->is_gguf chooses the names.
tk_status tk_program_plan(const tk_config *cfg, tk_program **out, tk_err *err);
void tk_program_free(tk_program *p); // NULL is fine

const char *tk_op_name(tk_op_kind k);
const char *tk_role_name(tk_weight_role r);

typedef struct tk_program_size {
    uint64_t params_total,
        params_active; // active: read for one token, MTP not counted, embedding row counted as one row
    uint64_t params_mtp;
    uint64_t bytes_total;  // as stored, scales included
    uint64_t bytes_active; // read per decoded token at batch 1
    uint64_t bytes_by_dtype[TK_DTYPE_COUNT];
    uint64_t params_by_dtype[TK_DTYPE_COUNT];
    uint64_t kv_floats_per_token; // all layers
} tk_program_size;

void tk_program_measure(const tk_program *p, tk_program_size *out);

#endif
