// SPDX-License-Identifier: MIT
// Whatever else is in the batch, a request gets the tokens, and the very logprobs, that tk_engine_generate
// gives it alone: through chunked prefill, preemption, prefix hits and other requests' cancellations, for every
// kind of attention, dense and with experts.
#include "client.h"

enum { N_PROMPT = 10, MAX_PROMPT = 230, MAX_OUT = 170, N_JOB = 22 };

typedef struct prompt {
    int32_t ids[MAX_PROMPT];
    int n, n_out;
    int most;             // tokens asked for
    int32_t out[MAX_OUT]; // greedy, alone
    double logprobs[MAX_OUT];
    bool ended;
    int n_sampled;
    int32_t sampled[MAX_OUT];
} prompt;

typedef struct collect {
    int32_t *ids;
    double *logprobs;
    int n;
} collect;

static bool take(void *ctx, int32_t id, double logprob)
{
    collect *c = ctx;
    c->ids[c->n] = id;
    if (c->logprobs) c->logprobs[c->n] = logprob;
    c->n++;
    return true;
}

static tk_sample_opts sampled_opts(void)
{
    tk_sample_opts o = tk_sample_opts_default();
    o.temperature = 0.8;
    o.top_p = 0.95;
    o.seed = 99;
    o.repetition_penalty = 1.2;
    o.frequency_penalty = 0.1;
    return o;
}

static void generate_alone(tk_model *m, prompt *p)
{
    tk_sample_opts greedy = tk_sample_opts_default(), sampled = sampled_opts();
    tk_generation g;
    collect a = {p->out, p->logprobs, 0}, b = {p->sampled, NULL, 0};
    tk_engine_rewind(m->engine, 0);
    assert_int_equal(tk_engine_generate(m->engine, p->ids, p->n, p->most, &greedy, m->end, m->n_end,
                                        take, &a, NULL, &g, NULL),
                     TK_OK);
    p->n_out = a.n;
    p->ended = g.ended;
    tk_engine_rewind(m->engine, 0);
    assert_int_equal(tk_engine_generate(m->engine, p->ids, p->n, p->most, &sampled, NULL, 0, take,
                                        &b, NULL, &g, NULL),
                     TK_OK);
    p->n_sampled = b.n;
}

// Half begin like another one.
static void make_prompts(const char *path, prompt *p, int most, tk_rng *rng)
{
    tk_model m;
    open_model(path, 512, &m);
    int32_t n_vocab = tk_engine_program(m.engine)->cfg.n_vocab;
    for (int k = 0; k < N_PROMPT; k++) {
        p[k] = (prompt){.n = 1 + (int)tk_rng_below(rng, k % 3 ? 70 : MAX_PROMPT - 1)};
        if (k % 2) p[k].n = TK_MIN(MAX_PROMPT, p[k].n + p[k - 1].n / 2);
        for (int i = 0; i < p[k].n; i++)
            p[k].ids[i] = (int32_t)tk_rng_below(rng, (uint64_t)n_vocab);
        if (k % 2) {
            int n = TK_MIN(p[k].n, (int)tk_rng_below(rng, (uint64_t)p[k - 1].n + 1));
            memcpy(p[k].ids, p[k - 1].ids, (size_t)n * sizeof *p[k].ids);
        }
        p[k].most = most;
        generate_alone(&m, &p[k]);
    }
    tk_model_close(&m);
}

typedef struct wish {
    const prompt *p;
    int max_tokens;
    bool sampled, show_prompt;
} wish;

static void check(const client *c, const wish *w)
{
    const prompt *p = w->p;
    int n_want = TK_MIN(w->max_tokens, w->sampled ? p->n_sampled : p->n_out);
    bool ends = !w->sampled && p->ended && w->max_tokens > p->n_out;
    if (c->stop_after && c->stop_after <= n_want) n_want = c->stop_after;
    if (c->cancel_after && c->cancel_after < n_want) { // one more token may be shown
        assert_int_equal(c->result.reason, TK_FINISH_CANCELLED);
        assert_in_range(c->n, c->cancel_after, c->cancel_after + 1);
        n_want = c->n;
    } else {
        bool stopped = c->stop_after && c->stop_after == n_want;
        assert_int_equal(c->result.reason, stopped || ends ? TK_FINISH_STOP : TK_FINISH_LENGTH);
        assert_int_equal(c->n, n_want);
    }
    assert_int_equal(c->result.n_out, c->n);
    assert_int_equal(c->result.n_prompt, p->n);
    assert_memory_equal(c->ids, w->sampled ? p->sampled : p->out, (size_t)n_want * sizeof *c->ids);
    if (!w->sampled)
        assert_memory_equal(c->logprobs, p->logprobs, (size_t)n_want * sizeof *c->logprobs);
    assert_int_equal(c->n_prompt_logprob, w->show_prompt ? p->n - 1 : 0);
}

