// SPDX-License-Identifier: MIT
// Expressions (the first half of jinja2's parser.py). Nesting is bounded by TK_LIMIT_TEMPLATE_DEPTH, so the
// recursion is; chains (a + b + c) are loops here and become trees that lean left, bounded by
// JJ_MAX_NODE_DEPTH. Fields used: CONST val; NAME name; NSREF name, val (attribute); TUPLE LIST list;
// DICT list of PAIR(a: b); COND a = test, b, c = else; AND OR BIN a b; NOT NEG POS a; COMPARE a, list of
// OPERAND(op, a); CONCAT list; FILTER TEST a, name, list, kw of KW(name, a), b = *args, c = **kwargs;
// CALL the same; GETATTR a, name; GETITEM a, b; SLICE a b c.
#include "base/mem.h"
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *jj_parse_fail(jj_parser *p, uint32_t line, const char *fmt, ...)
{
    if (p->st != TK_OK) return NULL;
    char msg[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    p->st = tk_fail(p->err, TK_BAD_INPUT, "line %u: %s", line, msg);
    return NULL;
}

static void *no_memory(jj_parser *p)
{
    if (p->st == TK_OK)
        p->st = tk_fail(p->err, TK_NOMEM, "the template needs more than %u bytes",
                        TK_LIMIT_TEMPLATE_MEM_BYTES);
    return NULL;
}

jj_node *jj_new(jj_parser *p, jj_node_kind kind, uint32_t line)
{
    jj_node *n = tk_arena_alloc(p->a, sizeof *n);
    if (n == NULL) return no_memory(p);
    n->kind = (uint8_t)kind;
    n->line = line;
    return n;
}

void jj_adopt(jj_parser *p, jj_node *n, const jj_node *child)
{
    if (child && child->depth >= n->depth) {
        if (child->depth >= JJ_MAX_NODE_DEPTH)
            jj_parse_fail(p, child->line, "nested deeper than %d levels", JJ_MAX_NODE_DEPTH);
        n->depth = (uint16_t)(child->depth + 1);
    }
}

bool jj_push(jj_parser *p, jj_node *owner, jj_nodes *list, jj_node *n)
{
    if (n == NULL || p->st != TK_OK) return false;
    if (list->n == list->cap) {
        uint32_t cap = list->cap ? list->cap * 2 : 4;
        jj_node **v = tk_arena_alloc(p->a, cap * sizeof *v);
        if (v == NULL) return no_memory(p) != NULL;
        if (list->n) memcpy(v, list->v, list->n * sizeof *v);
        list->v = v;
        list->cap = cap;
    }
    list->v[list->n++] = n;
    jj_adopt(p, owner, n);
    return p->st == TK_OK;
}

bool jj_enter_parse(jj_parser *p)
{
    if (p->st != TK_OK) return false;
    if (++p->depth <= TK_LIMIT_TEMPLATE_DEPTH) return true;
    jj_parse_fail(p, p->tok->line, "nested deeper than %d levels", TK_LIMIT_TEMPLATE_DEPTH);
    return false;
}

bool jj_is(const jj_parser *p, uint8_t kind)
{
    return p->tok->kind == kind;
}

bool jj_is_name(const jj_parser *p, const char *name)
{
    return p->tok->kind == T_NAME && p->tok->len == strlen(name) &&
           memcmp(p->tok->p, name, p->tok->len) == 0;
}

void jj_next_tok(jj_parser *p)
{
    if (p->tok->kind != T_EOF) p->tok++;
}

bool jj_skip(jj_parser *p, uint8_t kind)
{
    if (p->st != TK_OK || !jj_is(p, kind)) return false;
    jj_next_tok(p);
    return true;
}

bool jj_skip_name(jj_parser *p, const char *name)
{
    if (p->st != TK_OK || !jj_is_name(p, name)) return false;
    jj_next_tok(p);
    return true;
}

static int shown(const jj_tok *t, const char **text)
{
    bool own = t->kind == T_NAME;
    *text = own ? t->p : jj_tok_describe(t->kind);
    return own ? (int)TK_MIN(t->len, 60) : (int)strlen(*text);
}

const jj_tok *jj_expect(jj_parser *p, uint8_t kind)
{
    const jj_tok *t = p->tok;
    if (p->st != TK_OK) return NULL;
    if (t->kind == kind) {
        jj_next_tok(p);
        return t;
    }
    const char *text;
    int n = shown(t, &text);
    return jj_parse_fail(p, t->line, "expected '%s', got '%.*s'", jj_tok_describe(kind), n, text);
}

// ---- literals --------------------------------------------------------------------------------------

static jj_val str_const(jj_parser *p, const char *s, size_t len)
{
    jj_str *o = tk_arena_alloc(p->a, sizeof *o);
    char *copy = o ? tk_arena_strndup(p->a, s, len) : NULL;
    if (copy == NULL) {
        no_memory(p);
        return jj_none();
    }
    *o = (jj_str){.p = copy, .len = len, .n_cp = SIZE_MAX};
    jj_cp_count(o); // here, because a template is shared between threads
    return (jj_val){.kind = JJ_STR, .u.s = o};
}

static bool add_cp(jj_parser *p, tk_buf *b, uint32_t cp, uint32_t line)
{
    char u[4];
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) {
        jj_parse_fail(p, line, "string escape of U+%04X, which is no character", cp);
        return false;
    }
    return tk_buf_add(b, u, tk_utf8_write(cp, u));
}

