# SPDX-License-Identifier: MIT
"""A hub on 127.0.0.1 as the Hugging Face hub answers, with a second port that stands for its CDN. It counts what it
serves and breaks on request. Standard library only.

    with Hub() as hub:
        repo = hub.add("org/name", {"config.json": b"{}"}, lfs={"model.safetensors": weights})
        hub.break_next("model.safetensors", drop(1000), status(500))   # the next two GETs of its content
        ... HF_ENDPOINT=hub.endpoint ...
        hub.served["model.safetensors"]                                # bytes of its content that were sent
"""
import collections
import hashlib
import http.server
import json
import pathlib
import re
import ssl
import threading
import time
import urllib.parse

HERE = pathlib.Path(__file__).parent
CERT, KEY = HERE / "cert-for-tests-only.pem", HERE / "key-for-tests-only.pem"


def git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Repo:
    def __init__(self, name, files, lfs):
        self.name, self.files, self.lfs = name, dict(files), dict(lfs)
        self.commit = hashlib.sha1(repr((name, sorted(self.all().items()))).encode()).hexdigest()
        self.revs = {"main"}
        self.token = None  # what Authorization must bear
        self.gated = False
        self.listing = None  # bytes to answer instead of the true listing
        self.has_blobs = True  # False: a mirror that lists names alone

    def all(self):
        return {**self.files, **self.lfs}

    def etag(self, name):
        return hashlib.sha256(self.lfs[name]).hexdigest() if name in self.lfs else git_sha1(self.files[name])

    def blob_id(self, name):
        if name not in self.lfs:
            return git_sha1(self.files[name])
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n"
        return git_sha1((pointer % (self.etag(name), len(self.lfs[name]))).encode())

    def siblings(self, blobs):
        out = []
        for name, data in sorted(self.all().items()):
            s = {"rfilename": name}
            if blobs and self.has_blobs:
                s.update(size=len(data), blobId=self.blob_id(name))
                if name in self.lfs:
                    s["lfs"] = {"sha256": self.etag(name), "size": len(data), "pointerSize": 134}
            out.append(s)
        return out

    def tree(self):
        out = []
        for name, data in sorted(self.all().items()):
            e = {"type": "file", "path": name, "size": len(data), "oid": self.blob_id(name)}
            if name in self.lfs:
                e["lfs"] = {"oid": self.etag(name), "size": len(data), "pointerSize": 134}
            out.append(e)
        return out


# Faults: each takes (handler, name, data, etag) in place of serving the content.
def drop(n):  # the connection closes after n bytes
    return lambda h, name, data, etag: h.send_content(name, data, etag, cut=n)


def stall(n, release=None):  # nothing comes after n bytes
    def fault(h, name, data, etag):
        h.send_content(name, data, etag, cut=n, hold=release or threading.Event())
    return fault


def status(code, headers=(), body=b"no"):
    return lambda h, name, data, etag: h.answer(code, body, dict(headers))


def ignore_range(h, name, data, etag):
    h.send_content(name, data, etag, honour_range=False)


def shifted_range(h, name, data, etag):  # 206 for other bytes than were asked for
    h.send_content(name, data, etag, shift=7)


def wrong_bytes(h, name, data, etag):
    h.send_content(name, bytes([data[0] ^ 1]) + data[1:], etag)


def wrong_length(n):
    return lambda h, name, data, etag: h.send_content(name, data, etag, announce=n)


def longer(n):  # without a length, and more than there is
    return lambda h, name, data, etag: h.send_content(name, data + b"x" * n, etag, announce=-1)


def other_etag(h, name, data, etag):
    h.send_content(name, b"other" + data[5:], "0" * len(etag))


