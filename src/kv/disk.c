// SPDX-License-Identifier: MIT
#include "kv/disk_priv.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { ZSTD_LEVEL = 1 }; // BF16 rows hardly shrink; more effort gains 1-2 %

static const char magic[8] = {'t', 'k', '-', 'k', 'v', 0, 0, 1};

typedef struct file_head {
    char magic[8];
    uint64_t identity[2];
    tk_kv_key key;
    uint64_t raw_bytes, zip_bytes;
    uint32_t n_ids, zero;
    uint64_t body_hash; // of ids and frame
    uint64_t head_hash; // of all before it
} file_head;

_Static_assert(sizeof(file_head) == 80, "the head has no holes");

struct tk_kv_disk {
    tk_kv_disk_opts opts;
    char *dir;
    int dir_fd, lock_fd;
    ZSTD_CCtx *cctx; // cctx, dctx, buf: the thread of get and put
    ZSTD_DCtx *dctx;
    char *buf; // a whole file
    size_t buf_cap;
    pthread_mutex_t mutex; // guards index, stats
    disk_index index;
    tk_kv_disk_stats stats;
};

static tk_status open_dir(tk_kv_disk *d, tk_err *err)
{
    if (mkdir(d->dir, 0700) != 0 && errno != EEXIST)
        return tk_fail(err, TK_IO, "cannot make \"%s\": %s", d->dir, strerror(errno));
    d->dir_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->dir_fd < 0)
        return tk_fail(err, TK_IO, "cannot open \"%s\": %s", d->dir, strerror(errno));
    d->lock_fd = openat(d->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->lock_fd < 0)
        return tk_fail(err, TK_IO, "cannot make \"%s/lock\": %s", d->dir, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return tk_fail(err, TK_IO, "\"%s\" is used by another process", d->dir);
    return TK_OK;
}

static void evict_to(tk_kv_disk *d, uint64_t max_bytes);

tk_status tk_kv_disk_open(const tk_kv_disk_opts *o, tk_kv_disk **out, tk_err *err)
{
    *out = NULL;
    tk_kv_disk *d = tk_alloc(sizeof *d);
    tk_status st;
    d->opts = *o;
    d->opts.dir = d->dir = tk_strdup(o->dir);
    d->dir_fd = d->lock_fd = -1;
    pthread_mutex_init(&d->mutex, NULL);
    d->cctx = ZSTD_createCCtx();
    d->dctx = ZSTD_createDCtx();
    TK_TRY(d->cctx && d->dctx ? TK_OK : tk_fail(err, TK_NOMEM, "no memory for zstd"));
    TK_TRY(open_dir(d, err));
    TK_TRY(disk_index_scan(&d->index, d->dir_fd, d->dir, err));
    evict_to(d, o->max_bytes);
    *out = d;
    d = NULL;
done:
    tk_kv_disk_close(d);
    return st;
}

void tk_kv_disk_close(tk_kv_disk *d)
{
    if (d == NULL) return;
    ZSTD_freeCCtx(d->cctx);
    ZSTD_freeDCtx(d->dctx);
    disk_index_free(&d->index);
    tk_free(d->buf);
    if (d->lock_fd >= 0) close(d->lock_fd);
    if (d->dir_fd >= 0) close(d->dir_fd);
    pthread_mutex_destroy(&d->mutex);
    tk_free(d->dir);
    tk_free(d);
}

static pthread_mutex_t *mutex_of(const tk_kv_disk *d)
{
    return (pthread_mutex_t *)(uintptr_t)&d->mutex; // reading locks, too
}

bool tk_kv_disk_has(const tk_kv_disk *d, tk_kv_key key)
{
    pthread_mutex_lock(mutex_of(d));
    bool has = disk_index_find(&d->index, d->opts.identity, key) >= 0;
    pthread_mutex_unlock(mutex_of(d));
    return has;
}

void tk_kv_disk_get_stats(const tk_kv_disk *d, tk_kv_disk_stats *out)
{
    pthread_mutex_lock(mutex_of(d));
    *out = d->stats;
    out->n_file = (uint64_t)d->index.n;
    out->bytes = d->index.bytes;
    pthread_mutex_unlock(mutex_of(d));
}

static bool reserve_buf(tk_kv_disk *d, size_t n)
{
    if (n <= d->buf_cap) return true;
    char *bigger = tk_try_alloc(n, 1);
    if (bigger == NULL) return false;
    tk_free(d->buf);
    d->buf = bigger;
    d->buf_cap = n;
    return true;
}

