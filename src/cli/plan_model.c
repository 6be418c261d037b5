// SPDX-License-Identifier: MIT
// `tokamak plan MODEL --system NAME`: the best layout, and what it costs.
#include "cli/plan.h"

#include "base/mem.h"
#include "base/opt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- options into a case

static tk_status read_qos(const tk_plan_options *o, tk_qos *q, tk_err *err)
{
    // TTFT/TPOT in ms: a chat's pace, a reader's, an agent's, and NVIDIA's stated projection
    static const struct {
        const char *name;
        double ttft, tpot;
    } named[] = {{"chat", 2, .05}, {"reading", 2, .08}, {"agent", 5, .02}, {"nvidia", 5, .05}};
    *q = (tk_qos){.ttft_s = o->ttft_ms * 1e-3,
                  .tpot_s = o->tpot_ms * 1e-3,
                  .latency_s = o->latency_ms * 1e-3,
                  .isl = o->isl,
                  .osl = o->osl,
                  .hit = o->hit,
                  .power_w = o->power_kw * 1e3};
    if (o->qos == NULL) return TK_OK;
    for (size_t i = 0; i < TK_COUNT(named); i++)
        if (strcmp(o->qos, named[i].name) == 0) {
            q->ttft_s = named[i].ttft;
            q->tpot_s = named[i].tpot;
            return TK_OK;
        }
    char *end, *end2;
    double a = strtod(o->qos, &end), b = *end == '/' ? strtod(end + 1, &end2) : 0;
    if (!(a > 0) || !(b > 0) || *end2 || a > 1e9 || b > 1e9)
        return tk_fail(err, TK_USAGE,
                       "--qos \"%s\" is neither TTFT/TPOT in ms nor chat, reading, agent, nvidia",
                       o->qos);
    q->ttft_s = a * 1e-3;
    q->tpot_s = b * 1e-3;
    return TK_OK;
}

static tk_status read_backend(const tk_plan_options *o, tk_backend *b, tk_err *err)
{
    int found = o->backend ? tk_backend_find(o->backend) : TK_BACKEND_TRTLLM;
    if (found >= 0) {
        *b = (tk_backend)found;
        return TK_OK;
    }
    const char *names[TK_BACKEND_COUNT + 1] = {0};
    for (int i = 0; i < TK_BACKEND_COUNT; i++) names[i] = tk_backend_name((tk_backend)i);
    const char *near = tk_opt_nearest(o->backend, names);
    return tk_fail(err, TK_USAGE, "unknown backend \"%s\"; did you mean \"%s\"?", o->backend,
                   near ? near : names[0]);
}

tk_status tk_plan_case_of(const tk_plan_call *c, const char *model, const char *system,
                          const tk_constants *k, tk_search_in *in, tk_err *err)
{
    const tk_plan_options *o = c->o;
    *in = (tk_search_in){.k = &k->k, .fx = &k->fx, .year = o->year};
    tk_status st;
    if (system == NULL) {
        st = tk_fail(err, TK_USAGE, "--system is needed; `tokamak plan list` names them");
        goto done;
    }
    TK_TRY(tk_catalog_model(c->catalog, model, &in->model, err));
    TK_TRY(tk_catalog_hw(c->catalog, system, &in->hw, err));
    TK_TRY(read_backend(o, &in->backend, err));
    TK_TRY(read_qos(o, &in->qos, err));
    const char *word = o->precision ? o->precision : in->model->default_precision;
    TK_TRY(tk_precision_parse(word, &in->model->shape, in->hw, in->backend, &in->prec, err));
    in->precision = word;
    in->aggregated = o->aggregated;
    in->n_accel = o->n_accel > 0 ? (int)o->n_accel : in->hw->n_accel;
    in->usd_per_accel_h = o->usd_per_h > 0 ? o->usd_per_h : in->hw->usd_per_h[1];
done:
    return st;
}

