// SPDX-License-Identifier: MIT
// What a repository of the hub holds at one commit: names, sizes and sums. Read from the API's answer or from
// the listing kept in the cache; both are input that may be hostile, so every name, sum and size is checked
// here and may be used as it is afterwards. One owner, one thread.
#ifndef TK_STORE_HUB_LISTING_H
#define TK_STORE_HUB_LISTING_H

#include "base/status.h"
#include "store/hub_sum.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TK_HUB_ID_HEX = 41 }; // room for a commit or another of git's ids

typedef struct tk_hub_file {
    char *name; // relative, stays inside its folder, no control characters
    char sum
        [TK_HUB_SUM_HEX]; // of the content, and the name of its blob; "" when the listing has none
    char
        blob_id[TK_HUB_ID_HEX]; // what git calls it (of an LFS file: the pointer); "" when not said
    uint64_t size;              // bytes, when is_sized
    bool is_sized, is_wanted;
} tk_hub_file;

typedef struct tk_hub_listing {
    char commit[TK_HUB_ID_HEX];
    tk_hub_file *files; // by name, no name twice, none the folder of another
    size_t n;
} tk_hub_listing;

// GET /api/models/NAME/revision/REV?blobs=true. where names the answer in errors. Zero *out beforehand.
tk_status tk_hub_listing_parse(const char *json, size_t len, const char *where, tk_hub_listing *out,
                               tk_err *err);
// huggingface_hub's trees/COMMIT.json ("format_version": 1); the caller knows the commit.
tk_status tk_hub_listing_parse_tree(const char *json, size_t len, const char *where,
                                    tk_hub_listing *out, tk_err *err);
// The same, written: new memory (tk_free), or NULL when a file's size or id is not known.
char *tk_hub_listing_tree_text(const tk_hub_listing *l);
void tk_hub_listing_free(tk_hub_listing *l); // leaves it empty

// n lower-case hex digits and nothing behind them.
bool tk_hub_is_hex(const char *s, size_t n);
// "4.92 GB" (decimal units), in out, for messages.
enum { TK_HUB_SIZE_TEXT = 24 };
const char *tk_hub_size_text(uint64_t bytes, char out[TK_HUB_SIZE_TEXT]);
// Sets f's size; TK_NOMEM when it is absurd.
tk_status tk_hub_file_set_size(tk_hub_file *f, uint64_t size, tk_err *err);

#endif
