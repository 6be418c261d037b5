// SPDX-License-Identifier: MIT
// jansson with bounds, and typed look-ups whose errors name the file and the key. Any thread, one owner per
// value. Values are jansson's (json_decref gives them back).
#ifndef TK_BASE_JSON_H
#define TK_BASE_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Parses one JSON text of len bytes; where names it in errors. Accepts any value at the top, allows \u0000,
// rejects duplicate keys only by last-wins as Python does. Refuses more than TK_LIMIT_JSON_DEPTH levels.
tk_status tk_json_parse(const char *text, size_t len, const char *where, json_t **out, tk_err *err);
// The same, but a key that stands twice in one object is TK_BAD_INPUT (two readers could see two files).
tk_status tk_json_parse_unique(const char *text, size_t len, const char *where, json_t **out,
                               tk_err *err);
// tk_json_parse for a file of at most TK_LIMIT_JSON_BYTES.
tk_status tk_json_load(const char *path, json_t **out, tk_err *err);

// obj[key] when it is there and not null, else NULL.
json_t *tk_json_get(const json_t *obj, const char *key);
// Each leaves *out alone and returns TK_OK when the key is absent or null; TK_BAD_INPUT, naming where, key
// and what was found, when it has another type or lies outside [min, max]. A real such as 1e4 is accepted
// for an integer when it is one.
tk_status tk_json_int(const json_t *obj, const char *key, int64_t min, int64_t max, int64_t *out,
                      const char *where, tk_err *err);
tk_status tk_json_double(const json_t *obj, const char *key, double *out, const char *where,
                         tk_err *err);
tk_status tk_json_bool(const json_t *obj, const char *key, bool *out, const char *where,
                       tk_err *err);
// *out is borrowed from obj.
tk_status tk_json_str(const json_t *obj, const char *key, const char **out, const char *where,
                      tk_err *err);

#endif
