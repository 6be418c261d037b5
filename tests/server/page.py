#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""page.py TOKAMAK MODEL [PICTURES]: the page at / in Chromium (Debian's package `chromium`; not part of the suite), with
the demo model behind it: chat, dashboard, keys, keyboard, phone, light and dark. Pictures go to the folder PICTURES."""
import json
import os
import sys
import tempfile

from browser import Browser, Page, find_chromium
from harness import Server, case, finish

SUM = "Mia has 34 shells. Mia gives 20 to Ben. Mia finds 28 more. How many shells does Mia have?"
STORY = "Tell me a story about Mia in the garden."
HOSTILE = """# Heading

**bold** and `code`, [good](https://example.org/a_b) and [bad](javascript:window.pwned=1) and https://example.com/x.

<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>

1. one
   - inner
2. two

| a | b |
|:--|--:|
| <b>x</b> | 1 |

```python
print("<script>")
x = 1
```

![picture](https://example.org/p.png) and [data](data:text/html,x)

""" + "> " * 60 + "deep" + "*" * 400 + "`" * 401 + "[" * 400
IDLE = "!document.querySelector('.running')"
LAST = "document.querySelector('#log > .answer:last-child')"


def stream_of(text, step=5):
    parts = [{"choices": [{"index": 0, "delta": {"content": text[i:i + step]}}]} for i in range(0, len(text), step)]
    return b"".join(b"data: " + json.dumps(p).encode() + b"\n\n" for p in parts) + b"data: [DONE]\n\n"


class Run:
    def __init__(self, tokamak, model, pictures):
        self.tokamak, self.model, self.pictures = tokamak, model, pictures
        self.browser = Browser(find_chromium())

    def serve(self, *flags):
        return Server(self.tokamak, self.model, *flags)

    def page(self, s, **kw):
        p = Page(self.browser, **kw)
        p.open(f"http://127.0.0.1:{s.port}/")
        return p

    def picture(self, p, name):
        if self.pictures:
            os.makedirs(self.pictures, exist_ok=True)
            p.picture(os.path.join(self.pictures, name + ".png"))


def ready(p):
    return p.wait("document.querySelector('#state').dataset.state === 'ready' && document.querySelector('#model').textContent")


def send(p, text):
    p.js("document.querySelector('#say').focus()")
    p.type(text)
    p.key("Enter")


def chat(run, s):
    p = run.page(s)
    case("the page finds its server", ready(p), p.text("#state"))
    case("and says which model", p.text("#model") == "demo" and "512" in p.text("#about"), p.text("#about"))
    case("no key is asked for, none is kept", p.js("document.querySelector('#key').hidden && !Object.keys(sessionStorage).concat(Object.keys(localStorage)).some(k => k.includes('key'))"))
    run.picture(p, "empty")
    p.js(f"""window.sizes = new Set(); new MutationObserver(() => {LAST} &&
        window.sizes.add({LAST}.querySelector('.thought-text').textContent.length)).observe(document.querySelector('#log'), {{childList: true, subtree: true}})""")
    send(p, SUM)
    case("an answer comes", p.wait(f"{IDLE} && {LAST}?.querySelector('.stats').textContent"))
    case("in many pieces", p.js("window.sizes.size") > 3, p.js("[...window.sizes]"))
    case("it is right", p.js(f"{LAST}.querySelector('.text').textContent") == "42", p.text("#log"))
    case("its speed is told", "tok/s" in p.js(f"{LAST}.querySelector('.stats').textContent"), p.text("#log"))
    case("its reasoning is there, folded", p.js(f"(() => {{ const d = {LAST}.querySelector('details'); return !d.hidden && !d.open && d.querySelector('div').textContent.length > 10; }})()"))
    p.click(".answer summary")
    case("and unfolds", p.js(f"{LAST}.querySelector('details').open"))
    case("the context is counted", "of 512" in p.text("#context"), p.text("#context"))
    run.picture(p, "chat")
    send(p, "What is 3 + 4?")
    p.wait(f"{IDLE} && document.querySelectorAll('.answer').length === 2")
    case("a second turn", p.js(f"{LAST}.querySelector('.text').textContent") == "7", p.text("#log"))
    edit(p)
    case("nothing to complain of", p.trouble == [], p.trouble)
    case("nobody else was asked", all(u.startswith(f"http://127.0.0.1:{s.port}/") or u.startswith("data:") for u in p.requests), set(p.requests))
    p.reload()
    ready(p)
    case("a reload keeps the conversation", p.js("document.querySelectorAll('.answer').length") == 1)
    p.click("#new")
    case("a new chat is empty", p.js("document.querySelector('#log').childElementCount === 0 && !document.querySelector('#empty').hidden"))
    p.close()


def edit(p):
    p.click(".question .actions button:last-child")
    case("an earlier message can be edited", p.js("document.activeElement.value") == SUM)
    p.key("Escape")
    case("Escape leaves it as it was", p.js("document.querySelector('.bubble').textContent") == SUM)
    p.click(".question .actions button:last-child")
    p.js("document.activeElement.select()")
    p.type("What is 1 + 1?")
    p.key("Enter")
    p.wait(f"{IDLE} && {LAST}?.querySelector('.stats').textContent")
    case("sent again, the rest is gone", p.js("document.querySelectorAll('#log > li').length") == 2
         and p.js(f"{LAST}.querySelector('.text').textContent") == "2", p.text("#log"))


def stop(run, s):
    p = run.page(s)
    ready(p)
    p.js("sessionStorage.setItem('tokamak.settings', JSON.stringify({temperature: '4', top_k: '900'}))")  # it finds no end
    p.reload()
    ready(p)
    for name, how in (("the button", lambda: p.click("#stop")), ("Escape", lambda: p.key("Escape"))):
        send(p, STORY)
        begun = p.wait(f"!document.querySelector('#stop').hidden && {LAST}.querySelector('.thought-text').textContent.length > 10")
        how()
        case(f"{name} stops it", begun and p.wait(IDLE, 5) and "stopped" in p.js(f"{LAST}.querySelector('.stats').textContent"), p.text("#log"))
        case("and it stays stopped", not p.wait("document.querySelector('.running')", 0.5)
             and s.wait_for(lambda: s.metric("num_requests_running") == 0, 5))
    send(p, STORY)
    p.wait("!document.querySelector('#stop').hidden")
    p.click("#new")
    case("a new chat stops it too", p.js("document.querySelector('#log').childElementCount") == 0 and p.wait(IDLE)
         and s.wait_for(lambda: s.metric("num_requests_running") == 0, 5))
    p.close()


def markdown(run, s):
    p = run.page(s)
    ready(p)
    p.b.call("Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "browserContextId": p.context})
    p.answer_with(stream_of(HOSTILE))
    send(p, "Show me.")
    p.wait(f"{IDLE} && document.querySelector('.code')")
    count = lambda what: p.js(f"document.querySelectorAll('.text {what}').length")
    case("nothing in it runs, nothing is loaded", p.js("window.pwned") is None and count(":is(img, script, iframe, [onerror], [style])") == 0)
    case("HTML is shown as text", "<img src=x onerror" in p.text(".text") and p.text(".text td") == "<b>x</b>", p.text(".text"))
    case("links lead to the web only", p.js("[...document.querySelectorAll('.text a')].map(a => a.href)") ==
         ["https://example.org/a_b", "https://example.com/x", "https://example.org/p.png"],
         p.js("[...document.querySelectorAll('.text a')].map(a => a.href)"))
    case("and do not take the page along", p.js("[...document.querySelectorAll('.text a')].every(a => a.rel.includes('noopener') && a.target === '_blank')"))
    case("headings, lists, tables, code", [count(w) for w in ("h3", "ol > li", "ol ul > li", "table td", "pre > code", "strong")][:5] == [1, 2, 1, 2, 1],
         [count(w) for w in ("h3", "ol > li", "ol ul > li", "table td", "pre > code")])
    p.click(".code .copy")
    case("code is copied", p.wait("document.querySelector('.code .copy').textContent === 'Copied'")
         and p.js("navigator.clipboard.readText()") == 'print("<script>")\nx = 1', p.js("navigator.clipboard.readText()"))
    case("no HTML can be made even on purpose", p.js("(() => { try { document.body.innerHTML = 'x'; return false; } catch { return true; } })()") is True)
    p.answer_with(stream_of("```\n" + "code\n" * 4000 + "```\n\n" + "word **bold** " * 3000, step=400))
    send(p, "A lot.")
    case("a long answer is shown", p.wait(f"{IDLE} && document.querySelectorAll('.text strong').length > 2900", 30), count("strong"))
    p.answer_with(b'data: {"error": {"message": "the engine failed", "code": 500}}\n\n')
    send(p, "Fail.")
    case("an error in the stream is shown", p.wait(f"{LAST}?.querySelector('.error')?.textContent === 'The engine failed'"), p.text("#log > :last-child"))
    p.answer_with(b'data: {"choices": [{"index": 0, "delta": {"content": "half"}}]}\n\n')
    send(p, "Break off.")
    case("so is one that breaks off", p.wait(f"{LAST}?.querySelector('.error')?.textContent.includes('cut off')"), p.text("#log > :last-child"))
    send(p, "Again.")
    p.wait(f"{IDLE} && document.querySelectorAll('.answer').length === 5")
    roles = [(m["role"], m["content"].count("\n\n")) for m in json.loads(p.sent)["messages"]][-3:]
    case("an answer that came to nothing is not sent back", roles == [("user", 1), ("assistant", 0), ("user", 0)], roles)
    p.close()


def board(run, s):
    p = run.page(s)
    ready(p)
    send(p, SUM)
    p.wait(f"{IDLE} && document.querySelector('.stats')?.textContent")
    p.click("#tab-board")
    case("the dashboard opens", p.js("!document.querySelector('#board').hidden && document.querySelector('#chat').hidden && location.hash === '#dashboard'"))
    p.js("document.querySelector('#span').value = 'Infinity'; document.querySelector('#span').dispatchEvent(new Event('change'))")
    big = lambda title: p.js(f"[...document.querySelectorAll('.card')].find(c => c.querySelector('h2').textContent === {json.dumps(title)}).querySelector('.big strong').textContent")
    case("what it needs comes", p.wait("document.querySelector('.heat').dataset.rows && ![...document.querySelectorAll('.latency td')].some(c => c.textContent === '–')"), p.text("#board"))
    for title in ("Output", "Prompt", "Requests", "Requests answered", "KV cache in use", "Prefix cache hits", "Tokens in a step"):
        case(f"a figure for {title}", p.wait(f"{json.dumps(big(title))} !== '–'") and any(c.isdigit() for c in big(title)), big(title))
    case("energy is read or said not to be", any(c.isdigit() for c in big("Power")) or "Not readable here" in p.text("#board"), p.text("#board"))
    case("a row for each MoE layer, a column for each expert", p.js("[document.querySelector('.heat').dataset.rows, document.querySelector('.heat').dataset.columns]") == ["4", "24"])
    cells = p.js("""(() => { const c = document.querySelector('.heat'), ctx = c.getContext('2d'), d = window.devicePixelRatio;
        const w = (c.clientWidth - 34) / 24, h = c.clientHeight / 4, seen = new Set();
        for (let l = 0; l < 4; l++) for (let e = 0; e < 24; e++) seen.add([...ctx.getImageData((34 + (e + .5) * w) * d, (l + .5) * h * d, 1, 1).data].join());
        return [seen.size, [...seen].every(x => x.endsWith(',255'))]; })()""")
    case("every cell is painted, by its load", cells[0] > 10 and cells[1], cells)
    p.js("document.querySelector('.heat').focus()")
    for _ in range(30):
        p.key("ArrowRight")
    for _ in range(6):
        p.key("ArrowDown")
    case("cells are walked and told", p.text("#heat-readout").startswith("Layer 4, expert 23: "), p.text("#heat-readout"))
    run.picture(p, "board")
    total = p.js("fetch('/expert_load').then(r => r.json()).then(d => d.layers.map(l => l.tokens.reduce((a, b) => a + b, 0)))")
    case("the same for every layer", len(set(total)) == 1 and total[0] > 0, total)
    case("nothing to complain of", p.trouble == [], p.trouble)
    p.close()


def keyboard(run, s):
    p = run.page(s)
    ready(p)
    p.js("document.body.tabIndex = -1; document.body.focus()")
    focused = lambda: p.js("document.activeElement.id || document.activeElement.className || document.activeElement.tagName")
    p.key("Tab")
    case("first comes the way past the head", focused() == "skip", focused())
    p.key("Enter")
    case("to the message", p.wait("document.activeElement.id === 'say'"), focused())
    p.type("What is 3 + 4?")
    p.key("Enter", 8)
    case("Shift+Enter is a new line", p.js("document.querySelector('#say').value") == "What is 3 + 4?\n")
    p.key("Enter")
    case("Enter sends", p.wait(f"{IDLE} && {LAST}?.querySelector('.text').textContent === '7'"), p.text("#log"))
    case("the field has the focus again", focused() == "say", focused())
    seen = []
    for _ in range(24):
        p.key("Tab")
        seen.append(focused())
    case("everything can be reached", {"tab-chat", "new", "open-settings", "send", "SUMMARY", "quiet copy", "quiet"} <= set(seen), seen)
    case("and shows that it is", p.js("""['#tab-chat', '#new', '#send'].every(q => { const e = document.querySelector(q);
         e.focus({focusVisible: true}); return getComputedStyle(e).outlineStyle !== 'none'; })"""))
    p.js("document.querySelector('#open-settings').focus()")
    p.key("Enter")
    case("settings open", p.js("document.querySelector('#settings').open && document.querySelector('#settings').contains(document.activeElement)"))
    p.js("document.querySelector('[name=max_tokens]').focus()")
    p.type("5")
    p.key("Escape")
    case("and close", p.js("!document.querySelector('#settings').open") and focused() == "open-settings", focused())
    send(p, "What is 3 + 4?")
    case("a setting is kept", p.wait(f"{IDLE} && {LAST}?.querySelector('.stats').textContent.includes('limit')"), p.text("#log"))
    p.js("document.querySelector('#tab-chat').focus()")
    p.key("ArrowRight")
    case("arrow keys change the tab", focused() == "tab-board" and p.js("!document.querySelector('#board').hidden"), focused())
    p.key("ArrowLeft")
    case("and back", focused() == "tab-chat" and p.js("document.querySelector('#board').hidden"), focused())
    names = p.js("""[...document.querySelectorAll('button, input, textarea, select, canvas, a, summary')].filter(e => e.checkVisibility())
        .filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML)""")
    case("everything has a name", names == [], names)
    p.close()


CONTRAST = """(() => { const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255).map(x => x <= .04045 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
  const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!/, 0\\)|transparent/.test(c)) return c; } return 'rgb(255,255,255)'; };
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .map(e => { const [a, b] = [lum(getComputedStyle(e).color), lum(ground(e))].sort((x, y) => y - x); return [(a + .05) / (b + .05), e.tagName + '.' + e.className]; })
    .sort((x, y) => x[0] - y[0])[0]; })()"""


def looks(run, s):
    grounds = {}
    for dark in (False, True):
        for phone in (False, True):
            name = ("dark" if dark else "light") + ("-phone" if phone else "")
            p = run.page(s, dark=dark, phone=phone, **({"width": 390, "height": 844} if phone else {}))
            ready(p)
            send(p, SUM)
            p.wait(f"{IDLE} && document.querySelector('.stats')?.textContent")
            p.answer_with(stream_of(HOSTILE + "\n\n" + "x" * 300 + "\n\n| " + "wide cell | " * 20 + "\n|" + "--|" * 20))
            send(p, "y" * 200)
            p.wait(f"{IDLE} && document.querySelectorAll('.stats').length === 2")
            case(f"{name}: the page does not scroll sideways", p.js("document.scrollingElement.scrollWidth <= innerWidth && document.querySelector('#scroll').scrollWidth <= document.querySelector('#scroll').clientWidth"))
            case(f"{name}: nor down", p.js("document.scrollingElement.scrollHeight <= innerHeight"))
            ratio = p.js(CONTRAST)
            case(f"{name}: text can be read", ratio[0] >= 4.5, ratio)
            run.picture(p, f"{name}-chat")
            p.click("#open-settings")
            case(f"{name}: settings fit", p.js("(() => { const r = document.querySelector('#settings').getBoundingClientRect(); return r.left >= 0 && r.right <= innerWidth && r.bottom <= innerHeight; })()"))
            run.picture(p, f"{name}-settings")
            p.click("#close-settings")
            p.click("#tab-board")
            p.wait("document.querySelector('.heat').dataset.rows")
            case(f"{name}: nor does the dashboard", p.js("document.scrollingElement.scrollWidth <= innerWidth && document.querySelector('#board').scrollWidth <= document.querySelector('#board').clientWidth"))
            ratio = p.js(CONTRAST)
            case(f"{name}: figures can be read", ratio[0] >= 4.5, ratio)
            run.picture(p, f"{name}-board")
            if phone:
                small = p.js("[...document.querySelectorAll('button, select')].filter(e => e.checkVisibility() && e.getBoundingClientRect().height < 30).map(e => e.outerHTML)")
                case(f"{name}: buttons are large enough", small == [], small)
            grounds[name] = p.js("getComputedStyle(document.body).backgroundColor")
            p.close()
    case("dark is dark", grounds["dark"] != grounds["light"] and grounds["dark-phone"] == grounds["dark"], grounds)


def keys(run):
    s = run.serve("--api-key", "sesame")
    p = run.page(s)
    case("a key is asked for", p.wait("!document.querySelector('#key').hidden && document.activeElement.id === 'key-value'"))
    p.type("wrong")
    p.key("Enter")
    case("a wrong one is refused in words", p.wait("document.querySelector('#key-error').textContent.includes('does not take')"), p.text("#key"))
    run.picture(p, "key")
    p.js("document.querySelector('#key-value').select()")
    p.type("sesame")
    p.key("Enter")
    case("the right one is taken", p.wait("document.querySelector('#key').hidden && document.querySelector('#model').textContent === 'demo'"), p.text("#key"))
    case("it is kept for this tab only", p.js("sessionStorage.getItem('tokamak.key') === 'sesame' && localStorage.getItem('tokamak.key') === null"))
    send(p, "What is 3 + 4?")
    case("and used", p.wait(f"{IDLE} && {LAST}?.querySelector('.text').textContent === '7'"), p.text("#log"))
    p.click("#tab-board")
    case("also for the experts", p.wait("document.querySelector('.heat').dataset.rows === '4'"), p.text("#board"))
    p.click("#tab-chat")
    p.click("#open-settings")
    p.click("#forget-key")
    case("it can be forgotten", p.js("sessionStorage.getItem('tokamak.key')") is None and p.wait("!document.querySelector('#key').hidden"))
    p.js("document.querySelector('#key-value').value = 'sesame'")
    p.click("#key-keep")
    p.click("#key button")
    case("or remembered", p.wait("document.querySelector('#key').hidden && localStorage.getItem('tokamak.key') === 'sesame'"))
    case("the key is in no address", not any("sesame" in u for u in p.requests))
    p.close()
    case("ends with 0", s.stop() == 0)


def power(run):
    """Counters of the test's own, as a machine has them that lets them be read."""
    with tempfile.TemporaryDirectory() as root:
        zone = os.path.join(root, "intel-rapl:0")
        os.mkdir(zone)

        def put(name, text):
            with open(os.path.join(zone, name), "w", encoding="ascii") as f:
                f.write(text)

        put("name", "package-0\n")
        put("max_energy_range_uj", "262143328850\n")
        put("energy_uj", "5\n")
        s = run.serve("--powercap-dir", root)
        p = run.page(s)
        ready(p)
        p.click("#tab-board")
        put("energy_uj", "80000005\n")
        words = "[...document.querySelectorAll('.card')].find(c => c.querySelector('h2').textContent === 'Power').textContent"
        case("power is shown where it can be read", p.wait(f"/[1-9][.\\d]*W.* J; the machine/.test({words})"), p.js(words))
        p.close()
        case("ends with 0", s.stop() == 0)


