# SPDX-License-Identifier: MIT
"""What the comparisons share: running a program under a load meter, samples kept in a JSON-lines file (so that a
run can go on where it was stopped), medians, facts of the machine."""
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import time

QUIET_CORES = 0.05  # other processes may use this much of a core
QUIET_STEAL = 0.02  # and the host may steal this share
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_times():
    """Busy and stolen seconds of all processors since boot."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, softirq, steal = [int(x) for x in f.readline().split()[1:9]]
    return (user + nice + system + irq + softirq) / TICKS, steal / TICKS


def own_times():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


class Meter:
    """Between start and stop: cores that others used, share of time stolen."""

    def __init__(self):
        self.at, self.own = time.monotonic(), own_times()
        self.busy, self.steal = cpu_times()

    def stop(self, extra_own=0.0):
        wall = max(1e-3, time.monotonic() - self.at)
        busy, steal = cpu_times()
        other = busy - self.busy - (own_times() - self.own) - extra_own
        return {"other_cores": round(max(0.0, other / wall), 3),
                "steal": round((steal - self.steal) / wall / os.cpu_count(), 4), "wall_s": round(wall, 2)}


def stop_well():
    """SIGTERM ends the program as Ctrl-C does, so that the servers it started are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def is_quiet(load):
    return load["other_cores"] <= QUIET_CORES and load["steal"] <= QUIET_STEAL


def wait_quiet(limit_s):
    """Waits until two seconds were quiet, at most limit_s. True when they were."""
    end = time.monotonic() + limit_s
    while True:
        meter = Meter()
        time.sleep(2)
        if is_quiet(meter.stop()):
            return True
        if time.monotonic() >= end:
            return False


def run(argv, limit_s):
    """(stdout, stderr, load, error): error is None when the program ended well in time."""
    meter = Meter()
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=limit_s)
        error = None if done.returncode == 0 else f"exit {done.returncode}: {done.stderr.strip()[-200:]}"
        out, err = done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        out, err, error = "", "", f"longer than {limit_s} s"
    except OSError as e:
        out, err, error = "", "", str(e)
    return out, err, meter.stop(), error


class Samples:
    """Rows of a JSON-lines file; each has a "row" and a "who"."""

    def __init__(self, path):
        self.path, self.all = path, []
        if os.path.exists(path):
            with open(path) as f:
                self.all = [json.loads(line) for line in f if line.strip()]

    def add(self, sample):
        sample["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.all.append(sample)
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        with open(self.path, "a") as f:
            f.write(json.dumps(sample) + "\n")

    def of(self, row, who, good_only=True):
        """Samples that count: the quiet ones, or (when there are none) all that have a value."""
        mine = [s for s in self.all if s["row"] == row and s["who"] == who and "value" in s]
        quiet = [s for s in mine if s["quiet"]]
        return quiet if quiet or good_only else mine

    def errors(self, row, who):
        return [s for s in self.all if s["row"] == row and s["who"] == who and "error" in s]


def spread(values, digits=1):
    """"12.3 [11.9..12.8]": median and range."""
    m = statistics.median(values)
    return f"{m:.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]"


def machine():
    """Lines of facts about this machine."""
    info = open("/proc/cpuinfo").read()

    def field(name):
        found = re.search(rf"^{name}\s*: (.*)$", info, re.M)
        return found.group(1) if found else "unknown"

    flags = set(field("flags").split())
    known = """avx2 fma f16c avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_vbmi avx512_bf16 avx512_fp16
    amx_tile amx_int8 amx_bf16""".split()
    mem_kb = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1))
    mhz = [float(x) for x in re.findall(r"^cpu MHz\s*: ([\d.]+)", info, re.M)]
    return [f"processor: {field('model name')}, family {field('cpu family')} model {field('model')}, "
            f"{os.cpu_count()} CPUs, {min(mhz, default=0):.0f}..{max(mhz, default=0):.0f} MHz, "
            f"cache {field('cache size')}",
            "instructions: " + " ".join(f for f in known if f in flags),
            f"memory: {mem_kb / 2**20:.1f} GiB; kernel {platform.release()}"]
