// SPDX-License-Identifier: MIT
// How every function that can fail reports it: a class for the program (tk_status) and a story for the
// person (tk_err, caller-owned, may be NULL). The first failure wins: tk_fail never overwrites a story.
#ifndef TK_BASE_STATUS_H
#define TK_BASE_STATUS_H

#include "base/compiler.h"

#include <stdarg.h>
#include <stdbool.h>

// X(name, exit code of the command line (docs/cli.md), class in words)
#define TK_STATUS_MAP(X)                                                                           \
    X(TK_OK, 0, "ok")                                                                              \
    X(TK_FAILED, 1, "the work failed")                                                             \
    X(TK_USAGE, 2, "wrong usage")                                                                  \
    X(TK_BAD_INPUT, 3, "bad input")                                                                \
    X(TK_IO, 3, "cannot read or write")                                                            \
    X(TK_UNSUPPORTED, 3, "not supported")                                                          \
    X(TK_NOMEM, 4, "does not fit")                                                                 \
    X(TK_INTERRUPTED, 5, "interrupted")

typedef enum tk_status {
#define X(name, code, text) name,
    TK_STATUS_MAP(X)
#undef X
} tk_status;

typedef struct tk_err {
    tk_status status; // TK_OK while nothing failed
    char msg[1024];   // lower case, names the thing and the numbers; bytes outside printable ASCII
                      // and UTF-8 from input are escaped by the reporter, not here
} tk_err;

#define TK_ERR_INIT                                                                                \
    {                                                                                              \
        .status = TK_OK, .msg = ""                                                                 \
    }

// Sets err (when not NULL and still clean) and returns st, so that `return tk_fail(...)` reads well.
tk_status tk_fail(tk_err *err, tk_status st, const char *fmt, ...) TK_PRINTF(3, 4);
#ifdef __clang_analyzer__ // which cannot see that a failure is never TK_OK
#define tk_fail(err, st, ...) ((tk_fail)(err, st, __VA_ARGS__), (st))
#endif

// Puts "prefix: " before the story already in err, to say where it happened. Returns st.
tk_status tk_fail_in(tk_err *err, tk_status st, const char *fmt, ...) TK_PRINTF(3, 4);

const char *tk_status_text(tk_status st);
int tk_status_exit_code(tk_status st);

// In a function with `tk_status st` and a label `done`: the one way out.
#define TK_TRY(call)                                                                               \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != TK_OK) goto done;                                                                \
    } while (0)

#endif
