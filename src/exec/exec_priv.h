// SPDX-License-Identifier: MIT
// What the files of exec/ share.
#ifndef TK_EXEC_EXEC_PRIV_H
#define TK_EXEC_EXEC_PRIV_H

#include "exec/exec.h"

#include "base/clock.h"

enum {
    ROW_BLOCK = 16,      // weight rows decoded at a time
    K_CHUNK = 1024,      // columns decoded at a time: a multiple of every format's block
    MLA_ABSORB_TOK = 16, // tokens whose absorbed queries are kept at a time
    MLA_HEADS = 16,      // heads per attention item, absorbed
    MLA_SPLITS = 16, // most items of one token: a long context is split, so that threads share it
    MLA_SPLIT_TOK = 128, // and least context of one
    MLA_TILE = 256,      // cache rows expanded at a time: a multiple of TK_KV_BLOCK_TOK
    GQA_QUERIES = 64,    // queries (tokens x heads of a group) per attention item
};

typedef struct tok_info {
    int32_t part; // index of its step part
    int32_t pos;  // position in its sequence
    int32_t id;
    float *logits; // where its logits go, NULL = not wanted
} tok_info;

typedef struct moe_item {
    int32_t expert, row0, n_row;
} moe_item;

// Activations as weights want them, see tk_act: rows of n_group groups.
typedef struct exec_rows {
    tk_group16 *q;
    float *scale;
    int32_t *sum;
    int64_t n_group;
    tk_group8 *b; // what wide kernels take (tk_wide): 8-bit integers,
    int32_t *more;
    uint16_t *h; // and BF16 rows ld_h apart
    int64_t ld_h;
} exec_rows;

// Consecutive operations that run together, see stages.c.
enum { EXEC_STAGE_OPS = 8 };
typedef struct exec_stage {
    const tk_op *op; // the first
    int n_op;
} exec_stage;

// Tokens tok .. tok + n of a view; buf -1: none.
typedef struct exec_held {
    tk_view of;
    int tok, n;
} exec_held;

// Forms of activations, and sets of them as bits: what packed weights want that meet no wide kernel, and what wide kernels
// want, by tk_wide.
enum { EXEC_FORMS = TK_WIDE_BF16 + 1 };

struct tk_exec {
    const tk_program *p;
    tk_kernels k;
    // Wide kernels may be used: weights are packed, and nobody asked for the same bits in any batch.
    bool wide;
    bool takes[EXEC_FORMS]; // what those of this model's forms want of activations
    tk_pool *pool;
    tk_exec_plan plan;
    tk_exec_opts opts;
    tk_kv_pool *kv;
    char *kv_data; // [layer][k blocks | v blocks]
    size_t kv_layer_bytes, kv_k_block_bytes, kv_v_block_bytes;
    size_t kv_row_bytes; // of one head's key or value, or of one latent with its rope key
    tk_packed *packed;   // [n_weight]; kind NONE: used where it is mapped
    uint8_t *packed_data;
    uint64_t packed_bytes;
    float **vec; // [n_weight] decoded norms and biases, NULL for matrices
    float *vec_data;
    size_t vec_bytes;
    float *inv_freq; // [rope.n_dim / 2]
    float rope_factor;
    char *work; // everything below lies in it
    size_t work_bytes;
    float **buf;                // [n_buf] -> [n_step_tok][width]
    tok_info *tok;              // [n_step_tok]
    float *rope_cos, *rope_sin; // [n_step_tok][rope.n_dim / 2]
    float **scratch;            // [n_thread] -> scratch_floats each
    size_t scratch_floats;
    // experts
    int32_t *top_id;         // [n_step_tok][n_used]
    float *top_w;            // [n_step_tok][n_used]
    int32_t *expert_first;   // [n_expert + 1] into expert_slot
    int32_t *expert_slot;    // [n_step_tok * n_used] token * n_used + k, sorted by expert
    moe_item *moe_items;     // the work list of one phase
    float *moe_mid, *moe_up; // [n_step_tok * n_used][d_expert], sorted order
    float *moe_out;          // [n_step_tok * n_used][d_model], sorted order
    int32_t *slot_place;     // [n_step_tok * n_used] place of a slot in the sorted order
    uint64_t *expert_load;   // [n_layer][n_expert]
    // activations on their way into packed weights
    exec_rows act;
    exec_held held[EXEC_FORMS]; // what of it is in each form
    exec_rows moe_act;          // of moe_mid, sorted order
    exec_rows moe_in;           // for wide kernels only: the experts' inputs, sorted order
    // MLA, absorbed
    float *q_lat; // [MLA_ABSORB_TOK][n_head][kv_lora + d_rope]
    float *o_lat; // [MLA_ABSORB_TOK][n_head][kv_lora]
    float *
        o_part; // [MLA_ABSORB_TOK][head blocks x splits][MLA_HEADS][kv_lora + 2]: mixed values, max, sum
    exec_stage *stages; // [n_stage]
    int n_stage;
    uint64_t *op_ns; // [n_op] time spent in each operation; NULL = nobody asks
    uint64_t (
        *lap_ns)[EXEC_STAGE_OPS +
                 1]; // [n_thread] time of a thread in each operation of the stage, and for the next
    // the step
    const tk_step_part *parts;
    int n_part, n_tok;
};

