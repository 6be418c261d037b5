// SPDX-License-Identifier: MIT
#include "server/format.h"

#include "base/limits.h"
#include "server/server_priv.h"

#include <string.h>

json_t *tk_format_stringn(const char *s, size_t len)
{
    json_t *j = json_stringn(s, len);
    if (j) return j;
    tk_buf valid = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_text_append_valid(&valid, s, len);
    j = json_stringn(tk_buf_str(&valid), valid.len);
    tk_buf_free(&valid);
    return j ? j : json_string("");
}

json_t *tk_format_text(const tk_buf *b)
{
    return tk_format_stringn(tk_buf_str(b), b->len);
}

json_t *tk_format_usage(const tk_call *c)
{
    tk_usage u = tk_gen_usage(c);
    return json_pack("{s:I, s:I, s:I, s:{s:I}, s:{s:I}}", "prompt_tokens", (json_int_t)u.prompt,
                     "completion_tokens", (json_int_t)u.output, "total_tokens",
                     (json_int_t)(u.prompt + u.output), "prompt_tokens_details", "cached_tokens",
                     (json_int_t)u.cached, "completion_tokens_details", "reasoning_tokens",
                     (json_int_t)u.thought);
}

json_t *tk_format_usage_so_far(const tk_call *c)
{
    if (!c->gen.usage_each) return json_null();
    tk_usage u = tk_gen_usage(c);
    return json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)u.prompt, "completion_tokens",
                     (json_int_t)u.output, "total_tokens", (json_int_t)(u.prompt + u.output));
}

json_t *tk_format_tool_calls(const tk_choice *k)
{
    json_t *list = json_array();
    for (int i = 0; i < k->n_use; i++)
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", k->use[i].id, "type",
                                        "function", "function", "name",
                                        tk_format_stringn(k->use[i].name, strlen(k->use[i].name)),
                                        "arguments", tk_format_text(&k->use[i].args)));
    return list;
}

void tk_format_token(const tk_call *c, int32_t id, tk_buf *out)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    tk_tokenizer_token_bytes(c->server->model->tokenizer, id, &raw);
    tk_text_append_valid(out, tk_buf_str(&raw), raw.len);
    tk_buf_free(&raw);
}

json_t *tk_format_token_bytes(const tk_call *c, int32_t id)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    json_t *list = json_array();
    tk_tokenizer_token_bytes(c->server->model->tokenizer, id, &raw);
    for (size_t i = 0; i < raw.len; i++)
        json_array_append_new(list, json_integer((unsigned char)raw.data[i]));
    tk_buf_free(&raw);
    return list;
}

// JSON has no infinity; a token that the model gives no chance to is shown as vLLM shows it.
static double shown(double logprob)
{
    return logprob > -9999 ? logprob : -9999;
}

static json_t *one_logprob(const tk_call *c, int32_t id, double logprob)
{
    tk_buf text = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 3);
    tk_format_token(c, id, &text);
    json_t *j = json_pack("{s:o, s:f, s:o}", "token", tk_format_text(&text), "logprob",
                          shown(logprob), "bytes", tk_format_token_bytes(c, id));
    tk_buf_free(&text);
    return j;
}

json_t *tk_format_chat_logprobs(tk_choice *k)
{
    json_t *list = json_array();
    for (size_t i = 0; i < k->n_lp; i++) {
        const tk_logprob *lp = &k->lp[i];
        json_t *one = one_logprob(k->call, lp->id, lp->logprob), *top = json_array();
        for (int t = 0; t < lp->n_top; t++)
            json_array_append_new(top, one_logprob(k->call, lp->top[t].id, lp->top[t].logprob));
        json_object_set_new(one, "top_logprobs", top);
        json_array_append_new(list, one);
    }
    k->n_lp = 0;
    return json_pack("{s:o, s:n}", "content", list, "refusal");
}
