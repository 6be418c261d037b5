// SPDX-License-Identifier: MIT
#include "text/schema.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "text/pattern.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { INDENT_MAX = 24 };

typedef struct job { // a rule whose body is still to be made
    const json_t *schema;
    int32_t rule;
} job;

typedef struct compiler {
    nfa *a;
    const json_t *root;
    tk_err *err;
    job *job;
    size_t n_job, cap_job, i_job;
    tk_map *by_schema; // address -> rule
    tk_arena *arena;   // the map's keys
    json_t *made;      // a list that keeps merged schemas alive
    // rules that every JSON text uses, -1 = not made
    int32_t blank, any, multi, string, number;
} compiler;

static tk_status body(compiler *c, const json_t *schema, int32_t from, int32_t to);

// The rule of a schema, made later.
static int32_t rule_of(compiler *c, const json_t *schema)
{
    uint64_t found;
    if (tk_map_get(c->by_schema, &schema, sizeof schema, &found)) return (int32_t)found;
    if (c->n_job >= TK_LIMIT_SCHEMA_NODES) {
        c->a->too_large = true;
        return 0;
    }
    const json_t **key = tk_arena_alloc(c->arena, sizeof *key);
    int32_t rule = nfa_add_rule(c->a);
    if (key == NULL || c->a->too_large) return 0;
    *key = schema;
    tk_map_add(c->by_schema, key, sizeof *key, (uint64_t)rule);
    if (c->n_job == c->cap_job) {
        c->cap_job = c->cap_job ? c->cap_job * 2 : 64;
        c->job = tk_realloc(c->job, c->cap_job * sizeof *c->job);
    }
    c->job[c->n_job++] = (job){schema, rule};
    return rule;
}

static const json_t *keep(compiler *c, json_t *made)
{
    json_array_append_new(c->made, made);
    return made;
}

// --- what every JSON text is made of ---

// Nothing, one space, or a line end with blanks.
static int32_t blank_rule(compiler *c)
{
    if (c->blank >= 0) return c->blank;
    nfa *a = c->a;
    c->blank = nfa_add_rule(a);
    if (a->too_large) return c->blank;
    int32_t start = a->rule[c->blank].start, final = a->rule[c->blank].final;
    nfa_add_empty(a, start, final);
    nfa_add_bytes(a, start, ' ', ' ', final);
    int32_t at = nfa_add_text(a, start, "\n", 1);
    for (int i = 0; i < INDENT_MAX; i++) {
        int32_t next = nfa_add_state(a);
        nfa_add_empty(a, at, final);
        nfa_add_bytes(a, at, ' ', ' ', next);
        if (i < INDENT_MAX / 2) nfa_add_bytes(a, at, '\t', '\t', next);
        at = next;
    }
    nfa_add_empty(a, at, final);
    return c->blank;
}

static int32_t after_blank(compiler *c, int32_t from)
{
    int32_t to = nfa_add_state(c->a);
    nfa_add_call(c->a, from, blank_rule(c), to);
    return to;
}

static int32_t after_comma(compiler *c, int32_t from)
{
    return after_blank(c, nfa_add_text(c->a, from, ",", 1));
}

static int32_t after_colon(compiler *c, int32_t from)
{
    int32_t colon = nfa_add_text(c->a, from, ":", 1), to = nfa_add_state(c->a);
    nfa_add_empty(c->a, colon, to);
    nfa_add_bytes(c->a, colon, ' ', ' ', to);
    return to;
}

static int32_t multi_rule(compiler *c)
{
    if (c->multi < 0) {
        c->multi = nfa_add_rule(c->a);
        if (!c->a->too_large) schema_fill_multi(c->a, c->multi);
    }
    return c->multi;
}

static void add_string(compiler *c, int64_t min, int64_t max, int32_t from, int32_t to)
{
    int32_t multi = multi_rule(c), at = nfa_add_text(c->a, from, "\"", 1);
    for (int64_t i = 0; i < min && !c->a->too_large; i++) {
        int32_t next = nfa_add_state(c->a);
        schema_add_char(c->a, multi, at, next);
        at = next;
    }
    if (max < 0) {
        schema_add_char(c->a, multi, at, at);
        c->a->state[at].plain = NFA_ANY;
    }
    nfa_add_bytes(c->a, at, '"', '"', to);
    for (int64_t i = min; i < max && !c->a->too_large; i++) {
        int32_t next = nfa_add_state(c->a);
        schema_add_char(c->a, multi, at, next);
        c->a->state[at].plain = (int32_t)(max - i);
        at = next;
        nfa_add_bytes(c->a, at, '"', '"', to);
    }
}

