// SPDX-License-Identifier: MIT
// The page at "/": src/server/page, put together and embedded by cmake/page.cmake. One document without any
// address to load from, and a policy that lets it run no script but its own and talk to no server but this one.
// The event loop's thread.
#ifndef TK_SERVER_PAGE_H
#define TK_SERVER_PAGE_H

#include "server/conn.h"
#include "server/server.h"

#include <stddef.h>

typedef struct tk_page {
    const char *html;
    size_t len;
    const char *etag;                         // its hash, in quotes
    const char *script_sha256, *style_sha256; // base64, of the elements' contents
} tk_page;

const tk_page *tk_page_get(void); // generated

void tk_page_reply(tk_server *s, tk_conn *c, const tk_http1 *h);

#endif
