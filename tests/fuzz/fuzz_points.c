// SPDX-License-Identifier: MIT
// The bytes as a CSV of measured points: read, every row predicted.
#include "plan/predict.h"

#include <stdint.h>
#include <stdlib.h>

double seen; // visible elsewhere, so that predictions are not optimised away

static tk_catalog *catalog;
static tk_params params;

static void close_catalog(void)
{
    tk_catalog_close(catalog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (catalog == NULL) {
        if (tk_catalog_open(NULL, &catalog, NULL) != TK_OK) abort();
        atexit(close_catalog);
        tk_params_prior(&params);
    }
    tk_points pts;
    if (tk_points_read((const char *)data, size, "input", &pts, NULL) != TK_OK) return 0;
    tk_predictor p = {catalog, &params, NULL};
    for (int i = 0; i < pts.n; i++) {
        tk_prediction out;
        tk_predict(&p, &pts.p[i], &out);
        if (out.refused[0] == 0) seen += out.value;
    }
    tk_points_free(&pts);
    return 0;
}
