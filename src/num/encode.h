// SPDX-License-Identifier: MIT
// Float32 into the number formats, block by block, by plain round-to-nearest: no search for better scales and
// no importance weights, so a converted model is a little worse than ggml's quantiser would make it. Random
// weights, tests and tables want nothing more. Any thread.
#ifndef TK_NUM_ENCODE_H
#define TK_NUM_ENCODE_H

#include "num/dtype.h"

#include <stdbool.h>

// F32 F16 BF16 F8_E4M3 F4_E2M1 Q4_0 Q4_1 Q5_0 Q8_0 Q4_K Q6_K MXFP4.
bool tk_dtype_can_encode(tk_dtype t);
// Encodes n finite values, a multiple of the block length, of a type that can be encoded (both asserted) into
// tk_dtype_bytes(t, n) bytes. F8 and F4 take values as they are (scales stand elsewhere) and saturate.
void tk_dtype_encode(tk_dtype t, const float *x, int64_t n, void *out);
// The E8M0 code of the power of two for a group of E2M1 values whose largest magnitude is amax: its exponent
// less E2M1's own (OCP MX 1.0, 6.3).
uint8_t tk_mx_scale(float amax);
// Code of the nearest E2M1 value, ties to the even code, saturating at 6.
uint8_t tk_e2m1_from_f32(float x);

#endif
