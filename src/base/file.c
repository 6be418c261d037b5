// SPDX-License-Identifier: MIT
#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// O_NONBLOCK: opening a pipe nobody writes to must not hang before fstat can refuse it.
static tk_status open_regular(const char *path, int *fd_out, struct stat *sb, tk_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return tk_fail(err, TK_IO, "cannot open \"%s\": %s", path, strerror(errno));
    if (fstat(fd, sb) != 0 || !S_ISREG(sb->st_mode)) {
        close(fd);
        return tk_fail(err, TK_IO, "\"%s\" is not a regular file", path);
    }
    *fd_out = fd;
    return TK_OK;
}

tk_status tk_file_map_open(const char *path, tk_file_map *out, tk_err *err)
{
    *out = (tk_file_map){0};
    int fd;
    struct stat sb;
    tk_status st = open_regular(path, &fd, &sb, err);
    if (st != TK_OK) return st;
    size_t len = (size_t)sb.st_size;
    out->mtime_ns = (int64_t)sb.st_mtim.tv_sec * 1000000000 + sb.st_mtim.tv_nsec;
    if (len > 0) {
        void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED)
            st = tk_fail(err, TK_IO, "cannot map \"%s\" (%zu bytes): %s", path, len,
                         strerror(errno));
        else
            out->data = p;
        out->len = out->data ? len : 0;
    }
    close(fd);
    return st;
}

void tk_file_map_close(tk_file_map *m)
{
    if (m->data) munmap((void *)(uintptr_t)m->data, m->len);
    *m = (tk_file_map){0};
}

static tk_status read_all(int fd, const char *path, char *to, size_t len, tk_err *err)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, to + at, len - at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tk_fail(err, TK_IO, "cannot read \"%s\": %s", path, strerror(errno));
        if (n == 0) return tk_fail(err, TK_IO, "\"%s\" shrank to %zu of %zu bytes", path, at, len);
        at += (size_t)n;
    }
    return TK_OK;
}

tk_status tk_file_read(const char *path, size_t max_bytes, char **out, size_t *len_out, tk_err *err)
{
    *out = NULL;
    int fd = -1;
    struct stat sb;
    char *text = NULL;
    tk_status st = open_regular(path, &fd, &sb, err);
    if (st != TK_OK) return st;
    size_t len = (size_t)sb.st_size;
    if (len > max_bytes) {
        st = tk_fail(err, TK_BAD_INPUT, "\"%s\" has %zu bytes, at most %zu are read", path, len,
                     max_bytes);
        goto done;
    }
    text = tk_try_alloc(len + 1, 1);
    if (text == NULL) {
        st = tk_fail(err, TK_NOMEM, "no memory for the %zu bytes of \"%s\"", len, path);
        goto done;
    }
    TK_TRY(read_all(fd, path, text, len, err));
    if (len_out) *len_out = len;
    *out = text;
    text = NULL;
done:
    tk_free(text);
    close(fd);
    return st;
}

bool tk_file_exists(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISREG(sb.st_mode);
}

bool tk_file_is_there(const char *path)
{
    struct stat sb;
    return lstat(path, &sb) == 0;
}

bool tk_file_is_dir(const char *path)
{
    struct stat sb;
    return stat(path, &sb) == 0 && S_ISDIR(sb.st_mode);
}

char *tk_file_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);
    bool slash = n > 0 && dir[n - 1] == '/';
    return tk_asprintf("%s%s%s", dir, slash ? "" : "/", name);
}

bool tk_file_name_is_inside(const char *name)
{
    if (name[0] == 0 || strchr(name, '\\')) return false;
    for (const char *p = name;;) {
        const char *end = strchrnul(p, '/');
        size_t len = (size_t)(end - p);
        if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (*end == 0) return true;
        p = end + 1;
    }
}
