// SPDX-License-Identifier: MIT
// Time and memory of a training step.
//
//   t_step = t_mb (m + bubble (p - 1)/v) + t_sync,   m = batch / (DP micro-batch)
//   t_mb   = [3 FLOP_linear / (u peak) + 3 FLOP_attention / (u' peak16)] / (TP PP CP) + TP and EP exchange
//   t_sync: gradients and weights beyond what the backward pass hides; a slow growth with scale
//
// Memory per accelerator by ZeRO stage; run time with checkpoints and failures (Young 1974, Daly 2006). Pure.
#ifndef TK_PLAN_TRAIN_H
#define TK_PLAN_TRAIN_H

#include "plan/cost.h"

typedef enum tk_train_prec {
    TK_TRAIN_BF16,
    TK_TRAIN_FP8,
    TK_TRAIN_MXFP8,
    TK_TRAIN_FP4
} tk_train_prec;
typedef enum tk_recompute {
    TK_RECOMPUTE_NONE,
    TK_RECOMPUTE_SELECTIVE,
    TK_RECOMPUTE_FULL
} tk_recompute;

typedef struct tk_train_in {
    const tk_hw *hw;
    const tk_shape *shape;
    const tk_params *k;
    tk_layout at; // tp, pp, cp, vp, ep, mbs; data parallelism is what n_accel leaves
    int n_accel;
    double batch, seq; // sequences of a step (0 = many), tokens of one
    tk_train_prec prec;
    tk_recompute recompute;
    bool lora;
    int zero; // 0..3
    double year;
} tk_train_in;

typedef struct tk_train_out {
    double step_s, tok_per_s_accel, mfu; // mfu on the dense FP8 peak (BF16 where there is none)
    double micro_s, bubble_s, sync_s, comm_s;
    double flop_per_tok;
    double mem_bytes, mem_weights, mem_optimizer, mem_activations; // of one accelerator
    int dp;
} tk_train_out;

// TK_BAD_INPUT when the layout does not divide the accelerators, layers or batch.
tk_status tk_train_step(const tk_train_in *in, tk_train_out *out, tk_err *err);

// Wall time of `work_s` seconds of steps on n accelerators, each failing once in mtbf_h hours on average:
// checkpoints of write_s seconds at the optimal interval, restart_s lost per failure besides half an interval.
double tk_train_wall(double work_s, double n, double mtbf_h, double write_s, double restart_s);

#endif
