# SPDX-License-Identifier: MIT
"""Between the trainer's tensors and a DeepSeek-V3 snapshot: names, rope order, FP8 blocks.

`to_snapshot` makes what a released checkpoint holds: matrices in E4M3 with one float32 scale per 128x128
block (ragged at the edges), everything the original keeps wider in BF16 or F32. `from_snapshot` reads such
a folder back as float32, so that scores are those of the file and not of the trainer's memory.
"""
import json
import os

import torch
from safetensors.torch import load_file

import model as m

BLOCK, E4M3_MAX = 128, 448.0
N_VOCAB = 1056  # rows stored of embedding and head: the tokenizer has 1,055 tokens, the trainer 1,280 rows
ATTENTION = {"q_a": "q_a_proj", "q_b": "q_b_proj", "kv_a": "kv_a_proj_with_mqa", "kv_b": "kv_b_proj", "o": "o_proj"}
MTP = {"enorm": "enorm", "hnorm": "hnorm", "eh": "eh_proj", "out_norm": "shared_head.norm"}
WIDE = ("eh",)  # matrices the original leaves in BF16


def hf_names():
    """(our name, expert number or None, snapshot name without ".weight") of every tensor but the biases."""
    yield "embed", None, "model.embed_tokens"
    yield "head", None, "lm_head"
    yield "norm", None, "model.norm"
    for i in range(m.LAYERS + 1):
        ours, hf = f"l{i}.", f"model.layers.{i}."
        yield ours + "in_norm", None, hf + "input_layernorm"
        yield ours + "post_norm", None, hf + "post_attention_layernorm"
        yield ours + "q_norm", None, hf + "self_attn.q_a_layernorm"
        yield ours + "kv_norm", None, hf + "self_attn.kv_a_layernorm"
        for a, b in ATTENTION.items():
            yield ours + a, None, hf + "self_attn." + b
        for part in ("gate", "up", "down"):
            if i == 0:
                yield ours + part, None, f"{hf}mlp.{part}_proj"
                continue
            yield f"{ours}s_{part}", None, f"{hf}mlp.shared_experts.{part}_proj"
            for e in range(m.EXPERTS):
                yield f"{ours}e_{part}", e, f"{hf}mlp.experts.{e}.{part}_proj"
        if i:
            yield ours + "router", None, hf + "mlp.gate"
        if i == m.LAYERS:
            for a, b in MTP.items():
                yield ours + a, None, hf + b


def rope_rows(name, inverse=False):
    """Row order that makes rope pairs neighbours (checkpoint order) from half-split ones, or None."""
    pair = torch.arange(m.ROPE).view(2, -1).t().flatten()  # 0, R/2, 1, R/2 + 1, ...
    if name.endswith(".q_b"):
        head = m.NOPE + m.ROPE
        rows = torch.cat([torch.cat((torch.arange(m.NOPE), m.NOPE + pair)) + h * head for h in range(m.HEADS)])
    elif name.endswith(".kv_a"):
        rows = torch.cat((torch.arange(m.KV_LORA), m.KV_LORA + pair))
    else:
        return None
    return rows.argsort() if inverse else rows


def blocks(scale, rows, cols):
    """The scale of every element of a [rows, cols] matrix; edge blocks are ragged."""
    return scale.repeat_interleave(BLOCK, 0)[:rows].repeat_interleave(BLOCK, 1)[:, :cols]


