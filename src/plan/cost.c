// SPDX-License-Identifier: MIT
#include "plan/cost.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { RESERVE_MB = 5000 }; // runtime, graphs, activations of one accelerator

static inline double corner(double a, double b)
{
    double hi = a > b ? a : b, lo = a > b ? b : a;
    if (hi <= 0) return 0;
    double r = lo / hi;
    r *= r;
    return hi * sqrt(sqrt(1 + r * r));
}

// ---- precision

static double bytes_of(tk_prec p)
{
    return p == TK_PREC_BF16 ? 2 : p == TK_PREC_FP8 ? 1 : 0.5625; // E2M1 and a scale per 16
}

// The fastest rate the part has for weights of that precision.
static tk_prec rate_on(const tk_hw *hw, tk_prec p)
{
    while (p > TK_PREC_BF16 && hw->flops[p] <= 0) p--;
    return p;
}

// MXFP4 has weights of four bits alone: engines multiply them by FP8 activations on Blackwell (vLLM's and TensorRT-LLM's
// MXFP4-MXFP8 kernels) and expand them to 16 bits before (Marlin, Triton).
static tk_prec mxfp4_rate(const tk_hw *hw)
{
    return hw->gen == TK_GEN_BLACKWELL ? TK_PREC_FP8 : TK_PREC_BF16;
}

static double default_kv_bytes(tk_prec weights, const tk_hw *hw, tk_backend b)
{
    if (weights == TK_PREC_BF16 || hw->flops[TK_PREC_FP8] <= 0) return 2;
    switch (b) {
    case TK_BACKEND_TRTLLM:
    case TK_BACKEND_MLPERF:
    case TK_BACKEND_VLLM: return 1;
    case TK_BACKEND_SGLANG: return hw->gen == TK_GEN_BLACKWELL ? 1 : 2;
    default: return 2;
    }
}

tk_status tk_precision_parse(const char *word, const tk_shape *s, const tk_hw *hw, tk_backend b,
                             tk_precision *out, tk_err *err)
{
    char low[96];
    size_t n = 0;
    for (; word[n] && n + 1 < sizeof low; n++) low[n] = (char)tolower((unsigned char)word[n]);
    low[n] = 0;
    bool mx = strstr(low, "mxfp4") != NULL;
    tk_prec p;
    if (strstr(low, "fp4"))
        p = TK_PREC_FP4;
    else if (strstr(low, "fp8"))
        p = TK_PREC_FP8;
    else if (strstr(low, "bf16") || strstr(low, "fp16"))
        p = TK_PREC_BF16;
    else
        return tk_fail(err, TK_BAD_INPUT, "precision \"%s\" is none of bf16, fp8, fp4", word);
    tk_shape_size size;
    tk_shape_measure(s, &size);
    // FP4 releases of MoE models keep attention in 16 bits
    tk_prec attn = p == TK_PREC_FP4 && size.moe ? TK_PREC_BF16 : p;
    // except the output projection in those of R1 since mid 2025 (nvidia/DeepSeek-R1-0528-FP4-v2's card)
    tk_prec out_proj = p == TK_PREC_FP4 && s->mla ? p : attn;
    tk_prec expert = mx ? mxfp4_rate(hw) : rate_on(hw, p);
    *out = (tk_precision){.attn_bytes = bytes_of(attn),
                          .attn_out_bytes = bytes_of(out_proj),
                          .attn_out = rate_on(hw, out_proj),
                          .ffn_bytes = bytes_of(p),
                          .expert_bytes = mx ? 0.53125 : bytes_of(p),
                          .head_bytes = 2,
                          .attn = rate_on(hw, attn),
                          .ffn = rate_on(hw, p),
                          .expert = expert,
                          .soft_fp8 = p == TK_PREC_FP8 && hw->flops[TK_PREC_FP8] <= 0};
    out->kv_bytes = strstr(low, "bf16 kv") ? 2
                    : p > rate_on(hw, p)   ? 2
                                           : default_kv_bytes(p, hw, b);
    return TK_OK;
}

// ---- utilisation

