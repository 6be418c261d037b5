// SPDX-License-Identifier: MIT
// The catalogues as committed, the mistakes their loader refuses, and the two ways to a model's shape.
#include "plan/catalog.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static tk_catalog *catalog;

static int open_catalog(void **state)
{
    (void)state;
    tk_err err = TK_ERR_INIT;
    if (tk_catalog_open(TK_SOURCE_DIR "/data", &catalog, &err) == TK_OK) return 0;
    fprintf(stderr, "%s\n", err.msg);
    return -1;
}

static int close_catalog(void **state)
{
    (void)state;
    tk_catalog_close(catalog);
    return 0;
}

static const tk_hw *hw(const char *name)
{
    const tk_hw *h = NULL;
    tk_err err = TK_ERR_INIT;
    if (tk_catalog_hw(catalog, name, &h, &err) != TK_OK) fail_msg("%s", err.msg);
    return h;
}

static const tk_shape *shape(const char *name)
{
    const tk_model_entry *m = NULL;
    tk_err err = TK_ERR_INIT;
    if (tk_catalog_model(catalog, name, &m, &err) != TK_OK) fail_msg("%s", err.msg);
    return &m->shape;
}

static void names_and_aliases_find_entries(void **state)
{
    (void)state;
    assert_string_equal(hw("DGX-B200")->part, "b200");
    assert_int_equal(hw("gb200 nvl72")->n_accel, 72);
    assert_string_equal(hw("A100 80GB")->name, "a100");
    assert_string_equal(shape("deepseek-r1")->name, "deepseek-v3");
    assert_string_equal(shape("DeepSeek-V3/R1")->name, "deepseek-v3");
}

static void unknown_names_suggest_the_nearest(void **state)
{
    (void)state;
    const tk_hw *h;
    const tk_model_entry *m;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_catalog_hw(catalog, "dgx-b20", &h, &err), TK_BAD_INPUT);
    assert_non_null(strstr(err.msg, "did you mean \"dgx-b200\""));
    err = (tk_err)TK_ERR_INIT;
    assert_int_equal(tk_catalog_model(catalog, "llama-3.1-70", &m, &err), TK_BAD_INPUT);
    assert_non_null(strstr(err.msg, "did you mean \"llama-3.1-70b\""));
}

// A correct part; each case edits one number.
static const char part[] =
    "{\"name\":\"x\",\"title\":\"X\",\"generation\":\"hopper\",\"link_generation\":\"nvlink4\","
    "\"bf16\":{\"value\":989,\"unit\":\"TFLOP/s dense\",\"source\":\"s\"},"
    "\"fp8\":{\"value\":%s,\"unit\":\"%s\",\"source\":\"s\"},"
    "\"memory\":{\"value\":%s,\"unit\":\"%s\",\"source\":\"%s\"},"
    "\"memory_bandwidth\":{\"value\":3.35,\"unit\":\"TB/s\",\"source\":\"s\"},"
    "\"link\":{\"value\":%s,\"unit\":\"%s\",\"source\":\"s\"},"
    "\"sources\":{\"s\":{\"what\":\"w\",\"date\":\"2026\"}}}";

static void expect_part(const char *fp8, const char *fp8_unit, const char *mem,
                        const char *mem_unit, const char *mem_source, const char *link,
                        const char *link_unit, const char *story)
{
    char text[2048];
    snprintf(text, sizeof text, part, fp8, fp8_unit, mem, mem_unit, mem_source, link, link_unit);
    json_t *j = NULL;
    tk_hw h;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_json_parse(text, strlen(text), "x.json", &j, &err), TK_OK);
    tk_status st = tk_catalog_read_hw(j, NULL, "x.json", &h, &err);
    json_decref(j);
    if (story == NULL) {
        assert_int_equal(st, TK_OK);
        return;
    }
    assert_int_equal(st, TK_BAD_INPUT);
    if (strstr(err.msg, story) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.msg, story);
}

static void usual_mistakes_are_refused_with_the_reason(void **state)
{
    (void)state;
    const char *tf = "TFLOP/s dense", *gb = "GB", *ow = "GB/s one way";
    expect_part("1979", tf, "80", gb, "s", "450", ow, NULL);
    expect_part("3958", tf, "80", gb, "s", "450", ow, "sparse");
    expect_part("1979", "TFLOP/s sparse", "80", gb, "s", "450", ow, "twice the dense");
    expect_part("1979", tf, "80", "GiB", "s", "450", ow, "1 GiB is 1.074 GB");
    expect_part("1979", tf, "85.9", gb, "s", "450", ow, "80 GiB");
    expect_part("1979", tf, "80", gb, "s", "900", ow, "both ways");
    expect_part("1979", tf, "80", gb, "s", "450", "GB/s both ways", "twice the one-way");
    expect_part("1979", tf, "-80", gb, "s", "450", ow, "not a positive number");
    expect_part("1979", tf, "80", gb, "nobody", "450", ow, "no source with a date");
}

// A label of 80 GB means GiB: nvidia-smi says 81,559 MiB, 85.5 GB. Taken for GB, caches come out 7 % and more too small.
static void runtimes_see_gib(void **state)
{
    (void)state;
    static const struct {
        const char *part;
        double mib;
    } seen[] = {{"h100", 81559}, {"gb300", 284208}};
    for (size_t i = 0; i < TK_COUNT(seen); i++) {
        double share = hw(seen[i].part)->mem_usable_bytes / (seen[i].mib * 1048576);
        assert_true(share > 0.98 && share <= 1.001);
    }
}

