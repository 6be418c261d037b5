// SPDX-License-Identifier: MIT
#include "plan/fit_priv.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void gather(const tk_predictor *base, const tk_points *pts, tk_fit_rows *r)
{
    r->pts = pts;
    r->at = tk_alloc((size_t)pts->n * sizeof *r->at);
    r->first = tk_alloc((size_t)pts->n * sizeof *r->first);
    r->n = 0;
    for (int i = 0; i < pts->n; i++) {
        if (strcmp(pts->p[i].f[TK_COL_SPLIT], "fit") != 0 || !isfinite(pts->value[i])) continue;
        tk_prediction *p = &r->first[r->n];
        tk_predict(base, &pts->p[i], p);
        if (p->refused[0] || r->n == TK_EFFECT_MAX) continue;
        tk_predict_trait(base, &pts->p[i], p, &r->trait[r->n]);
        r->at[r->n++] = i;
    }
}

static void note(char (*seen)[64], int *n, const char *name)
{
    for (int i = 0; i < *n; i++)
        if (strcmp(seen[i], name) == 0) return;
    if (*n < TK_FOLD_MAX) snprintf(seen[(*n)++], 64, "%s", name);
}

static void add_fold(tk_constants *c, tk_fold_kind kind, const char *name)
{
    if (c->n_fold == TK_FOLD_MAX) return;
    tk_fold *f = &c->fold[c->n_fold++];
    f->kind = kind;
    snprintf(f->name, sizeof f->name, "%s", name);
}

static void list_folds(const tk_fit_rows *r, tk_constants *c)
{
    char hw[TK_FOLD_MAX][64];
    for (int i = 0; i < r->n; i++) {
        note(hw, &c->n_seen_hw, r->first[i].hw->part);
        if (r->first[i].model) note(c->seen_model, &c->n_seen_model, r->first[i].model->name);
    }
    for (int i = 0; i < c->n_seen_hw; i++)
        snprintf(c->seen_hw[i], sizeof c->seen_hw[i], "%.47s", hw[i]);
    for (int i = 0; i < TK_FOLD_CONFIGS; i++)
        add_fold(c, TK_FOLD_CONFIG, (char[]){(char)('0' + i), 0});
    for (int i = 0; i < c->n_seen_hw; i++) add_fold(c, TK_FOLD_SYSTEM, c->seen_hw[i]);
    for (int i = 0; i < c->n_seen_model; i++) add_fold(c, TK_FOLD_MODEL, c->seen_model[i]);
}

// Whether a fold leaves out any row of a stage.
static bool touches(const tk_fit_rows *r, const tk_fold *f, tk_stage stage)
{
    for (int i = 0; i < r->n; i++)
        if (r->trait[i].stage == stage && tk_fold_holds(f, &r->pts->p[r->at[i]], &r->first[i]))
            return true;
    return false;
}

// k and fx come with what all rows say; stages of which the fold leaves out no row keep that.
static void fit_stages(const tk_predictor *base, const tk_fit_rows *r, const tk_fold *without,
                       tk_params *k, tk_effects *fx)
{
    // first tokens and power stand on the times per token; first tokens tell how much the cache holds
    static const tk_stage order[] = {TK_STAGE_SERVE, TK_STAGE_TTFT, TK_STAGE_SERVE, TK_STAGE_TRAIN,
                                     TK_STAGE_ENERGY};
    tk_predictor with = {base->catalog, base->k, fx};
    for (size_t i = 0; i < TK_COUNT(order); i++)
        if (without == NULL || touches(r, without, order[i]))
            tk_fit_stage(&with, r, without, order[i], k, fx);
}

// ---- intervals

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Conformal: of n held-out residuals the q-quantile at rank q (n + 1).
static double quantile(const double *sorted, int n, double q)
{
    double at = q * (n + 1) - 1;
    if (at <= 0) return sorted[0];
    if (at >= n - 1) return sorted[n - 1];
    int i = (int)at;
    return sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]);
}

// Held-out residuals of a class.
typedef struct held {
    double *e;
    int *fold;  // of each, so that folds can be told apart
    bool *near; // a case much like it was not left out
    int n;
} held;

static bool much_like(const tk_effects *fx, const tk_trait *t)
{
    return tk_effects_nearest(fx, t) > 0.9;
}

