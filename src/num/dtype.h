// SPDX-License-Identifier: MIT
// Every number format a weight can be stored in. A format is blocks of `block_len` values in `block_bytes`
// bytes. Values and layouts: docs/number-formats.md; source of the GGUF ones: ggml's quantisation blocks.
#ifndef TK_NUM_DTYPE_H
#define TK_NUM_DTYPE_H

#include <stdint.h>

// X(NAME, name, block_len, block_bytes)
#define TK_DTYPE_MAP(X)                                                                            \
    X(F32, "F32", 1, 4)                                                                            \
    X(F16, "F16", 1, 2)                                                                            \
    X(BF16, "BF16", 1, 2)                                                                          \
    X(F8_E4M3, "F8_E4M3", 1, 1)                                                                    \
    X(F8_E5M2, "F8_E5M2", 1, 1)                                                                    \
    X(F8_E8M0, "F8_E8M0", 1, 1)                                                                    \
    X(F4_E2M1, "F4_E2M1", 2, 1) /* two a byte, low nibble first; scales stand elsewhere */         \
    X(I4, "I4", 2, 1)           /* code less 8; two a byte, low nibble first; scales elsewhere */  \
    X(F64, "F64", 1, 8)                                                                            \
    X(I8, "I8", 1, 1)                                                                              \
    X(U8, "U8", 1, 1)                                                                              \
    X(I16, "I16", 1, 2)                                                                            \
    X(I32, "I32", 1, 4)                                                                            \
    X(I64, "I64", 1, 8)                                                                            \
    X(BOOL, "BOOL", 1, 1)                                                                          \
    X(Q4_0, "Q4_0", 32, 18)                                                                        \
    X(Q4_1, "Q4_1", 32, 20)                                                                        \
    X(Q5_0, "Q5_0", 32, 22)                                                                        \
    X(Q5_1, "Q5_1", 32, 24)                                                                        \
    X(Q8_0, "Q8_0", 32, 34)                                                                        \
    X(Q2_K, "Q2_K", 256, 84)                                                                       \
    X(Q3_K, "Q3_K", 256, 110)                                                                      \
    X(Q4_K, "Q4_K", 256, 144)                                                                      \
    X(Q5_K, "Q5_K", 256, 176)                                                                      \
    X(Q6_K, "Q6_K", 256, 210)                                                                      \
    X(IQ4_NL, "IQ4_NL", 32, 18)                                                                    \
    X(IQ4_XS, "IQ4_XS", 256, 136)                                                                  \
    X(MXFP4, "MXFP4", 32, 17) /* GGUF's block form: scale and values together */

typedef enum tk_dtype {
#define X(id, name, len, bytes) TK_DTYPE_##id,
    TK_DTYPE_MAP(X)
#undef X
        TK_DTYPE_COUNT
} tk_dtype;

const char *tk_dtype_name(tk_dtype t);
int tk_dtype_block_len(tk_dtype t);   // values per block
int tk_dtype_block_bytes(tk_dtype t); // bytes per block
// Bytes of n values; 0 when n is not a multiple of the block length, is negative, or the product wraps.
uint64_t tk_dtype_bytes(tk_dtype t, int64_t n);

// Decodes n values (a multiple of the block length) at src into out. The definition of the format: every
// faster decoder is compared with it. Not for formats whose scales stand elsewhere (F4_E2M1, I4, I8 and F8 decode
// to their unscaled values). Integers convert; BOOL gives 0 or 1.
void tk_dtype_decode(tk_dtype t, const void *src, int64_t n, float *out);

#endif
