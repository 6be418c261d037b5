// SPDX-License-Identifier: MIT
// Runs a program on this machine: weights where they are mapped, a KV cache in blocks, a fixed workspace,
// and a pool of threads. One step takes tokens of any number of sequences through the whole list of
// operations. Nothing is allocated in a step. Owner: the thread that calls it.
//
// Invariants
//  1. Logits do not depend on the number of threads (tests/unit/test_exec_*.c).
//  2. A token's logits do not depend on the other sequences of its step, with `exact` or where the kernels
//     have no wide forms (tk_kernels.wide).
//  3. A step that fails has not changed any sequence.
#ifndef TK_EXEC_EXEC_H
#define TK_EXEC_EXEC_H

#include "base/pool.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "kv/pool.h"
#include "model/program.h"

#include <stdint.h>

typedef struct tk_exec tk_exec;

typedef struct tk_exec_opts {
    int n_thread;         // 1..TK_LIMIT_THREADS; 0 = all processors this process may use
    tk_isa isa;           // highest instruction set
    tk_kv_dtype kv_dtype; // type of the cache
    int32_t n_kv_tok;     // tokens the cache holds, all sequences together (rounded up to blocks)
    int32_t
        n_step_tok; // most tokens of one step; 0 = as many as fit in the workspace bound, at most 256
    bool repack;    // pack weights for the kernels: a copy in memory in place of mapped pages
    const char *repack_cache; // folder that keeps packed weights for the next start; NULL = none
    uint64_t files_id;        // of the weights' files (tk_ckpt_files_id), for their key there
    bool exact; // leave out kernels that give a token other bits when many are in the step with it
    int mla_expand_from; // tokens of one sequence in a step from which MLA is expanded; 0 = 32, -1 = never
} tk_exec_opts;

tk_exec_opts tk_exec_opts_default(void);

// What running will take, before anything is touched.
typedef struct tk_exec_plan {
    uint64_t weight_bytes;             // mapped
    uint64_t packed_bytes;             // weights in packed form
    uint64_t kv_bytes, kv_token_bytes; // of the cache; of one token in it, all layers
    uint64_t work_bytes;               // activations, scratch
    int32_t n_step_tok;
    int32_t n_kv_tok;
    int n_thread;
    uint64_t total_bytes;
} tk_exec_plan;

void tk_exec_plan_make(const tk_program *p, const tk_exec_opts *opts, tk_exec_plan *out);

// The program must outlive the exec. TK_NOMEM names the part that does not fit.
tk_status tk_exec_new(const tk_program *p, const tk_exec_opts *opts, tk_exec **out, tk_err *err);
void tk_exec_free(tk_exec *x); // NULL is fine

const tk_exec_plan *tk_exec_plan_of(const tk_exec *x);
tk_isa tk_exec_isa(const tk_exec *x);
tk_kv_dtype tk_exec_kv_dtype(const tk_exec *x);
tk_kv_pool *tk_exec_kv_pool(tk_exec *x); // for truncating and clearing a sequence's table

// One sequence's share of a step.
typedef struct tk_step_part {
    tk_kv_table *seq;   // its blocks; n_tok grows by n
    const int32_t *ids; // [n], 0 <= id < n_vocab (checked)
    int32_t n;          // >= 1
    int32_t n_logits;   // logits are wanted for the last n_logits tokens (0..n)
    float *logits;      // [n_logits][n_vocab]
} tk_step_part;

// The sum of n is at most plan.n_step_tok. TK_NOMEM when the cache is full, TK_BAD_INPUT for an id outside
// the vocabulary.
tk_status tk_exec_step(tk_exec *x, const tk_step_part *parts, int n_part, tk_err *err);

// The cache's bytes, for those who keep its books (kv_blocks.c). A block holds TK_KV_BLOCK_TOK tokens of every
// layer. Between steps, by the owner.
size_t tk_exec_kv_block_bytes(const tk_exec *x);
void tk_exec_kv_copy(tk_exec *x, tk_kv_copy c);
void tk_exec_kv_read(const tk_exec *x, int32_t block, void *out); // [tk_exec_kv_block_bytes]
void tk_exec_kv_write(tk_exec *x, int32_t block, const void *in); // what kv_read gave
// Names the contents of a cache: equal for two execs only when a block of one can be used by the other.
// Covers the cache's type and shape, instruction set, MLA form, every weight's name and shape, and a sample
// of the weights' bytes.
void tk_exec_kv_identity(const tk_exec *x, uint64_t id[2]);
// From now on as with mla_expand_from = -1 and exact: a token's logits depend neither on how its prompt is cut
// nor on what else is in the step.
void tk_exec_fix_form(tk_exec *x);

// From now on the time of each operation is added to op_ns [p->n_op], borrowed; NULL = not any more (the default).
// What several operations share (activations made integers for the first weight that meets them) is the first
// one's. Between steps, by the owner.
void tk_exec_time_ops(tk_exec *x, uint64_t *op_ns);

// How often each expert was chosen since the start or the last reset: [n_layer][n_expert], layers without
// experts are zero. NULL when the model is dense. Borrowed.
const uint64_t *tk_exec_expert_load(const tk_exec *x);

#endif
