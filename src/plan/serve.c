// SPDX-License-Identifier: MIT
#include "plan/serve.h"

#include "plan/rounds.h"

#include <math.h>

// Of its time that a prefill pool can be kept busy.
#define POOL_LOAD 0.95

static void prompt_cost(const tk_case *c, const tk_serve_in *in, double n_seq, tk_cost *out)
{
    double n_new = in->isl * (1 - in->hit);
    if (n_new < 1) n_new = 1;
    // mean context of the new tokens: all hits before them, half of themselves
    tk_work w = {n_seq, n_new, in->isl - n_new / 2, true};
    tk_cost_step(c, &w, out);
}

// What prompts add to the steps between them, `arrivals` to a step: their own work, and once in every step that
// carries any the launches that graphs spare a pure decode step.
static double mixed_s(const tk_serve_in *in, const tk_cost *prompt, double arrivals)
{
    const double *v = in->decode.k->v;
    int b = (int)in->decode.backend;
    double launch = prompt->fixed + prompt->host;
    return arrivals * v[TK_P_MIX_TRTLLM + b] * (prompt->s - launch) / in->decode.at.dp +
           -expm1(-arrivals) * v[TK_P_EAGER_TRTLLM + b] * launch;
}

static double scaled(double s, double scale)
{
    return scale > 0 ? s * scale : s;
}

static double step_of(const tk_serve_in *in, double b, tk_cost *step)
{
    double tau = in->mtp > 0 ? in->accepted : 1;
    tk_work w = {b, 1 + in->mtp, in->isl + in->osl / 2, false};
    tk_cost_step(&in->decode, &w, step);
    double s = step->s * (1 + in->decode.k->v[TK_P_MTP_DRAFT] * in->mtp) / tau;
    return scaled(scaled(s, in->step_scale), in->time_scale);
}

static double tpot_of(const tk_serve_in *in, double b, const tk_cost *prompt, tk_cost *step)
{
    double s = step_of(in, b, step);
    return in->disagg ? s : s + scaled(mixed_s(in, prompt, b / in->osl), in->time_scale);
}

// Tokens that a running sequence keeps in the cache: engines that never evict
// reserve the answer ahead, the others take blocks as it grows.
static double reserved(const tk_serve_in *in)
{
    bool whole = in->decode.backend == TK_BACKEND_TRTLLM || in->decode.backend == TK_BACKEND_MLPERF;
    return in->isl + in->osl * (whole ? 1 : 0.6);
}

typedef struct solver {
    const tk_serve_in *in;
    const tk_cost *prompt; // of as many prompts as attention has replicas
    double prompt_s;       // replica time per request
    double pool_rate; // requests per second that the prefill pool makes; INFINITY when colocated
    double wire_rate; // and that the transfer of their caches allows
    double alone_s, transfer_s;
} solver;

// True when b sequences per replica are sustained: users suffice, the pool keeps up, TPOT is within the limit.
static bool sustained(const solver *s, double b, const char **limit)
{
    const tk_serve_in *in = s->in;
    tk_cost step;
    double tpot = tpot_of(in, b, s->prompt, &step);
    double rate = b * in->n_decode / (in->osl * tpot);
    if (in->tpot_limit_s > 0 && tpot > in->tpot_limit_s) {
        *limit = "latency";
        return false;
    }
    if (rate > s->pool_rate) {
        *limit = "prefill";
        return false;
    }
    if (rate > s->wire_rate) {
        *limit = "transfer";
        return false;
    }
    double busy = b * in->n_decode + (in->disagg ? rate * (s->alone_s + s->transfer_s) : 0);
    if (in->users > 0 && busy > in->users) {
        *limit = "users";
        return false;
    }
    return true;
}

// The largest b in (0, hi] that is sustained: the rate grows with b, so bisection is exact.
static double solve(const solver *s, double hi, const char **limit)
{
    const char *why = "memory";
    *limit = why;
    if (sustained(s, hi, limit)) {
        *limit = why;
        return hi;
    }
    double lo = 0;
    for (int i = 0; i < 40 && hi - lo > 1e-3 * hi; i++) {
        double mid = (lo + hi) / 2;
        if (sustained(s, mid, limit))
            lo = mid;
        else
            hi = mid;
    }
    sustained(s, hi, limit);
    return lo > 0 ? lo : hi;
}

