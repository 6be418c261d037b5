# SPDX-License-Identifier: MIT
"""test_serve.py TOKAMAK: `tokamak bench serve` against a server of known timing. Counts, orders and sums are
held exactly; times only from below (a machine may be slow, a clock is not early)."""
import json
import os
import socket
import statistics
import sys
import tempfile

import cases
import fake_server

TOKAMAK = sys.argv[1]
TTFT, TPOT = 0.04, 0.005
server = fake_server.Server(ttft=TTFT, tpot=TPOT).start()
EARLY = 2e-5  # a sleep may end this much before its time by another clock's reading


def serve(*args, code=0, model="ok"):
    server.reset()
    return cases.run(TOKAMAK, "bench", "serve", "-q", "--base-url", server.url, "--model", model, *args, code=code)


def report(*args, **how):
    with tempfile.TemporaryDirectory() as folder:
        out, _ = serve("--json", "--save-detailed", "--result-dir", folder + "/new", *args, **how)
        name, = os.listdir(folder + "/new")
        with open(f"{folder}/new/{name}") as f:
            saved = json.load(f)
    printed = json.loads(out)
    assert printed == saved
    return saved


def percentile(values, p):
    values = sorted(values)
    at = p / 100 * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def near(a, b, tolerance=1e-6):
    return abs(a - b) <= tolerance * max(1e-9, abs(a), abs(b))


def requests_are_as_asked_and_counted_exactly():
    r = report("--num-prompts", "12", "--random-input-len", "20", "--random-output-len", "5", "--seed", "3")
    assert (r["completed"], r["failed"], r["failures"]) == (12, 0, {})
    assert (r["total_input_tokens"], r["total_output_tokens"]) == (240, 60)
    assert r["input_lens"] == [20] * 12 and r["output_lens"] == [5] * 12
    assert r["generated_texts"] == ["w0 w1 w2 w3 w4"] * 12
    assert len(server.requests) == 12
    bodies = [q["body"] for q in server.requests]
    assert len({tuple(b["prompt"]) for b in bodies}) == 12
    for b in bodies:
        assert len(b["prompt"]) == 20 and all(0 <= t < 5000 for t in b["prompt"])
        del b["prompt"]
        assert b == {"model": "ok", "stream": True, "stream_options": {"include_usage": True},
                     "max_tokens": 5, "ignore_eos": True}, b


def times_are_never_shorter_than_the_servers():
    r = report("--num-prompts", "8", "--random-input-len", "8", "--random-output-len", "6", "--max-concurrency", "4")
    assert [len(x) for x in r["itls"]] == [5] * 8
    for ttft, itl, latency in zip(r["ttfts"], r["itls"], r["latencies"]):
        assert ttft >= TTFT - EARLY, ttft
        assert latency >= TTFT + 5 * TPOT - EARLY, latency
        assert near(ttft + sum(itl), latency)
    assert r["duration"] >= 2 * (TTFT + 5 * TPOT) - EARLY
    assert r["duration"] >= max(r["latencies"])
    assert r["client_lag_p50_ms"] <= r["client_lag_p99_ms"] <= r["client_lag_max_ms"]


def metrics_are_vllms_by_definition():
    r = report("--num-prompts", "9", "--random-input-len", "8", "--random-output-len", "7",
               "--random-range-ratio", "0.5", "--metric-percentiles", "50,90,99.9", "--goodput", "ttft:60000",
               "e2el:60000")
    assert len(set(r["output_lens"])) > 1
    ms = {"ttft": [1e3 * x for x in r["ttfts"]], "e2el": [1e3 * x for x in r["latencies"]],
          "itl": [1e3 * x for q in r["itls"] for x in q],
          "tpot": [1e3 * (lat - ttft) / (n - 1)
                   for lat, ttft, n in zip(r["latencies"], r["ttfts"], r["output_lens"]) if n > 1]}
    for key, values in ms.items():
        assert near(r[f"mean_{key}_ms"], statistics.fmean(values))
        assert near(r[f"median_{key}_ms"], statistics.median(values))
        assert near(r[f"std_{key}_ms"], statistics.pstdev(values), 1e-4)
        for p in (50, 90, 99.9):
            assert near(r[f"p{p}_{key}_ms"], percentile(values, p)), (key, p)
    assert near(r["request_throughput"], 9 / r["duration"]) and near(r["request_goodput"], 9 / r["duration"])
    assert near(r["output_throughput"], sum(r["output_lens"]) / r["duration"])
    assert near(r["total_token_throughput"], (r["total_input_tokens"] + r["total_output_tokens"]) / r["duration"])
    edges = sorted([(s, 1) for s in r["start_times"]] +
                   [(s + lat, -1) for s, lat in zip(r["start_times"], r["latencies"])])
    peak, now = 0, 0
    for _, change in edges:
        now += change
        peak = max(peak, now)
    assert r["max_concurrent_requests"] == peak


