// SPDX-License-Identifier: MIT
// From logits to a token: mask, bias, penalties, temperature, top-k, top-p, min-p, a seeded draw, in that
// order (vLLM's; the filters' order is transformers' too). One owner, one thread per sampler.
#ifndef TK_SAMPLE_SAMPLER_H
#define TK_SAMPLE_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_logit_bias {
    int32_t id;
    float bias; // added to the logit
} tk_logit_bias;

typedef struct tk_sample_opts {
    double temperature; // 0 = greedy; default 0
    double top_p;       // keep the smallest set with at least this mass, (0, 1]; default 1
    double min_p;  // drop tokens below min_p times the best one's probability, [0, 1]; default 0
    int64_t top_k; // keep this many, 0 = all; default 0
    uint64_t seed;
    // of tokens seen in prompt or output: positive logits divided by it, negative multiplied (CTRL, Keskar
    // et al. 2019); > 0; 0 counts as 1 = none, the default
    double repetition_penalty;
    double presence_penalty;   // subtracted once from tokens of the output; default 0
    double frequency_penalty;  // subtracted per occurrence in the output; default 0
    const tk_logit_bias *bias; // [n_bias], copied; ids outside the vocabulary do nothing
    int n_bias;
} tk_sample_opts;

tk_sample_opts tk_sample_opts_default(void);

typedef struct tk_sampler tk_sampler;
// What drawing needs while it lasts: one for any number of samplers of one thread.
typedef struct tk_sample_scratch tk_sample_scratch;

tk_sample_scratch *tk_sample_scratch_new(int32_t n_vocab); // never NULL
void tk_sample_scratch_free(tk_sample_scratch *w);         // NULL is fine

tk_sampler *tk_sampler_new(const tk_sample_opts *opts); // never NULL
void tk_sampler_free(tk_sampler *s);                    // NULL is fine
// Tells the penalties which tokens there are: the prompt once, then every token drawn.
void tk_sampler_see_prompt(tk_sampler *s, const int32_t *ids, int32_t n);
void tk_sampler_see_output(tk_sampler *s, int32_t id);
// Draws from logits [n_vocab], left as they are. mask (may be NULL): bit i of word i / 64 allows token i.
// The lower id wins a tie. NaN logits count as -infinity. -1 when no token is allowed.
int32_t tk_sampler_draw(tk_sampler *s, tk_sample_scratch *w, const float *logits,
                        const uint64_t *mask);

// ln sum exp(logits): ln of a token's probability is its logit minus this. NaN counts as -infinity.
double tk_sample_log_sum(const float *logits, int32_t n_vocab);
// ln of the probability of id under softmax(logits): untempered, unfiltered.
double tk_sample_logprob(const float *logits, int32_t n_vocab, int32_t id);

typedef struct tk_token {
    int32_t id;
    float logprob;
} tk_token;

// The n likeliest ids, best first, the lower id first among equals; log_sum as tk_sample_log_sum gives it.
// Returns how many there are (n_vocab when that is less).
int tk_sample_top(const float *logits, int32_t n_vocab, double log_sum, int n, tk_token *out);

#endif
