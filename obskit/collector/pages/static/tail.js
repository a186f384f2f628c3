// The live tail: new lines are added on top every two seconds, and not while the page is scrolled down.

import { element } from "./elements.js";
import { onKeys } from "./keys.js";
import { moment } from "./times.js";

const list = document.getElementById("lines");
const button = document.getElementById("live");
const MOST = 1000; // rows on the page
let live = new URLSearchParams(location.search).get("follow") === "1";
let last = Number(list.dataset.last);
let waiting = [];

const reads = () => scrollY > 40 || document.querySelector("#lines details[open]") !== null;

function label() {
  const paused = live && reads();
  button.textContent = !live ? "▶ Live" : paused && waiting.length ? `▲ ${waiting.length} new` : paused ? "❚❚ paused" : "❚❚ Live";
  button.title = !live ? "show new lines as they come" : paused ? "paused while you read; a click shows what is new" : "stop";
  button.setAttribute("aria-pressed", String(live));
}

function row(line) {
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
  return element("details", { class: `entry ${level} fresh`, id: `line-${line.id}` }, summary,
    element("div", { class: "whole" }, element("pre", {}, line.message.slice(0, 32768)), element("p", { class: "links" }, ...links),
      element("table", {}, element("tbody", {}, ...facts))));
}

function insert() {
  list.querySelector(".message")?.remove();
  for (const line of waiting) if (!document.getElementById(`line-${line.id}`)) list.prepend(row(line));
  waiting = [];
  while (list.childElementCount > MOST) list.lastElementChild.remove();
}

async function poll() {
  const query = new URLSearchParams(list.dataset.query);
  query.delete("follow");
  query.set("after", last);
  try {
    const answer = await fetch(`/api/obskit/v1/lines?${query}`);
    if (answer.ok) {
      const found = await answer.json();
      last = found.lastId ?? last;
      waiting = [...waiting, ...found.lines].slice(-MOST);
    }
  } catch { /* the collector is away: the next turn asks again */ }
}

async function turn() {
  if (live && !document.hidden) {
    await poll();
    if (!reads()) insert();
    label();
  }
  setTimeout(turn, 2000);
}

if (list.dataset.last) {
  button.hidden = false;
  button.addEventListener("click", () => {
    if (live && reads()) {
      document.querySelectorAll("#lines details[open]").forEach((opened) => { opened.open = false; });
      scrollTo(0, 0);
      insert();
    } else live = !live;
    label();
  });
  onKeys({ p: ["live lines, or pause", () => button.click()] });
  label();
  turn();
}
