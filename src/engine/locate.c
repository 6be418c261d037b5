// SPDX-License-Identifier: MIT
#include "engine/locate.h"

#include "base/file.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
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

char *tk_locate_hub_cache(void)
{
    const char *cache = getenv("HF_HUB_CACHE"), *home = getenv("HF_HOME");
    if (cache && *cache) return tk_strdup(cache);
    if (home && *home) return tk_file_join(home, "hub");
    const char *xdg = getenv("XDG_CACHE_HOME"), *user = getenv("HOME");
    if (xdg && *xdg) return tk_file_join(xdg, "huggingface/hub");
    return tk_file_join(user && *user ? user : ".", ".cache/huggingface/hub");
}

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

// ORG/NAME: one slash, and characters that the hub allows in names.
static bool is_repo_name(const char *s, size_t len)
{
    int slashes = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '/')
            slashes++;
        else if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
    }
    return slashes == 1 && s[0] != '/' && s[0] != '.' && s[len - 1] != '/' &&
           strstr(s, "..") == NULL;
}

static tk_status locate_pulled(const char *model, size_t len, char **path, tk_err *err)
{
    const char *rev = model[len] == '@' ? model + len + 1 : "main";
    if (!tk_file_name_is_inside(rev))
        return tk_fail(err, TK_USAGE, "\"%s\" is not a revision", rev);
    char *hub = tk_locate_hub_cache();
    const char *slash = memchr(model, '/', len);
    char *repo = tk_asprintf("%s/models--%.*s--%.*s", hub, (int)(slash - model), model,
                             (int)(model + len - slash - 1), slash + 1);
    char *ref = tk_asprintf("%s/refs/%s", repo, rev), *commit = NULL;
    if (tk_file_exists(ref) && tk_file_read(ref, 256, &commit, NULL, NULL) == TK_OK)
        commit[strcspn(commit, "\r\n \t")] = 0;
    char *dir = tk_asprintf("%s/snapshots/%s", repo,
                            commit && tk_file_name_is_inside(commit) ? commit : rev);
    tk_status st = TK_OK;
    if (tk_file_is_dir(dir)) {
        *path = dir;
        dir = NULL;
    } else {
        st = tk_fail(err, TK_IO,
                     "\"%s\" is no folder or .gguf file, and is not in the cache \"%s\"; get it "
                     "with: tokamak "
                     "pull %s",
                     model, hub, model);
    }
    tk_free(dir);
    tk_free(commit);
    tk_free(ref);
    tk_free(repo);
    tk_free(hub);
    return st;
}

tk_status tk_locate(const char *model, char **path, tk_err *err)
{
    *path = NULL;
    if (access(model, F_OK) == 0) {
        *path = tk_strdup(model);
        return TK_OK;
    }
    if (strcmp(model, "demo") == 0) return locate_demo(path, err);
    size_t len = strcspn(model, "@");
    if (len > 0 && is_repo_name(model, len)) return locate_pulled(model, len, path, err);
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
