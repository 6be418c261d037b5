// SPDX-License-Identifier: MIT
// The methods of str.
#include "text/jinja_int.h"

#include <string.h>

static jj_str *need_str(jj *it, jj_val v, const char *what)
{
    if (v.kind == JJ_STR) return v.u.s;
    if (v.kind == JJ_UNDEF)
        jj_raise(it, "%.*s", (int)v.u.s->len, v.u.s->p);
    else
        jj_raise(it, "%s: a str was expected, not %s", what, jj_type_name(v));
    return NULL;
}

static bool charge(jj *it, const jj_str *s)
{
    return jj_step(it, s->len / 8 + 1);
}

static jj_val case_method(jj *it, jj_val self, jj_case how)
{
    return jj_case_str(it, self, how);
}

static jj_val m_upper(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_UPPER);
}
static jj_val m_lower(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_LOWER);
}
static jj_val m_capitalize(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_CAPITAL);
}
static jj_val m_title(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_TITLE);
}
static jj_val m_swapcase(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_SWAP);
}
static jj_val m_casefold(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return case_method(it, s, CASE_FOLD);
}

// ---- strip -----------------------------------------------------------------------------------------

static bool has_cp(const jj_str *set, const char *p, size_t n)
{
    // A character's bytes are found only at a character, as UTF-8 is self-synchronising.
    return memmem(set->p, set->len, p, n) != NULL;
}

static jj_val strip(jj *it, jj_val self, const jj_args *a, bool left, bool right)
{
    const char *p = self.u.s->p;
    size_t len = self.u.s->len;
    if (!charge(it, self.u.s)) return self;
    if (a->n_pos == 0 || a->pos[0].kind == JJ_NONE) {
        jj_strip(&p, &len, left, right);
    } else {
        const jj_str *set = need_str(it, a->pos[0], "strip");
        if (set == NULL || !jj_step(it, len / 4 * (set->len / 64 + 1))) return self;
        while (left && len) {
            size_t n = 0;
            jj_cp_next(p, len, &n);
            if (!has_cp(set, p, n)) break;
            p += n;
            len -= n;
        }
        while (right && len) {
            size_t at = len - 1;
            while (at > 0 && ((unsigned char)p[at] & 0xC0) == 0x80) at--;
            if (!has_cp(set, p + at, len - at)) break;
            len = at;
        }
    }
    size_t from = (size_t)(p - self.u.s->p);
    return jj_substr(it, self.u.s, from, from + len);
}

static jj_val m_strip(jj *it, jj_val s, const jj_args *a)
{
    return strip(it, s, a, true, true);
}
static jj_val m_lstrip(jj *it, jj_val s, const jj_args *a)
{
    return strip(it, s, a, true, false);
}
static jj_val m_rstrip(jj *it, jj_val s, const jj_args *a)
{
    return strip(it, s, a, false, true);
}

// ---- split and join --------------------------------------------------------------------------------

static bool add_part(jj *it, jj_list *l, jj_str *s, size_t from, size_t to)
{
    return jj_list_add(it, l, jj_substr(it, s, from, to));
}

static void split_space(jj *it, jj_list *l, jj_str *s, int64_t max)
{
    size_t i = 0;
    while (it->st == TK_OK) {
        const char *p = s->p + i;
        size_t n = s->len - i;
        jj_strip(&p, &n, true, false);
        if (n == 0) return;
        i = (size_t)(p - s->p);
        if (max >= 0 && (int64_t)l->n >= max) {
            add_part(it, l, s, i, s->len); // the rest keeps the space at its end
            return;
        }
        size_t end = i;
        while (end < s->len) {
            size_t next = end;
            if (jj_cp_space(jj_cp_next(s->p, s->len, &next))) break;
            end = next;
        }
        add_part(it, l, s, i, end);
        i = end;
    }
}

