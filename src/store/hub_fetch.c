// SPDX-License-Identifier: MIT
#include "store/hub_fetch.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HASH_BYTES = 4 << 20,     // of a partial blob between looks at the network
    FLUSH_BYTES = 32 << 20,   // handed to the disk as they come, so that the last fsync is short
    PROGRESS_BYTES = 1 << 20, // new bytes that make a failure the first one again
    LOCK_WAIT_MS = 300,
    TICK_MS = 100,
    REFUSAL_BYTES = 64 << 10, // read of the body of an answer that is no success
};

typedef enum job_state { JOB_FREE, JOB_WAIT, JOB_HASH, JOB_ASK } job_state;
// What the head or body of an answer has shown already.
typedef enum verdict { V_NONE, V_TAKE, V_AGAIN, V_FATAL } verdict;

typedef struct job {
    job_state state;
    const tk_hub_file *file;
    int lock, fd;
    tk_hub_sum *sum;
    uint64_t at;   // bytes in the partial blob, all hashed
    uint64_t best; // the most there has been
    uint64_t flushed, due_ns;
    uint64_t n_ignored; // bytes of a refusal's body
    int n_fail, n_wrong;
    bool waits_for_lock;
    CURL *curl;
    char error[CURL_ERROR_SIZE];
    tk_hub_reply reply;
    verdict verdict;
    tk_err why; // of V_AGAIN and V_FATAL
    struct fetch *fetch;
} job;

typedef struct fetch {
    const tk_hub_fetch_opts *o;
    CURLM *multi;
    job *jobs;
    size_t n_job;
    const tk_hub_file *const *files;
    size_t n_file, i_next, n_done;
    tk_hub_progress *p;
    uint64_t bytes_done; // of blobs that are whole
    tk_err *err;
} fetch;

static void release(job *j)
{
    if (j->curl) {
        curl_multi_remove_handle(j->fetch->multi, j->curl);
        curl_easy_cleanup(j->curl);
    }
    if (j->fd >= 0) close(j->fd);
    if (j->lock >= 0) close(j->lock);
    tk_hub_sum_free(j->sum);
    *j = (job){.fd = -1, .lock = -1, .fetch = j->fetch};
}

static void finish(job *j)
{
    fetch *f = j->fetch;
    f->n_done++;
    f->p->n_file_done++;
    f->bytes_done += j->file->size;
    release(j);
}

static void wait_ns(job *j, uint64_t ns)
{
    j->state = JOB_WAIT;
    j->due_ns = tk_clock_ns() + ns;
}

static char *partial_path(const job *j)
{
    return tk_asprintf("%s/blobs/%s.incomplete", j->fetch->o->repo->dir, j->file->sum);
}

static tk_status disk_failed(const job *j, const char *what, int why, tk_err *err)
{
    return tk_fail(err, why == ENOSPC || why == EDQUOT ? TK_NOMEM : TK_IO,
                   "cannot %s \"%s\" at byte %" PRIu64 " of %" PRIu64
                   ": %s; what is there stays, the next pull goes on from it",
                   what, j->file->name, j->at, j->file->size, strerror(why));
}

// From the first byte again: what is there is wrong, or the server cannot give the rest of it.
static tk_status start_over(job *j, tk_err *err)
{
    j->at = j->flushed = 0;
    tk_hub_sum_restart(j->sum);
    return ftruncate(j->fd, 0) == 0 ? TK_OK : disk_failed(j, "empty", errno, err);
}

static tk_status open_partial(job *j, tk_err *err)
{
    char *path = partial_path(j);
    struct stat sb;
    tk_status st;
    j->fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0666);
    if (j->fd < 0 || fstat(j->fd, &sb) != 0 || !S_ISREG(sb.st_mode)) {
        st = tk_fail(err, TK_IO, "cannot open \"%s\": %s", path,
                     j->fd < 0 ? strerror(errno) : "not a regular file");
        goto done;
    }
    TK_TRY(tk_hub_sum_new(strlen(j->file->sum), j->file->size, &j->sum, err));
    if (j->fetch->o->pull->force || (uint64_t)sb.st_size > j->file->size) st = start_over(j, err);
    j->state = JOB_HASH;
done:
    tk_free(path);
    return st;
}

