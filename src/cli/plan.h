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
} tk_plan_options;

// Everything after the subcommand's name.
typedef struct tk_plan_call {
    const tk_plan_options *o;
    tk_catalog *catalog;
    const char *const *arg;
    int n_arg;
} tk_plan_call;

tk_status tk_plan_list(const tk_plan_call *c, tk_err *err);

#endif
