// SPDX-License-Identifier: MIT
// The grammars asked for last, by what they were compiled from: the same schema comes with every request of a
// client, and its masks have been made already. Owner: the text thread.
#ifndef TK_SERVER_GRAMMAR_CACHE_H
#define TK_SERVER_GRAMMAR_CACHE_H

#include "text/grammar.h"

typedef struct tk_grammar_cache tk_grammar_cache;

tk_grammar_cache *tk_grammar_cache_new(void);
void tk_grammar_cache_free(tk_grammar_cache *c); // NULL is fine
// A new reference to the grammar of a schema.
tk_status tk_grammar_cache_get(tk_grammar_cache *c, const json_t *schema, const tk_grammar_opts *o,
                               tk_grammar **out, tk_err *err);

#endif
