// SPDX-License-Identifier: MIT
#include "text/token_trie.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const uint8_t *s;
    uint32_t len;
    int32_t id;
} entry;

static int by_bytes(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    int c = memcmp(x->s, y->s, TK_MIN(x->len, y->len));
    if (c) return c;
    if (x->len != y->len) return x->len < y->len ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static bool is_wanted(const tk_tokenizer *t, int32_t id, const char *const *also, int n,
                      const char *s, size_t len)
{
    tk_token_kind kind = tk_tokenizer_kind(t, id);
    if (kind == TK_TOKEN_NORMAL || kind == TK_TOKEN_BYTE || kind == TK_TOKEN_USER) return true;
    for (int i = 0; kind == TK_TOKEN_CONTROL && i < n; i++)
        if (strlen(also[i]) == len && memcmp(also[i], s, len) == 0) return true;
    return false;
}

static void collect_bytes(tk_token_trie *t, const tk_tokenizer *tok, const char *const *also, int n)
{
    tk_buf all = tk_buf_make((size_t)1 << 30), one = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    for (int32_t id = 0; id < t->n_vocab; id++) {
        t->start[id] = (uint32_t)all.len;
        tk_buf_clear(&one);
        if (tk_tokenizer_token_bytes(tok, id, &one) && !one.failed &&
            is_wanted(tok, id, also, n, one.data, one.len))
            tk_buf_add(&all, one.data, one.len);
    }
    t->start[t->n_vocab] = (uint32_t)all.len;
    tk_buf_free(&one);
    t->bytes = (uint8_t *)tk_buf_take(&all);
}

static void add_node(tk_token_trie *t, tk_token_tree *tree, size_t *cap, uint8_t byte,
                     uint32_t depth)
{
    if ((size_t)tree->n_node == *cap) {
        *cap = *cap ? *cap * 2 : 4096;
        tree->node = tk_realloc(tree->node, *cap * sizeof *tree->node);
    }
    tree->node[tree->n_node++] =
        (tk_token_node){.token = -1, .depth = (uint16_t)depth, .byte = byte};
    if ((int)depth > t->max_depth) t->max_depth = (int)depth;
}

static bool is_plain(const tk_token_trie *t, int32_t id)
{
    return t->plain[id / 64] >> (id % 64) & 1;
}

// Sorted entries in a row: what an entry shares with the one before it is there already.
static void add_entries(tk_token_trie *t, tk_token_tree *tree, const entry *e, size_t n,
                        bool odd_only)
{
    size_t cap = 0;
    int32_t *path = tk_alloc((TK_LIMIT_TOKEN_BYTES + 1) * sizeof *path); // node at each depth
    uint32_t depth = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t shared = 0;
        if (odd_only && is_plain(t, e[i].id)) continue;
        while (shared < depth && shared < e[i].len &&
               tree->node[path[shared + 1]].byte == e[i].s[shared])
            shared++;
        for (; depth > shared; depth--) tree->node[path[depth]].skip = tree->n_node;
        for (; depth < e[i].len; depth++) {
            path[depth + 1] = tree->n_node;
            add_node(t, tree, &cap, e[i].s[depth], depth + 1);
        }
        tk_token_node *last = &tree->node[path[depth]];
        t->same[e[i].id] = last->token;
        last->token = e[i].id;
    }
    for (; depth > 0; depth--) tree->node[path[depth]].skip = tree->n_node;
    tk_free(path);
}

// Characters of a plain text; -1 when it is none.
static int32_t plain_length(const uint8_t *s, size_t len)
{
    int32_t n = 0;
    for (size_t i = 0; i < len; n++) {
        uint32_t cp;
        size_t k = tk_utf8_read((const char *)s + i, len - i, &cp, NULL);
        if (k == 0 || cp < 0x20 || cp == '"' || cp == '\\') return -1;
        i += k;
    }
    return n;
}

static int by_chars(const void *a, const void *b)
{
    const int64_t *x = a, *y = b; // characters << 32 | id
    return *x > *y ? -1 : *x < *y;
}

static void find_plain(tk_token_trie *t, const entry *e, size_t n)
{
    int64_t *order = tk_alloc(n * sizeof *order + 1);
    for (size_t i = 0; i < n; i++) {
        int32_t chars = plain_length(e[i].s, e[i].len);
        if (chars < 0) continue;
        t->plain[e[i].id / 64] |= (uint64_t)1 << (e[i].id % 64);
        t->n_char[e[i].id] = chars;
        order[t->n_plain++] = (int64_t)chars << 32 | e[i].id;
    }
    qsort(order, (size_t)t->n_plain, sizeof *order, by_chars);
    t->by_length = tk_alloc((size_t)t->n_plain * sizeof *t->by_length + 1);
    for (int32_t i = 0; i < t->n_plain; i++) t->by_length[i] = (int32_t)(order[i] & INT32_MAX);
    tk_free(order);
}

tk_token_trie *tk_token_trie_new(const tk_tokenizer *tok, const char *const *also, int n)
{
    tk_token_trie *t = tk_alloc(sizeof *t);
    t->n_vocab = tk_tokenizer_n_vocab(tok);
    size_t n_vocab = (size_t)t->n_vocab;
    t->same = tk_alloc(n_vocab * sizeof *t->same);
    t->start = tk_alloc((n_vocab + 1) * sizeof *t->start);
    t->plain = tk_alloc((n_vocab + 63) / 64 * sizeof *t->plain);
    t->n_char = tk_alloc(n_vocab * sizeof *t->n_char);
    collect_bytes(t, tok, also, n);
    entry *e = tk_alloc(n_vocab * sizeof *e);
    size_t n_entry = 0;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        uint32_t len = t->start[id + 1] - t->start[id];
        if (len) e[n_entry++] = (entry){t->bytes + t->start[id], len, id};
    }
    qsort(e, n_entry, sizeof *e, by_bytes);
    find_plain(t, e, n_entry);
    add_entries(t, &t->all, e, n_entry, false);
    add_entries(t, &t->odd, e, n_entry,
                true); // same[] comes out the same: equal bytes are equally plain
    tk_free(e);
    return t;
}

void tk_token_trie_free(tk_token_trie *t)
{
    if (t == NULL) return;
    tk_free(t->all.node);
    tk_free(t->odd.node);
    tk_free(t->plain);
    tk_free(t->by_length);
    tk_free(t->n_char);
    tk_free(t->same);
    tk_free(t->start);
    tk_free(t->bytes);
    tk_free(t);
}
