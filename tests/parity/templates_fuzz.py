# SPDX-License-Identifier: MIT
"""Our chat-template interpreter against jinja2 under transformers' environment, on random small templates.

    python templates_fuzz.py PROBE [--n 200000] [--seed 1] [--show 20] [--save FILE]

PROBE is build/tests/parity/template_probe. Needs jinja2 and transformers. Every template is rendered by both with
one context; the texts must be the same bytes, or both must fail. Python's outcome is not compared where it prints
an address ("<generator object at 0x...>") or runs longer than two seconds, ours not where it says that something is
not supported (counted and shown by message). Prints the counts and the first differences; --save writes them all.
"""

import argparse
import collections
import json
import random
import re
import resource
import signal
import subprocess
import sys
import warnings

warnings.simplefilter("ignore")
UNICODE = [
    "é",
    "ß",
    "ǆ",
    "İ",
    "ﬁ",
    "Σ",
    "ς",
    "😀",
    "👩‍🚀",
    "你好",
    "\u0301",
    "\u2028",
    "\u00a0",
    "\u3000",
    "½",
    "٣",
    "Ⅷ",
    "\x00",
    "\x1f",
    "\x7f",
    "\x85",
    "\ufeff",
    "\u200b",
    "ŉ",
    "ΐ",
    "ꟓ",
    "𝒳",
    "ª",
    "²",
]
WORDS = [
    "a",
    "b",
    "ab",
    "x",
    "Hello",
    "hello world",
    " ",
    "  two  ",
    "\n",
    "line\nline2\n",
    "\t",
    "a,b,,c",
    "<b>",
    "&amp;",
    "'q'",
    '"dq"',
    "it's \"x\"",
    "back\\slash",
    "{{ }}",
    "%s",
    "{}",
    "{0} {x}",
    "100%",
    "12",
    " 7 ",
    "-3",
    "1.5",
    "1e3",
    "0x1F",
    "true",
    "None",
    "the quick brown fox",
    "UPPER",
    "MiXed CaSe",
    "user",
    "assistant",
    "</think>",
    "a.b",
    "_u",
    "foo-bar (baz)",
    "-",
    "+",
    "1_000",
    "inf",
    "nan",
    "\r\n",
    "z\rz",
    "see http://a.com/b, x@y.org",
]
INTS = [0, 1, 2, 3, -1, -2, 5, 7, 10, 16, 100, 255, 256, 257, 1000, -17, 2**31, 2**53 + 1, 10**15, 2**63 - 1, -(2**63)]
FLOATS = [
    0.0,
    -0.0,
    0.5,
    1.0,
    1.5,
    2.5,
    -2.5,
    0.1,
    1e16,
    1e15,
    123456789.125,
    1e-5,
    1e-4,
    1e100,
    3.14159,
    -7.25,
    1e22,
    5e-324,
    2.675,
    1 / 3,
    1e300,
]
ODD = "é\n"
KEYS = ["name", "age", "role", "content", "x", "items", "tags", "get", "a", "type", "N", "_p", "é", "values"]


