// SPDX-License-Identifier: MIT
// From named tensors to a weight matrix: which tensors stand beside X.weight says how it was quantised.
//
//   X.weight                                       any plain or GGUF type
//   X.weight F8 + X.weight_scale_inv               DeepSeek: a multiplier per 128 x 128 (despite its name)
//   X.weight F8 + X.weight_scale                   one, one per row, or one per block
//   X.weight U8 + X.weight_scale + X.weight_scale_2   ModelOpt NVFP4: E4M3 per 16, a multiplier per tensor
//   X.weight_packed + X.weight_scale + X.weight_global_scale   compressed-tensors NVFP4: the global is a divisor
//   X.weight_packed + X.weight_scale                           compressed-tensors MXFP4: E8M0 per 32
//   X.weight_packed I32 + X.weight_scale + X.weight_shape      compressed-tensors INT4: one per group of columns
//   X.weight I8 + X.weight_scale                               compressed-tensors INT8: one, one per row or group
#include "store/ckpt_priv.h"

#include "base/limits.h"
#include "base/mem.h"
#include "num/scan.h"

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

static float scalar_of(const tk_tensor *t)
{
    float v = NAN;
    if (t->data_bytes >= (uint64_t)tk_dtype_block_bytes(t->dtype) &&
        tk_dtype_block_len(t->dtype) == 1)
        tk_dtype_decode(t->dtype, t->data, 1, &v);
    return v;
}

// Of the one-byte scales only one code (E8M0) or the codes from 0x7F up (E4M3) can be bad, and a large NVFP4
// model has tens of gigabytes of scales: a scan the compiler makes wide decides for nearly all tensors.
// Of the 16-bit ones it is the codes from infinity's up, which takes in all with a sign.
static bool may_be_bad(const tk_tensor *t)
{
    switch (t->dtype) {
    case TK_DTYPE_F8_E4M3: return tk_max_u8(t->data, t->data_bytes) >= 0x7F;
    case TK_DTYPE_F8_E8M0: return tk_max_u8(t->data, t->data_bytes) == 0xFF;
    case TK_DTYPE_F16: return tk_max_u16(t->data, t->data_bytes / 2, 0) >= 0x7C00;
    case TK_DTYPE_BF16: return tk_max_u16(t->data, t->data_bytes / 2, 0) >= 0x7F80;
    default: return true;
    }
}

// Scales are few, so all are looked at: NaN, infinite or negative ones would poison every result. A zero is
// let through: some writers give it to blocks that are all zero.
static tk_status check_scales(const tk_tensor *t, float global, tk_err *err)
{
    int item = tk_dtype_block_bytes(t->dtype);
    int64_t n = (int64_t)(t->data_bytes / (uint64_t)item);
    if (global <= 1 && !may_be_bad(t)) return TK_OK;
    float part[256];
    for (int64_t i = 0; i < n; i += 256) {
        int64_t m = TK_MIN((int64_t)256, n - i);
        tk_dtype_decode(t->dtype, (const char *)t->data + i * item, m, part);
        for (int64_t k = 0; k < m; k++)
            if (!(part[k] >= 0 && part[k] * global < INFINITY))
                return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\": scale %lld is %g%s", t->file,
                               t->name, (long long)(i + k), (double)part[k],
                               part[k] < INFINITY && part[k] >= 0
                                   ? ", infinite with the tensor-wide one"
                                   : "");
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
    return check_scales(&as, m->scale_global, err);
}

// weight_block_size of DeepSeek's and transformers' form, or block_structure of compressed-tensors'.
static tk_status weight_block_size(const tk_ckpt *c, int64_t block[2], bool *said, tk_err *err)
{
    const json_t *q = tk_ckpt_quant_config(c),
                 *size = q ? json_object_get(q, "weight_block_size") : NULL;
    if (size == NULL && q) {
        const json_t *group = json_object_get(json_object_get(q, "config_groups"), "group_0");
        size = json_object_get(json_object_get(group, "weights"), "block_structure");
    }
    *said = json_is_array(size);
    if (!*said) return TK_OK;
    for (size_t i = 0; i < 2; i++) {
        const json_t *v = json_array_get(size, i);
        block[i] = json_array_size(size) == 2 && json_is_integer(v) ? json_integer_value(v) : 0;
    }
    if (block[0] < 1 || block[1] < 1 || block[0] > TK_LIMIT_WIDTH || block[1] > TK_LIMIT_WIDTH)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: the weight block size of the quantization config is not two numbers "
                       "from 1 to %d",
                       c->path, TK_LIMIT_WIDTH);
    return TK_OK;
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
    if (s->dtype == TK_DTYPE_F8_E4M3)
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" holds scales of FP8 as %s", s->file,
                       s->name, tk_dtype_name(s->dtype));
    int64_t block[2] = {128, 128}, n = 1;
    bool blocks_said;
    tk_status st = weight_block_size(c, block, &blocks_said, err);
    if (st != TK_OK) return st;
    for (int i = 0; i < s->n_dim; i++) n *= s->dim[i];
    // with blocks promised, [1, 1] is one block, not one scale for whatever size
    bool one_block = blocks_said && s->n_dim == 2;
    if (n == 1 && !one_block) return set_scale(m, TK_SCALE_BLOCK2D, s, m->n_out, m->n_in, err);
    if (n == m->n_out && (s->n_dim < 2 || s->dim[1] == 1) && !one_block)
        return set_scale(m, TK_SCALE_BLOCK2D, s, 1, m->n_in, err);
    return set_scale(m, TK_SCALE_BLOCK2D, s, block[0], block[1], err);
}

