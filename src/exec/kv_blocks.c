// SPDX-License-Identifier: MIT
// Blocks of the cache as bytes: copied, read out, put back, named.
#include "exec/exec_priv.h"

#include "base/mem.h"

#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

size_t tk_exec_kv_block_bytes(const tk_exec *x)
{
    return (size_t)x->p->cfg.n_layer * (x->kv_k_block_bytes + x->kv_v_block_bytes);
}

void tk_exec_kv_copy(tk_exec *x, tk_kv_copy c)
{
    for (int layer = 0; layer < x->p->cfg.n_layer; layer++) {
        memcpy(exec_k_block(x, layer, c.to), exec_k_block(x, layer, c.from), x->kv_k_block_bytes);
        memcpy(exec_v_block(x, layer, c.to), exec_v_block(x, layer, c.from), x->kv_v_block_bytes);
    }
}

void tk_exec_kv_read(const tk_exec *x, int32_t block, void *out)
{
    char *at = out;
    for (int layer = 0; layer < x->p->cfg.n_layer; layer++) {
        memcpy(at, exec_k_block(x, layer, block), x->kv_k_block_bytes);
        at += x->kv_k_block_bytes;
        memcpy(at, exec_v_block(x, layer, block), x->kv_v_block_bytes);
        at += x->kv_v_block_bytes;
    }
}

void tk_exec_kv_write(tk_exec *x, int32_t block, const void *in)
{
    const char *at = in;
    for (int layer = 0; layer < x->p->cfg.n_layer; layer++) {
        memcpy(exec_k_block(x, layer, block), at, x->kv_k_block_bytes);
        at += x->kv_k_block_bytes;
        memcpy(exec_v_block(x, layer, block), at, x->kv_v_block_bytes);
        at += x->kv_v_block_bytes;
    }
}

static void add_int(XXH3_state_t *h, int64_t v)
{
    XXH3_128bits_update(h, &v, sizeof v);
}

static void add_double(XXH3_state_t *h, double v)
{
    XXH3_128bits_update(h, &v, sizeof v);
}

// Reading all of a 600 GB checkpoint would take longer than any prefill or packing it saves: the bytes of one row
// of some 512 weights, spread over the model.
void exec_weights_id(const tk_program *p, uint64_t id[2])
{
    enum { N_SAMPLE = 512, SAMPLE_BYTES = 4096 };
    int every = p->n_weight / N_SAMPLE + 1;
    XXH3_state_t *h = XXH3_createState();
    XXH3_128bits_reset(h);
    for (int i = 0; i < p->n_weight; i++) {
        const tk_matrix *m = &p->weights[i].m;
        XXH3_128bits_update(h, p->weights[i].name, strlen(p->weights[i].name));
        add_int(h, m->dtype);
        add_int(h, m->n_out);
        add_int(h, m->n_in);
        if (i % every != 0) continue;
        const char *row = (const char *)m->data + (size_t)(m->n_out / 2) * m->row_bytes;
        XXH3_128bits_update(h, row, TK_MIN(m->row_bytes, (size_t)SAMPLE_BYTES));
        add_double(h, (double)m->scale_global);
        if (m->scale) add_double(h, (double)tk_matrix_scale(m, 0, 0));
    }
    XXH128_hash_t d = XXH3_128bits_digest(h);
    id[0] = d.low64;
    id[1] = d.high64;
    XXH3_freeState(h);
}

void tk_exec_kv_identity(const tk_exec *x, uint64_t id[2])
{
    enum { FORMAT = 1 }; // raised when the meaning of a block's bytes changes
    const tk_config *c = &x->p->cfg;
    XXH3_state_t *h = XXH3_createState();
    XXH3_128bits_reset(h);
    const int64_t ints[] = {FORMAT,
                            TK_KV_BLOCK_TOK,
                            x->opts.kv_dtype,
                            x->k.isa,
                            c->n_layer,
                            x->opts.mla_expand_from,
                            c->n_head,
                            c->n_kv_head,
                            c->d_head,
                            c->window,
                            c->window_from,
                            (int64_t)x->kv_k_block_bytes,
                            c->moe.n_used,
                            (int64_t)x->kv_v_block_bytes,
                            x->opts.repack,
                            x->wide,
                            exec_attends_wide(x, x->k.attend_from, 0)};
    for (size_t i = 0; i < TK_COUNT(ints); i++) add_int(h, ints[i]);
    add_double(h, (double)c->rms_eps);
    add_double(h, c->attn_scale);
    add_double(h, (double)c->moe.routed_scale);
    add_double(h, (double)x->rope_factor);
    XXH3_128bits_update(h, x->inv_freq, (size_t)c->rope.n_dim / 2 * sizeof *x->inv_freq);
    exec_weights_id(x->p, id);
    XXH3_128bits_update(h, id, 2 * sizeof *id);
    XXH128_hash_t d = XXH3_128bits_digest(h);
    id[0] = d.low64;
    id[1] = d.high64;
    XXH3_freeState(h);
}

void tk_exec_fix_form(tk_exec *x)
{
    x->opts.mla_expand_from = -1;
    x->wide = false;
}