tk_status tk_plan_cost_of(const tk_plan_call *c, const tk_search_in *in, const tk_option *opt,
                          tk_tco_in *t, tk_tco_out *out, tk_err *err)
{
    const tk_plan_options *o = c->o;
    double n = opt->n_accel, of = in->hw->n_accel;
    *t = tk_tco_default();
    if (o->kwh >= 0) t->usd_per_kwh = o->kwh;
    if (o->pue > 0) t->pue = o->pue;
    if (o->utilisation > 0) t->utilisation = o->utilisation;
    if (o->years > 0) t->years = o->years;
    if (o->interest >= 0) t->interest = o->interest;
    t->tok_per_s = opt->tok_s_accel * n;
    t->power_w = opt->power.node_w * n;
    t->provisioned_w = (in->hw->provisioned_w > 0 ? in->hw->provisioned_w
                        : in->hw->max_power_w > 0 ? in->hw->max_power_w / of
                                                  : opt->power.node_w) *
                       n;
    double price = o->price > 0 ? o->price : in->hw->price_usd;
    if (o->usd_per_h > 0 || (price <= 0 && in->hw->usd_per_h[1] > 0)) {
        // rent, or the owner's surveyed cost, holds capital, power and room: nothing else is added
        double per_h = o->usd_per_h > 0 ? o->usd_per_h : in->hw->usd_per_h[1];
        *t = (tk_tco_in){.years = 1,
                         .pue = 1,
                         .staff_usd_per_hour = per_h * n,
                         .tok_per_s = t->tok_per_s,
                         .utilisation = t->utilisation};
    } else {
        t->price_usd = price * n / of;
        t->support_usd_per_year = 0.05 * t->price_usd; // assumption: 5 % of the price a year
    }
    return tk_tco(t, out, err);
}

// Pools are judged by the class that most of the measured ones are in: R1 without word of drafts.
static tk_class token_class(const tk_option *o)
{
    return o->kind == TK_KIND_DISAGGREGATED ? TK_CLASS_TPOT_R1 : TK_CLASS_TPOT;
}

// A rate's interval is its time's turned over.
void tk_plan_rate_interval(const tk_constants *k, const tk_search_in *in, tk_tier tier,
                           const tk_option *o, bool user, double v, double *low, double *high)
{
    bool pools = o->kind == TK_KIND_DISAGGREGATED;
    tk_prediction p = {.cls = TK_CLASS_RATE, .value = v, .hw = in->hw, .model = in->model};
    if (!user && !pools) {
        tk_constants_interval(k, &p, tier, low, high);
        return;
    }
    double fast, slow;
    p.cls = token_class(o);
    p.value = 1 / v;
    tk_constants_interval(k, &p, tier, &fast, &slow);
    *low = 1 / slow;
    *high = 1 / fast;
}

// ---- the answer

typedef struct answer {
    const tk_plan_call *c;
    const tk_constants *k;
    tk_search_in in;
    tk_search_out out;
    tk_tco_in cost_in;
    tk_tco_out cost;
    tk_tier tier;
} answer;

static tk_prediction as_prediction(const answer *a, tk_class cls, double value)
{
    return (tk_prediction){.cls = cls, .value = value, .hw = a->in.hw, .model = a->in.model};
}

static void bounds(const answer *a, tk_class cls, double value, double *low, double *high)
{
    tk_prediction p = as_prediction(a, cls, value);
    tk_constants_interval(a->k, &p, a->tier, low, high);
}

// What is told of an option, with its interval.
typedef struct quantity {
    const char *name, *key, *unit; // key: in JSON; NULL: text only
    double v, low, high;
} quantity;
enum { QUANTITIES = 7 };

