// SPDX-License-Identifier: MIT
// A model behind HTTP (docs/server.md).
#include "cli/cmd.h"
#include "cli/model_opts.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/service.h"
#include "server/server.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct options {
    tk_cmd_common common;
    tk_model_opts model;
    const char *model_name, *host, *api_key_file, *kv_disk_dir, *reasoning_parser, *tool_parser;
    const char *powercap_dir;
    tk_opt_list names, api_keys, cors;
    int64_t port, max_num_seqs, max_num_batched_tokens, max_num_waiting, chunk, kv_tokens,
        kv_disk_mb;
    int64_t max_body_bytes, max_connections, concurrent, top_k;
    double ttft_ms, tpot_ms, requests_per_min, tokens_per_min, shutdown_s;
    double temperature, top_p, min_p;
    bool no_web_page, allow_open, prefix_cache, no_prefix_cache, auto_tools;
} options;

#define OPT(opt_name, opt_type, field, opt_help, ...)                                              \
    {                                                                                              \
        .name = opt_name, .type = TK_OPT_##opt_type, .offset = offsetof(options, field),           \
        .help = opt_help, __VA_ARGS__                                                              \
    }

static const tk_opt table[] = {
    OPT("model", STR, model_name, "The model, when it is not given as MODEL.", .arg = "MODEL",
        .aliases = "m model-path"),
    OPT("served-model-name", LIST, names,
        "What the model is called in requests; may be given several times (default: MODEL's last "
        "part).",
        .arg = "NAME", .aliases = "a alias"),
    OPT("host", STR, host, "Address to listen on (default 127.0.0.1).", .arg = "ADDRESS"),
    OPT("port", INT, port, "Port; 0 picks a free one (default 8000).", .arg = "N", .min = -1,
        .max = 65535),
    OPT("api-key", LIST, api_keys, "A key that clients must show; may be given several times.",
        .arg = "KEY", .aliases = "api-keys"),
    OPT("api-key-file", STR, api_key_file, "A file of such keys, one a line.", .arg = "FILE"),
    OPT("allow-no-api-key", FLAG, allow_open, "Listen beyond this machine although no key is set."),
    OPT("max-num-seqs", INT, max_num_seqs, "Requests answered at once (default 32).", .arg = "N",
        .min = 1, .max = TK_LIMIT_SEQS,
        .aliases = "np parallel max-running-requests max-batch-size"),
    OPT("max-num-batched-tokens", INT, max_num_batched_tokens,
        "Tokens of one step (default 0: what the workspace holds).", .arg = "N", .min = 0,
        .max = 65536, .aliases = "b max-num-tokens max-prefill-tokens"),
    OPT("chunked-prefill-size", INT, chunk,
        "Prompt tokens of one request in one step (default 0: chosen).", .arg = "N", .min = 0,
        .max = 65536, .aliases = "ub"),
    OPT("max-num-waiting", INT, max_num_waiting,
        "Requests that may wait; more are answered 503 (default 1024).", .arg = "N", .min = 1,
        .max = TK_LIMIT_WAITING, .aliases = "max-queue-size"),
    OPT("kv-cache-tokens", INT, kv_tokens,
        "Tokens the KV cache holds, all requests together (default: max-num-seqs times "
        "max-model-len, at most 65536 or one request's).",
        .arg = "N", .min = 0, .max = 1e9),
    OPT("enable-prefix-caching", FLAG, prefix_cache, "Keep prompts' beginnings (the default)."),
    OPT("no-enable-prefix-caching", FLAG, no_prefix_cache, "Do not keep prompts' beginnings.",
        .aliases = "disable-radix-cache"),
    OPT("kv-disk-dir", STR, kv_disk_dir, "Folder where cached prompts survive a restart.",
        .arg = "DIR", .aliases = "slot-save-path"),
    OPT("kv-disk-space-mb", INT, kv_disk_mb, "Most MiB of files in it (default 8192).", .arg = "N",
        .min = 1, .max = 1e9),
    OPT("ttft-target", DOUBLE, ttft_ms,
        "Aim for this time to the first token, ms (default 0: none).", .arg = "MS", .min = 0,
        .max = 1e7),
    OPT("tpot-target", DOUBLE, tpot_ms, "Aim for this time per output token, ms (default 0: none).",
        .arg = "MS", .min = 0, .max = 1e7),
    OPT("no-repack", FLAG, model.no_repack,
        "Use the weights where they are mapped: slower, ready at once, shared between processes."),
    OPT("temperature", DOUBLE, temperature,
        "For requests that do not say (default: generation_config.json's, or 1).", .arg = "T",
        .min = -1, .max = 100, .aliases = "temp"),
    OPT("top-p", DOUBLE, top_p, "Likewise (default: the model's, or 1).", .arg = "P", .min = -1,
        .max = 1),
    OPT("top-k", INT, top_k, "Likewise (default: the model's, or 0 = all).", .arg = "K", .min = -1,
        .max = 1e9),
    OPT("min-p", DOUBLE, min_p, "Likewise (default: the model's, or 0).", .arg = "P", .min = -1,
        .max = 1),
    OPT("reasoning-parser", STR, reasoning_parser,
        "auto (default), none, deepseek_r1, qwen3 or mistral.", .arg = "NAME",
        .aliases = "reasoning-format"),
    OPT("tool-call-parser", STR, tool_parser,
        "auto (default), none, hermes, llama3_json, mistral, deepseek_v3 or json.", .arg = "NAME"),
    OPT("enable-auto-tool-choice", FLAG, auto_tools, "Always on; taken for vLLM's sake."),
    OPT("max-body-bytes", INT, max_body_bytes, "Larger request bodies are answered 413.",
        .arg = "N", .min = 1024, .max = 1e9),
    OPT("max-connections", INT, max_connections, "More are answered 503 (default 4096).",
        .arg = "N", .min = 1, .max = 100000),
    OPT("max-requests-per-minute", DOUBLE, requests_per_min,
        "Of each key; more are answered 429 (default 0: no limit).", .arg = "N", .min = 0,
        .max = 1e9),
    OPT("max-tokens-per-minute", DOUBLE, tokens_per_min,
        "Of each key, prompt and output (default 0: no limit).", .arg = "N", .min = 0, .max = 1e12),
    OPT("max-concurrent-requests", INT, concurrent, "Of each key (default 0: no limit).",
        .arg = "N", .min = 0, .max = 1e6),
    OPT("cors-origin", LIST, cors,
        "An origin whose pages may ask (* = all); may be given several times. Off by default.",
        .arg = "ORIGIN", .aliases = "allowed-origins"),
    OPT("no-web-page", FLAG, no_web_page, "Answer 404 at /: no chat and dashboard for browsers.",
        .aliases = "no-webui disable-webui"),
    OPT("powercap-dir", STR, powercap_dir,
        "Where energy counters are read (default /sys/class/powercap).", .arg = "DIR"),
    OPT("shutdown-timeout", DOUBLE, shutdown_s,
        "Seconds that running answers get after SIGTERM (default 30).", .arg = "S", .min = 0,
        .max = 1e6),
    TK_MODEL_OPTS(options),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_serve = {
    .name = "serve",
    .synopsis = "serve MODEL [options]",
    .summary = "answer requests over HTTP, as OpenAI's and Anthropic's APIs do",
    .details = "Prints \"listening on http://HOST:PORT\" on standard output once ready. SIGTERM or "
               "SIGINT\n"
               "lets running answers end; a second one ends the process at once. Every option may "
               "also be\n"
               "given as an environment variable: TOKAMAK_MAX_NUM_SEQS for --max-num-seqs.",
    .opts = table,
    .run = run,
};

static atomic_int n_signal;  // relaxed: counted in the handler
static atomic_int signal_fd; // eventfd, -1 = none yet: nothing runs that would have to be drained

static void on_signal(int sig)
{
    (void)sig;
    int fd = atomic_load_explicit(&signal_fd, memory_order_relaxed), saved = errno;
    const uint64_t one = 1;
    if (atomic_fetch_add_explicit(&n_signal, 1, memory_order_relaxed) > 0 || fd < 0) _Exit(5);
    ssize_t ignored = write(fd, &one, sizeof one);
    (void)ignored;
    errno = saved;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_signal};
    atomic_store(&signal_fd, -1);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

// As many descriptors as connections, when the system lets us.
static void allow_connections(int64_t n)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= (rlim_t)n + 64) return;
    l.rlim_cur = l.rlim_max < (rlim_t)n + 64 ? l.rlim_max : (rlim_t)n + 64;
    if (setrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur < (rlim_t)n + 64)
        tk_log(TK_LOG_WARN, "this process may open %llu files only, so fewer than %lld connections",
               (unsigned long long)l.rlim_cur, (long long)n);
}

