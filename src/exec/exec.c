// SPDX-License-Identifier: MIT
#include "exec/exec_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hw/mem.h"
#include "hw/topology.h"

#include <math.h>
#include <string.h>

// Activations, scratch and expert buffers together stay under this, or an eighth of the weights: the step shrinks. In a small
// one each expert would meet few tokens, and all of them be read for those.
static const uint64_t work_limit_bytes = 48u << 20;
enum { WORK_PART = 8 };
enum { MAX_STEP_TOK = 256, MAX_STEP_WIDE = 512, LINE = 64 };

tk_exec_opts tk_exec_opts_default(void)
{
    return (tk_exec_opts){
        .n_thread = 0, .isa = TK_ISA_COUNT - 1, .kv_dtype = TK_KV_BF16, .n_kv_tok = 4096};
}

// Lays the workspace out; with base NULL it only measures. One order for both, so they cannot disagree.
typedef struct layout {
    char *base;
    size_t used;
} layout;

static void *place(layout *l, size_t n_item, size_t item_bytes)
{
    void *p = l->base ? l->base + l->used : NULL;
    l->used += (n_item * item_bytes + LINE - 1) / LINE * LINE;
    return p;
}

// BF16 rows: whole groups of 32 columns, and 64 bytes more, so that rows are not a multiple of 4 KiB apart: sixteen
// of them would share one set of the first-level cache.
static void place_wide(const tk_exec *x, layout *l, exec_rows *a, size_t n_row, size_t n_in)
{
    a->ld_h = ((int64_t)n_in + 31) / 32 * 32 + 32;
    if (x->takes[TK_WIDE_BF16]) a->h = place(l, n_row * (size_t)a->ld_h, sizeof *a->h);
    if (x->takes[TK_WIDE_INT8]) {
        int64_t n_group = ((int64_t)n_in + TK_GROUP - 1) / TK_GROUP;
        a->b = place(l, n_row * (size_t)tk_row8(n_group), sizeof *a->b);
        a->more = place(l, n_row * (size_t)tk_row8_more(n_group), sizeof *a->more);
    }
}

static void place_act(const tk_exec *x, layout *l, exec_rows *a, size_t n_row, size_t n_in)
{
    size_t n_group = n_row * ((n_in + TK_GROUP - 1) / TK_GROUP);
    a->q = place(l, n_group, sizeof *a->q);
    a->scale = place(l, n_group, sizeof *a->scale);
    a->sum = place(l, n_group * 2, sizeof *a->sum);
    place_wide(x, l, a, n_row, n_in);
}

// The widest input of a linear layer.
static size_t widest_input(const tk_program *p)
{
    int32_t n = 0;
    for (int i = 0; i < p->n_op; i++) n = TK_MAX(n, p->ops[i].in.n);
    return (size_t)n;
}

static void place_experts(tk_exec *x, layout *l, size_t n_tok)
{
    const tk_moe *m = &x->p->cfg.moe;
    size_t n_slot = n_tok * (size_t)m->n_used, d = (size_t)x->p->cfg.d_model,
           d_e = (size_t)m->d_expert;
    size_t busy = TK_MIN(n_slot, (size_t)m->n_expert), rows = TK_MAX(d, d_e);
    if (x->opts.repack) {
        place_act(x, l, &x->moe_act, n_slot, d_e);
        place_wide(x, l, &x->moe_in, n_slot, d);
    }
    x->top_id = place(l, n_slot, sizeof *x->top_id);
    x->top_w = place(l, n_slot, sizeof *x->top_w);
    x->expert_first = place(l, (size_t)m->n_expert + 1, sizeof *x->expert_first);
    x->expert_slot = place(l, n_slot, sizeof *x->expert_slot);
    x->slot_place = place(l, n_slot, sizeof *x->slot_place);
    x->moe_items = place(l, busy * (rows / 32 + 1), sizeof *x->moe_items);
    x->moe_mid = place(l, n_slot * d_e, sizeof(float));
    x->moe_up = place(l, n_slot * d_e, sizeof(float));
    x->moe_out = place(l, n_slot * d, sizeof(float));
    x->expert_load = place(l, (size_t)x->p->cfg.n_layer * (size_t)m->n_expert, sizeof(uint64_t));
}

