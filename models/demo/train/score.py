# SPDX-License-Identifier: MIT
"""Scores the demo model on heldout.jsonl.

`python score.py SNAPSHOT [--json OUT]` generates greedily with the snapshot's FP8 weights (arithmetic in
float32) and reports exact answers by task and by length, stories, MTP acceptance and expert load.
`python score.py --texts FILE` scores the answers of any engine: FILE has a line {"id", "text"} for each
conversation, text being what was generated after the prompt, trace included.
"""
import argparse
import json
import os
import random
import re
import sys

import data

HERE = os.path.dirname(os.path.abspath(__file__))
N_STORIES = 100


def answer_of(text):
    """What stands after the trace; an answer without a finished trace counts as none."""
    if "</think>" in text:
        return text.split("</think>")[-1].strip()
    # engines that leave out special tokens: the tag's neighbours are one newline before and two after it
    return text.split("\n\n\n")[-1].strip() if "\n\n\n" in text else None


def tally(keys, right):
    """{key: [right, of]} in the order of first appearance."""
    out = {}
    for k, ok in zip(keys, right):
        row = out.setdefault(k, [0, 0])
        row[0] += ok
        row[1] += 1
    return out


def show(title, rows):
    print(title)
    for k, (ok, n) in rows.items():
        print(f"  {k:<14}{ok:>5} of {n:<5}{ok / n:8.1%}")


def score_texts(prompts, texts):
    """Exact answers by task; texts: {id: generated text}."""
    right = [answer_of(texts.get(p["id"], "")) == p["answer"] for p in prompts]
    by_task = tally([p["task"] for p in prompts], right)
    show("exact answers", by_task | {"all": [sum(right), len(right)]})
    return by_task, right


# Stories. A sentence is known when its pattern, names and things replaced by their part in the story, occurs
# in stories of the generator.

SLOTS = (("other", data.NAMES), ("color", data.COLORS), ("thing", data.THINGS), ("animal", data.ANIMALS),
         ("place", data.PLACES), ("fruit", data.FRUITS))
PLAN = re.compile(r"(\w+) and (\w+), a (\w+), a (\w+) (\w+), the (\w+)")


def patterns(text, plan):
    """The set of sentence patterns of a story whose plan is (a, b, animal, color, thing, place)."""
    own = dict(zip(plan, ("A", "B", "ANIMAL", "COLOR", "THING", "PLACE")))
    own |= {w: f"<{slot}>" for slot, words in SLOTS for w in words if w not in own}
    swap = lambda s: re.sub(r"\w+", lambda w: own.get(w.group(), w.group()), s)
    return {swap(s) for s in re.split(r'(?<=[.!?]) (?=[A-Z"])', text)}


def known_patterns(n=60000):
    r, out = random.Random(3), set()
    for _ in range(n):
        _, plan, text = data.task_story(r)
        out |= patterns(text, PLAN.fullmatch(plan).groups())
    return out


def story_is_good(prompt, text, known):
    """Plan as asked, every sentence of the grammar, names and things as planned."""
    trace, _, story = text.partition("\n</think>\n\n")
    plan = PLAN.fullmatch(trace)
    asked = re.search(r"about (\w+) in the (\w+)\.", prompt).groups()
    return bool(plan) and (plan[1], plan[6]) == asked and bool(story) and patterns(story, plan.groups()) <= known


