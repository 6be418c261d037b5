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
enum { TK_TMPL(AHEAD) = 4096 };

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

TK_INLINE w16 TK_TMPL(pair)(const int16_t *x)
{
    int32_t p;
    memcpy(&p, x, sizeof p);
    return w_set(p);
}

// A group's sums of T tokens. Few tokens take several chains each, so that a dot product need not wait for the
// one before: sums are of integers, and exact in any order.
enum { TK_TMPL(CHAINS) = 4 };

TK_INLINE int TK_TMPL(chains)(const int T)
{
    return T == 1 ? 4 : T == 2 ? 2 : 1;
}

typedef struct TK_TMPL(sums) {
    w16 of[TK_TMPL(CHAINS)][GEMM_TOKS];
} TK_TMPL(sums);

// The columns from k on of T tokens. One token that meets several panels has the pairs of a group in registers
// already, for all of them.
typedef struct TK_TMPL(cols) {
    const int16_t *const *q;
    int64_t k;
    const w16 *pairs; // of columns k .., or NULL
} TK_TMPL(cols);

TK_INLINE void TK_TMPL(dots)(TK_TMPL(sums) * acc, const int chain, w16 words, TK_TMPL(cols) x,
                             const int j, const int T)
{
    for (int t = 0; t < T; t++) {
        w16 *to = &acc->of[chain % TK_TMPL(chains)(T)][t];
        *to = w_dot(*to, words, x.pairs ? x.pairs[j / 2] : TK_TMPL(pair)(x.q[t] + x.k + j));
    }
}

TK_INLINE w16 TK_TMPL(unit)(const uint8_t *u, TK_TMPL(ahead) ahead)
{
    _mm_prefetch((const char *)u + ahead.unit, _MM_HINT_T1);
    return w_load(u);
}

// A unit's eight columns of four bits.
TK_INLINE void TK_TMPL(dots4)(TK_TMPL(sums) * acc, w16 q, TK_TMPL(cols) x, const int j, const int T)
{
    w16 low = w_set(0x000F000F);
    TK_TMPL(dots)(acc, 0, w_and(q, low), x, j, T);
    TK_TMPL(dots)(acc, 1, w_and(w_srl(q, 4), low), x, j + 2, T);
    TK_TMPL(dots)(acc, 2, w_and(w_srl(q, 8), low), x, j + 4, T);
    TK_TMPL(dots)(acc, 3, w_srl(q, 12), x, j + 6, T);
}

TK_INLINE void TK_TMPL(dots8)(TK_TMPL(sums) * acc, const int chain, w16 q, TK_TMPL(cols) x,
                              const int j, const int T)
{
    TK_TMPL(dots)(acc, chain, w_and(q, w_set(0x00FF00FF)), x, j, T);
    TK_TMPL(dots)(acc, chain + 1, w_srl(q, 8), x, j + 4, T);
}

// E2M1 doubled plus 12, unsigned bytes, of codes a byte.
TK_INLINE w16 TK_TMPL(e2m1_codes)(w16 codes)
{
    return w_look_up(_mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0),
                     codes);
}

TK_INLINE void TK_TMPL(dots_e2m1)(TK_TMPL(sums) * acc, w16 q, TK_TMPL(cols) x, const int j,
                                  const int T)
{
    w16 low = w_set(0x0F0F0F0F), byte = w_set(0x00FF00FF);
    w16 a = TK_TMPL(e2m1_codes)(w_and(q, low)), b = TK_TMPL(e2m1_codes)(w_and(w_srl(q, 4), low));
    TK_TMPL(dots)(acc, 0, w_and(a, byte), x, j, T);
    TK_TMPL(dots)(acc, 1, w_and(b, byte), x, j + 2, T);
    TK_TMPL(dots)(acc, 2, w_srl(a, 8), x, j + 4, T);
    TK_TMPL(dots)(acc, 3, w_srl(b, 8), x, j + 6, T);
}

// Sixteen columns of six bits: two units of low nibbles, one of high pairs.
TK_INLINE void TK_TMPL(dots6)(TK_TMPL(sums) * acc, const uint8_t *u, TK_TMPL(ahead) ahead,
                              TK_TMPL(cols) x, const int j, const int T)
{
    w16 a = TK_TMPL(unit)(u, ahead), b = TK_TMPL(unit)(u + 64, ahead),
        h = TK_TMPL(unit)(u + 128, ahead);
    w16 low = w_set(0x000F000F), high = w_set(0x00300030);
    TK_TMPL(dots)(acc, 0, w_or(w_and(a, low), w_and(w_sll(h, 4), high)), x, j, T);
    TK_TMPL(dots)(acc, 1, w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high)), x, j + 2, T);
    TK_TMPL(dots)(acc, 2, w_or(w_and(w_srl(a, 8), low), w_and(w_srl(h, 4), high)), x, j + 4, T);
    TK_TMPL(dots)(acc, 3, w_or(w_srl(a, 12), w_and(w_srl(h, 6), high)), x, j + 6, T);
    TK_TMPL(dots)(acc, 4, w_or(w_and(b, low), w_and(h, high)), x, j + 8, T);
    TK_TMPL(dots)(acc, 5, w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 2), high)), x, j + 10, T);
    TK_TMPL(dots)(acc, 6, w_or(w_and(w_srl(b, 8), low), w_and(w_srl(h, 8), high)), x, j + 12, T);
    TK_TMPL(dots)(acc, 7, w_or(w_srl(b, 12), w_and(w_srl(h, 10), high)), x, j + 14, T);
}

