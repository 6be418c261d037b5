// SPDX-License-Identifier: MIT
#include "kernels/roof.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "hw/cpu.h"
#include "hw/mem.h"
#include "hw/topology.h"
#include "kernels/probe.h"

#include <math.h>
#include <string.h>

// READ_BYTES: beyond the share of a last-level cache that a virtual machine gets. Items are many, so that a
// thread that wakes late costs little.
enum { READ_BYTES = 512 << 20, ITEM_BYTES = 4 << 20, READ_PASSES = 4, RATE_SAMPLES = 8, ITEMS = 4 };

void tk_probe_fill(tk_probe *p)
{
    const tk_cpu *cpu = tk_cpu_get();
    tk_probe_fill_ref(p);
    if (cpu->avx2) tk_probe_fill_avx2(p);
    if (cpu->avx512) tk_probe_fill_avx512(p);
    if (cpu->avx512_bf16) tk_probe_fill_bf16(p);
    if (cpu->amx_int8 && cpu->amx_bf16) tk_probe_fill_amx(p);
}

tk_roof tk_roof_unknown(int n_thread)
{
    return (tk_roof){.n_thread = n_thread,
                     .read_bytes_per_s = NAN,
                     .fma_flop_per_s = NAN,
                     .int8_op_per_s = NAN,
                     .bf16_flop_per_s = NAN,
                     .amx_int8_op_per_s = NAN,
                     .amx_bf16_flop_per_s = NAN};
}

static bool is_integer_format(tk_dtype t)
{
    return t == TK_DTYPE_I4 || t == TK_DTYPE_I8 || (t >= TK_DTYPE_Q4_0 && t <= TK_DTYPE_IQ4_XS);
}

tk_roof_limit tk_roof_of_dtype(const tk_roof *r, tk_dtype t)
{
    if (is_integer_format(t)) {
        if (!isnan(r->amx_int8_op_per_s)) return (tk_roof_limit){"amx_int8", r->amx_int8_op_per_s};
        if (!isnan(r->int8_op_per_s)) return (tk_roof_limit){"int8", r->int8_op_per_s};
    } else if (!isnan(r->amx_bf16_flop_per_s)) {
        return (tk_roof_limit){"amx_bf16", r->amx_bf16_flop_per_s};
    } else if (!isnan(r->bf16_flop_per_s)) {
        return (tk_roof_limit){"bf16", r->bf16_flop_per_s};
    }
    return (tk_roof_limit){"fp32", r->fma_flop_per_s};
}

typedef struct job {
    const tk_probe *probe;
    char *memory; // [READ_BYTES]
    char *data;   // [n_thread][TK_PROBE_DATA_BYTES]
    int n_stream, ahead_bytes;
    tk_probe_rate_fn rate;
    int64_t n_round;
    uint64_t *mix; // [n_thread] what was read, so that reading has a result
    double *ops;   // [n_thread]
} job;

static void fill_item(void *ctx, int i_item, int i_thread)
{
    (void)i_thread;
    const job *j = ctx;
    memset(j->memory + (size_t)i_item * ITEM_BYTES, 0x55, ITEM_BYTES);
}

static void read_item(void *ctx, int i_item, int i_thread)
{
    const job *j = ctx;
    j->mix[i_thread] ^=
        j->probe->read(j->memory + (size_t)i_item * ITEM_BYTES, (size_t)(ITEM_BYTES / j->n_stream),
                       j->n_stream, j->ahead_bytes);
}

static void rate_item(void *ctx, int i_item, int i_thread)
{
    (void)i_item;
    const job *j = ctx;
    j->ops[i_thread] += j->rate(j->n_round, j->data + (size_t)i_thread * TK_PROBE_DATA_BYTES);
}

