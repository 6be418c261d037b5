// SPDX-License-Identifier: MIT
#include "store/hub_http.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/hub_cache.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    CONNECT_TIMEOUT_S = 15,
    STALL_TIMEOUT_S = 30,
    STALL_BYTES_PER_S = 256, // slower than this for the whole stall timeout is a stall
    ANSWER_TIMEOUT_S = 120,  // of a whole answer of the API
};

struct tk_hub_http {
    char *endpoint; // without a slash at its end
    bool is_https;
    char *token; // NULL when there is none
    const char *ca_file;
    long stall_s;
    int retries;
    const atomic_int *stop; // relaxed: a flag looked at between steps
};

static tk_status read_endpoint(tk_hub_http *h, tk_err *err)
{
    const char *env = getenv("HF_ENDPOINT");
    h->endpoint = tk_strdup(env && *env ? env : "https://huggingface.co");
    for (size_t n = strlen(h->endpoint); n > 0 && h->endpoint[n - 1] == '/'; n--)
        h->endpoint[n - 1] = 0;
    CURLU *u = curl_url();
    char *scheme = NULL, *user = NULL, *query = NULL, *fragment = NULL;
    bool ok = u && curl_url_set(u, CURLUPART_URL, h->endpoint, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
              curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK &&
              curl_url_get(u, CURLUPART_QUERY, &query, 0) != CURLUE_OK &&
              curl_url_get(u, CURLUPART_FRAGMENT, &fragment, 0) != CURLUE_OK;
    h->is_https = ok && strcmp(scheme, "https") == 0;
    ok = ok && (h->is_https || strcmp(scheme, "http") == 0);
    curl_free(scheme);
    curl_free(user);
    curl_free(query);
    curl_free(fragment);
    curl_url_cleanup(u);
    // the address is not repeated: it may hold a password
    return ok ? TK_OK
              : tk_fail(err, TK_USAGE,
                        "HF_ENDPOINT is not an address such as "
                        "https://huggingface.co");
}

// Cuts spaces and line ends off; TK_BAD_INPUT when what is left could not stand in a header.
static tk_status set_token(tk_hub_http *h, const char *text, const char *from, tk_err *err)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1])) len--;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= 0x20 || (unsigned char)text[i] >= 0x7f)
            return tk_fail(err, TK_BAD_INPUT, "the token in %s holds a character that no token has",
                           from);
    if (len > 0) h->token = tk_strndup(text, len);
    return TK_OK;
}

static tk_status read_token(tk_hub_http *h, tk_err *err)
{
    const char *env = getenv("HF_TOKEN"), *at = getenv("HF_TOKEN_PATH");
    if (env && *env) return set_token(h, env, "HF_TOKEN", err);
    char *home = tk_hub_home(), *text = NULL;
    char *path = at && *at ? tk_strdup(at) : tk_file_join(home, "token");
    tk_status st = TK_OK;
    if (tk_file_is_there(path)) {
        st = tk_file_read(path, TK_LIMIT_HUB_TOKEN_BYTES, &text, NULL, err);
        if (st == TK_OK) st = set_token(h, text, path, err);
    }
    tk_free(text);
    tk_free(path);
    tk_free(home);
    return st;
}

static tk_status read_timeout(tk_hub_http *h, tk_err *err)
{
    const char *env = getenv("HF_HUB_DOWNLOAD_TIMEOUT");
    h->stall_s = STALL_TIMEOUT_S;
    if (env == NULL || *env == 0) return TK_OK;
    char *end;
    h->stall_s = strtol(env, &end, 10);
    if (*end == 0 && h->stall_s >= 1 && h->stall_s <= 86400) return TK_OK;
    return tk_fail(err, TK_USAGE, "HF_HUB_DOWNLOAD_TIMEOUT is \"%.40s\", no number of seconds",
                   env);
}

tk_status tk_hub_http_open(int retries, const atomic_int *stop, tk_hub_http **out, tk_err *err)
{
    tk_hub_http *h = tk_alloc(sizeof *h);
    const char *bundle = getenv("CURL_CA_BUNDLE"), *cert = getenv("SSL_CERT_FILE");
    tk_status st = TK_OK;
    *out = NULL;
    h->retries = retries;
    h->stop = stop;
    h->ca_file = bundle && *bundle ? bundle : cert && *cert ? cert : NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        st = tk_fail(err, TK_FAILED, "libcurl cannot be started");
        goto done;
    }
    TK_TRY(read_endpoint(h, err));
    TK_TRY(read_token(h, err));
    TK_TRY(read_timeout(h, err));
    *out = h;
    h = NULL;
