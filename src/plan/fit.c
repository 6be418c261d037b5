// SPDX-License-Identifier: MIT
#include "plan/fit.h"

#include "plan/fit_priv.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *tk_fold_name(tk_fold_kind k)
{
    static const char *const names[] = {
#define X(id, name) name,
        TK_FOLD_MAP(X)
#undef X
    };
    return names[k];
}

// ---- what belongs to what

static uint32_t hash(uint32_t h, const char *s)
{
    for (; *s; s++) h = (h ^ (unsigned char)*s) * 16777619u; // FNV-1a
    return (h ^ '|') * 16777619u;
}

// Rows of one run share a fold: the metric is not part of a configuration.
static int config_fold(const tk_point *r)
{
    static const tk_col cols[] = {TK_COL_SYSTEM, TK_COL_ACCELERATOR, TK_COL_N_ACCEL,
                                  TK_COL_MODEL,  TK_COL_PRECISION,   TK_COL_PARALLELISM,
                                  TK_COL_ISL,    TK_COL_OSL,         TK_COL_CONCURRENCY};
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < TK_COUNT(cols); i++) h = hash(h, r->f[cols[i]]);
    h ^= h >> 15;
    return (int)(h % TK_FOLD_CONFIGS);
}

bool tk_fold_holds(const tk_fold *f, const tk_point *row, const tk_prediction *p)
{
    switch (f->kind) {
    case TK_FOLD_CONFIG: return config_fold(row) == f->name[0] - '0';
    case TK_FOLD_SYSTEM: return p->hw && strcmp(p->hw->part, f->name) == 0;
    case TK_FOLD_MODEL: return p->model && strcmp(p->model->name, f->name) == 0;
    default: return false;
    }
}

// ---- least squares

typedef struct problem {
    const tk_predictor *base;
    const tk_fit_rows *rows;
    int n_x;
    const double *prior, *sigma; // [n_x]
    void (*expand)(const struct problem *, const double *x, tk_params *out);
    const tk_params *start; // constants of other stages
    int index[TK_P_COUNT];  // of the free constants
    tk_noise *noise;        // of the rows used
    bool kinks;             // the model is not smooth in the constants
    bool shared;            // rows share effects; the floor knows none
} problem;

// log(prediction / value) of a row.
static double residual(const problem *p, int i, const tk_params *k)
{
    const double most = 3; // what a constant that makes a row impossible costs, too
    const tk_fit_rows *r = p->rows;
    tk_predictor with = *p->base;
    with.k = k;
    tk_prediction out = r->first[i];
    tk_predict_again(&with, &r->pts->p[r->at[i]], &out);
    if (out.refused[0]) return most;
    return fmax(-most, fmin(most, log(out.value / r->pts->value[r->at[i]])));
}

// Huber beyond 1.5 sigma: the square root of its loss.
static double bounded(double e, double sigma)
{
    double a = fabs(e / sigma);
    return a <= 1.5 ? e / sigma : copysign(sqrt(3 * a - 2.25), e);
}

// e[0..rows) of the points, then the priors'. Returns the sum of squares.
static double residuals(const problem *p, const double *x, double *e)
{
    tk_params k;
    double sum = 0;
    const tk_noise *z = p->noise;
    p->expand(p, x, &k);
    memset(e, 0, (size_t)p->rows->n * sizeof *e);
    for (int i = 0; i < z->n; i++) {
        e[i] = residual(p, z->row[i], &k);
        if (!p->shared) e[i] = bounded(e[i], tk_fit_sigma(p->rows->first[z->row[i]].cls));
    }
    if (p->shared) tk_noise_whiten(z, e);
    for (int i = 0; i < z->n; i++) sum += e[i] * e[i];
    for (int j = 0; j < p->n_x; j++) {
        double d = (x[j] - p->prior[j]) / p->sigma[j];
        e[p->rows->n + j] = d;
        sum += d * d;
    }
    return sum;
}