static double by_gen(const tk_params *k, tk_gen g, tk_param_id ampere, tk_param_id hopper,
                     tk_param_id blackwell, tk_param_id other)
{
    switch (g) {
    case TK_GEN_AMPERE: return k->v[ampere];
    case TK_GEN_HOPPER: return k->v[hopper];
    case TK_GEN_BLACKWELL: return k->v[blackwell];
    default: return k->v[other];
    }
}

double tk_cost_peak(const tk_case *c, tk_prec p)
{
    double u =
        by_gen(c->k, c->hw->gen, TK_P_EC_AMPERE, TK_P_EC_HOPPER, TK_P_EC_BLACKWELL, TK_P_EC_OTHER);
    if (p == TK_PREC_FP8) u *= c->k->v[TK_P_EC_FP8];
    if (p == TK_PREC_FP4) u *= c->k->v[TK_P_EC_FP4];
    double cap = c->power_cap_w > 0 && c->hw->tdp_w > 0
                     ? pow(c->power_cap_w / c->hw->tdp_w, c->k->v[TK_P_CAP_EXP])
                     : 1;
    return u * c->hw->flops[p] * cap;
}

double tk_cost_bandwidth(const tk_case *c, double bytes_per_weight)
{
    double u =
        by_gen(c->k, c->hw->gen, TK_P_EM_AMPERE, TK_P_EM_HOPPER, TK_P_EM_BLACKWELL, TK_P_EM_OTHER);
    if (bytes_per_weight < 0.9)
        u *= c->k->v[TK_P_EM_FP4];
    else if (bytes_per_weight < 1.9)
        u *= c->k->v[TK_P_EM_FP8] * (c->prec.soft_fp8 ? c->k->v[TK_P_SOFT_FP8] : 1);
    return u * c->hw->mem_bytes_per_s;
}

// ---- layout

int tk_layout_ranks(const tk_layout *l)
{
    return l->tp * l->dp * l->pp * l->cp;
}

tk_status tk_layout_complete(tk_layout *l, const tk_shape *s, int n_accel, tk_err *err)
{
    if (n_accel < 1) return tk_fail(err, TK_BAD_INPUT, "%d accelerators", n_accel);
    if (l->pp < 1) l->pp = 1;
    if (l->cp < 1) l->cp = 1;
    int stage = n_accel / (l->pp * l->cp);
    if (stage < 1 || stage * l->pp * l->cp != n_accel)
        return tk_fail(err, TK_BAD_INPUT, "PP%d CP%d does not divide %d accelerators", l->pp, l->cp,
                       n_accel);
    if (l->attention_dp && l->dp < 1) l->dp = l->tp > 1 ? l->tp : stage, l->tp = 1;
    // "TP1 EP8 DP1" on 8: attention runs over the ranks that the experts are spread on
    if (l->tp < 1 || l->tp * (l->dp < 1 ? 1 : l->dp) < stage)
        l->tp = l->dp > 0 ? stage / l->dp : stage;
    if (l->dp < 1) l->dp = stage / l->tp;
    if (l->tp * l->dp != stage)
        return tk_fail(err, TK_BAD_INPUT, "TP%d DP%d PP%d is not %d accelerators", l->tp, l->dp,
                       l->pp, n_accel);
    for (int i = 0; i < s->n_group; i++)
        if (s->layer[i].n_head % l->tp)
            return tk_fail(err, TK_BAD_INPUT, "TP%d does not divide %d attention heads", l->tp,
                           s->layer[i].n_head);
    if (l->ep < 1) l->ep = l->moe_tp > 0 ? stage / l->moe_tp : 1;
    if (l->ep > stage || stage % l->ep) l->ep = stage;
    l->moe_tp = stage / l->ep;
    for (int i = 0; i < s->n_group; i++)
        if (s->layer[i].n_expert && l->ep > s->layer[i].n_expert)
            return tk_fail(err, TK_BAD_INPUT, "EP%d over %d experts", l->ep, s->layer[i].n_expert);
    return TK_OK;
}

// ---- collectives

// Of one accelerator beyond its scale-up domain; a slow card where the catalogue knows none.
static double net_rate(const tk_case *c)
{
    double net = c->hw->net_bytes_per_s > 0 ? c->hw->net_bytes_per_s : 12.5e9;
    return c->k->v[TK_P_NET_LINK] * net;
}

