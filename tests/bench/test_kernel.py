# SPDX-License-Identifier: MIT
"""test_kernel.py TOKAMAK: `tokamak bench kernel` as scripts see it: llama-bench's flags, keys and arithmetic."""
import csv
import io
import json
import statistics
import sys

import cases

TOKAMAK = sys.argv[1]
# llama-bench's keys that say something on a processor (its sources, struct test), then ours
LLAMA_KEYS = """build_commit build_number cpu_info gpu_info backends model_filename model_type model_size
model_n_params n_batch n_ubatch n_threads type_k type_v n_gpu_layers n_prompt n_gen n_depth test_time avg_ns
stddev_ns avg_ts stddev_ts samples_ns samples_ts""".split()
OUR_KEYS = """n_parallel median_ns median_ts isa gbytes_per_s tflop_per_s roof_fraction roof_kind
roof_read_gbytes_per_s roof_amx_tops roof_amx_bf16_tflop_per_s roof_bf16_tflop_per_s roof_int8_tops roof_fp32_tflop_per_s
weight_bytes_per_step""".split()


def bench(*args, roof=False, code=0):
    flags = ([] if roof else ["--no-roof"]) + ([] if "-t" in args else ["-t", "1"])  # two threads wait for each other
    return cases.run(TOKAMAK, "bench", "kernel", "-q", *flags, *args, code=code)


def rows(*args, **how):
    return json.loads(bench("-o", "json", *args, **how)[0])


def near(a, b, tolerance):
    return abs(a - b) <= tolerance * max(abs(a), abs(b))


def a_row_has_llama_benchs_keys_and_ours():
    for row in rows("-m", "demo", "-p", "8", "-n", "2", "-r", "2"):
        assert list(row) == LLAMA_KEYS + OUR_KEYS, list(row)
        assert row["backends"] == "CPU" and row["gpu_info"] == ""
        assert row["model_filename"] == "demo" and row["model_n_params"] > 1e6
        assert len(row["test_time"]) == 20 and row["test_time"].endswith("Z")


