// SPDX-License-Identifier: MIT
// Summaries of samples, by the definitions of numpy (which vLLM's numbers come from) and of llama-bench.
// Any thread.
#ifndef TK_BENCH_STATS_H
#define TK_BENCH_STATS_H

#include <stddef.h>

// All give 0 for no samples.
double tk_stats_mean(const double *x, size_t n);
double tk_stats_std(const double *x, size_t n);        // of the population: numpy.std
double tk_stats_std_sample(const double *x, size_t n); // n - 1 below; 0 for one sample: llama-bench
void tk_stats_sort(double *x, size_t n);
// numpy.percentile, linear interpolation; p in [0, 100]; sorted ascending.
double tk_stats_percentile(const double *sorted, size_t n, double p);
double tk_stats_median(const double *sorted, size_t n);

#endif
