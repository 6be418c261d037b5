// SPDX-License-Identifier: MIT
// What a model is and what it takes, before anything is loaded.
#include "cli/cmd.h"
#include "cli/model_opts.h"

#include "base/mem.h"
#include "hw/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

typedef struct options {
    tk_cmd_common common;
    tk_model_opts model;
    bool json, ops;
} options;

static const tk_opt table[] = {
    {.name = "json",
     .type = TK_OPT_FLAG,
     .help = "Print one JSON object.",
     .offset = offsetof(options, json)},
    {.name = "program",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, ops),
     .help = "Print every operation of every layer, not one layer of each kind."},
    TK_MODEL_OPTS(options),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_inspect = {
    .name = "inspect",
    .synopsis = "inspect MODEL [--json] [--program]",
    .summary = "print a model's program, parameters, bytes, KV cache and whether it fits here",
    .opts = table,
    .run = run,
};

static const char *attention_kind(const tk_config *c)
{
    return c->mla.kv_lora              ? "MLA"
           : c->n_kv_head == c->n_head ? "MHA"
           : c->n_kv_head == 1         ? "MQA"
                                       : "GQA";
}

static const char *binary_unit(uint64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 1024 && u + 1 < TK_COUNT(units); u++) v /= 1024;
    snprintf(out, 32, u ? "%.2f %s" : "%.0f %s", v, units[u]);
    return out;
}

// KV bytes of one token in words: the formula with the numbers in it.
static void kv_formula(const tk_config *c, tk_kv_dtype type, char out[160])
{
    char item[64];
    int n = c->mla.kv_lora ? c->mla.kv_lora + c->mla.d_rope : c->d_head;
    if (type == TK_KV_FP8)
        snprintf(item, sizeof item, "1 byte, + %zu a row for scales",
                 tk_kv_row_bytes(type, n) - (size_t)n);
    else
        snprintf(item, sizeof item, "%zu bytes", tk_kv_row_bytes(type, 1));
    if (c->mla.kv_lora)
        snprintf(out, 160, "%d layers x (%d latent + %d rope key) x %s", c->n_layer, c->mla.kv_lora,
                 c->mla.d_rope, item);
    else
        snprintf(out, 160, "%d layers x 2 x %d KV heads x %d x %s", c->n_layer, c->n_kv_head,
                 c->d_head, item);
}

static void print_op(const tk_program *p, const tk_op *op)
{
    printf("  %5d  %-11s", op->layer, tk_op_name(op->kind));
    if (op->in.buf >= 0) printf(" b%d[%d:%d]", op->in.buf, op->in.off, op->in.off + op->in.n);
    if (op->in2.buf >= 0) printf(" b%d[%d:%d]", op->in2.buf, op->in2.off, op->in2.off + op->in2.n);
    if (op->out.buf >= 0)
        printf(" -> b%d[%d:%d]", op->out.buf, op->out.off, op->out.off + op->out.n);
    const int32_t w[] = {op->w, op->w2, op->w3, op->b};
    for (size_t i = 0; i < TK_COUNT(w); i++) {
        if (w[i] < 0) continue;
        const tk_weight *x = &p->weights[w[i]];
        printf("  %s %s [%" PRId64 " x %" PRId64 "]", x->name, tk_dtype_name(x->m.dtype),
               x->m.n_out, x->m.n_in);
    }
    if (op->kind == TK_OP_EXPERTS) printf("  (x %d experts)", p->cfg.moe.n_expert);
    if (op->window) printf("  window %d", op->window);
    putchar('\n');
}

// Layers that look alike are printed once, unless all are asked for.
static void print_program(const tk_program *p, bool all)
{
    int shown_dense = -1, shown_moe = -1;
    printf("program: %d operations over %d weights\n", p->n_op, p->n_weight);
    for (int i = 0; i < p->n_op; i++) {
        int layer = p->ops[i].layer;
        if (layer >= 0 && !all) {
            int *shown = p->cfg.moe_layer[layer] ? &shown_moe : &shown_dense;
            if (*shown < 0) *shown = layer;
            if (*shown != layer) continue;
        }
        print_op(p, &p->ops[i]);
    }
    for (int i = 0; i < p->n_mtp_op; i++) {
        if (i == 0) printf("multi-token prediction:\n");
        print_op(p, &p->mtp_ops[i]);
    }
}

typedef struct facts {
    tk_program_size size;
    tk_exec_plan plan;
    uint64_t kv_bytes_per_token, total, available;
    bool fits, act_rounding;
    char formula[160];
} facts;

static void gather(const tk_program *p, const tk_engine_opts *eo, facts *f)
{
    tk_exec_opts o = tk_exec_opts_default();
    o.n_thread = eo->n_thread;
    o.kv_dtype = tk_engine_opts_kv(eo);
    o.n_kv_tok = eo->n_ctx > 0 ? eo->n_ctx : TK_MIN(p->cfg.max_ctx, 4096);
    tk_program_measure(p, &f->size);
    tk_exec_plan_make(p, &o, &f->plan);
    f->kv_bytes_per_token = f->plan.kv_token_bytes;
    f->total = tk_mem_total_bytes();
    f->available = tk_mem_available_bytes();
    f->fits =
        f->plan.kv_bytes + f->plan.work_bytes <= f->available && f->plan.total_bytes <= f->total;
    kv_formula(&p->cfg, o.kv_dtype, f->formula);
}

// compressed-tensors says how activations were to be rounded before its weights meet them.
static bool names_act_rounding(const json_t *quant)
{
    json_t *groups = json_object_get(quant, "config_groups"), *group;
    const char *key;
    json_object_foreach(groups, key, group)
    {
        if (json_is_object(json_object_get(group, "input_activations"))) return true;
    }
    return false;
}

