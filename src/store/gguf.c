// SPDX-License-Identifier: MIT
// GGUF version 2 and 3, little-endian. Layout: magic, version, tensor count, metadata count, the metadata
// (key, type, value), tensor infos (name, dims, type, offset), padding to the alignment, data. Everything is
// read where it is mapped; a cursor that cannot pass the end does all the checking.
#include "store/ckpt_priv.h"
#include "store/gguf.h"

#include "base/limits.h"
#include "base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    T_U8,
    T_I8,
    T_U16,
    T_I16,
    T_U32,
    T_I32,
    T_F32,
    T_BOOL,
    T_STRING,
    T_ARRAY,
    T_U64,
    T_I64,
    T_F64,
    T_COUNT
};

static const uint8_t scalar_bytes[T_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct cursor {
    const uint8_t *at, *end, *begin;
    bool failed; // ran past the end: sticks
} cursor;

static const uint8_t *take(cursor *c, uint64_t n)
{
    if (c->failed || n > (uint64_t)(c->end - c->at)) {
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    return p;
}

static uint64_t load_le(const uint8_t *p, int n)
{
    uint64_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static uint64_t take_le(cursor *c, int n)
{
    const uint8_t *p = take(c, (uint64_t)n);
    return p ? load_le(p, n) : 0;
}

static const char *take_str(cursor *c, uint64_t *len)
{
    *len = take_le(c, 8);
    if (*len > TK_LIMIT_GGUF_STRING_BYTES) c->failed = true;
    return (const char *)take(c, *len);
}

static tk_status cut_short(const cursor *c, const char *path, const char *what, tk_err *err)
{
    return tk_fail(err, TK_BAD_INPUT, "%s: cut short or damaged in %s, near byte %zu of %zu", path,
                   what, (size_t)(c->at - c->begin), (size_t)(c->end - c->begin));
}

static tk_status read_array(tk_ckpt *ck, cursor *c, gguf_kv *kv, const char *path, tk_err *err)
{
    kv->item_type = (uint32_t)take_le(c, 4);
    kv->n_item = take_le(c, 8);
    kv->value = c->at;
    if (c->failed) return cut_short(c, path, kv->key, err);
    if (kv->item_type >= T_COUNT || kv->item_type == T_ARRAY)
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is an array of unknown type %u", path,
                       kv->key, kv->item_type);
    uint64_t item_bytes = kv->item_type == T_STRING ? 8 : scalar_bytes[kv->item_type]; // at least
    if (kv->n_item > TK_LIMIT_GGUF_ARRAY || kv->n_item > (uint64_t)(c->end - c->at) / item_bytes)
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" claims %" PRIu64 " items, %zu bytes are left",
                       path, kv->key, kv->n_item, (size_t)(c->end - c->at));
    if (kv->item_type != T_STRING) {
        take(c, kv->n_item * scalar_bytes[kv->item_type]);
        return c->failed ? cut_short(c, path, kv->key, err) : TK_OK;
    }
    kv->item_at = tk_arena_alloc(ck->arena, kv->n_item * sizeof *kv->item_at);
    if (kv->item_at == NULL)
        return tk_fail(err, TK_NOMEM, "%s: no memory for \"%s\"", path, kv->key);
    for (uint64_t i = 0; i < kv->n_item && !c->failed; i++) {
        uint64_t len;
        kv->item_at[i] = (uint64_t)(c->at - kv->value);
        take_str(c, &len);
    }
    return c->failed ? cut_short(c, path, kv->key, err) : TK_OK;
}

static tk_status read_kv(tk_ckpt *ck, cursor *c, gguf_kv *kv, const char *path, tk_err *err)
{
    uint64_t len;
    const char *key = take_str(c, &len);
    kv->type = (uint32_t)take_le(c, 4);
    if (c->failed || len > TK_LIMIT_TENSOR_NAME_BYTES)
        return cut_short(c, path, "a metadata key", err);
    kv->key = tk_arena_strndup(ck->arena, key, len);
    if (kv->key == NULL) return tk_fail(err, TK_NOMEM, "%s: no memory for metadata", path);
    if (kv->type == T_ARRAY) return read_array(ck, c, kv, path, err);
    if (kv->type >= T_COUNT)
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" has the unknown type %u", path, kv->key,
                       kv->type);
    kv->value = c->at;
    if (kv->type == T_STRING)
        take_str(c, &len);
    else
        take(c, scalar_bytes[kv->type]);
    return c->failed ? cut_short(c, path, kv->key, err) : TK_OK;
}

