# SPDX-License-Identifier: MIT
"""The parts of tokenizer.json one by one, on tiny vocabularies: ours against Hugging Face `tokenizers`.

    python tokenizer_quirks.py PROBE LINES          compare (PROBE: build/tests/parity/tokenizer_probe)
    python tokenizer_quirks.py --golden LINES > tests/golden/tokenizer/quirks.jsonl
"""
import copy
import json
import random
import sys
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizers_parity import probe

ALPHABET = "abAB .,!?'\n\t1250_é\u0301\u00e0ﬁ½²▁\u3000\u00a0你好😀<>sS-\u0130Σß"
WORDS = ["<s>", "</s>", "<tok>", "ab", "<TOK>", "[X]", "  ", "\r\n", "a.b", "¡", "٣", "‿", "\u200d", "\u0085", "É", "ab ab", "\u32ff", "e\u08ca\u0327", "\U0001fbf8"]


def disguise():
    shown = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    return {b: chr(b if b in shown else 256 + [x for x in range(256) if x not in shown].index(b)) for b in range(256)}


def bpe(pieces, merges, **more):
    """Single characters, then what merges make, then pieces (tokens no merge makes)."""
    vocab = {}
    for p in list(pieces) + [m.replace(" ", "") for m in merges]:
        vocab.setdefault(p, len(vocab))
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": vocab, "merges": merges, **more}


