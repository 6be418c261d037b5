# SPDX-License-Identifier: MIT
"""Makes the golden checkpoints and their reference logits: see README.md.

    python make_golden.py [--only NAME] [--out DIR]

The reference is the Hugging Face implementation in float32 on the weights as the files mean them (rounded to
the stored type, dequantised where quantised). A seed whose routers come close to a tie is passed over, so that
another order of summation cannot send a token to other experts.
"""

import argparse
import fnmatch
import json
import math
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

import formats
import gguf_form
from cases import CASES

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
MIN_MARGIN = 3e-3  # of router scores, in probability

FP8 = {"num_bits": 8, "type": "float", "symmetric": True, "dynamic": False}
FP4_WEIGHTS = {"num_bits": 4, "type": "float", "symmetric": True, "dynamic": False}


def _compressed(fmt, group):
    return {
        "quant_method": "compressed-tensors",
        "format": fmt,
        "quantization_status": "compressed",
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "format": fmt,
                "weights": {**FP4_WEIGHTS, "group_size": group, "strategy": "tensor_group" if group == 16 else "group"},
                "input_activations": None,
            }
        },
    }


INT_WEIGHTS = {"type": "int", "symmetric": True, "dynamic": False, "actorder": None}


def _compressed_int(fmt, ignore, activations=None, **weights):
    return {
        "quant_method": "compressed-tensors",
        "format": fmt,
        "quantization_status": "compressed",
        "ignore": ["lm_head", *ignore],
        "kv_cache_scheme": None,
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {**INT_WEIGHTS, **weights},
                "input_activations": activations,
                "output_activations": None,
            }
        },
    }


def _int4(group, ignore=()):
    return _compressed_int("pack-quantized", ignore, num_bits=4, group_size=group, strategy="group")


# name -> (encoder, quantization_config, patterns of modules)
QUANT = {
    "fp8": (
        formats.fp8_block,
        {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128]},
        ("*_proj", "*_proj_with_mqa"),
    ),
    "fp8-channel": (
        formats.fp8_channel,
        {
            "quant_method": "compressed-tensors",
            "format": "float-quantized",
            "quantization_status": "compressed",
            "ignore": ["lm_head"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {**FP8, "strategy": "channel"},
                    "input_activations": {**FP8, "strategy": "token", "dynamic": True},
                }
            },
        },
        ("*_proj",),
    ),
    "fp8-tensor": (
        formats.fp8_tensor,
        {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["lm_head", "model.layers.*.mlp.gate"]},
        ("*_proj",),
    ),
    "nvfp4-modelopt": (
        formats.nvfp4_modelopt,
        {
            "quant_method": "modelopt",
            "quant_algo": "NVFP4",
            "ignore": ["lm_head", "model.layers.*.self_attn*", "model.layers.*.mlp.gate"],
            "config_groups": {
                "group_0": {
                    "targets": ["Linear"],
                    "weights": {**FP4_WEIGHTS, "group_size": 16},
                    "input_activations": {**FP4_WEIGHTS, "group_size": 16},
                }
            },
        },
        ("*gate_proj", "*up_proj", "*down_proj"),
    ),
    "nvfp4-compressed": (formats.nvfp4_compressed, _compressed("nvfp4-pack-quantized", 16), ("*_proj",)),
    "mxfp4": (formats.mxfp4, _compressed("mxfp4-pack-quantized", 32), ("*_proj",)),
    "int4-g32-experts": (
        formats.int4_g32,
        _int4(32, ["re:.*self_attn.*", "re:.*shared_experts.*", r"re:.*mlp\.(gate|up|gate_up|down)_proj.*"]),
        ("*.experts.*_proj",),
    ),
    "int8-channel": (
        formats.int8_channel,
        _compressed_int(
            "int-quantized", [], {**INT_WEIGHTS, "num_bits": 8, "strategy": "token", "dynamic": True},
            num_bits=8, group_size=None, strategy="channel",
        ),
        ("*_proj",),
    ),
    "int4-g128": (formats.int4_g128, _int4(128), ("*_proj",)),
}