typedef struct tally {
    uint64_t preempted, hits, steps;
} tally;

static void run_mix(const char *path, const prompt *prompts, tk_rng *rng, tally *sum)
{
    static const int32_t caches[] = {256, 256, 320, 4096}, budgets[] = {0, 5, 40, 64, 130};
    tk_model m;
    open_model(path, caches[tk_rng_below(rng, TK_COUNT(caches))], &m);
    tk_service_opts o = tk_service_opts_default();
    o.deterministic = true;
    o.max_num_seqs = 1 + (int32_t)tk_rng_below(rng, 9);
    o.max_num_batched_tokens = budgets[tk_rng_below(rng, TK_COUNT(budgets))];
    o.chunked_prefill_size = (int32_t)tk_rng_below(rng, 3) * 29;
    o.prefix_cache = tk_rng_below(rng, 4) > 0;
    tk_service *s = start(&m, &o);
    client *c = calloc(N_JOB, sizeof *c);
    wish w[N_JOB];
    for (int i = 0; i < N_JOB; i++) {
        const prompt *p = &prompts[tk_rng_below(rng, N_PROMPT)];
        w[i] = (wish){p, (int)tk_rng_below(rng, (uint64_t)p->most + 1), tk_rng_below(rng, 4) == 0,
                      tk_rng_below(rng, 6) == 0};
        w[i].max_tokens = TK_MIN(w[i].max_tokens, 256 - p->n + 1);
        if (tk_rng_below(rng, 8) == 0) w[i].max_tokens = (int)tk_rng_below(rng, 2);
        if (tk_rng_below(rng, 5) == 0)
            c[i].stop_after = 1 + (int)tk_rng_below(rng, 9);
        else if (tk_rng_below(rng, 5) == 0)
            c[i].cancel_after = 1 + (int)tk_rng_below(rng, 9);
        tk_job_opts jo = client_opts(&c[i], p->ids, p->n, w[i].max_tokens);
        if (w[i].sampled) jo.sample = sampled_opts();
        jo.ignore_eos = w[i].sampled;
        jo.prompt_logprobs = w[i].show_prompt;
        jo.key = tk_rng_below(rng, 3);
        jo.priority = 1 - (int32_t)tk_rng_below(rng, 3);
        client_submit(&c[i], s, &jo);
        if (tk_rng_below(rng, 3) == 0) client_wait_tokens(&c[i], 1); // later ones meet it running
    }
    for (int i = 0; i < N_JOB; i++) client_wait(&c[i]);
    tk_service_stats st;
    tk_service_drain(s);
    tk_service_get_stats(s, &st);
    sum->preempted += st.n_preempted;
    sum->hits += st.prefix_hits;
    sum->steps += st.n_step;
    tk_service_stop(s, 10);
    for (int i = 0; i < N_JOB; i++) check(&c[i], &w[i]);
    // nothing is left in use
    tk_kv_pool *kv = tk_exec_kv_pool(tk_engine_exec(m.engine));
    assert_int_equal(tk_kv_pool_free_count(kv) + tk_kv_pool_cached_count(kv), tk_kv_pool_count(kv));
    free(c);
    tk_model_close(&m);
}

enum { N_SQUEEZED = 8 };

typedef struct squeeze {
    wish w[N_SQUEEZED];
    client c[N_SQUEEZED];
    tk_service *s;
} squeeze;

