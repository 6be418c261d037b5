// SPDX-License-Identifier: MIT
// Disaggregated serving: which instances read prompts, which decode, and how many of each. The decode pool is priced by
// itself, then joined with every kind of prefill instance that no other beats; the accelerators are divided so that
// prefill just keeps up (rate matching: Zhong et al., DistServe, 2024), and the pair is priced as a whole.
#include "plan/search_priv.h"

#include "base/mem.h"

#include <math.h>
#include <string.h>

// A kind of prefill instance.
typedef struct reader {
    tk_layout at;
    int ranks;
    double alone_s, req_per_s; // of one instance
} reader;

typedef struct pools {
    reader *reader;
    int n_reader;
    int fewest; // ranks of the smallest
    double best_rank_rate;
} pools;

// Instances are powers of two, or whole nodes (of a rack: trays of four) by 2^a 3^b: DeepSeek decodes on 144 ranks, LMSYS
// on 48 of 72.
static bool usual_size(const tk_hw *hw, int ranks)
{
    int n = ranks, node = hw->scale_up <= 8 ? hw->scale_up : 4;
    for (int i = 0; i < 2 && n % 3 == 0; i++) n /= 3;
    if (n & (n - 1)) return false;
    return n == ranks || ranks % node == 0;
}

enum { MOST_RANKS = 288 };

// Pipelines of data-parallel attention were never measured.
static bool was_seen(const tk_layout *at)
{
    return at->pp == 1 || at->dp == 1;
}

static bool beats(const reader *a, const reader *b)
{
    return a->ranks <= b->ranks && a->alone_s <= b->alone_s &&
           a->req_per_s / a->ranks >= b->req_per_s / b->ranks;
}

static void add_reader(tk_searcher *s, const tk_layout *at, void *ctx)
{
    pools *p = ctx;
    const tk_search_in *in = s->in;
    if (!was_seen(at)) return;
    tk_serve_in serve = tk_search_serving(in, at, 0);
    serve.prefill = serve.decode;
    reader r = {.at = *at, .ranks = tk_layout_ranks(at)};
    s->out->n_tried++;
    if (tk_serve_prefill(&serve, &r.alone_s, &r.req_per_s, NULL) != TK_OK) return;
    if (in->qos.ttft_s > 0 && r.alone_s > in->qos.ttft_s) return;
    for (int i = 0; i < p->n_reader; i++)
        if (beats(&p->reader[i], &r)) return;
    int n = 0;
    for (int i = 0; i < p->n_reader; i++)
        if (!beats(&r, &p->reader[i])) p->reader[n++] = p->reader[i];
    if ((n & (n - 1)) == 0)
        p->reader = tk_realloc(p->reader, (size_t)(n ? 2 * n : 1) * sizeof *p->reader);
    p->reader[n++] = r;
    p->n_reader = n;
}

// Of its batch that an instance must keep running for the option to be of that batch.
#define KEPT 0.98

// The most decode instances, each answering `rate` requests per second, whose prompts the other accelerators can read,
// or so nearly that the batch stands; 0: none.
static int most_decode(int n_accel, int ranks, double rate, const reader *r)
{
    double need = KEPT * rate, ideal = n_accel / (ranks + need * r->ranks / r->req_per_s);
    int d = (n_accel - r->ranks) / ranks;
    if (d > ideal) d = (int)ideal;
    for (; d > 0; d--) {
        int n_prefill = (n_accel - d * ranks) / r->ranks;
        if (n_prefill * r->req_per_s >= d * need) break;
    }
    return d;
}

static bool price(tk_searcher *s, tk_serve_in *serve, const reader *r, int n_decode, double batch,
                  tk_option *out)
{
    const tk_search_in *in = s->in;
    int ranks = tk_layout_ranks(&serve->decode.at);
    memset(out, 0, sizeof *out);
    out->kind = TK_KIND_DISAGGREGATED;
    out->at = serve->decode.at;
    out->mtp = serve->mtp;
    out->batch = batch;
    out->prefill = r->at;
    out->n_replica = n_decode;
    out->n_prefill = (in->n_accel - n_decode * ranks) / r->ranks;
    out->n_accel = in->n_accel;
    serve->prefill.at = r->at;
    serve->n_decode = n_decode;
    serve->n_prefill = out->n_prefill;
    s->out->n_tried++;
    if (tk_serve(serve, &out->serve, NULL) != TK_OK || out->serve.running < KEPT * batch)
        return false;
    tk_search_judge(in, serve, n_decode * ranks + out->n_prefill * r->ranks, out);
    return true;
}

