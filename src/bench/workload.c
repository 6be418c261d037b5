// SPDX-License-Identifier: MIT
#include "bench/workload.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

typedef struct maker {
    const tk_workload_opts *o;
    const tk_prompt_source *s;
    tk_workload *w;
    tk_rng rng;
    int32_t n; // requests to make, warm-ups included
} maker;

// Uniform among the whole numbers of len * (1 -+ ratio), at least `least`.
static int32_t length(maker *m, int32_t len, int32_t least)
{
    int32_t low = (int32_t)floor(len * (1 - m->o->range_ratio)),
            high = (int32_t)ceil(len * (1 + m->o->range_ratio));
    int32_t n = low + (int32_t)tk_rng_below(&m->rng, (uint64_t)(high - low) + 1);
    return TK_MAX(n, least);
}

// Of n_prefix prefixes that requests take in turn, how much of request i's an earlier one or a warm-up has.
static int32_t shared(const maker *m, int32_t i, int32_t n_prefix, int32_t len)
{
    for (int32_t k = m->w->n_request; k < m->n; k++)
        if (k % n_prefix == i % n_prefix) return len;
    return i < n_prefix ? 0 : len;
}

static tk_status make_random(maker *m, tk_err *err)
{
    tk_prompt prefix = {0};
    tk_status st = TK_OK;
    if (m->o->prefix_len > 0)
        TK_TRY(tk_prompt_make(m->s, &m->rng, NULL, m->o->prefix_len, false, &prefix, err));
    for (int32_t i = 0; i < m->n; i++) {
        tk_workload_request *r = &m->w->requests[i];
        int32_t n = length(m, m->o->input_len, 1) + m->o->prefix_len;
        r->n_out = length(m, m->o->output_len, 1);
        r->n_shared = shared(m, i, 1, m->o->prefix_len);
        TK_TRY(tk_prompt_make(m->s, &m->rng, m->o->prefix_len ? &prefix : NULL, n, true, &r->prompt,
                              err));
    }
done:
    tk_prompt_free(&prefix);
    return st;
}

// A few prefixes, each followed by many suffixes, in mixed order.
static tk_status make_prefix_repetition(maker *m, tk_err *err)
{
    int32_t n_prefix = m->o->n_prefix;
    tk_prompt *prefix = tk_try_alloc((size_t)n_prefix, sizeof *prefix);
    if (prefix == NULL) return tk_fail(err, TK_NOMEM, "no memory for %d prefixes", n_prefix);
    tk_status st = TK_OK;
    for (int32_t i = 0; i < n_prefix; i++)
        TK_TRY(tk_prompt_make(m->s, &m->rng, NULL, m->o->prefix_len, false, &prefix[i], err));
    for (int32_t i = 0; i < m->n; i++) {
        tk_workload_request *r = &m->w->requests[i];
        r->n_out = m->o->output_len;
        r->n_shared = shared(m, i, n_prefix, m->o->prefix_len);
        TK_TRY(tk_prompt_make(m->s, &m->rng, &prefix[i % n_prefix],
                              m->o->prefix_len + m->o->suffix_len, true, &r->prompt, err));
    }
    for (int32_t i = m->w->n_request - 1; i > 0; i--) {
        int32_t k = (int32_t)tk_rng_below(&m->rng, (uint64_t)i + 1);
        tk_workload_request t = m->w->requests[i];
        m->w->requests[i] = m->w->requests[k];
        m->w->requests[k] = t;
    }
done:
    for (int32_t i = 0; i < n_prefix; i++) tk_prompt_free(&prefix[i]);
    tk_free(prefix);
    return st;
}

static tk_status make_multi_turn(maker *m, tk_err *err)
{
    tk_status st = TK_OK;
    if (m->o->prefix_len > 0)
        TK_TRY(tk_prompt_make(m->s, &m->rng, NULL, m->o->prefix_len, false, &m->w->system, err));
    for (int32_t i = 0; i < m->n; i++) {
        tk_workload_request *r = &m->w->requests[i];
        bool warmup = i >= m->w->n_request;
        r->turn = warmup ? 0 : i % m->o->n_turn;
        r->n_shared = r->turn ? 0 : shared(m, i, 1, m->w->system.n_tok);
        r->n_out = length(m, m->o->output_len, 1);
        TK_TRY(tk_prompt_make(m->s, &m->rng, NULL, length(m, m->o->input_len, 1), false, &r->prompt,
                              err));
    }
done:
    return st;
}

// Prompts of a file, from the first on and over again when there are too few.
typedef struct file_row {
    const char *prompt, *answer; // borrowed from the JSON
    int64_t n_out;               // 0 = not said
} file_row;

static void fill_from_rows(maker *m, const file_row *rows, size_t n_row)
{
    for (int32_t i = 0; i < m->n; i++) {
        const file_row *row = &rows[(size_t)i % n_row];
        tk_workload_request *r = &m->w->requests[i];
        int64_t n_out = m->o->output_len ? m->o->output_len
                        : row->n_out > 0 ? row->n_out
                        : row->answer    ? tk_prompt_count(m->s, row->answer)
                                         : 256;
        r->n_out = (int32_t)TK_MIN(TK_MAX(n_out, 1), TK_LIMIT_CONTEXT);
        r->prompt.text = tk_strdup(row->prompt);
        r->prompt.n_tok = tk_prompt_count(m->s, row->prompt);
    }
}

