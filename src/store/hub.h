// SPDX-License-Identifier: MIT
// `tokamak pull`: a snapshot of a Hugging Face repository fetched into the hub's cache (hub_cache.h), file by
// file by its sum, several at once, going on where an earlier pull ended. docs/pull.md. One thread: the
// caller's; several processes may pull the same.
#ifndef TK_STORE_HUB_H
#define TK_STORE_HUB_H

#include "base/status.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_hub_progress {
    size_t n_file, n_file_done;
    size_t n_wait;  // files that wait: for another process, or before they are asked for again
    size_t n_check; // files whose first bytes, fetched earlier, are being read
    uint64_t bytes, bytes_done; // of all files; done: on disk
    uint64_t bytes_downloaded;  // by this pull
} tk_hub_progress;

// Called several times a second while files are fetched.
typedef void (*tk_hub_progress_fn)(void *ctx, const tk_hub_progress *p);

typedef struct tk_hub_pull_opts {
    const char *model;                           // ORG/NAME[@REV]
    const char *const *include, *const *exclude; // patterns (hub_select.h)
    int n_include, n_exclude;
    int jobs;    // files at once, 1..TK_LIMIT_HUB_JOBS
    int retries; // of a file or question without any progress in between, 0..
    bool force;  // fetch also what is there
    const atomic_int
        *stop; // when it becomes nonzero: TK_INTERRUPTED, what is there stays; may be NULL
    tk_hub_progress_fn progress; // may be NULL
    void *progress_ctx;
} tk_hub_pull_opts;

typedef struct tk_hub_pulled {
    char *path; // of the snapshot; new memory
    char commit[41];
    size_t n_file;
    uint64_t bytes, bytes_downloaded;
    char *choices; // new memory or NULL: on TK_USAGE, what there is to choose from
} tk_hub_pulled;

// HF_HUB_OFFLINE=1: no network; TK_NOMEM (a resource is missing) naming what the cache lacks.
// TK_FAILED: the network, after retries. TK_BAD_INPUT: hub's answer, wrong sum, no access. TK_NOMEM: the disk.
tk_status tk_hub_pull(const tk_hub_pull_opts *o, tk_hub_pulled *out, tk_err *err);
void tk_hub_pulled_free(tk_hub_pulled *p);

// The path of a pulled ORG/NAME[@REV]: its snapshot folder, or, when that holds GGUF models and no config.json,
// its one .gguf file. New memory. TK_USAGE when it is no such name; TK_IO when it was not pulled.
tk_status tk_hub_find(const char *model, char **path, tk_err *err);

#endif
