// SPDX-License-Identifier: MIT
// What goes into the next step. One budget of tokens: first a token for each stream that is being written,
// then prompt chunks, of running and of newly admitted jobs, in the order that fair.h picks.
//
// Blocks run out: the running job of the lowest priority, among equals the youngest, goes back to the queue.
// Its blocks stay in the prefix cache until somebody takes them, so that its text is computed again only
// as far as it must. A job is only ever pushed out for one that stands before it, so the first in line
// always gets on, and its need never exceeds the whole cache (checked at submission).
//
// With a TPOT target, prompt chunks are as large as keeps the average step of the running streams at the
// target: what short steps save is kept as credit, at most one step's worth, and long ones spend it. A
// prompt that would miss the TTFT target, or was passed over STARVED_STEPS times, gets its share all the same.
#include "engine/service_tier.h"

#include "base/limits.h"

#include <assert.h>
#include <string.h>

enum { STARVED_STEPS = 32, MIN_CHUNK = 16 };

// ---- lists

static bool stands_before(const svc_job *a, const svc_job *b)
{
    return a->priority != b->priority ? a->priority < b->priority : a->id < b->id;
}

static void take_out(svc_job **list, int32_t *n, const svc_job *j)
{
    memmove(list + j->at, list + j->at + 1, (size_t)(*n - j->at - 1) * sizeof *list);
    --*n;
    for (int32_t i = j->at; i < *n; i++) list[i]->at = i;
}

void svc_start_waiting(tk_service *s, svc_job *j)
{
    assert(s->n_waiting < s->cap_waiting);
    j->state = SVC_WAITING;
    j->at = s->n_waiting;
    s->waiting[s->n_waiting++] = j;
}

static void start_running(tk_service *s, svc_job *j)
{
    take_out(s->waiting, &s->n_waiting, j);
    int32_t at = s->n_running++;
    for (; at > 0 && stands_before(j, s->running[at - 1]); at--) {
        s->running[at] = s->running[at - 1];
        s->running[at]->at = at;
    }
    s->running[at] = j;
    j->at = at;
    j->state = SVC_RUNNING;
}

void svc_drop(tk_service *s, svc_job *j)
{
    // only what is computed is known: a step that failed half way has written rows past n_tok
    if (s->opts.prefix_cache && j->seq.n_tok > 0)
        tk_kv_prefix_register(s->kv, &j->seq, j->ids, true);
    svc_tier_keep(s, j);
    j->is_loading = false;
    tk_kv_table_clear(s->kv, &j->seq);
    if (j->state == SVC_RUNNING)
        take_out(s->running, &s->n_running, j);
    else
        take_out(s->waiting, &s->n_waiting, j);
}

static bool is_planned(const tk_service *s, const svc_job *j)
{
    return j->planned == s->plan_no;
}

// Takes its part out of the step again. Keys it noted as busy stay: at worst another waits a step for nothing.
static void unplan(tk_service *s, svc_job *j)
{
    int32_t i = 0;
    while (s->parts[i].job != j) i++;
    s->n_planned_tok -= s->parts[i].n;
    s->n_planned_row -= s->parts[i].n_logits;
    if (i < s->n_planned_decode) s->n_planned_decode--;
    s->n_part--;
    memmove(&s->parts[i], &s->parts[i + 1], (size_t)(s->n_part - i) * sizeof *s->parts);
    j->planned = 0;
}

static void preempt(tk_service *s, svc_job *j)
{
    if (is_planned(s, j)) unplan(s, j);
    svc_drop(s, j);
    svc_start_waiting(s, j);
    j->tried_plan = s->plan_no; // not in the same step again
    s->now.n_preempted++;
}

// ---- blocks

// The last in line that may be pushed out for j: only those behind it.
static svc_job *find_victim(const tk_service *s, const svc_job *j)
{
    for (int32_t i = s->n_running - 1; i >= 0; i--) {
        svc_job *v = s->running[i];
        if (!stands_before(j, v)) break; // sorted
        if (v->seq.n_block > 0) return v;
    }
    return NULL;
}

