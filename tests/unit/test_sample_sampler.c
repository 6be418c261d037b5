// SPDX-License-Identifier: MIT
// The sampler against a plain one that sorts everything, and its parts against their formulas.
#include "base/rng.h"
#include "sample/sampler.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 300 };

typedef struct item {
    float logit;
    int32_t id;
} item;

static int by_logit(const void *a, const void *b)
{
    const item *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

// The definition: sort, cut by top-k, top-p, min-p, walk.
static int32_t plain_draw(const float *logits, const uint64_t *mask, const tk_sample_opts *o,
                          double unit)
{
    item c[N];
    double p[N], sum = 0, mass = 0;
    int n = 0, k = 0;
    for (int i = 0; i < N; i++)
        if (!mask || (mask[i / 64] >> (i % 64) & 1)) c[n++] = (item){logits[i], i};
    qsort(c, (size_t)n, sizeof *c, by_logit);
    if (o->top_k > 0 && o->top_k < n) n = (int)o->top_k;
    for (int i = 0; i < n; i++)
        sum += p[i] = exp(((double)c[i].logit - c[0].logit) / o->temperature);
    if (o->top_p < 1) {
        while (k < n && mass < o->top_p * sum) mass += p[k++];
        n = k;
    }
    for (k = 1; k < n && o->min_p > 0 && p[k] >= o->min_p;) k++;
    if (o->min_p > 0) n = k;
    sum = 0;
    for (int i = 0; i < n; i++) sum += p[i];
    double left = unit * sum;
    for (k = 0; k < n - 1 && (left -= p[k]) >= 0;) k++;
    return c[k].id;
}

static void a_draw_is_that_of_a_sampler_that_sorts_everything(void **state)
{
    (void)state;
    tk_sample_scratch *w = tk_sample_scratch_new(N);
    tk_rng rng = {.state = 7};
    int n_different = 0;
    for (int round = 0; round < 4000; round++) {
        float logits[N];
        uint64_t mask[(N + 63) / 64];
        for (int i = 0; i < N; i++) // few distinct values: ties
            logits[i] = (float)tk_rng_below(&rng, 40) * 0.25f;
        for (size_t i = 0; i < (N + 63) / 64; i++) mask[i] = tk_rng_u64(&rng) & tk_rng_u64(&rng);
        mask[0] |= 2;
        tk_sample_opts o = tk_sample_opts_default();
        o.temperature = 0.3 + tk_rng_unit(&rng);
        if (tk_rng_below(&rng, 2)) o.top_k = (int64_t)tk_rng_below(&rng, 20);
        if (tk_rng_below(&rng, 2)) o.top_p = 0.01 + 0.99 * tk_rng_unit(&rng);
        if (tk_rng_below(&rng, 2)) o.min_p = tk_rng_unit(&rng);
        o.seed = tk_rng_u64(&rng);
        const uint64_t *m = tk_rng_below(&rng, 2) ? mask : NULL;
        tk_sampler *s = tk_sampler_new(&o);
        tk_rng drawn = {.state = o.seed};
        for (int i = 0; i < 3;
             i++) // sums are added in another order: a draw on a border may differ
            n_different +=
                tk_sampler_draw(s, w, logits, m) != plain_draw(logits, m, &o, tk_rng_unit(&drawn));
        tk_sampler_free(s);
    }
    assert_true(n_different <= 2);
    tk_sample_scratch_free(w);
}

static void draws_follow_the_distribution(void **state)
{
    (void)state;
    const float logits[4] = {0, 1, 2, 3};
    int count[4] = {0};
    tk_sample_opts o = tk_sample_opts_default();
    o.temperature = 2;
    o.seed = 5;
    tk_sampler *s = tk_sampler_new(&o);
    tk_sample_scratch *w = tk_sample_scratch_new(4);
    enum { N_DRAW = 100000 };
    for (int i = 0; i < N_DRAW; i++) count[tk_sampler_draw(s, w, logits, NULL)]++;
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += exp(logits[i] / 2);
    for (int i = 0; i < 4; i++) { // five standard deviations
        double p = exp(logits[i] / 2) / sum;
        assert_true(fabs(count[i] - N_DRAW * p) < 5 * sqrt(N_DRAW * p * (1 - p)));
    }
    tk_sampler_free(s);
    tk_sample_scratch_free(w);
}

static void penalties_and_bias_follow_their_formulas(void **state)
{
    (void)state;
    const float logits[6] = {2, 1.5f, -1, 0, -8, -8};
    const tk_logit_bias bias[] = {{3, 1.25f}, {99, 7}, {-1, 7}};
    tk_sample_opts o = tk_sample_opts_default();
    o.repetition_penalty = 2;
    o.presence_penalty = 0.25;
    o.frequency_penalty = 0.125;
    o.bias = bias;
    o.n_bias = 3;
    tk_sampler *s = tk_sampler_new(&o);
    tk_sample_scratch *w = tk_sample_scratch_new(6);
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 0);
    const int32_t prompt[] = {0, 0, 2};
    tk_sampler_see_prompt(s, prompt, 3); // 0: 2 / 2 = 1; 2: -1 * 2
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 1);
    tk_sampler_see_output(s, 1); // 1.5 / 2 - 0.25 - 0.125 = 0.375
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 3);
    tk_sampler_see_output(s, 3); // 1.25 / 2 - 0.375 = 0.25
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 0);
    tk_sampler_see_output(s, 0); // 1 - 0.375 = 0.625
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 0);
    for (int i = 0; i < 3; i++) tk_sampler_see_output(s, 0); // 1 - 0.25 - 4 * 0.125 = 0.25
    assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 1);
    tk_sampler_free(s);
    tk_sample_scratch_free(w);
}

