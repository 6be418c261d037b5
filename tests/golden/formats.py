# SPDX-License-Identifier: MIT
"""Encoders for the block-scaled weight formats of published checkpoints.

Every encoder takes an F32 matrix [out, in] and returns (tensors, dequantised): the tensors as they stand in
the safetensors file, keyed by what follows the module's name, and the F32 matrix they mean. They are written
from the formats' definitions, apart from the C code they are there to check.
"""

import torch

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])


def to_e4m3(x):
    """Rounds to E4M3, saturating at 448."""
    return x.clamp(-448, 448).to(torch.float8_e4m3fn)


def e2m1_codes(x):
    """Nearest E2M1 code of each value (ties to the even mantissa), saturating at 6."""
    a = x.abs()
    code = (
        (a > 0.25).to(torch.uint8)
        + (a >= 0.75)
        + (a > 1.25)
        + (a >= 1.75)
        + (a > 2.5)
        + (a >= 3.5)
        + (a > 5.0)
    ).to(torch.uint8)
    return code | ((x < 0).to(torch.uint8) << 3)


def e2m1_values(codes):
    """What E2M1 codes mean."""
    magnitude = E2M1[(codes & 7).long()]
    return torch.where(codes >= 8, -magnitude, magnitude)


def pack_nibbles(codes):
    """Two codes a byte along k; the low nibble is the even k."""
    return (codes[:, 0::2] | (codes[:, 1::2] << 4)).contiguous()


def fp8_block(w, block=128):
    """DeepSeek: E4M3 with a multiplier per block x block tile; edge tiles are cut, not padded."""
    n_out, n_in = w.shape
    rows, cols = -(-n_out // block), -(-n_in // block)
    scale = torch.empty(rows, cols)
    q = torch.empty(n_out, n_in, dtype=torch.float8_e4m3fn)
    back = torch.empty_like(w)
    for i in range(rows):
        for j in range(cols):
            tile = (slice(i * block, (i + 1) * block), slice(j * block, (j + 1) * block))
            scale[i, j] = w[tile].abs().max().clamp(min=1e-12) / 448
            q[tile] = to_e4m3(w[tile] / scale[i, j])
            back[tile] = q[tile].float() * scale[i, j]
    return {"weight": q, "weight_scale_inv": scale}, back


def fp8_channel(w):
    """compressed-tensors: E4M3 with one BF16 multiplier per row."""
    scale = (w.abs().amax(-1, keepdim=True) / 448).to(torch.bfloat16)
    q = to_e4m3(w / scale.float())
    return {"weight": q, "weight_scale": scale}, q.float() * scale.float()


def fp8_tensor(w):
    """ModelOpt: E4M3 with one F32 multiplier, and the activations' scale, which does not change the weights."""
    scale = w.abs().max() / 448
    q = to_e4m3(w / scale)
    tensors = {"weight": q, "weight_scale": scale.reshape(()), "input_scale": torch.tensor(0.01)}
    return tensors, q.float() * scale


def _nvfp4(w):
    """Codes, E4M3 scales per 16, the tensor-wide multiplier, and the values they mean."""
    n_out, n_in = w.shape
    groups = w.reshape(n_out, n_in // 16, 16)
    wide = w.abs().max() / (6 * 448)
    scale = to_e4m3((groups.abs().amax(-1) / 6 / wide).clamp(2**-9, 448))
    step = (scale.float() * wide).unsqueeze(-1)
    codes = e2m1_codes(groups / step)
    back = e2m1_values(codes) * step
    return codes.reshape(n_out, n_in), scale, wide, back.reshape(n_out, n_in)


def nvfp4_modelopt(w):
    """ModelOpt's names: weight, weight_scale, weight_scale_2 (a multiplier), input_scale."""
    codes, scale, wide, back = _nvfp4(w)
    tensors = {
        "weight": pack_nibbles(codes),
        "weight_scale": scale,
        "weight_scale_2": wide.reshape(()),
        "input_scale": torch.tensor(0.01),
    }
    return tensors, back


def nvfp4_compressed(w):
    """compressed-tensors' names; the tensor-wide scale is a divisor."""
    codes, scale, wide, _ = _nvfp4(w)
    divisor = (1 / wide).reshape(1)
    step = (scale.float() / divisor).unsqueeze(-1)
    back = (e2m1_values(codes).reshape(*scale.shape, 16) * step).reshape(w.shape)
    tensors = {
        "weight_packed": pack_nibbles(codes),
        "weight_scale": scale,
        "weight_global_scale": divisor,
        "input_global_scale": torch.tensor([100.0]),
    }
    return tensors, back


def mxfp4(w):
    """OCP MXFP4: E2M1 with a power of two per 32 along k, kept as the byte of E8M0."""
    n_out, n_in = w.shape
    groups = w.reshape(n_out, n_in // 32, 32)
    exponent = torch.floor(torch.log2(groups.abs().amax(-1).clamp(min=1e-30))) - 2
    step = torch.exp2(exponent).unsqueeze(-1)
    codes = e2m1_codes(groups / step)
    tensors = {
        "weight_packed": pack_nibbles(codes.reshape(n_out, n_in)),
        "weight_scale": (exponent + 127).to(torch.uint8),
    }
    return tensors, (e2m1_values(codes) * step).reshape(n_out, n_in)


def int4(w, group):
    """compressed-tensors pack-quantized: codes -8 to 7 plus 8, eight an int32 from its lowest bits up, and a BF16
    multiplier per group along k."""
    n_out, n_in = w.shape
    groups = w.reshape(n_out, n_in // group, group)
    scale = (groups.abs().amax(-1) / 7.5).to(torch.bfloat16)
    step = scale.float().unsqueeze(-1)
    q = (groups / step).round().clamp(-8, 7)
    codes = (q + 8).reshape(n_out, n_in // 8, 8).to(torch.int64)
    words = (codes << (4 * torch.arange(8))).sum(-1)
    tensors = {
        "weight_packed": torch.where(words >= 2**31, words - 2**32, words).to(torch.int32),
        "weight_scale": scale,
        "weight_shape": torch.tensor([n_out, n_in]),
    }
    return tensors, (q * step).reshape(n_out, n_in)


def int4_g32(w):
    """The groups of Kimi K2 Thinking."""
    return int4(w, 32)


def int4_g128(w):
    """The groups that llm-compressor takes by default."""
    return int4(w, 128)


def int8_channel(w):
    """compressed-tensors int-quantized: I8 with one BF16 multiplier per row."""
    scale = (w.abs().amax(-1, keepdim=True) / 127.5).to(torch.bfloat16)
    q = (w / scale.float()).round().clamp(-128, 127)
    return {"weight": q.to(torch.int8), "weight_scale": scale}, q * scale.float()