static int32_t string_rule(compiler *c)
{
    if (c->string < 0) {
        c->string = nfa_add_rule(c->a);
        if (!c->a->too_large)
            add_string(c, 0, -1, c->a->rule[c->string].start, c->a->rule[c->string].final);
    }
    return c->string;
}

static int32_t number_rule(compiler *c)
{
    if (c->number < 0) {
        c->number = nfa_add_rule(c->a);
        if (!c->a->too_large)
            schema_add_number(c->a, &(schema_bounds){0}, c->a->rule[c->number].start,
                              c->a->rule[c->number].final, NULL);
    }
    return c->number;
}

// The items or members of a list or object that may have any number of them: item rule, or key and value.
static void add_loop(compiler *c, const char *brackets, bool members, int32_t value, int32_t from,
                     int32_t to)
{
    nfa *a = c->a;
    int32_t first = after_blank(c, nfa_add_text(a, from, brackets, 1)), item = nfa_add_state(a),
            done = nfa_add_state(a), end = nfa_add_state(a);
    nfa_add_empty(a, first, item);
    nfa_add_empty(a, first, end);
    int32_t at = item;
    if (members) {
        at = nfa_add_state(a);
        nfa_add_call(a, item, string_rule(c), at);
        at = after_colon(c, at);
    }
    nfa_add_call(a, at, value, done);
    nfa_add_empty(a, after_comma(c, done), item);
    nfa_add_bytes(a, after_blank(c, done), (uint8_t)brackets[1], (uint8_t)brackets[1], to);
    nfa_add_bytes(a, end, (uint8_t)brackets[1], (uint8_t)brackets[1], to);
}

static int32_t any_rule(compiler *c)
{
    if (c->any >= 0) return c->any;
    nfa *a = c->a;
    c->any = nfa_add_rule(a);
    if (a->too_large) return c->any;
    int32_t start = a->rule[c->any].start, final = a->rule[c->any].final;
    nfa_add_call(a, start, string_rule(c), final);
    nfa_add_call(a, start, number_rule(c), final);
    add_loop(c, "{}", true, c->any, start, final);
    add_loop(c, "[]", false, c->any, start, final);
    schema_add_literal(a, "true", 4, start, final);
    schema_add_literal(a, "false", 5, start, final);
    schema_add_literal(a, "null", 4, start, final);
    return c->any;
}

// --- keywords ---

static bool is_annotation(const char *key)
{
    static const char *const words[] = {
        "title", "description", "default",  "examples", "example",   "$schema",   "$id",
        "$defs", "definitions", "$comment", "readOnly", "writeOnly", "deprecated"};
    for (size_t i = 0; i < TK_COUNT(words); i++)
        if (strcmp(words[i], key) == 0) return true;
    return false;
}

static bool is_known(const char *key)
{
    static const char *const words[] = {"type",
                                        "properties",
                                        "required",
                                        "additionalProperties",
                                        "items",
                                        "minItems",
                                        "maxItems",
                                        "prefixItems",
                                        "enum",
                                        "const",
                                        "anyOf",
                                        "oneOf",
                                        "allOf",
                                        "$ref",
                                        "minLength",
                                        "maxLength",
                                        "pattern",
                                        "format",
                                        "minimum",
                                        "maximum",
                                        "exclusiveMinimum",
                                        "exclusiveMaximum"};
    for (size_t i = 0; i < TK_COUNT(words); i++)
        if (strcmp(words[i], key) == 0) return true;
    return is_annotation(key);
}

static tk_status check_keywords(compiler *c, const json_t *schema)
{
    const char *key;
    json_t *v;
    if (!json_is_object(schema))
        return tk_fail(c->err, TK_BAD_INPUT, "a schema is an object, true or false");
    json_object_foreach((json_t *)(uintptr_t)schema, key, v) if (!is_known(key)) return tk_fail(
        c->err, TK_UNSUPPORTED, "\"%.80s\" is not supported in a schema", key);
    return TK_OK;
}

