// SPDX-License-Identifier: MIT
// Which names belong to which scope, and what they hold on entry: jinja2 decides this before it runs a
// template (idtracking.py), and templates see it. A name stored anywhere in a scope belongs to the scope from
// its beginning: `{% for %}{{ x }}{% set x = 1 %}{% endfor %}` starts each round with the outer x (ALIAS);
// stored in a branch only, it starts with the context's x (RESOLVE); stored without condition and unknown
// outside, it starts without a value (UNDEF), even where the context has an x.
#include "text/jinja_int.h"

#include <string.h>

typedef struct walk {
    tk_arena *a;
    bool failed;
    jj_syms *s;
    int branch; // inside so many ifs of this scope
} walk;

static size_t find(const jj_syms *s, const jj_str *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->name[i] == name) return i;
    return SIZE_MAX;
}

static bool known(const jj_syms *s, const jj_str *name)
{
    for (; s; s = s->parent)
        if (find(s, name) != SIZE_MAX) return true;
    return false;
}

static size_t define(walk *w, const jj_str *name, jj_load load)
{
    jj_syms *s = w->s;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 8;
        const jj_str **names = tk_arena_alloc(w->a, cap * sizeof(jj_str *));
        uint8_t *loads = tk_arena_alloc(w->a, cap), *stored = tk_arena_alloc(w->a, cap);
        if (!names || !loads || !stored) {
            w->failed = true;
            return SIZE_MAX;
        }
        if (s->n) {
            memcpy(names, s->name, s->n * sizeof(jj_str *));
            memcpy(loads, s->load, s->n);
            memcpy(stored, s->stored, s->n);
        }
        s->name = names;
        s->load = loads;
        s->stored = stored;
        s->cap = cap;
    }
    s->name[s->n] = name;
    s->load[s->n] = (uint8_t)load;
    s->stored[s->n] = 0;
    return s->n++;
}

static void load(walk *w, const jj_str *name)
{
    if (!known(w->s, name)) define(w, name, LOAD_RESOLVE);
}

static void param(walk *w, const jj_str *name)
{
    size_t i = find(w->s, name);
    if (i == SIZE_MAX) i = define(w, name, LOAD_PARAM);
    if (i == SIZE_MAX) return;
    w->s->load[i] = LOAD_PARAM;
    w->s->stored[i] = 1;
}

static void store(walk *w, const jj_str *name)
{
    size_t i = find(w->s, name);
    if (i == SIZE_MAX) {
        jj_load l = known(w->s->parent, name) ? LOAD_ALIAS : w->branch ? LOAD_RESOLVE : LOAD_UNDEF;
        i = define(w, name, l);
    }
    if (i != SIZE_MAX) w->s->stored[i] = 1;
}

static void store_target(walk *w, const jj_node *n, bool as_param)
{
    if (n->kind == N_NSREF) {
        load(w, n->name);
    } else if (n->kind == N_NAME) {
        if (as_param)
            param(w, n->name);
        else
            store(w, n->name);
    }
    for (uint32_t i = 0; i < n->list.n; i++) store_target(w, n->list.v[i], as_param);
}

static void expr(walk *w, const jj_node *n)
{
    if (n == NULL) return;
    if (n->kind == N_NAME || n->kind == N_NSREF) load(w, n->name);
    expr(w, n->a);
    for (uint32_t i = 0; i < n->list.n; i++) expr(w, n->list.v[i]);
    for (uint32_t i = 0; i < n->kw.n; i++) expr(w, n->kw.v[i]);
    expr(w, n->b);
    expr(w, n->c);
}

static void own_level(walk *w, const jj_nodes *body);

// What one statement loads and stores in the scope it stands in.
static void statement(walk *w, const jj_node *n)
{
    switch (n->kind) {
    case N_OUTPUT:
    case N_CALLBLOCK: expr(w, n->a); break;
    case N_FILTERBLOCK: expr(w, n->a); break;
    case N_FOR: expr(w, n->b); break;
    case N_SET:
        expr(w, n->b);
        store_target(w, n->a, false);
        break;
    case N_SETBLOCK: store_target(w, n->a, false); break;
    case N_MACRO: store(w, n->name); break;
    case N_WITH:
        for (uint32_t i = 0; i < n->kw.n; i++) expr(w, n->kw.v[i]);
        break;
    case N_IF:
        expr(w, n->a);
        w->branch++;
        own_level(w, &n->body);
        for (uint32_t i = 0; i < n->list.n; i++) statement(w, n->list.v[i]);
        own_level(w, &n->els);
        w->branch--;
        break;
    case N_SCOPE: own_level(w, &n->body); break; // {% print %}
    default: break;
    }
}

