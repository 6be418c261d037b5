// SPDX-License-Identifier: MIT
#include "sample/sampler.h"

#include "base/compiler.h"
#include "base/mem.h"
#include "base/rng.h"
#include "sample/seen.h"

#include <math.h>
#include <string.h>

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct tk_sample_scratch {
    int32_t n_vocab;
    candidate *c;  // [n_vocab]
    float *logits; // [n_vocab] after mask, bias and penalties
};

struct tk_sampler {
    tk_sample_opts opts;
    tk_logit_bias *bias; // owned
    bool penalises;
    tk_rng rng;
    tk_seen seen;
};

tk_sample_opts tk_sample_opts_default(void)
{
    return (tk_sample_opts){.temperature = 0, .top_p = 1, .repetition_penalty = 1};
}

tk_sample_scratch *tk_sample_scratch_new(int32_t n_vocab)
{
    tk_sample_scratch *w = tk_alloc(sizeof *w);
    w->n_vocab = n_vocab;
    w->c = tk_alloc((size_t)n_vocab * sizeof *w->c);
    w->logits = tk_alloc((size_t)n_vocab * sizeof *w->logits);
    return w;
}

void tk_sample_scratch_free(tk_sample_scratch *w)
{
    if (w == NULL) return;
    tk_free(w->c);
    tk_free(w->logits);
    tk_free(w);
}

tk_sampler *tk_sampler_new(const tk_sample_opts *opts)
{
    tk_sampler *s = tk_alloc(sizeof *s);
    s->opts = *opts;
    if (s->opts.repetition_penalty == 0) s->opts.repetition_penalty = 1;
    s->penalises = s->opts.repetition_penalty != 1 || opts->presence_penalty != 0 ||
                   opts->frequency_penalty != 0;
    s->rng.state = opts->seed;
    s->bias = tk_alloc((size_t)opts->n_bias * sizeof *s->bias);
    if (opts->n_bias > 0) memcpy(s->bias, opts->bias, (size_t)opts->n_bias * sizeof *s->bias);
    return s;
}

void tk_sampler_free(tk_sampler *s)
{
    if (s == NULL) return;
    tk_seen_free(&s->seen);
    tk_free(s->bias);
    tk_free(s);
}

void tk_sampler_see_prompt(tk_sampler *s, const int32_t *ids, int32_t n)
{
    // presence and frequency are of the output alone
    if (s->opts.repetition_penalty == 1) return;
    for (int32_t i = 0; i < n; i++) tk_seen_find(&s->seen, ids[i]);
}

void tk_sampler_see_output(tk_sampler *s, int32_t id)
{
    if (s->penalises) tk_seen_find(&s->seen, id)->n_out++;
}

double tk_sample_log_sum(const float *logits, int32_t n_vocab)
{
    float max = -INFINITY;
    for (int32_t i = 0; i < n_vocab; i++) max = logits[i] > max ? logits[i] : max;
    double sum = 0;
    for (int32_t i = 0; i < n_vocab; i++)
        if (logits[i] == logits[i]) sum += exp((double)logits[i] - max);
    return (double)max + log(sum);
}

double tk_sample_logprob(const float *logits, int32_t n_vocab, int32_t id)
{
    return (double)logits[id] - tk_sample_log_sum(logits, n_vocab);
}

int tk_sample_top(const float *logits, int32_t n_vocab, double log_sum, int n, tk_token *out)
{
    int n_out = 0;
    for (int32_t i = 0; i < n_vocab && n > 0; i++) {
        float l = logits[i] == logits[i] ? logits[i] : -INFINITY;
        if (n_out == n && l <= out[n - 1].logprob) continue;
        int at = n_out < n ? n_out++ : n - 1;
        for (; at > 0 && out[at - 1].logprob < l; at--) out[at] = out[at - 1];
        out[at] = (tk_token){.id = i, .logprob = l};
    }
    for (int i = 0; i < n_out; i++) out[i].logprob = (float)(out[i].logprob - log_sum);
    return n_out;
}

static bool is_allowed(const uint64_t *mask, int32_t i)
{
    return mask == NULL || (mask[i / 64] >> (i % 64) & 1);
}

static void penalise(const tk_sampler *s, float *logits, int32_t n_vocab)
{
    const tk_sample_opts *o = &s->opts;
    for (size_t i = 0; i < s->seen.n_slot; i++) {
        const tk_seen_token *t = &s->seen.slots[i];
        if (t->id < 0 || t->id >= n_vocab) continue;
        double l = logits[t->id];
        l = l > 0 ? l / o->repetition_penalty : l * o->repetition_penalty;
        l -= o->frequency_penalty * t->n_out + (t->n_out > 0 ? o->presence_penalty : 0);
        logits[t->id] = (float)l;
    }
}

