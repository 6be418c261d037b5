// SPDX-License-Identifier: MIT
#ifndef TK_BASE_CLOCK_H
#define TK_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

// Monotonic time in nanoseconds. Any thread.
static inline uint64_t tk_clock_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

#endif