static void print_text(const tk_program *p, const facts *f, const options *o)
{
    const tk_config *c = &p->cfg;
    char a[32], b[32];
    printf("architecture: %s, %d layers, width %d, vocabulary %d\n", c->arch, c->n_layer,
           c->d_model, c->n_vocab);
    printf("attention: %s, %d heads of %d", attention_kind(c), c->n_head, c->d_head);
    if (c->mla.kv_lora)
        printf(", latent %d + rope %d, queries through %d", c->mla.kv_lora, c->mla.d_rope,
               c->mla.q_lora);
    else
        printf(", %d KV heads", c->n_kv_head);
    printf(", context %d\n", c->max_ctx);
    if (c->moe.n_expert)
        printf("experts: %d routed of width %d, %d per token (%d of %d groups), %d shared\n",
               c->moe.n_expert, c->moe.d_expert, c->moe.n_used, c->moe.n_group_used, c->moe.n_group,
               c->moe.n_shared);
    printf("parameters: %.3f M total, %.3f M active per token", (double)f->size.params_total * 1e-6,
           (double)f->size.params_active * 1e-6);
    if (c->n_mtp) printf(" (%d MTP layer: %.3f M)", c->n_mtp, (double)f->size.params_mtp * 1e-6);
    printf("\nweights: %s, %s read per token\n", binary_unit(f->size.bytes_total, a),
           binary_unit(f->size.bytes_active, b));
    for (int t = 0; t < TK_DTYPE_COUNT; t++)
        if (f->size.params_by_dtype[t])
            printf("  %-8s %12.3f M parameters  %s\n", tk_dtype_name((tk_dtype)t),
                   (double)f->size.params_by_dtype[t] * 1e-6,
                   binary_unit(f->size.bytes_by_dtype[t], a));
    if (f->act_rounding)
        printf("activations: the checkpoint names a rounding of them, which is left out\n");
    printf("KV cache: %" PRIu64 " bytes per token = %s\n", f->kv_bytes_per_token, f->formula);
    printf("fits here: %s (weights + cache of %d tokens + workspace = %s, this machine has %s, %s "
           "free)\n",
           f->fits ? "yes" : "no", f->plan.n_kv_tok, binary_unit(f->plan.total_bytes, a),
           binary_unit(f->total, b), binary_unit(f->available, (char[32]){0}));
    print_program(p, o->ops);
}

static json_t *op_json(const tk_program *p, const tk_op *op)
{
    json_t *w = json_array();
    const int32_t ids[] = {op->w, op->w2, op->w3, op->b};
    for (size_t i = 0; i < TK_COUNT(ids); i++)
        if (ids[i] >= 0) json_array_append_new(w, json_string(p->weights[ids[i]].name));
    return json_pack("{s:s, s:i, s:o}", "op", tk_op_name(op->kind), "layer", op->layer, "weights",
                     w);
}

static void print_json(const tk_program *p, const facts *f, const char *path)
{
    const tk_config *c = &p->cfg;
    json_t *bytes = json_object(), *params = json_object(), *ops = json_array();
    for (int t = 0; t < TK_DTYPE_COUNT; t++) {
        if (!f->size.params_by_dtype[t]) continue;
        json_object_set_new(bytes, tk_dtype_name((tk_dtype)t),
                            json_integer((json_int_t)f->size.bytes_by_dtype[t]));
        json_object_set_new(params, tk_dtype_name((tk_dtype)t),
                            json_integer((json_int_t)f->size.params_by_dtype[t]));
    }
    for (int i = 0; i < p->n_op; i++) json_array_append_new(ops, op_json(p, &p->ops[i]));
    for (int i = 0; i < p->n_mtp_op; i++) json_array_append_new(ops, op_json(p, &p->mtp_ops[i]));
    json_t *j = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:I, "
        "s:o, s:o, s:I, s:s, s:i, "
        "s:I, s:I, s:I, s:I, s:b, s:o}",
        "model", path, "architecture", c->arch, "n_layer", c->n_layer, "d_model", c->d_model,
        "n_vocab", c->n_vocab, "n_head", c->n_head, "n_kv_head", c->n_kv_head, "d_head", c->d_head,
        "attention", attention_kind(c), "n_expert", c->moe.n_expert, "n_expert_used", c->moe.n_used,
        "n_mtp", c->n_mtp, "params_total", (json_int_t)f->size.params_total, "params_active",
        (json_int_t)f->size.params_active, "params_mtp", (json_int_t)f->size.params_mtp,
        "bytes_total", (json_int_t)f->size.bytes_total, "bytes_active",
        (json_int_t)f->size.bytes_active, "bytes_by_dtype", bytes, "params_by_dtype", params,
        "kv_bytes_per_token", (json_int_t)f->kv_bytes_per_token, "kv_formula", f->formula, "n_ctx",
        f->plan.n_kv_tok, "kv_bytes", (json_int_t)f->plan.kv_bytes, "workspace_bytes",
        (json_int_t)f->plan.work_bytes, "required_bytes", (json_int_t)f->plan.total_bytes,
        "machine_bytes", (json_int_t)f->total, "fits", f->fits, "program", ops);
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *model;
    tk_engine_opts eo;
    tk_engine *e = NULL;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_inspect, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_model_opts_apply(&o.model, &eo, err));
    TK_TRY(tk_engine_open(model, &eo, &e, err));
    facts f = {0};
    gather(tk_engine_program(e), &eo, &f);
    f.act_rounding = names_act_rounding(tk_ckpt_quant_config(tk_engine_ckpt(e)));
    if (o.json)
        print_json(tk_engine_program(e), &f, tk_ckpt_path(tk_engine_ckpt(e)));
    else
        print_text(tk_engine_program(e), &f, &o);
done:
    tk_engine_close(e);
    return st;
}
