// SPDX-License-Identifier: MIT
// Markdown -> nodes, for text that nobody vouches for: no HTML, links to http, https and mailto only, images as
// links, nesting and look-ahead bounded. Whatever is not understood stays as it was written.

const MAX_DEPTH = 8;
const MAX_LINK = 1000; // characters of a link's text or address

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})[ \t]+(.*)$/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}>[ ]?(.*)$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*))?$/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

const isBlank = (line) => line.trim() === "";
const indentOf = (line) => line.length - line.trimStart().length;

function isTable(lines, i) {
    return i + 1 < lines.length && lines[i].includes("|") && lines[i + 1].includes("-") && DELIMITERS.test(lines[i + 1]);
}

function beginsBlock(lines, i) {
    return [FENCE, HEADING, RULE, QUOTE, ITEM].some((r) => r.test(lines[i])) || isTable(lines, i);
}

// --- spans ---

const MARKS = [
    ["**", "strong"],
    ["__", "strong"],
    ["~~", "del"],
    ["*", "em"],
    ["_", "em"],
];
const isWord = (c) => c !== undefined && /[\p{L}\p{N}]/u.test(c);
const isSpace = (c) => c === undefined || /\s/.test(c);

// Where the mark that opened at `from` closes, or -1.
function closing(text, mark, from) {
    for (let at = text.indexOf(mark, from); at >= 0; at = text.indexOf(mark, at + mark.length)) {
        while (text[at + mark.length] === mark[0]) at++; // of a longer run the last ones close
        if (at > from && !isSpace(text[at - 1]) && !(mark[0] === "_" && isWord(text[at + mark.length]))) return at;
    }
    return -1;
}

function safeUrl(address) {
    try {
        const url = new URL(address);
        return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
    } catch {
        return null;
    }
}

function link(url, children) {
    return el("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow", title: url }, ...children);
}

// [text](address) at `at`: {node, end}, or null.
function readLink(text, at, depth) {
    const from = text[at] === "!" ? at + 1 : at;
    if (text[from] !== "[") return null;
    let level = 0;
    let close = from;
    for (; close < text.length && close - from < MAX_LINK; close++) {
        if (text[close] === "[") level++;
        if (text[close] === "]" && --level === 0) break;
    }
    if (text[close] !== "]" || text[close + 1] !== "(") return null;
    const end = text.slice(close + 2, close + 2 + MAX_LINK).search(/[)\n]/);
    if (end < 0 || text[close + 2 + end] !== ")") return null;
    const url = safeUrl(text.slice(close + 2, close + 2 + end).trim().split(/\s/)[0]);
    if (url === null) return null;
    const inside = text.slice(from + 1, close);
    return { node: link(url, spans(inside || url, depth + 1)), end: close + 3 + end };
}

// `code`, with as many backticks after it as before.
function readCode(text, at) {
    let n = 1;
    while (text[at + n] === "`") n++;
    const ticks = "`".repeat(n);
    for (let end = text.indexOf(ticks, at + n); end >= 0; end = text.indexOf(ticks, end)) {
        let run = n;
        while (text[end + run] === "`") run++;
        if (run === n) {
            const inside = text.slice(at + n, end).replace(/\n/g, " ");
            return { node: el("code", {}, /^ .*\S.* $/.test(inside) ? inside.slice(1, -1) : inside), end: end + n };
        }
        end += run;
    }
    return { node: ticks, end: at + n };
}

