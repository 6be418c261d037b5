// SPDX-License-Identifier: MIT
// Chat templates: the Jinja that Hugging Face templates are written in, rendered byte for byte as Python's
// jinja2 does under transformers (sandboxed and immutable, trim_blocks, lstrip_blocks, loop controls,
// `generation` blocks, its tojson, raise_exception and strftime_now). docs/chat-templates.md has the list.
// A parsed template is immutable: any number of threads may render it at once. Nothing here loads other
// templates, touches files or the network. Input is hostile: steps, output, memory and nesting are bounded
// (TK_LIMIT_TEMPLATE_*).
#ifndef TK_TEXT_TEMPLATE_H
#define TK_TEXT_TEMPLATE_H

#include "base/buf.h"
#include "base/status.h"

#include <jansson.h>
#include <stddef.h>

typedef struct tk_template tk_template;

// source is copied. TK_BAD_INPUT names the line and what was expected.
tk_status tk_template_parse(const char *source, size_t len, tk_template **out, tk_err *err);
void tk_template_free(tk_template *t); // NULL is fine
// context: a JSON object (messages, tools, documents, add_generation_prompt, bos_token, ... ), borrowed. The
// text is appended to out; on failure out holds what was there before. TK_BAD_INPUT when the template raises
// (for raise_exception the story is its message), TK_UNSUPPORTED for include, import and extends, TK_NOMEM
// when a bound is passed.
tk_status tk_template_render(const tk_template *t, const json_t *context, tk_buf *out, tk_err *err);

#endif
