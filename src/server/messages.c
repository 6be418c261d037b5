// SPDX-License-Identifier: MIT
#include "server/messages.h"

#include "base/limits.h"
#include "base/mem.h"
#include "server/grammar_cache.h"
#include "server/server_priv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static tk_status part_text(tk_call *c, const json_t *part, const char *where, tk_buf *out)
{
    struct part {
        const char *type, *text, *refusal;
        json_t *notes;
    } p = {0};
    static const tk_field fields[] = {
        TK_F("type", STR, struct part, type),       TK_F("text", STR, struct part, text),
        TK_F("refusal", STR, struct part, refusal), TK_F("annotations", ANY, struct part, notes),
        TK_F("logprobs", ANY, struct part, notes),  TK_F("cache_control", ANY, struct part, notes),
        TK_F("citations", ANY, struct part, notes), TK_FIELD_END};
    const char *type = json_string_value(json_object_get(part, "type"));
    static const char *const texts[] = {"text", "input_text", "output_text", "refusal"};
    bool is_text = false;
    for (size_t i = 0; type && i < TK_COUNT(texts); i++) is_text |= strcmp(type, texts[i]) == 0;
    if (!is_text)
        return tk_api_fail(&c->error, 400, where,
                           "%s: parts of type \"%.40s\" are not supported, "
                           "only text is",
                           where, type ? type : "?");
    tk_status st = tk_fields_read(part, where, fields, &p, &c->error);
    if (st != TK_OK) return st;
    const char *s = p.text ? p.text : p.refusal;
    if (s == NULL) return tk_api_fail(&c->error, 400, where, "%s: a text part has no text", where);
    if (out->len) tk_buf_add_char(out, '\n');
    tk_buf_add_str(out, s);
    return TK_OK;
}

tk_status tk_messages_text(tk_call *c, const json_t *content, const char *where, json_t **out)
{
    if (json_is_string(content)) {
        *out = json_incref((json_t *)(uintptr_t)content);
        return TK_OK;
    }
    if (!json_is_array(content))
        return tk_api_fail(&c->error, 400, where, "%s must be a text or a list of text parts",
                           where);
    tk_buf text = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_status st = TK_OK;
    for (size_t i = 0; i < json_array_size(content) && st == TK_OK; i++) {
        char at[96];
        snprintf(at, sizeof at, "%.60s.%zu", where, i);
        st = part_text(c, json_array_get(content, i), at, &text);
    }
    if (st == TK_OK) *out = json_stringn(tk_buf_str(&text), text.len);
    tk_buf_free(&text);
    return st;
}

typedef struct message {
    const char *role, *name, *tool_call_id, *reasoning_content, *reasoning, *refusal;
    json_t *content, *tool_calls, *notes;
} message;

static const tk_field message_fields[] = {
    TK_F("role", STR, message, role),
    TK_F("name", STR, message, name),
    TK_F("content", ANY, message, content),
    TK_F("tool_calls", ARRAY, message, tool_calls),
    TK_F("tool_call_id", STR, message, tool_call_id),
    TK_F("reasoning_content", STR, message, reasoning_content),
    TK_F("reasoning", STR, message, reasoning),
    TK_F("refusal", STR, message, refusal),
    TK_F("annotations", ANY, message, notes), // clients send answers back as they came
    TK_F_SAME("function_call", NULL),
    TK_F_SAME("audio", NULL),
    TK_FIELD_END,
};

// {"id", "type": "function", "function": {"name", "arguments": JSON text}} with the arguments opened.
static tk_status read_tool_call(tk_call *c, const json_t *call, const char *where, json_t **out)
{
    const json_t *f = json_object_get(call, "function");
    const char *name = json_string_value(json_object_get(f, "name"));
    const json_t *args = json_object_get(f, "arguments");
    json_t *opened = NULL;
    if (name == NULL)
        return tk_api_fail(&c->error, 400, where, "%s.function.name is not there", where);
    if (json_is_object(args))
        opened = json_incref((json_t *)(uintptr_t)args);
    else if (json_is_string(args) && json_string_length(args) == 0)
        opened = json_object();
    else if (json_is_string(args))
        opened = json_loadb(json_string_value(args), json_string_length(args), 0, NULL);
    if (!json_is_object(opened)) {
        json_decref(opened);
        return tk_api_fail(&c->error, 400, where,
                           "%s.function.arguments must be the text of a JSON object", where);
    }
    const char *id = json_string_value(json_object_get(call, "id"));
    *out = json_pack("{s:s, s:s?, s:{s:s, s:o}}", "type", "function", "id", id, "function", "name",
                     name, "arguments", opened);
    return TK_OK;
}

