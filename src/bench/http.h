// SPDX-License-Identifier: MIT
// Where a benchmark sends its requests, and single requests that wait for their answer (what models are
// there, how many tokens is this). Streams: bench/stream.h. One thread.
#ifndef TK_BENCH_HTTP_H
#define TK_BENCH_HTTP_H

#include "base/json.h"
#include "base/status.h"

#include <curl/curl.h>
#include <stdbool.h>

typedef struct tk_http_target {
    char *base_url; // "http://127.0.0.1:8000", no slash at the end
    struct curl_slist *headers;
    long timeout_s;
    bool insecure; // certificates are not checked
} tk_http_target;

// headers: [n] "Name: value"; api_key may be NULL. Free with tk_http_target_free.
tk_status tk_http_target_make(const char *base_url, const char *api_key, const char *const *headers,
                              int n_header, tk_http_target *out, tk_err *err);
void tk_http_target_free(tk_http_target *t); // all zero is fine

// Sets what every request to the target has in common.
void tk_http_prepare(CURL *easy, const tk_http_target *t, const char *url);

// GET, or POST when body is not NULL. *status is HTTP's. *out is the answer, NULL when it is no JSON.
// TK_IO when there was no answer.
tk_status tk_http_call(const tk_http_target *t, const char *path, const json_t *body, long *status,
                       json_t **out, tk_err *err);

#endif
