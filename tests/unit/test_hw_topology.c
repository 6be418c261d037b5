// SPDX-License-Identifier: MIT
#include "hw/topology.h"

#include "base/mem.h"
#include "hw/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void a_described_machine_has_its_nodes_cores_and_processors(void **state)
{
    (void)state;
    static const struct {
        const char *machine;
        int n_node, n_core, n_cpu; // cores and processors of each node
    } cases[] = {
        {"numa:1 core:2 pu:1", 1, 2, 2},
        {"numa:2 core:4 pu:2", 2, 4, 8},
        {"pack:2 numa:2 core:3 pu:2", 4, 3, 6},
        {"pack:2 [numa(memory=1GB)] core:3 pu:1", 2, 3, 3},
        {"pack:2 [numa] [numa] core:3 pu:1", 2, 3, 3}, // the second memory has no processors left
        {"numa:2 pu:4", 2, 4, 4},                      // cores are not known
        {"numa:80 core:1 pu:1", TK_LIMIT_NODES, 1, 1},
    };
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        tk_topology t;
        assert_int_equal(tk_topology_load(cases[i].machine, &t, NULL), TK_OK);
        assert_int_equal(t.n_node, cases[i].n_node);
        for (int k = 0; k < t.n_node; k++) {
            assert_int_equal(t.node[k].n_core, cases[i].n_core);
            assert_int_equal(t.node[k].n_cpu, cases[i].n_cpu);
            assert_int_equal(CPU_COUNT(&t.node[k].cpus), 0); // nobody is bound to what is not there
        }
    }
}

static void what_hwloc_does_not_understand_is_said(void **state)
{
    (void)state;
    tk_topology t;
    tk_err err = TK_ERR_INIT;
    assert_int_equal(tk_topology_load("numa:two", &t, &err), TK_BAD_INPUT);
    assert_non_null(strstr(err.msg, "\"numa:two\""));
}

static void this_machine_has_the_processors_of_this_process(void **state)
{
    (void)state;
    tk_topology t;
    int n_cpu = 0;
    assert_int_equal(tk_topology_load(NULL, &t, NULL), TK_OK);
    for (int k = 0; k < t.n_node; k++) {
        n_cpu += t.node[k].n_cpu;
        assert_in_range(t.node[k].n_core, 1, t.node[k].n_cpu);
        assert_int_equal(CPU_COUNT(&t.node[k].cpus), t.node[k].n_cpu);
    }
    assert_int_equal(n_cpu, tk_pool_cpu_count());
}

static void threads_go_to_the_emptiest_node_and_to_cores_first(void **state)
{
    (void)state;
    static const tk_topology
        equal = {.n_node = 2, .node = {{.n_core = 4, .n_cpu = 8}, {.n_core = 4, .n_cpu = 8}}},
        other = {.n_node = 2, .node = {{.n_core = 8, .n_cpu = 8}, {.n_core = 2, .n_cpu = 4}}};
    static const struct {
        const tk_topology *machine;
        int n_thread, n_node, n[2];
    } cases[] = {
        {&equal, 1, 1, {1}},    {&equal, 2, 2, {1, 1}},  {&equal, 5, 2, {3, 2}},
        {&equal, 8, 2, {4, 4}}, {&equal, 16, 2, {8, 8}}, {&equal, 40, 2, {20, 20}},
        {&other, 5, 2, {4, 1}}, {&other, 10, 2, {8, 2}}, {&other, 12, 2, {8, 4}},
    };
    for (size_t i = 0; i < TK_COUNT(cases); i++) {
        tk_pool_node nodes[TK_LIMIT_NODES];
        int n_node = tk_topology_share(cases[i].machine, cases[i].n_thread, nodes);
        assert_int_equal(n_node, cases[i].n_node);
        for (int k = 0; k < n_node; k++) assert_int_equal(nodes[k].n_thread, cases[i].n[k]);
    }
}

static void a_pretended_machine_makes_a_pool_of_its_nodes(void **state)
{
    (void)state;
    tk_topology t;
    tk_pool *p = NULL;
    setenv("HWLOC_SYNTHETIC", "numa:4 core:2 pu:1", 1);
    assert_int_equal(tk_topology_load(NULL, &t, NULL), TK_OK);
    unsetenv("HWLOC_SYNTHETIC");
    assert_int_equal(tk_topology_pool(&t, 6, &p, NULL), TK_OK);
    assert_int_equal(tk_pool_nodes(p), 4);
    assert_int_equal(tk_pool_threads(p), 6);
    tk_pool_free(p);
    assert_int_equal(tk_topology_pool(&t, 2, &p, NULL), TK_OK);
    assert_int_equal(tk_pool_nodes(p), 2); // more nodes than threads
    tk_pool_free(p);
}

// hwloc takes a pretended machine for this one when it is told to: the binding of nodes that this one may lack.
static void nodes_of_a_real_machine_have_their_processors(void **state)
{
    (void)state;
    cpu_set_t mine;
    tk_topology t;
    assert_int_equal(sched_getaffinity(0, sizeof mine, &mine), 0);
    if (!CPU_ISSET(0, &mine) || !CPU_ISSET(1, &mine)) skip();
    setenv("HWLOC_SYNTHETIC", "numa:2 core:1 pu:1", 1);
    setenv("HWLOC_THISSYSTEM", "1", 1);
    assert_int_equal(tk_topology_load(NULL, &t, NULL), TK_OK);
    assert_int_equal(t.n_node, 2);
    for (size_t k = 0; k < 2; k++) {
        assert_int_equal(CPU_COUNT(&t.node[k].cpus), 1);
        assert_true(CPU_ISSET(k, &t.node[k].cpus));
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(1, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(tk_topology_load(NULL, &t, NULL), TK_OK); // the other node may not be used
    assert_int_equal(t.n_node, 1);
    assert_true(CPU_ISSET(1, &t.node[0].cpus));
    sched_setaffinity(0, sizeof mine, &mine);
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_THISSYSTEM");
}

static void spread_memory_is_memory(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    tk_topology t = {.n_node = 2}; // both are node 0, which every machine has
    void *p = NULL;
    CPU_SET(0, &t.node[0].cpus);
    assert_int_equal(tk_mem_map(N, "a test", &p, NULL), TK_OK);
    tk_topology_spread(&t, p, N);
    memset(p, 1, N);
    tk_topology_spread(&t, NULL, 0);
    tk_mem_unmap(p, N);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_described_machine_has_its_nodes_cores_and_processors),
        cmocka_unit_test(what_hwloc_does_not_understand_is_said),
        cmocka_unit_test(this_machine_has_the_processors_of_this_process),
        cmocka_unit_test(threads_go_to_the_emptiest_node_and_to_cores_first),
        cmocka_unit_test(a_pretended_machine_makes_a_pool_of_its_nodes),
        cmocka_unit_test(nodes_of_a_real_machine_have_their_processors),
        cmocka_unit_test(spread_memory_is_memory),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
