// SPDX-License-Identifier: MIT
// POST /v1/chat/completions: OpenAI's chat completions, with the fields vLLM has added to them.
#include "base/limits.h"
#include "base/mem.h"
#include "server/format.h"
#include "server/messages.h"
#include "server/params.h"
#include "server/server_priv.h"

#include <string.h>

static const tk_field fields[] = {
    TK_PARAMS_SAMPLING,
    TK_PARAMS_OPENAI,
    TK_F("messages", ARRAY, tk_params, messages),
    TK_F_RANGE("max_completion_tokens", INT, tk_params, max_completion_tokens, 0, TK_LIMIT_CONTEXT),
    TK_F("logprobs", BOOL, tk_params, logprobs),
    TK_F_RANGE("top_logprobs", INT, tk_params, n_top, 0, TK_LIMIT_TOP_LOGPROBS),
    TK_F("tools", ARRAY, tk_params, tools),
    TK_F("tool_choice", ANY, tk_params, tool_choice),
    TK_F("parallel_tool_calls", BOOL, tk_params, parallel_tools),
    TK_F("response_format", OBJECT, tk_params, response_format),
    TK_F("chat_template_kwargs", OBJECT, tk_params, kwargs),
    TK_F("reasoning_effort", STR, tk_params, effort),
    TK_F("add_generation_prompt", BOOL, tk_params, add_prompt),
    TK_F("continue_final_message", BOOL, tk_params, continue_last),
    TK_F_SAME("modalities", "[\"text\"]"),
    TK_F_SAME("store", "false"),
    TK_F_SAME("service_tier", "\"auto\""),
    TK_FIELD_END,
};

// response_format -> the schema that is enforced, NULL = any text. *where names the field.
static tk_status read_format(tk_call *c, const json_t *format, json_t **schema, const char **where)
{
    struct format {
        const char *type;
        json_t *json_schema;
    } f = {0};
    struct named_schema {
        const char *name, *description;
        json_t *schema;
        bool strict;
    } s = {0};
    static const tk_field format_fields[] = {
        TK_F("type", STR, struct format, type),
        TK_F("json_schema", OBJECT, struct format, json_schema), TK_FIELD_END};
    static const tk_field schema_fields[] = {
        TK_F("name", STR, struct named_schema, name),
        TK_F("description", STR, struct named_schema, description),
        TK_F("schema", ANY, struct named_schema, schema),
        TK_F("strict", BOOL, struct named_schema, strict), TK_FIELD_END};
    *schema = NULL;
    *where = "response_format";
    if (format == NULL) return TK_OK;
    tk_status st = tk_fields_read(format, "response_format", format_fields, &f, &c->error);
    if (st != TK_OK) return st;
    if (f.type && strcmp(f.type, "text") == 0) return TK_OK;
    if (f.type && strcmp(f.type, "json_object") == 0) {
        *schema = json_pack("{s:s}", "type", "object");
        return TK_OK;
    }
    if (f.type == NULL || strcmp(f.type, "json_schema") != 0)
        return tk_api_fail(&c->error, 400, "response_format.type",
                           "response_format.type must be text, json_object or json_schema");
    if (f.json_schema == NULL)
        return tk_api_fail(&c->error, 400, "response_format.json_schema",
                           "response_format.json_schema is not there");
    st = tk_fields_read(f.json_schema, "response_format.json_schema", schema_fields, &s, &c->error);
    if (st != TK_OK) return st;
    *where = "response_format.json_schema.schema";
    if (!json_is_object(s.schema) && !json_is_boolean(s.schema))
        return tk_api_fail(&c->error, 400, *where, "%s must be a schema", *where);
    *schema = json_incref(s.schema);
    return TK_OK;
}

// What the template is told: the request's kwargs and the reasoning effort, when it knows that.
static tk_status template_words(tk_call *c, const tk_params *p, json_t **out)
{
    *out = p->kwargs ? json_copy(p->kwargs) : json_object();
    if (p->effort == NULL) return TK_OK;
    if (!c->server->template_has_effort)
        return tk_api_fail(&c->error, 400, "reasoning_effort",
                           "this model's chat template does not know reasoning_effort");
    json_object_set_new(*out, "reasoning_effort", json_string(p->effort));
    return TK_OK;
}

static tk_status read_max(tk_call *c, tk_params *p)
{
    if (p->max_completion_tokens < 0) return TK_OK;
    if (p->max_tokens >= 0 && p->max_tokens != p->max_completion_tokens)
        return tk_api_fail(&c->error, 400, "max_tokens",
                           "max_tokens and max_completion_tokens disagree");
    p->max_tokens = p->max_completion_tokens;
    return TK_OK;
}

// Messages, tools and answer form into c->gen.
static tk_status converse(tk_call *c, const tk_params *p, const tk_tools *tools)
{
    json_t *messages = NULL, *words = NULL, *schema = NULL;
    const char *where;
    tk_status st;
    bool knows = c->server->template_has_tools;
    TK_TRY(tk_messages_read(c, p->messages, knows, &messages));
    TK_TRY(template_words(c, p, &words));
    TK_TRY(read_format(c, p->response_format, &schema, &where));
    if (schema && tools->forced) {
        st = tk_api_fail(&c->error, 400, "response_format",
                         "response_format beside a tool_choice that forces a call");
        goto done;
    }
    if (schema) c->gen.tools = TK_TOOLS_NONE; // the answer is the JSON itself
    if (tools->list && !knows && schema == NULL) tk_tools_describe(tools, messages);
    TK_TRY(tk_params_converse(c, &(tk_conversation){.messages = messages,
                                                    .tools = knows ? tools->list : NULL,
                                                    .kwargs = words,
                                                    .add_prompt = p->add_prompt,
                                                    .prefill = p->continue_last,
                                                    .max_tokens = p->max_tokens}));
    st = schema ? tk_params_constrain(c, schema, where) : tk_tools_constrain(c, tools);
done:
    json_decref(messages);
    json_decref(words);
    json_decref(schema);
    return st;
}

