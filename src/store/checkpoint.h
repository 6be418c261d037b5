// SPDX-License-Identifier: MIT
// A checkpoint on disk, seen as named tensors: a Hugging Face snapshot folder (config.json, one or many
// safetensors with an index) or a GGUF file (single, or the first part of a split one). Files are mapped,
// never copied, never written. Every header number is checked before it is used. Any thread may read.
#ifndef TK_STORE_CHECKPOINT_H
#define TK_STORE_CHECKPOINT_H

#include "base/json.h"
#include "base/status.h"
#include "num/dtype.h"
#include "num/matrix.h"

#include <stddef.h>
#include <stdint.h>

typedef enum tk_ckpt_kind { TK_CKPT_HF, TK_CKPT_GGUF } tk_ckpt_kind;

typedef struct tk_tensor {
    const char *name;
    const char *file; // path of the file it lies in, for messages
    tk_dtype dtype;
    int n_dim;
    int64_t dim[8];      // outermost first ([out][in]); GGUF's headers say it the other way round
    const void *data;    // inside the mapping
    uint64_t data_bytes; // exactly what dtype and dims ask for (checked)
} tk_tensor;

typedef struct tk_ckpt tk_ckpt;

// Opens a folder or a .gguf file. Weights may be absent (vocabulary-only GGUF, tokenizer-only folder):
// then n_tensor is 0. TK_IO / TK_BAD_INPUT / TK_UNSUPPORTED name file, tensor and numbers.
tk_status tk_ckpt_open(const char *path, tk_ckpt **out, tk_err *err);
void tk_ckpt_close(tk_ckpt *c); // NULL is fine

tk_ckpt_kind tk_ckpt_kind_of(const tk_ckpt *c);
const char *tk_ckpt_path(const tk_ckpt *c); // as opened
size_t tk_ckpt_tensor_count(const tk_ckpt *c);
const tk_tensor *tk_ckpt_tensor(const tk_ckpt *c, size_t i);
const tk_tensor *tk_ckpt_find(const tk_ckpt *c, const char *name); // NULL when absent
uint64_t tk_ckpt_file_bytes(const tk_ckpt *c);                     // of all weight files
// Of the weight files' lengths and times of change: another number when one was written again.
uint64_t tk_ckpt_files_id(const tk_ckpt *c);

// HF: config.json as it is (NULL when the folder has none). GGUF: NULL, its metadata is reached through
// store/gguf.h. Borrowed.
const json_t *tk_ckpt_config(const tk_ckpt *c);
// HF: generation_config.json, or NULL. GGUF: NULL.
const json_t *tk_ckpt_generation_config(const tk_ckpt *c);
// HF: quantization_config of config.json, or the content of hf_quant_config.json ("quantization"), or NULL.
const json_t *tk_ckpt_quant_config(const tk_ckpt *c);

// The weight matrix called `name` (with ".weight" already in it for HF) with whatever scale tensors stand
// beside it (docs/research 1.4): X.weight + X.weight_scale_inv (FP8 128x128); X.weight + X.weight_scale (FP8
// per tensor or channel; U8 + E4M3 scale + X.weight_scale_2 = ModelOpt NVFP4); X.weight_packed +
// X.weight_scale (+ X.weight_global_scale, a divisor) = compressed-tensors NVFP4 / MXFP4; I32 weight_packed + X.weight_scale
// = its symmetric INT4; I8 X.weight + X.weight_scale = its INT8. Shape is what the
// model asks for; anything else, a missing scale, or a scale that is NaN, infinite or negative is
// TK_BAD_INPUT naming file, tensor and numbers. A 1-D tensor counts as n_out x 1 when n_in is 1.
tk_status tk_ckpt_matrix(const tk_ckpt *c, const char *name, int64_t n_out, int64_t n_in,
                         tk_matrix *out, tk_err *err);
// A slice [i] of a 3-D tensor [n][n_out][n_in] (GGUF's merged experts).
tk_status tk_ckpt_matrix_slice(const tk_ckpt *c, const char *name, int64_t n, int64_t i,
                               int64_t n_out, int64_t n_in, tk_matrix *out, tk_err *err);
// Reads every value of every tensor and refuses NaN and infinity, in weights and in scales that stand inside
// blocks: what opening cannot know without reading the whole file. Integers are passed over.
tk_status tk_ckpt_verify(const tk_ckpt *c, tk_err *err);
// True when the tensor `name` (or its packed form) exists.
bool tk_ckpt_has(const tk_ckpt *c, const char *name);

#endif
