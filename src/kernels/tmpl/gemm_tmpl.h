// SPDX-License-Identifier: MIT
// Packed weights times activations (num/packed.h). A tile is P panels and T tokens, P or T being 1: one token
// meets several panels, so that memory delivers several streams; more tokens meet one panel, which stays in
// the caches over all of them and is unpacked in registers by each tile. Integer sums of a group are exact; groups are added in order of k by fused
// multiply-add. So a value is the same bit for bit in every tile and on both levels.
#include "kernels/kernels.h"
#include "num/convert.h"

#include <string.h>

enum {
    TK_TMPL(STRETCH_TOKS) = 16
}; // from so many tokens on it pays to unpack first, where that is dear

// How many bytes, of all panels together, are asked for ahead of their use. Panels are short, so what comes after the end of one is
// the beginning of the panel that will be met next: hardware cannot know, and would stop at the end of a page too.
// Measured: with 8 KiB, weights of 4 bits come from memory a third faster, those of 8 bits a sixth slower.
enum { TK_TMPL(AHEAD) = 4096, TK_TMPL(AHEAD_4) = 8192 };

// Offsets from what is read now to what is asked for.
typedef struct TK_TMPL(ahead) {
    int64_t unit, scale;
} TK_TMPL(ahead);

// At step i of n_step, each unit_bytes of units and scale_bytes of scales of a panel, for a tile of P panels: the
// next ones lie behind. bytes: how far, of all panels together.
TK_INLINE TK_TMPL(ahead)
    TK_TMPL(look_ahead)(int64_t i, int64_t n_step, int unit_bytes, int scale_bytes,
                        size_t panel_bytes, const int P, const int bytes)
{
    int64_t n = TK_MAX(bytes / P / unit_bytes, 1), back = n_step - n;
    int64_t next_bytes = P * (int64_t)panel_bytes;
    bool next = i >= back;
    return (TK_TMPL(ahead)){.unit = next ? next_bytes - back * unit_bytes : n * unit_bytes,
                            .scale = next ? next_bytes - back * scale_bytes : n * scale_bytes};
}

// Few tokens take several chains of dot products each, so that one need not wait for the one before: sums are of integers,
// and exact in any order.
enum { TK_TMPL(CHAINS) = 4 };

TK_INLINE int TK_TMPL(chains)(const int T)
{
    return T == 1 ? 4 : T == 2 ? 2 : 1;
}

// Of s16, which are two chains themselves on AVX-512.
TK_INLINE int TK_TMPL(pairs)(const int T)
{
    return T == 1 ? 2 : 1;
}

// A group's sums of T tokens.
typedef struct TK_TMPL(sums) {
    s16 of[2][GEMM_TOKS];
    bool high_by_16; // the second of two are sums of 16 times the codes
} TK_TMPL(sums);

// Group g of T tokens. One token that meets several panels has it in registers already, for all of them.
typedef struct TK_TMPL(cols) {
    const tk_group16 *const *q;
    int64_t g;
    const x4 *shared; // [8], or NULL
} TK_TMPL(cols);

// bytes: of columns at .. at + 4 in the order of bytes of units.
TK_INLINE void TK_TMPL(dots)(TK_TMPL(sums) * acc, const int chain, w16 bytes, TK_TMPL(cols) x,
                             const int at, const int T)
{
    for (int t = 0; t < T; t++) {
        s16 *to = &acc->of[chain % TK_TMPL(pairs)(T)][t];
        *to = s_dot(*to, bytes, x.shared ? x.shared[at / 4] : x4_load(x.q[t] + x.g, at));
    }
}

TK_INLINE w16 TK_TMPL(unit)(const uint8_t *u, TK_TMPL(ahead) ahead)
{
    _mm_prefetch((const char *)u + ahead.unit, _MM_HINT_T1);
    return w_load(u);
}

// E2M1 doubled plus 12, unsigned bytes, of codes a byte.
TK_INLINE w16 TK_TMPL(e2m1_codes)(w16 codes)
{
    return w_look_up(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0),
                     codes);
}

