// SPDX-License-Identifier: MIT
// Packed weights times activations. The result may differ from the exact sum of the same operands by the
// rounding of its additions and of the products of scales: (n / 8 + 16) * 2^-23 * sum |w x|. Every value must
// come out the same bit for bit alone, among other tokens, panels and instruction sets.
#include "kcheck.h"

#include "num/convert.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct source {
    const char *name;
    tk_dtype type;
    tk_scale_kind scale;
    tk_dtype scale_type;
    int block_out, block_in;
} source;

// Every form, from every type that packs to it.
static const source sources[] = {
    {"gemm q8 <- Q8_0", TK_DTYPE_Q8_0, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q8 <- Q5_0", TK_DTYPE_Q5_0, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q8 <- IQ4_NL", TK_DTYPE_IQ4_NL, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q8 <- I8 a row", TK_DTYPE_I8, TK_SCALE_GROUP, TK_DTYPE_BF16, 1, 1 << 20},
    {"gemm q8 <- I8 a tensor", TK_DTYPE_I8, TK_SCALE_BLOCK2D, TK_DTYPE_F16, 1 << 20, 1 << 20},
    {"gemm q4 <- Q4_0", TK_DTYPE_Q4_0, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q4 <- I4 by 32", TK_DTYPE_I4, TK_SCALE_GROUP, TK_DTYPE_BF16, 1, 32},
    {"gemm q4 <- I4 by 128", TK_DTYPE_I4, TK_SCALE_GROUP, TK_DTYPE_F16, 1, 128},
    {"gemm q4m <- Q4_1", TK_DTYPE_Q4_1, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q4k <- Q4_K", TK_DTYPE_Q4_K, TK_SCALE_NONE, 0, 0, 0},
    {"gemm q6k <- Q6_K", TK_DTYPE_Q6_K, TK_SCALE_NONE, 0, 0, 0},
    {"gemm mx4 <- MXFP4 (GGUF)", TK_DTYPE_MXFP4, TK_SCALE_NONE, 0, 0, 0},
    {"gemm mx4 <- MXFP4", TK_DTYPE_F4_E2M1, TK_SCALE_GROUP, TK_DTYPE_F8_E8M0, 1, 32},
    {"gemm nv4 <- NVFP4", TK_DTYPE_F4_E2M1, TK_SCALE_GROUP, TK_DTYPE_F8_E4M3, 1, 16},
    {"gemm bf16 <- BF16", TK_DTYPE_BF16, TK_SCALE_NONE, 0, 0, 0},
    {"gemm fp8 <- FP8 128x128", TK_DTYPE_F8_E4M3, TK_SCALE_BLOCK2D, TK_DTYPE_F32, 128, 128},
    {"gemm fp8 <- FP8 a tensor", TK_DTYPE_F8_E4M3, TK_SCALE_BLOCK2D, TK_DTYPE_F32, 1 << 20,
     1 << 20},
};

static void random_scales(const source *s, uint8_t *scale, size_t n)
{
    if (s->scale == TK_SCALE_NONE) return;
    for (size_t i = 0; i < n; i++) {
        float f = (float)tk_rng_unit(&rng) * 0.01f;
        // from 2^-17 every BF16 is an f16, as form Q4 wants it
        uint16_t bf16 = tk_bf16_from_f32(f + 0x1p-17f), f16 = tk_f16_from_f32(f);
        if (s->scale_type == TK_DTYPE_F32) memcpy(scale + 4 * i, &f, sizeof f);
        if (s->scale_type == TK_DTYPE_BF16) memcpy(scale + 2 * i, &bf16, sizeof bf16);
        if (s->scale_type == TK_DTYPE_F16) memcpy(scale + 2 * i, &f16, sizeof f16);
        if (s->scale_type == TK_DTYPE_F8_E4M3) scale[i] = (uint8_t)tk_rng_below(&rng, 0x7F);
        if (s->scale_type == TK_DTYPE_F8_E8M0) scale[i] = (uint8_t)(90 + tk_rng_below(&rng, 60));
    }
}

// A stored matrix of random codes; *packed: the same, packed, ending where a page ends.
static tk_matrix make(const source *s, int64_t n_out, int64_t n_in, tk_packed *packed)
{
    size_t row_bytes = (size_t)tk_dtype_bytes(s->type, n_in);
    int64_t rows = s->block_out ? (n_out + s->block_out - 1) / s->block_out : 0;
    int64_t cols = s->block_in ? (n_in + s->block_in - 1) / s->block_in : 0;
    uint8_t *codes = malloc((size_t)n_out * row_bytes),
            *scale = malloc((size_t)(rows * cols) * 4 + 1);
    random_codes(codes, (size_t)n_out * row_bytes, s->type);
    if (s->type == TK_DTYPE_MXFP4) // scales of a size that sums can hold
        for (size_t i = 0; i < (size_t)n_out * row_bytes; i += 17)
            codes[i] = (uint8_t)(90 + tk_rng_below(&rng, 60));
    if (s->type == TK_DTYPE_BF16) // no sum overflows
        for (size_t i = 1; i < (size_t)n_out * row_bytes; i += 2)
            codes[i] = (uint8_t)((codes[i] & 0x8F) | 0x30);
    random_scales(s, scale, (size_t)(rows * cols));
    tk_matrix m = {.data = codes,
                   .row_bytes = row_bytes,
                   .n_out = n_out,
                   .n_in = n_in,
                   .dtype = s->type,
                   .scale_kind = s->scale,
                   .scale_dtype = s->scale_type,
                   .scale = scale,
                   .scale_cols = cols,
                   .block_out = s->block_out,
                   .block_in = s->block_in,
                   .scale_global = s->scale_type == TK_DTYPE_F8_E4M3 ? 0.37f : 1};
    *packed = tk_packed_shape(&m);
    uint8_t *to = (uint8_t *)guarded(tk_packed_bytes(packed) / sizeof(float));
    packed->data = to;
    for (int64_t i = 0; i < tk_packed_panels(packed); i++)
        tk_pack_panel(&m, packed, i, to + (size_t)i * packed->panel_bytes);
    return m;
}

static bool packed_as_stored(const tk_matrix *m, const tk_packed *p)
{
    float want[TK_SUPER], got[TK_SUPER];
    bool ok = p->kind != TK_PACK_NONE;
    for (int64_t r = 0; ok && r < m->n_out; r++)
        for (int64_t k = 0; k < m->n_in; k += TK_SUPER) {
            int64_t n = TK_MIN((int64_t)TK_SUPER, m->n_in - k);
            tk_matrix_decode(m, r, k, n, want);
            tk_packed_decode(p, r, k, n, got);
            for (int64_t i = 0; i < n; i++) ok &= got[i] == want[i];
        }
    return ok;
}

// n groups of words as k wants them.
static tk_group16 *as_wanted(const tk_kernels *k, const tk_group16 *words, size_t n)
{
    tk_group16 *q = (tk_group16 *)(void *)guarded(n * sizeof *q / sizeof(float));
    for (size_t g = 0; g < n; g++)
        for (int i = 0; i < TK_GROUP; i++) {
            int at = tk_group8_column(i), hi = (words[g].word[at] + 128) >> 8;
            if (!k->splits) q[g].word[i] = words[g].word[i];
            if (k->splits) q[g].hi[i] = (int8_t)hi;
            if (k->splits) q[g].lo[i] = (int8_t)(words[g].word[at] - 256 * hi);
        }
    return q;
}

// x, of n_tok rows, for k.
static tk_act act_for(const tk_kernels *k, tk_act x, int n_tok)
{
    x.q = as_wanted(k, x.q, (size_t)n_tok * (size_t)x.n_group);
    return x;
}

static tk_act make_act(const tk_kernels *ref, int n_tok, int64_t n_in)
{
    int64_t groups = (n_in + TK_GROUP - 1) / TK_GROUP;
    size_t n = (size_t)n_tok * (size_t)n_in, n_group = (size_t)n_tok * (size_t)groups;
    float *f = fill(guarded(n), n), *scale = guarded(n_group);
    int32_t *sum = (int32_t *)(void *)guarded(n_group * 2);
    tk_group16 *q = (tk_group16 *)(void *)guarded(n_group * sizeof *q / sizeof(float));
    for (int t = 0; t < n_tok; t++)
        ref->quantise(f + t * n_in, n_in, q + t * groups, scale + t * groups, sum + t * groups * 2);
    return (tk_act){.f = f, .ld = n_in, .q = q, .scale = scale, .sum = sum, .n_group = groups};
}

// sum |w x|, the size that rounding errors are measured by.
static double size_of(const tk_packed *p, const tk_act *x, int64_t row, int64_t t)
{
    double size = 0;
    float w[TK_SUPER];
    for (int64_t k = 0; k < p->n_in; k += TK_SUPER) {
        int64_t n = TK_MIN((int64_t)TK_SUPER, p->n_in - k);
        tk_packed_decode(p, row, k, n, w);
        for (int64_t i = 0; i < n; i++) size += fabs((double)w[i] * x->f[t * x->ld + k + i]);
        // a code's offset is added and taken off: its own rounding counts too
        if (p->kind == TK_PACK_Q4K || p->kind == TK_PACK_Q4M)
            for (int64_t i = 0; i < n; i++) size += fabs(20.0 * w[i] * x->f[t * x->ld + k + i]);
    }
    return size;
}

static bool check_shape(const source *s, const tk_kernels *k, const tk_kernels *ref, int64_t n_out,
                        int64_t n_in, int n_tok)
{
    tk_packed p;
    tk_matrix m = make(s, n_out, n_in, &p);
    tk_act x = make_act(ref, n_tok + 2, n_in), own = act_for(k, x, n_tok + 2);
    int64_t ld = n_out + 3;
    int n_panel = (int)tk_packed_panels(&p);
    int32_t *index = malloc((size_t)n_tok * sizeof *index);
    size_t n = (size_t)(n_tok * ld);
    float *got = guarded(n), *want = guarded(n), *alone = guarded((size_t)n_out);
    for (int t = 0; t < n_tok; t++) index[t] = n_tok + 1 - t;
    bool ok = packed_as_stored(&m, &p);
    for (int named = 0; named < 2; named++) {
        for (size_t i = 0; i < n; i++) got[i] = want[i] = -77;
        k->gemm[p.kind](&p, 0, n_panel, &own, named ? index : NULL, n_tok, got, ld);
        ref->gemm[p.kind](&p, 0, n_panel, &x, named ? index : NULL, n_tok, want, ld);
        for (int t = 0; t < n_tok; t++) {
            int32_t at = named ? index[t] : t;
            for (int64_t r = n_out; r < ld; r++) ok &= got[t * ld + r] == -77;
            for (int i = 0; i < n_panel; i++) // alone, panel by panel: the same bits
                k->gemm[p.kind](&p, i, 1, &own, &at, 1, alone + i * TK_PANEL_ROWS, ld);
            ok &= memcmp(alone, got + t * ld, (size_t)n_out * sizeof *got) == 0;
            for (int64_t r = 0; r < n_out; r++) {
                double bound = ((double)n_in / 8 + 16) * 0x1p-23 * size_of(&p, &x, r, at);
                ok &= near(got[t * ld + r], want[t * ld + r], bound + 1e-30);
            }
        }
    }
    free(index);
    free((void *)m.data);
    free((void *)m.scale);
    return ok;
}

void check_gemm(const tk_kernels *k, const tk_kernels *ref)
{
    static const struct {
        int64_t n_out, n_in;
        int n_tok;
    } shapes[] = {{16, 256, 1},  {1, 512, 3},   {47, 256, 5},
                  {80, 1024, 1}, {33, 768, 13}, {64, 512, 2}};
    for (size_t i = 0; i < TK_COUNT(sources); i++) {
        bool ok = true;
        if (!wanted(sources[i].name)) continue;
        for (size_t j = 0; j < TK_COUNT(shapes); j++)
            ok &=
                check_shape(&sources[i], k, ref, shapes[j].n_out, shapes[j].n_in, shapes[j].n_tok);
        // columns that fill groups but no superblock
        if (sources[i].type == TK_DTYPE_BF16) ok &= check_shape(&sources[i], k, ref, 20, 70, 2);
        if (sources[i].type == TK_DTYPE_F8_E4M3) ok &= check_shape(&sources[i], k, ref, 20, 196, 2);
        if (sources[i].type == TK_DTYPE_Q8_0) ok &= check_shape(&sources[i], k, ref, 20, 96, 2);
        if (sources[i].scale_type == TK_DTYPE_F8_E4M3)
            ok &= check_shape(&sources[i], k, ref, 20, 48, 6);
        row(sources[i].name, k->isa, ok);
    }
}

// The activations x.f as a wide kernel takes them.
static tk_act make_fewer_bits(const tk_kernels *k, tk_wide takes, const tk_act *x, int n_tok,
                              int64_t n_in)
{
    int64_t groups = x->n_group, ld_h = (n_in + 31) / 32 * 32 + 32;
    uint16_t *h = (uint16_t *)(void *)guarded((size_t)(n_tok * ld_h) / 2);
    int64_t row = tk_row8(groups), row_more = tk_row8_more(groups);
    tk_group8 *b = (tk_group8 *)(void *)guarded((size_t)(n_tok * row) * sizeof *b / sizeof(float));
    int32_t *more = (int32_t *)(void *)guarded((size_t)(n_tok * row_more));
    memset(h, 0, (size_t)(n_tok * ld_h) * sizeof *h);
    for (int t = 0; t < n_tok; t++) {
        k->kv_store[TK_KV_BF16](x->f + t * x->ld, (int)n_in, h + t * ld_h);
        k->quantise8(x->f + t * x->ld, n_in, b + t * row, more + t * row_more);
    }
    if (takes == TK_WIDE_BF16) return (tk_act){.h = h, .ld_h = ld_h};
    return (tk_act){.b = b, .more = more, .n_group = groups};
}

// Against ref on the floats: weights and activations are each rounded to BF16, 2^-8 of a product at most (half away
// from zero), beside what additions round.
static bool check_wide_shape(const source *s, const tk_kernels *k, const tk_way *way,
                             const tk_kernels *ref, int64_t n_out, int64_t n_in, int n_tok)
{
    tk_packed p;
    tk_matrix m = make(s, n_out, n_in, &p);
    tk_act x = make_act(ref, n_tok, n_in), wide = make_fewer_bits(k, way->takes, &x, n_tok, n_in);
    int64_t ld = n_out + 3;
    size_t n = (size_t)(n_tok * ld);
    float *got = guarded(n), *want = guarded(n);
    for (size_t i = 0; i < n; i++) got[i] = -77;
    way->gemm(&p, 0, (int)tk_packed_panels(&p), &wide, NULL, n_tok, got, ld);
    ref->gemm[p.kind](&p, 0, (int)tk_packed_panels(&p), &x, NULL, n_tok, want, ld);
    bool ok = true;
    for (int t = 0; t < n_tok; t++) {
        for (int64_t r = n_out; r < ld; r++) ok &= got[t * ld + r] == -77;
        for (int64_t r = 0; r < n_out; r++)
            ok &= near(got[t * ld + r], want[t * ld + r], size_of(&p, &x, r, t) * 0x1p-7 + 1e-30);
    }
    int fewer = TK_MAX(way->from, n_tok / 2); // a token's bits are its own
    way->gemm(&p, 0, (int)tk_packed_panels(&p), &wide, NULL, fewer, want, ld);
    for (int t = 0; t < fewer; t++)
        ok &= memcmp(got + t * ld, want + t * ld, (size_t)n_out * sizeof *got) == 0;
    free((void *)m.data);
    free((void *)m.scale);
    return ok;
}

// Column i of a group's b is this one of eight.
static int64_t column_of(int64_t i)
{
    static const int order[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    return i / 8 * 8 + order[i % 8];
}

// 8-bit activations, without what groups have more, as the same integers of 16 bits.
static tk_act as_words(const tk_act *x, int n_tok)
{
    size_t n = (size_t)n_tok * (size_t)x->n_group;
    tk_group16 *q = (tk_group16 *)(void *)guarded(n * sizeof *q / sizeof(float));
    float *scale = guarded(n);
    int32_t *sum = (int32_t *)(void *)guarded(n * 2);
    for (int64_t i = 0; i < (int64_t)n; i++) {
        const tk_group8 *b = x->b + i / x->n_group * tk_row8(x->n_group) + i % x->n_group;
        for (int k = 0; k < TK_GROUP; k++) q[i].word[column_of(k)] = b->q[k];
        scale[i] = b->scale;
        sum[2 * i] = -b->minus_half;
        sum[2 * i + 1] = b->minus_half - b->minus_all;
    }
    return (tk_act){.q = q, .scale = scale, .sum = sum, .n_group = x->n_group};
}

// y[t][r] += the products with what groups of token t have more, in double; returns how many those are.
static int add_more(const tk_packed *p, const tk_act *x, int n_tok, double *y)
{
    int n = 0;
    for (int t = 0; t < n_tok; t++) {
        const int32_t *more = x->more + t * tk_row8_more(x->n_group);
        n += more[0];
        for (int i = 0; i < more[0]; i++) {
            const tk_group8 *b = x->b + t * tk_row8(x->n_group) + x->n_group + i;
            int64_t k0 = (int64_t)more[1 + i] * TK_GROUP, len = TK_MIN(TK_GROUP, p->n_in - k0);
            for (int64_t r = 0; r < p->n_out; r++) {
                float w[TK_GROUP] = {0}, super[TK_SUPER];
                int64_t from = k0 / TK_SUPER * TK_SUPER;
                tk_packed_decode(p, r, from, TK_MIN((int64_t)TK_SUPER, p->n_in - from), super);
                memcpy(w, super + (k0 - from), (size_t)len * sizeof *w);
                for (int k = 0; k < TK_GROUP; k++)
                    y[t * p->n_out + r] += (double)w[column_of(k)] * b->q[k] * b->scale;
            }
        }
    }
    return n;
}

// Rows of values of one size, and n_large in each that stand out.
static void even_out(float *x, int n_tok, int64_t n_in, int n_large)
{
    for (int64_t i = 0; i < n_tok * n_in; i++) x[i] = (float)tk_rng_unit(&rng) - 0.5f;
    for (int t = 0; t < n_tok; t++)
        for (int i = 0; i < n_large; i++)
            x[t * n_in + (int64_t)tk_rng_below(&rng, (uint64_t)n_in)] *= 100;
}

// 8-bit activations. Where no group has more: the same bits as the same integers of 16 bits give, for any number of
// tokens. Else the first eight bits as ref has them and the others, in double.
static bool check_bytes_shape(const source *s, const tk_kernels *k, const tk_way *way,
                              const tk_kernels *ref, int64_t n_out, int64_t n_in, int n_tok)
{
    tk_packed p;
    tk_matrix m = make(s, n_out, n_in, &p);
    tk_act f = make_act(ref, n_tok, n_in);
    even_out((float *)(uintptr_t)f.f, n_tok, n_in, n_tok % 2 ? 4 : 0);
    tk_act x = make_fewer_bits(k, way->takes, &f, n_tok, n_in), words = as_words(&x, n_tok);
    int64_t ld = n_out + 3;
    size_t n = (size_t)(n_tok * ld);
    float *got = guarded(n), *want = guarded(n);
    double *more = calloc((size_t)(n_tok * n_out), sizeof *more);
    for (size_t i = 0; i < n; i++) got[i] = want[i] = -77;
    way->gemm(&p, 0, (int)tk_packed_panels(&p), &x, NULL, n_tok, got, ld);
    bool whole = add_more(&p, &x, n_tok, more) == 0, ok = true;
    const tk_kernels *other = whole ? k : ref;
    words = act_for(other, words, n_tok);
    other->gemm[p.kind](&p, 0, (int)tk_packed_panels(&p), &words, NULL, n_tok, want, ld);
    if (whole) ok = memcmp(got, want, n * sizeof *got) == 0;
    for (int t = 0; !whole && t < n_tok; t++) {
        for (int64_t r = n_out; r < ld; r++) ok &= got[t * ld + r] == -77;
        for (int64_t r = 0; r < n_out; r++) {
            float exact = (float)(want[t * ld + r] + more[t * n_out + r]);
            double bound = ((double)n_in / 8 + 16) * 0x1p-23 * size_of(&p, &f, r, t);
            ok &= near(got[t * ld + r], exact, bound + 1e-30);
        }
    }
    free(more);
    free((void *)m.data);
    free((void *)m.scale);
    return ok;
}

static tk_pack form_of(const source *s)
{
    tk_packed p;
    tk_matrix m = make(s, 16, 256, &p);
    free((void *)m.data);
    free((void *)m.scale);
    return p.kind;
}

typedef struct wide_shape {
    int64_t n_out, n_in;
    int n_tok;
} wide_shape;

static bool check_way(const source *s, const tk_kernels *k, const tk_way *way,
                      const tk_kernels *ref)
{
    static const wide_shape shapes[] = {
        {16, 256, 12}, {47, 512, 32}, {33, 1280, 51}, {5, 2304, 77}, {32, 256, 600}, {80, 256, 1},
        {66, 1280, 2}, {48, 512, 3},  {20, 70, 20},   {20, 196, 20}, {20, 48, 21}};
    bool ok = true;
    for (size_t i = 0; i < TK_COUNT(shapes); i++) {
        const wide_shape *z = &shapes[i];
        bool fits = z->n_in % 256 == 0 || (s->type == TK_DTYPE_BF16 && z->n_in == 70) ||
                    (s->type == TK_DTYPE_F8_E4M3 && z->n_in == 196) ||
                    (s->scale_type == TK_DTYPE_F8_E4M3 && z->n_in == 48);
        if (!fits || z->n_tok < way->from) continue;
        ok &= (way->takes == TK_WIDE_INT8 ? check_bytes_shape : check_wide_shape)(
            s, k, way, ref, z->n_out, z->n_in, z->n_tok);
    }
    return ok;
}

void check_gemm_wide(const tk_kernels *k, const tk_kernels *ref)
{
    for (size_t i = 0; i < TK_COUNT(sources); i++) {
        char name[48];
        bool ok = true;
        const tk_way *ways = k->wide[form_of(&sources[i])];
        snprintf(name, sizeof name, "wide %s", sources[i].name);
        if (!wanted(name) || !ways[0].gemm) continue;
        for (int j = 0; j < TK_WAYS && ways[j].gemm; j++)
            ok &= check_way(&sources[i], k, &ways[j], ref);
        row(name, k->isa, ok);
    }
}

static bool same_row(const tk_kernels *k, const tk_kernels *ref, const float *x, int64_t n)
{
    int64_t groups = (n + TK_GROUP - 1) / TK_GROUP;
    size_t z = (size_t)groups;
    tk_group16 *q1 = (tk_group16 *)(void *)guarded(z * 16),
               *words = (tk_group16 *)(void *)guarded(z * 16);
    float *s1 = guarded(z), *s2 = guarded(z);
    int32_t *t1 = (int32_t *)(void *)guarded(2 * z), *t2 = (int32_t *)(void *)guarded(2 * z);
    k->quantise(x, n, q1, s1, t1);
    ref->quantise(x, n, words, s2, t2);
    const tk_group16 *q2 = as_wanted(k, words, z);
    bool ok = memcmp(q1, q2, z * 64) == 0 && memcmp(t1, t2, z * 8) == 0;
    for (size_t i = 0; i < z; i++) ok &= s1[i] == s2[i] || (isnan(s1[i]) && isnan(s2[i]));
    for (int64_t i = 0; ok && i < n; i++) {
        float s = s1[i / TK_GROUP];
        ok &= isnan(s) || fabsf(x[i] - (float)words[i / TK_GROUP].word[i % TK_GROUP] * s) <=
                              0.501f * s + 0x1p-100f;
    }
    return ok;
}

static bool same_group8(const tk_group8 *a, const tk_group8 *b)
{
    return memcmp(a->q, b->q, sizeof a->q) == 0 && a->minus_all == b->minus_all &&
           a->minus_half == b->minus_half && near(a->scale, b->scale, 0) && near(a->sum, b->sum, 0);
}

// The same as ref, and as near to x as the scales say: of the second eight bits where a group has them.
static bool same_row8(const tk_kernels *k, const tk_kernels *ref, const float *x, int64_t n)
{
    int64_t z = (n + TK_GROUP - 1) / TK_GROUP;
    size_t floats = (size_t)tk_row8(z) * sizeof(tk_group8) / 4, n_more = (size_t)tk_row8_more(z);
    tk_group8 *a = (tk_group8 *)(void *)guarded(floats), *b = (tk_group8 *)(void *)guarded(floats);
    int32_t *ma = (int32_t *)(void *)guarded(n_more), *mb = (int32_t *)(void *)guarded(n_more);
    k->quantise8(x, n, a, ma);
    ref->quantise8(x, n, b, mb);
    bool ok = ma[0] == mb[0] && memcmp(ma, mb, (size_t)(1 + ma[0]) * sizeof *ma) == 0;
    for (int64_t i = 0; ok && i < z + ma[0]; i++) ok &= same_group8(&a[i], &b[i]);
    for (int64_t g = 0, e = 0; ok && g < z; g++) {
        const tk_group8 *second = e < ma[0] && ma[1 + e] == g ? &a[z + e++] : NULL;
        float step = second ? second->scale : a[g].scale;
        for (int i = 0; i < TK_GROUP; i++) {
            int64_t at = g * TK_GROUP + column_of(i);
            float v = at < n ? x[at] : 0, of = (float)a[g].q[i] * a[g].scale;
            if (second) of += (float)second->q[i] * second->scale;
            ok &= isnan(step) || fabsf(v - of) <= 0.501f * step + 0x1p-20f * fabsf(v) + 0x1p-100f;
        }
    }
    return ok;
}

void check_quantise(const tk_kernels *k, const tk_kernels *ref)
{
    static const int64_t ns[] = {1, 15, 32, 33, 64, 100, 576};
    bool ok = true;
    if (!wanted("quantise")) return;
    for (size_t i = 0; i < TK_COUNT(ns); i++)
        for (int bad = 0; bad < 5; bad++) {
            float *x = fill(guarded((size_t)ns[i]), (size_t)ns[i]);
            float *at = &x[tk_rng_below(&rng, (uint64_t)ns[i])];
            if (bad == 1) *at = NAN;
            if (bad == 2) *at = -INFINITY;
            if (bad == 3) memset(x, 0, (size_t)ns[i] * sizeof *x);
            if (bad == 4) *at = 3e38f;
            ok &= same_row(k, ref, x, ns[i]) && same_row8(k, ref, x, ns[i]);
        }
    row("quantise", k->isa, ok);
}

// Time on the processor: neighbours on a busy machine do not count.
static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Products of n_tok tokens, the best of some runs.
static void bench_one(const char *name, tk_gemm_fn gemm, const tk_packed *p, const tk_act *x,
                      int n_tok, tk_isa isa)
{
    enum { TIMES = 15 };
    float *y = malloc(sizeof *y * (size_t)p->n_out * (size_t)n_tok);
    uint64_t best = UINT64_MAX;
    for (int r = 0; r < TIMES; r++) {
        uint64_t t0 = thread_ns();
        gemm(p, 0, (int)tk_packed_panels(p), x, NULL, n_tok, y, p->n_out);
        best = TK_MIN(best, thread_ns() - t0);
    }
    printf("%-31s x %-3d %-7s %8.1f GB/s %8.1f GFLOP/s\n", name, n_tok, tk_isa_name(isa),
           (double)tk_packed_bytes(p) / (double)best,
           2.0 * (double)(p->n_out * p->n_in) * n_tok / (double)best);
    free(y);
}

void bench_gemm(const tk_kernels *k)
{
    enum { ROWS = 2048, COLS = 2048, MOST = 64 };
    static const int toks[] = {1, 2, 3, 4, 8, 16, MOST};
    tk_kernels ref;
    tk_kernels_fill(&ref, TK_ISA_REF);
    if (k->isa == TK_ISA_REF) return;
    for (size_t i = 0; i < TK_COUNT(sources); i++) {
        tk_packed p;
        char wide[48];
        snprintf(wide, sizeof wide, "wide %s", sources[i].name);
        if (!wanted(sources[i].name)) continue;
        make(&sources[i], ROWS, COLS, &p);
        tk_act x = make_act(&ref, MOST, COLS), own = act_for(k, x, MOST);
        for (size_t j = 0; j < TK_COUNT(toks); j++) {
            bench_one(sources[i].name, k->gemm[p.kind], &p, &own, toks[j], k->isa);
            const tk_way *way = tk_way_for(k, p.kind, toks[j]);
            if (!way) continue;
            tk_act fewer = make_fewer_bits(k, way->takes, &x, MOST, COLS);
            bench_one(wide, way->gemm, &p, &fewer, toks[j], k->isa);
        }
    }
}
