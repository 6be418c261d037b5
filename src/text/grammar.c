// SPDX-License-Identifier: MIT
// Following a network of calling automata on bytes. Where the reading stands is a set of (state, frame); a
// frame is a set of (state to go on from, frame below), so that all callers of a rule share one reading of it
// and ambiguity does not multiply. Frames and sets are made once each and known by number; a set's successor
// for a class of bytes is looked up after the first time, and so is its mask. When the memory for sets is
// full it is emptied; runs then read their text again.
//
// Never stuck: a pair is only taken when the depth of its frame plus the calls its state needs to reach its
// end stays within TK_LIMIT_GRAMMAR_STACK; both are known beforehand. Leaving pairs out (that bound, or
// TK_LIMIT_GRAMMAR_PATHS) loses readings, never the way on.
#include "text/grammar.h"

#include "base/arena.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "text/nfa.h"
#include "text/schema.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { UNKNOWN = -1, DEAD = 0, MAX_FRAMES = 50000, MARKS = 16384, MAX_CLOSURE = 8192 };

typedef struct pair {
    int32_t state, frame;
} pair;

typedef struct frame {
    const pair *caller; // where to go on
    int32_t n;
    int32_t depth;
} frame;

typedef struct set {
    const pair *p; // states that have byte edges
    int32_t n;
    bool may_end;
    int32_t *next;  // [n_class]
    uint64_t *mask; // NULL = not made
} set;

struct tk_grammar {
    atomic_int refs; // relaxed up, acquire-release down
    nfa a;
    int32_t root;
    // what is remembered; owner: the thread of the runs
    tk_arena *arena;
    tk_map *frame_index, *set_index;
    frame *frame;
    set *set;
    int32_t n_frame, n_set, n_mask;
    int32_t start_set;
    uint32_t generation; // counts emptyings
    bool starved;        // something was left out because the memory was full
    // scratch of the closure being made
    pair seen[MAX_CLOSURE];
    int32_t n_seen;
    struct {
        uint32_t stamp;
        pair p;
    } mark[MARKS];
    uint32_t stamp;
    struct call {
        int32_t rule;
        pair caller;
    } call[MAX_CLOSURE];
    int32_t n_call;
    bool may_end;
};

struct tk_grammar_run {
    tk_grammar *g;
    const tk_token_trie *trie;
    int32_t *end;
    int n_end;
    int32_t at;          // set
    uint32_t generation; // of the memory that `at` is a number of
    tk_buf text;         // what has been accepted, to find the set again after an emptying
    int32_t *stack;      // [trie's depth + 1]
};

// --- memory ---

static void forget(tk_grammar *g)
{
    for (int32_t i = 0; i < g->n_set; i++) tk_free(g->set[i].mask);
    tk_map_free(g->frame_index);
    tk_map_free(g->set_index);
    if (g->arena) tk_arena_reset(g->arena);
    g->frame_index = tk_map_new(256);
    g->set_index = tk_map_new(256);
    g->n_frame = 1; // 0: the bottom
    g->frame[0] = (frame){0};
    g->n_set = 1; // 0: DEAD
    g->set[0] = (set){0};
    g->n_mask = 0;
    g->start_set = UNKNOWN;
    g->starved = false;
    g->generation++;
}

static bool is_full(const tk_grammar *g)
{
    return g->n_set > TK_LIMIT_GRAMMAR_CACHE - 64 || g->n_frame > MAX_FRAMES - MAX_CLOSURE ||
           tk_arena_used(g->arena) > (size_t)48 << 20;
}

static int by_pair(const void *a, const void *b)
{
    const pair *x = a, *y = b;
    if (x->state != y->state) return x->state < y->state ? -1 : 1;
    return x->frame < y->frame ? -1 : x->frame > y->frame;
}

// Sorts and leaves doubles out; returns how many are left.
static int32_t tidy(pair *p, int32_t n)
{
    int32_t m = 0;
    qsort(p, (size_t)n, sizeof *p, by_pair);
    for (int32_t i = 0; i < n; i++)
        if (m == 0 || by_pair(&p[m - 1], &p[i]) != 0) p[m++] = p[i];
    return m;
}

static const pair *keep_pairs(tk_grammar *g, const pair *p, int32_t n)
{
    pair *copy = tk_arena_alloc(g->arena, (size_t)n * sizeof *p + 1);
    if (copy && n) memcpy(copy, p, (size_t)n * sizeof *p);
    return copy;
}

