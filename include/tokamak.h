/* SPDX-License-Identifier: MIT
 * Tokamak's C API: open a model, ask it, stream the answer, close it. An engine answers one request at a
 * time and belongs to the thread that opened it; different engines may be used by different threads.
 *
 *     tokamak_engine *e;
 *     char error[512];
 *     if (tokamak_open("demo", NULL, &e, error, sizeof error) != TOKAMAK_OK) ...
 *     tokamak_request r = tokamak_request_default();
 *     r.prompt = "Sort 3, 1, 2.";
 *     tokamak_ask(e, &r, on_text, NULL, NULL, error, sizeof error);
 *     tokamak_close(e);
 */
#ifndef TOKAMAK_H
#define TOKAMAK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOKAMAK_API __attribute__((visibility("default")))

/* The same classes as the command line's exit codes. */
typedef enum tokamak_status {
    TOKAMAK_OK = 0,
    TOKAMAK_FAILED = 1,
    TOKAMAK_USAGE = 2,
    TOKAMAK_BAD_INPUT = 3, /* file, model or request */
    TOKAMAK_NOMEM = 4,     /* does not fit */
    TOKAMAK_STOPPED = 5    /* the callback asked for it; not an error */
} tokamak_status;

typedef struct tokamak_engine tokamak_engine;

typedef struct tokamak_options {
    size_t struct_size; /* sizeof(tokamak_options): later versions may grow */
    int threads;        /* 0 = every processor this process may use */
    int context_tokens; /* 0 = the model's own limit, at most 4096 */
} tokamak_options;

typedef struct tokamak_request {
    size_t struct_size; /* set by tokamak_request_default */
    const char *prompt; /* UTF-8 */
    const char *system; /* a system message, or NULL */
    int raw;            /* non-zero: continue the text, no chat template */
    int max_tokens;     /* default 512 */
    double temperature; /* 0 (default) = greedy */
    double top_p;       /* default 1 */
    double min_p;       /* default 0 */
    int top_k;          /* 0 (default) = all */
    uint64_t seed;
    const char *const *stop; /* strings that end the answer, NULL-terminated, or NULL */
} tokamak_request;

typedef struct tokamak_result {
    int prompt_tokens, output_tokens;
    int ended;     /* 1: the model or a stop string ended it, 0: the limit did */
    double ttft_s; /* time to first token, seconds */
    double prefill_tok_s, decode_tok_s;
} tokamak_result;

/* A piece of the answer: whole UTF-8 characters, not NUL-terminated. Return 0 to go on, else it stops. */
typedef int (*tokamak_text_fn)(void *user, const char *text, size_t len);

TOKAMAK_API tokamak_options tokamak_options_default(void);
TOKAMAK_API tokamak_request tokamak_request_default(void);

/* model: a Hugging Face snapshot folder, a .gguf file, the ORG/NAME of a pulled one, or "demo". options may
 * be NULL. On success *engine is the caller's (tokamak_close). On failure the story, NUL-terminated, is in
 * error[error_len] (may be NULL). */
TOKAMAK_API tokamak_status tokamak_open(const char *model, const tokamak_options *options,
                                        tokamak_engine **engine, char *error, size_t error_len);
TOKAMAK_API void tokamak_close(tokamak_engine *engine); /* NULL is fine */

/* Answers one request, calling fn for every piece of text in this thread. Each request starts afresh.
 * result may be NULL. TOKAMAK_STOPPED when fn asked to stop. */
TOKAMAK_API tokamak_status tokamak_ask(tokamak_engine *engine, const tokamak_request *request,
                                       tokamak_text_fn fn, void *user, tokamak_result *result,
                                       char *error, size_t error_len);

TOKAMAK_API const char *tokamak_version(void);

#ifdef __cplusplus
}
#endif

#endif
