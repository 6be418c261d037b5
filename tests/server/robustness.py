#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""robustness.py TOKAMAK MODEL [N_IDLE]: what clients do to servers: garbage, floods, silence, leaving, being slow; keys and
limits; shutting down under load. N_IDLE idle streams are held open (default 200)."""
import http.client
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from harness import Server, case, finish, http_bytes, parse_events, status_of

CHAT = "/v1/chat/completions"
STORY = [{"role": "user", "content": "Tell me a story about Mia in the garden."}]
LONG = {"messages": STORY, "temperature": 1, "ignore_eos": True, "max_tokens": 400}
SHORT = {"messages": STORY, "temperature": 0, "max_tokens": 4}


def begin_stream(s, body=None):
    """A socket on which a stream has begun."""
    c = s.connect()
    c.sendall(http_bytes("POST", CHAT, json.dumps({**(body or LONG), "stream": True}).encode()))
    data = b""
    while b"data: " not in data:
        part = c.recv(4096)
        if not part:
            break
        data += part
    return c, data


def read_all(c, data=b""):
    try:
        while True:
            part = c.recv(65536)
            if not part:
                break
            data += part
            if data.endswith(b"0\r\n\r\n"):
                break
    except (socket.timeout, ConnectionError):
        pass
    return data


def dechunk(data):
    body, out = data.split(b"\r\n\r\n", 1)[1], b""
    while body:
        size, body = body.split(b"\r\n", 1)
        n = int(size, 16)
        out, body = out + body[:n], body[n + 2:]
    return out.decode()


def alive(s, name):
    status, _, body = s.post(CHAT, SHORT)
    case(f"the server lives after {name}", status == 200, body)


def garbage(s):
    for name, data, status in (
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00", 400), ("binary", bytes(range(128, 256)), 400), ("JSON", b'{"a": 1}\r\n\r\n', 400),
            ("bare LF", b"GET /health HTTP/1.1\nHost: x\n\n", 400), ("no host", b"GET /health HTTP/1.1\r\n\r\n", 400),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400), ("a long line", b"GET /" + b"a" * 20000, 414),
            ("many headers", b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(5000)), 431),
            ("a large header", b"GET / HTTP/1.1\r\nX: " + b"y" * 100000, 431),
            ("two lengths", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400)):
        case(f"garbage: {name}", status_of(s.raw(data)) == status, (name, s.raw(data)[:100]))
    piped = http_bytes("GET", "/health") + http_bytes("GET", "/version") + b"\x00garbage\r\n\r\n"
    out = s.raw(piped)
    case("pipelined requests, then garbage", out.count(b"HTTP/1.1 200") == 2 and out.count(b"HTTP/1.1 400") == 1, out[:300])
    two = json.dumps(SHORT).encode()
    out = s.raw(http_bytes("POST", CHAT, two) + http_bytes("GET", "/health", headers=[("Connection", "close")]))
    case("a request behind a generation", out.count(b"HTTP/1.1 200") == 2 and out.rfind(b'"ok"') > out.find(b"choices"), out[:300])
    out = s.raw(b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (two[:10], two[10:])) + b"0\r\n\r\n")
    case("a chunked body", status_of(out) == 200, out[:200])
    c = s.connect()
    c.sendall(http_bytes("POST", CHAT, headers=[("Expect", "100-continue"), ("Content-Length", str(len(two)))]))
    first = c.recv(100)
    c.sendall(two)
    case("100-continue", first.startswith(b"HTTP/1.1 100") and status_of(read_part(c)) == 200, first)
    c.close()
    alive(s, "garbage")


def read_part(c):
    data = b""
    while b"\r\n\r\n" not in data:
        part = c.recv(65536)
        if not part:
            break
        data += part
    return data


def bodies(s):
    for name, body in (("invalid UTF-8", b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}'), ("no JSON", b"hello"), ("nothing", b" "),
                       ("a list", b"[]"), ("cut off", b'{"messages": ['), ("deep JSON", b"[" * 100000 + b"]" * 100000),
                       ("deep objects", b'{"a":' * 5000 + b"1" + b"}" * 5000), ("a NUL", b'{"model": "a\\u0000b", "messages": []}'),
                       ("a huge number", b'{"messages": [], "temperature": 1e999}'), ("a lone surrogate", b'{"messages": [{"role": "user", "content": "\\ud800"}]}')):
        out = s.raw(http_bytes("POST", CHAT, body, [("Connection", "close")]))
        ok = status_of(out) == 400 and b'"error"' in out
        case(f"400 for {name}", ok, out[:300])
    began = time.monotonic()
    out = s.raw(http_bytes("POST", CHAT, headers=[("Content-Length", str(100 << 20))]))
    case("100 MB are refused at their announcement", status_of(out) == 413 and time.monotonic() - began < 8, out[:200])
    c = s.connect()
    began = time.monotonic()
    try:
        c.sendall(http_bytes("POST", CHAT, headers=[("Content-Length", str(100 << 20))]))
        for _ in range(100):
            c.sendall(b"x" * (1 << 20))
    except OSError:
        pass
    out = read_all(c)
    case("100 MB that are sent all the same", status_of(out) == 413 and time.monotonic() - began < 20, out[:200])
    c.close()
    big = b"POST " + CHAT.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    c = s.connect()
    try:
        c.sendall(big)
        for _ in range(40):
            c.sendall(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
    except OSError:
        pass
    case("a chunked body without end", status_of(read_all(c)) == 413)
    c.close()
    alive(s, "bodies")


def leaving(s):
    for name, how in (("closes", "close"), ("resets", "reset"), ("half-closes", "half")):
        before = s.metric('request_success_total')
        c, _ = begin_stream(s)
        if how == "half":
            c.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.close()
        ended = s.wait_for(lambda: s.metric("num_requests_running") == 0, 5)
        case(f"a client that {name} is noticed", ended, s.metric("num_requests_running"))
        case("and its request is counted", s.wait_for(lambda: s.metric('request_success_total') == before + 1, 5))
        c.close()
    n = s.metric("generation_tokens_total")
    for _ in range(5):
        c = s.connect()
        c.sendall(http_bytes("POST", CHAT, json.dumps(LONG).encode()))
        time.sleep(0.05)
        c.close()
    case("waiting clients that leave are forgotten", s.wait_for(
        lambda: s.metric("num_requests_running") == 0 and s.metric("num_requests_waiting") == 0, 10))
    case("without their tokens", s.metric("generation_tokens_total") - n < 5 * 380, s.metric("generation_tokens_total") - n)
    alive(s, "clients that leave")


def slow_reader(s):
    """Reads nothing: the server gives up on it when its buffers are full, and others are served meanwhile."""
    c = socket.socket()
    c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    c.connect((s.host, s.port))
    body = {"prompt": ["Mia has"] * 16, "n": 8, "max_tokens": 480, "ignore_eos": True, "temperature": 1, "stream": True, "logprobs": 20}
    c.sendall(http_bytes("POST", "/v1/completions", json.dumps(body).encode()))
    case("the slow client's request runs", s.wait_for(lambda: s.metric("num_requests_running") > 0 or s.metric("generation_tokens_total") > 100, 60))
    status, _, _ = s.post(CHAT, SHORT, timeout=300)
    case("others are served", status == 200, status)
    case("the slow client is given up", s.wait_for(
        lambda: s.metric("num_requests_running") == 0 and s.metric("num_requests_waiting") == 0, 120), s.metric("num_requests_running"))
    c.close()
    alive(s, "a slow reader")


def idle(s, n):
    """Many open streams and connections, most of them silent; the active ones go on."""
    rss = memory_kb(s)
    conns = [s.connect() for _ in range(n // 10)]
    streams = []
    for _ in range(n):
        c = s.connect()
        c.sendall(http_bytes("POST", CHAT, json.dumps({**LONG, "max_tokens": 64, "stream": True}).encode()))
        streams.append(c)
    began = time.monotonic()
    status, _, _ = s.get("/health")
    case(f"health answers beside {n} streams", status == 200 and time.monotonic() - began < 2, time.monotonic() - began)
    case("all are open", s.wait_for(lambda: s.metric("http_connections") > n, 20), s.metric("http_connections"))
    grown = memory_kb(s) - rss
    case("they take little memory", grown < 64 * 1024 + 40 * n, f"{grown} kB")
    print(f"{len(conns) + n} connections, {n} of them streams: {grown} kB more", flush=True)
    n_keep = min(64, n // 10)
    keep, drop = streams[:n_keep], streams[n_keep:]
    for c in conns + drop:
        c.close()
    done = [parse_events(dechunk(read_all(c)))[-1][1] for c in keep]
    case("the streams that were kept end well", done == ["[DONE]"] * len(keep), done)
    for c in keep:
        c.close()
    case("the others are gone", s.wait_for(lambda: s.metric("num_requests_running") == 0 and s.metric("num_requests_waiting") == 0
                                           and s.metric("http_connections") < 5, 20), s.metric("http_connections"))


def memory_kb(s):
    with open(f"/proc/{s.process.pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def keys(tokamak, model):
    with tempfile.NamedTemporaryFile("w", suffix=".keys") as f:
        f.write("# ours\nkey-from-file\n")
        f.flush()
        s = Server(tokamak, model, "--api_key", "one", "--api-key-file", f.name, "--max-requests-per-minute", "3", "--max-concurrent-requests", "2")
    for key, want in ((None, 401), ("wrong", 401), ("on", 401), ("onee", 401), ("", 401), ("one", 200), ("key-from-file", 200), ("x" * 5000, 401)):
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        status, h, body = s.get("/v1/models", headers=headers)
        case(f"key {str(key)[:20]!r}", status == want and (status == 200 or body["error"]["code"] == "invalid_api_key"), (status, body))
    status, _, _ = s.get("/v1/models", headers={"x-api-key": "one"})
    case("x-api-key", status == 200)
    case("health needs no key", s.get("/health")[0] == 200)
    case("nor does the page", s.get("/")[0] == 200 and s.get("/favicon.ico")[0] == 204)
    case("whom experts serve is told with a key only", s.get("/expert_load")[0] == 401
         and s.get("/expert_load", headers={"x-api-key": "one"})[0] == 200)
    big = http_bytes("POST", CHAT, headers=[("Content-Length", "10000000")])
    case("no key, no body is read", status_of(s.raw(big)) == 401)
    one = {"Authorization": "Bearer one"}
    codes = [s.post(CHAT, SHORT, headers=one) for _ in range(5)]
    case("requests a minute", [c[0] for c in codes] == [200] * 3 + [429] * 2 and int(codes[-1][1]["retry-after"]) >= 1
         and codes[-1][2]["error"]["code"] == "rate_limit_exceeded", [c[0] for c in codes])
    other = {"Authorization": "Bearer key-from-file"}
    held = []
    for _ in range(2):
        c = s.connect()
        body = json.dumps({**LONG, "stream": True}).encode()
        c.sendall(http_bytes("POST", CHAT, body, [("Authorization", "Bearer key-from-file")]))
        c.recv(100)
        held.append(c)
    status, _, body = s.post(CHAT, SHORT, headers=other)
    case("requests at once", status == 429 and "at once" in body["error"]["message"], body)
    for c in held:
        c.close()
    case("ends with 0", s.stop() == 0)


def start_fails(tokamak, model, code, word, *flags, env=None):
    r = subprocess.run([tokamak, "serve", model, *flags], capture_output=True, timeout=60, env={**os.environ, **(env or {})})
    case(f"serve {' '.join(flags)[:60]}: exit {code}", r.returncode == code and word in r.stderr.decode(), (r.returncode, r.stderr))


def starting(tokamak, model):
    start_fails(tokamak, model, 2, "no API key", "--host", "0.0.0.0", "--port", "0")
    start_fails(tokamak, model, 2, "usage", "--port", "0", "--model", "x")
    start_fails(tokamak, model, 2, "did you mean --max-num-seqs", "--max-num-seq", "4")
    start_fails(tokamak, model, 2, "TOKAMAK_PORT", env={"TOKAMAK_PORT": "x"})
    start_fails(tokamak, model, 4, "does not fit", "--port", "0", "--kv-cache-tokens", "900000000")
    s = Server(tokamak, model, "--host", "0.0.0.0", "--allow-no-api-key", "--served_model_name", "a", "--alias", "b", "--cors-origin", "http://x",
               "--max_model_len", "256", env={"TOKAMAK_MAX_NUM_SEQS": "3"})
    _, _, body = s.get("/v1/models")
    case("names and context", [m["id"] for m in body["data"]] == ["a", "b"] and body["data"][0]["max_model_len"] == 256, body)
    _, h, _ = s.get("/health", headers={"Origin": "http://x"})
    case("CORS for who is allowed", h.get("access-control-allow-origin") == "http://x", h)
    _, h, _ = s.get("/health", headers={"Origin": "http://y"})
    case("no CORS for who is not", "access-control-allow-origin" not in h, h)
    status, h, _ = s.request("OPTIONS", CHAT, headers={"Origin": "http://x"})
    case("a preflight", status == 204 and "POST" in h["access-control-allow-methods"], (status, h))
    busy = subprocess.run([tokamak, "serve", model, "--port", str(s.port)], capture_output=True, timeout=60)
    case("a port that is taken", busy.returncode == 1 and b"cannot listen" in busy.stderr, busy)
    case("ends with 0", s.stop() == 0)


def loading(tokamak, model):
    """What is asked before the model is there: the page and the metrics answer, the rest says 503, until all say 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen, done = {}, threading.Event()

    def poll():
        while not done.is_set():
            for path in ("/", "/metrics", "/health", "/v1/models", "/expert_load"):
                c = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                try:
                    c.request("GET", path)
                    seen.setdefault(path, []).append(c.getresponse().status)
                except ConnectionRefusedError:
                    pass
                c.close()

    t = threading.Thread(target=poll)
    t.start()
    s = Server(tokamak, model, "--port", str(port))
    s.wait_for(lambda: seen.get("/expert_load", [0])[-1] == 200, 20)
    done.set()
    t.join()
    print("while loading:", {path: len([x for x in codes if x == 503]) for path, codes in seen.items()}, flush=True)
    case("page and metrics are there from the first", set(seen["/"]) | set(seen["/metrics"]) == {200}, seen)
    case("the rest waits for the model", all(set(seen[p]) <= {503, 200} and seen[p] == sorted(seen[p], reverse=True)
                                              and seen[p][-1] == 200 for p in ("/health", "/v1/models", "/expert_load")), seen)
    case("ends with 0", s.stop() == 0)