def away(run):
    s = run.serve()
    p = run.page(s)
    ready(p)
    send(p, "What is 3 + 4?")
    p.wait(f"{IDLE} && {LAST}?.querySelector('.text').textContent === '7'")
    port = s.port
    case("ends with 0", s.stop() == 0)
    case("a server that has gone is noticed", p.wait("document.querySelector('#state').dataset.state === 'gone'"), p.text("#state"))
    send(p, "What is 1 + 1?")
    case("and told", p.wait(f"{LAST}?.querySelector('.error')?.textContent === 'The server does not answer.'"), p.text("#log"))
    run.picture(p, "away")
    s = run.serve("--port", str(port))
    case("so is its return", p.wait("document.querySelector('#state').dataset.state === 'ready'"), p.text("#state"))
    p.click("#log > :last-child .actions button:not([hidden])")
    case("then it is tried again", p.wait(f"{IDLE} && {LAST}?.querySelector('.text').textContent === '2'"), p.text("#log"))
    p.click("#tab-board")
    case("the new server's figures are shown", p.wait("document.querySelector('.heat').dataset.rows === '4'"))
    p.close()
    case("ends with 0", s.stop() == 0)


def main():
    tokamak, model = sys.argv[1:3]
    if find_chromium() is None:
        sys.exit("there is no Chromium here: apt-get install chromium")
    run = Run(tokamak, model, sys.argv[3] if len(sys.argv) > 3 else None)
    s = run.serve()
    try:
        for part in (chat, stop, markdown, board, keyboard, looks):
            try:
                part(run, s)
            except Exception as e:
                case(f"{part.__name__} ran to its end", False, repr(e))
        case("ends with 0", s.stop() == 0)
        for part in (keys, power, away):
            try:
                part(run)
            except Exception as e:
                case(f"{part.__name__} ran to its end", False, repr(e))
    finally:
        run.browser.close()
        s.stop()
    finish()


main()
