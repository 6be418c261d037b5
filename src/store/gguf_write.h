// SPDX-License-Identifier: MIT
// The header of a GGUF v3 file: metadata put one by one, then the tensor list. The data is written with
// store/out_file.h. One owner, one thread; a failure sticks and shows in tk_gguf_header.
#ifndef TK_STORE_GGUF_WRITE_H
#define TK_STORE_GGUF_WRITE_H

#include "base/buf.h"
#include "base/status.h"
#include "store/out_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TK_GGUF_ALIGNMENT = 32 };

typedef struct tk_gguf_meta {
    tk_buf body;
    uint64_t n;
} tk_gguf_meta;

tk_gguf_meta tk_gguf_meta_make(void);
void tk_gguf_meta_free(tk_gguf_meta *m);
void tk_gguf_put_str(tk_gguf_meta *m, const char *key, const char *value);
void tk_gguf_put_u32(tk_gguf_meta *m, const char *key, uint32_t value);
void tk_gguf_put_f32(tk_gguf_meta *m, const char *key, float value);
void tk_gguf_put_bool(tk_gguf_meta *m, const char *key, bool value);
void tk_gguf_put_strs(tk_gguf_meta *m, const char *key, const char *const *values, size_t n);
void tk_gguf_put_i32s(tk_gguf_meta *m, const char *key, const int32_t *values, size_t n);

// ggml's number of a type; false when GGUF has none for it.
bool tk_gguf_type(tk_dtype t, uint32_t *ggml_type);
// Appends the whole header, padded to the alignment, to b. Tensors are placed with TK_GGUF_ALIGNMENT.
tk_status tk_gguf_header(const tk_gguf_meta *m, const tk_out_tensor *t, size_t n, tk_buf *b,
                         tk_err *err);

#endif
