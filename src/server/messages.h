// SPDX-License-Identifier: MIT
// Conversations and tools as the APIs send them, checked and brought into the form chat templates expect. On
// the text thread.
#ifndef TK_SERVER_MESSAGES_H
#define TK_SERVER_MESSAGES_H

#include "server/call.h"

// OpenAI's `messages`: a new list (json_decref). has_tools: the template writes tools itself; otherwise calls
// and results are written into the messages' text.
tk_status tk_messages_read(tk_call *c, const json_t *messages, bool has_tools, json_t **out);

// A text, or a list of text parts (types[] names those that are allowed), as one text. New reference.
tk_status tk_messages_text(tk_call *c, const json_t *content, const char *where, json_t **out);

// The tools of a request: [{"type": "function", "function": {...}}].
typedef struct tk_tools {
    const json_t *list; // as the template wants them; NULL = none, or none wanted
    bool forced;        // a call must come
    const char *only;   // of this tool; NULL = any
    bool parallel;      // several calls may come
    bool strict;        // some tool wants its schema enforced though calls are not forced
} tk_tools;
// tools, choice: OpenAI's, either may be NULL. Sets the parser and names of c->gen.
tk_status tk_tools_read(tk_call *c, json_t *tools, const json_t *choice, bool parallel,
                        tk_tools *out);
// A template that knows no tools: they are described in a system message, added to messages.
void tk_tools_describe(const tk_tools *t, json_t *messages);
// Forced calls are enforced (the answer is then JSON in the form TK_TOOLS_JSON), and the arguments of strict
// tools. Nothing to do otherwise.
tk_status tk_tools_constrain(tk_call *c, const tk_tools *t);

#endif
