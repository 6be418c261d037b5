// SPDX-License-Identifier: MIT
// Serving rows: InferenceX, ML.ENERGY, MLPerf Inference, vendors' and authors' posts.
#include "plan/predict.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- words of a row

// The number after `word` in text, in seconds ("TTFT p99<=2s", "TPOT < 50 ms"); 0 when there is none.
static double seconds_after(const char *text, const char *word)
{
    const char *p = strstr(text, word);
    if (p == NULL) return 0;
    p += strlen(word);
    if (strncmp(p, " p99", 4) == 0) p += 4;
    p += strspn(p, " <=");
    char *end;
    double v = strtod(p, &end);
    if (end == p || !(v > 0) || v > 1e6) return 0;
    end += strspn(end, " ");
    return strncmp(end, "ms", 2) == 0 ? v * 1e-3 : v;
}

static double number_after(const char *text, const char *word)
{
    const char *p = strstr(text, word);
    if (p == NULL) return 0;
    p += strlen(word);
    p += strspn(p, " ");
    double v = isdigit((unsigned char)*p) ? strtod(p, NULL) : 0;
    return v <= 1e6 ? v : 0;
}

static bool has(const char *text, const char *word)
{
    return strstr(text, word) != NULL;
}

// ---- layout

// Attention over more ranks than its heads divide into can only be data parallel; published tables write TP.
static bool heads_divide(const tk_shape *s, int tp)
{
    for (int i = 0; i < s->n_group; i++)
        if (s->layer[i].n_head % tp) return false;
    return true;
}

static void read_words(const tk_ask *a, tk_layout *l, const tk_shape *s, int n_accel, double users)
{
    const char *text = a->row->f[TK_COL_PARALLELISM];
    if (has(text, "PP x") && l->tp > 0 && l->pp == 0) l->pp = n_accel / l->tp;
    // latent caches cannot be cut by heads, so under load these models run attention data parallel wherever
    // their experts are spread, whatever the table says; TensorRT-LLM's pools of InferenceX always spread them
    bool spread = l->ep > 1 || (a->row->disagg && a->out->backend == TK_BACKEND_TRTLLM);
    bool loaded = s->mla && spread && l->dp <= 1 && users >= 16.0 * n_accel;
    bool wide = s->mla && l->tp > 1 && (!heads_divide(s, l->tp) || l->tp > 16 || loaded);
    if (wide) {
        l->dp = l->tp * (l->dp > 1 ? l->dp : 1);
        l->tp = 1;
        l->ep = n_accel;
        l->moe_tp = 0;
    }
}

// The smallest tensor parallelism whose weights take at most 60 % of memory: what submitters choose.
static int default_tp(const tk_case *c, int n_accel)
{
    tk_case t = *c;
    for (int tp = 1; tp <= n_accel && tp <= 8; tp *= 2) {
        t.at = (tk_layout){.tp = tp, .pp = 1, .dp = 1, .ep = 1, .moe_tp = tp, .cp = 1};
        tk_memory m;
        tk_cost_memory(&t, 1024, &m);
        if (m.weights < 0.6 * m.available) return tp;
    }
    return n_accel < 8 ? n_accel : 8;
}

static tk_status place(const tk_ask *a, tk_layout words, int n_accel, bool replicas, tk_case *c,
                       double users, int *n_replica, tk_err *err)
{
    int ranks = n_accel;
    *n_replica = 1;
    if (replicas) {
        if (words.tp < 1) words.tp = default_tp(c, n_accel);
        ranks = words.tp * (words.pp > 0 ? words.pp : 1);
        if (ranks > n_accel) ranks = n_accel;
        *n_replica = n_accel / ranks;
    }
    if (words.dp > ranks) words.dp = ranks;
    if (words.tp > ranks) words.tp = ranks;
    read_words(a, &words, c->shape, ranks, users / *n_replica);
    c->at = words;
    return tk_layout_complete(&c->at, c->shape, ranks, err);
}

// ---- the case

