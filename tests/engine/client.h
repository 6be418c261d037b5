// SPDX-License-Identifier: MIT
// What the service's tests share: a model, a job whose tokens are collected, waiting for it.
#ifndef TESTS_ENGINE_CLIENT_H
#define TESTS_ENGINE_CLIENT_H

#include "base/compiler.h"
#include "base/log.h"
#include "base/rng.h"
#include "engine/service.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { CLIENT_MAX = 512 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SLOW = 1 }; // sanitizers take 10 to 50 times as long: fewer rounds
#else
enum { IS_SLOW = 0 };
#endif

typedef struct client {
    tk_service *s;
    tk_job_id id;
    int32_t ids[CLIENT_MAX];
    double logprobs[CLIENT_MAX];
    int n;
    double prompt_logprobs[4096];
    int n_prompt_logprob;
    int stop_after;                     // the callback says stop at this many tokens; 0 = never
    int cancel_after;                   // it cancels its own job; 0 = never
    void (*at_third)(struct client *c); // called on the engine thread with the third token
    void *user;
    int *clock; // counts tokens of all jobs that share it; engine thread
    int first_at, last_at;
    bool done; // guarded by mutex
    tk_job_result result;
    char error[256];
} client;

static pthread_mutex_t client_mutex = PTHREAD_MUTEX_INITIALIZER; // guards every client's fields
static pthread_cond_t client_cond = PTHREAD_COND_INITIALIZER;

static bool client_token(void *ctx, const tk_job_token *t)
{
    client *c = ctx;
    pthread_mutex_lock(&client_mutex);
    bool fits = !c->done && c->n < CLIENT_MAX;
    if (fits) {
        c->ids[c->n] = t->id;
        c->logprobs[c->n++] = t->logprob;
    }
    if (c->clock) {
        c->last_at = ++*c->clock;
        if (c->first_at == 0) c->first_at = c->last_at;
    }
    int n = c->n;
    pthread_cond_broadcast(&client_cond);
    pthread_mutex_unlock(&client_mutex);
    if (n == 3 && c->at_third) c->at_third(c);
    if (n == c->cancel_after) tk_service_cancel(c->s, c->id);
    return n != c->stop_after;
}

static void client_prompt_token(void *ctx, const tk_job_token *t)
{
    client *c = ctx;
    pthread_mutex_lock(&client_mutex);
    if (c->n == 0 && !c->done) c->prompt_logprobs[c->n_prompt_logprob++] = t->logprob;
    pthread_mutex_unlock(&client_mutex);
}

static void client_done(void *ctx, const tk_job_result *r)
{
    client *c = ctx;
    pthread_mutex_lock(&client_mutex);
    if (c->done) fail_msg("a job was told its end twice");
    c->done = true;
    c->result = *r;
    snprintf(c->error, sizeof c->error, "%s", r->error);
    pthread_cond_broadcast(&client_cond);
    pthread_mutex_unlock(&client_mutex);
}

static TK_UNUSED tk_job_opts client_opts(client *c, const int32_t *prompt, int32_t n_prompt,
                                         int32_t max_tokens)
{
    return (tk_job_opts){.prompt = prompt,
                         .n_prompt = n_prompt,
                         .max_tokens = max_tokens,
                         .sample = tk_sample_opts_default(),
                         .on_token = client_token,
                         .on_done = client_done,
                         .on_prompt_token = client_prompt_token,
                         .ctx = c};
}

static TK_UNUSED void client_submit(client *c, tk_service *s, const tk_job_opts *o)
{
    tk_err err = TK_ERR_INIT;
    c->s = s;
    if (tk_service_submit(s, o, &c->id, &err) != TK_OK) fail_msg("%s", err.msg);
}

static TK_UNUSED void client_wait(client *c)
{
    pthread_mutex_lock(&client_mutex);
    while (!c->done) pthread_cond_wait(&client_cond, &client_mutex);
    pthread_mutex_unlock(&client_mutex);
}

static TK_UNUSED void client_wait_tokens(client *c, int n)
{
    pthread_mutex_lock(&client_mutex);
    while (!c->done && c->n < n) pthread_cond_wait(&client_cond, &client_mutex);
    pthread_mutex_unlock(&client_mutex);
}

#define GOLDEN(name) TK_SOURCE_DIR "/tests/golden/data/" name

// A loaded model with a cache of n_ctx tokens, in the form that deterministic mode fixes.
static TK_UNUSED void open_model(const char *path, int32_t n_ctx, tk_model *m)
{
    tk_engine_opts eo = tk_engine_opts_default();
    tk_err err = TK_ERR_INIT;
    eo.n_thread = 1; // many short steps: a second thread would wait more than it works
    eo.n_ctx = n_ctx;
    eo.mla_expand_from = -1;
    if (tk_model_open(path, &eo, false, m, &err) != TK_OK ||
        tk_engine_load(m->engine, 0, &err) != TK_OK)
        fail_msg("%s", err.msg);
}

static TK_UNUSED tk_service *start(tk_model *m, const tk_service_opts *o)
{
    tk_err err = TK_ERR_INIT;
    tk_service *s;
    if (tk_service_start(m, o, &s, &err) != TK_OK) fail_msg("%s", err.msg);
    return s;
}

#endif