static int32_t intern_frame(tk_grammar *g, pair *p, int32_t n)
{
    uint64_t found;
    n = tidy(p, n);
    if (tk_map_get(g->frame_index, p, (size_t)n * sizeof *p, &found)) return (int32_t)found;
    const pair *copy = keep_pairs(g, p, n);
    if (g->n_frame == MAX_FRAMES || copy == NULL) return UNKNOWN;
    int32_t depth = 0;
    for (int32_t i = 0; i < n; i++) depth = TK_MAX(depth, g->frame[p[i].frame].depth);
    g->frame[g->n_frame] = (frame){copy, n, depth + 1};
    tk_map_add(g->frame_index, copy, (size_t)n * sizeof *p, (uint64_t)g->n_frame);
    return g->n_frame++;
}

static int32_t intern_set(tk_grammar *g, pair *p, int32_t n, bool may_end)
{
    uint64_t found;
    n = tidy(p, n);
    if (n == 0 && !may_end) return DEAD;
    // the end is part of the key: a pair that no state has
    if (may_end) p[n++] = (pair){INT32_MAX, 0};
    if (tk_map_get(g->set_index, p, (size_t)n * sizeof *p, &found)) return (int32_t)found;
    const pair *copy = keep_pairs(g, p, n);
    int32_t *next = tk_arena_alloc(g->arena, (size_t)g->a.n_class * sizeof *next);
    if (g->n_set == TK_LIMIT_GRAMMAR_CACHE || copy == NULL || next == NULL) return UNKNOWN;
    for (int i = 0; i < g->a.n_class; i++) next[i] = UNKNOWN;
    g->set[g->n_set] = (set){copy, n - may_end, may_end, next, NULL};
    tk_map_add(g->set_index, copy, (size_t)n * sizeof *p, (uint64_t)g->n_set);
    return g->n_set++;
}

// --- closure ---

static void closure_begin(tk_grammar *g)
{
    g->n_seen = g->n_call = 0;
    g->may_end = false;
    g->stamp++;
}

// Notes a pair that has been reached, unless it is known, hopeless, or one too many.
static void reach(tk_grammar *g, int32_t state, int32_t f)
{
    if (g->frame[f].depth + g->a.height[state] > TK_LIMIT_GRAMMAR_STACK) return;
    uint32_t h = ((uint32_t)state * 2654435761u ^ (uint32_t)f * 2246822519u) % MARKS;
    while (g->mark[h].stamp == g->stamp) {
        if (g->mark[h].p.state == state && g->mark[h].p.frame == f) return;
        h = (h + 1) % MARKS;
    }
    if (g->n_seen == MAX_CLOSURE) return;
    g->mark[h].stamp = g->stamp;
    g->mark[h].p = g->seen[g->n_seen++] = (pair){state, f};
}

// The rule of p has ended: its callers go on.
static void give_back(tk_grammar *g, int32_t f)
{
    if (f == 0) g->may_end = true;
    for (int32_t i = 0; i < g->frame[f].n; i++)
        reach(g, g->frame[f].caller[i].state, g->frame[f].caller[i].frame);
}

static void note_call(tk_grammar *g, int32_t rule, int32_t state, int32_t f)
{
    if (g->frame[f].depth + g->a.height[state] > TK_LIMIT_GRAMMAR_STACK) return;
    if (g->n_call == MAX_CLOSURE) return;
    g->call[g->n_call++] = (struct call){rule, {state, f}};
}

// A call whose caller has nothing left to do goes back to the caller's callers at once, so that chains of
// such calls do not deepen.
static void call_from(tk_grammar *g, const nfa_edge *e, int32_t f)
{
    if (!g->a.state[e->to].final || f == 0) {
        note_call(g, e->rule, e->to, f);
        return;
    }
    for (int32_t i = 0; i < g->frame[f].n; i++)
        note_call(g, e->rule, g->frame[f].caller[i].state, g->frame[f].caller[i].frame);
}

static void expand(tk_grammar *g, pair p)
{
    if (g->a.state[p.state].final) {
        give_back(g, p.frame);
        return;
    }
    for (int32_t i = g->a.state[p.state].edges; i >= 0; i = g->a.edge[i].next) {
        const nfa_edge *e = &g->a.edge[i];
        if (e->kind == NFA_EMPTY)
            reach(g, e->to, p.frame);
        else if (e->kind == NFA_CALL)
            call_from(g, e, p.frame);
    }
}

static int by_rule(const void *a, const void *b)
{
    const struct call *x = a, *y = b;
    return x->rule < y->rule ? -1 : x->rule > y->rule;
}

