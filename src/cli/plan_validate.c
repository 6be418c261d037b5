// SPDX-License-Identifier: MIT
// `tokamak plan validate` and `tokamak plan fit`.
#include "cli/plan.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "plan/validate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

tk_status tk_plan_write_json(json_t *j, const char *path, tk_err *err)
{
    tk_status st = TK_OK;
    if (path && strcmp(path, "-") == 0) {
        json_dumpf(j, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (path && json_dump_file(j, path, JSON_INDENT(1)) != 0) {
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    }
    json_decref(j);
    return st;
}

// The points asked for, else those that came with the constants. Free with tk_free.
static char *points_path(const tk_plan_call *c)
{
    return c->o->points ? tk_strdup(c->o->points)
                        : tk_file_join(tk_catalog_dir(c->catalog), "plan/published-points.csv");
}

tk_status tk_plan_validate(const tk_plan_call *c, tk_err *err)
{
    tk_constants *k = NULL;
    tk_points pts = {0};
    tk_validation *v = NULL;
    char *path = points_path(c);
    tk_status st;
    TK_TRY(tk_constants_load(c->catalog, &k, err));
    TK_TRY(tk_points_load(path, &pts, err));
    v = tk_validate(c->catalog, k, &pts);
    if (c->o->json) TK_TRY(tk_plan_write_json(tk_validation_json(v), c->o->json, err));
    if (c->o->json == NULL || strcmp(c->o->json, "-") != 0)
        tk_validation_print(v, c->o->rows, stdout);
done:
    tk_validation_free(v);
    tk_points_free(&pts);
    tk_free(path);
    tk_free(k);
    return st;
}

static void tell(const char *fold)
{
    tk_log(TK_LOG_VERBOSE, "fitting without %s", fold);
}

// The fit's date is the newest of its points, not today's: the same points give the same file.
static void newest(const tk_points *pts, char out[16])
{
    double year = 0;
    snprintf(out, 16, "unknown");
    for (int i = 0; i < pts->n; i++)
        if (pts->p[i].year > year) year = pts->p[i].year;
    int month = (int)((year - (int)year) * 12) + 1;
    if (year > 0) snprintf(out, 16, "%04d-%02d", (int)year % 10000, month % 13);
}

tk_status tk_plan_fit(const tk_plan_call *c, tk_err *err)
{
    tk_constants *k = NULL;
    tk_points pts = {0};
    char date[16], *path = NULL, *from = points_path(c);
    tk_status st;
    TK_TRY(tk_points_load(from, &pts, err));
    newest(&pts, date);
    const char *name = strrchr(from, '/');
    TK_TRY(tk_fit(c->catalog, &pts, name ? name + 1 : from, date, tell, &k, err));
    path = c->o->json ? tk_strdup(c->o->json)
                      : tk_file_join(tk_catalog_dir(c->catalog), "plan/constants.json");
    TK_TRY(tk_constants_save(k, path, err));
    printf("%d constants from %d rows, %d folds: %s\n", TK_P_COUNT, k->n_row, k->n_fold, path);
done:
    tk_points_free(&pts);
    tk_free(path);
    tk_free(from);
    tk_free(k);
    return st;
}