// The code behind a backslash's x, u or U; the number of digits is fixed.
static const char *add_hex(jj_parser *p, tk_buf *b, const char *s, const char *end, int n,
                           uint32_t line)
{
    uint32_t cp = 0;
    for (int i = 0; i < n; i++, s++) {
        int d = s < end ? (*s >= '0' && *s <= '9'   ? *s - '0'
                           : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10
                           : *s >= 'A' && *s <= 'F' ? *s - 'A' + 10
                                                    : -1)
                        : -1;
        if (d < 0) return jj_parse_fail(p, line, "a string escape needs %d hexadecimal digits", n);
        cp = cp << 4 | (uint32_t)d;
    }
    return add_cp(p, b, cp, line) ? s : NULL;
}

// s is behind the backslash; returns where to go on, NULL on failure.
static const char *add_escape(jj_parser *p, tk_buf *b, const char *s, const char *end,
                              uint32_t line)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    char c = *s++;
    const char *hit = c ? strchr(from, c) : NULL;
    if (hit) {
        tk_buf_add_char(b, to[hit - from]);
        return s;
    }
    if (c == '\n') return s;
    if (c >= '0' && c <= '7') {
        uint32_t cp = (uint32_t)(c - '0');
        for (int i = 0; i < 2 && s < end && *s >= '0' && *s <= '7'; i++)
            cp = cp * 8 + (uint32_t)(*s++ - '0');
        return add_cp(p, b, cp, line) ? s : NULL;
    }
    if (c == 'x') return add_hex(p, b, s, end, 2, line);
    if (c == 'u') return add_hex(p, b, s, end, 4, line);
    if (c == 'U') return add_hex(p, b, s, end, 8, line);
    if (c == 'N') return jj_parse_fail(p, line, "\\N{...} in a string is not supported");
    tk_buf_add_char(b, '\\');
    if ((unsigned char)c < 0x80) {
        tk_buf_add_char(b, c);
        return s;
    }
    // Python writes the character as an escape first, whose backslash this one then quotes.
    size_t pos = 0;
    uint32_t cp = jj_cp_next(s - 1, (size_t)(end - s + 1), &pos);
    tk_buf_addf(b, cp < 0x100 ? "x%02x" : cp < 0x10000 ? "u%04x" : "U%08x", cp);
    return s - 1 + pos;
}

static jj_node *parse_string(jj_parser *p)
{
    uint32_t line = p->tok->line;
    tk_buf b = tk_buf_make(TK_LIMIT_TEMPLATE_BYTES);
    while (p->st == TK_OK && jj_is(p, T_STRING)) {
        const char *s = p->tok->p + 1, *end = p->tok->p + p->tok->len - 1;
        while (s && s < end) {
            const char *bs = memchr(s, '\\', (size_t)(end - s));
            tk_buf_add(&b, s, (size_t)((bs ? bs : end) - s));
            s = bs ? add_escape(p, &b, bs + 1, end, line) : end;
        }
        jj_next_tok(p);
    }
    jj_node *n = p->st == TK_OK ? jj_new(p, N_CONST, line) : NULL;
    if (n) n->val = str_const(p, tk_buf_str(&b), b.len);
    tk_buf_free(&b);
    return n;
}

