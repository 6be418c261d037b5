// SPDX-License-Identifier: MIT
// Stored weights to float32, equal to tk_matrix_decode bit for bit: multiplications and additions are the
// reference's, in its order, never fused. Formats without a decoder here keep the reference's.
#include "kernels/kernels.h"
#include "num/convert.h"

#include <string.h>

static inline float TK_TMPL(half_at)(const uint8_t *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return _cvtsh_ss(h);
}

static inline __m128i TK_TMPL(bytes)(const void *p)
{
    return _mm_loadu_si128(p);
}

static inline __m128i TK_TMPL(low)(__m128i q)
{
    return _mm_and_si128(q, _mm_set1_epi8(15));
}

static inline __m128i TK_TMPL(high)(__m128i q)
{
    return _mm_and_si128(_mm_srli_epi16(q, 4), _mm_set1_epi8(15));
}

// Bit i of bits as 16 in byte i.
static inline __m128i TK_TMPL(fifth)(uint32_t bits)
{
    __m128i b = _mm_shuffle_epi8(_mm_cvtsi32_si128((int)bits),
                                 _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1));
    __m128i mask = _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128);
    return _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(b, mask), mask), _mm_set1_epi8(16));
}

// The first byte of a blocked row at column col.
static inline const uint8_t *TK_TMPL(block_at)(const tk_matrix *w, int64_t row, int64_t col)
{
    return (const uint8_t *)w->data + (size_t)row * w->row_bytes + tk_dtype_bytes(w->dtype, col);
}

#define BLOCKS(name, len, bytes_each, ...)                                                         \
    static TK_FN_DECODE(TK_TMPL(name))                                                             \
    {                                                                                              \
        const uint8_t *b = TK_TMPL(block_at)(w, row, col);                                         \
        for (int64_t i = 0; i < n; i += (len), b += (bytes_each), out += (len)) __VA_ARGS__        \
    }

BLOCKS(q4_0, 32, 18, {
    v16 d = v_set(TK_TMPL(half_at)(b));
    __m128i q = TK_TMPL(bytes)(b + 2), eight = _mm_set1_epi8(8);
    v_store(out, v_mul(d, v_i8(_mm_sub_epi8(TK_TMPL(low)(q), eight))));
    v_store(out + 16, v_mul(d, v_i8(_mm_sub_epi8(TK_TMPL(high)(q), eight))));
})

BLOCKS(q4_1, 32, 20, {
    v16 d = v_set(TK_TMPL(half_at)(b)), m = v_set(TK_TMPL(half_at)(b + 2));
    __m128i q = TK_TMPL(bytes)(b + 4);
    v_store(out, v_add(v_mul(d, v_u8(TK_TMPL(low)(q))), m));
    v_store(out + 16, v_add(v_mul(d, v_u8(TK_TMPL(high)(q))), m));
})

BLOCKS(q5_0, 32, 22, {
    v16 d = v_set(TK_TMPL(half_at)(b));
    uint32_t f;
    memcpy(&f, b + 2, sizeof f);
    __m128i q = TK_TMPL(bytes)(b + 6), off = _mm_set1_epi8(16);
    __m128i lo = _mm_or_si128(TK_TMPL(low)(q), TK_TMPL(fifth)(f)),
            hi = _mm_or_si128(TK_TMPL(high)(q), TK_TMPL(fifth)(f >> 16));
    v_store(out, v_mul(d, v_i8(_mm_sub_epi8(lo, off))));
    v_store(out + 16, v_mul(d, v_i8(_mm_sub_epi8(hi, off))));
})

BLOCKS(q5_1, 32, 24, {
    v16 d = v_set(TK_TMPL(half_at)(b)), m = v_set(TK_TMPL(half_at)(b + 2));
    uint32_t f;
    memcpy(&f, b + 4, sizeof f);
    __m128i q = TK_TMPL(bytes)(b + 8);
    v_store(out, v_add(v_mul(d, v_u8(_mm_or_si128(TK_TMPL(low)(q), TK_TMPL(fifth)(f)))), m));
    v_store(out + 16,
            v_add(v_mul(d, v_u8(_mm_or_si128(TK_TMPL(high)(q), TK_TMPL(fifth)(f >> 16)))), m));
})

BLOCKS(q8_0, 32, 34, {
    v16 d = v_set(TK_TMPL(half_at)(b));
    v_store(out, v_mul(d, v_i8(TK_TMPL(bytes)(b + 2))));
    v_store(out + 16, v_mul(d, v_i8(TK_TMPL(bytes)(b + 18))));
})

static inline void TK_TMPL(scale_min)(const uint8_t *q, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
    } else {
        *scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
        *min = q[j + 4] >> 4 | (q[j] >> 6) << 4;
    }
}

