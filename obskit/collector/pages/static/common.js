// On every page: light or dark theme, local time or UTC, keyboard shortcuts.

import { store } from "./elements.js";
import { listen } from "./keys.js";
import { zoneSwitch } from "./times.js";

function themeSwitch(button) {
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => {
    button.textContent = isDark() ? "☀" : "☾";
    button.title = isDark() ? "light" : "dark";
    button.setAttribute("aria-label", button.title);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    store("theme", root.dataset.theme);
    label();
    document.dispatchEvent(new Event("theme"));
  });
  label();
}

themeSwitch(document.getElementById("theme"));
zoneSwitch(document.getElementById("zone"));
listen();
