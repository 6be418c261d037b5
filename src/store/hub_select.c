// SPDX-License-Identifier: MIT
#include "store/hub_select.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What the engine or a person reads.
static const char *const read_names[] = {"*.json",   "*.safetensors", "*.model",   "*.tiktoken",
                                         "*.jinja",  "*.txt",         "*.md",      "LICENSE*",
                                         "LICENCE*", "NOTICE*",       "*/LICENSE*"};
// Weights in other formats: beside safetensors or GGUF they are the same once more.
static const char *const other_weights[] = {"*.bin", "*.pt",   "*.pth",     "*.ckpt",
                                            "*.h5",  "*.onnx", "*.msgpack", "*.tflite"};
// Folders in which repositories keep the model again, for another program.
static const char *const other_folders[] = {"original/*", "metal/*",  "onnx/*",
                                            "openvino/*", "coreml/*", "*.mlpackage/*"};

static bool match_any(const char *const *globs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (fnmatch(globs[i], name, FNM_NOESCAPE) == 0) return true;
    return false;
}

static bool match_given(const char *const *globs, int n, const char *name)
{
    for (int i = 0; i < n; i++) {
        size_t len = strlen(globs[i]);
        bool dir = len > 0 && globs[i][len - 1] == '/';
        if (dir ? strncmp(name, globs[i], len) == 0 : match_any(&globs[i], 1, name)) return true;
    }
    return false;
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcmp(s + n - m, end) == 0;
}

size_t tk_hub_gguf_stem(const char *name, int *part)
{
    const char *base = strrchr(name, '/');
    base = base ? base + 1 : name;
    *part = 1;
    // mmproj: the projection of a vision model, no model of its own
    if (!ends_with(name, ".gguf") || strncmp(base, "mmproj", 6) == 0) return 0;
    size_t len = strlen(name) - 5;
    static const char split[] = "-ddddd-of-ddddd";
    size_t n = sizeof split - 1;
    if (len <= n) return len;
    for (size_t i = 0; i < n; i++) {
        char c = name[len - n + i];
        if (split[i] == 'd' ? !isdigit((unsigned char)c) : c != split[i]) return len;
    }
    *part = (int)strtol(name + len - n + 1, NULL, 10);
    return len - n;
}

typedef struct quant {
    const char *name; // of its first file, stem bytes of it
    size_t stem;
    uint64_t bytes;
    int n_file;
} quant;

// The GGUF models among the files that no pattern excludes; a split one counts once. New memory.
static quant *find_quants(const tk_hub_listing *l, const tk_hub_globs *g, size_t *n)
{
    quant *q = tk_alloc((l->n + 1) * sizeof *q);
    *n = 0;
    for (size_t i = 0; i < l->n; i++) {
        const tk_hub_file *f = &l->files[i];
        int part;
        size_t stem = tk_hub_gguf_stem(f->name, &part);
        if (stem == 0 || match_given(g->exclude, g->n_exclude, f->name)) continue;
        quant *last = *n > 0 ? &q[*n - 1] : NULL; // files are sorted: parts stand together
        if (last == NULL || last->stem != stem || memcmp(last->name, f->name, stem) != 0)
            q[(*n)++] = (quant){.name = f->name, .stem = stem};
        q[*n - 1].bytes += f->size;
        q[*n - 1].n_file++;
    }
    return q;
}

size_t tk_hub_count_gguf(const tk_hub_listing *l, const char **first)
{
    size_t n;
    quant *q = find_quants(l, &(tk_hub_globs){0}, &n);
    *first = n > 0 ? q[0].name : NULL;
    tk_free(q);
    return n;
}

static char *list_quants(const quant *q, size_t n)
{
    tk_buf b = tk_buf_make(1 << 20);
    for (size_t i = 0; i < n; i++) {
        char size[TK_HUB_SIZE_TEXT] = "?"; // the listing need not say
        if (q[i].bytes > 0) tk_hub_size_text(q[i].bytes, size);
        tk_buf_addf(&b, "%12s  %.*s", size, (int)q[i].stem, q[i].name);
        if (q[i].n_file > 1) tk_buf_addf(&b, " (%d parts)", q[i].n_file);
        tk_buf_add_char(&b, '\n');
    }
    return tk_buf_take(&b);
}

// What tells a quantisation from the others, for an example: what stands behind the last dash, dot or slash.
static const char *quant_mark(const quant *q, int *len)
{
    size_t at = q->stem;
    while (at > 0 && !strchr("-./", q->name[at - 1])) at--;
    *len = (int)(q->stem - at);
    return q->name + at;
}

static tk_status choose_gguf(tk_hub_listing *l, const tk_hub_globs *g, char **choices, tk_err *err)
{
    size_t n;
    quant *q = find_quants(l, g, &n);
    tk_status st = TK_OK;
    int len = 0;
    if (n > 1) {
        *choices = list_quants(q, n);
        const char *mark = quant_mark(&q[n / 2], &len);
        st = tk_fail(err, TK_USAGE,
                     "there are %zu GGUF models; choose with --include, as in: "
                     "--include '*%.*s*'",
                     n, len, mark);
    }
    for (size_t i = 0; i < l->n && st == TK_OK && n == 1; i++) {
        const char *name = l->files[i].name;
        if (strncmp(name, q->name, q->stem) == 0 && tk_hub_gguf_stem(name, &len) == q->stem)
            l->files[i].is_wanted = true;
    }
    tk_free(q);
    return st;
}

static tk_status select_default(tk_hub_listing *l, const tk_hub_globs *g, char **choices,
                                tk_err *err)
{
    size_t n_gguf = 0;
    const char *other = NULL, *safetensors = NULL;
    for (size_t i = 0; i < l->n; i++) {
        tk_hub_file *f = &l->files[i];
        int part;
        bool usual = !match_any(other_folders, TK_COUNT(other_folders), f->name);
        f->is_wanted = usual && match_any(read_names, TK_COUNT(read_names), f->name);
        if (f->is_wanted && ends_with(f->name, ".safetensors")) safetensors = f->name;
        n_gguf += tk_hub_gguf_stem(f->name, &part) > 0;
        if (match_any(other_weights, TK_COUNT(other_weights), f->name)) other = f->name;
    }
    if (safetensors) return TK_OK;
    if (n_gguf > 0) return choose_gguf(l, g, choices, err);
    if (other)
        return tk_fail(err, TK_UNSUPPORTED,
                       "the weights are neither in safetensors nor in GGUF files (there is "
                       "\"%.200s\"); --include '*' fetches them all the same",
                       other);
    return TK_OK;
}

tk_status tk_hub_select(tk_hub_listing *l, const tk_hub_globs *g, char **choices, tk_err *err)
{
    tk_status st = TK_OK;
    size_t n = 0;
    *choices = NULL;
    for (size_t i = 0; i < l->n; i++)
        l->files[i].is_wanted = match_given(g->include, g->n_include, l->files[i].name);
    if (g->n_include == 0) st = select_default(l, g, choices, err);
    for (size_t i = 0; i < l->n && st == TK_OK; i++) {
        tk_hub_file *f = &l->files[i];
        f->is_wanted = f->is_wanted && !match_given(g->exclude, g->n_exclude, f->name);
        n += f->is_wanted;
    }
    if (st == TK_OK && n == 0)
        st = tk_fail(err, g->n_include + g->n_exclude > 0 ? TK_USAGE : TK_BAD_INPUT,
                     "none of the %zu files is chosen%s", l->n,
                     g->n_include > 0 ? "; --include takes patterns such as '*.json'" : "");
    return st;
}
