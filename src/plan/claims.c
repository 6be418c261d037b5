// SPDX-License-Identifier: MIT
#include "plan/claims.h"

#include "plan/search.h"
#include "plan/train.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const double tk_claims_path[] = {67,  73,  80,  84,  89,  154, 164, 168, 173,
                                 180, 204, 211, 236, 249, 253, 299, 340, 368};
const char *const tk_claims_path_step[] = {"CUDA graph, EP8TP8",
                                           "experts on two streams",
                                           "MLA kernel",
                                           "top-k kernels",
                                           "fused A GEMM",
                                           "MTP3, vanilla",
                                           "MTP3 autoregressive step 1, router GEMM",
                                           "one-shot all-reduce with norm",
                                           "PDL",
                                           "two norms on two streams",
                                           "MTP3, autoregressive",
                                           "clocks and power",
                                           "grouped GEMM",
                                           "sparse experts as GEMMs",
                                           "EP4TP2",
                                           "MoE backend TRTLLM, EP2TP4",
                                           "fused A and router GEMM",
                                           "relaxed acceptance"};

typedef struct claimer {
    tk_catalog *c;
    const tk_constants *k;
    tk_err *err;
} claimer;

// Best tokens/s per accelerator of a model on n accelerators under a level.
static tk_status best(const claimer *w, const char *hw, int n, const char *model, const char *prec,
                      const char *backend, double year, const tk_qos *q, bool drafts, double *rate)
{
    tk_search_in in = {.k = &w->k->k,
                       .backend = (tk_backend)tk_backend_find(backend),
                       .year = year,
                       .n_accel = n,
                       .qos = *q,
                       .no_drafts = !drafts};
    tk_search_out out = {0};
    tk_status st;
    TK_TRY(tk_catalog_hw(w->c, hw, &in.hw, w->err));
    TK_TRY(tk_catalog_model(w->c, model, &in.model, w->err));
    TK_TRY(tk_precision_parse(prec, &in.model->shape, in.hw, in.backend, &in.prec, w->err));
    TK_TRY(tk_search(&in, &out, w->err));
    *rate = out.found ? out.best.tok_s_accel : 0;
done:
    tk_free(out.front);
    return st;
}

static const char *const family[] = {"gpt-moe-1.8t-narrow", "gpt-moe-1.8t", "gpt-moe-1.8t-wide"};

static void widen(tk_claim *c, double ratio)
{
    if (!(ratio > 0) || !isfinite(ratio)) return;
    if (c->low <= 0 || ratio < c->low) c->low = ratio;
    if (ratio > c->high) c->high = ratio;
}

// 1x DGX B200 against 8x DGX H100, per accelerator: 32,768 in, 1,028 out, 50 ms a token, 5 s to the first. The
// model is not disclosed: the range is over a family of shapes and over whether the new side may use FP4.
static tk_status inference_15x(const claimer *w, tk_claim *c)
{
    tk_qos q = {.ttft_s = 5, .tpot_s = 0.05, .isl = 32768, .osl = 1028};
    for (size_t i = 0; i < TK_COUNT(family); i++)
        for (int p = 0; p < 2; p++) {
            double old = 0, new = 0;
            tk_status st = best(w, "h100", 64, family[i], "fp8", "trtllm", 2024.5, &q, false, &old);
            if (st == TK_OK)
                st = best(w, p ? "gb200" : "b200", p ? 72 : 8, family[i], "fp4", "trtllm", 2024.5,
                          &q, false, &new);
            if (st != TK_OK && st != TK_NOMEM) return st;
            if (st == TK_NOMEM) *w->err = (tk_err)TK_ERR_INIT;
            if (st == TK_OK && old > 0) widen(c, new / old);
        }
    return TK_OK;
}

