// SPDX-License-Identifier: MIT
// The disk tier's two directions. Blocks that become known are written behind; an admitted job whose prefix
// goes on in files waits while they are read. A thread of its own does the reading, writing and compressing,
// over a few buffers; the engine thread only copies blocks to and from them and never waits.
//
//     engine thread                      tier thread
//     store: kv_read -> buffer  --job--> compress, write, sync, rename
//     load:  ask                --job--> read, check, decompress
//            kv_write <- buffer <--message
#ifndef TK_ENGINE_SERVICE_TIER_H
#define TK_ENGINE_SERVICE_TIER_H

#include "engine/service_priv.h"
#include "kv/disk.h"

// s->tier stays NULL when the options name no folder.
tk_status svc_tier_start(tk_service *s, tk_err *err);
// Waits for what the thread has in hand. NULL tier is fine, here and below.
void svc_tier_stop(tk_service *s);
// After admission: asks for the files that continue j's sequence. j->is_loading tells.
void svc_tier_load(tk_service *s, svc_job *j);
// Hands known blocks that no file has to the thread, as far as there are buffers: of running jobs, then of those
// that ended.
void svc_tier_store(tk_service *s);
// Before an ending job gives its blocks back: keeps what it has still to store.
void svc_tier_keep(tk_service *s, svc_job *j);
// A buffer came back.
void svc_tier_take(tk_service *s, int32_t i_buf);
// Nothing is under way or waits to be stored.
bool svc_tier_is_idle(const tk_service *s);
uint64_t svc_tier_buffer_bytes(const tk_service *s);
void svc_tier_fill_stats(tk_service *s);

#endif
