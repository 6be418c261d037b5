// SPDX-License-Identifier: MIT
// The parts of `tokamak synth` (docs/synth.md): which tensors a model of random weights has, the values they
// are drawn from, and its tokenizer. One thread, but for tk_synth_write's own workers.
#ifndef TK_CLI_SYNTH_H
#define TK_CLI_SYNTH_H

#include "base/json.h"
#include "base/status.h"
#include "model/program.h"
#include "store/gguf_write.h"
#include "store/out_file.h"

#include <stdbool.h>
#include <stdint.h>

// What a tensor's bytes are drawn from. Groups of 4 bits and their scales are two tensors of one
// source.
typedef enum tk_synth_fill {
    TK_SYNTH_NORMAL,     // normal(0, scale) in the tensor's own type
    TK_SYNTH_CONST,      // scale everywhere
    TK_SYNTH_FP8_CODES,  // normal codes that use the range of E4M3
    TK_SYNTH_FP8_SCALES, // F32, so that codes times scales are normal(0, scale), spread by +-10 %
    TK_SYNTH_NVFP4_CODES,
    TK_SYNTH_NVFP4_SCALES,
    TK_SYNTH_MXFP4_CODES,
    TK_SYNTH_MXFP4_SCALES,
    TK_SYNTH_INT4_CODES,
    TK_SYNTH_INT4_SCALES,
    TK_SYNTH_SHAPE, // shape[]
    TK_SYNTH_EXACT, // exact[]
} tk_synth_fill;

typedef struct tk_synth_source {
    tk_synth_fill fill;
    float scale;
    uint64_t seed;      // of the tensor; codes and their scales share it
    const float *exact; // EXACT: the values, borrowed
    int64_t shape[2];   // SHAPE: the values
} tk_synth_source;

typedef struct tk_synth_plan {
    tk_out_tensor *tensors;
    tk_synth_source *sources; // same index
    size_t n, cap;
    uint64_t n_param;
    float *rope_freqs; // owned: divisors of llama3 scaling in a GGUF file
} tk_synth_plan;

// dtype: of --dtype, upper case. cfg->is_gguf says which file. TK_UNSUPPORTED when the file cannot say it.
tk_status tk_synth_plan_make(const tk_config *cfg, const char *dtype, uint64_t seed,
                             tk_synth_plan *out, tk_err *err);
void tk_synth_plan_free(tk_synth_plan *p);
// Draws and writes every tensor (placed already) with n_thread threads; progress on stderr unless quiet.
tk_status tk_synth_write(const tk_synth_plan *p, const tk_out_file *f, uint64_t seed, int n_thread,
                         bool quiet, tk_err *err);

// GGUF metadata of the model and its tokenizer.
tk_status tk_synth_metadata(const tk_config *cfg, const char *name, const char *dtype,
                            tk_gguf_meta *m, tk_err *err);
// config.json with its quantization_config, tokenizer.json, tokenizer_config.json in folder dir.
tk_status tk_synth_write_folder(const tk_config *cfg, const json_t *config, const char *dtype,
                                const char *dir, tk_err *err);

// A byte-level vocabulary of cfg->n_vocab entries: control tokens where the config wants them, the 256 bytes
// in the first free places, then fillers no text makes. Strings are GPT-2's alphabet, in new memory.
typedef struct tk_synth_vocab {
    char **tokens;
    int32_t *kinds; // GGUF's: 1 normal, 3 control
    size_t n;
} tk_synth_vocab;
tk_status tk_synth_vocab_make(const tk_config *cfg, tk_synth_vocab *v, tk_err *err);
void tk_synth_vocab_free(tk_synth_vocab *v);
extern const char tk_synth_merge[];    // the one merge, which llama.cpp insists on having
extern const char tk_synth_template[]; // a plain chat template

#endif
