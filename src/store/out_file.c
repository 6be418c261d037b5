// SPDX-License-Identifier: MIT
#include "store/out_file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct tk_out_file {
    char *path, *temp;
    int fd;
    uint64_t data_at;
};

tk_status tk_out_place(tk_out_tensor *t, size_t n, uint64_t alignment, uint64_t *total, tk_err *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        int64_t values = 1, last = t[i].dim[t[i].n_dim - 1];
        bool wraps = false;
        for (int d = 0; d < t[i].n_dim; d++)
            wraps |= __builtin_mul_overflow(values, t[i].dim[d], &values);
        if (last % tk_dtype_block_len(t[i].dtype) != 0)
            return tk_fail(err, TK_BAD_INPUT,
                           "tensor \"%s\" has rows of %" PRId64 ", no multiple of the %d of a %s "
                           "block",
                           t[i].name, last, tk_dtype_block_len(t[i].dtype),
                           tk_dtype_name(t[i].dtype));
        t[i].bytes = wraps ? 0 : tk_dtype_bytes(t[i].dtype, values);
        t[i].at = (at + alignment - 1) / alignment * alignment;
        if (t[i].bytes == 0 || __builtin_add_overflow(t[i].at, t[i].bytes, &at) ||
            at > INT64_MAX / 2)
            return tk_fail(err, TK_NOMEM, "tensor \"%s\" is too large", t[i].name);
    }
    *total = (at + alignment - 1) / alignment * alignment;
    return TK_OK;
}

tk_status tk_out_header_safetensors(const tk_out_tensor *t, size_t n, tk_buf *b, tk_err *err)
{
    tk_buf_add(b, "\0\0\0\0\0\0\0\0", 8);
    tk_buf_add_str(b, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        tk_buf_addf(b, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t[i].name,
                    tk_dtype_name(t[i].dtype));
        for (int d = 0; d < t[i].n_dim; d++)
            tk_buf_addf(b, "%s%" PRId64, d ? "," : "", t[i].dim[d]);
        tk_buf_addf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t[i].at,
                    t[i].at + t[i].bytes);
    }
    tk_buf_add_str(b, "}");
    while (b->len % 8 != 0 && !b->failed) tk_buf_add_char(b, ' '); // the data begins aligned
    if (b->failed) return tk_fail(err, TK_NOMEM, "%zu tensors make the header too large", n);
    uint64_t len = b->len - 8;
    for (int i = 0; i < 8; i++) b->data[i] = (char)(len >> (8 * i));
    return TK_OK;
}

static tk_status write_at(const tk_out_file *f, uint64_t at, const char *p, size_t len, tk_err *err)
{
    while (len > 0) {
        ssize_t n = pwrite(f->fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return tk_fail(err, TK_IO, "cannot write %zu bytes at %" PRIu64 " of \"%s\": %s", len,
                           at, f->temp, n < 0 ? strerror(errno) : "nothing was written");
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return TK_OK;
}

tk_status tk_out_open(const char *path, const tk_buf *header, uint64_t data_bytes,
                      tk_out_file **out, tk_err *err)
{
    *out = NULL;
    tk_out_file *f = tk_alloc(sizeof *f);
    tk_status st = TK_OK;
    f->path = tk_strdup(path);
    f->temp = tk_asprintf("%s.incomplete", path);
    f->data_at = header->len;
    f->fd = open(f->temp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        st = tk_fail(err, TK_IO, "cannot make \"%s\": %s", f->temp, strerror(errno));
        goto done;
    }
    // a full disk shows here, before hours of writing
    int rc = posix_fallocate(f->fd, 0, (off_t)(f->data_at + data_bytes));
    if (rc != 0) {
        st = tk_fail(err, TK_IO, "cannot make room for %" PRIu64 " bytes in \"%s\": %s",
                     f->data_at + data_bytes, f->temp, strerror(rc));
        goto done;
    }
    TK_TRY(write_at(f, 0, header->data, header->len, err));
    *out = f;
    f = NULL;
done:
    tk_out_close(f, false, NULL);
    return st;
}

tk_status tk_out_write(const tk_out_file *f, uint64_t at, const void *p, size_t len, tk_err *err)
{
    return write_at(f, f->data_at + at, p, len, err);
}

tk_status tk_out_close(tk_out_file *f, bool commit, tk_err *err)
{
    if (f == NULL) return TK_OK;
    tk_status st = TK_OK;
    if (commit && fsync(f->fd) != 0)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", f->temp, strerror(errno));
    if (f->fd >= 0) close(f->fd);
    if (st == TK_OK && commit && rename(f->temp, f->path) != 0)
        st = tk_fail(err, TK_IO, "cannot name \"%s\": %s", f->path, strerror(errno));
    if (f->fd >= 0 && (st != TK_OK || !commit)) unlink(f->temp);
    tk_free(f->path);
    tk_free(f->temp);
    tk_free(f);
    return st;
}