typedef struct keys {
    const char *item[TK_LIMIT_API_KEYS];
    int n;
    char *text; // of the file
} keys;

static tk_status read_keys(const options *o, keys *k, tk_err *err)
{
    for (int i = 0; i < o->api_keys.n; i++) k->item[k->n++] = o->api_keys.item[i];
    if (o->api_key_file == NULL) return TK_OK;
    tk_status st = tk_file_read(o->api_key_file, 1 << 20, &k->text, NULL, err);
    if (st != TK_OK) return st;
    char *rest = k->text, *line;
    while ((line = strsep(&rest, "\r\n")) != NULL) {
        line += strspn(line, " \t");
        line[strcspn(line, " \t")] = 0;
        if (*line == 0 || *line == '#') continue;
        if (k->n == TK_LIMIT_API_KEYS)
            return tk_fail(err, TK_USAGE, "%s: more than %d keys", o->api_key_file,
                           TK_LIMIT_API_KEYS);
        k->item[k->n++] = line;
    }
    return k->n ? TK_OK : tk_fail(err, TK_USAGE, "%s: there is no key in it", o->api_key_file);
}

// "models/demo/" -> "demo"
static char *last_part(const char *model)
{
    size_t n = strlen(model), from;
    while (n > 1 && model[n - 1] == '/') n--;
    for (from = n; from > 0 && model[from - 1] != '/'; from--) {
    }
    return tk_strndup(model + from, n - from);
}

