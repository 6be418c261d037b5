// SPDX-License-Identifier: MIT
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

enum { N_THREAD = 4, MOST_ITEMS = 61 };

static void sleep_ns(long ns)
{
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

typedef struct loop {
    int32_t number;
    int late;                  // every so many items of a worker sleep
    int32_t count[MOST_ITEMS]; // not atomic: only one thread may have an item
} loop;

static void count_item(void *ctx, int i_item, int i_thread)
{
    loop *l = ctx;
    if (l->late && i_thread > 0 && (l->number + i_item) % l->late == 0) sleep_ns(300000);
    l->count[i_item] += l->number;
}

// Loops of many lengths, one after the other in two places of memory: an item that is given out twice, lost, taken
// with another loop's context, or written after its loop has returned shows in one of the counts.
static void run_loops(int n_loop, int late)
{
    tk_pool *p = NULL;
    loop loops[2] = {0};
    assert_int_equal(tk_pool_new(N_THREAD, &p, NULL), TK_OK);
    for (int i = 1; i <= n_loop; i++) {
        int n_item = i * 7 % MOST_ITEMS + 1;
        loop *l = &loops[i % 2], *before = &loops[1 - i % 2];
        *l = (loop){.number = i, .late = late};
        tk_pool_run(p, n_item, count_item, l);
        for (int k = 0; k < MOST_ITEMS; k++) assert_int_equal(l->count[k], k < n_item ? i : 0);
        int n_before = (i - 1) * 7 % MOST_ITEMS + 1;
        for (int k = 0; i > 1 && k < MOST_ITEMS; k++)
            assert_int_equal(before->count[k], k < n_before ? i - 1 : 0);
    }
    tk_pool_free(p);
}

static void each_item_runs_once_over_many_loops(void **state)
{
    (void)state;
    run_loops(5000, 0);
}

static void items_of_late_workers_run_once_and_never_after_their_loop(void **state)
{
    (void)state;
    run_loops(2000, 17);
}

typedef struct meeting {
    atomic_int n_here;
    pthread_t worker;
    int n_cpu; // what the worker was allowed while it was late
} meeting;

// Two items that wait for each other, so that owner and worker have one each.
static void meet(meeting *m, int i_thread)
{
    if (i_thread == 1) m->worker = pthread_self();
    atomic_fetch_add(&m->n_here, 1);
    while (atomic_load(&m->n_here) < 2) sched_yield();
}

static void meet_item(void *ctx, int i_item, int i_thread)
{
    (void)i_item;
    meet(ctx, i_thread);
}

static void late_item(void *ctx, int i_item, int i_thread)
{
    (void)i_item;
    meeting *m = ctx;
    cpu_set_t set;
    meet(m, i_thread);
    for (int ms = 0; i_thread == 1 && m->n_cpu != 1 && ms < 10000; ms++) {
        sleep_ns(1000000);
        if (sched_getaffinity(0, sizeof set, &set) == 0) m->n_cpu = CPU_COUNT(&set);
    }
}

static void a_late_worker_is_moved_to_the_owner_and_gets_its_cpus_back(void **state)
{
    (void)state;
    if (tk_pool_cpu_count() < 2) skip();
    tk_pool *p = NULL;
    assert_int_equal(tk_pool_new(2, &p, NULL), TK_OK);
    cpu_set_t before, after;
    meeting m = {0};
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    tk_pool_run(p, 2, late_item, &m);
    assert_int_equal(m.n_cpu, 1);
    assert_int_equal(pthread_getaffinity_np(m.worker, sizeof after, &after), 0);
    assert_true(CPU_EQUAL(&before, &after));
    tk_pool_free(p);
}

static int hold_pipe[2];
static atomic_int n_held;

static void hold(int signal)
{
    (void)signal;
    char byte;
    atomic_fetch_add(&n_held, 1);
    while (read(hold_pipe[0], &byte, 1) < 0) {
    }
}

static void a_worker_held_up_between_items_is_not_waited_for(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); // it delivers signals only at calls that it knows
#endif
    tk_pool *p = NULL;
    assert_int_equal(tk_pool_new(2, &p, NULL), TK_OK);
    meeting m = {0};
    tk_pool_run(p, 2, meet_item, &m);
    assert_int_equal(pipe(hold_pipe), 0);
    struct sigaction act = {.sa_handler = hold}, old;
    assert_int_equal(sigaction(SIGUSR1, &act, &old), 0);
    assert_int_equal(pthread_kill(m.worker, SIGUSR1), 0);
    while (atomic_load(&n_held) == 0) sched_yield();
    loop l = {.number = 1};
    for (int i = 0; i < 100; i++) tk_pool_run(p, MOST_ITEMS, count_item, &l); // returns
    assert_int_equal(write(hold_pipe[1], "", 1), 1);
    m.n_here = 0;
    tk_pool_run(p, 2, meet_item, &m); // the worker is back
    for (int k = 0; k < MOST_ITEMS; k++) assert_int_equal(l.count[k], 100);
    tk_pool_free(p);
    sigaction(SIGUSR1, &old, NULL);
    close(hold_pipe[0]);
    close(hold_pipe[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_item_runs_once_over_many_loops),
        cmocka_unit_test(items_of_late_workers_run_once_and_never_after_their_loop),
        cmocka_unit_test(a_late_worker_is_moved_to_the_owner_and_gets_its_cpus_back),
        cmocka_unit_test(a_worker_held_up_between_items_is_not_waited_for),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
