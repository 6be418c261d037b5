// SPDX-License-Identifier: MIT
// Chat templates against what jinja2 renders under transformers' environment: tests/golden/template holds small
// templates of every construct and look-alikes of published ones with conversations (made by make_cases.py).
#include "base/json.h"
#include "base/limits.h"
#include "text/template.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct golden {
    json_t *contexts; // shared ones, by number
    size_t n, n_bad;
} golden;

static void report(golden *g, const json_t *source, const tk_buf *out, const tk_err *err,
                   const json_t *want)
{
    if (g->n_bad++ >= 20) return; // the first ones are enough to see what broke
    char *wanted = json_dumps(want, JSON_ENCODE_ANY);
    print_error("template %s\n  want %s\n  got  %s%s\n", json_string_value(source), wanted,
                err->status ? "error: " : "", err->status ? err->msg : tk_buf_str(out));
    free(wanted);
}

// want: the text; {"raise": message}; null where rendering has to fail.
static bool as_wanted(tk_status st, const tk_buf *out, const tk_err *err, const json_t *want)
{
    const char *message = json_string_value(json_object_get(want, "raise"));
    if (message) return st == TK_BAD_INPUT && strncmp(err->msg, message, 200) == 0;
    if (!json_is_string(want)) return st != TK_OK;
    return st == TK_OK && out->len == json_string_length(want) &&
           memcmp(tk_buf_str(out), json_string_value(want), out->len) == 0;
}

static void replay_line(golden *g, const json_t *line)
{
    const json_t *source = json_object_get(line, "t"), *pair;
    size_t i;
    tk_template *t = NULL;
    tk_err parse_err = TK_ERR_INIT;
    tk_status parsed =
        tk_template_parse(json_string_value(source), json_string_length(source), &t, &parse_err);
    json_array_foreach(json_object_get(line, "r"), i, pair)
    {
        const json_t *context = json_array_get(pair, 0), *want = json_array_get(pair, 1);
        tk_buf out = tk_buf_make(1 << 20);
        tk_err err = parse_err;
        tk_status st = parsed;
        if (json_is_integer(context))
            context = json_array_get(g->contexts, (size_t)json_integer_value(context));
        if (st == TK_OK) st = tk_template_render(t, context, &out, &err);
        if (!as_wanted(st, &out, &err, want)) report(g, source, &out, &err, want);
        g->n++;
        tk_buf_free(&out);
    }
    tk_template_free(t);
}

static void replay(const char *path, size_t n_min)
{
    FILE *f = fopen(path, "r");
    golden g = {.contexts = NULL};
    char *text = NULL;
    size_t cap = 0;
    assert_non_null(f);
    for (ssize_t len; (len = getline(&text, &cap, f)) > 0;) {
        json_t *line = NULL, *shared;
        assert_int_equal(tk_json_parse(text, (size_t)len, "golden", &line, NULL), TK_OK);
        if ((shared = json_object_get(line, "contexts")))
            g.contexts = json_incref(shared);
        else
            replay_line(&g, line);
        json_decref(line);
    }
    free(text);
    fclose(f);
    json_decref(g.contexts);
    if (g.n_bad) fail_msg("%zu of %zu cases differ", g.n_bad, g.n);
    assert_true(g.n >= n_min);
}

static void every_construct_renders_as_jinja2_does(void **state)
{
    (void)state;
    replay(TK_SOURCE_DIR "/tests/golden/template/cases.jsonl", 900);
}

static void conversations_render_as_transformers_does(void **state)
{
    (void)state;
    replay(TK_SOURCE_DIR "/tests/golden/template/chats.jsonl", 80);
}

static void refused(const char *source, tk_status st, const char *story)
{
    tk_template *t = NULL;
    tk_err err = TK_ERR_INIT;
    json_t *context = json_object();
    tk_buf out = tk_buf_make(1 << 20);
    tk_buf_add_str(&out, "before");
    tk_status got = tk_template_parse(source, strlen(source), &t, &err);
    if (got == TK_OK) got = tk_template_render(t, context, &out, &err);
    if (got != st || strstr(err.msg, story) == NULL)
        fail_msg("%s: status %d, \"%s\"", source, got, err.msg);
    assert_string_equal(tk_buf_str(&out), "before"); // nothing is added by a rendering that fails
    tk_buf_free(&out);
    json_decref(context);
    tk_template_free(t);
}

static void hostile_templates_end_by_their_bounds(void **state)
{
    (void)state;
    refused(
        "{% set x = range(100000) | list %}{% for b in range(100000) %}{{ 1.5 in x }}{% endfor %}",
        TK_NOMEM, "steps");
    refused("{% set x = range(100000) | list %}{% set y = x + [] %}{% for b in range(100000) %}"
            "{{ x == y }}{{ x <= y }}{{ (x + [1]) | length }}{% endfor %}",
            TK_NOMEM, "line 1");
    refused("{% set ns = namespace(s='x' * 1000) %}{% for a in range(100) %}{% set ns.s = ns.s ~ "
            "ns.s %}"
            "{% endfor %}",
            TK_NOMEM, "line 1");
    refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", TK_BAD_INPUT, "inside each other");
    refused("{% set ns = namespace(x=[]) %}{% for i in range(5000) %}{% set ns.x = [ns.x] %}{% "
            "endfor %}"
            "{{ ns.x }}",
            TK_BAD_INPUT, "deeper than");
    refused("{% set ns = namespace(x=[1]) %}{% for i in range(5000) %}{% set ns.x = ns.x | "
            "map('abs') %}"
            "{% endfor %}{{ ns.x | list }}",
            TK_BAD_INPUT, "deeper than");
    refused("{{ 'x' * 10000000000 }}", TK_NOMEM, "line 1");
    refused("{{ '%99999999d' % 1 }}", TK_BAD_INPUT, "width");
    refused("{{ 9223372036854775807 + 1 }}", TK_BAD_INPUT, "64 bits");
}

static void deep_syntax_is_refused(void **state)
{
    (void)state;
    size_t n = 100000;
    char *s = malloc(n + 1);
    assert_non_null(s);
    memset(s, '(', n);
    memcpy(s, "{{", 2);
    s[n] = 0;
    refused(s, TK_BAD_INPUT, "line 1");
    free(s);
}

static void errors_name_the_line(void **state)
{
    (void)state;
    refused("a\nb\n{{ 1 / 0 }}", TK_BAD_INPUT, "line 3");
    refused("a\n{% if %}", TK_BAD_INPUT, "line 2");
    refused("\n\n\n{{ x.y.z }}", TK_BAD_INPUT, "line 4: 'x' is undefined");
    refused("{{ raise_exception('as it is') }}", TK_BAD_INPUT, "as it is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_construct_renders_as_jinja2_does),
        cmocka_unit_test(conversations_render_as_transformers_does),
        cmocka_unit_test(hostile_templates_end_by_their_bounds),
        cmocka_unit_test(deep_syntax_is_refused),
        cmocka_unit_test(errors_name_the_line),
    };
    return cmocka_run_group_tests_name("template", tests, NULL, NULL);
}
