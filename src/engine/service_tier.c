// SPDX-License-Identifier: MIT
#include "engine/service_tier.h"

#include "base/log.h"
#include "base/mem.h"

#include <string.h>

enum {
    N_BUF = 8,
    N_BUF_LOAD = 2, // buffers that writing leaves to reading
    MAX_KEPT = 256, // ended jobs with blocks to store; more: the oldest is let go
    QUIT = N_BUF,   // a request that is no buffer
};

typedef struct tier_buf { // owner: whoever holds its number
    bool is_load, ok;
    tk_kv_key key;
    int32_t *ids; // [n_ids] the sequence up to and with the block
    int32_t n_ids, cap_ids;
    tk_job_id job; // load: for whom
    uint64_t epoch;
    void *bytes; // a block's
} tier_buf;

// What an ended job has still to store. Its blocks lie in the prefix cache, and may be given up meanwhile: the
// serial number tells.
typedef struct kept {
    struct kept *next;
    int32_t *ids, *block;
    uint64_t *serial;
    int32_t n_block, next_block;
} kept;

struct svc_tier {
    tk_kv_disk *disk;
    pthread_t thread;
    tk_queue *requests; // int32_t buffer numbers
    tk_queue *inbox;    // the service's
    tier_buf buf[N_BUF];
    int32_t free_[N_BUF], n_free; // engine thread
    kept *first, *last;
    int32_t n_kept;
};

static void *tier_thread(void *ctx)
{
    svc_tier *t = ctx;
    int32_t i;
    while (tk_queue_pop_wait(t->requests, &i, UINT64_MAX) && i != QUIT) {
        tier_buf *b = &t->buf[i];
        b->ok = b->is_load ? tk_kv_disk_get(t->disk, b->key, b->ids, b->n_ids, b->bytes)
                           : tk_kv_disk_put(t->disk, b->key, b->ids, b->n_ids, b->bytes);
        svc_msg m = {.kind = SVC_MSG_TIER, .value = (uint64_t)i};
        tk_queue_push_wait(t->inbox, &m);
    }
    return NULL;
}

static void free_kept(kept *k)
{
    tk_free(k->ids);
    tk_free(k->block);
    tk_free(k->serial);
    tk_free(k);
}

static void drop_first_kept(svc_tier *t)
{
    kept *k = t->first;
    t->first = k->next;
    if (t->first == NULL) t->last = NULL;
    t->n_kept--;
    free_kept(k);
}

static void free_tier(svc_tier *t)
{
    while (t->first) drop_first_kept(t);
    for (int i = 0; i < N_BUF; i++) {
        tk_free(t->buf[i].ids);
        tk_free(t->buf[i].bytes);
    }
    tk_queue_free(t->requests);
    tk_kv_disk_close(t->disk);
    tk_free(t);
}

tk_status svc_tier_start(tk_service *s, tk_err *err)
{
    if (s->opts.kv_disk_dir == NULL) return TK_OK;
    if (!s->opts.prefix_cache)
        return tk_fail(err, TK_USAGE, "a KV cache on disk needs the prefix cache");
    svc_tier *t = tk_alloc(sizeof *t);
    tk_status st = TK_OK;
    tk_kv_disk_opts o = {.dir = s->opts.kv_disk_dir,
                         .max_bytes = s->opts.kv_disk_bytes,
                         .block_bytes = tk_exec_kv_block_bytes(s->exec)};
    t->inbox = s->inbox;
    t->requests = tk_queue_new(sizeof(int32_t), N_BUF + 1);
    for (int32_t i = 0; i < N_BUF; i++) {
        t->buf[i].bytes = tk_try_alloc(o.block_bytes, 1);
        if (t->buf[i].bytes == NULL)
            st = tk_fail(err, TK_NOMEM, "no memory for %d blocks of %zu bytes", N_BUF,
                         o.block_bytes);
        t->free_[t->n_free++] = i;
    }
    if (st != TK_OK) goto done;
    tk_exec_kv_identity(s->exec, o.identity);
    TK_TRY(tk_kv_disk_open(&o, &t->disk, err));
    int rc = pthread_create(&t->thread, NULL, tier_thread, t);
    if (rc != 0) {
        st = tk_fail(err, TK_FAILED, "cannot make the disk tier's thread: %s", strerror(rc));
        goto done;
    }
    pthread_setname_np(t->thread, "tk-tier");
    s->tier = t;
    t = NULL;
done:
    if (t) free_tier(t);
    return st;
}

