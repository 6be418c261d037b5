// SPDX-License-Identifier: MIT
// The plain decoder: llama, mistral, qwen2 (bias on q, k, v), qwen3 (norm on each head of q and k), qwen3_moe.
//
//   x += o(attend(rope(norm?(q n)), rope(norm?(k n)), v n)),  n = norm(x)
//   x += mlp(norm(x))  or  experts(norm(x))
#include "model/build.h"

typedef struct bufs {
    tk_view x, n, q, k, v, a, gate, up, scores;
} bufs;

static bufs make_bufs(tk_build *b)
{
    const tk_config *c = &b->p->cfg;
    bufs u = {
        .x = tk_build_buf(b, c->d_model),
        .n = tk_build_buf(b, c->d_model),
        .q = tk_build_buf(b, c->n_head * c->d_head),
        .k = tk_build_buf(b, c->n_kv_head * c->d_head),
        .v = tk_build_buf(b, c->n_kv_head * c->d_head),
        .a = tk_build_buf(b, c->n_head * c->d_head),
        .gate = tk_build_buf(b, c->d_ff),
        .up = tk_build_buf(b, c->d_ff),
        .scores = TK_VIEW_NONE,
    };
    if (c->moe.n_expert) u.scores = tk_build_buf(b, c->moe.n_expert);
    return u;
}

static void head_norm(tk_build *b, tk_name name, tk_view v, int n_head)
{
    int d = b->p->cfg.d_head;
    tk_build_rmsnorm(b, v, v, tk_build_vector(b, name, TK_ROLE_NORM, d));
    tk_op *op = &b->p->ops[b->p->n_op - 1];
    op->n_head = n_head;
    op->d_head = d;
}

static void rope(tk_build *b, tk_view v, int n_head)
{
    tk_op *op = tk_build_op(b, TK_OP_ROPE);
    op->in = op->out = v;
    op->n_head = n_head;
    op->d_head = b->p->cfg.d_head;
    op->rope_dims = b->p->cfg.rope.n_dim;
}

static int32_t project(tk_build *b, tk_view in, tk_view out, tk_name w, tk_name bias, bool has_bias)
{
    int32_t iw = tk_build_matrix(b, w, TK_ROLE_ATTENTION, out.n, in.n);
    int32_t ib = has_bias ? tk_build_vector(b, bias, TK_ROLE_ATTENTION, out.n) : -1;
    tk_build_linear(b, in, out, iw, ib);
    return iw;
}

#define ATTN(x, y, s) ((tk_name){"model.layers.%d.self_attn." x "." s, "blk.%d." y "." s})

static void attention(tk_build *b, const bufs *u)
{
    const tk_config *c = &b->p->cfg;
    static const tk_name norm = {"model.layers.%d.input_layernorm.weight",
                                 "blk.%d.attn_norm.weight"};
    tk_build_rmsnorm(b, u->x, u->n, tk_build_vector(b, norm, TK_ROLE_NORM, c->d_model));
    project(b, u->n, u->q, ATTN("q_proj", "attn_q", "weight"), ATTN("q_proj", "attn_q", "bias"),
            c->attn_bias);
    int32_t k = project(b, u->n, u->k, ATTN("k_proj", "attn_k", "weight"),
                        ATTN("k_proj", "attn_k", "bias"), c->attn_bias);
    int32_t v = project(b, u->n, u->v, ATTN("v_proj", "attn_v", "weight"),
                        ATTN("v_proj", "attn_v", "bias"), c->attn_bias);
    tk_build_fine(b, k, 1);
    tk_build_fine(b, v, 1);
    if (c->qk_norm) {
        head_norm(b, ATTN("q_norm", "attn_q_norm", "weight"), u->q, c->n_head);
        head_norm(b, ATTN("k_norm", "attn_k_norm", "weight"), u->k, c->n_kv_head);
    }
    rope(b, u->q, c->n_head);
    rope(b, u->k, c->n_kv_head);
    tk_op *kv = tk_build_op(b, TK_OP_KV_WRITE);
    kv->in = u->k;
    kv->in2 = u->v;
    tk_op *at = tk_build_op(b, TK_OP_ATTEND_GQA);
    at->in = u->q;
    at->out = u->a;
    at->n_head = c->n_head;
    at->d_head = c->d_head;
    at->window = c->window > 0 && b->layer >= c->window_from ? c->window : 0;
    project(b, u->a, u->n, ATTN("o_proj", "attn_output", "weight"),
            ATTN("o_proj", "attn_output", "bias"), c->attn_o_bias);
    tk_build_add(b, u->x, u->n);
}

static void feed_forward(tk_build *b, const bufs *u)
{
    const tk_config *c = &b->p->cfg;
    static const tk_name norm = {"model.layers.%d.post_attention_layernorm.weight",
                                 "blk.%d.ffn_norm.weight"};
    static const tk_mlp_names names = {
        {"model.layers.%d.mlp.gate_proj.weight", "blk.%d.ffn_gate.weight"},
        {"model.layers.%d.mlp.up_proj.weight", "blk.%d.ffn_up.weight"},
        {"model.layers.%d.mlp.down_proj.weight", "blk.%d.ffn_down.weight"},
    };
    tk_build_rmsnorm(b, u->x, u->n, tk_build_vector(b, norm, TK_ROLE_NORM, c->d_model));
    tk_view out = tk_build_slice(u->n, 0, c->d_model);
    if (c->moe_layer[b->layer]) {
        tk_build_router(b, u->n, u->scores);
        tk_build_routed(b, u->n, u->scores, out);
    } else {
        tk_mlp_op mlp = {.names = names,
                         .role = TK_ROLE_MLP,
                         .in = u->n,
                         .gate = tk_build_slice(u->gate, 0, c->d_ff),
                         .up = tk_build_slice(u->up, 0, c->d_ff),
                         .out = out,
                         .bias = c->mlp_bias};
        tk_build_gate_up(b, &mlp);
        tk_build_down(b, &mlp);
    }
    tk_build_add(b, u->x, out);
}

void tk_build_llama(tk_build *b)
{
    tk_program *p = b->p;
    static const tk_name embed = {"model.embed_tokens.weight", "token_embd.weight"};
    static const tk_name norm = {"model.norm.weight", "output_norm.weight"};
    static const tk_name head = {"lm_head.weight", "output.weight"};
    bufs u = make_bufs(b);
    p->kv_k_width = p->kv_v_width = p->cfg.n_kv_head * p->cfg.d_head;
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
}
