// SPDX-License-Identifier: MIT
#include "store/hub.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/hub_fetch.h"
#include "store/hub_offline.h"
#include "store/hub_select.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

// What a pull knows once the hub has answered.
typedef struct pull {
    const tk_hub_pull_opts *o;
    tk_hub_http *http;
    tk_hub_repo repo;
    char *rev;
    tk_hub_listing l;
    const tk_hub_file **blobs; // wanted, each sum once, the largest first
    size_t n_blob;
    tk_hub_progress p;
} pull;

static tk_status ask_listing(pull *u, tk_err *err)
{
    tk_buf url = tk_buf_make(1 << 16), body = tk_buf_make(TK_LIMIT_HUB_JSON_BYTES);
    char *where = tk_asprintf("the hub's listing of %s", u->repo.name);
    tk_hub_reply reply;
    tk_status st;
    tk_buf_addf(&url, "%s/api/models/%s/revision/", tk_hub_http_endpoint(u->http), u->repo.name);
    tk_hub_add_part(&url, u->rev);
    tk_buf_add_str(&url, "?blobs=true");
    TK_TRY(tk_hub_http_get(u->http, tk_buf_str(&url), &body, &reply, err));
    if (reply.status != 200)
        st = tk_hub_refusal(u->http, &reply, u->repo.name, u->rev, NULL, err);
    else
        st = tk_hub_listing_parse(tk_buf_str(&body), body.len, where, &u->l, err);
    if (st == TK_OK && tk_hub_is_hex(u->rev, strnlen(u->rev, 40)) && strlen(u->rev) == 40 &&
        strcmp(u->rev, u->l.commit) != 0)
        st = tk_fail(err, TK_BAD_INPUT, "the hub was asked for commit %s and answers with %s",
                     u->rev, u->l.commit);
done:
    tk_free(where);
    tk_buf_free(&body);
    tk_buf_free(&url);
    return st;
}

// Size and sum of a file that the listing does not tell (mirrors of the hub leave them out).
static tk_status ask_file(pull *u, tk_hub_file *f, tk_err *err)
{
    tk_buf url = tk_buf_make(1 << 16);
    tk_hub_reply r;
    tk_buf_addf(&url, "%s/%s/resolve/%s/", tk_hub_http_endpoint(u->http), u->repo.name,
                u->l.commit);
    tk_hub_add_path(&url, f->name);
    tk_status st = tk_hub_http_get(u->http, tk_buf_str(&url), NULL, &r, err);
    tk_buf_free(&url);
    if (st != TK_OK) return st;
    if (r.status >= 400) return tk_hub_refusal(u->http, &r, u->repo.name, u->rev, f->name, err);
    const char *etag = r.linked_etag[0] ? r.linked_etag : r.etag;
    int64_t size = r.linked_size >= 0 ? r.linked_size : r.is_redirect ? -1 : r.length;
    size_t n = strlen(etag);
    if ((n != 40 && n != 64) || !tk_hub_is_hex(etag, n) || size < 0)
        return tk_fail(err, TK_UNSUPPORTED,
                       "the hub tells neither in its listing nor in a header what \"%s\" hashes to "
                       "and how long it is",
                       f->name);
    memcpy(f->sum, etag, n + 1);
    return tk_hub_file_set_size(f, (uint64_t)size, err);
}

static int by_sum(const void *a, const void *b)
{
    return strcmp((*(const tk_hub_file *const *)a)->sum, (*(const tk_hub_file *const *)b)->sum);
}

static int by_size(const void *a, const void *b)
{
    const tk_hub_file *x = *(const tk_hub_file *const *)a, *y = *(const tk_hub_file *const *)b;
    return (x->size < y->size) - (x->size > y->size);
}

// The blobs behind the wanted files, and how many bytes they are.
static tk_status list_blobs(pull *u, tk_err *err)
{
    size_t n = 0;
    u->blobs = tk_alloc((u->l.n + 1) * sizeof *u->blobs);
    for (size_t i = 0; i < u->l.n; i++) {
        tk_hub_file *f = &u->l.files[i];
        if (!f->is_wanted) continue;
        tk_status st = f->is_sized && f->sum[0] ? TK_OK : ask_file(u, f, err);
        if (st != TK_OK) return st;
        u->blobs[n++] = f;
    }
    qsort(u->blobs, n, sizeof *u->blobs, by_sum);
    for (size_t i = 0; i < n; i++) {
        const tk_hub_file *f = u->blobs[i], *last = u->n_blob ? u->blobs[u->n_blob - 1] : NULL;
        if (last && strcmp(last->sum, f->sum) == 0) {
            if (last->size == f->size) continue;
            return tk_fail(err, TK_BAD_INPUT,
                           "the hub lists one content with two lengths, \"%s\" "
                           "and \"%s\"",
                           last->name, f->name);
        }
        u->blobs[u->n_blob++] = f;
        if (__builtin_add_overflow(u->p.bytes, f->size, &u->p.bytes))
            return tk_fail(err, TK_NOMEM, "the files' lengths together pass 2^64 bytes");
    }
    qsort(u->blobs, u->n_blob, sizeof *u->blobs, by_size);
    return TK_OK;
}

