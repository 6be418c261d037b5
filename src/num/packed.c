// SPDX-License-Identifier: MIT
#include "num/packed.h"

#include "base/compiler.h"
#include "num/convert.h"
#include "num/scan.h"

#include <stdbool.h>
#include <string.h>

// What a form's geometry is: columns of a group of scales, bytes of its units and of its scales.
typedef struct form {
    const char *name;
    int group_cols, unit_bytes, scale_bytes;
} form;

static const form forms[TK_PACK_COUNT] = {
    [TK_PACK_NONE] = {"none", 1, 0, 0},      [TK_PACK_Q8] = {"q8", 32, 512, 32},
    [TK_PACK_Q4] = {"q4", 32, 256, 32},      [TK_PACK_Q4M] = {"q4m", 32, 256, 64},
    [TK_PACK_Q4K] = {"q4k", 256, 2048, 320}, [TK_PACK_Q6K] = {"q6k", 256, 3072, 288},
    [TK_PACK_MX4] = {"mx4", 32, 256, 16},    [TK_PACK_NV4] = {"nv4", 16, 128, 16},
    [TK_PACK_BF16] = {"bf16", 2, 64, 0},     [TK_PACK_FP8] = {"fp8", 4, 64, 0},
};

const char *tk_pack_name(tk_pack kind)
{
    return forms[kind].name;
}

static tk_pack pack_of_fp4(const tk_matrix *w)
{
    if (w->scale_kind != TK_SCALE_GROUP) return TK_PACK_NONE;
    if (w->scale_dtype == TK_DTYPE_F8_E4M3 && w->block_in == 16) return TK_PACK_NV4;
    if (w->scale_dtype == TK_DTYPE_F8_E8M0 && w->block_in == 32 && w->scale_global == 1)
        return TK_PACK_MX4;
    return TK_PACK_NONE;
}

// One scale must serve the sixteen rows of a panel and 128 columns.
static tk_pack pack_of_fp8(const tk_matrix *w)
{
    bool rows = w->block_out % TK_PANEL_ROWS == 0 || w->block_out >= w->n_out;
    bool cols = w->block_in % TK_FP8_BLOCK == 0 || w->block_in >= w->n_in;
    return w->scale_kind == TK_SCALE_BLOCK2D && rows && cols ? TK_PACK_FP8 : TK_PACK_NONE;
}

// Every scale an f16. A BF16 is one whatever its bits from 2^-17 (0x3700), where a subnormal f16 still has eight of
// them, to 65280 (0x477F).
static bool scales_are_f16(const tk_matrix *w)
{
    int64_t n = (w->n_out + w->block_out - 1) / w->block_out * w->scale_cols;
    const uint8_t *at = w->scale;
    int item = tk_dtype_block_bytes(w->scale_dtype);
    if (w->scale_dtype == TK_DTYPE_F16) return true;
    if (w->scale_dtype == TK_DTYPE_BF16 && tk_max_u16(at, (uint64_t)n, 0x3700) <= 0x477F - 0x3700)
        return true;
    for (int64_t i = 0; i < n; i++, at += item) {
        float s;
        tk_dtype_decode(w->scale_dtype, at, 1, &s);
        if (tk_f32_from_f16(tk_f16_from_f32(s)) != s) return false;
    }
    return true;
}

// Forms Q4 and Q8 have an f16 for every 32 columns: a scale of more columns is repeated.
static tk_pack pack_of_int(const tk_matrix *w, tk_pack kind)
{
    bool groups = w->scale_kind != TK_SCALE_NONE && w->block_in % TK_GROUP == 0;
    return groups && w->scale_global == 1 && scales_are_f16(w) ? kind : TK_PACK_NONE;
}

