// SPDX-License-Identifier: MIT
// Packed BF16 and FP8 weights times BF16 activations. E4M3 codes are BF16 numbers exactly: two panels of a stretch are decoded
// once, and all tokens meet them; few tokens decode as they multiply.
#include "kernels/avx512/dot_bf16.h"

#include "kernels/kernels.h"

enum {
    STRETCH = 512,  // columns: two panels of units fill the first-level cache
    MOST_TOKS = 64, // whose sums are kept over the stretches
    BF16_FROM = 4,  // tokens from which it pays: one is a matter of memory
    FP8_FROM = 1,
    FEW_PANELS = 4,
    FEW_TOKS = 4,
    FEW_AHEAD = 8192 // bytes asked for ahead, of all panels together
};

static inline void ask_for(const uint8_t *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += TK_UNIT_BYTES)
        _mm_prefetch((const char *)p + i, _MM_HINT_T1);
}

// The bytes of the BF16 numbers that the codes 0-127 of E4M3 are (NaN codes: 480, see v_e4m3).
#define LOW8 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0
#define LOW16 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, LOW8
#define HIGH8(x) x, x, x, x, x, x, x, x
#define HIGH16(x) HIGH8(x), HIGH8(x)
_Alignas(64) static const uint8_t e4m3_low[128] = {
    0, 0, 0x80, 0xC0, 0, 0x20, 0x40, 0x60, LOW8, LOW16, LOW16, LOW16, LOW16, LOW16, LOW16, LOW16};
_Alignas(64) static const uint8_t e4m3_high[128] = {
    0,         59,         59,         59,         60,         60,         60,         60,
    HIGH8(60), HIGH16(61), HIGH16(62), HIGH16(63), HIGH16(64), HIGH16(65), HIGH16(66), HIGH16(67)};
#undef LOW8
#undef LOW16
#undef HIGH8
#undef HIGH16

static inline w16 look_up(const uint8_t table[128], w16 index)
{
    return _mm512_permutex2var_epi8(w_load(table), index, w_load(table + 64));
}

// A unit of four columns, codes k0 k2 k1 k3, as two of two.
typedef struct two_units {
    w16 first, second;
} two_units;

TK_INLINE two_units decode_fp8(const uint8_t *u)
{
    w16 q = w_load(u), low = look_up(e4m3_low, q);
    w16 high = w_or(look_up(e4m3_high, q), w_and(q, w_set((int32_t)0x80808080)));
    return (two_units){w_or(w_and(low, w_set(0x00FF00FF)), w_sll(high, 8)),
                       w_or(w_srl(low, 8), w_and(high, w_set((int32_t)0xFF00FF00)))};
}

static void decode_block(const uint8_t *u, int64_t n_col, uint8_t *to)
{
    for (int64_t i = 0; i < n_col; i += 4, u += 64, to += 128) {
        two_units d = decode_fp8(u);
        w_store(to, d.first);
        w_store(to + 64, d.second);
    }
}

// Two panels (or one) and their sums with n_tok tokens. is_new: they are read from memory, and the next ones will be.
#define MEET(name)                                                                                 \
    void name(const tk_packed *w, const uint8_t *const *panel, int n_panel, bool is_new,           \
              const tk_act *x, int n_tok, dot_sum *sum)

static MEET(meet_bf16)
{
    static const float one[2] = {1, 1};
    const size_t bytes = STRETCH / 2 * TK_UNIT_BYTES;
    for (int64_t k = 0; k < w->n_in; k += STRETCH) {
        size_t at = (size_t)k / 2 * TK_UNIT_BYTES;
        // what comes next: behind the last stretch the panels that follow these
        size_t next = k + STRETCH < w->n_in ? at + bytes : (size_t)n_panel * w->panel_bytes;
        const uint8_t *unit[2];
        for (int p = 0; p < n_panel; p++) {
            unit[p] = panel[p] + at;
            if (is_new) ask_for(panel[p] + next, bytes);
        }
        int n_pair = (int)(TK_MIN((int64_t)STRETCH, w->n_in - k) + 1) / 2;
        dot_rows(unit, n_panel, n_pair, x->h + k, x->ld_h, n_tok, one, sum);
    }
}

static MEET(meet_fp8)
{
    (void)is_new; // half the bytes a product of BF16: the processor's own prefetch keeps up
    _Alignas(64) uint8_t decoded[2][TK_FP8_BLOCK / 2 * TK_UNIT_BYTES];
    const uint8_t *const unit[2] = {decoded[0], decoded[1]};
    for (int64_t k = 0; k < w->n_in; k += TK_FP8_BLOCK) {
        int64_t n_col = TK_MIN((int64_t)TK_FP8_BLOCK, w->n_in - k);
        float scale[2];
        for (int p = 0; p < n_panel; p++) {
            memcpy(&scale[p], panel[p] + w->scale_off + k / TK_FP8_BLOCK * 4, sizeof scale[p]);
            decode_block(panel[p] + k * TK_PANEL_ROWS, n_col, decoded[p]);
        }
        dot_rows(unit, n_panel, (int)n_col / 2, x->h + k, x->ld_h, n_tok, scale, sum);
    }
}

static inline void store_panel(const tk_packed *w, int64_t panel, v16 sum, float *y)
{
    int64_t n_row = w->n_out - panel * TK_PANEL_ROWS;
    if (n_row >= TK_PANEL_ROWS)
        v_store(y, sum);
    else
        v_store_n(y, sum, (int)n_row);
}

