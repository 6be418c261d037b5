// SPDX-License-Identifier: MIT
#include "plan/train.h"

#include <math.h>

static double year_of(const tk_train_in *in)
{
    // as far as seen; before 2024 there is Ampere alone, whose factor cannot be told from the year's
    return in->year < 2024 ? 2024 : in->year > 2026.7 ? 2026.7 : in->year;
}

static double rate_of(const tk_train_in *in, double *fp8_peak)
{
    const double *v = in->k->v;
    const double *peak = in->hw->flops;
    double u = v[in->hw->gen == TK_GEN_BLACKWELL ? TK_P_TR_BLACKWELL : TK_P_TR_HOPPER];
    // Ampere has no FP8: its BF16 products are compared with Hopper's
    if (in->hw->gen == TK_GEN_AMPERE) u *= v[TK_P_TR_BF16] * v[TK_P_TR_AMPERE];
    *fp8_peak = peak[TK_PREC_FP8] > 0 ? peak[TK_PREC_FP8] : peak[TK_PREC_BF16];
    u *= exp(v[TK_P_TR_TREND] * (year_of(in) - 2025.75));
    if (in->lora) u *= pow(in->n_accel / 8.0, -v[TK_P_TR_LORA_N]); // a fixed batch spread thinner
    if (peak[TK_PREC_FP8] <= 0) return u * peak[TK_PREC_BF16];
    switch (in->prec) {
    case TK_TRAIN_BF16: return u * v[TK_P_TR_BF16] * peak[TK_PREC_BF16];
    case TK_TRAIN_FP8: return u * peak[TK_PREC_FP8];
    case TK_TRAIN_MXFP8: return u * v[TK_P_TR_MXFP8] * peak[TK_PREC_FP8];
    default:
        return peak[TK_PREC_FP4] > 0 ? u * v[TK_P_TR_FP4] * peak[TK_PREC_FP4]
                                     : u * peak[TK_PREC_FP8];
    }
}

// Activations of one token, moved between the products (norms, gates, permutations, quantising): they grow with the
// width where products grow with its square, so narrow models reach less of the peak. Stored bytes of a layer
// (Korthikanti et al. 2022): 17 h and 6 for each column of a gated product; an expert's copy of the token 4 h more.
static double moved_bytes(const tk_shape *s)
{
    double bytes = 0, h = s->hidden;
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *l = &s->layer[i];
        double columns = (l->ffn + l->n_used * l->expert) / (3 * h);
        bytes += l->n * (17 * h + 4 * h * l->n_used + 6 * columns);
    }
    return bytes;
}

// Forward seconds of one token over the whole model on one accelerator.
static double forward_s(const tk_train_in *in, double rate)
{
    const double *v = in->k->v;
    double expert_u = v[in->hw->gen == TK_GEN_BLACKWELL ? TK_P_TR_MOE_BW : TK_P_TR_MOE];
    expert_u *= exp(v[TK_P_TR_MOE_TREND] * (year_of(in) - 2025.75));
    double linear = 2.0 * in->shape->vocab * in->shape->hidden, expert = 0;
    for (int i = 0; i < in->shape->n_group; i++) {
        const tk_shape_layer *l = &in->shape->layer[i];
        linear += 2.0 * l->n * (l->attn_sharded + l->attn_replicated + l->ffn + l->router);
        if (l->n_expert == 0) continue;
        double width = l->expert / 3 / in->shape->hidden; // narrow products fill a part badly
        expert += 2.0 * l->n * l->expert * l->n_used * pow(width / 2048, -v[TK_P_TR_WIDTH]);
    }
    // attention over small experts' models is slowed with them: their layers are short
    double attention = tk_shape_attention_flop(in->shape, in->seq / 2, true);
    double slow = expert > 0 ? sqrt(expert_u) : 1;
    return linear / (rate * slow) + expert / (rate * expert_u) +
           attention / (v[TK_P_TR_ATTEND] * in->hw->flops[TK_PREC_BF16] * slow) +
           v[TK_P_TR_MOVED] * moved_bytes(in->shape) / in->hw->mem_bytes_per_s;
}

// Exchange of one micro-batch on one stage, forward and backward, beyond overlap.
static double exchange_s(const tk_train_in *in, double tok)
{
    const double *v = in->k->v;
    double h = in->shape->hidden, s = 0, layers = in->shape->n_layer / (double)in->at.pp;
    if (in->at.tp > 1) { // two all-reduces forward, two backward
        double bytes = 2 * tok * h * 2 * (in->at.tp - 1) / in->at.tp;
        s += layers * 4 * bytes / (v[TK_P_TR_TP] * 10 * in->hw->link_bytes_per_s);
    }
    if (in->at.ep > 1) {
        double net = in->hw->net_bytes_per_s > 0 ? in->hw->net_bytes_per_s : 25e9;
        double used = 0, moe = 0;
        for (int i = 0; i < in->shape->n_group; i++)
            if (in->shape->layer[i].n_expert) {
                used = in->shape->layer[i].n_used;
                moe += in->shape->layer[i].n / (double)in->at.pp;
            }
        double bytes = tok * used * h * 2, far = 1 - fmin(1, (double)in->hw->scale_up / in->at.ep);
        double near = bytes * (1 - far) * (in->at.ep - 1) / in->at.ep / in->hw->link_bytes_per_s;
        s += moe * 4 * (near + bytes * far / net * 0.5) / (v[TK_P_TR_A2A] * 4);
    }
    return s;
}

