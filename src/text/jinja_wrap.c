// SPDX-License-Identifier: MIT
// The filters wordwrap (Python's textwrap) and urlize (jinja2's utils.py). Both are rare in chat templates, so
// their patterns are compiled when they are used.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/jinja_int.h"

#include <pcre2.h>
#include <string.h>

// PCRE2's own measure of the work of one match; by the word for urlize's, which see whole words only.
enum { MAX_WORK = 1 << 20, WORD_WORK = 5000, WORK_PER_BYTE = 32 };

typedef struct part {
    size_t from, to; // bytes
} part;

typedef struct parts {
    part *v;
    size_t n, cap;
} parts;

static bool given(jj_val v)
{
    return v.kind != JJ_MISSING && v.kind != JJ_NONE;
}

static void add_part(jj *it, parts *l, size_t from, size_t to)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 16;
        part *grown = jj_alloc(it, cap, sizeof *grown);
        if (grown == NULL) return;
        if (l->n) memcpy(grown, l->v, l->n * sizeof *grown);
        l->v = grown;
        l->cap = cap;
    }
    l->v[l->n++] = (part){from, to};
}

typedef struct pattern {
    pcre2_code *re;
    pcre2_match_context *limits;
    pcre2_match_data *md;
    bool by_word;
} pattern;

static pattern compile(const char *text, uint32_t options)
{
    int code;
    PCRE2_SIZE at;
    pattern p = {.re = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP | options, &code, &at, NULL),
                 .limits = pcre2_match_context_create(NULL)};
    if (p.limits) pcre2_set_match_limit(p.limits, MAX_WORK);
    if (p.re) p.md = pcre2_match_data_create_from_pattern(p.re, NULL);
    return p;
}

static void release(pattern *p)
{
    pcre2_match_data_free(p->md);
    pcre2_match_context_free(p->limits);
    pcre2_code_free(p->re);
}

// The next match at or after from; false when there is none.
static bool match(jj *it, const pattern *p, const char *s, size_t len, size_t from, part *out)
{
    if (p->md == NULL || p->limits == NULL) {
        jj_fail(it, TK_NOMEM, "line %u: a pattern needs too much memory", it->line);
        return false;
    }
    if (p->by_word) {
        if (!jj_step(it, 4 * len + 16)) return false;
        pcre2_set_match_limit(p->limits,
                              (uint32_t)TK_MIN(WORD_WORK + WORK_PER_BYTE * len, (size_t)MAX_WORK));
    }
    int rc = pcre2_match(p->re, (PCRE2_SPTR)s, len, from, PCRE2_NO_UTF_CHECK, p->md, p->limits);
    if (rc < 0) {
        if (rc != PCRE2_ERROR_NOMATCH) jj_raise(it, "this text is too hard to match");
        return false;
    }
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(p->md);
    *out = (part){o[0], o[1]};
    return jj_step(it, 1 + (o[1] - o[0]) / 2);
}

// ---- wordwrap --------------------------------------------------------------------------------------

#define WS "\\t\\n\\x0b\\x0c\\r "
#define PUNCT "[\\w!\"'&.,?]"
#define LETTER "[^\\d\\W]"

// textwrap's wordsep_re and wordsep_simple_re
static const char words_hyphened[] =
    "[" WS "]+|(?<=" PUNCT ")-{2,}(?=\\w)|[^" WS "]+?(?:-(?:(?<=" LETTER "{2}-)|(?<=" LETTER
    "-" LETTER "-))(?=" LETTER "-?" LETTER ")|(?=[" WS "]|\\z)|(?<=" PUNCT ")(?=-{2,}\\w))";
static const char words_simple[] = "[" WS "]+";

typedef struct wrap {
    jj *it;
    const char *s;
    int64_t width;
    bool break_long, on_hyphens;
    parts chunks, line;
    size_t i_chunk;
    int64_t line_len;
} wrap;

static int64_t cps(const wrap *w, part p)
{
    jj_str t = {.p = w->s + p.from, .len = p.to - p.from, .n_cp = SIZE_MAX};
    jj_step(w->it, t.len / 64);
    return (int64_t)jj_cp_count(&t);
}

static bool blank(const wrap *w, part p)
{
    const char *s = w->s + p.from;
    size_t len = p.to - p.from;
    jj_strip(&s, &len, true, false);
    return len == 0;
}

static void cut(wrap *w, const pattern *p, size_t from, size_t to)
{
    size_t at = from;
    part hit;
    while (at < to && match(w->it, p, w->s + from, to - from, at - from, &hit)) {
        if (hit.from + from > at) add_part(w->it, &w->chunks, at, hit.from + from);
        add_part(w->it, &w->chunks, hit.from + from, hit.to + from);
        at = hit.to + from;
    }
    if (at < to) add_part(w->it, &w->chunks, at, to);
}

