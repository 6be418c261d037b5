// SPDX-License-Identifier: MIT
// Matrix times activations, in any stored format: a block of rows is decoded to float32 a chunk of columns
// at a time and met by every token of the step, so that weights are read once. The chunks are the same
// whatever the number of tokens, which keeps a token's result independent of its neighbours.
#include "exec/exec_priv.h"

#include <string.h>

// Rows of x named by index, one chunk of columns, next to each other.
static void gather(const float *in, int64_t ld_in, const int32_t *index, int n_tok, int64_t k0,
                   int64_t n_k, float *out)
{
    for (int t = 0; t < n_tok; t++)
        memcpy(out + (size_t)t * K_CHUNK, in + index[t] * ld_in + k0, (size_t)n_k * sizeof *out);
}

void exec_rows_times(const tk_exec *x, const tk_matrix *w, int64_t row0, int n_row, const float *in,
                     int64_t ld_in, const int32_t *index, int n_tok, float *out, int64_t ld_out,
                     float *scratch)
{
    tk_decode_fn decode = x->k.decode[w->dtype];
    float *gathered = scratch + ROW_BLOCK * K_CHUNK;
    for (int t = 0; t < n_tok; t++) memset(out + t * ld_out, 0, (size_t)n_row * sizeof *out);
    for (int64_t k0 = 0; k0 < w->n_in; k0 += K_CHUNK) {
        int64_t n_k = TK_MIN((int64_t)K_CHUNK, w->n_in - k0), ld = ld_in;
        const float *chunk = in + k0;
        if (index) {
            gather(in, ld_in, index, n_tok, k0, n_k, gathered);
            chunk = gathered;
            ld = K_CHUNK;
        }
        for (int r0 = 0; r0 < n_row; r0 += ROW_BLOCK) {
            int n = TK_MIN(ROW_BLOCK, n_row - r0);
            for (int r = 0; r < n; r++) decode(w, row0 + r0 + r, k0, n_k, scratch + r * K_CHUNK);
            x->k.mm(scratch, K_CHUNK, n, chunk, ld, n_tok, n_k, out + r0, ld_out);
        }
    }
}

typedef struct linear_job {
    const tk_exec *x;
    const tk_matrix *w;
    const float *in, *bias;
    float *out;
    int64_t ld_in, ld_out;
    int n_tok, rows_per_item;
} linear_job;

static void linear_item(void *ctx, int i_item, int i_thread)
{
    const linear_job *j = ctx;
    int64_t row0 = (int64_t)i_item * j->rows_per_item;
    int n_row = (int)TK_MIN((int64_t)j->rows_per_item, j->w->n_out - row0);
    exec_rows_times(j->x, j->w, row0, n_row, j->in, j->ld_in, NULL, j->n_tok, j->out + row0,
                    j->ld_out, j->x->scratch[i_thread]);
    if (j->bias == NULL) return;
    for (int t = 0; t < j->n_tok; t++)
        for (int r = 0; r < n_row; r++) j->out[t * j->ld_out + row0 + r] += j->bias[row0 + r];
}

// Enough items to balance threads, few enough to keep a weight stream long (about 64 rows).
static void run_linear(tk_exec *x, linear_job *j)
{
    int64_t rows = j->w->n_out / (8 * tk_pool_threads(x->pool));
    rows = (rows + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK;
    j->rows_per_item = (int)TK_MAX((int64_t)ROW_BLOCK, TK_MIN(rows, (int64_t)4 * ROW_BLOCK));
    int n_item = (int)((j->w->n_out + j->rows_per_item - 1) / j->rows_per_item);
    tk_pool_run(x->pool, n_item, linear_item, j);
}

void exec_linear(tk_exec *x, const tk_op *op)
{
    if (x->packed[op->w].kind != TK_PACK_NONE) {
        exec_packed_times(x, op->w, op->b >= 0 ? x->vec[op->b] : NULL, op->in, 0, x->n_tok,
                          exec_row(x, op->out, 0), exec_stride(x, op->out));
        return;
    }
    linear_job j = {
        .x = x,
        .w = &x->p->weights[op->w].m,
        .in = exec_row(x, op->in, 0),
        .out = exec_row(x, op->out, 0),
        .ld_in = exec_stride(x, op->in),
        .ld_out = exec_stride(x, op->out),
        .n_tok = x->n_tok,
        .bias = op->b >= 0 ? x->vec[op->b] : NULL,
    };
    run_linear(x, &j);
}

// Logits go straight to where the caller wants them: one run per stretch of tokens whose logits follow each
// other in memory.
void exec_head(tk_exec *x, const tk_op *op)
{
    int64_t n_vocab = x->p->weights[op->w].m.n_out;
    for (int t = 0; t < x->n_tok;) {
        float *to = x->tok[t].logits;
        int n = 1;
        while (to && t + n < x->n_tok && x->tok[t + n].logits == to + n * n_vocab) n++;
        if (to && x->packed[op->w].kind != TK_PACK_NONE) {
            exec_packed_times(x, op->w, NULL, op->in, t, n, to, n_vocab);
        } else if (to) {
            linear_job j = {
                .x = x,
                .w = &x->p->weights[op->w].m,
                .in = exec_row(x, op->in, t),
                .out = to,
                .ld_in = exec_stride(x, op->in),
                .ld_out = n_vocab,
                .n_tok = n,
            };
            run_linear(x, &j);
        }
        t += n;
    }
}