static tk_status begin(job *j, tk_err *err)
{
    const tk_hub_fetch_opts *o = j->fetch->o;
    tk_status st = tk_hub_lock(o->repo, j->file->sum, &j->lock, err);
    if (st != TK_OK) return st;
    if (j->lock < 0) {
        if (!j->waits_for_lock)
            tk_log(TK_LOG_INFO, "another process fetches \"%s\"; waiting for it", j->file->name);
        j->waits_for_lock = true;
        wait_ns(j, (uint64_t)LOCK_WAIT_MS * 1000000u);
        return TK_OK;
    }
    bool may_have = !o->pull->force || j->waits_for_lock; // then the other has just fetched it
    if (may_have && tk_hub_has_blob(o->repo, j->file->sum, j->file->size)) {
        finish(j);
        return TK_OK;
    }
    return open_partial(j, err);
}

static tk_status write_all(job *j, const char *p, size_t n, tk_err *err)
{
    for (size_t at = 0; at < n;) {
        ssize_t k = pwrite(j->fd, p + at, n - at, (off_t)(j->at + at));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0) return disk_failed(j, "write", k < 0 ? errno : ENOSPC, err);
        at += (size_t)k;
    }
    tk_hub_sum_add(j->sum, p, n);
    j->at += n;
    j->fetch->p->bytes_downloaded += n;
    if (j->at - j->flushed >= FLUSH_BYTES) {
        sync_file_range(j->fd, (off_t)j->flushed, (off_t)(j->at - j->flushed),
                        SYNC_FILE_RANGE_WRITE);
        j->flushed = j->at;
    }
    return TK_OK;
}

// The answer cannot be used; what is there goes too, when it is part of the trouble.
static void again(job *j, bool from_start, const char *why)
{
    bool ok = !from_start || start_over(j, &j->why) == TK_OK;
    j->verdict = ok ? V_AGAIN : V_FATAL;
    if (ok) tk_fail(&j->why, TK_FAILED, "%s", why);
}

// The head of the last answer is there: is this what was asked for?
static void judge(job *j)
{
    const tk_hub_reply *r = &j->reply;
    const tk_hub_file *f = j->file;
    const char *etag = r->linked_etag[0] ? r->linked_etag : r->n_head == 1 ? r->etag : "";
    size_t n = strlen(etag);
    if (r->status == 416) {
        again(j, true, "the hub has no bytes behind those that are here");
    } else if (r->status != 200 && r->status != 206) {
        return; // a refusal: told from its status when it is over
    } else if ((n == 40 || n == 64) && tk_hub_is_hex(etag, n) && strcmp(etag, f->sum) != 0) {
        again(j, true, "the hub sends another version than it lists");
    } else if (r->status == 206) {
        bool fits = j->at > 0 && r->range_begin == (int64_t)j->at &&
                    (r->range_total < 0 || r->range_total == (int64_t)f->size);
        if (fits)
            j->verdict = V_TAKE;
        else
            again(j, true, "the hub sends another range than it was asked for");
    } else if (r->length >= 0 && r->length != (int64_t)f->size) {
        again(j, false, "the hub announces another length than it lists");
    } else if (j->at > 0 && start_over(j, &j->why) != TK_OK) {
        j->verdict = V_FATAL;
    } else {
        j->verdict = V_TAKE; // all of it, also when only the rest was asked for
    }
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
    job *j = ctx;
    bool head_ends = tk_hub_reply_line(&j->reply, line, size * n);
    if (head_ends && j->verdict == V_NONE) judge(j); // trailers behind the body end like a head
    return j->verdict == V_AGAIN || j->verdict == V_FATAL ? 0 : size * n;
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
    job *j = ctx;
    size_t len = size * n;
    if (j->verdict != V_TAKE) {
        j->n_ignored += len;
        return j->n_ignored > REFUSAL_BYTES ? 0 : len;
    }
    if (len > j->file->size - j->at) {
        again(j, true, "the hub sends more bytes than it lists");
        return 0;
    }
    if (write_all(j, p, len, &j->why) == TK_OK) return len;
    j->verdict = V_FATAL;
    return 0;
}

