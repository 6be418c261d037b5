// SPDX-License-Identifier: MIT
// The parts of a JSON text that need an automaton of their own: numbers between bounds, keys that are not
// among the known ones, characters of strings.
#include "text/schema.h"

#include "base/compiler.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// Integers keep to what a double and an int64 both hold well; fractions and exponents are bounded too, so
// that a model cannot write digits for ever.
enum { INT_DIGITS = 15, FRACTION_DIGITS = 16 };
static const int64_t int_max = 999999999999999;

// Digit strings of n digits from lo to hi (both of n digits): states by whether the bounds still bind.
static void add_same_length(nfa *a, const char *lo, const char *hi, int n, int32_t from, int32_t to)
{
    int32_t at[4] = {-1, -1, -1, from}; // index: 1 = lo binds, 2 = hi binds
    for (int i = 0; i < n; i++) {
        int32_t next[4] = {-1, -1, -1, -1};
        for (int tight = 0; tight < 4; tight++) {
            if (at[tight] < 0) continue;
            int from_d = tight & 1 ? lo[i] : '0', to_d = tight & 2 ? hi[i] : '9';
            for (int d = from_d; d <= to_d; d++) {
                int t = (tight & 1 && d == lo[i] ? 1 : 0) | (tight & 2 && d == hi[i] ? 2 : 0);
                if (i + 1 < n && next[t] < 0) next[t] = nfa_add_state(a);
                nfa_add_bytes(a, at[tight], (unsigned)d, (unsigned)d, i + 1 < n ? next[t] : to);
            }
        }
        memcpy(at, next, sizeof at);
    }
}

// Whole numbers lo..hi, 0 <= lo, as JSON writes them.
static void add_magnitude(nfa *a, int64_t lo, int64_t hi, int32_t from, int32_t to)
{
    hi = TK_MIN(hi, int_max);
    for (int64_t first = 0, last = 9; first <= hi; first = last + 1, last = last * 10 + 9) {
        int64_t x = TK_MAX(lo, first), y = TK_MIN(hi, last);
        char s[24], e[24];
        if (x > y) continue;
        int n = snprintf(s, sizeof s, "%lld", (long long)x);
        snprintf(e, sizeof e, "%lld", (long long)y);
        add_same_length(a, s, e, n, from, to);
    }
}

static int64_t clamp(double d)
{
    return d > (double)int_max ? int_max : d < -(double)int_max ? -int_max : (int64_t)d;
}

void schema_add_integer(nfa *a, const schema_bounds *b, int32_t from, int32_t to)
{
    int64_t lo = -int_max, hi = int_max;
    if (b->has_min) lo = clamp(ceil(b->min)) + (b->min_open && ceil(b->min) == b->min);
    if (b->has_max) hi = clamp(floor(b->max)) - (b->max_open && floor(b->max) == b->max);
    if (lo < 0 && TK_MAX(1, -hi) <= -lo) {
        int32_t minus = nfa_add_text(a, from, "-", 1);
        add_magnitude(a, TK_MAX(1, -hi), -lo, minus, to);
    }
    if (hi >= 0 && lo <= hi) add_magnitude(a, TK_MAX(0, lo), hi, from, to);
}

enum { ANY_FRACTION, ZERO_FRACTION, NONZERO_FRACTION };

static void add_fraction(nfa *a, int kind, int32_t from, int32_t to)
{
    if (kind != NONZERO_FRACTION) nfa_add_empty(a, from, to);
    int32_t zeros = nfa_add_text(a, from, ".", 1);
    for (int i = 0; i < FRACTION_DIGITS; i++) {
        int32_t next = nfa_add_state(a);
        nfa_add_bytes(a, zeros, '0', '0', next);
        if (kind == ZERO_FRACTION) nfa_add_empty(a, next, to);
        if (kind == NONZERO_FRACTION) {
            nfa_add_bytes(a, zeros, '1', '9', to);
        } else if (kind == ANY_FRACTION) {
            nfa_add_bytes(a, zeros, '1', '9', next);
            nfa_add_empty(a, next, to);
        }
        zeros = next;
    }
}

static void add_exact(nfa *a, int64_t v, int fraction, int32_t from, int32_t to)
{
    int32_t mid = nfa_add_state(a);
    add_magnitude(a, v, v, from, mid);
    add_fraction(a, fraction, mid, to);
}

