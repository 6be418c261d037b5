// SPDX-License-Identifier: MIT
// Grammars: what they take, what they refuse, and that whatever is drawn from their masks is JSON that the
// schema allows, judged by the small validator below, which shares nothing with them.
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/clock.h"
#include "schema_check.h"
#include "text/grammar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static tk_tokenizer *tokenizer;
static tk_token_trie *trie;

static int open_vocabulary(void **state)
{
    (void)state;
    if (tk_tokenizer_open_dir(TK_SOURCE_DIR "/models/demo", &tokenizer, NULL) != TK_OK) return -1;
    trie = tk_token_trie_new(tokenizer, NULL, 0);
    return 0;
}

static int close_vocabulary(void **state)
{
    (void)state;
    tk_token_trie_free(trie);
    tk_tokenizer_free(tokenizer);
    return 0;
}

static json_t *parse(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);
    if (j == NULL) fail_msg("the test's JSON is broken: %s", text);
    return j;
}

static tk_grammar *compile(const char *schema)
{
    tk_grammar *g = NULL;
    tk_err err = TK_ERR_INIT;
    json_t *j = parse(schema);
    if (tk_grammar_compile(j, &(tk_grammar_opts){0}, &g, &err) != TK_OK)
        fail_msg("%s: %s", schema, err.msg);
    json_decref(j);
    return g;
}

static void check(const char *schema, const char *const *good, const char *const *bad)
{
    tk_grammar *g = compile(schema);
    for (; good && *good; good++)
        if (!tk_grammar_matches(g, *good, strlen(*good))) fail_msg("%s refuses %s", schema, *good);
    for (; bad && *bad; bad++)
        if (tk_grammar_matches(g, *bad, strlen(*bad))) fail_msg("%s takes %s", schema, *bad);
    tk_grammar_unref(g);
}

#define LIST(...)                                                                                  \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static void scalars_are_json_of_their_type(void **state)
{
    (void)state;
    check("{\"type\":\"string\"}",
          LIST("\"\"", "\"a\"", "\"\\n\\u00e9\\\"\"", "\"\xC3\xA9\xF0\x9F\x98\x80\"",
               "\"\\ud83d\\ude00\""),
          LIST("\"", "a", "\"\n\"", "\"\\x\"", "\"\xC3\"", "\"\xC0\x80\"", "\"\xED\xA0\x80\"",
               "\"\\ud800\"", "\"a\"b", "\"\\u00g0\""));
    check("{\"type\":\"number\"}", LIST("0", "-0", "1.5", "-12e3", "1E-5", "10.25e+10"),
          LIST("", "01", ".5", "1.", "+1", "1e", "--1", "0x1", "1e400", "NaN"));
    check("{\"type\":\"integer\"}", LIST("0", "-1", "120"), LIST("-0", "1.0", "1e3", "007"));
    check("{\"type\":\"boolean\"}", LIST("true", "false"), LIST("tru", "True", "null"));
    check("{\"type\":[\"null\",\"integer\"]}", LIST("null", "5"), LIST("\"5\"", "nul"));
    check("true", LIST("{}", "[1, {\"a\": null}]", "\"x\"", "3"), LIST("{]", "[1,]", "{\"a\"}"));
}

static void numbers_keep_their_bounds(void **state)
{
    (void)state;
    check("{\"type\":\"integer\",\"minimum\":-7,\"maximum\":120}",
          LIST("-7", "0", "9", "10", "99", "100", "120"), LIST("-8", "121", "200", "1000", "-10"));
    check("{\"type\":\"integer\",\"exclusiveMinimum\":99,\"exclusiveMaximum\":1001}",
          LIST("100", "999", "1000"), LIST("99", "1001", "0"));
    check("{\"type\":\"number\",\"minimum\":0,\"maximum\":1}",
          LIST("0", "0.5", "1", "1.00", "0.999"), LIST("-0.1", "1.01", "2", "1.0001"));
    check("{\"type\":\"number\",\"exclusiveMinimum\":0}", LIST("0.1", "0.001", "1", "55.5"),
          LIST("0", "0.0", "-1"));
    check("{\"type\":\"number\",\"minimum\":-5,\"exclusiveMaximum\":-2}",
          LIST("-5", "-5.0", "-4.99", "-2.01", "-3"), LIST("-5.1", "-2", "-2.0", "-1.5", "0"));
}

