# SPDX-License-Identifier: MIT
"""Greedy texts of held-out prompts by transformers on the snapshot's dequantised weights, in float32.

`python check_transformers.py SNAPSHOT` compares logits and 20 greedy texts of transformers with our own
forward pass and writes transformers_texts.json, so that an engine can be checked without Python.
transformers renders the prompts itself, from the snapshot's chat template.
"""
import argparse
import json
import os
import shutil
import tempfile

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import generate
import model as m
import weights

HERE = os.path.dirname(os.path.abspath(__file__))


def load_transformers(folder):
    """The model in float32 from a copy of the snapshot without FP8 (transformers wants a GPU for it)."""
    with tempfile.TemporaryDirectory() as tmp:
        config = weights.config()
        del config["quantization_config"]
        config["torch_dtype"] = "float32"
        weights.write_json(os.path.join(tmp, "config.json"), config)
        save_file(weights.dequantized(folder), os.path.join(tmp, "model.safetensors"), metadata={"format": "pt"})
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            shutil.copyfile(os.path.join(folder, name), os.path.join(tmp, name))
        model, info = AutoModelForCausalLM.from_pretrained(tmp, dtype=torch.float32, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(tmp)
    # the MTP layer is left out by plain generation; nothing else may be
    odd = [k for k in info["unexpected_keys"] if f"layers.{m.LAYERS}." not in k]
    assert not odd and not info["missing_keys"], (odd, info["missing_keys"])
    return model.eval(), tokenizer


def choose(prompts, n):
    """n prompts, each task in turn."""
    by_task = {}
    for p in prompts:
        by_task.setdefault(p["task"], []).append(p)
    out = []
    while len(out) < n:
        for ps in by_task.values():
            if ps and len(out) < n:
                out.append(ps.pop(0))
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("snapshot")
    a.add_argument("-n", type=int, default=20)
    a.add_argument("--out", default=os.path.join(HERE, "transformers_texts.json"))
    args = a.parse_args()
    with open(os.path.join(HERE, "heldout.jsonl")) as f:
        prompts = choose([json.loads(line) for line in f], args.n)
    model, tokenizer = load_transformers(args.snapshot)
    own = generate.Model(args.snapshot)
    texts, same, worst = [], 0, 0.0
    for p in prompts:
        ids = tokenizer.apply_chat_template(p["messages"], add_generation_prompt=True, return_dict=False)
        assert ids == own.prompt_ids(p["messages"]), p["id"]
        new = model.generate(torch.tensor([ids]), max_new_tokens=m.MAX_POS - len(ids), do_sample=False)[0].tolist()[len(ids):]
        ended = bool(new) and new[-1] == 1
        new = new[:-1] if ended else new
        same += own.generate([ids], max_new=m.MAX_POS)[0] == new
        with torch.no_grad():
            ref = model(torch.tensor([ids + new])).logits[0]
        worst = max(worst, float((own.follow(ids + new)[0] - ref).abs().max() / ref.abs().max()))
        texts.append({"id": p["id"], "prompt_ids": ids, "new_ids": new, "ended": ended, "text": tokenizer.decode(new)})
    with open(args.out, "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(t) for t in texts) + "\n]\n")
    print(f"same text by our own forward pass: {same} of {len(texts)}; largest relative logit difference {worst:.2e}")


if __name__ == "__main__":
    main()
