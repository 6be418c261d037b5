// SPDX-License-Identifier: MIT
// The operations on single rows.
#include "exec/exec_priv.h"

#include <math.h>
#include <string.h>

typedef struct row_job {
    tk_exec *x;
    const tk_op *op;
} row_job;

static void each_token(tk_exec *x, const tk_op *op, tk_pool_fn fn)
{
    row_job j = {.x = x, .op = op};
    tk_pool_run(x->pool, x->n_tok, fn, &j);
}

static void embed_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    const tk_matrix *w = &j->x->p->weights[j->op->w].m;
    float *out = exec_row(j->x, j->op->out, tok);
    // a decoder may write up to a multiple of 16 past the end, so the last values go through a small row
    int64_t whole = w->n_in / 256 * 256;
    float rest[256];
    if (whole) j->x->k.decode[w->dtype](w, j->x->tok[tok].id, 0, whole, out);
    if (whole == w->n_in) return;
    j->x->k.decode[w->dtype](w, j->x->tok[tok].id, whole, w->n_in - whole, rest);
    memcpy(out + whole, rest, (size_t)(w->n_in - whole) * sizeof *out);
}

void exec_embed(tk_exec *x, const tk_op *op)
{
    each_token(x, op, embed_row);
}

static void rmsnorm_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    const tk_op *op = j->op;
    const float *in = exec_row(j->x, op->in, tok);
    float *out = exec_row(j->x, op->out, tok);
    for (int h = 0; h < op->n_head; h++)
        j->x->k.rmsnorm(in + h * op->d_head, j->x->vec[op->w], j->x->p->cfg.rms_eps, op->d_head,
                        out + h * op->d_head);
}

void exec_rmsnorm(tk_exec *x, const tk_op *op)
{
    each_token(x, op, rmsnorm_row);
}

static void rope_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    const tk_op *op = j->op;
    const tk_exec *x = j->x;
    int n_pair = op->rope_dims / 2;
    float *row = exec_row(x, op->out, tok) + op->d_head - op->rope_dims;
    for (int h = 0; h < op->n_head; h++)
        x->k.rope(row + h * op->d_head, x->rope_cos + tok * n_pair, x->rope_sin + tok * n_pair,
                  n_pair, x->p->cfg.rope.interleaved);
}

void exec_rope(tk_exec *x, const tk_op *op)
{
    each_token(x, op, rope_row);
}

static void swiglu_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    j->x->k.swiglu(exec_row(j->x, j->op->in, tok), exec_row(j->x, j->op->in2, tok), j->op->in.n,
                   exec_row(j->x, j->op->out, tok));
}

void exec_swiglu(tk_exec *x, const tk_op *op)
{
    each_token(x, op, swiglu_row);
}

static void add_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    j->x->k.axpy(1, exec_row(j->x, j->op->in, tok), j->op->out.n, exec_row(j->x, j->op->out, tok));
}

void exec_add(tk_exec *x, const tk_op *op)
{
    each_token(x, op, add_row);
}

static void kv_write_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const row_job *j = ctx;
    const tk_exec *x = j->x;
    const tk_program *p = x->p;
    tk_kv_store_fn store = x->k.kv_store[x->opts.kv_dtype];
    const tok_info *t = &x->tok[tok];
    int32_t block = x->parts[t->part].seq->block[t->pos / TK_KV_BLOCK_TOK];
    size_t at = (size_t)(t->pos % TK_KV_BLOCK_TOK);
    const float *k = exec_row(x, j->op->in, tok);
    char *kb = exec_k_block(x, j->op->layer, block);
    if (p->kv_v_width == 0) { // MLA: one row of latent and rope key
        store(k, p->kv_k_width, kb + at * x->kv_row_bytes);
        return;
    }
    // a head's keys of one block lie together: [n_kv_head][TK_KV_BLOCK_TOK][d_head]
    const float *v = exec_row(x, j->op->in2, tok);
    char *vb = exec_v_block(x, j->op->layer, block);
    int d = p->cfg.d_head;
    for (int h = 0; h < p->cfg.n_kv_head; h++) {
        size_t row = ((size_t)h * TK_KV_BLOCK_TOK + at) * x->kv_row_bytes;
        store(k + h * d, d, kb + row);
        store(v + h * d, d, vb + row);
    }
}

void exec_kv_write(tk_exec *x, const tk_op *op)
{
    each_token(x, op, kv_write_row);
}
