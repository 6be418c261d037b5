// SPDX-License-Identifier: MIT
// Packed weights times activations (num/packed.h). A tile is P panels and T tokens, P or T being 1: one token
// meets several panels, so that memory delivers several streams; many tokens meet one panel, which stays in
// the caches over all of them. Integer sums of a group are exact; groups are added in order of k by fused
// multiply-add. So a value is the same bit for bit in every tile and on both levels.
#include "kernels/kernels.h"
#include "num/convert.h"

#include <string.h>

enum { TK_TMPL(PANEL_TOKS) = 8 }; // from so many tokens on it pays to unpack first

// How far ahead a stream is asked for: hardware stops at the end of a 4 KiB page.
enum { TK_TMPL(AHEAD) = 3072 };

TK_INLINE w16 TK_TMPL(pair)(const int16_t *x)
{
    int32_t p;
    memcpy(&p, x, sizeof p);
    return w_set(p);
}

TK_INLINE void TK_TMPL(dots)(w16 *acc, w16 words, const int16_t *const *x, int64_t k, const int T)
{
    for (int t = 0; t < T; t++) acc[t] = w_dot(acc[t], words, TK_TMPL(pair)(x[t] + k));
}

TK_INLINE w16 TK_TMPL(unit)(const uint8_t *u)
{
    _mm_prefetch((const char *)u + TK_TMPL(AHEAD), _MM_HINT_T0);
    return w_load(u);
}

// A unit's eight columns of four bits.
TK_INLINE void TK_TMPL(dots4)(w16 *acc, w16 q, const int16_t *const *x, int64_t k, const int T)
{
    w16 low = w_set(0x000F000F);
    TK_TMPL(dots)(acc, w_and(q, low), x, k, T);
    TK_TMPL(dots)(acc, w_and(w_srl(q, 4), low), x, k + 2, T);
    TK_TMPL(dots)(acc, w_and(w_srl(q, 8), low), x, k + 4, T);
    TK_TMPL(dots)(acc, w_srl(q, 12), x, k + 6, T);
}

TK_INLINE void TK_TMPL(dots8)(w16 *acc, w16 q, const int16_t *const *x, int64_t k, const int T)
{
    TK_TMPL(dots)(acc, w_and(q, w_set(0x00FF00FF)), x, k, T);
    TK_TMPL(dots)(acc, w_srl(q, 8), x, k + 2, T);
}

// E2M1 doubled plus 12: unsigned bytes.
TK_INLINE void TK_TMPL(dots_e2m1)(w16 *acc, w16 q, const int16_t *const *x, int64_t k, const int T)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    w16 low = w_set(0x0F0F0F0F), byte = w_set(0x00FF00FF);
    w16 a = w_look_up(table, w_and(q, low)), b = w_look_up(table, w_and(w_srl(q, 4), low));
    TK_TMPL(dots)(acc, w_and(a, byte), x, k, T);
    TK_TMPL(dots)(acc, w_and(b, byte), x, k + 2, T);
    TK_TMPL(dots)(acc, w_srl(a, 8), x, k + 4, T);
    TK_TMPL(dots)(acc, w_srl(b, 8), x, k + 6, T);
}

// Sixteen columns of six bits: two units of low nibbles, one of high pairs.
TK_INLINE void TK_TMPL(dots6)(w16 *acc, const uint8_t *u, const int16_t *const *x, int64_t k,
                              const int T)
{
    w16 a = TK_TMPL(unit)(u), b = TK_TMPL(unit)(u + 64), h = TK_TMPL(unit)(u + 128);
    w16 low = w_set(0x000F000F), high = w_set(0x00300030);
    TK_TMPL(dots)(acc, w_or(w_and(a, low), w_and(w_sll(h, 4), high)), x, k, T);
    TK_TMPL(dots)(acc, w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high)), x, k + 2, T);
    TK_TMPL(dots)(acc, w_or(w_and(w_srl(a, 8), low), w_and(h, high)), x, k + 4, T);
    TK_TMPL(dots)(acc, w_or(w_srl(a, 12), w_and(w_srl(h, 2), high)), x, k + 6, T);
    TK_TMPL(dots)(acc, w_or(w_and(b, low), w_and(w_srl(h, 4), high)), x, k + 8, T);
    TK_TMPL(dots)(acc, w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 6), high)), x, k + 10, T);
    TK_TMPL(dots)(acc, w_or(w_and(w_srl(b, 8), low), w_and(w_srl(h, 8), high)), x, k + 12, T);
    TK_TMPL(dots)(acc, w_or(w_srl(b, 12), w_and(w_srl(h, 10), high)), x, k + 14, T);
}

// What a tile works on: rows of T tokens.
typedef struct TK_TMPL(rows) {
    const int16_t *q[GEMM_TOKS];
    const float *scale[GEMM_TOKS];
    const int32_t *sum[GEMM_TOKS];
    const float *f[GEMM_TOKS];
} TK_TMPL(rows);

