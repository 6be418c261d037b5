// SPDX-License-Identifier: MIT
// Attention over cache rows: queries against keys, the running softmax, weights times values. A tile is some
// heads by some rows (or sixteen-column vectors): a row is widened once for all heads of a tile, and there are
// as many independent sums as registers hold. Each sum has its own order whatever tile it falls in.
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

// A cache row's values [j, j + 16), or the last n of them.
TK_INLINE v16 TK_TMPL(row_f32)(const void *row, int j, int n)
{
    const float *p = (const float *)row + j;
    return n >= 16 ? v_load(p) : v_load_n(p, n);
}

TK_INLINE v16 TK_TMPL(row_bf16)(const void *row, int j, int n)
{
    const uint16_t *p = (const uint16_t *)row + j;
    if (n >= 16) return v_bf16(p);
    uint16_t t[16] = {0};
    memcpy(t, p, (size_t)n * sizeof *t);
    return v_bf16(t);
}

TK_INLINE v16 TK_TMPL(row_fp8)(const void *row, int j, int n)
{
    const uint8_t *group = (const uint8_t *)row + j / TK_KV_GROUP * (TK_KV_GROUP + 4);
    const uint8_t *p = group + 4 + j % TK_KV_GROUP;
    float scale;
    memcpy(&scale, group, sizeof scale);
    uint8_t t[16] = {0};
    if (n < 16) memcpy(t, p, (size_t)n);
    return v_mul(v_e4m3(_mm_loadu_si128((const __m128i *)(const void *)(n < 16 ? t : p))),
                 v_set(scale));
}

typedef v16 (*TK_TMPL(row_fn))(const void *, int, int);

TK_INLINE void TK_TMPL(score_step)(TK_TMPL(row_fn) load, const float *q, int64_t ldq,
                                   const char *kv, size_t row_bytes, int j, int n,
                                   v16 (*s)[KV_ROWS], const int H, const int R)
{
    v16 row[KV_ROWS];
    for (int r = 0; r < R; r++) row[r] = load(kv + (size_t)r * row_bytes, j, n);
    for (int h = 0; h < H; h++) {
        v16 a = TK_TMPL(row_f32)(q + h * ldq, j, n);
        for (int r = 0; r < R; r++) s[h][r] = v_fma(a, row[r], s[h][r]);
    }
}

TK_INLINE void TK_TMPL(score_tile)(TK_TMPL(row_fn) load, const float *q, int64_t ldq,
                                   const char *kv, size_t row_bytes, int d, float scale,
                                   float *scores, int64_t lds, const int H, const int R)
{
    v16 s[KV_HEADS][KV_ROWS];
    for (int h = 0; h < H; h++)
        for (int r = 0; r < R; r++) s[h][r] = v_zero();
    int j = 0;
    for (; j + 16 <= d; j += 16) TK_TMPL(score_step)(load, q, ldq, kv, row_bytes, j, 16, s, H, R);
    if (j < d) TK_TMPL(score_step)(load, q, ldq, kv, row_bytes, j, d - j, s, H, R);
    for (int h = 0; h < H; h++)
        for (int r = 0; r < R; r++) scores[h * lds + r] = TK_TMPL(sum)(s[h][r]) * scale;
}

TK_INLINE void TK_TMPL(score_heads)(TK_TMPL(row_fn) load, const float *q, int64_t ldq,
                                    const char *kv, size_t row_bytes, int n_row, int d, float scale,
                                    float *scores, int64_t lds, const int H)
{
    int i = 0;
    for (; i + KV_ROWS <= n_row; i += KV_ROWS, kv += KV_ROWS * row_bytes)
        TK_TMPL(score_tile)(load, q, ldq, kv, row_bytes, d, scale, scores + i, lds, H, KV_ROWS);
    for (; i < n_row; i++, kv += row_bytes)
        TK_TMPL(score_tile)(load, q, ldq, kv, row_bytes, d, scale, scores + i, lds, H, 1);
}

#define SCORES(name, load)                                                                         \
    static TK_FN_KV_SCORES(TK_TMPL(name))                                                          \
    {                                                                                              \
        int h = 0;                                                                                 \
        for (; h + KV_HEADS <= n_head; h += KV_HEADS) TK_TMPL(score_heads)                         \
        (load, q + h * ldq, ldq, kv, row_bytes, n_row, d, scale, scores + h * lds, lds, KV_HEADS); \
        for (; h + KV_HEADS / 2 <= n_head; h += KV_HEADS / 2) TK_TMPL(score_heads)                 \
        (load, q + h * ldq, ldq, kv, row_bytes, n_row, d, scale, scores + h * lds, lds,            \
         KV_HEADS / 2);                                                                            \
        for (; h < n_head; h++) TK_TMPL(score_heads)                                               \
        (load, q + h * ldq, ldq, kv, row_bytes, n_row, d, scale, scores + h * lds, lds, 1);        \
    }