// The logits that are drawn from: the model's own when nothing changes them.
static const float *adjust(const tk_sampler *s, tk_sample_scratch *w, const float *logits)
{
    if (s->opts.n_bias == 0 && (!s->penalises || s->seen.n == 0)) return logits;
    memcpy(w->logits, logits, (size_t)w->n_vocab * sizeof *logits);
    for (int i = 0; i < s->opts.n_bias; i++)
        if (s->bias[i].id >= 0 && s->bias[i].id < w->n_vocab)
            w->logits[s->bias[i].id] += s->bias[i].bias;
    if (s->penalises) penalise(s, w->logits, w->n_vocab);
    return w->logits;
}

static int32_t greedy(const float *logits, const uint64_t *mask, int32_t n)
{
    int32_t best = -1;
    float max = -INFINITY;
    for (int32_t i = 0; i < n; i++)
        if (is_allowed(mask, i) && (best < 0 || logits[i] > max)) {
            best = i;
            max = logits[i] == logits[i] ? logits[i] : -INFINITY;
        }
    return best;
}

// Best first; the lower id first among equals, so that a draw does not depend on how it was sorted.
static bool is_better(candidate a, candidate b)
{
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// The candidates in order, as far as they are asked for: c[0, n_heap) is a heap, and what was taken from it
// stands at the end of c, best last. A draw looks at a few of 130,000: sorting all takes 15 ms, this 0.5.
typedef struct ranking {
    candidate *c;
    int32_t n, n_heap;
    double best, temperature;
} ranking;

static void sift_down(candidate *c, int32_t n, int32_t i)
{
    candidate x = c[i];
    for (;;) {
        int32_t k = 2 * i + 1;
        if (k >= n) break;
        if (k + 1 < n && is_better(c[k + 1], c[k])) k++;
        if (!is_better(c[k], x)) break;
        c[i] = c[k];
        i = k;
    }
    c[i] = x;
}

static double weight_of(const ranking *r, candidate c)
{
    return exp(((double)c.logit - r->best) / r->temperature);
}

// exp((logit_i - logit_0) / temperature) of the candidate of rank i.
static double weight_at(ranking *r, int32_t i)
{
    while (r->n - r->n_heap <= i) {
        candidate top = r->c[0];
        r->c[0] = r->c[--r->n_heap];
        sift_down(r->c, r->n_heap, 0);
        r->c[r->n_heap] = top;
    }
    return weight_of(r, r->c[r->n - 1 - i]);
}

static ranking rank(tk_sample_scratch *w, const float *logits, const uint64_t *mask,
                    double temperature)
{
    ranking r = {.c = w->c, .temperature = temperature, .best = -INFINITY};
    for (int32_t i = 0; i < w->n_vocab; i++)
        if (is_allowed(mask, i) && logits[i] > -INFINITY) {
            r.c[r.n++] = (candidate){logits[i], i};
            r.best = TK_MAX(r.best, (double)logits[i]);
        }
    r.n_heap = r.n;
    for (int32_t i = r.n / 2; i-- > 0;) sift_down(r.c, r.n, i);
    return r;
}

// How many stay, and the sum of their weights.
static int32_t keep(ranking *r, const tk_sample_opts *o, double *sum)
{
    int32_t n = r->n, k = 0;
    *sum = 0;
    if (o->top_k > 0 && o->top_k < n) {
        n = (int32_t)o->top_k;
        for (int32_t i = 0; i < n; i++) *sum += weight_at(r, i);
    } else {
        for (int32_t i = 0; i < n; i++) *sum += weight_of(r, r->c[i]);
    }
    if (o->top_p >= 1 && o->min_p <= 0) return n;
    double most = o->top_p < 1 ? o->top_p * *sum : INFINITY, mass = 0;
    while (k < n && mass < most) {
        double weight = weight_at(r, k);
        if (k > 0 && weight < o->min_p) break;
        mass += weight;
        k++;
    }
    if (k < n) *sum = mass;
    return k;
}

int32_t tk_sampler_draw(tk_sampler *s, tk_sample_scratch *w, const float *logits,
                        const uint64_t *mask)
{
    logits = adjust(s, w, logits);
    if (s->opts.temperature <= 0) return greedy(logits, mask, w->n_vocab);
    ranking r = rank(w, logits, mask, s->opts.temperature);
    if (r.n == 0) return greedy(logits, mask, w->n_vocab);
    double sum;
    int32_t n = keep(&r, &s->opts, &sum), k = 0;
    double left = tk_rng_unit(&s->rng) * sum;
    while (k < n - 1 && (left -= weight_at(&r, k)) >= 0) k++;
    weight_at(&r, k);
    return r.c[r.n - 1 - k].id;
}