static tk_server_opts server_opts(const options *o, const keys *k)
{
    tk_server_opts s = tk_server_opts_default();
    s.host = o->host;
    s.port = (int)o->port;
    s.api_keys = k->item;
    s.n_api_key = k->n;
    s.allow_open = o->allow_open;
    s.limits = (tk_auth_limits){o->requests_per_min, o->tokens_per_min, o->concurrent};
    s.max_body_bytes = (size_t)o->max_body_bytes;
    s.max_conn = (int)o->max_connections;
    s.cors = o->cors.item;
    s.n_cors = o->cors.n;
    s.names = o->names.item;
    s.n_name = o->names.n;
    s.reasoning_parser = o->reasoning_parser;
    s.tool_parser = o->tool_parser;
    s.temperature = o->temperature < 0 ? NAN : o->temperature;
    s.top_p = o->top_p <= 0 ? NAN : o->top_p;
    s.min_p = o->min_p < 0 ? NAN : o->min_p;
    s.top_k = o->top_k;
    s.web_page = !o->no_web_page;
    s.powercap_dir = o->powercap_dir;
    s.version = TK_VERSION;
    s.commit = TK_COMMIT;
    return s;
}

static tk_service_opts service_opts(const options *o, int32_t max_len)
{
    tk_service_opts s = tk_service_opts_default();
    s.max_num_seqs = (int32_t)o->max_num_seqs;
    s.max_num_batched_tokens = (int32_t)o->max_num_batched_tokens;
    s.max_num_waiting = (int32_t)o->max_num_waiting;
    s.max_model_len = max_len;
    s.chunked_prefill_size = (int32_t)o->chunk;
    s.ttft_target_s = o->ttft_ms / 1e3;
    s.tpot_target_s = o->tpot_ms / 1e3;
    s.prefix_cache = !o->no_prefix_cache;
    s.deterministic = o->model.deterministic;
    s.kv_disk_dir = o->kv_disk_dir;
    s.kv_disk_bytes = (uint64_t)o->kv_disk_mb << 20;
    return s;
}

