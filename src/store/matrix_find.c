// SPDX-License-Identifier: MIT
// From named tensors to a weight matrix: which tensors stand beside X.weight says how it was quantised.
//
//   X.weight                                       any plain or GGUF type
//   X.weight F8 + X.weight_scale_inv               DeepSeek: a multiplier per 128 x 128 (despite its name)
//   X.weight F8 + X.weight_scale                   one, one per row, or one per block
//   X.weight U8 + X.weight_scale + X.weight_scale_2   ModelOpt NVFP4: E4M3 per 16, a multiplier per tensor
//   X.weight_packed + X.weight_scale + X.weight_global_scale   compressed-tensors NVFP4: the global is a divisor
//   X.weight_packed + X.weight_scale                           compressed-tensors MXFP4: E8M0 per 32
#include "store/ckpt_priv.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MAX_BYTES = 1200 };

// "a.weight" -> "a." + tail; false when name does not end with ".weight".
static bool beside(const char *name, const char *tail, char out[NAME_MAX_BYTES])
{
    size_t n = strlen(name);
    if (n < 7 || strcmp(name + n - 7, ".weight") != 0) return false;
    return snprintf(out, NAME_MAX_BYTES, "%.*s%s", (int)(n - 6), name, tail) < NAME_MAX_BYTES;
}

static const tk_tensor *find_beside(const tk_ckpt *c, const char *name, const char *tail)
{
    char other[NAME_MAX_BYTES];
    return beside(name, tail, other) ? tk_ckpt_find(c, other) : NULL;
}

bool tk_ckpt_has(const tk_ckpt *c, const char *name)
{
    return tk_ckpt_find(c, name) != NULL || find_beside(c, name, "weight_packed") != NULL;
}

static void shape_text(const tk_tensor *t, char out[128])
{
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < t->n_dim && at < 100; i++)
        at += (size_t)snprintf(out + at, 128 - at, "%s%lld", i ? " x " : "", (long long)t->dim[i]);
}

static tk_status wrong_shape(const tk_tensor *t, int64_t n_out, int64_t n_in, tk_err *err)
{
    char have[128];
    shape_text(t, have);
    return tk_fail(err, TK_BAD_INPUT,
                   "%s: tensor \"%s\" has shape [%s], the config asks for [%lld x %lld]", t->file,
                   t->name, have, (long long)n_out, (long long)n_in);
}

// Rows of t seen as [rows][last]: leading dimensions merge, a vector counts as n x 1 (or 1 x n for n_in = n).
static bool has_shape(const tk_tensor *t, int64_t n_out, int64_t n_in)
{
    int64_t rows = 1, last = t->n_dim ? t->dim[t->n_dim - 1] : 1;
    for (int i = 0; i < t->n_dim - 1; i++)
        rows *= t->dim[i]; // cannot overflow: checked with the whole product
    if (rows == n_out && last == n_in) return true;
    return n_in == 1 && rows == 1 && last == n_out;
}

static double scalar_of(const tk_tensor *t)
{
    float v = NAN;
    if (t->data_bytes >= (uint64_t)tk_dtype_block_bytes(t->dtype) &&
        tk_dtype_block_len(t->dtype) == 1)
        tk_dtype_decode(t->dtype, t->data, 1, &v);
    return v;
}

// Scales are few, so all are looked at: NaN, infinite or negative ones would poison every result.
static tk_status check_scales(const tk_tensor *t, tk_err *err)
{
    int item = tk_dtype_block_bytes(t->dtype);
    int64_t n = (int64_t)(t->data_bytes / (uint64_t)item);
    float part[256];
    for (int64_t i = 0; i < n; i += 256) {
        int64_t m = TK_MIN((int64_t)256, n - i);
        tk_dtype_decode(t->dtype, (const char *)t->data + i * item, m, part);
        for (int64_t k = 0; k < m; k++)
            if (!(part[k] >= 0 && part[k] < INFINITY))
                return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": scale %lld is %g", t->file,
                               t->name, (long long)(i + k), (double)part[k]);
    }
    return TK_OK;
}

