// SPDX-License-Identifier: MIT
#include "base/limits.h"
#include "server/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

// Feeds text in pieces of `piece` bytes until something is decided.
static void feed(tk_http1 *h, const char *text, size_t len, size_t piece)
{
    for (size_t at = 0; at < len && h->state != TK_HTTP1_COMPLETE && h->state != TK_HTTP1_FAILED;) {
        size_t n = piece < len - at ? piece : len - at;
        size_t taken = tk_http1_feed(h, text + at, n);
        assert_true(taken > 0 && taken <= n);
        at += taken;
    }
}

static void check_status(const char *text, int status)
{
    for (size_t piece = 1; piece <= 64; piece *= 4) {
        tk_http1 h;
        tk_http1_init(&h, 1000);
        feed(&h, text, strlen(text), piece);
        if (status && (h.state != TK_HTTP1_FAILED || h.status != status))
            fail_msg("%.60s: state %d, status %d, not %d", text, h.state, h.status, status);
        if (status == 0 && h.state != TK_HTTP1_COMPLETE)
            fail_msg("%.60s: %d %s", text, h.state, h.reason ? h.reason : "");
        tk_http1_free(&h);
    }
}

static void requests_are_read_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "\r\nPOST /v1/a%2Fb?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n"
                               "X-A:  b c \t\r\nconnection: Close\r\n\r\nhelloGET";
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        tk_http1 h;
        tk_http1_init(&h, 1000);
        feed(&h, text, sizeof text - 1, piece);
        assert_int_equal(h.state, TK_HTTP1_COMPLETE);
        assert_string_equal(h.method, "POST");
        assert_string_equal(h.path, "/v1/a/b");
        assert_string_equal(h.query, "x=1");
        assert_string_equal(tk_http1_find(&h, "x-a"), "b c");
        assert_string_equal(tk_buf_str(&h.body), "hello");
        assert_false(h.keep_alive);
        tk_http1_free(&h);
    }
}

static void chunks_are_put_together(void **state)
{
    (void)state;
    static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n10;x=y\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n";
    for (size_t piece = 1; piece <= sizeof text; piece++) {
        tk_http1 h;
        tk_http1_init(&h, 1000);
        feed(&h, text, sizeof text - 1, piece);
        assert_int_equal(h.state, TK_HTTP1_COMPLETE);
        assert_string_equal(tk_buf_str(&h.body), "abc0123456789abcdef");
        assert_true(h.keep_alive);
        tk_http1_free(&h);
    }
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    check_status("GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0);
    check_status("GET / HTTP/1.0\r\n\r\n", 0);
    check_status("\x16\x03\x01", 400);
    check_status("{\"a\": 1}\r\n", 400);
    check_status("GET /\r\n", 400);
    check_status("GET / HTTP/1.1\nHost: h\n\n", 400);
    check_status("GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400);
    check_status("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400);
    check_status("GET / HTTP/1.1\r\nNoColon\r\n\r\n", 400);
    check_status("GET / HTTP/1.1\r\n\r\n", 400);
    check_status("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    check_status("GET http://x/ HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    check_status("GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    check_status("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400);
    check_status("GET / HTTP/2.0\r\n", 505);
    check_status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                 400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 400);
    check_status(
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc", 400);
    check_status("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3ea\r\n", 413);
    check_status(
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        413);
}

static void floods_meet_their_bounds(void **state)
{
    (void)state;
    char *text = calloc(1, 200000);
    size_t n = (size_t)snprintf(text, 200000, "GET /");
    memset(text + n, 'a', 100000);
    check_status(text, 414);
    n = (size_t)snprintf(text, 200000, "GET / HTTP/1.1\r\nX: ");
    memset(text + n, 'a', 100000);
    check_status(text, 431);
    memset(text, 0, 200000);
    n = (size_t)snprintf(text, 200000, "GET / HTTP/1.1\r\n");
    for (int i = 0; i <= TK_LIMIT_HTTP_HEADERS; i++)
        n += (size_t)snprintf(text + n, 200000 - n, "X-%d: y\r\n", i);
    check_status(text, 431);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_read_however_they_are_cut),
        cmocka_unit_test(chunks_are_put_together),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(floods_meet_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
