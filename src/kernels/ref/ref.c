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

static float load_fp8(const void *row, int j)
{
    const uint8_t *group = (const uint8_t *)row + j / TK_KV_GROUP * (TK_KV_GROUP + 4);
    float scale;
    memcpy(&scale, group, sizeof scale);
    return tk_f32_from_e4m3(group[4 + j % TK_KV_GROUP]) * scale;
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
SCORES(kv_scores_fp8, load_fp8)
MIX(kv_mix_f32, load_f32)
MIX(kv_mix_bf16, load_bf16)
MIX(kv_mix_fp8, load_fp8)

static TK_FN_KV_STORE(kv_store_f32)
{
    memcpy(row, x, (size_t)n * sizeof *x);
}

static TK_FN_KV_STORE(kv_store_bf16)
{
    for (int i = 0; i < n; i++) ((uint16_t *)row)[i] = tk_bf16_from_f32(x[i]);
}

// A group with a NaN or an infinity gets a NaN scale, so that it is not lost.
static TK_FN_KV_STORE(kv_store_fp8)
{
    uint8_t *to = row;
    for (int k = 0; k < n; k += TK_KV_GROUP) {
        int len = TK_MIN((int)TK_KV_GROUP, n - k);
        float max = 0;
        bool whole = true;
        for (int i = 0; i < len; i++) {
            max = fmaxf(max, fabsf(x[k + i]));
            whole &= isfinite(x[k + i]) != 0;
        }
        float by = max >= 0x1p-100f ? 448 / max : 0, scale = !whole ? NAN : by == 0 ? 0 : max / 448;
        memcpy(to, &scale, sizeof scale);
        to += sizeof scale;
        for (int i = 0; i < len; i++) *to++ = whole ? tk_e4m3_from_f32(x[k + i] * by) : 0;
    }
}

static TK_FN_SOFTMAX(softmax)
{
    float most = *max;
    for (int i = first; i < n_seen; i++) most = fmaxf(most, scores[i]);
    if (n_seen <= 0 || most == -INFINITY) {
        memset(scores, 0, (size_t)n_row * sizeof *scores);
        return;
    }
    float shrink = (float)exp((double)*max - most);
    double total = (double)*sum * shrink;
    for (int i = 0; i < d && shrink != 1; i++) out[i] *= shrink;
    for (int i = 0; i < n_row; i++) {
        bool seen = i >= first && i < n_seen;
        total += scores[i] = seen ? (float)exp((double)scores[i] - most) : 0;
    }
    *sum = (float)total;
    *max = most;
}

static TK_FN_QUANTISE(quantise)
{
    for (int64_t k = 0; k < n; k += TK_GROUP, q++) {
        int len = (int)TK_MIN((int64_t)TK_GROUP, n - k);
        float max = 0;
        bool whole = true;
        for (int i = 0; i < len; i++) {
            max = fmaxf(max, fabsf(x[k + i]));
            whole &= isfinite(x[k + i]) != 0;
        }
        float by =
            max >= 0x1p-100f ? TK_MOST16 / max : 0; // below, the reciprocal would not be finite
        sum[0] = sum[1] = 0;
        for (int i = 0; i < TK_GROUP; i++) {
            q->word[i] = i < len && whole ? (int16_t)rintf(x[k + i] * by) : 0;
            sum[i / 16] += q->word[i];
        }
        *scale++ = !whole ? NAN : by == 0 ? 0 : max / TK_MOST16;
        sum += 2;
    }
}

static void group8(const float v[TK_GROUP], tk_group8 *to)
{
    float max = 0;
    bool whole = true;
    for (int i = 0; i < TK_GROUP; i++) {
        whole &= isfinite(v[i]) != 0;
        max = fmaxf(max, fabsf(v[i]));
    }
    float by = max >= 0x1p-100f && whole ? 127 / max : 0;
    to->minus_all = to->minus_half = 0;
    for (int i = 0; i < TK_GROUP; i++) {
        to->q[i] = by == 0 ? 0 : (int8_t)rintf(v[tk_group8_column(i)] * by);
        to->minus_all -= to->q[i];
        if (i < TK_GROUP / 2) to->minus_half -= to->q[i];
    }
    to->scale = !whole ? NAN : by == 0 ? 0 : max / 127;
    to->sum = (float)-to->minus_all * to->scale;
}

static TK_FN_QUANTISE8(quantise8)
{
    int64_t n_group = (n + TK_GROUP - 1) / TK_GROUP;
    float v[TK_GROUP], all = 0;
    for (int64_t g = 0; g < n_group; g++) {
        memset(v, 0, sizeof v);
        memcpy(v, x + g * TK_GROUP,
               (size_t)TK_MIN((int64_t)TK_GROUP, n - g * TK_GROUP) * sizeof *v);
        group8(v, &to[g]);
        all += to[g].scale;
    }
    float most = TK_MORE8 * (all / (float)n_group);
    more[0] = 0;
    for (int64_t g = 0; g < n_group && more[0] < n_group / TK_MORE8; g++) {
        if (!(to[g].scale > most)) continue;
        for (int i = 0; i < TK_GROUP; i++) {
            int64_t at = tk_group8_column(i), k = g * TK_GROUP + at;
            v[at] = k < n ? fmaf(-(float)to[g].q[i], to[g].scale, x[k]) : 0;
        }
        group8(v, &to[n_group + more[0]]);
        more[++more[0]] = (int32_t)g;
    }
}

static float act_at(const tk_act *x, bool is_int, int64_t t, int64_t k)
{
    if (!is_int) return x->f[t * x->ld + k];
    int64_t group = t * x->n_group + k / TK_GROUP;
    return (float)x->q[group].word[k % TK_GROUP] * x->scale[group];
}

static TK_FN_GEMM(gemm)
{
    bool is_int = tk_pack_is_int(w->kind);
    int64_t row0 = panel0 * TK_PANEL_ROWS;
    int n_row = (int)TK_MIN((int64_t)n_panel * TK_PANEL_ROWS, w->n_out - row0);
    for (int t = 0; t < n_tok; t++)
        for (int i = 0; i < n_row; i++) {
            double sum = 0;
            for (int64_t k = 0; k < w->n_in; k += TK_SUPER) {
                float part[TK_SUPER];
                int64_t n = TK_MIN((int64_t)TK_SUPER, w->n_in - k);
                tk_packed_decode(w, row0 + i, k, n, part);
                for (int64_t j = 0; j < n; j++)
                    sum += (double)part[j] * act_at(x, is_int, index ? index[t] : t, k + j);
            }
            y[t * ldy + i] = (float)sum;
        }
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
    k->kv_scores[TK_KV_FP8] = kv_scores_fp8;
    k->kv_mix[TK_KV_F32] = kv_mix_f32;
    k->kv_mix[TK_KV_BF16] = kv_mix_bf16;
    k->kv_mix[TK_KV_FP8] = kv_mix_fp8;
    k->kv_store[TK_KV_F32] = kv_store_f32;
    k->kv_store[TK_KV_BF16] = kv_store_bf16;
    k->kv_store[TK_KV_FP8] = kv_store_fp8;
    k->softmax = softmax;
    k->quantise = quantise;
    k->quantise8 = quantise8;
    for (int i = TK_PACK_NONE + 1; i < TK_PACK_COUNT; i++) k->gemm[i] = gemm;
}
