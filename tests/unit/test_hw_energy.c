// SPDX-License-Identifier: MIT
#include "hw/energy.h"

#include "base/clock.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64]; // a powercap folder of our own

static void put(const char *zone, const char *name, const char *text)
{
    char *dir = tk_asprintf("%s/%s", root, zone), *path = tk_asprintf("%s/%s", dir, name);
    mkdir(dir, 0700);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    tk_free(path);
    tk_free(dir);
}

static void put_zone(const char *zone, const char *name, const char *range, const char *uj)
{
    put(zone, "name", name);
    put(zone, "max_energy_range_uj", range);
    put(zone, "energy_uj", uj);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/tk-energy-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    static const char *const zones[] = {"intel-rapl:0",   "intel-rapl:0:0",   "intel-rapl:0:1",
                                        "intel-rapl:1",   "intel-rapl:2",     "intel-rapl:3",
                                        "intel-rapl:1:0", "intel-rapl-mmio:0"};
    static const char *const names[] = {"name", "max_energy_range_uj", "energy_uj"};
    for (size_t i = 0; i < TK_COUNT(zones); i++) {
        char path[160];
        for (size_t k = 0; k < TK_COUNT(names); k++) {
            snprintf(path, sizeof path, "%s/%s/%s", root, zones[i], names[k]);
            unlink(path);
        }
        snprintf(path, sizeof path, "%s/%s", root, zones[i]);
        rmdir(path);
    }
    return rmdir(root);
}

static void without_counters_there_are_no_domains(void **state)
{
    (void)state;
    tk_energy *e = tk_energy_open("/nonexistent/powercap");
    assert_int_equal(tk_energy_count(e), 0);
    tk_energy_read(e, tk_clock_ns());
    tk_energy_close(e);
    e = tk_energy_open(root); // an empty folder
    assert_int_equal(tk_energy_count(e), 0);
    tk_energy_close(e);
    tk_energy_close(NULL);
}

static void packages_and_dram_are_counted_once(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "262143328850\n", "1000000\n");
    put_zone("intel-rapl:0:0", "core\n", "262143328850\n", "400000\n");
    put_zone("intel-rapl:0:1", "dram\n", "65712999613\n", "5000000\n");
    put_zone("intel-rapl:1", "psys\n", "262143328850\n", "9000000\n");
    put_zone("intel-rapl-mmio:0", "package-0\n", "262143328850\n", "1000000\n");
    tk_energy *e = tk_energy_open(root);
    assert_int_equal(tk_energy_count(e), 2);
    const tk_energy_domain *cpu = tk_energy_at(e, 0), *dram = tk_energy_at(e, 1);
    assert_string_equal(cpu->kind, "cpu");
    assert_string_equal(cpu->device, "package-0");
    assert_string_equal(dram->kind, "dram");
    assert_string_equal(dram->device, "package-0");
    assert_true(cpu->joules == 0 && dram->joules == 0);
    uint64_t now = tk_clock_ns();
    tk_energy_read(e, now);
    put("intel-rapl:0", "energy_uj", "151000000\n");
    put("intel-rapl:0:1", "energy_uj", "35000000\n");
    tk_energy_read(e, now + 2000000000u);
    assert_float_equal(cpu->joules, 150, 1e-9);
    assert_float_equal(cpu->watts, 75, 1e-9);
    assert_float_equal(dram->joules, 30, 1e-9);
    assert_float_equal(dram->watts, 15, 1e-9);
    tk_energy_close(e);
}

static void a_counter_that_wraps_goes_on(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "900000\n");
    tk_energy *e = tk_energy_open(root);
    put("intel-rapl:0", "energy_uj", "200000\n");
    tk_energy_read(e, tk_clock_ns());
    assert_float_equal(tk_energy_at(e, 0)->joules, 0.3, 1e-9);
    put("intel-rapl:0", "energy_uj", "1700000\n"); // beyond its own range
    tk_energy_read(e, tk_clock_ns());
    put("intel-rapl:0", "energy_uj", "100000\n");
    tk_energy_read(e, tk_clock_ns());
    assert_float_equal(tk_energy_at(e, 0)->joules, 1.8, 1e-9);
    tk_energy_close(e);
}

static void nonsense_is_not_counted(void **state)
{
    (void)state;
    put_zone("intel-rapl:0", "package-0\n", "1000000\n", "-5\n");
    put_zone("intel-rapl:1", "package-1\n", "many\n", "5\n");
    put_zone("intel-rapl:1:0", "dram\n", "1000000\n", "");
    put_zone("intel-rapl:2", "package-2\n", "1000000\n", "99999999999999999999999\n");
    put_zone("intel-rapl:3", "package-3\n", "1000000\n", "10\n");
    tk_energy *e = tk_energy_open(root);
    assert_int_equal(tk_energy_count(e), 1);
    const tk_energy_domain *d = tk_energy_at(e, 0);
    assert_string_equal(d->device, "package-3");
    put("intel-rapl:3", "energy_uj", "what\n");
    tk_energy_read(e, tk_clock_ns());
    assert_false(d->valid);
    assert_true(d->joules == 0 && d->watts == 0);
    put("intel-rapl:3", "energy_uj", "500010\n");
    tk_energy_read(e, tk_clock_ns());
    assert_true(d->valid);
    assert_float_equal(d->joules, 0.5, 1e-9);
    tk_energy_close(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_counters_there_are_no_domains, make_root,
                                        remove_root),
        cmocka_unit_test_setup_teardown(packages_and_dram_are_counted_once, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_counter_that_wraps_goes_on, make_root, remove_root),
        cmocka_unit_test_setup_teardown(nonsense_is_not_counted, make_root, remove_root),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
