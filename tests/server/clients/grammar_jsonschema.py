#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""grammar_jsonschema.py PROBE TOKENIZER N [SEED]: texts drawn from the masks of N random schemas, held against the jsonschema
package. A schema that is refused because nothing fits it is checked too: jsonschema must refuse a few plain values."""
import json
import random
import subprocess
import sys

import jsonschema

PATTERNS = ["^[a-z]{2,4}$", "^(x|yy)+$", "b", r"^\d{3}-\w*$", "[^a]$", "^.{1,3}$", r"^\s?[A-Z]\S*$", "^(19|20)[0-9]{2}$|^-$", "é+"]
NAMES = ["a", "ab", "name", "x-y", "é", 'q"q', "z", "\n", "", "日本"]
FORMATS = ["date", "time", "date-time", "uuid", "ipv4", "email"]


def number(r):
    s = {"type": r.choice(["integer", "number"])}
    lo = r.randint(-2000, 2000)
    if r.random() < .5:
        s[r.choice(["minimum", "exclusiveMinimum"])] = lo
    if r.random() < .5:
        s[r.choice(["maximum", "exclusiveMaximum"])] = lo + r.choice([1, 2, 9, 500, 10**6])
    return s


def string(r):
    s = {"type": "string"}
    k = r.random()
    if k < .3:
        s["pattern"] = r.choice(PATTERNS)
    elif k < .4:
        s["format"] = r.choice(FORMATS)
        return s
    if r.random() < .3:
        s["minLength"] = r.randint(0, 3)
    if r.random() < .3:
        s["maxLength"] = r.randint(3, 30)
    return s


def obj(r, d):
    names = r.sample(NAMES, r.randint(0, 4))
    s = {"type": "object", "properties": {n: schema(r, d - 1) for n in names}, "required": [n for n in names if r.random() < .5]}
    k = r.random()
    if k < .3:
        s["additionalProperties"] = r.choice([True, False])
    elif k < .5:
        s["additionalProperties"] = schema(r, d - 1)
    return s


def array(r, d):
    s = {"type": "array", "items": schema(r, d - 1)}
    if r.random() < .3:
        s["minItems"] = r.randint(0, 3)
    if r.random() < .6:
        s["maxItems"] = r.randint(2, 5)
    if r.random() < .3:
        s["prefixItems"] = [schema(r, d - 1) for _ in range(r.randint(1, 2))]
    return s


def schema(r, d):
    k = r.randrange(14 if d > 0 else 6)
    if k < 2:
        return number(r)
    if k < 4:
        return string(r)
    if k == 4:
        return {"enum": r.sample(["one", 2, None, 'thr"ee', {"k": [1]}, 2.5, True], 3)}
    if k == 5:
        return r.choice([{"type": ["null", "boolean"]}, {"const": "c"}, {"$ref": "#/$defs/tree"}, True, {"type": "object"}])
    if k < 9:
        return obj(r, d)
    if k < 11:
        return array(r, d)
    if k == 11:
        return {r.choice(["anyOf"]): [schema(r, d - 1) for _ in range(r.randint(1, 3))]}
    if k == 12:
        return {"allOf": [number(r), {"type": "number", "maximum": 50}]}
    return {"type": "object", "properties": {"p": number(r), "q": string(r)}, "anyOf": [{"required": ["p"]}, {"required": ["q"]}]}


TREE = {"type": "object", "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
        "required": ["v"]}


def main():
    probe, folder, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    r = random.Random(seed)
    schemas = []
    for i in range(n):
        s = schema(r, 3)
        s = s if isinstance(s, dict) else {"anyOf": [s]}
        schemas.append({**s, "$defs": {"tree": TREE}})
    lines = "".join(json.dumps({"schema": s, "seed": seed * 1000 + i}) + "\n" for i, s in enumerate(schemas))
    out = subprocess.run([probe, folder], input=lines.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().strip("\n").split("\n")
    passed = failed = cut = refused = 0
    for s, line in zip(schemas, out, strict=True):
        o, why = json.loads(line), None
        if "error" in o:
            if "no JSON" in o["error"]:
                refused += 1
                continue
            why = o["error"]
        elif o["stuck"]:
            why = "stuck"
        elif not o["ended"]:
            cut += 1
            continue
        else:
            try:
                jsonschema.validate(json.loads(o["text"]), s, jsonschema.Draft202012Validator,
                                    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
            except (ValueError, jsonschema.ValidationError) as e:
                why = str(e)[:300]
        if why:
            failed += 1
            print(f"FAILED: {json.dumps(s)[:800]}\n{o}\n{why}")
        else:
            passed += 1
    print(f"{cut} cut off, {refused} that nothing fits (seed {seed})\n{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
