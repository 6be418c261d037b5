// SPDX-License-Identifier: MIT
// Values. A Gaussian and a quantiser per weight would take hours for a large model, so blocks are drawn: for
// each (type, spread) a pool of 4096 encoded blocks is made once, and a tensor is a sequence of blocks picked
// from it by a generator seeded with the tensor's name and the piece's number. So the bytes depend on the seed
// alone, not on threads or order; every value is normal, but a block comes again every 4096 on average, so
// such files compress well and say nothing about quality.
#include "cli/sampling.h"
#include "cli/synth.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "num/convert.h"
#include "num/encode.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { POOL_BLOCKS = 4096, POOL_BITS = 12, PIECE_BLOCKS = 16384, PLAIN_LEN = 64, WAVE = 256 };

typedef struct block_pool {
    tk_synth_fill fill;
    float scale;
    tk_dtype dtype;
    size_t block_bytes;
    uint8_t *blocks; // [POOL_BLOCKS][block_bytes]
} block_pool;

typedef struct piece {
    uint32_t tensor, index; // of the piece in its tensor
} piece;

typedef struct writer {
    const tk_synth_plan *p;
    const tk_out_file *file;
    block_pool *pools;
    size_t n_pool;
    uint32_t *pool_of; // [tensor]
    const piece *pieces;
    uint8_t **scratch;    // [thread]
    pthread_mutex_t lock; // st, err
    tk_status st;
    tk_err *err;
} writer;

// Sum of twelve 16-bit uniforms (Irwin-Hall): variance 1, tails cut at 6, the same bits on every machine.
static float normal(tk_rng *r)
{
    int64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        uint64_t u = tk_rng_u64(r);
        sum += (int64_t)(u & 0xFFFF) + (int64_t)(u >> 16 & 0xFFFF) + (int64_t)(u >> 32 & 0xFFFF) +
               (int64_t)(u >> 48);
    }
    return (float)(2 * sum - 12 * 65535) * 0x1p-17f;
}

// One group of FP4 with its scale; out gets the codes or the scale.
static void fp4_group(const float *x, bool nv, bool codes, uint8_t *out)
{
    int n = nv ? 16 : 32;
    float amax = 0;
    for (int i = 0; i < n; i++) amax = fmaxf(amax, fabsf(x[i]));
    uint8_t s = nv ? tk_e4m3_from_f32(fmaxf(amax / 6 * 256, 0x1p-9f)) : tk_mx_scale(amax);
    if (!codes) {
        *out = s;
        return;
    }
    float y[32], id = nv ? 256 / tk_f32_from_e4m3(s) : 1 / tk_f32_from_e8m0(s);
    for (int i = 0; i < n; i++) y[i] = x[i] * id;
    tk_dtype_encode(TK_DTYPE_F4_E2M1, y, n, out);
}

// One group of INT4 with its scale in BF16; out gets the codes or the scale.
static void int4_group(const float *x, bool codes, uint8_t *out)
{
    float amax = 0;
    for (int i = 0; i < 32; i++) amax = fmaxf(amax, fabsf(x[i]));
    uint16_t s = tk_bf16_from_f32(amax / 7.5f);
    if (!codes) {
        memcpy(out, &s, sizeof s);
        return;
    }
    memset(out, 0, 16);
    for (int i = 0; i < 32; i++) {
        float q = fminf(fmaxf(rintf(x[i] / tk_f32_from_bf16(s)), -8), 7);
        out[i / 2] = (uint8_t)(out[i / 2] | (int)(q + 8) << (i % 2 * 4));
    }
}

