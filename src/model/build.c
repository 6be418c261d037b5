// SPDX-License-Identifier: MIT
#include "model/build.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

tk_view tk_build_buf(tk_build *b, int32_t width)
{
    tk_program *p = b->p;
    if (p->n_buf == p->cap_buf_) {
        p->cap_buf_ = p->cap_buf_ ? p->cap_buf_ * 2 : 16;
        p->buf_width = tk_realloc(p->buf_width, (size_t)p->cap_buf_ * sizeof *p->buf_width);
    }
    p->buf_width[p->n_buf] = width;
    return (tk_view){.buf = (int16_t)p->n_buf++, .off = 0, .n = width};
}

tk_view tk_build_slice(tk_view v, int32_t off, int32_t n)
{
    return (tk_view){.buf = v.buf, .off = v.off + off, .n = n};
}

static int32_t add_weight(tk_build *b, const char *name, tk_weight_role role, const tk_matrix *m)
{
    tk_program *p = b->p;
    if (p->n_weight == p->cap_weight_) {
        p->cap_weight_ = p->cap_weight_ ? p->cap_weight_ * 2 : 64;
        p->weights = tk_realloc(p->weights, (size_t)p->cap_weight_ * sizeof *p->weights);
    }
    p->weights[p->n_weight] =
        (tk_weight){.name = tk_strdup(name), .role = role, .is_mtp = b->in_mtp, .m = *m};
    return p->n_weight++;
}

static void spell(const tk_build *b, tk_name name, int expert, char out[256])
{
    const char *form = b->p->cfg.is_gguf ? name.gguf : name.hf;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" // forms are this folder's own constants
    snprintf(out, 256, form, b->layer, expert);
#pragma GCC diagnostic pop
}

bool tk_build_has(tk_build *b, tk_name name)
{
    char full[256];
    spell(b, name, 0, full);
    // a plan has what a snapshot can have; in GGUF it takes kv_b in its two halves and no MTP layer
    return b->ckpt ? tk_ckpt_has(b->ckpt, full) : !b->p->cfg.is_gguf;
}

// One matrix by its full name; experts of a GGUF file are slice i of n.
static tk_status bind(const tk_build *b, const char *full, int n, int i, int64_t n_out,
                      int64_t n_in, tk_matrix *m)
{
    if (b->ckpt == NULL) {
        *m = (tk_matrix){.n_out = n_out, .n_in = n_in, .scale_global = 1};
        return TK_OK;
    }
    return n > 0 ? tk_ckpt_matrix_slice(b->ckpt, full, n, i, n_out, n_in, m, b->err)
                 : tk_ckpt_matrix(b->ckpt, full, n_out, n_in, m, b->err);
}

int32_t tk_build_matrix(tk_build *b, tk_name name, tk_weight_role role, int64_t n_out, int64_t n_in)
{
    if (b->st != TK_OK) return -1;
    char full[256];
    tk_matrix m;
    spell(b, name, 0, full);
    b->st = bind(b, full, 0, 0, n_out, n_in, &m);
    return b->st == TK_OK ? add_weight(b, full, role, &m) : -1;
}

int32_t tk_build_vector(tk_build *b, tk_name name, tk_weight_role role, int64_t n)
{
    return tk_build_matrix(b, name, role, n, 1);
}

int32_t tk_build_experts(tk_build *b, tk_name name, int n_expert, int64_t n_out, int64_t n_in)
{
    int32_t first = b->p->n_weight;
    for (int e = 0; e < n_expert && b->st == TK_OK; e++) {
        char full[256];
        tk_matrix m;
        spell(b, name, e, full);
        b->st = bind(b, full, b->p->cfg.is_gguf ? n_expert : 0, e, n_out, n_in, &m);
        if (b->st == TK_OK) add_weight(b, full, TK_ROLE_EXPERT, &m);
    }
    return first;
}

void tk_build_fine(tk_build *b, int32_t first, int n)
{
    for (int i = 0; b->st == TK_OK && i < n; i++) b->p->weights[first + i].is_fine = true;
}

int32_t tk_build_alias(tk_build *b, int32_t w, tk_weight_role role)
{
    if (b->st != TK_OK) return -1;
    tk_weight from = b->p->weights[w];
    int32_t i = add_weight(b, from.name, role, &from.m);
    b->p->weights[i].is_alias = true;
    return i;
}

tk_op *tk_build_op(tk_build *b, tk_op_kind kind)
{
    tk_program *p = b->p;
    tk_op **ops = b->in_mtp ? &p->mtp_ops : &p->ops;
    int *n = b->in_mtp ? &p->n_mtp_op : &p->n_op;
    int *cap = b->in_mtp ? &p->cap_mtp_op_ : &p->cap_op_;
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 64;
        *ops = tk_realloc(*ops, (size_t)*cap * sizeof **ops);
    }
    tk_op *op = &(*ops)[(*n)++];
    *op = (tk_op){.kind = kind,
                  .layer = (int16_t)b->layer,
                  .in = TK_VIEW_NONE,
                  .in2 = TK_VIEW_NONE,
                  .out = TK_VIEW_NONE,
                  .w = -1,
                  .w2 = -1,
                  .w3 = -1,
                  .b = -1};
    return op;
}

