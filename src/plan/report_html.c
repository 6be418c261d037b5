// SPDX-License-Identifier: MIT
#include "plan/report_html.h"

#include <math.h>
#include <stdio.h>

static void text(tk_buf *b, const char *s)
{
    for (; *s; s++) {
        if (*s == '<')
            tk_buf_add_str(b, "&lt;");
        else if (*s == '&')
            tk_buf_add_str(b, "&amp;");
        else if (*s == '"')
            tk_buf_add_str(b, "&quot;");
        else
            tk_buf_add_char(b, *s);
    }
}

static const char *const colour[] = {"#8a5a00", "#0a6ebd"};

static void head(const tk_report *r, tk_buf *b)
{
    tk_buf_add_str(b, "<!DOCTYPE html><html lang=\"en\"><meta charset=\"utf-8\"><title>");
    text(b, r->side[0].hw->title);
    tk_buf_add_str(b, " or ");
    text(b, r->side[1].hw->title);
    tk_buf_add_str(b,
                   "</title><style>body{font:15px/1.45 system-ui,sans-serif;max-width:62em;"
                   "margin:2em auto;padding:0 1em;color:#222}table{border-collapse:collapse;"
                   "margin:1em 0}td,th{border-bottom:1px solid #ddd;padding:.25em .7em;text-align:"
                   "right;vertical-align:top}td:first-child,th:first-child,td.t{text-align:left}"
                   "svg{background:#fafafa;border:1px solid #ddd}small{color:#666}</style><h1>");
    text(b, r->model->title);
    tk_buf_add_str(b, ": ");
    text(b, r->side[0].hw->title);
    tk_buf_add_str(b, " or ");
    text(b, r->side[1].hw->title);
    tk_buf_addf(
        b,
        "</h1><p>Prompts of %.0f, answers of %.0f tokens; TTFT &le; %.0f ms, TPOT &le; %.0f "
        "ms, means. Every number is modelled, its 80 %% interval comes from held-out "
        "residuals of %d measured rows (constants of %s).</p>",
        r->qos.isl, r->qos.osl, r->qos.ttft_s * 1e3, r->qos.tpot_s * 1e3, r->n_row,
        r->constants_date);
}

static void table(const tk_report *r, tk_buf *b)
{
    tk_buf_add_str(b, "<h2>At the service level</h2><table><tr><th>");
    for (int i = 0; i < 2; i++) {
        tk_buf_add_str(b, "<th>");
        text(b, r->side[i].hw->title);
    }
    static const char *const rows[] = {"tokens/s per user",
                                       "tokens/s per accelerator",
                                       "its interval",
                                       "TTFT, ms",
                                       "TPOT, ms",
                                       "W per accelerator, wall",
                                       "J per output token",
                                       "USD per hour",
                                       "USD per 10^6 output tokens",
                                       "its interval (Monte Carlo)",
                                       "tier"};
    for (size_t k = 0; k < TK_COUNT(rows); k++) {
        tk_buf_addf(b, "<tr><td>%s", rows[k]);
        for (int i = 0; i < 2; i++) {
            const tk_side *s = &r->side[i];
            const tk_option *o = s->search.found ? &s->search.best : &s->search.nearest;
            tk_buf_add_str(b, "<td>");
            switch (k) {
            case 0: tk_buf_addf(b, "%.1f", o->tok_s_user); break;
            case 1: tk_buf_addf(b, "%.1f", o->tok_s_accel); break;
            case 2: tk_buf_addf(b, "%.0f to %.0f", s->tok_low, s->tok_high); break;
            case 3: tk_buf_addf(b, "%.0f", o->serve.ttft_s * 1e3); break;
            case 4: tk_buf_addf(b, "%.1f", o->serve.tpot_s * 1e3); break;
            case 5: tk_buf_addf(b, "%.0f", o->power.node_w); break;
            case 6: tk_buf_addf(b, "%.3f", o->joule_per_tok); break;
            case 7: tk_buf_addf(b, "%.2f", s->cost.total); break;
            case 8: tk_buf_addf(b, "%.3f", s->cost.usd_per_mtok); break;
            case 9: tk_buf_addf(b, "%.3f to %.3f", s->p10, s->p90); break;
            default: text(b, tk_tier_name(s->tier)); break;
            }
            if (k == 0 && !s->search.found) tk_buf_add_str(b, " (outside the level)");
        }
    }
    tk_buf_add_str(b, "</table>");
}

