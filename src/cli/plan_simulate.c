// SPDX-License-Identifier: MIT
// `tokamak plan simulate MODEL --system NAME`: request by request, for percentiles.
#include "cli/plan.h"

#include "base/mem.h"
#include "plan/sim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct machine {
    tk_case c, prefill; // the latter: of a separate pool
    bool pools;
    double scale; // of a step, beyond the cost model's causes
    double share; // servers of the pool simulated over those that a decode instance has
    int mtp;
} machine;

// A prompt on a server of the prefill pool; its attention's other replicas read their own meanwhile.
static double pool_s(const machine *m, double n_prompt)
{
    tk_cost t;
    tk_work w = {m->prefill.at.dp, n_prompt, n_prompt / 2, true};
    tk_cost_step(&m->prefill, &w, &t);
    return t.s * m->share;
}

// A step of the engine: the decoding sequences' and the prompts' work; what both need (weights, fixed time) is
// paid once, so the larger step is taken whole and of the other what it adds beyond an empty one.
static double step_s(void *ctx, double n_seq, double n_ctx, double n_prompt)
{
    const machine *m = ctx;
    if (m->pools && n_seq <= 0) return pool_s(m, n_prompt);
    tk_cost t = {0}, p = {0}, base = {0};
    if (n_seq > 0) {
        tk_work w = {n_seq, 1 + m->mtp, n_ctx / n_seq, false};
        tk_cost_step(&m->c, &w, &t);
    }
    if (n_prompt > 0) {
        tk_work w = {m->c.at.dp, n_prompt / m->c.at.dp, n_prompt / 2 / m->c.at.dp, true};
        tk_cost_step(&m->c, &w, &p);
        tk_work one = {m->c.at.dp, 1, 1, true};
        tk_cost_step(&m->c, &one, &base);
    }
    double drafted = t.s * (1 + m->c.k->v[TK_P_MTP_DRAFT] * m->mtp);
    return m->scale * (n_seq > 0 ? drafted + fmax(0, p.s - base.s) : p.s);
}

static void print_stat(const char *name, const tk_sim_stat *s)
{
    printf("%-10s %12.1f %12.1f %12.1f %12.1f\n", name, s->mean * 1e3, s->p50 * 1e3, s->p90 * 1e3,
           s->p99 * 1e3);
}

static json_t *stat_json(const tk_sim_stat *s)
{
    return json_pack("{s:f, s:f, s:f, s:f}", "mean", s->mean * 1e3, "p50", s->p50 * 1e3, "p90",
                     s->p90 * 1e3, "p99", s->p99 * 1e3);
}

static void print_run(const tk_search_in *in, const tk_option *opt, const tk_sim_in *s,
                      const tk_sim_out *o)
{
    char name[TK_OPTION_NAME];
    tk_option_name(opt, name);
    printf("%s on %s: one %s of %d (%s), %lld requests, seed %llu\n", in->model->title,
           in->hw->part, s->n_prefill > 0 ? "decode instance" : "replica",
           tk_layout_ranks(&opt->at), name, (long long)s->n_request, (unsigned long long)s->seed);
    if (s->n_prefill > 0) {
        printf("its share of the prefill pool, %d prompts at once; transfer: ", s->n_prefill);
        tk_plan_print_transfer(opt);
        putchar('\n');
    }
    if (s->rate > 0)
        printf("Poisson arrivals, %.3g a second", s->rate);
    else
        printf("closed loop of %d users", s->users);
    printf("; cache of %lld blocks of %d tokens\n\n%-10s %12s %12s %12s %12s   ms\n",
           (long long)s->n_block, s->page, "", "mean", "p50", "p90", "p99");
    print_stat("TTFT", &o->ttft);
    print_stat("TPOT", &o->tpot);
    print_stat("latency", &o->latency);
    printf(
        "\n%.3g requests/s, %.1f output tokens/s, within the limits %.1f %%, busy %.1f %%, batch "
        "%.1f, %lld preempted, peak %lld blocks\n",
        o->req_per_s, o->out_tok_per_s, 100 * o->goodput, 100 * o->busy, o->batch,
        (long long)o->n_preempt, (long long)o->peak_block);
    printf("%.0f simulated seconds in %.2f s\nthe steps' times carry the cost model's error: see "
           "`tokamak plan validate`\n",
           o->span_s, o->seconds);
}

