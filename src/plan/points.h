// SPDX-License-Identifier: MIT
// Measured points: a CSV (RFC 4180 quoting, CRLF or LF, a header line that names the columns in any order) whose
// rows are cut into fields and read for what the predictor needs. The measured value is not part of a point: it
// lies in an array beside it, so that a prediction cannot see it. Hostile input gives rows marked bad, never a
// crash (tests/fuzz/fuzz_points.c). Owner: the caller; constant once read.
#ifndef TK_PLAN_POINTS_H
#define TK_PLAN_POINTS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

#define TK_COL_MAP(X)                                                                              \
    X(ID, "id")                                                                                    \
    X(SPLIT, "split")                                                                              \
    X(KIND, "kind")                                                                                \
    X(MEASURED, "measured")                                                                        \
    X(SYSTEM, "system")                                                                            \
    X(ACCELERATOR, "accelerator")                                                                  \
    X(N_ACCEL, "n_accel")                                                                          \
    X(MODEL, "model")                                                                              \
    X(PRECISION, "precision")                                                                      \
    X(FRAMEWORK, "framework")                                                                      \
    X(PARALLELISM, "parallelism")                                                                  \
    X(ISL, "isl")                                                                                  \
    X(OSL, "osl")                                                                                  \
    X(CONCURRENCY, "concurrency_or_batch")                                                         \
    X(QOS, "qos")                                                                                  \
    X(METRIC, "metric")                                                                            \
    X(UNIT, "unit")                                                                                \
    X(SOURCE, "source")                                                                            \
    X(DATE, "date")                                                                                \
    X(NOTE, "note")

typedef enum tk_col {
#define X(id, name) TK_COL_##id,
    TK_COL_MAP(X)
#undef X
        TK_COL_COUNT
} tk_col;

// A parallel layout of one replica. 0 = not said.
typedef struct tk_layout {
    int tp, pp, dp, ep, moe_tp, cp; // dp: replicas of attention that share the experts
    int vp, mbs;                    // training: virtual stages, sequences of a micro-batch
    int fsdp;
    int replicas;      // of the whole, "x8"
    int max_batch;     // sequences, "batch 512/rank" times ranks is the reader's work
    bool attention_dp; // said in words, width not given
} tk_layout;

typedef struct tk_point {
    const char *f[TK_COL_COUNT];           // fields; "" when the column is absent
    const char *bad;                       // why the row cannot be read, or NULL
    double n_accel, isl, osl, concurrency; // 0 = not said
    double year;                           // of the measurement, 2025.5 = mid 2025; 0 = not said
    bool disagg;
    tk_layout run, prefill;  // run: the decode side when disaggregated
    int n_prefill, n_decode; // workers
} tk_point;

typedef struct tk_points {
    tk_point *p;
    double *value; // NAN when it is no finite number
    int n;
    char *text_; // what the fields point into
} tk_points;

// Reads text (kept by nobody). TK_BAD_INPUT when there is no header with the needed columns, or it is too long.
tk_status tk_points_read(const char *text, size_t len, const char *where, tk_points *out,
                         tk_err *err);
tk_status tk_points_load(const char *path, tk_points *out, tk_err *err);
void tk_points_free(tk_points *p);

tk_layout tk_layout_parse(const char *text);

#endif