static tk_status find_model(const tk_ask *a, tk_err *err)
{
    if (a->out->model) return TK_OK;
    return tk_catalog_model(a->p->catalog, a->row->f[TK_COL_MODEL], &a->out->model, err);
}

static tk_status base_case(const tk_ask *a, tk_case *c, tk_err *err)
{
    const tk_point *r = a->row;
    tk_status st;
    TK_TRY(find_model(a, err));
    if (a->out->backend < 0) {
        st = tk_fail(err, TK_UNSUPPORTED, "framework \"%s\" has no constants",
                     r->f[TK_COL_FRAMEWORK]);
        goto done;
    }
    *c = (tk_case){.hw = a->out->hw,
                   .shape = &a->out->model->shape,
                   .k = a->p->k,
                   .backend = (tk_backend)a->out->backend,
                   .year = r->year > 0 ? r->year : 2025.75,
                   .fixed_scale = 1,
                   .mem_share = 0.9};
    if (strncmp(r->f[TK_COL_SYSTEM], "MLPerf", 6) == 0) c->backend = TK_BACKEND_MLPERF;
    const char *word = r->f[TK_COL_PRECISION], *own = a->out->model->default_precision;
    if (has(word, "fp4") && strcmp(own, "mxfp4") == 0) word = own; // released in one format of FP4
    if (tk_precision_parse(word, c->shape, c->hw, c->backend, &c->prec, NULL) != TK_OK)
        TK_TRY(tk_precision_parse(own, c->shape, c->hw, c->backend, &c->prec, err));
    if (has(word, "bf16 attention")) c->prec.attn_bytes = 2, c->prec.attn = TK_PREC_BF16;
    if (has(word, "bf16 attention")) c->prec.attn_out_bytes = 2, c->prec.attn_out = TK_PREC_BF16;
    const char *cap = strchr(r->f[TK_COL_ACCELERATOR], '@');
    if (cap) c->power_cap_w = strtod(cap + 1, NULL);
    if (c->power_cap_w < 0 || c->power_cap_w > 1e5) c->power_cap_w = 0;
    if (has(r->f[TK_COL_ACCELERATOR], "(1000W")) c->power_cap_w = 1000;
    if (has(r->f[TK_COL_QOS], "CUDA graph off")) c->fixed_scale *= a->p->k->v[TK_P_GRAPH_OFF];
done:
    return st;
}

// Draft depth from the row's words, tokens accepted from the row or the model's table.
static tk_status read_drafts(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const tk_point *r = a->row;
    const tk_model_entry *m = a->out->model;
    double k = number_after(r->f[TK_COL_PARALLELISM], "MTP");
    if (k <= 0 && !has(r->f[TK_COL_NOTE], "MTP on/off")) k = number_after(r->f[TK_COL_NOTE], "MTP");
    if (k <= 0 && has(r->f[TK_COL_PARALLELISM], "+ MTP")) k = 3;
    if (k <= 0) return TK_OK;
    double tau = number_after(r->f[TK_COL_NOTE], "tokens accepted per step");
    if (tau <= 0 && k < m->n_accepted) tau = m->accepted[(int)k];
    if (tau < 1 || tau > k + 1)
        return tk_fail(err, TK_UNSUPPORTED, "%.0f drafts, but nothing measured says how many hold",
                       k);
    in->mtp = (int)k;
    in->accepted = tau;
    return TK_OK;
}

// TensorRT-LLM's cumulative path to low latency: its tuned kernels take a like share each; the no-draft and MTP
// rows of the same post stand at the ninth.
static void read_ablation(const tk_ask *a, tk_serve_in *in)
{
    const tk_model_entry *m = a->out->model;
    const char *p = strstr(a->row->f[TK_COL_NOTE], "cumulative ablation step ");
    if (p == NULL) return;
    long step = strtol(p + 25, NULL, 10);
    if (step < 0 || step > 100) return;
    long kernels = step - (step >= 5) - (step >= 11) - (step >= 14) - (step >= 17);
    in->decode.fixed_scale *= pow(a->p->k->v[TK_P_KERNEL_STEP], (double)(kernels - 9));
    if (step >= 5 && m->n_accepted > 3) {
        in->mtp = 3;
        // one module drafting for all depths accepts less before step 10; relaxed acceptance more at 17
        in->accepted = m->accepted[3] * (step < 10    ? a->p->k->v[TK_P_MTP_VANILLA]
                                         : step >= 17 ? 1.08
                                                      : 1);
    } else {
        in->mtp = 0;
    }
}

