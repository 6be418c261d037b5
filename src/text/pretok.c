// SPDX-License-Identifier: MIT
// Pre-tokenizers of tokenizer.json: each step cuts every piece of the one before. Depth is the number of
// steps (at most MAX_STEPS), never the input.
#include "text/tokenizer_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "text/newer.h"

#include <string.h>

typedef struct walk {
    const tk_tokenizer *t;
    id_buf *out;
    tk_err *err;
    bool first; // the piece begins the text
} walk;

static tk_status piece(walk *w, const char *s, size_t len, bool first, int i_step);

// Oniguruma's \s is Unicode White_Space; PCRE2's adds U+180E. Spelt out, both mean the same.
static const char space_class[] =
    "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}"
    "\\x{3000}";

// "p{L}" or "P{L}", the rest of an escape: with what PCRE2's Unicode does not have yet. Returns its length, 0 when
// there is nothing to add.
static size_t spell_out_category(const char *p, size_t len, bool in_class, tk_buf *out)
{
    const char *end = len > 3 && p[1] == '{' ? memchr(p, '}', TK_MIN(len, (size_t)8)) : NULL;
    if (end == NULL || (*p == 'P' && in_class)) return 0;
    size_t n = (size_t)(end - p) - 2;
    for (size_t i = 0; i < TK_COUNT(tok_newer); i++) {
        const char *name = tok_newer[i].category, *more = tok_newer[i].characters;
        if (strlen(name) != n || memcmp(name, p + 2, n) != 0) continue;
        if (in_class)
            tk_buf_addf(out, "\\p{%s}%s", name, more);
        else
            tk_buf_addf(out, "[%s\\p{%s}%s]", *p == 'P' ? "^" : "", name, more);
        return n + 3;
    }
    return 0;
}

static void spell_out(const char *p, size_t len, tk_buf *out)
{
    bool in_class = false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] == '\\' && i + 1 < len) {
            char c = p[++i];
            size_t skip =
                c == 'p' || c == 'P' ? spell_out_category(p + i, len - i, in_class, out) : 0;
            if (skip > 0)
                i += skip - 1;
            else if (c == 's' && in_class)
                tk_buf_add_str(out, space_class);
            else if (c == 's')
                tk_buf_addf(out, "[%s]", space_class);
            else if (c == 'S' && !in_class)
                tk_buf_addf(out, "[^%s]", space_class);
            else
                tk_buf_addf(out, "\\%c", c);
            continue;
        }
        if (p[i] == '[' && !in_class)
            in_class = true;
        else if (p[i] == '[' && in_class && !(i + 1 < len && p[i + 1] == ':'))
            tk_buf_add_char(out, '\\');
        else if (p[i] == ']' && in_class)
            in_class = false;
        tk_buf_add_char(out, p[i]);
    }
}

tk_status tok_compile(const char *pattern, size_t len, const char *where, pcre2_code **out,
                      tk_err *err)
{
    int code;
    PCRE2_SIZE at;
    tk_buf spelt = tk_buf_make(1 << 20);
    spell_out(pattern, len, &spelt);
    if (spelt.failed) {
        tk_buf_free(&spelt);
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: a pattern of %zu bytes is too long once its classes are spelt out",
                       where, len);
    }
    *out = pcre2_compile((PCRE2_SPTR)tk_buf_str(&spelt), spelt.len,
                         PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    tk_buf_free(&spelt);
    if (*out == NULL) {
        PCRE2_UCHAR text[128];
        pcre2_get_error_message(code, text, sizeof text);
        return tk_fail(err, TK_BAD_INPUT, "%s: the pattern \"%.*s\" does not compile: %s", where,
                       (int)TK_MIN(len, (size_t)100), pattern, (const char *)text);
    }
    pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); // without it matching is only slower
    return TK_OK;
}

// The next match of a split step at or after from; false = none. Empty matches are skipped.
static bool next_match(const step *st, pcre2_match_data *md, const char *s, size_t len, size_t from,
                       size_t *begin, size_t *end, int *error)
{
    if (st->re == NULL) {
        const char *hit =
            st->text.len ? memmem(s + from, len - from, st->text.s, st->text.len) : NULL;
        if (hit == NULL) return false;
        *begin = (size_t)(hit - s);
        *end = *begin + st->text.len;
        return true;
    }
    while (from < len) {
        int rc = pcre2_match(st->re, (PCRE2_SPTR)s, len, from, PCRE2_NO_UTF_CHECK, md, NULL);
        if (rc < 0) {
            if (rc != PCRE2_ERROR_NOMATCH) *error = rc;
            return false;
        }
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(md);
        if (o[1] > o[0]) {
            *begin = o[0];
            *end = o[1];
            return true;
        }
        from = o[0] + 1;
        while (from < len && ((unsigned char)s[from] & 0xC0) == 0x80) from++;
    }
    return false;
}

typedef struct cutter { // gathers stretches according to the behaviour
    walk *w;
    const char *s;
    int i_step;
    split_behavior behavior;
    size_t pending; // begin of the piece being built
    bool last_match;
    tk_status st;
} cutter;

static void emit(cutter *c, size_t begin, size_t end)
{
    if (c->st == TK_OK && begin < end)
        c->st = piece(c->w, c->s + begin, end - begin, c->w->first && begin == 0, c->i_step + 1);
}

