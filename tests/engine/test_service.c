// SPDX-License-Identifier: MIT
// What the service promises besides the tokens themselves: order, limits, ends, counts.
#include "base/limits.h"
#include "client.h"

#include <math.h>

static tk_model model; // tiny, dense; each test has its own service over it

static const int32_t hello[] = {5, 9, 33, 7, 7, 60, 12, 3};
enum { N_HELLO = 8 };

static tk_service *start_with(int32_t max_num_seqs)
{
    tk_service_opts o = tk_service_opts_default();
    o.max_num_seqs = max_num_seqs;
    o.max_model_len = 1000; // the model says 256
    o.deterministic = true;
    return start(&model, &o);
}

static client *clients(int n)
{
    return calloc((size_t)n, sizeof(client));
}

// ---- what a request gets

static void logits_of(const int32_t *ids, int32_t n, float *logits)
{
    tk_exec *x = tk_engine_exec(model.engine);
    tk_kv_table t = {0};
    tk_step_part part = {.seq = &t, .ids = ids, .n = n, .n_logits = n, .logits = logits};
    assert_int_equal(tk_exec_step(x, &part, 1, NULL), TK_OK);
    tk_kv_table_clear(tk_exec_kv_pool(x), &t);
}

static void prompt_logprobs_are_those_of_one_forward_pass(void **state)
{
    (void)state;
    enum { N = 100 };
    int32_t n_vocab = tk_engine_program(model.engine)->cfg.n_vocab, ids[N];
    float *logits = malloc((size_t)N * (size_t)n_vocab * sizeof *logits);
    for (int i = 0; i < N; i++) ids[i] = i * 7 % n_vocab;
    logits_of(ids, N, logits);
    tk_service_opts o = tk_service_opts_default();
    o.max_num_seqs = 1;
    o.chunked_prefill_size = 23;
    tk_service *s = start(&model, &o);
    client *c = clients(2);
    for (int k = 0; k < 2; k++) { // the second could come out of the cache, and must not
        tk_job_opts jo = client_opts(&c[k], ids, N, 0);
        jo.prompt_logprobs = true;
        client_submit(&c[k], s, &jo);
        client_wait(&c[k]);
        assert_int_equal(c[k].n, 0);
        assert_int_equal(c[k].result.reason, TK_FINISH_LENGTH);
        assert_int_equal(c[k].result.n_cached, 0);
        assert_int_equal(c[k].n_prompt_logprob, N - 1);
        for (int i = 1; i < N; i++)
            assert_true(
                c[k].prompt_logprobs[i - 1] ==
                tk_sample_logprob(logits + (size_t)(i - 1) * (size_t)n_vocab, n_vocab, ids[i]));
    }
    tk_service_stop(s, 5);
    free(c);
    free(logits);
}

typedef struct top_check {
    client c;
    tk_token top[TK_LIMIT_TOP_LOGPROBS];
    int n_top;
} top_check;

static bool keep_top(void *ctx, const tk_job_token *t)
{
    top_check *k = ctx;
    k->n_top = t->n_top;
    memcpy(k->top, t->top, (size_t)t->n_top * sizeof *k->top);
    return client_token(&k->c, t);
}

static void the_likeliest_tokens_come_with_a_token(void **state)
{
    (void)state;
    tk_service *s = start_with(2);
    top_check *k = calloc(1, sizeof *k);
    tk_job_opts jo = client_opts(&k->c, hello, N_HELLO, 1);
    jo.n_top_logprobs = 4;
    jo.on_token = keep_top;
    client_submit(&k->c, s, &jo);
    client_wait(&k->c);
    assert_int_equal(k->n_top, 4);
    assert_int_equal(k->top[0].id, k->c.ids[0]); // greedy
    assert_true(fabs(k->top[0].logprob - k->c.logprobs[0]) < 1e-6);
    for (int i = 1; i < 4; i++) assert_true(k->top[i].logprob <= k->top[i - 1].logprob);
    tk_service_stop(s, 5);
    free(k);
}

typedef struct evens {
    int n_mask, n_accept, last;
    bool nothing;
} evens;