// Few tokens: nothing is gained by keeping what was decoded, and several panels are as many streams of memory. The sums are
// those of meet_fp8, bit for bit.
TK_INLINE void few_fp8(const tk_packed *w, int64_t panel, const tk_act *x, float *y, int64_t ldy,
                       const int P, const int T)
{
    const uint8_t *u[FEW_PANELS], *s[FEW_PANELS];
    v16 sum[FEW_PANELS][FEW_TOKS], acc[FEW_PANELS][FEW_TOKS];
    for (int p = 0; p < P; p++) {
        u[p] = w->data + (size_t)(panel + p) * w->panel_bytes;
        s[p] = u[p] + w->scale_off;
        for (int t = 0; t < T; t++) sum[p][t] = v_zero();
    }
    for (int64_t k = 0; k < w->n_in; k += TK_FP8_BLOCK) {
        int64_t end = TK_MIN(k + TK_FP8_BLOCK, w->n_in);
        for (int p = 0; p < P; p++)
            for (int t = 0; t < T; t++) acc[p][t] = v_zero();
        for (int64_t i = k; i < end; i += 4)
            for (int p = 0; p < P; p++) {
                const uint8_t *at = u[p] + i * TK_PANEL_ROWS;
                _mm_prefetch((const char *)at + FEW_AHEAD / P, _MM_HINT_T1);
                two_units d = decode_fp8(at);
                for (int t = 0; t < T; t++) {
                    int32_t pair[2];
                    memcpy(pair, x->h + t * x->ld_h + i, sizeof pair);
                    acc[p][t] = v_dot_bf16(acc[p][t], d.first, w_set(pair[0]));
                    acc[p][t] = v_dot_bf16(acc[p][t], d.second, w_set(pair[1]));
                }
            }
        for (int p = 0; p < P; p++) {
            float scale;
            memcpy(&scale, s[p] + k / TK_FP8_BLOCK * 4, sizeof scale);
            for (int t = 0; t < T; t++) sum[p][t] = v_fma(acc[p][t], v_set(scale), sum[p][t]);
        }
    }
    for (int p = 0; p < P; p++)
        for (int t = 0; t < T; t++)
            store_panel(w, panel + p, sum[p][t], y + t * ldy + p * TK_PANEL_ROWS);
}

#define FEW(P, T)                                                                                  \
    static void few_fp8_##P##_##T(const tk_packed *w, int64_t panel, const tk_act *x, float *y,    \
                                  int64_t ldy)                                                     \
    {                                                                                              \
        few_fp8(w, panel, x, y, ldy, P, T);                                                        \
    }
FEW(1, 1)
FEW(1, 2)
FEW(1, 3)
FEW(1, 4)
FEW(4, 1)
FEW(4, 2)
FEW(4, 3)
FEW(4, 4)
#undef FEW

static void few_tokens(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x, int n_tok,
                       float *y, int64_t ldy)
{
    typedef void (*few_fn)(const tk_packed *, int64_t, const tk_act *, float *, int64_t);
    static const few_fn one[FEW_TOKS] = {few_fp8_1_1, few_fp8_1_2, few_fp8_1_3, few_fp8_1_4},
                        four[FEW_TOKS] = {few_fp8_4_1, few_fp8_4_2, few_fp8_4_3, few_fp8_4_4};
    int p = 0;
    for (; p + FEW_PANELS <= n_panel; p += FEW_PANELS)
        four[n_tok - 1](w, panel0 + p, x, y + p * TK_PANEL_ROWS, ldy);
    for (; p < n_panel; p++) one[n_tok - 1](w, panel0 + p, x, y + p * TK_PANEL_ROWS, ldy);
}

typedef MEET((*meet_fn));

static void many_tokens(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x, int n_tok,
                        float *y, int64_t ldy, meet_fn meet)
{
    dot_sum sum[MOST_TOKS];
    for (int tok = 0; tok < n_tok; tok += MOST_TOKS) {
        int m = TK_MIN(MOST_TOKS, n_tok - tok);
        tk_act part = {.h = x->h + tok * x->ld_h, .ld_h = x->ld_h};
        for (int p = 0; p < n_panel; p += 2) {
            int n = TK_MIN(2, n_panel - p);
            const uint8_t *first = w->data + (size_t)(panel0 + p) * w->panel_bytes;
            const uint8_t *const panel[2] = {first, first + w->panel_bytes};
            memset(sum, 0, (size_t)m * sizeof *sum);
            meet(w, panel, n, tok == 0, &part, m, sum);
            for (int t = 0; t < m; t++)
                for (int i = 0; i < n; i++)
                    store_panel(w, panel0 + p + i, v_load(sum[t].of[i]),
                                y + (tok + t) * ldy + (p + i) * TK_PANEL_ROWS);
        }
    }
}

static TK_FN_GEMM(gemm_bf16)
{
    (void)index;
    many_tokens(w, panel0, n_panel, x, n_tok, y, ldy, meet_bf16);
}

static TK_FN_GEMM(gemm_fp8)
{
    (void)index;
    if (n_tok <= FEW_TOKS)
        few_tokens(w, panel0, n_panel, x, n_tok, y, ldy);
    else
        many_tokens(w, panel0, n_panel, x, n_tok, y, ldy, meet_fp8);
}

void tk_kernels_fill_gemm_bf16(tk_kernels *k)
{
    tk_way_add(k, TK_PACK_BF16, (tk_way){gemm_bf16, TK_WIDE_BF16, BF16_FROM});
    tk_way_add(k, TK_PACK_FP8, (tk_way){gemm_fp8, TK_WIDE_BF16, FP8_FROM});
}
