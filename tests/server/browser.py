# SPDX-License-Identifier: MIT
"""Chromium without a window, driven through the DevTools protocol over a pipe. Standard library only."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

KEYS = {"Enter": (13, "\r"), "Tab": (9, None), "Escape": (27, None), "ArrowLeft": (37, None), "ArrowUp": (38, None),
        "ArrowRight": (39, None), "ArrowDown": (40, None), " ": (32, " ")}


def find_chromium():
    return next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)


class Browser:
    def __init__(self, program):
        self.profile = tempfile.mkdtemp(prefix="tk-page-")
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()

        def put():  # the browser takes commands from 3 and answers on 4
            a, b = os.dup(to_read), os.dup(to_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             f"--user-data-dir={self.profile}", "--no-first-run", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=put)
        os.close(to_read)
        os.close(to_write)
        self.pending, self.n, self.answers, self.listeners = b"", 0, {}, []

    def pump(self, timeout):
        """Takes what has come, waiting at most that long for something."""
        if not select.select([self.back], [], [], timeout)[0]:
            return
        part = os.read(self.back, 1 << 20)
        if not part:
            raise RuntimeError("the browser has ended")
        *whole, self.pending = (self.pending + part).split(b"\0")
        for text in whole:
            m = json.loads(text)
            if "id" in m:
                self.answers[m["id"]] = m
                continue
            for f in list(self.listeners):
                f(m)

    def post(self, method, params=None, session=None):
        self.n += 1
        m = {"id": self.n, "method": method, "params": params or {}, **({"sessionId": session} if session else {})}
        os.write(self.to, json.dumps(m).encode() + b"\0")
        return self.n

    def call(self, method, params=None, session=None, timeout=30):
        n, end = self.post(method, params, session), time.monotonic() + timeout
        while n not in self.answers:
            if time.monotonic() > end:
                raise TimeoutError(method)
            self.pump(0.1)
        m = self.answers.pop(n)
        if "error" in m:
            raise RuntimeError(f"{method}: {m['error']}")
        return m["result"]

    def close(self):
        try:
            self.call("Browser.close", timeout=5)
        except (RuntimeError, TimeoutError, OSError):
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


class Page:
    """A tab of its own, with its own storage. trouble: what the console complained of; requests: addresses asked for;
    sent: the last body."""

    def __init__(self, browser, width=1280, height=860, dark=False, phone=False):
        self.b = browser
        context = browser.call("Target.createBrowserContext")["browserContextId"]
        target = browser.call("Target.createTarget", {"url": "about:blank", "browserContextId": context})["targetId"]
        self.session = browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.context, self.trouble, self.requests, self.sent, self.answer = context, [], [], None, None
        browser.listeners.append(self.listen)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1, "mobile": phone})
        self.call("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})

    def call(self, method, params=None, **kw):
        return self.b.call(method, params, self.session, **kw)

    def listen(self, m):
        if m.get("sessionId") != self.session:
            return
        what, p = m["method"], m["params"]
        if what == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])
            self.sent = p["request"].get("postData", self.sent)
        elif what == "Runtime.exceptionThrown":
            self.trouble.append(json.dumps(p["exceptionDetails"])[:400])
        elif what == "Log.entryAdded" and p["entry"]["level"] == "error":
            self.trouble.append(f"{p['entry']['source']}: {p['entry']['text']}"[:400])
        elif what == "Fetch.requestPaused":
            self.b.post("Fetch.fulfillRequest", {"requestId": p["requestId"], "responseCode": 200,
                                                 "responseHeaders": [{"name": "Content-Type", "value": "text/event-stream"}],
                                                 "body": base64.b64encode(self.answer).decode()}, self.session)

    def open(self, url):
        self.change(lambda: self.call("Page.navigate", {"url": url}))

    def reload(self):
        self.change(lambda: self.call("Page.reload"))

    def change(self, how):
        """Until the old document has gone and the new one is there; in between nothing can be asked."""
        self.js("window.isOld = true")
        how()
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                if self.js("!window.isOld && document.readyState === 'complete'"):
                    return
            except RuntimeError:
                pass
            self.b.pump(0.03)
        raise TimeoutError("the page does not load")

    def js(self, expression):
        r = self.call("Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True, "userGesture": True})
        if "exceptionDetails" in r:
            raise RuntimeError(f"{expression[:100]}: {json.dumps(r['exceptionDetails'])[:500]}")
        return r["result"].get("value")

    def wait(self, expression, timeout=20):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.js(f"Boolean({expression})"):
                return True
            self.b.pump(0.03)
        return False

    def text(self, selector):
        return self.js(f"document.querySelector({json.dumps(selector)})?.textContent ?? null")

    def click(self, selector):
        """As a finger does: at the middle of what is there, which must not lie under something else."""
        at = self.js(f"""(() => {{ const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();
            const x = r.x + r.width / 2, y = r.y + r.height / 2, hit = document.elementFromPoint(x, y);
            return {{x, y, ok: e === hit || e.contains(hit)}}; }})()""")
        if not at["ok"]:
            raise RuntimeError(f"{selector} cannot be clicked")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", {"type": kind, "x": at["x"], "y": at["y"], "button": "left", "clickCount": 1})

    def key(self, name, modifiers=0):
        code, text = KEYS[name]
        event = {"key": name, "code": "Space" if name == " " else name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        self.call("Input.dispatchKeyEvent", {**event, "type": "keyDown", **({"text": text} if text else {})})
        self.call("Input.dispatchKeyEvent", {**event, "type": "keyUp"})

    def type(self, text):
        self.call("Input.insertText", {"text": text})

    def answer_with(self, body):
        """From now on the chat's requests get this stream, whatever the server would say; None = the server again."""
        self.answer = body
        if body is None:
            self.call("Fetch.disable")
        else:
            self.call("Fetch.enable", {"patterns": [{"urlPattern": "*/v1/chat/completions"}]})

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("Page.captureScreenshot", {"format": "png"})["data"]))

    def close(self):
        self.b.listeners.remove(self.listen)
        self.b.call("Target.disposeBrowserContext", {"browserContextId": self.context})
