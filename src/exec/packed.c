// SPDX-License-Identifier: MIT
// Packed weights: made once before the first step, by all threads, and the stored pages given back behind
// them, so that a model is resident once.
#include "exec/exec_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hw/mem.h"

#include <string.h>

enum {
    PACK_PANELS = 8 // panels packed per item
};

static void want(const tk_program *p, tk_packed *shape, int32_t w, int n)
{
    for (int i = 0; w >= 0 && i < n; i++) shape[w + i] = tk_packed_shape(&p->weights[w + i].m);
}

// Experts are packed when all n of them take the same form.
static void want_experts(const tk_program *p, tk_packed *shape, int32_t w, int32_t w2, int n)
{
    tk_pack kind = tk_pack_of(&p->weights[w].m);
    bool same = true;
    for (int i = 0; i < n; i++)
        same &= tk_pack_of(&p->weights[w + i].m) == kind &&
                (w2 < 0 || tk_pack_of(&p->weights[w2 + i].m) == kind);
    if (!same) return;
    want(p, shape, w, n);
    want(p, shape, w2, n);
}

// The halves of kv_b where they are stored apart, as rows that are multiplied by, and heads are whole panels.
static void want_halves(const tk_program *p, tk_packed *shape, const tk_op *op)
{
    const tk_mla *a = &p->cfg.mla;
    if (op->w2 < 0 || a->kv_lora % TK_PANEL_ROWS != 0 || a->d_v % TK_PANEL_ROWS != 0) return;
    want(p, shape, op->w, 1);
    want(p, shape, op->w2, 1);
}

uint64_t exec_packed_shapes(const tk_program *p, tk_packed *shape, uint64_t *stored_bytes)
{
    uint64_t bytes = 0;
    *stored_bytes = 0;
    for (int i = 0; i < p->n_op; i++) {
        const tk_op *op = &p->ops[i];
        if (op->kind == TK_OP_LINEAR || op->kind == TK_OP_HEAD) want(p, shape, op->w, 1);
        if (op->kind == TK_OP_ATTEND_MLA) want_halves(p, shape, op);
        if (op->kind != TK_OP_EXPERTS) continue;
        want_experts(p, shape, op->w, op->w2, p->cfg.moe.n_expert);
        want_experts(p, shape, op->w3, -1, p->cfg.moe.n_expert);
    }
    for (int i = 0; i < p->n_weight; i++) {
        bytes += tk_packed_bytes(&shape[i]);
        if (shape[i].kind != TK_PACK_NONE && !p->weights[i].is_alias)
            *stored_bytes += tk_matrix_bytes(&p->weights[i].m);
    }
    return bytes;
}

typedef struct pack_job {
    const tk_matrix *w;
    tk_packed *to;
    uint8_t *data;
} pack_job;

static void pack_item(void *ctx, int i_item, int i_thread)
{
    (void)i_thread;
    const pack_job *j = ctx;
    int64_t end = TK_MIN((int64_t)(i_item + 1) * PACK_PANELS, tk_packed_panels(j->to));
    for (int64_t i = (int64_t)i_item * PACK_PANELS; i < end; i++)
        tk_pack_panel(j->w, j->to, i, j->data + (size_t)i * j->to->panel_bytes);
}

// Memory is taken in huge pages, whose place is decided by who touches them first.
enum { UNIT = 2 << 20, UNITS = 64 }; // bytes; units of an item

typedef struct place_job {
    const tk_exec *x;
    const int *first; // items of the nodes
} place_job;

// The node that multiplies the panel at this byte of the packed weights.
static int node_at(const tk_exec *x, uint64_t at)
{
    int from = 0, to = x->p->n_weight; // the last weight that begins at or before it
    while (to - from > 1) {
        int mid = (from + to) / 2;
        if (x->packed[mid].data <= x->packed_data + at)
            from = mid;
        else
            to = mid;
    }
    const tk_packed *w = &x->packed[from];
    int n_panel = (int)tk_packed_panels(w), k = tk_pool_nodes(x->pool) - 1;
    int panel = (int)((at - (uint64_t)(w->data - x->packed_data)) / w->panel_bytes);
    while (k > 0 && panel < tk_pool_first(x->pool, k, n_panel)) k--;
    return k;
}

