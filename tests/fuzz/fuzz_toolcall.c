// SPDX-License-Identifier: MIT
// Tool calls and reasoning: the first byte chooses the form; the rest is fed whole and byte by byte, and both
// must say the same.
#include "base/buf.h"
#include "base/compiler.h"
#include "text/reasoning.h"
#include "text/toolcall.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct transcript {
    tk_buf b;
    char last;
} transcript;

static void note(transcript *t, char kind, const char *s, size_t len)
{
    if (kind != t->last || kind == 'B' || kind == 'E') tk_buf_add_char(&t->b, kind);
    t->last = kind;
    tk_buf_add(&t->b, s, len);
}

static void on_tool(void *ctx, tk_tool_event e, const char *s, size_t len)
{
    note(ctx, "CBAE"[e], s, len);
}

static void on_reasoning(void *ctx, bool is_reasoning, const char *s, size_t len)
{
    if (is_reasoning)
        note((transcript *)((void **)ctx)[0], 'R', s, len);
    else
        tk_tool_parser_push(((void **)ctx)[1], s, len);
}

static transcript feed(uint8_t choice, const char *s, size_t len, size_t piece)
{
    static const tk_tool_format formats[] = {TK_TOOLS_NONE,    TK_TOOLS_HERMES,   TK_TOOLS_LLAMA3,
                                             TK_TOOLS_MISTRAL, TK_TOOLS_DEEPSEEK, TK_TOOLS_JSON};
    static const char *const names[] = {"get", "add"};
    transcript t = {.b = tk_buf_make(1 << 22)};
    tk_reasoning r;
    tk_tool_parser *p =
        tk_tool_parser_new(formats[choice % TK_COUNT(formats)], names, 2, on_tool, &t);
    void *both[] = {&t, p};
    tk_reasoning_init(&r, choice & 0x40 ? tk_reasoning_by_name("think") : NULL, choice & 0x80);
    for (size_t at = 0; at < len; at += piece)
        tk_reasoning_push(&r, s + at, TK_MIN(piece, len - at), on_reasoning, both);
    tk_reasoning_flush(&r, on_reasoning, both);
    tk_tool_parser_flush(p);
    tk_tool_parser_free(p);
    tk_reasoning_free(&r);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 4096) return 0;
    transcript a = feed(data[0], (const char *)data + 1, size - 1, size);
    transcript b = feed(data[0], (const char *)data + 1, size - 1, 1);
    assert(a.b.len == b.b.len && memcmp(tk_buf_str(&a.b), tk_buf_str(&b.b), a.b.len) == 0);
    tk_buf_free(&a.b);
    tk_buf_free(&b.b);
    return 0;
}