def randomise(model, gen):
    """Weights of such a size that attention is peaked, experts matter and logits spread by about 2."""
    tensors = list(model.named_parameters()) + [
        (n, b) for n, b in model.named_buffers() if n.endswith("e_score_correction_bias")
    ]
    with torch.no_grad():
        for name, p in tensors:
            noise = torch.randn(p.shape, generator=gen)
            if name.endswith("e_score_correction_bias"):
                p.copy_(0.15 * noise)
            elif "norm" in name:
                p.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_(noise * (2 / math.sqrt(p.shape[-1]) if model.config.tie_word_embeddings else 1))
            elif "lm_head" in name:
                p.copy_(noise * 2 / math.sqrt(p.shape[-1]))
            else:
                p.copy_(noise * 1.4 / math.sqrt(p.shape[-1]))


def mtp_tensors(state, n_layer, gen):
    """A multi-token-prediction layer in the names of DeepSeek V3, shaped after the last ordinary layer."""
    last, new = f"model.layers.{n_layer - 1}.", f"model.layers.{n_layer}."
    d = state["model.norm.weight"].shape[0]
    shapes = {new + k[len(last):]: v.shape for k, v in state.items() if k.startswith(last)}
    shapes |= {new + "enorm.weight": (d,), new + "hnorm.weight": (d,), new + "eh_proj.weight": (d, 2 * d)}
    shapes |= {new + "shared_head.norm.weight": (d,)}
    for name in ("embed_tokens.weight", "shared_head.head.weight"):
        shapes[new + name] = state["lm_head.weight"].shape
    return {
        k: (1 + 0.2 * torch.randn(s, generator=gen)) if "norm" in k else 0.1 * torch.randn(s, generator=gen)
        for k, s in shapes.items()
    }


def store(case, state):
    """(stored tensors, what they mean in F32)."""
    stored, meant = {}, {}
    encode, _, which = QUANT.get(case.quant, (None, None, ()))
    for name, w in state.items():
        module, _, leaf = name.rpartition(".")
        if encode and leaf == "weight" and w.dim() == 2 and any(fnmatch.fnmatch(module, p) for p in which):
            parts, meant[name] = encode(w)
            stored |= {f"{module}.{k}": v for k, v in parts.items()}
        else:
            exact = name.endswith("e_score_correction_bias")
            stored[name] = w if exact else w.to(DTYPES[case.dtype])
            meant[name] = stored[name].float()
    return stored, meant


def router_scores(config, logits, module):
    """What a router chooses by, and the scores of its groups (None where there are none)."""
    if config.model_type != "deepseek_v3":
        scores = logits.softmax(-1)
        if getattr(config, "topk_method", "greedy") != "group_limited_greedy":
            return scores, None
        return scores, scores.view(len(scores), config.n_group, -1).amax(-1)
    scores = logits.sigmoid() + module.e_score_correction_bias
    return scores, scores.view(len(scores), config.n_group, -1).topk(2, -1)[0].sum(-1)


def gap(scores, k):
    """Smallest distance between the last chosen and the first left out."""
    if k >= scores.shape[-1]:
        return math.inf
    top = scores.topk(k + 1, -1)[0]
    return (top[:, k - 1] - top[:, k]).min().item()