// The mean of the logarithm over what the number of slots may be: it is known to an eighth, and where it is near the
// number of users the wait depends on it wildly.
static double over_slots(const tk_rounds_in *r)
{
    tk_rounds_in few = *r, many = *r;
    few.slots *= 7.0 / 8;
    many.slots *= 9.0 / 8;
    double wait = tk_rounds_wait(r);
    if (few.slots >= r->users) return wait;
    return sqrt(wait) * pow(tk_rounds_wait(&few) * tk_rounds_wait(&many), 0.25);
}

// TensorRT-LLM holds prompts back until every rank of data-parallel attention has one to read, for so many steps at
// most (attention_dp_config: enable_balance, timeout_iters 60). With fewer users than ranks none is waited for.
static double balance_s(const tk_serve_in *in, double step_s)
{
    const tk_case *c = &in->decode;
    bool apart = c->at.dp > 1 && in->users / in->n_decode >= c->at.dp;
    return c->backend == TK_BACKEND_TRTLLM && apart && !in->disagg ? c->k->v[TK_P_BALANCE] * step_s
                                                                   : 0;
}

// Mean time from a prompt's sending to its first token beyond the wait for a place, o->wait_s, when all users began at
// once.
static double rounds_s(const tk_serve_in *in, const solver *s, tk_serve_out *o)
{
    enum { PASS_TOKENS = 8192 }; // prompt tokens of a pass, vLLM's and TensorRT-LLM's default
    const double *v = in->decode.k->v;
    const tk_case *c = in->disagg ? &in->prefill : &in->decode;
    double pools =
        in->disagg ? in->n_prefill > 0 ? in->n_prefill : 1 + o->req_per_s * s->prompt_s : 1;
    double tau = in->mtp > 0 ? in->accepted : 1, launch = s->prompt->fixed + s->prompt->host;
    double slow =
        scaled(v[TK_P_PREFILL_SLOW] * v[TK_P_MIX_TRTLLM + (int)c->backend], in->time_scale);
    tk_cost one;
    double low = step_of(in, 1, &one) * tau, high = step_of(in, o->running, &one) * tau;
    double more = o->running > 1 ? (high - low) / (o->running - 1) : 0;
    tk_rounds_in r = {.users = in->users / in->n_decode,
                      .slots = in->max_batch > 0 ? fmin(in->max_batch, o->capacity) : o->capacity,
                      .rounds = in->rounds,
                      .step_s = low - more,
                      .step_more_s = more,
                      .steps = in->osl / tau,
                      .spread = 1.0 / 9, // drawn between 0.8 and 1 of the nominal
                      .prompt_s = slow * (s->prompt->s - launch) / c->at.dp,
                      .pass_s = launch * v[TK_P_EAGER_TRTLLM + (int)c->backend],
                      .per_pass = c->at.dp * PASS_TOKENS / in->isl,
                      .apart = in->disagg};
    if (in->disagg) {
        r.prompt_s = v[TK_P_DISAGG_BURST] * s->prompt_s * in->n_decode / pools;
        r.slots = r.users;
    }
    o->wait_s = 0;
    double held = balance_s(in, low + more * (r.users - 1));
    double all = over_slots(&r) + held;
    if (r.slots * 7 / 8 >= r.users) return all;
    r.slots = r.users;
    double service = fmin(all, tk_rounds_wait(&r) + held);
    o->wait_s = all - service;
    return service;
}

double tk_serve_queue(double n, double busy, double s)
{
    busy = fmin(busy, 0.98); // closed loops never queue without end
    return s * pow(busy, sqrt(2 * (n + 1)) - 1) / (2 * n * (1 - busy));
}