static bool dtype_of(uint32_t ggml_type, tk_dtype *out)
{
    static const struct {
        uint32_t ggml;
        tk_dtype type;
    } map[] = {
        {0, TK_DTYPE_F32},     {1, TK_DTYPE_F16},     {2, TK_DTYPE_Q4_0},  {3, TK_DTYPE_Q4_1},
        {6, TK_DTYPE_Q5_0},    {7, TK_DTYPE_Q5_1},    {8, TK_DTYPE_Q8_0},  {10, TK_DTYPE_Q2_K},
        {11, TK_DTYPE_Q3_K},   {12, TK_DTYPE_Q4_K},   {13, TK_DTYPE_Q5_K}, {14, TK_DTYPE_Q6_K},
        {20, TK_DTYPE_IQ4_NL}, {23, TK_DTYPE_IQ4_XS}, {24, TK_DTYPE_I8},   {25, TK_DTYPE_I16},
        {26, TK_DTYPE_I32},    {27, TK_DTYPE_I64},    {28, TK_DTYPE_F64},  {30, TK_DTYPE_BF16},
        {39, TK_DTYPE_MXFP4},
    };
    for (size_t i = 0; i < TK_COUNT(map); i++) {
        if (map[i].ggml != ggml_type) continue;
        *out = map[i].type;
        return true;
    }
    return false;
}

typedef struct info { // a tensor's header, until the data's begin is known
    const char *name;
    uint64_t name_len, offset;
    tk_tensor t;
} info;

static tk_status read_info(cursor *c, info *in, const char *path, tk_err *err)
{
    in->name = take_str(c, &in->name_len);
    uint32_t n_dim = (uint32_t)take_le(c, 4);
    if (c->failed) return cut_short(c, path, "the tensor list", err);
    int shown = (int)TK_MIN(in->name_len, (uint64_t)80);
    if (n_dim > 4)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: tensor \"%.*s\" has %u dimensions, at most 4 are allowed", path, shown,
                       in->name, n_dim);
    in->t.n_dim = (int)n_dim;
    for (uint32_t i = 0; i < n_dim; i++) {
        uint64_t d = take_le(c, 8);
        if (d > INT64_MAX)
            return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%.*s\": dimension %u overflows", path,
                           shown, in->name, i);
        in->t.dim[n_dim - 1 - i] = (int64_t)d; // the file says the innermost first
    }
    uint32_t type = (uint32_t)take_le(c, 4);
    in->offset = take_le(c, 8);
    if (c->failed) return cut_short(c, path, "the tensor list", err);
    if (!dtype_of(type, &in->t.dtype))
        return tk_fail(err, TK_UNSUPPORTED,
                       "%s: tensor \"%.*s\" has ggml type %u, which is not supported", path, shown,
                       in->name, type);
    return TK_OK;
}

static tk_status read_tensors(tk_ckpt *ck, const ckpt_file *f, cursor *c, uint64_t n,
                              uint64_t alignment, tk_err *err)
{
    // a tensor's header takes at least 24 bytes, so n is bounded by the file itself
    if (n > TK_LIMIT_TENSORS || n > (uint64_t)(c->end - c->at) / 24)
        return tk_fail(err, TK_BAD_INPUT, "%s: %" PRIu64 " tensors are claimed, %zu bytes are left",
                       f->path, n, (size_t)(c->end - c->at));
    info *infos = tk_alloc((size_t)n * sizeof *infos);
    ckpt_extent *extents = tk_alloc((size_t)n * sizeof *extents);
    tk_status st = TK_OK;
    for (uint64_t i = 0; i < n; i++) TK_TRY(read_info(c, &infos[i], f->path, err));
    uint64_t data0 = (uint64_t)(c->at - c->begin);
    data0 = (data0 + alignment - 1) / alignment * alignment;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t at;
        if (infos[i].offset % alignment != 0 ||
            __builtin_add_overflow(data0, infos[i].offset, &at)) {
            st = tk_fail(err, TK_BAD_INPUT,
                         "%s: tensor \"%.*s\" has offset %" PRIu64 ", no multiple of %" PRIu64,
                         f->path, (int)TK_MIN(infos[i].name_len, (uint64_t)80), infos[i].name,
                         infos[i].offset, alignment);
            goto done;
        }
        TK_TRY(ckpt_add_tensor(ck, f, infos[i].name, infos[i].name_len, infos[i].t, at, err));
        const tk_tensor *t = &ck->tensors[ck->n_tensor - 1];
        extents[i] = (ckpt_extent){infos[i].offset, infos[i].offset + t->data_bytes, t->name};
    }
    // padding to the alignment leaves holes
    TK_TRY(ckpt_check_extents(extents, (size_t)n, f->map.len, true, f->path, err));
done:
    tk_free(extents);
    tk_free(infos);
    return st;
}

typedef struct part { // metadata of one file of a split
    gguf_kv *kv;
    size_t n_kv;
    tk_map *by_key;
} part;

