// SPDX-License-Identifier: MIT
#include "text/nfa.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

void nfa_free(nfa *a)
{
    tk_free(a->state);
    tk_free(a->edge);
    tk_free(a->rule);
    tk_free(a->height);
    *a = (nfa){0};
}

// Room for one more; false (and too_large) at the bound.
static bool grow(nfa *a, void **p, int32_t n, int32_t *cap, int32_t max, size_t item_bytes)
{
    if (n < *cap) return true;
    if (n >= max) {
        a->too_large = true;
        return false;
    }
    *cap = *cap ? TK_MIN(*cap * 2, max) : 256;
    *p = tk_realloc(*p, (size_t)*cap * item_bytes);
    return true;
}

int32_t nfa_add_state(nfa *a)
{
    if (!grow(a, (void **)&a->state, a->n_state, &a->cap_state, TK_LIMIT_GRAMMAR_STATES,
              sizeof *a->state))
        return 0;
    a->state[a->n_state] = (nfa_state){.edges = -1};
    return a->n_state++;
}

int32_t nfa_add_rule(nfa *a)
{
    if (!grow(a, (void **)&a->rule, a->n_rule, &a->cap_rule, TK_LIMIT_GRAMMAR_RULES,
              sizeof *a->rule))
        return 0;
    int32_t start = nfa_add_state(a), final = nfa_add_state(a);
    if (!a->too_large) a->state[final].final = true;
    a->rule[a->n_rule] = (nfa_rule){start, final};
    return a->n_rule++;
}

static void add_edge(nfa *a, int32_t from, nfa_edge e)
{
    if (a->too_large || !grow(a, (void **)&a->edge, a->n_edge, &a->cap_edge, TK_LIMIT_GRAMMAR_EDGES,
                              sizeof *a->edge))
        return;
    e.next = a->state[from].edges;
    a->edge[a->n_edge] = e;
    a->state[from].edges = a->n_edge++;
}

void nfa_add_bytes(nfa *a, int32_t from, unsigned lo, unsigned hi, int32_t to)
{
    add_edge(a, from,
             (nfa_edge){.kind = NFA_BYTES, .lo = (uint8_t)lo, .hi = (uint8_t)hi, .to = to});
}

void nfa_add_empty(nfa *a, int32_t from, int32_t to)
{
    add_edge(a, from, (nfa_edge){.kind = NFA_EMPTY, .to = to});
}

void nfa_add_call(nfa *a, int32_t from, int32_t rule, int32_t to)
{
    add_edge(a, from, (nfa_edge){.kind = NFA_CALL, .rule = rule, .to = to});
}

int32_t nfa_add_text(nfa *a, int32_t from, const char *s, size_t len)
{
    for (size_t i = 0; i < len && !a->too_large; i++) {
        int32_t to = nfa_add_state(a);
        nfa_add_bytes(a, from, (uint8_t)s[i], (uint8_t)s[i], to);
        from = to;
    }
    return from;
}

// lo and hi have the same length and the byte sequences between them are exactly the product of the ranges
// of their bytes.
static void add_sequence(nfa *a, int32_t from, const char *lo, const char *hi, size_t n, int32_t to)
{
    for (size_t i = 0; i < n; i++) {
        int32_t next = i + 1 == n ? to : nfa_add_state(a);
        nfa_add_bytes(a, from, (uint8_t)lo[i], (uint8_t)hi[i], next);
        from = next;
    }
}

