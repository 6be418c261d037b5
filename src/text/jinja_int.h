// SPDX-License-Identifier: MIT
// What the parts of the chat-template interpreter share (jinja_*.c); nobody else includes it. Values are
// Python's: everything lives in the arena of one rendering (constants: in the template's) and nothing is
// freed before its end. Errors stick: a function that fails sets it->st through jj_fail and returns any
// value; whoever calls checks it->st before using it. One thread per rendering.
#ifndef TK_TEXT_JINJA_INT_H
#define TK_TEXT_JINJA_INT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JJ_MAX_EVAL_DEPTH =
        1000,              // nested evaluations, macro calls included (Python's own limit is 1000)
    JJ_MAX_RANGE = 100000, // jinja2's sandbox
    JJ_MAX_CAPTURE = 256,  // nested captures (macros, set blocks, filter blocks)
    JJ_MAX_NODE_DEPTH = 900, // of a syntax tree; chains such as a + b + ... nest to the left
};

typedef enum jj_kind {
    JJ_MISSING, // a name without a value; never seen by templates
    JJ_UNDEF,
    JJ_NONE,
    JJ_BOOL,
    JJ_INT,
    JJ_FLOAT,
    JJ_STR,
    JJ_LIST,
    JJ_TUPLE,
    JJ_DICT,
    JJ_RANGE,
    JJ_ITER, // a generator: read once, has no length
    JJ_VIEW, // dict.keys(), values(), items()
    JJ_NS,
    JJ_MACRO,
    JJ_FUNC,
    JJ_METHOD,
    JJ_LOOP,
    JJ_CYCLER,
    JJ_JOINER,
    JJ_SELF,  // `self`, whose attributes are the blocks
    JJ_SLICE, // only inside subscripts
} jj_kind;

typedef enum jj_view_kind { JJ_KEYS, JJ_VALUES, JJ_ITEMS } jj_view_kind;

typedef struct jj_grow { // room behind a string that was built by appending
    size_t used, cap;
    char *data;
} jj_grow;

typedef struct jj_str {
    const char *p; // valid UTF-8, not NUL-terminated
    size_t len;
    size_t n_cp; // code points; SIZE_MAX until counted
    jj_grow *grow;
} jj_str;

typedef struct jj_list jj_list;
typedef struct jj_dict jj_dict;
typedef struct jj_node jj_node;
typedef struct jj_scope jj_scope;
typedef struct jj_loop jj_loop;
typedef struct jj_method jj_method;
typedef struct jj_macro jj_macro;
typedef struct jj_func jj_func;
typedef struct jj_range {
    int64_t start, stop, step;
    size_t n;
} jj_range;

typedef struct jj_val {
    uint8_t kind;
    uint8_t
        flag; // STR: is Markup. TUPLE: groupby's, which has names too. VIEW: jj_view_kind. UNDEF: access was unsafe.
    union {
        bool b;
        int64_t i;
        double f;
        jj_str *s; // UNDEF: the message
        jj_list *l;
        jj_dict *d;
        jj_range *r;
        jj_macro *macro;
        const jj_func *func;
        jj_method *method;
        jj_loop *loop;
    } u;
} jj_val;

typedef struct jj_gen jj_gen;
struct jj_list { // LIST, TUPLE, ITER, CYCLER, SLICE (start, stop, step)
    jj_val *v;
    size_t n, cap;
    size_t pos;  // ITER, CYCLER: next one
    jj_gen *gen; // ITER: where more come from; NULL when all are there
};

typedef struct jj_entry {
    jj_val key, val;
    uint64_t hash;
} jj_entry;

struct jj_dict {
    jj_entry *e; // in order of insertion
    size_t n, cap;
    uint32_t *index; // open addressing over e, entry + 1; NULL while small
    size_t n_index;
};

typedef struct jj_cur { // a place in an iteration
    jj_val v;
    size_t pos;
} jj_cur;

typedef struct jj_kw {
    const jj_str *name;
    jj_val val;
} jj_kw;

typedef struct jj_args {
    jj_val *pos;
    size_t n_pos;
    jj_kw *kw;
    size_t n_kw;
} jj_args;

typedef struct jj jj;

