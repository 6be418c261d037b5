// SPDX-License-Identifier: MIT
// data/plan/constants.json: written by `tokamak plan fit`, checked when read.
#include "plan/fit.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 8 << 20 };

// ---- writing: one line per constant and per fold, so that a refit is a readable diff

static json_t *numbers(const double *v, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++) json_array_append_new(a, json_real(v[i]));
    return a;
}

static void line(FILE *f, json_t *j, bool last)
{
    char *s = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(7));
    fprintf(f, "  %s%s\n", s ? s : "null", last ? "" : ",");
    free(s);
    json_decref(j);
}

static void write_constants(FILE *f, const tk_constants *k)
{
    fputs(" \"constants\": [\n", f);
    for (int i = 0; i < TK_P_COUNT; i++) {
        const tk_param_info *p = tk_param_get((tk_param_id)i);
        line(f,
             json_pack("{s:s, s:f, s:s, s:f, s:f, s:s}", "name", p->name, "value", k->k.v[i],
                       "unit", p->unit, "prior", p->prior, "sigma", p->sigma, "prior_source",
                       p->from),
             i == TK_P_COUNT - 1);
    }
    fputs(" ],\n", f);
}

// Of the rows in the order of the traits; 0 for those a fold leaves out.
static json_t *effects(const tk_effects *fx)
{
    return numbers(fx->weight, fx->n);
}

static void write_traits(FILE *f, const tk_constants *k)
{
    fputs(" \"traits\": [\n", f);
    for (int i = 0; i < k->n_trait; i++) {
        const tk_trait *t = &k->trait[i];
        json_t *keys = json_array();
        for (int g = 0; g < TK_TRAIT_GROUPS; g++)
            json_array_append_new(keys, json_string(t->key[g]));
        line(f,
             json_pack("{s:i, s:o, s:o}", "stage", t->stage, "groups", keys, "at",
                       numbers(t->at, TK_TRAIT_DIMS)),
             i == k->n_trait - 1);
    }
    fputs(" ],\n", f);
}

static void write_folds(FILE *f, const tk_constants *k)
{
    fputs(" \"folds\": [\n", f);
    for (int i = 0; i < k->n_fold; i++)
        line(f,
             json_pack("{s:s, s:s, s:o, s:o, s:o}", "without", tk_fold_name(k->fold[i].kind),
                       "name", k->fold[i].name, "effects", effects(&k->fold[i].fx), "values",
                       numbers(k->fold[i].k.v, TK_P_COUNT), "floor",
                       numbers(k->fold[i].floor, TK_FLOOR_N)),
             i == k->n_fold - 1);
    fputs(" ],\n", f);
}

static void write_intervals(FILE *f, const tk_constants *k)
{
    fputs(" \"intervals\": [\n", f);
    for (int c = 0; c < TK_CLASS_COUNT; c++)
        for (int t = 0; t < TK_TIER_COUNT; t++) {
            const tk_interval *v = &k->interval[c][t];
            line(f,
                 json_pack("{s:s, s:s, s:f, s:f, s:i}", "class", tk_class_name((tk_class)c), "tier",
                           tk_tier_name((tk_tier)t), "low", v->low, "high", v->high, "rows", v->n),
                 c == TK_CLASS_COUNT - 1 && t == TK_TIER_COUNT - 1);
        }
    fputs(" ],\n", f);
}

static void write_seen(FILE *f, const tk_constants *k)
{
    json_t *hw = json_array(), *model = json_array();
    for (int i = 0; i < k->n_seen_hw; i++) json_array_append_new(hw, json_string(k->seen_hw[i]));
    for (int i = 0; i < k->n_seen_model; i++)
        json_array_append_new(model, json_string(k->seen_model[i]));
    fputs(" \"seen\":\n", f);
    line(f, json_pack("{s:o, s:o}", "systems", hw, "models", model), true);
}

tk_status tk_constants_save(const tk_constants *k, const char *path, tk_err *err)
{
    FILE *f = fopen(path, "w");
    if (f == NULL) return tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    fprintf(f, "{\n \"date\": \"%s\",\n \"points\": \"%s\",\n \"rows\": %d,\n", k->date, k->from,
            k->n_row);
    write_constants(f, k);
    fputs(" \"floor\":\n", f);
    line(f, numbers(k->floor, TK_FLOOR_N), false);
    write_traits(f, k);
    fputs(" \"effects\":\n", f);
    line(f, effects(&k->fx), false);
    write_folds(f, k);
    write_intervals(f, k);
    write_seen(f, k);
    fputs("}\n", f);
    bool bad = ferror(f) != 0;
    if (fclose(f) != 0 || bad)
        return tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    return TK_OK;
}

// ---- reading

