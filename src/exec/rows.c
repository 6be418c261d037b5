// SPDX-License-Identifier: MIT
// Operations on single rows. Several that follow each other are done token by token, and the row is rounded at once for
// the products that come next, while it lies in the first-level cache.
#include "exec/exec_priv.h"

#include <math.h>
#include <string.h>

static void embed_row(const tk_exec *x, const tk_op *op, int tok)
{
    const tk_matrix *w = &x->p->weights[op->w].m;
    float *out = exec_row(x, op->out, tok);
    // a decoder may write up to a multiple of 16 past the end, so the last values go through a small row
    int64_t whole = w->n_in / 256 * 256;
    float rest[256];
    if (whole) x->k.decode[w->dtype](w, x->tok[tok].id, 0, whole, out);
    if (whole == w->n_in) return;
    x->k.decode[w->dtype](w, x->tok[tok].id, whole, w->n_in - whole, rest);
    memcpy(out + whole, rest, (size_t)(w->n_in - whole) * sizeof *out);
}

static void rmsnorm_row(const tk_exec *x, const tk_op *op, int tok)
{
    const float *in = exec_row(x, op->in, tok);
    float *out = exec_row(x, op->out, tok);
    for (int h = 0; h < op->n_head; h++)
        x->k.rmsnorm(in + h * op->d_head, x->vec[op->w], x->p->cfg.rms_eps, op->d_head,
                     out + h * op->d_head);
}

static void rope_row(const tk_exec *x, const tk_op *op, int tok)
{
    int n_pair = op->rope_dims / 2;
    float *row = exec_row(x, op->out, tok) + op->d_head - op->rope_dims;
    for (int h = 0; h < op->n_head; h++)
        x->k.rope(row + h * op->d_head, x->rope_cos + tok * n_pair, x->rope_sin + tok * n_pair,
                  n_pair, x->p->cfg.rope.interleaved);
}

static void swiglu_row(const tk_exec *x, const tk_op *op, int tok)
{
    x->k.swiglu(exec_row(x, op->in, tok), exec_row(x, op->in2, tok), op->in.n,
                exec_row(x, op->out, tok));
}

static void add_row(const tk_exec *x, const tk_op *op, int tok)
{
    x->k.axpy(1, exec_row(x, op->in, tok), op->out.n, exec_row(x, op->out, tok));
}

static void kv_write_row(const tk_exec *x, const tk_op *op, int tok)
{
    const tk_program *p = x->p;
    tk_kv_store_fn store = x->k.kv_store[x->opts.kv_dtype];
    const tok_info *t = &x->tok[tok];
    int32_t block = x->parts[t->part].seq->block[t->pos / TK_KV_BLOCK_TOK];
    size_t at = (size_t)(t->pos % TK_KV_BLOCK_TOK);
    const float *k = exec_row(x, op->in, tok);
    char *kb = exec_k_block(x, op->layer, block);
    if (p->kv_v_width == 0) { // MLA: one row of latent and rope key
        store(k, p->kv_k_width, kb + at * x->kv_row_bytes);
        return;
    }
    // a head's keys of one block lie together: [n_kv_head][TK_KV_BLOCK_TOK][d_head]
    const float *v = exec_row(x, op->in2, tok);
    char *vb = exec_v_block(x, op->layer, block);
    int d = p->cfg.d_head;
    for (int h = 0; h < p->cfg.n_kv_head; h++) {
        size_t row = ((size_t)h * TK_KV_BLOCK_TOK + at) * x->kv_row_bytes;
        store(k + h * d, d, kb + row);
        store(v + h * d, d, vb + row);
    }
}

typedef void (*row_fn)(const tk_exec *x, const tk_op *op, int tok);

static row_fn row_fn_of(tk_op_kind kind)
{
    switch (kind) {
    case TK_OP_EMBED: return embed_row;
    case TK_OP_RMSNORM: return rmsnorm_row;
    case TK_OP_ROPE: return rope_row;
    case TK_OP_SWIGLU: return swiglu_row;
    case TK_OP_ADD: return add_row;
    case TK_OP_KV_WRITE: return kv_write_row;
    default: return NULL;
    }
}

bool exec_is_row(tk_op_kind kind)
{
    return row_fn_of(kind) != NULL;
}

typedef struct rows_job {
    tk_exec *x;
    const exec_stage *stage;
    tk_view next; // what is rounded then,
    unsigned forms;
} rows_job;

static void rows_item(void *ctx, int tok, int i_thread)
{
    const rows_job *j = ctx;
    tk_exec *x = j->x;
    uint64_t at = exec_lap_start(x);
    for (int i = 0; i < j->stage->n_op; i++) {
        const tk_op *op = &j->stage->op[i];
        row_fn_of(op->kind)(x, op, tok);
        at = exec_lap(x, i_thread, i, at);
    }
    if (j->forms == 0) return;
    exec_act_round(x, j->next, tok, tok, j->forms);
    exec_lap(x, i_thread, j->stage->n_op, at);
}

void exec_row_ops(tk_exec *x, const exec_stage *s, const exec_stage *next)
{
    rows_job j = {.x = x, .stage = s, .next = TK_VIEW_NONE};
    if (next && next->op->kind == TK_OP_LINEAR) {
        j.next = next->op->in;
        j.forms = exec_linear_forms(x, next);
    }
    for (int i = 0; i < s->n_op; i++) exec_act_forget(x, s->op[i].out.buf);
    if (j.forms) exec_act_hold(x, j.next, 0, x->n_tok, j.forms);
    tk_pool_run(x->pool, x->n_tok, rows_item, &j);
}
