// SPDX-License-Identifier: MIT
// safetensors: 8 bytes of little-endian header length, a JSON object {name: {dtype, shape, data_offsets}},
// then the data. As the format's own library does, tensors must tile the data part without holes or overlap.
#include "store/ckpt_priv.h"

#include "base/limits.h"
#include "base/mem.h"

#include <string.h>

static tk_status read_dtype(const json_t *v, const char *path, const char *name, tk_dtype *out,
                            tk_err *err)
{
    const char *text = json_string_value(json_object_get(v, "dtype"));
    static const struct {
        const char *name;
        tk_dtype type;
    } also[] = {{"F4", TK_DTYPE_F4_E2M1},
                {"U16", TK_DTYPE_I16},
                {"U32", TK_DTYPE_I32},
                {"U64", TK_DTYPE_I64}};
    for (int i = 0; text && i < TK_DTYPE_Q4_0; i++) {
        if (strcmp(text, tk_dtype_name((tk_dtype)i)) != 0) continue;
        // ours only: safetensors calls FP4 "F4" and keeps INT4 in I32
        if (i == TK_DTYPE_F4_E2M1 || i == TK_DTYPE_I4) continue;
        *out = (tk_dtype)i;
        return TK_OK;
    }
    for (size_t i = 0; text && i < TK_COUNT(also); i++) {
        if (strcmp(text, also[i].name) != 0) continue;
        *out = also[i].type;
        return TK_OK;
    }
    return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": unknown dtype \"%.40s\"", path, name,
                   text ? text : "none");
}

static tk_status read_shape(const json_t *v, const char *path, const char *name, tk_tensor *t,
                            tk_err *err)
{
    const json_t *shape = json_object_get(v, "shape");
    size_t n = json_array_size(shape);
    if (!json_is_array(shape) || n > TK_LIMIT_TENSOR_DIMS)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: tensor \"%s\": the shape is no list of at most %d numbers", path, name,
                       TK_LIMIT_TENSOR_DIMS);
    t->n_dim = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": dimension %zu is not a size",
                           path, name, i);
        t->dim[i] = json_integer_value(d);
    }
    return TK_OK;
}

static tk_status read_offsets(const json_t *v, const char *path, const char *name, ckpt_extent *x,
                              tk_err *err)
{
    const json_t *o = json_object_get(v, "data_offsets");
    const json_t *a = json_array_get(o, 0), *b = json_array_get(o, 1);
    if (json_array_size(o) != 2 || !json_is_integer(a) || !json_is_integer(b) ||
        json_integer_value(a) < 0 || json_integer_value(b) < json_integer_value(a))
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": data_offsets are not [begin, end]",
                       path, name);
    *x = (ckpt_extent){(uint64_t)json_integer_value(a), (uint64_t)json_integer_value(b), name};
    return TK_OK;
}

static tk_status add_one(tk_ckpt *c, const ckpt_file *f, const char *name, const json_t *v,
                         uint64_t data0, ckpt_extent *x, tk_err *err)
{
    tk_tensor t = {0};
    if (!json_is_object(v))
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is no object", f->path, name);
    tk_status st = read_dtype(v, f->path, name, &t.dtype, err);
    if (st == TK_OK) st = read_shape(v, f->path, name, &t, err);
    if (st == TK_OK) st = read_offsets(v, f->path, name, x, err);
    if (st == TK_OK && x->end > f->map.len - data0)
        st = tk_fail(err, TK_BAD_INPUT,
                     "%s: tensor \"%s\" ends at data byte %llu, the file holds %llu", f->path, name,
                     (unsigned long long)x->end, (unsigned long long)(f->map.len - data0));
    if (st == TK_OK) st = ckpt_add_tensor(c, f, name, strlen(name), t, data0 + x->begin, err);
    if (st != TK_OK) return st;
    const tk_tensor *added = &c->tensors[c->n_tensor - 1];
    if (added->data_bytes != x->end - x->begin)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: tensor \"%s\" has %llu bytes, its type and shape ask for %llu", f->path,
                       name, (unsigned long long)(x->end - x->begin),
                       (unsigned long long)added->data_bytes);
    return TK_OK;
}

static tk_status read_header(const ckpt_file *f, uint64_t *data0, json_t **header, tk_err *err)
{
    uint64_t n = 0;
    if (f->map.len < 8)
        return tk_fail(err, TK_BAD_INPUT, "%s: %zu bytes are too few for safetensors", f->path,
                       f->map.len);
    for (int i = 0; i < 8; i++) n |= (uint64_t)f->map.data[i] << (8 * i);
    if (n > TK_LIMIT_SAFETENSORS_HEADER_BYTES || n > f->map.len - 8)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: the header claims %llu bytes, the file has %zu and a header at most %u",
                       f->path, (unsigned long long)n, f->map.len,
                       TK_LIMIT_SAFETENSORS_HEADER_BYTES);
    *data0 = 8 + n;
    tk_status st = tk_json_parse_unique((const char *)f->map.data + 8, n, f->path, header, err);
    if (st == TK_OK && !json_is_object(*header))
        st = tk_fail(err, TK_BAD_INPUT, "%s: the header is no JSON object", f->path);
    return st;
}

// Free text for people: nothing of it is used, but a file that breaks the format is no safetensors file.
static tk_status check_metadata(const json_t *v, const char *path, tk_err *err)
{
    const char *key;
    json_t *text;
    bool ok = json_is_object(v);
    json_object_foreach((json_t *)(uintptr_t)v, key, text) ok = ok && json_is_string(text);
    if (ok) return TK_OK;
    return tk_fail(err, TK_BAD_INPUT, "%s: \"__metadata__\" is no object of strings", path);
}

tk_status safetensors_read(tk_ckpt *c, const char *path, tk_err *err)
{
    const ckpt_file *f = NULL;
    json_t *header = NULL;
    ckpt_extent *extents = NULL;
    uint64_t data0 = 0;
    tk_status st;
    TK_TRY(ckpt_add_file(c, path, &f, err));
    TK_TRY(read_header(f, &data0, &header, err));
    extents = tk_alloc((json_object_size(header) + 1) * sizeof *extents);
    size_t n = 0;
    const char *name;
    json_t *v;
    json_object_foreach(header, name, v)
    {
        if (strcmp(name, "__metadata__") == 0) {
            TK_TRY(check_metadata(v, f->path, err));
            continue;
        }
        TK_TRY(add_one(c, f, name, v, data0, &extents[n++], err));
    }
    TK_TRY(ckpt_check_extents(extents, n, f->map.len - data0, false, f->path, err));
done:
    tk_free(extents);
    json_decref(header);
    return st;
}
