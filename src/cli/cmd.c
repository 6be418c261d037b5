// SPDX-License-Identifier: MIT
#include "cli/cmd.h"

#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tk_status tk_cmd_parse(const tk_cmd *cmd, int argc, char **argv, void *options,
                       const char **positional, int n_min, int n_max, int *n_positional,
                       tk_err *err)
{
    int n = 0;
    tk_status st = tk_opt_parse(cmd->opts, argc, argv, options, positional, n_max, &n, err);
    if (st != TK_OK) return st;
    if (n < n_min) return tk_fail(err, TK_USAGE, "usage: tokamak %s", cmd->synopsis);
    if (n_positional) *n_positional = n;
    const tk_cmd_common *common = options;
    if (common->quiet)
        tk_log_set_level(TK_LOG_QUIET);
    else if (common->verbose)
        tk_log_set_level(TK_LOG_VERBOSE);
    return TK_OK;
}

int tk_cmd_read_line(FILE *from, char **line, size_t *cap, size_t *len, tk_err *err)
{
    size_t n = 0;
    for (;;) {
        int c = getc_unlocked(from);
        if (c == EOF) {
            if (ferror(from)) {
                tk_fail(err, TK_IO, "cannot read input: %s", strerror(errno));
                return -1;
            }
            if (n == 0) return 0;
        }
        if (n + 1 >= *cap) {
            size_t want = *cap ? *cap * 2 : 4096;
            char *p = want > (size_t)TK_LIMIT_JSONL_LINE_BYTES * 2 ? NULL : realloc(*line, want);
            if (p == NULL) {
                tk_fail(err, TK_BAD_INPUT, "an input line is longer than %u bytes",
                        TK_LIMIT_JSONL_LINE_BYTES);
                return -1;
            }
            *line = p;
            *cap = want;
        }
        if (c == EOF || c == '\n') break;
        (*line)[n++] = (char)c;
    }
    (*line)[n] = 0;
    *len = n;
    return 1;
}
