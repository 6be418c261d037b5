// SPDX-License-Identifier: MIT
// The frame around chat and dashboard: tabs, the key, settings.

function showTab(name, focus) {
    for (const id of ["chat", "board"]) {
        const tab = $(`tab-${id}`);
        const chosen = id === name;
        tab.setAttribute("aria-selected", String(chosen));
        tab.tabIndex = chosen ? 0 : -1;
        $(id).hidden = !chosen;
        if (chosen && focus) tab.focus();
    }
    history.replaceState(null, "", name === "board" ? "#dashboard" : location.pathname);
    if (name === "board") board.wake?.();
    showBoard();
}

function beginTabs() {
    for (const id of ["chat", "board"]) $(`tab-${id}`).addEventListener("click", () => showTab(id));
    $("tabs").addEventListener("keydown", (e) => {
        if (e.key === "ArrowRight" || e.key === "ArrowLeft") showTab($("chat").hidden ? "chat" : "board", true);
    });
    if (location.hash === "#dashboard") showTab("board");
}

// --- the key ---

function askForKey(why) {
    $("key").hidden = false;
    $("forget-key").hidden = true;
    setText($("key-error"), key.value ? why : "");
    $("key-value").toggleAttribute("aria-invalid", Boolean(key.value));
    $("key-value").focus();
}

// Whom we talk to; also finds out whether a key is wanted.
async function learnModel() {
    try {
        const { data } = await askJson("/v1/models");
        const [model] = data;
        chat.maxLen = model.max_model_len;
        setText($("model"), model.id);
        document.title = `${model.id} · Tokamak`;
        setText($("about"), `You are talking to ${model.id}, whose context holds ${count(chat.maxLen)} tokens. Nothing you write leaves this server.`);
        $("key").hidden = true;
        $("forget-key").hidden = !key.value;
        if (document.activeElement === document.body && !$("chat").hidden) $("say").focus();
    } catch (e) {
        if (e.status !== 401) throw e;
        if ($("key").hidden) askForKey(e.message);
    }
}

function beginKey() {
    $("key").addEventListener("submit", async (e) => {
        e.preventDefault();
        key.keep($("key-value").value.trim(), $("key-keep").checked);
        $("key").hidden = true;
        try {
            await learnModel();
            if ($("key").hidden) $("key-value").value = "";
        } catch (error) {
            askForKey(error.message);
        }
    });
    $("forget-key").addEventListener("click", () => {
        key.keep(null, false);
        $("settings").close();
        chat.maxLen = 0;
        board.wake?.();
    });
}

// --- settings ---

function beginSettings() {
    const form = $("settings").querySelector("form");
    const fields = [...form.elements].filter((f) => f.name);
    const kept = JSON.parse(store.get("sessionStorage", "settings") ?? "{}");
    for (const f of fields) {
        f.value = kept[f.name] ?? "";
        if (f.type === "number") f.placeholder = "server’s";
    }
    const keep = () => store.set("sessionStorage", "settings", JSON.stringify(Object.fromEntries(fields.map((f) => [f.name, f.value]))));
    form.addEventListener("input", keep);
    form.addEventListener("reset", () => setTimeout(keep));
    form.addEventListener("submit", (e) => {
        e.preventDefault();
        if (form.reportValidity()) $("settings").close();
    });
    $("open-settings").addEventListener("click", () => $("settings").showModal());
    $("close-settings").addEventListener("click", () => form.requestSubmit());
    $("settings").addEventListener("click", (e) => {
        if (e.target === $("settings")) form.requestSubmit(); // beside it
    });
}

beginTabs();
beginKey();
beginSettings();
beginChat();
beginBoard();
