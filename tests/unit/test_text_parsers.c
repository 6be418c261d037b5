// SPDX-License-Identifier: MIT
// Reasoning and tool calls in streams: every text is fed whole, byte by byte, and cut in two and in three at
// every place; what comes out must be the same, and no piece of a marker may be shown as content.
#include "base/buf.h"
#include "base/limits.h"
#include "text/reasoning.h"
#include "text/toolcall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define BAR "\xEF\xBD\x9C"
#define LOW "\xE2\x96\x81"

// What has come out, written down: neighbouring pieces of one kind together.
typedef struct transcript {
    tk_buf b;
    char last;
} transcript;

static void note(transcript *t, char kind, const char *s, size_t len)
{
    if (kind != t->last || kind == 'B' || kind == 'E') tk_buf_addf(&t->b, "|%c:", kind);
    t->last = kind;
    tk_buf_add(&t->b, s, len);
}

static void on_reasoning(void *ctx, bool is_reasoning, const char *s, size_t len)
{
    assert_true(len > 0);
    note(ctx, is_reasoning ? 'R' : 'C', s, len);
}

static void on_tool(void *ctx, tk_tool_event e, const char *s, size_t len)
{
    note(ctx, "CBAE"[e], s, len);
}

typedef struct subject {
    bool is_reasoning;
    const tk_reasoning_marks *marks;
    bool open;
    tk_tool_format format;
} subject;

static const char *const names[] = {"get", "add"};

// Feeds text in pieces that end at cut[0..n_cut), and returns the transcript (free).
static char *feed(const subject *s, const char *text, const size_t *cut, int n_cut)
{
    transcript t = {.b = tk_buf_make(1 << 20)};
    size_t len = strlen(text), at = 0;
    tk_reasoning r;
    tk_tool_parser *p = tk_tool_parser_new(s->format, names, 2, on_tool, &t);
    tk_reasoning_init(&r, s->marks, s->open);
    for (int i = 0; i <= n_cut; i++) {
        size_t end = i < n_cut ? cut[i] : len;
        if (s->is_reasoning)
            tk_reasoning_push(&r, text + at, end - at, on_reasoning, &t);
        else
            tk_tool_parser_push(p, text + at, end - at);
        at = end;
    }
    if (s->is_reasoning)
        tk_reasoning_flush(&r, on_reasoning, &t);
    else
        tk_tool_parser_flush(p);
    tk_reasoning_free(&r);
    tk_tool_parser_free(p);
    if (t.b.len == 0) tk_buf_add(&t.b, "", 0);
    return t.b.data ? tk_buf_take(&t.b) : calloc(1, 1);
}

static void same(const subject *s, const char *text, const char *want, const size_t *cut, int n)
{
    char *got = feed(s, text, cut, n);
    if (strcmp(got, want) != 0)
        fail_msg("text:   %s\nwanted: %s\ngot:    %s\n(cut at %zu, %zu)", text, want, got,
                 n > 0 ? cut[0] : 0, n > 1 ? cut[1] : 0);
    free(got);
}

static void check(const subject *s, const char *text, const char *want)
{
    size_t len = strlen(text), every[1024];
    assert_true(len < 1024);
    same(s, text, want, NULL, 0);
    for (size_t i = 0; i < len; i++) every[i] = i + 1;
    same(s, text, want, every, len ? (int)len - 1 : 0);
    for (size_t i = 0; i <= len; i++) {
        same(s, text, want, &i, 1);
        for (size_t k = i; k <= len && len < 160; k++) same(s, text, want, (size_t[]){i, k}, 2);
    }
}

