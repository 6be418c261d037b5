// SPDX-License-Identifier: MIT
// Filters on sequences and mappings (jinja2's filters.py). Where Python gives a generator, so do these
// (JJ_ITER): an error in an item that nobody takes is none.
#include "text/jinja_int.h"

#include <assert.h>
#include <string.h>

static bool given(jj_val v)
{
    return v.kind != JJ_MISSING;
}

// ---- generators --------------------------------------------------------------------------------------

static jj_val generator(jj *it, bool (*start)(jj *, jj_list *),
                        bool (*pull)(jj *, jj_gen *, jj_val *), jj_val self, const jj_args *a)
{
    jj_list *l = jj_list_new(it, 0);
    jj_gen *g = l ? jj_alloc(it, 1, sizeof *g) : NULL;
    if (g == NULL) return jj_none();
    *g = (jj_gen){.start = start,
                  .pull = pull,
                  .self = self,
                  .args = *a,
                  .attr = jj_missing(),
                  .dflt = jj_missing()};
    l->gen = g;
    return jj_wrap_list(JJ_ITER, l);
}

bool jj_gen_next(jj *it, jj_list *l, jj_val *out)
{
    jj_gen *g = l->gen;
    if (g == NULL || it->st != TK_OK) return false;
    bool more = false;
    if (jj_enter(it)) {
        more = g->started || g->start(it, l);
        g->started = true;
        if (more && g->pull) {
            more = g->pull(it, g, out);
        } else if (more) {
            l->gen = NULL;
            if ((more = l->pos < l->n)) *out = l->v[l->pos++];
        }
    }
    jj_leave(it);
    if (!more) l->gen = NULL;
    return more && it->st == TK_OK;
}

static jj_args tail(const jj_args *a, size_t n)
{
    jj_args t = *a;
    if (n) t.pos += n;
    t.n_pos -= n;
    return t;
}

// ---- attributes ------------------------------------------------------------------------------------

// "a.b.0": names and indices.
jj_val jj_get_path(jj *it, jj_val item, jj_val attr, jj_val dflt)
{
    if (attr.kind == JJ_NONE || attr.kind == JJ_MISSING) return item;
    const char *p = attr.kind == JJ_STR ? attr.u.s->p : NULL;
    size_t len = p ? attr.u.s->len : 0, i = 0;
    do {
        jj_val key = attr;
        if (p) {
            const char *dot = memchr(p + i, '.', len - i);
            size_t end = dot ? (size_t)(dot - p) : len;
            int64_t n = 0;
            bool digits = end > i, overflow;
            for (size_t k = i; k < end; k++) digits &= p[k] >= '0' && p[k] <= '9';
            if (digits && jj_parse_int(p + i, end - i, 10, &n, &overflow))
                key = jj_int(n);
            else
                key = jj_str_ref(it, p + i, end - i);
            i = end + 1;
        }
        if (!jj_step(it, 1)) return item;
        item = jj_getitem(it, item, key);
        if (it->st != TK_OK) return item;
        if (item.kind == JJ_UNDEF && given(dflt) && dflt.kind != JJ_NONE) item = dflt;
    } while (p && i <= len);
    return item;
}

static jj_val fold(jj *it, jj_val v, bool case_sensitive)
{
    return !case_sensitive && v.kind == JJ_STR ? jj_case_str(it, v, CASE_LOWER) : v;
}

// The sort key for "a,b": a list of the attributes.
static jj_val sort_key(jj *it, jj_val item, jj_val attr, bool case_sensitive)
{
    jj_list *l = jj_list_new(it, 1);
    if (l == NULL) return item;
    if (attr.kind != JJ_STR) {
        jj_list_add(it, l, fold(it, jj_get_path(it, item, attr, jj_missing()), case_sensitive));
        return jj_wrap_list(JJ_LIST, l);
    }
    const char *p = attr.u.s->p, *end = p + attr.u.s->len;
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *to = comma ? comma : end;
        jj_val one = jj_str_ref(it, p, (size_t)(to - p));
        if (it->st != TK_OK) return item;
        jj_list_add(it, l, fold(it, jj_get_path(it, item, one, jj_missing()), case_sensitive));
        if (comma == NULL || it->st != TK_OK) return jj_wrap_list(JJ_LIST, l);
        p = comma + 1;
    }
}

