// SPDX-License-Identifier: MIT
#include "kv/pool.h"

#include "base/mem.h"

#include <assert.h>

struct tk_kv_pool {
    int32_t n_block, n_free;
    int32_t *free_; // stack of free block numbers
};

tk_kv_pool *tk_kv_pool_new(int32_t n_block)
{
    tk_kv_pool *p = tk_alloc(sizeof *p);
    p->n_block = p->n_free = n_block;
    p->free_ = tk_alloc((size_t)n_block * sizeof *p->free_);
    for (int32_t i = 0; i < n_block; i++) p->free_[i] = n_block - 1 - i; // lowest number first
    return p;
}

void tk_kv_pool_free(tk_kv_pool *p)
{
    if (p == NULL) return;
    tk_free(p->free_);
    tk_free(p);
}

int32_t tk_kv_pool_free_count(const tk_kv_pool *p)
{
    return p->n_free;
}

int32_t tk_kv_pool_count(const tk_kv_pool *p)
{
    return p->n_block;
}

static int32_t blocks_for(int32_t n_tok)
{
    return (n_tok + TK_KV_BLOCK_TOK - 1) / TK_KV_BLOCK_TOK;
}

tk_status tk_kv_table_reserve(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok, tk_err *err)
{
    int32_t want = blocks_for(n_tok), missing = want - t->n_block;
    if (missing <= 0) return TK_OK;
    if (missing > p->n_free)
        return tk_fail(err, TK_NOMEM,
                       "the KV cache is full: %d tokens need %d blocks of %d, this sequence has %d "
                       "and %d of %d "
                       "are free",
                       n_tok, want, TK_KV_BLOCK_TOK, t->n_block, p->n_free, p->n_block);
    if (want > t->cap) {
        t->cap = TK_MAX(want, t->cap * 2);
        t->block = tk_realloc(t->block, (size_t)t->cap * sizeof *t->block);
    }
    while (t->n_block < want) t->block[t->n_block++] = p->free_[--p->n_free];
    return TK_OK;
}

void tk_kv_table_truncate(tk_kv_pool *p, tk_kv_table *t, int32_t n_tok)
{
    assert(n_tok >= 0 && n_tok <= t->n_tok);
    t->n_tok = n_tok;
    int32_t keep = blocks_for(n_tok);
    while (t->n_block > keep) p->free_[p->n_free++] = t->block[--t->n_block];
}

void tk_kv_table_clear(tk_kv_pool *p, tk_kv_table *t)
{
    tk_kv_table_truncate(p, t, 0);
    tk_free(t->block);
    *t = (tk_kv_table){0};
}