void svc_tier_stop(tk_service *s)
{
    svc_tier *t = s->tier;
    if (t == NULL) return;
    int32_t quit = QUIT;
    tk_queue_push(t->requests, &quit); // has room: a place more than buffers
    pthread_join(t->thread, NULL);
    free_tier(t);
    s->tier = NULL;
}

// A buffer filled but for the bytes; -1 when none is free.
static int32_t take_buf(svc_tier *t, bool is_load, tk_kv_key key, const int32_t *ids, int32_t n_ids)
{
    if (t->n_free <= (is_load ? 0 : N_BUF_LOAD)) return -1;
    int32_t i = t->free_[--t->n_free];
    tier_buf *b = &t->buf[i];
    if (n_ids > b->cap_ids) {
        b->cap_ids = TK_MAX(n_ids, 2 * b->cap_ids);
        b->ids = tk_realloc(b->ids, (size_t)b->cap_ids * sizeof *b->ids);
    }
    memcpy(b->ids, ids, (size_t)n_ids * sizeof *ids);
    b->n_ids = n_ids;
    b->is_load = is_load;
    b->key = key;
    return i;
}

// ---- loading

// Asks for the blocks from load_next on, while there are buffers. Keys follow from the tokens alone.
static void ask_more(tk_service *s, svc_job *j)
{
    svc_tier *t = s->tier;
    while (j->load_next < j->load_end) {
        int32_t n_ids = (j->load_next + 1) * TK_KV_BLOCK_TOK;
        int32_t i = take_buf(t, true, j->load_key, j->ids, n_ids);
        if (i < 0) break;
        t->buf[i].job = j->id;
        t->buf[i].epoch = j->load_epoch;
        tk_queue_push(t->requests, &i);
        j->n_loading++;
        if (++j->load_next < j->load_end)
            j->load_key = tk_kv_key_next(s->kv, j->load_key, j->ids + n_ids);
    }
    j->is_loading = j->n_loading > 0 || j->load_next < j->load_end;
}

void svc_tier_load(tk_service *s, svc_job *j)
{
    tk_kv_key key, first;
    if (s->tier == NULL || j->seq.n_tok % TK_KV_BLOCK_TOK != 0 ||
        svc_pending(j) <= TK_KV_BLOCK_TOK || !tk_kv_prefix_next_key(s->kv, &j->seq, j->ids, &key))
        return;
    first = key;
    int32_t begin = j->seq.n_tok / TK_KV_BLOCK_TOK, end = begin;
    while ((end + 1) * TK_KV_BLOCK_TOK < j->n_ids && tk_kv_disk_has(s->tier->disk, key)) {
        end++;
        if ((end + 1) * TK_KV_BLOCK_TOK < j->n_ids)
            key = tk_kv_key_next(s->kv, key, j->ids + end * TK_KV_BLOCK_TOK);
    }
    if (end == begin) return;
    j->load_next = begin;
    j->load_end = end;
    j->load_key = first;
    j->n_loading = 0;
    j->load_epoch++;
    ask_more(s, j);
}

static svc_job *find_loading(const tk_service *s, const tier_buf *b)
{
    for (int32_t i = 0; i < s->n_running; i++) {
        svc_job *j = s->running[i];
        if (j->id == b->job && j->is_loading && j->load_epoch == b->epoch) return j;
    }
    return NULL;
}

// A block that was read becomes the next of its sequence; one that was not ends the loading.
static void take_loaded(tk_service *s, svc_job *j, const tier_buf *b)
{
    int32_t had = b->n_ids - TK_KV_BLOCK_TOK;
    j->n_loading--;
    bool fits = b->ok && j->seq.n_tok == had &&
                tk_kv_table_reserve(s->kv, &j->seq, b->n_ids, NULL) == TK_OK;
    if (!fits) {
        j->load_next = j->load_end; // what is under way comes too late
        return;
    }
    tk_exec_kv_write(s->exec, j->seq.block[j->seq.n_block - 1], b->bytes);
    j->seq.n_tok = b->n_ids;
    tk_kv_prefix_register(s->kv, &j->seq, j->ids, false);
    svc_count_hit(s, j, had);
    s->now.kv_disk_hits++;
}

