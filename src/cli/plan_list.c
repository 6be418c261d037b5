// SPDX-License-Identifier: MIT
// `tokamak plan list`: what is in the catalogues.
#include "cli/plan.h"

#include <stdio.h>

tk_status tk_plan_list(const tk_plan_call *c, tk_err *err)
{
    (void)err;
    printf("%-18s %-34s %6s %6s %6s %7s %7s %7s %6s\n", "system", "", "BF16", "FP8", "FP4", "GB",
           "TB/s", "GB/s", "W");
    for (int i = 0; i < tk_catalog_hw_count(c->catalog); i++) {
        const tk_hw *h = tk_catalog_hw_at(c->catalog, i);
        printf("%-18s %-34.34s %6.0f %6.0f %6.0f %7.0f %7.2f %7.0f %6.0f\n", h->name, h->title,
               h->flops[0] * 1e-12, h->flops[1] * 1e-12, h->flops[2] * 1e-12,
               h->mem_bytes * 1e-9 * h->n_accel, h->mem_bytes_per_s * 1e-12,
               h->link_bytes_per_s * 1e-9, h->is_system ? h->max_power_w : h->tdp_w);
    }
    printf("rates, bandwidth and link (one way) of one accelerator, dense TFLOP/s; GB and W of the "
           "whole entry\n\n");
    printf("%-22s %-34s %6s %9s %9s %12s\n", "model", "", "layers", "total e9", "active e9",
           "KV B/token");
    for (int i = 0; i < tk_catalog_model_count(c->catalog); i++) {
        const tk_model_entry *m = tk_catalog_model_at(c->catalog, i);
        tk_shape_size s;
        tk_shape_measure(&m->shape, &s);
        printf("%-22s %-34.34s %6d %9.1f %9.2f %12.0f\n", m->name, m->title, m->shape.n_layer,
               s.total * 1e-9, s.active * 1e-9, 2 * s.kv_floats);
    }
    printf("KV bytes: 16-bit cache, windows and compression not applied\n");
    return TK_OK;
}