static void objects_have_their_members(void **state)
{
    (void)state;
    const char *schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},"
        "\"b\":{\"type\":\"string\"},\"c\":{\"type\":\"null\"}},\"required\":[\"b\"]}";
    check(schema,
          LIST("{\"a\":1,\"b\":\"x\",\"c\":null}", "{\"b\":\"\"}", "{\"a\": 1, \"b\": \"x\"}",
               "{\n  \"b\": \"x\",\n  \"c\": null\n}", "{ \"b\":\"x\" }"),
          LIST("{}", "{\"a\":1}", "{\"b\":\"x\",\"a\":1}", "{\"b\":\"x\",}", "{\"b\":1}",
               "{\"d\":1,\"b\":\"x\"}", "{,\"b\":\"x\"}", "{\"b\":\"x\",\"b\":\"x\"}"));
    check("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}},"
          "\"additionalProperties\":{\"type\":\"boolean\"}}",
          LIST("{}", "{\"a\":1}", "{\"a\":1,\"b\":true}", "{\"ab\":true}", "{\"\":false}",
               "{\"\xC3\xA9\":true,\"aa\":false}"),
          LIST("{\"a\":true}", "{\"b\":1}", "{\"b\":true,\"a\":1}", "{\"\\u0061\":true}"));
    check("{\"type\":\"object\",\"required\":[\"x\"]}", LIST("{\"x\":[1]}"), LIST("{}"));
    check("{\"type\":\"object\"}", LIST("{}", "{\"a\":{\"b\":[]}}"), LIST("[]", "{\"a\":}"));
    check("{\"type\":\"object\",\"properties\":{\"\\n\\\"\":{\"const\":1},\"n\":false},"
          "\"additionalProperties\":true}",
          LIST("{\"\\n\\\"\":1}", "{\"\\n\":2}", "{\"n\":1}"), LIST("{\"\\n\\\"\":2}"));
}

static void lists_have_their_items(void **state)
{
    (void)state;
    check("{\"type\":\"array\",\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}",
          LIST("[1,2]", "[1, 2, 3]", "[\n1,\n2\n]"), LIST("[]", "[1]", "[1,2,3,4]", "[1,\"2\"]"));
    check("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"},{\"type\":\"integer\"}],"
          "\"items\":false}",
          LIST("[]", "[\"a\"]", "[\"a\",1]"), LIST("[1]", "[\"a\",1,2]"));
    check("{\"type\":\"array\",\"prefixItems\":[{\"type\":\"string\"}],\"items\":{\"type\":"
          "\"null\"}}",
          LIST("[\"a\",null,null]", "[]"), LIST("[null]", "[\"a\",1]"));
    check("{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}", LIST("[]", "[1]", "[1,2]"),
          LIST("[1,]", "[,]", "[,1]", "[1,,2]"));
    check("{\"type\":\"array\",\"minItems\":1}", LIST("[{}]", "[1,\"a\"]"), LIST("[]"));
}

static void values_and_choices_are_taken_as_they_stand(void **state)
{
    (void)state;
    check("{\"enum\":[\"red\",\"green\",5,null,{\"a\":[1]}]}",
          LIST("\"red\"", "5", "null", "{\"a\":[1]}"), LIST("\"re\"", "\"blue\"", "\"redgreen\""));
    check("{\"const\":\"a\\\"b\"}", LIST("\"a\\\"b\""), LIST("\"ab\""));
    check("{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"object\",\"properties\":{\"k\":{"
          "\"const\":1}},"
          "\"required\":[\"k\"]}]}",
          LIST("4", "{\"k\":1}"), LIST("{\"k\":2}", "\"4\""));
    check("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":"
          "\"integer\"}},"
          "\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
          LIST("{\"a\":1}", "{\"b\":1}", "{\"a\":1,\"b\":2}"), LIST("{}"));
    check("{\"allOf\":[{\"type\":\"integer\",\"minimum\":3},{\"type\":\"number\",\"maximum\":5}]}",
          LIST("3", "5"), LIST("2", "6", "3.5"));
}

static void references_may_lead_back(void **state)
{
    (void)state;
    check("{\"$ref\":\"#/$defs/node\",\"$defs\":{\"node\":{\"type\":\"object\",\"properties\":{"
          "\"v\":{\"type\":\"integer\"},\"next\":{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":"
          "\"#/$defs/node\"}]}},\"required\":[\"v\",\"next\"]}}}",
          LIST("{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":null}}"),
          LIST("{\"v\":1}", "{\"v\":1,\"next\":{}}"));
    check("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}", LIST("[]", "[[],[[]]]"), LIST("[1]"));
}

