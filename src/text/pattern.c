// SPDX-License-Identifier: MIT
// pattern -> tree -> automaton over characters (with a count of characters when lengths are bounded) ->
// deterministic -> bytes as JSON writes them.
#include "text/pattern.h"

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NODES = 4096, MAX_RANGES = 4096, LAST_CHAR = 0x10FFFF };

typedef enum node_kind { EMPTY, CLASS, CAT, ALT, REPEAT } node_kind;

typedef struct node {
    node_kind kind;
    int left, right;    // CAT, ALT; REPEAT: left
    int first, n_range; // CLASS: in ranges[]
    int min, max;       // REPEAT; max -1 = any
} node;

typedef struct range {
    uint32_t lo, hi;
} range;

typedef struct parser {
    const char *s;
    size_t len, at;
    int depth;
    node node[MAX_NODES];
    int n_node;
    range range[MAX_RANGES];
    int n_range;
    tk_err *err;
    tk_status st;
} parser;

static int refuse(parser *p, const char *what)
{
    if (p->st == TK_OK)
        p->st =
            tk_fail(p->err, TK_UNSUPPORTED, "pattern \"%.80s\": %s at byte %zu", p->s, what, p->at);
    return 0;
}

static int add_node(parser *p, node n)
{
    if (p->n_node == MAX_NODES) return refuse(p, "it is too large");
    p->node[p->n_node] = n;
    return p->n_node++;
}

static void add_range(parser *p, uint32_t lo, uint32_t hi)
{
    if (p->n_range == MAX_RANGES) {
        refuse(p, "it is too large");
        return;
    }
    p->range[p->n_range++] = (range){lo, hi};
}

static bool more(const parser *p)
{
    return p->at < p->len && p->st == TK_OK;
}

static uint32_t next_char(parser *p)
{
    uint32_t cp;
    size_t bad = 1, n = tk_utf8_read(p->s + p->at, p->len - p->at, &cp, &bad);
    p->at += n ? n : bad;
    return cp;
}

static int by_lo(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return x->lo < y->lo ? -1 : x->lo > y->lo;
}

// ranges[first..) turned into their complement up to `last`.
static void complement(parser *p, int first, uint32_t last)
{
    range old[64];
    int n = p->n_range - first;
    if (n > (int)TK_COUNT(old)) {
        refuse(p, "a negated class has too many ranges");
        return;
    }
    if (n) memcpy(old, p->range + first, (size_t)n * sizeof *old);
    qsort(old, (size_t)n, sizeof *old, by_lo);
    p->n_range = first;
    uint32_t at = 0;
    for (int i = 0; i < n && at <= last; i++) {
        if (old[i].lo > at) add_range(p, at, TK_MIN(old[i].lo - 1, last));
        if (old[i].hi >= at) at = old[i].hi + 1;
    }
    if (at <= last) add_range(p, at, last);
}

enum { LAST_ASCII = 0x7F };

