// SPDX-License-Identifier: MIT
#include "sample/seen.h"

#include "base/mem.h"

static tk_seen_token *slot_of(const tk_seen *s, int32_t id)
{
    size_t i = ((uint32_t)id * 2654435769u) & (s->n_slot - 1); // Knuth's multiplicative hash
    while (s->slots[i].id >= 0 && s->slots[i].id != id) i = (i + 1) & (s->n_slot - 1);
    return &s->slots[i];
}

static void grow(tk_seen *s)
{
    tk_seen bigger = {.n_slot = s->n_slot ? s->n_slot * 2 : 64, .n = s->n};
    bigger.slots = tk_alloc(bigger.n_slot * sizeof *bigger.slots);
    for (size_t i = 0; i < bigger.n_slot; i++) bigger.slots[i].id = -1;
    for (size_t i = 0; i < s->n_slot; i++)
        if (s->slots[i].id >= 0) *slot_of(&bigger, s->slots[i].id) = s->slots[i];
    tk_free(s->slots);
    *s = bigger;
}

tk_seen_token *tk_seen_find(tk_seen *s, int32_t id)
{
    if ((s->n + 1) * 2 > s->n_slot) grow(s);
    tk_seen_token *t = slot_of(s, id);
    if (t->id < 0) {
        *t = (tk_seen_token){.id = id};
        s->n++;
    }
    return t;
}

void tk_seen_free(tk_seen *s)
{
    tk_free(s->slots);
    *s = (tk_seen){0};
}