class Gen:
    """Random templates. Expressions have a wanted type, now and then another."""

    def __init__(self, r):
        self.r = r
        self.wild = r.choice([0, 0, 0.01, 0.05])  # how often another type than the wanted one comes
        self.parens = r.choice([0.3, 0.9, 0.9, 1])
        self.names = []  # names the template has set, with their types
        self.depth = 0
        self.in_loop = 0
        self.macros = []
        self.in_macro = 0

    def pick(self, *options):
        return self.r.choice(options)

    def word(self):
        r = self.r
        s = r.choice(WORDS)
        if r.random() < 0.3:
            s += r.choice(UNICODE)
        if r.random() < 0.15:
            s += r.choice(WORDS)
        return s

    def value(self, d=2):
        r = self.r
        k = r.random()
        if k < 0.4 or d == 0:
            return r.choice(
                [self.word(), self.word(), r.choice(INTS), r.choice(FLOATS), True, False, None, "", r.randrange(20)]
            )
        if k < 0.5:
            return [self.value(d - 1) for _ in range(r.randrange(4))]
        if k < 0.7:
            return {r.choice(KEYS): self.value(d - 1) for _ in range(r.randrange(4))}
        return r.choice([self.word(), r.randrange(100), r.choice(FLOATS)])

    def context(self):
        r = self.r
        people = [
            {
                "name": self.word(),
                "age": r.choice([1, 2, 3, 3, 20, 2.5]),
                "role": r.choice(["user", "User", "tool", "a"]),
                "tags": [self.word() for _ in range(r.randrange(3))],
                "ok": r.random() < 0.5,
                "n": {"x": r.randrange(5), "y": self.word()},
            }
            for _ in range(r.randrange(5))
        ]
        for p in people:
            if r.random() < 0.2:
                p.pop(r.choice(list(p)))
        return {
            "s": self.word(),
            "t": self.word(),
            "e": "",
            "n": r.choice(INTS),
            "m": r.randrange(-9, 10),
            "f": r.choice(FLOATS),
            "g": r.choice(FLOATS) * r.choice([1, -1, 3]),
            "b": r.random() < 0.5,
            "nil": None,
            "l": [r.randrange(-5, 10) for _ in range(r.randrange(6))],
            "ls": [self.word() for _ in range(r.randrange(5))],
            "lf": [r.choice(FLOATS) for _ in range(r.randrange(4))],
            "ld": people,
            "d": {r.choice(KEYS): self.value(1) for _ in range(r.randrange(5))},
            "dd": {"x": {"y": {"z": self.word()}, "l": [1, [2, 3]]}, "k": self.value(2)},
            "mix": [self.value(1) for _ in range(r.randrange(5))],
        }

    # ---- literals

    def string_literal(self, s=None):
        r = self.r
        s = self.word() if s is None else s
        q = r.choice("'\"")
        out = ""
        for c in s:
            if c == q or c == "\\":
                out += "\\" + c
            elif c == "\n" and r.random() < 0.7:
                out += "\\n"
            elif c == "\t" and r.random() < 0.5:
                out += "\\t"
            elif c == "\x00":
                out += r.choice(["\\0", "\\x00"])
            elif ord(c) > 127 and r.random() < 0.2:
                out += "\\u%04x" % ord(c) if ord(c) < 0x10000 else "\\U%08x" % ord(c)
            else:
                out += c
        if r.random() < 0.04:
            out += r.choice(["\\q", "\\é", "\\101", "\\x41", "\\\n", "\\8", "\\'", "\\a\\b\\f\\v\\r", "\\u00e9"])
        lit = q + out + q
        if r.random() < 0.03:
            lit += " " + self.string_literal("z")
        return lit

    def int_literal(self):
        r = self.r
        return r.choice(
            [
                str(abs(r.choice(INTS[:-1]))),
                str(r.randrange(10)),
                str(r.randrange(10)),
                "-" + str(r.randrange(9)),
                "1_000",
                "0x1f",
                "0b101",
                "0o17",
                "00",
                "-1",
            ]
        )

    def float_literal(self):
        return self.r.choice(
            ["0.5", "1.0", "2.5", "1e3", "1.5e-3", "1E+16", "12_3.4_5", "0.1", "3.14", "1e-5", "100.0", "0.0", "1e16"]
        )

    # ---- expressions by type

    def expr(self, kind, d):
        r = self.r
        if r.random() < self.wild:
            kind = r.choice(["str", "int", "float", "bool", "list", "dict", "any"])
        if kind == "any":
            kind = r.choice(["str", "str", "int", "float", "bool", "list", "dict", "other"])
        if d <= 0:
            return self.leaf(kind)
        out = getattr(self, "x_" + kind)(d - 1)
        k = r.random()
        if k < 0.8 and not re.fullmatch(r"[\w.]+|\([^()]*\)|'[^']*'", out) and r.random() < self.parens:
            out = f"({out})"
        k = r.random()
        if k < 0.05:
            pass
        elif k < 0.08:
            e = self.expr("bool", d - 2)
            out = f"({out} if {e} else {self.expr(kind, d - 1)})" if r.random() < 0.7 else f"({out} if {e})"
        elif k < 0.11:
            out = f"({out}) | default({self.expr(kind, d - 2)}{r.choice(['', ', true', ', boolean=True'])})"
        elif k < 0.13:
            out = f"({out} {r.choice(['and', 'or'])} {self.expr(kind, d - 1)})"
        elif k < 0.14:
            out = f"[{out}, {self.leaf('any')}][{r.choice(['0', '-2', '1', 'm'])}]"
        return out

    def leaf(self, kind):
        r = self.r
        own = [n for n, k in self.names if k == kind or k == "any"]
        if own and r.random() < 0.4:
            return r.choice(own)
        if kind == "str":
            return r.choice(
                [
                    "s",
                    "t",
                    "e",
                    self.string_literal(),
                    self.string_literal(),
                    "dd.x.y.z",
                    "ls[0]" if self.wild else "s",
                    "u" if self.wild else "t",
                ]
            )
        if kind == "int":
            return r.choice(
                [
                    "n",
                    "m",
                    "m",
                    "l[0]",
                    self.int_literal(),
                    self.int_literal(),
                    "dd.x.l[0]",
                    "l.0",
                    "u" if self.wild else "m",
                    "dd['x'].l[1][0]",
                ]
            )
        if kind == "float":
            return r.choice(["f", "g", self.float_literal(), self.float_literal(), "lf[0]"])
        if kind == "bool":
            return r.choice(["b", "true", "false", "True", "False", "nil", "not b", "ld[0].ok" if self.wild else "b"])
        if kind == "list":
            return r.choice(
                [
                    "l",
                    "ls",
                    "lf",
                    "ld",
                    "mix",
                    "[]",
                    "[1, 2, 3]",
                    "['b', 'A', 'a']",
                    "(1, 2)",
                    "()",
                    "range(4)",
                    "ld[0].tags" if self.wild else "l",
                    "dd.x.l",
                    "d.items()",
                    "[[2, 'b'], [1, 'a']]",
                ]
            )
        if kind == "dict":
            return r.choice(
                [
                    "d",
                    "dd",
                    "dd.x",
                    "{}",
                    "{'a': 1, 'b': 'x'}",
                    "ld[0]" if self.wild else "d",
                    "{'B': 2, 'a': 1}",
                    "dict(a=1, z='q')",
                    "{1: 'i', 'k': none}",
                ]
            )
        if not self.wild and r.random() < 0.7:
            return r.choice(
                [
                    "nil",
                    "none",
                    "u",
                    "d.u",
                    "(1,)",
                    "dd.k",
                    "range(2, 8, 3)",
                    "messages",
                    "mix",
                    "ld",
                    "d['u']",
                    "dd.x.l[1]",
                ]
            )
        return r.choice(
            [
                "u",
                "nil",
                "none",
                "None",
                "u.v",
                "d.u",
                "d['u']",
                "s.u",
                "l[99]",
                "dd.k",
                "(1,)",
                "range(2, 8, 3)",
                "namespace(a=1)",
                "ns",
                "ns.a",
                "loop.index",
                "loop",
                "d.get",
                "s.upper",
                "self",
                "caller",
                "varargs",
                "kwargs",
                "messages",
                "cycler",
                "dict",
            ]
        )

    def x_other(self, d):
        r = self.r
        if r.random() < 0.4:
            return self.leaf("other")
        return r.choice(
            [
                lambda: f"{self.expr('list', d)}[{self.expr('int', d)}]",
                lambda: f"{self.expr('dict', d)}.{r.choice(KEYS)}",
                lambda: f"{self.expr('dict', d)}[{self.expr('str', d)}]",
                lambda: f"{self.expr('dict', d)}.get({self.expr('str', d)}{r.choice(['', ', 1', ', none'])})",
                lambda: f"{self.expr('list', d)} | {r.choice(['first', 'last', 'min', 'max', 'sum', 'length', 'random' if 0 else 'first'])}",
                lambda: f"{self.expr('dict', d)} | attr({self.string_literal(r.choice(KEYS))})",
                lambda: f"{self.expr('str', d)}[{self.expr('int', d)}]",
                lambda: f"{self.expr('any', d)}.{r.choice(['__class__', '_x', 'append', 'pop', 'update', 'upper', 'items', 'name', 'index'])}",
                lambda: f"{self.call_macro(d)}",
                lambda: f"{self.expr('list', d)} | {r.choice(['min', 'max'])}({r.choice(['attribute=%s' % self.attr(), 'true', 'case_sensitive=true'])})",
                lambda: f"{self.expr('list', d)} | sum({r.choice(['attribute=%s' % self.attr(), 'start=%s' % self.expr('any', 1), 'start=10'])})",
            ]
        )()

    def attr(self):
        return self.string_literal(
            self.r.choice(["name", "age", "role", "n.x", "n.y", "tags.0", "x", "0", "1", "name,age", "role, name"])
        )

    def call_macro(self, d):
        r = self.r
        if not self.macros:
            return self.leaf("any")
        name, params = r.choice(self.macros)
        args = [self.expr("any", d - 1) for _ in range(max(0, len(params) + r.choice([-1, 0, 0, 0, 1])))]
        args = args[: r.randrange(len(args) + 1)] if r.random() < 0.4 else args
        kw = (
            [f"{r.choice(params + ['zz'])}={self.expr('any', d - 1)}" for _ in range(r.choice([0, 0, 0, 1, 2]))]
            if params
            else []
        )
        tail = [f"*{self.expr('list', 1)}"] if r.random() < 0.05 else []
        tail += [f"**{self.expr('dict', 1)}"] if r.random() < 0.05 else []
        return f"{name}({', '.join(args + kw + tail)})"

    def x_str(self, d):
        r = self.r
        e = lambda k="str": self.expr(k, d)
        small = lambda: r.choice(["0", "1", "2", "3", "-1", "5", "10", "m"])
        return r.choice(
            [
                lambda: self.leaf("str"),
                lambda: self.leaf("str"),
                lambda: f"{e()} + {e()}",
                lambda: f"{e()} ~ {e('any')}",
                lambda: f"{e('any')} ~ {e('any')} ~ {e()}",
                lambda: f"{e()} * {r.choice(['0', '1', '2', '3', '-1'])}",
                lambda: f"{e()}[{r.choice(['', small()])}:{r.choice(['', small()])}{r.choice(['', '', ':' + r.choice(['', '-1', '2', '-2', '0'])])}]",
                lambda: f"{e()}[{small()}]",
                lambda: f"{e()}.{r.choice(['upper', 'lower', 'title', 'capitalize', 'swapcase', 'casefold', 'strip', 'lstrip', 'rstrip'])}()",
                lambda: f"{e()}.{r.choice(['strip', 'lstrip', 'rstrip'])}({r.choice([e(), 'none', self.string_literal('ab '), self.string_literal(ODD)])})",
                lambda: f"{e()}.replace({e()}, {e()}{r.choice(['', '', ', ' + small()])})",
                lambda: f"{e()}.{r.choice(['removeprefix', 'removesuffix'])}({e()})",
                lambda: f"{e()}.{r.choice(['center', 'ljust', 'rjust'])}({r.choice(['5', '8', '13', '0', '-1'])}{r.choice(['', ', %s' % self.string_literal(r.choice(['*', 'é', 'ab', ''])) ])})",
                lambda: f"{e()}.zfill({r.choice(['5', '10', '0'])})",
                lambda: f"{e()}.expandtabs({r.choice(['', '4', '0'])})",
                lambda: f"{e()}.join({e('list')})",
                lambda: f"{self.format_call(d)}",
                lambda: f"{self.percent(d)}",
                lambda: f"{e()} | {r.choice(['upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'escape', 'e', 'safe', 'reverse', 'striptags', 'urlencode', 'forceescape'])}",
                lambda: f"{e('any')} | {r.choice(['upper', 'lower', 'title', 'capitalize', 'trim', 'string', 'escape', 'length', 'list', 'urlencode', 'pprint', 'wordcount'])}",
                lambda: f"{e()} | replace({e()}, {e()}{r.choice(['', ', ' + small(), ', count=1'])})",
                lambda: f"{e()} | trim({e()})",
                lambda: f"{e()} | indent({r.choice(['', '2', '0', self.string_literal('> '), '2, true', '2, blank=true', 'first=True, width=3'])})",
                lambda: f"{e()} | truncate({r.choice(['5', '3, true', '10, false, %s' % self.string_literal('.'), '8, leeway=0', '6, True, %s, 1' % self.string_literal(''), ''])})",
                lambda: f"{e()} | center({r.choice(['', '9', '0'])})" if r.random() < 0.3 else e(),
                lambda: (
                    f"{e()} | wordwrap({r.choice(['5', '10, false', '7, true, %s' % self.string_literal('|'), '12, break_on_hyphens=false'])})"
                    if r.random() < 0.3
                    else e()
                ),
                lambda: (
                    f"{e()} | urlize({r.choice(['', '5', 'nofollow=true', 'rel=%s' % self.leaf('str')])})"
                    if r.random() < 0.3
                    else e()
                ),
                lambda: f"{e('list')} | join{r.choice(['', '(%s)' % e(), '(%s, attribute=%s)' % (e(), self.attr()), '(attribute=%s)' % self.attr()])}",
                lambda: f"{e('any')} | tojson{self.tojson_args(d)}",
                lambda: f"{e('dict')} | xmlattr{r.choice(['', '(false)'])}" if r.random() < 0.3 else e(),
                lambda: f"{e('int')} | filesizeformat{r.choice(['', '(true)'])}" if r.random() < 0.4 else e(),
                lambda: f"{e()}.split({e()})[{small()}]",
                lambda: f"{e()}.split({r.choice(['', self.string_literal('</think>')])})[{r.choice(['0', '-1'])}]",
                lambda: f"{e()}.partition({e()})[{r.choice(['0', '1', '2', '-1'])}]",
                lambda: f"cycler({e()}, {e()}).next()" if r.random() < 0.2 else e(),
                lambda: f"joiner({e()})()" if r.random() < 0.2 else e(),
            ]
        )()

    def tojson_args(self, d):
        r = self.r
        args = []
        if r.random() < 0.4:
            args.append("indent=" + r.choice(["0", "1", "2", "4", "none", "'\\t'", "-1", "true", "'..'"]))
        if r.random() < 0.3:
            args.append("ensure_ascii=" + r.choice(["true", "false", "1"]))
        if r.random() < 0.2:
            args.append("separators=" + r.choice(["(',', ':')", "[', ', ': ']", "(',',)", "none", "(' ; ', ' = ')"]))
        if r.random() < 0.2:
            args.append("sort_keys=" + r.choice(["true", "false"]))
        r.shuffle(args)
        if not args:
            return r.choice(["", "()", "", "(true)"] if r.random() < 0.1 else [""])
        return "(" + ", ".join(args) + ")"

    def format_spec(self):
        r = self.r
        fill = r.choice(["", "", "", "*<", "é>", "0^", "=", "<", ">", "^", "x="])
        return (
            fill
            + r.choice(["", "", "+", "-", " "])
            + r.choice(["", "", "#"])
            + r.choice(["", "", "0"])
            + r.choice(["", "", "5", "12"])
            + r.choice(["", "", ",", "_"])
            + r.choice(["", "", ".2", ".0", ".3", ".10"])
            + r.choice(["", "d", "s", "f", "e", "g", "x", "X", "b", "o", "%", "n", "c", "G", "E", "F", "q"])
        )

    def format_call(self, d):
        r = self.r
        e = lambda k="any": self.expr(k, d - 1)
        parts, n = "", 0
        for _ in range(r.randrange(1, 4)):
            parts += r.choice(["", "a", " ", "{{", "}}", "é"])
            field = r.choice(["", "", "", "0", "1", "x", "x.a", "x[a]", "0[0]", "0.a", "", "z"])
            conv = r.choice(["", "", "", "!r", "!s", "!a"])
            spec = r.choice(
                ["", "", ":" + self.format_spec(), ":" + self.format_spec(), ":{}" if r.random() < 0.2 else ""]
            )
            parts += "{" + field + conv + spec + "}"
            n += 1
        if r.random() < 0.03:
            parts += r.choice(["{", "}", "{0", "{!}", "{:", "{0!}"])
        args = [e(r.choice(["any", "str", "int", "float"])) for _ in range(r.randrange(max(1, n - 1), n + 2))]
        if r.random() < 0.4:
            args.append("x=" + e())
        return f"{self.string_literal(parts)}.format({', '.join(args)})"

    def percent(self, d):
        r = self.r
        e = lambda k="any": self.expr(k, d - 1)
        parts, args, named = "", [], r.random() < 0.15
        for _ in range(r.randrange(1, 4)):
            parts += r.choice(["", "a", " ", "%%", "é"])
            c = r.choice("sssddiouxXeEfFgGcra%")
            flags = (
                r.choice(["", "", "", "-", "+", " ", "0", "#", "-0", "+0"])
                + r.choice(["", "", "5", "10", "3"])
                + r.choice(["", "", ".2", ".0", ".", ".5"])
            )
            parts += (
                "%"
                + (r.choice(["(a)", "(b)"]) if named else "")
                + flags
                + r.choice(["", "", "", "l"]) * (r.random() < 0.1)
                + c
            )
            if c != "%":
                args.append(e("str" if c in "sra" else "float" if c in "eEfFgG" else "int"))
        if r.random() < 0.05:
            args.append(e())
        fmt = self.string_literal(parts)
        if named:
            return f"{fmt} % {{'a': {e('int')}, 'b': {e()}}}"
        if r.random() < 0.5:
            return f"{fmt} | format({', '.join(args)})"
        if len(args) == 1 and r.random() < 0.5:
            return f"{fmt} % {args[0]}"
        return f"{fmt} % ({', '.join(args)}{',' if len(args) == 1 else ''})"

    def x_int(self, d):
        r = self.r
        e = lambda k="int": self.expr(k, d)
        return r.choice(
            [
                lambda: self.leaf("int"),
                lambda: self.leaf("int"),
                lambda: f"{e()} {r.choice(['+', '-', '*', '//', '%'])} {e()}",
                lambda: f"{e()} {r.choice(['+', '-', '*', '//', '%'])} {r.choice(['2', '3', '-2', '7', '0', '10'])}",
                lambda: f"{e()} ** {r.choice(['0', '1', '2', '3'])}",
                lambda: f"-{e()}",
                lambda: f"+{e()}",
                lambda: f"{e('any')} | length",
                lambda: f"{e('list')} | count",
                lambda: f"{e('any')} | int{r.choice(['', '(5)', '(default=-1)', '(0, 16)', '(base=2)', '(3, 0)'])}",
                lambda: f"{e('str')} | int{r.choice(['', '(5)', '(0, 16)', '(base=8)'])}",
                lambda: f"{e()} | abs",
                lambda: f"{e('list')} | sum",
                lambda: f"{e('float')} | round | int",
                lambda: f"{e('str')}.{r.choice(['find', 'rfind', 'count', 'index', 'rindex'])}({e('str')}{r.choice(['', '', ', 1', ', -3', ', 0, 2', ', 1, none'])})",
                lambda: f"{e('list')}.{r.choice(['index', 'count'])}({e('any')})",
                lambda: f"{e('str')} | wordcount",
                lambda: f"({e()} if {e('bool')} else {e()})",
                lambda: f"{e()} + {e('bool')}",
            ]
        )()

    def x_float(self, d):
        r = self.r
        e = lambda k="float": self.expr(k, d)
        return r.choice(
            [
                lambda: self.leaf("float"),
                lambda: self.leaf("float"),
                lambda: f"{e()} {r.choice(['+', '-', '*', '/', '//', '%'])} {self.expr(r.choice(['int', 'float']), d)}",
                lambda: f"{e('int')} {r.choice(['/', '/', '*', '//', '%'])} {self.expr(r.choice(['int', 'float']), d)}",
                lambda: f"{e()} ** {r.choice(['2', '-1', '0.5', '0'])}",
                lambda: f"{e('int')} ** {r.choice(['-1', '-2', '0.5'])}",
                lambda: f"-{e()}",
                lambda: f"{e()} | round{r.choice(['', '(1)', '(2)', '(-1)', '(2, %s)' % self.string_literal('floor'), '(1, %s)' % self.string_literal('ceil'), '(0, method=%s)' % self.string_literal('common')])}",
                lambda: f"{e('any')} | float{r.choice(['', '(1.5)', '(default=2)'])}",
                lambda: f"{e()} | abs",
                lambda: f"{e('str')} | float",
            ]
        )()

    def x_bool(self, d):
        r = self.r
        e = lambda k="any": self.expr(k, d)
        num = lambda: self.expr(r.choice(["int", "float", "int"]), d)
        test1 = [
            "defined",
            "undefined",
            "none",
            "string",
            "mapping",
            "sequence",
            "iterable",
            "number",
            "integer",
            "float",
            "boolean",
            "true",
            "false",
            "callable",
            "odd",
            "even",
            "lower",
            "upper",
            "escaped",
            "filter",
            "test",
            "None" if r.random() < 0.1 else "none",
        ]
        return r.choice(
            [
                lambda: self.leaf("bool"),
                lambda: f"{num()} {r.choice(['==', '!=', '<', '<=', '>', '>='])} {num()}",
                lambda: f"{num()} {r.choice(['<', '<=', '==', '>'])} {num()} {r.choice(['<', '<=', '!='])} {num()}",
                lambda: f"{e('str')} {r.choice(['==', '!=', '<', '<=', '>', '>='])} {e('str')}",
                lambda: f"{e()} {r.choice(['==', '!=', '<', '>='])} {e()}",
                lambda: f"{e('list')} {r.choice(['==', '<', '!='])} {e('list')}",
                lambda: f"{e('str')} {r.choice(['in', 'not in'])} {e('str')}",
                lambda: f"{e()} {r.choice(['in', 'not in'])} {e(r.choice(['list', 'dict']))}",
                lambda: f"not {e('bool')}",
                lambda: f"{e('bool')} {r.choice(['and', 'or'])} {e('bool')}",
                lambda: f"{e()} is {r.choice(['', 'not '])}{r.choice(test1)}",
                lambda: f"{e()} is {r.choice(['', 'not '])}{r.choice(test1)}",
                lambda: f"{e('int')} is {r.choice(['odd', 'even', 'divisibleby 3', 'divisibleby(2)'])}",
                lambda: f"{e()} is {r.choice(['', 'not '])}{r.choice(['eq', 'ne', 'lt', 'gt', 'ge', 'le', 'equalto', 'sameas', 'in', 'greaterthan'])}({e()})",
                lambda: f"{e('int')} is {r.choice(['eq', 'ne', 'lt', 'gt', 'ge'])} {r.choice(['1', 'm', '[1]', self.string_literal('a')])}",
                lambda: f"{e('str')}.{r.choice(['startswith', 'endswith'])}({r.choice([e('str'), '(%s, %s)' % (e('str'), e('str')), e('str') + ', 1', e('str') + ', 0, -1'])})",
                lambda: f"{e('str')}.{r.choice(['isdigit', 'isalpha', 'isalnum', 'isspace', 'isupper', 'islower', 'istitle', 'isnumeric', 'isdecimal', 'isidentifier', 'isascii', 'isprintable'])}()",
                lambda: f"{e('str')} is in {e('list')}",
                lambda: f"({e('bool')} if {e('bool')} else {e('bool')})",
            ]
        )()

    def x_list(self, d):
        r = self.r
        e = lambda k="list": self.expr(k, d)
        small = lambda: r.choice(["0", "1", "2", "-1", "-2", "3", "m"])
        tests = lambda: r.choice(
            [
                "'odd'",
                "'even'",
                "'defined'",
                "'string'",
                "'number'",
                "'none'",
                "'mapping'",
                "'in', [1, 2, 'a']",
                "'eq', 1",
                "'equalto', 'user'",
                "'ge', 2",
                "'divisibleby', 2",
                "'undefined'",
                "'nosuch'",
            ]
        )
        return r.choice(
            [
                lambda: self.leaf("list"),
                lambda: self.leaf("list"),
                lambda: "["
                + ", ".join(self.expr("any", d - 1) for _ in range(r.randrange(4)))
                + r.choice(["", "", ","]) * 0
                + "]",
                lambda: "(" + "".join(self.expr("any", d - 1) + ", " for _ in range(r.randrange(3))) + ")",
                lambda: f"{e()} + {e()}",
                lambda: f"{e()} * {r.choice(['0', '1', '2'])}",
                lambda: f"{e()}[{r.choice(['', small()])}:{r.choice(['', small()])}{r.choice(['', '', ':' + r.choice(['', '-1', '2', '-2', '0'])])}]",
                lambda: f"{e('str')}.{r.choice(['split', 'rsplit'])}({r.choice(['', e('str'), e('str') + ', 1', 'none, 1', 'maxsplit=1', e('str') + ', maxsplit=2', 'sep=' + e('str')])})",
                lambda: f"{e('str')}.splitlines({r.choice(['', 'true', 'keepends=True'])})",
                lambda: f"{e('str')}.{r.choice(['partition', 'rpartition'])}({e('str')})",
                lambda: f"{e('any')} | list",
                lambda: f"{e()} | reverse{r.choice([' | list', ''])}",
                lambda: f"{e()} | sort{r.choice(['', '(true)', '(reverse=true)', '(case_sensitive=true)', '(attribute=%s)' % self.attr(), '(true, true, %s)' % self.attr()])}",
                lambda: f"{e()} | unique{r.choice(['', '(true)', '(attribute=%s)' % self.attr()])}{r.choice([' | list', ''])}",
                lambda: f"{e()} | map({r.choice([self.string_literal('upper'), self.string_literal('string'), self.string_literal('tojson'), 'attribute=%s' % self.attr(), 'attribute=%s, default=%s' % (self.attr(), self.leaf('any')), self.string_literal('int'), self.string_literal('default') + ', 1', self.string_literal('replace') + ', %s, %s' % (self.leaf('str'), self.leaf('str')), self.string_literal('length'), self.string_literal('trim')])}){r.choice([' | list', ''])}",
                lambda: f"{e()} | {r.choice(['select', 'reject'])}{r.choice(['', '(%s)' % tests()])}{r.choice([' | list', ''])}",
                lambda: f"{e()} | {r.choice(['selectattr', 'rejectattr'])}({self.attr()}{r.choice(['', ', ' + tests()])}){r.choice([' | list', ''])}",
                lambda: f"{e()} | groupby({r.choice([self.attr(), self.attr() + ', default=0', self.attr() + ', case_sensitive=true', '0'])}){r.choice([' | list', ''])}",
                lambda: f"{e()} | batch({r.choice(['2', '3', '2, 0', '3, fill_with=%s' % self.string_literal('-'), '1'])}) | list",
                lambda: f"{e()} | slice({r.choice(['2', '3', '2, 0', '3, fill_with=%s' % self.string_literal('-')])}) | list",
                lambda: f"{e('dict')} | dictsort{r.choice(['', '(true)', '(false, %s)' % self.string_literal('value'), '(reverse=true)', '(by=%s)' % self.string_literal('value')])}",
                lambda: f"{e('dict')} | items{r.choice([' | list', ''])}",
                lambda: f"{e('dict')}.{r.choice(['items', 'keys', 'values'])}(){r.choice([' | list', ''])}",
                lambda: f"range({r.choice(['3', '5', 'm', '1, 4', '5, 0, -2', '0', '0, 10, 3', 'l | length'])})",
                lambda: f"{e('dict')} | list",
                lambda: f"{e('str')} | list",
                lambda: f"{e('dict')}.{r.choice(['copy', 'keys'])}()",
            ]
        )()

    def x_dict(self, d):
        r = self.r
        k = r.random()
        if k < 0.4:
            return self.leaf("dict")
        if k < 0.8:
            pairs = [
                f"{self.string_literal(r.choice(KEYS)) if r.random() < 0.8 else self.expr(r.choice(['int', 'bool', 'any']), 1)}: {self.expr('any', d - 1)}"
                for _ in range(r.randrange(4))
            ]
            return "{" + ", ".join(pairs) + "}"
        if k < 0.95:
            kw = ", ".join(
                dict.fromkeys(
                    f"{x}={self.expr('any', d - 1)}" for x in r.sample(["name", "age", "x", "a"], r.randrange(3))
                )
            )
            base = self.expr(r.choice(["dict", "list"]), d - 1) if r.random() < 0.5 else ""
            return f"dict({', '.join(x for x in (base, kw) if x)})"
        return f"({self.expr('list', d)} | groupby({self.attr()}) | first)"

    # ---- statements

    def tag(self, inner):
        r = self.r
        a, b = r.choice(["", "", "", "-", "-", "+"]), r.choice(["", "", "", "-", "-", "+"])
        pad = r.choice([" ", " ", " ", "", "  ", "\n "])
        if not pad and inner[:1] in "+-":
            pad = " "
        return "{%" + a + pad + inner + pad + b + "%}"

    def var(self, inner):
        r = self.r
        a, b = r.choice(["", "", "", "-", "-", "+"]), r.choice(["", "", "", "-"])
        pad = r.choice([" ", " ", " ", "", "\n"])
        if not pad and (inner[:1] in "+-{" or inner[-1:] in "}-"):
            pad = " "
        return "{{" + a + pad + inner + pad + b + "}}"

    def text(self):
        r = self.r
        return "".join(
            r.choice(
                [
                    "",
                    " ",
                    "\n",
                    "  ",
                    "\n\n",
                    "\t",
                    "text",
                    "a b",
                    "é",
                    "<|im_start|>",
                    "\n    ",
                    "}",
                    "{ { ",
                    "%}",
                    "#}",
                    "{" if self.wild else "$",
                    "\r\n",
                    "\u2028",
                    "\x0b",
                    "'",
                    "- ",
                    "\u00a0",
                ]
            )
            for _ in range(r.randrange(3))
        )

    def block(self, d, n=None):
        r = self.r
        saved = list(self.names)
        out = ""
        for _ in range(n if n is not None else r.choice([1, 1, 2])):
            out += self.text() + self.statement(d)
        out += self.text()
        self.names = saved if r.random() < 0.7 else self.names
        return out

    def target(self):
        name = self.r.choice(["v", "w", "i", "k", "x1", "item", "s", "n"])
        return name

    def statement(self, d):
        r = self.r
        k = r.random()
        if k < 0.42 or d <= 0:
            return self.var(self.expr(r.choice(["any", "any", "str", "list"]), r.choice([0, 1, 1, 1, 2, 2])))
        if k < 0.56:
            return self.s_set(d)
        if k < 0.70:
            return self.s_for(d)
        if k < 0.80:
            return self.s_if(d)
        if k < 0.86:
            return self.s_macro(d)
        if k < 0.89:
            return self.s_call(d)
        if k < 0.92:
            f = r.choice(
                [
                    "upper",
                    "trim",
                    "indent(2)",
                    "replace('a', 'b')",
                    "length",
                    "upper | trim",
                    "title",
                    "tojson",
                    "escape",
                    "default('x')",
                    "list",
                    "reverse",
                    "wordcount",
                    "center(12)",
                    "truncate(5)",
                ]
            )
            return self.tag("filter " + f) + self.block(d - 1) + self.tag("endfilter")
        if k < 0.95:
            return r.choice(
                [
                    lambda: "{#"
                    + r.choice(["", "-", "+"])
                    + self.text().replace("#}", "")
                    + r.choice(["", "-", "+"])
                    + "#}",
                    lambda: self.tag("raw") + r.choice(["{{ x }}", "{% if %}", "text", " {# #} "]) + self.tag("endraw"),
                    lambda: "{# {{ s }} {% if %} #}",
                ]
            )()
        if k < 0.97:
            return (
                self.tag("generation") + self.block(d - 1) + self.tag("endgeneration")
                if r.random() < 0.7
                else self.tag("with " + r.choice(["v = %s" % self.expr("any", 1), "v = 1, w = v", "i, k = (1, 2)", ""]))
                + self.block(d - 1)
                + self.tag("endwith")
            )
        if k < 0.98 and self.in_loop:
            return self.tag(r.choice(["break", "continue"]))
        if k < 0.982:
            name = "b%d" % r.randrange(9999)
            return self.tag("block " + name) + self.block(d - 1, 1) + self.tag("endblock" + r.choice(["", " " + name]))
        if k < 0.985:
            return self.tag("print " + self.expr("any", 1))
        if k < 0.99:
            return (
                self.var("raise_exception(" + self.expr("str", 1) + ")")
                if r.random() < 0.3
                else self.var("strftime_now('%Y')")
            )
        return (
            self.tag("autoescape false") + self.block(d - 1) + self.tag("endautoescape")
            if r.random() < 0.3
            else self.var(self.expr("str", 1))
        )

    def s_set(self, d):
        r = self.r
        name, kind = self.target(), r.choice(["any", "str", "int", "list", "dict"])
        k = r.random()
        if k < 0.5:
            out = self.tag(f"set {name} = {self.expr(kind, 2)}")
        elif k < 0.6:
            out = self.tag(f"set {name}, {self.target()} = {r.choice([self.expr('list', 1), '1, 2', '(s, t)', 'l'])}")
        elif k < 0.75:
            out = (
                self.tag(f"set {name}{r.choice(['', '', ' | upper', ' | trim | length', ' | indent(3)'])}")
                + self.block(d - 1)
                + self.tag("endset")
            )
            kind = "str"
        elif k < 0.87:
            self.names.append(("ns", "any"))
            return self.tag(
                f"set ns = namespace({r.choice(['a=1', 'a=0, b=[]', '', 'd', 'a=s', '{%s: 2}' % self.string_literal('a')])})"
            )
        elif not any(n == "ns" for n, _ in self.names):
            return (
                self.tag("set ns = namespace(a=1, b=[])")
                + self.text()
                + self.tag("set ns.a = ns.a + m")
                + self.var("ns.a")
            )
        else:
            return self.tag(
                f"set ns.{r.choice(['a', 'b', 'c', '_x'] if r.random() < 0.1 else ['a', 'b'])} = {r.choice([self.expr('any', 1), 'ns.a + 1', 'ns.b + [1]', 'ns.a ~ s'])}"
            )
        self.names.append((name, kind))
        return out

    def s_for(self, d):
        r = self.r
        saved = list(self.names)
        recursive = r.random() < 0.06
        if r.random() < 0.25:
            t1, t2 = r.sample(["k", "v", "i", "j"], 2)
            head = f"for {t1}, {t2} in {r.choice(['d.items()', 'd | dictsort', 'ls | batch(2)', self.expr('list', 1), '[(1, 2), (3, 4)]', 'd | items', 'ld | groupby(%s)' % self.attr()])}"
            self.names += [(t1, "str"), (t2, "any")]
        else:
            t = r.choice(["i", "item", "v", "x1", "m"])
            src = r.choice(
                [
                    "l",
                    "ls",
                    "ld",
                    "mix",
                    "range(3)",
                    "d",
                    "s",
                    self.expr("list", 2),
                    self.expr("list", 1),
                    self.expr("any", 1),
                    "l[:2]",
                    "ld",
                ]
            )
            head = f"for {t} in {src}"
            self.names.append((t, "any"))
        if r.random() < 0.15:
            head += f" if {self.expr('bool', 1)}"
        if recursive:
            head += " recursive"
        self.in_loop += 1
        body = self.block(d - 1)
        if r.random() < 0.5:
            body += self.var(
                r.choice(
                    [
                        "loop.index",
                        "loop.index0",
                        "loop.first",
                        "loop.last",
                        "loop.length",
                        "loop.revindex",
                        "loop.revindex0",
                        "loop.depth",
                        "loop.depth0",
                        "loop.previtem",
                        "loop.nextitem",
                        "loop.cycle('a', 'b')",
                        "loop.changed(s)",
                        "loop.changed(loop.index // 2)",
                        "loop.previtem is defined",
                        "loop.nextitem is undefined",
                        "loop",
                        "loop.nosuch",
                        "loop['index']",
                        "', ' if not loop.last",
                        "loop.index is odd",
                    ]
                )
            )
        if recursive:
            body += (
                self.tag("if loop.depth < 3")
                + self.var(r.choice(["loop([1])", "loop(l[:1])", "loop(ls)", "loop(i.tags)", "loop(s)"]))
                + self.tag("endif")
            )
        if r.random() < 0.1:
            body += (
                self.tag("if " + self.expr("bool", 1))
                + self.tag(r.choice(["break", "continue"]))
                + self.tag("endif")
                + self.text()
            )
        self.in_loop -= 1
        out = self.tag(head) + body
        if r.random() < 0.15:
            out += self.tag("else") + self.block(d - 1, 1)
        self.names = saved
        return out + self.tag("endfor")

    def s_if(self, d):
        r = self.r
        out = self.tag("if " + self.expr(r.choice(["bool", "bool", "any"]), 2)) + self.block(d - 1)
        while r.random() < 0.25:
            out += self.tag("elif " + self.expr("bool", 2)) + self.block(d - 1, 1)
        if r.random() < 0.4:
            out += self.tag("else") + self.block(d - 1, 1)
        return out + self.tag("endif")

    def s_macro(self, d):
        r = self.r
        if d < 2 or len(self.macros) > 3:
            return self.var(self.call_macro(2))
        name = r.choice(["f", "g2", "render", "mac"])
        params = r.sample(["p", "q", "s", "n", "o"], r.randrange(4))
        first = r.randrange(len(params) + 1)
        sig = ", ".join(p if i < first else f"{p}={self.expr('any', 1)}" for i, p in enumerate(params))
        saved, loops = list(self.names), self.in_loop
        self.names += [(p, "any") for p in params]
        self.in_loop = 0
        body = self.block(d - 1)
        body += r.choice(
            [
                "",
                "",
                "{{ varargs }}",
                "{{ kwargs }}",
                "{{ caller() }}",
                "{{ caller }}",
                "{{ varargs | join('-') }}{{ kwargs | tojson }}",
                "{{ caller(1) }}",
                "{% if caller %}{{ caller() }}{% endif %}",
                "{{ p }}",
                "{{ mac.name }}",
            ]
        )
        self.names, self.in_loop = saved, loops
        out = self.tag(f"macro {name}({sig})") + body + self.tag("endmacro")
        self.macros.append((name, params))
        return out + (self.text() + self.var(self.call_macro(2)) if r.random() < 0.8 else "")

    def s_call(self, d):
        r = self.r
        if not self.macros:
            return self.s_macro(d)
        call = self.call_macro(2)
        saved, loops = list(self.names), self.in_loop
        self.in_loop = 0
        sig = r.choice(["", "", "(a)", "(a, b=2)", "()"])
        self.names += [("a", "any")] if "a" in sig else []
        out = self.tag(f"call{sig} {call}") + self.block(d - 1) + self.tag("endcall")
        self.names, self.in_loop = saved, loops
        return out

    def template(self):
        out = self.block(self.r.choice([1, 2, 2, 3]), self.r.choice([1, 1, 2, 2, 3]))
        if self.r.random() < 0.08:
            out = self.mutate(out)
        return out

    def mutate(self, s):
        """A few tokens deleted, doubled, swapped or replaced: mostly templates that no parser takes."""
        r = self.r
        toks = re.findall(r"\{[%{#][-+]?|[-+]?[%}#]\}|\w+|\s+|'[^']*'|\"[^\"]*\"|.", s, re.S)
        for _ in range(r.randrange(1, 3)):
            if not toks:
                break
            i = r.randrange(len(toks))
            k = r.random()
            if k < 0.3:
                del toks[i]
            elif k < 0.5:
                toks.insert(i, r.choice(toks))
            elif k < 0.7:
                toks[i] = r.choice(toks)
            else:
                toks.insert(
                    i,
                    r.choice(
                        [
                            "(",
                            ")",
                            "[",
                            "]",
                            "|",
                            ".",
                            ",",
                            ":",
                            "is",
                            "not",
                            "in",
                            "if",
                            "else",
                            "~",
                            "*",
                            "**",
                            "//",
                            "-",
                            "+",
                            "=",
                            "==",
                            "and",
                            "loop",
                            "'",
                            "{%",
                            "%}",
                            "{{",
                            "}}",
                            "{#",
                            "#}",
                            "-%}",
                            "endif",
                            "endfor",
                            "recursive",
                            "1",
                            "1.",
                            ".5",
                            "0x",
                            "!",
                            "<",
                            ";",
                            "e",
                            "é",
                            "_",
                        ]
                    ),
                )
        return "".join(toks)


