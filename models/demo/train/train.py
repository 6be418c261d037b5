# SPDX-License-Identifier: MIT
"""Trains the demo model: `python train.py OUT --minutes 60`.

Two single-threaded processes share the parameters: each runs forward and backward on its own rows, then
updates half of the tensors (Muon for matrices, Adam for the rest). The learning rate falls with the wall
clock, so that a run always ends at its deadline with a finished schedule. OUT gets ckpt.pt every few
minutes, log.jsonl, and the tokenizer's files.
"""
import argparse
import json
import math
import os
import random
import time

import torch
import torch.multiprocessing as mp
import torch.nn.functional as F

import data
import model
import tokens

N_PROC = 2
ROWS = [(128, 32), (256, 4), (512, 2)]  # (length, rows per process and step)
ROWS_LONG = [(128, 16), (256, 8), (512, 4)]  # for a mix with many long conversations
LR = {"matrix": 5e-3, "embed": 1.5e-2, "head": 3e-3, "norm": 3e-3, "router": 1e-3}
GAMMA, MTP_WEIGHT = 0.006, 0.3


class Rows:
    """Endless packed rows: documents drawn from a generator, best fit into rows of the three lengths."""

    def __init__(self, tokenizer, seed):
        self.t, self.r, self.docs = tokenizer, random.Random(seed), []

    def refill(self):
        samples = [data.sample(self.r) for _ in range(4000)]
        self.docs += [d for d in tokens.encode_many(self.t, samples) if len(d[0]) <= 512]
        self.r.shuffle(self.docs)

    def row(self, length):
        """ids, weights, document numbers, positions of one row; the longest documents that fit go first."""
        ids, w, doc, pos, n = [], [], [], [], 0
        if len(self.docs) < 1500:
            self.refill()
        # documents too long for shorter rows are kept for the long ones
        floor = length // 2 if length > 128 else 0
        window = self.docs[-600:]
        while True:
            room = length - len(ids)
            best, at = 0, -1
            for k, d in enumerate(window):
                if best < len(d[0]) <= room and (n or len(d[0]) > floor or length == 128):
                    best, at = len(d[0]), k
                    if n == 0 or best == room:
                        break
            if at < 0:
                if n:
                    break
                floor = 0
                if length == 128 or not any(len(d[0]) <= room for d in window):
                    self.refill()
                    window = self.docs[-600:]
                continue
            d = window.pop(at)
            ids += d[0]
            w += d[1]
            doc += [n] * len(d[0])
            pos += range(len(d[0]))
            n += 1
        self.docs[-600:] = window
        pad = length - len(ids)
        return ids + [tokens.PAD] * pad, w + [0.0] * pad, doc + [-1] * pad, pos + [0] * pad

    def batch(self, length, n):
        rows = [self.row(length) for _ in range(n)]
        ids, w, doc, pos = (torch.tensor([r[k] for r in rows]) for k in range(4))
        return ids, w, doc, pos


def losses(p, batch, bias, load):
    """Summed weighted cross entropy of the next token, of the one after (MTP), and the weight sums."""
    ids, w, doc, pos = batch
    h, m = model.forward(p, ids, doc, pos, bias, load)
    same1 = (doc[:, 1:] == doc[:, :-1]) & (doc[:, 1:] >= 0)
    w1 = (w[:, 1:] * same1).flatten()
    logits = F.linear(h[:, :-1].reshape(-1, model.D), p["head"]).float()
    loss = (F.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none") * w1).sum()
    same2 = (doc[:, 2:] == doc[:, :-2]) & (doc[:, 2:] >= 0)
    w2 = (w[:, 2:] * same2).flatten()
    logits2 = F.linear(m[:, :-2].reshape(-1, model.D), p["head"]).float()
    loss2 = (F.cross_entropy(logits2, ids[:, 2:].flatten(), reduction="none") * w2).sum()
    return loss, loss2, w1.sum(), w2.sum()


def orthogonal(g):
    """Newton-Schulz iteration of Muon on [n, a, b] (quintic, five steps), bf16."""
    x = g.to(model.HALF)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.float().flatten(1).norm(dim=1).view(-1, 1, 1).to(x.dtype) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.transpose(1, 2) if tall else x).float()