// A chunk that is wider than a line.
static void take_long(wrap *w)
{
    part *c = &w->chunks.v[w->i_chunk];
    if (!w->break_long) {
        if (w->line.n == 0) add_part(w->it, &w->line, c->from, c->to), w->i_chunk++;
        return;
    }
    int64_t left = w->width - w->line_len;
    jj_str t = {.p = w->s + c->from, .len = c->to - c->from, .n_cp = SIZE_MAX};
    size_t end = jj_cp_offset(&t, (size_t)left), last = end;
    bool other = false;
    while (w->on_hyphens && last > 0 && t.p[last - 1] != '-') last--;
    for (size_t i = 0; last > 1 && i < last - 1; i++) other |= t.p[i] != '-';
    if (w->on_hyphens && last > 1 && other) end = last;
    add_part(w->it, &w->line, c->from, c->from + end);
    c->from += end;
}

static void wrap_line(wrap *w, tk_buf *out, const jj_str *sep, bool *first)
{
    bool started = false;
    while (w->i_chunk < w->chunks.n && w->it->st == TK_OK && !out->failed) {
        w->line.n = 0;
        w->line_len = 0;
        if (started && blank(w, w->chunks.v[w->i_chunk])) w->i_chunk++;
        while (w->i_chunk < w->chunks.n) {
            part c = w->chunks.v[w->i_chunk];
            int64_t n = cps(w, c);
            if (w->line_len + n > w->width) break;
            add_part(w->it, &w->line, c.from, c.to);
            w->line_len += n;
            w->i_chunk++;
        }
        if (w->i_chunk < w->chunks.n && cps(w, w->chunks.v[w->i_chunk]) > w->width) take_long(w);
        if (w->line.n && blank(w, w->line.v[w->line.n - 1])) w->line.n--;
        if (w->line.n == 0 || !jj_step(w->it, w->line.n)) continue;
        if (!*first) tk_buf_add(out, sep->p, sep->len);
        *first = false;
        started = true;
        for (size_t i = 0; i < w->line.n; i++)
            tk_buf_add(out, w->s + w->line.v[i].from, w->line.v[i].to - w->line.v[i].from);
    }
}

jj_val jj_wordwrap(jj *it, jj_val self, const jj_args *a)
{
    static const jj_str newline = {.p = "\n", .len = 1, .n_cp = 1};
    jj_val width = jj_arg(a, 0, "width"), long_words = jj_arg(a, 1, "break_long_words"),
           sep = jj_arg(a, 2, "wrapstring"), hyphens = jj_arg(a, 3, "break_on_hyphens");
    if (self.kind != JJ_STR)
        return jj_raise(it, "wordwrap needs a string, not %s", jj_type_name(self));
    wrap w = {.it = it, .width = width.kind == JJ_MISSING ? 79 : jj_as_int(it, width, "wordwrap")};
    w.break_long = long_words.kind == JJ_MISSING || jj_truth(it, long_words);
    w.on_hyphens = hyphens.kind == JJ_MISSING || jj_truth(it, hyphens);
    bool cut_at_hyphens = hyphens.kind == JJ_MISSING || (hyphens.kind == JJ_BOOL && hyphens.u.b);
    if (given(sep) && sep.kind != JJ_STR)
        return jj_raise(it, "wordwrap: wrapstring must be a string");
    jj_list *lines = it->st == TK_OK ? jj_splitlines(it, self.u.s, false) : NULL;
    if (lines == NULL) return self;
    if (lines->n && w.width <= 0)
        return jj_raise(it, "invalid width %lld (must be > 0)", (long long)w.width);
    pattern p = compile(cut_at_hyphens ? words_hyphened : words_simple, 0);
    tk_buf b = jj_buf();
    const jj_str *between = given(sep) ? sep.u.s : &newline;
    for (size_t i = 0; i < lines->n && it->st == TK_OK && !b.failed; i++) {
        const jj_str *line = lines->v[i].u.s;
        bool first = true;
        if (i) tk_buf_add(&b, between->p, between->len);
        w.s = line->p;
        w.chunks.n = w.i_chunk = 0;
        cut(&w, &p, 0, line->len);
        wrap_line(&w, &b, between, &first);
    }
    release(&p);
    return jj_buf_str(it, &b);
}

// ---- urlize ----------------------------------------------------------------------------------------