// Row `tok` of a view.
static inline float *exec_row(const tk_exec *x, tk_view v, int tok)
{
    return x->buf[v.buf] + (size_t)tok * (size_t)x->p->buf_width[v.buf] + v.off;
}

static inline bool exec_same_view(tk_view a, tk_view b)
{
    return a.buf == b.buf && a.off == b.off && a.n == b.n;
}

static inline int64_t exec_stride(const tk_exec *x, tk_view v)
{
    return x->p->buf_width[v.buf];
}

// Cache block of one sequence: keys (or the latent), values.
static inline char *exec_k_block(const tk_exec *x, int layer, int32_t block)
{
    return x->kv_data + (size_t)layer * x->kv_layer_bytes + (size_t)block * x->kv_k_block_bytes;
}

static inline char *exec_v_block(const tk_exec *x, int layer, int32_t block)
{
    return x->kv_data + (size_t)layer * x->kv_layer_bytes +
           (size_t)tk_kv_pool_count(x->kv) * x->kv_k_block_bytes +
           (size_t)block * x->kv_v_block_bytes;
}

// y[t][0..n_row) = W[row0..row0+n_row) x[t], for the n_tok rows of x named by index (NULL = 0..n_tok). Uses
// scratch: ROW_BLOCK * K_CHUNK floats, and n_tok * K_CHUNK more with an index.
void exec_rows_times(const tk_exec *x, const tk_matrix *w, int64_t row0, int n_row, const float *in,
                     int64_t ld_in, const int32_t *index, int n_tok, float *out, int64_t ld_out,
                     float *scratch);

// Shapes of what is worth packing ([n_weight], zeroed before); returns its bytes, *stored_bytes those it replaces.
uint64_t exec_packed_shapes(const tk_program *p, tk_packed *shape, uint64_t *stored_bytes);
tk_status exec_pack(tk_exec *x, tk_err *err);
// Packed weights kept in files (packed_cache.c). Load: false when there are none, or they are damaged; the memory
// is then of any content. Save tells the log when it cannot.
bool exec_packed_load(tk_exec *x);
void exec_packed_save(const tk_exec *x);
// Of every weight's name, type and shape, and a sample of their bytes.
void exec_weights_id(const tk_program *p, uint64_t id[2]);
// y[t][0..n_row) = W[row0..row0 + n_row) in[t], for t < n_tok; row0 the first of a panel. One thread, with
// exec_packed_rows_scratch floats.
void exec_packed_rows_times(const tk_exec *x, const tk_packed *w, int64_t row0, int n_row,
                            const float *in, int64_t ld_in, int n_tok, float *out, int64_t ld_out,
                            float *scratch);
size_t exec_packed_rows_scratch(int64_t n_in, int n_tok);
// How n tokens meet a packed weight: NULL by `gemm`, else by this wide kernel.
const tk_way *exec_way(const tk_exec *x, int32_t i_weight, int n);
// What that takes.
static inline tk_wide exec_takes(const tk_way *way)
{
    return way ? way->takes : TK_WIDE_NONE;
}
// Columns [col, col + n) of a row to what kernels take, wide ones or not; col a multiple of 32, and 0 with all
// columns where wide kernels take integers.
void exec_round(const tk_exec *x, const exec_rows *to, const float *in, int64_t row, int64_t col,
                int64_t n, tk_wide wide);
