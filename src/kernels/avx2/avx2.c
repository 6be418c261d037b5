// SPDX-License-Identifier: MIT
#include "kernels/kernels.h"

void tk_kernels_fill_avx2(tk_kernels *k)
{
    (void)k;
}
