// SPDX-License-Identifier: MIT
#include "bench/load.h"

#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

// A gamma variate of the given shape and scale 1 (Marsaglia and Tsang 2000).
static double gamma_variate(tk_rng *rng, double shape)
{
    if (shape < 1) {
        double u = 1 - tk_rng_unit(rng);
        return gamma_variate(rng, shape + 1) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double u1 = 1 - tk_rng_unit(rng), u2 = tk_rng_unit(rng);
        double x = sqrt(-2 * log(u1)) * cos(2 * 3.14159265358979323846 * u2); // normal
        double v = 1 + c * x;
        if (v <= 0) continue;
        v = v * v * v;
        if (log(1 - tk_rng_unit(rng)) < 0.5 * x * x + d - d * v + d * log(v)) return d * v;
    }
}

void tk_load_arrivals(double rate, double burstiness, uint64_t seed, int32_t n, double *out)
{
    tk_rng rng = {.state = seed ^ 0xA5A5A5A5u};
    double at = 0;
    for (int32_t i = 0; i < n; i++) {
        if (isfinite(rate))
            at += isfinite(burstiness) ? gamma_variate(&rng, burstiness) / (rate * burstiness)
                                       : 1 / rate;
        out[i] = at;
    }
    for (int32_t i = 0; i < n && at > 0; i++) out[i] *= n / rate / at;
}

typedef struct load {
    const tk_workload *w;
    const tk_load_opts *o;
    tk_streams *streams;
    int32_t first, n; // of this phase, in w->requests
    int32_t next;     // the next request that starts a conversation
    int32_t n_done;
    uint64_t start_ns;
    double *arrival_s;         // [n] of conversations, in order
    int32_t n_arrived;         // conversations started
    int32_t *follow, n_follow; // [n] turns that may go now
    uint64_t *ready_ns;        // [n] when a request could first have left
    json_t **messages;         // [n] of a request that runs, multi-turn
    char **body;               // [n] of a request that runs
    tk_stream_result *results; // [n]
} load;

static void add_message(json_t *messages, const char *role, const char *content)
{
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content",
                                              json_string(content ? content : "")));
}

