// SPDX-License-Identifier: MIT
// What a person may write for MODEL: a folder, a .gguf file, `demo`, or the ORG/NAME[@REV] of a pulled
// snapshot in the hub's cache (store/hub_cache.h).
#ifndef TK_ENGINE_LOCATE_H
#define TK_ENGINE_LOCATE_H

#include "base/status.h"

// *path in new memory (tk_free). TK_IO says what was looked for and how to get it.
tk_status tk_locate(const char *model, char **path, tk_err *err);

// config.json's text for CONFIG: a file, a folder with config.json in it, or the name of a shape that comes
// with the program (models/configs). *path in new memory.
tk_status tk_locate_config(const char *config, char **path, tk_err *err);

#endif
