// SPDX-License-Identifier: MIT
// `tokamak plan`: one option table (cmd_plan.c), one function per subcommand (plan_*.c).
#ifndef TK_CLI_PLAN_H
#define TK_CLI_PLAN_H

#include "cli/cmd.h"
#include "plan/catalog.h"

typedef struct tk_plan_options {
    tk_cmd_common common;
    const char *data;
    const char *json;
    const char *points;
    bool rows;
} tk_plan_options;

// Everything after the subcommand's name.
typedef struct tk_plan_call {
    const tk_plan_options *o;
    tk_catalog *catalog;
    const char *const *arg;
    int n_arg;
} tk_plan_call;

// Writes j to path ("-": standard output) and gives it back. path NULL: only gives it back.
tk_status tk_plan_write_json(json_t *j, const char *path, tk_err *err);

tk_status tk_plan_fit(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_validate(const tk_plan_call *c, tk_err *err);
tk_status tk_plan_list(const tk_plan_call *c, tk_err *err);

#endif
