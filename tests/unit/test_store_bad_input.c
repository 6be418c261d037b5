// SPDX-License-Identifier: MIT
// Broken checkpoints, made here byte by byte: each must be refused with its status and a message that names
// the trouble. Good ones beside them show that it is not the frame that is refused.
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/checkpoint.h"
#include "store/gguf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];
static const char *const names[] = {
    "config.json", "model.safetensors",     "model.safetensors.index.json", "a.safetensors",
    "x.gguf",      "generation_config.json"};

static char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void clean(void)
{
    for (size_t i = 0; i < TK_COUNT(names); i++) unlink(path_of(names[i]));
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/tk_store_XXXXXX");
    return mkdtemp(dir) == NULL;
}

static int remove_dir(void **state)
{
    (void)state;
    clean();
    return rmdir(dir);
}

static void put(const char *name, const void *p, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void put_text(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void add_le(tk_buf *b, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) tk_buf_add_char(b, (char)(v >> (8 * i)));
}

static void put_safetensors(const char *name, const char *header, const void *data, size_t n)
{
    tk_buf b = tk_buf_make(1 << 20);
    add_le(&b, strlen(header), 8);
    tk_buf_add_str(&b, header);
    tk_buf_add(&b, data, n);
    put(name, b.data, b.len);
    tk_buf_free(&b);
}

static void expect(const char *path, tk_status want, const char *story)
{
    tk_err err = TK_ERR_INIT;
    tk_ckpt *c = NULL;
    tk_status st = tk_ckpt_open(path, &c, &err);
    if (st != want || (story && strstr(err.msg, story) == NULL))
        print_error("got %d \"%s\", wanted %d \"%s\"\n", (int)st, err.msg, (int)want, story);
    assert_int_equal(st, want);
    if (story) assert_non_null(strstr(err.msg, story));
    tk_ckpt_close(c);
}

static void safetensors_headers_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *story;
    } cases[] = {
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,9]}}",
         "ends at data byte 9"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", "the file ends at"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}", "ask for 4"},
        {"{\"a\":{\"dtype\":\"F99\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "unknown dtype \"F99\""},
        {"{\"a\":{\"dtype\":\"Q4_0\",\"shape\":[2],\"data_offsets\":[0,8]}}", "unknown dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "is not a size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,8]}}", "is not a size"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}",
         "at most 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,8]}}",
         "overflows"},
        {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693953],\"data_offsets\":[0,8]}}",
         "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", "not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", "not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "leaving a hole"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "the file holds 8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         "overlapping"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "duplicate"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,8]}}",
         "not valid JSON"},
        {"{\"__metadata__\":{\"n\":1}}", "no object of strings"},
        {"{\"a\":7}", "is no object"},
        {"[]", "no JSON object"},
        {"{\"a\"", "not valid JSON"},
    };
    clean();
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        put_safetensors("model.safetensors", cases[i].header, "12345678", 8);
        expect(dir, cases[i].story ? TK_BAD_INPUT : TK_OK, cases[i].story);
    }
    put("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    expect(dir, TK_BAD_INPUT, "the header claims 9223372036854775807 bytes");
    put("model.safetensors", "1234", 4);
    expect(dir, TK_BAD_INPUT, "too few");
    put("model.safetensors", "", 0);
    expect(dir, TK_BAD_INPUT, "too few");
}

static void put_index(const char *shard)
{
    char text[512];
    snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", shard);
    put_text("model.safetensors.index.json", text);
}