def quantize(w):
    """float32 [rows, cols] -> (E4M3, scales): the largest of a block becomes 448."""
    rows, cols = w.shape
    up = [-(-n // BLOCK) for n in (rows, cols)]
    full = w.new_zeros(up[0] * BLOCK, up[1] * BLOCK)
    full[:rows, :cols] = w
    amax = full.view(up[0], BLOCK, up[1], BLOCK).abs().amax((1, 3))
    scale = torch.where(amax > 0, amax / E4M3_MAX, torch.ones_like(amax))
    q = (w / blocks(scale, rows, cols)).clamp(-E4M3_MAX, E4M3_MAX).to(torch.float8_e4m3fn)
    return q, scale


def dequantize(q, scale):
    return q.float() * blocks(scale, *q.shape)


def to_snapshot(w, bias):
    """The snapshot's tensors from the trainer's float32 master weights and routing biases."""
    kinds = {n: k for n, (_, k) in m.shapes().items()}
    out = {}
    for ours, expert, hf in hf_names():
        t = w[ours].float() if expert is None else w[ours][expert].float()
        rows = rope_rows(ours)
        t = t if rows is None else t[rows]
        if kinds[ours] == "matrix" and ours.split(".")[1] not in WIDE:
            out[hf + ".weight"], out[hf + ".weight_scale_inv"] = quantize(t)
        else:
            t = t[:N_VOCAB] if ours in ("embed", "head") else t
            out[hf + ".weight"] = t.to(torch.bfloat16).contiguous()
    for i in range(1, m.LAYERS + 1):
        out[f"model.layers.{i}.mlp.gate.e_score_correction_bias"] = bias[i - 1].float().clone()
    return out


def dequantized(folder):
    """The tensors of a snapshot folder in float32 under their own names, without scales."""
    raw = load_file(os.path.join(folder, "model.safetensors"))
    out = {}
    for n, t in raw.items():
        if n.endswith("_scale_inv"):
            continue
        scale = raw.get(n + "_scale_inv")
        out[n] = t.float() if scale is None else dequantize(t, scale)
    return out


def from_snapshot(folder):
    """(weights as model.py names them, float32; routing biases) of a snapshot folder."""
    raw = dequantized(folder)
    w = {n: torch.empty(shape) for n, (shape, _) in m.shapes().items()}
    w["embed"], w["head"] = w["embed"][:N_VOCAB], w["head"][:N_VOCAB]
    for ours, expert, hf in hf_names():
        t = raw[hf + ".weight"]
        rows = rope_rows(ours, inverse=True)
        t = t if rows is None else t[rows]
        (w[ours] if expert is None else w[ours][expert]).copy_(t)
    bias = torch.stack([raw[f"model.layers.{i}.mlp.gate.e_score_correction_bias"] for i in range(1, m.LAYERS + 1)])
    return w, bias


def config():
    """config.json as DeepSeek-V3 writes it."""
    return {
        "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3",
        "vocab_size": N_VOCAB, "hidden_size": m.D, "num_hidden_layers": m.LAYERS, "num_nextn_predict_layers": 1,
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "intermediate_size": m.FF,
        "moe_intermediate_size": m.D_EXPERT, "n_routed_experts": m.EXPERTS, "n_shared_experts": 1,
        "num_experts_per_tok": m.TOP_K, "n_group": m.GROUPS, "topk_group": m.GROUPS_USED,
        "routed_scaling_factor": m.SCALE, "norm_topk_prob": True, "scoring_func": "sigmoid",
        "topk_method": "noaux_tc", "num_attention_heads": m.HEADS, "num_key_value_heads": m.HEADS,
        "q_lora_rank": m.Q_LORA, "kv_lora_rank": m.KV_LORA, "qk_nope_head_dim": m.NOPE, "qk_rope_head_dim": m.ROPE,
        "v_head_dim": m.V, "hidden_act": "silu", "rms_norm_eps": m.EPS, "rope_theta": m.THETA, "rope_scaling": None,
        "max_position_embeddings": m.MAX_POS, "attention_bias": False, "attention_dropout": 0.0,
        "tie_word_embeddings": False, "initializer_range": 0.02, "use_cache": True,
        "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "torch_dtype": "bfloat16",
        "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                "weight_block_size": [BLOCK, BLOCK]},
    }


GENERATION = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2, "do_sample": False, "max_new_tokens": 384}


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2)
        f.write("\n")
