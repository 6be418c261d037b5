// SPDX-License-Identifier: MIT
#include "cli/ids.h"

#include "base/json.h"
#include "base/mem.h"
#include "cli/cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tk_status tk_ids_from_json(const json_t *j, int32_t n_vocab, const char *where, tk_id_list *out,
                           tk_err *err)
{
    size_t n = json_array_size(j);
    *out = (tk_id_list){0};
    if (!json_is_array(j) || n > INT32_MAX)
        return tk_fail(err, TK_BAD_INPUT, "%s: not an array of token ids", where);
    int32_t *ids = tk_alloc((n + 1) * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(j, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= n_vocab) {
            tk_free(ids);
            return tk_fail(err, TK_BAD_INPUT, "%s: item %zu is no token id of a vocabulary of %d",
                           where, i, n_vocab);
        }
        ids[i] = (int32_t)json_integer_value(v);
    }
    *out = (tk_id_list){ids, (int32_t)n};
    return TK_OK;
}

void tk_ids_free(tk_id_list *lists, int n)
{
    for (int i = 0; i < n; i++) tk_free(lists[i].ids);
    tk_free(lists);
}

tk_status tk_ids_from_file(const char *path, int32_t n_vocab, tk_id_list **lists, int *n_out,
                           tk_err *err)
{
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (f == NULL) return tk_fail(err, TK_IO, "cannot open \"%s\": %s", path, strerror(errno));
    char *line = NULL;
    size_t cap = 0, len;
    int n = 0, n_line = 0, more;
    tk_id_list *all = NULL;
    tk_status st = TK_OK;
    while ((more = tk_cmd_read_line(f, &line, &cap, &len, err)) > 0) {
        n_line++;
        if (strspn(line, " \t\r") == len) continue;
        char where[300];
        snprintf(where, sizeof where, "%.200s line %d", path, n_line);
        json_t *j = NULL;
        all = tk_realloc(all, (size_t)(n + 1) * sizeof *all);
        st = tk_json_parse(line, len, where, &j, err);
        if (st == TK_OK) st = tk_ids_from_json(j, n_vocab, where, &all[n], err);
        json_decref(j);
        if (st != TK_OK) break;
        n++;
    }
    if (more < 0) st = err->status;
    if (st == TK_OK && n == 0)
        st = tk_fail(err, TK_BAD_INPUT, "%s: there are no lists of ids", path);
    free(line);
    if (f != stdin) fclose(f);
    if (st != TK_OK) {
        tk_ids_free(all, n);
        return st;
    }
    *lists = all;
    *n_out = n;
    return TK_OK;
}
