// SPDX-License-Identifier: MIT
// Ends an answer's reasoning after a number of tokens, by leaving the model nothing else to write than the end
// mark; passes a grammar through. Made on the text thread, used on the engine's.
#ifndef TK_SERVER_BUDGET_H
#define TK_SERVER_BUDGET_H

#include "engine/service.h"
#include "text/grammar.h"
#include "text/reasoning.h"

typedef struct tk_budget tk_budget;

// open: the prompt has begun the reasoning. inner: NULL = any text; borrowed.
tk_budget *tk_budget_new(const tk_tokenizer *t, const tk_reasoning_marks *marks, bool open,
                         int64_t n_tok, tk_grammar_run *inner);
void tk_budget_free(tk_budget *b); // NULL is fine
tk_job_grammar tk_budget_grammar(tk_budget *b);

#endif
