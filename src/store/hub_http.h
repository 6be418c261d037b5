// SPDX-License-Identifier: MIT
// Talking to the hub: its address and the token from the environment, requests that are repeated when the
// network fails, and what an answer means. The token goes to the hub alone, never to the hosts it redirects to,
// and into no message. One thread.
//
// HF_ENDPOINT (https://huggingface.co), HF_TOKEN or the file HF_TOKEN_PATH or $HF_HOME/token,
// HF_HUB_DOWNLOAD_TIMEOUT (seconds without data), CURL_CA_BUNDLE, SSL_CERT_FILE, libcurl's proxies.
#ifndef TK_STORE_HUB_HTTP_H
#define TK_STORE_HUB_HTTP_H

#include "base/buf.h"
#include "base/status.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_hub_http tk_hub_http;

// The head of the last answer of a request, and what a redirect before it said of the file.
typedef struct tk_hub_reply {
    int n_head; // heads seen: 1 = the hub's own, more = redirected
    long status;
    bool is_redirect;
    char etag[80], linked_etag[80]; // without W/ and quotes; the second of any head
    char error_code[48], error_message[160];
    int64_t length, linked_size;      // -1 = not said
    int64_t range_begin, range_total; // Content-Range, -1 = not said
    int retry_after_s;
} tk_hub_reply;

// retries: how often a request is repeated before it is given up. stop (may be NULL) ends waits and requests
// with TK_INTERRUPTED. TK_USAGE when the endpoint is no http(s) address, TK_IO when the token file is unreadable.
tk_status tk_hub_http_open(int retries, const atomic_int *stop, tk_hub_http **out, tk_err *err);
void tk_hub_http_close(tk_hub_http *h); // NULL is fine
const char *tk_hub_http_endpoint(const tk_hub_http *h);
int tk_hub_http_retries(const tk_hub_http *h);
bool tk_hub_http_stopped(const tk_hub_http *h);

// A request for url (below the endpoint) with everything set but where the body goes; reply, when not NULL, is
// filled while it runs. error: CURL_ERROR_SIZE bytes that outlive it. curl_easy_cleanup gives it back.
CURL *tk_hub_http_request(const tk_hub_http *h, const char *url, tk_hub_reply *reply, char *error);
// Takes a line of a head; true when it ends the head of an answer that is not a redirect.
bool tk_hub_reply_line(tk_hub_reply *r, const char *line, size_t len);
// Endpoint, then each part percent-encoded where needed: "/" stays in path and not in part.
void tk_hub_add_path(tk_buf *url, const char *path);
void tk_hub_add_part(tk_buf *url, const char *part);

// One GET (body at most body->max bytes) or HEAD (body NULL: redirects are followed on the hub only),
// repeated as told. TK_OK when there is an answer, whatever its status.
tk_status tk_hub_http_get(const tk_hub_http *h, const char *url, tk_buf *body, tk_hub_reply *reply,
                          tk_err *err);

// Whether it may be worth repeating.
bool tk_hub_curl_is_passing(CURLcode code);
bool tk_hub_status_is_passing(const tk_hub_reply *r);
// A failure of libcurl in words, without addresses.
const char *tk_hub_curl_text(CURLcode code, const char *error);
// The wait before repetition n (0, 1, ...), in nanoseconds: 0.5 s doubling up to 30 s, between half and all of
// it by chance so that many clients do not return at once; at least what the hub asked for (at most 5 minutes).
uint64_t tk_hub_backoff_ns(int n, int retry_after_s);
// The story of a status that is no success: name's repository, rev, and the file asked for (or NULL).
tk_status tk_hub_refusal(const tk_hub_http *h, const tk_hub_reply *r, const char *name,
                         const char *rev, const char *file, tk_err *err);

#endif
