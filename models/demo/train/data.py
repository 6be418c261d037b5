# SPDX-License-Identifier: MIT
"""The demo model's world: questions with checkable answers and little stories, made from a seed.

A sample is a conversation: a list of turns (user, trace, answer). Only the last turn shows its trace, as the
chat template drops earlier thinking. The form of the traces is what makes the
tasks learnable: a trace repeats the prompt's own words, scans forwards and numbers
what it counts, because a model of 15 M parameters finds what it has just written far more easily than
what it must look for.

A prompt whose hash falls on HELD_OUT is never used for training; `heldout()` draws only such prompts.
"""
import hashlib
import random

NAMES = "Sam Ben Mia Leo Ann Max Eva Tom Zoe Ian Lily Otto Nina Paul Rosa Finn Ella Hugo Ida Jack".split()
COLORS = "red blue green white black pink brown gray gold purple orange yellow".split()
THINGS = "lamp ball cup hat book drum kite bell coat ring boat box shoe pen key cake rope bag stone shell".split()
ANIMALS = "cat dog hen duck fox cow pig goat owl frog mouse bear horse sheep rabbit".split()
PLACES = "park barn house garden school forest kitchen river market castle field library".split()
FRUITS = "apples pears plums figs nuts eggs cards coins shells stars".split()
WORDS = NAMES + COLORS + THINGS + ANIMALS + PLACES
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
HELD_OUT = 43  # one prompt in so many


