// SPDX-License-Identifier: MIT
// Attention of several queries over cache rows with BF16 products. Rows become units (dot_bf16.h) first, which pays from a few
// queries on: keys sixteen at a time as the rows of a panel, so that no sum runs across lanes; values two rows at a time as pairs.
// Before it is included: ATTEND_FILL, the function that fills the slots; ATTEND_TOKS and attend_dot, which multiplies units by
// so many queries at most, as dot_rows does.
#include "kernels/avx512/dot_bf16.h"

#include "kernels/kernels.h"

enum {
    COLS = 32,     // of a row at a time: a register of words
    KEY_ROWS = 32, // two panels
    MIX_ROWS = 64, // whose weights are rounded at a time, and of as many queries
    MIX_QUERIES = 64
};

static inline __mmask32 first_of_32(int n)
{
    return n >= 32 ? 0xFFFFFFFF : (__mmask32)((1u << n) - 1);
}

// The pair of BF16 words of neighbouring floats: a is the first sixteen of thirty-two.
static inline w16 v_words(v16 a, v16 b)
{
    return (w16)_mm512_cvtne2ps_pbh(b, a);
}

// A cache row's values [j, j + 32), or the last n of them, as BF16.
static inline w16 words_bf16(const void *row, int j, int n)
{
    return _mm512_maskz_loadu_epi16(first_of_32(n), (const uint16_t *)row + j);
}

static inline w16 words_fp8(const void *row, int j, int n)
{
    const uint8_t *group = (const uint8_t *)row + j / TK_KV_GROUP * (TK_KV_GROUP + 4);
    float scale;
    memcpy(&scale, group, sizeof scale);
    __m256i codes = _mm256_maskz_loadu_epi8(first_of_32(n), group + 4 + j % TK_KV_GROUP);
    return v_words(v_mul(v_e4m3(_mm256_castsi256_si128(codes)), v_set(scale)),
                   v_mul(v_e4m3(_mm256_extracti128_si256(codes, 1)), v_set(scale)));
}

typedef w16 (*words_fn)(const void *, int, int);

// Sixteen rows of sixteen lanes to sixteen units: unit i holds lane i of all rows.
TK_INLINE void transpose(const w16 *row, uint8_t *to)
{
    w16 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
        a[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    for (int i = 0; i < 4; i++) { // b[4 g + i], quarter l: lane 4 l + i of rows 4 g ..
        w16 even0 = _mm512_shuffle_i32x4(b[i], b[4 + i], 0x88),
            even1 = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88),
            odd0 = _mm512_shuffle_i32x4(b[i], b[4 + i], 0xDD),
            odd1 = _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xDD);
        w_store(to + i * 64, _mm512_shuffle_i32x4(even0, even1, 0x88));
        w_store(to + (4 + i) * 64, _mm512_shuffle_i32x4(odd0, odd1, 0x88));
        w_store(to + (8 + i) * 64, _mm512_shuffle_i32x4(even0, even1, 0xDD));
        w_store(to + (12 + i) * 64, _mm512_shuffle_i32x4(odd0, odd1, 0xDD));
    }
}

// n_row <= 16 rows of d columns to a panel.
TK_INLINE void pack_keys(words_fn load, const char *kv, size_t row_bytes, int n_row, int d,
                         uint8_t *to)
{
    w16 row[16];
    for (int j = 0; j < d; j += COLS, to += COLS / 2 * 64) {
        for (int i = 0; i < 16; i++)
            row[i] = i < n_row ? load(kv + (size_t)i * row_bytes, j, d - j) : w_set(0);
        transpose(row, to);
    }
}

// Columns [j, j + 32) of n_row rows to units of row pairs, two a pair: even quarters of the columns' eighths, odd ones
// (see add_natural); zeros to a multiple of sixteen pairs.
TK_INLINE void pack_values(words_fn load, const char *kv, size_t row_bytes, int n_row, int j, int n,
                           uint8_t *even, uint8_t *odd)
{
    for (int i = 0; i < n_row; i += 2, kv += 2 * row_bytes, even += 64, odd += 64) {
        w16 a = load(kv, j, n), b = i + 1 < n_row ? load(kv + row_bytes, j, n) : w_set(0);
        w_store(even, _mm512_unpacklo_epi16(a, b));
        w_store(odd, _mm512_unpackhi_epi16(a, b));
    }
    for (int i = (n_row + 1) / 2; i % 16 != 0; i++, even += 64, odd += 64) {
        w_store(even, w_set(0));
        w_store(odd, w_set(0));
    }
}

