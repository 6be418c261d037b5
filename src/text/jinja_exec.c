// SPDX-License-Identifier: MIT
// Statements, scopes and macros.
#include "text/jinja_int.h"

#include <string.h>

// ---- scopes ----------------------------------------------------------------------------------------

jj_val *jj_slot(jj_scope *s, const jj_str *name)
{
    for (size_t i = 0; i < s->syms->n; i++)
        if (s->syms->name[i] == name) return &s->v[i];
    return NULL;
}

static jj_val *slot_up(jj_scope *s, const jj_str *name)
{
    for (; s; s = s->parent) {
        jj_val *v = jj_slot(s, name);
        if (v) return v;
    }
    return NULL;
}

// What the whole template sees: names its top level has set, the caller's context, jinja2's globals.
jj_val jj_context_get(jj *it, const jj_str *name)
{
    if (name->len == 4 && memcmp(name->p, "self", 4) == 0) return (jj_val){.kind = JJ_SELF};
    jj_val *top = it->root && it->root->v ? jj_slot(it->root, name) : NULL, v;
    if (top && top->kind != JJ_MISSING) return *top;
    if (jj_dict_get_z(it, it->ctx, name->p, name->len, &v)) return v;
    const jj_func *f = jj_global(name);
    return f ? (jj_val){.kind = JJ_FUNC, .u.func = f} : jj_missing();
}

void jj_scope_init(jj *it, jj_scope *s)
{
    for (size_t i = 0; i < s->syms->n; i++) {
        jj_val v = jj_missing();
        if (s->syms->load[i] == LOAD_RESOLVE) {
            v = jj_context_get(it, s->syms->name[i]);
        } else if (s->syms->load[i] == LOAD_ALIAS) {
            jj_val *outer = slot_up(s->parent, s->syms->name[i]);
            if (outer) v = *outer;
        }
        s->v[i] = v;
    }
}

jj_scope *jj_scope_new(jj *it, const jj_syms *syms, jj_scope *parent)
{
    jj_scope *s = jj_alloc(it, 1, sizeof *s);
    if (s == NULL) return NULL;
    s->parent = parent;
    s->syms = syms;
    if (syms->n && (s->v = jj_alloc(it, syms->n, sizeof *s->v)) == NULL) return NULL;
    if (!jj_step(it, syms->n)) return NULL;
    jj_scope_init(it, s);
    return s;
}

jj_val jj_lookup(jj *it, const jj_str *name)
{
    jj_val *slot = slot_up(it->scope, name);
    jj_val v = slot ? *slot : jj_context_get(it, name);
    return v.kind == JJ_MISSING ? jj_undef_name(it, name) : v;
}

static void assign_ns(jj *it, const jj_node *t, jj_val v)
{
    jj_val ns = jj_lookup(it, t->name);
    if (it->st != TK_OK) return;
    if (ns.kind != JJ_NS) {
        jj_raise(it, "cannot assign attribute on non-namespace object");
        return;
    }
    if (t->val.u.s->len && t->val.u.s->p[0] == '_') {
        jj_raise(it, "a namespace stores no attribute that begins with an underscore ('%.*s')",
                 (int)TK_MIN(t->val.u.s->len, 100), t->val.u.s->p);
        return;
    }
    jj_dict_set(it, ns.u.d, t->val, v);
}

static void unpack(jj *it, const jj_node *t, jj_val v)
{
    jj_cur c = jj_iter(it, v);
    jj_val item;
    for (uint32_t i = 0; i < t->list.n && it->st == TK_OK; i++) {
        if (!jj_next(it, &c, &item)) {
            if (it->st == TK_OK)
                jj_raise(it, "not enough values to unpack (expected %u, got %u)", t->list.n, i);
            return;
        }
        jj_assign(it, t->list.v[i], item);
    }
    if (it->st == TK_OK && jj_next(it, &c, &item))
        jj_raise(it, "too many values to unpack (expected %u)", t->list.n);
}

void jj_assign(jj *it, const jj_node *t, jj_val v)
{
    if (it->st != TK_OK) return;
    if (t->kind == N_TUPLE) {
        if (jj_enter(it)) unpack(it, t, v);
        jj_leave(it);
    } else if (t->kind == N_NSREF) {
        assign_ns(it, t, v);
    } else {
        jj_val *slot = jj_slot(it->scope, t->name);
        if (slot) *slot = v;
    }
}

