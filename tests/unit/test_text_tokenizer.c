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

static void same_ids(const int32_t *ids, size_t n, const json_t *want, const char *name,
                     const char *how)
{
    bool same = n == json_array_size(want);
    for (size_t i = 0; i < n && same; i++)
        same = ids[i] == json_integer_value(json_array_get(want, i));
    if (!same) fail_msg("%s: other ids (%s)", name, how);
}

static void same_text(const tk_tokenizer *t, const int32_t *ids, size_t n, bool skip,
                      const json_t *want, const char *name)
{
    tk_buf raw = tk_buf_make(1 << 20), shown = tk_buf_make(1 << 20), hex = tk_buf_make(1 << 20);
    tk_detok *d = tk_detok_new(t, skip);
    if (want == NULL) want = json_null();
    assert_int_equal(tk_tokenizer_decode(t, ids, n, skip, &raw, NULL), TK_OK);
    tk_text_append_valid(&shown, tk_buf_str(&raw), raw.len);
    for (size_t i = 0; i < shown.len; i++) tk_buf_addf(&hex, "%02x", (unsigned char)shown.data[i]);
    if (json_is_string(want) && strcmp(tk_buf_str(&hex), json_string_value(want)) != 0)
        fail_msg("%s: %s instead of %s (skip %d)", name, tk_buf_str(&hex), json_string_value(want),
                 skip);
    tk_buf_clear(&raw);
    for (size_t i = 0, len; i <= n; i++) {
        const char *s = i < n ? tk_detok_push(d, ids[i], &len) : tk_detok_flush(d, &len);
        tk_buf_add(&raw, s, len);
    }
    assert_int_equal(raw.len, shown.len);
    assert_memory_equal(tk_buf_str(&raw), tk_buf_str(&shown), raw.len);
    tk_detok_free(d);
    tk_buf_free(&raw);
    tk_buf_free(&shown);
    tk_buf_free(&hex);
}

static void check_quirk(const tk_tokenizer *t, const json_t *c, const char *name)
{
    static const struct {
        const char *key;
        tk_encode_opts opts;
    } ways[] = {{"plain", {.bos = TK_BOS_NO, .no_special = true}},
                {"bare", {.bos = TK_BOS_NO}},
                {"ids", {0}}};
    const json_t *text = json_object_get(c, "input");
    int32_t *ids = NULL;
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        tk_free(ids);
        assert_int_equal(tk_tokenizer_encode(t, json_string_value(text), json_string_length(text),
                                             ways[i].opts, &ids, &n, NULL),
                         TK_OK);
        same_ids(ids, n, json_object_get(c, ways[i].key), name, ways[i].key);
    }
    same_text(t, ids, n, false, json_object_get(c, "text"), name);
    same_text(t, ids, n, true, json_object_get(c, "skip"), name);
    tk_free(ids);
}

// Vocabularies and merges stand in the file once; later tokenizers name them by number.
static void take_shared(json_t *model, const char *key, json_t *shared)
{
    json_t *v = json_object_get(model, key);
    if (json_is_integer(v))
        json_object_set(model, key, json_array_get(shared, (size_t)json_integer_value(v)));
    else
        json_array_append(shared, v);
}

static void every_part_of_tokenizer_json_is_as_hugging_face_has_it(void **state)
{
    (void)state;
    FILE *f = fopen(TK_SOURCE_DIR "/tests/golden/tokenizer/quirks.jsonl", "r");
    json_t *vocabularies = json_array(), *merges = json_array();
    char *line = NULL;
    size_t cap = 0, n = 0, i;
    assert_non_null(f);
    for (ssize_t len; (len = getline(&line, &cap, f)) > 0; n++) {
        json_t *j = NULL, *c;
        tk_tokenizer *t = NULL;
        tk_err err = TK_ERR_INIT;
        if (tk_json_parse(line, (size_t)len, "quirks", &j, &err) != TK_OK) fail_msg("%s", err.msg);
        const char *name = json_string_value(json_object_get(j, "name"));
        json_t *model = json_object_get(json_object_get(j, "tokenizer"), "model");
        take_shared(model, "vocab", vocabularies);
        take_shared(model, "merges", merges);
        char *text = json_dumps(json_object_get(j, "tokenizer"), JSON_COMPACT);
        if (tk_tokenizer_open_json(text, strlen(text), name, &t, &err) != TK_OK)
            fail_msg("%s", err.msg);
        json_array_foreach(json_object_get(j, "cases"), i, c) check_quirk(t, c, name);
        assert_true(i > 0);
        tk_tokenizer_free(t);
        free(text);
        json_decref(j);
    }
    assert_true(n >= 80);
    json_decref(vocabularies);
    json_decref(merges);
    free(line);
    fclose(f);
}