// What a tile works on: rows of T tokens.
typedef struct TK_TMPL(rows) {
    const int16_t *q[GEMM_TOKS];
    const float *scale[GEMM_TOKS];
    const int32_t *sum[GEMM_TOKS];
    const float *f[GEMM_TOKS];
} TK_TMPL(rows);

// sum[t] += d * scale of token t's group g * (acc[t] + start * sum of the group), the start already in acc
TK_INLINE void TK_TMPL(add_group)(v16 *sum, const TK_TMPL(sums) * acc, v16 d,
                                  const TK_TMPL(rows) * x, int64_t g, const int T)
{
    for (int t = 0; t < T; t++) {
        w16 all = acc->of[0][t];
        for (int c = 1; c < TK_TMPL(chains)(T); c++) all = w_add32(all, acc->of[c][t]);
        sum[t] = v_fma(w_f32(all), v_mul(d, v_set(x->scale[t][g])), sum[t]);
    }
}

TK_INLINE void TK_TMPL(begin)(TK_TMPL(sums) * acc, int t, int32_t first, const int T)
{
    acc->of[0][t] = w_set(first);
    for (int c = 1; c < TK_TMPL(chains)(T); c++) acc->of[c][t] = w_set(0);
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

// One step of a form: a group i of 32 columns (BF16 and FP8: see there) of one panel. u: the panel's units, s: its
// scales. pairs: see TK_TMPL(cols).
#define STEP(name)                                                                                 \
    TK_INLINE void TK_TMPL(step_##name)(const tk_packed *w, const uint8_t *u, const uint8_t *s,    \
                                        int64_t i, TK_TMPL(ahead) ahead, const TK_TMPL(rows) * x,  \
                                        const w16 *pairs, v16 *sum, const int T)

TK_INLINE void TK_TMPL(group4)(TK_TMPL(sums) * acc, const uint8_t *u, TK_TMPL(ahead) ahead,
                               TK_TMPL(cols) c, const int T)
{
    for (int j = 0; j < 4; j++) TK_TMPL(dots4)(acc, TK_TMPL(unit)(u + 64 * j, ahead), c, 8 * j, T);
}

#define COLS(col) ((TK_TMPL(cols)){.q = x->q, .k = (col), .pairs = pairs})

STEP(q8)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 128, T);
    u += i * 512;
    for (int j = 0; j < 8; j++) TK_TMPL(dots8)
    (&acc, 2 * j, TK_TMPL(unit)(u + 64 * j, ahead), COLS(i * 32), j / 2 * 8 + j % 2 * 2, T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 8, T);
    TK_TMPL(group4)(&acc, u + i * 256, ahead, COLS(i * 32), T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4m)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 0, T);
    TK_TMPL(group4)(&acc, u + i * 256, ahead, COLS(i * 32), T);
    TK_TMPL(add_group)(sum, &acc, v_f16(s + i * 64), x, i, T);
    TK_TMPL(add_min)(sum, v_f16(s + i * 64 + 32), x, i, T);
}

typedef struct TK_TMPL(affine) {
    v16 scale, min;
} TK_TMPL(affine);

// Those of group g.
TK_INLINE TK_TMPL(affine) TK_TMPL(q4k_scales)(const uint8_t *s, int64_t g)
{
    s += g / 8 * 320;
    const __m128i *sm = (const __m128i *)(const void *)(s + 64 + g % 8 * 32);
    return (TK_TMPL(affine)){
        .scale = v_mul(v_f16(s), v_u8(_mm_loadu_si128(sm))),
        .min = v_mul(v_sub(v_zero(), v_f16(s + 32)), v_u8(_mm_loadu_si128(sm + 1)))};
}

STEP(q4k)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 0, T);
    TK_TMPL(group4)(&acc, u + i * 256, ahead, COLS(i * 32), T);
    TK_TMPL(affine) d = TK_TMPL(q4k_scales)(s, i);
    TK_TMPL(add_group)(sum, &acc, d.scale, x, i, T);
    TK_TMPL(add_min)(sum, d.min, x, i, T);
}

// That of sixteen columns.
TK_INLINE v16 TK_TMPL(q6k_scale)(const uint8_t *s, int64_t half)
{
    s += half / 16 * 288;
    const uint8_t *by = s + 32 + half % 16 * 16;
    return v_mul(v_f16(s), v_i8(_mm_loadu_si128((const __m128i *)(const void *)by)));
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
        TK_TMPL(dots6)(&acc, u, ahead, COLS(i * 32), 16 * h, T);
        TK_TMPL(add_group)(sum, &acc, TK_TMPL(q6k_scale)(s, 2 * i + h), x, i, T);
    }
}

