// SPDX-License-Identifier: MIT
#include "store/checkpoint.h"

#include <math.h>

enum { PART = 1024 }; // values; a multiple of every block length

static bool holds_numbers(tk_dtype t)
{
    switch (t) {
    case TK_DTYPE_I8:
    case TK_DTYPE_U8:
    case TK_DTYPE_I16:
    case TK_DTYPE_I32:
    case TK_DTYPE_I64:
    case TK_DTYPE_BOOL:
    case TK_DTYPE_I4:
    case TK_DTYPE_F4_E2M1: return false; // every code is a finite number
    default: return true;
    }
}

static tk_status verify_tensor(const tk_tensor *t, tk_err *err)
{
    const char *at = t->data;
    int64_t n = (int64_t)(t->data_bytes / (uint64_t)tk_dtype_block_bytes(t->dtype)) *
                tk_dtype_block_len(t->dtype);
    float part[PART];
    for (int64_t i = 0; i < n; i += PART, at += tk_dtype_bytes(t->dtype, PART)) {
        int64_t m = TK_MIN((int64_t)PART, n - i);
        tk_dtype_decode(t->dtype, at, m, part);
        for (int64_t k = 0; k < m; k++)
            if (!isfinite(part[k]))
                return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" (%s): value %lld is %g",
                               t->file, t->name, tk_dtype_name(t->dtype), (long long)(i + k),
                               (double)part[k]);
    }
    return TK_OK;
}

tk_status tk_ckpt_verify(const tk_ckpt *c, tk_err *err)
{
    tk_status st = TK_OK;
    for (size_t i = 0; st == TK_OK && i < tk_ckpt_tensor_count(c); i++) {
        const tk_tensor *t = tk_ckpt_tensor(c, i);
        if (holds_numbers(t->dtype)) st = verify_tensor(t, err);
    }
    return st;
}