static tk_status training_3x(const claimer *w, tk_claim *c)
{
    for (size_t i = 0; i < TK_COUNT(family); i++)
        for (int p = TK_TRAIN_FP8; p <= TK_TRAIN_FP4; p++) {
            const tk_model_entry *m;
            const tk_hw *h, *b;
            tk_train_out old, new;
            tk_status st;
            TK_TRY(tk_catalog_model(w->c, family[i], &m, w->err));
            TK_TRY(tk_catalog_hw(w->c, "h100", &h, w->err));
            TK_TRY(tk_catalog_hw(w->c, "b200", &b, w->err));
            tk_train_in in = {.hw = h,
                              .shape = &m->shape,
                              .k = &w->k->k,
                              .at = {.tp = 8, .pp = 8, .ep = 8, .vp = 2, .mbs = 1},
                              .n_accel = 32768,
                              .batch = 16384,
                              .seq = 8192,
                              .prec = TK_TRAIN_FP8,
                              .year = 2025};
            TK_TRY(tk_train_step(&in, &old, w->err));
            in.hw = b;
            in.prec = (tk_train_prec)p;
            TK_TRY(tk_train_step(&in, &new, w->err));
            widen(c, new.tok_per_s_accel / old.tok_per_s_accel);
            continue;
        done:
            return st;
        }
    return TK_OK;
}

// Ratios of two serving ends at full load: first like for like, then as the headline was made.
static tk_status ends(const claimer *w, tk_claim *c, const char *old_hw, int old_n,
                      const char *old_prec, const char *old_backend, double old_year,
                      double old_osl, const char *new_hw, const char *new_prec, double new_osl)
{
    tk_qos a = {.isl = 1024, .osl = old_osl}, b = {.isl = 1024, .osl = new_osl};
    double old, same, new;
    tk_status st;
    TK_TRY(best(w, old_hw, old_n, "deepseek-r1", old_prec, old_backend, old_year, &a, false, &old));
    TK_TRY(best(w, new_hw, 8, "deepseek-r1", "fp8", old_backend, old_year, &a, false, &same));
    TK_TRY(best(w, new_hw, 8, "deepseek-r1", new_prec, "trtllm", 2025.5, &b, true, &new));
    widen(c, same / old);
    widen(c, new / old);
done:
    return st;
}

// The published rows' words, predicted.
static double predict_row(const claimer *w, const char *row)
{
    static const char head[] =
        "id,kind,metric,model,accelerator,n_accel,precision,framework,parallelism,isl,osl,"
        "concurrency_or_batch,qos,date,note\n";
    char text[1024];
    tk_points pts;
    tk_prediction p = {.value = NAN};
    int n = snprintf(text, sizeof text, "%s%s\n", head, row);
    if (tk_points_read(text, (size_t)n, "claim", &pts, NULL) != TK_OK) return NAN;
    tk_predictor with = {w->c, &w->k->k, &w->k->fx};
    if (pts.n == 1) tk_predict(&with, &pts.p[0], &p);
    tk_points_free(&pts);
    return p.value;
}

static void path(const claimer *w, tk_claims *out)
{
    char row[512];
    for (int i = 0; i < TK_PATH_STEPS; i++) {
        snprintf(
            row, sizeof row,
            "s,inference,tok_s_user,DeepSeek-R1,B200,8,nvfp4 MoE + bf16 attention,TensorRT-LLM,"
            "TP8 attention; EP/TP as step,1024,2048,1,,2025-05,cumulative ablation step %d: x",
            i);
        out->path_model[i] = predict_row(w, row);
    }
    out->n_path = TK_PATH_STEPS;
}

static void chitu(const claimer *w, tk_claim *c)
{
    const char *new =
        "s,inference,output_tok_s,DeepSeek-R1,A800 40GB,24,fp8 (soft),Chitu 0.1.0,PP x "
        "TP8,,,1,CUDA graph on,2025-03,",
               *plain = "s,inference,output_tok_s,DeepSeek-R1,A800 40GB,24,fp8 (soft),Chitu "
                        "0.1.0,PP x TP8,,,1,CUDA graph off,2025-03,",
               *old = "s,inference,output_tok_s,DeepSeek-R1,A800 40GB,48,bf16,vLLM 0.7.3,PP x "
                      "TP8,,,1,CUDA graph off,2025-03,";
    double base = predict_row(w, old);
    widen(c, predict_row(w, plain) / base);
    widen(c, predict_row(w, new) / base);
}

