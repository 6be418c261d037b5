// SPDX-License-Identifier: MIT
#include "plan/catalog.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/opt.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef TK_DATA_DIR
#define TK_DATA_DIR "data"
#endif
#ifndef TK_DATA_INSTALLED
#define TK_DATA_INSTALLED "/usr/local/share/tokamak/data"
#endif

struct tk_catalog {
    char *dir;
    tk_hw *hw;
    int n_hw;
    tk_model_entry **model; // each by itself: callers keep pointers while models are added
    int n_model;
};

static const char *const gen_names[] = {
#define X(id, name) name,
    TK_GEN_MAP(X)
#undef X
};

const char *tk_gen_name(tk_gen g)
{
    return gen_names[g];
}

const char *tk_prec_name(tk_prec p)
{
    static const char *const names[] = {"bf16", "fp8", "fp4"};
    return names[p];
}

void tk_catalog_fold(const char *name, char *out, size_t cap)
{
    size_t n = 0;
    for (; *name && n + 1 < cap; name++)
        if (isalnum((unsigned char)*name)) out[n++] = (char)tolower((unsigned char)*name);
    out[n] = 0;
}

// ---- numbers with unit and source

// {"value", "unit", "source"}: *out is left alone when the key is absent. The unit must be the one named, and
// the source one of the file's "sources", which must carry a date.
static tk_status number(const json_t *j, const char *key, const char *unit, double scale,
                        double *out, const char *where, tk_err *err)
{
    const json_t *o = tk_json_get(j, key);
    if (o == NULL) return TK_OK;
    if (!json_is_object(o))
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" needs a value, a unit and a source", where,
                       key);
    const char *u = NULL, *src = NULL, *date = NULL;
    double v = NAN;
    tk_status st;
    TK_TRY(tk_json_double(o, "value", &v, where, err));
    TK_TRY(tk_json_str(o, "unit", &u, where, err));
    TK_TRY(tk_json_str(o, "source", &src, where, err));
    if (u == NULL || strcmp(u, unit) != 0) {
        const char *hint = u && strstr(u, "sparse") ? "; sparse rates are twice the dense ones"
                           : u && strstr(u, "both") ? "; both-way rates are twice the one-way ones"
                           : u && strstr(u, "GiB")  ? "; 1 GiB is 1.074 GB"
                                                    : "";
        st = tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is in \"%s\", expected \"%s\"%s", where, key,
                     u ? u : "no unit", unit, hint);
        goto done;
    }
    const json_t *s = src ? tk_json_get(tk_json_get(j, "sources"), src) : NULL;
    TK_TRY(s ? tk_json_str(s, "date", &date, where, err) : TK_OK);
    if (date == NULL) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" has no source with a date", where, key);
        goto done;
    }
    if (!(v > 0) || v > 1e12) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is %g, not a positive number", where, key, v);
        goto done;
    }
    *out = v * scale;
done:
    return st;
}

static void join_sources(const json_t *j, char out[256])
{
    const char *key;
    json_t *s;
    size_t n = 0;
    out[0] = 0;
    json_object_foreach(tk_json_get(j, "sources"), key, s)
    {
        const char *what = json_string_value(tk_json_get(s, "what"));
        if (what && n < 255) n += (size_t)snprintf(out + n, 256 - n, "%s%s", n ? "; " : "", what);
    }
}

static tk_status text(const json_t *j, const char *key, char *out, size_t cap, const char *where,
                      tk_err *err)
{
    const char *s = NULL;
    tk_status st = tk_json_str(j, key, &s, where, err);
    if (st != TK_OK) return st;
    if (s == NULL || *s == 0 || strlen(s) >= cap)
        return tk_fail(err, TK_BAD_INPUT, "%s: \"%s\" is missing or longer than %zu bytes", where,
                       key, cap - 1);
    snprintf(out, cap, "%s", s);
    return TK_OK;
}

// ---- hardware

