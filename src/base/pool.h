// SPDX-License-Identifier: MIT
// A fixed set of threads that runs one loop at a time. The caller is thread 0 and works too. Workers spin a
// short while for the next loop (a decode step has hundreds), then sleep on a futex, so that an idle or
// oversubscribed machine is not burnt. A thread has a range of the items of its own and helps others when that is done,
// so that it reads memory in one stretch; an item's result must not depend on which thread runs it. A loop waits for
// items, not for threads; where another process keeps a worker from finishing one, the caller lends the worker its core:
// the worker's affinity is changed for that time. Owner: the one thread that calls tk_pool_run.
//
// Nodes. Where the machine's memory is in several nodes, a node's threads stay on its processors (the caller is
// where it is) and have a range of every loop for themselves, in proportion to their number; threads help those of their
// node first. So loops over the same rows read a row on the node that first wrote it (docs/architecture.md).
#ifndef TK_BASE_POOL_H
#define TK_BASE_POOL_H

#include "base/status.h"

#include <sched.h>

typedef struct tk_pool tk_pool;
typedef void (*tk_pool_fn)(void *ctx, int i_item, int i_thread);

// n_thread >= 1 (clamped to TK_LIMIT_THREADS). TK_FAILED when a thread cannot be made.
tk_status tk_pool_new(int n_thread, tk_pool **out, tk_err *err);
typedef struct tk_pool_node {
    int n_thread;   // >= 1
    cpu_set_t cpus; // where they run; empty = anywhere (a node that is only pretended)
} tk_pool_node;
// The same on nodes [n_node], 1..TK_LIMIT_NODES of them, together 1..TK_LIMIT_THREADS threads. Threads are numbered
// node by node; the caller is the first of node 0.
tk_status tk_pool_new_on(const tk_pool_node *nodes, int n_node, tk_pool **out, tk_err *err);
void tk_pool_free(tk_pool *p); // joins; NULL is fine
int tk_pool_threads(const tk_pool *p);
int tk_pool_nodes(const tk_pool *p);
// Where node i_node's range of n items begins: the share of the nodes before it, n for i_node = tk_pool_nodes.
int tk_pool_first(const tk_pool *p, int i_node, int n);
// Calls fn(ctx, i, thread) once for each i in [0, n_item) and returns when all have returned. All writes made
// by the items are visible to the caller then.
void tk_pool_run(tk_pool *p, int n_item, tk_pool_fn fn, void *ctx);
// The same where node k's range is [first[k], first[k + 1]); first[0] = 0, first[tk_pool_nodes] = number of items.
void tk_pool_run_at(tk_pool *p, const int *first, tk_pool_fn fn, void *ctx);
// The same, and an item runs on a processor of its node whoever runs it: what it touches first is that node's.
// Two system calls an item: for placing memory.
void tk_pool_run_there(tk_pool *p, const int *first, tk_pool_fn fn, void *ctx);
// Number of processors this process may run on.
int tk_pool_cpu_count(void);

#endif
