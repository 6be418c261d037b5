// SPDX-License-Identifier: MIT
// Where the time of a step goes: one line for each operation (that of all layers together) and for each part of
// a layer, against the least time that reading and multiplying by its weights takes (docs/benchmarking.md). One
// thread.
#ifndef TK_BENCH_PROFILE_H
#define TK_BENCH_PROFILE_H

#include "bench/kernel.h"

#include <jansson.h>
#include <stdio.h>

// Adds "n_step", "profile" and "profile_parts" to a row of a result that was measured with `profile`.
void tk_bench_profile_add(json_t *row, const tk_program *p, const tk_bench_result *r,
                          const tk_roof *roof);
// The same as a table of markdown.
void tk_bench_profile_print(FILE *to, const json_t *row);

#endif
