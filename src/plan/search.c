// SPDX-License-Identifier: MIT
#include "plan/search.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void aim(const tk_search_in *in, tk_effects_field *out)
{
    tk_trait t;
    tk_trait_set(&t, TK_STAGE_SERVE, tk_backend_name(in->backend), in->hw, in->model->name,
                 in->precision ? in->precision : "", false);
    tk_effects_aim(in->fx, &t, out);
}

static bool price(const tk_search_in *in, const tk_effects_field *field, const tk_layout *at,
                  int mtp, double batch, tk_option *out)
{
    int ranks = tk_layout_ranks(at);
    memset(out, 0, sizeof *out);
    out->at = *at;
    out->mtp = mtp;
    out->n_replica = in->n_accel / ranks;
    out->batch = batch;
    tk_serve_in s = {.decode = {.hw = in->hw,
                                .shape = &in->model->shape,
                                .k = in->k,
                                .prec = in->prec,
                                .at = *at,
                                .backend = in->backend,
                                .year = in->year,
                                .fixed_scale = 1,
                                .mem_share = 0.9},
                     .n_decode = 1,
                     .isl = in->qos.isl,
                     .osl = in->qos.osl,
                     .hit = in->qos.hit,
                     .users = batch,
                     .mtp = mtp,
                     .accepted = mtp > 0 ? in->model->accepted[mtp] : 0};
    if (field->n > 0 || field->whole != 0) {
        double where[TK_TRAIT_DIMS];
        tk_serve_trait(&s, TK_STAGE_SERVE, where);
        s.time_scale = tk_effects_at(field, where);
    }
    tk_serve_out *o = &out->serve;
    if (tk_serve(&s, o, NULL) != TK_OK || o->running < 0.98 * batch) return false;
    if (in->cache_used > 0 && batch > o->capacity * in->cache_used) return false;
    tk_energy_serving(&s, o, &out->power);
    out->tok_s_user = 1 / o->tpot_s;
    out->tok_s_accel = o->out_tok_per_s / ranks;
    out->joule_per_tok = out->power.node_w / out->tok_s_accel;
    if (in->usd_per_accel_h > 0)
        out->usd_per_mtok = in->usd_per_accel_h / 3600 / out->tok_s_accel * 1e6;
    const tk_qos *q = &in->qos;
    double answer = o->ttft_s + o->tpot_s * (q->osl - 1);
    double watts = out->power.node_w * ranks * out->n_replica;
    out->within =
        (q->ttft_s <= 0 || o->ttft_s <= q->ttft_s) && (q->tpot_s <= 0 || o->tpot_s <= q->tpot_s) &&
        (q->latency_s <= 0 || answer <= q->latency_s) && (q->power_w <= 0 || watts <= q->power_w);
    return true;
}

bool tk_search_price(const tk_search_in *in, const tk_layout *at, int mtp, double batch,
                     tk_option *out)
{
    tk_effects_field field;
    aim(in, &field);
    return price(in, &field, at, mtp, batch, out);
}

// How far beyond its limits an option is; 1 = at the worst limit.
static double excess(const tk_qos *q, const tk_option *o)
{
    double worst = 0;
    if (q->ttft_s > 0) worst = fmax(worst, o->serve.ttft_s / q->ttft_s);
    if (q->tpot_s > 0) worst = fmax(worst, o->serve.tpot_s / q->tpot_s);
    return worst;
}

static bool dominates(const tk_option *a, const tk_option *b)
{
    if (a->tok_s_user < b->tok_s_user || a->tok_s_accel < b->tok_s_accel ||
        a->joule_per_tok > b->joule_per_tok || a->usd_per_mtok > b->usd_per_mtok)
        return false;
    return a->tok_s_user > b->tok_s_user || a->tok_s_accel > b->tok_s_accel ||
           a->joule_per_tok < b->joule_per_tok;
}

