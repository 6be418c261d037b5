// SPDX-License-Identifier: MIT
// Statements (the second half of jinja2's parser.py, with its loop controls and transformers' generation
// tag). Fields used: DATA val; OUTPUT a; FOR a = target, b = iterable, c = test, flag = recursive, body, els;
// IF list of IF(a = test, body) for the elifs, a, body, els; SET a, b; SETBLOCK a, b = filter, body; WITH
// list of targets, kw of values, body; MACRO name, list of parameters, kw of their last defaults, body;
// CALLBLOCK the same and a = call; GENERATION body; FILTERBLOCK a = filter, body; BLOCK name, body, c = the block before;
// SCOPE body; AUTOESCAPE a, body; UNSUPPORTED name.
#include "text/jinja_int.h"

#include <string.h>

static bool statements(jj_parser *p, jj_node *owner, jj_nodes *body, const char *const *ends);

static const char *const end_for[] = {"endfor", NULL};
static const char *const end_for_else[] = {"endfor", "else", NULL};
static const char *const end_if[] = {"endif", NULL};
static const char *const end_if_else[] = {"elif", "else", "endif", NULL};

// The body up to one of ends, which becomes the current token; consumed when it is the only one.
static bool body_until(jj_parser *p, jj_node *owner, jj_nodes *body, const char *const *ends)
{
    jj_skip(p, T_COLON);
    if (!jj_expect(p, T_BLOCK_END) || !statements(p, owner, body, ends)) return false;
    if (jj_is(p, T_EOF)) {
        jj_parse_fail(p, p->tok->line, "unexpected end of template, expected '%s'", ends[0]);
        return false;
    }
    if (ends[1] == NULL) jj_next_tok(p);
    return true;
}

// jinja2 refuses `loop` as a target anywhere inside a for loop.
static bool stores_loop(jj_parser *p, const jj_node *target)
{
    bool hit = target->kind == N_NAME && target->name == jj_intern(p, "loop", 4);
    for (uint32_t i = 0; !hit && i < target->list.n; i++) hit = stores_loop(p, target->list.v[i]);
    if (hit) jj_parse_fail(p, target->line, "inside a for loop, loop cannot be assigned to");
    return hit;
}

static jj_node *parse_for(jj_parser *p, jj_node *n)
{
    n->name = jj_intern(p, "loop", 4);
    n->a = jj_parse_target(p, false, false);
    if (n->a == NULL || stores_loop(p, n->a)) return NULL;
    if (!jj_skip_name(p, "in"))
        return jj_parse_fail(p, p->tok->line, "expected 'in' after the loop's target");
    n->b = jj_parse_tuple(p, false, false);
    if (n->b == NULL) return NULL;
    if (jj_skip_name(p, "if") && (n->c = jj_parse_expr(p, true)) == NULL) return NULL;
    n->flag = jj_skip_name(p, "recursive");
    p->loop_depth++;
    p->n_for++;
    bool ok = body_until(p, n, &n->body, end_for_else);
    p->loop_depth--;
    bool with_else = ok && jj_is_name(p, "else");
    jj_next_tok(p);
    ok = ok && (!with_else || body_until(p, n, &n->els, end_for));
    p->n_for--;
    if (!ok) return NULL;
    jj_adopt(p, n, n->b);
    jj_adopt(p, n, n->c);
    return n;
}

static jj_node *parse_if(jj_parser *p, jj_node *n)
{
    jj_node *part = n;
    for (;;) {
        part->a = jj_parse_tuple(p, false, false);
        if (part->a == NULL || !body_until(p, part, &part->body, end_if_else)) return NULL;
        jj_adopt(p, part, part->a);
        if (part != n && !jj_push(p, n, &n->list, part)) return NULL;
        uint32_t line = p->tok->line;
        if (jj_skip_name(p, "elif")) {
            part = jj_new(p, N_IF, line);
            if (part == NULL) return NULL;
            continue;
        }
        bool with_else = jj_is_name(p, "else");
        jj_next_tok(p);
        if (with_else && !body_until(p, n, &n->els, end_if)) return NULL;
        return n;
    }
}

static jj_node *parse_set(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endset", NULL};
    n->a = jj_parse_target(p, false, true);
    if (n->a == NULL || (p->n_for && stores_loop(p, n->a))) return NULL;
    if (jj_skip(p, T_ASSIGN)) {
        n->b = jj_parse_tuple(p, true, false);
        jj_adopt(p, n, n->b);
        return n->b ? n : NULL;
    }
    n->kind = N_SETBLOCK;
    n->b = jj_parse_filters(p, NULL, false);
    jj_adopt(p, n, n->b);
    return p->st == TK_OK && body_until(p, n, &n->body, ends) ? n : NULL;
}