static bool make_room(tk_service *s, svc_job *j, int32_t n_tok)
{
    while (tk_kv_table_reserve(s->kv, &j->seq, n_tok, NULL) != TK_OK) {
        svc_job *v = find_victim(s, j);
        if (v == NULL) return false;
        preempt(s, v);
    }
    return true;
}

// ---- the step

// A key pays once for a token, when it is planned: not for what a preemption made it compute again, not for
// what was cached.
static void charge(tk_service *s, svc_job *j, int32_t n)
{
    int32_t upto = j->seq.n_tok + n, from = TK_MAX(j->n_charged, j->seq.n_tok);
    if (upto <= from) return;
    int32_t n_prompt = TK_MAX(0, TK_MIN(upto, j->n_prompt) - from);
    tk_fair_charge(s->fair, j->i_key, n_prompt, upto - from - n_prompt);
    j->n_charged = upto;
}

static void add_part(tk_service *s, svc_job *j, int32_t n, int32_t n_logits)
{
    s->parts[s->n_part++] =
        (svc_part){.job = j, .n = n, .n_logits = n_logits, .finishes = n == svc_pending(j)};
    s->n_planned_tok += n;
    s->n_planned_row += n_logits;
    charge(s, j, n);
    j->tried_plan = j->planned = s->plan_no;
}

static bool has_prompt_work(const tk_service *s)
{
    if (s->n_waiting > 0 && s->n_running < s->opts.max_num_seqs) return true;
    for (int32_t i = 0; i < s->n_running; i++)
        if (svc_pending(s->running[i]) > 1) return true;
    return false;
}

// One token for each stream. When not all fit (small workspace), they take turns.
static void plan_decodes(tk_service *s)
{
    int32_t most = s->max_step_tok, n = s->n_running, i = 0;
    if (has_prompt_work(s)) // an eighth is the prompts', or every other step when that is nothing
        most -= most >= 8 ? most / 8 : (int32_t)(s->plan_no % 2);
    if (s->first_decode >= n) s->first_decode = 0;
    int32_t first = s->first_decode;
    svc_job *turn[TK_LIMIT_SEQS]; // preemption changes running
    for (; i < n; i++) turn[i] = s->running[(first + i) % n];
    for (i = 0; i < n && s->n_planned_tok < most && s->n_planned_row < s->n_row; i++) {
        svc_job *j = turn[i];
        if (j->state != SVC_RUNNING || j->is_loading || svc_pending(j) != 1) continue;
        // without room it waits where it is: who stands before it and needs its blocks takes them
        if (!make_room(s, j, j->seq.n_tok + 1)) continue;
        add_part(s, j, 1, 1);
        s->n_planned_decode++;
    }
    s->first_decode = i < n ? (first + i) % n : 0;
}

static bool is_late(const tk_service *s, const svc_job *j, uint64_t now_ns)
{
    if (s->opts.ttft_target_s <= 0 || j->first_ns) return false;
    int32_t left = svc_pending(j), per_step = TK_MAX(1, s->max_step_tok - s->n_planned_decode);
    int32_t n_step = (left + per_step - 1) / per_step;
    double need = n_step * tk_step_time_guess(&s->time, s->max_step_tok);
    return (double)(now_ns - j->submit_ns) * 1e-9 + need > s->opts.ttft_target_s;
}

static bool any_late(const tk_service *s, uint64_t now_ns)
{
    for (int32_t i = 0; i < s->n_waiting; i++)
        if (is_late(s, s->waiting[i], now_ns)) return true;
    for (int32_t i = 0; i < s->n_running; i++)
        if (svc_pending(s->running[i]) > 1 && is_late(s, s->running[i], now_ns)) return true;
    return false;
}

// Prompt tokens that this step may take.
static int32_t prompt_budget(const tk_service *s, bool late)
{
    int32_t room = s->max_step_tok - s->n_planned_tok;
    double target = s->opts.tpot_target_s;
    if (target <= 0 || s->n_planned_decode == 0) return room;
    double allowed = late ? 2 * target : target + s->credit_s;
    int32_t fit = tk_step_time_fit(&s->time, allowed);
    fit = fit > s->n_planned_decode ? fit - s->n_planned_decode : 0;
    if (fit < MIN_CHUNK) fit = late || s->n_starved >= STARVED_STEPS ? MIN_CHUNK : 0;
    return TK_MIN(room, fit);
}

