// SPDX-License-Identifier: MIT
// `tokamak plan --calibrate`: measures this machine as the engine uses it and writes a hardware entry. Reached
// rates, not data-sheet peaks: an entry made here says so.
#include "cli/plan.h"

#include "base/clock.h"
#include "base/pool.h"
#include "hw/cpu.h"
#include "hw/mem.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    MM_TOK = 16,
    MM_ROW = 64,
    MM_K = 1024,
    MM_REPEAT = 10,
    CHUNKS = 8,
    PIECE = 16 << 20,
    RUNS = 96
};

typedef struct bench {
    const uint64_t *data;
    size_t n; // words
    uint64_t sum[CHUNKS];
    tk_mm_fn mm;
    float *w, *x, *y; // of each item
} bench;

static void read_item(void *ctx, int i, int thread)
{
    (void)thread;
    bench *b = ctx;
    const uint64_t *p = b->data + b->n / CHUNKS * (size_t)i, *end = p + b->n / CHUNKS;
    uint64_t s[8] = {0}; // as many streams as hide an addition's latency
    for (; p + 8 <= end; p += 8)
        for (int k = 0; k < 8; k++) s[k] += p[k];
    for (int k = 1; k < 8; k++) s[0] += s[k];
    b->sum[i] = s[0];
}

static void mm_item(void *ctx, int i, int thread)
{
    (void)thread;
    bench *b = ctx;
    float *w = b->w + (size_t)i * MM_ROW * MM_K, *x = b->x + (size_t)i * MM_TOK * MM_K,
          *y = b->y + (size_t)i * MM_TOK * MM_ROW;
    for (int r = 0; r < MM_REPEAT; r++) b->mm(w, MM_K, MM_ROW, x, MM_K, MM_TOK, MM_K, y, MM_ROW);
}

// Short runs, the best of many: a run that the system gave to someone else half-way says nothing. step moves the
// bytes that are read, so that no cache still holds them.
static double best_of(tk_pool *pool, int n, tk_pool_fn fn, bench *b, size_t step, size_t room)
{
    double best = INFINITY;
    const uint64_t *base = b->data;
    for (size_t t = 0; t < RUNS; t++) {
        b->data = base + (step ? t * step % room : 0);
        uint64_t start = tk_clock_ns();
        tk_pool_run(pool, n, fn, b);
        best = fmin(best, (double)(tk_clock_ns() - start) * 1e-9);
    }
    b->data = base;
    return best;
}

static json_t *number(double v, const char *unit)
{
    return json_pack("{s:f, s:s, s:s}", "value", v, "unit", unit, "source", "measured");
}

static json_t *entry(const char *cpu, int n_thread, const char *isa, double bytes_per_s,
                     double flops)
{
    char date[16], title[96], what[160];
    time_t now = time(NULL);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%Y-%m-%d", &tm);
    snprintf(title, sizeof title, "this machine: %.60s", cpu);
    snprintf(what, sizeof what,
             "tokamak plan --calibrate: %d threads, %s kernels; rates reached, float32 products",
             n_thread, isa);
    // whole GB, as labels are
    double total = floor((double)tk_mem_total_bytes() * 1e-9);
    double free_gb = fmin(total, (double)tk_mem_available_bytes() * 1e-9);
    return json_pack("{s:s, s:s, s:s, s:s, s:[], s:o, s:o, s:o, s:o, s:o, s:{s:{s:s, s:s}}}",
                     "name", "this-machine", "title", title, "kind", "cpu", "generation", "cpu",
                     "aliases", "bf16", number(flops * 1e-12, "TFLOP/s dense"), "memory",
                     number(fmax(total, 1), "GB"), "memory_usable",
                     number(fmax(free_gb, 0.1), "GB"), "memory_bandwidth",
                     number(bytes_per_s * 1e-12, "TB/s"), "scale_up", number(1, "accelerators"),
                     "sources", "measured", "what", what, "date", date);
}

static tk_status measure(tk_pool *pool, bench *b, double *bytes_per_s, double *flops, tk_err *err)
{
    // far beyond any cache, but not more than a quarter of what is free
    size_t bytes = 512u << 20, quarter = (size_t)(tk_mem_available_bytes() / 4);
    if (bytes > quarter) bytes = quarter;
    bytes &= ~(size_t)4095;
    int n = tk_pool_threads(pool);
    size_t wn = (size_t)n * MM_ROW * MM_K * sizeof(float),
           xn = (size_t)n * MM_TOK * MM_K * sizeof(float),
           yn = (size_t)n * MM_TOK * MM_ROW * sizeof(float);
    void *data = NULL, *mem = NULL;
    tk_status st;
    TK_TRY(tk_mem_map(bytes, "the bandwidth test", &data, err));
    TK_TRY(tk_mem_map(wn + xn + yn, "the arithmetic test", &mem, err));
    memset(data, 1, bytes);
    b->data = data;
    b->n = TK_MIN(bytes, (size_t)PIECE) / 8;
    size_t room = bytes / 8 - b->n + 1;
    *bytes_per_s = (double)b->n * 8 / best_of(pool, CHUNKS, read_item, b, b->n, room);
    b->w = mem;
    b->x = b->w + wn / sizeof(float);
    b->y = b->x + xn / sizeof(float);
    double flop = 2.0 * MM_TOK * MM_ROW * MM_K * MM_REPEAT * n;
    *flops = flop / best_of(pool, n, mm_item, b, 0, 1);
done:
    tk_mem_unmap(data, bytes);
    tk_mem_unmap(mem, wn + xn + yn);
    return st;
}

tk_status tk_plan_calibrate(const tk_plan_call *c, tk_err *err)
{
    tk_kernels k;
    tk_isa highest;
    tk_pool *pool = NULL;
    bench b = {0};
    double bytes_per_s = 0, flops = 0;
    tk_status st;
    TK_TRY(tk_kernels_allowed(&highest, err));
    tk_kernels_fill(&k, highest);
    b.mm = k.mm;
    TK_TRY(tk_pool_new(tk_pool_cpu_count(), &pool, err));
    TK_TRY(measure(pool, &b, &bytes_per_s, &flops, err));
    json_t *j =
        entry(tk_cpu_get()->model, tk_pool_threads(pool), tk_isa_name(k.isa), bytes_per_s, flops);
    tk_hw h;
    st = tk_catalog_read_hw(j, NULL, "this machine", &h, err); // what it writes, it can read
    if (st != TK_OK) json_decref(j);
    TK_TRY(st);
    printf("%s\n  reads %.1f GB/s with %d threads, %.1f GFLOP/s float32 (%s)\n", h.title,
           bytes_per_s * 1e-9, tk_pool_threads(pool), flops * 1e-9, tk_isa_name(k.isa));
    if (c->o->json == NULL)
        printf("  --json data/hardware/this-machine.json makes it a system of the catalogue\n");
    TK_TRY(tk_plan_write_json(j, c->o->json, err));
done:
    tk_pool_free(pool);
    return st;
}
