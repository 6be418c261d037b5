// SPDX-License-Identifier: MIT
// Writes F32 tensors as one safetensors file, in place: the file is made at its final size, its data is
// filled through the pointers handed out, and it appears under its name only when it is finished.
#ifndef TK_STORE_SAFETENSORS_WRITE_H
#define TK_STORE_SAFETENSORS_WRITE_H

#include "base/status.h"

#include <stdbool.h>

#include <stddef.h>
#include <stdint.h>

typedef struct tk_st_writer tk_st_writer;

typedef struct tk_st_spec {
    const char *name;
    int64_t rows, cols;
} tk_st_spec;

// TK_IO when the file cannot be made or the disk is too small for it (nothing is left behind).
tk_status tk_st_writer_open(const char *path, const tk_st_spec *specs, int n, tk_st_writer **out,
                            tk_err *err);
float *tk_st_writer_data(tk_st_writer *w, int i); // [rows][cols] of tensor i
// Flushes and renames into place, or (commit = false) removes what was made. Frees w (NULL is fine).
tk_status tk_st_writer_close(tk_st_writer *w, bool commit, tk_err *err);

#endif
