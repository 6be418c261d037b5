// SPDX-License-Identifier: MIT
// For loops and the `loop` object. Items are taken one at a time, so that a loop's `if` sees what the body
// did before; loop.last and loop.nextitem look one ahead, loop.length reads everything, as in jinja2.
#include "text/jinja_int.h"

#include <string.h>

// A loop's `if` stands in a generator of its own that gives the targets' values: tuples, whatever was unpacked.
static jj_val repack(jj *it, const jj_loop *l, const jj_node *target)
{
    if (target->kind != N_TUPLE) {
        jj_val *slot = jj_slot(l->test_scope, target->name);
        return slot ? *slot : jj_none();
    }
    jj_list *all = jj_list_new(it, target->list.n);
    for (uint32_t i = 0; all && i < target->list.n; i++)
        jj_list_add(it, all, repack(it, l, target->list.v[i]));
    return jj_wrap_list(JJ_TUPLE, all);
}

// The next item of the source that passes the loop's `if`.
static bool pull(jj *it, jj_loop *l, jj_val *out)
{
    if (l->rest) {
        if (l->rest->pos >= l->rest->n) return false;
        *out = l->rest->v[l->rest->pos++];
        return true;
    }
    while (jj_next(it, &l->cur, out)) {
        if (l->node->c == NULL) return true;
        jj_scope *saved = it->scope;
        jj_scope_init(it, l->test_scope);
        it->scope = l->test_scope;
        jj_assign(it, l->node->a, *out);
        jj_val ok = it->st == TK_OK ? jj_eval(it, l->node->c) : jj_none();
        it->scope = saved;
        if (it->st != TK_OK) return false;
        if (!jj_truth(it, ok)) continue;
        if (l->node->a->kind == N_TUPLE) *out = repack(it, l, l->node->a);
        return it->st == TK_OK;
    }
    return false;
}

static bool peek(jj *it, jj_loop *l)
{
    if (!l->has_after) l->has_after = pull(it, l, &l->after);
    return l->has_after;
}

static size_t total(jj *it, jj_loop *l)
{
    if (l->known) return l->n_total;
    l->known = true;
    if (l->node->c == NULL && jj_has_len(l->cur.v) && l->cur.v.kind != JJ_LOOP)
        return l->n_total = jj_len(it, l->cur.v);
    jj_list *rest = jj_list_new(it, 8);
    jj_val v;
    while (rest && pull(it, l, &v)) jj_list_add(it, rest, v);
    if (rest == NULL) return 0;
    l->rest = rest;
    return l->n_total = rest->n + (size_t)(l->index0 + 1) + l->has_after;
}

static jj_val loop_cycle(jj *it, jj_val self, const jj_args *a)
{
    if (a->n_pos == 0) return jj_raise(it, "no items for cycling given");
    return a->pos[(size_t)self.u.loop->index0 % a->n_pos];
}

static jj_val loop_changed(jj *it, jj_val self, const jj_args *a)
{
    jj_list *now = jj_list_new(it, a->n_pos);
    for (size_t i = 0; now && i < a->n_pos; i++) jj_list_add(it, now, a->pos[i]);
    jj_val v = jj_wrap_list(JJ_TUPLE, now);
    if (it->st != TK_OK) return v;
    jj_loop *l = self.u.loop;
    if (l->last_changed.kind == JJ_TUPLE && jj_equal(it, l->last_changed, v)) return jj_bool(false);
    l->last_changed = v;
    return jj_bool(true);
}

static const jj_func methods[] = {
    {"cycle", loop_cycle, "*", 0}, {"changed", loop_changed, "*", 0}, {0}};

