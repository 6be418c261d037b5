#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""conformance.py TOKAMAK MODEL: the server as clients see it. Each `case` is one; see docs/server.md."""
import base64
import concurrent.futures
import hashlib
import json
import re
import sys

from harness import Server, case, finish

USER = [{"role": "user", "content": "What is 3 + 4?"}]
CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "add", "description": "adds", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/$defs/n"}}, "required": ["a", "b"],
    "$defs": {"n": {"type": "integer", "minimum": 0, "maximum": 99}}}}}


def ask(s, **fields):
    return s.post(CHAT, {"messages": USER, "temperature": 0, **fields})


def plain_routes(s):
    status, headers, body = s.get("/health", headers={"X-Request-Id": "my-id-1"})
    case("health is ok", status == 200 and body == {"status": "ok"}, body)
    case("the request's id comes back", headers.get("x-request-id") == "my-id-1", headers)
    case("no CORS unless asked for", not any(k.startswith("access-control") for k in headers), headers)
    _, headers, _ = s.get("/health", headers={"X-Request-Id": "a b\tc"})
    case("an odd id is replaced", headers["x-request-id"].startswith("req-"), headers)
    for path in ("/health/live", "/health/ready", "/v1/health", "/version", "/server_info", "/v1/models"):
        status, _, body = s.get(path)
        case(f"GET {path}", status == 200 and isinstance(body, dict), (status, body))
    status, _, body = s.get("/v1/models")
    name = body["data"][0]["id"]
    case("models have a context", body["data"][0]["max_model_len"] == 512, body)
    status, _, body = s.get("/v1/models/" + name)
    case("one model", status == 200 and body["id"] == name, body)
    status, _, body = s.get("/v1/models/other")
    case("no such model", status == 404 and body["error"]["code"] == "model_not_found", body)
    status, _, body = s.get("/nowhere")
    case("no such route", status == 404 and "error" in body, body)
    status, _, body = s.get(CHAT)
    case("wrong method", status == 405, body)
    status, _, text = s.get("/metrics")
    for m in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total",
              "generation_tokens_total", "request_success_total", "time_to_first_token_seconds_bucket",
              "inter_token_latency_seconds_sum", "e2e_request_latency_seconds_count", "build_info"):
        case(f"metric {m}", f"tokamak:{m}{{model_name=".encode() in text, text[:200])
    for path in ("/reset_prefix_cache", "/flush_cache"):
        status, _, body = s.post(path, "")
        case(f"POST {path}", status == 200, body)
    c = s.request("HEAD", "/health")
    case("HEAD has no body", c[0] == 200 and c[2] == b"", c)


