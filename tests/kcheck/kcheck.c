// SPDX-License-Identifier: MIT
// kcheck [--bench] [FILTER]: every slot of the kernel table on every instruction set, against ref. One line a
// row; exit 1 on any mismatch. Operands end at a guard page, outputs are poisoned around their edges.
//
// Bounds: decoders are equal (of zeros the sign may differ). Sums of n products differ from ref (double) by at most
// (n + 8) * 2^-24 * sum |a b|: each product and each addition of a float32 chain rounds once. Exponentials
// have a relative error below 4e-7 (kernels/tmpl/math_tmpl.h); their argument stops at 88, so silu of less
// than -88 is below 1e-34 instead of below 1e-37.
#include "base/clock.h"
#include "kcheck.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { POISON = 16 };

tk_rng rng = {.state = 20261124};
static int n_passed, n_failed;
static const char *filter;

// What guarded has mapped for the present row: a process may have 65,530 mappings.
static struct mapping {
    char *p;
    size_t bytes;
} * mappings;
static size_t n_mapping;

static void unmap_all(void)
{
    while (n_mapping > 0) {
        n_mapping--;
        munmap(mappings[n_mapping].p, mappings[n_mapping].bytes);
    }
}

float *guarded(size_t n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE),
           bytes = (n * sizeof(float) + page - 1) / page * page;
    char *p = mmap(NULL, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || mprotect(p + bytes, page, PROT_NONE) != 0) abort();
    mappings = realloc(mappings, (n_mapping + 1) * sizeof *mappings);
    mappings[n_mapping++] = (struct mapping){p, bytes + page};
    return (float *)(void *)(p + bytes) - n;
}

static float noise(void)
{
    int kind = (int)tk_rng_below(&rng, 20);
    float x = (float)(tk_rng_unit(&rng) * 2 - 1);
    return kind == 0 ? 0 : kind == 1 ? x * 1e-38f : kind == 2 ? x * 100 : x;
}

float *fill(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = noise();
    return p;
}

void row(const char *op, tk_isa isa, bool ok)
{
    *(ok ? &n_passed : &n_failed) += 1;
    printf("%-28s %-7s %s\n", op, tk_isa_name(isa), ok ? "ok" : "MISMATCH");
    unmap_all();
}

bool wanted(const char *op)
{
    return filter == NULL || strstr(op, filter) != NULL;
}

static const float mark = -123456.75f;

bool near(float a, float b, double bound)
{
    return a == b || fabs((double)a - b) <= bound || (isnan(a) && isnan(b));
}

static bool check_mm_shape(const tk_kernels *k, int n_row, int n_tok, int n_k)
{
    size_t ldw = (size_t)n_k + 3, ldx = (size_t)n_k + 5, ldy = (size_t)n_row + POISON;
    float *w = fill(guarded((size_t)(n_row - 1) * ldw + (size_t)n_k),
                    (size_t)(n_row - 1) * ldw + (size_t)n_k);
    float *x = fill(guarded((size_t)(n_tok - 1) * ldx + (size_t)n_k),
                    (size_t)(n_tok - 1) * ldx + (size_t)n_k);
    float *y = guarded((size_t)n_tok * ldy), *one = guarded(1);
    bool ok = true;
    for (size_t i = 0; i < (size_t)n_tok * ldy; i++) y[i] = mark;
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < n_row; r++) y[(size_t)t * ldy + (size_t)r] = 0.5f;
    k->mm(w, (int64_t)ldw, n_row, x, (int64_t)ldx, n_tok, n_k, y, (int64_t)ldy);
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < (int)ldy; r++) {
            float got = y[(size_t)t * ldy + (size_t)r];
            if (r >= n_row) {
                ok &= got == mark;
                continue;
            }
            double sum = 0.5, size = 1;
            for (int i = 0; i < n_k; i++) {
                double p = (double)w[(size_t)r * ldw + (size_t)i] * x[(size_t)t * ldx + (size_t)i];
                sum += p;
                size += fabs(p);
            }
            ok &= near(got, (float)sum, (n_k + 8) * 0x1p-24 * size);
            *one = 0.5f; // alone, a value must come out the same bit for bit
            k->mm(w + (size_t)r * ldw, (int64_t)ldw, 1, x + (size_t)t * ldx, (int64_t)ldx, 1, n_k,
                  one, 1);
            ok &= memcmp(one, &got, sizeof got) == 0;
        }
    return ok;
}

