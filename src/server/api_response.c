// SPDX-License-Identifier: MIT
// POST /v1/responses: OpenAI's responses, without a memory of earlier ones: `store` and
// `previous_response_id` are refused by name.
#include "base/limits.h"
#include "base/mem.h"
#include "server/format.h"
#include "server/messages.h"
#include "server/params.h"
#include "server/server_priv.h"

#include <stdio.h>
#include <string.h>

typedef struct request {
    tk_params p; // the first field, for TK_PARAMS_SAMPLING
    json_t *input, *text, *reasoning, *metadata, *include;
    const char *instructions, *cache_key;
} request;

static const tk_field fields[] = {
    TK_PARAMS_SAMPLING,
    TK_F("input", ANY, request, input),
    TK_F("instructions", STR, request, instructions),
    TK_F_RANGE("max_output_tokens", INT, tk_params, max_tokens, 1, TK_LIMIT_CONTEXT),
    TK_F("tools", ARRAY, tk_params, tools),
    TK_F("tool_choice", ANY, tk_params, tool_choice),
    TK_F("parallel_tool_calls", BOOL, tk_params, parallel_tools),
    TK_F("chat_template_kwargs", OBJECT, tk_params, kwargs),
    TK_F("user", STR, tk_params, user),
    TK_F("text", OBJECT, request, text),
    TK_F("reasoning", OBJECT, request, reasoning),
    TK_F("metadata", OBJECT, request, metadata),
    TK_F("prompt_cache_key", STR, request, cache_key),
    TK_F_SAME("store", "false"),
    TK_F_SAME("background", "false"),
    TK_F_SAME("truncation", "\"disabled\""),
    TK_F_SAME("service_tier", "\"auto\""),
    TK_F_SAME("include", "[]"),
    TK_F_SAME("previous_response_id", NULL),
    TK_FIELD_END,
};

// --- what comes in ---

// An item of the input as a message of a chat.
static tk_status item_in(tk_call *c, json_t *item, const char *where, json_t *out)
{
    const char *type = json_string_value(json_object_get(item, "type"));
    const char *role = json_string_value(json_object_get(item, "role"));
    if (type == NULL && role) type = "message";
    if (type && strcmp(type, "message") == 0 && role) {
        json_array_append_new(out, json_pack("{s:s, s:O?}", "role", role, "content",
                                             json_object_get(item, "content")));
        return TK_OK;
    }
    if (type && strcmp(type, "function_call") == 0) {
        json_array_append_new(out, json_pack("{s:s, s:s, s:[{s:s, s:O?, s:{s:O?, s:O?}}]}", "role",
                                             "assistant", "content", "", "tool_calls", "type",
                                             "function", "id", json_object_get(item, "call_id"),
                                             "function", "name", json_object_get(item, "name"),
                                             "arguments", json_object_get(item, "arguments")));
        return TK_OK;
    }
    if (type && strcmp(type, "function_call_output") == 0) {
        json_array_append_new(out, json_pack("{s:s, s:O?, s:O?}", "role", "tool", "content",
                                             json_object_get(item, "output"), "tool_call_id",
                                             json_object_get(item, "call_id")));
        return TK_OK;
    }
    if (type && strcmp(type, "reasoning") == 0) return TK_OK; // templates leave old reasoning out
    return tk_api_fail(&c->error, 400, where, "%s: items of type \"%.40s\" are not supported",
                       where, type ? type : "?");
}