def watch_routers(model):
    """Makes every router note the margin of its choices in the returned list."""
    config, margins = model.config, []

    def note(module, _inputs, output):
        scores, groups = router_scores(config, output[0].float(), module)
        if groups is not None:
            margins.append(gap(groups, config.topk_group))
            kept = groups.topk(config.topk_group, -1)[1]
            mask = torch.zeros_like(groups).scatter_(1, kept, 1).bool()
            mask = mask.repeat_interleave(scores.shape[-1] // config.n_group, -1)
            scores = scores.masked_fill(~mask, -math.inf)
        margins.append(gap(scores, config.num_experts_per_tok))

    for module in model.modules():
        if type(module).__name__.endswith("Router"):
            module.register_forward_hook(note)
    return margins


def reference(folder, sequences):
    """Logits of every sequence by transformers in float32, and the smallest router margin."""
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    margins = watch_routers(model)
    with torch.no_grad():
        logits = [model(torch.tensor([ids])).logits[0].float().contiguous() for ids in sequences]
    return logits, min(margins, default=math.inf)


def published_config(case, config):
    """config.json as it stands in the snapshot."""
    out = json.loads(config.to_json_string(use_diff=False)) if case.style == "v5" else dict(case.config)
    out["architectures"] = case.config["architectures"]
    torch_name = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[case.dtype]
    out.pop("dtype", None)
    out["dtype" if case.style == "v5" else "torch_dtype"] = torch_name
    if case.mtp:
        out["num_nextn_predict_layers"] = 1
    if case.quant:
        out["quantization_config"] = QUANT[case.quant][1]
    return out


def write_json(path, value):
    """Writes JSON people can read."""
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_snapshot(folder, case, config, stored):
    """The snapshot as it would be published."""
    write_json(folder / "config.json", published_config(case, config))
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2})
    if case.quant == "nvfp4-modelopt":
        quant = {"quant_algo": "NVFP4", "kv_cache_quant_algo": None, "group_size": 16,
                 "exclude_modules": QUANT[case.quant][1]["ignore"]}
        write_json(folder / "hf_quant_config.json",
                   {"producer": {"name": "modelopt", "version": "0.29.0"}, "quantization": quant})
    names = list(stored)
    if case.n_shard == 1:
        save_file(stored, folder / "model.safetensors", {"format": "pt"})
        return
    index = {}
    for i in range(case.n_shard):
        file = f"model-{i + 1:05d}-of-{case.n_shard:05d}.safetensors"
        part = names[i::case.n_shard]
        save_file({n: stored[n] for n in part}, folder / file, {"format": "pt"})
        index |= {n: file for n in part}
    total = sum(t.numel() * t.element_size() for t in stored.values())
    write_json(folder / "model.safetensors.index.json",
               {"metadata": {"total_size": total}, "weight_map": index})


def attempt(case, seed, tmp):
    """One seed's checkpoint, in tmp / "out": (sequences, logits, margin)."""
    gen = torch.Generator().manual_seed(seed)
    config = AutoConfig.for_model(**{k: v for k, v in case.config.items() if k != "architectures"})
    model = AutoModelForCausalLM.from_config(config)
    randomise(model, gen)
    model.save_pretrained(tmp / "made")
    state = load_file(tmp / "made" / "model.safetensors")
    (tmp / "out").mkdir()
    if case.gguf:
        arrays = {name: w.numpy() for name, w in state.items()}
        meant = gguf_form.write(tmp / "out" / "model.gguf", config, arrays, case.gguf, seed)
        meant = {name: torch.from_numpy(x.copy()) for name, x in meant.items()}
    else:
        stored, meant = store(case, state)
        if case.mtp:
            stored |= store(case, mtp_tensors(state, config.num_hidden_layers, gen))[0]
        write_snapshot(tmp / "out", case, config, stored)
    (tmp / "meant").mkdir()
    shutil.copy(tmp / "made" / "config.json", tmp / "meant" / "config.json")
    save_file(meant, tmp / "meant" / "model.safetensors", {"format": "pt"})
    sequences = [torch.randint(0, config.vocab_size, (n,), generator=gen).tolist() for n in case.lengths]
    logits, margin = reference(tmp / "meant", sequences)
    return sequences, logits, margin


def make(case, out):
    """Makes one case under out, at the first seed whose routers are clear."""
    folder = out / case.name
    for seed in range(case.seed, case.seed + 200):
        with tempfile.TemporaryDirectory() as tmp:
            sequences, logits, margin = attempt(case, seed, Path(tmp))
            if margin > MIN_MARGIN:
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(Path(tmp) / "out", folder)
                break
    else:
        raise SystemExit(f"{case.name}: no seed with clear routers")
    golden = {f"ids.{i}": torch.tensor(s, dtype=torch.int32) for i, s in enumerate(sequences)}
    golden |= {f"logits.{i}": x for i, x in enumerate(logits)}
    save_file(golden, folder / "golden.safetensors")
    size = sum(f.stat().st_size for f in folder.iterdir())
    top = torch.cat(logits).softmax(-1).amax(-1).mean()
    print(f"{case.name:28} seed {seed:3}  margin {margin:8.2g}  mean top probability {top:.3f}  {size:8} bytes",
          flush=True)


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="make the cases whose name contains this")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "data")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for case in CASES:
        if not args.only or args.only in case.name:
            make(case, args.out)


if __name__ == "__main__":
    main()
