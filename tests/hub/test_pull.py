# SPDX-License-Identifier: MIT
"""test_pull.py TOKAMAK ROOT: `tokamak pull` against hub_server.py, whole and broken. Each function below is a case;
they run a few at a time, each with a hub and a cache of its own."""
import concurrent.futures
import inspect
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import hub_server
from hub_server import Hub, drop, status, stall

TOKAMAK, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
TOKEN = "hf_TestTokenThatMustNotLeak"
NAME = "org/name"


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


FILES = {"config.json": b'{"model_type": "none"}', "tokenizer.json": noise(5000, 2), "README.md": b"# Name\n"}
WEIGHTS = noise(3_000_000)
LFS = {"model.safetensors": WEIGHTS}


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def __repr__(self):
        return "exit %d\nstdout: %s\nstderr: %s" % (self.code, self.out[:500], self.err[:1500])


class Place:
    """A hub, an empty home and the program."""

    def __init__(self, hub, home):
        self.hub, self.home = hub, pathlib.Path(home)
        self.cache = self.home / "hub"
        self.dir = self.cache / "models--org--name"

    def start(self, *args, env=None, **more):
        ours = re.compile("HF_|HUGGING|XDG_|.*proxy|CURL_CA_BUNDLE|SSL_CERT", re.I)
        e = {k: v for k, v in os.environ.items() if not ours.match(k)}
        e.update(HOME=str(self.home / "nobody"), HF_HOME=str(self.home), HF_ENDPOINT=self.hub.endpoint)
        e.update(env or {})
        return subprocess.Popen([TOKAMAK, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, env=e, **more)

    def run(self, *args, env=None, **more):
        return self.end(self.start(*args, env=env, **more))

    def end(self, process):
        out, err = process.communicate(timeout=120)
        r = Result(process.returncode, out.decode(), err.decode(errors="replace"))
        assert TOKEN not in r.out + r.err, "the token is printed"
        return r

    def pull(self, *args, code=0, says=None, name=NAME, env=None, **more):
        r = self.run("pull", name, *args, env=env, **more)
        assert r.code == code, "expected exit %d: %r" % (code, r)
        assert says is None or re.search(says, r.err), "expected %r on stderr: %r" % (says, r)
        return r

    def partial(self, repo, file):
        return self.dir / "blobs" / (repo.etag(file) + ".incomplete")

    def check(self, repo, files=None, rev="main"):
        """The snapshot holds exactly these files of repo, as links to blobs with the right content."""
        snapshot = self.dir / "snapshots" / repo.commit
        found = sorted(str(p.relative_to(snapshot)) for p in snapshot.rglob("*") if not p.is_dir())
        want = sorted(repo.all() if files is None else files)
        assert found == want, "%s is not %s" % (found, want)
        for name in want:
            link = snapshot / name
            up = "../" * (name.count("/") + 2)
            assert os.readlink(link) == up + "blobs/" + repo.etag(name), os.readlink(link)
            assert link.read_bytes() == repo.all()[name], name + " has other bytes"
        assert not list((self.dir / "blobs").glob("*.incomplete"))
        if rev:
            assert (self.dir / "refs" / rev).read_text() == repo.commit


def lists(*siblings, **more):
    return json.dumps({"sha": "a" * 40, "siblings": list(siblings), **more}).encode()


# What is fetched and where it lies

def a_snapshot_is_laid_out_as_huggingface_hub_does(p):
    repo = p.hub.add(NAME, {**FILES, "a/b/c.json": b"[]", "empty.txt": b"", "same.json": b"[]"}, LFS)
    r = p.pull()
    p.check(repo)
    assert r.out == str(p.dir / "snapshots" / repo.commit) + "\n", r.out
    assert (p.cache / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    assert (p.cache / ".locks" / "models--org--name").is_dir()
    tree = json.loads((p.dir / "trees" / (repo.commit + ".json")).read_text())
    assert tree["files"]["model.safetensors"]["lfs_sha256"] == repo.etag("model.safetensors")


def the_total_comes_first_and_json_tells_all(p):
    repo = p.hub.add(NAME, FILES, LFS)
    r = p.pull("--json", says=r"tokamak: org/name@main \(%.12s\): 4 files, 3.01 MB; 0 B are here, 3.01 MB to fetch"
               % repo.commit)
    n = sum(map(len, repo.all().values()))
    assert json.loads(r.out) == {"path": str(p.dir / "snapshots" / repo.commit), "commit": repo.commit, "files": 4,
                                 "bytes": n, "bytes_downloaded": n}, r.out


def a_second_pull_fetches_nothing(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.pull()
    before = sum(p.hub.served.values())
    r = p.pull("--json")
    assert sum(p.hub.served.values()) == before == sum(map(len, repo.all().values()))
    assert json.loads(r.out)["bytes_downloaded"] == 0
    p.check(repo)


def a_new_commit_fetches_what_changed(p):
    p.hub.add(NAME, FILES, LFS)
    p.pull()
    p.hub.served.clear()
    repo = p.hub.add(NAME, {**FILES, "config.json": b'{"new": 1}'}, LFS)
    p.pull()
    assert dict(p.hub.served) == {"config.json": 10}, p.hub.served
    p.check(repo)


def force_fetches_again(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.pull()
    p.hub.served.clear()
    p.pull("--force")
    assert p.hub.served["model.safetensors"] == len(WEIGHTS)
    p.check(repo)


def a_blob_of_wrong_size_is_fetched_again(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.pull()
    blob = p.dir / "blobs" / repo.etag("model.safetensors")
    blob.write_bytes(WEIGHTS[:100])
    p.pull()
    p.check(repo)


def duplicates_for_other_programs_are_left_out(p):
    wanted = {**FILES, "chat_template.jinja": b"{{x}}", "LICENSE": b"MIT", "vocab.txt": b"a", "tokenizer.model": b"m"}
    more = {"pytorch_model.bin": b"p", "original/params.json": b"o", "original/consolidated.00.pth": b"o",
            "onnx/model.onnx": b"n", "onnx/config.json": b"n", "tf_model.h5": b"t", "flax_model.msgpack": b"f",
            ".gitattributes": b"g", "figures/plot.png": b"i", "name-Q4_K_M.gguf": b"q", "name-Q8_0.gguf": b"q"}
    repo = p.hub.add(NAME, {**wanted, **more}, LFS)
    p.pull()
    p.check(repo, [*wanted, *LFS])
    assert not (p.dir / "trees" / (repo.commit + ".json")).exists()  # huggingface_hub would take it for a promise


def include_and_exclude_override_the_choice(p):
    repo = p.hub.add(NAME, {**FILES, "original/params.json": b"o", "x/y/z.bin": b"z"}, LFS)
    p.pull("--include", "*.bin", "--include", "original/")
    p.check(repo, ["original/params.json", "x/y/z.bin"])
    p.pull("--exclude", "*.safetensors", "--exclude", "README*")
    p.check(repo, ["original/params.json", "x/y/z.bin", "config.json", "tokenizer.json"])
    p.pull("--include", "*.nothing", code=2, says="none of the 6 files is chosen")


GGUF = {"Name-Q4_K_M.gguf": noise(1000, 3), "Name-Q8_0-00001-of-00002.gguf": noise(1500, 4),
        "Name-Q8_0-00002-of-00002.gguf": noise(600, 5), "mmproj-F16.gguf": b"v"}


def several_quantisations_are_a_choice(p):
    repo = p.hub.add(NAME, {"README.md": b"#", "config.json": b"{}"}, GGUF)
    r = p.pull(code=2, says=r"there are 2 GGUF models; choose with --include, as in: --include '\*Q8_0\*'")
    assert re.search(r"1.00 kB  Name-Q4_K_M\n +2.10 kB  Name-Q8_0 \(2 parts\)\n", r.err), r
    p.pull("--include", "*Q8_0*")
    p.check(repo, ["Name-Q8_0-00001-of-00002.gguf", "Name-Q8_0-00002-of-00002.gguf"])


def one_quantisation_is_no_choice(p):
    repo = p.hub.add(NAME, {"README.md": b"#"}, {k: v for k, v in GGUF.items() if "Q8" in k})
    p.pull()
    p.check(repo)


def weights_nobody_here_reads_are_refused(p):
    p.hub.add(NAME, FILES, {"pytorch_model.bin": WEIGHTS})
    p.pull(code=3, says='neither in safetensors nor in GGUF files')
    p.pull("--include", "*.bin")


def names_are_percent_encoded(p):
    repo = p.hub.add(NAME, {"a b%41?#&+.json": b"{}", "\u00e9/\u6f22.json": b"[]"})
    p.pull()
    p.check(repo)


def one_content_under_two_names_is_fetched_once(p):
    repo = p.hub.add(NAME, {"a.json": b"12345", "b.json": b"12345"})
    p.pull()
    p.check(repo)
    assert sum(p.hub.served.values()) == 5


def revisions_get_their_refs(p):
    repo = p.hub.add(NAME, FILES)
    repo.revs |= {"v1.0", "refs/pr/1"}
    p.pull(name=NAME + "@refs/pr/1")
    p.check(repo, rev="refs/pr/1")
    p.pull(name=NAME + "@v1.0")
    p.check(repo, rev="v1.0")
    p.pull(name=NAME + "@" + repo.commit)
    assert sorted(x.name for x in (p.dir / "refs").iterdir()) == ["refs", "v1.0"]


def a_renamed_repository_is_followed(p):
    repo = p.hub.add("new/home", FILES, LFS)
    p.hub.repos[NAME] = repo
    p.hub.renamed[NAME] = "new/home"
    p.pull()
    p.check(repo)


def a_mirror_that_lists_names_alone_is_asked_for_each(p):
    repo = p.hub.add(NAME, FILES, LFS)
    repo.has_blobs = False
    p.pull()
    p.check(repo)
    assert not [x for x in p.hub.log if x[0] and x[1] == "HEAD"], "a HEAD went to the CDN"


def quiet_is_silent_and_progress_can_be_off(p):
    p.hub.add(NAME, FILES, LFS)
    r = p.pull("-q")
    assert r.err == "", r
    r = p.pull("--force", env={"HF_HUB_DISABLE_PROGRESS_BARS": "1"})
    assert r.err.count("\n") == 1, r


def as_many_files_as_asked_come_at_once(p):
    p.hub.add(NAME, {"%02d.json" % i: noise(100, i) for i in range(12)})
    p.hub.slow = 0.15
    p.pull("--jobs", "1", "--include", "0[0-2]*")
    assert p.hub.n_most == 1, p.hub.n_most
    p.pull("--jobs", "4")
    assert p.hub.n_most == 4, p.hub.n_most


# Broken connections

def a_dropped_connection_goes_on_where_it_was(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), drop(500_000))
    p.hub.break_next("tokenizer.json", drop(1234))
    p.pull()
    p.check(repo)
    assert p.hub.served["model.safetensors"] == len(WEIGHTS), p.hub.served
    assert p.hub.gets("model.safetensors") == [None, "bytes=1000000-", "bytes=1500000-"]
    assert p.hub.served["tokenizer.json"] == 5000


def a_pull_that_gave_up_is_taken_up_by_the_next(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), status(503), drop(0))
    p.pull("--retries", "2", code=1, says=r'"model.safetensors": .*1000000 of 3000000 bytes are here, asked 3 times')
    assert p.partial(repo, "model.safetensors").stat().st_size == 1_000_000
    assert not (p.dir / "snapshots" / repo.commit).exists() and not (p.dir / "refs" / "main").exists()
    r = p.pull("--json")
    p.check(repo)
    assert p.hub.served["model.safetensors"] == len(WEIGHTS)
    assert json.loads(r.out)["bytes_downloaded"] == 2_000_000


def progress_between_failures_keeps_a_pull_alive(p):
    repo = p.hub.add(NAME, {}, {"model.safetensors": noise(4 << 20)})
    p.hub.break_next("model.safetensors", *[drop((1 << 20) + 1)] * 3)
    p.pull("--retries", "1")
    p.check(repo)


def a_server_that_never_gets_far_is_given_up(p):
    p.hub.add(NAME, FILES, LFS)
    p.hub.always["model.safetensors"] = lambda h, *file: h.send_content(*file, cut=2_000_000, honour_range=False)
    p.pull("--retries", "2", code=1, says="2000000 of 3000000 bytes are here, asked 3 times")


def an_interrupt_leaves_what_is_there(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", stall(2_000_000))
    process = p.start("pull", NAME)
    partial = p.partial(repo, "model.safetensors")
    wait_until(lambda: partial.exists() and partial.stat().st_size == 2_000_000)
    process.send_signal(signal.SIGINT)
    r = p.end(process)
    assert r.code == 5 and "interrupted" in r.err and r.out == "", r
    assert partial.stat().st_size == 2_000_000
    p.hub.served.clear()
    p.pull()
    p.check(repo)
    assert p.hub.served["model.safetensors"] == 1_000_000


def an_interrupt_ends_a_wait_too(p):
    p.hub.add(NAME, FILES)
    p.hub.api_faults.extend([status(429, {"Retry-After": "100"})])
    process = p.start("pull", NAME)
    wait_until(lambda: p.hub.log)
    process.send_signal(signal.SIGINT)
    assert p.end(process).code == 5


def wait_until(done):
    end = time.monotonic() + 60
    while not done():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def a_stalled_connection_is_given_up(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", stall(2_000_000))
    p.pull(env={"HF_HUB_DOWNLOAD_TIMEOUT": "1"})
    p.check(repo)
    assert p.hub.served["model.safetensors"] == len(WEIGHTS)


def a_server_without_ranges_sends_all_again(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), hub_server.ignore_range)
    p.pull()
    p.check(repo)
    assert p.hub.served["model.safetensors"] == 4_000_000


def another_range_than_asked_for_is_refused(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), hub_server.shifted_range)
    p.pull()
    p.check(repo)


def a_range_that_cannot_be_served_starts_over(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), status(416))
    p.pull()
    p.check(repo)
    assert p.hub.gets("model.safetensors") == [None, "bytes=1000000-", None]


def a_partial_blob_that_is_whole_needs_no_request(p):
    repo = p.hub.add(NAME, FILES, LFS)
    (p.dir / "blobs").mkdir(parents=True)
    p.partial(repo, "model.safetensors").write_bytes(WEIGHTS)
    p.pull()
    p.check(repo)
    assert p.hub.gets("model.safetensors") == []


def a_partial_blob_that_is_wrong_is_found_out(p):
    repo = p.hub.add(NAME, FILES, LFS)
    (p.dir / "blobs").mkdir(parents=True)
    p.partial(repo, "model.safetensors").write_bytes(b"not these" * 1000)
    p.partial(repo, "tokenizer.json").write_bytes(b"longer than the file" * 1000)
    p.pull(says='"model.safetensors": wrong sha256, fetching it once more')
    p.check(repo)


def a_busy_hub_is_asked_again_when_it_says(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.api_faults.append(status(429, {"Retry-After": "1"}))
    p.hub.break_next("model.safetensors", status(429, {"Retry-After": "2"}))
    begin = time.monotonic()
    p.pull()
    assert time.monotonic() - begin >= 3
    p.check(repo)


def passing_errors_pass(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.api_faults.extend([status(500), status(502)])
    p.hub.break_next("model.safetensors", status(500), status(503))
    p.hub.break_next("config.json", status(504))
    p.pull()
    p.check(repo)


def an_address_that_ran_out_is_asked_for_anew(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", drop(1_000_000), status(403))
    p.pull()
    p.check(repo)
    assert len([x for x in p.hub.log if not x[0] and x[2].endswith("/model.safetensors")]) == 3


def lasting_errors_end_it(p):
    p.hub.add(NAME, FILES, LFS)
    p.hub.always["model.safetensors"] = status(503)
    p.pull("--retries", "1", code=1, says='"model.safetensors": the hub answers 503 .0 of 3000000 bytes')
    p.hub.api_faults.extend([status(500)] * 2)
    p.pull("--retries", "1", code=1, says="answers 500 .asked 2 times")
    p.hub.always["model.safetensors"] = status(400)
    p.pull("--retries", "0", code=1, says="the hub answers 400")


def an_endless_refusal_is_cut_off(p):
    p.hub.add(NAME, FILES)
    p.hub.always["config.json"] = hub_server.endless
    p.pull(code=1, says="the hub answers 400 to the request for org/name/config.json")


def no_hub_is_said(p):
    p.hub.add(NAME, FILES)
    p.pull("--retries", "0", code=1, says="cannot ask the hub at http://127.0.0.1:1: ",
           env={"HF_ENDPOINT": "http://127.0.0.1:1"})


# Wrong bytes

def wrong_bytes_are_fetched_once_more(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", hub_server.wrong_bytes)
    p.hub.break_next("config.json", hub_server.wrong_bytes)
    p.pull(says='"model.safetensors": wrong sha256')
    p.check(repo)


def bytes_that_stay_wrong_are_bad_input(p):
    for file, kind in (("model.safetensors", "sha256"), ("config.json", "git sha1")):
        repo = p.hub.add(NAME, FILES, LFS)
        shutil.rmtree(p.cache, ignore_errors=True)
        p.hub.served.clear()
        p.hub.always = {file: hub_server.wrong_bytes}
        data = repo.all()[file]
        bad = bytes([data[0] ^ 1]) + data[1:]
        other = hub_server.Repo("x/y", {} if file in LFS else {file: bad}, {file: bad} if file in LFS else {})
        p.pull(code=3, says='"%s": %s is %s, the hub lists %s' % (file, kind, other.etag(file), repo.etag(file)))
        assert not p.partial(repo, file).exists()
        assert not (p.dir / "blobs" / repo.etag(file)).exists()
        assert p.hub.served[file] == 2 * len(data)


def a_wrong_length_is_not_believed(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("model.safetensors", hub_server.wrong_length(2_999_999))
    p.hub.break_next("tokenizer.json", hub_server.longer(100))
    p.pull()
    p.check(repo)
    p.hub.always["model.safetensors"] = hub_server.wrong_length(5)
    p.pull("--force", "--retries", "0", code=1, says="announces another length than it lists")


def another_version_under_way_starts_over(p):
    repo = p.hub.add(NAME, FILES, LFS)
    p.hub.break_next("tokenizer.json", drop(1000), hub_server.other_etag)
    p.pull()
    p.check(repo)
    assert p.hub.gets("tokenizer.json") == [None, "bytes=1000-", None]
    p.hub.always["tokenizer.json"] = hub_server.other_etag
    p.pull("--force", "--retries", "1", code=1, says="the hub sends another version than it lists")


# Access

def a_token_opens_a_gated_model_and_stays_with_the_hub(p):
    repo = p.hub.add(NAME, FILES, LFS)
    repo.token, repo.gated = TOKEN, True
    p.pull(code=3, says='"org/name" is gated: accept its terms at %s/org/name, then set HF_TOKEN' % p.hub.endpoint)
    p.pull(code=3, says="is gated and the token's account has no access yet", env={"HF_TOKEN": "hf_other"})
    p.hub.log.clear()
    p.pull(env={"HF_TOKEN": TOKEN + "\n"})
    p.check(repo)
    hub = [x[3].get("Authorization") for x in p.hub.log if not x[0]]
    cdn = [x[3] for x in p.hub.log if x[0]]
    assert set(hub) == {"Bearer " + TOKEN} and cdn, hub
    assert not [h for h in cdn if "authorization" in {k.lower() for k in h} or TOKEN in str(h)], "the CDN got the token"


def the_token_stays_with_the_hub_when_it_is_asked_again(p):
    repo = p.hub.add(NAME, FILES, LFS)
    repo.token, repo.has_blobs = TOKEN, False
    p.hub.break_next("model.safetensors", drop(1000), status(500), drop(1000))
    p.pull(env={"HF_TOKEN": TOKEN})
    p.check(repo)
    assert not [x for x in p.hub.log if x[0] and TOKEN in str(x)]


def token_files_are_read(p):
    repo = p.hub.add(NAME, FILES)
    repo.token = TOKEN
    p.pull(code=3, says='has no model "org/name"; if it is private, set HF_TOKEN')
    p.pull(code=3, says="does not accept the token", env={"HF_TOKEN": "hf_other"})
    (p.home / "token").write_text(" " + TOKEN + "\n")
    p.pull()
    (p.home / "token").rename(p.home / "elsewhere")
    p.pull("--force", env={"HF_TOKEN_PATH": str(p.home / "elsewhere")})
    p.check(repo)
    (p.home / "token").write_text(TOKEN + "\r\nX-Evil: 1")
    p.pull(code=3, says="holds a character that no token has")


def unknown_things_have_their_own_stories(p):
    p.hub.add(NAME, FILES)
    p.pull(name="org/other", code=3, says='%s has no model "org/other"' % p.hub.endpoint)
    p.hub.unknown_status = 401  # what the hub says to those it does not know
    p.pull(name="org/other", code=3, says='has no model "org/other"; if it is private, set HF_TOKEN')
    p.pull(name=NAME + "@gone", code=3, says='"org/name" has no revision "gone"')
    p.hub.api_faults.append(status(403, {"X-Error-Message": "Access to this resource is disabled."}))
    p.pull(code=3, says="refuses access to \"org/name\" .403.: Access to this resource is disabled")
    p.hub.repos[NAME].listing = lists({"rfilename": "gone.json", "size": 3, "blobId": "b" * 40},
                                      sha=p.hub.repos[NAME].commit)
    p.pull(code=3, says='lists "gone.json" of "org/name" but does not have it')


def a_server_that_repeats_the_token_is_not_repeated(p):
    p.hub.add(NAME, FILES)
    p.hub.api_faults.append(status(403, {"X-Error-Message": "no " + TOKEN}))
    p.pull(code=3, says="refuses access", env={"HF_TOKEN": TOKEN})


def wrong_usage_is_said(p):
    for name in ("name", "a/b/c", "a--b/c", "../x", "a/..", "-a/b", "a/b.git", "a/b@", "a/b@../x", "a/b@x y"):
        p.pull(name=name, code=2, says="is no ORG/NAME|is not a revision|unknown option")
    for endpoint in ("ftp://127.0.0.1", "127.0.0.1", "https://user:%s@127.0.0.1" % TOKEN, "https://127.0.0.1?x"):
        p.pull(code=2, says="HF_ENDPOINT is not an address", env={"HF_ENDPOINT": endpoint})
    p.pull(code=2, says="HF_HUB_DOWNLOAD_TIMEOUT", env={"HF_HUB_DOWNLOAD_TIMEOUT": "soon"})


# Hostile answers

def hostile_names_are_refused(p):
    repo = p.hub.add(NAME, {})
    bad = ["../x", "a/../../x", "..", ".", "/etc/x", "", "a//b", "a/./b", "a/", "a\\b", ".git/config", "x/.GIT/hooks/y",
           "a\nb", "a\x1b[2Jb", "a\x00b", "a\x7f", "x" * 256, "x/" * 600 + "y"]
    for name in bad:
        repo.listing = lists({"rfilename": name, "size": 1, "blobId": "b" * 40})
        r = p.pull("--include", "*", code=3, says="the file name")
        assert "\x1b" not in r.err
    one = {"size": 1, "blobId": "b" * 40}
    repo.listing = lists({"rfilename": "a", **one}, {"rfilename": "a", **one})
    p.pull(code=3, says='"a" stands twice')
    repo.listing = lists({"rfilename": "a", **one}, {"rfilename": "a-", **one}, {"rfilename": "a/b", **one})
    p.pull(code=3, says='"a/b" is both a file and a folder')
    assert list(p.home.iterdir()) == []


def hostile_sums_and_commits_are_refused(p):
    repo = p.hub.add(NAME, {})
    name = {"rfilename": "a.json", "size": 1}
    for sibling in ({**name, "blobId": "../" + "b" * 37}, {**name, "blobId": "b" * 39}, {**name, "blobId": "B" * 40},
                    {**name, "blobId": 7}, {**name, "blobId": "b" * 40, "lfs": {"sha256": "c" * 63}},
                    {"rfilename": "a", "size": -1}, {"rfilename": "a", "size": "1"}, {"rfilename": 1}, {}, "a", None):
        repo.listing = lists(sibling)
        p.pull(code=3, says="the hub's listing of org/name")
    for sha in ("../" + "a" * 37, "a" * 41, "main", "", None):
        repo.listing = lists(name, sha=sha)
        p.pull(code=3, says="sha")
    repo.listing = lists(name)
    p.pull(name=NAME + "@" + repo.commit, code=3, says="was asked for commit")
    assert list(p.home.iterdir()) == []


def answers_that_are_no_listing_are_refused(p):
    repo = p.hub.add(NAME, {})
    for body in (b"", b"<html>", b"[]", b"{}", b"7", b'{"sha": "' + b"a" * 40 + b'"}', b'{"sha": "', b"[" * 100000,
                 b'{"siblings": {}}', b"\xff\xfe", b'{"siblings": [], "sha": "' + b"a" * 40 + b'"}'):
        repo.listing = body
        p.pull(code=3)
    repo.listing = b" " * (17 << 20)
    p.pull(code=3, says="larger than 16777216 bytes")
    repo.listing = lists(*[{"rfilename": "%d" % i} for i in range(65537)])
    p.pull(code=3, says="65537 files, at most 65536")


def headers_are_checked_like_listings(p):
    repo = p.hub.add(NAME, FILES, LFS)
    repo.has_blobs = False
    repo.etag = lambda name: "../../../" + "e" * 55
    p.pull(code=3, says="the hub tells neither in its listing nor in a header what")


def absurd_sizes_do_not_fit(p):
    repo = p.hub.add(NAME, {})
    for size in (2 ** 50 + 1, 2 ** 63 - 1):
        repo.listing = lists({"rfilename": "a.json", "size": size, "blobId": "b" * 40})
        p.pull(code=4, says="a.json")
    repo.listing = lists({"rfilename": "a.json", "size": 2 ** 50, "blobId": "b" * 40})
    p.pull(code=4, says=r"the disk is too small: 1.13 PB in all - 0 B here already = 1.13 PB to fetch, .* are missing")


def a_link_below_the_snapshot_leads_nowhere(p):
    repo = p.hub.add(NAME, {"sub/a.json": b"{}"})
    outside = p.home / "outside"
    outside.mkdir()
    snapshot = p.dir / "snapshots" / repo.commit
    snapshot.mkdir(parents=True)
    (snapshot / "sub").symlink_to(outside)
    p.pull(code=3, says="cannot make the folder of")
    assert list(outside.iterdir()) == []


def a_link_in_place_of_a_partial_blob_is_not_followed(p):
    repo = p.hub.add(NAME, FILES)
    (p.dir / "blobs").mkdir(parents=True)
    precious = p.home / "precious"
    precious.write_text("precious")
    p.partial(repo, "config.json").symlink_to(precious)
    p.pull(code=3, says="cannot open")
    assert precious.read_text() == "precious"


def redirects_end(p):
    p.hub.add(NAME, FILES)
    p.hub.resolve_redirect = lambda path: path
    p.pull(code=1, says="it redirects in circles")
    p.hub.repos[NAME].has_blobs = False
    p.pull("--retries", "0", code=1, says="it redirects in circles")
    p.hub.resolve_redirect = lambda path: "file:///etc/passwd"
    p.hub.repos[NAME].has_blobs = True
    p.pull(code=1, says="it redirects to an address")


def a_file_that_cannot_be_written_is_said(p):
    repo = p.hub.add(NAME, FILES, LFS)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
    p.pull(code=3, says='cannot write "model.safetensors" at byte .* of 3000000: File too large', preexec_fn=limit)
    kept = p.partial(repo, "model.safetensors").stat().st_size
    assert 0 < kept <= 1_000_000
    p.hub.served.clear()
    p.pull()
    p.check(repo)
    assert p.hub.served["model.safetensors"] == 3_000_000 - kept


# Two at once

def two_pulls_at_once_fetch_once(p):
    repo = p.hub.add(NAME, FILES, LFS)
    release = threading.Event()
    p.hub.break_next("model.safetensors", stall(3_000_000 - 1, release))
    first = p.start("pull", NAME)
    wait_until(lambda: p.hub.n_held == 1)
    second = p.start("pull", NAME)
    line = second.stderr.readline() + second.stderr.readline()
    assert b'another process fetches "model.safetensors"; waiting for it' in line, line
    release.set()
    assert p.end(first).code == 0 and p.end(second).code == 0
    p.check(repo)
    assert p.hub.served["model.safetensors"] == 3_000_000


# Offline

def offline_takes_what_is_there(p):
    off = {"HF_HUB_OFFLINE": "1"}
    repo = p.hub.add(NAME, FILES, LFS)
    p.pull(code=4, says='HF_HUB_OFFLINE is set, and "org/name" .main. is not in the cache', env=off)
    p.pull("--exclude", "*.safetensors")
    n = len(p.hub.log)
    p.pull(code=4, says=r'the cache lacks 1 files of "org/name" .main.: model.safetensors', env=off)
    p.pull("--exclude", "*.safetensors", env=off)
    assert len(p.hub.log) == n, "the network was used"
    p.pull()
    r = p.pull(env=off)
    assert r.out == str(p.dir / "snapshots" / repo.commit) + "\n"
    p.pull(name=NAME + "@" + repo.commit, env=off)
    blob = p.dir / "blobs" / repo.etag("config.json")
    blob.unlink()
    p.pull(code=4, says="config.json", env={"HF_HUB_OFFLINE": "yes"})


def offline_without_a_listing_goes_by_the_index(p):
    off = {"HF_HUB_OFFLINE": "1"}
    index = json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode()
    repo = p.hub.add(NAME, {**FILES, "model.safetensors.index.json": index}, {"1.safetensors": b"1", "2.safetensors": b"2"})
    p.pull()
    (p.dir / "trees" / (repo.commit + ".json")).unlink()
    p.pull(env=off)
    (p.dir / "snapshots" / repo.commit / "2.safetensors").unlink()
    p.pull(code=4, says="lacks 1 files .*2.safetensors", env=off)
    (p.dir / "blobs" / repo.etag("config.json")).unlink()
    p.pull(code=4, says="lacks 2 files .*config.json", env=off)


# TLS

def https_needs_a_certificate_that_is_trusted(p):
    repo = p.hub.add(NAME, FILES, LFS)
    for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        p.pull("--force", env={name: str(hub_server.CERT)})
        p.check(repo)
    p.pull("--retries", "0", code=1, says="certificate cannot be verified|there are no CA certificates")
    assert len([x for x in p.hub.log if x[0]]) == 2


def https_does_not_become_http(p):
    p.hub.add(NAME, FILES, LFS)
    p.pull(code=1, says='"model.safetensors": it redirects to an address that is not https',
           env={"SSL_CERT_FILE": str(hub_server.CERT)})
    assert not [x for x in p.hub.log if x[0]]


# What was pulled is a model

def a_pulled_model_runs(p):
    files = {f.name: f.read_bytes() for f in (ROOT / "models/demo").iterdir() if f.is_file()}
    weights = {"model.safetensors": files.pop("model.safetensors")}
    p.hub.add(NAME, files, weights)
    p.pull()
    ask = ["-p", "What is 109 + 802?", "--max-tokens", "12", "-q"]
    a = p.run("run", NAME, *ask, env={"HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "http://127.0.0.1:1"})
    b = p.run("run", "demo", *ask)
    assert a.code == 0 and a.out == b.out and a.out.strip(), (a, b)
    assert p.run("run", NAME + "@other", *ask).code == 3


def a_pulled_gguf_model_is_found(p):
    gguf = min((ROOT / "tests/golden/data").rglob("*.gguf"), key=lambda f: f.stat().st_size)
    p.hub.add(NAME, {"README.md": b"#"}, {"sub/a-Q4_0.gguf": gguf.read_bytes(), "sub/a-Q8_0.gguf": gguf.read_bytes() + b"\0"})
    p.pull("--include", "*Q4_0*")
    a, b = p.run("inspect", NAME, "--json"), p.run("inspect", str(gguf), "--json")
    assert a.code == 0 and json.loads(a.out)["params_total"] == json.loads(b.out)["params_total"], (a, b)
    p.pull("--include", "*Q8_0*")
    r = p.run("inspect", NAME)
    assert r.code == 2 and "has 2 GGUF models; give the path of one" in r.err, r


def run(case):
    tls = case.__name__.startswith("https")
    with Hub(tls=tls, cdn_tls="become_http" not in case.__name__ and tls) as hub:
        with tempfile.TemporaryDirectory() as home:
            try:
                case(Place(hub, pathlib.Path(home).resolve()))
                return None
            except Exception:
                return traceback.format_exc(limit=3)


def main():
    cases = [f for name, f in globals().items() if inspect.isfunction(f) and f.__module__ == "__main__" and
             list(inspect.signature(f).parameters) == ["p"] and (len(sys.argv) < 4 or sys.argv[3] in name)]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for case, story in zip(cases, pool.map(run, cases)):
            if story:
                failed += 1
                print("FAILED: %s\n%s" % (case.__name__, story))
    print("%d passed, %d failed" % (len(cases) - failed, failed))
    sys.exit(failed > 0 or not cases)


main()
