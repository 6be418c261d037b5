// SPDX-License-Identifier: MIT
// Activations on their way into packed weights: rounded to what kernels take, once for all the operations that read the
// same view.
#include "exec/exec_priv.h"

#include <string.h>

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

const tk_way *exec_way(const tk_exec *x, int32_t i_weight, int n)
{
    const tk_weight *w = &x->p->weights[i_weight];
    const tk_way *way = x->wide ? tk_way_for(&x->k, x->packed[i_weight].kind, n) : NULL;
    bool fine = exec_takes(way) == TK_WIDE_INT8 ? w->is_fine : w->role == TK_ROLE_ROUTER;
    return fine ? NULL : way;
}

unsigned exec_form_of(const tk_exec *x, int32_t i_weight, int n)
{
    tk_pack kind = x->packed[i_weight].kind;
    if (kind == TK_PACK_NONE) return 0;
    tk_wide takes = exec_takes(exec_way(x, i_weight, n));
    return takes != TK_WIDE_NONE || tk_pack_is_int(kind) ? 1u << takes : 0;
}

static bool holds(const exec_held *h, tk_view in, int tok, int n)
{
    return exec_same_view(h->of, in) && h->tok == tok && h->n >= n;
}

// x->act, for a view as wide as this.
static exec_rows rows_for(const tk_exec *x, tk_view in)
{
    exec_rows r = x->act;
    r.n_group = (in.n + TK_GROUP - 1) / TK_GROUP;
    return r;
}

void exec_act_hold(tk_exec *x, tk_view in, int tok, int n, unsigned forms)
{
    for (int i = 0; i < EXEC_FORMS; i++)
        if (forms & 1u << i) x->held[i] = (exec_held){.of = in, .tok = tok, .n = n};
}

void exec_act_round(const tk_exec *x, tk_view in, int tok, int row, unsigned forms)
{
    exec_rows to = rows_for(x, in);
    const float *f = exec_row(x, in, tok);
    for (int i = 0; i < EXEC_FORMS; i++)
        if (forms & 1u << i) exec_round(x, &to, f, row, 0, in.n, (tk_wide)i);
}

typedef struct act_job {
    const tk_exec *x;
    tk_view in;
    int tok;
    unsigned forms;
} act_job;

static void act_item(void *ctx, int i_item, int i_thread)
{
    (void)i_thread;
    const act_job *j = ctx;
    exec_act_round(j->x, j->in, j->tok + i_item, i_item, j->forms);
}

void exec_act_make(tk_exec *x, tk_view in, int tok, int n, unsigned forms)
{
    for (int i = 0; i < EXEC_FORMS; i++)
        if (holds(&x->held[i], in, tok, n)) forms &= ~(1u << i);
    if (forms == 0) return;
    exec_act_hold(x, in, tok, n, forms);
    act_job j = {.x = x, .in = in, .tok = tok, .forms = forms};
    tk_pool_run(x->pool, n, act_item, &j);
}

tk_act exec_act(const tk_exec *x, tk_view in, int tok, tk_wide takes)
{
    exec_rows rows = rows_for(x, in);
    tk_act a = exec_act_of(&rows, 0, takes);
    a.f = exec_row(x, in, tok);
    a.ld = exec_stride(x, in);
    return a;
}

void exec_act_copy(const tk_exec *x, tk_view in, int tok, const exec_rows *to, int row,
                   tk_wide takes)
{
    const exec_rows *from = &x->act;
    if (takes == TK_WIDE_BF16) {
        size_t n = ((size_t)in.n + 31) / 32 * 32;
        memcpy(to->h + row * to->ld_h, from->h + tok * from->ld_h, n * sizeof *to->h);
        return;
    }
    int64_t n_group = (in.n + TK_GROUP - 1) / TK_GROUP;
    const int32_t *more = from->more + tok * tk_row8_more(n_group);
    memcpy(to->b + row * tk_row8(n_group), from->b + tok * tk_row8(n_group),
           (size_t)(n_group + more[0]) * sizeof *to->b);
    memcpy(to->more + row * tk_row8_more(n_group), more, (size_t)(1 + more[0]) * sizeof *more);
}

void exec_act_forget(tk_exec *x, int16_t buf)
{
    for (int i = 0; i < EXEC_FORMS; i++)
        if (x->held[i].of.buf == buf) x->held[i].of = TK_VIEW_NONE;
}

void exec_act_forget_all(tk_exec *x)
{
    for (int i = 0; i < EXEC_FORMS; i++) x->held[i].of = TK_VIEW_NONE;
}