class Reference:
    def __init__(self):
        from transformers.utils import chat_template_utils as u

        self.compile = u._cached_compile_jinja_template
        # transformers builds an environment for each template; one is enough here, and ten times as fast
        self.env = self.compile("").environment

    def render(self, template, context):
        try:
            signal.setitimer(signal.ITIMER_REAL, 2)
            try:
                return True, self.env.from_string(template).render(**context)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        except Timeout:
            return None, "timeout"
        except BaseException as e:  # noqa: BLE001: any failure is a failure
            if isinstance(e, KeyboardInterrupt):
                raise
            return False, f"{type(e).__name__}: {e}"


class Timeout(BaseException):
    pass


def on_alarm(*_):
    raise Timeout


def probe(program, records):
    run = subprocess.run(
        [program],
        input="\n".join(json.dumps(x) for x in records) + "\n",
        capture_output=True,
        text=True,
        errors="surrogatepass",
    )
    if run.returncode != 0:
        open("/tmp/templates_fuzz_crash.jsonl", "w").write("\n".join(json.dumps(x) for x in records))
        sys.exit(
            f"probe: exit {run.returncode}: {run.stderr[:2000]} after {run.stdout.count(chr(10))} lines; see /tmp/templates_fuzz_crash.jsonl"
        )
    return [json.loads(x) for x in run.stdout.split("\n")[:-1]]


