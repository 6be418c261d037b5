// SPDX-License-Identifier: MIT
// One job after the other, until the scheduler is there.
#include "engine/service.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

typedef struct job {
    struct job *next;
    tk_job_id id;
    tk_job_opts o;
    int32_t *prompt;
    bool cancelled;
    tk_sampler *sampler;
    uint64_t begun;
} job;

struct tk_service {
    tk_model *m;
    tk_service_opts o;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
    job *first, *running;
    tk_job_id last_id;
    int n_waiting;
    bool draining, stop;
    tk_service_stats stats;
};

tk_service_opts tk_service_opts_default(void)
{
    return (tk_service_opts){.max_num_seqs = 32, .max_num_waiting = 1024, .prefix_cache = true};
}

static bool is_end(const tk_service *s, const job *j, int32_t id)
{
    for (int i = 0; i < s->m->n_end && !j->o.ignore_eos; i++)
        if (s->m->end[i] == id) return true;
    for (int i = 0; i < j->o.n_end; i++)
        if (j->o.end[i] == id) return true;
    return false;
}

static void run(tk_service *s, job *j)
{
    tk_exec *x = tk_engine_exec(s->m->engine);
    int32_t nv = tk_engine_program(s->m->engine)->cfg.n_vocab, step = tk_exec_plan_of(x)->n_step_tok;
    float *logits = tk_alloc((size_t)nv * sizeof *logits);
    uint64_t *mask = tk_alloc(((size_t)nv + 63) / 64 * 8);
    tk_kv_table seq = {0};
    tk_sample_scratch *w = tk_sample_scratch_new(nv);
    tk_sampler *sm = tk_sampler_new(&j->o.sample);
    tk_job_result r = {.reason = TK_FINISH_LENGTH, .n_prompt = j->o.n_prompt, .error = ""};
    uint64_t t0 = tk_clock_ns();
    tk_sampler_see_prompt(sm, j->prompt, j->o.n_prompt);
    for (int32_t at = 0; at < j->o.n_prompt; at += step) {
        int32_t n = TK_MIN(step, j->o.n_prompt - at);
        if (j->o.prompt_logprobs) n = 1;
        tk_step_part part = {.seq = &seq, .ids = j->prompt + at, .n = n, .n_logits = 1, .logits = logits};
        tk_exec_step(x, &part, 1, NULL);
        if (j->o.prompt_logprobs) {
            tk_token top[20];
            if (at + 1 < j->o.n_prompt) {
                double ls = tk_sample_log_sum(logits, nv);
                tk_job_token t = {.id = j->prompt[at + 1], .logprob = logits[j->prompt[at + 1]] - ls, .top = top,
                    .n_top = tk_sample_top(logits, nv, ls, j->o.n_top_logprobs, top)};
                j->o.on_prompt_token(j->o.ctx, &t);
            }
            at += 1 - step;
        }
    }
    r.prefill_s = r.ttft_s = (double)(tk_clock_ns() - t0) * 1e-9;
    while (r.n_out < j->o.max_tokens) {
        pthread_mutex_lock(&s->lock);
        bool cancelled = j->cancelled;
        pthread_mutex_unlock(&s->lock);
        if (cancelled) { r.reason = TK_FINISH_CANCELLED; break; }
        if (j->o.grammar.mask) j->o.grammar.mask(j->o.grammar.ctx, mask, nv);
        int32_t id = tk_sampler_draw(sm, w, logits, j->o.grammar.mask ? mask : NULL);
        if (id < 0) { r.reason = TK_FINISH_ERROR; r.error = "the grammar allows no token"; break; }
        if (j->o.grammar.accept) j->o.grammar.accept(j->o.grammar.ctx, id);
        tk_sampler_see_output(sm, id);
        if (is_end(s, j, id)) { r.reason = TK_FINISH_STOP; break; }
        tk_token top[20];
        double ls = tk_sample_log_sum(logits, nv);
        tk_job_token t = {.id = id, .logprob = logits[id] - ls, .top = top,
            .n_top = tk_sample_top(logits, nv, ls, j->o.n_top_logprobs, top)};
        r.n_out++;
        s->stats.generation_tokens++;
        if (!j->o.on_token(j->o.ctx, &t)) { r.reason = TK_FINISH_STOP; break; }
        if (r.n_out >= j->o.max_tokens || seq.n_tok >= s->o.max_model_len) break;
        tk_step_part part = {.seq = &seq, .ids = &id, .n = 1, .n_logits = 1, .logits = logits};
        if (tk_exec_step(x, &part, 1, NULL) != TK_OK) { r.reason = TK_FINISH_ERROR; r.error = "step"; break; }
    }
    r.e2e_s = (double)(tk_clock_ns() - j->begun) * 1e-9;
    s->stats.prompt_tokens += (uint64_t)r.n_prompt;
    j->o.on_done(j->o.ctx, &r);
    tk_kv_table_clear(tk_exec_kv_pool(x), &seq);
    tk_sampler_free(sm);
    tk_sample_scratch_free(w);
    tk_free(logits);
    tk_free(mask);
}

