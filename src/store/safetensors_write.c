// SPDX-License-Identifier: MIT
#include "store/safetensors_write.h"

#include "base/buf.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct tk_st_writer {
    char *path, *temp;
    int fd;
    char *map;
    size_t map_bytes, data_at;
    size_t *offset; // of each tensor in the data
};

static tk_status header(const tk_st_spec *specs, int n, tk_buf *b, size_t *offset,
                        size_t *data_bytes, tk_err *err)
{
    size_t at = 0;
    tk_buf_add_str(b, "{");
    for (int i = 0; i < n; i++) {
        size_t bytes;
        offset[i] = at;
        if (!tk_mul_size((size_t)specs[i].rows, (size_t)specs[i].cols, &bytes) ||
            !tk_mul_size(bytes, 4, &bytes) || !tk_add_size(at, bytes, &at))
            return tk_fail(err, TK_NOMEM, "tensor \"%s\" of %lld x %lld is too large",
                           specs[i].name, (long long)specs[i].rows, (long long)specs[i].cols);
        tk_buf_addf(b,
                    "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%lld,%lld],\"data_offsets\":[%zu,%zu]}",
                    i ? "," : "", specs[i].name, (long long)specs[i].rows, (long long)specs[i].cols,
                    offset[i], at);
    }
    tk_buf_add_str(b, "}");
    while (b->len % 8 != 0) tk_buf_add_char(b, ' '); // the data begins aligned
    *data_bytes = at;
    return b->failed ? tk_fail(err, TK_NOMEM, "%d tensors make the header too large", n) : TK_OK;
}

static tk_status make_file(tk_st_writer *w, size_t bytes, tk_err *err)
{
    w->fd = open(w->temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) return tk_fail(err, TK_IO, "cannot make \"%s\": %s", w->temp, strerror(errno));
    int rc = posix_fallocate(w->fd, 0,
                             (off_t)bytes); // a full disk shows here, not as a fault while writing
    if (rc != 0)
        return tk_fail(err, TK_IO, "cannot make room for %zu bytes in \"%s\": %s", bytes, w->temp,
                       strerror(rc));
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, w->fd, 0);
    if (p == MAP_FAILED)
        return tk_fail(err, TK_IO, "cannot map \"%s\": %s", w->temp, strerror(errno));
    w->map = p;
    w->map_bytes = bytes;
    return TK_OK;
}

tk_status tk_st_writer_open(const char *path, const tk_st_spec *specs, int n, tk_st_writer **out,
                            tk_err *err)
{
    *out = NULL;
    tk_st_writer *w = tk_alloc(sizeof *w);
    tk_buf b = tk_buf_make(64u << 20);
    tk_status st;
    size_t data_bytes = 0;
    w->fd = -1;
    w->path = tk_strdup(path);
    w->temp = tk_asprintf("%s.incomplete", path);
    w->offset = tk_alloc((size_t)n * sizeof *w->offset);
    TK_TRY(header(specs, n, &b, w->offset, &data_bytes, err));
    w->data_at = 8 + b.len;
    TK_TRY(make_file(w, w->data_at + data_bytes, err));
    uint64_t len = b.len;
    for (int i = 0; i < 8; i++) w->map[i] = (char)(len >> (8 * i));
    memcpy(w->map + 8, b.data, b.len);
    *out = w;
    w = NULL;
done:
    tk_buf_free(&b);
    tk_st_writer_close(w, false, NULL);
    return st;
}

float *tk_st_writer_data(tk_st_writer *w, int i)
{
    return (float *)(void *)(w->map + w->data_at + w->offset[i]);
}

tk_status tk_st_writer_close(tk_st_writer *w, bool commit, tk_err *err)
{
    if (w == NULL) return TK_OK;
    tk_status st = TK_OK;
    if (w->map && commit && msync(w->map, w->map_bytes, MS_SYNC) != 0)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", w->path, strerror(errno));
    if (w->map) munmap(w->map, w->map_bytes);
    if (w->fd >= 0) close(w->fd);
    if (st == TK_OK && commit && rename(w->temp, w->path) != 0)
        st = tk_fail(err, TK_IO, "cannot name \"%s\": %s", w->path, strerror(errno));
    if (w->fd >= 0 && (st != TK_OK || !commit)) unlink(w->temp);
    tk_free(w->path);
    tk_free(w->temp);
    tk_free(w->offset);
    tk_free(w);
    return st;
}