class Optimizer:
    """Updates the tensors named in `mine`; momenta live in this process only."""

    def __init__(self, mine, kinds, master, half, lr):
        self.mine, self.kinds, self.master, self.half, self.lr = mine, kinds, master, half, lr
        self.m = {n: torch.zeros_like(master[n]) for n in mine}
        self.v = {n: torch.zeros_like(master[n]) for n in mine if kinds[n] != "matrix"}

    def step(self, grads, n_step, scale):
        for n in self.mine:
            kind, w, g = self.kinds[n], self.master[n], sum(gr[n].float() for gr in grads)
            lr = LR[kind] * scale * self.lr
            if kind == "matrix":
                m = self.m[n].mul_(0.95).add_(g)
                u = (g + 0.95 * m).view(-1, *w.shape[-2:])
                u = orthogonal(u).view_as(w) * (0.2 * math.sqrt(max(w.shape[-2:])))
                w.mul_(1 - lr * 0.1).sub_(u, alpha=lr)
            else:
                b1, b2 = 0.9, 0.95
                m, v = self.m[n].mul_(b1).add_(g, alpha=1 - b1), self.v[n].mul_(b2).addcmul_(g, g, value=1 - b2)
                mh, vh = m / (1 - b1 ** n_step), v / (1 - b2 ** n_step)
                w.sub_(lr * mh / (vh.sqrt() + 1e-10))
            self.half[n].copy_(w)


def share(names, kinds, master):
    """Splits the tensors so that both processes have about the same work in their update."""
    cost = [0.0] * N_PROC
    out = [[] for _ in range(N_PROC)]
    for n in sorted(names, key=lambda k: -master[k].numel()):
        i = cost.index(min(cost))
        out[i].append(n)
        cost[i] += master[n].numel() * (1 if kinds[n] == "matrix" else 0.1)
    return out


def schedule(done, n_step):
    """Warm up over 60 steps, hold to a quarter of the time, then linearly to 1 %."""
    warm = min(1.0, n_step / 60)
    return warm * (1.0 if done < 0.25 else max(0.01, 1 - (done - 0.25) / 0.75))


def evaluate(p, tokenizer, bias, heldout):
    """Share of held-out conversations whose whole trace and answer are the greedy ones, by task; MTP agreement."""
    right, total, mtp_ok, mtp_n = {}, {}, 0, 0
    docs = tokens.encode_many(tokenizer, heldout)
    order = sorted(range(len(docs)), key=lambda i: len(docs[i][0]))
    load = torch.zeros(model.LAYERS, model.EXPERTS)
    for at in range(0, len(order), 48):
        idx = order[at:at + 48]
        length = max(len(docs[i][0]) for i in idx)
        ids = torch.tensor([docs[i][0] + [tokens.PAD] * (length - len(docs[i][0])) for i in idx])
        own = torch.tensor([[float(x >= 0.5) for x in docs[i][1]] + [0.0] * (length - len(docs[i][0])) for i in idx])
        doc = torch.zeros_like(ids)
        pos = torch.arange(length).expand_as(ids)
        with torch.no_grad():
            h, m = model.forward(p, ids, doc, pos, bias, load)
            best = F.linear(h, p["head"]).argmax(-1)
            draft = F.linear(m, p["head"]).argmax(-1)
        bad = ((best[:, :-1] != ids[:, 1:]) & (own[:, 1:] > 0)).any(1)
        mtp_ok += int(((draft[:, :-2] == ids[:, 2:]) & (own[:, 2:] > 0)).sum())
        mtp_n += int((own[:, 2:] > 0).sum())
        for k, i in enumerate(idx):
            task = heldout[i][0]
            total[task] = total.get(task, 0) + 1
            right[task] = right.get(task, 0) + int(not bad[k])
    acc = {k: round(right[k] / total[k], 3) for k in sorted(total)}
    return acc, sum(right.values()) / sum(total.values()), mtp_ok / max(1, mtp_n)


