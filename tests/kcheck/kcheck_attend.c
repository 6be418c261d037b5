// SPDX-License-Identifier: MIT
// kcheck: attention with BF16 products, against sums in double.
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct cache {
    int n_row, d;
    size_t row_bytes;
    char *rows;
    float *value; // [n_row][d], what the rows mean
} cache;

static cache make_cache(const tk_kernels *ref, tk_kv_dtype type, int n_row, int d)
{
    cache c = {.n_row = n_row, .d = d, .row_bytes = tk_kv_row_bytes(type, d)};
    size_t bytes = (size_t)n_row * c.row_bytes;
    c.rows = (char *)guarded((bytes + 3) / 4) + (4 - bytes % 4) % 4;
    c.value = guarded((size_t)(n_row * d));
    float *in = fill(guarded((size_t)d), (size_t)d), one = 1;
    memset(c.value, 0, (size_t)(n_row * d) * sizeof(float));
    for (int i = 0; i < n_row; i++) {
        fill(in, (size_t)d);
        char *row = c.rows + (size_t)i * c.row_bytes;
        ref->kv_store[type](in, d, row);
        ref->kv_mix[type](&one, 1, 1, row, c.row_bytes, 1, d, c.value + i * d, d);
    }
    return c;
}

// What rounding a factor to BF16 may cost of the sum of absolute products, and adding n of them.
static double bound(double abs_sum, int n_rounded, int n)
{
    return abs_sum * (n_rounded * 0x1p-8 + (n + 8) * 0x1p-23) + 1e-30;
}

static bool check_scores(const tk_kernels *k, const tk_kernels *ref, tk_kv_dtype type,
                         const cache *c, int n_head)
{
    size_t nq = (size_t)(n_head * c->d), ns = (size_t)(n_head * (c->n_row + 3));
    float *q = fill(guarded(nq), nq), *got = guarded(ns);
    uint16_t *h = (uint16_t *)(void *)guarded((nq + 1) / 2);
    ref->kv_store[TK_KV_BF16](q, (int)nq, h);
    int lds = c->n_row + 3;
    for (size_t i = 0; i < ns; i++) got[i] = -77;
    k->kv_scores_wide[type](h, c->d, n_head, c->rows, c->row_bytes, c->n_row, c->d, 0.125f, got,
                            lds);
    bool ok = true;
    for (int i = 0; i < n_head; i++) {
        for (int r = c->n_row; r < lds; r++) ok &= got[i * lds + r] == -77;
        for (int r = 0; r < c->n_row; r++) {
            double sum = 0, size = 0;
            for (int j = 0; j < c->d; j++) {
                double p = 0.125 * (double)q[i * c->d + j] * (double)c->value[r * c->d + j];
                sum += p;
                size += fabs(p);
            }
            ok &= near(got[i * lds + r], (float)sum, bound(size, type == TK_KV_FP8 ? 2 : 1, c->d));
        }
    }
    return ok;
}

static bool check_mix(const tk_kernels *k, tk_kv_dtype type, const cache *c, int n_head)
{
    size_t np = (size_t)(n_head * c->n_row), no = (size_t)(n_head * c->d);
    float *p = fill(guarded(np), np), *got = fill(guarded(no), no), *before = guarded(no);
    memcpy(before, got, no * sizeof *got);
    k->kv_mix_wide[type](p, c->n_row, n_head, c->rows, c->row_bytes, c->n_row, c->d, got, c->d);
    bool ok = true;
    for (int i = 0; i < n_head; i++)
        for (int j = 0; j < c->d; j++) {
            double sum = before[i * c->d + j], size = fabs(sum) * 0x1p-4;
            for (int r = 0; r < c->n_row; r++) {
                double x = (double)p[i * c->n_row + r] * (double)c->value[r * c->d + j];
                sum += x;
                size += fabs(x);
            }
            ok &= near(got[i * c->d + j], (float)sum,
                       bound(size, type == TK_KV_FP8 ? 2 : 1, c->n_row));
        }
    return ok;
}

