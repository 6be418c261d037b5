// SPDX-License-Identifier: MIT
// tokamak plan ...: what would it cost on another machine?
#include "cli/plan.h"

#include <stddef.h>
#include <string.h>

typedef tk_plan_options options;

#define NUMBER(field, n, a, unit, lo, hi, text)                                                    \
    {                                                                                              \
        .name = n, .aliases = a, .type = TK_OPT_DOUBLE, .arg = unit, .help = text,                 \
        .offset = offsetof(options, field), .min = lo, .max = hi                                   \
    }
#define TEXT(field, n, a, what, text)                                                              \
    {                                                                                              \
        .name = n, .aliases = a, .type = TK_OPT_STR, .arg = what, .help = text,                    \
        .offset = offsetof(options, field)                                                         \
    }
#define WHOLE(field, n, a, unit, lo, hi, text)                                                     \
    {                                                                                              \
        .name = n, .aliases = a, .type = TK_OPT_INT, .arg = unit, .help = text,                    \
        .offset = offsetof(options, field), .min = lo, .max = hi                                   \
    }

static const tk_opt opts[] = {
    TK_CMD_COMMON_OPTS(options),
    TEXT(system, "system", "s", "NAME", "The machine: a name of `tokamak plan list`."),
    TEXT(model, "model", "m model-path", "NAME", "The model, where it is no argument (compare)."),
    TEXT(backend, "backend", NULL, "NAME",
         "Whose fixed times: trtllm (default), vllm, sglang, mlperf, chitu."),
    TEXT(precision, "precision", "dtype", "WORD",
         "bf16, fp8 or fp4 (default: the model's own, or the best the machine has)."),
    WHOLE(n_accel, "total-gpus", "total_gpus gpus", "N", 1, 1048576,
          "Accelerators to use (default: all of the system)."),
    NUMBER(isl, "isl", NULL, "N", 1, 16777216, "Tokens of a prompt, mean (default 1024)."),
    NUMBER(osl, "osl", NULL, "N", 1, 16777216, "Tokens of an answer, mean (default 1024)."),
    NUMBER(hit, "prefix-hit", "prefix_hit", "X", 0, 0.99,
           "Share of the prompt found in the prefix cache (default 0)."),
    NUMBER(ttft_ms, "ttft", NULL, "MS", 0, 1e9, "Limit on the mean time to the first token."),
    NUMBER(tpot_ms, "tpot", "itl", "MS", 0, 1e9,
           "Limit on the mean time per output token, the first not counted."),
    NUMBER(latency_ms, "request-latency", "request_latency", "MS", 0, 1e12,
           "Limit on the mean time of a whole answer."),
    TEXT(qos, "qos", NULL, "TTFT/TPOT",
         "Both limits at once, in ms (\"2000/50\"), or chat, reading, agent, nvidia."),
    NUMBER(
        rate, "target-request-rate", "target_request_rate request-rate", "X", 0, 1e9,
        "Requests per second to serve: how many accelerators that takes; of simulate, arrivals."),
    NUMBER(power_kw, "power-budget", "power_budget", "KW", 0, 1e9,
           "Limit on the power of all accelerators at the wall."),
    NUMBER(year, "software-year", "software_year", "YEAR", 2022, 2030,
           "Date of the serving software, 2025.5 = mid 2025 (default 2026)."),
    NUMBER(price, "price", NULL, "USD", 0, 1e12,
           "Price of the system (default: the catalogue's, else owner's cost per hour)."),
    NUMBER(usd_per_h, "price-per-hour", "price_per_hour", "USD", 0, 1e9,
           "Rent of one accelerator for an hour, in place of owning."),
    NUMBER(kwh, "kwh-price", "kwh_price", "USD", 0, 1e6, "Price of a kWh (default 0.10)."),
    NUMBER(pue, "pue", NULL, "X", 1, 10,
           "Power usage effectiveness, multiplies the power (default 1.3)."),
    NUMBER(utilisation, "utilisation", "utilization", "X", 0.001, 1,
           "Share of the time that tokens are served (default 0.5)."),
    NUMBER(years, "years", NULL, "N", 0.1, 50, "Years of amortisation (default 4)."),
    NUMBER(interest, "interest", NULL, "X", 0, 1, "Interest per year (default 0.08)."),
    NUMBER(api_price, "api-price", "api_price", "USD", 0, 1e9,
           "Price of 10^6 output tokens elsewhere: from which utilisation is owning cheaper?"),
    NUMBER(batch, "concurrency", "batch", "N", 1, 1e9,
           "Users at once; of simulate, a closed loop in place of arrivals."),
    NUMBER(blocks, "kv-tokens", "kv_tokens", "N", 1, 1e12,
           "Tokens that the cache holds (default: computed)."),
    WHOLE(n_request, "requests", NULL, "N", 1, 67108864, "Requests to simulate (default 100000)."),
    WHOLE(seed, "seed", NULL, "N", 0, 9007199254740992, "Seed of the simulation (default 1)."),
    TEXT(html, "html", NULL, "OUT", "Write the comparison as one self-contained HTML page."),
    TEXT(data, "data", NULL, "DIR",
         "Catalogues and constants to use (default: the ones that came with the program)."),
    TEXT(json, "json", NULL, "OUT", "Write the result as JSON to OUT (- is standard output)."),
    TEXT(points, "points", NULL, "FILE",
         "Measured points as CSV, for validate and fit (default: the published ones)."),
    {.name = "aggregated",
     .type = TK_OPT_FLAG,
     .help = "Only replicas that prefill and decode: no separate pools with a transfer between.",
     .offset = offsetof(options, aggregated)},
    {.name = "rows",
     .type = TK_OPT_FLAG,
     .help = "Print every row of a validation, not the tables alone.",
     .offset = offsetof(options, rows)},
    {.name = "calibrate",
     .type = TK_OPT_FLAG,
     .help = "Measure this machine and write a hardware entry to --json OUT.",
     .offset = offsetof(options, calibrate)},
    TK_OPT_END};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_plan = {
    .name = "plan",
    .synopsis = "plan MODEL --system NAME | list | compare A B | simulate MODEL | validate | fit | "
                "--calibrate [options]",
    .summary = "price a model on machines that are not in the room",
    .details =
        "MODEL --system S     does it fit, how parallel, tokens/s, TTFT, TPOT, joules, dollars;\n"
        "                     aggregated, and disaggregated into pools for prefill and decode\n"
        "compare A B          two systems with --model at one --qos: tables, and a page with "
        "--html\n"
        "simulate MODEL       arrivals, batching and paging request by request: percentiles\n"
        "list                 the systems and models in the catalogues\n"
        "validate             predict every row of --points and compare with its value\n"
        "fit                  fit the constants to the rows of --points with split \"fit\"\n"
        "--calibrate          measure this machine's bandwidth and arithmetic\n"
        "MODEL is a name of `tokamak plan list`, or a config.json or the folder of one.",
    .opts = opts,
    .run = run,
};

