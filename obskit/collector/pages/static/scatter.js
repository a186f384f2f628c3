// The scatter plot. Dragging a rectangle lists its requests; arrow keys move and scale; new requests appear live.

import { duration, element } from "./elements.js";
import { onKeys } from "./keys.js";
import { colourOf } from "./minimap.js";
import { BASE, EDGE, Scale, roundTimes } from "./plot_axes.js";
import { ahead, clock } from "./times.js";

const EVERY = 2000, LATE = 60_000; // milliseconds: between two polls, and how late a request may arrive and still appear live
const NEAR = 6, RING = 7; // pixels
const FEW = 3000; // dots, that are drawn larger

export class Scatter {
  constructor(figure) {
    this.figure = figure;
    this.asked = new URLSearchParams(figure.dataset.query || location.search);
    this.canvas = element("canvas", { tabindex: "0", role: "img", "aria-label": figure.querySelector("svg").getAttribute("aria-label") });
    this.canvas.title = "drag: list what is inside; arrows: earlier, later, longer, shorter";
    this.canvas.addEventListener("pointerdown", (event) => this.press(event));
    onKeys("requests as dots, once they have the focus", {
      ArrowLeft: () => this.move(-0.5), ArrowRight: () => this.move(0.5), ArrowUp: () => this.stretch(2), ArrowDown: () => this.stretch(0.5),
    }, this.canvas);
    for (const change of ["theme", "zone"]) document.addEventListener(change, () => this.draw());
    const button = (text, title, onclick) => element("button", { type: "button", title, onclick }, text);
    document.getElementById("scatter-tools").replaceChildren(
      element("span", { class: "dim" }, "drag a rectangle: its requests"),
      button("←", "earlier", () => this.move(-0.5)), button("→", "later", () => this.move(0.5)),
      button("↑", "longer durations", () => this.stretch(2)), button("↓", "shorter durations", () => this.stretch(0.5)));
  }

  async start() {
    this.shown = await this.fetch({});
    this.scale = new Scale(this.shown);
    this.figure.querySelector("svg").replaceWith(this.canvas);
    this.figure.querySelector(".top-label").remove();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    this.draw();
    const isLive = !this.asked.has("from") && !this.asked.has("to") && this.asked.get("last") !== "all";
    if (isLive && this.shown.end) setInterval(() => this.follow(), EVERY);
  }

  async fetch(changed) {
    const query = new URLSearchParams(this.asked);
    for (const [name, value] of Object.entries(changed)) query.set(name, value);
    const shown = await (await fetch(`${this.figure.dataset.url}?${query}`)).json();
    return { ...shown, isFailed: new Set(shown.failed), colour: shown.service?.map((number) => shown.colours[number]) };
  }

  // The last minute is requested again: spans may arrive in another order than they ended.
  async follow() {
    if (document.hidden || this.dragged) return;
    const from = Date.now() - LATE, { shown } = this;
    const fresh = await this.fetch({ from, to: Date.now() });
    const end = [], took = [], colour = [], isFailed = new Set();
    const add = (when, from, number) => {
      if (from.isFailed.has(number)) isFailed.add(end.length);
      end.push(when);
      took.push(from.took[number]);
      colour.push(from.colour[number]);
    };
    const last = Date.now() * 1000, first = Math.max(shown.first, last - shown.longest);
    shown.end.forEach((at, number) => {
      const when = at + shown.first;
      if (when >= first && when < fresh.first) add(when - first, shown, number);
    });
    fresh.end?.forEach((at, number) => add(at + fresh.first - first, fresh, number));
    const news = fresh.end?.filter((at) => at + fresh.first > (this.listed ??= shown.last)).length ?? 0;
    this.shown = { ...shown, first, last, end, took, colour, isFailed, running: fresh.running };
    this.figure.dispatchEvent(new CustomEvent("news", { detail: news }));
    this.draw();
  }

  draw() {
    const { canvas, shown } = this, width = canvas.clientWidth, height = canvas.clientHeight, ratio = devicePixelRatio;
    if (!width || !shown) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    this.axes(context, width, height);
    const length = shown.last - shown.first;
    if (shown.grid) this.density(context, width, height);
    else {
      const crosses = [], size = shown.end.length > FEW ? 3 : 5, palette = new Map([...new Set(shown.colour)].map((name) => [name, colourOf(name)]));
      context.globalAlpha = shown.end.length > 5000 ? 0.4 : 0.8;
      for (let number = 0; number < shown.end.length; number++) {
        const x = shown.end[number] / length * width, y = this.scale.y(shown.took[number], height);
        if (shown.isFailed.has(number)) crosses.push([x, y]);
        else {
          context.fillStyle = palette.get(shown.colour[number]);
          context.fillRect(x - size / 2, y - size / 2, size, size);
        }
      }
      this.crosses(context, crosses);
    }
    this.rings(context, width, height);
    if (this.dragged) {
      const [from, to] = this.dragged;
      context.globalAlpha = 1;
      context.strokeStyle = colourOf("accent");
      context.strokeRect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
    }
  }