// Invariants of a real part, each a mistake seen in published tables (tests/plan/test_catalog.c).
static tk_status check_part(const json_t *j, const tk_hw *h, const char *where, tk_err *err)
{
    double r8 = h->flops[TK_PREC_FP8] / h->flops[TK_PREC_BF16];
    if (h->flops[TK_PREC_FP8] > 0 && fabs(r8 - 2) > 0.02)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: FP8 is %.2f times BF16, dense rates differ by 2: one of them is sparse",
                       where, r8);
    double r4 = h->flops[TK_PREC_FP4] / h->flops[TK_PREC_FP8];
    if (h->flops[TK_PREC_FP4] > 0 && fabs(r4 - 2) > 0.02 && fabs(r4 - 3) > 0.12)
        return tk_fail(err, TK_BAD_INPUT,
                       "%s: FP4 is %.2f times FP8, dense rates differ by 2 (3 on Ultra parts): one "
                       "of them is sparse",
                       where, r4);
    double gb = h->mem_bytes * 1e-9, gib = gb / 1.073741824;
    if (fabs(gb - round(gb)) > 0.05 && fabs(gib - round(gib)) < 0.02)
        return tk_fail(err, TK_BAD_INPUT, "%s: %.2f GB is %.0f GiB: the label says GB", where, gb,
                       gib);
    if (h->mem_usable_bytes > 1.0738 * h->mem_bytes)
        return tk_fail(err, TK_BAD_INPUT, "%s: %.1f GB usable of %.0f labelled, GB or GiB", where,
                       h->mem_usable_bytes * 1e-9, gb);
    static const struct {
        const char *gen;
        double max_gb;
    } links[] = {{"nvlink3", 300}, {"nvlink4", 450}, {"nvlink5", 900}};
    const char *gen = NULL;
    tk_status st = tk_json_str(j, "link_generation", &gen, where, err);
    if (st != TK_OK) return st;
    for (size_t i = 0; gen && i < TK_COUNT(links); i++)
        if (strcmp(gen, links[i].gen) == 0 && h->link_bytes_per_s > links[i].max_gb * 1.01e9)
            return tk_fail(err, TK_BAD_INPUT,
                           "%s: %.0f GB/s is both ways: one way %s carries %.0f GB/s", where,
                           h->link_bytes_per_s * 1e-9, gen, links[i].max_gb);
    return TK_OK;
}

// What runtimes print, in GiB. A label of 80 GB means stacks of 16 GiB, so that more than it is usable: 81,559 MiB.
static tk_status usable(const json_t *j, double *bytes, const char *where, tk_err *err)
{
    const json_t *o = tk_json_get(j, "memory_usable");
    const char *unit = o ? json_string_value(tk_json_get(o, "unit")) : NULL;
    if (unit && strcmp(unit, "GiB") == 0)
        return number(j, "memory_usable", "GiB", 1073741824.0, bytes, where, err);
    return number(j, "memory_usable", "GB", 1e9, bytes, where, err);
}