tk_pack tk_pack_of(const tk_matrix *w)
{
    tk_pack kind = TK_PACK_NONE;
    switch (w->dtype) {
    case TK_DTYPE_Q8_0:
    case TK_DTYPE_Q5_0:
    case TK_DTYPE_IQ4_NL: kind = TK_PACK_Q8; break;
    case TK_DTYPE_Q4_0: kind = TK_PACK_Q4; break;
    case TK_DTYPE_Q4_1: kind = TK_PACK_Q4M; break;
    case TK_DTYPE_Q4_K: kind = TK_PACK_Q4K; break;
    case TK_DTYPE_Q6_K: kind = TK_PACK_Q6K; break;
    case TK_DTYPE_MXFP4: kind = TK_PACK_MX4; break;
    case TK_DTYPE_F4_E2M1: kind = pack_of_fp4(w); break;
    case TK_DTYPE_I4: kind = pack_of_int(w, TK_PACK_Q4); break;
    case TK_DTYPE_I8: kind = pack_of_int(w, TK_PACK_Q8); break;
    case TK_DTYPE_BF16: kind = TK_PACK_BF16; break;
    case TK_DTYPE_F8_E4M3: kind = pack_of_fp8(w); break;
    default: break;
    }
    if (w->n_in < 2 || w->n_in % forms[kind].group_cols != 0) return TK_PACK_NONE;
    return kind;
}

tk_packed tk_packed_shape(const tk_matrix *w)
{
    tk_pack kind = tk_pack_of(w);
    const form *f = &forms[kind];
    size_t groups = (size_t)(w->n_in / f->group_cols);
    size_t scales = groups * (size_t)f->scale_bytes;
    if (kind == TK_PACK_FP8)
        scales = (size_t)((w->n_in + TK_FP8_BLOCK - 1) / TK_FP8_BLOCK) * sizeof(float);
    tk_packed p = {.kind = kind,
                   .n_out = w->n_out,
                   .n_in = w->n_in,
                   .scale_off = groups * (size_t)f->unit_bytes,
                   .scale_global = kind == TK_PACK_NV4 ? w->scale_global : 1};
    p.panel_bytes = (p.scale_off + scales + TK_UNIT_BYTES - 1) / TK_UNIT_BYTES * TK_UNIT_BYTES;
    return p;
}

int64_t tk_packed_panels(const tk_packed *p)
{
    return (p->n_out + TK_PANEL_ROWS - 1) / TK_PANEL_ROWS;
}

uint64_t tk_packed_bytes(const tk_packed *p)
{
    return p->kind == TK_PACK_NONE ? 0 : (uint64_t)tk_packed_panels(p) * p->panel_bytes;
}

// The byte of row r's four in which column k of eight is: k0 k4 k1 k5, or k2 k6 k3 k7.
static inline size_t byte_of(int r, int64_t k)
{
    return (size_t)r * 4 + (k & 4 ? 1u : 0u) + (k & 1 ? 2u : 0u);
}

// Where column k of row r is, in units of the given width: byte and shift.
static inline size_t at8(int r, int64_t k)
{
    return (size_t)(k / 8 * 2 + (k & 2 ? 1 : 0)) * TK_UNIT_BYTES + byte_of(r, k);
}

static inline size_t at4(int r, int64_t k, int *shift)
{
    *shift = k & 2 ? 4 : 0;
    return (size_t)(k / 8) * TK_UNIT_BYTES + byte_of(r, k);
}

static inline size_t at2(int r, int64_t k, int *shift)
{
    *shift = (k & 8 ? 4 : 0) + (k & 2 ? 2 : 0);
    return (size_t)(k / 16) * TK_UNIT_BYTES + byte_of(r, k);
}

static inline size_t at_fp8(int r, int64_t k)
{
    static const uint8_t byte[4] = {0, 2, 1, 3};
    return (size_t)(k / 4) * TK_UNIT_BYTES + (size_t)r * 4 + byte[k % 4];
}

static void put8(uint8_t *units, int r, const uint8_t *q, int n)
{
    for (int k = 0; k < n; k++) units[at8(r, k)] = q[k];
}

static void put4(uint8_t *units, int r, const uint8_t *q, int n)
{
    for (int k = 0; k < n; k++) {
        int shift;
        size_t at = at4(r, k, &shift);
        units[at] = (uint8_t)(units[at] | (q[k] & 15) << shift);
    }
}

// Sixteen columns take three units: two of low nibbles, one of high pairs of bits.
enum { Q6_STEP = 3 * TK_UNIT_BYTES };

