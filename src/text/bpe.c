// SPDX-License-Identifier: MIT
// Byte-pair encoding of one word: symbols in a linked list, candidate merges in a heap ordered by rank and
// then position, so that a word of n symbols costs O(n log n) whatever it spells.
#include "text/tokenizer_priv.h"

#include "base/mem.h"
#include "base/utf8.h"

void id_buf_add(id_buf *b, int32_t id)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 64;
        b->ids = tk_realloc(b->ids, b->cap * sizeof *b->ids);
    }
    b->ids[b->n++] = id;
}

static uint64_t mix(uint64_t k)
{
    k ^= k >> 31;
    k *= 0x9E3779B97F4A7C15u;
    return k ^ k >> 29;
}

void pair_map_init(pair_map *m, size_t n)
{
    m->n_slot = 16;
    while (m->n_slot < 2 * n) m->n_slot *= 2;
    m->slots = tk_alloc(m->n_slot * sizeof *m->slots);
    for (size_t i = 0; i < m->n_slot; i++) m->slots[i].key = UINT64_MAX;
}

void pair_map_free(pair_map *m)
{
    tk_free(m->slots);
}

static struct pair_slot *pair_find(const pair_map *m, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t i = mix(key) & (m->n_slot - 1);
    while (m->slots[i].key != UINT64_MAX && m->slots[i].key != key) i = (i + 1) & (m->n_slot - 1);
    return &m->slots[i];
}

bool pair_map_add(pair_map *m, int32_t left, int32_t right, int32_t rank, int32_t id)
{
    struct pair_slot *s = pair_find(m, left, right);
    if (s->key != UINT64_MAX) return false;
    *s = (struct pair_slot){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
    return true;
}

typedef struct symbol {
    int32_t id;         // -1: not in the vocabulary (SentencePiece, before byte fallback)
    uint32_t at, len;   // bytes of the word; len 0 = merged away
    int32_t prev, next; // -1 = none
} symbol;

typedef struct merge {
    float priority; // smaller first: rank, or minus the score
    int32_t left, right;
    int32_t left_id, right_id; // what the symbols were when this was found: else it is out of date
    uint32_t len;              // of both together
    int32_t id;
} merge;

typedef struct heap {
    merge *m;
    int n, cap;
} heap;

static bool before(const merge *a, const merge *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->left < b->left;
}

static void heap_push(heap *h, merge m)
{
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 64;
        h->m = tk_realloc(h->m, (size_t)h->cap * sizeof *h->m);
    }
    int i = h->n++;
    for (; i > 0 && before(&m, &h->m[(i - 1) / 2]); i = (i - 1) / 2) h->m[i] = h->m[(i - 1) / 2];
    h->m[i] = m;
}

static merge heap_pop(heap *h)
{
    merge top = h->m[0], last = h->m[--h->n];
    int i = 0;
    for (;;) {
        int c = 2 * i + 1;
        if (c >= h->n) break;
        if (c + 1 < h->n && before(&h->m[c + 1], &h->m[c])) c++;
        if (!before(&h->m[c], &last)) break;
        h->m[i] = h->m[c];
        i = c;
    }
    h->m[i] = last;
    return top;
}

static void consider(const tk_tokenizer *t, const char *s, const symbol *sym, int32_t left, heap *h)
{
    if (left < 0 || sym[left].next < 0) return;
    int32_t right = sym[left].next;
    merge m = {.left = left,
               .right = right,
               .left_id = sym[left].id,
               .right_id = sym[right].id,
               .len = sym[left].len + sym[right].len};
    if (t->by_score) {
        uint64_t id;
        if (!tk_map_get(t->by_text, s + sym[left].at, m.len, &id)) return;
        m.id = (int32_t)id;
        m.priority = -t->score[id];
    } else {
        const struct pair_slot *p = pair_find(&t->merges, m.left_id, m.right_id);
        if (p->key == UINT64_MAX || m.left_id < 0 || m.right_id < 0) return;
        m.id = p->id;
        m.priority = (float)p->rank; // ranks stay below 2^24: exact
    }
    heap_push(h, m);
}

