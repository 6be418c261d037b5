// SPDX-License-Identifier: MIT
#include "store/ckpt_priv.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

// Names and metadata: bounded by the files' own size, which is mapped, not copied.
static const size_t arena_limit = (size_t)1 << 30;

tk_status ckpt_add_file(tk_ckpt *c, const char *path, const ckpt_file **out, tk_err *err)
{
    if (c->n_file >= c->cap_file) // pointers to files are handed out: the array never moves
        return tk_fail(err, TK_BAD_INPUT, "%s: more than %zu files", c->path, c->cap_file);
    ckpt_file *f = &c->files[c->n_file];
    tk_status st = tk_file_map_open(path, &f->map, err);
    if (st != TK_OK) return st;
    f->path = tk_strdup(path);
    c->n_file++;
    *out = f;
    return TK_OK;
}

static tk_status wanted_bytes(const tk_tensor *t, uint64_t *bytes, const char *file, tk_err *err)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dim; i++)
        if (t->dim[i] < 0 || !tk_mul_size(n, (size_t)t->dim[i], &n) || n > INT64_MAX)
            return tk_fail(err, TK_BAD_INPUT,
                           "%s: tensor \"%s\": the product of its dimensions overflows", file,
                           t->name);
    int len = tk_dtype_block_len(t->dtype);
    int64_t row = t->n_dim ? t->dim[t->n_dim - 1] : 1;
    if (row % len != 0)
        return tk_fail(
            err, TK_BAD_INPUT,
            "%s: tensor \"%s\": rows of %lld values are no whole number of %s blocks of %d", file,
            t->name, (long long)row, tk_dtype_name(t->dtype), len);
    *bytes = tk_dtype_bytes(t->dtype, (int64_t)n);
    if (n > 0 && *bytes == 0)
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": its size overflows", file, t->name);
    return TK_OK;
}

tk_status ckpt_add_tensor(tk_ckpt *c, const ckpt_file *file, const char *name, size_t name_len,
                          tk_tensor t, uint64_t begin, tk_err *err)
{
    if (c->n_tensor >= TK_LIMIT_TENSORS)
        return tk_fail(err, TK_BAD_INPUT, "%s: more than %u tensors", file->path, TK_LIMIT_TENSORS);
    if (name_len == 0 || name_len > TK_LIMIT_TENSOR_NAME_BYTES || memchr(name, 0, name_len))
        return tk_fail(err, TK_BAD_INPUT, "%s: a tensor name of %zu bytes", file->path, name_len);
    t.name = tk_arena_strndup(c->arena, name, name_len);
    if (t.name == NULL) return tk_fail(err, TK_NOMEM, "%s: no memory for tensor names", file->path);
    t.file = file->path;
    tk_status st = wanted_bytes(&t, &t.data_bytes, file->path, err);
    if (st != TK_OK) return st;
    if (begin > file->map.len || t.data_bytes > file->map.len - begin)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: tensor \"%s\" begins at byte %llu and has %llu, the file ends at %zu",
                       file->path, t.name, (unsigned long long)begin,
                       (unsigned long long)t.data_bytes, file->map.len);
    t.data = file->map.data + begin;
    if (c->n_tensor == c->cap_tensor) {
        c->cap_tensor = c->cap_tensor ? c->cap_tensor * 2 : 256;
        c->tensors = tk_realloc(c->tensors, c->cap_tensor * sizeof *c->tensors);
    }
    if (!tk_map_add(c->by_name, t.name, name_len, c->n_tensor))
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is there twice", file->path, t.name);
    c->tensors[c->n_tensor++] = t;
    return TK_OK;
}

