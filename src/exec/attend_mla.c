// SPDX-License-Identifier: MIT
// Multi-head latent attention, in its two equal forms.
//
//  absorbed   q_lat = W_UK^T q_nope; scores = [q_lat | q_rope] . [latent | k_rope]; o = W_UV (p . latent).
//             Reads the small cache only, 2 x kv_lora multiply-adds a head and cached token.
//  expanded   K = W_UK latent, V = W_UV latent for a tile of the cache, then ordinary attention of all
//             tokens of the step: d_nope + d_v multiply-adds instead, worth it from ~32 tokens of one
//             sequence on.
#include "exec/attend_mla.h"

#include <math.h>
#include <string.h>

static int64_t round16(int64_t n)
{
    return (n + 15) / 16 * 16;
}

// q_lat[tok][head] = [W_UK^T q_nope | q_rope]
static void absorb_item(void *ctx, int head, int i_thread)
{
    const mla_job *j = ctx;
    const tk_exec *x = j->x;
    const tk_mla *a = &x->p->cfg.mla;
    int n_head = x->p->cfg.n_head, width = a->kv_lora + a->d_rope;
    int64_t ld_q = exec_stride(x, j->op->in), ld_out = (int64_t)n_head * width;
    const float *q = exec_row(x, j->op->in, j->tok0) + head * j->op->d_head;
    float *out = x->q_lat + (int64_t)head * width, *w = x->scratch[i_thread];
    mla_kv_b k = mla_key_half(j, head);
    const tk_packed *packed = &x->packed[j->op->w];
    if (packed->kind != TK_PACK_NONE)
        exec_packed_rows_times(x, packed, k.row0, a->kv_lora, q, ld_q, j->n_tok, out, ld_out, w);
    for (int t = 0; t < j->n_tok; t++)
        memcpy(out + t * ld_out + a->kv_lora, q + t * ld_q + a->d_nope,
               (size_t)a->d_rope * sizeof *out);
    if (packed->kind != TK_PACK_NONE) return;
    for (int t = 0; t < j->n_tok; t++)
        memset(out + t * ld_out, 0, (size_t)a->kv_lora * sizeof *out);
    if (k.transposed) {
        int64_t ld = round16(a->d_nope);
        mla_decode_rows(x, &k, a->kv_lora, w, ld);
        x->k.mm(w, ld, a->kv_lora, q, ld_q, j->n_tok, a->d_nope, out, ld_out);
        return;
    }
    // rows of W_UK weighted by q_nope and summed: the same kernel that mixes values
    int64_t ld = round16(a->kv_lora);
    mla_decode_rows(x, &k, a->d_nope, w, ld);
    x->k.kv_mix[TK_KV_F32](q, ld_q, j->n_tok, w, (size_t)ld * sizeof *w, a->d_nope, a->kv_lora, out,
                           ld_out);
}

// How a token's absorbed attention is cut into items: by blocks of heads, and a long context by position, so
// that one sequence keeps all threads busy. The cut follows from the token's position alone.
typedef struct mla_cut {
    int n_head_block, n_split, split_tok;
} mla_cut;

static mla_cut cut_of(const tk_program *p, int pos)
{
    mla_cut c = {.n_head_block = (p->cfg.n_head + MLA_HEADS - 1) / MLA_HEADS};
    int most = TK_MAX(1, MLA_SPLITS / c.n_head_block);
    int n_block = pos / TK_KV_BLOCK_TOK + 1, least = MLA_SPLIT_TOK / TK_KV_BLOCK_TOK;
    int each = TK_MAX(least, (n_block + most - 1) / most);
    c.n_split = (n_block + each - 1) / each;
    c.split_tok = each * TK_KV_BLOCK_TOK;
    return c;
}

// Floats of the partial results of one token.
size_t exec_mla_part_floats(const tk_program *p)
{
    mla_cut c = cut_of(p, p->cfg.max_ctx);
    return (size_t)c.n_head_block * TK_MAX(1, MLA_SPLITS / c.n_head_block) * MLA_HEADS *
           (size_t)(p->cfg.mla.kv_lora + 2);
}

// Mixed values [MLA_HEADS][kv_lora], then maxima and sums [MLA_HEADS] each, of an item of token t.
static float *part_of(const tk_exec *x, int t, int i_item)
{
    return x->o_part + (size_t)t * exec_mla_part_floats(x->p) +
           (size_t)i_item * MLA_HEADS * (size_t)(x->p->cfg.mla.kv_lora + 2);
}

