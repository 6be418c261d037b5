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

// Up to 32 rows of A, BF16: where each half begins, and how many rows it has.
typedef struct tile_rows {
    const uint16_t *a[2];
    int64_t stride; // bytes from a row to the next
    int rows[2];
} tile_rows;

// Of n rows, ld words apart; configures the tiles for them.
static inline tile_rows tile_begin_rows(const uint16_t *x, int64_t ld, int n)
{
    tile_rows r = {.a = {x, x + 16 * ld},
                   .stride = ld * 2,
                   .rows = {n < 16 ? n : 16, n < 16   ? 0
                                             : n < 32 ? n - 16
                                                      : 16}};
    tile_begin(r.rows[0], r.rows[1]);
    return r;
}

static inline void tile_clear(const tile_rows *r)
{
    tile_zero(0);
    tile_zero(1);
    if (r->rows[1] == 0) return;
    tile_zero(2);
    tile_zero(3);
}

// C += A B over n_tile tiles of 32 columns; those of each panel follow each other.
static inline void tile_multiply(const tile_rows *r, const uint8_t *w0, const uint8_t *w1,
                                 int n_tile)
{
    for (int i = 0; i < n_tile; i++) {
        tile_load(6, w0 + 1024 * i, 64);
        tile_load(7, w1 + 1024 * i, 64);
        tile_load(4, r->a[0] + 32 * i, r->stride);
        tile_dot_bf16(0, 4, 6);
        tile_dot_bf16(1, 4, 7);
        if (r->rows[1] == 0) continue;
        tile_load(5, r->a[1] + 32 * i, r->stride);
        tile_dot_bf16(2, 5, 6);
        tile_dot_bf16(3, 5, 7);
    }
}

// C from and to rows of sixteen floats of each panel, ld floats apart.
static inline void tile_get(const tile_rows *r, const float *c0, const float *c1, int64_t ld)
{
    tile_load(0, c0, ld * 4);
    tile_load(1, c1, ld * 4);
    if (r->rows[1] == 0) return;
    tile_load(2, c0 + 16 * ld, ld * 4);
    tile_load(3, c1 + 16 * ld, ld * 4);
}
static inline void tile_put(const tile_rows *r, float *c0, float *c1, int64_t ld)
{
    tile_store(0, c0, ld * 4);
    tile_store(1, c1, ld * 4);
    if (r->rows[1] == 0) return;
    tile_store(2, c0 + 16 * ld, ld * 4);
    tile_store(3, c1 + 16 * ld, ld * 4);
}

#endif