static void merge_all(const tk_tokenizer *t, const char *s, symbol *sym, int n)
{
    heap h = {0};
    for (int i = 0; i + 1 < n; i++) consider(t, s, sym, i, &h);
    while (h.n > 0) {
        merge m = heap_pop(&h);
        symbol *l = &sym[m.left], *r = &sym[m.right];
        if (l->len == 0 || r->len == 0 || l->id != m.left_id || r->id != m.right_id ||
            l->len + r->len != m.len || l->next != m.right)
            continue;
        l->id = m.id;
        l->len = m.len;
        l->next = r->next;
        r->len = 0;
        if (l->next >= 0) sym[l->next].prev = m.left;
        consider(t, s, sym, l->prev, &h);
        consider(t, s, sym, m.left, &h);
    }
    tk_free(h.m);
}

typedef struct symbols {
    symbol *sym;
    int n;
} symbols;

static void add_symbol(symbols *y, int32_t id, size_t at, size_t len)
{
    y->sym[y->n] = (symbol){
        .id = id, .at = (uint32_t)at, .len = (uint32_t)len, .prev = y->n - 1, .next = y->n + 1};
    y->n++;
}

static bool all_bytes_known(const tk_tokenizer *t, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (t->byte_id[(unsigned char)s[i]] < 0) return false;
    return true;
}

// A character and its token, or -1.
static int32_t read_symbol(const tk_tokenizer *t, const char *s, size_t len, size_t *n)
{
    uint32_t cp;
    uint64_t id;
    *n = 1;
    if (t->byte_level) return t->byte_id[(unsigned char)s[0]];
    size_t k = tk_utf8_read(s, len, &cp, NULL);
    if (k) *n = k;
    return tk_map_get(t->by_text, s, *n, &id) ? (int32_t)id : -1;
}

// SentencePiece: characters outside the vocabulary stay as they are until all is merged.
static void split_by_score(const tk_tokenizer *t, const char *s, size_t len, symbols *y)
{
    for (size_t at = 0, n; at < len; at += n) {
        int32_t id = read_symbol(t, s + at, len - at, &n);
        add_symbol(y, id, at, n);
    }
}

// Hugging Face replaces them first: by their bytes' tokens, else by the unknown token, else by nothing, so that
// their neighbours meet. An unknown token waits for the next that is known, whatever bytes come between.
static void split_by_rank(const tk_tokenizer *t, const char *s, size_t len, symbols *y)
{
    bool waiting = false;
    for (size_t at = 0, n; at < len; at += n) {
        int32_t id = read_symbol(t, s + at, len - at, &n);
        if (id >= 0) {
            if (waiting) add_symbol(y, t->unk, at, 1);
            waiting = false;
            add_symbol(y, id, at, n);
        } else if (t->byte_fallback && all_bytes_known(t, s + at, n)) {
            for (size_t i = 0; i < n; i++)
                add_symbol(y, t->byte_id[(unsigned char)s[at + i]], at + i, 1);
        } else if (t->unk >= 0) {
            if (waiting && !t->fuse_unk) add_symbol(y, t->unk, at, 1);
            waiting = true;
        }
    }
    if (waiting) add_symbol(y, t->unk, len - 1, 1);
}

static void emit_unknown(const tk_tokenizer *t, const char *s, size_t len, id_buf *out)
{
    if (all_bytes_known(t, s, len))
        for (size_t i = 0; i < len; i++) id_buf_add(out, t->byte_id[(unsigned char)s[i]]);
    else if (t->unk >= 0)
        id_buf_add(out, t->unk);
}

void tok_bpe(const tk_tokenizer *t, const char *s, size_t len, id_buf *out)
{
    enum { ON_STACK = 64 };
    uint64_t whole;
    if (len == 0) return;
    if (t->ignore_merges && tk_map_get(t->by_text, s, len, &whole)) {
        id_buf_add(out, (int32_t)whole);
        return;
    }
    symbol few[ON_STACK];
    symbols y = {.sym = len <= ON_STACK ? few : tk_alloc(len * sizeof few[0])};
    (t->by_score ? split_by_score : split_by_rank)(t, s, len, &y);
    if (y.n > 0) y.sym[y.n - 1].next = -1;
    if (y.n > 1) merge_all(t, s, y.sym, y.n);
    for (int i = y.n > 0 ? 0 : -1; i >= 0; i = y.sym[i].next) {
        if (y.sym[i].id >= 0)
            id_buf_add(out, y.sym[i].id);
        else
            emit_unknown(t, s + y.sym[i].at, y.sym[i].len, out);
    }
    if (y.sym != few) tk_free(y.sym);
}
