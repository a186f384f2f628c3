// A log line as a row that opens, like that of obskit/collector/pages/line_rows.py.

import { element } from "./elements.js";
import { moment } from "./times.js";

export function lineRow(line, mark) {
  const severity = line.severity.toLowerCase();
  const level = ["error", "critical", "alert", "emergency"].includes(severity) ? "bad" : severity === "warning" ? "warned" : "quiet";
  const [first, ...rest] = (line.message || "(no message)").split("\n");
  const end = line.message.includes("Traceback (") ? ` … ${rest.at(-1)?.slice(0, 300) ?? ""}` : " …";
  const summary = element("summary", {}, moment(Date.parse(line.time)), element("span", { class: "level" }, severity),
    element("span", { class: "service" }, line.service ?? ""),
    element("span", { class: "text" }, first.slice(0, 300) + (rest.length || first.length > 300 ? end : "")));
  const links = [element("a", { href: `/logs?line=${line.id}#line-${line.id}` }, "lines around")];
  if (line.trace) links.push(element("a", { href: `/traces/${line.trace}${line.span ? `?span=${line.span}` : ""}` }, "its trace"));
  const facts = Object.entries({ instance: line.instance, logger: line.logger, trace: line.trace, source: line.source, ...line.fields })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name),
      element("td", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return element("details", { class: `entry ${level} ${mark}`, id: `line-${line.id}` }, summary,
    element("div", { class: "whole" }, element("pre", {}, line.message.slice(0, 32768)), element("p", { class: "links" }, ...links),
      element("table", {}, element("tbody", {}, ...facts))));
}