// n units of four bits. High codes with sums of their own need not be moved down.
TK_INLINE void TK_TMPL(dots4)(TK_TMPL(sums) * acc, const uint8_t *u, TK_TMPL(ahead) ahead,
                              TK_TMPL(cols) x, const int at, const int n, const bool is_e2m1,
                              const int T)
{
    w16 mask = w_set(0x0F0F0F0F);
    acc->high_by_16 = !is_e2m1 && TK_TMPL(pairs)(T) > 1;
#pragma GCC unroll GEMM_UNROLL
    for (int j = 0; j < n; j++) {
        w16 q = TK_TMPL(unit)(u + 64 * j, ahead), low = w_and(q, mask);
        w16 high =
            acc->high_by_16 ? w_and(q, w_set((int32_t)0xF0F0F0F0)) : w_and(w_srl(q, 4), mask);
        if (is_e2m1) low = TK_TMPL(e2m1_codes)(low);
        if (is_e2m1) high = TK_TMPL(e2m1_codes)(high);
        TK_TMPL(dots)(acc, 0, low, x, at + 8 * j, T);
        TK_TMPL(dots)(acc, 1, high, x, at + 8 * j + 4, T);
    }
}

// Sixteen columns of six bits: two units of low nibbles, one of high pairs.
TK_INLINE void TK_TMPL(dots6)(TK_TMPL(sums) * acc, const uint8_t *u, TK_TMPL(ahead) ahead,
                              TK_TMPL(cols) x, const int at, const int T)
{
    w16 a = TK_TMPL(unit)(u, ahead), b = TK_TMPL(unit)(u + 64, ahead),
        h = TK_TMPL(unit)(u + 128, ahead);
    w16 low = w_set(0x0F0F0F0F), high = w_set(0x30303030);
    TK_TMPL(dots)(acc, 0, w_or(w_and(a, low), w_and(w_sll(h, 4), high)), x, at, T);
    TK_TMPL(dots)(acc, 1, w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high)), x, at + 4, T);
    TK_TMPL(dots)(acc, 0, w_or(w_and(b, low), w_and(h, high)), x, at + 8, T);
    TK_TMPL(dots)(acc, 1, w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 2), high)), x, at + 12, T);
}

// What a tile works on: rows of T tokens.
typedef struct TK_TMPL(rows) {
    const tk_group16 *q[GEMM_TOKS];
    const float *scale[GEMM_TOKS];
    const int32_t *sum[GEMM_TOKS];
    const float *f[GEMM_TOKS];
} TK_TMPL(rows);

TK_INLINE w16 TK_TMPL(total)(const TK_TMPL(sums) * acc, int t, const int T)
{
    if (TK_TMPL(pairs)(T) == 1) return s_total(acc->of[0][t]);
    if (!acc->high_by_16) return s_total(s_add(acc->of[0][t], acc->of[1][t]));
    return w_add32(s_total(acc->of[0][t]), w_sra32(s_total(acc->of[1][t]), 4));
}

// sum[t] += d * scale of token t's group g * (acc[t] + start * sum of the group), the start already in acc
TK_INLINE void TK_TMPL(add_group)(v16 *sum, const TK_TMPL(sums) * acc, v16 d,
                                  const TK_TMPL(rows) * x, int64_t g, const int T)
{
    for (int t = 0; t < T; t++)
        sum[t] = v_fma(w_f32(TK_TMPL(total)(acc, t, T)), v_mul(d, v_set(x->scale[t][g])), sum[t]);
}

TK_INLINE void TK_TMPL(begin)(TK_TMPL(sums) * acc, int t, int32_t first, const int T)
{
    acc->of[0][t] = s_set(first);
    for (int c = 1; c < TK_TMPL(pairs)(T); c++) acc->of[c][t] = s_set(0);
    acc->high_by_16 = false;
}

// Codes are stored with an offset: its part of the sum is taken off at the start.
TK_INLINE void TK_TMPL(start)(TK_TMPL(sums) * acc, const TK_TMPL(rows) * x, int64_t g, int offset,
                              const int T)
{
    for (int t = 0; t < T; t++)
        TK_TMPL(begin)(acc, t, -offset * (x->sum[t][2 * g] + x->sum[t][2 * g + 1]), T);
}

