// SPDX-License-Identifier: MIT
// The disk tier: whole blocks as files, so that a prefix outlives the memory it was computed in, and the
// process. A file is named by the identity of the cache (weights, shape, form: tk_exec_kv_identity) and the
// block's key, and holds every token from the sequence's first to the block's last, compared on a hit, and
// the block's bytes, compressed (zstd).
//
//     head   80 bytes: magic, identity, key, sizes, hash of the body, hash of the head (XXH3-64)
//     body   ids [n_ids] int32, then one zstd frame of block_bytes
//
// Nothing on disk is trusted: sizes, hashes, identity, tokens are checked; what does not hold is a miss, is
// counted and deleted. A file gets its name when it is complete (written beside, synced, renamed), so a
// process that dies leaves none half done. Files together stay under max_bytes; the longest unused go first,
// across restarts too (mtime). The first write that fails, a full disk say, ends writing with a line in
// the log; reading goes on. One process at a time (a lock file).
//
// Invariants, guarded by tests/unit/test_kv_disk.c:
//  1. get returns true only for the bytes that put was given under the same key and tokens.
//  2. The sum of file sizes never exceeds max_bytes.
//  3. No content of the folder makes a call crash or read outside its buffers.
#ifndef TK_KV_DISK_H
#define TK_KV_DISK_H

#include "base/status.h"
#include "kv/prefix.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct tk_kv_disk tk_kv_disk;

typedef struct tk_kv_disk_opts {
    const char *dir; // made if missing
    uint64_t max_bytes;
    uint64_t identity[2];
    size_t block_bytes;
} tk_kv_disk_opts;

typedef struct tk_kv_disk_stats {
    uint64_t n_file, bytes; // other identities' files included
    uint64_t hits, written, evicted;
    uint64_t corrupt; // refused: damaged, cut short, foreign
    bool is_off;      // no longer writes
} tk_kv_disk_stats;

// Reads the folder's list. TK_IO: it cannot be used, or another process uses it.
tk_status tk_kv_disk_open(const tk_kv_disk_opts *o, tk_kv_disk **out, tk_err *err);
void tk_kv_disk_close(tk_kv_disk *d); // NULL is fine

// Any thread: is there a file that a get would try?
bool tk_kv_disk_has(const tk_kv_disk *d, tk_kv_key key);
// One thread at a time for these two. ids [n_ids]: the sequence up to and with the block. False: it is not
// there, or not usable, and block's contents are undefined.
bool tk_kv_disk_get(tk_kv_disk *d, tk_kv_key key, const int32_t *ids, int32_t n_ids, void *block);
// False when it was not written: off, or larger than max_bytes.
bool tk_kv_disk_put(tk_kv_disk *d, tk_kv_key key, const int32_t *ids, int32_t n_ids,
                    const void *block);
// Any thread.
void tk_kv_disk_get_stats(const tk_kv_disk *d, tk_kv_disk_stats *out);

#endif
