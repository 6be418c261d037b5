// SPDX-License-Identifier: MIT
#include "base/log.h"
#include "base/rng.h"
#include "kv/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { N_IDS = 64, BLOCK = 2048 };

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    // memory, where there is such a folder: a thousand syncs of a disk take long
    snprintf(dir, sizeof dir, "%s/tk-kv-XXXXXX",
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

static tk_kv_disk *open_disk(uint64_t max_bytes, uint64_t identity, size_t block_bytes)
{
    tk_kv_disk_opts o = {dir, max_bytes, {identity, 7}, block_bytes};
    tk_kv_disk *d;
    tk_err err = TK_ERR_INIT;
    if (tk_kv_disk_open(&o, &d, &err) != TK_OK) fail_msg("%s", err.msg);
    return d;
}

// Block i and its text; half of the bytes shrink, half do not.
static tk_kv_key key_of(int i)
{
    tk_rng r = {.state = (uint64_t)i + 1000};
    return (tk_kv_key){tk_rng_u64(&r), tk_rng_u64(&r)};
}

static void text_of(int i, int32_t *ids)
{
    for (int k = 0; k < N_IDS; k++) ids[k] = i * 1000 + k;
}

static void block_of(int i, size_t n, char *block)
{
    tk_rng r = {.state = (uint64_t)i};
    for (size_t k = 0; k < n; k++) block[k] = k < n / 2 ? (char)tk_rng_u64(&r) : (char)i;
}

static bool put(tk_kv_disk *d, int i, size_t n)
{
    int32_t ids[N_IDS];
    char *block = malloc(n);
    text_of(i, ids);
    block_of(i, n, block);
    bool ok = tk_kv_disk_put(d, key_of(i), ids, N_IDS, block);
    free(block);
    return ok;
}

// True when block i is there; what is there must be right.
static bool get(tk_kv_disk *d, int i, size_t n)
{
    int32_t ids[N_IDS];
    char *want = malloc(n), *got = calloc(1, n);
    text_of(i, ids);
    block_of(i, n, want);
    bool ok = tk_kv_disk_get(d, key_of(i), ids, N_IDS, got);
    if (ok) assert_memory_equal(got, want, n);
    free(want);
    free(got);
    return ok;
}

static tk_kv_disk_stats stats_of(const tk_kv_disk *d)
{
    tk_kv_disk_stats s;
    tk_kv_disk_get_stats(d, &s);
    return s;
}

static int count_files(const char *begins)
{
    DIR *list = opendir(dir);
    int n = 0;
    for (struct dirent *f; (f = readdir(list)) != NULL;)
        n += f->d_name[0] != '.' && strncmp(f->d_name, begins, strlen(begins)) == 0;
    closedir(list);
    return n;
}

static void path_of(uint64_t identity, int i, char *out, size_t cap)
{
    tk_kv_key k = key_of(i);
    snprintf(out, cap, "%s/%016llx%016llx-%016llx%016llx.kv", dir, (unsigned long long)identity,
             7ull, (unsigned long long)k.lo, (unsigned long long)k.hi);
}

static size_t read_path(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(buf, 1, cap, f);
    fclose(f);
    return n;
}

static void write_path(const char *path, const char *buf, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(buf, 1, n, f), n);
    fclose(f);
}

static void blocks_come_back_after_a_restart(void **state)
{
    (void)state;
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    for (int i = 0; i < 300; i++) assert_true(put(d, i, BLOCK)); // more than the index begins with
    for (int i = 0; i < 300; i += 7) assert_true(get(d, i, BLOCK));
    assert_false(get(d, 300, BLOCK));
    tk_kv_disk_close(d);
    d = open_disk(1 << 20, 1, BLOCK);
    assert_int_equal(stats_of(d).n_file, 300);
    for (int i = 0; i < 300; i++) {
        assert_true(tk_kv_disk_has(d, key_of(i)));
        assert_true(get(d, i, BLOCK));
    }
    assert_int_equal(stats_of(d).hits, 300);
    assert_int_equal(stats_of(d).corrupt, 0);
    tk_kv_disk_close(d);
}

static void the_longest_unused_goes_first(void **state)
{
    (void)state;
    enum { MOST = 5 * 1600 }; // a block's file is about 1.4 kB
    tk_kv_disk *d = open_disk(MOST, 1, BLOCK);
    for (int i = 0; i < 20; i++) {
        assert_true(put(d, i, BLOCK));
        if (i > 0) assert_true(get(d, 0, BLOCK)); // always in use
        assert_true(stats_of(d).bytes <= MOST);
    }
    assert_true(stats_of(d).evicted >= 14);
    assert_false(get(d, 10, BLOCK));
    assert_true(get(d, 19, BLOCK) && get(d, 18, BLOCK));
    assert_int_equal(count_files("0000000000000001"), stats_of(d).n_file);
    tk_kv_disk_close(d);
    d = open_disk(MOST / 2, 1, BLOCK); // a smaller bound next time
    assert_true(stats_of(d).bytes <= MOST / 2);
    assert_true(get(d, 18, BLOCK)); // used last
    tk_kv_disk_close(d);
    d = open_disk(1000, 1, BLOCK);
    assert_false(put(d, 50, BLOCK)); // never fits
    assert_false(stats_of(d).is_off);
    tk_kv_disk_close(d);
}

