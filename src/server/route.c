// SPDX-License-Identifier: MIT
// What is answered where, and the answers that need no model.
#include "base/log.h"
#include "base/mem.h"
#include "server/page.h"
#include "server/server_priv.h"

#include <stdio.h>
#include <string.h>

static int state_of(const tk_server *s)
{
    return atomic_load_explicit(&s->state, memory_order_acquire);
}

// 503 in the words of llama.cpp's server, whose users' probes look for them.
static void health(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    int state = state_of(s);
    if (state == TK_SERVER_READY)
        tk_server_reply(c, 200, NULL, json_pack("{s:s}", "status", "ok"));
    else
        tk_server_reply(c, 503, state == TK_SERVER_LOADING ? "Retry-After: 1\r\n" : NULL,
                        json_pack("{s:{s:i, s:s, s:s}}", "error", "code", 503, "message",
                                  state == TK_SERVER_LOADING ? "Loading model" : "Shutting down",
                                  "type", "unavailable_error"));
}

static void live(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)s, (void)h;
    tk_server_reply(c, 200, NULL, json_pack("{s:s}", "status", "ok"));
}

static json_t *model_json(const tk_server *s, int i)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:i}", "id", s->opts.names[i], "object", "model",
                     "created", (json_int_t)0, "owned_by", "tokamak", "root", s->opts.names[0],
                     "max_model_len", s->max_len);
}

static void models(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    json_t *list = json_array();
    for (int i = 0; i < s->opts.n_name; i++) json_array_append_new(list, model_json(s, i));
    tk_server_reply(c, 200, NULL, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static void one_model(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    const char *name = h->path + strlen("/v1/models/");
    for (int i = 0; i < s->opts.n_name; i++)
        if (strcmp(s->opts.names[i], name) == 0) {
            tk_server_reply(c, 200, NULL, model_json(s, i));
            return;
        }
    tk_api_err e = {.code = "model_not_found"};
    tk_api_fail(&e, 404, "model", "there is no model \"%.200s\" here", name);
    tk_server_reply(c, 404, NULL, tk_api_error_json(&e, false, tk_conn_request_id(c)));
}

bool tk_server_is_name(const tk_server *s, const char *name)
{
    for (int i = 0; i < s->opts.n_name; i++)
        if (strcmp(s->opts.names[i], name) == 0) return true;
    return false;
}

static void version(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    tk_server_reply(c, 200, NULL,
                    json_pack("{s:s, s:s}", "version", s->opts.version, "commit", s->opts.commit));
}

static void metrics(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    tk_buf out = tk_buf_make(4 << 20);
    tk_metrics_info info = {.model_name = s->opts.names[0],
                            .version = s->opts.version,
                            .commit = s->opts.commit,
                            .n_connection = tk_conn_set_count(s->conns),
                            .energy = s->energy};
    int state = state_of(s);
    if (state == TK_SERVER_READY || (state == TK_SERVER_DRAINING && s->service)) {
        const tk_config *cfg = &tk_engine_program(s->model->engine)->cfg;
        info.load_s = s->load_s;
        info.service = s->service;
        info.n_layer = cfg->n_layer;
        info.n_expert = cfg->moe.n_expert;
    }
    tk_metrics_write(&s->metrics, &info, &out);
    tk_conn_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, tk_buf_str(&out),
                  out.len);
    tk_buf_free(&out);
}

static void server_info(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    static const char *const tools[] = {[TK_TOOLS_NONE] = "none",
                                        [TK_TOOLS_HERMES] = "hermes",
                                        [TK_TOOLS_LLAMA3] = "llama3_json",
                                        [TK_TOOLS_MISTRAL] = "mistral",
                                        [TK_TOOLS_DEEPSEEK] = "deepseek_v3",
                                        [TK_TOOLS_JSON] = "json"};
    tk_service_stats st = {0};
    if (!s->closed) tk_service_get_stats(s->service, &st);
    const tk_exec_plan *p = tk_exec_plan_of(tk_engine_exec(s->model->engine));
    tk_server_reply(
        c, 200, NULL,
        json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:s?, s:s, s:b, s:i, s:I, s:i, s:i}",
                  "model", s->opts.names[0], "version", s->opts.version, "commit", s->opts.commit,
                  "max_model_len", s->max_len, "vocab_size", s->n_vocab, "kv_cache_tokens",
                  p->n_kv_tok, "threads", p->n_thread, "reasoning_end",
                  s->marks ? s->marks->end : NULL, "tool_call_parser", tools[s->tools],
                  "template_knows_tools", s->template_has_tools, "max_connections",
                  s->opts.max_conn, "max_body_bytes", (json_int_t)s->opts.max_body_bytes,
                  "num_requests_running", st.n_running, "num_requests_waiting", st.n_waiting));
}

