// SPDX-License-Identifier: MIT
// The table of kernels. Signatures are declared once, by macro; the table is filled with `ref` (the meaning)
// and then each instruction set the machine has overwrites its slots (TOKAMAK_CPU masks). Kernels do one
// tile or one row: threads, chunks and memory are the caller's.
//
// Determinism: an output value depends on its own inputs only, never on how many rows or tokens the call
// covers, nor on the thread. A faster slot may add in another order than ref; kcheck bounds the difference.
#ifndef TK_KERNELS_KERNELS_H
#define TK_KERNELS_KERNELS_H

#include "base/status.h"
#include "num/matrix.h"
#include "num/packed.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// out[0..n) = W[row][col .. col + n): n and col multiples of the format's block; out has room for n rounded
// up to 16. One slot per (format, scale scheme), see tk_kernels_decode.
#define TK_FN_DECODE(name)                                                                         \
    void name(const tk_matrix *w, int64_t row, int64_t col, int64_t n, float *out)

// y[t * ldy + r] += sum_k w[r * ldw + k] * x[t * ldx + k], for r < n_row, t < n_tok, k < n_k.
#define TK_FN_MM(name)                                                                             \
    void name(const float *w, int64_t ldw, int n_row, const float *x, int64_t ldx, int n_tok,      \
              int64_t n_k, float *y, int64_t ldy)

// y = x / sqrt(mean(x^2) + eps) * w. x and y may be the same row.
#define TK_FN_RMSNORM(name) void name(const float *x, const float *w, float eps, int n, float *y)

// Rotates n_pair pairs of x by (cos, sin)[pair]. interleaved: pairs (2i, 2i+1), else (i, i + n_pair).
#define TK_FN_ROPE(name)                                                                           \
    void name(float *x, const float *cos, const float *sin, int n_pair, int interleaved)

// out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]; out may be gate.
#define TK_FN_SWIGLU(name) void name(const float *gate, const float *up, int n, float *out)

// y[i] += a * x[i]
#define TK_FN_AXPY(name) void name(float a, const float *x, int n, float *y)

// x[i] = exp(x[i] - max) in place; returns the sum. x[i] <= max; -INFINITY gives 0.
#define TK_FN_EXP_SUM(name) float name(float *x, float max, int n)

// scores[h * lds + i] = scale * sum_j q[h * ldq + j] * kv(i)[j], i < n_row, h < n_head, j < d. Rows of the
// cache are row_bytes apart; one slot a type of cache.
#define TK_FN_KV_SCORES(name)                                                                      \
    void name(const float *q, int64_t ldq, int n_head, const void *kv, size_t row_bytes,           \
              int n_row, int d, float scale, float *scores, int64_t lds)

// The same of queries as BF16, ldq words apart, for many queries at once; d even, at most TK_KV_WIDE_MOST.
#define TK_FN_KV_SCORES_WIDE(name)                                                                 \
    void name(const uint16_t *q, int64_t ldq, int n_head, const void *kv, size_t row_bytes,        \
              int n_row, int d, float scale, float *scores, int64_t lds)
enum { TK_KV_WIDE_MOST = 1024 };

// out[h * ldo + j] += sum_i p[h * ldp + i] * kv(i)[j]
#define TK_FN_KV_MIX(name)                                                                         \
    void name(const float *p, int64_t ldp, int n_head, const void *kv, size_t row_bytes,           \
              int n_row, int d, float *out, int64_t ldo)

// Writes n floats as a cache row (F32: copy, BF16: round to nearest even, FP8: see tk_kv_dtype).
#define TK_FN_KV_STORE(name) void name(const float *x, int n, void *row)

// Brings the running softmax of one query to the scores of n_row more cache rows, of which it sees [first,
// n_seen): scores become weights exp(score - max), 0 where unseen; *sum and out [d] are brought to the new *max
// (-INFINITY and 0 at the start), and the weights' sum is added. (Milakov, Gimelshein 2018.) The order of that
// sum follows n_seen, not n_row.
#define TK_FN_SOFTMAX(name)                                                                        \
    void name(float *scores, int first, int n_seen, int n_row, float *max, float *sum, float *out, \
              int d)

