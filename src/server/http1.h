// SPDX-License-Identifier: MIT
// An incremental reader of HTTP/1.0 and 1.1 requests (RFC 9112), strict where leniency lets two readers see
// two requests: bare CR or LF, folded headers, spaces before a colon, Content-Length next to
// Transfer-Encoding, repeated or signed lengths are refused. It owns no socket. One owner.
#ifndef TK_SERVER_HTTP1_H
#define TK_SERVER_HTTP1_H

#include "base/buf.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_http1_header {
    const char *name, *value; // NUL-terminated, in the reader's memory
} tk_http1_header;

typedef enum tk_http1_state {
    TK_HTTP1_HEAD,     // reading request line and headers
    TK_HTTP1_BODY,     // headers are known, the body is not complete
    TK_HTTP1_COMPLETE, // a whole request stands in the fields below
    TK_HTTP1_FAILED,   // `status` and `reason` say why; the connection is of no more use
} tk_http1_state;

typedef struct tk_http1 {
    tk_http1_state state;
    size_t max_body_bytes;
    // the request, from TK_HTTP1_BODY on
    const char *method;
    char *path;        // percent-decoded, without the query; begins with '/'
    const char *query; // after '?', as sent; NULL = none
    int minor;         // HTTP/1.minor
    tk_http1_header header[TK_LIMIT_HTTP_HEADERS];
    int n_header;
    bool keep_alive;
    bool expect_continue; // the client waits for "100 Continue" before it sends the body
    tk_buf body;
    // failure
    int status;
    const char *reason;
    // inside
    tk_buf head;
    size_t line_at; // where the line being read begins in head
    bool chunked;
    int chunk_phase;
    uint64_t body_left; // of the body, or of the chunk
    size_t trailer_bytes;
    char chunk_line[32];
    size_t chunk_line_len;
} tk_http1;

void tk_http1_init(tk_http1 *h, size_t max_body_bytes);
void tk_http1_free(tk_http1 *h);
// Ready for the next request of the connection.
void tk_http1_reset(tk_http1 *h);
// Takes bytes until a request is complete, or the head of one is (once: state becomes TK_HTTP1_BODY), or it
// fails. Returns how many were taken.
size_t tk_http1_feed(tk_http1 *h, const char *data, size_t len);
// The first header of that name (any case), or NULL.
const char *tk_http1_find(const tk_http1 *h, const char *name);
// True when no byte of a request has been taken yet.
bool tk_http1_is_idle(const tk_http1 *h);

#endif