struct
    jj_gen { // a filter that is a generator in Python: nothing happens before its first item is asked for
    bool (*start)(jj *it, jj_list *l); // checks arguments; may put all items into l at once
    bool (*pull)(jj *it, jj_gen *g, jj_val *out); // the next item; NULL: start has put all
    bool started;
    jj_val self;
    jj_args args;
    jj_cur src;
    jj_val attr, dflt;
    const struct jj_func *func;
    jj_args rest;  // func's
    jj_dict *seen; // unique
    bool by_attr, by_name, keep, sensitive;
};

typedef jj_val (*jj_call_fn)(jj *it, jj_val self, const jj_args *a);

struct jj_func { // a global, filter, test or method
    const char *name;
    jj_call_fn fn;
    const char *params; // "width,first": names in order; "/..." positional only; "*" anything
    uint8_t n_min;      // that many are required
};

struct jj_method {
    jj_val self;
    const jj_func *func;
};

// ---- syntax tree -----------------------------------------------------------------------------------

typedef enum jj_node_kind {
    // expressions
    N_CONST,
    N_NAME,
    N_NSREF,
    N_TUPLE,
    N_LIST,
    N_DICT,
    N_COND,
    N_AND,
    N_OR,
    N_NOT,
    N_COMPARE,
    N_BIN,
    N_NEG,
    N_POS,
    N_CONCAT,
    N_FILTER,
    N_TEST,
    N_CALL,
    N_GETATTR,
    N_GETITEM,
    N_SLICE,
    N_PAIR,
    N_KW,
    N_OPERAND,
    // statements
    N_DATA,
    N_OUTPUT,
    N_FOR,
    N_IF,
    N_SET,
    N_SETBLOCK,
    N_WITH,
    N_MACRO,
    N_CALLBLOCK,
    N_GENERATION,
    N_FILTERBLOCK,
    N_BLOCK,
    N_BREAK,
    N_CONTINUE,
    N_SCOPE,
    N_UNSUPPORTED,
    N_AUTOESCAPE,
} jj_node_kind;

typedef enum jj_op {
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOORDIV,
    OP_MOD,
    OP_POW,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_IN,
    OP_NOTIN,
} jj_op;

typedef enum jj_load { LOAD_PARAM, LOAD_UNDEF, LOAD_RESOLVE, LOAD_ALIAS } jj_load;

typedef struct
    jj_syms { // the names that belong to one scope, and where their first value comes from
    const jj_str **name;
    uint8_t *load;
    uint8_t *stored;
    size_t n, cap;
    const struct jj_syms *parent;
} jj_syms;

typedef struct jj_nodes {
    jj_node **v;
    uint32_t n, cap;
} jj_nodes;

// Which fields a kind uses stands beside its parser (jinja_parse.c, jinja_stmt.c).
struct jj_node {
    uint8_t kind;
    uint8_t op;
    bool flag;
    uint16_t depth; // height of the tree below
    uint32_t line;
    const jj_str *name;
    jj_val val;
    const jj_func *func; // filter or test
    jj_node *a, *b, *c;
    jj_nodes list, kw, body, els;
    jj_syms *syms, *syms2, *syms3; // body; FOR: else, test
};

// ---- lexer -----------------------------------------------------------------------------------------

typedef enum jj_tok_kind {
    T_EOF,
    T_DATA,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_VAR_BEGIN,
    T_VAR_END,
    T_NAME,
    T_STRING,
    T_INTEGER,
    T_FLOAT,
    T_ADD,
    T_SUB,
    T_MUL,
    T_DIV,
    T_FLOORDIV,
    T_MOD,
    T_POW,
    T_TILDE,
    T_LBRACKET,
    T_RBRACKET,
    T_LPAREN,
    T_RPAREN,
    T_LBRACE,
    T_RBRACE,
    T_EQ,
    T_NE,
    T_GT,
    T_GE,
    T_LT,
    T_LE,
    T_ASSIGN,
    T_DOT,
    T_COLON,
    T_PIPE,
    T_COMMA,
    T_SEMICOLON,
} jj_tok_kind;

typedef struct jj_tok {
    uint8_t kind;
    uint32_t line;
    const char *p; // raw text; DATA: what remains after whitespace control
    size_t len;
} jj_tok;

typedef struct jj_toks {
    jj_tok *v;
    size_t n, cap;
} jj_toks;

// Cuts source (valid UTF-8, newlines already '\n') into tokens; v is freed with tk_free by the caller, on
// failure too.
tk_status jj_lex(const char *source, size_t len, jj_toks *out, tk_err *err);
const char *jj_tok_describe(uint8_t kind);

