// SPDX-License-Identifier: MIT
// Number formats against gguf-py, numpy and torch (tests/golden/num), and matrices against their formula.
#include "base/mem.h"
#include "base/rng.h"
#include "num/convert.h"
#include "num/matrix.h"

#include "../golden/num/golden.h"
#include "golden_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static uint32_t bits_of(float f)
{
    return f != f ? 0x7FC00000 : tk_bits_from_f32(f);
}

static void every_block_format_is_bit_equal_with_gguf_py(void **state)
{
    (void)state;
    for (size_t t = 0; t < TK_COUNT(golden_blocks); t++) {
        const struct golden_block *g = &golden_blocks[t];
        int len = tk_dtype_block_len(g->type);
        size_t bytes = (size_t)tk_dtype_bytes(g->type, (int64_t)GOLDEN_N_BLOCK * len);
        uint8_t *src = tk_alloc(bytes);
        float out[256];
        uint32_t crc = 0;
        fill(src, bytes, g->seed);
        for (int b = 0; b < GOLDEN_N_BLOCK; b++) {
            tk_dtype_decode(g->type, src + b * tk_dtype_block_bytes(g->type), len, out);
            for (int i = 0; b == 0 && i < 4; i++) assert_int_equal(bits_of(out[i]), g->first[i]);
            for (int i = 0; i < len; i++) crc = crc32_more(crc, bits_of(out[i]), 4);
        }
        if (crc != g->crc) print_error("%s differs\n", tk_dtype_name(g->type));
        assert_int_equal(crc, g->crc);
        tk_free(src);
    }
}

static void every_fp8_and_fp4_code_has_its_value(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        uint8_t code = (uint8_t)c;
        assert_int_equal(bits_of(tk_f32_from_e4m3(code)), golden_e4m3[c]);
        assert_int_equal(bits_of(tk_f32_from_e5m2(code)), golden_e5m2[c]);
        assert_int_equal(bits_of(tk_f32_from_e8m0(code)), golden_e8m0[c]);
        if (c < 255) // halving is exact; 255 has a meaning only in the halved form
            assert_true(tk_f32_from_e8m0_half(code) == tk_f32_from_e8m0(code) * 0.5f);
        float v[2];
        tk_dtype_decode(TK_DTYPE_F4_E2M1, &code, 2, v); // low nibble first
        assert_int_equal(bits_of(v[0]), golden_e2m1[c & 15]);
        assert_int_equal(bits_of(v[1]), golden_e2m1[c >> 4]);
        tk_dtype_decode(TK_DTYPE_F8_E4M3, &code, 1, v);
        assert_int_equal(bits_of(v[0]), golden_e4m3[c]);
        tk_dtype_decode(TK_DTYPE_F8_E5M2, &code, 1, v);
        assert_int_equal(bits_of(v[0]), golden_e5m2[c]);
        tk_dtype_decode(TK_DTYPE_F8_E8M0, &code, 1, v);
        assert_int_equal(bits_of(v[0]), golden_e8m0[c]);
    }
}

static void every_half_and_bfloat_has_its_value(void **state)
{
    (void)state;
    uint32_t half = 0, brain = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        half = crc32_more(half, bits_of(tk_f32_from_f16((uint16_t)h)), 4);
        brain = crc32_more(brain, bits_of(tk_f32_from_bf16((uint16_t)h)), 4);
        float f = tk_f32_from_f16((uint16_t)h), b = tk_f32_from_bf16((uint16_t)h);
        if (f == f) assert_int_equal(tk_f16_from_f32(f), h);
        if (b == b) assert_int_equal(tk_bf16_from_f32(b), h);
    }
    assert_int_equal(half, golden_crc_f32_from_f16);
    assert_int_equal(brain, golden_crc_f32_from_bf16);
}

// The float patterns of make_num_golden.py: every second one near the small formats, with many ties.
static float golden_float(tk_rng *rng, int i)
{
    uint32_t u = (uint32_t)tk_rng_u64(rng);
    if (i % 2 == 0) u = (u & 0x807FFFFF) | (96 + (u >> 23 & 63)) << 23;
    if (i % 8 == 0) u &= 0xFFF80000;
    if (i % 8 == 2) u &= 0xFFFFF000;
    if (i % 8 == 4) u &= 0xFFFF8000;
    return tk_f32_from_bits(u);
}

