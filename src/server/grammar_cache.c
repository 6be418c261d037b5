// SPDX-License-Identifier: MIT
#include "server/grammar_cache.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { N_ENTRY = 16 };

struct tk_grammar_cache {
    struct entry {
        char *key; // the schema's text and the options
        tk_grammar *g;
        uint64_t used;
    } e[N_ENTRY];
    uint64_t clock;
};

tk_grammar_cache *tk_grammar_cache_new(void)
{
    return tk_alloc(sizeof(tk_grammar_cache));
}

static void empty(struct entry *e)
{
    free(e->key);
    tk_grammar_unref(e->g);
    *e = (struct entry){0};
}

void tk_grammar_cache_free(tk_grammar_cache *c)
{
    if (c == NULL) return;
    for (int i = 0; i < N_ENTRY; i++) empty(&c->e[i]);
    tk_free(c);
}

static char *key_of(const json_t *schema, const tk_grammar_opts *o)
{
    json_t *all = json_pack("[O, s?, s?, b, s?, s?]", schema, o->reason_begin, o->reason_end,
                            o->reasoning_open, o->trigger, o->after);
    char *key = json_dumps(all, JSON_COMPACT);
    json_decref(all);
    return key;
}

tk_status tk_grammar_cache_get(tk_grammar_cache *c, const json_t *schema, const tk_grammar_opts *o,
                               tk_grammar **out, tk_err *err)
{
    struct entry *oldest = &c->e[0];
    char *key = key_of(schema, o);
    *out = NULL;
    for (int i = 0; key && i < N_ENTRY; i++) {
        struct entry *e = &c->e[i];
        if (e->key && strcmp(e->key, key) == 0) {
            free(key);
            e->used = ++c->clock;
            *out = tk_grammar_ref(e->g);
            return TK_OK;
        }
        if (e->used < oldest->used) oldest = e;
    }
    tk_grammar *g = NULL;
    tk_status st = tk_grammar_compile(schema, o, &g, err);
    if (st != TK_OK || key == NULL) {
        free(key);
        *out = g;
        return st;
    }
    empty(oldest);
    *oldest = (struct entry){key, g, ++c->clock};
    *out = tk_grammar_ref(g);
    return TK_OK;
}