// sum[t] += d * scale of token t's group g * (acc[t] + start * sum of the group), the start already in acc
TK_INLINE void TK_TMPL(add_group)(v16 *sum, const w16 *acc, v16 d, const TK_TMPL(rows) * x,
                                  int64_t g, const int T)
{
    for (int t = 0; t < T; t++)
        sum[t] = v_fma(w_f32(acc[t]), v_mul(d, v_set(x->scale[t][g])), sum[t]);
}

// Codes are stored with an offset: its part of the sum is taken off at the start.
TK_INLINE void TK_TMPL(start)(w16 *acc, const TK_TMPL(rows) * x, int64_t g, int offset, const int T)
{
    for (int t = 0; t < T; t++) acc[t] = w_set(-offset * (x->sum[t][2 * g] + x->sum[t][2 * g + 1]));
}

// The same for half a group.
TK_INLINE void TK_TMPL(start16)(w16 *acc, const TK_TMPL(rows) * x, int64_t half, int offset,
                                const int T)
{
    for (int t = 0; t < T; t++) acc[t] = w_set(-offset * x->sum[t][half]);
}

// The minimum's part: m * the group's sum.
TK_INLINE void TK_TMPL(add_min)(v16 *sum, v16 m, const TK_TMPL(rows) * x, int64_t g, const int T)
{
    for (int t = 0; t < T; t++) {
        int32_t total = x->sum[t][2 * g] + x->sum[t][2 * g + 1];
        sum[t] = v_fma(m, v_set((float)total * x->scale[t][g]), sum[t]);
    }
}

// One step of a form: a group (or superblock, or stretch) i of one panel. u: the panel's units, s: its scales.
#define STEP(name)                                                                                 \
    TK_INLINE void TK_TMPL(step_##name)(const tk_packed *w, const uint8_t *u, const uint8_t *s,    \
                                        int64_t i, const TK_TMPL(rows) * x, v16 * sum,             \
                                        const int T)

