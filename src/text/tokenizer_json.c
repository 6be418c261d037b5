// SPDX-License-Identifier: MIT
// tokenizer.json, tokenizer_config.json, special_tokens_map.json.
#include "text/tokenizer_priv.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct loader {
    tk_tokenizer *t;
    bool fused; // a decoder that joins the tokens has been read
    tk_err *err;
} loader;

static const char *type_of(const json_t *j)
{
    const char *s = json_string_value(json_object_get(j, "type"));
    return s ? s : "?";
}

static bool flag(const json_t *j, const char *key, bool fallback)
{
    const json_t *v = json_object_get(j, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static tk_str keep_value(loader *l, const json_t *v)
{
    if (!json_is_string(v)) return (tk_str){"", 0};
    tk_str s = tok_keep(l->t, json_string_value(v), json_string_length(v));
    return s.s ? s : (tk_str){"", 0};
}

static tk_status unsupported(loader *l, const char *what, const json_t *j)
{
    return tk_fail(l->err, TK_UNSUPPORTED, "%s: the %s \"%.60s\" is not supported", l->t->where,
                   what, type_of(j));
}

// pattern: {"Regex": "..."} or {"String": "..."}
static tk_status read_pattern(loader *l, const json_t *j, step *s)
{
    const json_t *p = json_object_get(j, "pattern"), *re = json_object_get(p, "Regex");
    if (json_is_string(re))
        return tok_compile(json_string_value(re), json_string_length(re), l->t->where, &s->re,
                           l->err);
    if (!json_is_string(json_object_get(p, "String")))
        return tk_fail(l->err, TK_BAD_INPUT, "%s: \"%s\" has no pattern", l->t->where, type_of(j));
    s->text = keep_value(l, json_object_get(p, "String"));
    return TK_OK;
}

typedef tk_status (*read_step_fn)(loader *l, const json_t *j, step *s);

// A step or a Sequence of steps (nested ones too: a stack instead of recursion is not needed, the JSON's depth
// is bounded, but a Sequence inside a Sequence is one level only in any file seen; deeper ones are refused).
static tk_status read_steps(loader *l, const json_t *j, const char *list_key, step *steps, int *n,
                            read_step_fn read, int depth)
{
    if (j == NULL || json_is_null(j)) return TK_OK;
    if (!json_is_object(j))
        return tk_fail(l->err, TK_BAD_INPUT, "%s: a step is no object", l->t->where);
    if (strcmp(type_of(j), "Sequence") == 0) {
        const json_t *list = json_object_get(j, list_key);
        if (depth > 3)
            return tk_fail(l->err, TK_BAD_INPUT, "%s: Sequences nested more than 3 deep",
                           l->t->where);
        for (size_t i = 0; i < json_array_size(list); i++) {
            tk_status st =
                read_steps(l, json_array_get(list, i), list_key, steps, n, read, depth + 1);
            if (st != TK_OK) return st;
        }
        return TK_OK;
    }
    if (*n == MAX_STEPS)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: more than %d steps", l->t->where, MAX_STEPS);
    steps[*n] = (step){0};
    tk_status st = read(l, j, &steps[*n]);
    if (st != TK_OK) { // a step that is not counted is freed by nobody else
        pcre2_code_free(steps[*n].re);
        steps[*n].re = NULL;
    }
    if (st == TK_OK && (int)steps[*n].kind >= 0) (*n)++;
    return st;
}

enum { NO_STEP = -1 }; // a step that does nothing here

static tk_status read_normalizer(loader *l, const json_t *j, step *s)
{
    static const struct {
        const char *name;
        step_kind kind;
    } plain[] = {{"NFC", NORM_NFC},
                 {"NFD", NORM_NFD},
                 {"NFKC", NORM_NFKC},
                 {"NFKD", NORM_NFKD},
                 {"Lowercase", NORM_LOWERCASE},
                 {"StripAccents", NORM_STRIP_ACCENTS}};
    const char *type = type_of(j);
    for (size_t i = 0; i < TK_COUNT(plain); i++) {
        if (strcmp(type, plain[i].name) != 0) continue;
        s->kind = plain[i].kind;
        return TK_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        s->kind = NORM_PREPEND;
        s->with = keep_value(l, json_object_get(j, "prepend"));
        return TK_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        s->kind = NORM_REPLACE;
        s->with = keep_value(l, json_object_get(j, "content"));
        return read_pattern(l, j, s);
    }
    if (strcmp(type, "Strip") == 0) {
        s->kind = NORM_STRIP;
        s->left = flag(j, "strip_left", true);
        s->right = flag(j, "strip_right", true);
        return TK_OK;
    }
    return unsupported(l, "normalizer", j);
}

static tk_status read_behavior(loader *l, const json_t *j, step *s)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *b = json_string_value(json_object_get(j, "behavior"));
    for (size_t i = 0; i < TK_COUNT(names); i++) {
        if (b == NULL || strcmp(b, names[i]) != 0) continue;
        s->behavior = (split_behavior)i;
        return TK_OK;
    }
    return tk_fail(l->err, TK_BAD_INPUT, "%s: unknown split behavior \"%.40s\"", l->t->where,
                   b ? b : "none");
}

static tk_status fixed_split(loader *l, step *s, const char *pattern, split_behavior behavior)
{
    s->kind = PRE_SPLIT;
    s->behavior = behavior;
    return tok_compile(pattern, strlen(pattern), l->t->where, &s->re, l->err);
}

static const char gpt2_words[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

// ByteLevel is up to two steps: the space in front, and GPT-2's words.
static tk_status read_byte_level(loader *l, const json_t *j, step *s)
{
    tk_tokenizer *t = l->t;
    if (flag(j, "use_regex", true)) {
        if (t->n_pre + 1 >= MAX_STEPS)
            return tk_fail(l->err, TK_BAD_INPUT, "%s: more than %d steps", t->where, MAX_STEPS);
        t->pre[t->n_pre] =
            (step){.kind = PRE_BYTE_LEVEL, .add_prefix_space = flag(j, "add_prefix_space", true)};
        t->n_pre++;
        *(s = &t->pre[t->n_pre]) = (step){0};
        return fixed_split(l, s, gpt2_words, SPLIT_ISOLATED);
    }
    s->kind = PRE_BYTE_LEVEL;
    s->add_prefix_space = flag(j, "add_prefix_space", true);
    return TK_OK;
}

static tk_status read_metaspace(loader *l, const json_t *j, step *s)
{
    const char *scheme = json_string_value(json_object_get(j, "prepend_scheme"));
    bool old = flag(j, "add_prefix_space", true); // before prepend_scheme existed
    s->text = (tk_str){"\xE2\x96\x81", 3};
    tk_str given = keep_value(l, json_object_get(j, "replacement"));
    if (given.len && (given.len != 3 || memcmp(given.s, s->text.s, 3) != 0))
        return tk_fail(l->err, TK_UNSUPPORTED, "%s: Metaspace with the replacement \"%s\"",
                       l->t->where, given.s);
    s->prepend = scheme == NULL                  ? (old ? PREPEND_ALWAYS : PREPEND_NEVER)
                 : strcmp(scheme, "always") == 0 ? PREPEND_ALWAYS
                 : strcmp(scheme, "first") == 0  ? PREPEND_FIRST
                                                 : PREPEND_NEVER;
    s->split = flag(j, "split", true);
    return TK_OK;
}

// \w as Rust has it (UTS 18); PCRE2's leaves marks out and takes every number
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"  \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

static tk_status read_pre_tokenizer(loader *l, const json_t *j, step *s)
{
    const char *type = type_of(j);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(l, j, s);
    if (strcmp(type, "Metaspace") == 0) {
        s->kind = PRE_METASPACE;
        return read_metaspace(l, j, s);
    }
    if (strcmp(type, "Split") == 0) {
        s->kind = PRE_SPLIT;
        s->invert = flag(j, "invert", false);
        tk_status st = read_behavior(l, j, s);
        return st == TK_OK ? read_pattern(l, j, s) : st;
    }
    if (strcmp(type, "Digits") == 0)
        return fixed_split(l, s, flag(j, "individual_digits", false) ? "\\p{N}" : "\\p{N}+",
                           SPLIT_ISOLATED);
    if (strcmp(type, "Punctuation") == 0) {
        tk_status st = fixed_split(l, s, "[\\p{P}!-/:-@\\[-`{-~]", SPLIT_ISOLATED);
        return st == TK_OK && json_object_get(j, "behavior") ? read_behavior(l, j, s) : st;
    }
    if (strcmp(type, "Whitespace") == 0) {
        s->invert = true;
        return fixed_split(l, s, "[" WORD "]+|[^" WORD "\\s]+", SPLIT_REMOVED);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) return fixed_split(l, s, "\\s", SPLIT_REMOVED);
    return unsupported(l, "pre-tokenizer", j);
}

static tk_status read_decoder(loader *l, const json_t *j, step *s)
{
    const char *type = type_of(j);
    s->fused = l->fused;
    l->fused |= strcmp(type, "ByteLevel") == 0 || strcmp(type, "Fuse") == 0;
    if (strcmp(type, "ByteLevel") == 0)
        s->kind = DEC_BYTE_LEVEL;
    else if (strcmp(type, "ByteFallback") == 0)
        s->kind = DEC_BYTE_FALLBACK;
    else if (strcmp(type, "Fuse") == 0)
        s->kind = (step_kind)NO_STEP; // tokens are joined anyway
    else if (strcmp(type, "Metaspace") == 0) {
        s->kind = DEC_METASPACE;
        return read_metaspace(l, j, s);
    } else if (strcmp(type, "Replace") == 0) {
        s->kind = DEC_REPLACE;
        s->with = keep_value(l, json_object_get(j, "content"));
        tk_status st = read_pattern(l, j, s);
        if (st == TK_OK && s->re) {
            pcre2_code_free(s->re);
            s->re = NULL;
            return tk_fail(l->err, TK_UNSUPPORTED, "%s: a decoder that replaces by pattern",
                           l->t->where);
        }
        uint32_t cp;
        if (st == TK_OK && s->fused &&
            tk_utf8_read(s->text.s, s->text.len, &cp, NULL) != s->text.len)
            return tk_fail(l->err, TK_UNSUPPORTED,
                           "%s: a decoder that replaces \"%.40s\" across tokens", l->t->where,
                           s->text.s);
        return st;
    } else if (strcmp(type, "Strip") == 0) {
        s->kind = DEC_STRIP;
        s->text = keep_value(l, json_object_get(j, "content"));
        s->start = (int)json_integer_value(json_object_get(j, "start"));
        if (json_integer_value(json_object_get(j, "stop")) != 0 || s->start < 0 || s->start > 1000)
            return tk_fail(l->err, TK_UNSUPPORTED, "%s: a decoder that strips the end",
                           l->t->where);
    } else
        return unsupported(l, "decoder", j);
    return TK_OK;
}

static bool uses_byte_level(const tk_tokenizer *t)
{
    for (int i = 0; i < t->n_pre; i++)
        if (t->pre[i].kind == PRE_BYTE_LEVEL) return true;
    for (int i = 0; i < t->n_dec; i++)
        if (t->dec[i].kind == DEC_BYTE_LEVEL) return true;
    return false;
}

// An ordinary token: byte-level vocabularies lose their disguise (what is not disguised stays as it is).
static tk_status add_token(loader *l, const char *s, size_t len, const json_t *id)
{
    tk_tokenizer *t = l->t;
    int64_t i = json_is_integer(id) ? json_integer_value(id) : -1;
    if (i < 0 || i >= t->n_vocab)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: token \"%.60s\" has the id %lld", t->where, s,
                       (long long)i);
    if (len > TK_LIMIT_TOKEN_BYTES)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: a token of %zu bytes", t->where, len);
    if (t->token[i].s)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: two tokens have the id %lld", t->where,
                       (long long)i);
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    bool odd = t->byte_level && !byte_level_undo(s, len, &raw);
    if (t->byte_level && !odd) {
        s = tk_buf_str(&raw);
        len = raw.len;
    }
    t->token[i] = tok_keep(t, s, len);
    t->kind[i] = TK_TOKEN_NORMAL;
    tk_buf_free(&raw);
    if (t->token[i].s == NULL)
        return tk_fail(l->err, TK_NOMEM, "%s: no memory for the vocabulary", t->where);
    tk_map_add(odd ? t->odd : t->by_text, t->token[i].s, len, (uint64_t)i);
    return TK_OK;
}