static bool is_mlperf(const tk_point *r)
{
    return strncmp(r->f[TK_COL_SYSTEM], "MLPerf", 6) == 0;
}

static tk_status lengths(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const tk_point *r = a->row;
    in->isl = r->isl;
    in->osl = r->osl;
    if (is_mlperf(r) && in->isl <= 0) in->isl = a->out->model->mlperf_input;
    // ML.ENERGY names its data sets: chat prompts are short, reasoning answers long
    if (in->isl <= 0 && has(r->f[TK_COL_ISL], "lm-arena")) in->isl = 130;
    if (in->isl <= 0 && has(r->f[TK_COL_ISL], "gpqa")) in->isl = 220;
    if (r->f[TK_COL_ISL][0] == 0 &&
        r->f[TK_COL_OSL][0] == 0) { // not said: short prompts, long answers
        in->isl = 128;
        in->osl = 512;
    }
    // InferenceX draws lengths between 0.8 and 1 of the nominal ones
    if (strncmp(r->f[TK_COL_SYSTEM], "InferenceX", 10) == 0) in->isl *= 0.9, in->osl *= 0.9;
    if (in->isl <= 0 || in->osl <= 0)
        return tk_fail(err, TK_UNSUPPORTED, "lengths \"%s\" and \"%s\" are not numbers",
                       r->f[TK_COL_ISL], r->f[TK_COL_OSL]);
    return TK_OK;
}

static tk_status place_pools(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const tk_point *r = a->row;
    int d = r->run.tp * (r->run.pp > 0 ? r->run.pp : 1) * (r->run.dp > 1 ? r->run.dp : 1);
    int p = r->prefill.tp * (r->prefill.pp > 0 ? r->prefill.pp : 1) *
            (r->prefill.dp > 1 ? r->prefill.dp : 1);
    int one;
    tk_status st;
    in->disagg = true;
    // InferenceX writes one worker of each pool, whatever ran: its prefill pool is taken to keep up
    bool listed = strncmp(r->f[TK_COL_SYSTEM], "InferenceX", 10) == 0 && r->n_prefill == 1;
    in->n_prefill = listed ? 0 : r->n_prefill;
    in->n_decode = r->n_decode;
    in->prefill = in->decode;
    TK_TRY(place(a, r->run, d, false, &in->decode, r->concurrency / r->n_decode, &one, err));
    TK_TRY(place(a, r->prefill, p, false, &in->prefill, r->concurrency / r->n_prefill, &one, err));
done:
    return st;
}

// InferenceX ran R1 on GB200 in pools alone (nvidia-master.yaml, dynamo, 2025-11), but wrote the first rows as one layout
// over all their ranks: "TP36" is a reading worker of 4 and 32 that write. 0: the row is what it says.
static int whole_service(const tk_ask *a, const tk_shape *s)
{
    const tk_point *r = a->row;
    bool listed = strncmp(r->f[TK_COL_SYSTEM], "InferenceX", 10) == 0 && !r->disagg && s->mla;
    return listed && a->out->hw->scale_up > 8 && r->run.dp <= 1 && r->run.tp > 16 ? r->run.tp : 0;
}

