// SPDX-License-Identifier: MIT
#include "kernels/kernels.h"

#include "hw/cpu.h"

#include <stdlib.h>
#include <string.h>

const char *tk_isa_name(tk_isa isa)
{
    static const char *const names[TK_ISA_COUNT] = {"ref", "avx2", "avx512", "amx"};
    return names[isa];
}

tk_status tk_kernels_allowed(tk_isa *highest, tk_err *err)
{
    *highest = TK_ISA_COUNT - 1;
    const char *env = getenv("TOKAMAK_CPU");
    if (env == NULL || *env == 0) return TK_OK;
    for (int i = 0; i < TK_ISA_COUNT; i++) {
        if (strcmp(env, tk_isa_name((tk_isa)i)) != 0) continue;
        *highest = (tk_isa)i;
        return TK_OK;
    }
    return tk_fail(err, TK_USAGE, "TOKAMAK_CPU is \"%s\", choose one of: ref avx2 avx512 amx", env);
}

void tk_kernels_fill(tk_kernels *k, tk_isa highest)
{
    const tk_cpu *cpu = tk_cpu_get();
    memset(k, 0, sizeof *k);
    tk_kernels_fill_ref(k);
    k->isa = TK_ISA_REF;
    if (highest < TK_ISA_AVX2 || !cpu->avx2) return;
    tk_kernels_fill_avx2(k);
    k->isa = TK_ISA_AVX2;
    if (highest < TK_ISA_AVX512 || !cpu->avx512) return;
    tk_kernels_fill_avx512(k);
    k->isa = TK_ISA_AVX512;
    if (cpu->avx512_bf16) {
        tk_kernels_fill_gemm_bf16(k);
        tk_kernels_fill_attend_bf16(k);
    }
    if (highest < TK_ISA_AMX || !cpu->amx_bf16) return;
    tk_kernels_fill_amx(k);
    tk_kernels_fill_attend_amx(k);
    k->isa = TK_ISA_AMX;
}

const tk_way *tk_way_for(const tk_kernels *k, tk_pack form, int n_tok)
{
    const tk_way *best = NULL;
    for (int i = 0; i < TK_WAYS && k->wide[form][i].gemm; i++)
        if (n_tok >= k->wide[form][i].from) best = &k->wide[form][i];
    return best;
}

void tk_way_add(tk_kernels *k, tk_pack form, tk_way way)
{
    int i = 0;
    while (i < TK_WAYS - 1 && k->wide[form][i].gemm) i++;
    k->wide[form][i] = way;
}

const char *tk_kv_dtype_name(tk_kv_dtype t)
{
    static const char *const names[TK_KV_DTYPE_COUNT] = {"f32", "bf16", "fp8"};
    return names[t];
}

size_t tk_kv_row_bytes(tk_kv_dtype t, int n)
{
    if (t != TK_KV_FP8) return (size_t)n * (t == TK_KV_F32 ? 4 : 2);
    size_t n_group = ((size_t)n + TK_KV_GROUP - 1) / TK_KV_GROUP;
    return ((size_t)n + n_group * sizeof(float) + 3) / 4 * 4;
}
