// SPDX-License-Identifier: MIT
#include "text/tokenizer_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static const size_t arena_limit = (size_t)1 << 30;

tk_tokenizer *tok_new(const char *where)
{
    tk_tokenizer *t = tk_alloc(sizeof *t);
    t->arena = tk_arena_new(arena_limit);
    t->where = tk_strdup(where);
    t->by_text = tk_map_new(1024);
    t->odd = tk_map_new(16);
    t->unk = t->bos = t->eos = -1;
    for (int i = 0; i < 256; i++) t->byte_id[i] = -1;
    pair_map_init(&t->merges, 0);
    return t;
}

tk_str tok_keep(tk_tokenizer *t, const char *s, size_t len)
{
    return (tk_str){tk_arena_strndup(t->arena, s, len), len};
}

tk_status tok_set_size(tk_tokenizer *t, int64_t n_vocab, tk_err *err)
{
    if (n_vocab < 1 || n_vocab > TK_LIMIT_VOCAB)
        return tk_fail(err, TK_BAD_INPUT, "%s: a vocabulary of %lld tokens (1..%d are allowed)",
                       t->where, (long long)n_vocab, TK_LIMIT_VOCAB);
    t->n_vocab = (int32_t)n_vocab;
    t->token = tk_arena_alloc(t->arena, (size_t)n_vocab * sizeof *t->token);
    t->kind = tk_arena_alloc(t->arena, (size_t)n_vocab);
    if (t->token == NULL || t->kind == NULL)
        return tk_fail(err, TK_NOMEM, "%s: no memory for %lld tokens", t->where,
                       (long long)n_vocab);
    return TK_OK;
}

// The tokens of single bytes: byte level has them as bytes, byte fallback as <0x00>..<0xFF>.
tk_status tok_finish(tk_tokenizer *t, tk_err *err)
{
    (void)err;
    for (int b = 0; b < 256; b++) {
        char text[8] = {(char)b};
        size_t len = 1;
        uint64_t id;
        if (!t->byte_level) len = (size_t)snprintf(text, sizeof text, "<0x%02X>", (unsigned)b);
        if (tk_map_get(t->by_text, text, len, &id)) t->byte_id[b] = (int32_t)id;
    }
    added_set_fill(t);
    return TK_OK;
}

void tok_set_special(tk_tokenizer *t, const char *name, const char *text)
{
    for (int i = 0; i < t->n_special; i++) {
        if (strcmp(t->special[i].name, name) != 0) continue;
        tk_free(t->special[i].text);
        t->special[i].text = tk_strdup(text);
        return;
    }
    if (t->n_special == MAX_SPECIAL_NAMES) return;
    t->special[t->n_special].name = tk_strdup(name);
    t->special[t->n_special++].text = tk_strdup(text);
}

static void free_steps(step *s, int n)
{
    for (int i = 0; i < n; i++) pcre2_code_free(s[i].re);
}

void tk_tokenizer_free(tk_tokenizer *t)
{
    if (t == NULL) return;
    free_steps(t->norm, t->n_norm);
    free_steps(t->pre, t->n_pre);
    free_steps(t->dec, t->n_dec);
    added_set_free(&t->raw);
    added_set_free(&t->normal);
    for (int i = 0; i < t->n_special; i++) {
        tk_free(t->special[i].name);
        tk_free(t->special[i].text);
    }
    pair_map_free(&t->merges);
    tk_map_free(t->by_text);
    tk_map_free(t->odd);
    tk_arena_free(t->arena);
    tk_free(t->added);
    tk_free(t->where);
    tk_free(t);
}

int32_t tk_tokenizer_n_vocab(const tk_tokenizer *t)
{
    return t->n_vocab;
}

int32_t tk_tokenizer_bos(const tk_tokenizer *t)
{
    return t->bos;
}

int32_t tk_tokenizer_eos(const tk_tokenizer *t)
{
    return t->eos;
}

int32_t tk_tokenizer_find(const tk_tokenizer *t, const char *text, size_t len)
{
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].text.len == len && memcmp(t->added[i].text.s, text, len) == 0)
            return t->added[i].id;
    return -1;
}

const char *tk_tokenizer_special(const tk_tokenizer *t, const char *name)
{
    for (int i = 0; i < t->n_special; i++)
        if (strcmp(t->special[i].name, name) == 0) return t->special[i].text;
    return NULL;
}