// The form that n tokens for this weight want; 0 for floats.
unsigned exec_form_of(const tk_exec *x, int32_t i_weight, int n);
// Rounds tokens tok .. tok + n of a view to rows 0 .. n of x->act, to those of the forms that it does not hold yet.
void exec_act_make(tk_exec *x, tk_view in, int tok, int n, unsigned forms);
// The same by parts: that x->act will hold them, before the first; one token to a row of it, by any thread.
void exec_act_hold(tk_exec *x, tk_view in, int tok, int n, unsigned forms);
void exec_act_round(const tk_exec *x, tk_view in, int tok, int row, unsigned forms);
// A view from token tok on, which x->act holds as kernels take it.
tk_act exec_act(const tk_exec *x, tk_view in, int tok, tk_wide takes);
// Row tok of a view that x->act holds from its first token on, as wide kernels take it, to another place.
void exec_act_copy(const tk_exec *x, tk_view in, int tok, const exec_rows *to, int row,
                   tk_wide takes);
void exec_act_forget(tk_exec *x, int16_t buf); // its content changed
void exec_act_forget_all(tk_exec *x);
// Rows from `row` on, as exec_round made them.
tk_act exec_act_of(const exec_rows *r, int64_t row, tk_wide wide);
tk_act exec_act_from(const tk_act *a, int64_t tok); // from that row on

void exec_stages_make(tk_exec *x);
void exec_stages_run(tk_exec *x);
// Time of operation i_op of the running stage, since `from`; returns now. 0 when nobody asks.
static inline uint64_t exec_lap_start(const tk_exec *x)
{
    return x->op_ns ? tk_clock_ns() : 0;
}
static inline uint64_t exec_lap(tk_exec *x, int i_thread, int i_op, uint64_t from)
{
    if (from == 0) return 0;
    uint64_t now = tk_clock_ns();
    x->lap_ns[i_thread][i_op] += now - from;
    return now;
}

bool exec_is_row(tk_op_kind kind); // an operation on each row by itself
// Runs them, and rounds rows for the next stage (NULL = none) where that is of products.
void exec_row_ops(tk_exec *x, const exec_stage *s, const exec_stage *next);
bool exec_linear_joins(const exec_stage *s,
                       const tk_op *op); // a product can run together with those of the stage
unsigned exec_linear_forms(const tk_exec *x, const exec_stage *s); // what their input is wanted as
void exec_linear(tk_exec *x, const exec_stage *s);
void exec_head(tk_exec *x, const tk_op *op);
void exec_attend_gqa(tk_exec *x, const tk_op *op);
void exec_attend_mla(tk_exec *x, const tk_op *op);
void exec_route(tk_exec *x, const tk_op *op);
void exec_experts(tk_exec *x, const tk_op *op);

// Whether n_query queries of width d meet the cache by BF16 products.
static inline bool exec_attends_wide(const tk_exec *x, int n_query, int d)
{
    return x->wide && n_query >= x->k.attend_from && d <= TK_KV_WIDE_MOST && d % 2 == 0 &&
           x->k.kv_scores_wide[x->opts.kv_dtype] != NULL;
}

// scores[q][TK_KV_BLOCK_TOK] of n_query queries of width d, one after the other, and n_row rows of a cache block; queries
// as BF16 where `wide`, see exec_attends_wide.
static inline void exec_scores(const tk_exec *x, bool wide, const void *query, int n_query, int d,
                               const void *rows, int n_row, float *scores)
{
    float scale = (float)x->p->cfg.attn_scale;
    if (wide)
        x->k.kv_scores_wide[x->opts.kv_dtype](query, d, n_query, rows, x->kv_row_bytes, n_row, d,
                                              scale, scores, TK_KV_BLOCK_TOK);
    else
        x->k.kv_scores[x->opts.kv_dtype](query, d, n_query, rows, x->kv_row_bytes, n_row, d, scale,
                                         scores, TK_KV_BLOCK_TOK);
}

// Mixed values of one query to their mean.
static inline void exec_divide(const float *restrict mixed, float sum, int n, float *restrict out)
{
    for (int i = 0; i < n; i++) out[i] = mixed[i] / sum;
}

// Floats of scratch per thread that the attention operations need.
size_t exec_attend_scratch_gqa(int d_head);
// Floats of the partial results of one token's absorbed attention.
size_t exec_mla_part_floats(const tk_program *p);
size_t exec_attend_scratch(const tk_program *p, int n_step_tok);

#endif