// Solves (a + lambda diag a) d = b for d by Cholesky; false when not positive definite.
static bool solve(int n, const double *a, double lambda, const double *b, double *l, double *d)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            double s = a[i * n + j] * (i == j ? 1 + lambda : 1);
            for (int k = 0; k < j; k++) s -= l[i * n + k] * l[j * n + k];
            if (i == j) {
                if (!(s > 0)) return false;
                l[i * n + i] = sqrt(s);
            } else {
                l[i * n + j] = s / l[j * n + j];
            }
        }
    for (int i = 0; i < n; i++) {
        double s = b[i];
        for (int k = 0; k < i; k++) s -= l[i * n + k] * d[k];
        d[i] = s / l[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        double s = d[i];
        for (int k = i + 1; k < n; k++) s -= l[k * n + i] * d[k];
        d[i] = s / l[i * n + i];
    }
    return true;
}

static void normal_equations(const problem *p, const double *x, const double *e, double *try_x,
                             double *try_e, double *jac, double *a, double *g)
{
    int n = p->n_x, m = p->rows->n + n;
    memcpy(try_x, x, (size_t)n * sizeof *x);
    for (int j = 0; j < n; j++) {
        double h = 0.1 * p->sigma[j];
        try_x[j] = x[j] + h;
        residuals(p, try_x, try_e);
        try_x[j] = x[j];
        for (int i = 0; i < m; i++) jac[(size_t)j * (size_t)m + (size_t)i] = (try_e[i] - e[i]) / h;
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j <= i; j++) {
            const double *u = jac + (size_t)i * (size_t)m, *v = jac + (size_t)j * (size_t)m;
            double s = 0;
            for (int k = 0; k < m; k++) s += u[k] * v[k];
            a[i * n + j] = a[j * n + i] = s;
        }
    for (int i = 0; i < n; i++) {
        const double *u = jac + (size_t)i * (size_t)m;
        double s = 0;
        for (int k = 0; k < m; k++) s -= u[k] * e[k];
        g[i] = s;
    }
}

// Tries each constant alone, up and down: a simulation inside has kinks that mislead a gradient. Returns the sum.
static double sweep(const problem *p, double *x, double *e, double *try_e, double best)
{
    static const double steps[] = {0.5, -0.5, 0.12, -0.12};
    for (int j = 0; j < p->n_x; j++)
        for (size_t k = 0; k < TK_COUNT(steps); k++) {
            double was = x[j];
            x[j] += steps[k] * p->sigma[j];
            double now = residuals(p, x, try_e);
            if (now < best) {
                best = now;
                memcpy(e, try_e, (size_t)(p->rows->n + p->n_x) * sizeof *e);
            } else {
                x[j] = was;
            }
        }
    return best;
}

// Levenberg-Marquardt from x on, where it halts by sweeps; x becomes the minimum.
static void minimise(const problem *p, double *x)
{
    enum { STEPS = 25, SWEEPS = 3 };
    size_t n = (size_t)p->n_x, m = (size_t)p->rows->n + n;
    double *mem = tk_alloc((2 * m + 3 * n + n * m + 2 * n * n) * sizeof *mem);
    double *e = mem, *te = e + m, *tx = te + m, *g = tx + n, *d = g + n, *jac = d + n,
           *a = jac + n * m, *l = a + n * n;
    double lambda = 1e-2, best = residuals(p, x, e);
    for (int step = 0, swept = 0; step < STEPS && swept < SWEEPS; step++) {
        normal_equations(p, x, e, tx, te, jac, a, g);
        double was = best;
        for (int t = 0; t < 6; t++, lambda *= 6) {
            if (!solve(p->n_x, a, lambda, g, l, d)) continue;
            for (size_t j = 0; j < n; j++) // no further at once than the prior reaches
                tx[j] = x[j] + fmax(-p->sigma[j], fmin(p->sigma[j], d[j]));
            double now = residuals(p, tx, te);
            if (now >= best) continue;
            memcpy(x, tx, n * sizeof *x);
            memcpy(e, te, m * sizeof *e);
            best = now;
            lambda = lambda > 1e-6 ? lambda / 10 : lambda;
            break;
        }
        if (was - best > 1e-3 * best) continue;
        if (!p->kinks) break;
        double before = best;
        best = sweep(p, x, e, te, best);
        if (before - best < 1e-3 * best) break;
        swept++;
        lambda = 1e-2;
    }
    tk_free(mem);
}

