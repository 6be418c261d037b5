// SPDX-License-Identifier: MIT
#include "bench/sse.h"

#include <string.h>

tk_sse tk_sse_make(size_t max_event_bytes)
{
    return (tk_sse){.line = tk_buf_make(max_event_bytes), .data = tk_buf_make(max_event_bytes)};
}

void tk_sse_free(tk_sse *s)
{
    tk_buf_free(&s->line);
    tk_buf_free(&s->data);
}

void tk_sse_reset(tk_sse *s)
{
    tk_buf_clear(&s->line);
    tk_buf_clear(&s->data);
    s->has_data = s->after_cr = false;
}

static bool end_line(tk_sse *s, tk_sse_fn fn, void *ctx)
{
    if (s->line.len == 0) {
        if (s->has_data) fn(ctx, tk_buf_str(&s->data), s->data.len);
        s->has_data = false;
        tk_buf_clear(&s->data);
        return true;
    }
    const char *line = tk_buf_str(&s->line);
    size_t at = 5;
    bool ok = true;
    if (s->line.len >= at && memcmp(line, "data:", at) == 0) {
        if (line[at] == ' ') at++;
        if (s->has_data) ok = tk_buf_add_char(&s->data, '\n');
        ok = ok && tk_buf_add(&s->data, line + at, s->line.len - at);
        s->has_data = true;
    }
    tk_buf_clear(&s->line);
    return ok;
}

bool tk_sse_feed(tk_sse *s, const char *bytes, size_t len, tk_sse_fn fn, void *ctx)
{
    for (size_t i = 0; i < len;) {
        if (bytes[i] == '\n' && s->after_cr) { // the second half of CR LF
            s->after_cr = false;
            i++;
            continue;
        }
        s->after_cr = false;
        size_t n = 0;
        while (i + n < len && bytes[i + n] != '\n' && bytes[i + n] != '\r') n++;
        if (n > 0 && !tk_buf_add(&s->line, bytes + i, n)) return false;
        i += n;
        if (i == len) return true;
        s->after_cr = bytes[i] == '\r';
        i++;
        if (!end_line(s, fn, ctx)) return false;
    }
    return true;
}
