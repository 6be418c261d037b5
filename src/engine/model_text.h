// SPDX-License-Identifier: MIT
// The text side of a model: its tokenizer and its chat template, wherever the files keep them.
#ifndef TK_ENGINE_MODEL_TEXT_H
#define TK_ENGINE_MODEL_TEXT_H

#include "base/status.h"
#include "store/checkpoint.h"
#include "text/tokenizer.h"

// The tokenizer of a path as tk_locate gives it: folder, tokenizer-only folder, .gguf, vocabulary-only .gguf.
tk_status tk_model_tokenizer(const char *path, tk_tokenizer **out, tk_err *err);
// The same for a checkpoint that is open already.
tk_status tk_ckpt_tokenizer(const tk_ckpt *ckpt, tk_tokenizer **out, tk_err *err);

// The chat template's source in new memory (tk_free); *out = NULL when there is none. with_tools prefers a
// template named tool_use. Order: chat_template.jinja, tokenizer_config.json (text or named list), GGUF.
tk_status tk_ckpt_chat_template(const tk_ckpt *ckpt, bool with_tools, char **out, tk_err *err);

// TK_BAD_INPUT when the tokenizer has ids that a model of n_vocab tokens has not.
tk_status tk_tokenizer_check_fit(const tk_tokenizer *t, int32_t n_vocab, tk_err *err);

#endif