// Stable merge sort of vals by keys; both are permuted.
bool jj_sort(jj *it, jj_val *keys, jj_val *vals, size_t n, bool reverse)
{
    assert(n == 0 || (keys && vals));
    jj_val *k2 = jj_alloc(it, n + 1, sizeof *k2), *v2 = jj_alloc(it, n + 1, sizeof *v2);
    if (!k2 || !v2) return false;
    for (size_t w = 1; w < n; w *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * w) {
            size_t mid = TK_MIN(lo + w, n), hi = TK_MIN(lo + 2 * w, n), a = lo, b = mid;
            for (size_t o = lo; o < hi; o++) {
                bool take_b = a == mid;
                if (a < mid && b < hi) {
                    if (!jj_step(it, 1)) return false;
                    take_b = reverse ? jj_compare(it, OP_LT, keys[a], keys[b])
                                     : jj_compare(it, OP_LT, keys[b], keys[a]);
                    if (it->st != TK_OK) return false;
                }
                size_t from = take_b ? b++ : a++;
                k2[o] = keys[from];
                v2[o] = vals[from];
            }
        }
        memcpy(keys, k2, n * sizeof *keys);
        memcpy(vals, v2, n * sizeof *vals);
    }
    return true;
}

// sorted() takes an integer here, and no other truth.
static bool reversed(jj *it, jj_val v)
{
    return given(v) && jj_as_int(it, v, "reverse") != 0;
}

static jj_val f_sort(jj *it, jj_val self, const jj_args *a)
{
    bool reverse = reversed(it, jj_arg(a, 0, "reverse")),
         sensitive = jj_truth(it, jj_arg(a, 1, "case_sensitive"));
    jj_val attr = jj_arg(a, 2, "attribute");
    jj_list *l = jj_to_list(it, self);
    jj_val *keys = l ? jj_alloc(it, l->n + 1, sizeof *keys) : NULL;
    for (size_t i = 0; keys && i < l->n && it->st == TK_OK; i++)
        keys[i] = sort_key(it, l->v[i], attr, sensitive);
    if (it->st != TK_OK || !keys || !l || !jj_sort(it, keys, l->v, l->n, reverse)) return jj_none();
    return jj_wrap_list(JJ_LIST, l);
}

static jj_val f_dictsort(jj *it, jj_val self, const jj_args *a)
{
    bool sensitive = jj_truth(it, jj_arg(a, 0, "case_sensitive")),
         reverse = reversed(it, jj_arg(a, 2, "reverse"));
    jj_val by = jj_arg(a, 1, "by");
    bool by_value = by.kind == JJ_STR && by.u.s->len == 5 && memcmp(by.u.s->p, "value", 5) == 0;
    if (given(by) && !by_value &&
        !(by.kind == JJ_STR && by.u.s->len == 3 && memcmp(by.u.s->p, "key", 3) == 0))
        return jj_raise(it, "You can only sort by either \"key\" or \"value\"");
    if (self.kind != JJ_DICT)
        return jj_raise(it, "dictsort needs a dict, not %s", jj_type_name(self));
    size_t n = self.u.d->n;
    jj_val *keys = jj_alloc(it, n + 1, sizeof *keys);
    jj_list *l = jj_list_new(it, n);
    for (size_t i = 0; keys && l && i < n && it->st == TK_OK; i++) {
        const jj_entry *e = &self.u.d->e[i];
        keys[i] = fold(it, by_value ? e->val : e->key, sensitive);
        jj_list_add(it, l, jj_pair(it, e->key, e->val));
    }
    if (it->st != TK_OK || !keys || !l || !jj_sort(it, keys, l->v, n, reverse)) return jj_none();
    return jj_wrap_list(JJ_LIST, l);
}

