// SPDX-License-Identifier: MIT
// Packed weights times many tokens: a stretch of a panel is unpacked once, to floats (and on AVX2 to words) that lie as
// registers want them, and all tokens meet it in the first-level cache. Products of bytes (AVX-512) need no words. Sums are those of gemm_tmpl.h, group
// by group in the same order, carried from stretch to stretch in y: the same bits.
enum {
    TK_TMPL(STRETCH) = 512,  // columns unpacked at a time as words: 16 KiB
    TK_TMPL(STRETCH_F) = 256 // as floats
};

// A stretch unpacked: word pairs [n_k / 2][16 rows], and what each group of `group` columns is multiplied by.
typedef struct TK_TMPL(stretch) {
    union {
        _Alignas(64) int16_t words[TK_TMPL(STRETCH) * TK_PANEL_ROWS];
        float floats[TK_TMPL(STRETCH_F)][TK_PANEL_ROWS];
    };
    _Alignas(64) float scale[TK_TMPL(STRETCH) / 16][TK_PANEL_ROWS];
} TK_TMPL(stretch);

#if !defined(__AVX512F__)
TK_INLINE int16_t *TK_TMPL(put)(int16_t *to, w16 words)
{
    w_store(to, words);
    return to + 2 * TK_PANEL_ROWS;
}

TK_INLINE int16_t *TK_TMPL(put_e2m1)(int16_t *to, const uint8_t *u, int n_unit)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    w16 low = w_set(0x0F0F0F0F), byte = w_set(0x00FF00FF), offset = w_set(0x000C000C);
    for (int i = 0; i < n_unit; i++, u += TK_UNIT_BYTES) {
        w16 q = w_load(u);
        w16 a = w_look_up(table, w_and(q, low)), b = w_look_up(table, w_and(w_srl(q, 4), low));
        to = TK_TMPL(put)(to, w_sub(w_and(a, byte), offset));
        to = TK_TMPL(put)(to, w_sub(w_and(b, byte), offset));
        to = TK_TMPL(put)(to, w_sub(w_srl(a, 8), offset));
        to = TK_TMPL(put)(to, w_sub(w_srl(b, 8), offset));
    }
    return to;
}

TK_INLINE int16_t *TK_TMPL(put6)(int16_t *to, const uint8_t *u)
{
    w16 a = w_load(u), b = w_load(u + 64), h = w_load(u + 128);
    w16 low = w_set(0x000F000F), high = w_set(0x00300030), offset = w_set(0x00200020);
    const w16 words[8] = {
        w_or(w_and(a, low), w_and(w_sll(h, 4), high)),
        w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high)),
        w_or(w_and(w_srl(a, 8), low), w_and(w_srl(h, 4), high)),
        w_or(w_srl(a, 12), w_and(w_srl(h, 6), high)),
        w_or(w_and(b, low), w_and(h, high)),
        w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 2), high)),
        w_or(w_and(w_srl(b, 8), low), w_and(w_srl(h, 8), high)),
        w_or(w_srl(b, 12), w_and(w_srl(h, 10), high)),
    };
    for (int i = 0; i < 8; i++) to = TK_TMPL(put)(to, w_sub(words[i], offset));
    return to;
}