static void folders_with_odd_files_are_refused(void **state)
{
    (void)state;
    static const char good[] = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    clean();
    put_index("../a.safetensors");
    expect(dir, TK_BAD_INPUT, "no file of this folder");
    put_index("/etc/passwd");
    expect(dir, TK_BAD_INPUT, "no file of this folder");
    put_index("a.safetensors");
    expect(dir, TK_IO, "a.safetensors");
    assert_int_equal(symlink("a.safetensors", path_of("a.safetensors")), 0);
    expect(dir, TK_IO, "symbolic links");
    unlink(path_of("a.safetensors"));
    assert_int_equal(mkfifo(path_of("a.safetensors"), 0600), 0);
    expect(dir, TK_IO, "not a regular file");
    unlink(path_of("a.safetensors"));
    put_safetensors("a.safetensors", good, "12345678", 8);
    expect(dir, TK_OK, NULL);
    put_text("model.safetensors.index.json", "{\"weight_map\":{\"b\":\"a.safetensors\"}}");
    expect(dir, TK_BAD_INPUT, "\"b\" is not in \"a.safetensors\"");
    put_text("model.safetensors.index.json", "{\"weight_map\":{\"a\":3}}");
    expect(dir, TK_BAD_INPUT, "no file of this folder");
    put_text("model.safetensors.index.json", "{}");
    expect(dir, TK_BAD_INPUT, "weight_map");
    unlink(path_of("model.safetensors.index.json"));
    expect(dir, TK_BAD_INPUT, "neither model.safetensors nor");
    clean();
    expect(dir, TK_OK, NULL);
    put_text("config.json", "[1]");
    expect(dir, TK_BAD_INPUT, "not a JSON object");
    unlink(path_of("config.json"));
    assert_int_equal(symlink("config.json", path_of("config.json")), 0);
    expect(dir, TK_IO, "symbolic links");
    unlink(path_of("config.json"));
    assert_int_equal(symlink("/dev/zero", path_of("config.json")), 0);
    expect(dir, TK_IO, "not a regular file");
    clean();
    expect("/dev/zero", TK_IO, "neither a folder nor");
}

// FP8 [2 x 4] with one scale tensor; `shape` and `s` are what is tried.
static void expect_fp8(const char *shape, float s, const char *story)
{
    char header[512];
    uint8_t data[12] = {0x38, 0x38, 0x38, 0x38};
    snprintf(header, sizeof header,
             "{\"x.weight\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,4],\"data_offsets\":[0,8]},"
             "\"x.weight_scale_inv\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[8,12]}}",
             shape);
    memcpy(data + 8, &s, 4);
    put_safetensors("model.safetensors", header, data, sizeof data);
    tk_err err = TK_ERR_INIT;
    tk_ckpt *c = NULL;
    tk_matrix m;
    assert_int_equal(tk_ckpt_open(dir, &c, &err), TK_OK);
    tk_status st = tk_ckpt_matrix(c, "x.weight", 2, 4, &m, &err);
    if (story && strstr(err.msg, story) == NULL) print_error("got \"%s\"\n", err.msg);
    assert_int_equal(st, story ? TK_BAD_INPUT : TK_OK);
    if (story) assert_non_null(strstr(err.msg, story));
    if (!story) assert_int_equal(tk_ckpt_matrix(c, "x.weight", 4, 2, &m, NULL), TK_BAD_INPUT);
    if (!story) assert_int_equal(tk_ckpt_matrix(c, "y.weight", 4, 2, &m, NULL), TK_BAD_INPUT);
    assert_int_equal(tk_ckpt_verify(c, NULL), isfinite(s) ? TK_OK : TK_BAD_INPUT);
    tk_ckpt_close(c);
}

static void scales_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    clean();
    expect_fp8("[1,1]", 0.5f, NULL);
    expect_fp8("[1,1]", 0, NULL);
    expect_fp8("[1,1]", NAN, "x.weight_scale_inv\": scale 0 is");
    expect_fp8("[1,1]", INFINITY, "scale 0 is inf");
    expect_fp8("[1,1]", -1, "scale 0 is -1");
}

// A GGUF v3 with one key "k" of n_item strings and tensors F32 [8] at the given offsets.
typedef struct gguf_case {
    uint32_t version;
    uint64_t n_tensor, n_kv, n_item, dim, at0, at1;
    uint32_t type;
    tk_status want;
    const char *story;
} gguf_case;

static void put_gguf(const gguf_case *g)
{
    tk_buf b = tk_buf_make(1 << 20);
    tk_buf_add(&b, "GGUF", 4);
    add_le(&b, g->version, 4);
    add_le(&b, g->n_tensor, 8);
    add_le(&b, g->n_kv, 8);
    add_le(&b, 1, 8);
    tk_buf_add_str(&b, "k");
    add_le(&b, 9, 4); // array
    add_le(&b, 8, 4); // of strings
    add_le(&b, g->n_item, 8);
    for (int i = 0; i < 2; i++) {
        add_le(&b, 2, 8);
        tk_buf_add_str(&b, i ? "yz" : "wx");
    }
    for (int i = 0; i < 2; i++) {
        add_le(&b, 1, 8);
        tk_buf_add_char(&b, (char)('a' + i));
        add_le(&b, 1, 4);
        add_le(&b, g->dim, 8);
        add_le(&b, g->type, 4);
        add_le(&b, i ? g->at1 : g->at0, 8);
    }
    while (b.len % 32 != 0) tk_buf_add_char(&b, 0);
    for (int i = 0; i < 64; i++) tk_buf_add_char(&b, 0);
    put("x.gguf", b.data, b.len);
    tk_buf_free(&b);
}

