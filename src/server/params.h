// SPDX-License-Identifier: MIT
// The fields that the generating APIs share, and what a generation needs from them. On the text thread.
#ifndef TK_SERVER_PARAMS_H
#define TK_SERVER_PARAMS_H

#include "server/call.h"

typedef struct tk_params {
    const char *model, *user, *effort;
    bool stream, logprobs, ignore_eos, echo, add_prompt, continue_last;
    json_t *stream_options, *stop, *logit_bias, *stop_token_ids;
    json_t *messages, *tools, *tool_choice, *response_format, *kwargs, *prompt;
    bool parallel_tools;
    int64_t n, seed, max_tokens, max_completion_tokens, top_k, n_top, priority;
    double temperature, top_p, min_p, repetition, presence, frequency;
} tk_params;

#define TK_SEED_NONE INT64_MIN

// Defaults are the server's.
tk_params tk_params_default(const tk_call *c);

// Entries of a tk_field table.
#define TK_PARAMS_SAMPLING                                                                         \
    TK_F("model", STR, tk_params, model), TK_F("stream", BOOL, tk_params, stream),                 \
        TK_F_RANGE("temperature", NUM, tk_params, temperature, 0, 100),                            \
        TK_F_RANGE("top_p", NUM, tk_params, top_p, 1e-6, 1),                                       \
        TK_F_RANGE("top_k", INT, tk_params, top_k, -1, 1e9),                                       \
        TK_F_RANGE("min_p", NUM, tk_params, min_p, 0, 1),                                          \
        TK_F_RANGE("repetition_penalty", NUM, tk_params, repetition, 0.01, 100),                   \
        TK_F_RANGE("seed", INT, tk_params, seed, -9.3e18, 1.9e19),                                 \
        TK_F("ignore_eos", BOOL, tk_params, ignore_eos),                                           \
        TK_F_RANGE("priority", INT, tk_params, priority, -1e9, 1e9),                               \
        TK_F("stop_token_ids", ARRAY, tk_params, stop_token_ids)

#define TK_PARAMS_OPENAI                                                                           \
    TK_F("stream_options", OBJECT, tk_params, stream_options),                                     \
        TK_F_RANGE("n", INT, tk_params, n, 1, TK_LIMIT_REQUEST_CHOICES),                           \
        TK_F("stop", ANY, tk_params, stop),                                                        \
        TK_F_RANGE("presence_penalty", NUM, tk_params, presence, -2, 2),                           \
        TK_F_RANGE("frequency_penalty", NUM, tk_params, frequency, -2, 2),                         \
        TK_F("logit_bias", OBJECT, tk_params, logit_bias),                                         \
        TK_F_RANGE("max_tokens", INT, tk_params, max_tokens, 0, TK_LIMIT_CONTEXT),                 \
        TK_F("user", STR, tk_params, user)

// The model's name is one of ours; sampling, limits, stop strings and choices go into c->gen. stop_name: the
// field's own name, for errors.
tk_status tk_params_apply(tk_call *c, const tk_params *p, const char *stop_name);
// A prompt is added; it is checked against the context, and max_tokens (-1 = what is left) made to fit.
tk_status tk_params_add_prompt(tk_call *c, int32_t *ids, size_t n, int64_t max_tokens);
// Conversation -> prompt: the messages (as the template wants them), tools (NULL = none), with reasoning and
// tool parsers chosen. prefill: the last message is the beginning of the answer.
typedef struct tk_conversation {
    const json_t *messages, *tools, *kwargs;
    bool add_prompt, prefill;
    int64_t max_tokens;
} tk_conversation;
tk_status tk_params_converse(tk_call *c, const tk_conversation *v);
// The prompt's ids alone (tk_free).
tk_status tk_params_render(tk_call *c, const tk_conversation *v, int32_t **ids, size_t *n);

// The answer must be JSON of this schema (true = an object of any kind is {"type":"object"}). where: for
// errors. The prompt must have been made.
tk_status tk_params_constrain(tk_call *c, const json_t *schema, const char *where);

#endif
