// SPDX-License-Identifier: MIT
#include "base/json.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

// jansson recurses on depth up to 2048; we refuse earlier, before it parses anything.
static bool too_deep(const char *s, size_t len)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        char c = s[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > TK_LIMIT_JSON_DEPTH) return true;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return false;
}

static tk_status parse(const char *text, size_t len, size_t flags, const char *where, json_t **out,
                       tk_err *err)
{
    *out = NULL;
    if (too_deep(text, len))
        return tk_fail(err, TK_BAD_INPUT, "%s: JSON nested deeper than %d levels", where,
                       TK_LIMIT_JSON_DEPTH);
    json_error_t je;
    *out = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | flags, &je);
    if (*out == NULL)
        return tk_fail(err, TK_BAD_INPUT, "%s: not valid JSON at line %d, column %d: %s", where,
                       je.line, je.column, je.text);
    return TK_OK;
}

tk_status tk_json_parse(const char *text, size_t len, const char *where, json_t **out, tk_err *err)
{
    return parse(text, len, 0, where, out, err);
}

tk_status tk_json_parse_unique(const char *text, size_t len, const char *where, json_t **out,
                               tk_err *err)
{
    return parse(text, len, JSON_REJECT_DUPLICATES, where, out, err);
}

tk_status tk_json_load(const char *path, json_t **out, tk_err *err)
{
    char *text = NULL;
    size_t len = 0;
    *out = NULL;
    tk_status st = tk_file_read(path, TK_LIMIT_JSON_BYTES, &text, &len, err);
    if (st != TK_OK) return st;
    st = tk_json_parse(text, len, path, out, err);
    tk_free(text);
    return st;
}

json_t *tk_json_get(const json_t *obj, const char *key)
{
    json_t *v = json_object_get(obj, key);
    return json_is_null(v) ? NULL : v;
}

static tk_status wrong(const json_t *v, const char *key, const char *want, const char *where,
                       tk_err *err)
{
    char *found = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
    tk_status st = tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is %.80s, %s was expected", where, key,
                           found ? found : "unprintable", want);
    free(found);
    return st;
}

tk_status tk_json_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *out,
                      const char *where, tk_err *err)
{
    json_t *v = tk_json_get(obj, key);
    if (v == NULL) return TK_OK;
    int64_t n = 0;
    double d = json_is_real(v) ? json_real_value(v) : 0;
    if (json_is_integer(v))
        n = json_integer_value(v);
    else if (json_is_real(v) && fabs(d) < 0x1p53 && d == floor(d))
        n = (int64_t)d;
    else
        return wrong(v, key, "an integer", where, err);
    if (n < min || n > max)
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is %lld, outside %lld..%lld", where, key,
                       (long long)n, (long long)min, (long long)max);
    *out = n;
    return TK_OK;
}

tk_status tk_json_double(const json_t *obj, const char *key, double *out, const char *where,
                         tk_err *err)
{
    json_t *v = tk_json_get(obj, key);
    if (v == NULL) return TK_OK;
    if (!json_is_number(v)) return wrong(v, key, "a number", where, err);
    *out = json_number_value(v);
    return TK_OK;
}

tk_status tk_json_bool(const json_t *obj, const char *key, bool *out, const char *where,
                       tk_err *err)
{
    json_t *v = tk_json_get(obj, key);
    if (v == NULL) return TK_OK;
    if (!json_is_boolean(v)) return wrong(v, key, "true or false", where, err);
    *out = json_is_true(v);
    return TK_OK;
}

tk_status tk_json_str(const json_t *obj, const char *key, const char **out, const char *where,
                      tk_err *err)
{
    json_t *v = tk_json_get(obj, key);
    if (v == NULL) return TK_OK;
    if (!json_is_string(v)) return wrong(v, key, "a string", where, err);
    *out = json_string_value(v);
    return TK_OK;
}
