// SPDX-License-Identifier: MIT
// The automaton a grammar is compiled into: rules, each a small nondeterministic automaton over bytes whose
// edges may call other rules (a recursive transition network). Built once under counted bounds, then
// read-only. One owner while building.
//
// Invariants after nfa_finish (tests/unit/test_text_grammar.c)
//  1. height[s] is the least number of nested calls in which the end of s's rule can be reached, or NFA_NEVER.
//  2. A rule's final state has no edges.
#ifndef TK_TEXT_NFA_H
#define TK_TEXT_NFA_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NFA_NEVER = INT16_MAX, NFA_ANY = INT32_MAX };

typedef enum nfa_edge_kind { NFA_BYTES, NFA_EMPTY, NFA_CALL } nfa_edge_kind;

typedef struct nfa_edge {
    int32_t next; // of the same state, -1 = last
    int32_t to;
    int32_t rule; // CALL
    uint8_t kind, lo, hi;
} nfa_edge;

typedef struct nfa_state {
    int32_t edges; // first, -1 = none
    bool final;    // of its rule
    int32_t
        plain; // so many characters of a JSON string may follow here, whatever they are (those that
               // need no escape); NFA_ANY = any number; 0 = not known
} nfa_state;

typedef struct nfa_rule {
    int32_t start, final;
} nfa_rule;

typedef struct nfa {
    nfa_state *state;
    nfa_edge *edge;
    nfa_rule *rule;
    int32_t n_state, n_edge, n_rule;
    int32_t cap_state, cap_edge, cap_rule;
    bool too_large; // a bound was met; what was asked for after it is not there
    // from nfa_finish
    int16_t *height;         // [n_state]
    uint8_t byte_class[256]; // bytes that no edge tells apart share a class
    uint8_t class_byte[256]; // one byte of each class
    int n_class;
} nfa;

void nfa_free(nfa *a);
int32_t nfa_add_state(nfa *a);
int32_t nfa_add_rule(nfa *a); // with its start and final state
void nfa_add_bytes(nfa *a, int32_t from, unsigned lo, unsigned hi, int32_t to);
void nfa_add_empty(nfa *a, int32_t from, int32_t to);
void nfa_add_call(nfa *a, int32_t from, int32_t rule, int32_t to);
// A chain for the text; returns its last state.
int32_t nfa_add_text(nfa *a, int32_t from, const char *s, size_t len);
// Characters lo..hi as UTF-8, surrogates left out.
void nfa_add_chars(nfa *a, int32_t from, uint32_t lo, uint32_t hi, int32_t to);
// Heights and byte classes.
void nfa_finish(nfa *a);

#endif
