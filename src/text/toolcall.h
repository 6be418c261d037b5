// SPDX-License-Identifier: MIT
// Finds calls of tools in a stream of generated text, in the forms that model families write them, and hands
// out content and calls piece by piece. What could still become a marker or a call is held back; what turns
// out to be none is content after all. One owner.
//
//   hermes       <tool_call>{"name": N, "arguments": {..}}</tool_call>, any number (Qwen, Hermes)
//   llama3_json  {"name": N, "parameters": {..}}, several separated by ';', at the beginning of the answer
//   mistral      [TOOL_CALLS][{"name": N, "arguments": {..}}, ..], or [TOOL_CALLS]N[ARGS]{..}
//   deepseek_v3  DeepSeek's special tokens: begin, kind, separator, name, fenced JSON; and V3.1's short form
//   json         a bare object, or a list of such, at the beginning of the answer
#ifndef TK_TEXT_TOOLCALL_H
#define TK_TEXT_TOOLCALL_H

#include <stdbool.h>
#include <stddef.h>

typedef enum tk_tool_format {
    TK_TOOLS_NONE, // everything is content
    TK_TOOLS_HERMES,
    TK_TOOLS_LLAMA3,
    TK_TOOLS_MISTRAL,
    TK_TOOLS_DEEPSEEK,
    TK_TOOLS_JSON,
} tk_tool_format;

// By a parser's name; false when there is none of that name.
bool tk_tool_format_by_name(const char *name, tk_tool_format *out);
// The form a chat template's text speaks of; TK_TOOLS_NONE when it knows no tools.
tk_tool_format tk_tool_format_of_template(const char *source);
// True when the markers are special tokens, so that the text must be made with these shown.
bool tk_tool_format_needs_special(tk_tool_format f);

typedef enum tk_tool_event {
    TK_TOOL_CONTENT, // text
    TK_TOOL_BEGIN,   // a call begins; text is its name
    TK_TOOL_ARGS,    // more of its arguments, JSON text
    TK_TOOL_END,     // the call is complete
} tk_tool_event;
typedef void (*tk_tool_fn)(void *ctx, tk_tool_event event, const char *text, size_t len);

typedef struct tk_tool_parser tk_tool_parser;
// names [n]: the tools there are, borrowed: in the forms without markers an object is a call only when it
// names one of them. Never NULL.
tk_tool_parser *tk_tool_parser_new(tk_tool_format f, const char *const *names, int n, tk_tool_fn fn,
                                   void *ctx);
void tk_tool_parser_free(tk_tool_parser *p); // NULL is fine
void tk_tool_parser_push(tk_tool_parser *p, const char *text, size_t len);
void tk_tool_parser_flush(tk_tool_parser *p); // the end of the stream

#endif
