// SPDX-License-Identifier: MIT
// What a hub answers: the head of an answer, else a listing, the API's or the cache's. What is taken must be safe to
// use as paths, and come back the same when it is kept in the cache.
#include "base/file.h"
#include "base/mem.h"
#include "store/hub_http.h"
#include "store/hub_select.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static void feed_head(const char *p, size_t len)
{
    tk_hub_reply r = {0};
    for (const char *end = p + len, *next; p < end; p = next) {
        const char *line_end = memchr(p, '\n', (size_t)(end - p));
        next = line_end ? line_end + 1 : end;
        tk_hub_reply_line(&r, p, (size_t)(next - p));
        assert(r.length >= -1 && r.range_begin >= -1 && r.range_total >= -1 &&
               r.retry_after_s >= 0);
        assert(strlen(r.etag) < sizeof r.etag && strlen(r.error_message) < sizeof r.error_message);
    }
}

static void check(const tk_hub_listing *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const tk_hub_file *f = &l->files[i];
        size_t n = strlen(f->sum);
        assert(tk_file_name_is_inside(f->name) && f->name[strcspn(f->name, "\r\n\x1b\x7f")] == 0);
        assert((n == 0 || n == 40 || n == 64) && tk_hub_is_hex(f->sum, n));
        assert(i == 0 || strcmp(l->files[i - 1].name, f->name) < 0);
    }
}

static void keep(const tk_hub_listing *l)
{
    char *text = tk_hub_listing_tree_text(l);
    tk_hub_listing back = {0};
    if (text) {
        tk_status st = tk_hub_listing_parse_tree(text, strlen(text), "fuzz", &back, NULL);
        assert(st == TK_OK && back.n == l->n);
        for (size_t i = 0; i < l->n; i++)
            assert(strcmp(back.files[i].name, l->files[i].name) == 0 &&
                   strcmp(back.files[i].sum, l->files[i].sum) == 0 &&
                   back.files[i].size == l->files[i].size);
    }
    tk_hub_listing_free(&back);
    tk_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const globs[] = {"*Q4*", "a/", "[!x]*.json"};
    const char *text = (const char *)data;
    if (size > 5 && memcmp(text, "HTTP/", 5) == 0) {
        feed_head(text, size);
        return 0;
    }
    for (int tree = 0; tree < 2; tree++) {
        tk_hub_listing l = {0};
        tk_status st = tree ? tk_hub_listing_parse_tree(text, size, "fuzz", &l, NULL)
                            : tk_hub_listing_parse(text, size, "fuzz", &l, NULL);
        for (int n = 0; st == TK_OK && n <= 3; n++) {
            char *choices = NULL;
            const tk_hub_globs g = {globs, globs + 1, n == 3 ? 0 : n, n == 3 ? 2 : 0};
            check(&l);
            tk_hub_select(&l, &g, &choices, NULL);
            tk_free(choices);
        }
        if (st == TK_OK) keep(&l);
        tk_hub_listing_free(&l);
    }
    return 0;
}
