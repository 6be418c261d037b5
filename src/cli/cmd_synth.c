// SPDX-License-Identifier: MIT
// Random weights of any known shape, so that a benchmark's figures can be had again without a download.
#include "cli/cmd.h"
#include "cli/sampling.h"
#include "cli/synth.h"

#include "base/file.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pool.h"
#include "engine/locate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct options {
    tk_cmd_common common;
    const char *dtype, *out;
    int64_t seed, layers, threads;
} options;

static const tk_opt table[] = {
    {.name = "dtype",
     .type = TK_OPT_CHOICE,
     .arg = "D",
     .choices = "F32 F16 BF16 FP8 NVFP4 MXFP4 INT4 Q4_0 Q4_1 Q5_0 Q8_0 Q4_K Q6_K",
     .offset = offsetof(options, dtype),
     .help =
         "Type of the weights (default BF16). A folder takes F32 F16 BF16 FP8 NVFP4 MXFP4 INT4, a "
         ".gguf file all but FP8, NVFP4 and INT4."},
    {.name = "out",
     .aliases = "o",
     .type = TK_OPT_STR,
     .arg = "PATH",
     .offset = offsetof(options, out),
     .help = "The folder or .gguf file to make; it must not be there yet."},
    {.name = "seed",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 0,
     .max = 9007199254740992.0,
     .offset = offsetof(options, seed),
     .help = "Same seed, same bytes, whatever the threads (default 0)."},
    {.name = "layers",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 1,
     .max = TK_LIMIT_LAYERS - 8,
     .offset = offsetof(options, layers),
     .help = "Number of layers instead of the config's."},
    {.name = "threads",
     .aliases = "t",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 1,
     .max = TK_LIMIT_THREADS,
     .offset = offsetof(options, threads),
     .help = "Threads (default: all processors)."},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_synth = {
    .name = "synth",
    .synopsis = "synth CONFIG --dtype D -o DIR|FILE.gguf [--seed N] [--layers N]",
    .summary = "write a model of random weights, for benchmarks and tests",
    .details =
        "CONFIG is a config.json, a folder with one, or a shape that comes with the program:\n"
        "tinyllama-1.1b smollm2-135m llama-3.1-8b qwen2.5-7b qwen3-8b qwen3-30b-a3b\n"
        "deepseek-v2-lite deepseek-v3 r1-moe-layer. The tokenizer is byte-level, of the same\n"
        "vocabulary size. What the values are: docs/synth.md.",
    .opts = table,
    .run = run,
};

static bool is_gguf_name(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0;
}

static tk_status read_config(const char *shape, const options *o, json_t **json, tk_config *cfg,
                             tk_err *err)
{
    char *path = NULL;
    tk_status st;
    TK_TRY(tk_locate_config(shape, &path, err));
    TK_TRY(tk_json_load(path, json, err));
    if (!json_is_object(*json)) {
        st = tk_fail(err, TK_BAD_INPUT, "%s: not a JSON object", path);
        goto done;
    }
    if (o->layers > 0)
        json_object_set_new(*json, "num_hidden_layers", json_integer((json_int_t)o->layers));
    TK_TRY(tk_config_read_json(*json, NULL, path, cfg, err));
    cfg->is_gguf = is_gguf_name(o->out);
done:
    tk_free(path);
    return st;
}

static tk_status write_file(const char *path, const tk_buf *header, uint64_t bytes,
                            const tk_synth_plan *p, const options *o, tk_err *err)
{
    tk_out_file *f = NULL;
    int n = o->threads > 0 ? (int)o->threads : tk_pool_cpu_count();
    tk_status st = tk_out_open(path, header, bytes, &f, err);
    if (st != TK_OK) return st;
    st = tk_synth_write(p, f, (uint64_t)o->seed, n, o->common.quiet, err);
    tk_status closed = tk_out_close(f, st == TK_OK, err);
    return st == TK_OK ? closed : st;
}

static tk_status write_gguf(const tk_config *cfg, tk_synth_plan *p, const options *o, tk_err *err)
{
    tk_gguf_meta m = tk_gguf_meta_make();
    tk_buf header = tk_buf_make((size_t)1 << 30);
    uint64_t bytes;
    char name[128];
    tk_status st;
    snprintf(name, sizeof name, "random %s of %d layers, seed %lld", cfg->arch, cfg->n_layer,
             (long long)o->seed);
    TK_TRY(tk_synth_metadata(cfg, name, o->dtype, &m, err));
    TK_TRY(tk_out_place(p->tensors, p->n, TK_GGUF_ALIGNMENT, &bytes, err));
    TK_TRY(tk_gguf_header(&m, p->tensors, p->n, &header, err));
    st = write_file(o->out, &header, bytes, p, o, err);
done:
    tk_buf_free(&header);
    tk_gguf_meta_free(&m);
    return st;
}

static void remove_folder(const char *dir)
{
    static const char *const names[] = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                        "model.safetensors"};
    for (size_t i = 0; i < TK_COUNT(names); i++) {
        char *path = tk_file_join(dir, names[i]);
        unlink(path);
        tk_free(path);
    }
    rmdir(dir);
}

