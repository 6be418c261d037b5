// SPDX-License-Identifier: MIT
#include "server/server.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "server/grammar_cache.h"
#include "server/server_priv.h"

#include <errno.h>
#include <event2/thread.h>
#include <math.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, CLOSING_MS = 1000 };

tk_server_opts tk_server_opts_default(void)
{
    return (tk_server_opts){.host = "127.0.0.1",
                            .port = 8000,
                            .max_body_bytes = TK_LIMIT_HTTP_BODY_BYTES,
                            .max_conn = 4096,
                            .reasoning_parser = "auto",
                            .tool_parser = "auto",
                            .temperature = NAN,
                            .top_p = NAN,
                            .min_p = NAN,
                            .top_k = -1,
                            .web_page = true,
                            .version = "0",
                            .commit = "unknown"};
}

// --- calls ---

static void free_call(tk_call *c)
{
    tk_server *s = c->server;
    tk_auth_leave(s->auth, c->key, tk_gen_tokens(c), tk_clock_ns());
    if (c->prev)
        c->prev->next = c->next;
    else
        s->calls = c->next;
    if (c->next) c->next->prev = c->prev;
    s->n_call--;
    tk_gen_free(c);
    tk_buf_free(&c->body);
    json_decref(c->json);
    json_decref(c->reply);
    tk_free(c);
}

// The call goes when nobody needs it: not the text thread, not the engine, not the client.
static void drop_if_over(tk_call *c)
{
    if (c->prepared && c->conn == NULL && c->gen.n_running == 0 &&
        atomic_load_explicit(&c->n_event, memory_order_relaxed) == 0)
        free_call(c);
}

void tk_server_reply(tk_conn *conn, int status, const char *headers, json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    if (text)
        tk_conn_reply(conn, status, "application/json", headers, text, strlen(text));
    else
        tk_conn_reply(conn, 500, "application/json", NULL, "{}", 2);
    free(text);
}

static void reply_error(tk_conn *conn, const tk_api_err *e, bool anthropic)
{
    char headers[96] = "";
    if (e->retry_after_s)
        snprintf(headers, sizeof headers, "Retry-After: %d\r\n", e->retry_after_s);
    if (e->status == 401) snprintf(headers, sizeof headers, "WWW-Authenticate: Bearer\r\n");
    tk_server_reply(conn, e->status, headers,
                    tk_api_error_json(e, anthropic, tk_conn_request_id(conn)));
}

void tk_call_reply_error(tk_call *c)
{
    tk_conn *conn = c->conn;
    if (conn == NULL) return;
    c->conn = NULL;
    tk_conn_set_user(conn, NULL);
    reply_error(conn, &c->error, c->route->anthropic);
}

void tk_call_reply_json(tk_call *c, int status, json_t *j)
{
    tk_conn *conn = c->conn;
    if (conn == NULL) {
        json_decref(j);
        return;
    }
    c->conn = NULL;
    tk_conn_set_user(conn, NULL);
    tk_server_reply(conn, status, NULL, j);
}

void tk_call_send(tk_call *c, const char *event, json_t *data)
{
    char *text = json_dumps(data, JSON_COMPACT);
    json_decref(data);
    if (c->conn && text) {
        tk_buf b = tk_buf_make(TK_LIMIT_TEXT_BYTES);
        if (event) tk_buf_addf(&b, "event: %s\n", event);
        tk_buf_add_str(&b, "data: ");
        tk_buf_add_str(&b, text);
        tk_buf_add_str(&b, "\n\n");
        tk_conn_stream_send(c->conn, tk_buf_str(&b), b.len); // may tell on_gone
        tk_buf_free(&b);
    }
    free(text);
}

static void on_gone(void *ctx, tk_conn *conn, void *user)
{
    (void)ctx, (void)conn;
    tk_call *c = user;
    if (c == NULL) return;
    c->conn = NULL;
    atomic_store_explicit(&c->gone, true, memory_order_relaxed);
    if (c->prepared) tk_gen_cancel(c); // before that it is the text thread's, and nothing runs
    // freed when its last event has come; a call whose events have all come is freed by who handles them
}

// --- requests ---

