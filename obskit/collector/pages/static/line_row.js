// A log line as a row that opens, like that of obskit/collector/pages/line_rows.py.

import { element } from "./elements.js";
import { moment } from "./times.js";
import { pieces } from "./tracebacks.js";

const SUMMARY = 300, MOST = 32768; // characters

export function lineRow(line, mark) {
  const severity = line.severity.toLowerCase();
  const level = ["error", "critical", "alert", "emergency"].includes(severity) ? "bad" : severity === "warning" ? "warned" : "quiet";
  const [text, exception] = heading(line.message);
  const summary = element("summary", {}, moment(Date.parse(line.time)), element("span", { class: "level" }, severity),
    element("span", { class: "service" }, line.service ?? ""), element("span", { class: "text" }, text || "(no message)"),
    ...(exception ? [element("span", { class: "exception" }, exception)] : []));
  const links = [element("a", { href: `/logs?line=${line.id}#line-${line.id}` }, "lines around")];
  if (line.trace) links.push(element("a", { href: `/traces/${line.trace}${line.span ? `?span=${line.span}` : ""}` }, "its trace"));
  const facts = Object.entries({ instance: line.instance, logger: line.logger, trace: line.trace, source: line.source, ...line.fields })
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name),
      element("td", {}, typeof value === "string" ? value : JSON.stringify(value))));
  return element("details", { class: `entry ${level} ${mark}`, id: `line-${line.id}` }, summary,
    element("div", { class: "whole" }, ...message(line.message.slice(0, MOST)), element("p", { class: "links" }, ...links),
      element("table", {}, element("tbody", {}, ...facts))));
}

// The first line of a message, and that of its exception, if that is another.
function heading(message) {
  const end = message.indexOf("\n"), first = end < 0 ? message : message.slice(0, end);
  const exception = pieces(message).findLast(([, its]) => its)?.[1].slice(0, SUMMARY) ?? "";
  if (exception && first.includes("Traceback (")) return [exception, ""];
  const isCut = first.length > SUMMARY || (end >= 0 && !exception);
  return [first.slice(0, SUMMARY) + (isCut ? " …" : ""), exception];
}

function message(whole) {
  const found = pieces(whole);
  return found.map(([text, exception], number) => piece(text.replace(/^\n+|\n+$/g, ""), exception, number === found.length - 1));
}

function piece(text, exception, isLast) {
  if (!exception) return element("pre", {}, text);
  const summary = element("summary", {}, exception.slice(0, SUMMARY));
  return element("details", { class: "traceback", open: isLast }, summary, element("pre", {}, text));
}
