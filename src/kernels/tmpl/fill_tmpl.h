// SPDX-License-Identifier: MIT
// Puts a level's kernels into the table.
#include "kernels/kernels.h"

void TK_TMPL_FILL(tk_kernels *k)
{
    static const struct {
        tk_dtype type;
        tk_decode_fn fn;
    } decoders[] = {
        {TK_DTYPE_F32, TK_TMPL(f32)},       {TK_DTYPE_F16, TK_TMPL(f16)},
        {TK_DTYPE_BF16, TK_TMPL(bf16)},     {TK_DTYPE_F8_E4M3, TK_TMPL(e4m3)},
        {TK_DTYPE_F4_E2M1, TK_TMPL(fp4)},   {TK_DTYPE_I4, TK_TMPL(i4)},
        {TK_DTYPE_I8, TK_TMPL(i8)},         {TK_DTYPE_Q4_0, TK_TMPL(q4_0)},
        {TK_DTYPE_Q4_1, TK_TMPL(q4_1)},     {TK_DTYPE_Q5_0, TK_TMPL(q5_0)},
        {TK_DTYPE_Q5_1, TK_TMPL(q5_1)},     {TK_DTYPE_Q8_0, TK_TMPL(q8_0)},
        {TK_DTYPE_Q4_K, TK_TMPL(q4_k)},     {TK_DTYPE_Q5_K, TK_TMPL(q5_k)},
        {TK_DTYPE_Q6_K, TK_TMPL(q6_k)},     {TK_DTYPE_IQ4_NL, TK_TMPL(iq4_nl)},
        {TK_DTYPE_IQ4_XS, TK_TMPL(iq4_xs)}, {TK_DTYPE_MXFP4, TK_TMPL(mxfp4)},
    };
    for (size_t i = 0; i < TK_COUNT(decoders); i++) k->decode[decoders[i].type] = decoders[i].fn;
    k->mm = TK_TMPL(mm);
    k->rmsnorm = TK_TMPL(rmsnorm);
    k->rope = TK_TMPL(rope);
    k->swiglu = TK_TMPL(swiglu);
    k->axpy = TK_TMPL(axpy);
    k->exp_sum = TK_TMPL(exp_sum);
    k->kv_scores[TK_KV_F32] = TK_TMPL(kv_scores_f32);
    k->kv_scores[TK_KV_BF16] = TK_TMPL(kv_scores_bf16);
    k->kv_scores[TK_KV_FP8] = TK_TMPL(kv_scores_fp8);
    k->kv_mix[TK_KV_F32] = TK_TMPL(kv_mix_f32);
    k->kv_mix[TK_KV_BF16] = TK_TMPL(kv_mix_bf16);
    k->kv_mix[TK_KV_FP8] = TK_TMPL(kv_mix_fp8);
    k->softmax = TK_TMPL(softmax);
    k->quantise = TK_TMPL(quantise);
    k->gemm[TK_PACK_Q8] = TK_TMPL(gemm_q8);
    k->gemm[TK_PACK_Q4] = TK_TMPL(gemm_q4);
    k->gemm[TK_PACK_Q4M] = TK_TMPL(gemm_q4m);
    k->gemm[TK_PACK_Q4K] = TK_TMPL(gemm_q4k);
    k->gemm[TK_PACK_Q6K] = TK_TMPL(gemm_q6k);
    k->gemm[TK_PACK_MX4] = TK_TMPL(gemm_mx4);
    k->gemm[TK_PACK_NV4] = TK_TMPL(gemm_nv4);
    k->gemm[TK_PACK_BF16] = TK_TMPL(gemm_bf16);
    k->gemm[TK_PACK_FP8] = TK_TMPL(gemm_fp8);
    k->kv_store[TK_KV_BF16] = TK_TMPL(kv_store_bf16);
#if defined(__AVX512F__)
    k->splits = true;
    k->quantise8 = TK_TMPL(quantise8);
    static const struct {
        tk_pack form;
        tk_gemm_fn fn;
    } bytes[] = {
        {TK_PACK_Q8, TK_TMPL(gemm8_q8)},   {TK_PACK_Q4, TK_TMPL(gemm8_q4)},
        {TK_PACK_Q4M, TK_TMPL(gemm8_q4m)}, {TK_PACK_Q4K, TK_TMPL(gemm8_q4k)},
        {TK_PACK_Q6K, TK_TMPL(gemm8_q6k)}, {TK_PACK_MX4, TK_TMPL(gemm8_mx4)},
        {TK_PACK_NV4, TK_TMPL(gemm8_nv4)},
    };
    for (size_t i = 0; i < TK_COUNT(bytes); i++)
        tk_way_add(k, bytes[i].form, (tk_way){bytes[i].fn, TK_WIDE_INT8, TK_TMPL(WIDE_FROM)});
#endif
}
