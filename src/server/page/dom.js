// SPDX-License-Identifier: MIT
// Elements and words. Text becomes text: nothing here, or in the other files, makes markup of a string.

const $ = (id) => document.getElementById(id);

// el("button", {class: "x", onclick: f}, "text", node, null): attributes that are null or false are left out.
function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
        if (value === null || value === undefined || value === false) continue;
        if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
        else node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
}

function svg(tag, attributes = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
}

// Writes only what has changed, so that a screen reader is not told the same again.
function setText(node, text) {
    if (node.textContent !== text) node.textContent = text;
}

// The clipboard API is for pages from https and localhost; elsewhere the old way still works.
async function copyText(text) {
    try {
        await navigator.clipboard.writeText(text);
        return true;
    } catch {
        const area = el("textarea", { class: "hidden", "aria-hidden": "true" });
        area.value = text;
        document.body.append(area);
        area.select();
        const ok = document.execCommand("copy");
        area.remove();
        return ok;
    }
}

function copyButton(getText, label = "Copy") {
    const button = el("button", { type: "button", class: "quiet copy" }, label);
    button.addEventListener("click", async () => {
        setText(button, (await copyText(getText())) ? "Copied" : "Not copied");
        setTimeout(() => setText(button, label), 1500);
    });
    return button;
}

const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const count = (n) => counts.format(n);
const several = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

// Three digits, however large.
function short(n) {
    if (!Number.isFinite(n)) return "–";
    const size = Math.abs(n);
    if (size >= 1e9) return `${(n / 1e9).toPrecision(3)} G`;
    if (size >= 1e6) return `${(n / 1e6).toPrecision(3)} M`;
    if (size >= 1e4) return `${(n / 1e3).toPrecision(3)} k`;
    if (size >= 100 || n === 0) return count(n);
    return n.toFixed(size >= 10 ? 1 : 2);
}

// Of something counted: as it is while it is small.
const tally = (n) => (n < 1e4 ? count(n) : short(n));

function time(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    if (seconds >= 120) return `${short(seconds / 60)} min`;
    return seconds >= 1 ? `${short(seconds)} s` : `${short(seconds * 1000)} ms`;
}

// Something kept in the browser; one that keeps nothing (a private window) is no error.
const store = {
    get(where, name) {
        try {
            return window[where].getItem("tokamak." + name);
        } catch {
            return null;
        }
    },
    set(where, name, value) {
        try {
            if (value === null) window[where].removeItem("tokamak." + name);
            else window[where].setItem("tokamak." + name, value);
        } catch {
            // full, or not allowed
        }
    },
};
