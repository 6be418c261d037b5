// SPDX-License-Identifier: MIT
#include "base/compiler.h"
#include "bench/stats.h"
#include "stats_golden.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_SAMPLE = 128 };

static void assert_near(double a, double b, double scale)
{
    if (fabs(a - b) > 1e-13 * fabs(scale)) fail_msg("%.17g is not %.17g", a, b);
}

static double largest(const double *x, size_t n)
{
    double m = 0;
    for (size_t i = 0; i < n; i++) m = fmax(m, fabs(x[i]));
    return m;
}

static void mean_and_deviations_are_numpys(void **state)
{
    (void)state;
    for (size_t i = 0; i < TK_COUNT(golden); i++) {
        const struct golden *g = &golden[i];
        double scale = largest(g->x, g->n);
        assert_near(tk_stats_mean(g->x, g->n), g->mean, scale);
        assert_near(tk_stats_std(g->x, g->n), g->std, scale);
        assert_near(tk_stats_std_sample(g->x, g->n), g->std_sample, scale);
    }
}

static void percentiles_are_numpys_linear_ones(void **state)
{
    (void)state;
    for (size_t i = 0; i < TK_COUNT(golden); i++) {
        const struct golden *g = &golden[i];
        double x[MAX_SAMPLE], scale = largest(g->x, g->n);
        assert_in_range(g->n, 1, MAX_SAMPLE);
        memcpy(x, g->x, g->n * sizeof *x);
        tk_stats_sort(x, g->n);
        assert_near(tk_stats_median(x, g->n), g->median, scale);
        for (int k = 0; k < N_PERCENTILE; k++)
            assert_near(tk_stats_percentile(x, g->n, percentiles[k]), g->at[k], scale);
    }
}

static void nothing_has_the_summary_0(void **state)
{
    (void)state;
    assert_true(tk_stats_mean(NULL, 0) == 0 && tk_stats_std(NULL, 0) == 0);
    assert_true(tk_stats_std_sample(NULL, 0) == 0 && tk_stats_median(NULL, 0) == 0);
    assert_true(tk_stats_percentile(NULL, 0, 99) == 0);
    tk_stats_sort(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_deviations_are_numpys),
        cmocka_unit_test(percentiles_are_numpys_linear_ones),
        cmocka_unit_test(nothing_has_the_summary_0),
    };
    return cmocka_run_group_tests_name("bench statistics", tests, NULL, NULL);
}