static void *main_loop(void *arg)
{
    tk_service *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->first == NULL && !s->stop) pthread_cond_wait(&s->more, &s->lock);
        if (s->first == NULL) break;
        job *j = s->running = s->first;
        s->first = j->next;
        s->n_waiting--;
        pthread_mutex_unlock(&s->lock);
        run(s, j);
        pthread_mutex_lock(&s->lock);
        s->running = NULL;
        tk_free((void *)(uintptr_t)j->o.end);
        tk_free((void *)(uintptr_t)j->o.sample.bias);
        tk_free(j->prompt);
        tk_free(j);
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

tk_status tk_service_start(tk_model *m, const tk_service_opts *o, tk_service **out, tk_err *err)
{
    (void)err;
    tk_service *s = tk_alloc(sizeof *s);
    s->m = m;
    s->o = *o;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->more, NULL);
    pthread_create(&s->thread, NULL, main_loop, s);
    *out = s;
    return TK_OK;
}

tk_status tk_service_submit(tk_service *s, const tk_job_opts *o, tk_job_id *id, tk_err *err)
{
    pthread_mutex_lock(&s->lock);
    tk_status st = s->draining                               ? tk_fail(err, TK_INTERRUPTED, "draining")
                   : s->n_waiting >= s->o.max_num_waiting ? tk_fail(err, TK_NOMEM, "the queue is full")
                                                             : TK_OK;
    if (st == TK_OK) {
        job *j = tk_alloc(sizeof *j), **at = &s->first;
        j->o = *o;
        j->begun = tk_clock_ns();
        j->prompt = tk_alloc((size_t)o->n_prompt * 4);
        memcpy(j->prompt, o->prompt, (size_t)o->n_prompt * 4);
        int32_t *end = tk_alloc((size_t)o->n_end * 4 + 1);
        if (o->n_end) memcpy(end, o->end, (size_t)o->n_end * 4);
        j->o.end = end;
        tk_logit_bias *b = tk_alloc((size_t)o->sample.n_bias * sizeof *b + 1);
        if (o->sample.n_bias) memcpy(b, o->sample.bias, (size_t)o->sample.n_bias * sizeof *b);
        j->o.sample.bias = b;
        *id = j->id = ++s->last_id;
        while (*at) at = &(*at)->next;
        *at = j;
        s->n_waiting++;
        pthread_cond_broadcast(&s->more);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

void tk_service_cancel(tk_service *s, tk_job_id id)
{
    pthread_mutex_lock(&s->lock);
    for (job *j = s->first; j; j = j->next)
        if (j->id == id) j->cancelled = true;
    if (s->running && s->running->id == id) s->running->cancelled = true;
    pthread_mutex_unlock(&s->lock);
}

void tk_service_drain(tk_service *s)
{
    pthread_mutex_lock(&s->lock);
    s->draining = true;
    while (s->first || s->running) pthread_cond_wait(&s->more, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

void tk_service_stop(tk_service *s, double timeout_s)
{
    (void)timeout_s;
    if (s == NULL) return;
    pthread_mutex_lock(&s->lock);
    s->draining = s->stop = true;
    for (job *j = s->first; j; j = j->next) j->cancelled = true;
    if (s->running) s->running->cancelled = true;
    pthread_cond_broadcast(&s->more);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    tk_free(s);
}

tk_status tk_service_reset_prefix_cache(tk_service *s)
{
    (void)s;
    return TK_OK;
}

void tk_service_get_stats(const tk_service *s, tk_service_stats *out)
{
    *out = s->stats;
    out->n_waiting = s->n_waiting;
}

bool tk_service_expert_load(tk_service *s, uint64_t *out)
{
    (void)s, (void)out;
    return false;
}
