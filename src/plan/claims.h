// SPDX-License-Identifier: MIT
// Published multiples, computed again under their stated conditions: what was measured, what is modelled, what the
// popular article got wrong. Ranges where a condition is not disclosed.
#ifndef TK_PLAN_CLAIMS_H
#define TK_PLAN_CLAIMS_H

#include "plan/fit.h"

typedef struct tk_claim {
    const char *name, *published;
    double low, high; // modelled range
    double measured;  // like for like, 0 = nothing measured
    const char *measured_what, *modelled_what, *wrong;
} tk_claim;

enum { TK_CLAIMS = 6, TK_PATH_STEPS = 18 };

typedef struct tk_claims {
    tk_claim claim[TK_CLAIMS];
    double path_model[TK_PATH_STEPS]; // tokens/s per user of the 67 -> 368 path
    int n_path;
} tk_claims;

extern const double tk_claims_path[TK_PATH_STEPS]; // as published
extern const char *const tk_claims_path_step[TK_PATH_STEPS];

tk_status tk_claims_compute(tk_catalog *c, const tk_constants *k, tk_claims *out, tk_err *err);

#endif
