// SPDX-License-Identifier: MIT
// Between fit.c (least squares) and fit_folds.c (folds, intervals, the whole fit).
#ifndef TK_PLAN_FIT_PRIV_H
#define TK_PLAN_FIT_PRIV_H

#include "plan/fit.h"

// The rows of a fit: indices into pts, and what a first prediction with the priors found (part, model, class).
typedef struct tk_fit_rows {
    const tk_points *pts;
    int *at;
    tk_prediction *first;
    tk_trait *trait;
    int n;
} tk_fit_rows;

// Covariance of the residuals of a stage's rows, as its Cholesky factor.
typedef struct tk_noise {
    const tk_fit_rows *rows;
    int *row;         // [n] index into rows
    double *variance; // [n] of each row's own scatter
    double *l;        // [n][n], lower triangle
    int n;
} tk_noise;
tk_noise *tk_noise_new(const tk_fit_rows *r, const tk_fold *without, tk_stage stage);
void tk_noise_free(tk_noise *z); // NULL is fine
// e[n] becomes inverse(L) e: independent, of unit variance.
void tk_noise_whiten(const tk_noise *z, double *e);
// e[n] becomes inverse(L L') e: the weights of kriging for residuals e.
void tk_noise_weights(const tk_noise *z, double *e);
// Gives rows that residuals e leave far from their neighbours a larger variance; e is scratch afterwards.
void tk_noise_loosen(tk_noise *z, double *e);
// How a row's value grows with its stage's effect: 1 as it, -1 inversely, 0 not at all.
double tk_fit_loading(const tk_point *row, const tk_prediction *p);
// How far a good model may be off.
double tk_fit_sigma(tk_class c);

// Fits one stage's constants of *k and its effects in *fx, the others as they are. without may be NULL.
void tk_fit_stage(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  tk_stage stage, tk_params *k, tk_effects *fx);
void tk_fit_floor(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  double floor[TK_FLOOR_N]);

#endif
