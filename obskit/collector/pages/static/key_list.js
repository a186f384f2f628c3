// Every key of the pages: where it acts, the keys, what they do. docs/collector-pages.md has the same table.

export const KEYS = [
  ["every page", ["/"], "find: in the trace, in the profile, or a trace by its id"],
  ["every page", ["?"], "this list"],
  ["every page", ["g"], "then s Services, t Traces, l Logs, d Graph, p Profiles, i Incidents, k Kubernetes: go there"],
  ["waterfall", ["j", "ArrowDown"], "next line"],
  ["waterfall", ["k", "ArrowUp"], "line before"],
  ["waterfall", ["l", "ArrowRight"], "open a line, or go down"],
  ["waterfall", ["h", "ArrowLeft"], "close a line, or go up"],
  ["waterfall", ["Enter"], "open or close a line"],
  ["waterfall", ["a"], "close all, open all"],
  ["waterfall", ["e"], "next error"],
  ["waterfall", ["E"], "error before"],
  ["waterfall", ["n"], "next match of the search"],
  ["waterfall", ["N"], "match before"],
  ["waterfall", ["c"], "critical path: what the trace waited for"],
  ["waterfall", ["f"], "focus: only this span and what is below it"],
  ["waterfall", ["+"], "zoom in"],
  ["waterfall", ["-"], "zoom out"],
  ["waterfall", ["0"], "all of the time"],
  ["requests as dots, once they have the focus", ["ArrowLeft"], "earlier"],
  ["requests as dots, once they have the focus", ["ArrowRight"], "later"],
  ["requests as dots, once they have the focus", ["ArrowUp"], "scale for longer durations"],
  ["requests as dots, once they have the focus", ["ArrowDown"], "scale for shorter durations"],
  ["flame graph, once it has the focus", ["ArrowDown"], "what this calls"],
  ["flame graph, once it has the focus", ["ArrowUp"], "what calls this"],
  ["flame graph, once it has the focus", ["ArrowRight"], "next in the row"],
  ["flame graph, once it has the focus", ["ArrowLeft"], "one before in the row"],
  ["flame graph, once it has the focus", ["Enter"], "this one alone; of a trace, the span in the waterfall"],
  ["log lines", ["j"], "next line; Enter opens it"],
  ["log lines", ["k"], "line before"],
  ["log lines", ["p"], "show new lines as they come, or stop"],
];

const SIGNS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

export const sign = (key) => SIGNS[key] ?? key;
