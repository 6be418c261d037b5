// SPDX-License-Identifier: MIT
// One job: what was asked is checked and copied, tokens are drawn and shown, the end is told.
#include "engine/service_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

static bool is_in(int32_t id, const int32_t *list, int n)
{
    for (int i = 0; i < n; i++)
        if (list[i] == id) return true;
    return false;
}

// The model's own ends and the request's, or with ignore_eos the request's that are not the model's.
static void set_ends(const tk_service *s, const tk_job_opts *o, svc_job *j)
{
    const tk_model *m = s->model;
    j->end = tk_alloc((size_t)(m->n_end + o->n_end) * sizeof *j->end);
    for (int i = 0; i < m->n_end && !o->ignore_eos; i++) j->end[j->n_end++] = m->end[i];
    for (int i = 0; i < o->n_end; i++)
        if (!is_in(o->end[i], m->end, m->n_end)) j->end[j->n_end++] = o->end[i];
}

static tk_status check_numbers(const tk_job_opts *o, tk_err *err)
{
    const tk_sample_opts *p = &o->sample;
    const struct {
        const char *name;
        double value, min, max;
    } range[] = {
        {"max_tokens", o->max_tokens, 0, INT32_MAX},
        {"n_top_logprobs", o->n_top_logprobs, 0, TK_LIMIT_TOP_LOGPROBS},
        {"the number of end ids", o->n_end, 0, TK_LIMIT_END_IDS},
        {"the number of biased ids", p->n_bias, 0, TK_LIMIT_LOGIT_BIAS},
        {"temperature", p->temperature, 0, 1e6},
        {"top_p", p->top_p, 1e-9, 1},
        {"min_p", p->min_p, 0, 1},
        {"top_k", (double)p->top_k, 0, INT32_MAX},
        {"repetition_penalty", p->repetition_penalty, 0, 1e6},
        {"presence_penalty", p->presence_penalty, -1e6, 1e6},
        {"frequency_penalty", p->frequency_penalty, -1e6, 1e6},
    };
    for (size_t i = 0; i < TK_COUNT(range); i++)
        if (!(range[i].value >= range[i].min && range[i].value <= range[i].max))
            return tk_fail(err, TK_BAD_INPUT, "%s is %g, it may be %g to %g", range[i].name,
                           range[i].value, range[i].min, range[i].max);
    if (o->prompt_logprobs && o->on_prompt_token == NULL)
        return tk_fail(err, TK_BAD_INPUT, "prompt logprobs are asked for and nobody takes them");
    return TK_OK;
}

static tk_status check_prompt(const tk_service *s, const tk_job_opts *o, tk_err *err)
{
    if (o->n_prompt < 1) return tk_fail(err, TK_BAD_INPUT, "the prompt has no tokens");
    if (o->n_prompt > s->max_len)
        return tk_fail(err, TK_BAD_INPUT,
                       "the prompt has %d tokens, the context holds %d (%d KV blocks of %d tokens, "
                       "at most %d tokens a request)",
                       o->n_prompt, s->max_len, tk_kv_pool_count(s->kv), TK_KV_BLOCK_TOK,
                       s->max_len);
    for (int32_t i = 0; i < o->n_prompt; i++)
        if (o->prompt[i] < 0 || o->prompt[i] >= s->n_vocab)
            return tk_fail(err, TK_BAD_INPUT,
                           "token id %d of the prompt is outside the vocabulary "
                           "of %d",
                           o->prompt[i], s->n_vocab);
    return TK_OK;
}

tk_status svc_job_new(const tk_service *s, const tk_job_opts *o, svc_job **out, tk_err *err)
{
    tk_status st = check_numbers(o, err);
    if (st == TK_OK) st = check_prompt(s, o, err);
    if (st != TK_OK) return st;
    svc_job *j = tk_alloc(sizeof *j);
    // the last token drawn is not fed: one more than the context leaves
    j->max_out = TK_MIN(o->max_tokens, s->max_len - o->n_prompt + 1);
    j->n_top = o->n_top_logprobs;
    j->prompt_logprobs = o->prompt_logprobs;
    j->priority = o->priority;
    j->key = o->key;
    j->grammar = o->grammar;
    j->on_token = o->on_token;
    j->on_done = o->on_done;
    j->on_prompt_token = o->on_prompt_token;
    j->ctx = o->ctx;
    j->n_prompt = j->n_ids = o->n_prompt;
    j->cap_ids = o->n_prompt + TK_MIN(j->max_out, 256);
    j->ids = tk_try_alloc((size_t)j->cap_ids, sizeof *j->ids);
    if (j->ids == NULL) {
        tk_free(j);
        return tk_fail(err, TK_NOMEM, "no memory for a prompt of %d tokens", o->n_prompt);
    }
    memcpy(j->ids, o->prompt, (size_t)o->n_prompt * sizeof *j->ids);
    set_ends(s, o, j);
    j->sampler = tk_sampler_new(&o->sample);
    tk_sampler_see_prompt(j->sampler, j->ids, j->n_prompt);
    j->n_shown = 1;
    j->submit_ns = tk_clock_ns();
    *out = j;
    return TK_OK;
}