static void fill_block(const block_pool *p, tk_rng *r, uint8_t *out)
{
    // E4M3 codes of spread 448 / 5: a hundredth of a percent and less is cut at 448
    static const float fp8_spread = 448.0f / 5;
    float x[256];
    bool nv = p->fill == TK_SYNTH_NVFP4_CODES || p->fill == TK_SYNTH_NVFP4_SCALES;
    int len = p->block_bytes == 0 ? 0 : tk_dtype_block_len(p->dtype);
    switch (p->fill) {
    case TK_SYNTH_NVFP4_CODES:
    case TK_SYNTH_NVFP4_SCALES:
    case TK_SYNTH_MXFP4_CODES:
    case TK_SYNTH_MXFP4_SCALES:
        for (int i = 0; i < (nv ? 16 : 32); i++) x[i] = normal(r) * p->scale;
        fp4_group(x, nv, p->fill == TK_SYNTH_NVFP4_CODES || p->fill == TK_SYNTH_MXFP4_CODES, out);
        return;
    case TK_SYNTH_INT4_CODES:
    case TK_SYNTH_INT4_SCALES:
        for (int i = 0; i < 32; i++) x[i] = normal(r) * p->scale;
        int4_group(x, p->fill == TK_SYNTH_INT4_CODES, out);
        return;
    default: break;
    }
    if (len == 1) len = PLAIN_LEN;
    for (int i = 0; i < len; i++)
        x[i] = p->fill == TK_SYNTH_CONST       ? p->scale
               : p->fill == TK_SYNTH_FP8_CODES ? normal(r) * fp8_spread
               : p->fill == TK_SYNTH_FP8_SCALES
                   ? p->scale / fp8_spread * (0.9f + 0.2f * (float)tk_rng_unit(r))
                   : normal(r) * p->scale;
    tk_dtype_encode(p->dtype, x, len, out);
}

static size_t block_bytes(tk_synth_fill fill, tk_dtype t)
{
    switch (fill) {
    case TK_SYNTH_NVFP4_CODES: return 8;
    case TK_SYNTH_INT4_CODES:
    case TK_SYNTH_MXFP4_CODES: return 16;
    case TK_SYNTH_INT4_SCALES: return 2;
    case TK_SYNTH_NVFP4_SCALES:
    case TK_SYNTH_MXFP4_SCALES: return 1;
    default: break;
    }
    int len = tk_dtype_block_len(t);
    return (size_t)tk_dtype_block_bytes(t) * (len == 1 ? PLAIN_LEN : 1);
}

// Codes and scales of a group must come from the same draw, so the seed is of the pair, not of the fill.
static uint64_t pool_seed(uint64_t seed, const block_pool *p)
{
    bool group = p->fill >= TK_SYNTH_NVFP4_CODES && p->fill <= TK_SYNTH_INT4_SCALES;
    uint64_t kind = group ? (uint64_t)TK_DTYPE_COUNT : (uint64_t)p->dtype;
    tk_rng r = {.state = seed ^ (uint64_t)tk_bits_from_f32(p->scale) << 20 ^ kind << 56};
    return tk_rng_u64(&r);
}

static uint32_t find_pool(writer *w, const tk_synth_source *s, tk_dtype t, uint64_t seed)
{
    for (uint32_t i = 0; i < w->n_pool; i++)
        if (w->pools[i].fill == s->fill && w->pools[i].scale == s->scale && w->pools[i].dtype == t)
            return i;
    block_pool p = {
        .fill = s->fill, .scale = s->scale, .dtype = t, .block_bytes = block_bytes(s->fill, t)};
    if (s->fill != TK_SYNTH_EXACT && s->fill != TK_SYNTH_SHAPE) {
        p.blocks = tk_alloc(POOL_BLOCKS * p.block_bytes);
        tk_rng r = {.state = pool_seed(seed, &p)};
        for (int i = 0; i < POOL_BLOCKS; i++) fill_block(&p, &r, p.blocks + i * p.block_bytes);
    }
    w->pools = tk_realloc(w->pools, (w->n_pool + 1) * sizeof *w->pools);
    w->pools[w->n_pool] = p;
    return (uint32_t)w->n_pool++;
}

