// SPDX-License-Identifier: MIT
// Attention with BF16 products of tiles: sixteen units of a panel are a B tile as they are, sixteen queries the rows of an
// A tile. Few queries, and widths that are no whole tiles, go by registers.
#include "kernels/avx512/dot_bf16.h"

#include "kernels/amx/tile.h"

enum {
    TILE_QUERIES = 32, // two A tiles
    TILE_PAIRS = 16,   // of a tile's depth
    TILES_FROM = 12    // queries from which tiles beat registers (estimated, as for weights)
};

static void dot_tiles(const uint8_t *const *unit, int n_panel, int n_pair, const uint16_t *x,
                      int64_t ld, int n_tok, const float *scale, dot_sum *sum)
{
    dot_sum c[TILE_QUERIES];
    tile_rows rows = tile_begin_rows(x, ld, n_tok);
    tile_clear(&rows);
    // the only panel counts twice
    tile_multiply(&rows, unit[0], unit[n_panel - 1], n_pair / TILE_PAIRS);
    tile_put(&rows, c[0].of[0], c[0].of[1], sizeof *c / sizeof(float));
    tile_end();
    for (int t = 0; t < n_tok; t++)
        for (int p = 0; p < n_panel; p++)
            v_store(sum[t].of[p], v_fma(v_load(c[t].of[p]), v_set(scale[p]), v_load(sum[t].of[p])));
}

static void dot_any(const uint8_t *const *unit, int n_panel, int n_pair, const uint16_t *x,
                    int64_t ld, int n_tok, const float *scale, dot_sum *sum)
{
    if (n_tok >= TILES_FROM && n_pair % TILE_PAIRS == 0)
        dot_tiles(unit, n_panel, n_pair, x, ld, n_tok, scale, sum);
    else
        dot_rows(unit, n_panel, n_pair, x, ld, n_tok, scale, sum);
}

#define ATTEND_FILL tk_kernels_fill_attend_amx
#define ATTEND_TOKS TILE_QUERIES
#define attend_dot dot_any

#include "kernels/tmpl/attend_bf16_tmpl.h"
