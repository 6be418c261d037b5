// SPDX-License-Identifier: MIT
// Chat templates: whatever parses is rendered with a small conversation that has tools, numbers of all sorts and
// text that is not ASCII. The names are those of the corpus and of template.dict.
#include "base/buf.h"
#include "text/template.h"

#include <stddef.h>
#include <stdint.h>

static json_t *context(void)
{
    static const char text[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"sys\\n\"},"
        "{\"role\":\"user\",\"content\":\" h\\u00e9 \\ud83d\\ude00 <b> \"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c1\",\"type\":"
        "\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":{\"a\":[1,2.5,null,{\"b\":true}]}}}]},"
        "{\"role\":\"tool\",\"content\":[{\"type\":\"text\",\"text\":\"x</think>y\"}]}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
        "\"object\","
        "\"properties\":{\"a\":{\"type\":[\"string\",\"null\"],\"enum\":[1,\"x\"]}}}}}],"
        "\"add_generation_prompt\":true,\"documents\":null,\"bos_token\":\"<s>\",\"s\":\"Hello "
        "World\","
        "\"n\":7,\"m\":-9223372036854775808,\"f\":1e300,\"g\":-0.0,\"l\":[3,1,2],"
        "\"d\":{\"b\":1,\"a\":[1,2]}}";
    return json_loads(text, 0, NULL);
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
