# SPDX-License-Identifier: MIT
"""Random numbers that the tests in C draw again (base/rng.h)."""
import numpy as np


def splitmix(seed, n):
    """The first n outputs for seed."""
    z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def random_bytes(seed, n):
    """n bytes, as tests/unit/golden_bytes.h draws them."""
    return splitmix(seed, (n + 7) // 8).astype("<u8").view(np.uint8)[:n].copy()
