// SPDX-License-Identifier: MIT
// Options of every command that runs a model.
#ifndef TK_CLI_MODEL_OPTS_H
#define TK_CLI_MODEL_OPTS_H

#include "base/opt.h"
#include "engine/engine.h"

typedef struct tk_model_opts {
    int64_t threads; // 0 = all
    int64_t ctx;     // 0 = automatic
    const char *compute, *kv_dtype;
    bool repack, no_repack; // no_repack: of commands that pack by default
    const char *repack_cache;
    bool deterministic;
} tk_model_opts;

#define TK_MODEL_OPTS_KV "auto f32 bf16 bfloat16 fp8 fp8_e4m3"
#define TK_MODEL_OPTS_KV_HELP                                                                      \
    "Type of the KV cache: auto (bf16, default), bf16, fp8 (E4M3, a scale for 128 values), f32."

#define TK_MODEL_OPTS_CACHE_HELP                                                                   \
    "Pack the weights, and keep them in this folder, so that the next start reads them in place "  \
    "of "                                                                                          \
    "packing."

#define TK_MODEL_OPTS(options_type)                                                                \
    {.name = "threads",                                                                            \
     .aliases = "t",                                                                               \
     .type = TK_OPT_INT,                                                                           \
     .arg = "N",                                                                                   \
     .min = 0,                                                                                     \
     .max = 1024,                                                                                  \
     .help = "Threads that compute (default 0: every processor this process may use).",            \
     .offset = offsetof(options_type, model.threads)},                                             \
        {.name = "ctx-size",                                                                       \
         .aliases = "c max-model-len",                                                             \
         .type = TK_OPT_INT,                                                                       \
         .arg = "N",                                                                               \
         .min = 0,                                                                                 \
         .max = 16777216,                                                                          \
         .help = "Tokens of context (default 0: what the task needs).",                            \
         .offset = offsetof(options_type, model.ctx)},                                             \
        {.name = "repack",                                                                         \
         .type = TK_OPT_FLAG,                                                                      \
         .help = "Pack the weights for this processor: faster, for a copy in memory in place of "  \
                 "the mapped file.",                                                               \
         .offset = offsetof(options_type, model.repack)},                                          \
        {.name = "repack-cache",                                                                   \
         .type = TK_OPT_STR,                                                                       \
         .arg = "DIR",                                                                             \
         .help = TK_MODEL_OPTS_CACHE_HELP,                                                         \
         .offset = offsetof(options_type, model.repack_cache)},                                    \
        {.name = "deterministic",                                                                  \
         .type = TK_OPT_FLAG,                                                                      \
         .help = "Leave out what rounds otherwise for many tokens at once: an answer depends "     \
                 "neither on how its prompt is cut into steps nor on other requests.",             \
         .offset = offsetof(options_type, model.deterministic)},                                   \
        {.name = "kv-cache-dtype",                                                                 \
         .type = TK_OPT_CHOICE,                                                                    \
         .arg = "TYPE",                                                                            \
         .choices = TK_MODEL_OPTS_KV,                                                              \
         .help = TK_MODEL_OPTS_KV_HELP,                                                            \
         .offset = offsetof(options_type, model.kv_dtype)},                                        \
    {                                                                                              \
        .name = "compute", .type = TK_OPT_CHOICE, .arg = "ref|best", .choices = "ref best",        \
        .help = "Kernels: best for this machine (default), or the reference ones (with a "         \
                "float32 cache by default).",                                                      \
        .offset = offsetof(options_type, model.compute)                                            \
    }

// The tk_kv_dtype of a choice of TK_MODEL_OPTS_KV, or -1: auto, or NULL.
int tk_model_opts_kv(const char *name);
// TK_USAGE when TOKAMAK_CPU is wrong.
tk_status tk_model_opts_apply(const tk_model_opts *o, tk_engine_opts *out, tk_err *err);

#endif
