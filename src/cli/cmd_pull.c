// SPDX-License-Identifier: MIT
#include "cli/cmd.h"
#include "cli/sampling.h"

#include "base/clock.h"
#include "base/limits.h"
#include "store/hub.h"
#include "store/hub_listing.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef struct options {
    tk_cmd_common common;
    tk_opt_list include, exclude;
    int64_t jobs, retries;
    bool force, json;
} options;

static const tk_opt table[] = {
    {.name = "include",
     .type = TK_OPT_LIST,
     .arg = "GLOB",
     .offset = offsetof(options, include),
     .help = "Fetch the files that match, instead of the default choice; * matches / too. May be "
             "given several times."},
    {.name = "exclude",
     .type = TK_OPT_LIST,
     .arg = "GLOB",
     .offset = offsetof(options, exclude),
     .help = "Do not fetch the files that match; may be given several times."},
    {.name = "jobs",
     .aliases = "j max-workers",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 1,
     .max = TK_LIMIT_HUB_JOBS,
     .offset = offsetof(options, jobs),
     .help = "Files fetched at once (default 8)."},
    {.name = "retries",
     .type = TK_OPT_INT,
     .arg = "N",
     .min = 0,
     .max = 1000,
     .offset = offsetof(options, retries),
     .help = "How often a file is asked for again while nothing of it comes (default 5)."},
    {.name = "force",
     .aliases = "force-download",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, force),
     .help = "Fetch also what is there already."},
    {.name = "json",
     .type = TK_OPT_FLAG,
     .offset = offsetof(options, json),
     .help = "Print one JSON object: path, commit, files, bytes, bytes_downloaded."},
    TK_CMD_COMMON_OPTS(options),
    TK_OPT_END,
};

static tk_status run(int argc, char **argv, tk_err *err);

const tk_cmd tk_cmd_pull = {
    .name = "pull",
    .synopsis = "pull ORG/NAME[@REV] [--include GLOB] [--exclude GLOB] [options]",
    .summary = "fetch a model from the Hugging Face hub into its cache",
    .details =
        "Prints the snapshot's folder; the model is ORG/NAME for the other commands then. By\n"
        "default: weights in safetensors, or the one GGUF model there is, with their\n"
        "configuration, tokenizer, templates and texts. An interrupted pull goes on where\n"
        "it was. Environment: HF_TOKEN, HF_TOKEN_PATH, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT,\n"
        "HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_DISABLE_PROGRESS_BARS,\n"
        "SSL_CERT_FILE.",
    .opts = table,
    .run = run,
};

// The progress on stderr: on a terminal one line that is written over, else a line every few seconds.
typedef struct meter {
    bool on, is_terminal, is_drawn;
    uint64_t drawn_ns;            // when the last line was
    uint64_t then_ns, then_bytes; // where the rate is measured from
    double bytes_per_s;
} meter;

static meter meter_make(bool quiet)
{
    const char *off = getenv("HF_HUB_DISABLE_PROGRESS_BARS"), *term = getenv("TERM");
    bool disabled = off && *off && strcmp(off, "0") != 0 && strcasecmp(off, "off") != 0 &&
                    strcasecmp(off, "no") != 0 && strcasecmp(off, "false") != 0;
    return (meter){.on = !quiet && !disabled,
                   .is_terminal = isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0),
                   .drawn_ns = tk_clock_ns(),
                   .then_ns = tk_clock_ns()};
}

// Over the last seconds: an average from the start would take minutes to see a change.
static void measure(meter *m, uint64_t now, uint64_t bytes)
{
    double s = (double)(now - m->then_ns) * 1e-9;
    if (s < 0.5) return;
    double rate = (double)(bytes - m->then_bytes) / s;
    double keep = m->bytes_per_s > 0 ? 0.8 : 0;
    m->bytes_per_s = keep * m->bytes_per_s + (1 - keep) * rate;
    m->then_ns = now;
    m->then_bytes = bytes;
}

static void print_left(double s)
{
    if (!(s < 360000)) return; // no rate yet, or longer than anybody waits
    int t = (int)s;
    if (t >= 3600)
        fprintf(stderr, ", %d h %02d min left", t / 3600, t / 60 % 60);
    else if (t >= 60)
        fprintf(stderr, ", %d min %02d s left", t / 60, t % 60);
    else
        fprintf(stderr, ", %d s left", t);
}

static void draw(void *ctx, const tk_hub_progress *p)
{
    meter *m = ctx;
    uint64_t now = tk_clock_ns();
    measure(m, now, p->bytes_downloaded);
    double since = (double)(now - m->drawn_ns) * 1e-9;
    if (!m->on || since < (m->is_terminal ? 0.2 : 5)) return;
    char done[TK_HUB_SIZE_TEXT], all[TK_HUB_SIZE_TEXT], rate[TK_HUB_SIZE_TEXT];
    fprintf(stderr, "%s%zu of %zu files, %s of %s, %s/s", m->is_terminal ? "\r" : "",
            p->n_file_done, p->n_file, tk_hub_size_text(p->bytes_done, done),
            tk_hub_size_text(p->bytes, all), tk_hub_size_text((uint64_t)m->bytes_per_s, rate));
    if (m->bytes_per_s > 0) print_left((double)(p->bytes - p->bytes_done) / m->bytes_per_s);
    if (p->n_wait > 0) fprintf(stderr, ", %zu waiting", p->n_wait);
    if (p->n_check > 0) fprintf(stderr, ", %zu checking what is here", p->n_check);
    fputs(m->is_terminal ? "\033[K" : "\n", stderr);
    fflush(stderr);
    m->drawn_ns = now;
    m->is_drawn = m->is_terminal;
}

static void print_result(const tk_hub_pulled *p, bool json)
{
    if (!json) {
        puts(p->path);
        return;
    }
    json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:I}", "path", p->path, "commit", p->commit,
                          "files", (json_int_t)p->n_file, "bytes", (json_int_t)p->bytes,
                          "bytes_downloaded", (json_int_t)p->bytes_downloaded);
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(j);
}

static tk_status run(int argc, char **argv, tk_err *err)
{
    options o = {.jobs = 8, .retries = 5};
    const char *model;
    tk_status st = tk_cmd_parse(&tk_cmd_pull, argc, argv, &o, &model, 1, 1, NULL, err);
    if (st != TK_OK) return st;
    meter m = meter_make(o.common.quiet);
    const tk_hub_pull_opts po = {
        .model = model,
        .include = o.include.item,
        .n_include = o.include.n,
        .exclude = o.exclude.item,
        .n_exclude = o.exclude.n,
        .jobs = (int)o.jobs,
        .retries = (int)o.retries,
        .force = o.force,
        .stop = &tk_interrupted,
        .progress = draw,
        .progress_ctx = &m,
    };
    tk_hub_pulled pulled;
    tk_catch_interrupt();
    st = tk_hub_pull(&po, &pulled, err);
    if (m.is_drawn) fputs("\r\033[K", stderr);
    if (pulled.choices) fputs(pulled.choices, stderr);
    if (st == TK_OK) print_result(&pulled, o.json);
    tk_hub_pulled_free(&pulled);
    return st;
}
