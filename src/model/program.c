// SPDX-License-Identifier: MIT
#include "model/program.h"

#include "base/mem.h"
#include "model/build.h"

static const tk_name rope_freqs = {"-", "rope_freqs.weight"};

tk_status tk_program_build(const tk_ckpt *ckpt, tk_program **out, tk_err *err)
{
    *out = NULL;
    tk_program *p = tk_alloc(sizeof *p);
    tk_build b = {.p = p, .ckpt = ckpt, .err = err, .st = TK_OK, .layer = -1};
    b.st = tk_config_read(ckpt, &p->cfg, err);
    if (b.st == TK_OK && tk_ckpt_tensor_count(ckpt) == 0)
        b.st = tk_fail(err, TK_BAD_INPUT, "%s: there are no weights", tk_ckpt_path(ckpt));
    if (b.st == TK_OK) {
        if (p->cfg.mla.kv_lora > 0)
            tk_build_deepseek(&b);
        else
            tk_build_llama(&b);
    }
    p->rope_freq_weight = -1;
    if (b.st == TK_OK && p->cfg.is_gguf && tk_build_has(&b, rope_freqs))
        p->rope_freq_weight = tk_build_vector(&b, rope_freqs, TK_ROLE_NORM, p->cfg.rope.n_dim / 2);
    if (b.st != TK_OK) {
        tk_program_free(p);
        return b.st;
    }
    *out = p;
    return TK_OK;
}

tk_status tk_program_plan(const tk_config *cfg, tk_program **out, tk_err *err)
{
    *out = NULL;
    tk_program *p = tk_alloc(sizeof *p);
    tk_build b = {.p = p, .ckpt = NULL, .err = err, .st = TK_OK, .layer = -1};
    p->cfg = *cfg;
    p->rope_freq_weight = -1;
    if (p->cfg.mla.kv_lora > 0)
        tk_build_deepseek(&b);
    else
        tk_build_llama(&b);
    if (b.st != TK_OK) {
        tk_program_free(p);
        return b.st;
    }
    *out = p;
    return TK_OK;
}

void tk_program_free(tk_program *p)
{
    if (p == NULL) return;
    for (int i = 0; i < p->n_weight; i++) tk_free(p->weights[i].name);
    tk_free(p->weights);
    tk_free(p->ops);
    tk_free(p->mtp_ops);
    tk_free(p->buf_width);
    tk_free(p);
}

const char *tk_op_name(tk_op_kind k)
{
    static const char *const names[] = {
#define X(id, name) name,
        TK_OP_MAP(X)
#undef X
    };
    return names[k];
}

const char *tk_role_name(tk_weight_role r)
{
    static const char *const names[] = {"embedding", "head",          "norm",   "attention", "mlp",
                                        "router",    "shared_expert", "expert", "mtp"};
    return names[r];
}

void tk_program_measure(const tk_program *p, tk_program_size *out)
{
    *out = (tk_program_size){0};
    const tk_moe *moe = &p->cfg.moe;
    for (int i = 0; i < p->n_weight; i++) {
        const tk_weight *w = &p->weights[i];
        uint64_t n = (uint64_t)w->m.n_out * (uint64_t)w->m.n_in, bytes = tk_matrix_bytes(&w->m);
        double share = w->is_mtp                   ? 0
                       : w->role == TK_ROLE_EXPERT ? (double)moe->n_used / moe->n_expert
                       : w->role == TK_ROLE_EMBED  ? 1.0 / (double)w->m.n_out
                                                   : 1;
        out->params_active += (uint64_t)((double)n * share + 0.5);
        out->bytes_active += (uint64_t)((double)bytes * share + 0.5);
        if (w->is_alias) continue;
        out->params_total += n;
        if (w->is_mtp) out->params_mtp += n;
        out->bytes_total += bytes;
        out->bytes_by_dtype[w->m.dtype] += bytes;
        out->params_by_dtype[w->m.dtype] += n;
    }
    out->kv_floats_per_token = (uint64_t)p->cfg.n_layer * (uint64_t)(p->kv_k_width + p->kv_v_width);
}
