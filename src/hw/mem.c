// SPDX-License-Identifier: MIT
#include "hw/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

tk_status tk_mem_map(size_t n, const char *what, void **out, tk_err *err)
{
    *out = NULL;
    if (n == 0) return TK_OK;
    void *p =
        mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return tk_fail(err, TK_NOMEM, "no memory for %s (%zu bytes): %s", what, n, strerror(errno));
    if (n >= 4 * HUGE_PAGE) madvise(p, n, MADV_HUGEPAGE); // a hint: refusal costs nothing
    *out = p;
    return TK_OK;
}

void tk_mem_unmap(void *p, size_t n)
{
    if (p) munmap(p, n);
}

void tk_mem_drop(const void *p, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)p + page - 1) / page * page, to = ((uintptr_t)p + n) / page * page;
    if (from < to) madvise((void *)from, to - from, MADV_DONTNEED); // a hint
}

// The number after "Key:" in a /proc file, in kB there; 0 when absent.
static uint64_t proc_kb(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) return 0;
    char line[256];
    uint64_t kb = 0;
    size_t n = strlen(key);
    while (fgets(line, sizeof line, f))
        if (strncmp(line, key, n) == 0 && line[n] == ':' &&
            sscanf(line + n + 1, "%" SCNu64, &kb) == 1)
            break;
    fclose(f);
    return kb * 1024;
}

static uint64_t cgroup_limit(void)
{
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (f == NULL) return UINT64_MAX;
    uint64_t v = UINT64_MAX;
    if (fscanf(f, "%" SCNu64, &v) != 1) v = UINT64_MAX; // "max"
    fclose(f);
    return v;
}

uint64_t tk_mem_total_bytes(void)
{
    return TK_MIN(proc_kb("/proc/meminfo", "MemTotal"), cgroup_limit());
}

uint64_t tk_mem_available_bytes(void)
{
    return TK_MIN(proc_kb("/proc/meminfo", "MemAvailable"), cgroup_limit());
}

uint64_t tk_mem_peak_rss_bytes(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (uint64_t)u.ru_maxrss * 1024 : 0;
}

uint64_t tk_mem_peak_anon_bytes(void)
{
    return proc_kb("/proc/self/status", "RssAnon");
}
