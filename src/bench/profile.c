// SPDX-License-Identifier: MIT
#include "bench/profile.h"

#include "base/mem.h"
#include "bench/kernel_report.h"

#include <math.h>
#include <string.h>

typedef enum part {
    PART_PROLOGUE, // of a layer, up to what the cache needs
    PART_ATTEND,
    PART_OUTPUT, // up to the first addition to the residual stream
    PART_FFN,
    PART_ENDS, // outside layers: embedding, last norm, logits
    PART_REST, // between operations and steps
    PART_COUNT
} part;

static const char *const part_names[] = {"prologue", "attend", "output", "ffn", "ends", "rest"};

typedef struct line {
    part part;
    const char *op; // "" = of the whole part
    char weight[64];
    int n_op;
    double ns, bytes, flop;
    double flop_s; // least time for flop, each in the unit for its weights
} line;

typedef struct profile {
    line *lines; // [n_line], room for one an operation
    int n_line;
    line parts[PART_COUNT];
    double n_step, step_ns;
} profile;

static bool is_attend(tk_op_kind k)
{
    return k == TK_OP_ATTEND_GQA || k == TK_OP_ATTEND_MLA;
}

// prev is the operation before, which was in `before`.
static part part_of(const tk_op *op, const tk_op *prev, part before)
{
    if (op->layer < 0) return PART_ENDS;
    if (prev == NULL || prev->layer != op->layer) return PART_PROLOGUE;
    if (is_attend(op->kind)) return PART_ATTEND;
    if (before == PART_ATTEND) return PART_OUTPUT;
    if (before == PART_OUTPUT && prev->kind == TK_OP_ADD) return PART_FFN;
    return before;
}

// "model.layers.3.self_attn.q_a_proj.weight" -> "self_attn.q_a_proj"; "" without a weight, and for experts,
// which have many.
static void weight_name(const tk_program *p, const tk_op *op, char out[64])
{
    out[0] = 0;
    if (op->w < 0 || op->kind == TK_OP_EXPERTS) return;
    const char *name = p->weights[op->w].name, *end = strrchr(name, '.');
    const char *digit = strpbrk(name, "0123456789");
    if (op->layer >= 0 && digit) name = digit + strspn(digit, "0123456789") + 1;
    size_t len =
        end && end > name && strcmp(end, ".weight") == 0 ? (size_t)(end - name) : strlen(name);
    snprintf(out, 64, "%.*s", (int)TK_MIN(len, 63), name);
}

// op is one of tk_op_name's, which has one pointer for a name.
static line *line_of(profile *f, part of, const char *op, const char *weight)
{
    for (int i = 0; i < f->n_line; i++) {
        line *l = &f->lines[i];
        if (l->part == of && l->op == op && strcmp(l->weight, weight) == 0) return l;
    }
    line *l = &f->lines[f->n_line++];
    *l = (line){.part = of, .op = op};
    snprintf(l->weight, sizeof l->weight, "%s", weight);
    return l;
}

static void add(line *l, double ns, tk_traffic_sum work, double op_per_s)
{
    l->n_op++;
    l->ns += ns;
    l->bytes += work.bytes;
    l->flop += work.flop;
    if (work.flop > 0) l->flop_s += work.flop / op_per_s;
}

static void gather(profile *f, const tk_program *p, const tk_bench_result *r, const tk_roof *roof)
{
    part at = PART_ENDS;
    double rest_ns = f->step_ns;
    for (int i = 0; i < PART_COUNT; i++) f->parts[i] = (line){.part = i, .op = ""};
    for (int i = 0; i < p->n_op; i++) {
        const tk_op *op = &p->ops[i];
        char weight[64];
        at = part_of(op, i ? op - 1 : NULL, at);
        weight_name(p, op, weight);
        tk_dtype dtype = op->w >= 0 ? p->weights[op->w].m.dtype : TK_DTYPE_F32;
        double op_per_s = tk_roof_of_dtype(roof, dtype).op_per_s;
        double ns = (double)r->op_ns[i] / f->n_step;
        tk_traffic_sum work = {r->op_work[i].bytes / f->n_step, r->op_work[i].flop / f->n_step};
        add(line_of(f, at, tk_op_name(op->kind), weight), ns, work, op_per_s);
        add(&f->parts[at], ns, work, op_per_s);
        rest_ns -= ns;
    }
    f->parts[PART_REST].ns = rest_ns;
}

