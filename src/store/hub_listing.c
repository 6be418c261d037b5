// SPDX-License-Identifier: MIT
#include "store/hub_listing.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PART_BYTES_MAX = 255 }; // NAME_MAX of every file system that matters

bool tk_hub_is_hex(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
    return s[n] == 0;
}

const char *tk_hub_size_text(uint64_t bytes, char out[TK_HUB_SIZE_TEXT])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB"};
    double v = (double)bytes * 1e-3;
    size_t i = 0;
    for (; v >= 999.995 && i + 1 < TK_COUNT(units); i++) v *= 1e-3;
    if (bytes < 1000)
        snprintf(out, TK_HUB_SIZE_TEXT, "%d B", (int)bytes);
    else
        snprintf(out, TK_HUB_SIZE_TEXT, "%.2f %s", v, units[i]);
    return out;
}

// For messages: cut, and without what a terminal would obey.
static const char *printable(const char *s, size_t len, char out[96])
{
    size_t n = 0;
    for (size_t i = 0; i < len && n < 88; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c < 0x7f)
            out[n++] = (char)c;
        else
            n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
    }
    snprintf(out + n, 4, "%s", n >= 88 ? "..." : "");
    return out;
}

// Why a name may not become a path below the snapshot's folder; NULL when it may.
static const char *name_fault(const char *s, size_t len)
{
    if (len == 0 || strlen(s) != len) return "is empty or holds a NUL";
    if (len > TK_LIMIT_HUB_NAME_BYTES) return "is too long";
    if (!tk_utf8_valid(s, len)) return "is not valid UTF-8";
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) return "holds a control character";
    if (!tk_file_name_is_inside(s)) return "leaves its folder";
    for (const char *p = s, *end; *p; p = *end ? end + 1 : end) {
        end = strchrnul(p, '/');
        if (end - p > PART_BYTES_MAX) return "has a part that is too long";
        if (end - p == 4 && strncasecmp(p, ".git", 4) == 0) return "lies in a .git folder";
    }
    return NULL;
}

tk_status tk_hub_file_set_size(tk_hub_file *f, uint64_t size, tk_err *err)
{
    if (size > TK_LIMIT_HUB_FILE_BYTES)
        return tk_fail(err, TK_NOMEM, "\"%s\" has %" PRIu64 " bytes, at most %" PRIu64 " are taken",
                       f->name, size, TK_LIMIT_HUB_FILE_BYTES);
    f->size = size;
    f->is_sized = true;
    return TK_OK;
}

static tk_status read_hex(const json_t *obj, const char *key, size_t n, char *out,
                          const char *where, tk_err *err)
{
    const char *s = NULL;
    tk_status st = tk_json_str(obj, key, &s, where, err);
    if (st != TK_OK || s == NULL) return st;
    if (strnlen(s, n + 1) != n || !tk_hub_is_hex(s, n))
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is not %zu hex digits", where, key, n);
    memcpy(out, s, n + 1);
    return TK_OK;
}

static tk_status read_size(const json_t *obj, const char *key, tk_hub_file *f, const char *where,
                           tk_err *err)
{
    int64_t size = -1;
    tk_status st = tk_json_int(obj, key, 0, INT64_MAX, &size, where, err);
    if (st != TK_OK || size < 0) return st;
    return tk_hub_file_set_size(f, (uint64_t)size, err);
}

static tk_status add_file(tk_hub_listing *l, const char *name, size_t len, const char *where,
                          tk_hub_file **out, tk_err *err)
{
    char shown[96];
    const char *fault = name_fault(name, len);
    if (fault)
        return tk_fail(err, TK_BAD_INPUT, "%s: the file name \"%s\" %s", where,
                       printable(name, len, shown), fault);
    *out = &l->files[l->n++];
    (*out)->name = tk_strdup(name);
    return TK_OK;
}

static tk_status read_sibling(const json_t *j, const char *where, tk_hub_listing *l, tk_err *err)
{
    const json_t *name = tk_json_get(j, "rfilename"), *lfs = tk_json_get(j, "lfs");
    tk_hub_file *f = NULL;
    tk_status st;
    if (!json_is_string(name))
        return tk_fail(err, TK_BAD_INPUT, "%s: a file has no \"rfilename\"", where);
    TK_TRY(add_file(l, json_string_value(name), json_string_length(name), where, &f, err));
    TK_TRY(read_hex(j, "blobId", 40, f->blob_id, where, err));
    TK_TRY(read_size(j, "size", f, where, err));
    if (json_is_object(lfs)) {
        TK_TRY(read_hex(lfs, "sha256", 64, f->sum, where, err));
        TK_TRY(read_size(lfs, "size", f, where, err));
    } else {
        memcpy(f->sum, f->blob_id, sizeof f->blob_id);
    }
done:
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const tk_hub_file *)a)->name, ((const tk_hub_file *)b)->name);
}

