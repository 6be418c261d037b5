// SPDX-License-Identifier: MIT
// tokenizer.json: whatever opens must encode and decode a fixed text.
#include "base/mem.h"
#include "text/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "Hello <s> w\xC3\xB6rld  123\n\xF0\x9F\x98\x80 \xFF aaaaaaaa";
    tk_tokenizer *t = NULL;
    if (tk_tokenizer_open_json((const char *)data, size, "fuzz", &t, NULL) != TK_OK) return 0;
    int32_t *ids = NULL;
    size_t n = 0;
    tk_buf out = tk_buf_make(1 << 20);
    if (tk_tokenizer_encode(t, text, sizeof text - 1, (tk_encode_opts){0}, &ids, &n, NULL) == TK_OK)
        tk_tokenizer_decode(t, ids, n, false, &out, NULL);
    tk_buf_free(&out);
    tk_free(ids);
    tk_tokenizer_free(t);
    return 0;
}
