// SPDX-License-Identifier: MIT
#include "server/api.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tk_status tk_api_fail(tk_api_err *e, int status, const char *param, const char *fmt, ...)
{
    if (e->status) return TK_BAD_INPUT;
    va_list ap;
    e->status = status;
    snprintf(e->param, sizeof e->param, "%s", param ? param : "");
    va_start(ap, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
    return TK_BAD_INPUT;
}

tk_status tk_api_fail_err(tk_api_err *e, tk_status st, const char *param, const tk_err *err)
{
    int status = st == TK_BAD_INPUT || st == TK_UNSUPPORTED ? 400 : st == TK_NOMEM ? 503 : 500;
    return tk_api_fail(e, status, param, "%s", err->msg[0] ? err->msg : tk_status_text(st));
}

static const char *type_of(int status)
{
    return status == 401   ? "authentication_error"
           : status == 404 ? "not_found_error"
           : status == 429 ? "rate_limit_error"
           : status == 503 ? "unavailable_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

// A message may quote bytes of the request, cut anywhere: broken UTF-8 must not lose the answer.
static json_t *text(const char *s)
{
    json_t *j = json_string(s);
    if (j) return j;
    char ascii[1024];
    size_t n = 0;
    for (; *s && n < sizeof ascii - 1; s++) ascii[n++] = (unsigned char)*s < 0x80 ? *s : '?';
    return json_stringn(ascii, n);
}

json_t *tk_api_error_json(const tk_api_err *e, bool anthropic, const char *request_id)
{
    if (anthropic) {
        const char *type = e->status == 503   ? "overloaded_error"
                           : e->status >= 500 ? "api_error"
                           : e->status == 413 ? "request_too_large"
                                              : type_of(e->status);
        return json_pack("{s:s, s:{s:s, s:o}, s:s}", "type", "error", "error", "type", type,
                         "message", text(e->msg), "request_id", request_id);
    }
    json_t *code = e->code                                ? json_string(e->code)
                   : e->status == 503 || e->status == 500 ? json_integer(e->status)
                                                          : json_null();
    return json_pack("{s:{s:o, s:s, s:o, s:o}}", "error", "message", text(e->msg), "type",
                     type_of(e->status), "param", e->param[0] ? text(e->param) : json_null(),
                     "code", code);
}

static tk_status refuse(const tk_field *f, const char *param, const json_t *v, tk_api_err *e)
{
    static const char *const wants[] = {
        [TK_FIELD_BOOL] = "true or false", [TK_FIELD_INT] = "a whole number",
        [TK_FIELD_NUM] = "a number",       [TK_FIELD_STR] = "a string",
        [TK_FIELD_OBJECT] = "an object",   [TK_FIELD_ARRAY] = "a list",
        [TK_FIELD_ANY] = "a value",        [TK_FIELD_SAME] = "the value it is by itself"};
    if (f->type == TK_FIELD_SAME)
        return tk_api_fail(e, 400, param, "%s is not supported here (only %s)", param,
                           f->same ? f->same : "null");
    char *found = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    tk_status st = tk_api_fail(e, 400, param, "%s must be %s, not %.60s", param, wants[f->type],
                               found ? found : "what it is");
    free(found);
    return st;
}

static tk_status read_number(const tk_field *f, const char *param, const json_t *v, void *at,
                             tk_api_err *e)
{
    double d = json_number_value(v);
    bool whole = json_is_integer(v) || (json_is_real(v) && d == floor(d) && fabs(d) < 0x1p53);
    if (!json_is_number(v) || (f->type == TK_FIELD_INT && !whole)) return refuse(f, param, v, e);
    if (f->type == TK_FIELD_INT)
        *(int64_t *)at = json_is_integer(v) ? json_integer_value(v) : (int64_t)d;
    else
        *(double *)at = d;
    if (d < f->min || d > f->max)
        return tk_api_fail(e, 400, param, "%s must be between %.15g and %.15g, not %.15g", param,
                           f->min, f->max, d);
    return TK_OK;
}

static tk_status read_field(const tk_field *f, const char *param, json_t *v, void *out,
                            tk_api_err *e)
{
    void *at = (char *)out + f->offset;
    switch (f->type) {
    case TK_FIELD_BOOL:
        if (!json_is_boolean(v)) return refuse(f, param, v, e);
        *(bool *)at = json_is_true(v);
        return TK_OK;
    case TK_FIELD_INT:
    case TK_FIELD_NUM: return read_number(f, param, v, at, e);
    case TK_FIELD_STR:
        if (!json_is_string(v)) return refuse(f, param, v, e);
        if (strlen(json_string_value(v)) != json_string_length(v))
            return tk_api_fail(e, 400, param, "%s has a NUL character", param);
        *(const char **)at = json_string_value(v);
        return TK_OK;
    case TK_FIELD_OBJECT:
    case TK_FIELD_ARRAY:
        if (f->type == TK_FIELD_OBJECT ? !json_is_object(v) : !json_is_array(v))
            return refuse(f, param, v, e);
        *(json_t **)at = v;
        return TK_OK;
    case TK_FIELD_ANY: *(json_t **)at = v; return TK_OK;
    case TK_FIELD_SAME: break;
    }
    json_t *same = f->same ? json_loads(f->same, JSON_DECODE_ANY, NULL) : NULL;
    bool ok = same && json_equal(same, v);
    json_decref(same);
    return ok ? TK_OK : refuse(f, param, v, e);
}

tk_status tk_fields_read(const json_t *obj, const char *where, const tk_field *table, void *out,
                         tk_api_err *e)
{
    const char *key;
    json_t *v;
    if (!json_is_object(obj))
        return tk_api_fail(e, 400, where, "%s must be a JSON object",
                           where[0] ? where : "the request");
    json_object_foreach((json_t *)(uintptr_t)obj, key, v)
    {
        char param[160];
        snprintf(param, sizeof param, "%s%s%.100s", where, where[0] ? "." : "", key);
        const tk_field *f = table;
        while (f->name && strcmp(f->name, key) != 0) f++;
        if (f->name == NULL)
            return tk_api_fail(e, 400, param, "%s is not a field this server supports", param);
        if (json_is_null(v)) continue;
        tk_status st = read_field(f, param, v, out, e);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}
