# SPDX-License-Identifier: MIT
"""Tokamak against llama.cpp on SmolLM2-135M-Instruct Q4_1, through the command line.

    python smollm2.py MODEL.gguf [--tokamak PATH] [--compute ref|best] [--cases N]

Prints, prompt by prompt: whether the tokenizer gives the same ids, how far the log-probabilities of llama.cpp's
tokens are off (teacher-forced, so one early difference does not hide the rest), and where Tokamak would have
chosen another token, with llama.cpp's distance between its two best there. test_smollm2.c gates the same without
Python. Exit status 1 when a bound is crossed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

HERE = Path(__file__).resolve().parent
BOUNDS = {"ref": ("max", 0.005), "best": ("mean", 0.05)}
CLOSE = 0.2  # nats between the reference's two best: there another token is no error


def tokamak(command, stdin=None):
    """Standard output of a command that must succeed."""
    return subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, check=True).stdout


def log_softmax(x):
    """Natural logarithms of the softmax of each row."""
    x = x.astype(np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def logits(args, cases):
    """Logits after every token of prompt + answer, case by case."""
    with tempfile.TemporaryDirectory() as tmp:
        ids, out = Path(tmp) / "ids.jsonl", Path(tmp) / "out.safetensors"
        ids.write_text("".join(json.dumps(c["prompt_ids"] + c["ids"]) + "\n" for c in cases))
        tokamak([args.tokamak, "logits", args.model, "--jsonl", ids, "-o", out, "--compute", args.compute, "-q"])
        data = load_file(out)
        return [data[f"logits.{i}"] for i in range(len(cases))]


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokamak", type=Path, default=HERE.parents[1] / "build" / "tokamak")
    parser.add_argument("--compute", choices=BOUNDS, default="best")
    parser.add_argument("--cases", type=int, default=20)
    args = parser.parse_args()
    cases = json.loads((HERE / "smollm2_reference.json").read_text(encoding="utf-8"))["cases"][: args.cases]
    lines = "".join(json.dumps(c["prompt"]) + "\n" for c in cases)
    tokens = tokamak([args.tokamak, "tokenize", args.model, "--jsonl", "--add-bos", "no"], lines).splitlines()
    print(f"{'tokens':>6} {'ids':>5} {'mean d':>8} {'max d':>8}  parts at (llama.cpp's margin)   prompt")
    off, wrong = [], 0
    for case, line, rows in zip(cases, tokens, logits(args, cases)):
        n, ids = len(case["prompt_ids"]), np.array(case["ids"])
        ours = log_softmax(rows[n - 1 : n - 1 + len(ids)])
        known = np.array([p is not None for p in case["logprobs"]])
        theirs = np.array([p if p is not None else 0 for p in case["logprobs"]])
        delta = np.abs(ours[np.arange(len(ids)), ids] - theirs)[known]
        parts = [(i, case["margins"][i]) for i in np.nonzero(ours.argmax(-1) != ids)[0]]
        same = json.loads(line) == case["prompt_ids"]
        wrong += not same or any(m is not None and m > CLOSE for _, m in parts)
        off.append(delta)
        where = " ".join(f"{i} ({m})" for i, m in parts) or "-"
        print(f"{len(ids):6} {'same' if same else 'OTHER':>5} {delta.mean():8.5f} {delta.max():8.5f}  {where:31}"
              f" {case['text'][:40]!r}")
    off = np.concatenate(off)
    kind, bound = BOUNDS[args.compute]
    figure = off.max() if kind == "max" else off.mean()
    print(f"{len(off)} tokens: mean {off.mean():.6f}, max {off.max():.6f}; {kind} must be at most {bound}")
    sys.exit(1 if wrong or not figure <= bound else 0)


if __name__ == "__main__":
    main()
