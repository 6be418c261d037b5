// SPDX-License-Identifier: MIT
// Who may ask, and how much: API keys, and limits of each key. Without keys everybody is key 0. Owner: the
// event loop's thread; keys are never shown or logged.
#ifndef TK_SERVER_AUTH_H
#define TK_SERVER_AUTH_H

#include "server/api.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_auth_limits { // of each key; 0 = none
    double requests_per_min, tokens_per_min;
    int64_t concurrent;
} tk_auth_limits;

typedef struct tk_auth tk_auth;

// keys [n] are copied; n = 0: anybody may ask. TK_USAGE: an empty or overlong key, or too many.
tk_status tk_auth_new(const char *const *keys, int n, const tk_auth_limits *l, tk_auth **out,
                      tk_err *err);
void tk_auth_free(tk_auth *a); // NULL is fine
// The key's number, 1..n (0 when no keys are set); -1 when there is no such key. header: the value of
// Authorization; x_api_key: of that header. Either may be NULL. Takes the same time whatever is presented.
int tk_auth_find(const tk_auth *a, const char *header, const char *x_api_key);
// A request begins: TK_OK and it counts, or 429 in e with retry_after_s.
tk_status tk_auth_enter(tk_auth *a, int key, uint64_t now_ns, tk_api_err *e);
// It has ended and has taken so many tokens.
void tk_auth_leave(tk_auth *a, int key, int64_t n_tok, uint64_t now_ns);

#endif
