// The scatter plot on pages without a list: a selection opens the page of traces.

import { Scatter } from "./scatter.js";

new Scatter(document.getElementById("scatter")).start().then(() => { document.documentElement.dataset.ready = "true"; });
