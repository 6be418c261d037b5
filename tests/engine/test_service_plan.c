// SPDX-License-Identifier: MIT
// Steps planned by hand: no model is run, a step of n tokens "takes" 10 ms + 1 ms for each. What chunks and
// admission do under latency targets, to the token.
#include "client.h"
#include "engine/service_priv.h"

#include <math.h>

enum { N_STREAM = 4, MS = 1000000 };

static tk_model model;

typedef struct desk {
    tk_service *s;
    svc_job *streams[N_STREAM];
    svc_job *prompt;
    uint64_t now_ns;
    double seconds; // of all steps
    int n_step;
} desk;

static svc_job *add_job(desk *d, int32_t n_prompt)
{
    static int32_t ids[4096];
    for (int i = 0; i < 4096; i++) ids[i] = (i * 31 + (int)d->s->last_id * 7) % 97;
    tk_job_opts o = {.prompt = ids,
                     .n_prompt = n_prompt,
                     .max_tokens = 2000,
                     .sample = tk_sample_opts_default()};
    svc_job *j;
    assert_int_equal(svc_job_new(d->s, &o, &j, NULL), TK_OK);
    j->id = ++d->s->last_id;
    j->submit_ns = d->now_ns;
    j->i_key = tk_fair_enter(d->s->fair, 0);
    d->s->n_live++;
    d->s->n_queued++;
    svc_start_waiting(d->s, j);
    return j;
}

static double cost_s(int n_tok)
{
    return 0.010 + 0.001 * n_tok;
}

// As a step would leave things: tokens computed, a token drawn where a text is at its end.
static int32_t run_step(desk *d)
{
    svc_plan_step(d->s, d->now_ns);
    int32_t n = d->s->n_planned_tok;
    for (int32_t i = 0; i < d->s->n_part; i++) {
        svc_part *p = &d->s->parts[i];
        p->job->seq.n_tok += p->n;
        if (!p->finishes) continue;
        if (p->job->first_ns == 0) p->job->first_ns = d->now_ns;
        if (p->job->n_ids == p->job->cap_ids) {
            p->job->cap_ids *= 2;
            p->job->ids = realloc(p->job->ids, (size_t)p->job->cap_ids * sizeof *p->job->ids);
        }
        p->job->ids[p->job->n_ids++] = 1;
    }
    if (n == 0) return 0;
    svc_keep_books(d->s, cost_s(n));
    d->now_ns += (uint64_t)(cost_s(n) * 1e9);
    d->seconds += cost_s(n);
    d->n_step++;
    return n;
}

// Four streams under way, the cost of steps known, then a long prompt comes.
static desk begin(double tpot_target_s, double ttft_target_s, int32_t n_prompt)
{
    desk d = {.now_ns = 1000};
    tk_service_opts o = tk_service_opts_default();
    tk_err err = TK_ERR_INIT;
    o.max_model_len = 4000;
    o.tpot_target_s = tpot_target_s;
    o.ttft_target_s = ttft_target_s;
    o.prefix_cache = false;
    if (svc_new(&model, &o, &d.s, &err) != TK_OK) fail_msg("%s", err.msg);
    for (int i = 1; i < 100; i += 7) tk_step_time_add(&d.s->time, i, cost_s(i));
    d.s->opts.tpot_target_s = 0; // the streams come in at once
    for (int i = 0; i < N_STREAM; i++) d.streams[i] = add_job(&d, 5);
    while (d.streams[N_STREAM - 1]->n_ids < 8) run_step(&d);
    d.s->opts.tpot_target_s = tpot_target_s;
    d.s->credit_s = 0;
    d.seconds = d.n_step = 0;
    if (n_prompt) d.prompt = add_job(&d, n_prompt);
    return d;
}

static void end(desk *d)
{
    while (d->s->n_running) svc_job_finish(d->s, d->s->running[0], TK_FINISH_STOP, TK_OK, "");
    while (d->s->n_waiting) svc_job_finish(d->s, d->s->waiting[0], TK_FINISH_STOP, TK_OK, "");
    svc_free(d->s);
}

