// SPDX-License-Identifier: MIT
// The AVX-512 instructions that src/kernels/avx512 and amx use, in plain vector C: forced in front of those files
// (-include), so that kcheck runs them on processors that lack them. Written from Intel's definitions, lane by
// lane, for clarity and not for speed.
#ifndef TK_EMULATE_AVX512_H
#define TK_EMULATE_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __AVX512F__ 1 // what the templates ask for; after immintrin.h, which must not see it

typedef union emu512 {
    __m512 ps;
    __m512i si;
    __m256 ps256[2];
    __m256i si256[2];
    float f[16];
    int32_t i[16];
    uint32_t u[16];
    int64_t q[8];
    int16_t w[32];
    uint16_t uw[32];
    int8_t b[64];
    uint8_t ub[64];
} emu512;

#define EMU static inline __attribute__((unused))
#define EMU_LANES(n, statement)                                                                    \
    for (int l = 0; l < (n); l++) statement
// name(a, b): each lane of r from a and b.
#define EMU_PS2(name, value)                                                                       \
    EMU __m512 emu_##name(__m512 x, __m512 y)                                                      \
    {                                                                                              \
        emu512 a = {.ps = x}, b = {.ps = y}, r;                                                    \
        EMU_LANES(16, r.f[l] = (value));                                                           \
        return r.ps;                                                                               \
    }
#define EMU_SI2(name, n, lane, value)                                                              \
    EMU __m512i emu_##name(__m512i x, __m512i y)                                                   \
    {                                                                                              \
        emu512 a = {.si = x}, b = {.si = y}, r;                                                    \
        EMU_LANES(n, r.lane[l] = (value));                                                         \
        return r.si;                                                                               \
    }
#define EMU_SHIFT(name, n, lane, value)                                                            \
    EMU __m512i emu_##name(__m512i x, unsigned count)                                              \
    {                                                                                              \
        emu512 a = {.si = x}, r;                                                                   \
        EMU_LANES(n, r.lane[l] = (value));                                                         \
        return r.si;                                                                               \
    }

EMU_PS2(add_ps, a.f[l] + b.f[l])
EMU_PS2(sub_ps, a.f[l] - b.f[l])
EMU_PS2(mul_ps, a.f[l] * b.f[l])
EMU_PS2(div_ps, a.f[l] / b.f[l])
EMU_PS2(max_ps, a.f[l] > b.f[l] ? a.f[l] : b.f[l])
EMU_PS2(min_ps, a.f[l] < b.f[l] ? a.f[l] : b.f[l])
EMU_SI2(and_si512, 16, u, a.u[l] & b.u[l])
EMU_SI2(or_si512, 16, u, a.u[l] | b.u[l])
EMU_SI2(add_epi32, 16, u, a.u[l] + b.u[l])
EMU_SI2(sub_epi32, 16, u, a.u[l] - b.u[l])
EMU_SI2(sub_epi16, 32, uw, (uint16_t)(a.uw[l] - b.uw[l]))
EMU_SI2(max_epi32, 16, i, a.i[l] > b.i[l] ? a.i[l] : b.i[l])
EMU_SI2(min_epi32, 16, i, a.i[l] < b.i[l] ? a.i[l] : b.i[l])
EMU_SI2(sllv_epi32, 16, u, b.u[l] > 31 ? 0 : a.u[l] << b.u[l])
EMU_SI2(shuffle_epi8, 64, ub, b.ub[l] & 0x80 ? 0 : a.ub[l / 16 * 16 + (b.ub[l] & 15)])
EMU_SHIFT(slli_epi32, 16, u, a.u[l] << count)
EMU_SHIFT(srli_epi32, 16, u, a.u[l] >> count)
EMU_SHIFT(srai_epi32, 16, i, a.i[l] >> count)
EMU_SHIFT(slli_epi16, 32, uw, (uint16_t)(a.uw[l] << count))
EMU_SHIFT(srli_epi16, 32, uw, (uint16_t)(a.uw[l] >> count))

// Neighbours of each quarter of a register, from its lower or its upper half.
EMU_SI2(unpacklo_epi16, 32, uw, (l & 1 ? b : a).uw[l / 8 * 8 + l % 8 / 2])
EMU_SI2(unpackhi_epi16, 32, uw, (l & 1 ? b : a).uw[l / 8 * 8 + 4 + l % 8 / 2])
EMU_SI2(unpacklo_epi32, 16, u, (l & 1 ? b : a).u[l / 4 * 4 + l % 4 / 2])
EMU_SI2(unpackhi_epi32, 16, u, (l & 1 ? b : a).u[l / 4 * 4 + 2 + l % 4 / 2])
EMU_SI2(unpacklo_epi64, 8, q, (l & 1 ? b : a).q[l / 2 * 2])
EMU_SI2(unpackhi_epi64, 8, q, (l & 1 ? b : a).q[l / 2 * 2 + 1])