static void reset_cache(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    bool ok = !s->closed && tk_service_reset_prefix_cache(s->service) == TK_OK;
    tk_server_reply(c, ok ? 200 : 503, NULL, json_pack("{s:b}", "success", ok));
}

// [layer][expert] as JSON, the layers that have experts: a model of DeepSeek's size would be 15,000 lines of
// every scrape of /metrics.
static void write_expert_load(const tk_config *cfg, const uint64_t *load, tk_buf *out)
{
    size_t n = (size_t)cfg->moe.n_expert;
    const char *between = "";
    tk_buf_addf(out, "{\"n_expert\":%d,\"n_expert_used\":%d,\"layers\":[", cfg->moe.n_expert,
                cfg->moe.n_used);
    for (int32_t l = 0; load && l < cfg->n_layer; l++) {
        if (!cfg->moe_layer[l]) continue;
        tk_buf_addf(out, "%s{\"layer\":%d,\"tokens\":[", between, l);
        for (size_t e = 0; e < n; e++)
            tk_buf_addf(out, "%s%llu", e ? "," : "", (unsigned long long)load[(size_t)l * n + e]);
        tk_buf_add_str(out, "]}");
        between = ",";
    }
    tk_buf_add_str(out, "]}");
}

static void expert_load(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)h;
    const tk_config *cfg = &tk_engine_program(s->model->engine)->cfg;
    uint64_t *load = tk_alloc((size_t)cfg->n_layer * (size_t)cfg->moe.n_expert * sizeof *load);
    bool known = !s->closed && tk_service_expert_load(s->service, load);
    tk_buf out = tk_buf_make(64u << 20);
    write_expert_load(cfg, known ? load : NULL, &out);
    if (out.failed)
        tk_server_reply(c, 500, NULL, json_object());
    else
        tk_conn_reply(c, 200, "application/json", "Cache-Control: no-store\r\n", tk_buf_str(&out),
                      out.len);
    tk_buf_free(&out);
    tk_free(load);
}

// Browsers ask for it by themselves; the page carries its own.
static void no_icon(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    (void)s, (void)h;
    tk_conn_reply(c, 204, NULL, "Cache-Control: max-age=86400\r\n", "", 0);
}

static const tk_route routes[] = {
    {.method = "GET", .path = "/", .open = true, .now = tk_page_reply},
    {.method = "GET", .path = "/favicon.ico", .open = true, .now = no_icon},
    {.method = "GET", .path = "/health", .open = true, .now = health},
    {.method = "GET", .path = "/v1/health", .open = true, .now = health},
    {.method = "GET", .path = "/health/ready", .open = true, .now = health},
    {.method = "GET", .path = "/health/live", .open = true, .now = live},
    {.method = "GET", .path = "/version", .open = true, .now = version},
    {.method = "GET", .path = "/metrics", .open = true, .now = metrics},
    {.method = "GET", .path = "/v1/models", .needs_model = true, .now = models},
    {.method = "GET", .path = "/v1/models/", .prefix = true, .needs_model = true, .now = one_model},
    {.method = "GET", .path = "/server_info", .needs_model = true, .now = server_info},
    {.method = "GET", .path = "/expert_load", .needs_model = true, .now = expert_load},
    {.method = "POST", .path = "/reset_prefix_cache", .needs_model = true, .now = reset_cache},
    {.method = "POST", .path = "/flush_cache", .needs_model = true, .now = reset_cache},
    {.method = "POST", .path = "/v1/chat/completions", .needs_model = true, .read = tk_read_chat},
    {.method = "POST", .path = "/v1/completions", .needs_model = true, .read = tk_read_completion},
    {.method = "POST", .path = "/v1/responses", .needs_model = true, .read = tk_read_response},
    {.method = "POST",
     .path = "/v1/messages",
     .anthropic = true,
     .needs_model = true,
     .read = tk_read_message},
    {.method = "POST",
     .path = "/v1/messages/count_tokens",
     .anthropic = true,
     .needs_model = true,
     .read = tk_read_count_tokens},
    {.method = "POST", .path = "/tokenize", .needs_model = true, .read = tk_read_tokenize},
    {.method = "POST", .path = "/detokenize", .needs_model = true, .read = tk_read_detokenize},
};

const tk_route *tk_route_find(const tk_http1 *h, bool *known_path)
{
    *known_path = false;
    for (size_t i = 0; i < TK_COUNT(routes); i++) {
        const tk_route *r = &routes[i];
        size_t n = strlen(r->path);
        if (r->prefix ? strncmp(h->path, r->path, n) != 0 || h->path[n] == 0
                      : strcmp(h->path, r->path) != 0)
            continue;
        *known_path = true;
        if (strcmp(r->method, h->method) == 0 ||
            (strcmp(h->method, "HEAD") == 0 && strcmp(r->method, "GET") == 0))
            return r;
    }
    return NULL;
}
