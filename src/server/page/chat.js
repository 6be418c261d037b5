// SPDX-License-Identifier: MIT
// The conversation: what was said, its elements, and the answer that is coming in.

const FIELDS = ["temperature", "top_p", "top_k", "min_p", "max_tokens", "seed", "repetition_penalty", "presence_penalty", "frequency_penalty"];

// messages: {role, content, thought, error, stats}; nodes: what shows each of them; running: an AbortController.
const chat = { messages: [], nodes: [], running: null, maxLen: 0 };

function settings() {
    const form = $("settings").querySelector("form");
    const out = {};
    for (const name of FIELDS) {
        const field = form.elements[name];
        if (field.value !== "" && field.validity.valid) out[name] = Number(field.value);
    }
    return { system: form.elements.system.value.trim(), sampling: out };
}

function keepChat() {
    store.set("sessionStorage", "chat", JSON.stringify(chat.messages));
}

// --- showing ---

function describe(m) {
    const s = m.stats ?? {};
    const parts = [];
    if (s.tokens) parts.push(several(s.tokens, "token"));
    if (s.tokens >= 8 && s.writing > 0.05) parts.push(`${short((s.tokens - 1) / s.writing)} tok/s`);
    if (Number.isFinite(s.first)) parts.push(`first after ${time(s.first)}`);
    if (s.finish === "length") parts.push("cut off at the limit of tokens");
    if (s.finish === "stopped") parts.push("stopped");
    return parts.join(" · ");
}

function thoughtTitle(m, isOpen) {
    if (isOpen) return "Thinking…";
    const s = m.stats ?? {};
    return `Reasoning${s.thoughtTokens ? ` · ${several(s.thoughtTokens, "token")}` : ""}${s.thinking > 0 ? ` · ${time(s.thinking)}` : ""}`;
}

function answerNode(m) {
    const node = el("li", { class: "answer" });
    const thought = el("div", { class: "thought-text" });
    const summary = el("summary");
    const details = el("details", { class: "thought", hidden: true }, summary, thought);
    const text = el("div", { class: "text" });
    const error = el("p", { class: "error", role: "alert", hidden: true });
    const stats = el("span", { class: "stats" });
    const again = el("button", { type: "button", class: "quiet", onclick: () => answerAgain(m) }, "Try again");
    const copy = copyButton(() => m.content);
    const actions = el("div", { class: "actions" }, copy, again, stats);
    node.append(el("h2", { class: "hidden" }, "Answer"), details, text, error, actions);
    const update = () => {
        const isRunning = chat.running?.message === m;
        const thinks = isRunning && m.thought !== "" && m.content === "";
        node.classList.toggle("running", isRunning);
        node.setAttribute("aria-busy", String(isRunning));
        details.hidden = m.thought === "";
        details.classList.toggle("thinks", thinks);
        setText(summary, thoughtTitle(m, thinks));
        setText(thought, m.thought);
        showMarkdown(text, m.content);
        error.hidden = !m.error;
        setText(error, m.error ?? "");
        actions.hidden = isRunning;
        copy.hidden = m.content === "";
        setText(stats, describe(m));
    };
    return { node, update };
}

function editForm(m, node, restore) {
    const area = el("textarea", { "aria-label": "Edit the message", rows: "3" });
    const cancel = el("button", { type: "button", onclick: restore }, "Cancel");
    const form = el("form", { class: "edit" }, area, el("div", { class: "row" }, el("button", { class: "primary" }, "Send again"), cancel));
    area.value = m.content;
    form.addEventListener("submit", (e) => {
        e.preventDefault();
        if (area.value.trim()) sendFrom(chat.messages.indexOf(m), area.value.trim());
    });
    area.addEventListener("keydown", (e) => {
        if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
            e.preventDefault();
            form.requestSubmit();
        } else if (e.key === "Escape") {
            e.stopPropagation();
            restore();
        }
    });
    node.replaceChildren(form);
    fit(area);
    area.focus();
}

function questionNode(m) {
    const node = el("li", { class: "question" });
    const edit = el("button", { type: "button", class: "quiet", onclick: () => editForm(m, node, restore) }, "Edit");
    const show = () => node.replaceChildren(
        el("h2", { class: "hidden" }, "Your message"),
        el("div", { class: "bubble" }, m.content),
        el("div", { class: "actions" }, copyButton(() => m.content), edit),
    );
    function restore() {
        show();
        edit.focus();
    }
    show();
    return { node, update() {} };
}

// Elements for the messages from i on; those before stay.
function showFrom(i) {
    for (const n of chat.nodes.splice(i)) n.node.remove();
    for (const m of chat.messages.slice(i)) {
        const n = m.role === "user" ? questionNode(m) : answerNode(m);
        chat.nodes.push(n);
        $("log").append(n.node);
        n.update();
    }
    $("empty").hidden = chat.messages.length > 0;
}

const isAtEnd = () => $("scroll").scrollHeight - $("scroll").scrollTop - $("scroll").clientHeight < 80;

function toEnd() {
    $("scroll").scrollTop = $("scroll").scrollHeight;
}

// At most once a frame, however fast tokens come.
function scheduleUpdate(m) {
    if (chat.scheduled) return;
    chat.scheduled = requestAnimationFrame(() => {
        chat.scheduled = 0;
        const follow = isAtEnd();
        chat.nodes[chat.messages.indexOf(m)]?.update();
        if (follow) toEnd();
    });
}