static tk_status messages_in(tk_call *c, const request *r, json_t *out)
{
    if (r->instructions)
        json_array_append_new(
            out, json_pack("{s:s, s:s}", "role", "system", "content", r->instructions));
    if (json_is_string(r->input)) {
        json_array_append_new(out, json_pack("{s:s, s:O}", "role", "user", "content", r->input));
        return TK_OK;
    }
    if (!json_is_array(r->input) || json_array_size(r->input) == 0)
        return tk_api_fail(&c->error, 400, "input", "input must be a text or a list of items");
    for (size_t i = 0; i < json_array_size(r->input); i++) {
        char where[40];
        snprintf(where, sizeof where, "input.%zu", i);
        tk_status st = item_in(c, json_array_get(r->input, i), where, out);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

// {"type": "function", "name", ...} -> {"type": "function", "function": {...}}.
static tk_status tools_in(tk_call *c, const json_t *tools, json_t **out)
{
    *out = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *t = json_array_get(tools, i);
        const char *type = json_string_value(json_object_get(t, "type"));
        if (type == NULL || strcmp(type, "function") != 0)
            return tk_api_fail(&c->error, 400, "tools", "tools.%zu: only functions are supported",
                               i);
        json_t *f = json_copy((json_t *)(uintptr_t)t);
        json_object_del(f, "type");
        json_array_append_new(*out, json_pack("{s:s, s:o}", "type", "function", "function", f));
    }
    return TK_OK;
}

static json_t *choice_in(const json_t *choice)
{
    const json_t *name = json_object_get(choice, "name");
    if (name == NULL) return json_incref((json_t *)(uintptr_t)choice);
    return json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name", name);
}

// text.format -> the schema that is enforced, NULL = any text.
static tk_status format_in(tk_call *c, const json_t *text, json_t **schema)
{
    struct text {
        json_t *format;
    } t = {0};
    struct format {
        const char *type, *name, *description;
        json_t *schema;
        bool strict;
    } f = {0};
    static const tk_field text_fields[] = {TK_F("format", OBJECT, struct text, format),
                                           TK_F_SAME("verbosity", "\"medium\""), TK_FIELD_END};
    static const tk_field format_fields[] = {TK_F("type", STR, struct format, type),
                                             TK_F("name", STR, struct format, name),
                                             TK_F("description", STR, struct format, description),
                                             TK_F("schema", OBJECT, struct format, schema),
                                             TK_F("strict", BOOL, struct format, strict),
                                             TK_FIELD_END};
    *schema = NULL;
    if (text == NULL) return TK_OK;
    tk_status st = tk_fields_read(text, "text", text_fields, &t, &c->error);
    if (st == TK_OK && t.format)
        st = tk_fields_read(t.format, "text.format", format_fields, &f, &c->error);
    if (st != TK_OK || f.type == NULL || strcmp(f.type, "text") == 0) return st;
    if (strcmp(f.type, "json_object") == 0)
        *schema = json_pack("{s:s}", "type", "object");
    else if (strcmp(f.type, "json_schema") == 0 && f.schema)
        *schema = json_incref(f.schema);
    else
        return tk_api_fail(
            &c->error, 400, "text.format",
            "text.format must be of type text, json_object, or json_schema with a schema");
    return TK_OK;
}

static tk_status words_in(tk_call *c, const request *r, json_t **words)
{
    struct effort {
        const char *effort;
    } t = {0};
    static const tk_field reasoning_fields[] = {TK_F("effort", STR, struct effort, effort),
                                                TK_F_SAME("summary", NULL),
                                                TK_F_SAME("generate_summary", NULL), TK_FIELD_END};
    *words = r->p.kwargs ? json_copy(r->p.kwargs) : json_object();
    if (r->reasoning == NULL) return TK_OK;
    tk_status st = tk_fields_read(r->reasoning, "reasoning", reasoning_fields, &t, &c->error);
    if (st != TK_OK || t.effort == NULL) return st;
    if (!c->server->template_has_effort)
        return tk_api_fail(&c->error, 400, "reasoning.effort",
                           "this model's chat template does not know reasoning_effort");
    json_object_set_new(*words, "reasoning_effort", json_string(t.effort));
    return TK_OK;
}

static tk_status converse(tk_call *c, const request *r, json_t *raw, const tk_tools *use)
{
    json_t *messages = NULL, *words = NULL, *schema = NULL;
    bool knows = c->server->template_has_tools;
    tk_status st;
    TK_TRY(words_in(c, r, &words));
    TK_TRY(format_in(c, r->text, &schema));
    TK_TRY(tk_messages_read(c, raw, knows, &messages));
    if (schema && use->forced) {
        st = tk_api_fail(&c->error, 400, "text.format",
                         "text.format beside a tool_choice that forces a call");
        goto done;
    }
    if (schema) c->gen.tools = TK_TOOLS_NONE;
    if (use->list && !knows && schema == NULL) tk_tools_describe(use, messages);
    TK_TRY(tk_params_converse(c, &(tk_conversation){.messages = messages,
                                                    .tools = knows ? use->list : NULL,
                                                    .kwargs = words,
                                                    .add_prompt = true,
                                                    .max_tokens = r->p.max_tokens}));
    st = schema ? tk_params_constrain(c, schema, "text.format.schema") : tk_tools_constrain(c, use);
done:
    json_decref(messages);
    json_decref(words);
    json_decref(schema);
    return st;
}

tk_status tk_read_response(tk_call *c)
{
    request r = {.p = tk_params_default(c)};
    json_t *raw = json_array(), *tools = NULL, *choice = NULL;
    tk_tools use = {0};
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", fields, &r, &c->error));
    TK_TRY(tk_params_apply(c, &r.p, "stop"));
    TK_TRY(messages_in(c, &r, raw));
    TK_TRY(tools_in(c, r.p.tools, &tools));
    if (r.p.tool_choice) choice = choice_in(r.p.tool_choice);
    TK_TRY(tk_tools_read(c, tools, choice, r.p.parallel_tools, &use));
    c->gen.one_call = !r.p.parallel_tools;
    TK_TRY(converse(c, &r, raw, &use));
    c->gen.format = &tk_format_response;
done:
    json_decref(raw);
    c->gen.extra = json_pack("[o?, o?]", tools, choice); // names are borrowed from them
    return st;
}

// --- what goes out ---

static json_t *text_part(const tk_buf *text)
{
    return json_pack("{s:s, s:o, s:[], s:[]}", "type", "output_text", "text",
                     text ? tk_format_text(text) : json_string(""), "annotations", "logprobs");
}

static json_t *message_item(const tk_call *c, const tk_buf *text, const char *status)
{
    char id[96];
    snprintf(id, sizeof id, "msg_%s", c->id);
    json_t *content = json_array();
    if (text) json_array_append_new(content, text_part(text));
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "role", "assistant",
                     "status", status, "content", content);
}

