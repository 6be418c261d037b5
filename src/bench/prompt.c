// SPDX-License-Identifier: MIT
#include "bench/prompt.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/locate.h"
#include "engine/model_text.h"

#include <math.h>
#include <string.h>

// Words that are one token each in most vocabularies, and two at most.
static const char *const words[] = {
    "time",     "year",    "people",    "way",    "day",        "man",    "thing",   "woman",
    "life",     "child",   "world",     "school", "state",      "family", "student", "group",
    "country",  "problem", "hand",      "part",   "place",      "case",   "week",    "company",
    "system",   "program", "question",  "work",   "government", "number", "night",   "point",
    "home",     "water",   "room",      "mother", "area",       "money",  "story",   "fact",
    "month",    "lot",     "right",     "study",  "book",       "eye",    "job",     "word",
    "business", "issue",   "side",      "kind",   "head",       "house",  "service", "friend",
    "father",   "power",   "hour",      "game",   "line",       "end",    "member",  "law",
    "car",      "city",    "community", "name",
};

static void add_word(tk_buf *b, tk_rng *rng)
{
    if (b->len) tk_buf_add_char(b, ' ');
    tk_buf_add_str(b, words[tk_rng_below(rng, TK_COUNT(words))]);
}

static bool is_chat(const char *endpoint)
{
    return strstr(endpoint, "chat/completions") != NULL;
}

// How many prompt tokens the server counts for one request that makes one token; 0 when it refuses.
static int64_t ask(const tk_http_target *t, const char *endpoint, const char *model, json_t *prompt)
{
    json_t *body =
        is_chat(endpoint)
            ? json_pack("{s:s, s:i, s:[{s:s, s:o}]}", "model", model, "max_completion_tokens", 1,
                        "messages", "role", "user", "content", prompt)
            : json_pack("{s:s, s:i, s:o}", "model", model, "max_tokens", 1, "prompt", prompt);
    json_t *answer = NULL;
    long status = 0;
    int64_t n = 0;
    if (tk_http_call(t, endpoint, body, &status, &answer, NULL) == TK_OK && status == 200)
        n = json_integer_value(json_object_get(json_object_get(answer, "usage"), "prompt_tokens"));
    json_decref(body);
    json_decref(answer);
    return n;
}

static json_t *ids_json(const int32_t *ids, int32_t n)
{
    json_t *j = json_array();
    for (int32_t i = 0; i < n; i++) json_array_append_new(j, json_integer(ids[i]));
    return j;
}

// True when a prompt of ids is counted as so many tokens (and perhaps a begin token).
static bool takes_ids(const tk_http_target *t, const char *endpoint, const char *model,
                      int32_t n_vocab)
{
    enum { N = 24 };
    int32_t ids[N];
    tk_rng rng = {.state = 77};
    for (int i = 0; i < N; i++) ids[i] = (int32_t)tk_rng_below(&rng, (uint64_t)n_vocab);
    int64_t n = ask(t, endpoint, model, ids_json(ids, N));
    return n == N || n == N + 1;
}

static int64_t count_words(const tk_http_target *t, const char *endpoint, const char *model, int n)
{
    tk_buf text = tk_buf_make(1 << 20);
    tk_rng rng = {.state = 78};
    for (int i = 0; i < n; i++) add_word(&text, &rng);
    int64_t n_tok = ask(t, endpoint, model, json_string(tk_buf_str(&text)));
    tk_buf_free(&text);
    return n_tok;
}

static int32_t server_vocab(const tk_http_target *t)
{
    json_t *models = NULL;
    long status = 0;
    int64_t n = 0;
    if (tk_http_call(t, "/v1/models", NULL, &status, &models, NULL) == TK_OK && status == 200) {
        const json_t *first = json_array_get(json_object_get(models, "data"), 0);
        n = json_integer_value(json_object_get(json_object_get(first, "meta"), "n_vocab"));
    }
    json_decref(models);
    return n > 0 && n <= TK_LIMIT_VOCAB ? (int32_t)n : 0;
}

static tk_status open_tokenizer(const char *name, tk_tokenizer **out, tk_err *err)
{
    char *path = NULL;
    tk_status st = tk_locate(name, &path, err);
    if (st == TK_OK) st = tk_model_tokenizer(path, out, err);
    tk_free(path);
    return st;
}