// Enters the rules that were called, each once for all its callers.
static void enter(tk_grammar *g)
{
    pair callers[MAX_CLOSURE];
    int32_t n = g->n_call;
    struct call *call = tk_alloc((size_t)n * sizeof *call + 1);
    memcpy(call, g->call, (size_t)n * sizeof *call);
    qsort(call, (size_t)n, sizeof *call, by_rule);
    g->n_call = 0;
    for (int32_t i = 0; i < n;) {
        int32_t m = 0, rule = call[i].rule, start = g->a.rule[rule].start;
        for (; i < n && call[i].rule == rule; i++)
            if (g->frame[call[i].caller.frame].depth + 1 + g->a.height[start] <=
                TK_LIMIT_GRAMMAR_STACK)
                callers[m++] = call[i].caller;
        int32_t f = m ? intern_frame(g, callers, m) : UNKNOWN;
        if (f >= 0) reach(g, start, f);
    }
    tk_free(call);
}

static bool has_bytes(const tk_grammar *g, int32_t state)
{
    for (int32_t i = g->a.state[state].edges; i >= 0; i = g->a.edge[i].next)
        if (g->a.edge[i].kind == NFA_BYTES) return true;
    return false;
}

static int32_t closure_end(tk_grammar *g)
{
    pair p[TK_LIMIT_GRAMMAR_PATHS + 1];
    int32_t n = 0;
    for (int32_t i = 0; i < g->n_seen || g->n_call > 0;) {
        if (i < g->n_seen)
            expand(g, g->seen[i++]);
        else
            enter(g);
    }
    for (int32_t i = 0; i < g->n_seen && n < TK_LIMIT_GRAMMAR_PATHS; i++)
        if (has_bytes(g, g->seen[i].state)) p[n++] = g->seen[i];
    return intern_set(g, p, n, g->may_end);
}

static int32_t start_set(tk_grammar *g)
{
    if (g->start_set == UNKNOWN) {
        closure_begin(g);
        reach(g, g->a.rule[g->root].start, 0);
        g->start_set = closure_end(g);
    }
    return g->start_set;
}

static int32_t follow(tk_grammar *g, int32_t s, uint8_t byte)
{
    if (s <= DEAD) return DEAD;
    int c = g->a.byte_class[byte];
    int32_t known = g->set[s].next[c];
    if (known != UNKNOWN) return known;
    closure_begin(g);
    for (int32_t i = 0; i < g->set[s].n; i++) {
        pair p = g->set[s].p[i];
        for (int32_t k = g->a.state[p.state].edges; k >= 0; k = g->a.edge[k].next) {
            const nfa_edge *e = &g->a.edge[k];
            if (e->kind == NFA_BYTES && byte >= e->lo && byte <= e->hi) reach(g, e->to, p.frame);
        }
    }
    int32_t to = closure_end(g);
    if (to == UNKNOWN) { // the memory is full in the middle of a mask
        g->starved = true;
        return DEAD;
    }
    g->set[s].next[c] = to;
    return to;
}

// --- compiling ---

// Free text up to and with the mark: the matcher of Knuth, Morris and Pratt, written out.
static void add_until(nfa *a, const char *mark, int32_t from, int32_t to, bool may_stop,
                      int32_t stop)
{
    size_t n = strlen(mark);
    int32_t *state = tk_alloc((n + 1) * sizeof *state);
    for (size_t i = 0; i < n; i++) state[i] = i ? nfa_add_state(a) : from;
    state[n] = to;
    for (size_t i = 0; i < n && !a->too_large; i++) {
        if (may_stop) nfa_add_empty(a, state[i], stop);
        for (unsigned c = 0; c < 256; c++) {
            size_t k = i + 1; // longest beginning of the mark that ends with c
            while (k > 0 &&
                   !((uint8_t)mark[k - 1] == c && memcmp(mark, mark + i - (k - 1), k - 1) == 0))
                k--;
            nfa_add_bytes(a, state[i], c, c, state[k]);
        }
    }
    tk_free(state);
}

static int32_t add_blanks(nfa *a, int32_t from)
{
    for (int i = 0; i < 2; i++) {
        int32_t to = nfa_add_state(a);
        nfa_add_empty(a, from, to);
        nfa_add_bytes(a, from, '\n', '\n', to);
        nfa_add_bytes(a, from, ' ', ' ', to);
        from = to;
    }
    return from;
}

