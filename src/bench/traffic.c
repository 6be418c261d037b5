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
    amount always, head;
    double row_bytes; // of the embedding
    amount *expert;   // [n_layer][n_expert] gate, up and down together; NULL when dense
    uint64_t *load;   // [n_layer][n_expert] as it was after the last step
    tk_traffic_sum sum;
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

tk_traffic *tk_traffic_new(const tk_program *p, const tk_exec *x)
{
    tk_traffic *t = tk_alloc(sizeof *t);
    size_t n_pair = (size_t)p->cfg.n_layer * (size_t)p->cfg.moe.n_expert;
    t->p = p;
    t->x = x;
    if (n_pair) {
        t->expert = tk_alloc(n_pair * sizeof *t->expert);
        t->load = tk_alloc(n_pair * sizeof *t->load);
    }
    for (int i = 0; i < p->n_weight; i++) {
        const tk_weight *w = &p->weights[i];
        if (w->is_mtp || w->role == TK_ROLE_EXPERT || w->role == TK_ROLE_EMBED ||
            w->role == TK_ROLE_HEAD)
            continue;
        add(&t->always, &w->m);
    }
    for (int i = 0; i < p->n_op; i++) {
        const tk_op *op = &p->ops[i];
        if (op->kind == TK_OP_EXPERTS) add_experts(t, op);
        if (op->kind == TK_OP_HEAD) add(&t->head, &p->weights[op->w].m);
        if (op->kind == TK_OP_EMBED)
            t->row_bytes =
                (double)tk_matrix_bytes(&p->weights[op->w].m) / (double)p->weights[op->w].m.n_out;
    }
    tk_traffic_reset(t);
    return t;
}

void tk_traffic_free(tk_traffic *t)
{
    if (t == NULL) return;
    tk_free(t->expert);
    tk_free(t->load);
    tk_free(t);
}

void tk_traffic_reset(tk_traffic *t)
{
    const uint64_t *now = tk_exec_expert_load(t->x);
    size_t n_pair = (size_t)t->p->cfg.n_layer * (size_t)t->p->cfg.moe.n_expert;
    if (now) memcpy(t->load, now, n_pair * sizeof *now);
    t->sum = (tk_traffic_sum){0};
}

void tk_traffic_count(tk_traffic *t, const tk_step_part *parts, int n_part)
{
    double n_tok = 0, n_logits = 0;
    for (int i = 0; i < n_part; i++) {
        n_tok += parts[i].n;
        n_logits += parts[i].n_logits;
    }
    t->sum.n_step++;
    t->sum.bytes += t->always.bytes + n_tok * t->row_bytes + (n_logits > 0 ? t->head.bytes : 0);
    t->sum.flop += 2 * (n_tok * t->always.params + n_logits * t->head.params);
    const uint64_t *now = tk_exec_expert_load(t->x);
    if (now == NULL) return;
    size_t n_pair = (size_t)t->p->cfg.n_layer * (size_t)t->p->cfg.moe.n_expert;
    for (size_t i = 0; i < n_pair; i++) {
        if (now[i] == t->load[i]) continue;
        t->sum.bytes += t->expert[i].bytes;
        t->sum.flop += 2 * (double)(now[i] - t->load[i]) * t->expert[i].params;
        t->load[i] = now[i];
    }
}

tk_traffic_sum tk_traffic_so_far(const tk_traffic *t)
{
    return t->sum;
}
