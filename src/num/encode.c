// SPDX-License-Identifier: MIT
#include "num/encode.h"

#include "base/compiler.h"
#include "num/convert.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

// Stores v as a half and gives back what a reader will see.
static float put_half(uint8_t *p, float v)
{
    uint16_t h = tk_f16_from_f32(v);
    put16(p, h);
    return tk_f32_from_f16(h);
}

static int nearest(float x, int low, int high)
{
    float r = rintf(x);
    return r <= (float)low ? low : r >= (float)high ? high : (int)r;
}

static float inverse(float d)
{
    return d != 0 ? 1 / d : 0;
}

// The value of largest magnitude, with its sign.
static float extreme(const float *x, int n)
{
    float m = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(m)) m = x[i];
    return m;
}

static void range(const float *x, int n, float *low, float *high)
{
    *low = *high = x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < *low) *low = x[i];
        if (x[i] > *high) *high = x[i];
    }
}

// Codes reach from -8 to 7: the value of largest magnitude gets -8, whatever its sign.
static void q4_0(const float *x, uint8_t *b)
{
    float id = inverse(put_half(b, extreme(x, 32) / -8));
    for (int j = 0; j < 16; j++)
        b[2 + j] =
            (uint8_t)((nearest(x[j] * id, -8, 7) + 8) | (nearest(x[j + 16] * id, -8, 7) + 8) << 4);
}

static void q4_1(const float *x, uint8_t *b)
{
    float low, high;
    range(x, 32, &low, &high);
    float id = inverse(put_half(b, (high - low) / 15)), m = put_half(b + 2, low);
    for (int j = 0; j < 16; j++)
        b[4 + j] =
            (uint8_t)(nearest((x[j] - m) * id, 0, 15) | nearest((x[j + 16] - m) * id, 0, 15) << 4);
}

static void q5_0(const float *x, uint8_t *b)
{
    float id = inverse(put_half(b, extreme(x, 32) / -16));
    uint32_t high = 0;
    for (int j = 0; j < 16; j++) {
        unsigned lo = (unsigned)(nearest(x[j] * id, -16, 15) + 16);
        unsigned hi = (unsigned)(nearest(x[j + 16] * id, -16, 15) + 16);
        b[6 + j] = (uint8_t)((lo & 15) | (hi & 15) << 4);
        high |= (lo >> 4) << j | (hi >> 4) << (j + 16);
    }
    put16(b + 2, (uint16_t)high);
    put16(b + 4, (uint16_t)(high >> 16));
}

static void q8_0(const float *x, uint8_t *b)
{
    float id = inverse(put_half(b, fabsf(extreme(x, 32)) / 127));
    for (int j = 0; j < 32; j++) b[2 + j] = (uint8_t)(int8_t)nearest(x[j] * id, -127, 127);
}

// Eight groups of 32: value = d * s * q - dmin * m, s and m of six bits.
static void q4_k(const float *x, uint8_t *b)
{
    float scale[8], min[8], top_s = 0, top_m = 0;
    for (int j = 0; j < 8; j++) {
        float low, high;
        range(x + 32 * j, 32, &low, &high);
        if (low > 0) low = 0; // the minimum is subtracted and has no sign
        if (high < 0) high = 0;
        scale[j] = (high - low) / 15;
        min[j] = -low;
        top_s = fmaxf(top_s, scale[j]);
        top_m = fmaxf(top_m, min[j]);
    }
    float d = put_half(b, top_s / 63), dmin = put_half(b + 2, top_m / 63);
    memset(b + 4, 0, 12);
    for (int j = 0; j < 8; j++) {
        int s = nearest(scale[j] * inverse(d), 0, 63), m = nearest(min[j] * inverse(dmin), 0, 63);
        if (j < 4) {
            b[4 + j] |= (uint8_t)s;
            b[8 + j] |= (uint8_t)m;
        } else {
            b[8 + j] = (uint8_t)((s & 15) | (m & 15) << 4);
            b[j] |= (uint8_t)(s >> 4 << 6);
            b[4 + j] |= (uint8_t)(m >> 4 << 6);
        }
        float id = inverse(d * (float)s), dm = dmin * (float)m;
        uint8_t *q = b + 16 + j / 2 * 32;
        for (int i = 0; i < 32; i++) {
            uint8_t code = (uint8_t)nearest((x[32 * j + i] + dm) * id, 0, 15);
            q[i] = (uint8_t)(j % 2 ? q[i] | code << 4 : code);
        }
    }
}