// Whether no pair with this decode instance can be the best one, or beat all that are kept, in tokens/s.
static bool hopeless(const tk_searcher *s, const pools *p, const tk_serve_out *alone, int ranks)
{
    const tk_search_out *out = s->out;
    double most = alone->out_tok_per_s / (ranks + alone->req_per_s / p->best_rank_rate);
    if (!out->has_kind[TK_KIND_DISAGGREGATED] ||
        most > out->of_kind[TK_KIND_DISAGGREGATED].tok_s_accel)
        return false;
    for (int i = 0; i < out->n_front; i++)
        if (out->front[i].tok_s_user >= 1 / alone->tpot_s && out->front[i].tok_s_accel >= most)
            return true;
    return false;
}

static void join(tk_searcher *s, const pools *p, tk_serve_in *serve, const tk_serve_out *alone)
{
    int n = s->in->n_accel, ranks = tk_layout_ranks(&serve->decode.at);
    double batch = serve->max_batch;
    int most = 0;
    for (int i = 0; i < p->n_reader; i++) {
        const reader *r = &p->reader[i];
        int d = most_decode(n, ranks, alone->req_per_s, r);
        // with fewer to feed the prompts queue less: that may be what keeps the first token in time, or the batch
        for (int tries = 0; tries < 3 && d > most; tries++, d -= 1 + d / 64) {
            tk_option o;
            if (!price(s, serve, r, d, batch, &o)) continue;
            tk_search_offer(s, &o);
            if (o.within) most = d;
        }
    }
}

static void try_decode(tk_searcher *s, const tk_layout *at, void *ctx)
{
    const pools *p = ctx;
    const tk_search_in *in = s->in;
    int ranks = tk_layout_ranks(at);
    if (!was_seen(at)) return;
    for (int mtp = 0; mtp <= tk_search_max_drafts(in); mtp++)
        for (double b = 1; b <= TK_SEARCH_MAX_BATCH; b = tk_search_next_batch(b)) {
            tk_serve_in serve = tk_search_serving(in, at, mtp);
            tk_serve_out alone;
            serve.prefill = serve.decode;
            serve.prefill.at = p->reader[0].at;
            serve.disagg = true;
            serve.max_batch = b;
            tk_search_effects(s, &serve);
            s->out->n_tried++;
            if (tk_serve(&serve, &alone, NULL) != TK_OK || alone.running < KEPT * b) break;
            if (in->cache_used > 0 && b > alone.capacity * in->cache_used) break;
            if (in->qos.tpot_s > 0 && alone.tpot_s > in->qos.tpot_s) break; // and larger ones more
            if (!hopeless(s, p, &alone, ranks)) join(s, p, &serve, &alone);
        }
}

// Backends that have pools.
static bool can_separate(tk_backend b)
{
    return b == TK_BACKEND_TRTLLM || b == TK_BACKEND_VLLM || b == TK_BACKEND_SGLANG ||
           b == TK_BACKEND_MLPERF;
}

void tk_search_pools(tk_searcher *s)
{
    int n = s->in->n_accel;
    pools p = {0};
    if (!can_separate(s->in->backend)) return;
    for (int ranks = 1; ranks < n && ranks <= MOST_RANKS; ranks++)
        if (usual_size(s->in->hw, ranks)) tk_search_each_layout(s, ranks, add_reader, &p);
    p.fewest = n;
    for (int i = 0; i < p.n_reader; i++) {
        const reader *r = &p.reader[i];
        p.best_rank_rate = fmax(p.best_rank_rate, r->req_per_s / r->ranks);
        if (r->ranks < p.fewest) p.fewest = r->ranks;
    }
    for (int ranks = 1; ranks <= n - p.fewest && ranks <= MOST_RANKS; ranks++)
        if (usual_size(s->in->hw, ranks)) tk_search_each_layout(s, ranks, try_decode, &p);
    tk_free(p.reader);
}
