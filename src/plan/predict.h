// SPDX-License-Identifier: MIT
// From a point (never its value) to a prediction or a refusal: reads the row's words into a case, runs the
// cost model, picks the metric. What is not understood is refused with the reason. Any thread.
#ifndef TK_PLAN_PREDICT_H
#define TK_PLAN_PREDICT_H

#include "plan/effects.h"
#include "plan/param.h"
#include "plan/points.h"
#include "plan/serve.h"

// How far the row is from what the constants were fitted on. X(id, name)
#define TK_TIER_MAP(X)                                                                             \
    X(CALIBRATED, "calibrated")    /* part, model and backend were all seen */                     \
    X(NEW_SYSTEM, "unseen system") /* the part was not */                                          \
    X(NEW_MODEL, "unseen model")   /* the model was not */                                         \
    X(NEW_BOTH, "unseen system and model")                                                         \
    X(INTERPOLATED, "interpolated") /* calibrated, and a case much like it was measured */

typedef enum tk_tier {
#define X(id, name) TK_TIER_##id,
    TK_TIER_MAP(X)
#undef X
        TK_TIER_COUNT
} tk_tier;
const char *tk_tier_name(tk_tier t);

// Rows whose errors are alike share an interval. X(id, name)
#define TK_CLASS_MAP(X)                                                                            \
    X(TPOT, "TPOT")                                                                                \
    X(TPOT_DISAGG, "TPOT disaggregated")                                                           \
    X(TPOT_R1, "TPOT, drafts not stated") /* R1 rows without the MTP column */                     \
    X(TTFT, "TTFT")                                                                                \
    X(TTFT_DISAGG, "TTFT disaggregated")                                                           \
    X(RATE, "throughput")                                                                          \
    X(LATENCY, "single user")                                                                      \
    X(P99, "p99 under MLPerf limits")                                                              \
    X(RATIO, "ratio")                                                                              \
    X(TRAIN, "training rate")                                                                      \
    X(TRAIN_MOE, "training rate, experts")                                                         \
    X(TRAIN_TIME, "time to train")                                                                 \
    X(POWER, "power")                                                                              \
    X(ENERGY, "energy per token")

typedef enum tk_class {
#define X(id, name) TK_CLASS_##id,
    TK_CLASS_MAP(X)
#undef X
        TK_CLASS_COUNT
} tk_class;
const char *tk_class_name(tk_class c);

typedef struct tk_predictor {
    tk_catalog *catalog;
    const tk_params *k;
    const tk_effects *fx; // NULL: none
} tk_predictor;

typedef struct tk_prediction {
    double value; // in the row's unit
    tk_class cls;
    double share; // of the value that its stage's effect multiplies
    const tk_hw *hw;
    const tk_model_entry *model;
    int backend;       // -1: none
    char refused[256]; // "" = predicted
} tk_prediction;

void tk_predict(const tk_predictor *p, const tk_point *row, tk_prediction *out);
// The same with other constants: what the first call looked up in *out (part, model) is kept. For fits.
void tk_predict_again(const tk_predictor *p, const tk_point *row, tk_prediction *out);

// predict_*.c: the parts by kind. A failure's story is the refusal.
typedef struct tk_ask {
    const tk_predictor *p;
    const tk_point *row;
    tk_prediction *out;
} tk_ask;
tk_status tk_predict_serving(const tk_ask *a, tk_err *err);
tk_status tk_predict_training(const tk_ask *a, tk_err *err);
tk_status tk_predict_energy(const tk_ask *a, tk_err *err);
// The traits of a row that was predicted, for the stage its class belongs to.
void tk_predict_trait(const tk_predictor *p, const tk_point *row, const tk_prediction *of,
                      tk_trait *out);
tk_stage tk_class_stage(tk_class c);
// The same from a case: of serving, of training.
void tk_predict_serving_trait(const tk_ask *a, const tk_serve_in *in, tk_stage stage,
                              tk_trait *out);
void tk_predict_training_trait(const tk_ask *a, tk_trait *out);
// The serving case behind a row, for energy.
tk_status tk_predict_case(const tk_ask *a, tk_serve_in *in, tk_err *err);

#endif
