// SPDX-License-Identifier: MIT
// POST /v1/messages and /v1/messages/count_tokens: Anthropic's messages, brought into the form of
// api_chat.c's on the way in.
#include "base/limits.h"
#include "base/mem.h"
#include "server/format.h"
#include "server/messages.h"
#include "server/params.h"
#include "server/server_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct request {
    tk_params p; // the first field, for TK_PARAMS_SAMPLING
    json_t *system, *metadata, *thinking, *output, *cache;
} request;

static const tk_field fields[] = {
    TK_PARAMS_SAMPLING,
    TK_F("messages", ARRAY, tk_params, messages),
    TK_F_RANGE("max_tokens", INT, tk_params, max_tokens, 1, TK_LIMIT_CONTEXT),
    TK_F("stop_sequences", ARRAY, tk_params, stop),
    TK_F("tools", ARRAY, tk_params, tools),
    TK_F("tool_choice", OBJECT, tk_params, tool_choice),
    TK_F("chat_template_kwargs", OBJECT, tk_params, kwargs),
    TK_F("system", ANY, request, system),
    TK_F("metadata", OBJECT, request, metadata),
    TK_F("thinking", OBJECT, request, thinking),
    TK_F("output_config", OBJECT, request, output),
    TK_F("cache_control", OBJECT, request, cache), // prompts are always kept for their beginnings
    TK_F_SAME("service_tier", "\"auto\""),
    TK_FIELD_END,
};

// --- what comes in ---

static json_t *tool_call_of(const json_t *block)
{
    json_t *input = json_object_get(block, "input");
    return json_pack("{s:O?, s:s, s:{s:O?, s:O?}}", "id", json_object_get(block, "id"), "type",
                     "function", "function", "name", json_object_get(block, "name"), "arguments",
                     input ? input : json_object_get(block, "none"));
}

static const char *type_of(const json_t *block)
{
    const char *t = json_string_value(json_object_get(block, "type"));
    return t ? t : "?";
}

// The blocks of one message: text together, calls of tools, results as messages of their own before it.
static tk_status blocks_in(tk_call *c, const json_t *content, const char *role, const char *where,
                           json_t *out)
{
    json_t *texts = json_array(), *calls = json_array();
    tk_buf thought = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_status st = TK_OK;
    for (size_t i = 0; i < json_array_size(content) && st == TK_OK; i++) {
        json_t *b = json_array_get(content, i);
        const char *type = type_of(b);
        char at[80];
        snprintf(at, sizeof at, "%.40s.content.%zu", where, i);
        if (strcmp(type, "text") == 0) {
            json_array_append(texts, b);
        } else if (strcmp(type, "thinking") == 0) {
            const char *s = json_string_value(json_object_get(b, "thinking"));
            tk_buf_add_str(&thought, s ? s : "");
        } else if (strcmp(type, "tool_use") == 0) {
            json_array_append_new(calls, tool_call_of(b));
        } else if (strcmp(type, "tool_result") == 0) {
            json_t *inner = json_object_get(b, "content"), *text = NULL;
            st = inner ? tk_messages_text(c, inner, at, &text) : TK_OK;
            if (st == TK_OK)
                json_array_append_new(out, json_pack("{s:s, s:o, s:O?}", "role", "tool", "content",
                                                     text ? text : json_string(""), "tool_call_id",
                                                     json_object_get(b, "tool_use_id")));
        } else if (strcmp(type, "redacted_thinking") != 0) {
            st = tk_api_fail(&c->error, 400, at,
                             "%s: blocks of type \"%.40s\" are not supported, "
                             "only text, tool_use, tool_result and thinking are",
                             at, type);
        }
    }
    if (st == TK_OK && (json_array_size(texts) || json_array_size(calls))) {
        json_t *m = json_pack("{s:s}", "role", role);
        json_object_set(m, "content", json_array_size(texts) ? texts : json_array_get(texts, 0));
        if (json_array_size(texts) == 0) json_object_set_new(m, "content", json_string(""));
        if (json_array_size(calls)) json_object_set(m, "tool_calls", calls);
        if (thought.len) json_object_set_new(m, "reasoning_content", tk_format_text(&thought));
        json_array_append_new(out, m);
    }
    json_decref(texts);
    json_decref(calls);
    tk_buf_free(&thought);
    return st;
}

