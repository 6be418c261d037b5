// SPDX-License-Identifier: MIT
// AMX tiles in plain C: what src/kernels/amx/tile.h asks for, with the checks that the processor makes.
#ifndef TK_EMULATE_AMX_H
#define TK_EMULATE_AMX_H

#include "avx512.h" // beside this file

#include "num/convert.h"

typedef struct emu_tiles {
    int configured;
    int rows[8], row_bytes[8];
    uint8_t data[8][16][64];
} emu_tiles;

static _Thread_local emu_tiles emu_tile;

#define tile_configure(c)                                                                          \
    do {                                                                                           \
        if ((c)->palette != 1 || (c)->start_row != 0) __builtin_trap();                            \
        memset(&emu_tile, 0, sizeof emu_tile);                                                     \
        emu_tile.configured = 1;                                                                   \
        for (int l = 0; l < 8; l++) {                                                              \
            emu_tile.rows[l] = (c)->rows[l];                                                       \
            emu_tile.row_bytes[l] = (c)->row_bytes[l];                                             \
            if ((c)->rows[l] > 16 || (c)->row_bytes[l] > 64) __builtin_trap();                     \
        }                                                                                          \
    } while (0)
#define tile_end() ((void)(emu_tile.configured = 0))

// Tiles of no rows may not be touched.
static inline void emu_tile_use(int t)
{
    if (!emu_tile.configured || emu_tile.rows[t] == 0) __builtin_trap();
}

static inline void tile_zero(int t)
{
    emu_tile_use(t);
    memset(emu_tile.data[t], 0, sizeof emu_tile.data[t]);
}

static inline void tile_load(int t, const void *p, int64_t stride)
{
    emu_tile_use(t);
    memset(emu_tile.data[t], 0, sizeof emu_tile.data[t]);
    for (int r = 0; r < emu_tile.rows[t]; r++)
        memcpy(emu_tile.data[t][r], (const char *)p + r * stride, (size_t)emu_tile.row_bytes[t]);
}

static inline void tile_store(int t, void *p, int64_t stride)
{
    emu_tile_use(t);
    for (int r = 0; r < emu_tile.rows[t]; r++)
        memcpy((char *)p + r * stride, emu_tile.data[t][r], (size_t)emu_tile.row_bytes[t]);
}

// BF16 of a tile; subnormals count as zero.
static inline float emu_bf16(int t, int row, int col)
{
    uint16_t h;
    memcpy(&h, &emu_tile.data[t][row][2 * col], sizeof h);
    return (h & 0x7F80) == 0 ? 0 : tk_f32_from_bf16(h);
}

static inline void tile_dot_bf16(int c, int a, int b)
{
    emu_tile_use(c);
    emu_tile_use(a);
    emu_tile_use(b);
    if (emu_tile.rows[c] != emu_tile.rows[a] || emu_tile.rows[b] * 4 != emu_tile.row_bytes[a] ||
        emu_tile.row_bytes[b] != emu_tile.row_bytes[c])
        __builtin_trap();
    for (int m = 0; m < emu_tile.rows[c]; m++)
        for (int n = 0; n < emu_tile.row_bytes[c] / 4; n++) {
            float s;
            memcpy(&s, &emu_tile.data[c][m][4 * n], sizeof s);
            for (int k = 0; k < emu_tile.row_bytes[a] / 4; k++)
                for (int i = 0; i < 2; i++)
                    s += emu_bf16(a, m, 2 * k + i) * emu_bf16(b, k, 2 * n + i);
            memcpy(&emu_tile.data[c][m][4 * n], &s, sizeof s);
        }
}

#endif