// One token, MLA_HEADS heads, one split of its context: softmax(q_lat . cache) . latent, not yet divided by the
// sum.
static void latent_split(const mla_job *j, int t, int head_block, int split, const mla_cut *cut,
                         float *scores)
{
    const tk_exec *x = j->x;
    const tk_config *c = &x->p->cfg;
    int width = c->mla.kv_lora + c->mla.d_rope, d = c->mla.kv_lora, head0 = head_block * MLA_HEADS;
    int n_head = TK_MIN(MLA_HEADS, c->n_head - head0);
    const tok_info *tok = &x->tok[j->tok0 + t];
    const tk_kv_table *seq = x->parts[tok->part].seq;
    const float *q = x->q_lat + ((size_t)t * c->n_head + head0) * width;
    float *out = part_of(x, t, head_block * cut->n_split + split);
    float *max = out + MLA_HEADS * d, *sum = max + MLA_HEADS;
    for (int h = 0; h < n_head; h++) {
        max[h] = -INFINITY;
        sum[h] = 0;
    }
    memset(out, 0, (size_t)n_head * d * sizeof *out);
    int kind = x->opts.kv_dtype;
    uint16_t *wide = NULL;
    if (exec_attends_wide(x, n_head, width)) {
        wide = (uint16_t *)(void *)(scores + MLA_HEADS * TK_KV_BLOCK_TOK);
        x->k.kv_store[TK_KV_BF16](q, n_head * width, wide);
    }
    tk_kv_mix_fn mix = wide ? x->k.kv_mix_wide[kind] : x->k.kv_mix[kind];
    int end = TK_MIN(tok->pos + 1, (split + 1) * cut->split_tok);
    for (int row0 = split * cut->split_tok; row0 < end; row0 += TK_KV_BLOCK_TOK) {
        int n_row = TK_MIN(TK_KV_BLOCK_TOK, end - row0);
        const char *rows = exec_k_block(x, j->op->layer, seq->block[row0 / TK_KV_BLOCK_TOK]);
        exec_scores(x, wide != NULL, wide ? (const void *)wide : q, n_head, width, rows, n_row,
                    scores);
        for (int h = 0; h < n_head; h++)
            x->k.softmax(scores + h * TK_KV_BLOCK_TOK, 0, n_row, n_row, &max[h], &sum[h],
                         out + (size_t)h * d, d);
        mix(scores, TK_KV_BLOCK_TOK, n_head, rows, x->kv_row_bytes, n_row, d, out, d);
    }
}

static void latent_item(void *ctx, int i_item, int i_thread)
{
    const mla_job *j = ctx;
    for (int t = 0; t < j->n_tok; t++) {
        mla_cut cut = cut_of(j->x->p, j->x->tok[j->tok0 + t].pos);
        int n = cut.n_head_block * cut.n_split;
        if (i_item < n) {
            latent_split(j, t, i_item / cut.n_split, i_item % cut.n_split, &cut,
                         j->x->scratch[i_thread]);
            return;
        }
        i_item -= n;
    }
}

// o_lat[tok][head]: the splits of its context together, in order of position.
static void join_splits(const mla_job *j, int t, int head)
{
    const tk_exec *x = j->x;
    int d = x->p->cfg.mla.kv_lora, in_block = head % MLA_HEADS;
    mla_cut cut = cut_of(x->p, x->tok[j->tok0 + t].pos);
    float *out = x->o_lat + ((size_t)t * x->p->cfg.n_head + head) * d, max = -INFINITY, sum = 0;
    for (int s = 0; s < cut.n_split; s++)
        max =
            fmaxf(max, part_of(x, t, head / MLA_HEADS * cut.n_split + s)[MLA_HEADS * d + in_block]);
    memset(out, 0, (size_t)d * sizeof *out);
    for (int s = 0; s < cut.n_split; s++) {
        const float *part = part_of(x, t, head / MLA_HEADS * cut.n_split + s);
        float by = expf(part[MLA_HEADS * d + in_block] - max);
        sum += by * part[MLA_HEADS * (d + 1) + in_block];
        x->k.axpy(by, part + (size_t)in_block * d, d, out);
    }
    for (int i = 0; i < d; i++) out[i] /= sum;
}

// out[tok][head] = W_UV o_lat
static void unabsorb_item(void *ctx, int head, int i_thread)
{
    const mla_job *j = ctx;
    const tk_exec *x = j->x;
    const tk_config *c = &x->p->cfg;
    mla_kv_b v = mla_value_half(j, head);
    for (int t = 0; t < j->n_tok; t++) join_splits(j, t, head);
    const float *in = x->o_lat + (size_t)head * c->mla.kv_lora;
    int64_t ld_in = (int64_t)c->n_head * c->mla.kv_lora, ld_out = exec_stride(x, j->op->out);
    float *out = exec_row(x, j->op->out, j->tok0) + (size_t)head * c->mla.d_v,
          *scratch = x->scratch[i_thread];
    if (j->op->w2 >= 0 && x->packed[j->op->w2].kind != TK_PACK_NONE)
        exec_packed_rows_times(x, &x->packed[j->op->w2], v.row0, c->mla.d_v, in, ld_in, j->n_tok,
                               out, ld_out, scratch);
    else
        exec_rows_times(x, &v.m, v.row0, c->mla.d_v, in, ld_in, NULL, j->n_tok, out, ld_out,
                        scratch);
}