static void allow_evens(void *ctx, uint64_t *bits, int32_t n_vocab)
{
    evens *e = ctx;
    e->n_mask++;
    for (int32_t i = 0; i < n_vocab && !e->nothing; i += 2) bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static void note_accept(void *ctx, int32_t id)
{
    evens *e = ctx;
    e->n_accept++;
    e->last = id;
}

static void a_grammar_is_asked_and_told(void **state)
{
    (void)state;
    tk_service *s = start_with(2);
    client *c = clients(2);
    evens e[2] = {{.nothing = false}, {.nothing = true}};
    for (int k = 0; k < 2; k++) {
        tk_job_opts jo = client_opts(&c[k], hello, N_HELLO, 20);
        jo.grammar = (tk_job_grammar){&e[k], allow_evens, note_accept};
        jo.ignore_eos = true;
        client_submit(&c[k], s, &jo);
        client_wait(&c[k]);
    }
    assert_int_equal(c[0].n, 20);
    for (int i = 0; i < 20; i++) assert_int_equal(c[0].ids[i] % 2, 0);
    assert_int_equal(e[0].n_mask, 20);
    assert_int_equal(e[0].n_accept, 20);
    assert_int_equal(e[0].last, c[0].ids[19]);
    assert_int_equal(c[1].result.reason, TK_FINISH_ERROR);
    assert_non_null(strstr(c[1].error, "allows no token"));
    tk_service_stop(s, 5);
    free(c);
}

static void end_tokens_end_and_are_not_shown(void **state)
{
    (void)state;
    tk_service *s = start_with(4);
    client *c = clients(3);
    const tk_logit_bias bias[] = {{42, 1000}};
    const int32_t end[] = {42};
    for (int k = 0; k < 3; k++) {
        tk_job_opts jo = client_opts(&c[k], hello, N_HELLO, 5);
        jo.sample.bias = bias;
        jo.sample.n_bias = 1;
        if (k > 0) {
            jo.end = end;
            jo.n_end = 1;
        }
        jo.ignore_eos = k == 2; // of the model's own, which 42 is not
        client_submit(&c[k], s, &jo);
    }
    for (int k = 0; k < 3; k++) client_wait(&c[k]);
    assert_int_equal(c[0].n, 5);
    for (int i = 0; i < 5; i++) assert_int_equal(c[0].ids[i], 42);
    for (int k = 1; k < 3; k++) {
        assert_int_equal(c[k].n, 0);
        assert_int_equal(c[k].result.reason, TK_FINISH_STOP);
        assert_int_equal(c[k].result.n_out, 0);
    }
    tk_service_stop(s, 5);
    free(c);
}

static void the_models_own_ends_can_be_ignored(void **state)
{
    (void)state;
    assert_true(model.n_end > 0);
    tk_service *s = start_with(4);
    client *c = clients(2);
    const tk_logit_bias bias[] = {{model.end[0], 1000}};
    for (int k = 0; k < 2; k++) {
        tk_job_opts jo = client_opts(&c[k], hello, N_HELLO, 3);
        jo.sample.bias = bias;
        jo.sample.n_bias = 1;
        jo.ignore_eos = k;
        jo.end = model.end; // repeated, as a server may
        jo.n_end = model.n_end;
        client_submit(&c[k], s, &jo);
        client_wait(&c[k]);
    }
    assert_int_equal(c[0].result.reason, TK_FINISH_STOP);
    assert_int_equal(c[0].n, 0);
    assert_int_equal(c[1].result.reason, TK_FINISH_LENGTH);
    assert_int_equal(c[1].n, 3);
    tk_service_stop(s, 5);
    free(c);
}

// ---- what is refused

static void expect_refusal(tk_service *s, const tk_job_opts *jo, tk_status st, const char *words)
{
    tk_err err = TK_ERR_INIT;
    tk_job_id id;
    assert_int_equal(tk_service_submit(s, jo, &id, &err), st);
    if (strstr(err.msg, words) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
}

static void what_cannot_be_done_is_refused_with_its_numbers(void **state)
{
    (void)state;
    tk_service_opts o = tk_service_opts_default();
    o.max_model_len = 100;
    tk_service *s = start(&model, &o);
    client *c = clients(1);
    int32_t ids[101] = {0};
    tk_job_opts jo = client_opts(c, ids, 101, 1);
    expect_refusal(s, &jo, TK_BAD_INPUT, "101 tokens, the context holds 100");
    jo.n_prompt = 0;
    expect_refusal(s, &jo, TK_BAD_INPUT, "no tokens");
    jo.n_prompt = 3;
    ids[2] = 1 << 20;
    expect_refusal(s, &jo, TK_BAD_INPUT, "1048576");
    ids[2] = -1;
    expect_refusal(s, &jo, TK_BAD_INPUT, "-1");
    ids[2] = 1;
    jo.sample.top_p = NAN;
    expect_refusal(s, &jo, TK_BAD_INPUT, "top_p");
    jo.sample.top_p = 1;
    jo.n_top_logprobs = 21;
    expect_refusal(s, &jo, TK_BAD_INPUT, "20");
    jo.n_top_logprobs = 0;
    jo.n_prompt = 100; // fits to the token
    jo.max_tokens = 50;
    jo.ignore_eos = true;
    client_submit(c, s, &jo);
    client_wait(c);
    assert_int_equal(c->n, 1);
    assert_int_equal(c->result.reason, TK_FINISH_LENGTH);
    tk_service_stop(s, 5);
    o.max_num_seqs = 0;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_service_start(&model, &o, &s, &err), TK_USAGE);
    assert_non_null(strstr(err.msg, "max_num_seqs is 0"));
    free(c);
}

// The engine thread stands still inside this client's first token until it is let go.
typedef struct gate {
    client c;
    bool stands, open;
} gate;

static bool stand_still(void *ctx, const tk_job_token *t)
{
    gate *g = ctx;
    bool go_on = client_token(&g->c, t);
    pthread_mutex_lock(&client_mutex);
    g->stands = true;
    pthread_cond_broadcast(&client_cond);
    while (!g->open) pthread_cond_wait(&client_cond, &client_mutex);
    pthread_mutex_unlock(&client_mutex);
    return go_on;
}

static void close_gate(gate *g, tk_service *s, int32_t max_tokens)
{
    tk_job_opts jo = client_opts(&g->c, hello, N_HELLO, max_tokens);
    jo.on_token = stand_still;
    jo.ignore_eos = true;
    jo.ctx = g;
    client_submit(&g->c, s, &jo);
    pthread_mutex_lock(&client_mutex);
    while (!g->stands) pthread_cond_wait(&client_cond, &client_mutex);
    pthread_mutex_unlock(&client_mutex);
}

static void open_gate(gate *g)
{
    pthread_mutex_lock(&client_mutex);
    g->open = true;
    pthread_cond_broadcast(&client_cond);
    pthread_mutex_unlock(&client_mutex);
}

static void a_full_queue_refuses(void **state)
{
    (void)state;
    tk_service_opts o = tk_service_opts_default();
    o.max_num_seqs = 1;
    o.max_num_waiting = 3;
    tk_service *s = start(&model, &o);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(4);
    close_gate(g, s, 4);
    for (int i = 0; i < 3; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 2);
        client_submit(&c[i], s, &jo);
    }
    tk_job_opts jo = client_opts(&c[3], hello, N_HELLO, 2);
    expect_refusal(s, &jo, TK_NOMEM, "3 requests wait");
    open_gate(g);
    client_wait(&g->c);
    for (int i = 0; i < 3; i++) client_wait(&c[i]);
    client_submit(&c[3], s, &jo); // there is room again
    client_wait(&c[3]);
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

// ---- order

static void priority_decides_who_goes_first(void **state)
{
    (void)state;
    tk_service *s = start_with(1);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(6);
    int clock = 0;
    static const int32_t priority[] = {3, 1, 2, 0, 1, -5};
    static const int order[] = {5, 3, 1, 4, 2, 0};
    close_gate(g, s, 1);
    for (int i = 0; i < 6; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 5);
        jo.priority = priority[i];
        jo.ignore_eos = true;
        c[i].clock = &clock;
        client_submit(&c[i], s, &jo);
    }
    open_gate(g);
    for (int i = 0; i < 6; i++) client_wait(&c[i]);
    for (int i = 1; i < 6; i++) assert_true(c[order[i - 1]].last_at < c[order[i]].first_at);
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

static void a_key_that_floods_does_not_hold_up_another(void **state)
{
    (void)state;
    enum { N_FLOOD = 60 };
    tk_service *s = start_with(4);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(N_FLOOD + 1), *light = &c[N_FLOOD];
    int clock = 0;
    close_gate(g, s, 1);
    for (int i = 0; i <= N_FLOOD; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 10);
        jo.key = i < N_FLOOD ? 1 : 2;
        jo.ignore_eos = true;
        c[i].clock = &clock;
        client_submit(&c[i], s, &jo);
    }
    open_gate(g);
    for (int i = 0; i <= N_FLOOD; i++) client_wait(&c[i]);
    // among the first four to be started, though 60 came before it
    assert_true(light->last_at <= 45);
    assert_int_equal(clock, 10 * (N_FLOOD + 1));
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

static void a_long_prompt_does_not_hold_up_another_keys_short_one(void **state)
{
    (void)state;
    tk_service_opts o = tk_service_opts_default();
    o.max_num_batched_tokens = 16;
    o.max_model_len = 1000;
    tk_service *s = start(&model, &o);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(2);
    int32_t ids[800];
    int clock = 0;
    for (int i = 0; i < 800; i++) ids[i] = i % 50;
    close_gate(g, s, 1);
    for (int i = 0; i < 2; i++) {
        tk_job_opts jo = client_opts(&c[i], ids + i, i ? 30 : 800, 20);
        jo.key = (uint64_t)i + 1;
        jo.ignore_eos = true;
        c[i].clock = &clock;
        client_submit(&c[i], s, &jo);
    }
    open_gate(g);
    for (int i = 0; i < 2; i++) client_wait(&c[i]);
    assert_true(c[1].last_at < c[0].first_at);
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

// ---- ends

static void cancelling_ends_waiting_and_running_jobs_at_once(void **state)
{
    (void)state;
    tk_service *s = start_with(2);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(3);
    close_gate(g, s, 200);
    for (int i = 0; i < 3; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 200);
        jo.ignore_eos = true;
        client_submit(&c[i], s, &jo);
    }
    tk_service_cancel(s, g->c.id); // running, between two of its tokens
    tk_service_cancel(s, c[1].id); // still in the inbox
    tk_service_cancel(s, 123456);  // nobody
    open_gate(g);
    client_wait(&g->c);
    client_wait(&c[1]);
    assert_int_equal(g->c.result.reason, TK_FINISH_CANCELLED);
    assert_int_equal(g->c.n, 1); // not one more step
    assert_int_equal(c[1].result.reason, TK_FINISH_CANCELLED);
    assert_int_equal(c[1].n, 0);
    client_wait(&c[0]);
    client_wait(&c[2]);
    assert_int_equal(c[0].n, 200);
    assert_int_equal(c[2].n, 200);
    tk_service_cancel(s, c[0].id); // long finished
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

static void stopping_at_once_tells_every_job(void **state)
{
    (void)state;
    tk_service *s = start_with(2);
    client *c = clients(12);
    for (int i = 0; i < 12; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 400);
        jo.ignore_eos = true;
        client_submit(&c[i], s, &jo);
    }
    client_wait_tokens(&c[0], 2);
    tk_service_stop(s, 0);
    int n_cancelled = 0;
    for (int i = 0; i < 12; i++) {
        assert_true(c[i].done);
        n_cancelled += c[i].result.reason == TK_FINISH_CANCELLED;
    }
    assert_true(n_cancelled > 0);
    free(c);
}

typedef struct submitter {
    tk_service *s;
    client *c;
    int n, n_in, n_refused;
} submitter;

static void *submit_until_refused(void *ctx)
{
    submitter *a = ctx;
    for (int i = 0; i < a->n; i++) {
        tk_job_opts jo = client_opts(&a->c[i], hello, N_HELLO - i % 3, 1 + i % 4);
        jo.ignore_eos = true;
        jo.key = (uint64_t)i % 5;
        tk_status st = tk_service_submit(a->s, &jo, &a->c[i].id, NULL);
        if (st == TK_OK) {
            a->n_in++;
        } else {
            assert_int_equal(st, TK_INTERRUPTED);
            a->n_refused++;
            a->c[i].id = 0;
        }
        if (i == a->n / 2 && a->c[0].id) client_wait(&a->c[0]); // about half before the drain
    }
    return NULL;
}

static void draining_loses_no_job_that_was_let_in(void **state)
{
    (void)state;
    enum { N_THREAD = 3, N = 120 };
    tk_service *s = start_with(8);
    submitter a[N_THREAD];
    pthread_t threads[N_THREAD];
    for (int t = 0; t < N_THREAD; t++) {
        a[t] = (submitter){.s = s, .c = clients(N), .n = N};
        pthread_create(&threads[t], NULL, submit_until_refused, &a[t]);
    }
    client_wait(&a[0].c[0]);
    tk_service_drain(s);
    for (int t = 0; t < N_THREAD; t++) // whoever is in has ended when drain returns
        for (int i = 0; i < N; i++) assert_true(a[t].c[i].done || a[t].c[i].n == 0);
    tk_service_drain(s); // twice is fine
    for (int t = 0; t < N_THREAD; t++) pthread_join(threads[t], NULL);
    tk_service_stop(s, 5);
    int n_in = 0, n_refused = 0;
    for (int t = 0; t < N_THREAD; t++) {
        for (int i = 0; i < N; i++) {
            if (a[t].c[i].id == 0) continue;
            assert_true(a[t].c[i].done);
            assert_int_equal(a[t].c[i].result.reason, TK_FINISH_LENGTH);
            assert_int_equal(a[t].c[i].n, 1 + i % 4);
        }
        n_in += a[t].n_in;
        n_refused += a[t].n_refused;
        free(a[t].c);
    }
    assert_int_equal(n_in + n_refused, N_THREAD * N);
    assert_true(n_in > 0);
}

// ---- the prefix cache

static void what_was_computed_is_found_again_until_a_reset(void **state)
{
    (void)state;
    tk_service *s = start_with(4);
    client *c = clients(4);
    int32_t ids[300];
    for (int i = 0; i < 300; i++) ids[i] = i % 61;
    for (int i = 0; i < 4; i++) {
        if (i == 3) tk_service_reset_prefix_cache(s);
        tk_job_opts jo = client_opts(&c[i], ids, 210, 3);
        client_submit(&c[i], s, &jo);
        client_wait(&c[i]);
        assert_memory_equal(c[i].ids, c[0].ids, sizeof c[0].ids);
    }
    assert_int_equal(c[0].result.n_cached, 0);
    assert_int_equal(c[1].result.n_cached, 209); // all but the one whose logits are wanted
    assert_int_equal(c[2].result.n_cached, 209);
    assert_int_equal(c[3].result.n_cached, 0);
    tk_service_stats st;
    tk_service_drain(s);
    tk_service_get_stats(s, &st);
    assert_int_equal(st.prefix_hits, 2 * 209);
    assert_int_equal(st.prefix_queries, 4 * 210);
    tk_service_stop(s, 5);
    free(c);
}

static void the_same_prompt_many_times_at_once_is_computed_once(void **state)
{
    (void)state;
    enum { N = 8, N_PROMPT = 64 * 6 + 10 };
    tk_service *s = start_with(N);
    gate *g = calloc(1, sizeof *g);
    client *c = clients(N);
    int32_t ids[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++) ids[i] = i * i % 59;
    close_gate(g, s, 1);
    for (int i = 0; i < N; i++) {
        tk_job_opts jo = client_opts(&c[i], ids, N_PROMPT, 4);
        jo.key = (uint64_t)i % 2;
        client_submit(&c[i], s, &jo);
    }
    open_gate(g);
    int n_cached = 0;
    for (int i = 0; i < N; i++) {
        client_wait(&c[i]);
        n_cached += c[i].result.n_cached;
    }
    assert_true(n_cached >= (N - 1) * 64 * 6);
    tk_service_stop(s, 5);
    free(c);
    free(g);
}

// ---- targets and counts

static void impossible_targets_starve_nobody(void **state)
{
    (void)state;
    tk_service_opts o = tk_service_opts_default();
    o.tpot_target_s = 1e-9;
    o.ttft_target_s = 0;
    for (int k = 0; k < 2; k++) {
        tk_service *s = start(&model, &o);
        client *c = clients(6);
        int32_t ids[200];
        for (int i = 0; i < 200; i++) ids[i] = (i * 3 + k) % 47;
        for (int i = 0; i < 6; i++) {
            tk_job_opts jo = client_opts(&c[i], ids + i, 190, 30);
            jo.ignore_eos = true;
            client_submit(&c[i], s, &jo);
        }
        for (int i = 0; i < 6; i++) {
            client_wait(&c[i]);
            assert_int_equal(c[i].n, 30);
        }
        tk_service_stop(s, 5);
        free(c);
        o.ttft_target_s = 1e-9;
    }
}

static void counts_add_up(void **state)
{
    (void)state;
    tk_service *s = start_with(4);
    client *c = clients(5);
    for (int i = 0; i < 5; i++) {
        tk_job_opts jo = client_opts(&c[i], hello, N_HELLO, 6);
        jo.ignore_eos = true;
        c[i].stop_after = i == 0 ? 2 : 0;
        client_submit(&c[i], s, &jo);
    }
    for (int i = 0; i < 5; i++) client_wait(&c[i]);
    tk_service_stats st;
    tk_service_drain(s);
    do // the last step's books follow its callbacks
        tk_service_get_stats(s, &st);
    while (st.n_running > 0);
    assert_int_equal(st.prompt_tokens, 5 * N_HELLO);
    assert_int_equal(st.generation_tokens, 4 * 6 + 2);
    assert_int_equal(st.finished[TK_FINISH_STOP], 1);
    assert_int_equal(st.finished[TK_FINISH_LENGTH], 4);
    assert_int_equal(st.n_waiting, 0);
    assert_true(st.n_step >= 6 && st.step_s_sum > 0);
    uint64_t n_step = 0;
    for (int i = 0; i <= TK_STEP_TOK_BUCKETS; i++) n_step += st.step_tok[i];
    assert_int_equal(n_step, st.n_step);
    // every prompt token and every token but the last of each is computed in some step
    assert_in_range(st.step_tok_sum, 5 * N_HELLO + 4 * 5 + 1, 5 * N_HELLO + 4 * 6 + 2);
    assert_int_equal(st.n_block, tk_kv_pool_count(tk_exec_kv_pool(tk_engine_exec(model.engine))));
    assert_int_equal(st.n_block_free + st.n_block_cached, st.n_block);
    for (int i = 0; i < 5; i++) {
        const tk_job_result *r = &c[i].result;
        assert_true(r->queue_s >= 0 && r->ttft_s > 0 && r->e2e_s >= r->ttft_s);
        assert_true(fabs(r->queue_s + r->prefill_s - r->ttft_s) < 1e-3);
        assert_true(fabs(r->ttft_s + r->decode_s - r->e2e_s) < 1e-3);
    }
    assert_false(tk_service_expert_load(s, NULL)); // dense
    tk_service_stop(s, 5);
    free(c);
}

static void expert_choices_are_counted(void **state)
{
    (void)state;
    tk_model m;
    open_model(GOLDEN("dsv3-fp8"), 512, &m);
    const tk_config *cfg = &tk_engine_program(m.engine)->cfg;
    uint64_t load[64 * 64], sum = 0;
    tk_service_opts o = tk_service_opts_default();
    tk_service *s = start(&m, &o);
    client *c = clients(1);
    tk_job_opts jo = client_opts(c, hello, N_HELLO, 5);
    jo.ignore_eos = true;
    client_submit(c, s, &jo);
    client_wait(c);
    tk_service_stats st;
    do tk_service_get_stats(s, &st);
    while (st.n_step < 5 || st.n_running > 0);
    assert_true(tk_service_expert_load(s, load));
    int n_moe_layer = 0;
    for (int l = 0; l < cfg->n_layer; l++) n_moe_layer += cfg->moe_layer[l];
    for (int i = 0; i < cfg->n_layer * cfg->moe.n_expert; i++) sum += load[i];
    assert_int_equal(sum, (N_HELLO + 4) * cfg->moe.n_used * n_moe_layer);
    tk_service_stop(s, 5);
    free(c);
    tk_model_close(&m);
}

// ---- threads

static void *pester(void *ctx)
{
    submitter *a = ctx;
    tk_rng rng = {.state = (uint64_t)(uintptr_t)a->c};
    tk_service_stats st;
    for (int i = 0; i < a->n; i++) {
        tk_job_opts jo = client_opts(&a->c[i], hello, 1 + (int)tk_rng_below(&rng, N_HELLO), 8);
        jo.key = tk_rng_below(&rng, 3);
        client_submit(&a->c[i], a->s, &jo);
        tk_service_get_stats(a->s, &st);
        if (i % 3 == 0) tk_service_cancel(a->s, a->c[tk_rng_below(&rng, (uint64_t)i + 1)].id);
        if (i % 11 == 0) tk_service_reset_prefix_cache(a->s);
        if (i % 7 == 0) client_wait(&a->c[i]);
    }
    return NULL;
}

static void many_threads_may_call_at_once(void **state)
{
    (void)state;
    enum { N_THREAD = 4, N = 60 };
    tk_service *s = start_with(5);
    submitter a[N_THREAD];
    pthread_t threads[N_THREAD];
    for (int t = 0; t < N_THREAD; t++) {
        a[t] = (submitter){.s = s, .c = clients(N), .n = N};
        pthread_create(&threads[t], NULL, pester, &a[t]);
    }
    for (int t = 0; t < N_THREAD; t++) pthread_join(threads[t], NULL);
    tk_service_stop(s, 60);
    for (int t = 0; t < N_THREAD; t++) {
        for (int i = 0; i < N; i++) {
            assert_true(a[t].c[i].done);
            assert_true(a[t].c[i].result.reason != TK_FINISH_ERROR);
        }
        free(a[t].c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompt_logprobs_are_those_of_one_forward_pass),
        cmocka_unit_test(the_likeliest_tokens_come_with_a_token),
        cmocka_unit_test(a_grammar_is_asked_and_told),
        cmocka_unit_test(end_tokens_end_and_are_not_shown),
        cmocka_unit_test(the_models_own_ends_can_be_ignored),
        cmocka_unit_test(what_cannot_be_done_is_refused_with_its_numbers),
        cmocka_unit_test(a_full_queue_refuses),
        cmocka_unit_test(priority_decides_who_goes_first),
        cmocka_unit_test(a_key_that_floods_does_not_hold_up_another),
        cmocka_unit_test(a_long_prompt_does_not_hold_up_another_keys_short_one),
        cmocka_unit_test(cancelling_ends_waiting_and_running_jobs_at_once),
        cmocka_unit_test(stopping_at_once_tells_every_job),
        cmocka_unit_test(draining_loses_no_job_that_was_let_in),
        cmocka_unit_test(what_was_computed_is_found_again_until_a_reset),
        cmocka_unit_test(the_same_prompt_many_times_at_once_is_computed_once),
        cmocka_unit_test(impossible_targets_starve_nobody),
        cmocka_unit_test(counts_add_up),
        cmocka_unit_test(expert_choices_are_counted),
        cmocka_unit_test(many_threads_may_call_at_once),
    };
    tk_log_set_level(TK_LOG_WARN);
    open_model(GOLDEN("llama-gqa-f32"), 4096, &model);
    int failed = cmocka_run_group_tests_name("service", tests, NULL, NULL);
    tk_model_close(&model);
    return failed;
}
