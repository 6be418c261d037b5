// SPDX-License-Identifier: MIT
// Fits the constants to measured points and their priors: Levenberg-Marquardt on log(prediction / value), one
// stage after the other (serving speed, first tokens, training, power), outliers bounded (Huber). A fold is a
// fit with some rows left out; fold constants are kept so that every later accuracy table and interval comes
// from rows that the constants used there have not seen. Deterministic. One thread.
#ifndef TK_PLAN_FIT_H
#define TK_PLAN_FIT_H

#include "plan/predict.h"

// What is left out. X(id, name)
#define TK_FOLD_MAP(X)                                                                             \
    X(CONFIG, "configuration") /* a fifth of the configurations */                                 \
    X(SYSTEM, "system")        /* an accelerator */                                                \
    X(MODEL, "model")          /* a model */

typedef enum tk_fold_kind {
#define X(id, name) TK_FOLD_##id,
    TK_FOLD_MAP(X)
#undef X
        TK_FOLD_COUNT
} tk_fold_kind;
const char *tk_fold_name(tk_fold_kind k);

enum { TK_FOLD_CONFIGS = 5, TK_FOLD_MAX = 64 };

// The floor: one memory and one FLOP efficiency, latency and share of links, time per layer of three backends,
// per MoE layer, per step, and prefill's share. No knowledge of parts, precisions or dates.
enum { TK_FLOOR_N = 10 };

typedef struct tk_fold {
    tk_fold_kind kind;
    char name[64]; // "0".."4", an accelerator, a model
    tk_params k;
    tk_effects fx;
    double floor[TK_FLOOR_N];
} tk_fold;

// An 80 % interval of log(value / prediction) for a class at a tier.
typedef struct tk_interval {
    double low, high;
    int n; // held-out rows behind it; 0 = widened from its neighbours
} tk_interval;

typedef struct tk_constants {
    tk_trait trait[TK_EFFECT_MAX]; // of the rows fitted; effects point here
    int n_trait;
    tk_params k;
    tk_effects fx;
    double floor[TK_FLOOR_N];
    tk_fold fold[TK_FOLD_MAX];
    int n_fold;
    tk_interval interval[TK_CLASS_COUNT][TK_TIER_COUNT];
    char seen_hw[TK_FOLD_MAX][48], seen_model[TK_FOLD_MAX][64];
    int n_seen_hw, n_seen_model;
    int n_row;      // rows fitted
    char date[16];  // of the fit
    char from[128]; // the points' file
} tk_constants;

// Uses rows whose split is "fit" alone. progress (may be NULL) is told each fold's name.
tk_status tk_fit(tk_catalog *c, const tk_points *pts, const char *from, const char *date,
                 void (*progress)(const char *), tk_constants **out, tk_err *err);

tk_status tk_constants_load(const tk_catalog *c, tk_constants **out,
                            tk_err *err); // free with tk_free
tk_status tk_constants_save(const tk_constants *k, const char *path, tk_err *err);

// Whether a prediction lies in a fold: its rows were not used for that fold's constants.
bool tk_fold_holds(const tk_fold *f, const tk_point *row, const tk_prediction *p);
// t: the case's traits; NULL: no measured case is taken to be like it.
tk_tier tk_constants_tier(const tk_constants *k, const tk_prediction *p, const tk_trait *t);
void tk_constants_interval(const tk_constants *k, const tk_prediction *p, tk_tier tier, double *low,
                           double *high);

// The textbook roofline as constants: 0.8 of HBM, 0.6 of FLOP, nothing else costs time.
void tk_params_roofline(tk_params *out);
// The ten constants of the floor, the rest tied to them or neutral.
void tk_params_floor(const double floor[TK_FLOOR_N], tk_params *out);

#endif