static void put6(uint8_t *units, int r, const uint8_t *q)
{
    for (int k = 0; k < TK_SUPER; k++) {
        uint8_t *u = units + k / 16 * Q6_STEP;
        int shift;
        size_t at = at4(r, k % 16, &shift);
        u[at] = (uint8_t)(u[at] | (q[k] & 15) << shift);
        at = 2 * TK_UNIT_BYTES + at2(r, k % 16, &shift);
        u[at] = (uint8_t)(u[at] | q[k] >> 4 << shift);
    }
}

// GGUF nibbles: byte j holds column j below, column j + n / 2 above.
static void nibbles(const uint8_t *b, int n, uint8_t *q)
{
    for (int j = 0; j < n / 2; j++) {
        q[j] = b[j] & 15;
        q[j + n / 2] = b[j] >> 4;
    }
}

// A block's codes as unsigned bytes of a Q8 group: value + 128.
static void codes_q8(tk_dtype t, const uint8_t *b, uint8_t q[32])
{
    static const int8_t iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
    if (t == TK_DTYPE_Q8_0) {
        for (int k = 0; k < 32; k++) q[k] = (uint8_t)(b[2 + k] ^ 0x80);
        return;
    }
    if (t == TK_DTYPE_IQ4_NL) {
        nibbles(b + 2, 32, q);
        for (int k = 0; k < 32; k++) q[k] = (uint8_t)(iq4[q[k]] + 128);
        return;
    }
    uint32_t fifth; // Q5_0
    memcpy(&fifth, b + 2, sizeof fifth);
    nibbles(b + 6, 32, q);
    for (int k = 0; k < 32; k++) q[k] = (uint8_t)((q[k] | (fifth >> k & 1) << 4) + 128 - 16);
}

static void scale_min(const uint8_t *q, int j, uint8_t *scale, uint8_t *min)
{
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
    } else {
        *scale = (uint8_t)((q[j + 4] & 15) | (q[j - 4] >> 6) << 4);
        *min = (uint8_t)(q[j + 4] >> 4 | (q[j] >> 6) << 4);
    }
}

static void pack_q4k(const uint8_t *b, int r, uint8_t *units, uint8_t *scales)
{
    uint8_t q[64];
    memcpy(scales + 2 * r, b, 2);
    memcpy(scales + 32 + 2 * r, b + 2, 2);
    for (int j = 0; j < 8; j++)
        scale_min(b + 4, j, scales + 64 + j * 32 + r, scales + 64 + j * 32 + 16 + r);
    for (int j = 0; j < 4; j++) {
        nibbles(b + 16 + j * 32, 64, q);
        put4(units + j * 8 * TK_UNIT_BYTES, r, q, 64);
    }
}

static void pack_q6k(const uint8_t *b, int r, uint8_t *units, uint8_t *scales)
{
    uint8_t q[TK_SUPER];
    for (int k = 0; k < TK_SUPER; k++) {
        int half = k / 128, in = k % 128, part = in / 32, j = in % 32;
        uint8_t low = b[half * 64 + (part % 2) * 32 + j], high = b[128 + half * 32 + j];
        q[k] = (uint8_t)((part >= 2 ? low >> 4 : low & 15) | (high >> (2 * part) & 3) << 4);
    }
    memcpy(scales + 2 * r, b + 208, 2);
    for (int g = 0; g < 16; g++) scales[32 + g * 16 + r] = b[192 + g];
    put6(units, r, q);
}

