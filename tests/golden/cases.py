# SPDX-License-Identifier: MIT
"""The golden checkpoints: one dictionary of config.json entries (the form published before transformers 5) each.

Sizes are small and odd on purpose: head counts that are no power of two, one key-value head, vocabularies that
are no multiple of 16, widths that are a multiple of 8 or 32 only. Contexts of rope scaling and windows are short, so
that sequences of 49 tokens cross them.
"""

from dataclasses import dataclass


@dataclass
class Case:
    """One checkpoint.

    style: "classic" writes config.json as published before transformers 5, "v5" as transformers 5 writes it.
    dtype: of the plain weights (F32, BF16, F16); quant: see make_golden.QUANT; n_shard: safetensors files;
    mtp: adds the tensors of a multi-token-prediction layer, which the reference does not run.
    gguf: patterns of GGUF tensor names and the types they are stored in; the case is then a GGUF file.
    """

    name: str
    config: dict
    dtype: str = "F32"
    style: str = "classic"
    quant: str = ""
    n_shard: int = 1
    mtp: bool = False
    gguf: dict | None = None
    lengths: tuple = (49, 18, 5)
    seed: int = 0


COMMON = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": None,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def llama(**kw):
    """A Llama config."""
    base = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": False,
            "mlp_bias": False}
    return {**COMMON, **base, **kw}


def mistral(**kw):
    """A Mistral config."""
    return {**COMMON, "model_type": "mistral", "architectures": ["MistralForCausalLM"], **kw}


def qwen2(**kw):
    """A Qwen2 config; published ones carry a sliding_window that use_sliding_window turns off."""
    base = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "sliding_window": 8,
            "use_sliding_window": False, "max_window_layers": 1, "rms_norm_eps": 1e-6}
    return {**COMMON, **base, **kw}


def qwen3(**kw):
    """A Qwen3 config."""
    base = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "attention_bias": False,
            "use_sliding_window": False, "sliding_window": None, "max_window_layers": 3,
            "rms_norm_eps": 1e-6}
    return {**COMMON, **base, **kw}


def qwen3_moe(**kw):
    """A Qwen3 mixture-of-experts config."""
    base = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False,
            "use_sliding_window": False, "sliding_window": None, "max_window_layers": 3,
            "decoder_sparse_step": 1, "mlp_only_layers": [], "norm_topk_prob": True,
            "rms_norm_eps": 1e-6, "router_aux_loss_coef": 0.001}
    return {**COMMON, **base, **kw}


def yarn(mscale, mscale_all_dim, factor=4, orig=16):
    """DeepSeek's YaRN entry, shortened to a context of orig tokens."""
    return {"type": "yarn", "factor": factor, "original_max_position_embeddings": orig, "beta_fast": 8,
            "beta_slow": 1, "mscale": mscale, "mscale_all_dim": mscale_all_dim}


def deepseek_v2(**kw):
    """A DeepSeek V2 config."""
    base = {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": False,
            "scoring_func": "softmax", "norm_topk_prob": False, "moe_layer_freq": 1, "n_shared_experts": 2,
            "first_k_dense_replace": 1, "rms_norm_eps": 1e-6, "topk_method": "greedy", "n_group": 1,
            "topk_group": 1, "q_lora_rank": None}
    return {**COMMON, **base, **kw}


def deepseek_v3(**kw):
    """A DeepSeek V3 config."""
    base = {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "attention_bias": False,
            "scoring_func": "sigmoid", "topk_method": "noaux_tc", "norm_topk_prob": True, "moe_layer_freq": 1,
            "n_shared_experts": 1, "first_k_dense_replace": 1, "routed_scaling_factor": 2.5,
            "num_nextn_predict_layers": 0, "ep_size": 1, "rms_norm_eps": 1e-6}
    return {**COMMON, **base, **kw}


def dense(hidden, inner, layers, heads, kv, d_head, vocab):
    """Sizes of a dense model."""
    return {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv, "head_dim": d_head,
            "vocab_size": vocab}


def mla(hidden, inner, layers, heads, q_lora, kv_lora, nope, rope, v, vocab):
    """Sizes of a multi-head latent attention model."""
    return {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": heads, "q_lora_rank": q_lora,
            "kv_lora_rank": kv_lora, "qk_nope_head_dim": nope, "qk_rope_head_dim": rope,
            "v_head_dim": v, "vocab_size": vocab}


def experts(n, used, inner, key="n_routed_experts", **kw):
    """Sizes of the experts."""
    return {key: n, "num_experts_per_tok": used, "moe_intermediate_size": inner, **kw}


LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 32}