static void reasoning_is_split_off(void **state)
{
    (void)state;
    const tk_reasoning_marks *think = tk_reasoning_by_name("deepseek_r1");
    const subject open = {true, think, true, 0}, closed = {true, think, false, 0};
    check(&open, "I think.\n</think>\n\nSo.", "|R:I think.|C:So.");
    check(&open, "a </thin b</think>c", "|R:a </thin b|C:c");
    check(&open, "never ends </thi", "|R:never ends </thi");
    check(&open, "\n\n</think>x", "|C:x");
    check(&open, "</think>", "");
    check(&open, "a\n\nb\n</think>\n", "|R:a\n\nb");
    check(&open, "a</think>b</think>", "|R:a|C:b</think>");
    check(&closed, "<think>\nhm\n</think>\n\nyes", "|R:hm|C:yes");
    check(&closed, " \n<think>hm</think>yes\n", "|R:hm|C:yes\n");
    check(&closed, "no <think>x</think>", "|C:no <think>x</think>");
    check(&closed, "<thin", "|C:<thin");
    check(&closed, " <b>", "|C: <b>");
    check(&closed, "", "");
    const subject none = {true, NULL, false, 0},
                  mistral = {true, tk_reasoning_by_name("mistral"), false, 0};
    check(&none, "<think>a</think>", "|C:<think>a</think>");
    check(&mistral, "[THINK]a[b]c[/THINK]d", "|R:a[b]c|C:d");
}

static void hermes_calls_are_found(void **state)
{
    (void)state;
    const subject s = {.format = TK_TOOLS_HERMES};
    check(&s,
          "Let me see.\n<tool_call>\n{\"name\": \"get\", \"arguments\": {\"a\": [1, "
          "\"}\"]}}\n</tool_call>",
          "|C:Let me see.\n|B:get|A:{\"a\": [1, \"}\"]}|E:");
    check(&s,
          "<tool_call>{\"name\":\"get\",\"arguments\":{}}</"
          "tool_call>\n<tool_call>{\"arguments\":{\"x\":\"</tool_call>\"},"
          "\"name\":\"add\"}</tool_call>\n",
          "|B:get|A:{}|E:|B:add|A:{\"x\":\"</tool_call>\"}|E:");
    check(&s, "<tool_call>{\"name\":\"get\"}</tool_call> done", "|B:get|A:{}|E:|C: done");
    check(&s, "a < b <tool_cal", "|C:a < b <tool_cal");
    check(&s, "<tool_call>not json</tool_call>", "|C:<tool_call>not json</tool_call>");
    check(&s, "<tool_call>{\"name\":\"get\",\"arguments\":{\"a\":1", "|B:get|A:{\"a\":1|E:");
    check(&s, "<tool_call>{\"name\":\"get\",\"arguments\":\"{\\\"a\\\":1}\"}</tool_call>",
          "|B:get|A:{\"a\":1}|E:");
    check(&s, "plain", "|C:plain");
}

static void json_calls_are_told_from_answers(void **state)
{
    (void)state;
    const subject s = {.format = TK_TOOLS_JSON};
    check(&s, "{\"name\":\"get\",\"arguments\":{\"a\":1}}", "|B:get|A:{\"a\":1}|E:");
    check(&s,
          "\n[{\"name\":\"get\",\"arguments\":{}}, {\"name\":\"add\",\"parameters\":{\"b\":2}}]",
          "|B:get|A:{}|E:|B:add|A:{\"b\":2}|E:");
    check(&s, "{\"name\":\"nobody\",\"arguments\":{}}",
          "|C:{\"name\":\"nobody\",\"arguments\":{}}");
    check(&s, "{\"answer\": 5}", "|C:{\"answer\": 5}");
    check(&s, "[1, 2]", "|C:[1, 2]");
    check(&s, "It is {\"name\":\"get\"}", "|C:It is {\"name\":\"get\"}");
}

static void llama_calls_are_found(void **state)
{
    (void)state;
    const subject s = {.format = TK_TOOLS_LLAMA3};
    check(&s, "{\"name\": \"get\", \"parameters\": {\"q\": \"x\"}}", "|B:get|A:{\"q\": \"x\"}|E:");
    check(&s,
          "<|python_tag|>{\"type\": \"function\", \"name\": \"get\", \"parameters\": {}}; "
          "{\"name\": \"add\", \"parameters\": {}}",
          "|B:get|A:{}|E:|B:add|A:{}|E:");
    check(&s, "Hello {", "|C:Hello {");
}

