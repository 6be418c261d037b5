// SPDX-License-Identifier: MIT
#include "base/queue.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

struct tk_queue {
    size_t item_bytes, cap;
    pthread_mutex_t mutex; // guards head, n, items
    pthread_cond_t not_empty, not_full;
    size_t head, n; // oldest item; count
    char *items;    // [cap][item_bytes]
};

tk_queue *tk_queue_new(size_t item_bytes, size_t cap)
{
    tk_queue *q = tk_alloc(sizeof *q);
    size_t bytes = 0;
    if (!tk_mul_size(item_bytes, cap, &bytes)) bytes = SIZE_MAX; // tk_alloc says so
    q->item_bytes = item_bytes;
    q->cap = cap;
    q->items = tk_alloc(bytes);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->not_empty, &monotonic);
    pthread_cond_init(&q->not_full, NULL);
    pthread_condattr_destroy(&monotonic);
    return q;
}

void tk_queue_free(tk_queue *q)
{
    if (q == NULL) return;
    pthread_cond_destroy(&q->not_empty);
    pthread_cond_destroy(&q->not_full);
    pthread_mutex_destroy(&q->mutex);
    tk_free(q->items);
    tk_free(q);
}

static void put(tk_queue *q, const void *item)
{
    memcpy(q->items + (q->head + q->n) % q->cap * q->item_bytes, item, q->item_bytes);
    q->n++;
    pthread_cond_signal(&q->not_empty);
}

bool tk_queue_push(tk_queue *q, const void *item)
{
    pthread_mutex_lock(&q->mutex);
    bool fits = q->n < q->cap;
    if (fits) put(q, item);
    pthread_mutex_unlock(&q->mutex);
    return fits;
}

void tk_queue_push_wait(tk_queue *q, const void *item)
{
    pthread_mutex_lock(&q->mutex);
    while (q->n == q->cap) pthread_cond_wait(&q->not_full, &q->mutex);
    put(q, item);
    pthread_mutex_unlock(&q->mutex);
}

static void take(tk_queue *q, void *item)
{
    memcpy(item, q->items + q->head * q->item_bytes, q->item_bytes);
    q->head = (q->head + 1) % q->cap;
    q->n--;
    pthread_cond_signal(&q->not_full);
}

bool tk_queue_pop(tk_queue *q, void *item)
{
    pthread_mutex_lock(&q->mutex);
    bool some = q->n > 0;
    if (some) take(q, item);
    pthread_mutex_unlock(&q->mutex);
    return some;
}

bool tk_queue_pop_wait(tk_queue *q, void *item, uint64_t timeout_ns)
{
    uint64_t now = tk_clock_ns(), until = now + timeout_ns;
    bool for_ever = until < now; // wrapped
    struct timespec at = {.tv_sec = (time_t)(until / 1000000000u),
                          .tv_nsec = (long)(until % 1000000000u)};
    pthread_mutex_lock(&q->mutex);
    int rc = 0;
    while (q->n == 0 && rc == 0)
        rc = for_ever ? pthread_cond_wait(&q->not_empty, &q->mutex)
                      : pthread_cond_timedwait(&q->not_empty, &q->mutex, &at);
    bool some = q->n > 0;
    if (some) take(q, item);
    pthread_mutex_unlock(&q->mutex);
    return some;
}