EMU __m512i emu_shuffle_i32x4(__m512i x, __m512i y, unsigned how)
{
    emu512 a = {.si = x}, b = {.si = y}, r;
    EMU_LANES(4, memcpy(&r.u[4 * l], &(l < 2 ? a : b).u[(how >> 2 * l & 3) * 4], 16));
    return r.si;
}

EMU __m512i emu_permutex2var_epi8(__m512i x, __m512i index, __m512i y)
{
    emu512 a = {.si = x}, n = {.si = index}, b = {.si = y}, r;
    EMU_LANES(64, r.ub[l] = (n.ub[l] & 64 ? b : a).ub[n.ub[l] & 63]);
    return r.si;
}

// BF16 with subnormals as zero.
static inline float emu_from_bf16(uint16_t h)
{
    uint32_t u = (h & 0x7F80) == 0 ? 0 : (uint32_t)h << 16;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

EMU __m512 emu_dpbf16_ps(__m512 acc, __m512i x, __m512i y)
{
    emu512 s = {.ps = acc}, a = {.si = x}, b = {.si = y};
    for (int i = 1; i >= 0; i--)
        EMU_LANES(16, s.f[l] += emu_from_bf16(a.uw[2 * l + i]) * emu_from_bf16(b.uw[2 * l + i]));
    return s.ps;
}

// To nearest even; subnormals to zero.
static inline uint16_t emu_to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    if (isnan(f)) return (uint16_t)(u >> 16 | 0x40);
    if ((u & 0x7F800000) == 0) return (uint16_t)(u >> 16 & 0x8000);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

EMU __m512i emu_cvtne2ps_pbh(__m512 x, __m512 y)
{
    emu512 a = {.ps = x}, b = {.ps = y}, r;
    EMU_LANES(32, r.uw[l] = emu_to_bf16(l < 16 ? b.f[l] : a.f[l - 16]));
    return r.si;
}

EMU __m512i emu_maskz_loadu_epi16(__mmask32 m, const void *p)
{
    emu512 r;
    EMU_LANES(32, r.uw[l] = 0);
    EMU_LANES(32, if (m >> l & 1) memcpy(&r.uw[l], (const char *)p + 2 * l, 2));
    return r.si;
}

EMU __m256i emu_maskz_loadu_epi8(__mmask32 m, const void *p)
{
    uint8_t r[32];
    EMU_LANES(32, r[l] = m >> l & 1 ? ((const uint8_t *)p)[l] : 0);
    return _mm256_loadu_si256((const __m256i *)(const void *)r);
}

static inline int16_t emu_saturate(int v)
{
    return (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
}
EMU_SI2(maddubs_epi16, 32, w,
        emu_saturate(a.ub[2 * l] * b.b[2 * l] + a.ub[2 * l + 1] * b.b[2 * l + 1]))

EMU __m512i emu_dpbusd_epi32(__m512i acc, __m512i x, __m512i y)
{
    emu512 s = {.si = acc}, a = {.si = x}, b = {.si = y};
    EMU_LANES(64, s.i[l / 4] += a.ub[l] * b.b[l]);
    return s.si;
}

EMU __m512 emu_fmadd_ps(__m512 x, __m512 y, __m512 z)
{
    emu512 a = {.ps = x}, b = {.ps = y}, c = {.ps = z};
    for (int h = 0; h < 2; h++) c.ps256[h] = _mm256_fmadd_ps(a.ps256[h], b.ps256[h], c.ps256[h]);
    return c.ps;
}

EMU __m512 emu_roundscale_ps(__m512 x, int how)
{
    emu512 a = {.ps = x};
    (void)how; // to nearest, the only way it is used
    EMU_LANES(16, a.f[l] = nearbyintf(a.f[l]));
    return a.ps;
}

EMU __m512i emu_cvtps_epi32(__m512 x)
{
    emu512 a = {.ps = x}, r;
    for (int h = 0; h < 2; h++) r.si256[h] = _mm256_cvtps_epi32(a.ps256[h]);
    return r.si;
}

EMU __m512 emu_cvtepi32_ps(__m512i x)
{
    emu512 a = {.si = x}, r;
    EMU_LANES(16, r.f[l] = (float)a.i[l]);
    return r.ps;
}

EMU __m512 emu_cvtph_ps(__m256i x)
{
    emu512 r;
    r.ps256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(x));
    r.ps256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(x, 1));
    return r.ps;
}

EMU __m512i emu_cvtepu8_epi32(__m128i x)
{
    emu512 r;
    uint8_t b[16];
    memcpy(b, &x, 16);
    EMU_LANES(16, r.u[l] = b[l]);
    return r.si;
}