TK_INLINE __m128i TK_TMPL(at16)(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

#endif

// Columns [k, k + n) of a panel, k a multiple of 256 (n too, or to the end). u: units, s: scales.
#define UNPACK(name)                                                                               \
    static void TK_TMPL(unpack_##name)(const tk_packed *w, const uint8_t *u, const uint8_t *s,     \
                                       int64_t k, int64_t n, TK_TMPL(stretch) * to)

#if !defined(__AVX512F__)
UNPACK(q6k)
{
    (void)w;
    int16_t *at = to->words;
    s += k / 256 * 288;
    for (int64_t g = 0; g < n / 16; g++) {
        const uint8_t *super = s + g / 16 * 288;
        at = TK_TMPL(put6)(at, u + (k / 16 + g) * 192);
        v_store(to->scale[g], v_mul(v_f16(super), v_i8(TK_TMPL(at16)(super + 32 + g % 16 * 16))));
    }
}

UNPACK(nv4)
{
    v16 by = v_set(0.5f * w->scale_global);
    TK_TMPL(put_e2m1)(to->words, u + k * 8, (int)(n / 8));
    for (int64_t g = 0; g < n / 16; g++)
        v_store(to->scale[g], v_mul(v_e4m3(TK_TMPL(at16)(s + k + g * 16)), by));
}

#endif

UNPACK(fp8)
{
    (void)w;
    u += k * 16;
    for (int64_t i = 0; i < n; i += 4, u += TK_UNIT_BYTES) {
        w16 q = w_load(u);
        v_half_pairs(w_and(w_times_bytes(w_set(0x00800080), q), w_set((int32_t)0xBF80BF80)),
                     to->floats[i]);
        v_half_pairs(
            w_and(w_times_bytes(w_set((int32_t)0x80008000), q), w_set((int32_t)0xBF80BF80)),
            to->floats[i + 2]);
    }
    for (int64_t b = 0; b * TK_FP8_BLOCK < n; b++) {
        float scale;
        memcpy(&scale, s + (k / TK_FP8_BLOCK + b) * 4, sizeof scale);
        to->scale[b][0] = scale * 256;
    }
}
#undef UNPACK

#if !defined(__AVX512F__)
// T tokens meet a stretch of whole groups of sixteen; y[t] is carried on.
TK_INLINE void TK_TMPL(meet)(const TK_TMPL(stretch) * w, const TK_TMPL(rows) * x, int64_t k0,
                             int64_t n, v16 *sum, const int T)
{
    enum { HALF = TK_GROUP / 2 };
    const int16_t *words = w->words;
    for (int64_t k = 0; k < n; k += HALF) {
        TK_TMPL(sums) acc;
        int64_t g = (k0 + k) / TK_GROUP;
        for (int t = 0; t < T; t++) TK_TMPL(begin)(&acc, t, 0, T);
#pragma GCC unroll 4
        for (int i = 0; i < HALF; i += 2, words += 2 * TK_PANEL_ROWS) {
            w16 pair = w_load(words);
            for (int t = 0; t < T; t++)
                acc.of[0][t] =
                    w_dot(acc.of[0][t], pair, w_set_pair(x->q[t][g].word + k % TK_GROUP + i));
        }
        TK_TMPL(add_group)(sum, &acc, v_load(w->scale[k / HALF]), x, g, T);
    }
}
#endif

// What T tokens do with a stretch, sums carried on in y.
typedef void (*TK_TMPL(meet_fn))(const TK_TMPL(stretch) *, const TK_TMPL(rows) *, int64_t, int64_t,
                                 float (*)[TK_PANEL_ROWS]);
typedef void (*TK_TMPL(unpack_fn))(const tk_packed *, const uint8_t *, const uint8_t *, int64_t,
                                   int64_t, TK_TMPL(stretch) *);

// A form with many tokens: how to unpack a stretch of its columns, and the tiles of one, half of GEMM_TOKS and
// GEMM_TOKS tokens.
typedef struct TK_TMPL(panel_way) {
    TK_TMPL(unpack_fn) unpack;
    int64_t stretch;
    TK_TMPL(meet_fn) one, half, full;
} TK_TMPL(panel_way);

#define MEET(name, T, ...)                                                                         \
    static void TK_TMPL(meet_##name)(const TK_TMPL(stretch) * w, const TK_TMPL(rows) * x,          \
                                     int64_t k0, int64_t n, float(*y)[TK_PANEL_ROWS])              \
    {                                                                                              \
        v16 sum[T];                                                                                \
        for (int t = 0; t < T; t++) sum[t] = k0 ? v_load(y[t]) : v_zero();                         \
        __VA_ARGS__;                                                                               \
        for (int t = 0; t < T; t++) v_store(y[t], sum[t]);                                         \
    }

#define MEETS(name, fn)                                                                            \
    MEET(name##_one, 1, TK_TMPL(fn)(w, x, k0, n, sum, 1))                                          \
    MEET(name##_half, GEMM_TOKS / 2, TK_TMPL(fn)(w, x, k0, n, sum, GEMM_TOKS / 2))                 \
    MEET(name##_full, GEMM_TOKS, TK_TMPL(fn)(w, x, k0, n, sum, GEMM_TOKS))

#if !defined(__AVX512F__)
MEETS(g16, meet)
#endif

// Even and odd columns of a block of 128 are summed apart, as gemm_tmpl.h has them in neighbouring lanes.
TK_INLINE void TK_TMPL(meet_blocks)(const TK_TMPL(stretch) * w, const TK_TMPL(rows) * x, int64_t k0,
                                    int64_t n, v16 *sum, const int T)
{
    for (int64_t b = 0; b < n; b += TK_FP8_BLOCK) {
        int64_t end = TK_MIN(b + TK_FP8_BLOCK, n);
        v16 part[2][GEMM_TOKS];
        for (int odd = 0; odd < 2; odd++) {
            v16 s[GEMM_TOKS];
            for (int t = 0; t < T; t++) s[t] = v_zero();
            for (int64_t k = b + odd; k < end; k += 2) {
                v16 column = v_load(w->floats[k]);
                for (int t = 0; t < T; t++) s[t] = v_fma(column, v_set(x->f[t][k0 + k]), s[t]);
            }
            for (int t = 0; t < T; t++) part[odd][t] = s[t];
        }
        v16 scale = v_set(w->scale[b / TK_FP8_BLOCK][0]);
        for (int t = 0; t < T; t++) sum[t] = v_fma(v_add(part[0][t], part[1][t]), scale, sum[t]);
    }
}

MEETS(blocks, meet_blocks)
#undef MEETS
#undef MEET

// n_tok tokens from tok on meet the unpacked stretch.
static void TK_TMPL(meet_all)(const TK_TMPL(panel_way) * way, const TK_TMPL(stretch) * unpacked,
                              const tk_act *x, const int32_t *index, int tok, int n_tok, int64_t k,
                              int64_t n, float (*sum)[TK_PANEL_ROWS])
{
    for (int t = 0, T; t < n_tok; t += T) {
        TK_TMPL(meet_fn) meet = way->one;
        T = 1;
        if (n_tok - t >= GEMM_TOKS) {
            T = GEMM_TOKS;
            meet = way->full;
        } else if (n_tok - t >= GEMM_TOKS / 2) {
            T = GEMM_TOKS / 2;
            meet = way->half;
        }
        TK_TMPL(rows) r = TK_TMPL(rows_of)(x, index, tok + t, T);
        meet(unpacked, &r, k, n, sum + t);
    }
}

static void TK_TMPL(panels)(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x,
                            const int32_t *index, int n_tok, float *y, int64_t ldy,
                            const TK_TMPL(panel_way) * way)
{
    enum { MOST = 64 }; // tokens whose sums are kept
    TK_TMPL(stretch) unpacked;
    _Alignas(64) float sum[MOST][TK_PANEL_ROWS];
    for (int tok = 0; tok < n_tok; tok += MOST) {
        int m = TK_MIN(MOST, n_tok - tok);
        for (int p = 0; p < n_panel; p++) {
            const uint8_t *u = w->data + (size_t)(panel0 + p) * w->panel_bytes;
            int64_t n_row = w->n_out - (panel0 + p) * TK_PANEL_ROWS;
            for (int64_t k = 0; k < w->n_in; k += way->stretch) {
                int64_t n = TK_MIN(way->stretch, w->n_in - k);
                way->unpack(w, u, u + w->scale_off, k, n, &unpacked);
                TK_TMPL(meet_all)(way, &unpacked, x, index, tok, m, k, n, sum);
            }
            for (int t = 0; t < m; t++)
                TK_TMPL(store_rows)(y + (tok + t) * ldy + p * TK_PANEL_ROWS, v_load(sum[t]), n_row);
        }
    }
}