static void encoders_round_to_nearest_even_as_numpy_and_torch_do(void **state)
{
    (void)state;
    tk_rng rng = {.state = 77};
    uint32_t crc = 0, f16 = 0, bf16 = 0, e4m3 = 0;
    for (int i = 0; i < GOLDEN_N_FLOAT; i++) {
        float f = golden_float(&rng, i);
        bool nan = f != f;
        crc = crc32_more(crc, bits_of(f), 4);
        f16 = crc32_more(f16, nan ? 0x7E00 : tk_f16_from_f32(f), 2);
        bf16 = crc32_more(bf16, nan ? 0x7FC0 : tk_bf16_from_f32(f), 2);
        e4m3 = crc32_more(e4m3, nan ? 0x7F : tk_e4m3_from_f32(f), 1);
        if (nan) assert_int_equal(tk_e4m3_from_f32(f) & 0x7F, 0x7F);
    }
    assert_int_equal(crc, golden_crc_floats);
    assert_int_equal(f16, golden_crc_f16_from_f32);
    assert_int_equal(bf16, golden_crc_bf16_from_f32);
    assert_int_equal(e4m3, golden_crc_e4m3_from_f32);
}

static void sizes_refuse_broken_blocks_and_overflow(void **state)
{
    (void)state;
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_Q4_K, 512), 288);
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_Q4_K, 511), 0);
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_F32, -1), 0);
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_F64, INT64_MAX), 0);
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_F4_E2M1, 6), 3);
}

enum { N_OUT = 300, N_IN = 200 }; // ragged against 128

static void block_fp8_scales_apply_with_ragged_edges(void **state)
{
    (void)state;
    static uint8_t code[N_OUT * N_IN];
    float scale[3 * 2], row[N_IN];
    fill(code, sizeof code, 5);
    for (int i = 0; i < 6; i++) scale[i] = 0.37f * (float)(i + 1);
    tk_matrix w = {.data = code, .row_bytes = N_IN, .n_out = N_OUT, .n_in = N_IN};
    w.dtype = TK_DTYPE_F8_E4M3;
    w.scale_kind = TK_SCALE_BLOCK2D;
    w.scale_dtype = TK_DTYPE_F32;
    w.scale = scale;
    w.scale_cols = 2;
    w.block_out = w.block_in = 128;
    w.scale_global = 1;
    for (int i = 0; i < N_OUT; i++) {
        tk_matrix_decode(&w, i, 0, N_IN, row);
        for (int j = 0; j < N_IN; j++)
            assert_int_equal(bits_of(row[j]), bits_of(tk_f32_from_e4m3(code[i * N_IN + j]) *
                                                      scale[i / 128 * 2 + j / 128]));
    }
    tk_matrix part = tk_matrix_rows(&w, 256, 44); // the ragged last rows
    float other[50];
    tk_matrix_decode(&w, 299, 100, 50, row); // crosses a scale in the middle of a stretch
    tk_matrix_decode(&part, 43, 100, 50, other);
    assert_memory_equal(row, other, sizeof other);
    assert_int_equal(tk_matrix_bytes(&w), N_OUT * N_IN + 6 * 4);
    assert_int_equal(tk_matrix_bytes(&part), 44 * N_IN + 2 * 4);
}

static void group_fp4_scales_apply_with_the_global_one(void **state)
{
    (void)state;
    enum { ROWS = 3, COLS = 64 };
    uint8_t code[ROWS * COLS / 2], scale[ROWS * COLS / 16];
    float row[COLS];
    fill(code, sizeof code, 6);
    for (size_t i = 0; i < sizeof scale; i++) scale[i] = (uint8_t)(0x20 + 5 * i);
    tk_matrix w = {.data = code, .row_bytes = COLS / 2, .n_out = ROWS, .n_in = COLS};
    w.dtype = TK_DTYPE_F4_E2M1;
    w.scale_kind = TK_SCALE_GROUP;
    w.scale_dtype = TK_DTYPE_F8_E4M3;
    w.scale = scale;
    w.scale_cols = COLS / 16;
    w.block_out = 1;
    w.block_in = 16;
    w.scale_global = 0.0123f;
    for (int i = 0; i < ROWS; i++) {
        tk_matrix_decode(&w, i, 2, COLS - 2, row);
        for (int j = 2; j < COLS; j++) {
            float q = tk_f32_from_e2m1(code[i * COLS / 2 + j / 2] >> (j % 2 * 4));
            float s = tk_f32_from_e4m3(scale[i * 4 + j / 16]) * 0.0123f;
            assert_int_equal(bits_of(row[j - 2]), bits_of(q * s));
        }
    }
    tk_matrix last = tk_matrix_rows(&w, 2, 1);
    float other[COLS - 2];
    tk_matrix_decode(&last, 0, 2, COLS - 2, other);
    assert_memory_equal(row, other, sizeof other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_block_format_is_bit_equal_with_gguf_py),
        cmocka_unit_test(every_fp8_and_fp4_code_has_its_value),
        cmocka_unit_test(every_half_and_bfloat_has_its_value),
        cmocka_unit_test(encoders_round_to_nearest_even_as_numpy_and_torch_do),
        cmocka_unit_test(sizes_refuse_broken_blocks_and_overflow),
        cmocka_unit_test(block_fp8_scales_apply_with_ragged_edges),
        cmocka_unit_test(group_fp4_scales_apply_with_the_global_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