// The same for half a group.
TK_INLINE void TK_TMPL(start16)(TK_TMPL(sums) * acc, const TK_TMPL(rows) * x, int64_t half,
                                int offset, const int T)
{
    for (int t = 0; t < T; t++) TK_TMPL(begin)(acc, t, -offset * x->sum[t][half], T);
}

// The minimum's part: m * the group's sum.
TK_INLINE void TK_TMPL(add_min)(v16 *sum, v16 m, const TK_TMPL(rows) * x, int64_t g, const int T)
{
    for (int t = 0; t < T; t++) {
        int32_t total = x->sum[t][2 * g] + x->sum[t][2 * g + 1];
        sum[t] = v_fma(m, v_set((float)total * x->scale[t][g]), sum[t]);
    }
}

// What all groups of a superblock are multiplied by: converted once.
typedef struct TK_TMPL(super) {
    v16 d, minus_min;
} TK_TMPL(super);

// s: its scales.
TK_INLINE TK_TMPL(super) TK_TMPL(super_of)(const uint8_t *s, const bool has_min)
{
    return (TK_TMPL(super)){.d = v_f16(s),
                            .minus_min = has_min ? v_sub(v_zero(), v_f16(s + 32)) : v_zero()};
}

// One step of a form: a group i of 32 columns (BF16 and FP8: see there) of one panel. u: the panel's units, s: its
// scales. shared: see TK_TMPL(cols).
#define STEP(name)                                                                                 \
    TK_INLINE void TK_TMPL(step_##name)(const tk_packed *w, const uint8_t *u, const uint8_t *s,    \
                                        int64_t i, TK_TMPL(ahead) ahead, const TK_TMPL(rows) * x,  \
                                        const x4 *shared, const TK_TMPL(super) * super, v16 * sum, \
                                        const int T)

#define COLS ((TK_TMPL(cols)){.q = x->q, .g = i, .shared = shared})

STEP(q8)
{
    (void)w;
    (void)super;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 128, T);
    u += i * 512;
#pragma GCC unroll GEMM_UNROLL
    for (int j = 0; j < 8; j++)
        TK_TMPL(dots)(&acc, j, TK_TMPL(unit)(u + 64 * j, ahead), COLS, 4 * j, T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4)
{
    (void)w;
    (void)super;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 8, T);
    TK_TMPL(dots4)(&acc, u + i * 256, ahead, COLS, 0, 4, false, T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4m)
{
    (void)w;
    (void)super;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 0, T);
    TK_TMPL(dots4)(&acc, u + i * 256, ahead, COLS, 0, 4, false, T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 64), x, i, T);
    TK_TMPL(add_min)(sum, v_f16(s + i * 64 + 32), x, i, T);
}

typedef struct TK_TMPL(affine) {
    v16 scale, min;
} TK_TMPL(affine);

// Those of group g.
TK_INLINE TK_TMPL(affine) TK_TMPL(q4k_of)(const TK_TMPL(super) * super, const uint8_t *s, int64_t g)
{
    const __m128i *sm = (const __m128i *)(const void *)(s + g / 8 * 320 + 64 + g % 8 * 32);
    return (TK_TMPL(affine)){.scale = v_mul(super->d, v_u8(_mm_loadu_si128(sm))),
                             .min = v_mul(super->minus_min, v_u8(_mm_loadu_si128(sm + 1)))};
}

TK_INLINE TK_TMPL(affine) TK_TMPL(q4k_scales)(const uint8_t *s, int64_t g)
{
    TK_TMPL(super) super = TK_TMPL(super_of)(s + g / 8 * 320, true);
    return TK_TMPL(q4k_of)(&super, s, g);
}

STEP(q4k)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 0, T);
    TK_TMPL(dots4)(&acc, u + i * 256, ahead, COLS, 0, 4, false, T);
    TK_TMPL(affine) d = TK_TMPL(q4k_of)(super, s, i);
    TK_TMPL(add_group)(sum, &acc, d.scale, x, i, T);
    TK_TMPL(add_min)(sum, d.min, x, i, T);
}

