// SPDX-License-Identifier: MIT
// Every golden checkpoint (README.md) through the whole engine against the logits of an independent
// implementation. Each folder is run with the reference kernels and with every instruction set of this machine,
// in one pass, token by token and with all sequences in the same steps; latent attention both ways.
//
// Reference kernels: |difference| <= 1e-4 of the largest logit, whatever the weights' format (the reference is of
// the dequantised weights). Fast kernels round activations and cache, so they answer for the distribution: the
// mean over tokens of KL(reference || ours) <= 1e-3. A second test of each checkpoint asks for the same bits
// whatever the threads, the other sequences and the steps.
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define MAX_REL_REF 1e-4
#define MAX_KL_FAST 1e-3
#define DATA_DIR TK_SOURCE_DIR "/tests/golden/data"

#ifndef LOWEST // the first instruction set to test
#define LOWEST TK_ISA_REF
#endif

enum { MAX_SEQ = 4, MAX_CASE = 64, MAX_TOK = 4096, FEWEST_CASES = 40 };

typedef enum mode { PREFILL, DECODE, BATCH, N_MODE } mode;
static const char *const mode_name[N_MODE] = {"prefill", "decode", "batch"};

typedef struct golden {
    tk_file_map file;
    int n_seq;
    const int32_t *ids[MAX_SEQ];  // [n_tok]
    const float *logits[MAX_SEQ]; // [n_tok][n_vocab]
    int32_t n_tok[MAX_SEQ];
    int32_t n_vocab;
} golden;

// Data of the tensor called name of a safetensors file, NULL when there is none; *dim: its sizes, outermost
// first (0 beyond the last). Trusts the file: it is part of the tree.
static const void *tensor(const golden *g, const json_t *header, uint64_t header_len,
                          const char *name, int32_t dim[2])
{
    const json_t *t = json_object_get(header, name);
    if (t == NULL) return NULL;
    for (size_t i = 0; i < 2; i++)
        dim[i] = (int32_t)json_integer_value(json_array_get(json_object_get(t, "shape"), i));
    int64_t at = json_integer_value(json_array_get(json_object_get(t, "data_offsets"), 0));
    return g->file.data + 8 + header_len + at;
}

static void read_golden(const char *folder, golden *g)
{
    tk_err err = TK_ERR_INIT;
    json_t *header = NULL;
    uint64_t header_len = 0;
    char *path = tk_file_join(folder, "golden.safetensors");
    if (tk_file_map_open(path, &g->file, &err) != TK_OK) fail_msg("%s", err.msg);
    memcpy(&header_len, g->file.data, sizeof header_len);
    assert_true(header_len < g->file.len - 8);
    if (tk_json_parse((const char *)g->file.data + 8, header_len, path, &header, &err) != TK_OK)
        fail_msg("%s", err.msg);
    for (int i = 0; i < MAX_SEQ; i++) {
        char ids[16], logits[16];
        int32_t dim[2];
        snprintf(ids, sizeof ids, "ids.%d", i);
        snprintf(logits, sizeof logits, "logits.%d", i);
        g->ids[i] = tensor(g, header, header_len, ids, dim);
        if (g->ids[i] == NULL) break;
        g->n_tok[i] = dim[0];
        g->logits[i] = tensor(g, header, header_len, logits, dim);
        assert_non_null(g->logits[i]);
        assert_int_equal(dim[0], g->n_tok[i]);
        g->n_vocab = dim[1];
        g->n_seq++;
    }
    assert_true(g->n_seq > 0);
    json_decref(header);
    tk_free(path);
}

// Tokens of sequence i in the next step.
static int32_t take(mode m, int i, int32_t left, int32_t room)
{
    int32_t n = m == DECODE ? 1 : m == BATCH ? 1 + (i * 5 + left) % 7 : left;
    return TK_MIN(TK_MIN(n, left), room);
}