// Its pools: the largest writing one that leaves a prompt's token an eighth of the ranks of an answer's, which gives the
// sizes of the published recipes (36 = 4 + 32, 72 = 24 + 48 at 1K/1K; 28 = 20 + 8, 72 = 40 + 32 at 8K/1K).
static tk_status place_whole(const tk_ask *a, int n, tk_serve_in *in, tk_err *err)
{
    static const int sizes[] = {48, 32, 16, 8};
    const int worker =
        in->decode.prec.expert_bytes < 0.9 ? 4 : 8; // FP8's experts fill a node of four
    double read = n * in->isl / (in->isl + 8 * in->osl);
    int write = 0, one;
    for (size_t i = 0; i < TK_COUNT(sizes) && write == 0; i++)
        if (n - sizes[i] >= fmax(read, worker)) write = sizes[i];
    if (write == 0) return tk_fail(err, TK_UNSUPPORTED, "%d ranks are no pools", n);
    const tk_layout wide = {.dp = write, .ep = write, .tp = 1}, node = {.tp = worker, .ep = worker};
    in->disagg = true; // n_prefill 0: what is left keeps up
    in->prefill = in->decode;
    tk_status st = place(a, wide, write, false, &in->decode, 0, &one, err);
    if (st == TK_OK)
        st = place(a, node, worker, false, &in->prefill, a->row->concurrency, &one, err);
    return st;
}

// R1 rows of InferenceX come with and without drafts, and no column says which.
static bool drafts_unstated(const tk_ask *a)
{
    return has(a->row->f[TK_COL_NOTE], "MTP on/off");
}

static double unstated_scale(const tk_ask *a, bool pools)
{
    if (!drafts_unstated(a)) return 1;
    switch (a->out->backend) {
    case TK_BACKEND_TRTLLM:
        return a->p->k->v[pools ? TK_P_MTP_POOLS_TRTLLM : TK_P_MTP_UNKNOWN_TRTLLM];
    case TK_BACKEND_SGLANG:
        return a->p->k->v[pools ? TK_P_MTP_POOLS_SGLANG : TK_P_MTP_UNKNOWN_SGLANG];
    default: return 1;
    }
}

void tk_predict_serving_trait(const tk_ask *a, const tk_serve_in *in, tk_stage stage, tk_trait *out)
{
    const tk_point *r = a->row;
    const char *backend = strncmp(r->f[TK_COL_SYSTEM], "MLPerf", 6) == 0
                              ? tk_backend_name(TK_BACKEND_MLPERF)
                          : a->out->backend >= 0 ? tk_backend_name((tk_backend)a->out->backend)
                                                 : "none";
    tk_trait_set(out, stage, backend, a->out->hw, a->out->model ? a->out->model->name : "-",
                 r->f[TK_COL_PRECISION], r->disagg || in->disagg);
    if (in->decode.hw) tk_serve_trait(in, stage, out->at);
}

tk_status tk_predict_case(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const tk_point *r = a->row;
    *in = (tk_serve_in){.n_decode = 1, .users = r->concurrency};
    tk_status st;
    TK_TRY(base_case(a, &in->decode, err));
    TK_TRY(lengths(a, in, err));
    int whole = whole_service(a, in->decode.shape);
    if (r->disagg) {
        TK_TRY(place_pools(a, in, err));
    } else if (whole > 0) {
        TK_TRY(place_whole(a, whole, in, err));
    } else {
        if (r->n_accel < 1) {
            st = tk_fail(err, TK_UNSUPPORTED, "the number of accelerators is \"%s\"",
                         r->f[TK_COL_N_ACCEL]);
            goto done;
        }
        int n = (int)r->n_accel;
        // "moeTP8 EP8" on 64 counts the same eight ranks twice
        if (r->run.ep > 1 && r->run.ep == r->run.moe_tp && n == r->run.ep * r->run.ep)
            n = r->run.ep;
        bool many = is_mlperf(r) || r->run.replicas > 0;
        TK_TRY(place(a, r->run, n, many, &in->decode, r->concurrency, &in->n_decode, err));
    }
    if (r->run.max_batch > 0)
        in->max_batch =
            r->run.max_batch * (has(r->f[TK_COL_PARALLELISM], "/rank") ? in->decode.at.dp : 1.0);
    else if (is_mlperf(r))
        in->max_batch = 2048;
    // SGLang's recipes of such totals have no drafts, TensorRT-LLM's none under load
    bool plain = whole > 0 && (a->out->backend == TK_BACKEND_SGLANG || in->users >= 8.0 * whole);
    in->step_scale = plain ? 1 : unstated_scale(a, in->disagg);
    if (a->p->fx) {
        tk_trait t;
        tk_predict_serving_trait(a, in, TK_STAGE_SERVE, &t);
        in->time_scale = tk_effects_scale(a->p->fx, &t);
    }
    TK_TRY(read_drafts(a, in, err));
    read_ablation(a, in);
done:
    return st;
}

