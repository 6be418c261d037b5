// SPDX-License-Identifier: MIT
// The dashboard: /metrics every two seconds, what has changed between readings, and the experts' load.

const EVERY_MS = 2000;
const KEEP = 151; // readings: five minutes
const EXPERTS_EVERY = 3; // readings
const LEAST_WIDTH = 30; // readings across a chart: a minute, until there are more
const LATENCIES = [
    ["Time to first token", "TTFT", "time_to_first_token_seconds"],
    ["Time per output token, of a request", "TPOT", "request_time_per_output_token_seconds"],
    ["Token to token", "ITL", "inter_token_latency_seconds"],
    ["Wait to begin", "Queue", "request_queue_time_seconds"],
    ["Submitted to end", "End to end", "e2e_request_latency_seconds"],
];

// readings: {at, metrics}; experts: {at, layers, n}; span: seconds looked at, Infinity = since the start.
const board = { readings: [], experts: [], span: 60, n: 0, parts: {} };

// --- what the readings say ---

const newest = (list) => list[list.length - 1];

// The reading `span` seconds ago, or the oldest there is; undefined = the server's start.
function before(list) {
    const from = (newest(list)?.at ?? 0) - board.span;
    return board.span === Infinity ? undefined : list.find((r) => r.at >= from);
}

// What a counter has gained in the span.
function gained(name) {
    const old = before(board.readings);
    return metric(newest(board.readings).metrics, name) - (old ? metric(old.metrics, name) : 0);
}

// A counter's rate from reading to reading.
function rates(name) {
    const out = [];
    for (let i = 1; i < board.readings.length; i++) {
        const [a, b] = [board.readings[i - 1], board.readings[i]];
        out.push(Math.max(metric(b.metrics, name) - metric(a.metrics, name), 0) / (b.at - a.at));
    }
    return out;
}

// One counter's gain over another's, likewise; 0 where nothing was gained.
function ratios(name, by) {
    const whole = rates(by);
    return rates(name).map((v, i) => (whole[i] > 0 ? v / whole[i] : 0));
}

// Of the last three readings: what comes in bursts does not flicker.
function rateNow(name) {
    const last = rates(name).slice(-3);
    return last.length ? last.reduce((a, b) => a + b, 0) / last.length : NaN;
}

const percent = (part, whole) => (whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "–");

// --- cards ---

// A figure with its line: {node, show(big, small, values)}.
function card(title, unit = "") {
    const big = el("strong", {}, "–");
    const units = el("span", {}, unit);
    const small = el("p", { class: "small" });
    const chart = lineChart();
    const node = el("article", { class: "card" }, el("h2", {}, title), el("p", { class: "big" }, big, units), small, chart.node);
    const show = (value, note, values) => {
        setText(big, value);
        units.hidden = value === "–";
        setText(small, note);
        chart.node.toggleAttribute("hidden", !values);
        if (values) chart.update(values, Math.max(values.length, LEAST_WIDTH));
    };
    return { node, show };
}

function barCard(title) {
    const c = card(title);
    const used = el("span", { class: "used" });
    const cached = el("span", { class: "cached" });
    c.node.append(el("div", { class: "bar", "aria-hidden": "true" }, used, cached));
    return {
        node: c.node,
        show(value, note, partUsed, partCached) {
            c.show(value, note);
            used.style.width = `${100 * partUsed}%`;
            cached.style.width = `${100 * partCached}%`;
        },
    };
}

