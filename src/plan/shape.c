// SPDX-License-Identifier: MIT
#include "plan/shape.h"

#include "base/limits.h"

#include <stdio.h>
#include <string.h>

// ---- from the program

typedef struct walker {
    const tk_program *p;
    tk_shape_layer one;
} walker;

static double params_of(const tk_program *p, int32_t w)
{
    return w < 0 ? 0 : (double)p->weights[w].m.n_out * (double)p->weights[w].m.n_in;
}

static void add_linear(walker *k, const tk_op *op)
{
    const tk_weight *w = &k->p->weights[op->w];
    const tk_mla *m = &k->p->cfg.mla;
    double n = params_of(k->p, op->w);
    k->one.n_gemm++;
    switch (w->role) {
    case TK_ROLE_ATTENTION: {
        // the down-projections to the latents feed every head, so every rank computes them whole
        bool down = m->kv_lora > 0 && (w->m.n_out == m->kv_lora + m->d_rope ||
                                       (m->q_lora > 0 && w->m.n_out == m->q_lora));
        *(down ? &k->one.attn_replicated : &k->one.attn_sharded) += n;
        break;
    }
    case TK_ROLE_ROUTER: k->one.router += n; break;
    default: k->one.ffn += n; break;
    }
}

static void add_attention(walker *k, const tk_op *op)
{
    const tk_config *c = &k->p->cfg;
    tk_shape_layer *l = &k->one;
    l->n_head = c->n_head;
    l->ratio = 1;
    l->kv = k->p->kv_k_width + k->p->kv_v_width;
    l->window = op->window;
    if (op->kind == TK_OP_ATTEND_MLA) {
        l->attn_sharded += params_of(k->p, op->w) + params_of(k->p, op->w2);
        l->attn_out = (double)c->n_head * c->mla.d_v * c->d_model;
        l->n_gemm += 2;
        l->kv_heads = 1;
        l->ctx_flop = 2.0 * c->n_head * (2.0 * c->mla.kv_lora + c->mla.d_rope);
        l->ctx_flop_prefill = 2.0 * c->n_head * (c->mla.d_nope + c->mla.d_rope + c->mla.d_v);
    } else {
        l->kv_heads = c->n_kv_head;
        l->ctx_flop = l->ctx_flop_prefill = 4.0 * c->n_head * c->d_head;
    }
}

static void add_op(walker *k, const tk_op *op)
{
    const tk_moe *moe = &k->p->cfg.moe;
    switch (op->kind) {
    case TK_OP_LINEAR: add_linear(k, op); break;
    case TK_OP_ATTEND_GQA:
    case TK_OP_ATTEND_MLA: add_attention(k, op); break;
    case TK_OP_ROUTE: break; // its matrix is a linear operation before it
    case TK_OP_EXPERTS:
        k->one.n_expert = moe->n_expert;
        k->one.n_used = moe->n_used;
        k->one.n_route = moe->n_group > 1 ? moe->n_group : 0;
        k->one.n_route_used = moe->n_group > 1 ? moe->n_group_used : 0;
        k->one.expert = params_of(k->p, op->w) + params_of(k->p, op->w2) + params_of(k->p, op->w3);
        k->one.n_gemm += 2;
        break;
    default: break;
    }
}

static bool same_layer(const tk_shape_layer *a, const tk_shape_layer *b)
{
    return a->attn_sharded == b->attn_sharded && a->attn_replicated == b->attn_replicated &&
           a->attn_out == b->attn_out && a->n_route == b->n_route &&
           a->n_route_used == b->n_route_used && a->ffn == b->ffn && a->router == b->router &&
           a->n_expert == b->n_expert && a->n_used == b->n_used && a->expert == b->expert &&
           a->kv == b->kv && a->state == b->state && a->kv_heads == b->kv_heads &&
           a->n_head == b->n_head && a->ctx_flop == b->ctx_flop &&
           a->ctx_flop_prefill == b->ctx_flop_prefill && a->window == b->window &&
           a->ratio == b->ratio && a->index == b->index && a->n_gemm == b->n_gemm;
}

