// SPDX-License-Identifier: MIT
#include "engine/generate.h"

#include "base/limits.h"
#include "base/mem.h"
#include "engine/model_text.h"
#include "text/stop.h"

#include <string.h>

static void add_end(tk_model *m, int32_t id)
{
    for (int i = 0; i < m->n_end; i++)
        if (m->end[i] == id) return;
    if (id >= 0 && m->n_end < (int)TK_COUNT(m->end)) m->end[m->n_end++] = id;
}

// What ends an answer: what the model's files name, and the turn markers of known chat formats.
static void find_ends(tk_model *m)
{
    static const char *const markers[] = {"<|im_end|>",
                                          "<|eot_id|>",
                                          "<|endoftext|>",
                                          "<|end|>",
                                          "<end_of_turn>",
                                          "<|eom_id|>",
                                          "<\xEF\xBD\x9C"
                                          "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};
    const tk_config *c = &tk_engine_program(m->engine)->cfg;
    for (int i = 0; i < c->n_eos; i++) add_end(m, c->eos[i]);
    if (m->tokenizer == NULL) return;
    add_end(m, tk_tokenizer_eos(m->tokenizer));
    for (size_t i = 0; i < TK_COUNT(markers); i++)
        add_end(m, tk_tokenizer_find(m->tokenizer, markers[i], strlen(markers[i])));
}

tk_status tk_model_open(const char *name, const tk_engine_opts *eo, bool need_tokenizer,
                        tk_model *out, tk_err *err)
{
    tk_model m = {0};
    tk_status st;
    TK_TRY(tk_engine_open(name, eo, &m.engine, err));
    tk_err text_err = TK_ERR_INIT;
    st =
        tk_ckpt_tokenizer(tk_engine_ckpt(m.engine), &m.tokenizer, need_tokenizer ? err : &text_err);
    if (st != TK_OK && need_tokenizer) goto done;
    st = TK_OK;
    if (m.tokenizer) {
        TK_TRY(tk_tokenizer_check_fit(m.tokenizer, tk_engine_program(m.engine)->cfg.n_vocab, err));
        TK_TRY(tk_chat_open(tk_engine_ckpt(m.engine), m.tokenizer, &m.chat, err));
    }
    find_ends(&m);
    *out = m;
    m = (tk_model){0};
done:
    tk_model_close(&m);
    return st;
}

void tk_model_close(tk_model *m)
{
    tk_chat_free(m->chat);
    tk_tokenizer_free(m->tokenizer);
    tk_engine_close(m->engine);
    *m = (tk_model){0};
}

void tk_answer_free(tk_answer *a)
{
    tk_free(a->ids);
    tk_free(a->logprobs);
    tk_buf_free(&a->text);
}

const char *tk_answer_finish_reason(const tk_answer *a)
{
    return a->gen.ended || a->hit_stop ? "stop" : "length";
}

typedef struct stream {
    tk_answer *a;
    tk_detok *detok;
    tk_stop *stop;
    tk_text_fn fn;
    void *ctx;
} stream;

static void show(stream *s, const char *text, size_t len)
{
    tk_buf_add(&s->a->text, text, len);
    if (s->fn && len > 0 && !s->a->hit_caller) s->a->hit_caller = !s->fn(s->ctx, text, len);
}

static bool on_token(void *ctx, int32_t id, double logprob)
{
    stream *s = ctx;
    tk_answer *a = s->a;
    if (a->n == a->cap) {
        a->cap = a->cap ? a->cap * 2 : 256;
        a->ids = tk_realloc(a->ids, (size_t)a->cap * sizeof *a->ids);
        a->logprobs = tk_realloc(a->logprobs, (size_t)a->cap * sizeof *a->logprobs);
    }
    a->ids[a->n] = id;
    a->logprobs[a->n++] = logprob;
    if (s->detok == NULL) return true;
    size_t len, shown;
    const char *text = tk_detok_push(s->detok, id, &len);
    text = tk_stop_push(s->stop, text, len, &shown, &a->hit_stop);
    show(s, text, shown);
    return !a->hit_stop && !a->hit_caller;
}

static void finish(stream *s)
{
    size_t len, shown;
    if (s->a->hit_stop) return;
    const char *text = tk_detok_flush(s->detok, &len);
    text = tk_stop_push(s->stop, text, len, &shown, &s->a->hit_stop);
    show(s, text, shown);
    if (s->a->hit_stop) return;
    text = tk_stop_flush(s->stop, &shown);
    show(s, text, shown);
}

tk_status tk_answer_make(tk_model *m, const int32_t *prompt, int32_t n_prompt, const tk_request *r,
                         tk_text_fn fn, void *ctx, const atomic_int *interrupt, tk_answer *out,
                         tk_err *err)
{
    *out = (tk_answer){.text = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
    stream st = {.a = out, .fn = fn, .ctx = ctx};
    if (m->tokenizer) {
        st.detok = tk_detok_new(m->tokenizer, true);
        st.stop = tk_stop_new(r->stop, r->n_stop);
    }
    int32_t room = tk_exec_plan_of(tk_engine_exec(m->engine))->n_kv_tok -
                   tk_engine_n_past(m->engine) - n_prompt + 1;
    int32_t max = r->max_tokens >= 0 ? (int32_t)TK_MIN(r->max_tokens, INT32_MAX) : 512;
    tk_status status =
        tk_engine_generate(m->engine, prompt, n_prompt, TK_MAX(0, TK_MIN(max, room)), &r->sample,
                           m->end, m->n_end, on_token, &st, interrupt, &out->gen, err);
    if (st.detok) finish(&st);
    tk_detok_free(st.detok);
    tk_stop_free(st.stop);
    return status;
}

tk_status tk_model_prompt(const tk_model *m, const char *system, const char *user, bool raw,
                          int32_t **ids, size_t *n, tk_err *err)
{
    if (m->chat == NULL || raw)
        return tk_tokenizer_encode(m->tokenizer, user, strlen(user), (tk_encode_opts){0}, ids, n,
                                   err);
    json_t *messages = json_array();
    tk_status st = TK_OK;
    if (system)
        json_array_append_new(messages,
                              json_pack("{s:s, s:s}", "role", "system", "content", system));
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "user", "content", user));
    if (json_array_size(messages) != (system ? 2u : 1u))
        st = tk_fail(err, TK_BAD_INPUT, "the prompt is not valid UTF-8");
    else
        st = tk_chat_prompt(m->chat, messages, ids, n, err);
    json_decref(messages);
    return st;
}
