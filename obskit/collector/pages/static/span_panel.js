// The panel of the selected span beside the waterfall. Its tags are fetched when it is selected.

import { duration, element } from "./elements.js";
import { get } from "./waterfall.js";

const panel = document.getElementById("span");
let wanted = 0;

export async function showSpan(shown, row) {
  const number = ++wanted, { trace } = shown, repeats = trace.repeats[row];
  if (repeats) return panel.replaceChildren(groupOf(trace, row, repeats));
  const ids = [trace.id[row], ...(trace.half[row] ? [trace.half[row][3]] : [])];
  const parts = await get("span", { id: [...new Set(ids)] });
  if (number === wanted) panel.replaceChildren(...parts.map((part) => partOf(trace, part)));
}

function partOf(trace, { title, service, tables }) {
  const colour = trace.colours[trace.services.indexOf(service)];
  return element("section", {}, heading(service, colour, title), ...tables.map(([name, rows]) => table(name, rows)));
}

function groupOf(trace, row, [count, sum, shortest, longest, failed]) {
  const service = trace.service[row];
  return element("section", {}, heading(trace.services[service], trace.colours[service], trace.names[trace.name[row]]),
    table("Repeats", [["how many", count.toLocaleString("en")], ["failed", failed.toLocaleString("en")], ["sum", duration(sum)],
      ["shortest", duration(shortest)], ["mean", duration(Math.round(sum / count))], ["longest", duration(longest)]]));
}

function heading(service, colour, title) {
  return element("h2", {}, element("span", { class: `service ${colour}` }, service), title);
}

function table(name, rows) {
  const lines = rows.map(([key, value]) => element("tr", {}, element("th", { scope: "row" }, key), element("td", {}, value)));
  return element("table", {}, element("caption", {}, name), element("tbody", {}, ...lines));
}