// ---- parser ----------------------------------------------------------------------------------------

typedef struct jj_parser {
    tk_arena *a;
    const jj_tok *tok; // current
    const jj_tok *end;
    tk_err *err;
    tk_status st;
    int depth;      // nesting of statements and expressions
    int loop_depth; // for loops a break could leave
    int n_for;      // for loops around, across macros
    struct jj_names *names;
    jj_node *blocks; // the last one so far; each one's c is the one before
} jj_parser;

jj_node *jj_new(jj_parser *p, jj_node_kind kind, uint32_t line);
bool jj_push(jj_parser *p, jj_node *owner, jj_nodes *list, jj_node *n);
void jj_adopt(jj_parser *p, jj_node *n, const jj_node *child); // keeps n->depth
void *jj_parse_fail(jj_parser *p, uint32_t line, const char *fmt, ...) TK_PRINTF(3, 4);
bool jj_is(const jj_parser *p, uint8_t kind);
bool jj_is_name(const jj_parser *p, const char *name);
bool jj_skip(jj_parser *p, uint8_t kind);
bool jj_skip_name(jj_parser *p, const char *name);
const jj_tok *jj_expect(jj_parser *p, uint8_t kind); // NULL on failure
void jj_next_tok(jj_parser *p);
const jj_str *jj_intern(jj_parser *p, const char *s, size_t len);
jj_node *jj_parse_expr(jj_parser *p, bool with_cond);
jj_node *jj_parse_tuple(jj_parser *p, bool with_cond, bool parens);
jj_node *jj_parse_target(jj_parser *p, bool name_only, bool with_ns);
jj_node *jj_parse_filters(jj_parser *p, jj_node *node, bool start_inline);
jj_node *jj_parse_template(jj_parser *p); // N_SCOPE
bool jj_enter_parse(jj_parser *p);

// Fails for filters and tests that are not there and that jinja2 would refuse before it renders.
void jj_check_names(jj_parser *p, const jj_node *n, bool soft);

// Finds the scopes' names (jinja2's idtracking.py); false when memory is short.
bool jj_resolve_scopes(tk_arena *a, jj_node *root);

struct tk_template {
    tk_arena *a;
    jj_node *root;
};

// ---- rendering -------------------------------------------------------------------------------------

struct jj_scope {
    jj_scope *parent;
    const jj_syms *syms;
    jj_val *v; // [syms->n]
};

struct jj_macro {
    const jj_node *node;
    jj_scope *scope;    // where it was defined
    const jj_str *name; // NULL: a caller
    bool uses_caller, uses_kwargs, uses_varargs;
};

struct jj {
    tk_arena *a;
    tk_err *err;
    tk_status st;
    tk_buf *out;
    uint64_t n_step;
    int depth;
    uint32_t line;
    jj_scope *scope, *root;
    jj_dict *ctx;
    const jj_node *blocks; // a list by c
    tk_buf cap[JJ_MAX_CAPTURE];
    int n_cap;
    jj_val ascii[128]; // one-character strings
};

struct jj_loop {
    const jj_node *node;
    jj_scope *scope, *test_scope;
    jj_cur cur;
    jj_list *rest; // filled when the length was asked for
    size_t n_total;
    bool known; // n_total is
    bool has_after;
    jj_val after, current, before;
    jj_val last_changed;
    int64_t index0;
    int depth0;
};

// jinja_value.c
jj_val jj_fail(jj *it, tk_status st, const char *fmt, ...) TK_PRINTF(3, 4);
jj_val jj_raise(jj *it, const char *fmt, ...) TK_PRINTF(2, 3); // TK_BAD_INPUT, with the line
bool jj_step(jj *it, size_t n);                                // false when the steps are used up
bool jj_enter(jj *it);                                         // one level of native recursion
static inline void jj_leave(jj *it)
{
    it->depth--;
}
void *jj_alloc(jj *it, size_t n_item, size_t item_bytes); // NULL and it->st when the arena is full