// Layers are joined by their kind, wherever they stand: a price does not depend on the order.
static tk_status push(tk_shape *s, const tk_shape_layer *l, tk_err *err)
{
    for (int i = 0; i < s->n_group; i++)
        if (same_layer(&s->layer[i], l)) {
            s->layer[i].n += l->n;
            return TK_OK;
        }
    if (s->n_group == TK_SHAPE_LAYERS)
        return tk_fail(err, TK_UNSUPPORTED, "%s: more than %d kinds of layer", s->name,
                       TK_SHAPE_LAYERS);
    s->layer[s->n_group++] = *l;
    return TK_OK;
}

tk_status tk_shape_from_program(const tk_program *p, const char *name, tk_shape *out, tk_err *err)
{
    const tk_config *c = &p->cfg;
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", name);
    out->n_layer = c->n_layer;
    out->hidden = c->d_model;
    out->vocab = c->n_vocab;
    out->n_mtp = c->n_mtp;
    out->tied = c->tie_embed;
    out->mla = c->mla.kv_lora > 0;
    walker k;
    memset(&k, 0, sizeof k); // padding too: layers are compared as bytes
    k.p = p;
    int layer = -1;
    for (int i = 0; i <= p->n_op; i++) {
        int now = i < p->n_op ? p->ops[i].layer : -1;
        if (now != layer && layer >= 0) {
            k.one.n = 1;
            tk_status st = push(out, &k.one, err);
            if (st != TK_OK) return st;
            memset(&k.one, 0, sizeof k.one);
        }
        layer = now;
        if (now >= 0) add_op(&k, &p->ops[i]);
    }
    return TK_OK;
}

tk_status tk_shape_from_config(const tk_config *cfg, const char *name, tk_shape *out, tk_err *err)
{
    tk_program *p = NULL;
    tk_status st = tk_program_plan(cfg, &p, err);
    if (st == TK_OK) st = tk_shape_from_program(p, name, out, err);
    tk_program_free(p);
    return st;
}

// ---- from a description

static tk_status need(const json_t *o, const char *key, int64_t max, int64_t *v, const char *where,
                      tk_err *err)
{
    *v = -1;
    tk_status st = tk_json_int(o, key, 0, max, v, where, err);
    if (st == TK_OK && *v < 0) st = tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is missing", where, key);
    return st;
}

static tk_status maybe(const json_t *o, const char *key, int64_t max, int64_t *v, const char *where,
                       tk_err *err)
{
    *v = 0;
    return tk_json_int(o, key, 0, max, v, where, err);
}

static tk_status read_gqa(const json_t *a, int64_t h, tk_shape_layer *l, const char *where,
                          tk_err *err)
{
    int64_t heads, kv, dim, window;
    bool gate = false;
    tk_status st;
    TK_TRY(need(a, "heads", TK_LIMIT_HEADS, &heads, where, err));
    TK_TRY(need(a, "kv_heads", TK_LIMIT_HEADS, &kv, where, err));
    TK_TRY(need(a, "dim", TK_LIMIT_WIDTH, &dim, where, err));
    TK_TRY(maybe(a, "window", TK_LIMIT_CONTEXT, &window, where, err));
    TK_TRY(tk_json_bool(a, "gate", &gate, where, err));
    l->n_head = (int)heads;
    l->kv_heads = (int)kv;
    l->attn_sharded = (double)h * (double)dim * (double)(heads * (gate ? 3 : 2) + 2 * kv);
    l->kv = 2.0 * (double)kv * (double)dim;
    l->ctx_flop = l->ctx_flop_prefill = 4.0 * (double)heads * (double)dim;
    l->window = (int)window;
    l->n_gemm = 4;
done:
    return st;
}

