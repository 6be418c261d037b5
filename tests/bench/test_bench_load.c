// SPDX-License-Identifier: MIT
#include "base/compiler.h"
#include "base/rng.h"
#include "bench/load.h"
#include "bench/sse.h"
#include "bench/stats.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

typedef struct seen {
    char text[512]; // events, each ended with '|'
    size_t len;
} seen;

static void note(void *ctx, const char *data, size_t len)
{
    seen *s = ctx;
    assert_true(strlen(data) == len && s->len + len + 2 < sizeof s->text);
    memcpy(s->text + s->len, data, len);
    s->len += len;
    s->text[s->len++] = '|';
    s->text[s->len] = 0;
}

static const struct {
    const char *bytes, *events;
} streams[] = {
    {"data: one\n\ndata:two\n\n", "one|two|"},
    {"data: one\r\n\r\ndata: two\r\n\r\n", "one|two|"},
    {"data: one\r\rdata: two\r\r", "one|two|"},
    {": ping\n\nevent: x\nid: 7\nretry: 9\ndata: a\ndata: b\ndata:\ndata:  c\n\n", "a\nb\n\n c|"},
    {"data: unfinished\n", ""},
    {"\n\n\ndata\n\ndatax: no\n\ndata: \n\n", "|"},
    {"data: {\"a\":\"b: c\"}\n\ndata: [DONE]\n\n", "{\"a\":\"b: c\"}|[DONE]|"},
};

static void events_are_the_same_however_the_bytes_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < TK_COUNT(streams); i++)
        for (size_t piece = 1; piece <= strlen(streams[i].bytes); piece++) {
            tk_sse sse = tk_sse_make(1024);
            seen s = {0};
            const char *p = streams[i].bytes;
            for (size_t left = strlen(p); left > 0;) {
                size_t n = TK_MIN(piece, left);
                assert_true(tk_sse_feed(&sse, p, n, note, &s));
                p += n;
                left -= n;
            }
            assert_string_equal(s.text, streams[i].events);
            tk_sse_free(&sse);
        }
}

static void an_event_that_is_too_long_ends_the_stream(void **state)
{
    (void)state;
    tk_sse sse = tk_sse_make(64);
    seen s = {0};
    char line[40] = "data: ";
    memset(line + 6, 'x', 30);
    line[36] = '\n';
    assert_true(tk_sse_feed(&sse, line, 37, note, &s));
    assert_true(tk_sse_feed(&sse, line, 37, note, &s));
    assert_false(tk_sse_feed(&sse, line, 37, note, &s));
    tk_sse_reset(&sse);
    assert_true(tk_sse_feed(&sse, "data: y\n\n", 9, note, &s));
    assert_string_equal(s.text, "y|");
    tk_sse_free(&sse);
}

enum { N = 4000 };

// Mean and deviation of the gaps over their mean: 1 / sqrt(burstiness) for a gamma process.
static double spread(double burstiness, uint64_t seed)
{
    static double at[N];
    tk_load_arrivals(8, burstiness, seed, N, at);
    assert_true(fabs(at[N - 1] - N / 8.0) < 1e-9);
    for (int i = N - 1; i > 0; i--) {
        assert_true(at[i] >= at[i - 1]);
        at[i] -= at[i - 1];
    }
    assert_true(fabs(tk_stats_mean(at, N) - 1 / 8.0) < 1e-9);
    return tk_stats_std(at, N) * 8;
}

static void arrivals_have_the_rate_and_the_burstiness_asked_for(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        assert_true(fabs(spread(1, seed) - 1) < 0.1); // Poisson
        assert_true(fabs(spread(0.25, seed) - 2) < 0.3);
        assert_true(fabs(spread(16, seed) - 0.25) < 0.03);
        assert_true(spread(INFINITY, seed) < 1e-9);
    }
}

static void an_infinite_rate_sends_all_at_once(void **state)
{
    (void)state;
    double at[3] = {1, 1, 1};
    tk_load_arrivals(INFINITY, 1, 0, 3, at);
    assert_true(at[0] == 0 && at[1] == 0 && at[2] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_however_the_bytes_are_cut),
        cmocka_unit_test(an_event_that_is_too_long_ends_the_stream),
        cmocka_unit_test(arrivals_have_the_rate_and_the_burstiness_asked_for),
        cmocka_unit_test(an_infinite_rate_sends_all_at_once),
    };
    return cmocka_run_group_tests_name("bench load", tests, NULL, NULL);
}