def put_zone(root, zone, **files):
    os.makedirs(os.path.join(root, zone), exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(root, zone, name), "w", encoding="ascii") as f:
            f.write(text + "\n")


def energy(tokamak, model):
    """Counters as Linux has them, in a folder of ours; a name that metrics have to escape; no page."""
    with tempfile.TemporaryDirectory() as root:
        put_zone(root, "intel-rapl:0", name="package-0", max_energy_range_uj="262143328850", energy_uj="262143000000")
        put_zone(root, "intel-rapl:0:0", name="dram", max_energy_range_uj="65712999613", energy_uj="1")
        put_zone(root, "intel-rapl:0:1", name="core", max_energy_range_uj="65712999613", energy_uj="1")
        s = Server(tokamak, model, "--powercap-dir", root, "--no-web-page", "--served-model-name", 'a"b\\c\nd')
        case("no page when it is turned off", s.get("/")[0] == 404 and s.get("/", headers={"If-None-Match": "*"})[0] == 404)
        put_zone(root, "intel-rapl:0", energy_uj="49671150")  # it has wrapped
        case("energy is counted", s.wait_for(lambda: abs(s.metric("energy_joules_total") - 50) < 1e-6, 10), s.metric("energy_joules_total"))
        _, _, text = s.get("/metrics")
        lines = text.decode().split("\n")
        case("by domain and device", [line.split("{")[1].split("} ")[0].split("engine=", 1)[1] for line in lines if line.startswith("tokamak:power_watts")] ==
             ['"0",domain="cpu",device="package-0"', '"0",domain="dram",device="package-0"'], [line for line in lines if "power" in line])
        case("and is valid", s.metric("energy_valid") == 2, s.metric("energy_valid"))
        case("a name is escaped", all(r'{model_name="a\"b\\c\nd",' in line for line in lines if line and line[0] != "#"), lines[:4])
        put_zone(root, "intel-rapl:0:0", energy_uj="what")
        case("what cannot be read any more is said", s.wait_for(lambda: s.metric("energy_valid") < 2, 10), s.metric("energy_valid"))
        case("and the server goes on", s.post(CHAT, SHORT)[0] == 200)
        case("ends with 0", s.stop() == 0)


