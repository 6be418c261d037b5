// SPDX-License-Identifier: MIT
// Messages from any threads to one: a bounded ring of items of one size, copied in and out. Any thread may
// push; one thread pops. A mutex guards everything; the waits are on the monotonic clock.
#ifndef TK_BASE_QUEUE_H
#define TK_BASE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_queue tk_queue;

// cap >= 1 items of item_bytes. Never NULL.
tk_queue *tk_queue_new(size_t item_bytes, size_t cap);
// No thread may be in a call. NULL is fine.
void tk_queue_free(tk_queue *q);
// False, at once, when the queue is full.
bool tk_queue_push(tk_queue *q, const void *item);
// Waits for room. Not for the thread that pops.
void tk_queue_push_wait(tk_queue *q, const void *item);
// False, at once, when it is empty.
bool tk_queue_pop(tk_queue *q, void *item);
// Waits for an item at most timeout_ns (UINT64_MAX = for ever); false when none came.
bool tk_queue_pop_wait(tk_queue *q, void *item, uint64_t timeout_ns);

#endif
