// SPDX-License-Identifier: MIT
// The service with its disk tier: a restart, a kill, damaged files, a small cache, a failing disk.
#include "client.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_BLOCK = IS_SLOW ? 12 : 32, N_LONG = N_BLOCK * TK_KV_BLOCK_TOK + 37, N_OUT = 12 };

static char dir[64];
static int32_t text[N_LONG];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/tk-tier-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    return mkdtemp(dir) == NULL;
}

static int drop_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

static tk_service *start_tier(tk_model *m, const char *path, int32_t n_ctx, const char *kv_dir)
{
    open_model(path, n_ctx, m);
    tk_service_opts o = tk_service_opts_default();
    o.deterministic = true;
    o.max_model_len = n_ctx;
    o.kv_disk_dir = kv_dir;
    return start(m, &o);
}

static void ask(client *c, tk_service *s, int32_t n_prompt)
{
    *c = (client){0};
    tk_job_opts jo = client_opts(c, text, n_prompt, N_OUT);
    jo.ignore_eos = true;
    client_submit(c, s, &jo);
}

// A process of the service's life: the long prompt once.
static tk_service_stats one_life(const char *path, client *c, const char *kv_dir)
{
    tk_model m;
    tk_service *s = start_tier(&m, path, 4096, kv_dir);
    ask(c, s, N_LONG);
    client_wait(c);
    tk_service_stats st;
    tk_service_drain(s);
    do tk_service_get_stats(s, &st);
    while (st.n_running > 0);
    tk_service_stop(s, 30);
    tk_model_close(&m);
    return st;
}

static void a_restart_finds_a_long_prompt_on_disk(void **state)
{
    (void)state;
    client a, b, alone;
    one_life(GOLDEN("llama-gqa-f32"), &alone, NULL);
    one_life(GOLDEN("llama-gqa-f32"), &a, dir);
    tk_service_stats st = one_life(GOLDEN("llama-gqa-f32"), &b, dir);
    assert_int_equal(a.result.n_cached, 0);
    assert_int_equal(b.result.n_cached, N_BLOCK * 64);
    assert_int_equal(st.kv_disk_hits, N_BLOCK);
    assert_int_equal(st.prefix_hits, N_BLOCK * 64);
    assert_int_equal(st.kv_disk_corrupt, 0);
    assert_true(st.kv_disk_bytes > 0);
    assert_memory_equal(a.ids, alone.ids, N_OUT * sizeof *a.ids);
    assert_memory_equal(b.ids, alone.ids, N_OUT * sizeof *a.ids);
    assert_memory_equal(b.logprobs, alone.logprobs, N_OUT * sizeof *a.logprobs);
}

static void latent_caches_come_back_too(void **state)
{
    (void)state;
    client a, b;
    one_life(GOLDEN("dsv3-long-f32"), &a, dir);
    one_life(GOLDEN("dsv3-long-f32"), &b, dir);
    assert_int_equal(b.result.n_cached, N_BLOCK * 64);
    assert_memory_equal(b.logprobs, a.logprobs, N_OUT * sizeof *a.logprobs);
}

static void another_model_finds_nothing(void **state)
{
    (void)state;
    client a, b, alone;
    one_life(GOLDEN("mistral-window-long-f32"), &alone, NULL);
    one_life(GOLDEN("dsv3-long-f32"), &a, dir); // both have 67 tokens
    tk_service_stats st = one_life(GOLDEN("mistral-window-long-f32"), &b, dir);
    assert_int_equal(b.result.n_cached, 0);
    assert_int_equal(st.kv_disk_hits + st.kv_disk_corrupt, 0);
    assert_memory_equal(b.ids, alone.ids, N_OUT * sizeof *b.ids);
}

// Calls fn for each block's file; returns how many there are.
static int each_file(void (*fn)(const char *path, int i))
{
    DIR *list = opendir(dir);
    int n = 0;
    for (struct dirent *f; (f = readdir(list)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        if (strstr(f->d_name, ".kv") == NULL) continue;
        if (fn) fn(path, n);
        n++;
    }
    closedir(list);
    return n;
}

static void damage(const char *path, int i)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f), at = (long)((uint64_t)i * 2654435761u % (uint64_t)size);
    if (i % 3 == 0) {
        assert_int_equal(ftruncate(fileno(f), at), 0);
    } else {
        fseek(f, at, SEEK_SET);
        int c = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(c ^ (1 << i % 8), f);
    }
    fclose(f);
}

static void damaged_files_cost_time_and_nothing_else(void **state)
{
    (void)state;
    client a, b, c;
    one_life(GOLDEN("llama-gqa-f32"), &a, dir);
    assert_int_equal(each_file(damage), N_BLOCK);
    tk_service_stats st = one_life(GOLDEN("llama-gqa-f32"), &b, dir);
    assert_int_equal(b.result.n_cached, 0); // the first is damaged: no use for the rest
    assert_true(st.kv_disk_corrupt > 0);
    assert_memory_equal(b.logprobs, a.logprobs, N_OUT * sizeof *a.logprobs);
    one_life(GOLDEN("llama-gqa-f32"), &c, dir); // what was found damaged was written again
    assert_true(c.result.n_cached > 0);
    assert_memory_equal(c.logprobs, a.logprobs, N_OUT * sizeof *a.logprobs);
}