static bool is_scale_type(tk_dtype t)
{
    return t == TK_DTYPE_F32 || t == TK_DTYPE_BF16 || t == TK_DTYPE_F16 || t == TK_DTYPE_F8_E4M3 ||
           t == TK_DTYPE_F8_E8M0 || t == TK_DTYPE_U8;
}

static tk_status set_scale(tk_matrix *m, tk_scale_kind kind, const tk_tensor *s, int64_t block_out,
                           int64_t block_in, tk_err *err)
{
    int64_t rows = (m->n_out + block_out - 1) / block_out,
            cols = (m->n_in + block_in - 1) / block_in;
    if (!is_scale_type(s->dtype))
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" holds scales as %s", s->file, s->name,
                       tk_dtype_name(s->dtype));
    if (!has_shape(s, rows, cols) && !(s->n_dim == 0 && rows == 1 && cols == 1))
        return wrong_shape(s, rows, cols, err);
    m->scale_kind = kind;
    m->scale_dtype =
        s->dtype == TK_DTYPE_U8 ? TK_DTYPE_F8_E8M0 : s->dtype; // MXFP4 scales are often plain bytes
    m->scale = s->data;
    m->scale_cols = cols;
    m->block_out = (int32_t)block_out;
    m->block_in = (int32_t)block_in;
    tk_tensor as = *s;
    as.dtype = m->scale_dtype;
    return check_scales(&as, err);
}

// FP8: the number of scales says what they stand for.
static tk_status fp8_scales(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_matrix *m,
                            tk_err *err)
{
    const tk_tensor *s = find_beside(c, name, "weight_scale_inv");
    if (s == NULL) s = find_beside(c, name, "weight_scale");
    if (s == NULL)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: FP8 tensor \"%s\" has no weight_scale_inv or weight_scale beside it",
                       t->file, name);
    int64_t n = 1;
    for (int i = 0; i < s->n_dim; i++) n *= s->dim[i];
    if (n == 1) return set_scale(m, TK_SCALE_BLOCK2D, s, m->n_out, m->n_in, err);
    if (n == m->n_out && (s->n_dim < 2 || s->dim[1] == 1))
        return set_scale(m, TK_SCALE_BLOCK2D, s, 1, m->n_in, err);
    int64_t block[2] = {128, 128};
    const json_t *q = tk_ckpt_quant_config(c),
                 *size = q ? json_object_get(q, "weight_block_size") : NULL;
    for (size_t i = 0; i < 2 && json_array_size(size) == 2; i++)
        block[i] = json_integer_value(json_array_get(size, i));
    if (block[0] < 1 || block[1] < 1 || block[0] > 1 << 20 || block[1] > 1 << 20)
        return tk_fail(err, TK_BAD_INPUT, "%s: weight_block_size is [%lld, %lld]", c->path,
                       (long long)block[0], (long long)block[1]);
    return set_scale(m, TK_SCALE_BLOCK2D, s, block[0], block[1], err);
}

static tk_status fp4(const tk_ckpt *c, const char *name, const tk_tensor *t, int64_t n_out,
                     int64_t n_in, tk_matrix *m, tk_err *err)
{
    const tk_tensor *s = find_beside(c, name, "weight_scale");
    const tk_tensor *times = find_beside(c, name, "weight_scale_2");
    const tk_tensor *over = find_beside(c, name, "weight_global_scale");
    if (n_in % 2 != 0 || !has_shape(t, n_out, n_in / 2))
        return wrong_shape(t, n_out, n_in / 2, err);
    if (s == NULL)
        return tk_fail(err, TK_BAD_INPUT, "%s: packed tensor \"%s\" has no weight_scale beside it",
                       t->file, t->name);
    m->dtype = TK_DTYPE_F4_E2M1;
    m->row_bytes = (size_t)n_in / 2;
    double global = times ? scalar_of(times) : over ? 1 / scalar_of(over) : 1;
    if (!(global > 0 && global < INFINITY))
        return tk_fail(err, TK_BAD_INPUT, "%s: the tensor-wide scale beside \"%s\" is %g", t->file,
                       name, global);
    m->scale_global = (float)global;
    return set_scale(m, TK_SCALE_GROUP, s, 1, s->dtype == TK_DTYPE_F8_E4M3 ? 16 : 32, err);
}