static void own_level(walk *w, const jj_nodes *body)
{
    for (uint32_t i = 0; i < body->n; i++) statement(w, body->v[i]);
}

static void inner(tk_arena *a, bool *failed, const jj_nodes *body, const jj_syms *s);

static walk begin(tk_arena *a, bool *failed, jj_syms **slot, const jj_syms *parent)
{
    walk w = {.a = a, .s = tk_arena_alloc(a, sizeof(jj_syms))};
    *slot = w.s;
    if (w.s)
        w.s->parent = parent;
    else
        *failed = true;
    return w;
}

static void for_scopes(tk_arena *a, bool *failed, jj_node *n, const jj_syms *parent)
{
    walk w = begin(a, failed, &n->syms, parent);
    if (*failed) return;
    param(&w, n->name); // `loop`
    store_target(&w, n->a, true);
    own_level(&w, &n->body);
    *failed |= w.failed;
    if (!*failed) inner(a, failed, &n->body, n->syms);
    if (*failed) return;
    w = begin(a, failed, &n->syms2, parent);
    if (*failed) return;
    own_level(&w, &n->els);
    *failed |= w.failed;
    if (!*failed) inner(a, failed, &n->els, n->syms2);
    if (*failed || n->c == NULL) return;
    w = begin(a, failed, &n->syms3, parent);
    if (*failed) return;
    store_target(&w, n->a, true);
    expr(&w, n->c);
    *failed |= w.failed;
}

// ---- caller, varargs, kwargs ------------------------------------------------------------------------

// Which of them a macro's body reads before it stores them, in the order jinja2's find_undeclared looks.
typedef struct specials {
    bool stored[3];
    const jj_str *found[3];
} specials;

static const char *const special_names[3] = {"caller", "varargs", "kwargs"};

static int special_index(const jj_str *name)
{
    for (int i = 0; i < 3; i++)
        if (name->len == strlen(special_names[i]) &&
            memcmp(name->p, special_names[i], name->len) == 0)
            return i;
    return -1;
}

static void seek(specials *k, const jj_node *n, bool store);

static void seek_all(specials *k, const jj_nodes *l, bool store)
{
    for (uint32_t i = 0; i < l->n; i++) seek(k, l->v[i], store);
}

static void seek(specials *k, const jj_node *n, bool store)
{
    if (n == NULL || n->kind == N_BLOCK) return;
    if (n->kind == N_NAME) {
        int i = special_index(n->name);
        if (i >= 0 && store) k->stored[i] = true;
        if (i >= 0 && !store && !k->stored[i]) k->found[i] = n->name;
        return;
    }
    bool target_first = n->kind == N_SET || n->kind == N_SETBLOCK || n->kind == N_FOR;
    bool list_stored = n->kind == N_WITH || n->kind == N_MACRO || n->kind == N_CALLBLOCK;
    if (n->kind == N_FILTERBLOCK) seek_all(k, &n->body, false);
    seek(k, n->a, target_first);
    if (n->kind == N_IF || n->kind == N_FOR) {
        seek(k, n->b, false);
        seek_all(k, &n->body, false);
        seek_all(k, &n->list, false);
        seek_all(k, &n->els, false);
        seek(k, n->c, false);
        return;
    }
    seek_all(k, &n->list, list_stored || store);
    seek_all(k, &n->kw, false);
    seek(k, n->b, false);
    if (n->kind != N_SCOPE) seek(k, n->c, false);
    if (n->kind != N_FILTERBLOCK) seek_all(k, &n->body, false);
}

static void special_params(walk *w, const jj_node *n)
{
    specials k = {0};
    seek_all(&k, &n->body, false);
    for (uint32_t i = 0; i < n->list.n; i++) {
        int own = special_index(n->list.v[i]->name);
        if (own >= 0) k.found[own] = NULL;
    }
    for (int i = 0; i < 3; i++)
        if (k.found[i]) param(w, k.found[i]);
}

