// SPDX-License-Identifier: MIT
// Many requests at once over one loaded model: continuous batching. One thread, made by tk_service_start,
// owns the model's exec, its cache and all requests from then on; every call below is thread-safe and only
// posts a message to it. Callbacks run on that thread between steps: they must not block, and may call
// tk_service_submit and tk_service_cancel. docs/scheduling.md has the whole picture.
#ifndef TK_ENGINE_SERVICE_H
#define TK_ENGINE_SERVICE_H

#include "engine/generate.h"
#include "sample/sampler.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_service tk_service;
typedef uint64_t tk_job_id; // never 0, never reused

typedef struct tk_service_opts {
    int32_t max_num_seqs;           // running at once, 1..1024; default 32
    int32_t max_num_batched_tokens; // tokens of one step; 0 = what exec's plan takes; default 0
    int32_t max_num_waiting;        // queued requests, more are refused; 1..65536, default 1024
    int32_t max_model_len; // most tokens of one sequence; 0 = the model's limit; at most the cache
    int32_t chunked_prefill_size;        // most prompt tokens of one sequence in one step; 0 = all
    double ttft_target_s, tpot_target_s; // seconds; 0 = none; default 0
    bool prefix_cache;                   // default true
    bool deterministic;      // a request's output does not depend on what else is in the batch
    const char *kv_disk_dir; // folder of the disk tier (made if missing), NULL = none
    uint64_t kv_disk_bytes;  // most bytes of files in it; default 8 GiB
} tk_service_opts;

tk_service_opts tk_service_opts_default(void);

// One token of a job. logprob and top are of the model's own distribution: no temperature, filter,
// penalty, bias or mask. top: the n_top likeliest ids, best first; borrowed for the call.
typedef struct tk_job_token {
    int32_t id;
    double logprob;
    const tk_token *top;
    int n_top;
} tk_job_token;

// A new token (end tokens are not shown). Return false to finish the job (TK_FINISH_STOP).
typedef bool (*tk_job_token_fn)(void *ctx, const tk_job_token *t);

// What may come next. mask: fills [(n_vocab + 63) / 64] words, bit i = token i is allowed (bits past n_vocab
// do not matter); no bit set ends the job with an error. accept: told each token drawn, the end token too.
typedef struct tk_job_grammar {
    void *ctx;
    void (*mask)(void *ctx, uint64_t *bits, int32_t n_vocab); // NULL = no grammar
    void (*accept)(void *ctx, int32_t id);
} tk_job_grammar;

typedef enum tk_finish {
    TK_FINISH_STOP,      // an end token, or a callback said so
    TK_FINISH_LENGTH,    // max_tokens, or the context is full
    TK_FINISH_CANCELLED, // tk_service_cancel, or tk_service_stop's deadline
    TK_FINISH_ERROR,     // status and error say why
    TK_FINISH_COUNT
} tk_finish;

typedef struct tk_job_result {
    tk_finish reason;
    int32_t n_prompt, n_out; // tokens; n_out without the end token
    int32_t n_cached;        // prompt tokens that came out of the prefix cache or the disk tier
    double queue_s;          // submitted .. first taken into a step
    double prefill_s;        // .. first token
    double ttft_s;           // submitted .. first token; 0 when there was none
    double decode_s;         // first token .. end
    double e2e_s;
    tk_status status;
    const char *error; // "" or the story; borrowed for the call
} tk_job_result;

// Exactly once for each submitted job, after its last token.
typedef void (*tk_job_done_fn)(void *ctx, const tk_job_result *r);

typedef struct tk_job_opts {
    const int32_t *prompt; // [n_prompt], copied
    int32_t n_prompt;      // >= 1
    int32_t max_tokens;    // >= 0; 0: prompt logprobs, or filling the cache, only
    tk_sample_opts sample; // its lists are copied
    const int32_t *end;    // [n_end] ids that end the answer besides the model's own; copied
    int n_end;
    bool ignore_eos;    // the model's own end ids do not end it (even when they stand in end)
    int n_top_logprobs; // 0..TK_LIMIT_TOP_LOGPROBS
    bool
        prompt_logprobs; // needs on_prompt_token; the prompt is computed whole, past the prefix cache
    uint64_t key;        // whom it is for: keys share the machine fairly; 0 = nobody's, a key too
    int32_t priority;    // lower runs first; default 0
    tk_job_grammar grammar;
    tk_job_token_fn on_token;
    tk_job_done_fn on_done;
    // Prompt positions 1.. in order, before the first token.
    void (*on_prompt_token)(void *ctx, const tk_job_token *t);
    void *ctx;
} tk_job_opts;

// m must be loaded (tk_engine_load), outlive the service and be used by nobody else meanwhile, but for its
// tokenizer and templates. TK_USAGE names an option out of range, TK_NOMEM what does not fit, with numbers.
tk_status tk_service_start(tk_model *m, const tk_service_opts *o, tk_service **out, tk_err *err);

// TK_BAD_INPUT: a prompt that can never fit (with the arithmetic), bad ids or options. TK_NOMEM: the queue
// is full. TK_INTERRUPTED: draining. On failure no callback comes. *id is set before the first callback.
tk_status tk_service_submit(tk_service *s, const tk_job_opts *j, tk_job_id *id, tk_err *err);

// Takes effect within one step; at most one more token is shown. An unknown or finished id is fine.
void tk_service_cancel(tk_service *s, tk_job_id id);

// No new jobs from now on; returns when all have ended. Not from a callback.
void tk_service_drain(tk_service *s);

// Drains for at most timeout_s, cancels the rest, writes what the disk tier still has to, joins, frees. No
// other call may begin after it. Not from a callback. NULL is fine.
void tk_service_stop(tk_service *s, double timeout_s);

// Forgets cached prefixes in memory (blocks in use go on); the disk tier keeps its files.
tk_status tk_service_reset_prefix_cache(tk_service *s);

enum { TK_STEP_TOK_BUCKETS = 17 }; // up to 65536 tokens, the most --max-num-batched-tokens takes

typedef struct tk_service_stats {
    int32_t n_running, n_waiting;
    int32_t n_block;        // KV blocks of TK_KV_BLOCK_TOK tokens
    int32_t n_block_free;   // hold nothing
    int32_t n_block_cached; // used by no job, kept for their contents, given up when needed
    uint64_t n_step;
    uint64_t prompt_tokens;     // of jobs whose prompt was finished
    uint64_t generation_tokens; // shown
    uint64_t prefix_queries;    // prompt tokens looked up in the prefix cache
    uint64_t prefix_hits;       // tokens found, disk included
    uint64_t n_preempted;
    uint64_t kv_disk_hits;    // blocks read
    uint64_t kv_disk_bytes;   // of files now
    uint64_t kv_disk_corrupt; // files refused: damaged, cut short, foreign
    uint64_t finished[TK_FINISH_COUNT];
    double step_s_sum; // seconds in steps
    // steps by their tokens: at most 2^i, and more than before; [TK_STEP_TOK_BUCKETS]: above all
    uint64_t step_tok[TK_STEP_TOK_BUCKETS + 1];
    uint64_t step_tok_sum;
} tk_service_stats;

// A consistent snapshot of the last step.
void tk_service_get_stats(const tk_service *s, tk_service_stats *out);

// How often each expert was chosen, [n_layer][n_expert], at most a step old; false (out untouched) when the
// model is dense.
bool tk_service_expert_load(tk_service *s, uint64_t *out);

#endif