static void without_targets_a_prompt_takes_what_is_left(void **state)
{
    (void)state;
    desk d = begin(0, 0, 3000);
    assert_int_equal(run_step(&d), d.s->max_step_tok);
    end(&d);
}

static void chunks_keep_the_streams_at_their_target(void **state)
{
    (void)state;
    desk d = begin(0.050, 0, 3000);
    assert_in_range(run_step(&d), 38, 40); // 10 ms + 40 tokens
    while (d.prompt->seq.n_tok < 3000) {
        assert_true(run_step(&d) > N_STREAM);
        assert_true(d.seconds / d.n_step <= 0.0505);
    }
    assert_true(d.seconds / d.n_step >= 0.048); // and waste nothing
    end(&d);
}

static void saved_time_pays_for_a_chunk_now_and_then(void **state)
{
    (void)state;
    desk d = begin(0.020, 0, 600); // a step of the streams alone: 14 ms; with the least chunk: 30
    int n_chunk = 0;
    while (d.prompt->seq.n_tok < 600) {
        int before = d.prompt->seq.n_tok;
        run_step(&d);
        n_chunk += d.prompt->seq.n_tok > before;
        assert_true(d.seconds <= 0.020 * d.n_step + 0.021); // never more than a target behind
        assert_true(d.n_step < 400);
    }
    assert_true(n_chunk < d.n_step / 2);
    assert_true(d.seconds / d.n_step <= 0.0205);
    end(&d);
}

static void a_stream_too_many_is_not_admitted(void **state)
{
    (void)state;
    desk d = begin(0.0145, 0, 20); // five take 15 ms
    for (int i = 0; i < 100; i++) run_step(&d);
    assert_int_equal(d.prompt->state, SVC_WAITING);
    svc_job_finish(d.s, d.streams[0], TK_FINISH_STOP, TK_OK, "");
    for (int i = 0; i < 100; i++) run_step(&d);
    assert_int_equal(d.prompt->state, SVC_RUNNING);
    assert_true(d.prompt->n_ids > 20);
    end(&d);
}

static void a_prompt_about_to_be_late_gets_more(void **state)
{
    (void)state;
    desk calm = begin(0.050, 100, 1000), late = begin(0.050, 0.5, 1000);
    assert_in_range(run_step(&calm), 38, 40);
    assert_in_range(run_step(&late), 88, 90); // twice the target: 1000 tokens need more than 0.5 s
    end(&calm);
    end(&late);
    desk d = begin(0.0145, 0.2, 20); // not admitted for TPOT's sake, until it is late
    int n = 0;
    while (d.prompt->first_ns == 0) {
        run_step(&d);
        assert_true(++n < 100);
    }
    assert_true(d.now_ns - d.prompt->submit_ns < 400u * MS);
    end(&d);
}

static void nobody_starves_under_a_target_that_cannot_be_met(void **state)
{
    (void)state;
    desk d = begin(0.012, 0, 0); // the streams alone take 14 ms
    d.s->opts.tpot_target_s = 0;
    d.prompt = add_job(&d, 300);
    run_step(&d); // admitted before the target
    d.s->opts.tpot_target_s = 0.012;
    int n = 0;
    while (d.prompt->seq.n_tok < 300) {
        run_step(&d);
        assert_true(++n < 33 * 300 / 16 + 40);
    }
    end(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_targets_a_prompt_takes_what_is_left),
        cmocka_unit_test(chunks_keep_the_streams_at_their_target),
        cmocka_unit_test(saved_time_pays_for_a_chunk_now_and_then),
        cmocka_unit_test(a_stream_too_many_is_not_admitted),
        cmocka_unit_test(a_prompt_about_to_be_late_gets_more),
        cmocka_unit_test(nobody_starves_under_a_target_that_cannot_be_met),
    };
    tk_log_set_level(TK_LOG_WARN);
    open_model(GOLDEN("llama-gqa-f32"), 16384, &model);
    int failed = cmocka_run_group_tests_name("service, planning", tests, NULL, NULL);
    tk_model_close(&model);
    return failed;
}
