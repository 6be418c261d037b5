// SPDX-License-Identifier: MIT
#include "server/metrics.h"

#include "base/mem.h"

#include <string.h>

enum { MAX_NAME_BYTES = 4096 }; // of the model, in the text

// vLLM's bounds.
static const double seconds[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                 1.0,   2.5,   5.0,  7.5,  10,   20,   40,   80,  160,  640, 2560};
// And three below them: a small model writes more than a hundred tokens a second.
static const double intervals[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1,
                                   0.15,  0.2,    0.3,   0.4,  0.5,   0.75, 1.0,   2.5,
                                   5.0,   7.5,    10,    20,   40,    80};
static const double tokens[] = {1,   2,    5,    10,   20,    50,    100,   200,
                                500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

static void observe(tk_histogram *h, const double *bound, size_t n, double v)
{
    size_t i = 0;
    while (i < n && v > bound[i]) i++;
    h->count[i]++;
    h->n++;
    h->sum += v;
}

#define OBSERVE(h, bounds, v) observe(h, bounds, TK_COUNT(bounds), v)

void tk_metrics_observe_itl(tk_metrics *m, double s)
{
    OBSERVE(&m->itl, intervals, s);
}

void tk_metrics_note(tk_metrics *m, const tk_job_result *r)
{
    m->stop += r->reason == TK_FINISH_STOP;
    m->length += r->reason == TK_FINISH_LENGTH;
    m->aborted += r->reason == TK_FINISH_CANCELLED;
    m->failed += r->reason == TK_FINISH_ERROR;
    if (r->reason != TK_FINISH_STOP && r->reason != TK_FINISH_LENGTH) return;
    if (r->n_out > 0) OBSERVE(&m->ttft, seconds, r->ttft_s);
    OBSERVE(&m->e2e, seconds, r->e2e_s);
    OBSERVE(&m->queue, seconds, r->queue_s);
    OBSERVE(&m->prefill, seconds, r->prefill_s);
    OBSERVE(&m->decode, seconds, r->decode_s);
    if (r->n_out > 1) OBSERVE(&m->tpot, intervals, r->decode_s / (r->n_out - 1));
    OBSERVE(&m->inference, seconds, r->prefill_s + r->decode_s);
    OBSERVE(&m->prompt_tokens, tokens, r->n_prompt);
    OBSERVE(&m->generation_tokens, tokens, r->n_out);
}

typedef struct writer {
    tk_buf *out;
    const char *model; // as it stands between quotes
} writer;

// What stands between the quotes of a label's value.
static void add_label(tk_buf *out, const char *s)
{
    for (; *s; s++) {
        if (*s == '\\' || *s == '"') tk_buf_add_char(out, '\\');
        if (*s == '\n')
            tk_buf_add_str(out, "\\n");
        else
            tk_buf_add_char(out, *s);
    }
}

static void head(const writer *w, const char *name, const char *type, const char *help)
{
    tk_buf_addf(w->out, "# HELP tokamak:%s %s\n# TYPE tokamak:%s %s\n", name, help, name, type);
}

static void sample(const writer *w, const char *name, const char *labels, double v)
{
    tk_buf_addf(w->out, "tokamak:%s{model_name=\"%s\",engine=\"0\"%s} %.17g\n", name, w->model,
                labels, v);
}

static void value(const writer *w, const char *name, const char *type, const char *help, double v)
{
    head(w, name, type, help);
    sample(w, name, "", v);
}

static void histogram(const writer *w, const char *name, const char *help, const tk_histogram *h,
                      const double *bound, size_t n)
{
    uint64_t sum = 0;
    head(w, name, "histogram", help);
    for (size_t i = 0; i <= n; i++) {
        char labels[64], series[96];
        sum += h->count[i];
        if (i < n)
            snprintf(labels, sizeof labels, ",le=\"%g\"", bound[i]);
        else
            snprintf(labels, sizeof labels, ",le=\"+Inf\"");
        snprintf(series, sizeof series, "%s_bucket", name);
        sample(w, series, labels, (double)sum);
    }
    char series[96];
    snprintf(series, sizeof series, "%s_sum", name);
    sample(w, series, "", h->sum);
    snprintf(series, sizeof series, "%s_count", name);
    sample(w, series, "", (double)h->n);
}

#define HISTOGRAM(w, name, help, h, bounds) histogram(w, name, help, h, bounds, TK_COUNT(bounds))

static void write_steps(const writer *w, const tk_service_stats *s)
{
    double bound[TK_STEP_TOK_BUCKETS];
    tk_histogram h = {.n = s->n_step, .sum = (double)s->step_tok_sum};
    _Static_assert((int)TK_STEP_TOK_BUCKETS <= (int)TK_METRIC_BUCKETS, "they fit");
    for (int i = 0; i <= TK_STEP_TOK_BUCKETS; i++) h.count[i] = s->step_tok[i];
    for (int i = 0; i < TK_STEP_TOK_BUCKETS; i++) bound[i] = (double)(1 << i);
    HISTOGRAM(w, "iteration_tokens_total", "Tokens of a step, prompts' and answers'.", &h, bound);
}

static void write_service(const writer *w, tk_service *service)
{
    tk_service_stats s = {0};
    tk_service_get_stats(service, &s);
    int32_t used = s.n_block - s.n_block_free - s.n_block_cached;
    value(w, "num_requests_running", "gauge", "Requests that are being answered.", s.n_running);
    value(w, "num_requests_waiting", "gauge", "Requests that wait to begin.", s.n_waiting);
    value(w, "kv_cache_usage_perc", "gauge", "Part of the KV cache in use, 0 to 1.",
          s.n_block ? (double)used / s.n_block : 0);
    value(w, "kv_cache_blocks", "gauge", "Blocks of the KV cache.", s.n_block);
    value(w, "kv_cache_blocks_cached", "gauge", "Blocks kept for their contents only.",
          s.n_block_cached);
    value(w, "prefix_cache_queries_total", "counter", "Prompt tokens looked up.",
          (double)s.prefix_queries);
    value(w, "prefix_cache_hits_total", "counter", "Prompt tokens found.", (double)s.prefix_hits);
    value(w, "num_preemptions_total", "counter", "Requests set back to make room.",
          (double)s.n_preempted);
    value(w, "prompt_tokens_total", "counter", "Prompt tokens.", (double)s.prompt_tokens);
    value(w, "generation_tokens_total", "counter", "Generated tokens.",
          (double)s.generation_tokens);
    value(w, "engine_steps_total", "counter", "Steps of the engine.", (double)s.n_step);
    value(w, "engine_step_seconds_total", "counter", "Seconds in steps.", s.step_s_sum);
    write_steps(w, &s);
    value(w, "kv_disk_hits_total", "counter", "Blocks read from the disk tier.",
          (double)s.kv_disk_hits);
    value(w, "kv_disk_corrupt_total", "counter", "Files of the disk tier refused.",
          (double)s.kv_disk_corrupt);
    value(w, "kv_disk_bytes", "gauge", "Bytes of the disk tier's files.", (double)s.kv_disk_bytes);
}

// Aggregated by layer: the busiest expert's share against the mean.
static void write_experts(const writer *w, const tk_metrics_info *info)
{
    size_t n = (size_t)info->n_layer * (size_t)info->n_expert;
    uint64_t *load = n ? tk_alloc(n * sizeof *load) : NULL;
    if (load && tk_service_expert_load(info->service, load)) {
        double all = 0;
        head(w, "expert_load_imbalance_ratio", "gauge",
             "Tokens of a layer's busiest expert over the mean of its experts.");
        for (int32_t l = 0; l < info->n_layer; l++) {
            uint64_t sum = 0, most = 0;
            for (int32_t e = 0; e < info->n_expert; e++) {
                uint64_t v = load[(size_t)l * (size_t)info->n_expert + (size_t)e];
                sum += v;
                most = TK_MAX(most, v);
            }
            all += (double)sum;
            if (sum == 0) continue; // a dense layer, or nothing yet
            char labels[32];
            snprintf(labels, sizeof labels, ",layer=\"%d\"", l);
            sample(w, "expert_load_imbalance_ratio", labels,
                   (double)most * info->n_expert / (double)sum);
        }
        value(w, "expert_tokens_total", "counter", "Tokens given to experts.", all);
    }
    tk_free(load);
}

static const char *const energy_kinds[] = {"cpu", "dram"};

static void write_domains(const writer *w, const char *name, const tk_energy *e, bool power)
{
    for (int i = 0; i < tk_energy_count(e); i++) {
        const tk_energy_domain *d = tk_energy_at(e, i);
        tk_buf labels = tk_buf_make(MAX_NAME_BYTES);
        tk_buf_addf(&labels, ",domain=\"%s\",device=\"", d->kind);
        add_label(&labels, d->device);
        tk_buf_add_str(&labels, "\"");
        sample(w, name, tk_buf_str(&labels), power ? d->watts : d->joules);
        tk_buf_free(&labels);
    }
}

static bool has_valid(const tk_energy *e, const char *kind)
{
    for (int i = 0; i < tk_energy_count(e); i++) {
        const tk_energy_domain *d = tk_energy_at(e, i);
        if (d->valid && strcmp(d->kind, kind) == 0) return true;
    }
    return false;
}

static void write_energy(const writer *w, const tk_energy *e)
{
    head(w, "energy_valid", "gauge", "1 where this machine lets its energy be read, else 0.");
    for (size_t i = 0; i < TK_COUNT(energy_kinds); i++) {
        char labels[32];
        snprintf(labels, sizeof labels, ",domain=\"%s\"", energy_kinds[i]);
        sample(w, "energy_valid", labels, has_valid(e, energy_kinds[i]));
    }
    head(w, "energy_joules_total", "counter",
         "Energy of the machine since the server began, by RAPL, whoever used it.");
    write_domains(w, "energy_joules_total", e, false);
    head(w, "power_watts", "gauge", "Mean power of the last second.");
    write_domains(w, "power_watts", e, true);
}

static void write_http(const tk_metrics *m, const writer *w, const tk_metrics_info *info)
{
    head(w, "http_responses_total", "counter", "Answers by class of status.");
    for (int i = 1; i < 6; i++) {
        char labels[32];
        snprintf(labels, sizeof labels, ",status=\"%dxx\"", i);
        sample(w, "http_responses_total", labels, (double)m->http[i]);
    }
    value(w, "http_rejected_total", "counter", "Requests refused by a limit.", (double)m->rejected);
    value(w, "http_connections", "gauge", "Open connections.", info->n_connection);
}

void tk_metrics_write(const tk_metrics *m, const tk_metrics_info *info, tk_buf *out)
{
    tk_buf name = tk_buf_make(MAX_NAME_BYTES);
    add_label(&name, info->model_name);
    writer w = {out, tk_buf_str(&name)};
    char labels[256];
    if (info->service) write_service(&w, info->service);
    if (info->service && info->n_expert) write_experts(&w, info);
    head(&w, "request_success_total", "counter", "Requests that have ended, by reason.");
    sample(&w, "request_success_total", ",finished_reason=\"stop\"", (double)m->stop);
    sample(&w, "request_success_total", ",finished_reason=\"length\"", (double)m->length);
    sample(&w, "request_success_total", ",finished_reason=\"abort\"", (double)m->aborted);
    sample(&w, "request_success_total", ",finished_reason=\"error\"", (double)m->failed);
    HISTOGRAM(&w, "time_to_first_token_seconds", "Submitted to first token.", &m->ttft, seconds);
    HISTOGRAM(&w, "inter_token_latency_seconds", "Token to token.", &m->itl, intervals);
    HISTOGRAM(&w, "request_time_per_output_token_seconds",
              "First token to end, over the tokens after the first.", &m->tpot, intervals);
    HISTOGRAM(&w, "e2e_request_latency_seconds", "Submitted to end.", &m->e2e, seconds);
    HISTOGRAM(&w, "request_queue_time_seconds", "Submitted to begun.", &m->queue, seconds);
    HISTOGRAM(&w, "request_prefill_time_seconds", "Begun to first token.", &m->prefill, seconds);
    HISTOGRAM(&w, "request_decode_time_seconds", "First token to end.", &m->decode, seconds);
    HISTOGRAM(&w, "request_inference_time_seconds", "Begun to end.", &m->inference, seconds);
    HISTOGRAM(&w, "request_prompt_tokens", "Prompt tokens of a request.", &m->prompt_tokens,
              tokens);
    HISTOGRAM(&w, "request_generation_tokens", "Generated tokens of a request.",
              &m->generation_tokens, tokens);
    write_http(m, &w, info);
    write_energy(&w, info->energy);
    value(&w, "model_load_seconds", "gauge", "Seconds the model took to load.", info->load_s);
    head(&w, "build_info", "gauge", "This program.");
    snprintf(labels, sizeof labels, ",version=\"%s\",commit=\"%s\"", info->version, info->commit);
    sample(&w, "build_info", labels, 1);
    tk_buf_free(&name);
}