static char *make_body(load *l, int32_t i, bool chat)
{
    const tk_workload_request *r = &l->w->requests[l->first + i];
    json_t *j =
        json_pack("{s:s, s:b, s:{s:b}, s:i}", "model", l->o->model, "stream", 1, "stream_options",
                  "include_usage", 1, chat ? "max_completion_tokens" : "max_tokens", (int)r->n_out);
    if (l->o->ignore_eos) json_object_set_new(j, "ignore_eos", json_true());
    if (chat) {
        json_t *messages = l->messages[i];
        if (messages == NULL) {
            l->messages[i] = messages = json_array();
            if (l->w->system.text) add_message(messages, "system", l->w->system.text);
        }
        add_message(messages, "user", r->prompt.text);
        json_object_set(j, "messages", messages);
    } else if (r->prompt.ids) {
        json_t *ids = json_array();
        for (int32_t k = 0; k < r->prompt.n_tok; k++)
            json_array_append_new(ids, json_integer(r->prompt.ids[k]));
        json_object_set_new(j, "prompt", ids);
    } else {
        json_object_set_new(j, "prompt", json_string(r->prompt.text));
    }
    if (l->o->extra_body) json_object_update(j, (json_t *)l->o->extra_body);
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

static tk_status start(load *l, int32_t i, tk_err *err)
{
    l->body[i] = make_body(l, i, strstr(l->o->endpoint, "chat/completions") != NULL);
    if (l->body[i] == NULL) return tk_fail(err, TK_NOMEM, "no memory for a request");
    return tk_streams_start(l->streams, i, l->body[i], err);
}

static bool continues(const load *l, int32_t i)
{
    return i < l->n && l->w->requests[l->first + i].turn > 0;
}

// A conversation whose turn failed cannot go on: its other turns fail with it.
static void give_up(load *l, int32_t i)
{
    for (; continues(l, i); i++) {
        snprintf(l->results[i].error, sizeof l->results[i].error, "an earlier turn failed");
        l->results[i].n_prompt = l->results[i].n_out = -1;
        l->n_done++;
    }
}

static void on_done(void *ctx, int i, const tk_stream_result *r)
{
    load *l = ctx;
    l->results[i] = *r;
    l->n_done++;
    free(l->body[i]);
    l->body[i] = NULL;
    json_t *messages = l->messages[i];
    l->messages[i] = NULL;
    if (continues(l, i + 1) && r->ok) {
        add_message(messages, "assistant", r->text);
        l->messages[i + 1] = messages;
        l->ready_ns[i + 1] = tk_clock_ns();
        l->follow[l->n_follow++] = i + 1;
        return;
    }
    json_decref(messages);
    give_up(l, i + 1);
}

enum { BURST = 16 };

// Starts what may go now, BURST at most: events that arrive meanwhile must not wait for a thousand starts.
// *until is when the next one may.
static tk_status start_due(load *l, uint64_t *until, tk_err *err)
{
    tk_status st = TK_OK;
    for (int n = 0; st == TK_OK; n++) {
        *until = n == BURST ? 0 : UINT64_MAX;
        if (n == BURST) break;
        bool room = l->o->max_concurrency == 0 ||
                    tk_streams_active(l->streams) + l->n_follow < l->o->max_concurrency;
        if (l->n_follow > 0) { // a conversation under way keeps its place
            st = start(l, l->follow[--l->n_follow], err);
            continue;
        }
        if (l->next >= l->n || !room) break;
        uint64_t at = l->start_ns + (uint64_t)(l->arrival_s[l->n_arrived] * 1e9);
        if (tk_clock_ns() < at) {
            *until = at;
            break;
        }
        int32_t i = l->next;
        l->ready_ns[i] = at;
        l->n_arrived++;
        for (l->next++; continues(l, l->next);) l->next++;
        st = start(l, i, err);
    }
    return st;
}

static tk_status run_all(load *l, tk_err *err)
{
    l->start_ns = tk_clock_ns();
    while (l->n_done < l->n) {
        uint64_t until;
        tk_status st = start_due(l, &until, err);
        if (st == TK_OK && l->o->interrupt &&
            atomic_load_explicit(l->o->interrupt, memory_order_relaxed))
            st = tk_fail(err, TK_INTERRUPTED, "interrupted after %d of %d requests", l->n_done,
                         l->n);
        if (st == TK_OK && l->n_done < l->n) st = tk_streams_wait(l->streams, until, err);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

// Requests [first, first + n) of the workload, n > 0.
static tk_status phase(load *l, int32_t first, int32_t n, double rate, tk_load_result *out,
                       tk_err *err)
{
    size_t m = (size_t)n;
    tk_status st;
    l->first = first;
    l->n = n;
    l->next = l->n_done = l->n_arrived = l->n_follow = 0;
    l->arrival_s = tk_alloc(m * sizeof *l->arrival_s);
    l->follow = tk_alloc(m * sizeof *l->follow);
    l->ready_ns = tk_alloc(m * sizeof *l->ready_ns);
    l->messages = tk_alloc(m * sizeof *l->messages);
    l->body = tk_alloc(m * sizeof(char *));
    l->results = tk_alloc(m * sizeof *l->results);
    int32_t n_conversation = 0;
    for (int32_t i = 0; i < n; i++) n_conversation += !continues(l, i) || i == 0;
    tk_load_arrivals(rate, l->o->burstiness, l->o->seed, n_conversation, l->arrival_s);
    tk_streams_lag_reset(l->streams);
    st = run_all(l, err);
    out->duration_s = (double)(tk_clock_ns() - l->start_ns) * 1e-9;
    out->lag = tk_streams_lag(l->streams);
    out->n = n;
    out->requests = l->results;
    out->queued_ns = l->ready_ns;
    for (int32_t i = 0; i < n; i++) {
        uint64_t ready = l->ready_ns[i], sent = l->results[i].start_ns;
        l->ready_ns[i] = ready && sent > ready ? sent - ready : 0;
    }
    return st;
}

// After the streams are gone: they borrow the bodies.
static void end_phase(load *l)
{
    for (int32_t i = 0; l->body && i < l->n; i++) {
        free(l->body[i]);
        json_decref(l->messages[i]);
    }
    tk_free(l->arrival_s);
    tk_free(l->follow);
    tk_free(l->messages);
    tk_free(l->body);
    l->body = NULL;
    l->messages = NULL;
    l->arrival_s = NULL;
    l->follow = NULL;
}

tk_status tk_load_run(const tk_http_target *t, const tk_workload *w, const tk_load_opts *o,
                      tk_load_result *out, tk_err *err)
{
    load l = {.w = w, .o = o};
    tk_status st;
    *out = (tk_load_result){0};
    TK_TRY(tk_streams_new(t, o->endpoint, on_done, &l, &l.streams, err));
    if (w->n_warmup > 0) {
        st = phase(&l, w->n_request, w->n_warmup, INFINITY, out, err);
        if (st != TK_OK) goto done;
        end_phase(&l);
        tk_load_result_free(out);
    }
    st = phase(&l, 0, w->n_request, o->request_rate, out, err);
done:
    tk_streams_free(l.streams);
    end_phase(&l);
    if (st != TK_OK) tk_load_result_free(out);
    return st;
}

void tk_load_result_free(tk_load_result *r)
{
    for (int32_t i = 0; i < r->n; i++) tk_stream_result_free(&r->requests[i]);
    tk_free(r->requests);
    tk_free(r->queued_ns);
    *r = (tk_load_result){0};
}
