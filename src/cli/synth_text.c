// SPDX-License-Identifier: MIT
// The tokenizer and the small files of a model of random weights.
#include "cli/synth.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const char tk_synth_merge[] = "t h";
const char tk_synth_template[] =
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}";

// The character that stands for a byte in GPT-2's alphabet: itself when printable, else from U+0100 on.
static char *byte_token(int byte)
{
    int next = 0x100;
    for (int b = 0; b <= byte; b++) {
        bool shown = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        int c = shown ? b : next++;
        if (b < byte) continue;
        if (c < 0x80) return tk_asprintf("%c", c);
        return tk_asprintf("%c%c", 0xC0 | c >> 6, 0x80 | (c & 63));
    }
    return NULL;
}

static void put_control(tk_synth_vocab *v, int32_t id, const char *kind)
{
    if (id < 0 || (size_t)id >= v->n || v->tokens[id]) return;
    v->tokens[id] = tk_asprintf("<|%s-%d|>", kind, (int)id);
    v->kinds[id] = 3;
}

tk_status tk_synth_vocab_make(const tk_config *cfg, tk_synth_vocab *v, tk_err *err)
{
    enum { LEAST = 256 + 1 + 17 }; // bytes, the merge's token, bos and at most 16 ends
    *v = (tk_synth_vocab){0};
    if (cfg->n_vocab < LEAST)
        return tk_fail(err, TK_UNSUPPORTED,
                       "a vocabulary of %d is too small for a byte-level tokenizer (%d at least)",
                       cfg->n_vocab, LEAST);
    v->n = (size_t)cfg->n_vocab;
    v->tokens = tk_alloc(v->n * sizeof *v->tokens);
    v->kinds = tk_alloc(v->n * sizeof *v->kinds);
    put_control(v, cfg->bos, "begin");
    for (int i = 0; i < cfg->n_eos; i++) put_control(v, cfg->eos[i], "end");
    int n_byte = 0;
    bool merged = false;
    for (size_t i = 0; i < v->n; i++) {
        if (v->tokens[i]) continue;
        v->kinds[i] = 1;
        if (n_byte < 256) {
            v->tokens[i] = byte_token(n_byte++);
        } else if (!merged) {
            v->tokens[i] = tk_strdup("th");
            merged = true;
        } else {
            v->tokens[i] = tk_asprintf("\xC4\xA0w%zu", i); // U+0120 is the space
        }
    }
    return TK_OK;
}

void tk_synth_vocab_free(tk_synth_vocab *v)
{
    for (size_t i = 0; i < v->n; i++) tk_free(v->tokens[i]);
    tk_free(v->tokens);
    tk_free(v->kinds);
    *v = (tk_synth_vocab){0};
}

static tk_status save(const char *dir, const char *name, json_t *j, tk_err *err)
{
    char *path = tk_file_join(dir, name);
    tk_status st = TK_OK;
    if (j == NULL || json_dump_file(j, path, JSON_INDENT(1)) != 0)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    tk_free(path);
    json_decref(j);
    return st;
}

static json_t *tokenizer_json(const tk_synth_vocab *v)
{
    json_t *vocab = json_object(), *added = json_array();
    for (size_t i = 0; i < v->n; i++) {
        json_object_set_new(vocab, v->tokens[i], json_integer((json_int_t)i));
        if (v->kinds[i] != 3) continue;
        json_array_append_new(added,
                              json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)i,
                                        "content", v->tokens[i], "single_word", 0, "lstrip", 0,
                                        "rstrip", 0, "normalized", 0, "special", 1));
    }
    const char *byte_level = "ByteLevel";
    return json_pack(
        "{s:s, s:n, s:n, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s, s:b, s:b, s:b}, "
        "s:{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:o, s:[s]}}",
        "version", "1.0", "truncation", "padding", "added_tokens", added, "normalizer",
        "pre_tokenizer", "type", byte_level, "add_prefix_space", 0, "trim_offsets", 1, "use_regex",
        1, "post_processor", "decoder", "type", byte_level, "add_prefix_space", 1, "trim_offsets",
        1, "use_regex", 1, "model", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
        "vocab", vocab, "merges", tk_synth_merge);
}

static json_t *tokenizer_config(const tk_config *cfg, const tk_synth_vocab *v)
{
    json_t *j = json_pack("{s:s, s:b, s:b, s:s, s:i}", "tokenizer_class", "PreTrainedTokenizerFast",
                          "add_bos_token", 0, "clean_up_tokenization_spaces", 0, "chat_template",
                          tk_synth_template, "model_max_length", cfg->max_ctx);
    if (cfg->bos >= 0 && (size_t)cfg->bos < v->n)
        json_object_set_new(j, "bos_token", json_string(v->tokens[cfg->bos]));
    if (cfg->n_eos > 0 && (size_t)cfg->eos[0] < v->n)
        json_object_set_new(j, "eos_token", json_string(v->tokens[cfg->eos[0]]));
    return j;
}

static json_t *quantization_config(const char *dtype)
{
    if (strcmp(dtype, "FP8") == 0)
        return json_pack("{s:s, s:s, s:s, s:[i,i]}", "activation_scheme", "dynamic", "fmt", "e4m3",
                         "quant_method", "fp8", "weight_block_size", 128, 128);
    bool nv = strcmp(dtype, "NVFP4") == 0, int4 = strcmp(dtype, "INT4") == 0;
    if (!nv && !int4 && strcmp(dtype, "MXFP4") != 0) return NULL;
    const char *format = nv     ? "nvfp4-pack-quantized"
                         : int4 ? "pack-quantized"
                                : "mxfp4-pack-quantized";
    return json_pack(
        "{s:s, s:s, s:s, s:[s,s,s,s], s:n, s:{s:{s:[s], s:s, s:{s:i, s:s, s:b, s:b, s:i, s:s}, "
        "s:n}}}",
        "quant_method", "compressed-tensors", "format", format, "quantization_status", "compressed",
        "ignore", "lm_head", "re:.*kv_b_proj", "re:.*mlp.gate", "re:.*eh_proj", "kv_cache_scheme",
        "config_groups", "group_0", "targets", "Linear", "format", format, "weights", "num_bits", 4,
        "type", int4 ? "int" : "float", "symmetric", 1, "dynamic", 0, "group_size", nv ? 16 : 32,
        "strategy", nv ? "tensor_group" : "group", "input_activations");
}

tk_status tk_synth_write_folder(const tk_config *cfg, const json_t *config, const char *dtype,
                                const char *dir, tk_err *err)
{
    tk_synth_vocab v = {0};
    json_t *j = json_deep_copy(config), *q = quantization_config(dtype);
    tk_status st;
    json_object_del(j, "quantization_config");
    json_object_set_new(j, "torch_dtype",
                        json_string(strcmp(dtype, "F32") == 0   ? "float32"
                                    : strcmp(dtype, "F16") == 0 ? "float16"
                                                                : "bfloat16"));
    if (q) json_object_set_new(j, "quantization_config", q);
    st = save(dir, "config.json", j, err);
    if (st == TK_OK) st = tk_synth_vocab_make(cfg, &v, err);
    if (st == TK_OK) st = save(dir, "tokenizer.json", tokenizer_json(&v), err);
    if (st == TK_OK) st = save(dir, "tokenizer_config.json", tokenizer_config(cfg, &v), err);
    tk_synth_vocab_free(&v);
    return st;
}
