// SPDX-License-Identifier: MIT
// Tokenizers from GGUF vocabularies. The file names its pre-tokenizer; the patterns are those llama.cpp uses
// for the names, which come from the models' own tokenizer.json.
#include "text/tokenizer_priv.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORDS_CI "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CJK "[\xE4\xB8\x80-\xE9\xBE\xA5\xE3\x81\x80-\xE3\x82\x9F\xE3\x82\xA0-\xE3\x83\xBF]+"
#define DEEPSEEK3                                                                                  \
    "[!\"#$%&'()*+,\\-./"                                                                          \
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"              \
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

enum { MAX_PATTERNS = 6 };
enum { IGNORE_MERGES = 1, ADD_BOS = 2 }; // ADD_BOS: unless the file says otherwise

static const struct {
    const char *names; // space-separated
    const char *patterns[MAX_PATTERNS];
    unsigned flags;
} pres[] = {
    {"gpt-2 gpt2 phi-2 jina-es jina-de mpt olmo jais trillion exaone4", {GPT2}, 0},
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0},
    {"llama3 llama-v3 llama-bpe falcon3 pixtral",
     {WORDS_CI "\\p{N}{1,3}" TAIL},
     IGNORE_MERGES | ADD_BOS},
    {"glm4 glm5", {WORDS_CI "\\p{N}{1,3}" TAIL}, IGNORE_MERGES},
    {"dbrx smaug-bpe chatglm-bpe", {WORDS_CI "\\p{N}{1,3}" TAIL}, 0},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"}, 0},
    {"qwen35",
     {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}|"
      " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
    {"qwen2 deepseek-r1-qwen stablelm2 megrez", {WORDS_CI "\\p{N}" TAIL}, 0},
    {"smollm starcoder refact command-r codeshell exaone", {"\\p{N}", GPT2}, 0},
    {"deepseek-v3 hunyuan-dense", {"\\p{N}{1,3}", CJK, DEEPSEEK3}, 0},
    {"deepseek-llm",
     {"[\\r\\n]",
      "\\s?[A-Za-z\\x{00b5}\\x{00c0}-\\x{00d6}\\x{00d8}-\\x{00f6}\\x{00f8}-\\x{01ba}\\x{01bc}-\\x{"
      "01bf}\\x{01c4}-\\x{0293}"
      "\\x{0295}-\\x{02af}\\x{0370}-\\x{0373}\\x{0376}\\x{0377}\\x{037b}-\\x{037d}\\x{037f}\\x{"
      "0386}\\x{0388}-\\x{038a}\\x{038c}"
      "\\x{038e}-\\x{03a1}\\x{03a3}-\\x{03f5}\\x{03f7}-\\x{0481}\\x{048a}-\\x{052f}\\x{0531}-\\x{"
      "0556}\\x{10a0}-\\x{10c5}"
      "\\x{13a0}-\\x{13f5}\\x{13f8}-\\x{13fd}\\x{1c90}-\\x{1cba}\\x{1cbd}-\\x{1cbf}\\x{1d00}-\\x{"
      "1d2b}\\x{1d6b}-\\x{1d77}"
      "\\x{1d79}-\\x{1d9a}\\x{1e00}-\\x{1f15}\\x{1f18}-\\x{1f1d}\\x{1f20}-\\x{1f45}\\x{1f48}-\\x{"
      "1f4d}\\x{1f50}-\\x{1f57}"
      "\\x{1f59}\\x{1f5b}\\x{1f5d}\\x{1f5f}-\\x{1f7d}\\x{1f80}-\\x{1fb4}\\x{1fb6}-\\x{1fbc}\\x{"
      "1fbe}\\x{1fc2}-\\x{1fc4}"
      "\\x{1fc6}-\\x{1fcc}\\x{1fd0}-\\x{1fd3}\\x{1fd6}-\\x{1fdb}\\x{1fe0}-\\x{1fec}\\x{1ff2}-\\x{"
      "1ff4}\\x{1ff6}-\\x{1ffc}"
      "\\x{2102}\\x{2107}\\x{210a}-\\x{2113}\\x{2115}\\x{2119}-\\x{211d}\\x{2124}\\x{2126}\\x{2128}"
      "\\x{212a}-\\x{212d}"
      "\\x{212f}-\\x{2134}\\x{2139}\\x{213c}-\\x{213f}\\x{2145}-\\x{2149}\\x{214e}\\x{2183}\\x{"
      "2184}\\x{2c00}-\\x{2c7b}"
      "\\x{2c7e}-\\x{2ce4}\\x{2ceb}-\\x{2cee}\\x{2cf2}\\x{2cf3}\\x{a640}-\\x{a66d}\\x{a680}-\\x{"
      "a69b}\\x{a722}-\\x{a76f}"
      "\\x{a771}-\\x{a787}\\x{a78b}-\\x{a78e}\\x{ab70}-\\x{abbf}\\x{fb00}-\\x{fb06}\\x{fb13}-\\x{"
      "fb17}\\x{ff21}-\\x{ff3a}"
      "\\x{ff41}-\\x{ff5a}\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}\\x{104d8}-\\x{104fb}\\x{10c80}"
      "-\\x{10cb2}"
      "\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}\\x{1e900}-\\x{1e943}]+",
      "\\s?[!-/"
      ":-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+",
      "\\s+$", "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+|\\p{N}+"},
     0},
    {"deepseek-coder",
     {"[\\r\\n]", "\\s?\\p{L}+|\\s?\\p{P}+",
      "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+", "\\p{N}"},
     0},
    {"tekken",
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^"
      "\\r\\n\\p{L}\\p{N}]?"
      "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| "
      "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|"
      "\\s+(?!\\S)|\\s+"},
     IGNORE_MERGES | ADD_BOS},
    {"gpt-4o llama4",
     {"[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?"
      "i:'s|'t|'re|'ve|'m|'ll|'d)?|"
      "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?"
      "i:'s|'t|'re|'ve|'m|'ll|'d)?|"
      "\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
};

static bool in_list(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; *p;) {
        size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, word, n) == 0) return true;
        p += len;
        p += strspn(p, " ");
    }
    return false;
}

