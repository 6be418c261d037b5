// SPDX-License-Identifier: MIT
// Filters for markup, URLs and wrapped text: rare in chat templates, but jinja2 has them.
#include "text/jinja_int.h"

#include <string.h>

static bool given(jj_val v)
{
    return v.kind != JJ_MISSING;
}

static void quote(tk_buf *b, const jj_str *s, bool for_qs)
{
    for (size_t i = 0; i < s->len; i++) {
        unsigned char c = (unsigned char)s->p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !for_qs);
        if (plain)
            tk_buf_add_char(b, (char)c);
        else if (c == ' ' && for_qs)
            tk_buf_add_char(b, '+');
        else
            tk_buf_addf(b, "%%%02X", c);
    }
}

static jj_val f_urlencode(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    tk_buf b = jj_buf();
    if (self.kind == JJ_STR || !jj_iterable(self)) {
        jj_val s = jj_to_str(it, self);
        if (it->st == TK_OK && jj_step(it, s.u.s->len / 16)) quote(&b, s.u.s, false);
        return jj_buf_str(it, &b);
    }
    jj_val items = self, item;
    if (self.kind == JJ_DICT) items = (jj_val){.kind = JJ_VIEW, .flag = JJ_ITEMS, .u.d = self.u.d};
    jj_cur c = jj_iter(it, items);
    for (size_t i = 0; it->st == TK_OK && jj_next(it, &c, &item); i++) {
        jj_list *pair = jj_to_list(it, item);
        if (pair == NULL) break;
        if (pair->n != 2) {
            jj_raise(it, "urlencode needs pairs");
            break;
        }
        jj_val k = jj_to_str(it, pair->v[0]), v = jj_to_str(it, pair->v[1]);
        if (it->st != TK_OK || !jj_step(it, (k.u.s->len + v.u.s->len) / 16)) break;
        if (i) tk_buf_add_char(&b, '&');
        quote(&b, k.u.s, true);
        tk_buf_add_char(&b, '=');
        quote(&b, v.u.s, true);
    }
    return jj_buf_str(it, &b);
}

static void add_escaped(jj *it, tk_buf *b, jj_val v)
{
    bool safe = v.kind == JJ_STR && v.flag;
    v = jj_to_str(it, v);
    if (it->st != TK_OK || !jj_step(it, v.u.s->len / 16)) return;
    if (safe)
        tk_buf_add(b, v.u.s->p, v.u.s->len);
    else
        jj_add_escaped(b, v.u.s->p, v.u.s->len);
}

static jj_val f_xmlattr(jj *it, jj_val self, const jj_args *a)
{
    jj_val space = jj_arg(a, 0, "autospace");
    bool first = true, lead = !given(space) || jj_truth(it, space);
    if (self.kind != JJ_DICT)
        return jj_raise(it, "xmlattr needs a dict, not %s", jj_type_name(self));
    tk_buf b = jj_buf();
    for (size_t i = 0; i < self.u.d->n && it->st == TK_OK; i++) {
        jj_val k = self.u.d->e[i].key, v = self.u.d->e[i].val;
        if (v.kind == JJ_NONE || v.kind == JJ_UNDEF) continue;
        if (k.kind != JJ_STR) {
            jj_raise(it, "xmlattr needs keys that are strings, not %s", jj_type_name(k));
            break;
        }
        for (size_t c = 0; c < k.u.s->len; c++)
            if (k.u.s->p[c] && strchr(" \t\n\r\f\v/>=", k.u.s->p[c]))
                jj_raise(it, "Invalid character in attribute name");
        if (!first || lead) tk_buf_add_char(&b, ' ');
        first = false;
        add_escaped(it, &b, k);
        tk_buf_add_str(&b, "=\"");
        add_escaped(it, &b, v);
        tk_buf_add_char(&b, '"');
    }
    return jj_buf_str(it, &b);
}

static const char *find2(const char *p, const char *end, const char *z)
{
    return memmem(p, (size_t)(end - p), z, strlen(z));
}

// One character reference at p ("&amp;"), decoded; NULL when it is none that is known here.
static const char *entity(tk_buf *b, const char *p, const char *end)
{
    static const struct {
        const char *from, *to;
    } known[] = {{"&amp;", "&"},  {"&lt;", "<"},  {"&gt;", ">"},   {"&quot;", "\""},
                 {"&#34;", "\""}, {"&#39;", "'"}, {"&apos;", "'"}, {"&nbsp;", "\xC2\xA0"}};
    for (size_t i = 0; i < TK_COUNT(known); i++) {
        size_t n = strlen(known[i].from);
        if ((size_t)(end - p) >= n && memcmp(p, known[i].from, n) == 0) {
            tk_buf_add_str(b, known[i].to);
            return p + n;
        }
    }
    return NULL;
}

// Everything but tags and comments; an open one ends the search, as in markupsafe.
static void add_untagged(tk_buf *b, const char *p, const char *end)
{
    for (const char *open; (open = memchr(p, '<', (size_t)(end - p)));) {
        bool comment = end - open >= 4 && memcmp(open, "<!--", 4) == 0;
        const char *close =
            comment ? find2(open + 4, end, "-->") : memchr(open, '>', (size_t)(end - open));
        if (close == NULL) break;
        tk_buf_add(b, p, (size_t)(open - p));
        p = close + (comment ? 3 : 1);
    }
    tk_buf_add(b, p, (size_t)(end - p));
}

// markupsafe's striptags: tags and comments go, white space becomes one space, references are decoded.
static jj_val f_striptags(jj *it, jj_val self, const jj_args *a)
{
    (void)a;
    jj_val s = jj_to_str(it, self);
    if (it->st != TK_OK || !jj_step(it, s.u.s->len / 8)) return s;
    tk_buf text = jj_buf(), out = jj_buf();
    add_untagged(&text, s.u.s->p, s.u.s->p + s.u.s->len);
    bool space = false;
    const char *p = tk_buf_str(&text), *end = p + text.len;
    while (p < end) {
        size_t n = 0;
        bool is_space = jj_cp_space(jj_cp_next(p, (size_t)(end - p), &n));
        if (is_space) {
            space = out.len > 0;
            p += n;
            continue;
        }
        if (space) tk_buf_add_char(&out, ' ');
        space = false;
        const char *next = *p == '&' ? entity(&out, p, end) : NULL;
        if (next == NULL) tk_buf_add(&out, p, n);
        p = next ? next : p + n;
    }
    tk_buf_free(&text);
    return jj_buf_str(it, &out);
}

const jj_func jj_filters_html[] = {
    {"pprint", jj_pprint, "", 0},
    {"striptags", f_striptags, "", 0},
    {"urlencode", f_urlencode, "", 0},
    {"urlize", jj_urlize, "trim_url_limit,nofollow,target,rel,extra_schemes", 0},
    {"wordwrap", jj_wordwrap, "width,break_long_words,wrapstring,break_on_hyphens", 0},
    {"xmlattr", f_xmlattr, "autospace", 0},
    {0},
};
