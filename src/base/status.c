// SPDX-License-Identifier: MIT
#include "base/status.h"

#include <stdio.h>
#include <string.h>

tk_status(tk_fail)(tk_err *err, tk_status st, const char *fmt, ...)
{
    if (err == NULL || err->status != TK_OK) return st;
    err->status = st;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    return st;
}

tk_status tk_fail_in(tk_err *err, tk_status st, const char *fmt, ...)
{
    if (err == NULL) return st;
    char old[sizeof err->msg];
    memcpy(old, err->msg, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    size_t at = TK_MIN((size_t)n, sizeof err->msg - 1);
    snprintf(err->msg + at, sizeof err->msg - at, ": %s", old);
    err->status = st;
    return st;
}

const char *tk_status_text(tk_status st)
{
    switch (st) {
#define X(name, code, text)                                                                        \
    case name: return text;
        TK_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

int tk_status_exit_code(tk_status st)
{
    switch (st) {
#define X(name, code, text)                                                                        \
    case name: return code;
        TK_STATUS_MAP(X)
#undef X
    }
    return 1;
}