// The whole answer: reasoning, then the JSON or free text with JSON in it.
static void add_answer(nfa *a, const tk_grammar_opts *o, int32_t rule, int32_t json)
{
    int32_t at = a->rule[rule].start, final = a->rule[rule].final;
    if (a->too_large) return;
    if (o->reason_end) {
        int32_t think = nfa_add_state(a), answer = nfa_add_state(a);
        if (o->reasoning_open) {
            nfa_add_empty(a, at, think);
        } else {
            nfa_add_empty(a, nfa_add_text(a, at, o->reason_begin, strlen(o->reason_begin)), think);
            nfa_add_empty(a, at, answer);
        }
        add_until(a, o->reason_end, think, answer, false, 0);
        at = answer;
    }
    if (o->trigger == NULL) {
        nfa_add_call(a, add_blanks(a, at), json, final);
        return;
    }
    int32_t free_text = nfa_add_state(a), open = nfa_add_state(a), closed = nfa_add_state(a);
    nfa_add_empty(a, at, free_text);
    add_until(a, o->trigger, free_text, open, true, final);
    nfa_add_call(a, add_blanks(a, open), json, closed);
    int32_t end = add_blanks(a, closed);
    nfa_add_empty(a, nfa_add_text(a, end, o->after, strlen(o->after)), free_text);
}

tk_status tk_grammar_compile(const json_t *schema, const tk_grammar_opts *o, tk_grammar **out,
                             tk_err *err)
{
    tk_grammar *g = tk_alloc(sizeof *g);
    int32_t json = 0;
    tk_status st;
    *out = NULL;
    atomic_init(&g->refs, 1);
    g->root = nfa_add_rule(&g->a);
    TK_TRY(tk_schema_add(&g->a, schema, schema, &json, err));
    add_answer(&g->a, o, g->root, json);
    if (g->a.too_large) {
        st = tk_fail(err, TK_UNSUPPORTED, "the schema needs too large a grammar");
        goto done;
    }
    nfa_finish(&g->a);
    if (g->a.height[g->a.rule[json].start] == NFA_NEVER) {
        st =
            tk_fail(err, TK_BAD_INPUT,
                    "no JSON fits the schema (within %d levels of nesting): it contradicts itself, "
                    "or needs itself inside itself",
                    TK_LIMIT_GRAMMAR_STACK);
        goto done;
    }
    g->arena = tk_arena_new((size_t)64 << 20);
    g->frame = tk_alloc(MAX_FRAMES * sizeof *g->frame);
    g->set = tk_alloc(TK_LIMIT_GRAMMAR_CACHE * sizeof *g->set);
    forget(g);
    *out = g;
    g = NULL;
done:
    tk_grammar_unref(g);
    return st;
}

tk_grammar *tk_grammar_ref(tk_grammar *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void tk_grammar_unref(tk_grammar *g)
{
    // acquire-release: the last holder sees what the others wrote
    if (g == NULL || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) > 1) return;
    for (int32_t i = 0; i < g->n_set; i++) tk_free(g->set[i].mask);
    tk_map_free(g->frame_index);
    tk_map_free(g->set_index);
    tk_arena_free(g->arena);
    tk_free(g->frame);
    tk_free(g->set);
    nfa_free(&g->a);
    tk_free(g);
}

// --- runs ---

tk_grammar_run *tk_grammar_run_new(tk_grammar *g, const tk_token_trie *trie, const int32_t *end,
                                   int n_end)
{
    tk_grammar_run *r = tk_alloc(sizeof *r);
    *r = (tk_grammar_run){.g = tk_grammar_ref(g),
                          .trie = trie,
                          .end = tk_alloc((size_t)n_end * sizeof *end + 1),
                          .n_end = n_end,
                          .text = tk_buf_make(TK_LIMIT_TEXT_BYTES),
                          .stack = tk_alloc(((size_t)trie->max_depth + 2) * sizeof(int32_t))};
    if (n_end) memcpy(r->end, end, (size_t)n_end * sizeof *end);
    return r;
}

void tk_grammar_run_free(tk_grammar_run *r)
{
    if (r == NULL) return;
    tk_grammar_unref(r->g);
    tk_free(r->end);
    tk_buf_free(&r->text);
    tk_free(r->stack);
    tk_free(r);
}

static int32_t follow_text(tk_grammar *g, int32_t s, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) s = follow(g, s, (uint8_t)text[i]);
    return s;
}

// The run stands on a set of the memory as it is now.
static void find_place(tk_grammar_run *r)
{
    tk_grammar *g = r->g;
    if (is_full(g) || g->starved) forget(g);
    if (r->generation == g->generation) return;
    r->at = follow_text(g, start_set(g), tk_buf_str(&r->text), r->text.len);
    r->generation = g->generation;
}

static void allow(const tk_token_trie *t, int32_t token, uint64_t *bits)
{
    for (; token >= 0; token = t->same[token]) bits[token / 64] |= (uint64_t)1 << (token % 64);
}