static tk_status wrong(compiler *c, const char *key, const char *want)
{
    return tk_fail(c->err, TK_BAD_INPUT, "\"%s\" of a schema must be %s", key, want);
}

// A count such as minLength; -1 when it is not there.
static tk_status count_of(compiler *c, const json_t *schema, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(schema, key);
    double d = json_number_value(v);
    *out = -1;
    if (v == NULL) return TK_OK;
    if (!json_is_number(v) || d < 0 || d != floor(d)) return wrong(c, key, "a count");
    if (d > TK_LIMIT_GRAMMAR_STATES)
        return tk_fail(c->err, TK_UNSUPPORTED, "\"%s\" is %.0f, at most %d is supported", key, d,
                       TK_LIMIT_GRAMMAR_STATES);
    *out = (int64_t)d;
    return TK_OK;
}

static tk_status bounds_of(compiler *c, const json_t *schema, schema_bounds *b)
{
    static const char *const keys[] = {"minimum", "exclusiveMinimum", "maximum",
                                       "exclusiveMaximum"};
    *b = (schema_bounds){0};
    for (int i = 0; i < 4; i++) {
        const json_t *v = json_object_get(schema, keys[i]);
        double d = json_number_value(v);
        bool open = i & 1;
        if (v == NULL) continue;
        if (!json_is_number(v)) return wrong(c, keys[i], "a number");
        if (i < 2 && (!b->has_min || d > b->min || (d == b->min && open))) {
            b->has_min = true;
            b->min = d;
            b->min_open = open;
        } else if (i >= 2 && (!b->has_max || d < b->max || (d == b->max && open))) {
            b->has_max = true;
            b->max = d;
            b->max_open = open;
        }
    }
    return TK_OK;
}

static tk_status add_string_schema(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    int64_t min, max;
    tk_status st = count_of(c, schema, "minLength", &min);
    if (st == TK_OK) st = count_of(c, schema, "maxLength", &max);
    if (st != TK_OK) return st;
    const json_t *pattern = json_object_get(schema, "pattern"),
                 *format = json_object_get(schema, "format");
    if (pattern && !json_is_string(pattern)) return wrong(c, "pattern", "a string");
    const char *re = json_string_value(pattern);
    if (format) {
        const char *name = json_string_value(format);
        if (name == NULL) return wrong(c, "format", "a string");
        if (pattern)
            return tk_fail(c->err, TK_UNSUPPORTED,
                           "\"format\" beside \"pattern\" is not supported");
        re = schema_format_pattern(name);
        if (re == NULL)
            return tk_fail(c->err, TK_UNSUPPORTED, "\"format\": \"%.40s\" is not supported", name);
    }
    if (re) {
        int32_t at = nfa_add_text(c->a, from, "\"", 1);
        return tk_pattern_add(c->a, re, pattern ? json_string_length(pattern) : strlen(re),
                              TK_MAX(min, 0), max, at, to, c->err);
    }
    if (max >= 0 && max < min) return TK_OK; // no such string
    if (min <= 0 && max < 0)
        nfa_add_call(c->a, from, string_rule(c), to);
    else
        add_string(c, TK_MAX(min, 0), max, from, to);
    return TK_OK;
}

// What the i-th item must be; NULL = there may be none.
static const json_t *item_schema(const json_t *prefix, const json_t *items, int64_t i)
{
    const json_t *s = json_array_get(prefix, (size_t)i);
    if (s == NULL) s = items;
    return json_is_false(s) ? NULL : s;
}

