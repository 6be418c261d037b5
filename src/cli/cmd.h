// SPDX-License-Identifier: MIT
// A subcommand: one file cmd_<name>.c each, listed in TK_CMD_MAP. What scripts may rely on: docs/cli.md.
#ifndef TK_CLI_CMD_H
#define TK_CLI_CMD_H

#include "base/opt.h"
#include "base/status.h"

#include <stdint.h>

typedef struct tk_cmd {
    const char *name;
    const char *synopsis; // after "tokamak ", e.g. "run MODEL [-p TEXT] [options]"
    const char *summary;  // one line
    const char *details;  // paragraphs, '\n' between; may be NULL
    const tk_opt *opts;   // without the common ones (tk_cmd_common_opts)
    // argv[0] is the command's name. Results on stdout, the rest on stderr.
    tk_status (*run)(int argc, char **argv, tk_err *err);
} tk_cmd;

// Options every command takes; a command's options struct begins with this one, and its table with
// TK_CMD_COMMON_OPTS.
typedef struct tk_cmd_common {
    bool quiet, verbose;
} tk_cmd_common;

#define TK_CMD_COMMON_OPTS(options_type)                                                           \
    {.name = "quiet",                                                                              \
     .aliases = "q",                                                                               \
     .type = TK_OPT_FLAG,                                                                          \
     .help = "Print errors only.",                                                                 \
     .offset = offsetof(options_type, common.quiet)},                                              \
    {                                                                                              \
        .name = "verbose", .aliases = "v", .type = TK_OPT_FLAG, .help = "Print more progress.",    \
        .offset = offsetof(options_type, common.verbose)                                           \
    }

// Parses argv by cmd's table into options, applies the common ones; positional must have exactly
// n_positional_min..n_positional_max entries, else TK_USAGE with the synopsis.
tk_status tk_cmd_parse(const tk_cmd *cmd, int argc, char **argv, void *options,
                       const char **positional, int n_min, int n_max, int *n_positional,
                       tk_err *err);

// One line of JSONL from stdin at a time: *line is reused (free with free at the end). Returns 1, 0 at the
// end, -1 with err set when a line is longer than TK_LIMIT_JSONL_LINE_BYTES or reading fails.
int tk_cmd_read_line(FILE *from, char **line, size_t *cap, size_t *len, tk_err *err);

// The commands: X(identifier). Each file defines `const tk_cmd tk_cmd_<identifier>`.
#define TK_CMD_MAP(X)                                                                              \
    X(run)                                                                                         \
    X(chat)                                                                                        \
    X(inspect)                                                                                     \
    X(tokenize)                                                                                    \
    X(detokenize)                                                                                  \
    X(template)                                                                                    \
    X(logits)                                                                                      \
    X(serve)                                                                                       \
    X(synth)                                                                                       \
    X(version)

#define X(id) extern const tk_cmd tk_cmd_##id;
TK_CMD_MAP(X)
#undef X

#endif