// Calls in the text, for a template that has no place for them.
static void write_calls(json_t *m, const json_t *calls)
{
    tk_buf text = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    const char *said = json_string_value(json_object_get(m, "content"));
    if (said && *said) tk_buf_addf(&text, "%s\n", said);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        char *s = json_dumps(json_object_get(json_array_get(calls, i), "function"), 0);
        tk_buf_addf(&text, "%s<tool_call>\n%s\n</tool_call>", i ? "\n" : "", s ? s : "{}");
        free(s);
    }
    json_object_set_new(m, "content", json_stringn(tk_buf_str(&text), text.len));
    tk_buf_free(&text);
}

static tk_status add_tool_calls(tk_call *c, const message *in, const char *where, bool has_tools,
                                json_t *m)
{
    json_t *calls = json_array();
    tk_status st = TK_OK;
    for (size_t i = 0; i < json_array_size(in->tool_calls) && st == TK_OK; i++) {
        char at[96];
        json_t *one = NULL;
        snprintf(at, sizeof at, "%.60s.tool_calls.%zu", where, i);
        st = read_tool_call(c, json_array_get(in->tool_calls, i), at, &one);
        if (st == TK_OK) json_array_append_new(calls, one);
    }
    if (st == TK_OK && json_array_size(calls)) {
        if (has_tools)
            json_object_set(m, "tool_calls", calls);
        else
            write_calls(m, calls);
    }
    json_decref(calls);
    return st;
}

// Result of a tool as a user's message, for a template that knows no such role.
static void write_result(json_t *m)
{
    char *text = tk_asprintf("<tool_response>\n%s\n</tool_response>",
                             json_string_value(json_object_get(m, "content")));
    json_object_set_new(m, "role", json_string("user"));
    json_object_set_new(m, "content", json_string(text));
    json_object_del(m, "tool_call_id");
    tk_free(text);
}

static tk_status read_message(tk_call *c, const json_t *in, const char *where, bool has_tools,
                              json_t **out)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    message f = {0};
    tk_status st = tk_fields_read(in, where, message_fields, &f, &c->error);
    bool known = false;
    for (size_t i = 0; f.role && i < TK_COUNT(roles); i++) known |= strcmp(f.role, roles[i]) == 0;
    if (st == TK_OK && !known)
        st = tk_api_fail(&c->error, 400, where,
                         "%s.role must be system, developer, user, assistant or tool", where);
    if (st != TK_OK) return st;
    assert(f.role);
    bool assistant = strcmp(f.role, "assistant") == 0, tool = strcmp(f.role, "tool") == 0;
    if (f.content == NULL && !(assistant && (f.tool_calls || f.refusal)))
        return tk_api_fail(&c->error, 400, where, "%s.content is not there", where);
    if (f.tool_calls && !assistant)
        return tk_api_fail(&c->error, 400, where, "%s.tool_calls is for the assistant", where);
    json_t *text = NULL;
    char at[96];
    snprintf(at, sizeof at, "%.80s.content", where);
    if (f.content)
        st = tk_messages_text(c, f.content, at, &text);
    else
        text = json_string(f.refusal ? f.refusal : "");
    if (st != TK_OK) return st;
    const char *thought = f.reasoning_content ? f.reasoning_content : f.reasoning;
    json_t *m = json_pack("{s:s, s:o}", "role", strcmp(f.role, "developer") ? f.role : "system",
                          "content", text);
    if (f.name) json_object_set_new(m, "name", json_string(f.name));
    if (thought && assistant) json_object_set_new(m, "reasoning_content", json_string(thought));
    if (f.tool_call_id) json_object_set_new(m, "tool_call_id", json_string(f.tool_call_id));
    st = add_tool_calls(c, &f, where, has_tools, m);
    if (tool && !has_tools) write_result(m);
    *out = m;
    return st;
}

tk_status tk_messages_read(tk_call *c, const json_t *messages, bool has_tools, json_t **out)
{
    size_t n = json_array_size(messages);
    *out = NULL;
    if (n == 0)
        return tk_api_fail(&c->error, 400, "messages", "messages must be a list that is not empty");
    if (n > TK_LIMIT_REQUEST_MESSAGES)
        return tk_api_fail(&c->error, 400, "messages", "%zu messages, at most %d are taken", n,
                           TK_LIMIT_REQUEST_MESSAGES);
    json_t *list = json_array();
    tk_status st = TK_OK;
    for (size_t i = 0; i < n && st == TK_OK; i++) {
        char where[40];
        json_t *m = NULL;
        snprintf(where, sizeof where, "messages.%zu", i);
        st = read_message(c, json_array_get(messages, i), where, has_tools, &m);
        if (m) json_array_append_new(list, m);
    }
    if (st == TK_OK)
        *out = list;
    else
        json_decref(list);
    return st;
}

// --- tools ---

