// SPDX-License-Identifier: MIT
// A Hugging Face snapshot folder: config.json and its friends, one safetensors file or an index of shards.
#include "store/ckpt_priv.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static tk_status load_optional(const tk_ckpt *c, const char *name, json_t **out, tk_err *err)
{
    char *path = tk_file_join(c->path, name);
    tk_status st = tk_file_is_there(path) ? tk_json_load(path, out, err) : TK_OK;
    if (st == TK_OK && *out && !json_is_object(*out))
        st = tk_fail(err, TK_BAD_INPUT, "%s: not a JSON object", path);
    tk_free(path);
    return st;
}

// quantization_config of config.json; ModelOpt keeps its own in hf_quant_config.json.
static tk_status load_quant_config(tk_ckpt *c, tk_err *err)
{
    json_t *q = c->config ? tk_json_get(c->config, "quantization_config") : NULL;
    if (q) {
        c->quant_config = json_incref(q);
        return TK_OK;
    }
    json_t *file = NULL;
    tk_status st = load_optional(c, "hf_quant_config.json", &file, err);
    if (file) c->quant_config = json_incref(tk_json_get(file, "quantization"));
    json_decref(file);
    return st;
}

static tk_status read_shard(tk_ckpt *c, const char *name, tk_err *err)
{
    char *path = tk_file_join(c->path, name);
    tk_status st = safetensors_read(c, path, err);
    tk_free(path);
    return st;
}

// Every tensor the index names must be in the shard it names.
static tk_status check_index(const tk_ckpt *c, const json_t *weight_map, const char *index,
                             tk_err *err)
{
    const char *tensor;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, v)
    {
        const tk_tensor *t = tk_ckpt_find(c, tensor);
        const char *shard = json_string_value(v), *file = t ? strrchr(t->file, '/') : NULL;
        if (t == NULL)
            return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is not in \"%s\"", index, tensor,
                           shard);
        if (file && strcmp(file + 1, shard) != 0 && strchr(shard, '/') == NULL)
            return tk_fail(err, TK_BAD_INPUT, "%s: tensor \"%s\" is in \"%s\", not in \"%s\"",
                           index, tensor, file + 1, shard);
    }
    return TK_OK;
}

static tk_status read_indexed(tk_ckpt *c, const char *index, tk_err *err)
{
    json_t *j = NULL;
    tk_map *seen = tk_map_new(64);
    tk_status st;
    TK_TRY(tk_json_load(index, &j, err));
    json_t *map = tk_json_get(j, "weight_map"), *v;
    if (!json_is_object(map)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: there is no \"weight_map\"", index);
        goto done;
    }
    const char *tensor;
    json_object_foreach(map, tensor, v)
    {
        const char *shard = json_string_value(v);
        if (shard == NULL || !tk_file_name_is_inside(shard)) {
            st =
                tk_fail(err, TK_BAD_INPUT,
                        "%s: tensor \"%s\" names the shard \"%s\", which is no file of this folder",
                        index, tensor, shard ? shard : "?");
            goto done;
        }
        if (tk_map_add(seen, shard, strlen(shard), 0)) TK_TRY(read_shard(c, shard, err));
    }
    TK_TRY(check_index(c, map, index, err));
done:
    tk_map_free(seen);
    json_decref(j);
    return st;
}

// Without the usual names there are no weights, which is fine for a tokenizer folder; but weights under other
// names should be named, not overlooked.
static tk_status look_for_other_weights(const tk_ckpt *c, tk_err *err)
{
    DIR *d = opendir(c->path);
    if (d == NULL) return tk_fail(err, TK_IO, "cannot list \"%s\": %s", c->path, strerror(errno));
    tk_status st = TK_OK;
    for (const struct dirent *e; st == TK_OK && (e = readdir(d)) != NULL;) {
        if (ckpt_ends_with(e->d_name, ".safetensors"))
            st = tk_fail(err, TK_BAD_INPUT,
                         "%s: holds \"%s\", but neither model.safetensors nor "
                         "model.safetensors.index.json",
                         c->path, e->d_name);
        else if (strncmp(e->d_name, "pytorch_model", 13) == 0)
            st = tk_fail(err, TK_UNSUPPORTED,
                         "%s: holds \"%s\"; weights are read from safetensors or GGUF only",
                         c->path, e->d_name);
    }
    closedir(d);
    return st;
}

tk_status snapshot_read(tk_ckpt *c, tk_err *err)
{
    char *index = tk_file_join(c->path, "model.safetensors.index.json");
    char *single = tk_file_join(c->path, "model.safetensors");
    tk_status st;
    TK_TRY(load_optional(c, "config.json", &c->config, err));
    TK_TRY(load_optional(c, "generation_config.json", &c->generation_config, err));
    TK_TRY(load_quant_config(c, err));
    // anything by these names counts: a pipe or a dangling link is an error when it is opened
    if (tk_file_is_there(index))
        TK_TRY(read_indexed(c, index, err));
    else if (tk_file_is_there(single))
        TK_TRY(safetensors_read(c, single, err));
    else
        TK_TRY(look_for_other_weights(c, err));
done:
    tk_free(index);
    tk_free(single);
    return st;
}
