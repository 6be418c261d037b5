# SPDX-License-Identifier: MIT
"""Asks llama.cpp for the GGUF golden cases, to see that they mean to it what they mean to transformers.

    python golden_llama_cpp.py CASE_FOLDER

The case is rewritten with its tensors widened to F32 and a vocabulary of made-up words, without which the server
does not start; then log-probabilities after a few prefixes are compared with golden.safetensors. llama.cpp takes a
deepseek2 file without q_lora_rank only with V2-Lite's own number of layers, so that case cannot be asked.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter
from llama_cpp import ask, serve
from safetensors.numpy import load_file
from widen_gguf import copy_metadata, copy_widened, finish

FLOOR = -8  # natural logarithm: smaller probabilities are noise


def with_vocabulary(source, target):
    """Writes source again, widened, with words for its ids; returns how many."""
    reader = GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    n_vocab = int(reader.fields[f"{arch}.vocab_size"].contents())
    writer = GGUFWriter(target, arch)
    copy_metadata(reader, writer)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([chr(0x4E00 + i) for i in range(n_vocab)])
    writer.add_token_types([1] * n_vocab)
    writer.add_token_merges([f"{chr(0x4E00)} {chr(0x4E01)}"])
    copy_widened(reader, writer)
    finish(writer)
    return n_vocab


def off(server, ids, logits, n_vocab):
    """Largest difference of log-probabilities after ids."""
    answer = ask(server, "/completion", prompt=ids, n_predict=1, temperature=0, top_k=1, n_probs=n_vocab,
                 cache_prompt=False)
    x = logits.astype(np.float64)
    x = x - x.max() - np.log(np.exp(x - x.max()).sum())
    top = answer["completion_probabilities"][0]["top_logprobs"]
    return max(abs(t["logprob"] - x[t["id"]]) for t in top if x[t["id"]] > FLOOR)


def main():
    """Command line."""
    folder = Path(sys.argv[1])
    golden = load_file(folder / "golden.safetensors")
    with tempfile.TemporaryDirectory() as tmp:
        n_vocab = with_vocabulary(folder / "model.gguf", Path(tmp) / "model.gguf")
        server = serve(Path(tmp) / "model.gguf")
        for i in range(2):
            ids, logits = golden[f"ids.{i}"].tolist(), golden[f"logits.{i}"]
            for n in (len(ids), len(ids) // 2, 8):
                distance = off(server, ids[:n], logits[n - 1], n_vocab)
                print(f"{folder.name:24} sequence {i}, {n:3} tokens: off by {distance:.1e}", flush=True)


if __name__ == "__main__":
    main()
