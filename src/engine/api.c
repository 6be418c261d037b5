// SPDX-License-Identifier: MIT
// The public C API, over engine/generate.
#include "tokamak.h"

#include "base/log.h"
#include "base/mem.h"
#include "engine/generate.h"

#include <stdio.h>
#include <string.h>

#ifndef TK_VERSION
#define TK_VERSION "unknown"
#endif

struct tokamak_engine {
    tk_model model;
};

tokamak_options tokamak_options_default(void)
{
    return (tokamak_options){.struct_size = sizeof(tokamak_options)};
}

tokamak_request tokamak_request_default(void)
{
    return (tokamak_request){.struct_size = sizeof(tokamak_request), .max_tokens = 512, .top_p = 1};
}

const char *tokamak_version(void)
{
    return TK_VERSION;
}

static tokamak_status report(tk_status st, const tk_err *err, char *error, size_t error_len)
{
    if (error && error_len)
        snprintf(error, error_len, "%s",
                 st == TK_OK   ? ""
                 : err->msg[0] ? err->msg
                               : tk_status_text(st));
    return (tokamak_status)tk_status_exit_code(st);
}

tokamak_status tokamak_open(const char *model, const tokamak_options *options,
                            tokamak_engine **engine, char *error, size_t error_len)
{
    tk_err err = TK_ERR_INIT;
    tk_engine_opts eo = tk_engine_opts_default();
    tokamak_engine *e = tk_alloc(sizeof *e);
    tk_status st;
    *engine = NULL;
    if (options && options->struct_size != sizeof *options) {
        st = tk_fail(&err, TK_USAGE, "tokamak_options has %zu bytes, this library's has %zu",
                     options->struct_size, sizeof *options);
        goto done;
    }
    TK_TRY(tk_kernels_allowed(&eo.isa, &err));
    if (options) {
        eo.n_thread = options->threads;
        eo.n_ctx = options->context_tokens;
    }
    tk_log_set_level(TK_LOG_WARN); // a library does not talk
    TK_TRY(tk_model_open(model, &eo, true, &e->model, &err));
    TK_TRY(tk_engine_load(e->model.engine, 0, &err));
    *engine = e;
    e = NULL;
done:
    tokamak_close(e);
    return report(st, &err, error, error_len);
}

void tokamak_close(tokamak_engine *engine)
{
    if (engine == NULL) return;
    tk_model_close(&engine->model);
    tk_free(engine);
}

typedef struct sink {
    tokamak_text_fn fn;
    void *user;
} sink;

static bool pass_on(void *ctx, const char *text, size_t len)
{
    const sink *s = ctx;
    return s->fn(s->user, text, len) == 0;
}

static void fill_result(const tk_answer *a, tokamak_result *r)
{
    const tk_generation *g = &a->gen;
    *r = (tokamak_result){
        .prompt_tokens = g->n_prompt,
        .output_tokens = g->n_out,
        .ended = g->ended || a->hit_stop,
        .ttft_s = g->ttft_s,
        .prefill_tok_s = g->prefill_s > 0 ? g->n_prompt / g->prefill_s : 0,
        .decode_tok_s = g->decode_s > 0 && g->n_out > 1 ? (g->n_out - 1) / g->decode_s : 0,
    };
}

tokamak_status tokamak_ask(tokamak_engine *engine, const tokamak_request *request,
                           tokamak_text_fn fn, void *user, tokamak_result *result, char *error,
                           size_t error_len)
{
    tk_err err = TK_ERR_INIT;
    tk_answer a = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    tk_status st;
    int n_stop = 0;
    sink s = {fn, user};
    if (request->struct_size != sizeof *request || request->prompt == NULL) {
        st = tk_fail(&err, TK_USAGE,
                     "the request is not filled in (begin with tokamak_request_default)");
        goto done;
    }
    while (request->stop && request->stop[n_stop]) n_stop++;
    tk_request r = {.sample = {.temperature = request->temperature,
                               .top_p = request->top_p,
                               .min_p = request->min_p,
                               .top_k = request->top_k,
                               .seed = request->seed},
                    .max_tokens = request->max_tokens,
                    .stop = request->stop,
                    .n_stop = n_stop};
    TK_TRY(tk_model_prompt(&engine->model, request->system, request->prompt, request->raw != 0,
                           &ids, &n, &err));
    tk_engine_rewind(engine->model.engine, 0);
    TK_TRY(tk_answer_make(&engine->model, ids, (int32_t)n, &r, fn ? pass_on : NULL, &s, NULL, &a,
                          &err));
    if (result) fill_result(&a, result);
done:
    tk_free(ids);
    bool stopped = st == TK_OK && a.hit_caller;
    tk_answer_free(&a);
    return stopped ? TOKAMAK_STOPPED : report(st, &err, error, error_len);
}
