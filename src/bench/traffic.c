// SPDX-License-Identifier: MIT
#include "bench/traffic.h"

#include "base/mem.h"

#include <string.h>

typedef struct amount {
    double bytes, params;
} amount;

struct tk_traffic {
    const tk_program *p;
    const tk_exec *x;
    amount *op;          // [n_op] weights of one; of an embedding one row, of experts nothing
    amount *expert;      // [n_layer][n_expert] gate, up and down together; NULL when dense
    uint64_t *load;      // [n_layer][n_expert] as it was after the last step
    tk_traffic_sum *sum; // [n_op]
    uint64_t n_step;
};

static void add(amount *a, const tk_matrix *m)
{
    a->bytes += (double)tk_matrix_bytes(m);
    if (m->n_in > 1) a->params += (double)m->n_out * (double)m->n_in;
}

static void add_experts(tk_traffic *t, const tk_op *op)
{
    int n = t->p->cfg.moe.n_expert;
    for (int e = 0; e < n; e++) {
        amount *a = &t->expert[(size_t)op->layer * (size_t)n + (size_t)e];
        add(a, &t->p->weights[op->w + e].m);
        add(a, &t->p->weights[op->w2 + e].m);
        add(a, &t->p->weights[op->w3 + e].m);
    }
}

static void add_op(tk_traffic *t, int i_op)
{
    const tk_op *op = &t->p->ops[i_op];
    const tk_weight *w = t->p->weights;
    if (op->kind == TK_OP_EXPERTS) {
        add_experts(t, op);
        return;
    }
    const int32_t of_op[] = {op->w, op->w2, op->w3, op->b};
    for (size_t i = 0; i < TK_COUNT(of_op); i++)
        if (of_op[i] >= 0) add(&t->op[i_op], &w[of_op[i]].m);
    if (op->kind == TK_OP_EMBED)
        t->op[i_op] = (amount){.bytes = t->op[i_op].bytes / (double)w[op->w].m.n_out};
}

tk_traffic *tk_traffic_new(const tk_program *p, const tk_exec *x)
{
    tk_traffic *t = tk_alloc(sizeof *t);
    size_t n_pair = (size_t)p->cfg.n_layer * (size_t)p->cfg.moe.n_expert;
    t->p = p;
    t->x = x;
    t->op = tk_alloc((size_t)p->n_op * sizeof *t->op);
    t->sum = tk_alloc((size_t)p->n_op * sizeof *t->sum);
    if (n_pair) {
        t->expert = tk_alloc(n_pair * sizeof *t->expert);
        t->load = tk_alloc(n_pair * sizeof *t->load);
    }
    for (int i = 0; i < p->n_op; i++) add_op(t, i);
    tk_traffic_reset(t);
    return t;
}

void tk_traffic_free(tk_traffic *t)
{
    if (t == NULL) return;
    tk_free(t->op);
    tk_free(t->sum);
    tk_free(t->expert);
    tk_free(t->load);
    tk_free(t);
}

void tk_traffic_reset(tk_traffic *t)
{
    const uint64_t *now = tk_exec_expert_load(t->x);
    size_t n_pair = (size_t)t->p->cfg.n_layer * (size_t)t->p->cfg.moe.n_expert;
    if (now) memcpy(t->load, now, n_pair * sizeof *now);
    memset(t->sum, 0, (size_t)t->p->n_op * sizeof *t->sum);
    t->n_step = 0;
}

static void count_experts(tk_traffic *t, int layer, tk_traffic_sum *to)
{
    size_t n = (size_t)t->p->cfg.moe.n_expert, first = (size_t)layer * n;
    const uint64_t *now = tk_exec_expert_load(t->x);
    for (size_t i = first; i < first + n; i++) {
        if (now[i] == t->load[i]) continue;
        to->bytes += t->expert[i].bytes;
        to->flop += 2 * (double)(now[i] - t->load[i]) * t->expert[i].params;
        t->load[i] = now[i];
    }
}

void tk_traffic_count(tk_traffic *t, const tk_step_part *parts, int n_part)
{
    double n_tok = 0, n_logits = 0;
    for (int i = 0; i < n_part; i++) {
        n_tok += parts[i].n;
        n_logits += parts[i].n_logits;
    }
    t->n_step++;
    for (int i = 0; i < t->p->n_op; i++) {
        const tk_op *op = &t->p->ops[i];
        double n_row = op->kind == TK_OP_HEAD ? n_logits : n_tok; // that meet the weights
        double n_read = op->kind == TK_OP_EMBED ? n_tok : n_row > 0;
        t->sum[i].bytes += n_read * t->op[i].bytes;
        t->sum[i].flop += 2 * n_row * t->op[i].params;
        if (op->kind == TK_OP_EXPERTS) count_experts(t, op->layer, &t->sum[i]);
    }
}

tk_traffic_sum tk_traffic_so_far(const tk_traffic *t)
{
    tk_traffic_sum all = {0};
    for (int i = 0; i < t->p->n_op; i++) {
        all.bytes += t->sum[i].bytes;
        all.flop += t->sum[i].flop;
    }
    return all;
}

const tk_traffic_sum *tk_traffic_by_op(const tk_traffic *t)
{
    return t->sum;
}

uint64_t tk_traffic_steps(const tk_traffic *t)
{
    return t->n_step;
}
