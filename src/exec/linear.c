// SPDX-License-Identifier: MIT
// Matrices times activations. Those that read the same view are one loop. Packed weights have kernels of their own; of
// others a block of rows is decoded to float32 a chunk of columns at a time and met by every token of the step, so that
// weights are read once. The chunks are the same whatever the number of tokens, which keeps a token's result
// independent of its neighbours.
#include "exec/exec_priv.h"

#include "base/limits.h"

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

enum {
    TOK_BLOCK = 64, // tokens whose activations stay in the second-level cache over an item's panels
    ITEMS_A_THREAD = 8 // work items per thread, so that a slow thread holds nobody up for long
};

typedef struct product {
    const tk_matrix *w;
    const tk_packed *packed; // kind NONE: w is used as it is stored
    const tk_way *way;
    const float *bias;
    tk_act in;
    float *out;
    int64_t ld_out;
    int each, n_item; // rows an item, whole panels of packed ones
} product;

typedef struct product_job {
    tk_exec *x;
    int n_tok, n_product;
    int first[TK_LIMIT_NODES + 1]; // items of the nodes
    product of[EXEC_STAGE_OPS];
} product_job;

static void packed_item(const product_job *j, const product *p, int64_t row0, int n_row)
{
    const tk_packed *w = p->packed;
    tk_gemm_fn gemm = p->way ? p->way->gemm : j->x->k.gemm[w->kind];
    int n_panel = (n_row + TK_PANEL_ROWS - 1) / TK_PANEL_ROWS, block = TOK_BLOCK;
    if (p->way) block = p->way->takes == TK_WIDE_INT8 ? 2 * TOK_BLOCK : j->n_tok; // BF16: its own
    for (int t = 0; t < j->n_tok; t += block) {
        tk_act a = exec_act_from(&p->in, t);
        gemm(w, row0 / TK_PANEL_ROWS, n_panel, &a, NULL, TK_MIN(block, j->n_tok - t),
             p->out + t * p->ld_out + row0, p->ld_out);
    }
}

// Node k has its share of each product's rows, one product after the other. Returns the product of an item, and in *piece
// which of its own it is.
static const product *find(const product_job *j, int i_item, int *piece)
{
    const tk_pool *pool = j->x->pool;
    int k = 0;
    while (i_item >= j->first[k + 1]) k++;
    i_item -= j->first[k];
    for (const product *p = j->of;; p++) {
        int from = tk_pool_first(pool, k, p->n_item);
        int n = tk_pool_first(pool, k + 1, p->n_item) - from;
        *piece = from + i_item;
        if (i_item < n) return p;
        i_item -= n;
    }
}

static void product_item(void *ctx, int i_item, int i_thread)
{
    const product_job *j = ctx;
    uint64_t start = exec_lap_start(j->x);
    int piece;
    const product *p = find(j, i_item, &piece);
    int64_t row0 = (int64_t)piece * p->each;
    int n_row = (int)TK_MIN((int64_t)p->each, p->w->n_out - row0);
    if (p->packed->kind != TK_PACK_NONE)
        packed_item(j, p, row0, n_row);
    else
        exec_rows_times(j->x, p->w, row0, n_row, p->in.f, p->in.ld, NULL, j->n_tok, p->out + row0,
                        p->ld_out, j->x->scratch[i_thread]);
    for (int t = 0; p->bias && t < j->n_tok; t++)
        for (int r = 0; r < n_row; r++) p->out[t * p->ld_out + row0 + r] += p->bias[row0 + r];
    exec_lap(j->x, i_thread, (int)(p - j->of), start);
}

// Enough items to balance threads, few enough to keep a weight stream long.
static void cut(product_job *j)
{
    int64_t rows = 0;
    for (int i = 0; i < j->n_product; i++) rows += j->of[i].w->n_out;
    rows /= ITEMS_A_THREAD * tk_pool_threads(j->x->pool);
    int whole = 4 * TK_PANEL_ROWS;
    int packed = (int)TK_MAX(whole, TK_MIN(rows / whole * whole, 4 * whole));
    rows = (rows + ROW_BLOCK - 1) / ROW_BLOCK * ROW_BLOCK;
    int stored = (int)TK_MAX(ROW_BLOCK, TK_MIN(rows, 4 * ROW_BLOCK));
    memset(j->first, 0, sizeof j->first);
    for (int i = 0; i < j->n_product; i++) {
        product *p = &j->of[i];
        p->each = p->packed->kind == TK_PACK_NONE ? stored : packed;
        p->n_item = (int)((p->w->n_out + p->each - 1) / p->each);
        for (int k = 1; k <= tk_pool_nodes(j->x->pool); k++)
            j->first[k] += tk_pool_first(j->x->pool, k, p->n_item);
    }
}

// Adds out[t][0..n_out) = W in[tok + t] to the job; x->act holds what W wants of the input.
static void add(product_job *j, const tk_op *op, int tok, float *out, int64_t ld_out)
{
    tk_exec *x = j->x;
    const tk_way *way = exec_way(x, op->w, j->n_tok);
    j->of[j->n_product++] = (product){.w = &x->p->weights[op->w].m,
                                      .packed = &x->packed[op->w],
                                      .way = way,
                                      .bias = op->b >= 0 ? x->vec[op->b] : NULL,
                                      .in = exec_act(x, op->in, tok, exec_takes(way)),
                                      .out = out,
                                      .ld_out = ld_out};
}

static void run(product_job *j)
{
    cut(j);
    tk_pool_run_at(j->x->pool, j->first, product_item, j);
}

bool exec_linear_joins(const exec_stage *s, const tk_op *op)
{
    return exec_same_view(op->in, s->op->in) && op->out.buf != op->in.buf;
}

unsigned exec_linear_forms(const tk_exec *x, const exec_stage *s)
{
    unsigned forms = 0;
    for (int i = 0; i < s->n_op; i++) forms |= exec_form_of(x, s->op[i].w, x->n_tok);
    return forms;
}

void exec_linear(tk_exec *x, const exec_stage *s)
{
    product_job j = {.x = x, .n_tok = x->n_tok};
    exec_act_make(x, s->op->in, 0, x->n_tok, exec_linear_forms(x, s));
    for (int i = 0; i < s->n_op; i++) {
        tk_view out = s->op[i].out;
        add(&j, &s->op[i], 0, exec_row(x, out, 0), exec_stride(x, out));
    }
    run(&j);
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
        product_job j = {.x = x, .n_tok = n};
        if (to) {
            exec_act_make(x, op->in, t, n, exec_form_of(x, op->w, n));
            add(&j, op, t, to, n_vocab);
            run(&j);
        }
        t += n;
    }
}