static size_t lay_out(tk_exec *x, char *base, int n_step_tok, int n_thread)
{
    const tk_program *p = x->p;
    layout l = {.base = base};
    size_t n_tok = (size_t)n_step_tok;
    for (int i = 0; i < p->n_buf; i++) {
        float *b = place(&l, n_tok * (size_t)p->buf_width[i] + 16, sizeof *b);
        if (base) x->buf[i] = b;
    }
    x->tok = place(&l, n_tok, sizeof *x->tok);
    x->rope_cos = place(&l, n_tok * (size_t)p->cfg.rope.n_dim / 2, sizeof(float));
    x->rope_sin = place(&l, n_tok * (size_t)p->cfg.rope.n_dim / 2, sizeof(float));
    size_t scratch = ROW_BLOCK * K_CHUNK + n_tok * K_CHUNK;
    scratch = TK_MAX(scratch, exec_attend_scratch(p, n_step_tok));
    scratch = TK_MAX(scratch, 2 * (size_t)p->cfg.moe.n_expert);
    x->scratch_floats = scratch;
    for (int i = 0; i < n_thread; i++) {
        float *s = place(&l, scratch, sizeof *s);
        if (base) x->scratch[i] = s;
    }
    if (x->opts.repack) place_act(x, &l, &x->act, n_tok, widest_input(p));
    if (p->cfg.moe.n_expert) place_experts(x, &l, n_tok);
    if (p->cfg.mla.kv_lora) {
        size_t heads = MLA_ABSORB_TOK * (size_t)p->cfg.n_head;
        x->q_lat = place(&l, heads * (size_t)p->kv_k_width, sizeof(float));
        x->o_lat = place(&l, heads * (size_t)p->cfg.mla.kv_lora, sizeof(float));
        x->o_part = place(&l, MLA_ABSORB_TOK * exec_mla_part_floats(p), sizeof(float));
    }
    return l.used;
}

// Bytes of a token's keys (or latent) and values in one layer, and of one head's.
typedef struct kv_size {
    size_t row, k, v;
} kv_size;

static kv_size kv_size_of(const tk_program *p, tk_kv_dtype type)
{
    bool mla = p->cfg.mla.kv_lora > 0;
    int n = mla ? p->kv_k_width : p->cfg.d_head;
    size_t row = tk_kv_row_bytes(type, n), heads = mla ? 1 : (size_t)p->cfg.n_kv_head;
    return (kv_size){.row = row, .k = row * heads, .v = mla ? 0 : row * heads};
}

// Shapes of the packed weights, and what wide kernels will want of activations. Returns the stored bytes that packed ones
// replace.
static uint64_t choose_forms(tk_exec *x)
{
    uint64_t stored = 0;
    x->packed = tk_alloc((size_t)x->p->n_weight * sizeof *x->packed);
    if (!x->opts.repack) return 0;
    x->packed_bytes = exec_packed_shapes(x->p, x->packed, &stored);
    x->wide = !x->opts.exact;
    for (int i = 0; x->wide && i < x->p->n_weight; i++)
        for (int j = 0; j < TK_WAYS; j++) x->takes[x->k.wide[x->packed[i].kind][j].takes] = true;
    return stored;
}

void tk_exec_plan_make(const tk_program *p, const tk_exec_opts *opts, tk_exec_plan *out)
{
    tk_program_size size;
    tk_program_measure(p, &size);
    tk_exec x = {.p = p, .opts = *opts};
    int n_thread =
        opts->n_thread > 0 ? TK_MIN(opts->n_thread, TK_LIMIT_THREADS) : tk_pool_cpu_count();
    tk_kernels_fill(&x.k, opts->isa);
    uint64_t stored = choose_forms(&x);
    int most = x.takes[TK_WIDE_INT8] || x.takes[TK_WIDE_BF16] ? MAX_STEP_WIDE : MAX_STEP_TOK;
    int n_tok = opts->n_step_tok > 0 ? TK_MIN(opts->n_step_tok, most) : most;
    uint64_t limit = TK_MAX(work_limit_bytes, size.bytes_total / WORK_PART);
    while (n_tok > 1 && lay_out(&x, NULL, n_tok, n_thread) > limit) n_tok = n_tok * 3 / 4;
    int64_t n_block = ((int64_t)opts->n_kv_tok + TK_KV_BLOCK_TOK - 1) / TK_KV_BLOCK_TOK;
    kv_size kv = kv_size_of(p, opts->kv_dtype);
    *out = (tk_exec_plan){
        .weight_bytes = size.bytes_total - stored,
        .packed_bytes = x.packed_bytes,
        .kv_bytes = (uint64_t)n_block * TK_KV_BLOCK_TOK * (kv.k + kv.v) * (uint64_t)p->cfg.n_layer,
        .kv_token_bytes = (kv.k + kv.v) * (uint64_t)p->cfg.n_layer,
        .work_bytes = lay_out(&x, NULL, n_tok, n_thread),
        .n_step_tok = n_tok,
        .n_kv_tok = (int32_t)(n_block * TK_KV_BLOCK_TOK),
        .n_thread = n_thread,
    };
    out->total_bytes = out->weight_bytes + out->packed_bytes + out->kv_bytes + out->work_bytes;
    tk_free(x.packed);
}

