// SPDX-License-Identifier: MIT
// Latent attention, expanded, with BF16 products: everything is queries against rows. A tile of the cache meets the two halves
// of kv_b, which makes rows of keys and values; the step's queries meet those.
#include "exec/attend_mla.h"

#include <math.h>
#include <string.h>

enum { TRANSPOSE_ROWS = 16 };

// Of an item, one head. words: BF16 rows; floats on their way to such.
typedef struct wide_scratch {
    uint16_t *wk, *wv;      // [d_nope][kv_lora], [d_v][kv_lora]
    uint16_t *latent;       // [MLA_TILE][kv_lora + d_rope]
    uint16_t *k, *v;        // [MLA_TILE][d_head], [d_v]
    uint16_t *q;            // [n_tok][d_head]
    float *floats;          // rows of kv_b, of the cache, of K and of V
    float *scores;          // [n_tok][MLA_TILE]
    float *out, *max, *sum; // [n_tok][d_v], [n_tok] each
} wide_scratch;

static size_t lay_out(const tk_mla *a, int n_tok, float *at, wide_scratch *s)
{
    size_t d_head = (size_t)(a->d_nope + a->d_rope), lora = (size_t)a->kv_lora,
           width = lora + (size_t)a->d_rope, n = (size_t)n_tok, used = 0;
    size_t decoded = (size_t)TK_MAX(a->d_nope, a->d_v) * lora +
                     (size_t)TRANSPOSE_ROWS * (size_t)(a->d_nope + 16),
           tile = MLA_TILE * TK_MAX((size_t)TK_MAX(a->d_nope, a->d_v), width);
#define PLACE(field, count)                                                                        \
    do {                                                                                           \
        s->field = at ? (void *)(at + used) : NULL;                                                \
        used += ((size_t)(count) * sizeof *s->field / sizeof *at + 31) / 16 * 16;                  \
    } while (0)
    PLACE(wk, (size_t)a->d_nope * lora);
    PLACE(wv, (size_t)a->d_v * lora);
    PLACE(latent, MLA_TILE * width);
    PLACE(k, MLA_TILE * d_head);
    PLACE(v, MLA_TILE * (size_t)a->d_v);
    PLACE(q, n * d_head);
    PLACE(floats, TK_MAX(decoded, tile));
    PLACE(scores, MLA_TILE * n);
    PLACE(out, (size_t)a->d_v * n);
    PLACE(max, n);
    PLACE(sum, n);
#undef PLACE
    return used;
}

size_t exec_mla_wide_scratch(const tk_mla *a, int n_tok)
{
    wide_scratch s;
    return lay_out(a, n_tok, NULL, &s);
}

static void to_words(const tk_exec *x, const float *rows, int64_t n, uint16_t *to)
{
    x->k.kv_store[TK_KV_BF16](rows, (int)n, to);
}

// Rows of W_UK, which GGUF stores the other way about.
static void load_keys_half(const mla_job *j, int head, const wide_scratch *s)
{
    const tk_mla *a = &j->x->p->cfg.mla;
    mla_kv_b b = mla_key_half(j, head);
    if (!b.transposed) {
        mla_decode_rows(j->x, &b, a->d_nope, s->floats, a->kv_lora);
        to_words(j->x, s->floats, (int64_t)a->d_nope * a->kv_lora, s->wk);
        return;
    }
    float *stored = s->floats + (size_t)a->d_nope * (size_t)a->kv_lora;
    int64_t ld = (a->d_nope + 15) / 16 * 16;
    for (int l = 0; l < a->kv_lora; l += TRANSPOSE_ROWS, b.row0 += TRANSPOSE_ROWS) {
        int n = TK_MIN(TRANSPOSE_ROWS, a->kv_lora - l);
        mla_decode_rows(j->x, &b, n, stored, ld);
        for (int d = 0; d < a->d_nope; d++)
            for (int i = 0; i < n; i++)
                s->floats[(size_t)d * (size_t)a->kv_lora + l + i] = stored[i * ld + d];
    }
    to_words(j->x, s->floats, (int64_t)a->d_nope * a->kv_lora, s->wk);
}

static void load_values_half(const mla_job *j, int head, const wide_scratch *s)
{
    const tk_mla *a = &j->x->p->cfg.mla;
    mla_kv_b b = mla_value_half(j, head);
    mla_decode_rows(j->x, &b, a->d_v, s->floats, a->kv_lora);
    to_words(j->x, s->floats, (int64_t)a->d_v * a->kv_lora, s->wv);
}