// Macros, call blocks, set blocks, filter blocks, with, blocks, generation, autoescape.
static void body_scope(tk_arena *a, bool *failed, jj_node *n, const jj_syms *parent)
{
    walk w = begin(a, failed, &n->syms, n->kind == N_BLOCK ? NULL : parent);
    if (*failed) return;
    if (n->kind == N_MACRO || n->kind == N_CALLBLOCK) {
        for (uint32_t i = 0; i < n->list.n; i++) store_target(&w, n->list.v[i], true);
        for (uint32_t i = 0; i < n->kw.n; i++) expr(&w, n->kw.v[i]);
        special_params(&w, n);
    } else if (n->kind == N_GENERATION) {
        special_params(&w, n);
    } else if (n->kind == N_WITH) {
        for (uint32_t i = 0; i < n->list.n; i++) store_target(&w, n->list.v[i], false);
    }
    own_level(&w, &n->body);
    if (n->kind == N_FILTERBLOCK) expr(&w, n->a);
    *failed |= w.failed;
    if (!*failed) inner(a, failed, &n->body, n->syms);
}

// The scopes that begin inside a body.
static void inner(tk_arena *a, bool *failed, const jj_nodes *body, const jj_syms *s)
{
    for (uint32_t i = 0; i < body->n && !*failed; i++) {
        jj_node *n = body->v[i];
        switch (n->kind) {
        case N_FOR: for_scopes(a, failed, n, s); break;
        case N_IF:
            inner(a, failed, &n->body, s);
            for (uint32_t k = 0; k < n->list.n; k++) inner(a, failed, &n->list.v[k]->body, s);
            inner(a, failed, &n->els, s);
            break;
        case N_MACRO:
        case N_CALLBLOCK:
        case N_GENERATION:
        case N_FILTERBLOCK:
        case N_SETBLOCK:
        case N_WITH:
        case N_AUTOESCAPE:
        case N_BLOCK: body_scope(a, failed, n, s); break;
        default: break;
        }
    }
}

bool jj_resolve_scopes(tk_arena *a, jj_node *root)
{
    bool failed = false;
    walk w = begin(a, &failed, &root->syms, NULL);
    if (failed) return false;
    own_level(&w, &root->body);
    failed |= w.failed;
    if (!failed) inner(a, &failed, &root->body, root->syms);
    return !failed;
}

// ---- names of filters and tests ----------------------------------------------------------------------

static void check_list(jj_parser *p, const jj_nodes *l, bool soft)
{
    for (uint32_t i = 0; i < l->n; i++) jj_check_names(p, l->v[i], soft);
}

// A parameter called caller is the caller, and has to be optional.
static void check_caller(jj_parser *p, const jj_node *n)
{
    specials k = {0};
    for (uint32_t i = 0; i + n->kw.n < n->list.n; i++) {
        if (special_index(n->list.v[i]->name) != 0) continue;
        seek_all(&k, &n->body, false);
        if (k.found[0]) jj_parse_fail(p, n->line, "a parameter \"caller\" needs a default");
    }
}

// jinja2 refuses unknown names when it compiles, but inside an if or a conditional expression (not in the
// scopes that begin there) only when they are reached.
void jj_check_names(jj_parser *p, const jj_node *n, bool soft)
{
    if (n == NULL || p->st != TK_OK) return;
    bool inside = false, values = soft;
    switch (n->kind) {
    case N_FILTER:
    case N_TEST:
        if (n->func == NULL && !soft)
            jj_parse_fail(p, n->line, "no %s named '%.*s'", n->kind == N_FILTER ? "filter" : "test",
                          (int)TK_MIN(n->name->len, 100), n->name->p);
        break;
    case N_IF:
    case N_COND: inside = values = soft = true; break;
    case N_SETBLOCK:
    case N_FILTERBLOCK: soft = false; break;
    case N_MACRO:
    case N_CALLBLOCK:
        check_caller(p, n);
        values = false; // defaults
        break;
    case N_SCOPE: inside = soft; break;
    default: break;
    }
    jj_check_names(p, n->a, soft);
    jj_check_names(p, n->b, soft);
    if (n->kind != N_BLOCK && n->kind != N_SCOPE) // whose c is the list of blocks
        jj_check_names(p, n->c, n->kind == N_FOR ? false : soft);
    check_list(p, &n->list, soft);
    check_list(p, &n->kw, values);
    check_list(p, &n->body, inside);
    check_list(p, &n->els, inside);
}
