// The waterfall of a trace of any size: all rows are fetched in columns, only visible ones become elements.

import { duration, element, svg } from "./elements.js";
import { onKeys } from "./keys.js";
import { Minimap } from "./minimap.js";
import { showSpan } from "./span_panel.js";
import { showLines } from "./trace_lines.js";

const ERROR = 1, ORPHAN = 2, MOVED = 4;
const DEEPEST = 24, AROUND = 8; // rows rendered above and below the visible ones

// Log lines on a bar, told apart by shape and not by colour alone. The same are in line_marks.py.
const LEVELS = ["quiet", "warned", "bad"], WORDS = ["", "warning", "error"], NARROWEST_MARK = 0.6; // percent
const SHAPES = ["M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "M0-5L5 4H-5Z", "M-2-4L0-2L2-4L4-2L2 0L4 2L2 4L0 2L-2 4L-4 2L-2 0L-4-2Z"];

const frame = document.getElementById("trace");
const rows = document.getElementById("rows");
const found = document.getElementById("found");
const asked = new URLSearchParams(location.search);

class Waterfall {
  constructor(trace) {
    this.trace = trace;
    this.count = trace.id.length;
    this.findEnds();
    this.closed = new Set(Object.keys(trace.repeats).map(Number));
    this.zoom = [0, 1];
    this.chosen = -1;
    this.matches = [];
    this.critical = false;
    this.spacer = element("div", { class: "spacer", role: "presentation" });
    rows.replaceChildren(this.spacer);
    for (const [name, value] of Object.entries({ role: "treegrid", tabindex: "0", "aria-label": "Spans", "aria-rowcount": this.count })) {
      rows.setAttribute(name, value);
    }
    rows.classList.add("live");
    rows.addEventListener("scroll", () => this.draw());
    rows.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => this.draw()).observe(rows);
    this.minimap = new Minimap(document.getElementById("minimap"), trace, (zoom) => this.setZoom(zoom));
    this.update();
  }

  // For each row, where its descendants end, and its parent.
  findEnds() {
    const { depth } = this.trace, open = [];
    this.parent = new Int32Array(this.count).fill(-1);
    this.end = new Int32Array(this.count).fill(this.count);
    for (let row = 0; row < this.count; row++) {
      while (open.length && depth[open.at(-1)] >= depth[row]) this.end[open.pop()] = row;
      if (open.length) this.parent[row] = open.at(-1);
      open.push(row);
    }
  }

  // --- visible rows --------------------------------------------------------------------------------

  update() {
    this.visible = [];
    for (let row = 0; row < this.count; row = this.closed.has(row) ? this.end[row] : row + 1) this.visible.push(row);
    this.height = parseInt(getComputedStyle(rows).getPropertyValue("--row"), 10);
    this.spacer.style.height = `${this.visible.length * this.height}px`;
    this.draw();
  }

  toggle(row, close = !this.closed.has(row)) {
    if (this.end[row] === row + 1) return;
    if (close) this.closed.add(row); else this.closed.delete(row);
    this.update();
  }

  toggleAll() {
    const parents = [...Array(this.count).keys()].filter((row) => this.end[row] > row + 1 && this.trace.depth[row] > 0);
    if (parents.every((row) => this.closed.has(row))) this.closed.clear();
    else this.closed = new Set(parents);
    this.update();
  }

  // --- drawing -------------------------------------------------------------------------------------

  draw() {
    const first = Math.max(Math.floor(rows.scrollTop / this.height) - AROUND, 0);
    const last = Math.min(Math.ceil((rows.scrollTop + rows.clientHeight) / this.height) + AROUND, this.visible.length);
    const made = [];
    for (let place = first; place < last; place++) made.push(this.line(this.visible[place], place));
    this.spacer.replaceChildren(...made);
    this.minimap.draw(this.zoom, this.visible, first, last);
    const ticks = document.querySelectorAll(".ticks span");
    const [from, to] = this.zoom.map((part) => part * this.trace.duration);
    ticks.forEach((tick, number) => {
      const at = from + (to - from) * number / (ticks.length - 1);
      tick.textContent = at < 1 ? "0" : duration(Math.round(at));
    });
  }

  line(row, place) {
    const { trace } = this, flags = trace.flags[row], repeats = trace.repeats[row], hasChildren = this.end[row] > row + 1;
    const classes = ["row"];
    if (row === this.chosen) classes.push("chosen");
    if (this.isMatch?.has(row)) classes.push("match");
    if (this.critical && !trace.critical[row]) classes.push("aside");
    const line = element("div", {
      class: classes.join(" "), role: "row", id: `r${row}`, "aria-level": trace.depth[row] + 1, "aria-rowindex": row + 1,
      "aria-selected": row === this.chosen, "aria-expanded": hasChildren ? String(!this.closed.has(row)) : null,
    }, this.what(row, flags, repeats, hasChildren), this.bars(row, flags),
    element("span", { class: "number", role: "gridcell" }, duration(trace.took[row])));
    line.style.top = `${place * this.height}px`;
    return line;
  }

  what(row, flags, repeats, hasChildren) {
    const { trace } = this, service = trace.service[row], half = trace.half[row];
    const children = this.closed.has(row) ? `▸` : "▾";
    const what = element("span", { class: `what d${Math.min(trace.depth[row], DEEPEST)}`, role: "gridcell" },
      element("span", { class: "fold", "aria-hidden": "true" }, hasChildren ? children : ""),
      element("span", { class: `service ${trace.colours[service]}` }, trace.services[service]));
    if (half && half[2] !== service) what.append("→ ", element("span", { class: `service ${trace.colours[half[2]]}` }, trace.services[half[2]]));
    const name = trace.names[trace.name[row]];
    what.append(element("span", { class: "name", title: name }, name));
    if (repeats) what.append(element("b", {}, ` x${repeats[0].toLocaleString("en")}`), element("span", { class: "dim" },
      ` sum ${duration(repeats[1])}, longest ${duration(repeats[3])}`));
    if (flags & ERROR) what.append(element("span", { class: "error" }, repeats ? `${repeats[4]} failed` : "error"));
    if (flags & ORPHAN) what.append(element("span", { class: "dim" }, " parent missing"));
    if (flags & MOVED) what.append(element("span", { class: "dim" }, " clock moved"));
    if (trace.hidden[row]) what.append(element("span", { class: "dim" }, ` ${trace.hidden[row].toLocaleString("en")} more`));
    if (trace.lines[row]) what.append(element("span", { class: "dim" }, ` ${linesSaid(trace.lines[row])}`));
    return what;
  }

  bars(row, flags) {
    const { trace } = this, line = element("span", { class: "line", role: "gridcell" });
    if (trace.start[row] < 0) return line;
    const half = trace.half[row], failed = flags & ERROR ? " failed" : "";
    this.bar(line, `bar ${half ? "outer " : ""}${trace.colours[trace.service[row]]}${failed}`, trace.start[row], trace.took[row]);
    if (half) this.bar(line, `bar inner ${trace.colours[half[2]]}${failed}`, half[0], half[1]);
    if (this.critical) for (const [begin, end] of trace.critical[row] ?? []) this.bar(line, "waited", begin, end - begin);
    for (const dot of trace.dots[row] ?? []) this.bar(line, "dot", dot, 0);
    for (const mark of this.marks(trace.lines[row] ?? [])) line.append(mark);
    return line;
  }

  // Of several lines at one place the worst.
  marks(lines) {
    const [from, to] = this.zoom, length = this.trace.duration || 1, places = new Map();
    for (const [at, level, text] of lines.toSorted((one, other) => one[1] - other[1])) {
      const x = (at / length - from) / (to - from) * 100;
      if (x >= 0 && x <= 100) places.set(Math.floor(x / NARROWEST_MARK), [x, level, text]);
    }
    return [...places.values()].map(([x, level, text]) => {
      const mark = svg("svg", { class: `log ${LEVELS[level]}`, viewBox: "-6 -6 12 12" }, svg("title", {}, text), svg("path", { d: SHAPES[level] }));
      mark.style.left = `${x}%`;
      return mark;
    });
  }

  bar(line, classes, start, took) {
    const [from, to] = this.zoom, scale = 100 / ((to - from) * (this.trace.duration || 1));
    const begin = Math.max((start - from * this.trace.duration) * scale, 0);
    const end = Math.min((start + took - from * this.trace.duration) * scale, 100);
    if (end < 0 || begin > 100) return;
    const bar = element("i", { class: classes });
    bar.style.left = `${begin}%`;
    if (!classes.startsWith("dot")) bar.style.width = `${Math.max(end - begin, 0)}%`;
    line.append(bar);
  }

  // --- selecting -----------------------------------------------------------------------------------

  click(event) {
    const line = event.target.closest(".row");
    if (!line) return;
    const row = Number(line.id.slice(1));
    if (event.target.closest(".fold") || this.trace.repeats[row]) this.toggle(row);
    this.choose(row);
    rows.focus({ preventScroll: true });
  }

  choose(row, { quietly = false } = {}) {
    if (row < 0 || row >= this.count) return;
    for (let above = this.parent[row]; above >= 0; above = this.parent[above]) this.closed.delete(above);
    this.chosen = row;
    this.update();
    rows.setAttribute("aria-activedescendant", `r${row}`);
    const place = this.visible.indexOf(row), top = place * this.height;
    if (top < rows.scrollTop || top + this.height > rows.scrollTop + rows.clientHeight) {
      rows.scrollTop = top - rows.clientHeight / 2;
      this.draw();
    }
    if (quietly) return;
    const url = new URL(location);
    url.searchParams.set("span", this.trace.id[row]);
    history.replaceState(null, "", url);
    showSpan(this, row);
    showLines(this, row);
  }

  step(by) {
    const place = this.visible.indexOf(this.chosen) + by;
    this.choose(this.visible[Math.min(Math.max(place, 0), this.visible.length - 1)]);
  }

  // The next or previous of some rows from the selected one, wrapping around.
  next(some, by) {
    if (!some.length) return false;
    const after = by > 0 ? some.find((row) => row > this.chosen) : some.findLast((row) => row < this.chosen);
    this.choose(after ?? some.at(by > 0 ? 0 : -1));
    return true;
  }

  get errors() {
    return this.failed ??= [...Array(this.count).keys()].filter((row) => this.trace.flags[row] & ERROR && !this.trace.repeats[row]);
  }

  nextError(by) {
    if (this.next(this.errors, by)) this.say(this.errors, "error");
  }

  nextMatch(by) {
    if (this.next(this.matches, by)) this.say(this.matches, "match");
  }

  say(some, what) {
    found.textContent = `${what} ${(some.indexOf(this.chosen) + 1).toLocaleString("en")} of ${some.length.toLocaleString("en")}`;
  }

  async find(text) {
    const url = new URL(location);
    if (text) url.searchParams.set("find", text); else url.searchParams.delete("find");
    history.replaceState(null, "", url);
    const answer = await get("find", { q: text });
    this.matches = answer.rows;
    this.isMatch = new Set(answer.rows);
    found.textContent = text && !answer.rows.length ? "nothing" : "";
    this.chosen = Math.max(this.chosen - 1, -1);
    this.nextMatch(1);
    this.draw();
  }

  // --- time ----------------------------------------------------------------------------------------

  setZoom(zoom) {
    const [from, to] = zoom.map((part) => Math.min(Math.max(part, 0), 1));
    this.zoom = to - from > 1e-6 ? [from, to] : [0, 1];
    this.draw();
  }

  scale(by) {
    const { trace, chosen } = this, [from, to] = this.zoom;
    const middle = chosen >= 0 && trace.start[chosen] >= 0 ? (trace.start[chosen] + trace.took[chosen] / 2) / (trace.duration || 1) : (from + to) / 2;
    const half = (to - from) * by / 2, at = Math.min(Math.max(middle, half), 1 - half);
    this.setZoom(by > 1 && half >= 0.5 ? [0, 1] : [at - half, at + half]);
  }

  showCritical() {
    this.critical = !this.critical;
    frame.classList.toggle("critical", this.critical);
    this.draw();
  }

  focus() {
    if (this.chosen < 0) return;
    const url = new URL(location);
    url.searchParams.set("focus", this.trace.id[this.chosen]);
    location.assign(url);
  }

  fold(close) {
    const { chosen } = this;
    if (chosen < 0) return;
    const isClosed = this.closed.has(chosen) || this.end[chosen] === chosen + 1;
    if (close && isClosed) this.choose(this.parent[chosen] >= 0 ? this.parent[chosen] : chosen);
    else if (!close && !isClosed) this.step(1);
    else this.toggle(chosen, close);
  }
}

