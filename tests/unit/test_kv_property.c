// SPDX-License-Identifier: MIT
// The KV pool, its tables and the prefix cache under random use, against a model that knows what every row of
// every block holds: a hash of all tokens up to it. Guards the invariants of kv/pool.h.
#include "base/clock.h"
#include "base/rng.h"
#include "kv/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum {
    B = TK_KV_BLOCK_TOK,
    N_BLOCK = 29,
    N_SEQ = 6,
    MAX_TOK = 8 * B,
    N_OP =
#ifdef __SANITIZE_ADDRESS__
        100000
#elif defined(__SANITIZE_THREAD__)
        50000
#else
        1200000
#endif
};

typedef struct seq {
    tk_kv_table t;
    int32_t ids[MAX_TOK];
    uint64_t chain[MAX_TOK]; // hash of salt and ids[0..i]
} seq;

typedef struct world {
    tk_kv_pool *p;
    tk_rng rng;
    seq seqs[N_SEQ];
    uint64_t rows[N_BLOCK][B];
    int n_hit, n_copied, n_owned, n_refused, n_swapped, n_evicted, n_shared;
} world;

static uint64_t mix(uint64_t a, uint64_t b)
{
    tk_rng r = {.state = a * 0x9E3779B97F4A7C15u + b};
    return tk_rng_u64(&r);
}

static uint64_t below(world *w, uint64_t n)
{
    return tk_rng_below(&w->rng, n);
}

// Texts of few phrases of a block's length, with a change here and there: beginnings are often shared.
static void write_text(world *w, seq *s, int from)
{
    for (int i = from; i < MAX_TOK; i++) {
        if (i == from || i % B == 0)
            s->ids[i] = (int32_t)below(w, 3);
        else
            s->ids[i] = s->ids[i - 1] + 1;
        if (below(w, 150) == 0) s->ids[i] += 1000;
        s->chain[i] = mix(i ? s->chain[i - 1] : s->t.salt, (uint64_t)s->ids[i] + 1);
    }
}

static void check_rows(const world *w, const seq *s)
{
    for (int i = 0; i < s->t.n_tok; i++)
        if (w->rows[s->t.block[i / B]][i % B] != s->chain[i])
            fail_msg("token %d of a sequence is not what its block %d holds", i, s->t.block[i / B]);
}

static void check_counts(world *w)
{
    int stands_in[N_BLOCK] = {0}, n_used = 0;
    for (int i = 0; i < N_SEQ; i++) {
        const tk_kv_table *t = &w->seqs[i].t;
        assert_true(t->n_block >= tk_kv_blocks_for(t->n_tok));
        for (int k = 0; k < t->n_block; k++) {
            assert_in_range(t->block[k], 0, N_BLOCK - 1);
            stands_in[t->block[k]]++;
        }
    }
    for (int b = 0; b < N_BLOCK; b++) {
        if (tk_kv_pool_refs(w->p, b) != stands_in[b])
            fail_msg("block %d stands in %d tables and has %d references", b, stands_in[b],
                     tk_kv_pool_refs(w->p, b));
        n_used += stands_in[b] > 0;
        w->n_shared += stands_in[b] > 1;
    }
    assert_int_equal(n_used + tk_kv_pool_free_count(w->p) + tk_kv_pool_cached_count(w->p), N_BLOCK);
}

static void copy_block(world *w, tk_kv_copy c)
{
    memcpy(w->rows[c.to], w->rows[c.from], sizeof w->rows[c.to]);
}

static void op_match(world *w, seq *s)
{
    tk_kv_copy c;
    int n_copy, before = s->t.n_tok, border = before % B == 0;
    if (before == 0) {
        tk_kv_table_truncate(w->p, &s->t, 0);
        s->t.salt = below(w, 2);
        write_text(w, s, 0);
    }
    int n_ids = (int)below(w, MAX_TOK + 1);
    int n = tk_kv_prefix_match(w->p, &s->t, s->ids, n_ids, &c, &n_copy);
    assert_int_equal(s->t.n_tok, before + n);
    assert_true(n == 0 || (border && s->t.n_tok <= n_ids));
    if (n_copy) copy_block(w, c);
    w->n_hit += n > 0;
    w->n_copied += n_copy;
    check_rows(w, s);
}