static tk_status read_part(const json_t *j, tk_hw *h, const char *where, tk_err *err)
{
    char gen[16];
    double domain = 0;
    tk_status st;
    TK_TRY(text(j, "generation", gen, sizeof gen, where, err));
    int g = 0;
    while (g < TK_GEN_COUNT && strcmp(gen, gen_names[g]) != 0) g++;
    if (g == TK_GEN_COUNT) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: unknown generation \"%s\"", where, gen);
        goto done;
    }
    h->gen = (tk_gen)g;
    TK_TRY(number(j, "bf16", "TFLOP/s dense", 1e12, &h->flops[TK_PREC_BF16], where, err));
    TK_TRY(number(j, "fp8", "TFLOP/s dense", 1e12, &h->flops[TK_PREC_FP8], where, err));
    TK_TRY(number(j, "fp4", "TFLOP/s dense", 1e12, &h->flops[TK_PREC_FP4], where, err));
    TK_TRY(number(j, "memory", "GB", 1e9, &h->mem_bytes, where, err));
    h->mem_usable_bytes = h->mem_bytes;
    TK_TRY(usable(j, &h->mem_usable_bytes, where, err));
    TK_TRY(number(j, "memory_bandwidth", "TB/s", 1e12, &h->mem_bytes_per_s, where, err));
    TK_TRY(number(j, "link", "GB/s one way", 1e9, &h->link_bytes_per_s, where, err));
    TK_TRY(number(j, "network", "Gb/s one way", 1e9 / 8, &h->net_bytes_per_s, where, err));
    TK_TRY(number(j, "scale_up", "accelerators", 1, &domain, where, err));
    TK_TRY(number(j, "tdp", "W", 1, &h->tdp_w, where, err));
    TK_TRY(number(j, "provisioned_power", "W", 1, &h->provisioned_w, where, err));
    TK_TRY(number(j, "usd_per_hour_hyperscaler", "USD/h", 1, &h->usd_per_h[0], where, err));
    TK_TRY(number(j, "usd_per_hour_neocloud", "USD/h", 1, &h->usd_per_h[1], where, err));
    TK_TRY(number(j, "usd_per_hour_rental", "USD/h", 1, &h->usd_per_h[2], where, err));
    h->scale_up = domain >= 1 && domain <= TK_LIMIT_GPUS ? (int)domain : 1;
    h->n_accel = 1;
    snprintf(h->part, sizeof h->part, "%s", h->name);
    if (h->flops[TK_PREC_BF16] <= 0 || h->mem_bytes <= 0 || h->mem_bytes_per_s <= 0) {
        st = tk_fail(err, TK_BAD_INPUT,
                     "%s: \"bf16\", \"memory\" and \"memory_bandwidth\" are needed", where);
        goto done;
    }
    TK_TRY(check_part(j, h, where, err));
done:
    return st;
}

static tk_status read_system(const json_t *j, const tk_hw *part, tk_hw *h, const char *where,
                             tk_err *err)
{
    tk_hw own = *h;
    double n = 0;
    tk_status st;
    *h = *part;
    memcpy(h->name, own.name, sizeof h->name);
    memcpy(h->title, own.title, sizeof h->title);
    h->is_system = true;
    TK_TRY(number(j, "accelerators", "accelerators", 1, &n, where, err));
    TK_TRY(number(j, "max_power", "W", 1, &h->max_power_w, where, err));
    TK_TRY(number(j, "price", "USD", 1, &h->price_usd, where, err));
    if (n < 1 || n > TK_LIMIT_GPUS || n != floor(n)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: %g accelerators", where, n);
        goto done;
    }
    h->n_accel = (int)n;
    if (h->max_power_w > 0 && h->tdp_w > 0 && h->max_power_w < 0.8 * h->tdp_w * n)
        st = tk_fail(err, TK_BAD_INPUT,
                     "%s: %.0f W for %.0f parts of %.0f W: kW and W, or parts and node, are mixed",
                     where, h->max_power_w, n, h->tdp_w);
done:
    return st;
}

tk_status tk_catalog_read_hw(const json_t *j, const tk_hw *part, const char *where, tk_hw *out,
                             tk_err *err)
{
    *out = (tk_hw){0};
    if (!json_is_object(j)) return tk_fail(err, TK_BAD_INPUT, "%s: is no object", where);
    tk_status st;
    TK_TRY(text(j, "name", out->name, sizeof out->name, where, err));
    TK_TRY(text(j, "title", out->title, sizeof out->title, where, err));
    TK_TRY(part ? read_system(j, part, out, where, err) : read_part(j, out, where, err));
    join_sources(j, out->sources);
done:
    return st;
}

// ---- models