static void quantities(const answer *a, const tk_option *o, quantity q[QUANTITIES])
{
    bool pools = o->kind == TK_KIND_DISAGGREGATED;
    const quantity all[QUANTITIES] = {
        {.name = "tokens/s per user", .key = "tok_s_user", .unit = "tok/s", .v = o->tok_s_user},
        {.name = "output tokens/s per accelerator",
         .key = "tok_s_gpu",
         .unit = "tok/s",
         .v = o->tok_s_accel},
        {.name = "output tokens/s, all", .unit = "tok/s", .v = o->tok_s_accel * o->n_accel},
        {.name = "TTFT, mean", .key = "ttft_ms", .unit = "ms", .v = o->serve.ttft_s * 1e3},
        {.name = "TPOT, mean, first not counted",
         .key = "tpot_ms",
         .unit = "ms",
         .v = o->serve.tpot_s * 1e3},
        {.name = "power per accelerator, wall",
         .key = "power_w",
         .unit = "W",
         .v = o->power.node_w},
        {.name = "energy, busy, wall",
         .key = "joule_per_token",
         .unit = "J/output token",
         .v = o->joule_per_tok}};
    const tk_class cls[] = {pools ? TK_CLASS_TTFT_DISAGG : TK_CLASS_TTFT, token_class(o),
                            TK_CLASS_POWER, TK_CLASS_ENERGY};
    for (int i = 0; i < QUANTITIES; i++) {
        q[i] = all[i];
        if (i < 3)
            tk_plan_rate_interval(a->k, &a->in, a->tier, o, i == 0, q[i].v, &q[i].low, &q[i].high);
        else
            bounds(a, cls[i - 3], q[i].v, &q[i].low, &q[i].high);
    }
}

static void print_step(const char *what, const tk_cost *s)
{
    printf("%s of %.2f ms: matrices %.0f %%, experts %.0f %%, attention %.0f %%, exchange %.0f "
           "%%, fixed %.0f %%, host %.0f %%\n",
           what, s->s * 1e3, 100 * s->linear / s->s, 100 * s->expert / s->s,
           100 * s->attention / s->s, 100 * s->comm / s->s, 100 * s->fixed / s->s,
           100 * s->host / s->s);
}

void tk_plan_print_transfer(const tk_option *o)
{
    const tk_serve_out *s = &o->serve;
    printf("%.1f MB per prompt over %s: %.2f ms of TTFT", s->transfer_bytes * 1e-6,
           s->transfer_near ? "the scale-up links" : "the network", s->transfer_s * 1e3);
}

void tk_plan_print_kind(const tk_search_out *s, tk_kind kind)
{
    const tk_option *o = &s->of_kind[kind];
    char name[TK_OPTION_NAME];
    printf("%s serving: ", tk_kind_name(kind));
    if (!s->has_kind[kind]) {
        printf("no layout keeps the level\n");
        return;
    }
    tk_option_name(o, name);
    printf("%s, %.1f tok/s per accelerator, %.1f per user\n", name, o->tok_s_accel, o->tok_s_user);
}

static void print_option(const answer *a, const tk_option *o)
{
    bool pools = o->kind == TK_KIND_DISAGGREGATED;
    char name[TK_OPTION_NAME];
    int ranks = tk_layout_ranks(&o->at);
    tk_option_name(o, name);
    if (pools)
        printf("layout                             %s, %.0f sequences each\n", name, o->batch);
    else
        printf("layout                             %s, %d replica%s of %d, %.0f sequences each\n",
               name, o->n_replica, o->n_replica > 1 ? "s" : "", ranks, o->batch);
    printf("cache                              holds %.0f such sequences per %s\n",
           o->serve.capacity, pools ? "decode instance" : "replica");
    if (pools) {
        int n_prefill = o->n_prefill * tk_layout_ranks(&o->prefill), n = o->n_replica * ranks;
        printf("accelerators                       %d prefill (%.0f %% busy), %d decode, %d idle\n",
               n_prefill, 100 * o->serve.prefill_busy, n, o->n_accel - n_prefill - n);
        printf("transfer of the cache              ");
        tk_plan_print_transfer(o);
        putchar('\n');
    }
    quantity q[QUANTITIES];
    quantities(a, o, q);
    for (int i = 0; i < QUANTITIES; i++)
        printf("%-34s %10.4g   [%.4g, %.4g] %s\n", q[i].name, q[i].v, q[i].low, q[i].high,
               q[i].unit);
    print_step("a step", &o->serve.step);
    if (pools) print_step("a prompt", &o->serve.prompt);
}

