// SPDX-License-Identifier: MIT
// What disk.c (files) and disk_index.c (which there are) share.
#ifndef TK_KV_DISK_PRIV_H
#define TK_KV_DISK_PRIV_H

#include "kv/disk.h"

// Which files there are, in order of use. Owner: whoever holds tk_kv_disk's mutex.
typedef struct disk_entry {
    uint64_t identity[2];
    tk_kv_key key;
    uint64_t bytes;
    int32_t prev, next; // by use: newest .. oldest
    int32_t in_bucket;  // next of its hash bucket; of an unused entry: next unused
    int64_t mtime_ns;   // while the list is read
} disk_entry;

typedef struct disk_index {
    disk_entry *e;          // [cap]
    int32_t n, cap, unused; // entries in use; first unused
    int32_t *bucket;        // [cap]
    int32_t newest, oldest;
    uint64_t bytes;
} disk_index;

void disk_index_free(disk_index *x);
int32_t disk_index_find(const disk_index *x, const uint64_t identity[2],
                        tk_kv_key key); // -1 = none
int32_t disk_index_add(disk_index *x, const uint64_t identity[2], tk_kv_key key, uint64_t bytes);
void disk_index_remove(disk_index *x, int32_t i);
void disk_index_use(disk_index *x, int32_t i); // is the newest now

// "IDENTITY-KEY.kv" in hexadecimal.
enum { DISK_NAME_LEN = 68 };
void disk_name(char *out /* [DISK_NAME_LEN + 1] */, const uint64_t identity[2], tk_kv_key key);
// False when it is not such a name.
bool disk_name_parse(const char *name, uint64_t identity[2], tk_kv_key *key);
// Adds every file of the folder, the longest unused oldest; removes what writes that died have left.
tk_status disk_index_scan(disk_index *x, int dir_fd, const char *dir, tk_err *err);

#endif
