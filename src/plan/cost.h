// SPDX-License-Identifier: MIT
// What one step of the program costs on one machine under one layout: time by cause, bytes of memory, bytes
// moved and FLOP done (for power). Pure functions of their arguments; any thread; nothing allocates.
//
//   t_op   = (t_flop^p + t_mem^p)^(1/p), p = 4: a maximum with a soft corner
//   t_flop = FLOP / (ec peak),  t_mem = bytes / (em bandwidth)
//   t_step = sum over layers [attention + FFN or experts + collectives + fixed(backend, date)] + head + step
//            - exchange that two micro-batches hide (wide expert parallelism)
#ifndef TK_PLAN_COST_H
#define TK_PLAN_COST_H

#include "plan/catalog.h"
#include "plan/param.h"
#include "plan/points.h"

// Bytes per weight and the rate its product runs at, by part of the model.
typedef struct tk_precision {
    double attn_bytes, ffn_bytes, expert_bytes, head_bytes, kv_bytes;
    double attn_out_bytes; // of latent attention's output projection
    tk_prec attn, attn_out, ffn, expert;
    bool soft_fp8; // FP8 decoded in software on parts without it
} tk_precision;

// From a catalogue's or a point's word: bf16, fp8, fp4, nvfp4, mxfp4 ("fp8 (gemm fp8, moe fp8_block)" works).
// kv_bytes 0 = what the backend does by default. TK_BAD_INPUT for a word that is none of them.
tk_status tk_precision_parse(const char *word, const tk_shape *s, const tk_hw *hw, tk_backend b,
                             tk_precision *out, tk_err *err);

typedef struct tk_case {
    const tk_hw *hw;
    const tk_shape *shape;
    const tk_params *k;
    tk_precision prec;
    tk_layout at; // complete (tk_layout_complete)
    tk_backend backend;
    double year;        // of the software, 2025.75 = the reference
    double power_cap_w; // 0 = none
    double fixed_scale; // multiplies fixed times (tuned kernels, no graphs); 1 = plain
    double mem_share;   // of usable memory that weights and cache may take, 0.9
} tk_case;

// Fills what a layout leaves open from the number of accelerators of a replica: dp, moe_tp, ep, pp. TK_BAD_INPUT
// with the reason when it cannot be (heads that tp does not divide, experts that do not cover the ranks).
tk_status tk_layout_complete(tk_layout *l, const tk_shape *s, int n_accel, tk_err *err);
int tk_layout_ranks(const tk_layout *l); // accelerators of one replica

typedef struct tk_work {
    double n_seq; // sequences of a replica
    double n_tok; // new tokens of each
    double n_ctx; // mean context they attend to
    bool prefill;
} tk_work;

typedef struct tk_cost {
    double s; // total, seconds
    double linear, expert, attention, comm, fixed, host;
    double flop, mem_bytes; // of one accelerator
    double flop_s;          // of s, that its tensor cores would be busy at the rate they reach
} tk_cost;

void tk_cost_step(const tk_case *c, const tk_work *w, tk_cost *out);

// All-reduce of `bytes` over n ranks, seconds: the cheaper of one-shot and two-shot in the scale-up domain; ring
// over the network between domains on what is left.
double tk_cost_all_reduce(const tk_case *c, int n, double bytes);
// Dispatch and combine of an MoE layer over ep ranks: tokens of one rank, hidden floats each.
double tk_cost_all_to_all(const tk_case *c, int n, double bytes);

// One rank's `bytes` of a cache to a rank of another pool: over the links of the scale-up domain when `near`, else over
// its NIC.
double tk_cost_transfer(const tk_case *c, double bytes, bool near);

// Distinct experts of E that T tokens touch when each draws k: E (1 - (1 - k/E)^T).
double tk_cost_experts_touched(double n_expert, double n_used, double n_tok);

// Of n equal parts that hold the experts of a layer (ranks, nodes), those that a token's experts lie in. Where it may use
// experts of n_route_used of n_route groups alone (DeepSeek-V3), fewer.
double tk_cost_parts_touched(const tk_shape_layer *l, double n);

typedef struct tk_memory {
    double weights, reserve, available; // bytes of one accelerator
    double kv_per_token;                // bytes of one accelerator per token of a sequence it holds
    double kv_tokens; // tokens a whole replica can cache; <= 0: the weights do not fit
} tk_memory;
void tk_cost_memory(const tk_case *c, double n_ctx, tk_memory *out);

// Utilisations of this part and precision, fitted.
double tk_cost_peak(const tk_case *c, tk_prec p); // FLOP/s reached
double tk_cost_bandwidth(const tk_case *c, double bytes_per_weight);

#endif
