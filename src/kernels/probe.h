// SPDX-License-Identifier: MIT
// The inner loops of the roof probes (kernels/roof.h), one set of slots per instruction set as in
// kernels/kernels.h. A slot that stays NULL means: this machine cannot do that. Any thread.
#ifndef TK_KERNELS_PROBE_H
#define TK_KERNELS_PROBE_H

#include <stddef.h>
#include <stdint.h>

// Reads n_stream runs of stream_bytes (a multiple of 256) that lie one after the other from base, a piece of
// each in turn, prefetching ahead_bytes ahead (0 = not at all). Returns a mix of what was read.
#define TK_FN_PROBE_READ(name)                                                                     \
    uint64_t name(const char *base, size_t stream_bytes, int n_stream, int ahead_bytes)

// Runs n_round rounds on TK_PROBE_DATA_BYTES of data (64-byte aligned, not zero: tiles of zeros run faster).
// Returns the operations done, a multiply and an add counting as two.
#define TK_FN_PROBE_RATE(name) double name(int64_t n_round, const void *data)

enum {
    TK_PROBE_A_BYTES = 16 << 10,  // stays in L1
    TK_PROBE_B_BYTES = 512 << 10, // stays in L2
    TK_PROBE_DATA_BYTES = TK_PROBE_A_BYTES + TK_PROBE_B_BYTES,
};

typedef TK_FN_PROBE_READ((*tk_probe_read_fn));
typedef TK_FN_PROBE_RATE((*tk_probe_rate_fn));

typedef struct tk_probe {
    tk_probe_read_fn read;
    tk_probe_rate_fn fma_f32;  // registers only
    tk_probe_rate_fn dot_i8;   // registers only: VNNI, else maddubs
    tk_probe_rate_fn dot_bf16; // registers only: vdpbf16ps
    tk_probe_rate_fn amx_i8;   // 2x2 tiles, A from L1, B from L2
    tk_probe_rate_fn amx_bf16; // the same
} tk_probe;

// Everything the machine can do: TOKAMAK_CPU does not lower a roof.
void tk_probe_fill(tk_probe *p);

void tk_probe_fill_ref(tk_probe *p);
void tk_probe_fill_avx2(tk_probe *p);
void tk_probe_fill_avx512(tk_probe *p);
void tk_probe_fill_bf16(tk_probe *p);
void tk_probe_fill_amx(tk_probe *p);

#endif
