// SPDX-License-Identifier: MIT
// Checkpoints of compressed-tensors' integer formats: what is read from them, and broken ones, each refused with
// a message that names file, tensor and numbers.
#include "base/buf.h"
#include "base/compiler.h"
#include "num/convert.h"
#include "store/checkpoint.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { N_OUT = 3, N_IN = 128 };

static char dir[64];

typedef struct part {
    const char *name, *dtype, *shape;
    const void *data;
    size_t bytes;
} part;

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/tk_store_int_XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path_of("config.json"));
    unlink(path_of("model.safetensors"));
    return rmdir(dir);
}

static void put(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

// A snapshot of the parts up to the first without a name, and of weights' group_size as the config has it.
static tk_ckpt *snapshot(const part *parts, const char *group_size)
{
    tk_buf header = tk_buf_make(1 << 16), file = tk_buf_make(1 << 20);
    char text[512];
    size_t at = 0;
    for (const part *p = parts; p->name; at += p->bytes, p++)
        tk_buf_addf(&header,
                    "%s\"x.%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}",
                    p == parts ? "{" : ",", p->name, p->dtype, p->shape, at, at + p->bytes);
    tk_buf_add_str(&header, "}");
    uint64_t len = header.len;
    tk_buf_add(&file, &len, sizeof len);
    tk_buf_add(&file, header.data, header.len);
    for (const part *p = parts; p->name; p++) tk_buf_add(&file, p->data, p->bytes);
    put("model.safetensors", file.data, file.len);
    tk_buf_free(&header);
    tk_buf_free(&file);
    snprintf(text, sizeof text,
             "{\"quantization_config\":{\"quant_method\":\"compressed-tensors\",\"format\":"
             "\"pack-quantized\",\"config_groups\":{\"group_0\":{\"weights\":{\"num_bits\":4,"
             "\"group_size\":%s,\"strategy\":\"%s\"}}}}}",
             group_size, strcmp(group_size, "null") == 0 ? "channel" : "group");
    put("config.json", text, strlen(text));
    tk_err err = TK_ERR_INIT;
    tk_ckpt *c = NULL;
    if (tk_ckpt_open(dir, &c, &err) != TK_OK) fail_msg("%s", err.msg);
    return c;
}

// Opens the matrix [N_OUT x N_IN]: it must be refused with this status and these words.
static void expect(const part *parts, const char *group_size, tk_status want, const char *story)
{
    tk_err err = TK_ERR_INIT;
    tk_matrix m;
    tk_ckpt *c = snapshot(parts, group_size);
    tk_status st = tk_ckpt_matrix(c, "x.weight", N_OUT, N_IN, &m, &err);
    if (st != want || strstr(err.msg, story) == NULL)
        print_error("got %d \"%s\", wanted %d \"%s\"\n", (int)st, err.msg, (int)want, story);
    assert_int_equal(st, want);
    assert_non_null(strstr(err.msg, story));
    assert_non_null(strstr(err.msg, "model.safetensors"));
    tk_ckpt_close(c);
}

static uint8_t words[N_OUT * N_IN / 2];
static uint16_t scales[N_OUT * 4];
static int64_t shape[2] = {N_OUT, N_IN};
static const uint8_t zeros[512]; // of any type
static uint8_t codes[N_OUT * N_IN];

static void fill_tensors(void)
{
    for (size_t i = 0; i < sizeof codes; i++) codes[i] = (uint8_t)(i * 91 + 7);
    for (size_t i = 0; i < sizeof words; i++) words[i] = (uint8_t)(i * 37 + 11);
    for (size_t i = 0; i < TK_COUNT(scales); i++)
        scales[i] = tk_bf16_from_f32(0.01f * (float)(i + 1));
}

#define PACKED "weight_packed", "I32", "[3,16]", words, sizeof words
#define SCALE "weight_scale", "BF16", "[3,4]", scales, sizeof scales
#define SHAPE "weight_shape", "I64", "[2]", shape, sizeof shape
#define CODES "weight", "I8", "[3,128]", codes, sizeof codes
#define ROW_SCALE "weight_scale", "BF16", "[3,1]", scales, 6

static void int4_of_compressed_tensors_is_read(void **state)
{
    (void)state;
    static const part good[] = {{PACKED}, {SCALE}, {SHAPE}, {0}};
    float row[N_IN];
    tk_matrix m;
    fill_tensors();
    tk_ckpt *c = snapshot(good, "32");
    assert_true(tk_ckpt_has(c, "x.weight"));
    assert_int_equal(tk_ckpt_matrix(c, "x.weight", N_OUT, N_IN, &m, NULL), TK_OK);
    assert_int_equal(m.dtype, TK_DTYPE_I4);
    assert_int_equal(m.block_in, 32);
    assert_int_equal(tk_matrix_bytes(&m), sizeof words + sizeof scales);
    tk_matrix_decode(&m, 2, 0, N_IN, row);
    for (int k = 0; k < N_IN; k++) {
        int at = 2 * N_IN + k;
        uint32_t word;
        memcpy(&word, words + at / 8 * 4, sizeof word);
        int q = (int)(word >> (at % 8 * 4) & 15) - 8;
        assert_true(row[k] == (float)q * tk_f32_from_bf16(scales[2 * 4 + k / 32]));
    }
    assert_int_equal(tk_ckpt_verify(c, NULL), TK_OK);
    tk_ckpt_close(c);
}

// Fewer scales than by 32; a matrix without weight_shape; scales in the two other types.
static void int4_has_groups_of_any_multiple_of_32(void **state)
{
    (void)state;
    static const float f32[N_OUT * 2] = {1, 2, 3, 4, 5, 6};
    static const struct {
        part parts[3];
        const char *group_size;
        int group;
        tk_dtype type;
    } cases[] = {
        {{{PACKED}, {"weight_scale", "F32", "[3,2]", f32, sizeof f32}}, "64", 64, TK_DTYPE_F32},
        {{{PACKED}, {"weight_scale", "F16", "[3,1]", scales, 6}}, "128", 128, TK_DTYPE_F16},
        {{{PACKED}, {"weight_scale", "BF16", "[3,1]", scales, 6}}, "null", 128, TK_DTYPE_BF16},
        {{{PACKED}, {"weight_scale", "BF16", "[1]", scales, 2}}, "null", 128, TK_DTYPE_BF16},
    };
    fill_tensors();
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        tk_matrix m;
        tk_ckpt *c = snapshot(cases[i].parts, cases[i].group_size);
        assert_int_equal(tk_ckpt_matrix(c, "x.weight", N_OUT, N_IN, &m, NULL), TK_OK);
        assert_int_equal(m.block_in, cases[i].group);
        assert_int_equal(m.scale_dtype, cases[i].type);
        tk_ckpt_close(c);
    }
}

