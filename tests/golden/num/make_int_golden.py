# SPDX-License-Identifier: MIT
"""Writes int_golden.h: what the compressed-tensors package says its integer formats mean.

  pip install compressed-tensors torch numpy
  python tests/golden/num/make_int_golden.py > tests/golden/num/int_golden.h

Codes are bytes of SplitMix64 (seed 4: INT4 packed, 8: INT8), scales (seed + 1) the top 16 bits of a float32 from
2^-12 to 2^-4. They are given to the package as F32 and as BF16; kept is the CRC-32 of the values it decompresses to.
With BF16 scales it rounds the product to BF16.
"""
import zlib

import numpy as np
import torch
from compressed_tensors.compressors.naive_quantized.base import IntQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

from splitmix import random_bytes

N_OUT, N_IN = 64, 512


def scales(seed, n_col):
    """BF16 scales [N_OUT, n_col]."""
    u = random_bytes(seed, 2 * N_OUT * n_col).view("<u2")
    return torch.from_numpy((u & 0x03FF) + np.uint16(0x3980)).view(torch.bfloat16).reshape(N_OUT, n_col)


def meaning(bits, group, scale):
    """CRC-32 of what the package makes of the codes."""
    raw = torch.from_numpy(random_bytes(bits, N_OUT * N_IN * bits // 8))
    strategy = "group" if group else "channel"
    args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy=strategy, group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    state = {"weight_scale": scale}
    if bits == 4:
        state |= {"weight_packed": raw.view(torch.int32).reshape(N_OUT, -1)}
        state |= {"weight_shape": torch.tensor([N_OUT, N_IN])}
        out = PackedQuantizationCompressor.decompress(state, scheme)["weight"]
    else:
        state |= {"weight": raw.view(torch.int8).reshape(N_OUT, N_IN)}
        out = IntQuantizationCompressor.decompress(state, scheme)["weight"]
    assert out.dtype == scale.dtype and out.shape == (N_OUT, N_IN)
    # +0 for the codes that are 0, whatever the package's sign
    return zlib.crc32((out + 0).contiguous().view(torch.uint8).numpy().tobytes())


def main():
    """Prints the header."""
    print("// SPDX-License-Identifier: MIT")
    print("// Made by make_int_golden.py with compressed-tensors and torch. Do not edit.")
    print("// clang-format off\n#ifndef TK_TESTS_NUM_INT_GOLDEN_H\n#define TK_TESTS_NUM_INT_GOLDEN_H\n")
    print('#include "num/dtype.h"\n\n#include <stdint.h>\n')
    print(f"enum {{ GOLDEN_INT_ROWS = {N_OUT}, GOLDEN_INT_COLS = {N_IN} }};\n")
    print("static const struct golden_int {\n    tk_dtype type;\n    int bits, group;\n"
          "    uint32_t crc_f32, crc_bf16;\n} golden_ints[] = {")
    for bits, group in ((4, 32), (4, 128), (8, None), (8, 64)):
        s = scales(bits + 1, N_IN // group if group else 1)
        print(f"    {{TK_DTYPE_I{bits}, {bits}, {group or N_IN}, 0x{meaning(bits, group, s.float()):08x}, "
              f"0x{meaning(bits, group, s):08x}}},")
    print("};\n\n#endif")


main()
