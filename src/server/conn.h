// SPDX-License-Identifier: MIT
// Client connections on the event loop: reads requests, writes answers and streams, notices clients that have
// gone, are too slow, or send what is no HTTP. One request of a connection is answered at a time; what is
// pipelined behind it waits, up to a bound. Everything here runs on the loop's thread.
//
// Invariants (tests/server/conformance.py)
//  1. A client that closes or half-closes while its answer is outstanding is reported through on_gone at once.
//  2. What is written but not read by a client never passes TK_LIMIT_HTTP_BACKLOG_BYTES for streams.
//  3. on_gone is called at most once a request, and never after the answer is complete.
#ifndef TK_SERVER_CONN_H
#define TK_SERVER_CONN_H

#include "base/status.h"
#include "server/http1.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_conn tk_conn;
typedef struct tk_conn_set tk_conn_set; // all connections of a server

typedef struct tk_conn_opts {
    size_t max_body_bytes;
    int max_conn;            // more are answered 503 and closed
    double idle_s;           // a kept-alive connection without a request
    double head_s;           // from a request's first byte to the end of its headers
    double body_s;           // without a byte of the body
    double write_s;          // without a byte of the answer being read
    double ping_s;           // a comment in a stream that has been silent so long
    const char *const *cors; // origins that may ask from a browser ("*" = all); [n_cors]
    int n_cors;
    void *ctx;
    // The head has come. True to go on; false when it has been replied to already.
    bool (*on_head)(void *ctx, tk_conn *c, const tk_http1 *h);
    // A whole request; may take h->body. Replied to now or later.
    void (*on_request)(void *ctx, tk_conn *c, tk_http1 *h);
    // The client of an outstanding answer has gone; user is what tk_conn_set_user said.
    void (*on_gone)(void *ctx, tk_conn *c, void *user);
    // An answer's status is known (for metrics and the log).
    void (*on_status)(void *ctx, const tk_conn *c, int status);
} tk_conn_opts;

// opts is copied.
tk_conn_set *tk_conn_set_new(struct event_base *base, const tk_conn_opts *opts);
void tk_conn_set_free(tk_conn_set *s); // closes all
int tk_conn_set_count(const tk_conn_set *s);
// From now on answers end their connections; those without a request are closed after a second, in which what
// was on its way when draining began still arrives.
void tk_conn_set_drain(tk_conn_set *s);

// Takes over an accepted socket.
void tk_conn_accept(tk_conn_set *s, evutil_socket_t fd);

void tk_conn_set_user(tk_conn *c, void *user);
// The id of the request being answered: the client's X-Request-Id or one of ours.
const char *tk_conn_request_id(const tk_conn *c);
const tk_http1 *tk_conn_http(const tk_conn *c);
double tk_conn_request_age_s(const tk_conn *c); // since its first byte

// A whole answer. headers: further lines, each ending with CRLF, or NULL.
void tk_conn_reply(tk_conn *c, int status, const char *type, const char *headers, const char *body,
                   size_t len);
// A stream: begin, send..., end. False when the client has gone (on_gone has been called).
void tk_conn_stream_begin(tk_conn *c, const char *type);
bool tk_conn_stream_send(tk_conn *c, const char *data, size_t len);
void tk_conn_stream_end(tk_conn *c);
// Ends the connection after what has been written (a stream that cannot be completed).
void tk_conn_abort(tk_conn *c);

#endif
