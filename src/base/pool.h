// SPDX-License-Identifier: MIT
// A fixed set of threads that runs one loop at a time. The caller is thread 0 and works too. Workers spin a
// short while for the next loop (a decode step has hundreds), then sleep on a futex, so that an idle or
// oversubscribed machine is not burnt. Items are given out dynamically; an item's result must not depend on
// which thread runs it. A loop waits for items, not for threads; where another process keeps a worker from
// finishing one, the caller lends the worker its core: the worker's affinity is changed for that time. Owner: the one
// thread that calls tk_pool_run.
#ifndef TK_BASE_POOL_H
#define TK_BASE_POOL_H

#include "base/status.h"

typedef struct tk_pool tk_pool;
typedef void (*tk_pool_fn)(void *ctx, int i_item, int i_thread);

// n_thread >= 1 (clamped to TK_LIMIT_THREADS). TK_FAILED when a thread cannot be made.
tk_status tk_pool_new(int n_thread, tk_pool **out, tk_err *err);
void tk_pool_free(tk_pool *p); // joins; NULL is fine
int tk_pool_threads(const tk_pool *p);
// Calls fn(ctx, i, thread) once for each i in [0, n_item) and returns when all have returned. All writes made
// by the items are visible to the caller then.
void tk_pool_run(tk_pool *p, int n_item, tk_pool_fn fn, void *ctx);
// Number of processors this process may run on.
int tk_pool_cpu_count(void);

#endif
