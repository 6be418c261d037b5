// SPDX-License-Identifier: MIT
// A hash map from byte strings to 64-bit values (indices or pointers), open addressing, XXH3. Keys are
// borrowed: the caller keeps them alive and unchanged. One owner, one thread; concurrent gets are fine.
#ifndef TK_BASE_MAP_H
#define TK_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_map tk_map;

tk_map *tk_map_new(size_t n_expected); // never NULL
void tk_map_free(tk_map *m);           // NULL is fine
// Adds key -> value; false when the key was there already (its value stays).
bool tk_map_add(tk_map *m, const void *key, size_t len, uint64_t value);
// Adds or replaces.
void tk_map_set(tk_map *m, const void *key, size_t len, uint64_t value);
// True and *value set when found; value may be NULL.
bool tk_map_get(const tk_map *m, const void *key, size_t len, uint64_t *value);
size_t tk_map_count(const tk_map *m);

#endif
