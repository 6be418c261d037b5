// SPDX-License-Identifier: MIT
#include "bench/kernel_report.h"

#include "base/mem.h"
#include "bench/profile.h"
#include "bench/stats.h"
#include "hw/cpu.h"

#include <math.h>
#include <string.h>
#include <time.h>

// The format most of the parameters are stored in, which says what arithmetic a prompt is held to.
static tk_dtype main_dtype(const tk_program_size *s)
{
    int best = 0;
    for (int t = 1; t < TK_DTYPE_COUNT; t++)
        if (s->params_by_dtype[t] > s->params_by_dtype[best]) best = t;
    return (tk_dtype)best;
}

json_t *tk_bench_number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static void set(json_t *row, const char *key, json_t *value)
{
    json_object_set_new(row, key, value);
}

static void set_int(json_t *row, const char *key, uint64_t v)
{
    json_object_set_new(row, key, json_integer((json_int_t)v));
}

static void add_model(json_t *row, const char *model, const tk_program *p)
{
    tk_program_size size;
    tk_program_measure(p, &size);
    double n = (double)size.params_total;
    char type[128];
    snprintf(type, sizeof type, n < 1e9 ? "%s %.0fM %s" : "%s %.1fB %s", p->cfg.arch,
             n < 1e9 ? n * 1e-6 : n * 1e-9, tk_dtype_name(main_dtype(&size)));
    set(row, "model_filename", json_string(model));
    set(row, "model_type", json_string(type));
    set_int(row, "model_size", size.bytes_total);
    set_int(row, "model_n_params", size.params_total);
}

static void add_samples(json_t *row, const tk_bench_result *r)
{
    const tk_bench_test *t = &r->test;
    size_t n = (size_t)r->n_rep;
    double *ns = tk_alloc(n * sizeof *ns), *ts = tk_alloc(n * sizeof *ts);
    json_t *all_ns = json_array(), *all_ts = json_array();
    double n_tok = (double)t->n_parallel * ((double)t->n_prompt + t->n_gen);
    for (size_t i = 0; i < n; i++) {
        ns[i] = (double)r->samples_ns[i];
        ts[i] = n_tok * 1e9 / ns[i];
        json_array_append_new(all_ns, json_integer((json_int_t)r->samples_ns[i]));
        json_array_append_new(all_ts, json_real(ts[i]));
    }
    set_int(row, "avg_ns", (uint64_t)tk_stats_mean(ns, n));
    set_int(row, "stddev_ns", (uint64_t)tk_stats_std_sample(ns, n));
    set(row, "avg_ts", json_real(tk_stats_mean(ts, n)));
    set(row, "stddev_ts", json_real(tk_stats_std_sample(ts, n)));
    set(row, "samples_ns", all_ns);
    set(row, "samples_ts", all_ts);
    tk_stats_sort(ns, n);
    tk_stats_sort(ts, n);
    set_int(row, "n_parallel", (uint64_t)t->n_parallel);
    set_int(row, "median_ns", (uint64_t)tk_stats_median(ns, n));
    set(row, "median_ts", json_real(tk_stats_median(ts, n)));
    tk_free(ns);
    tk_free(ts);
}

// The least time the limits allow for the work, over the time it took: prompts are held to the arithmetic,
// decoding to reading the weights.
static void add_roof(json_t *row, const tk_bench_result *r, const tk_roof *roof, tk_dtype dtype)
{
    const tk_bench_work *w = &r->work;
    double s = 0;
    for (int i = 0; i < r->n_rep; i++) s += (double)r->samples_ns[i] * 1e-9 / r->n_rep;
    tk_roof_limit compute = tk_roof_of_dtype(roof, dtype);
    double floor_s = 0;
    if (w->prompt_flop > 0) floor_s += w->prompt_flop / compute.op_per_s;
    if (w->gen_bytes > 0) floor_s += w->gen_bytes / roof->read_bytes_per_s;
    const char *kind = r->test.n_gen == 0 ? compute.name : r->test.n_prompt == 0 ? "read" : "mixed";
    set(row, "gbytes_per_s", tk_bench_number((w->prompt_bytes + w->gen_bytes) / s * 1e-9));
    set(row, "tflop_per_s", tk_bench_number((w->prompt_flop + w->gen_flop) / s * 1e-12));
    set(row, "roof_fraction", tk_bench_number(floor_s / s));
    set(row, "roof_kind", isfinite(floor_s) ? json_string(kind) : json_null());
    set(row, "roof_read_gbytes_per_s", tk_bench_number(roof->read_bytes_per_s * 1e-9));
    set(row, "roof_amx_tops", tk_bench_number(roof->amx_int8_op_per_s * 1e-12));
    set(row, "roof_amx_bf16_tflop_per_s", tk_bench_number(roof->amx_bf16_flop_per_s * 1e-12));
    set(row, "roof_bf16_tflop_per_s", tk_bench_number(roof->bf16_flop_per_s * 1e-12));
    set(row, "roof_int8_tops", tk_bench_number(roof->int8_op_per_s * 1e-12));
    set(row, "roof_fp32_tflop_per_s", tk_bench_number(roof->fma_flop_per_s * 1e-12));
    set(row, "weight_bytes_per_step",
        tk_bench_number(w->n_step > 0 ? (w->prompt_bytes + w->gen_bytes) / w->n_step : NAN));
}

