// SPDX-License-Identifier: MIT
// The catalogues people edit: data/hardware/*.json and data/models/*.json. Every number stands there with its
// unit and its source, every source with its date; the loader refuses numbers without them, and entries that
// carry the usual mistakes: sparse rates, GB for GiB, both-way link rates. Read once, then constant; any thread.
#ifndef TK_PLAN_CATALOG_H
#define TK_PLAN_CATALOG_H

#include "plan/shape.h"

typedef enum tk_prec { TK_PREC_BF16, TK_PREC_FP8, TK_PREC_FP4, TK_PREC_COUNT } tk_prec;

// X(id, name in the catalogue, group of fitted utilisations)
#define TK_GEN_MAP(X)                                                                              \
    X(AMPERE, "ampere")                                                                            \
    X(HOPPER, "hopper")                                                                            \
    X(BLACKWELL, "blackwell")                                                                      \
    X(ADA, "ada")                                                                                  \
    X(ASCEND, "ascend")                                                                            \
    X(MUSA, "musa")                                                                                \
    X(CPU, "cpu")

typedef enum tk_gen {
#define X(id, name) TK_GEN_##id,
    TK_GEN_MAP(X)
#undef X
        TK_GEN_COUNT
} tk_gen;

// An accelerator, or a system of n_accel equal ones. Rates are dense, links one way, bytes are bytes.
typedef struct tk_hw {
    char name[48], title[96], part[48]; // part: the accelerator's own entry
    tk_gen gen;
    bool is_system;
    double flops[TK_PREC_COUNT]; // FLOP/s; 0 = the part has no such rate
    double mem_bytes, mem_usable_bytes, mem_bytes_per_s;
    double link_bytes_per_s,
        net_bytes_per_s; // within the scale-up domain and beyond, per accelerator
    int scale_up;        // accelerators of one domain
    int n_accel;
    double tdp_w, provisioned_w;   // per accelerator; 0 = unknown
    double max_power_w, price_usd; // of the system; 0 = unknown
    double usd_per_h[3]; // hyperscaler owner, neocloud owner, three-year rental; 0 = unknown
    char sources[256];   // joined, for reports
    json_t *json;        // the file
} tk_hw;

enum { TK_MTP_MAX = 8 };

typedef struct tk_model_entry {
    char name[64], title[96];
    tk_shape shape;
    char default_precision[16];
    double accepted[TK_MTP_MAX]; // tokens per step at draft depth k; [0] = 0: not measured
    int n_accepted;
    double training_batch; // sequences, where a published table of runs leaves it out; 0 = none
    double mlperf_input;   // mean tokens of a prompt in MLPerf's data set for this model; 0 = none
    char sources[256];
    json_t *json;
} tk_model_entry;

typedef struct tk_catalog tk_catalog;

// dir NULL: $TOKAMAK_DATA, else the source tree's data/, else the installed copy. Free with tk_catalog_close.
tk_status tk_catalog_open(const char *dir, tk_catalog **out, tk_err *err);
void tk_catalog_close(tk_catalog *c); // NULL is fine
const char *tk_catalog_dir(const tk_catalog *c);

// Looked up by name or alias, case and punctuation aside; TK_BAD_INPUT suggests the nearest name. Borrowed.
tk_status tk_catalog_hw(const tk_catalog *c, const char *name, const tk_hw **out, tk_err *err);
// The same for a model; a path to a config.json (or a folder with one) also works, and is kept by the catalogue.
tk_status tk_catalog_model(tk_catalog *c, const char *name, const tk_model_entry **out,
                           tk_err *err);
int tk_catalog_hw_count(const tk_catalog *c);
const tk_hw *tk_catalog_hw_at(const tk_catalog *c, int i);
int tk_catalog_model_count(const tk_catalog *c);
const tk_model_entry *tk_catalog_model_at(const tk_catalog *c, int i);

// One entry, checked, without a folder: part is the accelerator a system refers to (NULL for accelerators).
tk_status tk_catalog_read_hw(const json_t *j, const tk_hw *part, const char *where, tk_hw *out,
                             tk_err *err);

const char *tk_gen_name(tk_gen g);
const char *tk_prec_name(tk_prec p);
// "DeepSeek-R1 (x)" -> "deepseekr1x": what names are compared by.
void tk_catalog_fold(const char *name, char *out, size_t cap);

#endif
