// SPDX-License-Identifier: MIT
// Products of BF16 pairs (vdpbf16ps), twice as many an instruction as of floats: one or two panels of units (num/packed.h:
// two columns of sixteen rows) times up to eight rows of activations. A value has one accumulator, filled in order of the columns,
// whatever tile it falls in.
#ifndef TK_KERNELS_AVX512_DOT_BF16_H
#define TK_KERNELS_AVX512_DOT_BF16_H

#include "kernels/avx512/vec.h"

#include "base/compiler.h"

enum { DOT_TOKS = 8, DOT_LANES = 16 };

// What rows of activations add up to with two panels.
typedef struct dot_sum {
    _Alignas(64) float of[2][DOT_LANES];
} dot_sum;

static inline v16 v_dot_bf16(v16 acc, w16 a, w16 b)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// sum[t] += scale[p] * units of panel p . x[t], over n_pair pairs of columns; rows of x are ld apart.
typedef void (*dot_fn)(const uint8_t *const *unit, int n_pair, const uint16_t *x, int64_t ld,
                       const float *scale, dot_sum *sum);

TK_INLINE void dot_tile(const uint8_t *const *unit, int n_pair, const uint16_t *x, int64_t ld,
                        const float *scale, dot_sum *sum, const int P, const int T)
{
    v16 acc[2][DOT_TOKS];
    const uint16_t *row[DOT_TOKS];
    for (int t = 0; t < T; t++) row[t] = x + t * ld;
    for (int p = 0; p < P; p++)
        for (int t = 0; t < T; t++) acc[p][t] = v_zero();
    for (int i = 0; i < n_pair; i++) {
        w16 w[2];
        for (int p = 0; p < P; p++) w[p] = w_load(unit[p] + (size_t)i * 64);
        for (int t = 0; t < T; t++) {
            int32_t pair;
            memcpy(&pair, row[t] + (size_t)2 * i, sizeof pair);
            w16 both = w_set(pair);
            for (int p = 0; p < P; p++) acc[p][t] = v_dot_bf16(acc[p][t], w[p], both);
        }
    }
    for (int t = 0; t < T; t++)
        for (int p = 0; p < P; p++)
            v_store(sum[t].of[p], v_fma(acc[p][t], v_set(scale[p]), v_load(sum[t].of[p])));
}

#define DOT_TILE(P, T)                                                                             \
    static void dot_##P##_##T(const uint8_t *const *unit, int n_pair, const uint16_t *x,           \
                              int64_t ld, const float *scale, dot_sum *sum)                        \
    {                                                                                              \
        dot_tile(unit, n_pair, x, ld, scale, sum, P, T);                                           \
    }
#define DOT_TILES(P)                                                                               \
    DOT_TILE(P, 1)                                                                                 \
    DOT_TILE(P, 2)                                                                                 \
    DOT_TILE(P, 3)                                                                                 \
    DOT_TILE(P, 4) DOT_TILE(P, 5) DOT_TILE(P, 6) DOT_TILE(P, 7) DOT_TILE(P, 8)
#define DOT_FNS(P)                                                                                 \
    {                                                                                              \
        dot_##P##_1, dot_##P##_2, dot_##P##_3, dot_##P##_4, dot_##P##_5, dot_##P##_6, dot_##P##_7, \
            dot_##P##_8                                                                            \
    }
DOT_TILES(1)
DOT_TILES(2)

// The same for any number of rows, in tiles of about one size: a small one waits for its own sums.
static inline void dot_rows(const uint8_t *const *unit, int n_panel, int n_pair, const uint16_t *x,
                            int64_t ld, int n_tok, const float *scale, dot_sum *sum)
{
    static const dot_fn fns[2][DOT_TOKS] = {DOT_FNS(1), DOT_FNS(2)};
    int n_tile = (n_tok + DOT_TOKS - 1) / DOT_TOKS;
    for (int t = 0, n; t < n_tok; t += n, n_tile--) {
        n = (n_tok - t + n_tile - 1) / n_tile;
        fns[n_panel - 1][n - 1](unit, n_pair, x + t * ld, ld, scale, sum + t);
    }
}
#undef DOT_TILE
#undef DOT_TILES
#undef DOT_FNS

#endif