static void print_cost(const answer *a)
{
    double p10, p50, p90, low, high;
    tk_plan_rate_interval(a->k, &a->in, a->tier, &a->out.best, false, a->cost_in.tok_per_s, &low,
                          &high);
    tk_tco_monte_carlo(&a->cost_in, low, high, 1, 20000, &p10, &p50, &p90);
    const tk_tco_out *t = &a->cost;
    printf(
        "\ncost per hour (USD)                %.2f: capital %.2f, support %.2f, electricity %.2f, "
        "colocation %.2f, other %.2f\n",
        t->total, t->capital, t->support, t->energy, t->colo, t->staff);
    printf(
        "%-34s %10.4g   [%.4g, %.4g] USD, utilisation %.0f %%; all inputs +-20 %%, 20,000 draws, "
        "seed 1\n",
        "10^6 output tokens", t->usd_per_mtok, p10, p90, 100 * a->cost_in.utilisation);
    tk_tornado bars[TK_TCO_FIELDS];
    tk_tco_tornado(&a->cost_in, bars);
    printf("if 20 %% lower / higher:");
    for (int i = 0; i < 5 && fabs(bars[i].high - bars[i].low) > 0; i++)
        printf("  %s %.3g/%.3g", tk_tco_field_name(bars[i].field), bars[i].low, bars[i].high);
    putchar('\n');
    double api = a->c->o->api_price;
    if (api > 0) {
        double u = tk_tco_break_even(&a->cost_in, api);
        if (u <= 1)
            printf("owning is cheaper than %.4g USD from a utilisation of %.1f %% on\n", api,
                   100 * u);
        else
            printf("owning is never cheaper than %.4g USD: it would need %.0f %%\n", api, 100 * u);
    }
}

static void print_text(const answer *a)
{
    const tk_search_in *in = &a->in;
    const tk_search_out *s = &a->out;
    tk_shape_size size;
    tk_shape_measure(&in->model->shape, &size);
    printf("%s (%.1f e9 parameters, %.1f active) on %d x %s, %s, software of %.1f\n",
           in->model->title, size.total * 1e-9, size.active * 1e-9, in->n_accel, in->hw->part,
           tk_backend_name(in->backend), in->year);
    printf("prompts %.0f, answers %.0f tokens", in->qos.isl, in->qos.osl);
    if (in->qos.ttft_s > 0) printf(", TTFT <= %.0f ms", in->qos.ttft_s * 1e3);
    if (in->qos.tpot_s > 0) printf(", TPOT <= %.0f ms", in->qos.tpot_s * 1e3);
    printf("\ntier: %s; 80 %% intervals in brackets; constants of %s from %d measured rows\n\n",
           tk_tier_name(a->tier), a->k->date, a->k->n_row);
    if (!s->found) {
        printf("fits, but no layout keeps the service level; the nearest:\n");
        print_option(a, &s->nearest);
        return;
    }
    print_option(a, &s->best);
    if (!in->aggregated) {
        printf("chosen: %s\n", tk_kind_name(s->best.kind));
        for (int kind = 0; kind < TK_KIND_COUNT; kind++) {
            printf("  ");
            tk_plan_print_kind(s, (tk_kind)kind);
        }
    }
    print_cost(a);
    double rate = a->c->o->rate;
    if (rate > 0) {
        double per = s->best.tok_s_accel / in->qos.osl;
        printf("\n%.4g requests/s need %.0f accelerators (%.3g requests/s each)\n", rate,
               ceil(rate / per), per);
    }
    printf("\nundominated (tok/s per user, per accelerator, J and USD per token):\n");
    for (int i = 0; i<s->n_front; i += s->n_front> 24 ? s->n_front / 24 + 1 : 1) {
        const tk_option *o = &s->front[i];
        char name[TK_OPTION_NAME];
        tk_option_name(o, name);
        printf("  %8.1f %9.1f  %7.3f J  %8.3f USD/10^6  %-24s batch %.0f\n", o->tok_s_user,
               o->tok_s_accel, o->joule_per_tok, o->usd_per_mtok, name, o->batch);
    }
    printf("%ld configurations tried, %ld fit, %.0f per second\nsources: %s; %s\n", s->n_tried,
           s->n_fit, s->n_tried / fmax(s->seconds, 1e-6), in->hw->sources, in->model->sources);
}

static json_t *layout_json(const tk_layout *l, int n)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "instances", n, "ranks", tk_layout_ranks(l),
                     "tp", l->tp, "dp", l->dp, "pp", l->pp, "ep", l->ep);
}

