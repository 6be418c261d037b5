// SPDX-License-Identifier: MIT
#include "server/auth.h"

#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>
#include <strings.h>

typedef struct bucket { // fills by rate a second up to a minute's worth; may go below 0
    double level;
    uint64_t at_ns;
} bucket;

typedef struct key {
    char secret[TK_LIMIT_API_KEY_BYTES]; // padded with zeros
    bucket requests, tokens;
    int64_t running;
} key;

struct tk_auth {
    tk_auth_limits limits;
    int n;
    key *key; // [n + 1]; 0 = nobody's
};

tk_status tk_auth_new(const char *const *keys, int n, const tk_auth_limits *l, tk_auth **out,
                      tk_err *err)
{
    *out = NULL;
    if (n > TK_LIMIT_API_KEYS)
        return tk_fail(err, TK_USAGE, "%d API keys, at most %d are taken", n, TK_LIMIT_API_KEYS);
    for (int i = 0; i < n; i++) {
        size_t len = strlen(keys[i]);
        if (len == 0 || len >= TK_LIMIT_API_KEY_BYTES)
            return tk_fail(err, TK_USAGE, "API key %d has %zu bytes (1..%d are taken)", i + 1, len,
                           TK_LIMIT_API_KEY_BYTES - 1);
    }
    tk_auth *a = tk_alloc(sizeof *a);
    *a = (tk_auth){.limits = *l, .n = n, .key = tk_alloc(((size_t)n + 1) * sizeof *a->key)};
    for (int i = 0; i <= n; i++) {
        key *k = &a->key[i];
        if (i > 0) memcpy(k->secret, keys[i - 1], strlen(keys[i - 1]));
        k->requests.level = l->requests_per_min;
        k->tokens.level = l->tokens_per_min;
    }
    *out = a;
    return TK_OK;
}

void tk_auth_free(tk_auth *a)
{
    if (a == NULL) return;
    tk_free(a->key);
    tk_free(a);
}

// Every byte of every key is compared.
int tk_auth_find(const tk_auth *a, const char *header, const char *x_api_key)
{
    char given[TK_LIMIT_API_KEY_BYTES] = {0};
    const char *s = x_api_key;
    if (a->n == 0) return 0;
    if (header && strncasecmp(header, "Bearer ", 7) == 0) s = header + 7;
    size_t len = s ? strnlen(s, sizeof given) : 0;
    if (len < sizeof given && len > 0) memcpy(given, s, len);
    int found = -1;
    for (int i = 1; i <= a->n; i++) {
        unsigned differ = 0;
        for (size_t k = 0; k < sizeof given; k++)
            differ |= (unsigned)(a->key[i].secret[k] ^ given[k]);
        found = differ == 0 ? i : found;
    }
    return found;
}

static double fill(bucket *b, double per_min, uint64_t now_ns)
{
    if (b->at_ns) b->level += per_min / 60 * (double)(now_ns - b->at_ns) * 1e-9;
    if (b->level > per_min) b->level = per_min;
    b->at_ns = now_ns;
    return b->level;
}

static tk_status too_many(tk_api_err *e, double wait_s, const char *what, double limit)
{
    tk_api_fail(e, 429, NULL, "the limit of %.0f %s of this key is reached", limit, what);
    e->code = "rate_limit_exceeded";
    e->retry_after_s = (int)fmin(fmax(ceil(wait_s), 1), 3600);
    return TK_BAD_INPUT;
}

tk_status tk_auth_enter(tk_auth *a, int i, uint64_t now_ns, tk_api_err *e)
{
    const tk_auth_limits *l = &a->limits;
    key *k = &a->key[i];
    if (l->concurrent > 0 && k->running >= l->concurrent)
        return too_many(e, 1, "requests at once", (double)l->concurrent);
    if (l->tokens_per_min > 0 && fill(&k->tokens, l->tokens_per_min, now_ns) <= 0)
        return too_many(e, (1 - k->tokens.level) / l->tokens_per_min * 60, "tokens a minute",
                        l->tokens_per_min);
    if (l->requests_per_min > 0) {
        if (fill(&k->requests, l->requests_per_min, now_ns) < 1)
            return too_many(e, (1 - k->requests.level) / l->requests_per_min * 60,
                            "requests a minute", l->requests_per_min);
        k->requests.level -= 1;
    }
    k->running++;
    return TK_OK;
}

void tk_auth_leave(tk_auth *a, int i, int64_t n_tok, uint64_t now_ns)
{
    key *k = &a->key[i];
    k->running--;
    if (a->limits.tokens_per_min <= 0) return;
    fill(&k->tokens, a->limits.tokens_per_min, now_ns);
    k->tokens.level -= (double)n_tok;
}
