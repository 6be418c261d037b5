// SPDX-License-Identifier: MIT
#include "bench/stream.h"

#include "base/clock.h"
#include "base/mem.h"
#include "bench/sse.h"
#include "bench/stats.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { MAX_EVENT_BYTES = 16 << 20, MAX_TEXT_BYTES = 16 << 20, TICK_NS = 10000000, N_EVENT = 256 };
enum { MAX_LAGS = 1 << 20 };

typedef struct transfer {
    tk_streams *owner;
    struct transfer *next_free;
    CURL *easy;
    int id;
    tk_sse sse;
    tk_buf text, refusal; // refusal: the body of an answer that is not 200
    tk_stream_result r;
    uint64_t arrived_ns, last_ns;
    bool finished; // [DONE], or a reason to finish, was seen
} transfer;

struct tk_streams {
    const tk_http_target *target;
    char *url;
    tk_stream_done_fn done;
    void *ctx;
    CURLM *multi;
    int epoll_fd, timer_fd;
    uint64_t curl_due_ns; // 0 = libcurl waits for nothing
    int n_active;
    transfer *free_list, **all;
    size_t n_all, cap_all;
    uint64_t next_tick_ns;
    double *lag_ms;
    size_t n_lag, cap_lag;
};

void tk_stream_result_free(tk_stream_result *r)
{
    tk_free(r->itl_ns);
    tk_free(r->text);
    *r = (tk_stream_result){0};
}

static void fail(transfer *t, const char *fmt, const char *what)
{
    if (t->r.error[0] == 0) snprintf(t->r.error, sizeof t->r.error, fmt, what);
}

// The text of the first choice. An event without any is no token when all it does is to name the role, or to end
// an answer that has begun (an answer that ends at once has one).
static const char *choice_text(const json_t *choice, bool first, bool *is_token)
{
    const json_t *delta = json_object_get(choice, "delta"), *text = json_object_get(choice, "text");
    const char *says = json_string_value(text ? text : json_object_get(delta, "content"));
    bool empty = !(says && *says) && !tk_json_get(delta, "tool_calls") &&
                 !tk_json_get(delta, "reasoning_content") && !tk_json_get(delta, "reasoning");
    bool ends = tk_json_get(choice, "finish_reason") != NULL;
    *is_token = !empty || (first ? ends || !tk_json_get(delta, "role") : !ends);
    return says;
}

static void add_token(transfer *t)
{
    if (t->r.ttft_ns == 0) {
        t->r.ttft_ns = TK_MAX(t->arrived_ns - t->r.start_ns, 1);
    } else {
        if (t->r.n_itl == t->r.cap_itl) {
            t->r.cap_itl = TK_MAX(64, 2 * t->r.cap_itl);
            t->r.itl_ns = tk_realloc(t->r.itl_ns, t->r.cap_itl * sizeof *t->r.itl_ns);
        }
        t->r.itl_ns[t->r.n_itl++] = t->arrived_ns - t->last_ns;
    }
    t->last_ns = t->arrived_ns;
}

static void on_event(void *ctx, const char *data, size_t len)
{
    transfer *t = ctx;
    json_t *j = NULL;
    if (len == 6 && memcmp(data, "[DONE]", 6) == 0) {
        t->finished = true;
        return;
    }
    if (tk_json_parse(data, len, "event", &j, NULL) != TK_OK || !json_is_object(j)) {
        fail(t, "an event is no JSON object: %.80s", data);
        json_decref(j);
        return;
    }
    const json_t *error = tk_json_get(j, "error");
    if (error) {
        const char *says = json_string_value(json_object_get(error, "message"));
        fail(t, "the stream reports an error: %.160s", says ? says : data);
    }
    const json_t *choice = json_array_get(json_object_get(j, "choices"), 0);
    if (choice) {
        bool is_token;
        const char *text = choice_text(choice, t->r.ttft_ns == 0, &is_token);
        if (is_token)
            add_token(t);
        else if (t->r.ttft_ns)
            t->last_ns = t->arrived_ns; // the end
        if (text) tk_buf_add_str(&t->text, text);
        if (tk_json_get(choice, "finish_reason")) t->finished = true;
    }
    const json_t *usage = tk_json_get(j, "usage");
    if (usage) {
        const json_t *in = json_object_get(usage, "prompt_tokens"),
                     *out = json_object_get(usage, "completion_tokens"),
                     *cached = json_object_get(tk_json_get(usage, "prompt_tokens_details"),
                                               "cached_tokens");
        if (json_is_integer(in)) t->r.n_prompt = json_integer_value(in);
        if (json_is_integer(out)) t->r.n_out = json_integer_value(out);
        if (json_is_integer(cached)) t->r.n_cached = json_integer_value(cached);
    }
    json_decref(j);
}