// ---- metrics

static tk_status closed_loop(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    tk_serve_out o;
    bool ttft = strncmp(a->row->f[TK_COL_METRIC], "ttft", 4) == 0;
    // InferenceX sends ten prompts per user, the first of all at once
    if (ttft && strncmp(a->row->f[TK_COL_SYSTEM], "InferenceX", 10) == 0) in->rounds = 10;
    tk_status st = tk_serve(in, &o, err);
    if (st != TK_OK) return st;
    bool p99 = has(a->row->f[TK_COL_METRIC], "p99");
    if (ttft) {
        a->out->cls = in->disagg ? TK_CLASS_TTFT_DISAGG : TK_CLASS_TTFT;
        tk_trait t;
        tk_predict_serving_trait(a, in, TK_STAGE_TTFT, &t);
        // the wait for a place in the cache is no matter of how fast prompts are read
        double service = (o.ttft_s - o.wait_s) * tk_effects_scale(a->p->fx, &t);
        a->out->value = (service + o.wait_s) * 1e3 * (p99 ? a->p->k->v[TK_P_P99_OVER_MEAN] : 1);
        a->out->share = 1 - o.wait_s / o.ttft_s;
    } else {
        a->out->cls = drafts_unstated(a) ? TK_CLASS_TPOT_R1
                      : in->disagg       ? TK_CLASS_TPOT_DISAGG
                                         : TK_CLASS_TPOT;
        bool gap = strncmp(a->row->f[TK_COL_METRIC], "itl_median", 10) == 0;
        a->out->value = 1e3 * (gap ? o.itl_median_s : o.tpot_s);
    }
    return TK_OK;
}

// A p99 limit of the row, in seconds: as its QoS says, else as MLPerf's rules say for the named scenario.
static double p99_limit(const tk_ask *a, bool ttft)
{
    static const struct {
        const char *model;
        double server[2], interactive[2]; // TTFT, TPOT
    } rules[] = {{"deepseek-v3", {2, .08}, {2, .08}},
                 {"llama-2-70b", {2, .2}, {.45, .04}},
                 {"mixtral-8x7b", {2, .2}, {2, .2}},
                 {"llama-3.1-405b", {6, .175}, {4.5, .08}},
                 {"llama-3.1-8b", {2, .1}, {.5, .03}}};
    const char *qos = a->row->f[TK_COL_QOS];
    double said = seconds_after(qos, ttft ? "TTFT" : "TPOT");
    if (said > 0 || has(qos, "ffline")) return said;
    for (size_t i = 0; i < TK_COUNT(rules); i++) {
        if (strcmp(rules[i].model, a->out->model->name) != 0) continue;
        if (has(qos, "nteractive")) return rules[i].interactive[ttft ? 0 : 1];
        if (has(qos, "erver")) return rules[i].server[ttft ? 0 : 1];
    }
    return 0;
}

// Rate under MLPerf's p99 limits: loaded to a share of the offline rate, or until TPOT nears its limit.
static tk_status mlperf_rate(const tk_ask *a, tk_serve_in *in, double *rate, tk_err *err)
{
    const double *v = a->p->k->v;
    double limit = p99_limit(a, false);
    tk_serve_out o;
    in->users = 0;
    tk_status st = tk_serve(in, &o, err);
    if (st != TK_OK) return st;
    *rate = o.out_tok_per_s;
    if (limit <= 0) return TK_OK;
    double most = o.out_tok_per_s * v[TK_P_SERVER_LOAD];
    in->tpot_limit_s = limit * v[TK_P_P99_TPOT];
    if ((st = tk_serve(in, &o, err)) != TK_OK) return st;
    *rate = o.out_tok_per_s < most ? o.out_tok_per_s : most;
    return TK_OK;
}

