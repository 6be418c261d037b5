// SPDX-License-Identifier: MIT
// What the files of kcheck share.
#ifndef TK_KCHECK_H
#define TK_KCHECK_H

#include "base/rng.h"
#include "kernels/kernels.h"

extern tk_rng rng;

// n floats that end where a page that cannot be touched begins.
float *guarded(size_t n);
// Noise of mixed sizes, zeros and subnormals in it.
float *fill(float *p, size_t n);
// Codes of the format: any bytes are a weight, but for NaN codes and infinite halves.
void random_codes(uint8_t *p, size_t n, tk_dtype t);
// Equal, both NaN, or no further apart than bound.
bool near(float a, float b, double bound);
bool wanted(const char *op);
void row(const char *op, tk_isa isa, bool ok);

void check_quantise(const tk_kernels *k, const tk_kernels *ref);
void check_gemm(const tk_kernels *k, const tk_kernels *ref);
void check_gemm_wide(const tk_kernels *k, const tk_kernels *ref);
void bench_gemm(const tk_kernels *k);
void check_attend_wide(const tk_kernels *k, const tk_kernels *ref);
void bench_attend(const tk_kernels *k);

#endif
