// SPDX-License-Identifier: MIT
#include "server/page.h"

#include "server/server_priv.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

// Text of a model can only ever become text: no script but the page's own runs, and none of the browser's
// functions that make elements of a string can be called (trusted-types 'none').
static const char head_format[] =
    "ETag: %s\r\n"
    "Cache-Control: no-cache\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; "
    "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-Frame-Options: DENY\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

// If-None-Match is a list of tags, weak ones with W/ before them, or *.
static bool has_it(const char *tags, const char *etag)
{
    return tags && (strcmp(tags, "*") == 0 || strstr(tags, etag) != NULL);
}

void tk_page_reply(tk_server *s, tk_conn *c, const tk_http1 *h)
{
    const tk_page *p = tk_page_get();
    char headers[1024];
    if (!s->opts.web_page) {
        tk_api_err e = {0};
        tk_api_fail(&e, 404, NULL, "there is no / here");
        tk_server_reply(c, 404, NULL, tk_api_error_json(&e, false, tk_conn_request_id(c)));
        return;
    }
    int n =
        snprintf(headers, sizeof headers, head_format, p->etag, p->script_sha256, p->style_sha256);
    assert(n > 0 && (size_t)n < sizeof headers); // all of it is the build's
    if (has_it(tk_http1_find(h, "if-none-match"), p->etag))
        tk_conn_reply(c, 304, NULL, headers, "", 0);
    else
        tk_conn_reply(c, 200, "text/html; charset=utf-8", headers, p->html, p->len);
}