static void mistral_calls_are_found(void **state)
{
    (void)state;
    const subject s = {.format = TK_TOOLS_MISTRAL};
    check(&s,
          "[TOOL_CALLS] [{\"name\": \"get\", \"arguments\": {\"a\": 1}}, {\"name\": \"add\", "
          "\"arguments\": {}}]",
          "|B:get|A:{\"a\": 1}|E:|B:add|A:{}|E:");
    check(&s, "Hm.[TOOL_CALLS]get[ARGS]{\"a\": 1}[TOOL_CALLS]add[ARGS]{}",
          "|C:Hm.|B:get|A:{\"a\": 1}|E:|B:add|A:{}|E:");
    check(&s, "[TOOL] [TOOL_CALL", "|C:[TOOL] [TOOL_CALL");
}

static void deepseek_calls_are_found(void **state)
{
    (void)state;
    const subject s = {.format = TK_TOOLS_DEEPSEEK};
#define BEGIN "<" BAR "tool" LOW "calls" LOW "begin" BAR ">"
#define CALL "<" BAR "tool" LOW "call" LOW "begin" BAR ">"
#define SEP "<" BAR "tool" LOW "sep" BAR ">"
#define ENDC "<" BAR "tool" LOW "call" LOW "end" BAR ">"
#define END "<" BAR "tool" LOW "calls" LOW "end" BAR ">"
    check(&s,
          "Yes." BEGIN CALL "function" SEP "get\n```json\n{\"a\": {\"b\": 1}}\n```" ENDC "\n" CALL
          "function" SEP "add\n```json\n{}\n```" ENDC END,
          "|C:Yes.|B:get|A:{\"a\": {\"b\": 1}}|E:|B:add|A:{}|E:");
    check(&s, BEGIN CALL "get" SEP "{\"a\":1}" ENDC CALL "add" SEP "{}" ENDC END,
          "|B:get|A:{\"a\":1}|E:|B:add|A:{}|E:");
    check(&s, "a <" BAR "tool", "|C:a <" BAR "tool");
}

static void forms_are_chosen_by_the_template(void **state)
{
    (void)state;
    assert_int_equal(tk_tool_format_of_template("{% for t in tools %}<tool_call>"),
                     TK_TOOLS_HERMES);
    assert_int_equal(tk_tool_format_of_template("[AVAILABLE_TOOLS]{{ tools }}[TOOL_CALLS]"),
                     TK_TOOLS_MISTRAL);
    assert_int_equal(tk_tool_format_of_template(BEGIN "{{ tools }}"), TK_TOOLS_DEEPSEEK);
    assert_int_equal(tk_tool_format_of_template("{{ tools }} Environment: ipython"),
                     TK_TOOLS_LLAMA3);
    assert_int_equal(tk_tool_format_of_template("{{ tools }}"), TK_TOOLS_JSON);
    assert_int_equal(tk_tool_format_of_template("{{ messages }}"), TK_TOOLS_NONE);
    assert_null(tk_reasoning_of_template("{{ messages }}"));
    const tk_reasoning_marks *m = tk_reasoning_of_template("<think>");
    assert_non_null(m);
    assert_true(tk_reasoning_is_open_in(m, "a<think>\n", 9));
    assert_false(tk_reasoning_is_open_in(m, "<think></think>", 15));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasoning_is_split_off),
        cmocka_unit_test(hermes_calls_are_found),
        cmocka_unit_test(json_calls_are_told_from_answers),
        cmocka_unit_test(llama_calls_are_found),
        cmocka_unit_test(mistral_calls_are_found),
        cmocka_unit_test(deepseek_calls_are_found),
        cmocka_unit_test(forms_are_chosen_by_the_template),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
