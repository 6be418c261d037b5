// SPDX-License-Identifier: MIT
// POST /v1/completions: text in, text out; what lm-eval and load generators speak.
#include "base/limits.h"
#include "base/mem.h"
#include "server/format.h"
#include "server/params.h"
#include "server/server_priv.h"

#include <math.h>
#include <string.h>

typedef struct completion {
    tk_params p;
    int64_t n_logprobs, best_of;
} completion;

static const tk_field fields[] = {
    TK_PARAMS_SAMPLING, // tk_params is completion's first field
    TK_PARAMS_OPENAI,
    TK_F("prompt", ANY, tk_params, prompt),
    TK_F("echo", BOOL, tk_params, echo),
    TK_F_RANGE("logprobs", INT, completion, n_logprobs, 0, TK_LIMIT_TOP_LOGPROBS),
    TK_F_RANGE("best_of", INT, completion, best_of, 1, TK_LIMIT_REQUEST_CHOICES),
    TK_F_SAME("suffix", "\"\""),
    TK_FIELD_END,
};

static tk_status text_prompt(tk_call *c, const json_t *text, int64_t max_tokens)
{
    tk_err err = TK_ERR_INIT;
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st =
        tk_tokenizer_encode(c->server->model->tokenizer, json_string_value(text),
                            json_string_length(text), (tk_encode_opts){0}, &ids, &n, &err);
    if (st != TK_OK) return tk_api_fail_err(&c->error, st, "prompt", &err);
    st = tk_params_add_prompt(c, ids, n, max_tokens);
    if (st != TK_OK || !c->gen.echo) return st;
    tk_prompt *p = &c->gen.prompt[c->gen.n_prompt - 1];
    p->text = tk_strndup(json_string_value(text), json_string_length(text));
    p->text_len = json_string_length(text);
    return TK_OK;
}

static tk_status ids_prompt(tk_call *c, const json_t *list, int64_t max_tokens)
{
    size_t n = json_array_size(list);
    int32_t *ids = tk_alloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= c->server->n_vocab) {
            tk_free(ids);
            return tk_api_fail(&c->error, 400, "prompt",
                               "prompt must be text or token ids below %d", c->server->n_vocab);
        }
        ids[i] = (int32_t)json_integer_value(v);
    }
    tk_status st = tk_params_add_prompt(c, ids, n, max_tokens);
    if (st != TK_OK || !c->gen.echo) return st;
    tk_prompt *p = &c->gen.prompt[c->gen.n_prompt - 1];
    tk_buf text = tk_buf_make(TK_LIMIT_TEXT_BYTES), valid = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_tokenizer_decode(c->server->model->tokenizer, ids, n, true, &text, NULL);
    tk_text_append_valid(&valid, tk_buf_str(&text), text.len);
    p->text_len = valid.len;
    p->text = tk_buf_take(&valid);
    tk_buf_free(&text);
    return TK_OK;
}

// Text, ids, or a list of either.
static tk_status read_prompts(tk_call *c, const json_t *prompt, int64_t max_tokens)
{
    const json_t *first = json_array_get(prompt, 0);
    size_t n = json_array_size(prompt);
    if (json_is_string(prompt)) return text_prompt(c, prompt, max_tokens);
    if (json_is_integer(first)) return ids_prompt(c, prompt, max_tokens);
    if (n == 0 || (!json_is_string(first) && !json_is_array(first)))
        return tk_api_fail(&c->error, 400, "prompt",
                           "prompt must be text, token ids, or a list of texts or of ids");
    if (n * (size_t)c->gen.n > TK_LIMIT_REQUEST_CHOICES)
        return tk_api_fail(&c->error, 400, "prompt",
                           "%zu prompts of %d answers, %d answers at most", n, c->gen.n,
                           TK_LIMIT_REQUEST_CHOICES);
    for (size_t i = 0; i < n; i++) {
        const json_t *one = json_array_get(prompt, i);
        tk_status st = json_is_string(one)  ? text_prompt(c, one, max_tokens)
                       : json_is_array(one) ? ids_prompt(c, one, max_tokens)
                                            : tk_api_fail(&c->error, 400, "prompt",
                                                          "prompt.%zu is neither text nor ids", i);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

tk_status tk_read_completion(tk_call *c)
{
    completion r = {.p = tk_params_default(c), .n_logprobs = -1, .best_of = -1};
    tk_status st;
    r.p.max_tokens = 16; // OpenAI's
    TK_TRY(tk_fields_read(c->json, "", fields, &r, &c->error));
    r.p.logprobs = r.n_logprobs >= 0;
    r.p.n_top = r.n_logprobs;
    TK_TRY(tk_params_apply(c, &r.p, "stop"));
    if (r.best_of >= 0 && r.best_of != r.p.n) {
        st = tk_api_fail(&c->error, 400, "best_of", "best_of is supported only when it is n");
        goto done;
    }
    c->gen.echo = r.p.echo;
    c->gen.goes_on = true;
    c->gen.job.prompt_logprobs = r.p.echo && r.p.logprobs;
    TK_TRY(read_prompts(c, r.p.prompt, r.p.max_tokens));
    c->gen.format = &tk_format_completion;
done:
    return st;
}

// --- answers ---

static json_t *head(const tk_call *c)
{
    char id[96];
    snprintf(id, sizeof id, "cmpl-%s", c->id);
    return json_pack("{s:s, s:s, s:I, s:s}", "id", id, "object", "text_completion", "created",
                     (json_int_t)c->created_s, "model", c->model);
}

static json_t *top_of(const tk_choice *k, const tk_logprob *lp)
{
    json_t *top = json_object();
    for (int i = 0; i < lp->n_top; i++) {
        tk_buf text = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 3);
        tk_format_token(k->call, lp->top[i].id, &text);
        // two ids with the same text: the likelier one is named
        if (json_object_get(top, tk_buf_str(&text)) == NULL)
            json_object_set_new(top, tk_buf_str(&text),
                                json_real(fmax(lp->top[i].logprob, -9999.0)));
        tk_buf_free(&text);
    }
    return top;
}

// How many characters of the answer's text the token is: special ones are not shown.
static size_t shown_chars(const tk_call *c, int32_t id, const tk_buf *text)
{
    size_t n = 0;
    if (tk_tokenizer_kind(c->server->model->tokenizer, id) == TK_TOKEN_CONTROL) return 0;
    for (size_t i = 0; i < text->len; i++) n += ((unsigned char)text->data[i] & 0xC0) != 0x80;
    return n;
}

// {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []} of what was noted.
static json_t *logprobs(tk_choice *k)
{
    json_t *tokens = json_array(), *lps = json_array(), *tops = json_array(), *at = json_array();
    if (!k->call->gen.logprobs) {
        json_decref(tokens), json_decref(lps), json_decref(tops), json_decref(at);
        return json_null();
    }
    for (size_t i = 0; i < k->n_lp; i++) {
        const tk_logprob *lp = &k->lp[i];
        tk_buf text = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 3);
        tk_format_token(k->call, lp->id, &text);
        bool none = isnan(lp->logprob);
        json_array_append_new(tokens, tk_format_text(&text));
        json_array_append_new(lps, none ? json_null() : json_real(fmax(lp->logprob, -9999.0)));
        json_array_append_new(tops, none || k->call->gen.n_top == 0 ? json_null() : top_of(k, lp));
        json_array_append_new(at, json_integer((json_int_t)k->lp_offset));
        k->lp_offset += shown_chars(k->call, lp->id, &text);
        tk_buf_free(&text);
    }
    k->n_lp = 0;
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", tokens, "token_logprobs", lps,
                     "top_logprobs", tops, "text_offset", at);
}