static tk_status read_accepted(const json_t *j, tk_model_entry *m, const char *where, tk_err *err)
{
    const json_t *list = tk_json_get(tk_json_get(j, "accepted_per_step"), "value");
    for (size_t k = 0; k < json_array_size(list) && k < TK_MTP_MAX; k++) {
        double v = json_number_value(json_array_get(list, k));
        if (v < 1 || v > (double)k + 1)
            return tk_fail(err, TK_BAD_INPUT,
                           "%s: %g tokens accepted per step at depth %zu, possible are 1 to %zu",
                           where, v, k, k + 1);
        m->accepted[m->n_accepted++] = v;
    }
    return TK_OK;
}

// "check_total" and "check_active" guard the dimensions against slips: 4 % off is refused.
static tk_status check_size(const json_t *j, const tk_model_entry *m, const char *where,
                            tk_err *err)
{
    tk_shape_size size;
    tk_shape_measure(&m->shape, &size);
    double total = 0, active = 0;
    tk_status st;
    TK_TRY(number(j, "check_total", "1e9 parameters", 1e9, &total, where, err));
    TK_TRY(number(j, "check_active", "1e9 parameters", 1e9, &active, where, err));
    if (total > 0 && fabs(size.total / total - 1) > 0.04)
        st = tk_fail(err, TK_BAD_INPUT, "%s: the dimensions give %.2f e9 parameters, not %.2f e9",
                     where, size.total * 1e-9, total * 1e-9);
    else if (active > 0 && fabs(size.active / active - 1) > 0.08)
        st = tk_fail(err, TK_BAD_INPUT,
                     "%s: the dimensions give %.2f e9 active parameters, not %.2f e9", where,
                     size.active * 1e-9, active * 1e-9);
done:
    return st;
}

static tk_status shape_of_config(const char *path, const char *name, tk_shape *out, tk_err *err)
{
    json_t *j = NULL;
    tk_config cfg;
    tk_status st;
    TK_TRY(tk_json_load(path, &j, err));
    TK_TRY(tk_config_read_json(j, NULL, path, &cfg, err));
    TK_TRY(tk_shape_from_config(&cfg, name, out, err));
done:
    json_decref(j);
    return st;
}

static tk_status read_model(const char *dir, const json_t *j, const char *where, tk_model_entry *m,
                            tk_err *err)
{
    const char *config = NULL;
    char *path = NULL;
    const json_t *shape = tk_json_get(j, "shape");
    tk_status st;
    TK_TRY(text(j, "name", m->name, sizeof m->name, where, err));
    TK_TRY(text(j, "title", m->title, sizeof m->title, where, err));
    TK_TRY(text(j, "default_precision", m->default_precision, sizeof m->default_precision, where,
                err));
    TK_TRY(tk_json_str(j, "config", &config, where, err));
    if ((config == NULL) == (shape == NULL)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: either \"config\" or \"shape\" is needed", where);
        goto done;
    }
    if (shape) {
        TK_TRY(tk_shape_from_json(shape, m->name, where, &m->shape, err));
    } else {
        if (!tk_file_name_is_inside(config)) {
            st = tk_fail(err, TK_BAD_INPUT, "%s: \"config\" is \"%s\"", where, config);
            goto done;
        }
        path = tk_asprintf("%s/../models/configs/%s", dir, config);
        TK_TRY(shape_of_config(path, m->name, &m->shape, err));
    }
    TK_TRY(read_accepted(j, m, where, err));
    TK_TRY(number(j, "mlperf_input", "tokens", 1, &m->mlperf_input, where, err));
    TK_TRY(number(j, "training_batch", "sequences", 1, &m->training_batch, where, err));
    TK_TRY(check_size(j, m, where, err));
    join_sources(j, m->sources);
done:
    tk_free(path);
    return st;
}

static tk_model_entry *add_model(tk_catalog *c)
{
    c->model = tk_realloc(c->model, (size_t)(c->n_model + 1) * sizeof *c->model);
    return c->model[c->n_model++] = tk_alloc(sizeof(tk_model_entry));
}

