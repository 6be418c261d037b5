// SPDX-License-Identifier: MIT
// A load generator for OpenAI-compatible servers, with vLLM's flags and answers.
#include "cli/cmd.h"
#include "cli/sampling.h"

#include "base/log.h"
#include "base/mem.h"
#include "bench/serve_report.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

typedef struct options {
    tk_cmd_common common;
    const char *backend, *base_url, *host, *endpoint, *model, *served_name, *api_key, *tokenizer;
    const char *dataset, *path, *prompt_format, *extra_body, *label;
    const char *rate, *percentile_metrics, *percentiles, *result_dir, *result_filename;
    tk_opt_list headers, goodput, metadata;
    int64_t port, num_prompts, num_warmups, max_concurrency, seed, timeout, ready_timeout;
    int64_t input_len, output_len, random_input_len, random_output_len, random_prefix_len;
    int64_t repetition_prefix_len, suffix_len, n_prefix, repetition_output_len;
    int64_t custom_output_len, sharegpt_output_len, turns, vocab_size;
    double range_ratio, burstiness, temperature;
    bool ignore_eos, save_result, save_detailed, json, insecure;
} options;

#define STR(n, a, field_, h)                                                                       \
    {                                                                                              \
        .name = n, .type = TK_OPT_STR, .arg = a, .help = h, .offset = offsetof(options, field_)    \
    }
#define INT(n, low, high, field_, h)                                                               \
    {                                                                                              \
        .name = n, .type = TK_OPT_INT, .arg = "N", .min = low, .max = high, .help = h,             \
        .offset = offsetof(options, field_)                                                        \
    }
#define FLAG(n, field_, h)                                                                         \
    {                                                                                              \
        .name = n, .type = TK_OPT_FLAG, .help = h, .offset = offsetof(options, field_)             \
    }
#define LIST(n, a, field_, h)                                                                      \
    {                                                                                              \
        .name = n, .type = TK_OPT_LIST, .arg = a, .help = h, .offset = offsetof(options, field_)   \
    }

enum { MOST_TOKENS = 16777216 };

