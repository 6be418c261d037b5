// SPDX-License-Identifier: MIT
// What this machine can do at most, measured: how fast all threads together read memory and multiply. A
// benchmark divides by these, so each is the best of many short samples. About a second. Owner: the caller;
// nothing else should run meanwhile.
#ifndef TK_KERNELS_ROOF_H
#define TK_KERNELS_ROOF_H

#include "base/status.h"
#include "num/dtype.h"

// Rates of all threads together; NAN = unavailable (the machine has no such instructions, or no memory to
// measure with). Never 0.
typedef struct tk_roof {
    int n_thread;
    double read_bytes_per_s;    // best of 1..16 streams a thread, with and without prefetch
    int read_streams;           // with which that was reached
    double fma_flop_per_s;      // float32 multiply-add in registers
    double int8_op_per_s;       // 8-bit dot products in registers: VNNI, else AVX2's maddubs
    double bf16_flop_per_s;     // BF16 dot products in registers
    double amx_int8_op_per_s;   // 2x2 tiles, B from L2
    double amx_bf16_flop_per_s; // the same
} tk_roof;

// All rates NAN.
tk_roof tk_roof_unknown(int n_thread);
// What products with weights of a number type are held to: the fastest unit for it that this machine has.
typedef struct tk_roof_limit {
    const char *name; // amx_int8 int8 amx_bf16 bf16 fp32
    double op_per_s;
} tk_roof_limit;

tk_roof_limit tk_roof_of_dtype(const tk_roof *r, tk_dtype t);
// TK_FAILED when threads cannot be made.
tk_status tk_roof_measure(int n_thread, tk_roof *out, tk_err *err);

#endif