// Values v >= 0 with lo <(=) v <(=) hi, both whole.
static void add_between(nfa *a, int64_t lo, bool lo_open, int64_t hi, bool hi_open, int32_t from,
                        int32_t to)
{
    if (lo + lo_open <= hi - 1) {
        int32_t mid = nfa_add_state(a);
        add_magnitude(a, lo + lo_open, hi - 1, from, mid);
        add_fraction(a, ANY_FRACTION, mid, to);
    }
    if (lo_open && lo < hi) add_exact(a, lo, NONZERO_FRACTION, from, to);
    if (!hi_open && hi >= lo + lo_open) add_exact(a, hi, ZERO_FRACTION, from, to);
}

// -?int frac? exp?
static void add_any_number(nfa *a, int32_t from, int32_t to)
{
    int32_t whole = nfa_add_state(a), mantissa = nfa_add_state(a), sign = nfa_add_state(a),
            digits = nfa_add_state(a), last = nfa_add_state(a),
            minus = nfa_add_text(a, from, "-", 1);
    add_magnitude(a, 0, int_max, from, whole);
    add_magnitude(a, 0, int_max, minus, whole);
    add_fraction(a, ANY_FRACTION, whole, mantissa);
    nfa_add_empty(a, mantissa, to);
    nfa_add_bytes(a, mantissa, 'e', 'e', sign);
    nfa_add_bytes(a, mantissa, 'E', 'E', sign);
    nfa_add_bytes(a, sign, '+', '+', digits);
    nfa_add_bytes(a, sign, '-', '-', digits);
    nfa_add_empty(a, sign, digits);
    nfa_add_bytes(a, digits, '0', '9', last);
    nfa_add_empty(a, last, to);
    nfa_add_bytes(a, last, '0', '9', to);
}

tk_status schema_add_number(nfa *a, const schema_bounds *b, int32_t from, int32_t to, tk_err *err)
{
    if (!b->has_min && !b->has_max) {
        add_any_number(a, from, to);
        return TK_OK;
    }
    if ((b->has_min && b->min != floor(b->min)) || (b->has_max && b->max != floor(b->max)))
        return tk_fail(err, TK_UNSUPPORTED,
                       "\"%s\" of a \"number\" is supported only for whole numbers",
                       b->has_min && b->min != floor(b->min) ? "minimum" : "maximum");
    int64_t lo = b->has_min ? clamp(b->min) : -int_max, hi = b->has_max ? clamp(b->max) : int_max;
    if (lo < 0) { // |v| from max(0, -hi) to -lo
        int32_t minus = nfa_add_text(a, from, "-", 1);
        int64_t least = TK_MAX(0, -hi);
        bool open = hi <= 0 && b->max_open; // hi = 0: -0 is 0
        if (least <= -lo) add_between(a, least, open, -lo, b->min_open, minus, to);
    }
    if (hi >= 0) add_between(a, TK_MAX(0, lo), lo >= 0 && b->min_open, hi, b->max_open, from, to);
    return TK_OK;
}

// The edge for byte c alone that `state` has, or -1.
static int32_t child(const nfa *a, int32_t state, uint8_t c)
{
    for (int32_t e = a->state[state].edges; e >= 0; e = a->edge[e].next)
        if (a->edge[e].kind == NFA_BYTES && a->edge[e].lo == c && a->edge[e].hi == c)
            return a->edge[e].to;
    return -1;
}

void schema_add_literal(nfa *a, const char *s, size_t len, int32_t from, int32_t to)
{
    for (size_t i = 0; i < len && !a->too_large; i++) {
        int32_t next = child(a, from, (uint8_t)s[i]);
        if (next < 0) next = nfa_add_text(a, from, s + i, 1);
        from = next;
    }
    for (int32_t e = a->state[from].edges; e >= 0; e = a->edge[e].next)
        if (a->edge[e].kind == NFA_EMPTY && a->edge[e].to == to) return; // twice the same
    nfa_add_empty(a, from, to);
}

// --- inside strings, byte by byte: between characters, or how a character goes on ---
enum { BETWEEN, MORE1, MORE2, MORE3, AFTER_E0, AFTER_ED, AFTER_F0, AFTER_F4, ESCAPE, N_INSIDE };

