// SPDX-License-Identifier: MIT
// Options of every command that draws tokens, and Ctrl-C.
#ifndef TK_CLI_SAMPLING_H
#define TK_CLI_SAMPLING_H

#include "base/opt.h"
#include "engine/generate.h"

typedef struct tk_sampling_opts {
    double temperature, top_p, min_p;
    int64_t top_k, seed, max_tokens;
    tk_opt_list stop;
} tk_sampling_opts;

#define TK_SAMPLING_DEFAULTS                                                                       \
    {                                                                                              \
        .top_p = 1, .max_tokens = -1                                                               \
    }

#define TK_SAMPLING_OPTS(options_type)                                                             \
    {.name = "temperature",                                                                        \
     .aliases = "temp",                                                                            \
     .type = TK_OPT_DOUBLE,                                                                        \
     .arg = "T",                                                                                   \
     .min = 0,                                                                                     \
     .max = 100,                                                                                   \
     .help = "Sampling temperature; 0 (default) takes the likeliest token.",                       \
     .offset = offsetof(options_type, sampling.temperature)},                                      \
        {.name = "top-p",                                                                          \
         .type = TK_OPT_DOUBLE,                                                                    \
         .arg = "P",                                                                               \
         .min = 1e-6,                                                                              \
         .max = 1,                                                                                 \
         .help = "Keep the likeliest tokens up to this probability mass (default 1).",             \
         .offset = offsetof(options_type, sampling.top_p)},                                        \
        {.name = "top-k",                                                                          \
         .type = TK_OPT_INT,                                                                       \
         .arg = "K",                                                                               \
         .min = 0,                                                                                 \
         .max = 1e9,                                                                               \
         .help = "Keep the K likeliest tokens (default 0: all).",                                  \
         .offset = offsetof(options_type, sampling.top_k)},                                        \
        {.name = "min-p",                                                                          \
         .type = TK_OPT_DOUBLE,                                                                    \
         .arg = "P",                                                                               \
         .min = 0,                                                                                 \
         .max = 1,                                                                                 \
         .help = "Drop tokens below P times the likeliest one's probability (default 0).",         \
         .offset = offsetof(options_type, sampling.min_p)},                                        \
        {.name = "seed",                                                                           \
         .aliases = "s",                                                                           \
         .type = TK_OPT_INT,                                                                       \
         .arg = "N",                                                                               \
         .help = "Seed of the draws (default 0).",                                                 \
         .offset = offsetof(options_type, sampling.seed)},                                         \
        {.name = "max-tokens",                                                                     \
         .aliases = "n n-predict",                                                                 \
         .type = TK_OPT_INT,                                                                       \
         .arg = "N",                                                                               \
         .min = 0,                                                                                 \
         .max = 16777216,                                                                          \
         .help = "Tokens to generate at most (default: 512, or what the context holds).",          \
         .offset = offsetof(options_type, sampling.max_tokens)},                                   \
    {                                                                                              \
        .name = "stop", .type = TK_OPT_LIST, .arg = "TEXT",                                        \
        .offset = offsetof(options_type, sampling.stop),                                           \
        .help = "Stop before this text; may be given several times."                               \
    }

// The request these options ask for; o must outlive it.
tk_request tk_sampling_request(const tk_sampling_opts *o);

// Set by SIGINT after tk_catch_interrupt; a second one ends the process at once.
extern atomic_int tk_interrupted;
void tk_catch_interrupt(void);

#endif