static bool pull_unique(jj *it, jj_gen *g, jj_val *out)
{
    jj_val item;
    while (it->st == TK_OK && jj_next(it, &g->src, &item)) {
        jj_val key = fold(it, jj_get_path(it, item, g->attr, jj_missing()), g->sensitive);
        if (it->st != TK_OK) return false;
        if (jj_dict_get(it, g->seen, key, NULL) || !jj_dict_set(it, g->seen, key, jj_none()))
            continue;
        *out = item;
        return true;
    }
    return false;
}

static bool start_unique(jj *it, jj_list *l)
{
    jj_gen *g = l->gen;
    g->src = jj_iter(it, g->self);
    g->seen = jj_dict_new(it);
    return it->st == TK_OK;
}

static jj_val f_unique(jj *it, jj_val self, const jj_args *a)
{
    jj_val v = generator(it, start_unique, pull_unique, self, a);
    if (it->st != TK_OK) return v;
    v.u.l->gen->sensitive = jj_truth(it, jj_arg(a, 0, "case_sensitive"));
    v.u.l->gen->attr = jj_arg(a, 1, "attribute");
    return v;
}

static jj_val min_max(jj *it, jj_val self, const jj_args *a, jj_op op)
{
    bool sensitive = jj_truth(it, jj_arg(a, 0, "case_sensitive"));
    jj_val attr = jj_arg(a, 1, "attribute"), item, best = jj_missing(), best_key = jj_none();
    jj_cur c = jj_iter(it, self);
    while (it->st == TK_OK && jj_next(it, &c, &item)) {
        jj_val key = fold(it, jj_get_path(it, item, attr, jj_missing()), sensitive);
        if (it->st != TK_OK) break;
        if (best.kind == JJ_MISSING || jj_compare(it, op, key, best_key)) {
            best = item;
            best_key = key;
        }
    }
    return best.kind == JJ_MISSING ? jj_undef(it, "No aggregated item, sequence was empty.") : best;
}

static jj_val f_min(jj *it, jj_val self, const jj_args *a)
{
    return min_max(it, self, a, OP_LT);
}
static jj_val f_max(jj *it, jj_val self, const jj_args *a)
{
    return min_max(it, self, a, OP_GT);
}

static jj_val f_groupby(jj *it, jj_val self, const jj_args *a)
{
    jj_val attr = jj_arg(a, 0, "attribute"), dflt = jj_arg(a, 1, "default");
    bool sensitive = jj_truth(it, jj_arg(a, 2, "case_sensitive"));
    jj_list *l = jj_to_list(it, self), *out = jj_list_new(it, 4), *group = NULL;
    jj_val *keys = l ? jj_alloc(it, l->n + 1, sizeof *keys) : NULL;
    for (size_t i = 0; keys && i < l->n && it->st == TK_OK; i++)
        keys[i] = fold(it, jj_get_path(it, l->v[i], attr, dflt), sensitive);
    if (it->st != TK_OK || !keys || !l || !jj_sort(it, keys, l->v, l->n, false)) return jj_none();
    for (size_t i = 0; i < l->n && it->st == TK_OK; i++) {
        if (i == 0 || !jj_equal(it, keys[i - 1], keys[i])) {
            group = jj_list_new(it, 4);
            jj_val key = jj_get_path(it, l->v[i], attr, dflt);
            if (group == NULL || it->st != TK_OK) break;
            jj_val pair = jj_pair(it, key, jj_wrap_list(JJ_LIST, group));
            pair.flag = 1;
            jj_list_add(it, out, pair);
        }
        jj_list_add(it, group, l->v[i]);
    }
    return jj_wrap_list(JJ_LIST, out);
}

// ---- map, select, reject ------------------------------------------------------------------------------

static bool pull_map(jj *it, jj_gen *g, jj_val *out)
{
    jj_val item;
    if (!jj_next(it, &g->src, &item)) return false;
    if (g->by_name && g->func == NULL)
        jj_raise(it, "map: no such filter");
    else if (g->by_name)
        *out = jj_invoke(it, g->func, item, &g->rest);
    else
        *out = jj_get_path(it, item, g->attr, g->dflt);
    return it->st == TK_OK;
}

