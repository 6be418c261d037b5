// SPDX-License-Identifier: MIT
#include "base/rng.h"
#include "engine/fair.h"
#include "engine/step_time.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

enum { MAX_JOB = 64 };

typedef struct job {
    int32_t i_key, priority;
    uint64_t since, order;
    int present, cost;
} job;

// One server, one job at a time, each takes a second.
typedef struct queue {
    tk_fair *f;
    job jobs[MAX_JOB];
    int n;
    uint64_t now;
} queue;

static int add(queue *q, uint64_t key, int32_t priority, int cost)
{
    q->jobs[q->n] = (job){tk_fair_enter(q->f, key), priority, q->now, (uint64_t)q->n, 1, cost};
    return q->n++;
}

static int serve(queue *q)
{
    for (int i = 0; i < q->n; i++) {
        job *j = &q->jobs[i];
        if (j->present) tk_fair_offer(q->f, j->i_key, j->priority, j->since, j->order, q->now, j);
    }
    job *j = tk_fair_pick(q->f, q->now);
    if (j == NULL) return -1;
    tk_fair_started(q->f, j->i_key, q->now);
    tk_fair_charge(q->f, j->i_key, j->cost, 0);
    tk_fair_leave(q->f, j->i_key);
    j->present = 0;
    q->now += 1000000000u;
    return (int)(j - q->jobs);
}

static queue begin(void)
{
    return (queue){.f = tk_fair_new(MAX_JOB), .now = 1000};
}

static void a_flood_of_one_key_does_not_hold_up_another(void **state)
{
    (void)state;
    queue q = begin();
    for (int i = 0; i < 30; i++) add(&q, 1, 0, 100);
    for (int i = 0; i < 5; i++) serve(&q);
    int late = add(&q, 2, 0, 100), later = add(&q, 2, 0, 100);
    assert_int_equal(serve(&q) == late || serve(&q) == late, 1);
    int seen = 0;
    for (int i = 0; i < 3; i++) seen += serve(&q) == later;
    assert_int_equal(seen, 1);
    tk_fair_free(q.f);
}

static void keys_share_by_tokens_not_by_requests(void **state)
{
    (void)state;
    queue q = begin();
    for (int i = 0; i < 24; i++) add(&q, 1, 0, 300);
    for (int i = 0; i < 24; i++) add(&q, 2, 0, 100);
    int of_key[2] = {0};
    for (int i = 0; i < 16; i++) of_key[serve(&q) >= 24]++;
    assert_int_equal(of_key[0], 4); // three times the tokens, a third of the turns
    assert_int_equal(of_key[1], 12);
    tk_fair_free(q.f);
}

static void staying_away_saves_nothing_up(void **state)
{
    (void)state;
    queue q = begin();
    add(&q, 2, 0, 1);
    serve(&q); // key 2 had 1 token, and leaves
    for (int i = 0; i < 40; i++) add(&q, 1, 0, 100);
    for (int i = 0; i < 20; i++) serve(&q);
    for (int i = 0; i < 10; i++) add(&q, 2, 0, 100);
    int n_second = 0;
    for (int i = 0; i < 10; i++) n_second += serve(&q) > 40;
    assert_in_range(n_second, 4, 6);
    tk_fair_free(q.f);
}

static void priority_goes_first_but_nobody_waits_for_ever(void **state)
{
    (void)state;
    queue q = begin();
    int low = add(&q, 1, 2, 1), mid = add(&q, 1, 0, 1), high = add(&q, 1, -1, 1);
    assert_int_equal(serve(&q), high);
    assert_int_equal(serve(&q), mid);
    int turn = 0;
    for (;; turn++) { // a fresh one of priority 0 each second
        add(&q, 1, 0, 1);
        if (serve(&q) == low) break;
        assert_in_range(turn, 0, 40);
    }
    assert_in_range(turn, 15, 22); // two levels of ten seconds
    tk_fair_free(q.f);
}

static void a_key_of_low_priority_is_served_too(void **state)
{
    (void)state;
    queue q = begin();
    int low = add(&q, 2, 1, 1), turn = 0;
    for (;; turn++) {
        add(&q, 1, 0, 1);
        if (serve(&q) == low) break;
        assert_in_range(turn, 0, 30);
    }
    assert_in_range(turn, 8, 12);
    tk_fair_free(q.f);
}

static void a_long_queue_does_not_age_past_another_key(void **state)
{
    (void)state;
    queue q = begin();
    for (int i = 0; i < 50; i++) add(&q, 1, 0, 100);
    for (int i = 0; i < 40; i++) serve(&q); // the rest has waited 40 s
    int fresh = add(&q, 2, 0, 100);
    int turn = 0;
    while (serve(&q) != fresh) assert_in_range(++turn, 0, 2);
    tk_fair_free(q.f);
}

static void more_keys_than_places_are_fine(void **state)
{
    (void)state;
    tk_fair *f = tk_fair_new(2);
    for (uint64_t key = 1; key < 1000; key++) {
        int32_t a = tk_fair_enter(f, key), b = tk_fair_enter(f, key + 5000);
        assert_true(a != b);
        tk_fair_charge(f, a, 10, 10);
        tk_fair_leave(f, a);
        tk_fair_leave(f, b);
    }
    tk_fair_free(f);
}

static void a_step_is_timed_by_its_tokens(void **state)
{
    (void)state;
    tk_step_time e = {0};
    tk_rng rng = {.state = 3};
    assert_int_equal(tk_step_time_fit(&e, 1), INT32_MAX);
    for (int i = 0; i < 20; i++)
        tk_step_time_add(&e, 4, 0.020); // one size: proportional, too steep
    assert_int_equal(tk_step_time_fit(&e, 0.1), 20);
    for (int i = 0; i < 300; i++) {
        int n = 1 + (int)tk_rng_below(&rng, 200);
        tk_step_time_add(&e, n, (0.016 + 0.001 * n) * (0.9 + 0.2 * tk_rng_unit(&rng)));
    }
    assert_true(fabs(tk_step_time_guess(&e, 100) - 0.116) < 0.006);
    assert_in_range(tk_step_time_fit(&e, 0.116), 92, 108);
    for (int i = 0; i < 500; i++) tk_step_time_add(&e, 8, 0.048); // contexts grew; the slope stays
    assert_true(fabs(tk_step_time_guess(&e, 8) - 0.048) < 0.001);
    assert_true(fabs(tk_step_time_guess(&e, 108) - 0.148) < 0.03); // old steps bend it a little
    assert_int_equal(tk_step_time_fit(&e, 0.001), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_one_key_does_not_hold_up_another),
        cmocka_unit_test(keys_share_by_tokens_not_by_requests),
        cmocka_unit_test(staying_away_saves_nothing_up),
        cmocka_unit_test(priority_goes_first_but_nobody_waits_for_ever),
        cmocka_unit_test(a_key_of_low_priority_is_served_too),
        cmocka_unit_test(a_long_queue_does_not_age_past_another_key),
        cmocka_unit_test(more_keys_than_places_are_fine),
        cmocka_unit_test(a_step_is_timed_by_its_tokens),
    };
    return cmocka_run_group_tests_name("fairness and step times", tests, NULL, NULL);
}