static jj_node *parse_number(jj_parser *p)
{
    const jj_tok *t = p->tok;
    jj_node *n = jj_new(p, N_CONST, t->line);
    if (n == NULL) return NULL;
    bool overflow = false;
    int64_t i = 0;
    double f = 0;
    if (t->kind == T_FLOAT) {
        jj_parse_float(t->p, t->len, &f);
        n->val = jj_float(f);
    } else if (jj_parse_int(t->p, t->len, 0, &i, &overflow)) {
        n->val = jj_int(i);
    } else {
        return jj_parse_fail(p, t->line, "integer %.*s does not fit in 64 bits",
                             (int)TK_MIN(t->len, 40), t->p);
    }
    jj_next_tok(p);
    return n;
}

static jj_node *parse_name(jj_parser *p, bool with_ns)
{
    const jj_tok *t = p->tok;
    static const struct {
        const char *name;
        jj_val v;
    } consts[] = {
        {"true", {.kind = JJ_BOOL, .u.b = true}},
        {"True", {.kind = JJ_BOOL, .u.b = true}},
        {"false", {.kind = JJ_BOOL, .u.b = false}},
        {"False", {.kind = JJ_BOOL, .u.b = false}},
        {"none", {.kind = JJ_NONE}},
        {"None", {.kind = JJ_NONE}},
    };
    for (size_t i = 0; i < TK_COUNT(consts); i++)
        if (jj_is_name(p, consts[i].name)) {
            jj_node *n = jj_new(p, N_CONST, t->line);
            if (n) n->val = consts[i].v;
            jj_next_tok(p);
            return n;
        }
    jj_next_tok(p);
    jj_node *n = jj_new(p, N_NAME, t->line);
    if (n == NULL) return NULL;
    n->name = jj_intern(p, t->p, t->len);
    if (with_ns && jj_skip(p, T_DOT)) {
        const jj_tok *attr = jj_expect(p, T_NAME);
        if (attr == NULL) return NULL;
        n->kind = N_NSREF;
        n->val = str_const(p, attr->p, attr->len);
    }
    return n;
}

static jj_node *parse_list(jj_parser *p)
{
    jj_node *n = jj_new(p, N_LIST, p->tok->line);
    jj_next_tok(p);
    while (n && p->st == TK_OK && !jj_is(p, T_RBRACKET)) {
        if (n->list.n && !jj_expect(p, T_COMMA)) return NULL;
        if (jj_is(p, T_RBRACKET)) break;
        if (!jj_push(p, n, &n->list, jj_parse_expr(p, true))) return NULL;
    }
    return jj_expect(p, T_RBRACKET) ? n : NULL;
}

static jj_node *parse_dict(jj_parser *p)
{
    jj_node *n = jj_new(p, N_DICT, p->tok->line);
    jj_next_tok(p);
    while (n && p->st == TK_OK && !jj_is(p, T_RBRACE)) {
        if (n->list.n && !jj_expect(p, T_COMMA)) return NULL;
        if (jj_is(p, T_RBRACE)) break;
        jj_node *pair = jj_new(p, N_PAIR, p->tok->line);
        if (pair == NULL) return NULL;
        pair->a = jj_parse_expr(p, true);
        if (pair->a == NULL || !jj_expect(p, T_COLON)) return NULL;
        pair->b = jj_parse_expr(p, true);
        if (pair->b == NULL) return NULL;
        jj_adopt(p, pair, pair->a);
        jj_adopt(p, pair, pair->b);
        if (!jj_push(p, n, &n->list, pair)) return NULL;
    }
    return jj_expect(p, T_RBRACE) ? n : NULL;
}

static jj_node *parse_primary(jj_parser *p, bool with_ns)
{
    if (p->st != TK_OK) return NULL;
    switch (p->tok->kind) {
    case T_NAME: return parse_name(p, with_ns);
    case T_STRING: return parse_string(p);
    case T_INTEGER:
    case T_FLOAT: return parse_number(p);
    case T_LBRACKET: return parse_list(p);
    case T_LBRACE: return parse_dict(p);
    case T_LPAREN: {
        jj_next_tok(p);
        jj_node *n = jj_parse_tuple(p, true, true);
        return n && jj_expect(p, T_RPAREN) ? n : NULL;
    }
    default: break;
    }
    const char *text;
    int n = shown(p->tok, &text);
    return jj_parse_fail(p, p->tok->line, "an expression was expected, got '%.*s'", n, text);
}

