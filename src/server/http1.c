// SPDX-License-Identifier: MIT
// Lines are collected in `head` and checked one by one as they end, so that garbage is refused at its first
// line and a flood of headers at its bound, not at its end. Names and values are NUL-terminated in place.
#include "server/http1.h"

#include "base/mem.h"

#include <string.h>
#include <strings.h>

enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER }; // chunk_phase

void tk_http1_init(tk_http1 *h, size_t max_body_bytes)
{
    *h = (tk_http1){.max_body_bytes = max_body_bytes,
                    .head = tk_buf_make(TK_LIMIT_HTTP_HEAD_BYTES + 4),
                    .body = tk_buf_make(max_body_bytes)};
}

void tk_http1_free(tk_http1 *h)
{
    tk_buf_free(&h->head);
    tk_buf_free(&h->body);
    tk_free(h->path);
    h->path = NULL;
}

void tk_http1_reset(tk_http1 *h)
{
    size_t max = h->max_body_bytes;
    tk_http1_free(h); // an idle connection holds no buffers
    tk_http1_init(h, max);
}

static void fail(tk_http1 *h, int status, const char *reason)
{
    h->state = TK_HTTP1_FAILED;
    h->status = status;
    h->reason = reason;
}

// RFC 9110's tchar.
static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// The path without its %XX; false when one is broken or hides a NUL.
static bool decode_path(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        if (hex(s[1]) < 0 || hex(s[2]) < 0 || (s[1] == '0' && s[2] == '0')) return false;
        *to++ = (char)(hex(s[1]) * 16 + hex(s[2]));
        s += 2;
    }
    *to = 0;
    return true;
}

// "METHOD TARGET HTTP/1.x"; offsets are turned into pointers when the head is complete.
static void check_request_line(tk_http1 *h, char *line, size_t len)
{
    char *sp1 = memchr(line, ' ', len);
    char *sp2 = sp1 ? memchr(sp1 + 1, ' ', len - (size_t)(sp1 + 1 - line)) : NULL;
    if (sp2 == NULL || sp1 == line) {
        fail(h, 400, "the request line is not METHOD TARGET HTTP/1.1");
        return;
    }
    for (const char *p = line; p < sp1; p++)
        if (!is_token_char((unsigned char)*p)) {
            fail(h, 400, "the method has a character that is not allowed");
            return;
        }
    for (const char *p = sp1 + 1; p < sp2; p++)
        if ((unsigned char)*p <= 0x20 || (unsigned char)*p == 0x7F) {
            fail(h, 400, "the target has a character that is not allowed");
            return;
        }
    if (sp1[1] != '/')
        fail(h, 400, "the target does not begin with /");
    else if (strncmp(sp2 + 1, "HTTP/", 5) != 0)
        fail(h, 400, "the request line does not end with HTTP/1.1");
    else if (strcmp(sp2 + 1, "HTTP/1.1") != 0 && strcmp(sp2 + 1, "HTTP/1.0") != 0)
        fail(h, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
}

static void check_header_line(tk_http1 *h, const char *line, size_t len)
{
    if (h->n_header == TK_LIMIT_HTTP_HEADERS) {
        fail(h, 431, "too many headers");
        return;
    }
    h->n_header++;
    const char *colon = memchr(line, ':', len);
    bool ok = colon != NULL && colon > line;
    for (const char *p = line; ok && p < colon; p++) ok = is_token_char((unsigned char)*p);
    for (const char *p = line; ok && p < line + len; p++)
        ok = (unsigned char)*p >= 0x20 ? *p != 0x7F : *p == '\t';
    if (!ok) fail(h, 400, "a header is malformed");
}

// All lines have been checked: take them apart.
static void split_head(tk_http1 *h)
{
    char *line = h->head.data, *end = h->head.data + h->head.len;
    h->n_header = 0;
    for (bool first = true; line < end; first = false) {
        char *eol = memchr(line, '\n', (size_t)(end - line));
        eol[-1] = 0; // the CR
        if (first) {
            char *target = strchr(line, ' ');
            *target++ = 0;
            char *version = strchr(target, ' ');
            *version++ = 0;
            h->method = line;
            h->minor = version[7] - '0';
            char *q = strchr(target, '?');
            if (q) *q++ = 0;
            h->query = q;
            h->path = tk_strdup(target);
        } else if (*line) {
            char *value = strchr(line, ':');
            *value++ = 0;
            value += strspn(value, " \t");
            for (char *t = value + strlen(value); t > value && (t[-1] == ' ' || t[-1] == '\t');)
                *--t = 0;
            h->header[h->n_header++] = (tk_http1_header){line, value};
        }
        line = eol + 1;
    }
}

const char *tk_http1_find(const tk_http1 *h, const char *name)
{
    for (int i = 0; i < h->n_header; i++)
        if (strcasecmp(h->header[i].name, name) == 0) return h->header[i].value;
    return NULL;
}

static int count_headers(const tk_http1 *h, const char *name)
{
    int n = 0;
    for (int i = 0; i < h->n_header; i++) n += strcasecmp(h->header[i].name, name) == 0;
    return n;
}

// True when the comma-separated list has the word.
static bool list_has(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && *p;) {
        p += strspn(p, " \t,");
        size_t len = strcspn(p, " \t,");
        if (len == n && strncasecmp(p, word, n) == 0) return true;
        p += len;
    }
    return false;
}

