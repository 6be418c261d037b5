// SPDX-License-Identifier: MIT
// Predicts every row of a points file and says how far off it was. The measured value is read after the
// prediction, for the error alone. Three kinds of numbers that are never mixed: rows the constants were fitted on
// (in sample), held-out folds of those rows (constants that had not seen them), and rows never fitted.
#ifndef TK_PLAN_VALIDATE_H
#define TK_PLAN_VALIDATE_H

#include "plan/fit.h"

#include <stdio.h>

typedef struct tk_verdict {
    tk_prediction p;
    double low, high; // 80 % interval
    double error;     // prediction / value - 1; NAN when there is no value
    tk_tier tier;
    bool fitted, scored; // split "fit"; not "context"
} tk_verdict;

typedef struct tk_score {
    int n;
    double median, mean, p90, worst; // of |error|
    double bias;                     // median of error
    double covered;                  // share inside the interval
} tk_score;

// A held-out table: one fold kind, one class.
typedef struct tk_held_out {
    tk_fold_kind kind;
    tk_class cls;
    tk_score model, floor, roofline;
} tk_held_out;

typedef struct tk_validation {
    tk_catalog *catalog;
    const tk_constants *k;
    const tk_points *pts;
    tk_verdict *row; // [pts->n]
    tk_held_out held[TK_FOLD_COUNT * TK_CLASS_COUNT];
    int n_held;
} tk_validation;

// pts must outlive the result. Free with tk_validation_free.
tk_validation *tk_validate(tk_catalog *c, const tk_constants *k, const tk_points *pts);
void tk_validation_free(tk_validation *v); // NULL is fine

// Scores of the rows that pick says yes to.
typedef bool (*tk_pick_fn)(const tk_validation *v, int i, const void *ctx);
tk_score tk_validation_score(const tk_validation *v, tk_pick_fn pick, const void *ctx);
// |error| and coverage of n log residuals and flags.
tk_score tk_score_of(const double *error, const bool *covered, int n);

// One fold of one kind by name (an accelerator, a model), held out: predictions with that fold's constants.
tk_score tk_validation_fold(const tk_validation *v, const tk_fold *f, bool tpot_only);

// {"rows": [...], "summary": {...}}, new reference.
json_t *tk_validation_json(const tk_validation *v);
void tk_validation_print(const tk_validation *v, bool rows, FILE *to);

#endif