static inline jj_val jj_none(void)
{
    return (jj_val){.kind = JJ_NONE};
}
static inline jj_val jj_missing(void)
{
    return (jj_val){.kind = JJ_MISSING};
}
static inline jj_val jj_bool(bool b)
{
    return (jj_val){.kind = JJ_BOOL, .u.b = b};
}
static inline jj_val jj_int(int64_t i)
{
    return (jj_val){.kind = JJ_INT, .u.i = i};
}
static inline jj_val jj_float(double f)
{
    return (jj_val){.kind = JJ_FLOAT, .u.f = f};
}
jj_val jj_str_new(jj *it, const char *p, size_t len); // copies
jj_val jj_str_ref(jj *it, const char *p, size_t len); // borrows
jj_val jj_str_lit(jj *it, const char *z);
jj_val jj_undef(jj *it, const char *fmt, ...) TK_PRINTF(2, 3);
jj_val jj_undef_name(jj *it, const jj_str *name);
jj_val jj_concat(jj *it, jj_val a, jj_val b); // of two strings
jj_list *jj_list_new(jj *it, size_t cap);
bool jj_list_add(jj *it, jj_list *l, jj_val v);
jj_val jj_wrap_list(jj_kind kind, jj_list *l);
jj_val jj_pair(jj *it, jj_val a, jj_val b); // a tuple
jj_dict *jj_dict_new(jj *it);
bool jj_dict_set(jj *it, jj_dict *d, jj_val key, jj_val v); // false: unhashable, memory
bool jj_dict_get(jj *it, const jj_dict *d, jj_val key, jj_val *out);
bool jj_dict_get_z(jj *it, const jj_dict *d, const char *key, size_t len, jj_val *out);
jj_val jj_from_json(jj *it, const json_t *j);
bool jj_truth(jj *it, jj_val v);
bool jj_equal(jj *it, jj_val a, jj_val b);
bool jj_same(jj_val a, jj_val b); // Python's `is`
// -1, 0, 1; fails for types that have no order. op is for the message.
int jj_order(jj *it, jj_val a, jj_val b, jj_op op);
bool jj_compare(jj *it, jj_op op, jj_val a, jj_val b);
bool jj_contains(jj *it, jj_val seq, jj_val item);
const char *jj_type_name(jj_val v);
bool jj_is_number(jj_val v); // int, float, bool
double jj_as_double(jj_val v);
int64_t jj_as_int(jj *it, jj_val v, const char *what); // bool and int only, else fails
bool jj_has_len(jj_val v);
size_t jj_len(jj *it, jj_val v); // fails when it has none
// Iteration; jj_iter fails for what is not iterable.
bool jj_iterable(jj_val v);
jj_cur jj_iter(jj *it, jj_val v);
bool jj_next(jj *it, jj_cur *c, jj_val *out);
jj_list *jj_to_list(jj *it, jj_val v); // a new list, or NULL

// jinja_repr.c
void jj_repr(jj *it, tk_buf *b, jj_val v);
void jj_to_text(jj *it, tk_buf *b, jj_val v); // Python's str()
jj_val jj_to_str(jj *it, jj_val v);
jj_val jj_buf_str(jj *it, tk_buf *b); // copies and frees b; fails when b failed
tk_buf jj_buf(void);
void jj_add_double(tk_buf *b, double f); // Python's repr
void jj_repr_str(tk_buf *b, const char *p, size_t len);

// jinja_wrap.c, jinja_pprint.c
jj_val jj_wordwrap(jj *it, jj_val self, const jj_args *a);
jj_val jj_urlize(jj *it, jj_val self, const jj_args *a);
jj_val jj_pprint(jj *it, jj_val self, const jj_args *a);

// jinja_json.c
jj_val jj_tojson(jj *it, jj_val self, const jj_args *a);

// jinja_ustr.c: strings by code point
size_t jj_cp_count(jj_str *s);
size_t jj_cp_offset(const jj_str *s,
                    size_t i_cp); // byte offset of a code point (len when past the end)
uint32_t jj_cp_next(const char *p, size_t len, size_t *pos);
bool jj_cp_space(uint32_t c);
bool jj_cp_printable(uint32_t c);
bool jj_cp_alpha(uint32_t c), jj_cp_decimal(uint32_t c), jj_cp_digit(uint32_t c),
    jj_cp_numeric(uint32_t c);
bool jj_cp_upper(uint32_t c), jj_cp_lower(uint32_t c), jj_cp_title(uint32_t c),
    jj_cp_word(uint32_t c);