jj_val jj_loop_attr(jj *it, jj_loop *l, const jj_str *name, bool *found)
{
    enum {
        INDEX,
        INDEX0,
        FIRST,
        LAST,
        LENGTH,
        REVINDEX,
        REVINDEX0,
        DEPTH,
        DEPTH0,
        PREV,
        NEXT,
        N_ATTR
    };
    static const char *const names[] = {"index",  "index0",   "first",     "last",
                                        "length", "revindex", "revindex0", "depth",
                                        "depth0", "previtem", "nextitem"};
    *found = true;
    int which = 0;
    while (which < N_ATTR &&
           (strlen(names[which]) != name->len || memcmp(names[which], name->p, name->len) != 0))
        which++;
    switch (which) {
    case INDEX: return jj_int(l->index0 + 1);
    case INDEX0: return jj_int(l->index0);
    case FIRST: return jj_bool(l->index0 == 0);
    case LAST: return jj_bool(!peek(it, l));
    case LENGTH: return jj_int((int64_t)total(it, l));
    case REVINDEX: return jj_int((int64_t)total(it, l) - l->index0);
    case REVINDEX0: return jj_int((int64_t)total(it, l) - l->index0 - 1);
    case DEPTH: return jj_int(l->depth0 + 1);
    case DEPTH0: return jj_int(l->depth0);
    case PREV: return l->index0 == 0 ? jj_undef(it, "there is no previous item") : l->before;
    case NEXT: return peek(it, l) ? l->after : jj_undef(it, "there is no next item");
    default: break;
    }
    const jj_func *f = jj_find_func(methods, name->p, name->len);
    jj_method *m = f ? jj_alloc(it, 1, sizeof *m) : NULL;
    *found = f != NULL;
    if (m == NULL) return jj_none();
    *m = (jj_method){.self = {.kind = JJ_LOOP, .u.loop = l}, .func = f};
    return (jj_val){.kind = JJ_METHOD, .u.method = m};
}

static bool step(jj *it, jj_loop *l)
{
    jj_val v;
    if (l->has_after)
        v = l->after;
    else if (!pull(it, l, &v))
        return false;
    l->has_after = false;
    l->index0++;
    l->before = l->current;
    l->current = v;
    return it->st == TK_OK;
}

static jj_flow body(jj *it, jj_loop *l)
{
    const jj_node *n = l->node;
    jj_scope_init(it, l->scope);
    it->scope = l->scope;
    jj_val *slot = jj_slot(l->scope, n->name);
    if (slot) *slot = (jj_val){.kind = JJ_LOOP, .u.loop = l};
    jj_assign(it, n->a, l->current);
    return it->st == TK_OK ? jj_exec(it, &n->body) : FLOW_NEXT;
}

jj_flow jj_exec_for(jj *it, const jj_node *n, jj_val iterable, int depth0)
{
    jj_scope *outer = it->scope;
    jj_loop *l = jj_alloc(it, 1, sizeof *l);
    if (l == NULL) return FLOW_NEXT;
    *l = (jj_loop){.node = n, .cur = jj_iter(it, iterable), .index0 = -1, .depth0 = depth0};
    if (it->st != TK_OK) return FLOW_NEXT;
    l->scope = jj_scope_new(it, n->syms, outer);
    if (n->c) l->test_scope = jj_scope_new(it, n->syms3, outer);
    bool any = false;
    while (it->st == TK_OK && step(it, l)) {
        jj_flow flow = body(it, l);
        any |= flow == FLOW_NEXT; // jinja2's else also runs when every round was cut short
        it->scope = outer;
        if (flow == FLOW_BREAK) break;
    }
    if (any || it->st != TK_OK || n->els.n == 0) return FLOW_NEXT;
    it->scope = jj_scope_new(it, n->syms2, outer);
    jj_flow flow = it->scope ? jj_exec(it, &n->els) : FLOW_NEXT;
    it->scope = outer;
    return flow;
}

jj_val jj_loop_call(jj *it, jj_loop *l, jj_val iterable)
{
    tk_buf *saved;
    if (!l->node->flag)
        return jj_raise(it, "the loop must have the 'recursive' marker to be called recursively");
    if (!jj_enter(it) || !jj_capture_begin(it, &saved)) return jj_none();
    jj_scope *inside = it->scope;
    it->scope = l->scope->parent;
    jj_exec_for(it, l->node, iterable, l->depth0 + 1);
    it->scope = inside;
    jj_leave(it);
    return jj_capture_end(it, saved);
}