static bool refuse(tk_conn *conn, const tk_route *r, tk_api_err *e)
{
    reply_error(conn, e, r && r->anthropic);
    return false;
}

static bool check_key(tk_server *s, const tk_http1 *h, const tk_route *r, int *key, tk_api_err *e)
{
    *key = tk_auth_find(s->auth, tk_http1_find(h, "authorization"), tk_http1_find(h, "x-api-key"));
    if (*key >= 0 || r->open) return true;
    tk_api_fail(e, 401, NULL, "this server wants an API key: Authorization: Bearer KEY");
    e->code = "invalid_api_key";
    return false;
}

static bool on_head(void *ctx, tk_conn *conn, const tk_http1 *h)
{
    tk_server *s = ctx;
    tk_api_err e = {0};
    bool known = false;
    int key;
    const tk_route *r = tk_route_find(h, &known);
    if (r == NULL && known && strcmp(h->method, "OPTIONS") == 0 && s->opts.n_cors) {
        tk_conn_reply(conn, 204, NULL, NULL, "", 0);
        return false;
    }
    if (r == NULL) {
        if (known)
            tk_api_fail(&e, 405, NULL, "%s is not answered with %.20s", h->path, h->method);
        else
            tk_api_fail(&e, 404, NULL, "there is no %.200s here", h->path);
        return refuse(conn, r, &e);
    }
    if (!check_key(s, h, r, &key, &e)) return refuse(conn, r, &e);
    if (r->needs_model &&
        atomic_load_explicit(&s->state, memory_order_acquire) == TK_SERVER_LOADING) {
        tk_api_fail(&e, 503, NULL, "Loading model");
        e.retry_after_s = 1;
        return refuse(conn, r, &e);
    }
    return true;
}

static void make_id(tk_server *s, tk_call *c)
{
    // 128 bits that are not guessed: nothing depends on it, but ids of different servers should differ
    uint64_t r[2] = {tk_clock_ns(), ++s->n_id};
    for (int i = 0; i < 2; i++) {
        r[i] += s->n_id * 0x9E3779B97F4A7C15u;
        r[i] = (r[i] ^ (r[i] >> 30)) * 0xBF58476D1CE4E5B9u;
        r[i] ^= r[i] >> 31;
    }
    snprintf(c->id, sizeof c->id, "%016llx%016llx", (unsigned long long)r[0],
             (unsigned long long)r[1]);
}

static void begin_call(tk_server *s, tk_conn *conn, tk_http1 *h, const tk_route *r, int key)
{
    tk_call *c = tk_alloc(sizeof *c);
    *c = (tk_call){.server = s,
                   .route = r,
                   .conn = conn,
                   .key = key,
                   .begun_ns = tk_clock_ns(),
                   .created_s = (int64_t)time(NULL),
                   .body = h->body,
                   .next = s->calls};
    h->body = tk_buf_make(0);
    if (s->calls) s->calls->prev = c;
    s->calls = c;
    s->n_call++;
    make_id(s, c);
    snprintf(c->request_id, sizeof c->request_id, "%s", tk_conn_request_id(conn));
    tk_conn_set_user(conn, c);
    if (tk_mail_post(&s->work, &c->item)) return;
    c->prepared = true;
    tk_api_fail(&c->error, 503, NULL, "too many requests are waiting to be read");
    c->error.retry_after_s = 1;
    tk_call_reply_error(c);
    drop_if_over(c);
}

static void on_request(void *ctx, tk_conn *conn, tk_http1 *h)
{
    tk_server *s = ctx;
    bool known;
    int key = 0;
    tk_api_err e = {0};
    const tk_route *r = tk_route_find(h, &known);
    if (r == NULL || !check_key(s, h, r, &key, &e)) return; // on_head has seen to these
    if (r->now) {
        r->now(s, conn, h);
        return;
    }
    if (tk_auth_enter(s->auth, key, tk_clock_ns(), &e) != TK_OK) {
        s->metrics.rejected++;
        refuse(conn, r, &e);
        return;
    }
    begin_call(s, conn, h, r, key);
}