ADDRESS = re.compile(
    r"0x[0-9a-f]{6,}|<class |<built-in|<bound|<function|object at|<(generator|method|Undefined|range|Cycler|Joiner)|x0 ta tcejbo",
    re.I,
)


def compare(want, got):
    """'same', 'different', or why the pair is not compared."""
    ok, text = want
    unsupported = isinstance(got, dict) and re.search(
        r"not supported|does not fit in 64 bits|64-bit integer", got["error"]
    )
    if ok is None:
        return "not compared: Python took too long"
    if unsupported:
        return "same" if not ok else "unsupported: " + re.sub(r"line \d+: |'.*'|\d\d\d+", "", got["error"])[:60]
    if ok and isinstance(got, str):
        if text == got:
            return "same"
        return "not compared: address" if ADDRESS.search(text) else "different"
    if ok != isinstance(got, str):
        if ok and "cannot be sliced" in got["error"]:
            return "not compared: slice of a constant without items, an error only where it is none"
        if text.startswith(("MemoryError", "OverflowError: cannot fit")):
            return "not compared: Python's memory"
        return "different"
    return "same"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("probe")
    p.add_argument("--n", type=int, default=200000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--show", type=int, default=20)
    p.add_argument("--save")
    a = p.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, on_alarm)
    sys.setrecursionlimit(1000)
    ref = Reference()
    counts, shown, n_ok = collections.Counter(), 0, 0
    save = open(a.save, "w") if a.save else None
    for start in range(0, a.n, 2000):
        records = []
        for i in range(start, min(a.n, start + 2000)):
            r = random.Random(f"{a.seed}:{i}")
            g = Gen(r)
            records.append({"template": g.template(), "context": g.context()})
        want = [ref.render(x["template"], json.loads(json.dumps(x["context"]))) for x in records]
        got = probe(a.probe, records)
        assert len(got) == len(records), (len(got), len(records))
        for x, w, o in zip(records, want, got):
            verdict = compare(w, o)
            counts[verdict] += 1
            n_ok += bool(w[0])
            if verdict == "different":
                if shown < a.show:
                    shown += 1
                    print(f"--- {x['template']!r}\n    python {w}\n    ours   {o!r}", flush=True)
                if save:
                    save.write(json.dumps({**x, "want": w, "got": o}) + "\n")
                    save.flush()
    for k, n in counts.most_common():
        print(f"{n:8} {k}")
    print(f"{n_ok} of {a.n} templates render in Python")
    return counts["different"] > 0


if __name__ == "__main__":
    sys.exit(main())