static const tk_opt table[] = {
    {.name = "backend",
     .type = TK_OPT_CHOICE,
     .arg = "openai|openai-chat|vllm",
     .choices = "openai openai-chat vllm",
     .help = "openai-chat changes the default endpoint to /v1/chat/completions.",
     .offset = offsetof(options, backend)},
    STR("base-url", "URL", base_url, "The server, in place of --host and --port."),
    STR("host", "HOST", host, "Default 127.0.0.1."),
    INT("port", 1, 65535, port, "Default 8000."),
    STR("endpoint", "PATH", endpoint, "Default /v1/completions; or /v1/chat/completions."),
    STR("model", "NAME", model, "Default: the first of the server's /v1/models."),
    STR("served-model-name", "NAME", served_name, "The name requests carry (default: --model)."),
    STR("api-key", "KEY", api_key, "Default: OPENAI_API_KEY of the environment."),
    LIST("header", "KEY=VALUE", headers, "One more header; may be given several times."),
    FLAG("insecure", insecure, "Do not check certificates."),
    {.name = "dataset-name",
     .type = TK_OPT_CHOICE,
     .arg = "NAME",
     .choices = "random sharegpt custom prefix_repetition multi-turn",
     .help = "random (default), prefix_repetition, multi-turn; sharegpt and custom (JSON lines of "
             "\"prompt\") read --dataset-path.",
     .offset = offsetof(options, dataset)},
    STR("dataset-path", "FILE", path, "The file of sharegpt or custom."),
    INT("num-prompts", 1, 10000000, num_prompts, "Requests (default 1000)."),
    INT("num-warmups", 0, 100000, num_warmups, "Requests before them that do not count."),
    INT("input-len", 1, MOST_TOKENS, input_len, "The same as --random-input-len."),
    INT("output-len", 1, MOST_TOKENS, output_len, "Tokens asked for, whatever the dataset."),
    INT("random-input-len", 1, MOST_TOKENS, random_input_len,
        "Prompt tokens after the prefix (default 1024); multi-turn: of each user message."),
    INT("random-output-len", 1, MOST_TOKENS, random_output_len, "Default 128."),
    {.name = "random-range-ratio",
     .type = TK_OPT_DOUBLE,
     .arg = "R",
     .min = 0,
     .max = 0.999,
     .help = "Lengths are uniform in len * (1 - R) .. len * (1 + R) (default 0).",
     .offset = offsetof(options, range_ratio)},
    INT("random-prefix-len", 0, MOST_TOKENS, random_prefix_len,
        "Tokens that all prompts begin with (default 0); multi-turn: of the system message."),
    INT("prefix-repetition-prefix-len", 1, MOST_TOKENS, repetition_prefix_len, "Default 256."),
    INT("prefix-repetition-suffix-len", 1, MOST_TOKENS, suffix_len, "Default 256."),
    INT("prefix-repetition-num-prefixes", 1, 1000000, n_prefix, "Default 10."),
    INT("prefix-repetition-output-len", 1, MOST_TOKENS, repetition_output_len, "Default 128."),
    INT("custom-output-len", 1, MOST_TOKENS, custom_output_len,
        "Default: \"output_tokens\" of the line, else 256."),
    INT("sharegpt-output-len", 1, MOST_TOKENS, sharegpt_output_len,
        "Default: as long as the answer in the file."),
    INT("turns", 1, 1000, turns, "multi-turn: requests of one conversation (default 4)."),
    {.name = "prompt-format",
     .type = TK_OPT_CHOICE,
     .arg = "auto|ids|text",
     .choices = "auto ids text",
     .help = "Random prompts as token ids where the server takes them (auto), or as words.",
     .offset = offsetof(options, prompt_format)},
    STR("tokenizer", "MODEL", tokenizer,
        "Counts the tokens of random words; without it the server's own counts calibrate them."),
    INT("vocab-size", 1, 4194304, vocab_size, "Random token ids lie below it."),
    STR("request-rate", "RPS", rate, "Requests a second, or inf (default): all at once."),
    {.name = "burstiness",
     .type = TK_OPT_DOUBLE,
     .arg = "B",
     .min = 0.001,
     .max = 1e6,
     .help = "1 (default) = Poisson; smaller is burstier, larger more even.",
     .offset = offsetof(options, burstiness)},
    INT("max-concurrency", 1, 1000000, max_concurrency, "Requests under way at most."),
    FLAG("ignore-eos", ignore_eos,
         "Ask the server not to stop early (always with random and multi-turn)."),
    {.name = "temperature",
     .type = TK_OPT_DOUBLE,
     .arg = "T",
     .min = 0,
     .max = 100,
     .help = "Default: the server's.",
     .offset = offsetof(options, temperature)},
    STR("extra-body", "JSON", extra_body, "An object whose members are added to every request."),
    INT("timeout", 1, 1000000, timeout, "Seconds a request may take (default 21600)."),
    INT("ready-check-timeout-sec", 0, 100000, ready_timeout,
        "Seconds to wait for the server to be there (default 0)."),
    {.name = "seed",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "Of prompts, lengths and times (default 0).",
     .offset = offsetof(options, seed)},
    LIST("goodput", "KEY:MS", goodput,
         "Bounds a good request keeps, as ttft:500 tpot:50 e2el:5000 (milliseconds)."),
    STR("percentile-metrics", "LIST", percentile_metrics,
        "What the block shows of ttft,tpot,itl,e2el,client_queue_time (default ttft,tpot,itl)."),
    STR("metric-percentiles", "LIST", percentiles, "Default 99; as 50,90,99.9."),
    FLAG("save-result", save_result, "Write the result as JSON to a file."),
    FLAG("save-detailed", save_detailed, "With every request's numbers."),
    STR("result-dir", "DIR", result_dir, "Made when it is not there."),
    STR("result-filename", "FILE", result_filename,
        "Default: LABEL-RATEqps[-concurrencyN]-MODEL-DATE.json."),
    LIST("metadata", "KEY=VALUE", metadata, "Kept in the JSON."),
    STR("label", "TEXT", label, "Kept in the JSON and in the file's name."),
    FLAG("json", json, "Print the JSON in place of the block."),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_bench_serve = {
    .name = "bench serve",
    .synopsis = "bench serve [--base-url URL] [--dataset-name NAME] [options]",
    .summary = "measure a server under load as vLLM's bench serve does",
    .details =
        "Streams from any OpenAI-compatible server: closed loop (--max-concurrency) or open loop "
        "(--request-rate).\n"
        "Times are taken when an event arrives, token counts from the server's usage. What each "
        "number means: docs/benchmarking.md.",
    .opts = table,
    .run = run,
};

typedef struct job {
    options o;
    tk_http_target target;
    tk_prompt_source source;
    tk_workload workload;
    tk_load_result result;
    tk_serve_about about;
    json_t *extra_body;
    char *model;
} job;

// "--goodput ttft:500 tpot:50" and "--metadata a=1 b=2" as vLLM takes them: the words after the first come
// here as positional ones.
static tk_status sort_positional(options *o, const char *const *word, int n, tk_err *err)
{
    for (int i = 0; i < n; i++) {
        tk_opt_list *to = strchr(word[i], '=')   ? &o->metadata
                          : strchr(word[i], ':') ? &o->goodput
                                                 : NULL;
        if (to == NULL || to->n == 0 || to->n == TK_OPT_LIST_MAX)
            return tk_fail(err, TK_USAGE, "unexpected argument \"%s\"", word[i]);
        to->item[to->n++] = word[i];
    }
    return TK_OK;
}

static tk_status parse_double(const char *name, const char *text, double least, double *out,
                              tk_err *err)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || isnan(*out) || *out < least)
        return tk_fail(err, TK_USAGE, "--%s is \"%s\", a number was expected", name, text);
    return TK_OK;
}

