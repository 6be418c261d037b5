// SPDX-License-Identifier: MIT
// The option table: one list per command gives parsing, `--help`, `tokamak help COMMAND` and the man page.
// Accepted: --name VALUE, --name=VALUE, -x VALUE, aliases, _ for -, `--` ends options. The environment variable
// TOKAMAK_NAME gives an option that the command line does not. An unknown option suggests the nearest name. Values land in the command's own options struct, by offset. One thread.
#ifndef TK_BASE_OPT_H
#define TK_BASE_OPT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum tk_opt_type {
    TK_OPT_FLAG,   // bool: present = true
    TK_OPT_INT,    // int64_t in [min, max]
    TK_OPT_DOUBLE, // double in [min, max], finite
    TK_OPT_STR,    // const char *, borrowed from argv
    TK_OPT_LIST,   // tk_opt_list: may be given several times
    TK_OPT_CHOICE, // const char *, one of `choices`
} tk_opt_type;

enum { TK_OPT_LIST_MAX = 64 };

typedef struct tk_opt_list {
    const char *item[TK_OPT_LIST_MAX];
    int n;
} tk_opt_list;

typedef struct tk_opt {
    const char *name;    // long name without dashes, "temperature"
    const char *aliases; // space-separated long names and one-letter names ("temp t"), or NULL
    tk_opt_type type;
    const char *arg;     // what stands for the value in help, "N"; NULL for flags
    const char *help;    // one sentence: meaning, unit, default
    size_t offset;       // of the field in the options struct
    double min, max;     // INT and DOUBLE; both 0 = no bound
    const char *choices; // CHOICE: space-separated
} tk_opt;

#define TK_OPT_END                                                                                 \
    {                                                                                              \
        .name = NULL                                                                               \
    }

// Parses argv[1..argc) into *options (already holding defaults). Positional arguments are moved to
// positional[0..*n_positional) (capacity max_positional; more is TK_USAGE). `--help`/`-h` is not handled here.
tk_status tk_opt_parse(const tk_opt *table, int argc, char **argv, void *options,
                       const char **positional, int max_positional, int *n_positional, tk_err *err);
// Prints the table as help text, wrapped to 100 columns.
void tk_opt_print_help(const tk_opt *table, FILE *to);
// The candidate nearest to word by edit distance, or NULL when none is near. candidates ends with NULL.
const char *tk_opt_nearest(const char *word, const char *const *candidates);

#endif
