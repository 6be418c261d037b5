// SPDX-License-Identifier: MIT
#include "base/rng.h"
#include "kv/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { N_BLOCK = 37, N_SEQ = 6 };

static void check_each_block_has_one_owner(const tk_kv_pool *p, const tk_kv_table *t)
{
    char owned[N_BLOCK] = {0};
    int n = 0;
    for (int s = 0; s < N_SEQ; s++)
        for (int i = 0; i < t[s].n_block; i++, n++) {
            assert_in_range(t[s].block[i], 0, N_BLOCK - 1);
            assert_int_equal(owned[t[s].block[i]]++, 0);
        }
    assert_int_equal(n + tk_kv_pool_free_count(p), N_BLOCK);
}

static void blocks_are_never_lost_or_owned_twice_under_random_use(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(N_BLOCK);
    tk_kv_table t[N_SEQ] = {0};
    tk_rng rng = {.state = 42};
    int refused = 0;
    for (int step = 0; step < 20000; step++) {
        tk_kv_table *s = &t[tk_rng_below(&rng, N_SEQ)];
        int what = (int)tk_rng_below(&rng, 4);
        if (what < 2) {
            int32_t want = s->n_tok + (int32_t)tk_rng_below(&rng, 300), before = s->n_block;
            if (tk_kv_table_reserve(p, s, want, NULL) == TK_OK) {
                s->n_tok = want;
                assert_true(s->n_block * TK_KV_BLOCK_TOK >= want);
            } else {
                refused++;
                assert_int_equal(s->n_block, before);
            }
        } else if (what == 2) {
            tk_kv_table_truncate(p, s, (int32_t)tk_rng_below(&rng, (uint64_t)s->n_tok + 1));
        } else {
            tk_kv_table_clear(p, s);
        }
        check_each_block_has_one_owner(p, t);
    }
    assert_true(refused > 10);
    for (int s = 0; s < N_SEQ; s++) tk_kv_table_clear(p, &t[s]);
    assert_int_equal(tk_kv_pool_free_count(p), N_BLOCK);
    tk_kv_pool_free(p);
}

static void a_full_pool_says_what_was_asked_and_what_is_there(void **state)
{
    (void)state;
    tk_kv_pool *p = tk_kv_pool_new(2);
    tk_kv_table t = {0};
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_kv_table_reserve(p, &t, 129, &err), TK_NOMEM);
    assert_non_null(strstr(err.msg, "129 tokens need 3 blocks"));
    tk_kv_pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_never_lost_or_owned_twice_under_random_use),
        cmocka_unit_test(a_full_pool_says_what_was_asked_and_what_is_there),
    };
    return cmocka_run_group_tests_name("kv pool", tests, NULL, NULL);
}
