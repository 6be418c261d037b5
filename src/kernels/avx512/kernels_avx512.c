// SPDX-License-Identifier: MIT
// The kernels of kernels/tmpl at this level.
#include "kernels/avx512/vec.h"

#include "kernels/tmpl/math_tmpl.h"

#include "kernels/tmpl/mm_tmpl.h"

#include "kernels/tmpl/rows_tmpl.h"

#include "kernels/tmpl/attend_tmpl.h"

#include "kernels/tmpl/decode_tmpl.h"

#include "kernels/tmpl/gemm_tmpl.h"

#include "kernels/tmpl/gemm8_tmpl.h"

#include "kernels/tmpl/fill_tmpl.h"