static tk_status messages_in(tk_call *c, const request *r, json_t *out)
{
    struct message {
        const char *role;
        json_t *content;
    };
    static const tk_field message_fields[] = {TK_F("role", STR, struct message, role),
                                              TK_F("content", ANY, struct message, content),
                                              TK_FIELD_END};
    tk_status st = TK_OK;
    if (r->system) {
        json_t *text = NULL;
        st = tk_messages_text(c, r->system, "system", &text);
        if (st == TK_OK)
            json_array_append_new(out, json_pack("{s:s, s:o}", "role", "system", "content", text));
    }
    for (size_t i = 0; i < json_array_size(r->p.messages) && st == TK_OK; i++) {
        struct message m = {0};
        char where[40];
        snprintf(where, sizeof where, "messages.%zu", i);
        st = tk_fields_read(json_array_get(r->p.messages, i), where, message_fields, &m, &c->error);
        if (st != TK_OK) break;
        if (m.role == NULL || (strcmp(m.role, "user") != 0 && strcmp(m.role, "assistant") != 0))
            st = tk_api_fail(&c->error, 400, where, "%s.role must be user or assistant", where);
        else if (json_is_array(m.content))
            st = blocks_in(c, m.content, m.role, where, out);
        else if (json_is_string(m.content))
            json_array_append_new(out,
                                  json_pack("{s:s, s:O}", "role", m.role, "content", m.content));
        else
            st = tk_api_fail(&c->error, 400, where, "%s.content must be a text or a list of blocks",
                             where);
    }
    return st;
}

// {"name", "description", "input_schema"} -> OpenAI's form.
static tk_status tools_in(tk_call *c, const json_t *tools, json_t **out)
{
    struct tool {
        const char *type, *name, *description;
        json_t *schema, *notes;
        bool strict;
    } t;
    static const tk_field tool_fields[] = {TK_F("type", STR, struct tool, type),
                                           TK_F("name", STR, struct tool, name),
                                           TK_F("description", STR, struct tool, description),
                                           TK_F("input_schema", OBJECT, struct tool, schema),
                                           TK_F("cache_control", ANY, struct tool, notes),
                                           TK_F("strict", BOOL, struct tool, strict),
                                           TK_FIELD_END};
    *out = json_array();
    for (size_t i = 0; i < json_array_size(tools); i++) {
        char where[40];
        memset(&t, 0, sizeof t);
        snprintf(where, sizeof where, "tools.%zu", i);
        tk_status st = tk_fields_read(json_array_get(tools, i), where, tool_fields, &t, &c->error);
        if (st == TK_OK && t.type && strcmp(t.type, "custom") != 0)
            st = tk_api_fail(&c->error, 400, where, "%s.type \"%.40s\" is not supported", where,
                             t.type);
        if (st != TK_OK) return st;
        json_t *f = json_pack("{s:s?, s:s?, s:O?, s:b}", "name", t.name, "description",
                              t.description, "parameters", t.schema, "strict", t.strict);
        json_array_append_new(*out, json_pack("{s:s, s:o}", "type", "function", "function", f));
    }
    return TK_OK;
}

static tk_status choice_in(tk_call *c, const json_t *choice, json_t **out, bool *parallel)
{
    struct choice {
        const char *type, *name;
        bool single;
    } t = {0};
    static const tk_field choice_fields[] = {
        TK_F("type", STR, struct choice, type), TK_F("name", STR, struct choice, name),
        TK_F("disable_parallel_tool_use", BOOL, struct choice, single), TK_FIELD_END};
    if (choice == NULL) return TK_OK;
    tk_status st = tk_fields_read(choice, "tool_choice", choice_fields, &t, &c->error);
    if (st != TK_OK) return st;
    *parallel = !t.single;
    const char *type = t.type ? t.type : "?";
    if (strcmp(type, "auto") == 0 || strcmp(type, "none") == 0)
        *out = json_string(type);
    else if (strcmp(type, "any") == 0)
        *out = json_string("required");
    else if (strcmp(type, "tool") == 0 && t.name)
        *out = json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", t.name);
    else
        return tk_api_fail(&c->error, 400, "tool_choice",
                           "tool_choice.type must be auto, any, none, or tool with a name");
    return TK_OK;
}