static json_t *line_json(const line *l, const profile *f, const tk_roof *roof)
{
    double s = l->ns * 1e-9;
    json_t *o = json_pack("{s:s, s:s, s:s, s:i}", "part", part_names[l->part], "op", l->op,
                          "weight", l->weight, "n_op", l->n_op);
    json_object_set_new(o, "ns_per_step", tk_bench_number(l->ns));
    json_object_set_new(o, "share", tk_bench_number(l->ns / f->step_ns));
    json_object_set_new(o, "weight_bytes_per_step", tk_bench_number(l->bytes));
    json_object_set_new(o, "flop_per_step", tk_bench_number(l->flop));
    json_object_set_new(o, "read_fraction", tk_bench_number(l->bytes / roof->read_bytes_per_s / s));
    json_object_set_new(o, "arithmetic_fraction", tk_bench_number(l->flop_s / s));
    return o;
}

void tk_bench_profile_add(json_t *row, const tk_program *p, const tk_bench_result *r,
                          const tk_roof *roof)
{
    profile f = {.n_step = r->work.n_step * r->n_rep};
    for (int i = 0; i < r->n_rep; i++) f.step_ns += (double)r->samples_ns[i] / f.n_step;
    f.lines = tk_alloc((size_t)p->n_op * sizeof *f.lines);
    gather(&f, p, r, roof);
    json_t *lines = json_array(), *parts = json_array();
    for (int i = 0; i < f.n_line; i++)
        json_array_append_new(lines, line_json(&f.lines[i], &f, roof));
    for (int i = 0; i < PART_COUNT; i++)
        json_array_append_new(parts, line_json(&f.parts[i], &f, roof));
    json_object_set_new(row, "n_step", tk_bench_number(r->work.n_step));
    json_object_set_new(row, "profile", lines);
    json_object_set_new(row, "profile_parts", parts);
    tk_free(f.lines);
}

static double num(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

// A blank where nothing is read or multiplied, "-" where the limit is not known.
static const char *percent(const json_t *o, const char *key, char out[16])
{
    const json_t *v = json_object_get(o, key);
    if (json_is_null(v))
        snprintf(out, 16, "-");
    else
        snprintf(out, 16, json_number_value(v) > 0 ? "%.0f%%" : "", 100 * json_number_value(v));
    return out;
}

static void print_line(FILE *to, const json_t *o)
{
    char read[16], arithmetic[16];
    double ns = num(o, "ns_per_step");
    fprintf(
        to,
        "| %-8s | %-10s | %-30s | %4d | %10.1f | %5.1f%% | %8.2f | %7.2f | %7s | %8.4f | %10s |\n",
        json_string_value(json_object_get(o, "part")), json_string_value(json_object_get(o, "op")),
        json_string_value(json_object_get(o, "weight")), (int)num(o, "n_op"), ns * 1e-3,
        100 * num(o, "share"), num(o, "weight_bytes_per_step") * 1e-6,
        num(o, "weight_bytes_per_step") / ns, percent(o, "read_fraction", read),
        num(o, "flop_per_step") / ns * 1e-3, percent(o, "arithmetic_fraction", arithmetic));
}

void tk_bench_profile_print(FILE *to, const json_t *row)
{
    static const char *const tables[] = {"profile", "profile_parts"};
    size_t i;
    const json_t *o;
    fprintf(to, "\n| part     | operation  | weight                         |    n |    us/step |  "
                "share |  MB/step |"
                "    GB/s | of read |  TFLOP/s | arithmetic |\n"
                "| -------- | ---------- | ------------------------------ | ---: | ---------: | "
                "-----: | -------: |"
                " ------: | ------: | -------: | ---------: |\n");
    for (size_t k = 0; k < TK_COUNT(tables); k++)
        json_array_foreach(json_object_get(row, tables[k]), i, o) print_line(to, o);
    putc('\n', to);
}
