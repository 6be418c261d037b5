// SPDX-License-Identifier: MIT
// A weight matrix in any stored format: W [n_out][n_in], row-major, y = W x. Points into mapped files, owns
// nothing. The scale scheme says how stored codes become values:
//   NONE       value = decode(code)
//   BLOCK2D    value = decode(code) * scale[i / block_out][j / block_in]     DeepSeek FP8: 128 x 128, ragged edges
//   GROUP      value = decode(code) * scale[i][j / group] * scale_global      NVFP4 (group 16, E4M3 scales),
//                                                                            MXFP4 (group 32, E8M0 scales),
//                                                                            INT4 and INT8 (any group)
//   CHANNEL is GROUP with group >= n_in; per-tensor FP8 is BLOCK2D with one block.
#ifndef TK_NUM_MATRIX_H
#define TK_NUM_MATRIX_H

#include "num/dtype.h"

#include <stddef.h>
#include <stdint.h>

typedef enum tk_scale_kind { TK_SCALE_NONE, TK_SCALE_BLOCK2D, TK_SCALE_GROUP } tk_scale_kind;

typedef struct tk_matrix {
    const void *data; // row i begins at data + i * row_bytes
    size_t row_bytes;
    int64_t n_out, n_in;
    tk_dtype dtype;
    tk_scale_kind scale_kind;
    tk_dtype scale_dtype;        // F32, BF16, F16, F8_E4M3 or F8_E8M0
    const void *scale;           // row-major [ceil(n_out / block_out)][scale_cols]
    int64_t scale_cols;          // ceil(n_in / block_in)
    int32_t block_out, block_in; // GROUP: block_out = 1
    float scale_global;          // multiplier, 1 when the format has none
} tk_matrix;

// out[0..n) = W[row][col..col+n). col and n are multiples of the format's block length (2 for FP4 and I4).
// The definition that every kernel's decoding is compared with.
void tk_matrix_decode(const tk_matrix *w, int64_t row, int64_t col, int64_t n, float *out);
// One scale as float, by its indices.
float tk_matrix_scale(const tk_matrix *w, int64_t i_block_out, int64_t i_block_in);
// Bytes of the codes plus the scales.
uint64_t tk_matrix_bytes(const tk_matrix *w);
// Rows [row0, row0 + n) of w as a matrix of its own. With BLOCK2D row0 must be a multiple of block_out
// (or the scale block count 1): asserted.
tk_matrix tk_matrix_rows(const tk_matrix *w, int64_t row0, int64_t n);

#endif
