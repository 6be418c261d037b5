// SPDX-License-Identifier: MIT
// The tile loop a GEMM comes down to: C 2x2 (tiles 0-3), A from L1 (4, 5), B from L2 (6, 7). Tiles hold data
// that is not zero: multiplying zeros runs at full speed even where the core is slowed down.
#include "kernels/probe.h"

#include <immintrin.h>
#include <stdint.h>

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

_Static_assert(sizeof(tile_config) == 64, "LDTILECFG reads 64 bytes");

// GCC 12's _tile_loadconfig tells the compiler that 8 bytes are read, so that it may leave out the stores of
// the rest; here all 64 are an operand.
static void configure(void)
{
    tile_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.row_bytes[i] = 64;
        c.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(c));
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

enum {
    TILE_BYTES = 1024,
    N_K = TK_PROBE_A_BYTES / TILE_BYTES / 2,       // steps along k: two rows of tiles of A
    N_N = TK_PROBE_B_BYTES / TILE_BYTES / 2 / N_K, // pairs of columns of tiles of B
};

static void load(const char *a, const char *b)
{
    _tile_loadd(4, a, 64);
    _tile_loadd(5, a + TILE_BYTES, 64);
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + TILE_BYTES, 64);
}

static TK_FN_PROBE_RATE(int8_2x2)
{
    configure();
    for (int64_t r = 0; r < n_round; r++)
        for (int i = 0; i < N_N * N_K; i++) {
            load((const char *)data + 2 * TILE_BYTES * (i % N_K),
                 (const char *)data + TK_PROBE_A_BYTES + 2 * TILE_BYTES * i);
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        }
    _tile_release();
    return (double)n_round * N_N * N_K * 4 * (16 * 16 * 64 * 2);
}

static TK_FN_PROBE_RATE(bf16_2x2)
{
    configure();
    for (int64_t r = 0; r < n_round; r++)
        for (int i = 0; i < N_N * N_K; i++) {
            load((const char *)data + 2 * TILE_BYTES * (i % N_K),
                 (const char *)data + TK_PROBE_A_BYTES + 2 * TILE_BYTES * i);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
    _tile_release();
    return (double)n_round * N_N * N_K * 4 * (16 * 16 * 32 * 2);
}

void tk_probe_fill_amx(tk_probe *p)
{
    p->amx_i8 = int8_2x2;
    p->amx_bf16 = bf16_2x2;
}
