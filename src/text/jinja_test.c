// SPDX-License-Identifier: MIT
// Tests (`is ...`), and the look-up of filters and tests by name.
#include "text/jinja_int.h"

#include <string.h>

#define TEST(name, expr)                                                                           \
    static jj_val t_##name(jj *it, jj_val v, const jj_args *a)                                     \
    {                                                                                              \
        (void)it;                                                                                  \
        (void)a;                                                                                   \
        return jj_bool(expr);                                                                      \
    }

static bool mod_is(jj *it, jj_val v, jj_val by, int64_t want)
{
    jj_val m = jj_binary(it, OP_MOD, v, by);
    return it->st == TK_OK && jj_equal(it, m, jj_int(want));
}

static bool is_cased(jj *it, jj_val v, bool upper)
{
    v = jj_to_str(it, v);
    return it->st == TK_OK && jj_all_case(it, v.u.s, upper);
}

static bool is_callable(jj_val v)
{
    return v.kind == JJ_MACRO || v.kind == JJ_FUNC || v.kind == JJ_METHOD || v.kind == JJ_LOOP ||
           v.kind == JJ_JOINER || v.kind == JJ_UNDEF;
}

static bool is_sequence(jj_val v)
{
    return (v.kind >= JJ_STR && v.kind <= JJ_RANGE) || v.kind == JJ_UNDEF;
}

static bool listed(jj *it, jj_val v, const jj_func *(*find)(const char *, size_t))
{
    jj_dict *d = jj_dict_new(it); // looking v up in it fails when it cannot be hashed
    if (d) jj_dict_get(it, d, v, NULL);
    return it->st == TK_OK && v.kind == JJ_STR && find(v.u.s->p, v.u.s->len) != NULL;
}

TEST(odd, mod_is(it, v, jj_int(2), 1))
TEST(even, mod_is(it, v, jj_int(2), 0))
TEST(divisibleby, mod_is(it, v, jj_arg(a, 0, "num"), 0))
TEST(defined, v.kind != JJ_UNDEF)
TEST(undefined, v.kind == JJ_UNDEF)
TEST(none, v.kind == JJ_NONE)
TEST(boolean, v.kind == JJ_BOOL)
TEST(false, v.kind == JJ_BOOL && !v.u.b)
TEST(true, v.kind == JJ_BOOL && v.u.b)
TEST(integer, v.kind == JJ_INT)
TEST(float, v.kind == JJ_FLOAT)
TEST(number, jj_is_number(v))
TEST(string, v.kind == JJ_STR)
TEST(mapping, v.kind == JJ_DICT)
TEST(sequence, is_sequence(v))
TEST(iterable, jj_iterable(v))
TEST(callable, is_callable(v))
TEST(lower, is_cased(it, v, false))
TEST(upper, is_cased(it, v, true))
TEST(escaped, v.kind == JJ_STR && v.flag)
TEST(sameas, jj_same(v, jj_arg(a, 0, "other")))
TEST(filter, listed(it, v, jj_find_filter))
TEST(test, listed(it, v, jj_find_test))
TEST(in, jj_contains(it, jj_arg(a, 0, "seq"), v))
TEST(eq, jj_compare(it, OP_EQ, v, a->pos[0]))
TEST(ne, jj_compare(it, OP_NE, v, a->pos[0]))
TEST(lt, jj_compare(it, OP_LT, v, a->pos[0]))
TEST(le, jj_compare(it, OP_LE, v, a->pos[0]))
TEST(gt, jj_compare(it, OP_GT, v, a->pos[0]))
TEST(ge, jj_compare(it, OP_GE, v, a->pos[0]))

const jj_func *jj_find_test(const char *name, size_t len)
{
    static const jj_func tests[] = {
        {"odd", t_odd, "", 0},
        {"even", t_even, "", 0},
        {"divisibleby", t_divisibleby, "num", 1},
        {"defined", t_defined, "", 0},
        {"undefined", t_undefined, "", 0},
        {"filter", t_filter, "", 0},
        {"test", t_test, "", 0},
        {"none", t_none, "", 0},
        {"boolean", t_boolean, "", 0},
        {"false", t_false, "", 0},
        {"true", t_true, "", 0},
        {"integer", t_integer, "", 0},
        {"float", t_float, "", 0},
        {"lower", t_lower, "", 0},
        {"upper", t_upper, "", 0},
        {"string", t_string, "", 0},
        {"mapping", t_mapping, "", 0},
        {"number", t_number, "", 0},
        {"sequence", t_sequence, "", 0},
        {"iterable", t_iterable, "", 0},
        {"callable", t_callable, "", 0},
        {"sameas", t_sameas, "other", 1},
        {"escaped", t_escaped, "", 0},
        {"in", t_in, "seq", 1},
        {"==", t_eq, "/b", 1},
        {"eq", t_eq, "/b", 1},
        {"equalto", t_eq, "/b", 1},
        {"!=", t_ne, "/b", 1},
        {"ne", t_ne, "/b", 1},
        {">", t_gt, "/b", 1},
        {"gt", t_gt, "/b", 1},
        {"greaterthan", t_gt, "/b", 1},
        {">=", t_ge, "/b", 1},
        {"ge", t_ge, "/b", 1},
        {"<", t_lt, "/b", 1},
        {"lt", t_lt, "/b", 1},
        {"lessthan", t_lt, "/b", 1},
        {"<=", t_le, "/b", 1},
        {"le", t_le, "/b", 1},
        {0},
    };
    return jj_find_func(tests, name, len);
}

const jj_func *jj_find_filter(const char *name, size_t len)
{
    static const jj_func *const tables[] = {jj_filters_text, jj_filters_seq, jj_filters_html};
    for (size_t i = 0; i < TK_COUNT(tables); i++) {
        const jj_func *f = jj_find_func(tables[i], name, len);
        if (f) return f;
    }
    return NULL;
}