const char *tk_tokenizer_special_name(const tk_tokenizer *t, size_t i)
{
    return i < (size_t)t->n_special ? t->special[i].name : NULL;
}

bool tk_text_append_valid(tk_buf *out, const char *s, size_t len)
{
    for (size_t at = 0; at < len;) {
        uint32_t cp;
        size_t bad = 0, n = tk_utf8_read(s + at, len - at, &cp, &bad);
        if (n)
            tk_buf_add(out, s + at, n);
        else
            tk_buf_add(out, "\xEF\xBF\xBD", 3);
        at += n ? n : bad;
    }
    return !out->failed;
}

typedef struct encoding {
    const tk_tokenizer *t;
    bool no_special;
    id_buf *out;
    bool first; // nothing has been seen of the text yet
    tk_err *err;
} encoding;

// A stretch without raw added tokens: normalise, cut the normalised added tokens out, words to BPE.
static tk_status encode_stretch(encoding *e, const char *s, size_t len)
{
    if (len == 0) return TK_OK;
    tk_buf b = tk_buf_make((size_t)TK_LIMIT_TEXT_BYTES * 4);
    tk_status st = TK_OK;
    if (!tok_normalize(e->t, s, len, &b)) {
        st = tk_fail(e->err, TK_BAD_INPUT, "%s: normalised text passes %u bytes", e->t->where,
                     TK_LIMIT_TEXT_BYTES * 4);
        goto done;
    }
    const char *p = tk_buf_str(&b);
    size_t at = 0, begin, end;
    const added_token *a;
    while ((a = added_find(&e->t->normal, p, b.len, at, e->no_special, &begin, &end)) != NULL) {
        TK_TRY(tok_pretokenize(e->t, p + at, begin - at, e->first && at == 0, e->out, e->err));
        id_buf_add(e->out, a->id);
        e->first = false;
        at = end;
    }
    TK_TRY(tok_pretokenize(e->t, p + at, b.len - at, e->first && at == 0, e->out, e->err));
done:
    e->first = false;
    tk_buf_free(&b);
    return st;
}

static tk_status encode_text(encoding *e, const char *s, size_t len)
{
    size_t at = 0, begin, end;
    const added_token *a;
    while ((a = added_find(&e->t->raw, s, len, at, e->no_special, &begin, &end)) != NULL) {
        tk_status st = encode_stretch(e, s + at, begin - at);
        if (st != TK_OK) return st;
        id_buf_add(e->out, a->id);
        e->first = false;
        at = end;
    }
    return encode_stretch(e, s + at, len - at);
}

tk_status tk_tokenizer_encode(const tk_tokenizer *t, const char *text, size_t len,
                              tk_encode_opts opts, int32_t **ids, size_t *n, tk_err *err)
{
    *ids = NULL;
    *n = 0;
    if (len > TK_LIMIT_TEXT_BYTES)
        return tk_fail(err, TK_BAD_INPUT, "a text of %zu bytes, at most %u are tokenized", len,
                       TK_LIMIT_TEXT_BYTES);
    id_buf out = {0};
    tk_buf valid = tk_buf_make((size_t)TK_LIMIT_TEXT_BYTES * 3);
    tk_status st;
    if (!tk_utf8_valid(text, len)) {
        tk_text_append_valid(&valid, text, len);
        text = tk_buf_str(&valid);
        len = valid.len;
    }
    if (opts.bos == TK_BOS_AUTO)
        for (int i = 0; i < t->n_before; i++) id_buf_add(&out, t->before[i]);
    else if (opts.bos == TK_BOS_YES && t->bos >= 0)
        id_buf_add(&out, t->bos);
    encoding e = {.t = t, .no_special = opts.no_special, .out = &out, .first = true, .err = err};
    TK_TRY(encode_text(&e, text, len));
    for (int i = 0; opts.bos == TK_BOS_AUTO && i < t->n_after; i++) id_buf_add(&out, t->after[i]);
    *n = out.n;
    *ids = out.ids ? out.ids : tk_alloc(sizeof **ids);
    out.ids = NULL;
done:
    tk_free(out.ids);
    tk_buf_free(&valid);
    return st;
}
