// SPDX-License-Identifier: MIT
#include "plan/sim.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct request {
    double arrival, ready, first, last; // ready: prompt may be scheduled (after a separate prefill)
    int32_t isl, osl;                   // osl in tokens
    int32_t done;                       // steps generated before the last preemption
    int32_t left;                       // prompt tokens still to read
    int64_t end_step;                   // of the current run, -1 = not running
    int64_t start_len, start_step;      // cached length at its first step of this run
    int32_t prev, next;                 // running, oldest first
} request;

typedef struct event { // completion, or a user's next request
    int64_t step;
    int32_t id;
} event;

typedef struct sim {
    const tk_sim_in *in;
    tk_rng rng;
    request *r;
    int64_t n, issued, ended;
    double now, busy_s;
    int32_t *queue; // waiting, a ring; preempted go back to its front
    int64_t head, n_queue, cap;
    event *heap;
    int64_t n_heap, heap_cap;
    int32_t oldest, newest; // running list
    int64_t n_run, step, blocks, peak;
    int page; // tokens of a block over tokens of a step: lengths are counted in steps
    double ctx_tokens, seq_steps;
    int64_t *phase;  // [page] running sequences by (length - step) mod page
    int32_t reading; // request whose prompt is being read, -1
    double *server;  // free times of the prefill pool
    double next_arrival;
    int64_t n_preempt, n_step;
} sim;

// ---- lengths and arrivals

static double normal(tk_rng *r)
{
    double u = 1 - tk_rng_unit(r), v = tk_rng_unit(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static int32_t length(sim *s, double mean, double cv, bool exponential)
{
    double x = mean;
    if (exponential) {
        x = -mean * log(1 - tk_rng_unit(&s->rng));
    } else if (cv > 0) {
        double v = log(1 + cv * cv);
        x = mean * exp(sqrt(v) * normal(&s->rng) - v / 2);
    }
    if (x > 1e7) x = 1e7;
    return x < 1 ? 1 : (int32_t)(x + 0.5);
}

static int64_t blocks_of(const sim *s, double tokens)
{
    return (int64_t)ceil(tokens / s->page);
}

// ---- queue and heap

static void push_back(sim *s, int32_t id)
{
    s->queue[(s->head + s->n_queue++) % s->cap] = id;
}

static void push_front(sim *s, int32_t id)
{
    s->head = (s->head + s->cap - 1) % s->cap;
    s->queue[s->head] = id;
    s->n_queue++;
}

static int32_t pop_front(sim *s)
{
    int32_t id = s->queue[s->head];
    s->head = (s->head + 1) % s->cap;
    s->n_queue--;
    return id;
}

static void heap_push(sim *s, event e)
{
    if (s->n_heap == s->heap_cap) {
        s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 1024;
        s->heap = tk_realloc(s->heap, (size_t)s->heap_cap * sizeof *s->heap);
    }
    int64_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / 2].step > e.step; i = (i - 1) / 2)
        s->heap[i] = s->heap[(i - 1) / 2];
    s->heap[i] = e;
}

static event heap_pop(sim *s)
{
    event top = s->heap[0], e = s->heap[--s->n_heap];
    int64_t i = 0;
    for (;;) {
        int64_t c = 2 * i + 1;
        if (c >= s->n_heap) break;
        if (c + 1 < s->n_heap && s->heap[c + 1].step < s->heap[c].step) c++;
        if (s->heap[c].step >= e.step) break;
        s->heap[i] = s->heap[c];
        i = c;
    }
    s->heap[i] = e;
    return top;
}

// ---- requests come

// A separate pool reads prompts in order, each server one at a time.
static double pool_ready(sim *s, const request *q)
{
    int best = 0;
    for (int i = 1; i < s->in->n_prefill; i++)
        if (s->server[i] < s->server[best]) best = i;
    double start = s->server[best] > q->arrival ? s->server[best] : q->arrival;
    double read = q->isl * (1 - s->in->hit);
    s->server[best] = start + s->in->step(s->in->ctx, 0, 0, read < 1 ? 1 : read);
    return s->server[best];
}

