// SPDX-License-Identifier: MIT
// The constants of the cost model: each with a prior (what is known without the points, from operator tables
// and data sheets) and, after `tokamak plan fit`, a fitted value. They live in data/plan/constants.json.
// A fit maximises the likelihood of the points and the priors together, so a constant that no point speaks of
// stays where the prior puts it. Plain values, any thread.
#ifndef TK_PLAN_PARAM_H
#define TK_PLAN_PARAM_H

#include "base/json.h"

// Backends: whose fixed times differ. X(id, name)
#define TK_BACKEND_MAP(X)                                                                          \
    X(TRTLLM, "trtllm")                                                                            \
    X(VLLM, "vllm")                                                                                \
    X(SGLANG, "sglang")                                                                            \
    X(MLPERF, "mlperf")                                                                            \
    X(MLENERGY, "mlenergy")                                                                        \
    X(CHITU, "chitu")                                                                              \
    X(VLLM0, "vllm0") /* the engine before V1, vLLM 0.7 and older */

typedef enum tk_backend {
#define X(id, name) TK_BACKEND_##id,
    TK_BACKEND_MAP(X)
#undef X
        TK_BACKEND_COUNT
} tk_backend;
const char *tk_backend_name(tk_backend b);
// By name, with or without a version ("vllm 0.11.2", "TensorRT-LLM"); -1 when unknown.
int tk_backend_find(const char *name);

// What a constant is fitted from: serving speed, first tokens, training, power.
typedef enum tk_stage { TK_STAGE_SERVE, TK_STAGE_TTFT, TK_STAGE_TRAIN, TK_STAGE_ENERGY } tk_stage;