static tk_status highest_id(loader *l, const json_t *vocab, const json_t *added, int64_t *out)
{
    const char *key;
    json_t *v;
    size_t i;
    *out = -1;
    json_object_foreach((json_t *)(uintptr_t)vocab, key, v) if (json_is_integer(v)) *out =
        TK_MAX(*out, json_integer_value(v));
    json_array_foreach(added, i, v)
    {
        const json_t *id = json_object_get(v, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return tk_fail(l->err, TK_BAD_INPUT, "%s: added token %zu has no id", l->t->where, i);
        *out = TK_MAX(*out, json_integer_value(id));
    }
    return TK_OK;
}

static bool find_part(loader *l, const char *s, size_t len, uint64_t *id)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    bool found;
    if (l->t->byte_level && byte_level_undo(s, len, &raw))
        found = tk_map_get(l->t->by_text, tk_buf_str(&raw), raw.len, id);
    else
        found = tk_map_get(l->t->byte_level ? l->t->odd : l->t->by_text, s, len, id);
    tk_buf_free(&raw);
    return found;
}

// "a b" or ["a", "b"]
static tk_status read_merge(loader *l, const json_t *m, size_t rank)
{
    const char *a = NULL, *b = NULL;
    size_t na = 0, nb = 0;
    if (json_is_string(m)) {
        a = json_string_value(m);
        size_t len = json_string_length(m);
        b = memchr(a + (len > 0), ' ', len > 0 ? len - 1 : 0);
        if (b) {
            na = (size_t)(b - a);
            nb = len - na - 1;
            b++;
        }
    } else if (json_array_size(m) == 2 && json_is_string(json_array_get(m, 0)) &&
               json_is_string(json_array_get(m, 1))) {
        a = json_string_value(json_array_get(m, 0));
        na = json_string_length(json_array_get(m, 0));
        b = json_string_value(json_array_get(m, 1));
        nb = json_string_length(json_array_get(m, 1));
    }
    if (b == NULL)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: merge %zu is no pair", l->t->where, rank);
    uint64_t left, right, both;
    char *joined = tk_alloc(na + nb + 1);
    memcpy(joined, a, na);
    memcpy(joined + na, b, nb);
    bool known = find_part(l, a, na, &left) && find_part(l, b, nb, &right) &&
                 find_part(l, joined, na + nb, &both);
    tk_status st = TK_OK;
    if (!known)
        st = tk_fail(l->err, TK_BAD_INPUT,
                     "%s: merge %zu makes \"%.60s\" of tokens that the vocabulary does not have",
                     l->t->where, rank, joined);
    else
        pair_map_add(&l->t->merges, (int32_t)left, (int32_t)right, (int32_t)rank, (int32_t)both);
    tk_free(joined);
    return st;
}

