// SPDX-License-Identifier: MIT
// Roof probe of BF16 products in registers (kernels/probe.h).
#include "kernels/probe.h"

#include <immintrin.h>

enum { N_ACC = 24 };

static TK_FN_PROBE_RATE(dot_bf16)
{
    (void)data;
    __m512 acc[N_ACC];
    const __m512bh a = (__m512bh)_mm512_set1_epi16(0x3F7F), b = (__m512bh)_mm512_set1_epi16(0x3C23);
#pragma GCC unroll 24
    for (int i = 0; i < N_ACC; i++) acc[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < n_round; r++) {
#pragma GCC unroll 24
        for (int i = 0; i < N_ACC; i++) acc[i] = _mm512_dpbf16_ps(acc[i], a, b);
#pragma GCC unroll 24
        for (int i = 0; i < N_ACC; i++) __asm__ volatile("" : "+v"(acc[i]));
    }
    return (double)n_round * N_ACC * 32 * 2;
}

void tk_probe_fill_bf16(tk_probe *p)
{
    p->dot_bf16 = dot_bf16;
}