static void every_flipped_bit_and_cut_end_is_a_miss(void **state)
{
    (void)state;
    char path[256], good[4096], bad[4096];
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    put(d, 1, BLOCK);
    path_of(1, 1, path, sizeof path);
    size_t n = read_path(path, good, sizeof good);
    assert_true(n > 80 && n < sizeof good);
    uint64_t refused = 0;
    for (size_t i = 0; i < n; i += i < 400 ? 1 : 13) {
        memcpy(bad, good, n);
        bad[i] ^= (char)(1 << i % 8);
        write_path(path, bad, n);
        assert_false(get(d, 1, BLOCK));
        assert_int_equal(stats_of(d).corrupt, ++refused);
        assert_int_equal(count_files("00"), 0); // gone
        assert_true(put(d, 1, BLOCK));
    }
    assert_true(get(d, 1, BLOCK));
    tk_kv_disk_close(d);
    for (size_t len = 0; len < n; len += len < 100 ? 1 : 31) {
        write_path(path, good, len);
        d = open_disk(1 << 20, 1, BLOCK);
        assert_false(get(d, 1, BLOCK));
        assert_int_equal(stats_of(d).corrupt, 1);
        tk_kv_disk_close(d);
    }
    memset(bad, 0, sizeof bad);
    memcpy(bad, good, n);
    write_path(path, bad, n + 1); // longer
    d = open_disk(1 << 20, 1, BLOCK);
    assert_false(get(d, 1, BLOCK));
    tk_kv_disk_close(d);
}

static void sizes_in_the_head_are_not_believed(void **state)
{
    (void)state;
    char path[256], other[256], good[4096];
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    put(d, 1, BLOCK);
    path_of(1, 1, path, sizeof path);
    size_t n = read_path(path, good, sizeof good);
    tk_kv_disk_close(d);
    d = open_disk(1 << 20, 1,
                  BLOCK / 2); // blocks have become smaller: the frame is too large for them
    assert_false(get(d, 1, BLOCK / 2));
    assert_int_equal(stats_of(d).corrupt, 1);
    tk_kv_disk_close(d);
    write_path(path, good, n);
    path_of(1, 2, other, sizeof other); // another key's name
    assert_int_equal(rename(path, other), 0);
    d = open_disk(1 << 20, 1, BLOCK);
    assert_true(tk_kv_disk_has(d, key_of(2)));
    assert_false(get(d, 2, BLOCK));
    assert_int_equal(stats_of(d).corrupt, 1);
    tk_kv_disk_close(d);
}

static void another_text_under_the_same_key_is_a_miss(void **state)
{
    (void)state;
    char block[BLOCK];
    int32_t ids[N_IDS];
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    put(d, 1, BLOCK);
    text_of(1, ids);
    ids[0]++; // far from the block's end
    assert_false(tk_kv_disk_get(d, key_of(1), ids, N_IDS, block));
    assert_false(tk_kv_disk_get(d, key_of(1), ids, N_IDS - 1, block));
    assert_int_equal(stats_of(d).corrupt, 0);
    assert_true(get(d, 1, BLOCK)); // and it is still there
    tk_kv_disk_close(d);
}

static void another_models_files_are_kept_but_never_read(void **state)
{
    (void)state;
    char a[256], b[256];
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    put(d, 1, BLOCK);
    tk_kv_disk_close(d);
    d = open_disk(1 << 20, 2, BLOCK);
    assert_false(tk_kv_disk_has(d, key_of(1)));
    assert_int_equal(stats_of(d).n_file, 1); // it counts against the bound
    tk_kv_disk_close(d);
    path_of(1, 1, a, sizeof a);
    path_of(2, 1, b, sizeof b);
    assert_int_equal(rename(a, b), 0); // somebody renamed it
    d = open_disk(1 << 20, 2, BLOCK);
    assert_true(tk_kv_disk_has(d, key_of(1)));
    assert_false(get(d, 1, BLOCK));
    assert_int_equal(stats_of(d).corrupt, 1);
    tk_kv_disk_close(d);
}

