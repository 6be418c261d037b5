# SPDX-License-Identifier: MIT
"""Makes cases.jsonl and chats.jsonl: small templates, contexts and what jinja2 renders under transformers' environment.

    python3 -m venv .venv && .venv/bin/pip install jinja2 transformers
    .venv/bin/python tests/golden/template/make_cases.py

Each line is {"t": template, "r": [[context, want], ...]}: want is the text, null where rendering fails, or
{"raise": message} where the template raises. A context that is a number is one of the first line's list.
test_text_template.c replays them.
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
    "s": "Hello World", "t": "  it's \"two\"\n lines ", "u8": "Größe 你好 😀 ﬁ ß", "e": "", "n": 7, "m": -3, "big": 9007199254740993, "f": 2.5, "g": -0.0, "h": 1e16,
    "b": True, "nil": None, "l": [3, 1, 2], "ls": ["b", "A", "a", "c"], "mix": [1, "a", None, 2.5, True, [1], {"k": 1}],
    "ld": [{"name": "Ann", "age": 3, "role": "user", "n": {"x": 1}}, {"name": "bob", "age": 1, "role": "User", "n": {"x": 2}}, {"name": "Cy", "age": 3, "role": "tool"}],
    "d": {"b": 1, "a": [1, 2], "C": {"x": None}, "items": "shadow", "é": "ü"}, "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}],
    "nan": 1.5, "deep": {"a": {"b": {"c": [1, {"d": "end"}]}}},
}
EXPRESSIONS = r"""
1 + 2 * 3 - 4 // 3 | 7 // -2 | -7 // 2 | 7 % -3 | -7 % 3 | 7.5 % -2 | -7.5 // 2 | 2 ** 3 ** 2 | -2 ** 2 | 2 ** -1 | 7 / 2 | 6 / 2 | 1e16 | 1e15 | 1e-5 | 0.0001 | 123456789.125
-0.0 | 1_000 + 0x1f + 0b11 + 0o17 | big + 1 | n / 0 | n % 0 | h | g | f * 2 | 0.1 + 0.2 | 1.0 | 100.0 * 3 | 5 // 0.3 | 1 if b else 2 | 1 if nil | (1 if nil) is defined | not b | not e and n
1 < 2 < 3 | 1 < 3 > 2 | 3 > 2 > 2 | 1 == 1.0 == true | "a" < "b" | "a" < 1 | [1, 2] < [1, 3] | (1,) == [1] | {"a": 1} == {"a": 1.0} | 1 in l | 9 not in l | "ell" in s | 1 in s | "b" in d
nil in mix | n ~ m ~ nil ~ b ~ f ~ l | "a" "b" 'c' | "a" * 3 | [1] * 2 + [2] | (1, 2) + (3,) | l + ls | s + n | s + u | -u | u + 1 | u ~ "x" | u == v | u is defined | u.x | u is undefined
n and m | e or "x" | nil or e or 0 | b and "yes" or "no" | true and none | (none) | [] | () | (1,) | {} | [1, 2.0, "x", none, true] | {"a": [1, {"b": ()}]} | {1: 2, none: 3, "q'": '"'}
s[0] | s[-1] | s[99] | s[1:4] | s[::-1] | s[-3:] | s[:-3] | s[::2] | s[8:2:-2] | u8[6:8] | u8[::-1] | l[0] | l[-1] | l[5] | l[1:] | l[::-1] | l[:-1] | l[::0] | (1, 2, 3)[1:] | range(5)[1:4] | range(10)[::3]
nil[1:] | n[1:] | d[1:] | u[1:] | l["a"] | l[1.5] | l[true] | l[:nil] | l["x":] | d.b | d["b"] | d.missing | d.items() | d["items"]() | d.keys() | d.values() | d.get("b") | d.get("z") | d.get("z", 5) | d.copy()
deep.a.b.c[1].d | deep["a"].b["c"][0] | deep.a.x.y | l.append(1) | d.update({}) | d.pop("b") | s.__class__ | n.real | f.is_integer() | 3.0.is_integer() | ld.0.name | ld[0]["name"] | mix[5][0] | nil.x
"a\tb\n\x41\u00e9\U0001F600\'\"\\q\101" | 'single \' and " double' | u8 | t | "\u2028"
s.upper() | s.lower() | s.title() | s.capitalize() | s.swapcase() | u8.upper() | u8.casefold() | u8.title() | "ǆ".title() | "ΑΣ".lower() | "ŉ".upper() | t.strip() | t.lstrip() | t.rstrip() | "xxaxx".strip("x") | "abcba".lstrip("ab")
"a,b,,c".split(",") | " a  b ".split() | "a b c".split(none, 1) | " a b  ".split(none, 1) | " a b c ".rsplit(none, 1) | "a,b,c".rsplit(",", 1) | "a,b,c".split(",", maxsplit=1) | "a".split("") | "abc".split(sep="b") | "x</think>y</think>z".split("</think>")[-1] | "a\r\nb\x0bc\u2028d".splitlines() | "a\n\nb\n".splitlines(true)
"aXbXc".replace("X", "-") | "aXbXc".replace("X", "-", 1) | "abc".replace("", "-") | s.replace("o", "") | s.find("o") | s.rfind("o") | s.find("o", 5) | s.find("zz") | s.index("zz") | s.count("l") | s.count("") | u8.find("你") | s.startswith("He") | s.startswith(("x", "Hell")) | s.endswith("ld", 2) | s.endswith(1, 50) | s.startswith("l", 2) | s.removeprefix("Hello") | s.removesuffix("World")
", ".join(ls) | "-".join("abc") | ",".join(l) | "".join([]) | s.partition(" ") | s.rpartition("o") | s.partition("zz") | "7".zfill(3) | "-7".zfill(4) | "x".center(5, "*") | "é".ljust(4, ".") ~ "|" | "é".rjust(4) | "x".center(4, "ab") | "a\tb".expandtabs(4) | "12".isdigit() | "½".isnumeric() | "²".isdigit() | "a1".isalnum() | " ".isspace() | "Ab".istitle() | "a_b".isidentifier() | "é".isascii() | "\n".isprintable() | "AB".isupper() | "".islower()
"{} {} {}".format(1, "a", none) | "{1}{0}".format("a", "b") | "{0} {}".format(1) | "{} {0}".format(1) | "{x} {y!r}".format(x=1, y="q") | "{0[0]} {0[1]}".format(l) | "{0.a}".format(d) | "{:>5}|{:<5}|{:^5}".format(1, "a", "b") | "{:05d} {:+d} {:,}".format(42, 7, 1234567) | "{:.2f} {:e} {:g} {:%}".format(3.14159, 1234.5, 0.0001, 0.25) | "{:x} {:#x} {:b} {:o} {:X}".format(255, 255, 5, 8, 255) | "{:5s}|{:.2s}|".format("abc", "abc") | "{:-4}".format("a") | "{:05}".format("a") | "{{}} {}".format(1) | "{:{}}".format("a", 4) | "{!a}".format("é") | "{} ".format() | "{:d}".format("a") | "{:_}".format(1234567) | "{:10.3f}|".format(2.0) | "{:c}".format(65) | "{:012,}".format(1234) | "{:.3}".format(1.0) | "{:n}".format(5)
"%s %d %r" % ("a", 5, "b") | "%5.2f|%-5d|%05d|%+d" % (3.14159, 42, 42, 7) | "%x %X %o %#x" % (255, 255, 8, 255) | "%e %g %G" % (1234.5, 0.00001, 1e20) | "%%" % () | "%5%" % () | "%(a)s %(b)05.1f" % {"a": 1, "b": 2.25} | "%s" % u | "%d" % "a" | "%s" % (1, 2) | "%s %s" % (1,) | "%c%c" % (65, "é") | "%a" % "é" | "%s" % l | "%5s|%-5s|%.2s" % ("ab", "ab", "abc") | "%i" % 3.9 | "%s" % none
""".strip().split("\n")
FILTERS = r"""
-5 | abs ;; m | abs ;; f | abs ;; "x" | abs ;; d | attr("b") ;; ld[0] | attr("name") ;; s | attr("upper") ;; [1, 2, 3, 4, 5] | batch(2) | list ;; [1, 2, 3] | batch(2, "-") | list ;; s | capitalize ;; "ab" | center(6) ~ "|" ;; l | count
u | default("x") ;; nil | default("x") ;; nil | default("x", true) ;; e | d("x", boolean=true) ;; 0 | default(5) ;; d | dictsort ;; d | dictsort(true) ;; {"b": 1, "a": 2} | dictsort(by="value") ;; {"b": 1, "a": 2} | dictsort(false, "key", true) ;; d | dictsort(by="x")
"<a href='x'>&\"" | e ;; "<b>" | escape | upper ;; "<b>" | safe ~ "<i>" ;; ("<b>" | safe) + "<i>" ;; ("<b>" | e | upper) ~ ("<b>" | e | upper | e) ;; [("a<b" | e).split("&"), "<" | e | trim, ("<" | safe).replace("<", "<x>"), ("," | safe).join(["<", 1])] ;; "<b>" | e | forceescape ;; 1000 | filesizeformat ;; 1 | filesizeformat ;; 123456789 | filesizeformat(true) ;; l | first ;; [] | first ;; s | first ;; "1.5" | float ;; "x" | float ;; "x" | float(2) ;; "٣" | float ;; "inf" | float ;; nil | float
"%s is %d" | format("a", 5) ;; "%(a)s" | format(a=1) ;; ld | groupby("age") ;; ld | groupby("role") | list ;; ld | groupby("role", case_sensitive=true) ;; ld | groupby("n.x", default=0) | map("first") | list ;; ld | groupby("age") | map(attribute="list") | map("length") | list ;; t | indent ;; t | indent(2, true) ;; "a\n\nb" | indent(2, blank=true) ;; "a\nb" | indent("> ") ;; "a\nb" | indent(width=3, first=True)
"42" | int ;; "4.9" | int ;; "0x1f" | int(base=16) ;; "x" | int ;; "x" | int(-1) ;; 3.9 | int ;; -3.9 | int ;; "1_000" | int ;; nil | int ;; u | int ;; "-3\x1f" | float ;; "\u00a0٣\u2003" | int ;; "1_0" | float ;; "1 2" | int ;; "inf" | float | int ;; "inf" | int(3) ;; d | int(1, nil) ;; l | sort(nil) ;; (u | reverse) is defined ;; ([1], d) is filter ;; d | items | list ;; u | items | list ;; l | items ;; l | join ;; l | join(", ") ;; ld | join(", ", attribute="name") ;; [1, none, u] | join("-") ;; s | join("-") ;; l | last ;; [] | last ;; d | last ;; (l | map("string")) | last ;; l | length ;; u8 | length ;; n | length ;; u | length ;; d | length
s | list ;; d | list ;; n | list ;; s | lower ;; ld | map(attribute="name") | list ;; ld | map(attribute="n.x") | list ;; ld | map(attribute="n.x", default="-") | list ;; ls | map("upper") | join ;; l | map("string") | join("+") ;; ls | map("replace", "a", "z") | list ;; l | map("nosuch") | list ;; l | map ;; ld | map(attribute="q.x") | first ;; [[1, 2], [3]] | map("sum") | list ;; l | max ;; ls | max ;; ls | max(case_sensitive=true) ;; ld | max(attribute="age") ;; [] | max ;; [1, "a"] | max ;; l | min ;; mix | pprint
l | reject("odd") | list ;; mix | reject | list ;; ld | rejectattr("n") | list | length ;; ld | rejectattr("role", "equalto", "tool") | map(attribute="name") | list ;; "aXbX" | replace("X", "y") ;; "aXbX" | replace("X", "y", 1) ;; 5 | replace(5, 6) ;; s | reverse ;; l | reverse | list ;; d | reverse | list ;; 2.5 | round ;; 3.5 | round ;; 2.675 | round(2) ;; 1234 | round(-2) ;; 42.55 | round(1, "floor") ;; 42.55 | round(1, "ceil") ;; 5 | round ;; "x" | round ;; 2.5 | round | int
l | select("odd") | list ;; mix | select | list ;; mix | select("string") | list ;; [1, 2, 3, 4] | select("gt", 2) | list ;; [1, 2, 3] | select("in", [1, 3]) | list ;; ld | selectattr("n") | map(attribute="name") | list ;; ld | selectattr("role", "equalto", "user") | list | length ;; ld | selectattr("n.x", "gt", 1) | first ;; ld | selectattr ;; l | select("nosuch") | list ;; [1, 2, 3, 4, 5] | slice(2) | list ;; [1, 2, 3, 4, 5] | slice(3, "-") | list ;; l | slice(0) | list
l | sort ;; ls | sort ;; ls | sort(case_sensitive=true) ;; ls | sort(reverse=true) ;; ld | sort(attribute="age") | map(attribute="name") | list ;; ld | sort(attribute="age,name", reverse=true) | map(attribute="name") | list ;; [1, "a"] | sort ;; ld | sort(attribute="n.x") ;; 5 | string ;; l | string | length ;; "<p>a  b</p>\n<!-- c -->&lt;d&amp;" | striptags ;; l | sum ;; ld | sum(attribute="age") ;; [[1], [2]] | sum(start=[]) ;; ["a"] | sum ;; [0.5, 1] | sum(start=10)
"hello wORLD-foo (bar) [x] {y}" | title ;; t | trim ;; "xxaxx" | trim("x") ;; "hello big world" | truncate(9) ;; "hello big world" | truncate(9, true) ;; "hello big world" | truncate(9, false, "…", 0) ;; "short" | truncate(5) ;; "abcdefghijk" | truncate(5, leeway=0) ;; s | truncate(2) ;; u | truncate(5) ;; ["b", "B", "a", "b"] | unique | list ;; ["b", "B"] | unique(true) | list ;; ld | unique(attribute="age") | map(attribute="name") | list ;; mix | unique | list ;; s | upper
"the well-known--quick brownfoxjumps\n\nover" | wordwrap(7) ;; "a-b-c abcdefghijkl" | wordwrap(5, false) ;; "ab cd ef" | wordwrap(5, true, "|") ;; "ab-cd ef" | wordwrap(4, break_on_hyphens=false) ;; s | wordwrap(0) ;; "see (http://a.com/b_(c)), www.x.org. or <me@y.de> & mailto:z@q.io" | urlize ;; "http://example.com/long tel:12" | urlize(8, true, "_blank", "me", ["tel:"]) ;; "x" | urlize(rel=5)
[ld, deep, d] | pprint ;; {"text": "a long line of words that goes on and on until it is wider than eighty columns, and more"} | pprint ;; "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen\nnext" | pprint ;; {2: 1, "b": 2, none: 3, "a": 4} | pprint ;; (1,) | pprint ;; [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11111111111111, 22222222222222, 33333333333333], ("x" * 30, "y" * 40)] | pprint
"a b&c/é?" | urlencode ;; {"a b": 1, "c": "é&"} | urlencode ;; [("a", 1)] | urlencode ;; "hello, big-world foo" | wordcount ;; {"class": "a b", "id": none, "x": "<>"} | xmlattr ;; {"a": 1} | xmlattr(false) ;; {"a b": 1} | xmlattr
s | tojson ;; u8 | tojson ;; u8 | tojson(ensure_ascii=true) ;; "\x00\x1f\x7f\"\\/\u2028<>&'" | tojson ;; "\x7f\u2028" | tojson(ensure_ascii=true) ;; d | tojson ;; d | tojson(indent=2) ;; d | tojson(indent=0) ;; d | tojson(indent="\t") ;; d | tojson(sort_keys=true) ;; d | tojson(separators=(",", ":")) ;; d | tojson(indent=1, separators=(",", "="), sort_keys=true) ;; mix | tojson ;; [] | tojson(indent=2) ;; {} | tojson(indent=2) ;; [[]] | tojson(indent=2)
[1e16, 1e-5, -0.0, 1.0, 100.0, 0.1, 1e22, 1e300] | tojson ;; "inf" | float | tojson ;; {1: 2, none: 3, true: 4, 1.5: 5} | tojson ;; {(1, 2): 3} | tojson ;; u | tojson ;; [u] | tojson ;; l | map("string") | tojson ;; (1, 2) | tojson ;; range(3) | tojson ;; ("<b>" | safe) | tojson ;; big | tojson ;; d | tojson(true) ;; l | tojson(indent=-1) ;; {"b": 1, "a": 2} | tojson(sort_keys=true, indent=4)
n is odd ;; n is even ;; 9 is divisibleby 3 ;; 9 is divisibleby(2) ;; u is defined ;; nil is none ;; b is boolean ;; b is true ;; 1 is true ;; b is false ;; n is integer ;; b is integer ;; f is float ;; b is number ;; s is string ;; d is mapping ;; l is sequence ;; s is sequence ;; n is iterable ;; d is iterable ;; s.upper is callable ;; range is callable ;; s is lower ;; "ABC" is upper ;; 1 is in l ;; "a" is in "abc" ;; s is eq "Hello World" ;; 1 is sameas 1 ;; nil is sameas none ;; "<b>" | safe is escaped ;; "upper" is filter ;; "nope" is filter ;; "odd" is test ;; n is not odd ;; not n is odd ;; n is gt 5 ;; n is lessthan 5 ;; n is ge(7) and n is le 7 ;; n is nosuch ;; n is even is false ;; "x" is string and 1 is number
""".strip().split("\n")
TEMPLATES = [
    # whitespace
    "  {% if b %}\n  yes\n  {% endif %}\n end", "a\n  {%- if b %} x {%- endif %}\n b", "{% if b -%}\n\n  x\n {%- endif -%}\n\n y", "  {%+ if b %}x{% endif +%}\n y", "{{ s }}\n{{- s -}}\n {{ s }}\n", "  {# note #}\n x\n  {#- note -#}  y",
    "a {# c #} b\n{# c #}\nd", "{#+ c +#}\n x", "x{%- raw %} {{ s }} {% if %} {# {%- endraw %} y", "  {% raw -%}\n  a{% endraw %}\nb", "\r\n{% if b %}\r\n x\r{% endif %}\r\ny\n", "a\n\n", "\n\n{{ s }}\n\n", "{% set x = 1 %}\n  {% set y = 2 %}  \n{{ x }}{{ y }}",
    "\u00a0{% if b %}x{% endif %}", "\t{% if b %}\tx\n\t{%- endif %}", "x\u2028 {%- if b %} y{% endif %}", "{%for i in l%}{{i}}{%endfor%}", "{% if b %}a{% else %}\nb{% endif %}\n", "  x {% if b %} \n y", "{{ '{{' }} {{ '%}' }} {{ \"#}\" }}", "{{\n s\n}}{{-\n s\n-}} ", "{ { s } } {% raw %}{{ s }}{% endraw %} }} %} #}",
    # loops
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}", "{% for i in l %}{{ loop.previtem }}-{{ loop.nextitem }},{% endfor %}", "{% for i in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }} {% endfor %}",
    "{% for i in [] %}x{% else %}none{% endfor %}", "{% for i in l %}{% break %}{% else %}else{% endfor %}", "{% for i in l %}{% continue %}{% else %}else{% endfor %}", "{% for i in l %}{% if i == 1 %}{% continue %}{% endif %}{{ i }}{% else %}else{% endfor %}", "{% for i in l %}{% if i == 1 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in u8 %}[{{ c }}]{% endfor %}", "{% for i in l if i > 1 %}{{ loop.index }}:{{ i }}/{{ loop.length }} {% endfor %}", "{% for i in n %}{% endfor %}", "{% for i in u %}x{% else %}e{% endfor %}", "{% for i in nil %}{% endfor %}",
    "{% for a, b in [(1, 2), (3, 4)] %}{{ a + b }} {% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for (a, b), c in [((1, 2), 3)] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for i in l %}{% for j in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "{% for i in l %}{% set outer = loop %}{% for j in ls %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in [{'v': 1, 'c': [{'v': 2, 'c': [{'v': 3, 'c': []}]}]}] recursive %}{{ loop.depth }}{{ loop.depth0 }}:{{ x.v }}{% if x.c %}({{ loop(x.c) }}){% endif %}{% endfor %}", "{% for i in l %}{{ loop(l) }}{% endfor %}", "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(5, 0, -2) | list }}{{ range(0) | list }}{{ range(1, 4) }}", "{{ range(100001) | length }}", "{{ range(1, 2, 0) }}",
    "{% for i in l %}{{ loop }}{% endfor %}", "{% for i in l %}{{ loop.nosuch }}{{ loop.nosuch is defined }}{% endfor %}", "{% for i in l | sort %}{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}", "{% for g, items in ld | groupby('age') %}{{ g }}:{{ items | length }} {% endfor %}", "{% for g in ld | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join(',') }} {% endfor %}",
    "{% set loop = 1 %}{% for i in l %}{{ loop.index }}{% endfor %}{{ loop }}", "{% for loop in l %}{% endfor %}", "{% for i in l %}{% set loop = 2 %}{% endfor %}", "{% break %}", "{% for i in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for a, b in ld | batch(2) if a %}{{ loop.previtem }}{% endfor %}", "{% for a, in [(1,)] %}{{ a }}{% endfor %}", "{% for in l %}{% endfor %}", "{% for i in 1, recursive %}{{ i }}{% endfor %}", "{{ [] | map('nosuch') | list }}{{ [] | select('nosuch') | list }}", "{{ [1, 2] | map(attribute='x.y') | first }}", "{{ ld | map(attribute='n.x') | first }}",
    # scopes
    "{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=0, y=[]) %}{% for i in l %}{% set ns.x = ns.x + i %}{% set ns.y = ns.y + [i] %}{% endfor %}{{ ns.x }}{{ ns.y }}{{ ns.z is defined }}", "{% if b %}{% set x = 5 %}{% endif %}{{ x }}", "{% if nil %}{% set s = 5 %}{% endif %}{{ s }}", "{% for i in l %}{{ s }}{% set s = i %}{{ s }} {% endfor %}{{ s }}",
    "{{ x }}{% set x = 1 %}{{ x }}", "{{ s }}{% set s = 1 %}{{ s }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = l %}", "{% set a = b = 1 %}", "{% set (a, b) = (1, (2, 3)) %}{{ a }}{{ b }}", "{% set x %}  body {{ s }}  {% endset %}[{{ x }}]", "{% set x | upper | trim %} body {{ s }} {% endset %}[{{ x }}]", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['a'] }}",
    "{% set ns = namespace(_x=1) %}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{% set d.x = 1 %}", "{% set u.x = 1 %}", "{% with x = 1, y = x %}{{ x }}{{ y }}{% endwith %}{{ x }}", "{% with %}{% set s = 1 %}{{ s }}{% endwith %}{{ s }}", "{% set ns = namespace(a=1) %}{% macro m() %}{% set ns.a = 2 %}{% endmacro %}{{ m() }}{{ ns.a }}", "{{ namespace(a=1).a }}{{ namespace() is mapping }}",
    "{% set x = [] %}{% set _ = x.append(1) %}{{ x }}", "{{ dict(a=1, b=2) }}{{ dict([('x', 1)], y=2) }}{{ dict(d, b=5).b }}", "{{ dict(u) }}", "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{% set _ = c.reset() %}{{ c.current }}", "{% set j = joiner(', ') %}{% for i in l %}{{ j() }}{{ i }}{% endfor %}", "{{ joiner()(1) }}", "{{ '<a <!-- b --> c> d <!-- e <f>' | striptags }}",
    # macros
    "{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=3) }} {{ f(1, 2, 3) }} {{ f(b=1) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(z=2) }}", "{% macro f(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, 3, x=4) }}", "{% macro f(a, b=a) %}{{ b }}{% endmacro %}{{ f(1) }}",
    "{% macro f(a=s, s=1) %}{{ a }}{{ s }}{% endmacro %}{{ f() }}", "{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}body {{ s }}{% endcall %}", "{% macro f() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b) f() %}{{ a }}{{ b }}{% endcall %}", "{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}", "{% macro f() %}{% if caller %}{{ caller() }}{% else %}no{% endif %}{% endmacro %}{{ f() }}{% call f() %}y{% endcall %}",
    "{% macro f(x) %}{% if x > 0 %}{{ x }}{{ f(x - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% macro f() %}x{% endmacro %}{{ f }}{{ f.name }}{{ f is callable }}", "{% macro f() %}{{ s }}{{ loc }}{% endmacro %}{% set loc = 1 %}{{ f() }}", "{% for i in l %}{% macro f() %}{{ i }}{% endmacro %}{{ f() }}{% endfor %}", "{% macro f(a, a) %}{% endmacro %}", "{% macro f(a=1, b) %}{% endmacro %}", "{{ kwargs }}{% macro f() %}{{ kwargs }}{% endmacro %}{{ f(a=1) }}",
    "{% macro f(caller) %}{{ caller() }}{% endmacro %}", "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(*[1]) }}{{ f(**{'x': 2}) }}{{ f(*l) }}", "{% macro o() %}{% macro i() %}[{{ caller() }}]{% endmacro %}{% call i() %}z{% endcall %}{% endmacro %}{{ o() }}", "{% call s.upper() %}{% endcall %}", "{% call range(3) %}{% endcall %}", "{{ f(1) }}", "{{ s() }}", "{{ nil() }}", "{% macro f() %}a{% endmacro %}{{ f() ~ f() | length }}",
    # blocks
    "{% filter upper %}a {{ s }}{% endfilter %}", "{% filter upper | replace('A', 'b') | trim %} a {% endfilter %}", "{% filter length %}x{% endfilter %}", "{% filter indent(2) %}a\nb{% endfilter %}", "{% block a %}x{{ s }}{% endblock %}{{ self.a() }}{{ self }}", "{% block a %}{% endblock a %}{% block a %}{% endblock %}", "{% generation %}g {{ s }}{% endgeneration %}!", "a\n  {% generation %}\n  b\n  {% endgeneration %}\nc",
    "{% for i in l %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% generation %}{% set s = 1 %}{{ s }}{% endgeneration %}{{ s }}", "{% for i in l %}{% generation %}{% break %}{% endgeneration %}{% endfor %}", "{% autoescape false %}<b>{% endautoescape %}", "{% print s, n %}", "{% include 'x' %}", "{% if nil %}{% include 'x' %}{% endif %}ok", "{% extends 'x' %}", "{% nosuch %}",
    # if
    "{% if 0 %}a{% elif '' %}b{% elif [] %}c{% else %}d{% endif %}", "{% if u %}a{% endif %}{% if not u %}b{% endif %}", "{% if b %}{{ s | nosuch }}{% endif %}", "{% if nil %}{{ s | nosuch }}{{ n is nosuch }}{% endif %}ok", "{{ s | nosuch if nil else 'ok' }}", "{{ s | nosuch }}", "{% if nil %}{% for i in l %}{{ i | nosuch }}{% endfor %}{% endif %}",
    # raise, errors
    "{{ raise_exception('Bad: ' ~ s) }}", "{% if messages | length > 1 %}{{ raise_exception(\"it's \\\"bad\\\"\n é\") }}{% endif %}", "{{ raise_exception() }}", "{{ strftime_now('%Y') | length }}{{ strftime_now('%%') }}", "{{ strftime_now() }}", "{{ s", "{% if %}x{% endif %}", "{% if b %}", "{% endif %}", "{{ 1 + }}", "{{ (1 }}", "{{ 'open }}", "{{ a b }}", "{{ }}", "{% for x %}{% endfor %}", "{{ 1 = 2 }}", "{# open", "{% raw %}", "{{ s | }}", "{{ .5 }}", "{{ 1. }}", "{{ 5.x }}", "{{ l.0.1 }}", "{{ $ }}",
    "{{ 'line\\\njoined' }}", "{{ f(a=1, 2) }}", "{{ dict(a=1, a=2) }}", "{{ [1, 2 }}", "{{ {1} }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{{ true.x }}{{ none.x }}", "{{ True }}{{ None }}{{ False }}{{ NONE }}", "{{ not }}", "{{ x is }}", "{{ 'a' is in }}", "{{ é }}{% set é = 1 %}{{ é }}", "{{ a.é }}", "{{ _x }}", "{{ loop }}", "{{ loop.index }}", "{{ [range is defined, dict is defined, lipsum is defined] }}",
]
# As published templates are built, in our words.
CHATS = {
    "chatml": "{%- for m in messages %}\n    {%- if loop.first and m.role != 'system' %}\n        {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}\n    {%- endif %}\n    {{- '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>' ~ '\\n' }}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n",
    "tools": "{%- if tools %}\n    {{- '<|s|>system\\n' }}\n    {%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] + '\\n\\n' }}{%- endif %}\n    {{- '# Tools\\n<tools>' }}\n    {%- for tool in tools %}\n        {{- '\\n' }}\n        {{- tool | tojson }}\n    {%- endfor %}\n    {{- '\\n</tools>\\n' }}\n{%- endif %}\n{%- set ns = namespace(multi=true, last=messages | length - 1) %}\n{%- for message in messages[::-1] %}\n    {%- set index = (messages | length - 1) - loop.index0 %}\n    {%- if ns.multi and message.role == 'user' and message.content is string and not (message.content.startswith('<r>') and message.content.endswith('</r>')) %}\n        {%- set ns.multi = false %}\n        {%- set ns.last = index %}\n    {%- endif %}\n{%- endfor %}\n{%- for message in messages %}\n    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}\n    {%- if message.role == 'assistant' %}\n        {%- set reasoning = '' %}\n        {%- if message.reasoning_content is string %}\n            {%- set reasoning = message.reasoning_content %}\n        {%- elif '</think>' in content %}\n            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}\n            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}\n        {%- endif %}\n        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}\n            {{- '<a><think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}\n        {%- else %}\n            {{- '<a>' + content }}\n        {%- endif %}\n        {%- for call in message.tool_calls or [] %}\n            {%- if (loop.first and content) or not loop.first %}{{- '\\n' }}{%- endif %}\n            {%- set fn = call.function if call.function else call %}\n            {{- '<call>{\"name\": \"' ~ fn.name ~ '\", \"arguments\": ' }}\n            {%- if fn.arguments is string %}{{- fn.arguments }}{%- else %}{{- fn.arguments | tojson }}{%- endif %}\n            {{- '}</call>' }}\n        {%- endfor %}\n    {%- elif message.role == 'tool' %}\n        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<u>' }}{%- endif %}\n        {{- '\\n<r>' ~ content ~ '</r>' }}\n        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '</u>\\n' }}{%- endif %}\n    {%- else %}\n        {{- '<' ~ message.role ~ '>' ~ content ~ '\\n' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<a>' }}\n    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}\n{%- endif %}",
    "inst": "{%- if messages[0]['role'] == 'system' %}{% set system_message = messages[0]['content'] %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{{ bos_token }}{% for message in loop_messages %}{% if message['role'] == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if message['role'] == 'user' %}{% if loop.first and system_message is defined %}{{ ' [INST] ' + system_message + '\\n\\n' + message['content'] + ' [/INST]' }}{% else %}{{ ' [INST] ' + message['content'] + ' [/INST]' }}{% endif %}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + eos_token }}{% else %}{{ raise_exception('Only user and assistant roles, not ' ~ message.role) }}{% endif %}{% endfor %}",
    "namespace": "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, out_first=true, sys='', first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.first_sp %}{% set ns.sys = ns.sys + message['content'] %}{% set ns.first_sp = false %}{%- else %}{% set ns.sys = ns.sys + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.sys }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<U>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['tool_calls'] %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<A><calls>' + tool['type'] + '<sep>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['type'] + '<sep>' + tool['function']['name']}}{%- endif %}{%- endfor %}{{'</calls>' + eos_token}}{%- endif %}{%- if message['role'] == 'assistant' and not message['tool_calls'] and message['content'] is not none %}{%- if ns.is_tool %}{{'</outs>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<A>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.out_first %}{{'<outs><out>' + message['content'] + '</out>'}}{%- set ns.out_first = false %}{%- else %}{{'\\n<out>' + message['content'] + '</out>'}}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'</outs>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<A>'}}{% endif %}",
    "macros": "{#- types as text -#}\n{%- macro type_of(p) -%}\n    {%- if p.type is string -%}{{- p.type -}}\n    {%- elif p.type is iterable and p.type is not mapping -%}{{- p.type | join('|') -}}\n    {%- elif p.anyOf is defined -%}{%- for a in p.anyOf -%}{{- type_of(a) -}}{%- if not loop.last %} | {% endif -%}{%- endfor -%}\n    {%- else -%}any{%- endif -%}\n    {%- if p.enum %} in {{ p.enum | map('tojson') | join(', ') }}{% endif -%}\n{%- endmacro -%}\n{%- macro text_of(c) -%}\n    {%- if c is string %}{{- c }}\n    {%- elif c is iterable and c is not mapping -%}\n        {%- for i in c -%}\n            {%- if i is mapping and i.type == 'text' %}{{- i.text }}\n            {%- elif i is mapping and (i.type == 'image' or 'image_url' in i) %}{{- '<|image|>' }}\n            {%- elif i is string %}{{- i }}{%- endif %}\n        {%- endfor -%}\n    {%- else %}{{- c }}{%- endif -%}\n{%- endmacro -%}\n{%- if tools %}\n    {%- for t in tools %}\n        {%- set f = t.function | default(t) %}\n        {{- '\\n## ' ~ f.name ~ ': ' ~ (f.description | default('', true) | trim) ~ '\\n' }}\n        {%- for name, p in (f.parameters.properties | default({})) | dictsort %}\n            {{- '- ' ~ name ~ ' (' ~ type_of(p) ~ (', required' if f.parameters.required and name in f.parameters.required else '') ~ ')' }}\n            {%- if p.default is defined %} = {{ p.default | tojson }}{% endif %}\n            {{- '\\n' }}\n        {%- endfor %}\n    {%- endfor %}\n{%- endif %}\n{%- for m in messages %}\n    {%- if m.role == 'assistant' -%}\n        <|assistant|>{% generation %}{{ text_of(m.content) }}\n        {%- for c in m.tool_calls or [] %}\n            {%- set a = (c.function or c).arguments %}\n            {%- if a is mapping %}{% for k, v in a.items() %}<k>{{ k }}</k><v>{{ v | tojson if v is not string else v }}</v>{% endfor %}{% endif %}\n        {%- endfor %}{% endgeneration %}\n    {%- else -%}\n        {{- '<|' ~ m.role ~ '|>' ~ text_of(m.content) }}\n    {%- endif %}\n{% endfor %}\n{%- if add_generation_prompt %}<|assistant|>{% endif %}",
    "dates": "{{- bos_token }}\n{%- if custom_tools is defined %}\n    {%- set tools = custom_tools %}\n{%- endif %}\n{%- if not date_string is defined %}\n    {%- set date_string = '26 Jul 2024' %}\n{%- endif %}\n{%- if not tools is defined %}\n    {%- set tools = none %}\n{%- endif %}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system_message = messages[0]['content'] | trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system_message = '' %}\n{%- endif %}\n{{- '<sys>\\n\\n' }}\n{%- if builtin_tools is defined or tools is not none %}\n    {{- 'Environment: ipython\\n' }}\n{%- endif %}\n{%- if builtin_tools is defined %}\n    {{- 'Tools: ' + builtin_tools | reject('equalto', 'code_interpreter') | join(', ') + '\\n\\n' }}\n{%- endif %}\n{{- 'Today: ' + date_string + '\\n\\n' + system_message + '<eot>' }}\n{%- if tools is not none %}\n    {%- for t in tools %}\n        {{- t | tojson(indent=4) }}\n        {{- '\\n\\n' }}\n    {%- endfor %}\n{%- endif %}\n{%- for message in messages %}\n    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}\n        {{- '<h>' + message['role'] + '</h>\\n\\n' + message['content'] | trim + '<eot>' }}\n    {%- elif 'tool_calls' in message %}\n        {%- if not message.tool_calls | length == 1 %}\n            {{- raise_exception('only single calls') }}\n        {%- endif %}\n        {%- set call = message.tool_calls[0].function %}\n        {{- '{\"name\": \"' + call.name + '\", \"parameters\": ' }}\n        {{- call.arguments | tojson }}\n        {{- '}<eot>' }}\n    {%- elif message.role == 'tool' or message.role == 'ipython' %}\n        {%- if message.content is mapping or message.content is iterable %}\n            {{- message.content | tojson }}\n        {%- else %}\n            {{- message.content }}\n        {%- endif %}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<h>assistant</h>\\n\\n' }}\n{%- endif %}\n",
}
N_FUZZ, N_CHAT = 260, 14


def want(ref, template, context):
    import jinja2

    try:
        return ref.env.from_string(template).render(**context)
    except jinja2.exceptions.TemplateError as e:
        return {"raise": str(e)} if type(e) is jinja2.exceptions.TemplateError else None
    except Exception:  # noqa: BLE001: any failure is a failure
        return None


def split_outside_strings(line, sep):
    """The pieces of line between sep, one space around it."""
    return [x.strip() for x in line.split(f" {sep} ")]


def own_templates():
    for line in EXPRESSIONS:
        for x in split_outside_strings(line, "|"):
            yield "{{ " + x + " }}"
    for line in FILTERS:
        for x in split_outside_strings(line, ";;"):
            yield "{{ " + x + " }}"
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
        if not isinstance(w, str) or len(t) + len(json.dumps(c)) > 420 or len(t) < 40 or len(w) > 400 or templates_fuzz.ADDRESS.search(w) or "strftime" in t:
            continue
        if want(ref, t, c) != w:
            continue
        rows.append({"t": t, "r": [[c, w]]})
        taken += 1
    write("cases.jsonl", rows)
    print(f"{n_fail} of them fail")
    rows = []
    for name, t in CHATS.items():
        kwargs = ["enable_thinking", "custom_tools", "date_string", "builtin_tools"] if name in ("tools", "dates") else []
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
