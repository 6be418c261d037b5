// SPDX-License-Identifier: MIT
#include "engine/model_text.h"

#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/gguf.h"

#include <string.h>

static int32_t token_id(const tk_ckpt *c, const char *key)
{
    int64_t v;
    return tk_gguf_int(c, key, &v) && v >= 0 && v < TK_LIMIT_VOCAB ? (int32_t)v : -1;
}

static int tri_state(const tk_ckpt *c, const char *key)
{
    int64_t v;
    return tk_gguf_int(c, key, &v) ? v != 0 : -1;
}

static char *gguf_text(const tk_ckpt *c, const char *key)
{
    const char *s;
    size_t len;
    return tk_gguf_str(c, key, &s, &len) ? tk_strndup(s, len) : NULL;
}

static tk_str *strings(const tk_ckpt *c, const char *key, size_t n)
{
    tk_str *out = tk_alloc((n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++) tk_gguf_array_str(c, key, i, &out[i].s, &out[i].len);
    for (size_t i = 0; i < n; i++)
        if (out[i].s == NULL) out[i] = (tk_str){"", 0};
    return out;
}

static tk_status from_gguf(const tk_ckpt *c, tk_tokenizer **out, tk_err *err)
{
    const char *tokens_key = "tokenizer.ggml.tokens", *merges_key = "tokenizer.ggml.merges";
    size_t n = tk_gguf_array_len(c, tokens_key), n_merge = tk_gguf_array_len(c, merges_key);
    if (n == 0 || n > TK_LIMIT_VOCAB)
        return tk_fail(err, TK_BAD_INPUT, "%s: there is no tokenizer in this file",
                       tk_ckpt_path(c));
    char *model = gguf_text(c, "tokenizer.ggml.model"), *pre = gguf_text(c, "tokenizer.ggml.pre");
    tk_str *tokens = strings(c, tokens_key, n), *merges = strings(c, merges_key, n_merge);
    bool has_scores = tk_gguf_array_len(c, "tokenizer.ggml.scores") == n;
    bool has_kinds = tk_gguf_array_len(c, "tokenizer.ggml.token_type") == n;
    float *scores = tk_alloc(n * sizeof *scores);
    uint8_t *kinds = tk_alloc(n);
    for (size_t i = 0; i < n; i++) {
        double score = 0;
        int64_t kind = TK_TOKEN_NORMAL;
        if (has_scores) tk_gguf_array_double(c, "tokenizer.ggml.scores", i, &score);
        if (has_kinds) tk_gguf_array_int(c, "tokenizer.ggml.token_type", i, &kind);
        scores[i] = (float)score;
        kinds[i] = kind >= 1 && kind <= 6 ? (uint8_t)kind : TK_TOKEN_NORMAL;
    }
    tk_vocab v = {
        .model = model ? model : "",
        .pre = pre,
        .n_token = (int32_t)n,
        .tokens = tokens,
        .scores = has_scores ? scores : NULL,
        .kinds = has_kinds ? kinds : NULL,
        .merges = merges,
        .n_merge = (int32_t)n_merge,
        .bos = token_id(c, "tokenizer.ggml.bos_token_id"),
        .eos = token_id(c, "tokenizer.ggml.eos_token_id"),
        .eot = token_id(c, "tokenizer.ggml.eot_token_id"),
        .unk = token_id(c, "tokenizer.ggml.unknown_token_id"),
        .pad = token_id(c, "tokenizer.ggml.padding_token_id"),
        .add_bos = tri_state(c, "tokenizer.ggml.add_bos_token"),
        .add_eos = tri_state(c, "tokenizer.ggml.add_eos_token"),
        .add_space_prefix = tri_state(c, "tokenizer.ggml.add_space_prefix"),
    };
    tk_status st = tk_tokenizer_open_vocab(&v, tk_ckpt_path(c), out, err);
    tk_free(model);
    tk_free(pre);
    tk_free(tokens);
    tk_free(merges);
    tk_free(scores);
    tk_free(kinds);
    return st;
}

tk_status tk_ckpt_tokenizer(const tk_ckpt *ckpt, tk_tokenizer **out, tk_err *err)
{
    return tk_ckpt_kind_of(ckpt) == TK_CKPT_GGUF
               ? from_gguf(ckpt, out, err)
               : tk_tokenizer_open_dir(tk_ckpt_path(ckpt), out, err);
}

tk_status tk_model_tokenizer(const char *path, tk_tokenizer **out, tk_err *err)
{
    *out = NULL;
    if (tk_file_is_dir(path)) return tk_tokenizer_open_dir(path, out, err);
    tk_ckpt *c = NULL;
    tk_status st = tk_ckpt_open(path, &c, err);
    if (st == TK_OK) st = tk_ckpt_tokenizer(c, out, err);
    tk_ckpt_close(c);
    return st;
}

// chat_template: a text, or a list of {name, template} (or {name: template}).
static char *named_template(const json_t *v, const char *name)
{
    if (json_is_string(v))
        return strcmp(name, "default") == 0
                   ? tk_strndup(json_string_value(v), json_string_length(v))
                   : NULL;
    if (json_is_object(v)) {
        const char *s = json_string_value(json_object_get(v, name));
        return s ? tk_strdup(s) : NULL;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *key = json_string_value(json_object_get(item, "name"));
        const char *s = json_string_value(json_object_get(item, "template"));
        if (key && s && strcmp(key, name) == 0) return tk_strdup(s);
    }
    return NULL;
}

static tk_status from_folder(const char *dir, bool with_tools, char **out, tk_err *err)
{
    char *file = tk_file_join(dir, "chat_template.jinja"),
         *tools = tk_file_join(dir, "additional_chat_templates/tool_use.jinja");
    char *config = tk_file_join(dir, "tokenizer_config.json");
    json_t *j = NULL;
    tk_status st = TK_OK;
    if (with_tools && tk_file_exists(tools))
        TK_TRY(tk_file_read(tools, TK_LIMIT_TEMPLATE_BYTES, out, NULL, err));
    else if (tk_file_exists(file))
        TK_TRY(tk_file_read(file, TK_LIMIT_TEMPLATE_BYTES, out, NULL, err));
    else if (tk_file_exists(config)) {
        TK_TRY(tk_json_load(config, &j, err));
        const json_t *v = json_object_get(j, "chat_template");
        if (with_tools) *out = named_template(v, "tool_use");
        if (*out == NULL) *out = named_template(v, "default");
    }
done:
    json_decref(j);
    tk_free(file);
    tk_free(tools);
    tk_free(config);
    return st;
}

tk_status tk_ckpt_chat_template(const tk_ckpt *ckpt, bool with_tools, char **out, tk_err *err)
{
    *out = NULL;
    if (tk_ckpt_kind_of(ckpt) == TK_CKPT_HF)
        return from_folder(tk_ckpt_path(ckpt), with_tools, out, err);
    if (with_tools) *out = gguf_text(ckpt, "tokenizer.chat_template.tool_use");
    if (*out == NULL) *out = gguf_text(ckpt, "tokenizer.chat_template");
    return TK_OK;
}

tk_status tk_tokenizer_check_fit(const tk_tokenizer *t, int32_t n_vocab, tk_err *err)
{
    if (tk_tokenizer_n_vocab(t) <= n_vocab) return TK_OK;
    return tk_fail(
        err, TK_BAD_INPUT,
        "the tokenizer has ids up to %d, the model's vocabulary has %d tokens: they do not belong "
        "together",
        tk_tokenizer_n_vocab(t) - 1, n_vocab);
}