static size_t on_bytes(char *bytes, size_t one, size_t n, void *ctx)
{
    transfer *t = ctx;
    long status = 0;
    t->arrived_ns = tk_clock_ns();
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        tk_buf_add(&t->refusal, bytes, TK_MIN(one * n, 160 - TK_MIN(160, t->refusal.len)));
        return one * n;
    }
    if (!tk_sse_feed(&t->sse, bytes, one * n, on_event, t)) {
        fail(t, "%s", "an event is too long");
        return 0;
    }
    return one * n;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known)
{
    (void)easy;
    tk_streams *s = ctx;
    struct epoll_event ev = {.data.fd = fd};
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, &ev);
        return 0;
    }
    if (what & CURL_POLL_IN) ev.events |= EPOLLIN;
    if (what & CURL_POLL_OUT) ev.events |= EPOLLOUT;
    if (epoll_ctl(s->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) != 0) return -1;
    curl_multi_assign(s->multi, fd, s);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *ctx)
{
    (void)multi;
    tk_streams *s = ctx;
    s->curl_due_ns = ms < 0 ? 0 : tk_clock_ns() + (uint64_t)ms * 1000000u;
    return 0;
}

tk_status tk_streams_new(const tk_http_target *t, const char *endpoint, tk_stream_done_fn done,
                         void *ctx, tk_streams **out, tk_err *err)
{
    tk_streams *s = tk_alloc(sizeof *s);
    *out = s;
    s->target = t;
    s->done = done;
    s->ctx = ctx;
    s->url = tk_asprintf("%s%s", t->base_url, endpoint);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    s->multi = curl_multi_init();
    if (s->epoll_fd < 0 || s->timer_fd < 0 || s->multi == NULL)
        return tk_fail(err, TK_FAILED, "cannot make an event loop: %s", strerror(errno));
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = s->timer_fd};
    if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->timer_fd, &ev) != 0)
        return tk_fail(err, TK_FAILED, "cannot watch the timer: %s", strerror(errno));
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, 65536L); // kept open for the next request
    tk_streams_lag_reset(s);
    return TK_OK;
}

void tk_streams_free(tk_streams *s)
{
    if (s == NULL) return;
    for (size_t i = 0; i < s->n_all; i++) {
        transfer *t = s->all[i];
        curl_multi_remove_handle(s->multi, t->easy);
        curl_easy_cleanup(t->easy);
        tk_sse_free(&t->sse);
        tk_buf_free(&t->text);
        tk_buf_free(&t->refusal);
        tk_stream_result_free(&t->r);
        tk_free(t);
    }
    if (s->multi) curl_multi_cleanup(s->multi);
    if (s->epoll_fd >= 0) close(s->epoll_fd);
    if (s->timer_fd >= 0) close(s->timer_fd);
    tk_free(s->all);
    tk_free(s->url);
    tk_free(s->lag_ms);
    tk_free(s);
}

int tk_streams_active(const tk_streams *s)
{
    return s->n_active;
}

static transfer *take(tk_streams *s)
{
    transfer *t = s->free_list;
    if (t) {
        s->free_list = t->next_free;
        return t;
    }
    t = tk_alloc(sizeof *t);
    t->owner = s;
    t->sse = tk_sse_make(MAX_EVENT_BYTES);
    t->text = tk_buf_make(MAX_TEXT_BYTES);
    t->refusal = tk_buf_make(1024);
    t->easy = curl_easy_init();
    if (s->n_all == s->cap_all) {
        s->cap_all = TK_MAX(64, 2 * s->cap_all);
        s->all = tk_realloc(s->all, s->cap_all * sizeof(transfer *));
    }
    s->all[s->n_all++] = t;
    return t;
}

tk_status tk_streams_start(tk_streams *s, int id, const char *body, tk_err *err)
{
    transfer *t = take(s);
    if (t->easy == NULL) return tk_fail(err, TK_NOMEM, "no memory for a request");
    t->id = id;
    t->r = (tk_stream_result){.n_prompt = -1, .n_out = -1, .n_cached = -1};
    t->finished = false;
    tk_sse_reset(&t->sse);
    tk_buf_clear(&t->text);
    tk_buf_clear(&t->refusal);
    tk_http_prepare(t->easy, s->target, s->url);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    t->r.start_ns = tk_clock_ns();
    CURLMcode rc = curl_multi_add_handle(s->multi, t->easy);
    if (rc != CURLM_OK)
        return tk_fail(err, TK_FAILED, "cannot start a request: %s", curl_multi_strerror(rc));
    s->n_active++;
    return TK_OK;
}

