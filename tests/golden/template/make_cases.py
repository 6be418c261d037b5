# SPDX-License-Identifier: MIT
"""Makes cases.jsonl and chats.jsonl: small templates, contexts and what jinja2 renders under transformers' environment.

    python3 -m venv .venv && .venv/bin/pip install jinja2 transformers
    .venv/bin/python tests/golden/template/make_cases.py

Each line is {"t": template, "r": [[context, want], ...]}: want is the text, null where rendering fails, or
{"raise": message} where the template raises. A context that is a number is one of the first line's list.
test_text_template.c replays them. expressions.txt has an expression a line, chats/ the look-alikes of published
templates; the rest is below and from templates_fuzz.py.
"""

import json
import random
import signal
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "parity"))
import templates_fuzz  # noqa: E402
import templates_parity  # noqa: E402

CTX = {
    "s": "Hello World",
    "t": "  it's \"two\"\n lines ",
    "u8": "Größe 你好 😀 ﬁ ß",
    "e": "",
    "n": 7,
    "m": -3,
    "big": 9007199254740993,
    "f": 2.5,
    "g": -0.0,
    "h": 1e16,
    "b": True,
    "nil": None,
    "l": [3, 1, 2],
    "ls": ["b", "A", "a", "c"],
    "mix": [1, "a", None, 2.5, True, [1], {"k": 1}],
    "ld": [
        {"name": "Ann", "age": 3, "role": "user", "n": {"x": 1}},
        {"name": "bob", "age": 1, "role": "User", "n": {"x": 2}},
        {"name": "Cy", "age": 3, "role": "tool"},
    ],
    "d": {"b": 1, "a": [1, 2], "C": {"x": None}, "items": "shadow", "é": "ü"},
    "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}],
    "nan": 1.5,
    "deep": {"a": {"b": {"c": [1, {"d": "end"}]}}},
}
TEMPLATES = [
    # whitespace
    "  {% if b %}\n  yes\n  {% endif %}\n end",
    "a\n  {%- if b %} x {%- endif %}\n b",
    "{% if b -%}\n\n  x\n {%- endif -%}\n\n y",
    "  {%+ if b %}x{% endif +%}\n y",
    "{{ s }}\n{{- s -}}\n {{ s }}\n",
    "  {# note #}\n x\n  {#- note -#}  y",
    "a {# c #} b\n{# c #}\nd",
    "{#+ c +#}\n x",
    "x{%- raw %} {{ s }} {% if %} {# {%- endraw %} y",
    "  {% raw -%}\n  a{% endraw %}\nb",
    "\r\n{% if b %}\r\n x\r{% endif %}\r\ny\n",
    "a\n\n",
    "\n\n{{ s }}\n\n",
    "{% set x = 1 %}\n  {% set y = 2 %}  \n{{ x }}{{ y }}",
    "\u00a0{% if b %}x{% endif %}",
    "\t{% if b %}\tx\n\t{%- endif %}",
    "x\u2028 {%- if b %} y{% endif %}",
    "{%for i in l%}{{i}}{%endfor%}",
    "{% if b %}a{% else %}\nb{% endif %}\n",
    "  x {% if b %} \n y",
    "{{ '{{' }} {{ '%}' }} {{ \"#}\" }}",
    "{{\n s\n}}{{-\n s\n-}} ",
    "{ { s } } {% raw %}{{ s }}{% endraw %} }} %} #}",
    # loops
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}",
    "{% for i in l %}{{ loop.previtem }}-{{ loop.nextitem }},{% endfor %}",
    "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }} {% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}",
    "{% for i in l %}{% break %}{% else %}else{% endfor %}",
    "{% for i in l %}{% continue %}{% else %}else{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% else %}else{% endfor %}",
    "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k in d %}{{ k }}{% endfor %}",
    "{% for c in u8 %}[{{ c }}]{% endfor %}",
    "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}",
    "{% for i in n %}{% endfor %}",
    "{% for i in u %}x{% else %}e{% endfor %}",
    "{% for i in nil %}{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
    "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}",
    "{% for i in l %}{% set outer = loop %}{% for j in ls %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3, 'c': []}]}]}] recursive %}{{ loop.depth }}{{ loop.depth0 }}:{{ x.v }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}",
    "{% for i in l %}{{ loop(l) }}{% endfor %}",
    "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 0, -2) | list }}{{ range(0) | list }}{{ range(1, 4) }}",
    "{{ range(100001) | length }}",
    "{{ range(1, 2, 0) }}",
    "{% for i in l %}{{ loop }}{% endfor %}",
    "{% for i in l %}{{ loop.nosuch }}{{ loop.nosuch is defined }}{% endfor %}",
    "{% for i in l | sort %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for g, items in ld | groupby('age') %}{{ g }}:{{ items | length }} {% endfor %}",
    "{% for g in ld | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join(',') }} {% endfor %}",
    "{% set loop = 1 %}{% for i in l %}{{ loop.index }}{% endfor %}{{ loop }}",
    "{% for loop in l %}{% endfor %}",
    "{% for i in l %}{% set loop = 2 %}{% endfor %}",
    "{% break %}",
    "{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for a, b in ld | batch(2) if a %}{{ loop.previtem }}{% endfor %}",
    "{% for a, in [(1,)] %}{{ a }}{% endfor %}",
    "{% for in l %}{% endfor %}",
    "{% for i in 1, recursive %}{{ i }}{% endfor %}",
    "{{ [] | map('nosuch') | list }}{{ [] | select('nosuch') | list }}",
    "{{ [1, 2] | map(attribute='x.y') | first }}",
    "{{ ld | map(attribute='n.x') | first }}",
    # scopes
    "{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(x=0, y=[]) %}{% for i in l %}{% set ns.x = ns.x + i %}{% set ns.y = ns.y + [i] %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z is defined }}",
    "{% if b %}{% set x = 5 %}{% endif %}{{ x }}",
    "{% if nil %}{% set s = 5 %}{% endif %}{{ s }}",
    "{% for i in l %}{{ s }}{% set s = i %}{{ s }} {% endfor %}{{ s }}",
    "{{ x }}{% set x = 1 %}{{ x }}",
    "{{ s }}{% set s = 1 %}{{ s }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a, b = l %}",
    "{% set a = b = 1 %}",
    "{% set (a, b) = (1, (2, 3)) %}{{ a }}{{ b }}",
    "{% set x %}  body {{ s }}  {% endset %}[{{ x }}]",
    "{% set x | upper | trim %} body {{ s }} {% endset %}[{{ x }}]",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}",
    "{% set ns = namespace(_x=1) %}",
    "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set d.x = 1 %}",
    "{% set u.x = 1 %}",
    "{% with x = 1, y = x %}{{ x }}{{ y }}{% endwith %}{{ x }}",
    "{% with %}{% set s = 1 %}{{ s }}{% endwith %}{{ s }}",
    "{% set ns = namespace(a=1) %}{% macro m() %}{% set ns.a = 2 %}{% endmacro %}{{ m() }}{{ ns.a }}",
    "{{ namespace(a=1).a }}{{ namespace() is mapping }}",
    "{% set x = [] %}{% set _ = x.append(1) %}{{ x }}",
    "{{ dict(a=1, b=2) }}{{ dict([('x', 1)], y=2) }}{{ dict(d, b=5).b }}",
    "{{ dict(u) }}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{% set _ = c.reset() %}{{ c.current }}",
    "{% set j = joiner(', ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}",
    "{{ joiner()(1) }}",
    "{{ '<a <!-- b --> c> d <!-- e <f>' | striptags }}",
    # macros
    "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=3) }} {{ f(1, 2, 3) }} {{ f(b=1) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}",
    "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}",
    "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a=s, s=1) %}{{ a }}{{ s }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}body {{ s }}{% endcall %}",
    "{% macro f() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{% if caller %}{{ caller() }}{% else %}no{% endif %}{% endmacro %}{{ f() }}{% call f() %}y{% endcall %}",
    "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}",
    "{% macro f() %}x{% endmacro %}{{ f }}{{ f.name }}{{ f is callable }}",
    "{% macro f() %}{{ s }}{{ loc }}{% endmacro %}{% set loc = 1 %}{{ f() }}",
    "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}",
    "{% macro f(a, a) %}{% endmacro %}",
    "{% macro f(a=1, b) %}{% endmacro %}",
    "{{ kwargs }}{% macro f() %}{{ kwargs }}{% endmacro %}{{ f(a=1) }}",
    "{% macro f(caller) %}{{ caller() }}{% endmacro %}",
    "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'x': 2}) }}{{ f(*l) }}",
    "{% macro o() %}{% macro i() %}[{{ caller() }}]{% endmacro %}{% call i() %}z{% endcall %}{% endmacro %}{{ o() }}",
    "{% call s.upper() %}{% endcall %}",
    "{% call range(3) %}{% endcall %}",
    "{{ f(1) }}",
    "{{ s() }}",
    "{{ nil() }}",
    "{% macro f() %}a{% endmacro %}{{ f() ~ f() | length }}",
    # blocks
    "{% filter upper %}a {{ s }}{% endfilter %}",
    "{% filter upper | replace('A', 'b') | trim %} a {% endfilter %}",
    "{% filter length %}x{% endfilter %}",
    "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% block a %}x{{ s }}{% endblock %}{{ self.a() }}{{ self }}",
    "{% block a %}{% endblock a %}{% block a %}{% endblock %}",
    "{% generation %}g {{ s }}{% endgeneration %}!",
    "a\n  {% generation %}\n  b\n  {% endgeneration %}\nc",
    "{% for i in l %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}",
    "{% generation %}{% set s = 1 %}{{ s }}{% endgeneration %}{{ s }}",
    "{% for i in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}",
    "{% autoescape false %}<b>{% endautoescape %}",
    "{% print s, n %}",
    "{% include 'x' %}",
    "{% if nil %}{% include 'x' %}{% endif %}ok",
    "{% extends 'x' %}",
    "{% nosuch %}",
    # if
    "{% if 0 %}a{% elif '' %}b{% elif [] %}c{% else %}d{% endif %}",
    "{% if u %}a{% endif %}{% if not u %}b{% endif %}",
    "{% if b %}{{ s | nosuch }}{% endif %}",
    "{% if nil %}{{ s | nosuch }}{{ n is nosuch }}{% endif %}ok",
    "{{ s | nosuch if nil else 'ok' }}",
    "{{ s | nosuch }}",
    "{% if nil %}{% for i in l %}{{ i | nosuch }}{% endfor %}{% endif %}",
    # raise, errors
    "{{ raise_exception('Bad: ' ~ s) }}",
    "{% if messages | length > 1 %}{{ raise_exception(\"it's \\\"bad\\\"\n é\") }}{% endif %}",
    "{{ raise_exception() }}",
    "{{ strftime_now('%Y') | length }}{{ strftime_now('%%') }}",
    "[{{ strftime_now('%Z%z') }}]{{ strftime_now('%f') | length }}{{ strftime_now('é%') }}",
    "{{ strftime_now() }}",
    "{{ s",
    "{% if %}x{% endif %}",
    "{% if b %}",
    "{% endif %}",
    "{{ 1 + }}",
    "{{ (1 }}",
    "{{ 'open }}",
    "{{ a b }}",
    "{{ }}",
    "{% for x %}{% endfor %}",
    "{{ 1 = 2 }}",
    "{# open",
    "{% raw %}",
    "{{ s | }}",
    "{{ .5 }}",
    "{{ 1. }}",
    "{{ 5.x }}",
    "{{ l.0.1 }}",
    "{{ $ }}",
    "{{ 'line\\\njoined' }}",
    "{{ f(a=1, 2) }}",
    "{{ dict(a=1, a=2) }}",
    "{{ [1, 2 }}",
    "{{ {1} }}",
    "{% set 1 = 2 %}",
    "{% set true = 2 %}",
    "{{ true.x }}{{ none.x }}",
    "{{ True }}{{ None }}{{ False }}{{ NONE }}",
    "{{ not }}",
    "{{ x is }}",
    "{{ 'a' is in }}",
    "{{ é }}{% set é = 1 %}{{ é }}",
    "{{ a.é }}",
    "{{ _x }}",
    "{{ loop }}",
    "{{ loop.index }}",
    "{{ [range is defined, dict is defined, lipsum is defined] }}",
]
# As published templates are built, in our words: chats/NAME.jinja.
CHATS = ["chatml", "tools", "inst", "namespace", "macros", "dates"]
N_FUZZ, N_CHAT = 260, 14


