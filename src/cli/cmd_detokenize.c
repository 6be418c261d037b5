// SPDX-License-Identifier: MIT
#include "cli/cmd.h"
#include "cli/ids.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/locate.h"
#include "engine/model_text.h"

#include <stdlib.h>

typedef struct options {
    tk_cmd_common common;
    bool jsonl, skip_special;
} options;

static const tk_opt table[] = {
    {.name = "jsonl",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, jsonl),
     .help = "Write JSON strings, one a line (default: the bare text)."},
    {.name = "skip-special",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, skip_special),
     .help = "Leave special tokens out (default: their text)."},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_detokenize = {
    .name = "detokenize",
    .synopsis = "detokenize MODEL [--jsonl] < IDS",
    .summary = "turn token ids into text",
    .details =
        "Reads JSON arrays of ids from standard input, one a line. Invalid UTF-8 becomes U+FFFD.",
    .opts = table,
    .run = run,
};

static tk_status print_text(const tk_tokenizer *t, const tk_id_list *ids, const options *o,
                            tk_err *err)
{
    tk_buf raw = tk_buf_make(TK_LIMIT_TEXT_BYTES),
           text = tk_buf_make((size_t)TK_LIMIT_TEXT_BYTES * 3);
    tk_status st = tk_tokenizer_decode(t, ids->ids, (size_t)ids->n, o->skip_special, &raw, err);
    if (st == TK_OK && !tk_text_append_valid(&text, tk_buf_str(&raw), raw.len))
        st = tk_fail(err, TK_NOMEM, "the text is too long");
    if (st == TK_OK && o->jsonl) {
        json_t *j = json_stringn(tk_buf_str(&text), text.len);
        json_dumpf(j, stdout, JSON_ENCODE_ANY);
        putchar('\n');
        json_decref(j);
    } else if (st == TK_OK) {
        fwrite(tk_buf_str(&text), 1, text.len, stdout);
    }
    tk_buf_free(&raw);
    tk_buf_free(&text);
    return st;
}

static tk_status each_line(const tk_tokenizer *t, const options *o, tk_err *err)
{
    char *line = NULL;
    size_t cap = 0, len;
    long n_line = 0;
    int more;
    tk_status st = TK_OK;
    while (st == TK_OK && (more = tk_cmd_read_line(stdin, &line, &cap, &len, err)) != 0) {
        char where[40];
        json_t *j = NULL;
        tk_id_list ids = {0};
        if (more < 0) {
            st = err->status;
            break;
        }
        snprintf(where, sizeof where, "input line %ld", ++n_line);
        st = tk_json_parse(line, len, where, &j, err);
        if (st == TK_OK) st = tk_ids_from_json(j, tk_tokenizer_n_vocab(t), where, &ids, err);
        if (st == TK_OK) st = print_text(t, &ids, o, err);
        tk_free(ids.ids);
        json_decref(j);
    }
    free(line);
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *model;
    char *path = NULL;
    tk_tokenizer *t = NULL;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_detokenize, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_locate(model, &path, err));
    TK_TRY(tk_model_tokenizer(path, &t, err));
    st = each_line(t, &o, err);
done:
    tk_tokenizer_free(t);
    tk_free(path);
    return st;
}