static void finish(tk_streams *s, transfer *t, CURLcode rc)
{
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (rc != CURLE_OK) {
        fail(t, "%s", curl_easy_strerror(rc));
    } else if (status != 200) {
        char code[32];
        snprintf(code, sizeof code, "HTTP %ld: ", status);
        tk_buf all = tk_buf_make(1024);
        tk_buf_addf(&all, "%s%s", code, tk_buf_str(&t->refusal));
        fail(t, "%s", tk_buf_str(&all));
        tk_buf_free(&all);
    } else if (t->r.ttft_ns == 0) {
        fail(t, "%s", "no token came");
    } else if (!t->finished) {
        fail(t, "%s", "the stream ended with neither a finish_reason nor [DONE]");
    }
    t->r.ok = t->r.error[0] == 0;
    if (t->r.ttft_ns) t->r.latency_ns = t->last_ns - t->r.start_ns;
    t->r.text = t->text.len ? tk_strdup(tk_buf_str(&t->text)) : NULL;
    tk_stream_result r = t->r;
    t->r = (tk_stream_result){0};
    curl_multi_remove_handle(s->multi, t->easy);
    t->next_free = s->free_list;
    s->free_list = t;
    s->n_active--;
    s->done(s->ctx, t->id, &r);
}

static void collect(tk_streams *s)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(s->multi, &left)) != NULL) {
        if (m->msg != CURLMSG_DONE) continue;
        transfer *t;
        CURLcode rc = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        finish(s, t, rc);
    }
}

static void tick(tk_streams *s)
{
    uint64_t now = tk_clock_ns();
    if (now < s->next_tick_ns) return;
    if (s->n_lag < MAX_LAGS) {
        if (s->n_lag == s->cap_lag) {
            s->cap_lag = TK_MAX(1024, 2 * s->cap_lag);
            s->lag_ms = tk_realloc(s->lag_ms, s->cap_lag * sizeof *s->lag_ms);
        }
        s->lag_ms[s->n_lag++] = (double)(now - s->next_tick_ns) * 1e-6;
    }
    s->next_tick_ns = now + TICK_NS;
}

static void arm(tk_streams *s, uint64_t at_ns)
{
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at_ns / 1000000000u),
                                           .tv_nsec = (long)(at_ns % 1000000000u)}};
    timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

tk_status tk_streams_wait(tk_streams *s, uint64_t until_ns, tk_err *err)
{
    struct epoll_event events[N_EVENT];
    uint64_t at = TK_MIN(until_ns, s->next_tick_ns), now = tk_clock_ns(), expired;
    int running;
    if (s->curl_due_ns) at = TK_MIN(at, s->curl_due_ns);
    arm(s, TK_MAX(at, 1));
    int n = epoll_wait(s->epoll_fd, events, N_EVENT, at <= now ? 0 : -1);
    if (n < 0 && errno != EINTR)
        return tk_fail(err, TK_FAILED, "cannot wait for events: %s", strerror(errno));
    tick(s);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == s->timer_fd) {
            ssize_t got = read(s->timer_fd, &expired, sizeof expired);
            (void)got; // the time is looked at, not the count
            continue;
        }
        int what = (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) |
                   (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                   (events[i].events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
        curl_multi_socket_action(s->multi, events[i].data.fd, what, &running);
    }
    if (s->curl_due_ns && tk_clock_ns() >= s->curl_due_ns) {
        s->curl_due_ns = 0;
        curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    collect(s);
    return TK_OK;
}

void tk_streams_lag_reset(tk_streams *s)
{
    s->n_lag = 0;
    s->next_tick_ns = tk_clock_ns() + TICK_NS;
}

tk_stream_lag tk_streams_lag(tk_streams *s)
{
    tk_stats_sort(s->lag_ms, s->n_lag);
    return (tk_stream_lag){tk_stats_percentile(s->lag_ms, s->n_lag, 50),
                           tk_stats_percentile(s->lag_ms, s->n_lag, 99),
                           tk_stats_percentile(s->lag_ms, s->n_lag, 100)};
}
