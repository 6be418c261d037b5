// SPDX-License-Identifier: MIT
// Weights packed for the kernels: the same numbers as the stored matrix, in the order in which registers want
// them. One packing serves every instruction set and every batch size.
//
// Sixteen rows make a panel; a 64-byte unit of it holds the same few columns of all sixteen, four bytes a row,
// so that lane r of a register always means row r and no sum runs across lanes. Column order inside a unit is
// such that `and`, `shift` of its sixteen 32-bit lanes gives pairs of neighbouring columns as 16-bit words, and
// (but for FP8) its bytes the columns k0 k4 k1 k5 or k2 k6 k3 k7 of eight:
//
//   8 bits  8 columns two units, bytes k0 k4 k1 k5 and k2 k6 k3 k7:  w & 0x00ff = (k0, k1), w >> 8 = (k4, k5)
//   4 bits  8 columns a unit:   (w >> 4 i) & 0x000f = (k[2i], k[2i + 1]),  w & 0x0f = k0 k4 k1 k5, w >> 4 the others
//   2 bits  16 columns a unit:  w & 0x03 = k0 k4 k1 k5, (w >> 2) & 0x03 = k2 k6 k3 k7, then k8 ..
//   FP8     4 columns a unit, bytes k0 k2 k1 k3
//   BF16    2 columns a unit: the words themselves
//
// A panel is all its units, then all its scales (scale_off), then padding to 64 bytes. Rows past n_out are 0.
//
//   form   units                          scales                                       value             bytes as
//   Q8     8 a group of 32, q + 128       f16 d [16] a group                           d q               Q8_0
//   Q4     4 a group of 32, q + 8         f16 d [16]                                   d q               Q4_0
//   Q4M    4 a group of 32                f16 d [16], m [16]                           d q + m           Q4_1
//   Q4K    32 a superblock of 256         f16 d [16], dmin [16], 8 x (u8 s [16], m)    d s q - dmin m    Q4_K + 3 %
//   Q6K    16 x (2 of 4, 1 of 2 bits)     f16 d [16], 16 x s8 s [16]                   d s (q - 32)      Q6_K
//   MX4    4 a group of 32, E2M1 codes    e8m0 [16]                                    2^(s - 128) 2e    MXFP4
//   NV4    2 a group of 16, E2M1 codes    e4m3 [16]                                    s e global        NVFP4
//   BF16   one for 2 columns              -                                            w                 BF16
//   FP8    one for 4 columns, E4M3        f32 s a block of 128 columns                 s e               FP8 128x128
#ifndef TK_NUM_PACKED_H
#define TK_NUM_PACKED_H

#include "num/matrix.h"

#define TK_PACK_MAP(X)                                                                             \
    X(NONE, "none")                                                                                \
    X(Q8, "q8")                                                                                    \
    X(Q4, "q4")                                                                                    \
    X(Q4M, "q4m")                                                                                  \
    X(Q4K, "q4k")                                                                                  \
    X(Q6K, "q6k")                                                                                  \
    X(MX4, "mx4")                                                                                  \
    X(NV4, "nv4")                                                                                  \
    X(BF16, "bf16")                                                                                \
    X(FP8, "fp8")

typedef enum tk_pack {
#define X(id, name) TK_PACK_##id,
    TK_PACK_MAP(X)
#undef X
        TK_PACK_COUNT
} tk_pack;

enum { TK_PANEL_ROWS = 16, TK_UNIT_BYTES = 64, TK_GROUP = 32, TK_SUPER = 256, TK_FP8_BLOCK = 128 };

typedef struct tk_packed {
    const uint8_t *data; // panels, 64-byte aligned
    size_t panel_bytes;
    size_t scale_off; // of a panel's scales
    int64_t n_out, n_in;
    tk_pack kind; // NONE: not packed
    float scale_global;
} tk_packed;

// The form that holds w's numbers exactly, or TK_PACK_NONE: there is none, its columns do not fill groups, or a
// scale of I4 or I8 is no f16, for which all its scales are read.
tk_pack tk_pack_of(const tk_matrix *w);
const char *tk_pack_name(tk_pack kind);
// Shape and sizes of w packed, data NULL; kind NONE when tk_pack_of says so.
tk_packed tk_packed_shape(const tk_matrix *w);
int64_t tk_packed_panels(const tk_packed *p);
uint64_t tk_packed_bytes(const tk_packed *p);
// Packs panel i of w to out (panel_bytes, any content before).
void tk_pack_panel(const tk_matrix *w, const tk_packed *shape, int64_t i_panel, uint8_t *out);

// out[0..n) = W[row][col..col + n): the definition of the forms. col a multiple of 256.
void tk_packed_decode(const tk_packed *p, int64_t row, int64_t col, int64_t n, float *out);

#endif
