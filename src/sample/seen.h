// SPDX-License-Identifier: MIT
// Which tokens a text has and how often: what penalties are reckoned by. Grows with the number of distinct
// tokens. One owner, one thread.
#ifndef TK_SAMPLE_SEEN_H
#define TK_SAMPLE_SEEN_H

#include <stddef.h>
#include <stdint.h>

typedef struct tk_seen_token {
    int32_t id;    // -1 = empty slot
    int32_t n_out; // occurrences in the output; a token of the prompt alone has 0
} tk_seen_token;

typedef struct tk_seen {
    tk_seen_token *slots; // open addressing
    size_t n_slot, n;     // a power of two or 0; used
} tk_seen;

// The token's entry, made when it is not there; valid until the next call.
tk_seen_token *tk_seen_find(tk_seen *s, int32_t id);
void tk_seen_free(tk_seen *s);

#endif