static json_t *whole(tk_call *c)
{
    json_t *choices = json_array(), *j = head(c);
    for (int i = 0; i < c->gen.n_choice; i++) {
        tk_choice *k = &c->gen.choice[i];
        const tk_prompt *p = &c->gen.prompt[k->i_prompt];
        tk_buf text = tk_buf_make((size_t)2 * TK_LIMIT_TEXT_BYTES);
        if (c->gen.echo) tk_buf_add(&text, p->text, p->text_len);
        tk_buf_add(&text, tk_buf_str(&k->text), k->text.len);
        json_array_append_new(choices, json_pack("{s:i, s:o, s:o, s:s}", "index", k->index, "text",
                                                 tk_format_text(&text), "logprobs", logprobs(k),
                                                 "finish_reason", k->finish));
        tk_buf_free(&text);
    }
    json_object_set_new(j, "choices", choices);
    json_object_set_new(j, "usage", tk_format_usage(c));
    json_object_set_new(j, "system_fingerprint", json_string(c->server->opts.commit));
    return j;
}

static void send_piece(tk_call *c, tk_choice *k, json_t *text, const char *finish)
{
    json_t *j = head(c);
    json_t *lp = k->n_lp ? logprobs(k) : json_null();
    json_object_set_new(j, "choices",
                        json_pack("[{s:i, s:o, s:o, s:s?}]", "index", k->index, "text", text,
                                  "logprobs", lp, "finish_reason", finish));
    if (c->gen.include_usage) json_object_set_new(j, "usage", tk_format_usage_so_far(c));
    tk_call_send(c, NULL, j);
}

static void begin(tk_call *c)
{
    if (c->gen.job.prompt_logprobs) return; // with the first token, when they are known
    for (int i = 0; i < c->gen.n_choice && c->gen.echo && c->conn; i++) {
        const tk_prompt *p = &c->gen.prompt[c->gen.choice[i].i_prompt];
        send_piece(c, &c->gen.choice[i], tk_format_stringn(p->text, p->text_len), NULL);
    }
}

// The prompt's text with its logprobs, before anything else of the choice.
static void echo_once(tk_call *c, tk_choice *k, const char *s, size_t len, const char *finish)
{
    tk_buf text = tk_buf_make((size_t)2 * TK_LIMIT_TEXT_BYTES);
    if (c->gen.job.prompt_logprobs && !k->state) {
        const tk_prompt *p = &c->gen.prompt[k->i_prompt];
        tk_buf_add(&text, p->text, p->text_len);
        k->state = 1;
    }
    tk_buf_add(&text, s, len);
    send_piece(c, k, tk_format_text(&text), finish);
    tk_buf_free(&text);
}

static void delta(tk_call *c, tk_choice *k, tk_delta what, const char *s, size_t len)
{
    if (what == TK_DELTA_TEXT) echo_once(c, k, s, len, NULL);
}

static void choice_end(tk_call *c, tk_choice *k)
{
    echo_once(c, k, "", 0, k->finish);
}

static void end(tk_call *c)
{
    if (c->gen.include_usage) {
        json_t *j = head(c);
        json_object_set_new(j, "choices", json_array());
        json_object_set_new(j, "usage", tk_format_usage(c));
        tk_call_send(c, NULL, j);
    }
    if (c->conn) tk_conn_stream_send(c->conn, "data: [DONE]\n\n", 14);
}

const tk_format tk_format_completion = {
    .begin = begin, .delta = delta, .choice_end = choice_end, .end = end, .whole = whole};
