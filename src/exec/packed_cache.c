// SPDX-License-Identifier: MIT
// Packed weights in a file, so that the next start reads them in place of packing: a head, a sum of each chunk,
// the bytes as they lie in memory. The name is the key: form of the packing, weights (exec_weights_id), the
// checkpoint's files. A file that is not whole is packed and written again.
#include "exec/exec_priv.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LAYOUT = 2, CHUNK = 16 << 20 }; // LAYOUT is raised when num/packed.h means something else

typedef struct head {
    char magic[8];
    uint64_t key[2], bytes, chunk;
    uint64_t sum; // of the chunks' sums, and of all before it
} head;

static const char magic[8] = "tk-pack";

typedef struct cache_job {
    const tk_exec *x;
    uint64_t *sums; // [n_chunk]
    int fd;
    const tk_out_file *out;
    uint64_t data_at; // of the file
    atomic_int n_bad; // chunks that could not be read or written, or whose sum is another
    tk_err *errs;     // [n_thread], the first of each
} cache_job;

static size_t chunk_len(const tk_exec *x, int i)
{
    return (size_t)TK_MIN((uint64_t)CHUNK, x->packed_bytes - (uint64_t)i * CHUNK);
}

static int chunk_count(const tk_exec *x)
{
    return (int)((x->packed_bytes + CHUNK - 1) / CHUNK);
}

static void key_of(const tk_exec *x, uint64_t key[2])
{
    uint64_t of[6] = {LAYOUT, x->opts.files_id, x->packed_bytes};
    exec_weights_id(x->p, of + 3);
    for (int i = 0; i < x->p->n_weight; i++)
        of[5] = of[5] * 31 + (uint64_t)x->packed[i].kind; // which weights are packed, and how
    XXH128_hash_t d = XXH3_128bits(of, sizeof of);
    key[0] = d.low64;
    key[1] = d.high64;
}

static char *path_of(const tk_exec *x, const uint64_t key[2])
{
    char name[64];
    snprintf(name, sizeof name, "%016" PRIx64 "%016" PRIx64 ".tkpack", key[1], key[0]);
    return tk_file_join(x->opts.repack_cache, name);
}

static uint64_t sum_of(const head *h, const uint64_t *sums, int n)
{
    return XXH3_64bits_withSeed(sums, (size_t)n * sizeof *sums,
                                XXH3_64bits(h, offsetof(head, sum)));
}

static bool read_at(int fd, void *to, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)to + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static void load_item(void *ctx, int i, int i_thread)
{
    (void)i_thread;
    cache_job *j = ctx;
    uint8_t *to = j->x->packed_data + (size_t)i * CHUNK;
    size_t len = chunk_len(j->x, i);
    if (!read_at(j->fd, to, len, j->data_at + (uint64_t)i * CHUNK) ||
        XXH3_64bits(to, len) != j->sums[i])
        atomic_fetch_add_explicit(&j->n_bad, 1, memory_order_relaxed);
}

// The head and the sums, checked against each other and against the file's length.
static bool read_head(const tk_exec *x, int fd, const uint64_t key[2], cache_job *j)
{
    head h;
    struct stat sb;
    int n = chunk_count(x);
    j->data_at = sizeof h + (uint64_t)n * sizeof *j->sums;
    return fstat(fd, &sb) == 0 && S_ISREG(sb.st_mode) &&
           (uint64_t)sb.st_size == j->data_at + x->packed_bytes && read_at(fd, &h, sizeof h, 0) &&
           memcmp(h.magic, magic, sizeof magic) == 0 && memcmp(h.key, key, sizeof h.key) == 0 &&
           h.bytes == x->packed_bytes && h.chunk == CHUNK &&
           read_at(fd, j->sums, (size_t)n * sizeof *j->sums, sizeof h) &&
           h.sum == sum_of(&h, j->sums, n);
}

