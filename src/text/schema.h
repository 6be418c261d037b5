// SPDX-License-Identifier: MIT
// JSON Schema to automaton. What is understood and how it is narrowed: docs/structured-output.md. Everything
// that is not understood is refused by its name; everything that grows is counted. Nothing recurses: schemas
// wait in a list.
#ifndef TK_TEXT_SCHEMA_H
#define TK_TEXT_SCHEMA_H

#include "base/status.h"
#include "text/nfa.h"

#include <jansson.h>

// Adds a rule for `schema`, whose $refs are looked up in `root`, and returns it through *rule. Properties that
// are optional stay optional; their order is the schema's.
tk_status tk_schema_add(nfa *a, const json_t *root, const json_t *schema, int32_t *rule,
                        tk_err *err);

// In schema_merge.c: a schema that says what both say, in new memory (json_decref). The same bounds.
tk_status schema_merge(const json_t *a, const json_t *b, json_t **out, tk_err *err);
// In schema_parts.c: numbers and literals, from state to state.
typedef struct schema_bounds {
    bool has_min, has_max, min_open, max_open; // open: the bound itself is left out
    double min, max;
} schema_bounds;
void schema_add_integer(nfa *a, const schema_bounds *b, int32_t from, int32_t to);
tk_status schema_add_number(nfa *a, const schema_bounds *b, int32_t from, int32_t to, tk_err *err);
// Texts that share their beginnings share states.
void schema_add_literal(nfa *a, const char *s, size_t len, int32_t from, int32_t to);
// A key (with quotes, simple escapes only) that is none of names[n]; those are JSON texts with quotes.
void schema_add_other_key(nfa *a, char *const *names, size_t n, int32_t from, int32_t to);
// One character of a string, as JSON writes it; escapes with \u too.
void schema_add_char(nfa *a, int32_t multi_rule, int32_t from, int32_t to);
void schema_fill_multi(nfa *a, int32_t rule);          // the rule schema_add_char calls
const char *schema_format_pattern(const char *format); // NULL = not known

#endif
