// SPDX-License-Identifier: MIT
// Partial pooling: what a model, a backend on a part, or their pairing does to the time per token beyond the causes
// the cost model knows (an untuned kernel, a good one). Each group's mean residual is shrunk by n / (n + 4), so a
// group of few rows moves little and an unseen one not at all. Fitted on log residuals by backfitting after the
// serving constants; folds have their own, without the rows they leave out.
#ifndef TK_PLAN_EFFECTS_H
#define TK_PLAN_EFFECTS_H

#include "plan/catalog.h"

enum { TK_EFFECT_MAX = 256, TK_EFFECT_GROUPS = 4, TK_EFFECT_KEY = 96 };

typedef struct tk_effect {
    char key[TK_EFFECT_KEY];
    double v; // of log time per token
} tk_effect;

typedef struct tk_effects {
    tk_effect e[TK_EFFECT_MAX];
    int n;
} tk_effects;

// The groups of a case, coarsest first: the model; backend and part; backend, model and pools; all with precision.
void tk_effects_keys(const char *backend, const tk_hw *hw, const char *model, const char *precision,
                     bool pools, char key[TK_EFFECT_GROUPS][TK_EFFECT_KEY]);
// The factor on time per token; 1 when fx is NULL or no group is known.
double tk_effects_scale(const tk_effects *fx, char key[TK_EFFECT_GROUPS][TK_EFFECT_KEY]);

// Backfits n rows: key[i] their groups, r[i] their log residuals (value / prediction).
void tk_effects_fit(int n, char (*key)[TK_EFFECT_GROUPS][TK_EFFECT_KEY], const double *r,
                    tk_effects *out);

#endif