// ---- the full model

static void expand_stage(const problem *p, const double *x, tk_params *out)
{
    *out = *p->start;
    for (int j = 0; j < p->n_x; j++)
        out->v[p->index[j]] = tk_param_get((tk_param_id)p->index[j])->log ? exp(x[j]) : x[j];
}

// Residuals of the used rows, log(value / prediction).
static void left(const problem *p, const tk_params *k, double *e)
{
    for (int i = 0; i < p->noise->n; i++) e[i] = -residual(p, p->noise->row[i], k);
}

void tk_fit_stage(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  tk_stage stage, tk_params *k, tk_effects *fx)
{
    enum { ROUNDS = 2 };
    double x[TK_P_COUNT], prior[TK_P_COUNT], sigma[TK_P_COUNT];
    tk_params start = *k;
    tk_noise *z = tk_noise_new(rows, without, stage);
    double *e = tk_alloc((size_t)z->n * sizeof *e + 1);
    problem p = {.base = base,
                 .rows = rows,
                 .prior = prior,
                 .sigma = sigma,
                 .expand = expand_stage,
                 .start = &start,
                 .noise = z,
                 .kinks = stage == TK_STAGE_TTFT,
                 .shared = true};
    for (int i = 0; i < rows->n; i++)
        if (rows->trait[i].stage == stage) fx->weight[i] = 0;
    for (int i = 0; i < TK_P_COUNT; i++) {
        const tk_param_info *info = tk_param_get((tk_param_id)i);
        if (info->stage != stage) continue;
        prior[p.n_x] = info->log ? log(info->prior) : info->prior;
        sigma[p.n_x] = info->sigma;
        x[p.n_x] = info->log ? log(k->v[i]) : k->v[i];
        p.index[p.n_x++] = i;
    }
    left(&p, k, e);
    tk_noise_loosen(z, e);
    for (int round = 0; round <= ROUNDS; round++) {
        minimise(&p, x);
        expand_stage(&p, x, k);
        left(&p, k, e);
        if (round < ROUNDS) tk_noise_loosen(z, e);
    }
    tk_noise_weights(z, e);
    for (int i = 0; i < z->n; i++) {
        int at = z->row[i];
        fx->weight[at] = tk_fit_loading(&rows->pts->p[rows->at[at]], &rows->first[at]) * e[i];
    }
    tk_noise_free(z);
    tk_free(e);
}

// ---- the floor: ten constants, no knowledge of parts, precisions or causes

static const double floor_prior[TK_FLOOR_N] = {.8, .6, 12, .5, 60, 70, 90, 60, 100, 1};

static void expand_floor(const problem *p, const double *x, tk_params *out)
{
    static const tk_param_id em[] = {TK_P_EM_AMPERE, TK_P_EM_HOPPER, TK_P_EM_BLACKWELL,
                                     TK_P_EM_OTHER,  TK_P_EM_KV,     TK_P_EM_KV_MLA};
    static const tk_param_id ec[] = {TK_P_EC_AMPERE, TK_P_EC_HOPPER, TK_P_EC_BLACKWELL,
                                     TK_P_EC_OTHER, TK_P_EC_ATTEND};
    double v[TK_FLOOR_N];
    *out = *p->start;
    for (int j = 0; j < TK_FLOOR_N; j++) v[j] = exp(x[j]);
    for (size_t i = 0; i < TK_COUNT(em); i++) out->v[em[i]] = v[0];
    for (size_t i = 0; i < TK_COUNT(ec); i++) out->v[ec[i]] = v[1];
    out->v[TK_P_AR_ALPHA] = out->v[TK_P_A2A_ALPHA] = out->v[TK_P_NET_ALPHA] = v[2];
    out->v[TK_P_AR_LINK] = out->v[TK_P_A2A_LINK] = v[3];
    for (int b = 0; b < TK_BACKEND_COUNT; b++) {
        out->v[TK_P_T_LAYER_TRTLLM + b] =
            v[b == TK_BACKEND_TRTLLM || b == TK_BACKEND_MLPERF                            ? 4
              : b == TK_BACKEND_VLLM || b == TK_BACKEND_MLENERGY || b == TK_BACKEND_VLLM0 ? 5
                                                                                          : 6];
        out->v[TK_P_T_MOE_TRTLLM + b] = v[7];
        out->v[TK_P_MIX_TRTLLM + b] = v[9];
    }
    out->v[TK_P_T_STEP] = v[8];
}