// Runs all sequences from the start, one after the other or together; out[i]: [n_tok][n_vocab].
static tk_status run_all(tk_exec *x, const golden *g, mode m, bool together, float *out[MAX_SEQ],
                         tk_err *err)
{
    tk_kv_table seq[MAX_SEQ] = {{0}};
    tk_status st = TK_OK;
    int32_t most = tk_exec_plan_of(x)->n_step_tok;
    for (int first = 0; first < g->n_seq && st == TK_OK;) {
        tk_step_part parts[MAX_SEQ];
        int n_part = 0, last = together ? g->n_seq : first + 1;
        for (int i = first, room = most; i < last; i++) {
            int32_t past = seq[i].n_tok, n = take(m, i, g->n_tok[i] - past, room);
            if (n == 0) continue;
            room -= n;
            parts[n_part++] = (tk_step_part){.seq = &seq[i],
                                             .ids = g->ids[i] + past,
                                             .n = n,
                                             .n_logits = n,
                                             .logits = out[i] + (size_t)past * (size_t)g->n_vocab};
        }
        if (n_part > 0)
            st = tk_exec_step(x, parts, n_part, err);
        else
            first = last;
    }
    for (int i = 0; i < g->n_seq; i++) tk_kv_table_clear(tk_exec_kv_pool(x), &seq[i]);
    return st;
}

static double log_sum_exp(const float *x, int n)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) max = fmax(max, (double)x[i]);
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - max);
    return max + log(sum);
}

