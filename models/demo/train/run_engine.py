# SPDX-License-Identifier: MIT
"""Answers heldout.jsonl with the engine: `python run_engine.py TOKAMAK SNAPSHOT OUT.jsonl`, then
`python score.py --texts OUT.jsonl`. Needs nothing but Python itself.
"""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def lines(command, rows):
    """What the command prints, a JSON value a line, for JSON values a line."""
    text = "".join(json.dumps(r) + "\n" for r in rows)
    out = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(x) for x in out.splitlines()]


def main():
    tokamak, snapshot, out = sys.argv[1:4]
    with open(os.path.join(HERE, "heldout.jsonl")) as f:
        cases = [json.loads(x) for x in f]
    prompts = lines([tokamak, "template", snapshot, "--jsonl"], [{"messages": c["messages"]} for c in cases])
    ids = lines([tokamak, "tokenize", snapshot, "--jsonl", "--add-bos", "no"], prompts)
    with open(out, "w") as f, tempfile.NamedTemporaryFile("w+") as tmp:
        for case, prompt in zip(cases, ids):
            tmp.seek(0)
            tmp.truncate()
            tmp.write(json.dumps(prompt))
            tmp.flush()
            command = [tokamak, "run", snapshot, "--ids", tmp.name, "--json", "-q", "--max-tokens", str(max(1, 512 - len(prompt)))]
            answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            f.write(json.dumps({"id": case["id"], "text": answer["text"]}) + "\n")


if __name__ == "__main__":
    main()