static void check_mm(const tk_kernels *k, tk_isa isa)
{
    static const int ks[] = {1, 15, 16, 17, 31, 64, 100, 1024};
    bool ok = true;
    if (!wanted("mm")) return;
    for (size_t i = 0; i < TK_COUNT(ks); i++)
        for (int r = 1; r <= 9; r += i == 7 ? 4 : 1)
            for (int t = 1; t <= 8; t += i == 7 ? 5 : 1) ok &= check_mm_shape(k, r, t, ks[i]);
    row("mm", isa, ok);
}

static void check_rows(const tk_kernels *k, const tk_kernels *ref, tk_isa isa)
{
    static const int ns[] = {1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 100, 576};
    bool norm = true, swiglu = true, axpy = true, exps = true, rope = true;
    for (size_t i = 0; i < TK_COUNT(ns); i++) {
        int n = ns[i];
        size_t z = (size_t)n;
        float *a = fill(guarded(z), z), *b = fill(guarded(z), z), *got = guarded(z),
              *want = guarded(z);
        k->rmsnorm(a, b, 1e-6f, n, got);
        ref->rmsnorm(a, b, 1e-6f, n, want);
        for (int j = 0; j < n; j++)
            norm &= near(got[j], want[j], fabs((double)want[j]) * (n + 8) * 0x1p-24 + 1e-37);
        k->swiglu(a, b, n, got);
        ref->swiglu(a, b, n, want);
        for (int j = 0; j < n; j++)
            swiglu &= near(got[j], want[j], fabs((double)want[j]) * 2e-6 + 1e-33);
        memcpy(got, b, z * 4);
        memcpy(want, b, z * 4);
        k->axpy(0.3f, a, n, got);
        ref->axpy(0.3f, a, n, want);
        for (int j = 0; j < n; j++)
            axpy &= near(got[j], want[j],
                         0x1p-23 * (fabs((double)b[j]) + fabs(0.3 * (double)a[j])) + 1e-44);
        float max = -INFINITY;
        for (int j = 0; j < n; j++) max = fmaxf(max, a[j]);
        memcpy(got, a, z * 4);
        memcpy(want, a, z * 4);
        if (n > 2) got[1] = want[1] = -INFINITY;
        float s = k->exp_sum(got, max, n), t = ref->exp_sum(want, max, n);
        exps &= near(s, t, t * (n + 8) * 1e-6);
        for (int j = 0; j < n; j++) exps &= near(got[j], want[j], want[j] * 4e-6 + 1e-37);
        if (n > 2) exps &= got[1] == 0;
    }
    for (int pairs = 1; pairs <= 40; pairs++)
        for (int inter = 0; inter < 2; inter++) {
            size_t z = (size_t)pairs * 2;
            float *c = fill(guarded(z / 2), z / 2), *s = fill(guarded(z / 2), z / 2);
            float *got = fill(guarded(z), z), *want = guarded(z), *in = guarded(z);
            memcpy(want, got, z * 4);
            memcpy(in, got, z * 4);
            k->rope(got, c, s, pairs, inter);
            ref->rope(want, c, s, pairs, inter);
            for (size_t j = 0; j < z; j++)
                rope &= near(got[j], want[j], 1e-6 * (fabs((double)want[j]) + 200));
        }
    if (wanted("rmsnorm")) row("rmsnorm", isa, norm);
    if (wanted("swiglu")) row("swiglu", isa, swiglu);
    if (wanted("axpy")) row("axpy", isa, axpy);
    if (wanted("exp_sum")) row("exp_sum", isa, exps);
    if (wanted("rope")) row("rope", isa, rope);
}