// No name twice, and none that is also the folder of another: they could not both become files.
static tk_status check_names(tk_hub_listing *l, const char *where, tk_err *err)
{
    if (l->n > 0) qsort(l->files, l->n, sizeof *l->files, by_name);
    tk_map *names = tk_map_new(l->n);
    tk_status st = TK_OK;
    for (size_t i = 0; i < l->n && st == TK_OK; i++)
        if (!tk_map_add(names, l->files[i].name, strlen(l->files[i].name), i))
            st = tk_fail(err, TK_BAD_INPUT, "%s: the file name \"%.96s\" stands twice", where,
                         l->files[i].name);
    for (size_t i = 0; i < l->n && st == TK_OK; i++) {
        const char *name = l->files[i].name;
        for (const char *p = strchr(name, '/'); p && st == TK_OK; p = strchr(p + 1, '/'))
            if (tk_map_get(names, name, (size_t)(p - name), NULL))
                st = tk_fail(err, TK_BAD_INPUT, "%s: \"%.96s\" is both a file and a folder", where,
                             name);
    }
    tk_map_free(names);
    return st;
}

static tk_status reserve(tk_hub_listing *l, size_t n, const char *where, tk_err *err)
{
    if (n > TK_LIMIT_HUB_FILES)
        return tk_fail(err, TK_BAD_INPUT, "%s: %zu files, at most %u are taken", where, n,
                       TK_LIMIT_HUB_FILES);
    l->files = tk_alloc(n * sizeof *l->files);
    return TK_OK;
}

tk_status tk_hub_listing_parse(const char *json, size_t len, const char *where, tk_hub_listing *out,
                               tk_err *err)
{
    json_t *j = NULL, *item;
    tk_status st;
    size_t i;
    TK_TRY(tk_json_parse(json, len, where, &j, err));
    const json_t *siblings = tk_json_get(j, "siblings");
    if (!json_is_object(j) || !json_is_array(siblings)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: this is no model's listing (no \"siblings\")", where);
        goto done;
    }
    TK_TRY(read_hex(j, "sha", 40, out->commit, where, err));
    if (out->commit[0] == 0) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: there is no \"sha\"", where);
        goto done;
    }
    TK_TRY(reserve(out, json_array_size(siblings), where, err));
    json_array_foreach(siblings, i, item) TK_TRY(read_sibling(item, where, out, err));
    st = check_names(out, where, err);
done:
    json_decref(j);
    return st;
}

static tk_status read_entry(const char *name, const json_t *j, const char *where, tk_hub_listing *l,
                            tk_err *err)
{
    tk_hub_file *f = NULL;
    tk_status st;
    TK_TRY(add_file(l, name, strlen(name), where, &f, err));
    TK_TRY(read_hex(j, "blob_id", 40, f->blob_id, where, err));
    TK_TRY(read_hex(j, "lfs_sha256", 64, f->sum, where, err));
    TK_TRY(read_size(j, f->sum[0] ? "lfs_size" : "size", f, where, err));
    if (f->sum[0] == 0) memcpy(f->sum, f->blob_id, sizeof f->blob_id);
done:
    return st;
}

tk_status tk_hub_listing_parse_tree(const char *json, size_t len, const char *where,
                                    tk_hub_listing *out, tk_err *err)
{
    json_t *j = NULL, *item;
    const char *name;
    int64_t version = 0;
    tk_status st;
    TK_TRY(tk_json_parse(json, len, where, &j, err));
    json_t *files = tk_json_get(j, "files");
    TK_TRY(tk_json_int(j, "format_version", 0, INT64_MAX, &version, where, err));
    if (version != 1 || !json_is_object(files)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: this is no listing of format 1", where);
        goto done;
    }
    TK_TRY(reserve(out, json_object_size(files), where, err));
    json_object_foreach(files, name, item) TK_TRY(read_entry(name, item, where, out, err));
    st = check_names(out, where, err);
done:
    json_decref(j);
    return st;
}

char *tk_hub_listing_tree_text(const tk_hub_listing *l)
{
    json_t *files = json_object();
    bool whole = true;
    for (size_t i = 0; i < l->n; i++) {
        const tk_hub_file *f = &l->files[i];
        whole &= f->is_sized && f->blob_id[0] && f->sum[0];
        json_t *j = json_pack("{s:I, s:s}", "size", (json_int_t)f->size, "blob_id", f->blob_id);
        if (strlen(f->sum) == 64) {
            json_object_set_new(j, "lfs_sha256", json_string(f->sum));
            json_object_set_new(j, "lfs_size", json_integer((json_int_t)f->size));
        }
        json_object_set_new(files, f->name, j);
    }
    json_t *j = json_pack("{s:i, s:o}", "format_version", 1, "files", files);
    char *text = whole ? json_dumps(j, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;
    json_decref(j);
    return text;
}

void tk_hub_listing_free(tk_hub_listing *l)
{
    for (size_t i = 0; i < l->n; i++) tk_free(l->files[i].name);
    tk_free(l->files);
    *l = (tk_hub_listing){0};
}
