// SPDX-License-Identifier: MIT
// Sixteen floats as one AVX-512 register: the vocabulary of kernels/tmpl.
#ifndef TK_KERNELS_AVX512_VEC_H
#define TK_KERNELS_AVX512_VEC_H

#include "kernels/kernels.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef __m512 v16;

enum { MM_ROWS = 4, MM_TOKS = 6 };               // 24 accumulators of 32 registers
enum { KV_HEADS = 4, KV_ROWS = 4, KV_VECS = 4 }; // tiles of attention: 16 accumulators

static inline v16 v_zero(void)
{
    return _mm512_setzero_ps();
}
static inline v16 v_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline v16 v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void v_store(float *p, v16 a)
{
    _mm512_storeu_ps(p, a);
}
static inline v16 v_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
static inline void v_store_n(float *p, v16 a, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
static inline v16 v_add(v16 a, v16 b)
{
    return _mm512_add_ps(a, b);
}
static inline v16 v_sub(v16 a, v16 b)
{
    return _mm512_sub_ps(a, b);
}
static inline v16 v_mul(v16 a, v16 b)
{
    return _mm512_mul_ps(a, b);
}
static inline v16 v_div(v16 a, v16 b)
{
    return _mm512_div_ps(a, b);
}
static inline v16 v_max(v16 a, v16 b)
{
    return _mm512_max_ps(a, b);
}
static inline v16 v_min(v16 a, v16 b)
{
    return _mm512_min_ps(a, b);
}
static inline v16 v_fma(v16 a, v16 b, v16 c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline v16 v_round(v16 a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// 2^n for whole n in [-126, 127].
static inline v16 v_pow2(v16 n)
{
    __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}

static inline v16 v_u8(__m128i q)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(q));
}
static inline v16 v_i8(__m128i q)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}
static inline v16 v_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

static inline v16 v_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}

// E4M3: the code's bits moved to a float's places, times 2^120; exact, subnormals too. NaN codes give 480.
static inline v16 v_e4m3(__m128i c)
{
    __m512i u = _mm512_cvtepu8_epi32(c);
    __m512i bits =
        _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(u, _mm512_set1_epi32(0x80)), 24),
                        _mm512_slli_epi32(_mm512_and_si512(u, _mm512_set1_epi32(0x7F)), 20));
    return _mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p120f));
}

// Sixteen bf16 by round to nearest even (NaN kept).
static inline void v_store_bf16(uint16_t *p, v16 a)
{
    __m512i u = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_srli_epi32(
        _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF))), 16);
    __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    r = _mm512_mask_mov_epi32(r, nan,
                              _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40)));
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(r));
}

static inline __m256 v_lo(v16 a)
{
    return _mm512_castps512_ps256(a);
}
static inline __m256 v_hi(v16 a)
{
    return _mm512_extractf32x8_ps(a, 1);
}

// Sixteen lanes of 32 bits, or as many pairs of 16-bit words.
typedef __m512i w16;

// Tokens of a tile; panels read at once for one token, and whether registers hold its columns for all of them; units and
// panels whose instructions stand one after the other.
enum { GEMM_TOKS = 8, GEMM_PANELS = 4, GEMM_SHARED = 1, GEMM_UNROLL = 8 };