// The running softmax over two stretches of scores, the second hidden in part.
static bool check_softmax(const tk_kernels *k, const tk_kernels *ref, int n_row, int d)
{
    bool ok = true;
    size_t z = (size_t)n_row, zd = (size_t)d;
    float *s1 = guarded(z), *s2 = guarded(z), *o1 = guarded(zd), *o2 = guarded(zd);
    for (int n_seen = 0; n_seen <= n_row; n_seen += 1 + n_row / 5)
        for (int first = 0; first <= n_seen; first += 1 + n_row / 3) {
            float m1 = -INFINITY, m2 = m1, sum1 = 0, sum2 = 0;
            memset(o1, 0, zd * 4);
            for (int again = 0; again < 2; again++) {
                fill(s1, z);
                for (int i = 0; i < n_row; i++) s1[i] *= 0.3f;
                memcpy(s2, s1, z * 4);
                memcpy(o2, o1, zd * 4);
                int end = again ? n_seen : n_row, begin = again ? first : 0;
                k->softmax(s1, begin, end, n_row, &m1, &sum1, o1, d);
                ref->softmax(s2, begin, end, n_row, &m2, &sum2, o2, d);
                ok &= m1 == m2 && near(sum1, sum2, sum2 * (n_row + 8) * 1e-6);
                for (int i = 0; i < n_row; i++) ok &= near(s1[i], s2[i], s2[i] * 4e-5 + 1e-37);
                for (int i = 0; i < d; i++)
                    ok &= near(o1[i], o2[i], fabs((double)o2[i]) * 8e-6 + 1e-37);
                fill(o1, zd);
            }
        }
    return ok;
}

static bool check_cache_shape(const tk_kernels *k, const tk_kernels *ref, tk_kv_dtype type, int d,
                              int n_row, int n_head)
{
    size_t row_bytes = tk_kv_row_bytes(type, d), bytes = (size_t)n_row * row_bytes;
    float *store = guarded((bytes + 3) / 4), *in = fill(guarded((size_t)d), (size_t)d);
    char *rows = (char *)store;
    bool ok = true;
    char *want_row = calloc(1, row_bytes);
    memset(rows, 0, bytes);
    for (int i = 0; i < n_row; i++) {
        fill(in, (size_t)d);
        k->kv_store[type](in, d, rows + (size_t)i * row_bytes);
        ref->kv_store[type](in, d, want_row);
        ok &= memcmp(rows + (size_t)i * row_bytes, want_row, row_bytes) == 0;
    }
    size_t nq = (size_t)n_head * (size_t)d, ns = (size_t)n_head * (size_t)n_row;
    float *q = fill(guarded(nq), nq), *s1 = guarded(ns), *s2 = guarded(ns),
          *o1 = fill(guarded(nq), nq), *o2 = guarded(nq);
    memcpy(o2, o1, nq * 4);
    k->kv_scores[type](q, d, n_head, rows, row_bytes, n_row, d, 0.125f, s1, n_row);
    ref->kv_scores[type](q, d, n_head, rows, row_bytes, n_row, d, 0.125f, s2, n_row);
    for (size_t i = 0; i < ns; i++) ok &= near(s1[i], s2[i], 0.125 * 1e4 * d * (d + 8) * 0x1p-24);
    float *one = calloc(ns, sizeof *one); // a head alone gives the same bits
    for (int h = 0; h < n_head; h++)
        k->kv_scores[type](q + h * d, d, 1, rows, row_bytes, n_row, d, 0.125f, one + h * n_row,
                           n_row);
    ok &= memcmp(one, s1, ns * 4) == 0;
    float *apart = calloc(nq, sizeof *apart);
    memcpy(apart, o1, nq * 4);
    for (int h = 0; h < n_head; h++)
        k->kv_mix[type](s2 + h * n_row, n_row, 1, rows, row_bytes, n_row, d, apart + h * d, d);
    k->kv_mix[type](s2, n_row, n_head, rows, row_bytes, n_row, d, o1, d);
    ok &= memcmp(apart, o1, nq * 4) == 0;
    ref->kv_mix[type](s2, n_row, n_head, rows, row_bytes, n_row, d, o2, d);
    for (int h = 0; h < n_head; h++) {
        double most = 100; // of the terms' absolute sum: values are at most 100
        for (int i = 0; i < n_row; i++) most += 100 * fabs((double)s2[h * n_row + i]);
        for (int i = 0; i < d; i++)
            ok &= near(o1[h * d + i], o2[h * d + i], most * (n_row + 8) * 0x1p-24);
    }
    free(want_row);
    free(one);
    free(apart);
    return ok;
}