static jj_node *parse_with(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endwith", NULL};
    while (p->st == TK_OK && !jj_is(p, T_BLOCK_END)) {
        if (n->list.n && !jj_expect(p, T_COMMA)) return NULL;
        jj_node *target = jj_parse_target(p, false, false);
        if (!jj_push(p, n, &n->list, target) || !jj_expect(p, T_ASSIGN)) return NULL;
        if (!jj_push(p, n, &n->kw, jj_parse_expr(p, true))) return NULL;
    }
    return p->st == TK_OK && body_until(p, n, &n->body, ends) ? n : NULL;
}

static bool parse_signature(jj_parser *p, jj_node *n)
{
    if (!jj_expect(p, T_LPAREN)) return false;
    while (p->st == TK_OK && !jj_is(p, T_RPAREN)) {
        if (n->list.n && !jj_expect(p, T_COMMA)) return false;
        jj_node *arg = jj_parse_target(p, true, false);
        if (arg == NULL) return false;
        for (uint32_t i = 0; i < n->list.n; i++)
            if (n->list.v[i]->name == arg->name)
                return jj_parse_fail(p, arg->line, "parameter '%.*s' is there twice",
                                     (int)arg->name->len, arg->name->p) != NULL;
        if (jj_skip(p, T_ASSIGN)) {
            if (!jj_push(p, n, &n->kw, jj_parse_expr(p, true))) return false;
        } else if (n->kw.n) {
            return jj_parse_fail(p, arg->line, "non-default argument follows default argument") !=
                   NULL;
        }
        if (!jj_push(p, n, &n->list, arg)) return false;
    }
    return jj_expect(p, T_RPAREN) != NULL;
}

// A body that is a function of its own: no break leaves it.
static bool function_body(jj_parser *p, jj_node *n, const char *const *ends)
{
    int loops = p->loop_depth;
    p->loop_depth = 0;
    bool ok = body_until(p, n, &n->body, ends);
    p->loop_depth = loops;
    return ok;
}

static jj_node *parse_macro(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endmacro", NULL};
    jj_node *name = jj_parse_target(p, true, false);
    if (name == NULL) return NULL;
    n->name = name->name;
    return parse_signature(p, n) && function_body(p, n, ends) ? n : NULL;
}

static jj_node *parse_call_block(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endcall", NULL};
    if (jj_is(p, T_LPAREN) && !parse_signature(p, n)) return NULL;
    n->a = jj_parse_expr(p, true);
    if (n->a == NULL) return NULL;
    if (n->a->kind != N_CALL) return jj_parse_fail(p, n->line, "expected a call after 'call'");
    jj_adopt(p, n, n->a);
    return function_body(p, n, ends) ? n : NULL;
}

static jj_node *parse_generation(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endgeneration", NULL};
    return function_body(p, n, ends) ? n : NULL;
}

static jj_node *parse_filter_block(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endfilter", NULL};
    n->a = jj_parse_filters(p, NULL, true);
    jj_adopt(p, n, n->a);
    return n->a && body_until(p, n, &n->body, ends) ? n : NULL;
}

static jj_node *parse_block(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endblock", NULL};
    const jj_tok *t = jj_expect(p, T_NAME);
    if (t == NULL) return NULL;
    n->name = jj_intern(p, t->p, t->len);
    for (const jj_node *b = p->blocks; b; b = b->c)
        if (b->name == n->name)
            return jj_parse_fail(p, n->line, "block '%.*s' defined twice", (int)TK_MIN(t->len, 100),
                                 t->p);
    n->c = p->blocks;
    p->blocks = n;
    n->flag = jj_skip_name(p, "scoped");
    jj_skip_name(p, "required");
    if (n->name == NULL || !function_body(p, n, ends)) return NULL;
    if (jj_is(p, T_NAME) && p->tok->len == n->name->len &&
        memcmp(p->tok->p, n->name->p, p->tok->len) == 0)
        jj_next_tok(p);
    return n;
}

static jj_node *parse_autoescape(jj_parser *p, jj_node *n)
{
    static const char *const ends[] = {"endautoescape", NULL};
    n->a = jj_parse_expr(p, true);
    if (n->a == NULL) return NULL;
    jj_adopt(p, n, n->a);
    return body_until(p, n, &n->body, ends) ? n : NULL;
}

static jj_node *parse_print(jj_parser *p, jj_node *n)
{
    while (p->st == TK_OK && !jj_is(p, T_BLOCK_END)) {
        if (n->body.n && !jj_expect(p, T_COMMA)) return NULL;
        jj_node *o = jj_new(p, N_OUTPUT, p->tok->line);
        if (o == NULL) return NULL;
        o->a = jj_parse_expr(p, true);
        if (o->a == NULL) return NULL;
        jj_adopt(p, o, o->a);
        if (!jj_push(p, n, &n->body, o)) return NULL;
    }
    return p->st == TK_OK ? n : NULL;
}