static tk_status read_model(loader *l, const json_t *model, const json_t *added)
{
    tk_tokenizer *t = l->t;
    const json_t *vocab = json_object_get(model, "vocab"),
                 *merges = json_object_get(model, "merges");
    const char *type = json_string_value(json_object_get(model, "type"));
    if (!json_is_object(model) || (type && strcmp(type, "BPE") != 0) || (!type && !merges))
        return unsupported(l, "tokenizer model", model);
    if (!json_is_object(vocab) || !json_is_array(merges))
        return tk_fail(l->err, TK_BAD_INPUT, "%s: the BPE model has no vocab or merges", t->where);
    if (json_string_length(json_object_get(model, "continuing_subword_prefix")) > 0 ||
        json_string_length(json_object_get(model, "end_of_word_suffix")) > 0)
        return tk_fail(l->err, TK_UNSUPPORTED,
                       "%s: subword prefixes and suffixes are not supported", t->where);
    int64_t highest;
    tk_status st = highest_id(l, vocab, added, &highest);
    if (st == TK_OK) st = tok_set_size(t, highest + 1, l->err);
    const char *key;
    size_t len;
    json_t *v;
    void *it = json_object_iter((json_t *)(uintptr_t)vocab);
    for (; st == TK_OK && it; it = json_object_iter_next((json_t *)(uintptr_t)vocab, it)) {
        key = json_object_iter_key(it);
        len = strlen(key);
        v = json_object_iter_value(it);
        st = add_token(l, key, len, v);
    }
    pair_map_free(&t->merges);
    pair_map_init(&t->merges, json_array_size(merges));
    if (json_array_size(merges) >= 1u << 24)
        return tk_fail(l->err, TK_BAD_INPUT, "%s: more than 2^24 merges", t->where);
    for (size_t i = 0; st == TK_OK && i < json_array_size(merges); i++)
        st = read_merge(l, json_array_get(merges, i), i);
    if (st != TK_OK) return st;
    t->byte_fallback = flag(model, "byte_fallback", false);
    t->fuse_unk = flag(model, "fuse_unk", false);
    t->ignore_merges = flag(model, "ignore_merges", false);
    const json_t *unk = json_object_get(model, "unk_token");
    uint64_t id;
    if (json_is_string(unk) && find_part(l, json_string_value(unk), json_string_length(unk), &id))
        t->unk = (int32_t)id;
    return TK_OK;
}