static void check_cache(const tk_kernels *k, const tk_kernels *ref, tk_isa isa)
{
    static const char *const names[] = {"kv_store/scores/mix f32", "kv_store/scores/mix bf16",
                                        "kv_store/scores/mix fp8"};
    static const int ds[] = {8, 20, 24, 64, 72, 128, 160, 576};
    for (int type = 0; type < TK_KV_DTYPE_COUNT; type++) {
        bool ok = true;
        if (!wanted(names[type])) continue;
        for (size_t i = 0; i < TK_COUNT(ds); i++)
            for (int rows = 1; rows <= 64; rows += 21)
                for (int heads = 1; heads <= 7; heads += 3)
                    ok &= check_cache_shape(k, ref, (tk_kv_dtype)type, ds[i], rows, heads);
        row(names[type], isa, ok);
    }
    bool softmax = true;
    if (!wanted("softmax")) return;
    for (int n_row = 1; n_row <= 64; n_row += 7)
        for (size_t i = 0; i < TK_COUNT(ds); i++) softmax &= check_softmax(k, ref, n_row, ds[i]);
    row("softmax", isa, softmax);
}

void random_codes(uint8_t *p, size_t n, tk_dtype t)
{
    for (size_t i = 0; i < n; i++) {
        p[i] = (uint8_t)tk_rng_u64(&rng);
        if (t == TK_DTYPE_F8_E4M3 && (p[i] & 0x7F) == 0x7F) p[i] = 0x7E;
        if (t >= TK_DTYPE_Q4_0 && t != TK_DTYPE_MXFP4 && (p[i] & 0x7C) == 0x7C)
            p[i] &= 0x83; // no half is NaN
        if (t == TK_DTYPE_MXFP4 && p[i] == 255) p[i] = 254;
        if ((t == TK_DTYPE_F16 || t == TK_DTYPE_BF16 || t == TK_DTYPE_F32) && (p[i] & 0x7C) == 0x7C)
            p[i] &= 0xBB;
    }
}

static bool check_decode_shape(const tk_kernels *k, tk_dtype t, tk_scale_kind scale, int group,
                               int64_t n)
{
    int len = tk_dtype_block_len(t);
    int64_t n_in = TK_MAX((n + len - 1) / len * len, (int64_t)len);
    enum { ROWS = 3 };
    size_t row_bytes = (size_t)tk_dtype_bytes(t, n_in), cols = (size_t)((n_in + group - 1) / group);
    uint8_t *codes =
        (uint8_t *)guarded((ROWS * row_bytes + 3) / 4) + (4 - ROWS * row_bytes % 4) % 4;
    float *scales = guarded(ROWS * cols), *got = guarded(((size_t)n_in + 15) / 16 * 16),
          *want = guarded((size_t)n_in);
    random_codes(codes, ROWS * row_bytes, t);
    for (size_t i = 0; i < ROWS * cols; i++) scales[i] = (float)tk_rng_unit(&rng) * 0.01f;
    tk_matrix w = {.data = codes,
                   .row_bytes = row_bytes,
                   .n_out = ROWS,
                   .n_in = n_in,
                   .dtype = t,
                   .scale_kind = scale,
                   .scale_dtype = TK_DTYPE_F32,
                   .scale = scales,
                   .scale_cols = (int64_t)cols,
                   .block_out = scale == TK_SCALE_BLOCK2D ? 2 : 1,
                   .block_in = group,
                   .scale_global = 0.37f};
    bool ok = true;
    for (int r = 0; r < ROWS; r++) {
        k->decode[t](&w, r, 0, n_in, got);
        tk_matrix_decode(&w, r, 0, n_in, want);
        for (int64_t i = 0; i < n_in; i++) ok &= near(got[i], want[i], 0);
    }
    return ok;
}