static void submit_squeezed(squeeze *q, int i)
{
    const prompt *p = q->w[i].p;
    tk_job_opts jo = client_opts(&q->c[i], p->ids, p->n, q->w[i].max_tokens);
    jo.sample = sampled_opts();
    jo.ignore_eos = true;
    jo.prompt_logprobs = q->w[i].show_prompt;
    jo.priority = -i;
    client_submit(&q->c[i], q->s, &jo);
}

static void submit_next(client *c)
{
    squeeze *q = c->user;
    int i = (int)(c - q->c) + 1;
    if (i < N_SQUEEZED) submit_squeezed(q, i);
}

// Each job is more important than those before it and comes when the one before has three tokens; the cache
// holds two of them. All but the last are pushed out, some several times, with and without a prefix cache to
// come back through.
static void run_squeeze(const char *path, const prompt *prompts, bool prefix_cache, tally *sum)
{
    tk_model m;
    open_model(path, 256, &m);
    tk_service_opts o = tk_service_opts_default();
    o.deterministic = true;
    o.prefix_cache = prefix_cache;
    o.max_num_batched_tokens = 33;
    squeeze *q = calloc(1, sizeof *q);
    q->s = start(&m, &o);
    for (int i = 0; i < N_SQUEEZED; i++) {
        const prompt *p = &prompts[i % N_PROMPT];
        q->w[i] = (wish){p, TK_MIN(p->n_sampled, 256 - p->n + 1), true, i == 3};
        q->c[i].user = q;
        q->c[i].at_third = submit_next;
    }
    submit_squeezed(q, 0);
    for (int i = 0; i < N_SQUEEZED; i++) client_wait(&q->c[i]);
    tk_service_drain(q->s);
    tk_service_stats st;
    tk_service_get_stats(q->s, &st);
    sum->preempted += st.n_preempted;
    tk_service_stop(q->s, 10);
    for (int i = 0; i < N_SQUEEZED; i++) check(&q->c[i], &q->w[i]);
    free(q);
    tk_model_close(&m);
}

static void run_model(const char *path, int n_mix, int most, uint64_t seed)
{
    prompt *prompts = calloc(N_PROMPT, sizeof *prompts);
    tk_rng rng = {.state = seed};
    tally sum = {0};
    if (IS_SLOW) {
        n_mix = 1;
        most = TK_MIN(most, 90);
    }
    make_prompts(path, prompts, most, &rng);
    for (int i = 0; i < n_mix; i++) run_mix(path, prompts, &rng, &sum);
    for (int i = 0; i < 2; i++) run_squeeze(path, prompts, i, &sum);
    printf("%s: seed %llu, %d mixes, %llu steps, %llu preemptions, %llu tokens from the cache\n",
           strrchr(path, '/') + 1, (unsigned long long)seed, n_mix, (unsigned long long)sum.steps,
           (unsigned long long)sum.preempted, (unsigned long long)sum.hits);
    assert_true(sum.hits > 0 || IS_SLOW);
    assert_true(most < 100 || sum.preempted >= 10);
    free(prompts);
}

static void grouped_query_attention_in_any_mix(void **state)
{
    (void)state;
    run_model(GOLDEN("llama-gqa-f32"), 12, MAX_OUT, 1);
}

static void sliding_window_attention_in_any_mix(void **state)
{
    (void)state;
    run_model(GOLDEN("mistral-window-bf16"), 8, MAX_OUT, 3);
}

static void experts_in_any_mix(void **state)
{
    (void)state;
    run_model(GOLDEN("qwen3moe-norm-f32"), 8, MAX_OUT, 5);
}

static void latent_attention_in_any_mix(void **state)
{
    (void)state;
    run_model(GOLDEN("dsv3-fp8"), 12, MAX_OUT, 6);
}

static void the_demo_model_in_any_mix(void **state)
{
    (void)state;
    if (IS_SLOW) skip();
    run_model(TK_SOURCE_DIR "/models/demo", 1, 24, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grouped_query_attention_in_any_mix),
        cmocka_unit_test(sliding_window_attention_in_any_mix),
        cmocka_unit_test(experts_in_any_mix),
        cmocka_unit_test(latent_attention_in_any_mix),
        cmocka_unit_test(the_demo_model_in_any_mix),
    };
    tk_log_set_level(TK_LOG_WARN);
    return cmocka_run_group_tests_name("service, token identity", tests, NULL, NULL);
}
