// SPDX-License-Identifier: MIT
#include "kv/kv_priv.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

// Of blocks with one parent, how many are looked at for the longest common beginning. A system prompt's
// block may have thousands of children.
enum { MAX_CHILDREN = 64 };

int32_t *kv_key_bucket(const tk_kv_pool *p, tk_kv_key key)
{
    return &p->by_key[key.lo & (uint64_t)(p->n_bucket - 1)];
}

int32_t *kv_child_bucket(const tk_kv_pool *p, uint64_t parent, uint64_t salt)
{
    const uint64_t of[2] = {parent, salt};
    return &p->by_parent[XXH3_64bits(of, sizeof of) & (uint64_t)(p->n_bucket - 1)];
}

void kv_forget(tk_kv_pool *p, int32_t block)
{
    kv_block *b = &p->blocks[block];
    if (b->n_tok == 0) return;
    if (b->n_tok == TK_KV_BLOCK_TOK) kv_remove(p, KV_LIST_KEY, kv_key_bucket(p, b->key), block);
    kv_remove(p, KV_LIST_CHILD, kv_child_bucket(p, b->parent, b->salt), block);
    b->n_tok = 0;
    b->serial = 0;
}

static tk_kv_key root_key(uint64_t salt)
{
    return (tk_kv_key){.lo = salt, .hi = 0};
}

tk_kv_key tk_kv_key_next(const tk_kv_pool *p, tk_kv_key parent, const int32_t *ids)
{
    struct {
        tk_kv_key parent;
        int32_t ids[TK_KV_BLOCK_TOK];
    } of = {.parent = parent};
    memcpy(of.ids, ids, sizeof of.ids);
    XXH128_hash_t h = XXH3_128bits(&of, sizeof of);
    return (tk_kv_key){.lo = h.low64 & p->key_mask[0], .hi = h.high64 & p->key_mask[1]};
}

// What follows block i of a table: the parent's key and serial. False when the parent is not known.
static bool parent_of(const tk_kv_pool *p, const tk_kv_table *t, int32_t i, tk_kv_key *key,
                      uint64_t *serial)
{
    if (i == 0) {
        *key = root_key(t->salt);
        *serial = 0;
        return true;
    }
    const kv_block *b = &p->blocks[t->block[i - 1]];
    if (b->n_tok != TK_KV_BLOCK_TOK) return false;
    *key = b->key;
    *serial = b->serial;
    return true;
}

bool tk_kv_prefix_next_key(const tk_kv_pool *p, const tk_kv_table *t, const int32_t *ids,
                           tk_kv_key *key)
{
    uint64_t serial;
    tk_kv_key parent;
    if (!parent_of(p, t, t->n_tok / TK_KV_BLOCK_TOK, &parent, &serial)) return false;
    *key = tk_kv_key_next(p, parent, ids + t->n_tok);
    return true;
}

uint64_t tk_kv_prefix_serial(const tk_kv_pool *p, int32_t block, tk_kv_key *key)
{
    const kv_block *b = &p->blocks[block];
    if (b->n_tok != TK_KV_BLOCK_TOK) return 0;
    *key = b->key;
    return b->serial;
}

// The known whole block with these tokens after this parent, or -1.
static int32_t find_whole(const tk_kv_pool *p, tk_kv_key key, uint64_t parent, uint64_t salt,
                          const int32_t *ids)
{
    int32_t at = *kv_key_bucket(p, key);
    for (; at >= 0; at = p->blocks[at].link[KV_LIST_KEY].next) {
        const kv_block *b = &p->blocks[at];
        if (b->key.lo == key.lo && b->key.hi == key.hi && b->parent == parent && b->salt == salt &&
            memcmp(b->ids, ids, sizeof b->ids) == 0)
            break;
    }
    return at;
}

// The known block after this parent that shares most of the first n tokens; *n_same is how many.
static int32_t find_longest(const tk_kv_pool *p, uint64_t parent, uint64_t salt, const int32_t *ids,
                            int32_t n, int32_t *n_same)
{
    int32_t best = -1, left = MAX_CHILDREN;
    *n_same = 0;
    for (int32_t at = *kv_child_bucket(p, parent, salt); at >= 0 && left > 0;
         at = p->blocks[at].link[KV_LIST_CHILD].next) {
        const kv_block *b = &p->blocks[at];
        if (b->parent != parent || b->salt != salt) continue;
        left--;
        int32_t same = 0, most = TK_MIN(n, b->n_tok);
        while (same < most && b->ids[same] == ids[same]) same++;
        if (same > *n_same) {
            *n_same = same;
            best = at;
        }
    }
    return best;
}

// The block that begins like ids, copied to one of t's own.
static int32_t copy_tail(tk_kv_pool *p, tk_kv_table *t, uint64_t parent, const int32_t *ids,
                         int32_t n, tk_kv_copy *copy, int *n_copy)
{
    int32_t n_same, from = find_longest(p, parent, t->salt, ids, n, &n_same);
    if (n_same < TK_KV_COPY_MIN_TOK) return 0;
    kv_ref(p, from); // not to be given up for the copy
    int32_t to = kv_take(p);
    kv_unref(p, from);
    if (to < 0) return 0;
    kv_table_grow(t, t->n_block + 1);
    t->block[t->n_block++] = to;
    t->n_tok += n_same;
    *copy = (tk_kv_copy){.from = from, .to = to};
    *n_copy = 1;
    return n_same;
}