bool jj_cp_ident_start(uint32_t c), jj_cp_ident(uint32_t c);
void jj_strip(const char **p, size_t *len, bool left, bool right);
typedef enum jj_case {
    CASE_UPPER,
    CASE_LOWER,
    CASE_CAPITAL,
    CASE_TITLE,
    CASE_SWAP,
    CASE_FOLD
} jj_case;
void jj_add_case(tk_buf *b, const char *p, size_t len, jj_case how);
jj_val jj_escape(jj *it, jj_val v); // markupsafe's, of any value
jj_val jj_case_str(jj *it, jj_val s, jj_case how);
jj_val jj_substr(jj *it, jj_str *s, size_t from_byte, size_t to_byte);
void jj_add_escaped(tk_buf *b, const char *p, size_t len); // markupsafe
bool jj_parse_int(const char *p, size_t len, int base, int64_t *out,
                  bool *overflow);                           // Python's int(str)
bool jj_parse_float(const char *p, size_t len, double *out); // Python's float(str)

// jinja_format.c
jj_val jj_percent(jj *it, jj_val fmt, jj_val args);
jj_val jj_str_format(jj *it, jj_val fmt, const jj_args *a, const jj_dict *map);

// jinja_strmeth.c, jinja_attr.c
const jj_func *jj_str_method(const char *name, size_t len);
jj_list *jj_splitlines(jj *it, jj_str *s, bool keep);
jj_val jj_replace(jj *it, jj_str *s, const jj_str *from, const jj_str *to, int64_t count);
jj_val jj_pad(jj *it, jj_val self, int64_t width, const jj_str *fill, int where);
bool jj_all_case(jj *it, const jj_str *s, bool upper);
jj_val jj_getattr(jj *it, jj_val o, const jj_str *name);
jj_val jj_getitem(jj *it, jj_val o, jj_val key);
jj_val jj_getslice(jj *it, jj_val o, jj_val slice);
jj_val jj_attr_of(jj *it, jj_val o, const jj_str *name, bool *found); // Python's getattr, sandboxed

// jinja_func.c
const jj_func *jj_global(const jj_str *name);
jj_val jj_call_macro(jj *it, jj_macro *m, const jj_args *a); // jinja_exec.c
jj_val jj_call(jj *it, jj_val f, const jj_args *a);
// The argument called name (or i-th positional) of f; JJ_MISSING when not given.
jj_val jj_arg(const jj_args *a, size_t i, const char *name);
// Checks the arguments against f->params, then calls.
jj_val jj_invoke(jj *it, const jj_func *f, jj_val self, const jj_args *a);

// jinja_filter*.c, jinja_test.c
const jj_func *jj_find_filter(const char *name, size_t len);
const jj_func *jj_find_test(const char *name, size_t len);
bool jj_gen_next(jj *it, jj_list *l, jj_val *out); // an ITER whose items so far are used up
extern const jj_func jj_filters_text[], jj_filters_seq[],
    jj_filters_html[]; // each ends with a NULL name
const jj_func *jj_find_func(const jj_func *table, const char *name, size_t len);
jj_val jj_get_path(jj *it, jj_val item, jj_val attr, jj_val dflt); // make_attrgetter
bool jj_sort(jj *it, jj_val *keys, jj_val *vals, size_t n, bool reverse);

// jinja_eval.c
jj_val jj_eval(jj *it, const jj_node *n);
jj_val jj_binary(jj *it, jj_op op, jj_val a, jj_val b);
bool jj_eval_args(jj *it, const jj_node *n, jj_args *out, const jj_val *caller);
jj_val jj_eval_filter(jj *it, const jj_node *n,
                      jj_val self); // n->a is not looked at when self is given
void jj_assign(jj *it, const jj_node *target, jj_val v);

// jinja_exec.c
typedef enum jj_flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE } jj_flow;
jj_flow jj_exec(jj *it, const jj_nodes *body);
jj_scope *jj_scope_new(jj *it, const jj_syms *syms, jj_scope *parent);
void jj_scope_init(jj *it, jj_scope *s);
jj_val jj_lookup(jj *it, const jj_str *name);
jj_val *jj_slot(jj_scope *s, const jj_str *name);
jj_val jj_context_get(jj *it, const jj_str *name);
bool jj_capture_begin(jj *it, tk_buf **saved);
jj_val jj_capture_end(jj *it, tk_buf *saved);
jj_val jj_loop_call(jj *it, jj_loop *l, jj_val iterable); // jinja_loop.c
jj_flow jj_exec_for(jj *it, const jj_node *n, jj_val iterable, int depth0);
jj_val jj_loop_attr(jj *it, jj_loop *l, const jj_str *name, bool *found);

#endif