static int by_begin(const void *a, const void *b)
{
    const ckpt_extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

tk_status ckpt_check_extents(ckpt_extent *x, size_t n, uint64_t data_bytes, bool holes_ok,
                             const char *path, tk_err *err)
{
    if (n > 0) qsort(x, n, sizeof *x, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (x[i].begin < at || (x[i].begin > at && !holes_ok))
            return tk_fail(err, TK_BAD_INPUT,
                           "%s: tensor \"%s\" begins at data byte %llu, %s at %llu", path,
                           x[i].name, (unsigned long long)x[i].begin,
                           x[i].begin < at ? "overlapping the one before, which ends"
                                           : "leaving a hole from the one before",
                           (unsigned long long)at);
        at = x[i].end;
    }
    if (at != data_bytes && !holes_ok)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: the header describes %llu bytes of data, the file holds %llu", path,
                       (unsigned long long)at, (unsigned long long)data_bytes);
    return TK_OK;
}

bool ckpt_ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

tk_status tk_ckpt_open(const char *path, tk_ckpt **out, tk_err *err)
{
    *out = NULL;
    tk_ckpt *c = tk_alloc(sizeof *c);
    c->path = tk_strdup(path);
    c->arena = tk_arena_new(arena_limit);
    c->by_name = tk_map_new(1024);
    c->cap_file = TK_LIMIT_SHARDS;
    c->files = tk_alloc(c->cap_file * sizeof *c->files);
    tk_status st;
    if (tk_file_is_dir(path)) {
        c->kind = TK_CKPT_HF;
        st = snapshot_read(c, err);
    } else if (ckpt_ends_with(path, ".gguf")) {
        c->kind = TK_CKPT_GGUF;
        st = gguf_read(c, err);
    } else {
        st = tk_fail(err, TK_IO, "\"%s\" is neither a folder nor a .gguf file%s", path,
                     tk_file_exists(path) ? "" : " (it does not exist)");
    }
    if (st != TK_OK) {
        tk_ckpt_close(c);
        return st;
    }
    *out = c;
    return TK_OK;
}

void tk_ckpt_close(tk_ckpt *c)
{
    if (c == NULL) return;
    for (size_t i = 0; i < c->n_file; i++) {
        tk_file_map_close(&c->files[i].map);
        tk_free(c->files[i].path);
    }
    json_decref(c->config);
    json_decref(c->generation_config);
    json_decref(c->quant_config);
    tk_map_free(c->by_name);
    tk_map_free(c->kv_by_key);
    tk_arena_free(c->arena);
    tk_free(c->files);
    tk_free(c->tensors);
    tk_free(c->kv);
    tk_free(c->path);
    tk_free(c);
}

tk_ckpt_kind tk_ckpt_kind_of(const tk_ckpt *c)
{
    return c->kind;
}

const char *tk_ckpt_path(const tk_ckpt *c)
{
    return c->path;
}

size_t tk_ckpt_tensor_count(const tk_ckpt *c)
{
    return c->n_tensor;
}

const tk_tensor *tk_ckpt_tensor(const tk_ckpt *c, size_t i)
{
    return &c->tensors[i];
}

const tk_tensor *tk_ckpt_find(const tk_ckpt *c, const char *name)
{
    uint64_t i;
    return tk_map_get(c->by_name, name, strlen(name), &i) ? &c->tensors[i] : NULL;
}

uint64_t tk_ckpt_file_bytes(const tk_ckpt *c)
{
    uint64_t n = 0;
    for (size_t i = 0; i < c->n_file; i++) n += c->files[i].map.len;
    return n;
}

uint64_t tk_ckpt_files_id(const tk_ckpt *c)
{
    uint64_t id = c->n_file;
    for (size_t i = 0; i < c->n_file; i++) {
        const uint64_t of[] = {id, c->files[i].map.len, (uint64_t)c->files[i].map.mtime_ns};
        id = XXH3_64bits(of, sizeof of);
    }
    return id;
}

const json_t *tk_ckpt_config(const tk_ckpt *c)
{
    return c->config;
}

const json_t *tk_ckpt_generation_config(const tk_ckpt *c)
{
    return c->generation_config;
}

const json_t *tk_ckpt_quant_config(const tk_ckpt *c)
{
    return c->quant_config;
}
