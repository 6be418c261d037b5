// SPDX-License-Identifier: MIT
// config.json of a Hugging Face snapshot.
#include "model/config_read.h"

#include "base/json.h"
#include "base/limits.h"

#include <math.h>
#include <string.h>

typedef struct reader {
    const json_t *cfg;
    const char *where; // path of config.json's folder, for messages
    tk_err *err;
    tk_status st; // first failure
} reader;

static int get_int(reader *r, const char *key, int64_t fallback, int64_t min, int64_t max)
{
    int64_t v = fallback;
    if (r->st == TK_OK) r->st = tk_json_int(r->cfg, key, min, max, &v, r->where, r->err);
    return (int)v;
}

static int need_int(reader *r, const char *key, int64_t min, int64_t max)
{
    if (r->st == TK_OK && tk_json_get(r->cfg, key) == NULL)
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: config.json has no \"%s\"", r->where, key);
    return get_int(r, key, min, min, max);
}

static double get_double(reader *r, const json_t *obj, const char *key, double fallback)
{
    double v = fallback;
    if (r->st == TK_OK) r->st = tk_json_double(obj, key, &v, r->where, r->err);
    if (r->st == TK_OK && !isfinite(v))
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: \"%s\" is not finite", r->where, key);
    return v;
}

static bool get_bool(reader *r, const char *key, bool fallback)
{
    bool v = fallback;
    if (r->st == TK_OK) r->st = tk_json_bool(r->cfg, key, &v, r->where, r->err);
    return v;
}

static const char *get_str(reader *r, const json_t *obj, const char *key, const char *fallback)
{
    const char *v = fallback;
    if (r->st == TK_OK) r->st = tk_json_str(obj, key, &v, r->where, r->err);
    return v;
}

static void read_eos(reader *r, const json_t *obj, tk_config *c)
{
    json_t *eos = obj ? tk_json_get(obj, "eos_token_id") : NULL;
    size_t n = json_is_array(eos) ? json_array_size(eos) : eos ? 1 : 0;
    for (size_t i = 0; i < n && c->n_eos < (int)TK_COUNT(c->eos); i++) {
        json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            json_integer_value(v) >= TK_LIMIT_VOCAB) {
            r->st =
                tk_fail(r->err, TK_BAD_INPUT, "%s: \"eos_token_id\" is not a token id", r->where);
            return;
        }
        c->eos[c->n_eos++] = (int32_t)json_integer_value(v);
    }
}

// transformers 5 keeps theta and scaling together in rope_parameters; before, rope_theta stood alone and
// rope_scaling was null for plain models, with "type" or "rope_type".
static void read_rope(reader *r, tk_config *c, int n_dim)
{
    tk_rope *p = &c->rope;
    const json_t *params = tk_json_get(r->cfg, "rope_parameters");
    const json_t *s = params ? params : tk_json_get(r->cfg, "rope_scaling");
    static const json_t *const none = NULL;
    if (s && !json_is_object(s)) s = none;
    p->n_dim = n_dim;
    p->theta = get_double(r, r->cfg, "rope_theta", 10000);
    if (s) p->theta = get_double(r, s, "rope_theta", p->theta);
    const char *type = s ? get_str(r, s, "type", "default") : "default";
    if (s) type = get_str(r, s, "rope_type", type);
    p->factor = s ? get_double(r, s, "factor", 1) : 1;
    p->orig_ctx = s ? get_double(r, s, "original_max_position_embeddings", c->max_ctx) : c->max_ctx;
    p->beta_fast = s ? get_double(r, s, "beta_fast", 32) : 32;
    p->beta_slow = s ? get_double(r, s, "beta_slow", 1) : 1;
    p->mscale = s ? get_double(r, s, "mscale", 0) : 0;
    p->mscale_all_dim = s ? get_double(r, s, "mscale_all_dim", 0) : 0;
    p->attn_factor = s ? get_double(r, s, "attention_factor", 0) : 0;
    p->low_freq_factor = s ? get_double(r, s, "low_freq_factor", 1) : 1;
    p->high_freq_factor = s ? get_double(r, s, "high_freq_factor", 4) : 4;
    p->truncate = true;
    if (s && r->st == TK_OK) r->st = tk_json_bool(s, "truncate", &p->truncate, r->where, r->err);
    if (r->st != TK_OK) return;
    if (strcmp(type, "default") == 0)
        p->kind = TK_ROPE_DEFAULT;
    else if (strcmp(type, "linear") == 0)
        p->kind = TK_ROPE_LINEAR;
    else if (strcmp(type, "llama3") == 0)
        p->kind = TK_ROPE_LLAMA3;
    else if (strcmp(type, "yarn") == 0)
        p->kind = TK_ROPE_YARN;
    else
        r->st = tk_fail(r->err, TK_UNSUPPORTED,
                        "%s: rope type \"%s\" is not supported (default, linear, "
                        "llama3, yarn are)",
                        r->where, type);
}

