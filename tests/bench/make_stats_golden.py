# SPDX-License-Identifier: MIT
"""Writes stats_golden.h: mean, standard deviations and percentiles by numpy.

  pip install numpy
  python tests/bench/make_stats_golden.py > tests/bench/stats_golden.h
"""
import numpy as np

PERCENTILES = [0, 1, 25, 37.5, 50, 75, 90, 95, 99, 99.9, 100]


def row(values):
    return ", ".join(float(v).hex() for v in values)


def main():
    rng = np.random.default_rng(7)
    samples = [
        [3.5],
        [2.0, 1.0],
        [5.0, 5.0, 5.0, 5.0],
        rng.exponential(20.0, 10).tolist(),
        rng.normal(0.0, 1e-3, 97).tolist(),
        (1e9 + rng.integers(0, 1000, 64)).tolist(),
    ]
    print("// SPDX-License-Identifier: MIT")
    print(f"// Made by make_stats_golden.py with numpy {np.__version__}. Do not edit.")
    print("// clang-format off\n#ifndef TK_TESTS_BENCH_STATS_GOLDEN_H\n#define TK_TESTS_BENCH_STATS_GOLDEN_H\n")
    print("#include <stddef.h>\n")
    print(f"enum {{ N_PERCENTILE = {len(PERCENTILES)} }};")
    print(f"static const double percentiles[N_PERCENTILE] = {{{row(PERCENTILES)}}};\n")
    for i, x in enumerate(samples):
        print(f"static const double sample_{i}[] = {{{row(x)}}};")
    print("\nstatic const struct golden {\n    const double *x;\n    size_t n;\n    double mean, std, std_sample, median;")
    print("    double at[N_PERCENTILE];\n} golden[] = {")
    for i, x in enumerate(samples):
        sd1 = np.std(x, ddof=1) if len(x) > 1 else 0.0
        print(f"    {{sample_{i}, {len(x)}, {row([np.mean(x), np.std(x), sd1, np.median(x)])},")
        print(f"     {{{row(np.percentile(x, PERCENTILES))}}}}},")
    print("};\n\n#endif")


if __name__ == "__main__":
    main()
