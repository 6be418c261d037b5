// SPDX-License-Identifier: MIT
// Metadata of a GGUF file. Keys: the GGUF specification; values as llama.cpp's converter writes them.
#include "model/config_read.h"

#include "base/limits.h"
#include "store/gguf.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct reader {
    const tk_ckpt *ckpt;
    const char *arch, *where;
    tk_err *err;
    tk_status st;
} reader;

static const char *full_key(const reader *r, const char *key, char buf[256])
{
    snprintf(buf, 256, "%s.%s", r->arch, key);
    return buf;
}

static int get_int(reader *r, const char *key, int64_t fallback, int64_t min, int64_t max)
{
    char buf[256];
    int64_t v = fallback;
    if (!tk_gguf_int(r->ckpt, full_key(r, key, buf), &v)) return (int)fallback;
    if (r->st == TK_OK && (v < min || v > max))
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: %s is %lld, outside %lld..%lld", r->where, buf,
                        (long long)v, (long long)min, (long long)max);
    return r->st == TK_OK ? (int)v : (int)min;
}

static int need_int(reader *r, const char *key, int64_t min, int64_t max)
{
    char buf[256];
    int64_t v;
    if (r->st == TK_OK && !tk_gguf_int(r->ckpt, full_key(r, key, buf), &v))
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: there is no %s", r->where, buf);
    return get_int(r, key, min, min, max);
}

static double get_double(reader *r, const char *key, double fallback)
{
    char buf[256];
    double v = fallback;
    if (!tk_gguf_double(r->ckpt, full_key(r, key, buf), &v)) return fallback;
    if (r->st == TK_OK && !isfinite(v))
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: %s is not finite", r->where, buf);
    return v;
}

static void read_rope(reader *r, tk_config *c, int n_dim)
{
    tk_rope *p = &c->rope;
    char buf[256];
    const char *type = "none";
    size_t len = 4;
    tk_gguf_str(r->ckpt, full_key(r, "rope.scaling.type", buf), &type, &len);
    p->n_dim = get_int(r, "rope.dimension_count", n_dim, 2, TK_LIMIT_WIDTH);
    p->theta = get_double(r, "rope.freq_base", 10000);
    p->factor = get_double(r, "rope.scaling.factor", 1);
    p->orig_ctx = get_double(r, "rope.scaling.original_context_length", c->max_ctx);
    p->beta_fast = get_double(r, "rope.scaling.yarn_beta_fast", 32);
    p->beta_slow = get_double(r, "rope.scaling.yarn_beta_slow", 1);
    p->truncate = true;
    if (len == 4 && memcmp(type, "yarn", 4) == 0)
        p->kind = TK_ROPE_YARN;
    else if (len == 6 && memcmp(type, "linear", 6) == 0)
        p->kind = TK_ROPE_LINEAR;
    else if (!(len == 4 && memcmp(type, "none", 4) == 0) && r->st == TK_OK)
        r->st = tk_fail(r->err, TK_UNSUPPORTED,
                        "%s: rope scaling type \"%.*s\" is not supported (none, linear, "
                        "yarn are)",
                        r->where, (int)TK_MIN(len, 40), type);
    if (p->kind == TK_ROPE_YARN) {
        // written as 0.1 * mscale_all_dim; mscale equals it in every DeepSeek model, so cos and sin keep size 1
        p->mscale_all_dim = get_double(r, "rope.scaling.yarn_log_multiplier", 0) * 10;
        p->mscale = p->mscale_all_dim;
        p->attn_factor = get_double(r, "rope.scaling.attn_factor", 0);
    }
}

static void read_mla(reader *r, tk_config *c)
{
    tk_mla *m = &c->mla;
    m->q_lora = get_int(r, "attention.q_lora_rank", 0, 0, TK_LIMIT_WIDTH);
    m->kv_lora = need_int(r, "attention.kv_lora_rank", 1, TK_LIMIT_WIDTH);
    m->d_rope = need_int(r, "rope.dimension_count", 2, TK_LIMIT_WIDTH);
    // files made for MLA state the compressed head in key_length and the real one in key_length_mla
    int key = need_int(r, "attention.key_length", 1, TK_LIMIT_WIDTH);
    int value = need_int(r, "attention.value_length", 1, TK_LIMIT_WIDTH);
    key = get_int(r, "attention.key_length_mla", key, 1, TK_LIMIT_WIDTH);
    m->d_v = get_int(r, "attention.value_length_mla", value, 1, TK_LIMIT_WIDTH);
    m->d_nope = key - m->d_rope;
    if (r->st == TK_OK && m->d_nope < 1)
        r->st = tk_fail(r->err, TK_BAD_INPUT,
                        "%s: key length %d is not larger than the %d rotated dimensions", r->where,
                        key, m->d_rope);
    c->d_head = key;
    c->n_kv_head = 1;
}

