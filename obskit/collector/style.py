"""The style sheet of the pages. It is served as a file, because the content policy forbids styles inside pages."""

from __future__ import annotations

DEEPEST = 24  # spans below this depth are not indented further
HUES = (212, 28, 150, 276, 340, 185, 48, 100, 240, 8)  # one for each class c0, c1, ...

_SHEET = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1d2430; --dim: #667085; --line: #e3e7ee; --hover: #f0f4fa;
  --link: #1f5fbf; --error: #c62f3b; --error-page: #fdeced; --bar-light: 52%; --tag-light: 34%; --tag-page: 94%;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #11151c; --card: #191f29; --text: #e4e8ef; --dim: #93a0b4; --line: #2a3342; --hover: #202836;
    --link: #82b1ff; --error: #ff7b84; --error-page: #3a1d22; --bar-light: 58%; --tag-light: 78%; --tag-page: 20%;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 14px/1.45 system-ui, sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code, .mono { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 12.5px; }
.top { background: var(--card); border-bottom: 1px solid var(--line); padding: 10px 24px; display: flex; gap: 16px; }
.top a { color: var(--text); font-weight: 650; }
main { max-width: 1400px; margin: 0 auto; padding: 20px 24px 48px; }
h1 { font-size: 20px; margin: 0 0 12px; overflow-wrap: anywhere; }
h1 .dim { font-weight: 400; }
.dim { color: var(--dim); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; overflow: hidden; }
.message { padding: 28px; text-align: center; color: var(--dim); }
.problem { color: var(--error); }
form { display: flex; flex-wrap: wrap; gap: 12px; align-items: end; margin-bottom: 16px; }
label { display: grid; gap: 3px; font-size: 12px; color: var(--dim); }
input, select, button {
  font: inherit; color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: 6px 10px; height: 34px;
}
button { background: var(--link); border-color: var(--link); color: var(--card); font-weight: 600; cursor: pointer; }
.wide { width: 240px; } .narrow { width: 110px; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-size: 12px; font-weight: 600; color: var(--dim); }
th, td { padding: 9px 14px; border-bottom: 1px solid var(--line); vertical-align: top; }
th.number { text-align: right; }
tbody tr:last-child > * { border-bottom: 0; }
.traces tbody tr:hover { background: var(--hover); }
.traces th:first-child { width: 34%; }
.traces td { overflow-wrap: anywhere; }
.traces .mono { white-space: nowrap; }
.tag {
  display: inline-block; border-radius: 4px; padding: 0 6px; margin: 1px 4px 1px 0; font-size: 12px; font-weight: 600;
  color: hsl(var(--hue) 65% var(--tag-light)); background: hsl(var(--hue) 60% var(--tag-page));
}
.error { color: var(--error); background: var(--error-page); border-radius: 4px; padding: 0 6px; font-size: 12px;
  font-weight: 600; white-space: nowrap; }
.facts { display: flex; flex-wrap: wrap; gap: 6px 28px; margin: 0 0 16px; }
.facts div { display: flex; gap: 6px; } .facts dt { color: var(--dim); } .facts dd { margin: 0; }
.row { display: grid; grid-template-columns: minmax(280px, 38%) 1fr 104px; align-items: center; }
.head { border-bottom: 1px solid var(--line); color: var(--dim); font-size: 12px; }
.head > * { padding: 7px 14px; }
.ticks { display: flex; justify-content: space-between; padding: 7px 0; font-variant-numeric: tabular-nums; }
details { border-bottom: 1px solid var(--line); }
details:last-child { border-bottom: 0; }
summary { list-style: none; cursor: pointer; }
summary::-webkit-details-marker { display: none; }
summary:hover, details[open] > summary { background: var(--hover); }
summary:focus-visible { outline: 2px solid var(--link); outline-offset: -2px; }
.what {
  padding: 5px 14px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  border-right: 1px solid var(--line);
}
summary > .number { padding-right: 14px; }
svg { display: block; width: 100%; height: 32px; }
.grid { stroke: var(--line); }
.bar { fill: hsl(var(--hue) 62% var(--bar-light)); }
.failed { fill: var(--error); }
.moment { fill: var(--card); stroke: var(--text); stroke-width: 1; }
.detail { padding: 12px 14px 18px; border-top: 1px solid var(--line); display: grid; gap: 14px; }
.detail table { table-layout: fixed; }
.detail th, .detail td { padding: 4px 10px; overflow-wrap: anywhere; white-space: pre-wrap; }
.detail th { width: 240px; vertical-align: top; }
@media (max-width: 760px) {
  main { padding: 16px 10px; }
  .row { grid-template-columns: 1fr 104px; } .row > .line { display: none; }
  .detail th { width: 40%; }
}
"""

_INDENTS = "".join(f".d{depth} {{ padding-left: {14 + depth * 16}px; }}\n" for depth in range(DEEPEST + 1))
_COLOURS = "".join(f".c{number} {{ --hue: {hue}; }}\n" for number, hue in enumerate(HUES))

STYLE = _SHEET + _INDENTS + _COLOURS