done:
    tk_hub_http_close(h);
    return st;
}

void tk_hub_http_close(tk_hub_http *h)
{
    if (h == NULL) return;
    tk_free(h->endpoint);
    tk_free(h->token);
    tk_free(h);
}

const char *tk_hub_http_endpoint(const tk_hub_http *h)
{
    return h->endpoint;
}

int tk_hub_http_retries(const tk_hub_http *h)
{
    return h->retries;
}

bool tk_hub_http_stopped(const tk_hub_http *h)
{
    return h->stop && atomic_load_explicit(h->stop, memory_order_relaxed) != 0;
}

static int on_progress(void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total,
                       curl_off_t up)
{
    (void)total, (void)now, (void)up_total, (void)up;
    return tk_hub_http_stopped(ctx);
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    tk_hub_reply_line(ctx, line, size * n);
    return size * n;
}

CURL *tk_hub_http_request(const tk_hub_http *h, const char *url, tk_hub_reply *reply, char *error)
{
    *error = 0;
    CURL *c = curl_easy_init();
    if (c == NULL) return NULL;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "tokamak");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    // a connection each: HTTP/2 would put all files on one
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, h->is_https ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, h->is_https ? "https" : "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)TK_LIMIT_HUB_REDIRECTS);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES_PER_S);
    curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, h->stall_s);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, 256L << 10);
    if (h->ca_file) curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
    if (h->token) {
        // libcurl keeps this one from other hosts and ports (a header of ours it would not)
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(c, CURLOPT_XOAUTH2_BEARER, h->token);
    }
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, reply);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, (void *)(uintptr_t)h);
    *reply = (tk_hub_reply){.length = -1, .linked_size = -1, .range_begin = -1, .range_total = -1};
    return c;
}

static void copy_text(char *out, size_t cap, const char *s, size_t len)
{
    size_t n = TK_MIN(len, cap - 1);
    for (size_t i = 0; i < n; i++) out[i] = (char)(s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?');
    out[n] = 0;
}

static void copy_etag(char *out, size_t cap, const char *s, size_t len)
{
    if (len > 2 && s[0] == 'W' && s[1] == '/') s += 2, len -= 2;
    if (len > 1 && s[0] == '"' && s[len - 1] == '"') s++, len -= 2;
    copy_text(out, cap, s, len);
}

// A number at most INT64_MAX, or -1.
static int64_t read_number(const char *s, size_t len)
{
    int64_t v = 0;
    for (size_t i = 0; i < len; i++)
        if (!isdigit((unsigned char)s[i]) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, s[i] - '0', &v))
            return -1;
    return len > 0 ? v : -1;
}

// bytes BEGIN-END/TOTAL, bytes */TOTAL
static void read_range(tk_hub_reply *r, const char *s, size_t len)
{
    const char *slash = memchr(s, '/', len), *dash = memchr(s, '-', len);
    if (len < 6 || strncasecmp(s, "bytes ", 6) != 0 || slash == NULL) return;
    if (dash && dash < slash) r->range_begin = read_number(s + 6, (size_t)(dash - s) - 6);
    r->range_total = read_number(slash + 1, (size_t)(s + len - slash) - 1);
}

static void begin_head(tk_hub_reply *r, const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    size_t at = space ? (size_t)(space - line) + 1 : len;
    r->status = at + 3 <= len ? (long)read_number(line + at, 3) : -1;
    r->n_head += r->status >= 200; // not 100 Continue
    r->is_redirect = false;
    r->etag[0] = r->error_code[0] = r->error_message[0] = 0;
    r->length = r->range_begin = r->range_total = -1;
    r->retry_after_s = 0;
}

static void take_header(tk_hub_reply *r, const char *name, size_t n, const char *v, size_t len)
{
#define IS(s) (n == sizeof(s) - 1 && strncasecmp(name, s, n) == 0)
    if (IS("location"))
        r->is_redirect = r->status / 100 == 3;
    else if (IS("etag"))
        copy_etag(r->etag, sizeof r->etag, v, len);
    else if (IS("x-linked-etag"))
        copy_etag(r->linked_etag, sizeof r->linked_etag, v, len);
    else if (IS("x-linked-size"))
        r->linked_size = read_number(v, len);
    else if (IS("content-length"))
        r->length = read_number(v, len);
    else if (IS("content-range"))
        read_range(r, v, len);
    else if (IS("retry-after")) // a date instead of seconds: our own backoff then
        r->retry_after_s = (int)TK_MIN(TK_MAX(read_number(v, len), 0), 1 << 20);
    else if (IS("x-error-code"))
        copy_text(r->error_code, sizeof r->error_code, v, len);
    else if (IS("x-error-message"))
        copy_text(r->error_message, sizeof r->error_message, v, len);
#undef IS
}

