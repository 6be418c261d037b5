// SPDX-License-Identifier: MIT
// Lists of token ids from JSON.
#ifndef TK_CLI_IDS_H
#define TK_CLI_IDS_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

typedef struct tk_id_list {
    int32_t *ids; // owned
    int32_t n;
} tk_id_list;

// A JSON array of ids, each in [0, n_vocab). where names it in errors. Free ids with tk_free.
tk_status tk_ids_from_json(const json_t *j, int32_t n_vocab, const char *where, tk_id_list *out,
                           tk_err *err);
// A file of one array a line (empty lines are skipped). *lists is owned, free with tk_ids_free.
tk_status tk_ids_from_file(const char *path, int32_t n_vocab, tk_id_list **lists, int *n,
                           tk_err *err);
void tk_ids_free(tk_id_list *lists, int n);

#endif
