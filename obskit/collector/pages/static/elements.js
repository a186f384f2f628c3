// Builds elements and formats values. Markup is never parsed: everything is an element or text.

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

function set(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) target.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) target.setAttribute(name, value === true ? "" : value);
  }
}

// The same three digits as obskit/collector/pages/show.py.
export function duration(microseconds) {
  if (!microseconds) return "-";
  for (const [below, divisor, unit] of [[1e3, 1, "µs"], [1e6, 1e3, "ms"], [6e7, 1e6, "s"]]) {
    if (microseconds < below) return `${threeDigits(microseconds / divisor)} ${unit}`;
  }
  const seconds = Math.floor(microseconds / 1e6), minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${seconds % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function threeDigits(number) {
  const text = number.toFixed(Math.max(3 - String(Math.floor(number)).length, 0));
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

export function stored(key, fallback) {
  try { return localStorage.getItem(key) ?? fallback; } catch { return fallback; }
}

export function store(key, value) {
  try { localStorage.setItem(key, value); } catch { /* lasts as long as the page, then */ }
}
