// SPDX-License-Identifier: MIT
// tokamak plan ...: what would it cost on another machine?
#include "cli/plan.h"

#include <stddef.h>
#include <string.h>

typedef tk_plan_options options;

static const tk_opt opts[] = {
    TK_CMD_COMMON_OPTS(options),
    {.name = "data",
     .type = TK_OPT_STR,
     .arg = "DIR",
     .help = "Catalogues and constants to use (default: the ones that came with the program).",
     .offset = offsetof(options, data)},
    {.name = "json",
     .type = TK_OPT_STR,
     .arg = "OUT",
     .help = "Write the result as JSON to OUT (- is standard output).",
     .offset = offsetof(options, json)},
    {.name = "points",
     .type = TK_OPT_STR,
     .arg = "FILE",
     .help = "Measured points as CSV, for validate and fit.",
     .offset = offsetof(options, points)},
    {.name = "rows",
     .type = TK_OPT_FLAG,
     .help = "Print every row of a validation, not the tables alone.",
     .offset = offsetof(options, rows)},
    TK_OPT_END};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_plan = {
    .name = "plan",
    .synopsis = "plan list|validate|fit [options]",
    .summary = "price a model on machines that are not in the room",
    .details = "list                 the systems and models in the catalogues\n"
               "validate             predict every row of --points and compare with its value\n"
               "fit                  fit the constants to the rows of --points with split \"fit\"",
    .opts = opts,
    .run = run,
};

static const struct {
    const char *name;
    tk_status (*run)(const tk_plan_call *, tk_err *);
    int n_arg; // after the name
} subcommands[] = {
    {"list", tk_plan_list, 0},
    {"validate", tk_plan_validate, 0},
    {"fit", tk_plan_fit, 0},
};

static tk_status dispatch(const tk_plan_call *c, const char *name, tk_err *err)
{
    for (size_t i = 0; i < TK_COUNT(subcommands); i++) {
        if (strcmp(name, subcommands[i].name) != 0) continue;
        if (c->n_arg != subcommands[i].n_arg)
            return tk_fail(err, TK_USAGE, "plan %s takes %d names, not %d", name,
                           subcommands[i].n_arg, c->n_arg);
        return subcommands[i].run(c, err);
    }
    return tk_fail(err, TK_USAGE, "unknown subcommand \"%s\"", name);
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *arg[8];
    int n = 0;
    tk_plan_call c = {.o = &o};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_plan, argc, argv, &o, arg, 1, TK_COUNT(arg), &n, err));
    TK_TRY(tk_catalog_open(o.data, &c.catalog, err));
    c.arg = arg + 1;
    c.n_arg = n - 1;
    TK_TRY(dispatch(&c, arg[0], err));
done:
    tk_catalog_close(c.catalog);
    return st;
}
