// SPDX-License-Identifier: MIT
// Which processors this process may use, and which of the machine's memories (NUMA nodes) each is next to; hwloc
// knows. It is asked only where there may be more than one node: on other machines this costs one small read.
// HWLOC_SYNTHETIC="numa:2 core:4 pu:2" (or HWLOC_XMLFILE) pretends another machine: loops are then cut as there, and
// no thread is bound.
#ifndef TK_HW_TOPOLOGY_H
#define TK_HW_TOPOLOGY_H

#include "base/limits.h"
#include "base/pool.h"
#include "base/status.h"

#include <sched.h>
#include <stddef.h>

typedef struct tk_topology_node {
    int os_id;         // as the system numbers it
    int n_core, n_cpu; // cores with a processor that may be used; those processors: n_core <= n_cpu
    cpu_set_t cpus;    // them; empty where the machine is pretended
} tk_topology_node;

// Nodes with processors that may be used, in hwloc's order.
typedef struct tk_topology {
    int n_node; // >= 1
    tk_topology_node node[TK_LIMIT_NODES];
} tk_topology;

// synthetic: hwloc's description of a machine, NULL = this one. TK_BAD_INPUT for one that hwloc does not understand;
// this machine always succeeds, with one node where nothing is known. Any thread.
tk_status tk_topology_load(const char *synthetic, tk_topology *out, tk_err *err);
// Gives n_thread threads (1..TK_LIMIT_THREADS) to the nodes evenly, cores first and then their other processors, so
// that few threads have all memories' bandwidth. Nodes without threads are left out. Returns the number of nodes.
int tk_topology_share(const tk_topology *t, int n_thread, tk_pool_node *out);
// A pool on t's nodes. n_thread as in tk_pool_new.
tk_status tk_topology_pool(const tk_topology *t, int n_thread, tk_pool **out, tk_err *err);
// Pages of [p, p + n), n bytes of tk_mem_map not yet touched, come from t's nodes in turn: for what all threads read.
// A hint; many containers do not allow it, and then the first to touch a page has it.
void tk_topology_spread(const tk_topology *t, void *p, size_t n);

#endif
