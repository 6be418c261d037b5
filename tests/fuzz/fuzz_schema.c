// SPDX-License-Identifier: MIT
// Schemas: whatever compiles is followed along its masks for some steps, which may never be empty.
#include "base/json.h"
#include "base/rng.h"
#include "text/grammar.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

// A vocabulary of single bytes and a few longer pieces, made without files.
static tk_token_trie *vocabulary(void)
{
    static tk_token_trie *trie;
    static const char json[] =
        "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"!\":0,\"\\\"\":1,\"{\":2,\"}\":3,\"[\":4,\"]\":"
        "5,\",\":6,"
        "\":\":7,\"a\":8,\"b\":9,\"0\":10,\"1\":11,\"9\":12,\"-\":13,\".\":14,\"e\":15,\"true\":16,"
        "\"fals\":17,"
        "\"null\":18,\"\\\\\":19,\"\xC4\xA0\":20,\"\xC4\x8A\":21,\"ab\":22,\"\xC3\x83\":23,"
        "\"\xC2\xA9\":24,"
        "\"n\":25,\"u\":26,\"l\":27,\"t\":28,\"r\":29,\"f\":30,\"s\":31},\"merges\":[]},"
        "\"decoder\":{\"type\":\"ByteLevel\"},\"pre_tokenizer\":{\"type\":\"ByteLevel\","
        "\"add_prefix_space\":false,\"use_regex\":false}}";
    tk_tokenizer *t = NULL;
    if (trie == NULL && tk_tokenizer_open_json(json, sizeof json - 1, "fuzz", &t, NULL) == TK_OK)
        trie = tk_token_trie_new(t, NULL, 0);
    tk_tokenizer_free(t);
    return trie;
}

static void follow(tk_grammar *g, const tk_token_trie *trie, uint64_t seed)
{
    tk_rng r = {seed};
    const int32_t end = 63;
    tk_grammar_run *run = tk_grammar_run_new(g, trie, &end, 1);
    for (int step = 0; step < 40; step++) {
        uint64_t bits;
        tk_grammar_run_mask(run, &bits, 64);
        int n = __builtin_popcountll(bits);
        if (n == 0 || bits >> 63) break; // 0: a string that this small vocabulary cannot write
        for (uint64_t skip = tk_rng_below(&r, (uint64_t)n); skip > 0; skip--) bits &= bits - 1;
        tk_grammar_run_accept(run, __builtin_ctzll(bits));
    }
    tk_grammar_run_free(run);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *schema = NULL;
    tk_grammar *g = NULL;
    const tk_token_trie *trie = vocabulary();
    assert(trie != NULL);
    if (size > 1 << 16 || tk_json_parse((const char *)data, size, "fuzz", &schema, NULL) != TK_OK)
        return 0;
    if (tk_grammar_compile(schema, &(tk_grammar_opts){0}, &g, NULL) == TK_OK)
        for (uint64_t seed = 0; seed < 4; seed++) follow(g, trie, seed);
    tk_grammar_unref(g);
    json_decref(schema);
    return 0;
}