// The seven constants of a backend follow each other in TK_BACKEND_MAP's order.
#define TK_PARAM_PER_BACKEND(X, ID, name, unit, stage, log, a, b, c, d, e, f, g, sigma, from)      \
    X(ID##_TRTLLM, name "_trtllm", unit, stage, log, a, sigma, from)                               \
    X(ID##_VLLM, name "_vllm", unit, stage, log, b, sigma, from)                                   \
    X(ID##_SGLANG, name "_sglang", unit, stage, log, c, sigma, from)                               \
    X(ID##_MLPERF, name "_mlperf", unit, stage, log, d, sigma, from)                               \
    X(ID##_MLENERGY, name "_mlenergy", unit, stage, log, e, sigma, from)                           \
    X(ID##_CHITU, name "_chitu", unit, stage, log, f, sigma, from)                                 \
    X(ID##_VLLM0, name "_vllm0", unit, stage, log, g, sigma, from)

#define TK_FROM_GEMM "measured GEMM tables of aiconfigurator, note section 1.4, 2026-08"
#define TK_FROM_FIXED "fixed time per layer fitted on 2,665 rows, note finding 2, 2026-08"
#define TK_FROM_NCCL "NCCL 2.29 tables of aiconfigurator, note section 1.4, 2026-08"
#define TK_FROM_DEEPEP "DeepEP README, note section 1.4, 2025-05"
#define TK_FROM_GUESS "weak guess, no published figure, 2026-11"
#define TK_FROM_MTP "MTP depth curve, note finding 7, less what verifying costs, 2025-05"
#define TK_FROM_TRAIN "MLPerf Training MFU, note section 1.4, 2025-11"
#define TK_FROM_POWER "ML.ENERGY power fit, note section 5.3, 2026-02"

// X(id, name, unit, stage, log, prior, sigma, where the prior comes from). log 1: positive, the prior is
// log-normal and sigma is relative; log 0: any sign, sigma is absolute.
#define TK_PARAM_MAP(X)                                                                            \
    X(EM_AMPERE, "em_ampere", "of HBM peak", SERVE, 1, .80, .12, TK_FROM_GEMM)                     \
    X(EM_HOPPER, "em_hopper", "of HBM peak", SERVE, 1, .87, .08, TK_FROM_GEMM)                     \
    X(EM_BLACKWELL, "em_blackwell", "of HBM peak", SERVE, 1, .88, .08, TK_FROM_GEMM)               \
    X(EM_OTHER, "em_other", "of HBM peak", SERVE, 1, .70, .20, TK_FROM_GUESS)                      \
    X(EM_FP8, "em_fp8", "x bf16", SERVE, 1, .95, .10, TK_FROM_GEMM)                                \
    X(EM_FP4, "em_fp4", "x bf16", SERVE, 1, .85, .12, TK_FROM_GEMM)                                \
    X(EM_EXPERT, "em_expert", "x dense", SERVE, 1, .80, .25, TK_FROM_GUESS)                        \
    X(EM_EXPERT_FP8, "em_expert_fp8", "x bf16 experts", SERVE, 1, .80, .25, TK_FROM_GUESS)         \
    X(EM_KV, "em_kv", "of HBM peak", SERVE, 1, .70, .25, TK_FROM_GUESS)                            \
    X(EM_KV_MLA, "em_kv_mla", "of HBM peak", SERVE, 1, .50, .35, TK_FROM_GUESS)                    \
    X(EC_AMPERE, "ec_ampere", "of dense peak", SERVE, 1, .73, .10, TK_FROM_GEMM)                   \
    X(EC_HOPPER, "ec_hopper", "of dense peak", SERVE, 1, .75, .10, TK_FROM_GEMM)                   \
    X(EC_BLACKWELL, "ec_blackwell", "of dense peak", SERVE, 1, .66, .10, TK_FROM_GEMM)             \
    X(EC_OTHER, "ec_other", "of dense peak", SERVE, 1, .55, .30, TK_FROM_GUESS)                    \
    X(EC_FP8, "ec_fp8", "x bf16", SERVE, 1, .75, .12, TK_FROM_GEMM)                                \
    X(EC_FP4, "ec_fp4", "x bf16", SERVE, 1, .56, .15, TK_FROM_GEMM)                                \
    X(EC_EXPERT, "ec_expert", "x dense", SERVE, 1, .70, .25, TK_FROM_GUESS)                        \
    X(EC_ATTEND, "ec_attend", "of bf16 peak", SERVE, 1, .45, .30, TK_FROM_GUESS)                   \
    X(AR_ALPHA, "allreduce_latency", "us at 8 ranks", SERVE, 1, 12, .30, TK_FROM_NCCL)             \
    X(AR_LINK, "allreduce_link", "of one-way link", SERVE, 1, .60, .30, TK_FROM_NCCL)              \
    X(A2A_ALPHA, "alltoall_latency", "us at 8 ranks", SERVE, 1, 10, .40, TK_FROM_NCCL)             \
    X(A2A_LINK, "alltoall_link", "of one-way link", SERVE, 1, .35, .40, TK_FROM_DEEPEP)            \
    X(NET_ALPHA, "network_latency", "us per call", SERVE, 1, 40, .40, TK_FROM_DEEPEP)              \
    X(NET_LINK, "network_link", "of NIC rate", SERVE, 1, .80, .20, TK_FROM_DEEPEP)                 \
    X(OVERLAP, "exchange_overlap", "of exchange hidden", SERVE, 1, .70, .15,                       \
      "27-35 % from two-batch overlap where exchange is a third, lmsys.org large-scale EP, "       \
      "2025-05")                                                                                   \
    X(IMBALANCE, "imbalance", "x mean per ln(EP)", SERVE, 1, .12, .50, TK_FROM_GUESS)              \
    TK_PARAM_PER_BACKEND(X, T_LAYER, "layer", "us per layer", SERVE, 1, 45, 70, 96, 40, 70, 90,    \
                         150, .20, TK_FROM_FIXED)                                                  \
    TK_PARAM_PER_BACKEND(X, T_MOE, "moe_layer", "us more per MoE layer", SERVE, 1, 15, 25, 25, 15, \
                         50, 40, 100, .40, TK_FROM_GUESS)                                          \
    TK_PARAM_PER_BACKEND(X, T_SEQ, "sequence", "us per sequence and step", SERVE, 1, 15, 40, 40,   \
                         10, 60, 60, 60, .60, TK_FROM_GUESS)                                       \
    TK_PARAM_PER_BACKEND(X, MIX, "prefill_mix", "x prefill time", SERVE, 1, 1, 1, 1, .9, 1, 1, 1,  \
                         .20, TK_FROM_GUESS)                                                       \
    TK_PARAM_PER_BACKEND(X, EAGER, "mixed_step", "x fixed time", SERVE, 1, 1, 1, 1, 1, 2, 1, 1,    \
                         .60, TK_FROM_GUESS)                                                       \
    X(GEMM_EXP, "products_exponent", "of a layer's products over 7", SERVE, 0, 1.0, .15,           \
      TK_FROM_GUESS)                                                                               \
    X(T_STEP, "step", "us per step", SERVE, 1, 500, .60, TK_FROM_GUESS)                            \
    X(EM_EXPERT_OLD, "em_expert_mlenergy_blackwell", "x", SERVE, 1, .6, .50, TK_FROM_GUESS)        \
    X(FIXED_BLACKWELL, "fixed_time_blackwell", "x", SERVE, 1, .90, .10, TK_FROM_GUESS)             \
    X(TREND, "fixed_time_trend", "per year", SERVE, 0, .15, .06, TK_FROM_GUESS)                    \
    X(GRAPH_OFF, "no_cuda_graphs", "x fixed time", SERVE, 1, 3.0, .40, TK_FROM_GUESS)              \
    X(SOFT_FP8, "software_fp8", "x em", SERVE, 1, .75, .30, TK_FROM_GUESS)                         \
    X(MTP_DRAFT, "mtp_draft", "of a step per draft", SERVE, 1, .035, .20, TK_FROM_MTP)             \
    X(MTP_UNKNOWN_TRTLLM, "mtp_unstated_trtllm", "x step", SERVE, 1, .70, .25, TK_FROM_GUESS)      \
    X(MTP_UNKNOWN_SGLANG, "mtp_unstated_sglang", "x step", SERVE, 1, .85, .25, TK_FROM_GUESS)      \
    X(MTP_POOLS_TRTLLM, "mtp_unstated_trtllm_pools", "x step", SERVE, 1, .70, .25, TK_FROM_GUESS)  \
    X(MTP_POOLS_SGLANG, "mtp_unstated_sglang_pools", "x step", SERVE, 1, .70, .25, TK_FROM_GUESS)  \
    X(KERNEL_STEP, "kernel_step", "x fixed time per tuned kernel", SERVE, 1, .94, .03,             \
      "mean log share of 13 steps, note finding 6, 2025-05")                                       \
    X(MTP_VANILLA, "mtp_vanilla", "x accepted", SERVE, 1, .92, .08, TK_FROM_GUESS)                 \
    X(CAP_EXP, "power_cap_exponent", "", SERVE, 0, .40, .15, TK_FROM_GUESS)                        \
    X(P99_TPOT, "p99_tpot_of_limit", "x limit", SERVE, 1, .85, .15, TK_FROM_GUESS)                 \
    X(P99_TTFT, "p99_ttft_of_limit", "x limit", SERVE, 1, .35, .50, TK_FROM_GUESS)                 \
    X(SERVER_LOAD, "server_load", "of offline rate", SERVE, 1, .92, .06, TK_FROM_GUESS)            \
    TK_PARAM_PER_BACKEND(X, FIRST, "first_token", "ms per 500 products", TTFT, 1, 60, 25, 90, 30,  \
                         30, 100, 100, .60, TK_FROM_GUESS)                                         \
    X(BALANCE, "attention_balance", "steps", TTFT, 1, 40, .40,                                     \
      "timeout_iters 60 in InferenceX's scripts, 2025-11")                                         \
    X(ROOM_TRTLLM, "cache_room_trtllm", "x computed", TTFT, 1, 1, .05, TK_FROM_GUESS)              \
    X(ROOM_OTHER, "cache_room_other", "x computed", TTFT, 1, 1, .05, TK_FROM_GUESS)                \
    X(PREFILL_SLOW, "prefill_alone", "x prefill time", TTFT, 1, 1.35, .08, TK_FROM_GUESS)          \
    X(DISAGG_FIRST, "disagg_first_token", "ms", TTFT, 1, 100, .60, TK_FROM_GUESS)                  \
    X(DISAGG_BURST, "disagg_burst", "x prefill time of all users", TTFT, 1, 1.0, .50,              \
      TK_FROM_GUESS)                                                                               \
    X(P99_OVER_MEAN, "ttft_p99_over_mean", "x", TTFT, 1, 2.3, .30, TK_FROM_GUESS)                  \
    X(TR_HOPPER, "train_hopper", "of dense peak", TRAIN, 1, .48, .15, TK_FROM_TRAIN)               \
    X(TR_BLACKWELL, "train_blackwell", "of dense peak", TRAIN, 1, .45, .15, TK_FROM_TRAIN)         \
    X(TR_AMPERE, "train_ampere", "x hopper in bf16", TRAIN, 1, .97, .15, TK_FROM_GEMM)             \
    X(TR_BF16, "train_bf16", "x fp8 fraction", TRAIN, 1, 1.35, .15, TK_FROM_GEMM)                  \
    X(TR_MXFP8, "train_mxfp8", "x fp8 fraction", TRAIN, 1, .95, .10, TK_FROM_GUESS)                \
    X(TR_FP4, "train_fp4", "x fp8 fraction", TRAIN, 1, .65, .15, TK_FROM_GEMM)                     \
    X(TR_MOE, "train_expert_hopper", "x dense", TRAIN, 1, .45, .40, TK_FROM_GUESS)                 \
    X(TR_MOE_BW, "train_expert_blackwell", "x dense", TRAIN, 1, .55, .40, TK_FROM_GUESS)           \
    X(TR_MOE_TREND, "train_expert_trend", "per year", TRAIN, 0, .3, .2, TK_FROM_GUESS)             \
    X(TR_WIDTH, "train_expert_width", "exponent of width over 2,048", TRAIN, 0, .3, .2,            \
      TK_FROM_GUESS)                                                                               \
    X(TR_LORA_N, "train_lora_scale", "exponent of n / 8", TRAIN, 0, .08, .04, TK_FROM_GUESS)       \
    X(TR_TP, "train_tp", "of link in all-reduces", TRAIN, 1, .70, .25, TK_FROM_NCCL)               \
    X(TR_ATTEND, "train_attend", "of bf16 peak", TRAIN, 1, .55, .20, TK_FROM_GUESS)                \
    X(TR_MOVED, "train_moved", "x stored activations per pass", TRAIN, 1, 2.0, .50,                \
      "written once, read once; bytes stored of Korthikanti et al. 2022")                          \
    X(TR_BUBBLE, "train_bubble", "x pipeline bubble", TRAIN, 1, .9, .30, TK_FROM_GUESS)            \
    X(TR_FIXED, "train_step_fixed", "s per step", TRAIN, 1, .30, .40, TK_FROM_TRAIN)               \
    X(TR_SCALE, "train_scale", "per doubling past 512", TRAIN, 0, .008, .006, TK_FROM_TRAIN)       \
    X(TR_E2E, "train_end_to_end", "of step rate", TRAIN, 1, .945, .02, TK_FROM_TRAIN)              \
    X(TR_TREND, "train_trend", "per year", TRAIN, 0, .08, .05, TK_FROM_GUESS)                      \
    X(TR_LORA, "train_lora", "x full backward", TRAIN, 1, .667, .06, TK_FROM_GUESS)                \
    X(TR_RECOMPUTE, "train_full_recompute", "x forward", TRAIN, 1, 1.0, .10, TK_FROM_GUESS)        \
    X(TR_A2A, "train_alltoall", "of link, overlap included", TRAIN, 1, .5, .50, TK_FROM_GUESS)     \
    X(TR_S405B, "samples_llama31_405b", "k", TRAIN, 1, 280, .10, TK_FROM_GUESS)                    \
    X(TR_SGPT3, "samples_gpt3", "k at batch 2,048", TRAIN, 1, 590, .10, TK_FROM_GUESS)             \
    X(TR_SLORA, "samples_lora", "k at a small batch", TRAIN, 1, 3.1, .20, TK_FROM_GUESS)           \
    X(TR_SLORA_N, "samples_lora_twice", "accelerators", TRAIN, 1, 300, .60, TK_FROM_GUESS)         \
    X(TR_S8B, "samples_llama31_8b", "k at a small batch", TRAIN, 1, 170, .30, TK_FROM_GUESS)       \
    X(TR_S8B_N, "samples_llama31_8b_twice", "accelerators", TRAIN, 1, 150, .60, TK_FROM_GUESS)     \
    X(TR_EVAL, "train_evaluation", "min per short run", TRAIN, 1, .10, .50, TK_FROM_GUESS)         \
    X(PW_BASE_HOPPER, "power_base_hopper", "of TDP", ENERGY, 1, .50, .20, TK_FROM_POWER)           \
    X(PW_MEM_HOPPER, "power_memory_hopper", "of TDP at sqrt(HBM)", ENERGY, 1, .10, .50,            \
      TK_FROM_POWER)                                                                               \
    X(PW_FLOP_HOPPER, "power_flop_hopper", "of TDP at sqrt(FLOP)", ENERGY, 1, .5, .40,             \
      TK_FROM_POWER)                                                                               \
    X(PW_BASE_BW, "power_base_blackwell", "of TDP", ENERGY, 1, .20, .30, TK_FROM_POWER)            \
    X(PW_MEM_BW, "power_memory_blackwell", "of TDP at sqrt(HBM)", ENERGY, 1, .65, .30,             \
      TK_FROM_POWER)                                                                               \
    X(PW_FLOP_BW, "power_flop_blackwell", "of TDP at sqrt(FLOP)", ENERGY, 1, .8, .40,              \
      TK_FROM_POWER)                                                                               \
    X(PW_HOST, "power_host", "W per accelerator", ENERGY, 1, 230, .25,                             \
      "MLPerf wall meters less GPU limits, note section 1.5, 2025-09")                             \
    X(PW_TRAIN, "power_training", "of TDP", ENERGY, 1, .88, .10,                                   \
      "training node meters, note section 1.5, 2025-06")                                           \
    X(PW_MAX, "power_node_max", "x node mean in training", ENERGY, 1, 1.12, .08, TK_FROM_GUESS)

typedef enum tk_param_id {
#define X(id, name, unit, stage, log, prior, sigma, from) TK_P_##id,
    TK_PARAM_MAP(X)
#undef X
        TK_P_COUNT
} tk_param_id;

typedef struct tk_params {
    double v[TK_P_COUNT];
} tk_params;

typedef struct tk_param_info {
    const char *name, *unit, *from;
    tk_stage stage;
    bool log;
    double prior, sigma;
} tk_param_info;

const tk_param_info *tk_param_get(tk_param_id id);
void tk_params_prior(tk_params *out);

#endif
