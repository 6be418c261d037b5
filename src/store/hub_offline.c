// SPDX-License-Identifier: MIT
#include "store/hub_offline.h"

#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/hub_select.h"

#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

// The first few names of what is missing.
typedef struct missing {
    size_t n;
    char text[400];
} missing;

static void add_missing(missing *m, const char *name)
{
    size_t len = strlen(m->text);
    if (m->n++ < 8) snprintf(m->text + len, sizeof m->text - len, "%s%.90s", len ? ", " : "", name);
}

bool tk_hub_is_offline(void)
{
    static const char *const yes[] = {"1", "on", "yes", "true"};
    const char *env = getenv("HF_HUB_OFFLINE");
    for (size_t i = 0; i < TK_COUNT(yes) && env; i++)
        if (strcasecmp(env, yes[i]) == 0) return true;
    return false;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int files_by_name(const void *a, const void *b)
{
    return strcmp(((const tk_hub_file *)a)->name, ((const tk_hub_file *)b)->name);
}

// The files of a snapshot's folder that are there, by name; links that lead nowhere are counted in *m.
static void walk(char *dir, tk_hub_listing *l, missing *m)
{
    char *const roots[] = {dir, NULL};
    size_t cap = 0, skip = strlen(dir) + 1;
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    for (FTSENT *e; fts && (e = fts_read(fts)) && l->n < TK_LIMIT_HUB_FILES;) {
        struct stat sb;
        if (e->fts_info != FTS_F && e->fts_info != FTS_SL && e->fts_info != FTS_SLNONE) continue;
        const char *name = e->fts_path + skip;
        if (stat(e->fts_path, &sb) != 0) {
            add_missing(m, name);
            continue;
        }
        if (!S_ISREG(sb.st_mode)) continue;
        if (l->n == cap) l->files = tk_realloc(l->files, (cap = cap * 2 + 64) * sizeof *l->files);
        l->files[l->n++] =
            (tk_hub_file){.name = tk_strdup(name), .size = (uint64_t)sb.st_size, .is_sized = true};
    }
    if (fts) fts_close(fts);
    if (l->n > 0) qsort(l->files, l->n, sizeof *l->files, files_by_name);
}

// Shards the index names and the folder lacks.
static void check_shards(const char *dir, missing *m)
{
    char *index = tk_file_join(dir, "model.safetensors.index.json");
    json_t *j = NULL, *v;
    const char *tensor, *last = "";
    if (tk_file_exists(index) && tk_json_load(index, &j, NULL) == TK_OK) {
        json_object_foreach(tk_json_get(j, "weight_map"), tensor, v)
        {
            const char *shard = json_string_value(v);
            if (shard == NULL || !tk_file_name_is_inside(shard) || strcmp(shard, last) == 0)
                continue;
            char *path = tk_file_join(dir, shard);
            if (!tk_file_exists(path)) add_missing(m, shard);
            tk_free(path);
            last = shard;
        }
    }
    json_decref(j);
    tk_free(index);
}

static void count_wanted(const tk_hub_repo *r, const tk_hub_listing *l, tk_hub_pulled *out,
                         missing *m)
{
    for (size_t i = 0; i < l->n; i++) {
        if (!l->files[i].is_wanted) continue;
        if (!tk_hub_has_file(r, l->commit, &l->files[i])) add_missing(m, l->files[i].name);
        out->n_file++;
        out->bytes += l->files[i].size;
    }
}

tk_status tk_hub_pull_offline(const tk_hub_pull_opts *o, const tk_hub_repo *r, const char *rev,
                              tk_hub_pulled *out, tk_err *err)
{
    const tk_hub_globs globs = {o->include, o->exclude, o->n_include, o->n_exclude};
    tk_hub_listing l = {0};
    missing m = {0};
    char *commit = tk_hub_read_ref(r, rev), *dir = tk_hub_snapshot_path(r, commit);
    char *absolute = realpath(dir, NULL);
    tk_status st = TK_OK;
    if (absolute == NULL || !tk_file_is_dir(absolute)) {
        st = tk_fail(err, TK_NOMEM,
                     "HF_HUB_OFFLINE is set, and \"%s\" (%s) is not in the cache \"%s\"", r->name,
                     rev, r->cache);
        goto done;
    }
    if (tk_hub_read_tree(r, commit, &l)) {
        TK_TRY(tk_hub_select(&l, &globs, &out->choices, err));
    } else {
        walk(absolute, &l, &m);
        check_shards(absolute, &m);
        for (size_t i = 0; i < l.n; i++) l.files[i].is_wanted = true;
        if (o->n_include + o->n_exclude > 0) TK_TRY(tk_hub_select(&l, &globs, &out->choices, err));
        snprintf(l.commit, sizeof l.commit, "%s", commit);
    }
    count_wanted(r, &l, out, &m);
    if (m.n > 0 || out->n_file == 0) {
        st = tk_fail(err, TK_NOMEM,
                     "HF_HUB_OFFLINE is set, and the cache lacks %zu files of \"%s\" (%s)"
                     ": %s%s",
                     m.n, r->name, rev, m.text, m.n > 8 ? ", ..." : "");
        goto done;
    }
    out->path = tk_strdup(absolute);
    memcpy(out->commit, l.commit, sizeof out->commit);
done:
    tk_hub_listing_free(&l);
    free(absolute);
    tk_free(dir);
    tk_free(commit);
    return st;
}

// In a folder of GGUF models alone, the one there is.
static tk_status find_gguf(const char *model, char **path, tk_err *err)
{
    char *config = tk_file_join(*path, "config.json");
    bool is_hf = tk_file_exists(config);
    tk_free(config);
    if (is_hf) return TK_OK;
    tk_hub_listing l = {0};
    missing m = {0};
    const char *first;
    walk(*path, &l, &m);
    size_t n = tk_hub_count_gguf(&l, &first);
    tk_status st = TK_OK;
    if (n == 1) {
        char *file = tk_file_join(*path, first);
        tk_free(*path);
        *path = file;
    } else if (n > 1) {
        st = tk_fail(err, TK_USAGE,
                     "\"%s\" has %zu GGUF models; give the path of one, such as %s/%s", model, n,
                     *path, first);
        tk_free(*path);
        *path = NULL;
    }
    tk_hub_listing_free(&l);
    return st;
}

tk_status tk_hub_find(const char *model, char **path, tk_err *err)
{
    char *name, *rev;
    *path = NULL;
    tk_status st = tk_hub_split(model, &name, &rev, err);
    if (st != TK_OK) return st;
    tk_hub_repo r = tk_hub_repo_at(name);
    char *commit = tk_hub_read_ref(&r, rev), *dir = tk_hub_snapshot_path(&r, commit);
    if (tk_file_is_dir(dir)) {
        *path = dir;
        dir = NULL;
        st = find_gguf(model, path, err);
    } else {
        st = tk_fail(err, TK_IO,
                     "\"%s\" is no folder or .gguf file, and is not in the cache \"%s\"; get it "
                     "with: tokamak pull %s",
                     model, r.cache, model);
    }
    tk_free(dir);
    tk_free(commit);
    tk_hub_repo_free(&r);
    tk_free(rev);
    tk_free(name);
    return st;
}