static void gguf_headers_that_lie_are_refused(void **state)
{
    (void)state;
    static const gguf_case cases[] = {
        {3, 2, 1, 2, 8, 0, 32, 0, TK_OK, NULL},
        {1, 2, 1, 2, 8, 0, 32, 0, TK_UNSUPPORTED, "version 1"},
        {0x03000000, 2, 1, 2, 8, 0, 32, 0, TK_UNSUPPORTED, "big-endian"},
        {3, 1u << 30, 1, 2, 8, 0, 32, 0, TK_BAD_INPUT, "1073741824 tensors are claimed"},
        {3, 2, UINT64_MAX, 2, 8, 0, 32, 0, TK_BAD_INPUT, "metadata entries are claimed"},
        {3, 2, 1, 1u << 23, 8, 0, 32, 0, TK_BAD_INPUT, "claims 8388608 items"},
        {3, 2, 1, UINT64_MAX, 8, 0, 32, 0, TK_BAD_INPUT, "items"},
        {3, 2, 1, 2, 8, 0, 0, 0, TK_BAD_INPUT, "overlapping"},
        {3, 2, 1, 2, 8, 0, 7, 0, TK_BAD_INPUT, "no multiple of 32"},
        {3, 2, 1, 2, 8, 0, 64, 0, TK_BAD_INPUT, "the file ends at"},
        {3, 2, 1, 2, 8, 0, UINT64_MAX - 31, 0, TK_BAD_INPUT, "tensor \"b\""},
        {3, 2, 1, 2, 1ull << 62, 0, 32, 0, TK_BAD_INPUT, "overflows"},
        {3, 2, 1, 2, UINT64_MAX, 0, 32, 0, TK_BAD_INPUT, "overflows"},
        {3, 2, 1, 2, 8, 0, 32, 2, TK_BAD_INPUT, "no whole number of Q4_0 blocks"},
        {3, 2, 1, 2, 8, 0, 32, 99, TK_UNSUPPORTED, "ggml type 99"},
    };
    clean();
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        put_gguf(&cases[i]);
        expect(path_of("x.gguf"), cases[i].want, cases[i].story);
    }
    put_text("x.gguf", "GGML and nothing else");
    expect(path_of("x.gguf"), TK_BAD_INPUT, "no GGUF");
}

static void every_prefix_of_a_gguf_is_refused(void **state)
{
    (void)state;
    const gguf_case good = {3, 2, 1, 2, 8, 0, 32, 0, TK_OK, NULL};
    put_gguf(&good);
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(tk_file_read(path_of("x.gguf"), 1 << 20, &data, &len, NULL), TK_OK);
    for (size_t n = 0; n < len; n++) {
        put("x.gguf", data, n);
        expect(path_of("x.gguf"), TK_BAD_INPUT, "x.gguf");
    }
    tk_free(data);
}

static void gguf_values_are_reached_by_type(void **state)
{
    (void)state;
    const gguf_case good = {3, 2, 1, 2, 8, 0, 32, 0, TK_OK, NULL};
    tk_ckpt *c = NULL;
    const char *s;
    size_t len;
    int64_t v;
    put_gguf(&good);
    assert_int_equal(tk_ckpt_open(path_of("x.gguf"), &c, NULL), TK_OK);
    assert_int_equal(tk_gguf_array_len(c, "k"), 2);
    assert_true(tk_gguf_array_str(c, "k", 1, &s, &len));
    assert_int_equal(len, 2);
    assert_memory_equal(s, "yz", 2);
    assert_false(tk_gguf_array_str(c, "k", 2, &s, &len));
    assert_false(tk_gguf_array_int(c, "k", 0, &v));
    assert_false(tk_gguf_str(c, "k", &s, &len));
    assert_int_equal(tk_ckpt_tensor_count(c), 2);
    assert_non_null(tk_ckpt_find(c, "b"));
    tk_ckpt_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_headers_that_lie_are_refused),
        cmocka_unit_test(folders_with_odd_files_are_refused),
        cmocka_unit_test(scales_that_are_no_numbers_are_refused),
        cmocka_unit_test(gguf_headers_that_lie_are_refused),
        cmocka_unit_test(every_prefix_of_a_gguf_is_refused),
        cmocka_unit_test(gguf_values_are_reached_by_type),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
