// SPDX-License-Identifier: MIT
#include "base/pool.h"

#include "base/limits.h"
#include "base/mem.h"

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
static void run_loops(int n_loop, int late, const tk_pool_node *nodes, int n_node)
{
    tk_pool *p = NULL;
    loop loops[2] = {0};
    assert_int_equal(tk_pool_new_on(nodes, n_node, &p, NULL), TK_OK);
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
    run_loops(5000, 0, &(tk_pool_node){.n_thread = N_THREAD}, 1);
}

static void items_of_late_workers_run_once_and_never_after_their_loop(void **state)
{
    (void)state;
    run_loops(2000, 17, &(tk_pool_node){.n_thread = N_THREAD}, 1);
}

static void each_item_runs_once_whatever_the_nodes(void **state)
{
    (void)state;
    static const struct {
        int n_node;
        tk_pool_node nodes[N_THREAD];
    } layouts[] = {
        {2, {{.n_thread = 2}, {.n_thread = 2}}},
        {3, {{.n_thread = 1}, {.n_thread = 1}, {.n_thread = 2}}},
        {4, {{.n_thread = 1}, {.n_thread = 1}, {.n_thread = 1}, {.n_thread = 1}}}, // of 1..61 items
    };
    for (size_t i = 0; i < TK_COUNT(layouts); i++) {
        run_loops(3000, 0, layouts[i].nodes, layouts[i].n_node);
        run_loops(500, 17, layouts[i].nodes, layouts[i].n_node);
    }
}

static void a_node_has_a_share_of_a_loop_for_each_of_its_threads(void **state)
{
    (void)state;
    tk_pool *p = NULL;
    tk_pool_node nodes[] = {{.n_thread = 1}, {.n_thread = 3}};
    assert_int_equal(tk_pool_new_on(nodes, 2, &p, NULL), TK_OK);
    assert_int_equal(tk_pool_threads(p), 4);
    assert_int_equal(tk_pool_nodes(p), 2);
    static const int n[] = {0, 1, 3, 4, 8, 1 << 30}, first[] = {0, 0, 0, 1, 2, 1 << 28};
    for (size_t i = 0; i < TK_COUNT(n); i++) {
        assert_int_equal(tk_pool_first(p, 0, n[i]), 0);
        assert_int_equal(tk_pool_first(p, 1, n[i]), first[i]);
        assert_int_equal(tk_pool_first(p, 2, n[i]), n[i]);
    }
    tk_pool_free(p);
}

typedef struct ranges {
    atomic_int n_here;
    int n_wait, held; // how many meet; the item that waits for them
    int thread[MOST_ITEMS];
} ranges;

// All threads are in an item at once.
static void all_meet_item(void *ctx, int i_item, int i_thread)
{
    ranges *r = ctx;
    r->thread[i_item] = i_thread;
    atomic_fetch_add(&r->n_here, 1);
    while (atomic_load(&r->n_here) < r->n_wait) sched_yield();
}

static void a_thread_takes_its_own_node_first(void **state)
{
    (void)state;
    tk_pool *p = NULL;
    tk_pool_node nodes[] = {{.n_thread = 2}, {.n_thread = 1}, {.n_thread = 1}};
    static const int node_of[] = {0, 0, 1, 2};
    for (int i = 0; i < 50; i++) {
        ranges r = {.n_wait = N_THREAD};
        // a new one each time: a thread that looks for more of the last loop may help with the next
        assert_int_equal(tk_pool_new_on(nodes, 3, &p, NULL), TK_OK);
        tk_pool_run(p, N_THREAD, all_meet_item, &r);
        for (int k = 0; k < N_THREAD; k++) assert_int_equal(node_of[r.thread[k]], node_of[k]);
        tk_pool_free(p);
    }
}

// Two items each: a thread has the two that follow each other.
static void a_thread_has_a_range_of_its_own(void **state)
{
    (void)state;
    tk_pool *p = NULL;
    for (int i = 0; i < 50; i++) {
        ranges r = {.n_wait = N_THREAD}, first = {0};
        assert_int_equal(tk_pool_new(N_THREAD, &p, NULL), TK_OK);
        tk_pool_run(p, 2 * N_THREAD, all_meet_item, &r);
        for (int k = 0; k < N_THREAD; k++) first.thread[r.thread[2 * k]]++;
        for (int k = 0; k < N_THREAD; k++) assert_int_equal(first.thread[k], 1);
        tk_pool_free(p);
    }
}

