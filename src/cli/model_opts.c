// SPDX-License-Identifier: MIT
#include "cli/model_opts.h"

#include <string.h>

int tk_model_opts_kv(const char *name)
{
    if (name == NULL || strcmp(name, "auto") == 0) return -1;
    if (strcmp(name, "f32") == 0) return TK_KV_F32;
    return *name == 'b' ? TK_KV_BF16 : TK_KV_FP8;
}

tk_status tk_model_opts_apply(const tk_model_opts *o, tk_engine_opts *out, tk_err *err)
{
    *out = tk_engine_opts_default();
    if (o->no_repack && o->repack_cache)
        return tk_fail(err, TK_USAGE, "--repack-cache keeps packed weights, --no-repack has none");
    out->n_thread = (int)o->threads;
    out->n_ctx = (int32_t)o->ctx;
    out->mla_expand_from = o->deterministic ? -1 : 0;
    out->exact = o->deterministic;
    out->reference = o->compute && strcmp(o->compute, "ref") == 0;
    out->repack = o->repack || o->repack_cache;
    out->repack_cache = o->repack_cache;
    out->kv_dtype = tk_model_opts_kv(o->kv_dtype);
    return tk_kernels_allowed(&out->isa, err);
}