static const char url_pattern[] =
    "^((https?://|www\\.)(([\\w%-]+\\.)+)?([a-z]{2,63}|xn--[\\w%]{2,59})"
    "|([\\w%-]{2,63}\\.)+(com|net|int|edu|gov|org|info|mil)"
    "|(https?://"
    ")((([\\d]{1,3})(\\.[\\d]{1,3}){3})|(\\[([\\da-f]{0,4}:){2}([\\da-f]{0,4}:?){1,6}])))"
    "(?::[\\d]{1,5})?(?:[/?#]\\S*)?$";
static const char email_pattern[] = "^\\S+@\\w[\\w.-]*\\.\\w+$";
static const char scheme_pattern[] = "^([\\w.+-]{2,}:(/){0,2})\\z";

typedef struct urlize {
    jj *it;
    tk_buf *b;
    pattern url, email;
    tk_buf attrs;  // rel and target
    int64_t limit; // -1: none
    const jj_list *schemes;
} urlize;

static bool begins(const char *p, size_t n, const char *z)
{
    return n >= strlen(z) && memcmp(p, z, strlen(z)) == 0;
}

static bool ends(const char *p, size_t n, const char *z)
{
    size_t len = strlen(z);
    return n >= len && memcmp(p + n - len, z, len) == 0;
}

static size_t count(const char *p, size_t n, const char *z)
{
    size_t hits = 0, len = strlen(z);
    for (const char *q; (q = memmem(p, n, z, len)); hits++) {
        n -= (size_t)(q - p) + len;
        p = q + len;
    }
    return hits;
}

static void link(urlize *u, const char *scheme, const char *p, size_t n, bool with_attrs,
                 size_t skip)
{
    tk_buf_addf(u->b, "<a href=\"%s", scheme);
    tk_buf_add(u->b, p, n);
    tk_buf_add_char(u->b, '"');
    if (with_attrs) tk_buf_add(u->b, tk_buf_str(&u->attrs), u->attrs.len);
    tk_buf_add_char(u->b, '>');
    jj_str shown = {.p = p + skip, .len = n - skip, .n_cp = SIZE_MAX};
    bool cut_off = with_attrs && u->limit >= 0 && (int64_t)jj_cp_count(&shown) > u->limit;
    tk_buf_add(u->b, shown.p, cut_off ? jj_cp_offset(&shown, (size_t)u->limit) : shown.len);
    tk_buf_add_str(u->b, cut_off ? "...</a>" : "</a>");
}

static void link_middle(urlize *u, const char *p, size_t n)
{
    part hit;
    if (match(u->it, &u->url, p, n, 0, &hit)) {
        link(u, begins(p, n, "https://") || begins(p, n, "http://") ? "" : "https://", p, n, true,
             0);
        return;
    }
    if (begins(p, n, "mailto:") && match(u->it, &u->email, p + 7, n - 7, 0, &hit)) {
        link(u, "", p, n, false, 7);
        return;
    }
    bool mail = memchr(p, '@', n) && !begins(p, n, "www.") && *p != '@' && !memchr(p, ':', n);
    if (mail && match(u->it, &u->email, p, n, 0, &hit)) {
        link(u, "mailto:", p, n, false, 0);
        return;
    }
    for (size_t i = 0; u->schemes && i < u->schemes->n; i++) {
        const jj_str *s = u->schemes->v[i].u.s;
        if (n <= s->len || memcmp(p, s->p, s->len) != 0) continue;
        int64_t limit = u->limit;
        u->limit = -1;
        link(u, "", p, n, true, 0);
        u->limit = limit;
        return;
    }
    tk_buf_add(u->b, p, n);
}

static void link_word(urlize *u, const char *p, size_t n)
{
    static const char *const pairs[][2] = {{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}};
    size_t head = 0, end = n;
    while (head < n) {
        size_t len = p[head] == '(' || p[head] == '<'     ? 1
                     : begins(p + head, n - head, "&lt;") ? 4
                                                          : 0;
        if (len == 0) break;
        head += len;
    }
    while (end > head) {
        size_t len = strchr(")>.,", p[end - 1]) && p[end - 1] ? 1
                     : ends(p + head, end - head, "&gt;")     ? 4
                                                              : 0;
        if (len == 0) break;
        end -= len;
    }
    // Brackets that the link opens go to it, with what stands before them.
    for (size_t i = 0; i < TK_COUNT(pairs); i++) {
        size_t open = count(p + head, end - head, pairs[i][0]);
        if (open <= count(p + head, end - head, pairs[i][1])) continue;
        for (size_t k = TK_MIN(open, count(p + end, n - end, pairs[i][1])); k > 0; k--) {
            const char *q = memmem(p + end, n - end, pairs[i][1], strlen(pairs[i][1]));
            end = (size_t)(q - p) + strlen(pairs[i][1]);
        }
    }
    tk_buf_add(u->b, p, head);
    link_middle(u, p + head, end - head);
    tk_buf_add(u->b, p + end, n - end);
}