function latencyCard() {
    const rows = LATENCIES.map(([title, name]) => {
        const cells = [0, 1, 2].map(() => el("td", {}, "–"));
        return { cells, node: el("tr", {}, el("th", { scope: "row", title }, name), ...cells) };
    });
    const head = el("tr", {}, el("td"), ...["p50", "p90", "p99"].map((p) => el("th", { scope: "col" }, p)));
    const note = el("p", { class: "small" });
    const node = el("article", { class: "card latency" }, el("h2", {}, "Latency"), el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows.map((r) => r.node))), note);
    const show = () => {
        const now = newest(board.readings).metrics;
        const old = before(board.readings)?.metrics;
        LATENCIES.forEach(([, , name], i) =>
            [0.5, 0.9, 0.99].forEach((q, k) => setText(rows[i].cells[k], time(quantile(now, old, name, q)))));
        setText(note, `${several(gained("time_to_first_token_seconds_count"), "request")}; between the histogram's bounds in straight lines`);
    };
    return { node, show };
}

function expertsCard() {
    const map = heatMap();
    const legend = el("p", { class: "legend" }, el("span", {}, "idle"), el("span", { class: "scale", "aria-hidden": "true" }), el("span", { class: "top" }));
    const note = el("p", { class: "small" });
    const node = el("article", { class: "card experts" }, el("h2", {}, "Expert load"), note, map.node, el("div", { class: "row" }, map.readout, legend));
    const show = () => {
        const now = newest(board.experts);
        const old = before(board.experts);
        const text = board.expertsError ?? (now?.n_expert === 0 ? "This model is dense: it has no experts." : "");
        setText(note, text || (now ? `Tokens given to each expert, a row for each layer; a token goes to ${now.n_expert_used} of ${now.n_expert}.` : "…"));
        for (const part of [map.node, map.readout.parentElement]) part.hidden = text !== "" || !now;
        if (text || !now) return;
        map.update(now.layers.map((row, l) => ({ layer: row.layer, tokens: row.tokens.map((v, e) => v - (old ? old.layers[l].tokens[e] : 0)) })), now.n_expert);
        setText(legend.lastElementChild, `${map.scale} × mean${map.most > map.scale ? " or more" : ""}`);
    };
    return { node, show };
}

// --- filling them ---

function showRates(p) {
    const out = rates("generation_tokens_total");
    const into = rates("prompt_tokens_total");
    const peak = (values) => `peak ${short(Math.max(...values, 0))}`;
    p.output.show(short(rateNow("generation_tokens_total")), peak(out), out);
    p.prompt.show(short(rateNow("prompt_tokens_total")), peak(into), into);
}

function showLoad(p, now) {
    const running = board.readings.map((r) => metric(r.metrics, "num_requests_running"));
    p.running.show(count(newest(running)), `${count(metric(now, "num_requests_waiting"))} waiting`, running);
    const usage = metric(now, "kv_cache_usage_perc");
    const blocks = metric(now, "kv_cache_blocks");
    const cached = metric(now, "kv_cache_blocks_cached");
    p.kv.show(percent(usage, 1), `${count(cached)} of ${count(blocks)} blocks kept for their contents`, usage, blocks ? cached / blocks : 0);
    const hits = gained("prefix_cache_hits_total");
    const queries = gained("prefix_cache_queries_total");
    p.prefix.show(percent(hits, queries), `${tally(hits)} of ${tally(queries)} prompt tokens found`, queries ? hits / queries : 0, 0);
}

function showSteps(p) {
    const steps = gained("engine_steps_total");
    const tokens = gained("iteration_tokens_total_sum");
    const seconds = gained("engine_step_seconds_total");
    p.steps.show(short(steps ? tokens / steps : NaN), `${time(steps ? seconds / steps : NaN)} a step, ${several(steps, "step")}`, ratios("iteration_tokens_total_sum", "engine_steps_total"));
    const done = (reason) => (newest(board.readings).metrics.request_success_total ?? []).find((s) => s.labels.finished_reason === reason)?.value ?? 0;
    const [stop, length, abort, error] = ["stop", "length", "abort", "error"].map(done);
    p.done.show(count(stop + length), `since the start; ${count(length)} at their limit, ${count(abort)} left by the client, ${count(error)} failed`, rates("request_success_total"));
}

