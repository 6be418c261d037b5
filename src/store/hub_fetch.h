// SPDX-License-Identifier: MIT
// Fetches blobs, several at once, in one thread through curl's multi interface. A blob's state:
//
//     begin -> locked by another -> wait -> begin
//       |
//       +-> hash what is there -> ask for the rest -> all there -> sum right -> named
//                                   ^      |             |
//                                   |      v             v sum wrong, first time
//                                   +--- wait <----------+        (second time: the end)
//                                        (dropped, stalled, 429, 5xx; bounded while nothing comes)
//
// Invariants (tests/hub): bytes of SUM.incomplete are hashed in order, each once, so that the sum is that of the
// file; a blob appears under its name only after its sum was right and its bytes are on disk; whatever ends the
// fetch, what came stays in SUM.incomplete unless it is known to be wrong.
#ifndef TK_STORE_HUB_FETCH_H
#define TK_STORE_HUB_FETCH_H

#include "store/hub.h"
#include "store/hub_cache.h"
#include "store/hub_http.h"

typedef struct tk_hub_fetch_opts {
    const tk_hub_http *http;
    const tk_hub_repo *repo;
    const char *commit;
    const tk_hub_pull_opts *pull;
} tk_hub_fetch_opts;

// files: each with size and sum, no sum twice. p holds n_file, bytes and what of both is done already; it is
// kept up to date. The first failure ends all.
tk_status tk_hub_fetch(const tk_hub_fetch_opts *o, const tk_hub_file *const *files, size_t n,
                       tk_hub_progress *p, tk_err *err);

#endif