// One cell: a kind's best layout, its rate, and what moving the cache costs.
static void kind_cell(const tk_search_out *s, tk_kind kind, tk_buf *b)
{
    const tk_option *o = &s->of_kind[kind];
    char name[TK_OPTION_NAME];
    if (!s->has_kind[kind]) {
        tk_buf_add_str(b, "<td class=\"t\">no layout keeps the level");
        return;
    }
    tk_option_name(o, name);
    tk_buf_add_str(b, "<td class=\"t\">");
    text(b, name);
    if (kind == TK_KIND_AGGREGATED) tk_buf_addf(b, ", %d replicas", o->n_replica);
    tk_buf_addf(b, ", batch %.0f: <b>%.1f</b> tokens/s per accelerator, TTFT %.0f ms, TPOT %.1f ms",
                o->batch, o->tok_s_accel, o->serve.ttft_s * 1e3, o->serve.tpot_s * 1e3);
    if (kind == TK_KIND_DISAGGREGATED)
        tk_buf_addf(b,
                    "<br><small>the cache of a prompt, %.1f MB, crosses the %s in %.2f ms; the "
                    "prefill pool is busy %.0f %%</small>",
                    o->serve.transfer_bytes * 1e-6,
                    o->serve.transfer_near ? "scale-up links" : "network",
                    o->serve.transfer_s * 1e3, 100 * o->serve.prefill_busy);
    if (s->best.kind == kind) tk_buf_add_str(b, " (chosen)");
}

static void kinds(const tk_report *r, tk_buf *b)
{
    tk_buf_add_str(b, "<h2>Layouts</h2><table><tr><th>");
    for (int i = 0; i < 2; i++) {
        tk_buf_add_str(b, "<th>");
        text(b, r->side[i].hw->title);
    }
    for (int kind = 0; kind < TK_KIND_COUNT; kind++) {
        tk_buf_addf(b, "<tr><td>%s", tk_kind_name((tk_kind)kind));
        for (int i = 0; i < 2; i++) kind_cell(&r->side[i].search, (tk_kind)kind, b);
    }
    tk_buf_add_str(b, "</table>");
}

static void pareto(const tk_report *r, tk_buf *b)
{
    double x0 = INFINITY, x1 = 0, y0 = INFINITY, y1 = 0;
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < r->side[i].search.n_front; k++) {
            const tk_option *o = &r->side[i].search.front[k];
            x0 = fmin(x0, o->tok_s_user), x1 = fmax(x1, o->tok_s_user);
            y0 = fmin(y0, o->tok_s_accel), y1 = fmax(y1, o->tok_s_accel);
        }
    tk_buf_add_str(b, "<h2>Undominated configurations</h2>");
    if (!(x1 > x0) || !(y1 > y0)) {
        tk_buf_add_str(b, "<p>None keeps the service level.</p>");
        return;
    }
    tk_buf_add_str(b,
                   "<svg width=\"640\" height=\"380\" viewBox=\"0 0 640 380\"><text x=\"320\" "
                   "y=\"372\" text-anchor=\"middle\">tokens/s per user (log)</text><text x=\"14\" "
                   "y=\"190\" transform=\"rotate(-90 14 190)\" text-anchor=\"middle\">tokens/s per "
                   "accelerator (log)</text>");
    for (int i = 0; i < 2; i++) {
        tk_buf_addf(b, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"",
                    colour[i]);
        for (int k = 0; k < r->side[i].search.n_front; k++) {
            const tk_option *o = &r->side[i].search.front[k];
            tk_buf_addf(b, "%.1f,%.1f ", 60 + 560 * log(o->tok_s_user / x0) / log(x1 / x0),
                        340 - 310 * log(o->tok_s_accel / y0) / log(y1 / y0));
        }
        tk_buf_addf(b, "\"/><text x=\"%d\" y=\"20\" fill=\"%s\">", 70 + 280 * i, colour[i]);
        text(b, r->side[i].hw->title);
        tk_buf_add_str(b, "</text>");
    }
    tk_buf_addf(b,
                "<text x=\"60\" y=\"355\">%.0f</text><text x=\"620\" y=\"355\" text-anchor=\"end\">"
                "%.0f</text><text x=\"56\" y=\"340\" text-anchor=\"end\">%.0f</text><text x=\"56\" "
                "y=\"38\" text-anchor=\"end\">%.0f</text></svg>",
                x0, x1, y0, y1);
}

static void tornado(const tk_report *r, tk_buf *b)
{
    for (int i = 0; i < 2; i++) {
        tk_tornado t[TK_TCO_FIELDS];
        const tk_side *s = &r->side[i];
        if (!s->search.found) continue;
        tk_tco_tornado(&s->cost_in, t);
        double mid = s->cost.usd_per_mtok, reach = 0;
        for (int k = 0; k < 8; k++)
            reach = fmax(reach, fmax(fabs(t[k].low - mid), fabs(t[k].high - mid)));
        tk_buf_add_str(b, "<h3>");
        text(b, s->hw->title);
        tk_buf_addf(b,
                    ": %.3f USD, each input 20 %% lower and higher</h3><svg width=\"640\" "
                    "height=\"200\" viewBox=\"0 0 640 200\">",
                    mid);
        for (int k = 0; k < 8; k++) {
            double a = 400 + 200 * (t[k].low - mid) / reach,
                   z = 400 + 200 * (t[k].high - mid) / reach;
            tk_buf_addf(b,
                        "<text x=\"8\" y=\"%d\">%s</text><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" "
                        "height=\"16\" fill=\"%s\"/>",
                        20 + 23 * k, tk_tco_field_name(t[k].field), fmin(a, z), 8 + 23 * k,
                        fmax(1, fabs(z - a)), colour[i]);
        }
        tk_buf_add_str(b,
                       "<line x1=\"400\" y1=\"0\" x2=\"400\" y2=\"200\" stroke=\"#222\"/></svg>");
    }
}

