// SPDX-License-Identifier: MIT
// What a token costs: capital recovery, support, electricity times PUE, colocation by provisioned power, staff,
// spread over the tokens really served. Pure functions; USD, hours, watts in the names.
//
//   CRF = r / (1 - (1 + r)^-n)
//   per hour = (price CRF + support) / 8760 + P PUE kWh + colocation(P_provisioned) + staff
//   per 10^6 tokens = per hour / (3600 tok/s utilisation) 10^6
#ifndef TK_PLAN_TCO_H
#define TK_PLAN_TCO_H

#include "base/status.h"

#include <stdint.h>

// X(field, name in tables)
#define TK_TCO_MAP(X)                                                                              \
    X(price_usd, "price")    /* of the machine */                                                  \
    X(years, "amortisation") /* of its use */                                                      \
    X(interest, "interest")  /* per year, 0.08 = 8 % */                                            \
    X(support_usd_per_year, "support")                                                             \
    X(power_w, "power") /* mean, at the wall */                                                    \
    X(pue, "PUE")       /* >= 1 */                                                                 \
    X(usd_per_kwh, "electricity")                                                                  \
    X(provisioned_w, "provisioned power")                                                          \
    X(colo_usd_per_kw_month, "colocation")                                                         \
    X(staff_usd_per_hour, "staff")                                                                 \
    X(tok_per_s, "throughput")    /* output tokens, when busy */                                   \
    X(utilisation, "utilisation") /* share of the time busy, 0..1 */

typedef struct tk_tco_in {
#define X(field, name) double field;
    TK_TCO_MAP(X)
#undef X
} tk_tco_in;

enum { TK_TCO_FIELDS = sizeof(tk_tco_in) / sizeof(double) };
const char *tk_tco_field_name(int i);

typedef struct tk_tco_out {
    double capital, support, energy, colo, staff, total; // USD per hour
    double usd_per_mtok;
} tk_tco_out;

tk_tco_in tk_tco_default(void);
// TK_BAD_INPUT names a negative price, a PUE below 1, a utilisation outside (0, 1].
tk_status tk_tco(const tk_tco_in *in, tk_tco_out *out, tk_err *err);
double tk_tco_crf(double rate, double years);

// The utilisation from which own tokens are cheaper than usd_per_mtok; above 1 = never.
double tk_tco_break_even(const tk_tco_in *in, double usd_per_mtok);

typedef struct tk_tornado {
    int field;
    double low, high; // USD per 10^6 tokens with the field 20 % lower and higher
} tk_tornado;
// Sorted by their reach, widest first. Fields that are bounded (utilisation, PUE) stay inside their bounds.
void tk_tco_tornado(const tk_tco_in *in, tk_tornado out[TK_TCO_FIELDS]);

// Every field drawn within +-20 % (uniform), throughput from its 80 % interval (log-normal): quantiles of USD
// per 10^6 tokens.
void tk_tco_monte_carlo(const tk_tco_in *in, double tok_low, double tok_high, uint64_t seed, int n,
                        double *p10, double *p50, double *p90);

#endif
