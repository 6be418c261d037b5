// SPDX-License-Identifier: MIT
// Large zeroed memory straight from the system: pages are taken when first touched (by whoever reads them),
// huge pages are asked for. Any thread.
#ifndef TK_HW_MEM_H
#define TK_HW_MEM_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

// n bytes (0 gives NULL), 64-byte aligned at least. TK_NOMEM names what and how much.
tk_status tk_mem_map(size_t n, const char *what, void **out, tk_err *err);
void tk_mem_unmap(void *p, size_t n); // NULL is fine
// Says that the whole pages in [p, p + n) of a mapped file are not needed for now: they leave this process and
// come back from the file when they are touched again.
void tk_mem_drop(const void *p, size_t n);

uint64_t tk_mem_total_bytes(void);     // of the machine (or its cgroup limit, when lower)
uint64_t tk_mem_available_bytes(void); // what a new process can use without swapping
uint64_t tk_mem_peak_rss_bytes(void);  // of this process, mapped files included
uint64_t tk_mem_peak_anon_bytes(void); // of this process now: anonymous pages only (not page cache)

#endif