typedef struct function {
    const char *name, *description;
    json_t *parameters;
    bool strict;
} function;

static const tk_field function_fields[] = {
    TK_F("name", STR, function, name),
    TK_F("description", STR, function, description),
    TK_F("parameters", OBJECT, function, parameters),
    TK_F("strict", BOOL, function, strict),
    TK_FIELD_END,
};

static tk_status check_tool(tk_call *c, const json_t *tool, size_t i, function *f)
{
    struct tool {
        const char *type;
        json_t *function;
    } t = {0};
    static const tk_field fields[] = {TK_F("type", STR, struct tool, type),
                                      TK_F("function", OBJECT, struct tool, function),
                                      TK_FIELD_END};
    char where[40], at[64];
    snprintf(where, sizeof where, "tools.%zu", i);
    snprintf(at, sizeof at, "%s.function", where);
    *f = (function){0};
    tk_status st = tk_fields_read(tool, where, fields, &t, &c->error);
    if (st == TK_OK && (t.type == NULL || strcmp(t.type, "function") != 0 || t.function == NULL))
        st = tk_api_fail(&c->error, 400, where,
                         "%s must be {\"type\": \"function\", \"function\": "
                         "{...}}",
                         where);
    if (st == TK_OK) st = tk_fields_read(t.function, at, function_fields, f, &c->error);
    size_t n = f->name ? strlen(f->name) : 0;
    if (st == TK_OK && (n == 0 || n > 128))
        st = tk_api_fail(&c->error, 400, at, "%s.name must have 1 to 128 characters", at);
    return st;
}

static tk_status read_choice(tk_call *c, const json_t *choice, bool has_tools, tk_tools *out)
{
    const char *word = json_string_value(choice);
    if (choice == NULL || json_is_null(choice) || (word && strcmp(word, "auto") == 0)) return TK_OK;
    if (word && strcmp(word, "none") == 0) {
        out->list = NULL;
        return TK_OK;
    }
    if (!has_tools) return tk_api_fail(&c->error, 400, "tool_choice", "tool_choice without tools");
    out->forced = true;
    if (word && strcmp(word, "required") == 0) return TK_OK;
    const char *type = json_string_value(json_object_get(choice, "type"));
    out->only = json_string_value(json_object_get(json_object_get(choice, "function"), "name"));
    if (word || type == NULL || strcmp(type, "function") != 0 || out->only == NULL)
        return tk_api_fail(&c->error, 400, "tool_choice",
                           "tool_choice must be auto, none, required or {\"type\": \"function\", "
                           "\"function\": {\"name\": ..}}");
    for (int i = 0; i < c->gen.n_tool; i++)
        if (strcmp(c->gen.tool_names[i], out->only) == 0) return TK_OK;
    return tk_api_fail(&c->error, 400, "tool_choice", "there is no tool \"%.100s\"", out->only);
}

tk_status tk_tools_read(tk_call *c, json_t *tools, const json_t *choice, bool parallel,
                        tk_tools *out)
{
    tk_gen *g = &c->gen;
    size_t n = json_array_size(tools);
    *out = (tk_tools){.list = n ? tools : NULL, .parallel = parallel};
    if (n > TK_LIMIT_REQUEST_TOOLS)
        return tk_api_fail(&c->error, 400, "tools", "%zu tools, at most %d are taken", n,
                           TK_LIMIT_REQUEST_TOOLS);
    g->tool_names = tk_alloc((n + 1) * sizeof *g->tool_names);
    for (size_t i = 0; i < n; i++) {
        function f;
        tk_status st = check_tool(c, json_array_get(tools, i), i, &f);
        if (st != TK_OK) return st;
        g->tool_names[g->n_tool++] = f.name;
        out->strict |= f.strict;
    }
    tk_status st = read_choice(c, choice, n > 0, out);
    if (st != TK_OK) return st;
    if (out->list == NULL) g->n_tool = 0;
    g->tools = g->n_tool == 0 ? TK_TOOLS_NONE : out->forced ? TK_TOOLS_JSON : c->server->tools;
    return TK_OK;
}

