// The lines below a waterfall: all, or those of the selected span and of what it led to.

import { element } from "./elements.js";
import { lineRow } from "./line_row.js";
import { get } from "./waterfall.js";

const list = document.getElementById("trace-lines");
const scope = document.getElementById("line-scope");
let wanted = 0;

// How many lines a row and all rows below it have.
function below(shown, row) {
  let count = 0;
  for (let one = row; one < shown.end[row]; one++) if (!shown.trace.repeats[one]) count += shown.trace.lines[one]?.length ?? 0;
  return count;
}

function link(text, value, isCurrent) {
  const url = new URL(location);
  if (value) url.searchParams.set("log", value); else url.searchParams.delete("log");
  url.hash = "lines-of-trace";
  return element("a", { href: url.href, "aria-current": isCurrent ? "true" : null, "data-scope": value }, text);
}

export function showLines(shown, row) {
  if (!list || shown.trace.repeats[row]) return;
  const isPart = new URLSearchParams(location.search).get("log") === "below";
  const every = scope.dataset.all, count = below(shown, row).toLocaleString("en");
  const links = [link(`all ${every}`, "", !isPart), " ", link(`of the selected span and below: ${count}`, "below", isPart), " "];
  scope.querySelector("span").replaceChildren(...links);
  scope.onclick = (event) => choose(event, shown, row);
  if (isPart) fill(shown, row);
}

function choose(event, shown, row) {
  const chosen = event.target.closest("[data-scope]");
  if (!chosen) return;
  event.preventDefault();
  const url = new URL(chosen.href);
  url.hash = "";
  history.replaceState(null, "", url);
  showLines(shown, row);
  if (!chosen.dataset.scope) fill(shown);
}

async function fill(shown, row) {
  const number = ++wanted, { lines } = await get("lines", row === undefined ? {} : { span: shown.trace.id[row] });
  if (number !== wanted) return;
  const nothing = element("div", { class: "message" }, "No line in this part of the trace.");
  list.replaceChildren(...lines.map((line) => lineRow(line, JSON.parse(list.dataset.colours))), ...(lines.length ? [] : [nothing]));
  scope.querySelector("output").textContent = `${lines.length.toLocaleString("en")} shown, oldest first.`;
}
