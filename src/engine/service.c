// SPDX-License-Identifier: MIT
#include "engine/service_tier.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

enum { CANCEL_ROOM = 1024 }; // messages besides one for each job

static const uint64_t logits_limit_bytes = 128u << 20;

tk_service_opts tk_service_opts_default(void)
{
    return (tk_service_opts){.max_num_seqs = 32,
                             .max_num_waiting = 1024,
                             .prefix_cache = true,
                             .kv_disk_bytes = (uint64_t)8 << 30};
}

static tk_status check_opts(const tk_model *m, const tk_service_opts *o, tk_err *err)
{
    const struct {
        const char *name;
        double value, min, max;
    } range[] = {
        {"max_num_seqs", o->max_num_seqs, 1, TK_LIMIT_SEQS},
        {"max_num_batched_tokens", o->max_num_batched_tokens, 0, INT32_MAX},
        {"max_num_waiting", o->max_num_waiting, 1, TK_LIMIT_WAITING},
        {"max_model_len", o->max_model_len, 0, TK_LIMIT_CONTEXT},
        {"chunked_prefill_size", o->chunked_prefill_size, 0, INT32_MAX},
        {"ttft_target_s", o->ttft_target_s, 0, 1e9},
        {"tpot_target_s", o->tpot_target_s, 0, 1e9},
    };
    for (size_t i = 0; i < TK_COUNT(range); i++)
        if (!(range[i].value >= range[i].min && range[i].value <= range[i].max))
            return tk_fail(err, TK_USAGE, "%s is %g, it may be %g to %g", range[i].name,
                           range[i].value, range[i].min, range[i].max);
    if (m->engine == NULL || tk_engine_exec(m->engine) == NULL)
        return tk_fail(err, TK_USAGE, "the model is not loaded");
    return TK_OK;
}

// Rows of logits a step may ask for: one for each running job, more only for prompt logprobs, within a bound.
static tk_status make_logits(tk_service *s, tk_err *err)
{
    size_t row_bytes = (size_t)s->n_vocab * sizeof *s->logits;
    int32_t most = (int32_t)TK_MAX((uint64_t)1, logits_limit_bytes / row_bytes);
    s->n_row = TK_MIN(TK_MIN(s->max_step_tok, most), TK_MAX(s->opts.max_num_seqs, 16));
    s->logits = tk_try_alloc((size_t)s->n_row, row_bytes);
    if (s->logits) return TK_OK;
    return tk_fail(err, TK_NOMEM, "no memory for %d rows of %d logits (%.1f MiB)", s->n_row,
                   s->n_vocab, (double)s->n_row * (double)row_bytes / (1 << 20));
}

static void make_lists(tk_service *s)
{
    size_t n_seq = (size_t)s->opts.max_num_seqs, n_tok = (size_t)s->max_step_tok;
    // every job that is live may be waiting; those preempted do not count against max_num_waiting
    s->cap_waiting = s->opts.max_num_waiting + s->opts.max_num_seqs;
    s->waiting = tk_alloc((size_t)s->cap_waiting * sizeof *s->waiting);
    s->running = tk_alloc(n_seq * sizeof *s->running);
    s->parts = tk_alloc(n_tok * sizeof *s->parts);
    s->exec_parts = tk_alloc(n_tok * sizeof *s->exec_parts);
    s->order = tk_alloc(n_tok * sizeof *s->order);
    s->busy_keys = tk_alloc(3 * n_tok * sizeof *s->busy_keys); // a part of n touches n / 64 + 2
    s->mask = tk_alloc(((size_t)s->n_vocab + 63) / 64 * sizeof *s->mask);
    s->scratch = tk_sample_scratch_new(s->n_vocab);
    s->fair = tk_fair_new(s->cap_waiting);
    s->inbox = tk_queue_new(sizeof(svc_msg), (size_t)s->cap_waiting + CANCEL_ROOM);
}

void svc_free(tk_service *s)
{
    if (s == NULL) return;
    svc_tier_stop(s);
    tk_free(s->waiting);
    tk_free(s->running);
    tk_free(s->parts);
    tk_free(s->exec_parts);
    tk_free(s->order);
    tk_free(s->busy_keys);
    tk_free(s->mask);
    tk_free(s->logits);
    tk_free(s->expert_load);
    tk_sample_scratch_free(s->scratch);
    tk_fair_free(s->fair);
    tk_queue_free(s->inbox);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->door);
    tk_free(s);
}

static void set_up(tk_service *s, tk_model *m, const tk_service_opts *o)
{
    const tk_config *c = &tk_engine_program(m->engine)->cfg;
    s->opts = *o;
    s->model = m;
    s->exec = tk_engine_exec(m->engine);
    s->kv = tk_exec_kv_pool(s->exec);
    s->n_vocab = c->n_vocab;
    const tk_exec_plan *plan = tk_exec_plan_of(s->exec);
    s->max_step_tok = o->max_num_batched_tokens > 0
                          ? TK_MIN(o->max_num_batched_tokens, plan->n_step_tok)
                          : plan->n_step_tok;
    s->max_len = TK_MIN(o->max_model_len > 0 ? o->max_model_len : c->max_ctx, plan->n_kv_tok);
    if (o->deterministic) tk_exec_fix_form(s->exec);
    tk_kv_prefix_reset(s->kv); // what an earlier service left may be of another form
    if (tk_exec_expert_load(s->exec))
        s->expert_load =
            tk_alloc((size_t)c->n_layer * (size_t)c->moe.n_expert * sizeof *s->expert_load);
    s->now.n_block = s->now.n_block_free = tk_kv_pool_count(s->kv);
    s->stats = s->now;
    pthread_mutex_init(&s->door, NULL);
    pthread_cond_init(&s->idle, NULL);
}

