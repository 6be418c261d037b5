// SPDX-License-Identifier: MIT
// DeepSeek V2 and V3/R1: multi-head latent attention, shared and routed experts, multi-token prediction.
// Sources: DeepSeek-V2 (2405.04434), DeepSeek-V3 (2412.19437), their published inference code.
//
//   c_q = norm(q_a n), q = q_b c_q          (or q = q n without the low-rank form)
//   [c | k_rope] = kv_a n, c = norm(c)      only [c | rope(k_rope)] is cached: 512 + 64 values a token in V3
//   x += o(attend_mla(q, cache)),  x += shared(n) + experts(n)   (dense MLP in the first layers)
//
// Traps: only the latent is normalised, not the rope key; the rope dimensions come last in a query head and
// are rotated in neighbouring pairs; the correction bias chooses experts but never weighs them.
#include "model/build.h"

typedef struct bufs {
    tk_view x, n, qa, q, kv, a, gate, up, scores, moe;
} bufs;

static bufs make_bufs(tk_build *b)
{
    const tk_config *c = &b->p->cfg;
    const tk_mla *m = &c->mla;
    bool has_moe = c->moe.n_expert > 0;
    int d_gate = c->d_ff > c->moe.d_shared ? c->d_ff : c->moe.d_shared;
    return (bufs){
        .x = tk_build_buf(b, c->d_model),
        .n = tk_build_buf(b, c->d_model),
        .qa = m->q_lora ? tk_build_buf(b, m->q_lora) : TK_VIEW_NONE,
        .q = tk_build_buf(b, c->n_head * c->d_head),
        .kv = tk_build_buf(b, m->kv_lora + m->d_rope),
        .a = tk_build_buf(b, c->n_head * m->d_v),
        .gate = tk_build_buf(b, d_gate),
        .up = tk_build_buf(b, d_gate),
        .scores = has_moe ? tk_build_buf(b, c->moe.n_expert) : TK_VIEW_NONE,
        .moe = tk_build_buf(b, c->d_model),
    };
}

#define ATTN(x, y) ((tk_name){"model.layers.%d.self_attn." x ".weight", "blk.%d." y ".weight"})

static int32_t projection(tk_build *b, tk_view in, tk_view out, tk_name name)
{
    int32_t w = tk_build_matrix(b, name, TK_ROLE_ATTENTION, out.n, in.n);
    tk_build_linear(b, in, out, w, -1);
    return w;
}

static void queries(tk_build *b, const bufs *u)
{
    const tk_mla *m = &b->p->cfg.mla;
    if (m->q_lora == 0) {
        projection(b, u->n, u->q, ATTN("q_proj", "attn_q"));
        return;
    }
    projection(b, u->n, u->qa, ATTN("q_a_proj", "attn_q_a"));
    int32_t norm =
        tk_build_vector(b, ATTN("q_a_layernorm", "attn_q_a_norm"), TK_ROLE_NORM, m->q_lora);
    tk_build_rmsnorm(b, u->qa, u->qa, norm);
    projection(b, u->qa, u->q, ATTN("q_b_proj", "attn_q_b"));
}

static void rope(tk_build *b, tk_view v, int n_head, int d_head)
{
    tk_op *op = tk_build_op(b, TK_OP_ROPE);
    op->in = op->out = v;
    op->n_head = n_head;
    op->d_head = d_head;
    op->rope_dims = b->p->cfg.mla.d_rope;
}

// kv_b is stored whole (rows of a head: d_nope for keys, d_v for values) or, in newer GGUF files, as the
// transposed key half [head][kv_lora][d_nope] and the value half [head][d_v][kv_lora].
static void bind_kv_b(tk_build *b, tk_op *at)
{
    const tk_config *c = &b->p->cfg;
    const tk_mla *m = &c->mla;
    tk_name whole = ATTN("kv_b_proj", "attn_kv_b"), keys = ATTN("", "attn_k_b"),
            values = ATTN("", "attn_v_b");
    if (!c->is_gguf || tk_build_has(b, whole)) {
        at->w = tk_build_matrix(b, whole, TK_ROLE_ATTENTION,
                                (int64_t)c->n_head * (m->d_nope + m->d_v), m->kv_lora);
        return;
    }
    // merged over heads they are plain matrices: rows head * kv_lora + i, and head * d_v + i
    at->w = tk_build_matrix(b, keys, TK_ROLE_ATTENTION, (int64_t)c->n_head * m->kv_lora, m->d_nope);
    at->w2 = tk_build_matrix(b, values, TK_ROLE_ATTENTION, (int64_t)c->n_head * m->d_v, m->kv_lora);
}