// Deletes the longest unused until at most max_bytes are left.
static void evict_to(tk_kv_disk *d, uint64_t max_bytes)
{
    char name[DISK_NAME_LEN + 1];
    pthread_mutex_lock(&d->mutex);
    while (d->index.n > 0 && d->index.bytes > max_bytes) {
        const disk_entry *e = &d->index.e[d->index.oldest];
        disk_name(name, e->identity, e->key);
        unlinkat(d->dir_fd, name, 0);
        disk_index_remove(&d->index, d->index.oldest);
        d->stats.evicted++;
    }
    pthread_mutex_unlock(&d->mutex);
}

// Used now, as a restart will see. Given, not taken from the kernel, whose own stamps are 4 ms apart.
static void stamp(int fd)
{
    struct timespec now[2];
    clock_gettime(CLOCK_REALTIME, &now[0]);
    now[1] = now[0];
    futimens(fd, now);
}

// ---- reading

static bool read_file(tk_kv_disk *d, int fd, size_t bytes)
{
    struct stat sb;
    if (fstat(fd, &sb) != 0 || !S_ISREG(sb.st_mode) || (uint64_t)sb.st_size != bytes) return false;
    for (size_t at = 0; at < bytes;) {
        ssize_t n = read(fd, d->buf + at, bytes - at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += (size_t)n;
    }
    return true;
}

typedef enum verdict { IS_GOOD, IS_OTHER_TEXT, IS_BAD } verdict;

// d->buf holds a file of this many bytes: is it what its name says, undamaged, and of these tokens?
static verdict check_file(const tk_kv_disk *d, size_t bytes, tk_kv_key key, const int32_t *ids,
                          int32_t n_ids, void *block)
{
    file_head h;
    if (bytes < sizeof h) return IS_BAD;
    memcpy(&h, d->buf, sizeof h);
    const char *body = d->buf + sizeof h;
    size_t body_bytes = bytes - sizeof h, ids_bytes = (size_t)h.n_ids * sizeof *ids;
    if (memcmp(h.magic, magic, sizeof magic) != 0 ||
        h.head_hash != XXH3_64bits(&h, offsetof(file_head, head_hash)))
        return IS_BAD;
    if (memcmp(h.identity, d->opts.identity, sizeof h.identity) != 0 || h.key.lo != key.lo ||
        h.key.hi != key.hi || h.raw_bytes != d->opts.block_bytes || h.zero != 0)
        return IS_BAD;
    if (ids_bytes > body_bytes || h.zip_bytes != body_bytes - ids_bytes ||
        h.body_hash != XXH3_64bits(body, body_bytes))
        return IS_BAD;
    if (h.n_ids != (uint32_t)n_ids || memcmp(body, ids, ids_bytes) != 0) return IS_OTHER_TEXT;
    size_t n = ZSTD_decompressDCtx(d->dctx, block, d->opts.block_bytes, body + ids_bytes,
                                   body_bytes - ids_bytes);
    return n == d->opts.block_bytes ? IS_GOOD : IS_BAD;
}

// Most bytes a file of a block can have.
static size_t file_max(const tk_kv_disk *d)
{
    return sizeof(file_head) + (size_t)TK_LIMIT_CONTEXT * sizeof(int32_t) +
           ZSTD_compressBound(d->opts.block_bytes);
}

static verdict read_and_check(tk_kv_disk *d, int fd, uint64_t bytes, tk_kv_key key,
                              const int32_t *ids, int32_t n_ids, void *block)
{
    if (bytes > file_max(d)) return IS_BAD;
    if (!reserve_buf(d, (size_t)bytes)) return IS_OTHER_TEXT; // no memory now: not the file's fault
    if (!read_file(d, fd, (size_t)bytes)) return IS_BAD;
    return check_file(d, (size_t)bytes, key, ids, n_ids, block);
}

bool tk_kv_disk_get(tk_kv_disk *d, tk_kv_key key, const int32_t *ids, int32_t n_ids, void *block)
{
    char name[DISK_NAME_LEN + 1];
    pthread_mutex_lock(&d->mutex);
    int32_t i = disk_index_find(&d->index, d->opts.identity, key);
    uint64_t bytes = i >= 0 ? d->index.e[i].bytes : 0;
    pthread_mutex_unlock(&d->mutex);
    if (i < 0) return false;
    disk_name(name, d->opts.identity, key);
    int fd = openat(d->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool is_gone = fd < 0 && errno == ENOENT;
    verdict v = fd >= 0 ? read_and_check(d, fd, bytes, key, ids, n_ids, block) : IS_BAD;
    if (v == IS_GOOD) stamp(fd);
    if (fd >= 0) close(fd);
    if (v == IS_BAD) unlinkat(d->dir_fd, name, 0);
    pthread_mutex_lock(&d->mutex);
    if (v == IS_BAD) disk_index_remove(&d->index, i);
    if (v == IS_BAD && !is_gone) d->stats.corrupt++;
    if (v == IS_GOOD) {
        disk_index_use(&d->index, i);
        d->stats.hits++;
    }
    pthread_mutex_unlock(&d->mutex);
    return v == IS_GOOD;
}

// ---- writing

// The whole file in d->buf; its size, 0 when there is no memory for it.
static size_t make_file(tk_kv_disk *d, tk_kv_key key, const int32_t *ids, int32_t n_ids,
                        const void *block)
{
    size_t ids_bytes = (size_t)n_ids * sizeof *ids, bound = ZSTD_compressBound(d->opts.block_bytes);
    if (!reserve_buf(d, sizeof(file_head) + ids_bytes + bound)) return 0;
    char *body = d->buf + sizeof(file_head);
    memcpy(body, ids, ids_bytes);
    size_t zip =
        ZSTD_compressCCtx(d->cctx, body + ids_bytes, bound, block, d->opts.block_bytes, ZSTD_LEVEL);
    if (ZSTD_isError(zip)) return 0;
    file_head h = {.identity = {d->opts.identity[0], d->opts.identity[1]},
                   .key = key,
                   .raw_bytes = d->opts.block_bytes,
                   .zip_bytes = zip,
                   .n_ids = (uint32_t)n_ids,
                   .body_hash = XXH3_64bits(body, ids_bytes + zip)};
    memcpy(h.magic, magic, sizeof magic);
    h.head_hash = XXH3_64bits(&h, offsetof(file_head, head_hash));
    memcpy(d->buf, &h, sizeof h);
    return sizeof h + ids_bytes + zip;
}

static bool write_file(const tk_kv_disk *d, const char *name, size_t bytes)
{
    static const char tmp[] = "tmp-block"; // one writer
    int fd = openat(d->dir_fd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0;
    for (size_t at = 0; ok && at < bytes;) {
        ssize_t n = write(fd, d->buf + at, bytes - at);
        if (n < 0 && errno == EINTR) continue;
        ok = n > 0;
        if (ok) at += (size_t)n;
    }
    if (ok) stamp(fd);
    ok = ok && fdatasync(fd) == 0;
    int saved = errno;
    if (fd >= 0 && close(fd) != 0 && ok) {
        ok = false;
        saved = errno;
    }
    if (ok && renameat(d->dir_fd, tmp, d->dir_fd, name) != 0) {
        ok = false;
        saved = errno;
    }
    if (!ok) unlinkat(d->dir_fd, tmp, 0);
    errno = saved;
    return ok;
}

static void turn_off(tk_kv_disk *d, const char *why)
{
    pthread_mutex_lock(&d->mutex);
    d->stats.is_off = true;
    pthread_mutex_unlock(&d->mutex);
    tk_log(TK_LOG_WARN, "the KV cache on disk, \"%s\", takes no more blocks: %s", d->dir, why);
}

bool tk_kv_disk_put(tk_kv_disk *d, tk_kv_key key, const int32_t *ids, int32_t n_ids,
                    const void *block)
{
    char name[DISK_NAME_LEN + 1];
    if (d->stats.is_off) return false; // only this thread sets it
    if (tk_kv_disk_has(d, key)) return true;
    size_t bytes = make_file(d, key, ids, n_ids, block);
    if (bytes == 0 || bytes > d->opts.max_bytes) return false;
    evict_to(d, d->opts.max_bytes - bytes);
    disk_name(name, d->opts.identity, key);
    if (!write_file(d, name, bytes)) {
        turn_off(d, strerror(errno));
        return false;
    }
    pthread_mutex_lock(&d->mutex);
    disk_index_add(&d->index, d->opts.identity, key, bytes);
    d->stats.written++;
    pthread_mutex_unlock(&d->mutex);
    return true;
}