function showEnergy(p, now) {
    const readable = metric(now, "energy_valid") > 0;
    const tokens = gained("generation_tokens_total");
    const joules = gained("energy_joules_total");
    if (readable) {
        const each = tokens > 0 ? `${short(joules / tokens)} J a token written, ` : "";
        p.energy.show(short(rateNow("energy_joules_total")), `${each}${short(joules)} J; the machine's packages and DRAM`, rates("energy_joules_total"));
    } else {
        p.energy.show("–", "Not readable here: no RAPL counters, or only root may read them.");
    }
}

function showBoard() {
    if ($("board").hidden || board.readings.length === 0) return;
    const p = board.parts;
    const now = newest(board.readings).metrics;
    showRates(p);
    showLoad(p, now);
    showSteps(p);
    showEnergy(p, now);
    p.latency.show();
    p.experts.show();
}

// --- reading ---

function setState(state, words) {
    $("state").dataset.state = state;
    setText($("state"), words);
}

async function readExperts() {
    try {
        if (!$("key").hidden) throw new ServerError(401); // it would say so, too
        const load = await askJson("/expert_load");
        board.expertsError = null;
        if (board.experts.length && board.experts[0].layers.length !== load.layers.length) board.experts = [];
        board.experts.push({ at: performance.now() / 1000, ...load });
        while (board.experts.length > KEEP / EXPERTS_EVERY) board.experts.shift();
    } catch (e) {
        board.expertsError = e.status === 401 ? "Shown to those who have an API key." : e.message;
    }
}

// A server that has begun anew counts from zero: what was read before is of another.
function addReading(metrics) {
    const last = newest(board.readings)?.metrics;
    const isLess = (name) => metric(metrics, name) < metric(last, name);
    if (last && (isLess("http_responses_total") || isLess("engine_steps_total"))) {
        board.readings = [];
        board.experts = [];
    }
    board.readings.push({ at: performance.now() / 1000, metrics });
    while (board.readings.length > KEEP) board.readings.shift();
}

async function read() {
    try {
        const text = await (await ask("/metrics", { signal: AbortSignal.timeout(10000) })).text();
        const metrics = parseMetrics(text);
        if (!metrics.kv_cache_blocks) {
            setState("wait", "loading the model");
            return;
        }
        addReading(metrics);
        setState("ready", "ready");
        if (!chat.maxLen && $("key").hidden) await learnModel();
        if (board.experts.length === 0 || board.n % EXPERTS_EVERY === 0) await readExperts();
        board.n++;
    } catch (e) {
        setState("gone", e.status === 0 ? "not reachable" : "in trouble");
        chat.maxLen = 0; // it may come back with another model, or want no key then
        $("key").hidden = true;
    }
    showBoard();
}

// Reads again and again, but not while nobody looks.
async function readForEver() {
    for (;;) {
        if (document.visibilityState === "visible") await read();
        await new Promise((done) => {
            board.wake = done;
            setTimeout(done, EVERY_MS);
        });
    }
}

function spanChoice() {
    const spans = [[60, "Last minute"], [300, "Last 5 minutes"], [Infinity, "Since the start"]];
    const select = el("select", { id: "span" }, ...spans.map(([value, name]) => el("option", { value }, name)));
    select.addEventListener("change", () => {
        board.span = Number(select.value);
        showBoard();
    });
    return el("label", { class: "span" }, "Percentiles, hit rate and experts over ", select);
}

function beginBoard() {
    const p = board.parts;
    p.output = card("Output", "tok/s");
    p.prompt = card("Prompt", "tok/s");
    p.running = card("Requests", "running");
    p.done = card("Requests answered");
    p.latency = latencyCard();
    p.kv = barCard("KV cache in use");
    p.prefix = barCard("Prefix cache hits");
    p.steps = card("Tokens in a step");
    p.energy = card("Power", "W");
    p.experts = expertsCard();
    $("board").append(el("div", { class: "grid" }, spanChoice(), ...Object.values(p).map((c) => c.node)));
    document.addEventListener("visibilitychange", () => board.wake?.());
    readForEver();
}