tk_status tk_ckpt_matrix(const tk_ckpt *c, const char *name, int64_t n_out, int64_t n_in,
                         tk_matrix *out, tk_err *err)
{
    const tk_tensor *t = tk_ckpt_find(c, name), *packed = find_beside(c, name, "weight_packed");
    if (t == NULL && packed == NULL) {
        static const char *const others[] = {"qweight", "weight_zero_point", "qzeros"};
        for (size_t i = 0; i < TK_COUNT(others); i++)
            if (find_beside(c, name, others[i]))
                return tk_fail(err, TK_UNSUPPORTED,
                               "%s: \"%s\" is stored as %s (AWQ or GPTQ), which is not supported",
                               c->path, name, others[i]);
        return tk_fail(err, TK_BAD_INPUT, "%s: there is no tensor \"%s\"", c->path, name);
    }
    if (t == NULL) t = packed;
    *out = (tk_matrix){
        .data = t->data, .n_out = n_out, .n_in = n_in, .dtype = t->dtype, .scale_global = 1};
    if (t == packed && t->dtype != TK_DTYPE_U8)
        return tk_fail(err, TK_UNSUPPORTED,
                       "%s: \"%s\" is packed as %s; only FP4 in bytes is supported", t->file,
                       t->name, tk_dtype_name(t->dtype));
    if (t == packed || (t->dtype == TK_DTYPE_U8 && find_beside(c, name, "weight_scale")))
        return fp4(c, name, t, n_out, n_in, out, err);
    if (!has_shape(t, n_out, n_in)) return wrong_shape(t, n_out, n_in, err);
    out->row_bytes =
        n_in == 1 ? (size_t)tk_dtype_block_bytes(t->dtype) / (size_t)tk_dtype_block_len(t->dtype)
                  : (size_t)tk_dtype_bytes(t->dtype, n_in);
    if (t->dtype == TK_DTYPE_F8_E4M3 || t->dtype == TK_DTYPE_F8_E5M2)
        return fp8_scales(c, name, t, out, err);
    if (t->dtype >= TK_DTYPE_F8_E8M0 && t->dtype <= TK_DTYPE_BOOL)
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" has type %s, which no weight has",
                       t->file, t->name, tk_dtype_name(t->dtype));
    return TK_OK;
}

tk_status tk_ckpt_matrix_slice(const tk_ckpt *c, const char *name, int64_t n, int64_t i,
                               int64_t n_out, int64_t n_in, tk_matrix *out, tk_err *err)
{
    const tk_tensor *t = tk_ckpt_find(c, name);
    if (t == NULL)
        return tk_fail(err, TK_BAD_INPUT, "%s: there is no tensor \"%s\"", c->path, name);
    if (t->n_dim != 3 || t->dim[0] != n || t->dim[1] != n_out || t->dim[2] != n_in) {
        char have[128];
        shape_text(t, have);
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: tensor \"%s\" has shape [%s], the config asks for [%lld x %lld x %lld]",
                       t->file, t->name, have, (long long)n, (long long)n_out, (long long)n_in);
    }
    size_t row_bytes = (size_t)tk_dtype_bytes(t->dtype, n_in);
    *out = (tk_matrix){.data = (const char *)t->data + (size_t)i * (size_t)n_out * row_bytes,
                       .row_bytes = row_bytes,
                       .n_out = n_out,
                       .n_in = n_in,
                       .dtype = t->dtype,
                       .scale_global = 1};
    return TK_OK;
}