// An added token's text, normalised where it is, is what decoding shows, unless it looks like disguised bytes
// throughout.
static void show_added(tk_tokenizer *t, const added_token *a)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    bool plain = !(t->byte_level && byte_level_undo(a->text.s, a->text.len, &raw));
    t->token[a->id] = plain ? a->text : tok_keep(t, tk_buf_str(&raw), raw.len);
    if (t->token[a->id].s == NULL) t->token[a->id] = a->text;
    tk_buf_free(&raw);
}

static tk_status read_added(loader *l, const json_t *list)
{
    tk_tokenizer *t = l->t;
    size_t n = json_array_size(list);
    t->added = tk_alloc((n + 1) * sizeof *t->added);
    for (size_t i = 0; i < n; i++) {
        const json_t *j = json_array_get(list, i), *text = json_object_get(j, "content");
        int32_t id = (int32_t)json_integer_value(json_object_get(j, "id"));
        if (!json_is_string(text) || json_string_length(text) > TK_LIMIT_TOKEN_BYTES)
            return tk_fail(l->err, TK_BAD_INPUT, "%s: added token %zu has no text", t->where, i);
        added_token *a = &t->added[t->n_added++];
        *a = (added_token){.text = keep_value(l, text),
                           .id = id,
                           .special = flag(j, "special", false),
                           .lstrip = flag(j, "lstrip", false),
                           .rstrip = flag(j, "rstrip", false),
                           .single_word = flag(j, "single_word", false)};
        a->normalized = flag(j, "normalized", !a->special);
        t->kind[id] = a->special ? TK_TOKEN_CONTROL : TK_TOKEN_USER;
        show_added(t, a);
        if (!a->normalized || t->n_norm == 0) continue;
        tk_buf norm = tk_buf_make(TK_LIMIT_TOKEN_BYTES * 4);
        if (tok_normalize(t, a->text.s, a->text.len, &norm))
            a->text = tok_keep(t, tk_buf_str(&norm), norm.len);
        tk_buf_free(&norm);
        if (a->text.s == NULL)
            return tk_fail(l->err, TK_NOMEM, "%s: no memory for added tokens", t->where);
        show_added(t, a);
    }
    return TK_OK;
}