BLOCKS(q4_k, 256, 144, {
    float d = TK_TMPL(half_at)(b), dmin = TK_TMPL(half_at)(b + 2);
    for (int j = 0; j < 8; j++) {
        int s, m;
        TK_TMPL(scale_min)(b + 4, j, &s, &m);
        v16 ds = v_set(d * (float)s), dm = v_set(dmin * (float)m);
        for (int k = 0; k < 2; k++) {
            __m128i q = TK_TMPL(bytes)(b + 16 + j / 2 * 32 + k * 16);
            q = j % 2 ? TK_TMPL(high)(q) : TK_TMPL(low)(q);
            v_store(out + j * 32 + k * 16, v_sub(v_mul(ds, v_u8(q)), dm));
        }
    }
})

BLOCKS(q5_k, 256, 176, {
    float d = TK_TMPL(half_at)(b), dmin = TK_TMPL(half_at)(b + 2);
    for (int j = 0; j < 8; j++) {
        int s, m;
        TK_TMPL(scale_min)(b + 4, j, &s, &m);
        v16 ds = v_set(d * (float)s), dm = v_set(dmin * (float)m);
        __m128i bit = _mm_set1_epi8((char)(1 << j));
        for (int k = 0; k < 2; k++) {
            __m128i q = TK_TMPL(bytes)(b + 48 + j / 2 * 32 + k * 16),
                    h = TK_TMPL(bytes)(b + 16 + k * 16);
            q = j % 2 ? TK_TMPL(high)(q) : TK_TMPL(low)(q);
            h = _mm_and_si128(_mm_cmpeq_epi8(_mm_and_si128(h, bit), bit), _mm_set1_epi8(16));
            v_store(out + j * 32 + k * 16, v_sub(v_mul(ds, v_u8(_mm_or_si128(q, h))), dm));
        }
    }
})

BLOCKS(q6_k, 256, 210, {
    float d = TK_TMPL(half_at)(b + 208);
    for (int g = 0; g < 16; g++) { // sixteen values share a scale
        int half = g / 8, r = g % 8;
        __m128i low = TK_TMPL(bytes)(b + half * 64 + r % 4 * 16),
                high = TK_TMPL(bytes)(b + 128 + half * 32 + r % 2 * 16);
        low = r >= 4 ? TK_TMPL(high)(low) : TK_TMPL(low)(low);
        high = _mm_and_si128(_mm_srl_epi16(high, _mm_cvtsi32_si128(r / 2 * 2)), _mm_set1_epi8(3));
        __m128i q = _mm_or_si128(low, _mm_slli_epi16(high, 4));
        v16 s = v_set(d * (float)(int8_t)b[192 + g]);
        v_store(out + g * 16, v_mul(s, v_i8(_mm_sub_epi8(q, _mm_set1_epi8(32)))));
    }
})

