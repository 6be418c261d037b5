// SPDX-License-Identifier: MIT
#include "kv/disk_priv.h"

#include "base/compiler.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void disk_index_free(disk_index *x)
{
    tk_free(x->e);
    tk_free(x->bucket);
    *x = (disk_index){0};
}

static int32_t *bucket_of(const disk_index *x, tk_kv_key key)
{
    return &x->bucket[key.lo % (uint64_t)x->cap];
}

static void grow(disk_index *x)
{
    int32_t old = x->cap;
    x->cap = old ? old * 2 : 256;
    x->e = tk_realloc(x->e, (size_t)x->cap * sizeof *x->e);
    x->bucket = tk_realloc(x->bucket, (size_t)x->cap * sizeof *x->bucket);
    memset(x->bucket, -1, (size_t)x->cap * sizeof *x->bucket);
    if (old == 0) x->newest = x->oldest = -1;
    for (int32_t i = 0; i < old; i++) { // all are in use, or it would not grow
        int32_t *b = bucket_of(x, x->e[i].key);
        x->e[i].in_bucket = *b;
        *b = i;
    }
    for (int32_t i = old; i < x->cap; i++) x->e[i].in_bucket = i + 1 < x->cap ? i + 1 : -1;
    x->unused = old;
}

int32_t disk_index_find(const disk_index *x, const uint64_t identity[2], tk_kv_key key)
{
    if (x->cap == 0) return -1;
    int32_t i = *bucket_of(x, key);
    for (; i >= 0; i = x->e[i].in_bucket) {
        const disk_entry *e = &x->e[i];
        if (e->key.lo == key.lo && e->key.hi == key.hi && e->identity[0] == identity[0] &&
            e->identity[1] == identity[1])
            break;
    }
    return i;
}

static void link_newest(disk_index *x, int32_t i)
{
    x->e[i].prev = -1;
    x->e[i].next = x->newest;
    if (x->newest >= 0) x->e[x->newest].prev = i;
    x->newest = i;
    if (x->oldest < 0) x->oldest = i;
}

static void unlink_use(disk_index *x, int32_t i)
{
    const disk_entry *e = &x->e[i];
    if (e->prev >= 0)
        x->e[e->prev].next = e->next;
    else
        x->newest = e->next;
    if (e->next >= 0)
        x->e[e->next].prev = e->prev;
    else
        x->oldest = e->prev;
}

int32_t disk_index_add(disk_index *x, const uint64_t identity[2], tk_kv_key key, uint64_t bytes)
{
    if (x->n == x->cap) grow(x);
    int32_t i = x->unused;
    x->unused = x->e[i].in_bucket;
    int32_t *b = bucket_of(x, key);
    x->e[i] = (disk_entry){
        .identity = {identity[0], identity[1]}, .key = key, .bytes = bytes, .in_bucket = *b};
    *b = i;
    link_newest(x, i);
    x->n++;
    x->bytes += bytes;
    return i;
}

void disk_index_remove(disk_index *x, int32_t i)
{
    int32_t *at = bucket_of(x, x->e[i].key);
    while (*at != i) at = &x->e[*at].in_bucket;
    *at = x->e[i].in_bucket;
    unlink_use(x, i);
    x->bytes -= x->e[i].bytes;
    x->n--;
    x->e[i].in_bucket = x->unused;
    x->unused = i;
}

void disk_index_use(disk_index *x, int32_t i)
{
    unlink_use(x, i);
    link_newest(x, i);
}

void disk_name(char *out, const uint64_t identity[2], tk_kv_key key)
{
    snprintf(out, DISK_NAME_LEN + 1, "%016llx%016llx-%016llx%016llx.kv",
             (unsigned long long)identity[0], (unsigned long long)identity[1],
             (unsigned long long)key.lo, (unsigned long long)key.hi);
}

static bool parse_hex(const char *s, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++) {
        const char *digits = "0123456789abcdef", *d = s[i] ? strchr(digits, s[i]) : NULL;
        if (d == NULL) return false;
        *out = *out << 4 | (uint64_t)(d - digits);
    }
    return true;
}

bool disk_name_parse(const char *name, uint64_t identity[2], tk_kv_key *key)
{
    return strlen(name) == DISK_NAME_LEN && parse_hex(name, &identity[0]) &&
           parse_hex(name + 16, &identity[1]) && name[32] == '-' &&
           parse_hex(name + 33, &key->lo) && parse_hex(name + 49, &key->hi) &&
           strcmp(name + 65, ".kv") == 0;
}

static int by_time(const void *a, const void *b)
{
    const disk_entry *x = a, *y = b;
    return x->mtime_ns < y->mtime_ns ? -1 : x->mtime_ns > y->mtime_ns;
}

tk_status disk_index_scan(disk_index *x, int dir_fd, const char *dir, tk_err *err)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    if (list == NULL) {
        if (fd >= 0) close(fd);
        return tk_fail(err, TK_IO, "cannot list \"%s\": %s", dir, strerror(errno));
    }
    disk_entry *found = NULL;
    size_t n = 0, cap = 0;
    const struct dirent *f;
    while ((f = readdir(list)) != NULL) {
        disk_entry e = {0};
        struct stat sb;
        if (fstatat(dir_fd, f->d_name, &sb, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(sb.st_mode))
            continue;
        if (strncmp(f->d_name, "tmp-", 4) == 0) unlinkat(dir_fd, f->d_name, 0);
        if (!disk_name_parse(f->d_name, e.identity, &e.key)) continue; // somebody else's
        e.bytes = (uint64_t)sb.st_size;
        e.mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
        if (n == cap) found = tk_realloc(found, (cap = cap ? cap * 2 : 256) * sizeof *found);
        found[n++] = e;
    }
    closedir(list);
    if (n > 0) qsort(found, n, sizeof *found, by_time);
    for (size_t i = 0; i < n; i++)
        disk_index_add(x, found[i].identity, found[i].key, found[i].bytes);
    tk_free(found);
    return TK_OK;
}
