// SPDX-License-Identifier: MIT
// Lists of numbers as llama-bench takes them: "512", "1,4,16", "1-4", "16-64*2", "128-512+128", and an option
// given several times. One thread.
#ifndef TK_CLI_BENCH_LIST_H
#define TK_CLI_BENCH_LIST_H

#include "base/opt.h"
#include "base/status.h"

#include <stdint.h>

enum { TK_BENCH_LIST_MAX = 256 };

typedef struct tk_bench_list {
    int32_t v[TK_BENCH_LIST_MAX];
    int n;
} tk_bench_list;

// All numbers of all items, each in [min, max]; a list that was not given is the one number fallback.
// TK_USAGE names the option.
tk_status tk_bench_list_parse(const char *name, const tk_opt_list *given, int32_t min, int32_t max,
                              int32_t fallback, tk_bench_list *out, tk_err *err);

#endif
