// SPDX-License-Identifier: MIT
// The bytes that tests/golden/num/*.py draw, and the checksum they print.
#ifndef TK_TEST_GOLDEN_BYTES_H
#define TK_TEST_GOLDEN_BYTES_H

#include "base/rng.h"

#include <stddef.h>
#include <stdint.h>

// The CRC-32 of zlib, n_byte bytes of a value further, lowest first.
static inline uint32_t crc32_more(uint32_t crc, uint32_t value, int n_byte)
{
    crc ^= 0xFFFFFFFF;
    for (int i = 0; i < n_byte; i++) {
        crc ^= value >> (8 * i) & 255;
        for (int k = 0; k < 8; k++) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
    }
    return crc ^ 0xFFFFFFFF;
}

static inline void fill(uint8_t *p, size_t n, uint64_t seed)
{
    tk_rng rng = {.state = seed};
    for (size_t i = 0; i < n; i += 8) {
        uint64_t u = tk_rng_u64(&rng);
        for (size_t k = i; k < n && k < i + 8; k++, u >>= 8) p[k] = (uint8_t)u;
    }
}

#endif