static const struct {
    const char *name;
    tk_status (*run)(const tk_plan_call *, tk_err *);
    int n_arg; // after the name
} subcommands[] = {
    {"list", tk_plan_list, 0},       {"validate", tk_plan_validate, 0}, {"fit", tk_plan_fit, 0},
    {"compare", tk_plan_compare, 2}, {"simulate", tk_plan_simulate, 1},
};

static tk_status dispatch(const tk_plan_call *c, const char *name, tk_err *err)
{
    for (size_t i = 0; i < TK_COUNT(subcommands); i++) {
        if (strcmp(name, subcommands[i].name) != 0) continue;
        if (c->n_arg != subcommands[i].n_arg)
            return tk_fail(err, TK_USAGE, "plan %s takes %d names, not %d", name,
                           subcommands[i].n_arg, c->n_arg);
        return subcommands[i].run(c, err);
    }
    if (c->n_arg > 0) return tk_fail(err, TK_USAGE, "unknown subcommand \"%s\"", name);
    return tk_plan_model(c, name, err);
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.isl = 1024, .osl = 1024, .year = 2026, .kwh = -1, .interest = -1};
    const char *arg[8];
    int n = 0;
    tk_plan_call c = {.o = &o};
    tk_status st;
    TK_TRY(tk_cmd_parse(&tk_cmd_plan, argc, argv, &o, arg, 0, TK_COUNT(arg), &n, err));
    if (n == 0 && !o.calibrate) {
        st = tk_fail(err, TK_USAGE, "usage: tokamak %s", tk_cmd_plan.synopsis);
        goto done;
    }
    TK_TRY(tk_catalog_open(o.data, &c.catalog, err));
    c.arg = arg + 1;
    c.n_arg = n - 1;
    TK_TRY(o.calibrate ? tk_plan_calibrate(&c, err) : dispatch(&c, arg[0], err));
done:
    tk_catalog_close(c.catalog);
    return st;
}
