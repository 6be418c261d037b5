// SPDX-License-Identifier: MIT
// `tokamak plan compare A B --model M --qos Q`: the one report people ask for.
#include "cli/plan.h"

#include "base/mem.h"
#include "plan/report_html.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const tk_option *chosen(const tk_side *s)
{
    return s->search.found ? &s->search.best : &s->search.nearest;
}

static tk_status price_side(const tk_plan_call *c, const char *system, const tk_constants *k,
                            tk_search_in *in, tk_side *s, tk_err *err)
{
    tk_status st;
    TK_TRY(tk_plan_case_of(c, c->o->model, system, k, in, err));
    s->hw = in->hw;
    // each machine at its best precision unless one is asked for
    if (c->o->precision == NULL) {
        const char *best = in->hw->flops[TK_PREC_FP4] > 0   ? "nvfp4"
                           : in->hw->flops[TK_PREC_FP8] > 0 ? "fp8"
                                                            : "bf16";
        TK_TRY(tk_precision_parse(best, &in->model->shape, in->hw, in->backend, &in->prec, err));
        in->precision = best;
    }
    // a model too large for one machine is spread over as many as it needs
    st = tk_search(in, &s->search, NULL);
    for (int twice = 0; st == TK_NOMEM && twice < 3 && c->o->n_accel == 0; twice++) {
        in->n_accel *= 2;
        st = tk_search(in, &s->search, twice == 2 ? err : NULL);
    }
    if (st != TK_OK) {
        st =
            tk_fail(err, st, "%s does not fit %d x %s", in->model->name, in->n_accel, in->hw->part);
        goto done;
    }
    tk_prediction p = {
        .cls = TK_CLASS_RATE, .value = chosen(s)->tok_s_accel, .hw = in->hw, .model = in->model};
    s->tier = tk_constants_tier(k, &p, NULL);
    tk_plan_rate_interval(k, in, s->tier, chosen(s), false, p.value, &s->tok_low, &s->tok_high);
    TK_TRY(tk_plan_cost_of(c, in, chosen(s), &s->cost_in, &s->cost, err));
    double n = s->cost_in.tok_per_s / chosen(s)->tok_s_accel;
    tk_tco_monte_carlo(&s->cost_in, s->tok_low * n, s->tok_high * n, 1, 20000, &s->p10, &s->p50,
                       &s->p90);
done:
    return st;
}

static void print_side(const tk_side *s)
{
    const tk_option *o = chosen(s);
    char name[TK_OPTION_NAME];
    tk_option_name(o, name);
    printf("%-20s %s", s->hw->name, name);
    if (o->kind == TK_KIND_AGGREGATED) printf(" x %d replicas", o->n_replica);
    printf(", batch %.0f%s\n", o->batch,
           s->search.found ? "" : "   (OUTSIDE the service level: the nearest)");
    printf("  %8.1f tok/s per user   %9.1f tok/s per accelerator [%.0f, %.0f]   %s\n",
           o->tok_s_user, o->tok_s_accel, s->tok_low, s->tok_high, tk_tier_name(s->tier));
    printf("  TTFT %.0f ms, TPOT %.1f ms, %.0f W, %.3f J per token, %.3f USD per 10^6 [%.3f, "
           "%.3f]\n",
           o->serve.ttft_s * 1e3, o->serve.tpot_s * 1e3, o->power.node_w, o->joule_per_tok,
           s->cost.usd_per_mtok, s->p10, s->p90);
    if (o->kind == TK_KIND_DISAGGREGATED) {
        printf("  transfer: ");
        tk_plan_print_transfer(o);
        putchar('\n');
    }
    if (!s->search.found) return;
    printf("  beside it, ");
    tk_plan_print_kind(&s->search, o->kind == TK_KIND_DISAGGREGATED ? TK_KIND_AGGREGATED
                                                                    : TK_KIND_DISAGGREGATED);
}