def goodput_counts_what_keeps_every_bound():
    r = report("--num-prompts", "4", "--random-input-len", "4", "--random-output-len", "3", "--goodput", "ttft:1")
    assert r["completed"] == 4 and r["request_goodput"] == 0
    r = report("--num-prompts", "4", "--random-input-len", "4", "--random-output-len", "3")
    assert r["request_goodput"] is None


def a_closed_loop_never_has_more_under_way():
    r = report("--num-prompts", "12", "--random-input-len", "4", "--random-output-len", "3", "--max-concurrency", "3")
    assert server.most_active == 3 and r["max_concurrent_requests"] <= 3
    assert r["max_concurrency"] == 3 and r["request_rate"] == "inf"
    assert max(r["queue_times"]) >= 3 * (TTFT + 2 * TPOT) - EARLY  # the last waited for three others
    r = report("--num-prompts", "12", "--random-input-len", "4", "--random-output-len", "3")
    assert r["max_concurrency"] is None and max(r["start_times"]) - min(r["start_times"]) < max(r["latencies"])


def an_open_loop_sends_at_its_rate_in_order():
    r = report("--num-prompts", "20", "--random-input-len", "4", "--random-output-len", "2", "--request-rate", "50",
               "--seed", "1")
    assert r["request_rate"] == 50
    assert r["start_times"] == sorted(r["start_times"])
    gaps = [b - a for a, b in zip(r["start_times"], r["start_times"][1:])]
    assert max(gaps) > 1.5 * min(gaps)  # no metronome
    assert r["duration"] >= 20 / 50 + TTFT - 1e-3


def warm_ups_do_not_count():
    r = report("--num-prompts", "3", "--num-warmups", "5", "--random-input-len", "4", "--random-output-len", "2")
    assert r["completed"] == 3 and len(server.requests) == 8
    assert len({tuple(q["body"]["prompt"]) for q in server.requests}) == 8


def lengths_and_prompts_depend_on_the_seed_alone():
    def prompts(seed):
        report("--num-prompts", "6", "--random-input-len", "30", "--random-output-len", "4", "--random-range-ratio",
               "0.5", "--max-concurrency", "1", "--seed", seed)
        return [(q["body"]["prompt"], q["body"]["max_tokens"]) for q in server.requests]
    first = prompts("9")
    assert first == prompts("9") and first != prompts("10")
    assert all(15 <= len(p) <= 45 and 2 <= n <= 6 for p, n in first) and len({len(p) for p, _ in first}) > 1


def a_shared_prefix_comes_first():
    r = report("--num-prompts", "4", "--random-input-len", "6", "--random-prefix-len", "10", "--random-output-len", "1")
    prompts = [q["body"]["prompt"] for q in server.requests]
    assert r["input_lens"] == [16] * 4 and len({tuple(p[:10]) for p in prompts}) == 1
    assert len({tuple(p[10:]) for p in prompts}) == 4


def prefixes_repeat():
    report("--dataset-name", "prefix_repetition", "--num-prompts", "12", "--prefix-repetition-num-prefixes", "3",
           "--prefix-repetition-prefix-len", "9", "--prefix-repetition-suffix-len", "4",
           "--prefix-repetition-output-len", "2")
    prompts = [tuple(q["body"]["prompt"]) for q in server.requests]
    assert len(set(prompts)) == 12 and {len(p) for p in prompts} == {13}
    by_prefix = statistics.multimode(p[:9] for p in prompts)
    assert len(by_prefix) == 3  # each as often as the others


def a_chat_is_asked_in_words_of_the_right_number():
    r = report("--backend", "openai-chat", "--num-prompts", "5", "--random-input-len", "50", "--random-output-len",
               "4")
    assert r["input_lens"] == [50] * 5, r["input_lens"]  # words and the template's overhead, learnt
    assert [len(x) for x in r["itls"]] == [3] * 5  # the event that names the role is no token
    assert min(r["ttfts"]) >= TTFT - EARLY
    body = server.requests[0]["body"]
    assert body["max_completion_tokens"] == 4 and [m["role"] for m in body["messages"]] == ["user"]