static json_t *reasoning_item(const tk_call *c, const tk_buf *thought, const char *status)
{
    char id[96];
    snprintf(id, sizeof id, "rs_%s", c->id);
    json_t *content = json_array();
    if (thought)
        json_array_append_new(content, json_pack("{s:s, s:o}", "type", "reasoning_text", "text",
                                                 tk_format_text(thought)));
    return json_pack("{s:s, s:s, s:[], s:o, s:s}", "id", id, "type", "reasoning", "summary",
                     "content", content, "status", status);
}

static json_t *call_item(const tk_tool_use *u, bool whole, const char *status)
{
    char id[64];
    snprintf(id, sizeof id, "fc_%s", u->id + 5);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "id", id, "type", "function_call", "call_id",
                     u->id, "name", u->name, "arguments",
                     whole ? tk_format_text(&u->args) : json_string(""), "status", status);
}

static json_t *output(const tk_call *c)
{
    const tk_choice *k = &c->gen.choice[0];
    json_t *out = json_array();
    const char *status = k->finish && strcmp(k->finish, "length") == 0 ? "incomplete" : "completed";
    if (k->thought.len) json_array_append_new(out, reasoning_item(c, &k->thought, "completed"));
    if (k->text.len || k->n_use == 0) json_array_append_new(out, message_item(c, &k->text, status));
    for (int i = 0; i < k->n_use; i++)
        json_array_append_new(out, call_item(&k->use[i], true, "completed"));
    return out;
}

