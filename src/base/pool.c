// SPDX-License-Identifier: MIT
#include "base/pool.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SPINS = 2000,    // a barrier of the decode step is 2-5 us after the last; these are 20-80 us
    LOOK_NS = 50000, // how long the owner sleeps between two looks at unfinished workers
    MOST_LATE = 8,   // more unfinished items than this are a loop at work, not late ones
    RANGES = 16      // most a node: to start a loop writes to each, to see its end reads each
};

// A thread (where a node has many: a few together) has a range of a loop of its own, so that its items follow each
// other in memory and what the kernel asks for ahead is what the next item reads.
//
// What is left of a range, in one word: items not given out << 32 | items not finished. Finishing an item and taking
// the next is one atomic operation. The upper half runs below 0, as every thread asks once too often. A loop is over
// when all items are finished, whatever the threads do: one that comes late finds nothing left, or items of the
// loop that runs by then.
static const uint64_t given = (uint64_t)1 << 32, finished = 1;

typedef struct range {
    _Alignas(64) _Atomic uint64_t left;
    int end; // written by the owner before `left` is released, read by whoever got an item of it
    int first_thread, i_node;
} range;

typedef struct node {
    int first_thread, first_range;
    cpu_set_t cpus;
} node;

typedef struct worker {
    _Alignas(64) atomic_int cpu; // where it began to take items; -1: it takes none
    tk_pool *pool;
    int i_thread, i_range;
    pthread_t thread;
    clockid_t clock; // processor time of the thread
    // owner: the thread that runs loops
    _Alignas(64) uint64_t seen_ns; // of that clock
    int home;                      // cpu it was moved from, -1: not moved
    cpu_set_t allowed;             // before it was moved
} worker;

struct tk_pool {
    int n_thread, n_node, n_range;
    worker *workers; // n_thread - 1
    node *nodes;     // n_node, and one more: the ends
    range *ranges;   // n_range
    // one loop; written by the owner before `left` is released, read by whoever got one of its items
    tk_pool_fn fn;
    void *ctx;
    bool stays; // items move their threads themselves; read by the owner only
    atomic_bool stop;
    _Alignas(64) _Atomic uint32_t epoch; // even/odd does not matter: a change means a new loop
    _Alignas(64) atomic_int n_asleep;
    atomic_int owner_sleeps_on; // cpu, -1: awake
};

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void futex_wait(const void *at, uint32_t while_value, const struct timespec *timeout)
{
    syscall(SYS_futex, at, FUTEX_WAIT_PRIVATE, while_value, timeout, NULL, 0);
}

