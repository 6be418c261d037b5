// SPDX-License-Identifier: MIT
#include "base/pool.h"

#include "base/limits.h"
#include "base/mem.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// A barrier of the decode step is 2-5 us apart from the next; 2,000 pauses are about 20-80 us.
enum { SPINS = 2000, YIELDS = 50 };

struct tk_pool {
    int n_thread;
    pthread_t *threads; // n_thread - 1
    // one loop; written by the owner before `epoch` is released, read by workers after acquiring it
    tk_pool_fn fn;
    void *ctx;
    int n_item;
    bool stop;
    _Alignas(64) _Atomic uint32_t epoch;  // even/odd does not matter: a change means a new loop
    _Alignas(64) atomic_int next;         // next item to give out
    _Alignas(64) _Atomic uint32_t n_busy; // workers that have not finished this loop
    _Alignas(64) atomic_int n_asleep;
};

typedef struct worker_arg {
    tk_pool *pool;
    int i_thread;
} worker_arg;

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex_wait(_Atomic uint32_t *at, uint32_t while_value)
{
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void futex_wake_all(_Atomic uint32_t *at)
{
    syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void work(tk_pool *p, int i_thread)
{
    for (;;) {
        // relaxed: items are independent; what they need was published by epoch
        int i = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (i >= p->n_item) return;
        p->fn(p->ctx, i, i_thread);
    }
}

static void wait_for_loop(tk_pool *p, uint32_t seen)
{
    for (int i = 0; i < SPINS + YIELDS; i++) {
        // acquire: pairs with the release in start_loop
        if (atomic_load_explicit(&p->epoch, memory_order_acquire) != seen) return;
        if (i < SPINS)
            pause_cpu();
        else
            sched_yield();
    }
    // seq_cst with the owner's store to epoch and load of n_asleep: one of the two sees the other
    atomic_fetch_add(&p->n_asleep, 1);
    while (atomic_load(&p->epoch) == seen) futex_wait(&p->epoch, seen);
    atomic_fetch_sub(&p->n_asleep, 1);
}

static void *worker(void *v)
{
    worker_arg a = *(worker_arg *)v;
    tk_free(v);
    uint32_t seen = 0;
    for (;;) {
        wait_for_loop(a.pool, seen);
        seen++;
        if (a.pool->stop) return NULL;
        work(a.pool, a.i_thread);
        // release: the items' writes; pairs with the owner's acquire in tk_pool_run
        atomic_fetch_sub_explicit(&a.pool->n_busy, 1, memory_order_release);
    }
}

static void start_loop(tk_pool *p)
{
    atomic_store_explicit(&p->next, 0, memory_order_relaxed);
    atomic_store_explicit(&p->n_busy, (uint32_t)p->n_thread - 1, memory_order_relaxed);
    atomic_fetch_add(&p->epoch, 1); // seq_cst: releases the loop, and orders against n_asleep
    if (atomic_load(&p->n_asleep) > 0) futex_wake_all(&p->epoch);
}

void tk_pool_run(tk_pool *p, int n_item, tk_pool_fn fn, void *ctx)
{
    if (n_item <= 0) return;
    if (p->n_thread == 1 || n_item == 1) {
        for (int i = 0; i < n_item; i++) fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n_item = n_item;
    start_loop(p);
    work(p, 0);
    for (int i = 0; atomic_load_explicit(&p->n_busy, memory_order_acquire) != 0; i++) {
        if (i < SPINS)
            pause_cpu();
        else
            sched_yield(); // a neighbour has the core of the last worker: let it finish
    }
}

tk_status tk_pool_new(int n_thread, tk_pool **out, tk_err *err)
{
    n_thread = TK_MAX(1, TK_MIN(n_thread, TK_LIMIT_THREADS));
    tk_pool *p = aligned_alloc(64, sizeof *p);
    if (p == NULL) return tk_fail(err, TK_NOMEM, "no memory for a thread pool");
    memset(p, 0, sizeof *p);
    p->threads = tk_alloc((size_t)n_thread * sizeof *p->threads);
    p->n_thread = 1;
    for (int i = 1; i < n_thread; i++) {
        worker_arg *a = tk_alloc(sizeof *a);
        *a = (worker_arg){.pool = p, .i_thread = i};
        int rc = pthread_create(&p->threads[i - 1], NULL, worker, a);
        if (rc != 0) {
            tk_free(a);
            tk_pool_free(p);
            return tk_fail(err, TK_FAILED, "cannot make thread %d of %d: %s", i + 1, n_thread,
                           strerror(rc));
        }
        char name[16];
        snprintf(name, sizeof name, "tk-worker-%d", i % 1000);
        pthread_setname_np(p->threads[i - 1], name);
        p->n_thread++;
    }
    *out = p;
    return TK_OK;
}

void tk_pool_free(tk_pool *p)
{
    if (p == NULL) return;
    if (p->n_thread > 1) {
        p->stop = true;
        start_loop(p);
        for (int i = 1; i < p->n_thread; i++) pthread_join(p->threads[i - 1], NULL);
    }
    tk_free(p->threads);
    free(p);
}

int tk_pool_threads(const tk_pool *p)
{
    return p->n_thread;
}

int tk_pool_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return 1;
}
