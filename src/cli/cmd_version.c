// SPDX-License-Identifier: MIT
#include "cli/cmd.h"

#include <jansson.h>
#include <stdio.h>

#ifndef TK_VERSION
#define TK_VERSION "unknown"
#endif
#ifndef TK_COMMIT
#define TK_COMMIT "unknown"
#endif

#ifndef TK_COMMIT_COUNT
#define TK_COMMIT_COUNT 0
#endif

const char tk_cmd_commit[] = TK_COMMIT;
const int tk_cmd_commit_count = TK_COMMIT_COUNT;

typedef struct options {
    tk_cmd_common common;
    bool json;
} options;

static const tk_opt table[] = {
    {.name = "json",
     .type = TK_OPT_FLAG,
     .help = "Print one JSON object.",
     .offset = offsetof(options, json)},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_version = {
    .name = "version",
    .synopsis = "version [--json]",
    .summary = "print version, compiler, instruction sets built and libraries",
    .opts = table,
    .run = run,
};

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    tk_status st = tk_cmd_parse(&tk_cmd_version, argc, argv, &o, NULL, 0, 0, NULL, err);
    if (st != TK_OK) return st;
    if (!o.json) {
        printf("tokamak %s (%s), gcc %s\n", TK_VERSION, TK_COMMIT, __VERSION__);
        return TK_OK;
    }
    json_t *j = json_pack("{s:s, s:s, s:s, s:[s, s, s, s], s:{s:s}}", "version", TK_VERSION,
                          "commit", TK_COMMIT, "compiler", "gcc " __VERSION__, "isa_built", "ref",
                          "avx2", "avx512", "amx", "libraries", "jansson", jansson_version_str());
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
    return TK_OK;
}
