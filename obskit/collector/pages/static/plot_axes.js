// The axes of the scatter plot: a linear or logarithmic scale of durations, as in obskit/collector/pages/duration_scale.py,
// and round times.

export const EDGE = 10, BASE = 18; // pixels at the top, for requests above the scale, and at the bottom, for times
const SECOND = 1_000_000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const STEPS = [1, 2, 5, 10, 15, 30].flatMap((number) => [number * SECOND, number * MINUTE]).concat([1, 2, 3, 6, 12].map((number) => number * HOUR))
  .sort((one, other) => one - other);

export class Scale {
  constructor({ bottom, top, log }) {
    this.bottom = bottom;
    this.top = top;
    this.isLog = log;
  }

  y(took, height) {
    const part = this.isLog ? Math.log(Math.max(took / this.bottom, 1)) / Math.log(this.top / this.bottom) : took / this.top;
    return took > this.top ? EDGE / 2 : height - BASE - part * (height - EDGE - BASE);
  }

  took(y, height) {
    const part = (height - BASE - y) / (height - EDGE - BASE);
    return this.isLog ? this.bottom * (this.top / this.bottom) ** part : part * this.top;
  }

  // The durations that have lines.
  marks() {
    if (!this.isLog) return [0, 0.25, 0.5, 0.75, 1].map((part) => Math.round(this.top * part));
    const decades = Math.floor(Math.log10(this.top / this.bottom) + 1e-9);
    return Array.from({ length: decades + 1 }, (_, number) => this.bottom * 10 ** number);
  }
}

// Round times between two, in microseconds, at most so many. ``ahead`` is how far the clock that shows them is.
export function roundTimes(first, last, most, ahead) {
  const step = STEPS.find((one) => (last - first) / one <= most) ?? Math.ceil((last - first) / most / DAY) * DAY;
  const times = [];
  for (let at = Math.ceil((first + ahead) / step) * step - ahead; at < last; at += step) times.push(at);
  return times;
}
