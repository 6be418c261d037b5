// SPDX-License-Identifier: MIT
// From a conversation to the prompt's token ids: the model's own chat template, its special tokens, its
// tokenizer. Not changed after opening: any thread may use it.
#ifndef TK_ENGINE_CHAT_H
#define TK_ENGINE_CHAT_H

#include "base/buf.h"
#include "base/status.h"
#include "store/checkpoint.h"
#include "text/tokenizer.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct tk_chat tk_chat;

// *out = NULL and TK_OK when the model has no chat template. The tokenizer must outlive it.
tk_status tk_chat_open(const tk_ckpt *ckpt, const tk_tokenizer *t, tk_chat **out, tk_err *err);
void tk_chat_free(tk_chat *c); // NULL is fine
// messages: a JSON array of {role, content}. *ids in new memory (tk_free).
tk_status tk_chat_prompt(const tk_chat *c, const json_t *messages, int32_t **ids, size_t *n,
                         tk_err *err);
typedef struct tk_chat_request {
    const json_t *messages;     // list of objects, as the template wants them
    const json_t *tools;        // list, or NULL
    const json_t *kwargs;       // object: more names for the template, or NULL
    bool add_generation_prompt; // the answer's beginning
} tk_chat_request;

// The prompt's text, appended to out. A template of its own for tools is taken when there are tools and one.
tk_status tk_chat_render(const tk_chat *c, const tk_chat_request *r, tk_buf *out, tk_err *err);
// The source of the template that tk_chat_render would take.
const char *tk_chat_source(const tk_chat *c, bool with_tools);
// Adds the special tokens ("bos_token": "<s>", ...) to a template's context.
void tk_chat_add_special(const tk_tokenizer *t, json_t *context);

#endif
