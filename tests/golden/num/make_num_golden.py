# SPDX-License-Identifier: MIT
"""Writes golden.h: what other people's code says our number formats mean.

  pip install gguf numpy torch
  python tests/golden/num/make_num_golden.py > tests/golden/num/golden.h

Blocks: N_BLOCK random blocks per GGUF type (bytes of SplitMix64, seed = ggml's type number), dequantised by
gguf-py; kept as the CRC-32 of all values (every NaN made 0x7FC00000, little-endian) and the first values.
Codes: FP8 and E8M0 by torch, E2M1 from the OCP table. Encoders: random float32 bit patterns through numpy
(half) and torch (bfloat16, float8_e4m3fn after clamping to +-448), kept as CRC-32.
"""
import zlib

import gguf
import numpy as np
import torch

from splitmix import random_bytes, splitmix

N_BLOCK = 4096
N_FLOAT = 1 << 20
TYPES = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4".split()


def bits(f):
    f = np.ascontiguousarray(f, dtype=np.float32)
    return np.where(np.isnan(f), np.uint32(0x7FC00000), f.view(np.uint32)).astype("<u4")


def table(name, values):
    print(f"static const uint32_t {name}[{len(values)}] = {{")
    for i in range(0, len(values), 8):
        print("    " + " ".join(f"0x{v:08x}," for v in values[i : i + 8]))
    print("};\n")


def main():
    print("// SPDX-License-Identifier: MIT")
    print(f"// Made by make_num_golden.py with gguf-py, numpy {np.__version__}, torch "
          f"{torch.__version__.split('+')[0]}. Do not edit.")
    print("// clang-format off\n#ifndef TK_TESTS_NUM_GOLDEN_H\n#define TK_TESTS_NUM_GOLDEN_H\n")
    print('#include "num/dtype.h"\n\n#include <stdint.h>\n')
    print(f"enum {{ GOLDEN_N_BLOCK = {N_BLOCK}, GOLDEN_N_FLOAT = {N_FLOAT} }};\n")
    print("static const struct golden_block {\n    tk_dtype type;\n    uint64_t seed;\n"
          "    uint32_t crc, first[4];\n} golden_blocks[] = {")
    for name in TYPES:
        qtype = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[qtype]
        raw = random_bytes(int(qtype), N_BLOCK * size)
        with np.errstate(all="ignore"):
            out = bits(gguf.dequantize(raw, qtype).reshape(-1))
        first = ", ".join(f"0x{v:08x}" for v in out[:4])
        print(f"    {{TK_DTYPE_{name}, {int(qtype)}, 0x{zlib.crc32(out.tobytes()):08x}, "
              f"{{{first}}}}},")
    print("};\n")
    codes = torch.arange(256, dtype=torch.uint8)
    table("golden_e4m3", bits(codes.view(torch.float8_e4m3fn).to(torch.float32).numpy()))
    table("golden_e5m2", bits(codes.view(torch.float8_e5m2).to(torch.float32).numpy()))
    table("golden_e8m0", bits(codes.view(torch.float8_e8m0fnu).to(torch.float32).numpy()))
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    table("golden_e2m1", bits(np.array(magnitudes + [-m for m in magnitudes], np.float32)
                              * np.array([1] * 8 + [1] * 8, np.float32))
          | np.array([0] * 8 + [0x80000000] * 8, np.uint32))
    halves = np.arange(65536, dtype=np.uint16)
    brain = (halves.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(all="ignore"):
        half_crc = zlib.crc32(bits(halves.view(np.float16).astype(np.float32)).tobytes())
        u = splitmix(77, N_FLOAT).astype(np.uint32)  # the low halves
        # half of them near the small formats' range (2^-31 to 2^33), most of those on or near their ties
        near = (u & np.uint32(0x807FFFFF)) | ((96 + (u >> 23 & 63)) << 23).astype(np.uint32)
        u[::2] = near[::2]
        u[::8] &= np.uint32(0xFFF80000)
        u[2::8] &= np.uint32(0xFFFFF000)
        u[4::8] &= np.uint32(0xFFFF8000)
        x = u.view(np.float32)
        f16 = x.astype(np.float16).view(np.uint16)
        f16 = np.where(np.isnan(x), 0x7E00, f16).astype("<u2")
    t = torch.from_numpy(x)
    bf16 = t.to(torch.bfloat16).view(torch.uint16).numpy()
    bf16 = np.where(np.isnan(x), 0x7FC0, bf16).astype("<u2")
    e4m3 = t.clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    e4m3 = np.where(np.isnan(x), 0x7F, e4m3).astype(np.uint8)
    for name, crc in (("f32_from_f16", half_crc), ("f32_from_bf16", zlib.crc32(bits(brain).tobytes())),
                      ("floats", zlib.crc32(bits(x).tobytes())),
                      ("f16_from_f32", zlib.crc32(f16.tobytes())),
                      ("bf16_from_f32", zlib.crc32(bf16.tobytes())),
                      ("e4m3_from_f32", zlib.crc32(e4m3.tobytes()))):
        print(f"static const uint32_t golden_crc_{name} = 0x{crc:08x};")
    print("\n#endif")


main()