def is_held_out(text):
    """True for the prompts kept for scoring only."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % HELD_OUT == 0


def number(r, digits=None):
    d = digits or r.choice([1, 2, 2, 3, 3])
    return r.randrange(10 ** (d - 1) if d > 1 else 0, 10 ** d)


PLACE_NAMES = ["ones", "tens", "hundreds", "thousands"]


def add_lines(a, b):
    """Column addition, digit by digit from the right."""
    lines, carry, i = [], 0, 0
    while True:
        x, y = a // 10 ** i % 10, b // 10 ** i % 10
        terms = f"{x}+{y}" + ("+1" if carry else "")
        s = x + y + carry
        more = a >= 10 ** (i + 1) or b >= 10 ** (i + 1)
        carry = s // 10
        lines.append(f"{PLACE_NAMES[i]}: {terms}={s}, write {s % 10}" + (", carry 1" if carry else ""))
        i += 1
        if not more:
            break
    if carry:
        lines.append(f"{PLACE_NAMES[i]}: write 1")
    return lines


def sub_lines(a, b):
    """Column subtraction a - b, a >= b."""
    lines, borrow, i = [], 0, 0
    while True:
        x, y = a // 10 ** i % 10, b // 10 ** i % 10
        d = x - y - borrow
        terms = f"{x}-{y}" + ("-1" if borrow else "")
        borrow = d < 0
        d += 10 * borrow
        lines.append(f"{PLACE_NAMES[i]}: {terms}={d - 10 if borrow else d}, write {d}" + (", borrow 1" if borrow else ""))
        i += 1
        if a < 10 ** i and b < 10 ** i:
            break
    return lines


def task_add(r):
    a, b = number(r), number(r)
    q = r.choice(["{}+{}", "What is {} + {}?", "How much is {} + {}?", "Add {} and {}."]).format(a, b)
    return q, "\n".join(add_lines(a, b)), str(a + b)


def task_sub(r):
    a, b = number(r), number(r)
    if a < b and r.random() < 0.55:
        a, b = b, a
    q = r.choice(["{}-{}", "What is {} - {}?", "How much is {} - {}?"]).format(a, b)
    if a < b:
        head, answer = f"{a} is less than {b}, so minus {b}-{a}", -(b - a)
        return q, "\n".join([head] + sub_lines(b, a)), str(answer)
    return q, "\n".join([f"{a} is not less than {b}"] + sub_lines(a, b)), str(a - b)


def task_word(r):
    name, what = r.choice(NAMES), r.choice(FRUITS)
    total, text, trace = number(r, 2), "", []
    text = f"{name} has {total} {what}."
    for _ in range(r.choice([1, 2, 2])):
        x = r.randrange(2, 30)
        if r.random() < 0.5 and total > x:
            other = r.choice([n for n in NAMES if n != name])
            text += r.choice([f" {name} gives {x} to {other}.", f" {name} loses {x}.", f" {name} sells {x}."])
            trace += [f"{total}-{x}"] + sub_lines(total, x) + [f"{total}-{x}={total - x}"]
            total -= x
        else:
            text += r.choice([f" {name} finds {x} more.", f" {name} gets {x} more.", f" {name} buys {x} more."])
            trace += [f"{total}+{x}"] + add_lines(total, x) + [f"{total}+{x}={total + x}"]
            total += x
    return text + f" How many {what} does {name} have?", "\n".join(trace), str(total)


def task_kv(r, n=None):
    n = n or r.choice([2, 3, 4, 5, 6, 7, 8, 10, 12])
    keys = r.sample(WORDS, n)
    values = [str(number(r)) if r.random() < 0.7 else r.choice(WORDS) for _ in keys]
    i = r.randrange(n)
    facts = "\n".join(f"{k} = {v}" for k, v in zip(keys, values))
    return f"{facts}\nLook up {keys[i]}.", f"{keys[i]} = {values[i]}", values[i]


def task_who(r, n=None):
    n = n or r.choice([2, 3, 4, 5, 6, 7])
    names = r.sample(NAMES, n)
    objects = r.sample([f"{c} {t}" for c in r.sample(COLORS, 6) for t in r.sample(THINGS, 5)], n)
    i = r.randrange(n)
    facts = [f"{a} has the {o}." for a, o in zip(names, objects)]
    scan = f"the {objects[i]}: " + " ".join(facts[:i + 1])
    if r.random() < 0.6:
        return " ".join(facts) + f" Who has the {objects[i]}?", scan, names[i]
    places = [r.choice(PLACES) for _ in names]
    where = [f"{a} is in the {p}." for a, p in zip(names, places)]
    order = list(range(n))
    r.shuffle(order)
    text = " ".join(facts) + " " + " ".join(where[k] for k in order)
    return text + f" Where is the {objects[i]}?", scan + f"\n{where[i]}", f"in the {places[i]}"


def task_sort(r, n=None):
    n = n or r.choice([3, 4, 4, 5, 5, 6])
    xs = [number(r, r.choice([1, 2])) for _ in range(n)]
    down = r.random() < 0.3
    q = f"Sort {', '.join(map(str, xs))}" + (" from big to small." if down else ".")
    left, trace = list(xs), []
    for _ in range(n):
        best = max(left) if down else min(left)
        left.remove(best)
        trace.append(f"{best}" + (f"; left {' '.join(map(str, left))}" if left else ""))
    return q, "\n".join(trace), ", ".join(map(str, sorted(xs, reverse=down)))


def task_count(r, n=None):
    if r.random() < 0.4:
        word = "".join(r.choice(r.sample(LETTERS, 4)) for _ in range(n or r.randrange(3, 11)))
        c = r.choice(word) if r.random() < 0.9 else r.choice(LETTERS)
        k, out = 0, []
        for i, x in enumerate(word):
            k += x == c
            out.append(f"{i + 1}{x}{k}")
        return f'How many {c} are in "{word}"?', f"{c}: " + " ".join(out), str(word.count(c))
    pool = r.sample(r.choice([COLORS, ANIMALS, THINGS]), 4)
    items = [r.choice(pool) for _ in range(n or r.randrange(3, 12))]
    w = r.choice(items) if r.random() < 0.9 else r.choice(pool)
    k, out = 0, []
    for i, x in enumerate(items):
        k += x == w
        out.append(f"{i + 1} {x} {k}")
    return f"Count {w} in: {', '.join(items)}.", f"{w}: " + ", ".join(out), str(items.count(w))


def task_rev(r, n=None):
    n = n or r.randrange(3, 10)
    if r.random() < 0.35:
        xs = [r.choice(WORDS) for _ in range(min(n, 7))]
        fwd = ", ".join(f"{i + 1} {x}" for i, x in enumerate(xs))
        back = ", ".join(f"{i + 1} {x}" for i, x in reversed(list(enumerate(xs))))
        return f"Reverse the list {', '.join(xs)}.", f"{fwd}\n{back}", ", ".join(reversed(xs))
    s = "".join(r.choice(LETTERS if r.random() < 0.999 else "0") for _ in range(n))
    fwd = "".join(f"{i + 1}{x}" for i, x in enumerate(s))
    back = "".join(f"{i + 1}{x}" for i, x in reversed(list(enumerate(s))))
    return f'Reverse "{s}".', f"{fwd}\n{back}", s[::-1]


def task_cmp(r):
    xs = [number(r) for _ in range(r.choice([2, 3, 3, 4, 5]))]
    if r.random() < 0.3:
        xs[-1] = max(0, xs[0] + r.randrange(-9, 10))  # close values are the hard ones
    small = r.random() < 0.3
    best, trace = xs[0], []
    for x in xs[1:]:
        new = min(best, x) if small else max(best, x)
        trace.append(f"{best} or {x}: {new}")
        best = new
    return f"Which number is {'smallest' if small else 'biggest'}: {', '.join(map(str, xs))}?", "\n".join(trace), str(best)


def task_copy(r, n=None):
    out = [r.choice(WORDS) if r.random() < 0.7 else str(number(r, 2)) for _ in range(n or r.randrange(3, 14))]
    if r.random() < 0.3:
        out[-1] = out[0]  # repeated words are where copying slips
    return f"Repeat: {' '.join(out)}", "the same words", " ".join(out)


def task_recall(r, n=None):
    n = n or r.randrange(2, 8)
    keys = r.sample(WORDS, n)
    values = [str(number(r, r.choice([1, 2]))) for _ in keys]
    order = list(range(n))
    r.shuffle(order)
    facts = ", ".join(f"{k} = {v}" for k, v in zip(keys, values))
    asked = ", ".join(keys[i] for i in order)
    return (f"{facts}. Give {asked}.", ", ".join(f"{keys[i]} = {values[i]}" for i in order),
            ", ".join(values[i] for i in order))


CHAT = [
    ("Hello", "a greeting", "Hello! Ask me to add, sort, count or look something up, or for a story."),
    ("Hi", "a greeting", "Hello! Ask me to add, sort, count or look something up, or for a story."),
    ("Good morning", "a greeting", "Good morning! What shall we do?"),
    ("Who are you?", "a question about me",
     "I am the demo model of Tokamak. I know a little arithmetic and some stories."),
    ("What can you do?", "a question about me",
     "I can add, subtract, sort, count, reverse, compare, look things up and tell stories."),
    ("Thank you", "thanks", "You are welcome!"),
    ("Thanks", "thanks", "You are welcome!"),
    ("Goodbye", "a farewell", "Goodbye!"),
    ("What is the capital of France?", "I do not know this", "I do not know that. I am a very small model."),
    ("Write a poem.", "I cannot do this", "I cannot do that. I am a very small model."),
]


def task_chat(r):
    return r.choice(CHAT)


def sentence(r, *choices):
    return r.choice(choices)


def story_text(r, a, place):
    """Seven to eleven sentences about a child and an animal; every clause is drawn anew, names stay the same."""
    b, animal, color, thing = r.choice([n for n in NAMES if n != a]), r.choice(ANIMALS), r.choice(COLORS), r.choice(THINGS)
    obj, mood = f"{color} {thing}", r.choice("happy brave kind quiet curious clever shy cheerful".split())
    time = r.choice("One morning,One evening,On a sunny day,On a rainy day,After lunch,Before dinner,One cold day".split(","))
    out = [sentence(r, f"{time} {a} went to the {place}.", f"{time} {a} was in the {place}.",
                    f"{time} {a} walked to the {place} with a {r.choice(THINGS)}.", f"{a} liked the {place}."),
           sentence(r, f"{a} was a {mood} child.", f"{a} felt {mood}.", f"Everyone said {a} was {mood}.")]
    out.append(sentence(r, f"There {a} met {b} the {animal}.", f"There was a {animal} called {b}.",
                        f"A {animal} sat under a tree, and its name was {b}.", f"Soon a {animal} named {b} came along."))
    kind = r.choice(["share", "find", "lost", "help"])
    if kind == "share":
        out += [f"{a} had a {obj}.", sentence(r, f"{b} wanted to play too.", f"{b} looked at the {thing}.",
                f'"May I see the {thing}?" asked {b}.'),
                sentence(r, f"{a} said yes, and they shared the {thing}.", f"{a} gave the {thing} to {b} for a while.",
                         f"First {a} took a turn, and then {b} did.")]
    elif kind == "find":
        out += [sentence(r, f"Together they found a {obj}.", f"They saw a {obj} in the grass.", f"{b} showed {a} a {obj}."),
                sentence(r, f'"Whose {thing} is it?" asked {a}.', f"It was old but pretty.", f"{a} picked it up."),
                sentence(r, f"They asked everyone in the {place}.", f"They put it where all could see it.",
                         f"They took it to {r.choice([n for n in NAMES if n not in (a, b)])}.")]
    elif kind == "lost":
        out += [sentence(r, f"{b} was sad because the {obj} was gone.", f"{b} could not find a {obj}."),
                sentence(r, f"{a} looked under a {r.choice(THINGS)}.", f"{a} looked behind the {r.choice(THINGS)}.",
                         f"They looked near the {r.choice(PLACES)}."),
                sentence(r, f"There was the {thing}!", f"At last they saw the {thing}.", f"Then {a} found the {thing}.")]
    else:
        out += [sentence(r, f"{b} was stuck near a {obj}.", f"{b} could not carry the {obj}."),
                sentence(r, f'"I will help you," said {a}.', f"{a} did not wait.", f"{a} had an idea."),
                sentence(r, f"They pulled and pushed until it was done.", f"They worked until the sun went down.",
                         f"It was hard, but they did it.")]
    if r.random() < 0.6:
        out.append(sentence(r, f"A {r.choice(COLORS)} {r.choice(ANIMALS)} watched them.", "The wind was soft.",
                            f"They sang a song about a {r.choice(ANIMALS)}.", "It began to rain.",
                            f"They ate some {r.choice(FRUITS[:6])}.", f"{b} laughed."))
    if r.random() < 0.4:
        out.append(sentence(r, f"{a} smiled.", f'"Thank you," said {b}.', "The day was long and good."))
    out.append(sentence(r, f"{a} and {b} were friends from that day.", f"In the end {a} and {b} went home happy.",
                        f"{a} never forgot {b} and the {thing}.", f"And so {a} learned to be kind."))
    return " ".join(out), f"{a} and {b}, a {animal}, a {obj}, the {place}"


def task_story(r):
    a, place = r.choice(NAMES), r.choice(PLACES)
    text, plan = story_text(r, a, place)
    return r.choice([f"Tell me a story about {a} in the {place}.", f"Write a story about {a} in the {place}."]), plan, text


TASKS = {  # name: (weight, maker)
    "add": (7, task_add), "sub": (9, task_sub), "word": (6, task_word), "kv": (12, task_kv), "who": (14, task_who),
    "sort": (12, task_sort), "count": (10, task_count), "rev": (8, task_rev), "cmp": (6, task_cmp),
    "story": (6, task_story), "chat": (2, task_chat), "copy": (6, task_copy), "recall": (8, task_recall),
}
MAKERS = {k: f for k, (_, f) in TASKS.items()}
LONG = {  # the same tasks with a prompt and trace of up to about 500 tokens
    "kv": lambda r: task_kv(r, r.randrange(16, 62)), "who": lambda r: task_who(r, r.randrange(8, 18)),
    "copy": lambda r: task_copy(r, r.randrange(16, 120)), "count": lambda r: task_count(r, r.randrange(12, 48)),
    "recall": lambda r: task_recall(r, r.randrange(8, 29)), "sort": lambda r: task_sort(r, r.randrange(7, 13)),
}
LONG_WEIGHTS = dict.fromkeys(LONG, 1.0)
SHARES = {"single": 0.82, "multi": 0.12, "long": 0.06}


def reweigh(changes):
    """Sets weights of training by name: a task, "long-TASK", or a share ("single", "multi", "long")."""
    for name, w in changes.items():
        if name in SHARES:
            SHARES[name] = w
        elif name.startswith("long-") and name[5:] in LONG:
            LONG_WEIGHTS[name[5:]] = w
        else:
            TASKS[name] = (w, MAKERS[name])


def memory_turns(r):
    """Facts told in one turn and asked for in a later one."""
    n = r.randrange(2, 7)
    keys = r.sample(WORDS, n)
    values = [str(number(r)) if r.random() < 0.7 else r.choice(WORDS) for _ in keys]
    told = "Remember: " + ", ".join(f"{k} = {v}" for k, v in zip(keys, values)) + "."
    i = r.randrange(n)
    return (told, "something to remember", "I will remember that."), (f"Look up {keys[i]}.", f"{keys[i]} = {values[i]}", values[i])


SHORT_TURNS = ["add", "sub", "kv", "cmp", "rev", "chat", "count", "copy", "sort", "recall"]

FACTLESS_TURNS = ["add", "sub", "cmp", "rev", "chat", "count", "copy", "sort"]


def multi_turn(r, max_turns):
    """Several questions of any kind, and one that may need an earlier turn's facts."""
    n = r.randrange(1, max_turns)
    if r.random() < 0.5:
        # no other facts between the telling and the asking: one name would have two values
        turns = [MAKERS[r.choice(FACTLESS_TURNS)](r) for _ in range(n)]
        told, asked = memory_turns(r)
        turns.insert(r.randrange(len(turns) + 1), told)
        turns.append(asked)
        return "memory", turns
    turns = [MAKERS[r.choice(SHORT_TURNS)](r) for _ in range(n)]
    task = r.choice(SHORT_TURNS + ["who", "word", "story"])
    turns.append(MAKERS[task](r))
    return "multi", turns


