// SPDX-License-Identifier: MIT
// What the forms of latent attention share: the job, and the two halves of kv_b for one head.
#ifndef TK_EXEC_ATTEND_MLA_H
#define TK_EXEC_ATTEND_MLA_H

#include "exec/exec_priv.h"

typedef struct mla_job {
    const tk_exec *x;
    const tk_op *op;
    int tok0,
        n_tok; // absorbed: a run of at most MLA_ABSORB_TOK tokens; expanded: one part's tokens
} mla_job;

// The two halves of kv_b for one head, whichever way they are stored.
typedef struct mla_kv_b {
    tk_matrix m;
    int64_t row0;
    bool transposed; // key half stored [kv_lora][d_nope]
} mla_kv_b;

static inline mla_kv_b mla_key_half(const mla_job *j, int head)
{
    const tk_mla *a = &j->x->p->cfg.mla;
    const tk_matrix *w = &j->x->p->weights[j->op->w].m;
    if (j->op->w2 < 0) return (mla_kv_b){*w, (int64_t)head * (a->d_nope + a->d_v), false};
    return (mla_kv_b){*w, (int64_t)head * a->kv_lora, true};
}

static inline mla_kv_b mla_value_half(const mla_job *j, int head)
{
    const tk_mla *a = &j->x->p->cfg.mla;
    if (j->op->w2 < 0)
        return (mla_kv_b){j->x->p->weights[j->op->w].m,
                          (int64_t)head * (a->d_nope + a->d_v) + a->d_nope, false};
    return (mla_kv_b){j->x->p->weights[j->op->w2].m, (int64_t)head * a->d_v, false};
}

static inline void mla_decode_rows(const tk_exec *x, const mla_kv_b *b, int n_row, float *out,
                                   int64_t ld)
{
    for (int r = 0; r < n_row; r++)
        x->k.decode[b->m.dtype](&b->m, b->row0 + r, 0, b->m.n_in, out + r * ld);
}

// One head of the expanded form with BF16 products, for exec_attend_mla: kernels are wide, tokens are many.
void exec_mla_expanded_wide(void *job, int head, int i_thread);
size_t exec_mla_wide_scratch(const tk_mla *a, int n_tok); // floats

#endif
