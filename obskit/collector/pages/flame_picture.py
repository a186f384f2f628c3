"""A flame graph as SVG, and the tables beside it: functions, lines, callers and callees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

from obskit.collector.pages.flame_svg import Box, flame
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.pages.show import duration
from obskit.collector.profiles.flame import Flame, Node, Place, is_library

_MOST_ROWS = 20
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

    def parts(node: Node) -> Iterator[tuple[float, Node]]:
        return ((100.0 * child.value / shown.total, child) for child in node.children.values())

    return flame("Flame graph", shown.flame.root, parts, partial(_box, shown))


def _box(shown: Shown, node: Node, is_top: bool) -> Box:
    function, file = node.place
    kind = "library" if is_library(file) else "own"
    where = f" ({file}:{node.line})" if file else ""
    return Box(
        text=function,
        title=f"{function}{where}: {shown.amount(node.value)}, {shown.share(node.value)}",
        url=f"/profiles?{shown.of_function('' if is_top else function)}",
        kind="found" if shown.marks(node.place) else "whole" if is_top else kind,
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
