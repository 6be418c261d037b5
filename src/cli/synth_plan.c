// SPDX-License-Identifier: MIT
// From a config to a list of tensors. Names, roles and shapes come from the model's own program
// (tk_program_plan), so there is no second table of them; here each weight gets its stored type.
#include "cli/synth.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

typedef struct planner {
    tk_synth_plan *out;
    const tk_program *p;
    const char *dtype;
    uint64_t seed;
    tk_err *err;
} planner;

static uint64_t seed_of(uint64_t seed, const char *name)
{
    uint64_t h = 0xCBF29CE484222325u; // FNV-1a of the name, mixed with the seed
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 0x100000001B3u;
    tk_rng r = {.state = h ^ seed * 0x9E3779B97F4A7C15u};
    return tk_rng_u64(&r);
}

static tk_out_tensor *add(planner *pl, const char *name, const char *beside, tk_dtype t,
                          tk_synth_fill fill, float scale)
{
    tk_synth_plan *o = pl->out;
    if (o->n == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 256;
        o->tensors = tk_realloc(o->tensors, o->cap * sizeof *o->tensors);
        o->sources = tk_realloc(o->sources, o->cap * sizeof *o->sources);
    }
    // beside: what stands in place of "weight"
    int len = (int)(strlen(name) - (beside ? strlen("weight") : 0));
    o->sources[o->n] =
        (tk_synth_source){.fill = fill, .scale = scale, .seed = seed_of(pl->seed, name)};
    o->tensors[o->n] = (tk_out_tensor){
        .name = tk_asprintf("%.*s%s", len, name, beside ? beside : ""), .dtype = t, .n_dim = 1};
    return &o->tensors[o->n++];
}