void tk_params_roofline(tk_params *out)
{
    static const tk_param_id one[] = {TK_P_EM_FP8,
                                      TK_P_EM_FP4,
                                      TK_P_EM_EXPERT,
                                      TK_P_EC_FP8,
                                      TK_P_EC_FP4,
                                      TK_P_EC_EXPERT,
                                      TK_P_NET_LINK,
                                      TK_P_SOFT_FP8,
                                      TK_P_EM_EXPERT_OLD,
                                      TK_P_MTP_VANILLA,
                                      TK_P_EM_EXPERT_FP8,
                                      TK_P_FIXED_BLACKWELL,
                                      TK_P_GRAPH_OFF,
                                      TK_P_KERNEL_STEP,
                                      TK_P_MTP_UNKNOWN_TRTLLM,
                                      TK_P_MTP_UNKNOWN_SGLANG,
                                      TK_P_MTP_POOLS_TRTLLM,
                                      TK_P_MTP_POOLS_SGLANG};
    tk_params_prior(out);
    problem p = {.start = out};
    tk_params flat;
    double x[TK_FLOOR_N];
    for (int j = 0; j < TK_FLOOR_N; j++) x[j] = log(floor_prior[j]);
    expand_floor(&p, x, &flat);
    *out = flat;
    for (size_t i = 0; i < TK_COUNT(one); i++) out->v[one[i]] = 1;
    out->v[TK_P_OVERLAP] = out->v[TK_P_IMBALANCE] = out->v[TK_P_TREND] = out->v[TK_P_CAP_EXP] = 0;
    for (int b = 0; b < TK_BACKEND_COUNT; b++) {
        out->v[TK_P_T_LAYER_TRTLLM + b] = out->v[TK_P_T_MOE_TRTLLM + b] = 0;
        out->v[TK_P_T_SEQ_TRTLLM + b] = 0;
        out->v[TK_P_MIX_TRTLLM + b] = 1;
        out->v[TK_P_FIRST_TRTLLM + b] = out->v[TK_P_EAGER_TRTLLM + b] = 0;
    }
    out->v[TK_P_T_STEP] = out->v[TK_P_AR_ALPHA] = out->v[TK_P_A2A_ALPHA] = 0;
    out->v[TK_P_NET_ALPHA] = 0;
    out->v[TK_P_DISAGG_FIRST] = out->v[TK_P_BALANCE] = 0;
    out->v[TK_P_DISAGG_BURST] = out->v[TK_P_PREFILL_SLOW] = 1;
    out->v[TK_P_ROOM_TRTLLM] = out->v[TK_P_ROOM_OTHER] = 1;
}

void tk_params_floor(const double floor[TK_FLOOR_N], tk_params *out)
{
    tk_params start;
    tk_params_roofline(&start);
    problem p = {.start = &start};
    double x[TK_FLOOR_N];
    for (int j = 0; j < TK_FLOOR_N; j++) x[j] = log(floor[j]);
    expand_floor(&p, x, out);
}

void tk_fit_floor(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  double floor[TK_FLOOR_N])
{
    double x[TK_FLOOR_N], prior[TK_FLOOR_N], sigma[TK_FLOOR_N];
    tk_params start;
    tk_params_roofline(&start);
    problem p = {.base = base,
                 .rows = rows,
                 .noise = tk_noise_new(rows, without, TK_STAGE_SERVE),
                 .n_x = TK_FLOOR_N,
                 .prior = prior,
                 .sigma = sigma,
                 .expand = expand_floor,
                 .start = &start};
    for (int j = 0; j < TK_FLOOR_N; j++) {
        x[j] = prior[j] = log(floor_prior[j]);
        sigma[j] = 1.5; // as good as free
    }
    minimise(&p, x);
    tk_noise_free(p.noise);
    for (int j = 0; j < TK_FLOOR_N; j++) floor[j] = exp(x[j]);
}
