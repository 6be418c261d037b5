// SPDX-License-Identifier: MIT
// Who goes next: priority first, then the key that has had the least, then who came first.
//
// Each key has a counter of the tokens it was served, outputs counted twice (the virtual token counter of
// Sheng et al., "Fairness in Serving Large Language Models", 2024). The smallest counter goes first, so a key
// that floods the queue only waits for itself; a key that comes back is lifted to the smallest counter of those
// present, so that nobody saves up by staying away.
//
// Ageing: for every TK_FAIR_AGE_NS that a key has waited without being served, its first job counts as one
// level more important than it is; among a key's own jobs the same holds of each job's own wait. So every job
// is served in the end, and a long queue of one key does not age past another key's.
//
// Owner: engine thread. Time comes from outside.
#ifndef TK_ENGINE_FAIR_H
#define TK_ENGINE_FAIR_H

#include <stdint.h>

typedef struct tk_fair tk_fair;

#define TK_FAIR_AGE_NS 10000000000u // 10 s

// max_job: most jobs present at once. Never NULL.
tk_fair *tk_fair_new(int32_t max_job);
void tk_fair_free(tk_fair *f); // NULL is fine

// A job of this key has come (its index for the calls below); has gone.
int32_t tk_fair_enter(tk_fair *f, uint64_t key);
void tk_fair_leave(tk_fair *f, int32_t i_key);
// The key was served: a job of it was started; these tokens were computed for it.
void tk_fair_started(tk_fair *f, int32_t i_key, uint64_t now_ns);
void tk_fair_charge(tk_fair *f, int32_t i_key, int32_t n_prompt, int32_t n_out);

// One choice: offer every candidate, then pick. order breaks ties, lower first.
void tk_fair_offer(tk_fair *f, int32_t i_key, int32_t priority, uint64_t since_ns, uint64_t order,
                   uint64_t now_ns, void *candidate);
// The chosen candidate, NULL when none was offered; the next choice begins.
void *tk_fair_pick(tk_fair *f, uint64_t now_ns);

#endif
