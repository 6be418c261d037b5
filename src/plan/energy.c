// SPDX-License-Identifier: MIT
#include "plan/energy.h"

#include <math.h>

static double limit_w(const tk_case *c)
{
    double tdp = c->hw->tdp_w > 0 ? c->hw->tdp_w : 500;
    return c->power_cap_w > 0 ? c->power_cap_w : tdp;
}

typedef struct load {
    double mem, flop; // of one accelerator: bytes per second; seconds of tensor cores per second
} load;

static tk_power power_of(const tk_case *c, load l)
{
    const double *v = c->k->v;
    bool blackwell = c->hw->gen == TK_GEN_BLACKWELL;
    // a pipeline's stages work on other micro-batches meanwhile: the step holds all of them
    double mem_share = fmin(1, l.mem / c->hw->mem_bytes_per_s);
    double flop_share = fmin(1, l.flop);
    double base = v[blackwell ? TK_P_PW_BASE_BW : TK_P_PW_BASE_HOPPER];
    double a = v[blackwell ? TK_P_PW_MEM_BW : TK_P_PW_MEM_HOPPER];
    double b = v[blackwell ? TK_P_PW_FLOP_BW : TK_P_PW_FLOP_HOPPER];
    double tdp = c->hw->tdp_w > 0 ? c->hw->tdp_w : 500;
    double w = fmin(tdp * (base + a * sqrt(mem_share) + b * sqrt(flop_share)), limit_w(c));
    return (tk_power){w, w + v[TK_P_PW_HOST], mem_share, flop_share};
}

// The mean over both pools' accelerators.
static void blend(tk_power *decode, double n_decode, const tk_power *prefill, double n_prefill)
{
    double a = n_decode / (n_decode + n_prefill), b = 1 - a;
    decode->accel_w = a * decode->accel_w + b * prefill->accel_w;
    decode->node_w = a * decode->node_w + b * prefill->node_w;
    decode->mem_share = a * decode->mem_share + b * prefill->mem_share;
    decode->flop_share = a * decode->flop_share + b * prefill->flop_share;
}

void tk_energy_serving(const tk_serve_in *in, const tk_serve_out *o, tk_power *out)
{
    const tk_layout *d = &in->decode.at, *p = &in->prefill.at;
    double tau = in->mtp > 0 ? in->accepted : 1;
    // one second of a replica: decode steps and the prompts between them
    double steps = 1 / (o->tpot_s * tau);
    double prompts = in->disagg ? 0 : o->req_per_s / in->n_decode / d->dp;
    *out = power_of(&in->decode, (load){steps * o->step.mem_bytes + prompts * o->prompt.mem_bytes,
                                        steps * o->step.flop_s + prompts * o->prompt.flop_s});
    if (!in->disagg || in->n_prefill == 0) return;
    prompts = o->req_per_s / in->n_prefill / p->dp / p->pp;
    tk_power pool =
        power_of(&in->prefill, (load){prompts * o->prompt.mem_bytes, prompts * o->prompt.flop_s});
    blend(out, (double)in->n_decode * tk_layout_ranks(d), &pool,
          (double)in->n_prefill * tk_layout_ranks(p));
}

void tk_energy_training(const tk_hw *hw, const tk_params *k, tk_power *out)
{
    *out = (tk_power){.accel_w = k->v[TK_P_PW_TRAIN] * (hw->tdp_w > 0 ? hw->tdp_w : 500)};
    out->node_w = out->accel_w + k->v[TK_P_PW_HOST];
}
