// The live tail: new lines are added on top every two seconds, and not while the page is scrolled down.

import { onKeys } from "./keys.js";
import { lineRow } from "./line_row.js";

const list = document.getElementById("lines");
const button = document.getElementById("live");
const colours = JSON.parse(list.dataset.colours);
const MOST = 1000; // rows on the page
let live = new URLSearchParams(location.search).get("follow") === "1";
let last = Number(list.dataset.last);
let waiting = [];

const reads = () => scrollY > 40 || document.querySelector(".entry[open]") !== null;

function label() {
  const paused = live && reads();
  button.textContent = !live ? "▶ Live" : paused && waiting.length ? `▲ ${waiting.length} new` : paused ? "❚❚ paused" : "❚❚ Live";
  button.title = !live ? "show new lines as they come" : paused ? "paused while you read; a click shows what is new" : "stop";
  button.setAttribute("aria-pressed", String(live));
}

function insert() {
  list.querySelector(".message")?.remove();
  for (const line of waiting) if (!document.getElementById(`line-${line.id}`)) list.prepend(lineRow(line, colours, "fresh"));
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
      document.querySelectorAll(".entry[open]").forEach((opened) => { opened.open = false; });
      scrollTo(0, 0);
      insert();
    } else live = !live;
    label();
  });
  label();
  turn();
}

// Whatever has the focus: the next line begins after what holds it, the first one where nothing does.
function move(by) {
  const rows = [...document.querySelectorAll(".entry > summary")], at = document.activeElement.closest(".entry");
  const row = rows[at ? rows.indexOf(at.firstElementChild) + by : 0];
  row?.focus();
  row?.scrollIntoView({ block: "nearest" });
}

onKeys("log lines", { j: () => move(1), k: () => move(-1), p: () => !button.hidden && button.click() });