void svc_job_free(svc_job *j)
{
    if (j == NULL) return;
    tk_sampler_free(j->sampler);
    tk_free(j->end);
    tk_free(j->ids);
    tk_free(j);
}

static double seconds_between(uint64_t from, uint64_t to)
{
    return from && to > from ? (double)(to - from) * 1e-9 : 0;
}

void svc_job_finish(tk_service *s, svc_job *j, tk_finish reason, tk_status st, const char *error)
{
    uint64_t now = tk_clock_ns(), first = j->first_ns ? j->first_ns : j->prefill_ns;
    tk_job_result r = {
        .reason = reason,
        .n_prompt = j->n_prompt,
        .n_out = j->n_ids - j->n_prompt,
        .n_cached = j->n_cached,
        .queue_s = seconds_between(j->submit_ns, j->start_ns ? j->start_ns : now),
        .prefill_s = seconds_between(j->start_ns, first),
        .ttft_s = seconds_between(j->submit_ns, j->first_ns),
        .decode_s = seconds_between(j->first_ns, now),
        .e2e_s = seconds_between(j->submit_ns, now),
        .status = st,
        .error = error,
    };
    svc_drop(s, j);
    tk_fair_leave(s->fair, j->i_key);
    s->now.finished[reason]++;
    if (j->on_done) j->on_done(j->ctx, &r);
    pthread_mutex_lock(&s->door);
    s->n_live--;
    if (!j->was_started) s->n_queued--;
    if (s->n_live == 0) pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->door);
    svc_job_free(j);
}

// One token with what was thought of it, from the logits it was drawn (or could have been) from.
static tk_job_token describe(const tk_service *s, const svc_job *j, const float *logits, int32_t id,
                             tk_token *top)
{
    double log_sum = tk_sample_log_sum(logits, s->n_vocab);
    return (tk_job_token){
        .id = id,
        .logprob = (double)logits[id] - log_sum,
        .top = top,
        .n_top = tk_sample_top(logits, s->n_vocab, log_sum, j->n_top, top),
    };
}

// logits: rows of the positions [from, from + n).
static void show_prompt(tk_service *s, svc_job *j, int32_t from, int32_t n, const float *logits)
{
    tk_token top[TK_LIMIT_TOP_LOGPROBS];
    for (int32_t pos = from; pos < from + n && pos + 1 < j->n_prompt; pos++) {
        if (pos + 1 < j->n_shown) continue; // shown before a preemption
        tk_job_token t = describe(s, j, logits + (size_t)(pos - from) * (size_t)s->n_vocab,
                                  j->ids[pos + 1], top);
        j->on_prompt_token(j->ctx, &t);
        j->n_shown = pos + 2;
    }
}

static void append(svc_job *j, int32_t id)
{
    if (j->n_ids == j->cap_ids) {
        j->cap_ids = TK_MIN(j->cap_ids * 2, j->n_prompt + j->max_out);
        j->ids = tk_realloc(j->ids, (size_t)j->cap_ids * sizeof *j->ids);
    }
    j->ids[j->n_ids++] = id;
}

static void draw(tk_service *s, svc_job *j, const float *logits)
{
    const uint64_t *mask = NULL;
    if (j->grammar.mask) {
        memset(s->mask, 0, ((size_t)s->n_vocab + 63) / 64 * sizeof *s->mask);
        j->grammar.mask(j->grammar.ctx, s->mask, s->n_vocab);
        mask = s->mask;
    }
    int32_t id = tk_sampler_draw(j->sampler, s->scratch, logits, mask);
    if (id < 0) {
        svc_job_finish(s, j, TK_FINISH_ERROR, TK_FAILED, "the grammar allows no token");
        return;
    }
    if (j->first_ns == 0) j->first_ns = tk_clock_ns();
    if (j->grammar.accept) j->grammar.accept(j->grammar.ctx, id);
    if (is_in(id, j->end, j->n_end)) {
        svc_job_finish(s, j, TK_FINISH_STOP, TK_OK, "");
        return;
    }
    append(j, id);
    tk_sampler_see_output(j->sampler, id);
    s->now.generation_tokens++;
    tk_token top[TK_LIMIT_TOP_LOGPROBS];
    tk_job_token t = describe(s, j, logits, id, top);
    if (j->on_token && !j->on_token(j->ctx, &t))
        svc_job_finish(s, j, TK_FINISH_STOP, TK_OK, "");
    else if (j->n_ids - j->n_prompt >= j->max_out)
        svc_job_finish(s, j, TK_FINISH_LENGTH, TK_OK, "");
}

void svc_job_advance(tk_service *s, svc_job *j, const svc_part *p, const float *logits,
                     uint64_t now_ns)
{
    if (j->prompt_logprobs && p->n_logits > 0)
        show_prompt(s, j, j->seq.n_tok - p->n_logits, p->n_logits, logits);
    if (!p->finishes) return;
    if (j->prefill_ns == 0) {
        j->prefill_ns = now_ns;
        s->now.prompt_tokens += (uint64_t)j->n_prompt;
    }
    if (j->max_out == 0) {
        svc_job_finish(s, j, TK_FINISH_LENGTH, TK_OK, "");
        return;
    }
    draw(s, j, logits + (size_t)(p->n_logits - 1) * (size_t)s->n_vocab);
}