static void on_status(void *ctx, const tk_conn *conn, int status)
{
    tk_server *s = ctx;
    const tk_http1 *h = tk_conn_http(conn);
    if (status >= 100 && status < 600) s->metrics.http[status / 100]++;
    tk_log(TK_LOG_VERBOSE, "%s %.200s %d %.1f ms %s", h->method ? h->method : "-",
           h->path ? h->path : "-", status, tk_conn_request_age_s(conn) * 1e3,
           tk_conn_request_id(conn));
}

// --- the text thread ---

static void read_call(tk_call *c)
{
    tk_err err = TK_ERR_INIT;
    tk_status st = TK_OK;
    if (atomic_load_explicit(&c->gone, memory_order_relaxed)) return;
    st = tk_json_parse(tk_buf_str(&c->body), c->body.len, "the request", &c->json, &err);
    tk_buf_free(&c->body);
    if (st != TK_OK)
        tk_api_fail(&c->error, 400, NULL, "%s", err.msg);
    else if (c->route->read(c) == TK_OK && c->reply == NULL)
        tk_gen_prepare(c);
    if (c->error.status == 0 && c->reply == NULL && c->gen.n_choice == 0)
        tk_api_fail(&c->error, 500, NULL, "the request could not be read");
}

static void *text_main(void *arg)
{
    tk_server *s = arg;
    tk_mail_item *item;
    pthread_setname_np(pthread_self(), "tk-text");
    while ((item = tk_mail_wait(&s->work)) != NULL) {
        tk_call *c = (tk_call *)item; // its first field
        tk_event *e = tk_alloc(sizeof *e);
        read_call(c);
        *e = (tk_event){.kind = TK_EVENT_PREPARED, .call = c};
        atomic_fetch_add_explicit(&c->n_event, 1, memory_order_relaxed);
        tk_mail_post(&s->mail, &e->item); // unbounded, never closed
    }
    return NULL;
}

// --- the loop ---

static void on_prepared(tk_call *c)
{
    c->prepared = true;
    if (c->conn == NULL) return;
    if (c->error.status)
        tk_call_reply_error(c);
    else if (c->reply) {
        json_t *j = c->reply;
        c->reply = NULL;
        tk_call_reply_json(c, 200, j);
    } else
        tk_gen_submit(c);
}

static void on_mail(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tk_server *s = arg;
    tk_mail_item *item = tk_mail_take_all(&s->mail);
    while (item) {
        tk_event *e = (tk_event *)item;
        tk_call *c = e->call;
        item = item->next;
        if (e->kind == TK_EVENT_PREPARED)
            on_prepared(c);
        else
            tk_gen_event(e);
        tk_free(e);
        atomic_fetch_sub_explicit(&c->n_event, 1, memory_order_relaxed);
        drop_if_over(c);
    }
}

static void on_listen(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    tk_server *s = arg;
    for (int i = 0; i < BACKLOG; i++) {
        int c = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (c >= 0) {
            tk_conn_accept(s->conns, c);
            continue;
        }
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) return;
        tk_log(TK_LOG_WARN, "cannot accept a connection: %s", strerror(errno));
        return;
    }
}

static void stop_listening(tk_server *s)
{
    if (s->listen_fd < 0) return;
    on_listen(s->listen_fd, 0, s); // those that have connected already are let in
    event_free(s->listen_ev);
    s->listen_ev = NULL;
    evutil_closesocket(s->listen_fd);
    s->listen_fd = -1;
    tk_conn_set_drain(s->conns);
}

static void set_flag(tk_server *s, bool *flag)
{
    pthread_mutex_lock(&s->lock);
    *flag = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

// Every 50 ms, and when another thread has changed something.
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    tk_server *s = arg;
    uint64_t n;
    if (fd >= 0) {
        ssize_t ignored = read(fd, &n, sizeof n);
        (void)ignored;
    }
    int state = atomic_load_explicit(&s->state, memory_order_acquire);
    bool stop = atomic_load_explicit(&s->stop, memory_order_acquire);
    if (state >= TK_SERVER_DRAINING) stop_listening(s);
    if (state == TK_SERVER_CLOSED && !s->closed) set_flag(s, &s->closed);
    bool idle = state >= TK_SERVER_DRAINING && s->n_call == 0 && tk_conn_set_count(s->conns) == 0;
    if (idle && !s->idle) set_flag(s, &s->idle);
    if (!stop) return;
    if (s->stop_ns == 0) s->stop_ns = tk_clock_ns();
    if (idle || tk_clock_ns() - s->stop_ns > (uint64_t)CLOSING_MS * 1000000)
        event_base_loopbreak(s->base);
}

