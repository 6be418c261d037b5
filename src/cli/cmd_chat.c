// SPDX-License-Identifier: MIT
// A conversation in the terminal. The cache keeps the conversation: each turn only prefills what is new.
#include "cli/cmd.h"
#include "cli/model_opts.h"
#include "cli/sampling.h"

#include "base/log.h"
#include "base/mem.h"

#include <editline/readline.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct options {
    tk_cmd_common common;
    tk_model_opts model;
    tk_sampling_opts sampling;
    const char *system;
} options;

static const tk_opt table[] = {
    {.name = "system",
     .aliases = "sys",
     .type = TK_OPT_STR,
     .arg = "TEXT",
     .offset = offsetof(options, system),
     .help = "A system message at the beginning."},
    TK_SAMPLING_OPTS(options),
    TK_MODEL_OPTS(options),
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_chat = {
    .name = "chat",
    .synopsis = "chat MODEL [options]",
    .summary = "talk with a model in the terminal",
    .details = "Lines beginning with / are commands: /help lists them. Ctrl-C stops an answer, "
               "Ctrl-D leaves.",
    .opts = table,
    .run = run,
};

typedef struct talk {
    tk_model m;
    const options *o;
    json_t *messages;
    int32_t *seen; // ids the cache holds
    int32_t n_seen;
} talk;

static void begin(talk *t)
{
    json_decref(t->messages);
    t->messages = json_array();
    if (t->o->system)
        json_array_append_new(t->messages,
                              json_pack("{s:s, s:s}", "role", "system", "content", t->o->system));
}

// False: leave.
static bool command(talk *t, const char *line)
{
    if (strcmp(line, "/exit") == 0 || strcmp(line, "/quit") == 0) return false;
    if (strcmp(line, "/clear") == 0)
        begin(t);
    else
        puts("/help   this list\n/clear  forget the conversation\n/exit   leave (Ctrl-D does "
             "too)\nCtrl-C stops an answer.");
    return true;
}

static bool print_text(void *ctx, const char *text, size_t len)
{
    (void)ctx;
    return fwrite(text, 1, len, stdout) == len && fflush(stdout) == 0;
}

// The cache keeps what the new prompt begins with; at least one token is prefilled again for its logits.
static int32_t reuse(talk *t, const int32_t *ids, int32_t n)
{
    int32_t same = 0, held = TK_MIN(t->n_seen, tk_engine_n_past(t->m.engine));
    while (same < held && same < n - 1 && t->seen[same] == ids[same]) same++;
    tk_engine_rewind(t->m.engine, same);
    return same;
}

static tk_status answer(talk *t, tk_err *err)
{
    int32_t *ids = NULL;
    size_t n = 0;
    tk_answer a = {0};
    tk_request r = tk_sampling_request(&t->o->sampling);
    tk_status st = tk_chat_prompt(t->m.chat, t->messages, &ids, &n, err);
    if (st != TK_OK) return st;
    int32_t same = reuse(t, ids, (int32_t)n);
    st = tk_answer_make(&t->m, ids + same, (int32_t)n - same, &r, print_text, NULL, &tk_interrupted,
                        &a, err);
    putchar('\n');
    if (st == TK_INTERRUPTED) {
        st = TK_OK;
        *err = (tk_err)TK_ERR_INIT;
    }
    tk_log(TK_LOG_INFO, "%d of %zu prompt tokens from the cache, first token %.3f s, %.1f tok/s",
           same, n, a.gen.ttft_s,
           a.gen.decode_s > 0 && a.gen.n_out > 1 ? (a.gen.n_out - 1) / a.gen.decode_s : 0);
    json_array_append_new(t->messages, json_pack("{s:s, s:o}", "role", "assistant", "content",
                                                 json_stringn(tk_buf_str(&a.text), a.text.len)));
    tk_free(t->seen);
    t->n_seen = (int32_t)n + a.n;
    t->seen = tk_realloc(ids, (size_t)t->n_seen * sizeof *ids);
    if (a.n) memcpy(t->seen + n, a.ids, (size_t)a.n * sizeof *a.ids);
    tk_answer_free(&a);
    return st;
}

static tk_status talk_on(talk *t, tk_err *err)
{
    bool terminal = isatty(STDIN_FILENO);
    tk_status st = TK_OK;
    char *line;
    if (terminal) puts("/help lists the commands.");
    while (st == TK_OK && (line = readline(terminal ? "> " : "")) != NULL) {
        atomic_store(&tk_interrupted, 0);
        bool go_on = true;
        if (line[0] == '/') {
            go_on = command(t, line);
        } else if (line[0]) {
            json_t *m = json_pack("{s:s, s:s}", "role", "user", "content", line);
            add_history(line);
            if (m == NULL)
                puts("that is not valid UTF-8");
            else {
                json_array_append_new(t->messages, m);
                st = answer(t, err);
            }
        }
        free(line);
        if (!go_on) break;
    }
    return st;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.sampling = TK_SAMPLING_DEFAULTS};
    const char *model;
    tk_engine_opts eo;
    talk t = {.o = &o};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_chat, argc, argv, &o, &model, 1, 1, NULL, err));
    TK_TRY(tk_model_opts_apply(&o.model, &eo, err));
    TK_TRY(tk_model_open(model, &eo, true, &t.m, err));
    if (t.m.chat == NULL) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: there is no chat template; use: tokamak run", model);
        goto done;
    }
    TK_TRY(tk_engine_load(t.m.engine, 0, err));
    tk_catch_interrupt();
    begin(&t);
    st = talk_on(&t, err);
done:
    json_decref(t.messages);
    tk_free(t.seen);
    tk_model_close(&t.m);
    return st;
}
