// SPDX-License-Identifier: MIT
#include "cli/bench_list.h"

#include <errno.h>
#include <stdlib.h>

// A number at *at; false when there is none or it is outside.
static bool number(const char **at, int32_t min, int32_t max, int64_t *out)
{
    char *end;
    errno = 0;
    if (**at < '0' || **at > '9') return false;
    long long v = strtoll(*at, &end, 10);
    if (errno == ERANGE || v < min || v > max) return false;
    *out = v;
    *at = end;
    return true;
}

// first[-last[(+|*)step]]
static bool range(const char **at, int32_t min, int32_t max, tk_bench_list *out)
{
    int64_t first, last, step = 1;
    char by = '+';
    if (!number(at, min, max, &first)) return false;
    last = first;
    if (**at == '-') {
        ++*at;
        if (!number(at, min, max, &last)) return false;
        if (**at == '+' || **at == '*') {
            by = *(*at)++;
            if (!number(at, 1, max, &step)) return false;
        }
    }
    if (by == '*' && (step < 2 || first < 1)) return false; // would not end
    for (int64_t v = first; v <= last; v = by == '*' ? v * step : v + step) {
        if (out->n == TK_BENCH_LIST_MAX) return false;
        out->v[out->n++] = (int32_t)v;
    }
    return true;
}

tk_status tk_bench_list_parse(const char *name, const tk_opt_list *given, int32_t min, int32_t max,
                              int32_t fallback, tk_bench_list *out, tk_err *err)
{
    *out = (tk_bench_list){0};
    if (given->n == 0) {
        out->v[out->n++] = fallback;
        return TK_OK;
    }
    for (int i = 0; i < given->n; i++) {
        const char *at = given->item[i];
        bool ok = range(&at, min, max, out);
        while (ok && *at == ',') {
            at++;
            ok = range(&at, min, max, out);
        }
        if (!ok || *at)
            return tk_fail(err, TK_USAGE,
                           "--%s is \"%s\"; numbers of %d..%d were expected, as 512 or 1,4,16 or "
                           "1-4 or 16-64*2, at most %d",
                           name, given->item[i], min, max, TK_BENCH_LIST_MAX);
    }
    return TK_OK;
}