static tk_status ask(job *j, tk_err *err)
{
    const tk_hub_fetch_opts *o = j->fetch->o;
    tk_buf url = tk_buf_make(1 << 16);
    tk_buf_addf(&url, "%s/%s/resolve/%s/", tk_hub_http_endpoint(o->http), o->repo->name, o->commit);
    tk_hub_add_path(&url, j->file->name);
    j->curl = tk_hub_http_request(o->http, tk_buf_str(&url), &j->reply, j->error);
    tk_buf_free(&url);
    if (j->curl == NULL) return tk_fail(err, TK_FAILED, "libcurl has no memory for a request");
    char range[32];
    snprintf(range, sizeof range, "%" PRIu64 "-", j->at);
    if (j->at > 0) curl_easy_setopt(j->curl, CURLOPT_RANGE, range);
    curl_easy_setopt(j->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(j->curl, CURLOPT_HEADERDATA, j);
    curl_easy_setopt(j->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(j->curl, CURLOPT_WRITEDATA, j);
    curl_easy_setopt(j->curl, CURLOPT_PRIVATE, j);
    j->verdict = V_NONE;
    j->n_ignored = 0;
    j->why = (tk_err)TK_ERR_INIT;
    j->state = JOB_ASK;
    if (curl_multi_add_handle(j->fetch->multi, j->curl) != CURLM_OK)
        return tk_fail(err, TK_FAILED, "libcurl cannot begin a request");
    return TK_OK;
}

// Not now; a failure ends the fetch when there were too many without new bytes between them.
static tk_status repeat(job *j, const char *why, int retry_after_s, tk_err *err)
{
    int retries = tk_hub_http_retries(j->fetch->o->http);
    if (j->at >= j->best + PROGRESS_BYTES) j->n_fail = 0;
    j->best = TK_MAX(j->best, j->at);
    if (j->n_fail >= retries)
        return tk_fail(err, TK_FAILED,
                       "\"%s\": %s (%" PRIu64 " of %" PRIu64 " bytes are here, asked %d times); "
                       "the next pull goes on from them",
                       j->file->name, why, j->at, j->file->size, j->n_fail + 1);
    uint64_t ns = tk_hub_backoff_ns(j->n_fail++, retry_after_s);
    tk_log(TK_LOG_VERBOSE, "\"%s\": %s at byte %" PRIu64 "; again in %.1f s", j->file->name, why,
           j->at, (double)ns * 1e-9);
    wait_ns(j, ns);
    return TK_OK;
}

static tk_status commit(job *j, tk_err *err)
{
    char *temp = partial_path(j), *path = tk_hub_blob_path(j->fetch->o->repo, j->file->sum);
    tk_status st = TK_OK;
    if (fsync(j->fd) != 0)
        st = disk_failed(j, "write", errno, err);
    else if (rename(temp, path) != 0)
        st = tk_fail(err, TK_IO, "cannot name \"%s\": %s", path, strerror(errno));
    else
        finish(j);
    tk_free(path);
    tk_free(temp);
    return st;
}

// All bytes are there: are they the right ones?
static tk_status check(job *j, tk_err *err)
{
    char sum[TK_HUB_SUM_HEX];
    tk_hub_sum_hex(j->sum, sum);
    if (strcmp(sum, j->file->sum) == 0) return commit(j, err);
    tk_status st = start_over(j, err);
    if (st != TK_OK) return st;
    if (j->n_wrong++ == 0) {
        tk_log(TK_LOG_WARN, "\"%s\": wrong %s, fetching it once more", j->file->name,
               tk_hub_sum_name(strlen(sum)));
        return ask(j, err);
    }
    char *path = partial_path(j);
    unlink(path);
    tk_free(path);
    return tk_fail(err, TK_BAD_INPUT, "\"%s\": %s is %s, the hub lists %s (twice; removed)",
                   j->file->name, tk_hub_sum_name(strlen(sum)), sum, j->file->sum);
}

// A piece of what an earlier pull left, so that the network is looked at in between.
static tk_status hash(job *j, char *buffer, tk_err *err)
{
    ssize_t n = pread(j->fd, buffer, HASH_BYTES, (off_t)j->at);
    if (n < 0) return disk_failed(j, "read", errno, err);
    if (n > 0 && (uint64_t)n <= j->file->size - j->at) {
        tk_hub_sum_add(j->sum, buffer, (size_t)n);
        j->at += (uint64_t)n;
        return TK_OK;
    }
    j->best = j->flushed = j->at;
    return j->at == j->file->size ? check(j, err) : ask(j, err);
}

static tk_status end_request(job *j, CURLcode code, tk_err *err)
{
    const tk_hub_fetch_opts *o = j->fetch->o;
    curl_multi_remove_handle(j->fetch->multi, j->curl);
    curl_easy_cleanup(j->curl);
    j->curl = NULL;
    if (j->verdict == V_FATAL) return tk_fail(err, j->why.status, "%s", j->why.msg);
    if (j->verdict == V_AGAIN) return repeat(j, j->why.msg, 0, err);
    if (j->verdict == V_TAKE && j->at == j->file->size) return check(j, err);
    if (code != CURLE_OK && j->n_ignored <= REFUSAL_BYTES) {
        const char *why = tk_hub_curl_text(code, j->error);
        if (tk_hub_curl_is_passing(code)) return repeat(j, why, 0, err);
        return tk_fail(err, TK_FAILED, "\"%s\": %s", j->file->name, why);
    }
    if (j->verdict == V_TAKE) return repeat(j, "the hub sends fewer bytes than it lists", 0, err);
    // a signed address the hub redirected to may have run out: the hub gives another
    if (tk_hub_status_is_passing(&j->reply) || (j->reply.n_head > 1 && j->reply.status >= 400)) {
        char why[64];
        snprintf(why, sizeof why, "the hub answers %ld", j->reply.status);
        return repeat(j, why, j->reply.retry_after_s, err);
    }
    return tk_hub_refusal(o->http, &j->reply, o->repo->name, o->commit, j->file->name, err);
}

static tk_status step_job(fetch *f, job *j, char *buffer, bool *busy)
{
    if (j->state == JOB_FREE && f->i_next < f->n_file) {
        j->file = f->files[f->i_next++];
        j->state = JOB_WAIT;
    }
    *busy |= j->state == JOB_HASH;
    if (j->state == JOB_HASH) return hash(j, buffer, f->err);
    if (j->state != JOB_WAIT || tk_clock_ns() < j->due_ns) return TK_OK;
    return j->fd < 0 ? begin(j, f->err) : ask(j, f->err);
}

static tk_status take_messages(fetch *f)
{
    tk_status st = TK_OK;
    CURLMsg *m;
    for (int left; st == TK_OK && (m = curl_multi_info_read(f->multi, &left));) {
        char *private = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE) continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        st = end_request((job *)(void *)private, code, f->err);
    }
    return st;
}

static void report(fetch *f)
{
    const tk_hub_pull_opts *o = f->o->pull;
    f->p->bytes_done = f->bytes_done;
    f->p->n_wait = f->p->n_check = 0;
    for (size_t i = 0; i < f->n_job; i++) {
        f->p->bytes_done += f->jobs[i].at;
        f->p->n_wait += f->jobs[i].state == JOB_WAIT;
        f->p->n_check += f->jobs[i].state == JOB_HASH;
    }
    if (o->progress) o->progress(o->progress_ctx, f->p);
}

static tk_status run(fetch *f)
{
    char *buffer = tk_alloc(HASH_BYTES);
    tk_status st = TK_OK;
    while (st == TK_OK && f->n_done < f->n_file) {
        bool busy = false;
        size_t n_done = f->n_done;
        int running;
        for (size_t i = 0; i < f->n_job && st == TK_OK; i++)
            st = step_job(f, &f->jobs[i], buffer, &busy);
        if (st == TK_OK && curl_multi_perform(f->multi, &running) != CURLM_OK)
            st = tk_fail(f->err, TK_FAILED, "libcurl cannot go on");
        if (tk_hub_http_stopped(f->o->http))
            st = tk_fail(f->err, TK_INTERRUPTED,
                         "interrupted; what is there stays, the next pull goes on from it");
        if (st == TK_OK) st = take_messages(f);
        busy |= n_done != f->n_done; // a free place to fill
        report(f);
        if (st == TK_OK && !busy) curl_multi_poll(f->multi, NULL, 0, TICK_MS, NULL);
    }
    tk_free(buffer);
    return st;
}

tk_status tk_hub_fetch(const tk_hub_fetch_opts *o, const tk_hub_file *const *files, size_t n,
                       tk_hub_progress *p, tk_err *err)
{
    fetch f = {
        .o = o, .files = files, .n_file = n, .p = p, .bytes_done = p->bytes_done, .err = err};
    tk_status st;
    f.n_job = TK_MIN((size_t)o->pull->jobs, n);
    f.jobs = tk_alloc(f.n_job * sizeof *f.jobs);
    for (size_t i = 0; i < f.n_job; i++) f.jobs[i] = (job){.fd = -1, .lock = -1, .fetch = &f};
    f.multi = curl_multi_init();
    st = f.multi ? run(&f) : tk_fail(err, TK_FAILED, "libcurl cannot be started");
    for (size_t i = 0; i < f.n_job; i++) release(&f.jobs[i]);
    if (f.multi) curl_multi_cleanup(f.multi);
    tk_free(f.jobs);
    return st;
}
