"""A flame graph as SVG, and the tables beside it: functions, lines, callers and callees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration
from obskit.collector.profiles.flame import Flame, Node, Place, is_library

_ROW = 18  # pixels
_DEEPEST = 120
_NARROWEST = 0.1  # percent of the width
_NARROWEST_WITH_TEXT = 2.5
_MOST_DRAWN = 2_000
_MOST_ROWS = 20
_FLAME = """<div class="card flame"><svg height="{height}" role="group" aria-label="Flame graph, outermost on top">
{frames}</svg></div>
"""
_FRAME = """<a href="/profiles?{query}" tabindex="-1"><svg x="{x}%" y="{y}" width="{width}%" height="17">\
<title>{title}</title><rect class="{kind}" width="100%" height="17"/>{text}</svg></a>
"""
_TEXT = '<text x="4" y="13">{name}</text>'
_TABLE = """<table><caption>{name}</caption><thead><tr><th>{what}</th><th class="number">{value}</th>\
<th class="number">share</th></tr></thead><tbody>{rows}</tbody></table>
"""
_LINE = '<tr><td>{what}</td><td class="number">{value}</td><td class="number">{share}</td></tr>'
_LINK = '<a href="/profiles?{query}">{function}</a> <span class="dim" title="{path}">{file}</span>'


@dataclass(frozen=True)
class Shown:
    """What a flame graph shows: stacks, their unit, the page's parameters, and the text to highlight."""

    flame: Flame
    unit: str
    params: Mapping[str, str]
    find: str = ""

    @property
    def total(self) -> int:
        """Return the sum of all values."""
        return self.flame.root.value

    def amount(self, value: int) -> str:
        """Return a value with its unit."""
        return amount(value, self.unit)

    def share(self, value: int) -> str:
        """Return a value as a percentage of the total."""
        return f"{100 * value / self.total:.1f} %" if self.total else "-"

    def of_function(self, function: str) -> str:
        """Return the parameters of the page for one function."""
        return urlencode({**self.params, "frame": function})

    def marks(self, place: Place) -> bool:
        """Return whether a function matches the search."""
        return bool(self.find) and (self.find in place[0].lower() or self.find in place[1].lower())


def amount(value: int, unit: str) -> str:
    """Return ``1.25 s``, ``3.4 MB``, ``12 samples``."""
    if unit == "nanoseconds":
        return duration(value // 1000)
    if unit == "bytes":
        return f"{value / 1e6:,.1f} MB" if value >= 1e5 else f"{value / 1e3:,.1f} kB"
    return f"{value:,} {unit}"


def picture(shown: Shown) -> Html:
    """Return the flame graph; nothing if the total is 0."""
    if not shown.total:
        return Html("")
    boxes = [box for box, _ in zip(_boxes(shown.flame.root), range(_MOST_DRAWN), strict=False)]
    height = (max(box.row for box in boxes) + 1) * _ROW
    return render(_FLAME, height=height, frames=join(_frame(box, shown) for box in boxes))


@dataclass(frozen=True)
class _Box:
    node: Node
    x: float
    width: float
    row: int


def _boxes(root: Node) -> Iterator[_Box]:
    """Yield the positions of the calls that are wide enough to be seen, row by row."""
    waiting = [_Box(root, 0.0, 100.0, 0)]
    for box in waiting:
        yield box
        x = box.x
        for child in sorted(box.node.children.values(), key=lambda node: -node.value):
            width = 100.0 * child.value / root.value
            if width >= _NARROWEST and box.row < _DEEPEST:
                waiting.append(_Box(child, x, width, box.row + 1))
            x += width


def _frame(box: _Box, shown: Shown) -> Html:
    function, file = box.node.place
    kind = "library" if is_library(file) else "own"
    kind = "found" if shown.marks(box.node.place) else kind if box.row else "whole"
    where = f" ({file}:{box.node.line})" if file else ""
    return render(
        _FRAME,
        query=shown.of_function(function) if box.row else urlencode({**shown.params, "frame": ""}),
        x=f"{box.x:.3f}",
        y=box.row * _ROW,
        width=f"{box.width:.3f}",
        title=f"{function}{where}: {shown.amount(box.node.value)}, {shown.share(box.node.value)}",
        kind=kind,
        text=render(_TEXT, name=function) if box.width > _NARROWEST_WITH_TEXT else Html(""),
    )


def tables(shown: Shown, *, of_function: bool, rows: int = _MOST_ROWS) -> Html:
    """Return tables of the hottest lines and functions; for one function also its callers and callees."""
    flame = shown.flame
    lines = [(_place(shown, frame[:2], frame[2]), value) for frame, value in flame.own.most_common(rows)]
    parts = [_table(shown, "Hottest lines: time of the line itself", "Line", lines)]
    if of_function:
        parts.append(_table(shown, "Called by", "Function", _places(shown, flame.callers.most_common(rows))))
        parts.append(_table(shown, "Calls", "Function", _places(shown, flame.callees().most_common(rows))))
    else:
        heavy = _places(shown, flame.total.most_common(rows))
        parts.append(_table(shown, "Functions: with all that they call", "Function", heavy))
    return join(parts)


def _table(shown: Shown, name: str, what: str, rows: list[tuple[Html, int]]) -> Html:
    made = (render(_LINE, what=text, value=shown.amount(value), share=shown.share(value)) for text, value in rows)
    return render(_TABLE, name=name, what=what, value="total", rows=join(made))


def _places(shown: Shown, found: list[tuple[Place, int]]) -> list[tuple[Html, int]]:
    return [(_place(shown, place), value) for place, value in found]


def _place(shown: Shown, place: Place, line: int = 0) -> Html:
    function, path = place
    short = short_path(path)
    file = f"{short}:{line}" if line else short
    return render(_LINK, query=shown.of_function(function), function=function, file=file, path=path)


def short_path(path: str) -> str:
    """Return the last folder and the name of a file."""
    return "/".join(path.replace("\\", "/").split("/")[-2:])
