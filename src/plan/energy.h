// SPDX-License-Identifier: MIT
// Power of an accelerator from what it does, and of the node around it.
//
//   P = TDP min(1, base + a sqrt(HBM fraction) + b sqrt(FLOP fraction)),   node = sum + host
//
// The HBM fraction is of peak, the FLOP fraction the time that tensor cores would be busy at the rate they reach, in
// whatever precision: FP8 does twice the work of BF16 for the same power. Averaged over time. Concave: power rises fast
// at low load and saturates, so energy per token keeps falling with batch until the cache is full. Of separate pools, the
// mean over both. Pure functions.
#ifndef TK_PLAN_ENERGY_H
#define TK_PLAN_ENERGY_H

#include "plan/serve.h"

typedef struct tk_power {
    double accel_w;               // one accelerator
    double node_w;                // one accelerator's share of the wall power, host included
    double mem_share, flop_share; // of peak; of the time
} tk_power;

void tk_energy_serving(const tk_serve_in *in, const tk_serve_out *o, tk_power *out);
void tk_energy_training(const tk_hw *hw, const tk_params *k, tk_power *out);

#endif