// A GGUF vocabulary in SentencePiece's form: <unk>, <s>, </s>, the bytes, then these.
static tk_tokenizer *open_spm(int add_space_prefix)
{
    enum { N_BYTE = 256, FIRST = 3, N_MORE = 6 };
    static const char *const more[N_MORE] = {"\xE2\x96\x81",
                                             "a",
                                             "b",
                                             "\xE2\x96\x81\xE2\x96\x81",
                                             "\xE2\x96\x81"
                                             "a",
                                             "ab"};
    static char bytes[N_BYTE][8];
    tk_str tokens[FIRST + N_BYTE + N_MORE] = {{"<unk>", 5}, {"<s>", 3}, {"</s>", 4}};
    float scores[FIRST + N_BYTE + N_MORE] = {0};
    uint8_t kinds[FIRST + N_BYTE + N_MORE] = {TK_TOKEN_UNKNOWN, TK_TOKEN_CONTROL, TK_TOKEN_CONTROL};
    for (int i = 0; i < N_BYTE; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", (unsigned)i);
        tokens[FIRST + i] = (tk_str){bytes[i], 6};
        kinds[FIRST + i] = TK_TOKEN_BYTE;
    }
    for (int i = 0; i < N_MORE; i++) {
        tokens[FIRST + N_BYTE + i] = (tk_str){more[i], strlen(more[i])};
        scores[FIRST + N_BYTE + i] = (float)-i;
        kinds[FIRST + N_BYTE + i] = TK_TOKEN_NORMAL;
    }
    tk_vocab v = {.model = "llama",
                  .n_token = TK_COUNT(tokens),
                  .tokens = tokens,
                  .scores = scores,
                  .kinds = kinds,
                  .bos = 1,
                  .eos = 2,
                  .eot = -1,
                  .unk = 0,
                  .pad = -1,
                  .add_bos = -1,
                  .add_eos = -1,
                  .add_space_prefix = add_space_prefix};
    tk_tokenizer *t = NULL;
    assert_int_equal(tk_tokenizer_open_vocab(&v, "spm", &t, NULL), TK_OK);
    return t;
}

static void encodes_to(const tk_tokenizer *t, const char *text, tk_encode_opts opts, size_t n,
                       const int32_t *want)
{
    int32_t *ids = NULL;
    size_t n_id = 0;
    assert_int_equal(tk_tokenizer_encode(t, text, strlen(text), opts, &ids, &n_id, NULL), TK_OK);
    assert_int_equal(n_id, n);
    if (n > 0) assert_memory_equal(ids, want, n * sizeof *want);
    tk_free(ids);
}

static void a_gguf_of_llama_puts_a_space_before_every_stretch_as_llama_cpp_does(void **state)
{
    (void)state;
    enum { SPACE = 259, A, B, SPACES, SPACE_A, AB };
    tk_tokenizer *t = open_spm(-1);
    const tk_encode_opts bare = {.bos = TK_BOS_NO};
    encodes_to(t, "a", (tk_encode_opts){0}, 2, (const int32_t[]){1, SPACE_A});
    encodes_to(t, " b", bare, 2, (const int32_t[]){SPACES, B}); // also before a space
    encodes_to(t, "b</s> b<unk>b", bare, 8, (const int32_t[]){SPACE, B, 2, SPACES, B, 0, SPACE, B});
    encodes_to(t, "\xC3\xA9", bare, 3, (const int32_t[]){SPACE, 3 + 0xC3, 3 + 0xA9});
    encodes_to(t, "", bare, 0, NULL);
    tk_tokenizer_free(t);
    t = open_spm(0);
    encodes_to(t, "ab", bare, 1, (const int32_t[]){AB});
    tk_tokenizer_free(t);
}

static void a_gguf_without_add_bos_begins_as_its_pre_tokenizer_does(void **state)
{
    (void)state;
    static const struct {
        const char *pre;
        int add_bos;
        size_t n;
    } cases[] = {{"llama-bpe", -1, 2}, {"llama-bpe", 0, 1}, {"qwen2", -1, 1},
                 {"qwen2", 1, 2},      {"tekken", -1, 2},   {"gpt-2", -1, 1}};
    // U+00E9 stands for byte 0xE9; the other token is no disguised byte (U+4F60), and no text may spell it
    const tk_str tokens[] = {{"a", 1}, {"<s>", 3}, {"\xC3\xA9", 2}, {"\xE4\xBD\xA0", 3}};
    const uint8_t kinds[] = {TK_TOKEN_NORMAL, TK_TOKEN_CONTROL, TK_TOKEN_NORMAL, TK_TOKEN_NORMAL};
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        tk_vocab v = {.model = "gpt2",
                      .pre = cases[i].pre,
                      .n_token = 4,
                      .tokens = tokens,
                      .kinds = kinds,
                      .bos = 1,
                      .eos = -1,
                      .eot = -1,
                      .unk = -1,
                      .pad = -1,
                      .add_bos = cases[i].add_bos,
                      .add_eos = -1,
                      .add_space_prefix = -1};
        tk_tokenizer *t = NULL;
        assert_int_equal(tk_tokenizer_open_vocab(&v, "bpe", &t, NULL), TK_OK);
        encodes_to(t, "a", (tk_encode_opts){0}, cases[i].n,
                   cases[i].n == 2 ? (const int32_t[]){1, 0} : (const int32_t[]){0});
        encodes_to(t, "\xE4\xBD\xA0", (tk_encode_opts){.bos = TK_BOS_NO}, 0, NULL);
        tk_tokenizer_free(t);
    }
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
    refuse("{\"pre_tokenizer\":{\"type\":\"Punctuation\",\"behavior\":\"Contig-ous\"},"
           "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
           TK_BAD_INPUT, "unknown split behavior \"Contig-ous\"");
    refuse("{\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
           "\"Replace\","
           "\"pattern\":{\"String\":\"ab\"},\"content\":\"c\"}]},"
           "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}",
           TK_UNSUPPORTED, "replaces \"ab\" across tokens");
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
        cmocka_unit_test(every_part_of_tokenizer_json_is_as_hugging_face_has_it),
        cmocka_unit_test(a_gguf_of_llama_puts_a_space_before_every_stretch_as_llama_cpp_does),
        cmocka_unit_test(a_gguf_without_add_bos_begins_as_its_pre_tokenizer_does),
        cmocka_unit_test(a_run_of_a_million_letters_does_not_take_forever),
        cmocka_unit_test(special_text_is_plain_when_asked),
        cmocka_unit_test(broken_tokenizers_are_refused_by_their_story),
        cmocka_unit_test(stop_strings_are_found_across_pieces_and_never_shown),
    };
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