static void measure_read(tk_pool *pool, job *j, tk_roof *out)
{
    void *memory = NULL;
    if (tk_mem_available_bytes() < 2ull * READ_BYTES ||
        tk_mem_map(READ_BYTES, "the read test", &memory, NULL) != TK_OK)
        return;
    j->memory = memory;
    tk_pool_run(pool, READ_BYTES / ITEM_BYTES, fill_item, j);
    double best = 0;
    for (int pass = 0; pass < READ_PASSES; pass++)
        for (j->n_stream = 1; j->n_stream <= 16; j->n_stream *= 2)
            for (j->ahead_bytes = 0; j->ahead_bytes <= 1024; j->ahead_bytes += 1024) {
                uint64_t start = tk_clock_ns();
                tk_pool_run(pool, READ_BYTES / ITEM_BYTES, read_item, j);
                double rate = (double)READ_BYTES / ((double)(tk_clock_ns() - start) * 1e-9);
                if (rate <= best) continue;
                best = rate;
                out->read_streams = j->n_stream;
            }
    out->read_bytes_per_s = best;
    tk_mem_unmap(memory, READ_BYTES);
}

// The best rate of several samples in which every thread works about 8 ms.
static double measure_rate(tk_pool *pool, job *j, tk_probe_rate_fn fn)
{
    if (fn == NULL) return NAN;
    j->rate = fn;
    uint64_t ns = 0;
    for (j->n_round = 1; ns < 1000000; j->n_round *= 2) {
        uint64_t start = tk_clock_ns();
        fn(j->n_round, j->data);
        ns = tk_clock_ns() - start;
    }
    double best = 0;
    int n_thread = tk_pool_threads(pool);
    for (int sample = 0; sample < RATE_SAMPLES; sample++) {
        memset(j->ops, 0, (size_t)n_thread * sizeof *j->ops);
        uint64_t start = tk_clock_ns();
        tk_pool_run(pool, n_thread * ITEMS, rate_item, j);
        double s = (double)(tk_clock_ns() - start) * 1e-9, ops = 0;
        for (int i = 0; i < n_thread; i++) ops += j->ops[i];
        best = fmax(best, ops / s);
    }
    return best;
}

// Sixteen-bit words that are numbers of 0.5 to 1 as bf16 and not zero as int8, either sign.
static void fill_data(char *data, size_t n_bytes)
{
    tk_rng rng = {.state = 1};
    for (size_t i = 0; i < n_bytes; i += 2) {
        uint64_t r = tk_rng_u64(&rng);
        uint16_t word = (uint16_t)(0x3F01 | (r & 0x807E));
        memcpy(data + i, &word, sizeof word);
    }
}

tk_status tk_roof_measure(int n_thread, tk_roof *out, tk_err *err)
{
    tk_pool *pool = NULL;
    tk_topology machine;
    tk_probe probe;
    void *data = NULL;
    size_t data_bytes = (size_t)n_thread * TK_PROBE_DATA_BYTES;
    job j = {.probe = &probe};
    tk_status st;
    *out = tk_roof_unknown(n_thread);
    j.mix = tk_alloc((size_t)n_thread * sizeof *j.mix);
    j.ops = tk_alloc((size_t)n_thread * sizeof *j.ops);
    tk_probe_fill(&probe);
    TK_TRY(tk_topology_load(NULL, &machine, err));
    TK_TRY(tk_topology_pool(&machine, n_thread, &pool, err));
    TK_TRY(tk_mem_map(data_bytes, "the roof probes", &data, err));
    j.data = data;
    fill_data(j.data, data_bytes);
    measure_read(pool, &j, out);
    out->fma_flop_per_s = measure_rate(pool, &j, probe.fma_f32);
    out->int8_op_per_s = measure_rate(pool, &j, probe.dot_i8);
    out->bf16_flop_per_s = measure_rate(pool, &j, probe.dot_bf16);
    out->amx_int8_op_per_s = measure_rate(pool, &j, probe.amx_i8);
    out->amx_bf16_flop_per_s = measure_rate(pool, &j, probe.amx_bf16);
done:
    tk_pool_free(pool);
    tk_mem_unmap(data, data_bytes);
    tk_free(j.mix);
    tk_free(j.ops);
    return st;
}