// The scale that a whole FP4 tensor shares: ModelOpt's is a multiplier, compressed-tensors' a divisor.
static tk_status fp4_global(const tk_ckpt *c, const char *name, const tk_tensor *t, bool needed,
                            float *out, tk_err *err)
{
    const tk_tensor *times = find_beside(c, name, "weight_scale_2");
    const tk_tensor *over = find_beside(c, name, "weight_global_scale");
    const tk_tensor *g = times ? times : over;
    *out = 1;
    if (g == NULL && needed)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: NVFP4 tensor \"%s\" has no weight_scale_2 or weight_global_scale "
                       "beside it",
                       t->file, t->name);
    if (g == NULL) return TK_OK;
    float v = scalar_of(g);
    *out = times ? v : (float)(1 / (double)v);
    if (v > 0 && v<INFINITY && * out> 0 && *out < INFINITY) return TK_OK;
    return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is %g, no scale", g->file, g->name,
                   (double)v);
}

// Two codes a byte (U8, shape halved) or safetensors' own F4 (shape as it is). The type of the scales says
// which of the two FP4 schemes it is.
static tk_status fp4(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_matrix *m,
                     tk_err *err)
{
    const tk_tensor *s = find_beside(c, name, "weight_scale");
    int64_t stored = t->dtype == TK_DTYPE_F4_E2M1 ? m->n_in : m->n_in / 2;
    if (m->n_in % 2 != 0 || !has_shape(t, m->n_out, stored))
        return wrong_shape(t, m->n_out, stored, err);
    if (s == NULL)
        return tk_fail(err, TK_BAD_INPUT, "%s: packed tensor \"%s\" has no weight_scale beside it",
                       t->file, t->name);
    bool nv = s->dtype == TK_DTYPE_F8_E4M3,
         mx = s->dtype == TK_DTYPE_U8 || s->dtype == TK_DTYPE_F8_E8M0;
    if (!nv && !mx)
        return tk_fail(
            err, TK_BAD_INPUT,
            "%s: tensor \"%s\" holds scales of FP4 as %s; NVFP4 has F8_E4M3, MXFP4 U8 or "
            "F8_E8M0",
            s->file, s->name, tk_dtype_name(s->dtype));
    m->dtype = TK_DTYPE_F4_E2M1;
    m->row_bytes = (size_t)m->n_in / 2;
    tk_status st = fp4_global(c, name, t, nv, &m->scale_global, err);
    return st == TK_OK ? set_scale(m, TK_SCALE_GROUP, s, 1, nv ? 16 : 32, err) : st;
}

// What the checkpoint itself calls its quantisation, for messages.
static const char *quant_method(const tk_ckpt *c)
{
    static const char *const keys[] = {"format", "quant_method", "quant_algo"};
    const char *text = NULL;
    for (size_t i = 0; i < TK_COUNT(keys) && text == NULL; i++)
        text = json_string_value(json_object_get(tk_ckpt_quant_config(c), keys[i]));
    return text ? text : "a quantisation of its own";
}

// Others keep I8 too, without a weight_scale (bitsandbytes): those are refused by their name.
static bool is_compressed_tensors(const tk_ckpt *c)
{
    const char *method =
        json_string_value(json_object_get(tk_ckpt_quant_config(c), "quant_method"));
    return method && strcmp(method, "compressed-tensors") == 0;
}

// Tensors that change what integer codes mean.
static tk_status nothing_more(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_err *err)
{
    static const struct {
        const char *tail, *what;
    } others[] = {
        {"weight_g_idx", "its columns are grouped in the order of activations (actorder)"},
        {"weight_zero_point", "its codes are asymmetric"},
        {"pre_quant_scale", "its inputs are to be scaled before (SmoothQuant)"}};
    for (size_t i = 0; i < TK_COUNT(others); i++) {
        const tk_tensor *o = find_beside(c, name, others[i].tail);
        if (o)
            return tk_fail(
                err, TK_UNSUPPORTED,
                "%s: tensor \"%s\" has \"%s\" beside it: %s (%s), which is not supported", t->file,
                t->name, o->name, others[i].what, quant_method(c));
    }
    return TK_OK;
}