EMU __m512i emu_cvtepi8_epi32(__m128i x)
{
    emu512 r;
    int8_t b[16];
    memcpy(b, &x, 16);
    EMU_LANES(16, r.i[l] = b[l]);
    return r.si;
}

EMU __m512i emu_cvtepu16_epi32(__m256i x)
{
    emu512 r;
    uint16_t w[16];
    memcpy(w, &x, 32);
    EMU_LANES(16, r.u[l] = w[l]);
    return r.si;
}

EMU __m256i emu_cvtepi32_epi16(__m512i x)
{
    emu512 a = {.si = x}, r;
    EMU_LANES(16, r.w[l] = (int16_t)a.u[l]);
    return r.si256[0];
}

EMU __m128i emu_cvtepi32_epi8(__m512i x)
{
    emu512 a = {.si = x}, r;
    EMU_LANES(16, r.b[l] = (int8_t)a.u[l]);
    return _mm256_castsi256_si128(r.si256[0]);
}

EMU __m512 emu_set1_ps(float x)
{
    emu512 r;
    EMU_LANES(16, r.f[l] = x);
    return r.ps;
}

EMU __m512i emu_set1_epi32(int32_t x)
{
    emu512 r;
    EMU_LANES(16, r.i[l] = x);
    return r.si;
}

EMU __m512i emu_set1_epi64(int64_t x)
{
    emu512 r;
    EMU_LANES(8, r.q[l] = x);
    return r.si;
}

EMU __m512i emu_broadcast_i32x4(__m128i x)
{
    emu512 r;
    EMU_LANES(4, memcpy(&r.u[4 * l], &x, 16));
    return r.si;
}

// Aligned accesses fault where the instruction would.
EMU __m512i emu_load(const void *p)
{
    emu512 r;
    if ((uintptr_t)p % 64 != 0) __builtin_trap();
    memcpy(&r, p, 64);
    return r.si;
}

EMU void emu_store(void *p, __m512i x)
{
    if ((uintptr_t)p % 64 != 0) __builtin_trap();
    memcpy(p, &x, 64);
}

EMU __m512 emu_loadu_ps(const void *p)
{
    emu512 r;
    memcpy(&r, p, 64);
    return r.ps;
}

EMU void emu_storeu(void *p, const void *x)
{
    memcpy(p, x, 64);
}

EMU __m512 emu_maskz_loadu_ps(__mmask16 m, const float *p)
{
    emu512 r;
    EMU_LANES(16, r.f[l] = m >> l & 1 ? p[l] : 0);
    return r.ps;
}

EMU void emu_mask_storeu_ps(float *p, __mmask16 m, __m512 x)
{
    emu512 a = {.ps = x};
    EMU_LANES(16, if (m >> l & 1) p[l] = a.f[l]);
}

EMU __m512i emu_mask_mov_epi32(__m512i x, __mmask16 m, __m512i y)
{
    emu512 a = {.si = x}, b = {.si = y};
    EMU_LANES(16, if (m >> l & 1) a.i[l] = b.i[l]);
    return a.si;
}

EMU __mmask16 emu_cmp_unord_ps(__m512 x, __m512 y)
{
    emu512 a = {.ps = x}, b = {.ps = y};
    __mmask16 m = 0;
    EMU_LANES(16, if (isnan(a.f[l]) || isnan(b.f[l])) m |= (__mmask16)(1u << l));
    return m;
}

EMU __m512 emu_permutex2var_ps(__m512 x, __m512i index, __m512 y)
{
    emu512 a = {.ps = x}, b = {.ps = y}, n = {.si = index}, r;
    EMU_LANES(16, r.f[l] = (n.u[l] & 16 ? b : a).f[n.u[l] & 15]);
    return r.ps;
}

EMU int32_t emu_reduce_add_epi32(__m512i x)
{
    emu512 a = {.si = x};
    uint32_t s = 0;
    EMU_LANES(16, s += a.u[l]);
    return (int32_t)s;
}

EMU int32_t emu_reduce_max_epi32(__m512i x)
{
    emu512 a = {.si = x};
    int32_t s = a.i[0];
    EMU_LANES(16, s = a.i[l] > s ? a.i[l] : s);
    return s;
}

EMU __m256 emu_half_ps(__m512 x, int h)
{
    return ((emu512){.ps = x}).ps256[h];
}

EMU __m256i emu_half_si(__m512i x, int h)
{
    return ((emu512){.si = x}).si256[h];
}

#undef EMU_PS2
#undef EMU_SI2
#undef EMU_SHIFT