json_t *tk_bench_row(const tk_bench_about *about, const char *model, tk_engine *e,
                     const tk_bench_result *r, const tk_roof *roof)
{
    const tk_exec *x = tk_engine_exec(e);
    const tk_program *p = tk_engine_program(e);
    const char *kv = tk_kv_dtype_name(tk_exec_kv_dtype(x));
    json_t *row = json_object();
    set(row, "build_commit", json_string(about->commit));
    set_int(row, "build_number", (uint64_t)about->commit_count);
    set(row, "cpu_info", json_string(tk_cpu_get()->model));
    set(row, "gpu_info", json_string(""));
    set(row, "backends", json_string("CPU"));
    add_model(row, model, p);
    set_int(row, "n_batch", (uint64_t)r->test.n_batch);
    set_int(row, "n_ubatch", (uint64_t)r->n_step_tok);
    set_int(row, "n_threads", (uint64_t)tk_exec_plan_of(x)->n_thread);
    set(row, "type_k", json_string(kv));
    set(row, "type_v", json_string(kv));
    set_int(row, "n_gpu_layers", 0);
    set_int(row, "n_prompt", (uint64_t)r->test.n_prompt);
    set_int(row, "n_gen", (uint64_t)r->test.n_gen);
    set_int(row, "n_depth", (uint64_t)r->test.n_depth);
    char when[32];
    time_t now = time(NULL);
    struct tm utc;
    strftime(when, sizeof when, "%FT%TZ", gmtime_r(&now, &utc));
    set(row, "test_time", json_string(when));
    add_samples(row, r);
    set(row, "isa", json_string(tk_isa_name(tk_exec_isa(x))));
    tk_program_size size;
    tk_program_measure(p, &size);
    add_roof(row, r, roof, main_dtype(&size));
    if (r->op_ns) tk_bench_profile_add(row, p, r, roof);
    return row;
}

