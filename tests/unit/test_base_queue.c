// SPDX-License-Identifier: MIT
#include "base/clock.h"
#include "base/queue.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { N_THREAD = 4, N_ITEM = 20000 };

typedef struct item {
    int thread, i;
} item;

typedef struct pusher {
    tk_queue *q;
    int i_thread;
} pusher;

static void *push_all(void *ctx)
{
    const pusher *p = ctx;
    for (int i = 0; i < N_ITEM; i++) {
        item it = {p->i_thread, i};
        if (i % 2 || !tk_queue_push(p->q, &it)) tk_queue_push_wait(p->q, &it);
    }
    return NULL;
}

static void each_threads_items_come_once_and_in_order(void **state)
{
    (void)state;
    tk_queue *q = tk_queue_new(sizeof(item), 7);
    pthread_t threads[N_THREAD];
    pusher p[N_THREAD];
    int next[N_THREAD] = {0};
    for (int i = 0; i < N_THREAD; i++) {
        p[i] = (pusher){q, i};
        assert_int_equal(pthread_create(&threads[i], NULL, push_all, &p[i]), 0);
    }
    for (int n = 0; n < N_THREAD * N_ITEM; n++) {
        item it;
        if (n % 3 || !tk_queue_pop(q, &it)) assert_true(tk_queue_pop_wait(q, &it, UINT64_MAX));
        assert_int_equal(it.i, next[it.thread]++);
    }
    item it;
    assert_false(tk_queue_pop(q, &it));
    for (int i = 0; i < N_THREAD; i++) pthread_join(threads[i], NULL);
    tk_queue_free(q);
}

static void a_full_queue_refuses_and_an_empty_one_times_out(void **state)
{
    (void)state;
    tk_queue *q = tk_queue_new(sizeof(int), 2);
    int v = 1, got;
    assert_true(tk_queue_push(q, &v));
    v = 2;
    assert_true(tk_queue_push(q, &v));
    assert_false(tk_queue_push(q, &v));
    assert_true(tk_queue_pop(q, &got));
    assert_int_equal(got, 1);
    assert_true(tk_queue_pop_wait(q, &got, 0));
    assert_int_equal(got, 2);
    uint64_t begin = tk_clock_ns();
    assert_false(tk_queue_pop_wait(q, &got, 20000000));
    assert_true(tk_clock_ns() - begin >= 20000000);
    tk_queue_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_threads_items_come_once_and_in_order),
        cmocka_unit_test(a_full_queue_refuses_and_an_empty_one_times_out),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
