// SPDX-License-Identifier: MIT
#include "plan/tco.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char *tk_tco_field_name(int i)
{
    static const char *const names[] = {
#define X(field, name) name,
        TK_TCO_MAP(X)
#undef X
    };
    return names[i];
}

tk_tco_in tk_tco_default(void)
{
    return (tk_tco_in){.years = 4,
                       .interest = 0.08,
                       .pue = 1.3,
                       .usd_per_kwh = 0.10,
                       .colo_usd_per_kw_month = 130,
                       .utilisation = 0.5};
}

double tk_tco_crf(double rate, double years)
{
    if (rate <= 0) return 1 / years;
    return rate / -expm1(-years * log1p(rate));
}

static tk_status check(const tk_tco_in *in, tk_err *err)
{
    const double *v = (const double *)in;
    for (int i = 0; i < TK_TCO_FIELDS; i++)
        if (!(v[i] >= 0) || v[i] > 1e15)
            return tk_fail(err, TK_BAD_INPUT, "%s is %g", tk_tco_field_name(i), v[i]);
    if (in->pue < 1)
        return tk_fail(err, TK_BAD_INPUT,
                       "a PUE of %g: it multiplies the machine's power, so it is 1 or more",
                       in->pue);
    if (in->utilisation <= 0 || in->utilisation > 1)
        return tk_fail(err, TK_BAD_INPUT, "a utilisation of %g, not in (0, 1]", in->utilisation);
    if (in->years <= 0 || in->tok_per_s <= 0)
        return tk_fail(err, TK_BAD_INPUT, "%g years, %g tokens per second", in->years,
                       in->tok_per_s);
    return TK_OK;
}

static void compute(const tk_tco_in *in, tk_tco_out *o)
{
    o->capital = in->price_usd * tk_tco_crf(in->interest, in->years) / 8760;
    o->support = in->support_usd_per_year / 8760;
    o->energy = in->power_w * 1e-3 * in->pue * in->usd_per_kwh;
    o->colo = in->provisioned_w * 1e-3 * in->colo_usd_per_kw_month * 12 / 8760;
    o->staff = in->staff_usd_per_hour;
    o->total = o->capital + o->support + o->energy + o->colo + o->staff;
    o->usd_per_mtok = o->total / (3600 * in->tok_per_s * in->utilisation) * 1e6;
}

tk_status tk_tco(const tk_tco_in *in, tk_tco_out *out, tk_err *err)
{
    tk_status st = check(in, err);
    if (st == TK_OK) compute(in, out);
    return st;
}

double tk_tco_break_even(const tk_tco_in *in, double usd_per_mtok)
{
    tk_tco_out o;
    compute(in, &o);
    // electricity is spent by tokens, the rest by hours
    double energy = o.energy / (3600 * in->tok_per_s);
    double margin = usd_per_mtok * 1e-6 - energy;
    return margin > 0 ? (o.total - o.energy) / (3600 * in->tok_per_s * margin) : INFINITY;
}

static double bounded(int i, double v)
{
    if (i == (int)(offsetof(tk_tco_in, utilisation) / sizeof(double)) && v > 1) return 1;
    if (i == (int)(offsetof(tk_tco_in, pue) / sizeof(double)) && v < 1) return 1;
    return v;
}

static double with(const tk_tco_in *in, int i, double factor)
{
    tk_tco_in t = *in;
    tk_tco_out o;
    double *v = (double *)&t + i;
    *v = bounded(i, *v * factor);
    compute(&t, &o);
    return o.usd_per_mtok;
}

static int by_reach(const void *a, const void *b)
{
    const tk_tornado *x = a, *y = b;
    double p = fabs(x->high - x->low), q = fabs(y->high - y->low);
    return p != q ? (p < q) - (p > q) : x->field - y->field;
}

void tk_tco_tornado(const tk_tco_in *in, tk_tornado out[TK_TCO_FIELDS])
{
    for (int i = 0; i < TK_TCO_FIELDS; i++)
        out[i] = (tk_tornado){i, with(in, i, 0.8), with(in, i, 1.2)};
    qsort(out, TK_TCO_FIELDS, sizeof *out, by_reach);
}

static double normal(tk_rng *r)
{
    double u = 1 - tk_rng_unit(r), v = tk_rng_unit(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v); // Box and Muller
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void tk_tco_monte_carlo(const tk_tco_in *in, double tok_low, double tok_high, uint64_t seed, int n,
                        double *p10, double *p50, double *p90)
{
    tk_rng r = {seed};
    double *x = tk_alloc((size_t)n * sizeof *x + 1);
    double sigma = log(tok_high / tok_low) / (2 * 1.2815515655446004);
    for (int k = 0; k < n; k++) {
        tk_tco_in t = *in;
        tk_tco_out o;
        double *v = (double *)&t;
        for (int i = 0; i < TK_TCO_FIELDS; i++)
            v[i] = bounded(i, v[i] * (0.8 + 0.4 * tk_rng_unit(&r)));
        t.tok_per_s = sqrt(tok_low * tok_high) * exp(sigma * normal(&r));
        compute(&t, &o);
        x[k] = o.usd_per_mtok;
    }
    qsort(x, (size_t)n, sizeof *x, ascending);
    *p10 = x[n / 10];
    *p50 = x[n / 2];
    *p90 = x[n * 9 / 10];
    tk_free(x);
}
