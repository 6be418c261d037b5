// SPDX-License-Identifier: MIT
#include "kernels/avx512/probe_rate.h"

// Factors near 1 and 0.01.
PROBE_RATE(dot_bf16, __m512, _mm512_set1_ps((float)i),
           _mm512_dpbf16_ps(acc[i], (__m512bh)_mm512_set1_epi16(0x3F7F),
                            (__m512bh)_mm512_set1_epi16(0x3C23)),
           32 * 2)

void tk_probe_fill_bf16(tk_probe *p)
{
    p->dot_bf16 = dot_bf16;
}
