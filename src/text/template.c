// SPDX-License-Identifier: MIT
#include "text/template.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/jinja_int.h"

#include <string.h>

struct jj_names {
    tk_map *map;
};

// One jj_str per name, so that names compare by address.
const jj_str *jj_intern(jj_parser *p, const char *s, size_t len)
{
    uint64_t v;
    if (tk_map_get(p->names->map, s, len, &v)) return (const jj_str *)(uintptr_t)v;
    jj_str *o = tk_arena_alloc(p->a, sizeof *o);
    char *copy = o ? tk_arena_strndup(p->a, s, len) : NULL;
    if (copy == NULL) return jj_parse_fail(p, p->tok->line, "the template needs too much memory");
    *o = (jj_str){.p = copy, .len = len, .n_cp = SIZE_MAX};
    jj_cp_count(o);
    tk_map_add(p->names->map, copy, len, (uint64_t)(uintptr_t)o);
    return o;
}

// '\r\n' and '\r' become '\n', and one newline at the end goes, as jinja2 does before it lexes.
static char *normalise(const char *source, size_t *len)
{
    char *s = tk_alloc(*len + 1);
    size_t n = 0;
    for (size_t i = 0; i < *len; i++) {
        if (source[i] == '\r' && i + 1 < *len && source[i + 1] == '\n') continue;
        s[n++] = source[i] == '\r' ? '\n' : source[i];
    }
    if (n && s[n - 1] == '\n') n--;
    *len = n;
    return s;
}

static tk_status parse_tokens(tk_template *t, const jj_toks *toks, tk_err *err)
{
    struct jj_names names = {.map = tk_map_new(256)};
    jj_parser p = {.a = t->a, .tok = toks->v, .err = err, .names = &names};
    t->root = jj_parse_template(&p);
    jj_check_names(&p, t->root, false);
    if (p.st == TK_OK && t->root == NULL)
        p.st = tk_fail(err, TK_NOMEM, "the template needs too much memory");
    if (p.st == TK_OK && !jj_resolve_scopes(t->a, t->root))
        p.st = tk_fail(err, TK_NOMEM, "the template needs more than %u bytes",
                       TK_LIMIT_TEMPLATE_MEM_BYTES);
    tk_map_free(names.map);
    return p.st;
}

tk_status tk_template_parse(const char *source, size_t len, tk_template **out, tk_err *err)
{
    *out = NULL;
    if (len > TK_LIMIT_TEMPLATE_BYTES)
        return tk_fail(err, TK_BAD_INPUT, "the template has %zu bytes, at most %u are accepted",
                       len, TK_LIMIT_TEMPLATE_BYTES);
    if (!tk_utf8_valid(source, len))
        return tk_fail(err, TK_BAD_INPUT, "the template is not valid UTF-8");
    tk_template *t = tk_alloc(sizeof *t);
    t->a = tk_arena_new(TK_LIMIT_TEMPLATE_MEM_BYTES);
    jj_toks toks = {0};
    char *s = normalise(source, &len);
    tk_status st = jj_lex(s, len, &toks, err);
    if (st == TK_OK) st = parse_tokens(t, &toks, err);
    tk_free(toks.v);
    tk_free(s);
    if (st != TK_OK) {
        tk_template_free(t);
        return st;
    }
    *out = t;
    return TK_OK;
}

void tk_template_free(tk_template *t)
{
    if (t == NULL) return;
    tk_arena_free(t->a);
    tk_free(t);
}

tk_status tk_template_render(const tk_template *t, const json_t *context, tk_buf *out, tk_err *err)
{
    if (!json_is_object(context))
        return tk_fail(err, TK_BAD_INPUT, "the template's context is not a JSON object");
    jj *it = tk_alloc(sizeof *it);
    tk_buf text = tk_buf_make(TK_LIMIT_TEMPLATE_OUT_BYTES);
    it->a = tk_arena_new(TK_LIMIT_TEMPLATE_MEM_BYTES);
    it->err = err;
    it->out = &text;
    it->line = 1;
    jj_val ctx = jj_from_json(it, context);
    if (it->st == TK_OK) {
        it->ctx = ctx.u.d;
        it->root = jj_scope_new(it, t->root->syms, NULL);
        it->scope = it->root;
        it->blocks = t->root->c;
        if (it->root) jj_exec(it, &t->root->body);
    }
    tk_status st = it->st;
    if (st == TK_OK && !tk_buf_add(out, tk_buf_str(&text), text.len))
        st = tk_fail(err, TK_NOMEM, "the rendered text of %zu bytes does not fit", text.len);
    for (int i = 0; i < it->n_cap; i++) tk_buf_free(&it->cap[i]);
    tk_buf_free(&text);
    tk_arena_free(it->a);
    tk_free(it);
    return st;
}
