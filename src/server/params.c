// SPDX-License-Identifier: MIT
#include "server/params.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/chat.h"
#include "server/grammar_cache.h"
#include "server/server_priv.h"

#include <stdlib.h>
#include <string.h>

tk_params tk_params_default(const tk_call *c)
{
    const tk_sample_opts *o = &c->server->sample;
    return (tk_params){.temperature = o->temperature,
                       .top_p = o->top_p,
                       .top_k = o->top_k,
                       .min_p = o->min_p,
                       .repetition = o->repetition_penalty > 0 ? o->repetition_penalty : 1,
                       .n = 1,
                       .seed = TK_SEED_NONE,
                       .max_tokens = -1,
                       .max_completion_tokens = -1,
                       .n_top = -1,
                       .add_prompt = true,
                       .parallel_tools = true};
}

static tk_status check_model(tk_call *c, const tk_params *p)
{
    c->model = p->model ? p->model : c->server->opts.names[0];
    if (tk_server_is_name(c->server, c->model)) return TK_OK;
    tk_api_fail(&c->error, 404, "model", "there is no model \"%.200s\" here", c->model);
    c->error.code = "model_not_found";
    return TK_BAD_INPUT;
}

// A string or a list of strings.
static tk_status read_stops(tk_call *c, json_t *stop, const char *name)
{
    tk_gen *g = &c->gen;
    size_t n = json_is_array(stop) ? json_array_size(stop) : stop ? 1 : 0;
    if (n > TK_LIMIT_REQUEST_STOPS)
        return tk_api_fail(&c->error, 400, name, "%s has %zu strings, at most %d are taken", name,
                           n, TK_LIMIT_REQUEST_STOPS);
    g->stop = tk_alloc((n + 1) * sizeof *g->stop);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = json_is_array(stop) ? json_array_get(stop, i) : stop;
        if (!json_is_string(s) || json_string_length(s) == 0 ||
            strlen(json_string_value(s)) != json_string_length(s))
            return tk_api_fail(&c->error, 400, name,
                               "%s must be a string that is not empty, or a list of such", name);
        g->stop[g->n_stop++] = json_string_value(s);
    }
    return TK_OK;
}

static tk_status read_stop_ids(tk_call *c, const json_t *list)
{
    tk_gen *g = &c->gen;
    size_t n = json_array_size(list);
    if (n > TK_LIMIT_END_IDS / 2)
        return tk_api_fail(&c->error, 400, "stop_token_ids", "at most %d stop_token_ids are taken",
                           TK_LIMIT_END_IDS / 2);
    g->stop_ids = tk_alloc((n + 1) * sizeof *g->stop_ids);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= c->server->n_vocab)
            return tk_api_fail(&c->error, 400, "stop_token_ids",
                               "stop_token_ids must be token ids below %d", c->server->n_vocab);
        g->stop_ids[i] = (int32_t)json_integer_value(v);
    }
    g->job.end = g->stop_ids;
    g->job.n_end = (int)n;
    return TK_OK;
}

// {"50256": -100}
static tk_status read_bias(tk_call *c, json_t *bias)
{
    tk_gen *g = &c->gen;
    const char *key;
    json_t *v;
    size_t n = json_object_size(bias);
    if (n > TK_LIMIT_LOGIT_BIAS)
        return tk_api_fail(&c->error, 400, "logit_bias", "at most %d entries are taken",
                           TK_LIMIT_LOGIT_BIAS);
    g->bias = tk_alloc((n + 1) * sizeof *g->bias);
    json_object_foreach(bias, key, v)
    {
        char *end;
        long long id = strtoll(key, &end, 10);
        double b = json_number_value(v);
        if (*end || end == key || id < 0 || id >= c->server->n_vocab)
            return tk_api_fail(&c->error, 400, "logit_bias",
                               "logit_bias has \"%.40s\" for a token id (0..%d)", key,
                               c->server->n_vocab - 1);
        if (!json_is_number(v) || b < -100 || b > 100)
            return tk_api_fail(&c->error, 400, "logit_bias",
                               "the bias of token %lld must be a number between -100 and 100", id);
        g->bias[g->job.sample.n_bias++] = (tk_logit_bias){(int32_t)id, (float)b};
    }
    g->job.sample.bias = g->bias;
    return TK_OK;
}

static tk_status read_stream_options(tk_call *c, const tk_params *p)
{
    struct stream_options {
        bool usage, each;
    } o = {0};
    static const tk_field fields[] = {
        TK_F("include_usage", BOOL, struct stream_options, usage),
        TK_F("continuous_usage_stats", BOOL, struct stream_options, each),
        TK_F_SAME("include_obfuscation", "false"), TK_FIELD_END};
    if (p->stream_options == NULL) return TK_OK;
    if (!p->stream)
        return tk_api_fail(&c->error, 400, "stream_options",
                           "stream_options is for streams only (stream: true)");
    tk_status st = tk_fields_read(p->stream_options, "stream_options", fields, &o, &c->error);
    c->gen.include_usage = o.usage;
    c->gen.usage_each = o.each;
    return st;
}