static void absorbed(tk_exec *x, const tk_op *op, int tok0, int n_tok)
{
    const tk_config *c = &x->p->cfg;
    for (int t = 0; t < n_tok; t += MLA_ABSORB_TOK) {
        mla_job j = {
            .x = x, .op = op, .tok0 = tok0 + t, .n_tok = TK_MIN(MLA_ABSORB_TOK, n_tok - t)};
        tk_pool_run(x->pool, c->n_head, absorb_item, &j);
        int n_item = 0;
        for (int i = 0; i < j.n_tok; i++) {
            mla_cut cut = cut_of(x->p, x->tok[j.tok0 + i].pos);
            n_item += cut.n_head_block * cut.n_split;
        }
        tk_pool_run(x->pool, n_item, latent_item, &j);
        tk_pool_run(x->pool, c->n_head, unabsorb_item, &j);
    }
}

// Scratch of an expanded item, one head: its two weight halves, a tile of the cache as float32, K and V^T of
// the tile, scores and mixed values of every token.
typedef struct tile_scratch {
    float *wk, *wv, *latent, *k, *vt, *scores, *out, *max, *sum;
    int64_t ld_wk, ld_wv;
} tile_scratch;

static size_t lay_out(const tk_mla *a, int n_tok, float *at, tile_scratch *s)
{
    size_t d_head = (size_t)(a->d_nope + a->d_rope), width = (size_t)(a->kv_lora + a->d_rope);
    s->ld_wk = round16(TK_MAX(a->kv_lora, a->d_nope));
    s->ld_wv = round16(a->kv_lora);
    size_t wk_rows = (size_t)TK_MAX(a->kv_lora, a->d_nope), used = 0;
#define PLACE(field, n)                                                                            \
    do {                                                                                           \
        s->field = at ? at + used : NULL;                                                          \
        used += ((size_t)(n) + 15) / 16 * 16;                                                      \
    } while (0)
    PLACE(wk, wk_rows * (size_t)s->ld_wk);
    PLACE(wv, (size_t)a->d_v * (size_t)s->ld_wv);
    PLACE(latent, MLA_TILE * width);
    PLACE(k, MLA_TILE * d_head);
    PLACE(vt, MLA_TILE * (size_t)a->d_v);
    PLACE(scores, MLA_TILE * (size_t)n_tok);
    PLACE(out, (size_t)a->d_v * (size_t)n_tok);
    PLACE(max, n_tok);
    PLACE(sum, n_tok);
#undef PLACE
    return used;
}

// Rows [row0, row0 + n_row) of the cache as float32, whatever its type. Mixing with weight 1 is the copy.
static void load_tile(const mla_job *j, const tk_kv_table *seq, int row0, int n_row, float *out)
{
    const tk_exec *x = j->x;
    int width = x->p->kv_k_width;
    size_t row_bytes = x->kv_row_bytes;
    const float one = 1;
    memset(out, 0, (size_t)n_row * (size_t)width * sizeof *out);
    for (int i = 0; i < n_row; i++) {
        int at = row0 + i;
        const char *block = exec_k_block(x, j->op->layer, seq->block[at / TK_KV_BLOCK_TOK]);
        x->k.kv_mix[x->opts.kv_dtype](&one, 1, 1,
                                      block + (size_t)(at % TK_KV_BLOCK_TOK) * row_bytes, row_bytes,
                                      1, width, out + (size_t)i * width, width);
    }
}

// K [n_row][d_head] and V^T [d_v][MLA_TILE] of the tile.
static void expand_tile(const mla_job *j, const tile_scratch *s, bool transposed, int n_row)
{
    const tk_exec *x = j->x;
    const tk_mla *a = &x->p->cfg.mla;
    int d_head = a->d_nope + a->d_rope, width = a->kv_lora + a->d_rope;
    for (int i = 0; i < n_row; i++) {
        float *k = s->k + (size_t)i * d_head;
        memset(k, 0, (size_t)a->d_nope * sizeof *k);
        memcpy(k + a->d_nope, s->latent + (size_t)i * width + a->kv_lora,
               (size_t)a->d_rope * sizeof *k);
    }
    if (transposed)
        x->k.kv_mix[TK_KV_F32](s->latent, width, n_row, s->wk, (size_t)s->ld_wk * sizeof(float),
                               a->kv_lora, a->d_nope, s->k, d_head);
    else
        x->k.mm(s->wk, s->ld_wk, a->d_nope, s->latent, width, n_row, a->kv_lora, s->k, d_head);
    memset(s->vt, 0, (size_t)a->d_v * MLA_TILE * sizeof *s->vt);
    x->k.mm(s->latent, width, n_row, s->wv, s->ld_wv, a->d_v, a->kv_lora, s->vt, MLA_TILE);
}

