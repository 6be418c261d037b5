// SPDX-License-Identifier: MIT
// Which weights steps read, and how many operations they stand for: every matrix outside the experts once a
// step, an expert's three when any token chose it (told by exec's counts of expert load), the output matrix
// when logits are wanted, one row of the embedding a token. One owner, one thread.
#ifndef TK_BENCH_TRAFFIC_H
#define TK_BENCH_TRAFFIC_H

#include "exec/exec.h"
#include "model/program.h"

#include <stdint.h>

typedef struct tk_traffic tk_traffic;

typedef struct tk_traffic_sum {
    double bytes, flop;
} tk_traffic_sum;

// Both must outlive it. Never NULL.
tk_traffic *tk_traffic_new(const tk_program *p, const tk_exec *x);
void tk_traffic_free(tk_traffic *t); // NULL is fine
void tk_traffic_reset(tk_traffic *t);
// After each step, with its parts.
void tk_traffic_count(tk_traffic *t, const tk_step_part *parts, int n_part);
// Since the start or the last reset.
tk_traffic_sum tk_traffic_so_far(const tk_traffic *t);
const tk_traffic_sum *tk_traffic_by_op(const tk_traffic *t); // [p->n_op]
uint64_t tk_traffic_steps(const tk_traffic *t);

#endif
