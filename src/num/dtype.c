// SPDX-License-Identifier: MIT
// The block formats, as ggml lays them out; operation order as gguf-py has it, so that values are equal to
// the last bit.
#include "num/dtype.h"

#include "num/convert.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name;
    int len, bytes;
} types[TK_DTYPE_COUNT] = {
#define X(id, name, len, bytes) [TK_DTYPE_##id] = {name, len, bytes},
    TK_DTYPE_MAP(X)
#undef X
};

const char *tk_dtype_name(tk_dtype t)
{
    return types[t].name;
}

int tk_dtype_block_len(tk_dtype t)
{
    return types[t].len;
}

int tk_dtype_block_bytes(tk_dtype t)
{
    return types[t].bytes;
}

uint64_t tk_dtype_bytes(tk_dtype t, int64_t n)
{
    uint64_t bytes;
    if (n < 0 || n % types[t].len != 0) return 0;
    if (__builtin_mul_overflow((uint64_t)n / (uint64_t)types[t].len, (uint64_t)types[t].bytes,
                               &bytes))
        return 0;
    return bytes;
}

static uint16_t u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float half(const uint8_t *p)
{
    return tk_f32_from_f16(u16(p));
}

static void q4_0(const uint8_t *b, float *out)
{
    float d = half(b);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)((b[2 + j] & 15) - 8);
        out[j + 16] = d * (float)((b[2 + j] >> 4) - 8);
    }
}

static void q4_1(const uint8_t *b, float *out)
{
    float d = half(b), m = half(b + 2);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)(b[4 + j] & 15) + m;
        out[j + 16] = d * (float)(b[4 + j] >> 4) + m;
    }
}

static uint32_t fifth_bits(const uint8_t *p)
{
    return (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
}

static void q5_0(const uint8_t *b, float *out)
{
    float d = half(b);
    uint32_t high = fifth_bits(b + 2);
    for (int j = 0; j < 16; j++) {
        int lo = (b[6 + j] & 15) | (int)(high >> j & 1) << 4,
            hi = b[6 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
        out[j] = d * (float)(lo - 16);
        out[j + 16] = d * (float)(hi - 16);
    }
}

static void q5_1(const uint8_t *b, float *out)
{
    float d = half(b), m = half(b + 2);
    uint32_t high = fifth_bits(b + 4);
    for (int j = 0; j < 16; j++) {
        int lo = (b[8 + j] & 15) | (int)(high >> j & 1) << 4,
            hi = b[8 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
        out[j] = d * (float)lo + m;
        out[j + 16] = d * (float)hi + m;
    }
}

static void q8_0(const uint8_t *b, float *out)
{
    float d = half(b);
    for (int j = 0; j < 32; j++) out[j] = d * (float)(int8_t)b[2 + j];
}

static void q2_k(const uint8_t *b, float *out)
{
    const uint8_t *scales = b, *qs = b + 16;
    float d = half(b + 80), dmin = half(b + 82);
    for (int i = 0; i < 256; i++) {
        // 128 values share 32 bytes: bits 2k..2k+1 hold values 32k..32k+31
        int q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3, s = scales[i / 16];
        out[i] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
    }
}

static int q3_k_scale(const uint8_t *s, int j)
{
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4, high = s[8 + j % 4] >> (j / 4 * 2) & 3;
    return (low | high << 4) - 32;
}

static void q3_k(const uint8_t *b, float *out)
{
    const uint8_t *hmask = b, *qs = b + 32, *scales = b + 96;
    float d = half(b + 108);
    for (int i = 0; i < 256; i++) {
        int q = qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        int has = hmask[i % 32] >> (i / 32) & 1;
        out[i] = d * (float)q3_k_scale(scales, i / 16) * (float)(q - (has ? 0 : 4));
    }
}

// Scale and minimum j of the 6-bit packing that Q4_K and Q5_K share.
static void k_scale_min(const uint8_t *q, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
    } else {
        *scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
        *min = q[j + 4] >> 4 | (q[j] >> 6) << 4;
    }
}

static void q4_k(const uint8_t *b, float *out)
{
    float d = half(b), dmin = half(b + 2);
    for (int j = 0; j < 8; j++) {
        int s, m;
        k_scale_min(b + 4, j, &s, &m);
        float ds = d * (float)s, dm = dmin * (float)m;
        const uint8_t *q = b + 16 + j / 2 * 32;
        for (int i = 0; i < 32; i++) out[j * 32 + i] = ds * (float)(q[i] >> (j % 2 * 4) & 15) - dm;
    }
}

static void q5_k(const uint8_t *b, float *out)
{
    float d = half(b), dmin = half(b + 2);
    for (int j = 0; j < 8; j++) {
        int s, m;
        k_scale_min(b + 4, j, &s, &m);
        float ds = d * (float)s, dm = dmin * (float)m;
        const uint8_t *high = b + 16, *q = b + 48 + j / 2 * 32;
        for (int i = 0; i < 32; i++)
            out[j * 32 + i] =
                ds * (float)((q[i] >> (j % 2 * 4) & 15) | (high[i] >> j & 1) << 4) - dm;
    }
}

static void q6_k(const uint8_t *b, float *out)
{
    const uint8_t *low = b, *high = b + 128;
    float d = half(b + 208);
    for (int i = 0; i < 256; i++) {
        int n = i / 128, r = i % 128; // 128 values: 64 bytes of low nibbles, 32 of high pairs
        int q = (low[n * 64 + r % 64] >> (r / 64 * 4) & 15) |
                (high[n * 32 + r % 32] >> (r / 32 * 2) & 3) << 4;
        out[i] = d * (float)(int8_t)b[192 + i / 16] * (float)(q - 32);
    }
}

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

static void iq4_nl(const uint8_t *b, float *out)
{
    float d = half(b);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)iq4_values[b[2 + j] & 15];
        out[j + 16] = d * (float)iq4_values[b[2 + j] >> 4];
    }
}