static void on_energy(evutil_socket_t fd, short what, void *arg)
{
    (void)fd, (void)what;
    tk_energy_read(((tk_server *)arg)->energy, tk_clock_ns());
}

static void *loop_main(void *arg)
{
    tk_server *s = arg;
    pthread_setname_np(pthread_self(), "tk-http");
    event_base_dispatch(s->base);
    return NULL;
}

static void wake(tk_server *s)
{
    const uint64_t one = 1;
    ssize_t ignored = write(s->wake_fd, &one, sizeof one);
    (void)ignored;
}

// --- start and end ---

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24) == 127;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

static tk_status open_socket(tk_server *s, const struct addrinfo *a, tk_err *err)
{
    const tk_server_opts *o = &s->opts;
    if (!is_loopback(a->ai_addr) && o->n_api_key == 0 && !o->allow_open)
        return tk_fail(err, TK_USAGE,
                       "%s is reachable from other machines and no API key is set; use --api-key "
                       "or --api-key-file, or --allow-no-api-key when that is meant",
                       o->host);
    s->listen_fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(s->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (s->listen_fd < 0 || bind(s->listen_fd, a->ai_addr, a->ai_addrlen) != 0 ||
        listen(s->listen_fd, BACKLOG) != 0 ||
        getsockname(s->listen_fd, (struct sockaddr *)&bound, &len) != 0)
        return tk_fail(err, TK_FAILED, "cannot listen on %s port %d: %s", o->host, o->port,
                       strerror(errno));
    // NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage): getsockname has filled it in
    s->port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
                                                : ((struct sockaddr_in *)&bound)->sin_port);
    return TK_OK;
}

static tk_status bind_address(tk_server *s, tk_err *err)
{
    char port[16];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *a = NULL;
    snprintf(port, sizeof port, "%d", s->opts.port);
    int rc = getaddrinfo(s->opts.host, port, &hints, &a);
    if (rc != 0) return tk_fail(err, TK_USAGE, "--host %s: %s", s->opts.host, gai_strerror(rc));
    tk_status st = open_socket(s, a, err);
    freeaddrinfo(a);
    return st;
}

static char **copy_names(const char *const *names, int n)
{
    char **copy = tk_alloc(((size_t)n + 1) * sizeof *copy);
    for (int i = 0; i < n; i++) copy[i] = tk_strdup(names[i]);
    return copy;
}

static void watch_energy(tk_server *s)
{
    const struct timeval second = {.tv_sec = 1};
    if (tk_energy_count(s->energy) == 0) return;
    s->energy_ev = event_new(s->base, -1, EV_PERSIST, on_energy, s);
    event_add(s->energy_ev, &second);
}

static tk_status make_loop(tk_server *s, tk_err *err)
{
    const struct timeval every = {.tv_usec = 50000};
    s->base = event_base_new();
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->base == NULL || s->wake_fd < 0 || !tk_mail_init(&s->mail, 0, true))
        return tk_fail(err, TK_FAILED, "cannot make an event loop: %s", strerror(errno));
    tk_mail_init(&s->work, TK_LIMIT_SERVER_CALLS, false);
    tk_conn_opts o = {.max_body_bytes = s->opts.max_body_bytes,
                      .max_conn = s->opts.max_conn,
                      .idle_s = 75,
                      .head_s = 20,
                      .body_s = 20,
                      .write_s = 60,
                      .ping_s = 15,
                      .cors = s->opts.cors,
                      .n_cors = s->opts.n_cors,
                      .ctx = s,
                      .on_head = on_head,
                      .on_request = on_request,
                      .on_gone = on_gone,
                      .on_status = on_status};
    s->conns = tk_conn_set_new(s->base, &o);
    s->listen_ev = event_new(s->base, s->listen_fd, EV_READ | EV_PERSIST, on_listen, s);
    s->mail_ev = event_new(s->base, s->mail.fd, EV_READ | EV_PERSIST, on_mail, s);
    s->wake_ev = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, on_wake, s);
    event_add(s->listen_ev, NULL);
    event_add(s->mail_ev, NULL);
    event_add(s->wake_ev, &every); // and every so often by itself
    watch_energy(s);
    return TK_OK;
}