CASES = [
    Case("llama-gqa-f32", llama(**dense(64, 48, 2, 4, 2, 16, 101))),
    Case("llama-tied-rope3-bf16", llama(**dense(64, 80, 2, 4, 1, 32, 131), tie_word_embeddings=True,
                                        rope_theta=500.0, rope_scaling=LLAMA3_ROPE),
         dtype="BF16", style="v5"),
    Case("llama-bias-linear-f16", llama(**dense(96, 48, 2, 3, 3, 16, 99), attention_bias=True, mlp_bias=True,
                                        rope_scaling={"type": "linear", "factor": 2.5}), dtype="F16"),
    Case("llama-shards-f32", llama(**dense(40, 48, 2, 5, 1, 16, 195)), n_shard=3, lengths=(30, 17, 1)),
    Case("llama-nvfp4-compressed", llama(**dense(160, 160, 2, 5, 1, 32, 81)), dtype="BF16",
         quant="nvfp4-compressed"),
    Case("llama-fp8-channel", llama(**dense(96, 80, 2, 3, 1, 32, 61)), dtype="BF16", quant="fp8-channel"),
    Case("llama-int8-channel", llama(**dense(96, 80, 2, 3, 1, 32, 61)), dtype="BF16", quant="int8-channel"),
    Case("mistral-window-f32", mistral(**dense(32, 64, 2, 4, 2, 16, 97), sliding_window=12), style="v5"),
    Case("mistral-window-bf16", mistral(**dense(96, 32, 2, 6, 1, 16, 67), sliding_window=33), dtype="BF16"),
    Case("mistral-no-window-f32", mistral(**dense(32, 64, 2, 2, 1, 24, 97), sliding_window=None)),
    Case("mistral-window-long-f32", mistral(**dense(32, 32, 2, 2, 1, 16, 67), sliding_window=70),
         lengths=(201, 70)),
    Case("qwen2-tied-f32", qwen2(**dense(32, 48, 2, 2, 1, 32, 121), tie_word_embeddings=True,
                                 rope_theta=1000000.0)),
    Case("qwen2-window-bf16", qwen2(**dense(48, 48, 3, 6, 2, 16, 67), use_sliding_window=True,
                                    max_window_layers=1, sliding_window=10), dtype="BF16", style="v5"),
    Case("qwen2-yarn-f32", qwen2(**dense(48, 32, 2, 3, 3, 16, 97), rope_scaling={
        "type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16})),
    Case("qwen3-tied-f32", qwen3(**dense(48, 64, 2, 3, 1, 24, 107), tie_word_embeddings=True)),
    Case("qwen3-bias-bf16", qwen3(**dense(64, 64, 2, 5, 5, 16, 113), attention_bias=True), dtype="BF16",
         style="v5"),
    Case("qwen3-fp8", qwen3(**dense(160, 136, 2, 4, 1, 32, 61)), dtype="BF16", quant="fp8"),
    Case("qwen3-mxfp4", qwen3(**dense(160, 160, 2, 4, 2, 40, 81)), dtype="BF16", quant="mxfp4"),
    Case("qwen3-int4-g128", qwen3(**dense(128, 256, 1, 4, 2, 32, 61)), dtype="BF16", quant="int4-g128"),
    Case("qwen3moe-norm-f32", qwen3_moe(**dense(32, 64, 2, 4, 2, 16, 77),
                                        **experts(8, 2, 24, "num_experts"))),
    Case("qwen3moe-dense-layer-bf16", qwen3_moe(**dense(96, 64, 2, 6, 1, 16, 101),
                                                **experts(6, 3, 16, "num_experts"), norm_topk_prob=False,
                                                mlp_only_layers=[0]), dtype="BF16", style="v5"),
    Case("qwen3moe-sparse-step-f32", qwen3_moe(**dense(32, 48, 3, 3, 3, 16, 103),
                                               **experts(5, 2, 24, "num_experts"), norm_topk_prob=False,
                                               decoder_sparse_step=2), style="v5"),
    Case("qwen3moe-fp8-tensor", qwen3_moe(**dense(64, 64, 2, 4, 2, 16, 61), **experts(5, 2, 24, "num_experts")),
         dtype="BF16", quant="fp8-tensor"),
    Case("qwen3moe-mxfp4", qwen3_moe(**dense(64, 64, 2, 4, 2, 16, 61), **experts(5, 2, 32, "num_experts")),
         dtype="BF16", quant="mxfp4", style="v5"),
    Case("dsv2-lite-f32", deepseek_v2(**{**mla(32, 48, 2, 4, None, 32, 16, 8, 16, 77),
                                         **experts(8, 2, 24, routed_scaling_factor=1.5)},
                                      rope_scaling=yarn(0.707, 0.707))),
    Case("dsv2-grouped-f32", deepseek_v2(**{**mla(48, 48, 2, 3, 24, 40, 16, 16, 16, 77),
                                            **experts(8, 2, 16, routed_scaling_factor=4.0, n_group=4,
                                                      topk_group=2, topk_method="group_limited_greedy")},
                                         rope_scaling=yarn(1.0, 0.707))),
    Case("dsv2-no-yarn-bf16", deepseek_v2(**{**mla(96, 48, 2, 6, None, 32, 16, 8, 16, 77),
                                             **experts(5, 3, 24, routed_scaling_factor=1.0)}), dtype="BF16",
         style="v5"),
    Case("dsv3-yarn-f32", deepseek_v3(**{**mla(40, 48, 2, 3, 24, 32, 16, 16, 24, 73),
                                         **experts(12, 3, 16, n_group=4, topk_group=2)},
                                      rope_scaling=yarn(1.0, 1.0, factor=40))),
    Case("dsv3-long-f32", deepseek_v3(**{**mla(32, 32, 2, 3, 24, 32, 16, 8, 16, 67),
                                         **experts(4, 2, 16, n_group=2, topk_group=1)}, first_k_dense_replace=2,
                                      rope_scaling=yarn(1.0, 1.0)), lengths=(201, 70)),
    Case("dsv3-mtp-bf16", deepseek_v3(**{**mla(64, 64, 2, 4, 32, 32, 16, 8, 16, 61),
                                         **experts(6, 2, 16, n_group=2, topk_group=1)},
                                      rope_scaling=yarn(1.0, 0.8)), dtype="BF16", mtp=True),
    Case("dsv3-no-q-lora-f32", deepseek_v3(**{**mla(40, 48, 2, 5, None, 32, 16, 8, 16, 83),
                                              **experts(8, 3, 16, n_group=1, topk_group=1)},
                                           norm_topk_prob=False), style="v5"),
    Case("dsv3-fp8", deepseek_v3(**{**mla(160, 144, 2, 3, 136, 128, 16, 16, 16, 61),
                                    **experts(6, 2, 24, n_group=3, topk_group=2)},
                                 rope_scaling=yarn(1.0, 1.0)), dtype="BF16", quant="fp8"),
    Case("dsv3-nvfp4-modelopt", deepseek_v3(**{**mla(96, 96, 2, 3, 48, 32, 16, 16, 16, 81),
                                               **experts(8, 3, 48, n_group=2, topk_group=1)},
                                            rope_scaling=yarn(1.0, 1.0)), dtype="BF16",
         quant="nvfp4-modelopt"),
    Case("dsv3-int4-g32-experts", deepseek_v3(**{**mla(96, 96, 2, 3, 48, 32, 16, 16, 16, 81),
                                                 **experts(8, 3, 64, n_group=1, topk_group=1)},
                                              rope_scaling=yarn(1.0, 1.0)), dtype="BF16",
         quant="int4-g32-experts"),
    Case("llama-gguf-k-quants", llama(**dense(256, 256, 1, 4, 1, 32, 50), rope_theta=500.0,
                                      rope_scaling=LLAMA3_ROPE),
         gguf={"attn_q": "Q2_K", "attn_k": "Q3_K", "attn_v": "Q4_K", "attn_o": "IQ4_NL", "ffn_gate": "Q5_K",
               "ffn_up": "IQ4_XS", "ffn_down": "Q6_K", "token_embd": "Q4_K", "output": "MXFP4"}),
    Case("qwen2-gguf-tied", qwen2(**dense(64, 96, 2, 2, 1, 32, 99), tie_word_embeddings=True),
         gguf={"token_embd": "Q8_0", "attn": "Q5_0", "ffn_down": "Q4_1", "ffn": "Q4_0"}),
    Case("qwen3-gguf-f16", qwen3(**dense(48, 48, 2, 3, 3, 16, 61)), gguf={"attn": "F16", "ffn": "BF16", "": "F16"}),
    Case("qwen3moe-gguf", qwen3_moe(**dense(64, 96, 2, 4, 2, 32, 77), **experts(5, 2, 32, "num_experts")),
         gguf={"exps": "Q5_1", "attn": "Q8_0", "": "F16"}),
    Case("dsv2-gguf-whole-kv-b", deepseek_v2(**{**mla(64, 32, 2, 2, None, 32, 32, 16, 32, 61),
                                                **experts(6, 2, 32, routed_scaling_factor=1.5)},
                                             rope_scaling=yarn(0.707, 0.707)),
         gguf={"attn_kv_b": "Q8_0", "exps": "Q4_1", "ffn": "Q8_0", "": "F16"}),
    Case("dsv3-gguf-split-kv-b", deepseek_v3(**{**mla(64, 32, 2, 3, 32, 32, 32, 16, 32, 61),
                                                **experts(8, 2, 32, n_group=4, topk_group=2)},
                                             rope_scaling=yarn(1.0, 1.0, factor=40)),
         gguf={"attn_[kv]_b": "Q8_0", "exps": "Q5_0", "ffn": "Q8_0", "": "BF16"}),
]