function showRunning() {
    $("send").hidden = chat.running !== null;
    $("stop").hidden = chat.running === null;
}

function showContext(usage) {
    const used = usage ? usage.total_tokens : 0;
    setText($("context"), used && chat.maxLen ? `context ${count(used)} of ${count(chat.maxLen)}` : "");
    $("context").classList.toggle("full", chat.maxLen > 0 && used > 0.9 * chat.maxLen);
}

// --- answering ---

// What was said so far. An answer that came to nothing is left out, and the questions around it become one: most
// chat templates want the two to take turns.
function turns() {
    const out = [];
    for (const { role, content } of chat.messages.slice(0, -1)) {
        const last = out[out.length - 1];
        if (role === "assistant" && !content) continue;
        if (last?.role === role) last.content += `\n\n${content}`;
        else out.push({ role, content });
    }
    return out;
}

function requestBody() {
    const { system, sampling } = settings();
    const messages = turns();
    if (system) messages.unshift({ role: "system", content: system });
    return { messages, stream: true, stream_options: { include_usage: true }, ...sampling };
}

function takeChunk(m, data, clock) {
    if (data.error) throw errorOf(data.error.code ?? 500, data);
    const choice = data.choices?.[0];
    const delta = choice?.delta ?? {};
    const now = performance.now() / 1000;
    if ((delta.content || delta.reasoning_content) && !clock.first) clock.first = now;
    if (delta.content && !clock.content) clock.content = now;
    if (delta.reasoning_content) m.thought += delta.reasoning_content;
    if (delta.content) m.content += delta.content;
    if (choice?.finish_reason) m.stats.finish = choice.finish_reason;
    if (data.usage) {
        m.stats.tokens = data.usage.completion_tokens;
        m.stats.thoughtTokens = data.usage.completion_tokens_details?.reasoning_tokens;
        showContext(data.usage);
    }
    clock.last = now;
}

function noteTimes(m, clock) {
    if (!clock.first) return;
    m.stats.first = clock.first - clock.begun;
    m.stats.writing = clock.last - clock.first;
    m.stats.thinking = m.thought ? (clock.content ?? clock.last) - clock.first : 0;
}

// Streams the answer into the last message.
async function answer() {
    const m = chat.messages[chat.messages.length - 1];
    const running = new AbortController();
    const clock = { begun: performance.now() / 1000, last: 0 };
    running.message = m;
    chat.running = running;
    showRunning();
    chat.nodes[chat.nodes.length - 1].update();
    try {
        const response = await ask("/v1/chat/completions", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify(requestBody()),
            signal: running.signal,
        });
        for await (const data of events(response)) {
            takeChunk(m, data, clock);
            scheduleUpdate(m);
        }
    } catch (e) {
        if (e.name === "AbortError") m.stats.finish = "stopped";
        else m.error = e.message;
        if (e.status === 401) askForKey(e.message);
    }
    noteTimes(m, clock);
    if (chat.running !== running) return; // another has begun, or a new chat
    chat.running = null;
    const follow = isAtEnd();
    chat.nodes[chat.messages.indexOf(m)]?.update();
    if (follow) toEnd();
    showRunning();
    keepChat();
    setText($("spoken"), m.error ?? (m.stats.finish === "stopped" ? "Stopped." : `Answer: ${m.content.slice(0, 600)}`));
}

function stopAnswer() {
    chat.running?.abort();
}

// The conversation up to message i goes on with what the user says there.
function sendFrom(i, text) {
    stopAnswer();
    chat.running = null;
    chat.messages.splice(i);
    chat.messages.push({ role: "user", content: text }, { role: "assistant", content: "", thought: "", stats: {} });
    showFrom(i);
    toEnd();
    $("say").focus();
    answer();
}

function answerAgain(m) {
    const i = chat.messages.indexOf(m) - 1;
    if (i >= 0) sendFrom(i, chat.messages[i].content);
}

function newChat() {
    stopAnswer();
    chat.running = null;
    chat.messages = [];
    showFrom(0);
    showContext(null);
    showRunning();
    keepChat();
    setText($("spoken"), "New chat.");
    $("say").focus();
}

// As high as its text, within what CSS allows.
function fit(area) {
    area.style.height = "auto";
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`;
}

function say() {
    const text = $("say").value.trim();
    if (!text || chat.running) return;
    $("say").value = "";
    fit($("say"));
    sendFrom(chat.messages.length, text);
}

function beginChat() {
    try {
        chat.messages = JSON.parse(store.get("sessionStorage", "chat") ?? "[]");
        showFrom(0);
    } catch {
        chat.messages = [];
    }
    $("composer").addEventListener("submit", (e) => {
        e.preventDefault();
        say();
    });
    $("say").addEventListener("input", () => fit($("say")));
    $("say").addEventListener("keydown", (e) => {
        if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
        e.preventDefault();
        say();
    });
    $("stop").addEventListener("click", () => {
        stopAnswer();
        $("say").focus();
    });
    $("new").addEventListener("click", newChat);
    $("scroll").addEventListener("scroll", () => ($("latest").hidden = isAtEnd()));
    $("latest").addEventListener("click", toEnd);
    document.addEventListener("keydown", (e) => {
        if (e.key === "Escape" && !$("settings").open) stopAnswer();
    });
    toEnd();
}