static void waterfall(const tk_report *r, tk_buf *b)
{
    const tk_attribution *w = r->why;
    if (w == NULL) return;
    double total = log(w->rate[(1 << TK_FACTOR_COUNT) - 1] / w->rate[0]), reach = 0, at = 0;
    for (int i = 0; i < TK_FACTOR_COUNT; i++) reach += fabs(w->phi[i]);
    tk_buf_addf(
        b,
        "<h2>What each change contributed</h2><p>Tokens/s per accelerator, from %.1f to "
        "%.1f: %.2f times. Shapley values of the logarithm over all 256 combinations; %d of "
        "them keep no layout within the level and are counted by how far they miss it.</p>"
        "<svg width=\"640\" height=\"%d\" viewBox=\"0 0 640 %d\">",
        w->rate[0], w->rate[(1 << TK_FACTOR_COUNT) - 1], exp(total), w->n_outside,
        30 * TK_FACTOR_COUNT + 10, 30 * TK_FACTOR_COUNT + 10);
    double low = 0, run = 0;
    for (int i = 0; i < TK_FACTOR_COUNT; i++) run += w->phi[i], low = fmin(low, run);
    for (int i = 0; i < TK_FACTOR_COUNT; i++) {
        double a = at, z = at + w->phi[i];
        at = z;
        tk_buf_addf(b,
                    "<text x=\"8\" y=\"%d\">%s</text><rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" "
                    "height=\"20\" fill=\"%s\"/>",
                    24 + 30 * i, tk_factor_name(i), 280 + 340 * (fmin(a, z) - low) / reach,
                    9 + 30 * i, fmax(1, 340 * fabs(z - a) / reach),
                    w->phi[i] >= 0 ? "#2c7a2c" : "#b03030");
    }
    tk_buf_add_str(
        b, "</svg><table><tr><th>change<th>factor<th>share of log gain<th>made first<th>made "
           "last<th>in order<th>needs");
    for (int i = 0; i < TK_FACTOR_COUNT; i++)
        tk_buf_addf(b, "<tr><td>%s<td>%.2f<td>%.0f %%<td>%.2f<td>%.2f<td>%.1f<td class=\"t\">%s",
                    tk_factor_name(i), exp(w->phi[i]), 100 * w->phi[i] / total, exp(w->first[i]),
                    exp(w->last[i]), w->path[i + 1], tk_factor_gate(i));
    tk_buf_add_str(b, "</table>");
}

static void claims(const tk_report *r, tk_buf *b)
{
    const tk_claims *c = r->claims;
    if (c == NULL) return;
    tk_buf_add_str(
        b, "<h2>Published multiples, computed again</h2><table><tr><th>claim<th>measured like "
           "for like<th>modelled<th>what is compared<th>where the article is wrong");
    for (int i = 0; i < TK_CLAIMS; i++) {
        const tk_claim *k = &c->claim[i];
        tk_buf_addf(b, "<tr><td>%s<br><small>%s</small><td class=\"t\">", k->name, k->published);
        if (k->measured > 0) tk_buf_addf(b, "%.2f<br>", k->measured);
        tk_buf_addf(b,
                    "<small>%s</small><td>%.2f to %.2f<td class=\"t\"><small>%s</small><td "
                    "class=\"t\">%s",
                    k->measured_what, k->low, k->high, k->modelled_what, k->wrong);
    }
    tk_buf_add_str(b,
                   "</table><h3>The 67 to 368 path</h3><table><tr><th>step<th>measured<th>modelled"
                   "<th>error");
    for (int i = 0; i < c->n_path; i++)
        tk_buf_addf(b, "<tr><td>%s<td>%.0f<td>%.0f<td>%+.1f %%", tk_claims_path_step[i],
                    tk_claims_path[i], c->path_model[i],
                    100 * (c->path_model[i] / tk_claims_path[i] - 1));
    tk_buf_add_str(b, "</table>");
}

void tk_report_html(const tk_report *r, tk_buf *b)
{
    head(r, b);
    table(r, b);
    kinds(r, b);
    pareto(r, b);
    tk_buf_add_str(b, "<h2>Cost of 10<sup>6</sup> output tokens</h2>");
    tornado(r, b);
    waterfall(r, b);
    claims(r, b);
    tk_buf_add_str(b, "<h2>Sources</h2><ul>");
    for (int i = 0; i < 2; i++) {
        tk_buf_add_str(b, "<li>");
        text(b, r->side[i].hw->sources);
    }
    tk_buf_add_str(b, "<li>");
    text(b, r->model->sources);
    tk_buf_add_str(b, "</ul></html>\n");
}
