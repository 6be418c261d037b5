// SPDX-License-Identifier: MIT
// Renders chat requests with a model's chat template.
#include "cli/cmd.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "engine/chat.h"
#include "engine/locate.h"
#include "engine/model_text.h"
#include "text/template.h"

#include <stdlib.h>
#include <string.h>

typedef struct options {
    tk_cmd_common common;
    bool jsonl;
    const char *file;
} options;

static const tk_opt table[] = {
    {.name = "jsonl",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, jsonl),
     .help = "Read one chat request a line (the only form, so this may be left out)."},
    {.name = "template",
     .type = TK_OPT_STR,
     .arg = "FILE",
     .offset = offsetof(options, file),
     .help = "A template to use in place of the model's."},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_template = {
    .name = "template",
    .synopsis = "template MODEL --jsonl [--template FILE] < REQUESTS",
    .summary = "render chat requests with the model's chat template",
    .details = "Reads objects with messages and, optionally, tools, documents, "
               "add_generation_prompt (default true)\n"
               "and chat_template_kwargs, one a line; writes a JSON string, or {\"error\": ...}, "
               "for each.",
    .opts = table,
    .run = run,
};

typedef struct templates { // parsed when first needed
    tk_ckpt *ckpt;
    tk_tokenizer *tokenizer; // NULL when the model has none
    const char *file;
    tk_template *plain, *with_tools;
} templates;

static tk_status pick(templates *t, bool tools, const tk_template **out, tk_err *err)
{
    tk_template **slot = tools && t->file == NULL ? &t->with_tools : &t->plain;
    tk_status st = TK_OK;
    if (*slot == NULL) {
        char *source = NULL;
        st = t->file ? tk_file_read(t->file, TK_LIMIT_TEMPLATE_BYTES, &source, NULL, err)
                     : tk_ckpt_chat_template(t->ckpt, tools, &source, err);
        if (st == TK_OK && source == NULL)
            st = tk_fail(err, TK_BAD_INPUT, "%s: there is no chat template", tk_ckpt_path(t->ckpt));
        if (st == TK_OK) st = tk_template_parse(source, strlen(source), slot, err);
        tk_free(source);
    }
    *out = *slot;
    return st;
}

// Request -> context: everything as it is, missing tools and documents none, kwargs spread out.
static json_t *context_of(const templates *t, const json_t *request)
{
    json_t *c = json_object(), *v;
    const char *key;
    json_object_set_new(c, "tools", json_null());
    json_object_set_new(c, "documents", json_null());
    json_object_set_new(c, "add_generation_prompt", json_true());
    if (t->tokenizer) tk_chat_add_special(t->tokenizer, c);
    json_object_foreach((json_t *)(uintptr_t)request, key,
                        v) if (strcmp(key, "chat_template_kwargs") != 0) json_object_set(c, key, v);
    json_object_foreach(json_object_get(request, "chat_template_kwargs"), key, v)
        json_object_set(c, key, v);
    return c;
}

static tk_status render(templates *t, const char *line, size_t len, tk_buf *out, tk_err *err)
{
    json_t *request = NULL;
    const tk_template *tpl = NULL;
    tk_status st = tk_json_parse(line, len, "the request", &request, err);
    if (st == TK_OK && !json_is_object(request))
        st = tk_fail(err, TK_BAD_INPUT, "the request is not a JSON object");
    if (st == TK_OK) {
        const json_t *tools = tk_json_get(request, "tools");
        st = pick(t, tools != NULL, &tpl, err);
    }
    if (st == TK_OK) {
        json_t *context = context_of(t, request);
        st = tk_template_render(tpl, context, out, err);
        json_decref(context);
    }
    json_decref(request);
    return st;
}

static void print_line(json_t *j)
{
    json_dumpf(j, stdout, JSON_ENCODE_ANY);
    putchar('\n');
    json_decref(j);
}

// The story may quote broken text.
static void print_error(const char *story)
{
    tk_buf valid = tk_buf_make(8192);
    tk_text_append_valid(&valid, story, strlen(story));
    print_line(json_pack("{s:s}", "error", tk_buf_str(&valid)));
    tk_buf_free(&valid);
}

static tk_status each_line(templates *t, tk_err *err)
{
    char *line = NULL;
    size_t cap = 0, len;
    int more;
    tk_buf out = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    while ((more = tk_cmd_read_line(stdin, &line, &cap, &len, err)) > 0) {
        tk_err own = TK_ERR_INIT;
        tk_buf_clear(&out);
        if (render(t, line, len, &out, &own) == TK_OK)
            print_line(json_stringn(tk_buf_str(&out), out.len));
        else
            print_error(own.msg);
    }
    tk_buf_free(&out);
    free(line);
    return more < 0 ? err->status : TK_OK;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *model;
    char *path = NULL;
    templates t = {0};
    tk_err none = TK_ERR_INIT;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_template, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_locate(model, &path, err));
    TK_TRY(tk_ckpt_open(path, &t.ckpt, err));
    t.file = o.file;
    if (tk_ckpt_tokenizer(t.ckpt, &t.tokenizer, &none) != TK_OK)
        t.tokenizer = NULL; // templates work without one
    st = each_line(&t, err);
done:
    tk_template_free(t.plain);
    tk_template_free(t.with_tools);
    tk_tokenizer_free(t.tokenizer);
    tk_ckpt_close(t.ckpt);
    tk_free(path);
    return st;
}
