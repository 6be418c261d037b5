// SPDX-License-Identifier: MIT
// Points and their predictions: reading, layouts, refusals, and that the measured value is not looked at.
#include "plan/validate.h"

#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static tk_catalog *catalog;
static tk_constants *constants;

static int open_all(void **state)
{
    (void)state;
    tk_err err = TK_ERR_INIT;
    if (tk_catalog_open(TK_SOURCE_DIR "/data", &catalog, &err) == TK_OK &&
        tk_constants_load(catalog, &constants, &err) == TK_OK)
        return 0;
    fprintf(stderr, "%s\n", err.msg);
    return -1;
}

static int close_all(void **state)
{
    (void)state;
    tk_free(constants);
    tk_catalog_close(catalog);
    return 0;
}

static tk_points read_text(const char *text)
{
    tk_points p;
    tk_err err = TK_ERR_INIT;
    if (tk_points_read(text, strlen(text), "t", &p, &err) != TK_OK) fail_msg("%s", err.msg);
    return p;
}

#define HEAD                                                                                       \
    "id,kind,metric,model,accelerator,n_accel,precision,framework,parallelism,isl,osl,"            \
    "concurrency_or_batch,value\n"

static void quotes_newlines_and_column_order_are_read(void **state)
{
    (void)state;
    tk_points p = read_text("value,model,kind,id,metric,accelerator\r\n"
                            "2.5,\"a,\"\"b\"\"\nc\",inference,x,tpot_mean,H100\r\n\r\n"
                            "nan,m,k,y,z\n1e400,m,k,w,z,h");
    assert_int_equal(p.n, 3);
    assert_string_equal(p.p[0].f[TK_COL_MODEL], "a,\"b\"\nc");
    assert_string_equal(p.p[0].f[TK_COL_ID], "x");
    assert_float_equal(p.value[0], 2.5, 0);
    assert_true(isnan(p.value[1]));
    assert_true(isnan(p.value[2]));                        // infinite is no value
    assert_string_equal(p.p[1].f[TK_COL_ACCELERATOR], ""); // a short row
    tk_points_free(&p);
}

static void a_missing_column_is_named(void **state)
{
    (void)state;
    tk_points p;
    tk_err err = TK_ERR_INIT;
    const char *text = "id,kind,metric,accelerator\n1,2,3,4\n";
    assert_int_equal(tk_points_read(text, strlen(text), "t", &p, &err), TK_BAD_INPUT);
    assert_non_null(strstr(err.msg, "\"model\""));
}

static void layouts_are_read_from_words(void **state)
{
    (void)state;
    tk_layout l = tk_layout_parse("TP8 PP1 attnDP1 moeTP2 EP4");
    assert_int_equal(l.tp, 8);
    assert_int_equal(l.moe_tp, 2);
    assert_int_equal(l.ep, 4);
    assert_int_equal(l.dp, 1);
    l = tk_layout_parse("TP1 x8, batch 2048");
    assert_int_equal(l.replicas, 8);
    assert_int_equal(l.max_batch, 2048);
    l = tk_layout_parse("9 replicas of TP8 + attention DP, batch 512/rank");
    assert_int_equal(l.replicas, 9);
    assert_true(l.attention_dp);
    l = tk_layout_parse("TP4 PP8 VP6 CP2 mbs2");
    assert_int_equal(l.vp, 6);
    assert_int_equal(l.mbs, 2);
    assert_int_equal(l.cp, 2);
    tk_points p = read_text(HEAD "1,inference,tpot_mean,m,h,12,fp4,trtllm,\"prefill: 2x(TP4 EP4) "
                                 "bs; decode: 1x(TP8 EP8) bs\",1,1,1,1\n");
    assert_true(p.p[0].disagg);
    assert_int_equal(p.p[0].n_prefill, 2);
    assert_int_equal(p.p[0].prefill.tp, 4);
    assert_int_equal(p.p[0].run.tp, 8);
    tk_points_free(&p);
}