int32_t tk_kv_prefix_match(tk_kv_pool *p, tk_kv_table *t, const int32_t *ids, int32_t n_ids,
                           tk_kv_copy *copy, int *n_copy)
{
    int32_t begin = t->n_tok;
    *n_copy = 0;
    if (begin % TK_KV_BLOCK_TOK != 0 || begin >= n_ids) return 0;
    tk_kv_table_truncate(p, t, begin); // room reserved beyond it is not needed yet
    tk_kv_key parent;
    uint64_t serial;
    if (!parent_of(p, t, t->n_block, &parent, &serial)) return 0;
    while (t->n_tok + TK_KV_BLOCK_TOK <= n_ids) {
        tk_kv_key key = tk_kv_key_next(p, parent, ids + t->n_tok);
        int32_t found = find_whole(p, key, serial, t->salt, ids + t->n_tok);
        if (found < 0) break;
        kv_ref(p, found);
        kv_table_grow(t, t->n_block + 1);
        t->block[t->n_block++] = found;
        t->n_tok += TK_KV_BLOCK_TOK;
        if (t->n_known == t->n_block - 1) t->n_known++;
        parent = key;
        serial = p->blocks[found].serial;
    }
    copy_tail(p, t, serial, ids + t->n_tok, n_ids - t->n_tok, copy, n_copy);
    return t->n_tok - begin;
}

static void learn(tk_kv_pool *p, int32_t block, uint64_t parent, uint64_t salt, const int32_t *ids,
                  int32_t n_tok)
{
    kv_block *b = &p->blocks[block];
    if (b->n_tok > 0 && (b->parent != parent || b->salt != salt)) kv_forget(p, block);
    if (b->n_tok == 0) {
        b->serial = ++p->next_serial;
        b->parent = parent;
        b->salt = salt;
        kv_push(p, KV_LIST_CHILD, kv_child_bucket(p, parent, salt), block);
    }
    memcpy(b->ids, ids, (size_t)n_tok * sizeof *ids);
    b->n_tok = n_tok;
}

static void register_whole(tk_kv_pool *p, tk_kv_table *t, int32_t i, const int32_t *ids)
{
    tk_kv_key parent;
    uint64_t serial;
    int32_t block = t->block[i];
    if (p->blocks[block].n_tok == TK_KV_BLOCK_TOK) return; // came out of the cache
    if (!parent_of(p, t, i, &parent, &serial)) return;     // forgotten by a reset
    tk_kv_key key = tk_kv_key_next(p, parent, ids);
    int32_t same = find_whole(p, key, serial, t->salt, ids);
    if (same >= 0) { // made twice at the same time: keep the first
        kv_ref(p, same);
        if (p->blocks[block].n_ref == 1) kv_forget(p, block);
        kv_unref(p, block);
        t->block[i] = same;
        return;
    }
    learn(p, block, serial, t->salt, ids, TK_KV_BLOCK_TOK);
    p->blocks[block].key = key;
    kv_push(p, KV_LIST_KEY, kv_key_bucket(p, key), block);
}

static void register_tail(tk_kv_pool *p, tk_kv_table *t, const int32_t *ids, int32_t n)
{
    tk_kv_key parent;
    uint64_t serial;
    int32_t i = t->n_tok / TK_KV_BLOCK_TOK, n_same;
    if (p->blocks[t->block[i]].n_tok >= n || !parent_of(p, t, i, &parent, &serial)) return;
    if (find_longest(p, serial, t->salt, ids, n, &n_same) >= 0 && n_same == n) return;
    learn(p, t->block[i], serial, t->salt, ids, n);
}

void tk_kv_prefix_register(tk_kv_pool *p, tk_kv_table *t, const int32_t *ids, bool with_tail)
{
    for (; t->n_known < t->n_tok / TK_KV_BLOCK_TOK; t->n_known++)
        register_whole(p, t, t->n_known, ids + (size_t)t->n_known * TK_KV_BLOCK_TOK);
    int32_t n = t->n_tok % TK_KV_BLOCK_TOK;
    if (with_tail && n > 0) register_tail(p, t, ids + t->n_tok - n, n);
}

void tk_kv_prefix_reset(tk_kv_pool *p)
{
    for (int32_t i = 0; i < p->n_block; i++) kv_forget(p, i);
    while (p->lru_old >= 0) {
        int32_t block = p->lru_old;
        kv_ref(p, block);
        kv_unref(p, block); // to the free ones, as it is not known
    }
}

void tk_kv_prefix_weaken(tk_kv_pool *p, int n_bit)
{
    for (int i = 0; i < 2; i++) {
        int n = TK_MAX(0, TK_MIN(64, n_bit - 64 * i));
        p->key_mask[i] = n == 64 ? UINT64_MAX : ((uint64_t)1 << n) - 1;
    }
}
