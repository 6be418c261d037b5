// SPDX-License-Identifier: MIT
// GGUF metadata of a config, by llama.cpp's keys: the other direction of model/config_gguf.c.
#include "cli/synth.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

typedef struct keys {
    tk_gguf_meta *m;
    const char *arch;
} keys;

static void u32(const keys *k, const char *key, int64_t v)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", k->arch, key);
    tk_gguf_put_u32(k->m, full, (uint32_t)v);
}

static void f32(const keys *k, const char *key, double v)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", k->arch, key);
    tk_gguf_put_f32(k->m, full, (float)v);
}

static void put_rope(const keys *k, const tk_config *c)
{
    const tk_rope *r = &c->rope;
    char full[128];
    u32(k, "rope.dimension_count", r->n_dim);
    f32(k, "rope.freq_base", r->theta);
    if (r->kind != TK_ROPE_LINEAR && r->kind != TK_ROPE_YARN) return;
    snprintf(full, sizeof full, "%s.rope.scaling.type", k->arch);
    tk_gguf_put_str(k->m, full, r->kind == TK_ROPE_YARN ? "yarn" : "linear");
    f32(k, "rope.scaling.factor", r->factor);
    if (r->kind != TK_ROPE_YARN) return;
    u32(k, "rope.scaling.original_context_length", (int64_t)r->orig_ctx);
    f32(k, "rope.scaling.yarn_beta_fast", r->beta_fast);
    f32(k, "rope.scaling.yarn_beta_slow", r->beta_slow);
    if (r->mscale_all_dim != 0) f32(k, "rope.scaling.yarn_log_multiplier", 0.1 * r->mscale_all_dim);
    if (r->attn_factor != 0) f32(k, "rope.scaling.attn_factor", r->attn_factor);
}

// kv_b is written in its halves, so the head that is cached is the compressed one.
static void put_mla(const keys *k, const tk_config *c)
{
    const tk_mla *m = &c->mla;
    if (m->q_lora) u32(k, "attention.q_lora_rank", m->q_lora);
    u32(k, "attention.head_count_kv", 1);
    u32(k, "attention.kv_lora_rank", m->kv_lora);
    u32(k, "attention.key_length", m->kv_lora + m->d_rope);
    u32(k, "attention.value_length", m->kv_lora);
    u32(k, "attention.key_length_mla", m->d_nope + m->d_rope);
    u32(k, "attention.value_length_mla", m->d_v);
}

static tk_status put_moe(const keys *k, const tk_config *c, tk_err *err)
{
    const tk_moe *m = &c->moe;
    char full[128];
    int dense = 0;
    if (m->n_expert == 0) return TK_OK;
    while (dense < c->n_layer && !c->moe_layer[dense]) dense++;
    for (int i = dense; i < c->n_layer; i++)
        if (!c->moe_layer[i] || (dense > 0 && c->mla.kv_lora == 0))
            return tk_fail(err, TK_UNSUPPORTED,
                           "a GGUF file cannot say that layer %d has no experts; write a folder",
                           c->moe_layer[i] ? 0 : i);
    u32(k, "expert_count", m->n_expert);
    u32(k, "expert_used_count", m->n_used);
    u32(k, "expert_feed_forward_length", m->d_expert);
    if (c->mla.kv_lora == 0) return TK_OK;
    u32(k, "leading_dense_block_count", dense);
    u32(k, "expert_shared_count", m->n_shared);
    f32(k, "expert_weights_scale", (double)m->routed_scale);
    snprintf(full, sizeof full, "%s.expert_weights_norm", k->arch);
    tk_gguf_put_bool(k->m, full, m->norm_topk);
    u32(k, "expert_gating_func", m->score == TK_SCORE_SIGMOID ? 2 : 1);
    if (m->n_group > 1) {
        u32(k, "expert_group_count", m->n_group);
        u32(k, "expert_group_used_count", m->n_group_used);
    }
    return TK_OK;
}