// Thirty-two activations as 8-bit integers, for wide kernels: every eight columns in the order 0 4 1 5 2 6 3 7, as bytes of
// units are, and what all products with them need.
typedef struct tk_group8 {
    int8_t q[32];
    float scale;        // value = q * scale
    float sum;          // of the values
    int32_t minus_all;  // -1 times the sum of q
    int32_t minus_half; // and that of the first sixteen
} tk_group8;

// The column that q[i] is of: of every eight 0 4 1 5 2 6 3 7.
static inline int tk_group8_column(int i)
{
    return (i & ~7) | (i & 1) << 2 | (i & 6) >> 1;
}

// A row of n_group groups, and behind them a second eight bits for those whose largest value is more than TK_MORE8 times the mean
// of all groups' largest (fewer than one in TK_MORE8 can be): one large value leaves its neighbours few of the first eight.
enum { TK_MORE8 = 2 };
static inline int64_t tk_row8(int64_t n_group)
{
    return n_group + n_group / TK_MORE8;
}

// How many groups have more, and which: [0] the number, then groups in order.
static inline int64_t tk_row8_more(int64_t n_group)
{
    return 1 + n_group / TK_MORE8;
}

// Thirty-two activations as 16-bit integers, as a level's products take them (tk_kernels.splits): words, or each as two
// signed bytes that products of bytes take, q = 256 hi + lo, in the order of tk_group8_column.
typedef union tk_group16 {
    int16_t word[32];
    struct {
        int8_t hi[32], lo[32];
    };
} tk_group16;

// The largest |q|, of which both bytes are 127.
enum { TK_MOST16 = 127 * 257 };

// Activations on their way into packed weights. Integer forms meet them as 16-bit integers, one scale a
// group of 32 and its sums by halves: rounding to a 32,639th of the group's largest value is 200 times finer than the weights'
// own. The others take the floats. Wide kernels take 8-bit integers or BF16, see tk_wide.
typedef struct tk_act {
    const float *f;      // row t begins at f + t * ld
    int64_t ld;          // at least n_in
    const tk_group16 *q; // [n_tok][n_group]; value = q * scale
    const float *scale;  // [n_tok][n_group]
    const int32_t *sum;  // [n_tok][n_group * 2], of sixteen q each
    int64_t n_group;     // ceil(n_in / 32)
    const tk_group8 *b;  // [n_tok][tk_row8(n_group)]
    const int32_t *more; // [n_tok][tk_row8_more(n_group)]
    const uint16_t *h;   // BF16 rows, ld_h apart; readable to a multiple of 32 columns
    int64_t ld_h;
} tk_act;

// One row of n floats to ceil(n / 32) groups; missing columns are 0. A group with a NaN or an infinity gets a
// NaN scale, so that it is not lost.
#define TK_FN_QUANTISE(name)                                                                       \
    void name(const float *x, int64_t n, tk_group16 *q, float *scale, int32_t *sum)

// A whole row to 8 bits, tk_row8 groups and tk_row8_more.
#define TK_FN_QUANTISE8(name) void name(const float *x, int64_t n, tk_group8 *to, int32_t *more)

// y[t * ldy + i] = W[panel0 * 16 + i] . x[index ? index[t] : t], for t < n_tok and the rows i of n_panel panels
// (as many as W has). One slot a form of packing. A value has one order of summation, whatever n_tok,
// n_panel and the instruction set.
#define TK_FN_GEMM(name)                                                                           \
    void name(const tk_packed *w, int64_t panel0, int n_panel, const tk_act *x,                    \
              const int32_t *index, int n_tok, float *y, int64_t ldy)

typedef TK_FN_DECODE((*tk_decode_fn));
typedef TK_FN_MM((*tk_mm_fn));
typedef TK_FN_RMSNORM((*tk_rmsnorm_fn));
typedef TK_FN_ROPE((*tk_rope_fn));
typedef TK_FN_SWIGLU((*tk_swiglu_fn));
typedef TK_FN_AXPY((*tk_axpy_fn));
typedef TK_FN_EXP_SUM((*tk_exp_sum_fn));
typedef TK_FN_KV_SCORES((*tk_kv_scores_fn));
typedef TK_FN_KV_SCORES_WIDE((*tk_kv_scores_wide_fn));
typedef TK_FN_KV_MIX((*tk_kv_mix_fn));
typedef TK_FN_KV_STORE((*tk_kv_store_fn));
typedef TK_FN_SOFTMAX((*tk_softmax_fn));
typedef TK_FN_QUANTISE((*tk_quantise_fn));
typedef TK_FN_QUANTISE8((*tk_quantise8_fn));
typedef TK_FN_GEMM((*tk_gemm_fn));

