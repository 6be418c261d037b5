// SPDX-License-Identifier: MIT
// Chat templates: whatever parses is rendered with a small conversation.
#include "base/buf.h"
#include "text/template.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tk_template *t = NULL;
    if (size > 1 << 16 || tk_template_parse((const char *)data, size, &t, NULL) != TK_OK) return 0;
    json_t *context = json_pack("{s:[{s:s, s:s}, {s:s, s:s}], s:b, s:n, s:s}", "messages", "role",
                                "user", "content", "hi", "role", "assistant", "content", "yes",
                                "add_generation_prompt", 1, "tools", "bos_token", "<s>");
    tk_buf out = tk_buf_make(1 << 20);
    tk_template_render(t, context, &out, NULL);
    tk_buf_free(&out);
    json_decref(context);
    tk_template_free(t);
    return 0;
}