static tk_status read_list(const json_t *a, double *out, int n, bool positive, const char *where,
                           tk_err *err)
{
    if (json_array_size(a) != (size_t)n)
        return tk_fail(err, TK_BAD_INPUT, "%s: %zu numbers where %d constants are; fit again",
                       where, json_array_size(a), n);
    for (int i = 0; i < n; i++) {
        out[i] = json_number_value(json_array_get(a, (size_t)i));
        bool log = positive || tk_param_get((tk_param_id)i)->log;
        if (!isfinite(out[i]) || (log && out[i] <= 0))
            return tk_fail(err, TK_BAD_INPUT, "%s: constant %d is %g", where, i, out[i]);
    }
    return TK_OK;
}

static tk_status read_constants(const json_t *j, tk_constants *k, const char *where, tk_err *err)
{
    const json_t *list = tk_json_get(j, "constants");
    for (int i = 0; i < TK_P_COUNT; i++) {
        const tk_param_info *p = tk_param_get((tk_param_id)i);
        const json_t *c = json_array_get(list, (size_t)i);
        const char *name = json_string_value(tk_json_get(c, "name"));
        if (name == NULL || strcmp(name, p->name) != 0)
            return tk_fail(err, TK_BAD_INPUT, "%s: constant %d is \"%s\", not \"%s\"; fit again",
                           where, i, name ? name : "(none)", p->name);
        k->k.v[i] = json_number_value(tk_json_get(c, "value"));
        if (!isfinite(k->k.v[i]) || (p->log && k->k.v[i] <= 0))
            return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is %g", where, p->name, k->k.v[i]);
    }
    return TK_OK;
}

static int index_of(const char *name, const char *(*get)(int), int n)
{
    for (int i = 0; name && i < n; i++)
        if (strcmp(get(i), name) == 0) return i;
    return -1;
}

static const char *fold_kind(int i)
{
    return tk_fold_name((tk_fold_kind)i);
}

static const char *class_at(int i)
{
    return tk_class_name((tk_class)i);
}

static const char *tier_at(int i)
{
    return tk_tier_name((tk_tier)i);
}

static tk_status read_traits(const json_t *j, tk_constants *k, const char *where, tk_err *err)
{
    const json_t *list = tk_json_get(j, "traits");
    k->n_trait = (int)json_array_size(list);
    if (k->n_trait > TK_EFFECT_MAX)
        return tk_fail(err, TK_BAD_INPUT, "%s: %d traits, the limit is %d", where, k->n_trait,
                       TK_EFFECT_MAX);
    for (int i = 0; i < k->n_trait; i++) {
        const json_t *o = json_array_get(list, (size_t)i), *keys = tk_json_get(o, "groups");
        tk_trait *t = &k->trait[i];
        json_int_t stage = json_integer_value(tk_json_get(o, "stage"));
        if (stage < 0 || stage > TK_STAGE_ENERGY)
            return tk_fail(err, TK_BAD_INPUT, "%s: trait %d is of stage %lld", where, i,
                           (long long)stage);
        t->stage = (tk_stage)stage;
        for (int g = 0; g < TK_TRAIT_GROUPS; g++) {
            const char *s = json_string_value(json_array_get(keys, (size_t)g));
            tk_trait_key(t, g, s ? s : "");
        }
        const json_t *at = tk_json_get(o, "at");
        for (int d = 0; d < TK_TRAIT_DIMS; d++) {
            t->at[d] = json_number_value(json_array_get(at, (size_t)d));
            if (!(fabs(t->at[d]) < 100))
                return tk_fail(err, TK_BAD_INPUT, "%s: trait %d lies at %g", where, i, t->at[d]);
        }
    }
    return TK_OK;
}

static tk_status read_effects(const json_t *o, const tk_constants *k, tk_effects *fx,
                              const char *where, tk_err *err)
{
    *fx = (tk_effects){.trait = k->trait, .n = k->n_trait};
    if (json_array_size(o) != (size_t)fx->n)
        return tk_fail(err, TK_BAD_INPUT, "%s: %zu effects for %d traits; fit again", where,
                       json_array_size(o), fx->n);
    for (int i = 0; i < fx->n; i++) {
        fx->weight[i] = json_number_value(json_array_get(o, (size_t)i));
        if (!(fabs(fx->weight[i]) < 1e6))
            return tk_fail(err, TK_BAD_INPUT, "%s: effect %d is %g", where, i, fx->weight[i]);
    }
    return TK_OK;
}

