// SPDX-License-Identifier: MIT
// Integer codes with scales elsewhere: against their definition, against compressed-tensors
// (tests/golden/num/make_int_golden.py), and packed for the kernels.
#include "base/mem.h"
#include "num/convert.h"
#include "num/packed.h"

#include "../golden/num/int_golden.h"
#include "golden_bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { ROWS = GOLDEN_INT_ROWS, COLS = GOLDEN_INT_COLS };

// The matrix of make_int_golden.py, its scales in F32 or BF16; codes and scales are static.
static tk_matrix golden_matrix(const struct golden_int *g, tk_dtype scale_dtype)
{
    static uint8_t codes[ROWS * COLS];
    static uint16_t bf16[ROWS * COLS / 32];
    static float f32[ROWS * COLS / 32];
    size_t n = (size_t)(ROWS * COLS / g->group), row_bytes = (size_t)(COLS * g->bits / 8);
    fill(codes, ROWS * row_bytes, (uint64_t)g->bits);
    fill((uint8_t *)bf16, 2 * n, (uint64_t)g->bits + 1);
    for (size_t i = 0; i < n; i++) {
        bf16[i] = (uint16_t)((bf16[i] & 0x03FF) + 0x3980);
        f32[i] = tk_f32_from_bf16(bf16[i]);
    }
    return (tk_matrix){.data = codes,
                       .row_bytes = row_bytes,
                       .n_out = ROWS,
                       .n_in = COLS,
                       .dtype = g->type,
                       .scale_kind = TK_SCALE_GROUP,
                       .scale_dtype = scale_dtype,
                       .scale = scale_dtype == TK_DTYPE_F32 ? (const void *)f32 : bf16,
                       .scale_cols = COLS / g->group,
                       .block_out = 1,
                       .block_in = g->group,
                       .scale_global = 1};
}

static void every_code_has_its_value(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        uint8_t code = (uint8_t)c;
        float v[2];
        tk_dtype_decode(TK_DTYPE_I4, &code, 2, v); // low nibble first
        assert_true(v[0] == (float)(c % 16 - 8));
        assert_true(v[1] == (float)(c / 16 - 8));
        tk_dtype_decode(TK_DTYPE_I8, &code, 1, v);
        assert_true(v[0] == (float)(c < 128 ? c : c - 256));
    }
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_I4, 6), 3);
    assert_int_equal(tk_dtype_bytes(TK_DTYPE_I4, 7), 0);
}

static void scaled_codes_are_bit_equal_with_compressed_tensors(void **state)
{
    (void)state;
    float row[COLS];
    for (size_t i = 0; i < TK_COUNT(golden_ints); i++) {
        const struct golden_int *g = &golden_ints[i];
        uint32_t f32 = 0, bf16 = 0;
        tk_matrix w = golden_matrix(g, TK_DTYPE_F32);
        for (int r = 0; r < ROWS; r++) {
            tk_matrix_decode(&w, r, 0, COLS, row);
            for (int k = 0; k < COLS; k++) f32 = crc32_more(f32, tk_bits_from_f32(row[k]), 4);
        }
        w = golden_matrix(g, TK_DTYPE_BF16); // our product is exact; theirs is rounded to BF16
        for (int r = 0; r < ROWS; r++) {
            tk_matrix_decode(&w, r, 0, COLS, row);
            for (int k = 0; k < COLS; k++) bf16 = crc32_more(bf16, tk_bf16_from_f32(row[k]), 2);
        }
        assert_int_equal(f32, g->crc_f32);
        assert_int_equal(bf16, g->crc_bf16);
    }
}

// Packs w and compares all of it with the stored form.
static void check_packed(const tk_matrix *w, tk_pack want)
{
    tk_packed p = tk_packed_shape(w);
    float stored[COLS], packed[COLS];
    assert_int_equal(p.kind, want);
    uint8_t *data = tk_alloc(tk_packed_bytes(&p));
    p.data = data;
    for (int64_t i = 0; i < tk_packed_panels(&p); i++)
        tk_pack_panel(w, &p, i, data + (size_t)i * p.panel_bytes);
    for (int r = 0; r < w->n_out; r++) {
        tk_matrix_decode(w, r, 0, COLS, stored);
        tk_packed_decode(&p, r, 0, COLS, packed);
        assert_memory_equal(stored, packed, sizeof stored);
    }
    tk_free(data);
}

static void codes_are_packed_when_every_scale_is_a_half(void **state)
{
    (void)state;
    for (size_t i = 0; i < TK_COUNT(golden_ints); i++) {
        tk_pack want = golden_ints[i].bits == 4 ? TK_PACK_Q4 : TK_PACK_Q8;
        tk_matrix w = golden_matrix(&golden_ints[i], TK_DTYPE_BF16);
        check_packed(&w, want);
        w = golden_matrix(&golden_ints[i], TK_DTYPE_F32);
        check_packed(&w, want);
    }
}

// One of the scales is set to bits (BF16), the matrix asked for its form.
static void expect_form(uint16_t bits, tk_pack want)
{
    tk_matrix w = golden_matrix(&golden_ints[0], TK_DTYPE_BF16);
    uint16_t scale[ROWS * COLS / 32];
    memcpy(scale, w.scale, sizeof scale);
    scale[777] = bits;
    w.scale = scale;
    assert_int_equal(tk_pack_of(&w), want);
}

static void a_scale_that_is_no_half_keeps_the_matrix_as_stored(void **state)
{
    (void)state;
    expect_form(0x0000, TK_PACK_Q4);   // zero
    expect_form(0x3700, TK_PACK_Q4);   // 2^-17, all eight bits fit in a subnormal half
    expect_form(0x37FF, TK_PACK_Q4);   // just under 2^-15
    expect_form(0x3680, TK_PACK_Q4);   // 2^-18 itself fits
    expect_form(0x36FF, TK_PACK_NONE); // its neighbours do not
    expect_form(0x3300, TK_PACK_NONE); // 2^-25
    expect_form(0x477F, TK_PACK_Q4);   // 65280
    expect_form(0x4780, TK_PACK_NONE); // 65536
    tk_matrix w = golden_matrix(&golden_ints[0], TK_DTYPE_F32);
    float scale[ROWS * COLS / 32];
    memcpy(scale, w.scale, sizeof scale);
    scale[0] = 0.1f;
    w.scale = scale;
    assert_int_equal(tk_pack_of(&w), TK_PACK_NONE);
    w = golden_matrix(&golden_ints[0], TK_DTYPE_BF16);
    w.n_in = COLS - 16; // no whole groups
    assert_int_equal(tk_pack_of(&w), TK_PACK_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_value),
        cmocka_unit_test(scaled_codes_are_bit_equal_with_compressed_tensors),
        cmocka_unit_test(codes_are_packed_when_every_scale_is_a_half),
        cmocka_unit_test(a_scale_that_is_no_half_keeps_the_matrix_as_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
