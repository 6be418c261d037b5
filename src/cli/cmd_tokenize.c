// SPDX-License-Identifier: MIT
#include "cli/cmd.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/locate.h"
#include "engine/model_text.h"

#include <stdlib.h>
#include <string.h>

typedef struct options {
    tk_cmd_common common;
    bool jsonl, no_special;
    const char *prompt, *add_bos;
} options;

static const tk_opt table[] = {
    {.name = "jsonl",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, jsonl),
     .help = "Read one JSON string a line, write one JSON array of ids a line."},
    {.name = "prompt",
     .aliases = "p",
     .type = TK_OPT_STR,
     .arg = "TEXT",
     .offset = offsetof(options, prompt),
     .help = "The text (default: all of standard input)."},
    {.name = "no-special",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, no_special),
     .help = "Text that spells a special token is plain text."},
    {.name = "add-bos",
     .type = TK_OPT_CHOICE,
     .arg = "auto|yes|no",
     .choices = "auto yes no",
     .offset = offsetof(options, add_bos),
     .help = "The begin token: as the tokenizer's files say (default), always, never."},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_tokenize = {
    .name = "tokenize",
    .synopsis = "tokenize MODEL [--jsonl | -p TEXT] [options]",
    .summary = "turn text into token ids",
    .opts = table,
    .run = run,
};

static tk_status print_ids(const tk_tokenizer *t, const char *text, size_t len, tk_encode_opts eo,
                           tk_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st = tk_tokenizer_encode(t, text, len, eo, &ids, &n, err);
    if (st != TK_OK) return st;
    putchar('[');
    for (size_t i = 0; i < n; i++) printf(i ? ",%d" : "%d", ids[i]);
    fputs("]\n", stdout);
    tk_free(ids);
    return TK_OK;
}

static tk_status each_line(const tk_tokenizer *t, tk_encode_opts eo, tk_err *err)
{
    char *line = NULL;
    size_t cap = 0, len;
    long n_line = 0;
    int more;
    tk_status st = TK_OK;
    while (st == TK_OK && (more = tk_cmd_read_line(stdin, &line, &cap, &len, err)) != 0) {
        char where[40];
        json_t *j = NULL;
        if (more < 0) {
            st = err->status;
            break;
        }
        snprintf(where, sizeof where, "input line %ld", ++n_line);
        st = tk_json_parse(line, len, where, &j, err);
        if (st == TK_OK && !json_is_string(j))
            st = tk_fail(err, TK_BAD_INPUT, "%s is not a JSON string", where);
        if (st == TK_OK) st = print_ids(t, json_string_value(j), json_string_length(j), eo, err);
        json_decref(j);
    }
    free(line);
    return st;
}

static tk_status all_input(const tk_tokenizer *t, tk_encode_opts eo, tk_err *err)
{
    tk_buf b = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    tk_status st = TK_OK;
    char *at;
    size_t n = 1;
    while (n > 0 && (at = tk_buf_reserve(&b, 65536)) != NULL) {
        n = fread(at, 1, 65536, stdin);
        b.len += n;
    }
    if (b.failed)
        st = tk_fail(err, TK_BAD_INPUT, "the text is longer than %u bytes", TK_LIMIT_TEXT_BYTES);
    else
        st = print_ids(t, tk_buf_str(&b), b.len, eo, err);
    tk_buf_free(&b);
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *model;
    char *path = NULL;
    tk_tokenizer *t = NULL;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_tokenize, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_locate(model, &path, err));
    TK_TRY(tk_model_tokenizer(path, &t, err));
    tk_encode_opts eo = {.no_special = o.no_special};
    if (o.add_bos)
        eo.bos = strcmp(o.add_bos, "yes") == 0  ? TK_BOS_YES
                 : strcmp(o.add_bos, "no") == 0 ? TK_BOS_NO
                                                : TK_BOS_AUTO;
    if (o.jsonl)
        st = each_line(t, eo, err);
    else if (o.prompt)
        st = print_ids(t, o.prompt, strlen(o.prompt), eo, err);
    else
        st = all_input(t, eo, err);
done:
    tk_tokenizer_free(t);
    tk_free(path);
    return st;
}