static json_t *usage(const tk_call *c)
{
    tk_usage u = tk_gen_usage(c);
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", (json_int_t)u.prompt,
                     "input_tokens_details", "cached_tokens", (json_int_t)u.cached, "output_tokens",
                     (json_int_t)u.output, "output_tokens_details", "reasoning_tokens",
                     (json_int_t)u.thought, "total_tokens", (json_int_t)(u.prompt + u.output));
}

// A field of the request, or what it is by itself (reference taken over).
static json_t *echo(const tk_call *c, const char *key, json_t *otherwise)
{
    json_t *v = json_object_get(c->json, key);
    if (v == NULL || json_is_null(v)) return otherwise;
    json_decref(otherwise);
    return json_incref(v);
}

static json_t *response(const tk_call *c, bool over)
{
    char id[96];
    const tk_choice *k = &c->gen.choice[0];
    const tk_sample_opts *o = &c->gen.job.sample;
    bool cut = over && k->finish && strcmp(k->finish, "length") == 0;
    snprintf(id, sizeof id, "resp_%s", c->id);
    json_t *j = json_pack("{s:s, s:s, s:I, s:s, s:n, s:o, s:s, s:o}", "id", id, "object",
                          "response", "created_at", (json_int_t)c->created_s, "status",
                          !over ? "in_progress"
                          : cut ? "incomplete"
                                : "completed",
                          "error", "incomplete_details",
                          cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(),
                          "model", c->model, "output", over ? output(c) : json_array());
    json_object_set_new(j, "instructions", echo(c, "instructions", json_null()));
    json_object_set_new(j, "max_output_tokens", echo(c, "max_output_tokens", json_null()));
    json_object_set_new(j, "metadata", echo(c, "metadata", json_object()));
    json_object_set_new(j, "parallel_tool_calls", echo(c, "parallel_tool_calls", json_true()));
    json_object_set_new(j, "previous_response_id", json_null());
    json_object_set_new(j, "store", json_false());
    json_object_set_new(j, "temperature", json_real(o->temperature));
    json_object_set_new(j, "top_p", json_real(o->top_p));
    json_object_set_new(j, "tool_choice", echo(c, "tool_choice", json_string("auto")));
    json_object_set_new(j, "tools", echo(c, "tools", json_array()));
    json_object_set_new(j, "text",
                        echo(c, "text", json_pack("{s:{s:s}}", "format", "type", "text")));
    json_object_set_new(j, "truncation", json_string("disabled"));
    json_object_set_new(j, "usage", over ? usage(c) : json_null());
    return j;
}

static json_t *whole(tk_call *c)
{
    return response(c, true);
}

// Adds the running number that each event carries.
static void send_event(tk_call *c, const char *type, json_t *data)
{
    json_object_set_new(data, "type", json_string(type));
    json_object_set_new(data, "sequence_number", json_integer(c->gen.n_event++ - 1));
    tk_call_send(c, type, data);
}

static void begin(tk_call *c)
{
    send_event(c, "response.created", json_pack("{s:o}", "response", response(c, false)));
    send_event(c, "response.in_progress", json_pack("{s:o}", "response", response(c, false)));
}

// choice->state: the kind of item that is open, plus 1; 0 = none. n_item: items begun.
static const char *item_id(const tk_choice *k, char id[96])
{
    if (k->state == TK_DELTA_CALL + 1)
        snprintf(id, 96, "fc_%s", k->use[k->n_use - 1].id + 5);
    else
        snprintf(id, 96, "%s_%s", k->state == TK_DELTA_THOUGHT + 1 ? "rs" : "msg", k->call->id);
    return id;
}

// An event about the open item; more: further fields (reference taken over), or NULL.
static void item_event(tk_call *c, tk_choice *k, const char *type, bool part, json_t *more)
{
    char id[96];
    json_t *j = json_pack("{s:s, s:i}", "item_id", item_id(k, id), "output_index", k->n_item - 1);
    if (part) json_object_set_new(j, "content_index", json_integer(0));
    if (more) json_object_update(j, more);
    json_decref(more);
    send_event(c, type, j);
}

