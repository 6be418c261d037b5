// SPDX-License-Identifier: MIT
#include "plan/search_priv.h"

#include "base/buf.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- names

const char *tk_kind_name(tk_kind k)
{
    return k == TK_KIND_DISAGGREGATED ? "disaggregated" : "aggregated";
}

static void name_layout(const tk_layout *l, int mtp, tk_buf *b)
{
    tk_buf_addf(b, "TP%d", l->tp);
    if (l->dp > 1) tk_buf_addf(b, " DP%d", l->dp);
    if (l->pp > 1) tk_buf_addf(b, " PP%d", l->pp);
    if (l->ep > 1) tk_buf_addf(b, " EP%d", l->ep);
    if (mtp > 0) tk_buf_addf(b, " MTP%d", mtp);
}

void tk_option_name(const tk_option *o, char out[TK_OPTION_NAME])
{
    tk_buf b = tk_buf_make(TK_OPTION_NAME - 1);
    if (o->kind == TK_KIND_DISAGGREGATED) {
        tk_buf_addf(&b, "%d x [", o->n_prefill);
        name_layout(&o->prefill, 0, &b);
        tk_buf_addf(&b, "] prefill, %d x [", o->n_replica);
        name_layout(&o->at, o->mtp, &b);
        tk_buf_add_str(&b, "] decode");
    } else {
        name_layout(&o->at, o->mtp, &b);
    }
    snprintf(out, TK_OPTION_NAME, "%s", tk_buf_str(&b));
    tk_buf_free(&b);
}

// ---- the price of a case

static void aim(tk_searcher *s, bool pools)
{
    const tk_search_in *in = s->in;
    tk_trait t;
    tk_trait_set(&t, TK_STAGE_SERVE, tk_backend_name(in->backend), in->hw, in->model->name,
                 in->precision ? in->precision : "", pools);
    tk_effects_aim(in->fx, &t, &s->field);
}

void tk_search_effects(const tk_searcher *s, tk_serve_in *serve)
{
    if (s->field.n == 0 && s->field.whole == 0) return;
    double where[TK_TRAIT_DIMS];
    tk_serve_trait(serve, TK_STAGE_SERVE, where);
    serve->time_scale = tk_effects_at(&s->field, where);
}

tk_serve_in tk_search_serving(const tk_search_in *in, const tk_layout *at, int mtp)
{
    return (tk_serve_in){.decode = {.hw = in->hw,
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
                         .mtp = mtp,
                         .accepted = mtp > 0 ? in->model->accepted[mtp] : 0};
}

void tk_search_judge(const tk_search_in *in, const tk_serve_in *s, int working, tk_option *out)
{
    const tk_serve_out *o = &out->serve;
    const tk_qos *q = &in->qos;
    double all = o->out_tok_per_s * (s->disagg ? 1 : out->n_replica);
    tk_energy_serving(s, o, &out->power);
    out->time_scale = s->time_scale;
    out->tok_s_user = 1 / o->tpot_s;
    out->tok_s_accel = all / out->n_accel;
    out->joule_per_tok = out->power.node_w * working / all;
    if (in->usd_per_accel_h > 0)
        out->usd_per_mtok = in->usd_per_accel_h / 3600 / out->tok_s_accel * 1e6;
    double answer = o->ttft_s + o->tpot_s * (q->osl - 1);
    out->within = (q->ttft_s <= 0 || o->ttft_s <= q->ttft_s) &&
                  (q->tpot_s <= 0 || o->tpot_s <= q->tpot_s) &&
                  (q->latency_s <= 0 || answer <= q->latency_s) &&
                  (q->power_w <= 0 || out->power.node_w * working <= q->power_w);
}

static bool price(const tk_searcher *w, const tk_layout *at, int mtp, double batch, tk_option *out)
{
    const tk_search_in *in = w->in;
    int ranks = tk_layout_ranks(at);
    memset(out, 0, sizeof *out);
    out->at = *at;
    out->mtp = mtp;
    out->n_replica = in->n_accel / ranks;
    out->n_accel = out->n_replica * ranks;
    out->batch = batch;
    tk_serve_in s = tk_search_serving(in, at, mtp);
    s.users = batch;
    tk_search_effects(w, &s);
    tk_serve_out *o = &out->serve;
    if (tk_serve(&s, o, NULL) != TK_OK || o->running < 0.98 * batch) return false;
    if (in->cache_used > 0 && batch > o->capacity * in->cache_used) return false;
    tk_search_judge(in, &s, out->n_accel, out);
    return true;
}

bool tk_search_price(const tk_search_in *in, const tk_layout *at, int mtp, double batch,
                     tk_option *out)
{
    tk_searcher s = {.in = in};
    aim(&s, false);
    return price(&s, at, mtp, batch, out);
}

// ---- what is kept

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

static void to_front(tk_search_out *out, const tk_option *o)
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

void tk_search_offer(tk_searcher *s, const tk_option *o)
{
    tk_search_out *out = s->out;
    out->n_fit++;
    if (!o->within) {
        if (!out->found &&
            (out->n_fit == 1 || excess(&s->in->qos, o) < excess(&s->in->qos, &out->nearest)))
            out->nearest = *o;
        return;
    }
    tk_option *kind = &out->of_kind[o->kind];
    if (!out->has_kind[o->kind] || o->tok_s_accel > kind->tok_s_accel) *kind = *o;
    if (!out->found || o->tok_s_accel > out->best.tok_s_accel) out->best = *o;
    out->found = out->has_kind[o->kind] = true;
    to_front(out, o);
}

// ---- what is tried

int tk_search_max_drafts(const tk_search_in *in)
{
    int n = in->no_drafts ? 0 : in->model->n_accepted - 1;
    return n > 3 ? 3 : n > 0 ? n : 0;
}

double tk_search_next_batch(double b)
{
    return b < 4 ? b + 1 : ceil(b * 1.189);
}

static void try_batches(tk_searcher *s, const tk_layout *at, void *ctx)
{
    (void)ctx;
    for (int mtp = 0; mtp <= tk_search_max_drafts(s->in); mtp++)
        for (double b = 1; b <= TK_SEARCH_MAX_BATCH; b = tk_search_next_batch(b)) {
            tk_option o;
            s->out->n_tried++;
            if (!price(s, at, mtp, b, &o)) break; // memory: larger ones do not fit either
            tk_search_offer(s, &o);
        }
}

// Experts go to ranks in equal numbers, with spare copies of an eighth (288 for 256: 144 ranks hold two each); slices of
// one have whole columns, no fewer than a tile of any kernel.
static bool experts_divide(const tk_shape *s, const tk_layout *l)
{
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *g = &s->layer[i];
        int width = (int)(g->expert / (3.0 * s->hidden) + 0.5), spare = g->n_expert / 8;
        if (g->n_expert == 0) continue;
        if (g->n_expert % l->ep && (g->n_expert + spare) % l->ep) return false;
        if (width % l->moe_tp || width / l->moe_tp < 64) return false;
    }
    return true;
}