static void kv_bytes_match_the_published_table(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        double bytes;
    } rows[] = {{"deepseek-r1", 70272},      {"kimi-k2", 70272},        {"deepseek-v2-lite", 31104},
                {"llama-3.1-8b", 131072},    {"llama-3.1-70b", 327680}, {"llama-3.1-405b", 516096},
                {"qwen3-235b-a22b", 192512}, {"qwen3-30b-a3b", 98304},  {"gpt3-175b", 4718592},
                {"gpt-oss-120b", 73728}};
    for (size_t i = 0; i < TK_COUNT(rows); i++) {
        tk_shape_size s;
        tk_shape_measure(shape(rows[i].model), &s);
        assert_float_equal(2 * s.kv_floats, rows[i].bytes, 0.5);
    }
    // windows: half of gpt-oss's layers stop at 128 tokens
    assert_float_equal(2 * tk_shape_kv_floats(shape("gpt-oss-120b"), 4096),
                       73728 * 0.5 * (4096 + 128), 1);
}

static void flop_per_training_token_matches_mlperf(void **state)
{
    (void)state;
    const tk_shape *s = shape("llama-3.1-405b");
    double flop = 3 * (tk_shape_linear_flop(s) + tk_shape_attention_flop(s, 8192 / 2.0, true));
    assert_float_equal(flop * 1e-12, 2.537, 0.02); // note, section 2.3
}

// The description of a shape and the engine's program must be the same model.
static void description_equals_program(void **state)
{
    (void)state;
    static const struct {
        const char *model, *text;
    } rows[] = {
        {"deepseek-v3",
         "{\"hidden\":7168,\"vocab\":129280,\"layers\":["
         "{\"n\":3,\"attention\":{\"kind\":\"mla\",\"heads\":128,\"q_lora\":1536,\"kv_lora\":512,"
         "\"nope\":128,\"rope\":64,\"v\":128},\"ffn\":{\"dense\":18432}},"
         "{\"n\":58,\"attention\":{\"kind\":\"mla\",\"heads\":128,\"q_lora\":1536,\"kv_lora\":512,"
         "\"nope\":128,\"rope\":64,\"v\":128},"
         "\"ffn\":{\"experts\":256,\"used\":8,\"width\":2048,\"shared\":2048,\"groups\":8,"
         "\"groups_used\":4}}]}"},
        {"llama-3.1-8b",
         "{\"hidden\":4096,\"vocab\":128256,\"layers\":[{\"n\":32,\"attention\":{\"kind\":\"gqa\","
         "\"heads\":32,\"kv_heads\":8,\"dim\":128},\"ffn\":{\"dense\":14336}}]}"},
        {"qwen3-30b-a3b",
         "{\"hidden\":2048,\"vocab\":151936,\"layers\":[{\"n\":48,\"attention\":{\"kind\":\"gqa\","
         "\"heads\":32,\"kv_heads\":4,\"dim\":128},"
         "\"ffn\":{\"experts\":128,\"used\":8,\"width\":768}}]}"},
    };
    for (size_t i = 0; i < TK_COUNT(rows); i++) {
        json_t *j = NULL;
        tk_shape a;
        const tk_shape *b = shape(rows[i].model);
        tk_err err = TK_ERR_INIT;
        assert_int_equal(tk_json_parse(rows[i].text, strlen(rows[i].text), "t", &j, &err), TK_OK);
        assert_int_equal(tk_shape_from_json(j, rows[i].model, "t", &a, &err), TK_OK);
        json_decref(j);
        assert_int_equal(a.n_group, b->n_group);
        assert_int_equal(a.n_layer, b->n_layer);
        assert_int_equal(a.mla, b->mla);
        for (int g = 0; g < a.n_group; g++) {
            const tk_shape_layer *x = &a.layer[g], *y = &b->layer[g];
            assert_int_equal(x->n, y->n);
            assert_float_equal(x->attn_sharded, y->attn_sharded, 0);
            assert_float_equal(x->attn_replicated, y->attn_replicated, 0);
            assert_float_equal(x->attn_out, y->attn_out, 0);
            assert_int_equal(x->n_route, y->n_route);
            assert_int_equal(x->n_route_used, y->n_route_used);
            assert_float_equal(x->ffn, y->ffn, 0);
            assert_float_equal(x->router, y->router, 0);
            assert_float_equal(x->expert, y->expert, 0);
            assert_float_equal(x->kv, y->kv, 0);
            assert_float_equal(x->ctx_flop, y->ctx_flop, 0);
            assert_float_equal(x->ctx_flop_prefill, y->ctx_flop_prefill, 0);
            assert_int_equal(x->kv_heads, y->kv_heads);
            assert_int_equal(x->n_gemm, y->n_gemm);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_aliases_find_entries),
        cmocka_unit_test(unknown_names_suggest_the_nearest),
        cmocka_unit_test(usual_mistakes_are_refused_with_the_reason),
        cmocka_unit_test(runtimes_see_gib),
        cmocka_unit_test(kv_bytes_match_the_published_table),
        cmocka_unit_test(flop_per_training_token_matches_mlperf),
        cmocka_unit_test(description_equals_program),
    };
    return cmocka_run_group_tests(tests, open_catalog, close_catalog);
}