bool exec_packed_load(tk_exec *x)
{
    uint64_t key[2], start = tk_clock_ns();
    key_of(x, key);
    char *path = path_of(x, key);
    cache_job j = {.x = x, .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    bool ok = false;
    if (j.fd < 0) goto done;
    j.sums = tk_alloc((size_t)chunk_count(x) * sizeof *j.sums);
    ok = read_head(x, j.fd, key, &j);
    if (ok) tk_pool_run(x->pool, chunk_count(x), load_item, &j);
    ok = ok && atomic_load_explicit(&j.n_bad, memory_order_relaxed) == 0;
    if (ok)
        tk_log(TK_LOG_INFO, "packed weights: %.0f MiB read from \"%s\" in %.1f s",
               (double)x->packed_bytes / (1 << 20), path, (double)(tk_clock_ns() - start) * 1e-9);
    else
        tk_log(TK_LOG_WARN, "\"%s\" is damaged: packing again", path);
    close(j.fd);
    tk_free(j.sums);
done:
    tk_free(path);
    return ok;
}

static void sum_item(void *ctx, int i, int i_thread)
{
    (void)i_thread;
    cache_job *j = ctx;
    j->sums[i] = XXH3_64bits(j->x->packed_data + (size_t)i * CHUNK, chunk_len(j->x, i));
}

static void save_item(void *ctx, int i, int i_thread)
{
    cache_job *j = ctx;
    if (j->errs[i_thread].status != TK_OK) return;
    if (tk_out_write(j->out, (uint64_t)i * CHUNK, j->x->packed_data + (size_t)i * CHUNK,
                     chunk_len(j->x, i), &j->errs[i_thread]) != TK_OK)
        atomic_fetch_add_explicit(&j->n_bad, 1, memory_order_relaxed);
}

static tk_status write_file(cache_job *j, const char *path, const uint64_t key[2], tk_err *err)
{
    const tk_exec *x = j->x;
    int n = chunk_count(x);
    tk_out_file *out = NULL;
    tk_buf front = tk_buf_make(sizeof(head) + (size_t)n * sizeof *j->sums);
    tk_status st;
    if (mkdir(x->opts.repack_cache, 0777) != 0 && errno != EEXIST) {
        st = tk_fail(err, TK_IO, "cannot make \"%s\": %s", x->opts.repack_cache, strerror(errno));
        goto done;
    }
    tk_pool_run(x->pool, n, sum_item, j);
    head h = {.key = {key[0], key[1]}, .bytes = x->packed_bytes, .chunk = CHUNK};
    memcpy(h.magic, magic, sizeof magic);
    h.sum = sum_of(&h, j->sums, n);
    tk_buf_add(&front, &h, sizeof h);
    tk_buf_add(&front, j->sums, (size_t)n * sizeof *j->sums);
    TK_TRY(tk_out_open(path, &front, x->packed_bytes, &out, err));
    j->out = out;
    tk_pool_run(x->pool, n, save_item, j);
    bool whole = atomic_load_explicit(&j->n_bad, memory_order_relaxed) == 0;
    for (int i = 0; i < x->plan.n_thread; i++)
        if (err->status == TK_OK) *err = j->errs[i];
    st = tk_out_close(out, whole, err);
    if (!whole) st = err->status;
done:
    tk_buf_free(&front);
    return st;
}

void exec_packed_save(const tk_exec *x)
{
    uint64_t key[2], start = tk_clock_ns();
    tk_err err = TK_ERR_INIT;
    key_of(x, key);
    char *path = path_of(x, key);
    cache_job j = {.x = x,
                   .fd = -1,
                   .sums = tk_alloc((size_t)chunk_count(x) * sizeof *j.sums),
                   .errs = tk_alloc((size_t)x->plan.n_thread * sizeof *j.errs)};
    if (write_file(&j, path, key, &err) == TK_OK)
        tk_log(TK_LOG_INFO, "packed weights: %.0f MiB kept in \"%s\" in %.1f s",
               (double)x->packed_bytes / (1 << 20), path, (double)(tk_clock_ns() - start) * 1e-9);
    else
        tk_log(TK_LOG_WARN, "packed weights are not kept: %s", err.msg);
    tk_free(j.sums);
    tk_free(j.errs);
    tk_free(path);
}
