// SPDX-License-Identifier: MIT
#include "store/gguf_write.h"

#include "base/limits.h"

#include <string.h>

enum { T_U32 = 4, T_I32 = 5, T_F32 = 6, T_BOOL = 7, T_STR = 8, T_ARRAY = 9 };

static void put_le(tk_buf *b, uint64_t v, int n_byte)
{
    for (int i = 0; i < n_byte; i++) tk_buf_add_char(b, (char)(v >> (8 * i)));
}

static void put_text(tk_buf *b, const char *s)
{
    size_t len = strlen(s);
    put_le(b, len, 8);
    tk_buf_add(b, s, len);
}

static void begin(tk_gguf_meta *m, const char *key, uint32_t type)
{
    put_text(&m->body, key);
    put_le(&m->body, type, 4);
    m->n++;
}

tk_gguf_meta tk_gguf_meta_make(void)
{
    return (tk_gguf_meta){.body = tk_buf_make((size_t)1 << 30)};
}

void tk_gguf_meta_free(tk_gguf_meta *m)
{
    tk_buf_free(&m->body);
}

void tk_gguf_put_str(tk_gguf_meta *m, const char *key, const char *value)
{
    begin(m, key, T_STR);
    put_text(&m->body, value);
}

void tk_gguf_put_u32(tk_gguf_meta *m, const char *key, uint32_t value)
{
    begin(m, key, T_U32);
    put_le(&m->body, value, 4);
}

void tk_gguf_put_f32(tk_gguf_meta *m, const char *key, float value)
{
    uint32_t u;
    memcpy(&u, &value, 4);
    begin(m, key, T_F32);
    put_le(&m->body, u, 4);
}

void tk_gguf_put_bool(tk_gguf_meta *m, const char *key, bool value)
{
    begin(m, key, T_BOOL);
    put_le(&m->body, value, 1);
}

void tk_gguf_put_strs(tk_gguf_meta *m, const char *key, const char *const *values, size_t n)
{
    begin(m, key, T_ARRAY);
    put_le(&m->body, T_STR, 4);
    put_le(&m->body, n, 8);
    for (size_t i = 0; i < n; i++) put_text(&m->body, values[i]);
}

void tk_gguf_put_i32s(tk_gguf_meta *m, const char *key, const int32_t *values, size_t n)
{
    begin(m, key, T_ARRAY);
    put_le(&m->body, T_I32, 4);
    put_le(&m->body, n, 8);
    for (size_t i = 0; i < n; i++) put_le(&m->body, (uint32_t)values[i], 4);
}

bool tk_gguf_type(tk_dtype t, uint32_t *ggml_type)
{
    static const struct {
        tk_dtype type;
        uint32_t ggml;
    } map[] = {
        {TK_DTYPE_F32, 0},   {TK_DTYPE_F16, 1},   {TK_DTYPE_Q4_0, 2},  {TK_DTYPE_Q4_1, 3},
        {TK_DTYPE_Q5_0, 6},  {TK_DTYPE_Q5_1, 7},  {TK_DTYPE_Q8_0, 8},  {TK_DTYPE_Q4_K, 12},
        {TK_DTYPE_Q5_K, 13}, {TK_DTYPE_Q6_K, 14}, {TK_DTYPE_BF16, 30}, {TK_DTYPE_MXFP4, 39},
    };
    for (size_t i = 0; i < TK_COUNT(map); i++) {
        if (map[i].type != t) continue;
        *ggml_type = map[i].ggml;
        return true;
    }
    return false;
}

tk_status tk_gguf_header(const tk_gguf_meta *m, const tk_out_tensor *t, size_t n, tk_buf *b,
                         tk_err *err)
{
    tk_buf_add_str(b, "GGUF");
    put_le(b, 3, 4);
    put_le(b, n, 8);
    put_le(b, m->n, 8);
    tk_buf_add(b, tk_buf_str(&m->body), m->body.len);
    for (size_t i = 0; i < n; i++) {
        uint32_t type;
        if (!tk_gguf_type(t[i].dtype, &type))
            return tk_fail(err, TK_UNSUPPORTED, "GGUF has no type %s (tensor \"%s\")",
                           tk_dtype_name(t[i].dtype), t[i].name);
        put_text(b, t[i].name);
        put_le(b, (uint64_t)t[i].n_dim, 4);
        for (int d = t[i].n_dim; d-- > 0;) put_le(b, (uint64_t)t[i].dim[d], 8);
        put_le(b, type, 4);
        put_le(b, t[i].at, 8);
    }
    while (b->len % TK_GGUF_ALIGNMENT != 0 && !b->failed) tk_buf_add_char(b, 0);
    if (b->failed || m->body.failed)
        return tk_fail(err, TK_NOMEM, "%zu tensors make the header too large", n);
    return TK_OK;
}