static tk_status read_mla(const json_t *a, int64_t h, tk_shape_layer *l, const char *where,
                          tk_err *err)
{
    int64_t heads, q, kv, nope, rope, v, ih, id, top;
    tk_status st;
    TK_TRY(need(a, "heads", TK_LIMIT_HEADS, &heads, where, err));
    TK_TRY(need(a, "q_lora", TK_LIMIT_WIDTH, &q, where, err));
    TK_TRY(need(a, "kv_lora", TK_LIMIT_WIDTH, &kv, where, err));
    TK_TRY(need(a, "nope", TK_LIMIT_WIDTH, &nope, where, err));
    TK_TRY(need(a, "rope", TK_LIMIT_WIDTH, &rope, where, err));
    TK_TRY(need(a, "v", TK_LIMIT_WIDTH, &v, where, err));
    TK_TRY(maybe(a, "index_heads", TK_LIMIT_HEADS, &ih, where, err));
    TK_TRY(maybe(a, "index_dim", TK_LIMIT_WIDTH, &id, where, err));
    TK_TRY(maybe(a, "index_top", TK_LIMIT_CONTEXT, &top, where, err));
    double n = (double)heads, qk = (double)(nope + rope);
    l->n_head = (int)heads;
    l->kv_heads = 1;
    l->attn_replicated = (double)h * (double)(kv + rope) + (double)h * (double)q;
    l->attn_sharded = (q ? (double)q : (double)h) * n * qk + (double)kv * n * (double)(nope + v) +
                      n * (double)v * (double)h;
    if (ih) // index queries from the query latent, one index key and the head weights from the hidden
        l->attn_replicated += (double)q * (double)(ih * id) + (double)h * (double)(id + ih);
    l->attn_out = n * (double)v * (double)h;
    l->kv = (double)(kv + rope);
    l->index = ih ? (double)id : 0;
    l->ctx_flop = 2.0 * n * (2.0 * (double)kv + (double)rope);
    l->ctx_flop_prefill = 2.0 * n * (qk + (double)v);
    l->window = (int)top;
    l->n_gemm = (q ? 4 : 3) + 2;
done:
    return st;
}

static tk_status read_linear_attention(const json_t *a, int64_t h, tk_shape_layer *l,
                                       const char *where, tk_err *err)
{
    int64_t nk, dk, nv, dv;
    tk_status st;
    TK_TRY(need(a, "key_heads", TK_LIMIT_HEADS, &nk, where, err));
    TK_TRY(need(a, "key_dim", TK_LIMIT_WIDTH, &dk, where, err));
    TK_TRY(need(a, "value_heads", TK_LIMIT_HEADS, &nv, where, err));
    TK_TRY(need(a, "value_dim", TK_LIMIT_WIDTH, &dv, where, err));
    l->n_head = (int)nv;
    l->kv_heads = (int)nk;
    // q, k, v, output gate, two gates per value head, and the way out
    l->attn_sharded = (double)h * (double)(2 * nk * dk + 3 * nv * dv + 2 * nv);
    l->state = 2.0 * (double)nv * (double)dv * (double)dk; // kept as float32: two 16-bit floats
    l->n_gemm = 4;
done:
    return st;
}

// DeepSeek-V4: one KV head; queries and output through low ranks; of a long context one entry per `ratio`
// tokens is kept beside a window, and of those an index picks `index_top`.
static tk_status read_compressed(const json_t *a, int64_t h, tk_shape_layer *l, const char *where,
                                 tk_err *err)
{
    int64_t heads, dim, q, o, groups, ratio, window, ih, id, top;
    tk_status st;
    TK_TRY(need(a, "heads", TK_LIMIT_HEADS, &heads, where, err));
    TK_TRY(need(a, "dim", TK_LIMIT_WIDTH, &dim, where, err));
    TK_TRY(need(a, "q_lora", TK_LIMIT_WIDTH, &q, where, err));
    TK_TRY(need(a, "o_lora", TK_LIMIT_WIDTH, &o, where, err));
    TK_TRY(need(a, "o_groups", TK_LIMIT_HEADS, &groups, where, err));
    TK_TRY(need(a, "ratio", TK_LIMIT_CONTEXT, &ratio, where, err));
    TK_TRY(need(a, "window", TK_LIMIT_CONTEXT, &window, where, err));
    TK_TRY(maybe(a, "index_heads", TK_LIMIT_HEADS, &ih, where, err));
    TK_TRY(maybe(a, "index_dim", TK_LIMIT_WIDTH, &id, where, err));
    TK_TRY(maybe(a, "index_top", TK_LIMIT_CONTEXT, &top, where, err));
    double n = (double)heads, d = (double)dim;
    l->n_head = (int)heads;
    l->kv_heads = 1;
    l->attn_replicated = (double)h * (double)q + (double)h * d * (ratio > 1 ? 2 : 1);
    l->attn_sharded = (double)q * n * d + n * d * (double)o + (double)(o * groups) * (double)h;
    if (ih) l->attn_replicated += (double)q * (double)(ih * id) + (double)h * (double)(id + ih);
    l->kv = d;
    l->index = ih ? (double)id / (double)ratio : 0;
    l->ratio = ratio > 1 ? (double)ratio : 1;
    l->window = ratio > 1 ? 0 : (int)window;
    l->ctx_flop = l->ctx_flop_prefill = 4.0 * n * d / l->ratio;
    l->n_gemm = 6;
done:
    return st;
}