static void print_sides(const tk_report *r)
{
    printf("%s, prompts %.0f, answers %.0f, TTFT <= %.0f ms, TPOT <= %.0f ms\n\n", r->model->title,
           r->qos.isl, r->qos.osl, r->qos.ttft_s * 1e3, r->qos.tpot_s * 1e3);
    for (int i = 0; i < 2; i++) print_side(&r->side[i]);
    const tk_option *a = chosen(&r->side[0]), *b = chosen(&r->side[1]);
    double gain = b->tok_s_accel / a->tok_s_accel;
    double lo = log(r->side[1].tok_low / b->tok_s_accel),
           hi = log(r->side[1].tok_high / b->tok_s_accel);
    // the model's error is largely shared by both sides; taken as independent this is the wider reading
    printf("\nper accelerator %.2f times [%.2f, %.2f], energy per token 1/%.2f, dollars 1/%.2f\n",
           gain, gain * exp(lo * 1.414), gain * exp(hi * 1.414),
           a->joule_per_tok / b->joule_per_tok,
           r->side[0].cost.usd_per_mtok / r->side[1].cost.usd_per_mtok);
    double u = tk_tco_break_even(&r->side[1].cost_in, r->side[0].cost.usd_per_mtok);
    if (u <= 1)
        printf("%s is cheaper from a utilisation of %.1f %% on (the other at %.0f %%)\n",
               r->side[1].hw->name, 100 * u, 100 * r->side[0].cost_in.utilisation);
    else
        printf("%s is at no utilisation cheaper\n", r->side[1].hw->name);
}

static void print_why(const tk_attribution *w)
{
    double total = log(w->rate[(1 << TK_FACTOR_COUNT) - 1] / w->rate[0]);
    printf(
        "\nwhat each change contributed: %.1f -> %.1f tok/s per accelerator, %.2f times; Shapley "
        "of "
        "the log over 256 combinations\n(%d of them serve no layout within the level: counted by "
        "how far they miss it)\n\n%-40s %7s %7s %7s %7s %10s  needs\n",
        w->rate[0], w->rate[(1 << TK_FACTOR_COUNT) - 1], exp(total), w->n_outside, "", "factor",
        "share", "first", "last", "in order");
    for (int i = 0; i < TK_FACTOR_COUNT; i++)
        printf("%-40s %7.2f %6.0f%% %7.2f %7.2f %10.1f  %s\n", tk_factor_name(i), exp(w->phi[i]),
               100 * w->phi[i] / total, exp(w->first[i]), exp(w->last[i]), w->path[i + 1],
               tk_factor_gate(i));
}

// Tokens/s per accelerator over prompt length and batch: what memory and the quadratic part cost. Of the best
// aggregated layout, whose batch can be moved by itself.
static void print_sensitivity(const tk_search_in *in, const tk_side *s)
{
    const tk_option *at =
        s->search.has_kind[TK_KIND_AGGREGATED] ? &s->search.of_kind[TK_KIND_AGGREGATED] : chosen(s);
    char name[TK_OPTION_NAME];
    if (at->kind == TK_KIND_DISAGGREGATED) return;
    tk_option_name(at, name);
    static const double isl[] = {256, 1024, 4096, 16384, 65536},
                        batch[] = {1, 4, 16, 64, 256, 1024};
    printf("\n%s, %s: output tok/s per accelerator (TPOT ms); - does not fit\n%10s", in->hw->name,
           name, "prompt");
    for (size_t j = 0; j < TK_COUNT(batch); j++) printf("   batch %-8.0f", batch[j]);
    for (size_t i = 0; i < TK_COUNT(isl); i++) {
        printf("\n%10.0f", isl[i]);
        for (size_t j = 0; j < TK_COUNT(batch); j++) {
            tk_search_in t = *in;
            tk_option o;
            t.qos.isl = isl[i];
            if (tk_search_price(&t, &at->at, at->mtp, batch[j], &o))
                printf(" %8.1f (%5.1f)", o.tok_s_accel, o.serve.tpot_s * 1e3);
            else
                printf(" %16s", "-");
        }
    }
    putchar('\n');
}

static void print_claims(const tk_claims *c)
{
    printf("\npublished multiples, computed again\n");
    for (int i = 0; i < TK_CLAIMS; i++) {
        const tk_claim *k = &c->claim[i];
        printf("* %s (%s)\n    measured: ", k->name, k->published);
        if (k->measured > 0) printf("%.2f; ", k->measured);
        printf("%s\n    modelled: %.2f to %.2f: %s\n    article:  %s\n", k->measured_what, k->low,
               k->high, k->modelled_what, k->wrong);
    }
    printf("\n%-42s %9s %9s\n", "the 67 to 368 path", "measured", "modelled");
    for (int i = 0; i < c->n_path; i++)
        printf("%-42s %9.0f %9.0f  %+.1f%%\n", tk_claims_path_step[i], tk_claims_path[i],
               c->path_model[i], 100 * (c->path_model[i] / tk_claims_path[i] - 1));
}