static bool read_length(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (*s == 0) return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9') return false;
        if (v > (UINT64_MAX - 9) / 10) return false;
        v = v * 10 + (uint64_t)(*s - '0');
    }
    *out = v;
    return true;
}

// What the headers say about the body and the connection.
static void begin_body(tk_http1 *h)
{
    const char *te = tk_http1_find(h, "transfer-encoding"),
               *cl = tk_http1_find(h, "content-length"),
               *connection = tk_http1_find(h, "connection");
    h->keep_alive =
        h->minor >= 1 ? !list_has(connection, "close") : list_has(connection, "keep-alive");
    h->expect_continue = h->minor >= 1 && list_has(tk_http1_find(h, "expect"), "100-continue");
    if (!decode_path(h->path))
        fail(h, 400, "the target has a broken %-escape");
    else if (h->minor >= 1 && count_headers(h, "host") != 1)
        fail(h, 400, "exactly one Host header is required");
    else if (te && (cl || h->minor == 0))
        fail(h, 400, "Transfer-Encoding beside Content-Length, or in HTTP/1.0");
    else if (te && (count_headers(h, "transfer-encoding") > 1 || strcasecmp(te, "chunked") != 0))
        fail(h, 501, "only chunked transfer encoding is understood");
    else if (cl && (count_headers(h, "content-length") > 1 || !read_length(cl, &h->body_left)))
        fail(h, 400, "Content-Length is not one number");
    else if (h->body_left > h->max_body_bytes)
        fail(h, 413, "the body is larger than this server takes");
    if (h->state == TK_HTTP1_FAILED) return;
    h->chunked = te != NULL;
    h->state = h->chunked || h->body_left > 0 ? TK_HTTP1_BODY : TK_HTTP1_COMPLETE;
}

// A line of the head has ended: head.data[line_at..len) with its CRLF.
static void end_head_line(tk_http1 *h)
{
    char *line = h->head.data + h->line_at;
    size_t len = h->head.len - h->line_at;
    if (len < 2 || line[len - 2] != '\r') {
        fail(h, 400, "a line ends without CR");
        return;
    }
    len -= 2;
    if (memchr(line, '\r', len) || memchr(line, 0, len)) {
        fail(h, 400, "a line has a CR or NUL inside");
        return;
    }
    line[len] = 0; // for the checks; restored below
    bool first = h->line_at == 0;
    if (first && len == 0) { // an empty line before a request is let pass
        tk_buf_clear(&h->head);
        return;
    }
    if (first)
        check_request_line(h, line, len);
    else if (len > 0)
        check_header_line(h, line, len);
    line[len] = '\r';
    h->line_at = h->head.len;
    if (h->state == TK_HTTP1_FAILED || first || len > 0) return;
    split_head(h);
    begin_body(h);
}

static size_t feed_head(tk_http1 *h, const char *data, size_t len)
{
    const char *eol = memchr(data, '\n', len);
    size_t n = eol ? (size_t)(eol - data) + 1 : len;
    unsigned char c = (unsigned char)data[0];
    if (h->head.len == 0 && c != '\r' && c != '\n' && !is_token_char(c)) {
        fail(h, 400, "this is not HTTP");
        return n;
    }
    bool fits = h->head.len + n <= TK_LIMIT_HTTP_HEAD_BYTES;
    if (h->line_at == 0 && h->head.len + n > TK_LIMIT_HTTP_LINE_BYTES)
        fail(h, 414, "the request line is too long");
    else if (!fits || !tk_buf_add(&h->head, data, n))
        fail(h, 431, "the headers are too large");
    else if (eol)
        end_head_line(h);
    return n;
}

