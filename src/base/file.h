// SPDX-License-Identifier: MIT
// Reading files that may be hostile: only regular files are opened (a pipe or device given in place of a
// file is an error, not a hang), sizes are bounded, mappings are read-only. Any thread.
#ifndef TK_BASE_FILE_H
#define TK_BASE_FILE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A whole regular file mapped read-only (MAP_SHARED, so pages stay the page cache's).
typedef struct tk_file_map {
    const uint8_t *data; // NULL when the file is empty
    size_t len;
    int64_t mtime_ns; // when it was last changed
} tk_file_map;

// TK_IO when it cannot be opened or is no regular file. The path is kept by nobody.
tk_status tk_file_map_open(const char *path, tk_file_map *out, tk_err *err);
void tk_file_map_close(tk_file_map *m); // NULL data is fine

// The whole file as new NUL-terminated memory (*len without the NUL; len may be NULL), free with tk_free.
// TK_BAD_INPUT when it is larger than max_bytes.
tk_status tk_file_read(const char *path, size_t max_bytes, char **out, size_t *len, tk_err *err);

bool tk_file_exists(const char *path);   // a regular file, links followed
bool tk_file_is_there(const char *path); // anything by that name, links not followed
bool tk_file_is_dir(const char *path);
// "dir/name" in new memory, free with tk_free.
char *tk_file_join(const char *dir, const char *name);
// True when name can only lie inside its folder: relative, no "..", no empty or "." parts, no backslash or NUL.
bool tk_file_name_is_inside(const char *name);

#endif
