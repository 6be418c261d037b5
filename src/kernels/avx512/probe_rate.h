// SPDX-License-Identifier: MIT
// The loop of AVX-512's roof probes of arithmetic (kernels/probe.h).
#ifndef TK_KERNELS_AVX512_PROBE_RATE_H
#define TK_KERNELS_AVX512_PROBE_RATE_H

#include "kernels/probe.h"

#include <immintrin.h>

// Accumulators, of 32 registers. Left alone the compiler unrolls 16 at most, and the others make an array in memory.
enum { N_ACC = 24 };

// acc[i] begins as `first` and becomes `next` in each round, n_op operations.
#define PROBE_RATE(name, type, first, next, n_op)                                                  \
    static TK_FN_PROBE_RATE(name)                                                                  \
    {                                                                                              \
        (void)data;                                                                                \
        type acc[N_ACC];                                                                           \
        _Pragma("GCC unroll 24") for (int i = 0; i < N_ACC; i++) acc[i] = (first);                 \
        for (int64_t r = 0; r < n_round; r++) {                                                    \
            _Pragma("GCC unroll 24") for (int i = 0; i < N_ACC; i++) acc[i] = (next);              \
            _Pragma("GCC unroll 24") for (int i = 0; i < N_ACC;                                    \
                                          i++) __asm__ volatile("" : "+v"(acc[i]));                \
        }                                                                                          \
        return (double)n_round * N_ACC * (n_op);                                                   \
    }

#endif