// One decode instance and its share of the prefill pool: as many servers as come nearest, slowed to the very share.
static void set_pools(const tk_option *opt, machine *m, tk_sim_in *s)
{
    double servers = (double)opt->n_prefill * opt->prefill.dp * opt->prefill.pp / opt->n_replica;
    m->pools = true;
    m->prefill = m->c;
    m->prefill.at = opt->prefill;
    s->n_prefill = servers < 1.5 ? 1 : (int)(servers + 0.5);
    m->share = s->n_prefill / servers;
    s->transfer_s = opt->serve.transfer_s;
}

static void set_up(const tk_plan_options *o, const tk_search_in *in, const tk_option *opt,
                   machine *m, tk_sim_in *s)
{
    *m = (machine){.c = {.hw = in->hw,
                         .shape = &in->model->shape,
                         .k = in->k,
                         .prec = in->prec,
                         .at = opt->at,
                         .backend = in->backend,
                         .year = in->year,
                         .fixed_scale = 1,
                         .mem_share = 0.9},
                   .mtp = opt->mtp,
                   .scale = opt->time_scale > 0 ? opt->time_scale : 1};
    *s = tk_sim_default();
    tk_memory mem;
    tk_cost_memory(&m->c, in->qos.isl + in->qos.osl, &mem);
    double tokens = o->blocks > 0 ? o->blocks : mem.kv_tokens;
    s->n_block = (int64_t)(tokens / s->page);
    s->isl = in->qos.isl;
    s->osl = in->qos.osl;
    s->isl_cv = s->osl_cv = 0.3;
    s->hit = in->qos.hit;
    s->ttft_limit_s = in->qos.ttft_s;
    s->tpot_limit_s = in->qos.tpot_s;
    s->max_batch = 4096;
    if (o->n_request > 0) s->n_request = o->n_request;
    s->seed = o->seed > 0 ? (uint64_t)o->seed : 1;
    s->tokens_per_step = opt->mtp > 0 ? in->model->accepted[opt->mtp] : 1;
    s->step = step_s;
    s->ctx = m;
    if (opt->kind == TK_KIND_DISAGGREGATED) set_pools(opt, m, s);
    if (o->batch > 0)
        s->users = (int)ceil(o->batch / opt->n_replica);
    else // without a rate: 80 % of what the layout sustains
        s->rate = (o->rate > 0 ? o->rate : 0.8 * opt->tok_s_accel * opt->n_accel / in->qos.osl) /
                  opt->n_replica;
}

tk_status tk_plan_simulate(const tk_plan_call *c, tk_err *err)
{
    tk_constants *k = NULL;
    tk_search_in in;
    tk_search_out found = {0};
    tk_sim_in s;
    tk_sim_out o;
    machine m;
    tk_status st;
    TK_TRY(tk_constants_load(c->catalog, &k, err));
    TK_TRY(tk_plan_case_of(c, c->arg[0], c->o->system, k, &in, err));
    TK_TRY(tk_search(&in, &found, err));
    const tk_option *opt = found.found ? &found.best : &found.nearest;
    set_up(c->o, &in, opt, &m, &s);
    TK_TRY(tk_sim(&s, &o, err));
    if (c->o->json)
        TK_TRY(tk_plan_write_json(
            json_pack("{s:o, s:o, s:o, s:f, s:f, s:f, s:I, s:I, s:I}", "ttft_ms",
                      stat_json(&o.ttft), "tpot_ms", stat_json(&o.tpot), "latency_ms",
                      stat_json(&o.latency), "requests_per_s", o.req_per_s, "output_tok_s",
                      o.out_tok_per_s, "goodput", o.goodput, "preempted", (json_int_t)o.n_preempt,
                      "requests", (json_int_t)s.n_request, "seed", (json_int_t)s.seed),
            c->o->json, err));
    if (c->o->json == NULL || strcmp(c->o->json, "-") != 0) print_run(&in, opt, &s, &o);
done:
    tk_free(found.front);
    tk_free(k);
    return st;
}
