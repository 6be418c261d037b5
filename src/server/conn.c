// SPDX-License-Identifier: MIT
//   READING -- request complete --> BUSY -- reply --> READING (kept alive), or FLUSHING
//                                    \-- stream_begin --> STREAMING -- stream_end --> the same
//   FLUSHING -- all written --> LINGERING (the write side is shut, what still comes is discarded) --> closed
// Lingering lets a client that is still sending its body read why it was refused, instead of a reset.
#include "server/conn.h"

#include "base/clock.h"
#include "base/mem.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

typedef enum conn_state { READING, BUSY, STREAMING, FLUSHING, LINGERING, DEAD } conn_state;

enum { REQUEST_ID_BYTES = 128, SEND_BUFFER_BYTES = 128 << 10 };
static const double linger_s = 5;
static const double drain_grace_s = 1; // for requests that were under way when draining began

struct tk_conn {
    tk_conn_set *set;
    tk_conn *prev, *next;
    struct bufferevent *bev;
    tk_http1 http;
    conn_state state;
    bool processing; // inside process_input
    bool eof;        // the client sends nothing more
    bool chunked;    // the stream is
    void *user;
    char request_id[REQUEST_ID_BYTES + 1];
    uint64_t since_ns;            // the state's beginning: idle since, first byte, lingering since
    uint64_t begun_ns;            // the request's first byte
    uint64_t read_ns, written_ns; // last progress
    uint64_t sent_ns;             // last byte of a stream handed over
};

struct tk_conn_set {
    tk_conn_opts opts;
    struct event_base *base;
    struct event *tick, *reap;
    tk_conn *first, *dead;
    int n;
    bool draining;
    uint64_t drain_ns;
    uint64_t n_request; // for ids
};

static double age_s(uint64_t since)
{
    return (double)(tk_clock_ns() - since) * 1e-9;
}

static struct evbuffer *output(const tk_conn *c)
{
    return bufferevent_get_output(c->bev);
}

// Takes the connection out of the list; memory is given back outside of its own callbacks.
static void kill_conn(tk_conn *c)
{
    tk_conn_set *s = c->set;
    if (c->state == DEAD) return;
    bool outstanding = c->state == BUSY || c->state == STREAMING;
    void *user = c->user;
    c->state = DEAD;
    c->user = NULL;
    bufferevent_disable(c->bev, EV_READ | EV_WRITE);
    if (outstanding) s->opts.on_gone(s->opts.ctx, c, user);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->first = c->next;
    if (c->next) c->next->prev = c->prev;
    c->next = s->dead;
    s->dead = c;
    s->n--;
    event_active(s->reap, EV_TIMEOUT, 0);
}

static void reap(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tk_conn_set *s = arg;
    while (s->dead) {
        tk_conn *c = s->dead;
        s->dead = c->next;
        bufferevent_free(c->bev);
        tk_http1_free(&c->http);
        tk_free(c);
    }
}

static void process_input(tk_conn *c);

static void linger(tk_conn *c)
{
    if (c->eof) {
        kill_conn(c);
        return;
    }
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    c->state = LINGERING;
    c->since_ns = tk_clock_ns();
    bufferevent_enable(c->bev, EV_READ);
    evbuffer_drain(bufferevent_get_input(c->bev),
                   evbuffer_get_length(bufferevent_get_input(c->bev)));
}

static void close_when_flushed(tk_conn *c)
{
    c->state = FLUSHING;
    c->since_ns = tk_clock_ns();
    if (evbuffer_get_length(output(c)) == 0) linger(c);
}