static void place_item(void *ctx, int i_item, int i_thread)
{
    (void)i_thread;
    const place_job *j = ctx;
    uint8_t *data = j->x->packed_data;
    int k = 0;
    while (i_item >= j->first[k + 1]) k++;
    uint64_t unit = (uint64_t)(i_item - j->first[k]) * UNITS, lead = (uintptr_t)data % UNIT;
    for (uint64_t last = unit + UNITS; unit < last; unit++) {
        uint64_t from = TK_MAX(unit * UNIT, lead) - lead;
        uint64_t to = TK_MIN((unit + 1) * UNIT - lead, j->x->packed_bytes);
        if (from >= to || node_at(j->x, from + (to - from) / 2) != k) continue;
        for (uint64_t page = from; page < to; page += 4096) data[page] = 0;
    }
}

// Each huge page of the packed weights to the node that multiplies the middle of it, before they are packed or read.
static void place(tk_exec *x)
{
    int n_node = tk_pool_nodes(x->pool), first[TK_LIMIT_NODES + 1];
    if (n_node == 1) return;                                          // whoever packs touches first
    int each = (int)(x->packed_bytes / ((uint64_t)UNITS * UNIT)) + 2; // it may begin within a unit
    for (int k = 0; k <= n_node; k++) first[k] = k * each;
    place_job j = {.x = x, .first = first};
    tk_pool_run_there(x->pool, first, place_item, &j);
}

static void say_progress(uint64_t done, uint64_t total, uint64_t start_ns, uint64_t *said_ns)
{
    uint64_t now = tk_clock_ns();
    if (now - *said_ns < 1000000000u && done < total) return;
    if (done == total && *said_ns == start_ns) return; // it took no second
    *said_ns = now;
    tk_log(TK_LOG_INFO, "packing weights: %.0f of %.0f MiB", (double)done / (1 << 20),
           (double)total / (1 << 20));
}

tk_status exec_pack(tk_exec *x, tk_err *err)
{
    const tk_program *p = x->p;
    uint64_t done = 0, start = tk_clock_ns(), said = start;
    tk_status st = tk_mem_map(x->packed_bytes, "packed weights", (void **)&x->packed_data, err);
    if (st != TK_OK) return st;
    for (int i = 0; i < p->n_weight; i++) {
        x->packed[i].data = x->packed_data + done;
        done += tk_packed_bytes(&x->packed[i]);
    }
    place(x);
    if (x->opts.repack_cache && exec_packed_load(x)) return TK_OK;
    done = 0;
    for (int i = 0; i < p->n_weight; i++) {
        tk_packed *to = &x->packed[i];
        if (to->kind == TK_PACK_NONE) continue;
        const tk_matrix *m = &p->weights[i].m;
        pack_job j = {.w = m, .to = to, .data = x->packed_data + done};
        int64_t n_panel = tk_packed_panels(to);
        tk_pool_run(x->pool, (int)((n_panel + PACK_PANELS - 1) / PACK_PANELS), pack_item, &j);
        tk_mem_drop(m->data, (size_t)m->n_out * m->row_bytes);
        done += tk_packed_bytes(to);
        say_progress(done, x->packed_bytes, start, &said);
    }
    if (x->opts.repack_cache) exec_packed_save(x);
    return TK_OK;
}

size_t exec_packed_rows_scratch(int64_t n_in, int n_tok)
{
    size_t n_group = (size_t)((n_in + TK_GROUP - 1) / TK_GROUP) * (size_t)n_tok;
    return n_group * (TK_GROUP / 2 + 3) + 16; // 16-bit values, a scale, two sums
}

void exec_packed_rows_times(const tk_exec *x, const tk_packed *w, int64_t row0, int n_row,
                            const float *in, int64_t ld_in, int n_tok, float *out, int64_t ld_out,
                            float *scratch)
{
    tk_act a = {.f = in, .ld = ld_in};
    if (tk_pack_is_int(w->kind)) {
        int64_t n_group = (w->n_in + TK_GROUP - 1) / TK_GROUP, all = n_group * n_tok;
        exec_rows rows = {.n_group = n_group,
                          .q = (tk_group16 *)(void *)scratch,
                          .scale = scratch + all * (int64_t)(sizeof(tk_group16) / sizeof *scratch)};
        rows.sum = (int32_t *)(void *)(rows.scale + all);
        for (int t = 0; t < n_tok; t++)
            exec_round(x, &rows, in + t * ld_in, t, 0, w->n_in, TK_WIDE_NONE);
        a = exec_act_of(&rows, 0, TK_WIDE_NONE);
    }
    x->k.gemm[w->kind](w, row0 / TK_PANEL_ROWS, (n_row + TK_PANEL_ROWS - 1) / TK_PANEL_ROWS, &a,
                       NULL, n_tok, out, ld_out);
}
