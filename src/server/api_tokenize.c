// SPDX-License-Identifier: MIT
// POST /tokenize and /detokenize, in vLLM's shape; and Anthropic's count of a conversation's tokens is in
// api_message.c.
#include "base/limits.h"
#include "base/mem.h"
#include "server/format.h"
#include "server/messages.h"
#include "server/params.h"
#include "server/server_priv.h"

#include <string.h>

typedef struct request {
    const char *model, *prompt;
    bool add_special, strings, add_prompt, continue_last;
    json_t *messages, *kwargs, *tools, *tokens, *text;
} request;

static const tk_field tokenize_fields[] = {
    TK_F("model", STR, request, model),
    TK_F("prompt", ANY, request, text),
    TK_F("add_special_tokens", BOOL, request, add_special),
    TK_F("return_token_strs", BOOL, request, strings),
    TK_F("messages", ARRAY, request, messages),
    TK_F("add_generation_prompt", BOOL, request, add_prompt),
    TK_F("continue_final_message", BOOL, request, continue_last),
    TK_F("chat_template_kwargs", OBJECT, request, kwargs),
    TK_F("tools", ARRAY, request, tools),
    TK_FIELD_END,
};

static const tk_field detokenize_fields[] = {
    TK_F("model", STR, request, model),
    TK_F("tokens", ARRAY, request, tokens),
    TK_FIELD_END,
};

static tk_status check_model(tk_call *c, const request *r)
{
    if (r->model == NULL || tk_server_is_name(c->server, r->model)) return TK_OK;
    tk_api_fail(&c->error, 404, "model", "there is no model \"%.200s\" here", r->model);
    c->error.code = "model_not_found";
    return TK_BAD_INPUT;
}

static tk_status conversation_ids(tk_call *c, const request *r, int32_t **ids, size_t *n)
{
    json_t *messages = NULL;
    tk_tools tools;
    bool knows = c->server->template_has_tools;
    tk_status st;
    TK_TRY(tk_tools_read(c, r->tools, NULL, true, &tools));
    TK_TRY(tk_messages_read(c, r->messages, knows, &messages));
    if (tools.list && !knows) tk_tools_describe(&tools, messages);
    st = tk_params_render(c,
                          &(tk_conversation){.messages = messages,
                                             .tools = knows ? tools.list : NULL,
                                             .kwargs = r->kwargs,
                                             .add_prompt = r->add_prompt,
                                             .prefill = r->continue_last},
                          ids, n);
done:
    json_decref(messages);
    return st;
}

static tk_status prompt_ids(tk_call *c, const request *r, int32_t **ids, size_t *n)
{
    tk_err err = TK_ERR_INIT;
    if (r->messages) return conversation_ids(c, r, ids, n);
    if (!json_is_string(r->text))
        return tk_api_fail(&c->error, 400, "prompt", "prompt must be a text (or give messages)");
    tk_encode_opts o = {.bos = r->add_special ? TK_BOS_AUTO : TK_BOS_NO};
    tk_status st = tk_tokenizer_encode(c->server->model->tokenizer, json_string_value(r->text),
                                       json_string_length(r->text), o, ids, n, &err);
    return st == TK_OK ? st : tk_api_fail_err(&c->error, st, "prompt", &err);
}

tk_status tk_read_tokenize(tk_call *c)
{
    request r = {.add_special = true, .add_prompt = true};
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", tokenize_fields, &r, &c->error));
    TK_TRY(check_model(c, &r));
    TK_TRY(prompt_ids(c, &r, &ids, &n));
    json_t *tokens = json_array(), *strings = r.strings ? json_array() : json_null();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(tokens, json_integer(ids[i]));
        if (!r.strings) continue;
        tk_buf text = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 3);
        tk_format_token(c, ids[i], &text);
        json_array_append_new(strings, tk_format_text(&text));
        tk_buf_free(&text);
    }
    c->reply = json_pack("{s:I, s:i, s:o, s:o}", "count", (json_int_t)n, "max_model_len",
                         c->server->max_len, "tokens", tokens, "token_strs", strings);
done:
    tk_free(ids);
    return st;
}

tk_status tk_read_detokenize(tk_call *c)
{
    request r = {0};
    tk_buf raw = tk_buf_make(TK_LIMIT_TEXT_BYTES), text = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_err err = TK_ERR_INIT;
    int32_t *ids = NULL;
    tk_status st;
    TK_TRY(tk_fields_read(c->json, "", detokenize_fields, &r, &c->error));
    TK_TRY(check_model(c, &r));
    if (r.tokens == NULL) {
        st = tk_api_fail(&c->error, 400, "tokens", "tokens must be a list of ids");
        goto done;
    }
    size_t n = json_array_size(r.tokens);
    ids = tk_alloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(r.tokens, i);
        int32_t most = tk_tokenizer_n_vocab(c->server->model->tokenizer);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= most) {
            st = tk_api_fail(&c->error, 400, "tokens", "tokens.%zu is no token id (0..%d)", i,
                             most - 1);
            goto done;
        }
        ids[i] = (int32_t)json_integer_value(v);
    }
    st = tk_tokenizer_decode(c->server->model->tokenizer, ids, n, false, &raw, &err);
    if (st != TK_OK) {
        st = tk_api_fail_err(&c->error, st, "tokens", &err);
        goto done;
    }
    tk_text_append_valid(&text, tk_buf_str(&raw), raw.len);
    c->reply = json_pack("{s:o}", "prompt", tk_format_text(&text));
done:
    tk_free(ids);
    tk_buf_free(&raw);
    tk_buf_free(&text);
    return st;
}