static void attention(tk_build *b, const bufs *u)
{
    const tk_config *c = &b->p->cfg;
    const tk_mla *m = &c->mla;
    static const tk_name norm = {"model.layers.%d.input_layernorm.weight",
                                 "blk.%d.attn_norm.weight"};
    tk_view latent = tk_build_slice(u->kv, 0, m->kv_lora),
            k_rope = tk_build_slice(u->kv, m->kv_lora, m->d_rope);
    tk_build_rmsnorm(b, u->x, u->n, tk_build_vector(b, norm, TK_ROLE_NORM, c->d_model));
    queries(b, u);
    tk_build_fine(b, projection(b, u->n, u->kv, ATTN("kv_a_proj_with_mqa", "attn_kv_a_mqa")), 1);
    int32_t kv_norm =
        tk_build_vector(b, ATTN("kv_a_layernorm", "attn_kv_a_norm"), TK_ROLE_NORM, m->kv_lora);
    tk_build_rmsnorm(b, latent, latent, kv_norm);
    rope(b, u->q, c->n_head, c->d_head);
    rope(b, k_rope, 1, m->d_rope);
    tk_build_op(b, TK_OP_KV_WRITE)->in = u->kv;
    tk_op at = *tk_build_op(b, TK_OP_ATTEND_MLA);
    at.in = u->q;
    at.out = u->a;
    at.n_head = c->n_head;
    at.d_head = c->d_head;
    bind_kv_b(b, &at);
    tk_program *p = b->p;
    *(b->in_mtp ? &p->mtp_ops[p->n_mtp_op - 1] : &p->ops[p->n_op - 1]) = at;
    projection(b, u->a, u->n, ATTN("o_proj", "attn_output"));
    tk_build_add(b, u->x, u->n);
}

static void feed_forward(tk_build *b, const bufs *u)
{
    const tk_config *c = &b->p->cfg;
    static const tk_name norm = {"model.layers.%d.post_attention_layernorm.weight",
                                 "blk.%d.ffn_norm.weight"};
    static const tk_mlp_names dense = {
        {"model.layers.%d.mlp.gate_proj.weight", "blk.%d.ffn_gate.weight"},
        {"model.layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight"},
        {"model.layers.%d.mlp.down_proj.weight", "blk.%d.ffn_down.weight"},
    };
    static const tk_mlp_names shared = {
        {"model.layers.%d.mlp.shared_experts.gate_proj.weight", "blk.%d.ffn_gate_shexp.weight"},
        {"model.layers.%d.mlp.shared_experts.up_proj.weight", "blk.%d.ffn_up_shexp.weight"},
        {"model.layers.%d.mlp.shared_experts.down_proj.weight", "blk.%d.ffn_down_shexp.weight"},
    };
    tk_build_rmsnorm(b, u->x, u->n, tk_build_vector(b, norm, TK_ROLE_NORM, c->d_model));
    bool is_moe = c->moe_layer[b->layer], has_mlp = !is_moe || c->moe.n_shared > 0;
    int32_t d_ff = is_moe ? c->moe.d_shared : c->d_ff;
    tk_mlp_op mlp = {.names = is_moe ? shared : dense,
                     .role = is_moe ? TK_ROLE_SHARED_EXPERT : TK_ROLE_MLP,
                     .in = u->n,
                     .gate = tk_build_slice(u->gate, 0, d_ff),
                     .up = tk_build_slice(u->up, 0, d_ff),
                     .out = u->moe};
    // products of the same input one after the other, so that they run together
    if (is_moe) tk_build_router(b, u->n, u->scores);
    if (has_mlp) tk_build_gate_up(b, &mlp);
    if (is_moe) tk_build_routed(b, u->n, u->scores, u->moe);
    if (is_moe) tk_build_add(b, u->x, u->moe);
    if (has_mlp) tk_build_down(b, &mlp);
    if (has_mlp) tk_build_add(b, u->x, u->moe);
}