void tk_build_rmsnorm(tk_build *b, tk_view in, tk_view out, int32_t w)
{
    tk_op *op = tk_build_op(b, TK_OP_RMSNORM);
    op->in = in;
    op->out = out;
    op->w = w;
    op->n_head = 1;
    op->d_head = in.n;
}

void tk_build_linear(tk_build *b, tk_view in, tk_view out, int32_t w, int32_t bias)
{
    tk_op *op = tk_build_op(b, TK_OP_LINEAR);
    op->in = in;
    op->out = out;
    op->w = w;
    op->b = bias;
}

void tk_build_add(tk_build *b, tk_view to, tk_view from)
{
    tk_op *op = tk_build_op(b, TK_OP_ADD);
    op->in = from;
    op->out = to;
}

// The name of the bias beside a matrix: "X.weight" -> "X.bias".
static int32_t bias_beside(tk_build *b, tk_name name, tk_weight_role role, int64_t n)
{
    char hf[128], gguf[128];
    snprintf(hf, sizeof hf, "%.*sbias", (int)(strlen(name.hf) - strlen("weight")), name.hf);
    snprintf(gguf, sizeof gguf, "%.*sbias", (int)(strlen(name.gguf) - strlen("weight")), name.gguf);
    return tk_build_vector(b, (tk_name){hf, gguf}, role, n);
}

void tk_build_gate_up(tk_build *b, const tk_mlp_op *m)
{
    int32_t wg = tk_build_matrix(b, m->names.gate, m->role, m->gate.n, m->in.n);
    int32_t wu = tk_build_matrix(b, m->names.up, m->role, m->up.n, m->in.n);
    tk_build_linear(b, m->in, m->gate, wg,
                    m->bias ? bias_beside(b, m->names.gate, m->role, m->gate.n) : -1);
    tk_build_linear(b, m->in, m->up, wu,
                    m->bias ? bias_beside(b, m->names.up, m->role, m->up.n) : -1);
}

void tk_build_down(tk_build *b, const tk_mlp_op *m)
{
    tk_op *op = tk_build_op(b, TK_OP_SWIGLU);
    op->in = op->out = m->gate;
    op->in2 = m->up;
    int32_t wd = tk_build_matrix(b, m->names.down, m->role, m->out.n, m->gate.n);
    tk_build_linear(b, m->gate, m->out, wd,
                    m->bias ? bias_beside(b, m->names.down, m->role, m->out.n) : -1);
}

void tk_build_router(tk_build *b, tk_view in, tk_view scores)
{
    static const tk_name router = {"model.layers.%d.mlp.gate.weight", "blk.%d.ffn_gate_inp.weight"};
    int32_t w = tk_build_matrix(b, router, TK_ROLE_ROUTER, b->p->cfg.moe.n_expert, in.n);
    tk_build_fine(b, w, 1);
    tk_build_linear(b, in, scores, w, -1);
}

void tk_build_routed(tk_build *b, tk_view in, tk_view scores, tk_view out)
{
    static const tk_name bias = {"model.layers.%d.mlp.gate.e_score_correction_bias",
                                 "blk.%d.exp_probs_b.bias"};
    static const tk_name gate = {"model.layers.%d.mlp.experts.%d.gate_proj.weight",
                                 "blk.%d.ffn_gate_exps.weight"};
    static const tk_name up = {"model.layers.%d.mlp.experts.%d.up_proj.weight",
                               "blk.%d.ffn_up_exps.weight"};
    static const tk_name down = {"model.layers.%d.mlp.experts.%d.down_proj.weight",
                                 "blk.%d.ffn_down_exps.weight"};
    const tk_moe *m = &b->p->cfg.moe;
    int64_t d = in.n;
    int32_t wb = m->has_bias ? tk_build_vector(b, bias, TK_ROLE_ROUTER, m->n_expert) : -1;
    tk_op *route = tk_build_op(b, TK_OP_ROUTE);
    route->in = scores;
    route->b = wb;
    int32_t wg = tk_build_experts(b, gate, m->n_expert, m->d_expert, d);
    int32_t wu = tk_build_experts(b, up, m->n_expert, m->d_expert, d);
    int32_t wd = tk_build_experts(b, down, m->n_expert, d, m->d_expert);
    tk_op *op = tk_build_op(b, TK_OP_EXPERTS);
    op->in = in;
    op->out = out;
    op->w = wg;
    op->w2 = wu;
    op->w3 = wd;
}