static void read_layers_with_experts(reader *r, tk_config *c)
{
    if (c->moe.n_expert == 0) return;
    int first_dense = get_int(r, "first_k_dense_replace", 0, 0, TK_LIMIT_LAYERS);
    int freq = get_int(r, "moe_layer_freq", 1, 1, TK_LIMIT_LAYERS);
    int step = get_int(r, "decoder_sparse_step", 1, 1, TK_LIMIT_LAYERS);
    bool qwen = c->family == TK_FAMILY_QWEN3_MOE;
    for (int i = 0; i < c->n_layer; i++)
        c->moe_layer[i] = qwen ? (i + 1) % step == 0 : i >= first_dense && i % freq == 0;
    json_t *dense = tk_json_get(r->cfg, "mlp_only_layers"), *v;
    size_t k;
    json_array_foreach(dense, k, v)
    {
        int64_t i = json_is_integer(v) ? json_integer_value(v) : -1;
        if (i >= 0 && i < c->n_layer) c->moe_layer[i] = 0;
    }
    for (int i = c->n_layer; i < c->n_layer + c->n_mtp; i++) c->moe_layer[i] = 1;
}

static void read_moe(reader *r, tk_config *c)
{
    tk_moe *m = &c->moe;
    bool qwen = c->family == TK_FAMILY_QWEN3_MOE;
    m->n_expert = get_int(r, "n_routed_experts", 0, 0, TK_LIMIT_EXPERTS);
    m->n_expert = get_int(r, "num_local_experts", m->n_expert, 0, TK_LIMIT_EXPERTS);
    m->n_expert = get_int(r, "num_experts", m->n_expert, 0, TK_LIMIT_EXPERTS);
    if (m->n_expert == 0) return;
    m->n_used = need_int(r, "num_experts_per_tok", 1, m->n_expert);
    m->d_expert = need_int(r, "moe_intermediate_size", 1, TK_LIMIT_WIDTH);
    m->n_shared = get_int(r, "n_shared_experts", 0, 0, 64);
    m->d_shared = m->n_shared * m->d_expert;
    m->routed_scale = (float)get_double(r, r->cfg, "routed_scaling_factor", 1);
    m->norm_topk = get_bool(r, "norm_topk_prob", c->family == TK_FAMILY_DEEPSEEK_V3);
    m->n_group = get_int(r, "n_group", 1, 1, TK_LIMIT_EXPERTS);
    m->n_group_used = get_int(r, "topk_group", 1, 1, TK_LIMIT_EXPERTS);
    const char *score = get_str(r, r->cfg, "scoring_func",
                                c->family == TK_FAMILY_DEEPSEEK_V3 ? "sigmoid" : "softmax");
    const char *method = get_str(r, r->cfg, "topk_method",
                                 c->family == TK_FAMILY_DEEPSEEK_V3 ? "noaux_tc" : "greedy");
    if (r->st != TK_OK) return;
    m->score = strcmp(score, "sigmoid") == 0 ? TK_SCORE_SIGMOID : TK_SCORE_SOFTMAX;
    if (qwen || strcmp(method, "greedy") == 0)
        m->group_rank = TK_GROUP_NONE;
    else if (strcmp(method, "group_limited_greedy") == 0)
        m->group_rank = TK_GROUP_MAX;
    else if (strcmp(method, "noaux_tc") == 0)
        m->group_rank = TK_GROUP_TOP2_SUM;
    else
        r->st = tk_fail(r->err, TK_UNSUPPORTED, "%s: topk_method \"%s\" is not supported", r->where,
                        method);
    m->has_bias = m->group_rank == TK_GROUP_TOP2_SUM;
    if (m->group_rank == TK_GROUP_NONE) m->n_group = m->n_group_used = 1;
    if (r->st == TK_OK && (m->n_expert % m->n_group != 0 || m->n_group_used > m->n_group ||
                           m->n_used > m->n_expert / m->n_group * m->n_group_used))
        r->st = tk_fail(r->err, TK_BAD_INPUT,
                        "%s: %d experts in %d groups, %d groups and %d experts used: "
                        "these do not fit together",
                        r->where, m->n_expert, m->n_group, m->n_group_used, m->n_used);
}

