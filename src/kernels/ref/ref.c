// SPDX-License-Identifier: MIT
// The reference kernels: the definition every faster one is compared with. Sums are kept in double, so that
// a difference found by kcheck is the other side's.
#include "kernels/kernels.h"

#include "num/convert.h"

#include <math.h>
#include <string.h>

static TK_FN_DECODE(decode)
{
    tk_matrix_decode(w, row, col, n, out);
}

// Four partial sums let the compiler keep several adds in flight; their order is fixed.
static double dot(const float *a, const float *b, int64_t n)
{
    double s[4] = {0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) s[j] += (double)a[i + j] * b[i + j];
    for (; i < n; i++) s[0] += (double)a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static TK_FN_MM(mm)
{
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < n_row; r++) y[t * ldy + r] += (float)dot(w + r * ldw, x + t * ldx, n_k);
}

static TK_FN_RMSNORM(rmsnorm)
{
    float scale = (float)(1 / sqrt(dot(x, x, n) / n + eps));
    for (int i = 0; i < n; i++) y[i] = x[i] * scale * w[i];
}

static TK_FN_ROPE(rope)
{
    int step = interleaved ? 2 : 1, apart = interleaved ? 1 : n_pair;
    for (int i = 0; i < n_pair; i++) {
        float *a = x + i * step, *b = a + apart;
        float ra = *a * cos[i] - *b * sin[i];
        *b = *b * cos[i] + *a * sin[i];
        *a = ra;
    }
}

static TK_FN_SWIGLU(swiglu)
{
    for (int i = 0; i < n; i++) out[i] = (float)(gate[i] / (1 + exp(-(double)gate[i])) * up[i]);
}

static TK_FN_AXPY(axpy)
{
    for (int i = 0; i < n; i++) y[i] += a * x[i];
}

static TK_FN_EXP_SUM(exp_sum)
{
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] = (float)exp((double)x[i] - max);
    return (float)sum;
}

static float load_f32(const void *row, int j)
{
    return ((const float *)row)[j];
}

static float load_bf16(const void *row, int j)
{
    return tk_f32_from_bf16(((const uint16_t *)row)[j]);
}

#define SCORES(name, load)                                                                         \
    static TK_FN_KV_SCORES(name)                                                                   \
    {                                                                                              \
        for (int i = 0; i < n_row; i++) {                                                          \
            const void *row = (const char *)kv + (size_t)i * row_bytes;                            \
            for (int h = 0; h < n_head; h++) {                                                     \
                double s = 0;                                                                      \
                for (int j = 0; j < d; j++) s += (double)q[h * ldq + j] * load(row, j);            \
                scores[h * lds + i] = (float)(s * scale);                                          \
            }                                                                                      \
        }                                                                                          \
    }

#define MIX(name, load)                                                                            \
    static TK_FN_KV_MIX(name)                                                                      \
    {                                                                                              \
        for (int i = 0; i < n_row; i++) {                                                          \
            const void *row = (const char *)kv + (size_t)i * row_bytes;                            \
            for (int h = 0; h < n_head; h++) {                                                     \
                float weight = p[h * ldp + i];                                                     \
                for (int j = 0; j < d; j++) out[h * ldo + j] += weight * load(row, j);             \
            }                                                                                      \
        }                                                                                          \
    }

SCORES(kv_scores_f32, load_f32)
SCORES(kv_scores_bf16, load_bf16)
MIX(kv_mix_f32, load_f32)
MIX(kv_mix_bf16, load_bf16)

static TK_FN_KV_STORE(kv_store_f32)
{
    memcpy(row, x, (size_t)n * sizeof *x);
}

static TK_FN_KV_STORE(kv_store_bf16)
{
    for (int i = 0; i < n; i++) ((uint16_t *)row)[i] = tk_bf16_from_f32(x[i]);
}

void tk_kernels_fill_ref(tk_kernels *k)
{
    for (int i = 0; i < TK_DTYPE_COUNT; i++) k->decode[i] = decode;
    k->mm = mm;
    k->rmsnorm = rmsnorm;
    k->rope = rope;
    k->swiglu = swiglu;
    k->axpy = axpy;
    k->exp_sum = exp_sum;
    k->kv_scores[TK_KV_F32] = kv_scores_f32;
    k->kv_scores[TK_KV_BF16] = kv_scores_bf16;
    k->kv_mix[TK_KV_F32] = kv_mix_f32;
    k->kv_mix[TK_KV_BF16] = kv_mix_bf16;
    k->kv_store[TK_KV_F32] = kv_store_f32;
    k->kv_store[TK_KV_BF16] = kv_store_bf16;
}