static void try_layout(tk_searcher *s, int ranks, int tp, int pp, int ep, tk_layout_fn fn,
                       void *ctx)
{
    tk_layout l = {.tp = tp, .pp = pp, .dp = ranks / tp / pp, .ep = ep, .cp = 1};
    if (tk_layout_complete(&l, &s->in->model->shape, ranks, NULL) != TK_OK) return;
    if (l.tp != tp || l.ep != ep) return; // completed into another one: tried by its own numbers
    if (s->in->tp_only && (l.dp > 1 || l.ep > 1)) return;
    if (!experts_divide(&s->in->model->shape, &l)) return;
    fn(s, &l, ctx);
}

void tk_search_each_layout(tk_searcher *s, int ranks, tk_layout_fn fn, void *ctx)
{
    tk_shape_size size;
    tk_shape_measure(&s->in->model->shape, &size);
    for (int pp = 1; pp <= 8 && pp <= ranks; pp *= 2)
        for (int tp = 1; tp <= ranks / pp && tp <= 16; tp *= 2) {
            if (ranks % (pp * tp)) continue;
            int stage = ranks / pp;
            if (!size.moe && tp != stage) continue; // dense replicas need no shared experts
            for (int ep = 1; ep <= stage; ep = ep == stage ? stage + 1 : stage)
                if (size.moe || ep == 1) try_layout(s, ranks, tp, pp, ep, fn, ctx);
        }
}

static void try_replicas(tk_searcher *s)
{
    int n = s->in->n_accel;
    aim(s, false);
    for (int ranks = 1; ranks <= n && ranks <= 128; ranks++) {
        bool pow2 = (ranks & (ranks - 1)) == 0;
        if (n % ranks == 0 && (pow2 || ranks == n))
            tk_search_each_layout(s, ranks, try_batches, NULL);
    }
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
    clock_t start = clock();
    tk_searcher s = {.in = in, .out = out};
    try_replicas(&s);
    if (!in->aggregated) {
        aim(&s, true);
        tk_search_pools(&s);
    }
    out->seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (out->n_fit == 0)
        return tk_fail(err, TK_NOMEM, "%s does not fit %d x %s (%.0f GB) in any layout",
                       in->model->name, in->n_accel, in->hw->part,
                       in->hw->mem_usable_bytes * 1e-9 * in->n_accel);
    if (out->n_front) qsort(out->front, (size_t)out->n_front, sizeof *out->front, by_user);
    return TK_OK;
}
