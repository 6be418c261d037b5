// SPDX-License-Identifier: MIT
// The prefix cache: blocks that tables have given back keep their contents until the pool needs them, and are
// found again by the tokens they hold. A whole block's key is XXH3-128 over (parent's key, its tokens); the
// first one's parent is the salt. A key only says where to look: a hit compares the tokens and the very
// parent block (its serial number, never reused), so equal keys of different texts do no harm.
//
// Also the end of a text is found: of blocks with the right parent, the one that shares most leading tokens
// is copied (a block being written to must not be shared), and the rest of it is overwritten.
//
// Same owner and invariants as kv/pool.h.
#ifndef TK_KV_PREFIX_H
#define TK_KV_PREFIX_H

#include "kv/pool.h"

#include <stdbool.h>

typedef struct tk_kv_key {
    uint64_t lo, hi;
} tk_kv_key;

// Fewest tokens for which a block is copied.
enum { TK_KV_COPY_MIN_TOK = 8 };

// Continues t, whose n_tok is a multiple of the block, with what is cached of ids [n_ids], the whole
// sequence from its first token. Returns the tokens gained; t->n_tok has grown by them and is at most n_ids.
// *n_copy is 0 or 1.
int32_t tk_kv_prefix_match(tk_kv_pool *p, tk_kv_table *t, const int32_t *ids, int32_t n_ids,
                           tk_kv_copy *copy, int *n_copy);

// Makes the whole blocks of t known under ids [t->n_tok], and the tokens of its last block too when with_tail.
// Where another table has the same block already, t shares that one and gives its own back.
void tk_kv_prefix_register(tk_kv_pool *p, tk_kv_table *t, const int32_t *ids, bool with_tail);

// The key of the whole block that follows t's blocks (t->n_tok a multiple of the block) with tokens
// ids[t->n_tok ..]; false when t's last block is not known.
bool tk_kv_prefix_next_key(const tk_kv_pool *p, const tk_kv_table *t, const int32_t *ids,
                           tk_kv_key *key);
// The key that follows parent.
tk_kv_key tk_kv_key_next(const tk_kv_pool *p, tk_kv_key parent, const int32_t *ids);

// A known whole block: its serial number and key; 0 when it is not known (any more).
uint64_t tk_kv_prefix_serial(const tk_kv_pool *p, int32_t block, tk_kv_key *key);

// Forgets everything; blocks in no table become free.
void tk_kv_prefix_reset(tk_kv_pool *p);

// For tests: keys keep only this many bits, so that they collide. 1..128.
void tk_kv_prefix_weaken(tk_kv_pool *p, int n_bit);

#endif