// One row of a GGUF block type.
static void pack_blocks(const tk_matrix *w, tk_pack kind, const uint8_t *b, int r, uint8_t *units,
                        uint8_t *scales)
{
    const form *f = &forms[kind];
    size_t block = (size_t)tk_dtype_block_bytes(w->dtype);
    uint8_t q[32];
    for (int64_t k = 0; k < w->n_in; k += f->group_cols, b += block) {
        switch (kind) {
        case TK_PACK_Q8:
            codes_q8(w->dtype, b, q);
            put8(units, r, q, 32);
            memcpy(scales + 2 * r, b, 2);
            break;
        case TK_PACK_Q4:
        case TK_PACK_Q4M:
            nibbles(b + (kind == TK_PACK_Q4 ? 2 : 4), 32, q);
            put4(units, r, q, 32);
            memcpy(scales + 2 * r, b, 2);
            if (kind == TK_PACK_Q4M) memcpy(scales + 32 + 2 * r, b + 2, 2);
            break;
        case TK_PACK_MX4:
            nibbles(b + 1, 32, q);
            put4(units, r, q, 32);
            scales[r] = b[0];
            break;
        case TK_PACK_Q4K: pack_q4k(b, r, units, scales); break;
        default: pack_q6k(b, r, units, scales); break;
        }
        units += f->unit_bytes;
        scales += f->scale_bytes;
    }
}

// One row of E2M1 codes with their scales elsewhere.
static void pack_fp4(const tk_matrix *w, tk_pack kind, int64_t row, int r, uint8_t *units,
                     uint8_t *scales)
{
    const form *f = &forms[kind];
    const uint8_t *b = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
    const uint8_t *s = (const uint8_t *)w->scale + row * w->scale_cols;
    for (int64_t k = 0; k < w->n_in; k += f->group_cols) {
        uint8_t q[32];
        for (int j = 0; j < f->group_cols; j++)
            q[j] = (uint8_t)(b[(k + j) / 2] >> ((k + j) % 2 * 4) & 15);
        put4(units, r, q, f->group_cols);
        scales[r] = s[k / f->group_cols];
        units += f->unit_bytes;
        scales += f->scale_bytes;
    }
}

// One row of I4 or I8 codes, whose scales are all f16.
static void pack_int(const tk_matrix *w, tk_pack kind, int64_t row, int r, uint8_t *units,
                     uint8_t *scales)
{
    const form *f = &forms[kind];
    const uint8_t *b = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
    for (int64_t k = 0; k < w->n_in; k += TK_GROUP) {
        uint8_t q[TK_GROUP];
        uint16_t d = tk_f16_from_f32(tk_matrix_scale(w, row / w->block_out, k / w->block_in));
        for (int j = 0; j < TK_GROUP; j++)
            q[j] = kind == TK_PACK_Q8 ? b[k + j] ^ 0x80
                                      : (uint8_t)(b[(k + j) / 2] >> ((k + j) % 2 * 4) & 15);
        if (kind == TK_PACK_Q8)
            put8(units, r, q, TK_GROUP);
        else
            put4(units, r, q, TK_GROUP);
        memcpy(scales + 2 * r, &d, sizeof d);
        units += f->unit_bytes;
        scales += f->scale_bytes;
    }
}

static void pack_bf16(const tk_matrix *w, int64_t row, int r, uint8_t *units)
{
    const uint8_t *b = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
    for (int64_t k = 0; k < w->n_in; k += 2)
        memcpy(units + k / 2 * TK_UNIT_BYTES + r * 4, b + k * 2, 4);
}

static void pack_fp8_scales(const tk_matrix *w, int64_t row, uint8_t *scales)
{
    for (int64_t k = 0; k < w->n_in; k += TK_FP8_BLOCK, scales += sizeof(float)) {
        float s = tk_matrix_scale(w, row / w->block_out, k / w->block_in);
        memcpy(scales, &s, sizeof s);
    }
}

void tk_pack_panel(const tk_matrix *w, const tk_packed *shape, int64_t i_panel, uint8_t *out)
{
    uint8_t *scales = out + shape->scale_off;
    int64_t row0 = i_panel * TK_PANEL_ROWS;
    memset(out, 0, shape->panel_bytes);
    if (shape->kind == TK_PACK_FP8) pack_fp8_scales(w, row0, scales);
    for (int r = 0; r < TK_PANEL_ROWS && row0 + r < w->n_out; r++) {
        const uint8_t *b = (const uint8_t *)w->data + (size_t)(row0 + r) * w->row_bytes;
        if (shape->kind == TK_PACK_BF16)
            pack_bf16(w, row0 + r, r, out);
        else if (shape->kind == TK_PACK_FP8)
            for (int64_t k = 0; k < w->n_in; k++) out[at_fp8(r, k)] = b[k];
        else if (w->dtype == TK_DTYPE_F4_E2M1)
            pack_fp4(w, shape->kind, row0 + r, r, out, scales);
        else if (w->dtype == TK_DTYPE_I4 || w->dtype == TK_DTYPE_I8)
            pack_int(w, shape->kind, row0 + r, r, out, scales);
        else
            pack_blocks(w, shape->kind, b, r, out, scales);
    }
}

