// SPDX-License-Identifier: MIT
#include "plan/predict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *tk_tier_name(tk_tier t)
{
    static const char *const names[] = {
#define X(id, name) name,
        TK_TIER_MAP(X)
#undef X
    };
    return names[t];
}

const char *tk_class_name(tk_class c)
{
    static const char *const names[] = {
#define X(id, name) name,
        TK_CLASS_MAP(X)
#undef X
    };
    return names[c];
}

tk_stage tk_class_stage(tk_class c)
{
    switch (c) {
    case TK_CLASS_TTFT:
    case TK_CLASS_TTFT_DISAGG: return TK_STAGE_TTFT;
    case TK_CLASS_TRAIN:
    case TK_CLASS_TRAIN_MOE:
    case TK_CLASS_TRAIN_TIME: return TK_STAGE_TRAIN;
    case TK_CLASS_POWER:
    case TK_CLASS_ENERGY: return TK_STAGE_ENERGY;
    default: return TK_STAGE_SERVE;
    }
}

void tk_predict_trait(const tk_predictor *p, const tk_point *row, const tk_prediction *of,
                      tk_trait *out)
{
    tk_prediction copy = *of;
    tk_ask a = {p, row, &copy};
    tk_serve_in in = {0};
    if (strcmp(row->f[TK_COL_KIND], "training") == 0)
        tk_predict_training_trait(&a, out);
    else {
        (void)tk_predict_case(&a, &in, NULL);
        tk_predict_serving_trait(&a, &in, tk_class_stage(of->cls), out);
    }
}

// "H200 (1000W CTS)" and "H200 @500W cap" are H200s: what stands behind the name is tried without.
static tk_status find_hw(const tk_ask *a, tk_err *err)
{
    const char *name = a->row->f[TK_COL_ACCELERATOR];
    if (a->out->hw) return TK_OK;
    if (strstr(name, " vs "))
        return tk_fail(err, TK_UNSUPPORTED, "a comparison of two systems is not one prediction");
    if (tk_catalog_hw(a->p->catalog, name, &a->out->hw, NULL) == TK_OK) return TK_OK;
    char head[64];
    size_t n = strcspn(name, "(@,");
    snprintf(head, sizeof head, "%.*s", (int)(n < 63 ? n : 63), name);
    return tk_catalog_hw(a->p->catalog, head, &a->out->hw, err);
}

void tk_predict(const tk_predictor *p, const tk_point *row, tk_prediction *out)
{
    *out = (tk_prediction){.backend = -1};
    tk_predict_again(p, row, out);
}

void tk_predict_again(const tk_predictor *p, const tk_point *row, tk_prediction *out)
{
    out->value = NAN;
    out->share = 1;
    out->refused[0] = 0;
    tk_ask a = {p, row, out};
    tk_err err = TK_ERR_INIT;
    tk_status st;
    if (row->bad) {
        st = tk_fail(&err, TK_BAD_INPUT, "%s", row->bad);
        goto done;
    }
    if (strstr(row->f[TK_COL_MEASURED], "PROJECTED")) {
        st = tk_fail(&err, TK_UNSUPPORTED, "a vendor's projection is no measurement");
        goto done;
    }
    TK_TRY(find_hw(&a, &err));
    out->backend = tk_backend_find(row->f[TK_COL_FRAMEWORK]);
    const char *kind = row->f[TK_COL_KIND];
    if (strcmp(kind, "training") == 0) {
        TK_TRY(tk_predict_training(&a, &err));
    } else if (strcmp(kind, "energy") == 0) {
        TK_TRY(tk_predict_energy(&a, &err));
    } else if (strcmp(kind, "inference") == 0) {
        TK_TRY(tk_predict_serving(&a, &err));
    } else {
        st = tk_fail(&err, TK_UNSUPPORTED, "kind \"%s\" is none of inference, training, energy",
                     kind);
        goto done;
    }
    if (!isfinite(out->value) || out->value <= 0)
        st = tk_fail(&err, TK_FAILED, "the model gives no finite number here");
done:
    if (st != TK_OK) {
        out->value = NAN;
        snprintf(out->refused, sizeof out->refused, "%.255s", err.msg);
    }
}