static tk_status write_html(const tk_report *r, const char *path, tk_err *err)
{
    tk_buf b = tk_buf_make(8 << 20);
    tk_report_html(r, &b);
    tk_status st = TK_OK;
    FILE *f = b.failed ? NULL : fopen(path, "w");
    if (f == NULL || fwrite(b.data, 1, b.len, f) != b.len)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    if (f && fclose(f) != 0 && st == TK_OK)
        st = tk_fail(err, TK_IO, "cannot write \"%s\": %s", path, strerror(errno));
    tk_buf_free(&b);
    return st;
}

static json_t *report_json(const tk_report *r)
{
    json_t *sides = json_array(), *why = json_array(), *claims = json_array();
    for (int i = 0; i < 2; i++) {
        const tk_side *s = &r->side[i];
        const tk_option *o = chosen(s);
        char name[TK_OPTION_NAME];
        tk_option_name(o, name);
        json_array_append_new(
            sides,
            json_pack("{s:s, s:s, s:s, s:f, s:b, s:f, s:f, s:[f, f], s:f, s:f, s:f, s:f, s:[f, f], "
                      "s:s}",
                      "system", s->hw->name, "kind", tk_kind_name(o->kind), "layout", name,
                      "transfer_ms", o->serve.transfer_s * 1e3, "within_qos", s->search.found,
                      "tok_s_user", o->tok_s_user, "tok_s_gpu", o->tok_s_accel, "interval",
                      s->tok_low, s->tok_high, "ttft_ms", o->serve.ttft_s * 1e3, "tpot_ms",
                      o->serve.tpot_s * 1e3, "joule_per_token", o->joule_per_tok, "usd_per_mtok",
                      s->cost.usd_per_mtok, "usd_interval", s->p10, s->p90, "tier",
                      tk_tier_name(s->tier)));
    }
    for (int i = 0; r->why && i < TK_FACTOR_COUNT; i++)
        json_array_append_new(why, json_pack("{s:s, s:f, s:f, s:f}", "factor", tk_factor_name(i),
                                             "shapley_log", r->why->phi[i], "first_log",
                                             r->why->first[i], "last_log", r->why->last[i]));
    for (int i = 0; i < TK_CLAIMS; i++)
        json_array_append_new(claims,
                              json_pack("{s:s, s:f, s:[f, f]}", "claim", r->claims->claim[i].name,
                                        "measured", r->claims->claim[i].measured, "modelled",
                                        r->claims->claim[i].low, r->claims->claim[i].high));
    return json_pack("{s:s, s:o, s:o, s:o}", "model", r->model->name, "systems", sides,
                     "attribution", why, "claims", claims);
}

static void print_report(const tk_report *r, const tk_search_in in[2])
{
    print_sides(r);
    if (r->why)
        print_why(r->why);
    else
        printf("\nno attribution: some combination does not fit; give more --total-gpus\n");
    for (int i = 0; i < 2; i++) print_sensitivity(&in[i], &r->side[i]);
    print_claims(r->claims);
}

tk_status tk_plan_compare(const tk_plan_call *c, tk_err *err)
{
    tk_constants *k = NULL;
    tk_search_in in[2];
    tk_claims *claims = tk_alloc(sizeof *claims);
    tk_attribution *why = tk_alloc(sizeof *why);
    tk_report r = {.why = why, .claims = claims};
    tk_status st;
    if (c->o->model == NULL) {
        st = tk_fail(err, TK_USAGE, "plan compare needs --model");
        goto done;
    }
    TK_TRY(tk_constants_load(c->catalog, &k, err));
    for (int i = 0; i < 2; i++) TK_TRY(price_side(c, c->arg[i], k, &in[i], &r.side[i], err));
    r.model = in[0].model;
    r.qos = in[0].qos;
    r.constants_date = k->date;
    r.n_row = k->n_row;
    // 16-bit weights must fit too: attribution runs on as many accelerators as that takes
    tk_search_in to = in[1];
    to.aggregated = true; // its factors are changes of one way of serving
    if (c->o->n_accel == 0 && to.n_accel < 32) to.n_accel = 32;
    if (tk_attribute(&to, in[0].hw, why, NULL) != TK_OK) r.why = NULL;
    TK_TRY(tk_claims_compute(c->catalog, k, claims, err));
    if (c->o->html) TK_TRY(write_html(&r, c->o->html, err));
    if (c->o->json) TK_TRY(tk_plan_write_json(report_json(&r), c->o->json, err));
    if (c->o->json == NULL || strcmp(c->o->json, "-") != 0) print_report(&r, in);
done:
    for (int i = 0; i < 2; i++) tk_free(r.side[i].search.front);
    tk_free(claims);
    tk_free(why);
    tk_free(k);
    return st;
}
