// SPDX-License-Identifier: MIT
// Generations: the jobs of a call, their tokens on the way from the engine through the parsers to the format.
#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "server/server_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// --- on the engine's thread ---

static tk_event *make_event(tk_choice *k, tk_event_kind kind, const char *text, size_t len)
{
    tk_event *e = tk_alloc(sizeof *e + len + 1);
    e->kind = kind;
    e->call = k->call;
    e->choice = k;
    e->at_ns = tk_clock_ns();
    e->lp.id = -1;
    e->len = len;
    if (len) memcpy(e->text, text, len);
    return e;
}

// How many of the call's events wait; the loop takes them all whenever it runs.
static int post(tk_event *e)
{
    int n = atomic_fetch_add_explicit(&e->call->n_event, 1, memory_order_relaxed);
    tk_mail_post(&e->call->server->mail, &e->item); // unbounded, never closed
    return n;
}

static void take_logprob(const tk_gen *g, const tk_job_token *t, tk_logprob *out)
{
    out->id = t->id;
    out->logprob = t->logprob;
    if (!g->logprobs) return;
    out->n_top = TK_MIN(t->n_top, TK_LIMIT_TOP_LOGPROBS);
    if (out->n_top) memcpy(out->top, t->top, (size_t)out->n_top * sizeof *out->top);
}

static bool on_token(void *ctx, const tk_job_token *t)
{
    tk_choice *k = ctx;
    size_t len, shown;
    const char *text = tk_detok_push(k->detok, t->id, &len);
    text = tk_stop_push(k->stop, text, len, &shown, &k->hit_stop);
    tk_event *e = make_event(k, TK_EVENT_TOKEN, text, shown);
    take_logprob(&k->call->gen, t, &e->lp);
    k->overflow = post(e) > TK_LIMIT_SERVER_EVENTS;
    return !k->hit_stop && !k->overflow;
}

static void on_prompt_token(void *ctx, const tk_job_token *t)
{
    tk_choice *k = ctx;
    tk_event *e = make_event(k, TK_EVENT_PROMPT, NULL, 0);
    take_logprob(&k->call->gen, t, &e->lp);
    post(e);
}

static void on_done(void *ctx, const tk_job_result *r)
{
    tk_choice *k = ctx;
    size_t len, shown;
    if (!k->hit_stop) { // what was held back
        const char *text = tk_detok_flush(k->detok, &len);
        text = tk_stop_push(k->stop, text, len, &shown, &k->hit_stop);
        if (shown) post(make_event(k, TK_EVENT_TOKEN, text, shown));
        text = k->hit_stop ? "" : tk_stop_flush(k->stop, &shown);
        if (!k->hit_stop && shown) post(make_event(k, TK_EVENT_TOKEN, text, shown));
    }
    const char *why = r->error ? r->error : "";
    tk_event *e = make_event(k, TK_EVENT_DONE, why, strlen(why));
    e->result = *r;
    e->result.error = NULL;
    post(e);
}

// --- on the text thread ---

