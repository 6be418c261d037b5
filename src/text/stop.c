// SPDX-License-Identifier: MIT
#include "text/stop.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

struct tk_stop {
    const char *const *stops;
    int n, which;
    bool hit;
    tk_buf held, out;
};

tk_stop *tk_stop_new(const char *const *stops, int n)
{
    tk_stop *s = tk_alloc(sizeof *s);
    *s = (tk_stop){.stops = stops,
                   .n = n,
                   .which = -1,
                   .held = tk_buf_make(TK_LIMIT_TEXT_BYTES),
                   .out = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
    return s;
}

void tk_stop_free(tk_stop *s)
{
    if (s == NULL) return;
    tk_buf_free(&s->held);
    tk_buf_free(&s->out);
    tk_free(s);
}

// The earliest complete stop string in held, or its length when there is none.
static size_t find_stop(tk_stop *s)
{
    size_t best = s->held.len;
    for (int i = 0; i < s->n; i++) {
        size_t len = strlen(s->stops[i]);
        const char *at = len ? memmem(tk_buf_str(&s->held), s->held.len, s->stops[i], len) : NULL;
        if (at && (size_t)(at - s->held.data) < best) {
            best = (size_t)(at - s->held.data);
            s->which = i;
        }
    }
    return best;
}

// Bytes at the end of held that begin a stop string.
static size_t open_tail(const tk_stop *s)
{
    size_t best = 0;
    for (int i = 0; i < s->n; i++) {
        size_t len = strlen(s->stops[i]);
        for (size_t k = TK_MIN(len ? len - 1 : 0, s->held.len); k > best; k--)
            if (memcmp(s->held.data + s->held.len - k, s->stops[i], k) == 0) best = k;
    }
    return best;
}

int tk_stop_which(const tk_stop *s)
{
    return s->which;
}

const char *tk_stop_push(tk_stop *s, const char *text, size_t len, size_t *shown, bool *hit)
{
    tk_buf_clear(&s->out);
    if (!s->hit) {
        tk_buf_add(&s->held, text, len);
        size_t end = find_stop(s);
        s->hit = end < s->held.len;
        size_t show = s->hit ? end : s->held.len - open_tail(s);
        tk_buf_add(&s->out, tk_buf_str(&s->held), show);
        if (s->hit)
            tk_buf_clear(&s->held);
        else if (show) {
            memmove(s->held.data, s->held.data + show, s->held.len - show + 1);
            s->held.len -= show;
        }
    }
    *hit = s->hit;
    *shown = s->out.len;
    return tk_buf_str(&s->out);
}

const char *tk_stop_flush(tk_stop *s, size_t *shown)
{
    tk_buf_clear(&s->out);
    tk_buf_add(&s->out, tk_buf_str(&s->held), s->held.len);
    tk_buf_clear(&s->held);
    *shown = s->out.len;
    return tk_buf_str(&s->out);
}
