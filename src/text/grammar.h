// SPDX-License-Identifier: MIT
// What a model may write next, when what it writes must be JSON of a given schema: a mask over the vocabulary
// for each step. A grammar is compiled once (docs/structured-output.md has the method and its bounds) and
// shared by the answers that follow it; what it remembers while being followed is its own, so all runs of a
// grammar belong to one thread. Compiling, and counting references, may happen on any thread.
//
// Invariants (tests/unit/test_text_grammar.c)
//  1. Whatever is drawn from the masks until only end tokens are left is JSON that the schema allows.
//  2. A mask is never empty: from every state the end can be reached.
#ifndef TK_TEXT_GRAMMAR_H
#define TK_TEXT_GRAMMAR_H

#include "base/status.h"
#include "text/token_trie.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct tk_grammar tk_grammar;

typedef struct tk_grammar_opts {
    // The answer may begin with reasoning, which is free text up to reason_end. NULL = none.
    const char *reason_begin, *reason_end;
    bool reasoning_open; // the prompt has begun it: it must be ended
    // The answer is free text in which trigger JSON after may stand any number of times. NULL = it is JSON.
    const char *trigger, *after;
} tk_grammar_opts;

// schema: JSON Schema, or true for any JSON. TK_BAD_INPUT, TK_UNSUPPORTED: the story names the keyword or bound.
tk_status tk_grammar_compile(const json_t *schema, const tk_grammar_opts *o, tk_grammar **out,
                             tk_err *err);
tk_grammar *tk_grammar_ref(tk_grammar *g);
void tk_grammar_unref(tk_grammar *g); // NULL is fine

typedef struct tk_grammar_run tk_grammar_run;
// One answer. trie outlives it; end [n_end] is copied; the run holds a reference. The grammar's memory is only
// touched by mask and accept.
tk_grammar_run *tk_grammar_run_new(tk_grammar *g, const tk_token_trie *trie, const int32_t *end,
                                   int n_end);
void tk_grammar_run_free(tk_grammar_run *r); // NULL is fine
// Writes every word of bits [ceil(n_vocab / 64)]. The forms of tk_job_grammar.
void tk_grammar_run_mask(void *run, uint64_t *bits, int32_t n_vocab);
void tk_grammar_run_accept(void *run, int32_t id);
bool tk_grammar_run_may_end(tk_grammar_run *r);
// True when the whole text follows the grammar (tests).
bool tk_grammar_matches(tk_grammar *g, const char *text, size_t len);

#endif
