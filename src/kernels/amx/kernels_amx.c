// SPDX-License-Identifier: MIT
// Packed weights times many tokens on AMX, in BF16: a stretch of two panels is unpacked to B tiles, scales and
// minima folded in (2^-9 of rounding, under the weights' own), and blocks of 32 tokens meet it in a 2 x 2 square of
// C tiles, whose sums are carried in y from stretch to stretch. Two loads a tile product is what the tile units
// can hide (docs/kernels.md).
#include "kernels/avx512/vec.h"
#include "kernels/amx/tile.h"

#include "base/compiler.h"
#include "kernels/kernels.h"
#include "num/convert.h"

enum {
    STRETCH = 1024, // columns unpacked at a time: two panels are 64 KiB of the second-level cache
    TILE_COLS = 32, // of W, in a B tile
    TILE_BYTES = 1024,
    TOKS = 32,      // tokens of a block
    WIDE_FROM = 12, // tokens from which tiles beat registers (estimated from instruction counts)
};

// Pairs of words (or floats) of sixteen rows on their way into a B tile.
typedef struct tiles {
    _Alignas(64) uint16_t bf16[STRETCH / TILE_COLS][TILE_BYTES / 2];
} tiles;

// Two rows of floats (columns 2i and 2i + 1) to a row of a B tile, rounded half away from zero.
static inline void put_pair(uint16_t *to, __m512 first, __m512 second)
{
    __m512i half = _mm512_set1_epi32(0x8000);
    __m512i a = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(first), half), 16);
    __m512i b = _mm512_and_si512(_mm512_add_epi32(_mm512_castps_si512(second), half),
                                 _mm512_set1_epi32((int)0xFFFF0000));
    _mm512_store_si512(to, _mm512_or_si512(a, b));
}

// A pair of words (unsigned codes) times scale plus shift.
static inline void put_words(uint16_t *to, w16 words, v16 scale, v16 shift)
{
    v16 a = w_f32(w_and(words, w_set(0xFFFF))), b = w_f32(_mm512_srli_epi32(words, 16));
    put_pair(to, v_fma(a, scale, shift), v_fma(b, scale, shift));
}

// Units of four bits: 8 columns each.
static inline uint16_t *put4(uint16_t *to, w16 q, v16 scale, v16 shift)
{
    w16 low = w_set(0x000F000F);
    put_words(to, w_and(q, low), scale, shift);
    put_words(to + 32, w_and(w_srl(q, 4), low), scale, shift);
    put_words(to + 64, w_and(w_srl(q, 8), low), scale, shift);
    put_words(to + 96, w_srl(q, 12), scale, shift);
    return to + 128;
}

static inline uint16_t *put_e2m1(uint16_t *to, w16 q, v16 scale, v16 shift)
{
    const __m128i table = _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0);
    w16 low = w_set(0x0F0F0F0F), byte = w_set(0x00FF00FF);
    w16 a = w_look_up(table, w_and(q, low)), b = w_look_up(table, w_and(w_srl(q, 4), low));
    put_words(to, w_and(a, byte), scale, shift);
    put_words(to + 32, w_and(b, byte), scale, shift);
    put_words(to + 64, w_srl(a, 8), scale, shift);
    put_words(to + 96, w_srl(b, 8), scale, shift);
    return to + 128;
}

static inline uint16_t *put6(uint16_t *to, const uint8_t *u, v16 scale, v16 shift)
{
    w16 a = w_load(u), b = w_load(u + 64), h = w_load(u + 128);
    w16 low = w_set(0x000F000F), high = w_set(0x00300030);
    put_words(to, w_or(w_and(a, low), w_and(w_sll(h, 4), high)), scale, shift);
    put_words(to + 32, w_or(w_and(w_srl(a, 4), low), w_and(w_sll(h, 2), high)), scale, shift);
    put_words(to + 64, w_or(w_and(w_srl(a, 8), low), w_and(w_srl(h, 4), high)), scale, shift);
    put_words(to + 96, w_or(w_srl(a, 12), w_and(w_srl(h, 6), high)), scale, shift);
    put_words(to + 128, w_or(w_and(b, low), w_and(h, high)), scale, shift);
    put_words(to + 160, w_or(w_and(w_srl(b, 4), low), w_and(w_srl(h, 2), high)), scale, shift);
    put_words(to + 192, w_or(w_and(w_srl(b, 8), low), w_and(w_srl(h, 8), high)), scale, shift);
    put_words(to + 224, w_or(w_srl(b, 12), w_and(w_srl(h, 10), high)), scale, shift);
    return to + 256;
}

static inline __m128i at16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline v16 times(v16 a, float b)
{
    return v_mul(a, v_set(b));
}

