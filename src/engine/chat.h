// SPDX-License-Identifier: MIT
// From a conversation to the prompt's token ids: the model's own chat template, its special tokens, its
// tokenizer. Not changed after opening: any thread may use it.
#ifndef TK_ENGINE_CHAT_H
#define TK_ENGINE_CHAT_H

#include "base/status.h"
#include "store/checkpoint.h"
#include "text/tokenizer.h"

#include <jansson.h>

typedef struct tk_chat tk_chat;

// *out = NULL and TK_OK when the model has no chat template. The tokenizer must outlive it.
tk_status tk_chat_open(const tk_ckpt *ckpt, const tk_tokenizer *t, tk_chat **out, tk_err *err);
void tk_chat_free(tk_chat *c); // NULL is fine
// messages: a JSON array of {role, content}. *ids in new memory (tk_free).
tk_status tk_chat_prompt(const tk_chat *c, const json_t *messages, int32_t **ids, size_t *n,
                         tk_err *err);
// Adds the special tokens ("bos_token": "<s>", ...) to a template's context.
void tk_chat_add_special(const tk_tokenizer *t, json_t *context);

#endif