def page(s):
    status, h, html = s.get("/")
    case("a page", status == 200 and h["content-type"] == "text/html; charset=utf-8" and html.startswith(b"<!doctype html>"), h)
    csp = dict(part.strip().split(" ", 1) for part in h["content-security-policy"].split(";"))
    case("its policy lets nothing else in", csp["default-src"] == "'none'" and csp["connect-src"] == "'self'" and csp["base-uri"] == "'none'"
         and csp["frame-ancestors"] == "'none'" and csp["form-action"] == "'none'" and csp["require-trusted-types-for"] == "'script'"
         and not any(w in h["content-security-policy"] for w in ("unsafe", "http", "*")), csp)
    for tag, rule in ((b"style", "style-src"), (b"script", "script-src")):
        parts = re.findall(rb"<%s[^>]*>(.*?)</%s>" % (tag, tag), html, re.S)
        digest = [base64.b64encode(hashlib.sha256(p).digest()).decode() for p in parts]
        case(f"the policy's {rule} is what the page has", [csp[rule]] == [f"'sha256-{d}'" for d in digest], (csp[rule], digest))
    loads = re.findall(rb"""(?:src|href|action)=["']?([^"' >]*)""", html.split(b"<script")[0])
    case("it loads nothing", all(u.startswith((b"data:", b"#")) for u in loads) and b"@import" not in html and b"url(" not in html, loads)
    case("no string becomes markup", not re.search(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser", html))
    case("other headers", h["x-content-type-options"] == "nosniff" and h["referrer-policy"] == "no-referrer" and h["cache-control"] == "no-cache", h)
    etag = h["etag"]
    for tags in (etag, "*", f'"other", W/{etag}'):
        status, h, body = s.get("/", headers={"If-None-Match": tags})
        case(f"304 for {tags}", status == 304 and body == b"" and h["etag"] == etag and "content-length" not in h, (status, h))
    status, _, body = s.get("/", headers={"If-None-Match": '"other"'})
    case("200 for another tag", status == 200 and body == html)
    status, h, body = s.request("HEAD", "/")
    case("the page's HEAD", status == 200 and body == b"" and int(h["content-length"]) == len(html), h)
    case("it is small", len(html) < 120000, len(html))
    status, h, body = s.get("/favicon.ico")
    case("no icon, no error", status == 204 and body == b"" and "content-length" not in h, (status, h))
    status, _, body = s.post("/", "")
    case("POST / is refused", status == 405, body)
    status, _, body = s.get("/index.html")
    case("there is one page", status == 404, body)


def read_metrics(text):
    """{name: kind}, {name: [(labels, value)]}, the lines that are neither"""
    kinds, samples, odd = {}, {}, []
    for line in text.splitlines():
        m = re.fullmatch(r'(tokamak:\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+)', line)
        if line.startswith("# TYPE ") and line.split(" ")[2] not in kinds:
            kinds[line.split(" ")[2]] = line.split(" ")[3]
        elif m and float(m[3]) >= 0:
            samples.setdefault(m[1], []).append((dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2])), float(m[3])))
        elif not line.startswith("# HELP "):
            odd.append(line)
    return kinds, samples, odd


def metrics(s):
    kinds, samples, odd = read_metrics(s.get("/metrics")[2].decode())
    case("every line of the metrics is one", odd == [], odd)
    histograms = [name for name, kind in kinds.items() if kind == "histogram"]
    typed = set(kinds) - set(histograms) | {h + end for h in histograms for end in ("_bucket", "_sum", "_count")}
    case("every sample has a type", set(samples) <= typed, set(samples) - typed)
    wrong = [h for h in histograms if [v for _, v in samples[h + "_bucket"]] != sorted(v for _, v in samples[h + "_bucket"])
             or samples[h + "_bucket"][-1] != ({**samples[h + "_count"][0][0], "le": "+Inf"}, samples[h + "_count"][0][1])]
    case("histograms add up", len(histograms) > 10 and wrong == [], wrong)
    value = lambda name: sum(v for _, v in samples["tokamak:" + name])
    case("every step has its tokens", value("iteration_tokens_total_count") == value("engine_steps_total") > 0
         and value("iteration_tokens_total_sum") >= value("engine_steps_total"))
    case("requests have a time per token", value("request_time_per_output_token_seconds_count") > 0)
    case("energy is said to be read or not", [l["domain"] for l, _ in samples["tokamak:energy_valid"]] == ["cpu", "dram"])
    status, h, load = s.get("/expert_load")
    layers = load["layers"]
    case("experts", status == 200 and load["n_expert"] == 24 and [l["layer"] for l in layers] == [1, 2, 3, 4]
         and all(len(l["tokens"]) == 24 for l in layers), load)
    sums = {sum(l["tokens"]) for l in layers}
    case("each layer gives every token to two", len(sums) == 1 and min(sums) > 0 and min(sums) % load["n_expert_used"] == 0, sums)
    case("as the metrics say", s.metric("expert_tokens_total") >= 4 * min(sums))