function linesSaid(lines) {
  const worst = Math.max(...lines.map(([, level]) => level)), bad = lines.filter(([, level]) => level === worst).length;
  const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
  return counted(lines.length, "line") + (worst ? `, ${counted(bad, WORDS[worst])}` : "");
}

export async function get(what, params) {
  const query = new URLSearchParams(frame.dataset.query);
  for (const [name, value] of Object.entries(params)) for (const one of [value].flat()) query.append(name, one);
  return (await fetch(`${frame.dataset.url}/${what}?${query}`)).json();
}

function keys(shown) {
  onKeys("waterfall", {
    j: () => shown.step(1), k: () => shown.step(-1), h: () => shown.fold(true), l: () => shown.fold(false),
    Enter: () => document.activeElement === rows ? shown.toggle(shown.chosen) : false,
    e: () => shown.nextError(1), E: () => shown.nextError(-1), n: () => shown.nextMatch(1), N: () => shown.nextMatch(-1),
    c: () => shown.showCritical(), f: () => shown.focus(), a: () => shown.toggleAll(),
    "+": () => shown.scale(0.5), "-": () => shown.scale(2), 0: () => shown.setZoom([0, 1]),
  });
}

function tools(shown) {
  const button = (text, title, onclick, pressed = null) => element("button", { type: "button", title, onclick, "aria-pressed": pressed }, text);
  const made = [];
  if (shown.errors.length) made.push(button(`Next error (${shown.errors.length.toLocaleString("en")})`, "e", () => shown.nextError(1)));
  const critical = button("Critical path", "c: what the trace waited for", () => {
    shown.showCritical();
    critical.setAttribute("aria-pressed", String(shown.critical));
  }, "false");
  made.push(critical, button("Close all", "a: close all, open all", () => shown.toggleAll()));
  document.getElementById("tools").replaceChildren(...made);
  const form = document.querySelector(".tools");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = form.elements.find.value.trim();
    if (text === shown.foundText) shown.nextMatch(1);
    else { shown.foundText = text; shown.find(text); }
  });
  form.elements.find.addEventListener("keydown", (event) => { if (event.key === "Escape") event.target.blur(); });
}

async function start() {
  const trace = await get("rows", {});
  const shown = new Waterfall(trace);
  document.querySelector(".rest")?.remove();
  keys(shown);
  tools(shown);
  const wanted = trace.id.indexOf(asked.get("span"));
  shown.choose(Math.max(wanted, 0), { quietly: wanted < 0 });
  if (asked.get("find")) shown.find(asked.get("find"));
  performance.mark("ready");
  document.documentElement.dataset.ready = "true";
}

start();