// ---- folders

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// The .json names of dir/sub, sorted, so that messages and searches do not depend on the file system.
static tk_status list(const char *dir, const char *sub, char ***out, int *n, tk_err *err)
{
    char *path = tk_file_join(dir, sub);
    DIR *d = opendir(path);
    *out = NULL;
    *n = 0;
    if (d == NULL) {
        tk_status st = tk_fail(err, TK_IO, "there is no catalogue \"%s\"", path);
        tk_free(path);
        return st;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL && *n < TK_LIMIT_CATALOG_FILES;) {
        size_t len = strlen(e->d_name);
        if (len < 6 || e->d_name[0] == '.' || strcmp(e->d_name + len - 5, ".json") != 0) continue;
        *out = tk_realloc(*out, (size_t)(*n + 1) * sizeof **out);
        (*out)[(*n)++] = tk_file_join(path, e->d_name);
    }
    closedir(d);
    tk_free(path);
    if (*n) qsort(*out, (size_t)*n, sizeof **out, by_name);
    return TK_OK;
}

static void free_list(char **names, int n)
{
    for (int i = 0; i < n; i++) tk_free(names[i]);
    tk_free(names);
}

static tk_status load(const char *path, json_t **out, tk_err *err)
{
    char *data = NULL;
    size_t len = 0;
    *out = NULL;
    tk_status st = tk_file_read(path, TK_LIMIT_CATALOG_BYTES, &data, &len, err);
    if (st == TK_OK) st = tk_json_parse_unique(data, len, path, out, err);
    tk_free(data);
    return st;
}

// Systems refer to accelerators, so accelerators are read first.
static tk_status load_hw(tk_catalog *c, tk_err *err)
{
    char **names = NULL;
    int n = 0;
    json_t *j = NULL;
    tk_status st;
    TK_TRY(list(c->dir, "hardware", &names, &n, err));
    c->hw = tk_alloc((size_t)n * sizeof *c->hw);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++) {
            const char *part = NULL;
            const tk_hw *base = NULL;
            TK_TRY(load(names[i], &j, err));
            TK_TRY(tk_json_str(j, "accelerator", &part, names[i], err));
            if ((part != NULL) == (pass == 1)) {
                tk_hw h;
                if (part) TK_TRY(tk_catalog_hw(c, part, &base, err));
                TK_TRY(tk_catalog_read_hw(j, base, names[i], &h, err));
                h.json = json_incref(j);
                c->hw[c->n_hw++] = h;
            }
            json_decref(j);
            j = NULL;
        }
done:
    json_decref(j);
    free_list(names, n);
    return st;
}

static tk_status load_models(tk_catalog *c, tk_err *err)
{
    char **names = NULL;
    int n = 0;
    tk_status st;
    TK_TRY(list(c->dir, "models", &names, &n, err));
    for (int i = 0; i < n; i++) {
        tk_model_entry *m = add_model(c);
        TK_TRY(load(names[i], &m->json, err));
        TK_TRY(read_model(c->dir, m->json, names[i], m, err));
    }
done:
    free_list(names, n);
    return st;
}

tk_status tk_catalog_open(const char *dir, tk_catalog **out, tk_err *err)
{
    const char *env = getenv("TOKAMAK_DATA");
    const char *const tries[] = {dir ? dir : env && *env ? env : TK_DATA_DIR, TK_DATA_INSTALLED};
    tk_catalog *c = tk_alloc(sizeof *c);
    tk_status st;
    c->dir = tk_strdup(tk_file_is_dir(tries[0]) || dir ? tries[0] : tries[1]);
    TK_TRY(load_hw(c, err));
    TK_TRY(load_models(c, err));
    *out = c;
    c = NULL;
done:
    tk_catalog_close(c);
    return st;
}

