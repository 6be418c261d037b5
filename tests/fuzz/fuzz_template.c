// SPDX-License-Identifier: MIT
// Chat templates: whatever parses is rendered with a small conversation that has tools, numbers of all sorts and
// text that is not ASCII. The names are those of the corpus and of template.dict.
#include "base/buf.h"
#include "text/template.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

// JSON with ' for its quotes
static const char text[] =
    "{'messages': [{'role': 'system', 'content': 'sys\\n'},"
    " {'role': 'user', 'content': ' h\\u00e9 \\ud83d\\ude00 <b> '},"
    " {'role': 'assistant', 'content': null, 'tool_calls': [{'id': 'c1', 'type': 'function',"
    "  'function': {'name': 'f', 'arguments': {'a': [1, 2.5, null, {'b': true}]}}}]},"
    " {'role': 'tool', 'content': [{'type': 'text', 'text': 'x</think>y'}]}],"
    " 'tools': [{'type': 'function', 'function': {'name': 'f', 'parameters': {'type': 'object',"
    "  'properties': {'a': {'type': ['string', 'null'], 'enum': [1, 'x']}}}}}],"
    " 'add_generation_prompt': true, 'documents': null, 'bos_token': '<s>',"
    " 's': 'Hello World', 't': '  two\\n lines ', 'u8': 'Gr\\u00f6\\u00dfe \\u4f60 \\ufb01', 'e': "
    "'',"
    " 'n': 7, 'm': -9223372036854775808, 'big': 9007199254740993, 'f': 2.5, 'g': -0.0, 'h': 1e300,"
    " 'b': true, 'nil': null, 'l': [3, 1, 2], 'ls': ['b', 'A', 'a'],"
    " 'mix': [1, 'a', null, 2.5, true, [1], {'k': 1}],"
    " 'ld': [{'name': 'Ann', 'age': 3, 'role': 'user', 'n': {'x': 1}}, {'name': 'bob', 'age': 1}],"
    " 'd': {'b': 1, 'a': [1, 2], 'C': {'x': null}, 'items': 'shadow'},"
    " 'deep': {'a': {'b': {'c': [1, {'d': 'end'}]}}}}";

static json_t *context(void)
{
    char *json = strdup(text);
    if (json == NULL) abort();
    for (char *p = json; (p = strchr(p, '\''));) *p = '"';
    json_t *c = json_loads(json, 0, NULL);
    free(json);
    if (c == NULL) abort();
    return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static json_t *shared;
    tk_template *t = NULL;
    if (shared == NULL) shared = context();
    if (size > 1 << 16 || tk_template_parse((const char *)data, size, &t, NULL) != TK_OK) return 0;
    tk_buf out = tk_buf_make(1 << 20);
    tk_template_render(t, shared, &out, NULL);
    tk_buf_free(&out);
    tk_template_free(t);
    return 0;
}