static void what_is_not_understood_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *row, *why;
    } rows[] = {
        {"a,inference,tpot_mean,llama-3.1-70,H100,8,fp8,vllm,TP8,1024,1024,4,1", "did you mean"},
        {"a,inference,tpot_mean,llama-3.1-70b,H10,8,fp8,vllm,TP8,1024,1024,4,1", "did you mean"},
        {"a,inference,tpot_mean,llama-3.1-70b,H100,8,fp8,lmdeploy,TP8,1024,1024,4,1",
         "has no constants"},
        {"a,inference,tpot_mean,llama-3.1-405b,H100,1,bf16,vllm,TP1,1024,1024,4,1", "no room"},
        {"a,inference,tpot_mean,llama-3.1-70b,H100,6,fp8,vllm,TP6,1024,1024,4,1",
         "TP6 does not divide 64 attention heads"},
        {"a,inference,tpot_mean,llama-3.1-70b,H100,8,fp8,vllm,TP8,trace,trace,4,1",
         "are not numbers"},
        {"a,inference,hugs,llama-3.1-70b,H100,8,fp8,vllm,TP8,1024,1024,4,1", "is not modelled"},
        {"a,cooking,tpot_mean,llama-3.1-70b,H100,8,fp8,vllm,TP8,1024,1024,4,1",
         "none of inference"},
        {"a,training,tok_s_gpu_step,llama-3.1-70b,H100,7,FP8,NeMo,TP4 PP8,8192,,256,1",
         "does not divide 7"},
        {",inference,tpot_mean,llama-3.1-70b,H100,8,fp8,vllm,TP8,1024,1024,4,1", "has no id"},
    };
    tk_predictor p = {catalog, &constants->k, &constants->fx};
    for (size_t i = 0; i < TK_COUNT(rows); i++) {
        char text[512];
        snprintf(text, sizeof text, "%s%s\n", HEAD, rows[i].row);
        tk_points pts = read_text(text);
        tk_prediction out;
        tk_predict(&p, &pts.p[0], &out);
        if (strstr(out.refused, rows[i].why) == NULL)
            fail_msg("row %zu: \"%s\" does not say \"%s\"", i, out.refused, rows[i].why);
        tk_points_free(&pts);
    }
}

// InferenceX wrote its first pools on GB200 as one layout over all ranks; elsewhere such a row is what it says.
static void a_whole_service_is_read_as_its_pools(void **state)
{
    (void)state;
    tk_predictor p = {catalog, &constants->k, NULL};
    tk_points pts = read_text(
        "id,kind,metric,system,model,accelerator,n_accel,precision,framework,parallelism,isl,osl,"
        "concurrency_or_batch,value\n"
        "a,inference,ttft_mean,InferenceX,deepseek-v3,GB200,36,fp4,trtllm,TP36 "
        "EP1,1024,1024,1075,1\n"
        "b,inference,ttft_mean,InferenceX,deepseek-v3,GB200,28,fp4,trtllm,TP28 "
        "EP1,8192,1024,2150,1\n"
        "c,inference,ttft_mean,InferenceX,deepseek-v3,GB200,8,fp4,trtllm,TP8 EP1,1024,1024,64,1\n");
    const int write[] = {32, 8, 0};
    assert_int_equal(pts.n, TK_COUNT(write));
    for (size_t i = 0; i < TK_COUNT(write); i++) {
        tk_prediction out;
        tk_serve_in in;
        tk_predict(&p, &pts.p[i], &out);
        assert_string_equal(out.refused, "");
        assert_int_equal(out.cls, write[i] ? TK_CLASS_TTFT_DISAGG : TK_CLASS_TTFT);
        tk_ask ask = {&p, &pts.p[i], &out};
        assert_int_equal(tk_predict_case(&ask, &in, NULL), TK_OK);
        assert_int_equal(in.disagg, write[i] > 0);
        if (write[i]) assert_int_equal(in.decode.at.dp, write[i]);
    }
    tk_points_free(&pts);
}

// The values of the committed corpus are turned round among its rows: every prediction stays as it was.
static void values_do_not_change_predictions(void **state)
{
    (void)state;
    tk_points a, b;
    tk_err err = TK_ERR_INIT;
    const char *path = TK_SOURCE_DIR "/tests/fuzz/corpus/points/kinds.csv";
    assert_int_equal(tk_points_load(path, &a, &err), TK_OK);
    assert_int_equal(tk_points_load(path, &b, &err), TK_OK);
    assert_true(a.n > 40);
    for (int i = 0; i < b.n; i++) b.value[i] = a.value[(i * 7 + 3) % a.n];
    tk_validation *va = tk_validate(catalog, constants, &a),
                  *vb = tk_validate(catalog, constants, &b);
    int n = 0;
    for (int i = 0; i < a.n; i++) {
        assert_string_equal(va->row[i].p.refused, vb->row[i].p.refused);
        if (va->row[i].p.refused[0]) continue;
        assert_float_equal(va->row[i].p.value, vb->row[i].p.value, 0);
        assert_float_equal(va->row[i].low, vb->row[i].low, 0);
        assert_float_equal(va->row[i].high, vb->row[i].high, 0);
        n++;
    }
    assert_true(n > 30);
    json_t *j = tk_validation_json(va);
    assert_int_equal(json_array_size(tk_json_get(j, "rows")), a.n);
    json_decref(j);
    tk_validation_free(va);
    tk_validation_free(vb);
    tk_points_free(&a);
    tk_points_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_newlines_and_column_order_are_read),
        cmocka_unit_test(a_missing_column_is_named),
        cmocka_unit_test(layouts_are_read_from_words),
        cmocka_unit_test(what_is_not_understood_is_refused_with_the_reason),
        cmocka_unit_test(a_whole_service_is_read_as_its_pools),
        cmocka_unit_test(values_do_not_change_predictions),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
