// SPDX-License-Identifier: MIT
#include "bench/stats.h"

#include "base/compiler.h"

#include <math.h>
#include <stdlib.h>

double tk_stats_mean(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return n ? sum / (double)n : 0;
}

static double square_sum(const double *x, size_t n)
{
    double mean = tk_stats_mean(x, n), sum = 0;
    for (size_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return sum;
}

double tk_stats_std(const double *x, size_t n)
{
    return n ? sqrt(square_sum(x, n) / (double)n) : 0;
}

double tk_stats_std_sample(const double *x, size_t n)
{
    return n > 1 ? sqrt(square_sum(x, n) / (double)(n - 1)) : 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void tk_stats_sort(double *x, size_t n)
{
    if (n) qsort(x, n, sizeof *x, ascending);
}

double tk_stats_percentile(const double *sorted, size_t n, double p)
{
    if (n == 0) return 0;
    double at = p / 100 * (double)(n - 1);
    size_t i = (size_t)floor(at);
    if (i + 1 >= n) return sorted[n - 1];
    double t = at - (double)i, step = sorted[i + 1] - sorted[i];
    // numpy's lerp: from the nearer end, so that t = 1 gives the upper one exactly
    return t < 0.5 ? sorted[i] + step * t : sorted[i + 1] - step * (1 - t);
}

double tk_stats_median(const double *sorted, size_t n)
{
    return n == 0 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}