static tk_status make_threads(tk_server *s, tk_err *err)
{
    if (pthread_create(&s->loop_thread, NULL, loop_main, s) != 0)
        return tk_fail(err, TK_FAILED, "cannot make a thread");
    s->loop_runs = true;
    if (pthread_create(&s->text_thread, NULL, text_main, s) != 0)
        return tk_fail(err, TK_FAILED, "cannot make a thread");
    s->text_runs = true;
    return TK_OK;
}

tk_status tk_server_start(const tk_server_opts *o, tk_server **out, tk_err *err)
{
    tk_server *s = tk_alloc(sizeof *s);
    pthread_condattr_t attr;
    tk_status st;
    *out = NULL;
    s->opts = *o;
    s->opts.host = tk_strdup(o->host);
    s->opts.names = (const char *const *)copy_names(o->names, o->n_name);
    s->listen_fd = s->wake_fd = -1;
    s->mail.fd = -1;
    s->grammars = tk_grammar_cache_new();
    s->energy = tk_energy_open(o->powercap_dir);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->changed, &attr);
    pthread_condattr_destroy(&attr);
    TK_TRY(tk_auth_new(o->api_keys, o->n_api_key, &o->limits, &s->auth, err));
    TK_TRY(bind_address(s, err));
    TK_TRY(make_loop(s, err));
    TK_TRY(make_threads(s, err));
    *out = s;
    s = NULL;
done:
    tk_server_free(s);
    return st;
}

int tk_server_port(const tk_server *s)
{
    return s->port;
}

void tk_server_drain(tk_server *s)
{
    atomic_store_explicit(&s->state, TK_SERVER_DRAINING, memory_order_release);
    wake(s);
}

// Waits for a flag that the loop sets; false after timeout_s.
static bool wait_for(tk_server *s, const bool *flag, double timeout_s)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)(timeout_s * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    pthread_mutex_lock(&s->lock);
    while (!*flag && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0) {
    }
    bool set = *flag;
    pthread_mutex_unlock(&s->lock);
    return set;
}

bool tk_server_wait(tk_server *s, double timeout_s)
{
    bool all = wait_for(s, &s->idle, timeout_s);
    atomic_store_explicit(&s->state, TK_SERVER_CLOSED, memory_order_release);
    wake(s);
    wait_for(s, &s->closed, 60); // the loop never blocks: at once
    return all;
}

void tk_server_free(tk_server *s)
{
    if (s == NULL) return;
    if (s->text_runs) {
        tk_mail_close(&s->work);
        pthread_join(s->text_thread, NULL);
    }
    if (s->loop_runs) {
        atomic_store_explicit(&s->stop, true, memory_order_release);
        wake(s);
        pthread_join(s->loop_thread, NULL);
    }
    tk_conn_set_free(s->conns);
    if (s->mail_ev) on_mail(-1, 0, s); // ends that came late
    while (s->calls) free_call(s->calls);
    if (s->listen_ev) event_free(s->listen_ev);
    if (s->mail_ev) event_free(s->mail_ev);
    if (s->wake_ev) event_free(s->wake_ev);
    if (s->energy_ev) event_free(s->energy_ev);
    if (s->base) event_base_free(s->base);
    if (s->listen_fd >= 0) evutil_closesocket(s->listen_fd);
    if (s->wake_fd >= 0) close(s->wake_fd);
    if (s->mail_ev) {
        tk_mail_destroy(&s->mail);
        tk_mail_destroy(&s->work);
    }
    tk_energy_close(s->energy);
    tk_grammar_cache_free(s->grammars);
    tk_token_trie_free(s->trie);
    tk_auth_free(s->auth);
    for (int i = 0; i < s->opts.n_name; i++) tk_free((char *)(uintptr_t)s->opts.names[i]);
    tk_free((void *)(uintptr_t)s->opts.names);
    tk_free((char *)(uintptr_t)s->opts.host);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    tk_free(s);
}