// {"prompt": ..., "output_tokens": ...} a line.
static tk_status read_custom(const char *text, const char *path, json_t *keep, file_row **rows,
                             size_t *n, tk_err *err)
{
    size_t cap = 0, line = 0;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, "\n");
        char where[512];
        snprintf(where, sizeof where, "%s line %zu", path, ++line);
        const char *at = p;
        p += len + (p[len] == '\n');
        if (strspn(at, " \t\r") >= len) continue;
        json_t *j = NULL;
        tk_status st = tk_json_parse(at, len, where, &j, err);
        if (st != TK_OK) return st;
        json_array_append_new(keep, j);
        file_row row = {0};
        st = tk_json_str(j, "prompt", &row.prompt, where, err);
        if (st == TK_OK)
            st = tk_json_int(j, "output_tokens", 1, TK_LIMIT_CONTEXT, &row.n_out, where, err);
        if (st == TK_OK && row.prompt == NULL)
            st = tk_fail(err, TK_BAD_INPUT, "%s: there is no \"prompt\"", where);
        if (st != TK_OK) return st;
        if (*n == cap) {
            cap = TK_MAX(64, 2 * cap);
            *rows = tk_realloc(*rows, cap * sizeof **rows);
        }
        (*rows)[(*n)++] = row;
    }
    return TK_OK;
}

// A list of {"conversations": [{"from", "value"}, ...]}: the first message and the answer to it.
static tk_status read_sharegpt(const char *text, size_t len, const char *path, json_t *keep,
                               file_row **rows, size_t *n, tk_err *err)
{
    json_t *list = NULL;
    tk_status st = tk_json_parse(text, len, path, &list, err);
    if (st != TK_OK) return st;
    json_array_append_new(keep, list);
    if (!json_is_array(list))
        return tk_fail(err, TK_BAD_INPUT, "%s: a list of conversations was expected", path);
    *rows = tk_try_alloc(json_array_size(list), sizeof **rows);
    if (*rows == NULL) return tk_fail(err, TK_NOMEM, "no memory for %s", path);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *turns = json_object_get(json_array_get(list, i), "conversations");
        file_row row = {
            .prompt = json_string_value(json_object_get(json_array_get(turns, 0), "value")),
            .answer = json_string_value(json_object_get(json_array_get(turns, 1), "value"))};
        if (row.prompt && *row.prompt && row.answer && *row.answer) (*rows)[(*n)++] = row;
    }
    return TK_OK;
}

static tk_status make_from_file(maker *m, tk_err *err)
{
    char *text = NULL;
    size_t len = 0, n = 0;
    file_row *rows = NULL;
    json_t *keep = json_array();
    tk_status st;
    TK_TRY(tk_file_read(m->o->path, TK_LIMIT_JSON_BYTES, &text, &len, err));
    if (strcmp(m->o->dataset, "custom") == 0)
        TK_TRY(read_custom(text, m->o->path, keep, &rows, &n, err));
    else
        TK_TRY(read_sharegpt(text, len, m->o->path, keep, &rows, &n, err));
    if (n == 0) {
        st = tk_fail(err, TK_BAD_INPUT, "%s has no prompts", m->o->path);
        goto done;
    }
    fill_from_rows(m, rows, n);
done:
    tk_free(text);
    tk_free(rows);
    json_decref(keep);
    return st;
}

tk_status tk_workload_make(const tk_workload_opts *o, const tk_prompt_source *s, tk_workload *out,
                           tk_err *err)
{
    static const struct {
        const char *name;
        tk_status (*make)(maker *m, tk_err *err);
    } makers[] = {{"random", make_random},
                  {"prefix_repetition", make_prefix_repetition},
                  {"multi-turn", make_multi_turn},
                  {"custom", make_from_file},
                  {"sharegpt", make_from_file}};
    *out = (tk_workload){.n_request = o->n_request, .n_warmup = o->n_warmup};
    maker m = {.o = o, .s = s, .w = out, .rng = {.state = o->seed}};
    m.n = o->n_request + o->n_warmup;
    out->requests = tk_try_alloc((size_t)m.n, sizeof *out->requests);
    if (out->requests == NULL) return tk_fail(err, TK_NOMEM, "no memory for %d requests", m.n);
    tk_status st = TK_USAGE;
    for (size_t i = 0; i < TK_COUNT(makers); i++)
        if (strcmp(makers[i].name, o->dataset) == 0) st = makers[i].make(&m, err);
    if (st != TK_OK) tk_workload_free(out);
    return st;
}

void tk_workload_free(tk_workload *w)
{
    for (int32_t i = 0; w->requests && i < w->n_request + w->n_warmup; i++)
        tk_prompt_free(&w->requests[i].prompt);
    tk_free(w->requests);
    tk_prompt_free(&w->system);
    *w = (tk_workload){0};
}