def a_server_without_token_ids_gets_words():
    r = report("--num-prompts", "3", "--random-input-len", "40", "--random-output-len", "2", model="textonly")
    assert r["input_lens"] == [40] * 3, r["input_lens"]
    assert all(isinstance(q["body"]["prompt"], str) for q in server.requests)
    serve("--prompt-format", "ids", "--num-prompts", "1", model="textonly", code=3)
    with_tokenizer = report("--num-prompts", "3", "--random-input-len", "40", "--random-output-len", "2",
                            "--prompt-format", "text", "--tokenizer", "demo")
    assert with_tokenizer["completed"] == 3
    texts = [q["body"]["prompt"] for q in server.requests]
    for text in texts:
        ids = json.loads(cases.run(TOKAMAK, "tokenize", "demo", "--add-bos", "no", "-p", text)[0])
        assert len(ids) == 40, len(ids)


def conversations_carry_the_answers_so_far():
    r = report("--backend", "openai-chat", "--dataset-name", "multi-turn", "--turns", "3", "--num-prompts", "6",
               "--random-input-len", "5", "--random-output-len", "2", "--random-prefix-len", "8",
               "--max-concurrency", "2")
    assert r["completed"] == 6 and server.most_active <= 2
    asked = [q["body"]["messages"] for q in server.requests]
    roles = sorted(["/".join(m["role"] for m in messages) for messages in asked], key=len)
    one, turn = "system/user", "/assistant/user"
    assert roles == [one] * 2 + [one + turn] * 2 + [one + 2 * turn] * 2, roles
    assert len({m[0]["content"] for m in asked}) == 1
    for messages in asked:
        assert all(m["content"] == "w0 w1" for m in messages if m["role"] == "assistant")
        if len(messages) > 2:  # what it goes on from was asked before
            assert messages[:-2] in asked
    longest = [m for m in asked if len(m) == 6]
    assert longest[0][1] != longest[1][1]


def what_a_prefix_cache_finds_is_held_against_what_it_could():
    ids = ("--num-prompts", "6", "--random-input-len", "4", "--random-output-len", "2", "--max-concurrency", "1",
           "--prompt-format", "ids")
    for flags, found in ((("--random-prefix-len", "10"), 50), (("--random-prefix-len", "10", "--num-warmups", "1"), 60),
                         (("--dataset-name", "prefix_repetition", "--prefix-repetition-num-prefixes", "2",
                           "--prefix-repetition-prefix-len", "9", "--prefix-repetition-suffix-len", "3"), 36)):
        r = report(*ids, *flags, model="cache")
        assert (r["total_cached_tokens"], r["total_cacheable_tokens"], r["prefix_hit_fraction"]) == (found, found, 1), r
    r = report(*ids, model="cache")
    assert (r["total_cacheable_tokens"], r["prefix_hit_fraction"]) == (0, None)
    r = report(*ids, "--random-prefix-len", "10")
    assert (r["total_cached_tokens"], r["total_cacheable_tokens"], r["prefix_hit_fraction"]) == (None, 50, None)


def of_a_conversation_the_turn_before_can_be_found():
    r = report("--backend", "openai-chat", "--dataset-name", "multi-turn", "--turns", "3", "--num-prompts", "6",
               "--random-input-len", "5", "--random-output-len", "2", "--random-prefix-len", "8",
               "--max-concurrency", "1", model="cache")
    n = r["input_lens"]
    assert r["total_cacheable_tokens"] == sum(n[i] for i in (0, 1, 3, 4)) + 8, r
    # this server sees the prompts without what it adds around them
    assert r["total_cached_tokens"] == r["total_cacheable_tokens"] - 4 * fake_server.OVERHEAD, r


def a_conversation_whose_turn_fails_is_given_up():
    _, err = serve("--backend", "openai-chat", "--dataset-name", "multi-turn", "--turns", "4", "--num-prompts", "4",
                   "--random-input-len", "5", "--random-output-len", "2", model="cut", code=1)
    assert "3 requests failed: an earlier turn failed" in err, err