// ---- captures --------------------------------------------------------------------------------------

bool jj_capture_begin(jj *it, tk_buf **saved)
{
    if (it->n_cap == JJ_MAX_CAPTURE) {
        jj_raise(it, "more than %d macros or set blocks inside each other", JJ_MAX_CAPTURE);
        return false;
    }
    it->cap[it->n_cap] = jj_buf();
    *saved = it->out;
    it->out = &it->cap[it->n_cap++];
    return true;
}

jj_val jj_capture_end(jj *it, tk_buf *saved)
{
    it->out = saved;
    it->n_cap--;
    return jj_buf_str(it, &it->cap[it->n_cap]);
}

static void put(jj *it, jj_val v)
{
    if (it->st != TK_OK) return;
    jj_to_text(it, it->out, v);
    if (it->out->failed)
        jj_fail(it, TK_NOMEM, "line %u: the template writes more than %u bytes", it->line,
                TK_LIMIT_TEMPLATE_OUT_BYTES);
}

// What a filter or call block gives is written as it is, so it has to be text already.
static void put_text(jj *it, jj_val v)
{
    if (it->st == TK_OK && v.kind != JJ_STR)
        jj_raise(it, "a block gives a %s where text is needed", jj_type_name(v));
    else
        put(it, v);
}

// ---- macros ----------------------------------------------------------------------------------------

static jj_val *take_kw(const jj_args *a, const jj_str *name, bool *used)
{
    for (size_t i = 0; i < a->n_kw; i++)
        if (a->kw[i].name->len == name->len && memcmp(a->kw[i].name->p, name->p, name->len) == 0) {
            used[i] = true;
            return &a->kw[i].val;
        }
    return NULL;
}

static bool is(const jj_str *s, const char *z)
{
    return s->len == strlen(z) && memcmp(s->p, z, s->len) == 0;
}

static void set_special(jj_scope *s, const char *name, jj_val v)
{
    for (size_t i = 0; i < s->syms->n; i++)
        if (is(s->syms->name[i], name)) s->v[i] = v;
}

static bool has_param(const jj_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->list.n; i++)
        if (is(n->list.v[i]->name, name)) return true;
    return false;
}

// Arguments that no parameter took: to `varargs` and `kwargs` when the body mentions them, else an error.
static void rest_args(jj *it, const jj_macro *m, jj_scope *s, const jj_args *a, const bool *used)
{
    const jj_node *n = m->node;
    const char *name = m->name ? m->name->p : "caller";
    int name_len = m->name ? (int)TK_MIN(m->name->len, 100) : 6;
    if (m->uses_kwargs) {
        jj_dict *d = jj_dict_new(it);
        for (size_t i = 0; d && i < a->n_kw; i++)
            if (!used[i])
                jj_dict_set(it, d, jj_str_ref(it, a->kw[i].name->p, a->kw[i].name->len),
                            a->kw[i].val);
        if (d) set_special(s, "kwargs", (jj_val){.kind = JJ_DICT, .u.d = d});
    } else {
        for (size_t i = 0; i < a->n_kw; i++)
            if (!used[i]) {
                jj_raise(it, "macro '%.*s' takes no keyword argument '%.*s'", name_len, name,
                         (int)TK_MIN(a->kw[i].name->len, 100), a->kw[i].name->p);
                return;
            }
    }
    size_t n_own = n->list.n;
    if (m->uses_varargs) {
        jj_list *l = jj_list_new(it, a->n_pos);
        for (size_t i = n_own; l && i < a->n_pos; i++) jj_list_add(it, l, a->pos[i]);
        if (l) set_special(s, "varargs", jj_wrap_list(JJ_TUPLE, l));
    } else if (a->n_pos > n_own) {
        jj_raise(it, "macro '%.*s' takes not more than %zu argument(s)", name_len, name, n_own);
    }
}