static tk_status mlperf_p99(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const double *v = a->p->k->v;
    bool ttft = strncmp(a->row->f[TK_COL_METRIC], "ttft", 4) == 0;
    double limit = p99_limit(a, ttft);
    a->out->cls = TK_CLASS_P99;
    if (limit <= 0) return tk_fail(err, TK_UNSUPPORTED, "a p99 without its limit or its load");
    double most = limit * v[ttft ? TK_P_P99_TTFT : TK_P_P99_TPOT];
    tk_serve_out o;
    in->users = 0;
    tk_status st = tk_serve(in, &o, err);
    if (st != TK_OK) return st;
    double reach = ttft ? most : o.tpot_s * 1.4; // a part that never gets so slow stays below
    a->out->value = 1e3 * (reach < most ? reach : most);
    return TK_OK;
}

// Single-factor ablations that are outputs of this model: the row's configuration against one change.
static tk_status ratio(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const char *note = a->row->f[TK_COL_NOTE];
    tk_serve_in b = *in;
    tk_serve_out with, without;
    a->out->cls = TK_CLASS_RATIO;
    int n = tk_layout_ranks(&in->decode.at);
    if (has(note, "attention DP vs")) {
        b.decode.at.tp = n;
        b.decode.at.dp = 1;
    } else if (has(note, "expert parallel vs")) {
        b.decode.at.ep = 1;
        b.decode.at.moe_tp = n;
    } else if (has(note, "FP8 KV")) {
        b.decode.prec.kv_bytes = 2;
        in->users = b.users = 3072;
    } else if (has(note, "CUDA graph")) {
        b.decode.fixed_scale *= a->p->k->v[TK_P_GRAPH_OFF];
    } else {
        return tk_fail(err, TK_UNSUPPORTED, "the gain of one kernel is no output of this model");
    }
    tk_status st = tk_serve(in, &with, err);
    if (st == TK_OK) st = tk_serve(&b, &without, err);
    if (st == TK_OK) a->out->value = with.out_tok_per_s / without.out_tok_per_s;
    return st;
}

static tk_status prefill_rate(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    (void)err;
    tk_cost t;
    double n_seq = in->decode.at.dp * (in->isl < 16384 ? ceil(16384 / in->isl) : 1);
    tk_work w = {n_seq, in->isl, in->isl / 2, true};
    tk_cost_step(&in->decode, &w, &t);
    double per_accel = n_seq * in->isl / t.s / tk_layout_ranks(&in->decode.at) * in->decode.at.pp;
    a->out->cls = TK_CLASS_RATE;
    a->out->value = per_accel * (has(a->row->f[TK_COL_METRIC], "_node") ? 8 : 1);
    return TK_OK;
}

static tk_status rates(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    const tk_point *r = a->row;
    const char *m = r->f[TK_COL_METRIC];
    double rate, users = in->users;
    tk_status st;
    a->out->cls = TK_CLASS_RATE;
    if (is_mlperf(r)) {
        st = mlperf_rate(a, in, &rate, err);
    } else {
        double user_rate = number_after(r->f[TK_COL_QOS], ""); // "125 tok/s/user"
        if (users <= 0 && has(r->f[TK_COL_QOS], "tok/s/user") && user_rate > 0)
            in->tpot_limit_s = 1 / user_rate;
        else if (users <= 0)
            in->tpot_limit_s = seconds_after(r->f[TK_COL_QOS], "TPOT");
        tk_serve_out o;
        st = tk_serve(in, &o, err);
        rate = o.out_tok_per_s;
        if (st == TK_OK && strcmp(m, "tok_s_user") == 0) rate = 1 / o.tpot_s;
        if (users > 0 && users <= 8 && !in->disagg) a->out->cls = TK_CLASS_LATENCY;
    }
    if (st != TK_OK) return st;
    if (has(r->f[TK_COL_UNIT], "total tokens")) rate *= (in->isl + in->osl) / in->osl;
    double n = in->n_decode * tk_layout_ranks(&in->decode.at) +
               (in->disagg && in->n_prefill ? in->n_prefill * tk_layout_ranks(&in->prefill.at) : 0);
    if (strcmp(m, "tok_s_gpu") == 0) rate /= n;
    if (has(m, "_node")) rate *= 8 / n;
    a->out->value = rate;
    return TK_OK;
}

