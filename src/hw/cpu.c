// SPDX-License-Identifier: MIT
#include "hw/cpu.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static tk_cpu cpu;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
#include <cpuid.h>

// clang 14's <cpuid.h> lacks these (leaf 7, EDX)
#ifndef bit_AMX_BF16
#define bit_AMX_BF16 (1 << 22)
#endif
#ifndef bit_AMX_INT8
#define bit_AMX_INT8 (1 << 25)
#endif

static uint64_t xgetbv(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static void brand(char out[64])
{
    unsigned r[12];
    if (__get_cpuid_max(0x80000000u, NULL) < 0x80000004u) return;
    for (unsigned i = 0; i < 3; i++)
        __get_cpuid(0x80000002u + i, &r[i * 4], &r[i * 4 + 1], &r[i * 4 + 2], &r[i * 4 + 3]);
    memcpy(out, r, sizeof r);
    out[sizeof r] = 0;
}

static void detect(void)
{
    unsigned a, b, c, d;
    brand(cpu.model);
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return;
    bool fma_f16c = (c & bit_FMA) && (c & bit_F16C) && (c & bit_AVX);
    uint64_t saved = xgetbv();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    const uint64_t ymm = 0x6, zmm = 0xE6, tiles = 0x60000;
    cpu.avx2 = fma_f16c && (saved & ymm) == ymm && (b & bit_AVX2) && (b & bit_BMI2);
    cpu.avx512 = cpu.avx2 && (saved & zmm) == zmm && (b & bit_AVX512F) && (b & bit_AVX512BW) &&
                 (b & bit_AVX512DQ) && (b & bit_AVX512VL) && (c & bit_AVX512VNNI) &&
                 (c & bit_AVX512VBMI);
    bool tile_state = (saved & tiles) == tiles;
    cpu.amx_bf16 = cpu.avx512 && tile_state && (d & bit_AMX_BF16);
    cpu.amx_int8 = cpu.avx512 && tile_state && (d & bit_AMX_INT8);
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d))
        cpu.avx512_bf16 = cpu.avx512 && (a & bit_AVX512BF16);
}
#else
static void detect(void)
{
    memcpy(cpu.model, "unknown", 8);
}
#endif

const tk_cpu *tk_cpu_get(void)
{
    pthread_once(&once, detect);
    return &cpu;
}

bool tk_cpu_allow_amx(void)
{
#if defined(__x86_64__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 }; // <asm/prctl.h> of Linux 5.16
    const tk_cpu *c = tk_cpu_get();
    return (c->amx_int8 || c->amx_bf16) &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}
