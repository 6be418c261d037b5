// SPDX-License-Identifier: MIT
#include "bench/kernel.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

#include <string.h>

typedef struct run {
    tk_exec *x;
    tk_bench_test t;
    const tk_bench_opts *opts;
    tk_traffic *traffic;
    int32_t n_vocab, chunk;
    int n_op;
    tk_kv_table *seq;    // [n_parallel]
    tk_rng *rng;         // [n_parallel]
    tk_step_part *parts; // [n_parallel]
    int32_t *ids;        // [n_step_tok]
    float *logits;       // [n_parallel][n_vocab]
} run;

int64_t tk_bench_test_ctx(const tk_bench_test *t)
{
    int64_t each = (int64_t)t->n_depth + t->n_prompt + t->n_gen + 1; // the warm-up decodes one
    return t->n_parallel * ((each + TK_KV_BLOCK_TOK - 1) / TK_KV_BLOCK_TOK * TK_KV_BLOCK_TOK);
}

static tk_status step(run *r, int n_part, tk_err *err)
{
    if (r->opts->interrupt && atomic_load_explicit(r->opts->interrupt, memory_order_relaxed))
        return tk_fail(err, TK_INTERRUPTED, "interrupted");
    tk_status st = tk_exec_step(r->x, r->parts, n_part, err);
    if (st == TK_OK) tk_traffic_count(r->traffic, r->parts, n_part);
    return st;
}

static void draw(run *r, int i_seq, int32_t n, int32_t *ids)
{
    for (int32_t i = 0; i < n; i++)
        ids[i] = (int32_t)tk_rng_below(&r->rng[i_seq], (uint64_t)r->n_vocab);
}

// n more tokens for every sequence, one sequence after the other, steps filled across their borders; logits
// are made for the last token of each.
static tk_status prompt(run *r, int32_t n, tk_err *err)
{
    tk_status st = TK_OK;
    int32_t done = 0; // tokens of sequence i so far
    for (int i = 0; i < r->t.n_parallel && st == TK_OK;) {
        int n_part = 0;
        int32_t room = r->chunk;
        while (i < r->t.n_parallel && room > 0) {
            int32_t m = TK_MIN(room, n - done), *ids = r->ids + (r->chunk - room);
            draw(r, i, m, ids);
            r->parts[n_part++] = (tk_step_part){.seq = &r->seq[i],
                                                .ids = ids,
                                                .n = m,
                                                .n_logits = done + m == n,
                                                .logits = r->logits + (size_t)i * r->n_vocab};
            room -= m;
            done += m;
            if (done < n) continue;
            done = 0;
            i++;
        }
        st = step(r, n_part, err);
    }
    return st;
}

static tk_status generate(run *r, int32_t n, tk_err *err)
{
    tk_status st = TK_OK;
    for (int32_t k = 0; k < n && st == TK_OK; k++) {
        for (int i = 0; i < r->t.n_parallel; i++) {
            draw(r, i, 1, r->ids + i);
            r->parts[i] = (tk_step_part){.seq = &r->seq[i],
                                         .ids = r->ids + i,
                                         .n = 1,
                                         .n_logits = 1,
                                         .logits = r->logits + (size_t)i * r->n_vocab};
        }
        st = step(r, r->t.n_parallel, err);
    }
    return st;
}

static void rewind_to(run *r, int32_t n_tok)
{
    for (int i = 0; i < r->t.n_parallel; i++)
        tk_kv_table_truncate(tk_exec_kv_pool(r->x), &r->seq[i], n_tok);
}

// One untimed pass, as llama-bench: the whole prompt, one generated token. Experts that one token does not
// touch would be met cold, so a model that has them sees a full step at least.
static tk_status warm_up(run *r, tk_err *err)
{
    tk_status st = TK_OK;
    int32_t n = r->t.n_prompt;
    if (n == 0 && tk_exec_expert_load(r->x))
        n = TK_MIN(r->t.n_gen, TK_MAX(1, r->chunk / r->t.n_parallel));
    if (n > 0) st = prompt(r, n, err);
    rewind_to(r, r->t.n_depth);
    if (st == TK_OK && r->t.n_gen > 0) st = generate(r, 1, err);
    rewind_to(r, r->t.n_depth);
    return st;
}

static void keep_op_work(const run *r, tk_bench_result *out)
{
    const tk_traffic_sum *by_op = tk_traffic_by_op(r->traffic);
    for (int i = 0; i < r->n_op && out->op_work; i++) {
        out->op_work[i].bytes += by_op[i].bytes;
        out->op_work[i].flop += by_op[i].flop;
    }
}

