// SPDX-License-Identifier: MIT
// Splits a stream of generated text into the model's reasoning and its answer, at markers such as <think> and
// </think>. What could still become a marker is held back; markers themselves are never shown. Line ends
// around the markers belong to neither side. One owner.
#ifndef TK_TEXT_REASONING_H
#define TK_TEXT_REASONING_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct tk_reasoning_marks {
    const char *begin, *end;
} tk_reasoning_marks;

// By a parser's name ("deepseek_r1", "qwen3", "think", "mistral"), or NULL.
const tk_reasoning_marks *tk_reasoning_by_name(const char *name);
// The marks a chat template's text speaks of, or NULL.
const tk_reasoning_marks *tk_reasoning_of_template(const char *source);
// True when a rendered prompt ends inside an open reasoning.
bool tk_reasoning_is_open_in(const tk_reasoning_marks *m, const char *prompt, size_t len);

typedef struct tk_reasoning {
    const tk_reasoning_marks *marks;
    enum { TK_REASONING_START, TK_REASONING_IN, TK_REASONING_AFTER, TK_REASONING_CONTENT } state;
    bool shown; // some reasoning has been shown
    tk_buf held;
} tk_reasoning;

typedef void (*tk_reasoning_fn)(void *ctx, bool is_reasoning, const char *text, size_t len);

// marks NULL: everything is content. open: the prompt has opened the reasoning.
void tk_reasoning_init(tk_reasoning *r, const tk_reasoning_marks *marks, bool open);
void tk_reasoning_free(tk_reasoning *r);
void tk_reasoning_push(tk_reasoning *r, const char *text, size_t len, tk_reasoning_fn fn,
                       void *ctx);
void tk_reasoning_flush(tk_reasoning *r, tk_reasoning_fn fn, void *ctx); // the end of the stream

#endif
