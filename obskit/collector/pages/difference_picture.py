"""The difference of two profiles: a flame graph whose boxes say more or less by sign, word and colour, and tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from obskit.collector.pages.flame_picture import Shown, short_path
from obskit.collector.pages.markup import Html, join, render
from obskit.collector.profiles.difference import Change, by_function, changes, own_time
from obskit.collector.profiles.flame import Flame

_ROW = 18  # pixels
_DEEPEST = 120
_NARROWEST = 0.1  # percent of the width
_NARROWEST_WITH_TEXT = 2.5
_MOST_DRAWN = 2_000
_MOST_ROWS = 30
_SAME = 0.5  # percentage points: less is chance, as a rule
_MUCH = 5.0
_FLAME = """<p class="note keys"><span class="key more">▲ takes more than before</span>
<span class="key less">▼ takes less</span> <span class="key same">changed by less than {same} points</span></p>
<div class="card flame difference"><svg height="{height}" role="group" \
aria-label="Flame graph of the difference, outermost on top">
{frames}</svg></div>
"""
_FRAME = """<a href="/profiles?{query}" tabindex="-1"><svg x="{x}%" y="{y}" width="{width}%" height="17">\
<title>{title}</title><rect class="{kind}" width="100%" height="17"/>{text}</svg></a>
"""
_TEXT = '<text x="4" y="13">{text}</text>'
_TABLE = """<div class="card scroll"><table class="differences"><caption>{name}</caption><thead><tr><th>Function</th>\
<th class="number">before</th><th class="number">now</th><th class="number">points</th></tr></thead><tbody>
{rows}</tbody></table></div>
"""
_LINE = """<tr><td><a href="/profiles?{query}">{function}</a> <span class="dim" title="{path}">{file}</span></td>\
<td class="number">{before}</td><td class="number">{now}</td><td class="number">\
<span class="key {kind}">{points}</span></td></tr>
"""


@dataclass(frozen=True)
class _Box:
    change: Change
    x: float
    row: int


def difference(before: Flame, shown: Shown) -> Html:
    """Return picture and tables of what changed since ``before``; neither may be empty."""
    top = changes(before, shown.flame)
    boxes = [box for box, _ in zip(_boxes(top), range(_MOST_DRAWN), strict=False)]
    height = (max(box.row for box in boxes) + 1) * _ROW
    frames = join(_frame(box, shown) for box in boxes)
    totals = before.root.value, shown.total
    own = by_function(own_time(before.own.items()), own_time(shown.flame.own.items()), totals)
    every = by_function(before.total, shown.flame.total, totals)
    return join(
        [
            render(_FLAME, same=_SAME, height=height, frames=frames),
            _table(shown, "Functions themselves, by how much they changed", own),
            _table(shown, "Functions with all that they call", every),
        ]
    )


def _boxes(top: Change) -> Iterator[_Box]:
    waiting = [_Box(top, 0.0, 0)]
    for box in waiting:
        yield box
        x = box.x
        for child in sorted(box.change.children, key=lambda change: -change.width):
            if child.width >= _NARROWEST and box.row < _DEEPEST:
                waiting.append(_Box(child, x, box.row + 1))
            x += child.width


def _frame(box: _Box, shown: Shown) -> Html:
    change = box.change
    function, file = change.place
    where = f" ({file}:{change.line})" if file else ""
    sign = _said(change).split(" ")[0] + " " if _kind(change) != "same" else ""
    return render(
        _FRAME,
        query=shown.of_function(function if box.row else ""),
        x=f"{box.x:.3f}",
        y=box.row * _ROW,
        width=f"{change.width:.3f}",
        title=f"{function}{where}: {change.before:.1f} % before, {change.now:.1f} % now, {_said(change)}",
        kind=_kind(change) + (" much" if abs(change.points) >= _MUCH else ""),
        text=render(_TEXT, text=sign + function) if change.width > _NARROWEST_WITH_TEXT else Html(""),
    )


def _kind(change: Change) -> str:
    return "same" if abs(change.points) < _SAME else "more" if change.points > 0 else "less"


def _said(change: Change) -> str:
    """Return ``▲8.3 points``, with ``new`` or ``gone`` for a function that one of the two does not have."""
    if abs(change.points) < 0.05:
        return "0.0 points"
    word = "" if change.before and change.now else ", gone" if change.before else ", new"
    return f"{'▲' if change.points > 0 else '▼'}{abs(change.points):.1f} points{word}"


def _table(shown: Shown, name: str, found: list[Change]) -> Html:
    rows = join(
        render(
            _LINE,
            query=shown.of_function(change.place[0]),
            function=change.place[0],
            path=change.place[1],
            file=short_path(change.place[1]),
            before=f"{change.before:.1f} %",
            now=f"{change.now:.1f} %",
            kind=_kind(change),
            points=_said(change).replace(" points", ""),
        )
        for change in found[:_MOST_ROWS]
    )
    return render(_TABLE, name=name, rows=rows)