// One item waits for all the others.
static void slow_item(void *ctx, int i_item, int i_thread)
{
    ranges *r = ctx;
    r->thread[i_item] = i_thread;
    if (i_item != r->held) atomic_fetch_add(&r->n_here, 1);
    while (i_item == r->held && atomic_load(&r->n_here) < r->n_wait) sched_yield();
}

static void a_node_whose_items_are_slow_is_helped(void **state)
{
    (void)state;
    tk_pool *p = NULL;
    tk_pool_node nodes[] = {{.n_thread = 1}, {.n_thread = 1}};
    assert_int_equal(tk_pool_new_on(nodes, 2, &p, NULL), TK_OK);
    static const int first[][3] = {{0, 1, 9}, {0, 8, 9}, {0, 0, 9}, {0, 9, 9}};
    for (size_t l = 0; l < TK_COUNT(first); l++)
        for (int held = 0; held < 9; held += 8) {
            ranges r = {.n_wait = 8, .held = held};
            tk_pool_run_at(p, first[l], slow_item, &r); // returns
            for (int i = held + 1; i < 9; i++) assert_int_not_equal(r.thread[i], r.thread[held]);
        }
    tk_pool_free(p);
}

typedef struct places {
    pthread_t worker;
    atomic_int n_here, n_wrong;
    const tk_pool_node *nodes;
    const int *first;
} places;

static void place_item(void *ctx, int i_item, int i_thread)
{
    places *pl = ctx;
    int k = i_item < pl->first[1] ? 0 : 1, cpu = sched_getcpu();
    if (!CPU_ISSET((size_t)cpu, &pl->nodes[k].cpus)) atomic_fetch_add(&pl->n_wrong, 1);
    if (i_thread == 1) pl->worker = pthread_self();
    atomic_fetch_add(&pl->n_here, 1);
    while (atomic_load(&pl->n_here) < 2) sched_yield(); // both threads take part
}

// Two nodes of one processor each: processors of this process that it need not be near to.
static void items_that_place_memory_run_on_their_node(void **state)
{
    (void)state;
    cpu_set_t mine, after;
    tk_pool *p = NULL;
    tk_pool_node nodes[2] = {{.n_thread = 1}, {.n_thread = 1}};
    assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
    if (CPU_COUNT(&mine) < 2) skip();
    for (size_t cpu = 0, k = 0; k < 2; cpu++)
        if (CPU_ISSET(cpu, &mine)) CPU_SET(cpu, &nodes[k++].cpus);
    assert_int_equal(tk_pool_new_on(nodes, 2, &p, NULL), TK_OK);
    for (int n0 = 0; n0 <= 9; n0++) { // helpers are moved, too
        const int first[] = {0, n0, 9};
        places pl = {.nodes = nodes, .first = first};
        tk_pool_run_there(p, first, place_item, &pl);
        assert_int_equal(pl.n_wrong, 0);
        assert_int_equal(pthread_getaffinity_np(pl.worker, sizeof after, &after), 0);
        assert_true(CPU_EQUAL(&after, &nodes[1].cpus));
        assert_int_equal(sched_getaffinity(0, sizeof after, &after), 0);
        assert_true(CPU_EQUAL(&after, &mine)); // the caller is bound to nothing
    }
    tk_pool_free(p);
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
        cmocka_unit_test(each_item_runs_once_whatever_the_nodes),
        cmocka_unit_test(a_node_has_a_share_of_a_loop_for_each_of_its_threads),
        cmocka_unit_test(a_thread_takes_its_own_node_first),
        cmocka_unit_test(a_thread_has_a_range_of_its_own),
        cmocka_unit_test(a_node_whose_items_are_slow_is_helped),
        cmocka_unit_test(items_that_place_memory_run_on_their_node),
        cmocka_unit_test(a_late_worker_is_moved_to_the_owner_and_gets_its_cpus_back),
        cmocka_unit_test(a_worker_held_up_between_items_is_not_waited_for),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
