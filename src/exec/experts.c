// SPDX-License-Identifier: MIT
// Mixture of experts: which experts a token goes to, and the grouped product in which each expert's weights
// are read once for all its tokens. Sums over a token's experts run in the order they were chosen, so that
// a result does not depend on threads or neighbours.
#include "exec/exec_priv.h"

#include "base/limits.h"

#include <assert.h>
#include <math.h>
#include <string.h>

typedef struct route_job {
    tk_exec *x;
    const tk_op *op;
} route_job;

static void score(const tk_exec *x, float *s, int n)
{
    if (x->p->cfg.moe.score == TK_SCORE_SIGMOID) {
        for (int i = 0; i < n; i++) s[i] = 1 / (1 + expf(-s[i]));
        return;
    }
    float max = s[0];
    for (int i = 1; i < n; i++) max = fmaxf(max, s[i]);
    float sum = x->k.exp_sum(s, max, n);
    for (int i = 0; i < n; i++) s[i] /= sum;
}

// Index of the largest of v[0..n) not yet taken (-INFINITY marks taken); the lower index wins a tie.
static int largest(const float *v, int n)
{
    int best = 0;
    for (int i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

static float rank_of_group(tk_group_rank rank, const float *v, int n)
{
    float first = -INFINITY, second = -INFINITY;
    for (int i = 0; i < n; i++) {
        if (v[i] > first) {
            second = first;
            first = v[i];
        } else if (v[i] > second) {
            second = v[i];
        }
    }
    return rank == TK_GROUP_MAX || n < 2 ? first : first + second;
}

// Leaves only the experts of the best groups: the others become -INFINITY.
static void keep_groups(const tk_moe *m, float *choice, float *rank)
{
    if (m->group_rank == TK_GROUP_NONE || m->n_group == m->n_group_used) return;
    int n = m->n_expert / m->n_group;
    assert(n > 0); // the config was checked
    for (int g = 0; g < m->n_group; g++) rank[g] = rank_of_group(m->group_rank, choice + g * n, n);
    bool keep[TK_LIMIT_EXPERTS] = {0};
    for (int i = 0; i < m->n_group_used; i++) {
        int g = largest(rank, m->n_group);
        keep[g] = true;
        rank[g] = -INFINITY;
    }
    for (int e = 0; e < m->n_expert; e++)
        if (!keep[e / n]) choice[e] = -INFINITY;
}

static void route_token(void *ctx, int tok, int i_thread)
{
    const route_job *j = ctx;
    tk_exec *x = j->x;
    const tk_moe *m = &x->p->cfg.moe;
    float *s = exec_row(x, j->op->in, tok);
    float *choice = x->scratch[i_thread], *rank = choice + m->n_expert;
    int32_t *id = x->top_id + (size_t)tok * m->n_used;
    float *w = x->top_w + (size_t)tok * m->n_used;
    score(x, s, m->n_expert);
    for (int e = 0; e < m->n_expert; e++)
        choice[e] = s[e] + (j->op->b >= 0 ? x->vec[j->op->b][e] : 0);
    keep_groups(m, choice, rank);
    float sum = 0;
    for (int k = 0; k < m->n_used; k++) {
        id[k] = largest(choice, m->n_expert);
        choice[id[k]] = -INFINITY;
        sum += w[k] = s[id[k]];
    }
    for (int k = 0; k < m->n_used; k++) {
        if (m->norm_topk)
            w[k] /= sum + 1e-20f; // as DeepSeek's code: a token whose scores are all 0 stays finite
        w[k] *= m->routed_scale;
    }
}

// Slots (token, k) in the order of their experts.
static void sort_by_expert(tk_exec *x, int layer)
{
    const tk_moe *m = &x->p->cfg.moe;
    int n_slot = x->n_tok * m->n_used;
    int32_t *first = x->expert_first;
    memset(first, 0, ((size_t)m->n_expert + 1) * sizeof *first);
    for (int i = 0; i < n_slot; i++) first[x->top_id[i] + 1]++;
    for (int e = 0; e < m->n_expert; e++) {
        x->expert_load[(size_t)layer * m->n_expert + e] += (uint64_t)first[e + 1];
        first[e + 1] += first[e];
    }
    for (int i = 0; i < n_slot; i++) {
        int at = first[x->top_id[i]]++;
        x->expert_slot[at] = i;
        x->slot_place[i] = at;
    }
    for (int e = m->n_expert; e > 0; e--) first[e] = first[e - 1];
    first[0] = 0;
}

void exec_route(tk_exec *x, const tk_op *op)
{
    route_job j = {.x = x, .op = op};
    tk_pool_run(x->pool, x->n_tok, route_token, &j);
    sort_by_expert(x, op->layer);
}

typedef struct expert_job {
    tk_exec *x;
    const tk_op *op;
    const int32_t *token; // of each sorted place
    tk_act in;            // when the experts are packed
    tk_pack down;         // form of the down projection
} expert_job;

enum {
    EXPERT_ROWS = 64,  // whole panels and whole groups of activations
    EXPERT_MOST = 512, // rows of an item: memory is read best in long runs
    EXPERT_ITEMS = 8   // items a thread, about
};

// Work list: every expert that has tokens, a multiple of EXPERT_ROWS rows of its n_out at a time. A node of memory gets
// those rows of every expert that are its own; first [nodes + 1]: its items.
static void list_items(tk_exec *x, int n_out, int *first)
{
    int n = 0, busy = 0, n_expert = x->p->cfg.moe.n_expert, n_node = tk_pool_nodes(x->pool);
    for (int e = 0; e < n_expert; e++) busy += x->expert_first[e] < x->expert_first[e + 1];
    int each = busy * n_out / (EXPERT_ITEMS * tk_pool_threads(x->pool)) / EXPERT_ROWS * EXPERT_ROWS;
    each = TK_MAX(EXPERT_ROWS, TK_MIN(each, EXPERT_MOST));
    int n_piece = (n_out + each - 1) / each;
    for (int k = 0; k < n_node; k++) {
        int from = tk_pool_first(x->pool, k, n_piece) * each;
        int to = TK_MIN(n_out, tk_pool_first(x->pool, k + 1, n_piece) * each);
        first[k] = n;
        for (int e = 0; e < n_expert; e++) {
            if (x->expert_first[e] == x->expert_first[e + 1]) continue;
            for (int r = from; r < to; r += each)
                x->moe_items[n++] =
                    (moe_item){.expert = e, .row0 = r, .n_row = TK_MIN(each, n_out - r)};
        }
    }
    first[n_node] = n;
}

// For each item of the list, fn.
static void run_items(tk_exec *x, int n_out, tk_pool_fn fn, expert_job *j)
{
    int first[TK_LIMIT_NODES + 1];
    list_items(x, n_out, first);
    tk_pool_run_at(x->pool, first, fn, j);
}

// An expert's inputs, where it meets them by a wide kernel.
static void gather_expert(void *ctx, int expert, int i_thread)
{
    (void)i_thread;
    const expert_job *j = ctx;
    tk_exec *x = j->x;
    int first = x->expert_first[expert], n = x->expert_first[expert + 1] - first;
    tk_wide takes = exec_takes(exec_way(x, j->op->w + expert, n));
    if (takes == TK_WIDE_NONE) return;
    for (int i = first; i < first + n; i++)
        exec_act_copy(x, j->op->in, j->token[i], &x->moe_in, i, takes);
}

// One item of packed gate and up, and its rows of the result as 16-bit integers where the down projection takes them.
static void gate_up_packed(const expert_job *j, moe_item it, int first, int n, int n_row)
{
    tk_exec *x = j->x;
    int d = x->p->cfg.moe.d_expert, n_panel = (n_row + TK_PANEL_ROWS - 1) / TK_PANEL_ROWS;
    const tk_packed *g = &x->packed[j->op->w + it.expert], *u = &x->packed[j->op->w2 + it.expert];
    float *gate = x->moe_mid + (size_t)first * d + it.row0,
          *up = x->moe_up + (size_t)first * d + it.row0;
    int64_t panel0 = it.row0 / TK_PANEL_ROWS;
    const tk_way *way = exec_way(x, j->op->w + it.expert, n);
    bool down_wide = exec_way(x, j->op->w3 + it.expert, n) != NULL;
    if (way) {
        tk_act in = exec_act_of(&x->moe_in, first, way->takes);
        way->gemm(g, panel0, n_panel, &in, NULL, n, gate, d);
        way->gemm(u, panel0, n_panel, &in, NULL, n, up, d);
    } else {
        x->k.gemm[g->kind](g, panel0, n_panel, &j->in, j->token + first, n, gate, d);
        x->k.gemm[u->kind](u, panel0, n_panel, &j->in, j->token + first, n, up, d);
    }
    for (int t = 0; t < n; t++) {
        float *mid = gate + (size_t)t * d;
        x->k.swiglu(mid, up + (size_t)t * d, n_row, mid);
        if (!down_wide && j->down != TK_PACK_NONE && tk_pack_is_int(j->down))
            exec_round(x, &x->moe_act, mid, first + t, it.row0, n_row, TK_WIDE_NONE);
    }
}

// An expert's rows for a wide down projection: whole ones, since tk_row8 looks at all of a row.
static void round_expert(void *ctx, int expert, int i_thread)
{
    (void)i_thread;
    const expert_job *j = ctx;
    tk_exec *x = j->x;
    int d = x->p->cfg.moe.d_expert;
    int first = x->expert_first[expert], n = x->expert_first[expert + 1] - first;
    tk_wide takes = exec_takes(exec_way(x, j->op->w3 + expert, n));
    if (takes == TK_WIDE_NONE) return;
    for (int i = first; i < first + n; i++)
        exec_round(x, &x->moe_act, x->moe_mid + (size_t)i * d, i, 0, d, takes);
}

static void gate_up_item(void *ctx, int i_item, int i_thread)
{
    const expert_job *j = ctx;
    tk_exec *x = j->x;
    int d = x->p->cfg.moe.d_expert;
    moe_item it = x->moe_items[i_item];
    int first = x->expert_first[it.expert], n = x->expert_first[it.expert + 1] - first;
    int n_row = it.n_row;
    if (x->packed[j->op->w].kind != TK_PACK_NONE) {
        gate_up_packed(j, it, first, n, n_row);
        return;
    }
    const float *in = exec_row(x, j->op->in, 0);
    int64_t ld = exec_stride(x, j->op->in);
    float *gate = x->moe_mid + (size_t)first * d + it.row0,
          *up = x->moe_up + (size_t)first * d + it.row0;
    exec_rows_times(x, &x->p->weights[j->op->w + it.expert].m, it.row0, n_row, in, ld,
                    j->token + first, n, gate, d, x->scratch[i_thread]);
    exec_rows_times(x, &x->p->weights[j->op->w2 + it.expert].m, it.row0, n_row, in, ld,
                    j->token + first, n, up, d, x->scratch[i_thread]);
    for (int t = 0; t < n; t++)
        x->k.swiglu(gate + (size_t)t * d, up + (size_t)t * d, n_row, gate + (size_t)t * d);
}

static void down_packed(const expert_job *j, moe_item it, int first, int n)
{
    const tk_exec *x = j->x;
    const tk_packed *w = &x->packed[j->op->w3 + it.expert];
    int d = x->p->cfg.moe.d_expert, d_model = x->p->cfg.d_model;
    int n_panel = (it.n_row + TK_PANEL_ROWS - 1) / TK_PANEL_ROWS;
    float *out = x->moe_out + (size_t)first * d_model + it.row0;
    const tk_way *way = exec_way(x, j->op->w3 + it.expert, n);
    tk_act in = exec_act_of(&x->moe_act, first, exec_takes(way));
    in.f = x->moe_mid + (size_t)first * d;
    in.ld = d;
    tk_gemm_fn gemm = way ? way->gemm : x->k.gemm[w->kind];
    gemm(w, it.row0 / TK_PANEL_ROWS, n_panel, &in, NULL, n, out, d_model);
}

static void down_item(void *ctx, int i_item, int i_thread)
{
    const expert_job *j = ctx;
    tk_exec *x = j->x;
    int d = x->p->cfg.moe.d_expert, d_model = x->p->cfg.d_model;
    moe_item it = x->moe_items[i_item];
    int first = x->expert_first[it.expert], n = x->expert_first[it.expert + 1] - first;
    int n_row = it.n_row;
    if (j->down != TK_PACK_NONE) {
        down_packed(j, it, first, n);
        return;
    }
    exec_rows_times(x, &x->p->weights[j->op->w3 + it.expert].m, it.row0, n_row,
                    x->moe_mid + (size_t)first * d, d, NULL, n,
                    x->moe_out + (size_t)first * d_model + it.row0, d_model, x->scratch[i_thread]);
}

static void combine_token(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const expert_job *j = ctx;
    tk_exec *x = j->x;
    int n_used = x->p->cfg.moe.n_used, d = x->p->cfg.d_model;
    float *out = exec_row(x, j->op->out, tok);
    memset(out, 0, (size_t)d * sizeof *out);
    for (int k = 0; k < n_used; k++) {
        size_t slot = (size_t)tok * n_used + k;
        x->k.axpy(x->top_w[slot], x->moe_out + (size_t)x->slot_place[slot] * d, d, out);
    }
}

static unsigned expert_forms(const tk_exec *x, const tk_op *op)
{
    unsigned forms = 0;
    for (int e = 0; e < x->p->cfg.moe.n_expert; e++) {
        int n = x->expert_first[e + 1] - x->expert_first[e];
        if (n > 0) forms |= exec_form_of(x, op->w + e, n);
    }
    return forms;
}

void exec_experts(tk_exec *x, const tk_op *op)
{
    const tk_moe *m = &x->p->cfg.moe;
    int32_t *token = x->expert_slot; // slot -> token: slots are not needed any more
    for (int i = 0; i < x->n_tok * m->n_used; i++) token[i] /= m->n_used;
    expert_job j = {.x = x, .op = op, .token = token};
    const tk_packed *gate = &x->packed[op->w], *down = &x->packed[op->w3];
    exec_act_make(x, op->in, 0, x->n_tok, expert_forms(x, op));
    if (gate->kind != TK_PACK_NONE) j.in = exec_act(x, op->in, 0, TK_WIDE_NONE);
    j.down = down->kind;
    x->moe_in.n_group = (x->p->cfg.d_model + TK_GROUP - 1) / TK_GROUP;
    if (gate->kind != TK_PACK_NONE && exec_way(x, op->w, x->n_tok))
        tk_pool_run(x->pool, m->n_expert, gather_expert, &j);
    x->moe_act.n_group = (m->d_expert + TK_GROUP - 1) / TK_GROUP;
    run_items(x, m->d_expert, gate_up_item, &j);
    if (down->kind != TK_PACK_NONE && exec_way(x, op->w3, x->n_tok))
        tk_pool_run(x->pool, m->n_expert, round_expert, &j);
    run_items(x, x->p->cfg.d_model, down_item, &j);
    tk_pool_run(x->pool, x->n_tok, combine_token, &j);
}