static void add_around(tk_tokenizer *t, bool after, int64_t id)
{
    int *n = after ? &t->n_after : &t->n_before;
    if (*n < MAX_AROUND && id >= 0 && id < t->n_vocab)
        (after ? t->after : t->before)[(*n)++] = (int32_t)id;
}

static void read_template(tk_tokenizer *t, const json_t *j)
{
    const json_t *single = json_object_get(j, "single"),
                 *tokens = json_object_get(j, "special_tokens");
    bool after = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i),
                     *special = json_object_get(part, "SpecialToken");
        if (special == NULL) {
            after = true;
            continue;
        }
        const char *name = json_string_value(json_object_get(special, "id"));
        const json_t *ids = json_object_get(name ? json_object_get(tokens, name) : NULL, "ids");
        for (size_t k = 0; k < json_array_size(ids); k++)
            add_around(t, after, json_integer_value(json_array_get(ids, k)));
    }
}

static tk_status read_post(loader *l, const json_t *j, int depth)
{
    if (j == NULL || json_is_null(j)) return TK_OK;
    const char *type = type_of(j);
    if (strcmp(type, "ByteLevel") == 0) return TK_OK; // offsets only
    if (strcmp(type, "TemplateProcessing") == 0) {
        read_template(l->t, j);
        return TK_OK;
    }
    if (strcmp(type, "RobertaProcessing") == 0 || strcmp(type, "BertProcessing") == 0) {
        add_around(l->t, false, json_integer_value(json_array_get(json_object_get(j, "cls"), 1)));
        add_around(l->t, true, json_integer_value(json_array_get(json_object_get(j, "sep"), 1)));
        return TK_OK;
    }
    if (strcmp(type, "Sequence") != 0 || depth > 3) return unsupported(l, "post-processor", j);
    const json_t *list = json_object_get(j, "processors");
    tk_status st = TK_OK;
    for (size_t i = 0; i < json_array_size(list) && st == TK_OK; i++)
        st = read_post(l, json_array_get(list, i), depth + 1);
    return st;
}