void svc_tier_take(tk_service *s, int32_t i_buf)
{
    svc_tier *t = s->tier;
    tier_buf *b = &t->buf[i_buf];
    svc_job *j = b->is_load ? find_loading(s, b) : NULL;
    if (j) take_loaded(s, j, b);
    t->free_[t->n_free++] = i_buf;
    for (int32_t i = 0; i < s->n_running; i++)
        if (s->running[i]->is_loading) ask_more(s, s->running[i]);
}

// ---- storing

// False when there is no buffer for it now. A block that a file has already, or that is not known any more, is
// done with.
static bool store_block(tk_service *s, int32_t block, uint64_t serial, const int32_t *ids,
                        int32_t n_ids)
{
    tk_kv_key key;
    uint64_t now = tk_kv_prefix_serial(s->kv, block, &key);
    if (now == 0 || now != serial || tk_kv_disk_has(s->tier->disk, key)) return true;
    int32_t i = take_buf(s->tier, false, key, ids, n_ids);
    if (i < 0) return false;
    tk_exec_kv_read(s->exec, block, s->tier->buf[i].bytes);
    tk_queue_push(s->tier->requests, &i);
    return true;
}

static bool store_job(tk_service *s, svc_job *j)
{
    for (; j->n_stored < j->seq.n_known; j->n_stored++) {
        tk_kv_key key;
        int32_t block = j->seq.block[j->n_stored];
        if (!store_block(s, block, tk_kv_prefix_serial(s->kv, block, &key), j->ids,
                         (j->n_stored + 1) * TK_KV_BLOCK_TOK))
            return false;
    }
    return true;
}

void svc_tier_store(tk_service *s)
{
    svc_tier *t = s->tier;
    if (t == NULL) return;
    for (int32_t i = 0; i < s->n_running; i++)
        if (!store_job(s, s->running[i])) return;
    while (t->first) {
        kept *k = t->first;
        for (; k->next_block < k->n_block; k->next_block++)
            if (!store_block(s, k->block[k->next_block], k->serial[k->next_block], k->ids,
                             (k->next_block + 1) * TK_KV_BLOCK_TOK))
                return;
        drop_first_kept(t);
    }
}

void svc_tier_keep(tk_service *s, svc_job *j)
{
    svc_tier *t = s->tier;
    if (t == NULL || j->n_stored >= j->seq.n_known) return;
    if (t->n_kept == MAX_KEPT) drop_first_kept(t);
    kept *k = tk_alloc(sizeof *k);
    k->n_block = j->seq.n_known;
    k->next_block = j->n_stored;
    k->block = tk_alloc((size_t)k->n_block * sizeof *k->block);
    k->serial = tk_alloc((size_t)k->n_block * sizeof *k->serial);
    for (int32_t i = 0; i < k->n_block; i++) {
        tk_kv_key key;
        k->block[i] = j->seq.block[i];
        k->serial[i] = tk_kv_prefix_serial(s->kv, k->block[i], &key);
    }
    size_t ids_bytes = (size_t)k->n_block * TK_KV_BLOCK_TOK * sizeof *k->ids;
    k->ids = tk_alloc(ids_bytes);
    memcpy(k->ids, j->ids, ids_bytes);
    if (t->last)
        t->last->next = k;
    else
        t->first = k;
    t->last = k;
    t->n_kept++;
}

bool svc_tier_is_idle(const tk_service *s)
{
    return s->tier == NULL || (s->tier->n_free == N_BUF && s->tier->first == NULL);
}

uint64_t svc_tier_buffer_bytes(const tk_service *s)
{
    return s->tier ? (uint64_t)N_BUF * tk_exec_kv_block_bytes(s->exec) : 0;
}

void svc_tier_fill_stats(tk_service *s)
{
    if (s->tier == NULL) return;
    tk_kv_disk_stats d;
    tk_kv_disk_get_stats(s->tier->disk, &d);
    s->now.kv_disk_bytes = d.bytes;
    s->now.kv_disk_corrupt = d.corrupt;
}
