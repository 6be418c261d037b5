// SPDX-License-Identifier: MIT
#include "plan/validate.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- groups: one by each value of a column, among fitted or never fitted rows

typedef struct group {
    tk_col col;
    const char *name;
    bool fitted;
} group;

static bool in_group(const tk_validation *v, int i, const void *ctx)
{
    const group *g = ctx;
    return v->row[i].fitted == g->fitted &&
           (g->name == NULL || strcmp(v->pts->p[i].f[g->col], g->name) == 0);
}

static json_t *score_json(const tk_score *s)
{
    return json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "n", s->n, "median", s->median, "mean",
                     s->mean, "p90", s->p90, "worst", s->worst, "bias", s->bias, "coverage",
                     s->covered);
}

// The distinct values of a column, in order of appearance. n_max bounds what one table shows.
static int distinct(const tk_validation *v, tk_col col, bool fitted, const char **out, int n_max)
{
    int n = 0;
    for (int i = 0; i < v->pts->n && n < n_max; i++) {
        const char *name = v->pts->p[i].f[col];
        if (v->row[i].fitted != fitted || !isfinite(v->row[i].error) || !v->row[i].scored) continue;
        int k = 0;
        while (k < n && strcmp(out[k], name) != 0) k++;
        if (k == n) out[n++] = name;
    }
    return n;
}

enum { GROUPS = 200 };

static json_t *by_column(const tk_validation *v, tk_col col, bool fitted)
{
    const char *names[GROUPS];
    int n = distinct(v, col, fitted, names, GROUPS);
    json_t *o = json_object();
    for (int i = 0; i < n; i++) {
        group g = {col, names[i], fitted};
        tk_score s = tk_validation_score(v, in_group, &g);
        json_object_set_new(o, names[i], score_json(&s));
    }
    return o;
}

// ---- JSON

static json_t *row_json(const tk_validation *v, int i)
{
    const tk_verdict *r = &v->row[i];
    const char *id = v->pts->p[i].f[TK_COL_ID];
    json_t *o = json_object();
    json_t *name = json_string(id); // NULL when the id is no UTF-8
    json_object_set_new(o, "id", name ? name : json_string("?"));
    if (r->p.refused[0]) {
        json_t *why = json_string(r->p.refused);
        json_object_set_new(o, "refused", why ? why : json_string("unreadable"));
        return o;
    }
    if (!isfinite(v->pts->value[i])) {
        json_object_set_new(o, "refused", json_string("the value is no positive number"));
        return o;
    }
    char from[256];
    snprintf(from, sizeof from, "data/plan/constants.json (%s)", v->k->date);
    json_t *sources = json_array();
    json_array_append_new(sources, json_string(r->p.hw->sources));
    if (r->p.model) json_array_append_new(sources, json_string(r->p.model->sources));
    json_array_append_new(sources, json_string(from));
    json_object_set_new(o, "value", json_real(v->pts->value[i]));
    json_object_set_new(o, "prediction", json_real(r->p.value));
    json_object_set_new(o, "interval", json_pack("[f, f]", r->low, r->high));
    json_object_set_new(o, "tier", json_string(tk_tier_name(r->tier)));
    json_object_set_new(o, "error", json_real(r->error));
    json_object_set_new(o, "sources", sources);
    return o;
}

static void count(const tk_validation *v, int *predicted, int *refused)
{
    *predicted = *refused = 0;
    for (int i = 0; i < v->pts->n; i++)
        ++*(v->row[i].p.refused[0] || !isfinite(v->pts->value[i]) ? refused : predicted);
}

static json_t *held_json(const tk_validation *v)
{
    json_t *list = json_array();
    for (int i = 0; i < v->n_held; i++) {
        const tk_held_out *h = &v->held[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o*, s:o*}", "without",
                                              tk_fold_name(h->kind), "class", tk_class_name(h->cls),
                                              "model", score_json(&h->model), "floor",
                                              h->floor.n ? score_json(&h->floor) : NULL, "roofline",
                                              h->floor.n ? score_json(&h->roofline) : NULL));
    }
    return list;
}

static json_t *group_json(const tk_validation *v, bool fitted)
{
    group all = {TK_COL_ID, NULL, fitted};
    tk_score s = tk_validation_score(v, in_group, &all);
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o}", "all", score_json(&s), "kind",
        by_column(v, TK_COL_KIND, fitted), "metric", by_column(v, TK_COL_METRIC, fitted), "system",
        by_column(v, TK_COL_ACCELERATOR, fitted), "model", by_column(v, TK_COL_MODEL, fitted));
}

json_t *tk_validation_json(const tk_validation *v)
{
    json_t *rows = json_array();
    int predicted, refused;
    count(v, &predicted, &refused);
    for (int i = 0; i < v->pts->n; i++) json_array_append_new(rows, row_json(v, i));
    json_t *summary =
        json_pack("{s:i, s:i, s:i, s:s, s:i, s:o, s:o, s:o}", "rows", v->pts->n, "predicted",
                  predicted, "refused", refused, "constants", v->k->date, "constants_rows",
                  v->k->n_row, "held_out_of_fit", held_json(v), "in_sample", group_json(v, true),
                  "never_fitted", group_json(v, false));
    return json_pack("{s:o, s:o}", "rows", rows, "summary", summary);
}

// ---- text