def files_are_read():
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/custom.jsonl", "w") as f:
            f.write('{"prompt": "one two three", "output_tokens": 3}\n\n{"prompt": "four"}\n')
        with open(folder + "/sharegpt.json", "w") as f:
            json.dump([{"conversations": [{"from": "human", "value": "hi there"},
                                          {"from": "gpt", "value": "a b c d e"}]},
                       {"conversations": []}], f)
        r = report("--dataset-name", "custom", "--dataset-path", folder + "/custom.jsonl", "--num-prompts", "3",
                   "--max-concurrency", "1")
        assert [q["body"]["prompt"] for q in server.requests] == ["one two three", "four", "one two three"]
        assert r["output_lens"] == [3, 256, 3]
        assert "ignore_eos" not in server.requests[0]["body"]
        r = report("--dataset-name", "sharegpt", "--dataset-path", folder + "/sharegpt.json", "--num-prompts", "2",
                   "--ignore-eos")
        assert r["output_lens"] == [5, 5] and server.requests[0]["body"]["prompt"] == "hi there"
        assert server.requests[0]["body"]["ignore_eos"] is True
        with open(folder + "/broken.jsonl", "w") as f:
            f.write('{"prompt": "x"}\n{"text": "x"}\n')
        _, err = serve("--dataset-name", "custom", "--dataset-path", folder + "/broken.jsonl", code=3)
        assert "broken.jsonl line 2" in err, err


def failures_are_counted_with_their_reasons():
    few = ("--num-prompts", "3", "--random-input-len", "4", "--random-output-len", "4")
    for model, why in (("http503", "HTTP 503: "), ("cut", "partial file"),
                       ("nofinish", "neither a finish_reason nor [DONE]"), ("error", "out of memory"),
                       ("badjson", "an event is no JSON object: {not json")):
        out, err = serve("--json", *few, model=model, code=1)
        r = json.loads(out)
        assert (r["completed"], r["failed"]) == (0, 3), (model, r)
        (reason, n), = r["failures"].items()
        assert why in reason and n == 3, (model, reason)
        assert why in err and "no request succeeded" in err, err
        assert r["mean_ttft_ms"] == 0 and r["output_throughput"] == 0
    r = report("--num-prompts", "9", "--random-input-len", "4", "--random-output-len", "2", model="mix")
    assert (r["completed"], r["failed"]) == (6, 3)
    assert [bool(e) for e in r["errors"]].count(True) == 3 and r["output_lens"].count(0) == 3
    assert r["total_output_tokens"] == 12


def events_may_be_cut_anywhere():
    r = report("--num-prompts", "2", "--random-input-len", "4", "--random-output-len", "3", model="bytes")
    assert r["generated_texts"] == ["w0 w1 w2"] * 2 and [len(x) for x in r["itls"]] == [2, 2]


def an_end_of_its_own_is_no_token():
    for chat in ((), ("--backend", "openai-chat")):
        r = report("--num-prompts", "2", "--random-input-len", "8", "--random-output-len", "5", *chat, model="apart")
        assert [len(x) for x in r["itls"]] == [4, 4], r["itls"]
        for ttft, itl, latency in zip(r["ttfts"], r["itls"], r["latencies"]):
            assert latency >= ttft + sum(itl) - 1e-9


def without_usage_an_event_is_a_token():
    r = report("--num-prompts", "2", "--random-input-len", "10", "--random-output-len", "3", "--prompt-format",
               "text", model="nousage")
    assert r["output_lens"] == [3, 3] and r["input_lens"] == [10, 10]


def headers_key_and_extra_body_are_sent():
    report("--num-prompts", "1", "--random-input-len", "4", "--random-output-len", "1", "--api-key", "sk-1",
           "--header", "X-One=a=b", "--temperature", "0", "--extra-body", '{"top_k": 3}', "--served-model-name", "ok")
    q = server.requests[0]
    assert q["headers"]["Authorization"] == "Bearer sk-1" and q["headers"]["X-One"] == "a=b"
    assert q["body"]["temperature"] == 0 and q["body"]["top_k"] == 3


