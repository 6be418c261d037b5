// SPDX-License-Identifier: MIT
#include "bench/serve_report.h"

#include "base/mem.h"
#include "bench/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct samples {
    double *v;
    size_t n, cap;
} samples;

static void push(samples *s, double v)
{
    if (s->n == s->cap) {
        s->cap = TK_MAX(256, 2 * s->cap);
        s->v = tk_realloc(s->v, s->cap * sizeof *s->v);
    }
    s->v[s->n++] = v;
}

// X(field, key, name, header): in the order of the console block
#define METRIC_MAP(X)                                                                              \
    X(ttft, "ttft", "TTFT", "Time to First Token")                                                 \
    X(tpot, "tpot", "TPOT", "Time per Output Token (excl. 1st token)")                             \
    X(itl, "itl", "ITL", "Inter-token Latency")                                                    \
    X(e2el, "e2el", "E2EL", "End-to-end Latency")                                                  \
    X(queue, "client_queue_time", "Client Queue Time", "Client-side Queueing")

typedef struct gathered {
#define X(field, key, name, header) samples field; // ms
    METRIC_MAP(X)
#undef X
    int64_t n_in, n_out;
    int64_t n_cached, n_cacheable; // n_cached -1: no answer said
    int32_t completed, good;
} gathered;

static int64_t out_len(const tk_stream_result *r)
{
    if (!r->ok) return 0;
    return r->n_out > 0 ? r->n_out : (int64_t)r->n_itl + 1; // an event a token when nobody counts
}

static int64_t in_len(const tk_workload *w, const tk_load_result *r, int32_t i)
{
    return r->requests[i].n_prompt >= 0 ? r->requests[i].n_prompt : w->requests[i].prompt.n_tok;
}

// Prompt tokens a perfect prefix cache has: those of the turn before, or what the workload gave an earlier request.
// Answers are left out: their text need not make the tokens again that it was made of.
static int64_t cacheable_len(const tk_workload *w, const tk_load_result *r, int32_t i)
{
    return w->requests[i].turn > 0 ? in_len(w, r, i - 1) : w->requests[i].n_shared;
}

static bool within(double value_ms, double bound_ms)
{
    return isnan(bound_ms) || value_ms <= bound_ms;
}

static void gather(const tk_serve_about *a, const tk_workload *w, const tk_load_result *r,
                   gathered *g)
{
    for (int32_t i = 0; i < r->n; i++) {
        const tk_stream_result *q = &r->requests[i];
        if (!q->ok) continue;
        int64_t n = out_len(q);
        double ttft = (double)q->ttft_ns * 1e-6, e2el = (double)q->latency_ns * 1e-6;
        double tpot = n > 1 ? (e2el - ttft) / (double)(n - 1) : 0; // 0 counts for goodput only
        g->completed++;
        g->n_in += in_len(w, r, i);
        g->n_out += n;
        g->n_cacheable += cacheable_len(w, r, i);
        if (q->n_cached >= 0) g->n_cached = TK_MAX(g->n_cached, 0) + q->n_cached;
        push(&g->ttft, ttft);
        push(&g->e2el, e2el);
        push(&g->queue, (double)r->queued_ns[i] * 1e-6);
        if (n > 1) push(&g->tpot, tpot);
        for (size_t k = 0; k < q->n_itl; k++) push(&g->itl, (double)q->itl_ns[k] * 1e-6);
        g->good += within(ttft, a->goodput_ttft_ms) && within(tpot, a->goodput_tpot_ms) &&
                   within(e2el, a->goodput_e2el_ms);
    }
}

static void set(json_t *j, const char *key, json_t *v)
{
    json_object_set_new(j, key, v);
}

static void set_metric(json_t *j, const tk_serve_about *a, const char *key, samples *s)
{
    char name[64];
    snprintf(name, sizeof name, "mean_%s_ms", key);
    set(j, name, json_real(tk_stats_mean(s->v, s->n)));
    double std = tk_stats_std(s->v, s->n);
    tk_stats_sort(s->v, s->n);
    snprintf(name, sizeof name, "median_%s_ms", key);
    set(j, name, json_real(tk_stats_median(s->v, s->n)));
    snprintf(name, sizeof name, "std_%s_ms", key);
    set(j, name, json_real(std));
    for (int i = 0; i < a->n_percentile; i++) {
        snprintf(name, sizeof name, "p%g_%s_ms", a->percentiles[i], key);
        set(j, name, json_real(tk_stats_percentile(s->v, s->n, a->percentiles[i])));
    }
}

typedef struct edge {
    uint64_t at_ns;
    int change;
} edge;

// A departure comes before an arrival of the same moment: intervals are half open.
static int by_time(const void *a, const void *b)
{
    const edge *x = a, *y = b;
    if (x->at_ns != y->at_ns) return x->at_ns < y->at_ns ? -1 : 1;
    return x->change - y->change;
}

