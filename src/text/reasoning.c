// SPDX-License-Identifier: MIT
#include "text/reasoning.h"

#include "base/limits.h"

#include <string.h>

static const tk_reasoning_marks think = {"<think>", "</think>"}, mistral = {"[THINK]", "[/THINK]"};

const tk_reasoning_marks *tk_reasoning_by_name(const char *name)
{
    static const char *const thinking[] = {"think", "deepseek_r1", "deepseek-r1", "qwen3",
                                           "deepseek"};
    for (size_t i = 0; i < TK_COUNT(thinking); i++)
        if (strcmp(name, thinking[i]) == 0) return &think;
    return strcmp(name, "mistral") == 0 ? &mistral : NULL;
}

const tk_reasoning_marks *tk_reasoning_of_template(const char *source)
{
    if (strstr(source, "</think>") || strstr(source, "<think>")) return &think;
    return strstr(source, "[THINK]") ? &mistral : NULL;
}

bool tk_reasoning_is_open_in(const tk_reasoning_marks *m, const char *prompt, size_t len)
{
    size_t n = strlen(m->begin);
    while (len > 0 && (prompt[len - 1] == '\n' || prompt[len - 1] == ' ')) len--;
    return len >= n && memcmp(prompt + len - n, m->begin, n) == 0;
}

void tk_reasoning_init(tk_reasoning *r, const tk_reasoning_marks *marks, bool open)
{
    *r = (tk_reasoning){.marks = marks, .held = tk_buf_make(TK_LIMIT_TEXT_BYTES)};
    r->state = marks == NULL ? TK_REASONING_CONTENT : open ? TK_REASONING_IN : TK_REASONING_START;
}

void tk_reasoning_free(tk_reasoning *r)
{
    tk_buf_free(&r->held);
}

static bool is_blank(char c)
{
    return c == '\n' || c == ' ' || c == '\r' || c == '\t';
}

static void drop(tk_reasoning *r, size_t n)
{
    if (n == 0) return;
    memmove(r->held.data, r->held.data + n, r->held.len - n + 1);
    r->held.len -= n;
}

// Nothing but blanks so far, then perhaps the beginning mark. True: go on with the new state.
static bool start(tk_reasoning *r)
{
    const char *s = tk_buf_str(&r->held);
    size_t blank = 0, n = strlen(r->marks->begin);
    while (blank < r->held.len && is_blank(s[blank])) blank++;
    size_t have = r->held.len - blank;
    if (memcmp(s + blank, r->marks->begin, have < n ? have : n) != 0) {
        r->state = TK_REASONING_CONTENT; // the blanks are the answer's
        return true;
    }
    if (have < n) return false;
    drop(r, blank + n);
    r->state = TK_REASONING_IN;
    return true;
}

// How much of held[0..len) may be shown: not blanks at its end, which may stand before the end mark.
static size_t without_blanks(const char *s, size_t len)
{
    while (len > 0 && is_blank(s[len - 1])) len--;
    return len;
}

static bool inside(tk_reasoning *r, tk_reasoning_fn fn, void *ctx)
{
    const char *mark = r->marks->end;
    size_t n = strlen(mark);
    if (!r->shown) {
        size_t blank = 0;
        while (blank < r->held.len && is_blank(r->held.data[blank])) blank++;
        drop(r, blank);
    }
    const char *s = tk_buf_str(&r->held), *hit = memmem(s, r->held.len, mark, n);
    size_t upto = hit ? (size_t)(hit - s) : r->held.len;
    for (size_t k = n - 1; hit == NULL && k > 0; k--) // a mark that has begun
        if (k <= r->held.len && memcmp(s + r->held.len - k, mark, k) == 0) {
            upto = r->held.len - k;
            break;
        }
    size_t show = without_blanks(s, upto);
    if (show) {
        fn(ctx, true, s, show);
        r->shown = true;
    }
    drop(r, hit ? upto + n : show);
    if (hit) r->state = TK_REASONING_AFTER;
    return hit != NULL;
}

static bool after(tk_reasoning *r)
{
    size_t blank = 0;
    while (blank < r->held.len && (r->held.data[blank] == '\n' || r->held.data[blank] == '\r'))
        blank++;
    drop(r, blank);
    if (r->held.len == 0) return false;
    r->state = TK_REASONING_CONTENT;
    return true;
}

void tk_reasoning_push(tk_reasoning *r, const char *text, size_t len, tk_reasoning_fn fn, void *ctx)
{
    if (len == 0) return;
    if (r->state == TK_REASONING_CONTENT) {
        fn(ctx, false, text, len);
        return;
    }
    tk_buf_add(&r->held, text, len);
    bool on = true;
    while (on && r->state != TK_REASONING_CONTENT)
        on = r->state == TK_REASONING_START ? start(r)
             : r->state == TK_REASONING_IN  ? inside(r, fn, ctx)
                                            : after(r);
    if (r->state == TK_REASONING_CONTENT && r->held.len) {
        fn(ctx, false, r->held.data, r->held.len);
        tk_buf_free(&r->held);
    }
}

void tk_reasoning_flush(tk_reasoning *r, tk_reasoning_fn fn, void *ctx)
{
    if (r->held.len && r->state != TK_REASONING_AFTER)
        fn(ctx, r->state == TK_REASONING_IN, r->held.data, r->held.len);
    tk_buf_free(&r->held);
}
