// SPDX-License-Identifier: MIT
// Made by make_int_golden.py with compressed-tensors and torch. Do not edit.
// clang-format off
#ifndef TK_TESTS_NUM_INT_GOLDEN_H
#define TK_TESTS_NUM_INT_GOLDEN_H

#include "num/dtype.h"

#include <stdint.h>

enum { GOLDEN_INT_ROWS = 64, GOLDEN_INT_COLS = 512 };

static const struct golden_int {
    tk_dtype type;
    int bits, group;
    uint32_t crc_f32, crc_bf16;
} golden_ints[] = {
    {TK_DTYPE_I4, 4, 32, 0x75bb36a5, 0xb744e507},
    {TK_DTYPE_I4, 4, 128, 0x236ff9ab, 0x4bc69e25},
    {TK_DTYPE_I8, 8, 512, 0x9dd54eb1, 0x04939694},
    {TK_DTYPE_I8, 8, 64, 0x78225864, 0xa9baa4ff},
};

#endif
