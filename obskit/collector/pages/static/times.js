// Times as local time or UTC: the chosen one as text, the other as title.

import { element, store, stored } from "./elements.js";

let zone = stored("zone", "local");

export function moment(milliseconds) {
  const made = element("time", { datetime: new Date(milliseconds).toISOString() });
  show(made);
  return made;
}

// How many milliseconds the shown clock is ahead of UTC.
export function ahead(milliseconds) {
  return zone === "utc" ? 0 : -new Date(milliseconds).getTimezoneOffset() * 60_000;
}

export function clock(milliseconds) {
  return parts(new Date(milliseconds), zone).time;
}

function show(time) {
  const at = new Date(time.dateTime);
  if (isNaN(at)) return;
  const { date, time: clockTime } = parts(at, zone);
  const other = parts(at, zone === "utc" ? "local" : "utc");
  time.replaceChildren(element("span", { class: "date" }, `${date} `), clockTime);
  time.title = `${other.date} ${other.time} ${zone === "utc" ? localName(at) : "UTC"}`;
}

function parts(at, which) {
  const shifted = which === "utc" ? at : new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  const [date, rest] = shifted.toISOString().split("T");
  return { date, time: rest.slice(0, 12) };
}

function localName(at) {
  const named = new Intl.DateTimeFormat(undefined, { timeZoneName: "short" }).formatToParts(at);
  return named.find((part) => part.type === "timeZoneName")?.value ?? "local";
}

export function showTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) show(time);
}

export function zoneSwitch(button) {
  const label = () => {
    button.textContent = zone === "utc" ? "UTC" : localName(new Date());
    button.title = zone === "utc" ? "times are UTC; show local time" : "times are local; show UTC";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    zone = zone === "utc" ? "local" : "utc";
    store("zone", zone);
    label();
    showTimes();
    document.dispatchEvent(new Event("zone"));
  });
  label();
  showTimes();
}
