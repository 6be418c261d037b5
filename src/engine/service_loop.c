// SPDX-License-Identifier: MIT
// The engine thread: takes messages, plans a step, runs it, shows what came out; sleeps when there is nothing
// to do. It never waits for another thread otherwise.
#include "engine/service_tier.h"

#include "base/clock.h"
#include "base/log.h"

#include <string.h>

void svc_mark_cancelled(tk_service *s, tk_job_id id)
{
    svc_job **const lists[] = {s->running, s->waiting};
    const int32_t n[] = {s->n_running, s->n_waiting};
    for (int k = 0; k < 2; k++)
        for (int32_t i = 0; i < n[k]; i++)
            if (lists[k][i]->id == id) lists[k][i]->cancelled = s->any_cancelled = true;
}

static void take_message(tk_service *s, const svc_msg *m)
{
    switch (m->kind) {
    case SVC_MSG_JOB:
        m->job->i_key = tk_fair_enter(s->fair, m->job->key);
        svc_start_waiting(s, m->job);
        break;
    case SVC_MSG_CANCEL: svc_mark_cancelled(s, m->value); break;
    case SVC_MSG_RESET: tk_kv_prefix_reset(s->kv); break;
    case SVC_MSG_TIER: svc_tier_take(s, (int32_t)m->value); break;
    case SVC_MSG_STOP:
        s->stopping = true;
        s->stop_ns = m->value;
        break;
    }
}

void svc_take_messages(tk_service *s)
{
    svc_msg m;
    while (tk_queue_pop(s->inbox, &m)) take_message(s, &m);
}

// Ends the jobs that were cancelled; all of them when the deadline of a stop has passed.
static void sweep(tk_service *s)
{
    bool all = s->stopping && tk_clock_ns() >= s->stop_ns;
    if (!all && !s->any_cancelled) return;
    s->any_cancelled = false;
    for (int32_t i = s->n_running; i-- > 0;)
        if (all || s->running[i]->cancelled)
            svc_job_finish(s, s->running[i], TK_FINISH_CANCELLED, TK_INTERRUPTED, "cancelled");
    for (int32_t i = s->n_waiting; i-- > 0;)
        if (all || s->waiting[i]->cancelled)
            svc_job_finish(s, s->waiting[i], TK_FINISH_CANCELLED, TK_INTERRUPTED, "cancelled");
}

static void publish(tk_service *s)
{
    const uint64_t *load = tk_exec_expert_load(s->exec);
    const tk_config *c = &tk_engine_program(s->model->engine)->cfg;
    s->now.n_running = s->n_running;
    s->now.n_waiting = s->n_waiting;
    s->now.n_block_free = tk_kv_pool_free_count(s->kv);
    s->now.n_block_cached = tk_kv_pool_cached_count(s->kv);
    svc_tier_fill_stats(s);
    pthread_mutex_lock(&s->door);
    s->stats = s->now;
    if (s->expert_load)
        memcpy(s->expert_load, load, (size_t)c->n_layer * (size_t)c->moe.n_expert * sizeof *load);
    pthread_mutex_unlock(&s->door);
}

// Parts in the order that keeps rows with logits together, so that the head's weights are read once: chunks
// that end inside their prompt, then the others, then decodes. Says where each part's logits go.
static void lay_out_parts(tk_service *s)
{
    int32_t n = 0, row = 0;
    for (int32_t pass = 0; pass < 3; pass++)
        for (int32_t i = 0; i < s->n_part; i++) {
            const svc_part *p = &s->parts[i];
            int32_t is = i < s->n_planned_decode ? 2 : p->n_logits > 0;
            if (is != pass) continue;
            s->exec_parts[n++] = (tk_step_part){
                .seq = &p->job->seq,
                .ids = p->job->ids + p->job->seq.n_tok,
                .n = p->n,
                .n_logits = p->n_logits,
                .logits = s->logits + (size_t)row * (size_t)s->n_vocab,
            };
            s->order[n - 1] = i;
            row += p->n_logits;
        }
}

static void fail_step(tk_service *s, tk_status st, const tk_err *err)
{
    tk_log(TK_LOG_WARN, "a step of %d tokens failed: %s", s->n_planned_tok, err->msg);
    for (int32_t i = 0; i < s->n_part; i++)
        svc_job_finish(s, s->parts[i].job, TK_FINISH_ERROR, st, err->msg);
}

static int step_bucket(int32_t n_tok)
{
    int i = 0;
    while (i < TK_STEP_TOK_BUCKETS && n_tok > 1 << i) i++;
    return i;
}

void svc_keep_books(tk_service *s, double seconds)
{
    double target = s->opts.tpot_target_s;
    s->now.n_step++;
    s->now.step_s_sum += seconds;
    s->now.step_tok[step_bucket(s->n_planned_tok)]++;
    s->now.step_tok_sum += (uint64_t)s->n_planned_tok;
    tk_step_time_add(&s->time, s->n_planned_tok, seconds);
    if (target <= 0) return;
    s->credit_s = s->n_planned_decode > 0 ? s->credit_s + target - seconds : 0;
    s->credit_s = TK_MAX(-target, TK_MIN(target, s->credit_s));
}

static void run_step(tk_service *s)
{
    tk_err err = TK_ERR_INIT;
    lay_out_parts(s);
    uint64_t begin = tk_clock_ns();
    tk_status st = tk_exec_step(s->exec, s->exec_parts, s->n_part, &err);
    uint64_t end = tk_clock_ns();
    if (st != TK_OK) {
        fail_step(s, st, &err);
        return;
    }
    svc_keep_books(s, (double)(end - begin) * 1e-9);
    // all books before any callback: what one job's end gives back, another's block may be
    for (int32_t k = 0; k < s->n_part && s->opts.prefix_cache; k++) {
        const svc_part *p = &s->parts[s->order[k]];
        bool whole = p->finishes && p->job->n_ids == p->job->n_prompt; // its prompt is done
        tk_kv_prefix_register(s->kv, &p->job->seq, p->job->ids, whole);
    }
    for (int32_t k = 0; k < s->n_part; k++) {
        const svc_part *p = &s->parts[s->order[k]];
        if (!p->job->cancelled) svc_job_advance(s, p->job, p, s->exec_parts[k].logits, end);
    }
}

// With the deadline passed, what has not gone to disk yet is let go.
static bool may_end(const tk_service *s)
{
    return svc_tier_is_idle(s) || tk_clock_ns() >= s->stop_ns;
}

void *svc_thread(void *service)
{
    tk_service *s = service;
    for (;;) {
        svc_take_messages(s);
        sweep(s);
        svc_tier_store(s);
        if (s->n_running + s->n_waiting > 0) {
            svc_plan_step(s, tk_clock_ns());
            if (s->n_part > 0) run_step(s);
            publish(s);
            if (s->n_part > 0) continue;
        } else {
            publish(s);
            if (s->stopping && may_end(s)) return NULL;
        }
        svc_msg m;
        uint64_t now = tk_clock_ns();
        uint64_t wait_ns = s->stopping ? TK_MAX(s->stop_ns, now) - now : UINT64_MAX;
        if (tk_queue_pop_wait(s->inbox, &m, wait_ns)) take_message(s, &m);
    }
}