static bool start_map(jj *it, jj_list *l)
{
    jj_gen *g = l->gen;
    const jj_args *a = &g->args;
    if (!jj_truth(it, g->self)) return false;
    g->attr = a->n_pos ? jj_missing() : jj_arg(a, 0, "attribute");
    g->dflt = jj_arg(a, SIZE_MAX, "default");
    if (given(g->attr)) {
        if (a->n_kw > (given(g->dflt) ? 2u : 1u)) jj_raise(it, "map: unexpected keyword argument");
    } else if (a->n_pos == 0) {
        jj_raise(it, "map requires a filter argument");
    } else {
        if (a->pos[0].kind == JJ_STR)
            g->func = jj_find_filter(a->pos[0].u.s->p, a->pos[0].u.s->len);
        g->by_name = true; // looked up for each item, so an unknown one needs an item to fail
        g->rest = tail(a, 1);
    }
    if (it->st == TK_OK) g->src = jj_iter(it, g->self);
    return it->st == TK_OK;
}

static jj_val f_map(jj *it, jj_val self, const jj_args *a)
{
    return generator(it, start_map, pull_map, self, a);
}

static bool pull_select(jj *it, jj_gen *g, jj_val *out)
{
    while (it->st == TK_OK && jj_next(it, &g->src, out)) {
        jj_val v = jj_get_path(it, *out, g->attr, jj_missing());
        if (g->by_name && g->func == NULL) jj_raise(it, "no such test");
        if (g->func && it->st == TK_OK) v = jj_invoke(it, g->func, v, &g->rest);
        if (it->st == TK_OK && jj_truth(it, v) == g->keep) return true;
    }
    return false;
}

static bool start_select(jj *it, jj_list *l)
{
    jj_gen *g = l->gen;
    if (!jj_truth(it, g->self)) return false;
    if (g->by_attr && g->args.n_pos == 0) jj_raise(it, "Missing parameter for attribute name");
    if (it->st != TK_OK) return false;
    if (g->by_attr) g->attr = g->args.pos[0];
    g->rest = tail(&g->args, g->by_attr);
    if (g->rest.n_pos) {
        jj_val name = g->rest.pos[0];
        if (name.kind == JJ_STR) g->func = jj_find_test(name.u.s->p, name.u.s->len);
        g->by_name = true;
        g->rest = tail(&g->rest, 1);
    }
    if (it->st == TK_OK) g->src = jj_iter(it, g->self);
    return it->st == TK_OK;
}

static jj_val select_items(jj *it, jj_val self, const jj_args *a, bool by_attr, bool keep)
{
    jj_val v = generator(it, start_select, pull_select, self, a);
    if (it->st != TK_OK) return v;
    v.u.l->gen->by_attr = by_attr;
    v.u.l->gen->keep = keep;
    return v;
}

static jj_val f_select(jj *it, jj_val self, const jj_args *a)
{
    return select_items(it, self, a, false, true);
}
static jj_val f_reject(jj *it, jj_val self, const jj_args *a)
{
    return select_items(it, self, a, false, false);
}
static jj_val f_selectattr(jj *it, jj_val self, const jj_args *a)
{
    return select_items(it, self, a, true, true);
}
static jj_val f_rejectattr(jj *it, jj_val self, const jj_args *a)
{
    return select_items(it, self, a, true, false);
}

// ---- the rest --------------------------------------------------------------------------------------

static jj_val f_first(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    jj_val v;
    jj_cur c = jj_iter(it, self);
    if (it->st == TK_OK && jj_next(it, &c, &v)) return v;
    return jj_undef(it, "No first item, sequence was empty.");
}

static jj_val f_last(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    if (self.kind == JJ_ITER) return jj_raise(it, "'generator' object is not reversible");
    jj_list *l = jj_to_list(it, self);
    if (l == NULL) return jj_none();
    return l->n ? l->v[l->n - 1] : jj_undef(it, "No last item, sequence was empty.");
}

