// SPDX-License-Identifier: MIT
// A loaded model with its text side, and one streamed answer: what the command line and the C API share.
// Owner: the thread that opened it.
#ifndef TK_ENGINE_GENERATE_H
#define TK_ENGINE_GENERATE_H

#include "base/buf.h"
#include "engine/chat.h"
#include "engine/engine.h"
#include "text/tokenizer.h"

#include <stdatomic.h>

// Text as it comes: whole characters. Return false to stop.
typedef bool (*tk_text_fn)(void *ctx, const char *text, size_t len);

typedef struct tk_request {
    tk_sample_opts sample;
    int64_t max_tokens; // -1 = 512, or what the context holds
    const char *const *stop;
    int n_stop;
} tk_request;

typedef struct tk_model {
    tk_engine *engine;
    tk_tokenizer *tokenizer; // NULL when the model has none
    tk_chat *chat;           // NULL when it has no chat template
    int32_t end[64];         // ids that end a generation
    int n_end;
} tk_model;

// Opens a model and its text side. need_tokenizer: a model without one is an error.
tk_status tk_model_open(const char *name, const tk_engine_opts *eo, bool need_tokenizer,
                        tk_model *out, tk_err *err);
void tk_model_close(tk_model *m);

typedef struct tk_answer {
    tk_generation gen;
    int32_t *ids; // owned
    double *logprobs;
    int32_t n, cap;
    tk_buf text;
    bool hit_stop;   // a stop string
    bool hit_caller; // fn said so
} tk_answer;

void tk_answer_free(tk_answer *a);
// Generates after prompt; fn (may be NULL) sees the text as it comes.
tk_status tk_answer_make(tk_model *m, const int32_t *prompt, int32_t n_prompt, const tk_request *r,
                         tk_text_fn fn, void *ctx, const atomic_int *interrupt, tk_answer *out,
                         tk_err *err);
const char *tk_answer_finish_reason(const tk_answer *a); // "stop" or "length"

// The prompt's ids for a system message (may be NULL) and a user message, by the chat template if there is one
// and raw is false. *ids in new memory (tk_free).
tk_status tk_model_prompt(const tk_model *m, const char *system, const char *user, bool raw,
                          int32_t **ids, size_t *n, tk_err *err);

#endif