static void a_killed_process_leaves_a_usable_prefix(void **state)
{
    (void)state;
    client a, b;
    one_life(GOLDEN("llama-gqa-f32"), &a, NULL);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) { // the service at work, until it is killed
        tk_model m;
        tk_service *s = start_tier(&m, GOLDEN("llama-gqa-f32"), 4096, dir);
        client c;
        ask(&c, s, N_LONG);
        client_wait(&c);
        for (;;) pause();
    }
    assert_true(pid > 0);
    int n = 0; // somewhere in the middle of its writing
    while ((n = each_file(NULL)) < 11 && waitpid(pid, NULL, WNOHANG) == 0) usleep(500);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    assert_true(n >= 11);
    tk_service_stats st = one_life(GOLDEN("llama-gqa-f32"), &b, dir);
    assert_true(b.result.n_cached >= 11 * 64);
    assert_int_equal(st.kv_disk_corrupt, 0);
    assert_memory_equal(b.logprobs, a.logprobs, N_OUT * sizeof *a.logprobs);
}

static void a_disk_that_fails_stops_nothing(void **state)
{
    (void)state;
    client a, b;
    one_life(GOLDEN("llama-gqa-f32"), &a, NULL);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 2000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    fflush(NULL);
    tk_log_set_level(TK_LOG_QUIET);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    tk_service_stats st = one_life(GOLDEN("llama-gqa-f32"), &b, dir);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    tk_log_set_level(TK_LOG_WARN);
    assert_int_equal(st.kv_disk_bytes, 0);
    assert_int_equal(each_file(NULL), 0);
    assert_memory_equal(b.logprobs, a.logprobs, N_OUT * sizeof *a.logprobs);
}

// The cache holds one of these conversations at a time; the disk holds all. Some are cancelled at any moment.
static void a_small_cache_lives_off_the_disk(void **state)
{
    (void)state;
    enum { N_TEXT = 5, N_JOB = 60, N = 300 };
    tk_model m;
    tk_rng rng = {.state = 4};
    client *c = calloc(N_JOB, sizeof *c);
    int32_t ids[N_TEXT][N], want[N_TEXT][N_OUT];
    for (int k = 0; k < N_TEXT; k++)
        for (int i = 0; i < N; i++) ids[k][i] = (int32_t)(tk_rng_below(&rng, 60));
    tk_service *s = start_tier(&m, GOLDEN("llama-gqa-f32"), 512, dir);
    for (int i = 0; i < N_JOB; i++) {
        int k = i < N_TEXT ? i : (int)tk_rng_below(&rng, N_TEXT);
        tk_job_opts jo = client_opts(&c[i], ids[k], N, N_OUT);
        jo.ignore_eos = true;
        jo.priority = (int32_t)tk_rng_below(&rng, 2);
        client_submit(&c[i], s, &jo);
        if (i < N_TEXT) {
            client_wait(&c[i]);
            memcpy(want[k], c[i].ids, sizeof want[k]);
        } else if (i % 4 == 0) {
            tk_service_cancel(s, c[i].id);
        } else if (i % 4 == 1) {
            client_wait(&c[i]);
            assert_memory_equal(c[i].ids, want[k], sizeof want[k]);
        }
    }
    for (int i = 0; i < N_JOB; i++) client_wait(&c[i]);
    tk_service_stats st;
    tk_service_drain(s);
    tk_service_get_stats(s, &st);
    printf("%llu blocks from disk, %llu preemptions\n", (unsigned long long)st.kv_disk_hits,
           (unsigned long long)st.n_preempted);
    assert_true(st.kv_disk_hits > 20);
    assert_int_equal(st.kv_disk_corrupt, 0);
    tk_service_stop(s, 0);
    free(c);
    tk_model_close(&m);
}

static void a_folder_that_cannot_be_used_is_refused(void **state)
{
    (void)state;
    tk_model m;
    tk_service *s;
    tk_err err = TK_ERR_INIT;
    open_model(GOLDEN("llama-gqa-f32"), 512, &m);
    tk_service_opts o = tk_service_opts_default();
    o.kv_disk_dir = "/proc/none/kv";
    assert_int_equal(tk_service_start(&m, &o, &s, &err), TK_IO);
    assert_non_null(strstr(err.msg, "/proc/none/kv"));
    err = (tk_err)TK_ERR_INIT;
    o.kv_disk_dir = dir;
    o.prefix_cache = false;
    assert_int_equal(tk_service_start(&m, &o, &s, &err), TK_USAGE);
    tk_model_close(&m);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_restart_finds_a_long_prompt_on_disk),
        CASE(latent_caches_come_back_too),
        CASE(another_model_finds_nothing),
        CASE(damaged_files_cost_time_and_nothing_else),
        CASE(a_killed_process_leaves_a_usable_prefix),
        CASE(a_disk_that_fails_stops_nothing),
        CASE(a_small_cache_lives_off_the_disk),
        CASE(a_folder_that_cannot_be_used_is_refused),
    };
    tk_log_set_level(TK_LOG_WARN);
    for (int i = 0; i < N_LONG; i++) text[i] = (int32_t)(((uint64_t)i * 2654435761u >> 7) % 60);
    return cmocka_run_group_tests_name("service, disk tier", tests, NULL, NULL);
}
