// SPDX-License-Identifier: MIT
#include "engine/engine.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/locate.h"
#include "hw/mem.h"

#include <string.h>

struct tk_engine {
    tk_engine_opts opts;
    char *path;
    tk_ckpt *ckpt;
    tk_program *program;
    tk_exec *exec;
    tk_kv_table seq;
    float *logits; // [n_vocab]
};

tk_engine_opts tk_engine_opts_default(void)
{
    return (tk_engine_opts){.isa = TK_ISA_COUNT - 1, .kv_dtype = -1};
}

tk_kv_dtype tk_engine_opts_kv(const tk_engine_opts *o)
{
    if (o->kv_dtype >= 0) return (tk_kv_dtype)o->kv_dtype;
    return o->reference ? TK_KV_F32 : TK_KV_BF16;
}

tk_status tk_engine_open(const char *model, const tk_engine_opts *opts, tk_engine **out,
                         tk_err *err)
{
    tk_engine *e = tk_alloc(sizeof *e);
    tk_status st;
    *out = NULL;
    e->opts = *opts;
    TK_TRY(tk_locate(model, &e->path, err));
    TK_TRY(tk_ckpt_open(e->path, &e->ckpt, err));
    TK_TRY(tk_program_build(e->ckpt, &e->program, err));
    *out = e;
    e = NULL;
done:
    tk_engine_close(e);
    return st;
}

void tk_engine_close(tk_engine *e)
{
    if (e == NULL) return;
    if (e->exec) tk_kv_table_clear(tk_exec_kv_pool(e->exec), &e->seq);
    tk_exec_free(e->exec);
    tk_program_free(e->program);
    tk_ckpt_close(e->ckpt);
    tk_free(e->logits);
    tk_free(e->path);
    tk_free(e);
}

const tk_ckpt *tk_engine_ckpt(const tk_engine *e)
{
    return e->ckpt;
}

const tk_program *tk_engine_program(const tk_engine *e)
{
    return e->program;
}

tk_exec *tk_engine_exec(tk_engine *e)
{
    return e->exec;
}

enum { DEFAULT_CTX = 4096 };

// Mapped weights can be read from the file again, so they only need to fit the machine; cache and workspace
// are memory that nothing else can give back.
static tk_status check_fit(const tk_exec_plan *p, tk_err *err)
{
    uint64_t available = tk_mem_available_bytes(), total = tk_mem_total_bytes();
    const double gib = 1.0 / (1 << 30);
    uint64_t taken = p->packed_bytes + p->kv_bytes + p->work_bytes;
    if (available == 0 || (taken <= available && p->total_bytes <= total)) return TK_OK;
    return tk_fail(
        err, TK_NOMEM,
        "this does not fit: weights %.2f GiB + KV cache of %d tokens %.2f GiB + workspace %.2f "
        "GiB = %.2f GiB, the machine has %.2f GiB (%.2f GiB free)",
        (double)(p->weight_bytes + p->packed_bytes) * gib, p->n_kv_tok, (double)p->kv_bytes * gib,
        (double)p->work_bytes * gib, (double)p->total_bytes * gib, (double)total * gib,
        (double)available * gib);
}

tk_status tk_engine_load(tk_engine *e, int32_t n_ctx, tk_err *err)
{
    if (n_ctx <= 0)
        n_ctx = e->opts.n_ctx > 0 ? e->opts.n_ctx : TK_MIN(e->program->cfg.max_ctx, DEFAULT_CTX);
    tk_exec_opts o = tk_exec_opts_default();
    o.n_thread = e->opts.n_thread;
    o.isa = e->opts.reference ? TK_ISA_REF : e->opts.isa;
    o.kv_dtype = tk_engine_opts_kv(&e->opts);
    o.n_kv_tok = n_ctx;
    o.repack = e->opts.repack && !e->opts.reference;
    o.exact = e->opts.exact;
    o.repack_cache = e->opts.repack_cache;
    o.files_id = tk_ckpt_files_id(e->ckpt);
    o.mla_expand_from = e->opts.mla_expand_from;
    tk_exec_plan plan;
    tk_exec_plan_make(e->program, &o, &plan);
    tk_log(TK_LOG_INFO,
           "memory: weights %.1f MiB (%.1f mapped, %.1f packed) + KV cache of %d tokens %.1f MiB + "
           "workspace %.1f MiB = %.1f MiB",
           (double)(plan.weight_bytes + plan.packed_bytes) / (1 << 20),
           (double)plan.weight_bytes / (1 << 20), (double)plan.packed_bytes / (1 << 20),
           plan.n_kv_tok, (double)plan.kv_bytes / (1 << 20), (double)plan.work_bytes / (1 << 20),
           (double)plan.total_bytes / (1 << 20));
    tk_status st = check_fit(&plan, err);
    if (st != TK_OK) return st;
    e->logits = tk_try_alloc((size_t)e->program->cfg.n_vocab, sizeof *e->logits);
    if (e->logits == NULL)
        return tk_fail(err, TK_NOMEM, "no memory for %d logits", e->program->cfg.n_vocab);
    return tk_exec_new(e->program, &o, &e->exec, err);
}

