// SPDX-License-Identifier: MIT
// A checkpoint file written tensor by tensor, of any type and larger than memory: the header first, then data
// at known places, by any thread in any order; the file appears under its name only when it is finished.
// (safetensors_write.h is the small one: F32, filled in place.)
#ifndef TK_STORE_OUT_FILE_H
#define TK_STORE_OUT_FILE_H

#include "base/buf.h"
#include "base/status.h"
#include "num/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_out_tensor {
    char *name;
    tk_dtype dtype;
    int n_dim;
    int64_t dim[4]; // outermost first; the last is a multiple of the type's block length
    // filled by tk_out_place:
    uint64_t bytes, at; // at: from the begin of the data
} tk_out_tensor;

// Places the tensors one behind the other, each on a multiple of alignment; *total is the data's length.
// TK_BAD_INPUT when a shape does not fit its type's blocks, TK_NOMEM when the sizes wrap.
tk_status tk_out_place(tk_out_tensor *t, size_t n, uint64_t alignment, uint64_t *total,
                       tk_err *err);
// Appends the header of a safetensors file (placed with alignment 1) to b, its length in front.
tk_status tk_out_header_safetensors(const tk_out_tensor *t, size_t n, tk_buf *b, tk_err *err);

typedef struct tk_out_file tk_out_file;
// Makes path.incomplete with room for the header and the data and writes the header. TK_IO when the disk is
// too small: nothing is left behind then.
tk_status tk_out_open(const char *path, const tk_buf *header, uint64_t data_bytes,
                      tk_out_file **out, tk_err *err);
// Writes len bytes at a place in the data. Any thread; err is the caller's own.
tk_status tk_out_write(const tk_out_file *f, uint64_t at, const void *p, size_t len, tk_err *err);
// Flushes and renames into place, or (commit = false) removes what was made. Frees f (NULL is fine).
tk_status tk_out_close(tk_out_file *f, bool commit, tk_err *err);

#endif