// MTP layer: h' = eh_proj [enorm(embed(next id)) | hnorm(h)], then an ordinary layer, its own norm, the
// shared head. Its embedding and head are the main model's (stored again, or not at all).
static void mtp_layer(tk_build *b, const bufs *u, int32_t we, int32_t wh)
{
    const tk_config *c = &b->p->cfg;
    int d = c->d_model;
    tk_view both = tk_build_buf(b, 2 * d);
    tk_view left = tk_build_slice(both, 0, d), right = tk_build_slice(both, d, d);
#define MTP(x, y) ((tk_name){"model.layers.%d." x ".weight", "blk.%d.nextn." y ".weight"})
    tk_op *op = tk_build_op(b, TK_OP_EMBED);
    op->w = we;
    op->out = left;
    tk_build_rmsnorm(b, left, left, tk_build_vector(b, MTP("enorm", "enorm"), TK_ROLE_NORM, d));
    tk_build_rmsnorm(b, u->n, right, tk_build_vector(b, MTP("hnorm", "hnorm"), TK_ROLE_NORM, d));
    int32_t proj = tk_build_matrix(b, MTP("eh_proj", "eh_proj"), TK_ROLE_MTP, d, 2 * d);
    tk_build_linear(b, both, u->x, proj, -1);
    attention(b, u);
    feed_forward(b, u);
    int32_t norm = tk_build_vector(b, MTP("shared_head.norm", "shared_head_norm"), TK_ROLE_NORM, d);
    tk_build_rmsnorm(b, u->x, u->n, norm);
    op = tk_build_op(b, TK_OP_HEAD);
    op->in = u->n;
    op->w = wh;
#undef MTP
}

void tk_build_deepseek(tk_build *b)
{
    tk_program *p = b->p;
    static const tk_name embed = {"model.embed_tokens.weight", "token_embd.weight"};
    static const tk_name norm = {"model.norm.weight", "output_norm.weight"};
    static const tk_name head = {"lm_head.weight", "output.weight"};
    static const tk_name eh_proj = {"model.layers.%d.eh_proj.weight",
                                    "blk.%d.nextn.eh_proj.weight"};
    bufs u = make_bufs(b);
    p->kv_k_width = p->cfg.mla.kv_lora + p->cfg.mla.d_rope;
    int32_t we = tk_build_matrix(b, embed, TK_ROLE_EMBED, p->cfg.n_vocab, p->cfg.d_model);
    tk_op *op = tk_build_op(b, TK_OP_EMBED);
    op->w = we;
    op->out = u.x;
    for (b->layer = 0; b->layer < p->cfg.n_layer && b->st == TK_OK; b->layer++) {
        attention(b, &u);
        feed_forward(b, &u);
    }
    b->layer = -1;
    tk_build_rmsnorm(b, u.x, u.n, tk_build_vector(b, norm, TK_ROLE_NORM, p->cfg.d_model));
    int32_t wh = p->cfg.tie_embed
                     ? tk_build_alias(b, we, TK_ROLE_HEAD)
                     : tk_build_matrix(b, head, TK_ROLE_HEAD, p->cfg.n_vocab, p->cfg.d_model);
    tk_build_fine(b, wh, 1);
    op = tk_build_op(b, TK_OP_HEAD);
    op->w = wh;
    op->in = u.n;
    // many conversions drop the MTP tensors and keep the number in the config
    b->layer = p->cfg.n_layer;
    if (p->cfg.n_mtp > 0 && !tk_build_has(b, eh_proj)) p->cfg.n_mtp = 0;
    b->in_mtp = true;
    for (; b->layer < p->cfg.n_layer + p->cfg.n_mtp && b->st == TK_OK; b->layer++)
        mtp_layer(b, &u, we, wh);
    b->in_mtp = false;
}