static size_t feed_plain(tk_http1 *h, const char *data, size_t len)
{
    size_t n = (uint64_t)len < h->body_left ? len : (size_t)h->body_left;
    if (!tk_buf_add(&h->body, data, n)) fail(h, 413, "the body is larger than this server takes");
    h->body_left -= n;
    return n;
}

// One byte of a chunk's size line (extensions are skipped).
static void chunk_size_byte(tk_http1 *h, char c)
{
    if (c != '\n') {
        if (h->chunk_line_len >= sizeof h->chunk_line - 1)
            fail(h, 400, "a chunk's size line is too long");
        else
            h->chunk_line[h->chunk_line_len++] = c;
        return;
    }
    size_t i = 0;
    uint64_t v = 0;
    for (; i < h->chunk_line_len && hex(h->chunk_line[i]) >= 0; i++) {
        if (i == 15) {
            fail(h, 413, "the body is larger than this server takes");
            return;
        }
        v = v * 16 + (uint64_t)hex(h->chunk_line[i]);
    }
    bool ends = i > 0 && h->chunk_line_len > i && h->chunk_line[h->chunk_line_len - 1] == '\r' &&
                (h->chunk_line[i] == '\r' || h->chunk_line[i] == ';');
    h->chunk_line_len = 0;
    if (!ends)
        fail(h, 400, "a chunk's size is malformed");
    else if (v > h->max_body_bytes - h->body.len)
        fail(h, 413, "the body is larger than this server takes");
    h->body_left = v;
    h->chunk_phase = v ? CHUNK_DATA : CHUNK_TRAILER;
}

// CR LF after a chunk's data, and trailer lines up to an empty one.
static void chunk_other_byte(tk_http1 *h, char c)
{
    if (h->chunk_phase == CHUNK_END) {
        if (c != (h->chunk_line_len == 0 ? '\r' : '\n')) {
            fail(h, 400, "a chunk does not end where its size says");
            return;
        }
        h->chunk_line_len++;
        if (h->chunk_line_len < 2) return;
        h->chunk_line_len = 0;
        h->chunk_phase = CHUNK_SIZE;
        return;
    }
    if (++h->trailer_bytes > TK_LIMIT_HTTP_LINE_BYTES) {
        fail(h, 431, "the trailer is too large");
        return;
    }
    if (c == '\n') { // chunk_line_len counts the line's bytes here
        if (h->chunk_line_len == 0) h->state = TK_HTTP1_COMPLETE;
        h->chunk_line_len = 0;
    } else if (c != '\r' && h->chunk_line_len < sizeof h->chunk_line) {
        h->chunk_line_len++;
    }
}

static size_t feed_chunked(tk_http1 *h, const char *data, size_t len)
{
    if (h->chunk_phase == CHUNK_DATA) {
        size_t n = feed_plain(h, data, len);
        if (h->body_left == 0) h->chunk_phase = CHUNK_END;
        return n;
    }
    if (h->chunk_phase == CHUNK_SIZE)
        chunk_size_byte(h, data[0]);
    else
        chunk_other_byte(h, data[0]);
    return 1;
}

size_t tk_http1_feed(tk_http1 *h, const char *data, size_t len)
{
    size_t at = 0;
    tk_http1_state before = h->state;
    while (at < len && (h->state == TK_HTTP1_HEAD || h->state == TK_HTTP1_BODY)) {
        if (h->state != before && before == TK_HTTP1_HEAD) break; // the caller sees the head first
        if (h->state == TK_HTTP1_HEAD)
            at += feed_head(h, data + at, len - at);
        else if (h->chunked)
            at += feed_chunked(h, data + at, len - at);
        else
            at += feed_plain(h, data + at, len - at);
        if (h->state == TK_HTTP1_BODY && !h->chunked && h->body_left == 0)
            h->state = TK_HTTP1_COMPLETE;
    }
    return at;
}

bool tk_http1_is_idle(const tk_http1 *h)
{
    return h->state == TK_HTTP1_HEAD && h->head.len == 0;
}