static int peak_concurrency(const tk_load_result *r)
{
    edge *edges = tk_alloc((size_t)r->n * 2 * sizeof *edges);
    size_t n = 0;
    int now = 0, peak = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const tk_stream_result *q = &r->requests[i];
        if (!q->ok) continue;
        edges[n++] = (edge){q->start_ns, 1};
        edges[n++] = (edge){q->start_ns + q->latency_ns, -1};
    }
    if (n) qsort(edges, n, sizeof *edges, by_time);
    for (size_t i = 0; i < n; i++) {
        now += edges[i].change;
        peak = TK_MAX(peak, now);
    }
    tk_free(edges);
    return peak;
}

// Events of the fullest second, seconds counted from the first request that succeeded.
static double peak_tokens(const tk_load_result *r)
{
    uint64_t first = UINT64_MAX, last = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const tk_stream_result *q = &r->requests[i];
        if (!q->ok) continue;
        first = TK_MIN(first, q->start_ns);
        last = TK_MAX(last, q->start_ns + q->latency_ns);
    }
    if (last == 0) return 0;
    size_t n_second = (size_t)((last - first) / 1000000000u) + 1;
    double *per_second = tk_alloc(n_second * sizeof *per_second), peak = 0;
    for (int32_t i = 0; i < r->n; i++) {
        const tk_stream_result *q = &r->requests[i];
        if (!q->ok) continue;
        uint64_t at = q->start_ns + q->ttft_ns;
        per_second[(at - first) / 1000000000u]++;
        for (size_t k = 0; k < q->n_itl; k++) {
            at += q->itl_ns[k];
            per_second[(at - first) / 1000000000u]++;
        }
    }
    for (size_t i = 0; i < n_second; i++) peak = fmax(peak, per_second[i]);
    tk_free(per_second);
    return peak;
}

static json_t *failures(const tk_load_result *r)
{
    json_t *j = json_object();
    for (int32_t i = 0; i < r->n; i++) {
        if (r->requests[i].ok) continue;
        const char *why = r->requests[i].error;
        json_int_t n = json_integer_value(json_object_get(j, why));
        if (json_object_set_new(j, why, json_integer(n + 1)) != 0) // no valid UTF-8
            set(j, "other", json_integer(json_integer_value(json_object_get(j, "other")) + 1));
    }
    return j;
}

static void set_details(json_t *j, const tk_workload *w, const tk_load_result *r)
{
    static const char *const keys[] = {"input_lens",  "output_lens",     "ttfts",
                                       "itls",        "latencies",       "start_times",
                                       "queue_times", "generated_texts", "errors"};
    json_t *list[TK_COUNT(keys)];
    for (size_t k = 0; k < TK_COUNT(keys); k++) list[k] = json_array();
    for (int32_t i = 0; i < r->n; i++) {
        const tk_stream_result *q = &r->requests[i];
        json_t *itl = json_array(), *text = json_string(q->text ? q->text : "");
        for (size_t k = 0; k < q->n_itl; k++)
            json_array_append_new(itl, json_real((double)q->itl_ns[k] * 1e-9));
        json_array_append_new(list[0], json_integer(in_len(w, r, i)));
        json_array_append_new(list[1], json_integer(out_len(q)));
        json_array_append_new(list[2], json_real((double)q->ttft_ns * 1e-9));
        json_array_append_new(list[3], itl);
        json_array_append_new(list[4], json_real((double)q->latency_ns * 1e-9));
        json_array_append_new(list[5], json_real((double)q->start_ns * 1e-9));
        json_array_append_new(list[6], json_real((double)r->queued_ns[i] * 1e-9));
        json_array_append_new(list[7], text ? text : json_null());
        json_t *error = json_string(q->error);
        json_array_append_new(list[8], error ? error : json_null());
    }
    for (size_t k = 0; k < TK_COUNT(keys); k++) set(j, keys[k], list[k]);
}