static tk_status read_metadata(tk_ckpt *ck, const ckpt_file *f, cursor *c, uint64_t n, part *p,
                               tk_err *err)
{
    if (n > TK_LIMIT_GGUF_KV || n > (uint64_t)(c->end - c->at) / 13)
        return tk_fail(err, TK_BAD_INPUT, "%s: %" PRIu64 " metadata entries are claimed", f->path,
                       n);
    p->kv = tk_alloc((size_t)n * sizeof *p->kv);
    p->by_key = tk_map_new((size_t)n);
    for (; p->n_kv < n; p->n_kv++) {
        gguf_kv *kv = &p->kv[p->n_kv];
        tk_status st = read_kv(ck, c, kv, f->path, err);
        if (st != TK_OK) return st;
        if (!tk_map_add(p->by_key, kv->key, strlen(kv->key), p->n_kv))
            return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is there twice", f->path, kv->key);
    }
    return TK_OK;
}

static bool scalar_int(uint32_t type, const uint8_t *p, int64_t *v)
{
    switch (type) {
    case T_U8:
    case T_BOOL: *v = *p; return true;
    case T_I8: *v = *p < 128 ? *p : *p - 256; return true;
    case T_U16: *v = (int64_t)load_le(p, 2); return true;
    case T_I16: *v = (int16_t)load_le(p, 2); return true;
    case T_U32: *v = (int64_t)load_le(p, 4); return true;
    case T_I32: *v = (int32_t)load_le(p, 4); return true;
    case T_I64:
    case T_U64: *v = (int64_t)load_le(p, 8); return *v >= 0 || type == T_I64;
    default: return false;
    }
}

static int64_t part_int(const part *p, const char *key, int64_t fallback)
{
    uint64_t i;
    int64_t v;
    if (!tk_map_get(p->by_key, key, strlen(key), &i)) return fallback;
    return scalar_int(p->kv[i].type, p->kv[i].value, &v) ? v : fallback;
}

static tk_status read_file(tk_ckpt *ck, const char *path, part *p, tk_err *err)
{
    const ckpt_file *f = NULL;
    tk_status st = ckpt_add_file(ck, path, &f, err);
    if (st != TK_OK) return st;
    if (f->map.len == 0) // data is NULL, which not even 0 may be added to
        return tk_fail(err, TK_BAD_INPUT, "%s: this is no GGUF file (it is empty)", f->path);
    cursor c = {.at = f->map.data, .begin = f->map.data, .end = f->map.data + f->map.len};
    const uint8_t *magic = take(&c, 4);
    uint32_t version = (uint32_t)take_le(&c, 4);
    if (magic == NULL || memcmp(magic, "GGUF", 4) != 0)
        return tk_fail(err, TK_BAD_INPUT, "%s: this is no GGUF file", f->path);
    if (c.failed) return cut_short(&c, f->path, "the header", err);
    if (version != 2 && version != 3)
        return tk_fail(err, TK_UNSUPPORTED, "%s: GGUF version %u is not supported (2 and 3 are)%s",
                       f->path, version,
                       (version & 0xFFFF) == 0 && version ? "; it looks big-endian" : "");
    uint64_t n_tensor = take_le(&c, 8), n_kv = take_le(&c, 8);
    if (c.failed) return cut_short(&c, f->path, "the header", err);
    st = read_metadata(ck, f, &c, n_kv, p, err);
    if (st != TK_OK) return st;
    int64_t alignment = part_int(p, "general.alignment", 32);
    if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: general.alignment is %lld, not a power of two up to 2^20", f->path,
                       (long long)alignment);
    return read_tensors(ck, f, &c, n_tensor, (uint64_t)alignment, err);
}

static void part_free(part *p)
{
    tk_free(p->kv);
    tk_map_free(p->by_key);
}

// name-00001-of-00003.gguf -> the name of part i.
static tk_status part_path(const char *first, int64_t i, int64_t n, char **out, tk_err *err)
{
    size_t len = strlen(first);
    enum { TAIL = sizeof "-00001-of-00003.gguf" - 1 };
    char expect[TAIL + 24];
    snprintf(expect, sizeof expect, "-%05d-of-%05d.gguf", 1, (int)n);
    if (len < TAIL || strcmp(first + len - TAIL, expect) != 0)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: this is one of %lld parts; open the one whose name ends with \"%s\"",
                       first, (long long)n, expect);
    *out = tk_asprintf("%.*s-%05d-of-%05d.gguf", (int)(len - TAIL), first, (int)i + 1, (int)n);
    return TK_OK;
}

