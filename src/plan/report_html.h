// SPDX-License-Identifier: MIT
// One self-contained page of a comparison: no script, no font, no picture from elsewhere; figures are SVG, text
// from catalogues is escaped.
#ifndef TK_PLAN_REPORT_HTML_H
#define TK_PLAN_REPORT_HTML_H

#include "base/buf.h"
#include "plan/claims.h"
#include "plan/shapley.h"
#include "plan/tco.h"

typedef struct tk_side {
    const tk_hw *hw;
    tk_search_out search;
    tk_tco_in cost_in;
    tk_tco_out cost;
    double tok_low, tok_high; // 80 % interval of tokens/s per accelerator
    double p10, p50, p90;     // USD per 10^6 tokens, Monte Carlo
    tk_tier tier;
} tk_side;

typedef struct tk_report {
    const tk_model_entry *model;
    tk_qos qos;
    tk_side side[2];
    const tk_attribution *why; // from side 0 to side 1
    const tk_claims *claims;
    const char *constants_date;
    int n_row;
} tk_report;

void tk_report_html(const tk_report *r, tk_buf *out);

#endif