// Columns [k, k + n) of a panel, k a multiple of STRETCH, to B tiles. u: the panel's units, s: its scales.
#define UNPACK(name)                                                                               \
    static void unpack_##name(const tk_packed *w, const uint8_t *u, const uint8_t *s, int64_t k,   \
                              int64_t n, uint16_t *to)

UNPACK(q8)
{
    (void)w;
    u += k * 16;
    for (int64_t g = 0; g < n / 32; g++) {
        v16 d = v_f16(s + k + g * 32), shift = times(d, -128);
        for (int j = 0; j < 4; j++, u += 2 * TK_UNIT_BYTES, to += 128) {
            w16 a = w_load(u), b = w_load(u + TK_UNIT_BYTES), low = w_set(0x00FF00FF);
            put_words(to, w_and(a, low), d, shift);
            put_words(to + 32, w_and(b, low), d, shift);
            put_words(to + 64, w_srl(a, 8), d, shift);
            put_words(to + 96, w_srl(b, 8), d, shift);
        }
    }
}

UNPACK(q4)
{
    (void)w;
    u += k * 8;
    for (int64_t g = 0; g < n / 32; g++) {
        v16 d = v_f16(s + k + g * 32), shift = times(d, -8);
        for (int j = 0; j < 4; j++, u += TK_UNIT_BYTES) to = put4(to, w_load(u), d, shift);
    }
}

UNPACK(q4m)
{
    (void)w;
    u += k * 8;
    for (int64_t g = 0; g < n / 32; g++) {
        v16 d = v_f16(s + 2 * k + g * 64), m = v_f16(s + 2 * k + g * 64 + 32);
        for (int j = 0; j < 4; j++, u += TK_UNIT_BYTES) to = put4(to, w_load(u), d, m);
    }
}

UNPACK(q4k)
{
    (void)w;
    u += k * 8;
    s += k / 256 * 320;
    for (int64_t g = 0; g < n / 32; g++) {
        const uint8_t *super = s + g / 8 * 320, *sm = super + 64 + g % 8 * 32;
        v16 d = v_mul(v_f16(super), v_u8(at16(sm)));
        v16 m = v_mul(v_sub(v_zero(), v_f16(super + 32)), v_u8(at16(sm + 16)));
        for (int j = 0; j < 4; j++, u += TK_UNIT_BYTES) to = put4(to, w_load(u), d, m);
    }
}

UNPACK(q6k)
{
    (void)w;
    s += k / 256 * 288;
    for (int64_t g = 0; g < n / 16; g++) {
        const uint8_t *super = s + g / 16 * 288;
        v16 d = v_mul(v_f16(super), v_i8(at16(super + 32 + g % 16 * 16)));
        to = put6(to, u + (k / 16 + g) * 192, d, times(d, -32));
    }
}

UNPACK(mx4)
{
    (void)w;
    u += k * 8;
    for (int64_t g = 0; g < n / 32; g++) {
        v16 d = v_e8m0_half(s + k / 2 + g * 16), shift = times(d, -12);
        for (int j = 0; j < 4; j++, u += TK_UNIT_BYTES) to = put_e2m1(to, w_load(u), d, shift);
    }
}

UNPACK(nv4)
{
    u += k * 8;
    for (int64_t g = 0; g < n / 16; g++) {
        v16 d = times(v_e4m3(at16(s + k + g * 16)), 0.5f * w->scale_global), shift = times(d, -12);
        for (int j = 0; j < 2; j++, u += TK_UNIT_BYTES) to = put_e2m1(to, w_load(u), d, shift);
    }
}

UNPACK(fp8)
{
    (void)w;
    u += k * 16;
    for (int64_t i = 0; i < n; i += 4, u += TK_UNIT_BYTES, to += 64) {
        float pair[32], scale;
        memcpy(&scale, s + (k + i) / TK_FP8_BLOCK * 4, sizeof scale);
        w16 q = w_load(u), keep = w_set((int)0xBF80BF80);
        v_half_pairs(w_and(w_times_bytes(w_set(0x00800080), q), keep), pair);
        put_pair(to, times(v_load(pair), scale * 256), times(v_load(pair + 16), scale * 256));
        v_half_pairs(w_and(w_times_bytes(w_set((int)0x80008000), q), keep), pair);
        put_pair(to + 32, times(v_load(pair), scale * 256), times(v_load(pair + 16), scale * 256));
    }
}

UNPACK(bf16)
{
    (void)w;
    (void)s;
    memcpy(to, u + k * 32, (size_t)n * 32); // a unit is a row of a B tile as it is
}
#undef UNPACK

typedef void (*unpack_fn)(const tk_packed *, const uint8_t *, const uint8_t *, int64_t, int64_t,
                          uint16_t *);