// Pools whose sizes nobody states ("B200 HGX disagg", EP8) are taken in balance: prefill and decode as fast.
static tk_status balanced_at(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    tk_serve_out o;
    in->prefill = in->decode;
    in->disagg = false;
    tk_status st = rates(a, in, err);
    if (st != TK_OK) return st;
    in->disagg = true;
    in->n_prefill = 1000;
    in->n_decode = 1;
    if ((st = tk_serve(in, &o, err)) != TK_OK) return st;
    double pools = 1 + o.req_per_s * o.prompt.s / in->prefill.at.dp / 0.95;
    a->out->value = o.out_tok_per_s / tk_layout_ranks(&in->decode.at) / pools;
    if (has(a->row->f[TK_COL_UNIT], "total tokens")) a->out->value *= (in->isl + in->osl) / in->osl;
    return TK_OK;
}

// Nor does the row say how attention is cut; what is published is the faster way at that speed of a user.
static tk_status balanced(const tk_ask *a, tk_serve_in *in, tk_err *err)
{
    tk_serve_in whole = *in;
    tk_status st = balanced_at(a, in, err);
    double apart = st == TK_OK ? a->out->value : 0;
    whole.decode.at.tp = in->decode.at.dp;
    whole.decode.at.dp = 1;
    if (!heads_divide(whole.decode.shape, whole.decode.at.tp)) return st;
    if (balanced_at(a, &whole, NULL) == TK_OK && a->out->value > apart) return TK_OK;
    a->out->value = apart;
    return st;
}

static bool is_rate(const char *m)
{
    static const char *const names[] = {"output_tok_s", "output_tok_s_node", "tok_s_user",
                                        "tok_s_gpu", "output_tok_s_gpu"};
    for (size_t i = 0; i < TK_COUNT(names); i++)
        if (strcmp(m, names[i]) == 0) return true;
    return false;
}

tk_status tk_predict_serving(const tk_ask *a, tk_err *err)
{
    const tk_point *r = a->row;
    const char *m = r->f[TK_COL_METRIC];
    tk_serve_in in;
    tk_point guess = *r;
    tk_ask b = *a;
    bool pools = !r->disagg && strcmp(r->f[TK_COL_N_ACCEL], "disagg") == 0;
    if (pools) { // the decode side alone stands in the row
        guess.n_accel = r->run.ep > 0 ? r->run.ep : 8;
        guess.run.dp = (int)guess.n_accel;
        guess.run.tp = 1;
        b.row = &guess;
    }
    // one pool of a disaggregated service, told by words: attention runs data parallel over its experts' ranks
    if (!r->disagg && (strncmp(r->f[TK_COL_PARALLELISM], "prefill", 7) == 0 ||
                       strncmp(r->f[TK_COL_PARALLELISM], "decode", 6) == 0)) {
        guess.n_accel = r->run.ep > 0 ? r->run.ep : r->n_accel;
        guess.run.dp = (int)guess.n_accel;
        guess.run.tp = 1;
        b.row = &guess;
    }
    tk_status st = tk_predict_case(&b, &in, err);
    if (st != TK_OK) return st;
    if (pools) return balanced(&b, &in, err);
    if (strncmp(m, "input_tok_s", 11) == 0) return prefill_rate(&b, &in, err);
    if (strcmp(m, "speedup_ratio") == 0) return ratio(&b, &in, err);
    if (is_rate(m)) return rates(&b, &in, err);
    if (is_mlperf(r) && has(m, "_p99")) return mlperf_p99(&b, &in, err);
    if (strncmp(m, "tpot", 4) == 0 || strncmp(m, "itl", 3) == 0 || strncmp(m, "ttft", 4) == 0)
        return closed_loop(&b, &in, err);
    return tk_fail(err, TK_UNSUPPORTED, "metric \"%s\" is not modelled", m);
}
