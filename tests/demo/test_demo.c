// SPDX-License-Identifier: MIT
// The demo model gives the texts that transformers gives (models/demo/train/transformers_texts.json), on
// every instruction set and whatever the number of threads.
#include "base/json.h"
#include "base/log.h"
#include "engine/generate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static json_t *cases;

static int32_t *ids_of(const json_t *j, int32_t *n)
{
    *n = (int32_t)json_array_size(j);
    int32_t *ids = calloc((size_t)*n + 1, sizeof *ids);
    for (int32_t i = 0; i < *n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(j, (size_t)i));
    return ids;
}

static void check_case(tk_model *m, const json_t *c)
{
    int32_t n_prompt, n_want;
    int32_t *prompt = ids_of(json_object_get(c, "prompt_ids"), &n_prompt);
    int32_t *want = ids_of(json_object_get(c, "new_ids"), &n_want);
    tk_request r = {.sample = tk_sample_opts_default(), .max_tokens = n_want};
    tk_answer a;
    tk_err err = TK_ERR_INIT;
    tk_engine_rewind(m->engine, 0);
    assert_int_equal(tk_answer_make(m, prompt, n_prompt, &r, NULL, NULL, NULL, &a, &err), TK_OK);
    while (n_want > 0 && want[n_want - 1] == m->end[0])
        n_want--; // their end token, when it is listed
    assert_int_equal(a.n, n_want);
    assert_memory_equal(a.ids, want, (size_t)n_want * sizeof *want);
    tk_answer_free(&a);
    free(prompt);
    free(want);
}

#ifdef __SANITIZE_ADDRESS__ // the reference kernels take minutes then
enum { REFERENCE_CASES = 3 };
#else
enum { REFERENCE_CASES = 1000 };
#endif

static void check_all(bool reference, tk_isa isa, int n_thread)
{
    tk_engine_opts eo = tk_engine_opts_default();
    tk_model m;
    tk_err err = TK_ERR_INIT;
    eo.reference = reference;
    eo.isa = isa;
    eo.n_thread = n_thread;
    eo.n_ctx = 512;
    assert_int_equal(tk_model_open(TK_SOURCE_DIR "/models/demo", &eo, true, &m, &err), TK_OK);
    assert_int_equal(tk_engine_load(m.engine, 0, &err), TK_OK);
    size_t i;
    json_t *c;
    assert_true(json_array_size(cases) >= 20);
    json_array_foreach(cases, i, c) if (!reference || i < REFERENCE_CASES) check_case(&m, c);
    tk_model_close(&m);
}

static void reference_kernels_give_the_texts_of_transformers(void **state)
{
    (void)state;
    check_all(true, TK_ISA_REF, 2);
}

static void fast_kernels_give_the_texts_of_transformers(void **state)
{
    (void)state;
    for (int isa = TK_ISA_AVX2; isa < TK_ISA_COUNT; isa++) check_all(false, (tk_isa)isa, isa);
}

static void a_question_is_answered_through_the_chat_template(void **state)
{
    (void)state;
    tk_engine_opts eo = tk_engine_opts_default();
    tk_model m;
    tk_answer a;
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(tk_model_open(TK_SOURCE_DIR "/models/demo", &eo, true, &m, NULL), TK_OK);
    assert_int_equal(tk_engine_load(m.engine, 512, NULL), TK_OK);
    assert_int_equal(tk_model_prompt(&m, NULL, "What is 109 + 802?", false, &ids, &n, NULL), TK_OK);
    tk_request r = {.sample = tk_sample_opts_default(), .max_tokens = 200};
    assert_int_equal(tk_answer_make(&m, ids, (int32_t)n, &r, NULL, NULL, NULL, &a, NULL), TK_OK);
    assert_non_null(strstr(tk_buf_str(&a.text), "</think>\n\n911"));
    assert_string_equal(tk_answer_finish_reason(&a), "stop");
    tk_answer_free(&a);
    const char *stop = "carry";
    r.stop = &stop;
    r.n_stop = 1;
    tk_engine_rewind(m.engine, 0);
    assert_int_equal(tk_answer_make(&m, ids, (int32_t)n, &r, NULL, NULL, NULL, &a, NULL), TK_OK);
    assert_null(strstr(tk_buf_str(&a.text), "carry"));
    assert_true(a.hit_stop);
    tk_answer_free(&a);
    free(ids);
    tk_model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_kernels_give_the_texts_of_transformers),
        cmocka_unit_test(fast_kernels_give_the_texts_of_transformers),
        cmocka_unit_test(a_question_is_answered_through_the_chat_template),
    };
    tk_log_set_level(TK_LOG_QUIET);
    if (tk_json_load(TK_SOURCE_DIR "/models/demo/train/transformers_texts.json", &cases, NULL) !=
        TK_OK)
        return 1;
    int failed = cmocka_run_group_tests_name("demo model", tests, NULL, NULL);
    json_decref(cases);
    return failed;
}
