// SPDX-License-Identifier: MIT
#include "plan/validate.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_share(const double *sorted, int n, double q)
{
    double at = q * (n - 1);
    int i = (int)at;
    return i + 1 < n ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

tk_score tk_score_of(const double *error, const bool *covered, int n)
{
    tk_score s = {.n = n};
    if (n == 0) return s;
    double *e = tk_alloc((size_t)n * sizeof *e);
    for (int i = 0; i < n; i++) {
        e[i] = error[i];
        s.covered += covered && covered[i] ? 1.0 / n : 0;
        s.mean += fabs(error[i]) / n;
    }
    qsort(e, (size_t)n, sizeof *e, ascending);
    s.bias = at_share(e, n, 0.5);
    for (int i = 0; i < n; i++) e[i] = fabs(error[i]);
    qsort(e, (size_t)n, sizeof *e, ascending);
    s.median = at_share(e, n, 0.5);
    s.p90 = at_share(e, n, 0.9);
    s.worst = e[n - 1];
    tk_free(e);
    return s;
}

tk_score tk_validation_score(const tk_validation *v, tk_pick_fn pick, const void *ctx)
{
    double *e = tk_alloc((size_t)v->pts->n * sizeof *e + 1);
    bool *in = tk_alloc((size_t)v->pts->n * sizeof *in + 1);
    int n = 0;
    for (int i = 0; i < v->pts->n; i++) {
        const tk_verdict *r = &v->row[i];
        if (!isfinite(r->error) || !r->scored || !pick(v, i, ctx)) continue;
        e[n] = r->error;
        in[n++] = v->pts->value[i] >= r->low && v->pts->value[i] <= r->high;
    }
    tk_score s = tk_score_of(e, in, n);
    tk_free(e);
    tk_free(in);
    return s;
}

// ---- held out

typedef struct trial {
    double model, floor, roofline; // errors
    int fold;
} trial;

static double error_with(tk_catalog *c, const tk_params *k, const tk_effects *fx,
                         const tk_point *row, const tk_prediction *first, double value)
{
    tk_predictor with = {c, k, fx};
    tk_prediction p = *first;
    tk_predict_again(&with, row, &p);
    return p.refused[0] ? NAN : p.value / value - 1;
}

static int gather(const tk_validation *v, tk_fold_kind kind, tk_class cls, trial *out)
{
    int n = 0;
    tk_params roofline, floor;
    tk_params_roofline(&roofline);
    for (int f = 0; f < v->k->n_fold; f++) {
        const tk_fold *fold = &v->k->fold[f];
        if (fold->kind != kind) continue;
        tk_params_floor(fold->floor, &floor);
        for (int i = 0; i < v->pts->n; i++) {
            const tk_verdict *r = &v->row[i];
            if (!r->fitted || r->p.refused[0] || r->p.cls != cls || !isfinite(v->pts->value[i]) ||
                !tk_fold_holds(fold, &v->pts->p[i], &r->p))
                continue;
            const tk_point *row = &v->pts->p[i];
            double value = v->pts->value[i];
            trial t = {error_with(v->catalog, &fold->k, &fold->fx, row, &r->p, value),
                       error_with(v->catalog, &floor, NULL, row, &r->p, value),
                       error_with(v->catalog, &roofline, NULL, row, &r->p, value), f};
            if (isfinite(t.model)) out[n++] = t;
        }
    }
    return n;
}

// Whether row i lies in the interval that the other folds' residuals give: what coverage of unseen rows is.
static bool covered_by_others(const trial *t, int n, int i, double *scratch)
{
    int m = 0;
    for (int j = 0; j < n; j++)
        if (t[j].fold != t[i].fold) scratch[m++] = -log1p(t[j].model);
    if (m < 4) return true; // nothing to compare with: not counted against or for
    qsort(scratch, (size_t)m, sizeof *scratch, ascending);
    double e = -log1p(t[i].model), lo = 0.1 * (m + 1) - 1, hi = 0.9 * (m + 1) - 1;
    lo = lo < 0 ? 0 : lo;
    hi = hi > m - 1 ? m - 1 : hi;
    return e >= fmin(scratch[(int)lo], -0.02) && e <= fmax(scratch[(int)ceil(hi)], 0.02);
}

static void hold_out(tk_validation *v)
{
    size_t cap = (size_t)v->pts->n + 1;
    trial *t = tk_alloc(cap * sizeof *t);
    double *e = tk_alloc(cap * sizeof *e), *scratch = tk_alloc(cap * sizeof *scratch);
    bool *in = tk_alloc(cap * sizeof *in);
    for (int kind = 0; kind < TK_FOLD_COUNT; kind++)
        for (int cls = 0; cls < TK_CLASS_COUNT; cls++) {
            int n = gather(v, (tk_fold_kind)kind, (tk_class)cls, t);
            if (n == 0) continue;
            tk_held_out *h = &v->held[v->n_held++];
            *h = (tk_held_out){.kind = (tk_fold_kind)kind, .cls = (tk_class)cls};
            for (int i = 0; i < n; i++)
                e[i] = t[i].model, in[i] = covered_by_others(t, n, i, scratch);
            h->model = tk_score_of(e, in, n);
            if (cls >= TK_CLASS_TRAIN) continue;
            int m = 0;
            for (int i = 0; i < n; i++)
                if (isfinite(t[i].floor)) e[m++] = t[i].floor;
            h->floor = tk_score_of(e, NULL, m);
            m = 0;
            for (int i = 0; i < n; i++)
                if (isfinite(t[i].roofline)) e[m++] = t[i].roofline;
            h->roofline = tk_score_of(e, NULL, m);
        }
    tk_free(t);
    tk_free(e);
    tk_free(scratch);
    tk_free(in);
}

tk_score tk_validation_fold(const tk_validation *v, const tk_fold *f, bool tpot_only)
{
    double *e = tk_alloc((size_t)v->pts->n * sizeof *e + 1);
    int n = 0;
    for (int i = 0; i < v->pts->n; i++) {
        const tk_verdict *r = &v->row[i];
        if (!r->fitted || r->p.refused[0] || !isfinite(v->pts->value[i])) continue;
        if (tpot_only && r->p.cls != TK_CLASS_TPOT && r->p.cls != TK_CLASS_TPOT_DISAGG) continue;
        if (!tk_fold_holds(f, &v->pts->p[i], &r->p)) continue;
        double x = error_with(v->catalog, &f->k, &f->fx, &v->pts->p[i], &r->p, v->pts->value[i]);
        if (isfinite(x)) e[n++] = x;
    }
    tk_score s = tk_score_of(e, NULL, n);
    tk_free(e);
    return s;
}

// ---- all rows

tk_validation *tk_validate(tk_catalog *c, const tk_constants *k, const tk_points *pts)
{
    tk_validation *v = tk_alloc(sizeof *v);
    v->catalog = c;
    v->k = k;
    v->pts = pts;
    v->row = tk_alloc((size_t)pts->n * sizeof *v->row + 1);
    tk_predictor p = {c, &k->k, &k->fx};
    for (int i = 0; i < pts->n; i++) {
        tk_verdict *r = &v->row[i];
        r->error = NAN;
        tk_predict(&p, &pts->p[i], &r->p);
        r->fitted = strcmp(pts->p[i].f[TK_COL_SPLIT], "fit") == 0;
        r->scored = strcmp(pts->p[i].f[TK_COL_SPLIT], "context") != 0;
        if (r->p.refused[0]) continue;
        tk_trait t;
        tk_predict_trait(&p, &pts->p[i], &r->p, &t);
        r->tier = tk_constants_tier(k, &r->p, &t);
        tk_constants_interval(k, &r->p, r->tier, &r->low, &r->high);
        if (isfinite(pts->value[i])) r->error = r->p.value / pts->value[i] - 1;
    }
    hold_out(v);
    return v;
}

void tk_validation_free(tk_validation *v)
{
    if (v == NULL) return;
    tk_free(v->row);
    tk_free(v);
}
