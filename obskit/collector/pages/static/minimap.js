// A minimap of all rows of a trace; dragging over it selects a range of time.

const RED_LAST = 1; // errors are drawn last, so that no neighbour covers them

export class Minimap {
  constructor(canvas, trace, onZoom) {
    this.canvas = canvas;
    this.trace = trace;
    this.onZoom = onZoom;
    canvas.hidden = false;
    canvas.title = "drag: choose a part of the time; twice: all of it";
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("dblclick", () => onZoom([0, 1]));
    document.addEventListener("theme", () => { this.picture = null; this.draw(...this.last); });
  }

  draw(zoom, visible, first, last) {
    this.last = [zoom, visible, first, last];
    const { canvas } = this, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    if (!this.picture || this.picture.width !== width) this.picture = this.paint(width, height);
    if (canvas.width !== width) { canvas.width = width; canvas.height = height; }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    context.drawImage(this.picture, 0, 0);
    context.fillStyle = colourOf("veil");
    const [from, to] = (this.dragged ?? zoom).map((part) => part * width);
    context.fillRect(0, 0, from, height);
    context.fillRect(to, 0, width - to, height);
    const count = this.trace.id.length, top = visible[first] / count * height, end = ((visible[last - 1] ?? 0) + 1) / count * height;
    context.strokeStyle = colourOf("window");
    context.strokeRect(from + 0.5, Math.floor(top) + 0.5, Math.max(to - from - 1, 1), Math.max(Math.ceil(end - top) - 1, 2));
  }

  paint(width, height) {
    const picture = new OffscreenCanvas(width, height), context = picture.getContext("2d");
    const { start, took, service, flags, colours, duration, id } = this.trace;
    const palette = colours.map((name) => colourOf(name)), red = colourOf("failed"), thick = Math.max(height / id.length, 1);
    for (const isError of [0, RED_LAST]) {
      for (let row = 0; row < id.length; row++) {
        if (start[row] < 0 || (flags[row] & 1) !== isError) continue;
        context.fillStyle = isError ? red : palette[service[row]];
        const x = start[row] / (duration || 1) * width;
        context.fillRect(x, row / id.length * height, Math.max(took[row] / (duration || 1) * width, 1), thick);
      }
    }
    return picture;
  }

  press(event) {
    const { canvas } = this, at = (moved) => (moved.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth;
    const from = at(event);
    canvas.setPointerCapture(event.pointerId);
    const move = (moved) => {
      this.dragged = [Math.min(from, at(moved)), Math.max(from, at(moved))];
      this.draw(...this.last);
    };
    const end = () => {
      canvas.removeEventListener("pointermove", move);
      const chosen = this.dragged;
      this.dragged = null;
      if (chosen && (chosen[1] - chosen[0]) * canvas.clientWidth > 4) this.onZoom(chosen);
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end, { once: true });
  }
}

// The colour of a CSS class, in the form that a canvas accepts.
export function colourOf(name) {
  const probe = document.createElement("i");
  probe.className = `probe ${name}`;
  document.body.append(probe);
  const { backgroundColor } = getComputedStyle(probe);
  probe.remove();
  return backgroundColor;
}