static tk_status read_folds(const json_t *j, tk_constants *k, const char *where, tk_err *err)
{
    const json_t *list = tk_json_get(j, "folds");
    for (size_t i = 0; i < json_array_size(list) && k->n_fold < TK_FOLD_MAX; i++) {
        const json_t *f = json_array_get(list, i);
        tk_fold *to = &k->fold[k->n_fold];
        const char *name = json_string_value(tk_json_get(f, "name"));
        int kind = index_of(json_string_value(tk_json_get(f, "without")), fold_kind, TK_FOLD_COUNT);
        if (name == NULL || kind < 0)
            return tk_fail(err, TK_BAD_INPUT, "%s: fold %zu has no name or kind", where, i);
        to->kind = (tk_fold_kind)kind;
        snprintf(to->name, sizeof to->name, "%s", name);
        tk_status st = read_list(tk_json_get(f, "values"), to->k.v, TK_P_COUNT, false, where, err);
        if (st == TK_OK)
            st = read_list(tk_json_get(f, "floor"), to->floor, TK_FLOOR_N, true, where, err);
        if (st == TK_OK) st = read_effects(tk_json_get(f, "effects"), k, &to->fx, where, err);
        if (st != TK_OK) return st;
        k->n_fold++;
    }
    return TK_OK;
}

static tk_status read_intervals(const json_t *j, tk_constants *k, const char *where, tk_err *err)
{
    const json_t *list = tk_json_get(j, "intervals");
    int n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        int c = index_of(json_string_value(tk_json_get(v, "class")), class_at, TK_CLASS_COUNT);
        int t = index_of(json_string_value(tk_json_get(v, "tier")), tier_at, TK_TIER_COUNT);
        double low = json_number_value(tk_json_get(v, "low")),
               high = json_number_value(tk_json_get(v, "high"));
        if (c < 0 || t < 0 || !(low < high) || fabs(low) > 20 || fabs(high) > 20)
            return tk_fail(err, TK_BAD_INPUT, "%s: interval %zu is [%g, %g]", where, i, low, high);
        k->interval[c][t] =
            (tk_interval){low, high, (int)json_integer_value(tk_json_get(v, "rows"))};
        n++;
    }
    if (n != TK_CLASS_COUNT * TK_TIER_COUNT)
        return tk_fail(err, TK_BAD_INPUT, "%s: %d intervals, not %d; fit again", where, n,
                       TK_CLASS_COUNT * TK_TIER_COUNT);
    return TK_OK;
}

static void read_seen(const json_t *j, tk_constants *k)
{
    const json_t *hw = tk_json_get(tk_json_get(j, "seen"), "systems"),
                 *model = tk_json_get(tk_json_get(j, "seen"), "models");
    for (size_t i = 0; i < json_array_size(hw) && k->n_seen_hw < TK_FOLD_MAX; i++) {
        const char *s = json_string_value(json_array_get(hw, i));
        if (s) snprintf(k->seen_hw[k->n_seen_hw++], sizeof k->seen_hw[0], "%.47s", s);
    }
    for (size_t i = 0; i < json_array_size(model) && k->n_seen_model < TK_FOLD_MAX; i++) {
        const char *s = json_string_value(json_array_get(model, i));
        if (s) snprintf(k->seen_model[k->n_seen_model++], sizeof k->seen_model[0], "%.63s", s);
    }
}

tk_status tk_constants_load(const tk_catalog *c, tk_constants **out, tk_err *err)
{
    char *path = tk_file_join(tk_catalog_dir(c), "plan/constants.json"), *text = NULL;
    const char *s = NULL;
    tk_constants *k = tk_alloc(sizeof *k);
    json_t *j = NULL;
    size_t len = 0;
    tk_status st;
    TK_TRY(tk_file_read(path, MAX_BYTES, &text, &len, err));
    TK_TRY(tk_json_parse_unique(text, len, path, &j, err));
    TK_TRY(read_constants(j, k, path, err));
    TK_TRY(read_list(tk_json_get(j, "floor"), k->floor, TK_FLOOR_N, true, path, err));
    TK_TRY(read_traits(j, k, path, err));
    TK_TRY(read_effects(tk_json_get(j, "effects"), k, &k->fx, path, err));
    TK_TRY(read_folds(j, k, path, err));
    TK_TRY(read_intervals(j, k, path, err));
    read_seen(j, k);
    k->n_row = (int)json_integer_value(tk_json_get(j, "rows"));
    TK_TRY(tk_json_str(j, "date", &s, path, err));
    snprintf(k->date, sizeof k->date, "%.15s", s ? s : "");
    s = NULL;
    TK_TRY(tk_json_str(j, "points", &s, path, err));
    snprintf(k->from, sizeof k->from, "%.127s", s ? s : "");
    *out = k;
    k = NULL;
done:
    json_decref(j);
    tk_free(text);
    tk_free(path);
    tk_free(k);
    return st;
}