// jinja2 means a name ("in", "recursive") to end a tuple too, but its check never fires.
static bool tuple_ends(const jj_parser *p)
{
    return jj_is(p, T_VAR_END) || jj_is(p, T_BLOCK_END) || jj_is(p, T_RPAREN);
}

// simplified: targets, made of primaries only.
static jj_node *tuple(jj_parser *p, bool simplified, bool with_ns, bool with_cond, bool parens)
{
    jj_node *t = jj_new(p, N_TUPLE, p->tok->line);
    if (t == NULL || !jj_enter_parse(p)) return NULL;
    bool is_tuple = false;
    for (;;) {
        if (t->list.n && !jj_expect(p, T_COMMA)) return NULL;
        if (tuple_ends(p)) break;
        jj_node *n = simplified ? parse_primary(p, with_ns) : jj_parse_expr(p, with_cond);
        if (!jj_push(p, t, &t->list, n)) return NULL;
        if (!jj_is(p, T_COMMA)) break;
        is_tuple = true;
    }
    p->depth--;
    if (is_tuple) return t;
    if (t->list.n) return t->list.v[0];
    if (parens) return t;
    const char *text;
    int n = shown(p->tok, &text);
    return jj_parse_fail(p, p->tok->line, "an expression was expected, got '%.*s'", n, text);
}

jj_node *jj_parse_tuple(jj_parser *p, bool with_cond, bool parens)
{
    return tuple(p, false, false, with_cond, parens);
}

static bool can_assign(const jj_node *n)
{
    if (n->kind == N_NAME || n->kind == N_NSREF) return true;
    if (n->kind != N_TUPLE) return false;
    for (uint32_t i = 0; i < n->list.n; i++)
        if (!can_assign(n->list.v[i])) return false;
    return true;
}

jj_node *jj_parse_target(jj_parser *p, bool name_only, bool with_ns)
{
    jj_node *n;
    if (name_only) {
        if (!jj_is(p, T_NAME)) {
            jj_expect(p, T_NAME);
            return NULL;
        }
        n = parse_name(p, false);
    } else {
        n = tuple(p, true, with_ns, true, false);
    }
    if (n && !can_assign(n)) return jj_parse_fail(p, n->line, "cannot assign to this expression");
    return n;
}

// ---- postfix: subscripts, calls, filters, tests -------------------------------------------------------

static jj_node *parse_subscribed(jj_parser *p)
{
    jj_node *part[3] = {NULL, NULL, NULL};
    uint32_t line = p->tok->line;
    if (!jj_is(p, T_COLON)) {
        part[0] = jj_parse_expr(p, true);
        if (part[0] == NULL || !jj_is(p, T_COLON)) return part[0];
    }
    for (int i = 1; i < 3 && jj_skip(p, T_COLON); i++) {
        if (jj_is(p, T_COLON) || jj_is(p, T_RBRACKET) || jj_is(p, T_COMMA)) continue;
        part[i] = jj_parse_expr(p, true);
        if (part[i] == NULL) return NULL;
    }
    jj_node *n = jj_new(p, N_SLICE, line);
    if (n == NULL) return NULL;
    n->a = part[0];
    n->b = part[1];
    n->c = part[2];
    for (int i = 0; i < 3; i++) jj_adopt(p, n, part[i]);
    return n;
}

static jj_node *parse_subscript(jj_parser *p, jj_node *o)
{
    uint32_t line = p->tok->line;
    bool dot = jj_is(p, T_DOT);
    jj_next_tok(p);
    jj_node *n = jj_new(p, N_GETITEM, line);
    if (n == NULL) return NULL;
    n->a = o;
    jj_adopt(p, n, o);
    if (dot && jj_is(p, T_NAME)) {
        n->kind = N_GETATTR;
        n->name = jj_intern(p, p->tok->p, p->tok->len);
        jj_next_tok(p);
        return n;
    }
    if (dot) {
        if (!jj_is(p, T_INTEGER))
            return jj_parse_fail(p, line, "a name or number was expected after '.'");
        n->b = parse_number(p);
        return n->b ? n : NULL;
    }
    jj_node *t = jj_new(p, N_TUPLE, line);
    while (t && p->st == TK_OK && !jj_is(p, T_RBRACKET)) {
        if (t->list.n && !jj_expect(p, T_COMMA)) return NULL;
        if (!jj_push(p, t, &t->list, parse_subscribed(p))) return NULL;
    }
    if (t == NULL || !jj_expect(p, T_RBRACKET)) return NULL;
    n->b = t->list.n == 1 ? t->list.v[0] : t;
    jj_adopt(p, n, n->b);
    return n;
}