static void futex_wake_all(const void *at)
{
    syscall(SYS_futex, at, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

// The lower half of `left`, at its address: what the owner waits for.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a futex is 32 bits wide");

static uint32_t unfinished_of(const range *r)
{
    return (uint32_t)atomic_load(&r->left); // acquires what the items wrote; pairs with take
}

static uint32_t unfinished(const tk_pool *p)
{
    uint32_t sum = 0;
    for (int i = 0; i < p->n_range; i++) sum += unfinished_of(&p->ranges[i]);
    return sum;
}

// Takes `by` off what is left and wakes the owner after the last item. Returns what was left.
static uint64_t finish(tk_pool *p, range *r, uint64_t by)
{
    // seq_cst, as is the load: either this sees the owner asleep or the owner sees nothing unfinished
    uint64_t left = atomic_fetch_sub(&r->left, by);
    int owner_cpu = (uint32_t)left == 1 ? atomic_load(&p->owner_sleeps_on) : -1;
    if (owner_cpu < 0) return left;
    futex_wake_all(&r->left);
    if (owner_cpu == sched_getcpu()) sched_yield(); // the owner's core was only lent
    return left;
}

// Runs items of a range until it has none left to give.
static void take(tk_pool *p, range *r, int i_thread)
{
    // acquire: the loop and what its items read; pairs with the release in start_loop
    uint64_t left = atomic_fetch_sub_explicit(&r->left, given, memory_order_acquire);
    while ((int32_t)(left >> 32) > 0) {
        p->fn(p->ctx, r->end - (int32_t)(left >> 32), i_thread);
        left = finish(p, r, given + finished);
    }
}

// Runs one item of another's range; false: it has none left to give.
static bool help(tk_pool *p, range *r, int i_thread)
{
    // relaxed: a look, which spares the range's own threads a write to their line
    if ((int32_t)(atomic_load_explicit(&r->left, memory_order_relaxed) >> 32) <= 0) return false;
    uint64_t left = atomic_fetch_sub_explicit(&r->left, given, memory_order_acquire); // as in take
    if ((int32_t)(left >> 32) <= 0) return false;
    p->fn(p->ctx, r->end - (int32_t)(left >> 32), i_thread);
    finish(p, r, finished);
    return true;
}

// The same of any of the ranges [from, to), those behind the own one first.
static bool help_among(tk_pool *p, int from, int to, int own, int i_thread)
{
    for (int i = TK_MAX(from, own + 1); i < to; i++)
        if (help(p, &p->ranges[i], i_thread)) return true;
    for (int i = from; i < TK_MIN(to, own); i++)
        if (help(p, &p->ranges[i], i_thread)) return true;
    return false;
}

// The own range, then those of the same node, then the others': one item, for the next loop may have begun meanwhile.
static void work(tk_pool *p, int i_thread, int own)
{
    const node *n = &p->nodes[p->ranges[own].i_node];
    do take(p, &p->ranges[own], i_thread);
    while (help_among(p, n[0].first_range, n[1].first_range, own, i_thread) ||
           help_among(p, 0, p->n_range, own, i_thread));
}

static uint32_t wait_for_loop(tk_pool *p, uint32_t seen)
{
    uint32_t now;
    for (int i = 0; i < SPINS; i++) {
        // acquire: pairs with the release in start_loop
        now = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (now != seen) return now;
        pause_cpu();
    }
    // seq_cst with the owner's store to epoch and load of n_asleep: one of the two sees the other
    atomic_fetch_add(&p->n_asleep, 1);
    while ((now = atomic_load(&p->epoch)) == seen) futex_wait(&p->epoch, seen, NULL);
    atomic_fetch_sub(&p->n_asleep, 1);
    return now;
}

static void *run_worker(void *v)
{
    worker *w = v;
    uint32_t seen = 0;
    for (;;) {
        seen = wait_for_loop(w->pool, seen);
        if (atomic_load_explicit(&w->pool->stop, memory_order_relaxed)) return NULL;
        atomic_store_explicit(&w->cpu, sched_getcpu(), memory_order_relaxed);
        work(w->pool, w->i_thread, w->i_range);
        atomic_store_explicit(&w->cpu, -1, memory_order_relaxed);
    }
}

// A node's range is shared out by the number of threads.
static int end_of(const tk_pool *p, int i_range, const int *first)
{
    int k = p->ranges[i_range].i_node;
    if (i_range + 1 == p->nodes[k + 1].first_range) return first[k + 1];
    int n_thread = p->nodes[k + 1].first_thread - p->nodes[k].first_thread;
    int before = p->ranges[i_range + 1].first_thread - p->nodes[k].first_thread;
    return first[k] + (int)((int64_t)(first[k + 1] - first[k]) * before / n_thread);
}

static void start_loop(tk_pool *p, const int *first)
{
    int begin = 0;
    for (int i = 0; i < p->n_range; i++) {
        range *r = &p->ranges[i];
        r->end = end_of(p, i, first);
        uint64_t n = (uint32_t)(r->end - begin);
        begin = r->end;
        atomic_store_explicit(&r->left, n << 32 | n, memory_order_release);
    }
    atomic_fetch_add(&p->epoch, 1); // seq_cst: orders against n_asleep
    if (atomic_load(&p->n_asleep) > 0) futex_wake_all(&p->epoch);
}

// Whether a worker has had no processor at all since the last look.
static bool stands_still(worker *w)
{
    struct timespec t;
    if (clock_gettime(w->clock, &t) != 0) return false;
    uint64_t seen = w->seen_ns;
    w->seen_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    return w->seen_ns == seen;
}

static cpu_set_t only(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return set;
}

// Looks at the workers that take items; those that stand still since the last look move to cpu `to` if it is one
// of theirs; -1: none does.
static void move_late(tk_pool *p, int to)
{
    if (p->stays) return;
    for (worker *w = p->workers; w < p->workers + p->n_thread - 1; w++) {
        // relaxed: at worst a worker that has just finished is moved, and back
        int home = atomic_load_explicit(&w->cpu, memory_order_relaxed);
        if (home < 0 || w->home >= 0 || !stands_still(w) || to < 0) continue;
        if (pthread_getaffinity_np(w->thread, sizeof w->allowed, &w->allowed) != 0) continue;
        cpu_set_t set = only(to);
        if (!CPU_ISSET((size_t)to, &w->allowed)) continue;
        if (pthread_setaffinity_np(w->thread, sizeof set, &set) == 0) w->home = home;
    }
}

// The owner wants its core back: moved workers go where they were, to wait for their turn there with no item in
// hand; one that was on the owner's core goes to any other. Unless the owner has woken up on another core.
static void move_back(tk_pool *p, int from)
{
    bool crowded = sched_getcpu() == from;
    for (worker *w = p->workers; w < p->workers + p->n_thread - 1; w++) {
        if (w->home < 0) continue;
        cpu_set_t set = only(w->home);
        if (w->home == from) {
            set = w->allowed;
            CPU_CLR((size_t)from, &set);
        }
        if (crowded) pthread_setaffinity_np(w->thread, sizeof set, &set); // fails if set is empty
        pthread_setaffinity_np(w->thread, sizeof w->allowed, &w->allowed);
        w->home = -1;
    }
}

// A worker that the system takes off its core in the middle of an item keeps everybody waiting for a scheduler's
// slice (4 ms, against items of 20 us) while the owner's core has nothing to do. So the owner lends it that core and
// sleeps until the item is finished.
static void wait_for_items(tk_pool *p)
{
    for (int i = 0; i < SPINS; i++) {
        uint32_t n = unfinished(p);
        if (n == 0) return;
        if (i == SPINS / 2 && n <= MOST_LATE) move_late(p, -1);
        pause_cpu();
    }
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int here = TK_MAX(0, sched_getcpu());
    atomic_store(&p->owner_sleeps_on, here); // seq_cst: see work
    for (uint32_t n; (n = unfinished(p)) != 0;) {
        if (n <= MOST_LATE) move_late(p, here);
        range *late = p->ranges;
        while (late < p->ranges + p->n_range - 1 && unfinished_of(late) == 0) late++;
        n = unfinished_of(late);
        if (n != 0) futex_wait(&late->left, n, &look);
    }
    atomic_store_explicit(&p->owner_sleeps_on, -1, memory_order_relaxed);
    move_back(p, here);
}

// The owner's thread is not the pool's to bind (threads that it makes would inherit that): it works for the node that
// it is on.
static int owner_range(const tk_pool *p)
{
    if (p->n_node == 1) return 0;
    int cpu = sched_getcpu();
    for (int k = 0; cpu >= 0 && k < p->n_node; k++)
        if (CPU_ISSET((size_t)cpu, &p->nodes[k].cpus)) return p->nodes[k].first_range;
    return 0;
}

void tk_pool_run_at(tk_pool *p, const int *first, tk_pool_fn fn, void *ctx)
{
    int n_item = first[p->n_node];
    if (n_item <= 0) return;
    if (p->n_thread == 1 || n_item == 1) {
        for (int i = 0; i < n_item; i++) fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    start_loop(p, first);
    work(p, 0, owner_range(p));
    wait_for_items(p);
}

void tk_pool_run(tk_pool *p, int n_item, tk_pool_fn fn, void *ctx)
{
    int first[TK_LIMIT_NODES + 1];
    for (int k = 0; k <= p->n_node; k++) first[k] = tk_pool_first(p, k, n_item);
    tk_pool_run_at(p, first, fn, ctx);
}

typedef struct visit {
    const tk_pool *pool;
    const int *first;
    tk_pool_fn fn;
    void *ctx;
} visit;

static void visit_item(void *ctx, int i_item, int i_thread)
{
    const visit *v = ctx;
    int k = 0;
    while (i_item >= v->first[k + 1]) k++;
    const cpu_set_t *there = &v->pool->nodes[k].cpus;
    cpu_set_t before;
    // where moving is not allowed the item runs where it is
    bool moved = CPU_COUNT(there) > 0 && sched_getaffinity(0, sizeof before, &before) == 0 &&
                 sched_setaffinity(0, sizeof *there, there) == 0;
    v->fn(v->ctx, i_item, i_thread);
    if (moved) sched_setaffinity(0, sizeof before, &before);
}

void tk_pool_run_there(tk_pool *p, const int *first, tk_pool_fn fn, void *ctx)
{
    visit v = {.pool = p, .first = first, .fn = fn, .ctx = ctx};
    p->stays = true; // a worker moved by two would be left where it does not belong
    tk_pool_run_at(p, first, visit_item, &v);
    p->stays = false;
}

static tk_status start_worker(tk_pool *p, int n_thread, tk_err *err)
{
    int i = p->n_thread, i_range = p->n_range - 1;
    while (p->ranges[i_range].first_thread > i) i_range--;
    worker *w = &p->workers[i - 1];
    *w = (worker){.cpu = -1, .home = -1, .pool = p, .i_thread = i, .i_range = i_range};
    int rc = pthread_create(&w->thread, NULL, run_worker, w);
    if (rc != 0)
        return tk_fail(err, TK_FAILED, "cannot make thread %d of %d: %s", i + 1, n_thread,
                       strerror(rc));
    char name[16];
    snprintf(name, sizeof name, "tk-worker-%d", i % 1000);
    pthread_setname_np(w->thread, name);
    pthread_getcpuclockid(w->thread, &w->clock);
    const cpu_set_t *cpus = &p->nodes[p->ranges[i_range].i_node].cpus;
    if (CPU_COUNT(cpus) > 0)
        pthread_setaffinity_np(w->thread, sizeof *cpus,
                               cpus); // refused: its memory is further away
    p->n_thread++;
    return TK_OK;
}

// Threads and ranges of the nodes.
static void share_out(tk_pool *p, const tk_pool_node *nodes)
{
    int n_thread = 0;
    for (int k = 0; k < p->n_node; k++) {
        p->nodes[k] = (node){n_thread, p->n_range, nodes[k].cpus};
        int n = nodes[k].n_thread, n_range = TK_MIN(n, (int)RANGES);
        for (int i = 0; i < n_range; i++)
            p->ranges[p->n_range++] =
                (range){.first_thread = n_thread + i * n / n_range, .i_node = k};
        n_thread += n;
    }
    p->nodes[p->n_node] = (node){.first_thread = n_thread, .first_range = p->n_range};
}

tk_status tk_pool_new_on(const tk_pool_node *nodes, int n_node, tk_pool **out, tk_err *err)
{
    tk_status st = TK_OK;
    int n_thread = 0;
    assert(n_node >= 1 && n_node <= TK_LIMIT_NODES);
    for (int k = 0; k < n_node; k++) n_thread += nodes[k].n_thread;
    assert(n_thread >= n_node && n_thread <= TK_LIMIT_THREADS);
    tk_pool *p = aligned_alloc(64, sizeof *p);
    if (p == NULL) return tk_fail(err, TK_NOMEM, "no memory for a thread pool");
    memset(p, 0, sizeof *p);
    atomic_init(&p->owner_sleeps_on, -1);
    p->workers = aligned_alloc(64, (size_t)n_thread * sizeof *p->workers);
    p->nodes = malloc(((size_t)n_node + 1) * sizeof *p->nodes);
    p->ranges = aligned_alloc(64, (size_t)n_thread * sizeof *p->ranges);
    p->n_thread = 1;
    p->n_node = n_node;
    if (p->workers == NULL || p->nodes == NULL || p->ranges == NULL) {
        st = tk_fail(err, TK_NOMEM, "no memory for a thread pool");
        goto done;
    }
    share_out(p, nodes);
    while (p->n_thread < n_thread) TK_TRY(start_worker(p, n_thread, err));
    *out = p;
    p = NULL;
done:
    tk_pool_free(p);
    return st;
}

tk_status tk_pool_new(int n_thread, tk_pool **out, tk_err *err)
{
    tk_pool_node one = {.n_thread = TK_MAX(1, TK_MIN(n_thread, TK_LIMIT_THREADS))};
    return tk_pool_new_on(&one, 1, out, err);
}

void tk_pool_free(tk_pool *p)
{
    if (p == NULL) return;
    if (p->n_thread > 1) {
        const int none[TK_LIMIT_NODES + 1] = {0};
        atomic_store_explicit(&p->stop, true, memory_order_relaxed); // epoch releases it
        start_loop(p, none);
        for (int i = 1; i < p->n_thread; i++) pthread_join(p->workers[i - 1].thread, NULL);
    }
    free(p->workers);
    free(p->nodes);
    free(p->ranges);
    free(p);
}

int tk_pool_threads(const tk_pool *p)
{
    return p->n_thread;
}

int tk_pool_nodes(const tk_pool *p)
{
    return p->n_node;
}

int tk_pool_first(const tk_pool *p, int i_node, int n)
{
    if (i_node == p->n_node) return n;
    return (int)((int64_t)n * p->nodes[i_node].first_thread / p->n_thread);
}

int tk_pool_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    return 1;
}
