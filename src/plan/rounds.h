// SPDX-License-Identifier: MIT
// What a closed-loop benchmark sees at the start of answers: users who all send their first prompt at once, then the
// next when the last is answered, a few rounds long. The first round queues for the prompt pass; answers of like
// length end together, so later rounds come in waves that only slowly spread. No steady-state formula has this.
// Deterministic; nothing allocates; any thread. Percentiles under open arrivals: plan/sim.h.
#ifndef TK_PLAN_ROUNDS_H
#define TK_PLAN_ROUNDS_H

#include <stdbool.h>

typedef struct tk_rounds_in {
    double users, slots;        // of one replica; slots: sequences that may run at once
    double rounds;              // prompts of each user
    double step_s, step_more_s; // a decode step of no sequence, more of each
    double steps, spread;       // of an answer: mean, largest relative deviation (uniform)
    double prompt_s;            // of a pass per prompt
    double pass_s;              // of a pass whatever it carries
    double per_pass;            // prompts that a pass takes; below 1 a prompt takes several
    bool apart;                 // a pool of its own reads prompts: running answers do not wait
} tk_rounds_in;

// Mean seconds from a prompt's sending to the end of its last pass.
double tk_rounds_wait(const tk_rounds_in *in);

#endif