tk_status tk_read_chat(tk_call *c)
{
    tk_params p = tk_params_default(c);
    tk_tools tools = {0};
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", fields, &p, &c->error));
    TK_TRY(read_max(c, &p));
    if (p.n_top >= 0 && !p.logprobs) {
        st = tk_api_fail(&c->error, 400, "top_logprobs", "top_logprobs without logprobs: true");
        goto done;
    }
    TK_TRY(tk_params_apply(c, &p, "stop"));
    TK_TRY(tk_tools_read(c, p.tools, p.tool_choice, p.parallel_tools, &tools));
    c->gen.one_call = !p.parallel_tools;
    TK_TRY(converse(c, &p, &tools));
    c->gen.format = &tk_format_chat;
done:
    return st;
}

// --- answers ---

static json_t *head(const tk_call *c, const char *object)
{
    char id[96];
    snprintf(id, sizeof id, "chatcmpl-%s", c->id);
    return json_pack("{s:s, s:s, s:I, s:s}", "id", id, "object", object, "created",
                     (json_int_t)c->created_s, "model", c->model);
}

static json_t *whole(tk_call *c)
{
    json_t *choices = json_array(), *j = head(c, "chat.completion");
    for (int i = 0; i < c->gen.n_choice; i++) {
        tk_choice *k = &c->gen.choice[i];
        bool silent = k->n_use && k->text.len == 0;
        json_t *m = json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                              silent ? json_null() : tk_format_text(&k->text), "refusal");
        if (k->thought.len) {
            json_object_set_new(m, "reasoning_content", tk_format_text(&k->thought));
            json_object_set_new(m, "reasoning", tk_format_text(&k->thought));
        }
        if (k->n_use) json_object_set_new(m, "tool_calls", tk_format_tool_calls(k));
        json_array_append_new(
            choices, json_pack("{s:i, s:o, s:o, s:s}", "index", k->index, "message", m, "logprobs",
                               c->gen.logprobs ? tk_format_chat_logprobs(k) : json_null(),
                               "finish_reason", k->finish));
    }
    json_object_set_new(j, "choices", choices);
    json_object_set_new(j, "usage", tk_format_usage(c));
    json_object_set_new(j, "system_fingerprint", json_string(c->server->opts.commit));
    return j;
}

static void send_delta(tk_call *c, tk_choice *k, json_t *delta, const char *finish)
{
    json_t *j = head(c, "chat.completion.chunk");
    json_t *lp = c->gen.logprobs && k->n_lp ? tk_format_chat_logprobs(k) : json_null();
    json_object_set_new(j, "choices",
                        json_pack("[{s:i, s:o, s:o, s:s?}]", "index", k->index, "delta", delta,
                                  "logprobs", lp, "finish_reason", finish));
    if (c->gen.include_usage) json_object_set_new(j, "usage", tk_format_usage_so_far(c));
    tk_call_send(c, NULL, j);
}

static void begin(tk_call *c)
{
    for (int i = 0; i < c->gen.n_choice && c->conn; i++)
        send_delta(c, &c->gen.choice[i],
                   json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL);
}

static void delta(tk_call *c, tk_choice *k, tk_delta what, const char *s, size_t len)
{
    switch (what) {
    case TK_DELTA_TEXT:
        send_delta(c, k, json_pack("{s:o}", "content", tk_format_stringn(s, len)), NULL);
        break;
    case TK_DELTA_THOUGHT:
        send_delta(c, k,
                   json_pack("{s:o, s:o}", "reasoning_content", tk_format_stringn(s, len),
                             "reasoning", tk_format_stringn(s, len)),
                   NULL);
        break;
    case TK_DELTA_CALL:
        send_delta(c, k,
                   json_pack("{s:[{s:i, s:s, s:s, s:{s:o, s:s}}]}", "tool_calls", "index",
                             k->n_use - 1, "id", k->use[k->n_use - 1].id, "type", "function",
                             "function", "name", tk_format_stringn(s, len), "arguments", ""),
                   NULL);
        break;
    case TK_DELTA_ARGS:
        send_delta(c, k,
                   json_pack("{s:[{s:i, s:{s:o}}]}", "tool_calls", "index", k->n_use - 1,
                             "function", "arguments", tk_format_stringn(s, len)),
                   NULL);
        break;
    case TK_DELTA_END: break;
    }
}

static void choice_end(tk_call *c, tk_choice *k)
{
    send_delta(c, k, json_object(), k->finish);
}

static void end(tk_call *c)
{
    if (c->gen.include_usage) {
        json_t *j = head(c, "chat.completion.chunk");
        json_object_set_new(j, "choices", json_array());
        json_object_set_new(j, "usage", tk_format_usage(c));
        tk_call_send(c, NULL, j);
    }
    if (c->conn) tk_conn_stream_send(c->conn, "data: [DONE]\n\n", 14);
}

const tk_format tk_format_chat = {
    .begin = begin, .delta = delta, .choice_end = choice_end, .end = end, .whole = whole};
