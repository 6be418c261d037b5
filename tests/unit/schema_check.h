// SPDX-License-Identifier: MIT
// A small JSON Schema validator for tests: the keywords that grammars know, straight from the standard, with
// PCRE2 for patterns. It shares no code with src/text.
#ifndef TK_TESTS_SCHEMA_CHECK_H
#define TK_TESTS_SCHEMA_CHECK_H

#include "base/utf8.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

static bool check_type(const char *t, const json_t *v)
{
    switch (t[0]) {
    case 's': return json_is_string(v);
    case 'i':
        return json_is_integer(v) ||
               (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)));
    case 'b': return json_is_boolean(v);
    case 'a': return json_is_array(v);
    case 'o': return json_is_object(v);
    default: return t[2] == 'm' ? json_is_number(v) : json_is_null(v); // number, null
    }
}

static bool check_pattern(const char *pattern, const json_t *v)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
    pcre2_match_data *m = pcre2_match_data_create_from_pattern(re, NULL);
    int rc =
        pcre2_match(re, (PCRE2_SPTR)json_string_value(v), json_string_length(v), 0, 0, m, NULL);
    pcre2_match_data_free(m);
    pcre2_code_free(re);
    return rc >= 0;
}

static size_t count_chars(const json_t *v)
{
    const char *s = json_string_value(v);
    size_t n = 0, len = json_string_length(v);
    uint32_t cp;
    for (size_t i = 0; i < len; n++) i += tk_utf8_read(s + i, len - i, &cp, NULL);
    return n;
}

static const char *schema_check(const json_t *root, const json_t *s, const json_t *v);

static const char *check_object(const json_t *root, const json_t *s, json_t *v)
{
    const json_t *p = json_object_get(s, "properties"),
                 *more = json_object_get(s, "additionalProperties");
    const char *key, *wrong;
    json_t *one;
    size_t i;
    json_array_foreach(json_object_get(s, "required"), i,
                       one) if (json_object_get(v, json_string_value(one)) ==
                                NULL) return "required";
    json_object_foreach(v, key, one)
    {
        const json_t *of = json_object_get(p, key);
        if (of == NULL) of = more;
        if (of && (wrong = schema_check(root, of, one)) != NULL) return wrong;
    }
    return NULL;
}

static const char *check_array(const json_t *root, const json_t *s, json_t *v)
{
    size_t n = json_array_size(v);
    const json_t *min = json_object_get(s, "minItems"), *max = json_object_get(s, "maxItems");
    if (min && n < (size_t)json_integer_value(min)) return "minItems";
    if (max && n > (size_t)json_integer_value(max)) return "maxItems";
    for (size_t i = 0; i < n; i++) {
        const json_t *of = json_array_get(json_object_get(s, "prefixItems"), i);
        if (of == NULL) of = json_object_get(s, "items");
        const char *wrong = of ? schema_check(root, of, json_array_get(v, i)) : NULL;
        if (wrong) return wrong;
    }
    return NULL;
}

static const char *check_string(const json_t *s, const json_t *v)
{
    const json_t *min = json_object_get(s, "minLength"), *max = json_object_get(s, "maxLength");
    const json_t *pattern = json_object_get(s, "pattern");
    if (min && count_chars(v) < (size_t)json_integer_value(min)) return "minLength";
    if (max && count_chars(v) > (size_t)json_integer_value(max)) return "maxLength";
    return pattern && !check_pattern(json_string_value(pattern), v) ? "pattern" : NULL;
}

static const char *check_number(const json_t *s, double v)
{
    const json_t *b;
    if ((b = json_object_get(s, "minimum")) && v < json_number_value(b)) return "minimum";
    if ((b = json_object_get(s, "maximum")) && v > json_number_value(b)) return "maximum";
    if ((b = json_object_get(s, "exclusiveMinimum")) && v <= json_number_value(b))
        return "exclusiveMinimum";
    if ((b = json_object_get(s, "exclusiveMaximum")) && v >= json_number_value(b))
        return "exclusiveMaximum";
    return NULL;
}

static const char *check_choices(const json_t *root, const json_t *s, const json_t *v)
{
    const json_t *list = json_object_get(s, "anyOf"), *all = json_object_get(s, "allOf");
    bool any = list == NULL;
    for (size_t i = 0; i < json_array_size(list) && !any; i++)
        any = schema_check(root, json_array_get(list, i), v) == NULL;
    if (!any) return "anyOf";
    for (size_t i = 0; i < json_array_size(all); i++)
        if (schema_check(root, json_array_get(all, i), v)) return "allOf";
    list = json_object_get(s, "enum");
    any = list == NULL;
    for (size_t i = 0; i < json_array_size(list) && !any; i++)
        any = json_equal(json_array_get(list, i), v);
    if (!any) return "enum";
    const json_t *one = json_object_get(s, "const");
    return one && !json_equal(one, v) ? "const" : NULL;
}

// NULL when v fits, else the keyword it breaks.
static const char *schema_check(const json_t *root, const json_t *s, const json_t *v)
{
    if (json_is_boolean(s)) return json_is_true(s) ? NULL : "false";
    const json_t *ref = json_object_get(s, "$ref"), *type = json_object_get(s, "type");
    const char *wrong = check_choices(root, s, v);
    if (wrong) return wrong;
    if (ref) // "#/$defs/NAME"
        return schema_check(
            root, json_object_get(json_object_get(root, "$defs"), json_string_value(ref) + 8), v);
    bool ok = type == NULL || (json_is_string(type) && check_type(json_string_value(type), v));
    for (size_t i = 0; i < json_array_size(type) && !ok; i++)
        ok = check_type(json_string_value(json_array_get(type, i)), v);
    if (!ok) return "type";
    json_t *m = (json_t *)(uintptr_t)v;
    return json_is_object(v)   ? check_object(root, s, m)
           : json_is_array(v)  ? check_array(root, s, m)
           : json_is_string(v) ? check_string(s, v)
           : json_is_number(v) ? check_number(s, json_number_value(v))
                               : NULL;
}

#endif
