// SPDX-License-Identifier: MIT
// KV blocks, bookkeeping only: which block of the cache belongs to which sequences, and which holds a prefix
// worth keeping (kv/prefix.h). A block holds TK_KV_BLOCK_TOK tokens of every layer; where its bytes are is
// exec's matter, and what must be copied is handed to the caller. Nothing is allocated after tk_kv_pool_new
// but a table's own list. Owner: engine thread. docs/kv-cache.md has the drawing.
//
//             take                    last unref, known               last unref, unknown
//     free ----------> used (n_ref > 0) --------------> cached (LRU)      used -------> free
//                        ^                                 |
//                        +---------------------------------+  match: n_ref = 1
//     cached ----------> used by another (evicted: forgotten first)
//
// Invariants, each guarded by tests/unit/test_kv_property.c under random use:
//  1. A block is free, cached or used, and free + cached + used = n_block: none is lost.
//  2. n_ref of a block is the number of tables it stands in; a block with n_ref > 0 is never handed out.
//  3. A block stands in two tables only when both have the same tokens up to its end.
//  4. A match gives rows whose tokens, from the sequence's first, are those asked for, whatever hashes say.
//  5. Rows are written only in a block with n_ref = 1, past what is registered (tk_kv_table_own).
//  6. A failed call has changed nothing.
#ifndef TK_KV_POOL_H
#define TK_KV_POOL_H

#include "base/status.h"

#include <stdint.h>

// A multiple of exec's K tile and of every format's group; 64 rows of R1's latent cache are 4.3 MiB over 61
// layers in BF16: large enough for a disk read, small enough that a shared prefix loses few tokens.
enum { TK_KV_BLOCK_TOK = 64 };

typedef struct tk_kv_pool tk_kv_pool;

// The blocks of one sequence, in order: token i lies in block[i / TK_KV_BLOCK_TOK]. All zero is empty.
typedef struct tk_kv_table {
    int32_t *block; // n_block
    int32_t n_block, cap;
    int32_t n_tok;   // tokens written
    int32_t n_known; // leading whole blocks that tk_kv_prefix_register has seen
    uint64_t salt;   // prefixes are shared between tables of one salt; set while the table is empty
} tk_kv_table;

// Block `to` must get the bytes of block `from` before the pool is used again.
typedef struct tk_kv_copy {
    int32_t from, to;
} tk_kv_copy;

tk_kv_pool *tk_kv_pool_new(int32_t n_block); // never NULL
void tk_kv_pool_free(tk_kv_pool *p);         // NULL is fine
int32_t tk_kv_pool_count(const tk_kv_pool *p);
int32_t tk_kv_pool_free_count(const tk_kv_pool *p);   // hold nothing
int32_t tk_kv_pool_cached_count(const tk_kv_pool *p); // in no table, kept for their contents
int32_t tk_kv_pool_refs(const tk_kv_pool *p, int32_t block);
// Blocks that n_tok tokens take.
int32_t tk_kv_blocks_for(int32_t n_tok);

// Makes room for n_tok tokens in all, giving up cached blocks, the longest unused first; TK_NOMEM (table
// unchanged) when the pool has too few.
tk_status tk_kv_table_reserve(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok, tk_err *err);
// Gives back what n_tok tokens do not need and forgets the tokens after them (n_tok <= t->n_tok).
void tk_kv_table_truncate(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok);
// Gives everything back; t can be used again.
void tk_kv_table_clear(tk_kv_pool *p, tk_kv_table *t);
// *to (empty) becomes a second sequence with the same tokens, sharing every block.
void tk_kv_table_fork(tk_kv_pool *p, const tk_kv_table *from, tk_kv_table *to);
// Copy on write: makes the block that token n_tok will be written to t's alone. Needed before writing to a
// table that was forked, or truncated. *n_copy is 0 or 1. TK_NOMEM when that takes a block and there is none.
tk_status tk_kv_table_own(tk_kv_pool *p, tk_kv_table *t, tk_kv_copy *copy, int *n_copy,
                          tk_err *err);

#endif
