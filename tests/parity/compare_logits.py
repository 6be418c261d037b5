# SPDX-License-Identifier: MIT
"""Runs `tokamak logits` on the golden cases and prints how far it is from the reference.

    python compare_logits.py [--tokamak PATH] [--only NAME] [--compute ref|best] [--mode prefill|decode|batch]

The C test tests/golden/test_golden.c gates; this one is for looking closer.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parents[2]


def log_softmax(x):
    """Natural logarithms of the softmax of each row."""
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def run(tokamak, folder, sequences, mode, compute):
    """Logits of every sequence, or the message of the failure."""
    with tempfile.TemporaryDirectory() as tmp:
        ids, out = Path(tmp) / "ids.jsonl", Path(tmp) / "out.safetensors"
        ids.write_text("".join(json.dumps(s) + "\n" for s in sequences))
        command = [tokamak, "logits", folder, "--jsonl", ids, "-o", out, "--mode", mode, "--compute", compute]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        return load_file(out)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokamak", type=Path, default=ROOT / "build" / "tokamak")
    parser.add_argument("--only", default="")
    parser.add_argument("--compute", default="ref")
    parser.add_argument("--mode", default="prefill")
    args = parser.parse_args()
    for folder in sorted((ROOT / "tests" / "golden" / "data").iterdir()):
        if args.only not in folder.name:
            continue
        golden = load_file(folder / "golden.safetensors")
        n = sum(k.startswith("ids.") for k in golden)
        model = folder / "model.gguf" if (folder / "model.gguf").exists() else folder
        ours = run(args.tokamak, model, [golden[f"ids.{i}"].tolist() for i in range(n)], args.mode, args.compute)
        if isinstance(ours, list):
            print(f"{folder.name:28} {ours[0]}")
            continue
        theirs = np.concatenate([golden[f"logits.{i}"] for i in range(n)])
        got = np.concatenate([ours[f"logits.{i}"] for i in range(n)])
        p, q = log_softmax(theirs.astype(np.float64)), log_softmax(got.astype(np.float64))
        kl = (np.exp(p) * (p - q)).sum(-1)
        row = np.abs(theirs - got).max(-1)
        print(f"{folder.name:28} max rel {np.abs(theirs - got).max() / np.abs(theirs).max():9.2e}   "
              f"KL mean {kl.mean():9.2e} max {kl.max():9.2e}   worst token {row.argmax():3} of {len(row)}")


if __name__ == "__main__":
    main()