static jj_node *bad_args(jj_parser *p, uint32_t line)
{
    return jj_parse_fail(p, line, "invalid syntax for function call expression");
}

static bool parse_one_arg(jj_parser *p, jj_node *n, uint32_t line)
{
    if (jj_skip(p, T_MUL)) {
        if (n->b || n->c) return bad_args(p, line) != NULL;
        n->b = jj_parse_expr(p, true);
        jj_adopt(p, n, n->b);
        return n->b != NULL;
    }
    if (jj_skip(p, T_POW)) {
        if (n->c) return bad_args(p, line) != NULL;
        n->c = jj_parse_expr(p, true);
        jj_adopt(p, n, n->c);
        return n->c != NULL;
    }
    if (jj_is(p, T_NAME) && p->tok[1].kind == T_ASSIGN) {
        if (n->c) return bad_args(p, line) != NULL;
        jj_node *kw = jj_new(p, N_KW, p->tok->line);
        if (kw == NULL) return false;
        kw->name = jj_intern(p, p->tok->p, p->tok->len);
        jj_next_tok(p);
        jj_next_tok(p);
        for (uint32_t i = 0; i < n->kw.n; i++)
            if (n->kw.v[i]->name == kw->name)
                return jj_parse_fail(p, line, "keyword argument repeated: %.*s", (int)kw->name->len,
                                     kw->name->p) != NULL;
        kw->a = jj_parse_expr(p, true);
        jj_adopt(p, kw, kw->a);
        return kw->a && jj_push(p, n, &n->kw, kw);
    }
    if (n->b || n->c || n->kw.n) return bad_args(p, line) != NULL;
    return jj_push(p, n, &n->list, jj_parse_expr(p, true));
}

static bool parse_args(jj_parser *p, jj_node *n)
{
    uint32_t line = p->tok->line;
    if (!jj_expect(p, T_LPAREN)) return false;
    bool comma = false;
    while (p->st == TK_OK && !jj_is(p, T_RPAREN)) {
        if (comma && !jj_expect(p, T_COMMA)) return false;
        if (comma && jj_is(p, T_RPAREN)) break;
        if (!parse_one_arg(p, n, line)) return false;
        comma = true;
    }
    return jj_expect(p, T_RPAREN) != NULL;
}

static jj_node *parse_call(jj_parser *p, jj_node *o)
{
    jj_node *n = jj_new(p, N_CALL, p->tok->line);
    if (n == NULL) return NULL;
    n->a = o;
    jj_adopt(p, n, o);
    return parse_args(p, n) ? n : NULL;
}