static tk_status read_attention(const json_t *a, int64_t h, tk_shape_layer *l, const char *where,
                                tk_err *err)
{
    static const struct {
        const char *kind;
        tk_status (*read)(const json_t *, int64_t, tk_shape_layer *, const char *, tk_err *);
    } kinds[] = {{"gqa", read_gqa},
                 {"mla", read_mla},
                 {"linear", read_linear_attention},
                 {"compressed", read_compressed}};
    const char *kind = NULL;
    tk_status st = tk_json_str(a, "kind", &kind, where, err);
    if (st != TK_OK) return st;
    l->ratio = 1;
    for (size_t i = 0; kind && i < TK_COUNT(kinds); i++)
        if (strcmp(kind, kinds[i].kind) == 0) return kinds[i].read(a, h, l, where, err);
    return tk_fail(err, TK_BAD_INPUT,
                   "%s: attention \"%s\" is none of gqa, mla, linear, compressed", where,
                   kind ? kind : "(none)");
}

static tk_status read_ffn(const json_t *f, int64_t h, tk_shape_layer *l, const char *where,
                          tk_err *err)
{
    int64_t width, experts, used, shared, groups, groups_used, mats = 3;
    tk_status st;
    TK_TRY(tk_json_int(f, "matrices", 2, 3, &mats, where, err));
    TK_TRY(maybe(f, "experts", TK_LIMIT_EXPERTS, &experts, where, err));
    if (experts == 0) {
        TK_TRY(need(f, "dense", TK_LIMIT_WIDTH, &width, where, err));
        l->ffn = (double)mats * (double)h * (double)width;
        l->n_gemm += (int)mats;
        return TK_OK;
    }
    TK_TRY(need(f, "used", experts, &used, where, err));
    TK_TRY(need(f, "width", TK_LIMIT_WIDTH, &width, where, err));
    TK_TRY(maybe(f, "shared", TK_LIMIT_WIDTH, &shared, where, err));
    TK_TRY(maybe(f, "groups", experts, &groups, where, err));
    TK_TRY(maybe(f, "groups_used", groups, &groups_used, where, err));
    if (used == 0) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: no expert is used", where);
        goto done;
    }
    l->n_expert = (int)experts;
    l->n_used = (int)used;
    l->n_route = groups > 1 && groups_used > 0 ? (int)groups : 0;
    l->n_route_used = l->n_route ? (int)groups_used : 0;
    l->expert = (double)mats * (double)h * (double)width;
    l->ffn = (double)mats * (double)h * (double)shared;
    l->router = (double)h * (double)experts;
    l->n_gemm += 1 + 2 + (shared ? (int)mats : 0);
done:
    return st;
}