static void prompt_queue(const tk_serve_in *in, const solver *s, tk_serve_out *o)
{
    const tk_layout *l = in->disagg ? &in->prefill.at : &in->decode.at;
    double servers = in->disagg ? (double)in->n_prefill * l->dp * l->pp : 1;
    if (in->disagg && in->n_prefill == 0) return; // as many as keep up
    o->prefill_busy = in->disagg ? o->req_per_s * s->prompt->s / servers
                                 : 1 - step_of(in, o->running, &o->step) / o->tpot_s;
    o->queue_s = tk_serve_queue(servers, o->prefill_busy, in->disagg ? s->prompt->s : s->prompt_s);
}

static void first_token(const tk_serve_in *in, const solver *s, tk_serve_out *o)
{
    const double *v = in->decode.k->v;
    int b = (int)in->decode.backend;
    double users = in->users > 0 ? in->users : o->running * in->n_decode;
    double residence = users / o->req_per_s;
    double wait = residence - in->osl * o->tpot_s - (in->disagg ? s->alone_s + s->transfer_s : 0);
    o->wait_s = wait > 0.02 * residence ? wait : 0;
    double products = 0; // prompts run without graphs: a launch each
    for (int i = 0; i < in->decode.shape->n_group; i++)
        products += (double)in->decode.shape->layer[i].n * in->decode.shape->layer[i].n_gemm;
    o->ttft_s = v[TK_P_FIRST_TRTLLM + b] * 1e-3 * products / 500;
    if (in->disagg) o->ttft_s += v[TK_P_DISAGG_FIRST] * 1e-3 + s->transfer_s;
    if (in->rounds > 0 && in->users > 0) {
        o->ttft_s += rounds_s(in, s, o);
    } else {
        prompt_queue(in, s, o);
        o->ttft_s +=
            v[TK_P_PREFILL_SLOW] * (s->alone_s + o->queue_s) + (in->disagg ? 0 : 0.5 * o->step.s);
    }
    o->ttft_s += o->wait_s;
}

// Of what prompts add to the mean step, the share that the median step bears. They arrive Poisson: below ln 2 to a step
// the median step has none, far above its number lies ln 2 below the mean; rounded where they meet.
static double median_share(double arrivals)
{
    if (!(arrivals > 0)) return 0;
    double over = arrivals - 0.6931, few = arrivals * arrivals / (arrivals * arrivals + 0.48);
    return fmin(few, (over + hypot(over, 0.3)) / 2 / arrivals);
}

// Sequences of n_tok tokens that a replica holds; `least` of them it must.
static tk_status room(const tk_case *c, double n_tok, double least, double *capacity, tk_err *err)
{
    tk_memory m;
    tk_cost_memory(c, n_tok, &m);
    *capacity = m.kv_tokens / n_tok;
    if (*capacity >= least) return TK_OK;
    return tk_fail(err, TK_NOMEM,
                   "%.1f GB of weights and %.1f GB of runtime leave no room for %s of %.0f tokens "
                   "in %.1f GB",
                   m.weights * 1e-9, m.reserve * 1e-9,
                   least > 1 ? "prompts coming and going" : "one sequence", n_tok,
                   m.available * 1e-9);
}

tk_status tk_serve_prefill(const tk_serve_in *in, double *alone_s, double *req_per_s, tk_err *err)
{
    const tk_case *c = &in->prefill;
    double capacity;
    tk_status st = room(c, in->isl, 2.0 * c->at.dp, &capacity, err);
    if (st != TK_OK) return st;
    tk_cost t;
    prompt_cost(c, in, 1, &t);
    *alone_s = t.s;
    prompt_cost(c, in, c->at.dp, &t);
    *req_per_s = POOL_LOAD * c->at.pp * c->at.dp / t.s;
    return TK_OK;
}

