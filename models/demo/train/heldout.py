# SPDX-License-Identifier: MIT
"""Writes heldout.jsonl: conversations whose last prompt training never saw, with their answers.

One line each: {"id", "task", "messages", "answer"}. The seed differs from that of the trainer's own progress
checks, so nothing was ever chosen by looking at these.
"""
import json
import os
import random

import data

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "heldout.jsonl")
SEED, SINGLE, TURNS, LONG = 20, 72, 72, 20  # conversations of each short task, of multi/memory, of each long task


def messages(turns):
    """The conversation up to the last question, earlier answers given without their trace."""
    out = []
    for q, _, a in turns[:-1]:
        out += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    return out + [{"role": "user", "content": turns[-1][0]}]


def conversations():
    """(task, turns): every task's number of different held-out conversations."""
    want = {t: SINGLE for t in data.TASKS if t not in ("story", "chat")}
    want |= {"multi": TURNS, "memory": TURNS} | {f"long-{t}": LONG for t in data.LONG}
    kind = lambda task: "long" if task.startswith("long-") else "multi" if task == "memory" else task
    r, seen = random.Random(SEED), set()
    for task, n in want.items():
        while n:
            got, turns = data.sample(r, True, kind(task))
            last = turns[-1][0]
            free = last in (q for q, _, _ in data.CHAT) or last.startswith(("Tell", "Write a story"))
            key = "\n".join(q for q, _, _ in turns)
            if got == task and not free and key not in seen:
                seen.add(key)
                n -= 1
                yield task, turns


def main():
    with open(PATH, "w") as f:
        count = {}
        for task, turns in conversations():
            count[task] = count.get(task, 0) + 1
            line = {"id": f"{task}-{count[task]}", "task": task, "messages": messages(turns), "answer": turns[-1][2]}
            f.write(json.dumps(line, separators=(",", ":")) + "\n")
    print(f"{sum(count.values())} conversations, {os.path.getsize(PATH)} bytes")


if __name__ == "__main__":
    main()