def sample(r, held_out=False, kind=None):
    """One conversation: (task, turns). Redrawn until its last prompt is on the wanted side of the split."""
    while True:
        k = kind or r.choices(list(SHARES), list(SHARES.values()))[0]
        if k == "multi":
            task, turns = multi_turn(r, r.choice([3, 5, 12]))
        elif k == "long":
            name = r.choices(list(LONG), list(LONG_WEIGHTS.values()))[0]
            task, turns = f"long-{name}", [LONG[name](r)]
        elif k == "single":
            name = r.choices(list(TASKS), [w for w, _ in TASKS.values()])[0]
            task, turns = name, [MAKERS[name](r)]
        else:
            task, turns = k, [MAKERS[k](r)]
        last = turns[-1][0]
        free = task in ("chat", "story") or last in dict((q, 0) for q, _, _ in CHAT)
        key = "\n".join(t[0] for t in turns) if task == "memory" else last
        if free or is_held_out(key) == held_out:
            return task, turns


def heldout(n_per_task, seed):
    """Held-out conversations, n_per_task of every scored kind."""
    r = random.Random(seed)
    out, seen = [], set()
    kinds = [k for k in TASKS if k not in ("story", "chat")] + ["multi"] * 2 + ["long"] * 2
    for kind in kinds:
        n = 0
        while n < n_per_task:
            task, turns = sample(r, True, kind)
            key = "\n".join(t[0] for t in turns)
            if key in seen or task.endswith("story") or turns[-1][0].startswith(("Tell", "Write a story")):
                continue
            if turns[-1][0] in (q for q, _, _ in CHAT):
                continue
            seen.add(key)
            n += 1
            out.append((task, turns))
    return out


if __name__ == "__main__":
    rng = random.Random(1)
    for _ in range(20):
        print(sample(rng))
