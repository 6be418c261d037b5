// SPDX-License-Identifier: MIT
// Attention with BF16 products of registers.
#include "kernels/avx512/dot_bf16.h"

#define ATTEND_FILL tk_kernels_fill_attend_bf16
#define ATTEND_TOKS DOT_TOKS
#define attend_dot dot_rows

#include "kernels/tmpl/attend_bf16_tmpl.h"
