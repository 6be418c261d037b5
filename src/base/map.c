// SPDX-License-Identifier: MIT
#include "base/map.h"

#include "base/mem.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

typedef struct slot {
    const void *key; // NULL = empty
    size_t len;
    uint64_t hash, value;
} slot;

struct tk_map {
    slot *slots;
    size_t n_slot; // power of two, at least 4/3 of count
    size_t count;
};

static size_t slots_for(size_t n)
{
    size_t s = 16;
    while (s < n + n / 2 + 1) s *= 2;
    return s;
}

tk_map *tk_map_new(size_t n_expected)
{
    tk_map *m = tk_alloc(sizeof *m);
    m->n_slot = slots_for(n_expected);
    m->slots = tk_alloc(m->n_slot * sizeof *m->slots);
    return m;
}

void tk_map_free(tk_map *m)
{
    if (m == NULL) return;
    tk_free(m->slots);
    tk_free(m);
}

static slot *find(const tk_map *m, const void *key, size_t len, uint64_t hash)
{
    for (size_t i = hash & (m->n_slot - 1);; i = (i + 1) & (m->n_slot - 1)) {
        slot *s = &m->slots[i];
        if (s->key == NULL) return s;
        if (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0) return s;
    }
}

static void grow(tk_map *m)
{
    tk_map bigger = {.n_slot = m->n_slot * 2, .count = m->count};
    bigger.slots = tk_alloc(bigger.n_slot * sizeof *bigger.slots);
    for (size_t i = 0; i < m->n_slot; i++) {
        const slot *s = &m->slots[i];
        if (s->key) *find(&bigger, s->key, s->len, s->hash) = *s;
    }
    tk_free(m->slots);
    *m = bigger;
}

static slot *insert(tk_map *m, const void *key, size_t len, bool *added)
{
    if ((m->count + 1) * 4 > m->n_slot * 3) grow(m);
    if (key == NULL) key = ""; // an empty key may come without a pointer
    uint64_t hash = XXH3_64bits(key, len);
    slot *s = find(m, key, len, hash);
    *added = s->key == NULL;
    if (*added) {
        *s = (slot){.key = key, .len = len, .hash = hash};
        m->count++;
    }
    return s;
}

bool tk_map_add(tk_map *m, const void *key, size_t len, uint64_t value)
{
    bool added;
    slot *s = insert(m, key, len, &added);
    if (added) s->value = value;
    return added;
}

void tk_map_set(tk_map *m, const void *key, size_t len, uint64_t value)
{
    bool added;
    insert(m, key, len, &added)->value = value;
}

bool tk_map_get(const tk_map *m, const void *key, size_t len, uint64_t *value)
{
    if (key == NULL) key = "";
    const slot *s = find(m, key, len, XXH3_64bits(key, len));
    if (s->key == NULL) return false;
    if (value) *value = s->value;
    return true;
}

size_t tk_map_count(const tk_map *m)
{
    return m->count;
}
