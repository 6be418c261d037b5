// SPDX-License-Identifier: MIT
// What the server knows of the model once it is loaded: how it reasons, how it calls tools, how it likes to be
// sampled.
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/chat.h"
#include "server/server_priv.h"

#include <math.h>
#include <string.h>

// generation_config.json beside the model, where transformers and vLLM find their defaults.
static tk_status read_generation_config(tk_server *s, tk_err *err)
{
    char *path =
        tk_file_join(tk_ckpt_path(tk_engine_ckpt(s->model->engine)), "generation_config.json");
    json_t *j = NULL;
    tk_status st = TK_OK;
    bool sample = true;
    if (tk_file_exists(path)) {
        TK_TRY(tk_json_load(path, &j, err));
        TK_TRY(tk_json_double(j, "temperature", &s->sample.temperature, path, err));
        TK_TRY(tk_json_double(j, "top_p", &s->sample.top_p, path, err));
        TK_TRY(tk_json_double(j, "min_p", &s->sample.min_p, path, err));
        TK_TRY(tk_json_int(j, "top_k", 0, INT32_MAX, &s->sample.top_k, path, err));
        TK_TRY(tk_json_double(j, "repetition_penalty", &s->sample.repetition_penalty, path, err));
        TK_TRY(tk_json_bool(j, "do_sample", &sample, path, err));
        if (!sample) s->sample.temperature = 0;
    }
done:
    json_decref(j);
    tk_free(path);
    return st;
}

static tk_status choose_sampling(tk_server *s, tk_err *err)
{
    const tk_server_opts *o = &s->opts;
    s->sample = tk_sample_opts_default();
    s->sample.temperature = 1;
    tk_status st = read_generation_config(s, err);
    if (!isnan(o->temperature)) s->sample.temperature = o->temperature;
    if (!isnan(o->top_p)) s->sample.top_p = o->top_p;
    if (!isnan(o->min_p)) s->sample.min_p = o->min_p;
    if (o->top_k >= 0) s->sample.top_k = o->top_k;
    return st;
}

static tk_status choose_parsers(tk_server *s, const char *plain, const char *with_tools,
                                tk_err *err)
{
    const tk_server_opts *o = &s->opts;
    if (strcmp(o->reasoning_parser, "auto") == 0)
        s->marks = tk_reasoning_of_template(plain);
    else if (strcmp(o->reasoning_parser, "none") != 0) {
        s->marks = tk_reasoning_by_name(o->reasoning_parser);
        if (s->marks == NULL)
            return tk_fail(err, TK_USAGE,
                           "--reasoning-parser %s: there is auto, none, deepseek_r1, "
                           "qwen3, mistral",
                           o->reasoning_parser);
    }
    tk_tool_format own = tk_tool_format_of_template(with_tools);
    s->template_has_tools = own != TK_TOOLS_NONE;
    // a model that knows no tools is told in a system message, in Hermes' words
    s->tools = s->template_has_tools ? own : TK_TOOLS_HERMES;
    if (strcmp(o->tool_parser, "auto") != 0 && !tk_tool_format_by_name(o->tool_parser, &s->tools))
        return tk_fail(err, TK_USAGE,
                       "--tool-call-parser %s: there is auto, none, hermes, "
                       "llama3_json, mistral, deepseek_v3, json",
                       o->tool_parser);
    return TK_OK;
}

// Marks that are control tokens are only seen when these are shown.
static bool is_control(const tk_tokenizer *t, const char *text)
{
    return tk_tokenizer_kind(t, tk_tokenizer_find(t, text, strlen(text))) == TK_TOKEN_CONTROL;
}

tk_status tk_server_ready(tk_server *s, tk_model *m, tk_service *service, int32_t max_len,
                          double load_s, tk_err *err)
{
    const char *plain = m->chat ? tk_chat_source(m->chat, false) : "",
               *with_tools = m->chat ? tk_chat_source(m->chat, true) : "";
    s->model = m;
    s->service = service;
    s->max_len = max_len;
    s->n_vocab = tk_engine_program(m->engine)->cfg.n_vocab;
    s->load_s = load_s;
    tk_status st = choose_sampling(s, err);
    if (st == TK_OK) st = choose_parsers(s, plain, with_tools, err);
    if (st != TK_OK) return st;
    s->template_has_effort = strstr(plain, "reasoning_effort") != NULL;
    const char *also[] = {s->marks ? s->marks->begin : "", s->marks ? s->marks->end : "",
                          "<tool_call>", "</tool_call>"};
    s->marks_are_special = s->marks && (is_control(m->tokenizer, s->marks->begin) ||
                                        is_control(m->tokenizer, s->marks->end));
    s->trie = tk_token_trie_new(m->tokenizer, also, (int)TK_COUNT(also));
    int loading = TK_SERVER_LOADING; // a drain that came meanwhile stays
    atomic_compare_exchange_strong_explicit(&s->state, &loading, TK_SERVER_READY,
                                            memory_order_release, memory_order_relaxed);
    return TK_OK;
}