double tk_cost_all_reduce(const tk_case *c, int n, double bytes)
{
    if (n <= 1) return 0;
    const double *v = c->k->v;
    int near = n < c->hw->scale_up ? n : c->hw->scale_up;
    double t = 0;
    if (near > 1) {
        double bw = v[TK_P_AR_LINK] * c->hw->link_bytes_per_s;
        double alpha = v[TK_P_AR_ALPHA] * 1e-6 * (0.4 + 0.2 * log2(near));
        double one_shot = alpha + bytes * (near - 1) / bw;
        double two_shot = 1.6 * alpha + 2 * bytes * (near - 1) / near / bw;
        t = one_shot < two_shot ? one_shot : two_shot;
    }
    int far = (n + near - 1) / near;
    if (far > 1) { // each rank carries its share of the reduced vector over its own NIC
        t +=
            v[TK_P_NET_ALPHA] * 1e-6 * log2(far) + 2 * bytes / near * (far - 1) / far / net_rate(c);
    }
    return t;
}

double tk_cost_all_to_all(const tk_case *c, int n, double bytes)
{
    if (n <= 1) return 0;
    const double *v = c->k->v;
    double near = n < c->hw->scale_up ? n : c->hw->scale_up;
    double in = bytes * (near - 1) / n / (v[TK_P_A2A_LINK] * c->hw->link_bytes_per_s);
    double t = v[TK_P_A2A_ALPHA] * 1e-6 * (0.4 + 0.2 * log2(n)) + in;
    if (n > c->hw->scale_up) t += v[TK_P_NET_ALPHA] * 1e-6 + bytes * (n - near) / n / net_rate(c);
    return t;
}

double tk_cost_transfer(const tk_case *c, double bytes, bool near)
{
    const double *v = c->k->v;
    if (near && c->hw->link_bytes_per_s > 0)
        return v[TK_P_AR_ALPHA] * 1e-6 + bytes / (v[TK_P_AR_LINK] * c->hw->link_bytes_per_s);
    return v[TK_P_NET_ALPHA] * 1e-6 + bytes / net_rate(c);
}

double tk_cost_experts_touched(double n_expert, double n_used, double n_tok)
{
    if (n_expert <= 0) return 0;
    double share = n_used / n_expert;
    if (share >= 1) return n_expert;
    return n_expert * -expm1(n_tok * log1p(-share));
}

static double choose(int n, int k)
{
    double ways = k < 0 || k > n ? 0 : 1;
    for (int i = 0; i < k && ways > 0; i++) ways *= (double)(n - i) / (i + 1);
    return ways;
}

double tk_cost_parts_touched(const tk_shape_layer *l, double n)
{
    if (n <= 1) return n;
    if (l->n_route <= l->n_route_used) return tk_cost_experts_touched(n, 1, l->n_used);
    int all = l->n_route, used = l->n_route_used;
    // a group lies over several parts: those of the groups used; or a part holds whole groups, some of them used
    if (n >= all) return tk_cost_experts_touched(used * n / all, 1, l->n_used);
    int own = (int)(all / n + 0.5);
    double none = 0;
    for (int j = 0; j <= own && j <= used; j++)
        none += choose(own, j) * choose(all - own, used - j) / choose(all, used) *
                pow(1 - (double)j / used, l->n_used);
    return n * (1 - none);
}

// ---- a step

typedef struct sizes {
    double attn_tok, all_tok; // tokens a rank's attention sees, tokens its experts' stage sees
    double attn_seq;
} sizes;

static sizes sizes_of(const tk_case *c, const tk_work *w)
{
    double per_dp = w->n_seq / c->at.dp / c->at.pp;
    if (per_dp < 1) per_dp = w->n_seq < 1 ? w->n_seq : 1;
    double all = w->n_seq / c->at.pp;
    if (all < per_dp) all = per_dp;
    return (sizes){per_dp * w->n_tok / c->at.cp, all * w->n_tok / c->at.cp, per_dp};
}

static void add_op(tk_cost *t, double *cause, double n, double flop, double bytes, double peak,
                   double bw)
{
    double s = n * corner(flop / peak, bytes / bw);
    *cause += s;
    t->s += s;
    t->flop += n * flop;
    t->flop_s += n * flop / peak;
    t->mem_bytes += n * bytes;
}

