// SPDX-License-Identifier: MIT
// The hub's cache folder, laid out as huggingface_hub lays it, so that either finds what the other fetched:
//
//     CACHE/CACHEDIR.TAG
//     CACHE/.locks/models--ORG--NAME/SUM.lock          flock: one process fetches a blob
//     CACHE/models--ORG--NAME/blobs/SUM                content, named by its sum (hub_sum.h)
//                            /blobs/SUM.incomplete     the first bytes of it
//                            /refs/REV                 the commit a revision meant when it was last pulled
//                            /snapshots/COMMIT/FILE -> ../../blobs/SUM
//                            /trees/COMMIT.json        what the commit holds, when all of it was fetched
//                            /trees/COMMIT.tokamak.json  the same, when a part was (huggingface_hub takes
//                                                      its own for a promise that everything is there)
//
// Names given here were checked (hub_listing.h, tk_hub_is_rev). Below the repository's folder no symbolic link
// is followed on the way to a file that is written. Any thread.
#ifndef TK_STORE_HUB_CACHE_H
#define TK_STORE_HUB_CACHE_H

#include "base/status.h"
#include "store/hub_listing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// $HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface; new memory.
char *tk_hub_home(void);
// $HF_HUB_CACHE, else $HUGGINGFACE_HUB_CACHE, else hub below tk_hub_home; new memory.
char *tk_hub_cache(void);

// ORG/NAME as the hub allows it.
bool tk_hub_is_name(const char *s, size_t len);
// A branch, tag or commit that may be a file name below refs/.
bool tk_hub_is_rev(const char *s);
// What ORG/NAME[@REV] says; TK_USAGE when it is none. Both in new memory; the revision is "main" by default.
tk_status tk_hub_split(const char *model, char **name, char **rev, tk_err *err);

typedef struct tk_hub_repo {
    char *name;  // ORG/NAME
    char *cache; // absolute once made
    char *dir;   // CACHE/models--ORG--NAME
} tk_hub_repo;

tk_hub_repo tk_hub_repo_at(const char *name); // in tk_hub_cache; makes nothing
void tk_hub_repo_free(tk_hub_repo *r);
// Makes the folders. TK_IO.
tk_status tk_hub_repo_make(tk_hub_repo *r, tk_err *err);

// All in new memory.
char *tk_hub_blob_path(const tk_hub_repo *r, const char *sum);
char *tk_hub_snapshot_path(const tk_hub_repo *r, const char *commit);
// A file of that size is there (a link to one counts).
bool tk_hub_has_blob(const tk_hub_repo *r, const char *sum, uint64_t size);
bool tk_hub_has_file(const tk_hub_repo *r, const char *commit, const tk_hub_file *f);
// Bytes of the partial blob, 0 when there is none.
uint64_t tk_hub_partial_bytes(const tk_hub_repo *r, const char *sum);

// The commit rev means: what refs/ says, else rev itself. New memory; safe as a file name.
char *tk_hub_read_ref(const tk_hub_repo *r, const char *rev);
tk_status tk_hub_write_ref(const tk_hub_repo *r, const char *rev, const char *commit, tk_err *err);
// snapshots/COMMIT/NAME -> the blob. Replaces a file or link of that name.
tk_status tk_hub_link(const tk_hub_repo *r, const char *commit, const tk_hub_file *f, tk_err *err);
// The listing of a commit: kept best-effort, and read back (false when there is none that is sound).
void tk_hub_write_tree(const tk_hub_repo *r, const tk_hub_listing *l, bool is_all);
bool tk_hub_read_tree(const tk_hub_repo *r, const char *commit, tk_hub_listing *out);

// Takes the lock of a blob without waiting: *fd to be closed, or -1 when another process has it. On a file
// system without locks everybody gets it.
tk_status tk_hub_lock(const tk_hub_repo *r, const char *sum, int *fd, tk_err *err);

#endif
