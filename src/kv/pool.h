// SPDX-License-Identifier: MIT
// KV blocks, bookkeeping only: which block of the cache belongs to which sequence. A block holds
// TK_KV_BLOCK_TOK tokens of every layer; where its bytes are is exec's matter. Owner: engine thread.
//
// Invariants: (1) a block is free or owned by exactly one table; (2) free + owned = n_block.
// Guarded by tests/unit/test_kv_pool.c.
#ifndef TK_KV_POOL_H
#define TK_KV_POOL_H

#include "base/status.h"

#include <stdint.h>

enum { TK_KV_BLOCK_TOK = 64 };

typedef struct tk_kv_pool tk_kv_pool;

// The blocks of one sequence, in order: token i lies in block[i / TK_KV_BLOCK_TOK].
typedef struct tk_kv_table {
    int32_t *block; // n_block
    int32_t n_block, cap;
    int32_t n_tok; // tokens written
} tk_kv_table;

tk_kv_pool *tk_kv_pool_new(int32_t n_block); // never NULL
void tk_kv_pool_free(tk_kv_pool *p);         // NULL is fine
int32_t tk_kv_pool_free_count(const tk_kv_pool *p);
int32_t tk_kv_pool_count(const tk_kv_pool *p);
// Makes room for n_tok tokens in all; TK_NOMEM (table unchanged) when the pool has too few blocks.
tk_status tk_kv_table_reserve(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok, tk_err *err);
// Gives back what n_tok tokens do not need and forgets the tokens after them (n_tok <= t->n_tok).
void tk_kv_table_truncate(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok);
// Gives everything back; t can be used again.
void tk_kv_table_clear(tk_kv_pool *p, tk_kv_table *t);

#endif
