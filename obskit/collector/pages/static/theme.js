// Runs before anything is drawn: a page that was chosen to be dark never flashes.
try {
  const theme = localStorage.getItem("theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* storage may be forbidden; the system's choice stays */ }