tk_status tk_params_apply(tk_call *c, const tk_params *p, const char *stop_name)
{
    tk_gen *g = &c->gen;
    tk_status st;
    TK_TRY(check_model(c, p));
    TK_TRY(read_stream_options(c, p));
    TK_TRY(read_stops(c, p->stop, stop_name));
    TK_TRY(read_stop_ids(c, p->stop_token_ids));
    TK_TRY(read_bias(c, p->logit_bias));
    g->job.sample.temperature = p->temperature;
    g->job.sample.top_p = p->top_p;
    g->job.sample.top_k = p->top_k > 0 ? p->top_k : 0;
    g->job.sample.min_p = p->min_p;
    g->job.sample.repetition_penalty = p->repetition;
    g->job.sample.presence_penalty = p->presence;
    g->job.sample.frequency_penalty = p->frequency;
    g->job.ignore_eos = p->ignore_eos;
    g->job.priority = (int32_t)p->priority;
    g->seed = p->seed != TK_SEED_NONE ? (uint64_t)p->seed
                                      : tk_clock_ns() * 0x9E3779B97F4A7C15u ^ (uint64_t)c->begun_ns;
    g->stream = p->stream;
    g->n = (int)p->n;
    g->logprobs = p->logprobs;
    g->n_top = p->logprobs && p->n_top > 0 ? (int)p->n_top : 0;
    g->job.n_top_logprobs = g->n_top;
done:
    return st;
}

tk_status tk_params_add_prompt(tk_call *c, int32_t *ids, size_t n, int64_t max_tokens)
{
    tk_gen *g = &c->gen;
    int32_t most = c->server->max_len;
    g->prompt = tk_realloc(g->prompt, ((size_t)g->n_prompt + 1) * sizeof *g->prompt);
    g->prompt[g->n_prompt++] = (tk_prompt){.ids = ids, .n = (int32_t)TK_MIN(n, INT32_MAX)};
    if (n == 0) return tk_api_fail(&c->error, 400, "prompt", "the prompt has no tokens");
    if (n > (size_t)most || (n == (size_t)most && max_tokens != 0)) {
        tk_api_fail(&c->error, 400, "messages",
                    "the prompt has %zu tokens, the context of this model holds %d with the answer",
                    n, most);
        c->error.code = "context_length_exceeded";
        return TK_BAD_INPUT;
    }
    int32_t room = most - (int32_t)n;
    int32_t max = max_tokens < 0 || max_tokens > room ? room : (int32_t)max_tokens;
    g->job.max_tokens = g->n_prompt == 1 ? max : TK_MAX(max, g->job.max_tokens);
    return TK_OK;
}

// The last message is the answer's beginning: what the template writes after its text is cut off.
static tk_status cut_prefill(tk_call *c, const json_t *messages, tk_buf *text)
{
    const json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *said = json_string_value(json_object_get(last, "content"));
    size_t n = said ? strlen(said) : 0;
    while (n > 0 && (said[n - 1] == ' ' || said[n - 1] == '\n')) n--;
    for (size_t at = text->len - TK_MIN(n, text->len) + 1; n > 0 && at-- > 0;)
        if (memcmp(text->data + at, said, n) == 0) {
            text->len = at + n;
            text->data[text->len] = 0;
            return TK_OK;
        }
    return tk_api_fail(&c->error, 400, "messages",
                       "this model's chat template does not let an answer be begun");
}

static tk_status render(tk_call *c, const tk_conversation *v, tk_buf *text)
{
    tk_err err = TK_ERR_INIT;
    const tk_chat *chat = c->server->model->chat;
    if (chat == NULL)
        return tk_api_fail(&c->error, 400, "messages",
                           "this model has no chat template; use /v1/completions");
    tk_chat_request r = {.messages = v->messages,
                         .tools = v->tools,
                         .kwargs = v->kwargs,
                         .add_generation_prompt = v->add_prompt && !v->prefill};
    tk_status st = tk_chat_render(chat, &r, text, &err);
    if (st != TK_OK) return tk_api_fail_err(&c->error, TK_BAD_INPUT, "messages", &err);
    return v->prefill ? cut_prefill(c, v->messages, text) : TK_OK;
}

static tk_status encode(tk_call *c, const tk_buf *text, int32_t **ids, size_t *n)
{
    tk_err err = TK_ERR_INIT;
    tk_status st =
        tk_tokenizer_encode(c->server->model->tokenizer, tk_buf_str(text), text->len,
                            (tk_encode_opts){.bos = TK_BOS_NO}, ids, n, &err); // the template's
    return st == TK_OK ? st : tk_api_fail_err(&c->error, st, "messages", &err);
}

tk_status tk_params_render(tk_call *c, const tk_conversation *v, int32_t **ids, size_t *n)
{
    tk_buf text = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    tk_status st = render(c, v, &text);
    if (st == TK_OK) st = encode(c, &text, ids, n);
    tk_buf_free(&text);
    return st;
}

tk_status tk_params_converse(tk_call *c, const tk_conversation *v)
{
    const tk_server *s = c->server;
    tk_buf text = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st;
    TK_TRY(render(c, v, &text));
    TK_TRY(encode(c, &text, &ids, &n));
    c->gen.marks = s->marks;
    c->gen.reasoning_open =
        s->marks && tk_reasoning_is_open_in(s->marks, tk_buf_str(&text), text.len);
    if (v->prefill && !c->gen.reasoning_open) c->gen.marks = NULL; // it is past that
    c->gen.show_special = (c->gen.marks && s->marks_are_special) ||
                          (c->gen.n_tool && tk_tool_format_needs_special(c->gen.tools));
    st = tk_params_add_prompt(c, ids, n, v->max_tokens);
done:
    tk_buf_free(&text);
    return st;
}

tk_status tk_params_constrain(tk_call *c, const json_t *schema, const char *where)
{
    tk_gen *g = &c->gen;
    tk_err err = TK_ERR_INIT;
    tk_grammar_opts o = {.reason_begin = g->marks ? g->marks->begin : NULL,
                         .reason_end = g->marks ? g->marks->end : NULL,
                         .reasoning_open = g->reasoning_open};
    tk_status st = tk_grammar_cache_get(c->server->grammars, schema, &o, &g->grammar, &err);
    if (st == TK_OK) return st;
    return tk_api_fail(&c->error, 400, where, "%s: %s", where, err.msg);
}