static float half_at(const uint8_t *p, int r)
{
    uint16_t h;
    memcpy(&h, p + 2 * r, sizeof h);
    return tk_f32_from_f16(h);
}

static unsigned nibble_at(const uint8_t *units, int r, int64_t k)
{
    int shift;
    size_t at = at4(r, k, &shift);
    return units[at] >> shift & 15u;
}

static float decode_q6k(const uint8_t *units, const uint8_t *scales, int r, int64_t k)
{
    const uint8_t *u = units + k / 16 * Q6_STEP, *s = scales + k / TK_SUPER * 288;
    int shift, j = (int)(k % 16), g = (int)(k % TK_SUPER / 16);
    size_t at = 2 * TK_UNIT_BYTES + at2(r, j, &shift);
    int q = (int)(nibble_at(u, r, j) | (u[at] >> shift & 3u) << 4) - 32;
    return half_at(s, r) * (float)(int8_t)s[32 + g * 16 + r] * (float)q;
}

static float decode_q4k(const uint8_t *units, const uint8_t *scales, int r, int64_t k)
{
    const uint8_t *s = scales + k / TK_SUPER * 320, *sm = s + 64 + k % TK_SUPER / 32 * 32 + r;
    return half_at(s, r) * (float)sm[0] * (float)nibble_at(units, r, k) -
           half_at(s + 32, r) * (float)sm[16];
}

static float decode_fp8(const uint8_t *units, const uint8_t *scales, int r, int64_t k)
{
    float s;
    memcpy(&s, scales + k / TK_FP8_BLOCK * 4, sizeof s);
    return tk_f32_from_e4m3(units[at_fp8(r, k)]) * s;
}

static float decode_one(const tk_packed *p, const uint8_t *panel, int r, int64_t k)
{
    const uint8_t *scales = panel + p->scale_off;
    const uint8_t *s = scales + k / forms[p->kind].group_cols * forms[p->kind].scale_bytes;
    uint16_t h;
    switch (p->kind) {
    case TK_PACK_Q8: return half_at(s, r) * (float)((int)panel[at8(r, k)] - 128);
    case TK_PACK_Q4: return half_at(s, r) * (float)((int)nibble_at(panel, r, k) - 8);
    case TK_PACK_Q4M: return half_at(s, r) * (float)nibble_at(panel, r, k) + half_at(s + 32, r);
    case TK_PACK_Q4K: return decode_q4k(panel, scales, r, k);
    case TK_PACK_Q6K: return decode_q6k(panel, scales, r, k);
    case TK_PACK_MX4:
        return 2 * tk_f32_from_e2m1(nibble_at(panel, r, k)) * tk_f32_from_e8m0_half(s[r]);
    case TK_PACK_NV4:
        return tk_f32_from_e2m1(nibble_at(panel, r, k)) *
               (tk_f32_from_e4m3(s[r]) * p->scale_global);
    case TK_PACK_BF16:
        memcpy(&h, panel + k / 2 * TK_UNIT_BYTES + r * 4 + k % 2 * 2, sizeof h);
        return tk_f32_from_bf16(h);
    default: return decode_fp8(panel, scales, r, k);
    }
}

void tk_packed_decode(const tk_packed *p, int64_t row, int64_t col, int64_t n, float *out)
{
    const uint8_t *panel = p->data + (size_t)(row / TK_PANEL_ROWS) * p->panel_bytes;
    int r = (int)(row % TK_PANEL_ROWS);
    for (int64_t k = 0; k < n; k++) out[k] = decode_one(p, panel, r, col + k);
}