static tk_status add_array(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    nfa *a = c->a;
    const json_t *prefix = json_object_get(schema, "prefixItems"),
                 *items = json_object_get(schema, "items");
    int64_t min, max;
    tk_status st = count_of(c, schema, "minItems", &min);
    if (st == TK_OK) st = count_of(c, schema, "maxItems", &max);
    if (st != TK_OK) return st;
    if (json_is_array(items) || (prefix && !json_is_array(prefix)))
        return tk_fail(c->err, TK_UNSUPPORTED,
                       "\"items\" must be a schema, \"prefixItems\" a list");
    int64_t n_prefix = (int64_t)json_array_size(prefix), unrolled = TK_MAX(n_prefix, min);
    if (json_is_false(items)) max = max < 0 ? n_prefix : TK_MIN(max, n_prefix);
    if (max >= 0) unrolled = max;
    int32_t at = after_blank(c, nfa_add_text(a, from, "[", 1)), end = nfa_add_state(a);
    nfa_add_bytes(a, end, ']', ']', to);
    if (min <= 0) nfa_add_empty(a, at, end);
    int32_t item = nfa_add_state(a); // where an item begins; after a comma one must
    nfa_add_empty(a, at, item);
    at = item;
    for (int64_t i = 0; i < unrolled + (max < 0) && !a->too_large; i++) {
        const json_t *s = item_schema(prefix, items, i);
        bool open = items == NULL && i >= n_prefix, last = i == unrolled;
        if (s == NULL && !open) break;
        int32_t done = nfa_add_state(a);
        nfa_add_call(a, at, open ? any_rule(c) : rule_of(c, s), done);
        if (i + 1 >= min) nfa_add_empty(a, after_blank(c, done), end);
        int32_t next = after_comma(c, done);
        if (last) nfa_add_empty(a, next, at); // as many more as it likes
        at = next;
    }
    return TK_OK;
}

// --- objects ---

static bool lists(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *s = json_string_value(json_array_get(list, i));
        if (s && strcmp(s, name) == 0) return true;
    }
    return false;
}

typedef struct member {
    char *key;            // JSON text with quotes
    const json_t *schema; // NULL = anything
    bool required;
} member;

typedef struct members {
    member m[TK_LIMIT_OBJECT_PROPERTIES];
    size_t n;
} members;

static tk_status add_member(compiler *c, members *o, const char *name, const json_t *schema,
                            bool required)
{
    if (o->n == TK_LIMIT_OBJECT_PROPERTIES)
        return tk_fail(c->err, TK_UNSUPPORTED, "an object with more than %d properties",
                       TK_LIMIT_OBJECT_PROPERTIES);
    json_t *key = json_string(name);
    char *text = json_dumps(key, JSON_ENCODE_ANY);
    json_decref(key);
    o->m[o->n++] = (member){text, schema, required};
    return TK_OK;
}

