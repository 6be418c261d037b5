// SPDX-License-Identifier: MIT
// A program as stages: what runs between two waits for all threads. Operations on single rows that follow each other are
// one stage, and so are products of the same view; all others are one each.
#include "exec/exec_priv.h"

#include "base/mem.h"

#include <string.h>

static bool joins(const exec_stage *s, const tk_op *op)
{
    if (s->n_op == EXEC_STAGE_OPS) return false;
    if (op->kind == TK_OP_LINEAR) return s->op->kind == TK_OP_LINEAR && exec_linear_joins(s, op);
    return exec_is_row(op->kind) && exec_is_row(s->op->kind);
}

void exec_stages_make(tk_exec *x)
{
    int n_op = x->p->n_op, n = 0;
    exec_stage *all = tk_alloc((size_t)n_op * sizeof *all);
    for (int i = 0; i < n_op; i++) {
        const tk_op *op = &x->p->ops[i];
        if (n > 0 && joins(&all[n - 1], op))
            all[n - 1].n_op++;
        else
            all[n++] = (exec_stage){.op = op, .n_op = 1};
    }
    x->stages = all;
    x->n_stage = n;
    x->lap_ns = tk_alloc((size_t)x->plan.n_thread * sizeof *x->lap_ns);
}

static void run_stage(tk_exec *x, const exec_stage *s, const exec_stage *next)
{
    switch (s->op->kind) {
    case TK_OP_LINEAR: exec_linear(x, s); break;
    case TK_OP_HEAD: exec_head(x, s->op); break;
    case TK_OP_ATTEND_GQA: exec_attend_gqa(x, s->op); break;
    case TK_OP_ATTEND_MLA: exec_attend_mla(x, s->op); break;
    case TK_OP_ROUTE: exec_route(x, s->op); break;
    case TK_OP_EXPERTS: exec_experts(x, s->op); break;
    default: exec_row_ops(x, s, next);
    }
    if (exec_is_row(s->op->kind)) return; // has forgotten before it rounded
    for (int i = 0; i < s->n_op; i++) exec_act_forget(x, s->op[i].out.buf);
}

// The stage's time to its operations, in proportion to what its threads spent in each. Behind them is what they spent for
// the next stage's first.
static void share_time(tk_exec *x, const exec_stage *s, uint64_t stage_ns)
{
    uint64_t of[EXEC_STAGE_OPS + 1] = {0}, all = 0, *op_ns = x->op_ns + (s->op - x->p->ops);
    for (int t = 0; t < x->plan.n_thread; t++)
        for (int i = 0; i <= s->n_op; i++) of[i] += x->lap_ns[t][i];
    for (int i = 0; i <= s->n_op; i++) all += of[i];
    if (all == 0) op_ns[0] += stage_ns;
    for (int i = 0; i <= s->n_op && all > 0; i++)
        if (of[i] > 0) op_ns[i] += (uint64_t)((double)stage_ns * (double)of[i] / (double)all);
}

void exec_stages_run(tk_exec *x)
{
    exec_act_forget_all(x);
    for (int i = 0; i < x->n_stage; i++) {
        const exec_stage *s = &x->stages[i], *next = i + 1 < x->n_stage ? s + 1 : NULL;
        uint64_t start = exec_lap_start(x);
        if (start) memset(x->lap_ns, 0, (size_t)x->plan.n_thread * sizeof *x->lap_ns);
        run_stage(x, s, next);
        if (start) share_time(x, s, exec_lap_start(x) - start);
    }
}