// H heads by V vectors of sixteen columns from j on (n columns, when V is 1): they stay in registers over all
// rows.
TK_INLINE void TK_TMPL(mix_tile)(TK_TMPL(row_fn) load, const float *p, int64_t ldp, const char *kv,
                                 size_t row_bytes, int n_row, int j, int n, float *out, int64_t ldo,
                                 const int H, const int V)
{
    v16 s[KV_HEADS][KV_VECS];
    for (int h = 0; h < H; h++)
        for (int v = 0; v < V; v++) s[h][v] = TK_TMPL(row_f32)(out + h * ldo, j + 16 * v, n);
    for (int i = 0; i < n_row; i++, kv += row_bytes) {
        v16 row[KV_VECS];
        for (int v = 0; v < V; v++) row[v] = load(kv, j + 16 * v, n);
        for (int h = 0; h < H; h++) {
            v16 weight = v_set(p[h * ldp + i]);
            for (int v = 0; v < V; v++) s[h][v] = v_fma(weight, row[v], s[h][v]);
        }
    }
    for (int h = 0; h < H; h++)
        for (int v = 0; v < V; v++)
            if (n >= 16)
                v_store(out + h * ldo + j + 16 * v, s[h][v]);
            else
                v_store_n(out + h * ldo + j, s[h][v], n);
}

TK_INLINE void TK_TMPL(mix_heads)(TK_TMPL(row_fn) load, const float *p, int64_t ldp, const char *kv,
                                  size_t row_bytes, int n_row, int d, float *out, int64_t ldo,
                                  const int H)
{
    int j = 0;
    for (; j + 16 * KV_VECS <= d; j += 16 * KV_VECS)
        TK_TMPL(mix_tile)(load, p, ldp, kv, row_bytes, n_row, j, 16, out, ldo, H, KV_VECS);
    for (; j + 16 <= d; j += 16)
        TK_TMPL(mix_tile)(load, p, ldp, kv, row_bytes, n_row, j, 16, out, ldo, H, 1);
    if (j < d) TK_TMPL(mix_tile)(load, p, ldp, kv, row_bytes, n_row, j, d - j, out, ldo, H, 1);
}

#define MIX(name, load)                                                                            \
    static TK_FN_KV_MIX(TK_TMPL(name))                                                             \
    {                                                                                              \
        int h = 0;                                                                                 \
        for (; h + KV_HEADS <= n_head; h += KV_HEADS) TK_TMPL(mix_heads)                           \
        (load, p + h * ldp, ldp, kv, row_bytes, n_row, d, out + h * ldo, ldo, KV_HEADS);           \
        for (; h + KV_HEADS / 2 <= n_head; h += KV_HEADS / 2) TK_TMPL(mix_heads)                   \
        (load, p + h * ldp, ldp, kv, row_bytes, n_row, d, out + h * ldo, ldo, KV_HEADS / 2);       \
        for (; h < n_head; h++) TK_TMPL(mix_heads)                                                 \
        (load, p + h * ldp, ldp, kv, row_bytes, n_row, d, out + h * ldo, ldo, 1);                  \
    }

SCORES(kv_scores_f32, TK_TMPL(row_f32))
SCORES(kv_scores_bf16, TK_TMPL(row_bf16))
SCORES(kv_scores_fp8, TK_TMPL(row_fp8))
MIX(kv_mix_f32, TK_TMPL(row_f32))
MIX(kv_mix_bf16, TK_TMPL(row_bf16))
MIX(kv_mix_fp8, TK_TMPL(row_fp8))
#undef SCORES
#undef MIX

static TK_FN_KV_STORE(TK_TMPL(kv_store_bf16))
{
    uint16_t *to = row;
    int i = 0;
    for (; i + 16 <= n; i += 16) v_store_bf16(to + i, v_load(x + i));
    if (i == n) return;
    uint16_t tail[16];
    v_store_bf16(tail, v_load_n(x + i, n - i));
    memcpy(to + i, tail, (size_t)(n - i) * sizeof *tail);
}

static TK_FN_SOFTMAX(TK_TMPL(softmax))
{
    for (int i = 0; i < first; i++) scores[i] = -INFINITY;
    v16 m = v_set(*max);
    int i = 0;
    for (; i + 16 <= n_seen; i += 16) m = v_max(m, v_load(scores + i));
    float most = TK_TMPL(most)(m);
    for (; i < n_seen; i++) most = scores[i] > most ? scores[i] : most;
    if (n_seen <= 0 || most == -INFINITY) { // nothing of these rows is seen
        memset(scores, 0, (size_t)n_row * sizeof *scores);
        return;
    }
    if (most != *max) {
        float shrink = expf(*max - most); // 0 for the first rows
        *sum *= shrink;
        for (i = 0; i + 16 <= d; i += 16) v_store(out + i, v_mul(v_load(out + i), v_set(shrink)));
        for (; i < d; i++) out[i] *= shrink;
        *max = most;
    }
    *sum += TK_TMPL(exp_sum)(scores, most, n_seen);
    for (i = n_seen; i < n_row; i++) scores[i] = 0;
}