// Kernels of Blackwell decode a latent cache of 8 bits on the FP8 units since mid 2025 ("faster Tensor Core instructions",
// lmsys.org GB200 part 2, 2025-09); in May an 8-bit cache gained TensorRT-LLM 6 % at equal concurrency, bytes alone.
static tk_prec attend_rate(const tk_case *c, const tk_work *w)
{
    bool eight = c->prec.kv_bytes < 2 && c->hw->flops[TK_PREC_FP8] > 0 && c->year >= 2025.6;
    return eight && !w->prefill && c->hw->gen == TK_GEN_BLACKWELL ? TK_PREC_FP8 : TK_PREC_BF16;
}

// Parameters of a layer's output projection that have a precision of their own: NVFP4 releases before mid 2025 left it with
// the rest of attention.
static double out_apart(const tk_case *c, const tk_shape_layer *l)
{
    bool apart = c->year >= 2025.6 && c->prec.attn_out_bytes != c->prec.attn_bytes;
    return apart ? l->attn_out / c->at.tp : 0;
}

static void add_attention(const tk_case *c, const tk_work *w, const sizes *z,
                          const tk_shape_layer *l, tk_cost *t)
{
    const double *v = c->k->v;
    double apart = out_apart(c, l);
    double params = l->attn_sharded / c->at.tp + l->attn_replicated - apart;
    add_op(t, &t->linear, l->n, 2 * params * z->attn_tok, params * c->prec.attn_bytes,
           tk_cost_peak(c, c->prec.attn), tk_cost_bandwidth(c, c->prec.attn_bytes));
    if (apart > 0)
        add_op(t, &t->linear, l->n, 2 * apart * z->attn_tok, apart * c->prec.attn_out_bytes,
               tk_cost_peak(c, c->prec.attn_out), tk_cost_bandwidth(c, c->prec.attn_out_bytes));
    double seen = l->window && w->n_ctx > l->window ? l->window : w->n_ctx;
    double shard = c->at.tp < l->kv_heads ? c->at.tp : l->kv_heads > 0 ? l->kv_heads : 1;
    double entries = seen / l->ratio * l->kv + w->n_ctx * l->index;
    double bytes = z->attn_seq * (entries * c->prec.kv_bytes / shard +
                                  l->state * 2 / c->at.tp * (w->prefill ? 0 : 2));
    double flop = z->attn_tok * seen * (w->prefill ? l->ctx_flop_prefill : l->ctx_flop) / c->at.tp;
    bool latent = c->shape->mla;
    double bw = v[latent ? TK_P_EM_KV_MLA : TK_P_EM_KV] * c->hw->mem_bytes_per_s;
    double peak = v[TK_P_EC_ATTEND] * c->hw->flops[attend_rate(c, w)];
    add_op(t, &t->attention, l->n, flop, bytes, peak, bw);
}

static void add_experts(const tk_case *c, const sizes *z, const tk_shape_layer *l, tk_cost *t)
{
    const double *v = c->k->v;
    int ep = c->at.ep, ranks = ep * c->at.moe_tp;
    double imbalance = ep > 1 ? 1 + v[TK_P_IMBALANCE] * log(ep) : 1;
    double touched = tk_cost_experts_touched(l->n_expert, l->n_used, z->all_tok) / ep;
    if (touched < 1 && z->all_tok * l->n_used >= 1) touched = 1; // the slowest rank has one
    touched *= imbalance;
    if (touched > (double)l->n_expert / ep) touched = (double)l->n_expert / ep;
    double flop = 2 * z->all_tok * l->n_used * l->expert / ranks * imbalance;
    bool four = c->prec.expert_bytes < 0.9, eight = !four && c->prec.expert_bytes < 1.9;
    double old = c->backend == TK_BACKEND_MLENERGY && c->hw->gen == TK_GEN_BLACKWELL && !four
                     ? v[TK_P_EM_EXPERT_OLD]
                     : 1;
    double em = v[TK_P_EM_EXPERT] * old * (eight ? v[TK_P_EM_EXPERT_FP8] : 1);
    add_op(t, &t->expert, l->n, flop, touched * l->expert / c->at.moe_tp * c->prec.expert_bytes,
           tk_cost_peak(c, c->prec.expert) * v[TK_P_EC_EXPERT] * old,
           tk_cost_bandwidth(c, c->prec.expert_bytes) * em);
}

