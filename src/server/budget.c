// SPDX-License-Identifier: MIT
#include "server/budget.h"

#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

struct tk_budget {
    const tk_tokenizer *t;
    const tk_reasoning_marks *marks;
    tk_grammar_run *inner;
    int64_t left;
    enum { BEFORE, INSIDE, ENDING, OVER } state;
    tk_buf text;  // BEFORE: all; INSIDE: the end, as long as the mark
    int32_t *end; // the tokens that end it
    size_t n_end, i_end;
};

tk_budget *tk_budget_new(const tk_tokenizer *t, const tk_reasoning_marks *marks, bool open,
                         int64_t n_tok, tk_grammar_run *inner)
{
    tk_budget *b = tk_alloc(sizeof *b);
    *b = (tk_budget){.t = t,
                     .marks = marks,
                     .inner = inner,
                     .left = n_tok,
                     .state = open ? INSIDE : BEFORE,
                     .text = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 2)};
    char *mark = tk_asprintf("\n%s\n", marks->end);
    if (tk_tokenizer_encode(t, mark, strlen(mark), (tk_encode_opts){.bos = TK_BOS_NO}, &b->end,
                            &b->n_end, NULL) != TK_OK)
        b->state = OVER;
    tk_free(mark);
    return b;
}

void tk_budget_free(tk_budget *b)
{
    if (b == NULL) return;
    tk_buf_free(&b->text);
    tk_free(b->end);
    tk_free(b);
}

static void mask(void *ctx, uint64_t *bits, int32_t n_vocab)
{
    tk_budget *b = ctx;
    size_t words = ((size_t)n_vocab + 63) / 64;
    if (b->state == INSIDE && b->left <= 0) b->state = ENDING;
    if (b->state == ENDING) {
        memset(bits, 0, words * sizeof *bits);
        bits[b->end[b->i_end] / 64] |= (uint64_t)1 << (b->end[b->i_end] % 64);
    } else if (b->inner) {
        tk_grammar_run_mask(b->inner, bits, n_vocab);
    } else {
        memset(bits, 0xFF, words * sizeof *bits);
    }
}

// Where the text so far stands: it begins with the mark (BEFORE), or has come to the end mark (INSIDE).
static void look(tk_budget *b)
{
    const char *s = tk_buf_str(&b->text);
    size_t n = strlen(b->marks->begin), blank = strspn(s, " \n");
    if (b->state == BEFORE) {
        size_t have = TK_MIN(n, b->text.len - blank);
        if (memcmp(s + blank, b->marks->begin, have) != 0)
            b->state = OVER;
        else if (have == n)
            b->state = INSIDE;
        return;
    }
    if (strstr(s, b->marks->end)) b->state = OVER;
    size_t keep = TK_MIN(strlen(b->marks->end), b->text.len);
    memmove(b->text.data, b->text.data + b->text.len - keep, keep + 1);
    b->text.len = keep;
}

static void accept(void *ctx, int32_t id)
{
    tk_budget *b = ctx;
    if (b->inner) tk_grammar_run_accept(b->inner, id);
    if (b->state == OVER) return;
    if (b->state == ENDING) {
        if (++b->i_end == b->n_end) b->state = OVER;
        return;
    }
    if (b->state == INSIDE) b->left--;
    if (tk_tokenizer_token_bytes(b->t, id, &b->text)) look(b);
}

tk_job_grammar tk_budget_grammar(tk_budget *b)
{
    return (tk_job_grammar){b, mask, accept};
}
