// SPDX-License-Identifier: MIT
#include "kv/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { B = TK_KV_BLOCK_TOK, MAX = 16 * B };

static int32_t text[MAX];

static void fill(void)
{
    for (int i = 0; i < MAX; i++) text[i] = i * 7;
}

// A sequence of n tokens of text, computed, registered and given back.
static void run_through(tk_kv_pool *p, const int32_t *ids, int32_t n, bool with_tail)
{
    tk_kv_table t = {0};
    assert_int_equal(tk_kv_table_reserve(p, &t, n, NULL), TK_OK);
    t.n_tok = n;
    tk_kv_prefix_register(p, &t, ids, with_tail);
    tk_kv_table_clear(p, &t);
}

static int32_t match(tk_kv_pool *p, const int32_t *ids, int32_t n, uint64_t salt, int *n_copy)
{
    tk_kv_table t = {.salt = salt};
    tk_kv_copy c;
    int32_t hit = tk_kv_prefix_match(p, &t, ids, n, &c, n_copy);
    tk_kv_table_clear(p, &t);
    return hit;
}

static void a_prefix_is_found_to_the_token(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(20);
    int n_copy;
    assert_int_equal(match(p, text, MAX, 0, &n_copy), 0);
    run_through(p, text, 2 * B + 20, true);
    assert_int_equal(tk_kv_pool_cached_count(p), 3);
    assert_int_equal(match(p, text, MAX, 0, &n_copy), 2 * B + 20);
    assert_int_equal(n_copy, 1);
    assert_int_equal(match(p, text, 2 * B, 0, &n_copy), 2 * B);
    assert_int_equal(n_copy, 0);
    assert_int_equal(match(p, text, 2 * B - 1, 0, &n_copy), 2 * B - 1); // one token must be left
    assert_int_equal(n_copy, 1);
    assert_int_equal(match(p, text, B + TK_KV_COPY_MIN_TOK - 1, 0, &n_copy), B);
    assert_int_equal(match(p, text, 5, 0, &n_copy), 0);
    tk_kv_pool_free(p);
}

static void another_salt_sees_nothing(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(20);
    int n_copy;
    run_through(p, text, 2 * B, false);
    assert_int_equal(match(p, text, MAX, 1, &n_copy), 0);
    assert_int_equal(match(p, text, MAX, 0, &n_copy), 2 * B);
    tk_kv_pool_free(p);
}

static void the_end_of_a_text_is_given_up_before_its_beginning(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(8);
    tk_kv_table t = {0};
    int n_copy;
    run_through(p, text, 4 * B, false);
    run_through(p, text + 1, 4 * B, false);                     // another text
    assert_int_equal(match(p, text, 2 * B, 0, &n_copy), 2 * B); // its first two are used again
    for (int left = 7; left >= 1; left--) {
        assert_int_equal(tk_kv_table_reserve(p, &t, (8 - left) * B, NULL), TK_OK);
        int first = match(p, text, 4 * B, 0, &n_copy),
            second = match(p, text + 1, 4 * B, 0, &n_copy);
        assert_int_equal(first + second, left * B); // whatever is kept can be found
    }
    tk_kv_table_clear(p, &t);
    tk_kv_pool_free(p);
}

static void two_that_compute_the_same_end_up_sharing(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(8);
    tk_kv_table a = {0}, b = {0};
    tk_kv_table_reserve(p, &a, 3 * B, NULL);
    tk_kv_table_reserve(p, &b, 3 * B, NULL);
    a.n_tok = b.n_tok = 3 * B;
    tk_kv_prefix_register(p, &a, text, false);
    assert_int_equal(tk_kv_pool_free_count(p), 2);
    tk_kv_prefix_register(p, &b, text, false);
    assert_int_equal(tk_kv_pool_free_count(p), 5);
    assert_memory_equal(a.block, b.block, 3 * sizeof *a.block);
    tk_kv_table_clear(p, &a);
    tk_kv_table_clear(p, &b);
    assert_int_equal(tk_kv_pool_cached_count(p), 3);
    tk_kv_pool_free(p);
}

static void a_fork_copies_the_block_it_writes_to(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(4);
    tk_kv_table a = {0}, b = {0};
    tk_kv_copy c;
    int n_copy;
    tk_kv_table_reserve(p, &a, B + 5, NULL);
    a.n_tok = B + 5;
    tk_kv_table_fork(p, &a, &b);
    assert_int_equal(tk_kv_pool_free_count(p), 2);
    assert_int_equal(tk_kv_table_own(p, &b, &c, &n_copy, NULL), TK_OK);
    assert_int_equal(n_copy, 1);
    assert_int_equal(c.from, a.block[1]);
    assert_int_equal(c.to, b.block[1]);
    assert_int_equal(tk_kv_table_own(p, &a, &c, &n_copy, NULL), TK_OK);
    assert_int_equal(n_copy, 0);
    tk_kv_table_clear(p, &a);
    tk_kv_table_clear(p, &b);
    assert_int_equal(tk_kv_pool_free_count(p), 4);
    tk_kv_pool_free(p);
}

static void a_reset_forgets_but_leaves_what_is_in_use(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(8);
    tk_kv_table t = {0};
    tk_kv_copy c;
    int n_copy;
    run_through(p, text, 3 * B, false);
    assert_int_equal(tk_kv_prefix_match(p, &t, text, B, &c, &n_copy), B);
    tk_kv_prefix_reset(p);
    assert_int_equal(tk_kv_pool_cached_count(p), 0);
    assert_int_equal(tk_kv_pool_free_count(p), 7);
    assert_int_equal(match(p, text, MAX, 0, &n_copy), 0);
    tk_kv_table_clear(p, &t);
    assert_int_equal(tk_kv_pool_free_count(p), 8);
    tk_kv_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_prefix_is_found_to_the_token),
        cmocka_unit_test(another_salt_sees_nothing),
        cmocka_unit_test(the_end_of_a_text_is_given_up_before_its_beginning),
        cmocka_unit_test(two_that_compute_the_same_end_up_sharing),
        cmocka_unit_test(a_fork_copies_the_block_it_writes_to),
        cmocka_unit_test(a_reset_forgets_but_leaves_what_is_in_use),
    };
    fill();
    return cmocka_run_group_tests_name("kv prefix", tests, NULL, NULL);
}