// Cuts lo..hi where UTF-8's length changes and where a trailing byte is not free to take all its values.
void nfa_add_chars(nfa *a, int32_t from, uint32_t lo, uint32_t hi, int32_t to)
{
    static const uint32_t ends[] = {0x7F, 0x7FF, 0xD7FF, 0xDFFF, 0xFFFF, 0x10FFFF};
    while (lo <= hi && !a->too_large) {
        uint32_t end = hi;
        for (size_t i = 0; i < TK_COUNT(ends); i++)
            if (lo <= ends[i]) {
                end = TK_MIN(hi, ends[i]);
                break;
            }
        if (lo >= 0xD800 && lo <= 0xDFFF) {
            lo = end + 1;
            continue;
        }
        int n = lo < 0x80 ? 1 : lo < 0x800 ? 2 : lo < 0x10000 ? 3 : 4;
        for (int i = 1; i < n; i++) { // trailing i bytes: whole blocks of 64^i, or one block
            uint32_t mask = (1u << (6 * i)) - 1;
            if ((lo & ~mask) == (end & ~mask)) continue;
            if (lo & mask)
                end = lo | mask;
            else if ((end & mask) != mask)
                end = (end & ~mask) - 1;
        }
        char b_lo[4], b_hi[4];
        tk_utf8_write(lo, b_lo);
        tk_utf8_write(end, b_hi);
        add_sequence(a, from, b_lo, b_hi, (size_t)n, to);
        lo = end + 1;
    }
}

// Predecessors of each state: edges that end there, and calls of the rule that begins there.
typedef struct reverse {
    int32_t *first, *next; // [n_state], [2 n_edge]
    int32_t *from;         // [n_edge]
} reverse;

static reverse make_reverse(const nfa *a)
{
    reverse r = {.first = tk_alloc((size_t)a->n_state * sizeof(int32_t)),
                 .next = tk_alloc((size_t)a->n_edge * 2 * sizeof(int32_t) + 1),
                 .from = tk_alloc((size_t)a->n_edge * sizeof(int32_t) + 1)};
    memset(r.first, -1, (size_t)a->n_state * sizeof(int32_t));
    for (int32_t s = 0; s < a->n_state; s++)
        for (int32_t e = a->state[s].edges; e >= 0; e = a->edge[e].next) {
            r.from[e] = s;
            r.next[2 * e] = r.first[a->edge[e].to];
            r.first[a->edge[e].to] = 2 * e;
            if (a->edge[e].kind != NFA_CALL) continue;
            int32_t start = a->rule[a->edge[e].rule].start;
            r.next[2 * e + 1] = r.first[start];
            r.first[start] = 2 * e + 1;
        }
    return r;
}

// Label correcting: a state whose height has fallen is looked at again; heights are few and small.
static void find_heights(nfa *a)
{
    reverse r = make_reverse(a);
    size_t n = (size_t)a->n_state, head = 0, count = 0;
    int32_t *ring = tk_alloc(n * sizeof *ring + 1);
    bool *waits = tk_alloc(n + 1);
    a->height = tk_alloc(n * sizeof *a->height + 1);
    for (size_t s = 0; s < n; s++) a->height[s] = NFA_NEVER;
    for (int32_t i = 0; i < a->n_rule; i++) {
        a->height[a->rule[i].final] = 0;
        ring[count++] = a->rule[i].final;
    }
    while (count > 0) {
        int32_t s = ring[head];
        head = (head + 1) % n;
        count--;
        waits[s] = false;
        for (int32_t x = r.first[s]; x >= 0; x = r.next[x]) {
            const nfa_edge *e = &a->edge[x / 2];
            int h = a->height[e->to], called = 0;
            if (e->kind == NFA_CALL) called = a->height[a->rule[e->rule].start] + 1;
            h = TK_MAX(h, called);
            int32_t p = r.from[x / 2];
            if (h > TK_LIMIT_GRAMMAR_STACK || h >= a->height[p]) continue;
            a->height[p] = (int16_t)h;
            if (waits[p]) continue;
            waits[p] = true;
            ring[(head + count++) % n] = p;
        }
    }
    tk_free(ring);
    tk_free(waits);
    tk_free(r.first);
    tk_free(r.next);
    tk_free(r.from);
}

void nfa_finish(nfa *a)
{
    bool begins[257] = {true};
    for (int32_t e = 0; e < a->n_edge; e++)
        if (a->edge[e].kind == NFA_BYTES) begins[a->edge[e].lo] = begins[a->edge[e].hi + 1] = true;
    a->n_class = 0;
    for (int b = 0; b < 256; b++) {
        if (begins[b]) a->class_byte[a->n_class++] = (uint8_t)b;
        a->byte_class[b] = (uint8_t)(a->n_class - 1);
    }
    find_heights(a);
}