static void walk(tk_grammar_run *r, const tk_token_tree *tree, uint64_t *bits)
{
    tk_grammar *g = r->g;
    const uint8_t *class = g->a.byte_class;
    int32_t *stack = r->stack;
    stack[0] = r->at;
    for (int32_t i = 0; i < tree->n_node;) {
        const tk_token_node *n = &tree->node[i];
        int32_t from = stack[n->depth - 1], to = g->set[from].next[class[n->byte]];
        if (TK_UNLIKELY(to == UNKNOWN)) to = follow(g, from, n->byte);
        if (to == DEAD) {
            i = n->skip;
            continue;
        }
        stack[n->depth] = to;
        if (n->token >= 0) allow(r->trie, n->token, bits);
        i++;
    }
}

// Inside a string most tokens are known to fit without a walk.
static void fill(tk_grammar_run *r, uint64_t *bits)
{
    const tk_token_trie *t = r->trie;
    const set *s = &r->g->set[r->at];
    int32_t plain = 0;
    for (int32_t i = 0; i < s->n; i++)
        if (r->g->frame[s->p[i].frame].depth < TK_LIMIT_GRAMMAR_STACK) // room for schema_fill_multi
            plain = TK_MAX(plain, r->g->a.state[s->p[i].state].plain);
    if (plain == 0) {
        walk(r, &t->all, bits);
        return;
    }
    memcpy(bits, t->plain, ((size_t)t->n_vocab + 63) / 64 * sizeof *bits);
    for (int32_t i = 0; i < t->n_plain && t->n_char[t->by_length[i]] > plain; i++)
        bits[t->by_length[i] / 64] &= ~((uint64_t)1 << (t->by_length[i] % 64));
    walk(r, &t->odd, bits);
}

static void forget_masks(tk_grammar *g)
{
    for (int32_t i = 0; i < g->n_set; i++) {
        tk_free(g->set[i].mask);
        g->set[i].mask = NULL;
    }
    g->n_mask = 0;
}

// The mask of the set the run stands on, made when it is asked for first.
static const uint64_t *mask_of(tk_grammar_run *r)
{
    tk_grammar *g = r->g;
    size_t words = ((size_t)r->trie->n_vocab + 63) / 64;
    if (g->set[r->at].mask) return g->set[r->at].mask;
    if (g->n_mask >= TK_LIMIT_GRAMMAR_MASKS) forget_masks(g);
    uint64_t *bits = tk_alloc(words * sizeof *bits);
    fill(r, bits);
    if (g->starved) { // once more, with all of the memory
        find_place(r);
        memset(bits, 0, words * sizeof *bits);
        fill(r, bits);
    }
    g->set[r->at].mask = bits;
    g->n_mask++;
    return bits;
}

void tk_grammar_run_mask(void *run, uint64_t *bits, int32_t n_vocab)
{
    tk_grammar_run *r = run;
    size_t words = ((size_t)n_vocab + 63) / 64, own = ((size_t)r->trie->n_vocab + 63) / 64;
    memset(bits, 0, words * sizeof *bits);
    find_place(r);
    if (r->at > DEAD) {
        const uint64_t *mask = mask_of(r);
        memcpy(bits, mask, TK_MIN(words, own) * sizeof *bits);
    }
    bool may_end = r->at > DEAD && r->g->set[r->at].may_end;
    for (int i = 0; i < r->n_end; i++) { // an end token is one even when its text would fit
        if (r->end[i] < 0 || r->end[i] >= n_vocab) continue;
        uint64_t bit = (uint64_t)1 << (r->end[i] % 64);
        if (may_end)
            bits[r->end[i] / 64] |= bit;
        else
            bits[r->end[i] / 64] &= ~bit;
    }
}

void tk_grammar_run_accept(void *run, int32_t id)
{
    tk_grammar_run *r = run;
    for (int i = 0; i < r->n_end; i++)
        if (r->end[i] == id) return;
    if (id < 0 || id >= r->trie->n_vocab) return;
    find_place(r);
    const char *s = (const char *)r->trie->bytes + r->trie->start[id];
    size_t n = r->trie->start[id + 1] - r->trie->start[id];
    tk_buf_add(&r->text, s, n);
    r->at = follow_text(r->g, r->at, s, n);
}

bool tk_grammar_run_may_end(tk_grammar_run *r)
{
    find_place(r);
    return r->at > DEAD && r->g->set[r->at].may_end;
}

bool tk_grammar_matches(tk_grammar *g, const char *text, size_t len)
{
    if (is_full(g) || g->starved) forget(g);
    int32_t s = follow_text(g, start_set(g), text, len);
    return s > DEAD && g->set[s].may_end;
}
