// SPDX-License-Identifier: MIT
// Packed weights: made once before the first step, by all threads, and the stored pages given back behind
// them, so that a model is resident once. Activations are rounded to 16-bit integers once for all the
// operations that read the same view.
#include "exec/exec_priv.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hw/mem.h"

#include <string.h>

enum {
    PACK_PANELS = 8, // panels packed per item
    TOK_BLOCK = 64, // tokens whose activations stay in the second-level cache over an item's panels
    ITEMS_A_THREAD = 8 // work items per thread, so that a slow thread holds nobody up for long
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

typedef struct act_job {
    tk_exec *x;
    const float *in;
    int64_t ld, n_in;
} act_job;

static void quantise_row(void *ctx, int tok, int i_thread)
{
    (void)i_thread;
    const act_job *j = ctx;
    exec_round(j->x, &j->x->act, j->in + tok * j->ld, tok, 0, j->n_in, j->x->act_wide);
}

// With zeros to a multiple of 32 columns.
static void round_bf16(const tk_exec *x, const float *in, int64_t n, uint16_t *h)
{
    x->k.kv_store[TK_KV_BF16](in, (int)n, h);
    for (int64_t i = n; i % 32 != 0; i++) h[i] = 0;
}

void exec_round(const tk_exec *x, const exec_rows *to, const float *in, int64_t row, int64_t col,
                int64_t n, tk_wide wide)
{
    int64_t group = row * to->n_group + col / TK_GROUP;
    if (wide == TK_WIDE_NONE)
        x->k.quantise(in, n, to->q + group, to->scale + group, to->sum + group * 2);
    else if (wide == TK_WIDE_INT8)
        x->k.quantise8(in, n, to->b + row * tk_row8(to->n_group),
                       to->more + row * tk_row8_more(to->n_group));
    else
        round_bf16(x, in, n, to->h + row * to->ld_h + col);
}

tk_act exec_act_of(const exec_rows *r, int64_t row, tk_wide wide)
{
    tk_act all = {.q = wide ? NULL : r->q,
                  .b = r->b,
                  .more = r->more,
                  .scale = r->scale,
                  .sum = r->sum,
                  .n_group = r->n_group,
                  .h = r->h,
                  .ld_h = r->ld_h};
    return exec_act_from(&all, row);
}

const tk_way *exec_way(const tk_exec *x, int32_t i_weight, int n)
{
    const tk_weight *w = &x->p->weights[i_weight];
    const tk_way *way = x->wide ? tk_way_for(&x->k, x->packed[i_weight].kind, n) : NULL;
    bool fine = exec_takes(way) == TK_WIDE_INT8 ? w->is_fine : w->role == TK_ROLE_ROUTER;
    return fine ? NULL : way;
}

// Rows tok..tok + n of a view as rows 0..n of an activation. They are rounded only as the weights want it.
static tk_act act_of(tk_exec *x, tk_view in, int tok, int n, tk_pack kind, tk_wide wide)
{
    const float *f = exec_row(x, in, tok);
    int64_t ld = exec_stride(x, in);
    if (!tk_pack_is_int(kind) && !wide) return (tk_act){.f = f, .ld = ld};
    bool same = x->act_of.buf == in.buf && x->act_of.off == in.off && x->act_of.n == in.n &&
                x->act_tok == tok && x->act_n >= n && x->act_wide == wide;
    x->act.n_group = (in.n + TK_GROUP - 1) / TK_GROUP;
    if (!same) {
        x->act_wide = wide;
        act_job j = {.x = x, .in = f, .ld = ld, .n_in = in.n};
        tk_pool_run(x->pool, n, quantise_row, &j);
        x->act_of = in;
        x->act_tok = tok;
        x->act_n = n;
    }
    tk_act a = exec_act_of(&x->act, 0, wide);
    a.f = f;
    a.ld = ld;
    return a;
}

typedef struct gemm_job {
    const tk_exec *x;
    const tk_packed *w;
    const float *bias;
    tk_act in;
    float *out;
    int64_t ld_out;
    int n_tok, panels_per_item;
    const tk_way *way;
} gemm_job;

tk_act exec_act_from(const tk_act *a, int64_t tok)
{
    tk_act b = *a;
    if (a->f) b.f += tok * a->ld;
    if (a->h) b.h += tok * a->ld_h;
    if (a->q) b.q += tok * a->n_group;
    if (a->b) b.b += tok * tk_row8(a->n_group);
    if (a->more) b.more += tok * tk_row8_more(a->n_group);
    if (a->scale) b.scale += tok * a->n_group;
    if (a->sum) b.sum += tok * a->n_group * 2;
    return b;
}

static void gemm_item(void *ctx, int i_item, int i_thread)
{
    (void)i_thread;
    const gemm_job *j = ctx;
    int64_t panel0 = (int64_t)i_item * j->panels_per_item, row0 = panel0 * TK_PANEL_ROWS;
    int n_panel = (int)TK_MIN((int64_t)j->panels_per_item, tk_packed_panels(j->w) - panel0);
    int n_row = (int)TK_MIN((int64_t)n_panel * TK_PANEL_ROWS, j->w->n_out - row0);
    tk_gemm_fn gemm = j->way ? j->way->gemm : j->x->k.gemm[j->w->kind];
    int block = TOK_BLOCK;
    if (j->way) block = j->way->takes == TK_WIDE_INT8 ? 2 * TOK_BLOCK : j->n_tok; // BF16: its own
    for (int t = 0; t < j->n_tok; t += block) {
        tk_act a = exec_act_from(&j->in, t);
        gemm(j->w, panel0, n_panel, &a, NULL, TK_MIN(block, j->n_tok - t),
             j->out + t * j->ld_out + row0, j->ld_out);
    }
    for (int t = 0; j->bias && t < j->n_tok; t++)
        for (int r = 0; r < n_row; r++) j->out[t * j->ld_out + row0 + r] += j->bias[row0 + r];
}

void exec_packed_times(tk_exec *x, int32_t i_weight, const float *bias, tk_view in, int tok, int n,
                       float *out, int64_t ld_out)
{
    const tk_packed *w = &x->packed[i_weight];
    const tk_way *way = exec_way(x, i_weight, n);
    gemm_job j = {.x = x,
                  .w = w,
                  .bias = bias,
                  .in = act_of(x, in, tok, n, w->kind, exec_takes(way)),
                  .out = out,
                  .ld_out = ld_out,
                  .n_tok = n,
                  .way = way};
    int64_t n_panel = tk_packed_panels(w);
    int64_t each = n_panel / (ITEMS_A_THREAD * tk_pool_threads(x->pool));
    j.panels_per_item = (int)TK_MAX(4, TK_MIN(each / 4 * 4, 16));
    tk_pool_run(x->pool, (int)((n_panel + j.panels_per_item - 1) / j.panels_per_item), gemm_item,
                &j);
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

tk_act exec_act(tk_exec *x, tk_view in, tk_pack kind)
{
    return act_of(x, in, 0, x->n_tok, kind, TK_WIDE_NONE);
}

void exec_act_forget(tk_exec *x, int16_t buf)
{
    if (x->act_of.buf == buf) x->act_of = TK_VIEW_NONE;
}
