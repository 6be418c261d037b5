// SPDX-License-Identifier: MIT
// AMX tiles: shapes and the few instructions used. tests/emulate/amx.h replaces them where the processor has
// none. A thread may use tiles between tile_begin and tile_end only; outside, the system has nothing to save.
#ifndef TK_KERNELS_AMX_TILE_H
#define TK_KERNELS_AMX_TILE_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

// ldtilecfg's operand: rows and bytes a row of each tile.
typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

#ifndef TK_EMULATE_AMX_H
// gcc 12 declares only 8 of the operand's 64 bytes as read, and drops the stores of the others.
static inline void tile_configure(const tile_config *c)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*c));
}
static inline void tile_end(void)
{
    __asm__ volatile("tilerelease");
}
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, p, stride) _tile_loadd(t, p, stride)
#define tile_store(t, p, stride) _tile_stored(t, p, stride)
#define tile_dot_bf16(c, a, b) _tile_dpbf16ps(c, a, b)
#endif

// Tiles 0-3: C of (tokens 0, 1) x (panels 0, 1); 4, 5: A, tokens x 32 columns; 6, 7: B, 16 pairs x 16 rows of W.
static inline void tile_begin(int rows0, int rows1)
{
    tile_config c = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        int rows = t >= 6 ? 16 : t == 4 || t < 2 ? rows0 : rows1;
        c.rows[t] = (uint8_t)rows;
        c.row_bytes[t] = rows ? 64 : 0;
    }
    tile_configure(&c);
}

#endif
