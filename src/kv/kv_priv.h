// SPDX-License-Identifier: MIT
// What the files of kv/ share.
#ifndef TK_KV_KV_PRIV_H
#define TK_KV_KV_PRIV_H

#include "kv/prefix.h"

// Lists run through the blocks by number; -1 ends them.
enum { KV_LIST_KEY, KV_LIST_CHILD, KV_LIST_LRU, KV_LIST_COUNT };

typedef struct kv_link {
    int32_t prev, next;
} kv_link;

typedef struct kv_block {
    int32_t n_ref;
    int32_t n_tok;   // tokens it is known under, 0 = not known
    uint64_t serial; // while known; never reused
    uint64_t parent; // serial of the block before it, 0 = first of its sequence
    uint64_t salt;
    tk_kv_key key; // whole blocks
    kv_link link[KV_LIST_COUNT];
    int32_t ids[TK_KV_BLOCK_TOK];
} kv_block;

struct tk_kv_pool {
    int32_t n_block, n_free, n_cached;
    int32_t *free_; // stack of free block numbers
    kv_block *blocks;
    uint64_t next_serial;
    uint64_t key_mask[2];
    int32_t n_bucket;         // power of two
    int32_t *by_key;          // [n_bucket] whole known blocks by key
    int32_t *by_parent;       // [n_bucket] known blocks by parent
    int32_t lru_new, lru_old; // cached blocks, by when they were given back
};

// A block with n_ref = 1 that holds nothing; gives up the oldest cached one if need be. -1 = none.
int32_t kv_take(tk_kv_pool *p);
void kv_ref(tk_kv_pool *p, int32_t block);
void kv_unref(tk_kv_pool *p, int32_t block);
// Takes the block out of the cache's lists.
void kv_forget(tk_kv_pool *p, int32_t block);
void kv_push(tk_kv_pool *p, int list, int32_t *head, int32_t block);
void kv_remove(tk_kv_pool *p, int list, int32_t *head, int32_t block);
void kv_table_grow(tk_kv_table *t, int32_t n_block);
int32_t *kv_key_bucket(const tk_kv_pool *p, tk_kv_key key);
int32_t *kv_child_bucket(const tk_kv_pool *p, uint64_t parent, uint64_t salt);

#endif