// Drops the blobs that are whole, and says what is left to fetch before anything is fetched; TK_NOMEM when the
// disk cannot hold it.
static tk_status weigh(pull *u, tk_err *err)
{
    uint64_t partial = 0;
    size_t n = 0;
    u->p.n_file = u->n_blob;
    for (size_t i = 0; i < u->n_blob; i++) {
        const tk_hub_file *f = u->blobs[i];
        if (!u->o->force && tk_hub_has_blob(&u->repo, f->sum, f->size)) {
            u->p.bytes_done += f->size;
            u->p.n_file_done++;
            continue;
        }
        uint64_t part = tk_hub_partial_bytes(&u->repo, f->sum);
        if (part <= f->size) partial += part;
        u->blobs[n++] = f;
    }
    u->n_blob = n;
    uint64_t here = u->p.bytes_done + partial, need = u->p.bytes - here;
    char all_text[TK_HUB_SIZE_TEXT], here_text[TK_HUB_SIZE_TEXT], need_text[TK_HUB_SIZE_TEXT];
    tk_log(TK_LOG_INFO, "%s@%s (%.12s): %zu files, %s; %s are here, %s to fetch", u->repo.name,
           u->rev, u->l.commit, u->p.n_file, tk_hub_size_text(u->p.bytes, all_text),
           tk_hub_size_text(here, here_text), tk_hub_size_text(need, need_text));
    struct statvfs v;
    if (statvfs(u->repo.dir, &v) != 0)
        return tk_fail(err, TK_IO, "cannot look at \"%s\": %s", u->repo.dir, strerror(errno));
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    if (need <= free_bytes) return TK_OK;
    char free_text[TK_HUB_SIZE_TEXT], lack_text[TK_HUB_SIZE_TEXT];
    return tk_fail(err, TK_NOMEM,
                   "the disk is too small: %s in all - %s here already = %s to fetch, %s are free "
                   "in \"%s\", %s are missing",
                   all_text, here_text, need_text, tk_hub_size_text(free_bytes, free_text),
                   u->repo.cache, tk_hub_size_text(need - free_bytes, lack_text));
}

// Names and revision come last: a snapshot that can be found is whole.
static tk_status publish(pull *u, tk_hub_pulled *out, tk_err *err)
{
    bool all = true;
    for (size_t i = 0; i < u->l.n; i++) {
        const tk_hub_file *f = &u->l.files[i];
        tk_status st = f->is_wanted ? tk_hub_link(&u->repo, u->l.commit, f, err) : TK_OK;
        if (st != TK_OK) return st;
        all &= f->is_wanted;
        out->n_file += f->is_wanted;
    }
    tk_hub_write_tree(&u->repo, &u->l, all);
    out->path = tk_hub_snapshot_path(&u->repo, u->l.commit);
    out->bytes = u->p.bytes;
    out->bytes_downloaded = u->p.bytes_downloaded;
    memcpy(out->commit, u->l.commit, sizeof out->commit);
    return tk_hub_write_ref(&u->repo, u->rev, u->l.commit, err);
}

static tk_status pull_online(pull *u, tk_hub_pulled *out, tk_err *err)
{
    const tk_hub_globs globs = {u->o->include, u->o->exclude, u->o->n_include, u->o->n_exclude};
    tk_status st;
    TK_TRY(tk_hub_http_open(u->o->retries, u->o->stop, &u->http, err));
    TK_TRY(ask_listing(u, err));
    TK_TRY(tk_hub_select(&u->l, &globs, &out->choices, err));
    TK_TRY(list_blobs(u, err));
    TK_TRY(tk_hub_repo_make(&u->repo, err));
    TK_TRY(weigh(u, err));
    const tk_hub_fetch_opts fetch = {u->http, &u->repo, u->l.commit, u->o};
    if (u->n_blob > 0) TK_TRY(tk_hub_fetch(&fetch, u->blobs, u->n_blob, &u->p, err));
    st = publish(u, out, err);
done:
    return st;
}

tk_status tk_hub_pull(const tk_hub_pull_opts *o, tk_hub_pulled *out, tk_err *err)
{
    pull u = {.o = o};
    char *name;
    *out = (tk_hub_pulled){0};
    tk_status st = tk_hub_split(o->model, &name, &u.rev, err);
    if (st != TK_OK) return st;
    u.repo = tk_hub_repo_at(name);
    st = tk_hub_is_offline() ? tk_hub_pull_offline(o, &u.repo, u.rev, out, err)
                             : pull_online(&u, out, err);
    tk_free(u.blobs);
    tk_hub_listing_free(&u.l);
    tk_hub_repo_free(&u.repo);
    tk_hub_http_close(u.http);
    tk_free(u.rev);
    tk_free(name);
    return st;
}

void tk_hub_pulled_free(tk_hub_pulled *p)
{
    tk_free(p->path);
    tk_free(p->choices);
    *p = (tk_hub_pulled){0};
}
