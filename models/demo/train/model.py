# SPDX-License-Identifier: MIT
"""The DeepSeek-V3 architecture at 15 M parameters, written for training on CPU cores.

Rows hold several documents (`doc` numbers them); attention never crosses one. Rope pairs are half-split
here and become neighbours on export. bf16 weights and matmuls, float32 residual stream, norms and router.
"""
import math

import torch
import torch.nn.functional as F

D, LAYERS, HEADS, FF, VOCAB = 256, 5, 4, 512, 1280
Q_LORA, KV_LORA, NOPE, ROPE, V = 128, 128, 32, 32, 64
EXPERTS, TOP_K, D_EXPERT, GROUPS, GROUPS_USED, SCALE = 24, 2, 128, 4, 2, 1.5
THETA, EPS, MAX_POS = 10000.0, 1e-6, 512
HALF = torch.bfloat16


def shapes():
    """name -> (shape, kind); kind says how it is initialised and optimised."""
    s = {"embed": ((VOCAB, D), "embed"), "head": ((VOCAB, D), "head"), "norm": ((D,), "norm")}
    for i in range(LAYERS + 1):
        p = f"l{i}."
        s |= {p + "in_norm": ((D,), "norm"), p + "post_norm": ((D,), "norm"), p + "q_a": ((Q_LORA, D), "matrix"),
              p + "q_norm": ((Q_LORA,), "norm"), p + "q_b": ((HEADS * (NOPE + ROPE), Q_LORA), "matrix"),
              p + "kv_a": ((KV_LORA + ROPE, D), "matrix"), p + "kv_norm": ((KV_LORA,), "norm"),
              p + "kv_b": ((HEADS * (NOPE + V), KV_LORA), "matrix"), p + "o": ((D, HEADS * V), "matrix")}
        if i == 0:
            s |= {p + "gate": ((FF, D), "matrix"), p + "up": ((FF, D), "matrix"), p + "down": ((D, FF), "matrix")}
        else:
            s |= {p + "router": ((EXPERTS, D), "router"), p + "s_gate": ((D_EXPERT, D), "matrix"),
                  p + "s_up": ((D_EXPERT, D), "matrix"), p + "s_down": ((D, D_EXPERT), "matrix"),
                  p + "e_gate": ((EXPERTS, D_EXPERT, D), "matrix"), p + "e_up": ((EXPERTS, D_EXPERT, D), "matrix"),
                  p + "e_down": ((EXPERTS, D, D_EXPERT), "matrix")}
        if i == LAYERS:
            s |= {p + "enorm": ((D,), "norm"), p + "hnorm": ((D,), "norm"), p + "eh": ((D, 2 * D), "matrix"),
                  p + "out_norm": ((D,), "norm")}
    return s


def rms(x, w):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS) * w