tk_status tk_prompt_source_open(const tk_http_target *t, const char *endpoint, const char *model,
                                tk_prompt_form form, const char *tokenizer, int32_t n_vocab,
                                tk_prompt_source *out, tk_err *err)
{
    *out = (tk_prompt_source){0};
    tk_status st = tokenizer ? open_tokenizer(tokenizer, &out->tokenizer, err) : TK_OK;
    if (st != TK_OK) return st;
    out->n_vocab = n_vocab;
    if (out->n_vocab == 0 && out->tokenizer) out->n_vocab = tk_tokenizer_n_vocab(out->tokenizer);
    if (out->n_vocab == 0) out->n_vocab = server_vocab(t);
    if (out->n_vocab == 0) out->n_vocab = 1000;
    if (form == TK_PROMPT_IDS && is_chat(endpoint))
        return tk_fail(err, TK_USAGE, "a chat takes text, not token ids");
    if (form != TK_PROMPT_TEXT && !is_chat(endpoint))
        out->ids = takes_ids(t, endpoint, model, out->n_vocab);
    if (form == TK_PROMPT_IDS && !out->ids)
        return tk_fail(err, TK_UNSUPPORTED, "%s%s does not take a prompt of token ids", t->base_url,
                       endpoint);
    if (out->ids) return TK_OK;
    int64_t few = count_words(t, endpoint, model, 32), many = count_words(t, endpoint, model, 160);
    out->tokens_per_word = 1.3;
    if (few > 0 && many > few) {
        out->tokens_per_word = (double)(many - few) / 128;
        out->overhead_tokens = fmax(0, (double)few - 32 * out->tokens_per_word);
    } else if (out->tokenizer == NULL) {
        tk_log(TK_LOG_WARN, "the server does not count prompt tokens; prompts have about 1.3 "
                            "tokens a word");
    }
    tk_log(TK_LOG_VERBOSE, "prompts are text: %.3f tokens a word, %.1f around them",
           out->tokens_per_word, out->overhead_tokens);
    return TK_OK;
}

void tk_prompt_source_close(tk_prompt_source *s)
{
    tk_tokenizer_free(s->tokenizer);
    s->tokenizer = NULL;
}

int32_t tk_prompt_count(const tk_prompt_source *s, const char *text)
{
    int32_t *ids = NULL;
    size_t n = 0;
    if (s->tokenizer) {
        tk_encode_opts opts = {.bos = TK_BOS_NO, .no_special = true};
        if (tk_tokenizer_encode(s->tokenizer, text, strlen(text), opts, &ids, &n, NULL) != TK_OK)
            return 0;
        tk_free(ids);
        return (int32_t)TK_MIN(n, (size_t)INT32_MAX);
    }
    for (const char *p = text; *p;) { // words
        p += strspn(p, " \t\n");
        if (*p) n++;
        p += strcspn(p, " \t\n");
    }
    double per_word = s->tokens_per_word > 0 ? s->tokens_per_word : 1.3;
    return (int32_t)fmin((double)n * per_word + 0.5, INT32_MAX);
}

// Words until the tokenizer counts n_tok. Too many are taken back and fewer tried; what no word fits is filled
// with "a", one token nearly everywhere.
static void words_by_tokenizer(const tk_prompt_source *s, tk_rng *rng, int32_t n_tok, tk_buf *b)
{
    int32_t have = tk_prompt_count(s, tk_buf_str(b)), step = TK_MAX(1, (n_tok - have) / 2);
    for (int missed = 0; have < n_tok && missed < 64 && !b->failed;) {
        size_t before = b->len;
        if (missed > 8)
            tk_buf_add_str(b, b->len ? " a" : "a");
        else
            for (int32_t i = 0; i < step; i++) add_word(b, rng);
        int32_t now = tk_prompt_count(s, tk_buf_str(b));
        if (now <= n_tok) {
            have = now;
            step = TK_MAX(1, TK_MIN(step, (n_tok - have) / 2));
            continue;
        }
        b->len = before;
        b->data[before] = 0;
        if (step == 1) missed++;
        step = TK_MAX(1, step / 2);
    }
}

static tk_status make_text(const tk_prompt_source *s, tk_rng *rng, const tk_prompt *prefix,
                           int32_t n_tok, bool whole, tk_prompt *out, tk_err *err)
{
    tk_buf b = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    double want = n_tok - (whole ? s->overhead_tokens : 0);
    if (prefix && prefix->text) tk_buf_add_str(&b, prefix->text);
    if (s->tokenizer) {
        words_by_tokenizer(s, rng, (int32_t)fmax(1, want + 0.5), &b);
    } else {
        if (prefix) want -= prefix->n_tok;
        for (double n = fmax(1, want / s->tokens_per_word + 0.5); n >= 1 && !b.failed; n--)
            add_word(&b, rng);
    }
    if (b.failed) {
        tk_buf_free(&b);
        return tk_fail(err, TK_NOMEM, "a prompt of %d tokens is too long", n_tok);
    }
    out->text = tk_buf_take(&b);
    return TK_OK;
}

tk_status tk_prompt_make(const tk_prompt_source *s, tk_rng *rng, const tk_prompt *prefix,
                         int32_t n_tok, bool whole, tk_prompt *out, tk_err *err)
{
    *out = (tk_prompt){.n_tok = n_tok};
    if (!s->ids) return make_text(s, rng, prefix, n_tok, whole, out, err);
    int32_t n_prefix = prefix ? TK_MIN(prefix->n_tok, n_tok) : 0;
    out->ids = tk_try_alloc((size_t)n_tok, sizeof *out->ids);
    if (out->ids == NULL) return tk_fail(err, TK_NOMEM, "no memory for %d token ids", n_tok);
    if (n_prefix) memcpy(out->ids, prefix->ids, (size_t)n_prefix * sizeof *out->ids);
    for (int32_t i = n_prefix; i < n_tok; i++)
        out->ids[i] = (int32_t)tk_rng_below(rng, (uint64_t)s->n_vocab);
    return TK_OK;
}

void tk_prompt_free(tk_prompt *p)
{
    tk_free(p->ids);
    tk_free(p->text);
    *p = (tk_prompt){0};
}