// That of sixteen columns.
TK_INLINE v16 TK_TMPL(q6k_of)(const TK_TMPL(super) * super, const uint8_t *s, int64_t half)
{
    const uint8_t *by = s + half / 16 * 288 + 32 + half % 16 * 16;
    return v_mul(super->d, v_i8(_mm_loadu_si128((const __m128i *)(const void *)by)));
}

TK_INLINE v16 TK_TMPL(q6k_scale)(const uint8_t *s, int64_t half)
{
    TK_TMPL(super) super = TK_TMPL(super_of)(s + half / 16 * 288, false);
    return TK_TMPL(q6k_of)(&super, s, half);
}

TK_INLINE v16 TK_TMPL(nv4_scale)(const tk_packed *w, const uint8_t *s, int64_t half)
{
    v16 d = v_e4m3(_mm_loadu_si128((const __m128i *)(const void *)(s + half * 16)));
    return v_mul(d, v_set(0.5f * w->scale_global));
}

// Sixteen columns a scale, thirty-two an activation's.
STEP(q6k)
{
    (void)w;
    u += i * 384;
    for (int h = 0; h < 2; h++, u += 192) {
        TK_TMPL(sums) acc;
        TK_TMPL(start16)(&acc, x, 2 * i + h, 32, T);
        TK_TMPL(dots6)(&acc, u, ahead, COLS, 16 * h, T);
        TK_TMPL(add_group)(sum, &acc, TK_TMPL(q6k_of)(super, s, 2 * i + h), x, i, T);
    }
}

STEP(mx4)
{
    (void)w;
    (void)super;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 12, T);
    TK_TMPL(dots4)(&acc, u + i * 256, ahead, COLS, 0, 4, true, T);
    TK_TMPL(add_group)(sum, &acc, v_e8m0_half(s + i * 16), x, i, T);
}

// Sixteen columns a scale. The last group may be half a one.
STEP(nv4)
{
    (void)super;
    u += i * 256;
    for (int h = 0; h < 2 && i * 32 + h * 16 < w->n_in; h++, u += 128) {
        TK_TMPL(sums) acc;
        TK_TMPL(start16)(&acc, x, 2 * i + h, 12, T);
        TK_TMPL(dots4)(&acc, u, ahead, COLS, 16 * h, 2, true, T);
        TK_TMPL(add_group)(sum, &acc, TK_TMPL(nv4_scale)(w, s, 2 * i + h), x, i, T);
    }
}
#undef COLS

// Two columns.
STEP(bf16)
{
    (void)w;
    (void)shared;
    (void)super;
    (void)s;
    w16 q = TK_TMPL(unit)(u + i * 64, ahead);
    v16 even = w_as_f32(w_sll32(q, 16)), odd = w_as_f32(w_and(q, w_set((int32_t)0xFFFF0000)));
    for (int t = 0; t < T; t++) {
        sum[t] = v_fma(even, v_set(x->f[t][2 * i]), sum[t]);
        sum[t] = v_fma(odd, v_set(x->f[t][2 * i + 1]), sum[t]);
    }
}

// E4M3 is the upper part of a half once moved down by a bit, its value times 2^-8: multiplying a byte by 128
// and its neighbour by 0 widens, moves and keeps the sign at once.
TK_INLINE void TK_TMPL(fp8_pair)(v16 *lo, v16 *hi, w16 q, int32_t by, const TK_TMPL(rows) * x,
                                 int64_t k, const int T)
{
    w16 half = w_and(w_times_bytes(w_set(by), q), w_set((int32_t)0xBF80BF80));
    v16 a = w_half_lo(half), b = w_half_hi(half);
    for (int t = 0; t < T; t++) {
        v16 p = v_set_pair(x->f[t] + k);
        lo[t] = v_fma(a, p, lo[t]);
        hi[t] = v_fma(b, p, hi[t]);
    }
}

