// SPDX-License-Identifier: MIT
#include "plan/points.h"

#include "base/compiler.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COLUMNS = 256, VALUE = TK_COL_COUNT };

static const char *const names[] = {
#define X(id, name) name,
    TK_COL_MAP(X)
#undef X
};

// ---- layouts in words: "TP8 PP1 attnDP1 moeTP8 EP1", "attention DP8 EP8", "TP2 x4 replicas"

static const char *skip_word(const char *p)
{
    while (isalpha((unsigned char)*p)) p++;
    return p;
}

// A number of at most six digits at *p, which moves past it; 0 when there is none.
static int digits(const char **p)
{
    int v = 0, n = 0;
    for (; isdigit((unsigned char)**p); (*p)++)
        if (n++ < 6) v = v * 10 + (**p - '0');
    return v;
}

static void set_word(tk_layout *l, const char *word, size_t len, int v)
{
    static const struct {
        const char *word;
        size_t offset;
    } words[] = {
        {"TP", offsetof(tk_layout, tp)},     {"PP", offsetof(tk_layout, pp)},
        {"EP", offsetof(tk_layout, ep)},     {"DP", offsetof(tk_layout, dp)},
        {"attnDP", offsetof(tk_layout, dp)}, {"moeTP", offsetof(tk_layout, moe_tp)},
        {"CP", offsetof(tk_layout, cp)},     {"VP", offsetof(tk_layout, vp)},
        {"VPP", offsetof(tk_layout, vp)},    {"mbs", offsetof(tk_layout, mbs)},
        {"FSDP", offsetof(tk_layout, fsdp)}, {"x", offsetof(tk_layout, replicas)},
    };
    for (size_t i = 0; i < TK_COUNT(words) && v > 0; i++)
        if (strlen(words[i].word) == len && memcmp(words[i].word, word, len) == 0)
            *(int *)((char *)l + words[i].offset) = v;
}

tk_layout tk_layout_parse(const char *text)
{
    tk_layout l = {0};
    for (const char *p = text; *p;) {
        if (isdigit((unsigned char)*p)) {
            int v = digits(&p);
            if (v > 0 && strncmp(p, " replicas", 9) == 0) l.replicas = v;
            continue;
        }
        if (!isalpha((unsigned char)*p)) {
            p++;
            continue;
        }
        const char *word = p;
        p = skip_word(p);
        size_t len = (size_t)(p - word);
        if (isdigit((unsigned char)*p))
            set_word(&l, word, len, digits(&p));
        else if (len == 5 && memcmp(word, "batch", 5) == 0 && *p == ' ')
            p++, l.max_batch = digits(&p);
    }
    l.attention_dp = strstr(text, "attention DP") != NULL;
    return l;
}

// "prefill: 1x(TP4 ...) bs; decode: 2x(TP8 ...) bs"
static bool parse_disagg(const char *text, tk_point *p)
{
    const char *a = strstr(text, "prefill:"), *b = strstr(text, "decode:");
    if (a == NULL || b == NULL || b < a) return false;
    char *first = tk_strndup(a + 8, (size_t)(b - a - 8));
    const char *s = first + strspn(first, " "), *t = b + 7 + strspn(b + 7, " ");
    p->n_prefill = digits(&s);
    p->n_decode = digits(&t);
    p->prefill = tk_layout_parse(s + (*s == 'x'));
    p->run = tk_layout_parse(t + (*t == 'x'));
    tk_free(first);
    return p->n_prefill > 0 && p->n_decode > 0;
}

// ---- fields

// The first number in s when s begins with one, else 0; beyond 1e9 is nonsense and 0 too.
static double leading(const char *s)
{
    char *end;
    if (!isdigit((unsigned char)*s)) return 0;
    double v = strtod(s, &end);
    return isfinite(v) && v <= 1e9 ? v : 0;
}

// "2025-10-29" -> 2025.83; "25.11" (a release) -> 2025.88
static double year_of(const char *s)
{
    char *end;
    if (!isdigit((unsigned char)*s)) return 0;
    double y = (double)strtol(s, &end, 10), m = 6.5;
    if ((*end == '-' || *end == '.') && isdigit((unsigned char)end[1]))
        m = (double)strtol(end + 1, &end, 10);
    if (y >= 10 && y < 100) y += 2000;
    if (y < 2000 || y > 2100 || m < 1 || m > 12.9) return 0;
    return y + (m - 0.5) / 12;
}

static void interpret(tk_point *p)
{
    p->n_accel = leading(p->f[TK_COL_N_ACCEL]);
    p->isl = leading(p->f[TK_COL_ISL]);
    p->osl = leading(p->f[TK_COL_OSL]);
    p->concurrency = leading(p->f[TK_COL_CONCURRENCY]);
    p->year = year_of(p->f[TK_COL_DATE]);
    p->disagg = parse_disagg(p->f[TK_COL_PARALLELISM], p);
    if (!p->disagg) p->run = tk_layout_parse(p->f[TK_COL_PARALLELISM]);
    // the batch that really ran stands in the QoS of fixed-batch benchmarks
    if (strncmp(p->f[TK_COL_QOS], "avg batch ", 10) == 0)
        p->concurrency = leading(p->f[TK_COL_QOS] + 10);
    if (p->f[TK_COL_ID][0] == 0)
        p->bad = "the row has no id";
    else if (p->f[TK_COL_METRIC][0] == 0)
        p->bad = "the row has no metric";
}

