// SPDX-License-Identifier: MIT
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void buffer_refuses_bytes_past_its_maximum(void **state)
{
    (void)state;
    tk_buf b = tk_buf_make(5);
    assert_true(tk_buf_add_str(&b, "abcd"));
    assert_false(tk_buf_add_str(&b, "ef"));
    assert_true(b.failed);
    assert_string_equal(tk_buf_str(&b), "abcd");
    tk_buf_free(&b);
}

static void arena_stops_at_its_maximum_and_starts_again_after_reset(void **state)
{
    (void)state;
    tk_arena *a = tk_arena_new(1 << 16);
    size_t n = 0;
    while (tk_arena_alloc(a, 1000)) n++;
    assert_in_range(n, 50, 65);
    tk_arena_reset(a);
    char *p = tk_arena_strndup(a, "hello", 3);
    assert_string_equal(p, "hel");
    tk_arena_free(a);
}

static void map_finds_what_was_added_through_growth(void **state)
{
    (void)state;
    static char keys[5000][8];
    tk_map *m = tk_map_new(0);
    for (int i = 0; i < 5000; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        assert_true(tk_map_add(m, keys[i], strlen(keys[i]), (uint64_t)i));
    }
    assert_false(tk_map_add(m, "k7", 2, 99));
    for (int i = 0; i < 5000; i++) {
        uint64_t v = 0;
        assert_true(tk_map_get(m, keys[i], strlen(keys[i]), &v));
        assert_int_equal(v, i);
    }
    assert_false(tk_map_get(m, "x", 1, NULL));
    tk_map_free(m);
}

static void utf8_agrees_with_its_definition_on_every_code_point(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char s[4];
        size_t n = tk_utf8_write(cp, s);
        uint32_t back = 0;
        size_t r = tk_utf8_read(s, n, &back, NULL);
        bool surrogate = cp >= 0xD800 && cp <= 0xDFFF;
        assert_int_equal(r, surrogate ? 0 : n);
        if (surrogate) continue;
        assert_int_equal(back, cp);
        for (size_t cut = 1; cut < n; cut++) assert_int_equal(tk_utf8_tail(s, cut), cut);
        assert_int_equal(tk_utf8_tail(s, n), 0);
    }
    assert_false(tk_utf8_valid("\xC0\x80", 2));
    assert_false(tk_utf8_valid("\xF5\x80\x80\x80", 4));
    size_t bad = 0;
    uint32_t cp;
    assert_int_equal(tk_utf8_read("\xE2\x82"
                                  "a",
                                  3, &cp, &bad),
                     0);
    assert_int_equal(bad, 2);
}

static void file_names_that_leave_their_folder_are_refused(void **state)
{
    (void)state;
    assert_true(tk_file_name_is_inside("model-00001-of-00002.safetensors"));
    assert_true(tk_file_name_is_inside("a/b.safetensors"));
    const char *bad[] = {"", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a\\b", "a/"};
    for (size_t i = 0; i < TK_COUNT(bad); i++) assert_false(tk_file_name_is_inside(bad[i]));
}

static void json_deeper_than_the_limit_is_refused(void **state)
{
    (void)state;
    char deep[400];
    memset(deep, '[', 200);
    memset(deep + 200, ']', 200);
    json_t *j = NULL;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_json_parse(deep, 400, "x", &j, &err), TK_BAD_INPUT);
    assert_non_null(strstr(err.msg, "deeper"));
    tk_err err2 = TK_ERR_INIT;
    assert_int_equal(tk_json_parse("[\"[[[[\"]", 8, "x", &j, &err2), TK_OK);
    json_decref(j);
}

typedef struct opts {
    bool flag;
    int64_t n;
    double x;
    const char *s;
    tk_opt_list list;
} opts;

static const tk_opt table[] = {
    {.name = "flag",
     .aliases = "f",
     .type = TK_OPT_FLAG,
     .help = "h",
     .offset = offsetof(opts, flag)},
    {.name = "count",
     .aliases = "n",
     .type = TK_OPT_INT,
     .arg = "N",
     .help = "h",
     .offset = offsetof(opts, n),
     .min = 1,
     .max = 10},
    {.name = "temperature",
     .aliases = "temp",
     .type = TK_OPT_DOUBLE,
     .arg = "T",
     .help = "h",
     .offset = offsetof(opts, x)},
    {.name = "stop", .type = TK_OPT_LIST, .arg = "S", .help = "h", .offset = offsetof(opts, list)},
    TK_OPT_END,
};

static tk_status parse(opts *o, const char *a, const char *b, const char *c, tk_err *err)
{
    char *argv[] = {(char *)"cmd", (char *)(uintptr_t)a, (char *)(uintptr_t)b,
                    (char *)(uintptr_t)c};
    int argc = 1 + (a != NULL) + (b != NULL) + (c != NULL);
    const char *pos[2];
    int n;
    return tk_opt_parse(table, argc, argv, o, pos, 2, &n, err);
}

static void options_are_parsed_bounded_and_suggested(void **state)
{
    (void)state;
    opts o = {0};
    tk_err e = TK_ERR_INIT;
    assert_int_equal(parse(&o, "-n", "7", "--temp=-0.5", &e), TK_OK);
    assert_int_equal(o.n, 7);
    assert_true(o.x == -0.5);
    assert_int_equal(parse(&o, "--count", "11", NULL, &e), TK_USAGE);
    assert_string_equal(e.msg, "--count is 11, outside 1..10");
    e = (tk_err)TK_ERR_INIT;
    assert_int_equal(parse(&o, "--temprature", "1", NULL, &e), TK_USAGE);
    assert_non_null(strstr(e.msg, "--temperature"));
    e = (tk_err)TK_ERR_INIT;
    assert_int_equal(parse(&o, "--stop", NULL, NULL, &e), TK_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_refuses_bytes_past_its_maximum),
        cmocka_unit_test(arena_stops_at_its_maximum_and_starts_again_after_reset),
        cmocka_unit_test(map_finds_what_was_added_through_growth),
        cmocka_unit_test(utf8_agrees_with_its_definition_on_every_code_point),
        cmocka_unit_test(file_names_that_leave_their_folder_are_refused),
        cmocka_unit_test(json_deeper_than_the_limit_is_refused),
        cmocka_unit_test(options_are_parsed_bounded_and_suggested),
    };
    return cmocka_run_group_tests_name("base util", tests, NULL, NULL);
}