static inline __m128i TK_TMPL(iq4_table)(void)
{
    return _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

BLOCKS(iq4_nl, 32, 18, {
    v16 d = v_set(TK_TMPL(half_at)(b));
    __m128i q = TK_TMPL(bytes)(b + 2);
    v_store(out, v_mul(d, v_i8(_mm_shuffle_epi8(TK_TMPL(iq4_table)(), TK_TMPL(low)(q)))));
    v_store(out + 16, v_mul(d, v_i8(_mm_shuffle_epi8(TK_TMPL(iq4_table)(), TK_TMPL(high)(q)))));
})

BLOCKS(iq4_xs, 256, 136, {
    float d = TK_TMPL(half_at)(b);
    unsigned high = (unsigned)(b[2] | b[3] << 8);
    for (int j = 0; j < 8; j++) {
        int s = (b[4 + j / 2] >> (j % 2 * 4) & 15) | (int)(high >> (2 * j) & 3) << 4;
        v16 ds = v_set(d * (float)(s - 32));
        __m128i q = TK_TMPL(bytes)(b + 8 + j * 16);
        v_store(out + j * 32,
                v_mul(ds, v_i8(_mm_shuffle_epi8(TK_TMPL(iq4_table)(), TK_TMPL(low)(q)))));
        v_store(out + j * 32 + 16,
                v_mul(ds, v_i8(_mm_shuffle_epi8(TK_TMPL(iq4_table)(), TK_TMPL(high)(q)))));
    }
})

// E2M1 doubled: whole numbers, exact.
static inline v16 TK_TMPL(e2m1_doubled)(__m128i nibbles)
{
    __m128i table = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    return v_i8(_mm_shuffle_epi8(table, nibbles));
}

// Halved before a scale is applied: halving the scale would round when it is subnormal.
static inline v16 TK_TMPL(e2m1)(__m128i nibbles)
{
    return v_mul(TK_TMPL(e2m1_doubled)(nibbles), v_set(0.5f));
}

BLOCKS(mxfp4, 32, 17, {
    v16 d = v_set(tk_f32_from_e8m0_half(b[0]));
    __m128i q = TK_TMPL(bytes)(b + 1);
    v_store(out, v_mul(d, TK_TMPL(e2m1_doubled)(TK_TMPL(low)(q))));
    v_store(out + 16, v_mul(d, TK_TMPL(e2m1_doubled)(TK_TMPL(high)(q))));
})
#undef BLOCKS

// Plain types: sixteen at a time, the rest by the reference.
#define PLAIN(name, item, load)                                                                    \
    static TK_FN_DECODE(TK_TMPL(name))                                                             \
    {                                                                                              \
        const uint8_t *p =                                                                         \
            (const uint8_t *)w->data + (size_t)row * w->row_bytes + (size_t)col * (item);          \
        int64_t i = 0;                                                                             \
        for (; i + 16 <= n; i += 16) v_store(out + i, load(p + i * (item)));                       \
        if (i < n) tk_dtype_decode(w->dtype, p + i * (item), n - i, out + i);                      \
    }

PLAIN(bf16, 2, v_bf16)
PLAIN(f16, 2, v_f16)
#undef PLAIN

static TK_FN_DECODE(TK_TMPL(f32))
{
    memcpy(out, (const uint8_t *)w->data + (size_t)row * w->row_bytes + (size_t)col * 4,
           (size_t)n * 4);
}

// Codes with their scales elsewhere: stretches under one scale, sixteen values at a time.
static TK_FN_DECODE(TK_TMPL(e4m3))
{
    if (w->scale_kind != TK_SCALE_BLOCK2D || w->block_in < 16) {
        tk_matrix_decode(w, row, col, n, out);
        return;
    }
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * w->row_bytes + (size_t)col;
    int64_t i_out = row / w->block_out;
    for (int64_t i = 0; i < n;) {
        int64_t i_in = (col + i) / w->block_in, end = TK_MIN(n, (i_in + 1) * w->block_in - col);
        float scale = tk_matrix_scale(w, i_out, i_in);
        v16 s = v_set(scale);
        for (; i + 16 <= end; i += 16) v_store(out + i, v_mul(v_e4m3(TK_TMPL(bytes)(p + i)), s));
        for (; i < end; i++) out[i] = tk_f32_from_e4m3(p[i]) * scale;
    }
}

static TK_FN_DECODE(TK_TMPL(fp4))
{
    int group = w->block_in;
    if (w->scale_kind != TK_SCALE_GROUP || group % 16 != 0 || col % group != 0) {
        tk_matrix_decode(w, row, col, n, out);
        return;
    }
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * w->row_bytes + (size_t)col / 2;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 s = v_set(tk_matrix_scale(w, row, (col + i) / group) * w->scale_global);
        __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(p + i / 2));
        __m128i nibbles = _mm_unpacklo_epi8(TK_TMPL(low)(q), TK_TMPL(high)(q));
        v_store(out + i, v_mul(TK_TMPL(e2m1)(nibbles), s));
    }
    if (i < n) tk_matrix_decode(w, row, col + i, n - i, out + i);
}

// Sixteen codes of a row at column col, as signed bytes.
static inline __m128i TK_TMPL(codes_i4)(const uint8_t *row, int64_t col)
{
    __m128i q = _mm_loadl_epi64((const __m128i *)(const void *)(row + col / 2));
    return _mm_sub_epi8(_mm_unpacklo_epi8(TK_TMPL(low)(q), TK_TMPL(high)(q)), _mm_set1_epi8(8));
}

static inline __m128i TK_TMPL(codes_i8)(const uint8_t *row, int64_t col)
{
    return TK_TMPL(bytes)(row + col);
}

// Integers: stretches under one scale, sixteen values at a time.
#define INTS(name, codes)                                                                          \
    static TK_FN_DECODE(TK_TMPL(name))                                                             \
    {                                                                                              \
        bool whole = w->block_in % 16 == 0 || w->block_in >= w->n_in;                              \
        if (w->scale_kind == TK_SCALE_NONE || !whole || col % 16 != 0) {                           \
            tk_matrix_decode(w, row, col, n, out);                                                 \
            return;                                                                                \
        }                                                                                          \
        const uint8_t *p = (const uint8_t *)w->data + (size_t)row * w->row_bytes;                  \
        float global = w->scale_kind == TK_SCALE_GROUP ? w->scale_global : 1;                      \
        int64_t i = 0;                                                                             \
        while (i + 16 <= n) {                                                                      \
            int64_t i_in = (col + i) / w->block_in,                                                \
                    end = TK_MIN(n, (i_in + 1) * w->block_in - col);                               \
            v16 s = v_set(tk_matrix_scale(w, row / w->block_out, i_in) * global);                  \
            for (; i + 16 <= end; i += 16) v_store(out + i, v_mul(v_i8(codes(p, col + i)), s));    \
        }                                                                                          \
        if (i < n) tk_matrix_decode(w, row, col + i, n - i, out + i);                              \
    }

INTS(i4, TK_TMPL(codes_i4))
INTS(i8, TK_TMPL(codes_i8))
#undef INTS