// Norms and biases are small and read for every token: as float32, once.
static tk_status decode_vectors(tk_exec *x, tk_err *err)
{
    const tk_program *p = x->p;
    size_t n = 0;
    for (int i = 0; i < p->n_weight; i++)
        if (p->weights[i].m.n_in == 1) n += ((size_t)p->weights[i].m.n_out + 15) / 16 * 16;
    x->vec = tk_alloc((size_t)p->n_weight * sizeof *x->vec);
    x->vec_bytes = n * sizeof(float);
    tk_status st = tk_mem_map(x->vec_bytes, "norms and biases", (void **)&x->vec_data, err);
    if (st != TK_OK) return st;
    float *at = x->vec_data;
    for (int i = 0; i < p->n_weight; i++) {
        const tk_matrix *m = &p->weights[i].m;
        if (m->n_in != 1) continue;
        x->vec[i] = at;
        tk_dtype_decode(m->dtype, m->data, m->n_out, at);
        for (int64_t k = 0; k < m->n_out; k++)
            if (!isfinite(at[k]))
                return tk_fail(err, TK_BAD_INPUT, "tensor \"%s\": value %lld is not finite",
                               p->weights[i].name, (long long)k);
        at += ((size_t)m->n_out + 15) / 16 * 16;
    }
    return TK_OK;
}

static void rope_table(tk_exec *x)
{
    const tk_rope *r = &x->p->cfg.rope;
    x->inv_freq = tk_alloc((size_t)r->n_dim / 2 * sizeof *x->inv_freq);
    tk_rope_frequencies(r, x->inv_freq, &x->rope_factor);
    if (x->p->rope_freq_weight < 0) return;
    const float *divide =
        x->vec[x->p->rope_freq_weight]; // GGUF: Llama 3's scaling, already worked out
    for (int i = 0; i < r->n_dim / 2; i++) x->inv_freq[i] /= divide[i];
}

static tk_status map_all(tk_exec *x, tk_err *err)
{
    const tk_program *p = x->p;
    kv_size kv = kv_size_of(p, x->opts.kv_dtype);
    x->kv_row_bytes = kv.row;
    x->kv_k_block_bytes = TK_KV_BLOCK_TOK * kv.k;
    x->kv_v_block_bytes = TK_KV_BLOCK_TOK * kv.v;
    int32_t n_block = x->plan.n_kv_tok / TK_KV_BLOCK_TOK;
    x->kv = tk_kv_pool_new(n_block);
    x->kv_layer_bytes = (size_t)n_block * (x->kv_k_block_bytes + x->kv_v_block_bytes);
    tk_status st = tk_mem_map(x->plan.kv_bytes, "the KV cache", (void **)&x->kv_data, err);
    if (st != TK_OK) return st;
    x->work_bytes = x->plan.work_bytes;
    st = tk_mem_map(x->work_bytes, "the workspace", (void **)&x->work, err);
    if (st != TK_OK) return st;
    x->buf = tk_alloc((size_t)p->n_buf * sizeof *x->buf);
    x->scratch = tk_alloc((size_t)x->plan.n_thread * sizeof *x->scratch);
    lay_out(x, x->work, x->plan.n_step_tok, x->plan.n_thread);
    return TK_OK;
}

// Threads where the memory is; what all of them read is spread over it.
static tk_status make_pool(tk_exec *x, tk_err *err)
{
    tk_topology machine;
    tk_status st = tk_topology_load(NULL, &machine, err);
    if (st == TK_OK) st = tk_topology_pool(&machine, x->plan.n_thread, &x->pool, err);
    if (st != TK_OK) return st;
    tk_topology_spread(&machine, x->kv_data, x->plan.kv_bytes);
    if (tk_pool_nodes(x->pool) > 1)
        tk_log(TK_LOG_INFO, "memory in %d nodes: %d threads share each loop by them",
               tk_pool_nodes(x->pool), x->plan.n_thread);
    return TK_OK;
}