// Dispatch and combine of a layer's tokens: there in the experts' precision, back in 16 bits. A token goes once to each rank
// that holds any of its experts, whole or a slice; of prompts once to each domain of ranks, whose links spread it on
// (DeepEP's normal kernels; its low-latency kernels send to each rank).
static double exchange(const tk_case *c, const tk_work *w, const sizes *z, const tk_shape_layer *l)
{
    int n = c->at.ep * c->at.moe_tp;
    double tok = z->all_tok / n * c->shape->hidden;
    double there = fmin(c->prec.expert_bytes, 1);
    double near = tok * tk_cost_parts_touched(l, c->at.ep) * c->at.moe_tp;
    if (n <= c->hw->scale_up || !w->prefill)
        return tk_cost_all_to_all(c, n, there * near) + tk_cost_all_to_all(c, n, 2 * near);
    double domains = (double)n / c->hw->scale_up;
    double far = tok * tk_cost_parts_touched(l, domains) * (domains - 1) / domains;
    double in = tk_cost_all_to_all(c, c->hw->scale_up, (there + 2) * near);
    return fmax(in, 2 * c->k->v[TK_P_NET_ALPHA] * 1e-6 + (there + 2) * far / net_rate(c));
}

static void add_comm(const tk_case *c, const tk_work *w, const sizes *z, const tk_shape_layer *l,
                     tk_cost *t)
{
    double h = c->shape->hidden, s = 0;
    s += tk_cost_all_reduce(c, c->at.tp, z->attn_tok * h * 2);
    if (l->n_expert && (c->at.dp > 1)) {
        s += exchange(c, w, z, l);
    } else {
        s += tk_cost_all_reduce(c, c->at.tp, z->attn_tok * h * 2);
    }
    t->comm += l->n * s;
    t->s += l->n * s;
}

// Exchange beyond the scale-up domain runs beside the other half batch's work (SGLang and DeepSeek's own engine): what
// of it is hidden. A single token cannot be halved.
static double hidden(const tk_case *c, const sizes *z, const tk_cost *t)
{
    bool wide = c->at.dp > 1 && c->at.ep * c->at.moe_tp > c->hw->scale_up;
    if (!wide || c->backend != TK_BACKEND_SGLANG || z->attn_tok <= 1) return 0;
    return c->k->v[TK_P_OVERLAP] * (1 - 1 / z->attn_tok) * fmin(t->comm, t->s - t->comm);
}

static double fixed_of(const tk_case *c, const tk_shape_layer *l)
{
    const double *v = c->k->v;
    double us = v[TK_P_T_LAYER_TRTLLM + (int)c->backend] *
                pow(l->n_gemm / 7.0, v[TK_P_GEMM_EXP]); // a plain dense layer has seven products
    if (l->n_expert) us += v[TK_P_T_MOE_TRTLLM + (int)c->backend];
    double year = c->year < 2024.5 ? 2024.5 : c->year > 2026.4 ? 2026.4 : c->year; // as far as seen
    if (c->hw->gen == TK_GEN_BLACKWELL) us *= v[TK_P_FIXED_BLACKWELL];
    return us * 1e-6 * exp(-v[TK_P_TREND] * (year - 2025.75)) * c->fixed_scale;
}

