// SPDX-License-Identifier: MIT
// What this processor can do, asked once: CPUID, and XGETBV for whether the system saves the registers.
#ifndef TK_HW_CPU_H
#define TK_HW_CPU_H

#include <stdbool.h>

typedef struct tk_cpu {
    char model[64];
    bool avx2;   // + FMA, F16C, BMI2: the level "avx2"
    bool avx512; // F, BW, DQ, VL, VNNI, VBMI: the level "avx512" (Ice Lake, Zen 4 and later)
    bool avx512_bf16;
    // with the system's leave to use tiles; the level "amx" asks for BF16
    bool amx_bf16, amx_int8;
} tk_cpu;

// Never NULL. Any thread.
const tk_cpu *tk_cpu_get(void);

#endif