static double divergence(const float *theirs, const float *ours, int n)
{
    double zt = log_sum_exp(theirs, n), zo = log_sum_exp(ours, n), kl = 0;
    for (int i = 0; i < n; i++) {
        double p = (double)theirs[i] - zt, q = (double)ours[i] - zo;
        kl += exp(p) * (p - q);
    }
    return kl;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// *rel: the largest error, of the largest logit. *kl: the mean divergence over tokens, but for the worst `left_out` of
// them. NaN anywhere makes both figures NaN, and NaN passes no bound below.
static void distance(const golden *g, float *const out[MAX_SEQ], double left_out, double *rel,
                     double *kl)
{
    double worst = 0, largest = 0, sum = 0, all = 0, each[MAX_TOK];
    int n_tok = 0;
    for (int i = 0; i < g->n_seq; i++) {
        size_t n_vocab = (size_t)g->n_vocab, n = (size_t)g->n_tok[i] * n_vocab;
        for (size_t k = 0; k < n; k++) {
            double d = fabs((double)out[i][k] - (double)g->logits[i][k]);
            if (!(d <= worst)) worst = d;
            largest = fmax(largest, fabs((double)g->logits[i][k]));
        }
        for (int32_t t = 0; t < g->n_tok[i]; t++) {
            assert_true(n_tok < MAX_TOK);
            each[n_tok] = divergence(g->logits[i] + (size_t)t * n_vocab,
                                     out[i] + (size_t)t * n_vocab, g->n_vocab);
            all += each[n_tok++];
        }
    }
    qsort(each, (size_t)n_tok, sizeof *each, by_size);
    int kept = n_tok - (int)(left_out * n_tok);
    for (int t = 0; t < kept; t++) sum += each[t];
    *rel = isnan(all) ? NAN : worst / largest;
    *kl = isnan(all) ? NAN : sum / kept;
}

typedef struct setting {
    tk_isa isa; // TK_ISA_REF: reference kernels and a float32 cache
    int mla_expand_from;
    bool repack; // weights packed
    bool exact;  // no kernels that are wide
} setting;

// Cache for all sequences and room for their logits. Free with tk_free.
static int32_t make_room(const golden *g, float *out[MAX_SEQ])
{
    int32_t n_tok = 0;
    for (int i = 0; i < g->n_seq; i++) {
        n_tok += (g->n_tok[i] / TK_KV_BLOCK_TOK + 1) * TK_KV_BLOCK_TOK;
        out[i] = tk_alloc((size_t)g->n_tok[i] * (size_t)g->n_vocab * sizeof(float));
    }
    return n_tok;
}

static tk_engine *open_engine(const char *model, setting s, int n_thread, int32_t n_ctx)
{
    tk_err err = TK_ERR_INIT;
    tk_engine *e = NULL;
    tk_engine_opts o = tk_engine_opts_default();
    o.reference = s.isa == TK_ISA_REF;
    o.isa = s.isa;
    o.n_thread = n_thread;
    o.mla_expand_from = s.mla_expand_from;
    o.repack = s.repack;
    o.exact = s.exact;
    if (tk_engine_open(model, &o, &e, &err) != TK_OK) fail_msg("%s", err.msg);
    if (tk_engine_load(e, n_ctx, &err) != TK_OK) fail_msg("%s", err.msg);
    return e;
}

static void check(const char *model, const golden *g, setting s)
{
    tk_err err = TK_ERR_INIT;
    float *out[MAX_SEQ] = {NULL};
    int32_t n_ctx = make_room(g, out);
    tk_engine *e = open_engine(model, s, 2, n_ctx);
    assert_int_equal(tk_engine_program(e)->cfg.n_vocab, g->n_vocab);
    // activations of fewer bits make a router of random weights choose otherwise at a close call
    bool wide = s.isa >= TK_ISA_AVX512 && s.repack && !s.exact;
    bool may_flip = wide && tk_engine_program(e)->cfg.moe.n_expert > 0;
    double left_out = may_flip ? 0.125 : 0;
    for (mode m = 0; m < N_MODE; m++) {
        double rel, kl;
        if (run_all(tk_engine_exec(e), g, m, m == BATCH, out, &err) != TK_OK)
            fail_msg("%s", err.msg);
        distance(g, out, left_out, &rel, &kl);
        bool good = s.isa == TK_ISA_REF ? rel <= MAX_REL_REF : kl <= MAX_KL_FAST;
        if (!good)
            fail_msg("%s, %s, kernels %s%s, latent attention expanded from %d: largest relative "
                     "error %.3g, mean divergence %.3g",
                     model, mode_name[m], tk_isa_name(s.isa), s.repack ? " (packed)" : "",
                     s.mla_expand_from, rel, kl);
    }
    tk_engine_close(e);
    for (int i = 0; i < g->n_seq; i++) tk_free(out[i]);
}

// To the bit: the other sequences of a step, the number of threads and the nodes of memory change nothing (exec's
// first two invariants), nor does the cut of a prompt into steps (but for latent attention where it is expanded).
static void check_independence(const char *model, const golden *g, setting s)
{
    tk_err err = TK_ERR_INIT;
    float *one[MAX_SEQ] = {NULL}, *other[MAX_SEQ] = {NULL};
    int32_t n_ctx = make_room(g, one);
    make_room(g, other);
    tk_engine *e = open_engine(model, s, 1, n_ctx), *threaded = open_engine(model, s, 3, n_ctx);
    setenv("HWLOC_SYNTHETIC", "numa:3 core:1 pu:2", 1); // of 2, 1 and 1 threads
    tk_engine *on_nodes = open_engine(model, s, 4, n_ctx);
    unsetenv("HWLOC_SYNTHETIC");
    const struct {
        const char *what;
        tk_engine *e;
        mode m;
        bool together;
    } runs[] = {
        {"other sequences", e, BATCH, false},
        {"number of threads", threaded, BATCH, true},
        {"nodes of memory", on_nodes, BATCH, true},
        {"cut into steps", e, DECODE, false},
    };
    bool wide = s.repack && !s.exact; // what else is in the step, and its size, may count then
    int first = wide ? 1 : 0, n_run = wide || s.mla_expand_from >= 0 ? 3 : 4;
    if (run_all(tk_engine_exec(e), g, BATCH, true, one, &err) != TK_OK) fail_msg("%s", err.msg);
    for (int r = first; r < n_run; r++) {
        if (run_all(tk_engine_exec(runs[r].e), g, runs[r].m, runs[r].together, other, &err) !=
            TK_OK)
            fail_msg("%s", err.msg);
        for (int i = 0; i < g->n_seq; i++)
            if (memcmp(one[i], other[i],
                       (size_t)g->n_tok[i] * (size_t)g->n_vocab * sizeof(float)) != 0)
                fail_msg("%s, kernels %s: the logits of sequence %d change with the %s", model,
                         tk_isa_name(s.isa), i, runs[r].what);
    }
    tk_engine_close(e);
    tk_engine_close(threaded);
    tk_engine_close(on_nodes);
    for (int i = 0; i < g->n_seq; i++) {
        tk_free(one[i]);
        tk_free(other[i]);
    }
}

// What a test of one case starts from.
typedef struct subject {
    golden g;
    char *gguf;
    const char *model; // the folder, or the GGUF file in it
    tk_isa highest;    // instruction set of this machine
} subject;

static subject subject_open(const char *folder)
{
    subject s = {.gguf = tk_file_join(folder, "model.gguf"), .highest = TK_ISA_COUNT - 1};
    tk_kernels k;
    s.model = tk_file_exists(s.gguf) ? s.gguf : folder;
    read_golden(folder, &s.g);
    assert_int_equal(tk_kernels_allowed(&s.highest, NULL), TK_OK);
    tk_kernels_fill(&k, s.highest);
    s.highest = k.isa;
    return s;
}

static void subject_close(subject *s)
{
    tk_file_map_close(&s->g.file);
    tk_free(s->gguf);
}

static void logits_agree_with_the_independent_implementation(void **state)
{
    subject s = subject_open(*state);
    bool latent = strstr(s.model, "/ds") != NULL;
    for (tk_isa isa = LOWEST; isa <= s.highest; isa++) {
        if (isa != TK_ISA_AMX) check(s.model, &s.g, (setting){isa, 0, false, false});
        if (latent && isa != TK_ISA_AMX) check(s.model, &s.g, (setting){isa, -1, false, false});
        if (latent && isa != TK_ISA_AMX) check(s.model, &s.g, (setting){isa, 1, false, false});
        if (isa != TK_ISA_REF) check(s.model, &s.g, (setting){isa, 0, true, false});
        if (isa == TK_ISA_AVX512) check(s.model, &s.g, (setting){isa, 0, true, true});
    }
    subject_close(&s);
}

static void logits_are_independent_of_threads_other_sequences_and_steps(void **state)
{
    subject s = subject_open(*state);
    bool latent = strstr(s.model, "/ds") != NULL;
    for (tk_isa isa = LOWEST; isa <= s.highest; isa++) {
        if (isa != TK_ISA_AMX) check_independence(s.model, &s.g, (setting){isa, -1, false, false});
        if (latent && isa != TK_ISA_AMX)
            check_independence(s.model, &s.g, (setting){isa, 1, false, false});
        if (isa != TK_ISA_REF) check_independence(s.model, &s.g, (setting){isa, -1, true, true});
        if (isa >= TK_ISA_AVX512)
            check_independence(s.model, &s.g, (setting){isa, -1, true, false});
    }
    subject_close(&s);
}

static int by_name(const void *a, const void *b)
{
    const struct CMUnitTest *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int add_case(struct CMUnitTest *tests, int n, const char *folder)
{
    static const struct {
        const char *claim;
        CMUnitTestFunction fn;
    } kinds[] = {
        {"agrees_with_the_independent_implementation",
         logits_agree_with_the_independent_implementation},
        {"is_independent_of_threads_other_sequences_and_steps",
         logits_are_independent_of_threads_other_sequences_and_steps},
    };
    for (size_t i = 0; i < TK_COUNT(kinds); i++)
        tests[n++] = (struct CMUnitTest){.name = tk_asprintf("%s_%s", folder, kinds[i].claim),
                                         .test_func = kinds[i].fn,
                                         .initial_state = tk_file_join(DATA_DIR, folder)};
    return n;
}

int main(void)
{
    static struct CMUnitTest tests[2 * MAX_CASE];
    int n = 0;
    tk_log_set_level(TK_LOG_WARN);
    DIR *dir = opendir(DATA_DIR);
    for (struct dirent *d; dir && (d = readdir(dir)) != NULL && n < 2 * MAX_CASE;)
        if (d->d_name[0] != '.') n = add_case(tests, n, d->d_name);
    if (dir) closedir(dir);
    if (n < 2 * FEWEST_CASES) {
        fprintf(stderr, "%s has %d cases, expected at least %d\n", DATA_DIR, n / 2, FEWEST_CASES);
        return 1;
    }
    qsort(tests, (size_t)n, sizeof tests[0], by_name);
    int failed = _cmocka_run_group_tests("golden", tests, (size_t)n, NULL, NULL);
    for (int i = 0; i < n; i++) {
        tk_free((void *)(uintptr_t)tests[i].name);
        tk_free(tests[i].initial_state);
    }
    return failed;
}
