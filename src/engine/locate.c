// SPDX-License-Identifier: MIT
#include "engine/locate.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/hub.h"
#include "store/hub_cache.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TK_DEMO_DIR
#define TK_DEMO_DIR "models/demo"
#endif
#ifndef TK_DEMO_INSTALLED
#define TK_DEMO_INSTALLED "/usr/local/share/tokamak/models/demo"
#endif

#ifndef TK_CONFIGS_DIR
#define TK_CONFIGS_DIR "models/configs"
#endif
#ifndef TK_CONFIGS_INSTALLED
#define TK_CONFIGS_INSTALLED "/usr/local/share/tokamak/models/configs"
#endif

static tk_status locate_demo(char **path, tk_err *err)
{
    const char *env = getenv("TOKAMAK_DEMO");
    const char *const tries[] = {env && *env ? env : TK_DEMO_DIR, TK_DEMO_DIR, TK_DEMO_INSTALLED};
    for (size_t i = 0; i < TK_COUNT(tries); i++) {
        if (!tk_file_is_dir(tries[i])) continue;
        *path = tk_strdup(tries[i]);
        return TK_OK;
    }
    return tk_fail(err, TK_IO, "the demo model is neither in \"%s\" nor in \"%s\"", TK_DEMO_DIR,
                   TK_DEMO_INSTALLED);
}

tk_status tk_locate(const char *model, char **path, tk_err *err)
{
    *path = NULL;
    if (access(model, F_OK) == 0) {
        *path = tk_strdup(model);
        return TK_OK;
    }
    if (strcmp(model, "demo") == 0) return locate_demo(path, err);
    if (tk_hub_is_name(model, strcspn(model, "@"))) return tk_hub_find(model, path, err);
    return tk_fail(err, TK_IO, "\"%s\" does not exist", model);
}

tk_status tk_locate_config(const char *config, char **path, tk_err *err)
{
    static const char *const dirs[] = {TK_CONFIGS_DIR, TK_CONFIGS_INSTALLED};
    if (access(config, F_OK) == 0) {
        *path = tk_file_is_dir(config) ? tk_file_join(config, "config.json") : tk_strdup(config);
        return TK_OK;
    }
    for (size_t i = 0; i < TK_COUNT(dirs) && tk_file_name_is_inside(config); i++) {
        *path = tk_asprintf("%s/%s.json", dirs[i], config);
        if (tk_file_exists(*path)) return TK_OK;
        tk_free(*path);
    }
    *path = NULL;
    return tk_fail(err, TK_IO,
                   "\"%s\" is no config.json, no folder and none of the shapes in \"%s\" or \"%s\"",
                   config, TK_CONFIGS_DIR, TK_CONFIGS_INSTALLED);
}