static void held_out(const tk_catalog *cat, const tk_constants *c, const tk_fit_rows *r,
                     tk_fold_kind kind, tk_class cls, held *out)
{
    out->n = 0;
    for (int f = 0; f < c->n_fold; f++) {
        if (c->fold[f].kind != kind) continue;
        tk_predictor with = {(tk_catalog *)cat, &c->fold[f].k, &c->fold[f].fx};
        for (int i = 0; i < r->n; i++) {
            const tk_point *row = &r->pts->p[r->at[i]];
            if (r->first[i].cls != cls || !tk_fold_holds(&c->fold[f], row, &r->first[i])) continue;
            tk_prediction p = r->first[i];
            tk_predict_again(&with, row, &p);
            if (p.refused[0]) continue;
            out->fold[out->n] = f;
            out->near[out->n] = much_like(&c->fold[f].fx, &r->trait[i]);
            out->e[out->n++] = log(r->pts->value[r->at[i]] / p.value);
        }
    }
}

// A part or model that was left out differs from all others in its own way, so quantiles over the others are too
// narrow for it. The least factor on them, 1 to 3, by which each fold's rows lie to 80 % within the others'.
static double inflation(const double *e, const int *fold, int n)
{
    double *other = tk_alloc((size_t)n * sizeof *other + 1), factor = 1;
    for (; factor < 3; factor += 0.1) {
        int inside = 0, judged = 0;
        for (int i = 0; i < n; i++) {
            int m = 0;
            for (int j = 0; j < n; j++)
                if (fold[j] != fold[i]) other[m++] = e[j];
            if (m < 4) continue;
            qsort(other, (size_t)m, sizeof *other, ascending);
            double lo = factor * fmin(quantile(other, m, 0.10), -0.02),
                   hi = factor * fmax(quantile(other, m, 0.90), 0.02);
            inside += e[i] >= lo && e[i] <= hi;
            judged++;
        }
        if (judged == 0 || inside >= 0.8 * judged) break;
    }
    tk_free(other);
    return factor;
}

static tk_interval interval_of(const double *sorted, int n)
{
    tk_interval v = {quantile(sorted, n, 0.10), quantile(sorted, n, 0.90), n};
    // a few rows that agree are no proof of accuracy
    if (v.low > -0.02) v.low = -0.02;
    if (v.high < 0.02) v.high = 0.02;
    return v;
}

enum { ENOUGH = 8 }; // rows for an interval of their own

// Of seen parts and models: cases much like a measured one apart from the others, where there are enough of each.
static void set_near(const held *h, double *e, tk_interval *v)
{
    for (int near = 0; near < 2; near++) {
        int n = 0;
        for (int i = 0; i < h->n; i++)
            if (h->near[i] == (near == 1)) e[n++] = h->e[i];
        qsort(e, (size_t)n, sizeof *e, ascending);
        tk_interval *to = &v[near ? TK_TIER_INTERPOLATED : TK_TIER_CALIBRATED];
        if (n >= ENOUGH) *to = interval_of(e, n);
    }
}

static void set_class(const tk_catalog *cat, const tk_fit_rows *r, tk_class cls, tk_constants *c,
                      held *h, double *scratch)
{
    tk_interval *v = c->interval[cls], all = {0};
    for (int kind = 0; kind < TK_FOLD_COUNT; kind++) {
        held_out(cat, c, r, (tk_fold_kind)kind, cls, h);
        double wider = kind == TK_FOLD_CONFIG ? 1 : inflation(h->e, h->fold, h->n), *e = scratch;
        memcpy(e, h->e, (size_t)h->n * sizeof *e);
        qsort(e, (size_t)h->n, sizeof *e, ascending);
        if (h->n >= ENOUGH) {
            v[kind] = interval_of(e, h->n);
            v[kind].low *= wider;
            v[kind].high *= wider;
        } else if (kind > 0 && all.n > 0) {
            v[kind] = (tk_interval){1.5 * all.low, 1.5 * all.high, 0};
        } else { // too few rows: their spread, doubled
            double worst = h->n ? fmax(fabs(e[0]), fabs(e[h->n - 1])) : 0.25;
            worst = fmax(1.5 * worst, 0.25);
            v[kind] = (tk_interval){-worst, worst, 0};
        }
        if (kind > 0) continue;
        all = v[TK_TIER_INTERPOLATED] = v[kind];
        set_near(h, scratch, v);
    }
    // an unseen part or model is never surer than a seen one
    for (int kind = 1; kind < TK_FOLD_COUNT; kind++) {
        v[kind].low = fmin(v[kind].low, all.low);
        v[kind].high = fmax(v[kind].high, all.high);
    }
    tk_interval *s = &v[TK_TIER_NEW_SYSTEM], *m = &v[TK_TIER_NEW_MODEL];
    v[TK_TIER_NEW_BOTH] = (tk_interval){-hypot(s->low, m->low), hypot(s->high, m->high), 0};
}

