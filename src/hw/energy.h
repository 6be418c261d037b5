// SPDX-License-Identifier: MIT
// Energy that processors and memory have used: RAPL (Intel SDM vol. 3, 16.10; AMD shows the same), as Linux has it
// under /sys/class/powercap. Most systems let only root read it (CVE-2020-8694) and virtual machines have none:
// what cannot be read is left out, and is no error. Only packages and DRAM are taken: the kernel's other domains
// are parts of a package (core, uncore) or contain one (psys), so these two can be added up. Owner: one thread.
#ifndef TK_HW_ENERGY_H
#define TK_HW_ENERGY_H

#include <stdbool.h>
#include <stdint.h>

typedef struct tk_energy tk_energy;

typedef struct tk_energy_domain {
    const char *kind; // "cpu" (a package) or "dram"
    char device[48];  // the package, as the kernel calls it: "package-0"
    bool valid;       // the last read went well
    double joules;    // since tk_energy_open; while it is not valid nothing is added
    double watts;     // mean of the time between the last two reads
} tk_energy_domain;

// dir: NULL = /sys/class/powercap. Never NULL, perhaps without domains.
tk_energy *tk_energy_open(const char *dir);
void tk_energy_close(tk_energy *e); // NULL is fine
// Adds what has been used since the last read. Counters wrap (the smallest after about 100 s at 600 W), so once
// a second is well.
void tk_energy_read(tk_energy *e, uint64_t now_ns);
int tk_energy_count(const tk_energy *e);
const tk_energy_domain *tk_energy_at(const tk_energy *e, int i);

#endif