static jj_node *parse_postfix(jj_parser *p, jj_node *n)
{
    while (n && p->st == TK_OK) {
        if (jj_is(p, T_DOT) || jj_is(p, T_LBRACKET))
            n = parse_subscript(p, n);
        else if (jj_is(p, T_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

// name or name.name...
static bool dotted_name(jj_parser *p, char *out, size_t cap, size_t *len)
{
    *len = 0;
    do {
        const jj_tok *t = jj_expect(p, T_NAME);
        if (t == NULL) return false;
        if (*len + t->len + 2 > cap) return jj_parse_fail(p, t->line, "name is too long") != NULL;
        if (*len) out[(*len)++] = '.';
        memcpy(out + *len, t->p, t->len);
        *len += t->len;
    } while (jj_skip(p, T_DOT));
    return true;
}

jj_node *jj_parse_filters(jj_parser *p, jj_node *node, bool start_inline)
{
    while (p->st == TK_OK && (start_inline || jj_is(p, T_PIPE))) {
        if (!start_inline) jj_next_tok(p);
        start_inline = false;
        char name[128];
        size_t len;
        jj_node *n = jj_new(p, N_FILTER, p->tok->line);
        if (n == NULL || !dotted_name(p, name, sizeof name, &len)) return NULL;
        n->a = node;
        jj_adopt(p, n, node);
        n->name = jj_intern(p, name, len);
        n->func = jj_find_filter(name, len);
        if (jj_is(p, T_LPAREN) && !parse_args(p, n)) return NULL;
        node = n;
    }
    return p->st == TK_OK ? node : NULL;
}

static bool test_arg_follows(const jj_parser *p)
{
    switch (p->tok->kind) {
    case T_NAME: return !jj_is_name(p, "else") && !jj_is_name(p, "or") && !jj_is_name(p, "and");
    case T_STRING:
    case T_INTEGER:
    case T_FLOAT:
    case T_LBRACKET:
    case T_LBRACE: return true;
    default: return false;
    }
}

static jj_node *parse_test(jj_parser *p, jj_node *o)
{
    uint32_t line = p->tok->line;
    jj_next_tok(p);
    bool negated = jj_skip_name(p, "not");
    char name[128];
    size_t len;
    jj_node *n = jj_new(p, N_TEST, line);
    if (n == NULL || !dotted_name(p, name, sizeof name, &len)) return NULL;
    n->a = o;
    jj_adopt(p, n, o);
    n->name = jj_intern(p, name, len);
    n->func = jj_find_test(name, len);
    if (jj_is(p, T_LPAREN)) {
        if (!parse_args(p, n)) return NULL;
    } else if (test_arg_follows(p)) {
        if (jj_is_name(p, "is"))
            return jj_parse_fail(p, line, "multiple tests with 'is' cannot be chained");
        jj_node *arg = parse_postfix(p, parse_primary(p, false));
        if (!jj_push(p, n, &n->list, arg)) return NULL;
    }
    if (!negated) return n;
    jj_node *not = jj_new(p, N_NOT, line);
    if (not == NULL) return NULL;
    not ->a = n;
    jj_adopt(p, not, n);
    return not ;
}

// ---- operators, lowest binding last --------------------------------------------------------------------

static jj_node *binary(jj_parser *p, jj_node_kind kind, uint8_t op, jj_node *a, jj_node *b)
{
    if (a == NULL || b == NULL) return NULL;
    jj_node *n = jj_new(p, kind, a->line);
    if (n == NULL) return NULL;
    n->op = op;
    n->a = a;
    n->b = b;
    jj_adopt(p, n, a);
    jj_adopt(p, n, b);
    return p->st == TK_OK ? n : NULL;
}

static jj_node *parse_unary(jj_parser *p, bool with_filter)
{
    if (!jj_enter_parse(p)) return NULL;
    uint8_t kind = p->tok->kind;
    uint32_t line = p->tok->line;
    jj_node *n;
    if (kind == T_SUB || kind == T_ADD) {
        jj_next_tok(p);
        jj_node *a = parse_unary(p, false);
        n = a ? jj_new(p, kind == T_SUB ? N_NEG : N_POS, line) : NULL;
        if (n) {
            n->a = a;
            jj_adopt(p, n, a);
        }
    } else {
        n = parse_primary(p, false);
    }
    n = parse_postfix(p, n);
    while (with_filter && n && p->st == TK_OK) {
        if (jj_is(p, T_PIPE))
            n = jj_parse_filters(p, n, false);
        else if (jj_is_name(p, "is"))
            n = parse_test(p, n);
        else if (jj_is(p, T_LPAREN))
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return p->st == TK_OK ? n : NULL;
}

static jj_node *parse_pow(jj_parser *p)
{
    jj_node *n = parse_unary(p, true);
    while (n && jj_skip(p, T_POW)) n = binary(p, N_BIN, OP_POW, n, parse_unary(p, true));
    return n;
}

static jj_node *parse_math2(jj_parser *p)
{
    jj_node *n = parse_pow(p);
    while (n && p->st == TK_OK) {
        uint8_t op;
        switch (p->tok->kind) {
        case T_MUL: op = OP_MUL; break;
        case T_DIV: op = OP_DIV; break;
        case T_FLOORDIV: op = OP_FLOORDIV; break;
        case T_MOD: op = OP_MOD; break;
        default: return n;
        }
        jj_next_tok(p);
        n = binary(p, N_BIN, op, n, parse_pow(p));
    }
    return n;
}

static jj_node *parse_concat(jj_parser *p)
{
    jj_node *first = parse_math2(p);
    if (first == NULL || !jj_is(p, T_TILDE)) return first;
    jj_node *n = jj_new(p, N_CONCAT, first->line);
    if (n == NULL || !jj_push(p, n, &n->list, first)) return NULL;
    while (jj_skip(p, T_TILDE))
        if (!jj_push(p, n, &n->list, parse_math2(p))) return NULL;
    return n;
}

static jj_node *parse_math1(jj_parser *p)
{
    jj_node *n = parse_concat(p);
    while (n && p->st == TK_OK && (jj_is(p, T_ADD) || jj_is(p, T_SUB))) {
        uint8_t op = jj_is(p, T_ADD) ? OP_ADD : OP_SUB;
        jj_next_tok(p);
        n = binary(p, N_BIN, op, n, parse_concat(p));
    }
    return n;
}

// The comparison at the current token, consumed; -1 when there is none.
static int compare_op(jj_parser *p)
{
    static const int8_t ops[T_SEMICOLON + 1] = {
        [T_EQ] = OP_EQ + 1, [T_NE] = OP_NE + 1, [T_LT] = OP_LT + 1,
        [T_LE] = OP_LE + 1, [T_GT] = OP_GT + 1, [T_GE] = OP_GE + 1};
    if (ops[p->tok->kind]) {
        int op = ops[p->tok->kind] - 1;
        jj_next_tok(p);
        return op;
    }
    if (jj_skip_name(p, "in")) return OP_IN;
    if (jj_is_name(p, "not") && p->tok[1].kind == T_NAME && p->tok[1].len == 2 &&
        memcmp(p->tok[1].p, "in", 2) == 0) {
        jj_next_tok(p);
        jj_next_tok(p);
        return OP_NOTIN;
    }
    return -1;
}

static jj_node *parse_compare(jj_parser *p)
{
    jj_node *first = parse_math1(p);
    if (first == NULL || p->st != TK_OK) return NULL;
    int op = compare_op(p);
    if (op < 0) return first;
    jj_node *n = jj_new(p, N_COMPARE, first->line);
    if (n == NULL) return NULL;
    n->a = first;
    jj_adopt(p, n, first);
    for (; op >= 0; op = compare_op(p)) {
        jj_node *o = jj_new(p, N_OPERAND, p->tok->line);
        if (o == NULL) return NULL;
        o->op = (uint8_t)op;
        o->a = parse_math1(p);
        if (o->a == NULL) return NULL;
        jj_adopt(p, o, o->a);
        if (!jj_push(p, n, &n->list, o)) return NULL;
    }
    return n;
}

static jj_node *parse_not(jj_parser *p)
{
    uint32_t line = p->tok->line;
    if (!jj_is_name(p, "not")) return parse_compare(p);
    if (!jj_enter_parse(p)) return NULL;
    jj_next_tok(p);
    jj_node *a = parse_not(p);
    jj_node *n = a ? jj_new(p, N_NOT, line) : NULL;
    if (n == NULL) return NULL;
    n->a = a;
    jj_adopt(p, n, a);
    p->depth--;
    return n;
}

static jj_node *parse_and(jj_parser *p)
{
    jj_node *n = parse_not(p);
    while (n && jj_skip_name(p, "and")) n = binary(p, N_AND, 0, n, parse_not(p));
    return n;
}

static jj_node *parse_or(jj_parser *p)
{
    jj_node *n = parse_and(p);
    while (n && jj_skip_name(p, "or")) n = binary(p, N_OR, 0, n, parse_and(p));
    return n;
}

jj_node *jj_parse_expr(jj_parser *p, bool with_cond)
{
    if (!jj_enter_parse(p)) return NULL;
    jj_node *n = parse_or(p);
    while (with_cond && n && jj_skip_name(p, "if")) {
        jj_node *c = jj_new(p, N_COND, n->line);
        if (c == NULL) return NULL;
        c->b = n;
        c->a = parse_or(p);
        if (c->a == NULL) return NULL;
        if (jj_skip_name(p, "else") && (c->c = jj_parse_expr(p, true)) == NULL) return NULL;
        jj_adopt(p, c, c->a);
        jj_adopt(p, c, c->b);
        jj_adopt(p, c, c->c);
        n = c;
    }
    p->depth--;
    return p->st == TK_OK ? n : NULL;
}