static void add_spaces(parser *p, bool all)
{
    static const range spaces[] = {{'\t', '\r'},     {' ', ' '},       {0x1C, 0x1F},
                                   {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
                                   {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                                   {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    for (size_t i = 0; i < (all ? TK_COUNT(spaces) : 2); i++)
        add_range(p, spaces[i].lo, spaces[i].hi);
}

// \d \w \s and their complements; false when c is none of them. Readers disagree on what lies beyond ASCII: what
// is matched here is what all of them match. *last: how far the complement of a class with it may reach.
static bool class_escape(parser *p, uint32_t c, bool negated, uint32_t *last)
{
    int first = p->n_range;
    bool upper = !(c & 0x20);
    switch (c | 0x20) {
    case 'd': add_range(p, '0', '9'); break;
    case 'w':
        add_range(p, '0', '9');
        add_range(p, 'A', 'Z');
        add_range(p, '_', '_');
        add_range(p, 'a', 'z');
        break;
    case 's': add_spaces(p, upper != negated); break;
    default: return false;
    }
    uint32_t reach = (c | 0x20) == 's' ? LAST_CHAR : LAST_ASCII;
    if (upper)
        complement(p, first, reach);
    else if (negated)
        *last = TK_MIN(*last, reach);
    return true;
}

static uint32_t read_hex(parser *p, int n)
{
    uint32_t v = 0;
    for (int i = 0; i < n; i++) {
        char c = p->at < p->len ? p->s[p->at] : 0, low = (char)(c | 0x20);
        int d = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (d < 0) {
            refuse(p, "a broken escape");
            return 0;
        }
        v = v * 16 + (uint32_t)d;
        p->at++;
    }
    return v;
}

// The character an escape stands for, c being what follows the backslash.
static uint32_t char_escape(parser *p, uint32_t c)
{
    switch (c) {
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'f': return '\f';
    case 'v': return '\v';
    case '0': return 0;
    case 'x': return read_hex(p, 2);
    case 'u': return read_hex(p, 4);
    default:
        if ((c >= '1' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
            refuse(p, "an escape that is not supported");
        return c;
    }
}

static int parse_class(parser *p)
{
    int first = p->n_range;
    uint32_t last = LAST_CHAR;
    bool negate = more(p) && p->s[p->at] == '^';
    p->at += negate;
    while (more(p) && p->s[p->at] != ']') {
        uint32_t lo = next_char(p), hi;
        if (lo == '\\' && more(p)) {
            uint32_t c = next_char(p);
            if (class_escape(p, c, negate, &last)) continue;
            lo = c == 'b' ? '\b' : char_escape(p, c);
        }
        hi = lo;
        if (p->at + 1 < p->len && p->s[p->at] == '-' && p->s[p->at + 1] != ']') {
            p->at++;
            hi = next_char(p);
            if (hi == '\\' && more(p)) hi = char_escape(p, next_char(p));
            if (hi < lo) refuse(p, "a range that is upside down");
        }
        add_range(p, lo, hi);
    }
    if (!more(p)) return refuse(p, "a class is not closed");
    p->at++;
    if (negate) complement(p, first, last);
    return add_node(p, (node){.kind = CLASS, .first = first, .n_range = p->n_range - first});
}

static int parse_alternatives(parser *p);

static int parse_atom(parser *p)
{
    int first = p->n_range;
    uint32_t last = LAST_CHAR;
    uint32_t c = next_char(p);
    switch (c) {
    case '(':
        if (p->at + 1 < p->len && p->s[p->at] == '?') {
            if (p->s[p->at + 1] != ':') return refuse(p, "a group that is not supported");
            p->at += 2;
        }
        if (++p->depth > TK_LIMIT_PATTERN_DEPTH) return refuse(p, "groups are nested too deep");
        int inside = parse_alternatives(p);
        p->depth--;
        if (!more(p) || p->s[p->at] != ')') return refuse(p, "a group is not closed");
        p->at++;
        return inside;
    case '[': return parse_class(p);
    case '.':
        add_range(p, '\n', '\n');
        add_range(p, '\r', '\r');
        add_range(p, 0x2028, 0x2029);
        complement(p, first, LAST_CHAR);
        break;
    case '\\':
        if (!more(p)) return refuse(p, "it ends with a backslash");
        c = next_char(p);
        if (!class_escape(p, c, false, &last)) {
            c = char_escape(p, c);
            add_range(p, c, c);
        }
        break;
    case '^':
    case '$': return refuse(p, "an anchor inside");
    case '*':
    case '+':
    case '?':
    case '{':
    case '}':
    case ']': return refuse(p, "a character that wants a backslash");
    default: add_range(p, c, c);
    }
    return add_node(p, (node){.kind = CLASS, .first = first, .n_range = p->n_range - first});
}

static int read_count(parser *p)
{
    int v = 0;
    if (!more(p) || p->s[p->at] < '0' || p->s[p->at] > '9') return -1;
    while (more(p) && p->s[p->at] >= '0' && p->s[p->at] <= '9') {
        v = v * 10 + (p->s[p->at++] - '0');
        if (v > TK_LIMIT_PATTERN_STATES) {
            refuse(p, "a count that is too large");
            return -1;
        }
    }
    return v;
}

// The quantifier that follows an atom, if any.
static int parse_quantifier(parser *p, int atom)
{
    node n = {.kind = REPEAT, .left = atom, .max = -1};
    if (!more(p)) return atom;
    switch (p->s[p->at]) {
    case '*': break;
    case '+': n.min = 1; break;
    case '?': n.max = 1; break;
    case '{':
        p->at++;
        n.min = n.max = read_count(p);
        if (more(p) && p->s[p->at] == ',') {
            p->at++;
            n.max = more(p) && p->s[p->at] == '}' ? -1 : read_count(p);
            if (n.max >= 0 && n.max < n.min) return refuse(p, "counts that are upside down");
        }
        if (n.min < 0 || !more(p) || p->s[p->at] != '}') return refuse(p, "a broken count");
        break;
    default: return atom;
    }
    p->at++;
    if (more(p) && p->s[p->at] == '?') p->at++; // lazy: the same strings
    if (more(p) && strchr("*+?{", p->s[p->at])) return refuse(p, "a count of a count");
    return add_node(p, n);
}

static int parse_sequence(parser *p)
{
    int all = add_node(p, (node){.kind = EMPTY});
    while (more(p) && p->s[p->at] != '|' && p->s[p->at] != ')') {
        if (p->s[p->at] == '$' && p->depth == 0) break;
        int one = parse_quantifier(p, parse_atom(p));
        all = add_node(p, (node){.kind = CAT, .left = all, .right = one});
    }
    return all;
}

// At the top an alternative that is not anchored may have anything around it.
static int parse_top_sequence(parser *p)
{
    int first = p->n_range;
    add_range(p, 0, LAST_CHAR);
    int any = add_node(p, (node){.kind = CLASS, .first = first, .n_range = 1});
    int loop = add_node(p, (node){.kind = REPEAT, .left = any, .max = -1});
    bool begin = more(p) && p->s[p->at] == '^';
    p->at += begin;
    int all = parse_sequence(p);
    bool end = more(p) && p->s[p->at] == '$';
    p->at += end;
    if (end && more(p) && p->s[p->at] != '|') return refuse(p, "an anchor inside");
    if (!begin) all = add_node(p, (node){.kind = CAT, .left = loop, .right = all});
    if (!end) all = add_node(p, (node){.kind = CAT, .left = all, .right = loop});
    return all;
}

static int parse_alternatives(parser *p)
{
    bool top = p->depth == 0;
    int all = top ? parse_top_sequence(p) : parse_sequence(p);
    while (more(p) && p->s[p->at] == '|') {
        p->at++;
        int other = top ? parse_top_sequence(p) : parse_sequence(p);
        all = add_node(p, (node){.kind = ALT, .left = all, .right = other});
    }
    return all;
}

// --- automaton over characters ---

typedef struct cedge {
    int32_t next, to;
    int first, n_range; // n_range 0 = empty
} cedge;

typedef struct chars {
    parser *p;
    int32_t first[TK_LIMIT_PATTERN_STATES];
    int32_t n_state;
    cedge *edge;
    int32_t n_edge, cap_edge;
} chars;

static int32_t add_state(chars *c)
{
    if (c->n_state == TK_LIMIT_PATTERN_STATES) return (int32_t)refuse(c->p, "it is too large");
    c->first[c->n_state] = -1;
    return c->n_state++;
}

static void add_edge(chars *c, int32_t from, int32_t to, const node *n)
{
    if (c->n_edge == c->cap_edge) {
        c->cap_edge = c->cap_edge ? c->cap_edge * 2 : 64;
        c->edge = tk_realloc(c->edge, (size_t)c->cap_edge * sizeof *c->edge);
    }
    c->edge[c->n_edge] = (cedge){c->first[from], to, n ? n->first : 0, n ? n->n_range : 0};
    c->first[from] = c->n_edge++;
}

// From `from`, the strings of a node; returns where they end. Depth: the tree's, bounded by CAT chains being
// walked in a loop and groups by TK_LIMIT_PATTERN_DEPTH.
static int32_t build(chars *c, int i, int32_t from);

static int32_t build_repeat(chars *c, const node *n, int32_t from)
{
    for (int k = 0; k < n->min && c->p->st == TK_OK; k++) from = build(c, n->left, from);
    if (n->max < 0) {
        int32_t loop = add_state(c);
        add_edge(c, from, loop, NULL);
        add_edge(c, build(c, n->left, loop), loop, NULL);
        return loop;
    }
    int32_t end = add_state(c);
    for (int k = n->min; k < n->max && c->p->st == TK_OK; k++) {
        add_edge(c, from, end, NULL);
        from = build(c, n->left, from);
    }
    add_edge(c, from, end, NULL);
    return end;
}

static int32_t build(chars *c, int i, int32_t from)
{
    const node *n = &c->p->node[i];
    if (c->p->st != TK_OK) return from;
    int chain[MAX_NODES / 8], n_chain = 0; // the right sides of CATs that lean to the left
    for (; n->kind == CAT; n = &c->p->node[n->left]) {
        if (n_chain == (int)TK_COUNT(chain)) return (int32_t)refuse(c->p, "it is too long");
        chain[n_chain++] = n->right;
    }
    int32_t to;
    switch (n->kind) {
    case CLASS:
        to = add_state(c);
        if (n->n_range) add_edge(c, from, to, n);
        from = to;
        break;
    case ALT:
        to = add_state(c);
        for (; n->kind == ALT; n = &c->p->node[n->left])
            add_edge(c, build(c, n->right, from), to, NULL);
        add_edge(c, build(c, (int)(n - c->p->node), from), to, NULL);
        from = to;
        break;
    case REPEAT: from = build_repeat(c, n, from); break;
    default: break;
    }
    while (n_chain > 0) from = build(c, chain[--n_chain], from);
    return from;
}

// --- deterministic ---

typedef struct dfa {
    chars *c;
    int32_t final;    // of the character automaton
    int64_t min, max; // characters; max -1 = any
    int64_t cap;      // counts are kept up to this
    size_t words;     // of a set: states x (cap + 1) bits
    uint64_t **set;   // [n]
    int32_t n;
    tk_map *index;
    uint32_t *cut; // borders between characters that no edge tells apart
    int n_cut;
    uint64_t n_step;
} dfa;

static size_t bit_of(const dfa *d, int32_t s, int64_t count)
{
    return (size_t)s * (size_t)(d->cap + 1) + (size_t)count;
}

static bool has(const uint64_t *set, size_t bit)
{
    return set[bit / 64] >> (bit % 64) & 1;
}

// Adds (s, count) and what empty edges reach. stack has room for every bit.
static void close_over(dfa *d, uint64_t *set, int32_t s, int64_t count, int32_t *stack)
{
    int n = 0;
    stack[n++] = s;
    while (n > 0) {
        s = stack[--n];
        size_t bit = bit_of(d, s, count);
        if (has(set, bit)) continue;
        set[bit / 64] |= (uint64_t)1 << (bit % 64);
        for (int32_t e = d->c->first[s]; e >= 0; e = d->c->edge[e].next, d->n_step++)
            if (d->c->edge[e].n_range == 0 && n < TK_LIMIT_PATTERN_STATES - 1)
                stack[n++] = d->c->edge[e].to;
    }
}

static int32_t intern(dfa *d, const uint64_t *set)
{
    uint64_t found;
    size_t bytes = d->words * sizeof *set;
    if (tk_map_get(d->index, set, bytes, &found)) return (int32_t)found;
    if (d->n == TK_LIMIT_PATTERN_STATES) return -1;
    d->set[d->n] = tk_alloc(bytes);
    memcpy(d->set[d->n], set, bytes);
    tk_map_add(d->index, d->set[d->n], bytes, (uint64_t)d->n);
    return d->n++;
}

static bool edge_takes(const parser *p, const cedge *e, uint32_t c)
{
    for (int i = 0; i < e->n_range; i++)
        if (c >= p->range[e->first + i].lo && c <= p->range[e->first + i].hi) return true;
    return false;
}

// The set after character c, in `to`; false when it is empty.
static bool follow(dfa *d, const uint64_t *from, uint32_t c, uint64_t *to, int32_t *stack)
{
    bool any = false;
    memset(to, 0, d->words * sizeof *to);
    for (size_t w = 0; w < d->words; w++) {
        uint64_t bits = from[w];
        for (; bits; bits &= bits - 1) {
            size_t bit = w * 64 + (size_t)__builtin_ctzll(bits);
            int32_t s = (int32_t)(bit / (size_t)(d->cap + 1));
            int64_t count = (int64_t)(bit % (size_t)(d->cap + 1)) + 1;
            if (d->max >= 0 && count > d->max) continue;
            count = TK_MIN(count, d->cap);
            for (int32_t e = d->c->first[s]; e >= 0; e = d->c->edge[e].next) {
                d->n_step += 1 + (uint64_t)d->c->edge[e].n_range;
                if (!edge_takes(d->c->p, &d->c->edge[e], c)) continue;
                close_over(d, to, d->c->edge[e].to, count, stack);
                any = true;
            }
        }
    }
    d->n_step += d->words;
    return any;
}

static bool accepts(const dfa *d, const uint64_t *set)
{
    for (int64_t count = d->min; count <= d->cap; count++)
        if (has(set, bit_of(d, d->final, TK_MIN(count, d->cap)))) return true;
    return false;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void find_cuts(dfa *d)
{
    const parser *p = d->c->p;
    d->cut = tk_alloc(((size_t)p->n_range * 2 + 2) * sizeof *d->cut);
    int n = 0;
    d->cut[n++] = 0;
    for (int i = 0; i < p->n_range; i++) {
        d->cut[n++] = p->range[i].lo;
        d->cut[n++] = TK_MIN(p->range[i].hi + 1, LAST_CHAR + 1);
    }
    qsort(d->cut, (size_t)n, sizeof *d->cut, by_value);
    for (int i = 0; i < n; i++)
        if (d->n_cut == 0 || d->cut[d->n_cut - 1] != d->cut[i]) d->cut[d->n_cut++] = d->cut[i];
    if (d->cut[d->n_cut - 1] > LAST_CHAR) d->n_cut--;
}

// Characters lo..hi as they stand inside a JSON string.
static void add_json_chars(nfa *a, int32_t from, uint32_t lo, uint32_t hi, int32_t to)
{
    static const char shorts[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (const char *s = shorts; *s; s += 2) {
        uint32_t c = (unsigned char)s[0];
        if (c < lo || c > hi) continue;
        int32_t mid = nfa_add_text(a, from, "\\", 1);
        nfa_add_bytes(a, mid, (uint8_t)s[1], (uint8_t)s[1], to);
    }
    static const range plain[] = {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, LAST_CHAR}};
    for (size_t i = 0; i < TK_COUNT(plain); i++) {
        uint32_t from_c = TK_MAX(lo, plain[i].lo), to_c = TK_MIN(hi, plain[i].hi);
        if (from_c <= to_c) nfa_add_chars(a, from, from_c, to_c, to);
    }
}

// Edges of deterministic state i, neighbouring characters with the same end taken together.
static bool add_row(dfa *d, int32_t i, nfa *a, const int32_t *state, int32_t *next)
{
    for (int k = 0; k < d->n_cut;) {
        int end = k + 1;
        while (end < d->n_cut && next[end] == next[k]) end++;
        uint32_t last = end < d->n_cut ? d->cut[end] - 1 : LAST_CHAR;
        if (next[k] >= 0) add_json_chars(a, state[i], d->cut[k], last, state[next[k]]);
        k = end;
    }
    return !a->too_large;
}

static tk_status too_large(const dfa *d, tk_err *err)
{
    return tk_fail(err, TK_UNSUPPORTED,
                   "pattern \"%.80s\" needs too large an automaton (bounds: %d states, %u steps)",
                   d->c->p->s, TK_LIMIT_PATTERN_STATES, TK_LIMIT_PATTERN_STEPS);
}

static tk_status determinise(dfa *d, nfa *a, int32_t from, int32_t to, tk_err *err)
{
    tk_status st = TK_OK;
    uint64_t *set = tk_alloc(d->words * sizeof *set);
    int32_t *stack = tk_alloc(TK_LIMIT_PATTERN_STATES * sizeof *stack);
    int32_t *next = tk_alloc((size_t)d->n_cut * sizeof *next);
    int32_t *state = tk_alloc(TK_LIMIT_PATTERN_STATES * sizeof *state); // in a; 0 = not made yet
    close_over(d, set, 0, 0, stack);
    intern(d, set);
    state[0] = from;
    for (int32_t i = 0; i < d->n && st == TK_OK; i++) {
        for (int k = 0; k < d->n_cut; k++) {
            next[k] = -1;
            if (d->n_step > TK_LIMIT_PATTERN_STEPS) break;
            if (!follow(d, d->set[i], d->cut[k], set, stack)) continue;
            next[k] = intern(d, set);
            if (next[k] < 0) d->n_step = UINT32_MAX;
            if (next[k] > 0 && state[next[k]] == 0) state[next[k]] = nfa_add_state(a);
        }
        if (d->n_step > TK_LIMIT_PATTERN_STEPS || !add_row(d, i, a, state, next))
            st = too_large(d, err);
        if (accepts(d, d->set[i])) nfa_add_bytes(a, state[i], '"', '"', to);
    }
    tk_free(set);
    tk_free(stack);
    tk_free(next);
    tk_free(state);
    return st;
}

static tk_status add_automaton(chars *c, int32_t final, nfa *a, int64_t min, int64_t max,
                               int32_t from, int32_t to, tk_err *err)
{
    dfa d = {.c = c, .final = final, .min = min, .max = max, .cap = TK_MAX(min, max)};
    if (d.cap < 0) d.cap = 0;
    if ((uint64_t)(d.cap + 1) * (uint64_t)c->n_state > TK_LIMIT_PATTERN_STATES * 16)
        return too_large(&d, err);
    d.words = ((size_t)c->n_state * (size_t)(d.cap + 1) + 63) / 64;
    d.set = tk_alloc(TK_LIMIT_PATTERN_STATES * sizeof *d.set);
    d.index = tk_map_new(256);
    find_cuts(&d);
    tk_status st = determinise(&d, a, from, to, err);
    for (int32_t i = 0; i < d.n; i++) tk_free(d.set[i]);
    tk_free(d.set);
    tk_free(d.cut);
    tk_map_free(d.index);
    return st;
}

tk_status tk_pattern_add(nfa *a, const char *pattern, size_t len, int64_t min, int64_t max,
                         int32_t from, int32_t to, tk_err *err)
{
    if (len > TK_LIMIT_PATTERN_BYTES)
        return tk_fail(err, TK_UNSUPPORTED, "a pattern of %zu bytes, at most %d are taken", len,
                       TK_LIMIT_PATTERN_BYTES);
    parser *p = tk_alloc(sizeof *p);
    chars *c = tk_alloc(sizeof *c);
    *p = (parser){.s = pattern, .len = len, .err = err, .st = TK_OK};
    c->p = p;
    int root = parse_alternatives(p);
    if (p->st == TK_OK && p->at < p->len) refuse(p, "a bracket too many");
    int32_t start = add_state(c), final = build(c, root, start);
    tk_status st = p->st;
    if (st == TK_OK) st = add_automaton(c, final, a, min, max, from, to, err);
    tk_free(c->edge);
    tk_free(c);
    tk_free(p);
    return st;
}
