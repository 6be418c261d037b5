# SPDX-License-Identifier: MIT
"""compare_huggingface_hub.py TOKAMAK ROOT: `tokamak pull` beside Python's huggingface_hub, on the same local hub.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install huggingface_hub
    /tmp/venv/bin/python tests/hub/compare_huggingface_hub.py build/tokamak .

Compares the two caches entry by entry (kind, link target, content), loads each one's snapshot offline with the other,
and lets each go on in a cache the other began. Not a test of CI, which has no Python packages."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from hub_server import Hub

TOKAMAK, ROOT = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
NAME = "org/name"
n_same = n_wrong = 0


def check(what, ok, story=""):
    global n_same, n_wrong
    n_same, n_wrong = n_same + bool(ok), n_wrong + (not ok)
    print("%s: %s%s" % ("same" if ok else "DIFFERENT", what, "" if ok else "\n" + str(story)))


def environment(home, hub, **more):
    e = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING")) and "proxy" not in k.lower()}
    e.update(HF_HOME=str(home), HF_ENDPOINT=hub.endpoint, HF_HUB_DISABLE_PROGRESS_BARS="1", **more)
    return e


def ours(home, hub, *args, **more):
    r = subprocess.run([TOKAMAK, "pull", NAME, *args, "-q"], env=environment(home, hub, **more), capture_output=True,
                       text=True)
    return r.stdout.strip() if r.returncode == 0 else "failed: " + r.stderr


def theirs(home, hub, arguments="", **more):
    code = "import huggingface_hub as h; print(h.snapshot_download(%r%s))" % (NAME, arguments)
    r = subprocess.run([sys.executable, "-c", code], env=environment(home, hub, **more), capture_output=True, text=True)
    return r.stdout.strip() if r.returncode == 0 else "failed: " + r.stderr[-1500:]


def cache(home):
    """Every entry of the cache: what it is and says. Lock files hold nothing and are removed by some versions."""
    out = {}
    for p in sorted((home / "hub").rglob("*")):
        name = str(p.relative_to(home / "hub"))
        if name.endswith(".lock"):
            continue
        out[name] = ("link", os.readlink(p)) if p.is_symlink() else "folder" if p.is_dir() else p.read_bytes()
        if "/trees/" in name:
            out[name] = list(json.loads(out[name])["files"].items())  # in order; \u00E9 and \u00e9 are the same
    return out


def difference(a, b):
    return "\n".join("  %s: %.200r | %.200r" % (k, a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys())
                     if a.get(k) != b.get(k))


def compare(what, hub, args, arguments, but=()):
    with tempfile.TemporaryDirectory() as t:
        a, b = (pathlib.Path(t).resolve() / x for x in "ab")
        path_a, path_b = ours(a, hub, *args), theirs(b, hub, arguments)
        trees = [{k: v for k, v in cache(x).items() if k not in but} for x in (a, b)]
        check("%s: %d entries" % (what, len(trees[0])), trees[0] == trees[1], difference(*trees))
        check(what + ": path", path_a.replace(str(a), "") == path_b.replace(str(b), ""), path_a + "\n" + path_b)
        off = {"HF_HUB_OFFLINE": "1"}
        check(what + ": ours, by huggingface_hub offline", theirs(a, hub, arguments, **off) == path_a)
        check(what + ": ours, by huggingface_hub's local_files_only",
              theirs(a, hub, arguments + ", local_files_only=True") == path_a)
        check(what + ": theirs, by us offline", ours(b, hub, *args, **off) == path_b)
        hub.served.clear()
        ours(b, hub, *args)
        theirs(a, hub, arguments)
        check(what + ": neither fetches what the other has", not hub.served, hub.served)


def main():
    import huggingface_hub
    print("huggingface_hub", huggingface_hub.__version__)
    demo = {f.name: f.read_bytes() for f in (ROOT / "models/demo").iterdir() if f.is_file()}
    files = {k: v for k, v in demo.items() if k != "model.safetensors"}
    files.update({"a/b/c d.json": b"[]", "empty.txt": b"", "same.json": b"[]", "\u00e9.txt": b"e", ".gitattributes": b"*"})
    with Hub() as hub:
        repo = hub.add(NAME, files, {"model.safetensors": demo["model.safetensors"], "onnx/model.onnx": b"o" * 5000})
        repo.revs |= {"refs/pr/1", "v1"}
        compare("all files", hub, ["--include", "*"], "")
        tree = "models--org--name/trees/"
        but = [tree + repo.commit + ".json", tree + repo.commit + ".tokamak.json"]
        compare("patterns", hub, ["--include", "*.json", "--exclude", "a/*"],
                ", allow_patterns='*.json', ignore_patterns='a/*'", but)
        with tempfile.TemporaryDirectory() as t:  # what we choose by ourselves is a whole snapshot to them
            home = pathlib.Path(t).resolve()
            path = ours(home, hub)
            check("our choice, by huggingface_hub offline", theirs(home, hub, HF_HUB_OFFLINE="1") == path)
            theirs(home, hub)
            check("huggingface_hub completes it", len(list(pathlib.Path(path).rglob("*.onnx"))) == 1)
        for rev in ("refs/pr/1", "v1", repo.commit):
            with tempfile.TemporaryDirectory() as t:
                a, b = (pathlib.Path(t).resolve() / x for x in "ab")
                subprocess.run([TOKAMAK, "pull", NAME + "@" + rev, "--include", "*", "-q"], check=True,
                               env=environment(a, hub), stdout=subprocess.DEVNULL)
                theirs(b, hub, ", revision=%r" % rev)
                check("revision " + rev, cache(a) == cache(b), difference(cache(a), cache(b)))
        repo.token, token = "hf_x", {"HF_TOKEN": "hf_x"}
        with tempfile.TemporaryDirectory() as t:
            a, b = (pathlib.Path(t).resolve() / x for x in "ab")
            ours(a, hub, "--include", "*", **token), theirs(b, hub, **token)
            check("with a token", cache(a) == cache(b), difference(cache(a), cache(b)))
    print("%d same, %d different" % (n_same, n_wrong))
    sys.exit(n_wrong > 0)


main()