static tk_status set_pre(tk_tokenizer *t, const char *name, bool *add_bos, tk_err *err)
{
    if (name == NULL || *name == 0) name = "default";
    for (size_t i = 0; i < TK_COUNT(pres); i++) {
        if (!in_list(pres[i].names, name)) continue;
        t->ignore_merges = pres[i].flags & IGNORE_MERGES;
        *add_bos = pres[i].flags & ADD_BOS;
        for (size_t k = 0; k < MAX_PATTERNS && pres[i].patterns[k]; k++) {
            const char *p = pres[i].patterns[k];
            step *s = &t->pre[t->n_pre];
            *s = (step){.kind = PRE_SPLIT, .behavior = SPLIT_ISOLATED};
            tk_status st = tok_compile(p, strlen(p), t->where, &s->re, err);
            if (st != TK_OK) return st;
            t->n_pre++;
        }
        return TK_OK;
    }
    return tk_fail(err, TK_UNSUPPORTED, "%s: the pre-tokenizer \"%.60s\" is not known", t->where,
                   name);
}

static tk_status fill_tokens(tk_tokenizer *t, const tk_vocab *v, tk_err *err)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    tk_status st = TK_OK;
    for (int32_t i = 0; i < v->n_token && st == TK_OK; i++) {
        tk_str s = v->tokens[i];
        uint8_t kind = v->kinds ? v->kinds[i] : TK_TOKEN_NORMAL;
        if (s.len > TK_LIMIT_TOKEN_BYTES) {
            st = tk_fail(err, TK_BAD_INPUT, "%s: token %d has %zu bytes", t->where, i, s.len);
            break;
        }
        tk_buf_clear(&raw);
        bool odd = t->byte_level && !byte_level_undo(s.s, s.len, &raw);
        if (t->byte_level && !odd) s = (tk_str){tk_buf_str(&raw), raw.len};
        t->token[i] = tok_keep(t, s.s, s.len);
        if (t->token[i].s == NULL)
            st = tk_fail(err, TK_NOMEM, "%s: no memory for the vocabulary", t->where);
        else
            t->kind[i] = kind >= TK_TOKEN_NORMAL && kind <= TK_TOKEN_BYTE ? kind : TK_TOKEN_NORMAL;
        // llama.cpp's map holds every token, the last of equal texts; ordinary text must not spell a control token
        if (st == TK_OK && (kind != TK_TOKEN_CONTROL && kind != TK_TOKEN_UNUSED))
            tk_map_add(odd ? t->odd : t->by_text, t->token[i].s, s.len, (uint64_t)i);
    }
    tk_buf_free(&raw);
    return st;
}

// Kinds that are cut out of the text before anything else sees it.
static bool is_added(uint8_t kind)
{
    return kind == TK_TOKEN_CONTROL || kind == TK_TOKEN_USER || kind == TK_TOKEN_UNKNOWN;
}

static void fill_added(tk_tokenizer *t, const tk_vocab *v)
{
    int n = 0;
    for (int32_t i = 0; i < v->n_token; i++) n += is_added(t->kind[i]);
    t->added = tk_alloc(((size_t)n + 1) * sizeof *t->added);
    for (int32_t i = 0; i < v->n_token; i++) {
        if (!is_added(t->kind[i])) continue;
        if (v->tokens[i].len == 0) continue;
        t->added[t->n_added++] =
            (added_token){.text = tok_keep(t, v->tokens[i].s, v->tokens[i].len),
                          .id = i,
                          .special = t->kind[i] != TK_TOKEN_USER};
        if (t->added[t->n_added - 1].text.s == NULL) t->n_added--;
    }
}