void tk_tools_describe(const tk_tools *t, json_t *messages)
{
    tk_buf text = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_buf_add_str(&text, "You may call these tools:\n<tools>\n");
    for (size_t i = 0; i < json_array_size(t->list); i++) {
        char *s = json_dumps(json_array_get(t->list, i), JSON_COMPACT);
        tk_buf_addf(&text, "%s\n", s ? s : "");
        free(s);
    }
    tk_buf_add_str(&text, "</tools>\n");
    tk_buf_add_str(&text, t->forced
                              ? "Answer with calls of tools only, as JSON: {\"name\": NAME, "
                                "\"arguments\": ARGUMENTS}"
                              : "To call one, write\n<tool_call>\n{\"name\": NAME, \"arguments\": "
                                "ARGUMENTS}\n</tool_call>");
    json_t *first = json_array_get(messages, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (role && strcmp(role, "system") == 0) {
        char *both = tk_asprintf("%s\n\n%s", json_string_value(json_object_get(first, "content")),
                                 tk_buf_str(&text));
        json_object_set_new(first, "content", json_string(both));
        tk_free(both);
    } else {
        json_array_insert_new(
            messages, 0, json_pack("{s:s, s:s}", "role", "system", "content", tk_buf_str(&text)));
    }
    tk_buf_free(&text);
}

// {"name": NAME, "arguments": its parameters}. References inside parameters are to their own
// root, so they are moved: see move_refs.
static json_t *call_schema(const json_t *f, json_t *parameters)
{
    return json_pack("{s:s, s:[s, s], s:{s:{s:O}, s:o}, s:b}", "type", "object", "required", "name",
                     "arguments", "properties", "name", "const", json_object_get(f, "name"),
                     "arguments", parameters, "additionalProperties", 0);
}

// Every "$ref": "#..." below j, which now stands at the JSON pointer `at`. Walked with a list, not by calls.
static void move_refs(json_t *root, const char *at)
{
    json_t *todo = json_array();
    json_array_append(todo, root);
    while (json_array_size(todo) > 0) {
        size_t last = json_array_size(todo) - 1;
        json_t *j = json_incref(json_array_get(todo, last)), *v;
        const char *key;
        size_t i;
        json_array_remove(todo, last);
        const char *ref = json_string_value(json_object_get(j, "$ref"));
        if (ref && ref[0] == '#') {
            char *moved = tk_asprintf("#%s%s", at, ref + 1);
            json_object_set_new(j, "$ref", json_string(moved));
            tk_free(moved);
        }
        json_object_foreach(j, key, v) if (json_is_object(v) || json_is_array(v))
            json_array_append(todo, v);
        json_array_foreach(j, i, v) if (json_is_object(v) || json_is_array(v))
            json_array_append(todo, v);
        json_decref(j);
    }
    json_decref(todo);
}

// A call of the tool; `at` is where its arguments' schema will stand. loose: any arguments.
static json_t *one_call(const json_t *tool, const char *at, bool loose)
{
    const json_t *f = json_object_get(tool, "function"), *p = json_object_get(f, "parameters");
    json_t *own =
        json_is_object(p) && !loose ? json_deep_copy(p) : json_pack("{s:s}", "type", "object");
    move_refs(own, at);
    return call_schema(f, own);
}

static json_t *calls_schema(const tk_call *c, const tk_tools *t)
{
    json_t *choices = json_array();
    bool list = t->forced && t->only == NULL && t->parallel;
    for (size_t i = 0; i < json_array_size(t->list); i++) {
        const json_t *tool = json_array_get(t->list, i);
        char at[80];
        bool strict = json_is_true(json_object_get(json_object_get(tool, "function"), "strict"));
        if (t->only && strcmp(c->gen.tool_names[i], t->only) != 0) continue;
        snprintf(at, sizeof at, "%s/anyOf/%zu/properties/arguments", list ? "/items" : "",
                 json_array_size(choices));
        json_array_append_new(choices, one_call(tool, at, !t->forced && !strict));
    }
    json_t *schema = json_pack("{s:o}", "anyOf", choices);
    if (!list) return schema;
    // several calls, but not without end
    return json_pack("{s:s, s:i, s:i, s:o}", "type", "array", "minItems", 1, "maxItems", 16,
                     "items", schema);
}

tk_status tk_tools_constrain(tk_call *c, const tk_tools *t)
{
    if (t->list == NULL || (!t->forced && !t->strict)) return TK_OK;
    tk_gen *g = &c->gen;
    tk_err err = TK_ERR_INIT;
    tk_grammar_opts o = {.reason_begin = g->marks ? g->marks->begin : NULL,
                         .reason_end = g->marks ? g->marks->end : NULL,
                         .reasoning_open = g->reasoning_open};
    if (!t->forced && g->tools != TK_TOOLS_HERMES)
        return tk_api_fail(
            &c->error, 400, "tools",
            "strict tools are enforced when tool_choice forces a call, and for models "
            "that write <tool_call>; this one does not");
    if (!t->forced) {
        o.trigger = "<tool_call>";
        o.after = "</tool_call>";
    }
    json_t *schema = calls_schema(c, t);
    tk_status st = tk_grammar_cache_get(c->server->grammars, schema, &o, &g->grammar, &err);
    if (st != TK_OK) st = tk_api_fail(&c->error, 400, "tools", "a tool's parameters: %s", err.msg);
    json_decref(schema);
    return st;
}