bool tk_hub_reply_line(tk_hub_reply *r, const char *line, size_t len)
{
    while (len > 0 && isspace((unsigned char)line[len - 1])) len--;
    if (len == 0) return !r->is_redirect && r->status >= 200;
    if (len > 5 && strncmp(line, "HTTP/", 5) == 0) {
        begin_head(r, line, len);
        return false;
    }
    const char *colon = memchr(line, ':', len);
    if (colon == NULL) return false;
    const char *v = colon + 1, *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t')) v++;
    take_header(r, line, (size_t)(colon - line), v, (size_t)(end - v));
    return false;
}

static void add_encoded(tk_buf *url, const char *s, const char *keep)
{
    for (; *s; s++) {
        if (isalnum((unsigned char)*s) || strchr(keep, *s))
            tk_buf_add_char(url, *s);
        else
            tk_buf_addf(url, "%%%02X", (unsigned char)*s);
    }
}

void tk_hub_add_path(tk_buf *url, const char *path)
{
    add_encoded(url, path, "-._~/");
}

void tk_hub_add_part(tk_buf *url, const char *part)
{
    add_encoded(url, part, "-._~");
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    return tk_buf_add(ctx, p, size * n) ? size * n : 0;
}

// Whether two addresses have scheme, host and port in common.
static bool same_origin(const char *a, const char *b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *ua = curl_url(), *ub = curl_url();
    bool same = ua && ub && curl_url_set(ua, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(ub, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (size_t i = 0; i < TK_COUNT(parts) && same; i++) {
        char *pa = NULL, *pb = NULL;
        curl_url_get(ua, parts[i], &pa, CURLU_DEFAULT_PORT);
        curl_url_get(ub, parts[i], &pb, CURLU_DEFAULT_PORT);
        same = pa && pb && strcasecmp(pa, pb) == 0;
        curl_free(pa);
        curl_free(pb);
    }
    curl_url_cleanup(ua);
    curl_url_cleanup(ub);
    return same;
}

// The head of url, redirects followed as long as they stay on the hub: what lies elsewhere may be signed for
// GET alone, and the hub says everything about it.
static CURLcode ask_head(const tk_hub_http *h, const char *url, tk_hub_reply *reply, char *error)
{
    char *at = tk_strdup(url);
    CURLcode code = CURLE_TOO_MANY_REDIRECTS;
    for (int i = 0; i < TK_LIMIT_HUB_REDIRECTS; i++) {
        CURL *c = tk_hub_http_request(h, at, reply, error);
        char *next = NULL;
        if (c == NULL) break;
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
        curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ANSWER_TIMEOUT_S);
        code = curl_easy_perform(c);
        if (code == CURLE_OK) curl_easy_getinfo(c, CURLINFO_REDIRECT_URL, &next);
        bool go_on = next && same_origin(next, h->endpoint);
        if (go_on) {
            tk_free(at);
            at = tk_strdup(next);
            code = CURLE_TOO_MANY_REDIRECTS;
        }
        curl_easy_cleanup(c);
        if (!go_on) break;
    }
    tk_free(at);
    return code;
}

static CURLcode ask(const tk_hub_http *h, const char *url, tk_buf *body, tk_hub_reply *reply,
                    char *error)
{
    if (body == NULL) return ask_head(h, url, reply, error);
    CURL *c = tk_hub_http_request(h, url, reply, error);
    if (c == NULL) return CURLE_OUT_OF_MEMORY;
    tk_buf_clear(body);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)ANSWER_TIMEOUT_S);
    CURLcode code = curl_easy_perform(c);
    curl_easy_cleanup(c);
    return code;
}

static void wait_ns(const tk_hub_http *h, uint64_t ns)
{
    for (uint64_t end = tk_clock_ns() + ns; tk_clock_ns() < end && !tk_hub_http_stopped(h);)
        poll(NULL, 0, 20); // a signal ends it early
}

