// SPDX-License-Identifier: MIT
#include "base/opt.h"

#include "base/mem.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// True when the space-separated list holds word[0..len).
static bool list_has(const char *list, const char *word, size_t len)
{
    for (const char *p = list; p && *p;) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, word, len) == 0) return true;
        p += n;
        p += strspn(p, " ");
    }
    return false;
}

// Names as people write them: max_model_len is max-model-len.
static bool same_name(const char *name, size_t n, const char *word, size_t len)
{
    if (n != len) return false;
    for (size_t i = 0; i < n; i++)
        if (name[i] != (word[i] == '_' ? '-' : word[i])) return false;
    return true;
}

static bool has_alias(const char *aliases, const char *word, size_t len)
{
    for (const char *p = aliases; p && *p;) {
        size_t n = strcspn(p, " ");
        if (same_name(p, n, word, len)) return true;
        p += n;
        p += strspn(p, " ");
    }
    return false;
}

static const tk_opt *find(const tk_opt *table, const char *word, size_t len)
{
    for (const tk_opt *o = table; o->name; o++)
        if (same_name(o->name, strlen(o->name), word, len) || has_alias(o->aliases, word, len))
            return o;
    return NULL;
}

static int edit_distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    int row[MAX + 1];
    int na = (int)strnlen(a, MAX), nb = (int)strnlen(b, MAX);
    for (int j = 0; j <= nb; j++) row[j] = j;
    for (int i = 1; i <= na; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= nb; j++) {
            int up = row[j];
            int best = diagonal + (a[i - 1] != b[j - 1]);
            best = TK_MIN(best, TK_MIN(up, row[j - 1]) + 1);
            diagonal = up;
            row[j] = best;
        }
    }
    return row[nb];
}

const char *tk_opt_nearest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    int best_d = (int)strlen(word) / 3 + 2; // farther than this is no help
    for (; *candidates; candidates++) {
        int d = edit_distance(word, *candidates);
        if (d < best_d) {
            best_d = d;
            best = *candidates;
        }
    }
    return best;
}

static tk_status unknown(const tk_opt *table, const char *word, size_t len, tk_err *err)
{
    const char *names[256];
    size_t n = 0;
    for (const tk_opt *o = table; o->name && n < TK_COUNT(names) - 1; o++) names[n++] = o->name;
    names[n] = NULL;
    char *name = tk_strndup(word, len);
    const char *near = tk_opt_nearest(name, names);
    tk_status st =
        near ? tk_fail(err, TK_USAGE, "unknown option --%s; did you mean --%s?", name, near)
             : tk_fail(err, TK_USAGE, "unknown option --%s", name);
    tk_free(name);
    return st;
}

static tk_status set_number(const tk_opt *o, const char *text, void *field, tk_err *err)
{
    char *end = NULL;
    errno = 0;
    double d;
    if (o->type == TK_OPT_INT) {
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || errno == ERANGE)
            return tk_fail(err, TK_USAGE, "--%s needs a whole number, not \"%s\"", o->name, text);
        d = (double)v;
        *(int64_t *)field = v;
    } else {
        d = strtod(text, &end);
        if (end == text || *end || !isfinite(d))
            return tk_fail(err, TK_USAGE, "--%s needs a number, not \"%s\"", o->name, text);
        *(double *)field = d;
    }
    if ((o->min != 0 || o->max != 0) && (d < o->min || d > o->max))
        return tk_fail(err, TK_USAGE, "--%s is %s, outside %g..%g", o->name, text, o->min, o->max);
    return TK_OK;
}

static tk_status set_value(const tk_opt *o, const char *text, void *options, tk_err *err)
{
    void *field = (char *)options + o->offset;
    switch (o->type) {
    case TK_OPT_FLAG: *(bool *)field = true; return TK_OK;
    case TK_OPT_INT:
    case TK_OPT_DOUBLE: return set_number(o, text, field, err);
    case TK_OPT_CHOICE:
        if (!list_has(o->choices, text, strlen(text)))
            return tk_fail(err, TK_USAGE, "--%s is \"%s\", choose one of: %s", o->name, text,
                           o->choices);
        *(const char **)field = text;
        return TK_OK;
    case TK_OPT_STR: *(const char **)field = text; return TK_OK;
    case TK_OPT_LIST: {
        tk_opt_list *list = field;
        if (list->n >= TK_OPT_LIST_MAX)
            return tk_fail(err, TK_USAGE, "--%s given more than %d times", o->name,
                           TK_OPT_LIST_MAX);
        list->item[list->n++] = text;
        return TK_OK;
    }
    }
    return TK_OK;
}