def tokens(s):
    status, _, body = s.post("/tokenize", {"prompt": "Mia has 3 shells.", "return_token_strs": True})
    case("tokenize", status == 200 and body["count"] == len(body["tokens"]) and body["max_model_len"] == 512, body)
    case("token strings", "".join(body["token_strs"][1:]) == "Mia has 3 shells.", body)
    status, _, back = s.post("/detokenize", {"tokens": body["tokens"][1:]})
    case("detokenize", back == {"prompt": "Mia has 3 shells."}, back)
    _, _, bare = s.post("/tokenize", {"prompt": "Mia has 3 shells.", "add_special_tokens": False})
    case("without special tokens", bare["tokens"] == body["tokens"][1:], bare)
    _, _, chat = s.post("/tokenize", {"messages": USER})
    _, _, answer = ask(s, max_tokens=1)
    case("a conversation's tokens", chat["count"] == answer["usage"]["prompt_tokens"], chat)
    for bad in ([-1], [10**9], ["a"], "x"):
        status, _, body = s.post("/detokenize", {"tokens": bad})
        case(f"detokenize {bad}", status == 400 and body["error"]["param"] == "tokens", body)


def chat(s):
    status, _, whole = ask(s)
    choice = whole["choices"][0]
    m = choice["message"]
    case("an answer", status == 200 and m["content"] == "7" and choice["finish_reason"] == "stop", whole)
    case("its reasoning, under both names", m["reasoning"] and m["reasoning"] == m["reasoning_content"], m)
    u = whole["usage"]
    case("usage adds up", u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"]
         and 0 < u["completion_tokens_details"]["reasoning_tokens"] < u["completion_tokens"]
         and "cached_tokens" in u["prompt_tokens_details"], u)
    status, events = s.stream(CHAT, {"messages": USER, "temperature": 0, "stream_options": {"include_usage": True}})
    case("a stream ends with [DONE]", events[-1][1] == "[DONE]")
    chunks = [d for _, d in events[:-1]]
    case("chunks share an id", len({c["id"] for c in chunks}) == 1 and chunks[0]["object"] == "chat.completion.chunk")
    text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    thought = "".join(c["choices"][0]["delta"].get("reasoning_content", "") for c in chunks if c["choices"])
    case("streamed text is the whole's", (text, thought) == (m["content"], m["reasoning"]), (text, thought))
    case("the first chunk has the role", chunks[0]["choices"][0]["delta"]["role"] == "assistant", chunks[0])
    case("one finish reason", [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop")
    case("streamed usage", chunks[-1]["choices"] == [] and chunks[-1]["usage"] == u
         or chunks[-1]["usage"]["completion_tokens"] == u["completion_tokens"], chunks[-1])
    _, events = s.stream(CHAT, {"messages": USER, "temperature": 0, "stream_options":
                                {"include_usage": True, "continuous_usage_stats": True}})
    each = [d["usage"] for _, d in events[:-1]]
    counts = [x["completion_tokens"] for x in each]
    case("usage with every event", counts == sorted(counts) and counts[-1] == u["completion_tokens"] > counts[0]
         and all(x["prompt_tokens"] == u["prompt_tokens"] for x in each), each)
    _, _, again = ask(s, max_tokens=5)
    case("max_tokens", again["choices"][0]["finish_reason"] == "length" and again["usage"]["completion_tokens"] == 5, again)
    _, _, again = ask(s, max_completion_tokens=5)
    case("max_completion_tokens", again["usage"]["completion_tokens"] == 5, again)
    _, _, again = ask(s, stop=["write"])
    case("stop strings are not shown", again["choices"][0]["finish_reason"] == "stop"
         and "write" not in json.dumps(again["choices"]), again)
    _, _, again = ask(s, n=3, max_tokens=4)
    case("n answers", [c["index"] for c in again["choices"]] == [0, 1, 2] and again["usage"]["completion_tokens"] == 12, again)
    draws = [s.post(CHAT, {"messages": [{"role": "user", "content": "Tell me a story about Mia in the garden."}],
                           "temperature": 1.5, "seed": seed, "max_tokens": 12})[2]["choices"][0]["message"]
             for seed in (1, 1, 2, 3, 4)]
    case("a seed is kept", draws[0] == draws[1] and any(d != draws[0] for d in draws[2:]), draws)
    parts = [{"type": "text", "text": "What is"}, {"type": "text", "text": "3 + 4?"}]
    status, _, body = s.post(CHAT, {"messages": [{"role": "user", "content": parts}], "max_tokens": 2})
    case("text in parts", status == 200, body)
    _, _, ids = s.post("/tokenize", {"prompt": "7", "add_special_tokens": False})
    _, _, biased = ask(s, logit_bias={str(ids["tokens"][0]): 100}, max_tokens=6)
    case("logit_bias", set(biased["choices"][0]["message"]["reasoning"]) == {"7"}, biased)
    _, _, body = ask(s, ignore_eos=True, max_tokens=40)
    case("ignore_eos", body["usage"]["completion_tokens"] == 40, body)
    history = USER + [{"role": "assistant", "content": "7", "reasoning_content": "x", "refusal": None, "annotations": []},
                      {"role": "user", "content": "What is 1 + 1?"}]
    status, _, body = s.post(CHAT, {"messages": history, "temperature": 0})
    case("an answer can be sent back", status == 200 and body["choices"][0]["message"]["content"] == "2", body)
    status, _, body = ask(s, user="me", priority=-1, parallel_tool_calls=True, store=False, seed=None, stop=None)
    case("harmless fields", status == 200, body)
    status, _, body = s.post(CHAT, {"messages": USER + [{"role": "assistant", "content": "The answer is"}],
                                    "continue_final_message": True, "max_tokens": 3})
    case("an answer goes on", status == 200 and body["usage"]["completion_tokens"] <= 3, body)


def logprobs(s):
    _, _, body = ask(s, logprobs=True, top_logprobs=3, max_tokens=6)
    content = body["choices"][0]["logprobs"]["content"]
    case("chat logprobs", len(content) == 6 and all(
        len(t["top_logprobs"]) == 3 and t["logprob"] <= 0 and bytes(t["bytes"]).decode() == t["token"]
        and t["top_logprobs"][0]["logprob"] >= t["top_logprobs"][1]["logprob"] for t in content), content)
    _, events = s.stream(CHAT, {"messages": USER, "temperature": 0, "logprobs": True, "max_tokens": 6})
    streamed = [t for _, d in events[:-1] for c in d["choices"] if c["logprobs"] for t in c["logprobs"]["content"]]
    case("streamed logprobs are the same", [t["token"] for t in streamed] == [t["token"] for t in content], streamed)
    _, _, body = s.post("/v1/completions", {"prompt": "Mia has the", "max_tokens": 4, "temperature": 0, "echo": True,
                                            "logprobs": 2})
    c = body["choices"][0]
    lp = c["logprobs"]
    case("echo has the prompt", c["text"].startswith("Mia has the"), c)
    case("the prompt's logprobs", lp["token_logprobs"][0] is None and all(x <= 0 for x in lp["token_logprobs"][1:])
         and len(lp["tokens"]) == len(lp["token_logprobs"]) == len(lp["top_logprobs"]) == len(lp["text_offset"])
         == body["usage"]["total_tokens"], lp)
    case("offsets are into the text", all(c["text"][o:].startswith(t) for o, t in
                                         list(zip(lp["text_offset"], lp["tokens"]))[1:]), lp)
    _, _, only = s.post("/v1/completions", {"prompt": "Mia has the", "max_tokens": 0, "echo": True, "logprobs": 1})
    case("only the prompt's logprobs", only["choices"][0]["text"] == "Mia has the"
         and [round(x, 3) for x in only["choices"][0]["logprobs"]["token_logprobs"][1:]]
         == [round(x, 3) for x in lp["token_logprobs"][1:len(only["choices"][0]["logprobs"]["tokens"])]], only)


def completions(s):
    _, _, one = s.post("/v1/completions", {"prompt": "Mia has", "temperature": 0, "max_tokens": 6})
    case("a completion", one["object"] == "text_completion" and one["usage"]["completion_tokens"] == 6, one)
    _, _, ids = s.post("/tokenize", {"prompt": "Mia has"})
    _, _, same = s.post("/v1/completions", {"prompt": ids["tokens"], "temperature": 0, "max_tokens": 6})
    case("a prompt of ids", same["choices"][0]["text"] == one["choices"][0]["text"], same)
    _, _, many = s.post("/v1/completions", {"prompt": ["Mia has", "Ben has", "Mia has"], "temperature": 0,
                                            "max_tokens": 6, "n": 2})
    texts = [c["text"] for c in many["choices"]]
    case("several prompts, n of each", len(texts) == 6 and texts[0] == texts[1] == texts[4] == one["choices"][0]["text"], many)
    _, _, lists = s.post("/v1/completions", {"prompt": [ids["tokens"], ids["tokens"]], "temperature": 0, "max_tokens": 2})
    case("prompts of ids", len(lists["choices"]) == 2, lists)
    _, events = s.stream("/v1/completions", {"prompt": "Mia has", "temperature": 0, "max_tokens": 6, "echo": True})
    text = "".join(c["text"] for _, d in events[:-1] for c in d["choices"])
    case("a stream with echo", text == "Mia has" + one["choices"][0]["text"], text)
    _, _, default = s.post("/v1/completions", {"prompt": "Mia has", "ignore_eos": True})
    case("16 tokens by default", default["usage"]["completion_tokens"] == 16, default)


def schema(s):
    shape = {"type": "object", "properties": {"sum": {"type": "integer"}, "odd": {"type": "boolean"}},
             "required": ["sum", "odd"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "r", "strict": True, "schema": shape}}
    for i in range(3):
        _, _, body = ask(s, response_format=form, temperature=1.3, seed=i, max_tokens=300)
        c = body["choices"][0]
        try:
            value = json.loads(c["message"]["content"])
        except ValueError:
            value = None
        case("the schema is kept", c["finish_reason"] == "stop" and isinstance(value, dict) and sorted(value) == ["odd", "sum"]
             and type(value["sum"]) is int and type(value["odd"]) is bool, body)
        case("reasoning comes before it", c["message"].get("reasoning"), body)
    _, _, body = ask(s, response_format={"type": "json_object"}, max_tokens=400, temperature=0.7, seed=2)
    text = body["choices"][0]["message"]["content"]
    try:
        ok = body["choices"][0]["finish_reason"] == "length" or isinstance(json.loads(text), dict)
    except ValueError:
        ok = False
    case("any object", ok and text.lstrip().startswith("{"), body)
    _, events = s.stream(CHAT, {"messages": USER, "response_format": form, "temperature": 0, "max_tokens": 300})
    text = "".join(d["choices"][0]["delta"].get("content") or "" for _, d in events[:-1] if d["choices"])
    case("a streamed object", sorted(json.loads(text)) == ["odd", "sum"], text)
    for bad, word in (({"type": "integer", "multipleOf": 2}, "multipleOf"), ({"type": "string", "pattern": "(?=x)"}, "pattern"),
                      ({"type": "array", "maxItems": 10**6}, "maxItems"), ({"$ref": "#/nope"}, "$ref"), (False, "no JSON"),
                      ({"type": "string", "pattern": "(a|b)*a(a|b){400}"}, "large")):
        status, _, body = ask(s, response_format={"type": "json_schema", "json_schema": {"name": "r", "schema": bad}})
        case(f"refused schema ({word})", status == 400 and word in body["error"]["message"]
             and body["error"]["param"] == "response_format.json_schema.schema", body)


def tools(s):
    for choice in ("required", {"type": "function", "function": {"name": "add"}}):
        _, _, body = ask(s, tools=[TOOL], tool_choice=choice, max_tokens=220)
        c = body["choices"][0]
        calls = c["message"].get("tool_calls") or []
        ok = len(calls) >= 1 and c["finish_reason"] == "tool_calls" and c["message"]["content"] is None
        for call in calls:
            a = json.loads(call["function"]["arguments"])
            ok &= call["function"]["name"] == "add" and call["id"] and type(a["a"]) is int and 0 <= a["b"] <= 99
        case(f"tool_choice {choice}", ok, body)
    _, events = s.stream(CHAT, {"messages": USER, "temperature": 0, "tools": [TOOL], "tool_choice": "required", "max_tokens": 220,
                                "parallel_tool_calls": False})
    deltas = [t for _, d in events[:-1] for c in d["choices"] for t in c["delta"].get("tool_calls", [])]
    case("a streamed call", deltas[0]["function"]["name"] == "add" and deltas[0]["id"] and {d["index"] for d in deltas} == {0}
         and isinstance(json.loads("".join(d["function"]["arguments"] for d in deltas))["a"], int), deltas)
    case("nothing of it is content", not any(c["delta"].get("content") for _, d in events[1:-1] for c in d["choices"]), events)
    status, _, body = ask(s, tools=[TOOL], tool_choice="none", max_tokens=8)
    case("tool_choice none", status == 200 and not body["choices"][0]["message"].get("tool_calls"), body)
    status, _, body = ask(s, tools=[TOOL], max_tokens=8)
    case("tool_choice auto", status == 200, body)
    used = USER + [{"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 3, \"b\": 4}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"}]
    status, _, body = s.post(CHAT, {"messages": used, "max_tokens": 4})
    case("calls and results can be sent back", status == 200, body)
    strict = json.loads(json.dumps(TOOL))
    strict["function"]["strict"] = True
    status, _, body = ask(s, tools=[strict], max_tokens=8)
    case("strict tools", status == 200, body)
    for fields, param in (({"tools": [{"type": "function"}]}, "tools.0"), ({"tool_choice": "required"}, "tool_choice"),
                          ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice"),
                          ({"tools": [{"type": "web_search"}]}, "tools.0"),
                          ({"tools": [{"type": "function", "function": {"name": "a", "extra": 1}}]}, "tools.0.function.extra")):
        status, _, body = ask(s, **fields)
        case(f"bad tools ({param})", status == 400 and body["error"]["param"] == param, body)


def errors(s):
    for fields, param in (
            ({"temperature": 200}, "temperature"), ({"temperature": "x"}, "temperature"), ({"top_p": 0}, "top_p"),
            ({"max_tokens": -1}, "max_tokens"), ({"max_tokens": 1.5}, "max_tokens"), ({"n": 0}, "n"), ({"n": 10**6}, "n"),
            ({"frequency_penalty": 3}, "frequency_penalty"), ({"logit_bias": {"x": 1}}, "logit_bias"),
            ({"logit_bias": {"5": 101}}, "logit_bias"), ({"stop": [""]}, "stop"), ({"stop": 5}, "stop"),
            ({"stop": ["a"] * 17}, "stop"), ({"top_logprobs": 2}, "top_logprobs"), ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
            ({"stream_options": {"include_usage": True}}, "stream_options"), ({"nonsense": 1}, "nonsense"), ({"store": True}, "store"),
            ({"audio": {}}, "audio"), ({"response_format": {"type": "xml"}}, "response_format.type"),
            ({"reasoning_effort": "low"}, "reasoning_effort"), ({"messages": []}, "messages"), ({"messages": "x"}, "messages"),
            ({"messages": [{"role": "king", "content": "x"}]}, "messages.0"), ({"messages": [{"role": "user"}]}, "messages.0"),
            ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages.0.content.0"),
            ({"messages": [{"role": "user", "content": "x", "odd": 1}]}, "messages.0.odd"),
            ({"messages": [5]}, "messages.0"), ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
            ({"stop_token_ids": [99999]}, "stop_token_ids"), ({"seed": "x"}, "seed")):
        status, _, body = ask(s, **fields)
        case(f"400 for {json.dumps(fields)[:60]}", status == 400 and body["error"]["param"] == param
             and body["error"]["type"] == "invalid_request_error" and body["error"]["message"], body)
    status, _, body = ask(s, model="gpt-4")
    case("another model", status == 404 and body["error"]["code"] == "model_not_found" and body["error"]["param"] == "model", body)
    status, _, body = s.post(CHAT, {"messages": [{"role": "user", "content": "word " * 2000}]})
    case("too long a prompt", status == 400 and body["error"]["code"] == "context_length_exceeded", body)
    for fields, param in (({"prompt": ""}, None), ({"prompt": 5}, "prompt"), ({"prompt": [[]]}, "prompt"), ({}, "prompt"),
                          ({"prompt": [10**9]}, "prompt"), ({"prompt": "x", "suffix": "y"}, "suffix"),
                          ({"prompt": "x", "best_of": 3}, "best_of"), ({"prompt": "x", "logprobs": 99}, "logprobs")):
        status, _, body = s.post("/v1/completions", {"max_tokens": 1, **fields})
        case(f"completions: {fields}", status == 200 if param is None else
             status == 400 and body["error"]["param"] == param, (status, body))


def responses(s):
    path = "/v1/responses"
    status, _, body = s.post(path, {"input": "What is 3 + 4?", "temperature": 0})
    kinds = [o["type"] for o in body["output"]]
    case("a response", status == 200 and kinds == ["reasoning", "message"] and body["status"] == "completed"
         and body["output"][1]["content"][0]["text"] == "7", body)
    case("its usage", body["usage"]["output_tokens_details"]["reasoning_tokens"] > 0, body["usage"])
    status, events = s.stream(path, {"input": [{"role": "user", "content": [{"type": "input_text", "text": "What is 3 + 4?"}]}],
                                     "temperature": 0, "instructions": ""})
    names = [n for n, _ in events]
    case("a response's events", names[:2] == ["response.created", "response.in_progress"] and names[-1] == "response.completed"
         and "response.output_text.delta" in names and "response.reasoning_text.delta" in names, names)
    case("their numbers", [d["sequence_number"] for _, d in events] == list(range(len(events))))
    case("their text", "".join(d["delta"] for n, d in events if n == "response.output_text.delta") == "7", names)
    case("the last one is whole", events[-1][1]["response"]["output"][-1]["content"][0]["text"] == "7")
    tool = {"type": "function", "name": "add", "parameters": TOOL["function"]["parameters"], "strict": False}
    status, _, body = s.post(path, {"input": "3+4", "tools": [tool], "tool_choice": {"type": "function", "name": "add"},
                                    "temperature": 0, "max_output_tokens": 250})
    calls = [o for o in body.get("output", []) if o["type"] == "function_call"]
    case("a response's call", status == 200 and calls and isinstance(json.loads(calls[0]["arguments"])["a"], int), body)
    status, _, body = s.post(path, {"input": [{"role": "user", "content": "3+4"}, {"type": "function_call", "call_id": "c", "name": "add",
                                    "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "7"}],
                                    "max_output_tokens": 5})
    case("a call and its output sent back", status == 200 and body["status"] in ("incomplete", "completed"), body)
    form = {"format": {"type": "json_schema", "name": "r", "schema": {"type": "object", "properties": {"x": {"enum": [1, 2]}},
                                                                       "required": ["x"]}}}
    status, _, body = s.post(path, {"input": "3+4", "text": form, "temperature": 0, "max_output_tokens": 300})
    case("a response's schema", status == 200 and json.loads(body["output"][-1]["content"][0]["text"])["x"] in (1, 2), body)
    for fields, param in (({"previous_response_id": "x"}, "previous_response_id"), ({"store": True}, "store"), ({"input": []}, "input"),
                          ({"background": True}, "background"), ({"tools": [{"type": "web_search"}]}, "tools")):
        status, _, body = s.post(path, {"input": "x", **fields})
        case(f"responses: {param}", status == 400 and body["error"]["param"] == param, body)


def messages(s):
    path = "/v1/messages"
    base = {"max_tokens": 200, "temperature": 0, "messages": USER}
    status, _, body = s.post(path, base)
    case("a message", status == 200 and [b["type"] for b in body["content"]] == ["thinking", "text"]
         and body["content"][1]["text"] == "7" and body["stop_reason"] == "end_turn" and body["type"] == "message", body)
    status, events = s.stream(path, base)
    names = [n for n, _ in events]
    case("a message's events", names[0] == "message_start" and names[-2:] == ["message_delta", "message_stop"]
         and names.count("content_block_start") == names.count("content_block_stop") == 2, names)
    text = "".join(d["delta"].get("text", "") for n, d in events if n == "content_block_delta")
    case("their text", text == "7", text)
    case("their usage", events[-2][1]["usage"]["output_tokens"] == body["usage"]["output_tokens"], events[-2])
    _, _, count = s.post(path + "/count_tokens", {"messages": USER})
    case("count_tokens", count["input_tokens"] == body["usage"]["input_tokens"] + body["usage"]["cache_read_input_tokens"], count)
    _, _, body = s.post(path, {**base, "stop_sequences": ["write"]})
    case("stop_sequence", body["stop_reason"] == "stop_sequence" and body["stop_sequence"] == "write", body)
    _, _, body = s.post(path, {**base, "max_tokens": 3})
    case("max_tokens", body["stop_reason"] == "max_tokens", body)
    tool = {"name": "add", "description": "d", "input_schema": TOOL["function"]["parameters"]}
    _, _, body = s.post(path, {**base, "max_tokens": 250, "tools": [tool], "tool_choice": {"type": "tool", "name": "add"}})
    use = [b for b in body.get("content", []) if b["type"] == "tool_use"]
    case("tool_use", use and isinstance(use[0]["input"]["a"], int) and body["stop_reason"] == "tool_use", body)
    _, events = s.stream(path, {**base, "max_tokens": 250, "tools": [tool], "tool_choice": {"type": "any"}})
    part = "".join(d["delta"].get("partial_json", "") for n, d in events if n == "content_block_delta"
                   and d["index"] == [d["index"] for n, d in events if n == "content_block_start" and d["content_block"]["type"] == "tool_use"][0])
    case("a streamed tool_use", isinstance(json.loads(part)["a"], int), part)
    _, _, body = s.post(path, {**base, "thinking": {"type": "enabled", "budget_tokens": 3}})
    case("a thinking budget", body["content"][0]["thinking"].strip() and len(body["content"][0]["thinking"]) < 12
         and body["content"][1]["type"] == "text", body)
    _, _, body = s.post(path, {**base, "max_tokens": 300, "output_config": {"format": {"type": "json_schema", "schema": {
        "type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}}}})
    case("a message's schema", type(json.loads(body["content"][-1]["text"])["x"]) is bool, body)
    back = USER + [{"role": "assistant", "content": [{"type": "text", "text": "I add."}, {"type": "tool_use", "id": "t", "name": "add", "input": {"a": 3}}]},
                   {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "7"}]}]}]
    status, _, body = s.post(path, {**base, "max_tokens": 4, "messages": back, "system": [{"type": "text", "text": "Be short."}]})
    case("tool_result sent back", status == 200, body)
    status, _, body = s.post(path, {**base, "max_tokens": 4, "messages": USER + [{"role": "assistant", "content": "The answer"}]})
    case("an answer begun", status == 200, body)
    for fields, word in (({"max_tokens": None}, "max_tokens"), ({"messages": [{"role": "system", "content": "x"}]}, "role"),
                         ({"odd": 1}, "odd"), ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "image")):
        status, _, body = s.post(path, {**base, **fields})
        case(f"messages: {word}", status == 400 and body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
             and word in body["error"]["message"], body)
    status, _, body = s.post(path, {**base, "model": "claude"})
    case("another model, in Anthropic's form", status == 404 and body["error"]["type"] == "not_found_error", body)


def main():
    tokamak, model = sys.argv[1:3]
    s = Server(tokamak, model)
    def run(part):
        try:
            part(s)
        except Exception as e:  # a broken answer is a failed case, not the end
            case(f"{part.__name__} ran to its end", False, repr(e))

    parts = (schema, tools, messages, responses, chat, logprobs, completions, errors, tokens, plain_routes, page)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:  # the server is there for many
        list(pool.map(run, parts))
    run(metrics)
    case("SIGTERM ends it with 0", s.stop() == 0)
    finish()


main()