enum { MOST_TOKS = 512 }; // whose sums are kept over the stretches of two panels: 64 KiB

// Two panels (or the last one twice) and n_tok <= MOST_TOKS tokens, rows of x->h one after the other.
static void two_panels(const tk_packed *w, int64_t panel, int64_t other, const tk_act *x, int n_tok,
                       unpack_fn unpack, float (*c)[2][TOKS][TK_PANEL_ROWS])
{
    tiles w0, w1;
    const uint8_t *u0 = w->data + (size_t)panel * w->panel_bytes,
                  *u1 = w->data + (size_t)other * w->panel_bytes;
    for (int64_t k = 0; k < w->n_in; k += STRETCH) {
        int64_t n = TK_MIN((int64_t)STRETCH, w->n_in - k);
        int n_tile = (int)((n + TILE_COLS - 1) / TILE_COLS);
        if (n % TILE_COLS) { // columns past the end count nothing
            memset(w0.bf16[n_tile - 1], 0, TILE_BYTES);
            memset(w1.bf16[n_tile - 1], 0, TILE_BYTES);
        }
        unpack(w, u0, u0 + w->scale_off, k, n, w0.bf16[0]);
        unpack(w, u1, u1 + w->scale_off, k, n, w1.bf16[0]);
        for (int t = 0; t < n_tok; t += TOKS) {
            tile_rows rows = tile_begin_rows(x->h + t * x->ld_h + k, x->ld_h, n_tok - t);
            float *c0 = c[t / TOKS][0][0], *c1 = c[t / TOKS][1][0];
            if (k == 0)
                tile_clear(&rows);
            else
                tile_get(&rows, c0, c1, TK_PANEL_ROWS);
            tile_multiply(&rows, (const uint8_t *)w0.bf16, (const uint8_t *)w1.bf16, n_tile);
            tile_put(&rows, c0, c1, TK_PANEL_ROWS);
        }
    }
    tile_end();
}

static void store(const tk_packed *w, int64_t panel, const float *c, float *y)
{
    int64_t n_row = w->n_out - panel * TK_PANEL_ROWS;
    v_store_n(y, v_load(c), (int)TK_MIN(n_row, TK_PANEL_ROWS));
}

static void gemm(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x, int n_tok,
                 float *y, int64_t ldy, unpack_fn unpack)
{
    static _Thread_local float c[MOST_TOKS / TOKS][2][TOKS][TK_PANEL_ROWS];
    for (int tok = 0; tok < n_tok; tok += MOST_TOKS) {
        int m = TK_MIN(MOST_TOKS, n_tok - tok);
        tk_act part = {.h = x->h + tok * x->ld_h, .ld_h = x->ld_h};
        for (int p = 0; p < n_panel; p += 2) {
            int64_t panel = panel0 + p, other = panel0 + TK_MIN(p + 1, n_panel - 1);
            two_panels(w, panel, other, &part, m, unpack, c);
            for (int t = 0; t < m; t++) {
                float *to = y + (tok + t) * ldy + p * TK_PANEL_ROWS;
                store(w, panel, c[t / TOKS][0][t % TOKS], to);
                if (other != panel) store(w, other, c[t / TOKS][1][t % TOKS], to + TK_PANEL_ROWS);
            }
        }
    }
}

#define GEMM(form)                                                                                 \
    static TK_FN_GEMM(gemm_##form)                                                                 \
    {                                                                                              \
        (void)index;                                                                               \
        gemm(w, panel0, n_panel, x, n_tok, y, ldy, unpack_##form);                                 \
    }

GEMM(q8)
GEMM(q4)
GEMM(q4m)
GEMM(q4k)
GEMM(q6k)
GEMM(mx4)
GEMM(nv4)
GEMM(bf16)
GEMM(fp8)

void tk_kernels_fill_amx(tk_kernels *k)
{
    static const tk_gemm_fn wide[TK_PACK_COUNT] = {
        [TK_PACK_Q8] = gemm_q8,   [TK_PACK_Q4] = gemm_q4,     [TK_PACK_Q4M] = gemm_q4m,
        [TK_PACK_Q4K] = gemm_q4k, [TK_PACK_Q6K] = gemm_q6k,   [TK_PACK_MX4] = gemm_mx4,
        [TK_PACK_NV4] = gemm_nv4, [TK_PACK_BF16] = gemm_bf16, [TK_PACK_FP8] = gemm_fp8,
    };
    for (int i = 0; i < TK_PACK_COUNT; i++)
        if (wide[i]) tk_way_add(k, (tk_pack)i, (tk_way){wide[i], TK_WIDE_BF16, WIDE_FROM});
}
