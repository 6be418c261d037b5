// SPDX-License-Identifier: MIT
// Asking the server: the key, requests, streams of events, the metrics' text.

const key = {
    value: store.get("sessionStorage", "key") ?? store.get("localStorage", "key"),
    keep(value, forGood) {
        key.value = value;
        store.set("sessionStorage", "key", value);
        store.set("localStorage", "key", forGood ? value : null);
    },
};

// What went wrong, in words for people. status 0: no answer came.
class ServerError extends Error {
    constructor(status, message) {
        super(message);
        this.status = status;
    }
}

function errorOf(status, body) {
    if (status === 401) return new ServerError(401, key.value ? "The server does not take this API key." : "The server wants an API key.");
    const said = body?.error?.message;
    return new ServerError(status, said ? `${said[0].toUpperCase()}${said.slice(1)}` : `The server answered with status ${status}.`);
}

// The response, when its status is 200; else a ServerError is thrown.
async function ask(path, options = {}) {
    let response;
    const headers = { ...options.headers };
    if (key.value) headers.Authorization = `Bearer ${key.value}`;
    try {
        response = await fetch(path, { cache: "no-store", credentials: "omit", ...options, headers });
    } catch (e) {
        if (e.name === "AbortError") throw e;
        throw new ServerError(0, "The server does not answer.");
    }
    if (response.ok) return response;
    throw errorOf(response.status, await response.json().catch(() => null));
}

const askJson = async (path) => (await ask(path, { signal: AbortSignal.timeout(10000) })).json();

// The data of a stream's events, parsed, up to [DONE].
async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
        let part;
        try {
            part = await reader.read();
        } catch (e) {
            if (e.name === "AbortError") throw e;
            throw new ServerError(0, "The connection to the server was lost.");
        }
        if (part.done) throw new ServerError(0, "The answer was cut off.");
        rest += part.value;
        for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
            const data = rest.slice(0, end).split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
            rest = rest.slice(end + 2);
            if (data === "[DONE]") return;
            if (data) yield JSON.parse(data);
        }
    }
}

// Prometheus' text -> {name: [{labels, value}]}, without the prefix.
function parseMetrics(text) {
    const out = {};
    for (const line of text.split("\n")) {
        const m = /^tokamak:(\w+)\{(.*)\} (\S+)$/.exec(line);
        if (!m) continue;
        const labels = {};
        for (const [, name, value] of m[2].matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
        (out[m[1]] ??= []).push({ labels, value: Number(m[3]) });
    }
    return out;
}

const metric = (metrics, name) => (metrics[name] ?? []).reduce((sum, s) => sum + s.value, 0);

// A quantile of what a histogram has seen between two readings (before may be null), as Prometheus' own
// histogram_quantile: straight lines between bounds. NaN when it has seen nothing.
function quantile(now, before, name, q) {
    const old = new Map((before?.[`${name}_bucket`] ?? []).map((s) => [s.labels.le, s.value]));
    const buckets = (now[`${name}_bucket`] ?? []).map((s) => [s.labels.le === "+Inf" ? Infinity : Number(s.labels.le), s.value - (old.get(s.labels.le) ?? 0)]);
    const total = buckets.length ? buckets[buckets.length - 1][1] : 0;
    if (total <= 0) return NaN;
    let low = 0;
    let below = 0;
    for (const [bound, n] of buckets) {
        if (n >= q * total) return bound === Infinity ? low : low + ((bound - low) * (q * total - below)) / Math.max(n - below, 1e-9);
        low = bound;
        below = n;
    }
    return low;
}