static tk_status repeat(run *r, tk_bench_result *out, tk_err *err)
{
    tk_bench_work sum = {0};
    tk_status st = TK_OK;
    tk_exec_time_ops(r->x, out->op_ns);
    for (int i = 0; i < r->opts->n_rep && st == TK_OK; i++) {
        tk_traffic_reset(r->traffic);
        uint64_t start = tk_clock_ns();
        if (r->t.n_prompt > 0) st = prompt(r, r->t.n_prompt, err);
        tk_traffic_sum at_gen = tk_traffic_so_far(r->traffic);
        if (st == TK_OK) st = generate(r, r->t.n_gen, err);
        out->samples_ns[i] = tk_clock_ns() - start;
        tk_traffic_sum all = tk_traffic_so_far(r->traffic);
        sum.prompt_bytes += at_gen.bytes;
        sum.prompt_flop += at_gen.flop;
        sum.gen_bytes += all.bytes - at_gen.bytes;
        sum.gen_flop += all.flop - at_gen.flop;
        sum.n_step += (double)tk_traffic_steps(r->traffic);
        keep_op_work(r, out);
        rewind_to(r, r->t.n_depth);
    }
    tk_exec_time_ops(r->x, NULL);
    double n = r->opts->n_rep;
    out->work = (tk_bench_work){sum.prompt_bytes / n, sum.prompt_flop / n, sum.gen_bytes / n,
                                sum.gen_flop / n, sum.n_step / n};
    return st;
}

static tk_status prepare(run *r, const tk_bench_test *t, tk_err *err)
{
    size_t n = (size_t)t->n_parallel;
    int32_t most = tk_exec_plan_of(r->x)->n_step_tok;
    if (t->n_parallel > most)
        return tk_fail(err, TK_NOMEM, "%d sequences at once, a step of this model takes %d tokens",
                       t->n_parallel, most);
    r->chunk = TK_MIN(most, TK_MIN(t->n_batch, t->n_ubatch));
    r->seq = tk_alloc(n * sizeof *r->seq);
    r->rng = tk_alloc(n * sizeof *r->rng);
    r->parts = tk_alloc((size_t)most * sizeof *r->parts);
    r->ids = tk_alloc((size_t)most * sizeof *r->ids);
    r->logits = tk_try_alloc(n * (size_t)r->n_vocab, sizeof *r->logits);
    if (r->logits == NULL)
        return tk_fail(err, TK_NOMEM, "no memory for %d x %d logits", t->n_parallel, r->n_vocab);
    for (size_t i = 0; i < n; i++) r->rng[i].state = r->opts->seed + (i + 1) * 0x9E3779B97F4A7C15u;
    return TK_OK;
}

tk_status tk_bench_kernel(tk_engine *e, const tk_bench_test *t, const tk_bench_opts *opts,
                          tk_bench_result *out, tk_err *err)
{
    run r = {.x = tk_engine_exec(e), .t = *t, .opts = opts};
    tk_status st;
    *out = (tk_bench_result){.test = *t, .n_rep = opts->n_rep};
    r.n_vocab = tk_engine_program(e)->cfg.n_vocab;
    r.traffic = tk_traffic_new(tk_engine_program(e), r.x);
    r.n_op = tk_engine_program(e)->n_op;
    out->samples_ns = tk_alloc((size_t)opts->n_rep * sizeof *out->samples_ns);
    if (opts->profile) {
        out->op_ns = tk_alloc((size_t)r.n_op * sizeof *out->op_ns);
        out->op_work = tk_alloc((size_t)r.n_op * sizeof *out->op_work);
    }
    TK_TRY(prepare(&r, t, err));
    out->n_step_tok = r.chunk;
    if (t->n_depth > 0) TK_TRY(prompt(&r, t->n_depth, err));
    if (opts->warmup) TK_TRY(warm_up(&r, err));
    TK_TRY(repeat(&r, out, err));
done:
    for (int i = 0; r.seq && i < t->n_parallel; i++)
        tk_kv_table_clear(tk_exec_kv_pool(r.x), &r.seq[i]);
    tk_traffic_free(r.traffic);
    tk_free(r.seq);
    tk_free(r.rng);
    tk_free(r.parts);
    tk_free(r.ids);
    tk_free(r.logits);
    if (st != TK_OK) tk_bench_result_free(out);
    return st;
}

void tk_bench_result_free(tk_bench_result *r)
{
    tk_free(r->samples_ns);
    tk_free(r->op_ns);
    tk_free(r->op_work);
    r->samples_ns = r->op_ns = NULL;
    r->op_work = NULL;
}
