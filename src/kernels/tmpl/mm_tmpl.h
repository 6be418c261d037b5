// SPDX-License-Identifier: MIT
// y[t][r] += w[r] . x[t], a tile of rows and tokens at a time. Each output has one accumulator of sixteen
// lanes, filled in order of k and summed by the same tree, whatever tile it falls in.
#include "kernels/kernels.h"

#define TILE(rows, toks)                                                                           \
    static void TK_TMPL(tile_##rows##_##toks)(const float *w, int64_t ldw, const float *x,         \
                                              int64_t ldx, int64_t n_k, float *y, int64_t ldy)     \
    {                                                                                              \
        v16 acc[toks][rows];                                                                       \
        for (int t = 0; t < toks; t++)                                                             \
            for (int r = 0; r < rows; r++) acc[t][r] = v_zero();                                   \
        int64_t k = 0;                                                                             \
        for (; k + 16 <= n_k; k += 16) {                                                           \
            v16 a[rows];                                                                           \
            for (int r = 0; r < rows; r++) a[r] = v_load(w + r * ldw + k);                         \
            for (int t = 0; t < toks; t++) {                                                       \
                v16 b = v_load(x + t * ldx + k);                                                   \
                for (int r = 0; r < rows; r++) acc[t][r] = v_fma(a[r], b, acc[t][r]);              \
            }                                                                                      \
        }                                                                                          \
        if (k < n_k) {                                                                             \
            int n = (int)(n_k - k);                                                                \
            for (int t = 0; t < toks; t++) {                                                       \
                v16 b = v_load_n(x + t * ldx + k, n);                                              \
                for (int r = 0; r < rows; r++)                                                     \
                    acc[t][r] = v_fma(v_load_n(w + r * ldw + k, n), b, acc[t][r]);                 \
            }                                                                                      \
        }                                                                                          \
        for (int t = 0; t < toks; t++)                                                             \
            for (int r = 0; r < rows; r++) y[t * ldy + r] += TK_TMPL(sum)(acc[t][r]);              \
    }

#if defined(__AVX512F__)
TILE(4, 6)
TILE(4, 1)
TILE(1, 6)
TILE(1, 1)
#define FULL TK_TMPL(tile_4_6)
#define ONE_TOK TK_TMPL(tile_4_1)
#define ONE_ROW TK_TMPL(tile_1_6)
#else
TILE(2, 3)
TILE(2, 1)
TILE(1, 3)
TILE(1, 1)
#define FULL TK_TMPL(tile_2_3)
#define ONE_TOK TK_TMPL(tile_2_1)
#define ONE_ROW TK_TMPL(tile_1_3)
#endif

static TK_FN_MM(TK_TMPL(mm))
{
    int t = 0;
    for (; t + MM_TOKS <= n_tok; t += MM_TOKS) {
        int r = 0;
        for (; r + MM_ROWS <= n_row; r += MM_ROWS)
            FULL(w + r * ldw, ldw, x + t * ldx, ldx, n_k, y + t * ldy + r, ldy);
        for (; r < n_row; r++)
            ONE_ROW(w + r * ldw, ldw, x + t * ldx, ldx, n_k, y + t * ldy + r, ldy);
    }
    for (; t < n_tok; t++) {
        int r = 0;
        for (; r + MM_ROWS <= n_row; r += MM_ROWS)
            ONE_TOK(w + r * ldw, ldw, x + t * ldx, ldx, n_k, y + t * ldy + r, ldy);
        for (; r < n_row; r++)
            TK_TMPL(tile_1_1)(w + r * ldw, ldw, x + t * ldx, ldx, n_k, y + t * ldy + r, ldy);
    }
}

#undef TILE
#undef FULL
#undef ONE_TOK
#undef ONE_ROW