static const tk_claim told[TK_CLAIMS] = {
    {.name = "3x training, DGX B200 over DGX H100",
     .published = "vendor projection, 4,096 nodes, GPT-MoE-1.8T",
     .measured = 2.2,
     .measured_what = "MLPerf Training, Llama-3.1-405B and LoRA, per GPU: 2.0 to 2.5",
     .modelled_what =
         "per GPU, 32,768 GPUs, FP8 to FP8 and to FP4, over three shapes of 1.8e12 parameters",
     .wrong = "a projection on an undisclosed model is quoted as a measurement of two equal nodes"},
    {.name = "15x inference, DGX B200 over DGX H100",
     .published = "vendor projection: 32,768 in, 1,028 out, 50 ms, 5 s; 1 node against 8, per GPU",
     .measured = 3.3,
     .measured_what = "MLPerf v5.1 Llama2-70B offline per GPU 3.3; Llama-3.1-405B 4.2 to 4.4",
     .modelled_what =
         "the stated conditions, FP8 on 64 H100 against FP4 on 8 B200 and on 72 GB200, over "
         "the family",
     .wrong = "the ratio is per GPU with eight nodes on one side; the article compares nodes"},
    {.name = "67 to 368 tokens/s, DeepSeek-R1",
     .published = "18 software steps on the same 8 x B200, one user",
     .measured = 5.49,
     .measured_what = "all 18 steps are measured by the vendor",
     .modelled_what =
         "step by step below: drafts from measured acceptance, kernels as one share each",
     .wrong = "no hardware and no NVFP4 gain: both ends run NVFP4 on B200; paged KV has no share"},
    {.name = "36x throughput, 32x cost",
     .published = "January Hopper, FP8, SGLang, 1K/1K against March B200, FP4, TensorRT-LLM, 1K/2K",
     .measured = 3.76,
     .measured_what =
         "8 x B200 43,146 against 8 x H200 11,489 tok/s at full load, both TensorRT-LLM: 3.8; "
         "MLPerf R1 has no Hopper entry",
     .modelled_what =
         "from the same software and precision on both sides to the headline's mixture",
     .wrong = "hardware, precision, framework, date and answer length change at once"},
    {.name = "25x, Blackwell over H100 on R1",
     .published =
         "vendor chart: FP4 TensorRT-LLM against FP8 SGLang of another date, 1K/1K, full load",
     .measured = 0,
     .measured_what = "no like-for-like measurement was found",
     .modelled_what = "from the same software and precision on both sides to the chart's mixture",
     .wrong =
         "precision, framework and date are mixed; R1 is neither multimodal nor 1.2e12 parameters"},
    {.name = "half the GPUs, 3.15x (Chitu)",
     .published = "24 A800, FP8 in software, CUDA graphs against 48 A800, BF16 vLLM, eager",
     .measured = 3.31,
     .measured_what = "README: 22.7 against 6.85 tok/s; without graphs 7.0, so 1.02",
     .modelled_what = "without graphs (low) and with them (high)",
     .wrong = "nearly all of it is CUDA graphs against eager execution, not FP8 nor the engine"},
};

tk_status tk_claims_compute(tk_catalog *c, const tk_constants *k, tk_claims *out, tk_err *err)
{
    claimer w = {c, k, err};
    memset(out, 0, sizeof *out);
    memcpy(out->claim, told, sizeof told);
    path(&w, out);
    tk_status st;
    TK_TRY(training_3x(&w, &out->claim[0]));
    TK_TRY(inference_15x(&w, &out->claim[1]));
    widen(&out->claim[2], out->path_model[TK_PATH_STEPS - 1] / out->path_model[0]);
    TK_TRY(ends(&w, &out->claim[3], "h200", 8, "fp8", "sglang", 2025.0, 1024, "b200", "fp4", 2048));
    TK_TRY(
        ends(&w, &out->claim[4], "h100", 16, "fp8", "sglang", 2025.0, 1024, "b200", "fp4", 1024));
    chitu(&w, &out->claim[5]);
done:
    return st;
}
