// SPDX-License-Identifier: MIT
// What the cache holds, without asking the hub.
#ifndef TK_STORE_HUB_OFFLINE_H
#define TK_STORE_HUB_OFFLINE_H

#include "store/hub.h"
#include "store/hub_cache.h"

// HF_HUB_OFFLINE says 1, on, yes or true.
bool tk_hub_is_offline(void);
// tk_hub_pull when it does: fills *out, or TK_NOMEM naming what is missing. Complete means: every chosen file
// of the commit's listing when there is one (hub_cache.h), else no dangling link and every shard of the index.
tk_status tk_hub_pull_offline(const tk_hub_pull_opts *o, const tk_hub_repo *r, const char *rev,
                              tk_hub_pulled *out, tk_err *err);

#endif