// A block of 128 columns under one scale.
STEP(fp8)
{
    (void)shared;
    (void)super;
    v16 lo[GEMM_TOKS], hi[GEMM_TOKS];
    float scale;
    memcpy(&scale, s + i * 4, sizeof scale);
    int64_t k0 = i * TK_FP8_BLOCK, k1 = TK_MIN(k0 + TK_FP8_BLOCK, w->n_in);
    for (int t = 0; t < T; t++) lo[t] = hi[t] = v_zero();
    for (int64_t k = k0; k < k1; k += 4) {
        w16 q = TK_TMPL(unit)(u + k * 16, ahead);
        TK_TMPL(fp8_pair)(lo, hi, q, 0x00800080, x, k, T);
        TK_TMPL(fp8_pair)(lo, hi, q, (int32_t)0x80008000, x, k + 2, T);
    }
    for (int t = 0; t < T; t++)
        sum[t] = v_fma(v_sum_pairs(lo[t], hi[t]), v_set(scale * 256), sum[t]);
}
#undef STEP

// The rows of a panel that W has.
TK_INLINE void TK_TMPL(store_rows)(float *y, v16 sum, int64_t n_row)
{
    if (n_row >= 16)
        v_store(y, sum);
    else
        v_store_n(y, sum, (int)n_row);
}

static inline TK_TMPL(rows) TK_TMPL(rows_of)(const tk_act *x, const int32_t *index, int tok, int n)
{
    TK_TMPL(rows) r = {0};
    for (int t = 0; t < n; t++) {
        int64_t row = index ? index[tok + t] : tok + t;
        r.f[t] = x->f + row * x->ld;
        if (x->q == NULL) continue;
        r.q[t] = x->q + row * x->n_group;
        r.scale[t] = x->scale + row * x->n_group;
        r.sum[t] = x->sum + row * x->n_group * 2;
    }
    return r;
}