static void int4_of_other_shapes_is_refused(void **state)
{
    (void)state;
    static const int64_t other[2] = {N_OUT, 64};
    static const struct {
        part parts[4];
        const char *group_size, *story;
    } cases[] = {
        {{{"weight_packed", "I32", "[4,12]", words, sizeof words}, {SCALE}},
         "32",
         "\"x.weight_packed\" has shape [4 x 12], the config asks for [3 x 16]"},
        {{{"weight_packed", "I32", "[48]", words, sizeof words}, {SCALE}}, "32", "[48]"},
        {{{PACKED}, {SHAPE}}, "32", "\"x.weight_packed\" has no weight_scale beside it"},
        {{{PACKED}, {SHAPE}, {"weight_scale", "BF16", "[4,3]", scales, sizeof scales}},
         "32",
         "\"x.weight_scale\" has 3 scales for a row of 128 weights"},
        {{{PACKED}, {SHAPE}, {"weight_scale", "BF16", "[1,8]", scales, 16}},
         "32",
         "8 scales for a row"},
        {{{PACKED}, {SHAPE}, {"weight_scale", "BF16", "[3,0]", scales, 0}},
         "32",
         "0 scales for a row"},
        {{{PACKED}, {SHAPE}, {"weight_scale", "BF16", "[2,4]", scales, 16}},
         "32",
         "\"x.weight_scale\" has shape [2 x 4], the config asks for [3 x 4]"},
        {{{PACKED}, {SHAPE}, {"weight_scale", "U8", "[3,4]", scales, 12}}, "32", "as U8"},
        {{{PACKED}, {SHAPE}, {SCALE}},
         "64",
         "groups of 32, which the quantization config does not name"},
        {{{PACKED}, {SHAPE}, {SCALE}},
         "null",
         "groups of 32, which the quantization config does not"},
        {{{PACKED}, {SCALE}, {"weight_shape", "I64", "[2]", other, sizeof other}},
         "32",
         "\"x.weight_shape\" says [3 x 64], the config asks for [3 x 128]"},
        {{{PACKED}, {SCALE}, {"weight_shape", "I64", "[1]", other, 8}},
         "32",
         "no pair of integers"},
        {{{PACKED}, {SCALE}, {"weight_shape", "F32", "[2]", other, 8}},
         "32",
         "no pair of integers"},
    };
    fill_tensors();
    for (size_t i = 0; i < TK_COUNT(cases); i++)
        expect(cases[i].parts, cases[i].group_size, TK_BAD_INPUT, cases[i].story);
}

static void what_int4_cannot_be_is_refused_by_its_name(void **state)
{
    (void)state;
    static const part order[] = {
        {PACKED}, {SCALE}, {SHAPE}, {"weight_g_idx", "I32", "[128]", zeros, 512}, {0}};
    static const part asymmetric[] = {
        {PACKED}, {SCALE}, {"weight_zero_point", "I32", "[1,4]", zeros, 16}, {0}};
    static const part bits8[] = {
        {"weight_packed", "I32", "[3,32]", zeros, N_OUT * N_IN}, {SCALE}, {0}};
    fill_tensors();
    expect(order, "32", TK_UNSUPPORTED, "\"x.weight_g_idx\" beside it");
    expect(order, "32", TK_UNSUPPORTED, "actorder");
    expect(asymmetric, "32", TK_UNSUPPORTED, "\"x.weight_zero_point\" beside it");
    expect(asymmetric, "32", TK_UNSUPPORTED, "asymmetric (pack-quantized)");
    expect(bits8, "32", TK_UNSUPPORTED, "8 bits each");
}

