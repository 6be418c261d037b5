// SPDX-License-Identifier: MIT
#include "engine/step_time.h"

#include "base/compiler.h"

// A step's weight halves about every 70 steps: fast enough to follow contexts that grow.
static const double keep = 0.99;

void tk_step_time_add(tk_step_time *e, int32_t n_tok, double seconds)
{
    double x = n_tok;
    e->n = e->n * keep + 1;
    e->x = e->x * keep + x;
    e->y = e->y * keep + seconds;
    e->xx = e->xx * keep + x * x;
    e->xy = e->xy * keep + x * seconds;
    double spread = e->n * e->xx - e->x * e->x;
    // steps of one size say nothing about the slope: it stays, or is proportional at first (too steep, so a
    // first chunk is too small rather than too large)
    if (spread > 0.01 * e->x * e->x)
        e->b = TK_MAX((e->n * e->xy - e->x * e->y) / spread, 1e-12);
    else if (e->b == 0)
        e->b = e->y / e->x;
    e->b = TK_MIN(e->b, e->y / e->x); // a >= 0
}

static double base_of(const tk_step_time *e)
{
    return (e->y - e->b * e->x) / e->n;
}

double tk_step_time_guess(const tk_step_time *e, int32_t n_tok)
{
    return e->n > 0 ? base_of(e) + e->b * n_tok : 0;
}

int32_t tk_step_time_fit(const tk_step_time *e, double seconds)
{
    if (e->n <= 0) return INT32_MAX;
    double n = (seconds - base_of(e)) / e->b;
    return n <= 0 ? 0 : n >= INT32_MAX ? INT32_MAX : (int32_t)n;
}