TK_INLINE void score(words_fn load, const uint16_t *q, int64_t ldq, int n_head, const char *kv,
                     size_t row_bytes, int n_row, int d, float scale, float *to, int64_t lds)
{
    _Alignas(64) uint8_t units[2][TK_KV_WIDE_MOST / 2 * 64];
    const uint8_t *const unit[2] = {units[0], units[1]};
    const float by[2] = {scale, scale};
    dot_sum sum[ATTEND_TOKS];
    for (int i = 0; i < n_row; i += KEY_ROWS) {
        int n = TK_MIN(KEY_ROWS, n_row - i), n_panel = n > 16 ? 2 : 1;
        const char *rows = kv + (size_t)i * row_bytes;
        for (int p = 0; p < n_panel; p++)
            pack_keys(load, rows + (size_t)p * 16 * row_bytes, row_bytes, TK_MIN(16, n - 16 * p), d,
                      units[p]);
        for (int h = 0; h < n_head; h += ATTEND_TOKS) {
            int m = TK_MIN(ATTEND_TOKS, n_head - h);
            memset(sum, 0, sizeof sum);
            attend_dot(unit, n_panel, (d + 1) / 2, q + h * ldq, ldq, m, by, sum);
            for (int t = 0; t < m; t++)
                for (int p = 0; p < n_panel; p++)
                    v_store_n(to + (h + t) * lds + i + 16 * p, v_load(sum[t].of[p]),
                              TK_MIN(16, n - 16 * p));
        }
    }
}

// Weights [n_head][n_row] as BF16, zeros behind them to a multiple of 32.
static void round_weights(const float *p, int64_t ldp, int n_head, int n_row,
                          uint16_t (*to)[MIX_ROWS])
{
    for (int h = 0; h < n_head; h++, p += ldp)
        for (int i = 0; i < n_row; i += 32) {
            int n = n_row - i;
            v16 a = v_load_n(p + i, TK_MIN(16, n)),
                b = n > 16 ? v_load_n(p + i + 16, TK_MIN(16, n - 16)) : v_zero();
            w_store(to[h] + i, v_words(a, b));
        }
}

// out[0..n) += what pairs of rows give, brought to the order of the columns.
static inline void add_natural(float *out, int n, const dot_sum *sum)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second =
        _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    v16 even = v_load(sum->of[0]), odd = v_load(sum->of[1]);
    int n0 = TK_MIN(16, n), n1 = TK_MIN(16, n - 16);
    v_store_n(out, v_add(v_load_n(out, n0), _mm512_permutex2var_ps(even, first, odd)), n0);
    if (n1 <= 0) return;
    out += 16;
    v_store_n(out, v_add(v_load_n(out, n1), _mm512_permutex2var_ps(even, second, odd)), n1);
}

TK_INLINE void mix(words_fn load, const float *p, int64_t ldp, int n_head, const char *kv,
                   size_t row_bytes, int n_row, int d, float *out, int64_t ldo)
{
    static const float one[2] = {1, 1};
    _Alignas(64) uint8_t even[MIX_ROWS / 2 * 64], odd[MIX_ROWS / 2 * 64];
    _Alignas(64) uint16_t weight[MIX_QUERIES][MIX_ROWS];
    const uint8_t *const unit[2] = {even, odd};
    dot_sum sum[ATTEND_TOKS];
    int n_pair = (n_row + 31) / 32 * 16; // zeros behind the last row
    round_weights(p, ldp, n_head, n_row, weight);
    for (int j = 0; j < d; j += COLS) {
        pack_values(load, kv, row_bytes, n_row, j, d - j, even, odd);
        for (int h = 0; h < n_head; h += ATTEND_TOKS) {
            int m = TK_MIN(ATTEND_TOKS, n_head - h);
            memset(sum, 0, sizeof sum);
            attend_dot(unit, 2, n_pair, weight[h], MIX_ROWS, m, one, sum);
            for (int t = 0; t < m; t++)
                add_natural(out + (h + t) * ldo + j, TK_MIN(COLS, d - j), &sum[t]);
        }
    }
}

#define ATTEND(type)                                                                               \
    static TK_FN_KV_SCORES_WIDE(scores_##type)                                                     \
    {                                                                                              \
        score(words_##type, q, ldq, n_head, kv, row_bytes, n_row, d, scale, scores, lds);          \
    }                                                                                              \
    static TK_FN_KV_MIX(mix_##type)                                                                \
    {                                                                                              \
        for (int h = 0; h < n_head; h += MIX_QUERIES)                                              \
            for (int i = 0; i < n_row; i += MIX_ROWS)                                              \
                mix(words_##type, p + h * ldp + i, ldp, TK_MIN(MIX_QUERIES, n_head - h),           \
                    (const char *)kv + (size_t)i * row_bytes, row_bytes,                           \
                    TK_MIN(MIX_ROWS, n_row - i), d, out + h * ldo, ldo);                           \
    }

ATTEND(bf16)
ATTEND(fp8)
#undef ATTEND

void ATTEND_FILL(tk_kernels *k)
{
    k->attend_from = 4;
    k->kv_scores_wide[TK_KV_BF16] = scores_bf16;
    k->kv_scores_wide[TK_KV_FP8] = scores_fp8;
    k->kv_mix_wide[TK_KV_BF16] = mix_bf16;
    k->kv_mix_wide[TK_KV_FP8] = mix_fp8;
}
