// SPDX-License-Identifier: MIT
// A small seeded generator (SplitMix64; Steele, Lea, Flood 2014): same seed, same numbers, on every machine.
#ifndef TK_BASE_RNG_H
#define TK_BASE_RNG_H

#include <stdint.h>

typedef struct tk_rng {
    uint64_t state;
} tk_rng;

static inline uint64_t tk_rng_u64(tk_rng *r)
{
    uint64_t z = (r->state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

// Uniform in [0, 1), 53 bits.
static inline double tk_rng_unit(tk_rng *r)
{
    return (double)(tk_rng_u64(r) >> 11) * 0x1p-53;
}

// Uniform in [0, n), n > 0; the bias is below n / 2^64.
static inline uint64_t tk_rng_below(tk_rng *r, uint64_t n)
{
    return (uint64_t)(((unsigned __int128)tk_rng_u64(r) * n) >> 64);
}

#endif
