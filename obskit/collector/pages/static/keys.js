// Keyboard shortcuts, and the list of those of a page. They are inactive while a field is being edited.

import { element } from "./elements.js";
import { KEYS, sign } from "./key_list.js";

const places = new Set(["every page"]); // that this page has
const known = new Map(); // key -> action, wherever the focus is
let waitingForPage = false;

// What keys do: the first of each line of the list names its action. Those of an element act while it has the focus.
export function onKeys(place, actions, target = null) {
  const lines = KEYS.filter(([where]) => where === place), byKey = target ? new Map() : known;
  const names = lines.map(([, [name]]) => name).sort();
  if (Object.keys(actions).sort().join() !== names.join()) throw new Error(`keys of ${place}: ${Object.keys(actions)}, listed: ${names}`);
  for (const [, keys] of lines) for (const key of keys) byKey.set(key, actions[keys[0]]);
  places.add(place);
  target?.addEventListener("keydown", (event) => {
    const action = byKey.get(event.key);
    if (!action || isModified(event) || action(event) === false) return;
    event.preventDefault();
    event.stopPropagation();
  });
}

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (isModified(event) || event.defaultPrevented || isTyping(event.target)) return;
    const action = waitingForPage ? () => goTo(event.key) : known.get(event.key);
    waitingForPage = false;
    if (action && action(event) !== false) event.preventDefault();
  });
  onKeys("every page", {
    "/": () => (document.querySelector("[data-find]") ?? document.querySelector(".find input")).focus(),
    "?": showHelp,
    g: () => { waitingForPage = true; },
  });
  const help = document.getElementById("help");
  help.hidden = false;
  help.title = "keys";
  help.addEventListener("click", showHelp);
}

function isModified(event) {
  return event.ctrlKey || event.metaKey || event.altKey;
}

function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio]), textarea, select") || target.isContentEditable;
}

function goTo(key) {
  const link = document.querySelector(`nav a[data-key="${CSS.escape(key)}"]`);
  if (link) location.assign(link.href);
}

function showHelp() {
  const lists = [...places].map((place) => element("table", {}, element("caption", {}, place),
    element("tbody", {}, ...KEYS.filter(([where]) => where === place).map(([, keys, text]) => line(keys, text)))));
  const close = element("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = element("dialog", { "aria-label": "Keys", onclose: () => dialog.remove() }, close, ...lists);
  document.body.append(dialog);
  dialog.showModal();
}

function line(keys, text) {
  const shown = keys.flatMap((key) => [element("kbd", {}, sign(key)), " "]);
  return element("tr", {}, element("th", { scope: "row" }, ...shown), element("td", {}, text));
}