static const struct {
    uint8_t where, lo, hi, next;
} inside[] = {
    {BETWEEN, 0x20, 0x21, BETWEEN}, {BETWEEN, 0x23, 0x5B, BETWEEN},
    {BETWEEN, 0x5D, 0x7F, BETWEEN}, {BETWEEN, 0x5C, 0x5C, ESCAPE},
    {BETWEEN, 0xC2, 0xDF, MORE1},   {BETWEEN, 0xE0, 0xE0, AFTER_E0},
    {BETWEEN, 0xE1, 0xEC, MORE2},   {BETWEEN, 0xED, 0xED, AFTER_ED},
    {BETWEEN, 0xEE, 0xEF, MORE2},   {BETWEEN, 0xF0, 0xF0, AFTER_F0},
    {BETWEEN, 0xF1, 0xF3, MORE3},   {BETWEEN, 0xF4, 0xF4, AFTER_F4},
    {MORE1, 0x80, 0xBF, BETWEEN},   {MORE2, 0x80, 0xBF, MORE1},
    {MORE3, 0x80, 0xBF, MORE2},     {AFTER_E0, 0xA0, 0xBF, MORE1},
    {AFTER_ED, 0x80, 0x9F, MORE1},  {AFTER_F0, 0x90, 0xBF, MORE2},
    {AFTER_F4, 0x80, 0x8F, MORE2},  {ESCAPE, '"', '"', BETWEEN},
    {ESCAPE, '\\', '\\', BETWEEN},  {ESCAPE, 'b', 'b', BETWEEN},
    {ESCAPE, 'f', 'f', BETWEEN},    {ESCAPE, 'n', 'n', BETWEEN},
    {ESCAPE, 'r', 'r', BETWEEN},    {ESCAPE, 't', 't', BETWEEN},
};

static int inside_next(int where, unsigned c)
{
    for (size_t i = 0; i < TK_COUNT(inside); i++)
        if (inside[i].where == where && c >= inside[i].lo && c <= inside[i].hi)
            return inside[i].next;
    return -1;
}

static void add_hex(nfa *a, int32_t from, int n, int32_t to)
{
    for (int i = 0; i < n; i++) {
        int32_t next = i + 1 == n ? to : nfa_add_state(a);
        nfa_add_bytes(a, from, '0', '9', next);
        nfa_add_bytes(a, from, 'A', 'F', next);
        nfa_add_bytes(a, from, 'a', 'f', next);
        from = next;
    }
}

// After backslash u: a character outside the surrogates, or a pair of them.
static void add_unicode_escape(nfa *a, int32_t from, int32_t to)
{
    int32_t rest = nfa_add_state(a), d = nfa_add_state(a), low = nfa_add_state(a),
            high = nfa_add_state(a);
    static const uint8_t first[][2] = {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}};
    for (size_t i = 0; i < TK_COUNT(first); i++)
        nfa_add_bytes(a, from, first[i][0], first[i][1], rest);
    add_hex(a, rest, 3, to);
    nfa_add_bytes(a, from, 'D', 'D', d);
    nfa_add_bytes(a, from, 'd', 'd', d);
    int32_t two = nfa_add_state(a);
    nfa_add_bytes(a, d, '0', '7', two);
    add_hex(a, two, 2, to);
    static const uint8_t pair[][2] = {{'8', '9'}, {'A', 'B'}, {'a', 'b'}};
    for (size_t i = 0; i < TK_COUNT(pair); i++) nfa_add_bytes(a, d, pair[i][0], pair[i][1], high);
    add_hex(a, high, 2, low);
    int32_t second = nfa_add_text(a, low, "\\u", 2), c = nfa_add_state(a), end = nfa_add_state(a);
    nfa_add_bytes(a, second, 'D', 'D', c);
    nfa_add_bytes(a, second, 'd', 'd', c);
    nfa_add_bytes(a, c, 'C', 'F', end);
    nfa_add_bytes(a, c, 'c', 'f', end);
    add_hex(a, end, 2, to);
}

void schema_fill_multi(nfa *a, int32_t rule)
{
    int32_t state[N_INSIDE];
    state[BETWEEN] = a->rule[rule].final;
    for (int i = 1; i < N_INSIDE; i++) state[i] = nfa_add_state(a);
    for (size_t i = 0; i < TK_COUNT(inside); i++) {
        bool first = inside[i].where == BETWEEN;
        if (first && inside[i].next == BETWEEN) continue; // schema_add_char has these
        nfa_add_bytes(a, first ? a->rule[rule].start : state[inside[i].where], inside[i].lo,
                      inside[i].hi, state[inside[i].next]);
    }
    nfa_add_bytes(a, state[ESCAPE], '/', '/', state[BETWEEN]);
    int32_t u = nfa_add_text(a, state[ESCAPE], "u", 1);
    add_unicode_escape(a, u, state[BETWEEN]);
}