// ---- CSV

// Cuts the record at *at in place, NUL-terminating its fields. Returns the number of fields (those past
// MAX_COLUMNS are dropped), 0 at the end of the text. end points at a NUL.
static int cut(char **at, char *end, char *field[MAX_COLUMNS])
{
    char *p = *at;
    int n = 0;
    if (p >= end) return 0;
    for (;;) {
        char *to = p, *start = p;
        bool quoted = p < end && *p == '"';
        if (quoted) p++;
        while (p < end) {
            if (quoted && *p == '"') {
                if (p + 1 < end && p[1] == '"')
                    p++; // a doubled quote is one
                else {
                    quoted = false;
                    p++;
                    continue;
                }
            } else if (!quoted && (*p == ',' || *p == '\n' || *p == '\r')) {
                break;
            }
            *to++ = *p ? *p : ' ';
            p++;
        }
        char stop = p < end ? *p : '\n';
        if (p < end) p++;
        if (stop == '\r' && p < end && *p == '\n') p++;
        *to = 0;
        if (n < MAX_COLUMNS) field[n++] = start;
        if (stop != ',') break;
    }
    *at = p;
    return n;
}

static int find_column(char *const *header, int n, const char *name)
{
    for (int i = 0; i < n; i++)
        if (strcmp(header[i], name) == 0) return i;
    return -1;
}

static tk_status read_header(char *const *header, int n, int at[TK_COL_COUNT + 1],
                             const char *where, tk_err *err)
{
    static const tk_col needed[] = {TK_COL_ID, TK_COL_KIND, TK_COL_METRIC, TK_COL_MODEL,
                                    TK_COL_ACCELERATOR};
    for (int c = 0; c < TK_COL_COUNT; c++) at[c] = find_column(header, n, names[c]);
    at[VALUE] = find_column(header, n, "value");
    for (size_t i = 0; i < TK_COUNT(needed); i++)
        if (at[needed[i]] < 0)
            return tk_fail(err, TK_BAD_INPUT, "%s: there is no column \"%s\"", where,
                           names[needed[i]]);
    return TK_OK;
}

static double number(const char *s)
{
    char *end;
    double v = strtod(s, &end);
    while (*end == ' ') end++;
    return end == s || *end || !isfinite(v) || v <= 0 ? NAN : v;
}

static void add_row(tk_points *out, char *const *field, int n, const int at[TK_COL_COUNT + 1])
{
    if ((out->n & (out->n - 1)) == 0) { // powers of two
        size_t cap = out->n ? (size_t)out->n * 2 : 1;
        out->p = tk_realloc(out->p, cap * sizeof *out->p);
        out->value = tk_realloc(out->value, cap * sizeof *out->value);
    }
    tk_point *p = &out->p[out->n];
    memset(p, 0, sizeof *p);
    for (int c = 0; c < TK_COL_COUNT; c++) p->f[c] = at[c] >= 0 && at[c] < n ? field[at[c]] : "";
    out->value[out->n] = at[VALUE] >= 0 && at[VALUE] < n ? number(field[at[VALUE]]) : NAN;
    interpret(p);
    out->n++;
}

tk_status tk_points_read(const char *text, size_t len, const char *where, tk_points *out,
                         tk_err *err)
{
    char *field[MAX_COLUMNS];
    int at[TK_COL_COUNT + 1];
    memset(out, 0, sizeof *out);
    if (len > TK_LIMIT_POINTS_BYTES)
        return tk_fail(err, TK_BAD_INPUT, "%s has %zu bytes, the limit is %u", where, len,
                       TK_LIMIT_POINTS_BYTES);
    out->text_ = tk_strndup(text, len);
    char *p = out->text_, *end = p + strlen(p);
    if (strncmp(p, "\xEF\xBB\xBF", 3) == 0) p += 3;
    int n = cut(&p, end, field);
    tk_status st = read_header(field, n, at, where, err);
    while (st == TK_OK && (n = cut(&p, end, field)) > 0) {
        if (n == 1 && field[0][0] == 0) continue; // an empty line
        if (out->n == TK_LIMIT_POINTS)
            st = tk_fail(err, TK_BAD_INPUT, "%s has more than %d rows", where, TK_LIMIT_POINTS);
        else
            add_row(out, field, n, at);
    }
    if (st != TK_OK) tk_points_free(out);
    return st;
}

tk_status tk_points_load(const char *path, tk_points *out, tk_err *err)
{
    char *data = NULL;
    size_t len = 0;
    memset(out, 0, sizeof *out);
    tk_status st = tk_file_read(path, TK_LIMIT_POINTS_BYTES, &data, &len, err);
    if (st == TK_OK) st = tk_points_read(data, len, path, out, err);
    tk_free(data);
    return st;
}

void tk_points_free(tk_points *p)
{
    tk_free(p->p);
    tk_free(p->value);
    tk_free(p->text_);
    memset(p, 0, sizeof *p);
}