static void issue(sim *s, double when)
{
    request *q = &s->r[s->issued];
    q->arrival = when;
    q->isl = length(s, s->in->isl, s->in->isl_cv, s->in->exponential);
    q->osl = length(s, s->in->osl, s->in->osl_cv, false);
    // engines refuse what their cache cannot hold; here the answer, then the prompt, is cut to it
    double room = ((double)s->in->n_block - 1) * s->in->page;
    if (q->isl > room * 0.9) q->isl = (int32_t)(room * 0.9);
    if (q->isl + (double)q->osl > room) q->osl = (int32_t)(room - q->isl);
    double read = q->isl * (1 - s->in->hit);
    q->left = read < 1 ? 1 : (int32_t)(read + 0.5);
    q->end_step = -1;
    q->ready = when;
    if (s->in->n_prefill > 0) {
        // the decode pool answers the user, the first token too
        q->ready = q->first = pool_ready(s, q) + s->in->transfer_s;
        q->left = 0;
    }
    push_back(s, (int32_t)s->issued++);
}

static void arrivals(sim *s)
{
    while (s->in->rate > 0 && s->issued < s->n && s->next_arrival <= s->now) {
        issue(s, s->next_arrival);
        s->next_arrival -= log(1 - tk_rng_unit(&s->rng)) / s->in->rate;
    }
}

// ---- requests run

// Cached length, in steps.
static double cached(const sim *s, const request *q)
{
    return q->isl * (1 - s->in->hit) / s->in->tokens_per_step + q->done;
}

static void start_run(sim *s, int32_t id)
{
    request *q = &s->r[id];
    int64_t steps = (int64_t)ceil(q->osl / s->in->tokens_per_step);
    // the pass that reads the prompt yields the first token, so one step fewer follows
    int64_t todo = steps - q->done - (q->done == 0 ? 1 : 0);
    if (q->done == 0) q->done = 1;
    q->start_len = (int64_t)ceil(cached(s, q));
    q->start_step = s->step;
    q->end_step = s->step + (todo > 0 ? todo : 0);
    q->prev = s->newest;
    q->next = -1;
    if (s->newest >= 0)
        s->r[s->newest].next = id;
    else
        s->oldest = id;
    s->newest = id;
    s->n_run++;
    s->ctx_tokens += (double)q->start_len;
    int64_t p = ((q->start_len - s->step) % s->page + s->page) % s->page;
    s->phase[p]++;
    heap_push(s, (event){q->end_step, id});
}

static int64_t length_now(const sim *s, const request *q)
{
    return q->start_len + (s->step - q->start_step);
}

static void stop_run(sim *s, int32_t id)
{
    request *q = &s->r[id];
    if (q->prev >= 0)
        s->r[q->prev].next = q->next;
    else
        s->oldest = q->next;
    if (q->next >= 0)
        s->r[q->next].prev = q->prev;
    else
        s->newest = q->prev;
    int64_t len = length_now(s, q);
    int64_t p = ((q->start_len - q->start_step) % s->page + s->page) % s->page;
    s->phase[p]--;
    s->blocks -= blocks_of(s, (double)len);
    s->ctx_tokens -= (double)len;
    s->n_run--;
    q->end_step = -1;
}

static void end_requests(sim *s)
{
    while (s->n_heap > 0 && s->heap[0].step <= s->step) {
        event e = heap_pop(s);
        request *q = &s->r[e.id];
        if (q->end_step != e.step) continue; // preempted since
        stop_run(s, e.id);
        q->last = s->now;
        s->ended++;
        if (s->in->rate <= 0 && s->issued < s->n) issue(s, s->now);
    }
}

// The newest gives up its blocks and reads its prompt and answer so far again.
static void preempt(sim *s)
{
    int32_t id = s->newest;
    request *q = &s->r[id];
    q->done += (int32_t)(s->step - q->start_step);
    stop_run(s, id);
    q->left = (int32_t)(cached(s, q) * s->in->tokens_per_step);
    push_front(s, id);
    s->n_preempt++;
}

static bool admit(sim *s, int32_t id)
{
    const request *q = &s->r[id];
    int64_t need = blocks_of(s, cached(s, q) + 1);
    if (s->n_run >= s->in->max_batch || s->blocks + need > s->in->n_block) return false;
    s->blocks += need;
    return true;
}