static tk_status read_layer(const json_t *j, int64_t h, tk_shape *out, const char *where,
                            tk_err *err)
{
    tk_shape_layer l;
    memset(&l, 0, sizeof l);
    int64_t n;
    const json_t *a = tk_json_get(j, "attention"), *f = tk_json_get(j, "ffn");
    tk_status st;
    TK_TRY(need(j, "n", TK_LIMIT_LAYERS, &n, where, err));
    if (!json_is_object(a) || !json_is_object(f) || n == 0) {
        st =
            tk_fail(err, TK_BAD_INPUT, "%s: a layer needs \"n\", \"attention\" and \"ffn\"", where);
        goto done;
    }
    TK_TRY(read_attention(a, h, &l, where, err));
    TK_TRY(read_ffn(f, h, &l, where, err));
    l.n = (int)n;
    if (l.n_head < 1 || (l.kv > 0 && l.kv_heads < 1)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: a layer without heads", where);
        goto done;
    }
    const char *kind = NULL;
    if (tk_json_str(a, "kind", &kind, where, NULL) == TK_OK && kind && strcmp(kind, "mla") == 0)
        out->mla = true;
    out->n_layer += l.n;
    TK_TRY(push(out, &l, err));
done:
    return st;
}

tk_status tk_shape_from_json(const json_t *shape, const char *name, const char *where,
                             tk_shape *out, tk_err *err)
{
    memset(out, 0, sizeof *out);
    snprintf(out->name, sizeof out->name, "%s", name);
    int64_t h, vocab, mtp;
    const json_t *layers = tk_json_get(shape, "layers"), *l;
    size_t i;
    tk_status st;
    TK_TRY(need(shape, "hidden", TK_LIMIT_WIDTH, &h, where, err));
    TK_TRY(need(shape, "vocab", TK_LIMIT_VOCAB, &vocab, where, err));
    TK_TRY(maybe(shape, "mtp", 16, &mtp, where, err));
    TK_TRY(tk_json_bool(shape, "tied", &out->tied, where, err));
    if (!json_is_array(layers) || json_array_size(layers) == 0) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: \"layers\" is no list of layers", where);
        goto done;
    }
    out->hidden = (int)h;
    out->vocab = (int)vocab;
    out->n_mtp = (int)mtp;
    json_array_foreach((json_t *)layers, i, l) TK_TRY(read_layer(l, h, out, where, err));
    if (out->n_layer > TK_LIMIT_LAYERS)
        st = tk_fail(err, TK_BAD_INPUT, "%s: %d layers, the limit is %d", where, out->n_layer,
                     TK_LIMIT_LAYERS);
done:
    return st;
}

// ---- sums

void tk_shape_measure(const tk_shape *s, tk_shape_size *out)
{
    *out = (tk_shape_size){0};
    out->embed = (double)s->vocab * s->hidden * (s->tied ? 1 : 2);
    out->active = (double)s->vocab * s->hidden + s->hidden;
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *l = &s->layer[i];
        out->attention += l->n * (l->attn_sharded + l->attn_replicated);
        out->ffn += l->n * l->ffn;
        out->router += l->n * l->router;
        out->expert += l->n * l->expert * l->n_expert;
        out->active += l->n * (l->attn_sharded + l->attn_replicated + l->ffn + l->router +
                               l->expert * l->n_used);
        out->kv_floats += l->n * l->kv;
        out->moe = out->moe || l->n_expert > 0;
    }
    out->total = out->embed + out->attention + out->ffn + out->router + out->expert;
}

double tk_shape_kv_floats(const tk_shape *s, double n_ctx)
{
    double sum = 0;
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *l = &s->layer[i];
        // a sparse index reads few tokens but the cache keeps all of them
        double kept = l->window && l->index == 0 && n_ctx > l->window ? l->window : n_ctx;
        sum += l->n * (kept * (l->kv / l->ratio + l->index) + l->state);
    }
    return sum;
}

double tk_shape_linear_flop(const tk_shape *s)
{
    double sum = 2.0 * s->vocab * s->hidden;
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *l = &s->layer[i];
        sum += 2.0 * l->n *
               (l->attn_sharded + l->attn_replicated + l->ffn + l->router + l->expert * l->n_used);
    }
    return sum;
}

double tk_shape_attention_flop(const tk_shape *s, double n_ctx, bool prefill)
{
    double sum = 0;
    for (int i = 0; i < s->n_group; i++) {
        const tk_shape_layer *l = &s->layer[i];
        double seen = l->window && n_ctx > l->window ? l->window : n_ctx;
        sum += l->n * seen * (prefill ? l->ctx_flop_prefill : l->ctx_flop);
    }
    return sum;
}