static void read_moe(reader *r, tk_config *c)
{
    tk_moe *m = &c->moe;
    bool deepseek = c->family >= TK_FAMILY_DEEPSEEK_V2;
    m->n_expert = get_int(r, "expert_count", 0, 0, TK_LIMIT_EXPERTS);
    if (m->n_expert == 0) return;
    m->n_used = need_int(r, "expert_used_count", 1, m->n_expert);
    m->d_expert = need_int(r, "expert_feed_forward_length", 1, TK_LIMIT_WIDTH);
    m->n_shared = deepseek ? get_int(r, "expert_shared_count", 0, 0, 64) : 0;
    m->d_shared = m->n_shared * m->d_expert;
    m->routed_scale = (float)get_double(r, "expert_weights_scale", 1);
    if (m->routed_scale == 0) m->routed_scale = 1; // old files write 0 for "none"
    m->norm_topk = get_int(r, "expert_weights_norm", c->family == TK_FAMILY_QWEN3_MOE, 0, 1) != 0;
    m->score = get_int(r, "expert_gating_func", 1, 0, 3) == 2 ? TK_SCORE_SIGMOID : TK_SCORE_SOFTMAX;
    if (m->score == TK_SCORE_SIGMOID) c->family = TK_FAMILY_DEEPSEEK_V3;
    m->has_bias = tk_ckpt_has(r->ckpt, "blk.1.exp_probs_b.bias") || m->score == TK_SCORE_SIGMOID;
    m->n_group = get_int(r, "expert_group_count", 1, 1, TK_LIMIT_EXPERTS);
    m->n_group_used = get_int(r, "expert_group_used_count", 1, 1, TK_LIMIT_EXPERTS);
    // files from before these keys existed: the published groups of V3 (256 experts in 8 groups, 4 used)
    if (m->score == TK_SCORE_SIGMOID && m->n_group == 1 && m->n_expert == 256) {
        m->n_group = 8;
        m->n_group_used = 4;
    }
    m->group_rank = m->n_group == 1                ? TK_GROUP_NONE
                    : m->score == TK_SCORE_SIGMOID ? TK_GROUP_TOP2_SUM
                                                   : TK_GROUP_MAX;
    int dense = get_int(r, "leading_dense_block_count", 0, 0, TK_LIMIT_LAYERS);
    for (int i = 0; i < c->n_layer + c->n_mtp; i++) c->moe_layer[i] = i >= dense;
    if (r->st == TK_OK && (m->n_expert % m->n_group != 0 || m->n_group_used > m->n_group ||
                           m->n_used > m->n_expert / m->n_group * m->n_group_used))
        r->st = tk_fail(r->err, TK_BAD_INPUT,
                        "%s: %d experts in %d groups, %d groups and %d experts used: "
                        "these do not fit together",
                        r->where, m->n_expert, m->n_group, m->n_group_used, m->n_used);
}

static tk_status family_of(reader *r, tk_config *c, size_t len)
{
    static const struct {
        const char *arch;
        tk_family family;
    } known[] = {
        {"llama", TK_FAMILY_LLAMA},           {"qwen2", TK_FAMILY_QWEN2},
        {"qwen3", TK_FAMILY_QWEN3},           {"qwen3moe", TK_FAMILY_QWEN3_MOE},
        {"deepseek2", TK_FAMILY_DEEPSEEK_V2},
    };
    for (size_t i = 0; i < TK_COUNT(known); i++) {
        if (strlen(known[i].arch) != len || memcmp(r->arch, known[i].arch, len) != 0) continue;
        c->family = known[i].family;
        snprintf(c->arch, sizeof c->arch, "%s", known[i].arch);
        r->arch = known[i].arch;
        return TK_OK;
    }
    return tk_fail(r->err, TK_UNSUPPORTED,
                   "%s: architecture \"%.*s\" is not supported (llama, qwen2, qwen3, "
                   "qwen3moe, deepseek2 are)",
                   r->where, (int)TK_MIN(len, 60), r->arch);
}

static int vocab_size(reader *r)
{
    char buf[256];
    int64_t v = (int64_t)tk_gguf_array_len(r->ckpt, "tokenizer.ggml.tokens");
    tk_gguf_int(r->ckpt, full_key(r, "vocab_size", buf), &v);
    const tk_tensor *t =
        tk_ckpt_find(r->ckpt, "token_embd.weight"); // what the weights say wins: padded
    if (t && t->n_dim == 2) v = t->dim[0];
    if (r->st == TK_OK && (v < 1 || v > TK_LIMIT_VOCAB))
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: the vocabulary has %lld tokens", r->where,
                        (long long)v);
    return (int)v;
}

