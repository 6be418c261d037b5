// SPDX-License-Identifier: MIT
// SmolLM2-135M-Instruct Q4_1 against what llama.cpp answers with the same weights widened to F32
// (smollm2_reference.json; README.md says how it was made). The model is not part of the tree: fetch-smollm2.sh
// brings it. Where it is not there the tests are counted as skipped.
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

// Natural logarithms.
#define MAX_OFF_REF 0.005
#define MEAN_OFF_FAST 0.05
// Between llama.cpp's two best tokens: closer than this, the other one is no error.
#define CLOSE 0.2

enum { MAX_TOK = 256, N_CASE_REF = 4 };

static const char *model_path(void)
{
    const char *path = getenv("TOKAMAK_SMOLLM2");
    return path ? path : TK_BINARY_DIR "/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
}

static int read_ids(const json_t *list, int32_t *out, int n)
{
    size_t i;
    json_t *id;
    json_array_foreach(list, i, id)
    {
        assert_true(n < MAX_TOK);
        out[n++] = (int32_t)json_integer_value(id);
    }
    return n;
}

static double log_sum_exp(const float *x, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) max = fmax(max, (double)x[i]);
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - max);
    return max + log(sum);
}

static int best_of(const float *x, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

typedef struct tally {
    int n;
    double sum, worst;
} tally;

// Logits of the tokens after which llama.cpp chose: [n_answer][n_vocab] in logits.
static void feed(tk_engine *e, const int32_t *ids, int n_prompt, int n_answer, float *logits)
{
    tk_err err = TK_ERR_INIT;
    tk_kv_table seq = {0};
    tk_exec *x = tk_engine_exec(e);
    int most = tk_exec_plan_of(x)->n_step_tok, all = n_prompt + n_answer - 1, written = 0;
    int32_t n_vocab = tk_engine_program(e)->cfg.n_vocab;
    for (int at = 0; at < all; at += most) {
        int n = TK_MIN(most, all - at), wanted = TK_MAX(0, TK_MIN(n, at + n - (n_prompt - 1)));
        tk_step_part part = {.seq = &seq,
                             .ids = ids + at,
                             .n = n,
                             .n_logits = wanted,
                             .logits = logits + (size_t)written * (size_t)n_vocab};
        if (tk_exec_step(x, &part, 1, &err) != TK_OK) fail_msg("%s", err.msg);
        written += wanted;
    }
    assert_int_equal(written, n_answer);
    tk_kv_table_clear(tk_exec_kv_pool(x), &seq);
}

// One prompt with llama.cpp's answer forced; positions it gives no probability for (null) are passed over.
static void compare(tk_engine *e, const json_t *one, tally *t)
{
    int32_t ids[MAX_TOK], n_vocab = tk_engine_program(e)->cfg.n_vocab;
    int n_prompt = read_ids(json_object_get(one, "prompt_ids"), ids, 0),
        n_answer = read_ids(json_object_get(one, "ids"), ids, n_prompt) - n_prompt;
    const json_t *logprobs = json_object_get(one, "logprobs"),
                 *margins = json_object_get(one, "margins");
    float *logits = tk_alloc((size_t)n_answer * (size_t)n_vocab * sizeof *logits);
    feed(e, ids, n_prompt, n_answer, logits);
    for (int i = 0; i < n_answer; i++) {
        const json_t *logprob = json_array_get(logprobs, (size_t)i);
        if (!json_is_number(logprob)) continue;
        const float *row = logits + (size_t)i * (size_t)n_vocab;
        int32_t id = ids[n_prompt + i];
        double off = fabs((double)row[id] - log_sum_exp(row, n_vocab) - json_number_value(logprob)),
               margin = json_number_value(json_array_get(margins, (size_t)i));
        if (best_of(row, n_vocab) != id && margin > CLOSE)
            fail_msg("\"%s\": token %d is another one, though llama.cpp's two best are %.3f apart",
                     json_string_value(json_object_get(one, "text")), i, margin);
        t->n++;
        t->sum += off;
        if (!(off <= t->worst)) t->worst = off;
    }
    tk_free(logits);
}

static tally compare_all(bool reference, bool repack, size_t n_case)
{
    tk_err err = TK_ERR_INIT;
    tk_engine *e = NULL;
    tk_engine_opts o = tk_engine_opts_default();
    json_t *root = NULL;
    tally t = {0};
    o.reference = reference;
    o.repack = repack;
    if (tk_kernels_allowed(&o.isa, &err) != TK_OK) fail_msg("%s", err.msg);
    if (tk_json_load(TK_SOURCE_DIR "/tests/parity/smollm2_reference.json", &root, &err) != TK_OK)
        fail_msg("%s", err.msg);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= n_case);
    if (tk_engine_open(model_path(), &o, &e, &err) != TK_OK) fail_msg("%s", err.msg);
    if (tk_engine_load(e, MAX_TOK, &err) != TK_OK) fail_msg("%s", err.msg);
    for (size_t i = 0; i < n_case; i++) compare(e, json_array_get(cases, i), &t);
    print_message("SmolLM2, %s kernels, %d tokens: log-probabilities off by %.6f on average, "
                  "at most %.6f\n",
                  reference ? "reference"
                  : repack  ? "fast, packed"
                            : "fast",
                  t.n, t.sum / t.n, t.worst);
    tk_engine_close(e);
    json_decref(root);
    return t;
}

static void reference_kernels_give_the_probabilities_of_llama_cpp(void **state)
{
    (void)state;
    if (access(model_path(), R_OK) != 0) skip();
    tally t = compare_all(true, false, N_CASE_REF);
    assert_true(t.n > 0 && t.worst <= MAX_OFF_REF);
}

static void fast_kernels_stay_near_the_probabilities_of_llama_cpp(void **state)
{
    (void)state;
    if (access(model_path(), R_OK) != 0) skip();
    tally t = compare_all(false, false, 20);
    assert_true(t.n > 0 && t.sum / t.n <= MEAN_OFF_FAST);
}

static void packed_weights_stay_as_near(void **state)
{
    (void)state;
    if (access(model_path(), R_OK) != 0) skip();
    tally t = compare_all(false, true, 20);
    assert_true(t.n > 0 && t.sum / t.n <= MEAN_OFF_FAST);
}

int main(void)
{
    tk_log_set_level(TK_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_kernels_give_the_probabilities_of_llama_cpp),
        cmocka_unit_test(fast_kernels_stay_near_the_probabilities_of_llama_cpp),
        cmocka_unit_test(packed_weights_stay_as_near),
    };
    return cmocka_run_group_tests_name("parity with llama.cpp", tests, NULL, NULL);
}
