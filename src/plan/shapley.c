// SPDX-License-Identifier: MIT
#include "plan/shapley.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

const char *tk_factor_name(int i)
{
    static const char *const names[] = {
#define X(id, name, gate) name,
        TK_FACTOR_MAP(X)
#undef X
    };
    return names[i];
}

const char *tk_factor_gate(int i)
{
    static const char *const gates[] = {
#define X(id, name, gate) gate,
        TK_FACTOR_MAP(X)
#undef X
    };
    return gates[i];
}

void tk_shapley(int n, const double *v, double *phi, double *first, double *last)
{
    double weight[TK_SHAPLEY_MAX]; // s! (n - s - 1)! / n! of a subset of s others
    weight[0] = 1.0 / n;
    for (int s = 1; s < n; s++) weight[s] = weight[s - 1] * s / (n - s);
    unsigned all = (1u << n) - 1;
    for (int i = 0; i < n; i++) {
        unsigned bit = 1u << i;
        phi[i] = 0;
        for (unsigned set = 0; set <= all; set++)
            if (!(set & bit)) phi[i] += weight[__builtin_popcount(set)] * (v[set | bit] - v[set]);
        if (first) first[i] = v[bit] - v[0];
        if (last) last[i] = v[all] - v[all & ~bit];
    }
}

static bool on(unsigned set, tk_factor f)
{
    return set >> f & 1;
}

static tk_status apply(unsigned set, const tk_search_in *to, const tk_hw *from, tk_search_in *in,
                       tk_err *err)
{
    *in = *to;
    if (!on(set, TK_FACTOR_HARDWARE)) in->hw = from;
    bool fp4 = on(set, TK_FACTOR_NVFP4) && in->hw->flops[TK_PREC_FP4] > 0;
    bool fp8 = on(set, TK_FACTOR_FP8) && in->hw->flops[TK_PREC_FP8] > 0;
    in->precision = "bf16";
    if (fp8) in->precision = "fp8";
    if (fp4) in->precision = "nvfp4";
    tk_status st =
        tk_precision_parse(in->precision, &in->model->shape, in->hw, in->backend, &in->prec, err);
    if (st != TK_OK) return st;
    in->prec.kv_bytes = on(set, TK_FACTOR_FP8_KV) && in->hw->flops[TK_PREC_FP8] > 0 ? 1 : 2;
    // contiguous caches reserve the longest answer: 20 to 38 % of them hold tokens (Kwon et al. 2023)
    in->cache_used = on(set, TK_FACTOR_PAGED) ? 1 : 0.3;
    in->no_drafts = !on(set, TK_FACTOR_DRAFTS);
    in->tp_only = !on(set, TK_FACTOR_TOPOLOGY);
    in->year = on(set, TK_FACTOR_KERNELS) ? 2026 : 2024.5;
    return TK_OK;
}

static double rate_of(const tk_search_in *in, bool *outside)
{
    tk_search_out o;
    *outside = false;
    if (tk_search(in, &o, NULL) != TK_OK) return 0;
    double rate = o.best.tok_s_accel;
    if (!o.found) {
        *outside = true;
        const tk_qos *q = &in->qos;
        double excess = 1;
        if (q->tpot_s > 0) excess = fmax(excess, o.nearest.serve.tpot_s / q->tpot_s);
        if (q->ttft_s > 0) excess = fmax(excess, o.nearest.serve.ttft_s / q->ttft_s);
        rate = o.nearest.tok_s_accel / excess;
    }
    tk_free(o.front);
    return rate;
}

tk_status tk_attribute(const tk_search_in *to, const tk_hw *from, tk_attribution *out, tk_err *err)
{
    enum { ALL = (1 << TK_FACTOR_COUNT) - 1 };
    double v[ALL + 1];
    memset(out, 0, sizeof *out);
    for (unsigned set = 0; set <= ALL; set++) {
        tk_search_in in;
        bool outside;
        tk_status st = apply(set, to, from, &in, err);
        if (st != TK_OK) return st;
        out->rate[set] = rate_of(&in, &outside);
        out->n_outside += outside;
        if (out->rate[set] <= 0)
            return tk_fail(err, TK_NOMEM,
                           "%s does not fit %d x %s in every combination; give more --total-gpus",
                           to->model->name, in.n_accel, in.hw->part);
        v[set] = log(out->rate[set]);
    }
    tk_shapley(TK_FACTOR_COUNT, v, out->phi, out->first, out->last);
    unsigned set = 0;
    out->path[0] = out->rate[0];
    for (int i = 0; i < TK_FACTOR_COUNT; i++) {
        set |= 1u << i;
        out->path[i + 1] = out->rate[set];
    }
    return TK_OK;
}