void tk_cost_step(const tk_case *c, const tk_work *w, tk_cost *out)
{
    const double *v = c->k->v;
    *out = (tk_cost){0};
    sizes z = sizes_of(c, w);
    for (int i = 0; i < c->shape->n_group; i++) {
        const tk_shape_layer *l = &c->shape->layer[i];
        add_attention(c, w, &z, l, out);
        if (l->ffn > 0)
            add_op(out, &out->linear, l->n, 2 * l->ffn / c->at.tp * z.attn_tok,
                   l->ffn / c->at.tp * c->prec.ffn_bytes, tk_cost_peak(c, c->prec.ffn),
                   tk_cost_bandwidth(c, c->prec.ffn_bytes));
        if (l->n_expert) add_experts(c, &z, l, out);
        add_comm(c, w, &z, l, out);
        double fixed = l->n * fixed_of(c, l);
        out->fixed += fixed;
        out->s += fixed;
    }
    double beside = hidden(c, &z, out);
    out->comm -= beside;
    out->s -= beside;
    double head = (double)c->shape->vocab * c->shape->hidden / c->at.tp;
    double head_tok = w->prefill ? z.attn_seq : z.attn_tok;
    add_op(out, &out->linear, 1, 2 * head * head_tok, head * c->prec.head_bytes,
           tk_cost_peak(c, TK_PREC_BF16), tk_cost_bandwidth(c, 2));
    if (c->at.pp > 1) {
        double bytes = z.attn_tok * c->shape->hidden * 2;
        double hop = c->at.tp * c->at.dp * c->at.pp > c->hw->scale_up
                         ? v[TK_P_NET_ALPHA] * 1e-6 + bytes / net_rate(c)
                         : v[TK_P_AR_ALPHA] * 1e-6 + bytes / c->hw->link_bytes_per_s;
        out->comm += (c->at.pp - 1) * hop;
        out->s += (c->at.pp - 1) * hop;
    }
    out->host = v[TK_P_T_STEP] * 1e-6 * c->fixed_scale;
    if (!w->prefill) { // the host's work per sequence hides half behind the device's: quadrature
        double host = v[TK_P_T_SEQ_TRTLLM + (int)c->backend] * 1e-6 * w->n_seq / c->at.pp /
                      (c->at.dp > 1 ? c->at.dp : 1);
        out->host += sqrt(out->s * out->s + host * host) - out->s;
    }
    out->s += out->host;
}

// ---- memory

void tk_cost_memory(const tk_case *c, double n_ctx, tk_memory *out)
{
    double weights = 0, kv = 0;
    for (int i = 0; i < c->shape->n_group; i++) {
        const tk_shape_layer *l = &c->shape->layer[i];
        double n = (double)l->n / c->at.pp;
        weights += n * (l->attn_sharded / c->at.tp + l->attn_replicated) * c->prec.attn_bytes;
        weights -= n * out_apart(c, l) * (c->prec.attn_bytes - c->prec.attn_out_bytes);
        weights += n * (l->ffn / c->at.tp * c->prec.ffn_bytes + l->router * 2);
        double experts = ceil((double)l->n_expert / c->at.ep); // of a rank, spare copies too
        weights += n * l->expert * experts / c->at.moe_tp * c->prec.expert_bytes;
        double kept = l->window && l->index <= 0 && n_ctx > l->window ? l->window : n_ctx;
        double shard = c->at.tp < l->kv_heads ? c->at.tp : l->kv_heads > 0 ? l->kv_heads : 1;
        kv += n * (kept * (l->kv / l->ratio / shard + l->index) * c->prec.kv_bytes +
                   l->state * 2 / c->at.tp);
    }
    double embed = (double)c->shape->vocab * c->shape->hidden * (c->shape->tied ? 1 : 2);
    weights += embed * c->prec.head_bytes / c->at.tp / (c->at.pp > 1 ? 2 : 1);
    out->weights = weights;
    out->reserve = RESERVE_MB * 1e6;
    out->available = c->hw->mem_usable_bytes * c->mem_share;
    out->kv_per_token = n_ctx > 0 ? kv / n_ctx : 0;
    double room = out->available - out->reserve - weights;
    // TensorRT-LLM gives the cache its share of what the weights leave, the others of the whole
    bool trtllm = c->backend == TK_BACKEND_TRTLLM || c->backend == TK_BACKEND_MLPERF;
    if (trtllm) room = (c->hw->mem_usable_bytes - out->reserve - weights) * c->mem_share;
    room *= c->k->v[trtllm ? TK_P_ROOM_TRTLLM : TK_P_ROOM_OTHER];
    out->kv_tokens = out->kv_per_token > 0 ? room / out->kv_per_token * c->at.dp : 1e15;
    if (room <= 0) out->kv_tokens = 0;
}