STEP(mx4)
{
    (void)w;
    TK_TMPL(sums) acc;
    TK_TMPL(start)(&acc, x, i, 12, T);
    u += i * 256;
    for (int j = 0; j < 4; j++)
        TK_TMPL(dots_e2m1)(&acc, TK_TMPL(unit)(u + 64 * j, ahead), COLS(i * 32), 8 * j, T);
    TK_TMPL(add_group)(sum, &acc, v_e8m0_half(s + i * 16), x, i, T);
}

// Sixteen columns a scale. The last group may be half a one.
STEP(nv4)
{
    u += i * 256;
    for (int h = 0; h < 2 && i * 32 + h * 16 < w->n_in; h++, u += 128) {
        TK_TMPL(sums) acc;
        TK_TMPL(start16)(&acc, x, 2 * i + h, 12, T);
        for (int j = 0; j < 2; j++) TK_TMPL(dots_e2m1)
        (&acc, TK_TMPL(unit)(u + 64 * j, ahead), COLS(i * 32), 16 * h + 8 * j, T);
        TK_TMPL(add_group)(sum, &acc, TK_TMPL(nv4_scale)(w, s, 2 * i + h), x, i, T);
    }
}
#undef COLS

// Two columns.
STEP(bf16)
{
    (void)w;
    (void)pairs;
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
    (void)pairs;
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
        r.q[t] = x->q + row * x->n_group * TK_GROUP;
        r.scale[t] = x->scale + row * x->n_group;
        r.sum[t] = x->sum + row * x->n_group * 2;
    }
    return r;
}

// What a step of each form takes: columns, and bytes of units and of scales (the scales of a superblock: an
// eighth).
#define FORM(form, cols, units, scales)                                                            \
    enum {                                                                                         \
        TK_TMPL(COLS_##form) = cols,                                                               \
        TK_TMPL(UNITS_##form) = units,                                                             \
        TK_TMPL(SCALES_##form) = scales                                                            \
    };
FORM(q8, TK_GROUP, 512, 32)
FORM(q4, TK_GROUP, 256, 32)
FORM(q4m, TK_GROUP, 256, 64)
FORM(q4k, TK_GROUP, 256, 40)
FORM(q6k, TK_GROUP, 384, 36)
FORM(mx4, TK_GROUP, 256, 16)
FORM(nv4, TK_GROUP, 256, 32)
FORM(bf16, 2, 64, 0)
FORM(fp8, TK_FP8_BLOCK, 2048, 4)
#undef FORM

// tile_<form>_<P>_<T>: n_step steps over P panels and T tokens.
#define TILE(form, P, T)                                                                           \
    static void TK_TMPL(tile_##form##_##P##_##T)(const tk_packed *w, int64_t panel0,               \
                                                 int64_t n_step, const TK_TMPL(rows) * x,          \
                                                 float *y, int64_t ldy)                            \
    {                                                                                              \
        const uint8_t *u[P];                                                                       \
        v16 sum[P][T];                                                                             \
        for (int p = 0; p < P; p++) {                                                              \
            u[p] = w->data + (size_t)(panel0 + p) * w->panel_bytes;                                \
            for (int t = 0; t < T; t++) sum[p][t] = v_zero();                                      \
        }                                                                                          \
        for (int64_t i = 0; i < n_step; i++) {                                                     \
            TK_TMPL(ahead)                                                                         \
            ahead = TK_TMPL(look_ahead)(i, n_step, TK_TMPL(UNITS_##form), TK_TMPL(SCALES_##form),  \
                                        w->panel_bytes, P, TK_TMPL(AHEAD));                        \
                                                                                                   \
            w16 pairs[TK_GROUP / 2];                                                               \
            const bool shared = P > 1 && GEMM_SHARED && (int)TK_TMPL(COLS_##form) == TK_GROUP;     \
            for (int j = 0; shared && j < TK_GROUP / 2; j++)                                       \
                pairs[j] = TK_TMPL(pair)(x->q[0] + i * TK_GROUP + 2 * j);                          \
            for (int p = 0; p < P; p++) {                                                          \
                const uint8_t *s = u[p] + w->scale_off;                                            \
                if (TK_TMPL(SCALES_##form))                                                        \
                    _mm_prefetch((const char *)s + i * TK_TMPL(SCALES_##form) + ahead.scale,       \
                                 _MM_HINT_T1);                                                     \
                TK_TMPL(step_##form)(w, u[p], s, i, ahead, x, shared ? pairs : NULL, sum[p], T);   \
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
GEMM_STRETCH(q6k, TK_TMPL(STRETCH), g16)
GEMM(mx4)
GEMM_STRETCH(nv4, TK_TMPL(STRETCH), g16)
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
    for (int64_t k = 0; k < n; k += TK_GROUP, q += TK_GROUP, sum += 2) {
        TK_TMPL(group) g = TK_TMPL(group_of)(x + k, n - k, 32767);
        v_store_words(q, g.lo, g.hi, sum);
        *scale++ = g.scale;
    }
}