static void write_piece(void *ctx, int i_item, int i_thread)
{
    writer *w = ctx;
    piece pc = w->pieces[i_item];
    const tk_out_tensor *t = &w->p->tensors[pc.tensor];
    const tk_synth_source *s = &w->p->sources[pc.tensor];
    const block_pool *p = &w->pools[w->pool_of[pc.tensor]];
    uint64_t at = (uint64_t)pc.index * PIECE_BLOCKS * p->block_bytes;
    size_t len = (size_t)TK_MIN(t->bytes - at, (uint64_t)PIECE_BLOCKS * p->block_bytes);
    uint8_t *out = w->scratch[i_thread];
    if (s->fill == TK_SYNTH_EXACT) {
        memcpy(out, (const uint8_t *)s->exact + at, len);
    } else if (s->fill == TK_SYNTH_SHAPE) {
        memcpy(out, s->shape, len);
    } else {
        tk_rng r = {.state = s->seed + pc.index * 0xD1342543DE82EF95u};
        uint64_t bits = 0;
        size_t n = (len + p->block_bytes - 1) / p->block_bytes;
        for (size_t i = 0; i < n; i++, bits >>= POOL_BITS) {
            if (i % (64 / POOL_BITS) == 0) bits = tk_rng_u64(&r);
            memcpy(out + i * p->block_bytes, p->blocks + (bits % POOL_BLOCKS) * p->block_bytes,
                   p->block_bytes);
        }
    }
    tk_err err = TK_ERR_INIT;
    if (tk_out_write(w->file, t->at + at, out, len, &err) == TK_OK) return;
    pthread_mutex_lock(&w->lock);
    if (w->st == TK_OK) w->st = tk_fail(w->err, err.status, "%s", err.msg);
    pthread_mutex_unlock(&w->lock);
}

static void show(uint64_t done, uint64_t total, uint64_t begin_ns, bool last)
{
    double s = (double)(tk_clock_ns() - begin_ns) * 1e-9;
    fprintf(stderr, "\rwritten %.2f of %.2f GB, %.0f MB/s%s", (double)done * 1e-9,
            (double)total * 1e-9, s > 0 ? (double)done * 1e-6 / s : 0, last ? "\n" : "");
}

// Waves of pieces over all tensors: progress and Ctrl-C are looked at between them.
static tk_status write_waves(writer *w, tk_pool *pool, bool quiet)
{
    piece *wave = tk_alloc(WAVE * sizeof *wave);
    uint64_t total = 0, done = 0, begin = tk_clock_ns();
    int n = 0;
    for (size_t i = 0; i < w->p->n; i++) total += w->p->tensors[i].bytes;
    w->pieces = wave;
    for (size_t i = 0; i < w->p->n && w->st == TK_OK; i++) {
        uint64_t bytes = w->p->tensors[i].bytes,
                 step = PIECE_BLOCKS * w->pools[w->pool_of[i]].block_bytes;
        for (uint64_t k = 0; k * step < bytes && w->st == TK_OK; k++) {
            wave[n++] = (piece){.tensor = (uint32_t)i, .index = (uint32_t)k};
            done += TK_MIN(step, bytes - k * step);
            if (n < WAVE && done < total) continue;
            tk_pool_run(pool, n, write_piece, w);
            n = 0;
            if (!quiet) show(done, total, begin, done == total);
            if (w->st == TK_OK && atomic_load_explicit(&tk_interrupted, memory_order_relaxed))
                w->st = tk_fail(w->err, TK_INTERRUPTED, "interrupted; nothing is left behind");
        }
    }
    tk_free(wave);
    return w->st;
}

tk_status tk_synth_write(const tk_synth_plan *p, const tk_out_file *f, uint64_t seed, int n_thread,
                         bool quiet, tk_err *err)
{
    writer w = {.p = p, .file = f, .st = TK_OK, .err = err};
    tk_pool *pool = NULL;
    size_t largest = 0;
    tk_status st;
    pthread_mutex_init(&w.lock, NULL);
    w.pool_of = tk_alloc(p->n * sizeof *w.pool_of);
    for (size_t i = 0; i < p->n; i++) {
        w.pool_of[i] = find_pool(&w, &p->sources[i], p->tensors[i].dtype, seed);
        largest = TK_MAX(largest, w.pools[w.pool_of[i]].block_bytes);
    }
    TK_TRY(tk_pool_new(n_thread, &pool, err));
    w.scratch = tk_alloc((size_t)tk_pool_threads(pool) * sizeof *w.scratch);
    for (int i = 0; i < tk_pool_threads(pool); i++) w.scratch[i] = tk_alloc(PIECE_BLOCKS * largest);
    st = write_waves(&w, pool, quiet);
done:
    for (int i = 0; w.scratch && i < tk_pool_threads(pool); i++) tk_free(w.scratch[i]);
    for (size_t i = 0; i < w.n_pool; i++) tk_free(w.pools[i].blocks);
    tk_pool_free(pool);
    tk_free(w.scratch);
    tk_free(w.pools);
    tk_free(w.pool_of);
    pthread_mutex_destroy(&w.lock);
    return st;
}