static void answer_done(tk_conn *c, bool keep)
{
    c->user = NULL;
    if (!keep || c->set->draining) {
        close_when_flushed(c);
        return;
    }
    c->state = READING;
    c->since_ns = tk_clock_ns();
    tk_http1_reset(&c->http);
    if (!c->processing) process_input(c);
}

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {{200, "OK"},
                   {204, "No Content"},
                   {304, "Not Modified"},
                   {400, "Bad Request"},
                   {401, "Unauthorized"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {408, "Request Timeout"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {415, "Unsupported Media Type"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"},
                   {505, "HTTP Version Not Supported"}};
    for (size_t i = 0; i < TK_COUNT(reasons); i++)
        if (reasons[i].status == status) return reasons[i].text;
    return "Status";
}

// The Access-Control lines for the request's origin, when it is one of the allowed.
static void add_cors(const tk_conn *c, struct evbuffer *out)
{
    const char *origin = c->set->opts.n_cors ? tk_http1_find(&c->http, "origin") : NULL;
    for (int i = 0; origin && i < c->set->opts.n_cors; i++) {
        const char *allowed = c->set->opts.cors[i];
        if (strcmp(allowed, "*") != 0 && strcmp(allowed, origin) != 0) continue;
        evbuffer_add_printf(
            out,
            "Access-Control-Allow-Origin: %s\r\nVary: Origin\r\n"
            "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
            "Access-Control-Allow-Headers: Authorization, Content-Type, X-Api-Key, X-Request-Id\r\n"
            "Access-Control-Expose-Headers: X-Request-Id\r\n",
            allowed);
        return;
    }
}

static void add_head(tk_conn *c, int status, const char *type, const char *headers)
{
    struct evbuffer *out = output(c);
    if (evbuffer_get_length(out) == 0) c->written_ns = tk_clock_ns();
    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
    if (type) evbuffer_add_printf(out, "Content-Type: %s\r\n", type);
    if (c->request_id[0]) evbuffer_add_printf(out, "X-Request-Id: %s\r\n", c->request_id);
    add_cors(c, out);
    if (headers) evbuffer_add(out, headers, strlen(headers));
    c->set->opts.on_status(c->set->opts.ctx, c, status);
}

void tk_conn_reply(tk_conn *c, int status, const char *type, const char *headers, const char *body,
                   size_t len)
{
    if (c->state == DEAD) return;
    // a request that was not read to its end leaves bytes that are no request
    bool keep = c->http.state == TK_HTTP1_COMPLETE && c->http.keep_alive && !c->set->draining;
    bool head_only = c->http.method && strcmp(c->http.method, "HEAD") == 0;
    add_head(c, status, type, headers);
    // these have no body, and may not say that it is empty (RFC 9110, 8.6)
    bool has_body = status != 204 && status != 304;
    if (has_body) evbuffer_add_printf(output(c), "Content-Length: %zu\r\n", len);
    evbuffer_add_printf(output(c), "Connection: %s\r\n\r\n", keep ? "keep-alive" : "close");
    if (!head_only) evbuffer_add(output(c), body, len);
    answer_done(c, keep);
}

void tk_conn_stream_begin(tk_conn *c, const char *type)
{
    if (c->state != BUSY) return;
    c->chunked = c->http.minor >= 1;
    add_head(c, 200, type, "Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n");
    evbuffer_add_printf(output(c), "%sConnection: %s\r\n\r\n",
                        c->chunked ? "Transfer-Encoding: chunked\r\n" : "",
                        c->chunked && c->http.keep_alive ? "keep-alive" : "close");
    c->state = STREAMING;
    c->sent_ns = tk_clock_ns();
}

bool tk_conn_stream_send(tk_conn *c, const char *data, size_t len)
{
    if (c->state != STREAMING) return false;
    struct evbuffer *out = output(c);
    size_t waiting = evbuffer_get_length(out);
    if (waiting + len > TK_LIMIT_HTTP_BACKLOG_BYTES) {
        kill_conn(c);
        return false;
    }
    c->sent_ns = tk_clock_ns();
    if (waiting == 0) c->written_ns = c->sent_ns;
    if (c->chunked) evbuffer_add_printf(out, "%zx\r\n", len);
    evbuffer_add(out, data, len);
    if (c->chunked) evbuffer_add(out, "\r\n", 2);
    return true;
}

void tk_conn_stream_end(tk_conn *c)
{
    if (c->state != STREAMING) return;
    if (c->chunked) evbuffer_add(output(c), "0\r\n\r\n", 5);
    answer_done(c, c->chunked && c->http.keep_alive);
}

void tk_conn_abort(tk_conn *c)
{
    if (c->state != BUSY && c->state != STREAMING) return;
    c->user = NULL;
    close_when_flushed(c);
}

void tk_conn_set_user(tk_conn *c, void *user)
{
    c->user = user;
}

const char *tk_conn_request_id(const tk_conn *c)
{
    return c->request_id;
}

const tk_http1 *tk_conn_http(const tk_conn *c)
{
    return &c->http;
}

double tk_conn_request_age_s(const tk_conn *c)
{
    return age_s(c->begun_ns);
}

// The client's id when it is a harmless word, else one of ours.
static void take_request_id(tk_conn *c)
{
    const char *id = tk_http1_find(&c->http, "x-request-id");
    size_t n = id ? strlen(id) : 0;
    bool ok = n > 0 && n <= REQUEST_ID_BYTES;
    for (size_t i = 0; ok && i < n; i++) ok = id[i] > 0x20 && id[i] < 0x7F;
    if (ok)
        snprintf(c->request_id, sizeof c->request_id, "%s", id);
    else
        snprintf(c->request_id, sizeof c->request_id, "req-%llx-%llu",
                 (unsigned long long)c->begun_ns, (unsigned long long)++c->set->n_request);
}

// An answer that needs no route: the error envelope of OpenAI's API.
static void reply_error(tk_conn *c, int status, const char *reason)
{
    char body[512];
    int n = snprintf(body, sizeof body,
                     "{\"error\":{\"message\":\"%s\",\"type\":\"%s\",\"param\":null,\"code\":%d}}",
                     reason, status >= 500 ? "server_error" : "invalid_request_error", status);
    tk_conn_reply(c, status, "application/json", NULL, body, (size_t)n);
}

static void head_done(tk_conn *c)
{
    take_request_id(c);
    if (!c->set->opts.on_head(c->set->opts.ctx, c, &c->http)) return;
    if (c->state == READING && c->http.expect_continue && c->http.state == TK_HTTP1_BODY)
        evbuffer_add_printf(output(c), "HTTP/1.1 100 Continue\r\n\r\n");
}

// Feeds one stretch of input; false when there is nothing to do until something else happens.
static bool feed_some(tk_conn *c)
{
    struct evbuffer *in = bufferevent_get_input(c->bev);
    size_t n = evbuffer_get_contiguous_space(in);
    if (n == 0 || c->state != READING) return false;
    if (tk_http1_is_idle(&c->http)) c->begun_ns = tk_clock_ns();
    tk_http1_state before = c->http.state;
    const char *data = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
    evbuffer_drain(in, tk_http1_feed(&c->http, data, n));
    c->read_ns = tk_clock_ns();
    if (c->http.state == TK_HTTP1_FAILED) {
        reply_error(c, c->http.status, c->http.reason);
        return false;
    }
    if (before == TK_HTTP1_HEAD && c->http.state != TK_HTTP1_HEAD) head_done(c);
    if (c->state == READING && c->http.state == TK_HTTP1_COMPLETE) {
        c->state = BUSY;
        c->set->opts.on_request(c->set->opts.ctx, c, &c->http);
    }
    return true;
}

static void process_input(tk_conn *c)
{
    c->processing = true;
    while (feed_some(c)) {
    }
    c->processing = false;
}

static void on_read(struct bufferevent *bev, void *arg)
{
    tk_conn *c = arg;
    struct evbuffer *in = bufferevent_get_input(bev);
    if (c->state == LINGERING || c->state == FLUSHING || c->state == DEAD)
        evbuffer_drain(in, evbuffer_get_length(in));
    else if (c->state != READING) {
        if (evbuffer_get_length(in) > TK_LIMIT_HTTP_PIPELINE_BYTES) kill_conn(c);
    } else
        process_input(c);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    (void)bev;
    tk_conn *c = arg;
    if (c->state == FLUSHING) linger(c); // called when the output has run empty
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    (void)bev;
    tk_conn *c = arg;
    if (!(what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))) return;
    c->eof = true;
    // a client that has said all it wants to say may still be reading the answer that is written already
    if ((what & BEV_EVENT_EOF) && c->state == READING && evbuffer_get_length(output(c)) > 0)
        close_when_flushed(c);
    else if (!((what & BEV_EVENT_EOF) && c->state == FLUSHING))
        kill_conn(c);
}

static void on_drained(struct evbuffer *buf, const struct evbuffer_cb_info *info, void *arg)
{
    (void)buf;
    if (info->n_deleted > 0) ((tk_conn *)arg)->written_ns = tk_clock_ns();
}

void tk_conn_accept(tk_conn_set *s, evutil_socket_t fd)
{
    int one = 1, send_bytes = SEND_BUFFER_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    // the kernel would keep megabytes for a client that reads nothing
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    evutil_make_socket_nonblocking(fd);
    struct bufferevent *bev = bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL) {
        evutil_closesocket(fd);
        return;
    }
    tk_conn *c = tk_alloc(sizeof *c);
    uint64_t now = tk_clock_ns();
    *c = (tk_conn){.set = s,
                   .bev = bev,
                   .next = s->first,
                   .since_ns = now,
                   .begun_ns = now,
                   .read_ns = now,
                   .written_ns = now};
    tk_http1_init(&c->http, s->opts.max_body_bytes);
    if (s->first) s->first->prev = c;
    s->first = c;
    s->n++;
    bufferevent_setcb(bev, on_read, on_write, on_event, c);
    evbuffer_add_cb(output(c), on_drained, c);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
    if (s->n > s->opts.max_conn) reply_error(c, 503, "too many connections");
}