static void read_mla(reader *r, tk_config *c)
{
    tk_mla *m = &c->mla;
    m->q_lora = get_int(r, "q_lora_rank", 0, 0, TK_LIMIT_WIDTH);
    m->kv_lora = need_int(r, "kv_lora_rank", 1, TK_LIMIT_WIDTH);
    m->d_nope = need_int(r, "qk_nope_head_dim", 1, TK_LIMIT_WIDTH);
    m->d_rope = need_int(r, "qk_rope_head_dim", 2, TK_LIMIT_WIDTH);
    m->d_v = need_int(r, "v_head_dim", 1, TK_LIMIT_WIDTH);
    c->d_head = m->d_nope + m->d_rope;
    c->n_kv_head = 1;
}

static void read_attention(reader *r, tk_config *c)
{
    c->n_head = need_int(r, "num_attention_heads", 1, TK_LIMIT_HEADS);
    bool mla = c->family == TK_FAMILY_DEEPSEEK_V2 || c->family == TK_FAMILY_DEEPSEEK_V3;
    if (mla) {
        read_mla(r, c);
        read_rope(r, c, c->mla.d_rope);
        c->rope.interleaved = get_bool(r, "rope_interleave", true);
    } else {
        c->n_kv_head = get_int(r, "num_key_value_heads", c->n_head, 1, TK_LIMIT_HEADS);
        c->d_head = get_int(r, "head_dim", c->d_model / c->n_head, 1, TK_LIMIT_WIDTH);
        read_rope(r, c, c->d_head);
    }
    if (r->st == TK_OK && (c->n_head % c->n_kv_head != 0 || c->rope.n_dim % 2 != 0))
        r->st = tk_fail(r->err, TK_BAD_INPUT,
                        "%s: %d heads, %d key-value heads, %d rotated dimensions do not "
                        "fit together",
                        r->where, c->n_head, c->n_kv_head, c->rope.n_dim);
    int64_t width = (int64_t)c->n_head * TK_MAX(c->d_head, c->mla.d_nope + c->mla.d_v);
    if (r->st == TK_OK && width > TK_LIMIT_WIDTH) // products of these are ints from here on
        r->st = tk_fail(r->err, TK_BAD_INPUT, "%s: %d heads of %d are wider than %d", r->where,
                        c->n_head, c->d_head, TK_LIMIT_WIDTH);
    c->attn_scale = 1 / sqrt((double)c->d_head);
    if (mla && c->rope.kind == TK_ROPE_YARN && c->rope.mscale_all_dim > 0 && c->rope.factor > 1) {
        double m = 0.1 * c->rope.mscale_all_dim * log(c->rope.factor) +
                   1; // DeepSeek's own YaRN temperature
        c->attn_scale *= m * m;
    }
    c->attn_bias = get_bool(r, "attention_bias", c->family == TK_FAMILY_QWEN2);
    if (c->family == TK_FAMILY_QWEN2) c->attn_bias = true;
    c->attn_o_bias = c->attn_bias && c->family != TK_FAMILY_QWEN2;
    c->qk_norm = c->family == TK_FAMILY_QWEN3 || c->family == TK_FAMILY_QWEN3_MOE;
    bool slides = strcmp(c->arch, "mistral") == 0 || get_bool(r, "use_sliding_window", false);
    c->window = slides ? get_int(r, "sliding_window", 0, 0, TK_LIMIT_CONTEXT) : 0;
    c->window_from = strcmp(c->arch, "mistral") == 0
                         ? 0
                         : get_int(r, "max_window_layers", 0, 0, TK_LIMIT_LAYERS);
}

