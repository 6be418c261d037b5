// SPDX-License-Identifier: MIT
// How long a step of n tokens takes: a + b n seconds, by least squares over the steps so far, older ones
// counting less. Owner: engine thread.
#ifndef TK_ENGINE_STEP_TIME_H
#define TK_ENGINE_STEP_TIME_H

#include <stdint.h>

typedef struct tk_step_time {
    double n, x, y, xx, xy; // decayed sums: steps, tokens, seconds, tokens^2, tokens * seconds
    double b;               // seconds per token; 0 = not known yet
} tk_step_time;             // all zero is empty

void tk_step_time_add(tk_step_time *e, int32_t n_tok, double seconds);
// Seconds of a step of n_tok tokens; 0 while nothing is known.
double tk_step_time_guess(const tk_step_time *e, int32_t n_tok);
// Most tokens of a step that takes at most `seconds`; 0 when none do, INT32_MAX while nothing is known.
int32_t tk_step_time_fit(const tk_step_time *e, double seconds);

#endif