  axes(context, width, height) {
    context.font = "12px system-ui, sans-serif";
    context.lineWidth = 1;
    for (const mark of this.scale.marks()) {
      const y = Math.round(this.scale.y(mark, height)) + 0.5;
      context.strokeStyle = colourOf("grid");
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(width, y);
      context.stroke();
      context.fillStyle = colourOf("text");
      if (mark) context.fillText(duration(mark), 6, y + 13);
    }
    const { first, last } = this.shown;
    context.textAlign = "center";
    for (const at of roundTimes(first, last, Math.min(Math.ceil(width / 110), 12), ahead(last / 1000) * 1000)) {
      const x = (at - first) / (last - first) * width;
      if (x > 40 && x < width - 40) context.fillText(clock(at / 1000).slice(0, 8), x, height - 4);
    }
    context.textAlign = "start";
  }

  density(context, width, height) {
    const { grid, wide, high } = this.shown, most = Math.max(...grid.map(([, , count]) => count)), crosses = [];
    context.fillStyle = colourOf("accent");
    for (const [x, y, count, failed] of grid) {
      const [above, below] = [y + 1, y].map((row) => height - BASE - row / high * (height - EDGE - BASE));
      context.globalAlpha = 0.15 + 0.85 * Math.log1p(count) / Math.log1p(most);
      context.fillRect(x / wide * width, above, width / wide, Math.max(below - above, 1));
      if (failed) crosses.push([(x + 0.5) / wide * width, (above + below) / 2]);
    }
    this.crosses(context, crosses);
  }

  crosses(context, places) {
    context.globalAlpha = 1;
    context.strokeStyle = colourOf("failed");
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [x, y] of places) {
      context.moveTo(x - 3, y - 3);
      context.lineTo(x + 3, y + 3);
      context.moveTo(x + 3, y - 3);
      context.lineTo(x - 3, y + 3);
    }
    context.stroke();
  }

  // Requests that are still running: on the right, as high as they have run so far.
  rings(context, width, height) {
    context.strokeStyle = colourOf("accent");
    context.lineWidth = 2;
    for (const [age] of this.shown.running ?? []) {
      context.beginPath();
      context.arc(width - RING, this.scale.y(age, height), RING - 2, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  // --- selecting -----------------------------------------------------------------------------------

  press(event) {
    const { canvas } = this, box = canvas.getBoundingClientRect();
    const at = (moved) => [moved.clientX - box.left, moved.clientY - box.top];
    const from = at(event);
    canvas.setPointerCapture(event.pointerId);
    const move = (moved) => { this.dragged = [from, at(moved)]; this.draw(); };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", (released) => {
      canvas.removeEventListener("pointermove", move);
      this.dragged = null;
      this.choose(from, at(released));
    }, { once: true });
  }

  choose(one, other) {
    const isClick = Math.abs(one[0] - other[0]) < 4 && Math.abs(one[1] - other[1]) < 4, around = isClick ? NEAR : 0;
    const { canvas, shown } = this, width = canvas.clientWidth, height = canvas.clientHeight;
    const [left, right] = [Math.min(one[0], other[0]) - around, Math.max(one[0], other[0]) + around];
    const [above, below] = [Math.min(one[1], other[1]) - around, Math.max(one[1], other[1]) + around];
    const ring = isClick && one[0] > width - 2 * RING - NEAR
      && shown.running?.find(([age]) => Math.abs(this.scale.y(age, height) - one[1]) <= NEAR);
    if (ring) return location.assign(`/traces/${ring[1]}`);
    const when = (x) => Math.max(shown.first + x / width * (shown.last - shown.first), 0) / 1000;
    const took = (y) => this.scale.took(y, height);
    const changed = { from: Math.floor(when(left)), to: Math.ceil(when(right)), last: null };
    changed.min = below < height - BASE ? `${Math.max(Math.floor(took(below)), 1)}us` : null;
    changed.max = above > EDGE ? `${Math.ceil(took(above))}us` : null;
    this.go(changed);
  }

  move(by) {
    const { first, last } = this.shown, shift = (last - first) * by;
    this.go({ from: Math.max(Math.round((first + shift) / 1000), 0), to: Math.round((last + shift) / 1000), last: null });
  }

  async stretch(by) {
    this.scale.top = Math.max(this.scale.top * by, this.scale.bottom * 10, 10);
    if (this.shown.grid) this.shown = await this.fetch({ top: `${this.scale.top}us` });
    this.draw();
  }

  go(changed) {
    const url = this.figure.dataset.query ? new URL(`/traces?${this.asked}`, location.href) : new URL(location);
    for (const [name, value] of Object.entries(changed)) {
      if (value === null) url.searchParams.delete(name); else url.searchParams.set(name, value);
    }
    location.assign(url);
  }
}
