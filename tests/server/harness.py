# SPDX-License-Identifier: MIT
"""What the server's tests share: starting a server, plain HTTP, streams, counting cases. Standard library only."""
import http.client
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time

passed = failed = 0
lock = threading.Lock()


def case(name, ok, detail=""):
    global passed, failed
    with lock:
        if ok:
            passed += 1
        else:
            failed += 1
            print(f"FAILED: {name}: {str(detail)[:600]}", flush=True)
    return ok


def finish():
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)


class Server:
    def __init__(self, tokamak, model, *flags, env=None):
        self.log = open(os.environ.get("TK_SERVER_LOG", os.devnull), "ab")
        self.process = subprocess.Popen(
            [tokamak, "serve", model, "--port", "0", *flags], stdout=subprocess.PIPE, stderr=self.log,
            env={**os.environ, **(env or {})})
        line = self.read_line(120)
        if not line.startswith("listening on http://"):
            raise RuntimeError(f"the server did not start: {line!r} {self.process.poll()}")
        self.host, self.port = line.strip()[len("listening on http://"):].rsplit(":", 1)
        self.port = int(self.port)

    def read_line(self, timeout):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        return self.process.stdout.readline().decode() if ready else ""

    def connect(self, timeout=60):
        s = socket.create_connection((self.host, self.port), timeout=timeout)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def request(self, method, path, body=None, headers=None, timeout=120):
        """status, headers, body (parsed when it is JSON)"""
        c = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        text = r.read()
        c.close()
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = text
        return r.status, {k.lower(): v for k, v in r.getheaders()}, parsed

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, body, **kw):
        return self.request("POST", path, body, **kw)

    def stream(self, path, body, headers=None, timeout=120):
        """status, list of (event or None, data parsed or text)"""
        c = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        c.request("POST", path, json.dumps({**body, "stream": True}), headers or {})
        r = c.getresponse()
        text = r.read().decode()
        c.close()
        if r.status != 200:
            return r.status, json.loads(text)
        return r.status, parse_events(text)

    def raw(self, data, wait=10, half_close=False):
        """Sends bytes, returns everything that comes until the server closes or wait has passed."""
        s = self.connect(timeout=wait)
        out = b""
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while True:
                part = s.recv(65536)
                if not part:
                    break
                out += part
        except (socket.timeout, ConnectionError):
            pass
        s.close()
        return out

    def metric(self, name):
        _, _, text = self.get("/metrics")
        total = None
        for line in text.decode().splitlines():
            if line.startswith(f"tokamak:{name}{{"):
                total = (total or 0) + float(line.rsplit(" ", 1)[1])
        return total

    def wait_for(self, what, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if what():
                return True
            time.sleep(0.05)
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=60, told=False):
        """Ends it by SIGTERM (unless it has been told to end already); the exit status."""
        if self.process.poll() is None and not told:
            self.signal(signal.SIGTERM)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.log.close()
        return status


def parse_events(text):
    events = []
    for block in text.split("\n\n"):
        name, data = None, None
        for line in block.split("\n"):
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                data = line[6:]
        if data is not None:
            events.append((name, data if data == "[DONE]" else json.loads(data)))
    return events


def http_bytes(method, path, body=b"", headers=()):
    head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n"
    for k, v in headers:
        head += f"{k}: {v}\r\n"
    if body:
        head += f"Content-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def status_of(data):
    try:
        return int(data.split(b" ", 2)[1])
    except (IndexError, ValueError):
        return None