static void pools_json(const tk_option *o, json_t *j)
{
    const tk_serve_out *s = &o->serve;
    json_object_set_new(j, "prefill", layout_json(&o->prefill, o->n_prefill));
    json_object_set_new(j, "decode", layout_json(&o->at, o->n_replica));
    json_object_set_new(j, "prefill_busy", json_real(s->prefill_busy));
    json_object_set_new(j, "transfer",
                        json_pack("{s:f, s:f, s:s}", "bytes", s->transfer_bytes, "ms",
                                  s->transfer_s * 1e3, "over",
                                  s->transfer_near ? "scale-up" : "scale-out"));
}

static json_t *option_json(const answer *a, const tk_option *o)
{
    char name[TK_OPTION_NAME];
    quantity q[QUANTITIES];
    tk_option_name(o, name);
    quantities(a, o, q);
    json_t *j =
        json_pack("{s:s, s:s, s:i, s:i, s:i, s:f, s:b}", "kind", tk_kind_name(o->kind), "layout",
                  name, "accelerators", o->n_accel, "replicas", o->n_replica, "ranks",
                  tk_layout_ranks(&o->at), "batch", o->batch, "within_qos", o->within);
    for (int i = 0; i < QUANTITIES; i++)
        if (q[i].key)
            json_object_set_new(j, q[i].key,
                                json_pack("{s:f, s:[f, f], s:s, s:s, s:[s, s]}", "value", q[i].v,
                                          "interval", q[i].low, q[i].high, "unit", q[i].unit,
                                          "tier", tk_tier_name(a->tier), "sources",
                                          a->in.hw->sources, a->in.model->sources));
    if (o->kind == TK_KIND_DISAGGREGATED) pools_json(o, j);
    return j;
}

static json_t *answer_json(const answer *a)
{
    const tk_search_out *s = &a->out;
    json_t *front = json_array();
    for (int i = 0; i < s->n_front; i++) json_array_append_new(front, option_json(a, &s->front[i]));
    json_t *j = json_pack(
        "{s:s, s:s, s:i, s:b, s:b, s:o, s:o, s:I, s:f}", "model", a->in.model->name, "system",
        a->in.hw->name, "accelerators", a->in.n_accel, "fits", 1, "within_qos", s->found, "best",
        option_json(a, s->found ? &s->best : &s->nearest), "pareto", front, "configurations",
        (json_int_t)s->n_tried, "configurations_per_s", s->n_tried / fmax(s->seconds, 1e-6));
    for (int kind = 0; kind < TK_KIND_COUNT; kind++)
        json_object_set_new(j, tk_kind_name((tk_kind)kind),
                            s->has_kind[kind] ? option_json(a, &s->of_kind[kind]) : json_null());
    if (s->found)
        json_object_set_new(j, "cost",
                            json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "usd_per_hour",
                                      a->cost.total, "usd_per_mtok", a->cost.usd_per_mtok,
                                      "capital", a->cost.capital, "energy", a->cost.energy, "colo",
                                      a->cost.colo, "support", a->cost.support));
    return j;
}

tk_status tk_plan_model(const tk_plan_call *c, const char *model, tk_err *err)
{
    tk_constants *k = NULL;
    answer a = {.c = c};
    tk_status st;
    TK_TRY(tk_constants_load(c->catalog, &k, err));
    TK_TRY(tk_plan_case_of(c, model, c->o->system, k, &a.in, err));
    TK_TRY(tk_search(&a.in, &a.out, err));
    a.k = k;
    tk_prediction p = as_prediction(&a, TK_CLASS_TPOT, 1);
    a.tier = tk_constants_tier(k, &p, NULL);
    if (a.out.found) TK_TRY(tk_plan_cost_of(c, &a.in, &a.out.best, &a.cost_in, &a.cost, err));
    if (c->o->json) TK_TRY(tk_plan_write_json(answer_json(&a), c->o->json, err));
    if (c->o->json == NULL || strcmp(c->o->json, "-") != 0) print_text(&a);
    if (!a.out.found) st = tk_fail(err, TK_FAILED, "no layout keeps the service level");
done:
    tk_free(a.out.front);
    tk_free(k);
    return st;
}