static void iq4_xs(const uint8_t *b, float *out)
{
    float d = half(b);
    unsigned high = u16(b + 2);
    for (int j = 0; j < 8; j++) {
        int s = (b[4 + j / 2] >> (j % 2 * 4) & 15) | (int)(high >> (2 * j) & 3) << 4;
        float ds = d * (float)(s - 32);
        const uint8_t *q = b + 8 + j * 16;
        for (int i = 0; i < 16; i++) {
            out[j * 32 + i] = ds * (float)iq4_values[q[i] & 15];
            out[j * 32 + i + 16] = ds * (float)iq4_values[q[i] >> 4];
        }
    }
}

// Doubled E2M1 values under half the scale, as ggml has it: code 8 is +0 here, not -0.
static const int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void mxfp4(const uint8_t *b, float *out)
{
    float d = tk_f32_from_e8m0_half(b[0]);
    for (int j = 0; j < 16; j++) {
        out[j] = d * (float)mxfp4_values[b[1 + j] & 15];
        out[j + 16] = d * (float)mxfp4_values[b[1 + j] >> 4];
    }
}

typedef void (*block_fn)(const uint8_t *b, float *out);

static const block_fn blocks[TK_DTYPE_COUNT] = {
    [TK_DTYPE_Q4_0] = q4_0,   [TK_DTYPE_Q4_1] = q4_1,     [TK_DTYPE_Q5_0] = q5_0,
    [TK_DTYPE_Q5_1] = q5_1,   [TK_DTYPE_Q8_0] = q8_0,     [TK_DTYPE_Q2_K] = q2_k,
    [TK_DTYPE_Q3_K] = q3_k,   [TK_DTYPE_Q4_K] = q4_k,     [TK_DTYPE_Q5_K] = q5_k,
    [TK_DTYPE_Q6_K] = q6_k,   [TK_DTYPE_IQ4_NL] = iq4_nl, [TK_DTYPE_IQ4_XS] = iq4_xs,
    [TK_DTYPE_MXFP4] = mxfp4,
};

// Element i of a plain (unblocked) array; memcpy because files align to nothing in particular.
static float plain(tk_dtype t, const uint8_t *p)
{
    union {
        float f32;
        double f64;
        int16_t i16;
        int32_t i32;
        int64_t i64;
    } v;
    memcpy(&v, p, (size_t)types[t].bytes);
    switch (t) {
    case TK_DTYPE_F32: return v.f32;
    case TK_DTYPE_F64: return (float)v.f64;
    case TK_DTYPE_F16: return half(p);
    case TK_DTYPE_BF16: return tk_f32_from_bf16(u16(p));
    case TK_DTYPE_F8_E4M3: return tk_f32_from_e4m3(*p);
    case TK_DTYPE_F8_E5M2: return tk_f32_from_e5m2(*p);
    case TK_DTYPE_F8_E8M0: return tk_f32_from_e8m0(*p);
    case TK_DTYPE_I8: return (float)(int8_t)*p;
    case TK_DTYPE_U8: return (float)*p;
    case TK_DTYPE_I16: return (float)v.i16;
    case TK_DTYPE_I32: return (float)v.i32;
    case TK_DTYPE_I64: return (float)v.i64;
    case TK_DTYPE_BOOL: return *p != 0;
    default: return 0; // blocked types do not come here
    }
}

void tk_dtype_decode(tk_dtype t, const void *src, int64_t n, float *out)
{
    const uint8_t *p = src;
    if (blocks[t]) {
        for (int64_t i = 0; i < n; i += types[t].len, p += types[t].bytes) blocks[t](p, out + i);
    } else if (t == TK_DTYPE_F4_E2M1) {
        for (int64_t i = 0; i < n; i++) out[i] = tk_f32_from_e2m1(p[i / 2] >> (i % 2 * 4));
    } else if (t == TK_DTYPE_I4) {
        for (int64_t i = 0; i < n; i++) out[i] = (float)((p[i / 2] >> (i % 2 * 4) & 15) - 8);
    } else {
        for (int64_t i = 0; i < n; i++, p += types[t].bytes) out[i] = plain(t, p);
    }
}