static void add_attr(urlize *u, const char *name, const char *p, size_t n)
{
    if (n == 0) return;
    tk_buf_addf(&u->attrs, " %s=\"", name);
    jj_add_escaped(&u->attrs, p, n);
    tk_buf_add_char(&u->attrs, '"');
}

// rel's words, nofollow and jinja2's noopener, sorted and once each.
static void add_rel(urlize *u, jj_val rel, bool nofollow)
{
    jj_list none = {0};
    jj_args no_args = {0};
    jj_val words = given(rel) ? jj_invoke(u->it, jj_str_method("split", 5), rel, &no_args) : rel;
    jj_list *l = u->it->st == TK_OK && words.kind == JJ_LIST ? words.u.l : &none;
    if (nofollow) jj_list_add(u->it, l, jj_str_lit(u->it, "nofollow"));
    jj_list_add(u->it, l, jj_str_lit(u->it, "noopener"));
    jj_val *keys = jj_alloc(u->it, l->n + 1, sizeof *keys);
    if (keys == NULL) return;
    memcpy(keys, l->v, l->n * sizeof *keys);
    if (!jj_sort(u->it, keys, l->v, l->n, false)) return;
    tk_buf text = jj_buf();
    for (size_t i = 0; i < l->n; i++) {
        if (i && jj_equal(u->it, l->v[i - 1], l->v[i])) continue;
        if (i) tk_buf_add_char(&text, ' ');
        tk_buf_add(&text, l->v[i].u.s->p, l->v[i].u.s->len);
    }
    add_attr(u, "rel", tk_buf_str(&text), text.len);
    tk_buf_free(&text);
}

static bool read_schemes(urlize *u, jj_val v)
{
    if (!given(v)) return true;
    u->schemes = jj_to_list(u->it, v);
    pattern p = compile(scheme_pattern, 0);
    for (size_t i = 0; u->schemes && i < u->schemes->n && u->it->st == TK_OK; i++) {
        jj_val s = u->schemes->v[i];
        part hit;
        if (s.kind != JJ_STR || !match(u->it, &p, s.u.s->p, s.u.s->len, 0, &hit))
            jj_raise(u->it, "urlize: this is not a valid URI scheme prefix");
    }
    release(&p);
    return u->it->st == TK_OK;
}

jj_val jj_urlize(jj *it, jj_val self, const jj_args *a)
{
    jj_val limit = jj_arg(a, 0, "trim_url_limit"), target = jj_arg(a, 2, "target"),
           rel = jj_arg(a, 3, "rel");
    tk_buf b = jj_buf(), escaped = jj_buf();
    urlize u = {.it = it,
                .b = &b,
                .attrs = jj_buf(),
                .limit = given(limit) ? jj_as_int(it, limit, "urlize") : -1};
    bool safe = self.kind == JJ_STR && self.flag;
    jj_val text = jj_to_str(it, self);
    if (!jj_truth(it, rel)) rel = jj_none();
    if (given(rel) && rel.kind != JJ_STR) jj_raise(it, "urlize: rel has to be a string");
    target = jj_truth(it, target) ? jj_to_str(it, target) : jj_none();
    if (u.limit < -1) jj_raise(it, "urlize: a limit below zero is not supported");
    if (it->st == TK_OK && read_schemes(&u, jj_arg(a, 4, "extra_schemes"))) {
        add_rel(&u, rel, jj_truth(it, jj_arg(a, 1, "nofollow")));
        if (given(target)) add_attr(&u, "target", target.u.s->p, target.u.s->len);
        jj_add_escaped(&escaped, safe ? "" : text.u.s->p, safe ? 0 : text.u.s->len);
        const char *p = safe ? text.u.s->p : tk_buf_str(&escaped);
        size_t len = safe ? text.u.s->len : escaped.len, from = 0;
        u.url = compile(url_pattern, PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY);
        u.email = compile(email_pattern, PCRE2_DOLLAR_ENDONLY);
        u.url.by_word = u.email.by_word = true;
        while (from < len && it->st == TK_OK && !b.failed) {
            size_t to = from, next = from;
            while (to < len && !jj_cp_space(jj_cp_next(p, len, &next))) to = next;
            if (to > from) link_word(&u, p + from, to - from);
            if (to < len) tk_buf_add(&b, p + to, next - to);
            from = to < len ? next : len;
        }
        release(&u.url);
        release(&u.email);
    }
    tk_buf_free(&escaped);
    tk_buf_free(&u.attrs);
    return jj_buf_str(it, &b);
}