#define _mm512_add_ps emu_add_ps
#define _mm512_sub_ps emu_sub_ps
#define _mm512_mul_ps emu_mul_ps
#define _mm512_div_ps emu_div_ps
#define _mm512_max_ps emu_max_ps
#define _mm512_min_ps emu_min_ps
#define _mm512_fmadd_ps emu_fmadd_ps
#define _mm512_and_si512 emu_and_si512
#define _mm512_or_si512 emu_or_si512
#define _mm512_add_epi32 emu_add_epi32
#define _mm512_sub_epi32 emu_sub_epi32
#define _mm512_sub_epi16 emu_sub_epi16
#define _mm512_max_epi32 emu_max_epi32
#define _mm512_min_epi32 emu_min_epi32
#define _mm512_sllv_epi32 emu_sllv_epi32
#define _mm512_shuffle_epi8 emu_shuffle_epi8
#undef _mm512_slli_epi32
#undef _mm512_srli_epi32
#undef _mm512_slli_epi16
#undef _mm512_srli_epi16
#define _mm512_slli_epi32 emu_slli_epi32
#define _mm512_srli_epi32 emu_srli_epi32
#define _mm512_srai_epi32 emu_srai_epi32
#define _mm512_slli_epi16 emu_slli_epi16
#define _mm512_srli_epi16 emu_srli_epi16
#define _mm512_maddubs_epi16 emu_maddubs_epi16
#define _mm512_dpbusd_epi32 emu_dpbusd_epi32
#undef _mm512_roundscale_ps
#define _mm512_roundscale_ps emu_roundscale_ps
#undef _mm512_shuffle_i32x4
#define _mm512_unpacklo_epi16 emu_unpacklo_epi16
#define _mm512_unpackhi_epi16 emu_unpackhi_epi16
#define _mm512_unpacklo_epi32 emu_unpacklo_epi32
#define _mm512_unpackhi_epi32 emu_unpackhi_epi32
#define _mm512_unpacklo_epi64 emu_unpacklo_epi64
#define _mm512_unpackhi_epi64 emu_unpackhi_epi64
#define _mm512_shuffle_i32x4 emu_shuffle_i32x4
#define _mm512_permutex2var_epi8 emu_permutex2var_epi8
#define _mm512_dpbf16_ps(acc, x, y) emu_dpbf16_ps(acc, (__m512i)(x), (__m512i)(y))
#define _mm512_cvtne2ps_pbh emu_cvtne2ps_pbh
#define _mm512_maskz_loadu_epi16 emu_maskz_loadu_epi16
#define _mm256_maskz_loadu_epi8 emu_maskz_loadu_epi8
#define _mm512_cvtps_epi32 emu_cvtps_epi32
#define _mm512_cvtepi32_ps emu_cvtepi32_ps
#define _mm512_cvtph_ps emu_cvtph_ps
#define _mm512_cvtepu8_epi32 emu_cvtepu8_epi32
#define _mm512_cvtepi8_epi32 emu_cvtepi8_epi32
#define _mm512_cvtepu16_epi32 emu_cvtepu16_epi32
#define _mm512_cvtepi32_epi16 emu_cvtepi32_epi16
#define _mm512_cvtepi32_epi8 emu_cvtepi32_epi8
#define _mm512_set1_ps emu_set1_ps
#define _mm512_set1_epi32 emu_set1_epi32
#define _mm512_set1_epi64 emu_set1_epi64
#define _mm512_setzero_ps() emu_set1_ps(0)
#define _mm512_setzero_si512() emu_set1_epi32(0)
#undef _mm512_setr_epi32
#define _mm512_setr_epi32(...) (((emu512){.i = {__VA_ARGS__}}).si)
#define _mm512_broadcast_i32x4 emu_broadcast_i32x4
#define _mm512_load_si512 emu_load
#define _mm512_store_si512 emu_store
#define _mm512_loadu_ps emu_loadu_ps
#define _mm512_storeu_ps(p, x) emu_storeu(p, &(emu512){.ps = (x)})
#define _mm512_maskz_loadu_ps emu_maskz_loadu_ps
#define _mm512_mask_storeu_ps emu_mask_storeu_ps
#define _mm512_mask_mov_epi32 emu_mask_mov_epi32
#undef _mm512_cmp_ps_mask
#define _mm512_cmp_ps_mask(x, y, how) emu_cmp_unord_ps(x, y) // _CMP_UNORD_Q is the only one used
#define _mm512_permutex2var_ps emu_permutex2var_ps
#define _mm512_reduce_add_epi32 emu_reduce_add_epi32
#define _mm512_reduce_max_epi32 emu_reduce_max_epi32
#define _mm512_castps_si512(x) (((emu512){.ps = (x)}).si)
#define _mm512_castsi512_ps(x) (((emu512){.si = (x)}).ps)
#define _mm512_castps512_ps256(x) emu_half_ps(x, 0)
#define _mm512_castsi512_si256(x) emu_half_si(x, 0)
#undef _mm512_extractf32x8_ps
#undef _mm512_extracti64x4_epi64
#define _mm512_extractf32x8_ps emu_half_ps
#define _mm512_extracti64x4_epi64 emu_half_si

#endif