static void item_done(tk_call *c, tk_choice *k, json_t *item)
{
    send_event(c, "response.output_item.done",
               json_pack("{s:i, s:o}", "output_index", k->n_item - 1, "item", item));
    k->state = 0;
}

static void close_item(tk_call *c, tk_choice *k)
{
    switch (k->state - 1) {
    case TK_DELTA_TEXT:
        item_event(c, k, "response.output_text.done", true,
                   json_pack("{s:o, s:[]}", "text", tk_format_text(&k->text), "logprobs"));
        item_event(c, k, "response.content_part.done", true,
                   json_pack("{s:o}", "part", text_part(&k->text)));
        item_done(c, k, message_item(c, &k->text, "completed"));
        break;
    case TK_DELTA_THOUGHT:
        item_event(c, k, "response.reasoning_text.done", true,
                   json_pack("{s:o}", "text", tk_format_text(&k->thought)));
        item_done(c, k, reasoning_item(c, &k->thought, "completed"));
        break;
    case TK_DELTA_CALL:
        item_event(c, k, "response.function_call_arguments.done", false,
                   json_pack("{s:o, s:s}", "arguments", tk_format_text(&k->use[k->n_use - 1].args),
                             "name", k->use[k->n_use - 1].name));
        item_done(c, k, call_item(&k->use[k->n_use - 1], true, "completed"));
        break;
    default: break;
    }
}

static void open_item(tk_call *c, tk_choice *k, tk_delta kind)
{
    if (k->state == (int)kind + 1 && kind != TK_DELTA_CALL) return;
    close_item(c, k);
    k->state = (int)kind + 1;
    json_t *item = kind == TK_DELTA_TEXT ? message_item(c, NULL, "in_progress")
                   : kind == TK_DELTA_THOUGHT
                       ? reasoning_item(c, NULL, "in_progress")
                       : call_item(&k->use[k->n_use - 1], false, "in_progress");
    send_event(c, "response.output_item.added",
               json_pack("{s:i, s:o}", "output_index", k->n_item++, "item", item));
    if (kind == TK_DELTA_TEXT)
        item_event(c, k, "response.content_part.added", true,
                   json_pack("{s:o}", "part", text_part(NULL)));
}

static void delta(tk_call *c, tk_choice *k, tk_delta what, const char *s, size_t len)
{
    switch (what) {
    case TK_DELTA_TEXT:
        open_item(c, k, what);
        item_event(c, k, "response.output_text.delta", true,
                   json_pack("{s:o, s:[]}", "delta", tk_format_stringn(s, len), "logprobs"));
        break;
    case TK_DELTA_THOUGHT:
        open_item(c, k, what);
        item_event(c, k, "response.reasoning_text.delta", true,
                   json_pack("{s:o}", "delta", tk_format_stringn(s, len)));
        break;
    case TK_DELTA_CALL: open_item(c, k, what); break;
    case TK_DELTA_ARGS:
        item_event(c, k, "response.function_call_arguments.delta", false,
                   json_pack("{s:o}", "delta", tk_format_stringn(s, len)));
        break;
    case TK_DELTA_END: close_item(c, k); break;
    }
}

static void choice_end(tk_call *c, tk_choice *k)
{
    if (k->n_item == 0) open_item(c, k, TK_DELTA_TEXT);
    close_item(c, k);
}

static void end(tk_call *c)
{
    const tk_choice *k = &c->gen.choice[0];
    bool cut = strcmp(k->finish, "length") == 0;
    send_event(c, cut ? "response.incomplete" : "response.completed",
               json_pack("{s:o}", "response", response(c, true)));
}

const tk_format tk_format_response = {
    .begin = begin, .delta = delta, .choice_end = choice_end, .end = end, .whole = whole};