def want(ref, template, context):
    import jinja2

    try:
        return ref.env.from_string(template).render(**context)
    except jinja2.exceptions.TemplateError as e:
        return {"raise": str(e)} if type(e) is jinja2.exceptions.TemplateError else None
    except Exception:  # noqa: BLE001: any failure is a failure
        return None


def own_templates():
    for line in (HERE / "expressions.txt").read_text().split("\n")[:-1]:
        yield "{{ " + line + " }}"
    yield from TEMPLATES


def write(name, rows):
    with open(HERE / name, "w") as f:
        for r in rows:
            f.write(json.dumps(r, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{name}: {sum(len(r.get('r', [])) for r in rows)} cases")


def main():
    signal.signal(signal.SIGALRM, templates_fuzz.on_alarm)
    ref = templates_fuzz.Reference()
    rows = [{"contexts": [CTX]}]
    n_fail = 0
    for t in own_templates():
        w = want(ref, t, CTX)
        n_fail += w is None
        if isinstance(w, str) and templates_fuzz.ADDRESS.search(w):
            print("left out, prints an address:", t)
            continue
        rows.append({"t": t, "r": [[0, w]]})
    i = taken = 0
    while taken < N_FUZZ:
        g = templates_fuzz.Gen(random.Random(f"golden:{i}"))
        i += 1
        t, c = g.template(), json.loads(json.dumps(g.context()))
        w = want(ref, t, c)
        c = {k: v for k, v in c.items() if k in t}
        if (
            not isinstance(w, str)
            or len(t) + len(json.dumps(c)) > 420
            or len(t) < 40
            or len(w) > 400
            or templates_fuzz.ADDRESS.search(w)
            or "strftime" in t
        ):
            continue
        if want(ref, t, c) != w:
            continue
        rows.append({"t": t, "r": [[c, w]]})
        taken += 1
    write("cases.jsonl", rows)
    print(f"{n_fail} of them fail")
    rows = []
    for name in CHATS:
        t = (HERE / "chats" / f"{name}.jinja").read_text()
        kwargs = (
            ["enable_thinking", "custom_tools", "date_string", "builtin_tools"] if name in ("tools", "dates") else []
        )
        pairs = []
        for k in range(10 * N_CHAT):
            q = json.loads(json.dumps(templates_parity.Conversation(random.Random(f"{name}:{k}"), kwargs, t).request()))
            c = templates_parity.context_of(q)
            c = {k: v for k, v in c.items() if k in t}
            w = want(ref, t, c)
            if len(json.dumps(c)) < 1600 and (isinstance(w, str) or k % 5 == 0) and len(pairs) < N_CHAT:
                pairs.append([c, w])
        rows.append({"t": t, "r": pairs})
    write("chats.jsonl", rows)


if __name__ == "__main__":
    main()
