# SPDX-License-Identifier: MIT
"""The demo model's tokenizer (byte-level BPE, DeepSeek's pre-tokenizer with single digits) and its documents.

`python tokens.py OUT` trains the tokenizer on generated text and writes tokenizer.json,
tokenizer_config.json and chat_template.jinja.
"""
import json
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import data

VOCAB = 1280
BOS, EOS, PAD, USER, ASSISTANT, THINK, END_THINK = range(7)
SPECIAL = ["<|begin|>", "<|end|>", "<|pad|>", "<|User|>", "<|Assistant|>", "<think>", "</think>"]
WORDS = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
         r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

# Earlier turns keep their answers only; a system prompt, when given, stands before the first turn.
TEMPLATE = (
    "{{- bos_token }}"
    "{%- for m in messages %}"
    "{%- if m.role == 'system' %}{{- m.content }}"
    "{%- elif m.role == 'user' %}{{- '<|User|>' + m.content }}"
    "{%- elif m.role == 'assistant' %}"
    "{%- set text = m.content %}"
    "{%- if '</think>' in text %}{%- set text = text.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{{- '<|Assistant|>' + text + eos_token }}"
    "{%- else %}{{- raise_exception('a message has the unknown role ' + m.role) }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|Assistant|><think>\\n' }}{%- endif %}"
)


def train(n=60000, seed=7):
    """A tokenizer of at most VOCAB tokens. Letter strings are left out, so that letters stay single."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
        pre_tokenizers.Split(Regex(WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.decoder = decoders.ByteLevel()
    r = random.Random(seed)

    def texts():
        for _ in range(n):
            task, turns = data.sample(r, kind=r.choice(["story", "word", "who", "kv", "add", "sub", "sort", "cmp",
                                                        "copy", "recall", "chat", "multi"]))
            for q, trace, a in turns:
                if '"' not in q:
                    yield "\n".join((q, trace, a))

    special = [AddedToken(s, special=True, normalized=False) for s in SPECIAL]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(texts(), trainer)
    t.post_processor = processors.TemplateProcessing(single=f"{SPECIAL[BOS]} $A", special_tokens=[(SPECIAL[BOS], BOS)])
    assert [t.token_to_id(s) for s in SPECIAL] == list(range(7))
    return t


def save(t, folder):
    t.save(f"{folder}/tokenizer.json")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": SPECIAL[BOS], "eos_token": SPECIAL[EOS],
              "pad_token": SPECIAL[PAD], "add_bos_token": True, "add_eos_token": False, "model_max_length": 512,
              "clean_up_tokenization_spaces": False}
    with open(f"{folder}/tokenizer_config.json", "w") as f:
        json.dump(config, f, indent=2)
    with open(f"{folder}/chat_template.jinja", "w") as f:
        f.write(TEMPLATE)


W_PROMPT, W_STORY = 0.03, 0.5


def encode_many(t, samples):
    """Documents of (ids, loss weight of each id as a target) for a list of samples."""
    texts = []
    for _, turns in samples:
        for i, (q, trace, a) in enumerate(turns):
            texts += [q, f"\n{trace}\n" if i == len(turns) - 1 else "", f"\n\n{a}" if i == len(turns) - 1 else a]
    enc = iter(t.encode_batch_fast(texts, add_special_tokens=False))
    docs = []
    for task, turns in samples:
        ids, w = [BOS], [0.0]
        story = turns[-1][0].startswith(("Tell", "Write a story"))
        for i in range(len(turns)):
            q, trace, a = next(enc).ids, next(enc).ids, next(enc).ids
            ids += [USER] + q + [ASSISTANT]
            w += [W_PROMPT] * (len(q) + 1) + [0.0]
            if i < len(turns) - 1:
                ids += a + [EOS]
                w += [W_PROMPT] * (len(a) + 1)
                continue
            own = W_STORY if story else 1.0
            ids += [THINK] + trace + [END_THINK] + a + [EOS]
            w += [0.0] + [own] * len(trace) + [own] + [own] * len(a) + [1.0]
        docs.append((ids, w))
    return docs


if __name__ == "__main__":
    save(train(), sys.argv[1])
