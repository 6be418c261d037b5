// SPDX-License-Identifier: MIT
#include "kernels/avx512/probe_rate.h"

#include "base/compiler.h"

TK_INLINE uint64_t read_all(const char *base, size_t stream_bytes, int n_stream, int ahead)
{
    __m512i mix[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};
    for (size_t at = 0; at < stream_bytes; at += 256)
        for (int s = 0; s < n_stream; s++) {
            const char *p = base + (size_t)s * stream_bytes + at;
            if (ahead)
                for (int i = 0; i < 256; i += 64) _mm_prefetch(p + ahead + i, _MM_HINT_T0);
            for (int i = 0; i < 4; i++)
                mix[i] = _mm512_xor_si512(mix[i], _mm512_load_si512((const __m512i *)p + i));
        }
    return (uint64_t)_mm512_reduce_add_epi64(
        _mm512_xor_si512(_mm512_xor_si512(mix[0], mix[1]), _mm512_xor_si512(mix[2], mix[3])));
}

static TK_FN_PROBE_READ(read_streams)
{
    return ahead_bytes ? read_all(base, stream_bytes, n_stream, ahead_bytes)
                       : read_all(base, stream_bytes, n_stream, 0);
}

PROBE_RATE(fma_f32, __m512, _mm512_set1_ps((float)i),
           _mm512_fmadd_ps(acc[i], _mm512_set1_ps(0.999f), _mm512_set1_ps(0.001f)), 16 * 2)
PROBE_RATE(dot_i8, __m512i, _mm512_set1_epi32(i),
           _mm512_dpbusd_epi32(acc[i], _mm512_set1_epi8(3), _mm512_set1_epi8(-5)), 64 * 2)

void tk_probe_fill_avx512(tk_probe *p)
{
    p->read = read_streams;
    p->fma_f32 = fma_f32;
    p->dot_i8 = dot_i8;
}