STEP(q8)
{
    (void)w;
    w16 acc[GEMM_TOKS];
    TK_TMPL(start)(acc, x, i, 128, T);
    u += i * 512;
    for (int j = 0; j < 8; j++)
        TK_TMPL(dots8)(acc, TK_TMPL(unit)(u + 64 * j), x->q, i * 32 + 4 * j, T);
    TK_TMPL(add_group)(sum, acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4)
{
    (void)w;
    w16 acc[GEMM_TOKS];
    TK_TMPL(start)(acc, x, i, 8, T);
    u += i * 256;
    for (int j = 0; j < 4; j++)
        TK_TMPL(dots4)(acc, TK_TMPL(unit)(u + 64 * j), x->q, i * 32 + 8 * j, T);
    TK_TMPL(add_group)(sum, acc, v_f16(s + i * 32), x, i, T);
}

STEP(q4m)
{
    (void)w;
    w16 acc[GEMM_TOKS];
    TK_TMPL(start)(acc, x, i, 0, T);
    u += i * 256;
    for (int j = 0; j < 4; j++)
        TK_TMPL(dots4)(acc, TK_TMPL(unit)(u + 64 * j), x->q, i * 32 + 8 * j, T);
    TK_TMPL(add_group)(sum, acc, v_f16(s + i * 64), x, i, T);
    TK_TMPL(add_min)(sum, v_f16(s + i * 64 + 32), x, i, T);
}

STEP(q4k)
{
    (void)w;
    u += i * 2048;
    s += i * 320;
    v16 d = v_f16(s), dmin = v_sub(v_zero(), v_f16(s + 32));
    for (int g = 0; g < 8; g++, u += 256) {
        const uint8_t *sm = s + 64 + g * 32;
        int64_t k = i * 256 + g * 32;
        w16 acc[GEMM_TOKS];
        TK_TMPL(start)(acc, x, i * 8 + g, 0, T);
        for (int j = 0; j < 4; j++)
            TK_TMPL(dots4)(acc, TK_TMPL(unit)(u + 64 * j), x->q, k + 8 * j, T);
        v16 ds = v_mul(d, v_u8(_mm_loadu_si128((const __m128i *)(const void *)sm)));
        v16 dm = v_mul(dmin, v_u8(_mm_loadu_si128((const __m128i *)(const void *)(sm + 16))));
        TK_TMPL(add_group)(sum, acc, ds, x, i * 8 + g, T);
        TK_TMPL(add_min)(sum, dm, x, i * 8 + g, T);
    }
}

// Sixteen columns a scale, thirty-two an activation's.
STEP(q6k)
{
    (void)w;
    u += i * 3072;
    s += i * 288;
    v16 d = v_f16(s);
    for (int g = 0; g < 16; g++, u += 192) {
        int64_t k = i * 256 + g * 16;
        w16 acc[GEMM_TOKS];
        TK_TMPL(start16)(acc, x, k / 16, 32, T);
        TK_TMPL(dots6)(acc, u, x->q, k, T);
        v16 ds = v_mul(d, v_i8(_mm_loadu_si128((const __m128i *)(const void *)(s + 32 + g * 16))));
        TK_TMPL(add_group)(sum, acc, ds, x, k / 32, T);
    }
}

STEP(mx4)
{
    (void)w;
    w16 acc[GEMM_TOKS];
    TK_TMPL(start)(acc, x, i, 12, T);
    u += i * 256;
    for (int j = 0; j < 4; j++)
        TK_TMPL(dots_e2m1)(acc, TK_TMPL(unit)(u + 64 * j), x->q, i * 32 + 8 * j, T);
    TK_TMPL(add_group)(sum, acc, v_e8m0_half(s + i * 16), x, i, T);
}

STEP(nv4)
{
    w16 acc[GEMM_TOKS];
    int64_t k = i * 16;
    TK_TMPL(start16)(acc, x, i, 12, T);
    u += i * 128;
    for (int j = 0; j < 2; j++)
        TK_TMPL(dots_e2m1)(acc, TK_TMPL(unit)(u + 64 * j), x->q, k + 8 * j, T);
    v16 d = v_e4m3(_mm_loadu_si128((const __m128i *)(const void *)(s + i * 16)));
    TK_TMPL(add_group)(sum, acc, v_mul(d, v_set(0.5f * w->scale_global)), x, k / 32, T);
}

// Two columns.
STEP(bf16)
{
    (void)w;
    (void)s;
    w16 q = TK_TMPL(unit)(u + i * 64);
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
    v16 lo[GEMM_TOKS], hi[GEMM_TOKS];
    float scale;
    memcpy(&scale, s + i * 4, sizeof scale);
    int64_t k0 = i * TK_FP8_BLOCK, k1 = TK_MIN(k0 + TK_FP8_BLOCK, w->n_in);
    for (int t = 0; t < T; t++) lo[t] = hi[t] = v_zero();
    for (int64_t k = k0; k < k1; k += 4) {
        w16 q = TK_TMPL(unit)(u + k * 16);
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
        for (int64_t i = 0; i < n_step; i++)                                                       \
            for (int p = 0; p < P; p++)                                                            \
                TK_TMPL(step_##form)(w, u[p], u[p] + w->scale_off, i, x, sum[p], T);               \
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

#include "kernels/tmpl/panel_tmpl.h"

// gemm_<form>: step_cols columns are one step of few tokens; many meet stretches by the `way` of meeting.
#define GEMM(form, step_cols, stretch_cols, way)                                                   \
    TILES(form)                                                                                    \
    static TK_FN_GEMM(TK_TMPL(gemm_##form))                                                        \
    {                                                                                              \
        static const TK_TMPL(tile_fn) by_tok[] = LAST_TILES(form);                                 \
        static const TK_TMPL(panel_way)                                                            \
            many = {TK_TMPL(unpack_##form), stretch_cols, TK_TMPL(meet_##way##_one),               \
                    TK_TMPL(meet_##way##_half), TK_TMPL(meet_##way##_full)};                       \
        int64_t n_step = (w->n_in + (step_cols)-1) / (step_cols);                                  \
        if (n_tok < TK_TMPL(PANEL_TOKS)) TK_TMPL(gemm)                                             \
        (w, panel0, n_panel, x, index, n_tok, y, ldy, n_step, by_tok, WIDE_TILE(form));            \
        else TK_TMPL(panels)(w, panel0, n_panel, x, index, n_tok, y, ldy, &many);                  \
    }

GEMM(q8, 32, TK_TMPL(STRETCH), g32)
GEMM(q4, 32, TK_TMPL(STRETCH), g32)
GEMM(q4m, 32, TK_TMPL(STRETCH), g32m)
GEMM(q4k, 256, TK_TMPL(STRETCH), g32m)
GEMM(q6k, 256, TK_TMPL(STRETCH), g16)
GEMM(mx4, 32, TK_TMPL(STRETCH), g32)
GEMM(nv4, 16, TK_TMPL(STRETCH), g16)
GEMM(bf16, 2, TK_TMPL(STRETCH_F), floats)
GEMM(fp8, 128, TK_TMPL(STRETCH_F), blocks)

#undef TILE
#undef TILES
#undef LAST_TILES
#undef WIDE_TILE
#undef GEMM

static TK_FN_QUANTISE(TK_TMPL(quantise))
{
    for (int64_t k = 0; k < n; k += TK_GROUP, q += TK_GROUP) {
        int len = (int)TK_MIN((int64_t)TK_GROUP, n - k);
        float v[TK_GROUP];
        v16 a, b;
        if (len == TK_GROUP) {
            a = v_load(x + k);
            b = v_load(x + k + 16);
        } else {
            memset(v, 0, sizeof v);
            memcpy(v, x + k, (size_t)len * sizeof *v);
            a = v_load(v);
            b = v_load(v + 16);
        }
        float max = v_abs_max(a, b);
        float by = max >= 0x1p-100f ? 32767 / max : 0;
        bool whole = max <= 3.4028235e38f;
        if (!whole) a = b = v_zero();
        v_store_words(q, v_mul(a, v_set(by)), v_mul(b, v_set(by)), sum);
        sum += 2;
        *scale++ = !whole ? tk_f32_from_bits(0x7FC00000) : by == 0 ? 0 : max / 32767;
    }
}
