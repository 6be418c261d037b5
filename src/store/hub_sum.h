// SPDX-License-Identifier: MIT
// The two sums by which the hub names a file's content: SHA-256 for large (LFS) files, and git's blob SHA-1,
// which is SHA-1 over "blob SIZE\0" and the content, for the rest. Fed piece by piece. One owner, one thread.
#ifndef TK_STORE_HUB_SUM_H
#define TK_STORE_HUB_SUM_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

enum { TK_HUB_SUM_HEX = 65 }; // room for either sum in lower-case hex, with its NUL

typedef struct tk_hub_sum tk_hub_sum;

// hex_len is that of the sum to compare with: 64 for SHA-256, 40 for git's. size: the content's whole length.
// TK_FAILED when the machine's libcrypto refuses the algorithm.
tk_status tk_hub_sum_new(size_t hex_len, uint64_t size, tk_hub_sum **out, tk_err *err);
void tk_hub_sum_free(tk_hub_sum *s);                           // NULL is fine
void tk_hub_sum_restart(tk_hub_sum *s);                        // as if nothing had been fed
void tk_hub_sum_add(tk_hub_sum *s, const void *p, size_t len); // the next len bytes
void tk_hub_sum_hex(tk_hub_sum *s,
                    char out[TK_HUB_SUM_HEX]); // ends the sum; restart before the next
const char *tk_hub_sum_name(size_t hex_len);   // "sha256" or "git sha1"

#endif