static void nesting_ends_at_its_bound_but_never_without_a_way_out(void **state)
{
    (void)state;
    tk_grammar *g = compile("{\"type\":\"array\",\"items\":{\"$ref\":\"#\"}}");
    char deep[2 * TK_LIMIT_GRAMMAR_STACK + 20];
    memset(deep, '[', sizeof deep);
    tk_grammar_run *r = tk_grammar_run_new(g, trie, NULL, 0);
    uint64_t bits[64];
    int32_t n = tk_tokenizer_n_vocab(tokenizer), open = -1, close = -1;
    for (int32_t id = 0; id < n; id++) {
        tk_buf b = tk_buf_make(64);
        if (tk_tokenizer_token_bytes(tokenizer, id, &b) && b.len == 1 && b.data[0] == '[')
            open = id;
        if (b.len == 1 && b.data[0] == ']') close = id;
        tk_buf_free(&b);
    }
    int depth = 0;
    for (;; depth++) {
        tk_grammar_run_mask(r, bits, n);
        assert_true(bits[close / 64] >> (close % 64) & 1 || depth == 0);
        if (!(bits[open / 64] >> (open % 64) & 1)) break;
        tk_grammar_run_accept(r, open);
    }
    assert_in_range(depth, TK_LIMIT_GRAMMAR_STACK / 2, TK_LIMIT_GRAMMAR_STACK);
    for (; depth > 0; depth--) tk_grammar_run_accept(r, close);
    assert_true(tk_grammar_run_may_end(r));
    tk_grammar_run_free(r);
    tk_grammar_unref(g);
}

static void strings_have_their_form(void **state)
{
    (void)state;
    check("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
          LIST("\"ab\"", "\"abc\"", "\"\xC3\xA9\\n\"", "\"\\u0041b\""), LIST("\"a\"", "\"abcd\""));
    check("{\"type\":\"string\",\"pattern\":\"^[a-c]{2}-\\\\d+$\"}", LIST("\"ab-1\"", "\"cc-99\""),
          LIST("\"ad-1\"", "\"ab-\"", "\"ab-1x\""));
    check("{\"type\":\"string\",\"pattern\":\"b+\"}", LIST("\"b\"", "\"abbc\"", "\"\\nb\""),
          LIST("\"\"", "\"ac\""));
    check("{\"type\":\"string\",\"pattern\":\"^(foo|ba[rz])?$\",\"maxLength\":3}",
          LIST("\"\"", "\"foo\"", "\"baz\""), LIST("\"ba\"", "\"foobar\""));
    check("{\"type\":\"string\",\"pattern\":\"^[^a-z\\\"]*$\",\"minLength\":1,\"maxLength\":2}",
          LIST("\"A\"", "\"\xC3\xA9\xF0\x9F\x98\x80\"", "\"\\n\""),
          LIST("\"\"", "\"a\"", "\"\\\"\"", "\"AAA\""));
    check("{\"type\":\"string\",\"format\":\"date\"}", LIST("\"2024-02-28\"", "\"1999-12-31\""),
          LIST("\"2024-02-30\"", "\"24-01-01\"", "\"2024-13-01\""));
    check("{\"type\":\"string\",\"format\":\"uuid\"}",
          LIST("\"123e4567-e89b-12d3-a456-426614174000\""), LIST("\"123\""));
}

static void refuses(const char *schema, const char *word)
{
    tk_grammar *g = NULL;
    tk_err err = TK_ERR_INIT;
    json_t *j = parse(schema);
    uint64_t begun = tk_clock_ns();
    tk_status st = tk_grammar_compile(j, &(tk_grammar_opts){0}, &g, &err);
    json_decref(j);
    tk_grammar_unref(g);
    if (st == TK_OK) fail_msg("%.200s is taken", schema);
    if (strstr(err.msg, word) == NULL)
        fail_msg("%.200s: \"%s\" does not say %s", schema, err.msg, word);
    assert_true((double)(tk_clock_ns() - begun) * 1e-9 < 10);
}

