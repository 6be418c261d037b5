// SPDX-License-Identifier: MIT
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int log_level = TK_LOG_INFO; // relaxed: a late reader only prints or skips one line

void tk_log_set_level(tk_log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

tk_log_level tk_log_get_level(void)
{
    return (tk_log_level)atomic_load_explicit(&log_level, memory_order_relaxed);
}

void tk_log(tk_log_level level, const char *fmt, ...)
{
    if (level > tk_log_get_level()) return;
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    fprintf(stderr, "tokamak: %s\n", line);
}