void check_attend_wide(const tk_kernels *k, const tk_kernels *ref)
{
    static const int ds[] = {8, 20, 64, 72, 128, 160, 576, TK_KV_WIDE_MOST},
                     rows[] = {1, 2, 15, 16, 17, 33, 64, 100}, heads[] = {1, 4, 7, 8, 13, 70};
    for (int type = 0; type < TK_KV_DTYPE_COUNT; type++) {
        char name[48];
        snprintf(name, sizeof name, "wide scores/mix %s", tk_kv_dtype_name((tk_kv_dtype)type));
        if (!k->kv_scores_wide[type] || !wanted(name)) continue;
        bool ok = true;
        for (size_t i = 0; i < TK_COUNT(ds); i++)
            for (size_t j = 0; j < TK_COUNT(rows); j++) {
                cache c = make_cache(ref, (tk_kv_dtype)type, rows[j], ds[i]);
                int n_head = heads[(i + j) % TK_COUNT(heads)];
                ok &= check_scores(k, ref, (tk_kv_dtype)type, &c, n_head);
                ok &= check_mix(k, (tk_kv_dtype)type, &c, n_head);
            }
        row(name, k->isa, ok);
    }
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void say(const char *what, tk_kv_dtype type, const cache *c, int n_head, double ns)
{
    printf("%-6s %-4s d %-4d x %-3d queries %8.1f GFLOP/s\n", what, tk_kv_dtype_name(type), c->d,
           n_head, 2.0 * c->d * c->n_row * n_head / ns);
}

// One cache block of 64 rows, the best of many runs.
static void bench_one(const tk_kernels *k, tk_kv_dtype type, const cache *c, int n_head, bool wide)
{
    enum { TIMES = 2000 };
    size_t nq = (size_t)(n_head * c->d), ns = (size_t)(n_head * c->n_row);
    float *q = fill(guarded(nq), nq), *s = guarded(ns), *out = guarded(nq);
    uint16_t *h = (uint16_t *)(void *)guarded((nq + 1) / 2);
    memset(out, 0, nq * sizeof *out);
    k->kv_store[TK_KV_BF16](q, (int)nq, h);
    double score = INFINITY, mix = INFINITY;
    for (int i = 0; i < TIMES; i++) {
        double t0 = now_ns();
        if (wide)
            k->kv_scores_wide[type](h, c->d, n_head, c->rows, c->row_bytes, c->n_row, c->d, 0.1f, s,
                                    c->n_row);
        else
            k->kv_scores[type](q, c->d, n_head, c->rows, c->row_bytes, c->n_row, c->d, 0.1f, s,
                               c->n_row);
        double t1 = now_ns();
        (wide ? k->kv_mix_wide : k->kv_mix)[type](s, c->n_row, n_head, c->rows, c->row_bytes,
                                                  c->n_row, c->d, out, c->d);
        score = fmin(score, t1 - t0);
        mix = fmin(mix, now_ns() - t1);
    }
    say(wide ? "wide q" : "q", type, c, n_head, score);
    say(wide ? "wide p" : "p", type, c, n_head, mix);
}

void bench_attend(const tk_kernels *k)
{
    static const int ds[] = {64, 128, 576}, heads[] = {4, 8, 16, 64};
    tk_kernels ref;
    tk_kernels_fill(&ref, TK_ISA_REF);
    if (k->isa == TK_ISA_REF || !wanted("attend")) return;
    for (size_t i = 0; i < TK_COUNT(ds); i++)
        for (int type = TK_KV_BF16; type <= TK_KV_FP8; type++) {
            cache c = make_cache(&ref, (tk_kv_dtype)type, 64, ds[i]);
            for (size_t j = 0; j < TK_COUNT(heads); j++) {
                bench_one(k, (tk_kv_dtype)type, &c, heads[j], false);
                if (k->kv_scores_wide[type]) bench_one(k, (tk_kv_dtype)type, &c, heads[j], true);
            }
        }
}
