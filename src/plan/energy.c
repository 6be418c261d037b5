// SPDX-License-Identifier: MIT
#include "plan/energy.h"

#include <math.h>

static double limit_w(const tk_case *c)
{
    double tdp = c->hw->tdp_w > 0 ? c->hw->tdp_w : 500;
    return c->power_cap_w > 0 ? c->power_cap_w : tdp;
}

void tk_energy_serving(const tk_serve_in *in, const tk_serve_out *o, tk_power *out)
{
    const tk_case *c = &in->decode;
    const double *v = c->k->v;
    bool blackwell = c->hw->gen == TK_GEN_BLACKWELL;
    double tau = in->mtp > 0 ? in->accepted : 1;
    // one second of a replica: decode steps and the prompts between them
    double steps = 1 / (o->tpot_s * tau);
    double prompts = in->disagg ? 0 : o->req_per_s / in->n_decode / c->at.dp;
    double mem = steps * o->step.mem_bytes + prompts * o->prompt.mem_bytes;
    double flop = steps * o->step.flop + prompts * o->prompt.flop;
    // a pipeline's stages work on other micro-batches meanwhile: the step holds all of them
    double mem_share = fmin(1, mem / c->hw->mem_bytes_per_s);
    double flop_share = fmin(1, flop / c->hw->flops[TK_PREC_BF16]);
    double base = v[blackwell ? TK_P_PW_BASE_BW : TK_P_PW_BASE_HOPPER];
    double a = v[blackwell ? TK_P_PW_MEM_BW : TK_P_PW_MEM_HOPPER];
    double b = v[blackwell ? TK_P_PW_FLOP_BW : TK_P_PW_FLOP_HOPPER];
    double tdp = c->hw->tdp_w > 0 ? c->hw->tdp_w : 500;
    double w = tdp * (base + a * sqrt(mem_share) + b * sqrt(flop_share));
    out->accel_w = fmin(w, limit_w(c));
    out->node_w = out->accel_w + v[TK_P_PW_HOST];
    out->mem_share = mem_share;
    out->flop_share = flop_share;
}

void tk_energy_training(const tk_hw *hw, const tk_params *k, tk_power *out)
{
    *out = (tk_power){.accel_w = k->v[TK_P_PW_TRAIN] * (hw->tdp_w > 0 ? hw->tdp_w : 500)};
    out->node_w = out->accel_w + k->v[TK_P_PW_HOST];
}