// Tokens of one request, and of the cache they share.
static void choose_sizes(const options *o, const tk_model *m, int32_t *max_len, int32_t *kv_tok)
{
    enum { DEFAULT_KV_TOK = 65536, DEFAULT_LEN = 32768 };
    int32_t own = tk_engine_program(m->engine)->cfg.max_ctx;
    int64_t len = o->model.ctx ? o->model.ctx : TK_MIN(own, DEFAULT_LEN);
    int64_t all = TK_MIN(len * o->max_num_seqs, TK_MAX(DEFAULT_KV_TOK, len));
    *max_len = (int32_t)len;
    *kv_tok = (int32_t)(o->kv_tokens ? o->kv_tokens : all);
    if (*kv_tok < *max_len) *max_len = *kv_tok;
}

static tk_status serve_until_signal(tk_server *s, const options *o, tk_err *err)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) return tk_fail(err, TK_FAILED, "cannot make a descriptor: %s", strerror(errno));
    atomic_store(&signal_fd, fd);
    printf("listening on http://%s%s%s:%d\n", strchr(o->host, ':') ? "[" : "", o->host,
           strchr(o->host, ':') ? "]" : "", tk_server_port(s));
    fflush(stdout);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (poll(&p, 1, -1) < 0 && errno == EINTR) {
    }
    tk_log(TK_LOG_INFO, "shutting down; answers that are under way get up to %.0f s",
           o->shutdown_s);
    tk_server_drain(s);
    if (!tk_server_wait(s, o->shutdown_s))
        tk_log(TK_LOG_WARN, "some answers were cut off after %.0f s", o->shutdown_s);
    return TK_OK;
}

static tk_status load(const options *o, const char *model, tk_model *m, tk_service **service,
                      int32_t *max_len, tk_err *err)
{
    tk_engine_opts eo;
    int32_t kv_tok;
    tk_status st;
    TK_TRY(tk_model_opts_apply(&o->model, &eo, err));
    eo.repack = !o->model.no_repack;
    TK_TRY(tk_model_open(model, &eo, true, m, err));
    choose_sizes(o, m, max_len, &kv_tok);
    TK_TRY(tk_engine_load(m->engine, kv_tok, err));
    tk_service_opts so = service_opts(o, *max_len);
    TK_TRY(tk_service_start(m, &so, service, err));
done:
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.host = "127.0.0.1",
                 .port = 8000,
                 .max_num_seqs = 32,
                 .max_num_waiting = 1024,
                 .kv_disk_mb = 8192,
                 .max_body_bytes = TK_LIMIT_HTTP_BODY_BYTES,
                 .max_connections = 4096,
                 .shutdown_s = 30,
                 .temperature = -1,
                 .top_p = -1,
                 .top_k = -1,
                 .min_p = -1,
                 .reasoning_parser = "auto",
                 .tool_parser = "auto"};
    const char *model = NULL;
    char *name = NULL;
    int n = 0;
    int32_t max_len = 0;
    keys *k = tk_alloc(sizeof *k);
    tk_model m = {0};
    tk_service *service = NULL;
    tk_server *server = NULL;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_serve, argc, argv, &o, &model, 0, 1, &n, err));
    if (n == 0) model = o.model_name;
    if (model == NULL || (n && o.model_name)) {
        st = tk_fail(err, TK_USAGE, "usage: tokamak %s", tk_cmd_serve.synopsis);
        goto done;
    }
    if (o.names.n == 0) o.names.item[o.names.n++] = name = last_part(model);
    catch_signals();
    allow_connections(o.max_connections);
    TK_TRY(read_keys(&o, k, err));
    tk_server_opts so = server_opts(&o, k);
    TK_TRY(tk_server_start(&so, &server, err));
    uint64_t begun = tk_clock_ns();
    TK_TRY(load(&o, model, &m, &service, &max_len, err));
    TK_TRY(
        tk_server_ready(server, &m, service, max_len, (double)(tk_clock_ns() - begun) * 1e-9, err));
    st = serve_until_signal(server, &o, err);
done:
    if (server && service) tk_server_wait(server, 0);
    tk_service_stop(service, 0);
    tk_server_free(server);
    tk_model_close(&m);
    tk_free(k->text);
    tk_free(k);
    tk_free(name);
    return st;
}
