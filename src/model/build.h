// SPDX-License-Identifier: MIT
// What the family files use to write a program: buffers, weights by their name in either file format, and
// operations. A failure sticks in `st`, so that a family reads as a list of its operations.
#ifndef TK_MODEL_BUILD_H
#define TK_MODEL_BUILD_H

#include "model/program.h"

typedef struct tk_build {
    tk_program *p;
    const tk_ckpt *ckpt; // NULL: a plan, every weight is taken as the config has it, without data
    tk_err *err;
    tk_status st;
    bool in_mtp; // operations go to mtp_ops, weights are marked
    int layer;   // of the operations added now, -1 outside
} tk_build;

// A weight's place in a model, with its name in a Hugging Face snapshot and in a GGUF file; %d = layer.
typedef struct tk_name {
    const char *hf, *gguf;
} tk_name;

// A new activation buffer of `width` floats per token: its whole view.
tk_view tk_build_buf(tk_build *b, int32_t width);
tk_view tk_build_slice(tk_view v, int32_t off, int32_t n);

// Finds and checks a matrix or a vector ("X.weight" or "X.bias" is part of the name). Index, or -1 on failure.
int32_t tk_build_matrix(tk_build *b, tk_name name, tk_weight_role role, int64_t n_out,
                        int64_t n_in);
int32_t tk_build_vector(tk_build *b, tk_name name, tk_weight_role role, int64_t n);
// n_expert matrices of one kind, next to each other; HF names hold two %d (layer, expert), GGUF has one
// merged tensor [expert][out][in]. Index of the first.
int32_t tk_build_experts(tk_build *b, tk_name name, int n_expert, int64_t n_out, int64_t n_in);
// An alias of weight w under its own role (tied embeddings).
int32_t tk_build_alias(tk_build *b, int32_t w, tk_weight_role role);
// The input of n weights from `first` on is not to be rounded to 8 bits.
void tk_build_fine(tk_build *b, int32_t first, int n);
bool tk_build_has(tk_build *b, tk_name name);

tk_op *tk_build_op(tk_build *b, tk_op_kind kind);
void tk_build_rmsnorm(tk_build *b, tk_view in, tk_view out, int32_t w);
void tk_build_linear(tk_build *b, tk_view in, tk_view out, int32_t w, int32_t bias);
void tk_build_add(tk_build *b, tk_view to, tk_view from);

// A gated MLP of inner width d_ff, its names and role: out = down(silu(gate in) * up in).
typedef struct tk_mlp_names {
    tk_name gate, up, down;
} tk_mlp_names;
typedef struct tk_mlp_op {
    tk_mlp_names names;
    tk_weight_role role;
    tk_view in, gate, up, out; // gate, up: d_ff wide
    bool bias;
} tk_mlp_op;
void tk_build_gate_up(tk_build *b, const tk_mlp_op *m); // both products,
void tk_build_down(tk_build *b, const tk_mlp_op *m);    // and what follows them
// Scores of all experts, and with them the sum of the chosen ones.
void tk_build_router(tk_build *b, tk_view in, tk_view scores);
void tk_build_routed(tk_build *b, tk_view in, tk_view scores, tk_view out);

// The families. Each writes p's layers and, when the checkpoint has them, its MTP layers.
void tk_build_llama(tk_build *b);    // llama, mistral, qwen2, qwen3, qwen3_moe
void tk_build_deepseek(tk_build *b); // deepseek_v2, deepseek_v3

#endif
