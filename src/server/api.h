// SPDX-License-Identifier: MIT
// What an API request says wrong, and reading its fields: every field is in a table, with its type and
// range; one that is not is refused by name. Any thread.
#ifndef TK_SERVER_API_H
#define TK_SERVER_API_H

#include "base/compiler.h"
#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_api_err {
    int status;       // HTTP's; 0 = nothing wrong
    const char *code; // a word for programs, or NULL
    char param[192];  // the field, "" = none
    char msg[1024];
    int retry_after_s; // 429 and 503
} tk_api_err;

// Sets e unless it is set already; returns TK_BAD_INPUT, for TK_TRY.
tk_status tk_api_fail(tk_api_err *e, int status, const char *param, const char *fmt, ...)
    TK_PRINTF(4, 5);
// From the layers below: TK_BAD_INPUT and TK_UNSUPPORTED are 400, TK_NOMEM 503, the rest 500.
tk_status tk_api_fail_err(tk_api_err *e, tk_status st, const char *param, const tk_err *err);
// {"error": {...}} as OpenAI's API writes it, or Anthropic's {"type": "error", ...}. New reference.
json_t *tk_api_error_json(const tk_api_err *e, bool anthropic, const char *request_id);

typedef enum tk_field_type {
    TK_FIELD_BOOL,   // bool
    TK_FIELD_INT,    // int64_t in [min, max]
    TK_FIELD_NUM,    // double in [min, max]
    TK_FIELD_STR,    // const char *, borrowed, without NUL inside
    TK_FIELD_OBJECT, // json_t *, borrowed
    TK_FIELD_ARRAY,  // json_t *, borrowed
    TK_FIELD_ANY,    // json_t *, borrowed
    TK_FIELD_SAME,   // not supported, but the value that says so (`same`, JSON text) is let pass
} tk_field_type;

typedef struct tk_field {
    const char *name;
    tk_field_type type;
    size_t offset;
    double min, max;
    const char *same;
} tk_field;

// Entries of a table: a field of struct s; one in a range; one that is let pass with one value only.
#define TK_F(json_name, kind, s, field)                                                            \
    {                                                                                              \
        .name = json_name, .type = TK_FIELD_##kind, .offset = offsetof(s, field)                   \
    }
#define TK_F_RANGE(json_name, kind, s, field, lo, hi)                                              \
    {                                                                                              \
        .name = json_name, .type = TK_FIELD_##kind, .offset = offsetof(s, field), .min = lo,       \
        .max = hi                                                                                  \
    }
#define TK_F_SAME(json_name, text)                                                                 \
    {                                                                                              \
        .name = json_name, .type = TK_FIELD_SAME, .same = text                                     \
    }
#define TK_FIELD_END                                                                               \
    {                                                                                              \
        .name = NULL                                                                               \
    }

// Reads obj into out (holding the defaults); null is as if absent. where: "" or the object's own name, for
// `param`.
tk_status tk_fields_read(const json_t *obj, const char *where, const tk_field *table, void *out,
                         tk_api_err *e);

#endif
