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
    int n;
} tk_fit_rows;

// Fits one stage's constants of *k, the others as they are. without may be NULL.
void tk_fit_stage(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  tk_stage stage, tk_params *k);
void tk_fit_floor(const tk_predictor *base, const tk_fit_rows *rows, const tk_fold *without,
                  double floor[TK_FLOOR_N]);

#endif