// thinking: whether templates that can be told are told to think, and for how many tokens at most.
static tk_status thinking_in(tk_call *c, const request *r, json_t **words)
{
    struct thinking {
        const char *type;
        int64_t budget;
    } t = {.budget = -1};
    static const tk_field thinking_fields[] = {
        TK_F("type", STR, struct thinking, type),
        TK_F_RANGE("budget_tokens", INT, struct thinking, budget, 1, TK_LIMIT_CONTEXT),
        TK_F_SAME("display", "\"summarized\""), TK_FIELD_END};
    *words = r->p.kwargs ? json_copy(r->p.kwargs) : json_object();
    if (r->thinking == NULL) return TK_OK;
    tk_status st = tk_fields_read(r->thinking, "thinking", thinking_fields, &t, &c->error);
    if (st != TK_OK) return st;
    bool on = t.type && (strcmp(t.type, "enabled") == 0 || strcmp(t.type, "adaptive") == 0);
    if (!on && (t.type == NULL || strcmp(t.type, "disabled") != 0))
        return tk_api_fail(&c->error, 400, "thinking.type",
                           "thinking.type must be enabled, adaptive or disabled");
    c->gen.thought_budget = on ? t.budget : -1;
    json_object_set_new(*words, "enable_thinking", json_boolean(on));
    json_object_set_new(*words, "thinking", json_boolean(on));
    return TK_OK;
}

// output_config: the effort, for templates that know it, and the schema of the answer (borrowed).
static tk_status output_in(tk_call *c, const request *r, json_t *words, json_t **schema)
{
    struct output {
        const char *effort;
        json_t *format;
    } o = {0};
    struct format {
        const char *type;
        json_t *schema;
    } f = {0};
    static const tk_field output_fields[] = {TK_F("effort", STR, struct output, effort),
                                             TK_F("format", OBJECT, struct output, format),
                                             TK_FIELD_END};
    static const tk_field format_fields[] = {TK_F("type", STR, struct format, type),
                                             TK_F("schema", OBJECT, struct format, schema),
                                             TK_FIELD_END};
    if (r->output == NULL) return TK_OK;
    tk_status st = tk_fields_read(r->output, "output_config", output_fields, &o, &c->error);
    if (st != TK_OK) return st;
    if (o.effort && !c->server->template_has_effort)
        return tk_api_fail(&c->error, 400, "output_config.effort",
                           "this model's chat template does not know reasoning_effort");
    if (o.effort) json_object_set_new(words, "reasoning_effort", json_string(o.effort));
    if (o.format == NULL) return TK_OK;
    st = tk_fields_read(o.format, "output_config.format", format_fields, &f, &c->error);
    if (st == TK_OK && (f.type == NULL || strcmp(f.type, "json_schema") != 0 || f.schema == NULL))
        st = tk_api_fail(
            &c->error, 400, "output_config.format",
            "output_config.format must be {\"type\": \"json_schema\", \"schema\": {..}}");
    *schema = f.schema;
    return st;
}

// Keeps what was made of the request alive as long as the call.
static void keep(tk_call *c, json_t *made)
{
    if (made == NULL) return;
    if (c->gen.extra == NULL) c->gen.extra = json_array();
    json_array_append_new(c->gen.extra, made);
}

typedef struct translated {
    json_t *messages, *words, *tools, *choice;
    json_t *schema; // borrowed
    tk_tools use;
    bool prefill;
} translated;