// ---- prompts

static bool shows_prompt(const svc_job *j)
{
    return j->prompt_logprobs && j->n_shown < j->n_prompt;
}

// Nobody's job runs longer for waiting for a block that a part of this step computes already.
static bool is_being_computed(const tk_service *s, const svc_job *j)
{
    tk_kv_key key;
    if (!s->opts.prefix_cache || shows_prompt(j) || j->seq.n_tok % TK_KV_BLOCK_TOK != 0 ||
        svc_pending(j) < TK_KV_BLOCK_TOK || !tk_kv_prefix_next_key(s->kv, &j->seq, j->ids, &key))
        return false;
    for (int32_t i = 0; i < s->n_busy_key; i++)
        if (s->busy_keys[i].lo == key.lo && s->busy_keys[i].hi == key.hi) return true;
    return false;
}

// Notes the whole blocks of its text that this part begins or goes on with.
static void note_busy(tk_service *s, const svc_job *j, int32_t n)
{
    tk_kv_table at = j->seq;
    at.n_tok = at.n_tok / TK_KV_BLOCK_TOK * TK_KV_BLOCK_TOK;
    tk_kv_key key;
    if (!s->opts.prefix_cache || at.n_tok + TK_KV_BLOCK_TOK > j->n_ids ||
        !tk_kv_prefix_next_key(s->kv, &at, j->ids, &key))
        return;
    for (;;) {
        s->busy_keys[s->n_busy_key++] = key;
        at.n_tok += TK_KV_BLOCK_TOK;
        if (at.n_tok >= j->seq.n_tok + n || at.n_tok + TK_KV_BLOCK_TOK > j->n_ids) return;
        key = tk_kv_key_next(s->kv, key, j->ids + at.n_tok);
    }
}

// Continues its sequence with what the cache has. The last token is always computed: its logits are wanted,
// and with prompt logprobs those of every position.
static void use_cache(tk_service *s, svc_job *j)
{
    tk_kv_copy copy;
    int n_copy;
    int32_t most = shows_prompt(j) ? j->n_shown - 1 : j->n_ids - 1, had = j->seq.n_tok;
    if (!s->opts.prefix_cache || most <= had) return;
    tk_kv_prefix_match(s->kv, &j->seq, j->ids, most, &copy, &n_copy);
    if (n_copy) tk_exec_kv_copy(s->exec, copy);
    svc_count_hit(s, j, had);
}

// Tokens of the prompt that somebody else computed: not those it lost in a preemption and found again.
void svc_count_hit(tk_service *s, svc_job *j, int32_t had)
{
    int32_t from = TK_MAX(had, j->n_charged), n = TK_MIN(j->seq.n_tok, j->n_prompt) - from;
    if (n <= 0) return;
    j->n_cached += n;
    s->now.prefix_hits += (uint64_t)n;
}

// Blocks that running jobs will still need for the text they have.
static int32_t promised_blocks(const tk_service *s)
{
    int32_t n = s->n_running; // each may be about to begin another
    for (int32_t i = 0; i < s->n_running; i++) {
        const svc_job *j = s->running[i];
        n += TK_MAX(0, tk_kv_blocks_for(j->n_ids) - j->seq.n_block);
    }
    return n;
}

static bool has_room_for(const tk_service *s, const svc_job *j)
{
    if (s->n_running == 0) return true;
    int32_t left = tk_kv_pool_free_count(s->kv) + tk_kv_pool_cached_count(s->kv);
    return tk_kv_blocks_for(j->n_ids) - j->seq.n_block + promised_blocks(s) <= left;
}

static bool keeps_tpot(const tk_service *s, bool late)
{
    double target = s->opts.tpot_target_s;
    return target <= 0 || late || s->n_planned_decode == 0 ||
           tk_step_time_guess(&s->time, s->n_running + 1) <= target;
}

