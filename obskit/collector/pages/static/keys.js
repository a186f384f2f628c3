// Keyboard shortcuts of a page, and the list of them. They are inactive while a field is being edited.

import { element } from "./elements.js";

const known = new Map(); // key -> [what it does, action]
let waitingForPage = false;

export function onKeys(actions) {
  for (const [key, action] of Object.entries(actions)) known.set(key, action);
}

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return;
    const action = waitingForPage ? () => goTo(event.key) : known.get(event.key)?.[1];
    waitingForPage = false;
    if (action && action(event) !== false) event.preventDefault();
  });
  onKeys({
    "/": ["find", () => (document.querySelector("[data-find]") ?? document.querySelector(".find input")).focus()],
    "?": ["these keys", showHelp],
    g: ["then the first letter of a page: go there", () => { waitingForPage = true; }],
  });
  const help = document.getElementById("help");
  help.hidden = false;
  help.title = "keys";
  help.addEventListener("click", showHelp);
}

function isTyping(target) {
  return target.matches("input:not([type=checkbox], [type=radio]), textarea, select") || target.isContentEditable;
}

function goTo(key) {
  const link = document.querySelector(`nav a[data-key="${CSS.escape(key)}"]`);
  if (link) location.assign(link.href);
}

function showHelp() {
  const rows = [...known].map(([key, [text]]) =>
    element("tr", {}, element("th", { scope: "row" }, element("kbd", {}, key)), element("td", {}, text)));
  const close = element("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const dialog = element("dialog", { "aria-label": "Keys", onclose: () => dialog.remove() },
    element("table", {}, element("tbody", {}, ...rows)), close);
  document.body.append(dialog);
  dialog.showModal();
}