static tk_status translate(tk_call *c, const request *r, translated *t)
{
    json_t *raw = json_array();
    bool parallel = true, knows = c->server->template_has_tools;
    tk_status st;
    TK_TRY(messages_in(c, r, raw));
    TK_TRY(tools_in(c, r->p.tools, &t->tools));
    TK_TRY(choice_in(c, r->p.tool_choice, &t->choice, &parallel));
    TK_TRY(thinking_in(c, r, &t->words));
    TK_TRY(output_in(c, r, t->words, &t->schema));
    TK_TRY(tk_tools_read(c, t->tools, t->choice, parallel, &t->use));
    if (t->schema && t->use.forced) {
        st = tk_api_fail(&c->error, 400, "output_config.format",
                         "output_config.format beside a tool_choice that forces a call");
        goto done;
    }
    if (t->schema) c->gen.tools = TK_TOOLS_NONE; // the answer is the JSON itself
    c->gen.one_call = !parallel;
    TK_TRY(tk_messages_read(c, raw, knows, &t->messages));
    if (t->use.list && !knows && t->schema == NULL) tk_tools_describe(&t->use, t->messages);
    const json_t *last = json_array_get(t->messages, json_array_size(t->messages) - 1);
    t->prefill = strcmp(json_string_value(json_object_get(last, "role")), "assistant") == 0;
done:
    json_decref(raw);
    return st;
}

static void keep_all(tk_call *c, translated *t)
{
    keep(c, t->tools); // the names of tools and choice are borrowed
    keep(c, t->choice);
    json_decref(t->messages);
    json_decref(t->words);
}

static tk_conversation conversation(const tk_call *c, const translated *t, int64_t max_tokens)
{
    return (tk_conversation){.messages = t->messages,
                             .tools = c->server->template_has_tools ? t->use.list : NULL,
                             .kwargs = t->words,
                             .add_prompt = true,
                             .prefill = t->prefill,
                             .max_tokens = max_tokens};
}

tk_status tk_read_message(tk_call *c)
{
    request r = {.p = tk_params_default(c)};
    translated t = {0};
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", fields, &r, &c->error));
    if (r.p.max_tokens < 0) {
        st = tk_api_fail(&c->error, 400, "max_tokens", "max_tokens is required");
        goto done;
    }
    TK_TRY(tk_params_apply(c, &r.p, "stop_sequences"));
    TK_TRY(translate(c, &r, &t));
    tk_conversation v = conversation(c, &t, r.p.max_tokens);
    TK_TRY(tk_params_converse(c, &v));
    TK_TRY(t.schema ? tk_params_constrain(c, t.schema, "output_config.format.schema")
                    : tk_tools_constrain(c, &t.use));
    c->gen.format = &tk_format_message;
done:
    keep_all(c, &t);
    return st;
}

tk_status tk_read_count_tokens(tk_call *c)
{
    request r = {.p = tk_params_default(c)};
    translated t = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", fields, &r, &c->error));
    TK_TRY(tk_params_apply(c, &r.p, "stop_sequences"));
    TK_TRY(translate(c, &r, &t));
    tk_conversation v = conversation(c, &t, -1);
    TK_TRY(tk_params_render(c, &v, &ids, &n));
    c->reply = json_pack("{s:I}", "input_tokens", (json_int_t)n);
done:
    tk_free(ids);
    keep_all(c, &t);
    return st;
}

// --- what goes out ---

static const char *stop_reason(const tk_choice *k)
{
    if (k->n_use) return "tool_use";
    if (tk_stop_which(k->stop) >= 0) return "stop_sequence";
    return strcmp(k->finish, "length") == 0 ? "max_tokens" : "end_turn";
}

static json_t *stop_sequence(const tk_choice *k)
{
    int i = tk_stop_which(k->stop);
    return i >= 0 && k->n_use == 0 ? json_string(k->call->gen.stop[i]) : json_null();
}

static json_t *usage(const tk_call *c)
{
    tk_usage u = tk_gen_usage(c);
    return json_pack("{s:I, s:i, s:I, s:I}", "input_tokens", (json_int_t)(u.prompt - u.cached),
                     "cache_creation_input_tokens", 0, "cache_read_input_tokens",
                     (json_int_t)u.cached, "output_tokens", (json_int_t)u.output);
}

static json_t *head(const tk_call *c, json_t *content, json_t *reason, json_t *sequence)
{
    char id[96];
    snprintf(id, sizeof id, "msg_%s", c->id);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "id", id, "type", "message",
                     "role", "assistant", "model", c->model, "content", content, "stop_reason",
                     reason, "stop_sequence", sequence, "usage", usage(c));
}