static void check_decode(const tk_kernels *k, tk_isa isa)
{
    static const int64_t ns[] = {1, 15, 16, 33, 100, 256, 512, 1024};
    for (int t = 0; t < TK_DTYPE_COUNT; t++) {
        char name[40];
        bool ok = true;
        snprintf(name, sizeof name, "decode %s", tk_dtype_name((tk_dtype)t));
        if (!wanted(name)) continue;
        for (size_t i = 0; i < TK_COUNT(ns); i++) {
            bool fp4 = t == TK_DTYPE_F4_E2M1, fp8 = t == TK_DTYPE_F8_E4M3;
            bool ints = t == TK_DTYPE_I4 || t == TK_DTYPE_I8;
            if (!fp4) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_NONE, 1 << 20, ns[i]);
            if (fp8) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_BLOCK2D, 128, ns[i]);
            if (fp8) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_BLOCK2D, 1 << 20, ns[i]);
            if (fp4) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_GROUP, 16, ns[i]);
            if (fp4 || ints) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_GROUP, 32, ns[i]);
            if (ints) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_GROUP, 128, ns[i]);
            if (ints) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_GROUP, 1 << 20, ns[i]);
            if (ints) ok &= check_decode_shape(k, (tk_dtype)t, TK_SCALE_BLOCK2D, 1 << 20, ns[i]);
        }
        row(name, isa, ok);
    }
}

static void bench(const tk_kernels *k, tk_isa isa)
{
    enum { ROWS = 16, COLS = 1024, TOKS = 64, TIMES = 400 };
    float *w = fill(guarded(ROWS * COLS), ROWS * COLS),
          *x = fill(guarded(TOKS * COLS), TOKS * COLS), *y = guarded(TOKS * ROWS);
    static const int toks[] = {1, TOKS};
    for (size_t i = 0; i < TK_COUNT(toks) && wanted("mm"); i++) {
        uint64_t best = UINT64_MAX;
        for (int r = 0; r < TIMES; r++) {
            uint64_t t0 = tk_clock_ns();
            k->mm(w, COLS, ROWS, x, COLS, toks[i], COLS, y, ROWS);
            best = TK_MIN(best, tk_clock_ns() - t0);
        }
        printf("mm %d x %d x %d  %-7s %8.1f GFLOP/s\n", ROWS, toks[i], COLS, tk_isa_name(isa),
               2.0 * ROWS * COLS * toks[i] / (double)best);
    }
    for (int t = 0; t < TK_DTYPE_COUNT; t++) {
        if (t == TK_DTYPE_F4_E2M1 || (t > TK_DTYPE_F8_E5M2 && t < TK_DTYPE_Q4_0)) continue;
        if (!wanted("decode")) break;
        size_t row_bytes = (size_t)tk_dtype_bytes((tk_dtype)t, COLS);
        uint8_t *codes = (uint8_t *)guarded(ROWS * row_bytes / 4 + 1);
        random_codes(codes, ROWS * row_bytes, (tk_dtype)t);
        tk_matrix m = {.data = codes,
                       .row_bytes = row_bytes,
                       .n_out = ROWS,
                       .n_in = COLS,
                       .dtype = (tk_dtype)t};
        uint64_t best = UINT64_MAX;
        for (int r = 0; r < TIMES; r++) {
            uint64_t t0 = tk_clock_ns();
            for (int i = 0; i < ROWS; i++) k->decode[t](&m, i, 0, COLS, w + i * COLS);
            best = TK_MIN(best, tk_clock_ns() - t0);
        }
        printf("decode %-8s     %-7s %8.1f GB/s\n", tk_dtype_name((tk_dtype)t), tk_isa_name(isa),
               (double)(ROWS * row_bytes) / (double)best);
    }
}

int main(int argc, char **argv)
{
    bool timing = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--bench") == 0)
            timing = true;
        else
            filter = argv[i];
    }
    tk_kernels ref;
    tk_isa highest;
    if (tk_kernels_allowed(&highest, NULL) != TK_OK) return 2;
    tk_kernels_fill(&ref, TK_ISA_REF);
    for (int isa = TK_ISA_REF; isa <= (int)highest; isa++) {
        tk_kernels k;
        tk_kernels_fill(&k, (tk_isa)isa);
        if ((int)k.isa != isa) continue; // this machine does not have it
        if (timing) {
            bench(&k, k.isa);
            bench_gemm(&k);
            bench_attend(&k);
            continue;
        }
        check_mm(&k, k.isa);
        check_rows(&k, &ref, k.isa);
        check_cache(&k, &ref, k.isa);
        check_decode(&k, k.isa);
        check_quantise(&k, &ref);
        check_gemm(&k, &ref);
        check_gemm_wide(&k, &ref);
        check_attend_wide(&k, &ref);
    }
    if (timing) return 0;
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed > 0 || n_passed == 0;
}
