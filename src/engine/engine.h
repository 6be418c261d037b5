// SPDX-License-Identifier: MIT
// A model ready to answer: checkpoint, program, exec, and (when the files have them) tokenizer and chat
// template. Runs one request at a time; for many at once see service.h. Owner: the thread that opened it.
#ifndef TK_ENGINE_ENGINE_H
#define TK_ENGINE_ENGINE_H

#include "base/status.h"
#include "exec/exec.h"
#include "model/program.h"
#include "sample/sampler.h"
#include "store/checkpoint.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct tk_engine tk_engine;

typedef struct tk_engine_opts {
    int n_thread;             // 0 = all processors
    tk_isa isa;               // highest instruction set
    bool reference;           // --compute ref: reference kernels
    int kv_dtype;             // tk_kv_dtype; -1 = BF16, float32 with the reference kernels
    int32_t n_ctx;            // tokens of cache; 0 = the model's own limit, at most 4096
    bool repack, exact;       // see tk_exec_opts; not with reference
    const char *repack_cache; // see tk_exec_opts; borrowed until tk_engine_load has returned
    int mla_expand_from;      // see tk_exec_opts
} tk_engine_opts;

tk_engine_opts tk_engine_opts_default(void);
// What `kv_dtype` comes to.
tk_kv_dtype tk_engine_opts_kv(const tk_engine_opts *o);

// MODEL as tk_locate takes it. Opening maps files and checks shapes; tk_engine_load takes the memory, so that
// a plan can be shown between the two.
tk_status tk_engine_open(const char *model, const tk_engine_opts *opts, tk_engine **out,
                         tk_err *err);
void tk_engine_close(tk_engine *e); // NULL is fine

const tk_ckpt *tk_engine_ckpt(const tk_engine *e);
const tk_program *tk_engine_program(const tk_engine *e);

// Sets the cache to n_ctx tokens (0 = as in the options) and takes the memory. TK_NOMEM with the arithmetic
// when it cannot fit.
tk_status tk_engine_load(tk_engine *e, int32_t n_ctx, tk_err *err);
tk_exec *tk_engine_exec(tk_engine *e); // NULL before load

// Called for each new token. Return false to stop (counts as a stop, not as an error).
typedef bool (*tk_token_fn)(void *ctx, int32_t id, double logprob);

typedef struct tk_generation {
    int32_t n_prompt, n_out; // tokens; n_out without the end token
    bool ended;              // by an end token (else: limit, or the callback)
    bool stopped;            // by the callback
    double ttft_s, prefill_s, decode_s;
} tk_generation;

// Prefills prompt after what the sequence holds (see tk_engine_reset) and generates at most max_tokens.
// end ids: [n_end]. *interrupt (may be NULL) is looked at between steps: non-zero = TK_INTERRUPTED.
tk_status tk_engine_generate(tk_engine *e, const int32_t *prompt, int32_t n_prompt,
                             int32_t max_tokens, const tk_sample_opts *sample, const int32_t *end,
                             int n_end, tk_token_fn fn, void *ctx, const atomic_int *interrupt,
                             tk_generation *out, tk_err *err);
// Keeps the first n tokens of the sequence's cache.
void tk_engine_rewind(tk_engine *e, int32_t n_tok);
int32_t tk_engine_n_past(const tk_engine *e);

#endif
