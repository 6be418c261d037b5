# SPDX-License-Identifier: MIT
"""Writes a trained checkpoint as a Hugging Face snapshot: `python export.py RUN OUT`.

RUN is the trainer's folder (ckpt.pt and the tokenizer's files). `--random` writes untrained weights, for
testing a loader before a run has finished.
"""
import argparse
import json
import os
import shutil
import tempfile

import torch
from safetensors.torch import save_file

import tokens
import train
import weights

def copy_tokenizer(src, out):
    """Copies the tokenizer's files; the think tags become ordinary added tokens, as R1 has them, so that a
    decoder that leaves out special tokens still shows where the trace ends."""
    for name in ("tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(os.path.join(src, name), os.path.join(out, name))
    with open(os.path.join(src, "tokenizer.json")) as f:
        t = json.load(f)
    for token in t["added_tokens"]:
        token["special"] = token["content"] not in ("<think>", "</think>")
    with open(os.path.join(out, "tokenizer.json"), "w") as f:
        json.dump(t, f, ensure_ascii=False, indent=0)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("run")
    a.add_argument("out")
    a.add_argument("--random", action="store_true")
    args = a.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if args.random:
        w, bias = train.initial(1), torch.zeros(train.model.LAYERS, train.model.EXPERTS)
        with tempfile.TemporaryDirectory() as tmp:
            tokens.save(tokens.train(), tmp)
            copy_tokenizer(tmp, args.out)
    else:
        ck = torch.load(os.path.join(args.run, "ckpt.pt"))
        w, bias = ck["w"], ck["bias"]
        copy_tokenizer(args.run, args.out)
    path = os.path.join(args.out, "model.safetensors")
    save_file(weights.to_snapshot(w, bias), path, metadata={"format": "pt"})
    os.chmod(path, 0o644)  # safetensors makes it private
    weights.write_json(os.path.join(args.out, "config.json"), weights.config())
    weights.write_json(os.path.join(args.out, "generation_config.json"), weights.GENERATION)
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    main()