void schema_add_char(nfa *a, int32_t multi_rule, int32_t from, int32_t to)
{
    nfa_add_bytes(a, from, 0x20, 0x21, to);
    nfa_add_bytes(a, from, 0x23, 0x5B, to);
    nfa_add_bytes(a, from, 0x5D, 0x7F, to);
    nfa_add_call(a, from, multi_rule, to);
}

// What leads out of the tree at its state s. where[s - first + 1] (root: 0) is known; the children's is set.
static void leave_tree(nfa *a, int32_t s, int32_t first, int8_t *where, const int32_t *other,
                       int32_t to)
{
    int32_t *link = &a->state[s].edges;
    int here = s < first ? BETWEEN : where[s - first + 1];
    bool is_name = false, taken[256] = {false};
    while (*link >= 0) {
        const nfa_edge *e = &a->edge[*link];
        if (e->kind == NFA_EMPTY) { // a name ends here; the mark has done its work
            is_name = true;
            *link = e->next;
            continue;
        }
        taken[e->lo] = true;
        where[e->to - first + 1] = (int8_t)inside_next(here, e->lo);
        link = &a->edge[*link].next;
    }
    if (!is_name && here == BETWEEN) nfa_add_bytes(a, s, '"', '"', to);
    for (unsigned c = 0; c < 256;) {
        int next = taken[c] ? -1 : inside_next(here, c);
        unsigned last = c;
        while (next >= 0 && last < 255 && !taken[last + 1] && inside_next(here, last + 1) == next)
            last++;
        if (next >= 0) nfa_add_bytes(a, s, c, last, other[next]);
        c = last + 1;
    }
}

// Keys are written in one way only (no \u, no \/), so that "is none of the names" is a matter of bytes. The
// names make a tree; leaving it anywhere leads into `other`, where everything goes.
void schema_add_other_key(nfa *a, char *const *names, size_t n, int32_t from, int32_t to)
{
    int32_t other[N_INSIDE], root = nfa_add_text(a, from, "\"", 1), first = a->n_state;
    if (a->too_large) return;
    for (size_t i = 0; i < n;
         i++) { // names[i] without its quotes; a name's end has an empty edge to root
        size_t len = strlen(names[i]);
        schema_add_literal(a, names[i] + 1, len - 2, root, root);
    }
    int32_t end = a->n_state;
    for (int i = 0; i < N_INSIDE; i++) other[i] = nfa_add_state(a);
    for (size_t i = 0; i < TK_COUNT(inside); i++)
        nfa_add_bytes(a, other[inside[i].where], inside[i].lo, inside[i].hi, other[inside[i].next]);
    nfa_add_bytes(a, other[BETWEEN], '"', '"', to);
    if (a->too_large) return;
    a->state[other[BETWEEN]].plain = NFA_ANY;
    // where in a character each state of the tree stands: parents come before their children
    int8_t *where = tk_alloc((size_t)(end - first) + 1);
    for (int32_t s = root; s < end && !a->too_large; s = s == root ? first : s + 1)
        leave_tree(a, s, first, where, other, to);
    tk_free(where);
}

const char *schema_format_pattern(const char *format)
{
#define DATE                                                                                       \
    "[12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"   \
    "02-(0[1-9]|1[0-9]|2[0-8]))"
#define TIME                                                                                       \
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9]" \
    ")"
#define OCTET "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
    static const struct {
        const char *format, *pattern;
    } known[] = {
        {"date", "^" DATE "$"},
        {"time", "^" TIME "$"},
        {"date-time", "^" DATE "T" TIME "$"},
        {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        {"ipv4", "^" OCTET "\\." OCTET "\\." OCTET "\\." OCTET "$"},
        {"email", "^[a-zA-Z0-9_+-]{1,32}(\\.[a-zA-Z0-9_+-]{1,32})?@[a-zA-Z0-9]{1,32}"
                  "(\\.[a-zA-Z0-9]{1,32}){0,2}\\.[a-zA-Z]{2,10}$"},
    };
    for (size_t i = 0; i < TK_COUNT(known); i++)
        if (strcmp(known[i].format, format) == 0) return known[i].pattern;
    return NULL;
}