static void set_setup(json_t *j, const tk_serve_about *a)
{
    char date[32];
    time_t now = time(NULL);
    struct tm local;
    strftime(date, sizeof date, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
    set(j, "date", json_string(date));
    set(j, "endpoint_type", json_string(a->backend));
    set(j, "backend", json_string(a->backend));
    set(j, "label", a->label ? json_string(a->label) : json_null());
    set(j, "model_id", json_string(a->model));
    set(j, "tokenizer_id", a->tokenizer ? json_string(a->tokenizer) : json_null());
    set(j, "num_prompts", json_integer(a->num_prompts));
    for (int i = 0; i < a->n_metadata; i++) {
        const char *eq = strchr(a->metadata[i], '=');
        char *key = tk_strndup(a->metadata[i], (size_t)(eq - a->metadata[i]));
        set(j, key, json_string(eq + 1));
        tk_free(key);
    }
    set(j, "request_rate",
        isfinite(a->request_rate) ? json_real(a->request_rate) : json_string("inf"));
    set(j, "burstiness", json_real(a->burstiness));
    set(j, "max_concurrency", a->max_concurrency ? json_integer(a->max_concurrency) : json_null());
}

static bool asks_goodput(const tk_serve_about *a)
{
    return !isnan(a->goodput_ttft_ms) || !isnan(a->goodput_tpot_ms) || !isnan(a->goodput_e2el_ms);
}

json_t *tk_serve_report(const tk_serve_about *a, const tk_workload *w, const tk_load_result *r)
{
    gathered g = {.n_cached = -1};
    json_t *j = json_object();
    gather(a, w, r, &g);
    set_setup(j, a);
    set(j, "duration", json_real(r->duration_s));
    set(j, "completed", json_integer(g.completed));
    set(j, "failed", json_integer(r->n - g.completed));
    set(j, "total_input_tokens", json_integer(g.n_in));
    set(j, "total_output_tokens", json_integer(g.n_out));
    set(j, "request_throughput", json_real(g.completed / r->duration_s));
    set(j, "request_goodput", asks_goodput(a) ? json_real(g.good / r->duration_s) : json_null());
    set(j, "output_throughput", json_real((double)g.n_out / r->duration_s));
    set(j, "total_token_throughput", json_real((double)(g.n_in + g.n_out) / r->duration_s));
    if (a->detailed) set_details(j, w, r);
    set(j, "max_output_tokens_per_s", json_real(peak_tokens(r)));
    set(j, "max_concurrent_requests", json_integer(peak_concurrency(r)));
#define X(field, key, name, header)                                                                \
    set_metric(j, a, key, &g.field);                                                               \
    tk_free(g.field.v);
    METRIC_MAP(X)
#undef X
    set(j, "failures", failures(r));
    bool cache = g.n_cached >= 0 && g.n_cacheable > 0;
    set(j, "total_cached_tokens", g.n_cached >= 0 ? json_integer(g.n_cached) : json_null());
    set(j, "total_cacheable_tokens", json_integer(g.n_cacheable));
    set(j, "prefix_hit_fraction",
        cache ? json_real((double)g.n_cached / (double)g.n_cacheable) : json_null());
    set(j, "client_lag_p50_ms", json_real(r->lag.p50_ms));
    set(j, "client_lag_p99_ms", json_real(r->lag.p99_ms));
    set(j, "client_lag_max_ms", json_real(r->lag.max_ms));
    return j;
}

static void title(FILE *to, const char *text, char fill)
{
    int len = (int)strlen(text), left = (50 - len) / 2;
    for (int i = 0; i < left; i++) putc(fill, to);
    fputs(text, to);
    for (int i = left + len; i < 50; i++) putc(fill, to);
    putc('\n', to);
}

// One line of the block: whole numbers as they are, others with two decimals.
static void line(FILE *to, const json_t *report, const char *name, const char *key)
{
    const json_t *v = json_object_get(report, key);
    if (json_is_integer(v))
        fprintf(to, "%-40s %-10lld\n", name, (long long)json_integer_value(v));
    else
        fprintf(to, "%-40s %-10.2f\n", name, json_number_value(v));
}

// True when the comma-separated list has word.
static bool listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = list; *p; p += *p == ',') {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, word, n) == 0) return true;
        p += n;
    }
    return false;
}

static void print_metric(const tk_serve_about *a, const json_t *report, const char *key,
                         const char *name, const char *header, FILE *to)
{
    char label[80], of[80];
    title(to, header, '-');
    snprintf(label, sizeof label, "Mean %s (ms):", name);
    snprintf(of, sizeof of, "mean_%s_ms", key);
    line(to, report, label, of);
    snprintf(label, sizeof label, "Median %s (ms):", name);
    snprintf(of, sizeof of, "median_%s_ms", key);
    line(to, report, label, of);
    for (int i = 0; i < a->n_percentile; i++) {
        snprintf(label, sizeof label, "P%g %s (ms):", a->percentiles[i], name);
        snprintf(of, sizeof of, "p%g_%s_ms", a->percentiles[i], key);
        line(to, report, label, of);
    }
}

void tk_serve_print(const tk_serve_about *a, const json_t *report, FILE *to)
{
    title(to, " Serving Benchmark Result ", '=');
    line(to, report, "Successful requests:", "completed");
    line(to, report, "Failed requests:", "failed");
    if (a->max_concurrency) line(to, report, "Maximum request concurrency:", "max_concurrency");
    if (isfinite(a->request_rate))
        line(to, report, "Request rate configured (RPS):", "request_rate");
    line(to, report, "Benchmark duration (s):", "duration");
    line(to, report, "Total input tokens:", "total_input_tokens");
    line(to, report, "Total generated tokens:", "total_output_tokens");
    line(to, report, "Request throughput (req/s):", "request_throughput");
    if (asks_goodput(a)) line(to, report, "Request goodput (req/s):", "request_goodput");
    line(to, report, "Output token throughput (tok/s):", "output_throughput");
    line(to, report, "Peak output token throughput (tok/s):", "max_output_tokens_per_s");
    fprintf(to, "%-40s %-10.2f\n", "Peak concurrent requests:",
            json_number_value(json_object_get(report, "max_concurrent_requests")));
    line(to, report, "Total token throughput (tok/s):", "total_token_throughput");
#define X(field, key, name, header)                                                                \
    if (listed(a->shown, key)) print_metric(a, report, key, name, header, to);
    METRIC_MAP(X)
#undef X
    title(to, "", '=');
}
