// SPDX-License-Identifier: MIT
// What this processor can do, asked once: CPUID, and XGETBV for whether the system saves the registers.
#ifndef TK_HW_CPU_H
#define TK_HW_CPU_H

#include <stdbool.h>

typedef struct tk_cpu {
    char model[64];
    bool avx2;   // + FMA, F16C, BMI2: the level "avx2"
    bool avx512; // F, BW, DQ, VL, VNNI, VBMI: the level "avx512" (Ice Lake, Zen 4 and later)
    bool avx512_bf16, amx_bf16, amx_int8; // what later levels ask for; reported by `version`
} tk_cpu;

// Never NULL. Any thread.
const tk_cpu *tk_cpu_get(void);
// Asks the system to let this process use tile registers (Linux gives them on request only). False where
// there are none or it refuses. Before threads that use them are made.
bool tk_cpu_allow_amx(void);

#endif