// All in DIR.incomplete, which gets its name at the end.
static tk_status write_folder(const tk_config *cfg, const json_t *json, tk_synth_plan *p,
                              const options *o, tk_err *err)
{
    tk_buf header = tk_buf_make(TK_LIMIT_SAFETENSORS_HEADER_BYTES);
    char *temp = NULL, *weights = NULL;
    uint64_t bytes;
    bool made = false;
    tk_status st;
    size_t len = strlen(o->out);
    while (len > 1 && o->out[len - 1] == '/') len--;
    temp = tk_asprintf("%.*s.incomplete", (int)len, o->out);
    weights = tk_file_join(temp, "model.safetensors");
    TK_TRY(tk_out_place(p->tensors, p->n, 1, &bytes, err));
    TK_TRY(tk_out_header_safetensors(p->tensors, p->n, &header, err));
    if (mkdir(temp, 0777) != 0 && errno != EEXIST) {
        st = tk_fail(err, TK_IO, "cannot make \"%s\": %s", temp, strerror(errno));
        goto done;
    }
    made = true;
    TK_TRY(tk_synth_write_folder(cfg, json, o->dtype, temp, err));
    TK_TRY(write_file(weights, &header, bytes, p, o, err));
    if (rename(temp, o->out) != 0)
        st = tk_fail(err, TK_IO, "cannot name \"%s\": %s", o->out, strerror(errno));
done:
    if (made && st != TK_OK) remove_folder(temp);
    tk_buf_free(&header);
    tk_free(weights);
    tk_free(temp);
    return st;
}

static tk_status check_options(options *o, tk_err *err)
{
    if (o->dtype == NULL) o->dtype = "BF16";
    if (o->out == NULL || *o->out == 0)
        return tk_fail(err, TK_USAGE, "-o PATH is missing\nusage: tokamak %s",
                       tk_cmd_synth.synopsis);
    bool gguf = is_gguf_name(o->out), folder_only = strcmp(o->dtype, "FP8") == 0 ||
                                                    strcmp(o->dtype, "NVFP4") == 0 ||
                                                    strcmp(o->dtype, "INT4") == 0;
    if (gguf && folder_only)
        return tk_fail(err, TK_USAGE, "a .gguf file cannot hold %s; give a folder", o->dtype);
    if (!gguf && o->dtype[0] == 'Q')
        return tk_fail(err, TK_USAGE, "%s is a type of GGUF files; let -o end with .gguf",
                       o->dtype);
    if (tk_file_is_there(o->out)) return tk_fail(err, TK_IO, "\"%s\" is there already", o->out);
    return TK_OK;
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {0};
    const char *shape;
    json_t *json = NULL;
    tk_config *cfg = tk_alloc(sizeof *cfg);
    tk_synth_plan plan = {0};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_synth, argc, argv, &o, &shape, 1, 1, NULL, err));
    TK_TRY(check_options(&o, err));
    TK_TRY(read_config(shape, &o, &json, cfg, err));
    TK_TRY(tk_synth_plan_make(cfg, o.dtype, (uint64_t)o.seed, &plan, err));
    tk_catch_interrupt();
    st = cfg->is_gguf ? write_gguf(cfg, &plan, &o, err) : write_folder(cfg, json, &plan, &o, err);
    if (st == TK_OK && !o.common.quiet)
        fprintf(stderr, "%s: %zu tensors, %.3f G parameters\n", o.out, plan.n,
                (double)plan.n_param * 1e-9);
done:
    tk_synth_plan_free(&plan);
    json_decref(json);
    tk_free(cfg);
    return st;
}