void tk_catalog_close(tk_catalog *c)
{
    if (c == NULL) return;
    for (int i = 0; i < c->n_hw; i++) json_decref(c->hw[i].json);
    for (int i = 0; i < c->n_model; i++) {
        json_decref(c->model[i]->json);
        tk_free(c->model[i]);
    }
    tk_free(c->hw);
    tk_free(c->model);
    tk_free(c->dir);
    tk_free(c);
}

const char *tk_catalog_dir(const tk_catalog *c)
{
    return c->dir;
}

// ---- look-up

static bool is_called(const json_t *j, const char *name, const char *folded)
{
    char f[96];
    tk_catalog_fold(name, f, sizeof f);
    if (strcmp(f, folded) == 0) return true;
    size_t i;
    json_t *a;
    json_array_foreach(tk_json_get(j, "aliases"), i, a)
    {
        tk_catalog_fold(json_is_string(a) ? json_string_value(a) : "", f, sizeof f);
        if (f[0] && strcmp(f, folded) == 0) return true;
    }
    return false;
}

static tk_status unknown(const char *what, const char *name, const char *const *names, tk_err *err)
{
    const char *near = tk_opt_nearest(name, names);
    return near ? tk_fail(err, TK_BAD_INPUT, "unknown %s \"%s\"; did you mean \"%s\"?", what, name,
                          near)
                : tk_fail(err, TK_BAD_INPUT, "unknown %s \"%s\"; `tokamak plan list` names them",
                          what, name);
}

tk_status tk_catalog_hw(const tk_catalog *c, const char *name, const tk_hw **out, tk_err *err)
{
    char folded[96];
    tk_catalog_fold(name, folded, sizeof folded);
    *out = NULL;
    for (int i = 0; i < c->n_hw && folded[0]; i++)
        if (is_called(c->hw[i].json, c->hw[i].name, folded)) {
            *out = &c->hw[i];
            return TK_OK;
        }
    const char **names = tk_alloc((size_t)(c->n_hw + 1) * sizeof *names);
    for (int i = 0; i < c->n_hw; i++) names[i] = c->hw[i].name;
    tk_status st = unknown("system", name, names, err);
    tk_free(names);
    return st;
}

tk_status tk_catalog_model(tk_catalog *c, const char *name, const tk_model_entry **out, tk_err *err)
{
    char folded[96];
    tk_catalog_fold(name, folded, sizeof folded);
    *out = NULL;
    for (int i = 0; i < c->n_model && folded[0]; i++)
        if (is_called(c->model[i]->json, c->model[i]->name, folded)) {
            *out = c->model[i];
            return TK_OK;
        }
    bool is_dir = tk_file_is_dir(name);
    if (is_dir || tk_file_exists(name)) {
        char *path = is_dir ? tk_file_join(name, "config.json") : tk_strdup(name);
        tk_shape shape;
        tk_status st = shape_of_config(path, "config.json", &shape, err);
        if (st == TK_OK) {
            tk_model_entry *m = add_model(c);
            m->shape = shape;
            snprintf(m->name, sizeof m->name, "%.63s", name);
            snprintf(m->title, sizeof m->title, "%.95s", name);
            snprintf(m->sources, sizeof m->sources, "%.255s", path);
            snprintf(m->default_precision, sizeof m->default_precision, "bf16");
            *out = m;
        }
        tk_free(path);
        return st;
    }
    const char **names = tk_alloc((size_t)(c->n_model + 1) * sizeof *names);
    for (int i = 0; i < c->n_model; i++) names[i] = c->model[i]->name;
    tk_status st = unknown("model", name, names, err);
    tk_free(names);
    return st;
}

int tk_catalog_hw_count(const tk_catalog *c)
{
    return c->n_hw;
}

const tk_hw *tk_catalog_hw_at(const tk_catalog *c, int i)
{
    return &c->hw[i];
}

int tk_catalog_model_count(const tk_catalog *c)
{
    return c->n_model;
}

const tk_model_entry *tk_catalog_model_at(const tk_catalog *c, int i)
{
    return c->model[i];
}
