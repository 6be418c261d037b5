// SPDX-License-Identifier: MIT
// Rotary frequencies. Sources: transformers' modeling_rope_utils; YaRN (Peng et al. 2023); Llama 3.1's
// piecewise scaling. Float32 where transformers uses it, so that angles agree to the last bits.
#include "model/config.h"

#include <math.h>

static double yarn_mscale(double factor, double mscale)
{
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

// The dimension whose wavelength makes `rotations` turns within the original context.
static double yarn_dim(double rotations, const tk_rope *r)
{
    return r->n_dim * log(r->orig_ctx / (rotations * 2 * M_PI)) / (2 * log(r->theta));
}

static void yarn(const tk_rope *r, float *inv_freq)
{
    double low = yarn_dim(r->beta_fast, r), high = yarn_dim(r->beta_slow, r);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, r->n_dim - 1);
    if (low == high) high += 0.001; // as the paper's code: no division by zero
    for (int i = 0; i < r->n_dim / 2; i++) {
        double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        float keep = (float)(1 - ramp); // 1 = short wavelength, left as it is
        inv_freq[i] = inv_freq[i] / (float)r->factor * (1 - keep) + inv_freq[i] * keep;
    }
}

static void llama3(const tk_rope *r, float *inv_freq)
{
    double low_wavelen = r->orig_ctx / r->low_freq_factor;
    double high_wavelen = r->orig_ctx / r->high_freq_factor;
    for (int i = 0; i < r->n_dim / 2; i++) {
        double wavelen = 2 * M_PI / inv_freq[i];
        if (wavelen < high_wavelen) continue;
        if (wavelen > low_wavelen) {
            inv_freq[i] = (float)(inv_freq[i] / r->factor);
            continue;
        }
        double smooth = (r->orig_ctx / wavelen - r->low_freq_factor) /
                        (r->high_freq_factor - r->low_freq_factor);
        inv_freq[i] = (float)((1 - smooth) * inv_freq[i] / r->factor + smooth * inv_freq[i]);
    }
}

void tk_rope_frequencies(const tk_rope *r, float *inv_freq, float *attn_factor)
{
    for (int i = 0; i < r->n_dim / 2; i++)
        inv_freq[i] = 1.0f / powf((float)r->theta, (float)(2 * i) / (float)r->n_dim);
    *attn_factor = 1;
    switch (r->kind) {
    case TK_ROPE_DEFAULT: break;
    case TK_ROPE_LINEAR:
        for (int i = 0; i < r->n_dim / 2; i++) inv_freq[i] /= (float)r->factor;
        break;
    case TK_ROPE_LLAMA3: llama3(r, inv_freq); break;
    case TK_ROPE_YARN:
        yarn(r, inv_freq);
        if (r->attn_factor > 0)
            *attn_factor = (float)r->attn_factor;
        else if (r->mscale > 0 && r->mscale_all_dim > 0)
            *attn_factor = (float)(yarn_mscale(r->factor, r->mscale) /
                                   yarn_mscale(r->factor, r->mscale_all_dim));
        else
            *attn_factor = (float)yarn_mscale(r->factor, 1);
        break;
    }
}