static void many_seen_tokens_are_each_counted(void **state)
{
    (void)state;
    enum { N_ID = 3000 };
    static float logits[N_ID];
    tk_sample_opts o = tk_sample_opts_default();
    o.frequency_penalty = 1;
    tk_sampler *s = tk_sampler_new(&o);
    tk_sample_scratch *w = tk_sample_scratch_new(N_ID);
    for (int round = 0; round < 3; round++) // each draw takes the lowest id that was drawn least
        for (int i = 0; i < N_ID; i++) {
            int32_t id = tk_sampler_draw(s, w, logits, NULL);
            assert_int_equal(id, i);
            tk_sampler_see_output(s, id);
        }
    tk_sampler_free(s);
    tk_sample_scratch_free(w);
}

static void a_mask_that_allows_nothing_draws_nothing(void **state)
{
    (void)state;
    const float logits[3] = {NAN, -INFINITY, 1};
    uint64_t none = 0, first = 1, two = 3;
    tk_sample_scratch *w = tk_sample_scratch_new(3);
    for (int i = 0; i < 2; i++) {
        tk_sample_opts o = tk_sample_opts_default();
        o.temperature = i;
        tk_sampler *s = tk_sampler_new(&o);
        assert_int_equal(tk_sampler_draw(s, w, logits, &none), -1);
        assert_int_equal(tk_sampler_draw(s, w, logits, &first), 0);
        assert_int_equal(tk_sampler_draw(s, w, logits, &two), 0);
        assert_int_equal(tk_sampler_draw(s, w, logits, NULL), 2);
        tk_sampler_free(s);
    }
    tk_sample_scratch_free(w);
}

static void the_likeliest_come_in_order_with_their_logprobs(void **state)
{
    (void)state;
    const float logits[6] = {1, NAN, 3, 1, 3, -2};
    double sum = tk_sample_log_sum(logits, 6);
    assert_true(fabs(sum - log(2 * exp(1) + 2 * exp(3) + exp(-2))) < 1e-9);
    tk_token top[6];
    assert_int_equal(tk_sample_top(logits, 6, sum, 3, top), 3);
    const int32_t want[] = {2, 4, 0, 3, 5, 1};
    for (int i = 0; i < 3; i++) assert_int_equal(top[i].id, want[i]);
    assert_true(fabs(top[2].logprob - (1 - sum)) < 1e-6);
    assert_int_equal(tk_sample_top(logits, 6, sum, 20, top), 6);
    for (int i = 0; i < 6; i++) assert_int_equal(top[i].id, want[i]);
    assert_int_equal(tk_sample_top(logits, 6, sum, 0, top), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_draw_is_that_of_a_sampler_that_sorts_everything),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(penalties_and_bias_follow_their_formulas),
        cmocka_unit_test(many_seen_tokens_are_each_counted),
        cmocka_unit_test(a_mask_that_allows_nothing_draws_nothing),
        cmocka_unit_test(the_likeliest_come_in_order_with_their_logprobs),
    };
    return cmocka_run_group_tests_name("sampler", tests, NULL, NULL);
}
