// SPDX-License-Identifier: MIT
#include "engine/fair.h"

#include "base/compiler.h"
#include "base/mem.h"

#include <assert.h>
#include <stdbool.h>

enum { COST_PROMPT = 1, COST_OUT = 2 };

typedef struct fair_key {
    uint64_t key;
    int32_t n_job;
    uint64_t counter;
    uint64_t served_ns; // last time a job of it was started
    // the best candidate of the choice being made
    void *head;
    int64_t head_rank; // its own priority, aged by its own wait
    int32_t head_priority;
    uint64_t head_since_ns, head_order;
} fair_key;

struct tk_fair {
    fair_key *keys; // [cap]
    int32_t n_key, cap;
    int32_t *offered; // [cap] keys with a candidate
    int32_t n_offered;
    uint64_t floor; // smallest counter of the keys present, or what it last was
};

tk_fair *tk_fair_new(int32_t max_job)
{
    tk_fair *f = tk_alloc(sizeof *f);
    f->cap = max_job + 1; // one is always absent
    f->keys = tk_alloc((size_t)f->cap * sizeof *f->keys);
    f->offered = tk_alloc((size_t)f->cap * sizeof *f->offered);
    return f;
}

void tk_fair_free(tk_fair *f)
{
    if (f == NULL) return;
    tk_free(f->keys);
    tk_free(f->offered);
    tk_free(f);
}

// The key's place: its own, a new one, or that of the absent key that has had least (it loses least).
static int32_t find_key(tk_fair *f, uint64_t key)
{
    int32_t least = -1;
    for (int32_t i = 0; i < f->n_key; i++) {
        if (f->keys[i].key == key) return i;
        if (f->keys[i].n_job == 0 && (least < 0 || f->keys[i].counter < f->keys[least].counter))
            least = i;
    }
    if (f->n_key < f->cap) least = f->n_key++;
    f->keys[least] = (fair_key){.key = key};
    return least;
}

static void lift_floor(tk_fair *f)
{
    uint64_t least = UINT64_MAX;
    for (int32_t i = 0; i < f->n_key; i++)
        if (f->keys[i].n_job > 0) least = TK_MIN(least, f->keys[i].counter);
    if (least != UINT64_MAX) f->floor = TK_MAX(f->floor, least);
}

int32_t tk_fair_enter(tk_fair *f, uint64_t key)
{
    int32_t i = find_key(f, key);
    if (f->keys[i].n_job == 0) {
        lift_floor(f);
        f->keys[i].counter = TK_MAX(f->keys[i].counter, f->floor);
    }
    f->keys[i].n_job++;
    return i;
}

void tk_fair_leave(tk_fair *f, int32_t i_key)
{
    if (--f->keys[i_key].n_job > 0) return;
    f->keys[i_key].n_job = 1; // count it once more: it may be the last one present
    lift_floor(f);
    f->keys[i_key].n_job = 0;
}

void tk_fair_started(tk_fair *f, int32_t i_key, uint64_t now_ns)
{
    f->keys[i_key].served_ns = now_ns;
}

void tk_fair_charge(tk_fair *f, int32_t i_key, int32_t n_prompt, int32_t n_out)
{
    f->keys[i_key].counter += (uint64_t)n_prompt * COST_PROMPT + (uint64_t)n_out * COST_OUT;
}

static int64_t aged(int32_t priority, uint64_t since_ns, uint64_t now_ns)
{
    uint64_t wait = now_ns > since_ns ? now_ns - since_ns : 0;
    return (int64_t)priority - (int64_t)(wait / TK_FAIR_AGE_NS);
}

void tk_fair_offer(tk_fair *f, int32_t i_key, int32_t priority, uint64_t since_ns, uint64_t order,
                   uint64_t now_ns, void *candidate)
{
    fair_key *k = &f->keys[i_key];
    int64_t rank = aged(priority, since_ns, now_ns);
    if (k->head == NULL)
        f->offered[f->n_offered++] = i_key;
    else if (rank > k->head_rank || (rank == k->head_rank && order > k->head_order))
        return;
    k->head = candidate;
    k->head_rank = rank;
    k->head_priority = priority;
    k->head_since_ns = since_ns;
    k->head_order = order;
}

static bool goes_before(const fair_key *a, const fair_key *b, uint64_t now_ns)
{
    int64_t rank_a = aged(a->head_priority, TK_MAX(a->head_since_ns, a->served_ns), now_ns);
    int64_t rank_b = aged(b->head_priority, TK_MAX(b->head_since_ns, b->served_ns), now_ns);
    if (rank_a != rank_b) return rank_a < rank_b;
    if (a->counter != b->counter) return a->counter < b->counter;
    return a->head_order < b->head_order;
}

void *tk_fair_pick(tk_fair *f, uint64_t now_ns)
{
    assert(f->n_offered == 0 || f->keys);
    fair_key *best = NULL;
    for (int32_t i = 0; i < f->n_offered; i++) {
        fair_key *k = &f->keys[f->offered[i]];
        if (best == NULL || goes_before(k, best, now_ns)) best = k;
    }
    void *chosen = best ? best->head : NULL;
    for (int32_t i = 0; i < f->n_offered; i++) f->keys[f->offered[i]].head = NULL;
    f->n_offered = 0;
    return chosen;
}
