// SPDX-License-Identifier: MIT
// The operations on single rows.
#include "kernels/kernels.h"

#include <string.h>

static TK_FN_RMSNORM(TK_TMPL(rmsnorm))
{
    v16 s = v_zero();
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 a = v_load(x + i);
        s = v_fma(a, a, s);
    }
    if (i < n) {
        v16 a = v_load_n(x + i, n - i);
        s = v_fma(a, a, s);
    }
    float scale = 1 / sqrtf(TK_TMPL(sum)(s) / (float)n + eps);
    v16 by = v_set(scale);
    for (i = 0; i + 16 <= n; i += 16)
        v_store(y + i, v_mul(v_mul(v_load(x + i), by), v_load(w + i)));
    if (i < n)
        v_store_n(y + i, v_mul(v_mul(v_load_n(x + i, n - i), by), v_load_n(w + i, n - i)), n - i);
}

static TK_FN_ROPE(TK_TMPL(rope))
{
    int i = 0;
    for (; !interleaved && i + 16 <= n_pair; i += 16) {
        v16 a = v_load(x + i), b = v_load(x + n_pair + i), c = v_load(cos + i), s = v_load(sin + i);
        v_store(x + i, v_sub(v_mul(a, c), v_mul(b, s)));
        v_store(x + n_pair + i, v_add(v_mul(b, c), v_mul(a, s)));
    }
    int step = interleaved ? 2 : 1, apart = interleaved ? 1 : n_pair;
    for (; i < n_pair; i++) {
        float a = x[i * step], b = x[i * step + apart];
        x[i * step] = a * cos[i] - b * sin[i];
        x[i * step + apart] = b * cos[i] + a * sin[i];
    }
}

static inline v16 TK_TMPL(silu_times)(v16 g, v16 u)
{
    v16 e = TK_TMPL(exp)(v_sub(v_zero(), g));
    return v_mul(v_div(g, v_add(v_set(1), e)), u);
}

static TK_FN_SWIGLU(TK_TMPL(swiglu))
{
    int i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(out + i, TK_TMPL(silu_times)(v_load(gate + i), v_load(up + i)));
    if (i < n)
        v_store_n(out + i, TK_TMPL(silu_times)(v_load_n(gate + i, n - i), v_load_n(up + i, n - i)),
                  n - i);
}

static TK_FN_AXPY(TK_TMPL(axpy))
{
    v16 by = v_set(a);
    int i = 0;
    for (; i + 16 <= n; i += 16) v_store(y + i, v_fma(by, v_load(x + i), v_load(y + i)));
    if (i < n) v_store_n(y + i, v_fma(by, v_load_n(x + i, n - i), v_load_n(y + i, n - i)), n - i);
}

static TK_FN_EXP_SUM(TK_TMPL(exp_sum))
{
    v16 sum = v_zero(), m = v_set(max);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        v16 e = TK_TMPL(exp)(v_sub(v_load(x + i), m));
        v_store(x + i, e);
        sum = v_add(sum, e);
    }
    float total = TK_TMPL(sum)(sum);
    if (i == n) return total;
    float tail[16];
    v_store(tail, TK_TMPL(exp)(v_sub(v_load_n(x + i, n - i), m)));
    for (int k = 0; i + k < n; k++) total += x[i + k] = tail[k];
    return total;
}
