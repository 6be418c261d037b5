// SPDX-License-Identifier: MIT
// A line over time, and the heat map of experts.

const WIDE = 300;
const HIGH = 56;

// An area over the last minutes; values [n], all >= 0 or NaN. Its words are beside it, so it is hidden from readers.
function lineChart() {
    const area = svg("path", { class: "area" });
    const line = svg("path", { class: "line" });
    const node = svg("svg", { class: "spark", viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, line);
    const update = (values, slots) => {
        const top = Math.max(...values.filter(Number.isFinite), 1e-9);
        const points = values.map((v, i) => [WIDE - ((values.length - 1 - i) * WIDE) / (slots - 1), HIGH - 2 - ((v || 0) / top) * (HIGH - 6)]);
        const path = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
        line.setAttribute("d", path);
        area.setAttribute("d", points.length ? `${path}L${WIDE} ${HIGH}L${points[0][0].toFixed(1)} ${HIGH}Z` : "");
    };
    return { node, update };
}

// A cell's colour by its part of the scale: --heat-0 .. --heat-3 of the style sheet, straight lines between.
function heatColours() {
    const style = getComputedStyle(document.documentElement);
    return [0, 1, 2, 3].map((i) => {
        const hex = style.getPropertyValue(`--heat-${i}`).trim();
        return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    });
}

function heatColour(stops, part) {
    const at = Math.min(Math.max(part, 0), 1) * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    return `rgb(${stops[i].map((v, k) => Math.round(v + (stops[i + 1][k] - v) * (at - i))).join(" ")})`;
}

// Layers down, experts across. Arrow keys walk the cells, what is under the cursor is said in `readout`.
function heatMap() {
    const canvas = el("canvas", { tabindex: "0", role: "img", class: "heat", "aria-describedby": "heat-readout" });
    const readout = el("p", { id: "heat-readout", class: "readout", "aria-live": "polite" });
    const cursor = el("span", { class: "cursor", hidden: true }); // beside the picture: moving it paints nothing anew
    const node = el("div", { class: "heat-box" }, canvas, cursor);
    const map = { node, readout, layers: [], nExpert: 0, at: null, scale: 2 };

    const mean = (row) => row.tokens.reduce((a, b) => a + b, 0) / map.nExpert;

    function geometry() {
        const left = 34;
        const width = canvas.clientWidth - left;
        const rowHigh = Math.min(Math.max(Math.floor(420 / map.layers.length), 6), 26);
        return { left, width, cell: width / map.nExpert, rowHigh };
    }

    function say() {
        const row = map.at && map.layers[map.at[0]];
        const g = geometry();
        cursor.hidden = !row;
        if (!row) {
            const isIdle = map.layers.every((l) => mean(l) === 0);
            setText(readout, isIdle ? "No tokens in this time." : "Point at a cell, or walk with the arrow keys.");
            return;
        }
        const n = row.tokens[map.at[1]];
        const m = mean(row);
        cursor.style.transform = `translate(${g.left + map.at[1] * g.cell - 1}px, ${map.at[0] * g.rowHigh - 1}px)`;
        cursor.style.width = `${Math.max(g.cell, 3) + 1}px`;
        cursor.style.height = `${g.rowHigh + 1}px`;
        setText(readout, `Layer ${row.layer}, expert ${map.at[1]}: ${count(n)} tokens${m > 0 ? `, ${(n / m).toFixed(2)} × the layer's mean` : ""}`);
    }

    function draw() {
        const g = geometry();
        const dense = window.devicePixelRatio || 1;
        const high = map.layers.length * g.rowHigh;
        if (!(g.width > 0)) return; // not on the screen
        canvas.style.height = `${high}px`;
        canvas.width = Math.round(canvas.clientWidth * dense);
        canvas.height = Math.round(high * dense);
        const c = canvas.getContext("2d");
        c.scale(dense, dense);
        const stops = heatColours();
        const gapX = g.cell >= 5 ? 1 : 0;
        const gapY = g.rowHigh >= 8 ? 1 : 0;
        const style = getComputedStyle(canvas);
        c.font = `11px ${style.fontFamily}`;
        c.textAlign = "right";
        c.textBaseline = "middle";
        const every = Math.ceil(13 / g.rowHigh);
        map.layers.forEach((row, l) => {
            const m = mean(row);
            c.fillStyle = style.color;
            if (l % every === 0) c.fillText(String(row.layer), g.left - 7, (l + 0.5) * g.rowHigh);
            row.tokens.forEach((n, e) => {
                c.fillStyle = heatColour(stops, m > 0 ? n / m / map.scale : 0);
                c.fillRect(g.left + e * g.cell, l * g.rowHigh, g.cell - gapX, g.rowHigh - gapY);
            });
        });
    }

    function move(layer, expert) {
        map.at = [Math.min(Math.max(layer, 0), map.layers.length - 1), Math.min(Math.max(expert, 0), map.nExpert - 1)];
        say();
    }

    canvas.addEventListener("pointermove", (e) => {
        const g = geometry();
        const box = canvas.getBoundingClientRect();
        const x = Math.floor((e.clientX - box.left - g.left) / g.cell);
        if (x >= 0) move(Math.floor((e.clientY - box.top) / g.rowHigh), x);
    });
    canvas.addEventListener("keydown", (e) => {
        const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[e.key];
        if (!step) return;
        e.preventDefault();
        if (map.at) move(map.at[0] + step[0], map.at[1] + step[1]);
        else move(0, 0);
    });
    const redraw = () => {
        draw();
        say();
    };
    new ResizeObserver(redraw).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

    map.update = (layers, nExpert) => {
        map.layers = layers;
        map.nExpert = nExpert;
        const most = Math.max(...layers.map((row) => Math.max(...row.tokens) / (mean(row) || 1)));
        map.most = most;
        map.scale = Math.min(Math.max(Math.ceil(most * 2) / 2, 2), 4); // one hot expert should not dim the others
        canvas.dataset.rows = layers.length;
        canvas.dataset.columns = nExpert;
        canvas.setAttribute("aria-label", `Tokens of ${layers.length} layers by ${nExpert} experts; the busiest has ${most.toFixed(1)} times its layer's mean.`);
        redraw();
    };
    return map;
}
