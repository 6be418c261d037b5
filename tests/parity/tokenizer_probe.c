// SPDX-License-Identifier: MIT
// tokenizer_probe MODEL: what tokenizers_parity.py asks. Records on stdin, a kind byte, a length (4 bytes, little
// endian) and that many bytes: 'T' a text (any bytes), 'I' ids of 4 bytes. For each one line of JSON: the ids (of
// a text with its begin and end tokens, without, and with special tokens as plain text), and the ids' text with
// and without special tokens, as hexadecimal. Checks by itself that token-by-token decoding gives the same text,
// cut between characters only, and stops with exit code 1 where it does not.
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/model_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *what, size_t n_record)
{
    fprintf(stderr, "tokenizer_probe: record %zu: %s\n", n_record, what);
    exit(1);
}

static void print_ids(const char *name, const int32_t *ids, size_t n)
{
    printf("\"%s\":[", name);
    for (size_t i = 0; i < n; i++) printf(i ? ",%d" : "%d", ids[i]);
    printf("],");
}

static void print_text(const tk_tokenizer *t, const char *name, const int32_t *ids, size_t n,
                       bool skip, size_t n_record)
{
    tk_buf raw = tk_buf_make(1u << 28), shown = tk_buf_make(1u << 28),
           pieces = tk_buf_make(1u << 28);
    tk_detok *d = tk_detok_new(t, skip);
    size_t len;
    const char *s;
    tk_err err = TK_ERR_INIT;
    if (tk_tokenizer_decode(t, ids, n, skip, &raw, &err) != TK_OK) die(err.msg, n_record);
    tk_text_append_valid(&shown, tk_buf_str(&raw), raw.len);
    for (size_t i = 0; i <= n; i++) {
        s = i < n ? tk_detok_push(d, ids[i], &len) : tk_detok_flush(d, &len);
        if (!tk_utf8_valid(s, len)) die("a piece ends within a character", n_record);
        tk_buf_add(&pieces, s, len);
    }
    if (pieces.len != shown.len || memcmp(tk_buf_str(&pieces), tk_buf_str(&shown), shown.len) != 0)
        die("token by token gives another text", n_record);
    printf("\"%s\":\"", name);
    for (size_t i = 0; i < shown.len; i++) printf("%02x", (unsigned char)shown.data[i]);
    printf("\"");
    tk_detok_free(d);
    tk_buf_free(&raw);
    tk_buf_free(&shown);
    tk_buf_free(&pieces);
}

static void probe_text(const tk_tokenizer *t, const char *s, size_t len, size_t n_record)
{
    static const struct {
        const char *name;
        tk_encode_opts opts;
    } ways[] = {{"plain", {.bos = TK_BOS_NO, .no_special = true}},
                {"bare", {.bos = TK_BOS_NO}},
                {"ids", {0}}};
    int32_t *ids = NULL;
    size_t n = 0;
    tk_err err = TK_ERR_INIT;
    printf("{");
    for (size_t i = 0; i < TK_COUNT(ways); i++) {
        tk_free(ids);
        if (tk_tokenizer_encode(t, s, len, ways[i].opts, &ids, &n, &err) != TK_OK)
            die(err.msg, n_record);
        print_ids(ways[i].name, ids, n);
    }
    print_text(t, "text", ids, n, false, n_record);
    printf(",");
    print_text(t, "skip", ids, n, true, n_record);
    printf("}\n");
    tk_free(ids);
}

static void probe_ids(const tk_tokenizer *t, const char *s, size_t len, size_t n_record)
{
    int32_t *ids = tk_alloc(len);
    memcpy(ids, s, len / sizeof *ids * sizeof *ids);
    printf("{");
    print_text(t, "text", ids, len / sizeof *ids, false, n_record);
    printf(",");
    print_text(t, "skip", ids, len / sizeof *ids, true, n_record);
    printf("}\n");
    tk_free(ids);
}

int main(int argc, char **argv)
{
    tk_tokenizer *t = NULL;
    tk_err err = TK_ERR_INIT;
    if (argc != 2) die("usage: tokenizer_probe MODEL < RECORDS", 0);
    if (tk_model_tokenizer(argv[1], &t, &err) != TK_OK) die(err.msg, 0);
    unsigned char head[5];
    for (size_t i = 0; fread(head, 1, 5, stdin) == 5; i++) {
        size_t len = head[1] | (size_t)head[2] << 8 | (size_t)head[3] << 16 | (size_t)head[4] << 24;
        char *s = tk_try_alloc(len + 1, 1);
        if (s == NULL || fread(s, 1, len, stdin) != len) die("cut short", i);
        (head[0] == 'T' ? probe_text : probe_ids)(t, s, len, i);
        tk_free(s);
    }
    tk_tokenizer_free(t);
    return 0;
}