static tk_status put_tokenizer(const tk_config *c, tk_gguf_meta *m, tk_err *err)
{
    static const char *const merges[] = {tk_synth_merge};
    tk_synth_vocab v;
    tk_status st = tk_synth_vocab_make(c, &v, err);
    if (st != TK_OK) return st;
    tk_gguf_put_str(m, "tokenizer.ggml.model", "gpt2");
    tk_gguf_put_str(m, "tokenizer.ggml.pre", "gpt-2");
    tk_gguf_put_strs(m, "tokenizer.ggml.tokens", (const char *const *)v.tokens, v.n);
    tk_gguf_put_i32s(m, "tokenizer.ggml.token_type", v.kinds, v.n);
    tk_gguf_put_strs(m, "tokenizer.ggml.merges", merges, 1);
    if (c->bos >= 0 && c->bos < c->n_vocab)
        tk_gguf_put_u32(m, "tokenizer.ggml.bos_token_id", (uint32_t)c->bos);
    if (c->n_eos > 0 && c->eos[0] < c->n_vocab)
        tk_gguf_put_u32(m, "tokenizer.ggml.eos_token_id", (uint32_t)c->eos[0]);
    tk_gguf_put_bool(m, "tokenizer.ggml.add_bos_token", false);
    tk_gguf_put_str(m, "tokenizer.chat_template", tk_synth_template);
    tk_synth_vocab_free(&v);
    return TK_OK;
}

// llama.cpp's number for the mix of a file; it only names it in listings.
static uint32_t file_type(const char *dtype)
{
    static const struct {
        const char *dtype;
        uint32_t number;
    } map[] = {{"F32", 0},  {"F16", 1},   {"Q4_0", 2},  {"Q4_1", 3},  {"Q8_0", 7},
               {"Q5_0", 8}, {"Q4_K", 15}, {"Q6_K", 18}, {"BF16", 32}, {"MXFP4", 38}};
    for (size_t i = 0; i < TK_COUNT(map); i++)
        if (strcmp(map[i].dtype, dtype) == 0) return map[i].number;
    return 0;
}

tk_status tk_synth_metadata(const tk_config *c, const char *name, const char *dtype,
                            tk_gguf_meta *m, tk_err *err)
{
    static const char *const archs[] = {
        [TK_FAMILY_LLAMA] = "llama",           [TK_FAMILY_QWEN2] = "qwen2",
        [TK_FAMILY_QWEN3] = "qwen3",           [TK_FAMILY_QWEN3_MOE] = "qwen3moe",
        [TK_FAMILY_DEEPSEEK_V2] = "deepseek2", [TK_FAMILY_DEEPSEEK_V3] = "deepseek2",
    };
    keys k = {.m = m, .arch = archs[c->family]};
    tk_gguf_put_str(m, "general.architecture", k.arch);
    tk_gguf_put_str(m, "general.name", name);
    tk_gguf_put_u32(m, "general.file_type", file_type(dtype));
    tk_gguf_put_u32(m, "general.quantization_version", 2);
    u32(&k, "block_count", c->n_layer);
    u32(&k, "context_length", c->max_ctx);
    u32(&k, "embedding_length", c->d_model);
    u32(&k, "feed_forward_length", c->d_ff);
    u32(&k, "attention.head_count", c->n_head);
    f32(&k, "attention.layer_norm_rms_epsilon", (double)c->rms_eps);
    u32(&k, "vocab_size", c->n_vocab);
    if (c->mla.kv_lora > 0) {
        put_mla(&k, c);
    } else {
        u32(&k, "attention.head_count_kv", c->n_kv_head);
        u32(&k, "attention.key_length", c->d_head);
        u32(&k, "attention.value_length", c->d_head);
        if (c->window > 0 && c->window_from == 0) u32(&k, "attention.sliding_window", c->window);
    }
    put_rope(&k, c);
    tk_status st = put_moe(&k, c, err);
    return st == TK_OK ? put_tokenizer(c, m, err) : st;
}