static tk_status read_parts(tk_ckpt *c, const part *first, int64_t n_part, tk_err *err)
{
    if (n_part > TK_LIMIT_SHARDS)
        return tk_fail(err, TK_BAD_INPUT, "%s: split.count is %lld", c->path, (long long)n_part);
    if (part_int(first, "split.no", 0) != 0)
        return tk_fail(err, TK_BAD_INPUT, "%s: this is part %lld of %lld; open the first", c->path,
                       (long long)part_int(first, "split.no", 0) + 1, (long long)n_part);
    for (int64_t i = 1; i < n_part; i++) {
        char *path = NULL;
        part p = {0};
        tk_status st = part_path(c->path, i, n_part, &path, err);
        if (st == TK_OK) st = read_file(c, path, &p, err);
        if (st == TK_OK && part_int(&p, "split.no", i) != i)
            st = tk_fail(err, TK_BAD_INPUT, "%s: says it is part %lld, not %lld", path,
                         (long long)part_int(&p, "split.no", i) + 1, (long long)i + 1);
        if (st == TK_OK && part_int(&p, "split.count", n_part) != n_part)
            st = tk_fail(err, TK_BAD_INPUT, "%s: says it is one of %lld parts, the first says %lld",
                         path, (long long)part_int(&p, "split.count", n_part), (long long)n_part);
        part_free(&p);
        tk_free(path);
        if (st != TK_OK) return st;
    }
    int64_t want = part_int(first, "split.tensors.count", (int64_t)c->n_tensor);
    if (want != (int64_t)c->n_tensor)
        return tk_fail(err, TK_BAD_INPUT, "%s: its parts hold %zu tensors, %lld were promised",
                       c->path, c->n_tensor, (long long)want);
    return TK_OK;
}

tk_status gguf_read(tk_ckpt *c, tk_err *err)
{
    part p = {0};
    tk_status st = read_file(c, c->path, &p, err);
    c->kv = p.kv;
    c->n_kv = p.n_kv;
    c->kv_by_key = p.by_key;
    if (st != TK_OK) return st;
    int64_t n_part = part_int(&p, "split.count", 1);
    return n_part > 1 ? read_parts(c, &p, n_part, err) : TK_OK;
}

static const gguf_kv *find(const tk_ckpt *c, const char *key)
{
    uint64_t i;
    if (c->kv_by_key == NULL || !tk_map_get(c->kv_by_key, key, strlen(key), &i)) return NULL;
    return &c->kv[i];
}

static bool scalar_double(uint32_t type, const uint8_t *p, double *v)
{
    int64_t n;
    if (type == T_F32) {
        uint32_t u = (uint32_t)load_le(p, 4);
        float f;
        memcpy(&f, &u, sizeof f);
        *v = f;
        return true;
    }
    if (type == T_F64) {
        uint64_t u = load_le(p, 8);
        memcpy(v, &u, sizeof *v);
        return true;
    }
    if (!scalar_int(type, p, &n)) return false;
    *v = (double)n;
    return true;
}

static bool string_at(const uint8_t *p, const char **s, size_t *len)
{
    *len = (size_t)load_le(p, 8);
    *s = (const char *)p + 8;
    return true;
}

bool tk_gguf_str(const tk_ckpt *c, const char *key, const char **s, size_t *len)
{
    const gguf_kv *kv = find(c, key);
    return kv && kv->type == T_STRING && string_at(kv->value, s, len);
}

bool tk_gguf_int(const tk_ckpt *c, const char *key, int64_t *v)
{
    const gguf_kv *kv = find(c, key);
    return kv && scalar_int(kv->type, kv->value, v);
}

bool tk_gguf_double(const tk_ckpt *c, const char *key, double *v)
{
    const gguf_kv *kv = find(c, key);
    return kv && scalar_double(kv->type, kv->value, v);
}

size_t tk_gguf_array_len(const tk_ckpt *c, const char *key)
{
    const gguf_kv *kv = find(c, key);
    return kv && kv->type == T_ARRAY ? (size_t)kv->n_item : 0;
}

static const gguf_kv *find_item(const tk_ckpt *c, const char *key, size_t i)
{
    const gguf_kv *kv = find(c, key);
    return kv && kv->type == T_ARRAY && i < kv->n_item ? kv : NULL;
}

bool tk_gguf_array_str(const tk_ckpt *c, const char *key, size_t i, const char **s, size_t *len)
{
    const gguf_kv *kv = find_item(c, key, i);
    return kv && kv->item_type == T_STRING && string_at(kv->value + kv->item_at[i], s, len);
}

bool tk_gguf_array_int(const tk_ckpt *c, const char *key, size_t i, int64_t *v)
{
    const gguf_kv *kv = find_item(c, key, i);
    return kv && kv->item_type != T_STRING &&
           scalar_int(kv->item_type, kv->value + i * scalar_bytes[kv->item_type], v);
}

bool tk_gguf_array_double(const tk_ckpt *c, const char *key, size_t i, double *v)
{
    const gguf_kv *kv = find_item(c, key, i);
    return kv && kv->item_type != T_STRING &&
           scalar_double(kv->item_type, kv->value + i * scalar_bytes[kv->item_type], v);
}
