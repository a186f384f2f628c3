// The scatter plot on pages that have no list: what is chosen is listed on the page of traces.

import { Scatter } from "./scatter.js";

new Scatter(document.getElementById("scatter")).start().then(() => { document.documentElement.dataset.ready = "true"; });
