// SPDX-License-Identifier: MIT
// How fast the engine's steps are, as llama-bench asks and answers.
#include "cli/cmd.h"
#include "cli/bench_list.h"
#include "cli/model_opts.h"
#include "cli/sampling.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/pool.h"
#include "bench/kernel.h"
#include "bench/kernel_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    tk_cmd_common common;
    const char *compute, *output, *kv_dtype, *repack_cache;
    tk_opt_list model, n_prompt, n_gen, pg, n_depth, n_batch, n_ubatch, threads, parallel;
    int64_t reps, seed;
    bool no_roof, no_repack, no_warmup, profile;
} options;

#define LIST(long_name, short_names, field, text)                                                  \
    {                                                                                              \
        .name = long_name, .aliases = short_names, .type = TK_OPT_LIST, .arg = "LIST",             \
        .help = text, .offset = offsetof(options, field)                                           \
    }

static const tk_opt table[] = {
    {.name = "model",
     .aliases = "m model-path",
     .type = TK_OPT_LIST,
     .arg = "MODEL",
     .help = "The model, or several separated by commas.",
     .offset = offsetof(options, model)},
    LIST("n-prompt", "p", n_prompt,
         "Tests that prefill so many tokens (default 512). With --parallel and a generation test, "
         "the context each sequence decodes behind (default 0)."),
    LIST("n-gen", "n", n_gen, "Tests that decode so many tokens (default 128)."),
    {.name = "pg",
     .type = TK_OPT_LIST,
     .arg = "P,N",
     .help = "A test that prefills P tokens and decodes N; may be given several times.",
     .offset = offsetof(options, pg)},
    LIST("n-depth", "d", n_depth, "Tokens of context before each test, not timed (default 0)."),
    LIST("batch-size", "b", n_batch, "Most tokens of a prompt step (default 2048)."),
    LIST("ubatch-size", "ub", n_ubatch,
         "The same; the smallest of both and of what the engine takes counts (default 512)."),
    LIST("threads", "t", threads, "Threads that compute (default 0: every processor)."),
    LIST("parallel", "npl", parallel, "Sequences decoded in the same steps (default 1)."),
    {.name = "repetitions",
     .aliases = "r",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 1,
     .max = 10000,
     .help = "How often each test is repeated (default 5).",
     .offset = offsetof(options, reps)},
    {.name = "output",
     .aliases = "o",
     .type = TK_OPT_CHOICE,
     .arg = "md|csv|json|jsonl",
     .choices = "md csv json jsonl",
     .help = "Form of the result (default md).",
     .offset = offsetof(options, output)},
    {.name = "seed",
     .aliases = "s",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 0,
     .max = 9007199254740992.0,
     .help = "Of the random token ids (default 1).",
     .offset = offsetof(options, seed)},
    {.name = "no-roof",
     .type = TK_OPT_FLAG,
     .help = "Do not probe what the machine can do at most: fractions are then unknown.",
     .offset = offsetof(options, no_roof)},
    {.name = "no-repack",
     .type = TK_OPT_FLAG,
     .help = "Use the weights where they are mapped, as `run` does by default.",
     .offset = offsetof(options, no_repack)},
    {.name = "no-warmup",
     .type = TK_OPT_FLAG,
     .help = "No untimed pass before the timed ones.",
     .offset = offsetof(options, no_warmup)},
    {.name = "profile",
     .type = TK_OPT_FLAG,
     .help = "Where the time of a step goes: a table of its operations after each row.",
     .offset = offsetof(options, profile)},
    {.name = "repack-cache",
     .type = TK_OPT_STR,
     .arg = "DIR",
     .help = TK_MODEL_OPTS_CACHE_HELP,
     .offset = offsetof(options, repack_cache)},
    {.name = "kv-cache-dtype",
     .aliases = "ctk",
     .type = TK_OPT_CHOICE,
     .arg = "TYPE",
     .choices = TK_MODEL_OPTS_KV,
     .help = TK_MODEL_OPTS_KV_HELP,
     .offset = offsetof(options, kv_dtype)},
    {.name = "compute",
     .type = TK_OPT_CHOICE,
     .arg = "ref|best",
     .choices = "ref best",
     .help = "Kernels: best for this machine (default), or the reference ones with a float32 "
             "cache.",
     .offset = offsetof(options, compute)},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_bench_kernel = {
    .name = "bench kernel",
    .synopsis = "bench kernel -m MODEL [-p LIST] [-n LIST] [-pg P,N] [--parallel LIST] [options]",
    .summary = "measure prefill and decode as llama-bench does, against the machine's limits",
    .details =
        "A LIST is 512, or 1,4,16, or 1-4, or 16-64*2, or 128-512+128; an option may be given "
        "several times.\n"
        "One row for each combination: tokens/s (of all sequences together), GB of weights read "
        "and operations per second, and the fraction of what the machine can do at most.",
    .opts = table,
    .run = run,
};

typedef struct job {
    const options *o;
    char *models[TK_OPT_LIST_MAX];
    int n_model;
    tk_bench_list p, n, d, b, ub, t, parallel;
    int32_t pg[TK_OPT_LIST_MAX][2];
    tk_engine_opts engine;
    tk_bench_test *tests; // of one model and number of threads
    int n_test, cap_test;
    tk_bench_printer printer;
    tk_roof roof;
} job;

// A name with commas that is a file is one model.
static tk_status add_models(job *j, const char *item, tk_err *err)
{
    for (const char *at = item;;) {
        size_t len = tk_file_is_there(item) ? strlen(item) : strcspn(at, ",");
        if (j->n_model == TK_OPT_LIST_MAX)
            return tk_fail(err, TK_USAGE, "more than %d models", TK_OPT_LIST_MAX);
        j->models[j->n_model++] = tk_strndup(at, len);
        at += len;
        if (*at++ == 0) return TK_OK;
    }
}

static tk_status parse_pairs(job *j, tk_err *err)
{
    for (int i = 0; i < j->o->pg.n; i++) {
        tk_opt_list one = {.item = {j->o->pg.item[i]}, .n = 1};
        tk_bench_list pair;
        tk_status st = tk_bench_list_parse("pg", &one, 0, TK_LIMIT_CONTEXT, 0, &pair, err);
        if (st != TK_OK) return st;
        if (pair.n != 2)
            return tk_fail(err, TK_USAGE, "--pg is \"%s\"; two numbers were expected, as 512,128",
                           one.item[0]);
        j->pg[i][0] = pair.v[0];
        j->pg[i][1] = pair.v[1];
    }
    return TK_OK;
}

static tk_status parse_lists(job *j, tk_err *err)
{
    const options *o = j->o;
    const int32_t most = TK_LIMIT_CONTEXT;
    tk_status st;
    TK_TRY(tk_bench_list_parse("n-prompt", &o->n_prompt, 0, most, 512, &j->p, err));
    TK_TRY(tk_bench_list_parse("n-gen", &o->n_gen, 0, most, 128, &j->n, err));
    TK_TRY(tk_bench_list_parse("n-depth", &o->n_depth, 0, most, 0, &j->d, err));
    TK_TRY(tk_bench_list_parse("batch-size", &o->n_batch, 1, most, 2048, &j->b, err));
    TK_TRY(tk_bench_list_parse("ubatch-size", &o->n_ubatch, 1, most, 512, &j->ub, err));
    TK_TRY(tk_bench_list_parse("threads", &o->threads, 0, TK_LIMIT_THREADS, 0, &j->t, err));
    TK_TRY(tk_bench_list_parse("parallel", &o->parallel, 1, 65536, 1, &j->parallel, err));
    TK_TRY(parse_pairs(j, err));
done:
    return st;
}

static void add_test(job *j, tk_bench_test t)
{
    if (t.n_prompt == 0 && t.n_gen == 0) return;
    if (j->n_test == j->cap_test) {
        j->cap_test = TK_MAX(16, 2 * j->cap_test);
        j->tests = tk_realloc(j->tests, (size_t)j->cap_test * sizeof *j->tests);
    }
    j->tests[j->n_test++] = t;
}

// The tests of one context and batch. One sequence: as llama-bench, -p and -n are tests of their own. Several:
// as llama-batched-bench, -p is the context of each generation; without generations it is prefilled.
static void add_tests(job *j, tk_bench_test t)
{
    tk_bench_test base = t;
    bool generates = false;
    for (int i = 0; i < j->n.n; i++) generates |= j->n.v[i] > 0;
    bool behind = t.n_parallel > 1 && generates;
    for (int i = 0; i < j->p.n && !behind; i++) {
        t.n_prompt = j->p.v[i];
        add_test(j, t);
    }
    t = base;
    for (int k = 0; k < (behind && j->o->n_prompt.n ? j->p.n : 1); k++)
        for (int i = 0; i < j->n.n; i++) {
            t.n_depth = base.n_depth + (behind && j->o->n_prompt.n ? j->p.v[k] : 0);
            t.n_gen = j->n.v[i];
            add_test(j, t);
        }
    t = base;
    for (int i = 0; i < j->o->pg.n; i++) {
        t.n_prompt = j->pg[i][0];
        t.n_gen = j->pg[i][1];
        add_test(j, t);
    }
}

static void list_tests(job *j)
{
    for (int d = 0; d < j->d.n; d++)
        for (int b = 0; b < j->b.n; b++)
            for (int u = 0; u < j->ub.n; u++)
                for (int s = 0; s < j->parallel.n; s++)
                    add_tests(j, (tk_bench_test){.n_depth = j->d.v[d],
                                                 .n_batch = j->b.v[b],
                                                 .n_ubatch = j->ub.v[u],
                                                 .n_parallel = j->parallel.v[s]});
}

static tk_status run_tests(job *j, const char *model, tk_engine *e, tk_err *err)
{
    tk_bench_opts opts = {.n_rep = (int)j->o->reps,
                          .warmup = !j->o->no_warmup,
                          .profile = j->o->profile,
                          .seed = (uint64_t)j->o->seed,
                          .interrupt = &tk_interrupted};
    for (int i = 0; i < j->n_test; i++) {
        const tk_bench_test *t = &j->tests[i];
        tk_bench_result r;
        tk_log(TK_LOG_VERBOSE, "test %d of %d: %d sequences, context %d, prompt %d, generation %d",
               i + 1, j->n_test, t->n_parallel, t->n_depth, t->n_prompt, t->n_gen);
        tk_status st = tk_bench_kernel(e, t, &opts, &r, err);
        if (st != TK_OK) return st;
        json_t *row = tk_bench_row(&j->printer.about, model, e, &r, &j->roof);
        tk_bench_print_row(&j->printer, row);
        json_decref(row);
        tk_bench_result_free(&r);
    }
    return TK_OK;
}

static tk_status run_model(job *j, const char *model, int n_thread, tk_err *err)
{
    tk_engine *e = NULL;
    int64_t ctx = 1;
    tk_status st;
    j->engine.n_thread = n_thread;
    for (int i = 0; i < j->n_test; i++) ctx = TK_MAX(ctx, tk_bench_test_ctx(&j->tests[i]));
    if (ctx > INT32_MAX)
        return tk_fail(err, TK_NOMEM, "%lld tokens of context are too many", (long long)ctx);
    TK_TRY(tk_engine_open(model, &j->engine, &e, err));
    TK_TRY(tk_engine_load(e, (int32_t)ctx, err));
    TK_TRY(run_tests(j, model, e, err));
done:
    tk_engine_close(e);
    return st;
}

static tk_status probe(job *j, int n_thread, tk_err *err)
{
    if (j->roof.n_thread == n_thread) return TK_OK;
    j->roof = tk_roof_unknown(n_thread);
    if (j->o->no_roof) return TK_OK;
    tk_log(TK_LOG_INFO, "probing what %d threads can do at most", n_thread);
    tk_status st = tk_roof_measure(n_thread, &j->roof, err);
    if (st != TK_OK) return st;
    char text[256];
    tk_bench_roof_text(&j->roof, text, sizeof text);
    tk_log(TK_LOG_INFO, "%s", text);
    return TK_OK;
}

static tk_status prepare(job *j, const char *const *positional, int n_positional, tk_err *err)
{
    const options *o = j->o;
    tk_status st;
    for (int i = 0; i < o->model.n; i++) TK_TRY(add_models(j, o->model.item[i], err));
    for (int i = 0; i < n_positional; i++) TK_TRY(add_models(j, positional[i], err));
    if (j->n_model == 0)
        return tk_fail(err, TK_USAGE, "usage: tokamak %s", tk_cmd_bench_kernel.synopsis);
    TK_TRY(parse_lists(j, err));
    list_tests(j);
    if (j->n_test == 0)
        return tk_fail(err, TK_USAGE, "there is nothing to measure: -p and -n are 0");
    tk_model_opts mo = {.compute = o->compute,
                        .kv_dtype = o->kv_dtype,
                        .no_repack = o->no_repack,
                        .repack_cache = o->repack_cache};
    TK_TRY(tk_model_opts_apply(&mo, &j->engine, err));
    j->engine.repack = !o->no_repack;
    static const char *const formats[] = {"md", "csv", "json", "jsonl"};
    for (int i = 0; i < (int)TK_COUNT(formats); i++)
        if (o->output && strcmp(o->output, formats[i]) == 0) j->printer.format = (tk_bench_format)i;
    j->printer.with_batch = o->n_batch.n || o->n_ubatch.n;
done:
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.reps = 5, .seed = 1};
    const char *positional[TK_OPT_LIST_MAX];
    int n_positional = 0;
    job j = {.o = &o, .printer = {.to = stdout, .about = {tk_cmd_commit, tk_cmd_commit_count}}};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_bench_kernel, argc, argv, &o, positional, 0, TK_OPT_LIST_MAX,
                        &n_positional, err));
    TK_TRY(prepare(&j, positional, n_positional, err));
    tk_catch_interrupt();
    for (int t = 0; t < j.t.n; t++) {
        int n_thread = j.t.v[t] > 0 ? j.t.v[t] : tk_pool_cpu_count();
        TK_TRY(probe(&j, n_thread, err));
        for (int m = 0; m < j.n_model; m++) TK_TRY(run_model(&j, j.models[m], n_thread, err));
    }
    tk_bench_print_end(&j.printer, &j.roof);
done:
    for (int i = 0; i < j.n_model; i++) tk_free(j.models[i]);
    tk_free(j.tests);
    return st;
}