def endless(h, name, data, etag):  # an error whose text does not end
    h.send_response(400)
    h.end_headers()
    h.close_connection = True
    try:
        for _ in range(1 << 14):
            h.wfile.write(b"e" * 65536)
    except OSError:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    is_cdn = False

    def log_message(self, *args):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:  # the client went away, or refused the certificate
            pass

    def answer(self, code, body=b"", headers=None, head=False):
        self.send_response(code)
        for k, v in (headers or {}).items():
            self.send_header(k, v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def send_content(self, name, data, etag, cut=None, hold=None, honour_range=True, shift=0, announce=None):
        begin = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and honour_range:
            begin = int(asked.group(1)) + shift
            if begin >= len(data):
                self.answer(416, headers={"Content-Range": "bytes */%d" % len(data)})
                return
        part = data[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("ETag", '"%s"' % etag)
        if not self.is_cdn:
            self.send_header("X-Repo-Commit", self.path.split("/")[4])
        if begin:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (begin, len(data) - 1, len(data)))
        if announce is None or announce >= 0:
            self.send_header("Content-Length", str(len(part) if announce is None else announce))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        if cut is not None:
            part = part[:cut]
            self.close_connection = True
        hub = self.server.hub
        with hub.lock:
            hub.n_now += 1
            hub.n_most = max(hub.n_most, hub.n_now)
        try:
            if hub.slow:
                time.sleep(hub.slow)
            for at in range(0, len(part), 1 << 16):
                piece = part[at:at + (1 << 16)]
                self.wfile.write(piece)
                with hub.lock:
                    hub.served[name] += len(piece)
            if hold:
                self.wfile.flush()
                with hub.lock:
                    hub.n_held += 1
                hold.wait(30)
        except OSError:
            self.close_connection = True
        finally:
            with hub.lock:
                hub.n_now -= 1

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server.hub
        url = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(url.path)
        with hub.lock:
            hub.log.append((self.is_cdn, self.command, self.path, dict(self.headers)))
        if self.is_cdn:
            self.cdn(hub, path)
        elif m := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/(.+)", path):
            self.api(hub, m, urllib.parse.parse_qs(url.query))
        elif m := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(hub, m)
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def refused(self, repo, rev):
        """Answers and returns True when the repository may not be read."""
        head = self.command == "HEAD"
        if repo is None:
            self.answer(self.server.hub.unknown_status, b"{}", {"X-Error-Code": "RepoNotFound"}, head)
        elif repo.token and self.headers.get("Authorization") != "Bearer " + repo.token:
            if repo.gated:
                code = 403 if "Authorization" in self.headers else 401
                self.answer(code, b"{}", {"X-Error-Code": "GatedRepo"}, head)
            else:
                bad = {"X-Error-Message": "Invalid credentials in Authorization header"}
                self.answer(401, b"{}", bad if "Authorization" in self.headers else {}, head)
        elif rev not in repo.revs and rev != repo.commit:
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, head)
        else:
            return False
        return True

    def api(self, hub, m, query):
        name, what, rev = m.groups()
        if hub.api_faults:
            hub.api_faults.popleft()(self, "", b"", "")
            return
        if name in hub.renamed:
            self.answer(307, headers={"Location": self.path.replace(name, hub.renamed[name])})
            return
        repo = hub.repos.get(name)
        if self.refused(repo, rev):
            return
        body = repo.listing
        if body is None and what == "tree":
            body = json.dumps(repo.tree()).encode()
        elif body is None:
            body = json.dumps({"id": name, "sha": repo.commit, "private": False, "tags": [],
                               "siblings": repo.siblings("blobs" in query)}).encode()
        self.answer(200, body, {"Content-Type": "application/json"})

    def resolve(self, hub, m):
        name, rev, file = m.groups()
        repo = hub.repos.get(name)
        if self.refused(repo, rev):
            return
        if hub.resolve_redirect:
            self.answer(302, headers={"Location": hub.resolve_redirect(self.path)})
            return
        data = repo.all().get(file)
        if data is None:
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"}, self.command == "HEAD")
            return
        etag = repo.etag(file)
        if file in repo.lfs:
            where = "%s/%s/%s?signature=secret" % (hub.cdn, name, urllib.parse.quote(file))
            self.answer(302, headers={"Location": where, "X-Repo-Commit": repo.commit, "X-Linked-Etag": '"%s"' % etag,
                                      "X-Linked-Size": str(len(data)), "ETag": '"%s"' % git_sha1(b"pointer")})
            return
        self.content(hub, file, data, etag)

    def cdn(self, hub, path):
        org, name, file = path[1:].split("/", 2)
        self.content(hub, file, hub.repos[org + "/" + name].lfs[file], "md5-of-the-cdn")

    def content(self, hub, file, data, etag):
        with hub.lock:
            faults = hub.faults[file]
            fault = faults.popleft() if faults and self.command == "GET" else hub.always.get(file)
        if fault:
            fault(self, file, data, etag)
        else:
            self.send_content(file, data, etag)


class CdnHandler(Handler):
    is_cdn = True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class Hub:
    def __init__(self, tls=False, cdn_tls=None):
        self.repos, self.renamed = {}, {}
        self.lock = threading.Lock()
        self.log = []
        self.served = collections.Counter()
        self.faults = collections.defaultdict(collections.deque)
        self.always = {}  # file -> fault of every GET
        self.api_faults = collections.deque()
        self.resolve_redirect = None
        self.unknown_status = 404
        self.slow = 0  # seconds before a body
        self.n_now = self.n_most = self.n_held = 0
        self.servers = [Server(("127.0.0.1", 0), h) for h in (Handler, CdnHandler)]
        urls = []
        for server, is_tls in zip(self.servers, (tls, tls if cdn_tls is None else cdn_tls)):
            server.hub = self
            if is_tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(CERT, KEY)
                server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            urls.append("%s://127.0.0.1:%d" % ("https" if is_tls else "http", server.server_port))
        self.endpoint, self.cdn = urls

    def __enter__(self):
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exc):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def add(self, name, files, lfs=()):
        self.repos[name] = Repo(name, files, lfs)
        return self.repos[name]

    def break_next(self, file, *faults):
        self.faults[file].extend(faults)

    def gets(self, file):
        """The GETs of a file's content, in order: their Range headers (None without)."""
        end = "/" + urllib.parse.quote(file)
        return [headers.get("Range") for cdn, command, path, headers in self.log
                if command == "GET" and path.split("?")[0].endswith(end) and
                (cdn or not any(file in r.lfs for r in self.repos.values()))]
