// SPDX-License-Identifier: MIT
// template_probe: what templates_fuzz.py asks, many templates in one process. On stdin one JSON object a line,
// {"template": text, "context": {...}} ("template" left out: the one before); on stdout for each the rendered
// text as a JSON string, or {"error": message}.
#include "base/json.h"
#include "base/limits.h"
#include "text/tokenizer.h"
#include "text/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static void answer(const tk_template *t, const json_t *request, tk_status parsed, tk_err *err)
{
    tk_buf out = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    tk_status st = parsed;
    if (st == TK_OK) st = tk_template_render(t, json_object_get(request, "context"), &out, err);
    if (st == TK_OK)
        print_line(json_stringn(tk_buf_str(&out), out.len));
    else
        print_error(err->msg);
    tk_buf_free(&out);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    tk_template *t = NULL;
    tk_status parsed = TK_BAD_INPUT;
    tk_err story =
        TK_ERR_INIT; // of the template's own parsing, which later lines may ask for again
    for (ssize_t len; (len = getline(&line, &cap, stdin)) > 0;) {
        json_t *request = NULL;
        tk_err err = TK_ERR_INIT;
        if (tk_json_parse(line, (size_t)len, "line", &request, &err) != TK_OK) {
            fprintf(stderr, "template_probe: %s\n", err.msg);
            return 1;
        }
        const json_t *source = json_object_get(request, "template");
        if (source) {
            tk_template_free(t);
            story = (tk_err)TK_ERR_INIT;
            parsed = tk_template_parse(json_string_value(source), json_string_length(source), &t,
                                       &story);
        }
        err = story;
        answer(t, request, parsed, &err);
        json_decref(request);
    }
    tk_template_free(t);
    free(line);
    return 0;
}