static void set_intervals(const tk_catalog *cat, tk_constants *c, const tk_fit_rows *r)
{
    size_t n = (size_t)r->n + 1;
    held h = {tk_alloc(n * sizeof *h.e), tk_alloc(n * sizeof *h.fold), tk_alloc(n * sizeof *h.near),
              0};
    double *scratch = tk_alloc(n * sizeof *scratch);
    for (int cls = 0; cls < TK_CLASS_COUNT; cls++) set_class(cat, r, (tk_class)cls, c, &h, scratch);
    tk_free(h.e);
    tk_free(h.fold);
    tk_free(h.near);
    tk_free(scratch);
}

tk_tier tk_constants_tier(const tk_constants *k, const tk_prediction *p, const tk_trait *t)
{
    bool hw = false, model = p->model == NULL;
    for (int i = 0; i < k->n_seen_hw; i++)
        hw = hw || (p->hw && strcmp(k->seen_hw[i], p->hw->part) == 0);
    for (int i = 0; i < k->n_seen_model; i++)
        model = model || (p->model && strcmp(k->seen_model[i], p->model->name) == 0);
    if (hw && model && t && much_like(&k->fx, t)) return TK_TIER_INTERPOLATED;
    return hw && model ? TK_TIER_CALIBRATED
           : model     ? TK_TIER_NEW_SYSTEM
           : hw        ? TK_TIER_NEW_MODEL
                       : TK_TIER_NEW_BOTH;
}

void tk_constants_interval(const tk_constants *k, const tk_prediction *p, tk_tier tier, double *low,
                           double *high)
{
    const tk_interval *v = &k->interval[p->cls][tier];
    *low = p->value * exp(v->low);
    *high = p->value * exp(v->high);
}

tk_status tk_fit(tk_catalog *cat, const tk_points *pts, const char *from, const char *date,
                 void (*progress)(const char *), tk_constants **out, tk_err *err)
{
    tk_constants *c = tk_alloc(sizeof *c);
    tk_params prior;
    tk_params_prior(&prior);
    tk_predictor base = {cat, &prior, NULL};
    tk_fit_rows r = {.trait = c->trait};
    gather(&base, pts, &r);
    tk_status st = TK_OK;
    if (r.n < TK_P_COUNT) {
        st = tk_fail(err, TK_BAD_INPUT, "%d rows with split \"fit\" for %d constants", r.n,
                     TK_P_COUNT);
        goto done;
    }
    snprintf(c->from, sizeof c->from, "%s", from);
    snprintf(c->date, sizeof c->date, "%s", date);
    c->n_row = r.n;
    c->n_trait = r.n;
    list_folds(&r, c);
    if (progress) progress("all rows");
    tk_params_prior(&c->k);
    c->fx = (tk_effects){.trait = r.trait, .n = r.n};
    fit_stages(&base, &r, NULL, &c->k, &c->fx);
    tk_fit_floor(&base, &r, NULL, c->floor);
    for (int f = 0; f < c->n_fold; f++) {
        if (progress) progress(c->fold[f].name);
        c->fold[f].k = c->k;
        c->fold[f].fx = c->fx;
        fit_stages(&base, &r, &c->fold[f], &c->fold[f].k, &c->fold[f].fx);
        tk_fit_floor(&base, &r, &c->fold[f], c->fold[f].floor);
    }
    set_intervals(cat, c, &r);
    *out = c;
    c = NULL;
done:
    tk_free(r.at);
    tk_free(r.first);
    tk_free(c);
    return st;
}
