// The page of traces: the scatter plot, autocompletion from the server, and opening a trace from a file.

import { element } from "./elements.js";
import { Scatter } from "./scatter.js";

const form = document.getElementById("search");

async function complete() {
  const service = form.elements.service.value;
  for (const [list, what] of [["names", "spans"], ["remotes", "remoteServices"]]) {
    const found = service ? await (await fetch(`/api/v2/${what}?serviceName=${encodeURIComponent(service)}`)).json() : [];
    document.getElementById(list).replaceChildren(...found.map((value) => element("option", { value })));
  }
}

// Keep empty fields out of the address.
function submit() {
  for (const input of form.elements) if (input.name && !input.value) input.disabled = true;
}

async function upload(file, says) {
  try {
    const text = await file.text(), spans = JSON.parse(text).flat();
    const answer = await fetch("/api/v2/spans", { method: "POST", body: JSON.stringify(spans), headers: { "content-type": "application/json" } });
    if (!answer.ok) throw new Error(await answer.text());
    location.assign(`/traces/${encodeURIComponent(spans[0].traceId)}`);
  } catch (error) {
    says.textContent = `${file.name} is no trace: ${error.message}`;
  }
}

form.elements.service.addEventListener("change", complete);
form.elements.last.addEventListener("change", () => { form.elements.from.value = form.elements.to.value = ""; });
form.addEventListener("submit", submit);
addEventListener("pageshow", () => { for (const input of form.elements) input.disabled = false; });

const box = document.getElementById("upload");
box.hidden = false;
box.querySelector("input").addEventListener("change", (event) => upload(event.target.files[0], box.querySelector("output")));

const figure = document.getElementById("scatter");
if (figure) {
  const scatter = new Scatter(figure), news = document.getElementById("new");
  figure.addEventListener("news", ({ detail }) => {
    if (!news) return;
    news.hidden = !detail;
    news.textContent = `${detail.toLocaleString("en")} new`;
  });
  scatter.start().then(() => { document.documentElement.dataset.ready = "true"; });
}