static void read_ends(reader *r, tk_config *c)
{
    int64_t id;
    c->bos = -1;
    if (tk_gguf_int(r->ckpt, "tokenizer.ggml.bos_token_id", &id) && id >= 0 && id < c->n_vocab)
        c->bos = (int32_t)id;
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    for (size_t i = 0; i < TK_COUNT(keys); i++)
        if (tk_gguf_int(r->ckpt, keys[i], &id) && id >= 0 && id < c->n_vocab)
            c->eos[c->n_eos++] = (int32_t)id;
}

tk_status tk_config_read_gguf(const tk_ckpt *ckpt, tk_config *c, tk_err *err)
{
    reader r = {.ckpt = ckpt, .where = tk_ckpt_path(ckpt), .err = err, .st = TK_OK};
    size_t len = 0;
    if (!tk_gguf_str(ckpt, "general.architecture", &r.arch, &len))
        return tk_fail(err, TK_BAD_INPUT, "%s: there is no general.architecture", r.where);
    r.st = family_of(&r, c, len);
    if (r.st != TK_OK) return r.st;
    c->is_gguf = true;
    c->d_model = need_int(&r, "embedding_length", 1, TK_LIMIT_WIDTH);
    c->d_ff = need_int(&r, "feed_forward_length", 1, TK_LIMIT_WIDTH);
    c->n_mtp = get_int(&r, "nextn_predict_layers", 0, 0, 8);
    c->n_layer = need_int(&r, "block_count", 1 + c->n_mtp, TK_LIMIT_LAYERS - 8) - c->n_mtp;
    c->n_head = need_int(&r, "attention.head_count", 1, TK_LIMIT_HEADS);
    c->rms_eps = (float)get_double(&r, "attention.layer_norm_rms_epsilon", 1e-6);
    c->max_ctx = get_int(&r, "context_length", 2048, 1, TK_LIMIT_CONTEXT);
    c->n_vocab = vocab_size(&r);
    c->tie_embed = !tk_ckpt_has(ckpt, "output.weight");
    c->attn_bias = c->family == TK_FAMILY_QWEN2 || tk_ckpt_has(ckpt, "blk.0.attn_q.bias");
    c->attn_o_bias = tk_ckpt_has(ckpt, "blk.0.attn_output.bias");
    c->mlp_bias = tk_ckpt_has(ckpt, "blk.0.ffn_gate.bias");
    c->qk_norm = c->family == TK_FAMILY_QWEN3 || c->family == TK_FAMILY_QWEN3_MOE;
    if (c->family == TK_FAMILY_DEEPSEEK_V2) {
        read_mla(&r, c);
        read_rope(&r, c, c->mla.d_rope);
        c->rope.interleaved = true;
    } else {
        c->n_kv_head = get_int(&r, "attention.head_count_kv", c->n_head, 1, TK_LIMIT_HEADS);
        c->d_head = get_int(&r, "attention.key_length", c->d_model / c->n_head, 1, TK_LIMIT_WIDTH);
        read_rope(&r, c, c->d_head);
        // the converter permutes q and k of this architecture so that neighbours are rotated together
        c->rope.interleaved = c->family == TK_FAMILY_LLAMA;
        c->window = get_int(&r, "attention.sliding_window", 0, 0, TK_LIMIT_CONTEXT);
    }
    if (r.st == TK_OK &&
        (c->n_head % c->n_kv_head != 0 || c->rope.n_dim % 2 != 0 || c->rope.n_dim > c->d_head))
        r.st = tk_fail(err, TK_BAD_INPUT,
                       "%s: %d heads of %d, %d key-value heads, %d rotated dimensions do not fit "
                       "together",
                       r.where, c->n_head, c->d_head, c->n_kv_head, c->rope.n_dim);
    if (r.st == TK_OK && c->mla.kv_lora == 0 && c->rope.n_dim != c->d_head)
        r.st = tk_fail(err, TK_UNSUPPORTED,
                       "%s: %d of %d dimensions of a head are rotated; only all are supported",
                       r.where, c->rope.n_dim, c->d_head);
    c->attn_scale = 1 / sqrt((double)c->d_head);
    if (c->rope.kind == TK_ROPE_YARN && c->rope.mscale_all_dim > 0 && c->rope.factor > 1) {
        double m = 0.1 * c->rope.mscale_all_dim * log(c->rope.factor) + 1;
        c->attn_scale *= m * m;
    }
    if (r.st == TK_OK) read_moe(&r, c);
    read_ends(&r, c);
    return r.st;
}

tk_status tk_config_read(const tk_ckpt *ckpt, tk_config *out, tk_err *err)
{
    memset(out, 0, sizeof *out);
    return tk_ckpt_kind_of(ckpt) == TK_CKPT_GGUF ? tk_config_read_gguf(ckpt, out, err)
                                                 : tk_config_read_hf(ckpt, out, err);
}
