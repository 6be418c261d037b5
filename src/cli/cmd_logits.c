// SPDX-License-Identifier: MIT
// The logits of given token ids, for checking against other implementations.
#include "cli/cmd.h"
#include "cli/ids.h"
#include "cli/model_opts.h"

#include "base/mem.h"
#include "store/safetensors_write.h"

#include <string.h>

typedef struct options {
    tk_cmd_common common;
    tk_model_opts model;
    const char *ids, *out, *mode;
} options;

static const tk_opt table[] = {
    {.name = "jsonl",
     .type = TK_OPT_STR,
     .arg = "IDS",
     .offset = offsetof(options, ids),
     .help = "File of JSON arrays of token ids, one sequence a line (- = standard input)."},
    {.name = "output",
     .aliases = "o",
     .type = TK_OPT_STR,
     .arg = "FILE",
     .offset = offsetof(options, out),
     .help =
         "The safetensors file to write: F32 tensors logits.0, logits.1, ... of [n_tok][n_vocab]."},
    {.name = "mode",
     .type = TK_OPT_CHOICE,
     .arg = "prefill|decode|batch",
     .choices = "prefill decode batch",
     .offset = offsetof(options, mode),
     .help = "One pass (default), token by token, or all sequences in the same steps."},
    TK_MODEL_OPTS(options),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_logits = {
    .name = "logits",
    .synopsis = "logits MODEL --jsonl IDS -o OUT.safetensors [options]",
    .summary = "write the logits of given token ids",
    .opts = table,
    .run = run,
};

typedef struct job {
    tk_exec *x;
    const tk_id_list *seqs;
    int n;
    tk_st_writer *out;
    int32_t n_vocab;
    int32_t step; // tokens per step
} job;

// Sequences one after the other, `chunk` tokens a step.
static tk_status one_by_one(const job *j, int32_t chunk, tk_err *err)
{
    tk_status st = TK_OK;
    for (int i = 0; i < j->n && st == TK_OK; i++) {
        tk_kv_table seq = {0};
        for (int32_t at = 0; at < j->seqs[i].n && st == TK_OK; at += chunk) {
            int32_t n = TK_MIN(chunk, j->seqs[i].n - at);
            tk_step_part part = {.seq = &seq,
                                 .ids = j->seqs[i].ids + at,
                                 .n = n,
                                 .n_logits = n,
                                 .logits = tk_st_writer_data(j->out, i) +
                                           (size_t)at * (size_t)j->n_vocab};
            st = tk_exec_step(j->x, &part, 1, err);
        }
        tk_kv_table_clear(tk_exec_kv_pool(j->x), &seq);
    }
    return st;
}

// Every step takes the next few tokens of every unfinished sequence.
static tk_status together(const job *j, tk_err *err)
{
    tk_kv_table *seq = tk_alloc((size_t)j->n * sizeof *seq);
    tk_step_part *parts = tk_alloc((size_t)j->n * sizeof *parts);
    tk_status st = TK_OK;
    for (bool more = true; more && st == TK_OK;) {
        int n_part = 0;
        int32_t room = j->step;
        more = false;
        for (int i = 0; i < j->n && room > 0; i++) {
            int32_t left = j->seqs[i].n - seq[i].n_tok,
                    n = TK_MIN(TK_MIN(left, room), 1 + (i * 7 + 5) % 13);
            if (left <= 0) continue;
            more = true;
            parts[n_part++] = (tk_step_part){.seq = &seq[i],
                                             .ids = j->seqs[i].ids + seq[i].n_tok,
                                             .n = n,
                                             .n_logits = n,
                                             .logits = tk_st_writer_data(j->out, i) +
                                                       (size_t)seq[i].n_tok * (size_t)j->n_vocab};
            room -= n;
        }
        if (more) st = tk_exec_step(j->x, parts, n_part, err);
    }
    for (int i = 0; i < j->n; i++) tk_kv_table_clear(tk_exec_kv_pool(j->x), &seq[i]);
    tk_free(seq);
    tk_free(parts);
    return st;
}

static tk_status write_all(tk_engine *e, const options *o, const tk_id_list *seqs, int n,
                           tk_err *err)
{
    bool batch = o->mode && strcmp(o->mode, "batch") == 0,
         decode = o->mode && strcmp(o->mode, "decode") == 0;
    int64_t longest = 1, all = 0;
    for (int i = 0; i < n; i++) {
        longest = TK_MAX(longest, (int64_t)seqs[i].n);
        all += (seqs[i].n + TK_KV_BLOCK_TOK - 1) / TK_KV_BLOCK_TOK * TK_KV_BLOCK_TOK;
    }
    int64_t ctx = batch ? all : longest;
    if (ctx > INT32_MAX)
        return tk_fail(err, TK_NOMEM, "%lld tokens of context are too many", (long long)ctx);
    tk_status st = tk_engine_load(e, (int32_t)ctx, err);
    if (st != TK_OK) return st;
    int32_t n_vocab = tk_engine_program(e)->cfg.n_vocab;
    tk_st_spec *specs = tk_alloc((size_t)n * sizeof *specs);
    char(*names)[24] = tk_alloc((size_t)n * sizeof *names);
    for (int i = 0; i < n; i++) {
        snprintf(names[i], sizeof names[i], "logits.%d", i);
        specs[i] = (tk_st_spec){names[i], seqs[i].n, n_vocab};
    }
    job j = {.x = tk_engine_exec(e), .seqs = seqs, .n = n, .n_vocab = n_vocab};
    j.step = tk_exec_plan_of(j.x)->n_step_tok;
    TK_TRY(tk_st_writer_open(o->out, specs, n, &j.out, err));
    st = batch ? together(&j, err) : one_by_one(&j, decode ? 1 : j.step, err);
    tk_status closed = tk_st_writer_close(j.out, st == TK_OK, err);
    if (st == TK_OK) st = closed;
done:
    tk_free(specs);
    tk_free(names);
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *model;
    tk_engine_opts eo;
    tk_engine *e = NULL;
    tk_id_list *seqs = NULL;
    int n = 0;
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_logits, argc, argv, &o, &model, 1, 1, NULL, err));
    if (o.ids == NULL || o.out == NULL) {
        st = tk_fail(err, TK_USAGE, "usage: tokamak %s", tk_cmd_logits.synopsis);
        goto done;
    }
    TK_TRY(tk_model_opts_apply(&o.model, &eo, err));
    TK_TRY(tk_engine_open(model, &eo, &e, err));
    TK_TRY(tk_ids_from_file(o.ids, tk_engine_program(e)->cfg.n_vocab, &seqs, &n, err));
    TK_TRY(write_all(e, &o, seqs, n, err));
done:
    tk_ids_free(seqs, n);
    tk_engine_close(e);
    return st;
}