def trained_merges(n):
    """Merges learnt from these very texts without any pre-tokenizer: they cross every boundary that one could draw,
    so that a boundary in the wrong place is seen."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    r = random.Random(3)
    t.train_from_iterator([text(r) for _ in range(3000)], trainers.BpeTrainer(
        vocab_size=256 + n, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return [" ".join(m) if isinstance(m, list) else m for m in json.loads(t.to_str())["model"]["merges"]]


# A special token whose text the normalizer changes is not skipped by Hugging Face (its look-up is by the text as it
# was); ours is.
KNOWN = {"added normalized lowercase": "skip", "added legacy": "skip"}


def text(r):
    return "".join(r.choice(WORDS) if r.random() < 0.25 else r.choice(ALPHABET) * r.choice((1, 1, 1, 2, 4)) for _ in range(r.randrange(0, 14)))


def newer_text(r):
    """Of Unicode 15 to 16: letters, marks, digits, punctuation, symbols."""
    return "".join(r.choice("a  a\u2ffd\u2427\U00010d4b\U00010d69\U00010d41\U00010d6e\ua7cb\u1b7f") for _ in range(r.randrange(1, 12)))


BYTES = [disguise()[b] for b in range(256)]
BYTE_MERGES = ["a b", "ab ab", "Ġ a", "Ġa b", "Ġ Ġ"] + [m for m in trained_merges(400) if m not in ("a b", "ab ab", "Ġ a", "Ġa b", "Ġ Ġ")]
CHARS = ["<unk>"] + [f"<0x{b:02X}>" for b in range(256)] + list("abABs.,!1▁é你")
CHAR_MERGES = ["a b", "▁ a", "▁a b", "▁ ▁", "▁▁ ▁▁", "A B", "ab ab", "1 1"]


def added(text, **flags):
    base = {"content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {**base, **flags}


def make(model, tokens=(), **parts):
    model = copy.deepcopy(model)
    ids = dict(model["vocab"])
    for t in tokens:
        ids.setdefault(t["content"], len(ids))
    known = [{"id": ids[t["content"]], **t} for t in tokens]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": known, "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts, "model": model}


def level(**more):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False, **more}


def sequence(key, *parts):
    return {"type": "Sequence", key: list(parts)}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_case(pre=None, norm=None, tokens=(), **model):
    pre = level() if pre is None else sequence("pretokenizers", pre, level())
    return make(bpe(BYTES, BYTE_MERGES, **model), tokens, pre_tokenizer=pre, normalizer=norm, decoder=level())


def char_case(pre=None, norm=None, tokens=(), decoder=None, unk="<unk>", chars=CHARS, **model):
    return make(bpe(chars, CHAR_MERGES, unk_token=unk, **model), tokens, pre_tokenizer=pre, normalizer=norm, decoder=decoder)


REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
UNREPLACE = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
FALLBACK, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
LLAMA_DECODER = sequence("decoders", UNREPLACE, FALLBACK, FUSE, STRIP)
LEGACY = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, REPLACE)
SPECIAL = [added("<s>"), added("</s>")]


def meta(scheme, split_it):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split_it}


def template(*single):
    ids = {"<s>": {"id": "<s>", "ids": [268], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [269], "tokens": ["</s>"]}}
    part = [{"Sequence": {"id": "A", "type_id": 0}} if x == "$A" else {"SpecialToken": {"id": x, "type_id": 0}} for x in single]
    return {"type": "TemplateProcessing", "single": part, "pair": [], "special_tokens": ids}


def cases():
    for name in ("lstrip", "rstrip", "single_word", "normalized"):
        yield "added " + name, byte_case(tokens=SPECIAL + [added("<tok>", **{name: True}), added("ab", special=False, **{name: True})])
        yield "added " + name + " lowercase", byte_case(norm={"type": "Lowercase"}, tokens=[
            added("<TOK>", **{name: True}), added("AB", special=False, normalized=True, **({name: True} if name != "normalized" else {}))])
    yield "added within special", byte_case(tokens=[added("<tok>"), added("ok", special=False), added("b<", special=False), added("[X]", single_word=True), added("X", special=False)])
    yield "added strips both", byte_case(tokens=[added("<tok>", lstrip=True, rstrip=True), added("<s>", lstrip=True, single_word=True)])
    yield "added prefix of another", byte_case(tokens=[added("<s"), added("<s>"), added("ab ab", special=False), added("ab", special=False)])
    yield "added legacy", char_case(norm=LEGACY, tokens=SPECIAL + [added("<tok>", normalized=True)], decoder=LLAMA_DECODER, byte_fallback=True, fuse_unk=True)
    for behavior in ("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            yield f"split {behavior} {invert}", byte_case(split({"Regex": "[ab]+|\\s"}, behavior, invert))
        yield f"split text {behavior}", byte_case(split({"String": "ab"}, behavior))
        yield f"punctuation {behavior}", byte_case({"type": "Punctuation", "behavior": behavior})
    yield "digits", byte_case({"type": "Digits", "individual_digits": False})
    yield "digits one by one", byte_case({"type": "Digits", "individual_digits": True})
    yield "whitespace", byte_case({"type": "Whitespace"})
    yield "whitespace split", byte_case({"type": "WhitespaceSplit"})
    yield "byte level regex", make(bpe(BYTES, BYTE_MERGES), SPECIAL, pre_tokenizer=level(use_regex=True), decoder=level())
    yield "byte level prefix", make(bpe(BYTES, BYTE_MERGES), SPECIAL, pre_tokenizer=level(use_regex=True, add_prefix_space=True), decoder=level())
    yield "digits then prefix", make(bpe(BYTES, BYTE_MERGES), SPECIAL, decoder=level(), pre_tokenizer=sequence(
        "pretokenizers", {"type": "Digits", "individual_digits": True}, level(use_regex=True, add_prefix_space=True)))
    for form in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"):
        yield "norm " + form, byte_case(norm={"type": form}, tokens=[added("É", special=False, normalized=True)])
    yield "norm NFD strip", byte_case(norm=sequence("normalizers", {"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}))
    for left, right in ((True, True), (True, False), (False, True)):
        yield f"norm Strip {left} {right}", byte_case(norm={"type": "Strip", "strip_left": left, "strip_right": right})
    yield "norm Replace regex", byte_case(norm={"type": "Replace", "pattern": {"Regex": " {2,}|\\d"}, "content": "_"})
    yield "norm Replace text", byte_case(norm={"type": "Replace", "pattern": {"String": "ab"}, "content": ""})
    yield "norm Prepend", byte_case(norm={"type": "Prepend", "prepend": "ab"}, tokens=SPECIAL)
    for scheme in ("first", "always", "never"):
        for split_it in (True, False):
            m = meta(scheme, split_it)
            yield f"metaspace {scheme} {split_it}", char_case(m, tokens=SPECIAL, decoder=m, byte_fallback=True)
    yield "llama 2", char_case(norm=LEGACY, tokens=SPECIAL, decoder=LLAMA_DECODER, byte_fallback=True, fuse_unk=True)
    yield "llama 2 not legacy", char_case(meta("first", False), tokens=SPECIAL, decoder=LLAMA_DECODER, byte_fallback=True, fuse_unk=True)
    some = [c for c in CHARS if c not in ("<0xC3>", "<0xE2>")]
    for fallback in (True, False):
        for fuse in (True, False):
            yield f"unk {fallback} {fuse}", char_case(norm=REPLACE, decoder=UNREPLACE, byte_fallback=fallback, fuse_unk=fuse)
            yield f"unk some bytes {fallback} {fuse}", char_case(norm=REPLACE, decoder=UNREPLACE, chars=some, byte_fallback=fallback, fuse_unk=fuse)
    yield "no unk", char_case(norm=REPLACE, unk=None, decoder=UNREPLACE)
    whole = bpe(BYTES + ["aab", "Ġs", "..."], BYTE_MERGES)
    for ignore in (True, False):
        yield f"ignore_merges {ignore}", make({**whole, "ignore_merges": ignore}, SPECIAL, pre_tokenizer=level(use_regex=True), decoder=level())
    odd = bpe(BYTES + ["é", "你", "<｜end｜>", "ÃĤ"], BYTE_MERGES)
    yield "undisguised", make(odd, [added("é", special=False)], pre_tokenizer=level(), decoder=level())
    for single in (("<s>", "$A"), ("<s>", "$A", "</s>"), ("$A", "</s>"), ("<s>", "<s>", "$A")):
        yield "template " + " ".join(single), make(bpe(BYTES, BYTE_MERGES), SPECIAL, pre_tokenizer=level(), decoder=level(), post_processor=template(*single))
    for n in (0, 1, 3):
        yield f"decoder Strip {n}", char_case(norm=REPLACE, decoder=sequence("decoders", UNREPLACE, FUSE, {**STRIP, "start": n}))
    yield "decoder Strip without Fuse", char_case(norm=REPLACE, decoder=sequence("decoders", UNREPLACE, STRIP))
    yield "decoder Strip before Fuse", char_case(norm=REPLACE, decoder=sequence("decoders", UNREPLACE, STRIP, FUSE))
    yield "decoder Replace after Fuse", char_case(norm=REPLACE, decoder=sequence("decoders", FUSE, UNREPLACE))
    yield "no decoder", char_case(norm=REPLACE)
    # characters that Unicode 14 does not have, after and before what would merge with their first byte
    classes = {"type": "Split", "pattern": {"Regex": "[\\p{Lu}\\p{Lo}\\p{M}a]+| ?[\\p{P}\\p{S}]+|\\p{Nd}{1,3}|\\s+|\\P{L}"},
               "behavior": "Isolated", "invert": False}
    yield "newer", make(bpe(BYTES, ["Ġ â", "a â", "Ġ ð", "a ð", "ð Ĳ"]), decoder=level(),
                        pre_tokenizer=sequence("pretokenizers", classes, level()))


def expected(t, fed):
    enc = t.encode_batch(fed)
    ids = [e.ids for e in enc]
    t.encode_special_tokens = True
    plain = [e.ids for e in t.encode_batch(fed, add_special_tokens=False)]
    t.encode_special_tokens = False
    return {"ids": ids, "bare": [e.ids for e in t.encode_batch(fed, add_special_tokens=False)], "plain": plain,
            "text": [t.decode(x, skip_special_tokens=False).encode().hex() for x in ids],
            "skip": [t.decode(x, skip_special_tokens=True).encode().hex() for x in ids]}


def main():
    n, bad, vocabularies, merges = int(sys.argv[2]), 0, [], []
    for name, j in cases():
        r = random.Random(name)
        fed = [newer_text(r) if name == "newer" else text(r) for _ in range(n)]
        t = Tokenizer.from_str(json.dumps(j))
        want = expected(t, fed)
        if sys.argv[1] == "--golden":
            want.pop(KNOWN.get(name), None)
            rows = [{"input": fed[i], **{k: want[k][i] for k in want}} for i in range(n)]
            if j["model"]["vocab"] in vocabularies:  # told once, then by number
                j["model"]["vocab"] = vocabularies.index(j["model"]["vocab"])
            else:
                vocabularies.append(j["model"]["vocab"])
            if j["model"]["merges"] in merges:
                j["model"]["merges"] = merges.index(j["model"]["merges"])
            else:
                merges.append(j["model"]["merges"])
            print(json.dumps({"name": name, "tokenizer": j, "cases": rows}, separators=(",", ":")))
            continue
        with tempfile.TemporaryDirectory() as d:
            Path(d, "tokenizer.json").write_text(json.dumps(j))
            try:
                got = probe(sys.argv[1], d, [(b"T", s.encode()) for s in fed])
            except SystemExit as e:
                print(f"{name}: {e}")
                bad += 1
                continue
        wrong = {k: [i for i in range(n) if got[i][k] != want[k][i]] for k in want if k != KNOWN.get(name)}
        for k, v in wrong.items():
            bad += len(v)
            if v:
                i = min(v, key=lambda i: len(fed[i]))
                print(f"{name}: {k}: {len(v)} of {n} differ: {ascii(fed[i])} {got[i][k]} instead of {want[k][i]}")
    if sys.argv[1] != "--golden":
        print(f"{bad} different")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
