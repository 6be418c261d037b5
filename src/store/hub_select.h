// SPDX-License-Identifier: MIT
// Which files of a repository are fetched: by the patterns a person gives, else those the engine or a person
// needs. Any thread.
#ifndef TK_STORE_HUB_SELECT_H
#define TK_STORE_HUB_SELECT_H

#include "store/hub_listing.h"

typedef struct tk_hub_globs {
    const char *const *include,
        *const *exclude; // Python's fnmatch: * matches '/' too; "dir/" means "dir/*"
    int n_include, n_exclude;
} tk_hub_globs;

// Sets is_wanted of every file. With include patterns: what matches one of them; without: the default choice.
// What matches an exclude pattern is never wanted.
// TK_USAGE when there is a choice only a person can make, several quantisations in GGUF files: *choices (new
// memory, else NULL) lists them with their sizes, a line each. TK_UNSUPPORTED when the weights are only there in
// formats that are not read; TK_USAGE when nothing is left.
tk_status tk_hub_select(tk_hub_listing *l, const tk_hub_globs *g, char **choices, tk_err *err);

// The GGUF models in l, a split one counted once: their number; *first is the file to open of the first one.
size_t tk_hub_count_gguf(const tk_hub_listing *l, const char **first);

// The length of a GGUF file's name without "-00001-of-00003" and ".gguf", so that the parts of a split one have
// it in common; *part its number (1 when not split). 0 when it is no GGUF file of weights.
size_t tk_hub_gguf_stem(const char *name, int *part);

#endif
