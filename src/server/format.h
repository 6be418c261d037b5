// SPDX-License-Identifier: MIT
// What the formats of several APIs share. On the loop's thread.
#ifndef TK_SERVER_FORMAT_H
#define TK_SERVER_FORMAT_H

#include "server/call.h"

json_t *tk_format_text(const tk_buf *b);              // new reference; always valid UTF-8
json_t *tk_format_stringn(const char *s, size_t len); // the same
json_t *tk_format_usage(const tk_call *c);
// Of a stream's events but the last: null, or the counts when they are wanted with each (as vLLM has them).
json_t *tk_format_usage_so_far(const tk_call *c); // OpenAI's `usage`
json_t *tk_format_tool_calls(const tk_choice *k); // OpenAI's `tool_calls` of a whole answer
// The token as text, for logprobs: special ones too, broken characters replaced.
void tk_format_token(const tk_call *c, int32_t id, tk_buf *out);
json_t *tk_format_token_bytes(const tk_call *c, int32_t id); // its bytes as numbers
// OpenAI's chat `logprobs` of the tokens noted since the last time: {"content": [...]}.
json_t *tk_format_chat_logprobs(tk_choice *k);

extern const tk_format tk_format_chat, tk_format_completion, tk_format_response, tk_format_message;

#endif