static tk_status parse_goodput(job *j, tk_err *err)
{
    tk_serve_about *a = &j->about;
    a->goodput_ttft_ms = a->goodput_tpot_ms = a->goodput_e2el_ms = NAN;
    for (int i = 0; i < j->o.goodput.n; i++) {
        const char *item = j->o.goodput.item[i], *colon = strchr(item, ':');
        double *to = strncmp(item, "ttft:", 5) == 0   ? &a->goodput_ttft_ms
                     : strncmp(item, "tpot:", 5) == 0 ? &a->goodput_tpot_ms
                     : strncmp(item, "e2el:", 5) == 0 ? &a->goodput_e2el_ms
                                                      : NULL;
        if (to == NULL)
            return tk_fail(err, TK_USAGE,
                           "--goodput is \"%s\"; ttft:MS, tpot:MS or e2el:MS were "
                           "expected",
                           item);
        tk_status st = parse_double("goodput", colon + 1, 0, to, err);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

static tk_status parse_percentiles(job *j, tk_err *err)
{
    const char *list = j->o.percentiles ? j->o.percentiles : "99";
    for (const char *p = list;;) {
        size_t len = strcspn(p, ",");
        char one[32];
        double v;
        snprintf(one, sizeof one, "%.*s", (int)TK_MIN(len, sizeof one - 1), p);
        tk_status st = parse_double("metric-percentiles", one, 0, &v, err);
        if (st != TK_OK) return st;
        if (v > 100 || j->about.n_percentile == TK_SERVE_PERCENTILES)
            return tk_fail(err, TK_USAGE, "--metric-percentiles is \"%s\", at most %d of 0..100",
                           list, TK_SERVE_PERCENTILES);
        j->about.percentiles[j->about.n_percentile++] = v;
        p += len;
        if (*p++ == 0) return TK_OK;
    }
}

static tk_status check_metrics(const char *list, tk_err *err)
{
    static const char known[] = ",ttft,tpot,itl,e2el,client_queue_time,";
    for (const char *p = list;;) {
        size_t len = strcspn(p, ",");
        char word[64];
        snprintf(word, sizeof word, ",%.*s,", (int)TK_MIN(len, sizeof word - 4), p);
        if (strstr(known, word) == NULL)
            return tk_fail(err, TK_USAGE,
                           "--percentile-metrics has \"%.*s\"; known are ttft tpot "
                           "itl e2el client_queue_time",
                           (int)len, p);
        p += len;
        if (*p++ == 0) return TK_OK;
    }
}

static bool is_chat(const options *o)
{
    return strstr(o->endpoint, "chat/completions") != NULL;
}

static tk_status check(job *j, tk_err *err)
{
    options *o = &j->o;
    tk_status st;
    bool from_file = strcmp(o->dataset, "sharegpt") == 0 || strcmp(o->dataset, "custom") == 0;
    if (o->endpoint == NULL)
        o->endpoint =
            strcmp(o->backend, "openai-chat") == 0 ? "/v1/chat/completions" : "/v1/completions";
    if (o->endpoint[0] != '/' || strstr(o->endpoint, "completions") == NULL)
        return tk_fail(err, TK_USAGE,
                       "--endpoint is \"%s\"; /v1/completions or "
                       "/v1/chat/completions were expected",
                       o->endpoint);
    if (from_file != (o->path != NULL))
        return tk_fail(err, TK_USAGE, "--dataset-name %s %s --dataset-path", o->dataset,
                       from_file ? "needs" : "takes no");
    if (strcmp(o->dataset, "multi-turn") == 0 && !is_chat(o))
        return tk_fail(err, TK_USAGE, "multi-turn needs --endpoint /v1/chat/completions");
    for (int i = 0; i < o->metadata.n; i++)
        if (strchr(o->metadata.item[i], '=') == NULL)
            return tk_fail(err, TK_USAGE, "--metadata is \"%s\", KEY=VALUE was expected",
                           o->metadata.item[i]);
    TK_TRY(parse_double("request-rate", o->rate, 1e-9, &j->about.request_rate, err));
    TK_TRY(parse_goodput(j, err));
    TK_TRY(parse_percentiles(j, err));
    TK_TRY(check_metrics(o->percentile_metrics, err));
    j->extra_body = json_object();
    if (o->extra_body) {
        json_decref(j->extra_body);
        j->extra_body = NULL;
        if (tk_json_parse(o->extra_body, strlen(o->extra_body), "--extra-body", &j->extra_body,
                          NULL) != TK_OK ||
            !json_is_object(j->extra_body))
            return tk_fail(err, TK_USAGE, "--extra-body is no JSON object: %s", o->extra_body);
    }
    if (!isnan(o->temperature))
        json_object_set_new(j->extra_body, "temperature", json_real(o->temperature));
done:
    return st;
}

static tk_status open_target(job *j, tk_err *err)
{
    const options *o = &j->o;
    const char *key = o->api_key ? o->api_key : getenv("OPENAI_API_KEY");
    char *headers[TK_OPT_LIST_MAX] = {0};
    char *url = o->base_url ? tk_strdup(o->base_url)
                            : tk_asprintf(strchr(o->host, ':') ? "http://[%s]:%d" : "http://%s:%d",
                                          o->host, (int)o->port);
    tk_status st = TK_OK;
    for (int i = 0; i < o->headers.n && st == TK_OK; i++) {
        const char *item = o->headers.item[i], *eq = strchr(item, '=');
        if (eq == NULL)
            st = tk_fail(err, TK_USAGE, "--header is \"%s\", KEY=VALUE was expected", item);
        else
            headers[i] = tk_asprintf("%.*s: %s", (int)(eq - item), item, eq + 1);
    }
    if (st == TK_OK)
        st = tk_http_target_make(url, key, (const char *const *)headers, o->headers.n, &j->target,
                                 err);
    j->target.insecure = o->insecure;
    for (int i = 0; i < o->headers.n; i++) tk_free(headers[i]);
    tk_free(url);
    return st;
}

enum { FIRST_ANSWER_S = 30 };

// Asks for the list of models until the server answers, at most ready_timeout seconds; names the model. A server
// that takes connections and says nothing is not waited for longer than that.
static tk_status meet_server(job *j, tk_err *err)
{
    const options *o = &j->o;
    time_t give_up = time(NULL) + (time_t)o->ready_timeout;
    json_t *models = NULL;
    long status = 0;
    tk_status st;
    for (;;) {
        long left = (long)(give_up - time(NULL));
        bool last = left <= 0 || tk_interrupted;
        j->target.timeout_s = o->ready_timeout == 0 ? FIRST_ANSWER_S : TK_MAX(left, 1);
        json_decref(models);
        st = tk_http_call(&j->target, "/v1/models", NULL, &status, &models, last ? err : NULL);
        if ((st == TK_OK && status == 200) || last) break;
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    }
    j->target.timeout_s = (long)o->timeout;
    const char *name = o->served_name ? o->served_name : o->model;
    const json_t *first = json_array_get(json_object_get(models, "data"), 0);
    if (name == NULL) name = json_string_value(json_object_get(first, "id"));
    if (name)
        j->model = tk_strdup(name);
    else if (st == TK_OK)
        st = tk_fail(err, TK_IO, "%s/v1/models (HTTP %ld) names no model; give --model",
                     j->target.base_url, status);
    json_decref(models);
    return st;
}

static int32_t output_len(const options *o, int64_t own, int64_t fallback)
{
    return (int32_t)(o->output_len ? o->output_len : own ? own : fallback);
}

static tk_status make_workload(job *j, tk_err *err)
{
    const options *o = &j->o;
    bool repetition = strcmp(o->dataset, "prefix_repetition") == 0;
    tk_workload_opts w = {.dataset = o->dataset,
                          .path = o->path,
                          .seed = (uint64_t)o->seed,
                          .n_request = (int32_t)o->num_prompts,
                          .n_warmup = (int32_t)o->num_warmups,
                          .input_len = (int32_t)(o->input_len ? o->input_len : o->random_input_len),
                          .output_len = output_len(o, o->random_output_len, 128),
                          .prefix_len = (int32_t)o->random_prefix_len,
                          .range_ratio = o->range_ratio,
                          .n_prefix = (int32_t)o->n_prefix,
                          .suffix_len = (int32_t)o->suffix_len,
                          .n_turn = (int32_t)o->turns};
    if (repetition) {
        w.prefix_len = (int32_t)o->repetition_prefix_len;
        w.output_len = output_len(o, o->repetition_output_len, 128);
    }
    if (strcmp(o->dataset, "custom") == 0) w.output_len = output_len(o, o->custom_output_len, 0);
    if (strcmp(o->dataset, "sharegpt") == 0)
        w.output_len = output_len(o, o->sharegpt_output_len, 0);
    tk_prompt_form form = o->path || strcmp(o->prompt_format, "text") == 0 ? TK_PROMPT_TEXT
                          : strcmp(o->prompt_format, "ids") == 0           ? TK_PROMPT_IDS
                                                                           : TK_PROMPT_AUTO;
    tk_status st = tk_prompt_source_open(&j->target, o->endpoint, j->model, form, o->tokenizer,
                                         (int32_t)o->vocab_size, &j->source, err);
    if (st == TK_OK) st = tk_workload_make(&w, &j->source, &j->workload, err);
    return st;
}

// A connection is a file.
static void allow_many_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0) return;
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

static tk_status run_load(job *j, tk_err *err)
{
    const options *o = &j->o;
    bool whole = strcmp(o->dataset, "random") == 0 || strcmp(o->dataset, "multi-turn") == 0;
    tk_load_opts lo = {.endpoint = o->endpoint,
                       .model = j->model,
                       .request_rate = j->about.request_rate,
                       .burstiness = o->burstiness,
                       .max_concurrency = (int32_t)o->max_concurrency,
                       .ignore_eos = o->ignore_eos || whole,
                       .extra_body = j->extra_body,
                       .seed = (uint64_t)o->seed,
                       .interrupt = &tk_interrupted};
    allow_many_files();
    tk_log(TK_LOG_INFO, "%d requests to %s%s, prompts as %s, request rate %s, concurrency %s%d",
           (int)o->num_prompts, j->target.base_url, o->endpoint,
           j->source.ids && !o->path ? "token ids" : "text", o->rate,
           o->max_concurrency ? "" : "without bound ", (int)o->max_concurrency);
    tk_status st = tk_load_run(&j->target, &j->workload, &lo, &j->result, err);
    if (st == TK_OK && j->result.lag.p99_ms > 10)
        tk_log(TK_LOG_WARN,
               "this client was late for its own timer by %.1f ms at the 99th percentile: times "
               "are too long by about that",
               j->result.lag.p99_ms);
    return st;
}

static char *result_path(const job *j, const json_t *report)
{
    const options *o = &j->o;
    const char *slash = strrchr(j->model, '/');
    char concurrency[40] = "";
    if (o->max_concurrency)
        snprintf(concurrency, sizeof concurrency, "-concurrency%d", (int)o->max_concurrency);
    char *name = o->result_filename
                     ? tk_strdup(o->result_filename)
                     : tk_asprintf("%s-%sqps%s-%s-%s.json", o->label ? o->label : o->backend,
                                   o->rate, concurrency, slash ? slash + 1 : j->model,
                                   json_string_value(json_object_get(report, "date")));
    if (o->result_dir == NULL) return name;
    char *path = tk_asprintf("%s/%s", o->result_dir, name);
    tk_free(name);
    return path;
}

static tk_status save(const job *j, const json_t *report, tk_err *err)
{
    tk_status st = TK_OK;
    if (j->o.result_dir && mkdir(j->o.result_dir, 0777) != 0 && errno != EEXIST)
        return tk_fail(err, TK_IO, "cannot make \"%s\": %s", j->o.result_dir, strerror(errno));
    char *path = result_path(j, report);
    if (json_dump_file(report, path, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) != 0)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    else
        tk_log(TK_LOG_INFO, "the result is in %s", path);
    tk_free(path);
    return st;
}

static tk_status report(job *j, tk_err *err)
{
    const options *o = &j->o;
    tk_serve_about *a = &j->about;
    a->backend = o->backend;
    a->label = o->label;
    a->model = j->model;
    a->tokenizer = o->tokenizer;
    a->metadata = o->metadata.item;
    a->n_metadata = o->metadata.n;
    a->burstiness = o->burstiness;
    a->max_concurrency = (int32_t)o->max_concurrency;
    a->num_prompts = (int32_t)o->num_prompts;
    a->shown = o->percentile_metrics;
    a->detailed = o->save_detailed;
    json_t *r = tk_serve_report(a, &j->workload, &j->result);
    if (o->json) {
        json_dumpf(r, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
        putchar('\n');
    } else {
        tk_serve_print(a, r, stdout);
    }
    const char *why;
    json_t *n;
    json_object_foreach(json_object_get(r, "failures"), why, n)
        tk_log(TK_LOG_QUIET, "%lld requests failed: %s", (long long)json_integer_value(n), why);
    tk_status st = o->save_result || o->save_detailed ? save(j, r, err) : TK_OK;
    if (st == TK_OK && json_integer_value(json_object_get(r, "completed")) == 0)
        st = tk_fail(err, TK_FAILED, "no request succeeded");
    json_decref(r);
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    job j = {.o = {.backend = "openai",
                   .host = "127.0.0.1",
                   .port = 8000,
                   .dataset = "random",
                   .prompt_format = "auto",
                   .rate = "inf",
                   .burstiness = 1,
                   .percentile_metrics = "ttft,tpot,itl",
                   .num_prompts = 1000,
                   .random_input_len = 1024,
                   .repetition_prefix_len = 256,
                   .suffix_len = 256,
                   .n_prefix = 10,
                   .turns = 4,
                   .timeout = 21600,
                   .temperature = NAN}};
    const char *word[TK_OPT_LIST_MAX];
    int n_word = 0;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_bench_serve, argc, argv, &j.o, word, 0, TK_OPT_LIST_MAX, &n_word,
                        err));
    TK_TRY(sort_positional(&j.o, word, n_word, err));
    TK_TRY(check(&j, err));
    tk_catch_interrupt();
    TK_TRY(open_target(&j, err));
    TK_TRY(meet_server(&j, err));
    TK_TRY(make_workload(&j, err));
    TK_TRY(run_load(&j, err));
    TK_TRY(report(&j, err));
done:
    tk_load_result_free(&j.result);
    tk_workload_free(&j.workload);
    tk_prompt_source_close(&j.source);
    tk_http_target_free(&j.target);
    json_decref(j.extra_body);
    tk_free(j.model);
    return st;
}