// TOKAMAK_MAX_MODEL_LEN for --max-model-len: options that the command line may still set otherwise. A flag is
// set by 1, true or yes; a list is set by its one value.
static tk_status read_environment(const tk_opt *table, void *options, tk_err *err)
{
    for (const tk_opt *o = table; o->name; o++) {
        char name[80] = "TOKAMAK_";
        size_t n = strlen(name);
        for (const char *p = o->name; *p && n < sizeof name - 1; p++)
            name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[n] = 0;
        const char *value = getenv(name);
        if (value == NULL || *value == 0) continue;
        if (o->type == TK_OPT_FLAG && !list_has("1 true yes", value, strlen(value))) continue;
        tk_status st = set_value(o, value, options, err);
        if (st != TK_OK) return tk_fail_in(err, st, "%s", name);
    }
    return TK_OK;
}

// A word such as -5 or -0.5 is a value, not an option.
static bool is_option(const char *w)
{
    return w[0] == '-' && w[1] != 0 && !(w[1] >= '0' && w[1] <= '9') && w[1] != '.';
}

tk_status tk_opt_parse(const tk_opt *table, int argc, char **argv, void *options,
                       const char **positional, int max_positional, int *n_positional, tk_err *err)
{
    bool only_positional = false;
    *n_positional = 0;
    tk_status st = read_environment(table, options, err);
    if (st != TK_OK) return st;
    for (int i = 1; i < argc; i++) {
        const char *w = argv[i];
        if (!only_positional && strcmp(w, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || !is_option(w)) {
            if (*n_positional >= max_positional)
                return tk_fail(err, TK_USAGE, "unexpected argument \"%s\"", w);
            positional[(*n_positional)++] = w;
            continue;
        }
        w += w[1] == '-' ? 2 : 1;
        size_t len = strcspn(w, "=");
        const tk_opt *o = find(table, w, len);
        if (o == NULL) return unknown(table, w, len, err);
        const char *value = w[len] == '=' ? w + len + 1 : NULL;
        if (o->type == TK_OPT_FLAG && value)
            return tk_fail(err, TK_USAGE, "--%s takes no value", o->name);
        if (o->type != TK_OPT_FLAG && value == NULL) {
            if (++i >= argc)
                return tk_fail(err, TK_USAGE, "--%s needs a value (%s)", o->name, o->arg);
            value = argv[i];
        }
        st = set_value(o, value, options, err);
        if (st != TK_OK) return st;
    }
    return TK_OK;
}

static void print_wrapped(const char *text, int indent, int width, FILE *to)
{
    int at = 0;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (at > 0 && at + 1 + n > width) {
            fprintf(to, "\n%*s", indent, "");
            at = 0;
        }
        fprintf(to, "%s%.*s", at ? " " : "", n, text);
        at += n + (at ? 1 : 0);
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

void tk_opt_print_help(const tk_opt *table, FILE *to)
{
    enum { COLUMN = 30, WIDTH = 68 };
    for (const tk_opt *o = table; o->name; o++) {
        int n = fprintf(to, "  --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        for (const char *p = o->aliases; p && *p;) {
            size_t len = strcspn(p, " ");
            n += fprintf(to, ", %s%.*s", len == 1 ? "-" : "--", (int)len, p);
            p += len;
            p += strspn(p, " ");
        }
        if (n >= COLUMN)
            fprintf(to, "\n%*s", COLUMN, "");
        else
            fprintf(to, "%*s", COLUMN - n, "");
        print_wrapped(o->help, COLUMN, WIDTH, to);
    }
}