static inline w16 w_load(const void *p)
{
    return _mm512_load_si512(p);
}
static inline w16 w_set(int32_t x)
{
    return _mm512_set1_epi32(x);
}
static inline w16 w_and(w16 x, w16 y)
{
    return _mm512_and_si512(x, y);
}
static inline w16 w_sub(w16 x, w16 y)
{
    return _mm512_sub_epi16(x, y);
}
static inline w16 w_add32(w16 x, w16 y)
{
    return _mm512_add_epi32(x, y);
}
static inline w16 w_sub32(w16 x, w16 y)
{
    return _mm512_sub_epi32(x, y);
}
static inline void w_store(void *p, w16 x)
{
    _mm512_store_si512(p, x);
}
static inline w16 w_or(w16 x, w16 y)
{
    return _mm512_or_si512(x, y);
}
#define w_srl(x, n) _mm512_srli_epi16(x, n)
#define w_sll(x, n) _mm512_slli_epi16(x, n)
#define w_sra32(x, n) _mm512_srai_epi32(x, n)
#define w_sll32(x, n) _mm512_slli_epi32(x, n)
// acc + the products of unsigned bytes and signed ones, summed by fours
static inline w16 w_dot_bytes(w16 acc, w16 u, w16 s)
{
    return _mm512_dpbusd_epi32(acc, u, s);
}
// Four columns of a group of bytes in all lanes, at .. at + 4 in the order of bytes of units.
typedef struct x4 {
    w16 hi, lo;
} x4;
static inline x4 x4_load(const tk_group16 *g, int at)
{
    int32_t hi, lo;
    memcpy(&hi, g->hi + at, sizeof hi);
    memcpy(&lo, g->lo + at, sizeof lo);
    return (x4){w_set(hi), w_set(lo)};
}
// Sums of products of unsigned bytes and columns: 256 hi + lo.
typedef struct s16 {
    w16 hi, lo;
} s16;
static inline s16 s_set(int32_t x)
{
    return (s16){w_set(0), w_set(x)};
}
static inline s16 s_dot(s16 acc, w16 bytes, x4 x)
{
    return (s16){w_dot_bytes(acc.hi, bytes, x.hi), w_dot_bytes(acc.lo, bytes, x.lo)};
}
static inline s16 s_add(s16 x, s16 y)
{
    return (s16){w_add32(x.hi, y.hi), w_add32(x.lo, y.lo)};
}
static inline w16 s_total(s16 x)
{
    return w_add32(w_sll32(x.hi, 8), x.lo);
}
// each byte replaced by table[byte], bytes < 16
static inline w16 w_look_up(__m128i table, w16 bytes)
{
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), bytes);
}
static inline v16 w_f32(w16 x)
{
    return _mm512_cvtepi32_ps(x);
}
static inline v16 w_as_f32(w16 x)
{
    return _mm512_castsi512_ps(x);
}
// bytes (constant, signed) multiplied and summed in pairs: words
static inline w16 w_times_bytes(w16 by, w16 bytes)
{
    return _mm512_maddubs_epi16(by, bytes);
}
// Pairs of halves of lanes 0-7 and 8-15 as floats (two a lane), and the sums of such pairs as sixteen lanes.
static inline v16 w_half_lo(w16 x)
{
    return _mm512_cvtph_ps(_mm512_castsi512_si256(x));
}
static inline v16 w_half_hi(w16 x)
{
    return _mm512_cvtph_ps(_mm512_extracti64x4_epi64(x, 1));
}
static inline v16 v_sum_pairs(v16 lo, v16 hi)
{
    __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_add_ps(_mm512_permutex2var_ps(lo, even, hi), _mm512_permutex2var_ps(lo, odd, hi));
}
// Sixteen pairs of halves to two rows of sixteen floats: the first of each pair, the second.
static inline void v_half_pairs(w16 x, float to[32])
{
    _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)));
    _mm512_storeu_ps(to + 16, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(_mm512_srli_epi32(x, 16))));
}
static inline v16 v_set_pair(const float *p) // p[0] p[1] p[0] p[1] ...
{
    int64_t d;
    memcpy(&d, p, sizeof d);
    return _mm512_castsi512_ps(_mm512_set1_epi64(d));
}
// Half of 2^(c - 127): the exponent field, and for c < 2 the subnormals that they stand for.
static inline v16 v_e8m0_half(const uint8_t *p)
{
    __m512i c = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    __m512i one = _mm512_set1_epi32(1);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), _mm512_min_epi32(c, one));
    return _mm512_castsi512_ps(
        _mm512_max_epi32(_mm512_slli_epi32(_mm512_sub_epi32(c, one), 23), tiny));
}

// The largest |x| of a and b by their bits (a NaN is larger than any number).
static inline float v_abs_max(v16 a, v16 b)
{
    __m512i m = _mm512_set1_epi32(0x7FFFFFFF);
    int32_t r = _mm512_reduce_max_epi32(_mm512_max_epi32(
        _mm512_and_si512(_mm512_castps_si512(a), m), _mm512_and_si512(_mm512_castps_si512(b), m)));
    float f;
    memcpy(&f, &r, sizeof f);
    return f;
}
// The low bytes of sixteen lanes, every eight in the order 0 4 1 5 2 6 3 7.
static inline void store_low_bytes(int8_t *to, __m512i x)
{
    const __m128i order = _mm_setr_epi8(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15);
    _mm_storeu_si128((__m128i *)(void *)to, _mm_shuffle_epi8(_mm512_cvtepi32_epi8(x), order));
}
// a and b rounded to 32 bytes, and the sum of each sixteen.
static inline void v_store_bytes(int8_t *to, v16 a, v16 b, int32_t sum[2])
{
    __m512i p = _mm512_cvtps_epi32(a), q = _mm512_cvtps_epi32(b);
    store_low_bytes(to, p);
    store_low_bytes(to + 16, q);
    sum[0] = _mm512_reduce_add_epi32(p);
    sum[1] = _mm512_reduce_add_epi32(q);
}
// The same to two bytes each: a low byte is read as signed, so what is above half of 256 counts to the high one.
static inline void v_store_group(tk_group16 *to, v16 a, v16 b, int32_t sum[2])
{
    const __m512i half = _mm512_set1_epi32(128);
    __m512i p = _mm512_cvtps_epi32(a), q = _mm512_cvtps_epi32(b);
    store_low_bytes(to->hi, _mm512_srli_epi32(_mm512_add_epi32(p, half), 8));
    store_low_bytes(to->hi + 16, _mm512_srli_epi32(_mm512_add_epi32(q, half), 8));
    store_low_bytes(to->lo, p);
    store_low_bytes(to->lo + 16, q);
    sum[0] = _mm512_reduce_add_epi32(p);
    sum[1] = _mm512_reduce_add_epi32(q);
}

#define TK_TMPL(name) name##_avx512
#define TK_TMPL_FILL tk_kernels_fill_avx512

#endif