def worker(rank, args, master, half, grads, bias, loads, barrier, stop):
    torch.set_num_threads(1)
    torch.manual_seed(rank)
    data.reweigh(args.mix)
    kinds = {n: k for n, (_, k) in model.shapes().items()}
    tokenizer = tokens.Tokenizer.from_file(os.path.join(args.out, "tokenizer.json"))
    rows = Rows(tokenizer, args.seed * 1000 + rank)
    params = {n: t.requires_grad_() for n, t in half.items()}
    opt = Optimizer(share(list(master), kinds, master)[rank], kinds, master,
                    {n: t.detach() for n, t in half.items()}, args.lr)
    heldout = data.heldout(24, args.seed + 99) if rank == 0 else []
    start, n_step, n_tok, next_save = time.time(), 0, 0, 180.0
    while True:
        n_step += 1
        loads[rank].zero_()
        sums = [0.0] * 4
        for g in grads[rank].values():
            g.zero_()
        for t in params.values():
            t.grad = None
        for length, n in ROWS_LONG if args.long_rows else ROWS:
            batch = rows.batch(length, n)
            l1, l2, w1, w2 = losses(params, batch, bias, loads[rank])
            ((l1 + MTP_WEIGHT * l2) / 2000).backward()
            for k, v in enumerate((l1, l2, w1, w2)):
                sums[k] += float(v.detach())
            n_tok += int((batch[2] >= 0).sum())
        for n, t in params.items():
            if t.grad is not None:
                grads[rank][n].copy_(t.grad)
        if rank == 0:
            stop[0] = 1 if time.time() - start > args.minutes * 60 else 0
        barrier.wait()
        done = (time.time() - start) / (args.minutes * 60)
        opt.step(grads, n_step, schedule(done, n_step))
        if rank == 0:
            gamma = GAMMA if done < 0.8 else GAMMA * max(0.0, 1 - (done - 0.8) / 0.15)
            total = loads[0] + loads[1]
            bias.add_(gamma * torch.sign(total.mean(1, keepdim=True) - total))
            if n_step % 20 == 0 or stop[0]:
                worst = (total.max(1).values / total.mean(1)).max()
                log(args, {"step": n_step, "min": round((time.time() - start) / 60, 2), "mtok": round(n_tok * 2 / 1e6, 3),
                           "loss": round(sums[0] / sums[2], 4), "mtp": round(sums[1] / sums[3], 4),
                           "load": round(float(worst), 2), "lr": round(schedule(done, n_step), 4)})
        barrier.wait()
        if rank == 0 and (time.time() - start > next_save or stop[0]):
            next_save = time.time() - start + 300
            acc, mean, mtp = evaluate({n: t.detach() for n, t in half.items()}, tokenizer, bias, heldout)
            log(args, {"exact": round(mean, 4), "mtp_accept": round(mtp, 4), "by_task": acc})
            torch.save({"w": {n: t.clone() for n, t in master.items()}, "bias": bias.clone()},
                       os.path.join(args.out, "ckpt.pt"))
        if stop[0]:
            return


def log(args, record):
    line = json.dumps(record)
    print(line, flush=True)
    with open(os.path.join(args.out, "log.jsonl"), "a") as f:
        f.write(line + "\n")


def initial(seed):
    torch.manual_seed(seed)
    w = {}
    for n, (shape, kind) in model.shapes().items():
        std = {"norm": 0, "embed": 0.5, "head": 0.02, "router": 0.02}.get(kind, 1 / math.sqrt(shape[-1]))
        w[n] = torch.ones(shape) if kind == "norm" else torch.randn(shape) * std
    return w


def main():
    a = argparse.ArgumentParser()
    a.add_argument("out")
    a.add_argument("--minutes", type=float, default=60)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--init", help="the folder of a run to go on from")
    a.add_argument("--lr", type=float, default=1.0, help="factor on all learning rates")
    a.add_argument("--mix", type=json.loads, default={}, help='weights of tasks, as \'{"sort": 20, "long": 0.2}\'')
    a.add_argument("--long-rows", action="store_true", help="more rows of 256 and 512 tokens")
    args = a.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if args.init:
        ck = torch.load(os.path.join(args.init, "ckpt.pt"))
        tokens.save(tokens.Tokenizer.from_file(os.path.join(args.init, "tokenizer.json")), args.out)
    else:
        ck = {"w": initial(args.seed), "bias": torch.zeros(model.LAYERS, model.EXPERTS)}
        tokens.save(tokens.train(), args.out)
    master = {n: t.share_memory_() for n, t in ck["w"].items()}
    half = {n: t.to(model.HALF).share_memory_() for n, t in master.items()}
    grads = [{n: torch.zeros_like(t).share_memory_() for n, t in half.items()} for _ in range(N_PROC)]
    bias = ck["bias"].share_memory_()
    loads = [torch.zeros(model.LAYERS, model.EXPERTS).share_memory_() for _ in range(N_PROC)]
    stop = torch.zeros(1, dtype=torch.int32).share_memory_()
    barrier = mp.get_context("spawn").Barrier(N_PROC)
    mp.spawn(worker, (args, master, half, grads, bias, loads, barrier, stop), nprocs=N_PROC)


if __name__ == "__main__":
    main()