void tk_gen_prepare(tk_call *c)
{
    tk_gen *g = &c->gen;
    const tk_server *s = c->server;
    g->n_choice = g->n_prompt * g->n;
    g->choice = tk_alloc((size_t)g->n_choice * sizeof *g->choice);
    for (int i = 0; i < g->n_choice; i++) {
        tk_choice *k = &g->choice[i];
        *k = (tk_choice){.call = c,
                         .index = i,
                         .i_prompt = i / g->n,
                         .text = tk_buf_make(TK_LIMIT_TEXT_BYTES),
                         .thought = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
        k->detok = tk_detok_new(s->model->tokenizer, !g->show_special);
        k->stop = tk_stop_new(g->stop, g->n_stop);
        if (g->goes_on) { // decoders treat the first token of a text otherwise
            size_t len;
            const tk_prompt *p = &g->prompt[k->i_prompt];
            tk_detok_push(k->detok, p->ids[p->n - 1], &len);
        }
        tk_reasoning_init(&k->reasoning, g->marks, g->reasoning_open);
        if (g->grammar)
            k->grammar = tk_grammar_run_new(g->grammar, s->trie, s->model->end, s->model->n_end);
        if (g->marks && g->thought_budget > 0)
            k->budget = tk_budget_new(s->model->tokenizer, g->marks, g->reasoning_open,
                                      g->thought_budget, k->grammar);
    }
}

static void free_choice(tk_choice *k)
{
    tk_detok_free(k->detok);
    tk_stop_free(k->stop);
    tk_budget_free(k->budget);
    tk_grammar_run_free(k->grammar);
    tk_reasoning_free(&k->reasoning);
    tk_tool_parser_free(k->tools);
    tk_buf_free(&k->text);
    tk_buf_free(&k->thought);
    for (int i = 0; i < k->n_use; i++) {
        tk_free(k->use[i].name);
        tk_buf_free(&k->use[i].args);
    }
    tk_free(k->use);
    tk_free(k->lp);
}

void tk_gen_free(tk_call *c)
{
    tk_gen *g = &c->gen;
    for (int i = 0; i < g->n_choice; i++) free_choice(&g->choice[i]);
    tk_free(g->choice);
    for (int i = 0; i < g->n_prompt; i++) {
        tk_free(g->prompt[i].ids);
        tk_free(g->prompt[i].text);
    }
    tk_free(g->prompt);
    tk_free(g->bias);
    tk_free(g->stop_ids);
    tk_free(g->stop);
    tk_free(g->tool_names);
    tk_grammar_unref(g->grammar);
    json_decref(g->extra);
}

// --- on the loop's thread ---

static void add_use(tk_choice *k, const char *name, size_t len)
{
    if (k->n_use == k->cap_use) {
        k->cap_use = k->cap_use ? k->cap_use * 2 : 4;
        k->use = tk_realloc(k->use, (size_t)k->cap_use * sizeof *k->use);
    }
    tk_tool_use *u = &k->use[k->n_use];
    *u = (tk_tool_use){.name = tk_strndup(name, len), .args = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
    snprintf(u->id, sizeof u->id, "call_%.20s%02x%02x", k->call->id, k->index & 0xFF,
             k->n_use & 0xFF);
    k->n_use++;
}

static void say(tk_choice *k, tk_delta what, const char *s, size_t len)
{
    tk_call *c = k->call;
    if (c->gen.stream && c->conn && c->gen.format->delta) c->gen.format->delta(c, k, what, s, len);
}

static void on_tool_event(void *ctx, tk_tool_event what, const char *s, size_t len)
{
    tk_choice *k = ctx;
    if (what == TK_TOOL_BEGIN && k->call->gen.one_call && k->n_use > 0) k->deaf = true;
    if (k->deaf) return;
    switch (what) {
    case TK_TOOL_CONTENT:
        tk_buf_add(&k->text, s, len);
        say(k, TK_DELTA_TEXT, s, len);
        break;
    case TK_TOOL_BEGIN:
        add_use(k, s, len);
        say(k, TK_DELTA_CALL, k->use[k->n_use - 1].name, len);
        break;
    case TK_TOOL_ARGS:
        tk_buf_add(&k->use[k->n_use - 1].args, s, len);
        say(k, TK_DELTA_ARGS, s, len);
        break;
    case TK_TOOL_END: say(k, TK_DELTA_END, "", 0); break;
    }
}

static void on_reasoning(void *ctx, bool is_reasoning, const char *s, size_t len)
{
    tk_choice *k = ctx;
    if (!is_reasoning) {
        tk_tool_parser_push(k->tools, s, len);
        return;
    }
    tk_buf_add(&k->thought, s, len);
    say(k, TK_DELTA_THOUGHT, s, len);
}

static void note_logprob(tk_choice *k, const tk_logprob *lp)
{
    if (!k->call->gen.logprobs) return;
    if (k->n_lp == k->cap_lp) {
        k->cap_lp = k->cap_lp ? k->cap_lp * 2 : 16;
        k->lp = tk_realloc(k->lp, k->cap_lp * sizeof *k->lp);
    }
    k->lp[k->n_lp++] = *lp;
}

static void on_token_event(tk_event *e)
{
    tk_choice *k = e->choice;
    if (e->lp.id >= 0) {
        if (k->last_ns)
            tk_metrics_observe_itl(&k->call->server->metrics,
                                   (double)(e->at_ns - k->last_ns) * 1e-9);
        k->last_ns = e->at_ns;
        k->n_out++;
        k->n_thought += k->reasoning.state == TK_REASONING_IN;
        note_logprob(k, &e->lp);
    }
    if (k->call->conn) tk_reasoning_push(&k->reasoning, e->text, e->len, on_reasoning, k);
}

// The whole call fails: what has not been answered is told, the other jobs are stopped.
static void fail_call(tk_call *c, int status, const char *why)
{
    tk_gen_cancel(c);
    if (c->conn == NULL) return;
    tk_api_fail(&c->error, status, NULL, "%s", why);
    if (!c->gen.stream || c->gen.n_event == 0) {
        tk_call_reply_error(c);
        return;
    }
    tk_conn *conn = c->conn;
    tk_call_send(c, c->route->anthropic ? "error" : NULL,
                 tk_api_error_json(&c->error, c->route->anthropic, c->request_id));
    if (c->conn == NULL) return;
    c->conn = NULL;
    tk_conn_set_user(conn, NULL);
    tk_conn_abort(conn);
}

static void answer(tk_call *c)
{
    const tk_gen *g = &c->gen;
    if (!g->stream) {
        tk_call_reply_json(c, 200, g->format->whole(c));
        return;
    }
    if (g->format->end) g->format->end(c);
    tk_conn *conn = c->conn;
    if (conn == NULL) return;
    c->conn = NULL;
    tk_conn_set_user(conn, NULL);
    tk_conn_stream_end(conn);
}

static void on_done_event(tk_event *e)
{
    tk_choice *k = e->choice;
    tk_call *c = k->call;
    k->running = false;
    k->result = e->result;
    c->gen.n_running--;
    c->gen.n_ended++;
    tk_metrics_note(&c->server->metrics, &k->result);
    if (c->conn == NULL) return;
    if (k->overflow) {
        fail_call(c, 503, "the server is overloaded");
    } else if (e->result.reason == TK_FINISH_ERROR) {
        fail_call(c, e->result.status == TK_BAD_INPUT ? 400 : 500,
                  e->len ? e->text : "the engine failed");
    } else if (e->result.reason == TK_FINISH_CANCELLED) {
        fail_call(c, 503, "the server is shutting down");
    } else {
        tk_reasoning_flush(&k->reasoning, on_reasoning, k);
        tk_tool_parser_flush(k->tools);
        k->finish = k->n_use                             ? "tool_calls"
                    : e->result.reason == TK_FINISH_STOP ? "stop"
                                                         : "length";
        if (c->gen.stream && c->conn && c->gen.format->choice_end) c->gen.format->choice_end(c, k);
        if (c->conn && c->gen.n_ended == c->gen.n_choice) answer(c);
    }
}

void tk_gen_event(tk_event *e)
{
    tk_choice *k = e->choice;
    if (e->kind == TK_EVENT_DONE)
        on_done_event(e);
    else if (e->kind == TK_EVENT_PROMPT)
        note_logprob(k, &e->lp);
    else
        on_token_event(e);
}

void tk_gen_cancel(tk_call *c)
{
    for (int i = 0; i < c->gen.n_choice; i++)
        if (c->gen.choice[i].running && !c->server->closed)
            tk_service_cancel(c->server->service, c->gen.choice[i].job);
}

static tk_status submit(tk_call *c, tk_choice *k, tk_err *err)
{
    tk_gen *g = &c->gen;
    const tk_prompt *p = &g->prompt[k->i_prompt];
    tk_job_opts j = g->job;
    j.prompt = p->ids;
    j.n_prompt = p->n;
    j.sample.seed = g->seed + (uint64_t)(k->index % g->n);
    j.key = (uint64_t)c->key;
    j.on_token = on_token;
    j.on_done = on_done;
    j.on_prompt_token = j.prompt_logprobs ? on_prompt_token : NULL;
    j.ctx = k;
    if (k->grammar)
        j.grammar = (tk_job_grammar){k->grammar, tk_grammar_run_mask, tk_grammar_run_accept};
    if (k->budget) j.grammar = tk_budget_grammar(k->budget);
    k->tools = tk_tool_parser_new(g->tools, g->tool_names, g->n_tool, on_tool_event, k);
    if (j.prompt_logprobs) // the first token has no prediction
        note_logprob(k, &(tk_logprob){.id = p->ids[0], .logprob = NAN});
    if (c->server->closed) return tk_fail(err, TK_INTERRUPTED, "the server is shutting down");
    return tk_service_submit(c->server->service, &j, &k->job, err);
}

void tk_gen_submit(tk_call *c)
{
    tk_gen *g = &c->gen;
    for (int i = 0; i < g->n_choice; i++) {
        tk_err err = TK_ERR_INIT;
        tk_status st = submit(c, &g->choice[i], &err);
        if (st == TK_OK) {
            g->choice[i].running = true;
            g->n_running++;
            continue;
        }
        int status = st == TK_NOMEM || st == TK_INTERRUPTED ? 503 : st == TK_BAD_INPUT ? 400 : 500;
        c->error.retry_after_s = status == 503;
        fail_call(c, status, err.msg);
        return;
    }
    if (!g->stream) return;
    tk_conn_stream_begin(c->conn, "text/event-stream; charset=utf-8");
    g->n_event = 1; // from here on errors are events
    if (g->format->begin) g->format->begin(c);
}

tk_usage tk_gen_usage(const tk_call *c)
{
    const tk_gen *g = &c->gen;
    tk_usage u = {0};
    for (int i = 0; i < g->n_choice; i++) {
        const tk_choice *k = &g->choice[i];
        u.output += k->n_out;
        u.thought += k->n_thought;
        u.cached = i % g->n == 0 ? u.cached + k->result.n_cached : u.cached;
    }
    for (int i = 0; i < g->n_prompt; i++) u.prompt += g->prompt[i].n;
    return u;
}

int64_t tk_gen_tokens(const tk_call *c)
{
    tk_usage u = tk_gen_usage(c);
    return c->gen.n_choice ? u.prompt + u.output : 0;
}
