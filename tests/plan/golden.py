#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden values of the planner, computed again with the standard library alone: golden.py > golden.json.

TCO by the formulas of a spreadsheet, Shapley values by averaging over all orders of the changes (the tests'
program sums over subsets), memory and collectives by hand arithmetic, checkpoint intervals by Young's formula,
waits by playing the queue.
"""
import heapq
import itertools
import json
import math
import random


def tco():
    rows = []
    for price, years, rate, support, watts, pue, kwh, prov, colo, staff, tps, util in [
        (360000, 4, 0.08, 18000, 8800, 1.3, 0.10, 17360, 130, 0, 30000, 0.5),
        (3000000, 5, 0.05, 90000, 95000, 1.15, 0.07, 151200, 110, 12.5, 250000, 0.7),
        (199000, 3, 0.0, 0, 7100, 1.5, 0.22, 13840, 200, 3, 4000, 0.15),
    ]:
        crf = 1 / years if rate == 0 else rate / (1 - (1 + rate) ** -years)
        capital = price * crf / 8760
        energy = watts / 1000 * pue * kwh
        room = prov / 1000 * colo * 12 / 8760
        total = capital + support / 8760 + energy + room + staff
        mtok = total / (3600 * tps * util) * 1e6
        ref = 2.2
        even = (total - energy) / (3600 * tps * (ref * 1e-6 - energy / (3600 * tps)))
        rows.append({"in": [price, years, rate, support, watts, pue, kwh, prov, colo, staff, tps, util],
                     "capital": capital, "energy": energy, "total": total, "usd_per_mtok": mtok,
                     "break_even_at": ref, "break_even": even})
    return rows


def shapley():
    rng = random.Random(7)
    games = []
    for n in (1, 3, 5):
        v = [rng.uniform(-1, 3) for _ in range(1 << n)]
        phi = [0.0] * n
        orders = list(itertools.permutations(range(n)))
        for order in orders:
            made = 0
            for i in order:
                phi[i] += (v[made | 1 << i] - v[made]) / len(orders)
                made |= 1 << i
        games.append({"n": n, "v": v, "phi": phi})
    return games


def memory():
    """DeepSeek-V3, FP8, TP8 with experts cut eight ways: bytes of one accelerator."""
    h, vocab, layers, dense, moe = 7168, 129280, 61, 3, 58
    down = h * 1536 + h * (512 + 64)
    heads = 1536 * 128 * 192 + 512 * 128 * 256 + 128 * 128 * h
    attention = layers * (heads / 8 + down)
    ffn = (dense * 3 * h * 18432 + moe * 3 * h * 2048) / 8
    experts = moe * 256 * 3 * h * 2048 / 8
    router = moe * h * 256 * 2
    embed = 2 * vocab * h * 2 / 8
    return {"weights": attention + ffn + experts + router + embed,
            "kv_per_token_bf16": layers * 576 * 2}


def touched():
    return [{"e": e, "k": k, "t": t, "n": e * (1 - (1 - k / e) ** t)}
            for e, k, t in [(256, 8, 1), (256, 8, 64), (128, 8, 8), (128, 4, 1024), (8, 2, 3)]]


def parts():
    """Parts of the experts that 8 draws from 4 of 8 groups touch, on average: all choices of groups gone through."""
    rows = []
    for n in (2, 4, 8, 16, 32):
        mean, chosen = 0.0, list(itertools.combinations(range(8), 4))
        for used in chosen:  # a draw falls into each part of a used group, or into the part that holds the group
            share = [0.0] * n
            for g in used:
                own = range(g * n // 8, (g + 1) * n // 8) if n >= 8 else [g * n // 8]
                for part in own:
                    share[part] += 1 / 4 / len(own)
            mean += sum(1 - (1 - s) ** 8 for s in share) / len(chosen)
        rows.append({"n": n, "touched": mean})
    return rows


def wall():
    work, n, mtbf, write, restart = 86400.0, 1024, 50000.0, 60.0, 600.0
    between = mtbf * 3600 / n
    every = math.sqrt(2 * write * between)
    waste = write / every + (restart + every / 2) / between
    return {"in": [work, n, mtbf, write, restart], "s": work / (1 - waste)}


def queue():
    """Poisson arrivals at n servers of one second each, played one by one: the mean wait."""
    rows = []
    for n, busy in [(1, 0.6), (2, 0.5), (4, 0.8), (16, 0.9)]:
        rng = random.Random(n)
        free, now, wait, count = [0.0] * n, 0.0, 0.0, 200000
        for _ in range(count):
            now += rng.expovariate(n * busy)
            start = max(now, heapq.heappop(free))
            heapq.heappush(free, start + 1)
            wait += start - now
        rows.append({"n": n, "busy": busy, "wait": round(wait / count, 6)})
    return rows


def transfer():
    """Bytes of a cache: DeepSeek-V3's latents in FP8; a rank's quarter of Llama-3.1-70B's in BF16."""
    return {"latent": 4096 * 61 * 576, "quarter": 4096 * 80 * 2 * 8 * 128 * 2 / 4}


print(json.dumps({"tco": tco(), "shapley": shapley(), "memory": memory(), "touched": touched(),
                  "parts": parts(),
                  "wall": wall(), "queue": queue(), "transfer": transfer()}, indent=1))
