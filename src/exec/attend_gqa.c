// SPDX-License-Identifier: MIT
// Grouped-query attention over the block cache, prefill and decode alike. An item is one key-value head and
// a run of tokens of one sequence; all query heads of the group and all tokens of the run meet a cache block
// at once. Softmax is kept running over blocks, whose borders are fixed positions, so that a token's
// result does not depend on how a prompt was cut into steps.
#include "exec/exec_priv.h"

#include <math.h>
#include <string.h>

typedef struct gqa_run { // tokens of one sequence that one item handles
    int32_t tok0, n_tok;
} gqa_run;

typedef struct gqa_job {
    const tk_exec *x;
    const tk_op *op;
    int n_group; // query heads per key-value head
    int run_tok; // tokens per run
} gqa_job;

// Scratch of one item: running maximum and sum, scores of one block, packed queries, mixed values.
typedef struct gqa_scratch {
    float *max, *sum, *scores, *q, *out;
    bool wide;
    uint16_t *q_wide; // in q's place, if so
} gqa_scratch;

size_t exec_attend_scratch_gqa(int d_head)
{
    return (size_t)GQA_QUERIES * (2 + TK_KV_BLOCK_TOK + 2 * (size_t)d_head);
}

static gqa_scratch lay_out(float *at, int d, bool wide)
{
    gqa_scratch s;
    s.max = at;
    s.sum = s.max + GQA_QUERIES;
    s.scores = s.sum + GQA_QUERIES;
    s.q = s.scores + GQA_QUERIES * TK_KV_BLOCK_TOK;
    s.out = s.q + (size_t)GQA_QUERIES * (size_t)d;
    s.wide = wide;
    s.q_wide = (uint16_t *)(void *)s.q;
    return s;
}

// The queries of a run that meet one key-value head, token by token.
static void gather_queries(const gqa_job *j, gqa_run run, int kv_head, const gqa_scratch *s)
{
    size_t n = (size_t)j->n_group * (size_t)j->op->d_head;
    for (int t = 0; t < run.n_tok; t++) {
        const float *q = exec_row(j->x, j->op->in, run.tok0 + t) + (size_t)kv_head * n;
        if (s->wide)
            j->x->k.kv_store[TK_KV_BF16](q, (int)n, s->q_wide + (size_t)t * n);
        else
            memcpy(s->q + (size_t)t * n, q, n * sizeof *q);
    }
}

// Runs never cross sequences: run i_run of the step, found by walking the parts.
static gqa_run find_run(const gqa_job *j, int i_run)
{
    int tok = 0;
    for (int part = 0; part < j->x->n_part; part++) {
        int n = j->x->parts[part].n, n_run = (n + j->run_tok - 1) / j->run_tok;
        if (i_run < n_run)
            return (gqa_run){.tok0 = tok + i_run * j->run_tok,
                             .n_tok = TK_MIN(j->run_tok, n - i_run * j->run_tok)};
        i_run -= n_run;
        tok += n;
    }
    return (gqa_run){0};
}

static void gqa_item(void *ctx, int i_item, int i_thread)
{
    const gqa_job *j = ctx;
    const tk_exec *x = j->x;
    const tk_config *c = &x->p->cfg;
    int d = j->op->d_head, kv_head = i_item % c->n_kv_head;
    gqa_run run = find_run(j, i_item / c->n_kv_head);
    int nq = run.n_tok * j->n_group;
    gqa_scratch s = lay_out(x->scratch[i_thread], d, exec_attends_wide(x, nq, d));
    const tok_info *first = &x->tok[run.tok0];
    const tk_kv_table *seq = x->parts[first->part].seq;
    gather_queries(j, run, kv_head, &s);
    for (int q = 0; q < nq; q++) s.max[q] = -INFINITY;
    memset(s.sum, 0, (size_t)nq * sizeof *s.sum);
    memset(s.out, 0, (size_t)nq * d * sizeof *s.out);
    int kind = x->opts.kv_dtype, last_pos = first->pos + run.n_tok - 1;
    tk_kv_mix_fn mix = s.wide ? x->k.kv_mix_wide[kind] : x->k.kv_mix[kind];
    size_t row_bytes = x->kv_row_bytes;
    size_t head_off = (size_t)kv_head * TK_KV_BLOCK_TOK * row_bytes;
    int first_row = j->op->window > 0 ? TK_MAX(0, first->pos - j->op->window + 1) : 0;
    for (int b = first_row / TK_KV_BLOCK_TOK; b * TK_KV_BLOCK_TOK <= last_pos; b++) {
        int row0 = b * TK_KV_BLOCK_TOK, n_row = TK_MIN(TK_KV_BLOCK_TOK, last_pos + 1 - row0);
        const char *kb = exec_k_block(x, j->op->layer, seq->block[b]) + head_off;
        const char *vb = exec_v_block(x, j->op->layer, seq->block[b]) + head_off;
        exec_scores(x, s.wide, s.q, nq, d, kb, n_row, s.scores);
        for (int q = 0; q < nq; q++) {
            // what the token of this query may see, and not what the run may: see tk_kernels.softmax
            int pos = first->pos + q / j->n_group;
            int n_seen = TK_MAX(0, TK_MIN(n_row, pos + 1 - row0));
            int hidden = j->op->window > 0 ? TK_MAX(0, pos - j->op->window + 1 - row0) : 0;
            x->k.softmax(s.scores + q * TK_KV_BLOCK_TOK, TK_MIN(hidden, n_seen), n_seen, n_row,
                         &s.max[q], &s.sum[q], s.out + (size_t)q * d, d);
        }
        mix(s.scores, TK_KV_BLOCK_TOK, nq, vb, row_bytes, n_row, d, s.out, d);
    }
    for (int q = 0; q < nq; q++) {
        float *out = exec_row(x, j->op->out, run.tok0 + q / j->n_group) +
                     ((size_t)kv_head * j->n_group + (size_t)(q % j->n_group)) * d;
        exec_divide(s.out + (size_t)q * d, s.sum[q], d, out);
    }
}

void exec_attend_gqa(tk_exec *x, const tk_op *op)
{
    const tk_config *c = &x->p->cfg;
    gqa_job j = {.x = x, .op = op, .n_group = c->n_head / c->n_kv_head};
    j.run_tok = TK_MAX(1, TK_MIN(GQA_QUERIES / j.n_group, 16));
    int n_run = 0;
    for (int part = 0; part < x->n_part; part++)
        n_run += (x->parts[part].n + j.run_tok - 1) / j.run_tok;
    tk_pool_run(x->pool, n_run * c->n_kv_head, gqa_item, &j);
}