static void what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    refuses("{\"type\":\"integer\",\"multipleOf\":3}", "multipleOf");
    refuses("{\"type\":\"array\",\"uniqueItems\":true}", "uniqueItems");
    refuses("{\"type\":\"object\",\"patternProperties\":{}}", "patternProperties");
    refuses("{\"not\":{}}", "not");
    refuses("{\"type\":\"string\",\"pattern\":\"(?=a)\"}", "group");
    refuses("{\"type\":\"string\",\"pattern\":\"\\\\bx\"}", "escape");
    refuses("{\"type\":\"string\",\"pattern\":\"[a\"}", "class");
    refuses("{\"type\":\"string\",\"format\":\"hostname\"}", "hostname");
    refuses("{\"type\":\"number\",\"minimum\":0.5}", "minimum");
    refuses("{\"$ref\":\"http://x/y\"}", "leads out");
    refuses("{\"$ref\":\"#/$defs/none\"}", "not there");
    refuses("{\"type\":\"thing\"}", "thing");
    refuses("{\"type\":3}", "type");
    refuses("[]", "schema");
}

static void what_no_json_satisfies_is_refused(void **state)
{
    (void)state;
    refuses("false", "no JSON");
    refuses("{\"type\":\"integer\",\"minimum\":5,\"maximum\":4}", "no JSON");
    refuses("{\"type\":\"array\",\"minItems\":3,\"maxItems\":2}", "no JSON");
    refuses("{\"$ref\":\"#\"}", "no JSON");
    refuses("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}",
            "no JSON");
    refuses("{\"allOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}", "no JSON");
    refuses("{\"enum\":[1],\"const\":2}", "no JSON");
}

static void what_would_blow_up_is_refused(void **state)
{
    (void)state;
    refuses("{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){500}\"}", "too large");
    refuses("{\"type\":\"string\",\"pattern\":\"((a{1,100}){1,100}){1,100}\"}", "too large");
    refuses("{\"type\":\"array\",\"items\":{},\"maxItems\":1000000}", "maxItems");
    refuses("{\"type\":\"string\",\"minLength\":100000}", "too large");
    refuses("{\"allOf\":[{\"$ref\":\"#\"},{\"type\":\"object\"}]}", "");
    // 2^n readings: each level asks for the next twice
    tk_buf b = tk_buf_make(1 << 20);
    tk_buf_add_str(&b, "{\"$ref\":\"#/$defs/a0\",\"$defs\":{");
    for (int i = 0; i < 60; i++)
        tk_buf_addf(&b,
                    "\"a%d\":{\"allOf\":[{\"$ref\":\"#/$defs/a%d\"},{\"$ref\":\"#/$defs/a%d\"}]},",
                    i, i + 1, i + 1);
    tk_buf_add_str(&b, "\"a60\":{\"type\":\"integer\"}}}");
    json_t *j = parse(tk_buf_str(&b));
    tk_grammar *g = NULL;
    uint64_t begun = tk_clock_ns();
    tk_grammar_compile(j, &(tk_grammar_opts){0}, &g, NULL); // taken or refused, but soon
    assert_true((double)(tk_clock_ns() - begun) * 1e-9 < 5);
    tk_grammar_unref(g);
    json_decref(j);
    tk_buf_free(&b);
}

static void reasoning_comes_first(void **state)
{
    (void)state;
    tk_grammar *g = NULL;
    json_t *schema = parse("{\"type\":\"integer\"}");
    tk_grammar_opts o = {
        .reason_begin = "<think>", .reason_end = "</think>", .reasoning_open = true};
    assert_int_equal(tk_grammar_compile(schema, &o, &g, NULL), TK_OK);
    assert_true(tk_grammar_matches(g, "well <</think>\n\n5", 17));
    assert_true(tk_grammar_matches(g, "</thin</think>5", 15));
    assert_false(tk_grammar_matches(g, "5", 1));
    assert_false(tk_grammar_matches(g, "a</think>b", 10));
    tk_grammar_unref(g);
    o.reasoning_open = false;
    assert_int_equal(tk_grammar_compile(schema, &o, &g, NULL), TK_OK);
    assert_true(tk_grammar_matches(g, "5", 1));
    assert_true(tk_grammar_matches(g, "<think>a</think>5", 17));
    assert_false(tk_grammar_matches(g, "<think>5", 8));
    tk_grammar_unref(g);
    o = (tk_grammar_opts){.trigger = "<t>", .after = "</t>"};
    assert_int_equal(tk_grammar_compile(schema, &o, &g, NULL), TK_OK);
    assert_true(tk_grammar_matches(g, "", 0));
    assert_true(tk_grammar_matches(g, "free text <", 11));
    assert_true(tk_grammar_matches(g, "a <t>5</t> b <t>\n6</t>", 22));
    assert_false(tk_grammar_matches(g, "a <t>x", 6));
    assert_false(tk_grammar_matches(g, "a <t>5", 6));
    tk_grammar_unref(g);
    json_decref(schema);
}