// Whether the quantization config knows groups of so many columns; a config that names none has no say. Which of
// its targets a module belongs to is left aside: the number of scales tells the group.
static bool config_has_group(const tk_ckpt *c, int64_t group, int64_t n_in)
{
    json_t *groups = json_object_get(tk_ckpt_quant_config(c), "config_groups"), *value;
    const char *key;
    bool any = false;
    json_object_foreach(groups, key, value)
    {
        const json_t *w = json_object_get(value, "weights"),
                     *size = json_object_get(w, "group_size");
        const char *strategy = json_string_value(json_object_get(w, "strategy"));
        int64_t said = 0;
        if (json_is_integer(size)) said = json_integer_value(size);
        if (said <= 0 && strategy && strcmp(strategy, "channel") == 0) said = n_in;
        if (said == group) return true;
        any |= said > 0;
    }
    return !any;
}

// One scale, one per row, or one per row and group of columns.
static tk_status int_scales(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_matrix *m,
                            tk_err *err)
{
    const tk_tensor *s = find_beside(c, name, "weight_scale");
    if (s == NULL)
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" has no weight_scale beside it",
                       t->file, t->name);
    if (s->dtype != TK_DTYPE_F32 && s->dtype != TK_DTYPE_BF16 && s->dtype != TK_DTYPE_F16)
        return tk_fail(
            err, TK_BAD_INPUT,
            "%s: tensor \"%s\" holds scales of integers as %s; F32, BF16 and F16 are known",
            s->file, s->name, tk_dtype_name(s->dtype));
    int64_t n = 1, cols = s->n_dim < 2 ? 1 : s->dim[s->n_dim - 1];
    for (int i = 0; i < s->n_dim; i++) n *= s->dim[i];
    if (n == 1) return set_scale(m, TK_SCALE_BLOCK2D, s, m->n_out, m->n_in, err);
    if (cols < 1 || m->n_in % cols != 0 || (cols > 1 && m->n_in / cols % 32 != 0))
        return tk_fail(
            err, TK_BAD_INPUT,
            "%s: tensor \"%s\" has %lld scales for a row of %lld weights: groups are of a "
            "multiple of 32 weights, or the row",
            s->file, s->name, (long long)cols, (long long)m->n_in);
    if (!config_has_group(c, m->n_in / cols, m->n_in))
        return tk_fail(
            err, TK_BAD_INPUT,
            "%s: tensor \"%s\" has %lld scales for a row of %lld weights, groups of %lld, "
            "which the quantization config does not name",
            s->file, s->name, (long long)cols, (long long)m->n_in, (long long)(m->n_in / cols));
    return set_scale(m, TK_SCALE_GROUP, s, 1, m->n_in / cols, err);
}

// weight_shape repeats what the config asks for: a difference means that the two do not belong together.
static tk_status check_weight_shape(const tk_tensor *s, const tk_matrix *m, tk_err *err)
{
    int64_t said[2] = {0};
    int32_t half[2];
    if (s == NULL) return TK_OK;
    if ((s->dtype != TK_DTYPE_I64 && s->dtype != TK_DTYPE_I32) || !has_shape(s, 1, 2))
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is no pair of integers", s->file,
                       s->name);
    if (s->dtype == TK_DTYPE_I64) {
        memcpy(said, s->data, sizeof said);
    } else {
        memcpy(half, s->data, sizeof half);
        said[0] = half[0];
        said[1] = half[1];
    }
    if (said[0] == m->n_out && said[1] == m->n_in) return TK_OK;
    return tk_fail(err, TK_BAD_INPUT,
                   "%s: tensor \"%s\" says [%lld x %lld], the config asks for [%lld x %lld]",
                   s->file, s->name, (long long)said[0], (long long)said[1], (long long)m->n_out,
                   (long long)m->n_in);
}

// Eight codes a word, lowest bits first: on a little-endian machine two a byte, low nibble first.
static tk_status int4(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_matrix *m,
                      tk_err *err)
{
    int64_t words = t->n_dim ? t->dim[t->n_dim - 1] : 0;
    tk_status st = nothing_more(c, name, t, err);
    if (st != TK_OK) return st;
    if (m->n_in % 8 == 0 && words == m->n_in / 4 && has_shape(t, m->n_out, words))
        return tk_fail(
            err, TK_UNSUPPORTED,
            "%s: tensor \"%s\" packs %lld weights in %lld words, 8 bits each (%s), which is "
            "not supported; 4 bits are",
            t->file, t->name, (long long)m->n_in, (long long)words, quant_method(c));
    if (m->n_in % 8 != 0 || !has_shape(t, m->n_out, m->n_in / 8))
        return wrong_shape(t, m->n_out, (m->n_in + 7) / 8, err);
    m->dtype = TK_DTYPE_I4;
    m->row_bytes = (size_t)m->n_in / 2;
    st = check_weight_shape(find_beside(c, name, "weight_shape"), m, err);
    return st == TK_OK ? int_scales(c, name, t, m, err) : st;
}

