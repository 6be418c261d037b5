// SPDX-License-Identifier: MIT
// Single values between float32 and the small formats. Decoders are exact; encoders round to nearest even
// and, for FP8, saturate (the CUDA headers' "satfinite").
#ifndef TK_NUM_CONVERT_H
#define TK_NUM_CONVERT_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float tk_f32_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t tk_bits_from_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float tk_f32_from_bf16(uint16_t h)
{
    return tk_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t tk_bf16_from_f32(float f)
{
    uint32_t u = tk_bits_from_f32(f);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 0x40); // NaN stays one, quietly
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static inline uint16_t tk_f16_from_f32(float f)
{
    uint16_t sign = (uint16_t)(tk_bits_from_f32(f) >> 16 & 0x8000);
    float a = fabsf(f);
    if (a != a) return sign | 0x7E00;
    if (a >= 65520) return sign | 0x7C00; // the middle between the largest half and the next
    if (a < 0x1p-14f)
        return (uint16_t)(sign |
                          (unsigned)rintf(a * 0x1p24f)); // 1024 carries into the first normal
    uint32_t u = tk_bits_from_f32(a);
    u += 0xFFF + (u >> 13 & 1);
    return (uint16_t)(sign | ((u >> 13) - (112u << 10)));
}

static inline float tk_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3FF;
    if (e == 31) return tk_f32_from_bits(sign | 0x7F800000 | m << 13);
    if (e == 0) {
        float f = (float)m * 0x1p-24f; // subnormal or zero
        return sign ? -f : f;
    }
    return tk_f32_from_bits(sign | (e + 112) << 23 | m << 13);
}

// E4M3 ("e4m3fn"): no infinity, 0x7F and 0xFF are NaN.
static inline float tk_f32_from_e4m3(uint8_t c)
{
    uint32_t sign = (uint32_t)(c & 0x80) << 24, e = c >> 3 & 15, m = c & 7;
    if ((c & 0x7F) == 0x7F) return tk_f32_from_bits(sign | 0x7FC00000);
    if (e == 0) {
        float f = (float)m * 0x1p-9f;
        return sign ? -f : f;
    }
    return tk_f32_from_bits(sign | (e + 120) << 23 | m << 20);
}

static inline float tk_f32_from_e5m2(uint8_t c)
{
    return tk_f32_from_f16((uint16_t)(c << 8)); // the upper byte of a half
}

// E8M0: 2^(c - 127); 0 is 2^-127, a subnormal; 255 is NaN.
static inline float tk_f32_from_e8m0(uint8_t c)
{
    if (c == 255) return tk_f32_from_bits(0x7FC00000);
    return tk_f32_from_bits(c == 0 ? 0x00400000 : (uint32_t)c << 23);
}

// Half of E8M0's value, as ggml has it for its MXFP4 blocks, whose E2M1 values it keeps doubled. It gives code
// 255 a meaning (2^127), and so does every file written by it.
static inline float tk_f32_from_e8m0_half(uint8_t c)
{
    return tk_f32_from_bits(c < 2 ? 0x00200000u << c : (uint32_t)(c - 1) << 23);
}

// E2M1, the low four bits of c.
static inline float tk_f32_from_e2m1(unsigned c)
{
    static const float value[16] = {0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                    -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};
    return value[c & 15];
}

static inline uint8_t tk_e4m3_from_f32(float f)
{
    uint8_t sign = tk_bits_from_f32(f) >> 31 ? 0x80 : 0;
    float a = fabsf(f);
    if (a != a) return sign | 0x7F;
    if (a >= 448) return sign | 0x7E;
    if (a < 0x1p-6f)
        return (uint8_t)(sign | (unsigned)rintf(a * 0x1p9f)); // 8 carries into the first normal
    uint32_t u = tk_bits_from_f32(a);
    u += 0x7FFFF + (u >> 20 & 1);
    return (uint8_t)(sign | ((u >> 20) - (120u << 3)));
}

#endif