static void offer(tk_search_out *out, const tk_option *o)
{
    for (int i = 0; i < out->n_front; i++)
        if (dominates(&out->front[i], o)) return;
    int n = 0;
    for (int i = 0; i < out->n_front; i++)
        if (!dominates(o, &out->front[i])) out->front[n++] = out->front[i];
    out->n_front = n;
    if ((n & (n - 1)) == 0)
        out->front = tk_realloc(out->front, (size_t)(n ? 2 * n : 1) * sizeof *out->front);
    out->front[out->n_front++] = *o;
}

static void try_batches(const tk_search_in *in, const tk_effects_field *field, tk_layout *at,
                        int mtp, tk_search_out *out)
{
    // quarter octaves: the rate is smooth in the batch
    for (double b = 1; b <= 16384; b = b < 4 ? b + 1 : ceil(b * 1.189)) {
        tk_option o;
        out->n_tried++;
        if (!price(in, field, at, mtp, b, &o)) break; // memory: larger ones do not fit either
        out->n_fit++;
        if (o.within) {
            if (!out->found || o.tok_s_accel > out->best.tok_s_accel) out->best = o;
            out->found = true;
            offer(out, &o);
        } else if (!out->found &&
                   (out->n_fit == 1 || excess(&in->qos, &o) < excess(&in->qos, &out->nearest))) {
            out->nearest = o;
        }
    }
}

static void try_layout(const tk_search_in *in, const tk_effects_field *field, int ranks, int tp,
                       int pp, int ep, tk_search_out *out)
{
    tk_layout l = {.tp = tp, .pp = pp, .dp = ranks / tp / pp, .ep = ep, .cp = 1};
    if (tk_layout_complete(&l, &in->model->shape, ranks, NULL) != TK_OK) return;
    if (l.tp != tp || l.ep != ep) return; // completed into another one: tried by its own numbers
    if (in->tp_only && (l.dp > 1 || l.ep > 1)) return;
    int k_max = in->no_drafts ? 0 : in->model->n_accepted > 3 ? 3 : in->model->n_accepted - 1;
    for (int k = 0; k <= (k_max > 0 ? k_max : 0); k++) try_batches(in, field, &l, k, out);
}

static int by_user(const void *a, const void *b)
{
    double x = ((const tk_option *)a)->tok_s_user, y = ((const tk_option *)b)->tok_s_user;
    return (x < y) - (x > y);
}

tk_status tk_search(const tk_search_in *in, tk_search_out *out, tk_err *err)
{
    *out = (tk_search_out){0};
    if (in->n_accel < 1 || in->qos.isl < 1 || in->qos.osl < 1)
        return tk_fail(err, TK_BAD_INPUT, "%d accelerators, %g tokens in, %g out", in->n_accel,
                       in->qos.isl, in->qos.osl);
    tk_shape_size size;
    tk_shape_measure(&in->model->shape, &size);
    clock_t start = clock();
    tk_effects_field field;
    aim(in, &field);
    for (int ranks = 1; ranks <= in->n_accel && ranks <= 128; ranks++) {
        bool pow2 = (ranks & (ranks - 1)) == 0;
        if (in->n_accel % ranks || (!pow2 && ranks != in->n_accel)) continue;
        for (int pp = 1; pp <= 8 && pp <= ranks; pp *= 2)
            for (int tp = 1; tp <= ranks / pp && tp <= 16; tp *= 2) {
                if (ranks % (pp * tp)) continue;
                int stage = ranks / pp;
                if (!size.moe && tp != stage) continue; // dense replicas need no shared experts
                for (int ep = 1; ep <= stage; ep = ep == stage ? stage + 1 : stage)
                    if (size.moe || ep == 1) try_layout(in, &field, ranks, tp, pp, ep, out);
            }
    }
    out->seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (out->n_fit == 0)
        return tk_fail(err, TK_NOMEM, "%s does not fit %d x %s (%.0f GB) in any layout",
                       in->model->name, in->n_accel, in->hw->part,
                       in->hw->mem_usable_bytes * 1e-9 * in->n_accel);
    if (out->n_front) qsort(out->front, (size_t)out->n_front, sizeof *out->front, by_user);
    return TK_OK;
}
