// SPDX-License-Identifier: MIT
// Energy rows: ML.ENERGY (accelerators alone), MLPerf Power (the wall), training nodes.
#include "plan/predict.h"

#include "plan/energy.h"

#include <string.h>

static bool has(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

static tk_status serving(const tk_ask *a, tk_err *err)
{
    const tk_point *r = a->row;
    const char *m = r->f[TK_COL_METRIC];
    tk_serve_in in;
    tk_serve_out o;
    tk_power w;
    tk_status st;
    TK_TRY(tk_predict_case(a, &in, err));
    if (strncmp(r->f[TK_COL_SYSTEM], "MLPerf", 6) == 0 && has(r->f[TK_COL_QOS], "erver"))
        in.users = 0;
    TK_TRY(tk_serve(&in, &o, err));
    tk_energy_serving(&in, &o, &w);
    double n = in.n_decode * tk_layout_ranks(&in.decode.at);
    bool wall = has(r->f[TK_COL_UNIT], "wall") || has(m, "wall") || has(m, "node");
    tk_trait t;
    tk_predict_serving_trait(a, &in, TK_STAGE_ENERGY, &t);
    double watts = n * (wall ? w.node_w : w.accel_w) * tk_effects_scale(a->p->fx, &t);
    bool per_token = has(m, "J_per_output_token");
    a->out->cls = per_token ? TK_CLASS_ENERGY : TK_CLASS_POWER;
    a->out->value = per_token ? watts / o.out_tok_per_s : watts;
done:
    return st;
}

static tk_status training(const tk_ask *a, tk_err *err)
{
    const char *m = a->row->f[TK_COL_METRIC];
    tk_power w;
    tk_energy_training(a->out->hw, a->p->k, &w);
    double per_node = 8 * w.node_w;
    a->out->cls = TK_CLASS_POWER;
    if (has(m, "node_power_max")) {
        a->out->value = per_node * a->p->k->v[TK_P_PW_MAX];
        return TK_OK;
    }
    if (has(m, "node_power") || has(m, "system_wall_power")) {
        a->out->value = per_node;
        return TK_OK;
    }
    // the energy of a run: its predicted time at that power
    tk_point run = *a->row;
    run.f[TK_COL_METRIC] = "time_to_train";
    tk_ask b = {a->p, &run, a->out};
    tk_status st = tk_predict_training(&b, err);
    if (st != TK_OK) return st;
    double hours = a->out->value / 60;
    a->out->value = hours * w.node_w * run.n_accel * 1e-3;
    a->out->cls = TK_CLASS_ENERGY;
    return TK_OK;
}

tk_status tk_predict_energy(const tk_ask *a, tk_err *err)
{
    const char *m = a->row->f[TK_COL_METRIC];
    if (has(m, "energy_to_train") || has(m, "node_power")) return training(a, err);
    if (has(m, "J_per_output_token") || has(m, "power")) return serving(a, err);
    return tk_fail(err, TK_UNSUPPORTED, "metric \"%s\" is not modelled", m);
}
