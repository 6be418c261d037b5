// SPDX-License-Identifier: MIT
// Ids to text, all at once and token by token.
#include "text/tokenizer_priv.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// "<0x41>" -> 0x41, else -1.
static int fallback_byte(const char *s, size_t len)
{
    if (len != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>' || hex(s[3]) < 0 || hex(s[4]) < 0)
        return -1;
    return hex(s[3]) * 16 + hex(s[4]);
}

static void replace_all(tk_buf *b, tk_str what, tk_str with)
{
    tk_buf out = tk_buf_make(b->max);
    size_t at = 0;
    for (const char *hit;
         what.len && (hit = memmem(tk_buf_str(b) + at, b->len - at, what.s, what.len)) != NULL;) {
        size_t end = (size_t)(hit - b->data);
        tk_buf_add(&out, b->data + at, end - at);
        tk_buf_add(&out, with.s, with.len);
        at = end + what.len;
    }
    tk_buf_add(&out, tk_buf_str(b) + at, b->len - at);
    tk_buf_free(b);
    *b = out;
}

// Takes up to n times c away at the beginning; how many times it was there.
static int strip_start(tk_buf *b, tk_str c, int n)
{
    size_t at = 0;
    int taken = 0;
    for (; taken < n && c.len && b->len - at >= c.len && memcmp(b->data + at, c.s, c.len) == 0;
         taken++)
        at += c.len;
    if (at == 0) return 0;
    memmove(b->data, b->data + at, b->len - at + 1);
    b->len -= at;
    return taken;
}

static void run_decoder(const step *s, bool first, int *strip, tk_buf *b)
{
    int byte;
    switch (s->kind) {
    case DEC_REPLACE: replace_all(b, s->text, s->with); break;
    case DEC_METASPACE: // Hugging Face takes every one out of the first token
        replace_all(b, s->text,
                    first && s->prepend != PREPEND_NEVER ? (tk_str){"", 0} : (tk_str){" ", 1});
        break;
    case DEC_STRIP:
        if (!s->fused) {
            strip_start(b, s->text, s->start);
        } else if (*strip > 0) {
            *strip -= strip_start(b, s->text, *strip);
            if (b->len > 0) *strip = 0; // another character has come
        }
        break;
    case DEC_BYTE_FALLBACK:
        byte = fallback_byte(tk_buf_str(b), b->len);
        if (byte < 0) break;
        tk_buf_clear(b);
        tk_buf_add_char(b, (char)byte);
        break;
    default: break;
    }
}

void tok_decoding_begin(const tk_tokenizer *t, decoding *d)
{
    d->begun = false;
    for (int i = 0; i < t->n_dec; i++) d->strip[i] = t->dec[i].start;
}

void tok_decode_token(const tk_tokenizer *t, decoding *d, int32_t id, tk_buf *out)
{
    tk_buf b = tk_buf_make(1 << 20);
    if (t->join_spaces && d->begun) tk_buf_add_char(out, ' ');
    tk_buf_add(&b, t->token[id].s, t->token[id].len);
    for (int i = 0; i < t->n_dec; i++) run_decoder(&t->dec[i], !d->begun, &d->strip[i], &b);
    d->begun = true;
    tk_buf_add(out, tk_buf_str(&b), b.len);
    tk_buf_free(&b);
}

bool tok_is_shown(const tk_tokenizer *t, int32_t id, bool skip_special)
{
    return id >= 0 && id < t->n_vocab && t->token[id].s &&
           !(skip_special && t->kind[id] == TK_TOKEN_CONTROL);
}

tk_status tk_tokenizer_decode(const tk_tokenizer *t, const int32_t *ids, size_t n,
                              bool skip_special, tk_buf *out, tk_err *err)
{
    decoding d;
    tok_decoding_begin(t, &d);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_vocab)
            return tk_fail(err, TK_BAD_INPUT, "%s: token id %d is outside the vocabulary of %d",
                           t->where, ids[i], t->n_vocab);
        if (tok_is_shown(t, ids[i], skip_special)) tok_decode_token(t, &d, ids[i], out);
    }
    return out->failed
               ? tk_fail(err, TK_NOMEM, "the text of %zu tokens passes %zu bytes", n, out->max)
               : TK_OK;
}

tk_token_kind tk_tokenizer_kind(const tk_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab && t->token[id].s ? (tk_token_kind)t->kind[id]
                                                        : TK_TOKEN_UNUSED;
}

bool tk_tokenizer_token_bytes(const tk_tokenizer *t, int32_t id, tk_buf *out)
{
    size_t before = out->len;
    decoding d = {.begun = true}; // what decoders do to a first token is left out
    if (!tok_is_shown(t, id, false)) return false;
    tok_decode_token(t, &d, id, out);
    return out->len > before;
}

struct tk_detok {
    const tk_tokenizer *t;
    bool skip_special;
    decoding state;
    tk_buf held, shown; // held: bytes of a character that is not complete yet
};

tk_detok *tk_detok_new(const tk_tokenizer *t, bool skip_special)
{
    tk_detok *d = tk_alloc(sizeof *d);
    *d = (tk_detok){.t = t,
                    .skip_special = skip_special,
                    .held = tk_buf_make(1 << 20),
                    .shown = tk_buf_make(1 << 22)};
    tok_decoding_begin(t, &d->state);
    return d;
}

void tk_detok_free(tk_detok *d)
{
    if (d == NULL) return;
    tk_buf_free(&d->held);
    tk_buf_free(&d->shown);
    tk_free(d);
}

const char *tk_detok_push(tk_detok *d, int32_t id, size_t *len)
{
    const tk_tokenizer *t = d->t;
    tk_buf_clear(&d->shown);
    *len = 0;
    if (!tok_is_shown(t, id, d->skip_special)) return tk_buf_str(&d->shown);
    tok_decode_token(t, &d->state, id, &d->held);
    size_t tail = tk_utf8_tail(tk_buf_str(&d->held), d->held.len), whole = d->held.len - tail;
    tk_text_append_valid(&d->shown, tk_buf_str(&d->held), whole);
    if (whole) {
        memmove(d->held.data, d->held.data + whole, tail + 1);
        d->held.len = tail;
    }
    *len = d->shown.len;
    return tk_buf_str(&d->shown);
}

const char *tk_detok_flush(tk_detok *d, size_t *len)
{
    tk_buf_clear(&d->shown);
    tk_text_append_valid(&d->shown, tk_buf_str(&d->held), d->held.len);
    tk_buf_clear(&d->held);
    *len = d->shown.len;
    return tk_buf_str(&d->shown);
}
