// SPDX-License-Identifier: MIT
#include "hw/energy.h"

#include "base/clock.h"
#include "base/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_DOMAINS = 64 };

typedef struct counter {
    int fd; // energy_uj, kept open: a read is one system call
    uint64_t last_uj, range_uj;
} counter;

struct tk_energy {
    int n;
    uint64_t last_ns;
    counter counter[MAX_DOMAINS];
    tk_energy_domain domain[MAX_DOMAINS];
};

// What a file of sysfs says, without its line end; "" when it says nothing. These have a size that is not
// that of their contents.
static void read_word(const char *dir, const char *zone, const char *name, char *out, size_t cap)
{
    char *path = tk_asprintf("%s/%s/%s", dir, zone, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd >= 0 ? pread(fd, out, cap - 1, 0) : 0;
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (fd >= 0) close(fd);
    tk_free(path);
}

static bool parse_uj(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)text[0])) return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && (*end == 0 || *end == '\n');
}

static bool read_counter(int fd, uint64_t *uj)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0) return false;
    text[n] = 0;
    return parse_uj(text, uj);
}

// Takes in zone "intel-rapl:0" (a package) or "intel-rapl:0:2" (a part of it) when it is one of ours.
static void add_zone(tk_energy *e, const char *dir, const char *zone)
{
    char name[48], package[48], parent[64], range[32];
    const char *colon = strchr(zone, ':'), *part = colon ? strchr(colon + 1, ':') : NULL;
    if (e->n == MAX_DOMAINS || strlen(zone) >= sizeof parent) return;
    snprintf(parent, sizeof parent, "%.*s", part ? (int)(part - zone) : (int)strlen(zone), zone);
    read_word(dir, zone, "name", name, sizeof name);
    read_word(dir, parent, "name", package, sizeof package);
    bool is_package = part == NULL && strncmp(name, "package", 7) == 0;
    if (!is_package && strcmp(name, "dram") != 0) return;
    counter *c = &e->counter[e->n];
    tk_energy_domain *d = &e->domain[e->n];
    read_word(dir, zone, "max_energy_range_uj", range, sizeof range);
    if (!parse_uj(range, &c->range_uj)) return;
    char *path = tk_asprintf("%s/%s/energy_uj", dir, zone);
    c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    tk_free(path);
    if (c->fd < 0) return;
    if (!read_counter(c->fd, &c->last_uj)) {
        close(c->fd);
        return;
    }
    d->kind = is_package ? "cpu" : "dram";
    d->valid = true;
    snprintf(d->device, sizeof d->device, "%s", package);
    e->n++;
}

// "intel-rapl-mmio:0" counts the same package as "intel-rapl:0" does.
static int is_zone(const struct dirent *d)
{
    return strncmp(d->d_name, "intel-rapl:", 11) == 0;
}

tk_energy *tk_energy_open(const char *dir)
{
    tk_energy *e = tk_alloc(sizeof *e);
    struct dirent **list = NULL;
    if (dir == NULL) dir = "/sys/class/powercap";
    int n = scandir(dir, &list, is_zone, alphasort);
    for (int i = 0; i < n; i++) {
        add_zone(e, dir, list[i]->d_name);
        free(list[i]);
    }
    free(list);
    e->last_ns = tk_clock_ns();
    return e;
}

void tk_energy_close(tk_energy *e)
{
    if (e == NULL) return;
    for (int i = 0; i < e->n; i++) close(e->counter[i].fd);
    tk_free(e);
}

static void read_domain(counter *c, tk_energy_domain *d, double seconds)
{
    uint64_t uj;
    d->watts = 0;
    d->valid = read_counter(c->fd, &uj);
    if (!d->valid) return;
    uint64_t used = uj - c->last_uj;
    if (uj < c->last_uj) // it has wrapped, unless it says nonsense
        used = c->range_uj >= c->last_uj ? c->range_uj - c->last_uj + uj : 0;
    c->last_uj = uj;
    d->joules += (double)used * 1e-6;
    if (seconds > 0) d->watts = (double)used * 1e-6 / seconds;
}

void tk_energy_read(tk_energy *e, uint64_t now_ns)
{
    double seconds = now_ns > e->last_ns ? (double)(now_ns - e->last_ns) * 1e-9 : 0;
    for (int i = 0; i < e->n; i++) read_domain(&e->counter[i], &e->domain[i], seconds);
    e->last_ns = now_ns;
}

int tk_energy_count(const tk_energy *e)
{
    return e->n;
}

const tk_energy_domain *tk_energy_at(const tk_energy *e, int i)
{
    return &e->domain[i];
}