static void op_write(world *w, seq *s)
{
    tk_kv_copy c;
    int n_copy, to = s->t.n_tok + (int)below(w, 3 * B), n_block = s->t.n_block;
    if (to > MAX_TOK) to = MAX_TOK;
    if (s->t.n_tok == 0) write_text(w, s, 0);
    if (tk_kv_table_own(w->p, &s->t, &c, &n_copy, NULL) != TK_OK) {
        w->n_refused++;
        return;
    }
    if (n_copy) copy_block(w, c);
    w->n_owned += n_copy;
    int room = tk_kv_pool_free_count(w->p) + tk_kv_pool_cached_count(w->p);
    int free_before = tk_kv_pool_free_count(w->p);
    if (tk_kv_table_reserve(w->p, &s->t, to, NULL) != TK_OK) {
        assert_true(tk_kv_blocks_for(to) - n_block > room);
        assert_int_equal(s->t.n_block, n_block);
        w->n_refused++;
        return;
    }
    w->n_evicted += s->t.n_block - n_block > free_before;
    for (int i = s->t.n_tok; i < to; i++) {
        assert_int_equal(tk_kv_pool_refs(w->p, s->t.block[i / B]), 1);
        w->rows[s->t.block[i / B]][i % B] = s->chain[i];
    }
    s->t.n_tok = to;
}

static void op_register(world *w, seq *s)
{
    int n_free = tk_kv_pool_free_count(w->p);
    tk_kv_prefix_register(w->p, &s->t, s->ids, below(w, 2));
    w->n_swapped += tk_kv_pool_free_count(w->p) > n_free;
    check_rows(w, s);
}

static void op_fork(world *w, seq *from)
{
    seq *to = &w->seqs[below(w, N_SEQ)];
    if (to->t.n_tok > 0) return;
    tk_kv_table_clear(w->p, &to->t);
    tk_kv_table t = to->t;
    *to = *from;
    to->t = t;
    tk_kv_table_fork(w->p, &from->t, &to->t);
    write_text(w, to, to->t.n_tok); // goes another way from here
}

static void op_truncate(world *w, seq *s)
{
    tk_kv_table_truncate(w->p, &s->t, (int32_t)below(w, (uint64_t)s->t.n_tok + 1));
    write_text(w, s, s->t.n_tok);
}

static void do_one(world *w)
{
    seq *s = &w->seqs[below(w, N_SEQ)];
    uint64_t what = below(w, 1000);
    if (what < 250)
        op_match(w, s);
    else if (what < 560)
        op_write(w, s);
    else if (what < 760)
        op_register(w, s);
    else if (what < 790)
        op_fork(w, s);
    else if (what < 840)
        op_truncate(w, s);
    else if (what < 999)
        tk_kv_table_clear(w->p, &s->t);
    else
        tk_kv_prefix_reset(w->p);
}

static void run_random(uint64_t seed, int n_op, int key_bits)
{
    world *w = calloc(1, sizeof *w);
    uint64_t begin = tk_clock_ns();
    w->p = tk_kv_pool_new(N_BLOCK);
    w->rng.state = seed;
    tk_kv_prefix_weaken(w->p, key_bits);
    for (int i = 0; i < n_op; i++) {
        do_one(w);
        check_counts(w);
        if (i % 8 == 0) check_rows(w, &w->seqs[i / 8 % N_SEQ]);
    }
    printf("seed %llu, %d-bit keys, %d operations in %.2f s: %d hits, %d tails copied, %d shared "
           "blocks copied, %d evicting, %d made twice, %d refused\n",
           (unsigned long long)seed, key_bits, n_op, (double)(tk_clock_ns() - begin) * 1e-9,
           w->n_hit, w->n_copied, w->n_owned, w->n_evicted, w->n_swapped, w->n_refused);
    int few = n_op / 1000;
    assert_true(w->n_hit > few && w->n_copied > few && w->n_owned > few && w->n_evicted > few);
    assert_true(w->n_swapped > few && w->n_refused > few && w->n_shared > few);
    for (int i = 0; i < N_SEQ; i++) tk_kv_table_clear(w->p, &w->seqs[i].t);
    tk_kv_prefix_reset(w->p);
    assert_int_equal(tk_kv_pool_free_count(w->p), N_BLOCK);
    tk_kv_pool_free(w->p);
    free(w);
}

static void blocks_are_right_under_random_use(void **state)
{
    (void)state;
    run_random(1, N_OP, 128);
}

static void keys_that_collide_do_no_harm(void **state)
{
    (void)state;
    run_random(2, N_OP / 8, 1);
    run_random(3, N_OP / 8, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_right_under_random_use),
        cmocka_unit_test(keys_that_collide_do_no_harm),
    };
    return cmocka_run_group_tests_name("kv property", tests, NULL, NULL);
}
