# SPDX-License-Identifier: MIT
"""Batched generation with a snapshot's weights in float32, and the traces its scores need.

Prompts of a batch are padded on the left; a key column of padding is masked for its row. Keys and values
are cached in expanded form: clear, and small at this size.
"""
import math
import os

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

import model as m
import tokens
import weights

m.PAD_ROWS = 8  # segments of the training kernels; a small batch needs no large ones


class Model:
    """A snapshot folder: weights, tokenizer, and the two ways to run them."""

    def __init__(self, folder):
        self.p, self.bias = weights.from_snapshot(folder)
        self.tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))

    def prompt_ids(self, messages):
        """Token ids of a conversation with the generation prompt, as chat_template.jinja renders it."""
        text = tokens.SPECIAL[tokens.BOS]
        for msg in messages:
            role = tokens.USER if msg["role"] == "user" else tokens.ASSISTANT
            text += tokens.SPECIAL[role] + msg["content"] + (tokens.SPECIAL[tokens.EOS] if role == tokens.ASSISTANT else "")
        text += tokens.SPECIAL[tokens.ASSISTANT] + tokens.SPECIAL[tokens.THINK] + "\n"
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def step(self, ids, pos, hidden_cols, cache):
        """Logits of the last column of ids [B, L]; cache: one (k, v) per layer, grown here."""
        p = self.p
        freq = m.THETA ** (-torch.arange(0, m.ROPE, 2).float() / m.ROPE)
        angle = (pos.clamp(min=0).float().unsqueeze(-1) * freq).unsqueeze(1)
        cos, sin = angle.cos(), angle.sin()
        n_new, n_all = ids.shape[1], hidden_cols.shape[1]
        causal = torch.ones(n_all, n_all, dtype=torch.bool).tril()[n_all - n_new:]
        # a padding row may see itself: a softmax over nothing would be NaN
        seen = (causal & ~hidden_cols.unsqueeze(1)) | torch.eye(n_all, dtype=torch.bool)[n_all - n_new:]
        mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9).unsqueeze(1)
        x = F.embedding(ids, p["embed"])
        for i in range(m.LAYERS):
            pre = f"l{i}."
            x = x + self.attend(pre, m.rms(x, p[pre + "in_norm"]), cos, sin, mask, cache, i)
            n = m.rms(x, p[pre + "post_norm"])
            if i == 0:
                x = x + F.linear(F.silu(F.linear(n, p["l0.gate"])) * F.linear(n, p["l0.up"]), p["l0.down"])
            else:
                x = x + m.moe(p, pre, n.reshape(-1, m.D), self.bias[i - 1], torch.zeros(m.EXPERTS)).view_as(x)
        return F.linear(m.rms(x[:, -1], p["norm"]), p["head"])

    def attend(self, pre, n, cos, sin, mask, cache, i):
        p, (b, length, _) = self.p, n.shape
        q = m.rms(F.linear(n, p[pre + "q_a"]), p[pre + "q_norm"])
        q = F.linear(q, p[pre + "q_b"]).view(b, length, m.HEADS, -1).transpose(1, 2)
        kv_a = F.linear(n, p[pre + "kv_a"])
        k_rope = m.rope(kv_a[..., m.KV_LORA:].unsqueeze(1), cos, sin).expand(-1, m.HEADS, -1, -1)
        kv = F.linear(m.rms(kv_a[..., :m.KV_LORA], p[pre + "kv_norm"]), p[pre + "kv_b"])
        kv = kv.view(b, length, m.HEADS, -1).transpose(1, 2)
        k, v = torch.cat((kv[..., :m.NOPE], k_rope), -1), kv[..., m.NOPE:]
        if len(cache) > i:
            k, v = torch.cat((cache[i][0], k), 2), torch.cat((cache[i][1], v), 2)
            cache[i] = (k, v)
        else:
            cache.append((k, v))
        q = torch.cat((q[..., :m.NOPE], m.rope(q[..., m.NOPE:], cos, sin)), -1)
        s = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(m.NOPE + m.ROPE) + mask
        return F.linear(torch.matmul(torch.softmax(s, -1), v).transpose(1, 2).reshape(b, length, -1), p[pre + "o"])

    @torch.no_grad()
    def generate(self, prompts, max_new=384, temperature=0.0, seed=1):
        """New ids of each prompt, the end token not included; cut where the context of 512 is full."""
        g = torch.Generator().manual_seed(seed)
        longest = max(map(len, prompts))
        pad = [longest - len(x) for x in prompts]
        ids = torch.tensor([[tokens.PAD] * n + x for n, x in zip(pad, prompts)])
        hidden = torch.tensor([[True] * n + [False] * (longest - n) for n in pad])
        pos = torch.arange(longest).unsqueeze(0) - torch.tensor(pad).unsqueeze(1)
        out, live, cache = [[] for _ in prompts], list(range(len(prompts))), []
        for _ in range(max_new):
            logits = self.step(ids, pos, hidden, cache)
            if temperature:
                nxt = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=g).squeeze(1)
            else:
                nxt = logits.argmax(-1)
            keep = []
            for k, t in enumerate(nxt.tolist()):
                if t == tokens.EOS or len(prompts[live[k]]) + len(out[live[k]]) + 1 > m.MAX_POS:
                    continue
                out[live[k]].append(t)
                keep.append(k)
            if not keep:
                break
            # finished rows leave the batch
            live = [live[k] for k in keep]
            ids, pos = nxt[keep].unsqueeze(1), pos[keep][:, -1:] + 1
            hidden = torch.cat((hidden[keep], torch.zeros(len(keep), 1, dtype=torch.bool)), 1)
            if len(keep) < cache[0][0].shape[0]:
                cache = [(k[keep], v[keep]) for k, v in cache]
        return out

    def generate_all(self, prompts, batch=64, **options):
        """generate() for any number of prompts, those of like length together."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        out = [None] * len(prompts)
        for at in range(0, len(order), batch):
            idx = order[at:at + batch]
            for i, text in zip(idx, self.generate([prompts[i] for i in idx], **options)):
                out[i] = text
        return out

    @torch.no_grad()
    def follow(self, ids):
        """Teacher-forced run of one sequence: main logits, MTP logits, tokens per [layer][expert]."""
        x = torch.tensor([ids])
        load = torch.zeros(m.LAYERS, m.EXPERTS)
        h, mtp = m.forward(self.p, x, torch.zeros_like(x), torch.arange(len(ids)).unsqueeze(0), self.bias, load)
        return F.linear(h[0], self.p["head"]), F.linear(mtp[0], self.p["head"]), load