static void strange_things_in_the_folder_are_left_alone(void **state)
{
    (void)state;
    char path[256], other[256];
    path_of(1, 1, path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
    path_of(1, 2, path, sizeof path);
    assert_int_equal(mkfifo(path, 0600), 0);
    path_of(1, 3, path, sizeof path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(other, sizeof other, "%s/notes.txt", dir);
    write_path(other, "mine", 4);
    snprintf(path, sizeof path, "%s/tmp-left", dir);
    write_path(path, "half a block", 12);
    tk_kv_disk *d = open_disk(1000, 1, BLOCK);
    assert_int_equal(stats_of(d).n_file, 0);
    for (int i = 1; i <= 3; i++) assert_false(get(d, i, BLOCK));
    assert_int_equal(count_files("tmp-"), 0);
    assert_int_equal(count_files("notes"), 1);
    tk_kv_disk_opts o = {dir, 1000, {1, 7}, BLOCK};
    tk_kv_disk *second;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_kv_disk_open(&o, &second, &err), TK_IO);
    assert_non_null(strstr(err.msg, "another process"));
    tk_kv_disk_close(d);
    err = (tk_err)TK_ERR_INIT;
    o.dir = "/dev/null/x";
    assert_int_equal(tk_kv_disk_open(&o, &second, &err), TK_IO);
    assert_null(second);
}

static void a_file_that_vanishes_is_a_miss(void **state)
{
    (void)state;
    char path[256];
    tk_kv_disk *d = open_disk(1 << 20, 1, BLOCK);
    put(d, 1, BLOCK);
    path_of(1, 1, path, sizeof path);
    unlink(path);
    assert_false(get(d, 1, BLOCK));
    assert_int_equal(stats_of(d).corrupt, 0);
    assert_true(put(d, 1, BLOCK));
    assert_true(get(d, 1, BLOCK));
    tk_kv_disk_close(d);
}

static void a_write_that_fails_turns_writing_off(void **state)
{
    (void)state;
    tk_kv_disk *d = open_disk(1 << 20, 1, 1 << 16);
    assert_true(put(d, 1, 1 << 16));
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 10000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    fflush(NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool wrote = put(d, 2, 1 << 16);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(wrote);
    assert_true(stats_of(d).is_off);
    assert_false(put(d, 3, 1 << 16)); // stays off
    assert_int_equal(count_files("tmp-"), 0);
    assert_true(get(d, 1, 1 << 16)); // reading goes on
    tk_kv_disk_close(d);
}

static void a_full_disk_turns_writing_off(void **state)
{
    (void)state;
    if (mount("tmpfs", dir, "tmpfs", 0, "size=256k") != 0) skip(); // needs root
    tk_kv_disk *d = open_disk(1 << 30, 1, 1 << 16);
    int n = 0;
    while (n < 100 && put(d, n, 1 << 16)) n++;
    bool off = stats_of(d).is_off;
    int left = count_files("tmp-"), ok = 0;
    for (int i = 0; i < n; i++) ok += get(d, i, 1 << 16);
    tk_kv_disk_close(d);
    assert_int_equal(umount(dir), 0);
    assert_in_range(n, 2, 10);
    assert_true(off);
    assert_int_equal(left, 0);
    assert_int_equal(ok, n);
}

static void a_writer_that_is_killed_leaves_whole_files(void **state)
{
    (void)state;
    enum { SIZE = 1 << 18, ROUNDS = 6, MOST = 2000 };
    tk_rng rng = {.state = 11};
    int n_seen = 0;
    for (int round = 0; round < ROUNDS; round++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            tk_kv_disk_opts o = {dir, 1 << 30, {1, 7}, SIZE};
            tk_kv_disk *d;
            if (tk_kv_disk_open(&o, &d, NULL) != TK_OK) _exit(1);
            for (int i = 0; i < MOST; i++) put(d, i, SIZE);
            _exit(0);
        }
        assert_true(pid > 0);
        int status, n_file = count_files("00");
        while (count_files("00") < n_file + 2 && waitpid(pid, &status, WNOHANG) == 0) usleep(500);
        usleep((useconds_t)tk_rng_below(&rng, 20000)); // somewhere in the middle of a write
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        tk_kv_disk *d = open_disk(1 << 30, 1, SIZE);
        assert_int_equal(count_files("tmp-"), 0);
        int n = 0;
        for (int i = 0; i < MOST && tk_kv_disk_has(d, key_of(i)); i++, n++)
            assert_true(get(d, i, SIZE));
        assert_int_equal(n, stats_of(d).n_file);
        assert_int_equal(stats_of(d).corrupt, 0);
        assert_true(n >= n_seen + 2); // what was there stays
        n_seen = n;
        tk_kv_disk_close(d);
    }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, make_dir, drop_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(blocks_come_back_after_a_restart),
        CASE(the_longest_unused_goes_first),
        CASE(every_flipped_bit_and_cut_end_is_a_miss),
        CASE(sizes_in_the_head_are_not_believed),
        CASE(another_text_under_the_same_key_is_a_miss),
        CASE(another_models_files_are_kept_but_never_read),
        CASE(strange_things_in_the_folder_are_left_alone),
        CASE(a_file_that_vanishes_is_a_miss),
        CASE(a_write_that_fails_turns_writing_off),
        CASE(a_full_disk_turns_writing_off),
        CASE(a_writer_that_is_killed_leaves_whole_files),
    };
    tk_log_set_level(TK_LOG_QUIET);
    return cmocka_run_group_tests_name("kv disk", tests, NULL, NULL);
}
