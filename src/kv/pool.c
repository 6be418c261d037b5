// SPDX-License-Identifier: MIT
#include "kv/kv_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

tk_kv_pool *tk_kv_pool_new(int32_t n_block)
{
    tk_kv_pool *p = tk_alloc(sizeof *p);
    p->n_block = p->n_free = n_block;
    p->free_ = tk_alloc((size_t)n_block * sizeof *p->free_);
    for (int32_t i = 0; i < n_block; i++) p->free_[i] = n_block - 1 - i; // lowest number first
    p->blocks = tk_alloc((size_t)n_block * sizeof *p->blocks);
    p->n_bucket = 16;
    while (p->n_bucket < n_block) p->n_bucket *= 2;
    p->by_key = tk_alloc((size_t)p->n_bucket * sizeof *p->by_key);
    p->by_parent = tk_alloc((size_t)p->n_bucket * sizeof *p->by_parent);
    memset(p->by_key, -1, (size_t)p->n_bucket * sizeof *p->by_key);
    memset(p->by_parent, -1, (size_t)p->n_bucket * sizeof *p->by_parent);
    p->lru_new = p->lru_old = -1;
    p->key_mask[0] = p->key_mask[1] = UINT64_MAX;
    return p;
}

void tk_kv_pool_free(tk_kv_pool *p)
{
    if (p == NULL) return;
    tk_free(p->free_);
    tk_free(p->blocks);
    tk_free(p->by_key);
    tk_free(p->by_parent);
    tk_free(p);
}

int32_t tk_kv_pool_count(const tk_kv_pool *p)
{
    return p->n_block;
}

int32_t tk_kv_pool_free_count(const tk_kv_pool *p)
{
    return p->n_free;
}

int32_t tk_kv_pool_cached_count(const tk_kv_pool *p)
{
    return p->n_cached;
}

int32_t tk_kv_pool_refs(const tk_kv_pool *p, int32_t block)
{
    return p->blocks[block].n_ref;
}

int32_t tk_kv_blocks_for(int32_t n_tok)
{
    return n_tok / TK_KV_BLOCK_TOK + (n_tok % TK_KV_BLOCK_TOK != 0);
}

void kv_push(tk_kv_pool *p, int list, int32_t *head, int32_t block)
{
    p->blocks[block].link[list] = (kv_link){.prev = -1, .next = *head};
    if (*head >= 0) p->blocks[*head].link[list].prev = block;
    *head = block;
}

void kv_remove(tk_kv_pool *p, int list, int32_t *head, int32_t block)
{
    kv_link l = p->blocks[block].link[list];
    if (l.prev >= 0)
        p->blocks[l.prev].link[list].next = l.next;
    else
        *head = l.next;
    if (l.next >= 0) p->blocks[l.next].link[list].prev = l.prev;
}

static void leave_lru(tk_kv_pool *p, int32_t block)
{
    if (p->lru_old == block) p->lru_old = p->blocks[block].link[KV_LIST_LRU].prev;
    kv_remove(p, KV_LIST_LRU, &p->lru_new, block);
    p->n_cached--;
}

void kv_ref(tk_kv_pool *p, int32_t block)
{
    if (p->blocks[block].n_ref++ == 0) leave_lru(p, block);
}

void kv_unref(tk_kv_pool *p, int32_t block)
{
    kv_block *b = &p->blocks[block];
    assert(b->n_ref > 0);
    if (--b->n_ref > 0) return;
    if (b->n_tok == 0) {
        p->free_[p->n_free++] = block;
        return;
    }
    kv_push(p, KV_LIST_LRU, &p->lru_new, block);
    if (p->lru_old < 0) p->lru_old = block;
    p->n_cached++;
}

int32_t kv_take(tk_kv_pool *p)
{
    if (p->n_free == 0 && p->lru_old >= 0) {
        int32_t oldest = p->lru_old;
        leave_lru(p, oldest);
        kv_forget(p, oldest);
        p->free_[p->n_free++] = oldest;
    }
    if (p->n_free == 0) return -1;
    int32_t block = p->free_[--p->n_free];
    assert(p->blocks[block].n_ref == 0 && p->blocks[block].n_tok == 0);
    p->blocks[block].n_ref = 1;
    return block;
}

void kv_table_grow(tk_kv_table *t, int32_t n_block)
{
    if (n_block <= t->cap) return;
    t->cap = TK_MAX(n_block, t->cap * 2);
    t->block = tk_realloc(t->block, (size_t)t->cap * sizeof *t->block);
}

tk_status tk_kv_table_reserve(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok, tk_err *err)
{
    int32_t want = tk_kv_blocks_for(n_tok), missing = want - t->n_block;
    if (missing <= 0) return TK_OK;
    if (missing > p->n_free + p->n_cached)
        return tk_fail(err, TK_NOMEM,
                       "the KV cache is full: %d tokens need %d blocks of %d, this sequence has %d "
                       "and %d of %d "
                       "are free",
                       n_tok, want, TK_KV_BLOCK_TOK, t->n_block, p->n_free + p->n_cached,
                       p->n_block);
    kv_table_grow(t, want);
    while (t->n_block < want) t->block[t->n_block++] = kv_take(p);
    return TK_OK;
}

// From the last block to the first: a block is then never older in the LRU list than those that follow it,
// and is given up after them, when nothing can be found through it any more.
void tk_kv_table_truncate(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok)
{
    assert(n_tok >= 0 && n_tok <= t->n_tok);
    t->n_tok = n_tok;
    t->n_known = TK_MIN(t->n_known, n_tok / TK_KV_BLOCK_TOK);
    int32_t keep = tk_kv_blocks_for(n_tok);
    while (t->n_block > keep) kv_unref(p, t->block[--t->n_block]);
}

void tk_kv_table_clear(tk_kv_pool *p, tk_kv_table *t)
{
    tk_kv_table_truncate(p, t, 0);
    tk_free(t->block);
    *t = (tk_kv_table){0};
}

void tk_kv_table_fork(tk_kv_pool *p, const tk_kv_table *from, tk_kv_table *to)
{
    int32_t n = tk_kv_blocks_for(from->n_tok);
    assert(to->n_block == 0);
    kv_table_grow(to, n);
    for (int32_t i = 0; i < n; i++) {
        to->block[i] = from->block[i];
        kv_ref(p, to->block[i]);
    }
    to->n_block = n;
    to->n_tok = from->n_tok;
    to->n_known = from->n_known;
    to->salt = from->salt;
}

tk_status tk_kv_table_own(tk_kv_pool *p, tk_kv_table *t, tk_kv_copy *copy, int *n_copy, tk_err *err)
{
    int32_t i = t->n_tok / TK_KV_BLOCK_TOK, row = t->n_tok % TK_KV_BLOCK_TOK;
    *n_copy = 0;
    if (row == 0) return TK_OK; // the next token begins a block of its own
    kv_block *b = &p->blocks[t->block[i]];
    if (b->n_ref == 1) {
        if (b->n_tok > row) kv_forget(p, t->block[i]);
        return TK_OK;
    }
    int32_t to = kv_take(p);
    if (to < 0)
        return tk_fail(err, TK_NOMEM,
                       "the KV cache is full: a shared block must be copied and none of %d is free",
                       p->n_block);
    *copy = (tk_kv_copy){.from = t->block[i], .to = to};
    *n_copy = 1;
    kv_unref(p, t->block[i]);
    t->block[i] = to;
    return TK_OK;
}
