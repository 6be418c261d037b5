// SPDX-License-Identifier: MIT
// Bodies of requests, read as the text thread reads them, with the demo model's tokenizer and template: the
// first byte chooses the route. Whatever is wrong must be an error with a status, never a crash.
#include "base/json.h"
#include "base/mem.h"
#include "engine/chat.h"
#include "server/grammar_cache.h"
#include "server/server_priv.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static tk_server *make_server(void)
{
    static tk_server s;
    static tk_model m;
    static const char *const names[] = {"demo"};
    tk_engine_opts eo = tk_engine_opts_default();
    if (s.model) return &s;
    if (tk_model_open(TK_SOURCE_DIR "/models/demo", &eo, true, &m, NULL) != TK_OK) return NULL;
    s.model = &m;
    s.opts = tk_server_opts_default();
    s.opts.names = names;
    s.opts.n_name = 1;
    s.max_len = 512;
    s.n_vocab = tk_tokenizer_n_vocab(m.tokenizer);
    s.sample = tk_sample_opts_default();
    s.marks = tk_reasoning_of_template(tk_chat_source(m.chat, false));
    s.tools = TK_TOOLS_HERMES;
    s.trie = tk_token_trie_new(m.tokenizer, NULL, 0);
    s.grammars = tk_grammar_cache_new();
    return &s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tk_status (*const readers[])(tk_call *) = {
        tk_read_chat,     tk_read_completion, tk_read_response,    tk_read_message,
        tk_read_tokenize, tk_read_detokenize, tk_read_count_tokens};
    tk_server *s = make_server();
    assert(s != NULL);
    if (size < 1 || size > 1 << 16) return 0;
    tk_call *c = tk_alloc(sizeof *c);
    c->server = s;
    if (tk_json_parse((const char *)data + 1, size - 1, "fuzz", &c->json, NULL) == TK_OK) {
        tk_status st = readers[data[0] % TK_COUNT(readers)](c);
        assert((st == TK_OK) == (c->error.status == 0));
        assert(st == TK_OK || (c->error.status >= 400 && c->error.msg[0]));
        if (st == TK_OK && c->reply == NULL) tk_gen_prepare(c);
        json_decref(tk_api_error_json(&c->error, data[0] & 1, "x"));
    }
    tk_gen_free(c);
    json_decref(c->json);
    json_decref(c->reply);
    tk_free(c);
    return 0;
}