def the_block_is_vllms():
    out, _ = serve("--num-prompts", "2", "--random-input-len", "4", "--random-output-len", "3", "--max-concurrency",
                   "2", "--request-rate", "1000", "--goodput", "ttft:9000", "--percentile-metrics", "ttft,e2el",
                   "--metric-percentiles", "50,99.9")
    lines = out.splitlines()
    assert lines[0] == "============ Serving Benchmark Result ============", lines[0]
    assert lines[-1] == "=" * 50
    assert lines[1] == "Successful requests:                     2         "
    names = [line[:40].rstrip() for line in lines[1:-1]]
    assert names == [
        "Successful requests:", "Failed requests:", "Maximum request concurrency:", "Request rate configured (RPS):",
        "Benchmark duration (s):", "Total input tokens:", "Total generated tokens:", "Request throughput (req/s):",
        "Request goodput (req/s):", "Output token throughput (tok/s):", "Peak output token throughput (tok/s):",
        "Peak concurrent requests:", "Total token throughput (tok/s):", "---------------Time to First Token------",
        "Mean TTFT (ms):", "Median TTFT (ms):", "P50 TTFT (ms):", "P99.9 TTFT (ms):",
        "----------------End-to-end Latency------", "Mean E2EL (ms):", "Median E2EL (ms):", "P50 E2EL (ms):",
        "P99.9 E2EL (ms):"], names
    assert all(len(line) == 50 for line in lines if line[0] in "-=")


def the_file_has_vllms_keys_and_name():
    with tempfile.TemporaryDirectory() as folder:
        serve("--num-prompts", "1", "--random-input-len", "4", "--random-output-len", "2", "--save-result",
              "--result-dir", folder, "--metadata", "host=a", "run=2", "--max-concurrency", "1", "--label", "mine")
        name, = os.listdir(folder)
        with open(f"{folder}/{name}") as f:
            r = json.load(f)
    assert name == f"mine-infqps-concurrency1-ok-{r['date']}.json", name
    assert r["host"] == "a" and r["run"] == "2"
    want = """date endpoint_type backend label model_id tokenizer_id num_prompts request_rate burstiness
max_concurrency duration completed failed total_input_tokens total_output_tokens request_throughput request_goodput
output_throughput total_token_throughput max_output_tokens_per_s max_concurrent_requests mean_ttft_ms median_ttft_ms
std_ttft_ms p99_ttft_ms mean_tpot_ms median_tpot_ms std_tpot_ms p99_tpot_ms mean_itl_ms median_itl_ms std_itl_ms
p99_itl_ms mean_e2el_ms median_e2el_ms std_e2el_ms p99_e2el_ms""".split()
    assert not set(want) - set(r), set(want) - set(r)
    assert "ttfts" not in r and "itls" not in r


def the_model_is_the_servers_first_when_none_is_named():
    server.reset()
    out, _ = cases.run(TOKAMAK, "bench", "serve", "-q", "--json", "--port", str(server.server_address[1]),
                       "--num-prompts", "1", "--input-len", "4", "--output-len", "1")
    assert json.loads(out)["model_id"] == "ok"


def wrong_usage_is_exit_2_and_a_missing_server_exit_3():
    for args, says in (
        (("--goodput", "itl:5"), "ttft:MS"),
        (("--goodput", "ttft:x"), "a number was expected"),
        (("--request-rate", "0"), "--request-rate"),
        (("--request-rate", "fast"), "--request-rate"),
        (("--percentile-metrics", "ttft,x"), "known are"),
        (("--metric-percentiles", "50,101"), "0..100"),
        (("--dataset-name", "custom"), "needs --dataset-path"),
        (("--dataset-path", "x"), "takes no --dataset-path"),
        (("--dataset-name", "multi-turn"), "needs --endpoint /v1/chat/completions"),
        (("--endpoint", "/v1/embeddings"), "--endpoint"),
        (("--extra-body", "[1]"), "no JSON object"),
        (("--metadata", "x"), "KEY=VALUE"),
        (("stray",), "unexpected argument"),
        (("--num-promts", "3"), "did you mean --num-prompts"),
        (("--base-url", "ftp://x"), "no http:// or https:// address"),
    ):
        _, err = serve(*args, code=2)
        assert says in err, (args, err)
    with socket.socket() as mute:  # takes connections, never answers
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        _, err = cases.run(TOKAMAK, "bench", "serve", "--port", str(mute.getsockname()[1]), "--ready-check-timeout-sec",
                           "1", code=3)
        assert "Timeout was reached" in err, err
    _, err = cases.run(TOKAMAK, "bench", "serve", "--port", "1", code=3)
    assert "http://127.0.0.1:1/v1/models: " in err, err


cases.main([v for v in list(globals().values())
            if callable(v) and getattr(v, "__module__", "") == "__main__"
            and v not in (serve, report, percentile, near)])