static void rsplit_space(jj *it, jj_list *l, jj_str *s, int64_t max)
{
    size_t len = s->len;
    while (it->st == TK_OK) {
        const char *p = s->p;
        jj_strip(&p, &len, false, true);
        if (len == 0) return;
        if (max >= 0 && (int64_t)l->n >= max) {
            add_part(it, l, s, 0, len); // the rest keeps the space before it
            return;
        }
        size_t from = len;
        while (from > 0) {
            size_t at = from - 1;
            while (at > 0 && ((unsigned char)s->p[at] & 0xC0) == 0x80) at--;
            size_t n = at;
            if (jj_cp_space(jj_cp_next(s->p, s->len, &n))) break;
            from = at;
        }
        add_part(it, l, s, from, len);
        len = from;
    }
}

static void split_sep(jj *it, jj_list *l, jj_str *s, const jj_str *sep, int64_t max)
{
    size_t i = 0;
    while (it->st == TK_OK && (max < 0 || (int64_t)l->n < max)) {
        const char *hit = memmem(s->p + i, s->len - i, sep->p, sep->len);
        if (hit == NULL) break;
        add_part(it, l, s, i, (size_t)(hit - s->p));
        i = (size_t)(hit - s->p) + sep->len;
    }
    add_part(it, l, s, i, s->len);
}

// The last place of q. Compares at every place from the end, and charges for those it tries.
static const char *rfind(jj *it, const char *p, size_t len, const char *q, size_t n)
{
    for (size_t i = len >= n ? len - n + 1 : 0; i > 0; i--) {
        if (memcmp(p + i - 1, q, n) == 0) return p + i - 1;
        if (i % 64 == 0 && !jj_step(it, 4 + n / 16)) return NULL;
    }
    return NULL;
}

static void rsplit_sep(jj *it, jj_list *l, jj_str *s, const jj_str *sep, int64_t max)
{
    size_t len = s->len;
    while (it->st == TK_OK && (max < 0 || (int64_t)l->n < max)) {
        const char *hit = rfind(it, s->p, len, sep->p, sep->len);
        if (hit == NULL) break;
        add_part(it, l, s, (size_t)(hit - s->p) + sep->len, len);
        len = (size_t)(hit - s->p);
    }
    add_part(it, l, s, 0, len);
}

