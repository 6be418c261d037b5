// SPDX-License-Identifier: MIT
// Messages for the person, on stderr. Level is process-wide and set once by the command line. Any thread;
// a line is written with one call.
#ifndef TK_BASE_LOG_H
#define TK_BASE_LOG_H

#include "base/compiler.h"

typedef enum tk_log_level { TK_LOG_QUIET, TK_LOG_WARN, TK_LOG_INFO, TK_LOG_VERBOSE } tk_log_level;

void tk_log_set_level(tk_log_level level);
tk_log_level tk_log_get_level(void);
// "tokamak: ..." and a newline, when the level is at least `level`.
void tk_log(tk_log_level level, const char *fmt, ...) TK_PRINTF(2, 3);

#endif
