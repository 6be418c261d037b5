// SPDX-License-Identifier: MIT
// From logits to a token: temperature, top-k, top-p, min-p, a seeded draw. The order of the filters is that
// of transformers and vLLM: temperature, top-k, top-p, min-p. One owner, one thread per sampler.
#ifndef TK_SAMPLE_SAMPLER_H
#define TK_SAMPLE_SAMPLER_H

#include <stdint.h>

typedef struct tk_sample_opts {
    double temperature; // 0 = greedy; default 0
    double top_p;       // keep the smallest set with at least this mass, (0, 1]; default 1
    double min_p;  // drop tokens below min_p times the best one's probability, [0, 1]; default 0
    int64_t top_k; // keep this many, 0 = all; default 0
    uint64_t seed;
} tk_sample_opts;

tk_sample_opts tk_sample_opts_default(void);

typedef struct tk_sampler tk_sampler;

tk_sampler *tk_sampler_new(const tk_sample_opts *opts, int32_t n_vocab); // never NULL
void tk_sampler_free(tk_sampler *s);                                     // NULL is fine
// Draws from logits [n_vocab], left as they are. *logprob (may be NULL) is the natural logarithm of the
// token's probability under the untempered, unfiltered distribution. The lower id wins a tie of the greedy
// choice. NaN logits count as -infinity.
int32_t tk_sampler_draw(tk_sampler *s, const float *logits, double *logprob);

// ln of the probability of id under softmax(logits).
double tk_sample_logprob(const float *logits, int32_t n_vocab, int32_t id);

#endif
