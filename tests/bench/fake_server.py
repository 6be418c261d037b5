# SPDX-License-Identifier: MIT
"""An OpenAI-compatible server whose timing is known: the first token of an answer leaves TTFT seconds after
its request came, the others TPOT seconds apart. Tokens are words of "w0 w1 ...". It counts one token a word
(and OVERHEAD around a chat), remembers every request, and misbehaves for models that ask for it:

  http503   refuses                      cut       closes the connection in the middle
  apart     ends in an event of its own
  nofinish  ends without [DONE]          error     sends an error event in the middle
  badjson   sends an event that is none  mix       refuses every third request
  bytes     sends single bytes           nousage   never counts tokens
  textonly  takes no token ids           cache     says what it was asked before, a prefix cache that forgets nothing

  python3 tests/bench/fake_server.py [PORT] [TTFT_MS] [TPOT_MS]
"""
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OVERHEAD = 7


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a part waits 40 ms for an acknowledgement

    def log_message(self, *args):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [
                {"id": self.server.model, "object": "model", "meta": {"n_vocab": 5000}}]})
        else:
            self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        arrived = time.monotonic()
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(raw)
        chat = self.path == "/v1/chat/completions"
        if not chat and self.path != "/v1/completions":
            return self.answer(404, {"error": {"message": "no such path"}})
        with self.server.lock:
            self.server.n_post += 1
            number = self.server.n_post
            if body.get("stream"):
                self.server.requests.append({"body": body, "at": arrived,
                                             "headers": dict(self.headers.items())})
                self.server.active += 1
                self.server.most_active = max(self.server.most_active, self.server.active)
        try:
            self.respond(body, chat, arrived, number)
        finally:
            if body.get("stream"):
                with self.server.lock:
                    self.server.active -= 1

    def respond(self, body, chat, arrived, number):
        model = body["model"]
        if model == "http503" or (model == "mix" and body.get("stream") and number % 3 == 0):
            return self.answer(503, {"error": {"message": "too busy", "code": 503}})
        if model == "textonly" and isinstance(body.get("prompt"), list):
            return self.answer(400, {"error": {"message": "text only"}})
        if chat:
            n_prompt = OVERHEAD + sum(len(m["content"].split()) for m in body["messages"])
        else:
            prompt = body["prompt"]
            n_prompt = len(prompt) if isinstance(prompt, list) else len(prompt.split())
        found = self.server.found(body) if model == "cache" else None
        n_out = body.get("max_completion_tokens") or body.get("max_tokens")
        usage = {"prompt_tokens": n_prompt, "completion_tokens": n_out, "total_tokens": n_prompt + n_out}
        if found is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": found}
        if not body.get("stream"):
            value = {"choices": [{"index": 0, "finish_reason": "length"}]}
            if model != "nousage":
                value["usage"] = usage
            return self.answer(200, value)
        self.stream(model, chat, arrived, n_out, usage)

    def send_event(self, text, model):
        data = text.encode()
        parts = [data[i:i + 1] for i in range(len(data))] if model == "bytes" else [data]
        for part in parts:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.flush()

    def event(self, value, model):
        self.send_event(f"data: {json.dumps(value)}\n\n", model)

    def stream(self, model, chat, arrived, n_out, usage):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.send_event(": hello\n\n", model)
        if chat:  # names the role: no token
            self.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""},
                                     "finish_reason": None}]}, model)
        due = arrived + self.server.ttft
        for i in range(n_out):
            wait = due - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            due += self.server.tpot
            middle = i == n_out // 2
            if model == "cut" and middle:
                self.close_connection = True
                return
            if model == "error" and middle:
                self.event({"error": {"message": "out of memory", "code": 500}}, model)
            if model == "badjson" and middle:
                self.send_event("data: {not json\n\n", model)
            word = ("" if i == 0 else " ") + f"w{i}"
            finish = "length" if i == n_out - 1 and model not in ("nofinish", "apart") else None
            choice = {"index": 0, "finish_reason": finish}
            choice |= {"delta": {"content": word}} if chat else {"text": word}
            self.event({"choices": [choice]}, model)
        if model == "apart":
            self.event({"choices": [{"index": 0, "finish_reason": "length", **({"delta": {}} if chat else {"text": ""})}]},
                       model)
        if model != "nousage":
            self.event({"choices": [], "usage": usage}, model)
        if model != "nofinish":
            self.send_event("data: [DONE]\n\n", model)
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port=0, ttft=0.05, tpot=0.01):
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.ttft, self.tpot, self.model = ttft, tpot, "ok"
        self.reset()

    def handle_error(self, request, client_address):
        pass  # clients may go away

    def reset(self):
        self.requests, self.n_post, self.active, self.most_active = [], 0, 0, 0
        self.prompts = []

    def found(self, body):
        """Tokens at the start of the prompt that one before it had."""
        prompt = body.get("prompt") or [w for m in body["messages"] for w in m["content"].split()]
        with self.lock:
            same = [next((i for i, (a, b) in enumerate(zip(prompt, old)) if a != b), min(len(prompt), len(old)))
                    for old in self.prompts]
            self.prompts.append(prompt)
        return max(same, default=0)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self


if __name__ == "__main__":
    numbers = [float(x) for x in sys.argv[1:]] + [0, 50, 10][len(sys.argv) - 1:]
    server = Server(int(numbers[0]), numbers[1] / 1000, numbers[2] / 1000)
    print(f"listening on {server.url}", flush=True)
    server.serve_forever()