// Weights of int-quantized; how activations were rounded is not looked at, ours stay as they are.
static tk_status int8(const tk_ckpt *c, const char *name, const tk_tensor *t, tk_matrix *m,
                      tk_err *err)
{
    tk_status st = nothing_more(c, name, t, err);
    if (st != TK_OK) return st;
    if (!has_shape(t, m->n_out, m->n_in)) return wrong_shape(t, m->n_out, m->n_in, err);
    m->row_bytes = (size_t)m->n_in;
    return int_scales(c, name, t, m, err);
}

static tk_status not_there(const tk_ckpt *c, const char *name, tk_err *err)
{
    static const char *const others[] = {"qweight", "weight_zero_point", "qzeros"};
    for (size_t i = 0; i < TK_COUNT(others); i++)
        if (find_beside(c, name, others[i]))
            return tk_fail(err, TK_UNSUPPORTED,
                           "%s: \"%s\" is stored as %s (%s), which is not supported", c->path, name,
                           others[i], quant_method(c));
    return tk_fail(err, TK_BAD_INPUT, "%s: there is no tensor \"%s\"", c->path, name);
}

// Types that hold weights by themselves, without a tensor beside them.
static bool is_weight_type(tk_dtype t)
{
    return t == TK_DTYPE_F32 || t == TK_DTYPE_F16 || t == TK_DTYPE_BF16 || t > TK_DTYPE_BOOL;
}

static tk_status wrong_type(const tk_ckpt *c, const tk_tensor *t, tk_err *err)
{
    if (tk_ckpt_quant_config(c))
        return tk_fail(err, TK_UNSUPPORTED,
                       "%s: tensor \"%s\" is stored as %s (%s), which is not supported", t->file,
                       t->name, tk_dtype_name(t->dtype), quant_method(c));
    return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" has type %s, which no weight has", t->file,
                   t->name, tk_dtype_name(t->dtype));
}

tk_status tk_ckpt_matrix(const tk_ckpt *c, const char *name, int64_t n_out, int64_t n_in,
                         tk_matrix *out, tk_err *err)
{
    const tk_tensor *t = tk_ckpt_find(c, name), *packed = find_beside(c, name, "weight_packed");
    if (t == NULL && packed == NULL) return not_there(c, name, err);
    if (t == NULL) t = packed;
    *out = (tk_matrix){
        .data = t->data, .n_out = n_out, .n_in = n_in, .dtype = t->dtype, .scale_global = 1};
    bool bytes = t->dtype == TK_DTYPE_U8;
    if (t->dtype == TK_DTYPE_F4_E2M1 ||
        (bytes && (t == packed || find_beside(c, name, "weight_scale"))))
        return fp4(c, name, t, out, err);
    if (t == packed && t->dtype == TK_DTYPE_I32) return int4(c, name, t, out, err);
    if (t->dtype == TK_DTYPE_I8 && t != packed &&
        (find_beside(c, name, "weight_scale") || is_compressed_tensors(c)))
        return int8(c, name, t, out, err);
    bool fp8 = t->dtype == TK_DTYPE_F8_E4M3 || t->dtype == TK_DTYPE_F8_E5M2;
    if (t == packed || (!fp8 && !is_weight_type(t->dtype))) return wrong_type(c, t, err);
    if (!has_shape(t, n_out, n_in)) return wrong_shape(t, n_out, n_in, err);
    if (n_in % tk_dtype_block_len(t->dtype) != 0) // a vector asked for as a column
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is a vector in blocks of %s", t->file,
                       t->name, tk_dtype_name(t->dtype));
    out->row_bytes = (size_t)tk_dtype_bytes(t->dtype, n_in);
    return fp8 ? fp8_scales(c, name, t, out, err) : TK_OK;
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
    if (!is_weight_type(t->dtype)) return wrong_type(c, t, err);
    if (i < 0 || i >= n)
        return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" has no slice %lld of %lld", t->file,
                       t->name, (long long)i, (long long)n);
    size_t row_bytes = (size_t)tk_dtype_bytes(t->dtype, n_in);
    *out = (tk_matrix){.data = (const char *)t->data + (size_t)i * (size_t)n_out * row_bytes,
                       .row_bytes = row_bytes,
                       .n_out = n_out,
                       .n_in = n_in,
                       .dtype = t->dtype,
                       .scale_global = 1};
    return TK_OK;
}