tk_status tk_hub_http_get(const tk_hub_http *h, const char *url, tk_buf *body, tk_hub_reply *reply,
                          tk_err *err)
{
    char error[CURL_ERROR_SIZE];
    for (int i = 0;; i++) {
        CURLcode code = ask(h, url, body, reply, error);
        if (tk_hub_http_stopped(h)) return tk_fail(err, TK_INTERRUPTED, "interrupted");
        if (body && body->failed)
            return tk_fail(err, TK_BAD_INPUT, "the hub's answer is larger than %zu bytes",
                           body->max);
        bool again =
            code == CURLE_OK ? tk_hub_status_is_passing(reply) : tk_hub_curl_is_passing(code);
        if (code == CURLE_OK && !again) return TK_OK;
        if (again && i < h->retries) {
            wait_ns(h, tk_hub_backoff_ns(i, code == CURLE_OK ? reply->retry_after_s : 0));
            continue;
        }
        if (code == CURLE_OK)
            return tk_fail(err, TK_FAILED, "the hub at %s answers %ld (asked %d times)",
                           h->endpoint, reply->status, i + 1);
        return tk_fail(err, TK_FAILED, "cannot ask the hub at %s: %s%s", h->endpoint,
                       tk_hub_curl_text(code, error), i > 0 ? " (tried again in vain)" : "");
    }
}

bool tk_hub_curl_is_passing(CURLcode code)
{
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_WEIRD_SERVER_REPLY: return true;
    default: return false;
    }
}

bool tk_hub_status_is_passing(const tk_hub_reply *r)
{
    return r->status == 408 || r->status == 429 || r->status >= 500;
}

const char *tk_hub_curl_text(CURLcode code, const char *error)
{
    switch (code) {
    case CURLE_TOO_MANY_REDIRECTS: return "it redirects in circles";
    case CURLE_UNSUPPORTED_PROTOCOL: return "it redirects to an address that is not https";
    case CURLE_PEER_FAILED_VERIFICATION:
        return "its certificate cannot be verified (a CA of your own: SSL_CERT_FILE)";
    case CURLE_SSL_CACERT_BADFILE:
        return "there are no CA certificates (install ca-certificates, or set SSL_CERT_FILE)";
    default: return error[0] ? error : curl_easy_strerror(code);
    }
}

uint64_t tk_hub_backoff_ns(int n, int retry_after_s)
{
    const uint64_t ms = 1000000u;
    uint64_t full = TK_MIN((uint64_t)500 << TK_MIN(n, 10), (uint64_t)30000) * ms;
    tk_rng rng = {.state = tk_clock_ns()};
    uint64_t wait = full / 2 + tk_rng_below(&rng, full / 2);
    return TK_MAX(wait, (uint64_t)TK_MIN(retry_after_s, 300) * 1000 * ms);
}

tk_status tk_hub_refusal(const tk_hub_http *h, const tk_hub_reply *r, const char *name,
                         const char *rev, const char *file, tk_err *err)
{
    const char *code = r->error_code;
    if (strcmp(code, "GatedRepo") == 0)
        return tk_fail(err, TK_BAD_INPUT,
                       h->token ? "\"%s\" is gated and the token's account has no access yet: "
                                  "accept its terms at %s/%s"
                                : "\"%s\" is gated: accept its terms at %s/%s, then set HF_TOKEN "
                                  "to a token of that account",
                       name, h->endpoint, name);
    if (strcmp(code, "RevisionNotFound") == 0)
        return tk_fail(err, TK_BAD_INPUT, "\"%s\" has no revision \"%s\"", name, rev);
    if (file && (r->status == 404 || strcmp(code, "EntryNotFound") == 0))
        return tk_fail(err, TK_BAD_INPUT, "the hub lists \"%s\" of \"%s\" but does not have it",
                       file, name);
    if (r->status == 401 && h->token && strcmp(code, "RepoNotFound") != 0)
        return tk_fail(err, TK_BAD_INPUT,
                       "the hub does not accept the token (HF_TOKEN, or the "
                       "token file in HF_HOME)");
    if (r->status == 401 || r->status == 404)
        return tk_fail(err, TK_BAD_INPUT, "%s has no model \"%s\"%s", h->endpoint, name,
                       h->token ? ", or the token's account may not see it"
                                : "; if it is private, set HF_TOKEN");
    if (r->status == 403) {
        // what a server says is repeated, unless it repeats the token
        bool say = r->error_message[0] && !(h->token && strstr(r->error_message, h->token));
        return tk_fail(err, TK_BAD_INPUT, "the hub refuses access to \"%s\" (403)%s%s", name,
                       say ? ": " : "", say ? r->error_message : "");
    }
    return tk_fail(err, TK_FAILED, "the hub answers %ld to the request for %s%s%s", r->status, name,
                   file ? "/" : "", file ? file : "");
}
