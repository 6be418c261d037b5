// SPDX-License-Identifier: MIT
// The parts of `tokamak pull` that need no server; tests/hub has the rest.
#include "base/mem.h"
#include "store/hub_cache.h"
#include "store/hub_http.h"
#include "store/hub_select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_sum(const char *text, size_t n_repeat, const char *hex)
{
    char got[TK_HUB_SUM_HEX];
    size_t len = strlen(text);
    tk_hub_sum *s;
    assert_int_equal(tk_hub_sum_new(strlen(hex), len * n_repeat, &s, NULL), TK_OK);
    for (int round = 0; round < 2; round++) { // restart forgets the first
        tk_hub_sum_restart(s);
        for (size_t i = 0; i < n_repeat; i++) {
            tk_hub_sum_add(s, text, len / 2);
            tk_hub_sum_add(s, text + len / 2, len - len / 2);
        }
        tk_hub_sum_hex(s, got);
        assert_string_equal(got, hex);
    }
    tk_hub_sum_free(s);
}

// FIPS 180-4's examples and a million letters (NIST's SHA test vectors); git hash-object.
static void sums_are_those_of_nist_and_git(void **state)
{
    (void)state;
    expect_sum("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sum("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    expect_sum("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    expect_sum("a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    expect_sum("", 1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    expect_sum("hello\n", 1, "ce013625030ba8dba906f756967f9e9ca394464a");
}

static void names_are_those_the_hub_allows(void **state)
{
    static const char *const good[] = {"a/b", "org/name", "A-b_c.d/E.f-g", "_/_", "a/b__c"};
    static const char *const bad[] = {"",      "a",       "/",      "a/",     "/b",
                                      "a/b/c", "a//b",    "a--b/c", "a/b..c", "-a/b",
                                      "a/-b",  "a./b",    "a/b.",   ".a/b",   "a/.b",
                                      "a b/c", "a/b.git", "a/b\n",  "a\\b/c", "\xc3\xa9/b"};
    (void)state;
    for (size_t i = 0; i < TK_COUNT(good); i++)
        assert_true(tk_hub_is_name(good[i], strlen(good[i])));
    for (size_t i = 0; i < TK_COUNT(bad); i++) {
        if (tk_hub_is_name(bad[i], strlen(bad[i]))) fail_msg("\"%s\" is taken", bad[i]);
    }
    char longest[98] = "a/";
    memset(longest + 2, 'b', 94);
    assert_true(tk_hub_is_name(longest, 96));
    longest[96] = 'b';
    assert_false(tk_hub_is_name(longest, 97));
}

static void parts_of_a_gguf_model_share_a_stem(void **state)
{
    static const struct {
        const char *name;
        size_t stem;
        int part;
    } t[] = {{"m-Q4_K_M.gguf", 8, 1},         {"d/m-Q8_0-00002-of-00003.gguf", 8, 2},
             {"m-0002-of-00003.gguf", 15, 1}, {"m.bin", 0, 1},
             {"mmproj-m.gguf", 0, 1},         {"d/mmproj-m.gguf", 0, 1}};
    (void)state;
    for (size_t i = 0; i < TK_COUNT(t); i++) {
        int part;
        assert_int_equal(tk_hub_gguf_stem(t[i].name, &part), t[i].stem);
        assert_int_equal(part, t[i].part);
    }
}

static bool feed(tk_hub_reply *r, const char *text)
{
    bool ends = false;
    for (const char *end; *text; text = end + 1) {
        end = strchr(text, '\n');
        ends = tk_hub_reply_line(r, text, (size_t)(end - text) + 1);
    }
    return ends;
}

static void heads_are_read_through_redirects(void **state)
{
    tk_hub_reply r = {0};
    (void)state;
    assert_false(feed(&r, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_false(
        feed(&r, "HTTP/1.1 302 Found\r\nlocation: x\r\nX-Linked-Etag: W/\"abc\"\r\nETag: \"p\"\r\n"
                 "X-Linked-Size: 12\r\n\r\n"));
    assert_true(feed(
        &r,
        "HTTP/2 206 \r\nEtag:\"q\"\r\nContent-Range: bytes 3-11/12\r\nContent-Length: 9\r\n\r\n"));
    assert_int_equal(r.n_head, 2);
    assert_int_equal(r.status, 206);
    assert_string_equal(r.linked_etag, "abc");
    assert_string_equal(r.etag, "q");
    assert_int_equal(r.linked_size, 12);
    assert_int_equal(r.range_begin, 3);
    assert_int_equal(r.range_total, 12);
    assert_int_equal(r.length, 9);
    assert_true(feed(&r, "HTTP/1.1 429 No\nRetry-After: 99999999999999999999\nContent-Length: -5\n"
                         "Content-Range: bytes */12\nX-Error-Message: a\x1b[2J\n\n"));
    assert_int_equal(r.length, -1);
    assert_int_equal(r.range_begin, -1);
    assert_int_equal(r.retry_after_s, 0);
    assert_string_equal(r.error_message, "a?[2J");
}

static void waits_double_and_obey_the_hub(void **state)
{
    const uint64_t ms = 1000000;
    (void)state;
    for (int n = 0; n < 20; n++) {
        uint64_t full = n < 6 ? (uint64_t)500 << n : 30000, wait = tk_hub_backoff_ns(n, 0);
        assert_in_range(wait, full * ms / 2, full * ms);
    }
    assert_in_range(tk_hub_backoff_ns(0, 7), 7000 * ms, 7000 * ms);
    assert_in_range(tk_hub_backoff_ns(0, 100000), 300000 * ms, 300000 * ms);
}

static void the_cache_is_where_huggingface_hub_has_it(void **state)
{
    static const struct {
        const char *name, *value, *cache;
    } t[] = {{"HOME", "/h", "/h/.cache/huggingface/hub"},
             {"XDG_CACHE_HOME", "/x", "/x/huggingface/hub"},
             {"HF_HOME", "~/f", "/h/f/hub"},
             {"HUGGINGFACE_HUB_CACHE", "/g", "/g"},
             {"HF_HUB_CACHE", "~/c", "/h/c"}}; // each overrides those above
    (void)state;
    for (size_t i = 0; i < TK_COUNT(t); i++) unsetenv(t[i].name);
    for (size_t i = 0; i < TK_COUNT(t); i++) {
        setenv(t[i].name, t[i].value, 1);
        char *cache = tk_hub_cache();
        assert_string_equal(cache, t[i].cache);
        tk_free(cache);
    }
}

static void sizes_read_well(void **state)
{
    char text[TK_HUB_SIZE_TEXT];
    (void)state;
    assert_string_equal(tk_hub_size_text(999, text), "999 B");
    assert_string_equal(tk_hub_size_text(1000, text), "1.00 kB");
    assert_string_equal(tk_hub_size_text(999999, text), "1.00 MB");
    assert_string_equal(tk_hub_size_text(688586727753, text), "688.59 GB");
    assert_string_equal(tk_hub_size_text(UINT64_MAX, text), "18446.74 PB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_nist_and_git),
        cmocka_unit_test(names_are_those_the_hub_allows),
        cmocka_unit_test(parts_of_a_gguf_model_share_a_stem),
        cmocka_unit_test(heads_are_read_through_redirects),
        cmocka_unit_test(waits_double_and_obey_the_hub),
        cmocka_unit_test(the_cache_is_where_huggingface_hub_has_it),
        cmocka_unit_test(sizes_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