static void print_score(FILE *to, const char *name, const tk_score *s)
{
    fprintf(to, "| %-34.34s | %4d | %6.1f | %6.1f | %6.1f | %+6.1f | %3.0f |\n", name, s->n,
            100 * s->median, 100 * s->mean, 100 * s->p90, 100 * s->bias, 100 * s->covered);
}

static void print_head(FILE *to, const char *title, const char *what)
{
    fprintf(to, "\n%s\n\n| %-34s | rows | median |   mean |    p90 |   bias | in 80 %% |\n", title,
            what);
    fprintf(to, "|------------------------------------|-----:|-------:|-------:|-------:|-------:|"
                "----:|\n");
}

static void print_groups(const tk_validation *v, bool fitted, FILE *to)
{
    static const struct {
        tk_col col;
        const char *what;
    } cols[] = {{TK_COL_KIND, "kind"},
                {TK_COL_METRIC, "metric"},
                {TK_COL_ACCELERATOR, "system"},
                {TK_COL_MODEL, "model"}};
    const char *names[GROUPS];
    for (size_t c = 0; c < TK_COUNT(cols); c++) {
        int n = distinct(v, cols[c].col, fitted, names, GROUPS);
        if (n == 0) continue;
        print_head(to,
                   fitted ? "Rows the constants were fitted on (in sample, not a claim of accuracy)"
                          : "Rows never fitted",
                   cols[c].what);
        for (int i = 0; i < n; i++) {
            group g = {cols[c].col, names[i], fitted};
            tk_score s = tk_validation_score(v, in_group, &g);
            print_score(to, names[i], &s);
        }
    }
}

static void print_held(const tk_validation *v, FILE *to)
{
    for (int kind = 0; kind < TK_FOLD_COUNT; kind++) {
        bool head = false;
        for (int i = 0; i < v->n_held; i++) {
            const tk_held_out *h = &v->held[i];
            if ((int)h->kind != kind) continue;
            if (!head)
                fprintf(to,
                        "\nHeld out, one %s at a time: errors in %%, floor (ten constants) and "
                        "textbook roofline beside\n\n"
                        "| %-28s | rows | median |  mean |   p90 |  bias | in 80 %% | floor median "
                        "| roofline median |\n"
                        "|------------------------------|-----:|-------:|------:|------:|------:|"
                        "-------:|-------------:|----------------:|\n",
                        tk_fold_name(h->kind), "class");
            head = true;
            fprintf(to, "| %-28s | %4d | %6.1f | %5.1f | %5.1f | %+5.1f | %6.0f |",
                    tk_class_name(h->cls), h->model.n, 100 * h->model.median, 100 * h->model.mean,
                    100 * h->model.p90, 100 * h->model.bias, 100 * h->model.covered);
            if (h->floor.n) // serving alone has a floor
                fprintf(to, " %12.1f | %15.1f |\n", 100 * h->floor.median,
                        100 * h->roofline.median);
            else
                fprintf(to, " %12s | %15s |\n", "-", "-");
        }
    }
}

// TPOT of each system and model when it was left out.
static void print_folds(const tk_validation *v, FILE *to)
{
    for (int kind = TK_FOLD_SYSTEM; kind < TK_FOLD_COUNT; kind++) {
        bool head = false;
        for (int f = 0; f < v->k->n_fold; f++) {
            const tk_fold *fold = &v->k->fold[f];
            tk_score s;
            if ((int)fold->kind != kind || (s = tk_validation_fold(v, fold, true)).n == 0) continue;
            if (!head)
                fprintf(
                    to,
                    "\nTPOT (drafts stated) when this %s was left out\n\n| %-22s | rows | median "
                    "|  mean |   p90 |\n|------------------------|-----:|-------:|------:|"
                    "------:|\n",
                    tk_fold_name(fold->kind), tk_fold_name(fold->kind));
            head = true;
            fprintf(to, "| %-22s | %4d | %6.1f | %5.1f | %5.1f |\n", fold->name, s.n,
                    100 * s.median, 100 * s.mean, 100 * s.p90);
        }
    }
}

static void print_row(const tk_validation *v, int i, FILE *to)
{
    const tk_verdict *r = &v->row[i];
    const tk_point *p = &v->pts->p[i];
    if (r->p.refused[0]) {
        fprintf(to, "%-8.16s %-22.22s refused: %s\n", p->f[TK_COL_ID], p->f[TK_COL_METRIC],
                r->p.refused);
        return;
    }
    fprintf(to, "%-8.16s %-22.22s %11.4g %11.4g [%.4g, %.4g] %+6.1f%%  %s\n", p->f[TK_COL_ID],
            p->f[TK_COL_METRIC], v->pts->value[i], r->p.value, r->low, r->high, 100 * r->error,
            tk_tier_name(r->tier));
}

void tk_validation_print(const tk_validation *v, bool rows, FILE *to)
{
    int predicted, refused;
    count(v, &predicted, &refused);
    if (rows) {
        fprintf(to, "%-8s %-22s %11s %11s interval (80 %%), error, tier\n", "id", "metric", "value",
                "prediction");
        for (int i = 0; i < v->pts->n; i++) print_row(v, i, to);
    }
    fprintf(to, "\n%d rows: %d predicted, %d refused. Constants of %s from %d rows.\n", v->pts->n,
            predicted, refused, v->k->date, v->k->n_row);
    print_held(v, to);
    print_folds(v, to);
    print_groups(v, false, to);
    print_groups(v, true, to);
}
