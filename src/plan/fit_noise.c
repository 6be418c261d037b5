// SPDX-License-Identifier: MIT
// What makes the residuals of a fit: effects that rows share (plan/effects.h) and each row's own scatter. Scatter has
// long tails (Student's t): a row far from its neighbours is loosened, so that it moves neither them nor a constant.
#include "plan/fit_priv.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

double tk_fit_loading(const tk_point *row, const tk_prediction *p)
{
    switch (p->cls) {
    case TK_CLASS_TRAIN:
    case TK_CLASS_TRAIN_MOE: return strcmp(row->f[TK_COL_METRIC], "iteration_time") == 0 ? 1 : -1;
    case TK_CLASS_RATE:
    case TK_CLASS_LATENCY: return -1;
    case TK_CLASS_P99:
    case TK_CLASS_RATIO: return 0;
    default: return p->share;
    }
}

double tk_fit_sigma(tk_class c)
{
    static const double sigma[TK_CLASS_COUNT] = {
        [TK_CLASS_TPOT] = .033,    [TK_CLASS_TPOT_DISAGG] = .06, [TK_CLASS_TPOT_R1] = .18,
        [TK_CLASS_TTFT] = .13,     [TK_CLASS_TTFT_DISAGG] = .32, [TK_CLASS_RATE] = .022,
        [TK_CLASS_LATENCY] = .025, [TK_CLASS_P99] = .2,          [TK_CLASS_RATIO] = .2,
        [TK_CLASS_TRAIN] = .015,   [TK_CLASS_TRAIN_MOE] = .12,   [TK_CLASS_TRAIN_TIME] = .018,
        [TK_CLASS_POWER] = .015,   [TK_CLASS_ENERGY] = .026,
    };
    return sigma[c];
}

static double covariance(const tk_fit_rows *r, int i, int j)
{
    double load = tk_fit_loading(&r->pts->p[r->at[i]], &r->first[i]) *
                  tk_fit_loading(&r->pts->p[r->at[j]], &r->first[j]);
    return load == 0 ? 0 : load * tk_trait_covariance(&r->trait[i], &r->trait[j]);
}

static void factor(tk_noise *z)
{
    size_t n = (size_t)z->n;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double s = covariance(z->rows, z->row[i], z->row[j]) + (i == j ? z->variance[i] : 0);
            for (size_t k = 0; k < j; k++) s -= z->l[i * n + k] * z->l[j * n + k];
            z->l[i * n + j] = i == j ? sqrt(s) : s / z->l[j * n + j];
        }
}

tk_noise *tk_noise_new(const tk_fit_rows *r, const tk_fold *without, tk_stage stage)
{
    tk_noise *z = tk_alloc(sizeof *z);
    z->rows = r;
    z->row = tk_alloc((size_t)r->n * sizeof *z->row + 1);
    z->variance = tk_alloc((size_t)r->n * sizeof *z->variance + 1);
    for (int i = 0; i < r->n; i++) {
        double s = tk_fit_sigma(r->first[i].cls);
        if (tk_class_stage(r->first[i].cls) != stage) continue;
        if (without && tk_fold_holds(without, &r->pts->p[r->at[i]], &r->first[i])) continue;
        z->variance[z->n] = s * s;
        z->row[z->n++] = i;
    }
    z->l = tk_alloc((size_t)z->n * (size_t)z->n * sizeof *z->l + 1);
    factor(z);
    return z;
}

void tk_noise_free(tk_noise *z)
{
    if (z == NULL) return;
    tk_free(z->row);
    tk_free(z->variance);
    tk_free(z->l);
    tk_free(z);
}

void tk_noise_whiten(const tk_noise *z, double *e)
{
    size_t n = (size_t)z->n;
    for (size_t i = 0; i < n; i++) {
        const double *row = z->l + i * n;
        double s = e[i];
        for (size_t k = 0; k < i; k++) s -= row[k] * e[k];
        e[i] = s / row[i];
    }
}

void tk_noise_weights(const tk_noise *z, double *e)
{
    size_t n = (size_t)z->n;
    tk_noise_whiten(z, e);
    for (size_t i = n; i-- > 0;) {
        double s = e[i];
        for (size_t k = i + 1; k < n; k++) s -= z->l[k * n + i] * e[k];
        e[i] = s / z->l[i * n + i];
    }
}

// Beyond `reach` deviations of all that rows share and their scatter together, no effect is believed either, however
// many neighbours agree: a server that still compiled, a row whose conditions are not what it says.
static double disbelief(const tk_noise *z, int i, double e)
{
    const double reach = 3;
    int row = z->row[i];
    double s = tk_fit_sigma(z->rows->first[row].cls);
    double beyond = fabs(e) - reach * sqrt(covariance(z->rows, row, row) + s * s);
    return beyond > 0 ? beyond * beyond : 0;
}

void tk_noise_loosen(tk_noise *z, double *e)
{
    const double freedom = 4;
    double *doubt = tk_alloc((size_t)z->n * sizeof *doubt + 1);
    for (int i = 0; i < z->n; i++) doubt[i] = disbelief(z, i, e[i]);
    tk_noise_weights(z, e);
    for (int i = 0; i < z->n; i++) {
        double s = tk_fit_sigma(z->rows->first[z->row[i]].cls), own = z->variance[i] * e[i] / s;
        z->variance[i] = s * s * fmax(1, (freedom + own * own) / (freedom + 1));
        z->variance[i] = fmax(z->variance[i], doubt[i]);
    }
    factor(z);
    tk_free(doubt);
}
