// SPDX-License-Identifier: MIT
#include "store/hub_cache.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

// Written by huggingface_hub in the same words (bford.info/cachedir: backups leave such a folder out).
static const char cachedir_tag[] =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by huggingface_hub.\n"
    "# For information about cache directory tags, see:\n"
    "#\thttps://bford.info/cachedir/\n";

static char *user_path(const char *path)
{
    const char *home = getenv("HOME");
    if (path[0] == '~' && (path[1] == '/' || path[1] == 0) && home && *home)
        return tk_asprintf("%s%s", home, path + 1);
    return tk_strdup(path);
}

char *tk_hub_home(void)
{
    const char *home = getenv("HF_HOME"), *xdg = getenv("XDG_CACHE_HOME");
    if (home && *home) return user_path(home);
    char *cache = user_path(xdg && *xdg ? xdg : "~/.cache");
    char *path = tk_file_join(cache, "huggingface");
    tk_free(cache);
    return path;
}

char *tk_hub_cache(void)
{
    static const char *const names[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    for (size_t i = 0; i < TK_COUNT(names); i++) {
        const char *path = getenv(names[i]);
        if (path && *path) return user_path(path);
    }
    char *home = tk_hub_home();
    char *path = tk_file_join(home, "hub");
    tk_free(home);
    return path;
}

// huggingface_hub's rules (validate_repo_id). "--" stands for the slash in the cache: a name must not hold it.
bool tk_hub_is_name(const char *s, size_t len)
{
    int slashes = 0;
    if (len == 0 || len > 96) return false;
    for (size_t i = 0; i < len; i++) {
        bool edge = i == 0 || i + 1 == len || s[i - 1] == '/' || s[i + 1] == '/';
        if (s[i] == '/')
            slashes += i == 0 || i + 1 == len ? 2 : 1;
        else if (!isalnum((unsigned char)s[i]) && s[i] != '_' &&
                 (edge || (s[i] != '-' && s[i] != '.') || s[i - 1] == s[i]))
            return false;
    }
    return slashes == 1 && !(len > 4 && memcmp(s + len - 4, ".git", 4) == 0);
}

bool tk_hub_is_rev(const char *s)
{
    size_t len = strlen(s);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] <= 0x20 || s[i] == 0x7f) return false;
    return len <= 200 && tk_file_name_is_inside(s);
}

tk_status tk_hub_split(const char *model, char **name, char **rev, tk_err *err)
{
    size_t len = strcspn(model, "@");
    const char *given = model[len] == '@' ? model + len + 1 : "main";
    *name = *rev = NULL;
    if (!tk_hub_is_name(model, len))
        return tk_fail(err, TK_USAGE, "\"%s\" is no ORG/NAME[@REV] of the hub", model);
    if (!tk_hub_is_rev(given)) return tk_fail(err, TK_USAGE, "\"%s\" is not a revision", given);
    *name = tk_strndup(model, len);
    *rev = tk_strdup(given);
    return TK_OK;
}

static void set_dir(tk_hub_repo *r)
{
    const char *slash = strchr(r->name, '/');
    tk_free(r->dir);
    r->dir =
        tk_asprintf("%s/models--%.*s--%s", r->cache, (int)(slash - r->name), r->name, slash + 1);
}

tk_hub_repo tk_hub_repo_at(const char *name)
{
    tk_hub_repo r = {.name = tk_strdup(name), .cache = tk_hub_cache()};
    set_dir(&r);
    return r;
}

void tk_hub_repo_free(tk_hub_repo *r)
{
    tk_free(r->name);
    tk_free(r->cache);
    tk_free(r->dir);
    *r = (tk_hub_repo){0};
}

static char *lock_dir(const tk_hub_repo *r)
{
    return tk_asprintf("%s/.locks/%s", r->cache, strrchr(r->dir, '/') + 1);
}

static tk_status make_folders(const char *path, tk_err *err)
{
    char *part = tk_strdup(path);
    tk_status st = TK_OK;
    for (char *p = part + 1; st == TK_OK; p++) {
        if (*p != '/' && *p != 0) continue;
        char c = *p;
        *p = 0;
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            st = tk_fail(err, TK_IO, "cannot make the folder \"%s\": %s", part, strerror(errno));
        *p = c;
        if (c == 0) break;
    }
    tk_free(part);
    return st;
}

