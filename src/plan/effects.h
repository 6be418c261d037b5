// SPDX-License-Identifier: MIT
// Kriging: what a model, a backend on a part, or their pairing does beyond the causes the cost model knows (an untuned
// kernel, a good one). The logarithm of measured over predicted is taken as a Gaussian process over traits of a case:
// the groups it belongs to, and where it lies in batch, context and ranks. Near measured cases the mean of that process
// moves the prediction, far from all of them it is zero. The same process tells the fit which rows say the same thing
// twice (plan/fit.c). Folds have their own, without the rows they leave out. Plain values, any thread.
#ifndef TK_PLAN_EFFECTS_H
#define TK_PLAN_EFFECTS_H

#include "plan/catalog.h"
#include "plan/param.h"

enum { TK_TRAIT_GROUPS = 5, TK_TRAIT_DIMS = 3, TK_TRAIT_KEY = 96, TK_EFFECT_MAX = 1024 };

typedef struct tk_trait {
    tk_stage stage;
    char key[TK_TRAIT_GROUPS][TK_TRAIT_KEY];
    uint64_t hash[TK_TRAIT_GROUPS]; // of key
    double at[TK_TRAIT_DIMS];       // octaves
} tk_trait;

// The groups of a case: the model; backend and part; the model on the part's generation; backend and model; all of
// them with the precision. at is left 0.
void tk_trait_set(tk_trait *t, tk_stage stage, const char *backend, const tk_hw *hw,
                  const char *model, const char *precision, bool pools);
void tk_trait_key(tk_trait *t, int group, const char *name); // one of them, as read from a file
// Prior covariance of the effects of two cases of one stage.
double tk_trait_covariance(const tk_trait *a, const tk_trait *b);

typedef struct tk_effects {
    const tk_trait *trait;        // [n], borrowed
    double weight[TK_EFFECT_MAX]; // of each trait's covariance; 0: left out
    int n;
} tk_effects;

// The factor on what the stage predicts (time per token, first token, step, power); 1 when fx is NULL.
double tk_effects_scale(const tk_effects *fx, const tk_trait *t);

// The largest prior correlation of a case with one that has a weight, 0..1.
double tk_effects_nearest(const tk_effects *fx, const tk_trait *t);

// The same in two parts, for a search that moves one case about: aim at its groups once, then ask anywhere.
typedef struct tk_effects_term {
    double weight, at[TK_TRAIT_DIMS];
} tk_effects_term;
typedef struct tk_effects_field {
    tk_stage stage;
    double whole;
    int n;
    tk_effects_term term[TK_EFFECT_MAX];
} tk_effects_field;
void tk_effects_aim(const tk_effects *fx, const tk_trait *t, tk_effects_field *out);
double tk_effects_at(const tk_effects_field *f, const double at[TK_TRAIT_DIMS]);

#endif