static void int4_scales_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    static const struct {
        float scale;
        const char *story;
    } cases[] = {{NAN, "\"x.weight_scale\": scale 7 is"},
                 {INFINITY, "scale 7 is inf"},
                 {-0.5f, "scale 7 is -0.5"}};
    static const part parts[] = {{PACKED}, {SCALE}, {SHAPE}, {0}};
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        fill_tensors();
        scales[7] = tk_bf16_from_f32(cases[i].scale);
        expect(parts, "32", TK_BAD_INPUT, cases[i].story);
    }
    for (int zero = 0; zero < 2; zero++) { // of either sign: a group that is all zero
        tk_matrix m;
        fill_tensors();
        scales[7] = zero ? 0x8000 : 0;
        tk_ckpt *c = snapshot(parts, "32");
        assert_int_equal(tk_ckpt_matrix(c, "x.weight", N_OUT, N_IN, &m, NULL), TK_OK);
        tk_ckpt_close(c);
    }
}

static void int8_of_compressed_tensors_is_read(void **state)
{
    (void)state;
    static const struct {
        part parts[3];
        tk_scale_kind kind;
        int64_t cols;
    } cases[] = {
        {{{CODES}, {"weight_scale", "BF16", "[3,1]", scales, 6}}, TK_SCALE_GROUP, 1},
        {{{CODES}, {"weight_scale", "F16", "[3]", scales, 6}}, TK_SCALE_GROUP, 1},
        {{{CODES}, {"weight_scale", "BF16", "[]", scales, 2}}, TK_SCALE_BLOCK2D, 1},
        {{{CODES}, {"weight_scale", "BF16", "[1]", scales, 2}}, TK_SCALE_BLOCK2D, 1},
    };
    float row[N_IN];
    tk_matrix m;
    fill_tensors();
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        tk_ckpt *c = snapshot(cases[i].parts, "null");
        assert_int_equal(tk_ckpt_matrix(c, "x.weight", N_OUT, N_IN, &m, NULL), TK_OK);
        assert_int_equal(m.dtype, TK_DTYPE_I8);
        assert_int_equal(m.scale_kind, cases[i].kind);
        assert_int_equal(m.scale_cols, cases[i].cols);
        tk_matrix_decode(&m, 2, 0, N_IN, row);
        for (int k = 0; k < N_IN; k++) {
            float s = tk_matrix_scale(&m, m.scale_kind == TK_SCALE_GROUP ? 2 : 0, 0);
            assert_true(row[k] == (float)(int8_t)codes[2 * N_IN + k] * s);
        }
        tk_ckpt_close(c);
    }
}

static void int8_that_is_not_whole_is_refused(void **state)
{
    (void)state;
    static const struct {
        part parts[4];
        tk_status want;
        const char *story;
    } cases[] = {
        {{{CODES}}, TK_BAD_INPUT, "\"x.weight\" has no weight_scale beside it"},
        {{{"weight", "I8", "[128,3]", codes, sizeof codes}, {ROW_SCALE}},
         TK_BAD_INPUT,
         "\"x.weight\" has shape [128 x 3], the config asks for [3 x 128]"},
        {{{CODES}, {"weight_scale", "BF16", "[4,1]", scales, 8}},
         TK_BAD_INPUT,
         "\"x.weight_scale\" has shape [4 x 1], the config asks for [3 x 1]"},
        {{{CODES}, {"weight_scale", "BF16", "[0]", scales, 0}}, TK_BAD_INPUT, "has shape [0]"},
        {{{CODES}, {ROW_SCALE}, {"weight_zero_point", "I8", "[3,1]", zeros, 3}},
         TK_UNSUPPORTED,
         "asymmetric"},
        {{{CODES}, {ROW_SCALE}, {"pre_quant_scale", "F32", "[128]", zeros, 512}},
         TK_UNSUPPORTED,
         "\"x.pre_quant_scale\" beside it"},
    };
    fill_tensors();
    for (size_t i = 0; i < TK_COUNT(cases); i++)
        expect(cases[i].parts, "null", cases[i].want, cases[i].story);
    scales[1] = 0x7FC0;
    expect((const part[]){{CODES}, {ROW_SCALE}, {0}}, "null", TK_BAD_INPUT, "scale 1 is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(int4_of_compressed_tensors_is_read),
        cmocka_unit_test(int4_has_groups_of_any_multiple_of_32),
        cmocka_unit_test(int4_of_other_shapes_is_refused),
        cmocka_unit_test(what_int4_cannot_be_is_refused_by_its_name),
        cmocka_unit_test(int4_scales_that_are_no_numbers_are_refused),
        cmocka_unit_test(int8_of_compressed_tensors_is_read),
        cmocka_unit_test(int8_that_is_not_whole_is_refused),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