static void memory(const tk_train_in *in, tk_train_out *o)
{
    tk_shape_size size;
    tk_shape_measure(in->shape, &size);
    double dp = o->dp, cut = (double)in->at.tp * in->at.pp;
    double own = (size.total - size.expert) / cut +
                 size.expert / in->at.pp / (in->at.ep > 1 ? in->at.ep : in->at.tp);
    double grad = in->lora ? 0.02 * own : own;
    double state = 12 * grad; // fp32 master, two moments
    if (in->zero >= 1) state /= dp;
    double g = 2 * grad / (in->zero >= 2 ? dp : 1), w = 2 * own / (in->zero >= 3 ? dp : 1);
    // Korthikanti et al. 2022: s b h (34 + 5 a s / h) bytes a layer without recompute; 34 with selective
    double tok = in->seq * (in->at.mbs > 0 ? in->at.mbs : 1) / in->at.cp;
    double per = in->recompute == TK_RECOMPUTE_FULL ? 2 : 34.0 / in->at.tp;
    o->mem_activations =
        tok * in->shape->hidden * per * in->shape->n_layer; // p stages hold p in flight
    o->mem_weights = w + g;
    o->mem_optimizer = state;
    o->mem_bytes = o->mem_weights + o->mem_optimizer + o->mem_activations;
}

static tk_status check(tk_train_in *in, tk_train_out *o, tk_err *err)
{
    tk_layout *l = &in->at;
    if (l->tp < 1) l->tp = 1;
    if (l->pp < 1) l->pp = 1;
    if (l->cp < 1) l->cp = 1;
    if (l->vp < 1) l->vp = 1;
    if (l->mbs < 1) l->mbs = 1;
    int one = l->tp * l->pp * l->cp;
    if (in->n_accel < 1 || in->n_accel % one)
        return tk_fail(err, TK_BAD_INPUT, "TP%d PP%d CP%d does not divide %d accelerators", l->tp,
                       l->pp, l->cp, in->n_accel);
    o->dp = in->n_accel / one;
    if (l->pp > in->shape->n_layer)
        return tk_fail(err, TK_BAD_INPUT, "PP%d for %d layers", l->pp, in->shape->n_layer);
    if (in->seq < 1 || in->seq > 1e8 || in->batch < 0 || in->batch > 1e9)
        return tk_fail(err, TK_BAD_INPUT, "sequences of %g tokens, %g of them", in->seq, in->batch);
    return TK_OK;
}

tk_status tk_train_step(const tk_train_in *given, tk_train_out *o, tk_err *err)
{
    *o = (tk_train_out){0};
    tk_train_in in = *given;
    tk_status st = check(&in, o, err);
    if (st != TK_OK) return st;
    const double *v = in.k->v;
    double fp8_peak, rate = rate_of(&in, &fp8_peak);
    double tok = in.seq * in.at.mbs;
    double passes = in.lora ? 3 * v[TK_P_TR_LORA] : 3;
    if (in.recompute == TK_RECOMPUTE_FULL) passes += v[TK_P_TR_RECOMPUTE];
    double compute = passes * tok * forward_s(&in, rate) / (in.at.tp * in.at.pp * in.at.cp);
    o->comm_s = exchange_s(&in, tok / in.at.cp);
    o->micro_s = compute + o->comm_s;
    double m = in.batch > 0 ? in.batch / ((double)o->dp * in.at.mbs) : 8.0 * in.at.pp;
    if (m < 1) m = 1;
    o->bubble_s = o->micro_s * v[TK_P_TR_BUBBLE] * (in.at.pp - 1) / in.at.vp;
    tk_shape_size size;
    tk_shape_measure(in.shape, &size);
    double own = (in.lora ? 0.01 : 1) * size.total /
                 ((double)in.at.tp * in.at.pp * (size.moe && in.at.ep > 1 ? in.at.ep : 1));
    double near = in.n_accel <= in.hw->scale_up ? 0.15 : 1;
    o->sync_s = v[TK_P_TR_FIXED] * own / 6.3e9 * near;
    double scale = in.n_accel > 512 ? 1 + v[TK_P_TR_SCALE] * log2(in.n_accel / 512.0) : 1;
    o->step_s = (o->micro_s * m + o->bubble_s + o->sync_s) * scale;
    double total = m * tok * o->dp;
    o->tok_per_s_accel = total / o->step_s / in.n_accel;
    o->flop_per_tok =
        3 * (tk_shape_linear_flop(in.shape) + tk_shape_attention_flop(in.shape, in.seq / 2, true));
    o->mfu = o->tok_per_s_accel * o->flop_per_tok / fp8_peak;
    memory(&in, o);
    return TK_OK;
}

double tk_train_wall(double work_s, double n, double mtbf_h, double write_s, double restart_s)
{
    if (mtbf_h <= 0 || n <= 0) return work_s;
    double m = mtbf_h * 3600 / n;         // between failures of the whole
    double every = sqrt(2 * write_s * m); // Young's interval
    if (every < write_s) every = write_s;
    double waste = write_s / every + (restart_s + every / 2) / m;
    return waste < 0.95 ? work_s / (1 - waste) : INFINITY; // beyond, the run does not progress
}
