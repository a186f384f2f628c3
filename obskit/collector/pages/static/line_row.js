// A log line as a row that opens, like that of obskit/collector/pages/line_rows.py.

import { element } from "./elements.js";
import { moment } from "./times.js";
import { pieces } from "./tracebacks.js";

const SUMMARY = 300, MOST = 32768; // characters

export function lineRow(line, colours, mark = "") {
  const severity = line.severity.toLowerCase();
  const level = ["error", "critical", "alert", "emergency"].includes(severity) ? "bad" : severity === "warning" ? "warned" : "quiet";
  const [text, exception] = heading(line.message);
  const summary = element("summary", {}, moment(Date.parse(line.time)), element("span", { class: "level" }, severity),
    element("span", { class: `service ${colours[line.service] ?? ""}` }, line.service ?? ""), element("span", { class: "text" }, text || "(no message)"),
    ...(exception ? [element("span", { class: "exception" }, exception)] : []));
  const links = [link(`/logs?line=${line.id}#line-${line.id}`, "lines around")];
  if (line.trace) links.push(link(`/traces/${line.trace}${line.span ? `?span=${line.span}` : ""}`, "its trace"), link(`/logs?trace=${line.trace}`, "all lines of the trace"));
  const facts = [...factsOf(line)].map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)));
  return element("details", { class: `entry ${level} ${mark}`, id: `line-${line.id}` }, summary,
    element("div", { class: "whole" }, ...message(line.message.slice(0, MOST)), element("p", { class: "links" }, ...links),
      element("table", {}, element("tbody", {}, ...facts))));
}

function link(href, text) {
  return element("a", { href }, text);
}

// The other fields. Those that can be searched link to the lines that share them.
function* factsOf(line) {
  for (const name of ["service", "instance", "logger", "trace"]) {
    if (line[name]) yield [name, link(`/logs?${new URLSearchParams({ [name]: line[name] })}`, line[name])];
  }
  if (line.source) yield ["source", line.source];
  for (const [name, value] of flat("", line.fields ?? {})) {
    const word = `${name}=${value}`, shown = value.slice(0, MOST);
    yield [name, /^[^\s"-][^\s"]*$/.test(word) ? link(`/logs?${new URLSearchParams({ q: word })}`, shown) : shown];
  }
}

function* flat(prefix, fields) {
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) yield* flat(`${prefix}${name}.`, value);
    else yield [prefix + name, typeof value === "string" ? value : JSON.stringify(value)];
  }
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