// A rank of the decode pool takes what it must hold, copies too; those of a prefill replica share the sending.
static void transfer(const tk_serve_in *in, solver *s, tk_serve_out *o)
{
    const tk_case *p = &in->prefill, *d = &in->decode;
    tk_memory m;
    tk_cost_memory(d, in->isl, &m);
    double receive = m.kv_per_token * in->isl;
    double send = receive * d->at.tp * d->at.pp / (p->at.tp * p->at.pp);
    int n_prefill = in->n_prefill > 0 ? in->n_prefill : 1;
    o->transfer_near =
        n_prefill * tk_layout_ranks(&p->at) + in->n_decode * tk_layout_ranks(&d->at) <=
        d->hw->scale_up;
    o->transfer_bytes = tk_shape_kv_floats(d->shape, in->isl) * d->prec.kv_bytes;
    double send_s = tk_cost_transfer(p, send, o->transfer_near);
    double receive_s = tk_cost_transfer(d, receive, o->transfer_near);
    o->transfer_s = s->transfer_s = fmax(send_s, receive_s);
    s->wire_rate = in->n_decode * d->at.dp / receive_s;
    if (in->n_prefill > 0) s->wire_rate = fmin(s->wire_rate, n_prefill * p->at.dp / send_s);
}

tk_status tk_serve(const tk_serve_in *in, tk_serve_out *o, tk_err *err)
{
    *o = (tk_serve_out){0};
    tk_status st = room(&in->decode, reserved(in), 1, &o->capacity, err);
    if (st != TK_OK) return st;
    const tk_case *pc = in->disagg ? &in->prefill : &in->decode;
    tk_cost alone, full;
    prompt_cost(pc, in, 1, &alone);
    prompt_cost(pc, in, pc->at.dp, &full);
    solver s = {.in = in,
                .prompt = &full,
                .prompt_s = full.s / pc->at.dp,
                .pool_rate = INFINITY,
                .wire_rate = INFINITY,
                .alone_s = alone.s};
    double reads;
    if (in->disagg && (st = room(pc, in->isl, 2.0 * pc->at.dp, &reads, err)) != TK_OK) return st;
    if (in->disagg) transfer(in, &s, o);
    if (in->disagg && in->n_prefill > 0)
        s.pool_rate = POOL_LOAD * in->n_prefill * pc->at.pp / s.prompt_s;
    double hi = o->capacity;
    if (in->max_batch > 0 && hi > in->max_batch) hi = in->max_batch;
    if (in->users > 0 && hi > in->users / in->n_decode) hi = in->users / in->n_decode;
    o->running = solve(&s, hi, &o->limit);
    if (in->users > 0 && o->running * in->n_decode > 0.98 * in->users) o->limit = "users";
    o->tpot_s = tpot_of(in, o->running, s.prompt, &o->step);
    if (in->tpot_limit_s > 0 && o->tpot_s > in->tpot_limit_s * 1.02 && o->running < 1)
        return tk_fail(err, TK_FAILED, "one user alone takes %.1f ms per token, the limit is %.1f",
                       o->tpot_s * 1e3, in->tpot_limit_s * 1e3);
    o->prompt = full;
    double pure = step_of(in, o->running, &o->step);
    o->itl_median_s = pure + (o->tpot_s - pure) * median_share(o->running / in->osl);
    o->prefill_s = alone.s;
    o->req_per_s = o->running * in->n_decode / (in->osl * o->tpot_s);
    o->out_tok_per_s = o->req_per_s * in->osl;
    o->users = in->users > 0 ? in->users : o->running * in->n_decode;
    o->n_accel = in->n_decode * tk_layout_ranks(&in->decode.at) +
                 (in->disagg ? in->n_prefill * tk_layout_ranks(&in->prefill.at) : 0);
    first_token(in, &s, o);
    return TK_OK;
}

void tk_serve_trait(const tk_serve_in *in, tk_stage stage, double at[3])
{
    tk_memory m;
    tk_cost_memory(&in->decode, reserved(in), &m);
    double batch = fmax(m.kv_tokens / fmax(reserved(in), 1), 1);
    if (in->max_batch > 0) batch = fmin(batch, in->max_batch);
    if (in->users > 0)
        batch = stage == TK_STAGE_TTFT ? in->users / in->n_decode
                                       : fmin(batch, in->users / in->n_decode);
    at[0] = log2(fmax(batch, 1));
    double ranks = tk_layout_ranks(&in->decode.at);
    at[1] = log2(fmax(stage == TK_STAGE_TTFT ? in->isl : in->isl + in->osl / 2, 1));
    at[2] = log2(fmax(stage == TK_STAGE_TTFT ? in->osl : ranks, 1));
}