function readAddress(text, at) {
    if (isWord(text[at - 1])) return null;
    const m = /^https?:\/\/[^\s<>"`]+/.exec(text.slice(at, at + MAX_LINK));
    if (!m) return null;
    let shown = m[0].replace(/[.,;:!?'*_~]+$/, "");
    if (shown.endsWith(")") && !shown.includes("(")) shown = shown.slice(0, -1);
    const url = safeUrl(shown);
    return url && { node: link(url, [shown]), end: at + shown.length };
}

function readMark(text, at, depth, dead) {
    for (const [mark, tag] of MARKS) {
        if (!text.startsWith(mark, at) || dead.has(mark)) continue;
        if (isSpace(text[at + mark.length]) || (mark[0] === "_" && isWord(text[at - 1]))) continue;
        const end = closing(text, mark, at + mark.length);
        if (end < 0) {
            dead.add(mark); // nor will it for those that come later
            continue;
        }
        const inside = spans(text.slice(at + mark.length, end), depth + 1);
        return { node: el(tag, {}, ...inside), end: end + mark.length };
    }
    return null;
}

function spans(text, depth = 0) {
    const out = [];
    const dead = new Set();
    let plain = "";
    let at = 0;
    const readers = {
        "`": () => readCode(text, at),
        "[": () => readLink(text, at, depth),
        "!": () => readLink(text, at, depth),
        h: () => readAddress(text, at),
        "*": () => readMark(text, at, depth, dead),
        _: () => readMark(text, at, depth, dead),
        "~": () => readMark(text, at, depth, dead),
    };
    if (depth > MAX_DEPTH) return [text];
    while (at < text.length) {
        const c = text[at];
        if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "")) {
            plain += text[at + 1];
            at += 2;
            continue;
        }
        const found = Object.hasOwn(readers, c) ? readers[c]() : null;
        if (found === null) {
            plain += c;
            at++;
            continue;
        }
        if (plain) out.push(plain);
        plain = "";
        out.push(found.node);
        at = found.end;
    }
    if (plain) out.push(plain);
    return out;
}

// --- blocks ---

function codeBlock(language, code) {
    return el(
        "figure",
        { class: "code" },
        el("figcaption", {}, el("span", {}, language || "code"), copyButton(() => code)),
        el("pre", { tabindex: "0" }, el("code", {}, code)),
    );
}

function readFence(lines, i, out) {
    const [, fence, info] = FENCE.exec(lines[i]);
    const indent = indentOf(lines[i]);
    const body = [];
    for (i++; i < lines.length; i++) {
        const line = lines[i].trim();
        if (line.length >= fence.length && line === fence[0].repeat(line.length)) {
            i++;
            break;
        }
        body.push(lines[i].slice(Math.min(indent, indentOf(lines[i]))));
    }
    out.push(codeBlock(info.trim().split(/\s/)[0].slice(0, 40), body.join("\n")));
    return i;
}

function readQuote(lines, i, depth, out) {
    const body = [];
    while (i < lines.length && !isBlank(lines[i])) {
        const m = QUOTE.exec(lines[i]);
        if (!m && beginsBlock(lines, i)) break;
        body.push(m ? m[1] : lines[i]);
        i++;
    }
    out.push(el("blockquote", {}, ...blocks(body, depth + 1)));
    return i;
}

// The lines of the item that begins at i, without its marker and indentation: {body, next}.
function readItem(lines, i) {
    const [, indent, marker, space = "", first = ""] = ITEM.exec(lines[i]);
    const inner = indent.length + marker.length + Math.min(Math.max(space.length, 1), 4);
    const body = [first];
    let fence = FENCE.test(first);
    for (i++; i < lines.length; i++) {
        const line = lines[i];
        const deep = indentOf(line) > indent.length;
        if (isBlank(line)) {
            if (!fence && !(i + 1 < lines.length && !isBlank(lines[i + 1]) && indentOf(lines[i + 1]) > indent.length)) break;
        } else if (!deep && (beginsBlock(lines, i) || isBlank(lines[i - 1]))) break;
        const part = line.slice(Math.min(indentOf(line), inner));
        if (FENCE.test(part)) fence = !fence;
        body.push(part);
    }
    return { body, next: i };
}

function readList(lines, i, depth, out) {
    const begin = ITEM.exec(lines[i]);
    const isOrdered = (m) => /\d/.test(m[2]);
    const ordered = isOrdered(begin);
    const list = ordered ? el("ol", { start: parseInt(begin[2], 10) }) : el("ul");
    for (;;) {
        const item = readItem(lines, i);
        const inside = blocks(item.body, depth + 1);
        const only = inside[0];
        if (only instanceof Element && only.tagName === "P") inside.splice(0, 1, ...only.childNodes);
        list.append(el("li", {}, ...inside));
        for (i = item.next; i < lines.length && isBlank(lines[i]); ) i++;
        const m = i < lines.length ? ITEM.exec(lines[i]) : null;
        if (!m || isOrdered(m) !== ordered || m[1].length < begin[1].length) break;
    }
    out.push(list);
    return i;
}

function cells(line) {
    const row = line.trim().replace(/^\|/, "").replace(/\|$/, "");
    const out = [];
    for (const part of row.split("|")) {
        const last = out.length - 1;
        if (out[last]?.endsWith("\\")) out[last] = `${out[last].slice(0, -1)}|${part}`;
        else out.push(part);
    }
    return out.map((c) => c.trim());
}

function readTable(lines, i, out) {
    const side = cells(lines[i + 1]).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : "left"));
    const row = (line, tag) => el("tr", {}, ...cells(line).slice(0, side.length).map(
        (c, k) => el(tag, { class: side[k], scope: tag === "th" ? "col" : null }, ...spans(c))));
    const body = el("tbody");
    const table = el("table", {}, el("thead", {}, row(lines[i], "th")), body);
    for (i += 2; i < lines.length && !isBlank(lines[i]) && lines[i].includes("|"); i++) body.append(row(lines[i], "td"));
    out.push(el("div", { class: "table", tabindex: "0" }, table));
    return i;
}

