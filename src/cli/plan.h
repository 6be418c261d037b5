// SPDX-License-Identifier: MIT
// `tokamak plan`: one option table (cmd_plan.c), one function per subcommand (plan_*.c).
#ifndef TK_CLI_PLAN_H
#define TK_CLI_PLAN_H

#include "cli/cmd.h"
#include "plan/fit.h"
#include "plan/search.h"
#include "plan/tco.h"

typedef struct tk_plan_options {
    tk_cmd_common common;
    const char *data;
    const char *json;
    const char *points;
    bool rows, calibrate, aggregated;
    const char *system, *backend, *precision, *model, *qos, *html;
    int64_t n_accel, n_request, seed;
    double isl, osl, hit, ttft_ms, tpot_ms, latency_ms, rate, power_kw, year;
    double price, usd_per_h, kwh, pue, utilisation, years, interest, api_price;
    double batch, blocks;
} tk_plan_options;

// Everything after the subcommand's name.
typedef struct tk_plan_call {
    const tk_plan_options *o;
    tk_catalog *catalog;
    const char *const *arg;
    int n_arg;
} tk_plan_call;

// Writes j to path ("-": standard output) and gives it back. path NULL: only gives it back.
tk_status tk_plan_write_json(json_t *j, const char *path, tk_err *err);

// Reads the options that describe one case (model, system, service level) into a search.
tk_status tk_plan_case_of(const tk_plan_call *c, const char *model, const char *system,
                          const tk_constants *k, tk_search_in *in, tk_err *err);
// Total cost of the accelerators of an option, from the options' prices.
tk_status tk_plan_cost_of(const tk_plan_call *c, const tk_search_in *in, const tk_option *o,
                          tk_tco_in *tin, tk_tco_out *tout, tk_err *err);
// The 80 % interval of a rate of an option: of one user, or v tokens/s in all.
void tk_plan_rate_interval(const tk_constants *k, const tk_search_in *in, tk_tier tier,
                           const tk_option *o, bool user, double v, double *low, double *high);
// "aggregated serving: TP8, 102 tok/s per accelerator"; says so when that kind has none within the level.
void tk_plan_print_kind(const tk_search_out *s, tk_kind kind);
// What moving a prompt's cache costs, one line without its end; only of disaggregated options.
void tk_plan_print_transfer(const tk_option *o);

tk_status tk_plan_model(const tk_plan_call *c, const char *model, tk_err *err);
tk_status tk_plan_compare(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_simulate(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_calibrate(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_fit(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_validate(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_list(const tk_plan_call *c, tk_err *err);

#endif
