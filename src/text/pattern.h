// SPDX-License-Identifier: MIT
// JSON Schema's `pattern` (the part of ECMA-262's regular expressions that is regular: no references, no
// look-around, no word borders; anchors at the ends of alternatives) as an automaton for the inside of a JSON
// string. It is made deterministic under counted bounds, so that following it costs nothing later.
#ifndef TK_TEXT_PATTERN_H
#define TK_TEXT_PATTERN_H

#include "base/status.h"
#include "text/nfa.h"

// Adds to a, from state `from` (after the opening quote) to `to` (after the closing one), the strings that
// match and have min..max characters (max -1 = any number). TK_UNSUPPORTED: a construct that is not in the
// subset, or a bound passed; the story says which.
tk_status tk_pattern_add(nfa *a, const char *pattern, size_t len, int64_t min, int64_t max,
                         int32_t from, int32_t to, tk_err *err);

#endif