// A call's arguments as a value; text that is no JSON (cut off) as a text under "_raw".
static json_t *input_of(const tk_tool_use *u)
{
    json_t *j = json_loadb(tk_buf_str(&u->args), u->args.len, 0, NULL);
    if (json_is_object(j)) return j;
    json_decref(j);
    return json_pack("{s:o}", "_raw", tk_format_text(&u->args));
}

static json_t *whole(tk_call *c)
{
    const tk_choice *k = &c->gen.choice[0];
    json_t *content = json_array();
    if (k->thought.len)
        json_array_append_new(content, json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking",
                                                 tk_format_text(&k->thought), "signature", ""));
    if (k->text.len || k->n_use == 0)
        json_array_append_new(
            content, json_pack("{s:s, s:o}", "type", "text", "text", tk_format_text(&k->text)));
    for (int i = 0; i < k->n_use; i++) {
        const tk_tool_use *u = &k->use[i];
        json_array_append_new(content, json_pack("{s:s, s:s, s:s, s:o}", "type", "tool_use", "id",
                                                 u->id, "name", u->name, "input", input_of(u)));
    }
    return head(c, content, json_string(stop_reason(k)), stop_sequence(k));
}

static void begin(tk_call *c)
{
    tk_call_send(c, "message_start",
                 json_pack("{s:s, s:o}", "type", "message_start", "message",
                           head(c, json_array(), json_null(), json_null())));
}

// choice->state: the kind of block that is open, plus 1; 0 = none. n_item: blocks begun.
static void close_block(tk_call *c, tk_choice *k)
{
    if (k->state == 0) return;
    k->state = 0;
    tk_call_send(c, "content_block_stop",
                 json_pack("{s:s, s:i}", "type", "content_block_stop", "index", k->n_item - 1));
}

static void open_block(tk_call *c, tk_choice *k, tk_delta kind, json_t *block)
{
    if (k->state == (int)kind + 1 && kind != TK_DELTA_CALL) {
        json_decref(block);
        return;
    }
    close_block(c, k);
    k->state = (int)kind + 1;
    tk_call_send(c, "content_block_start",
                 json_pack("{s:s, s:i, s:o}", "type", "content_block_start", "index", k->n_item++,
                           "content_block", block));
}

static void send_delta(tk_call *c, tk_choice *k, const char *type, const char *key, const char *s,
                       size_t len)
{
    tk_call_send(c, "content_block_delta",
                 json_pack("{s:s, s:i, s:{s:s, s:o}}", "type", "content_block_delta", "index",
                           k->n_item - 1, "delta", "type", type, key, tk_format_stringn(s, len)));
}

static void delta(tk_call *c, tk_choice *k, tk_delta what, const char *s, size_t len)
{
    switch (what) {
    case TK_DELTA_TEXT:
        open_block(c, k, what, json_pack("{s:s, s:s}", "type", "text", "text", ""));
        send_delta(c, k, "text_delta", "text", s, len);
        break;
    case TK_DELTA_THOUGHT:
        open_block(
            c, k, what,
            json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", ""));
        send_delta(c, k, "thinking_delta", "thinking", s, len);
        break;
    case TK_DELTA_CALL:
        open_block(c, k, what,
                   json_pack("{s:s, s:s, s:o, s:{}}", "type", "tool_use", "id",
                             k->use[k->n_use - 1].id, "name", tk_format_stringn(s, len), "input"));
        break;
    case TK_DELTA_ARGS: send_delta(c, k, "input_json_delta", "partial_json", s, len); break;
    case TK_DELTA_END: close_block(c, k); break;
    }
}

static void choice_end(tk_call *c, tk_choice *k)
{
    if (k->n_item == 0)
        open_block(c, k, TK_DELTA_TEXT, json_pack("{s:s, s:s}", "type", "text", "text", ""));
    close_block(c, k);
    tk_call_send(c, "message_delta",
                 json_pack("{s:s, s:{s:s, s:o}, s:o}", "type", "message_delta", "delta",
                           "stop_reason", stop_reason(k), "stop_sequence", stop_sequence(k),
                           "usage", usage(c)));
}

static void end(tk_call *c)
{
    tk_call_send(c, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

const tk_format tk_format_message = {
    .begin = begin, .delta = delta, .choice_end = choice_end, .end = end, .whole = whole};