// Pushes a running job of strictly lower priority back into the queue.
static bool make_way(tk_service *s, const svc_job *j)
{
    svc_job *v = s->n_running ? s->running[s->n_running - 1] : NULL;
    if (v == NULL || v->priority <= j->priority) return false;
    preempt(s, v);
    return true;
}

// From waiting to running, if there is room: also by pushing out jobs of strictly lower priority.
static bool admit(tk_service *s, svc_job *j, uint64_t now_ns, bool late)
{
    if (!keeps_tpot(s, late)) return false;
    if (s->n_running >= s->opts.max_num_seqs && !make_way(s, j)) return false;
    int32_t n_cached = j->n_cached;
    uint64_t prefix_hits = s->now.prefix_hits;
    use_cache(s, j);
    while (!has_room_for(s, j)) {
        if (make_way(s, j)) continue;
        tk_kv_table_clear(s->kv, &j->seq);
        j->n_cached = n_cached;
        s->now.prefix_hits = prefix_hits;
        return false;
    }
    start_running(s, j);
    if (!shows_prompt(j)) svc_tier_load(s, j);
    tk_fair_started(s->fair, j->i_key, now_ns);
    if (j->was_started) return true;
    if (s->opts.prefix_cache) s->now.prefix_queries += (uint64_t)j->n_prompt;
    j->was_started = true;
    j->start_ns = now_ns;
    pthread_mutex_lock(&s->door);
    s->n_queued--;
    pthread_mutex_unlock(&s->door);
    return true;
}

// Takes a chunk of its text into the step; false when it cannot be now.
static bool plan_chunk(tk_service *s, svc_job *j, int32_t budget)
{
    j->tried_plan = s->plan_no;
    if (is_being_computed(s, j)) return false;
    use_cache(s, j);
    if (is_being_computed(s, j)) return false;
    bool show = shows_prompt(j);
    int32_t n = TK_MIN(svc_pending(j), budget), rows_left = s->n_row - s->n_planned_row;
    if (s->opts.chunked_prefill_size > 0) n = TK_MIN(n, s->opts.chunked_prefill_size);
    if (show) n = TK_MIN(n, rows_left);
    int32_t n_logits = show ? n : n == svc_pending(j);
    if (n < 1 || n_logits > rows_left || !make_room(s, j, j->seq.n_tok + n)) return false;
    note_busy(s, j, n);
    add_part(s, j, n, n_logits);
    return true;
}

static svc_job *next_prompt(tk_service *s, bool may_admit, uint64_t now_ns)
{
    for (int32_t i = 0; i < s->n_running; i++) {
        svc_job *j = s->running[i];
        if (svc_pending(j) > 1 && !j->is_loading && j->tried_plan != s->plan_no)
            tk_fair_offer(s->fair, j->i_key, j->priority, j->submit_ns, j->id, now_ns, j);
    }
    for (int32_t i = 0; may_admit && i < s->n_waiting; i++) {
        svc_job *j = s->waiting[i];
        if (j->tried_plan != s->plan_no)
            tk_fair_offer(s->fair, j->i_key, j->priority, j->submit_ns, j->id, now_ns, j);
    }
    return tk_fair_pick(s->fair, now_ns);
}

static void plan_prompts(tk_service *s, uint64_t now_ns)
{
    bool late = any_late(s, now_ns), may_admit = true;
    int32_t budget = prompt_budget(s, late), left;
    svc_job *j;
    while ((left = budget - (s->n_planned_tok - s->n_planned_decode)) > 0 &&
           (j = next_prompt(s, may_admit, now_ns)) != NULL) {
        if (j->state == SVC_WAITING && !admit(s, j, now_ns, late))
            may_admit = false; // nobody behind it is let past
        else if (!j->is_loading)
            plan_chunk(s, j, left);
    }
    bool passed_over = s->n_part == s->n_planned_decode && has_prompt_work(s);
    s->n_starved = passed_over ? s->n_starved + 1 : 0;
}

void svc_plan_step(tk_service *s, uint64_t now_ns)
{
    s->n_part = s->n_planned_tok = s->n_planned_row = s->n_planned_decode = s->n_busy_key = 0;
    s->plan_no++;
    plan_decodes(s);
    plan_prompts(s, now_ns);
}
