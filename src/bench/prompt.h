// SPDX-License-Identifier: MIT
// Prompts of a given number of tokens: random token ids where the server takes them, else random words whose
// tokens are counted by a tokenizer at hand, else words whose tokens per word are learnt from what the server
// counts. One thread.
#ifndef TK_BENCH_PROMPT_H
#define TK_BENCH_PROMPT_H

#include "base/rng.h"
#include "bench/http.h"
#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum tk_prompt_form { TK_PROMPT_AUTO, TK_PROMPT_IDS, TK_PROMPT_TEXT } tk_prompt_form;

typedef struct tk_prompt_source {
    bool ids;
    int32_t n_vocab;         // ids are drawn below it
    tk_tokenizer *tokenizer; // owned; NULL = none
    double tokens_per_word;  // words without a tokenizer: learnt
    double overhead_tokens;  // of the chat template and begin token: learnt
} tk_prompt_source;

typedef struct tk_prompt {
    int32_t *ids;  // owned; NULL = text
    char *text;    // owned; NULL = ids
    int32_t n_tok; // as meant
} tk_prompt;

// Asks the server what it takes. chat: the endpoint is a chat's, which takes text only. tokenizer: a MODEL as
// elsewhere, or NULL. n_vocab 0 = as the tokenizer or the server's list of models says, else 1000.
// TK_USAGE when ids are asked for where they cannot be.
tk_status tk_prompt_source_open(const tk_http_target *t, const char *endpoint, const char *model,
                                tk_prompt_form form, const char *tokenizer, int32_t n_vocab,
                                tk_prompt_source *out, tk_err *err);
void tk_prompt_source_close(tk_prompt_source *s); // all zero is fine

// prefix (may be NULL) comes first and counts; n_tok is of both. whole: the template's overhead counts too.
tk_status tk_prompt_make(const tk_prompt_source *s, tk_rng *rng, const tk_prompt *prefix,
                         int32_t n_tok, bool whole, tk_prompt *out, tk_err *err);
void tk_prompt_free(tk_prompt *p);
// Tokens of a text: by the tokenizer, else about 1.3 a word.
int32_t tk_prompt_count(const tk_prompt_source *s, const char *text);

#endif