def draining(tokamak, model):
    """SIGTERM with requests running, waiting and on their way: all that got in are answered."""
    s = Server(tokamak, model, "--max-num-seqs", "4", "--shutdown-timeout", "300")
    results, lock = [], threading.Lock()

    def client(i):
        try:
            if i % 2:
                status, events = s.stream(CHAT, {**LONG, "max_tokens": 24})
                r = (status, events[-1][1] if status == 200 else events)
            else:
                status, _, body = s.post(CHAT, {**LONG, "max_tokens": 24})
                r = (status, "[DONE]" if status == 200 and body["usage"]["completion_tokens"] == 24 else body)
        except ConnectionRefusedError:
            r = ("refused", None)
        except Exception as e:
            r = ("lost", repr(e))
        with lock:
            results.append(r)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(24)]
    for t in threads:
        t.start()
    s.wait_for(lambda: s.metric("num_requests_running") >= 1, 10)
    s.signal(signal.SIGTERM)
    for t in threads:
        t.join()
    done = sum(r == (200, "[DONE]") for r in results)
    case("every request that got in is answered", done + sum(r[0] == "refused" for r in results) == len(results) and done >= 4,
         [r for r in results if r != (200, "[DONE]")])
    case("and the server ends with 0", s.stop(told=True) == 0)
    s = Server(tokamak, model, "--shutdown-timeout", "0.5")
    c, data = begin_stream(s, {**LONG, "n": 40, "max_tokens": 480})
    began = time.monotonic()
    s.signal(signal.SIGINT)
    data = read_all(c, data)
    case("an answer that takes too long is told so", b"shutting down" in data, data[-200:])
    case("in time", s.stop(told=True) == 0 and time.monotonic() - began < 60, time.monotonic() - began)
    c.close()
    s = Server(tokamak, model)
    c, _ = begin_stream(s, {**LONG, "n": 40, "max_tokens": 480})
    s.signal(signal.SIGTERM)
    time.sleep(0.3)
    case("health says so while draining", status_of(drain_health(s)) in (503, None))
    s.signal(signal.SIGTERM)
    case("a second signal ends it at once", s.stop(10, told=True) == 5)
    c.close()


def drain_health(s):
    try:
        return s.raw(http_bytes("GET", "/health"), 2)
    except ConnectionRefusedError:
        return b""


def main():
    tokamak, model = sys.argv[1:3]
    n = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, n + 200)), hard))
    s = Server(tokamak, model, "--max-num-waiting", "8192", "--max-num-seqs", "64")
    parts = [("garbage", lambda: garbage(s)), ("bodies", lambda: bodies(s)), ("leaving", lambda: leaving(s)),
             ("slow_reader", lambda: slow_reader(s)), ("idle", lambda: idle(s, n)),
             ("stop", lambda: case("SIGTERM ends it with 0", s.stop() == 0)), ("keys", lambda: keys(tokamak, model)),
             ("starting", lambda: starting(tokamak, model)), ("loading", lambda: loading(tokamak, model)),
             ("energy", lambda: energy(tokamak, model)),
             ("draining", lambda: draining(tokamak, model))]
    for name, part in parts:
        began = time.monotonic()
        try:
            part()
        except Exception as e:
            case(f"{name} ran to its end", False, repr(e))
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    finish()


main()