def speeds_follow_from_the_samples():
    for row in rows("-m", "demo", "-p", "12", "-n", "3", "-pg", "8,2", "-r", "3", "--parallel", "1,3"):
        n = row["n_parallel"] * (row["n_prompt"] + row["n_gen"])
        assert len(row["samples_ns"]) == 3 and min(row["samples_ns"]) > 0
        for ns, ts in zip(row["samples_ns"], row["samples_ts"]):
            assert near(ts, n * 1e9 / ns, 1e-6), (ts, n, ns)
        assert near(row["avg_ts"], statistics.mean(row["samples_ts"]), 1e-6)
        assert near(row["stddev_ts"], statistics.stdev(row["samples_ts"]), 1e-4)
        assert near(row["median_ts"], statistics.median(row["samples_ts"]), 1e-6)
        assert abs(row["avg_ns"] - statistics.mean(row["samples_ns"])) <= 1
        assert row["median_ns"] == statistics.median(row["samples_ns"])
        steps = row["gbytes_per_s"] * row["avg_ns"] / row["weight_bytes_per_step"]
        prompt_steps = -(-row["n_prompt"] * row["n_parallel"] // row["n_ubatch"])
        assert near(steps, prompt_steps + row["n_gen"], 1e-4), steps


def the_defaults_are_llama_benchs():
    got = rows("-m", "demo", "-r", "1", "--no-warmup")
    assert [(r["n_prompt"], r["n_gen"], r["n_depth"], r["n_batch"]) for r in got] == [
        (512, 0, 0, 2048), (0, 128, 0, 2048)]


def lists_ranges_and_repeated_flags_multiply():
    got = rows("-m", "demo", "-p", "4,8", "-p", "16-32*2", "-n", "0", "-pg", "4,1", "-pg", "8,2", "-d", "0,5",
               "-r", "1", "-t", "1-2")
    tests = [(4, 0), (8, 0), (16, 0), (32, 0), (4, 1), (8, 2)]
    want = [(t, d, *x) for t in (1, 2) for d in (0, 5) for x in tests]
    assert [(r["n_threads"], r["n_depth"], r["n_prompt"], r["n_gen"]) for r in got] == want, got
    got = rows("-m", "demo,demo", "-p", "2-6+2", "-n", "0", "-r", "1")
    assert [r["n_prompt"] for r in got] == [2, 4, 6] * 2


def with_parallel_the_prompt_is_the_context_of_the_generation():
    got = rows("-m", "demo", "-p", "6", "-n", "2", "-r", "1", "--parallel", "2,4", "-d", "0")
    assert [(r["n_prompt"], r["n_gen"], r["n_depth"], r["n_parallel"]) for r in got] == [
        (0, 2, 6, 2), (0, 2, 6, 4)]
    got = rows("-m", "demo", "-p", "6", "-n", "0", "-r", "1", "--parallel", "2")
    assert [(r["n_prompt"], r["n_gen"], r["n_depth"], r["n_parallel"]) for r in got] == [(6, 0, 0, 2)]
    got = rows("-m", "demo", "-n", "2", "-r", "1", "--parallel", "2")
    assert [(r["n_prompt"], r["n_gen"], r["n_depth"]) for r in got] == [(0, 2, 0)]


def bytes_read_are_those_of_the_distinct_experts():
    about = json.loads(cases.run(TOKAMAK, "inspect", "demo", "--json")[0])
    one, four, many = rows("-m", "demo", "-p", "0", "-n", "2", "-r", "2", "--parallel", "1,4,64")
    assert near(one["weight_bytes_per_step"], about["bytes_active"], 1e-4), about["bytes_active"]
    assert one["weight_bytes_per_step"] < four["weight_bytes_per_step"] < many["weight_bytes_per_step"]
    # 64 tokens choose nearly all experts; the embedding is read a row a token
    assert many["weight_bytes_per_step"] < about["bytes_total"]


def token_ids_depend_on_the_seed_alone():
    def touched(seed):
        return [r["weight_bytes_per_step"]
                for r in rows("-m", "demo", "-p", "0", "-n", "3", "-r", "1", "--parallel", "3", "-s", seed)]
    assert touched("5") == touched("5")
    assert len({touched(str(s))[0] for s in range(3)}) > 1


def a_prompt_step_is_no_longer_than_the_batch():
    for flags, want in ((("-b", "16"), 16), (("-ub", "8"), 8), (("-b", "4", "-ub", "32"), 4)):
        row, = rows("-m", "demo", "-p", "32", "-n", "0", "-r", "1", *flags)
        assert row["n_ubatch"] == want, row


def without_probes_what_hangs_on_them_is_null_and_never_0():
    row, = rows("-m", "demo", "-p", "8", "-n", "0", "-r", "1")
    assert all(row[k] is None for k in OUR_KEYS if k.startswith("roof_")), row


def probes_give_a_rate_or_null():
    row, tg = rows("-m", "demo", "-p", "8", "-n", "2", "-r", "1", roof=True)
    flags = open("/proc/cpuinfo").read().split()
    assert row["roof_read_gbytes_per_s"] is None or row["roof_read_gbytes_per_s"] > 0.1
    for key, flag in (("roof_amx_tops", "amx_int8"), ("roof_amx_bf16_tflop_per_s", "amx_bf16"),
                      ("roof_bf16_tflop_per_s", "avx512_bf16"),
                      ("roof_fp32_tflop_per_s", "avx2"), ("roof_int8_tops", "avx2")):
        assert row[key] is None or row[key] > 0
        assert flag in flags or row[key] is None, (key, row[key])
    fastest = next((k for k in ("amx_bf16", "bf16", "fp32") if row[f"roof_{k}_tflop_per_s"]), None)
    if fastest:
        assert row["roof_kind"] == fastest
        assert near(row["roof_fraction"], row["tflop_per_s"] / row[f"roof_{fastest}_tflop_per_s"], 1e-6)
    if row["roof_read_gbytes_per_s"]:
        assert tg["roof_kind"] == "read"
        assert near(tg["roof_fraction"], tg["gbytes_per_s"] / tg["roof_read_gbytes_per_s"], 1e-6)


def csv_and_json_lines_have_the_same_rows():
    args = ("-m", "demo", "-p", "4", "-n", "2", "-r", "1")
    table = list(csv.DictReader(io.StringIO(bench(*args, "-o", "csv")[0])))
    assert [(r["n_prompt"], r["n_gen"], r["n_parallel"]) for r in table] == [("4", "0", "1"), ("0", "2", "1")]
    assert list(table[0]) == [k for k in LLAMA_KEYS + OUR_KEYS if not k.startswith("samples_")]
    assert table[0]["roof_fraction"] == "" and float(table[0]["avg_ts"]) > 0
    lines = [json.loads(line) for line in bench(*args, "-o", "jsonl")[0].splitlines()]
    assert [list(r) for r in lines] == [LLAMA_KEYS + OUR_KEYS] * 2


def markdown_has_llama_benchs_columns():
    out = bench("-m", "demo", "-p", "4", "-n", "2", "-pg", "3,1", "-d", "2", "-r", "1", "--parallel", "1,2")[0]
    lines = out.splitlines()
    head = [c.strip() for c in lines[0].strip("|").split("|")]
    assert head[:7] == ["model", "size", "params", "backend", "threads", "test", "t/s"], head
    assert len(set(line.count("|") for line in lines[:2 + 5])) == 1, lines
    tests = [line.split("|")[6].strip() for line in lines[2:7]]
    assert tests == ["pp4 @ d2", "tg2 @ d2", "pp3+tg1 @ d2", "tg2 @ d6 x2", "pp3+tg1 @ d2 x2"], tests
    assert lines[-1].startswith("build: ") and lines[-2].startswith("roof: "), lines[-2:]


def a_profile_adds_up_to_the_step():
    for row in rows("-m", "demo", "-p", "12", "-n", "3", "-r", "2", "--parallel", "1,3", "--profile"):
        assert list(row) == LLAMA_KEYS + OUR_KEYS + ["n_step", "profile", "profile_parts"]
        lines, parts = row["profile"], row["profile_parts"]
        for part in parts:
            mine = [x for x in lines if x["part"] == part["part"]]
            for key in ("n_op", "weight_bytes_per_step", "flop_per_step", *(["ns_per_step"] if mine else [])):
                assert near(part[key], sum(x[key] for x in mine), 1e-6), (part, key)
        assert near(sum(p["ns_per_step"] for p in parts) * row["n_step"], row["avg_ns"], 1e-6)
        assert near(sum(p["share"] for p in parts), 1, 1e-6)
        assert near(sum(p["weight_bytes_per_step"] for p in parts), row["weight_bytes_per_step"], 1e-6)
        flop_per_s = sum(p["flop_per_step"] for p in parts) * row["n_step"] / row["avg_ns"] * 1e9
        assert near(flop_per_s, row["tflop_per_s"] * 1e12, 1e-6)
        assert all(x["ns_per_step"] > 0 and x["read_fraction"] is None for x in lines), lines


def a_profile_tells_the_parts_of_a_layer():
    row, = rows("-m", "demo", "-p", "0", "-n", "2", "-r", "1", "--profile", roof=True)
    assert [p["part"] for p in row["profile_parts"]] == ["prologue", "attend", "output", "ffn", "ends", "rest"]
    named = [(x["part"], x["op"], x["weight"]) for x in row["profile"] if x["part"] != "ffn"]
    assert named == [
        ("ends", "embed", "model.embed_tokens"), ("prologue", "rmsnorm", "input_layernorm"),
        ("prologue", "linear", "self_attn.q_a_proj"), ("prologue", "rmsnorm", "self_attn.q_a_layernorm"),
        ("prologue", "linear", "self_attn.q_b_proj"), ("prologue", "linear", "self_attn.kv_a_proj_with_mqa"),
        ("prologue", "rmsnorm", "self_attn.kv_a_layernorm"), ("prologue", "rope", ""), ("prologue", "kv_write", ""),
        ("attend", "attend_mla", "self_attn.kv_b_proj"), ("output", "linear", "self_attn.o_proj"),
        ("output", "add", ""), ("ends", "rmsnorm", "model.norm"), ("ends", "head", "lm_head")], named
    about = json.loads(cases.run(TOKAMAK, "inspect", "demo", "--json")[0])
    assert row["profile"][1]["n_op"] == about["n_layer"], about
    if row["roof_read_gbytes_per_s"]:
        for x in row["profile"]:
            least = x["weight_bytes_per_step"] / row["roof_read_gbytes_per_s"] / x["ns_per_step"]
            assert near(x["read_fraction"], least, 1e-6), x


def a_profile_is_a_table_after_each_row():
    out = bench("-m", "demo", "-p", "4", "-n", "2", "-r", "1", "--profile")[0]
    assert out.count("| model ") == out.count("| part ") == 2
    assert len([line for line in out.splitlines() if line.startswith("| prologue | linear ")]) == 6
    table = list(csv.DictReader(io.StringIO(bench("-m", "demo", "-p", "4", "-r", "1", "--profile", "-o", "csv")[0])))
    assert list(table[0])[-1] == "n_step"


def wrong_usage_is_exit_2_and_says_what():
    for args, says in (
        ((), "usage: tokamak bench kernel"),
        (("-m", "demo", "-p", "x"), "--n-prompt is \"x\""),
        (("-m", "demo", "-p", "1,,2"), "--n-prompt"),
        (("-m", "demo", "-p", "2-8*1"), "--n-prompt"),
        (("-m", "demo", "-p", "99999999999"), "--n-prompt"),
        (("-m", "demo", "-pg", "5"), "two numbers"),
        (("-m", "demo", "-r", "0"), "outside 1..10000"),
        (("-m", "demo", "--parallel", "0"), "--parallel"),
        (("-m", "demo", "-p", "0", "-n", "0"), "nothing to measure"),
        (("-m", "demo", "-o", "sql"), "choose one of: md csv json jsonl"),
        (("-m", "demo", "--n-promt", "3"), "did you mean --n-prompt"),
    ):
        assert says in bench(*args, code=2)[1], (args, says)


def bad_models_and_what_does_not_fit_have_their_exit_codes():
    bench("-m", "/nowhere/x.gguf", code=3)
    err = bench("-m", "demo", "-p", "0", "-n", "1", "-r", "1", "--parallel", "4096", code=4)[1]
    assert "4096 sequences at once" in err, err
    bench("-m", "demo", "-p", "16777216", "-n", "0", "--parallel", "256", code=4)


cases.main([v for v in list(globals().values())
            if callable(v) and getattr(v, "__module__", "") == "__main__"
            and v not in (bench, rows, near)])