static void bind_params(jj *it, const jj_macro *m, jj_scope *s, const jj_args *a)
{
    const jj_node *n = m->node;
    bool *used = jj_alloc(it, a->n_kw + 1, 1);
    if (used == NULL || !jj_step(it, a->n_kw * (n->list.n + 1))) return;
    for (uint32_t i = 0; i < n->list.n; i++) {
        const jj_str *name = n->list.v[i]->name;
        jj_val *slot = jj_slot(s, name),
               *given = i < a->n_pos ? &a->pos[i] : take_kw(a, name, used);
        *slot = given ? *given : jj_missing();
    }
    if (m->uses_caller && !has_param(n, "caller")) {
        static const jj_str caller = {.p = "caller", .len = 6, .n_cp = 6};
        jj_val *given = take_kw(a, &caller, used);
        set_special(s, "caller", given ? *given : jj_undef(it, "No caller defined"));
    }
    rest_args(it, m, s, a, used);
    // Defaults see the parameters before them.
    size_t first_default = n->list.n - n->kw.n;
    for (uint32_t i = 0; i < n->list.n && it->st == TK_OK; i++) {
        const jj_str *name = n->list.v[i]->name;
        jj_val *slot = jj_slot(s, name);
        if (slot->kind != JJ_MISSING) continue;
        jj_val v = i >= first_default ? jj_eval(it, n->kw.v[i - first_default])
                                      : jj_undef(it, "parameter '%.*s' was not provided",
                                                 (int)TK_MIN(name->len, 100), name->p);
        *jj_slot(s, name) = v;
    }
}

jj_val jj_call_macro(jj *it, jj_macro *m, const jj_args *a)
{
    jj_val v = jj_none();
    tk_buf *saved;
    jj_scope *outer = it->scope;
    if (!jj_enter(it)) return v;
    jj_scope *s = jj_scope_new(it, m->node->syms, m->scope);
    if (s) {
        it->scope = s;
        bind_params(it, m, s, a);
        if (it->st == TK_OK && jj_capture_begin(it, &saved)) {
            jj_exec(it, &m->node->body);
            v = jj_capture_end(it, saved);
        }
        it->scope = outer;
    }
    jj_leave(it);
    return v;
}

static jj_val make_macro(jj *it, const jj_node *n, const jj_str *name)
{
    jj_macro *m = jj_alloc(it, 1, sizeof *m);
    if (m == NULL) return jj_none();
    *m = (jj_macro){.node = n, .scope = it->scope, .name = name};
    for (size_t i = 0; i < n->syms->n; i++) {
        if (n->syms->load[i] != LOAD_PARAM) continue;
        m->uses_caller |= is(n->syms->name[i], "caller");
        m->uses_kwargs |= is(n->syms->name[i], "kwargs") && !has_param(n, "kwargs");
        m->uses_varargs |= is(n->syms->name[i], "varargs") && !has_param(n, "varargs");
    }
    return (jj_val){.kind = JJ_MACRO, .u.macro = m};
}

// ---- statements ------------------------------------------------------------------------------------

static jj_flow exec_in(jj *it, const jj_node *n)
{
    jj_scope *outer = it->scope;
    jj_scope *s = jj_scope_new(it, n->syms, n->kind == N_BLOCK ? NULL : outer);
    if (s == NULL) return FLOW_NEXT;
    it->scope = s;
    jj_flow flow = jj_exec(it, &n->body);
    it->scope = outer;
    return flow;
}

static jj_flow exec_with(jj *it, const jj_node *n)
{
    jj_scope *outer = it->scope;
    jj_scope *s = jj_scope_new(it, n->syms, outer);
    for (uint32_t i = 0; s && i < n->list.n && it->st == TK_OK; i++) {
        jj_val v = jj_eval(it, n->kw.v[i]);
        it->scope = s;
        jj_assign(it, n->list.v[i], v);
        it->scope = outer;
    }
    if (s == NULL || it->st != TK_OK) return FLOW_NEXT;
    it->scope = s;
    jj_flow flow = jj_exec(it, &n->body);
    it->scope = outer;
    return flow;
}

