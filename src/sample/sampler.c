// SPDX-License-Identifier: MIT
#include "sample/sampler.h"

#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct tk_sampler {
    tk_sample_opts opts;
    int32_t n_vocab;
    tk_rng rng;
    candidate *c; // [n_vocab]
};

tk_sample_opts tk_sample_opts_default(void)
{
    return (tk_sample_opts){.temperature = 0, .top_p = 1};
}

tk_sampler *tk_sampler_new(const tk_sample_opts *opts, int32_t n_vocab)
{
    tk_sampler *s = tk_alloc(sizeof *s);
    s->opts = *opts;
    s->n_vocab = n_vocab;
    s->rng.state = opts->seed;
    s->c = tk_alloc((size_t)n_vocab * sizeof *s->c);
    return s;
}

void tk_sampler_free(tk_sampler *s)
{
    if (s == NULL) return;
    tk_free(s->c);
    tk_free(s);
}

double tk_sample_logprob(const float *logits, int32_t n_vocab, int32_t id)
{
    float max = -INFINITY;
    for (int32_t i = 0; i < n_vocab; i++) max = logits[i] > max ? logits[i] : max;
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        if (logits[i] == logits[i]) sum += exp((double)logits[i] - max);
    return (double)logits[id] - max - log(sum);
}

static int32_t greedy(const float *logits, int32_t n)
{
    int32_t best = 0;
    float max = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (logits[i] > max) {
            max = logits[i];
            best = i;
        }
    return best;
}

// Best first; the lower id first among equals, so that a draw does not depend on the sort.
static int better(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

// How many of the sorted, tempered candidates stay; p(i) = exp(logit_i - logit_0) / sum.
static int32_t keep(const tk_sampler *s, int32_t n)
{
    const tk_sample_opts *o = &s->opts;
    if (o->top_k > 0 && o->top_k < n) n = (int32_t)o->top_k;
    double best = s->c[0].logit;
    if (o->top_p < 1) {
        double sum = 0, mass = 0;
        for (int32_t i = 0; i < n; i++) sum += exp((s->c[i].logit - best) / o->temperature);
        int32_t k = 0;
        while (k < n && mass < o->top_p * sum)
            mass += exp((s->c[k++].logit - best) / o->temperature);
        n = k > 0 ? k : 1;
    }
    if (o->min_p > 0) {
        int32_t k = 1;
        while (k < n && exp((s->c[k].logit - best) / o->temperature) >= o->min_p) k++;
        n = k;
    }
    return n;
}

int32_t tk_sampler_draw(tk_sampler *s, const float *logits, double *logprob)
{
    int32_t id;
    if (s->opts.temperature <= 0) {
        id = greedy(logits, s->n_vocab);
    } else {
        for (int32_t i = 0; i < s->n_vocab; i++)
            s->c[i] = (candidate){logits[i] == logits[i] ? logits[i] : -INFINITY, i};
        qsort(s->c, (size_t)s->n_vocab, sizeof *s->c, better);
        int32_t n = keep(s, s->n_vocab);
        double sum = 0, best = s->c[0].logit;
        for (int32_t i = 0; i < n; i++) sum += exp((s->c[i].logit - best) / s->opts.temperature);
        double r = tk_rng_unit(&s->rng) * sum;
        int32_t k = 0;
        for (; k < n - 1; k++) {
            r -= exp((s->c[k].logit - best) / s->opts.temperature);
            if (r < 0) break;
        }
        id = s->c[k].id;
    }
    if (logprob) *logprob = tk_sample_logprob(logits, s->n_vocab, id);
    return id;
}