def stories(model, temperature):
    """(share of good stories, MTP acceptance with the likeliest token as draft, the same with sampled drafts)."""
    import torch
    r = random.Random(11)
    prompts = [data.task_story(r)[0] for _ in range(N_STORIES)]
    ids = [model.prompt_ids([{"role": "user", "content": p}]) for p in prompts]
    new = model.generate_all(ids, temperature=temperature, seed=5)
    known, good, hit, overlap, n = known_patterns(), 0, 0, 0.0, 0
    for prompt, x, y in zip(prompts, ids, new):
        good += story_is_good(prompt, model.tokenizer.decode(y, skip_special_tokens=False), known)
        logits, draft, _ = model.follow(x + y + [1])
        at = range(len(x) - 1, len(x) + len(y) - 1)  # draft made at t is for the token at t + 2
        hit += sum(int(draft[t].argmax()) == (x + y + [1])[t + 2] for t in at)
        if temperature:
            p, q = (torch.softmax(z / temperature, -1) for z in (logits[len(x):-1], draft[len(x) - 1:-2]))
            overlap += float(torch.minimum(p, q).sum())
        n += len(at)
    return good / N_STORIES, hit / n, overlap / n if temperature else hit / n


def balance(load):
    """Load max / mean of each MoE layer, and the busiest expert; load: [layer][expert]."""
    return [(round(float(x.max() / x.mean()), 2), int(x.argmax())) for x in load]


def score_model(folder, prompts):
    import torch
    import generate
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    model = generate.Model(folder)
    ids = [model.prompt_ids(p["messages"]) for p in prompts]
    new = model.generate_all(ids, max_new=512)
    texts = {p["id"]: model.tokenizer.decode(x, skip_special_tokens=False) for p, x in zip(prompts, new)}
    by_task, right = score_texts(prompts, texts)
    sizes = [len(x) + len(y) for x, y in zip(ids, new)]
    bucket = lambda n: f"{n // 128 * 128}-{n // 128 * 128 + 127}"
    by_length = dict(sorted(tally([bucket(n) for n in sizes], right).items(), key=lambda kv: int(kv[0].split("-")[0])))
    show("by tokens of prompt and answer", by_length)

    load, drafts = {}, []
    for p, x, y in zip(prompts, ids, new):
        _, draft, n = model.follow(x + y + [1])
        task = p["task"]
        load[task] = load.get(task, 0) + n
        seq = x + y + [1]
        drafts += [(task, int(draft[t].argmax()) == seq[t + 2]) for t in range(len(x) - 1, len(seq) - 2)]
    mtp = tally(*zip(*drafts))
    total = sum(load.values())
    show("MTP acceptance, greedy", mtp | {"all": [sum(v[0] for v in mtp.values()), len(drafts)]})
    print("expert load, max/mean (busiest expert) of each MoE layer, the last one is MTP")
    for task, n in {"all": total, **load}.items():
        print(f"  {task:<14}" + "  ".join(f"{a:.2f} ({e:2d})" for a, e in balance(n)))
    told = {t: stories(model, t) for t in (0.0, 0.8, 1.0)}
    for t, (good, hit, overlap) in told.items():
        print(f"stories at temperature {t}: {good:.1%} good, MTP acceptance {hit:.1%} likeliest, {overlap:.1%} sampled draft")
    return texts, {"exact": by_task, "by_length": by_length, "mtp": mtp, "load": {k: balance(v) for k, v in load.items()},
                   "load_all": balance(total), "stories": {str(k): v for k, v in told.items()}}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("snapshot", nargs="?")
    a.add_argument("--texts", help="score these texts of an engine instead")
    a.add_argument("--json", help="write the figures here")
    a.add_argument("--save-texts", help="write the generated texts here, as --texts reads them")
    args = a.parse_args()
    with open(os.path.join(HERE, "heldout.jsonl")) as f:
        prompts = [json.loads(line) for line in f]
    if args.texts:
        with open(args.texts) as f:
            texts = {x["id"]: x["text"] for x in map(json.loads, f)}
        right = score_texts(prompts, texts)[1]
        sys.exit(0 if sum(right) >= 0.98 * len(right) else 1)
    texts, figures = score_model(args.snapshot, prompts)
    if args.save_texts:
        with open(args.save_texts, "w") as f:
            f.writelines(json.dumps({"id": k, "text": v}) + "\n" for k, v in texts.items())
    if args.json:
        with open(args.json, "w") as f:
            json.dump(figures, f, indent=1)


if __name__ == "__main__":
    main()
