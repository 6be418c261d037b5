// SPDX-License-Identifier: MIT
#include "cli/sampling.h"

#include <signal.h>
#include <stdlib.h>

atomic_int tk_interrupted; // relaxed: a flag looked at between steps

static void on_interrupt(int sig)
{
    (void)sig;
    if (atomic_exchange(&tk_interrupted, 1)) _Exit(5);
}

void tk_catch_interrupt(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &sa, NULL);
}

tk_request tk_sampling_request(const tk_sampling_opts *o)
{
    return (tk_request){
        .sample = {.temperature = o->temperature,
                   .top_p = o->top_p,
                   .top_k = o->top_k,
                   .min_p = o->min_p,
                   .seed = (uint64_t)o->seed},
        .max_tokens = o->max_tokens,
        .stop = o->stop.item,
        .n_stop = o->stop.n,
    };
}