// What has run out of time, or NULL.
static void check_time(tk_conn *c)
{
    const tk_conn_opts *o = &c->set->opts;
    size_t waiting = evbuffer_get_length(output(c));
    if (c->state != LINGERING && waiting > 0 && age_s(c->written_ns) > o->write_s) {
        kill_conn(c);
        return;
    }
    switch (c->state) {
    case READING:
        if (tk_http1_is_idle(&c->http)) {
            bool over = c->set->draining && age_s(c->set->drain_ns) > drain_grace_s;
            if (over || age_s(c->since_ns) > o->idle_s) close_when_flushed(c);
        } else if (c->http.state == TK_HTTP1_HEAD ? age_s(c->begun_ns) > o->head_s
                                                  : age_s(c->read_ns) > o->body_s)
            reply_error(c, 408, "the request did not arrive in time");
        break;
    case STREAMING:
        if (waiting == 0 && age_s(c->sent_ns) > o->ping_s) tk_conn_stream_send(c, ": ping\n\n", 8);
        break;
    case LINGERING:
        if (age_s(c->since_ns) > linger_s) kill_conn(c);
        break;
    default: break;
    }
}

static void tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tk_conn_set *s = arg;
    for (tk_conn *c = s->first, *next; c; c = next) {
        next = c->next; // check_time takes at most c itself out of the list
        check_time(c);
    }
}

void tk_conn_set_drain(tk_conn_set *s)
{
    s->draining = true;
    s->drain_ns = tk_clock_ns();
}

tk_conn_set *tk_conn_set_new(struct event_base *base, const tk_conn_opts *opts)
{
    tk_conn_set *s = tk_alloc(sizeof *s);
    *s = (tk_conn_set){.opts = *opts, .base = base};
    s->tick = event_new(base, -1, EV_PERSIST, tick, s);
    s->reap = event_new(base, -1, 0, reap, s);
    const struct timeval every = {.tv_usec = 500000};
    event_add(s->tick, &every);
    return s;
}

void tk_conn_set_free(tk_conn_set *s)
{
    if (s == NULL) return;
    while (s->first) kill_conn(s->first);
    reap(-1, 0, s);
    event_free(s->tick);
    event_free(s->reap);
    tk_free(s);
}

int tk_conn_set_count(const tk_conn_set *s)
{
    return s->n;
}