static tk_status fill_merges(tk_tokenizer *t, const tk_vocab *v, tk_err *err)
{
    tk_buf a = tk_buf_make(TK_LIMIT_TOKEN_BYTES), b = tk_buf_make(TK_LIMIT_TOKEN_BYTES);
    tk_status st = TK_OK;
    pair_map_free(&t->merges);
    pair_map_init(&t->merges, (size_t)v->n_merge);
    for (int32_t i = 0; i < v->n_merge && st == TK_OK; i++) {
        const char *s = v->merges[i].s;
        size_t len = v->merges[i].len;
        const char *space = len > 1 ? memchr(s + 1, ' ', len - 1) : NULL;
        uint64_t left, right, both;
        tk_buf_clear(&a);
        tk_buf_clear(&b);
        bool known = space && byte_level_undo(s, (size_t)(space - s), &a) &&
                     byte_level_undo(space + 1, len - (size_t)(space - s) - 1, &b) &&
                     tk_map_get(t->by_text, tk_buf_str(&a), a.len, &left) &&
                     tk_map_get(t->by_text, tk_buf_str(&b), b.len, &right);
        if (known) {
            tk_buf_add(&a, tk_buf_str(&b), b.len);
            known = tk_map_get(t->by_text, tk_buf_str(&a), a.len, &both);
        }
        if (!known)
            st = tk_fail(err, TK_BAD_INPUT,
                         "%s: merge %d \"%.*s\" names tokens that the vocabulary does not have",
                         t->where, i, (int)TK_MIN(len, (size_t)60), s);
        else
            pair_map_add(&t->merges, (int32_t)left, (int32_t)right, i, (int32_t)both);
    }
    tk_buf_free(&a);
    tk_buf_free(&b);
    return st;
}

static void set_spm_steps(tk_tokenizer *t, const tk_vocab *v)
{
    bool prefix = v->add_space_prefix != 0;
    const tk_str bar = {"\xE2\x96\x81", 3};
    t->by_score = true;
    t->byte_fallback = true;
    // llama.cpp puts the space before every stretch of text, also after a control token, also when the stretch
    // begins with one
    if (prefix) t->norm[t->n_norm++] = (step){.kind = NORM_PREPEND, .with = bar};
    t->norm[t->n_norm++] = (step){.kind = NORM_REPLACE, .text = {" ", 1}, .with = bar};
    t->dec[t->n_dec++] = (step){.kind = DEC_REPLACE, .text = bar, .with = {" ", 1}};
    t->dec[t->n_dec++] = (step){.kind = DEC_BYTE_FALLBACK};
    if (prefix)
        t->dec[t->n_dec++] = (step){.kind = DEC_STRIP, .text = {" ", 1}, .start = 1, .fused = true};
}

static void set_specials(tk_tokenizer *t, const tk_vocab *v, bool add_bos)
{
    const struct {
        const char *name;
        int32_t id;
    } named[] = {
        {"bos_token", v->bos}, {"eos_token", v->eos}, {"unk_token", v->unk}, {"pad_token", v->pad}};
    for (size_t i = 0; i < TK_COUNT(named); i++) {
        if (named[i].id < 0 || named[i].id >= v->n_token) continue;
        char *text = tk_strndup(v->tokens[named[i].id].s, v->tokens[named[i].id].len);
        tok_set_special(t, named[i].name, text);
        tk_free(text);
    }
    t->bos = v->bos < v->n_token ? v->bos : -1;
    t->eos = v->eos < v->n_token ? v->eos : -1;
    // byte-level vocabularies have every byte; where one is missing llama.cpp leaves it out, whatever the file names
    t->unk = t->by_score && v->unk < v->n_token ? v->unk : -1;
    if ((v->add_bos < 0 ? add_bos : v->add_bos > 0) && t->bos >= 0)
        t->before[t->n_before++] = t->bos;
    if (v->add_eos > 0 && t->eos >= 0) t->after[t->n_after++] = t->eos;
}

tk_status tk_tokenizer_open_vocab(const tk_vocab *v, const char *where, tk_tokenizer **out,
                                  tk_err *err)
{
    *out = NULL;
    tk_tokenizer *t = tok_new(where);
    tk_status st;
    bool gpt2 = strcmp(v->model, "gpt2") == 0, llama = strcmp(v->model, "llama") == 0;
    if (!gpt2 && !llama) {
        st = tk_fail(err, TK_UNSUPPORTED,
                     "%s: the tokenizer model \"%.60s\" is not supported (gpt2 and llama are)",
                     where, v->model);
        goto done;
    }
    bool add_bos = llama; // what the vocabulary's kind does by itself
    t->byte_level = gpt2;
    TK_TRY(tok_set_size(t, v->n_token, err));
    if (gpt2)
        TK_TRY(set_pre(t, v->pre, &add_bos, err));
    else
        set_spm_steps(t, v);
    TK_TRY(fill_tokens(t, v, err));
    if (llama) {
        t->score = tk_arena_alloc(t->arena, (size_t)v->n_token * sizeof *t->score);
        if (t->score == NULL || v->scores == NULL) {
            st = tk_fail(err, TK_BAD_INPUT, "%s: the vocabulary has no scores", where);
            goto done;
        }
        memcpy(t->score, v->scores, (size_t)v->n_token * sizeof *t->score);
    } else {
        TK_TRY(fill_merges(t, v, err));
    }
    fill_added(t, v);
    set_specials(t, v, add_bos);
    TK_TRY(tok_finish(t, err));
    *out = t;
    t = NULL;
done:
    tk_tokenizer_free(t);
    return st;
}