def rope(x, cos, sin):
    a, b = x[..., :ROPE // 2], x[..., ROPE // 2:]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Experts(torch.autograd.Function):
    """y[i] = down_e(silu(gate_e x[i]) * up_e x[i]) for rows sorted by expert; `ends` are segment ends."""

    @staticmethod
    def forward(ctx, x, wg, wu, wd, ends):
        y = torch.empty_like(x)
        g, u = x.new_empty(x.shape[0], D_EXPERT), x.new_empty(x.shape[0], D_EXPERT)
        a = 0
        for e, b in enumerate(ends):
            if a < b:
                torch.mm(x[a:b], wg[e].t(), out=g[a:b])
                torch.mm(x[a:b], wu[e].t(), out=u[a:b])
            a = b
        h = F.silu(g) * u
        a = 0
        for e, b in enumerate(ends):
            if a < b:
                torch.mm(h[a:b], wd[e].t(), out=y[a:b])
            a = b
        ctx.save_for_backward(x, wg, wu, wd, g, u, h)
        ctx.ends = ends
        return y

    @staticmethod
    def backward(ctx, dy):
        x, wg, wu, wd, g, u, h = ctx.saved_tensors
        dwg, dwu, dwd = torch.zeros_like(wg), torch.zeros_like(wu), torch.zeros_like(wd)
        dh, dx = torch.empty_like(h), torch.empty_like(x)
        dy = dy.contiguous()
        a = 0
        for e, b in enumerate(ctx.ends):
            if a < b:
                torch.mm(dy[a:b], wd[e], out=dh[a:b])
                torch.mm(dy[a:b].t(), h[a:b], out=dwd[e])
            a = b
        sig = torch.sigmoid(g)
        du = dh * (g * sig)
        dg = dh * u * (sig * (1 + g * (1 - sig)))
        a = 0
        for e, b in enumerate(ctx.ends):
            if a < b:
                torch.mm(dg[a:b], wg[e], out=dx[a:b])
                dx[a:b].addmm_(du[a:b], wu[e])
                torch.mm(dg[a:b].t(), x[a:b], out=dwg[e])
                torch.mm(du[a:b].t(), x[a:b], out=dwu[e])
            a = b
        return dx, dwg, dwu, dwd, None


PAD_ROWS = 64  # segments are padded: a new GEMM shape costs oneDNN a millisecond


def route(scores, bias):
    """Chosen experts [n, TOP_K] and their weights; the bias chooses but does not weigh."""
    with torch.no_grad():
        choice = scores + bias
        group = choice.view(-1, GROUPS, EXPERTS // GROUPS).topk(2, -1).values.sum(-1)
        keep = torch.zeros_like(group).scatter_(1, group.topk(GROUPS_USED, -1).indices, 1.0)
        choice = choice.masked_fill(keep.repeat_interleave(EXPERTS // GROUPS, 1) == 0, -1e9)
        top = choice.topk(TOP_K, -1).indices
    w = scores.gather(1, top)
    return top, w / (w.sum(-1, keepdim=True) + 1e-20) * SCALE


def moe(p, pre, x, bias, load):
    """x [n, D] bf16 -> [n, D] float32; adds the number of tokens of each expert to load."""
    scores = torch.sigmoid(x.float() @ p[pre + "router"].float().t())
    top, w = route(scores, bias)
    flat = top.flatten()
    order = flat.argsort(stable=True)
    count = torch.bincount(flat, minlength=EXPERTS)
    load += count
    padded = (count + PAD_ROWS - 1) // PAD_ROWS * PAD_ROWS
    ends = padded.cumsum(0)
    place = torch.arange(flat.numel()) - (count.cumsum(0) - count)[flat[order]] + (ends - padded)[flat[order]]
    rows = x.new_zeros(int(ends[-1]), D).index_copy(0, place, x[order // TOP_K])
    y = Experts.apply(rows, p[pre + "e_gate"], p[pre + "e_up"], p[pre + "e_down"], ends.tolist())
    inverse = torch.empty_like(order)
    inverse[order] = place
    out = (y[inverse].view(-1, TOP_K, D).float() * w.unsqueeze(-1)).sum(1)
    shared = F.linear(F.silu(F.linear(x, p[pre + "s_gate"])) * F.linear(x, p[pre + "s_up"]), p[pre + "s_down"])
    return out + shared.float()


def attention(p, pre, n, cos, sin, mask):
    b, length, _ = n.shape
    half = n.to(p[pre + "q_a"].dtype)
    q = rms(F.linear(half, p[pre + "q_a"]).float(), p[pre + "q_norm"].float()).to(half.dtype)
    q = F.linear(q, p[pre + "q_b"]).view(b, length, HEADS, NOPE + ROPE).transpose(1, 2)
    kv = F.linear(half, p[pre + "kv_a"])
    c = rms(kv[..., :KV_LORA].float(), p[pre + "kv_norm"].float()).to(half.dtype)
    k_rope = rope(kv[..., KV_LORA:].float().unsqueeze(1), cos, sin).to(half.dtype)
    kv = F.linear(c, p[pre + "kv_b"]).view(b, length, HEADS, NOPE + V).transpose(1, 2)
    q = torch.cat((q[..., :NOPE], rope(q[..., NOPE:].float(), cos, sin).to(half.dtype)), -1)
    k = torch.cat((kv[..., :NOPE], k_rope.expand(-1, HEADS, -1, -1)), -1)
    s = torch.matmul(q, k.transpose(2, 3)).float() / math.sqrt(NOPE + ROPE) + mask
    a = torch.matmul(torch.softmax(s, -1).to(half.dtype), kv[..., NOPE:])
    return F.linear(a.transpose(1, 2).reshape(b, length, HEADS * V), p[pre + "o"]).float()


def layer(p, i, x, cos, sin, mask, bias, load):
    pre = f"l{i}."
    x = x + attention(p, pre, rms(x, p[pre + "in_norm"].float()), cos, sin, mask)
    n = rms(x, p[pre + "post_norm"].float()).to(p[pre + "o"].dtype)
    if i == 0:
        return x + F.linear(F.silu(F.linear(n, p[pre + "gate"])) * F.linear(n, p[pre + "up"]), p[pre + "down"]).float()
    return x + moe(p, pre, n.reshape(-1, D), bias[i - 1], load[i - 1]).view_as(x)


def masks(doc, pos):
    """Additive attention mask [B, 1, L, L] and rope tables [B, 1, L, ROPE / 2] of packed rows."""
    length = doc.shape[1]
    ok = (doc.unsqueeze(2) == doc.unsqueeze(1)) & torch.ones(length, length, dtype=torch.bool).tril()
    mask = torch.zeros(ok.shape).masked_fill(~ok, -1e9).unsqueeze(1)
    freq = THETA ** (-torch.arange(0, ROPE, 2).float() / ROPE)
    angle = (pos.float().unsqueeze(-1) * freq).unsqueeze(1)
    return mask, angle.cos(), angle.sin()


def forward(p, ids, doc, pos, bias, load, mtp=True):
    """Hidden states after the final norm (main) and of the MTP layer, [B, L, D] each, in the weights' type."""
    mask, cos, sin = masks(doc, pos)
    x = F.embedding(ids, p["embed"]).float()
    for i in range(LAYERS):
        x = layer(p, i, x, cos, sin, mask, bias, load)
    h = rms(x, p["norm"].float())
    if not mtp:
        return h.to(p["head"].dtype), None
    pre = f"l{LAYERS}."
    nxt = F.embedding(torch.cat((ids[:, 1:], ids[:, :1] * 0), 1), p["embed"]).float()
    both = torch.cat((rms(nxt, p[pre + "enorm"].float()), rms(h, p[pre + "hnorm"].float())), -1)
    x = F.linear(both.to(p[pre + "eh"].dtype), p[pre + "eh"]).float()
    x = layer(p, LAYERS, x, cos, sin, mask, bias, load)
    return h.to(p["head"].dtype), rms(x, p[pre + "out_norm"].float()).to(p["head"].dtype)