static tk_status read_all(loader *l, const json_t *j)
{
    tk_tokenizer *t = l->t;
    const json_t *added = json_object_get(j, "added_tokens");
    tk_status st = TK_OK;
    if (!json_is_object(j)) return tk_fail(l->err, TK_BAD_INPUT, "%s: not a JSON object", t->where);
    TK_TRY(read_steps(l, json_object_get(j, "normalizer"), "normalizers", t->norm, &t->n_norm,
                      read_normalizer, 0));
    TK_TRY(read_steps(l, json_object_get(j, "pre_tokenizer"), "pretokenizers", t->pre, &t->n_pre,
                      read_pre_tokenizer, 0));
    TK_TRY(read_steps(l, json_object_get(j, "decoder"), "decoders", t->dec, &t->n_dec, read_decoder,
                      0));
    const json_t *decoder = json_object_get(j, "decoder");
    t->join_spaces = decoder == NULL || json_is_null(decoder);
    t->byte_level = uses_byte_level(t);
    TK_TRY(read_model(l, json_object_get(j, "model"), added));
    TK_TRY(read_added(l, added));
    TK_TRY(read_post(l, json_object_get(j, "post_processor"), 0));
    TK_TRY(tok_finish(t, l->err));
done:
    return st;
}

static tk_status open_json(const json_t *j, const char *where, tk_tokenizer **out, tk_err *err)
{
    loader l = {.t = tok_new(where), .err = err};
    tk_status st = read_all(&l, j);
    if (st == TK_OK)
        *out = l.t;
    else
        tk_tokenizer_free(l.t);
    return st;
}