void tk_engine_rewind(tk_engine *e, int32_t n_tok)
{
    tk_kv_table_truncate(tk_exec_kv_pool(e->exec), &e->seq, n_tok);
}

int32_t tk_engine_n_past(const tk_engine *e)
{
    return e->seq.n_tok;
}

static tk_status feed(tk_engine *e, const int32_t *ids, int32_t n, const atomic_int *interrupt,
                      tk_err *err)
{
    int32_t step = tk_exec_plan_of(e->exec)->n_step_tok;
    for (int32_t at = 0; at < n; at += step) {
        if (interrupt && atomic_load_explicit(interrupt, memory_order_relaxed))
            return tk_fail(err, TK_INTERRUPTED, "interrupted after %d of %d prompt tokens", at, n);
        int32_t m = TK_MIN(step, n - at);
        tk_step_part part = {
            .seq = &e->seq, .ids = ids + at, .n = m, .n_logits = at + m == n, .logits = e->logits};
        tk_status st = tk_exec_step(e->exec, &part, 1, err);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

static bool is_end(int32_t id, const int32_t *end, int n_end)
{
    for (int i = 0; i < n_end; i++)
        if (end[i] == id) return true;
    return false;
}

tk_status tk_engine_generate(tk_engine *e, const int32_t *prompt, int32_t n_prompt,
                             int32_t max_tokens, const tk_sample_opts *sample, const int32_t *end,
                             int n_end, tk_token_fn fn, void *ctx, const atomic_int *interrupt,
                             tk_generation *out, tk_err *err)
{
    *out = (tk_generation){.n_prompt = n_prompt};
    if (n_prompt < 1) return tk_fail(err, TK_BAD_INPUT, "the prompt has no tokens");
    int64_t need = (int64_t)e->seq.n_tok + n_prompt;
    if (need > tk_exec_plan_of(e->exec)->n_kv_tok)
        return tk_fail(err, TK_NOMEM,
                       "the prompt has %lld tokens with what went before, the context holds %d",
                       (long long)need, tk_exec_plan_of(e->exec)->n_kv_tok);
    int32_t n_vocab = e->program->cfg.n_vocab;
    tk_sampler *s = tk_sampler_new(sample);
    tk_sample_scratch *scratch = tk_sample_scratch_new(n_vocab);
    tk_status st;
    tk_sampler_see_prompt(s, prompt, n_prompt);
    uint64_t start = tk_clock_ns(), first = 0;
    TK_TRY(feed(e, prompt, n_prompt, interrupt, err));
    out->prefill_s = (double)(tk_clock_ns() - start) * 1e-9;
    while (out->n_out < max_tokens) {
        int32_t id = tk_sampler_draw(s, scratch, e->logits, NULL);
        if (first == 0) first = tk_clock_ns();
        if (is_end(id, end, n_end)) {
            out->ended = true;
            break;
        }
        out->n_out++;
        tk_sampler_see_output(s, id);
        if (!fn(ctx, id, tk_sample_logprob(e->logits, n_vocab, id))) {
            out->stopped = true;
            break;
        }
        if (out->n_out >= max_tokens || e->seq.n_tok + 1 > tk_exec_plan_of(e->exec)->n_kv_tok)
            break;
        TK_TRY(feed(e, &id, 1, interrupt, err));
    }
    if (first) out->ttft_s = (double)(first - start) * 1e-9;
    out->decode_s = first ? (double)(tk_clock_ns() - first) * 1e-9 : 0;
done:
    tk_sampler_free(s);
    tk_sample_scratch_free(scratch);
    return st;
}