static void say_plan(const tk_service *s)
{
    double mib = 1.0 / (1 << 20);
    tk_log(
        TK_LOG_INFO,
        "serving: %d sequences at once of at most %d tokens, %d KV blocks of %d tokens, steps of "
        "at most %d tokens; logits %.1f MiB, disk buffers %.1f MiB",
        s->opts.max_num_seqs, s->max_len, tk_kv_pool_count(s->kv), TK_KV_BLOCK_TOK, s->max_step_tok,
        (double)s->n_row * s->n_vocab * sizeof *s->logits * mib,
        (double)svc_tier_buffer_bytes(s) * mib);
}

tk_status svc_new(tk_model *m, const tk_service_opts *o, tk_service **out, tk_err *err)
{
    *out = NULL;
    tk_status st = check_opts(m, o, err);
    if (st != TK_OK) return st;
    tk_service *s = tk_alloc(sizeof *s);
    tk_engine_rewind(m->engine, 0); // the cache is the service's alone now
    set_up(s, m, o);
    make_lists(s);
    TK_TRY(make_logits(s, err));
    TK_TRY(svc_tier_start(s, err));
    *out = s;
    s = NULL;
done:
    svc_free(s);
    return st;
}

tk_status tk_service_start(tk_model *m, const tk_service_opts *o, tk_service **out, tk_err *err)
{
    tk_service *s = NULL;
    *out = NULL;
    tk_status st = svc_new(m, o, &s, err);
    if (st != TK_OK) return st;
    say_plan(s);
    int rc = pthread_create(&s->thread, NULL, svc_thread, s);
    if (rc != 0) {
        svc_free(s);
        return tk_fail(err, TK_FAILED, "cannot make the engine thread: %s", strerror(rc));
    }
    pthread_setname_np(s->thread, "tk-engine");
    *out = s;
    return TK_OK;
}

// Counts the job in and posts it; the door is held, so that draining sees it or refuses it.
static tk_status let_in(tk_service *s, svc_job *j, tk_job_id *id, tk_err *err)
{
    if (s->draining)
        return tk_fail(err, TK_INTERRUPTED, "no new requests are taken: shutting down");
    if (s->n_queued >= s->opts.max_num_waiting || s->n_live >= s->cap_waiting)
        return tk_fail(err, TK_NOMEM,
                       "the queue is full: %d requests wait and %d were begun, at most %d may wait",
                       s->n_queued, s->n_live - s->n_queued, s->opts.max_num_waiting);
    svc_msg m = {.kind = SVC_MSG_JOB, .job = j};
    *id = j->id = s->last_id + 1; // before its first callback can come
    if (!tk_queue_push(s->inbox, &m))
        return tk_fail(err, TK_NOMEM, "the queue is full: too many cancellations stand in it");
    s->last_id++;
    s->n_live++;
    s->n_queued++;
    return TK_OK;
}

tk_status tk_service_submit(tk_service *s, const tk_job_opts *o, tk_job_id *id, tk_err *err)
{
    svc_job *j = NULL;
    tk_status st = svc_job_new(s, o, &j, err);
    if (st != TK_OK) return st;
    pthread_mutex_lock(&s->door);
    st = let_in(s, j, id, err);
    pthread_mutex_unlock(&s->door);
    if (st != TK_OK) svc_job_free(j);
    return st;
}

void tk_service_cancel(tk_service *s, tk_job_id id)
{
    svc_msg m = {.kind = SVC_MSG_CANCEL, .value = id};
    if (!pthread_equal(pthread_self(), s->thread)) {
        tk_queue_push_wait(s->inbox, &m);
        return;
    }
    svc_take_messages(s); // its own: the job may still be in the inbox
    svc_mark_cancelled(s, id);
}

void tk_service_drain(tk_service *s)
{
    pthread_mutex_lock(&s->door);
    s->draining = true;
    s->n_drainer++;
    while (s->n_live > 0) pthread_cond_wait(&s->idle, &s->door);
    if (--s->n_drainer == 0) pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->door);
}

void tk_service_stop(tk_service *s, double timeout_s)
{
    if (s == NULL) return;
    double ns = TK_MAX(0, TK_MIN(timeout_s, 1e9)) * 1e9;
    svc_msg m = {.kind = SVC_MSG_STOP, .value = tk_clock_ns() + (uint64_t)ns};
    pthread_mutex_lock(&s->door);
    s->draining = true;
    pthread_mutex_unlock(&s->door);
    tk_queue_push_wait(s->inbox, &m);
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->door);
    while (s->n_drainer > 0) pthread_cond_wait(&s->idle, &s->door);
    pthread_mutex_unlock(&s->door);
    svc_free(s);
}

tk_status tk_service_reset_prefix_cache(tk_service *s)
{
    svc_msg m = {.kind = SVC_MSG_RESET};
    if (!pthread_equal(pthread_self(), s->thread))
        tk_queue_push_wait(s->inbox, &m);
    else if (!tk_queue_push(s->inbox, &m))
        return TK_NOMEM;
    return TK_OK;
}

void tk_service_get_stats(const tk_service *s, tk_service_stats *out)
{
    pthread_mutex_t *door = (pthread_mutex_t *)(uintptr_t)&s->door; // reading locks, too
    pthread_mutex_lock(door);
    *out = s->stats;
    pthread_mutex_unlock(door);
}

bool tk_service_expert_load(tk_service *s, uint64_t *out)
{
    if (s->expert_load == NULL) return false;
    const tk_config *c = &tk_engine_program(s->model->engine)->cfg;
    pthread_mutex_lock(&s->door);
    memcpy(out, s->expert_load, (size_t)c->n_layer * (size_t)c->moe.n_expert * sizeof *out);
    pthread_mutex_unlock(&s->door);
    return true;
}