// break and continue.
static jj_node *parse_control(jj_parser *p, jj_node *n)
{
    if (p->loop_depth == 0)
        return jj_parse_fail(p, n->line, "'%s' outside of a loop",
                             n->kind == N_BREAK ? "break" : "continue");
    return n;
}

// Needs a loader: an error where it is reached, as in jinja2 without one. The rest of the tag is skipped.
static jj_node *parse_unsupported(jj_parser *p, jj_node *n)
{
    n->name = jj_intern(p, p->tok[-1].p, p->tok[-1].len);
    if (jj_is(p, T_BLOCK_END)) return jj_parse_fail(p, n->line, "a template name was expected");
    while (!jj_is(p, T_BLOCK_END) && !jj_is(p, T_EOF)) jj_next_tok(p);
    return n->name ? n : NULL;
}

static const struct {
    const char *name;
    jj_node_kind kind;
    jj_node *(*parse)(jj_parser *p, jj_node *n);
} tags[] = {
    {"for", N_FOR, parse_for},
    {"if", N_IF, parse_if},
    {"set", N_SET, parse_set},
    {"with", N_WITH, parse_with},
    {"macro", N_MACRO, parse_macro},
    {"call", N_CALLBLOCK, parse_call_block},
    {"generation", N_GENERATION, parse_generation},
    {"filter", N_FILTERBLOCK, parse_filter_block},
    {"block", N_BLOCK, parse_block},
    {"autoescape", N_AUTOESCAPE, parse_autoescape},
    {"print", N_SCOPE, parse_print},
    {"break", N_BREAK, parse_control},
    {"continue", N_CONTINUE, parse_control},
    {"include", N_UNSUPPORTED, parse_unsupported},
    {"import", N_UNSUPPORTED, parse_unsupported},
    {"from", N_UNSUPPORTED, parse_unsupported},
    {"extends", N_UNSUPPORTED, parse_unsupported},
};

static jj_node *parse_statement(jj_parser *p, const char *const *ends)
{
    const jj_tok *t = p->tok;
    if (t->kind != T_NAME) return jj_parse_fail(p, t->line, "tag name expected");
    for (size_t i = 0; i < TK_COUNT(tags); i++) {
        if (!jj_is_name(p, tags[i].name)) continue;
        jj_next_tok(p);
        jj_node *n = jj_new(p, tags[i].kind, t->line);
        return n ? tags[i].parse(p, n) : NULL;
    }
    int len = (int)TK_MIN(t->len, 60);
    if (ends)
        return jj_parse_fail(p, t->line, "encountered unknown tag '%.*s', looking for '%s'", len,
                             t->p, ends[0]);
    return jj_parse_fail(p, t->line, "encountered unknown tag '%.*s'", len, t->p);
}

static bool at_end_tag(const jj_parser *p, const char *const *ends)
{
    for (; ends && *ends; ends++)
        if (jj_is_name(p, *ends)) return true;
    return false;
}

static jj_node *data_node(jj_parser *p)
{
    jj_node *n = jj_new(p, N_DATA, p->tok->line);
    jj_str *s = n ? tk_arena_alloc(p->a, sizeof *s) : NULL;
    char *copy = s ? tk_arena_strndup(p->a, p->tok->p, p->tok->len) : NULL;
    if (copy == NULL) return jj_parse_fail(p, p->tok->line, "the template needs too much memory");
    *s = (jj_str){.p = copy, .len = p->tok->len, .n_cp = SIZE_MAX};
    n->val = (jj_val){.kind = JJ_STR, .u.s = s};
    jj_next_tok(p);
    return n;
}

static jj_node *output_node(jj_parser *p)
{
    jj_node *n = jj_new(p, N_OUTPUT, p->tok->line);
    jj_next_tok(p);
    if (n == NULL) return NULL;
    n->a = jj_parse_tuple(p, true, false);
    jj_adopt(p, n, n->a);
    return n->a && jj_expect(p, T_VAR_END) ? n : NULL;
}

static bool statements(jj_parser *p, jj_node *owner, jj_nodes *body, const char *const *ends)
{
    if (!jj_enter_parse(p)) return false;
    while (p->st == TK_OK && !jj_is(p, T_EOF)) {
        jj_node *n;
        if (jj_is(p, T_DATA)) {
            n = data_node(p);
        } else if (jj_is(p, T_VAR_BEGIN)) {
            n = output_node(p);
        } else {
            jj_next_tok(p); // T_BLOCK_BEGIN
            if (at_end_tag(p, ends)) break;
            n = parse_statement(p, ends);
            if (n && !jj_expect(p, T_BLOCK_END)) return false;
        }
        if (!jj_push(p, owner, body, n)) return false;
    }
    p->depth--;
    return p->st == TK_OK;
}

jj_node *jj_parse_template(jj_parser *p)
{
    jj_node *n = jj_new(p, N_SCOPE, 1);
    if (n == NULL || !statements(p, n, &n->body, NULL)) return NULL;
    n->c = p->blocks;
    return n;
}