static double num(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

static const char *text(const json_t *row, const char *key)
{
    const char *s = json_string_value(json_object_get(row, key));
    return s ? s : "";
}

static void test_name(const json_t *row, char out[64])
{
    int p = (int)num(row, "n_prompt"), g = (int)num(row, "n_gen"), d = (int)num(row, "n_depth");
    int b = (int)num(row, "n_parallel"), n;
    if (g == 0)
        n = snprintf(out, 64, "pp%d", p);
    else if (p == 0)
        n = snprintf(out, 64, "tg%d", g);
    else
        n = snprintf(out, 64, "pp%d+tg%d", p, g);
    if (d > 0) n += snprintf(out + n, 64 - (size_t)n, " @ d%d", d);
    if (b > 1) snprintf(out + n, 64 - (size_t)n, " x%d", b);
}

// "12.3" or "-" when it is null.
static const char *cell(const json_t *row, const char *key, double scale, const char *fmt,
                        char out[32])
{
    const json_t *v = json_object_get(row, key);
    if (json_is_number(v))
        snprintf(out, 32, fmt, json_number_value(v) * scale);
    else
        snprintf(out, 32, "-");
    return out;
}

static void print_md(tk_bench_printer *p, const json_t *row)
{
    static const char *const batch[] = {" n_batch | n_ubatch |", " ------: | -------: |"};
    bool has_profile = json_object_get(row, "profile") != NULL; // stands between the rows
    if (p->n_row == 0 || has_profile) {
        fprintf(
            p->to,
            "| model                          |       size |     params | backend    | threads "
            "|%s                 test |                  t/s |     GB/s |  TFLOP/s | of roof |\n"
            "| ------------------------------ | ---------: | ---------: | ---------- | ------: "
            "|%s -------------------: | -------------------: | -------: | -------: | ------: |\n",
            p->with_batch ? batch[0] : "", p->with_batch ? batch[1] : "");
    }
    double size = num(row, "model_size"), params = num(row, "model_n_params");
    char a[32], b[32], ts[64], test[64];
    snprintf(a, sizeof a, size < 0x1p30 ? "%.2f MiB" : "%.2f GiB",
             size < 0x1p30 ? size * 0x1p-20 : size * 0x1p-30);
    snprintf(b, sizeof b, params < 1e9 ? "%.2f M" : "%.2f B",
             params < 1e9 ? params * 1e-6 : params * 1e-9);
    snprintf(ts, sizeof ts, "%.2f ± %.2f", num(row, "avg_ts"), num(row, "stddev_ts"));
    test_name(row, test);
    fprintf(p->to, "| %-30s | %10s | %10s | %-10s | %7d |", text(row, "model_type"), a, b,
            text(row, "backends"), (int)num(row, "n_threads"));
    if (p->with_batch)
        fprintf(p->to, " %7d | %8d |", (int)num(row, "n_batch"), (int)num(row, "n_ubatch"));
    // one character more: the sign is two bytes
    fprintf(p->to, " %20s | %21s | %8s | %8s | %7s |\n", test, ts,
            cell(row, "gbytes_per_s", 1, "%.2f", a), cell(row, "tflop_per_s", 1, "%.3f", b),
            cell(row, "roof_fraction", 100, "%.1f%%", (char[32]){0}));
    if (has_profile) tk_bench_profile_print(p->to, row);
}

static void print_csv_field(FILE *to, const char *s)
{
    putc('"', to);
    for (; *s; s++) {
        if (*s == '"') putc('"', to);
        putc(*s, to);
    }
    putc('"', to);
}

static void print_csv(tk_bench_printer *p, const json_t *row)
{
    const char *key, *comma = "";
    json_t *v;
    if (p->n_row == 0) {
        json_object_foreach((json_t *)row, key, v)
        {
            if (json_is_array(v)) continue;
            fprintf(p->to, "%s%s", comma, key);
            comma = ",";
        }
        putc('\n', p->to);
        comma = "";
    }
    json_object_foreach((json_t *)row, key, v)
    {
        if (json_is_array(v)) continue;
        char *bare = json_is_string(v) || json_is_null(v)
                         ? NULL
                         : json_dumps(v, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        fputs(comma, p->to);
        print_csv_field(p->to, bare ? bare : json_is_string(v) ? json_string_value(v) : "");
        free(bare);
        comma = ",";
    }
    putc('\n', p->to);
}

void tk_bench_print_row(tk_bench_printer *p, const json_t *row)
{
    switch (p->format) {
    case TK_BENCH_MD: print_md(p, row); break;
    case TK_BENCH_CSV: print_csv(p, row); break;
    case TK_BENCH_JSON:
        fputs(p->n_row ? ",\n" : "[\n", p->to);
        json_dumpf(row, p->to, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        break;
    case TK_BENCH_JSONL:
        json_dumpf(row, p->to, JSON_COMPACT | JSON_REAL_PRECISION(9));
        putc('\n', p->to);
        break;
    }
    p->n_row++;
    fflush(p->to);
}

void tk_bench_print_end(tk_bench_printer *p, const tk_roof *roof)
{
    char text_of_roof[256];
    if (p->format == TK_BENCH_JSON) fputs(p->n_row ? "\n]\n" : "[]\n", p->to);
    if (p->format != TK_BENCH_MD) return;
    tk_bench_roof_text(roof, text_of_roof, sizeof text_of_roof);
    fprintf(p->to, "\nroof: %s\nbuild: %s (%d)\n", text_of_roof, p->about.commit,
            p->about.commit_count);
}

void tk_bench_roof_text(const tk_roof *roof, char *out, size_t cap)
{
    const struct {
        const char *name, *unit;
        double value;
    } rates[] = {
        {"read", "GB/s", roof->read_bytes_per_s * 1e-9},
        {"fp32", "TFLOP/s", roof->fma_flop_per_s * 1e-12},
        {"int8", "TOPS", roof->int8_op_per_s * 1e-12},
        {"bf16", "TFLOP/s", roof->bf16_flop_per_s * 1e-12},
        {"AMX int8", "TOPS", roof->amx_int8_op_per_s * 1e-12},
        {"AMX bf16", "TFLOP/s", roof->amx_bf16_flop_per_s * 1e-12},
    };
    size_t at = 0;
    for (size_t i = 0; i < TK_COUNT(rates) && at < cap; i++) {
        const char *comma = i ? ", " : "";
        int n = isnan(rates[i].value)
                    ? snprintf(out + at, cap - at, "%s%s unavailable", comma, rates[i].name)
                    : snprintf(out + at, cap - at, "%s%s %.3g %s", comma, rates[i].name,
                               rates[i].value, rates[i].unit);
        at += (size_t)TK_MAX(n, 0);
        if (i == 0 && !isnan(rates[0].value) && at < cap)
            at +=
                (size_t)snprintf(out + at, cap - at, " (%d streams a thread)", roof->read_streams);
    }
}