// One stretch, matched or not, in order without gaps.
static void stretch(cutter *c, size_t begin, size_t end, bool match)
{
    if (begin == end) return;
    switch (c->behavior) {
    case SPLIT_REMOVED:
        if (!match) emit(c, begin, end);
        break;
    case SPLIT_ISOLATED: emit(c, begin, end); break;
    case SPLIT_CONTIGUOUS:
        if (begin > c->pending && match != c->last_match) {
            emit(c, c->pending, begin);
            c->pending = begin;
        }
        break;
    case SPLIT_PREVIOUS: // a match ends the piece before it
        if (!match) {    // two in a row come from an inverted pattern
            emit(c, c->pending, begin);
            c->pending = begin;
        } else if (!c->last_match) {
            emit(c, c->pending, end);
            c->pending = end;
        } else {
            emit(c, begin, end);
            c->pending = end;
        }
        break;
    case SPLIT_NEXT: // a match begins the piece after it
        if (match || !c->last_match) {
            emit(c, c->pending, begin);
            c->pending = begin;
        }
        break;
    }
    c->last_match = match;
}

static tk_status split(walk *w, const step *st, const char *s, size_t len, bool first, int i_step)
{
    pcre2_match_data *md = st->re ? pcre2_match_data_create_from_pattern(st->re, NULL) : NULL;
    bool was_first = w->first;
    w->first = first;
    cutter c = {.w = w, .s = s, .i_step = i_step, .behavior = st->behavior, .st = TK_OK};
    size_t at = 0, begin, end;
    int error = 0;
    while (c.st == TK_OK && next_match(st, md, s, len, at, &begin, &end, &error)) {
        w->first = first;
        stretch(&c, at, begin, st->invert);
        stretch(&c, begin, end, !st->invert);
        at = end;
    }
    w->first = first;
    stretch(&c, at, len, st->invert);
    if (st->behavior >= SPLIT_PREVIOUS) emit(&c, c.pending, len);
    pcre2_match_data_free(md);
    w->first = was_first;
    if (error && c.st == TK_OK)
        return tk_fail(w->err, TK_BAD_INPUT,
                       "%s: a pattern gave up on %zu bytes of text (PCRE2 error %d)", w->t->where,
                       len, error);
    return c.st;
}

static const char metaspace[] = "\xE2\x96\x81"; // U+2581

// Spaces become U+2581, one is put in front, and (usually) every one begins a word.
static tk_status meta(walk *w, const step *st, const char *s, size_t len, bool first, int i_step)
{
    tk_buf b = tk_buf_make((size_t)TK_LIMIT_TEXT_BYTES * 3 + 8);
    bool has = len >= 3 && memcmp(s, metaspace, 3) == 0;
    bool prepend = st->prepend == PREPEND_ALWAYS || (st->prepend == PREPEND_FIRST && first);
    if (prepend && !has && !(len > 0 && s[0] == ' ')) tk_buf_add(&b, metaspace, 3);
    for (size_t i = 0; i < len; i++) {
        if (s[i] == ' ')
            tk_buf_add(&b, metaspace, 3);
        else
            tk_buf_add_char(&b, s[i]);
    }
    tk_status status = TK_OK;
    const char *p = tk_buf_str(&b);
    size_t start = 0;
    for (size_t at = 3; st->split && at + 3 <= b.len && status == TK_OK;) {
        const char *hit = memmem(p + at, b.len - at, metaspace, 3);
        if (hit == NULL) break;
        status = piece(w, p + start, (size_t)(hit - p) - start, first && start == 0, i_step + 1);
        start = (size_t)(hit - p);
        at = start + 3;
    }
    if (status == TK_OK && start < b.len)
        status = piece(w, p + start, b.len - start, first && start == 0, i_step + 1);
    tk_buf_free(&b);
    return status;
}

static tk_status with_space(walk *w, const char *s, size_t len, bool first, int i_step)
{
    char *p = tk_alloc(len + 1);
    p[0] = ' ';
    memcpy(p + 1, s, len);
    tk_status st = piece(w, p, len + 1, first, i_step);
    tk_free(p);
    return st;
}

static tk_status piece(walk *w, const char *s, size_t len, bool first, int i_step)
{
    if (i_step == w->t->n_pre) {
        tok_bpe(w->t, s, len, w->out);
        return TK_OK;
    }
    const step *st = &w->t->pre[i_step];
    switch (st->kind) {
    case PRE_SPLIT: return split(w, st, s, len, first, i_step);
    case PRE_METASPACE: return meta(w, st, s, len, first, i_step);
    default: break;
    }
    // byte level: the bytes are what they are; only the space in front is left to do
    if (st->add_prefix_space && len > 0 && s[0] != ' ')
        return with_space(w, s, len, first, i_step + 1);
    return piece(w, s, len, first, i_step + 1);
}

tk_status tok_pretokenize(const tk_tokenizer *t, const char *s, size_t len, bool first, id_buf *out,
                          tk_err *err)
{
    walk w = {.t = t, .out = out, .err = err, .first = first};
    return len == 0 ? TK_OK : piece(&w, s, len, first, 0);
}
