# SPDX-License-Identifier: MIT
"""A checkpoint's tensors as llama.cpp's converter names, turns and merges them, for the GGUF cases.

q and k of the llama architecture are permuted so that neighbours are rotated together; experts are merged to one
3-D tensor; kv_b is kept whole (here: V2) or split into a transposed key half and a value half
(here: V3); llama3 rope
scaling becomes the divisors rope_freqs.weight. gguf's own code quantises and says what the blocks mean; formats
it cannot quantise to are drawn as random blocks, and their meaning replaces the weight.
"""

import math
import re

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize

# block-scale fields (f16) of formats that are drawn: byte offset of d, byte offset of dmin, dmin / d
DRAWN = {"Q2_K": (80, 82, 1.5), "Q3_K": (108, None, 0), "Q4_K": (0, 2, 7.5), "Q5_K": (0, 2, 15.5),
         "Q6_K": (208, None, 0), "IQ4_NL": (0, None, 0), "IQ4_XS": (0, None, 0)}

NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp",
    "mlp.shared_experts.down_proj": "ffn_down_shexp",
}
TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}


def draw(shape, kind, std, rng):
    """Random blocks of a format whose values spread by about std: (bytes, meaning)."""
    n_value, n_byte = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    at, at_min, ratio = DRAWN[kind]
    raw = rng.integers(0, 256, (math.prod(shape) // n_value, n_byte), dtype=np.uint8)

    def scaled(d):
        raw[:, at:at + 2] = np.frombuffer(np.float16(d).tobytes(), np.uint8)
        if at_min is not None:
            raw[:, at_min:at_min + 2] = np.frombuffer(np.float16(d * ratio).tobytes(), np.uint8)
        return dequantize(raw.reshape(*shape[:-1], -1), GGMLQuantizationType[kind]).reshape(shape)

    meaning = scaled(std / scaled(1.0).std())
    return raw.reshape(*shape[:-1], -1), meaning


def encode(x, kind, rng):
    """(bytes, meaning) of a tensor in a GGUF type."""
    if kind in DRAWN:
        return draw(x.shape, kind, x.std(), rng)
    raw = quantize(x, GGMLQuantizationType[kind])
    return raw, dequantize(raw, GGMLQuantizationType[kind]).reshape(x.shape).astype(np.float32)


def permutation(n_row, n_head):
    """Row order of q or k in a llama GGUF: halves of a head interleaved."""
    return np.arange(n_row).reshape(n_head, 2, n_row // n_head // 2).swapaxes(1, 2).reshape(-1)


def split_kv_b(w, config):
    """kv_b [heads * (nope + v)][kv_lora] -> keys [head][kv_lora][nope], values [head][v][kv_lora]."""
    w = w.reshape(config.num_attention_heads, config.qk_nope_head_dim + config.v_head_dim, -1)
    keys, values = np.split(w, [config.qk_nope_head_dim], axis=1)
    return np.ascontiguousarray(keys.swapaxes(1, 2)), np.ascontiguousarray(values)


class Form:
    """Writes the tensors one by one and keeps what they mean under their first names."""

    def __init__(self, writer, config, kinds, rng):
        self.writer, self.config, self.kinds, self.rng = writer, config, kinds, rng
        self.meant = {}

    def kind_of(self, name, x):
        """Type of a tensor: vectors and routers stay F32, else the first pattern that fits."""
        if x.ndim == 1 or "ffn_gate_inp" in name:
            return "F32"
        return next(kind for pattern, kind in self.kinds.items() if re.search(pattern, name))

    def put(self, name, x):
        """Writes x and returns its meaning."""
        kind = self.kind_of(name, x)
        raw, meaning = encode(np.ascontiguousarray(x), kind, self.rng)
        self.writer.add_tensor(name, raw, raw_dtype=GGMLQuantizationType[kind])
        return meaning

    def layer_tensor(self, hf, block, part, leaf, x):
        """One tensor of a layer other than routed experts."""
        name = f"{block}.{NAMES[part]}.{leaf}"
        if part == "mlp.gate" and leaf == "e_score_correction_bias":
            self.meant[hf] = self.put(f"{block}.exp_probs_b.bias", x)
        elif self.config.model_type == "llama" and NAMES[part] in ("attn_q", "attn_k"):
            heads = self.config.num_attention_heads if "q" in NAMES[part] else self.config.num_key_value_heads
            order = permutation(x.shape[0], heads)
            self.meant[hf] = self.put(name, x[order])[np.argsort(order)]
        elif NAMES[part] == "attn_kv_b" and self.config.model_type == "deepseek_v3":
            keys, values = split_kv_b(x, self.config)
            keys = self.put(f"{block}.attn_k_b.weight", keys).swapaxes(1, 2)
            values = self.put(f"{block}.attn_v_b.weight", values)
            self.meant[hf] = np.concatenate([keys, values], axis=1).reshape(x.shape)
        else:
            self.meant[hf] = self.put(name, x)

    def experts(self, i, state):
        """The routed experts of layer i, merged."""
        for part in ("gate", "up", "down"):
            pattern = rf"model\.layers\.{i}\.mlp\.experts\.\d+\.{part}_proj\.weight"
            names = [n for n in state if re.fullmatch(pattern, n)]
            names.sort(key=lambda n: int(n.split(".")[5]))
            if names:
                merged = self.put(f"blk.{i}.ffn_{part}_exps.weight", np.stack([state[n] for n in names]))
                self.meant |= dict(zip(names, merged))


def metadata(writer, config):
    """The keys an engine needs to know the model."""
    rope = config.rope_parameters
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type.startswith("deepseek"):
        deepseek_metadata(writer, config, rope)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        writer.add_key_length(head)
        writer.add_value_length(head)
        writer.add_rope_dimension_count(head)
    if config.model_type == "qwen3_moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.moe_intermediate_size)


def deepseek_metadata(writer, config, rope):
    """deepseek2's keys; with kv_b split, key_length is the compressed head's."""
    key, sigmoid = config.qk_nope_head_dim + config.qk_rope_head_dim, config.model_type == "deepseek_v3"
    writer.add_head_count_kv(1 if sigmoid else config.num_attention_heads)
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_kv_lora_rank(config.kv_lora_rank)
    writer.add_key_length(config.kv_lora_rank + config.qk_rope_head_dim if sigmoid else key)
    writer.add_value_length(config.kv_lora_rank if sigmoid else config.v_head_dim)
    if sigmoid:
        writer.add_key_length_mla(key)
        writer.add_value_length_mla(config.v_head_dim)
        writer.add_expert_group_count(config.n_group)
        writer.add_expert_group_used_count(config.topk_group)
    writer.add_rope_dimension_count(config.qk_rope_head_dim)
    writer.add_leading_dense_block_count(config.first_k_dense_replace)
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_expert_weights_scale(config.routed_scaling_factor)
    writer.add_expert_weights_norm(sigmoid and config.norm_topk_prob)
    writer.add_uint32("deepseek2.expert_gating_func", 2 if sigmoid else 1)
    writer.add_string("deepseek2.rope.scaling.type", "yarn")
    writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
    writer.add_rope_scaling_yarn_beta_fast(float(rope["beta_fast"]))
    writer.add_rope_scaling_yarn_beta_slow(float(rope["beta_slow"]))


def llama3_divisors(config):
    """rope_freqs.weight: by how much llama3 scaling divides each frequency."""
    rope, out = config.rope_parameters, []
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    for i in range(0, config.head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / config.head_dim)
        smooth = (rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]) / (
            rope["high_freq_factor"] - rope["low_freq_factor"])
        mixed = 1 / ((1 - smooth) / rope["factor"] + smooth)
        out.append(1.0 if wave < high else rope["factor"] if wave > low else mixed)
    return np.array(out, np.float32)


def write(path, config, state, kinds, seed):
    """Writes the GGUF file; returns what its tensors mean, under Hugging Face names. state: name -> F32 array."""
    arch = {"qwen3_moe": "qwen3moe", "deepseek_v2": "deepseek2", "deepseek_v3": "deepseek2"}
    writer = GGUFWriter(path, arch.get(config.model_type, config.model_type))
    form = Form(writer, config, kinds, np.random.default_rng(seed))
    metadata(writer, config)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_divisors(config))
    for hf, x in state.items():
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)\.(\w+)", hf)
        if hf in TOP:
            form.meant[hf] = form.put(TOP[hf], x)
        elif ".mlp.experts." not in hf:
            form.layer_tensor(hf, f"blk.{layer[1]}", layer[2], layer[3], x)
    for i in range(config.num_hidden_layers):
        form.experts(i, state)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert form.meant.keys() == state.keys()
    return form.meant
