// SPDX-License-Identifier: MIT
// What the readers of store/ share: the open checkpoint they fill.
#ifndef TK_STORE_CKPT_PRIV_H
#define TK_STORE_CKPT_PRIV_H

#include "base/arena.h"
#include "base/file.h"
#include "base/map.h"
#include "store/checkpoint.h"

#include <stdbool.h>

typedef struct ckpt_file {
    char *path; // owned
    tk_file_map map;
} ckpt_file;

typedef struct gguf_kv {
    const char *key;      // in the arena
    uint32_t type;        // GGUF value type
    const uint8_t *value; // in the mapping; arrays: after the element type and count
    uint32_t item_type;   // arrays
    uint64_t n_item;      // arrays
    uint64_t *item_at;    // arrays of strings: offset of each element from value, in the arena
} gguf_kv;

struct tk_ckpt {
    tk_ckpt_kind kind;
    char *path;
    tk_arena *arena; // names, gguf_kv
    ckpt_file *files;
    size_t n_file, cap_file;
    tk_tensor *tensors;
    size_t n_tensor, cap_tensor;
    tk_map *by_name; // name -> index of tensor
    json_t *config, *generation_config, *quant_config;
    gguf_kv *kv; // GGUF, first file's
    size_t n_kv;
    tk_map *kv_by_key;
};

bool ckpt_ends_with(const char *s, const char *end);
// Maps a file and keeps it open with the checkpoint; *map is borrowed.
tk_status ckpt_add_file(tk_ckpt *c, const char *path, const ckpt_file **out, tk_err *err);
// Adds a tensor of `file`, its name copied. Checks: bytes are what type and shape ask for, they lie inside the
// file, the name is new. t->name and t->file are set here.
tk_status ckpt_add_tensor(tk_ckpt *c, const ckpt_file *file, const char *name, size_t name_len,
                          tk_tensor t, uint64_t begin, tk_err *err);

// Where the bytes of one tensor lie in a file's data.
typedef struct ckpt_extent {
    uint64_t begin, end;
    const char *name;
} ckpt_extent;

// Sorts x; TK_BAD_INPUT when two tensors share bytes, or (unless holes_ok) when they leave bytes of
// [0, data_bytes) to nobody. Every end must be within data_bytes already.
tk_status ckpt_check_extents(ckpt_extent *x, size_t n, uint64_t data_bytes, bool holes_ok,
                             const char *path, tk_err *err);

tk_status safetensors_read(tk_ckpt *c, const char *path, tk_err *err);
tk_status snapshot_read(tk_ckpt *c, tk_err *err);
tk_status gguf_read(tk_ckpt *c, tk_err *err);

#endif
