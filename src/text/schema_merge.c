// SPDX-License-Identifier: MIT
// Two schemas that both hold, as one. What cannot be said in one schema is refused.
#include "text/schema.h"

#include <string.h>

// Types as a list, so that they can be compared; "number" takes in "integer".
static bool type_in(const json_t *types, const char *t)
{
    if (json_is_string(types)) {
        const char *own = json_string_value(types);
        return strcmp(own, t) == 0 || (strcmp(own, "number") == 0 && strcmp(t, "integer") == 0);
    }
    for (size_t i = 0; i < json_array_size(types); i++)
        if (json_is_string(json_array_get(types, i)) && type_in(json_array_get(types, i), t))
            return true;
    return false;
}

static void add_common_types(json_t *out, const json_t *from, const json_t *other)
{
    if (json_is_string(from)) {
        const char *t = json_string_value(from);
        for (size_t i = 0; i < json_array_size(out); i++)
            if (strcmp(json_string_value(json_array_get(out, i)), t) == 0) return;
        if (type_in(other, t)) json_array_append_new(out, json_string(t));
        return;
    }
    for (size_t i = 0; i < json_array_size(from); i++)
        if (json_is_string(json_array_get(from, i)))
            add_common_types(out, json_array_get(from, i), other);
}

static json_t *merge_types(const json_t *a, const json_t *b)
{
    json_t *out = json_array();
    add_common_types(out, a, b);
    add_common_types(out, b, a);
    return out;
}

// Members of both; those of both are {"allOf": [of a, of b]}.
static json_t *merge_properties(const json_t *a, const json_t *b)
{
    json_t *out = json_copy((json_t *)(uintptr_t)a), *v;
    const char *key;
    json_object_foreach((json_t *)(uintptr_t)b, key, v)
    {
        json_t *own = json_object_get(a, key);
        if (own == NULL || json_equal(own, v))
            json_object_set(out, key, v);
        else
            json_object_set_new(out, key, json_pack("{s:[O, O]}", "allOf", own, v));
    }
    return out;
}

static json_t *concatenate(const json_t *a, const json_t *b)
{
    json_t *out = json_copy((json_t *)(uintptr_t)a);
    json_array_extend(out, (json_t *)(uintptr_t)b);
    return out;
}

static json_t *common_values(const json_t *a, const json_t *b)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(a); i++)
        for (size_t k = 0; k < json_array_size(b); k++)
            if (json_equal(json_array_get(a, i), json_array_get(b, k)))
                json_array_append(out, json_array_get(a, i));
    return out;
}

// The value of key that says both; NULL when no one value does.
static json_t *merge_key(const char *key, json_t *a, json_t *b)
{
    static const char *const least[] = {"maximum", "exclusiveMaximum", "maxLength", "maxItems"},
                             *const most[] = {"minimum", "exclusiveMinimum", "minLength",
                                              "minItems"};
    if (json_equal(a, b)) return json_incref(a);
    for (size_t i = 0; i < 4 && json_is_number(a) && json_is_number(b); i++) {
        bool a_less = json_number_value(a) < json_number_value(b);
        if (strcmp(key, least[i]) == 0) return json_incref(a_less ? a : b);
        if (strcmp(key, most[i]) == 0) return json_incref(a_less ? b : a);
    }
    if (strcmp(key, "type") == 0) return merge_types(a, b);
    if (strcmp(key, "properties") == 0 && json_is_object(a) && json_is_object(b))
        return merge_properties(a, b);
    if (strcmp(key, "items") == 0) return json_pack("{s:[O, O]}", "allOf", a, b);
    if (!json_is_array(a) || !json_is_array(b)) return NULL;
    if (strcmp(key, "required") == 0 || strcmp(key, "allOf") == 0) return concatenate(a, b);
    return strcmp(key, "enum") == 0 ? common_values(a, b) : NULL;
}

// A side that says what other properties are, and another that names some of them: that is no one schema.
static bool names_others(const json_t *a, const json_t *b)
{
    const json_t *more = json_object_get(a, "additionalProperties");
    const char *key;
    json_t *v;
    if (more == NULL || json_is_true(more)) return false;
    json_object_foreach(json_object_get(b, "properties"), key,
                        v) if (json_object_get(json_object_get(a, "properties"), key) ==
                               NULL) return true;
    return false;
}

static bool is_note(const char *key)
{
    return strcmp(key, "title") == 0 || strcmp(key, "description") == 0 ||
           strcmp(key, "default") == 0 || strcmp(key, "examples") == 0 || key[0] == '$';
}

tk_status schema_merge(const json_t *a, const json_t *b, json_t **out, tk_err *err)
{
    const char *key;
    json_t *v;
    *out = NULL;
    if (json_is_boolean(a) || json_is_boolean(b)) {
        const json_t *other = json_is_boolean(a) ? b : a, *flag = json_is_boolean(a) ? a : b;
        *out = json_is_true(flag) ? json_incref((json_t *)(uintptr_t)other) : json_false();
        return TK_OK;
    }
    if (!json_is_object(a) || !json_is_object(b))
        return tk_fail(err, TK_BAD_INPUT, "a schema is an object, true or false");
    if (names_others(a, b) || names_others(b, a))
        return tk_fail(err, TK_UNSUPPORTED,
                       "\"additionalProperties\" beside properties of another schema");
    *out = json_copy((json_t *)(uintptr_t)a);
    json_object_foreach((json_t *)(uintptr_t)b, key, v)
    {
        json_t *own = json_object_get(a, key), *merged;
        if (own && is_note(key) && strcmp(key, "$ref") != 0) continue;
        merged = own ? merge_key(key, own, v) : json_incref(v);
        if (merged == NULL) {
            json_decref(*out);
            *out = NULL;
            return tk_fail(err, TK_UNSUPPORTED,
                           "two schemas that both hold and disagree on \"%.40s\"", key);
        }
        json_object_set_new(*out, key, merged);
    }
    return TK_OK;
}
