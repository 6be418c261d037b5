# SPDX-License-Identifier: MIT
"""Makes smollm2_reference.json: what llama.cpp answers with SmolLM2-135M-Instruct, weights widened to F32.

    python smollm2_reference.py F32.gguf

F32.gguf comes from widen_gguf.py. Needs gguf and xllamacpp (llama.cpp's own server in a package), which is asked
over its HTTP interface on the loopback. The cache is F32 and flash attention is off, so llama.cpp rounds nothing below
float32. The server gives no log-probability for a token that ends within a UTF-8 character: null in the file.
"""

import json
import sys
from pathlib import Path

import xllamacpp
from gguf import GGUFReader
from llama_cpp import ask, serve

N_NEW = 64
PROMPTS = [
    "What is the capital of France, and what is it known for?",
    "Explain in two sentences why the sky is blue.",
    "Write a short poem about a lighthouse.",
    "Write a Python function that checks whether a number is prime.",
    "What does this C code print?\n\nint x = 3;\nwhile (x --> 0) printf(\"%d \", x);",
    "Fix this SQL: SELEC name FORM users WERE age > 30;",
    "What is 17 * 23? Show your steps.",
    "Solve for x: 3x + 7 = 22.",
    "If a train travels 180 km in 2.5 hours, what is its average speed?",
    "Quelle est la capitale de l'Italie ?",
    "Schreibe einen Satz \u00fcber den Herbst in M\u00fcnchen.",
    "\u00bfCu\u00e1l es el r\u00edo m\u00e1s largo de Am\u00e9rica del Sur?",
    "\u65e5\u672c\u306e\u9996\u90fd\u306f\u3069\u3053\u3067\u3059\u304b\uff1f",
    "\u4e2d\u56fd\u7684\u9996\u90fd\u662f\u54ea\u91cc\uff1f",
    "\u041d\u0430\u0437\u043e\u0432\u0438 \u0442\u0440\u0438 \u0446\u0432\u0435\u0442\u0430 \u0440\u0430\u0434\u0443\u0433\u0438.",
    "List five fruits as a JSON array.",
    "Translate to French: \"The early bird catches the worm.\"",
    "Summarise: The mitochondrion is an organelle found in most eukaryotic cells. It makes most of the cell's "
    "supply of adenosine triphosphate, used as a source of chemical energy.",
    "Give me a recipe for pancakes \U0001f95e with only three ingredients!",
    "Hi",
]


def byte_of_char():
    """GPT-2's stand-in character -> byte, for reading a byte-level vocabulary."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}


def ends_within_character(text):
    """True when the last UTF-8 sequence of text (bytes) lacks bytes."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte & 0xC0 != 0x80:
            length = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
            return length > back
    return False


def align(ids, steps, pieces):
    """For each id its step of the answer, None where the server left it out."""
    text, out, left = b"", [], iter(steps)
    for i in ids:
        text += pieces(i)
        out.append(None if ends_within_character(text) else next(left))
    assert next(left, None) is None, "steps left over"
    assert all(step is None or step["id"] == i for i, step in zip(ids, out)), "steps out of line"
    return out


def case(server, pieces, eos, text):
    """Greedy tokens with their log-probabilities and how far the second best was behind."""
    messages = [{"role": "user", "content": text}]
    rendered = ask(server, "/apply-template", messages=messages)["prompt"]
    prompt = ask(server, "/tokenize", content=rendered, add_special=False, parse_special=True)["tokens"]
    answer = ask(server, "/completion", prompt=prompt, n_predict=N_NEW, temperature=0, top_k=1, n_probs=2,
                 cache_prompt=False, return_tokens=True)
    ended = answer["stop_type"] == "eos"
    ids = [i for i in answer["tokens"] if i != eos]
    steps = align(ids, [s for s in answer["completion_probabilities"] if s["id"] != eos], pieces)
    best = [step and [top["logprob"] for top in step["top_logprobs"]] for step in steps]
    assert all(step is None or step["id"] == step["top_logprobs"][0]["id"] for step in steps), "not greedy"
    return {
        "text": text,
        "prompt": rendered,
        "prompt_ids": prompt,
        "ids": ids,
        "ended": ended,
        "logprobs": [top and round(top[0], 6) for top in best],
        "margins": [top and round(top[0] - top[1], 6) for top in best],
    }


def main():
    """Command line."""
    fields = GGUFReader(sys.argv[1]).fields
    words, eos = fields["tokenizer.ggml.tokens"].contents(), fields["tokenizer.ggml.eos_token_id"].contents()
    table = byte_of_char()
    server = serve(sys.argv[1])
    cases = []
    for text in PROMPTS:
        cases.append(case(server, lambda i: bytes(table[c] for c in words[i]), eos, text))
        print(f"{len(cases[-1]['prompt_ids']):4} {len(cases[-1]['ids']):3} {text[:60]!r}", flush=True)
    about = {
        "model": "SmolLM2-135M-Instruct Q4_1, widened to F32",
        "engine": f"llama.cpp, xllamacpp {xllamacpp.__version__}",
        "max_tokens": N_NEW,
    }
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    out = Path(__file__).parent / "smollm2_reference.json"
    out.write_text(json.dumps(about)[:-1] + ', "cases": [\n' + lines + "\n]}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