// --- the property ---

static json_t *random_schema(tk_rng *r, int depth);

static json_t *random_object(tk_rng *r, int depth)
{
    json_t *p = json_object(), *required = json_array();
    int n = (int)tk_rng_below(r, 4);
    static const char *const names[] = {"a", "ab", "name", "x-y", "\xC3\xA9", "q\"q", "z"};
    for (int i = 0; i < n; i++) {
        const char *name = names[tk_rng_below(r, 7)];
        if (json_object_get(p, name)) continue;
        json_object_set_new(p, name, random_schema(r, depth - 1));
        if (tk_rng_below(r, 2)) json_array_append_new(required, json_string(name));
    }
    json_t *s =
        json_pack("{s:s, s:o, s:o}", "type", "object", "properties", p, "required", required);
    uint64_t more = tk_rng_below(r, 4);
    if (more == 0) json_object_set_new(s, "additionalProperties", json_false());
    if (more == 1) json_object_set_new(s, "additionalProperties", random_schema(r, depth - 1));
    return s;
}

static json_t *random_array(tk_rng *r, int depth)
{
    json_t *s = json_pack("{s:s, s:o, s:i}", "type", "array", "items", random_schema(r, depth - 1),
                          "minItems", (int)tk_rng_below(r, 3));
    if (tk_rng_below(r, 2))
        json_object_set_new(s, "maxItems", json_integer((json_int_t)(2 + tk_rng_below(r, 3))));
    if (tk_rng_below(r, 3) == 0)
        json_object_set_new(s, "prefixItems", json_pack("[o]", random_schema(r, depth - 1)));
    return s;
}

static json_t *random_string(tk_rng *r)
{
    static const char *const patterns[] = {"^[a-z]{2,4}$",  "^(x|yy)+$", "b",
                                           "^\\d{3}-\\w*$", "[^a]$",     "^.{1,3}$"};
    json_t *s = json_pack("{s:s}", "type", "string");
    uint64_t kind = tk_rng_below(r, 4);
    if (kind == 0) json_object_set_new(s, "pattern", json_string(patterns[tk_rng_below(r, 6)]));
    if (kind == 1)
        json_object_set_new(s, "minLength", json_integer((json_int_t)tk_rng_below(r, 4)));
    if (kind <= 1 && tk_rng_below(r, 2))
        json_object_set_new(s, "maxLength", json_integer((json_int_t)(4 + tk_rng_below(r, 9))));
    return s;
}

static json_t *random_number(tk_rng *r)
{
    json_t *s = json_pack("{s:s}", "type", tk_rng_below(r, 2) ? "integer" : "number");
    int64_t lo = (int64_t)tk_rng_below(r, 400) - 200;
    if (tk_rng_below(r, 2))
        json_object_set_new(s, tk_rng_below(r, 3) ? "minimum" : "exclusiveMinimum",
                            json_integer(lo));
    if (tk_rng_below(r, 2))
        json_object_set_new(s, tk_rng_below(r, 3) ? "maximum" : "exclusiveMaximum",
                            json_integer(lo + 2 + (int64_t)tk_rng_below(r, 300)));
    return s;
}

static json_t *random_schema(tk_rng *r, int depth)
{
    switch (tk_rng_below(r, depth > 0 ? 12 : 6)) {
    case 0: return random_string(r);
    case 1:
    case 2: return random_number(r);
    case 3: return json_pack("{s:s}", "type", tk_rng_below(r, 2) ? "boolean" : "null");
    case 4: return json_pack("{s:[s, i, n, s]}", "enum", "one", 2, "thr\"ee");
    case 5:
        return tk_rng_below(r, 3) ? random_string(r) : json_pack("{s:s}", "$ref", "#/$defs/tree");
    case 6:
    case 7: return random_object(r, depth);
    case 8:
    case 9: return random_array(r, depth);
    case 10:
        return json_pack("{s:[o, o]}", "anyOf", random_schema(r, depth - 1),
                         random_schema(r, depth - 1));
    default: return json_pack("{s:[s, s]}", "type", "string", "null");
    }
}

static json_t *tree_definition(void)
{
    return json_pack("{s:{s:s, s:{s:{s:s}, s:{s:s, s:{s:s}, s:i}}, s:[s]}}", "tree", "type",
                     "object", "properties", "v", "type", "integer", "kids", "type", "array",
                     "items", "$ref", "#/$defs/tree", "maxItems", 2, "required", "v");
}