// FP8: E4M3 codes, each 128 of a row behind a float that they are multiplied by (the largest of them / 448).
typedef enum tk_kv_dtype { TK_KV_F32, TK_KV_BF16, TK_KV_FP8, TK_KV_DTYPE_COUNT } tk_kv_dtype;
enum { TK_KV_GROUP = 128 };

typedef enum tk_isa { TK_ISA_REF, TK_ISA_AVX2, TK_ISA_AVX512, TK_ISA_AMX, TK_ISA_COUNT } tk_isa;

// What a wide kernel takes of tk_act: b and more, or h.
typedef enum tk_wide { TK_WIDE_NONE, TK_WIDE_INT8, TK_WIDE_BF16 } tk_wide;

// A wide kernel: activations of fewer bits, at which a level multiplies faster; with BF16 the weights are rounded to it
// too. Other bits than `gemm`. No index.
typedef struct tk_way {
    tk_gemm_fn gemm;
    tk_wide takes;
    int from; // so many tokens
} tk_way;
enum { TK_WAYS = 2 };

typedef struct tk_kernels {
    tk_isa isa; // highest level whose slots were filled in
    tk_decode_fn
        decode[TK_DTYPE_COUNT]; // by the element type; each handles every scale scheme of its type
    tk_mm_fn mm;
    tk_rmsnorm_fn rmsnorm;
    tk_rope_fn rope;
    tk_swiglu_fn swiglu;
    tk_axpy_fn axpy;
    tk_exp_sum_fn exp_sum;
    tk_kv_scores_fn kv_scores[TK_KV_DTYPE_COUNT];
    tk_kv_mix_fn kv_mix[TK_KV_DTYPE_COUNT];
    tk_kv_store_fn kv_store[TK_KV_DTYPE_COUNT];
    tk_softmax_fn softmax;
    tk_quantise_fn quantise;
    bool splits; // what quantise gives and gemm takes: bytes of tk_group16, else words
    tk_quantise8_fn quantise8;
    tk_gemm_fn gemm[TK_PACK_COUNT];      // [TK_PACK_NONE] is NULL
    tk_way wide[TK_PACK_COUNT][TK_WAYS]; // in order of `from`, behind the last one gemm is NULL
    // For attend_from queries and more: products of BF16. NULL where a level or a type of cache has none.
    int attend_from;
    tk_kv_scores_wide_fn kv_scores_wide[TK_KV_DTYPE_COUNT];
    tk_kv_mix_fn kv_mix_wide[TK_KV_DTYPE_COUNT];
} tk_kernels;

// Whether a form meets 16-bit activations (else floats).
static inline bool tk_pack_is_int(tk_pack kind)
{
    return kind != TK_PACK_BF16 && kind != TK_PACK_FP8;
}

// The wide kernel that serves n_tok tokens best, or NULL.
const tk_way *tk_way_for(const tk_kernels *k, tk_pack form, int n_tok);
void tk_way_add(tk_kernels *k, tk_pack form, tk_way way);

// The table for instruction sets up to `highest`, of those the machine has and TOKAMAK_CPU allows. Never
// fails: ref is always there. TOKAMAK_CPU=ref|avx2|avx512|amx.
void tk_kernels_fill(tk_kernels *k, tk_isa highest);
// TK_USAGE when TOKAMAK_CPU names something else.
tk_status tk_kernels_allowed(tk_isa *highest, tk_err *err);
const char *tk_isa_name(tk_isa isa);
const char *tk_kv_dtype_name(tk_kv_dtype t);
size_t tk_kv_row_bytes(tk_kv_dtype t, int n); // of a cache row of n values

// Each level fills the slots it has; called in order by tk_kernels_fill.
void tk_kernels_fill_ref(tk_kernels *k);
void tk_kernels_fill_avx2(tk_kernels *k);
void tk_kernels_fill_avx512(tk_kernels *k);
void tk_kernels_fill_gemm_bf16(tk_kernels *k); // beside AVX-512, where the processor has vdpbf16ps
void tk_kernels_fill_attend_bf16(tk_kernels *k);
void tk_kernels_fill_amx(tk_kernels *k);
void tk_kernels_fill_attend_amx(tk_kernels *k);

#endif
