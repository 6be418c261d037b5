// SPDX-License-Identifier: MIT
#include "hw/topology.h"

#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

// Linux lists nodes as "0" or "0-1,3"; a system without the list has one.
static bool has_one_node(void)
{
    FILE *f = fopen("/sys/devices/system/node/online", "re");
    char list[16] = "";
    if (f == NULL) return true;
    bool read = fgets(list, sizeof list, f) != NULL;
    fclose(f);
    return read && strpbrk(list, "-,") == NULL;
}

static bool is_pretended(void)
{
    return getenv("HWLOC_SYNTHETIC") != NULL || getenv("HWLOC_XMLFILE") != NULL;
}

// Counts of the processors in `set`, which become the node's when there are any.
static void add_node(hwloc_topology_t h, int os_id, hwloc_const_cpuset_t set, bool is_real,
                     tk_topology *t)
{
    tk_topology_node n = {.os_id = os_id, .n_cpu = hwloc_bitmap_weight(set)};
    if (n.n_cpu <= 0 || t->n_node == TK_LIMIT_NODES) return;
    for (hwloc_obj_t o = NULL; (o = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_CORE, o)) != NULL;)
        n.n_core += hwloc_bitmap_intersects(o->cpuset, set);
    if (n.n_core == 0) n.n_core = n.n_cpu; // the system does not say
    if (is_real) hwloc_cpuset_to_glibc_sched_affinity(h, set, &n.cpus, sizeof n.cpus);
    t->node[t->n_node++] = n;
}

// Two memories of the same processors (fast and large, say) are two nodes to the system; the first gets the
// processors.
static void add_nodes(hwloc_topology_t h, tk_topology *t)
{
    bool is_real = hwloc_topology_is_thissystem(h);
    hwloc_bitmap_t left = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(h)),
                   set = hwloc_bitmap_alloc();
    if (is_real && hwloc_get_cpubind(h, set, HWLOC_CPUBIND_THREAD) == 0)
        hwloc_bitmap_and(left, left, set);
    for (hwloc_obj_t o = NULL;
         (o = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_NUMANODE, o)) != NULL;) {
        hwloc_bitmap_and(set, o->cpuset, left);
        hwloc_bitmap_andnot(left, left, set);
        add_node(h, (int)o->os_index, set, is_real, t);
    }
    hwloc_bitmap_free(left);
    hwloc_bitmap_free(set);
}

static void one_node(tk_topology *t)
{
    *t = (tk_topology){.n_node = 1};
    t->node[0].n_core = t->node[0].n_cpu = tk_pool_cpu_count();
    sched_getaffinity(0, sizeof t->node[0].cpus, &t->node[0].cpus); // else empty: anywhere
}

tk_status tk_topology_load(const char *synthetic, tk_topology *out, tk_err *err)
{
    hwloc_topology_t h;
    *out = (tk_topology){0};
    if ((synthetic || is_pretended() || !has_one_node()) && hwloc_topology_init(&h) == 0) {
        // no type is filtered out: a node without another object of its processors would get the whole machine
        bool fine = synthetic == NULL || hwloc_topology_set_synthetic(h, synthetic) == 0;
        if (fine && hwloc_topology_load(h) == 0) add_nodes(h, out);
        hwloc_topology_destroy(h);
        if (!fine)
            return tk_fail(err, TK_BAD_INPUT, "hwloc does not understand the machine \"%s\"",
                           synthetic);
    }
    if (out->n_node == 0) one_node(out);
    return TK_OK;
}

// Which node the next thread goes to: the emptiest, its cores counted while any node has an idle one.
static int emptiest(const tk_topology *t, const int *n_thread)
{
    bool idle_core = false;
    for (int k = 0; k < t->n_node; k++) idle_core |= n_thread[k] < t->node[k].n_core;
    int best = 0;
    for (int k = 1; k < t->n_node; k++) {
        const tk_topology_node *a = &t->node[best], *b = &t->node[k];
        int64_t room_a = idle_core ? a->n_core : a->n_cpu,
                room_b = idle_core ? b->n_core : b->n_cpu;
        if (n_thread[k] * room_a < n_thread[best] * room_b) best = k;
    }
    return best;
}

int tk_topology_share(const tk_topology *t, int n_thread, tk_pool_node *out)
{
    int n[TK_LIMIT_NODES] = {0}, n_node = 0;
    for (int i = 0; i < n_thread; i++) n[emptiest(t, n)]++;
    for (int k = 0; k < t->n_node; k++)
        if (n[k] > 0) out[n_node++] = (tk_pool_node){.n_thread = n[k], .cpus = t->node[k].cpus};
    return n_node;
}

tk_status tk_topology_pool(const tk_topology *t, int n_thread, tk_pool **out, tk_err *err)
{
    tk_pool_node nodes[TK_LIMIT_NODES];
    if (t->n_node == 1) return tk_pool_new(n_thread, out, err); // nothing to bind
    n_thread = TK_MAX(1, TK_MIN(n_thread, TK_LIMIT_THREADS));
    return tk_pool_new_on(nodes, tk_topology_share(t, n_thread, nodes), out, err);
}

void tk_topology_spread(const tk_topology *t, void *p, size_t n)
{
    enum {
        WORD = 8 * sizeof(unsigned long),
        WORDS = 1024 / WORD
    }; // as many nodes as Linux can have
    unsigned long mask[WORDS] = {0};
    if (t->n_node < 2 || CPU_COUNT(&t->node[0].cpus) == 0 || n == 0) return;
    for (int k = 0; k < t->n_node; k++) {
        unsigned id = (unsigned)t->node[k].os_id;
        if (id < WORDS * WORD) mask[id / WORD] |= 1ul << id % WORD;
    }
    syscall(SYS_mbind, p, n, MPOL_INTERLEAVE, mask, WORDS * WORD + 1, 0); // it counts from 1
}