static void shape(tk_out_tensor *t, int64_t a, int64_t b)
{
    t->n_dim = 2;
    t->dim[0] = a;
    t->dim[1] = b;
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static bool holds(const char *s, const char *part)
{
    return strstr(s, part) != NULL;
}

// Linear layers that the quantised checkpoints in use quantise: not embedding, head, router, norms, MTP's
// projection.
static bool is_quantised(const tk_weight *w)
{
    return w->m.n_in > 1 && (w->role == TK_ROLE_ATTENTION || w->role == TK_ROLE_MLP ||
                             w->role == TK_ROLE_SHARED_EXPERT || w->role == TK_ROLE_EXPERT);
}

static void add_fp8(planner *pl, const tk_weight *w, float std)
{
    shape(add(pl, w->name, NULL, TK_DTYPE_F8_E4M3, TK_SYNTH_FP8_CODES, 1), w->m.n_out, w->m.n_in);
    shape(add(pl, w->name, "weight_scale_inv", TK_DTYPE_F32, TK_SYNTH_FP8_SCALES, std),
          (w->m.n_out + 127) / 128, (w->m.n_in + 127) / 128);
}

// compressed-tensors' names; NVFP4's tensor-wide scale is a divisor.
static void add_fp4(planner *pl, const tk_weight *w, float std, bool nv)
{
    int group = nv ? 16 : 32;
    shape(add(pl, w->name, "weight_packed", TK_DTYPE_U8,
              nv ? TK_SYNTH_NVFP4_CODES : TK_SYNTH_MXFP4_CODES, nv ? 1 : std),
          w->m.n_out, w->m.n_in / 2);
    shape(add(pl, w->name, "weight_scale", nv ? TK_DTYPE_F8_E4M3 : TK_DTYPE_U8,
              nv ? TK_SYNTH_NVFP4_SCALES : TK_SYNTH_MXFP4_SCALES, nv ? 1 : std),
          w->m.n_out, w->m.n_in / group);
    // scales are those of normal(0, 1) times 256: the largest in use stays below E4M3's 448
    if (nv)
        add(pl, w->name, "weight_global_scale", TK_DTYPE_F32, TK_SYNTH_CONST, 256 / std)->dim[0] =
            1;
}

// compressed-tensors' names; codes are in words of eight.
static void add_int4(planner *pl, const tk_weight *w, float std)
{
    shape(add(pl, w->name, "weight_packed", TK_DTYPE_I32, TK_SYNTH_INT4_CODES, std), w->m.n_out,
          w->m.n_in / 8);
    shape(add(pl, w->name, "weight_scale", TK_DTYPE_BF16, TK_SYNTH_INT4_SCALES, std), w->m.n_out,
          w->m.n_in / 32);
    add(pl, w->name, "weight_shape", TK_DTYPE_I64, TK_SYNTH_SHAPE, 1)->dim[0] = 2;
    int64_t *said = pl->out->sources[pl->out->n - 1].shape;
    said[0] = w->m.n_out;
    said[1] = w->m.n_in;
}

static tk_status plan_hf(planner *pl, const tk_weight *w, float std)
{
    const char *d = pl->dtype;
    bool fp8 = strcmp(d, "FP8") == 0, nv = strcmp(d, "NVFP4") == 0, mx = strcmp(d, "MXFP4") == 0,
         int4 = strcmp(d, "INT4") == 0;
    tk_dtype plain = strcmp(d, "F32") == 0   ? TK_DTYPE_F32
                     : strcmp(d, "F16") == 0 ? TK_DTYPE_F16
                                             : TK_DTYPE_BF16;
    // attention reads kv_b by columns too: no checkpoint in use has it in 4 bits
    bool four = (nv || mx || int4) && !ends(w->name, "kv_b_proj.weight");
    if (is_quantised(w) && fp8) {
        add_fp8(pl, w, std);
    } else if (is_quantised(w) && four) {
        if (w->m.n_in % 32 != 0)
            return tk_fail(pl->err, TK_UNSUPPORTED,
                           "\"%s\" has rows of %lld, no multiple of 32: --dtype %s cannot hold it",
                           w->name, (long long)w->m.n_in, d);
        if (int4)
            add_int4(pl, w, std);
        else
            add_fp4(pl, w, std, nv);
    } else {
        bool bias = ends(w->name, "e_score_correction_bias");
        tk_out_tensor *t = add(pl, w->name, NULL, bias ? TK_DTYPE_F32 : plain,
                               w->role == TK_ROLE_NORM ? TK_SYNTH_CONST : TK_SYNTH_NORMAL,
                               w->role == TK_ROLE_NORM ? 1 : std);
        t->dim[0] = w->m.n_out;
        if (w->m.n_in > 1) shape(t, w->m.n_out, w->m.n_in);
    }
    return TK_OK;
}

static bool more_bits(int layer, int n_layer)
{
    return layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2;
}

static int layer_of(const char *name)
{
    int layer = -1;
    return sscanf(name, "blk.%d.", &layer) == 1 ? layer : -1;
}

// llama.cpp's choices for the mixes of these names: a better output matrix, and in "Q4_K" (its Q4_K_M) Q6_K for
// half of the attn_v and ffn_down; types whose blocks do not fit the rows fall back as they do there.
static tk_dtype gguf_type(const planner *pl, const tk_weight *w, tk_dtype base)
{
    const tk_config *c = &pl->p->cfg;
    bool low = base == TK_DTYPE_Q4_0 || base == TK_DTYPE_Q4_1 || base == TK_DTYPE_Q5_0 ||
               base == TK_DTYPE_Q4_K;
    bool head = w->role == TK_ROLE_HEAD || (w->role == TK_ROLE_EMBED && c->tie_embed);
    tk_dtype t = base;
    if (low && head) t = TK_DTYPE_Q6_K;
    if (base == TK_DTYPE_MXFP4 && (w->role == TK_ROLE_EMBED || w->role == TK_ROLE_HEAD))
        t = TK_DTYPE_Q8_0;
    if (base == TK_DTYPE_Q4_K && (holds(w->name, ".attn_v.") || holds(w->name, ".ffn_down")) &&
        more_bits(layer_of(w->name), c->n_layer))
        t = TK_DTYPE_Q6_K;
    if (t == TK_DTYPE_Q4_K && w->m.n_in % 256 != 0) t = TK_DTYPE_Q5_0;
    if (t == TK_DTYPE_Q6_K && w->m.n_in % 256 != 0) t = TK_DTYPE_Q8_0;
    return w->m.n_in % tk_dtype_block_len(t) != 0 ? TK_DTYPE_F16 : t;
}

static bool dtype_of(const char *name, tk_dtype *out)
{
    for (int t = 0; t < TK_DTYPE_COUNT; t++) {
        uint32_t number;
        if (strcmp(tk_dtype_name((tk_dtype)t), name) != 0 || !tk_gguf_type((tk_dtype)t, &number))
            continue;
        *out = (tk_dtype)t;
        return true;
    }
    return false;
}

// n_part: matrices merged in one tensor (experts, or the heads of MLA's halves); w is the first.
static tk_status plan_gguf(planner *pl, const tk_weight *w, float std, int64_t n_part)
{
    tk_dtype base, t = TK_DTYPE_F32; // vectors and the router
    if (!dtype_of(pl->dtype, &base))
        return tk_fail(pl->err, TK_UNSUPPORTED, "a GGUF file cannot hold --dtype %s", pl->dtype);
    if (w->m.n_in > 1 && w->role != TK_ROLE_ROUTER) t = gguf_type(pl, w, base);
    tk_out_tensor *o =
        add(pl, w->name, NULL, t, w->role == TK_ROLE_NORM ? TK_SYNTH_CONST : TK_SYNTH_NORMAL,
            w->role == TK_ROLE_NORM ? 1 : std);
    int64_t rows = w->role == TK_ROLE_EXPERT ? w->m.n_out : w->m.n_out / n_part;
    o->dim[0] = w->m.n_out;
    if (w->m.n_in > 1) shape(o, w->m.n_out, w->m.n_in);
    if (w->m.n_in > 1 && n_part > 1) {
        o->n_dim = 3;
        o->dim[0] = n_part;
        o->dim[1] = rows;
        o->dim[2] = w->m.n_in;
    }
    return TK_OK;
}

// How many heads a weight is merged from: the two halves of kv_b, which the program knows by their place.
static int64_t heads_of(const tk_program *p, int32_t w)
{
    for (int i = 0; i < p->n_op; i++)
        if (p->ops[i].kind == TK_OP_ATTEND_MLA && p->ops[i].w2 >= 0 &&
            (p->ops[i].w == w || p->ops[i].w2 == w))
            return p->ops[i].n_head;
    return 1;
}

// llama.cpp has no llama3 scaling but divisors of the frequencies.
static void add_rope_freqs(planner *pl)
{
    const tk_rope *r = &pl->p->cfg.rope;
    if (!pl->p->cfg.is_gguf || r->kind != TK_ROPE_LLAMA3) return;
    int n = r->n_dim / 2;
    float factor, *f = tk_alloc((size_t)n * sizeof *f);
    tk_rope plain = *r;
    float *base = tk_alloc((size_t)n * sizeof *base);
    plain.kind = TK_ROPE_DEFAULT;
    tk_rope_frequencies(r, f, &factor);
    tk_rope_frequencies(&plain, base, &factor);
    for (int i = 0; i < n; i++) f[i] = base[i] / f[i];
    tk_free(base);
    pl->out->rope_freqs = f;
    add(pl, "rope_freqs.weight", NULL, TK_DTYPE_F32, TK_SYNTH_EXACT, 1)->dim[0] = n;
    pl->out->sources[pl->out->n - 1].exact = f;
}

tk_status tk_synth_plan_make(const tk_config *cfg, const char *dtype, uint64_t seed,
                             tk_synth_plan *out, tk_err *err)
{
    *out = (tk_synth_plan){0};
    tk_program *p = NULL;
    tk_status st;
    int64_t n_expert = 3 * (int64_t)cfg->moe.n_expert * (cfg->n_layer + cfg->n_mtp);
    if (n_expert > TK_LIMIT_TENSORS)
        return tk_fail(err, TK_NOMEM,
                       "%lld matrices of experts are more than the %u that a file may have",
                       (long long)n_expert, TK_LIMIT_TENSORS);
    TK_TRY(tk_program_plan(cfg, &p, err));
    planner pl = {.out = out, .p = p, .dtype = dtype, .seed = seed, .err = err};
    for (int32_t i = 0; i < p->n_weight; i++) {
        const tk_weight *w = &p->weights[i];
        if (w->is_alias) continue;
        out->n_param += (uint64_t)w->m.n_out * (uint64_t)w->m.n_in;
        bool expert = w->role == TK_ROLE_EXPERT;
        if (cfg->is_gguf && expert && i > 0 && strcmp(w->name, p->weights[i - 1].name) == 0)
            continue; // the same merged tensor
        // rows of length n_in times 1 / sqrt(n_in) keep a normalised input's size
        float std =
            w->role == TK_ROLE_EMBED || w->m.n_in == 1 ? 0.02f : 1 / sqrtf((float)w->m.n_in);
        int64_t parts = expert ? cfg->moe.n_expert : cfg->is_gguf ? heads_of(p, i) : 1;
        TK_TRY(cfg->is_gguf ? plan_gguf(&pl, w, std, parts) : plan_hf(&pl, w, std));
    }
    add_rope_freqs(&pl);
done:
    tk_program_free(p);
    return st;
}

void tk_synth_plan_free(tk_synth_plan *p)
{
    for (size_t i = 0; i < p->n; i++) tk_free(p->tensors[i].name);
    tk_free(p->tensors);
    tk_free(p->sources);
    tk_free(p->rope_freqs);
}
