// SPDX-License-Identifier: MIT
#include "base/json.h"
#include "base/mem.h"
#include "text/stop.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static tk_tokenizer *open_demo(void)
{
    tk_tokenizer *t = NULL;
    assert_int_equal(tk_tokenizer_open_dir(TK_SOURCE_DIR "/models/demo", &t, NULL), TK_OK);
    return t;
}

static void check_line(const tk_tokenizer *t, const json_t *j)
{
    const json_t *text = json_object_get(j, "text"), *want = json_object_get(j, "ids");
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(tk_tokenizer_encode(t, json_string_value(text), json_string_length(text),
                                         (tk_encode_opts){0}, &ids, &n, NULL),
                     TK_OK);
    assert_int_equal(n, json_array_size(want));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(ids[i], json_integer_value(json_array_get(want, i)));
    tk_buf back = tk_buf_make(1 << 20);
    assert_int_equal(tk_tokenizer_decode(t, ids + 1, n - 1, false, &back, NULL),
                     TK_OK); // without the begin token
    assert_int_equal(back.len, json_string_length(text));
    assert_memory_equal(tk_buf_str(&back), json_string_value(text), back.len);
    // token by token gives the same text, cut between characters only
    tk_detok *d = tk_detok_new(t, false);
    size_t at = 0, len;
    for (size_t i = 1; i <= n; i++) {
        const char *s = i < n ? tk_detok_push(d, ids[i], &len) : tk_detok_flush(d, &len);
        assert_true(at + len <= back.len && memcmp(s, tk_buf_str(&back) + at, len) == 0);
        at += len;
        assert_true(at == back.len || ((unsigned char)back.data[at] & 0xC0) != 0x80);
    }
    assert_int_equal(at, back.len);
    tk_detok_free(d);
    tk_buf_free(&back);
    tk_free(ids);
}

static void ids_are_those_of_hugging_face_and_decode_to_the_text(void **state)
{
    (void)state;
    tk_tokenizer *t = open_demo();
    FILE *f = fopen(TK_SOURCE_DIR "/tests/golden/tokenizer/demo.jsonl", "r");
    char *line = NULL;
    size_t cap = 0;
    int n = 0;
    assert_non_null(f);
    for (ssize_t len; (len = getline(&line, &cap, f)) > 0; n++) {
        json_t *j = NULL;
        assert_int_equal(tk_json_parse(line, (size_t)len, "golden", &j, NULL), TK_OK);
        check_line(t, j);
        json_decref(j);
    }
    assert_true(n >= 400);
    free(line);
    fclose(f);
    tk_tokenizer_free(t);
}

static void a_run_of_a_million_letters_does_not_take_forever(void **state)
{
    (void)state;
    tk_tokenizer *t = open_demo();
    size_t len = 1000000, n = 0;
    char *text = malloc(len);
    int32_t *ids = NULL;
    memset(text, 'a', len);
    assert_int_equal(tk_tokenizer_encode(t, text, len, (tk_encode_opts){0}, &ids, &n, NULL), TK_OK);
    assert_true(n > 1000);
    free(text);
    tk_free(ids);
    tk_tokenizer_free(t);
}

static void special_text_is_plain_when_asked(void **state)
{
    (void)state;
    tk_tokenizer *t = open_demo();
    int32_t *ids = NULL;
    size_t n = 0;
    const char *text = "<|User|>";
    assert_int_equal(
        tk_tokenizer_encode(t, text, 8, (tk_encode_opts){.bos = TK_BOS_NO}, &ids, &n, NULL), TK_OK);
    assert_int_equal(n, 1);
    tk_free(ids);
    assert_int_equal(tk_tokenizer_encode(t, text, 8,
                                         (tk_encode_opts){.bos = TK_BOS_NO, .no_special = true},
                                         &ids, &n, NULL),
                     TK_OK);
    assert_true(n > 1);
    tk_free(ids);
    tk_tokenizer_free(t);
}

static void refuse(const char *json, tk_status st, const char *story)
{
    tk_tokenizer *t = NULL;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_tokenizer_open_json(json, strlen(json), "x", &t, &err), st);
    if (strstr(err.msg, story) == NULL) fail_msg("\"%s\" does not say \"%s\"", err.msg, story);
}

static void broken_tokenizers_are_refused_by_their_story(void **state)
{
    (void)state;
    refuse("{}", TK_UNSUPPORTED, "tokenizer model");
    refuse("[]", TK_BAD_INPUT, "not a JSON object");
    refuse("{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", TK_UNSUPPORTED,
           "\"Unigram\" is not supported");
    refuse("{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", TK_BAD_INPUT,
           "vocabulary of 0 tokens");
    refuse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", TK_BAD_INPUT,
           "two tokens have the id 0");
    refuse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]}}",
           TK_BAD_INPUT, "2000000001 tokens");
    refuse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[\"a b\"]}}", TK_BAD_INPUT,
           "merge 0 makes \"ab\"");
    refuse("{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[7]}}", TK_BAD_INPUT,
           "merge 0 is no pair");
    refuse("{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
           "\"Isolated\"},"
           "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
           TK_BAD_INPUT, "does not compile");
}

static void stop_strings_are_found_across_pieces_and_never_shown(void **state)
{
    (void)state;
    const char *stops[] = {"</end>"};
    tk_stop *s = tk_stop_new(stops, 1);
    const char *pieces[] = {"one <", "/en", "tropy> two </", "end> three"};
    char all[100] = "";
    bool hit = false;
    for (size_t i = 0; i < 4 && !hit; i++) {
        size_t n;
        const char *p = tk_stop_push(s, pieces[i], strlen(pieces[i]), &n, &hit);
        snprintf(all + strlen(all), sizeof all - strlen(all), "%.*s", (int)n, p);
    }
    assert_true(hit);
    assert_string_equal(all, "one </entropy> two ");
    tk_stop_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_hugging_face_and_decode_to_the_text),
        cmocka_unit_test(a_run_of_a_million_letters_does_not_take_forever),
        cmocka_unit_test(special_text_is_plain_when_asked),
        cmocka_unit_test(broken_tokenizers_are_refused_by_their_story),
        cmocka_unit_test(stop_strings_are_found_across_pieces_and_never_shown),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