// A token from the mask: now and then any, mostly (late: always) one that leads out.
static int32_t draw(tk_rng *r, const uint64_t *bits, int32_t n, int step)
{
    int32_t allowed[2048], closing[256], n_allowed = 0, n_closing = 0;
    for (int32_t id = 0; id < n; id++) {
        if (!(bits[id / 64] >> (id % 64) & 1)) continue;
        allowed[n_allowed++] = id;
        size_t len = trie->start[id + 1] - trie->start[id];
        if (len == 1 && strchr("\"}]", trie->bytes[trie->start[id]]) && n_closing < 256)
            closing[n_closing++] = id;
    }
    if (n_allowed == 0) return -1;
    if (n_closing && (step > 60 || tk_rng_below(r, 8) == 0))
        return closing[tk_rng_below(r, (uint64_t)n_closing)];
    return allowed[tk_rng_below(r, (uint64_t)n_allowed)];
}

static bool follow_masks(tk_grammar *g, tk_rng *r, tk_buf *text)
{
    const int32_t end = tk_tokenizer_eos(tokenizer);
    int32_t n = tk_tokenizer_n_vocab(tokenizer);
    uint64_t bits[64];
    tk_grammar_run *run = tk_grammar_run_new(g, trie, &end, 1);
    bool ended = false;
    for (int step = 0; step < 600 && !ended; step++) {
        tk_grammar_run_mask(run, bits, n);
        bool may_end = bits[end / 64] >> (end % 64) & 1;
        assert_int_equal(may_end, tk_grammar_run_may_end(run));
        int32_t id =
            may_end && (step > 40 || tk_rng_below(r, 4) == 0) ? end : draw(r, bits, n, step);
        assert_true(id >= 0); // never stuck
        ended = id == end;
        if (!ended)
            tk_buf_add(text, trie->bytes + trie->start[id], trie->start[id + 1] - trie->start[id]);
        tk_grammar_run_accept(run, id);
    }
    tk_grammar_run_free(run);
    return ended;
}

static void whatever_is_drawn_from_the_masks_fits_the_schema(void **state)
{
    (void)state;
    int n_text = 0, n_cut = 0, n_schema = 0;
    for (uint64_t seed = 1; seed <= 600; seed++) {
        tk_rng r = {seed};
        json_t *schema = random_schema(&r, 3);
        tk_err err = TK_ERR_INIT;
        tk_grammar *g = NULL;
        json_object_set_new(schema, "$defs", tree_definition());
        tk_status st = tk_grammar_compile(schema, &(tk_grammar_opts){0}, &g, &err);
        if (st != TK_OK && strstr(err.msg, "no JSON") == NULL)
            fail_msg("seed %llu: %s", (unsigned long long)seed, err.msg);
        n_schema += st == TK_OK;
        for (int i = 0; i < 8 && st == TK_OK; i++) {
            tk_buf text = tk_buf_make(1 << 20);
            bool ended = follow_masks(g, &r, &text);
            json_t *j =
                json_loadb(tk_buf_str(&text), text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            const char *wrong = !ended      ? NULL
                                : j == NULL ? "no JSON"
                                            : schema_check(schema, schema, j);
            if (wrong) {
                char *s = json_dumps(schema, JSON_COMPACT);
                fail_msg("seed %llu: %s: %s\n%s", (unsigned long long)seed, wrong, s,
                         tk_buf_str(&text));
            }
            n_text++;
            n_cut += !ended;
            json_decref(j);
            tk_buf_free(&text);
        }
        tk_grammar_unref(g);
        json_decref(schema);
    }
    print_message("%d texts of %d schemas, %d did not end in 600 tokens\n", n_text, n_schema,
                  n_cut);
    assert_true(n_text > 4000 && n_cut < n_text / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_are_json_of_their_type),
        cmocka_unit_test(numbers_keep_their_bounds),
        cmocka_unit_test(objects_have_their_members),
        cmocka_unit_test(lists_have_their_items),
        cmocka_unit_test(values_and_choices_are_taken_as_they_stand),
        cmocka_unit_test(references_may_lead_back),
        cmocka_unit_test(nesting_ends_at_its_bound_but_never_without_a_way_out),
        cmocka_unit_test(strings_have_their_form),
        cmocka_unit_test(what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(what_no_json_satisfies_is_refused),
        cmocka_unit_test(what_would_blow_up_is_refused),
        cmocka_unit_test(reasoning_comes_first),
        cmocka_unit_test(whatever_is_drawn_from_the_masks_fits_the_schema),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