static tk_status family_of(const char *type, tk_config *c, const char *where, tk_err *err)
{
    static const struct {
        const char *type;
        tk_family family;
    } known[] = {
        {"llama", TK_FAMILY_LLAMA},
        {"mistral", TK_FAMILY_LLAMA},
        {"qwen2", TK_FAMILY_QWEN2},
        {"qwen3", TK_FAMILY_QWEN3},
        {"qwen3_moe", TK_FAMILY_QWEN3_MOE},
        {"deepseek_v2", TK_FAMILY_DEEPSEEK_V2},
        {"deepseek_v3", TK_FAMILY_DEEPSEEK_V3},
    };
    for (size_t i = 0; i < TK_COUNT(known); i++) {
        if (strcmp(type, known[i].type) != 0) continue;
        c->family = known[i].family;
        snprintf(c->arch, sizeof c->arch, "%s", type);
        return TK_OK;
    }
    return tk_fail(err, TK_UNSUPPORTED,
                   "%s: model_type \"%.60s\" is not supported (llama, mistral, qwen2, qwen3, "
                   "qwen3_moe, deepseek_v2, deepseek_v3 are)",
                   where, type);
}

tk_status tk_config_read_json(const json_t *config, const json_t *generation, const char *where,
                              tk_config *c, tk_err *err)
{
    reader r = {.cfg = config, .where = where, .err = err, .st = TK_OK};
    memset(c, 0, sizeof *c);
    if (r.cfg == NULL) return tk_fail(err, TK_BAD_INPUT, "%s: there is no config.json", r.where);
    const char *type = get_str(&r, r.cfg, "model_type", "");
    if (r.st == TK_OK) r.st = family_of(type, c, r.where, err);
    if (r.st != TK_OK) return r.st;
    c->d_model = need_int(&r, "hidden_size", 1, TK_LIMIT_WIDTH);
    c->d_ff = need_int(&r, "intermediate_size", 1, TK_LIMIT_WIDTH);
    c->n_layer = need_int(&r, "num_hidden_layers", 1, TK_LIMIT_LAYERS - 8);
    c->n_vocab = need_int(&r, "vocab_size", 1, TK_LIMIT_VOCAB);
    c->rms_eps = (float)get_double(&r, r.cfg, "rms_norm_eps", 1e-6);
    c->max_ctx = get_int(&r, "max_position_embeddings", 2048, 1, TK_LIMIT_CONTEXT);
    c->tie_embed = get_bool(&r, "tie_word_embeddings", false);
    c->mlp_bias = get_bool(&r, "mlp_bias", false);
    c->bos = get_int(&r, "bos_token_id", -1, -1, TK_LIMIT_VOCAB);
    if (c->family == TK_FAMILY_DEEPSEEK_V3)
        c->n_mtp = get_int(&r, "num_nextn_predict_layers", 0, 0, 8);
    const char *act = get_str(&r, r.cfg, "hidden_act", "silu");
    if (r.st == TK_OK && strcmp(act, "silu") != 0)
        return tk_fail(err, TK_UNSUPPORTED, "%s: hidden_act \"%.40s\" is not supported (silu is)",
                       r.where, act);
    if (r.st == TK_OK) read_attention(&r, c);
    if (r.st == TK_OK && c->family >= TK_FAMILY_QWEN3_MOE) read_moe(&r, c);
    if (r.st == TK_OK) read_layers_with_experts(&r, c);
    read_eos(&r, generation && tk_json_get(generation, "eos_token_id") ? generation : r.cfg, c);
    return r.st;
}

tk_status tk_config_read_hf(const tk_ckpt *ckpt, tk_config *c, tk_err *err)
{
    return tk_config_read_json(tk_ckpt_config(ckpt), tk_ckpt_generation_config(ckpt),
                               tk_ckpt_path(ckpt), c, err);
}