// What a step of each form takes: columns, and bytes of units and of scales (the scales of a superblock: an
// eighth; how many f16 come first in them).
#define FORM(form, cols, units, scales, super)                                                     \
    enum {                                                                                         \
        TK_TMPL(COLS_##form) = cols,                                                               \
        TK_TMPL(UNITS_##form) = units,                                                             \
        TK_TMPL(SCALES_##form) = scales,                                                           \
        TK_TMPL(AHEAD_##form) = units == 256 ? TK_TMPL(AHEAD_4) : TK_TMPL(AHEAD),                  \
        TK_TMPL(SUPER_##form) = super                                                              \
    };
FORM(q8, TK_GROUP, 512, 32, 0)
FORM(q4, TK_GROUP, 256, 32, 0)
FORM(q4m, TK_GROUP, 256, 64, 0)
FORM(q4k, TK_GROUP, 256, 40, 2)
FORM(q6k, TK_GROUP, 384, 36, 1)
FORM(mx4, TK_GROUP, 256, 16, 0)
FORM(nv4, TK_GROUP, 256, 32, 0)
FORM(bf16, 2, 64, 0, 0)
FORM(fp8, TK_FP8_BLOCK, 2048, 4, 0)
#undef FORM

// tile_<form>_<P>_<T>: n_step steps over P panels and T tokens.
#define TILE(form, P, T)                                                                           \
    static void TK_TMPL(tile_##form##_##P##_##T)(const tk_packed *w, int64_t panel0,               \
                                                 int64_t n_step, const TK_TMPL(rows) * x,          \
                                                 float *y, int64_t ldy)                            \
    {                                                                                              \
        const uint8_t *u[P];                                                                       \
        v16 sum[P][T];                                                                             \
        TK_TMPL(super) super[P];                                                                   \
        for (int p = 0; p < P; p++) {                                                              \
            u[p] = w->data + (size_t)(panel0 + p) * w->panel_bytes;                                \
            for (int t = 0; t < T; t++) sum[p][t] = v_zero();                                      \
            super[p] = (TK_TMPL(super)){v_zero(), v_zero()};                                       \
        }                                                                                          \
        for (int64_t i = 0; i < n_step; i++) {                                                     \
            TK_TMPL(ahead)                                                                         \
            ahead = TK_TMPL(look_ahead)(i, n_step, TK_TMPL(UNITS_##form), TK_TMPL(SCALES_##form),  \
                                        w->panel_bytes, P, TK_TMPL(AHEAD_##form));                 \
                                                                                                   \
            x4 cols[TK_GROUP / 4];                                                                 \
            const bool shared = P > 1 && GEMM_SHARED && (int)TK_TMPL(COLS_##form) == TK_GROUP;     \
            for (int j = 0; shared && j < TK_GROUP / 4; j++)                                       \
                cols[j] = x4_load(x->q[0] + i, 4 * j);                                             \
            _Pragma("GCC unroll GEMM_UNROLL") for (int p = 0; p < P; p++)                          \
            {                                                                                      \
                const uint8_t *s = u[p] + w->scale_off;                                            \
                if (TK_TMPL(SCALES_##form))                                                        \
                    _mm_prefetch((const char *)s + i * TK_TMPL(SCALES_##form) + ahead.scale,       \
                                 _MM_HINT_T1);                                                     \
                if (TK_TMPL(SUPER_##form) && i % 8 == 0)                                           \
                    super[p] = TK_TMPL(super_of)(s + i * TK_TMPL(SCALES_##form),                   \
                                                 TK_TMPL(SUPER_##form) > 1);                       \
                TK_TMPL(step_##form)                                                               \
                (w, u[p], s, i, ahead, x, shared ? cols : NULL, &super[p], sum[p], T);             \
            }                                                                                      \
        }                                                                                          \
        for (int p = 0; p < P; p++)                                                                \
            for (int t = 0; t < T; t++) TK_TMPL(store_rows)                                        \
        (y + t * ldy + p * TK_PANEL_ROWS, sum[p][t], w->n_out - (panel0 + p) * TK_PANEL_ROWS);     \
    }

#if defined(__AVX512F__)
#define TILES(form)                                                                                \
    TILE(form, 1, 1)                                                                               \
    TILE(form, 1, 2) TILE(form, 1, 3) TILE(form, 1, 4) TILE(form, 1, 8) TILE(form, 4, 1)
#define LAST_TILES(form)                                                                           \
    {                                                                                              \
        NULL, TK_TMPL(tile_##form##_1_1), TK_TMPL(tile_##form##_1_2), TK_TMPL(tile_##form##_1_3),  \
            TK_TMPL(tile_##form##_1_4), NULL, NULL, NULL, TK_TMPL(tile_##form##_1_8)               \
    }
#define WIDE_TILE(form) TK_TMPL(tile_##form##_4_1)
#else
#define TILES(form)                                                                                \
    TILE(form, 1, 1) TILE(form, 1, 2) TILE(form, 1, 3) TILE(form, 1, 4) TILE(form, 2, 1)
#define LAST_TILES(form)                                                                           \
    {                                                                                              \
        NULL, TK_TMPL(tile_##form##_1_1), TK_TMPL(tile_##form##_1_2), TK_TMPL(tile_##form##_1_3),  \
            TK_TMPL(tile_##form##_1_4)                                                             \
    }
#define WIDE_TILE(form) TK_TMPL(tile_##form##_2_1)
#endif

typedef void (*TK_TMPL(tile_fn))(const tk_packed *, int64_t, int64_t, const TK_TMPL(rows) *,
                                 float *, int64_t);

TK_INLINE void TK_TMPL(gemm)(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x,
                             const int32_t *index, int n_tok, float *y, int64_t ldy, int64_t n_step,
                             const TK_TMPL(tile_fn) * by_tok, TK_TMPL(tile_fn) wide)
{
    int p = 0;
    if (n_tok == 1) {
        TK_TMPL(rows) r = TK_TMPL(rows_of)(x, index, 0, 1);
        for (; p + GEMM_PANELS <= n_panel; p += GEMM_PANELS)
            wide(w, panel0 + p, n_step, &r, y + p * TK_PANEL_ROWS, ldy);
    }
    for (; p < n_panel; p++)
        for (int t = 0; t < n_tok;) {
            int n = TK_MIN(GEMM_TOKS, n_tok - t);
            while (by_tok[n] == NULL) n--;
            TK_TMPL(rows) r = TK_TMPL(rows_of)(x, index, t, n);
            by_tok[n](w, panel0 + p, n_step, &r, y + t * ldy + p * TK_PANEL_ROWS, ldy);
            t += n;
        }
}

TK_INLINE int64_t TK_TMPL(step_count)(const tk_packed *w, int cols)
{
    return (w->n_in + cols - 1) / cols;
}

#include "kernels/tmpl/panel_tmpl.h"

#define GEMM(form)                                                                                 \
    TILES(form)                                                                                    \
    static TK_FN_GEMM(TK_TMPL(gemm_##form))                                                        \
    {                                                                                              \
        static const TK_TMPL(tile_fn) by_tok[] = LAST_TILES(form);                                 \
        int64_t n_step = TK_TMPL(step_count)(w, TK_TMPL(COLS_##form));                             \
        TK_TMPL(gemm)                                                                              \
        (w, panel0, n_panel, x, index, n_tok, y, ldy, n_step, by_tok, WIDE_TILE(form));            \
    }

// Forms that cost much to unpack: many tokens meet stretches of stretch_cols by the `way` of meeting.
#define GEMM_STRETCH(form, stretch_cols, way)                                                      \
    TILES(form)                                                                                    \
    static TK_FN_GEMM(TK_TMPL(gemm_##form))                                                        \
    {                                                                                              \
        static const TK_TMPL(tile_fn) by_tok[] = LAST_TILES(form);                                 \
        static const TK_TMPL(panel_way)                                                            \
            many = {TK_TMPL(unpack_##form), stretch_cols, TK_TMPL(meet_##way##_one),               \
                    TK_TMPL(meet_##way##_half), TK_TMPL(meet_##way##_full)};                       \
        int64_t n_step = TK_TMPL(step_count)(w, TK_TMPL(COLS_##form));                             \
        if (n_tok < TK_TMPL(STRETCH_TOKS)) TK_TMPL(gemm)                                           \
        (w, panel0, n_panel, x, index, n_tok, y, ldy, n_step, by_tok, WIDE_TILE(form));            \
        else TK_TMPL(panels)(w, panel0, n_panel, x, index, n_tok, y, ldy, &many);                  \
    }

GEMM(q8)
GEMM(q4)
GEMM(q4m)
GEMM(q4k)
GEMM(mx4)
#if defined(__AVX512F__)
GEMM(q6k)
GEMM(nv4)
#else
GEMM_STRETCH(q6k, TK_TMPL(STRETCH), g16)
GEMM_STRETCH(nv4, TK_TMPL(STRETCH), g16)
#endif
GEMM(bf16)
GEMM_STRETCH(fp8, TK_TMPL(STRETCH_F), blocks)

#undef TILE
#undef TILES
#undef LAST_TILES
#undef WIDE_TILE
#undef GEMM
#undef GEMM_STRETCH

// A group of x, n its columns or less (the others are 0), times what brings its largest to `most`.
typedef struct TK_TMPL(group) {
    v16 lo, hi;
    float scale; // NaN when it is not finite
} TK_TMPL(group);

TK_INLINE TK_TMPL(group) TK_TMPL(group_of)(const float *x, int64_t n, float most)
{
    float v[TK_GROUP];
    if (n < TK_GROUP) {
        memset(v, 0, sizeof v);
        memcpy(v, x, (size_t)n * sizeof *v);
        x = v;
    }
    v16 a = v_load(x), b = v_load(x + 16);
    float max = v_abs_max(a, b);
    float by = max >= 0x1p-100f ? most / max : 0; // below, the reciprocal would not be finite
    bool whole = max <= 3.4028235e38f;
    if (!whole) a = b = v_zero();
    return (TK_TMPL(group)){.lo = v_mul(a, v_set(by)),
                            .hi = v_mul(b, v_set(by)),
                            .scale = !whole    ? tk_f32_from_bits(0x7FC00000)
                                     : by == 0 ? 0
                                               : max / most};
}

static TK_FN_QUANTISE(TK_TMPL(quantise))
{
    for (int64_t k = 0; k < n; k += TK_GROUP, q++, sum += 2) {
        TK_TMPL(group) g = TK_TMPL(group_of)(x + k, n - k, TK_MOST16);
        v_store_group(q, g.lo, g.hi, sum);
        *scale++ = g.scale;
    }
}
