// SPDX-License-Identifier: MIT
#include "kernels/probe.h"

#include "base/compiler.h"

#include <immintrin.h>

TK_INLINE uint64_t read_all(const char *base, size_t stream_bytes, int n_stream, int ahead)
{
    __m256i mix[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};
    for (size_t at = 0; at < stream_bytes; at += 256)
        for (int s = 0; s < n_stream; s++) {
            const char *p = base + (size_t)s * stream_bytes + at;
            if (ahead)
                for (int i = 0; i < 256; i += 64) _mm_prefetch(p + ahead + i, _MM_HINT_T0);
            for (int i = 0; i < 8; i++)
                mix[i % 4] =
                    _mm256_xor_si256(mix[i % 4], _mm256_load_si256((const __m256i *)p + i));
        }
    __m256i all =
        _mm256_xor_si256(_mm256_xor_si256(mix[0], mix[1]), _mm256_xor_si256(mix[2], mix[3]));
    return (uint64_t)_mm256_extract_epi64(all, 0) ^ (uint64_t)_mm256_extract_epi64(all, 2);
}

static TK_FN_PROBE_READ(read_streams)
{
    // two loops, so that the prefetch is no branch of the inner one
    return ahead_bytes ? read_all(base, stream_bytes, n_stream, ahead_bytes)
                       : read_all(base, stream_bytes, n_stream, 0);
}

enum { N_FMA = 12, N_DOT = 8 }; // accumulators: latency times two units, within 16 registers

// Unrolled by hand and not by luck: a loop over registers that stays a loop is one over memory.
static TK_FN_PROBE_RATE(fma_f32)
{
    (void)data;
    __m256 acc[N_FMA];
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
#pragma GCC unroll 16
    for (int i = 0; i < N_FMA; i++) acc[i] = _mm256_set1_ps((float)i);
    for (int64_t r = 0; r < n_round; r++) {
#pragma GCC unroll 16
        for (int i = 0; i < N_FMA; i++) acc[i] = _mm256_fmadd_ps(acc[i], a, b);
#pragma GCC unroll 16
        for (int i = 0; i < N_FMA; i++) __asm__ volatile("" : "+x"(acc[i]));
    }
    return (double)n_round * N_FMA * 8 * 2;
}

static TK_FN_PROBE_RATE(dot_i8)
{
    (void)data;
    __m256i acc[N_DOT], u = _mm256_set1_epi8(3), s = _mm256_set1_epi8(-5);
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 16
    for (int i = 0; i < N_DOT; i++) acc[i] = _mm256_set1_epi32(i);
    for (int64_t r = 0; r < n_round; r++)
#pragma GCC unroll 16
        for (int i = 0; i < N_DOT; i++) {
            __asm__ volatile("" : "+x"(u), "+x"(s)); // else the product is the same each time
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), ones));
            __asm__ volatile("" : "+x"(acc[i]));
        }
    return (double)n_round * N_DOT * 32 * 2;
}

void tk_probe_fill_avx2(tk_probe *p)
{
    p->read = read_streams;
    p->fma_f32 = fma_f32;
    p->dot_i8 = dot_i8;
}
