// SPDX-License-Identifier: MIT
// One prompt, one answer.
#include "cli/cmd.h"
#include "cli/model_opts.h"
#include "cli/sampling.h"
#include "cli/ids.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hw/mem.h"

#include <stdlib.h>
#include <string.h>

typedef struct options {
    tk_cmd_common common;
    tk_model_opts model;
    tk_sampling_opts sampling;
    const char *prompt, *system, *ids;
    bool raw, json;
} options;

static const tk_opt table[] = {
    {.name = "prompt",
     .aliases = "p",
     .type = TK_OPT_STR,
     .arg = "TEXT",
     .offset = offsetof(options, prompt),
     .help = "The prompt (default: all of standard input)."},
    {.name = "system",
     .aliases = "sys",
     .type = TK_OPT_STR,
     .arg = "TEXT",
     .offset = offsetof(options, system),
     .help = "A system message before the prompt."},
    {.name = "raw",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, raw),
     .help = "Continue the text as it is, without the model's chat template."},
    {.name = "ids",
     .type = TK_OPT_STR,
     .arg = "FILE",
     .offset = offsetof(options, ids),
     .help = "The prompt as a JSON array of token ids."},
    {.name = "json",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, json),
     .help = "Print one JSON object at the end."},
    TK_SAMPLING_OPTS(options),
    TK_MODEL_OPTS(options),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_run = {
    .name = "run",
    .synopsis = "run MODEL [-p TEXT] [options]",
    .summary = "answer one prompt, streaming",
    .details =
        "The model's chat template is applied when it has one; --raw continues the text as it is.\n"
        "Time to first token, speeds and memory are printed on standard error at the end.",
    .opts = table,
    .run = run,
};

static tk_status read_stdin(char **out, tk_err *err)
{
    tk_buf b = tk_buf_make(TK_LIMIT_TEXT_BYTES);
    char *at;
    size_t n = 1;
    while (n > 0 && (at = tk_buf_reserve(&b, 65536)) != NULL) {
        n = fread(at, 1, 65536, stdin);
        b.len += n;
    }
    if (b.failed) {
        tk_buf_free(&b);
        return tk_fail(err, TK_BAD_INPUT, "the prompt is longer than %u bytes",
                       TK_LIMIT_TEXT_BYTES);
    }
    b.data[b.len] = 0;
    *out = tk_buf_take(&b);
    return TK_OK;
}

static tk_status prompt_ids(const tk_model *m, const options *o, tk_id_list *out, tk_err *err)
{
    char *text = NULL;
    tk_status st = TK_OK;
    if (o->ids) {
        tk_id_list *lists = NULL;
        int n = 0;
        st = tk_ids_from_file(o->ids, tk_engine_program(m->engine)->cfg.n_vocab, &lists, &n, err);
        if (st != TK_OK) return st;
        *out = lists[0];
        lists[0].ids = NULL;
        tk_ids_free(lists, n);
        return TK_OK;
    }
    if (o->prompt)
        text = tk_strdup(o->prompt);
    else
        TK_TRY(read_stdin(&text, err));
    size_t n = 0;
    TK_TRY(tk_model_prompt(m, o->system, text, o->raw, &out->ids, &n, err));
    out->n = (int32_t)n;
done:
    tk_free(text);
    return st;
}

static double rate(double n, double s)
{
    return s > 0 ? n / s : 0;
}

static void print_summary(const tk_model *m, const tk_answer *a, uint64_t stated)
{
    const tk_generation *g = &a->gen;
    (void)m;
    tk_log(TK_LOG_INFO,
           "first token %.3f s, prompt %d tokens %.1f tok/s, output %d tokens %.1f tok/s, peak "
           "memory %.1f MiB "
           "(stated %.1f MiB + 64)",
           g->ttft_s, g->n_prompt, rate(g->n_prompt, g->prefill_s), g->n_out,
           rate(g->n_out > 1 ? g->n_out - 1 : 0, g->decode_s),
           (double)tk_mem_peak_rss_bytes() / (1 << 20), (double)stated / (1 << 20));
}

static void print_json(const tk_model *m, const tk_id_list *prompt, const tk_answer *a)
{
    const tk_generation *g = &a->gen;
    json_t *pids = json_array(), *ids = json_array(), *lps = json_array();
    for (int32_t i = 0; i < prompt->n; i++)
        json_array_append_new(pids, json_integer(prompt->ids[i]));
    for (int32_t i = 0; i < a->n; i++) {
        json_array_append_new(ids, json_integer(a->ids[i]));
        json_array_append_new(lps, json_real(a->logprobs[i]));
    }
    tk_exec *x = tk_engine_exec(m->engine);
    json_t *j = json_pack("{s:o, s:o, s:o, s:o, s:s, s:f, s:f, s:f, s:I, s:i, s:s}", "text",
                          json_stringn(tk_buf_str(&a->text), a->text.len), "prompt_ids", pids,
                          "ids", ids, "logprobs", lps, "finish_reason", tk_answer_finish_reason(a),
                          "ttft_s", g->ttft_s, "prefill_tok_s", rate(g->n_prompt, g->prefill_s),
                          "decode_tok_s", rate(g->n_out > 1 ? g->n_out - 1 : 0, g->decode_s),
                          "peak_rss_bytes", (json_int_t)tk_mem_peak_rss_bytes(), "threads",
                          tk_exec_plan_of(x)->n_thread, "isa", tk_isa_name(tk_exec_isa(x)));
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

static bool print_text(void *ctx, const char *text, size_t len)
{
    (void)ctx;
    return fwrite(text, 1, len, stdout) == len && fflush(stdout) == 0;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.sampling = TK_SAMPLING_DEFAULTS};
    const char *model;
    tk_engine_opts eo;
    tk_model m = {0};
    tk_id_list prompt = {0};
    tk_answer a = {0};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_run, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_model_opts_apply(&o.model, &eo, err));
    TK_TRY(tk_model_open(model, &eo, o.ids == NULL, &m, err));
    TK_TRY(prompt_ids(&m, &o, &prompt, err));
    int64_t want = prompt.n + (o.sampling.max_tokens >= 0 ? o.sampling.max_tokens : 512);
    int64_t most = TK_MAX((int64_t)tk_engine_program(m.engine)->cfg.max_ctx, (int64_t)prompt.n);
    TK_TRY(tk_engine_load(
        m.engine, o.model.ctx ? (int32_t)o.model.ctx : (int32_t)TK_MAX(1, TK_MIN(want, most)),
        err));
    tk_catch_interrupt();
    tk_request request = tk_sampling_request(&o.sampling);
    st = tk_answer_make(&m, prompt.ids, prompt.n, &request, o.json ? NULL : print_text, NULL,
                        &tk_interrupted, &a, err);
    if (!o.json) putchar('\n');
    if (st == TK_OK && o.json) print_json(&m, &prompt, &a);
    if (st == TK_OK) print_summary(&m, &a, tk_exec_plan_of(tk_engine_exec(m.engine))->total_bytes);
done:
    tk_answer_free(&a);
    tk_free(prompt.ids);
    tk_model_close(&m);
    return st;
}
