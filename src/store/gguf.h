// SPDX-License-Identifier: MIT
// GGUF v3 (and v2) metadata as typed values; tensors are reached through store/checkpoint.h.
#ifndef TK_STORE_GGUF_H
#define TK_STORE_GGUF_H

#include "store/checkpoint.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// All return false when the checkpoint is no GGUF, or the key is absent or of another type. Strings are not
// NUL-terminated; they point into the mapping.
bool tk_gguf_str(const tk_ckpt *c, const char *key, const char **s, size_t *len);
bool tk_gguf_int(const tk_ckpt *c, const char *key, int64_t *v);   // any integer type or bool
bool tk_gguf_double(const tk_ckpt *c, const char *key, double *v); // any number type
size_t tk_gguf_array_len(const tk_ckpt *c, const char *key);       // 0 when absent
bool tk_gguf_array_str(const tk_ckpt *c, const char *key, size_t i, const char **s,
                       size_t *len); // O(1)
bool tk_gguf_array_int(const tk_ckpt *c, const char *key, size_t i, int64_t *v);
bool tk_gguf_array_double(const tk_ckpt *c, const char *key, size_t i, double *v);

#endif
