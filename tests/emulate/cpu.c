// SPDX-License-Identifier: MIT
// A processor with every level, the higher ones emulated. AVX2 must be there: the emulation is written in it.
#include "hw/cpu.h"

const tk_cpu *tk_cpu_get(void)
{
    static const tk_cpu cpu = {.model = "emulated",
                               .avx2 = true,
                               .avx512 = true,
                               .avx512_bf16 = true,
                               .amx_bf16 = true,
                               .amx_int8 = true};
    return &cpu;
}