// Sixteen groups of 16: value = d * s * (q - 32), s a signed byte.
static void q6_k(const float *x, uint8_t *b)
{
    float scale[16];
    for (int j = 0; j < 16; j++) scale[j] = extreme(x + 16 * j, 16) / -32;
    float d = put_half(b + 208, extreme(scale, 16) / -128);
    memset(b, 0, 192);
    for (int j = 0; j < 16; j++) {
        int s = nearest(scale[j] * inverse(d), -128, 127);
        b[192 + j] = (uint8_t)(int8_t)s;
        float id = inverse(d * (float)s);
        for (int i = 16 * j; i < 16 * j + 16; i++) {
            int n = i / 128, r = i % 128, q = nearest(x[i] * id, -32, 31) + 32;
            b[n * 64 + r % 64] |= (uint8_t)((q & 15) << (r / 64 * 4));
            b[128 + n * 32 + r % 32] |= (uint8_t)((q >> 4) << (r / 32 * 2));
        }
    }
}

uint8_t tk_mx_scale(float amax)
{
    int e = 0;
    if (amax == 0) return 0;
    frexpf(amax, &e); // amax = f * 2^e, f in [0.5, 1)
    return (uint8_t)nearest((float)(e - 1 - 2 + 127), 0, 254);
}

uint8_t tk_e2m1_from_f32(float x)
{
    static const float edge[7] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    float a = fabsf(x);
    unsigned c = 0;
    for (int i = 0; i < 7; i++) c += a > edge[i] || (i % 2 == 1 && a == edge[i]);
    return (uint8_t)(c | (x < 0 ? 8 : 0));
}

static void mxfp4(const float *x, uint8_t *b)
{
    b[0] = tk_mx_scale(fabsf(extreme(x, 32)));
    float id = 1 / tk_f32_from_e8m0(b[0]);
    for (int j = 0; j < 16; j++)
        b[1 + j] = (uint8_t)(tk_e2m1_from_f32(x[j] * id) | tk_e2m1_from_f32(x[j + 16] * id) << 4);
}

static void f32(const float *x, uint8_t *b)
{
    memcpy(b, x, 4);
}

static void f16(const float *x, uint8_t *b)
{
    put16(b, tk_f16_from_f32(*x));
}

static void bf16(const float *x, uint8_t *b)
{
    put16(b, tk_bf16_from_f32(*x));
}

static void e4m3(const float *x, uint8_t *b)
{
    *b = tk_e4m3_from_f32(*x);
}

static void e2m1_pair(const float *x, uint8_t *b)
{
    *b = (uint8_t)(tk_e2m1_from_f32(x[0]) | tk_e2m1_from_f32(x[1]) << 4);
}

typedef void (*encode_fn)(const float *x, uint8_t *b);

static const encode_fn encoders[TK_DTYPE_COUNT] = {
    [TK_DTYPE_F32] = f32,      [TK_DTYPE_F16] = f16,           [TK_DTYPE_BF16] = bf16,
    [TK_DTYPE_F8_E4M3] = e4m3, [TK_DTYPE_F4_E2M1] = e2m1_pair, [TK_DTYPE_Q4_0] = q4_0,
    [TK_DTYPE_Q4_1] = q4_1,    [TK_DTYPE_Q5_0] = q5_0,         [TK_DTYPE_Q8_0] = q8_0,
    [TK_DTYPE_Q4_K] = q4_k,    [TK_DTYPE_Q6_K] = q6_k,         [TK_DTYPE_MXFP4] = mxfp4,
};

bool tk_dtype_can_encode(tk_dtype t)
{
    return encoders[t] != NULL;
}

void tk_dtype_encode(tk_dtype t, const float *x, int64_t n, void *out)
{
    int len = tk_dtype_block_len(t), bytes = tk_dtype_block_bytes(t);
    assert(encoders[t] != NULL && n % len == 0);
    uint8_t *b = out;
    for (int64_t i = 0; i < n; i += len, b += bytes) encoders[t](x + i, b);
}