tk_status tk_tokenizer_open_json(const char *text, size_t len, const char *where,
                                 tk_tokenizer **out, tk_err *err)
{
    json_t *j = NULL;
    *out = NULL;
    tk_status st = tk_json_parse(text, len, where, &j, err);
    if (st == TK_OK) st = open_json(j, where, out, err);
    json_decref(j);
    return st;
}

static tk_status load_optional(const char *dir, const char *name, json_t **out, tk_err *err)
{
    char *path = tk_file_join(dir, name);
    tk_status st = tk_file_exists(path) ? tk_json_load(path, out, err) : TK_OK;
    tk_free(path);
    return st;
}

// "<s>" or {"content": "<s>", ...}
static const char *token_text(const json_t *v)
{
    return json_is_object(v) ? json_string_value(json_object_get(v, "content"))
                             : json_string_value(v);
}

static void read_special_names(tk_tokenizer *t, const json_t *config)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)config, key, v)
    {
        size_t n = strlen(key);
        bool named = n > 6 && strcmp(key + n - 6, "_token") == 0 && strncmp(key, "add_", 4) != 0;
        if (named && token_text(v)) tok_set_special(t, key, token_text(v));
    }
}

static int32_t special_id(const tk_tokenizer *t, const char *name)
{
    const char *text = tk_tokenizer_special(t, name);
    if (text == NULL) return -1;
    int32_t id = tk_tokenizer_find(t, text, strlen(text));
    uint64_t plain;
    if (id < 0 && (tk_map_get(t->by_text, text, strlen(text), &plain) ||
                   tk_map_get(t->odd, text, strlen(text), &plain)))
        id = (int32_t)plain;
    return id;
}

// Llama's class makes its own post-processor from these two, whatever tokenizer.json says.
static void apply_class(tk_tokenizer *t, const json_t *config)
{
    const char *cls = json_string_value(json_object_get(config, "tokenizer_class"));
    if (cls == NULL ||
        (strcmp(cls, "LlamaTokenizer") != 0 && strcmp(cls, "LlamaTokenizerFast") != 0))
        return;
    const json_t *bos = json_object_get(config, "add_bos_token"),
                 *eos = json_object_get(config, "add_eos_token");
    if (!json_is_boolean(bos) && !json_is_boolean(eos)) return;
    t->n_before = t->n_after = 0;
    if (flag(config, "add_bos_token", true)) add_around(t, false, t->bos);
    if (flag(config, "add_eos_token", false)) add_around(t, true, t->eos);
}

tk_status tk_tokenizer_open_dir(const char *dir, tk_tokenizer **out, tk_err *err)
{
    char *path = tk_file_join(dir, "tokenizer.json");
    json_t *j = NULL, *config = NULL, *map = NULL;
    tk_tokenizer *t = NULL;
    tk_status st;
    *out = NULL;
    TK_TRY(tk_json_load(path, &j, err));
    TK_TRY(load_optional(dir, "tokenizer_config.json", &config, err));
    TK_TRY(load_optional(dir, "special_tokens_map.json", &map, err));
    TK_TRY(open_json(j, path, &t, err));
    read_special_names(t, map);
    read_special_names(t, config);
    t->bos = special_id(t, "bos_token");
    t->eos = special_id(t, "eos_token");
    apply_class(t, config);
    *out = t;
done:
    json_decref(j);
    json_decref(config);
    json_decref(map);
    tk_free(path);
    return st;
}