static jj_val f_length(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return jj_int((int64_t)jj_len(it, self));
}

static jj_val f_list(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    return jj_wrap_list(JJ_LIST, jj_to_list(it, self));
}

static bool start_items(jj *it, jj_list *l)
{
    jj_val self = l->gen->self;
    if (self.kind == JJ_UNDEF) return false;
    if (self.kind != JJ_DICT) {
        jj_raise(it, "Can only get item pairs from a mapping.");
        return false;
    }
    for (size_t i = 0; i < self.u.d->n; i++)
        if (!jj_step(it, 1) ||
            !jj_list_add(it, l, jj_pair(it, self.u.d->e[i].key, self.u.d->e[i].val)))
            return false;
    return true;
}

static jj_val f_items(jj *it, jj_val self, const jj_args *a)
{
    return generator(it, start_items, NULL, self, a);
}

static jj_val f_reverse(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    if (self.kind == JJ_STR) {
        jj_list *sl = jj_list_new(it, 3);
        if (sl == NULL) return self;
        jj_list_add(it, sl, jj_none());
        jj_list_add(it, sl, jj_none());
        jj_list_add(it, sl, jj_int(-1));
        return jj_getslice(it, self, jj_wrap_list(JJ_SLICE, sl));
    }
    jj_list *l = jj_to_list(it, self);
    for (size_t i = 0; l && i < l->n / 2; i++) {
        jj_val t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
    return jj_wrap_list(self.kind == JJ_ITER ? JJ_LIST : JJ_ITER, l);
}

static jj_val f_join(jj *it, jj_val self, const jj_args *a)
{
    jj_val d = jj_arg(a, 0, "d"), attr = jj_arg(a, 1, "attribute"), item;
    if (given(d)) d = jj_to_str(it, d);
    if (it->st != TK_OK) return d;
    tk_buf b = jj_buf();
    jj_cur c = jj_iter(it, self);
    for (size_t i = 0; it->st == TK_OK && jj_next(it, &c, &item); i++) {
        if (i && given(d)) {
            tk_buf_add(&b, d.u.s->p, d.u.s->len);
            jj_step(it, d.u.s->len / 64);
        }
        if (given(attr) && attr.kind != JJ_NONE) item = jj_get_path(it, item, attr, jj_missing());
        if (it->st == TK_OK) jj_to_text(it, &b, item);
        if (b.failed) break;
    }
    return jj_buf_str(it, &b);
}

static jj_val f_sum(jj *it, jj_val self, const jj_args *a)
{
    jj_val attr = jj_arg(a, 0, "attribute"), v = jj_arg(a, 1, "start"), item;
    if (!given(v)) v = jj_int(0);
    if (v.kind == JJ_STR) return jj_raise(it, "sum() can't sum strings [use ''.join(seq) instead]");
    jj_cur c = jj_iter(it, self);
    while (it->st == TK_OK && jj_next(it, &c, &item)) {
        item = jj_get_path(it, item, attr, jj_missing());
        if (it->st == TK_OK) v = jj_binary(it, OP_ADD, v, item);
    }
    return v;
}

static bool start_batch(jj *it, jj_list *out)
{
    const jj_args *a = &out->gen->args;
    jj_val count = jj_arg(a, 0, "linecount"), fill = jj_arg(a, 1, "fill_with"), item;
    jj_list *row = jj_list_new(it, 4);
    jj_cur c = jj_iter(it, out->gen->self);
    while (row && it->st == TK_OK && jj_next(it, &c, &item)) {
        if (jj_equal(it, jj_int((int64_t)row->n), count)) {
            jj_list_add(it, out, jj_wrap_list(JJ_LIST, row));
            if ((row = jj_list_new(it, 4)) == NULL) break;
        }
        jj_list_add(it, row, item);
    }
    if (it->st != TK_OK || !row || row->n == 0) return it->st == TK_OK;
    if (given(fill) && fill.kind != JJ_NONE) {
        int64_t n = jj_as_int(it, count, "batch");
        while ((int64_t)row->n < n && jj_step(it, 1) && jj_list_add(it, row, fill)) {
        }
    }
    return jj_list_add(it, out, jj_wrap_list(JJ_LIST, row));
}

static jj_val f_batch(jj *it, jj_val self, const jj_args *a)
{
    return generator(it, start_batch, NULL, self, a);
}

static bool start_slice(jj *it, jj_list *out)
{
    const jj_args *a = &out->gen->args;
    jj_list *all = jj_to_list(it, out->gen->self);
    int64_t n = all ? jj_as_int(it, jj_arg(a, 0, "slices"), "slice") : 0;
    jj_val fill = jj_arg(a, 1, "fill_with");
    if (it->st == TK_OK && n == 0) jj_raise(it, "integer division or modulo by zero");
    if (it->st != TK_OK) return false;
    int64_t per = n > 0 ? (int64_t)all->n / n : 0, extra = n > 0 ? (int64_t)all->n % n : 0,
            from = 0;
    for (int64_t i = 0; i < n && jj_step(it, 1); i++) {
        int64_t len = per + (i < extra);
        jj_list *part = jj_list_new(it, (size_t)len + 1);
        for (int64_t k = 0; part && k < len; k++) jj_list_add(it, part, all->v[from + k]);
        if (part && given(fill) && fill.kind != JJ_NONE && i >= extra) jj_list_add(it, part, fill);
        jj_list_add(it, out, jj_wrap_list(JJ_LIST, part));
        from += len;
    }
    return it->st == TK_OK;
}

static jj_val f_slice(jj *it, jj_val self, const jj_args *a)
{
    return generator(it, start_slice, NULL, self, a);
}

static jj_val f_attr(jj *it, jj_val self, const jj_args *a)
{
    jj_val name = jj_arg(a, 0, "name");
    bool found = false;
    if (name.kind != JJ_STR)
        return jj_raise(it, "attribute name must be string, not '%s'", jj_type_name(name));
    if (self.kind == JJ_UNDEF) return jj_getattr(it, self, name.u.s);
    jj_val v = jj_attr_of(it, self, name.u.s, &found);
    if (found || it->st != TK_OK) return v;
    return jj_undef(it, "'%s object' has no attribute '%.*s'", jj_type_name(self),
                    (int)TK_MIN(name.u.s->len, 150), name.u.s->p);
}

static jj_val f_random(jj *it, jj_val self, const jj_args *a)
{
    (void)self;
    (void)a;
    return jj_fail(it, TK_UNSUPPORTED,
                   "line %u: the filter random is not supported, as its output has no one value",
                   it->line);
}

const jj_func jj_filters_seq[] = {
    {"attr", f_attr, "name", 1},
    {"batch", f_batch, "linecount,fill_with", 1},
    {"count", f_length, "", 0},
    {"dictsort", f_dictsort, "case_sensitive,by,reverse", 0},
    {"first", f_first, "", 0},
    {"groupby", f_groupby, "attribute,default,case_sensitive", 1},
    {"items", f_items, "", 0},
    {"join", f_join, "d,attribute", 0},
    {"last", f_last, "", 0},
    {"length", f_length, "", 0},
    {"list", f_list, "", 0},
    {"map", f_map, "*", 0},
    {"max", f_max, "case_sensitive,attribute", 0},
    {"min", f_min, "case_sensitive,attribute", 0},
    {"random", f_random, "", 0},
    {"reject", f_reject, "*", 0},
    {"rejectattr", f_rejectattr, "*", 0},
    {"reverse", f_reverse, "", 0},
    {"select", f_select, "*", 0},
    {"selectattr", f_selectattr, "*", 0},
    {"slice", f_slice, "slices,fill_with", 1},
    {"sort", f_sort, "reverse,case_sensitive,attribute", 0},
    {"sum", f_sum, "attribute,start", 0},
    {"tojson", jj_tojson, "ensure_ascii,indent,separators,sort_keys", 0},
    {"unique", f_unique, "case_sensitive,attribute", 0},
    {0},
};
