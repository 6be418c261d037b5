// SPDX-License-Identifier: MIT
// The largest code of many, for scales of which a large model has tens of gigabytes. Stretches of a constant length,
// because -O2 makes no other loop wide.
#ifndef TK_NUM_SCAN_H
#define TK_NUM_SCAN_H

#include "base/compiler.h"

#include <stdint.h>
#include <string.h>

static inline uint8_t tk_max_u8(const uint8_t *p, uint64_t n)
{
    uint8_t most = 0;
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (int k = 0; k < 64; k++) most = TK_MAX(most, p[i + (uint64_t)k]);
    for (; i < n; i++) most = TK_MAX(most, p[i]);
    return most;
}

// Of n 16-bit words at p, each less `from` modulo 2^16, so that what is below `from` comes out on top.
static inline uint16_t tk_max_u16(const uint8_t *p, uint64_t n, uint16_t from)
{
    uint16_t most = 0, v;
    uint64_t i = 0;
    for (; i + 64 <= n; i += 64)
        for (uint64_t k = i; k < i + 64; k++) {
            memcpy(&v, p + 2 * k, sizeof v);
            v = (uint16_t)(v - from);
            most = TK_MAX(most, v);
        }
    for (; i < n; i++) {
        memcpy(&v, p + 2 * i, sizeof v);
        v = (uint16_t)(v - from);
        most = TK_MAX(most, v);
    }
    return most;
}

#endif