static jj_val split(jj *it, jj_val self, const jj_args *a, bool right)
{
    jj_val sep = jj_arg(a, 0, "sep"), m = jj_arg(a, 1, "maxsplit");
    int64_t max = m.kind == JJ_MISSING ? -1 : jj_as_int(it, m, "maxsplit");
    bool space = sep.kind == JJ_MISSING || sep.kind == JJ_NONE;
    const jj_str *q = space ? NULL : need_str(it, sep, "split");
    jj_list *l = jj_list_new(it, 4);
    if (l == NULL || it->st != TK_OK || !charge(it, self.u.s)) return jj_none();
    if (q && q->len == 0) return jj_raise(it, "empty separator");
    if (right && q)
        rsplit_sep(it, l, self.u.s, q, max);
    else if (right)
        rsplit_space(it, l, self.u.s, max);
    else if (q)
        split_sep(it, l, self.u.s, q, max);
    else
        split_space(it, l, self.u.s, max);
    for (size_t i = 0; right && i < l->n / 2; i++) {
        jj_val t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
    return jj_wrap_list(JJ_LIST, l);
}

static jj_val m_split(jj *it, jj_val s, const jj_args *a)
{
    return split(it, s, a, false);
}
static jj_val m_rsplit(jj *it, jj_val s, const jj_args *a)
{
    return split(it, s, a, true);
}

jj_list *jj_splitlines(jj *it, jj_str *s, bool keep)
{
    jj_list *l = jj_list_new(it, 4);
    size_t from = 0, i = 0;
    if (l == NULL || !charge(it, s)) return NULL;
    while (i < s->len && it->st == TK_OK) {
        size_t end = i;
        uint32_t c = jj_cp_next(s->p, s->len, &i);
        bool line_end =
            (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
        if (!line_end) continue;
        if (c == '\r' && i < s->len && s->p[i] == '\n') i++;
        add_part(it, l, s, from, keep ? i : end);
        from = i;
    }
    if (from < s->len) add_part(it, l, s, from, s->len);
    return l;
}

static jj_val m_splitlines(jj *it, jj_val s, const jj_args *a)
{
    jj_val keep = jj_arg(a, 0, "keepends");
    return jj_wrap_list(JJ_LIST, jj_splitlines(it, s.u.s, jj_truth(it, keep)));
}

static jj_val m_join(jj *it, jj_val self, const jj_args *a)
{
    tk_buf b = jj_buf();
    jj_cur c = jj_iter(it, a->pos[0]);
    jj_val item;
    for (size_t i = 0; it->st == TK_OK && jj_next(it, &c, &item); i++) {
        if (self.flag) item = jj_escape(it, item);
        if (it->st == TK_OK && item.kind != JJ_STR) {
            jj_raise(it, "sequence item %zu: expected str instance, %s found", i,
                     jj_type_name(item));
            break;
        }
        if (it->st != TK_OK) break;
        jj_step(it, (self.u.s->len + item.u.s->len) / 64);
        if (i) tk_buf_add(&b, self.u.s->p, self.u.s->len);
        tk_buf_add(&b, item.u.s->p, item.u.s->len);
    }
    return jj_buf_str(it, &b);
}

static jj_val partition(jj *it, jj_val self, const jj_args *a, bool right)
{
    jj_str *s = self.u.s, *q = need_str(it, a->pos[0], "partition");
    if (q == NULL || !charge(it, s)) return self;
    if (q->len == 0) return jj_raise(it, "empty separator");
    const char *hit =
        right ? rfind(it, s->p, s->len, q->p, q->len) : memmem(s->p, s->len, q->p, q->len);
    jj_list *l = jj_list_new(it, 3);
    if (l == NULL) return self;
    if (hit) {
        size_t at = (size_t)(hit - s->p);
        add_part(it, l, s, 0, at);
        jj_list_add(it, l, a->pos[0]);
        add_part(it, l, s, at + q->len, s->len);
    } else {
        if (!right) jj_list_add(it, l, self);
        jj_list_add(it, l, jj_str_lit(it, ""));
        jj_list_add(it, l, jj_str_lit(it, ""));
        if (right) jj_list_add(it, l, self);
    }
    return jj_wrap_list(JJ_TUPLE, l);
}

static jj_val m_partition(jj *it, jj_val s, const jj_args *a)
{
    return partition(it, s, a, false);
}
static jj_val m_rpartition(jj *it, jj_val s, const jj_args *a)
{
    return partition(it, s, a, true);
}

// ---- searching -------------------------------------------------------------------------------------

// [start, end) of a->pos[1], a->pos[2] as bytes; false when start is past the end (nothing matches there).
static bool window(jj *it, jj_str *s, const jj_args *a, size_t *from, size_t *to)
{
    if (a->n_pos > 1 && s->n_cp != s->len) jj_step(it, s->len / 16);
    int64_t n = (int64_t)jj_cp_count(s), v[2] = {0, n};
    for (size_t i = 1; i < 3 && i < a->n_pos; i++) {
        if (a->pos[i].kind == JJ_NONE) continue;
        v[i - 1] = jj_as_int(it, a->pos[i], "slice index");
        if (v[i - 1] < 0) v[i - 1] = v[i - 1] + n < 0 ? 0 : v[i - 1] + n;
    }
    if (v[1] > n) v[1] = n;
    if (v[0] > v[1]) return false;
    *from = jj_cp_offset(s, (size_t)v[0]);
    *to = jj_cp_offset(s, (size_t)v[1]);
    return it->st == TK_OK;
}

static size_t cps_before(const jj_str *s, size_t byte)
{
    jj_str head = {.p = s->p, .len = byte, .n_cp = s->n_cp == s->len ? byte : SIZE_MAX};
    return jj_cp_count(&head);
}

static int64_t find_in(jj *it, jj_val self, const jj_args *a, bool right)
{
    jj_str *s = self.u.s, *q = need_str(it, a->pos[0], "find");
    size_t from, to;
    if (q == NULL || !charge(it, s) || !window(it, s, a, &from, &to)) return -1;
    const char *hit = right ? rfind(it, s->p + from, to - from, q->p, q->len)
                            : memmem(s->p + from, to - from, q->p, q->len);
    return hit ? (int64_t)cps_before(s, (size_t)(hit - s->p)) : -1;
}

static jj_val m_find(jj *it, jj_val s, const jj_args *a)
{
    return jj_int(find_in(it, s, a, false));
}
static jj_val m_rfind(jj *it, jj_val s, const jj_args *a)
{
    return jj_int(find_in(it, s, a, true));
}
static jj_val m_index(jj *it, jj_val s, const jj_args *a)
{
    int64_t i = find_in(it, s, a, false);
    return i < 0 ? jj_raise(it, "substring not found") : jj_int(i);
}
static jj_val m_rindex(jj *it, jj_val s, const jj_args *a)
{
    int64_t i = find_in(it, s, a, true);
    return i < 0 ? jj_raise(it, "substring not found") : jj_int(i);
}

static jj_val m_count(jj *it, jj_val self, const jj_args *a)
{
    jj_str *s = self.u.s, *q = need_str(it, a->pos[0], "count");
    size_t from, to;
    int64_t n = 0;
    if (q == NULL || !charge(it, s) || !window(it, s, a, &from, &to)) return jj_int(0);
    if (q->len == 0) {
        jj_str part = {.p = s->p + from, .len = to - from, .n_cp = SIZE_MAX};
        return jj_int((int64_t)jj_cp_count(&part) + 1);
    }
    for (const char *hit; (hit = memmem(s->p + from, to - from, q->p, q->len)); n++)
        from = (size_t)(hit - s->p) + q->len;
    return jj_int(n);
}

static bool edge(const jj_str *s, size_t from, size_t to, const jj_str *q, bool end)
{
    if (to - from < q->len) return false;
    return memcmp(end ? s->p + to - q->len : s->p + from, q->p, q->len) == 0;
}

static jj_val with_edge(jj *it, jj_val self, const jj_args *a, bool end)
{
    const char *name = end ? "endswith" : "startswith";
    jj_val one = a->pos[0];
    const jj_list single = {.v = &one, .n = 1}, *any = one.kind == JJ_TUPLE ? one.u.l : &single;
    size_t from, to;
    if (one.kind != JJ_TUPLE && need_str(it, one, name) == NULL) return self;
    if (!window(it, self.u.s, a, &from, &to)) return jj_bool(false);
    for (size_t i = 0; i < any->n && jj_step(it, 1); i++) {
        const jj_str *q = need_str(it, any->v[i], name);
        if (q && edge(self.u.s, from, to, q, end)) return jj_bool(true);
    }
    return jj_bool(false);
}

static jj_val m_startswith(jj *it, jj_val s, const jj_args *a)
{
    return with_edge(it, s, a, false);
}
static jj_val m_endswith(jj *it, jj_val s, const jj_args *a)
{
    return with_edge(it, s, a, true);
}

static jj_val m_removeprefix(jj *it, jj_val self, const jj_args *a)
{
    const jj_str *q = need_str(it, a->pos[0], "removeprefix");
    if (q == NULL || !edge(self.u.s, 0, self.u.s->len, q, false)) return self;
    return jj_substr(it, self.u.s, q->len, self.u.s->len);
}
static jj_val m_removesuffix(jj *it, jj_val self, const jj_args *a)
{
    const jj_str *q = need_str(it, a->pos[0], "removesuffix");
    if (q == NULL || !edge(self.u.s, 0, self.u.s->len, q, true)) return self;
    return jj_substr(it, self.u.s, 0, self.u.s->len - q->len);
}

jj_val jj_replace(jj *it, jj_str *s, const jj_str *from, const jj_str *to, int64_t count)
{
    tk_buf b = jj_buf();
    size_t i = 0;
    if (!charge(it, s)) return jj_none();
    for (int64_t n = 0; (count < 0 || n < count) && !b.failed && jj_step(it, to->len / 64); n++) {
        if (from->len == 0) { // before each character and at the end
            tk_buf_add(&b, to->p, to->len);
            if (i >= s->len) {
                i = SIZE_MAX;
                break;
            }
            size_t next = i;
            jj_cp_next(s->p, s->len, &next);
            tk_buf_add(&b, s->p + i, next - i);
            i = next;
            continue;
        }
        const char *hit = memmem(s->p + i, s->len - i, from->p, from->len);
        if (hit == NULL) break;
        tk_buf_add(&b, s->p + i, (size_t)(hit - s->p) - i);
        tk_buf_add(&b, to->p, to->len);
        i = (size_t)(hit - s->p) + from->len;
    }
    if (i < s->len) tk_buf_add(&b, s->p + i, s->len - i);
    return jj_buf_str(it, &b);
}

static jj_val m_replace(jj *it, jj_val self, const jj_args *a)
{
    const jj_str *from = need_str(it, a->pos[0], "replace"),
                 *to = from ? need_str(it, a->pos[1], "replace") : NULL;
    int64_t count = a->n_pos > 2 ? jj_as_int(it, a->pos[2], "replace") : -1;
    return to && it->st == TK_OK ? jj_replace(it, self.u.s, from, to, count) : self;
}

// ---- padding ---------------------------------------------------------------------------------------

// where: -1 text at the left, 0 centred, 1 at the right.
jj_val jj_pad(jj *it, jj_val self, int64_t width, const jj_str *fill, int where)
{
    int64_t n = (int64_t)jj_cp_count(self.u.s), pad = width - n;
    if (pad <= 0) return self;
    int64_t left = where < 0 ? 0 : where > 0 ? pad : pad / 2 + (pad & width & 1);
    if (pad > (int64_t)(TK_LIMIT_TEMPLATE_OUT_BYTES / TK_MAX(fill->len, 1)))
        return jj_fail(it, TK_NOMEM, "line %u: a string padded to %lld characters", it->line,
                       (long long)width);
    if (!jj_step(it, (size_t)pad / 16)) return self;
    tk_buf b = jj_buf();
    for (int64_t i = 0; i < left; i++) tk_buf_add(&b, fill->p, fill->len);
    tk_buf_add(&b, self.u.s->p, self.u.s->len);
    for (int64_t i = left; i < pad; i++) tk_buf_add(&b, fill->p, fill->len);
    return jj_buf_str(it, &b);
}

static jj_val pad_method(jj *it, jj_val self, const jj_args *a, int where)
{
    static const jj_str space = {.p = " ", .len = 1, .n_cp = 1};
    int64_t width = jj_as_int(it, a->pos[0], "width");
    jj_str *fill = a->n_pos > 1 ? need_str(it, a->pos[1], "fill") : NULL;
    if (it->st != TK_OK) return self;
    if (fill && jj_cp_count(fill) != 1)
        return jj_raise(it, "the fill character must be exactly one character long");
    return jj_pad(it, self, width, fill ? fill : &space, where);
}

static jj_val m_center(jj *it, jj_val s, const jj_args *a)
{
    return pad_method(it, s, a, 0);
}
static jj_val m_ljust(jj *it, jj_val s, const jj_args *a)
{
    return pad_method(it, s, a, -1);
}
static jj_val m_rjust(jj *it, jj_val s, const jj_args *a)
{
    return pad_method(it, s, a, 1);
}

static jj_val m_zfill(jj *it, jj_val self, const jj_args *a)
{
    static const jj_str zero = {.p = "0", .len = 1, .n_cp = 1};
    int64_t width = jj_as_int(it, a->pos[0], "width");
    jj_str *s = self.u.s;
    bool sign = s->len && (*s->p == '-' || *s->p == '+');
    if (it->st != TK_OK || !sign) return it->st == TK_OK ? jj_pad(it, self, width, &zero, 1) : self;
    jj_val rest = jj_pad(it, jj_substr(it, s, 1, s->len), width > 0 ? width - 1 : 0, &zero, 1);
    return it->st == TK_OK ? jj_concat(it, jj_str_ref(it, s->p, 1), rest) : self;
}

static jj_val m_expandtabs(jj *it, jj_val self, const jj_args *a)
{
    jj_val t = jj_arg(a, 0, "tabsize");
    int64_t size = t.kind == JJ_MISSING ? 8 : jj_as_int(it, t, "tabsize"), col = 0;
    const jj_str *s = self.u.s;
    if (!charge(it, s)) return self;
    tk_buf b = jj_buf();
    for (size_t i = 0; i < s->len && !b.failed;) {
        size_t at = i;
        uint32_t c = jj_cp_next(s->p, s->len, &i);
        if (c != '\t') {
            tk_buf_add(&b, s->p + at, i - at);
            col = c == '\n' || c == '\r' ? 0 : col + 1;
        } else if (size > 0) {
            int64_t n = size - col % size;
            for (int64_t k = 0; k < n && !b.failed; k++) tk_buf_add_char(&b, ' ');
            jj_step(it, (size_t)n / 16);
            col += n;
        }
    }
    return jj_buf_str(it, &b);
}

// ---- classes ---------------------------------------------------------------------------------------

static bool every(jj *it, const jj_str *s, bool (*is)(uint32_t), bool when_empty)
{
    if (s->len == 0) return when_empty;
    jj_step(it, s->len / 16);
    for (size_t i = 0; i < s->len;)
        if (!is(jj_cp_next(s->p, s->len, &i))) return false;
    return true;
}

static bool cp_alnum(uint32_t c)
{
    return jj_cp_alpha(c) || jj_cp_numeric(c);
}
static bool cp_ascii(uint32_t c)
{
    return c < 128;
}

#define CLASS(name, is, when_empty)                                                                \
    static jj_val m_##name(jj *it, jj_val s, const jj_args *a)                                     \
    {                                                                                              \
        (void)a;                                                                                   \
        return jj_bool(every(it, s.u.s, is, when_empty));                                          \
    }
CLASS(isalpha, jj_cp_alpha, false)
CLASS(isdigit, jj_cp_digit, false)
CLASS(isdecimal, jj_cp_decimal, false)
CLASS(isnumeric, jj_cp_numeric, false)
CLASS(isalnum, cp_alnum, false)
CLASS(isspace, jj_cp_space, false)
CLASS(isascii, cp_ascii, true)
CLASS(isprintable, jj_cp_printable, true)

bool jj_all_case(jj *it, const jj_str *s, bool upper)
{
    bool any = false;
    jj_step(it, s->len / 16);
    for (size_t i = 0; i < s->len;) {
        uint32_t c = jj_cp_next(s->p, s->len, &i);
        if ((upper ? jj_cp_lower(c) : jj_cp_upper(c)) || jj_cp_title(c)) return false;
        any |= upper ? jj_cp_upper(c) : jj_cp_lower(c);
    }
    return any;
}

static jj_val m_isupper(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return jj_bool(jj_all_case(it, s.u.s, true));
}
static jj_val m_islower(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    return jj_bool(jj_all_case(it, s.u.s, false));
}

static jj_val m_istitle(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    bool any = false, in_word = false;
    jj_step(it, s.u.s->len / 16);
    for (size_t i = 0; i < s.u.s->len;) {
        uint32_t c = jj_cp_next(s.u.s->p, s.u.s->len, &i);
        bool up = jj_cp_upper(c) || jj_cp_title(c), low = jj_cp_lower(c);
        if ((up && in_word) || (low && !in_word)) return jj_bool(false);
        in_word = up || low;
        any |= in_word;
    }
    return jj_bool(any);
}

static jj_val m_isidentifier(jj *it, jj_val s, const jj_args *a)
{
    (void)a;
    jj_step(it, s.u.s->len / 16);
    for (size_t i = 0; i < s.u.s->len;) {
        bool first = i == 0;
        uint32_t c = jj_cp_next(s.u.s->p, s.u.s->len, &i);
        if (first ? !jj_cp_ident_start(c) : !jj_cp_ident(c)) return jj_bool(false);
    }
    return jj_bool(s.u.s->len > 0);
}

static jj_val m_format(jj *it, jj_val s, const jj_args *a)
{
    return jj_str_format(it, s, a, NULL);
}

static jj_val m_format_map(jj *it, jj_val s, const jj_args *a)
{
    jj_args none = {0};
    if (a->pos[0].kind != JJ_DICT)
        return jj_raise(it, "format_map() needs a dict, not %s", jj_type_name(a->pos[0]));
    return jj_str_format(it, s, &none, a->pos[0].u.d);
}

static jj_val m_unsupported(jj *it, jj_val s, const jj_args *a)
{
    (void)s;
    (void)a;
    return jj_fail(it, TK_UNSUPPORTED, "line %u: this method of str is not supported", it->line);
}

const jj_func *jj_str_method(const char *name, size_t len)
{
    static const jj_func methods[] = {
        {"strip", m_strip, "/chars", 0},
        {"lstrip", m_lstrip, "/chars", 0},
        {"rstrip", m_rstrip, "/chars", 0},
        {"split", m_split, "sep,maxsplit", 0},
        {"rsplit", m_rsplit, "sep,maxsplit", 0},
        {"splitlines", m_splitlines, "keepends", 0},
        {"startswith", m_startswith, "/prefix,start,end", 1},
        {"endswith", m_endswith, "/suffix,start,end", 1},
        {"replace", m_replace, "/old,new,count", 2},
        {"join", m_join, "/iterable", 1},
        {"upper", m_upper, "", 0},
        {"lower", m_lower, "", 0},
        {"title", m_title, "", 0},
        {"capitalize", m_capitalize, "", 0},
        {"swapcase", m_swapcase, "", 0},
        {"casefold", m_casefold, "", 0},
        {"find", m_find, "/sub,start,end", 1},
        {"rfind", m_rfind, "/sub,start,end", 1},
        {"index", m_index, "/sub,start,end", 1},
        {"rindex", m_rindex, "/sub,start,end", 1},
        {"count", m_count, "/sub,start,end", 1},
        {"partition", m_partition, "/sep", 1},
        {"rpartition", m_rpartition, "/sep", 1},
        {"removeprefix", m_removeprefix, "/prefix", 1},
        {"removesuffix", m_removesuffix, "/suffix", 1},
        {"center", m_center, "/width,fill", 1},
        {"ljust", m_ljust, "/width,fill", 1},
        {"rjust", m_rjust, "/width,fill", 1},
        {"zfill", m_zfill, "/width", 1},
        {"expandtabs", m_expandtabs, "tabsize", 0},
        {"isalpha", m_isalpha, "", 0},
        {"isdigit", m_isdigit, "", 0},
        {"isdecimal", m_isdecimal, "", 0},
        {"isnumeric", m_isnumeric, "", 0},
        {"isalnum", m_isalnum, "", 0},
        {"isspace", m_isspace, "", 0},
        {"isascii", m_isascii, "", 0},
        {"isprintable", m_isprintable, "", 0},
        {"isupper", m_isupper, "", 0},
        {"islower", m_islower, "", 0},
        {"istitle", m_istitle, "", 0},
        {"isidentifier", m_isidentifier, "", 0},
        {"format", m_format, "*", 0},
        {"format_map", m_format_map, "/mapping", 1},
        {"encode", m_unsupported, "*", 0},
        {"translate", m_unsupported, "*", 0},
        {"maketrans", m_unsupported, "*", 0},
        {0},
    };
    return jj_find_func(methods, name, len);
}