// {% set x %}...{% endset %} and {% filter f %}...{% endfilter %}; a break in the body drops the text.
static jj_flow exec_captured(jj *it, const jj_node *n)
{
    tk_buf *saved;
    jj_scope *outer = it->scope, *s = jj_scope_new(it, n->syms, outer);
    if (s == NULL || !jj_capture_begin(it, &saved)) return FLOW_NEXT;
    it->scope = s;
    jj_flow flow = jj_exec(it, &n->body);
    jj_val v = jj_capture_end(it, saved);
    const jj_node *filter = n->kind == N_SETBLOCK ? n->b : n->a;
    if (flow == FLOW_NEXT && it->st == TK_OK && filter) v = jj_eval_filter(it, filter, v);
    it->scope = outer;
    if (flow != FLOW_NEXT || it->st != TK_OK) return flow;
    if (n->kind == N_SETBLOCK)
        jj_assign(it, n->a, v);
    else
        put_text(it, v);
    return flow;
}

static void exec_call_block(jj *it, const jj_node *n)
{
    jj_val caller = make_macro(it, n, NULL);
    jj_val f = it->st == TK_OK ? jj_eval(it, n->a->a) : caller;
    jj_args a;
    if (it->st != TK_OK || !jj_eval_args(it, n->a, &a, &caller)) return;
    it->line = n->line;
    put_text(it, jj_call(it, f, &a));
}

static void exec_generation(jj *it, const jj_node *n)
{
    jj_val caller = make_macro(it, n, NULL);
    jj_args none = {0};
    if (it->st == TK_OK) put(it, jj_call_macro(it, caller.u.macro, &none));
}

static jj_flow exec_if(jj *it, const jj_node *n)
{
    jj_val test = jj_eval(it, n->a);
    if (it->st != TK_OK) return FLOW_NEXT;
    if (jj_truth(it, test)) return jj_exec(it, &n->body);
    for (uint32_t i = 0; i < n->list.n; i++) {
        test = jj_eval(it, n->list.v[i]->a);
        if (it->st != TK_OK) return FLOW_NEXT;
        if (jj_truth(it, test)) return jj_exec(it, &n->list.v[i]->body);
    }
    return jj_exec(it, &n->els);
}

static jj_flow exec_autoescape(jj *it, const jj_node *n)
{
    jj_val v = jj_eval(it, n->a);
    if (it->st == TK_OK && jj_truth(it, v)) {
        jj_fail(it, TK_UNSUPPORTED, "line %u: autoescape is not supported", n->line);
        return FLOW_NEXT;
    }
    return it->st == TK_OK ? exec_in(it, n) : FLOW_NEXT;
}

static jj_flow exec_one(jj *it, const jj_node *n)
{
    switch (n->kind) {
    case N_DATA:
    case N_OUTPUT: put(it, n->kind == N_DATA ? n->val : jj_eval(it, n->a)); break;
    case N_IF: return exec_if(it, n);
    case N_FOR: {
        jj_val iterable = jj_eval(it, n->b);
        return it->st == TK_OK ? jj_exec_for(it, n, iterable, 0) : FLOW_NEXT;
    }
    case N_SET: {
        jj_val v = jj_eval(it, n->b);
        it->line = n->line;
        jj_assign(it, n->a, v);
        break;
    }
    case N_SETBLOCK:
    case N_FILTERBLOCK: return exec_captured(it, n);
    case N_WITH: return exec_with(it, n);
    case N_MACRO: {
        jj_val *slot = jj_slot(it->scope, n->name), v = make_macro(it, n, n->name);
        if (slot) *slot = v;
        break;
    }
    case N_CALLBLOCK: exec_call_block(it, n); break;
    case N_GENERATION: exec_generation(it, n); break;
    case N_BLOCK: return exec_in(it, n);
    case N_AUTOESCAPE: return exec_autoescape(it, n);
    case N_SCOPE: return jj_exec(it, &n->body);
    case N_BREAK: return FLOW_BREAK;
    case N_CONTINUE: return FLOW_CONTINUE;
    default:
        jj_fail(it, TK_UNSUPPORTED,
                "line %u: '%.*s' needs other templates, which a chat template has not", n->line,
                (int)n->name->len, n->name->p);
        break;
    }
    return FLOW_NEXT;
}

jj_flow jj_exec(jj *it, const jj_nodes *body)
{
    jj_flow flow = FLOW_NEXT;
    if (jj_enter(it))
        for (uint32_t i = 0; i < body->n && flow == FLOW_NEXT && jj_step(it, 1); i++) {
            it->line = body->v[i]->line;
            flow = exec_one(it, body->v[i]);
        }
    jj_leave(it);
    return flow;
}
