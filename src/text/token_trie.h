// SPDX-License-Identifier: MIT
// A vocabulary as a tree of bytes, so that a grammar looks at shared beginnings once. Made once per model;
// not changed afterwards, any thread may read it.
#ifndef TK_TEXT_TOKEN_TRIE_H
#define TK_TEXT_TOKEN_TRIE_H

#include "text/tokenizer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_token_node { // in depth-first order
    int32_t skip;              // index of the next node that is not below this one
    int32_t token;             // first token that ends here, -1 = none; more through same[]
    uint16_t depth;            // of the byte, from 1
    uint8_t byte;
} tk_token_node;

typedef struct tk_token_tree {
    tk_token_node *node;
    int32_t n_node;
} tk_token_tree;

typedef struct tk_token_trie {
    tk_token_tree all;
    // Most tokens are plain: whole characters that stand for themselves in a JSON string. Where any such text
    // may follow, a mask is these tokens and a walk over the tree of the others.
    tk_token_tree odd;
    uint64_t *plain;    // [ceil(n_vocab / 64)]
    int32_t *by_length; // [n_plain] plain tokens, those of most characters first
    int32_t *n_char;    // [n_vocab] of plain tokens
    int32_t n_plain;
    int32_t n_vocab;
    int32_t *same;   // [n_vocab] another token of the same bytes, -1 = none
    uint32_t *start; // [n_vocab + 1] of each token's bytes
    uint8_t *bytes;
    int max_depth;
} tk_token_trie;

// Ordinary and byte tokens, those that users have added, and of the control tokens only those whose text is
// one of also[n].
tk_token_trie *tk_token_trie_new(const tk_tokenizer *t, const char *const *also, int n);
void tk_token_trie_free(tk_token_trie *t); // NULL is fine

#endif
