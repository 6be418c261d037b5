// SPDX-License-Identifier: MIT
// What the files of the service share:
//   service.c       the calls of other threads
//   service_loop.c  the engine thread: messages, steps, the end
//   service_plan.c  what goes into a step: decodes, prompt chunks, admission, preemption
//   service_job.c   one job: from its options to its result
//   service_tier.c  blocks to and from disk
#ifndef TK_ENGINE_SERVICE_PRIV_H
#define TK_ENGINE_SERVICE_PRIV_H

#include "base/queue.h"
#include "engine/fair.h"
#include "engine/service.h"
#include "engine/step_time.h"
#include "kv/prefix.h"

#include <pthread.h>

typedef enum svc_state { SVC_WAITING, SVC_RUNNING } svc_state;

typedef struct svc_job { // owner: engine thread, from its message on
    tk_job_id id;
    svc_state state;
    int32_t at; // index in waiting or running
    // as submitted
    int32_t max_out; // max_tokens, or what the context leaves
    int32_t *end;    // owned
    int n_end, n_top;
    bool prompt_logprobs;
    int32_t priority;
    uint64_t key;
    tk_job_grammar grammar;
    tk_job_token_fn on_token;
    tk_job_done_fn on_done;
    void (*on_prompt_token)(void *ctx, const tk_job_token *t);
    void *ctx;
    // its text: the prompt, then what was drawn
    int32_t *ids;
    int32_t n_prompt, n_ids, cap_ids;
    tk_kv_table seq; // seq.n_tok of ids are computed
    tk_sampler *sampler;
    // how far
    int32_t n_shown;   // prompt positions whose logprobs are shown (the first has none)
    int32_t n_charged; // tokens of ids that its key has paid for
    int32_t n_cached;
    int32_t i_key;
    bool was_started, cancelled;
    // the disk tier
    bool is_loading;                        // takes no part in steps
    int32_t load_next, load_end, n_loading; // blocks to ask for; asked for and not here
    tk_kv_key load_key;                     // of load_next
    uint64_t load_epoch;
    int32_t n_stored;             // leading blocks that are done with
    uint64_t tried_plan, planned; // the last plan that looked at it, that took it in
    uint64_t submit_ns, start_ns, prefill_ns, first_ns;
} svc_job;

typedef enum svc_msg_kind {
    SVC_MSG_JOB,
    SVC_MSG_CANCEL,
    SVC_MSG_RESET,
    SVC_MSG_STOP,
    SVC_MSG_TIER
} svc_msg_kind;

typedef struct svc_msg {
    svc_msg_kind kind;
    svc_job *job;
    uint64_t value; // cancel: job id; stop: deadline, ns; tier: buffer
} svc_msg;

// One part of the step being planned.
typedef struct svc_part {
    svc_job *job;
    int32_t n, n_logits;
    bool finishes; // its last token's logits are drawn from
} svc_part;

typedef struct svc_tier svc_tier;

struct tk_service {
    tk_service_opts opts;
    tk_model *model;
    tk_exec *exec;
    tk_kv_pool *kv;
    int32_t n_vocab, max_len, max_step_tok;
    pthread_t thread;
    tk_queue *inbox; // svc_msg

    pthread_mutex_t door; // guards the fields up to `stats`
    pthread_cond_t idle;  // n_live became 0, n_drainer became 0
    bool draining;
    int32_t n_live;   // submitted and not done
    int32_t n_queued; // submitted and not started
    int32_t n_drainer;
    tk_job_id last_id;
    tk_service_stats stats;
    uint64_t *expert_load; // NULL when dense

    // everything below: engine thread
    tk_service_stats now;         // copied to stats after each step
    svc_job **waiting, **running; // running is sorted: priority, then id
    int32_t n_waiting, n_running, cap_waiting;
    bool any_cancelled, stopping;
    uint64_t stop_ns; // deadline
    tk_fair *fair;
    svc_tier *tier; // NULL = none
    tk_step_time time;
    double credit_s;      // seconds the running streams are ahead of their TPOT target
    int32_t n_starved;    // steps in a row in which prompts waited and none was taken
    int32_t first_decode; // where in running the decodes of a step begin, when not all fit
    // the step
    uint64_t plan_no;
    svc_part *parts;          // [max_step_tok] as planned
    tk_step_part *exec_parts; // as run
    int32_t *order;           // exec_parts[k] is parts[order[k]]
    int32_t n_part, n_planned_tok, n_planned_decode, n_planned_row;
    tk_kv_key *busy_keys; // whole blocks that this step computes
    int32_t n_busy_key;
    float *logits; // [n_row][n_vocab]
    int32_t n_row;
    uint64_t *mask;
    tk_sample_scratch *scratch;
};

// service.c: a service without its thread (tests plan steps by hand).
tk_status svc_new(tk_model *m, const tk_service_opts *o, tk_service **out, tk_err *err);
void svc_free(tk_service *s); // NULL is fine

// service_loop.c
// After a step that took this long.
void svc_keep_books(tk_service *s, double seconds);
void *svc_thread(void *service);
void svc_take_messages(tk_service *s);
void svc_mark_cancelled(tk_service *s, tk_job_id id);

// service_plan.c
// Fills parts; the blocks they need are reserved.
void svc_plan_step(tk_service *s, uint64_t now_ns);
void svc_start_waiting(tk_service *s, svc_job *j); // into waiting
void svc_drop(tk_service *s, svc_job *j); // out of waiting or running; its blocks are given back
void svc_count_hit(tk_service *s, svc_job *j, int32_t had);
// Tokens of its text that are not computed yet.
static inline int32_t svc_pending(const svc_job *j)
{
    return j->n_ids - j->seq.n_tok;
}

// service_job.c
tk_status svc_job_new(const tk_service *s, const tk_job_opts *o, svc_job **out, tk_err *err);
void svc_job_free(svc_job *j);
// After its part of a step: shows prompt logprobs, draws a token, perhaps ends the job (then j is gone).
void svc_job_advance(tk_service *s, svc_job *j, const svc_part *p, const float *logits,
                     uint64_t now_ns);
void svc_job_finish(tk_service *s, svc_job *j, tk_finish reason, tk_status st, const char *error);

#endif
