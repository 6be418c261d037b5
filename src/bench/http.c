// SPDX-License-Identifier: MIT
#include "bench/http.h"

#include "base/buf.h"
#include "base/mem.h"

#include <string.h>

enum { MAX_ANSWER_BYTES = 64 << 20, CONNECT_TIMEOUT_S = 30 };

static void add_header(tk_http_target *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (more) t->headers = more;
}

tk_status tk_http_target_make(const char *base_url, const char *api_key, const char *const *headers,
                              int n_header, tk_http_target *out, tk_err *err)
{
    *out = (tk_http_target){.timeout_s = 6 * 60 * 60};
    if (strncmp(base_url, "http://", 7) != 0 && strncmp(base_url, "https://", 8) != 0)
        return tk_fail(err, TK_USAGE, "\"%s\" is no http:// or https:// address", base_url);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return tk_fail(err, TK_FAILED, "libcurl cannot be started");
    size_t len = strlen(base_url);
    while (len > 0 && base_url[len - 1] == '/') len--;
    out->base_url = tk_strndup(base_url, len);
    add_header(out, "Content-Type: application/json");
    add_header(out, "Expect:"); // no 100-continue round trip before a long prompt
    if (api_key && *api_key) {
        char *line = tk_asprintf("Authorization: Bearer %s", api_key);
        add_header(out, line);
        tk_free(line);
    }
    for (int i = 0; i < n_header; i++) add_header(out, headers[i]);
    return TK_OK;
}

void tk_http_target_free(tk_http_target *t)
{
    if (t->base_url == NULL) return;
    curl_slist_free_all(t->headers);
    tk_free(t->base_url);
    *t = (tk_http_target){0};
    curl_global_cleanup();
}

void tk_http_prepare(CURL *easy, const tk_http_target *t, const char *url)
{
    curl_easy_reset(easy);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, t->timeout_s);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    if (t->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static size_t keep(char *bytes, size_t one, size_t n, void *ctx)
{
    return tk_buf_add(ctx, bytes, one * n) ? one * n : 0;
}

tk_status tk_http_call(const tk_http_target *t, const char *path, const json_t *body, long *status,
                       json_t **out, tk_err *err)
{
    tk_buf answer = tk_buf_make(MAX_ANSWER_BYTES);
    char *url = tk_asprintf("%s%s", t->base_url, path);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    CURL *easy = curl_easy_init();
    tk_status st = TK_OK;
    *out = NULL;
    *status = 0;
    if (easy == NULL || (body && text == NULL)) {
        st = tk_fail(err, TK_NOMEM, "no memory for a request");
        goto done;
    }
    tk_http_prepare(easy, t, url);
    if (text) curl_easy_setopt(easy, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, &answer);
    CURLcode rc = curl_easy_perform(easy);
    if (rc != CURLE_OK) {
        st = tk_fail(err, TK_IO, "%s: %s", url, curl_easy_strerror(rc));
        goto done;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, status);
    if (tk_json_parse(tk_buf_str(&answer), answer.len, url, out, NULL) != TK_OK) *out = NULL;
done:
    if (easy) curl_easy_cleanup(easy);
    free(text);
    tk_free(url);
    tk_buf_free(&answer);
    return st;
}