function readParagraph(lines, i, out) {
    const text = [lines[i].trim()];
    for (i++; i < lines.length && !isBlank(lines[i]) && !beginsBlock(lines, i); i++) text.push(lines[i].trim());
    out.push(el("p", {}, ...spans(text.join("\n"))));
    return i;
}

function blocks(lines, depth = 0) {
    const out = [];
    let i = 0;
    if (depth > MAX_DEPTH) return [el("p", {}, lines.join("\n"))];
    while (i < lines.length) {
        const line = lines[i];
        const heading = HEADING.exec(line);
        if (isBlank(line)) i++;
        else if (FENCE.test(line)) i = readFence(lines, i, out);
        else if (heading) {
            // below the page's own headings
            const level = Math.min(heading[1].length + 2, 6);
            out.push(el(`h${level}`, {}, ...spans(heading[2].replace(/ #+ *$/, "").trim())));
            i++;
        } else if (RULE.test(line)) {
            out.push(el("hr"));
            i++;
        } else if (QUOTE.test(line)) i = readQuote(lines, i, depth, out);
        else if (ITEM.test(line)) i = readList(lines, i, depth, out);
        else if (isTable(lines, i)) i = readTable(lines, i, out);
        else i = readParagraph(lines, i, out);
    }
    return out;
}

// The text cut at blank lines that no block reaches across.
function chunks(text) {
    const out = [];
    let lines = [];
    let fence = null;
    let inList = false;
    const flush = () => {
        if (lines.some((l) => !isBlank(l))) out.push(lines.join("\n"));
        lines = [];
        inList = false;
    };
    for (const line of text.replaceAll("\r\n", "\n").replaceAll("\t", "    ").split("\n")) {
        const mark = /^ *(`{3,}|~{3,})/.exec(line);
        const afterBlank = lines.length > 0 && isBlank(lines[lines.length - 1]);
        if (fence === null && afterBlank && !isBlank(line) && !(inList && (indentOf(line) > 0 || ITEM.test(line)))) flush();
        if (fence === null && ITEM.test(line)) inList = true;
        if (mark) {
            if (fence === null) fence = mark[1];
            else if (line.trim() === mark[1] && mark[1][0] === fence[0] && mark[1].length >= fence.length) fence = null;
        }
        lines.push(line);
    }
    flush();
    return out;
}

const sourceOf = new WeakMap();

// Shows text in node; a part that is there already stays, so that a long answer is not made anew with each word of
// it, and a selection in it lives on.
function showMarkdown(node, text) {
    const parts = chunks(text);
    parts.forEach((part, i) => {
        const old = node.children[i];
        if (old && sourceOf.get(old) === part) return;
        const made = el("div", {}, ...blocks(part.split("\n")));
        sourceOf.set(made, part);
        if (old) old.replaceWith(made);
        else node.append(made);
    });
    while (node.children.length > parts.length) node.lastElementChild.remove();
}