static tk_status collect(compiler *c, const json_t *schema, members *o)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *required = json_object_get(schema, "required");
    const char *name;
    json_t *v;
    if (properties && !json_is_object(properties)) return wrong(c, "properties", "an object");
    if (required && !json_is_array(required)) return wrong(c, "required", "a list");
    json_object_foreach((json_t *)(uintptr_t)properties, name, v)
    {
        bool wanted = lists(required, name);
        if (json_is_false(v) && !wanted) continue;
        tk_status st = add_member(c, o, name, v, wanted);
        if (st != TK_OK) return st;
    }
    for (size_t i = 0; i < json_array_size(required); i++) {
        name = json_string_value(json_array_get(required, i));
        if (name == NULL) return wrong(c, "required", "a list of names");
        if (json_object_get(properties, name)) continue;
        const json_t *more = json_object_get(schema, "additionalProperties");
        tk_status st = add_member(c, o, name, json_is_object(more) ? more : NULL, true);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

// choose[i]: a key must follow, one of members i.. (up to the next required one) or another one.
// done[i]: members before i are settled and at least one has been written.
static void add_members(compiler *c, const members *o, bool open, int32_t other_value, int32_t from,
                        int32_t to)
{
    nfa *a = c->a;
    int32_t *choose = tk_alloc((o->n + 1) * sizeof *choose),
            *done = tk_alloc((o->n + 1) * sizeof *done);
    int32_t first = after_blank(c, nfa_add_text(a, from, "{", 1)), end = nfa_add_state(a);
    bool may_end = true; // nothing required from i on
    for (size_t i = 0; i <= o->n; i++) {
        choose[i] = nfa_add_state(a);
        done[i] = nfa_add_state(a);
    }
    nfa_add_bytes(a, after_blank(c, end), '}', '}', to);
    for (size_t i = o->n + 1; i-- > 0 && !a->too_large;) {
        int32_t key = choose[i];
        if (i < o->n) {
            const member *m = &o->m[i];
            int32_t at = after_colon(c, nfa_add_text(a, key, m->key, strlen(m->key)));
            nfa_add_call(a, at, m->schema ? rule_of(c, m->schema) : any_rule(c), done[i + 1]);
            if (m->required)
                may_end = false;
            else
                nfa_add_empty(a, key, choose[i + 1]);
        } else if (open) {
            char *names[TK_LIMIT_OBJECT_PROPERTIES];
            for (size_t k = 0; k < o->n; k++) names[k] = o->m[k].key;
            int32_t at = nfa_add_state(a);
            schema_add_other_key(a, names, o->n, key, at);
            nfa_add_call(a, after_colon(c, at), other_value, done[o->n]);
        }
        nfa_add_empty(a, after_comma(c, done[i]), choose[i]);
        if (may_end) nfa_add_empty(a, done[i], end);
    }
    nfa_add_empty(a, first, choose[0]);
    if (may_end) nfa_add_bytes(a, first, '}', '}', to);
    tk_free(choose);
    tk_free(done);
}

static tk_status add_object(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    const json_t *more = json_object_get(schema, "additionalProperties");
    if (more && !json_is_boolean(more) && !json_is_object(more))
        return wrong(c, "additionalProperties", "a schema");
    members *o = tk_alloc(sizeof *o);
    tk_status st = collect(c, schema, o);
    // properties without a word about others: only these are written (as OpenAI's strict schemas say)
    bool open = more ? !json_is_false(more) : o->n == 0;
    if (st == TK_OK && open && o->n == 0 && !json_is_object(more))
        add_loop(c, "{}", true, any_rule(c), from, to);
    else if (st == TK_OK)
        add_members(c, o, open,
                    json_is_object(more) ? rule_of(c, more)
                    : open               ? any_rule(c)
                                         : 0,
                    from, to);
    for (size_t i = 0; i < o->n; i++) free(o->m[i].key);
    tk_free(o);
    return st;
}

// --- schemas ---

static bool is_type(const json_t *v, const char *type)
{
    return (strcmp(type, "string") == 0 && json_is_string(v)) ||
           (strcmp(type, "integer") == 0 &&
            (json_is_integer(v) ||
             (json_is_real(v) && json_real_value(v) == floor(json_real_value(v))))) ||
           (strcmp(type, "number") == 0 && json_is_number(v)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(v)) ||
           (strcmp(type, "null") == 0 && json_is_null(v)) ||
           (strcmp(type, "array") == 0 && json_is_array(v)) ||
           (strcmp(type, "object") == 0 && json_is_object(v));
}

static bool type_allows(const json_t *type, const json_t *v)
{
    if (type == NULL) return true;
    if (json_is_string(type)) return is_type(v, json_string_value(type));
    for (size_t i = 0; i < json_array_size(type); i++) {
        const char *t = json_string_value(json_array_get(type, i));
        if (t && is_type(v, t)) return true;
    }
    return false;
}

// Values are taken as they stand: other keywords beside them are looked at as far as the type goes, and
// refused when they say more.
static tk_status add_values(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    const char *key;
    json_t *v;
    json_object_foreach(
        (json_t *)(uintptr_t)schema, key,
        v) if (!is_annotation(key) && strcmp(key, "enum") != 0 && strcmp(key, "const") != 0 &&
               strcmp(key, "type") != 0) return tk_fail(c->err, TK_UNSUPPORTED,
                                                        "\"%s\" beside \"enum\" or \"const\"", key);
    if (list && !json_is_array(list)) return wrong(c, "enum", "a list");
    size_t n = list ? json_array_size(list) : 1;
    for (size_t i = 0; i < n && !c->a->too_large; i++) {
        const json_t *value = list ? json_array_get(list, i) : one;
        if (list && one && !json_equal(value, one)) continue;
        if (!type_allows(json_object_get(schema, "type"), value)) continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (text == NULL) return tk_fail(c->err, TK_BAD_INPUT, "a value of \"enum\" is broken");
        schema_add_literal(c->a, text, strlen(text), from, to);
        free(text);
    }
    return TK_OK;
}

static tk_status add_type(compiler *c, const json_t *schema, const char *type, int32_t from,
                          int32_t to)
{
    schema_bounds b;
    if (strcmp(type, "object") == 0) return add_object(c, schema, from, to);
    if (strcmp(type, "array") == 0) return add_array(c, schema, from, to);
    if (strcmp(type, "string") == 0) return add_string_schema(c, schema, from, to);
    if (strcmp(type, "null") == 0) {
        schema_add_literal(c->a, "null", 4, from, to);
        return TK_OK;
    }
    if (strcmp(type, "boolean") == 0) {
        schema_add_literal(c->a, "true", 4, from, to);
        schema_add_literal(c->a, "false", 5, from, to);
        return TK_OK;
    }
    tk_status st = bounds_of(c, schema, &b);
    if (st != TK_OK) return st;
    if (strcmp(type, "integer") == 0) {
        schema_add_integer(c->a, &b, from, to);
        return TK_OK;
    }
    if (strcmp(type, "number") != 0)
        return tk_fail(c->err, TK_BAD_INPUT, "\"type\": \"%.40s\" is no type", type);
    return schema_add_number(c->a, &b, from, to, c->err);
}

// The type that keywords are about, when no type is given.
static const char *implied_type(const json_t *schema)
{
    static const char *const by_key[][2] = {{"properties", "object"},
                                            {"required", "object"},
                                            {"additionalProperties", "object"},
                                            {"items", "array"},
                                            {"prefixItems", "array"},
                                            {"minItems", "array"},
                                            {"maxItems", "array"},
                                            {"pattern", "string"},
                                            {"format", "string"},
                                            {"minLength", "string"},
                                            {"maxLength", "string"},
                                            {"minimum", "number"},
                                            {"maximum", "number"},
                                            {"exclusiveMinimum", "number"},
                                            {"exclusiveMaximum", "number"}};
    for (size_t i = 0; i < TK_COUNT(by_key); i++)
        if (json_object_get(schema, by_key[i][0])) return by_key[i][1];
    return NULL;
}

static tk_status add_types(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    const json_t *type = json_object_get(schema, "type");
    if (type == NULL) {
        const char *t = implied_type(schema);
        if (t) return add_type(c, schema, t, from, to);
        nfa_add_call(c->a, from, any_rule(c), to);
        return TK_OK;
    }
    if (json_is_string(type)) return add_type(c, schema, json_string_value(type), from, to);
    if (!json_is_array(type)) return wrong(c, "type", "a name or a list of names");
    for (size_t i = 0; i < json_array_size(type); i++) {
        const char *t = json_string_value(json_array_get(type, i));
        if (t == NULL) return wrong(c, "type", "a name or a list of names");
        tk_status st = add_type(c, schema, t, from, to);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

// "#", "#/$defs/name", any JSON pointer into the root.
static tk_status look_up(compiler *c, const json_t *ref, const json_t **out)
{
    const char *s = json_string_value(ref);
    if (s == NULL) return wrong(c, "$ref", "a string");
    if (s[0] != '#' || (s[1] && s[1] != '/'))
        return tk_fail(c->err, TK_UNSUPPORTED, "\"$ref\": \"%.80s\" leads out of the schema", s);
    const json_t *at = c->root;
    for (s++; *s && at;) {
        tk_buf name = tk_buf_make(TK_LIMIT_PATTERN_BYTES);
        for (s++; *s && *s != '/'; s++) {
            if (s[0] == '~' && (s[1] == '0' || s[1] == '1'))
                tk_buf_add_char(&name, *++s == '0' ? '~' : '/');
            else
                tk_buf_add_char(&name, *s);
        }
        char *end;
        size_t i = strtoul(tk_buf_str(&name), &end, 10);
        at = json_is_array(at) && *end == 0 ? json_array_get(at, i)
                                            : json_object_get(at, tk_buf_str(&name));
        tk_buf_free(&name);
    }
    if (at == NULL)
        return tk_fail(c->err, TK_BAD_INPUT, "\"$ref\": \"%.80s\" is not there",
                       json_string_value(ref));
    *out = at;
    return TK_OK;
}

// The schema without a key; NULL when nothing but annotations is left.
static json_t *without(const json_t *schema, const char *key)
{
    json_t *rest = json_copy((json_t *)(uintptr_t)schema);
    const char *k;
    json_t *v;
    bool says = false;
    json_object_del(rest, key);
    json_object_foreach(rest, k, v) says |= !is_annotation(k);
    if (says) return rest;
    json_decref(rest);
    return NULL;
}

// schema says `part` and, beside it, `rest` (taken over; NULL = nothing).
static tk_status both(compiler *c, const json_t *part, json_t *rest, const json_t **out)
{
    *out = part;
    if (rest == NULL) return TK_OK;
    json_t *merged = NULL;
    tk_status st = schema_merge(part, rest, &merged, c->err);
    json_decref(rest);
    if (st == TK_OK) *out = keep(c, merged);
    return st;
}

static tk_status add_choices(compiler *c, const json_t *schema, const char *key, int32_t from,
                             int32_t to)
{
    const json_t *list = json_object_get(schema, key);
    if (!json_is_array(list)) return wrong(c, key, "a list");
    for (size_t i = 0; i < json_array_size(list) && !c->a->too_large; i++) {
        const json_t *one;
        tk_status st = both(c, json_array_get(list, i), without(schema, key), &one);
        if (st != TK_OK) return st;
        nfa_add_call(c->a, from, rule_of(c, one), to);
    }
    return TK_OK;
}

static tk_status add_all(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    const json_t *list = json_object_get(schema, "allOf"), *sum = NULL;
    if (!json_is_array(list)) return wrong(c, "allOf", "a list");
    json_t *rest = without(schema, "allOf");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *part = json_array_get(list, i);
        const json_t *ref = json_object_get(part, "$ref");
        tk_status st = TK_OK;
        if (ref && json_object_size(part) == 1) st = look_up(c, ref, &part);
        if (st == TK_OK) st = both(c, part, rest, &sum);
        rest = NULL;
        if (st != TK_OK) return st;
        if (i + 1 < json_array_size(list)) rest = json_incref((json_t *)(uintptr_t)sum);
    }
    if (sum == NULL) sum = rest ? keep(c, rest) : NULL;
    if (sum == NULL) {
        nfa_add_call(c->a, from, any_rule(c), to);
        return TK_OK;
    }
    nfa_add_call(c->a, from, rule_of(c, sum), to);
    return TK_OK;
}

static tk_status body(compiler *c, const json_t *schema, int32_t from, int32_t to)
{
    if (json_is_boolean(schema)) {
        if (json_is_true(schema)) nfa_add_call(c->a, from, any_rule(c), to);
        return TK_OK;
    }
    tk_status st = check_keywords(c, schema);
    if (st != TK_OK) return st;
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref) {
        const json_t *target = NULL;
        st = look_up(c, ref, &target);
        if (st == TK_OK) st = both(c, target, without(schema, "$ref"), &target);
        if (st == TK_OK) nfa_add_call(c->a, from, rule_of(c, target), to);
        return st;
    }
    if (json_object_get(schema, "allOf")) return add_all(c, schema, from, to);
    if (json_object_get(schema, "anyOf")) return add_choices(c, schema, "anyOf", from, to);
    if (json_object_get(schema, "oneOf")) return add_choices(c, schema, "oneOf", from, to);
    if (json_object_get(schema, "enum") || json_object_get(schema, "const"))
        return add_values(c, schema, from, to);
    return add_types(c, schema, from, to);
}

tk_status tk_schema_add(nfa *a, const json_t *root, const json_t *schema, int32_t *rule,
                        tk_err *err)
{
    compiler c = {.a = a,
                  .root = root,
                  .err = err,
                  .by_schema = tk_map_new(64),
                  .arena = tk_arena_new((size_t)TK_LIMIT_SCHEMA_NODES * 64),
                  .made = json_array(),
                  .blank = -1,
                  .any = -1,
                  .multi = -1,
                  .string = -1,
                  .number = -1};
    *rule = rule_of(&c, schema);
    tk_status st = TK_OK;
    for (; c.i_job < c.n_job && st == TK_OK && !a->too_large; c.i_job++) {
        job j = c.job[c.i_job];
        st = body(&c, j.schema, a->rule[j.rule].start, a->rule[j.rule].final);
    }
    if (st == TK_OK && a->too_large)
        st = tk_fail(
            err, TK_UNSUPPORTED,
            "the schema needs too large a grammar (bounds: %d schemas, %d states, %d edges)",
            TK_LIMIT_SCHEMA_NODES, TK_LIMIT_GRAMMAR_STATES, TK_LIMIT_GRAMMAR_EDGES);
    tk_map_free(c.by_schema);
    tk_arena_free(c.arena);
    json_decref(c.made);
    tk_free(c.job);
    return st;
}
