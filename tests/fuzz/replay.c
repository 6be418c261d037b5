// SPDX-License-Identifier: MIT
// Runs a fuzz target without a fuzzer: replay FOLDER... feeds every file of the folders to the target, then
// every prefix of it (of large files 256 spread ones), each in memory of exactly its size so that ASan sees a
// read past the end. A file with its prefixes is one case. The target fails by crashing: the file being fed
// is named on stderr when that happens.
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_FILE_BYTES = 8 << 20, MAX_PREFIXES = 256 };

static char feeding[1200]; // written before each input, read by the signal handler

// ASan and UBSan end the process through abort (abort_on_error=1) or _exit; both leave the name printed
// only in the first case, so the tests set abort_on_error.
static void on_crash(int sig)
{
    ssize_t ignored = write(STDERR_FILENO, feeding, strlen(feeding));
    (void)ignored;
    signal(sig, SIG_DFL);
    raise(sig);
}

static void feed(const char *path, const uint8_t *data, size_t size)
{
    snprintf(feeding, sizeof feeding, "crashed on the first %zu bytes of %s\n", size, path);
    uint8_t *exact = malloc(size ? size : 1);
    if (exact == NULL) abort();
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(size ? exact : data, size);
    free(exact);
}

// Returns how many inputs were fed, 0 when the file cannot be read.
static size_t feed_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) return 0;
    uint8_t *data = malloc(MAX_FILE_BYTES);
    size_t len = data ? fread(data, 1, MAX_FILE_BYTES, f) : 0;
    size_t n = 0;
    if (data && !ferror(f)) {
        feed(path, data, len);
        n = 1;
        size_t step = len <= MAX_PREFIXES ? 1 : len / MAX_PREFIXES;
        for (size_t size = 0; size < len; size += step, n++) feed(path, data, size);
    }
    free(data);
    fclose(f);
    return n;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Paths of the regular files of a folder, sorted; *n_out of them. NULL when it cannot be read.
static char **list_files(const char *dir, size_t *n_out)
{
    DIR *d = opendir(dir);
    if (d == NULL) return NULL;
    char **paths = calloc(1, sizeof *paths);
    size_t n = 0;
    for (struct dirent *e; paths && (e = readdir(d)) != NULL;) {
        char path[1024];
        struct stat info;
        int len = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (len >= (int)sizeof path || stat(path, &info) != 0 || !S_ISREG(info.st_mode)) continue;
        char **more = realloc(paths, (n + 2) * sizeof *paths);
        if (more == NULL) abort();
        paths = more;
        paths[n++] = strdup(path);
    }
    closedir(d);
    if (paths) qsort(paths, n, sizeof *paths, by_name);
    *n_out = n;
    return paths;
}

int main(int argc, char **argv)
{
    size_t n_pass = 0, n_fail = 0, n_input = 0;
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    for (int i = 1; i < argc; i++) {
        size_t n = 0;
        char **paths = list_files(argv[i], &n);
        if (paths == NULL || n == 0) {
            fprintf(stderr, "no corpus in \"%s\"\n", argv[i]);
            n_fail++;
        }
        for (size_t j = 0; j < n; j++) {
            size_t fed = feed_file(paths[j]);
            if (fed == 0) fprintf(stderr, "cannot read \"%s\"\n", paths[j]);
            n_input += fed;
            n_pass += fed > 0;
            n_fail += fed == 0;
            free(paths[j]);
        }
        free(paths);
    }
    printf("%zu inputs fed\n%zu passed, %zu failed\n", n_input, n_pass, n_fail);
    return n_fail > 0 || n_pass == 0;
}