static void expanded_item(void *ctx, int head, int i_thread)
{
    const mla_job *j = ctx;
    const tk_exec *x = j->x;
    const tk_config *c = &x->p->cfg;
    const tk_mla *a = &c->mla;
    tile_scratch s;
    lay_out(a, x->plan.n_step_tok, x->scratch[i_thread], &s);
    mla_kv_b k = mla_key_half(j, head), v = mla_value_half(j, head);
    mla_decode_rows(x, &k, k.transposed ? a->kv_lora : a->d_nope, s.wk, s.ld_wk);
    mla_decode_rows(x, &v, a->d_v, s.wv, s.ld_wv);
    const tok_info *tok = &x->tok[j->tok0];
    const tk_kv_table *seq = x->parts[tok->part].seq;
    const float *q = exec_row(x, j->op->in, j->tok0) + (size_t)head * c->d_head;
    for (int t = 0; t < j->n_tok; t++) {
        s.max[t] = -INFINITY;
        s.sum[t] = 0;
    }
    memset(s.out, 0, (size_t)j->n_tok * a->d_v * sizeof *s.out);
    int n_ctx = tok->pos + j->n_tok;
    for (int row0 = 0; row0 < n_ctx; row0 += MLA_TILE) {
        int n_row = TK_MIN(MLA_TILE, n_ctx - row0);
        load_tile(j, seq, row0, n_row, s.latent);
        expand_tile(j, &s, k.transposed, n_row);
        memset(s.scores, 0, (size_t)j->n_tok * MLA_TILE * sizeof *s.scores);
        x->k.mm(s.k, c->d_head, n_row, q, exec_stride(x, j->op->in), j->n_tok, c->d_head, s.scores,
                MLA_TILE);
        for (int t = 0; t < j->n_tok; t++) {
            float *scores = s.scores + (size_t)t * MLA_TILE;
            for (int i = 0; i < n_row; i++) scores[i] *= (float)c->attn_scale;
            x->k.softmax(scores, 0, TK_MAX(0, TK_MIN(n_row, tok->pos + t + 1 - row0)), n_row,
                         &s.max[t], &s.sum[t], s.out + (size_t)t * a->d_v, a->d_v);
        }
        x->k.mm(s.vt, MLA_TILE, a->d_v, s.scores, MLA_TILE, j->n_tok, n_row, s.out, a->d_v);
    }
    for (int t = 0; t < j->n_tok; t++) {
        float *out = exec_row(x, j->op->out, j->tok0 + t) + (size_t)head * a->d_v;
        exec_divide(s.out + (size_t)t * a->d_v, s.sum[t], a->d_v, out);
    }
}

void exec_attend_mla(tk_exec *x, const tk_op *op)
{
    int from = x->opts.mla_expand_from;
    for (int part = 0, tok = 0; part < x->n_part; tok += x->parts[part++].n) {
        int n = x->parts[part].n;
        if (from < 0 || n < from) {
            // neighbours that are absorbed too go together: their weights are read once
            while (part + 1 < x->n_part && (from < 0 || x->parts[part + 1].n < from))
                n += x->parts[++part].n;
            absorbed(x, op, tok, n);
            tok += n - x->parts[part].n;
            continue;
        }
        mla_job j = {.x = x, .op = op, .tok0 = tok, .n_tok = n};
        bool wide = exec_attends_wide(x, n, x->p->cfg.mla.kv_lora) &&
                    exec_attends_wide(x, n, x->p->cfg.d_head);
        tk_pool_run(x->pool, x->p->cfg.n_head, wide ? exec_mla_expanded_wide : expanded_item, &j);
    }
}

size_t exec_attend_scratch(const tk_program *p, int n_step_tok)
{
    const tk_mla *a = &p->cfg.mla;
    if (a->kv_lora == 0) return exec_attend_scratch_gqa(p->cfg.d_head);
    tile_scratch s;
    size_t tile = lay_out(a, n_step_tok, NULL, &s);
    size_t latent = MLA_HEADS * (TK_KV_BLOCK_TOK + (size_t)p->kv_k_width);
    size_t rounded = exec_packed_rows_scratch(TK_MAX(a->kv_lora, a->d_nope), MLA_ABSORB_TOK);
    return TK_MAX(TK_MAX(tile, rounded), TK_MAX(latent, exec_mla_wide_scratch(a, n_step_tok)));
}