// Opens the folder that `name` lies in, below dir, making what is missing; *leaf is name's last part. No link is
// followed below dir: a name must not lead out of it.
static tk_status open_parent(const char *dir, const char *name, int *fd, const char **leaf,
                             tk_err *err)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *leaf = name;
    if (*fd < 0)
        return tk_fail(err, TK_IO, "cannot open the folder \"%s\": %s", dir, strerror(errno));
    for (const char *end; (end = strchr(*leaf, '/')); *leaf = end + 1) {
        char *part = tk_strndup(*leaf, (size_t)(end - *leaf));
        int made = mkdirat(*fd, part, 0777) != 0 && errno != EEXIST ? errno : 0;
        int next = made ? -1 : openat(*fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int why = made ? made : errno;
        close(*fd);
        *fd = next;
        tk_free(part);
        if (next < 0)
            return tk_fail(err, TK_IO, "cannot make the folder of \"%s\" in \"%s\": %s", name, dir,
                           strerror(why));
    }
    return TK_OK;
}

// A small file that appears whole or not at all.
static tk_status write_text(const char *dir, const char *name, const char *text, tk_err *err)
{
    int at = -1;
    const char *leaf;
    size_t len = strlen(text);
    char temp[64];
    tk_status st = open_parent(dir, name, &at, &leaf, err);
    if (st != TK_OK) goto done;
    snprintf(temp, sizeof temp, ".%ld.tmp", (long)getpid());
    unlinkat(at, temp, 0);
    int fd = openat(at, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;
    if (fd >= 0) ok = close(fd) == 0 && ok;
    ok = ok && renameat(at, temp, at, leaf) == 0;
    if (!ok) {
        st = tk_fail(err, TK_IO, "cannot write \"%s/%s\": %s", dir, name, strerror(errno));
        unlinkat(at, temp, 0);
    }
done:
    if (at >= 0) close(at);
    return st;
}

tk_status tk_hub_repo_make(tk_hub_repo *r, tk_err *err)
{
    static const char *const subs[] = {"blobs", "snapshots"};
    char *locks = NULL, *tag = NULL, *absolute = NULL;
    tk_status st;
    TK_TRY(make_folders(r->cache, err));
    absolute = realpath(r->cache, NULL);
    if (absolute == NULL) {
        st = tk_fail(err, TK_IO, "cannot open the folder \"%s\": %s", r->cache, strerror(errno));
        goto done;
    }
    tk_free(r->cache);
    r->cache = tk_strdup(absolute);
    set_dir(r);
    for (size_t i = 0; i < TK_COUNT(subs); i++) {
        char *path = tk_file_join(r->dir, subs[i]);
        st = make_folders(path, err);
        tk_free(path);
        if (st != TK_OK) goto done;
    }
    locks = lock_dir(r);
    TK_TRY(make_folders(locks, err));
    tag = tk_file_join(r->cache, "CACHEDIR.TAG");
    if (!tk_file_is_there(tag)) (void)write_text(r->cache, "CACHEDIR.TAG", cachedir_tag, NULL);
done:
    free(absolute);
    tk_free(tag);
    tk_free(locks);
    return st;
}

char *tk_hub_blob_path(const tk_hub_repo *r, const char *sum)
{
    return tk_asprintf("%s/blobs/%s", r->dir, sum);
}

char *tk_hub_snapshot_path(const tk_hub_repo *r, const char *commit)
{
    return tk_asprintf("%s/snapshots/%s", r->dir, commit);
}

// -1 when there is no file.
static int64_t file_bytes(char *path)
{
    struct stat sb;
    int64_t n = stat(path, &sb) == 0 && S_ISREG(sb.st_mode) ? (int64_t)sb.st_size : -1;
    tk_free(path);
    return n;
}

bool tk_hub_has_blob(const tk_hub_repo *r, const char *sum, uint64_t size)
{
    return file_bytes(tk_hub_blob_path(r, sum)) == (int64_t)size;
}

bool tk_hub_has_file(const tk_hub_repo *r, const char *commit, const tk_hub_file *f)
{
    int64_t n = file_bytes(tk_asprintf("%s/snapshots/%s/%s", r->dir, commit, f->name));
    return n >= 0 && (!f->is_sized || n == (int64_t)f->size);
}

uint64_t tk_hub_partial_bytes(const tk_hub_repo *r, const char *sum)
{
    int64_t n = file_bytes(tk_asprintf("%s/blobs/%s.incomplete", r->dir, sum));
    return n > 0 ? (uint64_t)n : 0;
}

char *tk_hub_read_ref(const tk_hub_repo *r, const char *rev)
{
    char *path = tk_asprintf("%s/refs/%s", r->dir, rev), *commit = NULL;
    if (tk_file_exists(path) && tk_file_read(path, 256, &commit, NULL, NULL) == TK_OK) {
        commit[strcspn(commit, "\r\n \t")] = 0;
        if (!tk_hub_is_rev(commit)) {
            tk_free(commit);
            commit = NULL;
        }
    }
    tk_free(path);
    return commit ? commit : tk_strdup(rev);
}

tk_status tk_hub_write_ref(const tk_hub_repo *r, const char *rev, const char *commit, tk_err *err)
{
    char *old = tk_hub_read_ref(r, rev), *name = tk_asprintf("refs/%s", rev);
    tk_status st = strcmp(old, commit) == 0 ? TK_OK : write_text(r->dir, name, commit, err);
    tk_free(name);
    tk_free(old);
    return st;
}

tk_status tk_hub_link(const tk_hub_repo *r, const char *commit, const tk_hub_file *f, tk_err *err)
{
    int at = -1;
    const char *leaf;
    char temp[64], now[512], *dir = tk_file_join(r->dir, "snapshots");
    char *name = tk_asprintf("%s/%s", commit, f->name), *target = NULL;
    tk_status st;
    TK_TRY(open_parent(dir, name, &at, &leaf, err));
    target = tk_asprintf("../../blobs/%s", f->sum);
    for (const char *p = strchr(f->name, '/'); p; p = strchr(p + 1, '/')) {
        char *deeper = tk_asprintf("../%s", target);
        tk_free(target);
        target = deeper;
    }
    ssize_t n = readlinkat(at, leaf, now, sizeof now - 1);
    if (n > 0 && (size_t)n == strlen(target) && memcmp(now, target, (size_t)n) == 0) goto done;
    snprintf(temp, sizeof temp, ".%ld.tmp", (long)getpid());
    unlinkat(at, temp, 0);
    if (symlinkat(target, at, temp) != 0 || renameat(at, temp, at, leaf) != 0) {
        st = tk_fail(err, TK_IO, "cannot make the link \"%s/%s\": %s", dir, name, strerror(errno));
        unlinkat(at, temp, 0);
    }
done:
    if (at >= 0) close(at);
    tk_free(target);
    tk_free(name);
    tk_free(dir);
    return st;
}

void tk_hub_write_tree(const tk_hub_repo *r, const tk_hub_listing *l, bool is_all)
{
    char *name = tk_asprintf("trees/%s%s.json", l->commit, is_all ? "" : ".tokamak");
    char *path = tk_file_join(r->dir, name);
    char *text =
        tk_file_is_there(path) ? NULL : tk_hub_listing_tree_text(l); // a commit stays as it is
    if (text) (void)write_text(r->dir, name, text, NULL);
    tk_free(text);
    tk_free(path);
    tk_free(name);
}

bool tk_hub_read_tree(const tk_hub_repo *r, const char *commit, tk_hub_listing *out)
{
    static const char *const kinds[] = {"", ".tokamak"};
    for (size_t i = 0; i < TK_COUNT(kinds); i++) {
        char *path = tk_asprintf("%s/trees/%s%s.json", r->dir, commit, kinds[i]), *text = NULL;
        size_t len;
        tk_hub_listing l = {0};
        snprintf(l.commit, sizeof l.commit, "%s", commit);
        bool ok = tk_file_exists(path) &&
                  tk_file_read(path, TK_LIMIT_HUB_JSON_BYTES, &text, &len, NULL) == TK_OK &&
                  tk_hub_listing_parse_tree(text, len, path, &l, NULL) == TK_OK;
        tk_free(text);
        tk_free(path);
        if (ok) {
            *out = l;
            return true;
        }
        tk_hub_listing_free(&l);
    }
    return false;
}

// A lock file may be removed by the one who held it: what counts is the file that has the name now.
static bool is_named(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

tk_status tk_hub_lock(const tk_hub_repo *r, const char *sum, int *fd, tk_err *err)
{
    char *dir = lock_dir(r), *path = tk_asprintf("%s/%s.lock", dir, sum);
    tk_status st = TK_OK;
    for (;;) {
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
        if (*fd < 0) {
            st = tk_fail(err, TK_IO, "cannot open the lock \"%s\": %s", path, strerror(errno));
            break;
        }
        if (flock(*fd, LOCK_EX | LOCK_NB) == 0) {
            if (is_named(*fd, path)) break;
        } else if (errno != EWOULDBLOCK) {
            break; // no locks on this file system
        } else {
            close(*fd);
            *fd = -1;
            break;
        }
        close(*fd);
    }
    tk_free(path);
    tk_free(dir);
    return st;
}