// Prompt tokens of this step; prompts whose last chunk it is are put in started[].
static double read_prompts(sim *s, int32_t *started, int *n_started, int max_started)
{
    double budget = s->in->whole_prompts ? 1e18 : s->in->chunk - (double)s->n_run, read = 0;
    *n_started = 0;
    while (budget > 0 && *n_started < max_started) {
        if (s->reading < 0) {
            if (s->n_queue == 0) break;
            int32_t id = s->queue[s->head];
            if (s->r[id].ready > s->now || !admit(s, id)) break;
            s->reading = pop_front(s);
        }
        request *q = &s->r[s->reading];
        double take = q->left < budget ? q->left : budget;
        q->left -= (int32_t)take;
        read += take;
        budget -= take;
        if (q->left > 0) break;
        started[(*n_started)++] = s->reading;
        s->reading = -1;
        if (s->in->whole_prompts) break;
    }
    return read;
}

// What start_run is about to count, so that blocks match the length exactly.
static void settle(sim *s, int32_t id)
{
    request *q = &s->r[id];
    int64_t had = blocks_of(s, cached(s, q) + 1);
    bool fresh = q->done == 0;
    start_run(s, id);
    s->blocks += blocks_of(s, (double)q->start_len) - had;
    if (fresh && s->in->n_prefill == 0) q->first = s->now;
}

static void grow(sim *s)
{
    int page = s->page;
    // sequences whose length is a multiple of the page before this step need a block for the new token
    int64_t p = ((-s->step) % page + page) % page;
    while (s->blocks + s->phase[p] > s->in->n_block && s->n_run > 1) preempt(s);
    s->blocks += s->phase[p];
    if (s->blocks > s->peak) s->peak = s->blocks;
}

static void idle(sim *s)
{
    double until = INFINITY;
    if (s->in->rate > 0 && s->issued < s->n) until = s->next_arrival;
    if (s->n_queue > 0 && s->r[s->queue[s->head]].ready < until)
        until = s->r[s->queue[s->head]].ready;
    if (until > s->now && isfinite(until)) s->now = until;
}

static void one_step(sim *s)
{
    enum { MOST = 256 };
    int32_t started[MOST];
    int n_started;
    arrivals(s);
    double read = read_prompts(s, started, &n_started, MOST);
    bool decode = s->n_run > 0 && !(s->in->whole_prompts && read > 0);
    if (!decode && read <= 0 && n_started == 0) {
        idle(s);
        return;
    }
    if (decode) grow(s);
    double n = decode ? (double)s->n_run : 0;
    double t =
        s->in->step(s->in->ctx, n, decode ? s->ctx_tokens * s->in->tokens_per_step : 0, read);
    s->now += t;
    s->busy_s += t;
    s->n_step++;
    s->seq_steps += n;
    if (decode) {
        s->step++;
        s->ctx_tokens += n;
    }
    for (int i = 0; i < n_started; i++) settle(s, started[i]);
    end_requests(s);
}

// ---- results

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tk_sim_stat stat_of(double *x, int64_t n)
{
    tk_sim_stat t = {0};
    for (int64_t i = 0; i < n; i++) t.mean += x[i] / (double)n;
    qsort(x, (size_t)n, sizeof *x, ascending);
    t.p50 = x[(n - 1) / 2];
    t.p90 = x[(n - 1) * 9 / 10];
    t.p99 = x[(int64_t)((double)(n - 1) * 0.99)];
    return t;
}

static void collect(sim *s, tk_sim_out *o)
{
    double *ttft = tk_alloc((size_t)s->n * 3 * sizeof *ttft), *tpot = ttft + s->n,
           *all = tpot + s->n, tokens = 0, start = s->r[0].arrival, end = 0;
    int64_t good = 0;
    for (int64_t i = 0; i < s->n; i++) {
        const request *q = &s->r[i];
        ttft[i] = q->first - q->arrival;
        tpot[i] = q->osl > 1 ? (q->last - q->first) / (q->osl - 1) : 0;
        all[i] = q->last - q->arrival;
        tokens += q->osl;
        end = q->last > end ? q->last : end;
        good += (s->in->ttft_limit_s <= 0 || ttft[i] <= s->in->ttft_limit_s) &&
                (s->in->tpot_limit_s <= 0 || tpot[i] <= s->in->tpot_limit_s);
    }
    o->ttft = stat_of(ttft, s->n);
    o->tpot = stat_of(tpot, s->n);
    o->latency = stat_of(all, s->n);
    o->span_s = end - start;
    o->req_per_s = (double)s->n / o->span_s;
    o->out_tok_per_s = tokens / o->span_s;
    o->goodput = (double)good / (double)s->n;
    o->busy = s->busy_s / o->span_s;
    o->batch = s->n_step ? s->seq_steps / (double)s->n_step : 0;
    o->n_step = s->n_step;
    o->n_preempt = s->n_preempt;
    o->peak_block = s->peak;
    tk_free(ttft);
}

