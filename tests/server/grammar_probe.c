// SPDX-License-Identifier: MIT
// grammar_probe FOLDER < LINES: for each line {"schema": .., "seed": N} draws one text from the schema's masks
// over the tokenizer of FOLDER and prints {"text": .., "ended": ..} or {"error": ..}. For
// tests/server/clients/grammar_jsonschema.py.
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "text/grammar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STEPS = 800, CLOSE_FROM = 120 };

typedef struct probe {
    tk_tokenizer *t;
    tk_token_trie *trie;
    int32_t end;
} probe;

// Any allowed token; late in the text rather one that closes something.
static int32_t draw(const probe *p, tk_rng *r, const uint64_t *bits, int step)
{
    int32_t chosen = -1;
    uint64_t n_seen = 0;
    for (int pass = step > CLOSE_FROM || tk_rng_below(r, 8) == 0 ? 0 : 1; pass < 2 && chosen < 0;
         pass++)
        for (int32_t id = 0; id < p->trie->n_vocab; id++) {
            const uint8_t *s = p->trie->bytes + p->trie->start[id];
            bool closes = p->trie->start[id + 1] - p->trie->start[id] == 1 && strchr("\"}]", s[0]);
            if (!(bits[id / 64] >> (id % 64) & 1) || (pass == 0 && !closes)) continue;
            if (tk_rng_below(r, ++n_seen) == 0) chosen = id; // each with the same chance
        }
    return chosen;
}

static json_t *follow(const probe *p, tk_grammar *g, uint64_t seed)
{
    tk_rng r = {seed};
    tk_buf text = tk_buf_make(1 << 20);
    uint64_t *bits = tk_alloc(((size_t)p->trie->n_vocab + 63) / 64 * sizeof *bits);
    tk_grammar_run *run = tk_grammar_run_new(g, p->trie, &p->end, 1);
    bool ended = false, stuck = false;
    for (int step = 0; step < MAX_STEPS && !ended && !stuck; step++) {
        tk_grammar_run_mask(run, bits, p->trie->n_vocab);
        bool may_end = bits[p->end / 64] >> (p->end % 64) & 1;
        int32_t id = may_end && (step > CLOSE_FROM || tk_rng_below(&r, 3) == 0)
                         ? p->end
                         : draw(p, &r, bits, step);
        ended = id == p->end;
        stuck = id < 0;
        if (!ended && !stuck)
            tk_buf_add(&text, p->trie->bytes + p->trie->start[id],
                       p->trie->start[id + 1] - p->trie->start[id]);
        tk_grammar_run_accept(run, id);
    }
    json_t *j = json_pack("{s:o, s:b, s:b}", "text", json_stringn(tk_buf_str(&text), text.len),
                          "ended", ended, "stuck", stuck);
    tk_grammar_run_free(run);
    tk_buf_free(&text);
    tk_free(bits);
    return j ? j : json_pack("{s:s}", "error", "the text is not UTF-8");
}

int main(int argc, char **argv)
{
    probe p = {0};
    char *line = NULL;
    size_t cap = 0;
    if (argc != 2 || tk_tokenizer_open_dir(argv[1], &p.t, NULL) != TK_OK) return 2;
    p.trie = tk_token_trie_new(p.t, NULL, 0);
    p.end = tk_tokenizer_eos(p.t);
    while (getline(&line, &cap, stdin) > 0) {
        tk_err err = TK_ERR_INIT;
        tk_grammar *g = NULL;
        json_t *in = json_loads(line, 0, NULL), *out;
        if (tk_grammar_compile(json_object_get(in, "schema"), &(tk_grammar_opts){0}, &g, &err) ==
            TK_OK)
            out = follow(&p, g, (uint64_t)json_integer_value(json_object_get(in, "seed")));
        else
            out = json_pack("{s:s}", "error", err.msg);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        tk_grammar_unref(g);
        json_decref(in);
        json_decref(out);
    }
    free(line);
    tk_token_trie_free(p.trie);
    tk_tokenizer_free(p.t);
    return 0;
}
