// SPDX-License-Identifier: MIT
#include "num/matrix.h"

#include "num/convert.h"

#include <assert.h>

float tk_matrix_scale(const tk_matrix *w, int64_t i_block_out, int64_t i_block_in)
{
    int64_t at = i_block_out * w->scale_cols + i_block_in;
    float s;
    tk_dtype_decode(w->scale_dtype,
                    (const char *)w->scale + at * tk_dtype_block_bytes(w->scale_dtype), 1, &s);
    return s;
}

void tk_matrix_decode(const tk_matrix *w, int64_t row, int64_t col, int64_t n, float *out)
{
    const char *at = (const char *)w->data + (size_t)row * w->row_bytes;
    at += tk_dtype_bytes(w->dtype, col);
    tk_dtype_decode(w->dtype, at, n, out);
    if (w->scale_kind == TK_SCALE_NONE) return;
    int64_t i_out = w->scale_kind == TK_SCALE_GROUP ? row : row / w->block_out;
    for (int64_t k = 0; k < n;) {
        int64_t i_in = (col + k) / w->block_in, end = (i_in + 1) * w->block_in - col;
        float s = tk_matrix_scale(w, i_out, i_in);
        if (w->scale_kind == TK_SCALE_GROUP) s *= w->scale_global;
        for (; k < n && k < end; k++) out[k] *= s;
    }
}

uint64_t tk_matrix_bytes(const tk_matrix *w)
{
    uint64_t bytes = (uint64_t)w->n_out * w->row_bytes;
    if (w->scale_kind == TK_SCALE_NONE) return bytes;
    int64_t rows =
        w->scale_kind == TK_SCALE_GROUP ? w->n_out : (w->n_out + w->block_out - 1) / w->block_out;
    return bytes +
           (uint64_t)(rows * w->scale_cols) * (uint64_t)tk_dtype_block_bytes(w->scale_dtype);
}

tk_matrix tk_matrix_rows(const tk_matrix *w, int64_t row0, int64_t n)
{
    assert(row0 >= 0 && n >= 0 && row0 + n <= w->n_out);
    tk_matrix m = *w;
    m.data = (const char *)w->data + (size_t)row0 * w->row_bytes;
    m.n_out = n;
    if (w->scale_kind == TK_SCALE_NONE) return m;
    int64_t scale_row = row0;
    if (w->scale_kind == TK_SCALE_BLOCK2D) {
        assert(row0 % w->block_out == 0 || w->block_out >= w->n_out);
        scale_row = row0 / w->block_out;
    }
    m.scale =
        (const char *)w->scale + scale_row * w->scale_cols * tk_dtype_block_bytes(w->scale_dtype);
    return m;
}