tk_status tk_exec_new(const tk_program *p, const tk_exec_opts *opts, tk_exec **out, tk_err *err)
{
    *out = NULL;
    tk_exec *x = tk_alloc(sizeof *x);
    tk_status st = TK_OK;
    x->p = p;
    x->opts = *opts;
    if (x->opts.mla_expand_from == 0) x->opts.mla_expand_from = 32;
    tk_exec_plan_make(p, opts, &x->plan);
    tk_kernels_fill(&x->k, opts->isa);
    choose_forms(x);
    TK_TRY(decode_vectors(x, err));
    rope_table(x);
    TK_TRY(map_all(x, err));
    TK_TRY(make_pool(x, err));
    exec_stages_make(x);
    if (opts->repack) TK_TRY(exec_pack(x, err));
    *out = x;
    x = NULL;
done:
    tk_exec_free(x);
    return st;
}

void tk_exec_free(tk_exec *x)
{
    if (x == NULL) return;
    tk_pool_free(x->pool);
    tk_kv_pool_free(x->kv);
    tk_mem_unmap(x->kv_data, x->plan.kv_bytes);
    tk_mem_unmap(x->work, x->work_bytes);
    tk_mem_unmap(x->vec_data, x->vec_bytes);
    tk_mem_unmap(x->packed_data, x->packed_bytes);
    tk_free(x->packed);
    tk_free(x->vec);
    tk_free(x->inv_freq);
    tk_free(x->buf);
    tk_free(x->scratch);
    tk_free(x->stages);
    tk_free(x->lap_ns);
    tk_free(x);
}

const tk_exec_plan *tk_exec_plan_of(const tk_exec *x)
{
    return &x->plan;
}

tk_isa tk_exec_isa(const tk_exec *x)
{
    return x->k.isa;
}

tk_kv_dtype tk_exec_kv_dtype(const tk_exec *x)
{
    return x->opts.kv_dtype;
}

tk_kv_pool *tk_exec_kv_pool(tk_exec *x)
{
    return x->kv;
}

const uint64_t *tk_exec_expert_load(const tk_exec *x)
{
    return x->expert_load;
}

void tk_exec_time_ops(tk_exec *x, uint64_t *op_ns)
{
    x->op_ns = op_ns;
}

// Checks the parts and makes room for their tokens; on failure nothing has changed.
static tk_status admit(tk_exec *x, const tk_step_part *parts, int n_part, tk_err *err)
{
    int64_t n = 0;
    for (int i = 0; i < n_part; i++) {
        n += parts[i].n;
        for (int t = 0; t < parts[i].n; t++)
            if (parts[i].ids[t] < 0 || parts[i].ids[t] >= x->p->cfg.n_vocab)
                return tk_fail(err, TK_BAD_INPUT, "token id %d is outside the vocabulary of %d",
                               parts[i].ids[t], x->p->cfg.n_vocab);
    }
    if (n < 1 || n > x->plan.n_step_tok)
        return tk_fail(err, TK_FAILED, "a step of %lld tokens, this workspace takes 1..%d",
                       (long long)n, x->plan.n_step_tok);
    for (int i = 0; i < n_part; i++) {
        tk_status st =
            tk_kv_table_reserve(x->kv, parts[i].seq, parts[i].seq->n_tok + parts[i].n, err);
        if (st == TK_OK) continue;
        for (int k = 0; k < i; k++) tk_kv_table_truncate(x->kv, parts[k].seq, parts[k].seq->n_tok);
        return st;
    }
    return TK_OK;
}

static void set_tokens(tk_exec *x)
{
    int n_pair = x->p->cfg.rope.n_dim / 2, at = 0;
    for (int i = 0; i < x->n_part; i++) {
        const tk_step_part *part = &x->parts[i];
        for (int t = 0; t < part->n; t++, at++) {
            int k = t - (part->n - part->n_logits);
            tok_info *tok = &x->tok[at];
            *tok = (tok_info){.part = i, .pos = part->seq->n_tok + t, .id = part->ids[t]};
            if (k >= 0) tok->logits = part->logits + (size_t)k * (size_t)x->p->cfg.n_vocab;
            for (int j = 0; j < n_pair; j++) {
                float angle = (float)tok->pos * x->inv_freq[j];
                x->rope_cos[at * n_pair + j] = cosf(angle) * x->rope_factor;
                x->rope_sin[at * n_pair + j] = sinf(angle) * x->rope_factor;
            }
        }
    }
    x->n_tok = at;
}

tk_status tk_exec_step(tk_exec *x, const tk_step_part *parts, int n_part, tk_err *err)
{
    tk_status st = admit(x, parts, n_part, err);
    if (st != TK_OK) return st;
    x->parts = parts;
    x->n_part = n_part;
    set_tokens(x);
    exec_stages_run(x);
    for (int i = 0; i < n_part; i++) parts[i].seq->n_tok += parts[i].n;
    x->parts = NULL;
    return TK_OK;
}