tk_sim_in tk_sim_default(void)
{
    return (tk_sim_in){.n_request = 100000,
                       .seed = 1,
                       .isl = 1024,
                       .osl = 256,
                       .max_batch = 1024,
                       .chunk = 8192,
                       .n_block = 1 << 20,
                       .page = 64,
                       .tokens_per_step = 1};
}

static tk_status check(const tk_sim_in *in, tk_err *err)
{
    if (in->n_request < 1 || in->n_request > TK_LIMIT_SIM_REQUESTS)
        return tk_fail(err, TK_BAD_INPUT, "%lld requests", (long long)in->n_request);
    if (!(in->isl >= 1) || !(in->osl >= 1) || in->isl > 1e7 || in->osl > 1e7)
        return tk_fail(err, TK_BAD_INPUT, "%g tokens in, %g out", in->isl, in->osl);
    if (in->rate <= 0 && in->users < 1)
        return tk_fail(err, TK_BAD_INPUT, "neither arrivals nor users");
    if (in->page < 1 || in->max_batch < 1 || in->chunk < 1 || in->tokens_per_step < 1 ||
        in->hit < 0 || in->hit >= 1)
        return tk_fail(err, TK_BAD_INPUT, "page %d, batch %d, chunk %d, %g tokens per step, hit %g",
                       in->page, in->max_batch, in->chunk, in->tokens_per_step, in->hit);
    if ((double)in->n_block * in->page < 2 * (in->isl * (1 - in->hit) + in->osl))
        return tk_fail(
            err, TK_NOMEM,
            "a cache of %lld blocks of %d tokens does not hold two requests of %g tokens",
            (long long)in->n_block, in->page, in->isl + in->osl);
    return TK_OK;
}

tk_status tk_sim(const tk_sim_in *in, tk_sim_out *out, tk_err *err)
{
    memset(out, 0, sizeof *out);
    tk_status st = check(in, err);
    if (st != TK_OK) return st;
    clock_t start = clock();
    sim s = {
        .in = in, .rng = {in->seed}, .n = in->n_request, .oldest = -1, .newest = -1, .reading = -1};
    s.cap = s.n + 1;
    s.r = tk_try_alloc((size_t)s.n, sizeof *s.r);
    s.queue = tk_try_alloc((size_t)s.cap, sizeof *s.queue);
    s.page = (int)(in->page / in->tokens_per_step + 0.5);
    if (s.page < 1) s.page = 1;
    s.phase = tk_alloc((size_t)s.page * sizeof *s.phase);
    s.server = tk_alloc((size_t)(in->n_prefill + 1) * sizeof *s.server);
    if (!s.r || !s.queue) {
        st = tk_fail(err, TK_NOMEM, "no memory for %lld requests", (long long)s.n);
        goto done;
    }
    if (in->rate > 0) s.next_arrival = -log(1 - tk_rng_unit(&s.rng)) / in->rate;
    for (int i = 0; in->rate <= 0 && i < in->users && s.issued < s.n; i++) issue(&s, 0);
    int64_t stuck = 0;
    while (s.ended < s.n) {
        int64_t steps = s.n_step;
        double now = s.now;
        one_step(&s);
        stuck = s.n_step == steps && s.now <= now ? stuck + 1 : 0;
        if (stuck > 2) { // a request that the cache can never hold
            st = tk_fail(err, TK_NOMEM,
                         "the cache of %lld blocks of %d tokens cannot hold a request",
                         (long long)in->n_block, in->page);
            goto done;
        }
    }
    collect(&s, out);
    out->seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
done:
    tk_free(s.r);
    tk_free(s.queue);
    tk_free(s.heap);
    tk_free(s.phase);
    tk_free(s.server);
    return st;
}
