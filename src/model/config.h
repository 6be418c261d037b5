// SPDX-License-Identifier: MIT
// What a checkpoint's config.json (or GGUF metadata) says about the model, in one form for all families.
// Read once, never changed after. Sources: transformers' configuration files, both the classic form
// (rope_theta, rope_scaling, torch_dtype) and transformers 5's (rope_parameters, dtype, num_local_experts).
#ifndef TK_MODEL_CONFIG_H
#define TK_MODEL_CONFIG_H

#include "base/status.h"
#include "store/checkpoint.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum tk_family {
    TK_FAMILY_LLAMA, // llama, mistral
    TK_FAMILY_QWEN2,
    TK_FAMILY_QWEN3,
    TK_FAMILY_QWEN3_MOE,
    TK_FAMILY_DEEPSEEK_V2,
    TK_FAMILY_DEEPSEEK_V3,
} tk_family;

typedef enum tk_rope_kind {
    TK_ROPE_DEFAULT,
    TK_ROPE_LINEAR,
    TK_ROPE_LLAMA3,
    TK_ROPE_YARN
} tk_rope_kind;

typedef struct tk_rope {
    tk_rope_kind kind;
    bool interleaved; // pairs (x0,x1),(x2,x3).. instead of (x0,x[n/2])..
    int n_dim;        // rotated dimensions of a head
    double theta;
    double factor;
    double orig_ctx;                          // tokens
    double beta_fast, beta_slow;              // YaRN
    double mscale, mscale_all_dim;            // YaRN as DeepSeek uses it; 0 = absent
    double attn_factor;                       // YaRN's explicit factor on cos and sin; 0 = derive
    double low_freq_factor, high_freq_factor; // llama3
    bool truncate; // YaRN: round the correction range to whole dimensions
} tk_rope;

typedef enum tk_score_fn { TK_SCORE_SOFTMAX, TK_SCORE_SIGMOID } tk_score_fn;
// How a group of experts is ranked when only the best groups are kept.
typedef enum tk_group_rank { TK_GROUP_NONE, TK_GROUP_MAX, TK_GROUP_TOP2_SUM } tk_group_rank;

typedef struct tk_moe {
    int n_expert, n_used, n_shared; // 0 experts = dense model
    int d_expert;                   // inner width of one routed expert
    int d_shared;                   // inner width of all shared experts together
    int n_group, n_group_used;
    tk_score_fn score;
    tk_group_rank group_rank;
    bool has_bias;  // correction bias added for the choice only
    bool norm_topk; // weights of the chosen divided by their sum
    float routed_scale;
} tk_moe;

typedef struct tk_mla {
    int q_lora;                       // 0 = q projected directly
    int kv_lora, d_nope, d_rope, d_v; // kv_lora 0 = no MLA
} tk_mla;

typedef struct tk_config {
    tk_family family;
    char arch[64]; // as the file calls it
    bool is_gguf;
    int n_layer, d_model, d_ff, n_vocab;
    int n_head, n_kv_head, d_head;
    float rms_eps;
    bool attn_bias; // q, k, v
    bool attn_o_bias;
    bool mlp_bias;
    bool qk_norm; // per head, before rope
    bool tie_embed;
    int window;      // sliding window in tokens, 0 = none
    int window_from; // first layer that slides (qwen2's max_window_layers), 0 for mistral
    tk_rope rope;
    double attn_scale; // multiplies q.k
    tk_moe moe;
    uint8_t moe_layer[1024]; // [TK_LIMIT_LAYERS] 1 = this layer has experts
    tk_mla mla;
    int n_mtp;   // extra layers for multi-token prediction after n_layer
    int max_ctx; // tokens the position embedding is meant for
    int32_t bos, eos[16];
    int n_eos;
} tk_config;

// TK_UNSUPPORTED names an unknown architecture; TK_BAD_INPUT a value that is missing or out of range.
tk_status tk_config_read(const tk_ckpt *ckpt, tk_config *out, tk_err *err);

// The same from the object of a config.json and (or NULL) of a generation_config.json; where names them.
tk_status tk_config_read_json(const json_t *config, const json_t *generation, const char *where,
                              tk_config *out, tk_err *err);

// Rotation table for positions [0, n_dim/2): inverse frequencies (float32, as transformers computes them),
// and the factor on cos and sin.
void tk_rope_frequencies(const tk_rope *r, float *inv_freq /* [n_dim/2] */, float *attn_factor);

#endif