// Rows [row0, row0 + n_row) of the cache as BF16. Mixing with weight 1 decodes what is not.
static void load_latent(const mla_job *j, const tk_kv_table *seq, int row0, int n_row,
                        const wide_scratch *s)
{
    const tk_exec *x = j->x;
    int width = x->p->kv_k_width, kind = x->opts.kv_dtype;
    size_t row_bytes = x->kv_row_bytes;
    const float one = 1;
    for (int i = 0; i < n_row; i++) {
        int at = row0 + i;
        const char *row = exec_k_block(x, j->op->layer, seq->block[at / TK_KV_BLOCK_TOK]) +
                          (size_t)(at % TK_KV_BLOCK_TOK) * row_bytes;
        uint16_t *to = s->latent + (size_t)i * (size_t)width;
        if (kind == TK_KV_BF16) {
            memcpy(to, row, row_bytes);
            continue;
        }
        memset(s->floats, 0, (size_t)width * sizeof(float));
        x->k.kv_mix[kind](&one, 1, 1, row, row_bytes, 1, width, s->floats, width);
        to_words(x, s->floats, width, to);
    }
}

// Keys and values of the tile.
static void expand_tile(const mla_job *j, int n_row, const wide_scratch *s)
{
    const tk_exec *x = j->x;
    const tk_mla *a = &x->p->cfg.mla;
    int width = a->kv_lora + a->d_rope, d_head = a->d_nope + a->d_rope;
    size_t w_bytes = (size_t)a->kv_lora * sizeof *s->wk;
    tk_kv_scores_wide_fn times = x->k.kv_scores_wide[TK_KV_BF16];
    times(s->latent, width, n_row, s->wk, w_bytes, a->d_nope, a->kv_lora, 1, s->floats, a->d_nope);
    for (int i = 0; i < n_row; i++) {
        uint16_t *k = s->k + (size_t)i * (size_t)d_head;
        to_words(x, s->floats + (size_t)i * (size_t)a->d_nope, a->d_nope, k);
        memcpy(k + a->d_nope, s->latent + (size_t)i * (size_t)width + a->kv_lora,
               (size_t)a->d_rope * sizeof *k);
    }
    times(s->latent, width, n_row, s->wv, w_bytes, a->d_v, a->kv_lora, 1, s->floats, a->d_v);
    to_words(x, s->floats, (int64_t)n_row * a->d_v, s->v);
}

// The tile's rows from row0 on meet the queries that see any of them: those of tokens t0 and later.
static void meet_tile(const mla_job *j, int row0, int n_row, const wide_scratch *s)
{
    const tk_exec *x = j->x;
    const tk_mla *a = &x->p->cfg.mla;
    int d_head = a->d_nope + a->d_rope, pos = x->tok[j->tok0].pos;
    int t0 = TK_MAX(0, row0 - pos), n = j->n_tok - t0;
    float *scores = s->scores + (size_t)t0 * MLA_TILE;
    x->k.kv_scores_wide[TK_KV_BF16](s->q + (size_t)t0 * (size_t)d_head, d_head, n, s->k,
                                    (size_t)d_head * sizeof *s->k, n_row, d_head,
                                    (float)x->p->cfg.attn_scale, scores, MLA_TILE);
    for (int t = t0; t < j->n_tok; t++)
        x->k.softmax(s->scores + (size_t)t * MLA_TILE, 0, TK_MIN(n_row, pos + t + 1 - row0), n_row,
                     &s->max[t], &s->sum[t], s->out + (size_t)t * (size_t)a->d_v, a->d_v);
    x->k.kv_mix_wide[TK_KV_BF16](scores, MLA_TILE, n, s->v, (size_t)a->d_v * sizeof *s->v, n_row,
                                 a->d_v, s->out + (size_t)t0 * (size_t)a->d_v, a->d_v);
}

void exec_mla_expanded_wide(void *job, int head, int i_thread)
{
    const mla_job *j = job;
    const tk_exec *x = j->x;
    const tk_mla *a = &x->p->cfg.mla;
    int d_head = a->d_nope + a->d_rope;
    wide_scratch s;
    lay_out(a, x->plan.n_step_tok, x->scratch[i_thread], &s);
    load_keys_half(j, head, &s);
    load_values_half(j, head, &s);
    for (int t = 0; t < j->n_tok; t++) {
        to_words(x, exec_row(x, j->op->in, j->tok0 + t) + (size_t)head * (size_t)d_head, d_head,
                 s.q + (size_t)t * (size_t)d_head);
        s.max[t] = -INFINITY;
        s.sum[t] = 0;
    }
    memset(s.out, 0, (size_t)j->n_tok * (size_t)a->d_v * sizeof *s.out);
    const tok_info *tok = &x->tok[j->tok0];
    int n_ctx = tok->pos + j->n_tok;
    for (int row0 = 0; row0 < n_ctx; row0 += MLA_TILE) {
        int n_row = TK_MIN(MLA_TILE, n_ctx - row0);
        load_latent(j, x->parts[tok->part].seq, row0, n_row, &s);
        expand_tile(j, n_row, &s);
        meet_tile(j, row0, n_row, &s);
    }
    for (int t = 0; t < j->n_tok; t++) {
        float *out = exec_row(x, j->op->out, j->tok0 + t) + (size_t)head * (size_t)a->d_v;
        exec_divide(s.out + (size_t)t * (size_t)a->d_v, s.sum[t], a->d_v, out);
    }
}
