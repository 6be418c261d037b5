// SPDX-License-Identifier: MIT
// Sixteen floats as two AVX2 registers: the vocabulary of kernels/tmpl.
#ifndef TK_KERNELS_AVX2_VEC_H
#define TK_KERNELS_AVX2_VEC_H

#include "kernels/kernels.h"

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

typedef struct v16 {
    __m256 a, b;
} v16;

enum { MM_ROWS = 2, MM_TOKS = 3 };               // 12 accumulators of 16 registers
enum { KV_HEADS = 2, KV_ROWS = 2, KV_VECS = 2 }; // tiles of attention: 8 accumulators

static inline v16 v_zero(void)
{
    return (v16){_mm256_setzero_ps(), _mm256_setzero_ps()};
}
static inline v16 v_set(float x)
{
    return (v16){_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
static inline v16 v_load(const float *p)
{
    return (v16){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
static inline void v_store(float *p, v16 x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline v16 v_load_n(const float *p, int n)
{
    float t[16] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return v_load(t);
}
static inline void v_store_n(float *p, v16 x, int n)
{
    float t[16];
    v_store(t, x);
    memcpy(p, t, (size_t)n * sizeof *t);
}
static inline v16 v_add(v16 x, v16 y)
{
    return (v16){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
static inline v16 v_sub(v16 x, v16 y)
{
    return (v16){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
static inline v16 v_mul(v16 x, v16 y)
{
    return (v16){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}
static inline v16 v_div(v16 x, v16 y)
{
    return (v16){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}
static inline v16 v_max(v16 x, v16 y)
{
    return (v16){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}
static inline v16 v_min(v16 x, v16 y)
{
    return (v16){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}
static inline v16 v_fma(v16 x, v16 y, v16 z)
{
    return (v16){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline v16 v_round(v16 x)
{
    return (v16){_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                 _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

static inline __m256 pow2_half(__m256 n)
{
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
// 2^n for whole n in [-126, 127].
static inline v16 v_pow2(v16 n)
{
    return (v16){pow2_half(n.a), pow2_half(n.b)};
}

static inline v16 v_u8(__m128i q)
{
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(q)),
                 _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(q, 8)))};
}
static inline v16 v_i8(__m128i q)
{
    return (v16){_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)),
                 _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(q, 8)))};
}
static inline v16 v_f16(const void *p)
{
    const __m128i *q = p;
    return (v16){_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
static inline __m256 bf16_half(__m128i q)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(q), 16));
}
static inline v16 v_bf16(const void *p)
{
    const __m128i *q = p;
    return (v16){bf16_half(_mm_loadu_si128(q)), bf16_half(_mm_loadu_si128(q + 1))};
}

static inline __m256 e4m3_half(__m256i u)
{
    __m256i bits =
        _mm256_or_si256(_mm256_slli_epi32(_mm256_and_si256(u, _mm256_set1_epi32(0x80)), 24),
                        _mm256_slli_epi32(_mm256_and_si256(u, _mm256_set1_epi32(0x7F)), 20));
    return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p120f));
}
// E4M3: the code's bits moved to a float's places, times 2^120; exact, subnormals too. NaN codes give 480.
static inline v16 v_e4m3(__m128i c)
{
    return (v16){e4m3_half(_mm256_cvtepu8_epi32(c)),
                 e4m3_half(_mm256_cvtepu8_epi32(_mm_srli_si128(c, 8)))};
}

static inline __m256i bf16_bits(__m256 a)
{
    __m256i u = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i r = _mm256_srli_epi32(
        _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
    __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
    return _mm256_blendv_epi8(r, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
// Sixteen bf16 by round to nearest even (NaN kept).
static inline void v_store_bf16(uint16_t *p, v16 x)
{
    __m256i both = _mm256_packus_epi32(bf16_bits(x.a), bf16_bits(x.b));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(both, 0xD8));
}

static inline __m256 v_lo(v16 x)
{
    return x.a;
}
static inline __m256 v_hi(v16 x)
{
    return x.b;
}

// Sixteen lanes of 32 bits, or as many pairs of 16-bit words.
typedef struct w16 {
    __m256i a, b;
} w16;

// Tokens of a tile; panels read at once for one token. Not unrolled: with sixteen registers the compiler would load what
// it then keeps on the stack, which costs a fifth of the speed.
enum { GEMM_TOKS = 4, GEMM_PANELS = 2, GEMM_SHARED = 0, GEMM_UNROLL = 1 };

static inline w16 w_load(const void *p)
{
    const __m256i *q = p;
    return (w16){_mm256_load_si256(q), _mm256_load_si256(q + 1)};
}
static inline w16 w_set(int32_t x)
{
    return (w16){_mm256_set1_epi32(x), _mm256_set1_epi32(x)};
}
static inline w16 w_and(w16 x, w16 y)
{
    return (w16){_mm256_and_si256(x.a, y.a), _mm256_and_si256(x.b, y.b)};
}
static inline w16 w_sub(w16 x, w16 y)
{
    return (w16){_mm256_sub_epi16(x.a, y.a), _mm256_sub_epi16(x.b, y.b)};
}
static inline w16 w_add32(w16 x, w16 y)
{
    return (w16){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}
static inline void w_store(void *p, w16 x)
{
    __m256i *q = p;
    _mm256_store_si256(q, x.a);
    _mm256_store_si256(q + 1, x.b);
}
static inline w16 w_or(w16 x, w16 y)
{
    return (w16){_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)};
}
#define w_srl(x, n) ((w16){_mm256_srli_epi16((x).a, n), _mm256_srli_epi16((x).b, n)})
#define w_sll(x, n) ((w16){_mm256_slli_epi16((x).a, n), _mm256_slli_epi16((x).b, n)})
#define w_sra32(x, n) ((w16){_mm256_srai_epi32((x).a, n), _mm256_srai_epi32((x).b, n)})
#define w_sll32(x, n) ((w16){_mm256_slli_epi32((x).a, n), _mm256_slli_epi32((x).b, n)})
// acc + the products of neighbouring words, summed in pairs
static inline w16 w_dot(w16 acc, w16 w, w16 x)
{
    return (w16){_mm256_add_epi32(acc.a, _mm256_madd_epi16(w.a, x.a)),
                 _mm256_add_epi32(acc.b, _mm256_madd_epi16(w.b, x.b))};
}
static inline w16 w_set_pair(const int16_t *p) // p[0] p[1] p[0] p[1] ...
{
    int32_t d;
    memcpy(&d, p, sizeof d);
    return w_set(d);
}
// Four columns of a group of words in all lanes, at .. at + 4 in the order of bytes of units (k0 k4 k1 k5 | k2 k6 k3 k7).
typedef struct x4 {
    w16 first, second; // (k0, k1), (k4, k5)
} x4;
static inline x4 x4_load(const tk_group16 *g, int at)
{
    const int16_t *p = g->word + (at & ~7) + (at & 4) / 2;
    return (x4){w_set_pair(p), w_set_pair(p + 4)};
}
// Sums of products of unsigned bytes and columns.
typedef w16 s16;
static inline s16 s_set(int32_t x)
{
    return w_set(x);
}
static inline s16 s_dot(s16 acc, w16 bytes, x4 x)
{
    return w_dot(w_dot(acc, w_and(bytes, w_set(0x00FF00FF)), x.first), w_srl(bytes, 8), x.second);
}
static inline s16 s_add(s16 x, s16 y)
{
    return w_add32(x, y);
}
static inline w16 s_total(s16 x)
{
    return x;
}
// each byte replaced by table[byte], bytes < 16
static inline w16 w_look_up(__m128i table, w16 bytes)
{
    __m256i t = _mm256_broadcastsi128_si256(table);
    return (w16){_mm256_shuffle_epi8(t, bytes.a), _mm256_shuffle_epi8(t, bytes.b)};
}
static inline v16 w_f32(w16 x)
{
    return (v16){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}
static inline v16 w_as_f32(w16 x)
{
    return (v16){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)};
}
// bytes (constant, signed) multiplied and summed in pairs: words
static inline w16 w_times_bytes(w16 by, w16 bytes)
{
    return (w16){_mm256_maddubs_epi16(by.a, bytes.a), _mm256_maddubs_epi16(by.b, bytes.b)};
}
// Pairs of halves of lanes 0-7 and 8-15 as floats (two a lane), and the sums of such pairs as sixteen lanes.
static inline v16 w_half_lo(w16 x)
{
    return (v16){_mm256_cvtph_ps(_mm256_castsi256_si128(x.a)),
                 _mm256_cvtph_ps(_mm256_extracti128_si256(x.a, 1))};
}
static inline v16 w_half_hi(w16 x)
{
    return (v16){_mm256_cvtph_ps(_mm256_castsi256_si128(x.b)),
                 _mm256_cvtph_ps(_mm256_extracti128_si256(x.b, 1))};
}
static inline __m256 sum_pairs(__m256 x, __m256 y)
{
    __m256d s = _mm256_castps_pd(_mm256_hadd_ps(x, y)); // x01 x23 y01 y23 | x45 x67 y45 y67
    return _mm256_castpd_ps(_mm256_permute4x64_pd(s, 0xD8));
}
static inline v16 v_sum_pairs(v16 lo, v16 hi)
{
    return (v16){sum_pairs(lo.a, lo.b), sum_pairs(hi.a, hi.b)};
}
// Sixteen pairs of halves to two rows of sixteen floats: the first of each pair, the second.
static inline void v_half_pairs(w16 x, float to[32])
{
    const __m256i half[2] = {x.a, x.b};
    for (int i = 0; i < 2; i++) { // the halves of a lane apart: [a b a b ..] -> [a a .. b b ..]
        __m256i p = _mm256_shuffle_epi8(
            half[i], _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1, 4,
                                      5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
        p = _mm256_permute4x64_epi64(p, 0xD8);
        _mm256_storeu_ps(to + 8 * i, _mm256_cvtph_ps(_mm256_castsi256_si128(p)));
        _mm256_storeu_ps(to + 16 + 8 * i, _mm256_cvtph_ps(_mm256_extracti128_si256(p, 1)));
    }
}
static inline v16 v_set_pair(const float *p) // p[0] p[1] p[0] p[1] ...
{
    double d;
    memcpy(&d, p, sizeof d);
    __m256 x = _mm256_castpd_ps(_mm256_set1_pd(d));
    return (v16){x, x};
}
// Half of 2^(c - 127): the exponent field, and for c < 2 the subnormals that they stand for.
static inline __m256 e8m0_half8(const uint8_t *p)
{
    __m256i c = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m256i one = _mm256_set1_epi32(1);
    __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), _mm256_min_epi32(c, one));
    return _mm256_castsi256_ps(
        _mm256_max_epi32(_mm256_slli_epi32(_mm256_sub_epi32(c, one), 23), tiny));
}
static inline v16 v_e8m0_half(const uint8_t *p)
{
    return (v16){e8m0_half8(p), e8m0_half8(p + 8)};
}

// The largest |x| of a and b by their bits (a NaN is larger than any number).
static inline float v_abs_max(v16 a, v16 b)
{
    __m256i m = _mm256_set1_epi32(0x7FFFFFFF);
    __m256i p = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(a.a), m),
                                 _mm256_and_si256(_mm256_castps_si256(a.b), m));
    __m256i q = _mm256_max_epi32(_mm256_and_si256(_mm256_castps_si256(b.a), m),
                                 _mm256_and_si256(_mm256_castps_si256(b.b), m));
    p = _mm256_max_epi32(p, q);
    __m128i r = _mm_max_epi32(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1));
    r = _mm_max_epi32(r, _mm_shuffle_epi32(r, 0x4E));
    r = _mm_max_epi32(r, _mm_shuffle_epi32(r, 0xB1));
    return _mm_cvtss_f32(_mm_castsi128_ps(r));
}
static inline int32_t sum_words(__m256i p)
{
    __m256i s = _mm256_madd_epi16(p, _mm256_set1_epi16(1));
    __m128i r = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0x4E));
    r = _mm_add_epi32(r, _mm_shuffle_epi32(r, 0xB1));
    return _mm_cvtsi128_si32(r);
}
// a and b rounded to words, and the sum of each sixteen.
static inline void v_store_group(tk_group16 *to, v16 a, v16 b, int32_t sum[2])
{
    const v16 v[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        __m256i p = _mm256_packs_epi32(_mm256_cvtps_epi32(v[i].a), _mm256_cvtps_epi32(v[i].b));
        p = _mm256_permute4x64_epi64(p, 0xD8);
        _mm256_storeu_si256((__m256i *)(void *)(to->word + 16 * i), p);
        sum[i] = sum_words(p);
    }
}

#define TK_TMPL(name) name##_avx2
#define TK_TMPL_FILL tk_kernels_fill_avx2

#endif
